//! A name and a value in one allocation, behind one thin pointer: the common part of an [`Entry`](super::Entry) and a
//! [`Field`](super::hash::Field).
//!
//! ```text
//!    …   HEADER-2   HEADER-1    HEADER
//!  [ …  | flags   | name len | (expiry 8 …) | (name len 8) | name … | value ]
//!                              if EXPIRY      if LONG_NAME
//!  value:  INT        8 bytes, the number
//!          BLOCK      8 bytes, a `Block`
//!          CONTAINER  8 bytes, a collection behind a `Handle`
//!          else       1 byte of length and up to 255 bytes
//! ```
//!
//! The bytes before the flags, and those that follow the 8 of an expiry, belong to the owner. Nothing is aligned beyond
//! the first word, so everything is read unaligned.
//!
//! The size of the allocation is not stored: it follows from the contents. So a write stays in place exactly when the old
//! and the new size belong to the same size class of the allocator.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::block::Block;
use super::moves::Moves;
use crate::alloc;

/// The name is preceded by an expiry.
pub(super) const EXPIRY: u8 = 1;
/// The name has more than 255 bytes; its length precedes it.
pub(super) const LONG_NAME: u8 = 2;
/// The value is an integer.
pub(super) const INT: u8 = 4;
/// The value is a [`Block`].
pub(super) const BLOCK: u8 = 8;
/// The value is a collection.
pub(super) const CONTAINER: u8 = 16;
/// The value takes [`WORD`] bytes.
pub(super) const WORDS: u8 = INT | BLOCK | CONTAINER;

const LONG_NAME_SIZE: usize = 8;
pub(super) const WORD: usize = 8;
/// The most bytes of a value in the record itself.
pub(super) const EMBEDDED_MAX: usize = u8::MAX as usize;

const _: () = assert!(size_of::<Block>() == WORD, "a block's pointer fills a value's word");

/// A record that its owner must release ([`Record::release`]): with a header of `HEADER` bytes, whose last two are the
/// flags and the name's length, and an expiry of `EXPIRY_SIZE` bytes.
#[repr(transparent)]
pub(super) struct Record<const HEADER: usize, const EXPIRY_SIZE: usize> {
    at: NonNull<u8>,
}

// SAFETY: a record owns its memory, and the block or the collection in it is `Send`. (It is not `Sync`: the owner may
// write its bytes of the header through a shared reference.)
unsafe impl<const HEADER: usize, const EXPIRY_SIZE: usize> Send for Record<HEADER, EXPIRY_SIZE> {}

/// A borrowed [`Record`]. It is not changed during `'a`, except for the bytes of the header that belong to the owner.
#[derive(Clone, Copy)]
pub(super) struct View<'a, const HEADER: usize, const EXPIRY_SIZE: usize> {
    at: NonNull<u8>,
    record: PhantomData<&'a Record<HEADER, EXPIRY_SIZE>>,
}

impl<'a, const HEADER: usize, const EXPIRY_SIZE: usize> View<'a, HEADER, EXPIRY_SIZE> {
    /// Views the record at `at`.
    ///
    /// # Safety
    /// A [`Record`] with this pointer lives and is not changed during `'a`.
    #[inline(always)]
    pub(super) unsafe fn new(at: NonNull<u8>) -> Self {
        View { at, record: PhantomData }
    }

    #[inline(always)]
    pub(super) fn flags(self) -> u8 {
        // SAFETY: every record has its header.
        unsafe { self.at.add(HEADER - 2).read() }
    }

    /// Returns the offset of the name and its length.
    #[inline(always)]
    fn name_span(self) -> (usize, usize) {
        let flags = self.flags();
        let offset = HEADER + EXPIRY_SIZE * usize::from(flags & EXPIRY);
        // SAFETY: every record has its header, and LONG_NAME says that the long length is there.
        unsafe {
            if flags & LONG_NAME == 0 {
                (offset, usize::from(self.at.add(HEADER - 1).read()))
            } else {
                let len = self.at.add(offset).cast::<u64>().read_unaligned();
                (offset + LONG_NAME_SIZE, u64::from_le(len) as usize)
            }
        }
    }

    #[inline(always)]
    pub(super) fn name(self) -> &'a [u8] {
        let (offset, len) = self.name_span();
        // SAFETY: the name's bytes lie where its span says, and are not written during `'a`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(offset), len) }
    }

    #[inline(always)]
    pub(super) fn value_offset(self) -> usize {
        let (offset, len) = self.name_span();
        offset + len
    }

    /// Returns the address of the value.
    #[inline(always)]
    pub(super) fn value_at(self) -> NonNull<u8> {
        // SAFETY: every record has a value, which lies there.
        unsafe { self.at.add(self.value_offset()) }
    }

    /// Returns the size of the value that lies at `offset`.
    #[inline(always)]
    fn value_size(self, offset: usize) -> usize {
        // SAFETY: a value that is not a word begins with its length.
        if self.flags() & WORDS == 0 { 1 + usize::from(unsafe { self.at.add(offset).read() }) } else { WORD }
    }

    /// Returns the size of the allocation, or another size of the same class.
    #[inline(always)]
    pub(super) fn size(self) -> usize {
        let offset = self.value_offset();
        offset + self.value_size(offset)
    }

    #[inline(always)]
    pub(super) fn expire_at(self) -> Option<i64> {
        if self.flags() & EXPIRY == 0 {
            return None;
        }
        // SAFETY: EXPIRY says that it is there.
        Some(i64::from_le(unsafe { self.at.add(HEADER).cast::<i64>().read_unaligned() }))
    }

    #[inline(always)]
    pub(super) fn block(self) -> Option<&'a Block> {
        if self.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: BLOCK says that the value is one; a block's pointer may lie at any address.
        Some(unsafe { self.value_at().cast::<Block>().as_ref() })
    }
}

impl<const HEADER: usize, const EXPIRY_SIZE: usize> Record<HEADER, EXPIRY_SIZE> {
    /// Allocates a record of a name and a value of `value_size` bytes with the flags `form`. Returns the address of the
    /// value. The caller writes the value, and its own bytes of the header and the expiry.
    #[inline(always)]
    pub(super) fn create(
        name: &[u8],
        form: u8,
        value_size: usize,
        expire_at: Option<i64>,
    ) -> (Self, NonNull<u8>) {
        let mut flags = form;
        let mut offset = HEADER;
        if expire_at.is_some() {
            flags |= EXPIRY;
            offset += EXPIRY_SIZE;
        }
        if name.len() > usize::from(u8::MAX) {
            flags |= LONG_NAME;
            offset += LONG_NAME_SIZE;
        }
        let at = alloc::allocate(offset + name.len() + value_size);
        // SAFETY: the allocation holds a header of `offset` bytes, the name and the value.
        unsafe {
            at.add(HEADER - 2).write(flags);
            at.add(HEADER - 1).write(name.len() as u8);
            if let Some(time) = expire_at {
                at.add(HEADER).cast::<i64>().write_unaligned(time.to_le());
            }
            if flags & LONG_NAME != 0 {
                at.add(offset - LONG_NAME_SIZE).cast::<u64>().write_unaligned((name.len() as u64).to_le());
            }
            let to = at.add(offset);
            copy_short(name.as_ptr(), to.as_ptr(), name.len());
            (Record { at }, to.add(name.len()))
        }
    }

    /// Takes over the record at `at`.
    ///
    /// # Safety
    /// `at` is the pointer of a [`Record`] of the same type, which has no other owner.
    #[inline(always)]
    pub(super) unsafe fn from_raw(at: NonNull<u8>) -> Self {
        Record { at }
    }

    #[inline(always)]
    pub(super) fn at(&self) -> NonNull<u8> {
        self.at
    }

    #[inline(always)]
    pub(super) fn view(&self) -> View<'_, HEADER, EXPIRY_SIZE> {
        View { at: self.at, record: PhantomData }
    }

    #[inline(always)]
    pub(super) fn set_flags(&mut self, flags: u8) {
        // SAFETY: every record has its header, and `&mut self` is its only user.
        unsafe { self.at.add(HEADER - 2).write(flags) }
    }

    /// Sets or removes the expiry. The caller writes its own bytes of a new one.
    pub(super) fn set_expire(&mut self, expire_at: Option<i64>) {
        let flags = self.view().flags();
        match (flags & EXPIRY != 0, expire_at) {
            (false, Some(_)) => self.shift_tail(HEADER, HEADER + EXPIRY_SIZE, flags | EXPIRY),
            (true, None) => self.shift_tail(HEADER + EXPIRY_SIZE, HEADER, flags & !EXPIRY),
            (true, Some(_)) | (false, None) => {}
        }
        if let Some(time) = expire_at {
            // SAFETY: the record has room for an expiry now.
            unsafe { self.at.add(HEADER).cast::<i64>().write_unaligned(time.to_le()) };
        }
    }

    /// Moves the bytes from `from` on to `to`, into another allocation if their number then belongs to another class.
    fn shift_tail(&mut self, from: usize, to: usize, flags: u8) {
        let old = self.view().size();
        let new = old - from + to;
        let at = self.at;
        // SAFETY: `old` is the size of the allocation, and `new` that of one with the tail at `to`.
        unsafe {
            if alloc::class_size(old) == alloc::class_size(new) {
                ptr::copy(at.as_ptr().add(from), at.as_ptr().add(to), old - from);
            } else {
                let moved = alloc::allocate(new);
                ptr::copy_nonoverlapping(at.as_ptr(), moved.as_ptr(), HEADER);
                ptr::copy_nonoverlapping(at.as_ptr().add(from), moved.as_ptr().add(to), old - from);
                alloc::release(at, old);
                self.at = moved;
            }
        }
        self.set_flags(flags);
    }

    /// Makes the value `size` bytes long, whose contents are then unspecified beyond the smaller size.
    #[inline(always)]
    pub(super) fn resize_value(&mut self, size: usize) {
        let view = self.view();
        let offset = view.value_offset();
        let (old, new) = (offset + view.value_size(offset), offset + size);
        if alloc::class_size(old) != alloc::class_size(new) {
            // SAFETY: `old` is what was allocated, or a size of the same class.
            self.at = unsafe { alloc::resize(self.at, old, new) };
        }
    }

    #[inline(always)]
    pub(super) fn block_mut(&mut self) -> Option<&mut Block> {
        let view = self.view();
        if view.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: BLOCK says that the value is one, and `&mut self` is the record's only user.
        Some(unsafe { view.value_at().cast::<Block>().as_mut() })
    }

    /// Moves the allocation, and not the block or the collection that it refers to.
    #[inline]
    pub(super) fn relocate(&mut self, moves: &mut Moves) {
        // SAFETY: `self` owns the allocation, whose size this is.
        self.at = unsafe { moves.relocate(self.at, self.view().size()) };
    }

    /// Frees the memory.
    ///
    /// # Safety
    /// The record is not used after this, and its block or collection was dropped or moved out.
    #[inline(always)]
    pub(super) unsafe fn release(&mut self) {
        // SAFETY: `self` owns the allocation, whose size this is.
        unsafe { alloc::release(self.at, self.view().size()) };
    }
}

/// Copies bytes; up to 32 without a call, since keys and embedded values are mostly short.
///
/// # Safety
/// As `ptr::copy_nonoverlapping`.
#[inline(always)]
pub(super) unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    /// Copies the first and the last word, which overlap where `len` is less than two words.
    macro_rules! ends {
        ($word:ty) => {{
            let last = len - size_of::<$word>();
            let head = from.cast::<$word>().read_unaligned();
            let tail = from.add(last).cast::<$word>().read_unaligned();
            to.cast::<$word>().write_unaligned(head);
            to.add(last).cast::<$word>().write_unaligned(tail);
        }};
    }
    // SAFETY: each arm reads and writes within the `len` bytes that the caller vouches for.
    unsafe {
        match len {
            0 => {}
            1..4 => {
                let (first, middle, last) = (from.read(), from.add(len / 2).read(), from.add(len - 1).read());
                to.write(first);
                to.add(len / 2).write(middle);
                to.add(len - 1).write(last);
            }
            4..8 => ends!(u32),
            8..16 => ends!(u64),
            16..=32 => ends!(u128),
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
}
