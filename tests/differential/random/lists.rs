//! Lists. (Blocking commands find an element, or time out after a millisecond.)

use super::words::{index, key_of, member, number, one_of, some, value};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

const ENDS: &[&str] = &["LEFT", "RIGHT"];

pub const FAMILY: Family = Family {
    name: "lists",
    words: &["LEFT", "RIGHT", "BEFORE", "AFTER", "COUNT", "RANK", "MAXLEN", "left", "0", "1"],
    commands: &[
        Generator::new("lpush", 4, push),
        Generator::new("rpush", 4, push),
        Generator::new("lpushx", 1, push),
        Generator::new("rpushx", 1, push),
        Generator::new("lpop", 2, pop),
        Generator::new("rpop", 2, pop),
        Generator::new("llen", 1, |r| args![list(r)]),
        Generator::new("lrange", 4, |r| args![list(r), index(r), index(r)]),
        Generator::new("lindex", 2, |r| args![list(r), index(r)]),
        Generator::new("lset", 2, |r| args![list(r), place(r), item(r)]).sensible_only(),
        Generator::new("linsert", 2, |r| args![list(r), one_of(r, &["BEFORE", "AFTER"]), member(r), item(r)]),
        Generator::new("lrem", 2, |r| args![list(r), index(r), member(r)]),
        Generator::new("ltrim", 1, |r| args![list(r), index(r), index(r)]),
        Generator::new("lpos", 3, lpos),
        Generator::new("lmove", 2, |r| args![list(r), list(r), one_of(r, ENDS), one_of(r, ENDS)]),
        Generator::new("rpoplpush", 1, |r| args![list(r), list(r)]),
        Generator::new("lmpop", 2, lmpop),
        Generator::new("blpop", 1, blocking).sensible_only(),
        Generator::new("brpop", 1, blocking).sensible_only(),
    ],
};

fn list(random: &mut Random) -> Vec<u8> {
    key_of(random, "list")
}

/// Mostly a short element; a long one needs a separate node, or outgrows the list's packed form.
fn item(random: &mut Random) -> Vec<u8> {
    if random.chance(15) { value(random) } else { member(random) }
}

/// An index for LSET: 7.2 takes one of more than 32 bits modulo 2^32, and so sets another element.
fn place(random: &mut Random) -> Vec<u8> {
    let place = index(random);
    if place.len() < 10 { place } else { b"99".to_vec() }
}

fn push(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![list(random)];
    let most = if random.chance(10) { 200 } else { 4 };
    args.extend(some(random, most, item));
    args
}

fn pop(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![list(random)];
    if random.chance(2) {
        args.push(index(random));
    }
    args
}

fn lpos(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![list(random), member(random)];
    for _ in 0..random.below(3) {
        args.extend([one_of(random, &["RANK", "COUNT", "MAXLEN"]), index(random)]);
    }
    args
}

fn lmpop(random: &mut Random) -> Vec<Vec<u8>> {
    let keys = some(random, 3, list);
    let count = if random.chance(20) { number(random) } else { keys.len().to_string().into_bytes() };
    let mut args = args![count];
    args.extend(keys);
    args.push(one_of(random, ENDS));
    if random.chance(2) {
        args.extend([b"COUNT".to_vec(), index(random)]);
    }
    args
}

fn blocking(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = some(random, 3, list);
    args.push(b"0.001".to_vec());
    args
}
