//! The allocator in which the keyspace lives. (The size classes come beneath this interface.)

use std::alloc::Layout;
use std::ptr::NonNull;

const ALIGN: usize = 8;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), ALIGN).expect("size of a block")
}

/// Allocates `size` bytes, uninitialised; aligned to 4 bytes at least, to 8 from 64 bytes on.
#[inline]
pub fn allocate(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

/// Allocates `size` zeroed bytes; a large block is zeroed by the kernel, page by page as it is touched.
#[inline]
pub fn allocate_zeroed(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is not zero.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

/// Gives a block back.
///
/// # Safety
/// `block` came from this module for `size` bytes (or a size with the same `class_size`), and is not used again.
#[inline]
pub unsafe fn release(block: NonNull<u8>, size: usize) {
    // SAFETY: the caller says that the block came from `allocate(size)`.
    unsafe { std::alloc::dealloc(block.as_ptr(), layout(size)) }
}

/// How many bytes of a block allocated for `size` bytes can be used.
#[inline(always)]
pub fn class_size(size: usize) -> usize {
    size
}

/// Changes a block's size, keeping its first `min(old, new)` bytes; the block may move.
///
/// # Safety
/// As [`release`], for `old` bytes; the old pointer is not used again.
#[inline]
pub unsafe fn resize(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    let new_layout = layout(new);
    // SAFETY: the caller says that the block came from `allocate(old)`.
    let moved = unsafe { std::alloc::realloc(block.as_ptr(), layout(old), new_layout.size()) };
    NonNull::new(moved).unwrap_or_else(|| std::alloc::handle_alloc_error(new_layout))
}
