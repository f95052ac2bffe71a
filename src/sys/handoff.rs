//! Handing values from one thread to another: a bounded queue without locks, and a bell that wakes its reader.
//!
//! ```text
//!   Sender ─▶ [ tail │ · · v v v v · · │ head ] ─▶ Receiver        one writer, one reader
//!       ╰────────────── Bell::ring ─────────────────▶ asleep?
//! ```
//!
//! A value is written before `tail` is published, and `head` is published after a value was read, so each slot belongs
//! to one thread at a time. Each side keeps its own copy of the other's position and reads the shared one only if the
//! queue looks full or empty: as long as there is something to do, the threads do not wait for each other's cache
//! lines. A push or a pop costs about 5 ns.
//!
//! A sender never waits: values that find the queue full stay with the sender, in order, and [`Sender::flush`] moves
//! them on. The reader sleeps by its own means (a poller, or [`Bell::park`]) and says so in the bell before it looks at
//! its queues for the last time. The writer publishes before it reads the bell. Since both use sequentially consistent
//! operations, at least one of them sees the other's.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use super::poller::Waker;

/// A position on a cache line of its own: the threads write different ones.
#[repr(align(64))]
#[derive(Default)]
struct Position(AtomicUsize);

struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// The number of values read.
    head: Position,
    /// The number of values written.
    tail: Position,
}

// SAFETY: a slot between `head` and `tail` is used by the receiver, any other by the sender, and there is one of each.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The slot of the value with this number.
    fn slot(&self, number: usize) -> *mut MaybeUninit<T> {
        self.slots[number & (self.slots.len() - 1)].get()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        for number in 0..tail.wrapping_sub(head) {
            // SAFETY: the value was written and not read, and nobody else has the queue.
            unsafe { (*self.slot(head.wrapping_add(number))).assume_init_drop() };
        }
    }
}

/// The writing end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// The number of values written.
    tail: usize,
    /// The number of values that were read when this was last looked at.
    head_seen: usize,
    /// Values that found the queue full.
    waiting: VecDeque<T>,
}

/// The reading end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// Creates a queue for `capacity` values, a power of two.
pub fn queue<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two());
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let shared = Arc::new(Shared { slots, head: Position::default(), tail: Position::default() });
    let sender = Sender { shared: Arc::clone(&shared), tail: 0, head_seen: 0, waiting: VecDeque::new() };
    (sender, Receiver { shared, head: 0, tail_seen: 0 })
}

impl<T: Send> Sender<T> {
    /// Sends `value`, after all values that were sent before.
    #[inline]
    pub fn send(&mut self, value: T) {
        if !self.waiting.is_empty() {
            self.flush();
        }
        if self.waiting.is_empty() && self.has_room() {
            self.put(value);
        } else {
            self.waiting.push_back(value);
        }
    }

    /// Moves values that found the queue full into it. Returns whether none is left.
    pub fn flush(&mut self) -> bool {
        while self.has_room()
            && let Some(value) = self.waiting.pop_front()
        {
            self.put(value);
        }
        self.waiting.is_empty()
    }

    /// Whether values wait for room in the queue.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[inline]
    fn has_room(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) < capacity {
            return true;
        }
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < capacity
    }

    #[inline]
    fn put(&mut self, value: T) {
        // SAFETY: the slot is beyond `tail` and was read: it belongs to this thread until `tail` is published.
        unsafe { (*self.shared.slot(self.tail)).write(value) };
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::SeqCst);
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest value.
    #[inline]
    pub fn receive(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the slot is before `tail`, so it was written, and only this thread reads it, once.
        let value = unsafe { (*self.shared.slot(self.head)).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::SeqCst);
        }
        self.head == self.tail_seen
    }
}

const AWAKE: u32 = 0;
/// The reader waits in its poller.
const POLLING: u32 = 1;
/// The reader is parked.
const PARKED: u32 = 2;

/// Wakes a thread that sleeps until there is something in its queues.
pub struct Bell {
    state: AtomicU32,
    waker: Waker,
    /// The thread that sleeps.
    thread: Thread,
}

impl Bell {
    /// The bell of the calling thread, which waits in the poller of `waker` or in [`Bell::park`].
    pub fn new(waker: Waker) -> Bell {
        Bell { state: AtomicU32::new(AWAKE), waker, thread: thread::current() }
    }

    /// Announces that this thread is about to wait in its poller. It must look at its queues after this, and wait only
    /// if they are empty.
    pub fn begin_polling(&self) {
        self.state.store(POLLING, Ordering::SeqCst);
    }

    /// The wait has ended.
    pub fn end_polling(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Waits for a ring, unless `has_work` (for at most `limit`, in case that the other thread has ended).
    pub fn park(&self, limit: Duration, has_work: impl FnOnce() -> bool) {
        self.state.store(PARKED, Ordering::SeqCst);
        if !has_work() {
            thread::park_timeout(limit);
        }
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Wakes the thread if it sleeps. Call it after values were sent to it: a load, unless it does.
    #[inline]
    pub fn ring(&self) {
        if self.state.load(Ordering::SeqCst) != AWAKE {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        match self.state.swap(AWAKE, Ordering::SeqCst) {
            POLLING => self.waker.wake(),
            PARKED => self.thread.unpark(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poller::{NativePoller, Poller};

    #[test]
    fn values_arrive_once_and_in_order_through_a_queue_that_is_often_full() {
        let (mut sender, mut receiver) = queue::<Box<u32>>(8);
        let reader = thread::spawn(move || {
            let mut next = 0;
            while next < 100_000 {
                match receiver.receive() {
                    Some(value) => {
                        assert_eq!(*value, next);
                        next += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
        for value in 0..100_000 {
            sender.send(Box::new(value));
        }
        while !sender.flush() {
            thread::yield_now();
        }
        reader.join().unwrap();
    }

    #[test]
    fn values_that_nobody_received_are_dropped_with_the_queue() {
        let counted = Arc::new(());
        let (mut sender, mut receiver) = queue(4);
        for _ in 0..7 {
            sender.send(Arc::clone(&counted));
        }
        assert!(receiver.receive().is_some() && sender.is_waiting());
        assert_eq!(Arc::strong_count(&counted), 7);
        drop(receiver);
        drop(sender);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn a_reader_that_sleeps_in_its_poller_or_is_parked_misses_no_value() {
        let (mut sender, mut receiver) = queue::<u32>(16);
        let (mut bells, mut bell) = queue::<Arc<Bell>>(1);
        let reader = thread::spawn(move || {
            let mut poller = NativePoller::new().unwrap();
            let own = Arc::new(Bell::new(poller.waker()));
            bells.send(Arc::clone(&own));
            let mut next = 0;
            while next < 20_000 {
                if let Some(value) = receiver.receive() {
                    assert_eq!(value, next);
                    next += 1;
                } else if next % 2 == 0 {
                    own.begin_polling();
                    if receiver.is_empty() {
                        poller.wait(None).unwrap();
                    }
                    own.end_polling();
                } else {
                    own.park(Duration::from_secs(3600), || !receiver.is_empty());
                }
            }
        });
        let bell = loop {
            match bell.receive() {
                Some(bell) => break bell,
                None => thread::yield_now(),
            }
        };
        for value in 0..20_000 {
            sender.send(value);
            while !sender.flush() {
                bell.ring();
                thread::yield_now();
            }
            bell.ring();
        }
        reader.join().unwrap();
    }
}
