//! A pipeline's requests, parsed ahead of their execution.
//!
//! All that a request needs from memory is asked for before the first is executed: names are looked up and keys
//! hashed and their buckets prefetched while the next request is parsed, then the entries in a second pass. With a keyspace larger than the cache
//! the misses of up to [`BATCH`] requests overlap instead of following each other.

use crate::command::{Args, Command, CommandNames, Refusal};
use crate::db::Keyspace;
use crate::resp::Span;
use crate::types::Block;

/// Requests parsed ahead.
pub const BATCH: usize = 64;

/// One parsed request.
#[derive(Clone, Copy)]
pub struct Request {
    /// What its name means.
    pub command: Result<&'static Command, Refusal>,
    /// Its arguments' place in the batch.
    first: u32,
    count: u32,
    /// The hash of its first key, 0 without one.
    pub hash: u64,
}

impl Request {
    /// The spans of its arguments.
    #[inline]
    pub fn spans<'a>(&self, spans: &'a [Span]) -> &'a [Span] {
        &spans[self.first as usize..][..self.count as usize]
    }
}

/// Requests with their arguments; reused for every batch.
#[derive(Default)]
pub struct Batch {
    /// Arguments of all requests, one after the other.
    pub spans: Vec<Span>,
    /// The requests in the order of arrival.
    pub requests: Vec<Request>,
}

impl Batch {
    /// Forgets all.
    #[inline]
    pub fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
    }

    /// Adds the request whose arguments, which lie in `window` and `blocks`, have been appended to `spans` from
    /// `first` on.
    #[inline]
    pub fn push(
        &mut self,
        first: usize,
        window: &[u8],
        blocks: &[Block],
        names: CommandNames,
        keyspace: &Keyspace,
        db: usize,
    ) {
        let args = Args::new(window, &self.spans[first..], blocks);
        let command = names.find(&args);
        let hash = command.map_or(0, |command| hash_first_key(command, args, keyspace));
        if hash != 0 {
            keyspace.db(db).prefetch_bucket(hash);
        }
        let count = args.len() as u32;
        self.requests.push(Request { command, first: first as u32, count, hash });
    }

    /// Asks for the entries of all requests, whose buckets were asked for when they were added. The database may be
    /// another one by the time of execution; then this was in vain, and nothing else.
    #[inline]
    pub fn prefetch(&self, keyspace: &Keyspace, db: usize) {
        let db = keyspace.db(db);
        for request in self.requests.iter().filter(|r| r.hash != 0) {
            db.prefetch_entry(request.hash);
        }
    }
}

#[inline]
fn hash_first_key(command: &Command, args: Args<'_>, keyspace: &Keyspace) -> u64 {
    let first = command.first_key as usize;
    if first == 0 || first >= args.len() { 0 } else { keyspace.hash(args.get(first)) }
}
