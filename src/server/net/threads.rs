//! The I/O threads, as the main thread sees them: which lines each of them has, and what is on the way to it.
//!
//! The main thread gives a line to a thread and may recall it at any time. Recalls are sent by [`Threads::dispatch`],
//! after the output that was written before: see [`super::parcel`] for the order of messages.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::line::{Away, Line};
use super::output::Output;
use super::parcel::{Order, Parcel};
use super::sheet::Sheet;
use crate::sys::handoff::{Bell, Receiver, Sender};
use crate::sys::poller::Token;

/// The most sheets of output that wait to be sent. Then the main thread waits for the I/O threads.
const MAX_SHEETS: usize = 8;

/// Sheets that are kept, and the capacity of their buffers.
const SPARE_SHEETS: usize = 4;
const SPARE_BUFFER: usize = 1 << 20;

/// The least time between two looks at a thread that does not answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// What an I/O thread has done, written by it alone.
#[derive(Default)]
pub struct Work {
    /// Ticks of the clock during which it did not wait.
    pub busy_ticks: AtomicU64,
    /// Receives.
    pub reads: AtomicU64,
    /// Sends.
    pub writes: AtomicU64,
}

/// One I/O thread.
pub struct Thread {
    /// Orders to it.
    pub orders: Sender<Order>,
    /// Parcels from it.
    pub parcels: Receiver<Box<Parcel>>,
    /// Wakes it.
    pub bell: Arc<Bell>,
    /// What it has done.
    pub work: Arc<Work>,
    /// Ends with it.
    pub handle: JoinHandle<()>,
    /// The number of lines that it has.
    pub lines: usize,
    /// Its busy ticks at the last look.
    seen_ticks: u64,
    /// Its receives at the last look, and how many more times it is ordered to rest.
    seen_reads: u64,
    rests: u8,
    /// Whether it was sent something since the bell was rung.
    has_news: bool,
}

impl Thread {
    /// Describes a thread that was started.
    pub fn new(
        orders: Sender<Order>,
        parcels: Receiver<Box<Parcel>>,
        bell: Arc<Bell>,
        work: Arc<Work>,
        handle: JoinHandle<()>,
    ) -> Thread {
        Thread {
            orders,
            parcels,
            bell,
            work,
            handle,
            lines: 0,
            seen_ticks: 0,
            seen_reads: 0,
            rests: 0,
            has_news: false,
        }
    }

    fn order(&mut self, order: Order) {
        self.orders.send(order);
        self.has_news = true;
    }
}

/// All I/O threads.
pub struct Threads {
    /// The threads. Lines name them by their index.
    pub all: Vec<Thread>,
    /// The number of threads that are given lines: the first ones.
    pub active: usize,
    /// The number of threads that are configured. Others end when they have no lines any more.
    pub wanted: usize,
    /// What the threads that have ended had done.
    ended: Work,
    /// Wakes the main thread.
    pub bell: Arc<Bell>,
    /// Sheets that threads may still be sending, in order.
    handed_out: VecDeque<Arc<Sheet>>,
    spare: Vec<Arc<Sheet>>,
    /// Lines to recall after the current output has been dispatched.
    recalled: Vec<(Token, usize)>,
    /// When it was last considered how many threads are needed.
    pub planned_us: u64,
    /// Consecutive iterations without a look at the main thread's own sockets.
    pub postponed_polls: u32,
    /// The thread whose parcels are executed first in the next iteration.
    first: usize,
    /// By thread, the heads of the chains of the current output that it has to send.
    chains: Vec<Vec<u32>>,
}

impl Threads {
    /// No threads.
    pub fn new(bell: Bell) -> Threads {
        Threads {
            all: Vec::new(),
            active: 0,
            wanted: 0,
            ended: Work::default(),
            bell: Arc::new(bell),
            handed_out: VecDeque::new(),
            spare: Vec::new(),
            recalled: Vec::new(),
            planned_us: 0,
            postponed_polls: 0,
            first: 0,
            chains: Vec::new(),
        }
    }

    /// Whether there are threads.
    #[inline]
    pub fn exist(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether a thread has delivered something that was not executed.
    pub fn has_parcels(&mut self) -> bool {
        self.all.iter_mut().any(|thread| !thread.parcels.is_empty())
    }

    /// Whether orders wait for room in a queue.
    pub fn is_congested(&self) -> bool {
        self.all.iter().any(|thread| thread.orders.is_waiting())
    }

    /// Takes the next parcel of each thread in turn; `None` if there is none.
    pub fn next_parcel(&mut self) -> Option<(usize, Box<Parcel>)> {
        for step in 0..self.all.len() {
            let index = (self.first + step) % self.all.len();
            if let Some(parcel) = self.all[index].parcels.receive() {
                self.first = index + 1;
                return Some((index, parcel));
            }
        }
        None
    }

    /// Adds a thread that was started.
    pub fn add(&mut self, thread: Thread) {
        self.all.push(thread);
        self.chains.resize_with(self.all.len(), Vec::new);
    }

    /// Returns an executed parcel to its thread.
    pub fn give_back(&mut self, thread: usize, parcel: Box<Parcel>) {
        if parcel.has_buffer() {
            self.all[thread].order(Order::Reuse(parcel));
        }
    }

    /// Chooses the thread with the fewest lines for `line`. Returns what the client keeps.
    pub fn seat_for(&self, line: &Line) -> Away {
        let threads = self.all[..self.active].iter().enumerate();
        let (index, _) = threads.min_by_key(|(_, thread)| thread.lines).expect("a thread is active");
        Away {
            thread: index,
            fd: line.transport.as_raw_fd(),
            is_encrypted: line.transport.is_encrypted(),
            figures: line.figures(),
            is_recalled: false,
            pending: None,
            over_soft_limit_since: None,
        }
    }

    /// Gives a line to a thread.
    pub fn take(&mut self, thread: usize, token: Token, line: Line) {
        self.all[thread].lines += 1;
        self.all[thread].order(Order::Take(token, line));
    }

    /// Recalls a line that is away.
    pub fn recall(&mut self, token: Token, away: &mut Away) {
        if !std::mem::replace(&mut away.is_recalled, true) {
            self.recalled.push((token, away.thread));
        }
    }

    /// Closes a line that is away. If it was recalled, it is closed when it returns.
    pub fn close(&mut self, token: Token, away: &Away) {
        if !away.is_recalled {
            self.all[away.thread].lines -= 1;
            self.all[away.thread].order(Order::Close(token));
        }
    }

    /// Notes that a recalled line has returned from `thread`.
    pub fn returned(&mut self, thread: usize) {
        self.all[thread].lines -= 1;
    }

    /// Adds the chain of `head` to what `thread` has to send.
    #[inline]
    pub fn send(&mut self, thread: usize, head: usize) {
        self.chains[thread].push(head as u32);
    }

    /// Has all threads apply a limit on the length of arguments.
    pub fn limit_arguments(&mut self, bytes: usize) {
        for thread in &mut self.all {
            thread.order(Order::Limit(bytes));
        }
    }

    /// Ends the iteration of `output`: hands its sheet to the threads that have chains to send, recalls lines, and wakes
    /// the threads that have something to do. Returns false if nobody sends the sheet.
    pub fn dispatch(&mut self, output: &mut Output) -> bool {
        let sends = self.chains.iter().any(|heads| !heads.is_empty());
        if sends {
            self.hand_out(output);
        }
        for (token, thread) in self.recalled.drain(..) {
            self.all[thread].order(Order::Return(token));
        }
        for thread in &mut self.all {
            if thread.orders.is_waiting() {
                thread.orders.flush();
            }
            if std::mem::take(&mut thread.has_news) {
                thread.bell.ring();
            }
        }
        sends
    }

    fn hand_out(&mut self, output: &mut Output) {
        self.recycle();
        while self.handed_out.len() >= MAX_SHEETS {
            let oldest = &self.handed_out[0];
            self.bell.park(PATIENCE, || Arc::strong_count(oldest) == 1);
            self.recycle();
        }
        let mut shared = self.spare.pop().unwrap_or_default();
        let sheet = Arc::get_mut(&mut shared).expect("a spare sheet is nobody's");
        // The lists of an earlier sheet are empty, and have room.
        let room = std::mem::take(&mut sheet.heads_by_thread);
        *sheet = output.hand_out(std::mem::take(sheet));
        sheet.heads_by_thread = std::mem::replace(&mut self.chains, room);
        self.chains.resize_with(self.all.len(), Vec::new);
        for (index, thread) in self.all.iter_mut().enumerate() {
            if shared.heads_by_thread.get(index).is_some_and(|heads| !heads.is_empty()) {
                thread.order(Order::Send(Arc::clone(&shared)));
            }
        }
        self.handed_out.push_back(shared);
    }

    /// Frees the sheets that were sent.
    pub fn recycle(&mut self) {
        while let Some(oldest) = self.handed_out.front_mut() {
            let Some(sheet) = Arc::get_mut(oldest) else { return };
            sheet.clear();
            let is_small = sheet.buffer.capacity() <= SPARE_BUFFER;
            let oldest = self.handed_out.pop_front().expect("it was looked at");
            if is_small && self.spare.len() < SPARE_SHEETS {
                self.spare.push(oldest);
            }
        }
    }

    /// Called once a second: frees buffers that the last second did not need.
    pub fn rest(&mut self) {
        self.spare.truncate(1);
        for thread in &mut self.all {
            let reads = thread.work.reads.load(Ordering::Relaxed);
            if std::mem::replace(&mut thread.seen_reads, reads) != reads {
                // The first frees what the second before did not need, the second what this one did not.
                thread.rests = 2;
            }
            if thread.rests > 0 {
                thread.rests -= 1;
                thread.order(Order::Rest);
            }
        }
    }

    /// Bytes of output that may not have been sent.
    pub fn memory_bytes(&self) -> usize {
        self.handed_out.iter().map(|sheet| sheet.buffer.capacity()).sum()
    }

    /// The number of receives of all threads, including those that have ended.
    pub fn reads(&self) -> u64 {
        self.ended.reads.load(Ordering::Relaxed) + self.sum(|work| &work.reads)
    }

    /// The number of sends of all threads, including those that have ended.
    pub fn writes(&self) -> u64 {
        self.ended.writes.load(Ordering::Relaxed) + self.sum(|work| &work.writes)
    }

    fn sum(&self, counter: impl Fn(&Work) -> &AtomicU64) -> u64 {
        self.all.iter().map(|thread| counter(&thread.work).load(Ordering::Relaxed)).sum()
    }

    /// Takes the ticks that the active threads were busy since the last call.
    pub fn take_busy_ticks(&mut self) -> u64 {
        let taken = |thread: &mut Thread| {
            let ticks = thread.work.busy_ticks.load(Ordering::Relaxed);
            ticks.wrapping_sub(std::mem::replace(&mut thread.seen_ticks, ticks))
        };
        self.all.iter_mut().map(taken).sum()
    }

    /// Ends the threads from `count` on that have no lines any more.
    pub fn end_idle(&mut self, count: usize) {
        while self.all.len() > count
            && let Some(last) = self.all.last_mut()
            && last.lines == 0
            && last.parcels.is_empty()
        {
            last.order(Order::Stop);
            if !last.orders.flush() {
                return;
            }
            last.bell.ring();
            let thread = self.all.pop().expect("there is one");
            // A panic of the thread has ended the process.
            let _ = thread.handle.join();
            for (sum, counter) in
                [(&self.ended.reads, &thread.work.reads), (&self.ended.writes, &thread.work.writes)]
            {
                sum.fetch_add(counter.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}
