//! Walking the dict with a cursor, in many calls, while it changes in between.
//!
//! **The promise.** A walk that starts with cursor 0 and goes on with each returned cursor until 0 comes back has
//! emitted every entry that was in the dict from its start to its end, whatever was inserted, removed and resized
//! meanwhile; some may come more than once. Nothing is remembered but the cursor.
//!
//! **Why it holds.** Think of the interval [0, 1) on which the bucket order stands (see `order`): an entry's hash,
//! read backwards, is its *point*, which never changes; a bucket of whichever table covers a stretch; the cursor is
//! the left end of a stretch. The invariant between calls is:
//!
//! > every entry that was always there and whose point lies left of the cursor has been emitted.
//!
//! One call with one table: it emits from the cursor's bucket to the first bucket that is not marked *ever full*.
//!
//! ```text
//!   [ done so far … )[  b  E ][     E ][     - )[ …                 E: ever full, the probe goes on past it
//!                    ↑cursor                    ↑next cursor
//! ```
//!
//! An entry whose home is one of these buckets lies in its home or after it, but not beyond a bucket without the mark:
//! so it lies in one of these buckets and is emitted. Its point lies left of the new cursor, and no other entry's point
//! has come to lie there: the invariant holds. Where the chain runs over the end of the table, its rest at the
//! beginning is emitted too, and the walk is over.
//!
//! One call while rehashing: the smaller table's chain is emitted as above and determines the next cursor. The larger
//! table's buckets that cover the same stretch are neighbours; they are emitted, and on from the last of them to the
//! end of *its* chain. An entry with its point in the stretch lies in one table or the other and is emitted.
//!
//! Between calls a table may have been replaced by one of another size: points do not move, so the invariant is
//! untouched. If the cursor falls inside a bucket's stretch (the table has shrunk), the whole bucket is emitted:
//! more than needed, which is allowed.
//!
//! Costs: a call emits a chain, about 5 entries at usual loads; while rehashing also the expansions of these buckets.

use super::table::Table;
use super::{Dict, Item, Ref, order};

impl<T: Item> Dict<T> {
    /// Emits the entries at `cursor` (0 to begin) and returns the next cursor, 0 when the walk is over.
    pub fn scan(&self, cursor: u64, emit: &mut impl FnMut(&T)) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let [main, target] = &self.tables;
        if !self.rehashing {
            return scan_chain(main, cursor as usize & main.mask(), 1, emit).next;
        }
        let (small, large) = if main.buckets() <= target.buckets() { (main, target) } else { (target, main) };
        let start = cursor as usize & small.mask();
        let chain = scan_chain(small, start, 1, emit);
        scan_chain(large, start, chain.covered * (large.buckets() / small.buckets()), emit);
        chain.next
    }
}

/// What one table's part of a call has done.
struct Chain {
    /// The buckets emitted before the end of the table, from the cursor on.
    covered: usize,
    /// The bucket after them; 0 if they reach to the end.
    next: u64,
}

/// Emits `least` buckets from `start` on, or as many as there are to the end of the table, and then on to the end of
/// the chain, around the end of the table if need be; never a bucket twice.
fn scan_chain<T: Item>(table: &Table<T>, start: usize, least: usize, emit: &mut impl FnMut(&T)) -> Chain {
    let mut at = start;
    let mut emitted = 0;
    let mut to_the_end = None;
    loop {
        emit_bucket(table, at, emit);
        emitted += 1;
        let ever_full = table.bucket(at).group().ever_full();
        at = order::next(at, table.mask());
        if at == 0 && to_the_end.is_none() {
            to_the_end = Some(emitted);
        }
        let wanted = ever_full || (emitted < least && to_the_end.is_none());
        if !wanted || at == start {
            let next = if to_the_end.is_some() { 0 } else { at as u64 };
            return Chain { covered: to_the_end.unwrap_or(emitted), next };
        }
    }
}

/// Asks for all entries of the bucket first: the waits overlap.
#[inline]
fn emit_bucket<T: Item>(table: &Table<T>, index: usize, emit: &mut impl FnMut(&T)) {
    table.prefetch_entries(index);
    let bucket = table.bucket(index);
    for slot in bucket.group().match_full() {
        // SAFETY: the slot is present, so it holds an item that the table owns; the table is borrowed, and the guard
        // lives no longer than this turn of the loop.
        let item = unsafe { Ref::<T>::new(bucket.slot(slot).entry()) };
        emit(&item);
    }
}
