//! The hash slot of a key in a cluster: CRC-16 (XMODEM: polynomial 0x1021, highest bit first, starting from 0), modulo
//! 16384. If the key has a *hash tag*, bytes between the first `{` and the first `}` after it, only these count, so that
//! clients can put keys into the same slot.
//!
//! Uses "slicing" as `crc64` does, eight bytes at a time. A CRC that starts from 0 ignores zero bytes before the text,
//! so the bytes that do not fill a group come first, as a group with zeroes in front. No byte is processed alone.
//!
//! Costs: 4 KiB of tables in the binary, computed at compile time; about five instructions a byte.

use std::ops::Range;

/// The number of hash slots of a cluster.
pub const HASH_SLOTS: usize = 16384;

const POLYNOMIAL: u16 = 0x1021;

const SLICES: usize = 8;

/// `TABLES[n][b]`: the remainder of byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; SLICES] = tables();

const fn tables() -> [[u16; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder << 1 ^ if remainder >> 15 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[slice - 1][byte];
            tables[slice][byte] = tables[0][(shorter >> 8) as usize] ^ shorter << 8;
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// The CRC-16 of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    update(bytes, |_| ())
}

/// The CRC-16 of `bytes`, which are shown to `see` in groups: bytes of a number, some of which may be zero instead.
#[inline(always)]
fn update(bytes: &[u8], mut see: impl FnMut(u64)) -> u16 {
    let (first, groups) = bytes.split_at(bytes.len() % SLICES);
    let mut crc = 0;
    if !first.is_empty() {
        let group = padded(bytes, first.len());
        see(group);
        crc = slices(group);
    }
    for group in groups.as_chunks::<SLICES>().0 {
        let group = u64::from_be_bytes(*group);
        see(group);
        crc = slices(group ^ u64::from(crc) << 48);
    }
    crc
}

/// The first `len` bytes (1 to 7) with zero bytes in front, as a big-endian number.
#[inline]
fn padded(bytes: &[u8], len: usize) -> u64 {
    match bytes.first_chunk::<SLICES>() {
        Some(group) => u64::from_be_bytes(*group) >> (64 - 8 * len),
        None => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The remainder of eight bytes, a big-endian number.
#[inline]
fn slices(word: u64) -> u16 {
    let mut remainder = 0;
    for (table, byte) in TABLES.iter().zip(word.to_le_bytes()) {
        remainder ^= table[usize::from(byte)];
    }
    remainder
}

/// Eight equal bytes: a byte repeated by multiplication.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte that is zero, and maybe of bytes above the lowest of them.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// The place of the hash tag in `key`, without its braces. Most tags are short and begin the key.
#[inline]
fn tag(key: &[u8]) -> Option<Range<usize>> {
    if let Some([b'{', word @ ..]) = key.first_chunk::<9>() {
        let ends = zeros(u64::from_le_bytes(*word) ^ (ONES * u64::from(b'}')));
        if ends != 0 {
            let len = ends.trailing_zeros() as usize / 8;
            return (len > 0).then_some(1..1 + len);
        }
    }
    any_tag(key)
}

/// [`tag`] for all keys.
#[inline(never)]
fn any_tag(key: &[u8]) -> Option<Range<usize>> {
    let start = memchr::memchr(b'{', key)? + 1;
    let len = memchr::memchr(b'}', &key[start..])?;
    (len > 0).then_some(start..start + len)
}

/// The bytes of `key` that determine its hash slot: those of its hash tag, or all.
pub fn hashed_part(key: &[u8]) -> &[u8] {
    tag(key).map_or(key, |tag| &key[tag])
}

/// The bytes that a [`Prefix`] compares at once.
const WIDE: usize = 16;

/// The first bytes of a key, to the end of its hash tag: all keys that begin with them have the same slot.
///
/// Keys of at least `WIDE` bytes are compared as one number, usually without a call.
#[derive(Clone, Copy)]
pub struct Prefix<'a> {
    bytes: &'a [u8],
    /// Where the hash tag begins.
    start: usize,
    /// The first bytes as a number, and those bits of it that belong to the prefix.
    word: u128,
    mask: u128,
}

impl<'a> Prefix<'a> {
    /// The prefix of `key`; `None` if it has no hash tag.
    #[inline]
    pub fn of(key: &'a [u8]) -> Option<Prefix<'a>> {
        let Range { start, end } = tag(key)?;
        let bytes = &key[..=end];
        let unused = 8 * WIDE.saturating_sub(bytes.len());
        let mask = u128::MAX >> unused;
        let word = match key.first_chunk::<WIDE>() {
            Some(word) => u128::from_le_bytes(*word) & mask,
            None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)),
        };
        Some(Prefix { bytes, start, word, mask })
    }

    /// Whether `key` begins with these bytes.
    #[inline]
    pub fn begins(&self, key: &[u8]) -> bool {
        match key.first_chunk::<WIDE>() {
            Some(word) if self.bytes.len() <= WIDE => {
                (u128::from_le_bytes(*word) ^ self.word) & self.mask == 0
            }
            _ => key.starts_with(self.bytes),
        }
    }

    /// The hash slot of the keys that begin with these bytes.
    #[inline]
    pub fn slot(&self) -> u16 {
        crc16(&self.bytes[self.start..self.bytes.len() - 1]) & (HASH_SLOTS as u16 - 1)
    }
}

/// The hash slot of `key`, below [`HASH_SLOTS`].
#[inline]
pub fn of_key(key: &[u8]) -> u16 {
    if key.first() == Some(&b'{') {
        return of_tagged(key) & (HASH_SLOTS as u16 - 1);
    }
    // Not zero if a byte is a brace: the test for a zero byte, after the bytes of a brace have become zero.
    let mut braces = 0;
    let crc = update(key, |group| {
        braces |= zeros(group ^ (ONES * u64::from(b'{')));
    });
    let crc = if braces == 0 { crc } else { of_tagged(key) };
    crc & (HASH_SLOTS as u16 - 1)
}

/// The CRC of the part of `key` that counts. Most keys have no brace.
#[inline(never)]
fn of_tagged(key: &[u8]) -> u16 {
    crc16(hashed_part(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_have_their_checksums() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(crc16(b"A"), 0x58e5);
    }

    /// As `CLUSTER KEYSLOT` of Redis 7.0 answers.
    #[test]
    fn keys_have_the_slots_of_redis() {
        let slots: &[(&[u8], u16)] = &[
            (b"foo", 12182),
            (b"bar", 5061),
            (b"hello", 866),
            (b"somekey", 11058),
            (b"foo{hash_tag}", 2515),
            (b"hash_tag", 2515),
            (b"", 0),
        ];
        for &(key, slot) in slots {
            assert_eq!(of_key(key), slot, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn the_first_hash_tag_with_content_between_its_braces_counts() {
        assert_eq!(of_key(b"{user1000}.following"), of_key(b"user1000"));
        assert_eq!(of_key(b"{user1000}.followers"), of_key(b"user1000"));
        assert_eq!(hashed_part(b"foo{}{bar}"), b"foo{}{bar}", "an empty tag is no tag");
        assert_eq!(hashed_part(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hashed_part(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hashed_part(b"}foo{bar"), b"}foo{bar");
        assert_eq!(hashed_part(b"foo}{bar}"), b"bar");
    }

    /// The definition: one bit at a time.
    fn by_definition(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                crc << 1 ^ if crc >> 15 == 1 { POLYNOMIAL } else { 0 }
            })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_have_the_checksum_of_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&bytes), by_definition(&bytes));
        }

        #[test]
        fn any_key_has_the_slot_of_the_part_that_counts(key in "[{}a-e]{0,30}") {
            let key = key.as_bytes();
            prop_assert_eq!(of_key(key), by_definition(hashed_part(key)) % HASH_SLOTS as u16);
        }

        #[test]
        fn keys_that_begin_with_the_prefix_of_a_tag_have_its_slot(key in "[{}a-c]{0,12}", rest in "[{}a-c]{0,9}") {
            let prefix = Prefix::of(key.as_bytes());
            prop_assert_eq!(prefix.is_none(), hashed_part(key.as_bytes()) == key.as_bytes());
            if let Some(prefix) = prefix {
                let other = [prefix.bytes, rest.as_bytes()].concat();
                prop_assert_eq!(of_key(&other), of_key(key.as_bytes()));
                prop_assert_eq!(of_key(&other), prefix.slot());
            }
        }

        #[test]
        fn a_prefix_begins_the_keys_that_start_with_its_bytes(
            key in "[{}a-c]{0,24}",
            other in "[{}a-c]{0,24}",
            cut in 0..25_usize,
        ) {
            if let Some(prefix) = Prefix::of(key.as_bytes()) {
                let alike = [&key.as_bytes()[..cut.min(key.len())], other.as_bytes()].concat();
                for other in [other.as_bytes(), &alike, key.as_bytes()] {
                    prop_assert_eq!(prefix.begins(other), other.starts_with(prefix.bytes));
                }
            }
        }
    }
}
