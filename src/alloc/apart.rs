//! Memory that does not count towards `maxmemory`: the heaps of Lua scripts. It causes neither eviction nor refused
//! writes.
//!
//! Redis allocates the memory of scripts outside of zmalloc, so `used_memory` does not include it. Here it comes from
//! the same allocator as all other memory, so each owner registers how many bytes it has.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static APART: AtomicUsize = AtomicUsize::new(0);

/// The bytes registered by all owners.
#[inline]
pub fn bytes() -> usize {
    APART.load(Relaxed)
}

/// The bytes registered by one owner, removed when it is dropped.
#[derive(Debug, Default)]
pub struct Apart {
    bytes: usize,
}

impl Apart {
    /// Registers `bytes` in place of this owner's previous figure.
    pub fn set(&mut self, bytes: usize) {
        APART.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.set(0);
    }
}
