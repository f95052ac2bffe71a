//! Freeing in the background: a value whose destruction takes long (a block of megabytes, a whole table) is sent to
//! a thread that drops it, so that no pause of the loop grows with the data.
//!
//! The thread is started by the first piece of garbage and ends when the queue is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::Db;
use crate::dict::Retired;
use crate::sys::{crash, host};
use crate::types::entry::Entry;

/// What can be sent away.
pub enum Garbage {
    /// One entry with its value.
    Entry(Entry),
    /// A flushed database: its table with all entries, and its lists of what expires.
    Table(Box<Db>),
    /// The bucket array that a finished rehash left behind.
    Retired(Retired),
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Entry(_) => 1,
            Garbage::Table(table) => table.len() as u64,
            Garbage::Retired(_) => 0,
        }
    }
}

/// The queue to the thread.
#[derive(Default)]
pub struct LazyFree {
    queue: Option<Sender<Garbage>>,
    pending: Arc<AtomicU64>,
    freed: Arc<AtomicU64>,
    /// The processors that the thread keeps to, once it is started; empty for all.
    pub(super) processors: Vec<usize>,
}

impl LazyFree {
    /// Objects sent and not yet freed (`lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Objects freed so far (`lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    /// Restarts the count of freed objects (`CONFIG RESETSTAT`).
    pub fn reset(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }

    /// Has `garbage` dropped by the thread; where no thread can be started, drops it here.
    pub fn send(&mut self, garbage: Garbage) {
        if self.queue.is_none() {
            self.queue = self.start();
        }
        let Some(queue) = &self.queue else { return };
        self.pending.fetch_add(garbage.objects(), Ordering::Relaxed);
        // The receiver lives as long as this sender, so the send can only fail if the thread has died: then the
        // garbage comes back in the error and is dropped here.
        let _ = queue.send(garbage);
    }

    fn start(&self) -> Option<Sender<Garbage>> {
        let (sender, receiver) = channel::<Garbage>();
        let (pending, freed) = (Arc::clone(&self.pending), Arc::clone(&self.freed));
        let processors = self.processors.clone();
        let work = move || {
            // Where that cannot be, it runs where the kernel puts it.
            let _ = if processors.is_empty() { Ok(()) } else { host::pin(&processors) };
            // Without a stack of its own for signals a crash here would be reported less well, and nothing else.
            let _ = crash::protect_thread();
            for garbage in receiver {
                let objects = garbage.objects();
                drop(garbage);
                pending.fetch_sub(objects, Ordering::Relaxed);
                freed.fetch_add(objects, Ordering::Relaxed);
            }
        };
        thread::Builder::new().name("lazyfree".into()).spawn(work).ok().map(|_| sender)
    }
}
