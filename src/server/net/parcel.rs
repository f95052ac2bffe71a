//! Messages between the main thread and an I/O thread.
//!
//! ```text
//!                  ── Order: take a line, return it, send these chains ──▶
//!   main thread                                                             I/O thread
//!                  ◀── Parcel: requests, figures, returned lines ─────────
//! ```
//!
//! A [`Parcel`] holds what a thread has received in a pass over its ready sockets. The requests are parsed, their
//! commands are looked up and their keys hashed. Their arguments are slices of the parcel's buffer, into which they were received.
//! The main thread executes them in place and returns the parcel, whose buffer is received into again.
//!
//! Order is kept by the queues alone. The requests of a client come in the parcels in the order of their arrival, and
//! its line returns after them. Output goes to a line in the order in which it was flushed, since a thread returns a
//! line only when the main thread has recalled it, and so has sent it no output after that.

use std::ops::Range;
use std::sync::Arc;

use super::batch::Batch;
use super::line::{Figures, Line};
use super::query::{Query, READ};
use super::sheet::Sheet;
use crate::sys::poller::Token;
use crate::types::block::Block;

/// The buffer of a parcel: it is delivered when it has no room for another receive.
const BUFFER: usize = READ + READ / 4;

/// A parcel with this many requests is delivered.
const MANY: usize = 256;

/// Capacity for spans that a parcel keeps.
const KEEP_SPANS: usize = 16 * 1024;

/// The requests that one client has sent in one receive, at most.
pub const MAX_ARRIVED: usize = 1024;

/// An order to an I/O thread.
pub enum Order {
    /// Serve this line.
    Take(Token, Line),
    /// Return this line, after the output that was ordered before.
    Return(Token),
    /// Close this line.
    Close(Token),
    /// Send this thread's chains of a sheet.
    Send(Arc<Sheet>),
    /// A parcel that was executed.
    Reuse(Box<Parcel>),
    /// The configuration of the parser has changed.
    Limit(usize),
    /// Free the parcels that were not needed since the last such order.
    Rest,
    /// End.
    Stop,
}

/// Where the arguments of an arrival are.
pub enum Held {
    /// In this part of the parcel's buffer.
    Buffer(Range<usize>),
    /// In the query buffer in which they were completed.
    Query(Box<Query>),
    /// An inline request.
    Inline(Vec<u8>),
}

/// Something that a parcel reports.
pub enum Entry {
    /// Requests of a client.
    Requests {
        /// The client.
        token: Token,
        /// Which requests of the parcel's batch.
        requests: Range<usize>,
        /// The index in [`Parcel::held`] of the window of their arguments.
        held: usize,
        /// Bytes received since the client's last entry.
        bytes: usize,
    },
    /// So many bytes have been received from a client, since its last entry.
    Received(Token, usize),
    /// The sizes of a client's buffers have changed; `None` if it has none.
    Figures(Token, Option<Box<Figures>>),
    /// The thread cannot serve the line any more: its client has closed it or has violated the protocol, or it failed.
    /// The main thread will find out why, from the line.
    Ended(Token),
    /// The output could not be sent.
    Failed(Token, std::io::Error),
    /// A line that was ordered to return.
    Line(Token, Line),
    /// It was dealt with.
    Done,
}

/// See the module's head.
pub struct Parcel {
    buffer: Box<[u8]>,
    /// Bytes of the buffer in use.
    len: usize,
    /// The requests of all arrivals.
    pub batch: Batch,
    /// The windows of their arguments.
    pub held: Vec<Held>,
    /// What has happened, in order.
    pub entries: Vec<Entry>,
}

impl Parcel {
    /// Creates a parcel without a buffer, which can carry no requests.
    pub fn small() -> Parcel {
        Parcel {
            buffer: Box::default(),
            len: 0,
            batch: Batch::default(),
            held: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Creates an empty parcel.
    pub fn new() -> Parcel {
        let mut parcel = Parcel::small();
        parcel.buffer = vec![0; BUFFER].into_boxed_slice();
        parcel
    }

    /// Whether it has a buffer.
    pub fn has_buffer(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether it has nothing to report.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it should be delivered before more is received.
    pub fn is_full(&self) -> bool {
        self.buffer.len() - self.len < READ || self.batch.requests.len() >= MANY
    }

    /// Room of the buffer beside `in_hand` bytes that were received into it.
    pub fn room_beside(&self, in_hand: usize) -> usize {
        self.buffer.len().saturating_sub(self.len.max(in_hand))
    }

    /// The free room of the buffer, for a receive of up to [`READ`] bytes.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.len..]
    }

    /// Keeps `count` bytes that were just received into [`Parcel::room`]. Returns where they are, and what their requests
    /// are added to.
    pub fn received(&mut self, count: usize) -> (Range<usize>, &[u8], Arrival<'_>) {
        let Parcel { buffer, len, batch, held, entries } = self;
        let range = *len..*len + count;
        *len = range.end;
        (range.clone(), &buffer[range], Arrival { batch, held, entries, window: None })
    }

    /// Sets where the window of an arrival is.
    pub fn hold(&mut self, window: usize, held: Held) {
        self.held[window] = held;
    }

    /// Gives back the room of received bytes of which nothing is needed.
    pub fn truncate(&mut self, len: usize) {
        self.len = len;
    }

    /// Returns a window, and the blocks of large arguments.
    pub fn window(&self, held: usize) -> (&[u8], &[Block]) {
        match &self.held[held] {
            Held::Buffer(range) => (&self.buffer[range.clone()], &[]),
            Held::Query(query) => (query.ring.readable(), &query.blocks),
            Held::Inline(bytes) => (bytes, &[]),
        }
    }

    /// Takes the blocks of large arguments that were executed, if they are too many to free at once.
    pub fn take_executed(&mut self) -> Vec<Vec<Block>> {
        let queries = self.held.iter_mut().filter_map(|held| match held {
            Held::Query(query) => query.forget_executed(),
            _ => None,
        });
        queries.collect()
    }

    /// Empties it, to be filled again. Returns the query buffers that it held.
    pub fn reset(&mut self) -> impl Iterator<Item = Box<Query>> {
        self.len = 0;
        self.batch.clear();
        self.batch.spans.shrink_to(KEEP_SPANS);
        self.entries.clear();
        self.held.drain(..).filter_map(|held| match held {
            Held::Query(query) => Some(query),
            _ => None,
        })
    }
}

/// What one receive adds to a parcel.
pub struct Arrival<'a> {
    /// The requests of all arrivals.
    pub batch: &'a mut Batch,
    held: &'a mut Vec<Held>,
    entries: &'a mut Vec<Entry>,
    /// The index of the window of the received bytes, if any request's arguments are in it.
    pub window: Option<usize>,
}

impl Arrival<'_> {
    /// Adds the requests from `first` on, whose arguments are in the window of the received bytes.
    pub fn add(&mut self, token: Token, first: usize) {
        if first < self.batch.requests.len() {
            let held = *self.window.get_or_insert_with(|| {
                // The owner of the window sets it when everything is parsed.
                self.held.push(Held::Inline(Vec::new()));
                self.held.len() - 1
            });
            self.push(token, first, held);
        }
    }

    /// Adds the requests from `first` on, whose arguments are in `bytes`.
    pub fn add_inline(&mut self, token: Token, first: usize, bytes: Vec<u8>) {
        if first < self.batch.requests.len() {
            self.held.push(Held::Inline(bytes));
            self.push(token, first, self.held.len() - 1);
        }
    }

    fn push(&mut self, token: Token, first: usize, held: usize) {
        let requests = first..self.batch.requests.len();
        self.entries.push(Entry::Requests { token, requests, held, bytes: 0 });
    }
}
