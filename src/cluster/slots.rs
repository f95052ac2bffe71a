//! A set of hash slots: the bitmap of 2,048 bytes that bus messages carry, with its size.
//!
//! Slot `n` is bit `n % 8` of byte `n / 8`. Membership is O(1), the iterations skip empty bytes.

use std::fmt;
use std::ops::RangeInclusive;

/// The number of hash slots of a cluster.
pub const SLOTS: u16 = 16384;

/// The length of the bitmap in bytes.
pub const BITMAP: usize = SLOTS as usize / 8;

/// A set of hash slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    bits: Box<[u8; BITMAP]>,
    len: u16,
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet { bits: Box::new([0; BITMAP]), len: 0 }
    }
}

impl SlotSet {
    /// Returns the set with this bitmap.
    pub fn from_bits(bits: &[u8; BITMAP]) -> SlotSet {
        let len = bits.iter().map(|byte| byte.count_ones() as u16).sum();
        SlotSet { bits: Box::new(*bits), len }
    }

    /// Returns the set of the slots in `range`; slots beyond the last one are ignored.
    pub fn from_range(range: RangeInclusive<u16>) -> SlotSet {
        range.take_while(|slot| *slot < SLOTS).collect()
    }

    /// The bitmap, as in a message.
    pub fn bits(&self) -> &[u8; BITMAP] {
        &self.bits
    }

    /// The number of slots.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `slot` is in the set.
    #[inline]
    pub fn contains(&self, slot: u16) -> bool {
        self.bits.get(usize::from(slot / 8)).is_some_and(|byte| byte & (1 << (slot % 8)) != 0)
    }

    /// Adds a slot. Returns whether it is new; a number that is not a slot is ignored.
    pub fn insert(&mut self, slot: u16) -> bool {
        let is_new = slot < SLOTS && !self.contains(slot);
        if is_new {
            self.bits[usize::from(slot / 8)] |= 1 << (slot % 8);
            self.len += 1;
        }
        is_new
    }

    /// Removes a slot. Returns whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let was_there = self.contains(slot);
        if was_there {
            self.bits[usize::from(slot / 8)] &= !(1 << (slot % 8));
            self.len -= 1;
        }
        was_there
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.bits.fill(0);
        self.len = 0;
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        ones(&self.bits)
    }

    /// The maximal ranges of consecutive slots in ascending order. O(words + ranges), whatever their size, so that
    /// `nodes.conf` of 1,000 nodes is written in a few milliseconds.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let first = next_bit(&self.bits, from, true).filter(|_| !self.is_empty())?;
            from = next_bit(&self.bits, first, false).unwrap_or(SLOTS);
            Some(first..=from - 1)
        })
    }
}

/// The 64 slots from `word` · 64 on.
fn word_at(bits: &[u8; BITMAP], word: usize) -> u64 {
    let bytes = bits[word * 8..].first_chunk().expect("the bitmap has whole words");
    u64::from_le_bytes(*bytes)
}

/// The first slot at or after `from` whose bit is `wanted`.
fn next_bit(bits: &[u8; BITMAP], from: u16, wanted: bool) -> Option<u16> {
    let first = usize::from(from / 64);
    (first..BITMAP / 8).find_map(|word| {
        let matching = if wanted { word_at(bits, word) } else { !word_at(bits, word) };
        let left = if word == first { matching & (u64::MAX << (from % 64)) } else { matching };
        (left != 0).then(|| word as u16 * 64 + left.trailing_zeros() as u16)
    })
}

/// The slots of a bitmap in ascending order.
pub fn ones(bits: &[u8; BITMAP]) -> impl Iterator<Item = u16> + '_ {
    (0..BITMAP / 8).flat_map(|word| {
        let mut left = word_at(bits, word);
        std::iter::from_fn(move || {
            let slot = (left != 0).then(|| word as u16 * 64 + left.trailing_zeros() as u16)?;
            left &= left - 1;
            Some(slot)
        })
    })
}

impl Extend<u16> for SlotSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, slots: I) {
        for slot in slots {
            self.insert(slot);
        }
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        set.extend(slots);
        set
    }
}

/// The ranges as in `CLUSTER NODES`: `0-99 200`.
impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match range.clone().count() {
                1 => write!(f, "{}", range.start())?,
                _ => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_neighbours_and_the_text_names_single_slots_alone() {
        let set: SlotSet = [3, 1, 2, 7, 16383, 8, 100, 2].into_iter().collect();
        assert_eq!(set.to_string(), "1-3 7-8 100 16383");
        assert_eq!(set.len(), 7);
        assert_eq!(SlotSet::default().to_string(), "");
        assert_eq!(SlotSet::from_range(0..=u16::MAX).to_string(), "0-16383");
    }

    #[test]
    fn ranges_and_slots_are_found_at_the_edges_of_words() {
        for slots in
            [vec![0], vec![63, 64], vec![62, 63], vec![64, 127, 128], vec![0, 16383], (60..200).collect()]
        {
            let set: SlotSet = slots.iter().copied().collect();
            assert_eq!(set.iter().collect::<Vec<u16>>(), slots);
            assert_eq!(set.ranges().flatten().collect::<Vec<u16>>(), slots);
            assert!(set.ranges().zip(set.ranges().skip(1)).all(|(one, next)| one.end() + 1 < *next.start()));
        }
        assert_eq!(SlotSet::default().ranges().count(), 0);
    }

    #[test]
    fn a_set_counts_what_it_contains() {
        let mut set = SlotSet::default();
        assert!(set.insert(9) && !set.insert(9) && !set.insert(SLOTS));
        assert_eq!((set.bits()[1], set.len(), set.contains(9), set.contains(SLOTS)), (2, 1, true, false));
        assert_eq!(SlotSet::from_bits(set.bits()), set);
        assert!(set.remove(9) && !set.remove(9) && set.is_empty());
        set.insert(5);
        set.clear();
        assert_eq!((set.len(), set.iter().count()), (0, 0));
    }
}
