//! The primary of this server, if it is a replica, and the state of the connection to it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::persist::rdb::file::{Check, RdbError};
use crate::replication::history::Id;
use crate::replication::link::Link;
use crate::sys::poller::Token;
use crate::tls::Channel;

/// A connection that is not a client yet: the handshake and the snapshot.
pub struct Linking {
    /// The connection.
    pub channel: Channel,
    /// The protocol.
    pub link: Link,
    /// Bytes that the socket has not accepted.
    pub unsent: Vec<u8>,
    /// Whether the connection is established.
    pub is_connected: bool,
    /// The history of the snapshot being received.
    pub history: Option<(Id, i64)>,
    /// Where the snapshot goes, once it begins.
    pub sink: Option<Sink>,
}

/// Where a snapshot goes while it is received.
pub enum Sink {
    /// Into a file, which is loaded when it is complete.
    File(Spool),
    /// To the loader at once (`repl-diskless-load`).
    Loader,
}

/// The file that a snapshot is received into. It is removed on drop unless finished.
pub struct Spool {
    file: File,
    path: Option<PathBuf>,
    /// The check of the received bytes; `None` with `rdbchecksum no`.
    check: Option<Check>,
}

impl Spool {
    /// Creates a file. With `verifies`, the snapshot will be checked.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: PathBuf, verifies: bool) -> io::Result<Spool> {
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        Ok(Spool { file, path: Some(path), check: verifies.then(Check::default) })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The write fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        self.file.write_all(bytes)
    }

    /// Checks the whole snapshot.
    ///
    /// # Errors
    /// The snapshot is damaged.
    pub fn check(&self) -> Result<(), RdbError> {
        self.check.as_ref().map_or(Ok(()), Check::finish)
    }

    /// Makes the file durable, and passes its path to the caller.
    ///
    /// # Errors
    /// The sync fails.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        Ok(self.path.take().expect("finished once"))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// The state of the connection to a primary.
pub enum Progress {
    /// Not connected; the next run of cron connects.
    Apart,
    /// See [`Linking`].
    Linking(Box<Linking>),
    /// The snapshot is being loaded; the stream that follows it waits in the socket.
    Loading(Box<Linking>),
    /// The stream is received through this client.
    Online(Token),
}

/// The primary of this server.
pub struct Upstream {
    /// The address of the primary.
    pub host: String,
    /// See [`Upstream::host`].
    pub port: u16,
    /// The state of the connection.
    pub progress: Progress,
    /// The time of the last receive, in Unix milliseconds; 0: never.
    pub heard_ms: i64,
    /// Since when there has been no connection, in Unix seconds.
    pub down_since: Option<i64>,
    /// The database that the stream has selected.
    pub db: usize,
    /// The time of the last acknowledgement to the primary, in Unix milliseconds.
    pub acknowledged_ms: i64,
    /// Whether the AOF was closed for the snapshot, and must be started again after loading.
    pub restarts_log: bool,
    /// Whether the stream cannot be continued from the offset: loading a snapshot failed, or the stream was damaged.
    pub needs_snapshot: bool,
}

impl Upstream {
    /// Returns a primary without a connection.
    pub fn new(host: String, port: u16) -> Upstream {
        Upstream {
            host,
            port,
            progress: Progress::Apart,
            heard_ms: 0,
            down_since: None,
            db: 0,
            acknowledged_ms: 0,
            restarts_log: false,
            needs_snapshot: false,
        }
    }

    /// Whether the stream is being received.
    pub fn is_online(&self) -> bool {
        matches!(self.progress, Progress::Online(_))
    }

    /// The name of the state in `ROLE`.
    pub fn state(&self) -> &'static str {
        match &self.progress {
            Progress::Apart => "connect",
            Progress::Linking(linking) => linking.link.state(),
            Progress::Loading(_) => "sync",
            Progress::Online(_) => "connected",
        }
    }

    /// The progress of a snapshot: received bytes, and its length if known.
    pub fn transfer(&self) -> Option<(u64, Option<u64>)> {
        match &self.progress {
            Progress::Linking(linking) if linking.link.is_transferring() => Some(linking.link.progress()),
            Progress::Loading(linking) => Some(linking.link.progress()),
            _ => None,
        }
    }
}
