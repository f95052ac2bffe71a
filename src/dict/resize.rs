//! When a dict changes size, and how its entries move: one bucket at a time.
//!
//! While two tables exist, every operation that changes the dict moves one bucket of the old table, in memory order. New
//! entries go to the new table, so the old one only becomes emptier. Bucket `i` of a table of `n` goes to buckets `i` and
//! `i + n` of a table twice as large (and to their neighbours where entries are displaced): three streams that the
//! processor's prefetcher follows, and each step also prefetches the lines of the next. The entries themselves are not
//! touched (see `bucket`).
//!
//! A table grows when 6 of 7 slots are used. Moving one bucket per insert then always finishes in time. In entries per
//! bucket of the table that fills:
//!
//! | resize | at the start | when done, if every operation is an insert |
//! |---|---|---|
//! | to twice the size | 6/2 = 3 | 3.5 |
//! | to the same size (at most 5¼) | 5¼ | 6¼ |
//! | to a smaller table | at most 3½ | turns around at 6: the large table becomes the target again |
//!
//! *Turning around* costs nothing: the tables swap roles. Entries in the large one stay there, those already moved to the
//! small one go back, and lookups find both as before.
//!
//! **Unattended dicts.** A resize also has to finish when no more inserts come. The keyspace's tables are moved on by
//! cron. A dict inside a value ([`Dict::unattended`]) has no such job, and both its memory and the cost of drawing a
//! random entry depend on the number of buckets. One bucket per removal would not be enough there: a table begins to
//! shrink at 7/8 of an entry per bucket, so its last entry would be gone before its last bucket was reached. So in an
//! unattended dict a removal moves [`REMOVAL_BUCKETS`]:
//!
//! | resize | at the start | when done, if every operation is a removal |
//! |---|---|---|
//! | to a quarter of the size | 7/8, in the new table 3½ | 5/8, in the new table 2½ |
//! | to the same size | at least 7/8 | at least 5/8; then it shrinks |
//! | to twice the size | 6, in the new table 3 | 5¾, in the new table 2⅞ |
//!
//! and all remaining buckets once there are more than [`BUCKETS_AN_ENTRY`] per entry. None of the resizes above gets
//! that far; it takes a table with room reserved for entries that never came ([`Dict::reserve`]). Making such a table
//! took work in proportion to its size, and so does freeing it.
//!
//! **While a forked child shares the memory** ([`memory::is_shared`]), the kernel copies every page that is written. So
//! nothing moves and no resize starts, in any dict of the thread, with two exceptions: a table about to pass 93 % gets
//! a larger one beside it, and when the entries of both would pass 5½ per bucket of the larger one, moving starts after
//! all (and ends by 6½ of 7 at the latest). Once the child has gone, an unattended dict catches up on the buckets that
//! removals left, [`CATCH_UP_BUCKETS`] per removal, so that no single removal pays for all of them.

use super::bucket::{Bucket, Known};
use super::prefetch::prefetch;
use super::table::{Place, Table};
use super::{Dict, Item, SECOND, Second};
use crate::sys::memory::{self, Pages};

/// The memory of a replaced table, without entries. Unmapping it takes the kernel a while, so it can be sent to another
/// thread and dropped there.
#[derive(Debug)]
pub struct Retired(Pages);

impl Retired {
    /// The bytes that are freed when this is dropped.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

/// The bytes of an old table that are unmapped at a time: about 15 µs of the kernel's work.
const SLICE: usize = 256 << 10;

/// The most entries that a table of `buckets` holds before it grows: 6 of 7 slots.
#[inline]
fn full_load(buckets: usize) -> usize {
    buckets * 6
}

/// The same while a child shares the memory: 93 % of the slots.
fn shared_load(buckets: usize) -> usize {
    buckets * 13 / 2
}

/// The buckets that a removal in an unattended dict moves.
const REMOVAL_BUCKETS: usize = 4;

/// The buckets that a removal in an unattended dict moves while the dict is behind: a few microseconds of work.
const CATCH_UP_BUCKETS: usize = 256;

/// The most buckets per entry, old and new together, that a removal in an unattended dict leaves.
const BUCKETS_AN_ENTRY: usize = 3;

/// The number of entries below which a table shrinks: an eighth of the slots.
#[inline]
fn sparse_load(buckets: usize) -> usize {
    buckets * 7 / 8
}

/// A table with more than 5 of 8 buckets marked is worn out. Inserts into a new table mark 3 % of the buckets by half
/// load, 19 % by 5 entries per bucket and 47 % by 6. Removals close the gaps that they make and take marks away
/// ([`Table::close_gap`]), so it stays at about that while entries are replaced by others; except while a child shares
/// the memory, when removals touch no more than they must and marks only accumulate. If `p` is the share of marked
/// buckets, the lookup of an absent key reads `p / (1 - p)` buckets beyond the first; at this limit, 1⅔.
#[inline]
pub(super) fn worn_out(ever_full: usize, buckets: usize) -> bool {
    // A few more for small tables, where a single mark is a large share.
    ever_full * 8 > buckets * 5 + 64
}

/// The number of buckets that hold `len` entries without exceeding the full load.
fn fitting(len: usize) -> usize {
    len.div_ceil(6).next_power_of_two()
}

/// The number of buckets that hold `len` entries at half load or less.
fn roomy(len: usize) -> usize {
    (len * 2).div_ceil(7).next_power_of_two()
}

impl<T: Item> Dict<T> {
    /// Whether two tables exist.
    #[inline]
    pub fn is_rehashing(&self) -> bool {
        self.rehashing
    }

    /// Moves one bucket if a rehash is under way. Positions become invalid. Insertion and removal do this themselves; a
    /// command that looks up a key to write it calls this first.
    #[inline]
    pub fn step(&mut self) {
        self.invalidate_positions();
        if self.rehashing && !memory::is_shared() {
            self.move_bucket();
        }
    }

    /// Moves up to `max_buckets` buckets, none while a child shares the memory. Returns whether more can be moved now.
    pub fn rehash(&mut self, max_buckets: usize) -> bool {
        self.invalidate_positions();
        if memory::is_shared() {
            return false;
        }
        for _ in 0..max_buckets {
            if !self.rehashing {
                return false;
            }
            self.move_bucket();
        }
        self.rehashing
    }

    /// The number of buckets moved since the dict was created.
    #[cfg(test)]
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Makes room for `len` entries in all, so that loading a known number does not grow the table step by step.
    pub fn reserve(&mut self, len: usize) {
        if !self.rehashing && fitting(len) > self.main.buckets() {
            self.start_resize(fitting(len));
        }
    }

    /// Starts to shrink if less than an eighth of the slots are used and nothing prevents it. Returns whether it did.
    pub fn shrink_if_sparse(&mut self) -> bool {
        let buckets = self.main.buckets();
        let sparse =
            !self.rehashing && buckets > 1 && self.len() < sparse_load(buckets) && !memory::is_shared();
        if sparse {
            self.start_resize(roomy(self.len()));
        }
        sparse
    }

    /// Ends a load that [`reserve`](Dict::reserve) made room for: frees the room if most of it is unused. An unattended
    /// dict must do so now, since later only removals would.
    pub fn settle(&mut self) {
        if self.shrink_if_sparse() && self.unattended {
            self.keep_pace();
        }
    }

    /// Takes the memory of the last replaced table, if freeing it is worth another thread's time.
    pub fn take_retired(&mut self) -> Option<Retired> {
        let retired = self.second.as_mut()?.retired.take();
        self.drop_second();
        retired
    }

    /// Frees `second` when the dict neither rehashes nor keeps the memory of a replaced table.
    fn drop_second(&mut self) {
        if !self.rehashing && self.second.as_ref().is_some_and(|second| second.retired.is_none()) {
            self.second = None;
        }
    }

    /// Returns a slice of the last retired table to the kernel. For dicts whose owner does not call
    /// [`take_retired`](Dict::take_retired): calling it with each change spreads the kernel's work over the changes.
    #[inline]
    pub fn shed(&mut self) {
        if self.second.is_some() {
            self.shed_slice();
        }
    }

    #[cold]
    fn shed_slice(&mut self) {
        let Some(second) = &mut self.second else { return };
        match &mut second.retired {
            Some(Retired(pages)) if pages.len() > 2 * SLICE => pages.cut(SLICE),
            retired => *retired = None,
        }
        self.drop_second();
    }

    /// The size in bytes of the table that the next insertion would have to create; 0 if there is room.
    #[inline]
    pub fn growth_bytes(&self) -> usize {
        let len = self.len() + 1;
        if self.rehashing || len <= full_load(self.main.buckets()) {
            return 0;
        }
        fitting(len) * size_of::<Bucket>()
    }

    /// Whether one more entry exceeds the full load of the first table; not for a dict that is rehashing.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.main.used() + 1 > full_load(self.main.buckets())
    }

    /// Ensures that one more entry fits.
    #[inline]
    pub(super) fn make_room(&mut self) {
        let len = self.len() + 1;
        if let Some(target) = self.target() {
            // The new table is at most half full before this matters.
            if len > target.buckets() * 11 / 2 {
                self.make_room_in_target(len);
            }
        } else {
            let buckets = self.main.buckets();
            if len > full_load(buckets) {
                self.grow(len);
            }
        }
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        if !memory::is_shared() || len > shared_load(self.main.buckets()) {
            self.start_resize(fitting(len));
        }
    }

    #[cold]
    fn make_room_in_target(&mut self, len: usize) {
        let second = self.second.as_mut().expect(SECOND);
        let (old, new) = (&mut self.main, &mut second.table);
        if new.buckets() < old.buckets() {
            if len > full_load(new.buckets()) {
                std::mem::swap(old, new);
                second.rehash_at = 0;
            }
        } else if memory::is_shared() {
            self.move_bucket();
        }
    }

    /// Called after a removal: an empty dict frees its memory, a sparse one shrinks.
    #[inline]
    pub(super) fn after_remove(&mut self) {
        let table = &self.main;
        if self.rehashing {
            self.step();
            if self.unattended {
                self.keep_pace();
            }
        } else if table.used() < sparse_load(table.buckets()) {
            self.behind |= memory::is_shared();
            self.settle();
        }
        if self.is_empty() {
            self.release();
        }
    }

    /// Moves the buckets that a removal in an unattended dict moves besides its one.
    #[inline(never)]
    fn keep_pace(&mut self) {
        // Without entries there is nothing to move; the caller frees the memory.
        if self.is_empty() {
            return;
        }
        self.rehash(REMOVAL_BUCKETS - 1);
        if self.live_buckets() <= self.len() * BUCKETS_AN_ENTRY {
            self.behind = false;
        } else if memory::is_shared() {
            self.behind = true;
        } else if self.behind {
            self.rehash(CATCH_UP_BUCKETS);
        } else {
            self.give_up_room();
        }
    }

    /// Finishes the rehash, shrinks as far as possible, and frees the retired memory.
    #[cold]
    fn give_up_room(&mut self) {
        while self.rehash(usize::MAX) || self.shrink_if_sparse() {}
        drop(self.take_retired());
    }

    /// The buckets that may hold entries: the rest of the old table, then the new one.
    pub(super) fn live_buckets(&self) -> usize {
        self.main.buckets() - self.rehash_at() + self.target().map_or(0, Table::buckets)
    }

    /// Starts a rehash if too many buckets are marked *ever full*: to the same size, or to the next one if the table is
    /// nearly full anyway.
    #[cold]
    pub(super) fn tidy_marks(&mut self) {
        let (buckets, used) = (self.main.buckets(), self.main.used());
        if self.rehashing || memory::is_shared() {
            return;
        }
        self.start_resize(if used * 4 <= buckets * 21 { buckets } else { buckets * 2 });
    }

    /// Puts a new empty table beside the current one, or replaces it if it is empty.
    #[cold]
    fn start_resize(&mut self, buckets: usize) {
        debug_assert!(!self.rehashing);
        drop(self.take_retired());
        // A dict within a value is small or one of few; a database has one for each hash slot in cluster mode.
        let new = Table::new(buckets, !self.unattended);
        if self.main.used() == 0 {
            self.main = new;
        } else {
            self.second = Some(Box::new(Second { table: new, rehash_at: 0, retired: None }));
            self.rehashing = true;
        }
    }

    /// Moves the next bucket of the old table to the new one.
    #[inline(never)]
    fn move_bucket(&mut self) {
        let second = self.second.as_deref_mut().expect(SECOND);
        let at = second.rehash_at;
        let (old, new) = (&mut self.main, &mut second.table);
        let (from_bits, to_bits) = (old.bits(), new.bits());
        let group = old.bucket(at).group();
        for slot in group.match_full() {
            let hint = old.bucket(at).slot(slot);
            let (home, known) = hint.rehome(at, from_bits, to_bits).unwrap_or_else(|| {
                // SAFETY: the slot is present, so its pointer came from `into_raw`; the table still owns the item.
                let hash = self.seed.hash(unsafe { T::key(hint.entry()) });
                (hash as usize & new.mask(), Known::of_hash(hash, to_bits))
            });
            let item = old.remove(Place { bucket: at, slot });
            new.insert(home, group.tag(slot), item, known);
        }
        #[cfg(test)]
        {
            self.moves += 1;
        }
        second.rehash_at = at + 1;
        if second.rehash_at == old.buckets() {
            self.finish_rehash();
        } else {
            for bucket in [old.bucket(at + 1), new.bucket(at + 1), new.bucket(at + 1 + old.buckets())] {
                prefetch(std::ptr::from_ref(bucket).cast());
            }
        }
    }

    #[cold]
    fn finish_rehash(&mut self) {
        debug_assert_eq!(self.main.used(), 0, "every bucket was moved");
        self.rehashing = false;
        let Second { table, .. } = *self.second.take().expect(SECOND);
        let replaced = std::mem::replace(&mut self.main, table);
        self.retire(replaced);
    }

    /// Keeps the memory of a table without entries for [`Dict::take_retired`], or frees it if that takes no time.
    fn retire(&mut self, table: Table<T>) {
        let retired = table.into_pages().map(Retired);
        if retired.is_some() {
            self.second = Some(Box::new(Second { table: Table::nothing(), rehash_at: 0, retired }));
        }
    }

    /// Frees all memory; there must be no entries. The larger of two tables is retired.
    #[cold]
    pub(super) fn release(&mut self) {
        let mut larger = std::mem::replace(&mut self.main, Table::nothing());
        self.behind = false;
        if std::mem::take(&mut self.rehashing)
            && let Some(second) = self.second.take()
            && second.table.buckets() > larger.buckets()
        {
            larger = second.table;
        }
        self.retire(larger);
    }
}
