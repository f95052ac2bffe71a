//! Streams with explicit IDs; the scripts test IDs and times from the clock.

use super::words::{index, key_of, member, one_of, some};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::Version;
use crate::support::random::Random;

const GROUPS: &[&str] = &["g1", "g2", "g3", "none"];
const CONSUMERS: &[&str] = &["alice", "bob", "carol"];

pub const FAMILY: Family = Family {
    name: "streams",
    words: &[
        "MAXLEN",
        "MINID",
        "~",
        "=",
        "LIMIT",
        "NOMKSTREAM",
        "COUNT",
        "STREAMS",
        "GROUP",
        "NOACK",
        "MKSTREAM",
        "ENTRIESREAD",
        "$",
        ">",
        "-",
        "+",
        "0",
        "1-1",
        "JUSTID",
        "FORCE",
        "IDLE",
        "FULL",
        "g1",
        "alice",
    ],
    commands: &[
        Generator::new("xadd", 10, xadd),
        Generator::new("xlen", 1, |r| args![stream(r)]),
        Generator::new("xrange", 3, |r| range(r, "-", "+")),
        Generator::new("xrevrange", 2, |r| range(r, "+", "-")),
        Generator::new("xdel", 3, |r| with_ids(r, vec![])),
        Generator::new("xtrim", 2, |r| {
            let mut args = args![stream(r)];
            args.extend(trimming(r));
            args
        }),
        Generator::new("xread", 2, xread),
        // Since 7.2 an ID below those of deleted entries is refused.
        Generator::new("xsetid", 1, xsetid).since(Version::new(7, 2)),
        Generator::new("xgroup|create", 3, create),
        Generator::new("xgroup|setid", 2, |r| {
            let mut args = args![stream(r), group(r), id(r)];
            args.extend(r.chance(3).then(|| args!["ENTRIESREAD", index(r)]).into_iter().flatten());
            args
        }),
        Generator::new("xgroup|destroy", 1, |r| args![stream(r), group(r)]),
        Generator::new("xgroup|createconsumer", 1, |r| args![stream(r), group(r), consumer(r)]),
        Generator::new("xgroup|delconsumer", 1, |r| args![stream(r), group(r), consumer(r)]),
        Generator::new("xreadgroup", 5, xreadgroup),
        Generator::new("xack", 3, |r| {
            let group = group(r);
            with_ids(r, vec![group])
        }),
        Generator::new("xpending", 2, |r| args![stream(r), group(r)]),
        Generator::new("xpending", 2, |r| {
            let mut args = args![stream(r), group(r)];
            args.extend(r.chance(3).then(|| args!["IDLE", "0"]).into_iter().flatten());
            for open in ["-", "+"] {
                args.push(if r.chance(2) { open.into() } else { id(r) });
            }
            args.push(index(r));
            args.extend(r.chance(2).then(|| consumer(r)));
            args
        })
        .compared(Rule::Masked),
        Generator::new("xclaim", 4, xclaim),
        Generator::new("xautoclaim", 2, |r| {
            let mut args = args![stream(r), group(r), consumer(r), "0", id(r)];
            args.extend(r.chance(2).then(|| args!["COUNT", index(r)]).into_iter().flatten());
            args
        }),
        Generator::new("xinfo|groups", 1, |r| args![stream(r)]),
        Generator::new("xinfo|stream", 1, |r| args![stream(r)]),
        Generator::new("xinfo|consumers", 1, |r| args![stream(r), group(r)])
            .compared(Rule::Kind)
            .sensible_only(),
        Generator::new("del", 1, |r| args![stream(r)]),
    ],
};

fn stream(random: &mut Random) -> Vec<u8> {
    key_of(random, "stream")
}

fn group(random: &mut Random) -> Vec<u8> {
    one_of(random, GROUPS)
}

fn consumer(random: &mut Random) -> Vec<u8> {
    one_of(random, CONSUMERS)
}

fn id(random: &mut Random) -> Vec<u8> {
    match random.below(16) {
        0 => one_of(
            random,
            &["0", "$", "-", "+", ">", "(5-1", "x", "1-", "18446744073709551615-18446744073709551615", ""],
        ),
        1 => random.below(60).to_string().into_bytes(),
        _ => format!("{}-{}", random.below(60), random.below(4)).into_bytes(),
    }
}

fn with_ids(random: &mut Random, before: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut args = args![stream(random)];
    args.extend(before);
    args.extend(some(random, 5, id));
    args
}

fn trimming(random: &mut Random) -> Vec<Vec<u8>> {
    let by_length = random.chance(2);
    let mut args = args![if by_length { "MAXLEN" } else { "MINID" }];
    args.extend(random.chance(2).then(|| one_of(random, &["~", "="])));
    args.push(if by_length { index(random) } else { id(random) });
    args.extend(random.chance(8).then(|| args!["LIMIT", index(random)]).into_iter().flatten());
    args
}

/// IDs mostly rise: the larger ones come from a number that no other random command uses.
fn xadd(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![stream(random)];
    args.extend(random.chance(10).then(|| b"NOMKSTREAM".to_vec()));
    args.extend(random.chance(6).then(|| trimming(random)).into_iter().flatten());
    args.push(match random.below(3) {
        0 => format!("{}-*", 60 + random.below(3)).into_bytes(),
        _ => id(random),
    });
    for _ in 0..=random.below(3) {
        args.extend([member(random), member(random)]);
    }
    args
}

fn range(random: &mut Random, from: &str, to: &str) -> Vec<Vec<u8>> {
    let mut args = args![stream(random)];
    for open in [from, to] {
        args.push(if random.chance(2) { open.into() } else { id(random) });
    }
    args.extend(random.chance(3).then(|| args!["COUNT", index(random)]).into_iter().flatten());
    args
}

/// `STREAMS`, up to three keys and as many IDs; sometimes one ID too few.
fn streams(random: &mut Random, mut make: impl FnMut(&mut Random) -> Vec<u8>) -> Vec<Vec<u8>> {
    let keys = some(random, 3, stream);
    let ids = keys.len() - usize::from(random.chance(30));
    let mut args = args!["STREAMS"];
    args.extend(keys);
    args.extend((0..ids).map(|_| make(random)));
    args
}

fn xread(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = if random.chance(2) { args!["COUNT", index(random)] } else { vec![] };
    args.extend(streams(random, id));
    args
}

fn xreadgroup(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args!["GROUP", group(random), consumer(random)];
    args.extend(random.chance(2).then(|| args!["COUNT", index(random)]).into_iter().flatten());
    args.extend(random.chance(6).then(|| b"NOACK".to_vec()));
    args.extend(streams(random, |r| if r.chance(3) { id(r) } else { b">".to_vec() }));
    args
}

fn create(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args =
        args![stream(random), group(random), if random.chance(2) { b"0".to_vec() } else { id(random) }];
    args.extend(random.chance(2).then(|| b"MKSTREAM".to_vec()));
    args.extend(random.chance(4).then(|| args!["ENTRIESREAD", index(random)]).into_iter().flatten());
    args
}

/// The times that it sets are those of the test, or differ as much as two clocks.
fn xclaim(random: &mut Random) -> Vec<Vec<u8>> {
    let before = vec![group(random), consumer(random), b"0".to_vec()];
    let mut args = with_ids(random, before);
    args.extend(random.chance(2).then(|| b"JUSTID".to_vec()));
    args.extend(random.chance(3).then(|| b"FORCE".to_vec()));
    for (option, one_in) in [("IDLE", 6), ("TIME", 6), ("RETRYCOUNT", 4), ("LASTID", 6)] {
        if random.chance(one_in) {
            let value = if option == "LASTID" { id(random) } else { index(random) };
            args.extend([option.into(), value]);
        }
    }
    args
}

fn xsetid(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![stream(random), id(random)];
    if random.chance(2) {
        args.extend(args!["ENTRIESADDED", index(random), "MAXDELETEDID", id(random)]);
    }
    args
}
