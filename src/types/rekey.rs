//! Gives a value another key.
//!
//! An entry's key is in its allocation, in front of the value, so another key means another allocation. Memory that the
//! value owns outside the entry moves along or is shared.
//!
//! Costs: an allocation and copying the key and at most 256 bytes of value. Duplicating a collection in a container
//! copies it.

use std::mem::ManuallyDrop;
use std::ptr;

use super::block::Block;
use super::container::Handle;
use super::entry::Entry;
use super::record::{BLOCK, CONTAINER, WORD, WORDS};
use crate::alloc;

impl Entry {
    /// Returns the entry with the key `key`, and its value, expiry and access bits. It is not in a list of expiring
    /// entries.
    #[must_use]
    pub fn with_key(self, key: &[u8]) -> Entry {
        // SAFETY: the old entry is only memory after this; the new one owns what its value owned.
        let new = unsafe { self.copy_as(key) };
        let size = self.size();
        // SAFETY: the allocation is ours, and `size` is the size that was requested.
        unsafe { alloc::release(self.into_raw(), size) };
        ManuallyDrop::into_inner(new)
    }

    /// Returns an equal value under `key`, with the same expiry and access bits. A block of bytes is shared until
    /// either value is changed; a collection in a container is copied: O(N). The new entry is not in a list of expiring
    /// entries.
    #[must_use]
    pub fn duplicate(&self, key: &[u8]) -> Entry {
        // SAFETY: if the value owns memory, it gets its own below, before it is used or dropped.
        let new = unsafe { self.copy_as(key) };
        let at = new.value_at();
        // SAFETY: the value is a word of the kind that the flag says; it is overwritten, not dropped, since the old entry
        // owns it.
        unsafe {
            match self.flags() & WORDS {
                BLOCK => at.cast::<Block>().write(self.block().expect("a block").share()),
                CONTAINER => at.cast::<Handle>().write(self.handle().expect("a collection").duplicate()),
                _ => {}
            }
        }
        ManuallyDrop::into_inner(new)
    }

    /// An entry with the same header and the same bytes as its value.
    ///
    /// # Safety
    /// Only one of the two entries may use or drop what the value's bytes point to.
    unsafe fn copy_as(&self, key: &[u8]) -> ManuallyDrop<Entry> {
        let from = self.value_at();
        let form = self.flags() & WORDS;
        // SAFETY: a value that is not a word begins with its length.
        let len = if form == 0 { 1 + usize::from(unsafe { from.read() }) } else { WORD };
        let (copy, to) = Entry::create(key, form, (self.kind(), self.encoding()), len, self.expire_at());
        // SAFETY: both values have `len` bytes.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
        copy.set_access(self.access());
        ManuallyDrop::new(copy)
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
    fn a_large_value_is_not_copied_until_one_of_the_two_is_changed() {
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
