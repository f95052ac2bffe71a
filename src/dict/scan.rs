//! Walking the dict with a cursor, in many calls, while it changes in between.
//!
//! **The promise.** A walk that starts with cursor 0 and continues with each returned cursor until 0 is returned has
//! emitted every entry that was in the dict from its start to its end, whatever was inserted, removed and resized in the
//! meantime; some entries may be emitted more than once. No state is kept but the cursor.
//!
//! **Why it holds.** Think of the interval [0, 1) on which the bucket order stands (see `order`): an entry's hash,
//! read backwards, is its *point*, which never changes; a bucket of whichever table covers a stretch; the cursor is
//! the left end of a stretch. The invariant between calls is:
//!
//! > every entry that was there throughout and whose point lies left of the cursor has been emitted.
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
//! has come to lie there: the invariant holds.
//!
//! If the chain runs over the end of the table, its entries at the beginning are emitted too, and the walk is over.
//! The point of an entry that has *come around* the end like this lies far right of the entry's bucket, and the first
//! call skips it. So a walk over a dict that neither changes nor rehashes emits every entry exactly once.
//!
//! One call while rehashing: the smaller table's chain is emitted as above and determines the next cursor. The larger
//! table's buckets that cover the same stretch are neighbours; they are emitted, and so is the rest of the chain of the
//! last of them. An entry with its point in the stretch lies in one table or the other and is emitted.
//!
//! Between calls a table may have been replaced by one of another size: points do not move, so the invariant is
//! untouched. If the cursor falls inside a bucket's stretch (the table has shrunk), the whole bucket is emitted:
//! more than needed, which is allowed.
//!
//! Costs: a call emits a chain, about 5 entries at usual loads, and while rehashing also the buckets of the other table.

use super::bucket::Slot;
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
            return self.scan_chain(main, cursor as usize & main.mask(), 1, emit).next;
        }
        let (small, large) = if main.buckets() <= target.buckets() { (main, target) } else { (target, main) };
        let start = cursor as usize & small.mask();
        let chain = self.scan_chain(small, start, 1, emit);
        self.scan_chain(large, start, chain.covered * (large.buckets() / small.buckets()), emit);
        chain.next
    }

    /// Emits `least` buckets from `start` on, or as many as there are to the end of the table, and continues to the end of
    /// the chain, around the end of the table if necessary. Emits no entry twice.
    fn scan_chain(&self, table: &Table<T>, start: usize, least: usize, emit: &mut impl FnMut(&T)) -> Chain {
        let mut at = start;
        let mut covered = 0;
        loop {
            self.emit_bucket(table, at, if start == 0 { Some(false) } else { None }, emit);
            covered += 1;
            let ever_full = table.bucket(at).group().ever_full();
            at = order::next(at, table.mask());
            if at == 0 {
                if ever_full {
                    self.emit_around_the_end(table, start, emit);
                }
                return Chain { covered, next: 0 };
            }
            if !ever_full && covered >= least {
                return Chain { covered, next: at as u64 };
            }
        }
    }

    /// Emits the entries that have come around the end of the table, up to the end of the chain or to bucket `start`, from
    /// which everything has been emitted already (0: everything but those that came around).
    #[cold]
    fn emit_around_the_end(&self, table: &Table<T>, start: usize, emit: &mut impl FnMut(&T)) {
        let mut at = 0;
        loop {
            self.emit_bucket(table, at, Some(true), emit);
            let ever_full = table.bucket(at).group().ever_full();
            at = order::next(at, table.mask());
            if !ever_full || at == start || at == 0 {
                return;
            }
        }
    }

    /// Emits all entries of a bucket, or only those that have come around the end, or only those that have not. Prefetches
    /// all of them first, so that the waits overlap.
    #[inline]
    fn emit_bucket(&self, table: &Table<T>, index: usize, around: Option<bool>, emit: &mut impl FnMut(&T)) {
        table.prefetch_entries(index);
        let bucket = table.bucket(index);
        for slot in bucket.group().match_full() {
            let slot = bucket.slot(slot);
            if around.is_some_and(|around| self.has_come_around(table, index, slot) != around) {
                continue;
            }
            // SAFETY: the slot is present, so it holds an item that the table owns; the table is borrowed, and the
            // guard is dropped before the next iteration.
            let item = unsafe { Ref::<T>::new(slot.entry()) };
            emit(&item);
        }
    }

    /// Whether the entry in `slot` of bucket `index` has its home near the end of the order and this place near the
    /// beginning.
    fn has_come_around(&self, table: &Table<T>, index: usize, slot: Slot) -> bool {
        let home = slot.rehome(index, table.bits(), table.bits()).map_or_else(
            || {
                // SAFETY: the slot is present, so its pointer came from `into_raw`; the table owns the item.
                let hash = self.seed.hash(unsafe { T::key(slot.entry()) });
                hash as usize & table.mask()
            },
            |(home, _)| home,
        );
        order::is_before(index, home)
    }
}

/// What a call has done in one table.
struct Chain {
    /// The buckets emitted before the end of the table, from the cursor on.
    covered: usize,
    /// The bucket after them; 0 if they reach the end.
    next: u64,
}
