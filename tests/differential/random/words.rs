//! The arguments of commands: keys, values, numbers, times. Few of each, so that commands often use the same keys.

use crate::support::random::Random;

/// Keys of strings, and keys that any family may use.
const KEYS: &[&str] = &["a", "b", "c", "key:1", "key:2", "key:3", "counter", "", "k\u{0}k", "missing"];

/// The first parts of the keys of the other families (see [`key_of`]).
const KINDS: &[&str] = &["list", "set", "hash", "zset", "stream", "hll", "geo", "bits"];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "1000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "33177117420",
    "33177117420000",
    "01",
    "+1",
    "-0",
    "1.5",
    "0.1",
    "-2.25",
    "3.0e3",
    "1e-3",
    "abc",
    "",
    " 1",
    "1 ",
    "0x10",
    "nan",
    "inf",
    "1e400",
];

/// Invalid times to live besides the plain ones: refused, long past, or far in the future, never soon.
const ODD_TIMES: &[&str] = &[
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "33177117420",
    "33177117420000",
    "01",
    "+1",
    "-0",
    "1.5",
    "abc",
    "",
    " 1",
    "0x10",
    "nan",
    "1e400",
    "9223372036854775",
    "9223372036854776",
];

/// A key of a string; one in sixteen belongs to another family.
pub fn key(random: &mut Random) -> Vec<u8> {
    if random.chance(16) { other_key(random) } else { random.pick(KEYS).as_bytes().to_vec() }
}

/// One of four keys `kind:N`; one in sixteen belongs to any family. `kind` is one of `KINDS`.
pub fn key_of(random: &mut Random, kind: &str) -> Vec<u8> {
    debug_assert!(KINDS.contains(&kind), "{kind} is not in KINDS");
    if random.chance(16) { other_key(random) } else { format!("{kind}:{}", random.below(4)).into_bytes() }
}

/// A key of any family except HyperLogLog: Redis reads beyond the string if one is damaged in the wrong place.
fn other_key(random: &mut Random) -> Vec<u8> {
    loop {
        let key = any_key(random);
        if !key.starts_with(b"hll") {
            return key;
        }
    }
}

/// A key of any family; half of them are strings.
pub fn any_key(random: &mut Random) -> Vec<u8> {
    if random.chance(2) {
        return random.pick(KEYS).as_bytes().to_vec();
    }
    format!("{}:{}", random.pick(KINDS), random.below(4)).into_bytes()
}

/// An integer of any size, or a word that is almost one.
pub fn number(random: &mut Random) -> Vec<u8> {
    if random.chance(2) {
        return ((random.next() as i64) >> random.below(64)).to_string().into_bytes();
    }
    random.pick(NUMBERS).as_bytes().to_vec()
}

/// A small integer around 0, as an index or a count; one in twenty is odd.
pub fn index(random: &mut Random) -> Vec<u8> {
    if random.chance(20) {
        return random.pick(NUMBERS).as_bytes().to_vec();
    }
    (random.below(24) as i64 - 8).to_string().into_bytes()
}

/// All keys that commands of several families use.
pub fn all_keys() -> Vec<Vec<u8>> {
    let numbered = |kind: &&str| -> Vec<Vec<u8>> {
        let kind = *kind;
        (0..4).map(|number| format!("{kind}:{number}").into_bytes()).collect()
    };
    let plain = KEYS.iter().map(|key| key.as_bytes().to_vec());
    plain.chain([&"row"].into_iter().chain(KINDS).flat_map(numbered)).collect()
}

/// Bytes of many kinds and lengths.
pub fn value(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..3 => number(random),
        3 => vec![b'x'; 40 + random.below(8)],
        4 => {
            let len = random.below(300);
            random.bytes(len)
        }
        5 => vec![b'y'; random.below(3000)],
        6 => vec![b'z'; *random.pick(&[32766, 32767, 32768, 40000])],
        _ => format!("value-{}", random.below(1000)).into_bytes(),
    }
}

/// A short member of a collection, from few, so that the same ones are used repeatedly; sometimes a long one or a
/// number.
pub fn member(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => number(random),
        1 => vec![b'm'; 60 + random.below(8)],
        2 => random.below(300).to_string().into_bytes(),
        _ => format!("m{}", random.below(40)).into_bytes(),
    }
}

/// One of `words`.
pub fn one_of(random: &mut Random, words: &[&str]) -> Vec<u8> {
    random.pick(words).as_bytes().to_vec()
}

/// One to `most` results of `make`.
pub fn some(random: &mut Random, most: usize, mut make: impl FnMut(&mut Random) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..=random.below(most)).map(|_| make(random)).collect()
}

/// The words of a text.
pub fn split(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// An invalid time to live, or one that does not end while a test runs.
pub fn odd_time(random: &mut Random) -> Vec<u8> {
    random.pick(ODD_TIMES).as_bytes().to_vec()
}

/// The time for the option or command `unit` (EX, PX, EXAT, PXAT, EXPIRE …): it does not end while the test runs, or
/// has ended already.
pub fn lifetime(random: &mut Random, unit: &str) -> Vec<u8> {
    let text = match (unit, random.below(10)) {
        (_, 0) => return odd_time(random),
        ("EXAT" | "EXPIREAT" | "PXAT" | "PEXPIREAT", 1) => "1",
        ("EXPIRE" | "PEXPIRE", 1) => "-1",
        ("EX" | "EXPIRE", _) => "100000",
        ("PX" | "PEXPIRE", _) => "100000000",
        ("EXAT" | "EXPIREAT", _) => random.pick(&["33177117420", "33177117421"]),
        _ => random.pick(&["33177117420000", "33177117420001"]),
    };
    text.as_bytes().to_vec()
}
