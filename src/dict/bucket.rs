//! One cache line of the table: a metadata word and seven slots, and the hint that a slot holds besides its pointer.
//!
//! An address has 48 bits, a word has 64. The sixteen spare bits of a slot keep the part of the hash that a resize needs,
//! so that moving an entry to a larger or smaller table does not touch the entry itself, which would cost a cache miss
//! for every key of the keyspace:
//!
//! ```text
//!   63        60 59                  48 47                                            0
//!  ┌────────────┬──────────────────────┬───────────────────────────────────────────────┐
//!  │displacement│  known: 0001bbbbbbbb │                address of the entry           │
//!  └────────────┴──────────────────────┴───────────────────────────────────────────────┘
//! ```
//!
//! * *displacement*: how many steps of the probe order lie between the entry's home bucket and this one; 15 means
//!   "unknown". Position and displacement give the home bucket, that is, the hash's low `k` bits.
//! * *known*: the next higher bits of the hash, up to eleven of them, below a leading 1 that marks how many there
//!   are. Growing from `k` to `k + 1` index bits uses up the lowest of them; shrinking gives bits back.
//!
//! So a newly inserted entry survives eleven doublings (a factor of 2,048) before its key must be hashed again.

use super::group::{Group, SLOTS};
use super::order;
use std::ptr::NonNull;

/// A bucket: word 0 is the [`Group`], words 1 to 7 are slots. All zeros is an empty bucket.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    words: [u64; 1 + SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    pub(super) const EMPTY: Self = Self { words: [0; 1 + SLOTS] };

    #[inline]
    pub(super) fn group(&self) -> Group {
        Group(self.words[0])
    }

    #[inline]
    pub(super) fn set_group(&mut self, group: Group) {
        self.words[0] = group.0;
    }

    /// The content of `slot` (1 to 7); meaningful only while the group says that the slot is present.
    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Slot {
        Slot(self.words[slot])
    }

    #[inline]
    pub(super) fn set_slot(&mut self, slot: usize, value: Slot) {
        debug_assert_ne!(slot, 0, "word 0 is the metadata");
        self.words[slot] = value.0;
    }
}

const ADDRESS_BITS: u32 = 48;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
/// How many hash bits above the index a slot can remember.
const KNOWN_BITS: u32 = 11;
/// The displacement that stands for "unknown: hash the key".
pub(super) const FAR: usize = 15;

/// The known hash bits above a table's index, for an entry: `count` bits below a leading 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known(u16);

impl Known {
    /// The known bits of a whole hash, for a table with `index_bits`.
    #[inline]
    pub(super) fn of_hash(hash: u64, index_bits: u32) -> Self {
        Self(1 << KNOWN_BITS | (hash >> index_bits) as u16 & ((1 << KNOWN_BITS) - 1))
    }
}

#[cfg(test)]
impl Known {
    /// Whether all bits known here are equal in `whole`, in which all bits are known.
    pub(super) fn agrees_with(self, whole: Self) -> bool {
        let low = (1 << self.0.ilog2()) - 1;
        (self.0 ^ whole.0) & low == 0
    }
}

/// A packed pointer to an entry with its hint.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Slot(u64);

impl Slot {
    /// Packs an entry that is `displacement` steps after its home bucket.
    #[inline]
    pub(super) fn new(entry: NonNull<u8>, displacement: usize, known: Known) -> Self {
        let hint = (displacement.min(FAR) as u64) << 12 | u64::from(known.0);
        Self(hint << ADDRESS_BITS).with_entry(entry)
    }

    #[inline]
    pub(super) fn entry(self) -> NonNull<u8> {
        let address = (self.0 & ADDRESS) as usize;
        debug_assert_ne!(address, 0, "a present slot holds a pointer");
        // SAFETY: slots are made only from `NonNull` pointers whose address fits in 48 bits (a promise of `Item`),
        // so the masked address is the address of that pointer.
        unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address)) }
    }

    /// Returns the slot with the same hint and another entry of the same key.
    #[inline]
    pub(super) fn with_entry(self, entry: NonNull<u8>) -> Self {
        let address = entry.as_ptr().expose_provenance() as u64;
        debug_assert_eq!(address & !ADDRESS, 0, "an entry's address has 48 bits");
        Self(self.0 & !ADDRESS | address & ADDRESS)
    }

    /// Returns the slot with the same entry, `displacement` steps after its home bucket.
    #[inline]
    pub(super) fn with_displacement(self, displacement: usize) -> Self {
        Self(self.0 << 4 >> 4 | (displacement.min(FAR) as u64) << 60)
    }

    /// The steps from the home bucket, at most 15.
    #[inline]
    pub(super) fn displacement(self) -> usize {
        (self.0 >> 60) as usize
    }

    /// Returns the place in a table with `to_bits` of an entry from bucket `at` of a table with `from_bits`: its home
    /// bucket there and the known bits above it. `None`: the key must be hashed.
    #[inline]
    pub(super) fn rehome(self, at: usize, from_bits: u32, to_bits: u32) -> Option<(usize, Known)> {
        let displacement = self.displacement();
        if displacement == FAR {
            return None;
        }
        let known = (self.0 >> ADDRESS_BITS) & 0xfff;
        let count = known.ilog2();
        // The hash's low bits, as far as they are known.
        let hash = order::back(at, displacement, from_bits) as u64 | (known ^ 1 << count) << from_bits;
        let left = (from_bits + count).checked_sub(to_bits)?.min(KNOWN_BITS);
        let home = hash & ((1 << to_bits) - 1);
        Some((home as usize, Known(1 << left | (hash >> to_bits) as u16 & ((1 << left) - 1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> NonNull<u8> {
        NonNull::new(std::ptr::without_provenance_mut(0x7fff_1234_5678)).unwrap()
    }

    #[test]
    fn a_slot_gives_back_the_pointer_whatever_the_hint() {
        for displacement in 0..40 {
            for bits in [0, 5, 40] {
                let slot = Slot::new(entry(), displacement, Known::of_hash(u64::MAX, bits));
                assert_eq!(slot.entry().as_ptr().addr(), entry().as_ptr().addr());
            }
        }
    }

    #[test]
    fn rehoming_through_any_sizes_agrees_with_the_hash_until_it_asks_for_it() {
        let hash = 0x9e37_79b9_7f4a_7c15_u64;
        let home = |bits: u32| (hash & ((1 << bits) - 1)) as usize;
        for first in 0..30_u32 {
            for steps in 0..15 {
                let mask = (1 << first) - 1;
                let steps = if first == 0 { 0 } else { steps };
                let at = (0..steps).fold(home(first), |at, _| order::next(at, mask));
                let slot = Slot::new(entry(), steps, Known::of_hash(hash, first));
                for second in 0..=first + KNOWN_BITS {
                    let (there, known) = slot.rehome(at, first, second).expect("eleven doublings are known");
                    assert_eq!(there, home(second), "{first} to {second} bits");
                    // And back, with the hint from the first move.
                    let again = Slot::new(entry(), 0, known).rehome(there, second, first);
                    if first <= second + KNOWN_BITS {
                        assert_eq!(
                            again.map(|(home, _)| home),
                            Some(home(first)),
                            "{second} back to {first}"
                        );
                    } else {
                        assert_eq!(again, None, "more bits were dropped than a slot keeps");
                    }
                }
                assert_eq!(slot.rehome(at, first, first + KNOWN_BITS + 1), None);
            }
            assert_eq!(Slot::new(entry(), 15, Known::of_hash(hash, first)).rehome(0, first, first), None);
        }
    }
}
