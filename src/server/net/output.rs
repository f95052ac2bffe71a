//! Output: one buffer for all replies of an iteration, and a queue for the client whose socket does not take all.
//!
//! ```text
//!   buffer   | +OK\r\n+OK\r\n | $3\r\nbar\r\n | $10485760\r\n ^ \r\n | …
//!   segments   client 4         client 9        client 2    |
//!   splices                                                 +-- a block of 10 MB, sent from where it lies
//! ```
//!
//! At the end of the iteration (or before, when there is much), after what has to be durable is, each segment is sent
//! with one call from the shared buffer. Bytes that several clients get (`MONITOR`) stand there once, in a segment of
//! each. Only what a socket refuses moves to that client's own queue. One call sends at most [`MAX_SEND`] bytes for a
//! client, so that one that fetches large values takes turns with the others.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::command::Splice;
use crate::sys::net::Socket;
use crate::sys::poller::Token;
use crate::types::block::Block;

/// The most that is sent to one client in an iteration.
pub const MAX_SEND: usize = 128 * 1024;

/// Pieces handed to one `writev`.
const MAX_PIECES: usize = 64;

/// A chunk of a queue is filled up to this size before the next one begins.
const CHUNK: usize = 16 * 1024;

/// From this many bytes of replies on an iteration sends before it serves further clients: the buffer stays in the cache,
/// and a few clients with large replies do not make it grow until the kernel has to provide fresh pages each time.
const SEND_AT: usize = 256 * 1024;

/// The replies of this iteration.
#[derive(Default)]
pub struct Output {
    /// Bytes of all clients, in the order of execution.
    pub buffer: Vec<u8>,
    /// Large values between them.
    pub splices: Vec<Splice>,
    segments: Vec<(Token, usize, usize)>,
    /// Where the segment that is being written begins.
    open: usize,
    turn: Turn,
}

/// How much the client that is being served may write.
#[derive(Default)]
struct Turn {
    /// The length of the buffer at which it is over.
    end: usize,
    /// How many large values there were when it began.
    splices: usize,
}

impl Output {
    /// What is written from here on belongs to the next client whose segment is closed.
    pub fn open_segment(&mut self) {
        self.open = self.buffer.len();
    }

    /// A client has its turn, which is over when its commands have written `most` bytes.
    pub fn begin_turn(&mut self, most: usize) {
        self.turn = Turn { end: self.buffer.len() + most, splices: self.splices.len() };
        self.open_segment();
    }

    /// Whether the turn has written as much as it may. Replies to clients that its commands have woken count as well.
    #[inline(always)]
    pub fn turn_is_over(&self) -> bool {
        self.buffer.len() >= self.turn.end
            || (self.splices.len() > self.turn.splices && self.turn_is_over_with_splices())
    }

    #[cold]
    fn turn_is_over_with_splices(&self) -> bool {
        let spliced: usize = self.splices[self.turn.splices..].iter().map(|splice| splice.block.len()).sum();
        self.buffer.len() + spliced >= self.turn.end
    }

    /// Says that the bytes since the last opening or closing are `client`'s.
    pub fn close_segment(&mut self, client: Token) {
        let (start, end) = (self.open, self.buffer.len());
        self.open = end;
        if end == start {
            return;
        }
        match self.segments.last_mut() {
            Some((last, _, last_end)) if *last == client && *last_end == start => *last_end = end,
            _ => self.segments.push((client, start, end)),
        }
    }

    /// Appends `bytes`, which are for each of `clients`. No segment may be open.
    pub fn share(&mut self, bytes: &[u8], clients: impl Iterator<Item = Token>) {
        debug_assert_eq!(self.open, self.buffer.len(), "bytes of a client would become everybody's");
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        let end = self.buffer.len();
        self.segments.extend(clients.map(|client| (client, start, end)));
        self.open = end;
    }

    /// Whether `client` has a segment from `first` on. Searches from the end: O(1) for the client that has written last.
    pub fn has_segment(&self, client: Token, first: usize) -> bool {
        self.segments[first..].iter().rev().any(|(owner, ..)| *owner == client)
    }

    /// Takes back what was written from `start` on.
    pub fn truncate(&mut self, start: usize) {
        self.buffer.truncate(start);
        while self.splices.last().is_some_and(|splice| splice.at > start) {
            self.splices.pop();
        }
    }

    /// How many segments wait.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The segment `index`: its client and its bytes.
    pub fn segment(&self, index: usize) -> (Token, &[u8]) {
        let (client, start, end) = self.segments[index];
        (client, &self.buffer[start..end])
    }

    /// Moves the segment `index`, but for its first `skip` bytes, to a queue, large values included.
    pub fn queue_segment(&self, index: usize, skip: usize, pending: &mut Pending) {
        let (_, start, end) = self.segments[index];
        let mut from = start + skip;
        let first = self.splices.partition_point(|splice| splice.at <= start);
        for splice in self.splices[first..].iter().take_while(|splice| splice.at < end) {
            pending.push_bytes(&self.buffer[from..splice.at]);
            pending.push_block(splice.block.share());
            from = splice.at;
        }
        pending.push_bytes(&self.buffer[from..end]);
    }

    /// Whether it should be sent without waiting for the end of the iteration.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.buffer.len() > SEND_AT
    }

    /// Whether large values belong into segment `index`.
    pub fn has_splices(&self, index: usize) -> bool {
        if self.splices.is_empty() {
            return false;
        }
        let (_, start, end) = self.segments[index];
        let first = self.splices.partition_point(|splice| splice.at <= start);
        self.splices.get(first).is_some_and(|splice| splice.at < end)
    }

    /// Bytes of the segment `index`, with the large values in it.
    pub fn segment_bytes(&self, index: usize) -> usize {
        let (_, start, end) = self.segments[index];
        let first = self.splices.partition_point(|splice| splice.at <= start);
        let splices = self.splices[first..].iter().take_while(|splice| splice.at < end);
        end - start + splices.map(|splice| splice.block.len()).sum::<usize>()
    }

    /// Starts the next iteration. A buffer that one iteration made large is given back.
    pub fn clear(&mut self) {
        const KEEP: usize = 1024 * 1024;
        self.segments.clear();
        self.splices.clear();
        self.buffer.clear();
        self.open = 0;
        self.turn = Turn::default();
        if self.buffer.capacity() > KEEP {
            self.buffer.shrink_to(KEEP);
        }
    }
}

enum Piece {
    Bytes(Vec<u8>),
    Block(Block),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Block(block) => block.as_slice(),
        }
    }
}

/// What one client's socket did not take yet.
#[derive(Default)]
pub struct Pending {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have been sent.
    sent: usize,
    bytes: usize,
    /// Since when, Unix milliseconds, the queue has been over the soft limit.
    pub over_soft_limit_since: Option<i64>,
}

impl Pending {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pieces that wait.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Whether all has been sent.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a copy of `bytes`.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        if let Some(Piece::Bytes(last)) = self.pieces.back_mut()
            && last.len() + bytes.len() <= CHUNK
        {
            last.extend_from_slice(bytes);
            return;
        }
        let mut chunk = Vec::with_capacity(bytes.len().max(CHUNK.min(bytes.len() * 4)));
        chunk.extend_from_slice(bytes);
        self.pieces.push_back(Piece::Bytes(chunk));
    }

    /// Appends a value without copying it.
    pub fn push_block(&mut self, block: Block) {
        if !block.is_empty() {
            self.bytes += block.len();
            self.pieces.push_back(Piece::Block(block));
        }
    }

    /// Sends up to [`MAX_SEND`] bytes and returns how many the socket took.
    pub fn send(&mut self, socket: &Socket) -> io::Result<usize> {
        const EMPTY: &[u8] = &[];
        let mut slices = [IoSlice::new(EMPTY); MAX_PIECES];
        let mut count = 0;
        let mut left = MAX_SEND;
        let mut skip = self.sent;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let bytes = &piece.as_slice()[skip..];
            skip = 0;
            *slice = IoSlice::new(&bytes[..bytes.len().min(left)]);
            left -= slice.len();
            count += 1;
            if left == 0 {
                break;
            }
        }
        let taken = socket.send_vectored(&slices[..count])?;
        self.advance(taken);
        Ok(taken)
    }

    fn advance(&mut self, mut taken: usize) {
        self.bytes -= taken;
        while taken > 0 {
            let left = self.pieces[0].as_slice().len() - self.sent;
            if taken < left {
                self.sent += taken;
                return;
            }
            taken -= left;
            self.sent = 0;
            self.pieces.pop_front();
        }
    }
}
