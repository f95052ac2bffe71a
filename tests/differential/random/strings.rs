//! Strings, and counters, which are strings with a number.

use super::words::{index, key, lifetime, number, one_of, some, value};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "strings",
    words: &[
        "NX",
        "XX",
        "GET",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "PERSIST",
        "LEN",
        "IDX",
        "MINMATCHLEN",
        "WITHMATCHLEN",
        "nx",
        "get",
        "kEePtTl",
    ],
    commands: &[
        Generator::new("set", 10, set),
        Generator::new("get", 6, |r| args![key(r)]),
        Generator::new("getset", 1, |r| args![key(r), value(r)]),
        Generator::new("setnx", 1, |r| args![key(r), value(r)]),
        Generator::new("append", 2, |r| args![key(r), value(r)]),
        Generator::new("getdel", 1, |r| args![key(r)]),
        Generator::new("strlen", 1, |r| args![key(r)]),
        Generator::new("getex", 2, getex),
        Generator::new("setex", 1, |r| args![key(r), lifetime(r, "EX"), value(r)]),
        Generator::new("psetex", 1, |r| args![key(r), lifetime(r, "PX"), value(r)]),
        Generator::new("mget", 1, |r| some(r, 4, key)),
        Generator::new("mset", 1, pairs),
        Generator::new("msetnx", 1, pairs),
        Generator::new("incr", 3, |r| args![key(r)]),
        Generator::new("decr", 3, |r| args![key(r)]),
        Generator::new("incrby", 2, |r| args![key(r), number(r)]),
        Generator::new("decrby", 2, |r| args![key(r), number(r)]),
        Generator::new("incrbyfloat", 4, |r| args![key(r), number(r)]),
        Generator::new("setrange", 2, |r| args![key(r), place(r), short(r)]),
        Generator::new("getrange", 2, |r| args![key(r), index(r), index(r)]),
        Generator::new("substr", 1, |r| args![key(r), index(r), index(r)]),
        Generator::new("lcs", 1, lcs),
    ],
};

fn set(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![key(random), value(random)];
    for _ in 0..random.below(3) {
        let option = *random.pick(&["NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT"]);
        args.push(option.into());
        if option.starts_with(['E', 'P']) {
            args.push(lifetime(random, option));
        }
    }
    args
}

fn getex(random: &mut Random) -> Vec<Vec<u8>> {
    let option = *random.pick(&["PERSIST", "EX", "PX", "EXAT", "PXAT"]);
    let mut args = args![key(random), option];
    if option != "PERSIST" {
        args.push(lifetime(random, option));
    }
    args
}

fn pairs(random: &mut Random) -> Vec<Vec<u8>> {
    (0..=random.below(3)).flat_map(|_| [key(random), value(random)]).collect()
}

/// An offset, mostly close to the start, so that strings stay small.
fn place(random: &mut Random) -> Vec<u8> {
    if random.chance(4) { index(random) } else { random.below(100).to_string().into_bytes() }
}

fn short(random: &mut Random) -> Vec<u8> {
    let len = random.below(12);
    random.bytes(len)
}

/// Slow on long strings: the number of steps is the product of their lengths.
fn lcs(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![one_of(random, &["a", "b", "counter", "missing", "key:1"]), key(random)];
    for _ in 0..random.below(4) {
        match random.below(4) {
            0 => args.push(b"LEN".to_vec()),
            1 => args.push(b"IDX".to_vec()),
            2 => args.push(b"WITHMATCHLEN".to_vec()),
            _ => args.extend([b"MINMATCHLEN".to_vec(), index(random)]),
        }
    }
    args
}
