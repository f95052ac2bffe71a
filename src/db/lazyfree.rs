//! Freeing in the background: a value that takes long to free (a block of megabytes, a whole table) is sent to a
//! thread, so that no pause of the event loop grows with the data. The same thread returns unused memory to the kernel.
//!
//! The first piece of garbage starts the thread, and dropping the queue ends it. The thread frees pieces in order, so a
//! [`Ticket`] is a number, and a piece is freed when that many are done. The holder of a ticket can check it
//! ([`LazyFree::is_done`]), or have the loop woken when checking again is worthwhile ([`LazyFree::wake_when_done`]).

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::Db;
use crate::alloc;
use crate::dict::{Dict, Retired};
use crate::sys::poller::Waker;
use crate::sys::{crash, host, memory};
use crate::types::entry::Entry;
use crate::types::hash::Hash;

/// What can be sent to the thread.
pub enum Garbage {
    /// One entry with its value.
    Entry(Entry),
    /// A flushed database: its table with all entries, and its lists of expiring keys and fields.
    Table(Box<Db>),
    /// The keys of a hash slot.
    Slot(Dict<Entry>),
    /// The bucket array that a finished rehash left behind.
    Retired(Retired),
    /// Per-key records, by the keys' names.
    Names(Box<Hash>),
    /// The larger part of a collection.
    Part(Box<dyn Send>),
    /// A file that was removed: closing it frees its blocks, which takes the longer the larger it is.
    File(File),
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Entry(_) | Garbage::Part(_) => 1,
            Garbage::Table(table) => table.len() as u64,
            Garbage::Slot(slot) => slot.len() as u64,
            Garbage::Retired(_) | Garbage::File(_) => 0,
            Garbage::Names(names) => names.len() as u64,
        }
    }
}

/// A piece of garbage, by its number in the order in which the pieces were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Work for the thread.
enum Work {
    Drop(Garbage),
    /// Return to the kernel up to this many bytes of slabs that were not used since the last purge.
    Purge(usize),
    /// Return free memory of the system's allocator to the kernel.
    Trim,
}

/// The thread's progress, and when it should wake the loop.
#[derive(Default)]
struct Progress {
    /// Objects sent and not yet freed.
    pending: AtomicU64,
    /// Objects freed.
    freed: AtomicU64,
    /// Pieces of garbage freed: all tickets up to this one.
    done: AtomicU64,
    /// The thread wakes the loop for each ticket up to this one.
    awaited: AtomicU64,
}

/// The queue to the thread.
#[derive(Default)]
pub struct LazyFree {
    queue: Option<Sender<Work>>,
    sent: u64,
    progress: Arc<Progress>,
    /// Ends the loop's wait for events. Set before the thread is started.
    pub(super) waker: Option<Waker>,
    /// The processors that the thread is pinned to when it starts; empty for all.
    pub(super) processors: Vec<usize>,
}

impl LazyFree {
    /// Objects sent and not yet freed (`lazyfree_pending_objects`). Once an object no longer counts here, its memory
    /// counts as free.
    pub fn pending(&self) -> u64 {
        self.progress.pending.load(Ordering::Acquire)
    }

    /// Objects freed so far (`lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.progress.freed.load(Ordering::Relaxed)
    }

    /// Restarts the count of freed objects (`CONFIG RESETSTAT`).
    pub fn reset(&self) {
        self.progress.freed.store(0, Ordering::Relaxed);
    }

    /// Sends `garbage` to the thread, O(1); if no thread can be started, drops it here.
    pub fn send(&mut self, garbage: Garbage) -> Ticket {
        self.sent += 1;
        self.progress.pending.fetch_add(garbage.objects(), Ordering::Relaxed);
        self.hand_out(Work::Drop(garbage));
        self.latest()
    }

    /// Has the thread return to the kernel up to `bytes` of memory that was not used since the last call, after it has
    /// freed everything sent before.
    pub fn purge(&mut self, bytes: usize) {
        self.hand_out(Work::Purge(bytes));
    }

    /// Has the thread return free memory of the system's allocator to the kernel. That takes a system call for each run
    /// of free pages, and other threads may wait for that allocator meanwhile: call it only after much was freed.
    pub fn trim(&mut self) {
        self.hand_out(Work::Trim);
    }

    /// The ticket of the piece sent last; when that is done, everything is.
    pub fn latest(&self) -> Ticket {
        Ticket(self.sent)
    }

    /// Whether the thread has freed the garbage with this ticket. One load.
    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.progress.done.load(Ordering::SeqCst) >= ticket.0
    }

    /// Has the thread end the loop's wait for events when `ticket` is done; other tickets may end the wait earlier.
    /// Returns whether the ticket is already done; then there may be no wake-up.
    pub fn wake_when_done(&self, ticket: Ticket) -> bool {
        // Either this load sees what the thread has done, or the thread sees that the ticket is awaited.
        self.progress.awaited.fetch_max(ticket.0, Ordering::SeqCst);
        self.is_done(ticket)
    }

    fn hand_out(&mut self, work: Work) {
        if self.queue.is_none() {
            self.queue = self.start();
        }
        let refused = match &self.queue {
            // The receiver lives as long as this sender, so this can only fail if the thread has died.
            Some(queue) => queue.send(work).err().map(|error| error.0),
            None => Some(work),
        };
        if let Some(work) = refused {
            work.perform(&self.progress, None);
        }
    }

    fn start(&self) -> Option<Sender<Work>> {
        // Fuzz targets have no thread and free garbage at once. Otherwise the leak detector would report what
        // the thread has not freed yet, since it does not see unaligned pointers, such as those in entries.
        if cfg!(fuzzing) {
            return None;
        }
        let (sender, receiver) = channel::<Work>();
        let progress = Arc::clone(&self.progress);
        let waker = self.waker.clone();
        let processors = self.processors.clone();
        let work = move || {
            // If pinning fails, the thread runs on any processor.
            let _ = if processors.is_empty() { Ok(()) } else { host::pin(&processors) };
            host::yield_to_others();
            // Without its own signal stack the thread still works; only a crash here would be reported less well.
            let _ = crash::protect_thread();
            for work in receiver {
                work.perform(&progress, waker.as_ref());
            }
        };
        thread::Builder::new().name("lazyfree".into()).spawn(work).ok().map(|_| sender)
    }
}

impl Work {
    fn perform(self, progress: &Progress, waker: Option<&Waker>) {
        let garbage = match self {
            Work::Drop(garbage) => garbage,
            Work::Purge(bytes) => {
                alloc::purge_rested(bytes);
                return;
            }
            Work::Trim => {
                memory::trim_heap();
                return;
            }
        };
        let objects = garbage.objects();
        drop(garbage);
        // Freed memory that belongs to the loop's thread returns to it by the slab.
        alloc::collect(0);
        progress.pending.fetch_sub(objects, Ordering::Release);
        progress.freed.fetch_add(objects, Ordering::Relaxed);
        let done = progress.done.fetch_add(1, Ordering::SeqCst) + 1;
        if done <= progress.awaited.load(Ordering::SeqCst)
            && let Some(waker) = waker
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poller::{NativePoller, Poller};

    #[test]
    fn the_loop_is_woken_when_what_it_waits_for_is_gone() {
        let mut poller = NativePoller::new().unwrap();
        let mut lazy = LazyFree { waker: Some(poller.waker()), ..LazyFree::default() };
        assert!(lazy.wake_when_done(lazy.latest()), "what was never sent is gone");
        for round in 1..=200u64 {
            let first = lazy.send(Garbage::Entry(Entry::string(b"key", &vec![7; 100_000], None)));
            let second = lazy.send(Garbage::Entry(Entry::string(b"key", b"value", None)));
            assert!(first < second && second == lazy.latest());
            while !lazy.wake_when_done(second) {
                // Without a wake-up this would block until the test is killed.
                poller.wait(None).unwrap();
            }
            assert!(lazy.is_done(first) && lazy.is_done(second));
            assert_eq!((lazy.pending(), lazy.freed()), (0, 2 * round));
        }
    }
}
