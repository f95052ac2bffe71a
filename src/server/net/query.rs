//! The received part of a client's unfinished request, and how the following bytes are received.

use std::io;

use super::transport::Transport;
use crate::resp::{BIG_ARGUMENT, MAX_PIECE, MAX_PIECE_START, Partial, Span};
use crate::sys::ring::Ring;
use crate::types::block::Block;

/// The most bytes that one receive reads from a client.
pub const READ: usize = 64 * 1024;
const _: () = assert!(BIG_ARGUMENT <= READ, "a smaller argument fits one receive");

/// The most bytes of a large argument that one receive reads.
pub const MAX_RECEIVE: usize = 256 * 1024;

/// The most bytes that one receive reads behind a large argument, or from a client that has just sent one: they may be
/// the start of the next large argument, and that start has to be copied.
pub const READ_BESIDE_LARGE: usize = 16 * 1024;

/// The block of a large argument has room for this many times the bytes that have arrived, so a client that merely
/// announces a length costs nothing.
const AHEAD: usize = 4;

/// Spare queries that are kept.
const MAX_SPARE: usize = 64;

/// The same for queries that have grown: with a spare one, a client that sends large values need not map one for each.
const MAX_SPARE_LARGE: usize = 2;

/// The initial size of a query's ring.
const SMALL_RING: usize = 16 * 1024;

/// The size of the ring of a query that has held more. One request needs no larger ring.
const LARGE_RING: usize = 128 * 1024;

/// An argument of at least this length that is moved out of the ring gets its own block, which a command may keep.
const OWN_BLOCK: usize = 4096;
const _: () = assert!(OWN_BLOCK <= MAX_PIECE, "a shorter argument can be a piece of a block");

/// Shorter arguments share blocks of at most this size, which including the header fit one slab of the allocator, not
/// two.
const SHARED_BLOCK: usize = 64 * 1024 - 64;
const _: () = assert!(SHARED_BLOCK <= MAX_PIECE_START);

/// The most blocks of finished requests that are freed at once: each is a cache miss.
pub const FEW_BLOCKS: usize = 1024;

/// A partially received request.
///
/// ```text
///   … $5\r\nvalue\r\n$6\r\nsec      the ring: arguments not moved out, the unfinished one last
///   [one][key][two] [large …]      the blocks: arguments that have arrived completely
/// ```
///
/// The ring does not grow with the request. When it is full, its arguments move into blocks. Each is copied once; a
/// large one gets its own block, which can become the value.
pub struct Query {
    /// The bytes from the start of the request on.
    pub ring: Ring,
    /// The parser's position.
    pub partial: Partial,
    /// Arguments outside of the ring.
    pub blocks: Vec<Block>,
    /// The memory of `blocks`, and how many bytes of it are used. Kept as sums, since a large request has thousands of
    /// blocks.
    block_bytes: usize,
    block_len: usize,
    /// The large argument that is being received.
    pub filling: Option<Filling>,
}

impl Query {
    /// Creates an empty query.
    pub fn new() -> Self {
        Query::with_ring(SMALL_RING)
    }

    /// Creates an empty query for the link to the primary, which sends more at a time than a client.
    pub fn of_link() -> Self {
        Query::with_ring(LARGE_RING)
    }

    fn with_ring(capacity: usize) -> Self {
        Query {
            ring: Ring::new(capacity),
            partial: Partial::default(),
            blocks: Vec::new(),
            block_bytes: 0,
            block_len: 0,
            filling: None,
        }
    }

    /// Whether it holds nothing, so that the client does not need it.
    pub fn is_idle(&self) -> bool {
        self.ring.is_empty() && self.blocks.is_empty() && self.filling.is_none() && self.partial.is_fresh()
    }

    /// Whether its ring has the initial size.
    fn is_small(&self) -> bool {
        self.ring.capacity() <= SMALL_RING
    }

    /// Whether its ring is no larger than one request requires.
    fn is_at_most_large(&self) -> bool {
        self.ring.capacity() <= LARGE_RING
    }

    /// Bytes received that have not been executed yet. O(1).
    pub fn len(&self) -> usize {
        self.ring.len() + self.block_len + self.filling.as_ref().map_or(0, |filling| filling.block.len())
    }

    /// The part of [`Query::len`] that is not whole arguments of the current request: `client-query-buffer-limit`
    /// limits it.
    pub fn unparsed_len(&self) -> usize {
        let filling = self.filling.as_ref().map_or(0, |filling| filling.block.len());
        self.ring.len().saturating_sub(self.partial.parsed_len()) + filling
    }

    /// Returns the bytes of memory used.
    pub fn memory_bytes(&self) -> usize {
        let filling = self.filling.as_ref().map_or(0, |filling| filling.block.memory_bytes());
        size_of::<Self>() + self.ring.capacity() + self.partial.memory() + self.block_bytes + filling
    }

    /// Receives bytes into the large argument, or otherwise into the ring.
    pub fn receive(&mut self, transport: &mut Transport, spare: &mut SpareQueries) -> io::Result<Received> {
        if let Some(filling) = &mut self.filling {
            return filling.receive(transport, &mut self.ring);
        }
        spare.make_room(self)?;
        let window = self.ring.writable();
        let room = window.len().min(READ);
        let count = transport.receive(&mut window[..room])?;
        self.ring.commit(count);
        Ok(Received::of(count, room))
    }

    /// Adds the large argument to the request's if it has arrived completely. Returns false if it has not: there is
    /// nothing to parse behind it.
    pub fn end_argument(&mut self) -> bool {
        let is_whole = |filling: &mut Filling| filling.block.len() >= filling.wanted;
        if let Some(Filling { mut block, wanted }) = self.filling.take_if(is_whole) {
            block.truncate(wanted - 2);
            self.block_bytes += block.memory_bytes();
            self.block_len += block.len();
            self.blocks.push(block);
            self.partial.detached();
        }
        self.filling.is_none()
    }

    /// Frees the blocks of finished requests, but not those of the request being received. Returns them instead if
    /// there are more than [`FEW_BLOCKS`].
    pub fn forget_executed(&mut self) -> Option<Vec<Block>> {
        let done = self.blocks.len() - self.partial.detached_count();
        if done > FEW_BLOCKS {
            let kept = self.blocks.split_off(done);
            self.block_bytes = kept.iter().map(Block::memory_bytes).sum();
            self.block_len = kept.iter().map(Block::len).sum();
            return Some(std::mem::replace(&mut self.blocks, kept));
        }
        for block in self.blocks.drain(..done) {
            self.block_bytes -= block.memory_bytes();
            self.block_len -= block.len();
        }
        None
    }

    /// Makes room in the ring for the next receive, by moving arguments out. If that does not help, the ring grows,
    /// since a blocked client may send a whole pipeline.
    ///
    /// # Errors
    /// There is not enough memory.
    fn make_room(&mut self) -> io::Result<()> {
        let capacity = self.ring.capacity();
        if capacity >= LARGE_RING && capacity - self.ring.len() < capacity / 4 {
            self.move_out();
        }
        self.grow_if_full()
    }

    /// Makes room in the ring for the next receive without moving arguments out of it.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn grow_if_full(&mut self) -> io::Result<()> {
        let capacity = self.ring.capacity();
        if self.ring.len() < capacity {
            return Ok(());
        }
        if capacity < LARGE_RING {
            self.exchange_ring(LARGE_RING);
            return Ok(());
        }
        self.ring.grow(2 * capacity)
    }

    /// Copies bytes that one receive left elsewhere into the ring, which is empty.
    pub fn hold(&mut self, bytes: &[u8]) {
        debug_assert!(self.ring.is_empty() && bytes.len() <= LARGE_RING);
        if bytes.len() > self.ring.capacity() {
            self.exchange_ring(LARGE_RING);
        }
        self.ring.writable()[..bytes.len()].copy_from_slice(bytes);
        self.ring.commit(bytes.len());
    }

    /// Frees the room that the ring needed while the client was blocked and kept sending.
    pub fn shrink(&mut self) {
        if self.ring.capacity() > LARGE_RING && self.ring.len() <= SMALL_RING {
            self.exchange_ring(SMALL_RING);
        }
    }

    /// Frees the room that the ring of a link needed for a large request that has been executed.
    pub fn shrink_of_link(&mut self) {
        if self.ring.is_empty() && !self.is_at_most_large() {
            self.ring = Ring::new(LARGE_RING);
        }
    }

    fn exchange_ring(&mut self, capacity: usize) {
        let mut ring = Ring::new(capacity);
        self.move_to(&mut ring);
        self.ring = ring;
    }

    /// Swaps rings with an idle query, whose ring is at least as large.
    fn exchange_rings(&mut self, idle: &mut Query) {
        debug_assert!(idle.is_idle());
        self.move_to(&mut idle.ring);
        self.ring.truncate(0);
        std::mem::swap(&mut self.ring, &mut idle.ring);
    }

    fn move_to(&self, ring: &mut Ring) {
        let held = self.ring.readable();
        ring.writable()[..held.len()].copy_from_slice(held);
        ring.commit(held.len());
    }

    /// Moves the whole arguments of the current request out of the ring.
    fn move_out(&mut self) {
        let Query { ring, partial, blocks, block_bytes, block_len, .. } = self;
        let (window, first) = (ring.readable(), blocks.len());
        let mut shared: Option<usize> = None;
        let moved = partial.move_out(window.len(), |place| {
            let left = window.len() - place.start;
            let bytes = &window[place];
            if bytes.len() >= OWN_BLOCK {
                blocks.push(Block::from(bytes));
                return Span::detached(blocks.len() - 1);
            }
            let index = match shared {
                Some(index) if blocks[index].len() + bytes.len() <= SHARED_BLOCK => index,
                _ => {
                    blocks.push(Block::with_capacity(left.min(SHARED_BLOCK)));
                    *shared.insert(blocks.len() - 1)
                }
            };
            let start = blocks[index].len();
            blocks[index].extend_from_slice(bytes);
            Span::piece(index, start, bytes.len())
        });
        ring.consume(moved);
        *block_bytes += blocks[first..].iter().map(Block::memory_bytes).sum::<usize>();
        *block_len += blocks[first..].iter().map(Block::len).sum::<usize>();
    }
}

/// The result of one receive.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The number of bytes; 0 means that the client has closed its side.
    pub count: usize,
    /// Whether they filled the room, so there may be more.
    pub is_full: bool,
}

impl Received {
    /// `count` bytes were received into `room` bytes.
    #[inline]
    fn of(count: usize, room: usize) -> Received {
        Received { count, is_full: count == room }
    }
}

/// Receives into an empty ring. `sent_large`: the client's last bytes were a large argument.
#[inline]
pub fn receive_into_ring(
    ring: &mut Ring,
    transport: &mut Transport,
    sent_large: bool,
) -> io::Result<Received> {
    let window = ring.writable();
    let room = window.len().min(if sent_large { READ_BESIDE_LARGE } else { READ });
    let count = transport.receive(&mut window[..room])?;
    ring.commit(count);
    Ok(Received::of(count, room))
}

/// A large argument that is being received into the block where it may stay.
pub struct Filling {
    block: Block,
    /// The bytes to receive, including the line end.
    wanted: usize,
}

impl Filling {
    /// Creates an argument of `len` bytes that begins with `head`.
    pub fn new(len: usize, head: &[u8], transport: &Transport) -> Filling {
        let wanted = len + 2;
        let mut block = Block::with_capacity(room(head.len() + transport.unread(), wanted));
        block.extend_from_slice(head);
        Filling { block, wanted }
    }

    /// Receives more of the argument, and the bytes after it into `beyond`.
    fn receive(&mut self, transport: &mut Transport, beyond: &mut Ring) -> io::Result<Received> {
        let Filling { block, wanted } = self;
        let missing = *wanted - block.len();
        if block.capacity() - block.len() < missing.min(READ) {
            let room = room(block.len() + transport.unread(), *wanted);
            block.reserve_exact(room - block.len());
        }
        let most = missing.min(block.capacity() - block.len()).min(MAX_RECEIVE);
        let free = beyond.writable();
        let more = if most == missing { free.len().min(READ_BESIDE_LARGE) } else { 0 };
        let count = transport.receive_into(block, most, &mut free[..more])?;
        beyond.commit(count.saturating_sub(most));
        Ok(Received::of(count, most + more))
    }
}

/// Returns the size of the block for an argument of `wanted` bytes, including the line end, of which `arrived` are
/// there.
fn room(arrived: usize, wanted: usize) -> usize {
    wanted.min((AHEAD * arrived).max(READ))
}

/// Queries that clients returned: a few small ones and a few that have grown.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept: a client holds one or a null")]
pub struct SpareQueries {
    small: Vec<Box<Query>>,
    /// Queries whose rings have grown, as they do for a large value.
    large: Vec<Box<Query>>,
}

impl SpareQueries {
    /// Takes a query to hold `len` bytes, preferably a spare one whose ring is large enough.
    pub fn take(&mut self, len: usize) -> Box<Query> {
        let large = if len > SMALL_RING { self.large.pop() } else { None };
        large.or_else(|| self.small.pop()).unwrap_or_else(|| Box::new(Query::new()))
    }

    /// Makes room in the query's ring for the next receive. A full small ring is exchanged for a larger spare one, if
    /// any, so a client with requests that are somewhat larger does not map one for each.
    fn make_room(&mut self, query: &mut Query) -> io::Result<()> {
        if query.is_small()
            && query.ring.len() == query.ring.capacity()
            && let Some(mut larger) = self.large.pop()
        {
            query.exchange_rings(&mut larger);
            self.give(larger);
        }
        query.make_room()
    }

    /// Keeps a query for later.
    pub fn give(&mut self, query: Box<Query>) {
        let (kept, most) =
            if query.is_small() { (&mut self.small, MAX_SPARE) } else { (&mut self.large, MAX_SPARE_LARGE) };
        if kept.len() < most && query.is_at_most_large() {
            kept.push(query);
        }
    }
}
