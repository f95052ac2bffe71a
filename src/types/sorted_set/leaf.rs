//! A leaf of the tree: up to [`MOST`] scores in order, and as many handles, in a block no larger than they need.
//!
//! ```text
//!   [ len 2 | capacity 2 | – 4 | score 8 × capacity | handle 6 × capacity ]
//! ```
//!
//! The block grows with its contents, one size class at a time. Leaves of a fixed size are two thirds full after random
//! inserts, so an entry of 14 bytes takes 21; here it takes less than 15. A leaf that is split or emptied releases its
//! unused memory.
//!
//! Costs: an insert moves the entries after it, 14 bytes each; every fourth or fifth insert moves the leaf to the next
//! size class. Scores are adjacent, so a search reads at most four cache lines.

use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

use super::element::Handle;
use crate::alloc;
use crate::dict::prefetch;
use crate::types::moves::Moves;

/// The most entries of a leaf: as many as fill a size class. Fewer in tests, so that a tree of a few hundred entries
/// takes every shape.
pub(super) const MOST: usize = if cfg!(test) { 8 } else { 68 };

const HEADER: usize = 8;
const SCORE: usize = size_of::<f64>();
const ENTRY: usize = SCORE + size_of::<Handle>();
/// From this size on the allocator aligns to 8, as the scores require.
const SMALLEST: usize = 64;
/// Unused room for this many entries is released.
const SLACK: usize = MOST * 3 / 16;
const LINE: usize = 64;

const _: () =
    assert!(cfg!(test) || alloc::class_size(HEADER + MOST * ENTRY) - (HEADER + MOST * ENTRY) < ENTRY);
const _: () = assert!(MOST <= u16::MAX as usize && align_of::<Handle>() <= SCORE);
const _: () = assert!(align_of::<Header>() <= SCORE && size_of::<Header>() == HEADER);

#[repr(C)]
struct Header {
    len: u16,
    capacity: u16,
    unused: u32,
}

/// An owned block; see the module's head.
pub(super) struct Leaf(NonNull<Header>);

// SAFETY: a leaf owns its memory; its handles are addresses of elements that go wherever the leaf goes.
unsafe impl Send for Leaf {}

/// The number of entries that fit in a block allocated for `len` of them.
fn capacity_for(len: usize) -> usize {
    (alloc::class_size(size_for(len)) - HEADER) / ENTRY
}

fn size_for(capacity: usize) -> usize {
    (HEADER + capacity * ENTRY).max(SMALLEST)
}

impl Leaf {
    /// An empty leaf with room for `len` entries.
    pub(super) fn with_room(len: usize) -> Leaf {
        let capacity = capacity_for(len);
        let at = alloc::allocate(size_for(capacity)).cast::<Header>();
        // SAFETY: the block begins with a header, and is aligned to 8 as it has 64 bytes or more.
        unsafe { at.write(Header { len: 0, capacity: capacity as u16, unused: 0 }) };
        Leaf(at)
    }

    /// A leaf of entries that are in order, at most [`MOST`].
    pub(super) fn of(entries: impl ExactSizeIterator<Item = (f64, Handle)>) -> Leaf {
        let mut leaf = Leaf::with_room(entries.len());
        for (score, handle) in entries {
            leaf.insert(leaf.len(), score, handle);
        }
        leaf
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: the block is live and begins with an initialised header.
        unsafe { self.0.as_ref() }
    }

    /// The number of entries.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.header().len as usize
    }

    #[inline(always)]
    fn capacity(&self) -> usize {
        self.header().capacity as usize
    }

    #[inline(always)]
    fn scores_at(&self) -> *mut f64 {
        // SAFETY: the scores follow the header in the same block.
        unsafe { self.0.as_ptr().cast::<u8>().add(HEADER).cast() }
    }

    #[inline(always)]
    fn handles_at(&self) -> *mut Handle {
        // SAFETY: the handles follow the scores; the capacity guarantees room for both.
        unsafe { self.scores_at().add(self.capacity()).cast() }
    }

    /// The scores, in order.
    #[inline(always)]
    pub(super) fn scores(&self) -> &[f64] {
        // SAFETY: the first `len` scores are initialised and borrowed as long as the leaf.
        unsafe { slice::from_raw_parts(self.scores_at(), self.len()) }
    }

    /// The handle of each score's element.
    #[inline(always)]
    pub(super) fn handles(&self) -> &[Handle] {
        // SAFETY: the first `len` handles are initialised and borrowed as long as the leaf.
        unsafe { slice::from_raw_parts(self.handles_at(), self.len()) }
    }

    /// Both for writing; the caller maintains their order.
    #[inline]
    pub(super) fn entries_mut(&mut self) -> (&mut [f64], &mut [Handle]) {
        let len = self.len();
        // SAFETY: as in `scores` and `handles`, and the two do not overlap.
        unsafe {
            (
                slice::from_raw_parts_mut(self.scores_at(), len),
                slice::from_raw_parts_mut(self.handles_at(), len),
            )
        }
    }

    fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        // SAFETY: the block is live, and `&mut self` is its only user.
        unsafe { self.0.as_mut().len = len as u16 };
    }

    /// Inserts an entry at `at`. The leaf must not be full.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, score: f64, handle: Handle) {
        self.insert_all(at, &[score], &[handle]);
    }

    /// Inserts entries at `at`, one for each score. They must fit.
    #[inline]
    pub(super) fn insert_all(&mut self, at: usize, scores: &[f64], handles: &[Handle]) {
        let (len, count) = (self.len(), scores.len());
        assert!(at <= len && len + count <= MOST && count == handles.len());
        if len + count > self.capacity() {
            self.resize(len + count);
        }
        // SAFETY: `at..len` is initialised and moves to `at + count..len + count`, within the capacity; the new
        // entries are copied to what that leaves free, and are not of this leaf, which is borrowed for writing.
        unsafe {
            let (to_scores, to_handles) = (self.scores_at().add(at), self.handles_at().add(at));
            ptr::copy(to_scores, to_scores.add(count), len - at);
            ptr::copy(to_handles, to_handles.add(count), len - at);
            ptr::copy_nonoverlapping(scores.as_ptr(), to_scores, count);
            ptr::copy_nonoverlapping(handles.as_ptr(), to_handles, count);
        }
        self.set_len(len + count);
    }

    /// Removes the entries of `range`.
    #[inline]
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let Range { start, end } = range;
        let len = self.len();
        assert!(start <= end && end <= len);
        // SAFETY: `end..len` is initialised and moves to `start`.
        unsafe {
            ptr::copy(self.scores_at().add(end), self.scores_at().add(start), len - end);
            ptr::copy(self.handles_at().add(end), self.handles_at().add(start), len - end);
        }
        self.set_len(len - (end - start));
        if self.capacity() - self.len() > SLACK {
            self.resize(self.len());
        }
    }

    /// Moves the entries from `at` on to a new leaf.
    pub(super) fn split_off(&mut self, at: usize) -> Leaf {
        let mut right = Leaf::with_room(self.len() - at);
        right.insert_all(0, &self.scores()[at..], &self.handles()[at..]);
        self.remove(at..self.len());
        right
    }

    /// Moves the entries to a block for `len` of them, if its size differs.
    #[inline(never)]
    fn resize(&mut self, len: usize) {
        debug_assert!(len >= self.len());
        if capacity_for(len) == self.capacity() {
            return;
        }
        let mut moved = Leaf::with_room(len);
        moved.insert_all(0, self.scores(), self.handles());
        *self = moved;
    }

    /// Prefetches the scores and the handles of `len` entries, so that a search and an insert wait only once. The
    /// caller passes `len`, because reading it from the header would itself be a wait.
    #[inline(always)]
    pub(super) fn prefetch(&self, len: usize) {
        let at = self.0.as_ptr().cast::<u8>();
        for line in 0..(HEADER + len * ENTRY).div_ceil(LINE) {
            prefetch(at.wrapping_add(line * LINE));
        }
    }

    /// Moves the block out of a sparse slab.
    pub(super) fn relocate(&mut self, moves: &mut Moves) {
        let size = size_for(self.capacity());
        // SAFETY: `self` owns the block, of this size or one of the same class.
        self.0 = unsafe { moves.relocate(self.0.cast(), size) }.cast();
    }

    /// The bytes of the block.
    pub(super) fn memory_bytes(&self) -> usize {
        alloc::class_size(size_for(self.capacity()))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let size = size_for(self.capacity());
        // SAFETY: `size` is what was allocated, or one of the same class, and the block is not used again.
        unsafe { alloc::release(self.0.cast(), size) }
    }
}
