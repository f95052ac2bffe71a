//! Counts for each hash slot, with their sums for sixteen slots and for 512: to find the slot of the n-th unit and the
//! next slot that has any, in at most 80 steps. A change of a count adds to three numbers.

use crate::codec::hash_slot::HASH_SLOTS;

/// Slots of a group, and groups of a block.
const GROUP: usize = 16;
const BLOCK: usize = 32;
const GROUPS: usize = HASH_SLOTS / GROUP;
const BLOCKS: usize = GROUPS / BLOCK;

/// See the module's head.
pub(super) struct Counts {
    slots: Box<[u32]>,
    groups: Box<[u64]>,
    blocks: [u64; BLOCKS],
    total: u64,
}

impl Counts {
    pub(super) fn new() -> Counts {
        Counts {
            slots: vec![0; HASH_SLOTS].into_boxed_slice(),
            groups: vec![0; GROUPS].into_boxed_slice(),
            blocks: [0; BLOCKS],
            total: 0,
        }
    }

    /// The sum of all counts.
    #[inline]
    pub(super) fn total(&self) -> usize {
        self.total as usize
    }

    /// The count of `slot`.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> usize {
        self.slots[slot] as usize
    }

    /// Sets the count of `slot`, below 2³².
    #[inline]
    pub(super) fn set(&mut self, slot: usize, count: usize) {
        let count = u32::try_from(count).expect("a count below 2^32");
        // Adds the difference, which wraps around if it is negative.
        let more = u64::from(count).wrapping_sub(u64::from(self.slots[slot]));
        self.slots[slot] = count;
        let group = &mut self.groups[slot / GROUP];
        *group = group.wrapping_add(more);
        let block = &mut self.blocks[slot / GROUP / BLOCK];
        *block = block.wrapping_add(more);
        self.total = self.total.wrapping_add(more);
    }

    /// The slot of unit `n`, counted from the first slot, and the number of the unit within the slot.
    pub(super) fn nth(&self, n: usize) -> Option<(usize, usize)> {
        let mut rest = n as u64;
        let block = descend(self.blocks.iter().copied(), &mut rest)?;
        let first = block * BLOCK;
        let group = first + descend(self.groups[first..first + BLOCK].iter().copied(), &mut rest)?;
        let first = group * GROUP;
        let slots = self.slots[first..first + GROUP].iter();
        Some((first + descend(slots.map(|count| u64::from(*count)), &mut rest)?, rest as usize))
    }

    /// The first slot from `from` on whose count is not 0.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut slot = from;
        while slot < HASH_SLOTS {
            if slot.is_multiple_of(GROUP * BLOCK) && self.blocks[slot / (GROUP * BLOCK)] == 0 {
                slot += GROUP * BLOCK;
            } else if slot.is_multiple_of(GROUP) && self.groups[slot / GROUP] == 0 {
                slot += GROUP;
            } else if self.slots[slot] == 0 {
                slot += 1;
            } else {
                return Some(slot);
            }
        }
        None
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.groups)
    }
}

/// The index of the count that unit `rest` belongs to; reduces `rest` by the counts before it.
fn descend(mut counts: impl Iterator<Item = u64>, rest: &mut u64) -> Option<usize> {
    counts.position(|count| {
        let here = *rest < count;
        if !here {
            *rest -= count;
        }
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn units_and_slots_are_found_as_in_a_list(
            changes in prop::collection::vec((0..HASH_SLOTS, 0usize..5), 1..60), from in 0..=HASH_SLOTS
        ) {
            let (mut counts, mut model) = (Counts::new(), vec![0; HASH_SLOTS]);
            for (slot, count) in changes {
                counts.set(slot, count);
                model[slot] = count;
            }
            let units: Vec<(usize, usize)> = model
                .iter()
                .enumerate()
                .flat_map(|(slot, count)| (0..*count).map(move |n| (slot, n)))
                .collect();
            prop_assert_eq!(counts.total(), units.len());
            for (n, unit) in units.iter().enumerate() {
                prop_assert_eq!(counts.nth(n), Some(*unit));
            }
            prop_assert_eq!(counts.nth(units.len()), None);
            prop_assert_eq!(counts.next(from), (from..HASH_SLOTS).find(|slot| model[*slot] > 0));
        }
    }
}
