//! One array of buckets and the probing in it; knows nothing of resizing.
//!
//! A lookup starts at the home bucket (the hash's low bits), compares seven tags at once, and continues with the next
//! bucket of the probe order only while the current one is marked *ever full*. An insert takes the first free slot on
//! the same path and marks each bucket that it passes as *ever full*. So for every entry, all buckets from its home to
//! the one before its own are marked, whatever is removed in between. A removal frees its slot; in a marked bucket it
//! then moves back an entry that went past, or clears the mark if none did ([`Table::close_gap`]).
//!
//! ```text
//!   probe order →     home            next            next
//!                 ┌───────────┐   ┌───────────┐   ┌───────────┐
//!                 │■■■■■■■  E │──▶│■■□■■■■  E │──▶│■■■□□□□  - │   a lookup ends at the first bucket without "E":
//!                 └───────────┘   └───────────┘   └───────────┘   no entry with this home lies farther on
//! ```
//!
//! Costs: a hit touches one bucket and one entry for nearly every key (at 6 of 7 slots used, 1.2 buckets on average).
//! A probe visits each bucket once at most, even if every bucket is marked.
//!
//! A table that never had an entry owns no memory: it points to one static empty bucket, so lookups need no test for it.

use super::bucket::{Bucket, FAR, Known, Slot};
use super::group::{SLOTS, tag_of};
use super::order;
use super::prefetch::prefetch;
use super::{Item, Seed};
use crate::alloc;
use crate::sys::memory::Pages;
use crate::sys::out_of_memory;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// Bucket arrays of at least this many bytes are mapped; smaller ones are allocated. For larger ones `calloc` might clear
/// memory that the kernel hands out already cleared.
const MAPPED_BYTES: usize = 64 << 10;

/// Bucket arrays of at most this many bytes may be in slabs: sizes up to this have a class of their own.
const SLAB_BYTES: usize = 4096;

/// How far beyond a gap to search for entries that belong nearer to their homes.
const REACH: usize = 32;

static NOTHING: Bucket = Bucket::EMPTY;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Storage {
    Nothing,
    Heap,
    /// A block of the keyspace's allocator.
    Slab,
    /// Pages of their own.
    Mapped,
}

/// A bucket array whose length is a power of two, and the items in it. Dropping it frees only the array: the owner of
/// the table removes the items first.
#[derive(Debug)]
pub(super) struct Table<T: Item> {
    buckets: NonNull<Bucket>,
    mask: usize,
    used: usize,
    /// Only a table of 2³² buckets, 256 GiB, could have more of them, and it would be replaced before.
    ever_full: u32,
    storage: Storage,
    items: PhantomData<T>,
}

// SAFETY: the array belongs to the table alone, and so do the items, which may go where the table goes.
unsafe impl<T: Item + Send> Send for Table<T> {}

/// An entry's place in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

/// The entries that went past a bucket.
struct Passers {
    /// One of the nearest, and its displacement if moved to that bucket.
    nearest: Option<(Place, usize)>,
    /// Whether there is no other.
    is_last: bool,
}

impl<T: Item> Table<T> {
    /// Returns a table without memory, in which every lookup fails.
    pub(super) fn nothing() -> Self {
        Self::over(NonNull::from(&NOTHING), 1, Storage::Nothing)
    }

    fn over(buckets: NonNull<Bucket>, count: usize, storage: Storage) -> Self {
        Self { buckets, mask: count - 1, used: 0, ever_full: 0, storage, items: PhantomData }
    }

    /// A table of `buckets` empty buckets (a power of two). Takes the same time for any size. With `slab`, a small one
    /// is a block of the keyspace's allocator, which unlike the system's has no cost for the alignment.
    pub(super) fn new(buckets: usize, slab: bool) -> Self {
        assert!(buckets.is_power_of_two());
        let layout = Self::layout(buckets);
        if slab
            && layout.size() <= SLAB_BYTES
            && let Some(start) = Self::slab(layout.size())
        {
            return Self::over(start, buckets, Storage::Slab);
        }
        let (start, storage) = if layout.size() >= MAPPED_BYTES {
            let Ok(pages) = Pages::zeroed(layout.size()) else { out_of_memory::end(layout.size()) };
            assert_eq!(
                pages.len(),
                layout.size(),
                "a power of two is a whole number of pages, of either size"
            );
            (pages.into_start().cast(), Storage::Mapped)
        } else {
            // SAFETY: the layout has at least one bucket, so its size is not zero.
            let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
                out_of_memory::end(layout.size())
            };
            (start.cast(), Storage::Heap)
        };
        Self::over(start, buckets, storage)
    }

    /// Allocates zeroed buckets in a slab; `None` if they are not aligned, because slabs are used up or disabled.
    fn slab(size: usize) -> Option<NonNull<Bucket>> {
        let block = alloc::allocate_zeroed(size);
        if block.addr().get().is_multiple_of(align_of::<Bucket>()) {
            return Some(block.cast());
        }
        // SAFETY: allocated a line above, for this size.
        unsafe { alloc::release(block, size) };
        None
    }

    #[inline]
    fn owns_memory(&self) -> bool {
        self.storage != Storage::Nothing
    }

    /// The number of buckets; 0 for a table that owns nothing.
    #[inline]
    pub(super) fn buckets(&self) -> usize {
        if self.owns_memory() { self.mask + 1 } else { 0 }
    }

    /// The number of slots.
    #[inline]
    pub(super) fn slots(&self) -> usize {
        self.buckets() * SLOTS
    }

    /// The number of bits of a bucket's index.
    #[inline]
    pub(super) fn bits(&self) -> u32 {
        self.mask.count_ones()
    }

    #[inline]
    pub(super) fn mask(&self) -> usize {
        self.mask
    }

    /// The number of entries.
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The number of buckets marked *ever full*.
    #[inline]
    pub(super) fn ever_full(&self) -> usize {
        self.ever_full as usize
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self.storage {
            Storage::Heap => alloc::heap_size(Self::layout(self.buckets())),
            _ => self.buckets() * size_of::<Bucket>(),
        }
    }

    fn layout(buckets: usize) -> Layout {
        Layout::array::<Bucket>(buckets).expect("a table fits in the address space")
    }

    /// Address and length of the memory, if it is a mapping of its own.
    pub(super) fn mapping(&self) -> Option<(usize, usize)> {
        let is_mapped = self.storage == Storage::Mapped;
        is_mapped.then(|| (self.buckets.as_ptr().expose_provenance(), self.memory_bytes()))
    }

    /// The memory, if freeing it is worth another thread's time.
    pub(super) fn into_pages(mut self) -> Option<Pages> {
        self.take_pages()
    }

    /// Takes the pages out of a table that is about to be dropped.
    fn take_pages(&mut self) -> Option<Pages> {
        if self.storage != Storage::Mapped {
            return None;
        }
        let len = self.memory_bytes();
        self.storage = Storage::Nothing;
        // SAFETY: `new` made the mapping, of this length. The table owns no memory any more, so it makes no other value.
        Some(unsafe { Pages::from_parts(self.buckets.cast(), len) })
    }

    /// The bucket at `index`, taken modulo the number of buckets.
    #[inline]
    pub(super) fn bucket(&self, index: usize) -> &Bucket {
        // SAFETY: `buckets` points to `mask + 1` initialised buckets (one static one for a table that owns nothing),
        // and the masked index is below that.
        unsafe { self.buckets.add(index & self.mask).as_ref() }
    }

    /// All buckets, for writing; none for a table without memory.
    #[inline]
    fn buckets_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: the array has `buckets()` initialised buckets that this table owns; it is empty in the case of the
        // static bucket, which is therefore never written.
        unsafe { std::slice::from_raw_parts_mut(self.buckets.as_ptr(), self.buckets()) }
    }

    /// The bucket at `index` (below the number of buckets), for writing.
    #[inline]
    pub(super) fn bucket_mut(&mut self, index: usize) -> &mut Bucket {
        &mut self.buckets_mut()[index]
    }

    /// Finds the entry with this hash and key.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        // SAFETY: `probe` passes live items of this table, which is borrowed here.
        self.probe(hash, &mut |item| same(unsafe { T::key(item) }, key))
    }

    /// Finds an item with this hash (by `seed`) that `wanted` accepts.
    pub(super) fn find_by(
        &self,
        hash: u64,
        seed: Seed,
        wanted: &mut impl FnMut(&T) -> bool,
    ) -> Option<Place> {
        self.probe(hash, &mut |item| {
            // SAFETY: `probe` passes live items of this table; because of `ManuallyDrop` the table keeps them.
            let accepted = wanted(&ManuallyDrop::new(unsafe { T::from_raw(item) }));
            // So far only the tag was compared. An item that `wanted` has read is in the cache.
            // SAFETY: as above; the item is not changed while the table is borrowed.
            accepted && seed.agrees(hash, unsafe { T::key(item) })
        })
    }

    /// The place of the first item that a lookup of `hash` would compare.
    pub(super) fn guess(&self, hash: u64) -> Option<Place> {
        self.probe(hash, &mut |_| true)
    }

    /// Returns the first item on the probe path of `hash` that has its tag and that `matches` accepts.
    #[inline(always)]
    fn probe(&self, hash: u64, matches: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<Place> {
        let home = hash as usize & self.mask;
        if let Some(slot) = self.probe_bucket(home, tag_of(hash), matches) {
            return Some(Place { bucket: home, slot });
        }
        if self.bucket(home).group().ever_full() { self.probe_beyond(home, hash, matches) } else { None }
    }

    /// Continues beyond a home bucket that is marked *ever full*.
    #[inline(never)]
    fn probe_beyond(
        &self,
        home: usize,
        hash: u64,
        matches: &mut impl FnMut(NonNull<u8>) -> bool,
    ) -> Option<Place> {
        let mut at = order::next(home, self.mask);
        while at != home {
            if let Some(slot) = self.probe_bucket(at, tag_of(hash), matches) {
                return Some(Place { bucket: at, slot });
            }
            if !self.bucket(at).group().ever_full() {
                return None;
            }
            at = order::next(at, self.mask);
        }
        None
    }

    #[inline(always)]
    fn probe_bucket(
        &self,
        index: usize,
        tag: u8,
        matches: &mut impl FnMut(NonNull<u8>) -> bool,
    ) -> Option<usize> {
        let bucket = self.bucket(index);
        // `match_tag` returns only present slots. A present slot holds the pointer that `T::into_raw` gave to
        // `insert`, whose item the table owns until `remove`.
        bucket.group().match_tag(tag).find(|&slot| matches(bucket.slot(slot).entry()))
    }

    /// The slot at `place`, if an entry lies there.
    #[inline]
    pub(super) fn slot(&self, place: Place) -> Option<Slot> {
        let bucket = self.bucket(place.bucket);
        bucket.group().is_present(place.slot).then(|| bucket.slot(place.slot))
    }

    /// Puts an item whose home bucket is `home` into the first free slot of its probe path. There must be a free one.
    #[inline]
    pub(super) fn insert(&mut self, home: usize, tag: u8, item: T, known: Known) -> Place {
        assert!(self.used < self.slots(), "a table is never filled to its last slot");
        let mask = self.mask;
        let mut at = home;
        let mut displacement = 0;
        loop {
            let bucket = self.bucket_mut(at);
            let group = bucket.group();
            if let Some(slot) = group.match_free().first() {
                bucket.set_slot(slot, Slot::new(item.into_raw(), displacement, known));
                bucket.set_group(group.with(slot, tag));
                self.used += 1;
                return Place { bucket: at, slot };
            }
            if !group.ever_full() {
                bucket.set_group(group.with_ever_full());
                self.ever_full += 1;
            }
            at = order::next(at, mask);
            displacement += 1;
        }
    }

    /// Frees the slot at `place`, which must hold an entry, and returns that entry. The mark *ever full* stays, because
    /// entries that went past this bucket still lie beyond it; see [`Table::close_gap`].
    #[inline]
    pub(super) fn remove(&mut self, place: Place) -> T {
        let bucket = self.bucket_mut(place.bucket);
        let group = bucket.group();
        assert!(group.is_present(place.slot), "a position outlived its entry");
        let entry = bucket.slot(place.slot).entry();
        bucket.set_group(group.without(place.slot));
        self.used -= 1;
        // SAFETY: the slot was present, so it held an item that `insert` took over; it is free now, so no other item is
        // made of this pointer.
        unsafe { T::from_raw(entry) }
    }

    /// Closes the gap that a removal has left in bucket `gap`, if entries went past it: moves the nearest of these
    /// back, which leaves a gap in its place, and so on. Clears the mark *ever full* where no other entry went past. So
    /// a table stays as tidy as if it had only ever held its current entries. `seed` is that of the hashes.
    ///
    /// Searches up to [`REACH`] buckets for each gap; if an entry may lie farther, the mark stays.
    pub(super) fn close_gap(&mut self, gap: usize, seed: Seed) {
        let mut next = Some(gap);
        while let Some(gap) = next
            && self.bucket(gap).group().ever_full()
        {
            let found = self.find_passers(gap, seed);
            next = found.nearest.map(|(place, displacement)| {
                self.take_back(place, gap, displacement);
                place.bucket
            });
            if found.is_last {
                let bucket = self.bucket_mut(gap);
                bucket.set_group(bucket.group().without_ever_full());
                self.ever_full -= 1;
            }
        }
    }

    /// Searches for entries that went past bucket `gap`.
    fn find_passers(&self, gap: usize, seed: Seed) -> Passers {
        let mut nearest: Option<(Place, usize)> = None;
        let mut is_last = true;
        let mut at = gap;
        for distance in 1..=REACH {
            at = order::next(at, self.mask);
            if at == gap {
                break;
            }
            let group = self.bucket(at).group();
            for slot in group.match_full() {
                let place = Place { bucket: at, slot };
                let Some(left) = self.displacement(place, seed).checked_sub(distance) else { continue };
                is_last = nearest.is_none();
                // Of those in one bucket, the one farthest from home.
                if nearest.is_none_or(|(first, best)| first.bucket == at && left > best) {
                    nearest = Some((place, left));
                }
            }
            if !is_last || !group.ever_full() {
                return Passers { nearest, is_last };
            }
        }
        Passers { nearest, is_last: false }
    }

    /// The distance of the entry at `place` from home, in steps.
    fn displacement(&self, place: Place, seed: Seed) -> usize {
        let slot = self.bucket(place.bucket).slot(place.slot);
        if slot.displacement() < FAR {
            return slot.displacement();
        }
        // SAFETY: the slot is present, so its pointer came from `into_raw`; the table owns the item.
        let hash = seed.hash(unsafe { T::key(slot.entry()) });
        order::distance(hash as usize & self.mask, place.bucket, self.bits())
    }

    /// Moves the entry at `place` to a free slot of bucket `to`, which is `displacement` steps from its home.
    fn take_back(&mut self, place: Place, to: usize, displacement: usize) {
        let from = self.bucket_mut(place.bucket);
        let (group, entry) = (from.group(), from.slot(place.slot).with_displacement(displacement));
        from.set_group(group.without(place.slot));
        let bucket = self.bucket_mut(to);
        let free = bucket.group().match_free().first().expect("a gap is a free slot");
        bucket.set_slot(free, entry);
        bucket.set_group(bucket.group().with(free, group.tag(place.slot)));
    }

    /// Prefetches the home bucket of `hash`.
    #[inline]
    pub(super) fn prefetch_bucket(&self, hash: u64) {
        prefetch(std::ptr::from_ref(self.bucket(hash as usize)).cast());
    }

    /// Prefetches the entry that a lookup of `hash` would compare first. Waits for the home bucket.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let bucket = self.bucket(hash as usize);
        if let Some(slot) = bucket.group().match_tag(tag_of(hash)).first() {
            let entry = bucket.slot(slot).entry().as_ptr();
            prefetch(entry);
            // A header of about 8 bytes and a key of 32 may reach into the next line.
            if entry.addr() % 64 > 64 - 40 {
                prefetch(entry.wrapping_add(64));
            }
        }
    }

    /// Prefetches all entries of a bucket.
    #[inline]
    pub(super) fn prefetch_entries(&self, index: usize) {
        let bucket = self.bucket(index);
        for slot in bucket.group().match_full() {
            prefetch(bucket.slot(slot).entry().as_ptr());
        }
    }
}

impl<T: Item> Drop for Table<T> {
    fn drop(&mut self) {
        if self.storage == Storage::Slab {
            // SAFETY: `slab` allocated the array for this size, and it is freed only here.
            unsafe { alloc::release(self.buckets.cast(), (self.mask + 1) * size_of::<Bucket>()) };
        } else if self.storage == Storage::Heap {
            let layout = Layout::array::<Bucket>(self.mask + 1).expect("the layout that `new` computed");
            // SAFETY: `new` allocated the array with this layout, and it is freed only here.
            unsafe { dealloc(self.buckets.as_ptr().cast(), layout) };
        } else {
            drop(self.take_pages());
        }
    }
}

/// Whether two keys are equal. Keys of 8 to 16 bytes, the most common ones, are compared as two words that may overlap,
/// without a function call.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if (8..=16).contains(&a.len()) {
        let (head_a, head_b) = (a.first_chunk::<8>(), b.first_chunk::<8>());
        let (tail_a, tail_b) = (a.last_chunk::<8>(), b.last_chunk::<8>());
        return head_a == head_b && tail_a == tail_b;
    }
    a == b
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn keys_are_the_same_when_no_byte_differs() {
        for len in 0..64 {
            let a: Vec<u8> = (0..len).collect();
            assert!(same(&a, &a.clone()));
            assert!(!same(&a, &[&a[..], b"x"].concat()));
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x10;
                assert!(!same(&a, &b), "byte {at} of {len} differs");
            }
        }
    }
}
