//! Hashes. Fields that a small hash lists in order are compared by their order only where both keep one.

use super::words::{index, key_of, member, number, some, value};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "hashes",
    words: &["WITHVALUES", "MATCH", "COUNT", "FIELDS", "NX", "XX"],
    commands: &[
        Generator::new("hset", 6, set),
        Generator::new("hmset", 1, set),
        Generator::new("hsetnx", 2, |r| args![hash(r), member(r), content(r)]),
        Generator::new("hget", 4, |r| args![hash(r), member(r)]),
        Generator::new("hmget", 2, with_fields),
        Generator::new("hdel", 2, with_fields),
        Generator::new("hexists", 1, |r| args![hash(r), member(r)]),
        Generator::new("hlen", 1, |r| args![hash(r)]),
        Generator::new("hstrlen", 1, |r| args![hash(r), member(r)]),
        Generator::new("hincrby", 3, |r| args![hash(r), member(r), number(r)]),
        Generator::new("hincrbyfloat", 3, |r| args![hash(r), member(r), number(r)]),
        Generator::new("hgetall", 2, |r| args![hash(r)]).compared(Rule::UnorderedPairs),
        Generator::new("hkeys", 1, |r| args![hash(r)]).compared(Rule::Unordered),
        Generator::new("hvals", 1, |r| args![hash(r)]).compared(Rule::Unordered),
        Generator::new("hscan", 1, |r| args![hash(r), "0", "COUNT", index(r)])
            .compared(Rule::Scan)
            .sensible_only(),
        Generator::new("hrandfield", 1, |r| args![hash(r)]).compared(Rule::Kind).sensible_only(),
    ],
};

fn hash(random: &mut Random) -> Vec<u8> {
    key_of(random, "hash")
}

/// Mostly short, now and then too long for a hash's small form.
fn content(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => value(random),
        1..6 => number(random),
        _ => member(random),
    }
}

fn set(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![hash(random)];
    // More than 128 fields outgrow the small form, too.
    let most = if random.chance(20) { 200 } else { 4 };
    for _ in 0..=random.below(most) {
        args.extend([member(random), content(random)]);
    }
    args
}

fn with_fields(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![hash(random)];
    args.extend(some(random, 5, member));
    args
}
