//! Looks up the commands of parsed requests and prefetches their memory.
//!
//! All memory that the requests of a batch need is prefetched before the first one is executed. While the next request
//! is parsed, names are looked up, keys are hashed, and their buckets are prefetched. A second pass prefetches the
//! entries and, where consecutive requests access one large collection, the members that they name. With a keyspace
//! larger than the cache, the misses of up to [`BATCH`] requests overlap instead of following each other.

use super::net::batch::{BATCH, Batch, Request};
use crate::command::{CommandNames, Places, flags};
use crate::db::{Db, KeyHasher, Keyspace};
use crate::resp::Span;
use crate::types::Block;

/// Adds a request to `batch` and passes the hash of its first key to `found`. Its arguments, which are in `window` and
/// `blocks`, have been appended to the spans of `batch` from `first` on. The caller sets its end.
#[inline]
pub fn push<'a>(
    batch: &'a mut Batch,
    first: usize,
    window: &[u8],
    blocks: &[Block],
    names: CommandNames,
    hasher: &KeyHasher,
    found: impl Fn(u64),
) -> &'a mut Request {
    let places = Places { window, spans: &batch.spans[first..], blocks };
    let args = places.args();
    let command = names.find(&args);
    let hash = command.map_or(0, |command| command.keys.hash_first(args, hasher));
    if hash != 0 {
        found(hash);
    }
    let count = args.len();
    batch.push(first, count, command, hash)
}

/// Prefetches the entries of all requests, whose buckets were prefetched when they were added. If another database is
/// selected by the time of execution, the prefetch is useless but harmless.
#[inline(always)]
pub fn prefetch(
    requests: &[Request],
    spans: &[Span],
    keyspace: &Keyspace,
    db: usize,
    window: &[u8],
    blocks: &[Block],
) {
    let db = keyspace.db(db);
    let with_key = || requests.iter().filter(|request| request.hash != 0);
    db.prefetch_buckets_in_slots(with_key().map(|request| request.hash));
    let mut before = 0;
    let mut repeats = false;
    for request in with_key() {
        db.prefetch_entry(request.hash);
        repeats |= request.hash == before;
        before = request.hash;
    }
    if repeats {
        prefetch_members(requests, spans, db, window, blocks);
    }
}

/// Where consecutive requests access the same large collection, prefetches the members that they name: the bucket of
/// each, then the members themselves.
fn prefetch_members(requests: &[Request], spans: &[Span], db: &Db, window: &[u8], blocks: &[Block]) {
    let mut rest = requests;
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|request| request.hash == first.hash).count();
        let (same, others) = rest.split_at(run);
        rest = others;
        if run == 1 || first.hash == 0 {
            continue;
        }
        let places = |request: &Request| Places { window, spans: request.spans(spans), blocks };
        let Ok(command) = first.command else { continue };
        let first_places = places(first);
        let args = first_places.args();
        let Some(key) = command.keys.first(args.len()).map(|at| args.get(at)) else { continue };
        let Some(entry) = db.find(first.hash, key).map(|at| db.get(at)) else { continue };
        if !entry.is_container() {
            continue;
        }
        let mut hashes = [0; BATCH];
        for (request, hash) in same.iter().zip(&mut hashes) {
            if let Ok(command) = request.command
                && let Some(member) = command.keys.member(request.count as usize)
            {
                *hash = entry.prefetch_bucket(places(request).args().get(member));
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
