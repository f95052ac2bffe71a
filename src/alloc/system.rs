//! Blocks from the system's allocator: all of them if slabs are not used, and those for which there is no slab.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::refused;

static LIVE: AtomicUsize = AtomicUsize::new(0);

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 8).expect("size of a block")
}

/// Bytes allocated from the system and not released.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

#[cold]
#[inline(never)]
pub fn allocate(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    counted(block, size)
}

pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is not zero.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    counted(block, size)
}

fn counted(block: *mut u8, size: usize) -> NonNull<u8> {
    let block = NonNull::new(block).unwrap_or_else(|| refused::end(size));
    LIVE.fetch_add(size, Relaxed);
    block
}

/// # Safety
/// `block` came from this module for `size` bytes and is not used again.
#[cold]
#[inline(never)]
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    LIVE.fetch_sub(size, Relaxed);
    // SAFETY: the block has this layout, by the caller's promise.
    unsafe { std::alloc::dealloc(block.as_ptr(), layout(size)) }
}
