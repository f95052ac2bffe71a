//! The dict of a database: one dict, or in cluster mode one for each hash slot.
//!
//! The keys of a slot can be counted, listed and dropped without looking at others, because they are in a dict of
//! their own. A hash contains the slot (see `key_hasher`), so does a [`Position`], and a `SCAN` cursor:
//!
//! ```text
//!   hash ──▶ slot ──▶ ┌──────┬──────┬──────┬──────┐
//!                     │ dict │ dict │ dict │ dict │ …  16384 cache lines
//!                     └──────┴───┬──┴──────┴───┬──┘
//!                                ▼             ▼
//!                             buckets       buckets    as those without slots, but small dicts change size at once
//! ```
//!
//! **Without slots** this type costs nothing: a dict tests for each lookup whether it is rehashing, and a position says
//! whether it is in the first table. These two tests also lead to the slots, off the usual path: a [`SlottedDict`] with
//! slots pretends to rehash forever.
//!
//! **With slots** each method costs one more cache miss, and each database with keys 1 MiB. The counts of all slots
//! (`counts`) choose one at random in proportion to its keys. A scan visits the slots one after the other: its
//! guarantee holds within each, so for all.

mod counts;
mod slots;

use super::sample::Draw;
use super::stats::DictStats;
use super::{Dict, Item, KeyHasher, Position, Ref, RefMut, Retired};
use slots::Slots;

/// A dict of keys. See the module's head.
pub struct SlottedDict<T: Item> {
    /// The dict without slots. With slots it stays empty, and its flag `rehashing` stays set.
    whole: Dict<T>,
    has_slots: bool,
    /// The dicts of the slots (1 MiB), created with the first key.
    slots: Option<Box<Slots<T>>>,
}

/// A drawn bucket; see [`SlottedDict::draw`].
#[derive(Clone, Copy, Debug)]
pub struct SlottedDraw {
    slot: Option<u16>,
    draw: Draw,
}

impl<T: Item> SlottedDict<T> {
    /// An empty dict, which owns no memory, for keys that `hasher` hashes.
    pub fn new(hasher: &KeyHasher) -> Self {
        let mut whole = Dict::new(*hasher.seed());
        whole.rehashing = hasher.has_slots();
        SlottedDict { whole, has_slots: hasher.has_slots(), slots: None }
    }

    /// Whether a lookup needs more than the first table.
    #[inline]
    fn is_elsewhere(&self) -> bool {
        self.whole.rehashing
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.as_ref().map_or_else(|| self.whole.len(), |slots| slots.len())
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds `key`, whose hash is `hash`.
    #[inline(always)]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.is_elsewhere() { self.find_elsewhere(hash, key) } else { self.find_at_rest(hash, key) }
    }

    #[inline(never)]
    fn find_at_rest(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.whole.find_at_rest(hash, key)
    }

    #[inline(never)]
    fn find_elsewhere(&self, hash: u64, key: &[u8]) -> Option<Position> {
        match &self.slots {
            Some(slots) => slots.find(hash, key),
            None => self.whole.find_in_both(hash, key),
        }
    }

    /// Finds an item with hash `hash` that `wanted` accepts: for callers that do not have the key.
    pub fn find_by(&self, hash: u64, wanted: impl FnMut(&T) -> bool) -> Option<Position> {
        match &self.slots {
            Some(slots) => slots.find_by(hash, wanted),
            None => self.whole.find_by(hash, wanted),
        }
    }

    /// The item at `position`, for reading.
    #[inline]
    pub fn get(&self, position: Position) -> Ref<'_, T> {
        if position.is_in_first_table() {
            self.whole.get_in_main(position)
        } else {
            self.get_elsewhere(position)
        }
    }

    #[inline(never)]
    fn get_elsewhere(&self, position: Position) -> Ref<'_, T> {
        match &self.slots {
            Some(slots) => slots.item(position),
            None => self.whole.get(position),
        }
    }

    /// The item at `position`, for changing anything but its key.
    #[inline]
    pub fn get_mut(&mut self, position: Position) -> RefMut<'_, T> {
        if position.is_in_first_table() {
            self.whole.get_mut_in_main(position)
        } else {
            self.get_mut_elsewhere(position)
        }
    }

    #[inline(never)]
    fn get_mut_elsewhere(&mut self, position: Position) -> RefMut<'_, T> {
        match &mut self.slots {
            Some(slots) => slots.get_mut(position.slot()).get_mut(position.within_slot()),
            None => self.whole.get_mut(position),
        }
    }

    /// Replaces the item at `position` with `item`, which has the same key, and returns the old one.
    #[inline]
    pub fn replace(&mut self, position: Position, item: T) -> T {
        std::mem::replace(&mut *self.get_mut(position), item)
    }

    /// Removes and returns the item at `position`.
    #[inline]
    pub fn remove(&mut self, position: Position) -> T {
        if position.is_in_first_table() {
            self.whole.remove(position)
        } else {
            self.remove_elsewhere(position)
        }
    }

    #[inline(never)]
    fn remove_elsewhere(&mut self, position: Position) -> T {
        match &mut self.slots {
            Some(slots) => slots.remove(position.slot(), position.within_slot()),
            None => self.whole.remove(position),
        }
    }

    /// Inserts an item whose key is not in the dict; `hash` is that of the key.
    #[inline]
    pub fn insert(&mut self, hash: u64, item: T) -> Position {
        if self.is_elsewhere() {
            self.insert_elsewhere(hash, item)
        } else {
            self.whole.insert_at_rest(hash, item)
        }
    }

    #[inline(never)]
    fn insert_elsewhere(&mut self, hash: u64, item: T) -> Position {
        if !self.has_slots {
            return self.whole.insert(hash, item);
        }
        let seed = self.whole.seed;
        self.slots.get_or_insert_with(|| Box::new(Slots::new(seed))).insert(hash, item)
    }

    /// Whether the dict has a dict for each hash slot.
    #[inline]
    pub fn has_slots(&self) -> bool {
        self.has_slots
    }

    /// Prefetches the bucket of `hash`, the first half of a lookup's wait; with slots, the dict of the slot instead.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.is_elsewhere() {
            self.prefetch_bucket_elsewhere(hash);
        } else {
            self.whole.prefetch_bucket(hash);
        }
    }

    #[inline(never)]
    fn prefetch_bucket_elsewhere(&self, hash: u64) {
        match &self.slots {
            Some(slots) => slots.prefetch_dict(hash),
            None => self.whole.prefetch_bucket(hash),
        }
    }

    /// With slots, prefetches the bucket of `hash`. Reads the dict of the slot, so call
    /// [`SlottedDict::prefetch_bucket`] some time before.
    #[inline]
    pub fn prefetch_bucket_in_slot(&self, hash: u64) {
        if let Some(slots) = &self.slots {
            slots.dict_of(hash).prefetch_bucket(hash);
        }
    }

    /// Prefetches the entry that a lookup of `hash` would look at: the second half. Reads the bucket.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if self.is_elsewhere() {
            self.prefetch_entry_elsewhere(hash);
        } else {
            self.whole.prefetch_entry(hash);
        }
    }

    #[inline(never)]
    fn prefetch_entry_elsewhere(&self, hash: u64) {
        let dict = self.slots.as_ref().map_or(&self.whole, |slots| slots.dict_of(hash));
        dict.prefetch_entry(hash);
    }

    /// Prefetches the buckets and then the entries of a group of hashes, which with slots are all of one if `share_slot`.
    #[inline]
    pub fn prefetch_group(&self, hashes: &[u64], share_slot: bool) {
        let dict = match (&self.slots, hashes.first()) {
            (None, _) => &self.whole,
            (Some(slots), Some(first)) if share_slot => slots.dict_of(*first),
            (Some(slots), _) => return slots.prefetch_group(hashes),
        };
        for hash in hashes {
            dict.prefetch_bucket(*hash);
        }
        for hash in hashes {
            dict.prefetch_entry(*hash);
        }
    }

    /// All items, in no particular order; with slots, slot by slot.
    pub fn iter(&self) -> impl Iterator<Item = Ref<'_, T>> {
        let of_slots = self.slots.iter().flat_map(|slots| slots.dicts()).flat_map(Dict::iter);
        self.whole.iter().chain(of_slots)
    }

    /// Emits the entries at `cursor` (0 to begin) and returns the next cursor, 0 when the walk is over. Guarantees what
    /// [`Dict::scan`] does.
    pub fn scan(&self, cursor: u64, emit: &mut impl FnMut(&T)) -> u64 {
        match &self.slots {
            Some(slots) => slots.scan(cursor, emit),
            None if self.has_slots => 0,
            None => self.whole.scan(cursor, emit),
        }
    }

    /// [`SlottedDict::scan`] that lends the entries to change anything but their keys. Positions stay valid.
    pub fn scan_mut(&mut self, cursor: u64, change: &mut impl FnMut(&mut T)) -> u64 {
        match &mut self.slots {
            Some(slots) => slots.scan_mut(cursor, change),
            None if self.has_slots => 0,
            None => self.whole.scan_mut(cursor, change),
        }
    }

    /// The position of a random entry, chosen by random words from `random`; `None` if there is no entry. All entries
    /// have the same chance.
    pub fn random(&self, random: &mut impl FnMut() -> u64) -> Option<Position> {
        match &self.slots {
            Some(slots) => slots.random(random),
            None => self.whole.random(random),
        }
    }

    /// Draws a bucket, which may be empty, with a random word. All buckets have the same chance. There must be an entry.
    #[inline]
    pub fn draw(&self, word: u64) -> SlottedDraw {
        match &self.slots {
            Some(slots) => slots.draw(word),
            None => SlottedDraw { slot: None, draw: self.whole.draw(word) },
        }
    }

    /// The dict of a drawn bucket.
    #[inline]
    fn drawn_dict(&self, draw: SlottedDraw) -> &Dict<T> {
        match (draw.slot, &self.slots) {
            (Some(slot), Some(slots)) => slots.get(usize::from(slot)),
            _ => &self.whole,
        }
    }

    /// Prefetches a drawn bucket.
    #[inline]
    pub fn prefetch_draw(&self, draw: SlottedDraw) {
        self.drawn_dict(draw).prefetch_draw(draw.draw);
    }

    /// Prefetches the entries of a drawn bucket. Reads the bucket.
    #[inline]
    pub fn prefetch_drawn(&self, draw: SlottedDraw) {
        self.drawn_dict(draw).prefetch_drawn(draw.draw);
    }

    /// Visits the entries of a drawn bucket.
    #[inline]
    pub fn visit_drawn(&self, draw: SlottedDraw, visit: &mut impl FnMut(&T)) {
        self.drawn_dict(draw).visit_drawn(draw.draw, visit);
    }
}

/// Size and memory.
impl<T: Item> SlottedDict<T> {
    /// Makes room for `len` entries in all. Does nothing with slots: nobody knows how many of the entries are of which
    /// slot, and small dicts grow quickly.
    pub fn reserve(&mut self, len: usize) {
        if !self.has_slots {
            self.whole.reserve(len);
        }
    }

    /// The size in bytes of the table that the next insertion would have to create; 0 if there is room. With slots,
    /// that of an insertion into the slot with the largest table: others are small.
    #[inline]
    pub fn growth_bytes(&self) -> usize {
        if self.is_elsewhere() { self.growth_bytes_elsewhere() } else { self.whole.growth_bytes() }
    }

    #[inline(never)]
    fn growth_bytes_elsewhere(&self) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots.growth_bytes())
    }

    /// Whether a rehash is under way, in any slot.
    pub fn is_rehashing(&self) -> bool {
        match &self.slots {
            Some(slots) => slots.is_rehashing(),
            None => self.whole.rehashing && !self.has_slots,
        }
    }

    /// Moves up to `max_buckets` buckets, none while a child shares the memory. Returns whether more can be moved now.
    pub fn rehash(&mut self, max_buckets: usize) -> bool {
        match &mut self.slots {
            Some(slots) => slots.rehash(max_buckets),
            None => !self.has_slots && self.whole.rehash(max_buckets),
        }
    }

    /// Starts to shrink if less than an eighth of the table is used and nothing prevents it; with slots, examines some
    /// of them, and others in the next call. Dicts do this themselves except while a child shares the memory.
    pub fn shrink_if_sparse(&mut self) {
        match &mut self.slots {
            Some(slots) => slots.shrink_some(),
            None if self.has_slots => {}
            None => drop(self.whole.shrink_if_sparse()),
        }
    }

    /// Takes the memory of a replaced table, if freeing it is worth another thread's time.
    pub fn take_retired(&mut self) -> Option<Retired> {
        match &mut self.slots {
            Some(slots) => slots.take_retired(),
            None => self.whole.take_retired(),
        }
    }

    /// Addresses and lengths of the bucket arrays that are mappings of their own: the large ones.
    pub fn mappings(&self) -> impl Iterator<Item = (usize, usize)> {
        self.whole.mappings().chain(self.slots.iter().flat_map(|slots| slots.mappings()))
    }

    /// The bytes of the bucket arrays and of all that finds them.
    pub fn memory_bytes(&self) -> usize {
        self.slots.as_ref().map_or_else(|| self.whole.memory_bytes(), |slots| slots.memory_bytes())
    }

    /// The dict's figures, with slots the sum of all. O(buckets).
    pub fn stats(&self) -> DictStats {
        match &self.slots {
            Some(slots) => slots.stats(),
            None if self.has_slots => DictStats::default(),
            None => self.whole.stats(),
        }
    }

    /// The number of buckets moved by rehashes of the dict without slots.
    #[cfg(test)]
    pub fn moves(&self) -> u64 {
        self.whole.moves()
    }

    /// The dicts, after a check of what is known about them besides.
    #[cfg(test)]
    pub(super) fn checked_dicts(&self) -> Vec<&Dict<T>> {
        let Some(slots) = &self.slots else { return Vec::new() };
        slots.check();
        slots.dicts().collect()
    }
}

/// Single hash slots; all are empty if the dict has none.
impl<T: Item> SlottedDict<T> {
    /// The number of entries in `slot`. O(1).
    pub fn len_of_slot(&self, slot: u16) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots.len_of(usize::from(slot)))
    }

    /// The entries of `slot`, in no particular order.
    pub fn iter_slot(&self, slot: u16) -> impl Iterator<Item = Ref<'_, T>> {
        let dict = self.slots.as_ref().map(|slots| slots.get(usize::from(slot)));
        dict.into_iter().flat_map(Dict::iter)
    }

    /// The slots that have entries in ascending order, with the number of entries. O(1) for each.
    pub fn used_slots(&self) -> impl Iterator<Item = (u16, usize)> {
        self.slots.iter().flat_map(|slots| slots.used())
    }

    /// Removes all entries of `slot`, and returns the dict that contains them. O(1).
    pub fn take_slot(&mut self, slot: u16) -> Option<Dict<T>> {
        let slots = self.slots.as_mut().filter(|slots| slots.len_of(slot.into()) > 0)?;
        Some(slots.take(slot.into()))
    }
}
