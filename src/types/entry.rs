//! A key and its value in one allocation, behind one thin pointer.
//!
//! ```text
//!    0          3             4       5         6
//!  [ access 3 | kind, enc 1 | flags | key len | (expiry 8, index 4) | (key len 8) | key … | value ]
//!                                               if EXPIRY             if LONG_KEY
//!  value:  INT        8 bytes, the number
//!          BLOCK      8 bytes, a `Block`
//!          CONTAINER  8 bytes, a collection behind a `Handle`
//!          else       1 byte of length and up to 255 bytes
//! ```
//!
//! For most keys, the entry's first cache line holds everything that a lookup needs. A key of 16 bytes takes 26 bytes
//! with a value of 3, 30 with an integer, 55 with a value of 32, and 12 more with an expiry. Nothing beyond the first
//! word is aligned, so all fields are read unaligned. A string value of up to 255 bytes always lies in the entry,
//! whatever `OBJECT ENCODING` calls it: a block of its own would never be cheaper.
//!
//! The size of the allocation is not stored: it follows from the header and the value's length. So a write stays in
//! place exactly when the old and the new size belong to the same size class of the allocator.
//!
//! Costs, in instructions counted by callgrind including call and return: `key` 11, `value` 20, overwriting a value in
//! place 57 (an integer 22), creating an entry of key 16 and value 3 about 125, of which the allocation is 25, dropping
//! it 43.
//!
//! The access bits and the expiry index are written through `&Entry`, as in a `Cell`, since even a read of the value
//! moves the access clock. An entry can be sent to another thread but not shared between threads.

use std::ptr::{self, NonNull};

use super::block::Block;
use super::container::{Handle, LAZY_ITEMS};
use super::kind::{Encoding, Kind};
use super::moves::Moves;
use crate::alloc;

const KIND_BYTE: usize = 3;
const FLAGS_BYTE: usize = 4;
const KEY_LEN_BYTE: usize = 5;
/// The bytes that every entry has before its key.
const HEADER: usize = 6;
const EXPIRY_SIZE: usize = 12;
const EXPIRY_INDEX: usize = HEADER + 8;
const LONG_KEY_SIZE: usize = 8;
const ACCESS_MASK: u32 = 0x00ff_ffff;

/// There is an expiry. The lowest bit, so that key offsets need no branch.
const EXPIRY: u8 = 1;
/// The key's length does not fit in a byte.
const LONG_KEY: u8 = 2;
/// The value is an `i64`.
pub(super) const INT: u8 = 4;
/// The value is a [`Block`].
pub(super) const BLOCK: u8 = 8;
/// The value is a [`Handle`].
pub(super) const CONTAINER: u8 = 16;
/// The value is a word.
pub(super) const WORDS: u8 = INT | BLOCK | CONTAINER;

/// The size of a value that is an integer or a pointer.
pub(super) const WORD: usize = 8;
/// The longest value that lies in the entry itself.
pub(super) const EMBEDDED_MAX: usize = u8::MAX as usize;

const _: () = assert!(size_of::<Block>() == WORD, "a block's pointer fills a value's word");
const _: () = assert!(size_of::<Handle>() == WORD, "a collection's pointer fills a value's word");
const _: () = assert!(HEADER + 16 + 1 + 3 == 26 && HEADER + 16 + WORD == 30 && HEADER + 16 + 1 + 32 == 55);

/// The expiry index of an entry that is not in a list of expiring entries.
pub const NO_EXPIRE_INDEX: u32 = u32::MAX;

/// Values with at least this much memory are freed by a background thread: returning their pages to the kernel takes
/// time proportional to their size.
pub const LARGE_BYTES: usize = 128 << 10;

/// Up to this, returning the pages of a string takes less than a tenth of a millisecond.
const QUICK_BYTES: usize = 2 << 20;

/// A pointer to an entry's first byte, with the arithmetic of the layout. Its methods read what `Entry` owns.
#[derive(Clone, Copy)]
pub(super) struct Raw(pub(super) NonNull<u8>);

impl Raw {
    #[inline(always)]
    pub(super) unsafe fn byte(self, offset: usize) -> u8 {
        // SAFETY: the caller's offset lies within the entry.
        unsafe { self.0.add(offset).read() }
    }

    #[inline(always)]
    pub(super) unsafe fn flags(self) -> u8 {
        // SAFETY: every entry has its header.
        unsafe { self.byte(FLAGS_BYTE) }
    }

    /// Where the key begins, and its length.
    #[inline(always)]
    unsafe fn key_span(self) -> (usize, usize) {
        // SAFETY: every entry has its header, and LONG_KEY says that the long length is there.
        unsafe {
            let flags = self.flags();
            let offset = HEADER + EXPIRY_SIZE * (flags & EXPIRY) as usize;
            if flags & LONG_KEY == 0 {
                (offset, self.byte(KEY_LEN_BYTE) as usize)
            } else {
                let len = self.0.add(offset).cast::<u64>().read_unaligned();
                (offset + LONG_KEY_SIZE, u64::from_le(len) as usize)
            }
        }
    }

    /// The key of a live entry.
    #[inline(always)]
    pub(super) unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: the key's bytes lie where its span says, and are never written while the entry lives.
        unsafe {
            let (offset, len) = self.key_span();
            std::slice::from_raw_parts(self.0.as_ptr().add(offset), len)
        }
    }

    #[inline(always)]
    pub(super) unsafe fn value_offset(self) -> usize {
        // SAFETY: the caller's promise.
        let (offset, len) = unsafe { self.key_span() };
        offset + len
    }

    /// The bytes from `offset`, where the value begins, to the end.
    #[inline(always)]
    unsafe fn value_size(self, offset: usize) -> usize {
        // SAFETY: the caller's promise; a value that is not a word begins with its length.
        unsafe { if self.flags() & WORDS == 0 { 1 + self.byte(offset) as usize } else { WORD } }
    }
}

/// See the module's head.
#[repr(transparent)]
pub struct Entry {
    raw: Raw,
}

// SAFETY: an entry owns its memory, and the block in it is `Send`. (It is not `Sync`: see `set_access`.)
unsafe impl Send for Entry {}

impl Entry {
    /// Allocates an entry with a value of `value_size` bytes, which the caller writes to the returned address before it
    /// does anything else.
    #[inline(always)]
    pub(super) fn create(
        key: &[u8],
        form: u8,
        (kind, encoding): (Kind, Encoding),
        value_size: usize,
        expire: Option<i64>,
    ) -> (Entry, *mut u8) {
        let mut offset = HEADER;
        let mut flags = form;
        if expire.is_some() {
            flags |= EXPIRY;
            offset += EXPIRY_SIZE;
        }
        if key.len() > u8::MAX as usize {
            flags |= LONG_KEY;
            offset += LONG_KEY_SIZE;
        }
        let at = alloc::allocate(offset + key.len() + value_size);
        // SAFETY: the allocation holds a header of `offset` bytes, the key and the value, and is aligned to 4.
        unsafe {
            let word = u32::from_le_bytes([0, 0, 0, kind_byte(kind, encoding)]);
            at.cast::<u32>().write(word);
            at.add(FLAGS_BYTE).write(flags);
            at.add(KEY_LEN_BYTE).write(key.len() as u8);
            if let Some(at_ms) = expire {
                write_expiry(at, at_ms, NO_EXPIRE_INDEX);
            }
            if flags & LONG_KEY != 0 {
                at.add(offset - LONG_KEY_SIZE).cast::<u64>().write_unaligned((key.len() as u64).to_le());
            }
            let to = at.as_ptr().add(offset);
            copy_short(key.as_ptr(), to, key.len());
            (Entry { raw: Raw(at) }, to.add(key.len()))
        }
    }

    /// Gives up ownership of the allocation and returns the address of its first byte.
    #[inline(always)]
    pub fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).raw.0
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `at` came from [`Entry::into_raw`] and has no other owner.
    #[inline(always)]
    pub unsafe fn from_raw(at: NonNull<u8>) -> Entry {
        Entry { raw: Raw(at) }
    }

    /// The key of the entry at `at`.
    ///
    /// # Safety
    /// `at` came from [`Entry::into_raw`], and the entry outlives `'a` unchanged.
    #[inline(always)]
    pub unsafe fn key_at<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { Raw(at).key() }
    }

    /// The key.
    #[inline(always)]
    pub fn key(&self) -> &[u8] {
        // SAFETY: `self` is a live entry, and the slice lives no longer than the borrow.
        unsafe { self.raw.key() }
    }

    #[inline(always)]
    fn kind_bits(&self) -> u8 {
        // SAFETY: every entry has its header.
        unsafe { self.raw.byte(KIND_BYTE) }
    }

    #[inline(always)]
    pub(super) fn flags(&self) -> u8 {
        // SAFETY: every entry has its header.
        unsafe { self.raw.flags() }
    }

    /// Gives the value another form and size, which is rarely needed. The old value is dropped; the caller writes the new
    /// one.
    #[inline(never)]
    pub(super) fn make_room(&mut self, form: u8, encoding: Encoding, size: usize) {
        self.drop_value();
        self.resize_value(size);
        let flags = self.flags() & (EXPIRY | LONG_KEY) | form;
        // SAFETY: every entry has its header, and `&mut self` is its only user.
        unsafe { self.raw.0.add(FLAGS_BYTE).write(flags) }
        self.set_encoding(encoding);
    }

    /// Sets the encoding of a value that keeps its form and kind.
    #[inline(always)]
    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        let byte = kind_byte(self.kind(), encoding);
        // SAFETY: every entry has its header, and `&mut self` is its only user.
        unsafe { self.raw.0.add(KIND_BYTE).write(byte) }
    }

    /// Drops what the value's word owns. The caller writes another value, or frees the entry.
    #[inline]
    fn drop_value(&mut self) {
        let flags = self.flags();
        if flags & (BLOCK | CONTAINER) == 0 {
            return;
        }
        let at = self.value_at();
        // SAFETY: the flag says what the word is; it is dropped once, since the caller overwrites or frees it next.
        unsafe {
            if flags & BLOCK != 0 {
                ptr::drop_in_place(at.cast::<Block>());
            } else {
                ptr::drop_in_place(at.cast::<Handle>());
            }
        }
    }

    /// Where the value begins.
    #[inline(always)]
    pub(super) fn value_at(&self) -> *mut u8 {
        // SAFETY: `self` is a live entry, whose value begins there.
        unsafe { self.raw.0.as_ptr().add(self.raw.value_offset()) }
    }

    /// The type of the value.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.kind_bits() >> 4)
    }

    /// The encoding that `OBJECT ENCODING` returns.
    #[inline(always)]
    pub fn encoding(&self) -> Encoding {
        Encoding::from_bits(self.kind_bits() & 15)
    }

    /// The 24 access bits (see [`super::access`]).
    #[inline(always)]
    pub fn access(&self) -> u32 {
        // SAFETY: an allocation is aligned to 4 and begins with this word.
        u32::from_le(unsafe { self.raw.0.cast::<u32>().read() }) & ACCESS_MASK
    }

    /// Writes the 24 access bits, in place.
    #[inline(always)]
    pub fn set_access(&self, access: u32) {
        debug_assert!(access <= ACCESS_MASK);
        let word = (self.kind_bits() as u32) << 24 | access & ACCESS_MASK;
        // SAFETY: an allocation is aligned to 4 and begins with this word. No reference to it is ever given out, and
        // an entry is not `Sync`, so this is a `Cell`.
        unsafe { self.raw.0.cast::<u32>().write(word.to_le()) }
    }

    /// When the key expires, in Unix milliseconds.
    #[inline(always)]
    pub fn expire_at(&self) -> Option<i64> {
        if self.flags() & EXPIRY == 0 {
            return None;
        }
        // SAFETY: EXPIRY says that the field is there.
        Some(i64::from_le(unsafe { self.raw.0.add(HEADER).cast::<i64>().read_unaligned() }))
    }

    /// The entry's index in the keyspace's list of expiring entries; [`NO_EXPIRE_INDEX`] if it was not set.
    #[inline(always)]
    pub fn expire_index(&self) -> u32 {
        if self.flags() & EXPIRY == 0 {
            return NO_EXPIRE_INDEX;
        }
        // SAFETY: EXPIRY says that the field is there.
        u32::from_le(unsafe { self.raw.0.add(EXPIRY_INDEX).cast::<u32>().read_unaligned() })
    }

    /// Writes the index, in place. Does nothing to an entry without expiry.
    #[inline(always)]
    pub fn set_expire_index(&self, index: u32) {
        if self.flags() & EXPIRY != 0 {
            // SAFETY: EXPIRY says that the field is there; as in `set_access`, no reference to it exists.
            unsafe { self.raw.0.add(EXPIRY_INDEX).cast::<u32>().write_unaligned(index.to_le()) }
        }
    }

    /// Sets, changes or removes the expiry. A change is made in place and keeps the index; setting and removing move the
    /// entry.
    pub fn set_expire(&mut self, expire: Option<i64>) {
        match (expire, self.flags() & EXPIRY != 0) {
            // SAFETY: EXPIRY says that the fields are there.
            (Some(at_ms), true) => unsafe { write_expiry(self.raw.0, at_ms, self.expire_index()) },
            (Some(at_ms), false) => {
                self.shift_tail(HEADER, HEADER + EXPIRY_SIZE, self.flags() | EXPIRY);
                // SAFETY: the tail made room for the fields.
                unsafe { write_expiry(self.raw.0, at_ms, NO_EXPIRE_INDEX) };
            }
            (None, true) => self.shift_tail(HEADER + EXPIRY_SIZE, HEADER, self.flags() & !EXPIRY),
            (None, false) => {}
        }
    }

    /// Moves everything from offset `from` on to offset `to`; the header before both stays.
    fn shift_tail(&mut self, from: usize, to: usize, flags: u8) {
        let old = self.size();
        let new = old - from + to;
        let at = self.raw.0;
        // SAFETY: `old` is the size of the allocation, and `new` that of one with the tail at `to`.
        unsafe {
            if alloc::class_size(old) == alloc::class_size(new) {
                ptr::copy(at.as_ptr().add(from), at.as_ptr().add(to), old - from);
            } else {
                let moved = alloc::allocate(new);
                ptr::copy_nonoverlapping(at.as_ptr(), moved.as_ptr(), HEADER);
                ptr::copy_nonoverlapping(at.as_ptr().add(from), moved.as_ptr().add(to), old - from);
                alloc::release(at, old);
                self.raw = Raw(moved);
            }
            self.raw.0.add(FLAGS_BYTE).write(flags);
        }
    }

    /// The bytes requested from the allocator.
    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        // SAFETY: `self` is a live entry.
        unsafe {
            let offset = self.raw.value_offset();
            offset + self.raw.value_size(offset)
        }
    }

    /// Makes the value `size` bytes long and keeps its old bytes. The entry may move.
    #[inline(always)]
    pub(super) fn resize_value(&mut self, size: usize) {
        // SAFETY: `self` is a live entry.
        let offset = unsafe { self.raw.value_offset() };
        // SAFETY: the value begins at `offset`.
        let old = offset + unsafe { self.raw.value_size(offset) };
        let new = offset + size;
        if alloc::class_size(old) != alloc::class_size(new) {
            // SAFETY: `old` is what was allocated, or a size of the same class.
            self.raw = Raw(unsafe { alloc::resize(self.raw.0, old, new) });
        }
    }

    /// The large value's block.
    #[inline(always)]
    pub fn block(&self) -> Option<&Block> {
        if self.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: BLOCK says that the value is one, and a block's pointer may lie at any address.
        Some(unsafe { self.raw.0.add(self.raw.value_offset()).cast::<Block>().as_ref() })
    }

    #[inline(always)]
    pub(super) fn block_mut(&mut self) -> Option<&mut Block> {
        if self.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: as in `block`; `&mut self` is the entry's only user.
        Some(unsafe { self.raw.0.add(self.raw.value_offset()).cast::<Block>().as_mut() })
    }

    /// Moves the entry's own block.
    ///
    /// # Safety
    /// No reference or pointer to the entry is used afterwards.
    #[inline]
    pub(super) unsafe fn relocate(&mut self, moves: &mut Moves) {
        // SAFETY: `self` owns the allocation, whose size this is.
        self.raw = Raw(unsafe { moves.relocate(self.raw.0, self.size()) });
    }

    /// The collection's handle, for writing.
    #[inline(always)]
    pub(super) fn handle_mut(&mut self) -> Option<&mut Handle> {
        if self.flags() & CONTAINER == 0 {
            return None;
        }
        // SAFETY: as in `handle`; `&mut self` is the entry's only user.
        Some(unsafe { &mut *self.value_at().cast::<Handle>() })
    }

    /// The collection's handle.
    #[inline(always)]
    pub(super) fn handle(&self) -> Option<&Handle> {
        if self.flags() & CONTAINER == 0 {
            return None;
        }
        // SAFETY: CONTAINER says that the value is one, and a handle may lie at any address.
        Some(unsafe { &*self.value_at().cast::<Handle>() })
    }

    /// Whether freeing it should be left to a background thread.
    #[inline]
    pub fn is_large(&self) -> bool {
        if self.flags() & CONTAINER != 0 {
            return self.handle().is_some_and(Handle::is_large);
        }
        self.block().is_some_and(|block| block.memory_bytes() >= LARGE_BYTES)
    }

    /// Whether a background thread frees it if a client or the configuration asks for lazy freeing. The limits are those of
    /// Redis, except that strings beyond [`LARGE_BYTES`] are always freed there.
    pub fn is_freed_lazily(&self) -> bool {
        self.is_large() || self.handle().is_some_and(|handle| handle.free_effort() > LAZY_ITEMS)
    }

    /// Whether freeing it takes no more than some microseconds, though it may be large: a string of a few MiB.
    pub fn is_freed_quickly(&self) -> bool {
        !self.is_large() || self.block().is_some_and(|block| block.memory_bytes() < QUICK_BYTES)
    }

    /// For a forked child that does not read the value again: gives the pages that hold nothing else back to the kernel, so
    /// that the parent can write to them without a copy. Returns the number of bytes. The value's bytes are unspecified
    /// from now on.
    ///
    /// One system call for each block that has a whole page; a collection whose blocks are smaller is not even looked at.
    pub fn dismiss(&self) -> usize {
        self.block().map_or(0, Block::dismiss) + self.handle().map_or(0, Handle::dismiss)
    }

    /// The bytes of memory of key and value, without the dict's share.
    pub fn memory_bytes(&self) -> usize {
        let beside =
            self.block().map_or(0, Block::memory_bytes) + self.handle().map_or(0, Handle::memory_bytes);
        alloc::class_size(self.size()) + beside
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        self.drop_value();
        // SAFETY: `self` owns the allocation, whose size this is.
        unsafe { alloc::release(self.raw.0, self.size()) };
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("kind", &self.kind())
            .field("encoding", &self.encoding())
            .field("access", &self.access())
            .field("expire_at", &self.expire_at())
            .finish_non_exhaustive()
    }
}

/// # Safety
/// The entry at `at` is ours, and has room for an expiry.
#[inline(always)]
unsafe fn write_expiry(at: NonNull<u8>, at_ms: i64, index: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        at.add(HEADER).cast::<i64>().write_unaligned(at_ms.to_le());
        at.add(EXPIRY_INDEX).cast::<u32>().write_unaligned(index.to_le());
    }
}

#[inline(always)]
fn kind_byte(kind: Kind, encoding: Encoding) -> u8 {
    (kind as u8) << 4 | encoding as u8
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
