//! Memory that is in use, but does not count as the keyspace's: it neither has keys evicted nor refuses writes.
//!
//! Redis gives the machines of scripts memory of their own, which `used_memory` does not have and `maxmemory` does not
//! limit. Here it comes from where all other memory comes from, so its owners say how much they have.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static APART: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are set apart in the whole process.
#[inline]
pub fn bytes() -> usize {
    APART.load(Relaxed)
}

/// The memory that one owner sets apart, until it is dropped.
#[derive(Debug, Default)]
pub struct Apart {
    bytes: usize,
}

impl Apart {
    /// Sets `bytes` apart instead of what it was before.
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
