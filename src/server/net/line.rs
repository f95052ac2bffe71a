//! The part of a connection that an I/O thread can own: the channel, and the bytes that have been received but not
//! executed, or written but not sent.
//!
//! A [`Line`] is with the main thread, in its [`Client`](super::client::Client), or with an I/O thread. Then the client
//! has an [`Away`] instead: the figures that the thread has last reported, and output that was written after the line
//! was recalled. A line moves whole, so it is never used by two threads.

use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use super::batch::argument_bytes;
use super::pending::Pending;
use super::query::Query;
use super::sheet::{MAX_SEND, Sheet};
use super::transport::Transport;

/// See the module's head.
pub struct Line {
    /// The channel that the client's bytes come from and go to.
    pub transport: Transport,
    /// A partially received request.
    pub query: Option<Box<Query>>,
    /// Output that the socket has not accepted yet.
    pub pending: Option<Box<Pending>>,
    /// Whether the latest input ended in a large argument: the next receive reads less, since another may follow.
    pub sends_large: bool,
}

impl Line {
    /// Creates the line of a new connection.
    pub fn new(transport: Transport) -> Line {
        Line { transport, query: None, pending: None, sends_large: false }
    }

    /// Whether there is output that the socket has not accepted and that may be sent.
    pub fn is_sendable(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_sendable()) || self.transport.has_unsent()
    }

    /// Sends a chain of a sheet, as much of it as the socket accepts now, and queues the rest. Returns how many bytes
    /// were sent.
    ///
    /// # Errors
    /// The connection has failed.
    #[inline(always)]
    pub fn send_chain(&mut self, sheet: &Sheet, head: usize) -> io::Result<usize> {
        let bytes = sheet.segment(head).1;
        let mut sent = 0;
        if self.pending.is_none() && !sheet.has_splices(head) {
            let has_next = sheet.has_next(head);
            let taken = if has_next {
                let (slices, count) = sheet.slices(head);
                self.transport.send_vectored(&slices[..count])
            } else {
                self.transport.send(&bytes[..bytes.len().min(MAX_SEND)])
            };
            match taken {
                Ok(count) => sent = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if sent == bytes.len() && !has_next || sent == sheet.chain_bytes(head) {
                return Ok(sent);
            }
        }
        self.queue_chain(sheet, head, sent)
    }

    /// Queues a chain without its first `sent` bytes. Returns how many bytes of it have been sent now.
    fn queue_chain(&mut self, sheet: &Sheet, head: usize, sent: usize) -> io::Result<usize> {
        let is_new = self.pending.is_none();
        sheet.queue_chain(head, sent, self.pending.get_or_insert_default());
        // Shared values have not been tried yet: send them at once. For other output, the socket has just refused more.
        Ok(sent + if is_new && sheet.has_splices(head) { self.send_pending()? } else { 0 })
    }

    /// Sends pending output, up to its share of an iteration. Returns how many bytes the socket has accepted.
    ///
    /// # Errors
    /// The connection has failed.
    pub fn send_pending(&mut self) -> io::Result<usize> {
        let Some(pending) = &mut self.pending else { return Ok(0) };
        let sent = match pending.send(&mut self.transport) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if pending.is_empty() {
            self.pending = None;
        }
        Ok(sent)
    }

    /// Total length of the whole arguments of the incomplete request. O(arguments).
    pub fn argument_bytes(&self) -> usize {
        self.query.as_ref().map_or(0, |query| argument_bytes(query.partial.spans(), &query.blocks))
    }

    /// Returns the sizes of its buffers, if it has any. O(arguments of the incomplete request and pieces of output).
    pub fn figures(&self) -> Option<Box<Figures>> {
        if self.query.is_none() && self.pending.is_none() && !self.transport.is_encrypted() {
            return None;
        }
        let mut figures = Figures { encryption_memory: self.transport.memory_bytes(), ..Figures::default() };
        if let Some(query) = &self.query {
            figures.received = query.len();
            figures.unparsed = query.unparsed_len();
            figures.arguments = self.argument_bytes();
            figures.query_memory = query.memory_bytes();
            figures.room = query.ring.capacity() - query.ring.len();
        }
        if let Some(pending) = &self.pending {
            figures.unsent = pending.bytes();
            figures.pieces = pending.pieces();
            figures.output_memory = pending.memory_bytes();
        }
        Some(Box::new(figures))
    }
}

/// The sizes of a line's buffers, in bytes unless said otherwise.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Received and not executed.
    pub received: usize,
    /// The part of `received` that is not whole arguments.
    pub unparsed: usize,
    /// Whole arguments of the incomplete request.
    pub arguments: usize,
    /// Memory of the query buffer.
    pub query_memory: usize,
    /// Free room in the query buffer's ring.
    pub room: usize,
    /// Output that waits for the socket.
    pub unsent: usize,
    /// The number of pieces that it consists of.
    pub pieces: usize,
    /// Memory of that output.
    pub output_memory: usize,
    /// Memory of the TLS session.
    pub encryption_memory: usize,
}

impl Figures {
    /// Memory of all of it.
    pub fn memory_bytes(&self) -> usize {
        self.query_memory + self.output_memory + self.encryption_memory
    }
}

/// What the main thread keeps of a line that is with an I/O thread.
pub struct Away {
    /// The index of the I/O thread.
    pub thread: usize,
    /// The descriptor. Only the main thread has it closed, so it names this connection as long as the client exists.
    pub fd: RawFd,
    /// Whether the connection uses TLS.
    pub is_encrypted: bool,
    /// The sizes of its buffers, as the I/O thread has last reported them; `None` if it has no buffers.
    pub figures: Option<Box<Figures>>,
    /// Whether the thread was ordered to return the line.
    pub is_recalled: bool,
    /// Output that was written after that: it follows the output that the line returns with.
    pub pending: Option<Box<Pending>>,
    /// Since when the unsent output has been over the soft limit, Unix milliseconds.
    pub over_soft_limit_since: Option<i64>,
}

impl Away {
    /// The sizes of the line's buffers, as the I/O thread has last reported them.
    pub fn figures(&self) -> Figures {
        self.figures.as_deref().copied().unwrap_or_default()
    }

    /// Bytes of memory, without [`Away::pending`].
    pub fn memory_bytes(&self) -> usize {
        let figures =
            self.figures.as_ref().map_or(0, |figures| size_of::<Figures>() + figures.memory_bytes());
        size_of::<Self>() + figures
    }
}

/// The place of a client's line.
pub enum Seat {
    /// With the main thread.
    Here(Line),
    /// With an I/O thread.
    Away(Box<Away>),
}
