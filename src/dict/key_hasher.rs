//! The hash of a key of a database. In cluster mode it contains the key's hash slot:
//!
//! ```text
//!   63    57 56             43 42                                          0
//!  ┌────────┬─────────────────┬─────────────────────────────────────────────┐
//!  │  tag   │    hash slot    │       known bits, index of the bucket       │
//!  └────────┴─────────────────┴─────────────────────────────────────────────┘
//! ```
//!
//! So a function that takes the hash of a key also knows its slot, without another argument. The slot replaces bits
//! that a dict does not use: a table of 2³² buckets and the eleven bits above its index end at bit 43.
//!
//! Costs: nothing outside of cluster mode. The comparison that selects the short path of the hash function is with a
//! number that no length is below in cluster mode, so short keys need no other test. In cluster mode the CRC of the
//! key is computed in addition, about five instructions a byte.

use super::Seed;
use super::hash::{SHORT, Secrets};
use crate::codec::hash_slot::{self, HASH_SLOTS, Prefix};

const SLOT_SHIFT: u32 = 43;

/// The bits of a hash that contain the hash slot in cluster mode.
pub(super) const SLOT_BITS: u64 = (HASH_SLOTS as u64 - 1) << SLOT_SHIFT;

/// Hashes the keys of the databases.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    /// A copy of the seed's words, which saves following its reference.
    secrets: Secrets,
    seed: Seed,
    /// The length of the longest key whose hash is that of the short path: −1 in cluster mode.
    plain: isize,
}

/// What the keys with one hash tag have in common.
#[derive(Clone, Copy)]
pub struct HashTag<'a> {
    prefix: Prefix<'a>,
    slot: u16,
}

impl KeyHasher {
    /// A hasher with `seed`. With `slots`, hashes contain the hash slots of the keys.
    pub const fn new(seed: Seed, slots: bool) -> KeyHasher {
        KeyHasher { secrets: seed.secrets(), seed, plain: if slots { -1 } else { SHORT as isize } }
    }

    /// The hash slot in the hash of a key.
    #[inline]
    pub fn slot_of(hash: u64) -> usize {
        slot_of(hash)
    }

    /// Whether hashes contain hash slots.
    pub fn has_slots(&self) -> bool {
        self.plain < 0
    }

    /// The seed of the hashes.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The hash of `key`, for the dict of a database.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        #[cfg(any(test, fuzzing))]
        if !self.has_slots() {
            // The seed may be a plain one.
            return self.secrets.hash(key);
        }
        if key.len() as isize <= self.plain {
            self.secrets.hash_short(key)
        } else if self.has_slots() {
            self.hash_with_slot(key)
        } else {
            self.secrets.hash_long(key)
        }
    }

    /// The hash tag of `key`, for [`KeyHasher::hash_tagged`]; `None` outside of cluster mode and for keys without one.
    #[inline]
    pub fn tag<'a>(&self, key: &'a [u8]) -> Option<HashTag<'a>> {
        let prefix = if self.has_slots() { Prefix::of(key)? } else { return None };
        Some(HashTag { prefix, slot: prefix.slot() })
    }

    /// [`KeyHasher::hash`], without another CRC if `key` has this hash tag.
    #[inline]
    pub fn hash_tagged(&self, key: &[u8], tag: Option<HashTag<'_>>) -> u64 {
        match tag {
            Some(tag) if tag.prefix.begins(key) => {
                self.secrets.hash(key) & !SLOT_BITS | u64::from(tag.slot) << SLOT_SHIFT
            }
            _ => self.hash(key),
        }
    }

    #[inline(never)]
    fn hash_with_slot(&self, key: &[u8]) -> u64 {
        self.secrets.hash(key) & !SLOT_BITS | u64::from(hash_slot::of_key(key)) << SLOT_SHIFT
    }
}

/// The hash slot in the hash of a key.
#[inline]
pub(super) fn slot_of(hash: u64) -> usize {
    (hash >> SLOT_SHIFT) as usize % HASH_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_the_slot_of_its_key_and_else_the_bits_of_the_seed() {
        let seed = Seed::new([3, 4]);
        let (plain, slotted) = (KeyHasher::new(seed, false), KeyHasher::new(seed, true));
        for len in 0..40 {
            for n in 0..50u8 {
                let key: Vec<u8> = (0..len).map(|at| b'a' + n.wrapping_mul(at) % 26).collect();
                assert_eq!(plain.hash(&key), seed.hash(&key));
                let hash = slotted.hash(&key);
                assert_eq!(slot_of(hash), usize::from(hash_slot::of_key(&key)));
                assert_eq!((hash ^ seed.hash(&key)) & !SLOT_BITS, 0);
                assert!(seed.agrees(hash, &key) && seed.agrees(seed.hash(&key), &key));
                assert!(!seed.agrees(hash ^ 1, &key) && !seed.agrees(hash ^ 1 << 63, &key));
            }
        }
    }

    #[test]
    fn a_key_has_the_same_hash_whether_another_key_has_its_hash_tag_or_not() {
        let seed = Seed::new([3, 4]);
        let (plain, slotted) = (KeyHasher::new(seed, false), KeyHasher::new(seed, true));
        let keys: [&[u8]; 9] =
            [b"{tag}a", b"{tag}b", b"{tag}", b"x{tag}a", b"{tag", b"{}tag}", b"{tag}{other}", b"", b"tag"];
        for first in keys {
            assert!(plain.tag(first).is_none());
            for key in keys {
                assert_eq!(slotted.hash_tagged(key, slotted.tag(first)), slotted.hash(key));
                assert_eq!(plain.hash_tagged(key, plain.tag(first)), plain.hash(key));
            }
        }
    }
}
