//! A replica whose primary sends anything: the handshake, the snapshot and the stream, divided in any way and at any
//! time.
//!
//! The link, the history and the stream are those of the server; the socket is a slice. It holds that
//!
//! * nothing makes the replica panic, and it uses memory only in proportion to the bytes that it has received;
//! * the state only goes from the handshake to the snapshot to the stream, and `PSYNC` is sent once;
//! * the snapshot is a part of the bytes, without a gap, and has the length that was announced;
//! * the offset never falls, and is never beyond what was received, so neither is what is acknowledged;
//! * the timeout ends the link if and only if the primary was silent for that long;
//! * the outcome does not depend on how the bytes were divided.
//!
//! Input: a byte for the greeting, a byte of seed for divisions and delays, then the primary's bytes. `=N;` in them stands
//! for N filler bytes.

#![no_main]

#[path = "../inflate.rs"]
mod inflate;
#[path = "../memory.rs"]
mod memory;

use inflate::inflate;
use libfuzzer_sys::fuzz_target;
use redstart::db::Stream;
use redstart::replication::history::{Answer, History, Id, Kept};
use redstart::replication::link::{Event, Greeting, Link};
use redstart::resp::{Limits, Parsed, Partial, parse};

const TIMEOUT_MS: u64 = 1000;

/// Everything that the bytes have led to. Log lines and the text of a failure are left out.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    history: Option<Option<(Id, i64)>>,
    continued: Option<Option<Id>>,
    length: Option<Option<u64>>,
    snapshot: Vec<u8>,
    has_ended: bool,
    failed: bool,
    /// The replication offset, when the stream has begun.
    offset: Option<i64>,
    stream_failed: bool,
}

struct Replica {
    link: Link,
    history: History,
    stream: Stream,
    outcome: Outcome,
    now_ms: u64,
    /// Bytes taken so far, and the start of the snapshot in them.
    taken: usize,
    snapshot_at: usize,
    /// The largest rank of the state so far.
    rank: usize,
    /// Bytes of an incomplete request.
    window: Vec<u8>,
    partial: Partial,
    /// Bytes of an open transaction.
    held: Option<Vec<u8>>,
    /// Bytes of the stream that were received.
    received: u64,
}

fn rank(state: &str) -> usize {
    let states = ["connecting", "handshake", "sync", "connected"];
    states.iter().position(|other| *other == state).expect("a state of ROLE")
}

impl Replica {
    fn new(flags: u8) -> Replica {
        let id = Id::new([7; 20]);
        let mut history = History::new(id);
        history.adopt(id, 500, 0);
        let text = |bit: u8, text: &str| if flags & bit == 0 { Vec::new() } else { text.into() };
        let greeting = Greeting {
            user: text(1, "user"),
            password: text(2, "password"),
            port: 6380,
            address: text(4, "replica.example"),
            has: (flags & 8 == 0).then_some((id, 501)),
            takes_over: flags & 16 != 0,
        };
        let mut replica = Replica {
            link: Link::new(0, TIMEOUT_MS),
            history,
            stream: Stream::default(),
            outcome: Outcome::default(),
            now_ms: 0,
            taken: 0,
            snapshot_at: 0,
            rank: 0,
            window: Vec::new(),
            partial: Partial::default(),
            held: None,
            received: 0,
        };
        replica.stream.keep_history(1 << 20);
        replica.link.connected(greeting, 0, &mut replica.outcome.sent);
        replica
    }

    fn is_closed(&self) -> bool {
        self.outcome.failed || self.outcome.stream_failed
    }

    /// The bytes of one receive, which contains no byte of the stream if the link does not want one.
    fn receive(&mut self, socket: &mut &[u8], most: usize) {
        let wanted = if self.link.is_complete() { most } else { most.min(self.link.wanted()) };
        let (piece, rest) = socket.split_at(wanted.min(socket.len()));
        *socket = rest;
        if self.link.is_complete() { self.apply(piece) } else { self.feed(piece) }
    }

    fn feed(&mut self, piece: &[u8]) {
        let mut left = piece;
        // An event without bytes ends the snapshot; everything else takes some.
        for _ in 0..=piece.len() + 2 {
            let received = self.link.receive(left, self.now_ms, &mut self.outcome.sent);
            let Ok((taken, event)) = received else {
                self.outcome.failed = true;
                return;
            };
            if taken == 0 && event.is_none() {
                break;
            }
            left = &left[taken..];
            self.taken += taken;
            if let Some(event) = event {
                self.on_event(event);
            }
            let rank = rank(self.link.state());
            assert!(rank >= self.rank, "the state has gone back");
            self.rank = rank;
        }
        assert!(left.is_empty(), "no more is received than the link wants");
        if self.link.is_complete() && self.outcome.offset.is_none() {
            self.begin_stream();
        }
    }

    fn on_event(&mut self, event: Event<'_>) {
        let outcome = &mut self.outcome;
        match event {
            Event::Note(_, text) => assert!(!text.contains('\n'), "a line for the log"),
            Event::FullSync(history) => assert_eq!(outcome.history.replace(history), None),
            Event::Continue(id) => assert_eq!(outcome.continued.replace(id), None),
            Event::SnapshotBegins(length) => {
                assert_eq!(outcome.length.replace(length), None);
                assert!(outcome.history.is_some());
                self.snapshot_at = self.taken;
            }
            Event::Snapshot(bytes) => outcome.snapshot.extend_from_slice(bytes),
            Event::Held(bytes) => outcome.snapshot.extend_from_slice(&bytes),
            Event::SnapshotEnds => {
                assert!(!std::mem::replace(&mut outcome.has_ended, true));
                if let Some(Some(length)) = outcome.length {
                    assert_eq!(outcome.snapshot.len() as u64, length);
                }
            }
        }
    }

    /// As the server does after loading, or after `+CONTINUE`.
    fn begin_stream(&mut self) {
        let end = self.stream.settled();
        let Outcome { history, continued, has_ended, .. } = &self.outcome;
        assert!(*has_ended == history.is_some() && history.is_some() != continued.is_some());
        assert_eq!(self.link.wanted(), 0);
        match (history, continued) {
            (Some(Some((id, offset))), _) => self.history.adopt(*id, *offset, end),
            (Some(None), _) => self.history.adopt(Id::NONE, 0, end),
            (_, Some(Some(id))) => {
                self.history.rename(*id, end);
                assert_eq!(self.history.id(), *id);
            }
            _ => {}
        }
        self.outcome.offset = Some(self.history.offset(end));
    }

    /// Applies complete requests of the stream; their bytes become the replica's own stream.
    fn apply(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        self.window.extend_from_slice(piece);
        let limits = Limits { authenticated: true, max_bulk: usize::MAX >> 1 };
        let mut spans = Vec::new();
        let mut at = 0;
        loop {
            spans.clear();
            let end = match parse(&self.window, at, &mut self.partial, &limits, &mut spans) {
                Ok(Parsed::Whole { end }) => end,
                Ok(Parsed::Inline { end, words }) if words.is_empty() => end,
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Big { .. }) => {
                    self.partial = Partial::default();
                    break;
                }
                Ok(Parsed::Inline { .. }) | Err(_) => {
                    self.outcome.stream_failed = true;
                    break;
                }
            };
            assert!(end > at && end <= self.window.len());
            let name = spans.first().map_or(&b""[..], |span| span.resolve::<&[u8]>(&self.window, &[]));
            let bytes = &self.window[at..end];
            if name.eq_ignore_ascii_case(b"multi") {
                self.held = Some(Vec::new());
            }
            match &mut self.held {
                None => self.stream.push_verbatim(bytes, name.eq_ignore_ascii_case(b"ping")),
                Some(held) => {
                    held.extend_from_slice(bytes);
                    if name.eq_ignore_ascii_case(b"exec") {
                        self.stream.push_verbatim(held, false);
                        self.held = None;
                    }
                }
            }
            at = end;
            self.check_offset();
        }
        self.window.drain(..at);
    }

    fn check_offset(&mut self) {
        let offset = self.history.offset(self.stream.settled());
        let before = self.outcome.offset.replace(offset).expect("the stream has begun");
        assert!(offset >= before, "the offset has fallen from {before} to {offset}");
        assert!(self.stream.settled() <= self.received, "more is acknowledged than was received");
        // If the link breaks off here, the replica asks for what it lacks, and its own replicas may do so, too.
        let kept = Kept { oldest: self.stream.oldest(), end: self.stream.settled() };
        let id = self.history.id();
        let answer = self.history.answer(id.as_str().as_bytes(), offset + 1, kept);
        assert_eq!(answer, Answer::Continue(self.stream.settled()));
    }

    /// Everything that was sent is whole requests, in the order of the handshake.
    fn check_sent(&self) {
        let (bytes, mut at, mut partial) = (&self.outcome.sent, 0, Partial::default());
        let order = [&b"PING"[..], b"AUTH", b"REPLCONF", b"PSYNC", b"SYNC"];
        let mut step = 0;
        while at < bytes.len() {
            let mut spans = Vec::new();
            let parsed = parse(bytes, at, &mut partial, &Limits::default(), &mut spans);
            let Ok(Parsed::Whole { end }) = parsed else { panic!("sent: {}", bytes.escape_ascii()) };
            let name = spans[0].resolve::<&[u8]>(bytes, &[]);
            let next = order.iter().position(|other| *other == name).expect("a request of the handshake");
            assert!(
                next > step || next == step && (at == 0 || name == b"REPLCONF"),
                "{}",
                bytes.escape_ascii()
            );
            (step, at) = (next, end);
        }
    }

    fn check_snapshot(&self, bytes: &[u8]) {
        let snapshot = &self.outcome.snapshot;
        let place = self.snapshot_at..self.snapshot_at + snapshot.len();
        assert_eq!(bytes.get(place), Some(&snapshot[..]), "the snapshot has a gap");
    }

    fn check_timeout(&self) {
        let deadline_ms = self.link.heard_ms() + TIMEOUT_MS;
        assert!(self.link.heard_ms() <= self.now_ms);
        assert!(self.link.check(deadline_ms).is_ok() && self.link.check(deadline_ms + 1).is_err());
    }
}

/// Receives `bytes` in pieces of sizes that `size` returns. `delays`: time passes between them.
fn run(flags: u8, bytes: &[u8], mut size: impl FnMut() -> usize) -> Outcome {
    let before = memory::used();
    let mut replica = Replica::new(flags);
    let mut socket = bytes;
    while !socket.is_empty() && !replica.is_closed() {
        let most = size();
        replica.now_ms += (most % 700) as u64;
        replica.receive(&mut socket, most);
        replica.check_timeout();
        let received = bytes.len() - socket.len();
        // The snapshot and the window are copies here; a vector may have twice what it needs, and three when it grows.
        let used = memory::used().saturating_sub(before);
        assert!(used <= 64 * 1024 + 12 * received, "{used} bytes are used after {received} were received");
    }
    // The end of a snapshot may need no further byte.
    if !replica.is_closed() && !replica.link.is_complete() {
        replica.feed(&[]);
    }
    replica.check_sent();
    replica.check_snapshot(bytes);
    replica.outcome
}

/// Whether a mark ends the snapshot: if bytes follow it in the same receive, it is data, so divisions do matter.
fn is_marked(outcome: &Outcome) -> bool {
    outcome.length == Some(None)
}

fuzz_target!(|input: &[u8]| {
    let [flags, seed, rest @ ..] = input else { return };
    let bytes = inflate(rest);
    let whole = run(*flags, &bytes, || usize::MAX >> 1);
    let single = if bytes.len() > 2000 { whole.clone() } else { run(*flags, &bytes, || 1) };
    let mut state = u32::from(*seed);
    let usual = 1 + bytes.len() / 100;
    let pieces = run(*flags, &bytes, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % (2 * usual)
    });
    if !is_marked(&whole) {
        assert_eq!(whole, single);
        assert_eq!(whole, pieces);
    }
});
