//! A field of a large hash with its value: the item of a [`Hash`](super::Hash)'s dict. It is a
//! record (`types/record.rs`) without what only keys have:
//!
//! ```text
//!    0       1          2
//!  [ flags | name len | (expiry 8) | (name len 8) | name … | value ]
//! ```
//!
//! A field of 16 bytes with a value of 12 takes 31 bytes, in the allocator's class of 32, and 16.8 more in a dict of a
//! million. A new value stays in place exactly when its size class is the same.

use std::ptr::{self, NonNull};

use crate::alloc;
use crate::dict::{Item, Ref};
use crate::types::block::Block;
use crate::types::moves::Moves;
use crate::types::record::{self, BLOCK, EMBEDDED_MAX, WORD, copy_short};

/// The bytes that every field has before its name.
const HEADER: usize = 2;
const EXPIRY_SIZE: usize = 8;

type Record = record::Record<HEADER, EXPIRY_SIZE>;
type View<'a> = record::View<'a, HEADER, EXPIRY_SIZE>;

const _: () = assert!(HEADER + 16 + 1 + 12 == 31);

/// See the module's head.
#[repr(transparent)]
pub struct Field {
    record: Record,
}

/// A field, for reading. It is not changed during `'a`.
#[derive(Clone, Copy)]
pub struct FieldRef<'a>(View<'a>);

impl<'a> FieldRef<'a> {
    /// The field that a dict has lent.
    #[inline]
    pub fn lent(field: &Ref<'a, Field>) -> FieldRef<'a> {
        // SAFETY: the guard holds only the pointer; while the dict is borrowed for `'a`, the field is neither changed nor
        // dropped.
        FieldRef(unsafe { View::new(field.record.at()) })
    }

    /// The name.
    #[inline(always)]
    pub fn name(self) -> &'a [u8] {
        self.0.name()
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> &'a [u8] {
        if let Some(block) = self.0.block() {
            return block.as_slice();
        }
        // SAFETY: an embedded value is its length and as many bytes, and the field is not written during `'a`.
        unsafe {
            let value = self.0.value_at();
            std::slice::from_raw_parts(value.add(1).as_ptr(), usize::from(value.read()))
        }
    }

    /// The value's block, if it has one.
    #[inline(always)]
    pub fn block(self) -> Option<&'a Block> {
        self.0.block()
    }

    /// When the field expires: Unix time in milliseconds.
    #[inline(always)]
    pub fn expire_at(self) -> Option<i64> {
        self.0.expire_at()
    }

    /// Whether the field has not expired at `now`.
    #[inline(always)]
    pub fn is_live(self, now: i64) -> bool {
        self.expire_at().is_none_or(|at| at >= now)
    }

    /// The memory of the field and its block.
    #[inline]
    pub fn memory_bytes(self) -> usize {
        alloc::class_size(self.0.size()) + self.block().map_or(0, Block::memory_bytes)
    }
}

impl Field {
    /// A field with its value. `block` holds the value as well, if it was received into a block.
    pub fn new(name: &[u8], value: &[u8], block: Option<Block>, expire_at: Option<i64>) -> Field {
        let is_large = value.len() > EMBEDDED_MAX;
        let (form, size) = if is_large { (BLOCK, WORD) } else { (0, 1 + value.len()) };
        let (record, to) = Record::create(name, form, size, expire_at);
        if is_large {
            // SAFETY: the value is a word for a block's pointer.
            unsafe { to.cast::<Block>().write(block.unwrap_or_else(|| Block::from(value))) };
        } else {
            // SAFETY: the value has room for its length and its bytes.
            unsafe { write_embedded(to, value) };
        }
        Field { record }
    }

    /// The field, for reading.
    #[inline(always)]
    pub fn view(&self) -> FieldRef<'_> {
        FieldRef(self.record.view())
    }

    /// Replaces the value. `block` holds it as well, if it was received into a block.
    #[inline]
    pub fn set_value(&mut self, value: &[u8], block: Option<Block>) {
        if self.record.view().flags() & BLOCK == 0 && value.len() <= EMBEDDED_MAX {
            self.embed(value);
        } else {
            self.set_value_of_other_form(value, block);
        }
    }

    /// [`Field::set_value`] where the old or the new value is a block.
    #[inline(never)]
    fn set_value_of_other_form(&mut self, value: &[u8], block: Option<Block>) {
        let old = self.record.block_mut();
        if value.len() > EMBEDDED_MAX {
            match (old, block) {
                (Some(old), None) => return old.overwrite(value),
                (Some(old), Some(block)) => return *old = block,
                (None, block) => {
                    self.record.resize_value(WORD);
                    self.record.set_flags(self.record.view().flags() | BLOCK);
                    let block = block.unwrap_or_else(|| Block::from(value));
                    // SAFETY: the value is now a word for a block's pointer, and does not hold one yet.
                    unsafe { self.record.view().value_at().cast::<Block>().write(block) };
                }
            }
            return;
        }
        if let Some(old) = old {
            // SAFETY: dropped once: its flag is cleared below, after it was used to compute the size.
            unsafe { ptr::drop_in_place(old) };
        }
        self.record.resize_value(1 + value.len());
        self.record.set_flags(self.record.view().flags() & !BLOCK);
        // SAFETY: the value has room for its length and its bytes.
        unsafe { write_embedded(self.record.view().value_at(), value) };
    }

    /// Replaces an embedded value by another one.
    #[inline(always)]
    fn embed(&mut self, value: &[u8]) {
        self.record.resize_value(1 + value.len());
        // SAFETY: the value has room for its length and its bytes.
        unsafe { write_embedded(self.record.view().value_at(), value) };
    }

    /// Sets or removes the expiry.
    pub fn set_expire(&mut self, expire_at: Option<i64>) {
        self.record.set_expire(expire_at);
    }

    /// Moves the field, and its block, to where they fill slabs better.
    pub(in crate::types) fn relocate(&mut self, moves: &mut Moves) {
        self.record.relocate(moves);
        if let Some(block) = self.record.block_mut() {
            block.relocate(moves);
        }
    }
}

/// Writes an embedded value: its length and its bytes.
///
/// # Safety
/// `at` has room for both.
#[inline(always)]
unsafe fn write_embedded(at: NonNull<u8>, value: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe {
        at.write(value.len() as u8);
        copy_short(value.as_ptr(), at.add(1).as_ptr(), value.len());
    }
}

impl Drop for Field {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.record.block_mut() {
            // SAFETY: the block is dropped once: the field's memory is freed next.
            unsafe { ptr::drop_in_place(block) };
        }
        // SAFETY: the block was dropped, and the field is not used after this.
        unsafe { self.record.release() };
    }
}

// SAFETY: `into_raw` and `from_raw` are each other's inverse, the pointer is an address of user space (48 bits), and a
// field's name does not change while it lives.
unsafe impl Item for Field {
    #[inline(always)]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).record.at()
    }

    #[inline(always)]
    unsafe fn from_raw(at: NonNull<u8>) -> Field {
        // SAFETY: the caller's promise.
        Field { record: unsafe { Record::from_raw(at) } }
    }

    #[inline(always)]
    unsafe fn key<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { View::new(at) }.name()
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
        assert_eq!(Field::new(&[b'f'; 16], &[b'v'; 12], None, None).view().0.size(), 31);
        assert_eq!(Field::new(&[b'f'; 16], &[b'v'; 12], None, Some(1)).view().0.size(), 39);
        assert_eq!(Field::new(&[b'f'; 300], &[b'v'; 300], None, None).view().0.size(), 2 + 8 + 300 + 8);
    }
}
