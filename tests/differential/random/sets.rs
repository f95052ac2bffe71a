//! Sets, and the algebra on them.

use super::words::{index, key_of, member, number, some, value};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "sets",
    words: &["LIMIT", "MATCH", "COUNT", "0", "1"],
    commands: &[
        Generator::new("sadd", 8, with_members),
        Generator::new("srem", 3, with_members),
        Generator::new("sismember", 2, |r| args![set(r), item(r)]),
        Generator::new("smismember", 2, with_members),
        Generator::new("scard", 1, |r| args![set(r)]),
        Generator::new("smembers", 3, |r| args![set(r)]).compared(Rule::Unordered),
        Generator::new("smove", 2, |r| args![set(r), set(r), item(r)]),
        Generator::new("sinter", 1, |r| some(r, 3, set)).compared(Rule::Unordered),
        Generator::new("sunion", 1, |r| some(r, 3, set)).compared(Rule::Unordered),
        Generator::new("sdiff", 1, |r| some(r, 3, set)).compared(Rule::Unordered),
        Generator::new("sinterstore", 1, |r| some(r, 4, set)),
        Generator::new("sunionstore", 1, |r| some(r, 4, set)),
        Generator::new("sdiffstore", 1, |r| some(r, 4, set)),
        Generator::new("sintercard", 2, sintercard),
        Generator::new("sscan", 1, |r| args![set(r), "0", "COUNT", index(r)])
            .compared(Rule::Scan)
            .sensible_only(),
        Generator::new("srandmember", 1, |r| args![set(r)]).compared(Rule::Kind).sensible_only(),
        Generator::new("spop", 1, |r| args![set(r), "100000"]).compared(Rule::Unordered).sensible_only(),
        Generator::new("del", 1, |r| args![set(r)]),
    ],
};

fn set(random: &mut Random) -> Vec<u8> {
    key_of(random, "set")
}

/// Numbers, so that some sets stay intsets for a while; words convert them.
fn item(random: &mut Random) -> Vec<u8> {
    match random.below(60) {
        0 => member(random),
        1 => number(random),
        2 if random.chance(4) => value(random),
        _ => (random.below(100) as i64 - 20).to_string().into_bytes(),
    }
}

fn with_members(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![set(random)];
    let most = if random.chance(20) { 600 } else { 5 };
    args.extend(some(random, most, item));
    args
}

fn sintercard(random: &mut Random) -> Vec<Vec<u8>> {
    let keys = some(random, 3, set);
    let count = if random.chance(20) { number(random) } else { keys.len().to_string().into_bytes() };
    let mut args = args![count];
    args.extend(keys);
    if random.chance(2) {
        args.extend([b"LIMIT".to_vec(), index(random)]);
    }
    args
}
