//! HyperLogLog: counts of distinct elements, and the strings that contain them.

use super::words::some;
use super::{Family, Generator, run_with};
use crate::args;
use crate::support::random::{Random, seeds};

const REGISTERS: u32 = 16384;

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
        Generator::new("get", 6, |r| args![counter(r)]),
        Generator::new("set", 1, damaged),
        Generator::new("strlen", 1, |r| args![counter(r)]),
        Generator::new("append", 1, |r| args![counter(r), "\0"]),
        Generator::new("del", 1, |r| args![counter(r)]),
    ],
};

/// Mostly a HyperLogLog, else a key of another type. Keys of other strings are excluded, because those may contain any
/// bytes.
fn counter(random: &mut Random) -> Vec<u8> {
    let kind =
        if random.chance(16) { *random.pick(&["list", "set", "hash", "zset", "stream"]) } else { "hll" };
    format!("{kind}:{}", random.below(4)).into_bytes()
}

/// A few elements, or enough of them to outgrow the sparse form.
fn add(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![counter(random)];
    let most = *random.pick(&[1, 4, 4, 4, 30, 1500]);
    args.extend(some(random, most, |r| format!("element-{}", r.below(20_000)).into_bytes()));
    if random.chance(20) {
        args.truncate(1);
    }
    args
}

/// A string that begins like a HyperLogLog and then differs. No run of zeros lacks its second byte, because Redis then
/// reads beyond the string. No bytes follow the last register: Redis ignores those until 7.2.10.
fn damaged(random: &mut Random) -> Vec<Vec<u8>> {
    let mut value = b"HYLL".to_vec();
    value.push(random.below(3) as u8);
    value.extend([0; 3]);
    value.extend([0, 0, 0, 0, 0, 0, 0, *random.pick(&[0, 0x80])]);
    let mut registers = 0;
    for _ in 0..random.below(4) {
        let (opcode, count) = *random.pick::<(&[u8], u32)>(&[
            (b"\x7f\xfe", 0x3fff),
            (b"\x40\x40", 0x41),
            (b"\x00", 1),
            (b"\x84", 1),
            (b"\x3f", 0x40),
            (b"\xff", 4),
        ]);
        value.extend_from_slice(opcode);
        registers += count;
        if registers == REGISTERS {
            break;
        }
    }
    args![counter(random), value]
}

#[test]
fn sketches_are_the_same_bytes_whatever_the_limit_of_a_sparse_one() {
    for limit in [0, 25, 60, 400, 1500, 20_000] {
        run_with(&format!("--hll-sparse-max-bytes {limit}"), &[&FAMILY], &seeds(&[21, 22, 24]), 300);
    }
}
