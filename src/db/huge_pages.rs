//! Huge pages after a fork.
//!
//! While a child shares the memory, each write splits a huge page into small ones, which costs the next fork 512 page
//! table entries to copy per huge page. When the child is gone, a thread asks the kernel to join them again: about a
//! millisecond per page, during which a request that touches this page waits. The thread ends when all pages are
//! joined, or when the next child starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::alloc;
use crate::sys::{host, memory};

/// The thread that joins pages, if one is running.
#[derive(Default)]
pub struct Joiner {
    /// Stops the latest thread.
    stop: Arc<AtomicBool>,
}

impl Joiner {
    /// Starts a thread that joins the pages of the allocator's memory and of `tables` (address and length), pinned to
    /// `processors` (not pinned if empty). Does nothing where huge pages are not allowed.
    pub fn start(&mut self, tables: Vec<(usize, usize)>, processors: Vec<usize>) {
        self.stop();
        if !memory::hugepages() {
            return;
        }
        self.stop = Arc::default();
        let stop = Arc::clone(&self.stop);
        let work = move || {
            // If pinning fails, the thread runs on any processor.
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
        // If no thread can be started, the pages stay small.
        let _ = thread::Builder::new().name("huge pages".into()).spawn(work);
    }

    /// Stops the thread after its current page.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.stop();
    }
}
