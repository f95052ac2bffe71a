//! Strings as arrays of bits, and as arrays of small integers.

use super::words::{index, key, key_of, number, one_of, some};
use super::{Family, Generator};
use crate::args;
use crate::support::random::Random;

const TYPES: &[&str] =
    &["u1", "i5", "u8", "i8", "u16", "i33", "u63", "i64", "u64", "i65", "u0", "x8", "8", "i"];

pub const FAMILY: Family = Family {
    name: "bitmaps",
    words: &[
        "BYTE", "BIT", "AND", "OR", "XOR", "NOT", "GET", "SET", "INCRBY", "OVERFLOW", "WRAP", "u8", "#1", "0",
    ],
    commands: &[
        Generator::new("setbit", 5, |r| args![bits(r), offset(r), one_of(r, &["0", "1", "1", "1", "2"])]),
        Generator::new("getbit", 3, |r| args![bits(r), offset(r)]),
        Generator::new("bitcount", 3, |r| ranged(r, vec![])),
        Generator::new("bitpos", 4, |r| {
            let bit = one_of(r, &["0", "1", "1", "0", "2", "x"]);
            ranged(r, vec![bit])
        }),
        Generator::new("bitop", 3, bitop),
        Generator::new("bitfield", 4, |r| fields(r, &["GET", "SET", "INCRBY", "OVERFLOW"])),
        Generator::new("bitfield_ro", 2, |r| fields(r, &["GET", "GET", "GET", "GET", "GET", "SET"])),
    ],
};

/// Mostly a bitmap key; any string is possible.
fn bits(random: &mut Random) -> Vec<u8> {
    if random.chance(4) { key(random) } else { key_of(random, "bits") }
}

fn offset(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => one_of(random, &["-1", "4294967296", "9223372036854775807", "x", "", "1.5", "01"]),
        1 => random.below(100_000).to_string().into_bytes(),
        _ => random.below(300).to_string().into_bytes(),
    }
}

/// A key, `before`, and sometimes a range and its unit.
fn ranged(random: &mut Random, before: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut args = args![bits(random)];
    args.extend(before);
    let bounds = random.below(4);
    for _ in 0..bounds.min(2) {
        args.push(if random.chance(3) { offset(random) } else { index(random) });
    }
    if bounds == 3 {
        args.push(one_of(random, &["BIT", "BYTE", "bit", "BYTES"]));
    }
    args
}

fn bitop(random: &mut Random) -> Vec<Vec<u8>> {
    let mut args = args![one_of(random, &["AND", "OR", "XOR", "NOT", "and", "NAND"]), bits(random)];
    args.extend(some(random, 4, bits));
    args
}

fn fields(random: &mut Random, operations: &[&str]) -> Vec<Vec<u8>> {
    let mut args = args![bits(random)];
    for _ in 0..=random.below(4) {
        let operation = one_of(random, operations);
        if operation == b"OVERFLOW" {
            args.extend([operation, one_of(random, &["WRAP", "SAT", "FAIL", "fail", "NONE"])]);
            continue;
        }
        let place =
            if random.chance(3) { format!("#{}", random.below(9)).into_bytes() } else { offset(random) };
        let value = (operation != b"GET").then(|| number(random));
        args.extend([operation, one_of(random, TYPES), place]);
        args.extend(value);
    }
    args
}
