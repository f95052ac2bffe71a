//! A member with its score in one block, and the short pointer to it in the tree.
//!
//! ```text
//!   [ score 8 | length 1 | member … ]            17 bytes of member: 26, a block of 28
//!   [ score 8 | 255 | length 8 | member … ]      from 255 bytes on
//! ```
//!
//! The dict owns the block, and the tree refers to it with six bytes, since an address of user space has no more. The
//! score is stored twice: here for lookups of a member, in the tree for comparisons, which read the member only if
//! scores are equal.
//!
//! The score may be written through `&Element`, as in a `Cell`. An element can be sent to another thread but not shared
//! between threads.

use std::ptr::NonNull;

use crate::alloc;
use crate::dict::{self, Item};
use crate::types::moves::Moves;
use crate::types::record::copy_short;

const SCORE: usize = 8;
/// This length byte means that the length follows in eight bytes.
const LONG: usize = u8::MAX as usize;
const LONG_LENGTH: usize = 8;

const _: () = assert!(SCORE + 1 + 17 == 26);

/// An owned block; see the module's head.
#[repr(transparent)]
pub(super) struct Element(NonNull<u8>);

// SAFETY: an element owns its memory. (It is not `Sync`: see `set_score`.)
unsafe impl Send for Element {}

#[inline(always)]
fn size_for(len: usize) -> usize {
    SCORE + 1 + len + if len < LONG { 0 } else { LONG_LENGTH }
}

/// The member of the element at `at`.
///
/// # Safety
/// `at` is the block of an element that lives during `'a`.
#[inline(always)]
unsafe fn member_at<'a>(at: NonNull<u8>) -> &'a [u8] {
    // SAFETY: every element has a score and a length, and as many bytes as it says; none is written while it lives.
    unsafe {
        let len = at.add(SCORE).read() as usize;
        if len < LONG {
            return std::slice::from_raw_parts(at.as_ptr().add(SCORE + 1), len);
        }
        let len = u64::from_le(at.add(SCORE + 1).cast::<u64>().read_unaligned()) as usize;
        std::slice::from_raw_parts(at.as_ptr().add(SCORE + 1 + LONG_LENGTH), len)
    }
}

impl Element {
    /// Allocates an element.
    #[inline]
    pub(super) fn new(score: f64, member: &[u8]) -> Element {
        let at = alloc::allocate(size_for(member.len()));
        // SAFETY: the block has room for the score, the length in either form, and the member.
        unsafe {
            at.cast::<f64>().write_unaligned(score);
            let mut offset = SCORE + 1;
            if member.len() < LONG {
                at.add(SCORE).write(member.len() as u8);
            } else {
                at.add(SCORE).write(LONG as u8);
                at.add(offset).cast::<u64>().write_unaligned((member.len() as u64).to_le());
                offset += LONG_LENGTH;
            }
            copy_short(member.as_ptr(), at.as_ptr().add(offset), member.len());
        }
        Element(at)
    }

    /// The member.
    #[inline(always)]
    pub(super) fn member(&self) -> &[u8] {
        // SAFETY: the element lives as long as the borrow.
        unsafe { member_at(self.0) }
    }

    /// The score.
    #[inline(always)]
    pub(super) fn score(&self) -> f64 {
        // SAFETY: an element begins with its score.
        unsafe { self.0.cast::<f64>().read_unaligned() }
    }

    /// Writes the score, in place.
    #[inline(always)]
    pub(super) fn set_score(&self, score: f64) {
        // SAFETY: an element begins with its score; no reference to it is ever given out, and an element is not
        // `Sync`, so this is a `Cell`.
        unsafe { self.0.cast::<f64>().write_unaligned(score) }
    }

    /// Returns an equal element in another slab, if this one is in a sparse slab. The caller puts it in this one's
    /// place in the tree, and then in the dict.
    pub(super) fn to_relocate(&self, moves: &mut Moves) -> Option<Element> {
        let leaves = alloc::is_leaving(self.0, size_for(self.member().len()));
        moves.count(leaves);
        leaves.then(|| Element::new(self.score(), self.member()))
    }

    /// The pointer that the tree stores.
    #[inline(always)]
    pub(super) fn handle(&self) -> Handle {
        let address = self.0.as_ptr().expose_provenance() as u64;
        debug_assert!(address < 1 << 48);
        Handle([address as u16, (address >> 16) as u16, (address >> 32) as u16])
    }

    /// The bytes of its block.
    #[inline(always)]
    pub(super) fn memory_bytes(&self) -> usize {
        alloc::class_size(size_for(self.member().len()))
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        let size = size_for(self.member().len());
        // SAFETY: `size` is what was allocated, and the block is not used again.
        unsafe { alloc::release(self.0, size) }
    }
}

// SAFETY: `into_raw` and `from_raw` are each other's inverse, the pointer is an address of user space (48 bits), and
// the member does not change while the element lives.
unsafe impl Item for Element {
    #[inline(always)]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    #[inline(always)]
    unsafe fn from_raw(at: NonNull<u8>) -> Element {
        Element(at)
    }

    #[inline(always)]
    unsafe fn key<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { member_at(at) }
    }
}

/// An element's address in six bytes. Only [`Element::handle`] creates it, and only the tree stores it, next to the
/// dict that owns the element. An element is removed from the dict only after its handle was removed from the tree;
/// this makes reading through the handle sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handle([u16; 3]);

impl Handle {
    /// Fills positions of the tree without an element; it is never followed.
    pub(super) const NOWHERE: Handle = Handle([0; 3]);

    #[inline(always)]
    fn address(self) -> *mut u8 {
        let [low, middle, high] = self.0.map(u64::from);
        std::ptr::with_exposed_provenance_mut((high << 32 | middle << 16 | low) as usize)
    }

    /// The member.
    #[inline(always)]
    pub(super) fn member(&self) -> &[u8] {
        debug_assert!(*self != Handle::NOWHERE);
        // SAFETY: a handle in the tree points to an element that the dict beside it owns (see the type), and no element
        // is at address 0.
        unsafe { member_at(NonNull::new_unchecked(self.address())) }
    }

    /// The score.
    #[inline(always)]
    pub(super) fn score(&self) -> f64 {
        debug_assert!(*self != Handle::NOWHERE);
        // SAFETY: as in `member`; an element begins with its score.
        unsafe { self.address().cast::<f64>().read_unaligned() }
    }

    /// Prefetches the element.
    #[inline(always)]
    pub(super) fn prefetch(self) {
        dict::prefetch(self.address());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_keeps_its_member_and_score_whatever_their_sizes() {
        for len in [0, 1, 17, 254, 255, 256, 70_000] {
            let member: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let element = Element::new(1.5, &member);
            assert_eq!(element.member(), member);
            assert_eq!(element.handle().member(), member);
            assert_eq!(element.score(), 1.5);
            element.set_score(f64::NEG_INFINITY);
            assert_eq!((element.score(), element.member()), (f64::NEG_INFINITY, &member[..]));
            assert!(element.memory_bytes() >= 9 + len);
        }
    }

    #[test]
    fn a_member_of_17_bytes_takes_a_block_of_28() {
        assert_eq!(size_for(17), 26);
        assert_eq!((size_for(254), size_for(255)), (263, 272));
    }
}
