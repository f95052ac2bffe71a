//! What one client's socket did not take: a queue of bytes and of shared blocks.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::output::{MAX_PIECES, MAX_SEND};
use crate::sys::net::Socket;
use crate::types::block::Block;

/// A chunk of a queue is filled up to this size before the next one begins.
const CHUNK: usize = 16 * 1024;

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

    /// Bytes of memory. Of a value that others refer to as well, its share counts. O(pieces).
    pub fn memory_bytes(&self) -> usize {
        let of = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.capacity(),
            Piece::Block(block) => block.memory_bytes() / block.owners(),
        };
        self.pieces.capacity() * size_of::<Piece>() + self.pieces.iter().map(of).sum::<usize>()
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

#[cfg(test)]
impl Pending {
    /// All that waits, for tests.
    pub fn content(&self) -> Vec<u8> {
        let all: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.as_slice().iter().copied()).collect();
        all[self.sent..].to_vec()
    }
}
