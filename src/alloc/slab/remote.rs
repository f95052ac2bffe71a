//! Blocks of a slab that other threads have released: a list and its state, in one word that every thread changes by
//! compare-and-exchange.
//!
//! ```text
//!   62     61        45 44         28 27      14 13      0
//!  queued │ last block │ first block │   wake   │  count   │      blocks: offset in the slab in units of 4 bytes
//! ```
//!
//! The list is linked through the blocks themselves, first to last. The word holds both ends, so the owner takes over
//! the whole list and joins it to its own without a walk. *Wake* is the count at which the slab is queued: the thread
//! that reaches it remembers the slab until it hands over the blocks that it has released.

/// The word's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote(pub u64);

const COUNT_BITS: u32 = 14;
const UNIT_BITS: u32 = 17;
const WAKE: u32 = COUNT_BITS;
const FIRST: u32 = WAKE + COUNT_BITS;
const LAST: u32 = FIRST + UNIT_BITS;
const QUEUED: u32 = LAST + UNIT_BITS;

/// Offsets in a slab are kept in units of this many bytes, the alignment of every block.
const UNIT: usize = 4;

/// The largest slab and the largest number of blocks that the word can describe.
pub const MOST_BYTES: usize = UNIT << UNIT_BITS;
pub const MOST_BLOCKS: usize = (1 << COUNT_BITS) - 1;

const _: () = assert!(QUEUED < u64::BITS);

impl Remote {
    /// Returns the word for an empty list, which is queued when `wake` blocks are released, or already.
    #[inline]
    pub fn empty(wake: u32, queued: bool) -> Remote {
        Remote(u64::from(wake) << WAKE | u64::from(queued) << QUEUED)
    }

    #[inline]
    fn field(self, shift: u32, bits: u32) -> u64 {
        self.0 >> shift & ((1 << bits) - 1)
    }

    /// The number of blocks in the list.
    #[inline]
    pub fn count(self) -> u32 {
        self.field(0, COUNT_BITS) as u32
    }

    /// Offset in bytes of the first block; there is one.
    #[inline]
    pub fn first(self) -> usize {
        self.field(FIRST, UNIT_BITS) as usize * UNIT
    }

    /// Offset in bytes of the last block; there is one.
    #[inline]
    pub fn last(self) -> usize {
        self.field(LAST, UNIT_BITS) as usize * UNIT
    }

    #[inline]
    pub fn is_queued(self) -> bool {
        self.field(QUEUED, 1) != 0
    }

    /// Returns the word with the block at `offset` at the front of the list; queued if that reaches the count to wake
    /// at.
    #[inline]
    pub fn with(self, offset: usize) -> Remote {
        let unit = (offset / UNIT) as u64;
        let count = self.count() + 1;
        let last = if count == 1 { unit } else { self.field(LAST, UNIT_BITS) };
        let wake = self.field(WAKE, COUNT_BITS);
        let queued = self.is_queued() || u64::from(count) == wake;
        Remote(u64::from(count) | wake << WAKE | unit << FIRST | last << LAST | u64::from(queued) << QUEUED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_keeps_both_ends_and_queues_once_at_the_count() {
        let offsets = [8, MOST_BYTES - 4, 0, 65_536];
        let mut word = Remote::empty(3, false);
        for (i, &offset) in offsets.iter().enumerate() {
            word = word.with(offset);
            assert_eq!((word.count() as usize, word.first(), word.last()), (i + 1, offset, offsets[0]));
            assert_eq!(word.is_queued(), i >= 2);
        }
    }

    #[test]
    fn the_largest_list_fits() {
        let mut word = Remote::empty(MOST_BLOCKS as u32, false);
        for i in 1..=MOST_BLOCKS {
            word = word.with(MOST_BYTES - 4);
            assert_eq!((word.count() as usize, word.is_queued()), (i, i == MOST_BLOCKS));
        }
    }
}
