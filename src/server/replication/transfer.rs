//! A snapshot that a child writes to a pipe, and that the server sends to several replicas at once.
//!
//! ```text
//!   child ─▶ pipe ─▶ chunk ─┬▶ a replica, which has taken all of it
//!                           └▶ another, which has taken a part; the next chunk is read when it has the rest
//! ```
//!
//! The slowest replica therefore sets the pace, and only one chunk is in memory.

use std::io::{self, PipeReader, Read};

use crate::sys::poller::Token;

/// Bytes per read from the pipe.
const CHUNK: usize = 64 << 10;

/// A diskless transfer of a snapshot.
pub struct Transfer {
    /// The read end of the pipe; `None` after its end.
    pub pipe: Option<PipeReader>,
    /// The last bytes read.
    chunk: Vec<u8>,
    /// The replicas, and the number of bytes of the chunk that each has received.
    receivers: Vec<(Token, usize)>,
    /// Whether the pipe is watched.
    pub is_watched: bool,
    /// Whether the child has written everything.
    pub has_succeeded: Option<bool>,
}

impl Transfer {
    /// Returns a transfer of the snapshot in `pipe` to these replicas.
    pub fn new(pipe: PipeReader, receivers: impl Iterator<Item = Token>) -> Transfer {
        Transfer {
            pipe: Some(pipe),
            chunk: Vec::new(),
            receivers: receivers.map(|token| (token, 0)).collect(),
            is_watched: false,
            has_succeeded: None,
        }
    }

    /// The replicas that receive the snapshot.
    pub fn receivers(&self) -> impl Iterator<Item = Token> {
        self.receivers.iter().map(|(token, _)| *token)
    }

    /// Removes a disconnected replica.
    pub fn remove(&mut self, token: Token) {
        self.receivers.retain(|(receiver, _)| *receiver != token);
    }

    /// The part of the chunk that a replica has not received yet.
    pub fn rest(&self, token: Token) -> &[u8] {
        let taken = self.receivers.iter().find(|(receiver, _)| *receiver == token).map(|(_, taken)| *taken);
        taken.map_or(&[], |taken| &self.chunk[taken..])
    }

    /// Records that a replica has received `count` more bytes.
    pub fn take(&mut self, token: Token, count: usize) {
        if let Some((_, taken)) = self.receivers.iter_mut().find(|(receiver, _)| *receiver == token) {
            *taken += count;
            assert!(*taken <= self.chunk.len(), "taken more than the chunk");
        }
    }

    /// Whether all replicas have received the whole chunk.
    pub fn is_taken(&self) -> bool {
        self.receivers.iter().all(|(_, taken)| *taken == self.chunk.len())
    }

    /// Reads the next chunk, after all replicas have received the last one. Returns false if none is available.
    ///
    /// # Errors
    /// The pipe cannot be read.
    pub fn read(&mut self) -> io::Result<bool> {
        let Some(pipe) =
            self.pipe.as_mut().filter(|_| self.receivers.iter().all(|(_, t)| *t == self.chunk.len()))
        else {
            return Ok(false);
        };
        self.chunk.resize(CHUNK, 0);
        let read = pipe.read(&mut self.chunk);
        let count = read.as_ref().map_or(0, |count| *count);
        self.chunk.truncate(count);
        for (_, taken) in &mut self.receivers {
            *taken = 0;
        }
        match read {
            Ok(0) => {
                self.pipe = None;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
