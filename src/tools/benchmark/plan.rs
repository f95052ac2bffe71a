//! The parameters of a run, the state that its threads share, and its results.

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
use crate::tools::client::{Tls, plain};

/// A resolved address to connect to.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// One run: a test against a server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub endpoint: Endpoint,
    /// How to encrypt the connections; `None` if they are not encrypted.
    pub tls: Option<Tls>,
    /// The bytes that every connection sends first, as this server accepts them.
    pub greeting: Vec<u8>,
    /// The names of the commands in the greeting.
    pub greeting_commands: Vec<&'static str>,
    /// The requests to send.
    pub template: Template,
    /// The number of connections of all threads.
    pub clients: usize,
    /// The number of threads, at most that of connections.
    pub threads: usize,
    /// The number of requests that a connection sends before it waits for their replies.
    pub batch: usize,
    /// The total number of requests; `None` if only the duration ends the run.
    pub requests: Option<u64>,
    /// How long requests are sent.
    pub duration_ns: Option<u64>,
    /// The rate of an open loop.
    pub pace: Option<Pace>,
    /// Whether a connection is kept open after its batch.
    pub keeps_alive: bool,
    /// Whether an error of the server ends the run.
    pub stops_at_error: bool,
    /// The upper bound of random numbers, exclusive.
    pub range: Option<u64>,
    /// The seed of random numbers.
    pub seed: u64,
}

/// Why a run stopped early.
#[derive(Debug)]
pub enum Failure {
    /// A connection failed.
    Connect(io::Error),
    /// The server rejected a command of the greeting: its name and the error.
    Refused(&'static str, Vec<u8>),
    /// The server closed a connection.
    Closed,
    /// A system call failed.
    Io(io::Error),
    /// The server sent a malformed or surplus reply.
    Malformed(DecodeError),
    /// An error reply, if one ends the run.
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

/// The state that the threads of a run share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The number of requests that threads have taken to send.
    pub taken: AtomicU64,
    /// Set when a thread fails, to stop the others.
    pub is_over: AtomicBool,
    /// The number of replies so far and the sum of their latencies, for the progress display.
    pub replies: AtomicU64,
    /// See above.
    pub latency_ns: AtomicU64,
    /// The number of errors of the server not shown yet, and the text of the last one.
    pub errors: Mutex<(u64, Vec<u8>)>,
}

impl Shared {
    /// Takes up to `count` requests of a plan. Returns the number of the first and how many were taken.
    #[inline]
    pub fn take(&self, plan: &Plan, count: usize) -> (u64, usize) {
        let first = self.taken.fetch_add(count as u64, Ordering::Relaxed);
        let left = plan.requests.map_or(u64::MAX, |all| all.saturating_sub(first));
        (first, (count as u64).min(left) as usize)
    }

    /// Returns the number of requests of the plan not taken yet.
    pub fn left(&self, plan: &Plan) -> u64 {
        plan.requests.map_or(u64::MAX, |all| all.saturating_sub(self.taken.load(Ordering::Relaxed)))
    }
}

/// The counts of one thread, or of all.
#[derive(Clone, Debug)]
pub struct Tally {
    /// The latencies of all replies.
    pub latencies: Histogram,
    /// In an open loop, the delay from each request's due time until it was sent.
    pub delays: Histogram,
    /// Replies over time.
    pub timeline: Timeline,
    /// The number of error replies.
    pub errors: u64,
    /// When the last reply arrived.
    pub last_ns: u64,
    /// The number of requests without a reply.
    pub unanswered: u64,
}

impl Tally {
    /// Creates an empty tally.
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

    /// Adds another thread's counts.
    pub fn merge(&mut self, other: Tally) {
        self.latencies.merge(&other.latencies);
        self.delays.merge(&other.delays);
        self.timeline.merge(other.timeline);
        self.errors += other.errors;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.unanswered += other.unanswered;
    }
}
