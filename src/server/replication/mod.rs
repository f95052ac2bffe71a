//! The state of replication: the history of the data, the replicas, and the snapshot being sent to them.
//!
//! There are few replicas, so they are kept in a list. A replica is a client that has sent `REPLCONF` or `PSYNC`; its
//! connection is in the client table like any other.

pub mod migrations;
pub mod transfer;
pub mod upstream;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use migrations::Migrations;
use transfer::Transfer;
use upstream::Upstream;

use crate::db::Cursor;
use crate::replication::confirm::Confirmation;
use crate::replication::failover::Failover;
use crate::replication::history::{History, Id};
use crate::replication::peer::{Filter, Peer, Stage};
use crate::sys::poller::Token;

/// Bytes of a snapshot per send.
const CHUNK: usize = 64 << 10;

/// A snapshot file that is being sent to a replica.
pub struct Outgoing {
    file: File,
    /// The unsent part of the line with the length.
    header: Vec<u8>,
    at: u64,
    len: u64,
}

impl Outgoing {
    /// Prepares to send `file`, which has `len` bytes.
    pub fn new(file: File, len: u64) -> Outgoing {
        Outgoing { file, header: format!("${len}\r\n").into_bytes(), at: 0, len }
    }

    /// Whether everything was sent.
    pub fn is_done(&self) -> bool {
        self.header.is_empty() && self.at == self.len
    }

    /// Sends the next bytes with `send`. Returns the number of bytes that it accepted.
    ///
    /// # Errors
    /// The file cannot be read or has become shorter, or `send` fails.
    pub fn send(&mut self, send: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        if !self.header.is_empty() {
            let taken = send(&self.header)?;
            self.header.drain(..taken);
            return Ok(taken);
        }
        let mut chunk = vec![0; CHUNK.min((self.len - self.at) as usize)];
        self.file.read_exact_at(&mut chunk, self.at)?;
        let taken = send(&chunk)?;
        self.at += taken as u64;
        Ok(taken)
    }
}

/// A replica.
pub struct Replica {
    /// Its connection.
    pub token: Token,
    /// The IP address of its connection. A child that writes a snapshot has closed the socket, and needs it.
    pub ip: String,
    /// Its properties and acknowledged offsets.
    pub peer: Peer,
    /// Its position in the stream, from the start of its snapshot on.
    pub cursor: Option<Cursor>,
    /// The snapshot file that is being sent to it, if any.
    pub outgoing: Option<Outgoing>,
    /// Whether its socket is full, so the poller watches for writability.
    pub is_full: bool,
    /// Whether it used `PSYNC` rather than `SYNC`: it then gets IDs and offsets, and acknowledges.
    pub knows_psync: bool,
    /// Whether it has acknowledged anything since its snapshot.
    pub has_acknowledged: bool,
    /// When it requested synchronization, in Unix milliseconds.
    pub asked_ms: i64,
    /// Since when its unsent output exceeds the soft limit.
    pub over_soft_limit_since: Option<i64>,
}

/// The state of replication.
pub struct Replication {
    /// The replication IDs and offsets.
    pub history: History,
    /// The replicas, in the order in which they connected.
    pub replicas: Vec<Replica>,
    /// The addresses and ports of replicas that disconnected after a snapshot of the latest version without an
    /// acknowledgement: they may be older, and get an earlier version the next time.
    pub old_readers: Vec<(String, i64)>,
    /// The primary, if this server is a replica.
    pub upstream: Option<Upstream>,
    /// The requested `FAILOVER`.
    pub failover: Option<Failover>,
    /// The database that the stream had selected at the end of the snapshot loaded at the start.
    pub resumed_db: usize,
    /// The time of the last attempt to connect to the primary, in Unix milliseconds.
    pub tried_ms: i64,
    /// Migrations of keys to other servers.
    pub migrations: Migrations,
    /// A snapshot that a child writes to the replicas.
    pub transfer: Option<Transfer>,
    /// Whether the stream keeps bytes for replicas that reconnect.
    pub has_backlog: bool,
    /// Since when no replica has been connected, in Unix milliseconds.
    pub alone_since_ms: i64,
    /// When the last `PING` was sent to the replicas, in Unix milliseconds.
    pub pinged_ms: i64,
    /// The replies withheld for acknowledgements.
    pub confirmation: Confirmation,
    /// Whether to request acknowledgements from the replicas at the end of the iteration.
    pub asks_for_acknowledgements: bool,
    /// The end of the stream when the replicas were last fed.
    pub fed_to: u64,
    /// Since when bytes for the replicas wait for more, on the monotonic clock.
    pub unfed_since_us: Option<u64>,
    /// Numbers since the start: full synchronizations, partial ones, and refused partial ones.
    pub full_syncs: u64,
    /// See [`Replication::full_syncs`].
    pub partial_syncs: u64,
    /// See [`Replication::full_syncs`].
    pub refused_partial_syncs: u64,
}

impl Replica {
    /// The address and the port at which clients reach it.
    pub fn address(&self) -> (String, i64) {
        let announced = &self.peer.address;
        let ip = if announced.is_empty() {
            self.ip.clone()
        } else {
            String::from_utf8_lossy(announced).into_owned()
        };
        (ip, self.peer.listening_port)
    }
}

impl Replication {
    /// Returns the state of a primary without replicas.
    pub fn new(id: Id) -> Replication {
        Replication {
            history: History::new(id),
            replicas: Vec::new(),
            old_readers: Vec::new(),
            upstream: None,
            failover: None,
            resumed_db: 0,
            tried_ms: 0,
            migrations: Migrations::default(),
            transfer: None,
            has_backlog: false,
            alone_since_ms: 0,
            pinged_ms: 0,
            confirmation: Confirmation::default(),
            asks_for_acknowledgements: false,
            fed_to: 0,
            unfed_since_us: None,
            full_syncs: 0,
            partial_syncs: 0,
            refused_partial_syncs: 0,
        }
    }

    /// The replica with this connection.
    pub fn find(&mut self, token: Token) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.token == token)
    }

    /// The replication offset up to which the stream was sent to the replica; 0 if it has been sent nothing.
    pub fn sent_to(&self, token: Token) -> i64 {
        let replica = self.replicas.iter().find(|replica| replica.token == token);
        let cursor = replica.and_then(|replica| replica.cursor.as_ref());
        cursor.map_or(0, |cursor| self.history.offset(cursor.offset()))
    }

    /// Like [`Replication::find`]; adds a replica for the connection from `ip` if it has none.
    pub fn find_or_add(&mut self, token: Token, ip: impl FnOnce() -> String, now_ms: i64) -> &mut Replica {
        let index = self.replicas.iter().position(|replica| replica.token == token);
        let index = index.unwrap_or_else(|| {
            self.replicas.push(Replica {
                token,
                ip: ip(),
                peer: Peer::default(),
                cursor: None,
                outgoing: None,
                is_full: false,
                knows_psync: false,
                has_acknowledged: false,
                asked_ms: now_ms,
                over_soft_limit_since: None,
            });
            self.replicas.len() - 1
        });
        &mut self.replicas[index]
    }

    /// The replicas that have requested synchronization.
    pub fn synchronized(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.peer.stage != Stage::Greeting)
    }

    /// The replicas that get the next snapshot: those that wait, and have the same filter as the first one of them.
    pub fn waiting(&self) -> impl Iterator<Item = &Replica> {
        let waits = |replica: &&Replica| replica.peer.stage == Stage::WaitingForStart;
        let filter = self.next_filter();
        self.replicas.iter().filter(waits).filter(move |replica| replica.peer.filter == filter)
    }

    /// The parts to leave out of the next snapshot for replicas.
    pub fn next_filter(&self) -> Filter {
        let first = self.replicas.iter().find(|replica| replica.peer.stage == Stage::WaitingForStart);
        first.map_or_else(Filter::default, |replica| replica.peer.filter)
    }

    /// The numbers of replicas that have acknowledged the stream up to the offset `stream`: as applied, and as on disk.
    pub fn acknowledged(&self, stream: u64) -> (u64, u64) {
        let offset = self.history.offset(stream);
        let online = || self.replicas.iter().filter(|replica| replica.peer.is_online());
        let applied = online().filter(|replica| replica.peer.acknowledged >= offset).count();
        let on_disk = online().filter(|replica| replica.peer.acknowledged_on_disk >= offset).count();
        (applied as u64, on_disk as u64)
    }

    /// Updates the confirmed offset (`min-replicas-to-ack`).
    pub fn confirm(&mut self) {
        let history = &self.history;
        self.confirmation.update(self.replicas.iter().filter_map(|replica| replica.peer.confirms(history)));
    }

    /// The number of replicas that have acknowledged within the last `max_lag_s` seconds (`min-replicas-max-lag`); with
    /// 0, at any time.
    pub fn good(&self, now_ms: i64, max_lag_s: u32) -> usize {
        let is_good = |replica: &&Replica| {
            let lag_s = (now_ms - replica.peer.acknowledged_ms) / 1000;
            replica.peer.is_online() && (max_lag_s == 0 || lag_s <= i64::from(max_lag_s))
        };
        self.replicas.iter().filter(is_good).count()
    }
}
