//! A sheet of output: the bytes for all clients, and who gets which of them.
//!
//! [`Output`](super::output::Output) writes a sheet. Once it is arranged, it is only read: by the main thread, which
//! sends it, or by I/O threads, each of which sends the chains of its own lines. The last one to need a sheet gives it
//! back to be written again.

use std::io::IoSlice;

use super::pending::Pending;
use crate::command::Splice;
use crate::sys::poller::Token;

/// The most that is sent to one client in an iteration.
pub const MAX_SEND: usize = 128 * 1024;

/// Pieces handed to one `writev`.
pub const MAX_PIECES: usize = 64;

/// Marks the end of a chain of segments.
pub const NONE: u32 = u32::MAX;

/// Replies to a client: the bytes of the buffer from the first position to the second.
pub type Segment = (Token, usize, usize);

/// See the module's head.
#[derive(Default)]
pub struct Sheet {
    /// The bytes for all clients, in the order of execution.
    pub buffer: Vec<u8>,
    /// Large values to insert between these bytes.
    pub splices: Vec<Splice>,
    /// Replies, in order.
    pub segments: Vec<Segment>,
    /// Whether there were messages, in which case a client may have many segments.
    pub has_shares: bool,
    /// After [`Output::arrange`](super::output::Output::arrange): the first segment of each client, and for each segment
    /// the next one of its client.
    pub heads: Vec<u32>,
    pub next: Vec<u32>,
    /// By the index of an I/O thread, the heads of the chains that it sends.
    pub heads_by_thread: Vec<Vec<u32>>,
}

impl Sheet {
    /// Empties it, to be written again.
    pub fn clear(&mut self) {
        const KEEP: usize = 64 * 1024;
        self.buffer.clear();
        self.splices.clear();
        self.segments.clear();
        for heads in &mut self.heads_by_thread {
            heads.clear();
            heads.shrink_to(KEEP);
        }
        if std::mem::take(&mut self.has_shares) {
            self.heads.clear();
            self.next.clear();
            self.heads.shrink_to(KEEP);
            self.next.shrink_to(KEEP);
            self.segments.shrink_to(KEEP);
        }
    }

    /// Returns the first segment of a chain.
    pub fn head(&self, chain: usize) -> usize {
        if self.has_shares { self.heads[chain] as usize } else { chain }
    }

    /// Whether more segments follow `segment` in its chain.
    pub fn has_next(&self, segment: usize) -> bool {
        self.next.get(segment).is_some_and(|next| *next != NONE)
    }

    /// Iterates over the segments of the chain that begins with `head`.
    pub fn chain(&self, head: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(head), |segment| {
            self.next.get(*segment).filter(|next| **next != NONE).map(|next| *next as usize)
        })
    }

    /// Returns segment `index`: its client and its bytes.
    pub fn segment(&self, index: usize) -> (Token, &[u8]) {
        let (client, start, end) = self.segments[index];
        (client, &self.buffer[start..end])
    }

    /// Returns the first [`MAX_SEND`] bytes of a chain without large values as slices for one `writev`, and their
    /// number.
    pub fn slices(&self, head: usize) -> ([IoSlice<'_>; MAX_PIECES], usize) {
        const EMPTY: &[u8] = &[];
        let mut slices = [IoSlice::new(EMPTY); MAX_PIECES];
        let (mut count, mut left) = (0, MAX_SEND);
        for (slice, segment) in slices.iter_mut().zip(self.chain(head)) {
            let bytes = self.segment(segment).1;
            *slice = IoSlice::new(&bytes[..bytes.len().min(left)]);
            left -= slice.len();
            count += 1;
            if left == 0 {
                break;
            }
        }
        (slices, count)
    }

    /// Moves a chain, without its first `skip` bytes, to a queue, including its large values.
    pub fn queue_chain(&self, head: usize, mut skip: usize, pending: &mut Pending) {
        for segment in self.chain(head) {
            let len = self.segment(segment).1.len();
            if skip < len {
                self.queue_segment(segment, skip, pending);
            }
            skip = skip.saturating_sub(len);
        }
    }

    fn queue_segment(&self, index: usize, skip: usize, pending: &mut Pending) {
        let (_, start, end) = self.segments[index];
        let mut from = start + skip;
        assert!(start <= from && from <= end && end <= self.buffer.len(), "a segment lies in the buffer");
        for splice in self.splices_of(index) {
            assert!((from..=end).contains(&splice.at), "values stand in their order, none was sent");
            pending.push_bytes(&self.buffer[from..splice.at]);
            pending.push_block(splice.block.share());
            from = splice.at;
        }
        pending.push_bytes(&self.buffer[from..end]);
    }

    /// Whether a chain contains large values.
    pub fn has_splices(&self, head: usize) -> bool {
        !self.splices.is_empty() && self.chain(head).any(|segment| self.splices_of(segment).next().is_some())
    }

    /// Iterates over the large values of a segment.
    fn splices_of(&self, segment: usize) -> impl Iterator<Item = &Splice> {
        let (_, start, end) = self.segments[segment];
        self.splices_between(start, end)
    }

    pub fn splices_between(&self, start: usize, end: usize) -> impl Iterator<Item = &Splice> {
        let first = self.splices.partition_point(|splice| splice.at <= start);
        self.splices[first..].iter().take_while(move |splice| splice.at < end)
    }

    /// Returns the bytes of the large values between two positions.
    pub fn spliced_bytes(&self, start: usize, end: usize) -> usize {
        self.splices_between(start, end).map(|splice| splice.block.len()).sum()
    }

    /// Returns the bytes of a chain, including its large values.
    pub fn chain_bytes(&self, head: usize) -> usize {
        let bytes = |segment| {
            let (_, start, end) = self.segments[segment];
            end - start + self.spliced_bytes(start, end)
        };
        self.chain(head).map(bytes).sum()
    }
}
