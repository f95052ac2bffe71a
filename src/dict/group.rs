//! A bucket's metadata word, and the one comparison that checks seven tags at once.
//!
//! The eight bytes of a word are used as a small vector. Byte 0 carries the bucket's flag; byte `i` (1 to 7) describes the
//! bucket's word `i`:
//!
//! ```text
//!    byte   7     6     5     4     3     2     1     0
//!         ┌─────┬─────┬─────┬─────┬─────┬─────┬─────┬─────┐     a tag byte:  1ttttttt  present, 7 bits of the hash
//!         │ tag │ tag │ tag │ tag │ tag │ tag │ tag │flag │                  0-------  the slot is free
//!         └─────┴─────┴─────┴─────┴─────┴─────┴─────┴─────┘     the flag:    -------1  an insert had to go past
//! ```
//!
//! `x = metadata ^ tag in every byte` has a zero byte where the tag matches, and `(x - 1) & !x` has the byte's high
//! bit set there (Mycroft's zero-byte test). The test may also report the byte above a match if that byte is exactly 1,
//! that is, if a *present* slot's tag differs in the lowest bit only. The caller compares keys anyway, so this costs a
//! wasted comparison, never a wrong result. A free slot is never reported: its byte of `x` has the high bit set.
//!
//! This takes a multiplication (which does not wait for the bucket) and five plain operations, the same on every
//! machine. An SSE2 version (`movq`, `pcmpeqb`, `pmovmskb`) was measured against it in whole lookups: throughput was 5 %
//! higher, but latency 2 % worse, because eight bytes are too few to pay for two moves between the register files. That
//! does not justify a second version.

/// The high bit of every tag byte.
const PRESENT: u64 = 0x8080_8080_8080_8000;
/// One in every tag byte.
const ONES: u64 = 0x0101_0101_0101_0100;
/// The flag: some insert found this bucket full and continued. It outlives the entries that filled the bucket.
const EVER_FULL: u64 = 1;

/// The slots of a bucket, and so its capacity.
pub(super) const SLOTS: usize = 7;

/// A bucket's metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Group(pub(super) u64);

/// The tag byte of a hash: its top seven bits, and the presence bit.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash >> 57) as u8 | 0x80
}

impl Group {
    /// The present slots with `tag` (and the rare neighbour, see the module's head).
    #[inline]
    pub(super) fn match_tag(self, tag: u8) -> Slots {
        let x = self.0 ^ (u64::from(tag) * ONES);
        Slots(x.wrapping_sub(ONES) & !x & PRESENT)
    }

    /// The slots that hold an entry.
    #[inline]
    pub(super) fn match_full(self) -> Slots {
        Slots(self.0 & PRESENT)
    }

    /// The slots that are free.
    #[inline]
    pub(super) fn match_free(self) -> Slots {
        Slots(!self.0 & PRESENT)
    }

    /// Whether some insert went past this bucket, so that a lookup must too.
    #[inline]
    pub(super) fn ever_full(self) -> bool {
        self.0 & EVER_FULL != 0
    }

    #[inline]
    pub(super) fn is_present(self, slot: usize) -> bool {
        debug_assert!((1..=SLOTS).contains(&slot));
        self.0 >> (slot * 8 + 7) & 1 != 0
    }

    #[inline]
    pub(super) fn tag(self, slot: usize) -> u8 {
        (self.0 >> (slot * 8)) as u8
    }

    /// Returns the group with `tag` in the free `slot`.
    #[inline]
    pub(super) fn with(self, slot: usize, tag: u8) -> Self {
        debug_assert!(!self.is_present(slot) && tag & 0x80 != 0);
        self.without(slot).or(u64::from(tag) << (slot * 8))
    }

    /// Returns the group with `slot` free.
    #[inline]
    pub(super) fn without(self, slot: usize) -> Self {
        Self(self.0 & !(0xff << (slot * 8)))
    }

    #[inline]
    pub(super) fn with_ever_full(self) -> Self {
        self.or(EVER_FULL)
    }

    #[inline]
    pub(super) fn without_ever_full(self) -> Self {
        Self(self.0 & !EVER_FULL)
    }

    #[inline]
    fn or(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }
}

/// A set of slots (1 to 7), iterated from the lowest.
#[derive(Clone, Debug)]
pub(super) struct Slots(u64);

impl Slots {
    #[inline]
    pub(super) fn first(&self) -> Option<usize> {
        std::num::NonZeroU64::new(self.0).map(|bits| bits.trailing_zeros() as usize / 8)
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.first()?;
        self.0 &= self.0 - 1;
        Some(slot)
    }

    #[inline]
    fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_of(tags: [u8; SLOTS], flag: u64) -> Group {
        Group(tags.iter().rev().fold(0, |bits, &tag| bits << 8 | u64::from(tag)) << 8 | flag)
    }

    /// Checks every pair of neighbouring bytes at every place, among bytes that match and bytes that do not.
    #[test]
    fn every_match_is_found_and_only_present_slots_are_named() {
        for (tag, around) in [(0x80, 0x00), (0x80, 0x80), (0xff, 0xfe), (0xa5, 0x25), (0x81, 0x80)] {
            for at in 0..SLOTS {
                for low in 0..=255 {
                    for high in 0..=255 {
                        let mut tags = [around; SLOTS];
                        tags[at] = low;
                        if at + 1 < SLOTS {
                            tags[at + 1] = high;
                        }
                        for flag in 0..2 {
                            let found: Vec<usize> = group_of(tags, flag).match_tag(tag).collect();
                            for slot in 1..=SLOTS {
                                let here = tags[slot - 1];
                                if here == tag {
                                    assert!(found.contains(&slot), "{tags:x?} has {tag:x} at {slot}");
                                } else if found.contains(&slot) {
                                    assert_eq!(here ^ tag, 1, "{tags:x?}: {slot} named for {tag:x}");
                                    assert!(slot > 1 && found.contains(&(slot - 1)));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn full_and_free_slots_make_up_the_bucket() {
        for present in 0_u32..128 {
            let tags = std::array::from_fn(|i| if present >> i & 1 != 0 { 0x80 | i as u8 } else { 0 });
            for flag in 0..2 {
                let group = group_of(tags, flag);
                let full: Vec<usize> = group.match_full().collect();
                let free: Vec<usize> = group.match_free().collect();
                for slot in 1..=SLOTS {
                    let is = present >> (slot - 1) & 1 != 0;
                    assert_eq!(
                        (full.contains(&slot), free.contains(&slot), group.is_present(slot)),
                        (is, !is, is)
                    );
                }
                assert_eq!(full.len() + free.len(), SLOTS);
                assert_eq!(group.ever_full(), flag == 1);
            }
        }
    }

    #[test]
    fn taking_and_freeing_a_slot_leaves_the_others_and_the_flag_alone() {
        let group = group_of([0x81, 0, 0xff, 0, 0x80, 0x90, 0], 1);
        let taken = group.with(2, 0xc3);
        assert_eq!(taken, group_of([0x81, 0xc3, 0xff, 0, 0x80, 0x90, 0], 1));
        assert_eq!((taken.tag(2), taken.without(2)), (0xc3, group));
        assert!(Group(0).with_ever_full().ever_full());
    }
}
