//! Huge pages after a fork.
//!
//! While a child shares the memory, each write splits a huge page into small ones, of which the next fork would have to
//! copy 512 entries of the page tables each. When the child is gone, a thread has the kernel join them again: about a
//! millisecond a page, during which a request that touches just this page waits. It ends when it is done, or when the next
//! child is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::alloc;
use crate::sys::{host, memory};

/// The thread, if there is one.
#[derive(Default)]
pub struct Joiner {
    /// Ends the latest thread.
    stop: Arc<AtomicBool>,
}

impl Joiner {
    /// Begins to join pages, of the allocator's memory and of `tables` (address and length), on a thread that keeps to
    /// some processors (all if there are none). Nothing is done where huge pages are not allowed.
    pub fn start(&mut self, tables: Vec<(usize, usize)>, processors: Vec<usize>) {
        self.stop();
        if !memory::hugepages() {
            return;
        }
        self.stop = Arc::default();
        let stop = Arc::clone(&self.stop);
        let work = move || {
            // Where that cannot be, it runs where the kernel puts it.
            let _ = if processors.is_empty() { Ok(()) } else { host::pin(&processors) };
            host::yield_to_others();
            alloc::for_each_region(|start, len| {
                memory::join(start, len, &stop);
                !stop.load(Ordering::Relaxed)
            });
            for (start, len) in tables {
                memory::join(start, len, &stop);
            }
        };
        // Without a thread the pages stay small.
        let _ = thread::Builder::new().name("huge pages".into()).spawn(work);
    }

    /// Has the thread end, within the page that it is at.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.stop();
    }
}
