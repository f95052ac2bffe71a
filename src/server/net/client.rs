//! Clients, and the slab that holds them.
//!
//! A connection is named by its slot and the slot's generation ([`Token`]): an event, a list entry or an output
//! segment that outlives its connection finds nothing, even if another connection has the slot now. An idle client
//! owns its box and nothing else: the buffer for a partial request, the waiting requests and the queue of unsent
//! output exist only while they hold something.

use std::os::fd::AsRawFd;

use crate::command::Session;
use crate::command::acl::Rights;
use crate::server::net::batch::{Rest, argument_bytes};
use crate::server::net::pending::Pending;
use crate::server::net::query::Query;
use crate::server::net::transaction::Transaction;
use crate::server::net::transport::Transport;
use crate::sys::crash;
use crate::sys::poller::Token;

/// One connection.
pub struct Client {
    /// The channel that its bytes come from and go to.
    pub transport: Transport,
    /// The state that commands see.
    pub session: Session,
    /// A partially received request.
    pub query: Option<Box<Query>>,
    /// Whole requests that have to wait; they come before the contents of `query`.
    pub rest: Option<Box<Rest>>,
    /// Requests queued for `EXEC`.
    pub transaction: Option<Box<Transaction>>,
    /// Output that the socket has not accepted yet.
    pub pending: Option<Box<Pending>>,
    /// When it connected, Unix milliseconds.
    pub created_ms: i64,
    /// When it last sent or received something, Unix milliseconds.
    pub active_ms: i64,
    /// Its largest output in one iteration during the last seconds.
    pub reply_peak: ReplyPeak,
    /// Whether whole requests wait in `query` for the next iteration.
    pub resumable: bool,
    /// Whether its latest input ended in a large argument: the next receive reads less, since another may follow.
    pub sends_large: bool,
    /// Whether it is on the list of clients to close.
    pub doomed: bool,
}

impl Client {
    /// Creates a connection.
    pub fn new(transport: Transport, id: u64, rights: Rights, now_ms: i64) -> Client {
        Client {
            transport,
            session: Session::new(id, rights),
            query: None,
            rest: None,
            transaction: None,
            pending: None,
            created_ms: now_ms,
            active_ms: now_ms,
            reply_peak: ReplyPeak::new(now_ms),
            resumable: false,
            sends_large: false,
            doomed: false,
        }
    }

    /// Records that this client is served from now on, for the crash report.
    #[inline]
    pub fn is_served_now(&self) {
        crash::now_serving(self.session.id, self.transport.as_raw_fd());
    }

    /// Returns the bytes of memory that the connection uses. O(pieces of output).
    pub fn memory_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending.as_ref().map_or(0, |pending| pending.memory_bytes())
    }

    /// The same, but shared values count with their share at the time when they were queued or last recounted. O(1).
    pub fn counted_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending.as_ref().map_or(0, |pending| pending.counted_bytes())
    }

    fn memory_beside_output(&self) -> usize {
        let query = self.query.as_ref().map_or(0, |q| q.memory_bytes());
        let rest = self.rest.as_ref().map_or(0, |rest| rest.memory_bytes());
        let transaction = self.transaction.as_ref().map_or(0, |t| t.memory_bytes());
        let encryption = self.transport.memory_bytes();
        size_of::<Self>() + self.session.names_bytes() + query + rest + transaction + encryption
    }

    /// Whether there is output that its socket has not accepted and that may be sent.
    pub fn is_sendable(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_sendable()) || self.transport.has_unsent()
    }

    /// Bytes received that are not whole arguments yet.
    pub fn unparsed_len(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.unparsed_len())
    }

    /// Total length of the arguments that were parsed but not executed: those of waiting requests, and of the request
    /// being received. O(arguments).
    pub fn argument_bytes(&self) -> usize {
        let received = self.query.as_ref().map_or(0, |q| argument_bytes(q.partial.spans(), &q.blocks));
        received + self.rest.as_ref().map_or(0, |rest| rest.argument_bytes())
    }

    /// Bytes received that have not been executed yet. O(1).
    pub fn unexecuted_len(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.len()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// The most bytes of replies that one iteration sent to a client since the last reset.
#[derive(Clone, Copy, Default)]
pub struct ReplyPeak {
    bytes: u32,
    /// When it was last reset, Unix milliseconds modulo 2³².
    since_ms: u32,
}

impl ReplyPeak {
    /// Returns the peak of a new client.
    pub fn new(now_ms: i64) -> ReplyPeak {
        ReplyPeak { bytes: 0, since_ms: now_ms as u32 }
    }

    /// Bytes since the last reset, at most 2³² − 1.
    pub fn bytes(self) -> u32 {
        self.bytes
    }

    /// Records that an iteration sends `bytes`.
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
    /// The number of connections.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the token that the next [`Clients::insert`] will return.
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

    /// Removes a connection; its token will never be found again.
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

    /// Returns the connection of `token`, if it is still open.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&Client> {
        let slot = self.slots.get(token.slot as usize)?;
        if slot.generation == token.generation { slot.client.as_deref() } else { None }
    }

    /// Returns the connection of `token`, if it is still open.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Client> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        if slot.generation == token.generation { slot.client.as_deref_mut() } else { None }
    }

    /// Iterates over all connections with their tokens, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &Client)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| {
            let token = Token { slot: i as u32, generation: slot.generation };
            slot.client.as_deref().map(|client| (token, client))
        })
    }

    /// The connections, mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().filter_map(|slot| slot.client.as_deref_mut())
    }

    /// Visits `count` slots from `*cursor` on, and wraps around at the end: each run of cron checks a share of the
    /// clients.
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
