//! The system's allocator with a count of live bytes, for `used_memory`.
//!
//! The count is one relaxed atomic addition for each call. Ordinary requests do not reach this allocator: their blocks
//! come from slabs, and buffers are reused. A refusal ends the process here ([`super::when_refused`]), before the
//! standard library ends it with a message of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::refused;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A global allocator that counts its bytes. The binary declares `#[global_allocator] static A: Counting = Counting;`.
pub struct Counting;

impl Counting {
    /// The bytes that the whole process has allocated and not freed, at the sizes of the system's allocator. Zero if
    /// `Counting` is not the global allocator. Excludes slabs, which come directly from the kernel.
    pub fn live_bytes() -> usize {
        LIVE.load(Relaxed)
    }
}

/// The system's allocator's header before a block, the steps of its sizes, and the smallest of them: those of glibc.
/// Others are similar.
const HEADER: usize = 8;
const STEP: usize = 16;
const SMALLEST: usize = 32;

/// The bytes that the system's allocator takes for a block.
#[inline]
pub const fn heap_size(layout: Layout) -> usize {
    let step = if layout.align() > STEP { layout.align() } else { STEP };
    let size = (layout.size() + HEADER).next_multiple_of(step);
    if size > SMALLEST { size } else { SMALLEST }
}

/// The bytes that the system's allocator takes for an array of `capacity` values.
pub const fn array_size<T>(capacity: usize) -> usize {
    match Layout::array::<T>(capacity) {
        Ok(layout) if layout.size() > 0 => heap_size(layout),
        _ => 0,
    }
}

/// The bytes per entry `T` in a large `HashMap` or `HashSet`, whose table is between 7/16 and 7/8 full.
pub const fn hashed_size<T>() -> usize {
    (size_of::<T>() + 1) * 12 / 7
}

/// The bytes of the table of a `HashMap` or `HashSet` with one entry: four slots, their tags, and a group of 16 tags.
pub const fn hashed_one_size<T>() -> usize {
    array_size::<u8>((4 * size_of::<T>()).next_multiple_of(16) + 4 + 16)
}

/// The bytes per entry `T` in a large `BTreeMap` or `BTreeSet`, whose nodes of 11 entries are about 5/8 full.
pub const fn ordered_size<T>() -> usize {
    size_of::<T>() * 8 / 5
}

/// The bytes of a `BTreeMap` with one entry: a node for 11, with its parent and its length.
pub const fn ordered_one_size<T>() -> usize {
    array_size::<u8>(11 * size_of::<T>() + 16)
}

/// Counts a block from the system, or ends the process if there is none.
#[inline(always)]
fn counted(block: *mut u8, layout: Layout) -> *mut u8 {
    if block.is_null() {
        refused::refused(layout.size());
    } else {
        LIVE.fetch_add(heap_size(layout), Relaxed);
    }
    block
}

// SAFETY: every call is passed to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        counted(unsafe { System.alloc(layout) }, layout)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        counted(unsafe { System.alloc_zeroed(layout) }, layout)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(heap_size(layout), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { System.realloc(block, layout, size) };
        if moved.is_null() {
            refused::refused(size);
        } else {
            // SAFETY: the caller's promise: a size and an alignment that make a layout.
            let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            LIVE.fetch_add(heap_size(new).wrapping_sub(heap_size(layout)), Relaxed);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_no_longer_counted() {
        let small = Layout::from_size_align(1000, 8).unwrap();
        let large = Layout::from_size_align(5000, 8).unwrap();
        let before = Counting::live_bytes();
        // SAFETY: each block is used and freed with its own layout.
        unsafe {
            let block = Counting.alloc(small);
            let zeroed = Counting.alloc_zeroed(small);
            assert_eq!(Counting::live_bytes() - before, 2 * heap_size(small));
            let block = Counting.realloc(block, small, 5000);
            assert_eq!(Counting::live_bytes() - before, heap_size(small) + heap_size(large));
            Counting.dealloc(block, large);
            Counting.dealloc(zeroed, small);
        }
        assert_eq!(Counting::live_bytes(), before);
    }
}
