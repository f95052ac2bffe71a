//! Walks over all entries at once, in memory order: to read them all, or to remove them all.

use super::table::{Place, Table};
use super::{Dict, Item, Ref};

impl<T: Item> Dict<T> {
    /// All items, in no particular order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { dict: self, table: 0, bucket: self.rehash_at(), slots: None }
    }

    /// Calls `see` with every item.
    pub fn for_each(&self, mut see: impl FnMut(&T)) {
        for item in self {
            see(&item);
        }
    }

    /// Removes the items of up to `buckets` buckets, starting with bucket `from` (0 at first). Returns where to
    /// continue, or `None` when the dict is empty. Between the calls the dict is consistent, only smaller; if it is
    /// changed in between, start at 0 again.
    pub fn drain(&mut self, from: usize, buckets: usize, take: &mut impl FnMut(T)) -> Option<usize> {
        self.invalidate_positions();
        let of_main = self.main.buckets();
        let all = of_main + self.target().map_or(0, Table::buckets);
        let to = from.saturating_add(buckets).min(all);
        for n in from..to {
            let (table, bucket) = if n < of_main { (0, n) } else { (1, n - of_main) };
            let table = self.table_mut(table);
            for slot in table.bucket(bucket).group().match_full() {
                take(table.remove(Place { bucket, slot }));
            }
        }
        if to < all {
            return Some(to);
        }
        if self.is_empty() {
            self.release();
        }
        None
    }

    /// Drops all items and frees the memory.
    pub fn clear(&mut self) {
        self.drain(0, usize::MAX, &mut drop);
        self.release();
    }
}

impl<'a, T: Item> IntoIterator for &'a Dict<T> {
    type Item = Ref<'a, T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The iterator of [`Dict::iter`].
pub struct Iter<'a, T: Item> {
    dict: &'a Dict<T>,
    table: usize,
    bucket: usize,
    slots: Option<super::group::Slots>,
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = Ref<'a, T>;

    fn next(&mut self) -> Option<Ref<'a, T>> {
        loop {
            let table = match self.table {
                0 => &self.dict.main,
                1 => self.dict.target()?,
                _ => return None,
            };
            if self.bucket == table.buckets() {
                self.table += 1;
                self.bucket = 0;
                self.slots = None;
                continue;
            }
            let bucket = table.bucket(self.bucket);
            let slots = self.slots.get_or_insert_with(|| {
                // The entries of the next bucket arrive while those of this one are read.
                table.prefetch_entries(self.bucket + 1);
                bucket.group().match_full()
            });
            if let Some(slot) = slots.next() {
                // SAFETY: the slot is present, so it holds an item that the table owns; the dict is borrowed for as
                // long as the guard lives.
                return Some(unsafe { Ref::new(bucket.slot(slot).entry()) });
            }
            self.bucket += 1;
            self.slots = None;
        }
    }
}
