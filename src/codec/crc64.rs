//! The checksum of DUMP payloads and RDB files: CRC-64 with Jones's polynomial, reflected, starting from 0.
//!
//! It uses "slicing" (Kounavis and Berry, 2005): a byte's effect on the remainder does not depend on the other bytes, so
//! sixteen bytes at a time are looked up in sixteen tables, one for each distance to the end of the group, and xored
//! together. The lookups of a group do not wait for each other; only eight of them wait for the previous group.
//!
//! Costs: 32 KiB of tables in the binary, computed at compile time; about 3 GB/s from the L1 cache.

/// x⁶⁴ + …, lowest bit first: 0xad93d23594c935a9 read backwards.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

const SLICES: usize = 16;

/// `TABLES[n][b]`: the remainder of byte `b` followed by `n` zero bytes.
static TABLES: [[u64; 256]; SLICES] = tables();

#[expect(clippy::large_stack_arrays, reason = "the stack is that of the compiler")]
const fn tables() -> [[u64; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
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
            tables[slice][byte] = tables[0][(shorter & 0xff) as usize] ^ shorter >> 8;
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// Extends the checksum `crc` of the preceding data (0 for none) by `bytes`.
pub fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    let (groups, rest) = bytes.as_chunks::<SLICES>();
    for group in groups {
        let (head, tail) = group.split_at(8);
        crc = slices(crc ^ word(head), 8) ^ slices(word(tail), 0);
    }
    for byte in rest {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    }
    crc
}

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    update(0, bytes)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The remainder of eight bytes that are followed by `zeroes` zero bytes.
#[inline]
fn slices(word: u64, zeroes: usize) -> u64 {
    let mut remainder = 0;
    for (at, byte) in word.to_le_bytes().into_iter().enumerate() {
        remainder ^= TABLES[zeroes + 7 - at][usize::from(byte)];
    }
    remainder
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_have_their_checksums() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(checksum(b""), 0);
        let text = b"This is a test of the emergency broadcast system.";
        assert_eq!(checksum(text), 0x4215_3dc5_db99_540f);
    }

    /// The definition: one bit at a time.
    fn by_definition(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_have_the_checksum_of_the_definition(
            bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..100
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(update(checksum(head), tail), by_definition(&bytes));
        }
    }
}
