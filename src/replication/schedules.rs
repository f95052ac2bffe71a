//! A primary and a replica over a network that divides, delays and stalls, in virtual time: 100,000 schedules.
//!
//! ```text
//!   primary: History, Stream, Peer ══ bytes, divided, late, or lost ══ replica: Link, History, Stream
//! ```
//!
//! The data of the primary is all bytes of its stream. A snapshot contains these bytes, so the data of the replica must
//! always be a prefix of the primary's, as long as its offset: a byte that is applied twice, lost, or from another
//! history is detected at once. When the faults stop, the replica must have all data. Sometimes
//!
//! * the primary's history continues under another ID;
//! * another server is promoted, which lacks the last units of the primary, so the replica may have too much;
//! * the history ends: other data of the same length replaces the data, so that a replica that continued would be wrong
//!   although all offsets match.
//!
//! A failure names its seed; `REDSTART_SEED` runs that one alone.

use std::thread;

use super::history::{Answer, History, Id, Kept, Why};
use super::link::{Event, Greeting, Link, request};
use super::peer::{Asked, Peer, Stage};
use crate::db::{Cursor, Framing, Stream, Word};
use crate::resp::{Limits, Parsed, Partial, parse};
use crate::text::number;
use crate::types::random::Random;

const SCHEDULES: u64 = 100_000;

/// Silence after which a replica closes the connection, and the time between two attempts.
const TIMEOUT_MS: u64 = 2000;
const RETRY_MS: u64 = 1000;

/// The size of the primary's backlog in bytes.
const BACKLOG: u64 = 300;

const MARK: &[u8; 40] = b"abcdefabcdefabcdefabcdefabcdefabcdefabcd";

/// Bytes in flight in one connection.
#[derive(Default)]
struct Wire {
    to_primary: Vec<u8>,
    to_replica: Vec<u8>,
    /// No byte arrives any more. Neither end has noticed yet.
    is_cut: bool,
}

/// Complete requests at the start of `window`, which are removed from it.
fn requests(window: &mut Vec<u8>) -> Vec<(Vec<Vec<u8>>, Vec<u8>)> {
    let limits = Limits { authenticated: true, max_bulk: 1 << 20 };
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        let (mut partial, mut spans) = (Partial::default(), Vec::new());
        match parse(window, at, &mut partial, &limits, &mut spans) {
            Ok(Parsed::Whole { end }) => {
                let words = spans.iter().map(|span| span.resolve::<&[u8]>(window, &[]).to_vec()).collect();
                found.push((words, window[at..end].to_vec()));
                at = end;
            }
            Ok(Parsed::Inline { end, .. }) => at = end,
            Ok(_) => break,
            Err(error) => panic!("{}", error.message().escape_ascii()),
        }
    }
    window.drain(..at);
    found
}

/// The primary's end of a connection.
#[derive(Default)]
struct Served {
    peer: Peer,
    window: Vec<u8>,
    cursor: Option<Cursor>,
    asked: Option<(Vec<u8>, i64)>,
}

struct Primary {
    history: History,
    stream: Stream,
    /// The data, and the number of times that it was replaced.
    data: Vec<u8>,
    epoch: u8,
    /// The lengths of the data after each unit.
    units: Vec<usize>,
    ids: u8,
    writes: u64,
    served: Option<Served>,
    full: u32,
    partial: u32,
}

impl Primary {
    fn new() -> Primary {
        let mut stream = Stream::default();
        stream.keep_history(BACKLOG);
        Primary {
            history: History::new(Id::new([1; 20])),
            stream,
            data: Vec::new(),
            epoch: 0,
            units: vec![0],
            ids: 1,
            writes: 0,
            served: None,
            full: 0,
            partial: 0,
        }
    }

    fn next_id(&mut self) -> Id {
        self.ids = self.ids.wrapping_add(1);
        Id::new([self.ids; 20])
    }

    /// Writes a unit of one write or of several.
    fn write(&mut self, random: &mut Random) {
        let reader = self.stream.begin_reader();
        for _ in 0..=random.below(2) {
            self.writes += 1;
            let number = self.writes.to_string();
            let words: [&[u8]; 3] =
                [b"SET", &b"a key that is not short"[..random.below(10)], number.as_bytes()];
            self.stream.push(random.below(2), words.iter().map(|word| Word::Bytes(word)));
        }
        self.stream.end_unit(Framing::Together);
        self.stream.settle();
        self.copy(reader);
    }

    fn push_aside(&mut self, words: &[&[u8]]) {
        let reader = self.stream.begin_reader();
        let mut bytes = Vec::new();
        request(&mut bytes, words);
        self.stream.push_aside(&bytes);
        self.copy(reader);
    }

    fn copy(&mut self, reader: Cursor) {
        for piece in self.stream.pieces(&reader) {
            self.data.extend_from_slice(piece);
        }
        self.stream.end_reader(reader);
        self.units.push(self.data.len());
    }

    fn promote(&mut self) {
        let id = self.next_id();
        self.history.promote(id, self.stream.settled());
    }

    /// Another server becomes the primary; it has the data up to one of the last units, and no backlog.
    fn fail_over(&mut self, random: &mut Random) {
        self.close();
        let lost = random.below(self.units.len().min(4));
        self.units.truncate(self.units.len() - lost);
        self.data.truncate(*self.units.last().expect("the start"));
        self.epoch += 1;
        self.stream = Stream::default();
        self.stream.keep_history(BACKLOG);
        self.history.adopt(self.history.id(), self.data.len() as i64, 0);
        self.promote();
    }

    fn replace_data(&mut self) {
        let id = self.next_id();
        self.history.restart(id, self.stream.settled());
        self.epoch += 1;
        self.data = vec![self.epoch; self.data.len()];
    }

    fn close(&mut self) {
        if let Some(cursor) = self.served.take().and_then(|served| served.cursor) {
            self.stream.end_reader(cursor);
        }
    }

    fn receive(&mut self, bytes: &[u8], now_ms: u64, random: &mut Random, out: &mut Vec<u8>) {
        let Some(served) = &mut self.served else { return };
        served.window.extend_from_slice(bytes);
        for (words, _) in requests(&mut served.window) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            match words[..] {
                [b"PING"] => out.extend_from_slice(b"+PONG\r\n"),
                [b"REPLCONF", ref args @ ..] => {
                    let cursor = served.cursor.as_ref();
                    let sent = cursor.map_or(0, |cursor| self.history.offset(cursor.offset()));
                    match served.peer.configure(args.iter().copied(), sent, now_ms as i64) {
                        Ok(Asked::Ok) => out.extend_from_slice(b"+OK\r\n"),
                        Ok(Asked::Acknowledged) if served.peer.stage == Stage::Loading => {
                            served.peer.stage = Stage::Online;
                        }
                        Ok(Asked::Acknowledged) => {}
                        // `Overclaimed`, too: no replica here acknowledges more than was sent.
                        other => panic!("{other:?}"),
                    }
                }
                [b"PSYNC", ..] if random.below(20) == 0 => out.extend_from_slice(b"-LOADING data\r\n"),
                [b"PSYNC", id, next] => {
                    let next = number::parse_i64(next).expect("an offset");
                    served.asked = Some((id.to_vec(), next));
                }
                _ => panic!("not a request of a replica"),
            }
        }
    }

    /// Replies to `PSYNC`, some time after it has arrived.
    fn synchronize(&mut self, random: &mut Random, out: &mut Vec<u8>) {
        let Some(served) = &mut self.served else { return };
        let Some((id, next)) = served.asked.take() else { return };
        let kept = Kept { oldest: self.stream.oldest(), end: self.stream.settled() };
        match self.history.answer(&id, next, kept) {
            Answer::Continue(from) => {
                self.partial += 1;
                served.cursor = self.stream.resume_reader(from);
                served.peer.stage = Stage::Online;
                out.extend_from_slice(format!("+CONTINUE {}\r\n", self.history.id()).as_bytes());
            }
            Answer::Full(why) => {
                assert!(why != Why::Wanted || id == b"?");
                self.full += 1;
                let cursor = self.stream.begin_reader();
                let offset = self.history.offset(cursor.offset());
                served.cursor = Some(cursor);
                out.extend_from_slice(format!("+FULLRESYNC {} {offset}\r\n\n", self.history.id()).as_bytes());
                let snapshot = [&[self.epoch], &self.data[..]].concat();
                if random.below(2) == 0 {
                    out.extend_from_slice(format!("${}\r\n", snapshot.len()).as_bytes());
                    out.extend_from_slice(&snapshot);
                    served.peer.stage = Stage::Online;
                } else {
                    let parts = [b"$EOF:", &MARK[..], b"\r\n", &snapshot, MARK];
                    out.extend_from_slice(&parts.concat());
                    served.peer.stage = Stage::Loading;
                }
            }
        }
    }

    /// Sends a part of the stream.
    fn feed(&mut self, most: usize, out: &mut Vec<u8>) {
        let Some(Served { peer, cursor: Some(cursor), .. }) = &mut self.served else { return };
        if peer.stage != Stage::Online {
            return;
        }
        let mut taken = 0;
        for piece in self.stream.pieces(cursor) {
            let piece = &piece[..piece.len().min(most - taken)];
            out.extend_from_slice(piece);
            taken += piece.len();
        }
        self.stream.advance(cursor, taken as u64);
    }
}

#[derive(Debug)]
enum Progress {
    Apart,
    Linking(Box<Link>),
    Loading,
    Online,
}

struct Replica {
    progress: Progress,
    history: History,
    stream: Stream,
    /// The data, and the epoch of the primary that it comes from.
    data: Vec<u8>,
    epoch: u8,
    needs_snapshot: bool,
    /// The history of the snapshot being received, and its bytes.
    announced: Option<(Id, i64)>,
    snapshot: Vec<u8>,
    /// Bytes of an incomplete request, and of an open transaction.
    window: Vec<u8>,
    held: Option<Vec<u8>>,
    tried_ms: u64,
    heard_ms: u64,
}

impl Replica {
    fn new() -> Replica {
        let mut stream = Stream::default();
        stream.keep_history(BACKLOG);
        Replica {
            progress: Progress::Apart,
            history: History::new(Id::new([200; 20])),
            stream,
            data: Vec::new(),
            epoch: 0,
            needs_snapshot: false,
            announced: None,
            snapshot: Vec::new(),
            window: Vec::new(),
            held: None,
            tried_ms: 0,
            heard_ms: 0,
        }
    }

    fn offset(&self) -> i64 {
        self.history.offset(self.stream.settled())
    }

    fn connect(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        let has = (!self.needs_snapshot).then(|| (self.history.id(), self.offset() + 1));
        let mut link = Link::new(now_ms, TIMEOUT_MS);
        link.connected(Greeting { port: 6380, has, ..Greeting::default() }, now_ms, out);
        (self.tried_ms, self.progress) = (now_ms, Progress::Linking(Box::new(link)));
    }

    /// Handles a lost connection: only complete units count.
    fn lose(&mut self) {
        (self.progress, self.held) = (Progress::Apart, None);
        self.window.clear();
        self.snapshot.clear();
        self.announced = None;
    }

    /// Receives up to `most` bytes from the socket.
    fn receive(&mut self, socket: &mut Vec<u8>, most: usize, now_ms: u64, out: &mut Vec<u8>) {
        let mut left = most.min(socket.len());
        while left > 0 {
            let count = match &self.progress {
                Progress::Apart | Progress::Loading => return,
                Progress::Linking(link) => link.wanted().min(left),
                Progress::Online => left,
            };
            let piece: Vec<u8> = socket.drain(..count).collect();
            left -= count;
            if let Progress::Linking(_) = self.progress {
                self.feed_link(&piece, now_ms, out);
            } else {
                self.heard_ms = now_ms;
                self.apply(&piece, out);
            }
        }
    }

    fn feed_link(&mut self, mut piece: &[u8], now_ms: u64, out: &mut Vec<u8>) {
        let Progress::Linking(link) = &mut self.progress else { return };
        loop {
            let (taken, event) = match link.receive(piece, now_ms, out) {
                Ok(received) => received,
                Err(failure) => {
                    assert!(failure.1.contains("-LOADING"), "{failure:?}");
                    return self.lose();
                }
            };
            piece = &piece[taken..];
            match event {
                None if taken == 0 => break,
                Some(Event::FullSync(history)) => self.announced = history,
                Some(Event::Continue(Some(id))) => self.history.rename(id, self.stream.settled()),
                Some(Event::Snapshot(bytes)) => self.snapshot.extend_from_slice(bytes),
                Some(Event::Held(bytes)) => self.snapshot.extend_from_slice(&bytes),
                _ => {}
            }
        }
        assert!(piece.is_empty(), "received more than the link wants");
        if link.is_complete() {
            self.heard_ms = now_ms;
            self.progress = if self.announced.is_some() { Progress::Loading } else { Progress::Online };
        }
    }

    /// Loads the snapshot; if that fails, the old data is gone, too.
    fn load(&mut self, fails: bool) {
        let (id, offset) = self.announced.take().expect("the history of the snapshot");
        let end = self.stream.settled();
        if fails {
            self.needs_snapshot = true;
            self.history.restart(Id::new([201; 20]), end);
            return self.lose();
        }
        self.needs_snapshot = false;
        let (epoch, data) = self.snapshot.split_first().expect("the epoch");
        (self.epoch, self.data) = (*epoch, data.to_vec());
        self.history.adopt(id, offset, end);
        self.progress = Progress::Online;
    }

    fn apply(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.window.extend_from_slice(bytes);
        for (words, bytes) in requests(&mut self.window) {
            let name = words[0].as_slice();
            if name == b"MULTI" {
                self.held = Some(Vec::new());
            }
            if let Some(held) = &mut self.held {
                held.extend_from_slice(&bytes);
                if name == b"EXEC" {
                    self.stream.push_verbatim(held, false);
                    self.data.append(held);
                    self.held = None;
                }
            } else {
                self.stream.push_verbatim(&bytes, [&b"PING"[..], b"REPLCONF"].contains(&name));
                self.data.extend_from_slice(&bytes);
            }
            if name == b"REPLCONF" {
                self.acknowledge(out);
            }
        }
    }

    fn acknowledge(&self, out: &mut Vec<u8>) {
        request(out, &[b"REPLCONF", b"ACK", self.offset().to_string().as_bytes()]);
    }
}

struct Schedule {
    random: Random,
    now_ms: u64,
    primary: Primary,
    replica: Replica,
    wire: Wire,
    /// The data of each epoch when it was replaced.
    replaced: Vec<Vec<u8>>,
}

impl Schedule {
    fn new(seed: u64) -> Schedule {
        Schedule {
            random: Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now_ms: 10_000,
            primary: Primary::new(),
            replica: Replica::new(),
            wire: Wire::default(),
            replaced: Vec::new(),
        }
    }

    /// Few bytes in most cases, so that messages arrive in parts.
    fn amount(&mut self) -> usize {
        let most = [3, 100, 2000, 2000][self.random.below(4)];
        self.random.below(most)
    }

    fn step(&mut self) {
        self.now_ms += [1, 100, 100, 900][self.random.below(4)];
        match self.random.below(16) {
            0..4 => self.primary.write(&mut self.random),
            4 => self.primary.push_aside(&[b"PING"]),
            5 => self.primary.push_aside(&[b"REPLCONF", b"GETACK", b"*"]),
            6 if self.random.below(2) == 0 => self.wire.is_cut = true,
            7 if self.random.below(4) == 0 => self.primary.promote(),
            8 if self.random.below(6) == 0 => {
                self.replaced.push(self.primary.data.clone());
                match self.random.below(2) {
                    0 => self.primary.replace_data(),
                    _ => self.primary.fail_over(&mut self.random),
                }
                self.wire.is_cut = true;
            }
            9 => {
                let most = self.amount();
                self.primary.feed(most, &mut self.wire.to_replica);
            }
            10 if matches!(self.replica.progress, Progress::Online) => {
                self.replica.acknowledge(&mut self.wire.to_primary);
            }
            11 | 14 => self.primary.synchronize(&mut self.random, &mut self.wire.to_replica),
            12 if matches!(self.replica.progress, Progress::Loading) => {
                let fails = self.random.below(5) == 0;
                self.replica.load(fails);
            }
            // The network stalls.
            13 => return self.check(),
            _ => {}
        }
        let amounts = (self.amount(), self.amount());
        self.deliver(amounts.0, amounts.1);
        self.tend();
        self.check();
    }

    fn deliver(&mut self, to_primary: usize, to_replica: usize) {
        if self.wire.is_cut {
            return;
        }
        let arrived: Vec<u8> =
            self.wire.to_primary.drain(..to_primary.min(self.wire.to_primary.len())).collect();
        self.primary.receive(&arrived, self.now_ms, &mut self.random, &mut self.wire.to_replica);
        let Wire { to_primary, to_replica: socket, .. } = &mut self.wire;
        self.replica.receive(socket, to_replica, self.now_ms, to_primary);
    }

    /// The ends notice a lost connection after some time, and the replica connects again.
    fn tend(&mut self) {
        let now_ms = self.now_ms;
        if self.wire.is_cut && self.random.below(3) == 0 {
            self.primary.close();
        }
        let notices = self.wire.is_cut && self.random.below(3) == 0;
        let is_silent = match &self.replica.progress {
            Progress::Linking(link) => link.check(now_ms).is_err(),
            Progress::Online => now_ms - self.replica.heard_ms > TIMEOUT_MS,
            _ => false,
        };
        if (notices || is_silent) && !matches!(self.replica.progress, Progress::Loading) {
            self.replica.lose();
        }
        if matches!(self.replica.progress, Progress::Apart) && now_ms - self.replica.tried_ms >= RETRY_MS {
            self.wire = Wire::default();
            self.primary.close();
            self.primary.served = Some(Served::default());
            self.replica.connect(now_ms, &mut self.wire.to_primary);
        }
    }

    /// The replica's data is a prefix of the primary's, exactly as long as its offset.
    fn check(&self) {
        let Replica { data, epoch, needs_snapshot, .. } = &self.replica;
        let mut primaries = self.replaced.iter().skip(usize::from(*epoch)).chain([&self.primary.data]);
        assert!(primaries.any(|primary| primary.starts_with(data)), "the replica has other data");
        if !*needs_snapshot && self.replica.history.id() != Id::new([200; 20]) {
            assert_eq!(self.replica.offset(), data.len() as i64, "offset and data differ");
        }
    }

    fn is_in_sync(&self) -> bool {
        let Schedule { primary, replica, .. } = self;
        let is_online = matches!(replica.progress, Progress::Online);
        is_online && replica.history.id() == primary.history.id() && replica.data.len() == primary.data.len()
    }

    /// Stops the faults; both must have the same data within bounded time.
    fn heal(&mut self) {
        for _ in 0..100 {
            self.now_ms += 100;
            self.primary.synchronize(&mut self.random, &mut self.wire.to_replica);
            self.primary.feed(usize::MAX, &mut self.wire.to_replica);
            self.deliver(usize::MAX, usize::MAX);
            match self.replica.progress {
                Progress::Loading => self.replica.load(false),
                Progress::Online => self.replica.acknowledge(&mut self.wire.to_primary),
                _ => {}
            }
            self.tend();
            self.check();
            if self.is_in_sync() {
                assert_eq!(self.replica.data, self.primary.data);
                return;
            }
        }
        panic!("not in sync after all faults stopped: {:?}", self.replica.progress);
    }
}

/// Runs one schedule. Returns the numbers of full and partial synchronizations.
fn run(seed: u64) -> (u32, u32) {
    let mut schedule = Schedule::new(seed);
    for _ in 0..40 + schedule.random.below(60) {
        schedule.step();
    }
    schedule.heal();
    (schedule.primary.full, schedule.primary.partial)
}

/// Runs the schedules of `seeds`; a panic is preceded by a line with the seed.
fn run_all(seeds: impl Iterator<Item = u64>) -> (u32, u32) {
    let mut sum = (0, 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let (full, partial) =
            outcome.unwrap_or_else(|_| panic!("REDSTART_SEED={seed} repeats this schedule"));
        sum = (sum.0 + full, sum.1 + partial);
    }
    sum
}

#[test]
fn every_schedule_of_faults_leaves_a_prefix_of_the_primary_and_ends_in_sync() {
    if let Some(seed) = std::env::var("REDSTART_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run_all(std::iter::once(seed));
        return;
    }
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (full, partial) = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| scope.spawn(move || run_all((part..SCHEDULES).step_by(threads as usize))))
            .collect();
        let sums = parts.into_iter().map(|part| part.join().expect("every schedule of this part"));
        sums.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    });
    println!("{SCHEDULES} schedules: {full} full and {partial} partial synchronizations");
    assert!(
        u64::from(full) > SCHEDULES && u64::from(partial) > SCHEDULES / 2,
        "{full} and {partial}: too few"
    );
}
