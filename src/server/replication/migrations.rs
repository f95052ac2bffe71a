//! `MIGRATE`: the migrations in flight, and the cached connections to targets.
//!
//! A connection belongs to one migration at a time. Afterwards it is cached for its host and port, with its selected
//! database, and closed after [`IDLE_S`] seconds without use. A cached connection is not registered with the poller: if
//! the target has closed it, the next migration fails on it, and connects again.

use std::io::ErrorKind;

use crate::replication::migrate::{End, Exchange, Lost};
use crate::sys::poller::{Interest, Token};
use crate::tls::Channel;

/// The most cached connections.
const MOST: usize = 64;

/// The seconds after which an unused connection is closed.
const IDLE_S: i64 = 10;

/// The most bytes of one receive.
const CHUNK: usize = 4096;

/// The arguments of a `MIGRATE`.
#[derive(Clone)]
pub struct Request {
    /// The host as in the command: cached connections are found by it.
    pub host: Vec<u8>,
    /// See [`Request::host`].
    pub port: Vec<u8>,
    /// The database of the target.
    pub target_db: i64,
    /// The database of the keys.
    pub db: usize,
    /// The time without progress after which it fails.
    pub timeout_ms: u64,
    /// Whether the keys stay here.
    pub copies: bool,
    /// Whether existing keys of the target are overwritten.
    pub replaces: bool,
    /// The user, if one was given, and the password.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// The named keys that exist here.
    pub keys: Vec<Vec<u8>>,
}

/// A connection to a target.
pub struct Connection {
    /// The connection.
    pub channel: Channel,
    /// The database selected there, if known.
    pub db: Option<i64>,
}

/// A cached connection.
struct Idle {
    host: Vec<u8>,
    port: Vec<u8>,
    connection: Connection,
    used_s: i64,
}

/// A migration in flight.
pub struct Flight {
    /// Its number in the poller.
    pub number: u32,
    /// The client blocked on it; `None` if it has disconnected.
    pub client: Option<Token>,
    /// The start of its command, in ticks of the counter.
    pub began: u64,
    /// The arguments.
    pub request: Request,
    /// The connection to the target.
    pub connection: Connection,
    /// The protocol.
    pub exchange: Exchange,
    /// Whether it may connect again after a lost connection.
    pub may_retry: bool,
    /// The result, if it arrived while no key may be deleted.
    pub ended: Option<End>,
}

impl Flight {
    /// Sends and receives as much as the socket allows.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn drive(&mut self, now_ms: u64) -> Result<(), Lost> {
        let channel = &mut self.connection.channel;
        if !self.exchange.is_connected() {
            if channel.socket().failure().is_some() {
                return Err(Lost::Closed);
            }
            if !channel.socket().wait(true, 0) {
                return Ok(());
            }
            self.exchange.connected(now_ms);
        }
        loop {
            let was_handshaking = channel.is_handshaking();
            while !self.exchange.unsent().is_empty() {
                match channel.send(self.exchange.unsent()) {
                    Ok(count) => self.exchange.took(count, now_ms),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Lost::Closed),
                }
            }
            let mut chunk = [0; CHUNK];
            while !self.exchange.is_complete() {
                match channel.receive(&mut chunk) {
                    Ok(0) => return Err(Lost::Closed),
                    Ok(count) => self.exchange.receive(&chunk[..count], now_ms)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return Err(Lost::Closed),
                }
            }
            // If the handshake has just completed, requests can be sent.
            if !was_handshaking || channel.is_handshaking() {
                return Ok(());
            }
        }
    }

    /// The events to register for.
    pub fn interest(&self) -> Interest {
        let waits = self.connection.channel.waits_to_send(!self.exchange.unsent().is_empty());
        if waits || !self.exchange.is_connected() { Interest::BOTH } else { Interest::READ }
    }

    /// Waits until the socket is ready or the deadline has passed. Returns false after the deadline.
    pub fn wait(&self, now_ms: u64) -> bool {
        let left = self.exchange.deadline_ms().saturating_sub(now_ms);
        if left == 0 {
            return false;
        }
        // Requests are sent before replies are read: few targets reply before they have all requests.
        let _ = self
            .connection
            .channel
            .wait(self.interest() == Interest::BOTH, left.min(u64::from(u32::MAX)) as u32);
        true
    }
}

/// The migrations and cached connections; see the module's head.
#[derive(Default)]
pub struct Migrations {
    idle: Vec<Idle>,
    /// The migrations in flight.
    pub flights: Vec<Flight>,
    next_number: u32,
}

impl Migrations {
    /// The number of connections, in use and cached.
    pub fn connections(&self) -> usize {
        self.idle.len() + self.flights.len()
    }

    /// The number of clients that are blocked on migrations.
    pub fn waiting_clients(&self) -> usize {
        self.flights.iter().filter(|flight| flight.client.is_some()).count()
    }

    /// A number that is not in use.
    pub fn next_number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// The index of the flight with this number.
    pub fn find(&self, number: u32) -> Option<usize> {
        self.flights.iter().position(|flight| flight.number == number)
    }

    /// Takes the cached connection to a target.
    pub fn take(&mut self, host: &[u8], port: &[u8]) -> Option<Connection> {
        let index = self.idle.iter().position(|idle| idle.host == host && idle.port == port)?;
        Some(self.idle.swap_remove(index).connection)
    }

    /// Caches a connection, unless its target has one already. If there are too many, closes the one that has been
    /// unused for longest.
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

    /// Closes the connections that have been unused for too long.
    pub fn close_idle(&mut self, now_s: i64) {
        self.idle.retain(|idle| now_s - idle.used_s <= IDLE_S);
    }

    /// A flight whose deadline has passed.
    pub fn next_overdue(&self, now_ms: u64) -> Option<usize> {
        self.flights
            .iter()
            .position(|flight| flight.ended.is_none() && flight.exchange.deadline_ms() <= now_ms)
    }

    /// A flight with a result that could not be applied when it arrived.
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
