//! A member of a large set: its bytes behind one thin pointer, for a [`Dict`](crate::dict::Dict).
//!
//! ```text
//!  Member ──▶ [ length 1 | bytes … ]                  up to 254 bytes
//!             [ 255 | length 4 | bytes … ]            more
//! ```
//!
//! Costs: one block of the allocator, a byte more than the member; 17 bytes take 20 (a size class of the allocator).

use std::ptr::NonNull;

use super::moves::Moves;
use crate::alloc;
use crate::dict::Item;

/// The length byte of a long member.
const LONG: u8 = u8::MAX;
const SHORT_HEADER: usize = 1;
const LONG_HEADER: usize = 5;

/// See the module's head.
#[repr(transparent)]
pub struct Member {
    at: NonNull<u8>,
}

// SAFETY: a member owns its memory, and nothing in it refers to a thread.
unsafe impl Send for Member {}

/// Returns the start of the bytes, and their number.
///
/// # Safety
/// `at` is the address of a member.
#[inline(always)]
unsafe fn span(at: NonNull<u8>) -> (usize, usize) {
    // SAFETY: a member begins with its header.
    unsafe {
        match at.read() {
            LONG => (LONG_HEADER, at.add(SHORT_HEADER).cast::<u32>().read_unaligned() as usize),
            len => (SHORT_HEADER, len as usize),
        }
    }
}

impl Member {
    /// A member of these bytes, at most 4 GiB.
    pub fn new(bytes: &[u8]) -> Member {
        let header = if bytes.len() < LONG as usize { SHORT_HEADER } else { LONG_HEADER };
        let at = alloc::allocate(header + bytes.len());
        // SAFETY: the allocation has room for the header and the bytes.
        unsafe {
            if header == SHORT_HEADER {
                at.write(bytes.len() as u8);
            } else {
                let len = u32::try_from(bytes.len()).expect("a member of at most 4 GiB");
                at.write(LONG);
                at.add(SHORT_HEADER).cast::<u32>().write_unaligned(len);
            }
            super::record::copy_short(bytes.as_ptr(), at.as_ptr().add(header), bytes.len());
        }
        Member { at }
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `self` is alive, and its bytes never change.
        unsafe { <Member as Item>::key(self.at) }
    }

    /// Moves it out of a sparse slab.
    pub(super) fn relocate(&mut self, moves: &mut Moves) {
        // SAFETY: `self` owns the allocation, whose size this is.
        self.at = unsafe { moves.relocate(self.at, self.size()) };
    }

    /// The bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        alloc::class_size(self.size())
    }

    fn size(&self) -> usize {
        // SAFETY: `self` is alive.
        let (header, len) = unsafe { span(self.at) };
        header + len
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: `self` owns the allocation, whose size this is.
        unsafe { alloc::release(self.at, self.size()) };
    }
}

// SAFETY: `into_raw` and `from_raw` are each other's inverse, the pointer is an address of user space (48 bits), and
// a member's bytes do not change while it lives.
unsafe impl Item for Member {
    #[inline(always)]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).at
    }

    #[inline(always)]
    unsafe fn from_raw(at: NonNull<u8>) -> Member {
        Member { at }
    }

    #[inline(always)]
    unsafe fn key<'a>(at: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller's promise: the member is alive for `'a`.
        unsafe {
            let (header, len) = span(at);
            std::slice::from_raw_parts(at.as_ptr().add(header), len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_bytes_that_it_was_given() {
        for len in [0, 1, 17, 253, 254, 255, 256, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let member = Member::from_bytes_through_raw(&bytes);
            assert_eq!(member.bytes(), bytes);
        }
    }

    /// The system's allocator would take more.
    #[cfg(feature = "slab")]
    #[test]
    fn a_member_of_17_bytes_takes_20() {
        assert_eq!(Member::new(&[b'x'; 17]).memory_bytes(), 20);
    }

    impl Member {
        fn from_bytes_through_raw(bytes: &[u8]) -> Member {
            let raw = Member::new(bytes).into_raw();
            // SAFETY: just given up.
            unsafe { Member::from_raw(raw) }
        }
    }
}
