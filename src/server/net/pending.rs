//! Output that one client's socket has not accepted: a queue of bytes and shared blocks.
//!
//! The end of the queue may be *withheld*: it consists of parts, each of which waits until replicas have acknowledged an
//! offset of the stream (`min-replicas-to-ack`). They are released in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::sheet::{MAX_PIECES, MAX_SEND};
use super::transport::Transport;
use crate::types::block::Block;

/// A chunk of the queue is filled up to this size before the next one begins.
const CHUNK: usize = 16 * 1024;

enum Piece {
    Bytes(Vec<u8>),
    /// A value, and the bytes of memory that were counted for it.
    Block(Block, usize),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Block(block, _) => block.as_slice(),
        }
    }

    /// Returns the bytes of memory; a shared value counts with this owner's share.
    fn memory_bytes(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.capacity(),
            Piece::Block(block, _) => share_of(block),
        }
    }

    /// Returns the bytes of memory that have been counted.
    fn counted_bytes(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.capacity(),
            Piece::Block(_, counted) => *counted,
        }
    }
}

/// Returns one owner's share of a block's memory.
fn share_of(block: &Block) -> usize {
    block.memory_bytes() / block.owners()
}

/// Output that one client's socket has not accepted yet.
#[derive(Default)]
pub struct Pending {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have been sent.
    sent: usize,
    bytes: usize,
    /// Bytes of memory counted for all pieces.
    counted: usize,
    /// The withheld parts: the offset that each waits for, and its bytes.
    withheld: VecDeque<(u64, usize)>,
    /// The bytes of all of them.
    withheld_bytes: usize,
    /// Since when the queue has been over the soft limit, Unix milliseconds.
    pub over_soft_limit_since: Option<i64>,
}

impl Pending {
    /// Bytes that wait to be sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pieces that wait to be sent.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Returns the bytes of memory; a shared value counts with this owner's share. O(pieces).
    pub fn memory_bytes(&self) -> usize {
        self.table_bytes() + self.pieces.iter().map(Piece::memory_bytes).sum::<usize>()
    }

    /// Returns the bytes of memory; a shared value counts with its share when it was queued or last
    /// recounted. O(1).
    pub fn counted_bytes(&self) -> usize {
        self.table_bytes() + self.counted
    }

    fn table_bytes(&self) -> usize {
        size_of::<Self>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.withheld.capacity() * size_of::<(u64, usize)>()
    }

    /// Recounts shared values by their current share. O(pieces).
    pub fn recount(&mut self) {
        for piece in &mut self.pieces {
            if let Piece::Block(block, counted) = piece {
                let share = share_of(block);
                self.counted = self.counted - *counted + share;
                *counted = share;
            }
        }
    }

    /// Whether there are bytes that may be sent now.
    pub fn is_sendable(&self) -> bool {
        self.bytes > self.withheld_bytes
    }

    /// Withholds what is appended from now on until `offset` is released. Returns whether that is a part of its own.
    pub fn withhold(&mut self, offset: u64) -> bool {
        if self.withheld.back().is_some_and(|(last, _)| *last == offset) {
            return false;
        }
        self.withheld.push_back((offset, 0));
        true
    }

    /// Releases the oldest withheld part.
    pub fn release(&mut self) {
        if let Some((_, bytes)) = self.withheld.pop_front() {
            self.withheld_bytes -= bytes;
        }
    }

    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a copy of `bytes`.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.add_bytes(bytes.len());
        if let Some(Piece::Bytes(last)) = self.pieces.back_mut()
            && last.len() + bytes.len() <= CHUNK
        {
            let capacity = last.capacity();
            last.extend_from_slice(bytes);
            self.counted += last.capacity() - capacity;
            return;
        }
        let mut chunk = Vec::with_capacity(bytes.len().max(CHUNK.min(bytes.len() * 4)));
        chunk.extend_from_slice(bytes);
        self.counted += chunk.capacity();
        self.pieces.push_back(Piece::Bytes(chunk));
    }

    /// Appends a value without copying it.
    pub fn push_block(&mut self, block: Block) {
        if !block.is_empty() {
            let share = share_of(&block);
            self.add_bytes(block.len());
            self.counted += share;
            self.pieces.push_back(Piece::Block(block, share));
        }
    }

    /// Appends another queue. This one withholds nothing.
    pub fn append(&mut self, other: Pending) {
        assert!(self.withheld.is_empty(), "what is withheld is at the end");
        assert_eq!(other.sent, 0, "nothing of it has been sent");
        self.pieces.extend(other.pieces);
        self.bytes += other.bytes;
        self.counted += other.counted;
        self.withheld = other.withheld;
        self.withheld_bytes = other.withheld_bytes;
    }

    /// Adds to the length, and to that of the last withheld part.
    fn add_bytes(&mut self, count: usize) {
        self.bytes += count;
        if let Some((_, bytes)) = self.withheld.back_mut() {
            *bytes += count;
            self.withheld_bytes += count;
        }
    }

    /// Sends up to [`MAX_SEND`] bytes, none of them withheld, and returns how many the socket accepted.
    pub fn send(&mut self, transport: &mut Transport) -> io::Result<usize> {
        const EMPTY: &[u8] = &[];
        let mut slices = [IoSlice::new(EMPTY); MAX_PIECES];
        let mut count = 0;
        let mut left = MAX_SEND.min(self.bytes - self.withheld_bytes);
        if left == 0 {
            return Ok(0);
        }
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
        let taken = transport.send_vectored(&slices[..count])?;
        self.advance(taken);
        Ok(taken)
    }

    fn advance(&mut self, mut taken: usize) {
        self.bytes = self.bytes.checked_sub(taken).expect("a socket takes no more than waits");
        while taken > 0 {
            let left = self.pieces[0].as_slice().len() - self.sent;
            if taken < left {
                self.sent += taken;
                break;
            }
            taken -= left;
            self.sent = 0;
            let sent = self.pieces.pop_front();
            self.counted -= sent.map_or(0, |piece| piece.counted_bytes());
        }
        assert!(self.pieces.is_empty() == (self.bytes == 0), "the pieces are what waits");
    }
}

#[cfg(test)]
impl Pending {
    /// Returns all bytes that wait, for tests.
    pub fn content(&self) -> Vec<u8> {
        let all: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.as_slice().iter().copied()).collect();
        all[self.sent..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::net::Socket;
    use crate::tls::Channel;

    #[test]
    fn withheld_parts_are_sent_when_they_are_released_in_their_order() {
        let (mut far, near) = UnixStream::pair().unwrap();
        let mut transport = Transport::new(Channel::plain(Socket::new(near).unwrap()));
        let mut pending = Pending::default();
        let mut received = |pending: &mut Pending| {
            let count = pending.send(&mut transport).unwrap();
            let mut bytes = vec![0; count];
            far.read_exact(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        pending.push_bytes(b"free ");
        assert!(pending.withhold(10));
        pending.push_bytes(b"one ");
        assert!(!pending.withhold(10), "the same part");
        pending.push_block(Block::from(&b"block "[..]));
        assert!(pending.withhold(20));
        pending.push_bytes(b"two");
        assert_eq!((pending.bytes(), pending.is_sendable()), (18, true));
        assert_eq!(received(&mut pending), "free ");
        assert_eq!((received(&mut pending), pending.is_sendable()), (String::new(), false));
        pending.release();
        assert_eq!(received(&mut pending), "one block ");
        pending.release();
        assert_eq!(received(&mut pending), "two");
        pending.release();
        pending.push_bytes(b"free");
        assert!(pending.is_sendable() && !pending.is_empty());
        assert_eq!((received(&mut pending), pending.is_empty()), ("free".into(), true));
    }
}
