//! HyperLogLog: counts of distinct elements, and the strings that they are kept in.

use super::words::{key, key_of, some};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "hyperloglog",
    words: &["GETREG", "DECODE", "ENCODING", "TODENSE"],
    commands: &[
        Generator::new("pfadd", 8, add),
        Generator::new("pfcount", 4, |r| some(r, 3, counter)),
        Generator::new("pfmerge", 2, |r| some(r, 4, counter)),
        Generator::new("pfdebug", 1, |r| {
            args![r.pick(&["ENCODING", "DECODE", "TODENSE", "NONE"]).to_string(), counter(r)]
        }),
        Generator::new("get", 2, |r| args![counter(r)]),
        Generator::new("set", 1, damaged),
        Generator::new("strlen", 1, |r| args![counter(r)]),
        Generator::new("append", 1, |r| args![counter(r), "x"]),
        Generator::new("del", 1, |r| args![counter(r)]),
    ],
};

/// Mostly a counter; any other string is damaged or none.
fn counter(random: &mut Random) -> Vec<u8> {
    if random.chance(16) { key(random) } else { key_of(random, "hll") }
}

/// A few elements, or so many that the counter outgrows its sparse form.
fn add(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![counter(random)];
    let most = *random.pick(&[1, 4, 4, 4, 30, 1500]);
    args.extend(some(random, most, |r| format!("element-{}", r.below(20_000)).into_bytes()));
    if random.chance(20) {
        args.truncate(1);
    }
    args
}

/// A string that begins like a counter and does not go on like one.
fn damaged(random: &mut Random) -> Vec<Vec<u8>> {
    let mut value = b"HYLL".to_vec();
    value.push(random.below(3) as u8);
    value.extend([0; 3]);
    value.extend([0, 0, 0, 0, 0, 0, 0, *random.pick(&[0, 0x80])]);
    for _ in 0..random.below(4) {
        value.push(*random.pick(&[0x7f, 0x00, 0x84, 0x3f, 0x40, 0xff]));
    }
    args![counter(random), value]
}
