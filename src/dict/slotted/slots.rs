//! The dicts of the hash slots, one cache line each. A dict owns no memory while it has no entries.
//!
//! A dict of up to [`SMALL`] buckets changes size at once, since that takes a few microseconds. Larger ones rehash a
//! bucket at a time and are listed while they do, so that housekeeping need not search for them.

use super::counts::Counts;
use super::{Dict, Item, Position, Ref, Retired, SlottedDraw};
use crate::codec::hash_slot::HASH_SLOTS;
use crate::dict::Seed;
use crate::dict::bucket::Bucket;
use crate::dict::key_hasher::slot_of;
use crate::dict::prefetch::prefetch;
use crate::dict::sample::{Draw, below};
use crate::dict::stats::DictStats;
use crate::dict::table::Table;
use crate::sys::memory;

/// The most buckets of a dict that changes size at once: it has at most 192 entries to move.
const SMALL: usize = 32;

/// The slots that [`Slots::shrink_some`] examines: all in 256 calls.
const SWEPT: usize = HASH_SLOTS / 256;

/// The bits of a scan's cursor that contain the slot.
const CURSOR_BITS: u32 = HASH_SLOTS.trailing_zeros();

/// A dict aligned to its own cache line.
#[repr(align(64))]
struct Line<T: Item>(Dict<T>);

/// See the module's head.
pub(super) struct Slots<T: Item> {
    seed: Seed,
    dicts: Box<[Line<T>; HASH_SLOTS]>,
    /// The entries of each slot.
    entries: Counts,
    /// The buckets of each slot, those included that a rehash has emptied.
    buckets: Counts,
    /// The slot with the most buckets, as far as growing tables tell.
    largest: usize,
    /// Slots that rehash or have a retired table, in no order.
    listed: Vec<u16>,
    /// A bit for each slot: whether it is listed.
    is_listed: Box<[u64]>,
    /// Retired tables of dicts that are gone.
    retired: Vec<Retired>,
    /// The slot at which [`Slots::shrink_some`] continues.
    sweep: usize,
}

impl<T: Item> Slots<T> {
    pub(super) fn new(seed: Seed) -> Slots<T> {
        // In debug builds and tests a dict has more fields.
        const { assert!(cfg!(any(test, debug_assertions)) || size_of::<Line<T>>() == 64) };
        let dicts: Vec<_> = std::iter::repeat_with(|| Line(Dict::new(seed))).take(HASH_SLOTS).collect();
        let Ok(dicts) = dicts.try_into() else { unreachable!("as many as were taken") };
        Slots {
            seed,
            dicts,
            entries: Counts::new(),
            buckets: Counts::new(),
            largest: 0,
            listed: Vec::new(),
            is_listed: vec![0; HASH_SLOTS / 64].into_boxed_slice(),
            retired: Vec::new(),
            sweep: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.total()
    }

    pub(super) fn len_of(&self, slot: usize) -> usize {
        self.entries.get(slot)
    }

    /// The dict of `slot`.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> &Dict<T> {
        &self.dicts[slot].0
    }

    /// The item at a position that contains its slot.
    #[inline]
    pub(super) fn item(&self, position: Position) -> Ref<'_, T> {
        // The index of a bucket is taken modulo their number: the bits of the slot above it need not be removed.
        self.get(position.slot()).get(position)
    }

    #[inline]
    pub(super) fn dict_of(&self, hash: u64) -> &Dict<T> {
        self.get(slot_of(hash))
    }

    /// Prefetches the dict of a slot.
    #[inline]
    pub(super) fn prefetch_dict(&self, hash: u64) {
        prefetch(std::ptr::from_ref(self.dict_of(hash)).cast());
    }

    /// Prefetches the dicts, the buckets and the entries of these hashes.
    #[inline(never)]
    pub(super) fn prefetch_group(&self, hashes: &[u64]) {
        for hash in hashes {
            self.prefetch_dict(*hash);
        }
        for hash in hashes {
            self.dict_of(*hash).prefetch_bucket(*hash);
        }
        for hash in hashes {
            self.dict_of(*hash).prefetch_entry(*hash);
        }
    }

    /// [`Slots::get`] for writing.
    #[inline]
    pub(super) fn get_mut(&mut self, slot: usize) -> &mut Dict<T> {
        &mut self.dicts[slot].0
    }

    /// The dicts of all slots with entries.
    pub(super) fn dicts(&self) -> impl Iterator<Item = &Dict<T>> {
        self.used().map(|(slot, _)| self.get(slot.into()))
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let slot = slot_of(hash);
        self.get(slot).find(hash, key).map(|at| at.in_slot(slot))
    }

    pub(super) fn find_by(&self, hash: u64, wanted: impl FnMut(&T) -> bool) -> Option<Position> {
        let slot = slot_of(hash);
        self.get(slot).find_by(hash, wanted).map(|at| at.in_slot(slot))
    }

    pub(super) fn insert(&mut self, hash: u64, item: T) -> Position {
        let slot = slot_of(hash);
        let dict = self.get_mut(slot);
        let changes = dict.rehashing || dict.growth_bytes() > 0;
        if changes {
            dict.make_room();
            finish_small(dict);
        }
        let at = dict.insert(hash, item).in_slot(slot);
        let len = dict.len();
        if changes || dict.rehashing {
            self.resized(slot);
        }
        self.entries.set(slot, len);
        at
    }

    pub(super) fn remove(&mut self, slot: usize, position: Position) -> T {
        let dict = self.get_mut(slot);
        let before = dict.rehashing;
        let item = dict.remove(position);
        if dict.is_empty() {
            self.take(slot);
            return item;
        }
        let len = dict.len();
        if before || dict.rehashing {
            finish_small(dict);
            self.resized(slot);
        }
        self.entries.set(slot, len);
        item
    }

    /// Removes the entries of `slot` and all memory of its dict.
    pub(super) fn take(&mut self, slot: usize) -> Dict<T> {
        let empty = Dict::new(self.seed);
        let mut dict = std::mem::replace(self.get_mut(slot), empty);
        self.retired.extend(dict.take_retired());
        self.entries.set(slot, 0);
        self.buckets.set(slot, 0);
        dict
    }

    /// Called after the tables of the dict of `slot` may have changed.
    #[cold]
    fn resized(&mut self, slot: usize) {
        let dict = &self.dicts[slot].0;
        self.buckets.set(slot, buckets(dict));
        if self.buckets.get(slot) > self.buckets.get(self.largest) {
            self.largest = slot;
        }
        let bit = 1 << (slot % 64);
        if dict.second.is_some() && self.is_listed[slot / 64] & bit == 0 {
            self.is_listed[slot / 64] |= bit;
            self.listed.push(slot as u16);
        }
    }

    pub(super) fn is_rehashing(&self) -> bool {
        !self.listed.is_empty()
    }

    /// Continues with one of the listed slots.
    pub(super) fn rehash(&mut self, max_buckets: usize) -> bool {
        if memory::is_shared() {
            return false;
        }
        let Some(slot) = self.listed.pop().map(usize::from) else { return false };
        self.is_listed[slot / 64] &= !(1 << (slot % 64));
        let dict = self.get_mut(slot);
        dict.rehash(max_buckets);
        let retired = dict.take_retired();
        self.retired.extend(retired);
        self.resized(slot);
        !self.listed.is_empty()
    }

    pub(super) fn shrink_some(&mut self) {
        let slots = self.sweep..self.sweep + SWEPT;
        self.sweep = slots.end % HASH_SLOTS;
        for slot in slots {
            let dict = self.get_mut(slot);
            if dict.shrink_if_sparse() {
                finish_small(dict);
                self.resized(slot);
            }
        }
    }

    pub(super) fn take_retired(&mut self) -> Option<Retired> {
        self.retired.pop()
    }

    pub(super) fn growth_bytes(&self) -> usize {
        self.get(self.largest).growth_bytes()
    }

    /// Returns the slot of a scan's cursor, or the next that has entries, and the cursor within it.
    fn scanned(&self, cursor: u64) -> Option<(usize, u64)> {
        let named = cursor as usize % HASH_SLOTS;
        let slot = self.entries.next(named)?;
        Some((slot, if slot == named { cursor >> CURSOR_BITS } else { 0 }))
    }

    /// The cursor after a call that returned `next` within `slot`.
    fn cursor_after(&self, slot: usize, next: u64) -> u64 {
        if next != 0 {
            return next << CURSOR_BITS | slot as u64;
        }
        self.entries.next(slot + 1).map_or(0, |slot| slot as u64)
    }

    pub(super) fn scan(&self, cursor: u64, emit: &mut impl FnMut(&T)) -> u64 {
        let Some((slot, cursor)) = self.scanned(cursor) else { return 0 };
        let next = self.get(slot).scan(cursor, emit);
        self.cursor_after(slot, next)
    }

    pub(super) fn scan_mut(&mut self, cursor: u64, change: &mut impl FnMut(&mut T)) -> u64 {
        let Some((slot, cursor)) = self.scanned(cursor) else { return 0 };
        let next = self.get_mut(slot).scan_mut(cursor, change);
        self.cursor_after(slot, next)
    }

    pub(super) fn random(&self, random: &mut impl FnMut() -> u64) -> Option<Position> {
        let (slot, _) = self.entries.nth(below(random(), self.len()))?;
        self.get(slot).random(random).map(|at| at.in_slot(slot))
    }

    pub(super) fn draw(&self, word: u64) -> SlottedDraw {
        let found = self.buckets.nth(below(word, self.buckets.total()));
        let (slot, bucket) = found.expect("there is an entry");
        let of_main = self.get(slot).main.buckets();
        let draw = if bucket < of_main {
            Draw { table: 0, bucket }
        } else {
            Draw { table: 1, bucket: bucket - of_main }
        };
        SlottedDraw { slot: Some(slot as u16), draw }
    }

    pub(super) fn mappings(&self) -> impl Iterator<Item = (usize, usize)> {
        // Smaller tables are no mappings, so most dicts are not read.
        let is_large = |slot: &usize| self.buckets.get(*slot) * size_of::<Bucket>() >= 64 << 10;
        (0..HASH_SLOTS).filter(is_large).flat_map(|slot| self.get(slot).mappings())
    }

    /// Reads no dict: counts two tables of a dict as one.
    pub(super) fn memory_bytes(&self) -> usize {
        let fixed = size_of::<Self>()
            + HASH_SLOTS * size_of::<Line<T>>()
            + self.entries.memory_bytes()
            + self.buckets.memory_bytes()
            + HASH_SLOTS / 8;
        let retired: usize = self.retired.iter().map(Retired::len_bytes).sum();
        fixed + self.buckets.total() * size_of::<Bucket>() + retired
    }

    pub(super) fn stats(&self) -> DictStats {
        let mut sum = DictStats::default();
        self.dicts().for_each(|dict| sum.add(&dict.stats()));
        sum
    }

    pub(super) fn used(&self) -> impl Iterator<Item = (u16, usize)> {
        let first = self.entries.next(0);
        let slots = std::iter::successors(first, |slot| self.entries.next(slot + 1));
        slots.map(|slot| (slot as u16, self.entries.get(slot)))
    }
}

fn buckets<T: Item>(dict: &Dict<T>) -> usize {
    dict.tables().map(Table::buckets).sum()
}

/// Ends the rehash of a small dict.
fn finish_small<T: Item>(dict: &mut Dict<T>) {
    if dict.rehashing && dict.main.buckets() <= SMALL {
        dict.rehash(usize::MAX);
    }
}

impl<T: Item> Slots<T> {
    /// Panics unless all counts are those of the dicts.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for slot in 0..HASH_SLOTS {
            let dict = self.get(slot);
            assert_eq!(self.entries.get(slot), dict.len());
            assert_eq!(self.buckets.get(slot), buckets(dict));
            let listed = self.is_listed[slot / 64] >> (slot % 64) & 1 == 1;
            assert_eq!(listed, self.listed.contains(&(slot as u16)));
            assert!(listed || dict.second.is_none());
        }
    }
}
