//! The same value under another name.
//!
//! An entry's key lies in its block, in front of the value, so another key means another block. The value itself moves
//! or is shared: what a block of its own holds is never copied here.
//!
//! Costs: an allocation, the key, and at most 256 bytes of value.

use std::mem::ManuallyDrop;
use std::ptr;

use super::block::Block;
use super::container::Handle;
use super::entry::{Entry, VALUE_FORMS, WORD};
use crate::alloc;

impl Entry {
    /// The entry under the name `key`, with its value, expiry and access bits. It is in no list of expiring entries.
    #[must_use]
    pub fn with_key(self, key: &[u8]) -> Entry {
        // From here on the value belongs to the new entry: the old one is memory, no more.
        let old = ManuallyDrop::new(self);
        // SAFETY: `old` is forgotten, so the bytes of its value are used once.
        let new = unsafe { old.copy_as(key) };
        // SAFETY: the allocation is ours and `size` is what was asked for; what it owned has moved to `new`.
        unsafe { alloc::release(old.raw().0, old.size()) };
        new
    }

    /// An equal value under the name `key`, with the same expiry and access bits. A large string is shared until either
    /// is changed, a large collection copied element by element. It is in no list of expiring entries.
    #[must_use]
    pub fn duplicate(&self, key: &[u8]) -> Entry {
        // SAFETY: the copy of a pointer is overwritten below without being dropped; other forms own nothing.
        let mut copy = ManuallyDrop::new(unsafe { self.copy_as(key) });
        if let (Some(block), Some(copied)) = (self.block(), copy.block_mut()) {
            // SAFETY: the place of a block's pointer, which is not dropped.
            unsafe { ptr::from_mut::<Block>(copied).write(block.share()) };
        }
        if let Some(handle) = self.handle() {
            // SAFETY: the place of a handle, which is not dropped.
            unsafe { copy.value_at().cast::<Handle>().write(handle.duplicate()) };
        }
        ManuallyDrop::into_inner(copy)
    }

    /// An entry with the same header and the same bytes as value.
    ///
    /// # Safety
    /// What the value's bytes point to must not be used or dropped by both entries.
    unsafe fn copy_as(&self, key: &[u8]) -> Entry {
        // SAFETY: `self` is a live entry, whose value begins there.
        let offset = unsafe { self.raw().value_offset() };
        let len = self.size() - offset;
        debug_assert!(len <= 256 && (self.flags() & VALUE_FORMS == 0 || len == WORD));
        let (copy, at) = Entry::create(
            key,
            self.flags() & VALUE_FORMS,
            (self.kind(), self.encoding()),
            len,
            self.expire_at(),
        );
        // SAFETY: both values have `len` bytes, and both entries begin with a word of access bits, kind and encoding,
        // aligned to 4.
        unsafe {
            ptr::copy_nonoverlapping(self.raw().0.as_ptr().add(offset), at, len);
            copy.raw().0.cast::<u32>().write(self.raw().0.cast::<u32>().read());
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<Vec<u8>> {
        vec![
            b"".to_vec(),
            b"12".to_vec(),
            b"abc".to_vec(),
            vec![b'x'; 60],
            vec![b'y'; 255],
            vec![b'z'; 70_000],
        ]
    }

    fn check(entry: &Entry, key: &[u8], value: &[u8], expire: Option<i64>) {
        assert_eq!(entry.key(), key);
        assert_eq!(entry.value().to_vec(), value);
        assert_eq!(entry.expire_at(), expire);
        assert_eq!(entry.access(), 0x00ab_cdef);
    }

    #[test]
    fn another_name_changes_nothing_but_the_key() {
        for value in values() {
            for expire in [None, Some(77)] {
                for key in [&b""[..], b"k", b"a longer name", &[b'k'; 255], &[b'k'; 300]] {
                    let mut entry = Entry::string(&[b'o'; 256], &value, expire);
                    entry.set_access(0x00ab_cdef);
                    entry.set_expire_index(3);
                    let (encoding, kind) = (entry.encoding(), entry.kind());
                    let copy = entry.duplicate(key);
                    check(&copy, key, &value, expire);
                    entry = entry.with_key(key);
                    check(&entry, key, &value, expire);
                    assert_eq!((entry.encoding(), entry.kind()), (encoding, kind));
                    assert_eq!((copy.encoding(), copy.kind()), (encoding, kind));
                    assert_eq!(entry.expire_index(), crate::types::entry::NO_EXPIRE_INDEX);
                }
            }
        }
    }

    #[test]
    fn a_short_value_keeps_the_encoding_that_its_history_gave_it() {
        let mut entry = Entry::string(b"k", b"1", None);
        entry.append(b"2");
        let before = entry.encoding();
        assert_eq!(entry.duplicate(b"x").encoding(), before);
        assert_eq!(entry.with_key(b"x").encoding(), before);
    }

    #[test]
    fn a_large_value_is_not_copied_until_one_of_two_is_changed() {
        let entry = Entry::string(b"k", &[b'v'; 1000], None);
        let address = entry.block().map(|block| block.as_ptr());
        let mut copy = entry.duplicate(b"copy");
        assert_eq!(copy.block().map(|block| block.as_ptr()), address);
        let entry = entry.with_key(b"renamed");
        assert_eq!(entry.block().map(|block| block.as_ptr()), address);
        copy.append(b"!");
        assert_eq!(entry.string_len(), 1000);
        assert_eq!(copy.string_len(), 1001);
        drop(copy);
        assert_eq!(entry.value().to_vec(), vec![b'v'; 1000]);
    }
}
