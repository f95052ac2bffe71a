//! `MIGRATE`: the migrations in flight, and the connections to targets that are kept for the next ones.
//!
//! A connection belongs to one migration at a time. Afterwards it is kept for its host and port, with the database that it
//! has selected, and closed when it has not been used for [`IDLE_S`] seconds. While it is kept, the poller does not know
//! it: if the target has closed it, the next migration finds out, and connects again.

use std::io::ErrorKind;

use crate::replication::migrate::{End, Exchange, Lost};
use crate::sys::net::Socket;
use crate::sys::poller::{Interest, Token};

/// Connections that are kept.
const MOST: usize = 64;

/// How long a connection is kept that is not used.
const IDLE_S: i64 = 10;

/// Bytes that a receive takes.
const CHUNK: usize = 4096;

/// What was asked for.
#[derive(Clone)]
pub struct Request {
    /// As in the request, since a connection is found again by them.
    pub host: Vec<u8>,
    /// See [`Request::host`].
    pub port: Vec<u8>,
    /// The database of the target.
    pub target_db: i64,
    /// The database of the keys.
    pub db: usize,
    /// The time without progress after which it fails.
    pub timeout_ms: u64,
    /// The keys stay here.
    pub copies: bool,
    /// Keys of the target are overwritten.
    pub replaces: bool,
    /// The user, if one was given, and the password.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// The keys, those that were found here.
    pub keys: Vec<Vec<u8>>,
}

/// A connection to a target.
pub struct Connection {
    /// The socket.
    pub socket: Socket,
    /// The database that is selected there, if that is known.
    pub db: Option<i64>,
}

/// A connection that is kept.
struct Idle {
    host: Vec<u8>,
    port: Vec<u8>,
    connection: Connection,
    used_s: i64,
}

/// A migration in flight.
pub struct Flight {
    /// Its name in the poller.
    pub number: u32,
    /// The client that waits for it; `None` if there is none any more.
    pub client: Option<Token>,
    /// When its command began, by the tick counter.
    pub began: u64,
    /// What was asked for.
    pub request: Request,
    /// The connection to the target.
    pub connection: Connection,
    /// The protocol.
    pub exchange: Exchange,
    /// Whether a lost connection may be made again.
    pub may_retry: bool,
    /// The end that has come while nothing may be deleted.
    pub ended: Option<End>,
}

impl Flight {
    /// Sends and receives what the socket takes and has.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn drive(&mut self, now_ms: u64) -> Result<(), Lost> {
        let socket = &self.connection.socket;
        if !self.exchange.is_connected() {
            if socket.failure().is_some() {
                return Err(Lost::Closed);
            }
            if !socket.wait(true, 0) {
                return Ok(());
            }
            self.exchange.connected(now_ms);
        }
        while !self.exchange.unsent().is_empty() {
            match socket.send(self.exchange.unsent()) {
                Ok(count) => self.exchange.took(count, now_ms),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Lost::Closed),
            }
        }
        let mut chunk = [0; CHUNK];
        while !self.exchange.is_complete() {
            match socket.recv(&mut chunk) {
                Ok(0) => return Err(Lost::Closed),
                Ok(count) => self.exchange.receive(&chunk[..count], now_ms)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Lost::Closed),
            }
        }
        Ok(())
    }

    /// What it waits for.
    pub fn interest(&self) -> Interest {
        if self.exchange.unsent().is_empty() && self.exchange.is_connected() {
            Interest::READ
        } else {
            Interest::BOTH
        }
    }

    /// Waits until the socket is ready or the deadline has come. Returns false after the deadline.
    pub fn wait(&self, now_ms: u64) -> bool {
        let left = self.exchange.deadline_ms().saturating_sub(now_ms);
        if left == 0 {
            return false;
        }
        // Requests are sent before replies come, and few targets reply to half of them.
        let _ = self
            .connection
            .socket
            .wait(self.interest() == Interest::BOTH, left.min(u64::from(u32::MAX)) as u32);
        true
    }
}

/// See the module's head.
#[derive(Default)]
pub struct Migrations {
    idle: Vec<Idle>,
    /// Those in flight.
    pub flights: Vec<Flight>,
    next_number: u32,
}

impl Migrations {
    /// Connections, used and kept.
    pub fn connections(&self) -> usize {
        self.idle.len() + self.flights.len()
    }

    /// How many clients wait for the end of one.
    pub fn waiting_clients(&self) -> usize {
        self.flights.iter().filter(|flight| flight.client.is_some()).count()
    }

    /// A number that no flight has.
    pub fn next_number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// The flight with this number.
    pub fn find(&self, number: u32) -> Option<usize> {
        self.flights.iter().position(|flight| flight.number == number)
    }

    /// Takes the connection that is kept for a target.
    pub fn take(&mut self, host: &[u8], port: &[u8]) -> Option<Connection> {
        let index = self.idle.iter().position(|idle| idle.host == host && idle.port == port)?;
        Some(self.idle.swap_remove(index).connection)
    }

    /// Keeps a connection, unless there is one for its target already. If there are too many, the one that was not used for
    /// the longest time is closed.
    pub fn keep(&mut self, request: &Request, connection: Connection, now_s: i64) {
        let Request { host, port, .. } = request;
        if self.idle.iter().any(|idle| idle.host == *host && idle.port == *port) {
            return;
        }
        if self.idle.len() == MOST {
            let oldest = self.idle.iter().enumerate().min_by_key(|(_, idle)| idle.used_s);
            let index = oldest.map_or(0, |(index, _)| index);
            self.idle.swap_remove(index);
        }
        self.idle.push(Idle { host: host.clone(), port: port.clone(), connection, used_s: now_s });
    }

    /// Closes the connections that were not used for a while.
    pub fn close_idle(&mut self, now_s: i64) {
        self.idle.retain(|idle| now_s - idle.used_s <= IDLE_S);
    }

    /// A flight whose deadline has come.
    pub fn next_overdue(&self, now_ms: u64) -> Option<usize> {
        self.flights
            .iter()
            .position(|flight| flight.ended.is_none() && flight.exchange.deadline_ms() <= now_ms)
    }

    /// A flight that has ended, and could not be finished then.
    pub fn next_ended(&self) -> Option<usize> {
        self.flights.iter().position(|flight| flight.ended.is_some())
    }

    /// Milliseconds until the next deadline, but no more than `most`.
    pub fn milliseconds_left(&self, now_ms: u64, most: u32) -> u32 {
        let waiting = self.flights.iter().filter(|flight| flight.ended.is_none());
        let deadline = waiting.map(|flight| flight.exchange.deadline_ms()).min();
        let left = deadline.map(|deadline| deadline.saturating_sub(now_ms));
        left.and_then(|left| u32::try_from(left).ok()).map_or(most, |left| left.min(most))
    }
}
