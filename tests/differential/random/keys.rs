//! Commands on keys of any type.

use super::words::{any_key, index, one_of, some, split};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;
use crate::support::random::Random;
use redstart::codec::crc64;

const PATTERNS: &[&str] = &["*", "k*", "[a-c]", "?", "key:[^1]", "nothing*", "*:1"];

const SCANS: &[&str] = &["0", "0 COUNT 3", "0 MATCH k*", "0 TYPE string", "0 TYPE list COUNT 1"];

pub const FAMILY: Family = Family {
    name: "keys",
    words: &[
        "MATCH", "COUNT", "TYPE", "ASYNC", "SYNC", "string", "LIMIT", "GET", "ALPHA", "STORE", "REPLACE",
        "DB", "1", "ABSTTL", "IDLETIME", "FREQ",
    ],
    commands: &[
        Generator::new("del", 1, |r| some(r, 4, any_key)),
        Generator::new("unlink", 1, |r| some(r, 4, any_key)),
        Generator::new("exists", 2, |r| some(r, 4, any_key)),
        Generator::new("touch", 1, |r| some(r, 4, any_key)),
        Generator::new("type", 2, |r| args![any_key(r)]),
        Generator::new("object|encoding", 3, |r| args![any_key(r)]),
        Generator::new("object|refcount", 1, |r| args![any_key(r)]),
        Generator::new("keys", 1, |r| args![one_of(r, PATTERNS)]).compared(Rule::Unordered),
        Generator::new("scan", 1, |r| split(r.pick::<&str>(SCANS))).compared(Rule::Scan).sensible_only(),
        Generator::new("rename", 2, |r| args![any_key(r), any_key(r)]),
        Generator::new("renamenx", 1, |r| args![any_key(r), any_key(r)]),
        Generator::new("copy", 3, copy),
        Generator::new("move", 1, |r| args![any_key(r), one_of(r, &["0", "1", "1", "1", "99"])]),
        Generator::new("swapdb", 1, |r| args![one_of(r, &["0", "1"]), one_of(r, &["0", "1", "-1"])])
            .sensible_only(),
        Generator::new("restore", 2, restore),
        Generator::new("wait", 1, |r| args!["0", index(r)]).sensible_only(),
        Generator::new("dbsize", 1, |_| args![]),
        Generator::new("flushdb", 1, |_| args![]).sensible_only(),
    ],
};

fn copy(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![any_key(random), any_key(random)];
    args.extend(
        random
            .chance(3)
            .then(|| args!["DB", one_of(random, &["0", "1", "1", "16", "x"])])
            .into_iter()
            .flatten(),
    );
    args.extend(random.chance(2).then(|| b"REPLACE".to_vec()));
    args
}

/// Strings in payloads.
const OBJECTS: &[&[u8]] = &[
    b"\x00\x00",
    b"\x00\x03abc",
    b"\x00\x0212",
    b"\x00\xc0\x85",
    b"\x00\xc1\x05\xff",
    b"\x00\xc2\x05\xff\xff\xff",
    b"\x00\x40\x2daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"\x00\xc3\x06\x15\x01aa\xe0\x0a\x00",
    b"\x00\xc3\x03\x02\x0112",
    b"\x00\xc4\x03abc",
    b"\xff\x03abc",
];

fn restore(random: &mut Random) -> Vec<Vec<u8>> {
    let mut payload = random.pick(OBJECTS).to_vec();
    payload.extend_from_slice(&[*random.pick(&[10, 10, 10, 9, 13]), 0]);
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    if random.chance(20) {
        payload[0] ^= 1;
    }
    let mut args = args![any_key(random), "0", payload];
    if random.chance(3) {
        args[1] = one_of(random, &["1", "33177117420000", "-1", "x"]);
        args.push(b"ABSTTL".to_vec());
    }
    args.extend(random.chance(2).then(|| b"REPLACE".to_vec()));
    args
}
