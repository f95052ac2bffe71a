//! A cursor that walks the dict in many calls, while it changes in between.
//!
//! **The guarantee.** A walk that starts with cursor 0 and continues with each returned cursor until 0 is returned has
//! emitted every entry that was in the dict from start to end, whatever was inserted, removed and resized in the
//! meantime; some entries may be emitted more than once. The cursor is the only state.
//!
//! **The proof.** Think of the interval [0, 1) on which the bucket order lies (see `order`): an entry's hash, read
//! backwards, is its *point*, which never changes; a bucket of either table covers a stretch; the cursor is the left
//! end of a stretch. The invariant between calls is:
//!
//! > every entry that was present throughout and whose point lies left of the cursor has been emitted.
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
//! [`Dict::scan_mut`] lends the entries for changing. An entry may move to another block meanwhile: its slot stays, and so
//! all of the above, and every position.
//!
//! Costs: a call emits a chain, about 5 entries at usual loads, and while rehashing also the buckets of the other table.

use super::bucket::Slot;
use super::table::Table;
use super::{Dict, Item, Ref, RefMut, order};

impl<T: Item> Dict<T> {
    /// Emits the entries at `cursor` (0 to begin) and returns the next cursor, 0 when the walk is over.
    pub fn scan(&self, cursor: u64, emit: &mut impl FnMut(&T)) -> u64 {
        let mut call = Call::new(self, cursor);
        while let Some(visit) = call.next(self) {
            self.emit_bucket(visit, emit);
        }
        call.cursor
    }

    /// [`Dict::scan`] that lends the entries to change anything but their keys. Positions stay valid.
    pub fn scan_mut(&mut self, cursor: u64, change: &mut impl FnMut(&mut T)) -> u64 {
        let mut call = Call::new(self, cursor);
        while let Some(visit) = call.next(self) {
            self.change_bucket(visit, change);
        }
        call.cursor
    }

    /// Emits the entries of a bucket. Prefetches all of them first, so that the waits overlap.
    #[inline]
    fn emit_bucket(&self, visit: Visit, emit: &mut impl FnMut(&T)) {
        let table = self.table(visit.table);
        table.prefetch_entries(visit.bucket);
        let bucket = table.bucket(visit.bucket);
        for slot in bucket.group().match_full() {
            let slot = bucket.slot(slot);
            if !self.concerns(visit, slot) {
                continue;
            }
            // SAFETY: the slot is present, so it holds an item that the table owns; the table is borrowed, and the
            // guard is dropped before the next iteration.
            let item = unsafe { Ref::<T>::new(slot.entry()) };
            emit(&item);
        }
    }

    /// [`Self::emit_bucket`] for modification.
    fn change_bucket(&mut self, visit: Visit, change: &mut impl FnMut(&mut T)) {
        self.table(visit.table).prefetch_entries(visit.bucket);
        for at in self.table(visit.table).bucket(visit.bucket).group().match_full() {
            if !self.concerns(visit, self.table(visit.table).bucket(visit.bucket).slot(at)) {
                continue;
            }
            let bucket = self.table_mut(visit.table).bucket_mut(visit.bucket);
            // SAFETY: the slot is present, so it holds an item that the table owns; the dict is borrowed for writing, and
            // the guard is dropped before the next iteration.
            let mut item = unsafe { RefMut::new(bucket, at) };
            change(&mut item);
        }
    }

    /// Whether the visit covers the entry in `slot`.
    #[inline(always)]
    fn concerns(&self, visit: Visit, slot: Slot) -> bool {
        visit.around.is_none_or(|around| self.has_come_around(visit, slot) == around)
    }

    /// Whether the entry in `slot` of a visited bucket has wrapped around: its home is near the end of the order, and
    /// the bucket near the beginning.
    #[inline(never)]
    fn has_come_around(&self, visit: Visit, slot: Slot) -> bool {
        let (table, index) = (self.table(visit.table), visit.bucket);
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

/// A bucket whose entries are emitted: all, only those that have wrapped around, or only those that have not.
#[derive(Clone, Copy)]
struct Visit {
    table: usize,
    bucket: usize,
    around: Option<bool>,
}

/// The buckets of one call.
struct Call {
    chain: Chain,
    /// While rehashing, until the smaller table's chain is done: the number of buckets of the larger table per bucket
    /// of the smaller.
    ratio: Option<usize>,
    /// The cursor that the call returns.
    cursor: u64,
}

impl Call {
    #[inline]
    fn new<T: Item>(dict: &Dict<T>, cursor: u64) -> Call {
        let main = dict.main.buckets();
        let (small, ratio) = match dict.target().map(Table::buckets) {
            None => (0, None),
            Some(target) if main <= target => (0, Some(target / main)),
            Some(target) => (1, Some(main / target)),
        };
        let mut chain = Chain::new(small, cursor as usize & dict.table(small).mask(), 1);
        if dict.is_empty() {
            chain.state = State::Over;
        }
        Call { chain, ratio: ratio.filter(|_| !dict.is_empty()), cursor: 0 }
    }

    #[inline]
    fn next<T: Item>(&mut self, dict: &Dict<T>) -> Option<Visit> {
        loop {
            let visit = self.chain.next(dict.table(self.chain.table));
            if visit.is_some() {
                return visit;
            }
            let Chain { table, start, covered, next, .. } = self.chain;
            match self.ratio.take() {
                // The stretch of the smaller table's chain, in the larger one.
                Some(ratio) => {
                    self.cursor = next;
                    self.chain = Chain::new(1 - table, start, covered * ratio);
                }
                None if !dict.rehashing => {
                    self.cursor = next;
                    return None;
                }
                None => return None,
            }
        }
    }
}

/// The part of the table that a chain is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the end of the table.
    Along,
    /// At its beginning, after wrapping around.
    Around,
    Over,
}

/// The buckets of one table that a call emits: `least` buckets from `start` on, or as many as there are to the end of
/// the table, and then the rest of the chain, wrapping around if necessary, but not past `start`, from which everything
/// was emitted. No entry is emitted twice.
#[derive(Clone, Copy)]
struct Chain {
    table: usize,
    start: usize,
    least: usize,
    at: usize,
    state: State,
    /// The number of buckets before the end of the table so far.
    covered: usize,
    /// The bucket after them; 0 if they reach the end of the table.
    next: u64,
}

impl Chain {
    fn new(table: usize, start: usize, least: usize) -> Chain {
        Chain { table, start, least, at: start, state: State::Along, covered: 0, next: 0 }
    }

    #[inline]
    fn next<T: Item>(&mut self, table: &Table<T>) -> Option<Visit> {
        if self.state == State::Over {
            return None;
        }
        let bucket = self.at;
        let ever_full = table.bucket(bucket).group().ever_full();
        self.at = order::next(bucket, table.mask());
        let around = if self.state == State::Along {
            self.covered += 1;
            if self.at == 0 {
                self.state = if ever_full { State::Around } else { State::Over };
            } else if !ever_full && self.covered >= self.least {
                self.state = State::Over;
                self.next = self.at as u64;
            }
            // The first call leaves entries that have wrapped around to the last call.
            if self.start == 0 { Some(false) } else { None }
        } else {
            if !ever_full || self.at == self.start || self.at == 0 {
                self.state = State::Over;
            }
            Some(true)
        };
        Some(Visit { table: self.table, bucket, around })
    }
}
