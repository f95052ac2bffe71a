//! What a run is to do, what its threads share, and what it finds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fmt, io};

use super::histogram::Histogram;
use super::schedule::Pace;
use super::template::Template;
use super::timeline::Timeline;
use crate::resp::value::DecodeError;
use crate::tools::client::plain;

/// Where to connect to: an address that has been resolved.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

/// One run: a test against a server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub endpoint: Endpoint,
    /// What every connection sends first, as the server takes it, and by which names.
    pub greeting: Vec<u8>,
    /// The commands of the greeting.
    pub greeting_commands: Vec<&'static str>,
    /// What is sent.
    pub template: Template,
    /// Connections of all threads.
    pub clients: usize,
    /// Threads, at most as many as connections.
    pub threads: usize,
    /// Requests that a connection sends before it waits for their replies.
    pub batch: usize,
    /// Requests in all; without a number they end by the time alone.
    pub requests: Option<u64>,
    /// For how long requests are sent.
    pub duration_ns: Option<u64>,
    /// The rate of an open loop.
    pub pace: Option<Pace>,
    /// Whether a connection is kept after its batch.
    pub keeps_alive: bool,
    /// Whether an error of the server ends the run.
    pub stops_at_error: bool,
    /// Random numbers are below this.
    pub range: Option<u64>,
    /// Where random numbers begin.
    pub seed: u64,
}

/// Why a run ended before its end.
#[derive(Debug)]
pub enum Failure {
    /// A connection could not be made.
    Connect(io::Error),
    /// A command of the greeting was refused: its name, and the error.
    Refused(&'static str, Vec<u8>),
    /// The server closed a connection.
    Closed,
    /// A system call failed.
    Io(io::Error),
    /// What the server sent is not a reply, or is one too many.
    Malformed(DecodeError),
    /// An error of the server, where one ends the run.
    Server(Vec<u8>),
    /// A signal.
    Interrupted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(error) => write!(f, "Could not connect to the server: {}", plain(error)),
            Failure::Refused(command, text) => {
                write!(f, "{command} failed: {}", String::from_utf8_lossy(text))
            }
            Failure::Closed => f.write_str("The server closed the connection"),
            Failure::Io(error) => f.write_str(&plain(error)),
            Failure::Malformed(error) => write!(f, "Protocol error: {error}"),
            Failure::Server(text) => write!(f, "Error from server: {}", String::from_utf8_lossy(text)),
            Failure::Interrupted => f.write_str("Interrupted"),
        }
    }
}

/// What the threads of a run share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Requests that have been taken to be sent.
    pub taken: AtomicU64,
    /// Set where a thread failed: the others end, too.
    pub is_over: AtomicBool,
    /// Replies so far, and the sum of their latencies: what is shown while the run goes on.
    pub replies: AtomicU64,
    /// See above.
    pub latency_ns: AtomicU64,
    /// Errors of the server that have not been shown: how many, and the text of the last.
    pub errors: Mutex<(u64, Vec<u8>)>,
}

impl Shared {
    /// Takes up to `count` requests of a plan: the number of the first, and how many there are.
    #[inline]
    pub fn take(&self, plan: &Plan, count: usize) -> (u64, usize) {
        let first = self.taken.fetch_add(count as u64, Ordering::Relaxed);
        let left = plan.requests.map_or(u64::MAX, |all| all.saturating_sub(first));
        (first, (count as u64).min(left) as usize)
    }

    /// Requests of the plan that have not been taken.
    pub fn left(&self, plan: &Plan) -> u64 {
        plan.requests.map_or(u64::MAX, |all| all.saturating_sub(self.taken.load(Ordering::Relaxed)))
    }
}

/// What a thread has counted, or all of them.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latencies of all replies.
    pub latencies: Histogram,
    /// In an open loop, how long after its moment each request was sent.
    pub delays: Histogram,
    /// Replies over time.
    pub timeline: Timeline,
    /// Replies that were errors.
    pub errors: u64,
    /// When the last reply came.
    pub last_ns: u64,
    /// Requests that were sent and not replied to.
    pub unanswered: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new(start_ns: u64) -> Tally {
        Tally {
            latencies: Histogram::default(),
            delays: Histogram::default(),
            timeline: Timeline::new(start_ns),
            errors: 0,
            last_ns: start_ns,
            unanswered: 0,
        }
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: Tally) {
        self.latencies.merge(&other.latencies);
        self.delays.merge(&other.delays);
        self.timeline.merge(other.timeline);
        self.errors += other.errors;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.unanswered += other.unanswered;
    }
}
