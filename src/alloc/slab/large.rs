//! Blocks too large for a slab: up to about a mebibyte a run of slabs for each block, beyond that a mapping.
//!
//! Any thread takes a run from the pool and returns it there. It is a multiple of 64 KiB of addresses, but only pages
//! that were written take memory, and a block's size is a multiple of 4 KiB. A mapping comes from the kernel and
//! returns to it; it grows by remapping its pages, without a copy.
//!
//! So the memory of every large value returns to the kernel, whatever blocks lie beside it: that of a run by
//! [`super::pool::purge`], that of a mapping at once.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::class;
use super::pool::{self, LONGEST_RUN};
use super::space::{self, SLAB};
use crate::alloc::{refused, system};

/// The sizes of large blocks are multiples of this.
const STEP: usize = 4096;

/// The largest block that a run serves.
pub const LARGEST_RUN: usize = LONGEST_RUN * SLAB;

const _: () = assert!(LARGEST_RUN >= (1 << 20) + class::LARGEST_NARROW, "a mebibyte and a header");

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Bytes of live large blocks.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// The size of the block for `size` bytes.
pub const fn rounded(size: usize) -> usize {
    size.saturating_add(STEP - 1) & !(STEP - 1)
}

const fn slabs(size: usize) -> usize {
    size.div_ceil(SLAB)
}

pub fn allocate(size: usize) -> NonNull<u8> {
    let size = rounded(size);
    if size > LARGEST_RUN {
        let block = map(size);
        LIVE.fetch_add(size, Relaxed);
        return block;
    }
    match pool::take_run(slabs(size)) {
        Some(taken) => {
            LIVE.fetch_add(size, Relaxed);
            start(taken.index)
        }
        None => system::allocate(size),
    }
}

pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    let size = rounded(size);
    if size > LARGEST_RUN {
        let block = map(size);
        LIVE.fetch_add(size, Relaxed);
        return block;
    }
    match pool::take_run(slabs(size)) {
        Some(taken) => {
            LIVE.fetch_add(size, Relaxed);
            let block = start(taken.index);
            if taken.touched {
                // SAFETY: the block has `size` bytes.
                unsafe { block.write_bytes(0, size) };
            }
            block
        }
        None => system::allocate_zeroed(size),
    }
}

fn start(index: u32) -> NonNull<u8> {
    NonNull::new(space::memory(index)).expect("the range does not begin at address 0")
}

/// # Safety
/// `block` came from this module for `size` bytes and is not used again.
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    let size = rounded(size);
    if size > LARGEST_RUN {
        LIVE.fetch_sub(size, Relaxed);
        // SAFETY: a mapping of this length that only the caller knew.
        unsafe { unmap(block, size) };
    } else if space::slab_of(block).is_some() {
        LIVE.fetch_sub(size, Relaxed);
        pool::put_run(space::index_of(block), slabs(size));
    } else {
        // SAFETY: where no run was available, the system allocated the block at this size.
        unsafe { system::release(block, size) };
    }
}

/// Changes a block's size if that takes no copy of the bytes; `None` if it would.
///
/// # Safety
/// `block` came from this module for `old` bytes; if a block is returned, the old one is not used again. `new` is a
/// large size.
pub unsafe fn resize(block: NonNull<u8>, old: usize, new: usize) -> Option<NonNull<u8>> {
    let (old, new) = (rounded(old), rounded(new));
    if old.min(new) > LARGEST_RUN {
        // SAFETY: a mapping of this length that only the caller knows.
        let moved = unsafe { remap(block, old, new) }?;
        LIVE.fetch_add(new.wrapping_sub(old), Relaxed);
        return Some(moved);
    }
    if old.max(new) <= LARGEST_RUN && slabs(old) == slabs(new) && space::slab_of(block).is_some() {
        LIVE.fetch_add(new.wrapping_sub(old), Relaxed);
        return Some(block);
    }
    None
}

fn map(size: usize) -> NonNull<u8> {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let at = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        libc::mmap(ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    if at == libc::MAP_FAILED {
        refused::end(size);
    }
    NonNull::new(at.cast()).unwrap_or_else(|| refused::end(size))
}

/// # Safety
/// `block` is a mapping of `size` bytes that nobody uses.
unsafe fn unmap(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        // Refused if the process may not have one more mapping, and this would split one. Then the addresses are lost,
        // but not the memory.
        if libc::munmap(block.as_ptr().cast(), size) != 0 {
            libc::madvise(block.as_ptr().cast(), size, libc::MADV_DONTNEED);
        }
    }
}

/// # Safety
/// `block` is a mapping of `old` bytes; if a block is returned, the old one is not used again.
#[cfg(target_os = "linux")]
unsafe fn remap(block: NonNull<u8>, old: usize, new: usize) -> Option<NonNull<u8>> {
    // SAFETY: the caller's promise.
    let at = unsafe { libc::mremap(block.as_ptr().cast(), old, new, libc::MREMAP_MAYMOVE) };
    if at == libc::MAP_FAILED {
        refused::end(new);
    }
    NonNull::new(at.cast())
}

/// # Safety
/// As on Linux; elsewhere pages cannot be moved.
#[cfg(not(target_os = "linux"))]
unsafe fn remap(_: NonNull<u8>, _: usize, _: usize) -> Option<NonNull<u8>> {
    None
}
