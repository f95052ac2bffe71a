//! The state of replication: the history of the data, the replicas, and the snapshot on its way to them.
//!
//! Replicas are few, so they are a list. A replica is a client that has sent `REPLCONF` or `PSYNC`; its connection is in
//! the table of clients like any other.

pub mod transfer;
pub mod upstream;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use transfer::Transfer;
use upstream::Upstream;

use crate::db::Cursor;
use crate::replication::history::{History, Id};
use crate::replication::peer::{Peer, Stage};
use crate::sys::poller::Token;

/// Bytes of a snapshot that are sent at once.
const CHUNK: usize = 64 << 10;

/// The file of a snapshot on its way to a replica.
pub struct Outgoing {
    file: File,
    /// The announcement of the length, as far as it was not sent.
    header: Vec<u8>,
    at: u64,
    len: u64,
}

impl Outgoing {
    /// Sends `file`, of `len` bytes.
    pub fn new(file: File, len: u64) -> Outgoing {
        Outgoing { file, header: format!("${len}\r\n").into_bytes(), at: 0, len }
    }

    /// Whether all was sent.
    pub fn is_done(&self) -> bool {
        self.header.is_empty() && self.at == self.len
    }

    /// Sends the next bytes by `send`. Returns how many it took.
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
    /// What it has said of itself.
    pub peer: Peer,
    /// Where it is in the stream, from the beginning of its snapshot on.
    pub cursor: Option<Cursor>,
    /// The snapshot that is being sent to it, if that is a file.
    pub outgoing: Option<Outgoing>,
    /// Whether its socket has refused bytes, and the poller reports when it takes some.
    pub is_full: bool,
    /// Whether it has asked by `PSYNC`, and not by `SYNC`: it is told IDs and offsets, and acknowledges.
    pub knows_psync: bool,
    /// Whether it has acknowledged something since its snapshot.
    pub has_acknowledged: bool,
    /// When it asked to be synchronized, Unix milliseconds.
    pub asked_ms: i64,
    /// Since when more waits for it than the soft limit of its output.
    pub over_soft_limit_since: Option<i64>,
}

/// See the module's head.
pub struct Replication {
    /// The replication IDs and offsets.
    pub history: History,
    /// In the order in which they came.
    pub replicas: Vec<Replica>,
    /// The addresses and ports of replicas that have left without an acknowledgement when they had a snapshot of the latest
    /// version: they may be older, and get an earlier version the next time.
    pub old_readers: Vec<(String, i64)>,
    /// The primary, if this server is a replica.
    pub upstream: Option<Upstream>,
    /// The database that the stream had selected where the snapshot of the start ends.
    pub resumed_db: usize,
    /// When the primary was last tried to be connected to, Unix milliseconds.
    pub tried_ms: i64,
    /// A snapshot that a child writes to the replicas.
    pub transfer: Option<Transfer>,
    /// Whether the stream keeps the bytes that replicas may ask for when they come back.
    pub has_backlog: bool,
    /// Since when there is no replica, Unix milliseconds.
    pub alone_since_ms: i64,
    /// When the replicas were last sent a `PING`, Unix milliseconds.
    pub pinged_ms: i64,
    /// Whether the replicas are to be asked what they have applied, at the end of the iteration.
    pub asks_for_acknowledgements: bool,
    /// Synchronizations since the start: by a snapshot, by the stream alone, and requests for the latter that failed.
    pub full_syncs: u64,
    /// See [`Replication::full_syncs`].
    pub partial_syncs: u64,
    /// See [`Replication::full_syncs`].
    pub refused_partial_syncs: u64,
}

impl Replication {
    /// A primary without replicas.
    pub fn new(id: Id) -> Replication {
        Replication {
            history: History::new(id),
            replicas: Vec::new(),
            old_readers: Vec::new(),
            upstream: None,
            resumed_db: 0,
            tried_ms: 0,
            transfer: None,
            has_backlog: false,
            alone_since_ms: 0,
            pinged_ms: 0,
            asks_for_acknowledgements: false,
            full_syncs: 0,
            partial_syncs: 0,
            refused_partial_syncs: 0,
        }
    }

    /// The replica of this connection.
    pub fn find(&mut self, token: Token) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.token == token)
    }

    /// [`Replication::find`]; the connection becomes one that may be a replica's.
    pub fn find_or_add(&mut self, token: Token, now_ms: i64) -> &mut Replica {
        let index = self.replicas.iter().position(|replica| replica.token == token);
        let index = index.unwrap_or_else(|| {
            self.replicas.push(Replica {
                token,
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

    /// Those that have asked to be synchronized.
    pub fn synchronized(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.peer.stage != Stage::Greeting)
    }

    /// Those that wait for a snapshot to begin.
    pub fn waiting(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.peer.stage == Stage::WaitingForStart)
    }

    /// How many replicas have acknowledged the stream up to the offset `stream`: applied, and on disk.
    pub fn acknowledged(&self, stream: u64) -> (u64, u64) {
        let offset = self.history.offset(stream);
        let online = || self.replicas.iter().filter(|replica| replica.peer.is_online());
        let applied = online().filter(|replica| replica.peer.acknowledged >= offset).count();
        let on_disk = online().filter(|replica| replica.peer.acknowledged_on_disk >= offset).count();
        (applied as u64, on_disk as u64)
    }

    /// How many replicas have acknowledged something in the last `max_lag_s` seconds (`min-replicas-max-lag`).
    pub fn good(&self, now_ms: i64, max_lag_s: u32) -> usize {
        let is_good = |replica: &&Replica| {
            replica.peer.is_online() && (now_ms - replica.peer.acknowledged_ms) / 1000 <= i64::from(max_lag_s)
        };
        self.replicas.iter().filter(is_good).count()
    }
}
