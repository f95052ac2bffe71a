//! Maps an element to its register: MurmurHash64A, and the length of the run of zero bits in the hash.
//!
//! Source: Austin Appleby, MurmurHash2 (64-bit variant A), with words read in little-endian order on every machine, and
//! the seed that Redis uses. Both are part of the format: with another hash, an element counted elsewhere would select
//! another register.

use super::INDEX_BITS;

const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// A register, and the rank to which an element raises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The index of the register, below 16,384.
    pub register: usize,
    /// One more than the number of zero bits that follow the register's index in the hash: 1 to 51.
    pub rank: u8,
}

impl Observation {
    /// Returns the register and rank of `element`.
    pub fn of(element: &[u8]) -> Observation {
        let hash = murmur64a(element);
        let rest = hash >> INDEX_BITS | 1 << (u64::BITS as usize - INDEX_BITS);
        Observation {
            register: (hash & ((1 << INDEX_BITS) - 1)) as usize,
            rank: rest.trailing_zeros() as u8 + 1,
        }
    }
}

fn murmur64a(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_go_to_the_same_registers_as_in_redis() {
        // From redis-server 7.0: PFADD, then PFDEBUG DECODE.
        let redis = [
            ("", 5938, 2),
            ("a", 12711, 2),
            ("ab", 719, 1),
            ("abc", 9474, 1),
            ("abcd", 11070, 8),
            ("abcde", 3726, 4),
            ("abcdef", 13647, 2),
            ("abcdefg", 5634, 2),
            ("abcdefgh", 1383, 1),
            ("abcdefghi", 6903, 1),
            ("0123456789abcdef", 5949, 1),
            ("the quick brown fox jumps over the lazy dog", 5508, 3),
        ];
        for (element, register, rank) in redis {
            assert_eq!(Observation::of(element.as_bytes()), Observation { register, rank }, "{element}");
        }
    }

    #[test]
    fn a_hash_of_zeroes_behind_the_index_has_the_highest_rank() {
        let ranks = (0..100_000u32).map(|n| Observation::of(&n.to_le_bytes()).rank);
        assert!(ranks.clone().all(|rank| (1..=51).contains(&rank)));
        assert!(ranks.max() > Some(12));
    }
}
