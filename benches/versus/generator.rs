//! An open-loop load: requests are sent when they are due, not when the last reply has arrived.
//!
//! A latency is measured from the time at which the request was *due*. A load that waits for a reply before it sends
//! the next request stops sending exactly while the server is slow, and so misses the worst samples (coordinated
//! omission). Here the whole backlog counts against a stalled server, and also against a stalled generator: the delay
//! of sending is measured too, so that the two can be distinguished.
//!
//! ```text
//!            due        sent                    replied
//!   ──────────┼──────────┼─────────────────────────┼──────▶ time
//!             │◀─ late ─▶│                         │
//!             │◀──────────── latency ─────────────▶│
//! ```
//!
//! One thread, busy on its own core, sends the requests that are due, polls epoll without waiting, and receives from
//! sockets that are ready, checking for due requests in between. It receives the replies of the client beside the load
//! in bounded pieces, so that the generator does not cause the stalls that it measures.
//!
//! Costs and limits: a request costs the generator about as much as it costs a fast server, so the rate is limited to
//! about 100,000 per second on one core. A latency above 4.29 s is recorded as 4.29 s.

use super::Result;
use super::client::{numbered, push_request};
use super::system::Epoll;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The token of the connection beside the load.
const BESIDE: u64 = u64::MAX;

/// The most bytes received at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The most requests sent before the generator checks for replies, and the most replies received before it checks for
/// requests.
const BURST: usize = 8;

/// SETs in one batch of the writer beside the load.
const WRITE_BATCH: usize = 16;

/// The most unanswered batches of the writer; it slows down rather than fill the server's buffers.
const WRITES_OUT: usize = 8;

/// The parameters of the load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Connections, which take turns.
    pub connections: usize,
    /// The kind of requests.
    pub ask: Ask,
    /// Requests per second, over all connections.
    pub rate: u64,
    /// Time before samples count.
    pub warm_up: Duration,
    /// Time in which samples count.
    pub length: Duration,
    /// Keys `key:000000000000` and so on, drawn at random.
    pub keys: usize,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// The timeout for replies after the end.
    pub patience: Duration,
}

/// The kind of requests that the load sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// GET of a key drawn at random.
    Get,
    /// PING.
    Ping,
}

/// The load of another client at the same time.
#[derive(Clone, Debug)]
pub enum Beside {
    /// None.
    Nothing,
    /// GETs `key`, whose value has `value_bytes`, at this rate.
    Fetch {
        /// The key of the big value.
        key: &'static str,
        /// Its length.
        value_bytes: usize,
        /// The rate.
        per_second: u64,
    },
    /// SETs `grow:…` keys at this pace: each of `0..keys` once in order, and then repeatedly if `again`.
    Write {
        /// The number of keys.
        keys: usize,
        /// Whether to keep writing the same keys for the plan's length, or to stop once each has been written.
        again: bool,
        /// SETs per second.
        per_second: u64,
    },
    /// SETs `flood:…` keys drawn from `0..keys`, as fast as the server accepts them.
    Flood {
        /// The number of keys.
        keys: usize,
        /// The shortest and the longest value; the lengths are distributed evenly on a logarithmic scale.
        value_bytes: [usize; 2],
        /// SETs sent at once.
        batch: usize,
    },
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Nanoseconds from due to replied, ascending; `u32::MAX` for requests without a reply.
    pub latencies: Vec<u32>,
    /// Nanoseconds from due to sent, ascending.
    pub late: Vec<u32>,
    /// Requests without a reply.
    pub unanswered: usize,
    /// Replies to the client beside the load.
    pub beside: usize,
}

/// One connection: the times at which its requests were due, and the received part of the next reply.
struct Lane {
    stream: TcpStream,
    due: VecDeque<u64>,
    unsent: Vec<u8>,
    reply: ReplyShape,
    received: usize,
}

/// The length and the first byte, which all replies of a lane share.
#[derive(Clone, Copy)]
struct ReplyShape {
    head: u8,
    len: usize,
}

impl Ask {
    /// The reply for values of `value_bytes`.
    fn reply(self, value_bytes: usize) -> ReplyShape {
        match self {
            Self::Get => ReplyShape::bulk(value_bytes),
            Self::Ping => ReplyShape { head: b'+', len: 7 },
        }
    }
}

impl ReplyShape {
    fn bulk(value_bytes: usize) -> Self {
        Self { head: b'$', len: 1 + value_bytes.to_string().len() + 2 + value_bytes + 2 }
    }
}

impl Lane {
    fn connect(port: u16, reply: ReplyShape) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: VecDeque::with_capacity(1024), unsent: Vec::new(), reply, received: 0 })
    }

    /// Sends `request`, and keeps the part that the socket does not accept.
    fn send(&mut self, request: &[u8], due: u64) -> Result<()> {
        self.due.push_back(due);
        if self.unsent.is_empty() {
            let sent = self.write(request)?;
            self.unsent.extend_from_slice(&request[sent..]);
            return Ok(());
        }
        self.unsent.extend_from_slice(request);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let sent = self.write(&unsent)?;
            self.unsent.extend_from_slice(&unsent[sent..]);
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.stream.write(bytes) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives once, and calls `replied` with the due time of each reply that is now complete.
    fn receive(&mut self, buffer: &mut [u8], mut replied: impl FnMut(u64)) -> Result<()> {
        let len = match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection of the load".into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut at = 0;
        while at < len {
            if self.received == 0 && buffer[at] != self.reply.head {
                let end = len.min(at + 80);
                return Err(
                    format!("an unexpected reply: {}", String::from_utf8_lossy(&buffer[at..end])).into()
                );
            }
            let taken = (self.reply.len - self.received).min(len - at);
            self.received += taken;
            at += taken;
            if self.received == self.reply.len {
                self.received = 0;
                replied(self.due.pop_front().ok_or("a reply without a request")?);
            }
        }
        // The rest may fit now that the server reads again.
        self.flush()
    }
}

/// Draws keys with a plain xorshift, the same sequence in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A length, even on a logarithmic scale.
    fn length(&mut self, [least, most]: [usize; 2]) -> usize {
        let unit = self.below(1 << 30) as f64 / (1 << 30) as f64;
        (least as f64 * (most as f64 / least as f64).powf(unit)) as usize
    }
}

/// The pace of the client beside the load.
struct Neighbour {
    lane: Lane,
    beside: Beside,
    period_ns: u64,
    next_due: u64,
    written: usize,
    replies: usize,
    draw: Draw,
    request: Vec<u8>,
    value: Vec<u8>,
}

impl Neighbour {
    fn new(port: u16, beside: &Beside) -> Result<Option<Self>> {
        let (reply, period_ns) = match beside {
            Beside::Nothing => return Ok(None),
            Beside::Fetch { value_bytes, per_second, .. } => {
                (ReplyShape::bulk(*value_bytes), 1_000_000_000 / per_second)
            }
            Beside::Write { per_second, .. } => {
                (ReplyShape { head: b'+', len: 5 }, WRITE_BATCH as u64 * 1_000_000_000 / per_second)
            }
            Beside::Flood { .. } => (ReplyShape { head: b'+', len: 5 }, 0),
        };
        let most = if let Beside::Flood { value_bytes, .. } = beside { value_bytes[1] } else { 0 };
        Ok(Some(Self {
            lane: Lane::connect(port, reply)?,
            beside: beside.clone(),
            period_ns,
            next_due: 0,
            written: 0,
            replies: 0,
            draw: Draw(0x2545_f491_4f6c_dd1d),
            request: Vec::new(),
            value: vec![b'v'; most],
        }))
    }

    /// Sends the requests that are due now.
    fn send_due(&mut self, now: u64) -> Result<()> {
        if now < self.next_due || self.ended() {
            return Ok(());
        }
        let due = self.next_due;
        self.next_due += self.period_ns;
        let mut request = Vec::new();
        match self.beside {
            Beside::Nothing => {}
            Beside::Fetch { key, .. } => {
                push_request(&mut request, &[b"GET", key.as_bytes()]);
                self.lane.send(&request, due)?;
            }
            Beside::Write { keys, .. } => {
                if self.lane.due.len() >= WRITES_OUT * WRITE_BATCH {
                    self.next_due = now + self.period_ns;
                    return Ok(());
                }
                for _ in 0..WRITE_BATCH {
                    push_request(&mut request, &[b"SET", &numbered("grow:", self.written % keys), b"xxx"]);
                    self.written += 1;
                }
                // One entry per reply: the batch is sent as one request that gets several replies.
                self.lane.due.extend(std::iter::repeat_n(due, WRITE_BATCH - 1));
                self.lane.send(&request, due)?;
            }
            Beside::Flood { keys, value_bytes, batch } => self.flood(keys, value_bytes, batch)?,
        }
        Ok(())
    }

    /// Sends a batch of SETs, unless the last one is not sent completely or enough are unanswered.
    fn flood(&mut self, keys: usize, value_bytes: [usize; 2], batch: usize) -> Result<()> {
        // A value larger than the socket's buffer is sent in pieces, without a reply in between.
        self.lane.flush()?;
        if !self.lane.unsent.is_empty() || self.lane.due.len() >= WRITES_OUT * batch {
            return Ok(());
        }
        self.request.clear();
        for _ in 0..batch {
            let key = numbered("flood:", self.draw.below(keys));
            let value = &self.value[..self.draw.length(value_bytes)];
            push_request(&mut self.request, &[b"SET", &key, value]);
        }
        self.written += batch;
        self.lane.due.extend(std::iter::repeat_n(0, batch - 1));
        self.lane.send(&self.request, 0)
    }

    /// Whether it has sent all its requests.
    fn ended(&self) -> bool {
        matches!(self.beside, Beside::Write { keys, again: false, .. } if self.written >= keys)
    }

    /// Whether the load must continue for it.
    fn unfinished(&self) -> bool {
        matches!(self.beside, Beside::Write { again: false, .. }) && !self.ended()
    }
}

/// A run in progress.
struct Run<'a> {
    plan: &'a Plan,
    lanes: Vec<Lane>,
    begin: Instant,
    /// Requests of the load sent so far.
    sent: u64,
    /// Requests that are due before this are sent.
    end_ns: u64,
    draw: Draw,
    outcome: Outcome,
}

impl Run<'_> {
    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    fn due(&self, index: u64) -> u64 {
        (u128::from(index) * 1_000_000_000 / u128::from(self.plan.rate)) as u64
    }

    /// Sends the requests that are due, at most [`BURST`].
    fn send_due(&mut self) -> Result<()> {
        for _ in 0..BURST {
            let (due, now) = (self.due(self.sent), self.now());
            if due > now || due >= self.end_ns {
                break;
            }
            let lane = (self.sent % self.lanes.len() as u64) as usize;
            let mut request = [0; 64];
            let len = self.request(&mut request)?;
            self.lanes[lane].send(&request[..len], due)?;
            self.sent += 1;
            if due >= self.plan.warm_up.as_nanos() as u64 {
                self.outcome.late.push(saturate(now - due));
            }
        }
        Ok(())
    }

    /// Writes the next request to `buffer`, and returns its length.
    fn request(&mut self, buffer: &mut [u8; 64]) -> Result<usize> {
        let mut rest = &mut buffer[..];
        match self.plan.ask {
            Ask::Ping => rest.write_all(b"*1\r\n$4\r\nPING\r\n")?,
            Ask::Get => {
                let key = numbered("key:", self.draw.below(self.plan.keys));
                write!(rest, "*2\r\n$3\r\nGET\r\n${}\r\n", key.len())?;
                rest.write_all(&key)?;
                rest.write_all(b"\r\n")?;
            }
        }
        let unused = rest.len();
        Ok(buffer.len() - unused)
    }

    fn receive(&mut self, lane: usize, buffer: &mut [u8]) -> Result<()> {
        let (begin, warm_up) = (self.begin, self.plan.warm_up.as_nanos() as u64);
        let latencies = &mut self.outcome.latencies;
        self.lanes[lane].receive(buffer, |due| {
            if due >= warm_up {
                latencies.push(saturate(begin.elapsed().as_nanos() as u64 - due));
            }
        })
    }

    /// Whether every request that was due before the end has been sent, however late.
    fn ended(&self) -> bool {
        self.due(self.sent) >= self.end_ns && self.now() >= self.end_ns
    }

    fn outstanding(&self) -> usize {
        self.lanes.iter().map(|lane| lane.due.len()).sum()
    }
}

fn saturate(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds).unwrap_or(u32::MAX)
}

/// Runs `plan` against a server on this machine, with `beside` at the same time.
pub fn run(port: u16, plan: &Plan, beside: &Beside) -> Result<Outcome> {
    let mut epoll = Epoll::new(256)?;
    let mut lanes = Vec::new();
    for token in 0..plan.connections {
        let lane = Lane::connect(port, plan.ask.reply(plan.value_bytes))?;
        epoll.add(&lane.stream, token as u64)?;
        lanes.push(lane);
    }
    let mut neighbour = Neighbour::new(port, beside)?;
    if let Some(neighbour) = &neighbour {
        epoll.add(&neighbour.lane.stream, BESIDE)?;
    }
    let mut buffer = vec![0; PIECE_BYTES];
    let expected = (plan.rate as f64 * plan.length.as_secs_f64()) as usize;
    let mut run = Run {
        plan,
        lanes,
        begin: Instant::now(),
        sent: 0,
        end_ns: u64::MAX,
        draw: Draw(0x9e37_79b9_7f4a_7c15),
        outcome: Outcome {
            latencies: Vec::with_capacity(expected),
            late: Vec::with_capacity(expected),
            ..Outcome::default()
        },
    };

    let planned_end = (plan.warm_up + plan.length).as_nanos() as u64;
    let mut give_up = u64::MAX;
    loop {
        let now = run.now();
        if run.end_ns == u64::MAX && !neighbour.as_ref().is_some_and(Neighbour::unfinished) {
            run.end_ns = planned_end.max(now);
            give_up = run.end_ns + plan.patience.as_nanos() as u64;
        }
        if run.ended() && (run.outstanding() == 0 || now > give_up) {
            break;
        }
        run.send_due()?;
        if let Some(neighbour) = neighbour.as_mut().filter(|_| now < run.end_ns) {
            neighbour.send_due(now)?;
        }
        let count = epoll.wait(0)?;
        for index in 0..count {
            match epoll.token(index) {
                BESIDE => {
                    let Some(neighbour) = &mut neighbour else { continue };
                    let replies = &mut neighbour.replies;
                    neighbour.lane.receive(&mut buffer, |_| *replies += 1)?;
                }
                lane => run.receive(lane as usize, &mut buffer)?,
            }
            if index % BURST == BURST - 1 {
                run.send_due()?;
            }
        }
    }
    let mut outcome = run.outcome;
    outcome.unanswered = run.lanes.iter().map(|lane| lane.due.len()).sum();
    outcome.latencies.extend(std::iter::repeat_n(u32::MAX, outcome.unanswered));
    outcome.beside = neighbour.map_or(0, |neighbour| neighbour.replies);
    outcome.latencies.sort_unstable();
    outcome.late.sort_unstable();
    Ok(outcome)
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::stats::percentile;
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    const VALUE_BYTES: usize = 100;

    /// A server that replies to each GET, but stalls for `stall` after it has received the first.
    fn serve(stall: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut input = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut stalled) = (String::new(), false);
            while input.read_line(&mut line).is_ok_and(|len| len > 0) {
                if line.starts_with("key:") {
                    if !std::mem::replace(&mut stalled, true) {
                        thread::sleep(stall);
                    }
                    let reply = format!("${VALUE_BYTES}\r\n{}\r\n", "x".repeat(VALUE_BYTES));
                    if stream.write_all(reply.as_bytes()).is_err() {
                        break;
                    }
                }
                line.clear();
            }
        });
        port
    }

    fn plan() -> Plan {
        Plan {
            connections: 1,
            ask: Ask::Get,
            rate: 1000,
            warm_up: Duration::ZERO,
            length: Duration::from_millis(500),
            keys: 10,
            value_bytes: VALUE_BYTES,
            patience: Duration::from_secs(30),
        }
    }

    #[test]
    fn every_due_request_is_sent_and_answered() {
        let outcome = run(serve(Duration::ZERO), &plan(), &Beside::Nothing).unwrap();
        assert_eq!(outcome.latencies.len(), 500);
        assert_eq!(outcome.late.len(), 500);
        assert_eq!(outcome.unanswered, 0);
    }

    #[test]
    fn a_stall_is_counted_against_all_requests_that_were_due_in_it() {
        // There is no reply in the first 300 ms, so the 200 requests that were due in the first 200 ms have latencies
        // of at least 100 ms. A load that waits for its reply would have seen a single slow request.
        let outcome = run(serve(Duration::from_millis(300)), &plan(), &Beside::Nothing).unwrap();
        assert_eq!(outcome.latencies.len(), 500);
        assert_eq!(outcome.unanswered, 0);
        let slow = outcome.latencies.iter().filter(|&&ns| ns >= 100_000_000).count();
        assert!(slow >= 200, "{slow} of 500 were slow");
        assert!(percentile(&outcome.latencies, 1.0).unwrap() >= 300_000_000);
    }

    #[test]
    fn a_server_that_never_answers_is_not_left_out() {
        let plan = Plan { length: Duration::from_millis(20), patience: Duration::ZERO, ..plan() };
        let outcome = run(serve(Duration::from_secs(3600)), &plan, &Beside::Nothing).unwrap();
        assert_eq!(outcome.unanswered, 20);
        assert_eq!(outcome.latencies, [u32::MAX; 20]);
    }

    #[test]
    fn pings_take_turns_with_a_flood_of_large_and_small_values() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut input = BufReader::new(stream.try_clone().unwrap());
                    let (mut line, mut words) = (Vec::new(), 0);
                    // Words are lines, and values contain no line ends: an array of n has n words after their lengths.
                    while input.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                        match line[0] {
                            b'*' => words = line[1] - b'0',
                            b'$' => {}
                            _ => words -= 1,
                        }
                        let done = words == 0;
                        let reply: &[u8] = if line.starts_with(b"PING") { b"+PONG\r\n" } else { b"+OK\r\n" };
                        if done && stream.write_all(reply).is_err() {
                            break;
                        }
                        line.clear();
                    }
                });
            }
        });
        let flood = Beside::Flood { keys: 10, value_bytes: [1, 3_000_000], batch: 2 };
        let plan = Plan { ask: Ask::Ping, length: Duration::from_millis(300), ..plan() };
        let outcome = run(port, &plan, &flood).unwrap();
        assert_eq!(outcome.latencies.len(), 300);
        assert!(outcome.beside > 0);
    }

    #[test]
    fn lengths_are_even_on_a_logarithmic_scale() {
        let mut draw = Draw(7);
        let lengths: Vec<usize> = (0..10_000).map(|_| draw.length([10, 100_000])).collect();
        assert!(lengths.iter().all(|len| (10..100_000).contains(len)));
        let below = lengths.iter().filter(|&&len| len < 1_000).count();
        assert!((4_700..5_300).contains(&below), "{below}");
        assert_eq!(draw.length([100, 100]), 100);
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error() {
        let plan = Plan { value_bytes: VALUE_BYTES - 1, ..plan() };
        assert!(run(serve(Duration::ZERO), &plan, &Beside::Nothing).is_err());
    }
}
