//! Scripts and functions: programs generated from a seed ([`program`]), and a few handwritten ones that are called
//! repeatedly ([`known`]).
//!
//! Programs call commands of all families. The server caches the scripts of `EVAL` and evicts them, while Redis keeps
//! all: so EVALSHA names only the handwritten ones, which are called often enough to stay.

mod known;
mod program;

use super::words::{any_key, index, member, number, one_of, some};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;
use redstart::codec::{crc64, hex, sha1};

pub const FAMILY: Family = Family {
    name: "scripting",
    words: &[
        "0",
        "1",
        "2",
        "-1",
        "REPLACE",
        "FLUSH",
        "APPEND",
        "SYNC",
        "LIBRARYNAME",
        "WITHCODE",
        "return 1",
    ],
    commands: &[
        Generator::calling("eval", 24, program::call),
        Generator::calling("eval_ro", 3, program::call),
        Generator::new("eval", 3, |r| with_arguments(r, known::script)),
        Generator::new("eval_ro", 1, |r| with_arguments(r, known::script)),
        Generator::new("evalsha", 5, |r| with_arguments(r, sha)),
        Generator::new("evalsha_ro", 1, |r| with_arguments(r, sha)),
        Generator::new("script|load", 1, |r| args![known::script(r)]),
        Generator::new("script|exists", 1, |r| some(r, 3, sha)),
        Generator::new("script|kill", 1, |_| args![]),
        Generator::new("function|load", 2, load),
        Generator::calling("function|load", 2, program::library),
        Generator::new("fcall", 6, |r| with_arguments(r, known::function)),
        Generator::new("fcall_ro", 2, |r| with_arguments(r, known::function)),
        Generator::new("function|delete", 1, |r| args![one_of(r, known::LIBRARIES)]),
        // FUNCTION LIST returns functions in the order of a hash table.
        Generator::new("function|list", 1, list).compared(Rule::Unordered).sensible_only(),
        Generator::new("function|stats", 1, |_| args![]),
        Generator::new("function|kill", 1, |_| args![]),
        Generator::new("function|restore", 1, restore),
        // Writes between the scripts, which would otherwise find no keys at first.
        Generator::new("set", 2, |r| args![any_key(r), number(r)]),
        Generator::new("rpush", 2, |r| args![any_key(r), member(r), member(r)]),
        Generator::new("hset", 1, |r| args![any_key(r), member(r), number(r)]),
        Generator::new("sadd", 1, |r| args![any_key(r), member(r), member(r)]),
        Generator::new("zadd", 1, |r| args![any_key(r), index(r), member(r)]),
        Generator::new("del", 1, |r| args![any_key(r)]),
    ],
};

/// A script or its name, then a number of keys that is usually right, keys and arguments.
fn with_arguments(random: &mut Random, first: fn(&mut Random) -> Vec<u8>) -> Vec<Vec<u8>> {
    let keys = some(random, 3, any_key);
    let count = if random.chance(12) { index(random) } else { keys.len().to_string().into_bytes() };
    let mut args = args![first(random), count];
    args.extend(keys);
    args.extend(some(random, 3, |r| if r.chance(2) { number(r) } else { member(r) }));
    args
}

/// The SHA-1 of a handwritten script, or an unknown one.
fn sha(random: &mut Random) -> Vec<u8> {
    let mut name = hex(&sha1::sha1(&known::script(random)));
    match random.below(20) {
        0 => name.make_ascii_uppercase(),
        1 => name.truncate(39),
        2 => name = "0".repeat(40),
        _ => {}
    }
    name.into_bytes()
}

fn load(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = vec![known::library(random)];
    if random.chance(2) {
        args.insert(0, b"REPLACE".to_vec());
    }
    args
}

fn list(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args!["LIBRARYNAME", one_of(random, &["one", "ONE", "o*", "none"])];
    args.extend(random.chance(2).then(|| b"WITHCODE".to_vec()));
    args
}

/// A library or none, in the format of FUNCTION DUMP of 7.0.
fn restore(random: &mut Random) -> Vec<Vec<u8>> {
    let mut payload = Vec::new();
    if !random.chance(5) {
        let source = known::library(random);
        payload.push(0xf5);
        // A 14-bit length.
        payload.extend((source.len() as u16 | 0x4000).to_be_bytes());
        payload.extend(source);
    }
    payload.extend([10, 0]);
    payload.extend(crc64::checksum(&payload).to_le_bytes());
    if random.chance(10) {
        let at = random.below(payload.len());
        payload[at] ^= 1;
    }
    let mut args = vec![payload];
    args.extend((!random.chance(3)).then(|| one_of(random, &["APPEND", "REPLACE", "FLUSH", "replace"])));
    args
}

#[test]
fn a_seed_makes_the_same_call_again() {
    let call = |seed| with_arguments(&mut Random::new(seed), sha);
    assert_eq!(call(7), call(7));
    assert_ne!(call(7), call(8));
}
