//! SORT. (Calls that depend on the order of a hash table are left out, and so are numbers whose range error Redis keeps
//! repeating: see docs/compatibility.md.)

use super::words::{any_key, index, key_of, member, number, one_of, some};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

pub const FAMILY: Family = Family {
    name: "sort",
    words: &["BY", "GET", "LIMIT", "ASC", "DESC", "ALPHA", "STORE", "nosort", "#", "key:*", "0", "1", "-1"],
    commands: &[
        Generator::new("sort", 6, |r| sort(r, true)).sensible_only(),
        Generator::new("sort_ro", 2, |r| sort(r, false)).sensible_only(),
        Generator::new("rpush", 3, |r| filled(r, "row", element)),
        Generator::new("rpush", 1, |r| filled(r, "row", |r| r.below(50).to_string().into_bytes())),
        Generator::new("sadd", 2, |r| filled(r, "set", element)),
        Generator::new("zadd", 1, |r| args![key_of(r, "zset"), index(r), element(r)]),
        Generator::new("hset", 2, |r| args![key_of(r, "hash"), "f", member(r)]),
        Generator::new("mset", 1, |r| args!["key:1", member(r), "key:2", member(r), "key:m3", member(r)]),
        Generator::new("lrange", 1, |r| args![row(r), "0", "-1"]),
        Generator::new("type", 1, |r| args![any_key(r)]),
        Generator::new("del", 1, |r| args![any_key(r)]),
    ],
};

/// A key of a list only, so that its elements have an order: no other family uses it.
fn row(random: &mut Random) -> Vec<u8> {
    format!("row:{}", random.below(4)).into_bytes()
}

/// Elements for which patterns find keys.
fn element(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => member(random),
        1 => random.below(4).to_string().into_bytes(),
        2 => format!("m{}", random.below(40)).into_bytes(),
        _ => format!("{}.5", random.below(10)).into_bytes(),
    }
}

fn filled(random: &mut Random, kind: &str, make: fn(&mut Random) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut args = args![format!("{kind}:{}", random.below(4))];
    let most = if random.chance(10) { 150 } else { 8 };
    args.extend(some(random, most, make));
    args
}

const PATTERNS: &[&str] = &["key:*", "hash:*->f", "#", "*", "row:*", "nothing", "hash:*->", "*->f", "k*y"];

fn sort(random: &mut Random, may_store: bool) -> Vec<Vec<u8>> {
    let kind = *random.pick(&["row", "row", "row", "row", "set", "zset", "list"]);
    let is_list = kind == "row";
    let mut args = args![format!("{kind}:{}", random.below(4))];
    let store = may_store && random.chance(3);
    let by = if is_list { random.below(4) } else { 3 };
    match by {
        // Redis does not define the order of equal texts when only a part of the result is requested.
        0 => args.extend(args!["BY", one_of(random, PATTERNS), "ALPHA"]),
        1 => args.extend(args!["BY", "nosort"]),
        _ => args.push(b"ALPHA".to_vec()),
    }
    if random.chance(2) {
        args.push(one_of(random, &["ASC", "DESC", "desc"]));
    }
    if by != 0 && random.chance(2) {
        args.extend(args!["LIMIT", index(random), index(random)]);
    }
    if random.chance(3) {
        for pattern in some(random, 3, |r| one_of(r, PATTERNS)) {
            args.extend(args!["GET", pattern]);
        }
    }
    if store {
        args.extend(args!["STORE", row(random)]);
    }
    if random.chance(30) {
        args.push(number(random));
    }
    args
}
