//! Hashes, in packed form and as tables.

use super::words::{index, key_of, member, number, some, value};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "hashes",
    words: &["WITHVALUES", "MATCH", "COUNT", "0", "1", "m1", "withvalues", "m*"],
    commands: &[
        Generator::new("hset", 8, |r| pairs(r, 4)),
        Generator::new("hmset", 2, |r| pairs(r, 4)),
        Generator::new("hsetnx", 2, |r| pairs(r, 1)),
        Generator::new("hget", 4, |r| args![hash(r), field(r)]),
        Generator::new("hmget", 2, with_fields),
        Generator::new("hgetall", 2, |r| args![hash(r)]).compared(Rule::UnorderedPairs),
        Generator::new("hkeys", 1, |r| args![hash(r)]).compared(Rule::Unordered),
        Generator::new("hvals", 1, |r| args![hash(r)]).compared(Rule::Unordered),
        Generator::new("hlen", 1, |r| args![hash(r)]),
        Generator::new("hstrlen", 1, |r| args![hash(r), field(r)]),
        Generator::new("hexists", 1, |r| args![hash(r), field(r)]),
        Generator::new("hdel", 3, with_fields),
        Generator::new("hincrby", 3, |r| args![hash(r), field(r), number(r)]),
        Generator::new("hincrbyfloat", 2, |r| args![hash(r), field(r), number(r)]),
        // More than the size of any hash here, so it returns all fields.
        Generator::new("hrandfield", 1, |r| args![hash(r), "100000"])
            .compared(Rule::Unordered)
            .sensible_only(),
        Generator::new("hrandfield", 1, |r| args![hash(r), "100000", "WITHVALUES"])
            .compared(Rule::UnorderedPairs)
            .sensible_only(),
        Generator::new("hscan", 1, |r| args![hash(r), "0", "COUNT", "5"])
            .compared(Rule::Scan)
            .sensible_only(),
        Generator::new("hscan", 1, |r| args![hash(r), "0", "MATCH", "*1*"])
            .compared(Rule::Scan)
            .sensible_only(),
        Generator::new("del", 1, |r| args![hash(r)]),
    ],
};

fn hash(random: &mut Random) -> Vec<u8> {
    key_of(random, "hash")
}

/// Mostly one of a few; sometimes one of many, so that some hashes outgrow the packed form.
fn field(random: &mut Random) -> Vec<u8> {
    if random.chance(8) { format!("field:{}", random.below(2000)).into_bytes() } else { member(random) }
}

fn content(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => value(random),
        1..5 => number(random),
        _ => member(random),
    }
}

fn pairs(random: &mut Random, most: usize) -> Vec<Vec<u8>> {
    let mut args = args![hash(random)];
    let most = if most > 1 && random.chance(30) { 300 } else { most };
    for _ in 0..=random.below(most) {
        args.extend([field(random), content(random)]);
    }
    args
}

fn with_fields(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![hash(random)];
    args.extend(some(random, 4, field));
    if random.chance(50) {
        args.push(index(random));
    }
    args
}
