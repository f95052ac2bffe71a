//! A primary whose replicas send anything: `REPLCONF`, `PSYNC`, `SYNC`, acknowledgements of what was never sent, and half
//! of each, while the primary writes, is promoted, restarts its history, and fails over.
//!
//! The peers, the history, the stream, the confirmation and the failover are those of the server. It holds that
//!
//! * nothing makes the primary panic, and a peer uses no memory beyond a short address;
//! * what a peer has acknowledged never falls, and a refused `REPLCONF` has an error of one line;
//! * a replica continues if and only if the primary has the history that it claims and all bytes after it, and then
//!   gets exactly those bytes;
//! * nothing is confirmed that fewer replicas than wanted were sent, and replies leave in their order;
//! * a failover goes to a replica that has everything, or after its time to the one that was named, once.
//!
//! Input: the bytes of the replicas, requests as by any client. A byte from 0xf0 on is an event instead, and the
//! byte after it its size; see [`Primary::event`].

#![no_main]

#[path = "../connection.rs"]
mod connection;

use connection::{Connection, Outcome};
use libfuzzer_sys::fuzz_target;
use redstart::db::{Cursor, Framing, Stream, Word};
use redstart::replication::confirm::Confirmation;
use redstart::replication::failover::{Decision, Failover};
use redstart::replication::history::{Answer, History, Id, Kept, Why};
use redstart::replication::peer::{Asked, Peer, Stage};
use redstart::resp::Limits;
use redstart::sys::poller::Token;
use redstart::text::number;

const WANTED: usize = 2;
const TIMEOUT_MS: u32 = 5000;
const REPLICAS: usize = 3;

/// A replica's connection.
struct Replica {
    connection: Connection,
    peer: Peer,
    cursor: Option<Cursor>,
    /// The bytes of the stream that it was sent, from this offset on.
    from: u64,
    got: Vec<u8>,
}

impl Replica {
    fn new() -> Replica {
        let connection = Connection::new(Limits::default());
        Replica { connection, peer: Peer::default(), cursor: None, from: 0, got: Vec::new() }
    }
}

/// The period of an ID: the replication offsets of its bytes are those of the stream plus `base`.
#[derive(Clone, Copy)]
struct Period {
    id: Id,
    base: i64,
    /// The first offset of the stream in it, and the end, if it has one.
    first: u64,
    end: Option<u64>,
}

struct Primary {
    stream: Stream,
    history: History,
    /// All bytes of the stream ever.
    log: Vec<u8>,
    /// The current ID, and the one before it if replicas may continue from it.
    periods: Vec<Period>,
    replicas: Vec<Replica>,
    current: usize,
    confirmation: Confirmation,
    /// The needed offsets of replies that wait, and the most that enough replicas have been sent.
    needed: Vec<u64>,
    left: usize,
    reached: u64,
    failover: Option<(Failover, i64, bool)>,
    now_ms: i64,
    ids: u8,
}

fn token(number: usize) -> Token {
    Token { slot: number as u32, generation: 0 }
}

impl Primary {
    fn new() -> Primary {
        let id = Id::new([1; 20]);
        let mut confirmation = Confirmation::default();
        confirmation.set_wanted(WANTED);
        let mut stream = Stream::default();
        stream.keep_history(2000);
        Primary {
            stream,
            history: History::new(id),
            log: Vec::new(),
            periods: vec![Period { id, base: 0, first: 0, end: None }],
            replicas: (0..REPLICAS).map(|_| Replica::new()).collect(),
            current: 0,
            confirmation,
            needed: Vec::new(),
            left: 0,
            reached: 0,
            failover: None,
            now_ms: 1,
            ids: 1,
        }
    }

    fn offset(&self) -> i64 {
        self.history.offset(self.stream.settled())
    }

    fn next_id(&mut self) -> Id {
        self.ids = self.ids.wrapping_add(1);
        Id::new([self.ids; 20])
    }

    /// Executes the complete requests among these bytes.
    fn receive(&mut self, bytes: &[u8]) {
        let index = self.current;
        self.replicas[index].connection.feed(bytes);
        for outcome in std::mem::take(&mut self.replicas[index].connection.outcomes) {
            match outcome {
                Outcome::Request(words) | Outcome::Inline(words) => self.execute(index, &words),
                Outcome::Error(_) => self.disconnect(index),
            }
        }
    }

    fn disconnect(&mut self, index: usize) {
        if let Some(cursor) = self.replicas[index].cursor.take() {
            self.stream.end_reader(cursor);
        }
        self.replicas[index] = Replica::new();
        self.confirmation.forget_request();
    }

    fn execute(&mut self, index: usize, words: &[Vec<u8>]) {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some((name, args)) = args.split_first() else { return };
        match (name.to_ascii_uppercase().as_slice(), args) {
            (b"REPLCONF", args) if !args.is_empty() => self.configure(index, args),
            (b"PSYNC", [id, next, ..]) => {
                if let Some(next) = number::parse_i64(next) {
                    self.synchronize(index, Some((id, next)));
                }
            }
            (b"SYNC", []) => self.synchronize(index, None),
            _ => {}
        }
    }

    fn configure(&mut self, index: usize, args: &[&[u8]]) {
        let sent =
            self.replicas[index].cursor.as_ref().map_or(0, |cursor| self.history.offset(cursor.offset()));
        let (now_ms, peer) = (self.now_ms, &mut self.replicas[index].peer);
        let before = peer.clone();
        match peer.configure(args.iter().copied(), sent, now_ms) {
            Ok(Asked::Acknowledged | Asked::Overclaimed(_)) => {
                assert!([now_ms, before.acknowledged_ms].contains(&peer.acknowledged_ms));
            }
            Ok(Asked::Ok | Asked::Acknowledge) => assert_eq!(peer.acknowledged_ms, before.acknowledged_ms),
            Err(text) => assert!(text.starts_with("ERR ") && args.len() > 0, "{text}"),
        }
        assert!(peer.acknowledged == before.acknowledged || peer.acknowledged <= sent, "it was never sent");
        assert!(peer.acknowledged >= before.acknowledged);
        assert!(peer.acknowledged_on_disk >= before.acknowledged_on_disk);
        assert!(peer.acknowledged_ms >= before.acknowledged_ms);
        assert_eq!(peer.stage, before.stage, "the stage does not depend on what a replica says");
        assert!(peer.address.len() < 255);
        self.confirm();
        self.advance_failover();
    }

    /// Whether there is a period in which the byte before `next` is the one before `from` in the stream: the replica has the
    /// same bytes up to there.
    fn has_same_history(&self, id: &[u8], next: i64) -> Option<u64> {
        let period = self.periods.iter().find(|period| period.id.as_str().as_bytes() == id)?;
        let from = u64::try_from(next.checked_sub(1)?.checked_sub(period.base)?).ok()?;
        let end = period.end.unwrap_or(self.stream.settled());
        (period.first..=end).contains(&from).then_some(from)
    }

    fn synchronize(&mut self, index: usize, asked: Option<(&[u8], i64)>) {
        if self.replicas[index].peer.stage != Stage::Greeting {
            return;
        }
        let kept = Kept { oldest: self.stream.oldest(), end: self.stream.settled() };
        let cursor = asked.and_then(|(id, next)| {
            let first = self.periods.iter().map(|period| period.first).min().expect("a current one");
            let expected = self.has_same_history(id, next).filter(|from| *from >= kept.oldest.max(first));
            match self.history.answer(id, next, kept) {
                Answer::Continue(from) => {
                    assert_eq!(Some(from), expected, "it has other data");
                    Some(self.stream.resume_reader(from).expect("the bytes are kept"))
                }
                Answer::Full(why) => {
                    assert_eq!(expected, None, "{why:?}, but all bytes are here");
                    assert_eq!(why == Why::Wanted, id == b"?");
                    None
                }
            }
        });
        // A snapshot is made of the data of now.
        let cursor = cursor.unwrap_or_else(|| self.stream.begin_reader());
        let replica = &mut self.replicas[index];
        (replica.from, replica.peer.stage) = (cursor.offset(), Stage::Online);
        replica.got.clear();
        replica.cursor = Some(cursor);
        self.confirmation.forget_request();
        self.note_sent();
    }

    /// The events between the bytes of replicas.
    fn event(&mut self, kind: u8, size: u8) {
        let end = self.stream.settled();
        match kind {
            0xf0 => self.write(usize::from(size) * 8),
            0xf1 => self.push_aside(),
            0xf2 => self.send(self.current, usize::from(size) * 16),
            0xf3 => (0..REPLICAS).for_each(|index| self.send(index, usize::MAX)),
            0xf4 => self.now_ms += i64::from(size) * 100,
            0xf5 => self.current = usize::from(size) % REPLICAS,
            0xf6 => self.disconnect(self.current),
            0xf7 => self.promote(size),
            0xf8 => {
                let id = self.next_id();
                let base = self.history.offset(0);
                self.history.restart(id, end);
                self.periods = vec![Period { id, base, first: end, end: None }];
                self.forget_confirmed();
            }
            0xf9 => {
                if let Some(offset) = self.confirmation.needed(end) {
                    self.confirmation.wait(token(self.needed.len()), offset, self.now_us());
                    self.needed.push(offset);
                }
            }
            0xfa => self.request_acknowledgements(),
            0xfb => self.stream.keep_history(u64::from(size) * 100),
            0xfc if self.failover.is_none() => {
                let target = (size & 1 != 0).then(|| ("".to_owned(), i64::from(size)));
                let (force, deadline_ms) = (size & 2 != 0, self.now_ms + i64::from(size) * 50);
                let failover = Failover::new(target, (size & 4 != 0).then_some(deadline_ms), force);
                self.failover = Some((failover, deadline_ms, size & 4 != 0));
            }
            0xfd => self.failover = None,
            // The current replica is honest.
            0xfe => {
                let got = self.replicas[self.current].cursor.as_ref().map(Cursor::offset);
                if let Some(got) = got {
                    let offset = self.history.offset(got).to_string();
                    self.configure(self.current, &[b"ACK", offset.as_bytes(), b"FACK", offset.as_bytes()]);
                }
            }
            _ => {}
        }
        self.confirm();
        self.advance_failover();
    }

    fn now_us(&self) -> u64 {
        self.now_ms as u64 * 1000
    }

    fn write(&mut self, size: usize) {
        let cursor = self.reader_at_end();
        let value = vec![b'v'; size];
        let words: [&[u8]; 3] = [b"SET", b"k", &value];
        self.stream.push(0, words.iter().map(|word| Word::Bytes(word)));
        self.stream.end_unit(Framing::Together);
        self.stream.settle();
        self.copy_from(cursor);
    }

    /// A request to the replicas, which changes no data.
    fn push_aside(&mut self) {
        let cursor = self.reader_at_end();
        self.stream.push_aside(b"*1\r\n$4\r\nPING\r\n");
        self.confirmation.note_aside(cursor.offset()..self.stream.settled());
        self.copy_from(cursor);
    }

    fn request_acknowledgements(&mut self) {
        let end = self.stream.settled();
        if self.confirmation.has_to_request(end) {
            self.confirmation.note_request(end);
            assert!(!self.confirmation.has_to_request(end), "one request is under way");
            self.push_aside();
        }
    }

    /// A reader of what comes next: without one, a part of a unit that exceeds the history would not be kept.
    fn reader_at_end(&mut self) -> Cursor {
        self.stream.resume_reader(self.stream.settled()).expect("the end is kept")
    }

    /// Copies the new bytes of the stream to the log: those that a reader at the end before gets.
    fn copy_from(&mut self, cursor: Cursor) {
        assert_eq!(cursor.offset(), self.log.len() as u64);
        for piece in self.stream.pieces(&cursor) {
            self.log.extend_from_slice(piece);
        }
        self.stream.end_reader(cursor);
        assert_eq!(self.log.len() as u64, self.stream.settled());
    }

    /// A replica's socket accepts so much.
    fn send(&mut self, index: usize, most: usize) {
        let replica = &mut self.replicas[index];
        let Some(cursor) = &mut replica.cursor else { return };
        let mut taken = Vec::new();
        for piece in self.stream.pieces(cursor) {
            taken.extend_from_slice(&piece[..piece.len().min(most - taken.len())]);
        }
        self.stream.advance(cursor, taken.len() as u64);
        replica.got.extend_from_slice(&taken);
        let place = replica.from as usize..cursor.offset() as usize;
        assert_eq!(&self.log[place], &replica.got[..], "it gets the bytes after its offset");
        self.note_sent();
    }

    /// Notes how much enough replicas have, counting what they had before or have in a snapshot.
    fn note_sent(&mut self) {
        let mut sent: Vec<u64> =
            self.replicas.iter().filter_map(|r| Some(r.cursor.as_ref()?.offset())).collect();
        sent.sort_unstable_by(|a, b| b.cmp(a));
        self.reached = self.reached.max(sent.get(WANTED - 1).copied().unwrap_or(0));
    }

    fn promote(&mut self, size: u8) {
        let (id, end) = (self.next_id(), self.stream.settled());
        let base = self.history.offset(0);
        let mut old = *self.periods.last().expect("a current one");
        old.end = Some(end);
        if size & 1 == 0 {
            self.history.promote(id, end);
        } else {
            self.history.rename(id, end);
        }
        assert_eq!(self.history.second(), Some((old.id, self.history.offset(end) + 1)));
        // The bytes of the older ID belong to the history of the new one.
        self.periods = vec![old, Period { id, base, first: old.first, end: None }];
        self.forget_confirmed();
    }

    /// The role has changed: what was confirmed counts no more.
    fn forget_confirmed(&mut self) {
        while self.confirmation.next_abandoned().is_some() {
            self.left += 1;
        }
        assert_eq!(self.left, self.needed.len());
        self.confirmation.set_wanted(0);
        self.confirmation.set_wanted(WANTED);
    }

    fn confirm(&mut self) {
        let history = &self.history;
        let acknowledged = self.replicas.iter().filter_map(|replica| {
            replica.cursor.as_ref()?;
            replica.peer.confirms(history)
        });
        let before = self.confirmation.confirmed();
        self.confirmation.update(acknowledged);
        let confirmed = self.confirmation.confirmed();
        assert!(confirmed >= before, "a confirmed offset stays confirmed");
        assert!(
            confirmed.is_none_or(|offset| offset <= self.reached),
            "it was never sent to enough replicas"
        );
        while let Some(next) = self.confirmation.next_confirmed() {
            assert_eq!(next, token(self.left), "replies leave in their order");
            assert!(Some(self.needed[self.left]) <= confirmed);
            self.left += 1;
        }
        while self.confirmation.next_overdue(self.now_us(), TIMEOUT_MS).is_some() {
            self.left += 1;
        }
        assert_eq!(self.confirmation.waiting(), self.needed.len() - self.left);
    }

    fn advance_failover(&mut self) {
        let offset = self.offset();
        let candidates: Vec<_> = self
            .replicas
            .iter()
            .filter(|replica| replica.peer.is_online())
            .map(|replica| {
                let address = String::from_utf8_lossy(&replica.peer.address).into_owned();
                (address, replica.peer.listening_port, replica.peer.acknowledged)
            })
            .collect();
        let now_ms = self.now_ms;
        let Some((failover, deadline_ms, has_deadline)) = &mut self.failover else { return };
        let (was_in_progress, is_late) = (failover.is_in_progress(), *has_deadline && now_ms >= *deadline_ms);
        let named = failover.target().map(|(host, port)| (host.to_owned(), port));
        match failover.check(now_ms, offset, candidates.iter().cloned()) {
            Decision::Wait => {}
            Decision::Expire => {
                assert!(!was_in_progress);
                let hopeless = |port: i64| u16::try_from(port).is_err();
                let has_no_port =
                    candidates.iter().any(|(_, port, acked)| *acked == offset && hopeless(*port));
                assert!(is_late || has_no_port || named.is_some_and(|(_, port)| hopeless(port)));
                self.failover = None;
            }
            Decision::Proceed { host, port, is_forced } => {
                assert!(!was_in_progress && failover.is_in_progress());
                let target = (host, i64::from(port));
                assert!(named.as_ref().is_none_or(|named| *named == target));
                assert_eq!(failover.target(), Some((target.0.as_str(), target.1)));
                let has_all = candidates
                    .iter()
                    .any(|(host, port, acked)| (host, *port, *acked) == (&target.0, target.1, offset));
                assert!(if is_forced { is_late && named.is_some() } else { !is_late && has_all });
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut primary = Primary::new();
    let mut left = input;
    while let Some((&first, rest)) = left.split_first() {
        if first >= 0xf0 {
            let (size, rest) = rest.split_first().map_or((0, rest), |(size, rest)| (*size, rest));
            primary.event(first, size);
            left = rest;
        } else {
            let end = left.iter().position(|byte| *byte >= 0xf0).unwrap_or(left.len());
            primary.receive(&left[..end]);
            left = &left[end..];
        }
    }
});
