//! The primary of this server, if it is a replica, and how far the connection to it has come.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::replication::history::Id;
use crate::replication::link::Link;
use crate::sys::net::Socket;
use crate::sys::poller::Token;

/// A connection that is not a client's yet: the handshake, and the snapshot.
pub struct Linking {
    /// The socket.
    pub socket: Socket,
    /// The protocol.
    pub link: Link,
    /// What the socket has not taken.
    pub unsent: Vec<u8>,
    /// Whether the connection stands.
    pub is_connected: bool,
    /// The history of the snapshot that comes.
    pub history: Option<(Id, i64)>,
    /// The file that the snapshot is written to.
    pub spool: Option<Spool>,
}

/// The file that a snapshot is received into. It is removed if it is not kept.
pub struct Spool {
    file: File,
    path: Option<PathBuf>,
}

impl Spool {
    /// Creates a file.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: PathBuf) -> io::Result<Spool> {
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        Ok(Spool { file, path: Some(path) })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The disk refuses them.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the file durable, and gives it up to the caller.
    ///
    /// # Errors
    /// The disk refuses to.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        Ok(self.path.take().expect("it is given up once"))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// How far the connection to a primary has come.
pub enum Progress {
    /// It is to be made when cron runs next.
    Apart,
    /// See [`Linking`].
    Linking(Box<Linking>),
    /// The snapshot is being loaded; the stream that follows it waits in the socket.
    Loading(Box<Linking>),
    /// The stream comes, through this client.
    Online(Token),
}

/// See the module's head.
pub struct Upstream {
    /// Where it is.
    pub host: String,
    /// See [`Upstream::host`].
    pub port: u16,
    /// How far the connection has come.
    pub progress: Progress,
    /// When something was last received, milliseconds of the wall clock; 0: never.
    pub heard_ms: i64,
    /// Since when there is no connection, Unix seconds.
    pub down_since: Option<i64>,
    /// The database that the stream has selected.
    pub db: usize,
    /// When the primary was last sent what was applied.
    pub acknowledged_ms: i64,
    /// The log was ended for the snapshot, and is to begin again when it is loaded.
    pub restarts_log: bool,
    /// Whether the data is not that of the history any more, since loading a snapshot has failed.
    pub needs_snapshot: bool,
}

impl Upstream {
    /// A primary that was not connected to yet.
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

    /// Whether the stream comes.
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

    /// The transfer of a snapshot: bytes that came, and how many it has if that is known.
    pub fn transfer(&self) -> Option<(u64, Option<u64>)> {
        match &self.progress {
            Progress::Linking(linking) if linking.link.is_transferring() => Some(linking.link.progress()),
            Progress::Loading(linking) => Some(linking.link.progress()),
            _ => None,
        }
    }
}
