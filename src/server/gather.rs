//! Requests of several clients, executed together.
//!
//! A client that waits for each reply before it sends the next request never has a pipeline whose misses could overlap.
//! But where there are many such clients, many are ready at once. So a short receive that holds nothing but whole
//! requests is parsed and put by, its keys' buckets are prefetched, and the next client's turn comes; after [`FULL`]
//! requests, or when no client is left, their entries are prefetched and all are executed, client by client:
//!
//! ```text
//!   ring      *2 $3 GET $1 a | *2 $3 GET $1 b | *3 $3 SET $1 c $1 v | …
//!   batch     GET a            GET b            SET c v
//!   turns     client 4         client 9         client 2
//! ```
//!
//! Receiving from many and then executing for many also keeps the kernel's and the server's code in the cache while it is
//! needed. Replies leave at the end of the iteration as always.

use std::ops::Range;

use super::net::batch::Batch;
use super::{Io, Server, lookup};
use crate::resp::{self, Parsed, Partial};
use crate::sys::poller::Token;

/// A longer receive is a pipeline, or part of something large, and is executed by itself.
pub const SHORT: usize = 512;

/// With as many requests the batch is executed.
const FULL: usize = 32;

/// What has been put by.
#[derive(Default)]
pub struct Gathered {
    batch: Batch,
    turns: Vec<(Token, Range<usize>)>,
    /// The database of all of its clients, in which entries are prefetched.
    db: usize,
}

impl Server {
    /// Puts by what a client has sent, which lies in the loop's ring from `from` on. Returns false where that is more or
    /// less than whole requests.
    pub(super) fn gather(&mut self, io: &mut Io, token: Token, from: usize) -> bool {
        let Some(client) = self.net.clients.get(token).filter(|client| client.session.authenticated) else {
            return false;
        };
        let db = client.session.db;
        let limits = self.limits(token);
        let window = io.ring.readable();
        let Gathered { batch, turns, .. } = &mut io.gathered;
        let first = batch.requests.len();
        let mut partial = Partial::default();
        let mut at = from;
        while at < window.len() {
            let spans = batch.spans.len();
            let Ok(Parsed::Whole { end }) = resp::parse(window, at, &mut partial, &limits, &mut batch.spans)
            else {
                batch.forget_from(first);
                return false;
            };
            at = end;
            if batch.spans.len() > spans {
                let names = self.core.names;
                lookup::push(batch, spans, window, &[], names, &self.core.keyspace, db).end = at;
            }
        }
        turns.push((token, first..batch.requests.len()));
        io.gathered.db = db;
        if io.gathered.batch.requests.len() >= FULL {
            self.run_gathered(io);
        }
        true
    }

    /// Executes what has been put by.
    pub(super) fn run_gathered(&mut self, io: &mut Io) {
        if io.gathered.turns.is_empty() {
            return;
        }
        let window = io.ring.readable();
        let Gathered { batch, turns, db } = &mut io.gathered;
        lookup::prefetch(batch, &self.core.keyspace, *db, window, &[]);
        for (token, requests) in turns.drain(..) {
            if !self.process.exit {
                self.run_turn(token, batch, requests, window);
            }
        }
        batch.clear();
        io.ring.truncate(0);
    }
}
