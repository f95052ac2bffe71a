//! The dict: from a key to its entry, for about one cache miss in the table and one for the entry.
//!
//! A table of a million keys does not fit into the cache, so what a lookup costs is how many cache lines it waits for.
//! The one idea: make the bucket a cache line. Sixty-four bytes hold seven pointers to entries, and in the eighth word
//! a byte of hash for each of them, so that one line tells which entry, if any, is worth looking at:
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
//! The files, in the order in which to read them:
//!
//! * `hash`: the keyed hash function, and why this one.
//! * `group`: the metadata word and the comparison of seven tags at once.
//! * `bucket`: the slot: a pointer, and in its spare bits what a resize wants to know of the hash.
//! * `order`: which bucket comes after which; the same for probing and for scanning.
//! * `table`: one array of buckets: find, place, take.
//! * this file: [`Dict`], which is one table, or two while it changes size.
//! * `resize`: when that happens, and how it goes on a bucket at a time.
//! * `scan`: the cursor that survives all of it, with the proof; `sample`: a random entry; `walk`: all entries;
//!   `guard`: how an item is lent out; `generation`: how debug builds notice a stale position; `stats`: a look inside.
//!
//! **Using it.** The caller hashes once and passes the hash along: `find` gives a [`Position`], with which `get`,
//! `get_mut`, `replace` and `remove` need no second lookup. A position is good until the next insert, remove or
//! rehash; debug builds panic when one is used after that. A batch of lookups calls `prefetch_bucket` for each key, then `prefetch_entry` for each, then `find`.
//!
//! **Costs.** 9⅓ to 21⅓ bytes a key beside the entry (a table is between 43 % and 86 % full; a million keys: 16.8). A
//! lookup that hits is about 60 instructions with the comparison of the key, hash not included. No operation on a dict
//! that is looked after ([`Dict::new`]) moves more than one bucket, whatever the number of entries; where a dict is left
//! to itself ([`Dict::unattended`]), a removal moves four while the table changes size, and more only to give up room
//! that was reserved in vain (see `resize`). Memory for a larger table comes untouched from the kernel
//! (`sys::memory`), and that of the old one goes to whoever takes it ([`Dict::take_retired`]). A dict without entries
//! owns no memory but itself.
//!
//! The bench `dict` on one core (Zen 4, 3.7 GHz, least of many runs), keys of 16 bytes, nanoseconds a lookup with its
//! hash:
//!
//! | | 10⁴ entries | 10⁶ entries |
//! |---|---|---|
//! | hit | 7.3 | 90 |
//! | miss | 3.4 | 30 |
//! | hit, in batches of 16 with prefetch | 7.9 | 37 |
//!
//! **Limits.** Entries' addresses have 48 bits. Keys are looked up by bytes alone. The dict is not shared between
//! threads; it may be sent to one.

mod bucket;
mod generation;
mod group;
mod guard;
mod hash;
mod order;
mod prefetch;
mod resize;
mod sample;
mod scan;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use guard::{Ref, RefMut};
pub use hash::Seed;
pub use prefetch::prefetch;
pub use resize::Retired;
pub use stats::{CHAIN_LENGTHS, Stats, TableStats};
pub use walk::Iter;

use bucket::Known;
use generation::Generation;
use group::tag_of;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use table::{Place, Table};

/// What a dict holds: an owned pointer to a block that contains its key.
///
/// # Safety
/// * `into_raw` returns an address below 2⁴⁸, and `from_raw` of it gives back the item that went in.
/// * Neither the pointer nor the key changes through a `&T`; the key does not change through a `&mut T` either
///   (breaking the latter loses the entry, no more).
/// * `key` of a pointer from `into_raw` returns the key's bytes, which stay valid and unchanged until the item is
///   dropped or changed.
/// * Two `T`s of one pointer may exist at a time while at most one of them is used (a `Box` inside would not do).
pub unsafe trait Item: Sized {
    /// Gives up the item for a pointer.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes back what [`into_raw`](Item::into_raw) gave.
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

/// Where an entry lies. Valid until the next insert, remove or rehash of its dict. In a debug build any later use
/// panics; in a release build it panics or names another entry, nothing worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    number: NonZeroU64,
    generation: Generation,
}

const _: () = assert!(cfg!(debug_assertions) || size_of::<Option<Position>>() == size_of::<u64>());

impl Position {
    #[inline]
    fn new(table: usize, place: Place, generation: Generation) -> Self {
        let packed = (place.bucket as u64) << 4 | (table as u64) << 3 | place.slot as u64;
        // The lowest bit is always set: that makes the number a `NonZero`, and an `Option<Position>` one word.
        Self { number: NonZeroU64::MIN | packed << 1, generation }
    }

    #[inline]
    fn packed(self) -> u64 {
        self.number.get() >> 1
    }

    #[inline]
    fn table(self) -> usize {
        (self.packed() >> 3 & 1) as usize
    }

    #[inline]
    fn place(self) -> Place {
        Place { bucket: (self.packed() >> 4) as usize, slot: (self.packed() & 7) as usize }
    }
}

/// A hash table of owned items that have their keys inside. See the module's head.
pub struct Dict<T: Item> {
    /// The main table, and while rehashing the one that its entries move to.
    tables: [Table<T>; 2],
    rehashing: bool,
    /// Nobody calls `rehash`: removals have to do more.
    unattended: bool,
    /// Removals have moved less than they should have, because the memory was shared.
    behind: bool,
    /// While rehashing, the next bucket of the main table to move; all below it are empty.
    rehash_at: usize,
    seed: Seed,
    moves: u64,
    retired: Option<Retired>,
    /// Of positions that are valid now.
    generation: Generation,
}

impl<T: Item> Dict<T> {
    /// An empty dict, which owns no memory, for an owner who calls [`rehash`](Dict::rehash) and
    /// [`shrink_if_sparse`](Dict::shrink_if_sparse) from time to time. No operation moves more than one bucket.
    pub fn new(seed: Seed) -> Self {
        Self {
            tables: [Table::nothing(), Table::nothing()],
            rehashing: false,
            unattended: false,
            behind: false,
            rehash_at: 0,
            seed,
            moves: 0,
            retired: None,
            generation: Generation::new(),
        }
    }

    /// An empty dict that nobody looks after but those who change it, as are those inside values. Its removals see to it
    /// that a resize ends long before the entries do: each moves up to four buckets (more only to give up room that was
    /// reserved in vain), and leaves at most three buckets an entry.
    pub fn unattended(seed: Seed) -> Self {
        let mut dict = Self::new(seed);
        dict.unattended = true;
        dict
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.tables[0].used() + self.tables[1].used()
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seed of its hashes.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The hash that the other methods want for `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// Where `key`, whose hash is `hash`, lies.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.rehashing {
            return self.find_in_both(hash, key);
        }
        self.tables[0].find(hash, key).map(|place| self.position(0, place))
    }

    /// Where an item whose hash is `hash` and that `wanted` accepts lies: for who knows the item by something else
    /// than its key.
    pub fn find_by(&self, hash: u64, mut wanted: impl FnMut(&T) -> bool) -> Option<Position> {
        let tables = if self.rehashing { &self.tables[..] } else { &self.tables[..1] };
        tables.iter().enumerate().find_map(|(i, table)| {
            table.find_by(hash, self.seed, &mut wanted).map(|place| self.position(i, place))
        })
    }

    /// Where the item most likely lies whose hash is `hash`: it, or one that shares seven bits of hash with it. To ask the
    /// memory for what belongs to it.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<Position> {
        let tables = if self.rehashing { &self.tables[..] } else { &self.tables[..1] };
        let mut numbered = tables.iter().enumerate();
        numbered.find_map(|(i, table)| table.guess(hash).map(|place| self.position(i, place)))
    }

    /// First where the entry more likely is: in the new table if the old one's home bucket was moved already. Entries
    /// of that home may still lie in the old table, in buckets after it that were not.
    #[inline(never)]
    fn find_in_both(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let moved = (hash as usize & self.tables[0].mask()) < self.rehash_at;
        let (first, second) = if moved { (1, 0) } else { (0, 1) };
        let found = self.tables[first].find(hash, key).map(|place| self.position(first, place));
        found.or_else(|| self.tables[second].find(hash, key).map(|place| self.position(second, place)))
    }

    #[inline]
    fn position(&self, table: usize, place: Place) -> Position {
        Position::new(table, place, self.generation)
    }

    /// Fails on a stale position, or one of another dict, in debug builds.
    #[inline]
    fn check(&self, position: Position) {
        debug_assert!(
            position.generation == self.generation,
            "a position was used after its dict had changed"
        );
    }

    /// Before anything that may move, add or take out an entry.
    #[inline]
    fn invalidate_positions(&mut self) {
        self.generation = Generation::new();
    }

    /// The item at `position`, for reading.
    #[inline]
    pub fn get(&self, position: Position) -> Ref<'_, T> {
        self.check(position);
        let slot = self.tables[position.table()].slot(position.place());
        let slot = slot.expect("a position outlived its entry");
        // SAFETY: the slot is present, so it holds an item that the table owns; the dict is borrowed for as long as
        // the guard lives.
        unsafe { Ref::new(slot.entry()) }
    }

    /// The item at `position`, for changing anything but its key.
    #[inline]
    pub fn get_mut(&mut self, position: Position) -> RefMut<'_, T> {
        self.check(position);
        let Place { bucket, slot } = position.place();
        let bucket = self.tables[position.table()].bucket_mut(bucket);
        assert!(bucket.group().is_present(slot), "a position outlived its entry");
        // SAFETY: just checked, and the dict is borrowed for as long as the guard lives.
        unsafe { RefMut::new(bucket, slot) }
    }

    /// Puts `item` in place of the one at `position`, which has the same key, and returns the latter.
    #[inline]
    pub fn replace(&mut self, position: Position, item: T) -> T {
        std::mem::replace(&mut *self.get_mut(position), item)
    }

    /// Takes out the item at `position`.
    #[inline]
    pub fn remove(&mut self, position: Position) -> T {
        self.check(position);
        self.invalidate_positions();
        let item = self.tables[position.table()].take(position.place());
        self.after_remove();
        item
    }

    /// Adds an item whose key is not in the dict. `hash` is its key's.
    #[inline]
    pub fn insert_new(&mut self, hash: u64, item: T) -> Position {
        self.invalidate_positions();
        self.step();
        self.make_room();
        let raw = item.into_raw();
        // SAFETY: the pointer comes from `into_raw` a line above; the item made of it is the only one in use.
        debug_assert!(self.find(hash, unsafe { T::key(raw) }).is_none(), "the key is new");
        // SAFETY: as above.
        let item = unsafe { T::from_raw(raw) };
        let into = usize::from(self.rehashing);
        let table = &mut self.tables[into];
        let home = hash as usize & table.mask();
        let place = table.place(home, tag_of(hash), item, Known::of_hash(hash, table.bits()));
        if resize::worn_out(table.ever_full(), table.buckets()) {
            // Starts a resize at most; the position stays valid, since nothing moves before the next operation.
            self.tidy_marks();
        }
        self.position(into, place)
    }

    /// Brings the bucket of `hash` towards the cache: the first half of a lookup's wait.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.tables[0].prefetch_bucket(hash);
        if self.rehashing {
            self.tables[1].prefetch_bucket(hash);
        }
    }

    /// Brings the entry that a lookup of `hash` would look at towards the cache: the second half. Reads the bucket,
    /// so it wants a [`prefetch_bucket`](Dict::prefetch_bucket) some time before.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.tables[0].prefetch_entry(hash);
        if self.rehashing {
            self.tables[1].prefetch_entry(hash);
        }
    }

    /// The bytes of the bucket arrays, the retired one included.
    pub fn memory_bytes(&self) -> usize {
        let retired = self.retired.as_ref().map_or(0, Retired::len_bytes);
        self.tables[0].memory_bytes() + self.tables[1].memory_bytes() + retired
    }
}

impl<T: Item> Drop for Dict<T> {
    fn drop(&mut self) {
        self.clear();
    }
}
