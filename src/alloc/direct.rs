//! Without slabs: every block comes from the system, at exactly the requested size.

use std::ptr::{self, NonNull};

pub use super::system::{allocate, allocate_zeroed, release};

/// # Safety
/// As [`super::resize`].
pub unsafe fn resize(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    let moved = allocate(new);
    // SAFETY: both blocks have these bytes, and the old one is not used again.
    unsafe {
        ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), old.min(new));
        release(block, old);
    }
    moved
}

#[inline(always)]
pub const fn class_size(size: usize) -> usize {
    size
}

pub fn set_hugepages(_on: bool) {}

pub fn collect(_: usize) -> bool {
    false
}

pub fn idle_bytes() -> usize {
    0
}

pub fn purge(_budget: usize) -> usize {
    0
}

pub fn purge_rested(_budget: usize) -> usize {
    0
}

pub fn for_each_region(_: impl FnMut(usize, usize) -> bool) {}

pub fn stats() -> super::Stats {
    super::Stats::default()
}

pub fn live_bytes() -> usize {
    0
}

pub fn classes() -> Vec<super::ClassStats> {
    Vec::new()
}

/// There is nothing to compact.
pub struct Compaction;

impl Compaction {
    pub fn new() -> Compaction {
        Compaction
    }

    #[expect(clippy::unused_self, reason = "the signature is that of the slabs'")]
    pub fn plan(&mut self, _regions: usize) -> Option<usize> {
        Some(0)
    }
}

pub fn is_leaving(_block: NonNull<u8>, _size: usize) -> bool {
    false
}
