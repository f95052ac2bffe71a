//! A snapshot that a child writes into a pipe, on its way to several replicas at once.
//!
//! ```text
//!   child ─▶ pipe ─▶ chunk ─┬▶ a replica, which has taken all of it
//!                           └▶ another, which has taken a part: the next chunk is read when it has the rest
//! ```
//!
//! So the slowest replica sets the pace, and memory is one chunk.

use std::io::{self, PipeReader, Read};

use crate::sys::poller::Token;

/// Bytes that are read from the pipe at once.
const CHUNK: usize = 64 << 10;

/// See the module's head.
pub struct Transfer {
    /// The end of the pipe from which the snapshot comes; `None` when it has ended.
    pub pipe: Option<PipeReader>,
    /// What has come last.
    chunk: Vec<u8>,
    /// The replicas, and how much of the chunk each has taken.
    receivers: Vec<(Token, usize)>,
    /// Whether the pipe is watched.
    pub is_watched: bool,
    /// Whether the child has written all.
    pub has_succeeded: Option<bool>,
}

impl Transfer {
    /// Of the snapshot that comes from `pipe`, to these replicas.
    pub fn new(pipe: PipeReader, receivers: impl Iterator<Item = Token>) -> Transfer {
        Transfer {
            pipe: Some(pipe),
            chunk: Vec::new(),
            receivers: receivers.map(|token| (token, 0)).collect(),
            is_watched: false,
            has_succeeded: None,
        }
    }

    /// The replicas that receive it.
    pub fn receivers(&self) -> impl Iterator<Item = Token> {
        self.receivers.iter().map(|(token, _)| *token)
    }

    /// A replica is gone.
    pub fn remove(&mut self, token: Token) {
        self.receivers.retain(|(receiver, _)| *receiver != token);
    }

    /// What a replica has not taken of the chunk.
    pub fn rest(&self, token: Token) -> &[u8] {
        let taken = self.receivers.iter().find(|(receiver, _)| *receiver == token).map(|(_, taken)| *taken);
        taken.map_or(&[], |taken| &self.chunk[taken..])
    }

    /// A replica has taken `count` bytes more.
    pub fn take(&mut self, token: Token, count: usize) {
        if let Some((_, taken)) = self.receivers.iter_mut().find(|(receiver, _)| *receiver == token) {
            *taken += count;
            assert!(*taken <= self.chunk.len(), "a replica takes what there is");
        }
    }

    /// Whether all replicas have taken the whole chunk.
    pub fn is_taken(&self) -> bool {
        self.receivers.iter().all(|(_, taken)| *taken == self.chunk.len())
    }

    /// Reads the next chunk, when the last one is taken. Returns false if none has come.
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
