//! The allocator of the keyspace: blocks from slabs of one size class each, larger ones from runs of slabs and from
//! mappings.
//!
//! A keyspace is millions of blocks of 20 to 100 bytes, nearly all allocated and freed by one thread. A general
//! allocator rounds such a size to 16 bytes, and glibc adds an 8-byte header to each block. The classes here are 4
//! bytes apart up to 64, and blocks have no header: the caller passes a block's size when releasing it.
//!
//! Measured with `cargo bench --bench alloc` (a million blocks, release build, AMD EPYC, least of five runs; the
//! columns are explained there). glibc 2.36, mimalloc 2.0.9 and jemalloc 5.3.0 as Debian 12 has them:
//!
//! | | bytes for 26 | for 30 | for 55 | for 123 | hot ns | churn ns | drain ns |
//! |---|---|---|---|---|---|---|---|
//! | slab | 28.0 | 32.0 | 56.1 | 128.1 | 5.7 | 65 | 14 |
//! | slab, huge pages | 27.3 | 31.5 | 54.6 | 128.0 | 5.6 | 63 | 13 |
//! | glibc | 48.0 | 48.1 | 64.0 | 144.0 | 9.4 | 145 | 78 |
//! | mimalloc | 32.2 | 32.2 | 64.4 | 128.9 | 18.1 | 93 | 15 |
//! | jemalloc | 33.0 | 33.0 | 66.1 | 132.2 | 6.7 | 74 | 10 |
//!
//! (Times for 26 bytes.) Of a million blocks that are all freed, the slabs return all but 0.2 bytes per block to the
//! kernel on request. An allocation is 25 instructions, a release 24, without an atomic operation. So the keyspace has
//! an allocator of its own, and the rest of the server uses the system's, which a static binary contains anyway.
//!
//! Another thread may release a block, at the cost of an atomic operation for that thread; the allocating thread takes
//! such blocks back by the slab. All memory that was unused for some seconds can be returned to the kernel
//! ([`idle_bytes`], [`purge`]), including that of large values: no other block shares their pages.
//!
//! Limits: a slab (64 KiB; 512 KiB for blocks above 4 KiB) serves one class until its last block is freed, so a
//! keyspace that shrinks at random keeps sparse slabs; [`Stats`] shows them, and a [`Compaction`] empties them with the
//! help of their blocks' owners. Without the feature `slab` (for the sanitizers, which must see every block) and in
//! fuzz targets all blocks come from the system, through the same functions.

pub mod apart;
pub mod counting;
#[cfg(not(all(feature = "slab", target_pointer_width = "64", not(fuzzing))))]
mod direct;
mod refused;
#[cfg(all(feature = "slab", target_pointer_width = "64", not(fuzzing)))]
mod slab;
mod system;
#[cfg(test)]
pub mod tests;

#[cfg(not(all(feature = "slab", target_pointer_width = "64", not(fuzzing))))]
use direct as backend;
#[cfg(all(feature = "slab", target_pointer_width = "64", not(fuzzing)))]
use slab as backend;

use std::ptr::NonNull;

pub use apart::Apart;
pub use counting::{
    Counting, array_size, hashed_one_size, hashed_size, heap_size, ordered_one_size, ordered_size,
};
pub use refused::{attempt, when_refused};

/// Allocates `size` bytes, uninitialised; aligned to at least 4 bytes, and to 8 from 64 bytes on. If there is no
/// memory, the process ends ([`when_refused`]).
#[inline]
pub fn allocate(size: usize) -> NonNull<u8> {
    backend::allocate(size)
}

/// Allocates `size` zeroed bytes; a large block is zeroed by the kernel, page by page as it is touched.
pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    backend::allocate_zeroed(size)
}

/// Frees a block, from any thread.
///
/// # Safety
/// `block` came from this module for `size` bytes, or for a size with the same [`class_size`], and is not used again.
#[inline]
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { backend::release(block, size) }
}

/// Changes a block's size, keeping its first `min(old, new)` bytes. The block moves unless both sizes have the same
/// [`class_size`]; a large one moves by remapping its pages.
///
/// # Safety
/// As [`release`], for `old` bytes; the old pointer is not used again.
pub unsafe fn resize(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    // SAFETY: the caller's promise.
    unsafe { backend::resize(block, old, new) }
}

/// The usable bytes of a block that was allocated for `size` bytes.
#[inline(always)]
pub const fn class_size(size: usize) -> usize {
    backend::class_size(size)
}

/// Allows or forbids huge pages in memory that is taken from the kernel later.
pub fn set_hugepages(on: bool) {
    backend::set_hugepages(on);
}

/// Hands over the blocks of other threads that this thread has released. Takes back up to `max` slabs in which others
/// have released blocks of this one, and returns whether there are more. Each thread that allocates calls it now and
/// then, and one that releases much calls it when done; it costs a few loads if there is nothing to do.
pub fn collect(max: usize) -> bool {
    backend::collect(max)
}

/// Bytes of unused slabs that are still backed by memory and were not needed since the last call: [`purge`] may return
/// them without harm.
pub fn idle_bytes() -> usize {
    backend::idle_bytes()
}

/// Returns up to `budget` bytes of unused slabs to the kernel (a system call for each run of them). Returns the number
/// of bytes, 0 if there are none. Slabs with a used block stay. Other threads are not blocked.
pub fn purge(budget: usize) -> usize {
    backend::purge(budget)
}

/// Like [`purge`], but returns only slabs that were free throughout since the last call of this function; O(slabs) in
/// any case.
pub fn purge_rested(budget: usize) -> usize {
    backend::purge_rested(budget)
}

/// Calls `visit` with address and length of each region whose memory is or was entirely in use, a huge page each where
/// these are allowed, until `visit` returns `false`.
pub fn for_each_region(visit: impl FnMut(usize, usize) -> bool) {
    backend::for_each_region(visit);
}

/// Empties sparse slabs of this thread while it exists: [`Compaction::plan`] chooses them, the owners of blocks pass
/// each block to [`relocate`], and new blocks come from other slabs. A thread has at most one at a time.
pub struct Compaction(backend::Compaction);

impl Compaction {
    /// Returns a compaction without a plan, so that no block leaves.
    #[expect(clippy::new_without_default, reason = "there is one at a time")]
    pub fn new() -> Compaction {
        Compaction(backend::Compaction::new())
    }

    /// Continues the plan for up to `regions` times 2 MiB of slabs. Once it is complete, returns the bytes of the slabs
    /// that will be free when all of their blocks have moved.
    pub fn plan(&mut self, regions: usize) -> Option<usize> {
        self.0.plan(regions)
    }
}

/// Whether the block lies in a slab that a [`Compaction`] of this thread empties. False for blocks outside slabs.
///
/// `size` is the size that would be passed to [`release`].
#[inline]
pub fn is_leaving(block: NonNull<u8>, size: usize) -> bool {
    #[cfg(test)]
    if tests::ALL_LEAVE.get() {
        return true;
    }
    backend::is_leaving(block, size)
}

/// Moves the block with its contents to another slab if it [`is_leaving`], and returns its new address.
///
/// # Safety
/// As [`release`]; if an address is returned, the old one is not used again.
pub unsafe fn relocate(block: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
    if !is_leaving(block, size) {
        return None;
    }
    let moved = allocate(size);
    // SAFETY: both blocks have `size` bytes, and the old one is not used again, by the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), size);
        release(block, size);
    }
    Some(moved)
}

/// Statistics of the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of live blocks in slabs, each at its class's size.
    pub slab_live_bytes: usize,
    /// Bytes of slabs in use: the live blocks and their free neighbours.
    pub slab_bytes: usize,
    /// The number of slabs of 64 KiB in use; a larger one counts as several.
    pub slabs: usize,
    /// Bytes of unused slabs that are still backed by memory; [`purge`] returns them.
    pub free_bytes: usize,
    /// Bytes of live blocks too large for a slab.
    pub large_live_bytes: usize,
    /// Bytes of live blocks from the system. They also count in [`Counting`], where that is the global allocator.
    pub system_live_bytes: usize,
}

impl Stats {
    /// Bytes of all live blocks.
    pub fn live_bytes(&self) -> usize {
        self.slab_live_bytes + self.large_live_bytes + self.system_live_bytes
    }
}

/// The current statistics of all threads. Takes a lock for some instructions.
pub fn stats() -> Stats {
    Stats { system_live_bytes: system::live_bytes(), ..backend::stats() }
}

/// The blocks of one size in this thread's slabs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Bytes of a block.
    pub size: usize,
    /// Slabs of such blocks.
    pub slabs: usize,
    /// Blocks in use.
    pub live: usize,
    /// Blocks that are free or were never used.
    pub free: usize,
}

/// The contents of this thread's slabs by block size, without sizes that have no slab. Examines every slab.
pub fn classes() -> Vec<ClassStats> {
    backend::classes()
}

/// Bytes of live blocks in slabs and of large ones: the part of `used_memory` that [`Counting`] does not count. A few
/// loads.
pub fn live_bytes() -> usize {
    backend::live_bytes()
}
