//! One array of buckets and the probing in it; knows nothing of resizing.
//!
//! The one idea: a lookup starts at the home bucket (the hash's low bits), compares seven tags at once, and goes on to
//! the next bucket of the probe order only while the bucket says *ever full*. An insert takes the first free slot on
//! the same path and sets *ever full* on each bucket that it goes past. So for every entry, all buckets from its home
//! to the one before it are marked, whatever is deleted in between; a deletion frees its slot and nothing else.
//!
//! ```text
//!   probe order →     home            next            next
//!                 ┌───────────┐   ┌───────────┐   ┌───────────┐
//!                 │■■■■■■■  E │──▶│■■□■■■■  E │──▶│■■■□□□□  - │   a lookup that meets no "E" ends: nothing with this
//!                 └───────────┘   └───────────┘   └───────────┘   home can lie farther on
//! ```
//!
//! Costs: a hit touches one bucket and one entry for nearly every key (at 6 of 7 slots used, 1.2 buckets on average).
//! A walk ends after all buckets at the latest, even if every one is marked.
//!
//! A table without entries yet owns nothing: it points to one static empty bucket, so that a lookup needs no test.

use super::bucket::{Bucket, Known, Slot};
use super::group::{SLOTS, tag_of};
use super::order;
use super::prefetch::prefetch;
use super::{Item, Seed};
use crate::sys::memory::Pages;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// Bucket arrays of this many bytes and more are mapped, and smaller ones allocated: from here on `calloc` would
/// clear by hand what the kernel hands out clear.
const MAPPED_BYTES: usize = 64 << 10;

static NOTHING: Bucket = Bucket::EMPTY;

#[derive(Debug)]
pub(super) enum Storage {
    Nothing,
    Heap,
    Mapped(Pages),
}

/// A bucket array whose length is a power of two, and the items in it. Dropping it frees the array alone: whoever
/// owns the table takes the items out first.
#[derive(Debug)]
pub(super) struct Table<T: Item> {
    buckets: NonNull<Bucket>,
    mask: usize,
    used: usize,
    ever_full: usize,
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

impl<T: Item> Table<T> {
    /// A table that owns nothing and in which nothing is found.
    pub(super) fn nothing() -> Self {
        Self::over(NonNull::from(&NOTHING), 1, Storage::Nothing)
    }

    fn over(buckets: NonNull<Bucket>, count: usize, storage: Storage) -> Self {
        Self { buckets, mask: count - 1, used: 0, ever_full: 0, storage, items: PhantomData }
    }

    /// A table of `buckets` empty buckets (a power of two). The time does not depend on the size.
    pub(super) fn new(buckets: usize) -> Self {
        assert!(buckets.is_power_of_two());
        let layout = Layout::array::<Bucket>(buckets).expect("a table fits in the address space");
        let (start, storage) = if layout.size() >= MAPPED_BYTES {
            let Ok(pages) = Pages::zeroed(layout.size()) else { handle_alloc_error(layout) };
            (pages.start().cast(), Storage::Mapped(pages))
        } else {
            // SAFETY: the layout has at least one bucket, so its size is not zero.
            let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
                handle_alloc_error(layout)
            };
            (start.cast(), Storage::Heap)
        };
        Self::over(start, buckets, storage)
    }

    #[inline]
    fn owns_memory(&self) -> bool {
        !matches!(self.storage, Storage::Nothing)
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
        self.ever_full
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets() * size_of::<Bucket>()
    }

    /// The memory, where giving it back is worth another thread's time.
    pub(super) fn into_pages(mut self) -> Option<Pages> {
        match std::mem::replace(&mut self.storage, Storage::Nothing) {
            Storage::Mapped(pages) => Some(pages),
            other => {
                self.storage = other;
                None
            }
        }
    }

    /// The bucket at `index`, taken modulo the number of buckets.
    #[inline]
    pub(super) fn bucket(&self, index: usize) -> &Bucket {
        // SAFETY: `buckets` points to `mask + 1` initialised buckets (one static one for a table that owns nothing),
        // and the masked index is below that.
        unsafe { self.buckets.add(index & self.mask).as_ref() }
    }

    /// All buckets, for writing: none for a table that owns nothing.
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

    /// Where the entry with this hash and key lies.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        // SAFETY: `probe` passes live items of this table, which is borrowed here.
        self.probe(hash, &mut |item| same(unsafe { T::key(item) }, key))
    }

    /// Where an item with this hash (by `seed`) that `wanted` accepts lies.
    pub(super) fn find_by(
        &self,
        hash: u64,
        seed: Seed,
        wanted: &mut impl FnMut(&T) -> bool,
    ) -> Option<Place> {
        self.probe(hash, &mut |item| {
            // SAFETY: `probe` passes live items of this table; `ManuallyDrop` leaves them its own.
            let accepted = wanted(&ManuallyDrop::new(unsafe { T::from_raw(item) }));
            // Until here only the tag was compared. What `wanted` accepts is in the cache.
            // SAFETY: as above; the item is not changed while the table is borrowed.
            accepted && seed.hash(unsafe { T::key(item) }) == hash
        })
    }

    /// Where the item lies that a lookup of `hash` would look at first, most likely.
    pub(super) fn guess(&self, hash: u64) -> Option<Place> {
        self.probe(hash, &mut |_| true)
    }

    /// Asks `matches` about the items on the probe path of `hash` that have its tag.
    #[inline(always)]
    fn probe(&self, hash: u64, matches: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<Place> {
        let home = hash as usize & self.mask;
        if let Some(slot) = self.probe_bucket(home, tag_of(hash), matches) {
            return Some(Place { bucket: home, slot });
        }
        if self.bucket(home).group().ever_full() { self.probe_beyond(home, hash, matches) } else { None }
    }

    /// Goes on from a home bucket that was full once.
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
        // `match_tag` names only present slots; a present slot holds what `T::into_raw` gave to `place`, which the
        // table owns until `take`.
        bucket.group().match_tag(tag).find(|&slot| matches(bucket.slot(slot).entry()))
    }

    /// The slot at `place`, if an entry lies there.
    #[inline]
    pub(super) fn slot(&self, place: Place) -> Option<Slot> {
        let bucket = self.bucket(place.bucket);
        bucket.group().is_present(place.slot).then(|| bucket.slot(place.slot))
    }

    /// Puts an item whose home bucket is `home` into the first free slot on its way. There must be one.
    #[inline]
    pub(super) fn place(&mut self, home: usize, tag: u8, item: T, known: Known) -> Place {
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

    /// Frees the slot at `place`, which must hold an entry, and returns what it held. The mark *ever full* stays:
    /// entries that went past this bucket still lie behind it.
    #[inline]
    pub(super) fn take(&mut self, place: Place) -> T {
        let bucket = self.bucket_mut(place.bucket);
        let group = bucket.group();
        assert!(group.is_present(place.slot), "a position outlived its entry");
        let entry = bucket.slot(place.slot).entry();
        bucket.set_group(group.without(place.slot));
        self.used -= 1;
        // SAFETY: the slot was present, so it held an item that `place` took over; it is free now, so nobody else
        // makes an item of this pointer again.
        unsafe { T::from_raw(entry) }
    }

    /// Brings the home bucket of `hash` towards the cache.
    #[inline]
    pub(super) fn prefetch_bucket(&self, hash: u64) {
        prefetch(std::ptr::from_ref(self.bucket(hash as usize)).cast());
    }

    /// Brings the entry that a lookup of `hash` would look at first towards the cache. Waits for the home bucket.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let bucket = self.bucket(hash as usize);
        if let Some(slot) = bucket.group().match_tag(tag_of(hash)).first() {
            let entry = bucket.slot(slot).entry().as_ptr();
            prefetch(entry);
            // A header of some 8 bytes and a key of 32 may reach into the next line.
            if entry.addr() % 64 > 64 - 40 {
                prefetch(entry.wrapping_add(64));
            }
        }
    }

    /// Brings all entries of a bucket towards the cache.
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
        if matches!(self.storage, Storage::Heap) {
            let layout = Layout::array::<Bucket>(self.mask + 1).expect("the layout that `new` computed");
            // SAFETY: `new` allocated the array with this layout, and it is freed only here.
            unsafe { dealloc(self.buckets.as_ptr().cast(), layout) };
        }
    }
}

/// Whether two keys are equal. Keys of 8 to 16 bytes, the usual ones, are compared as two words that may overlap,
/// without a call.
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
