//! Clients, and the slab that holds them.
//!
//! A connection is named by its slot and the slot's generation ([`Token`]): an event, a list entry or a segment of
//! output that outlives its connection finds nothing, even when the slot has been given to another. An idle client
//! owns its box and nothing else: a buffer for half a request, requests that wait and a queue of unsent output exist
//! only while they hold something.

use std::os::fd::AsRawFd;

use crate::command::Session;
use crate::server::net::batch::{Rest, argument_bytes};
use crate::server::net::pending::Pending;
use crate::server::net::query::Query;
use crate::server::net::transaction::Transaction;
use crate::server::net::transport::Transport;
use crate::sys::crash;
use crate::sys::poller::Token;

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
    /// A new connection. `authenticated`: without a password.
    pub fn new(transport: Transport, id: u64, authenticated: bool, now_ms: i64) -> Client {
        Client {
            transport,
            session: Session::new(id, authenticated),
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
