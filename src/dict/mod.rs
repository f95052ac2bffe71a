//! The dict: maps a key to its entry, for about one cache miss in the table and one for the entry.
//!
//! A table of a million keys does not fit in the cache, so the cost of a lookup is the number of cache lines that it
//! waits for. A bucket is therefore exactly one cache line. Its 64 bytes hold seven pointers to entries and, in the
//! eighth word, one byte of hash for each of them, so that a single line shows which entry, if any, is worth reading:
//!
//! ```text
//!   bucket = hash & mask                     one bucket, 64 bytes
//!                        ┌──────────┬───────┬───────┬───────┬───────┬───────┬───────┬───────┐
//!   tag = hash >> 57 ───▶│ metadata │ slot 1│ slot 2│ slot 3│ slot 4│ slot 5│ slot 6│ slot 7│
//!     compared with all  └──────────┴───────┴───┬───┴───────┴───────┴───────┴───────┴───────┘
//!     seven at once                             ▼
//!                                     ┌────────┬─────┬───────┐
//!                                     │ header │ key │ value │  the entry: one block, the caller's (`Item`)
//!                                     └────────┴─────┴───────┘
//! ```
//!
//! The files, in reading order:
//!
//! * `hash`: the keyed hash function, and the reasons for choosing it.
//! * `group`: the metadata word and the comparison of seven tags at once.
//! * `bucket`: the slot: a pointer, and in its spare bits the part of the hash that a resize needs.
//! * `order`: the order of the buckets, the same for probing and for scanning.
//! * `table`: one array of buckets: find, insert, remove.
//! * this file: [`Dict`], which is one table, or two while it changes size.
//! * `resize`: when a dict changes size, and how it moves its entries one bucket at a time.
//! * `scan`: the cursor that survives all of this, with the proof; `sample`: a random entry; `walk`: all entries;
//!   `guard`: borrowed items; `generation`: detection of stale positions in debug builds; `stats`: statistics.
//! * `slotted`: the dict of a database, which in cluster mode is a dict for each hash slot; `key_hasher`: its hashes.
//!
//! **Using it.** The caller hashes once and passes the hash along: `find` returns a [`Position`], with which `get`,
//! `get_mut`, `replace` and `remove` need no second lookup. A position is valid until the next insert, remove or
//! rehash; debug builds panic if one is used after that. A batch of lookups calls `prefetch_bucket` for each key, then
//! `prefetch_entry` for each, then `find`.
//!
//! **Costs.** 9⅓ to 21⅓ bytes a key beside the entry (a table is between 43 % and 86 % full; a million keys: 16.8). A
//! lookup that hits is about 60 instructions, including the comparison of the key but not the hash. No operation on an
//! attended dict ([`Dict::new`]) moves more than one bucket, whatever the number of entries. In an unattended dict
//! ([`Dict::unattended`]) a removal moves four while the table changes size, and more only to give up unused reserved
//! room (see `resize`). Memory for a larger table comes untouched from the kernel (`sys::memory`), and the old table's
//! can be freed elsewhere ([`Dict::take_retired`]). A dict without entries owns no memory but itself.
//!
//! The benchmark `dict` on one core (Zen 4, 3.7 GHz, least of many runs), keys of 16 bytes, nanoseconds per lookup
//! including the hash:
//!
//! | | 10⁴ entries | 10⁶ entries |
//! |---|---|---|
//! | hit | 7.3 | 90 |
//! | miss | 3.4 | 30 |
//! | hit, in batches of 16 with prefetch | 7.9 | 37 |
//!
//! **Limits.** Entries' addresses have 48 bits. Keys are compared byte by byte only. A dict is not shared between
//! threads, but it may be sent to another one.

mod bucket;
mod generation;
mod group;
mod guard;
mod hash;
mod key_hasher;
mod order;
mod prefetch;
mod resize;
mod sample;
mod scan;
mod slotted;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use guard::{Ref, RefMut};
pub use hash::Seed;
pub use key_hasher::KeyHasher;
pub use prefetch::prefetch;
pub use resize::Retired;
pub use sample::Draw;
pub use slotted::{SlottedDict, SlottedDraw};
pub use stats::{CHAIN_LENGTHS, DictStats, TableStats};
pub use walk::Iter;

use crate::sys::memory;
use bucket::Known;
use generation::Generation;
use group::tag_of;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use table::{Place, Table};

/// An item of a dict: an owned pointer to a block that contains its key.
///
/// # Safety
/// * `into_raw` returns an address below 2⁴⁸, and `from_raw` of it gives back the item that went in.
/// * Neither the pointer nor the key changes through a `&T`; the key does not change through a `&mut T` either
///   (breaking the latter loses the entry, no more).
/// * `key` of a pointer from `into_raw` returns the key's bytes, which stay valid and unchanged until the item is
///   dropped or changed.
///
/// Two `T`s of one pointer may exist at a time if at most one of them is used (a `Box` inside would not do).
pub unsafe trait Item: Sized {
    /// Turns the item into its pointer.
    fn into_raw(self) -> NonNull<u8>;

    /// Turns a pointer from [`into_raw`](Item::into_raw) back into the item.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and no other item made of it is used or dropped.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// The key of the item behind `raw`.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and its item is neither changed nor dropped during `'a`.
    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8];
}

/// The place of an entry. Valid until the next insert, remove or rehash of its dict. In a debug build any later use
/// panics; in a release build it panics or refers to another entry, nothing worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    number: NonZeroU64,
    generation: Generation,
}

const _: () = assert!(cfg!(debug_assertions) || size_of::<Option<Position>>() == size_of::<u64>());

/// The parts of a position's number, from the lowest bit:
///
/// ```text
///  ┌───────────┬────────────────────────┬─────────┬───────┬──────┬───┐
///  │ hash slot │         bucket         │has slot │ table │ slot │ 1 │
///  └───────────┴────────────────────────┴─────────┴───────┴──────┴───┘
///       14                 44                1         1      3    1
/// ```
///
/// The lowest bit is always set, so the number is a `NonZero` and an `Option<Position>` is one word.
impl Position {
    const TABLE: u64 = 1 << 4;
    const HAS_SLOT: u64 = 1 << 5;
    const BUCKET_SHIFT: u32 = 6;
    const SLOT_SHIFT: u32 = 50;

    #[inline]
    fn new(table: usize, place: Place, generation: Generation) -> Self {
        let number = (place.bucket as u64) << Self::BUCKET_SHIFT
            | if table == 0 { 0 } else { Self::TABLE }
            | (place.slot as u64) << 1;
        Self { number: NonZeroU64::MIN | number, generation }
    }

    #[inline]
    fn table(self) -> usize {
        usize::from(self.number.get() & Self::TABLE != 0)
    }

    #[inline]
    fn place(self) -> Place {
        let number = self.number.get();
        Place { bucket: (number >> Self::BUCKET_SHIFT) as usize, slot: (number >> 1 & 7) as usize }
    }

    /// Whether this is a position in the first table of a dict without hash slots: nearly all are.
    #[inline]
    fn is_in_first_table(self) -> bool {
        self.number.get() & (Self::TABLE | Self::HAS_SLOT) == 0
    }

    /// The position in a dict with hash slots of a position in the dict of `slot`.
    #[inline]
    fn in_slot(self, slot: usize) -> Self {
        debug_assert!(self.number.get() >> Self::SLOT_SHIFT == 0, "a table has at most 2^44 buckets");
        Self { number: self.number | (slot as u64) << Self::SLOT_SHIFT | Self::HAS_SLOT, ..self }
    }

    /// The hash slot that the position contains; 0 without one.
    #[inline]
    fn slot(self) -> usize {
        (self.number.get() >> Self::SLOT_SHIFT) as usize
    }

    /// The position in the dict of the slot.
    #[inline]
    fn within_slot(self) -> Self {
        let number = self.number.get() & ((1 << Self::SLOT_SHIFT) - 1) & !Self::HAS_SLOT;
        Self { number: NonZeroU64::MIN | number, ..self }
    }
}

/// A hash table of owned items that contain their keys. See the module's head.
pub struct Dict<T: Item> {
    main: Table<T>,
    seed: Seed,
    /// Present only while the dict changes size, and until the memory of the replaced table is taken.
    second: Option<Box<Second<T>>>,
    /// Whether the entries of the main table move to the second one.
    rehashing: bool,
    /// Whether no owner calls `rehash`, so that removals move more.
    unattended: bool,
    /// Whether removals have moved too few buckets because a child shared the memory.
    behind: bool,
    #[cfg(test)]
    moves: u64,
    /// The generation of all currently valid positions.
    generation: Generation,
}

/// The panic message when the second table is missing.
const SECOND: &str = "a dict without a second table is not rehashing, and no position is in one";

/// The state of a change of size.
struct Second<T: Item> {
    /// The table that entries of the main one move to.
    table: Table<T>,
    /// While rehashing, the next bucket of the main table to move; all buckets below it are empty.
    rehash_at: usize,
    /// The memory of the table that was replaced.
    retired: Option<Retired>,
}

impl<T: Item> Dict<T> {
    /// An empty dict, which owns no memory, for an owner that calls [`rehash`](Dict::rehash) and
    /// [`shrink_if_sparse`](Dict::shrink_if_sparse) periodically. No operation moves more than one bucket.
    pub fn new(seed: Seed) -> Self {
        Self {
            main: Table::nothing(),
            seed,
            second: None,
            rehashing: false,
            unattended: false,
            behind: false,
            #[cfg(test)]
            moves: 0,
            generation: Generation::new(),
        }
    }

    /// An empty dict whose resizes are driven by insertions and removals alone, for use inside values. Its removals make
    /// sure that a resize ends long before the entries run out: each moves up to four buckets (more only to give up unused
    /// reserved room) and leaves at most three buckets per entry.
    pub fn unattended(seed: Seed) -> Self {
        let mut dict = Self::new(seed);
        dict.unattended = true;
        dict
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.main.used() + self.target().map_or(0, Table::used)
    }

    /// While rehashing, the table that entries move to.
    #[inline]
    fn target(&self) -> Option<&Table<T>> {
        if !self.rehashing {
            return None;
        }
        self.second.as_ref().map(|second| &second.table)
    }

    /// The main table, and while rehashing the one that its entries move to.
    fn tables(&self) -> impl Iterator<Item = &Table<T>> {
        std::iter::once(&self.main).chain(self.target())
    }

    /// Table 0 or, while rehashing, 1.
    #[inline]
    fn table(&self, number: usize) -> &Table<T> {
        if number == 0 { &self.main } else { self.target().expect(SECOND) }
    }

    /// [`Dict::table`] for writing.
    #[inline]
    fn table_mut(&mut self, number: usize) -> &mut Table<T> {
        if number == 0 { &mut self.main } else { &mut self.second.as_mut().expect(SECOND).table }
    }

    /// The next bucket of the main table to move, 0 while not rehashing.
    fn rehash_at(&self) -> usize {
        self.second.as_ref().map_or(0, |second| second.rehash_at)
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seed of the dict's hashes.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Returns the hash of `key`, which the other methods take.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// Finds `key`, whose hash is `hash`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.rehashing { self.find_in_both(hash, key) } else { self.find_at_rest(hash, key) }
    }

    /// [`Dict::find`] while not rehashing.
    #[inline]
    fn find_at_rest(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.main.find(hash, key).map(|place| self.position(0, place))
    }

    /// Finds an item with hash `hash` that `wanted` accepts: for callers that do not have the key.
    pub fn find_by(&self, hash: u64, mut wanted: impl FnMut(&T) -> bool) -> Option<Position> {
        self.tables().enumerate().find_map(|(i, table)| {
            table.find_by(hash, self.seed, &mut wanted).map(|place| self.position(i, place))
        })
    }

    /// Returns the likely position of the item with this hash: that of the item, or of one that shares seven bits of
    /// its hash. For prefetching memory that belongs to the item.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<Position> {
        self.tables()
            .enumerate()
            .find_map(|(i, table)| table.guess(hash).map(|place| self.position(i, place)))
    }

    /// Searches first the table that more likely contains the entry: the new one if the old one's home bucket has been
    /// moved. Even then an entry may still be in the old table, in a later bucket that has not been moved.
    #[inline(never)]
    fn find_in_both(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let Some(target) = self.target() else { return self.find_at_rest(hash, key) };
        let moved = (hash as usize & self.main.mask()) < self.rehash_at();
        let tables = [(0, &self.main), (1, target)];
        let order = if moved { [1, 0] } else { [0, 1] };
        order.into_iter().find_map(|at| {
            let (number, table) = tables[at];
            table.find(hash, key).map(|place| self.position(number, place))
        })
    }

    #[inline]
    fn position(&self, table: usize, place: Place) -> Position {
        Position::new(table, place, self.generation)
    }

    /// In debug builds, panics on a stale position or one of another dict.
    #[inline]
    fn check(&self, position: Position) {
        debug_assert!(
            position.generation == self.generation,
            "a position was used after its dict had changed"
        );
    }

    /// Called before anything that may move, insert or remove an entry.
    #[inline]
    fn invalidate_positions(&mut self) {
        self.generation = Generation::new();
    }

    /// The item at `position`, for reading.
    #[inline]
    pub fn get(&self, position: Position) -> Ref<'_, T> {
        self.get_in(self.table(position.table()), position)
    }

    /// The item at `position`, which is in the main table.
    #[inline]
    fn get_in_main(&self, position: Position) -> Ref<'_, T> {
        self.get_in(&self.main, position)
    }

    #[inline]
    fn get_in<'a>(&'a self, table: &'a Table<T>, position: Position) -> Ref<'a, T> {
        self.check(position);
        let slot = table.slot(position.place()).expect("a position outlived its entry");
        // SAFETY: the slot is present, so it holds an item that the table owns; the dict is borrowed for as long as
        // the guard lives.
        unsafe { Ref::new(slot.entry()) }
    }

    /// The item at `position`, for changing anything but its key.
    #[inline]
    pub fn get_mut(&mut self, position: Position) -> RefMut<'_, T> {
        self.check(position);
        Self::get_mut_in(self.table_mut(position.table()), position)
    }

    /// [`Dict::get_in_main`] for writing.
    #[inline]
    fn get_mut_in_main(&mut self, position: Position) -> RefMut<'_, T> {
        self.check(position);
        Self::get_mut_in(&mut self.main, position)
    }

    #[inline]
    fn get_mut_in(table: &mut Table<T>, position: Position) -> RefMut<'_, T> {
        let Place { bucket, slot } = position.place();
        let bucket = table.bucket_mut(bucket);
        assert!(bucket.group().is_present(slot), "a position outlived its entry");
        // SAFETY: just checked, and the dict is borrowed for as long as the guard lives.
        unsafe { RefMut::new(bucket, slot) }
    }

    /// Replaces the item at `position` with `item`, which has the same key, and returns the old one.
    #[inline]
    pub fn replace(&mut self, position: Position, item: T) -> T {
        std::mem::replace(&mut *self.get_mut(position), item)
    }

    /// Removes and returns the item at `position`.
    #[inline]
    pub fn remove(&mut self, position: Position) -> T {
        self.check(position);
        self.invalidate_positions();
        let seed = self.seed;
        let table = self.table_mut(position.table());
        let item = table.remove(position.place());
        if table.bucket(position.place().bucket).group().ever_full() && !memory::is_shared() {
            table.close_gap(position.place().bucket, seed);
        }
        self.after_remove();
        item
    }

    /// Inserts an item whose key is not in the dict; `hash` is that of the key.
    #[inline]
    pub fn insert(&mut self, hash: u64, item: T) -> Position {
        self.invalidate_positions();
        self.step();
        self.make_room();
        self.insert_into(usize::from(self.rehashing), hash, item)
    }

    /// [`Dict::insert`] while not rehashing.
    #[inline]
    fn insert_at_rest(&mut self, hash: u64, item: T) -> Position {
        if self.is_full() {
            return self.insert_and_grow(hash, item);
        }
        self.invalidate_positions();
        self.insert_into(0, hash, item)
    }

    #[cold]
    #[inline(never)]
    fn insert_and_grow(&mut self, hash: u64, item: T) -> Position {
        self.insert(hash, item)
    }

    /// Inserts an item into a table that has room.
    #[inline]
    fn insert_into(&mut self, into: usize, hash: u64, item: T) -> Position {
        let raw = item.into_raw();
        // SAFETY: the pointer comes from `into_raw` a line above; the item made of it is the only one in use.
        debug_assert!(self.find(hash, unsafe { T::key(raw) }).is_none(), "the key is new");
        // SAFETY: as above.
        let item = unsafe { T::from_raw(raw) };
        let table = self.table_mut(into);
        let home = hash as usize & table.mask();
        let place = table.insert(home, tag_of(hash), item, Known::of_hash(hash, table.bits()));
        if resize::worn_out(table.ever_full(), table.buckets()) {
            // This only starts a resize. The position stays valid, because nothing moves before the next operation.
            self.tidy_marks();
        }
        self.position(into, place)
    }

    /// Prefetches the bucket of `hash`: the first half of a lookup's wait.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.main.prefetch_bucket(hash);
        if let Some(target) = self.target() {
            target.prefetch_bucket(hash);
        }
    }

    /// Prefetches the entry that a lookup of `hash` would look at: the second half. Reads the bucket, so call
    /// [`prefetch_bucket`](Dict::prefetch_bucket) some time before.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.main.prefetch_entry(hash);
        if let Some(target) = self.target() {
            target.prefetch_entry(hash);
        }
    }

    /// Addresses and lengths of the bucket arrays that are mappings of their own: the large ones.
    pub fn mappings(&self) -> impl Iterator<Item = (usize, usize)> {
        self.tables().filter_map(Table::mapping)
    }

    /// The bytes of the bucket arrays, the retired one included.
    pub fn memory_bytes(&self) -> usize {
        let second = self.second.as_ref().map_or(0, |second| {
            let retired = second.retired.as_ref().map_or(0, Retired::len_bytes);
            second.table.memory_bytes() + retired
        });
        self.main.memory_bytes() + second
    }
}

impl<T: Item> Drop for Dict<T> {
    fn drop(&mut self) {
        self.clear();
    }
}
