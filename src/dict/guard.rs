//! Guards for items that a lookup borrows from the dict.
//!
//! The table holds pointers, and the caller wants a `T`. A guard turns the pointer back into a `T`, lends it, and
//! forgets it instead of dropping it. A change may move the item to another block, so [`RefMut`] writes the pointer
//! back when it is dropped. Until then the slot is *free*, so that a guard that is never dropped (`mem::forget`) leaks
//! its item instead of leaving a pointer to a freed block in the table.

use super::Item;
use super::bucket::Bucket;
use super::group::Group;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// An item of the dict, for reading.
pub struct Ref<'a, T: Item> {
    item: ManuallyDrop<T>,
    dict: PhantomData<&'a T>,
}

impl<T: Item> Ref<'_, T> {
    /// # Safety
    /// `entry` came from `T::into_raw`, and while the guard lives, the owner of the item neither makes a `T` of `entry`
    /// for writing nor drops the item.
    #[inline]
    pub(super) unsafe fn new(entry: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise; the item is never dropped here.
        Self { item: ManuallyDrop::new(unsafe { T::from_raw(entry) }), dict: PhantomData }
    }
}

impl<'a, T: Item> Ref<'a, T> {
    /// The item's key, which outlives the guard.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: the copy of the item is given up at once, and the pointer came from `into_raw`. The dict is borrowed
        // for `'a`, so the item is neither changed nor dropped before its end.
        unsafe { T::key(std::ptr::read(&raw const *self.item).into_raw()) }
    }
}

impl<T: Item> Deref for Ref<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.item
    }
}

/// An item of the dict, for changing anything but its key. The table follows if the item moves to another block.
pub struct RefMut<'a, T: Item> {
    item: ManuallyDrop<T>,
    bucket: &'a mut Bucket,
    slot: usize,
    /// The bucket's metadata with the slot present, to be restored.
    group: Group,
}

impl<'a, T: Item> RefMut<'a, T> {
    /// # Safety
    /// The slot is present and holds an item that belongs to the table of this bucket.
    #[inline]
    pub(super) unsafe fn new(bucket: &'a mut Bucket, slot: usize) -> Self {
        let group = bucket.group();
        bucket.set_group(group.without(slot));
        // SAFETY: the caller's promise; the slot is free from here on, so this is the only `T` of the pointer.
        let item = unsafe { T::from_raw(bucket.slot(slot).entry()) };
        Self { item: ManuallyDrop::new(item), bucket, slot, group }
    }
}

impl<T: Item> Deref for RefMut<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: Item> DerefMut for RefMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: Item> Drop for RefMut<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken once, here; the guard is not used afterwards.
        let item = unsafe { ManuallyDrop::take(&mut self.item) };
        let slot = self.bucket.slot(self.slot);
        self.bucket.set_slot(self.slot, slot.with_entry(item.into_raw()));
        self.bucket.set_group(self.group);
    }
}
