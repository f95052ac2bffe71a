//! An entry as an item of a dict.

use std::ptr::NonNull;

use super::entry::Entry;
use crate::dict::Item;

// SAFETY: `into_raw` and `from_raw` are each other's inverse, the pointer is an address of user space (48 bits), and
// an entry's key does not change while it lives.
unsafe impl Item for Entry {
    #[inline(always)]
    fn into_raw(self) -> NonNull<u8> {
        Entry::into_raw(self)
    }

    #[inline(always)]
    unsafe fn from_raw(at: NonNull<u8>) -> Entry {
        // SAFETY: the caller's promise.
        unsafe { Entry::from_raw(at) }
    }

    #[inline(always)]
    unsafe fn key<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { Entry::key_at(at) }
    }
}
