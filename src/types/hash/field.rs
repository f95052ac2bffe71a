//! A field of a large hash with its value, in one allocation behind one thin pointer: the item of a
//! [`Hash`](super::Hash)'s dict.
//!
//! ```text
//!    0       1
//!  [ flags | name len | (expiry 8) | (name len 8) | name … | value ]
//!                       if EXPIRY    if LONG_NAME
//!  value:  BLOCK  8 bytes, a `Block`
//!          else   1 byte of length and up to 255 bytes
//! ```
//!
//! Laid out like an [`Entry`](crate::types::Entry), without what only keys have: a field of 16 bytes with a value of 12
//! takes 31 bytes, in the allocator's class of 32, and 16.8 more in a dict of a million. The size of the allocation is
//! not stored: it follows from the contents, and a new value stays in place exactly when its size class is the same.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::alloc;
use crate::dict::{Item, Ref};
use crate::types::block::Block;
use crate::types::entry::copy_short;
use crate::types::moves::Moves;

const NAME_LEN_BYTE: usize = 1;
/// The bytes that every field has before its name.
const HEADER: usize = 2;
const EXPIRY_SIZE: usize = 8;
const LONG_NAME_SIZE: usize = 8;

/// There is an expiry. The lowest bit, so that offsets need no branch.
const EXPIRY: u8 = 1;
/// The name's length does not fit in a byte.
const LONG_NAME: u8 = 2;
/// The value is a [`Block`].
const BLOCK: u8 = 4;

const WORD: usize = 8;
const EMBEDDED_MAX: usize = u8::MAX as usize;

const _: () = assert!(size_of::<Block>() == WORD, "a block's pointer fills a value's word");
const _: () = assert!(HEADER + 16 + 1 + 12 == 31);

/// See the module's head.
#[repr(transparent)]
pub struct Field {
    at: NonNull<u8>,
}

// SAFETY: a field owns its memory, and the block in it is `Send`.
unsafe impl Send for Field {}

/// A borrowed field.
#[derive(Clone, Copy)]
pub struct FieldRef<'a> {
    at: NonNull<u8>,
    field: PhantomData<&'a Field>,
}

impl<'a> FieldRef<'a> {
    /// The field that a dict has lent, for as long as the dict is borrowed.
    #[inline]
    pub fn lent(field: &Ref<'a, Field>) -> FieldRef<'a> {
        // The guard holds only the pointer; while the dict is borrowed for `'a` the field is neither changed nor dropped.
        FieldRef { at: field.at, field: PhantomData }
    }

    #[inline(always)]
    fn flags(self) -> u8 {
        // SAFETY: every field has its header.
        unsafe { self.at.read() }
    }

    /// Where the name begins, and its length.
    #[inline(always)]
    fn name_span(self) -> (usize, usize) {
        let flags = self.flags();
        let offset = HEADER + EXPIRY_SIZE * usize::from(flags & EXPIRY);
        // SAFETY: every field has its header, and LONG_NAME says that the long length is there.
        unsafe {
            if flags & LONG_NAME == 0 {
                (offset, usize::from(self.at.add(NAME_LEN_BYTE).read()))
            } else {
                let len = self.at.add(offset).cast::<u64>().read_unaligned();
                (offset + LONG_NAME_SIZE, u64::from_le(len) as usize)
            }
        }
    }

    #[inline(always)]
    fn value_offset(self) -> usize {
        let (offset, len) = self.name_span();
        offset + len
    }

    /// The field's name.
    #[inline(always)]
    pub fn name(self) -> &'a [u8] {
        let (offset, len) = self.name_span();
        // SAFETY: the name's bytes lie where its span says, and the field is not written during `'a`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(offset), len) }
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> &'a [u8] {
        if let Some(block) = self.block() {
            return block.as_slice();
        }
        // SAFETY: an embedded value is its length and as many bytes, and the field is not written during `'a`.
        unsafe {
            let value = self.at.add(self.value_offset());
            std::slice::from_raw_parts(value.add(1).as_ptr(), usize::from(value.read()))
        }
    }

    /// The large value's block.
    #[inline(always)]
    pub fn block(self) -> Option<&'a Block> {
        if self.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: BLOCK says that the value is one; a block's pointer may lie at any address.
        Some(unsafe { self.at.add(self.value_offset()).cast::<Block>().as_ref() })
    }

    /// When the field expires, in Unix milliseconds.
    #[inline(always)]
    pub fn expire_at(self) -> Option<i64> {
        if self.flags() & EXPIRY == 0 {
            return None;
        }
        // SAFETY: EXPIRY says that it is there.
        Some(i64::from_le(unsafe { self.at.add(HEADER).cast::<i64>().read_unaligned() }))
    }

    /// Whether it has not expired by `now`.
    #[inline(always)]
    pub fn is_live(self, now: i64) -> bool {
        self.expire_at().is_none_or(|at| at >= now)
    }

    /// The bytes requested from the allocator.
    #[inline(always)]
    fn size(self) -> usize {
        let offset = self.value_offset();
        if self.flags() & BLOCK != 0 {
            return offset + WORD;
        }
        // SAFETY: an embedded value begins with its length.
        offset + 1 + usize::from(unsafe { self.at.add(offset).read() })
    }

    /// The bytes of memory of name and value, without the dict's share.
    #[inline]
    pub fn memory_bytes(self) -> usize {
        alloc::class_size(self.size()) + self.block().map_or(0, Block::memory_bytes)
    }
}

impl Field {
    /// A field with its value. `block` holds the value as well, if it was received into a block.
    pub fn new(name: &[u8], value: &[u8], block: Option<Block>, expire_at: Option<i64>) -> Field {
        let mut flags = 0;
        let mut offset = HEADER;
        if expire_at.is_some() {
            flags |= EXPIRY;
            offset += EXPIRY_SIZE;
        }
        if name.len() > usize::from(u8::MAX) {
            flags |= LONG_NAME;
            offset += LONG_NAME_SIZE;
        }
        let large = value.len() > EMBEDDED_MAX;
        let value_size = if large { WORD } else { 1 + value.len() };
        if large {
            flags |= BLOCK;
        }
        let at = alloc::allocate(offset + name.len() + value_size);
        // SAFETY: the allocation holds a header of `offset` bytes, the name and the value.
        unsafe {
            at.write(flags);
            at.add(NAME_LEN_BYTE).write(name.len() as u8);
            if let Some(time) = expire_at {
                at.add(HEADER).cast::<i64>().write_unaligned(time.to_le());
            }
            if flags & LONG_NAME != 0 {
                at.add(offset - LONG_NAME_SIZE).cast::<u64>().write_unaligned((name.len() as u64).to_le());
            }
            copy_short(name.as_ptr(), at.add(offset).as_ptr(), name.len());
            let to = at.add(offset + name.len());
            if large {
                to.cast::<Block>().write(block.unwrap_or_else(|| Block::from(value)));
            } else {
                to.write(value.len() as u8);
                copy_short(value.as_ptr(), to.add(1).as_ptr(), value.len());
            }
        }
        Field { at }
    }

    /// The field, for reading.
    #[inline(always)]
    pub fn view(&self) -> FieldRef<'_> {
        FieldRef { at: self.at, field: PhantomData }
    }

    /// Sets the value; name and expiry stay.
    #[inline]
    pub fn set_value(&mut self, value: &[u8], block: Option<Block>) {
        let view = self.view();
        if view.flags() & BLOCK == 0 && value.len() <= EMBEDDED_MAX {
            self.resize_value(1 + value.len());
            self.write_embedded(value);
        } else {
            self.set_value_of_other_form(value, block);
        }
    }

    #[inline(never)]
    fn set_value_of_other_form(&mut self, value: &[u8], block: Option<Block>) {
        let old = self.block_mut();
        if value.len() > EMBEDDED_MAX {
            match (old, block) {
                (Some(old), None) => return old.overwrite(value),
                (Some(old), Some(block)) => return *old = block,
                (None, block) => {
                    self.resize_value(WORD);
                    self.set_flags(self.view().flags() | BLOCK);
                    let block = block.unwrap_or_else(|| Block::from(value));
                    // SAFETY: the value is now a word for a block's pointer, and does not hold one yet.
                    unsafe { self.at.add(self.view().value_offset()).cast::<Block>().write(block) };
                }
            }
            return;
        }
        if let Some(old) = old {
            // SAFETY: dropped once: its flag is cleared below, after it was used to compute the size.
            unsafe { ptr::drop_in_place(old) };
        }
        self.resize_value(1 + value.len());
        self.set_flags(self.view().flags() & !BLOCK);
        self.write_embedded(value);
    }

    /// Sets, changes or removes the expiry.
    pub fn set_expire(&mut self, expire_at: Option<i64>) {
        let has = self.view().flags() & EXPIRY != 0;
        match (has, expire_at) {
            (false, None) => return,
            (false, Some(_)) => self.shift_tail(HEADER, HEADER + EXPIRY_SIZE),
            (true, None) => self.shift_tail(HEADER + EXPIRY_SIZE, HEADER),
            (true, Some(_)) => {}
        }
        if let Some(time) = expire_at {
            self.set_flags(self.view().flags() | EXPIRY);
            // SAFETY: the field has room for an expiry now.
            unsafe { self.at.add(HEADER).cast::<i64>().write_unaligned(time.to_le()) };
        } else {
            self.set_flags(self.view().flags() & !EXPIRY);
        }
    }

    /// Moves everything from offset `from` on to offset `to`; the header's own bytes stay.
    fn shift_tail(&mut self, from: usize, to: usize) {
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
    }

    #[inline(always)]
    fn set_flags(&mut self, flags: u8) {
        // SAFETY: every field has its header, and `&mut self` is its only user.
        unsafe { self.at.write(flags) }
    }

    fn block_mut(&mut self) -> Option<&mut Block> {
        let view = self.view();
        if view.flags() & BLOCK == 0 {
            return None;
        }
        // SAFETY: BLOCK says that the value is one, and `&mut self` is the field's only user.
        Some(unsafe { self.at.add(view.value_offset()).cast::<Block>().as_mut() })
    }

    /// Moves the field, and its value's block, out of sparse slabs.
    pub(in crate::types) fn relocate(&mut self, moves: &mut Moves) {
        // SAFETY: `self` owns the allocation, whose size this is.
        self.at = unsafe { moves.relocate(self.at, self.view().size()) };
        if let Some(block) = self.block_mut() {
            block.relocate(moves);
        }
    }

    /// Makes the value `size` bytes long. The field may move.
    #[inline(always)]
    fn resize_value(&mut self, size: usize) {
        let view = self.view();
        let (old, new) = (view.size(), view.value_offset() + size);
        if alloc::class_size(old) != alloc::class_size(new) {
            // SAFETY: `old` is what was allocated, or a size of the same class.
            self.at = unsafe { alloc::resize(self.at, old, new) };
        }
    }

    /// Writes an embedded value. The allocation has room for it, and does not hold a block.
    #[inline(always)]
    fn write_embedded(&mut self, value: &[u8]) {
        // SAFETY: the value has a byte of length and as many bytes as it says.
        unsafe {
            let at = self.at.add(self.view().value_offset());
            at.write(value.len() as u8);
            copy_short(value.as_ptr(), at.add(1).as_ptr(), value.len());
        }
    }
}

impl Drop for Field {
    #[inline]
    fn drop(&mut self) {
        let size = self.view().size();
        if let Some(block) = self.block_mut() {
            // SAFETY: the block is dropped once: the field's memory is freed next.
            unsafe { ptr::drop_in_place(block) };
        }
        // SAFETY: `self` owns the allocation, whose size this is.
        unsafe { alloc::release(self.at, size) };
    }
}

// SAFETY: `into_raw` and `from_raw` are each other's inverse, the pointer is an address of user space (48 bits), and a
// field's name does not change while it lives.
unsafe impl Item for Field {
    #[inline(always)]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).at
    }

    #[inline(always)]
    unsafe fn from_raw(at: NonNull<u8>) -> Field {
        Field { at }
    }

    #[inline(always)]
    unsafe fn key<'a>(at: NonNull<u8>) -> &'a [u8] {
        FieldRef { at, field: PhantomData }.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..40),
            1 => prop::collection::vec(any::<u8>(), 250..260),
            1 => prop::collection::vec(any::<u8>(), 0..3000),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_writes_loses_name_value_or_expiry(
            name in bytes(),
            first in bytes(),
            mut expire in any::<Option<i64>>(),
            steps in prop::collection::vec(
                prop_oneof![
                    (bytes(), any::<bool>()).prop_map(|(value, block)| Ok((value, block))),
                    any::<Option<i64>>().prop_map(Err),
                ],
                0..20,
            ),
        ) {
            let mut field = Field::new(&name, &first, None, expire);
            let mut value = first;
            for step in steps {
                match step {
                    Ok((new, in_block)) => {
                        let block = (in_block && new.len() > EMBEDDED_MAX).then(|| Block::from(&new[..]));
                        let shared = field.view().block().map(|block| (block.share(), value.clone()));
                        field.set_value(&new, block);
                        if let Some((shared, old)) = shared {
                            prop_assert_eq!(&*shared, &old[..], "a share of the old value keeps its bytes");
                        }
                        value = new;
                    }
                    Err(new) => {
                        field.set_expire(new);
                        expire = new;
                    }
                }
                let view = field.view();
                prop_assert_eq!((view.name(), view.value(), view.expire_at()), (&name[..], &value[..], expire));
                prop_assert_eq!(view.block().is_some(), value.len() > EMBEDDED_MAX);
                prop_assert!(view.memory_bytes() >= name.len() + value.len());
            }
        }
    }

    #[test]
    fn the_memory_of_a_field_is_what_the_layout_says() {
        assert_eq!(Field::new(&[b'f'; 16], &[b'v'; 12], None, None).view().size(), 31);
        assert_eq!(Field::new(&[b'f'; 16], &[b'v'; 12], None, Some(1)).view().size(), 39);
        assert_eq!(Field::new(&[b'f'; 300], &[b'v'; 300], None, None).view().size(), 2 + 8 + 300 + 8);
    }
}
