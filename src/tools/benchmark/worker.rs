//! One thread's part of a load: its connections, and the loop that drives them.
//!
//! ```text
//!  open ─▶ greet ─▶ idle ─▶ send a batch ─▶ busy ─▶ all replies are in ─┐
//!    ▲               ▲  (open loop: when a request is due)              │
//!    └── -k 0 ───────┴──────────────────────────────────────────────────┘
//! ```
//!
//! All connections of a thread share one buffer of requests and one of replies: a batch is written in place and sent
//! with one system call, and replies are counted as they stream by. A connection stores only the bytes that the kernel
//! did not accept at once.
//!
//! **Time** is read once per chunk of replies, after it was received: that is when its replies arrived and when the
//! next batch of that connection is sent. Reading it once for all events of a wait would be cheaper, and wrong: with
//! fifty connections ready at once, the last would be served some 200 µs after the first. The work between the reading
//! and the next send takes well below a microsecond for a few requests; for more, the clock is read again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plan::{Endpoint, Failure, Plan, Shared, Tally};
use super::replies::ReplyCounter;
use super::schedule::Schedule;
use super::template::Requests;
use crate::resp::value::DecodeError;
use crate::sys::poller::{Event, Interest, NativePoller, Poller, Source, Token};
use crate::sys::{clock, net, terminal};
use crate::tls::Channel;

/// The size of the receive buffer.
const INPUT: usize = 128 * 1024;
/// The longest wait: bounds the delay until a signal or the end of another thread is noticed.
const LONGEST_WAIT_NS: u64 = 100_000_000;
/// The maximum number of connections being opened at once, so that the listener's queue does not overflow.
const CONNECTING: usize = 128;
/// The number of requests from which on writing them takes long enough for the clock to be read again.
const LARGE_BATCH: usize = 8;
/// How long after the end of a run to wait for replies, and to send requests that were due before it.
const GRACE_NS: u64 = 2_000_000_000;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unopened,
    Connecting,
    /// Waits for the replies to its greeting.
    Greeting,
    /// Has nothing to do at the moment.
    Idle,
    /// Waits for replies.
    Busy,
    /// Has finished.
    Done,
}

#[derive(Debug)]
struct Lane {
    channel: Option<Channel>,
    state: State,
    generation: u32,
    /// The number of outstanding replies.
    awaited: usize,
    /// When the batch was sent.
    sent_ns: u64,
    /// In an open loop: when the requests of the batch were due, in order.
    due_ns: VecDeque<u64>,
    replies: ReplyCounter,
    /// The bytes that the kernel has not accepted yet.
    rest: Vec<u8>,
    /// How many bytes of `rest` have been sent since.
    rest_sent: usize,
}

impl Lane {
    fn new() -> Lane {
        Lane {
            channel: None,
            state: State::Unopened,
            generation: 0,
            awaited: 0,
            sent_ns: 0,
            due_ns: VecDeque::new(),
            replies: ReplyCounter::default(),
            rest: Vec::new(),
            rest_sent: 0,
        }
    }
}

/// A thread's connections and counts.
#[derive(Debug)]
pub struct Worker {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    poller: NativePoller,
    lanes: Vec<Lane>,
    requests: Requests,
    input: Vec<u8>,
    /// Idle connections, the one that has waited longest first.
    idle: VecDeque<u32>,
    unopened: VecDeque<u32>,
    /// The number of connections that are not [`State::Done`].
    open: usize,
    has_started: bool,
    /// The replies and their latencies that are not in [`Shared`] yet.
    unpublished: (u64, u64),
    schedule: Option<Schedule>,
    end_ns: u64,
    /// The counts so far.
    pub tally: Tally,
}

impl Worker {
    /// Creates a worker with its share of connections, all unopened.
    pub fn new(plan: &Arc<Plan>, shared: &Arc<Shared>, clients: usize) -> io::Result<Worker> {
        Ok(Worker {
            plan: Arc::clone(plan),
            shared: Arc::clone(shared),
            poller: NativePoller::new()?,
            lanes: (0..clients).map(|_| Lane::new()).collect(),
            requests: Requests::new(&plan.template, plan.batch, plan.range, plan.seed),
            input: vec![0; INPUT],
            idle: VecDeque::with_capacity(clients),
            unopened: (0..clients as u32).collect(),
            open: clients,
            has_started: false,
            unpublished: (0, 0),
            schedule: None,
            end_ns: u64::MAX,
            tally: Tally::new(0),
        })
    }

    /// Opens all connections. Measures nothing yet.
    pub fn connect(&mut self) -> Result<(), Failure> {
        for _ in 0..CONNECTING {
            self.open_next()?;
        }
        while self.idle.len() < self.lanes.len() {
            self.turn(LONGEST_WAIT_NS)?;
        }
        Ok(())
    }

    /// Sends and receives until the plan is done, from `start_ns` on; this is thread number `thread`.
    pub fn run(&mut self, start_ns: u64, thread: usize) -> Result<(), Failure> {
        let plan = Arc::clone(&self.plan);
        self.tally = Tally::new(start_ns);
        self.has_started = true;
        self.end_ns = plan.duration_ns.map_or(u64::MAX, |duration| start_ns + duration);
        let result = match plan.pace {
            Some(pace) => {
                self.schedule = Some(Schedule::new(pace, thread, plan.threads, plan.seed, start_ns));
                self.open_loop()
            }
            None => self.closed_loop(),
        };
        self.tally.unanswered = self.lanes.iter().map(|lane| lane.awaited as u64).sum();
        result
    }

    /// Keeps the connections open and idle until one is closed or a signal arrives.
    pub fn rest(&mut self) -> Result<(), Failure> {
        loop {
            self.turn(LONGEST_WAIT_NS)?;
        }
    }

    fn closed_loop(&mut self) -> Result<(), Failure> {
        while let Some(slot) = self.idle.pop_front() {
            self.go_on(slot as usize, clock::monotonic_ns())?;
        }
        while self.open > 0 {
            self.turn(LONGEST_WAIT_NS)?;
            if self.end_ns != u64::MAX && clock::monotonic_ns() > self.end_ns.saturating_add(GRACE_NS) {
                break;
            }
        }
        Ok(())
    }

    fn open_loop(&mut self) -> Result<(), Failure> {
        loop {
            let now = clock::monotonic_ns();
            self.send_due(now)?;
            let is_busy = self.idle.len() < self.open;
            let Some(due) = self.next_due() else {
                if !is_busy || now > self.end_ns.saturating_add(GRACE_NS) {
                    return Ok(());
                }
                self.turn(LONGEST_WAIT_NS)?;
                continue;
            };
            if now > self.end_ns.saturating_add(GRACE_NS) {
                return Ok(());
            }
            let wait = if self.idle.is_empty() { LONGEST_WAIT_NS } else { due.saturating_sub(now) };
            self.turn(wait.min(LONGEST_WAIT_NS))?;
        }
    }

    /// Returns when the next request is due, if there is one.
    fn next_due(&self) -> Option<u64> {
        let due = self.schedule.as_ref()?.due_ns();
        (due < self.end_ns && self.shared.left(&self.plan) > 0).then_some(due)
    }

    /// Sends the due requests while there are idle connections. If there are too few, each takes several.
    fn send_due(&mut self, now: u64) -> Result<(), Failure> {
        while let Some(due) = self.next_due()
            && due <= now
            && let Some(schedule) = &mut self.schedule
            && let Some(slot) = self.idle.pop_front()
        {
            let per_lane = schedule.waiting(now).div_ceil(self.idle.len() as u64 + 1);
            let (first, count) =
                self.shared.take(&self.plan, per_lane.clamp(1, self.plan.batch as u64) as usize);
            if count == 0 {
                self.idle.push_front(slot);
                return Ok(());
            }
            let lane = &mut self.lanes[slot as usize];
            for _ in 0..count {
                lane.due_ns.push_back(schedule.due_ns());
                schedule.pass();
            }
            let sent_ns = clock::monotonic_ns();
            for due in &lane.due_ns {
                self.tally.delays.record_ns(sent_ns.saturating_sub(*due), 1);
            }
            self.send(slot as usize, first, count, sent_ns)?;
        }
        Ok(())
    }

    /// Waits for events, at most `wait_ns`, and handles them.
    fn turn(&mut self, wait_ns: u64) -> Result<(), Failure> {
        let wait = match wait_ns {
            LONGEST_WAIT_NS => self.poller.wait(Some((LONGEST_WAIT_NS / 1_000_000) as u32)),
            _ => self.poller.wait_ns(wait_ns),
        };
        for index in 0..wait.map_err(Failure::Io)? {
            self.serve(self.poller.event(index))?;
        }
        let (replies, latency_ns) = std::mem::take(&mut self.unpublished);
        self.shared.replies.fetch_add(replies, Ordering::Relaxed);
        self.shared.latency_ns.fetch_add(latency_ns, Ordering::Relaxed);
        if terminal::is_interrupted() {
            return Err(Failure::Interrupted);
        }
        if self.shared.is_over.load(Ordering::Relaxed) {
            self.open = 0;
            self.end_ns = 0;
        }
        Ok(())
    }

    #[inline]
    fn serve(&mut self, event: Event) -> Result<(), Failure> {
        let Source::Client(token) = event.source else { return Ok(()) };
        let slot = token.slot as usize;
        let lane = &mut self.lanes[slot];
        if lane.generation != token.generation {
            return Ok(());
        }
        if lane.state == State::Connecting {
            return if event.writable || event.closed { self.connected(slot) } else { Ok(()) };
        }
        if event.writable && !lane.rest.is_empty() {
            self.send_rest(slot)?;
        }
        if event.readable { self.receive(slot) } else { Ok(()) }
    }

    fn open_next(&mut self) -> Result<(), Failure> {
        match self.unopened.pop_front() {
            Some(slot) => self.open(slot as usize),
            None => Ok(()),
        }
    }

    fn open(&mut self, slot: usize) -> Result<(), Failure> {
        let socket = match &self.plan.endpoint {
            Endpoint::Tcp(address) => net::Socket::connect(address),
            Endpoint::Unix(path) => net::Socket::connect_unix(path),
        };
        let socket = socket.map_err(Failure::Connect)?;
        let channel = match &self.plan.tls {
            None => Channel::plain(socket),
            Some(tls) => tls.encrypt(socket).map_err(Failure::Connect)?,
        };
        let lane = &mut self.lanes[slot];
        lane.generation += 1;
        lane.state = State::Connecting;
        lane.replies = ReplyCounter::default();
        lane.rest.clear();
        lane.rest_sent = 0;
        let source = Source::Client(Token::new(slot as u32, lane.generation));
        self.poller.add(channel.as_fd(), source, Interest::WRITE).map_err(Failure::Io)?;
        lane.channel = Some(channel);
        Ok(())
    }

    fn connected(&mut self, slot: usize) -> Result<(), Failure> {
        let lane = &mut self.lanes[slot];
        let Some(channel) = &mut lane.channel else { return Ok(()) };
        if let Some(error) = channel.socket().failure() {
            return Err(Failure::Connect(error));
        }
        if matches!(self.plan.endpoint, Endpoint::Tcp(_)) {
            channel.socket().set_nodelay(true).map_err(Failure::Io)?;
        }
        lane.state = State::Greeting;
        lane.awaited = self.plan.greeting_commands.len();
        lane.rest.extend_from_slice(&self.plan.greeting);
        if channel.is_handshaking() {
            // Sends the first message of the handshake.
            channel.flush().or_else(ignore_full).map_err(Failure::Connect)?;
            return self.watch(slot);
        }
        self.greet(slot)
    }

    /// Sends the greeting, if there is one.
    fn greet(&mut self, slot: usize) -> Result<(), Failure> {
        if self.lanes[slot].awaited == 0 {
            self.watch(slot)?;
            return self.greeted(slot);
        }
        self.send_rest(slot)
    }

    /// Continues the TLS handshake.
    #[cold]
    fn shake_hands(&mut self, slot: usize) -> Result<(), Failure> {
        let Some(channel) = &mut self.lanes[slot].channel else { return Ok(()) };
        channel.flush().or_else(ignore_full).map_err(Failure::Connect)?;
        channel.receive(&mut []).map(|_| ()).or_else(ignore_full).map_err(Failure::Connect)?;
        if channel.is_handshaking() { self.watch(slot) } else { self.greet(slot) }
    }

    /// Handles a connection that has become ready: before the start, it waits; afterwards, it joins the load.
    fn greeted(&mut self, slot: usize) -> Result<(), Failure> {
        self.lanes[slot].state = State::Idle;
        self.open_next()?;
        if self.plan.keeps_alive || !self.has_started {
            self.idle.push_back(slot as u32);
            return Ok(());
        }
        self.go_on(slot, clock::monotonic_ns())
    }

    fn receive(&mut self, slot: usize) -> Result<(), Failure> {
        self.receive_once(slot)?;
        // Decrypted bytes that were not received yet cause no event.
        while self.lanes[slot].channel.as_ref().is_some_and(Channel::has_more) {
            self.receive_once(slot)?;
        }
        Ok(())
    }

    fn receive_once(&mut self, slot: usize) -> Result<(), Failure> {
        let lane = &mut self.lanes[slot];
        let Some(channel) = &mut lane.channel else { return Ok(()) };
        if channel.is_handshaking() {
            return self.shake_hands(slot);
        }
        let received = match channel.receive(&mut self.input) {
            Ok(0) => return self.closed(slot),
            Ok(received) => received,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(()),
                    io::ErrorKind::ConnectionReset => self.closed(slot),
                    _ => Err(Failure::Io(error)),
                };
            }
        };
        let now = clock::monotonic_ns();
        lane.replies.feed(&self.input[..received]).map_err(Failure::Malformed)?;
        let counted = lane.replies.take();
        let replies = counted.replies as usize;
        if replies > lane.awaited {
            return Err(unasked(&mut lane.replies));
        }
        lane.awaited -= replies;
        if counted.errors > 0 {
            self.note_errors(slot, counted.errors)?;
        }
        if self.lanes[slot].state == State::Greeting {
            return if self.lanes[slot].awaited == 0 { self.greeted(slot) } else { Ok(()) };
        }
        if replies > 0 {
            self.record(slot, counted.replies, now);
        }
        if self.lanes[slot].awaited == 0 && self.lanes[slot].state == State::Busy {
            return self.go_on(slot, now);
        }
        Ok(())
    }

    #[inline]
    fn record(&mut self, slot: usize, replies: u64, now: u64) {
        let (lane, tally) = (&mut self.lanes[slot], &mut self.tally);
        let mut longest = now.saturating_sub(lane.sent_ns);
        let mut sum = longest * replies;
        if self.schedule.is_none() {
            tally.latencies.record_ns(longest, replies);
        } else {
            (longest, sum) = (0, 0);
            for due in lane.due_ns.drain(..replies as usize) {
                let latency = now.saturating_sub(due);
                tally.latencies.record_ns(latency, 1);
                longest = longest.max(latency);
                sum += latency;
            }
        }
        tally.timeline.note(now, replies, longest);
        tally.last_ns = now;
        self.unpublished.0 += replies;
        self.unpublished.1 += sum;
    }

    /// Records the server's errors. They count as replies; the progress display shows them.
    #[cold]
    fn note_errors(&mut self, slot: usize, count: u64) -> Result<(), Failure> {
        let lane = &mut self.lanes[slot];
        let text = lane.replies.take_error().unwrap_or_default();
        // This replies to no command: the server closes the connection after it.
        if text.starts_with(b"ERR max number of clients") {
            return Err(Failure::Server(text));
        }
        if lane.state == State::Greeting {
            let commands = &self.plan.greeting_commands;
            // Replies arrive in order, so the rejected command is at the latest the last one replied to.
            let index = (commands.len() - lane.awaited).saturating_sub(1);
            return Err(Failure::Refused(commands[index], text));
        }
        if self.plan.stops_at_error {
            return Err(Failure::Server(text));
        }
        self.tally.errors += count;
        if let Ok(mut errors) = self.shared.errors.lock() {
            errors.0 += count;
            errors.1 = text;
        }
        Ok(())
    }

    /// Continues a connection that has all its replies: sends the next batch, waits for the next due request, or
    /// finishes.
    #[inline]
    fn go_on(&mut self, slot: usize, now: u64) -> Result<(), Failure> {
        if self.lanes[slot].state == State::Busy && !self.plan.keeps_alive {
            self.drop_socket(slot)?;
            return if self.has_more(now) { self.open(slot) } else { self.retire(slot) };
        }
        if self.schedule.is_some() {
            self.lanes[slot].state = State::Idle;
            self.idle.push_back(slot as u32);
            return Ok(());
        }
        if now >= self.end_ns {
            return self.retire(slot);
        }
        let (first, count) = self.shared.take(&self.plan, self.plan.batch);
        if count == 0 {
            return self.retire(slot);
        }
        self.send(slot, first, count, now)
    }

    fn has_more(&self, now: u64) -> bool {
        now < self.end_ns && self.shared.left(&self.plan) > 0
    }

    fn retire(&mut self, slot: usize) -> Result<(), Failure> {
        self.lanes[slot].state = State::Done;
        self.open = self.open.saturating_sub(1);
        Ok(())
    }

    /// Sends the requests `first` to `first + count`.
    #[inline]
    fn send(&mut self, slot: usize, first: u64, count: usize, now: u64) -> Result<(), Failure> {
        let lane = &mut self.lanes[slot];
        let bytes = self.requests.batch(first, count);
        let Some(channel) = &mut lane.channel else { return Ok(()) };
        lane.sent_ns = if count < LARGE_BATCH { now } else { clock::monotonic_ns() };
        lane.state = State::Busy;
        lane.awaited = count;
        let sent = transmit(channel, bytes)?;
        if sent == bytes.len() {
            return Ok(());
        }
        lane.rest.extend_from_slice(&bytes[sent..]);
        self.watch(slot)
    }

    fn send_rest(&mut self, slot: usize) -> Result<(), Failure> {
        let lane = &mut self.lanes[slot];
        let Some(channel) = &mut lane.channel else { return Ok(()) };
        lane.rest_sent += transmit(channel, &lane.rest[lane.rest_sent..])?;
        if lane.rest_sent == lane.rest.len() {
            lane.rest.clear();
            lane.rest_sent = 0;
        }
        self.watch(slot)
    }

    /// Registers a connection for the events that it waits for.
    fn watch(&mut self, slot: usize) -> Result<(), Failure> {
        let lane = &self.lanes[slot];
        let Some(channel) = &lane.channel else { return Ok(()) };
        let source = Source::Client(Token::new(slot as u32, lane.generation));
        let interest =
            if channel.waits_to_send(!lane.rest.is_empty()) { Interest::BOTH } else { Interest::READ };
        self.poller.modify(channel.as_fd(), source, interest).map_err(Failure::Io)
    }

    /// Handles a connection that the server closed, which is a failure unless nothing was expected from it.
    #[cold]
    fn closed(&mut self, slot: usize) -> Result<(), Failure> {
        if self.lanes[slot].state != State::Done {
            return Err(Failure::Closed);
        }
        self.drop_socket(slot)
    }

    fn drop_socket(&mut self, slot: usize) -> Result<(), Failure> {
        match self.lanes[slot].channel.take() {
            Some(channel) => self.poller.remove(channel.as_fd()).map_err(Failure::Io),
            None => Ok(()),
        }
    }
}

/// Interprets an unexpected reply: a server may say why it is about to close the connection.
#[cold]
fn unasked(replies: &mut ReplyCounter) -> Failure {
    match replies.take_error() {
        Some(text) => Failure::Server(text),
        None => Failure::Malformed(DecodeError::Malformed),
    }
}

/// A socket that is full or empty is not a failure: an event follows.
fn ignore_full(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

/// Sends as many bytes as the kernel accepts; reports a vanished peer as a closed connection.
#[inline]
fn transmit(channel: &mut Channel, bytes: &[u8]) -> Result<usize, Failure> {
    channel.send(bytes).or_else(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Ok(0),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(Failure::Closed),
        _ => Err(Failure::Io(error)),
    })
}
