//! A pipeline's requests, parsed ahead of their execution.
//!
//! All that requests need from memory is prefetched before the first is executed: names are looked up and keys
//! hashed and their buckets prefetched while the next request is parsed, then the entries in a second pass; where a run
//! of requests works on one large collection, also the members that they name. With a keyspace larger than the cache
//! the misses of up to [`BATCH`] requests overlap instead of following each other.

use std::ops::Range;

use crate::command::{Args, Command, CommandNames, Refusal, flags};
use crate::db::{Db, Keyspace};
use crate::resp::{Span, SpanKind};
use crate::types::Block;

/// Requests parsed ahead.
pub const BATCH: usize = 64;

/// Room for arguments that is kept from one batch to the next.
const KEEP_SPANS: usize = 64 * 1024;

/// One parsed request.
#[derive(Clone, Copy)]
pub struct Request {
    /// What its name means.
    pub command: Result<&'static Command, Refusal>,
    /// Its arguments' place in the batch.
    first: u32,
    count: u32,
    /// Index in the window behind it.
    pub end: usize,
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
        if self.spans.capacity() > KEEP_SPANS {
            self.spans = Vec::new();
        }
    }

    /// Forgets the requests from `first` on, and arguments that belong to none.
    pub fn forget_from(&mut self, first: usize) {
        self.requests.truncate(first);
        self.spans.truncate(self.requests.last().map_or(0, |last| (last.first + last.count) as usize));
    }

    /// Adds the request whose arguments, which lie in `window` and `blocks`, have been appended to `spans` from
    /// `first` on. Its end is for the caller to note.
    #[inline]
    pub fn push(
        &mut self,
        first: usize,
        window: &[u8],
        blocks: &[Block],
        names: CommandNames,
        keyspace: &Keyspace,
        db: usize,
    ) -> &mut Request {
        let args = Args::new(window, &self.spans[first..], blocks);
        let command = names.find(&args);
        let hash = command.map_or(0, |command| hash_first_key(command, args, keyspace));
        if hash != 0 {
            keyspace.db(db).prefetch_bucket(hash);
        }
        let count = args.len() as u32;
        self.requests.push(Request { command, first: first as u32, count, end: 0, hash });
        self.requests.last_mut().expect("just added")
    }

    /// Prefetches the entries of all requests, whose buckets were prefetched when they were added. Another database may
    /// be selected by the time of execution; then this was in vain, and does no harm.
    #[inline(always)]
    pub fn prefetch(&self, keyspace: &Keyspace, db: usize, window: &[u8], blocks: &[Block]) {
        let db = keyspace.db(db);
        let mut before = 0;
        let mut repeats = false;
        for request in self.requests.iter().filter(|r| r.hash != 0) {
            db.prefetch_entry(request.hash);
            repeats |= request.hash == before;
            before = request.hash;
        }
        if repeats {
            self.prefetch_members(db, window, blocks);
        }
    }

    /// Where neighbours work on the same large collection, prefetches the members that they name: the bucket of each,
    /// then the members themselves.
    fn prefetch_members(&self, db: &Db, window: &[u8], blocks: &[Block]) {
        let mut rest = &self.requests[..];
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|request| request.hash == first.hash).count();
            let (same, others) = rest.split_at(run);
            rest = others;
            if run == 1 || first.hash == 0 {
                continue;
            }
            let args = |request: &Request| Args::new(window, request.spans(&self.spans), blocks);
            let Ok(command) = first.command else { continue };
            let key = args(first).get(command.first_key as usize);
            let Some(entry) = db.dict().find(first.hash, key).map(|at| db.get(at)) else { continue };
            if !entry.is_container() {
                continue;
            }
            let mut hashes = [0; BATCH];
            for (request, hash) in same.iter().zip(&mut hashes) {
                let member = request.command.map_or(0, |command| usize::from(command.member));
                let args = args(request);
                if member != 0 && member < args.len() {
                    *hash = entry.prefetch_bucket(args.get(member));
                }
            }
            for hash in hashes.iter().take(run).filter(|hash| **hash != 0) {
                entry.prefetch_item(*hash);
            }
            if !command.has(flags::WRITE) {
                continue;
            }
            for hash in hashes.iter().take(run).filter(|hash| **hash != 0) {
                entry.prefetch_place(*hash);
            }
        }
    }
}

/// Parsed requests that wait, with what they are made of.
pub struct Rest {
    /// The requests.
    pub batch: Batch,
    /// Which of them comes next.
    pub next: usize,
    /// What their spans lie in.
    pub bytes: Vec<u8>,
    /// And the blocks of large arguments.
    pub blocks: Vec<Block>,
}

impl Rest {
    /// Bytes of arguments.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.blocks.iter().map(Block::len).sum::<usize>()
    }

    /// The request that comes next, and its arguments.
    pub fn current(&self) -> Option<(&Request, Args<'_>)> {
        let request = self.batch.requests.get(self.next)?;
        Some((request, Args::new(&self.bytes, request.spans(&self.batch.spans), &self.blocks)))
    }

    /// Gives the next request another argument at `index`.
    pub fn rewrite(&mut self, index: usize, value: &[u8]) {
        let Some(request) = self.batch.requests.get(self.next) else { return };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.batch.spans[request.first as usize + index] = Span::window(start, value.len());
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let Batch { spans, requests } = &self.batch;
        let blocks: usize = self.blocks.iter().map(Block::memory_bytes).sum();
        size_of::<Self>() + self.bytes.len() + blocks + size_of_val(&spans[..]) + size_of_val(&requests[..])
    }
}

impl Batch {
    /// Some of the requests, for a time when `window` and `blocks` will be something else.
    pub fn rest(&self, requests: Range<usize>, window: &[u8], blocks: &[Block]) -> Rest {
        let mut rest = Rest { batch: Batch::default(), next: 0, bytes: Vec::new(), blocks: Vec::new() };
        for request in &self.requests[requests] {
            let start = rest.batch.spans.len() as u32;
            for span in request.spans(&self.spans) {
                let moved = match span.kind() {
                    SpanKind::Window { start, len } => {
                        let moved = Span::window(rest.bytes.len(), len);
                        rest.bytes.extend_from_slice(&window[start..start + len]);
                        moved
                    }
                    SpanKind::Detached(index) => {
                        rest.blocks.push(blocks[index].share());
                        Span::detached(rest.blocks.len() - 1)
                    }
                    SpanKind::Piece { block, start, len } => {
                        let moved = Span::window(rest.bytes.len(), len);
                        rest.bytes.extend_from_slice(&blocks[block].as_slice()[start..start + len]);
                        moved
                    }
                };
                rest.batch.spans.push(moved);
            }
            rest.batch.requests.push(Request { first: start, ..*request });
        }
        rest
    }
}

#[inline]
fn hash_first_key(command: &Command, args: Args<'_>, keyspace: &Keyspace) -> u64 {
    let first = command.first_key as usize;
    if first == 0 || first >= args.len() { 0 } else { keyspace.hash(args.get(first)) }
}
