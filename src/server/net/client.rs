//! Clients, and the slab that holds them.
//!
//! A connection is named by its slot and the slot's generation ([`Token`]): an event, a list entry or an output
//! segment that outlives its connection finds nothing, even if another connection has the slot now. An idle client
//! owns its box and nothing else: the buffer for a partial request, the waiting requests and the queue of unsent
//! output exist only while they hold something.

use std::os::fd::{AsRawFd, RawFd};

use crate::command::Session;
use crate::command::acl::Rights;
use crate::server::net::batch::Rest;
use crate::server::net::line::{Away, Line, Seat};
use crate::server::net::pending::Pending;
use crate::server::net::transaction::Transaction;
use crate::server::net::transport::Transport;
use crate::sys::crash;
use crate::sys::net::{Address, local_of, peer_of};
use crate::sys::poller::Token;

/// One connection.
pub struct Client {
    /// Its channel and buffers, wherever they are.
    pub seat: Seat,
    /// The state that commands see.
    pub session: Session,
    /// Whole requests that have to wait; they come before the contents of its query buffer.
    pub rest: Option<Box<Rest>>,
    /// Requests queued for `EXEC`.
    pub transaction: Option<Box<Transaction>>,
    /// When it connected, Unix milliseconds.
    pub created_ms: i64,
    /// When it last sent or received something, Unix milliseconds.
    pub active_ms: i64,
    /// Its largest output in one iteration during the last seconds.
    pub reply_peak: ReplyPeak,
    /// Whether whole requests wait in its query buffer for the next iteration.
    pub resumable: bool,
    /// Whether an I/O thread has left its line to the main thread.
    pub is_left: bool,
    /// Whether it is on the list of clients to close.
    pub doomed: bool,
}

impl Client {
    /// Creates a connection.
    pub fn new(transport: Transport, id: u64, rights: Rights, now_ms: i64) -> Client {
        Client {
            seat: Seat::Here(Line::new(transport)),
            session: Session::new(id, rights),
            rest: None,
            transaction: None,
            created_ms: now_ms,
            active_ms: now_ms,
            reply_peak: ReplyPeak::new(now_ms),
            resumable: false,
            is_left: false,
            doomed: false,
        }
    }

    /// Its line, unless an I/O thread has it.
    #[inline]
    pub fn line(&self) -> Option<&Line> {
        match &self.seat {
            Seat::Here(line) => Some(line),
            Seat::Away(_) => None,
        }
    }

    /// Its line, unless an I/O thread has it.
    #[inline]
    pub fn line_mut(&mut self) -> Option<&mut Line> {
        match &mut self.seat {
            Seat::Here(line) => Some(line),
            Seat::Away(_) => None,
        }
    }

    /// What is known of its line while an I/O thread has it.
    #[inline]
    pub fn away(&self) -> Option<&Away> {
        match &self.seat {
            Seat::Here(_) => None,
            Seat::Away(away) => Some(away),
        }
    }

    /// What is known of its line while an I/O thread has it.
    #[inline]
    pub fn away_mut(&mut self) -> Option<&mut Away> {
        match &mut self.seat {
            Seat::Here(_) => None,
            Seat::Away(away) => Some(away),
        }
    }

    /// Records that this client is served from now on, for the crash report.
    #[inline]
    pub fn is_served_now(&self) {
        crash::now_serving(self.session.id, self.fd());
    }

    /// Its descriptor.
    #[inline]
    pub fn fd(&self) -> RawFd {
        match &self.seat {
            Seat::Here(line) => line.transport.as_raw_fd(),
            Seat::Away(away) => away.fd,
        }
    }

    /// Its address.
    pub fn peer(&self) -> Address {
        match &self.seat {
            Seat::Here(line) => line.transport.peer(),
            Seat::Away(away) => peer_of(away.fd),
        }
    }

    /// The address that it has connected to.
    pub fn local(&self) -> Address {
        match &self.seat {
            Seat::Here(line) => line.transport.local(),
            Seat::Away(away) => local_of(away.fd),
        }
    }

    /// Whether the connection uses TLS.
    #[inline]
    pub fn is_encrypted(&self) -> bool {
        match &self.seat {
            Seat::Here(line) => line.transport.is_encrypted(),
            Seat::Away(away) => away.is_encrypted,
        }
    }

    /// Output that its socket has not accepted. While an I/O thread has the line: output that was written after it was
    /// recalled.
    #[inline]
    pub fn pending(&self) -> Option<&Pending> {
        match &self.seat {
            Seat::Here(line) => line.pending.as_deref(),
            Seat::Away(away) => away.pending.as_deref(),
        }
    }

    /// [`Client::pending`], to add to it.
    #[inline]
    pub fn pending_mut(&mut self) -> &mut Option<Box<Pending>> {
        match &mut self.seat {
            Seat::Here(line) => &mut line.pending,
            Seat::Away(away) => &mut away.pending,
        }
    }

    /// Whether its line is with the main thread and all of its earlier output was sent.
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.line().is_some_and(|line| line.pending.is_none())
    }

    /// Bytes of output that wait for the socket, and the number of pieces that they consist of. While an I/O thread has
    /// the line, as it has last reported them.
    pub fn unsent(&self) -> (usize, usize) {
        let of = |pending: Option<&Pending>| pending.map_or((0, 0), |it| (it.bytes(), it.pieces()));
        match &self.seat {
            Seat::Here(line) => of(line.pending.as_deref()),
            Seat::Away(away) => {
                let (bytes, pieces) = of(away.pending.as_deref());
                let figures = away.figures();
                (bytes + figures.unsent, pieces + figures.pieces)
            }
        }
    }

    /// Since when the unsent output has been over the soft limit.
    pub fn over_soft_limit_since(&mut self) -> Option<&mut Option<i64>> {
        match &mut self.seat {
            Seat::Here(line) => line.pending.as_mut().map(|pending| &mut pending.over_soft_limit_since),
            Seat::Away(away) => Some(&mut away.over_soft_limit_since),
        }
    }

    /// Returns the bytes of memory that the connection uses. O(pieces of output).
    pub fn memory_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending().map_or(0, Pending::memory_bytes)
    }

    /// The same, but shared values count with their share at the time when they were queued or last recounted. O(1).
    pub fn counted_bytes(&self) -> usize {
        self.memory_beside_output() + self.pending().map_or(0, Pending::counted_bytes)
    }

    fn memory_beside_output(&self) -> usize {
        let line = match &self.seat {
            Seat::Here(line) => {
                line.query.as_ref().map_or(0, |query| query.memory_bytes()) + line.transport.memory_bytes()
            }
            Seat::Away(away) => away.memory_bytes(),
        };
        let rest = self.rest.as_ref().map_or(0, |rest| rest.memory_bytes());
        let transaction = self.transaction.as_ref().map_or(0, |t| t.memory_bytes());
        size_of::<Self>() + self.session.names_bytes() + line + rest + transaction
    }

    /// Whether there is output that its socket has not accepted and that may be sent now.
    pub fn is_sendable(&self) -> bool {
        self.line().is_some_and(Line::is_sendable)
    }

    /// Whether a part of a request has been received.
    #[inline]
    pub fn has_query(&self) -> bool {
        self.line().is_some_and(|line| line.query.is_some())
    }

    /// Bytes received that are not whole arguments yet.
    pub fn unparsed_len(&self) -> usize {
        let received = match &self.seat {
            Seat::Here(line) => line.query.as_ref().map_or(0, |query| query.unparsed_len()),
            Seat::Away(away) => away.figures().unparsed,
        };
        received + self.rest.as_ref().map_or(0, |rest| rest.late_bytes())
    }

    /// Free room in its query buffer.
    pub fn query_room(&self) -> Option<usize> {
        match &self.seat {
            Seat::Here(line) => line.query.as_ref().map(|query| query.ring.capacity() - query.ring.len()),
            Seat::Away(away) => Some(away.figures()).filter(|it| it.query_memory > 0).map(|it| it.room),
        }
    }

    /// Total length of the arguments that were parsed but not executed: those of waiting requests, and of the request
    /// being received. O(arguments).
    pub fn argument_bytes(&self) -> usize {
        let received = match &self.seat {
            Seat::Here(line) => line.argument_bytes(),
            Seat::Away(away) => away.figures().arguments,
        };
        received + self.rest.as_ref().map_or(0, |rest| rest.argument_bytes())
    }

    /// Bytes received that have not been executed yet. O(1).
    pub fn unexecuted_len(&self) -> usize {
        let received = match &self.seat {
            Seat::Here(line) => line.query.as_ref().map_or(0, |query| query.len()),
            Seat::Away(away) => away.figures().received,
        };
        received + self.rest.as_ref().map_or(0, |rest| rest.len())
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
