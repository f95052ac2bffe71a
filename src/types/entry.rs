//! A key and its value: a record (`record.rs`) with what only keys have.
//!
//! ```text
//!    0          3             4       5         6
//!  [ access 3 | kind, enc 1 | flags | key len | (expiry 8, index 4) | (key len 8) | key … | value ]
//! ```
//!
//! For most keys, the entry's first cache line holds everything that a lookup needs. A key of 16 bytes takes 26 bytes
//! with a value of 3, 30 with an integer, 55 with a value of 32, and 12 more with an expiry. A string
//! value of up to 255 bytes always lies in the entry, whatever `OBJECT ENCODING` calls it: a block of its own would never
//! be cheaper.
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
use super::record::{self, BLOCK, CONTAINER, EXPIRY, LONG_NAME, View, WORD};
use crate::alloc;

const KIND_BYTE: usize = 3;
/// The bytes that every entry has before its key.
const HEADER: usize = 6;
const EXPIRY_SIZE: usize = 12;
const EXPIRY_INDEX: usize = HEADER + 8;
const ACCESS_MASK: u32 = 0x00ff_ffff;

type Record = record::Record<HEADER, EXPIRY_SIZE>;

const _: () = assert!(size_of::<Handle>() == WORD, "a collection's pointer fills a value's word");
const _: () = assert!(HEADER + 16 + 1 + 3 == 26 && HEADER + 16 + WORD == 30 && HEADER + 16 + 1 + 32 == 55);

/// The expiry index of an entry that is not in a list of expiring entries.
pub const NO_EXPIRE_INDEX: u32 = u32::MAX;

/// Values with at least this much memory are freed by a background thread: returning their pages to the kernel takes
/// time proportional to their size.
pub const LARGE_BYTES: usize = 128 << 10;

/// Up to this, returning the pages of a string takes less than a tenth of a millisecond.
const QUICK_BYTES: usize = 2 << 20;

/// See the module's head.
#[repr(transparent)]
pub struct Entry {
    record: Record,
}

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
        let (record, value) = Record::create(key, form, value_size, expire);
        let word = u32::from_le_bytes([0, 0, 0, kind_byte(kind, encoding)]);
        // SAFETY: the allocation is aligned to 4, and its first four bytes belong to the entry.
        unsafe { record.at().cast::<u32>().write(word) };
        let entry = Entry { record };
        if expire.is_some() {
            entry.set_expire_index(NO_EXPIRE_INDEX);
        }
        (entry, value.as_ptr())
    }

    /// Gives up ownership of the allocation and returns the address of its first byte.
    #[inline(always)]
    pub fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).record.at()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `at` came from [`Entry::into_raw`] and has no other owner.
    #[inline(always)]
    pub unsafe fn from_raw(at: NonNull<u8>) -> Entry {
        // SAFETY: the caller's promise.
        Entry { record: unsafe { Record::from_raw(at) } }
    }

    /// The key of the entry at `at`.
    ///
    /// # Safety
    /// `at` came from [`Entry::into_raw`], and the entry outlives `'a` unchanged.
    #[inline(always)]
    pub unsafe fn key_at<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { View::<HEADER, EXPIRY_SIZE>::new(at) }.name()
    }

    /// The key.
    #[inline(always)]
    pub fn key(&self) -> &[u8] {
        self.record.view().name()
    }

    #[inline(always)]
    fn kind_bits(&self) -> u8 {
        // SAFETY: every entry has its header.
        unsafe { self.record.at().add(KIND_BYTE).read() }
    }

    #[inline(always)]
    pub(super) fn flags(&self) -> u8 {
        self.record.view().flags()
    }

    /// Gives the value another form and size, which is rarely needed. The old value is dropped; the caller writes the new
    /// one.
    #[inline(never)]
    pub(super) fn make_room(&mut self, form: u8, encoding: Encoding, size: usize) {
        self.drop_value();
        self.resize_value(size);
        self.record.set_flags(self.flags() & (EXPIRY | LONG_NAME) | form);
        self.set_encoding(encoding);
    }

    /// Sets the encoding of a value that keeps its form and kind.
    #[inline(always)]
    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        let byte = kind_byte(self.kind(), encoding);
        // SAFETY: every entry has its header, and `&mut self` is its only user.
        unsafe { self.record.at().add(KIND_BYTE).write(byte) }
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
        self.record.view().value_at().as_ptr()
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
        u32::from_le(unsafe { self.record.at().cast::<u32>().read() }) & ACCESS_MASK
    }

    /// Writes the 24 access bits, in place.
    #[inline(always)]
    pub fn set_access(&self, access: u32) {
        debug_assert!(access <= ACCESS_MASK);
        let word = (self.kind_bits() as u32) << 24 | access & ACCESS_MASK;
        // SAFETY: an allocation is aligned to 4 and begins with this word. No reference to it is ever given out, and
        // an entry is not `Sync`, so this is a `Cell`.
        unsafe { self.record.at().cast::<u32>().write(word.to_le()) }
    }

    /// When the key expires, in Unix milliseconds.
    #[inline(always)]
    pub fn expire_at(&self) -> Option<i64> {
        self.record.view().expire_at()
    }

    /// The entry's index in the keyspace's list of expiring entries; [`NO_EXPIRE_INDEX`] if it was not set.
    #[inline(always)]
    pub fn expire_index(&self) -> u32 {
        if self.flags() & EXPIRY == 0 {
            return NO_EXPIRE_INDEX;
        }
        // SAFETY: EXPIRY says that the field is there.
        u32::from_le(unsafe { self.record.at().add(EXPIRY_INDEX).cast::<u32>().read_unaligned() })
    }

    /// Writes the index, in place. Does nothing to an entry without expiry.
    #[inline(always)]
    pub fn set_expire_index(&self, index: u32) {
        if self.flags() & EXPIRY != 0 {
            // SAFETY: EXPIRY says that the field is there; as in `set_access`, no reference to it exists.
            unsafe { self.record.at().add(EXPIRY_INDEX).cast::<u32>().write_unaligned(index.to_le()) }
        }
    }

    /// Sets, changes or removes the expiry. A change is made in place and keeps the index; setting and removing move the
    /// entry.
    pub fn set_expire(&mut self, expire: Option<i64>) {
        let index = self.expire_index();
        self.record.set_expire(expire);
        self.set_expire_index(index);
    }

    /// The bytes requested from the allocator.
    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        self.record.view().size()
    }

    /// Makes the value `size` bytes long and keeps its old bytes. The entry may move.
    #[inline(always)]
    pub(super) fn resize_value(&mut self, size: usize) {
        self.record.resize_value(size);
    }

    /// The large value's block.
    #[inline(always)]
    pub fn block(&self) -> Option<&Block> {
        self.record.view().block()
    }

    #[inline(always)]
    pub(super) fn block_mut(&mut self) -> Option<&mut Block> {
        self.record.block_mut()
    }

    /// Moves the entry's own block.
    ///
    /// # Safety
    /// No reference or pointer to the entry is used afterwards.
    #[inline]
    pub(super) unsafe fn relocate(&mut self, moves: &mut Moves) {
        self.record.relocate(moves);
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
        // SAFETY: the value was dropped, and the entry is not used after this.
        unsafe { self.record.release() };
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

#[inline(always)]
fn kind_byte(kind: Kind, encoding: Encoding) -> u8 {
    (kind as u8) << 4 | encoding as u8
}
