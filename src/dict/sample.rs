//! Uniformly random entries.
//!
//! Draws a random *slot*, and draws again while the slot is free. Every slot has the same chance, and so has every
//! entry. Buckets of the old table that a rehash has emptied are skipped.
//!
//! Costs: 8/7 draws divided by the load, that is 2 to 3 at usual loads and about 9 just before the table shrinks. A
//! table can be much emptier (it does not shrink while a forked child shares its memory, and shrinking takes time). So
//! drawing stops after [`MOST_DRAWS`]; then a random number selects the entry, counted from the first bucket:
//! O(buckets), and just as even.

use super::table::{Place, Table};
use super::{Dict, Item, Position, Ref};

/// At a load of 1/8 the chance of needing this many is 10⁻²⁶.
const MOST_DRAWS: usize = 512;

impl<T: Item> Dict<T> {
    /// The position of a random entry, chosen by random words from `random`; `None` if there is no entry.
    pub fn random(&self, random: &mut impl FnMut() -> u64) -> Option<Position> {
        if self.is_empty() {
            return None;
        }
        for _ in 0..MOST_DRAWS {
            let word = random();
            let slot = (word & 7) as usize;
            if slot == 0 {
                continue;
            }
            let (table, bucket) = self.nth_bucket(self.random_bucket(word));
            if self.table(table).bucket(bucket).group().is_present(slot) {
                return Some(self.position(table, Place { bucket, slot }));
            }
        }
        self.nth(below(random(), self.len()))
    }

    /// A number below `live_buckets`, from the high bits of a random word.
    fn random_bucket(&self, word: u64) -> usize {
        below(word, self.live_buckets())
    }

    fn nth_bucket(&self, n: usize) -> (usize, usize) {
        let at = self.rehash_at();
        let of_main = self.main.buckets() - at;
        if n < of_main { (0, at + n) } else { (1, n - of_main) }
    }

    /// The entry with number `n` in memory order.
    #[cold]
    fn nth(&self, mut n: usize) -> Option<Position> {
        (0..self.live_buckets()).find_map(|bucket| {
            let (table, bucket) = self.nth_bucket(bucket);
            let mut slots = self.table(table).bucket(bucket).group().match_full();
            let count = slots.clone().count();
            if n >= count {
                n -= count;
                return None;
            }
            let slot = slots.nth(n)?;
            Some(self.position(table, Place { bucket, slot }))
        })
    }
}

/// A drawn bucket. It may be visited whatever has happened to the dict since; after a resize it is another bucket.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub(super) table: usize,
    pub(super) bucket: usize,
}

/// Draws whole buckets: for one cache line, a handful of entries, each with the same chance as any other.
impl<T: Item> Dict<T> {
    /// Draws a bucket, which may be empty, with a random word.
    #[inline]
    pub fn draw(&self, word: u64) -> Draw {
        let (table, bucket) = self.nth_bucket(self.random_bucket(word));
        Draw { table, bucket }
    }

    /// The table of a drawn bucket, or the main one if there is no other now.
    #[inline]
    fn drawn_table(&self, draw: Draw) -> &Table<T> {
        self.target().filter(|_| draw.table == 1).unwrap_or(&self.main)
    }

    /// Prefetches a drawn bucket.
    #[inline]
    pub fn prefetch_draw(&self, draw: Draw) {
        self.drawn_table(draw).prefetch_bucket(draw.bucket as u64);
    }

    /// Prefetches the entries of a drawn bucket. Reads the bucket.
    #[inline]
    pub fn prefetch_drawn(&self, draw: Draw) {
        self.drawn_table(draw).prefetch_entries(draw.bucket);
    }

    /// Visits the entries of a drawn bucket.
    #[inline]
    pub fn visit_drawn(&self, draw: Draw, visit: &mut impl FnMut(&T)) {
        let bucket = self.drawn_table(draw).bucket(draw.bucket);
        for slot in bucket.group().match_full() {
            // SAFETY: the slot is present, so it holds an item that the table owns; the dict is borrowed, and the guard is
            // dropped before the next iteration.
            let item = unsafe { Ref::<T>::new(bucket.slot(slot).entry()) };
            visit(&item);
        }
    }
}

/// A number below `limit`, from the high bits of a random word.
pub(super) fn below(word: u64, limit: usize) -> usize {
    ((u128::from(word) * limit as u128) >> 64) as usize
}
