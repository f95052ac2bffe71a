//! Sets of hash slots.

use std::fmt;

/// The number of slots of a cluster.
pub const SLOTS: u16 = 16384;

/// A set of slots, as a bitmap.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    bits: Vec<u64>,
}

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet { bits: vec![0; SLOTS as usize / 64] }
    }
}

impl SlotSet {
    /// Returns the set of all slots from `first` to `last`.
    pub fn range(first: u16, last: u16) -> SlotSet {
        (first..=last).collect()
    }

    /// Adds a slot. Values that are not slots are ignored.
    pub fn insert(&mut self, slot: u16) {
        if slot < SLOTS {
            self.bits[slot as usize / 64] |= 1 << (slot % 64);
        }
    }

    /// Removes a slot.
    pub fn remove(&mut self, slot: u16) {
        if slot < SLOTS {
            self.bits[slot as usize / 64] &= !(1 << (slot % 64));
        }
    }

    /// Adds all slots of `other`.
    pub fn extend_from(&mut self, other: &SlotSet) {
        for (own, more) in self.bits.iter_mut().zip(&other.bits) {
            *own |= more;
        }
    }

    /// Whether a slot is in the set.
    pub fn contains(&self, slot: u16) -> bool {
        slot < SLOTS && self.bits[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    /// The number of slots.
    pub fn len(&self) -> usize {
        self.bits.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|bits| *bits == 0)
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..SLOTS).filter(|slot| self.contains(*slot))
    }

    /// The set as ranges, from the first to the last slot of each.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Display for SlotSet {
    /// Formats the ranges as redis-cli does: `[0-5460],[7000]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}[{first}]")?;
            } else {
                write!(f, "{comma}[{first}-{last}]")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_is_shown_as_ranges() {
        let mut slots = SlotSet::range(0, 5460);
        assert_eq!((slots.to_string().as_str(), slots.len()), ("[0-5460]", 5461));
        slots.remove(0);
        slots.remove(100);
        slots.insert(16383);
        slots.insert(16384);
        assert_eq!(slots.to_string(), "[1-99],[101-5460],[16383]");
        assert!(slots.contains(16383) && !slots.contains(100) && !slots.contains(16384));
        assert_eq!(SlotSet::range(0, 16383).len(), 16384);
        let mut all = SlotSet::default();
        assert!(all.is_empty() && all.to_string().is_empty());
        all.extend_from(&slots);
        assert_eq!(all, slots);
    }
}
