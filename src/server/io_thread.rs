//! An I/O thread: waits for the sockets of its lines, receives and parses requests, looks their commands up, hashes their
//! keys, and sends replies.
//!
//! ```text
//!  orders ─▶ obey: take and return lines, send ──╮
//!     ▲                                          ▼
//!     ╰── deliver a parcel ◀── receive, parse ◀── wait for sockets, or for an order
//! ```
//!
//! It shares nothing with the main thread but the queues of [`super::net::parcel`]: each line, parcel and query buffer
//! has one owner at a time. It decides nothing: a client that closes its connection or violates the protocol is left to
//! the main thread, which takes the line back and finds out the same.
//!
//! A thread without work sleeps in its poller. If the main thread has all of its parcels, it receives nothing until one
//! returns, so a client cannot send faster than its requests are executed.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{io, mem, thread};

use super::intake::{Next, Stopped, Terms, Window, move_remainder, put_back_query, take_inline};
use super::net::line::{Figures, Line};
use super::net::parcel::{Arrival, Entry, Held, MAX_ARRIVED, Order, Parcel};
use super::net::query::{Query, READ, READ_BESIDE_LARGE, SpareQueries};
use super::net::sheet::Sheet;
use super::net::threads::{Thread, Work};
use crate::alloc;
use crate::command::CommandNames;
use crate::db::KeyHasher;
use crate::resp::{Limits, Partial};
use crate::sys::handoff::{Bell, Receiver, Sender, queue};
use crate::sys::poller::{Event, Interest, NativePoller, Poller, Source, Token};
use crate::sys::{clock, crash};

/// The parcels of a thread.
const PARCELS: usize = 3;

/// The room of its queues.
const QUEUE: usize = 1024;

/// Receives of decrypted bytes before other lines are served.
const DECRYPTED: usize = 8;

/// The longest sleep while the main thread has all parcels, in case a wake-up is missed.
const PATIENCE: Duration = Duration::from_millis(100);

/// Slabs that are taken back from other threads after a wait.
const COLLECTED: usize = 8;

/// The parameters of a thread.
pub struct Setup {
    /// The names of the commands.
    pub names: CommandNames,
    /// The function that hashes keys.
    pub hasher: KeyHasher,
    /// The longest argument.
    pub max_bulk: usize,
    /// Wakes the main thread.
    pub main: Arc<Bell>,
}

/// Starts the I/O thread `index`; the first is 0.
///
/// # Errors
/// The system has no thread or no poller for it.
pub fn start(index: usize, setup: Setup) -> io::Result<Thread> {
    let (orders, to_obey) = queue(QUEUE);
    let (to_deliver, parcels) = queue(QUEUE);
    let work = Arc::new(Work::default());
    let shared = Arc::clone(&work);
    let (started, starting) = sync_channel(1);
    let run = move || {
        // Without its own signal stack the thread still works; only a crash here would be reported less well.
        let _ = crash::protect_thread();
        let poller = match NativePoller::new() {
            Ok(poller) => poller,
            Err(error) => return drop(started.send(Err(error))),
        };
        let bell = Arc::new(Bell::new(poller.waker()));
        // The receiver waits below.
        let _ = started.send(Ok(Arc::clone(&bell)));
        let _guard = EndsTheProcess;
        IoThread::new(index, setup, poller, bell, to_obey, to_deliver, shared).run();
    };
    let handle = thread::Builder::new().name(format!("io_thd_{}", index + 1)).spawn(run)?;
    let bell = starting.recv().map_err(io::Error::other)??;
    Ok(Thread::new(orders, parcels, bell, work, handle))
}

/// Ends the process if the thread panics: nobody would serve its clients. A release build ends by itself.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// A line with its state in this thread.
struct Served {
    token: Token,
    line: Line,
    /// The figures that the main thread knows.
    figures: Option<Box<Figures>>,
    /// It is not received from any more.
    has_ended: bool,
    /// It is not sent to any more.
    has_failed: bool,
}

struct IoThread {
    /// Its index among the I/O threads.
    index: usize,
    poller: NativePoller,
    bell: Arc<Bell>,
    main: Arc<Bell>,
    orders: Receiver<Order>,
    parcels: Sender<Box<Parcel>>,
    /// The parcel being filled.
    parcel: Box<Parcel>,
    #[expect(clippy::vec_box, reason = "the boxes are what travels between the threads")]
    free: Vec<Box<Parcel>>,
    /// The number of parcels with a buffer, and how many of them were in use at once since the last [`Order::Rest`].
    made: usize,
    most_used: usize,
    /// By the client's slot.
    lines: Vec<Option<Box<Served>>>,
    spare: SpareQueries,
    /// Lines whose sessions hold decrypted bytes.
    buffering: Vec<Token>,
    terms: OwnTerms,
    work: Arc<Work>,
    /// When the last wait ended.
    woken_ticks: u64,
}

/// The parameters of the parser.
struct OwnTerms {
    max_bulk: usize,
    names: CommandNames,
    hasher: KeyHasher,
}

impl OwnTerms {
    /// Lines of clients that have not authenticated are not here.
    fn of_clients(&self) -> Terms<'_> {
        let limits = Limits { authenticated: true, max_bulk: self.max_bulk };
        Terms { limits, names: self.names, hasher: &self.hasher }
    }
}

impl IoThread {
    fn new(
        index: usize,
        setup: Setup,
        poller: NativePoller,
        bell: Arc<Bell>,
        orders: Receiver<Order>,
        parcels: Sender<Box<Parcel>>,
        work: Arc<Work>,
    ) -> IoThread {
        let Setup { names, hasher, max_bulk, main, .. } = setup;
        IoThread {
            index,
            poller,
            bell,
            main,
            orders,
            parcels,
            parcel: Box::new(Parcel::small()),
            free: Vec::new(),
            made: 0,
            most_used: 0,
            lines: Vec::new(),
            spare: SpareQueries::default(),
            buffering: Vec::new(),
            terms: OwnTerms { max_bulk, names, hasher },
            work,
            woken_ticks: clock::ticks(),
        }
    }

    fn run(mut self) {
        while self.obey() {
            self.deliver();
            let ready = self.wait();
            for index in 0..ready {
                if !self.has_room() {
                    // The events are reported again.
                    break;
                }
                let event = self.poller.event(index);
                self.on_event(event);
            }
            for token in mem::take(&mut self.buffering) {
                if self.has_room() {
                    self.receive(token);
                } else {
                    self.buffering.push(token);
                }
            }
            self.deliver();
        }
    }

    /// Waits for events, or for an order. Returns the number of events.
    fn wait(&mut self) -> usize {
        let is_blocked = !self.has_room();
        let (orders, parcels) = (&mut self.orders, &mut self.parcels);
        parcels.flush();
        let now = clock::ticks();
        add(&self.work.busy_ticks, now.wrapping_sub(self.woken_ticks));
        let ready = if is_blocked {
            self.bell.park(PATIENCE, || !orders.is_empty());
            Ok(0)
        } else {
            self.bell.begin_polling();
            let has_work = !orders.is_empty() || !self.buffering.is_empty();
            let timeout = if has_work { Some(0) } else { parcels.is_waiting().then_some(1) };
            let ready = self.poller.wait(timeout);
            self.bell.end_polling();
            ready
        };
        self.woken_ticks = clock::ticks();
        alloc::collect(COLLECTED);
        // No line can make the wait fail.
        ready.unwrap_or(0)
    }

    /// Does what the main thread has ordered. Returns false if this thread ends.
    fn obey(&mut self) -> bool {
        while let Some(order) = self.orders.receive() {
            match order {
                Order::Take(token, line) => self.take(token, line),
                Order::Return(token) => self.return_line(token),
                Order::Close(token) => {
                    if let Some(mut served) = self.remove(token) {
                        served.line.transport.end();
                    }
                }
                Order::Send(sheet) => {
                    for head in &sheet.heads_by_thread[self.index] {
                        self.send(&sheet, *head as usize);
                    }
                    drop(sheet);
                    self.main.ring();
                }
                Order::Reuse(mut parcel) => {
                    for mut query in parcel.reset() {
                        query.ring.truncate(0);
                        self.spare.give(query);
                    }
                    self.free.push(parcel);
                }
                Order::Rest => {
                    while alloc::collect(COLLECTED) {}
                    let kept = self.free.len().min(mem::take(&mut self.most_used));
                    self.made -= self.free.len() - kept;
                    self.free.truncate(kept);
                    if kept == 0 && self.parcel.has_buffer() && self.parcel.is_empty() && self.made == 1 {
                        *self.parcel = Parcel::small();
                        self.made = 0;
                    }
                }
                Order::Limit(bytes) => self.terms.max_bulk = bytes,
                Order::Stop => return false,
            }
        }
        true
    }

    /// Whether the parcel has room for a receive. Delivers a full one, and begins the next.
    fn has_room(&mut self) -> bool {
        if self.parcel.has_buffer() && !self.parcel.is_full() {
            return true;
        }
        self.deliver();
        if self.parcel.has_buffer() {
            return true;
        }
        if self.free.is_empty() && self.made < PARCELS {
            self.made += 1;
            self.free.push(Box::new(Parcel::new()));
        }
        let Some(next) = self.free.pop() else { return false };
        self.parcel = next;
        self.note_use();
        true
    }

    fn note_use(&mut self) {
        self.most_used = self.most_used.max(self.made - self.free.len());
    }

    /// Hands the parcel to the main thread, unless it is empty.
    fn deliver(&mut self) {
        if !self.parcel.is_empty() {
            let next = self.free.pop().unwrap_or_else(|| Box::new(Parcel::small()));
            self.parcels.send(mem::replace(&mut self.parcel, next));
            self.note_use();
            self.main.ring();
        }
    }

    fn served(&mut self, token: Token) -> Option<&mut Served> {
        self.lines.get_mut(token.slot as usize)?.as_deref_mut().filter(|served| served.token == token)
    }

    fn take(&mut self, token: Token, line: Line) {
        let slot = token.slot as usize;
        if slot >= self.lines.len() {
            self.lines.resize_with(slot + 1, || None);
        }
        let interest = Interest { read: true, write: line.is_sendable() };
        let added = self.poller.add(line.transport.as_fd(), Source::Client(token), interest);
        if line.transport.has_more() {
            self.buffering.push(token);
        }
        let figures = line.figures();
        let served = Served { token, line, figures, has_ended: false, has_failed: false };
        self.lines[slot] = Some(Box::new(served));
        if let Err(error) = added {
            self.fail(token, error);
        }
    }

    fn remove(&mut self, token: Token) -> Option<Box<Served>> {
        self.served(token)?;
        let served = self.lines[token.slot as usize].take()?;
        let _ = self.poller.remove(served.line.transport.as_fd());
        Some(served)
    }

    fn return_line(&mut self, token: Token) {
        if let Some(served) = self.remove(token) {
            self.parcel.entries.push(Entry::Line(token, served.line));
        }
    }

    fn on_event(&mut self, event: Event) {
        let Source::Client(token) = event.source else { return };
        if event.writable {
            self.on_writable(token);
        }
        if event.readable || event.closed {
            self.receive(token);
        }
    }

    /// Sends a chain to its line.
    fn send(&mut self, sheet: &Sheet, head: usize) {
        let token = sheet.segment(head).0;
        let Some(served) = self.served(token) else { return };
        if served.has_failed {
            return;
        }
        let was_sendable = served.line.is_sendable();
        let sent = served.line.send_chain(sheet, head);
        add(&self.work.writes, 1);
        self.after_sending(token, was_sendable, sent);
    }

    fn on_writable(&mut self, token: Token) {
        let Some(Served { line, has_failed: false, .. }) = self.served(token) else { return };
        if line.transport.has_unsent() {
            match line.transport.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(token, error),
            }
        }
        let sent = line.send_pending();
        self.after_sending(token, true, sent);
    }

    /// Watches for what the line waits for now, and reports its figures.
    fn after_sending(&mut self, token: Token, was_sendable: bool, sent: io::Result<usize>) {
        if let Err(error) = sent {
            return self.fail(token, error);
        }
        let Some(served) = self.served(token) else { return };
        let is_sendable = served.line.is_sendable();
        if is_sendable != was_sendable {
            self.watch(token);
        }
        if is_sendable || was_sendable {
            self.report(token, 0);
        }
    }

    fn watch(&mut self, token: Token) {
        let Some(Some(served)) = self.lines.get(token.slot as usize) else { return };
        let Served { line, has_ended, has_failed, .. } = &**served;
        let interest = Interest { read: !has_ended, write: !has_failed && line.is_sendable() };
        if let Err(error) = self.poller.modify(line.transport.as_fd(), Source::Client(token), interest) {
            self.fail(token, error);
        }
    }

    /// Reports that `count` bytes have been received, and the line's figures if they have changed.
    fn report(&mut self, token: Token, count: usize) {
        let Some(served) = self.served(token) else { return };
        let figures = served.line.figures();
        let changed = figures != served.figures;
        if changed {
            served.figures.clone_from(&figures);
        }
        if count > 0 {
            self.parcel.entries.push(Entry::Received(token, count));
        }
        if changed {
            self.parcel.entries.push(Entry::Figures(token, figures));
        }
    }

    /// The line can only be closed.
    fn fail(&mut self, token: Token, error: io::Error) {
        let Some(served) = self.served(token) else { return };
        if !mem::replace(&mut served.has_failed, true) {
            served.has_ended = true;
            let Served { line, .. } = &**self.lines[token.slot as usize].as_ref().expect("it was found");
            let _ = self.poller.remove(line.transport.as_fd());
            self.parcel.entries.push(Entry::Failed(token, error));
        }
    }

    /// Leaves the line to the main thread.
    fn end(&mut self, token: Token) {
        let Some(served) = self.served(token) else { return };
        if !mem::replace(&mut served.has_ended, true) {
            self.watch(token);
            self.parcel.entries.push(Entry::Ended(token));
        }
    }

    /// Receives from a line, and parses what has arrived.
    fn receive(&mut self, token: Token) {
        for _ in 0..DECRYPTED {
            let Some(Served { line, has_ended: false, .. }) = self.served(token) else { return };
            if !line.transport.is_encrypted() {
                return self.receive_once(token);
            }
            self.receive_once(token);
            let Some(Served { line, has_ended: false, .. }) = self.served(token) else { return };
            if !line.transport.has_more() {
                if line.transport.has_unsent() {
                    self.watch(token);
                }
                return;
            }
            if !self.has_room() {
                break;
            }
        }
        self.buffering.push(token);
    }

    fn receive_once(&mut self, token: Token) {
        let IoThread { lines, parcel, spare, terms, work, .. } = self;
        let Some(Some(served)) = lines.get_mut(token.slot as usize) else { return };
        let line = &mut served.line;
        add(&work.reads, 1);
        let mut query = line.query.take();
        let received = if let Some(query) = &mut query {
            query.receive(&mut line.transport, spare).map(|received| received.count)
        } else {
            let most = if line.sends_large { READ_BESIDE_LARGE } else { READ };
            line.transport.receive(&mut parcel.room()[..most])
        };
        let count = match received {
            Ok(count) if count > 0 => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                line.query = query;
                return;
            }
            _ => {
                line.query = query;
                return self.end(token);
            }
        };
        let is_whole = query.as_mut().is_none_or(|query| query.end_argument());
        let violates = match query {
            Some(query) if !is_whole => {
                line.query = Some(query);
                false
            }
            Some(query) => parse_query(token, line, query, parcel, terms, spare),
            None => parse_buffer(token, line, count, parcel, terms, spare),
        };
        let has_figures = line.query.is_some() || served.figures.is_some();
        let last = parcel.entries.last_mut();
        if let Some(Entry::Requests { token: of, bytes, .. }) = last
            && *of == token
            && !has_figures
        {
            *bytes += count;
        } else {
            self.report(token, count);
        }
        if violates {
            self.end(token);
        }
    }
}

/// Adds to a counter that only this thread writes.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Parses `count` bytes that were received into the parcel's buffer. Returns whether they violate the protocol.
fn parse_buffer(
    token: Token,
    line: &mut Line,
    count: usize,
    parcel: &mut Parcel,
    terms: &OwnTerms,
    spare: &mut SpareQueries,
) -> bool {
    let mut partial = Partial::default();
    let (range, bytes, mut arrival) = parcel.received(count);
    let mut window = Window::new(bytes, &[], &mut partial);
    let (stopped, violates) = parse(token, &mut window, &mut arrival, terms);
    let (consumed, held) = (window.consumed(), arrival.window);
    if consumed < count || line.sends_large {
        move_remainder(line, bytes, partial, consumed, stopped, spare);
    }
    match held {
        Some(index) => parcel.hold(index, Held::Buffer(range)),
        None => parcel.truncate(range.start),
    }
    violates
}

/// Parses the bytes of a query buffer. If they contain whole requests, the parcel takes it, and the line keeps what
/// follows them. Returns whether they violate the protocol.
fn parse_query(
    token: Token,
    line: &mut Line,
    mut query: Box<Query>,
    parcel: &mut Parcel,
    terms: &OwnTerms,
    spare: &mut SpareQueries,
) -> bool {
    let Query { ring, partial, blocks, .. } = &mut *query;
    let mut window = Window::new(ring.readable(), blocks, partial);
    let (_, _, mut arrival) = parcel.received(0);
    let (stopped, violates) = parse(token, &mut window, &mut arrival, terms);
    let (consumed, held) = (window.consumed(), arrival.window);
    if let Some(index) = held {
        let partial = mem::take(partial);
        move_remainder(line, ring.readable(), partial, consumed, stopped, spare);
        parcel.hold(index, Held::Query(query));
    } else {
        let executed = put_back_query(line, query, consumed, stopped, spare);
        debug_assert!(executed.is_none(), "nothing was executed");
    }
    violates
}

/// Parses all requests of a window. Returns what follows them, and whether it violates the protocol; then the main
/// thread parses it again, and replies.
fn parse(
    token: Token,
    window: &mut Window<'_>,
    arrival: &mut Arrival<'_>,
    terms: &OwnTerms,
) -> (Stopped, bool) {
    let terms = terms.of_clients();
    loop {
        let first = arrival.batch.requests.len();
        let next = window.append(arrival.batch, MAX_ARRIVED, &terms, |_| ());
        arrival.add(token, first);
        match next {
            Next::Batch => {}
            Next::Drained => return (Stopped::Drained, false),
            Next::Big { at, len } => return (Stopped::Big { at, len }, false),
            Next::Inline { words, .. } => {
                let first = arrival.batch.requests.len();
                let bytes = take_inline(arrival.batch, &words, &terms, |_| ());
                arrival.add_inline(token, first, bytes);
            }
            Next::Failed(_) => return (window.leave(&next), true),
        }
    }
}
