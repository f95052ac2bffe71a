//! Clients, and the slab that holds them.
//!
//! A connection is named by its slot and the slot's generation ([`Token`]): an event, a list entry or a segment of
//! output that outlives its connection finds nothing, even when the slot has been given to another. An idle client
//! owns its box and nothing else: a buffer for half a request, requests that wait and a queue of unsent output exist
//! only while they hold something.

use std::io;
use std::os::fd::AsRawFd;

use crate::command::Session;
use crate::resp::{MAX_PIECE, MAX_PIECE_START, Partial, Span};
use crate::server::net::batch::{Rest, argument_bytes};
use crate::server::net::pending::Pending;
use crate::server::net::transaction::Transaction;
use crate::server::net::transport::Transport;
use crate::sys::crash;
use crate::sys::poller::Token;
use crate::sys::ring::Ring;
use crate::types::block::Block;

/// The ring of a query, at first.
pub const SMALL_RING: usize = 16 * 1024;

/// The ring of a query that has held more. One request needs no larger one.
const LARGE_RING: usize = 128 * 1024;

/// From this length on an argument that is moved out of the ring gets a block of its own, which a command may keep.
const OWN_BLOCK: usize = 4096;
const _: () = assert!(OWN_BLOCK <= MAX_PIECE, "a shorter argument can be a piece of a block");

/// Shorter ones share blocks of at most this size, which with its header takes one slab of the allocator and not two.
const SHARED_BLOCK: usize = 64 * 1024 - 64;
const _: () = assert!(SHARED_BLOCK <= MAX_PIECE_START);

/// The most blocks of finished requests that are freed at once: each is a cache miss.
pub const FEW_BLOCKS: usize = 1024;

/// Part of a request, waiting for the rest.
///
/// ```text
///   … $5\r\nvalue\r\n$6\r\nsec      the ring: what was not moved out, the unfinished argument last
///   [one][key][two] [large …]      the blocks: arguments that have wholly arrived
/// ```
///
/// The ring does not grow with the request. When it is full, the arguments that are there move into blocks: each once,
/// a large one to where it may stay as a value.
pub struct Query {
    /// The bytes from the start of the request on.
    pub ring: Ring,
    /// Where the parser stands.
    pub partial: Partial,
    /// Arguments outside of the ring.
    pub blocks: Vec<Block>,
    /// The memory of `blocks`, and how many bytes of it are used. Kept as sums, since a large request has thousands of
    /// blocks.
    block_bytes: usize,
    block_len: usize,
    /// The one that is being received: its block and how many bytes it shall have, line end included.
    pub filling: Option<(Block, usize)>,
}

impl Query {
    /// An empty one.
    pub fn new() -> Self {
        Query {
            ring: Ring::new(SMALL_RING),
            partial: Partial::default(),
            blocks: Vec::new(),
            block_bytes: 0,
            block_len: 0,
            filling: None,
        }
    }

    /// Whether it holds nothing, so that the client can do without it.
    pub fn is_idle(&self) -> bool {
        self.ring.is_empty() && self.blocks.is_empty() && self.filling.is_none() && self.partial.is_fresh()
    }

    /// Whether its ring is as small as a new one's.
    pub fn is_small(&self) -> bool {
        self.ring.capacity() <= SMALL_RING
    }

    /// Whether its ring is no larger than one request makes it.
    pub fn is_at_most_large(&self) -> bool {
        self.ring.capacity() <= LARGE_RING
    }

    /// Bytes that the client has sent and the server has not executed yet. O(1).
    pub fn len(&self) -> usize {
        self.ring.len() + self.block_len + self.filling.as_ref().map_or(0, |(block, _)| block.len())
    }

    /// Those of them that are not whole arguments of the current request: what `client-query-buffer-limit` limits.
    pub fn unparsed_len(&self) -> usize {
        let filling = self.filling.as_ref().map_or(0, |(block, _)| block.len());
        self.ring.len().saturating_sub(self.partial.parsed_len()) + filling
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let filling = self.filling.as_ref().map_or(0, |(block, _)| block.memory_bytes());
        size_of::<Self>() + self.ring.capacity() + self.partial.memory() + self.block_bytes + filling
    }

    /// Keeps an argument that has wholly arrived in a block of its own.
    pub fn keep_argument(&mut self, block: Block) {
        self.block_bytes += block.memory_bytes();
        self.block_len += block.len();
        self.blocks.push(block);
    }

    /// Frees the blocks of finished requests, but not those of the request that is being received. Returns them instead if
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

    /// Makes room in the ring for the next receive: by moving arguments out, or where that does not help by growing,
    /// since a client that waits may send a whole pipeline.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn make_room(&mut self) -> io::Result<()> {
        let capacity = self.ring.capacity();
        if capacity >= LARGE_RING && capacity - self.ring.len() < capacity / 4 {
            self.move_out();
        }
        if self.ring.len() < capacity {
            return Ok(());
        }
        if capacity < LARGE_RING {
            self.exchange_ring(LARGE_RING);
            return Ok(());
        }
        self.ring.grow(2 * capacity)
    }

    /// Takes over what one receive has left elsewhere. The ring is empty.
    pub fn hold(&mut self, bytes: &[u8]) {
        debug_assert!(self.ring.is_empty() && bytes.len() <= LARGE_RING);
        if bytes.len() > self.ring.capacity() {
            self.exchange_ring(LARGE_RING);
        }
        self.ring.writable()[..bytes.len()].copy_from_slice(bytes);
        self.ring.commit(bytes.len());
    }

    /// Gives back the room that a client made necessary by sending while it had to wait.
    pub fn shrink(&mut self) {
        if self.ring.capacity() > LARGE_RING && self.ring.len() <= SMALL_RING {
            self.exchange_ring(SMALL_RING);
        }
    }

    fn exchange_ring(&mut self, capacity: usize) {
        let mut ring = Ring::new(capacity);
        self.move_to(&mut ring);
        self.ring = ring;
    }

    /// Takes the ring of an idle query, which is at least as large, and gives it its own.
    pub fn exchange_rings(&mut self, idle: &mut Query) {
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

    /// Moves the arguments of the current request that are wholly there out of the ring.
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

/// One connection.
pub struct Client {
    /// Where its bytes come from and go to.
    pub transport: Transport,
    /// What commands see.
    pub session: Session,
    /// Half a request.
    pub query: Option<Box<Query>>,
    /// Whole requests that have to wait; they come before what `query` holds.
    pub rest: Option<Box<Rest>>,
    /// Requests that are queued for `EXEC`.
    pub transaction: Option<Box<Transaction>>,
    /// Output that the socket did not take.
    pub pending: Option<Box<Pending>>,
    /// When it connected, Unix milliseconds.
    pub created_ms: i64,
    /// When it last sent or was sent something, Unix milliseconds.
    pub active_ms: i64,
    /// Its largest output of one iteration in the last seconds.
    pub reply_peak: ReplyPeak,
    /// Whether whole requests wait in `query` for the next iteration.
    pub resumable: bool,
    /// Whether what it sent last ended in a large argument: the next receive takes less, since another may follow.
    pub sends_large: bool,
    /// Whether it is on the list of those to be closed.
    pub doomed: bool,
}

impl Client {
    /// What is executed from now on is this client's, until another one is served: for the crash report.
    #[inline]
    pub fn is_served_now(&self) {
        crash::now_serving(self.session.id, self.transport.as_raw_fd());
    }

    /// Bytes of memory that the connection costs. O(pieces of output).
    pub fn memory_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending.as_ref().map_or(0, |pending| pending.memory_bytes())
    }

    /// The same, where values that others refer to as well count as they did when they were queued or last recounted. O(1).
    pub fn counted_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending.as_ref().map_or(0, |pending| pending.counted_bytes())
    }

    fn memory_beside_output(&self) -> usize {
        let query = self.query.as_ref().map_or(0, |q| q.memory_bytes());
        let rest = self.rest.as_ref().map_or(0, |rest| rest.memory_bytes());
        let transaction = self.transaction.as_ref().map_or(0, |t| t.memory_bytes());
        size_of::<Self>() + self.session.names_bytes() + query + rest + transaction
    }

    /// Bytes that it has sent and that are not whole arguments yet.
    pub fn unparsed_len(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.unparsed_len())
    }

    /// The sum of the arguments that have been parsed and not executed: of requests that wait, and of the one that is being
    /// received. O(arguments).
    pub fn argument_bytes(&self) -> usize {
        let received = self.query.as_ref().map_or(0, |q| argument_bytes(q.partial.spans(), &q.blocks));
        received + self.rest.as_ref().map_or(0, |rest| rest.argument_bytes())
    }

    /// Bytes that it has sent and the server has not executed yet. O(1).
    pub fn unexecuted_len(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.len()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// The most bytes of replies that one iteration sent to a client, since the last reset.
#[derive(Clone, Copy, Default)]
pub struct ReplyPeak {
    bytes: u32,
    /// When it was reset, Unix milliseconds modulo 2³².
    since_ms: u32,
}

impl ReplyPeak {
    /// The peak of a new client.
    pub fn new(now_ms: i64) -> ReplyPeak {
        ReplyPeak { bytes: 0, since_ms: now_ms as u32 }
    }

    /// Bytes since the last reset; 2³² − 1 for more.
    pub fn bytes(self) -> u32 {
        self.bytes
    }

    /// An iteration sends `bytes`.
    #[inline]
    pub fn raise(&mut self, bytes: usize) {
        self.bytes = self.bytes.max(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Resets the peak if more than `period_ms` have passed since the last reset.
    pub fn reset_after(&mut self, period_ms: u32, now_ms: i64) {
        if (now_ms as u32).wrapping_sub(self.since_ms) > period_ms {
            *self = ReplyPeak::new(now_ms);
        }
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    client: Option<Box<Client>>,
}

/// All connections.
#[derive(Default)]
pub struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

impl Clients {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The token that the next [`Clients::insert`] will give.
    pub fn next_token(&mut self) -> Token {
        if self.free.is_empty() {
            self.free.push(self.slots.len() as u32);
            self.slots.push(Slot::default());
        }
        let slot = *self.free.last().expect("a free slot was made if there was none");
        Token { slot, generation: self.slots[slot as usize].generation }
    }

    /// Adds a connection.
    pub fn insert(&mut self, client: Client) -> Token {
        let token = self.next_token();
        self.free.pop();
        self.slots[token.slot as usize].client = Some(Box::new(client));
        self.len += 1;
        token
    }

    /// Takes a connection out; its token will never be found again.
    pub fn remove(&mut self, token: Token) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        if slot.generation != token.generation {
            return None;
        }
        let client = slot.client.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.slot);
        self.len -= 1;
        Some(client)
    }

    /// The connection of `token`, if it still stands.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&Client> {
        let slot = self.slots.get(token.slot as usize)?;
        if slot.generation == token.generation { slot.client.as_deref() } else { None }
    }

    /// The connection of `token`, if it still stands.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Client> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        if slot.generation == token.generation { slot.client.as_deref_mut() } else { None }
    }

    /// All connections with their tokens, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &Client)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| {
            let token = Token { slot: i as u32, generation: slot.generation };
            slot.client.as_deref().map(|client| (token, client))
        })
    }

    /// Visits the slots from `*cursor` on, `count` of them, going around at the end: cron looks at a share of the
    /// clients each time.
    pub fn visit_some(
        &mut self,
        cursor: &mut usize,
        count: usize,
        mut visit: impl FnMut(Token, &mut Client),
    ) {
        for _ in 0..count.min(self.slots.len()) {
            if *cursor >= self.slots.len() {
                *cursor = 0;
            }
            let slot = &mut self.slots[*cursor];
            let token = Token { slot: *cursor as u32, generation: slot.generation };
            if let Some(client) = slot.client.as_deref_mut() {
                visit(token, client);
            }
            *cursor += 1;
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Client>() + size_of::<Slot>() <= 256, "an idle connection stays small");
