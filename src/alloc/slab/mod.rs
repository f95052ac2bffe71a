//! Blocks from slabs, and larger ones from runs of slabs and from mappings.
//!
//! | file | what is in it |
//! |---|---|
//! | `class` | the size classes |
//! | `heap` | a thread's slabs: allocation, release, release by other threads |
//! | `remote` | what other threads have released into a slab |
//! | `large` | blocks too large for a slab |
//! | `pool` | the slabs that are not in use |
//! | `space` | the address range that slabs are cut from |

pub mod class;
pub mod heap;
mod large;
pub mod pool;
mod remote;
pub mod space;

use std::ptr::{self, NonNull};

use super::{Stats, system};

pub use heap::{Compaction, classes, collect, is_leaving};
pub use pool::{for_each_region, idle_bytes, purge, purge_rested};
pub use space::set_hugepages;

#[inline(always)]
pub fn allocate(size: usize) -> NonNull<u8> {
    if size <= class::LARGEST_NARROW { heap::allocate(size) } else { allocate_beyond(size) }
}

#[cold]
#[inline(never)]
fn allocate_beyond(size: usize) -> NonNull<u8> {
    if size <= class::LARGEST { heap::allocate_wide(size) } else { large::allocate(size) }
}

pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    if size > class::LARGEST {
        return large::allocate_zeroed(size);
    }
    let block = allocate(size);
    // SAFETY: the block has `size` bytes.
    unsafe { block.write_bytes(0, size) };
    block
}

/// # Safety
/// As [`super::release`].
#[inline(always)]
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match space::slab_of(block) {
            Some(slab) if heap::release_own(slab, block) => {}
            _ => release_beyond(block, size),
        }
    }
}

/// # Safety
/// As [`super::release`], for a block that is not a narrow one of this thread.
#[cold]
#[inline(never)]
unsafe fn release_beyond(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise; a block with a class that is outside of the range came from the system at its
    // class's size.
    unsafe {
        if size > class::LARGEST {
            large::release(block, size);
        } else if space::slab_of(block).is_some() {
            heap::release_elsewhere(block, size);
        } else {
            system::release(block, class_size(size));
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
        if old.min(new) > class::LARGEST
            && let Some(resized) = large::resize(block, old, new)
        {
            return resized;
        }
        let moved = allocate(new);
        ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), old.min(new));
        release(block, old);
        moved
    }
}

#[inline(always)]
pub const fn class_size(size: usize) -> usize {
    if size <= class::LARGEST_NARROW {
        class::rounded(size)
    } else if size <= class::LARGEST {
        class::rounded_wide(size)
    } else {
        large::rounded(size)
    }
}

pub fn stats() -> Stats {
    let usage = pool::usage();
    Stats {
        slab_live_bytes: heap::live_bytes(),
        slab_bytes: (usage.slabs * space::SLAB).saturating_sub(heap::untouched_bytes()),
        slabs: usage.slabs,
        free_bytes: usage.free_touched * space::SLAB,
        large_live_bytes: large::live_bytes(),
        system_live_bytes: 0,
    }
}

pub fn live_bytes() -> usize {
    heap::live_bytes() + large::live_bytes()
}
