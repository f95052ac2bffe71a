//! Small blocks from slabs, large ones from the system.
//!
//! | file | what is in it |
//! |---|---|
//! | `class` | the size classes |
//! | `heap` | a thread's slabs: allocation, release, release by other threads |
//! | `space` | the address range that slabs are cut from, and the pool of free ones |

pub mod class;
pub mod heap;
pub mod space;

use std::ptr::{self, NonNull};

use super::{Stats, system};

pub use heap::{classes, collect, live_bytes};
pub use space::{purge, set_hugepages};

#[inline(always)]
pub fn allocate(size: usize) -> NonNull<u8> {
    if size <= class::LARGEST { heap::allocate(size) } else { system::allocate(size) }
}

pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    if size > class::LARGEST {
        return system::allocate_zeroed(size);
    }
    let block = heap::allocate(size);
    // SAFETY: the block has `size` bytes.
    unsafe { block.write_bytes(0, size) };
    block
}

/// # Safety
/// As [`super::release`].
#[inline(always)]
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise; a small block outside of the slabs came from the system at its class's size.
    unsafe {
        match space::slab_of(block) {
            Some(slab) => heap::release(slab, block),
            None => system::release(block, class_size(size)),
        }
    }
}

/// # Safety
/// As [`super::resize`].
pub unsafe fn resize(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    let (old_size, new_size) = (class_size(old), class_size(new));
    if old_size == new_size {
        return block;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if old.min(new) > class::LARGEST {
            return system::resize(block, old, new);
        }
        let moved = allocate(new);
        ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), old.min(new));
        release(block, old);
        moved
    }
}

#[inline(always)]
pub const fn class_size(size: usize) -> usize {
    if size <= class::LARGEST { class::rounded(size) } else { size }
}

pub fn stats() -> Stats {
    let (slab_bytes, free_bytes, slabs) = space::usage();
    Stats { slab_live_bytes: live_bytes(), slab_bytes, slabs, free_bytes, system_live_bytes: 0 }
}
