//! Tests of the whole dict: their items, a check of all invariants, and keys that collide on purpose.

mod behaviour;
mod growth;
mod model;
mod slotted;
mod walking;

use super::bucket::Known;
use super::group::tag_of;
use super::{Dict, Item, Seed, order};
use crate::sys::memory;
use std::ptr::NonNull;

/// Sets that a forked child shares this thread's memory, until it is dropped.
struct Shared;

impl Shared {
    fn new() -> Self {
        memory::set_shared(true);
        Self
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        memory::set_shared(false);
    }
}

/// An item with a block of its own, so that the sanitizer detects a leak, a double free and a stale pointer.
#[derive(Debug)]
struct Block(NonNull<(Vec<u8>, u64)>);

impl Block {
    fn new(key: &[u8], value: u64) -> Self {
        Self(NonNull::from(Box::leak(Box::new((key.to_vec(), value)))))
    }

    fn key_bytes(&self) -> &[u8] {
        // SAFETY: the block lives until the item is dropped.
        unsafe { &self.0.as_ref().0 }
    }

    fn value(&self) -> u64 {
        // SAFETY: as above.
        unsafe { self.0.as_ref().1 }
    }

    /// Moves to another block.
    fn set_value(&mut self, value: u64) {
        let new = Self::new(self.key_bytes(), value);
        *self = new;
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `new`, dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: a block belongs to its item alone.
unsafe impl Send for Block {}

// SAFETY: the pointer round-trips; the key lies in the block and never changes.
unsafe impl Item for Block {
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller promises that the block lives and is not changed.
        unsafe { &raw.cast::<(Vec<u8>, u64)>().as_ref().0 }
    }
}

/// An item without a block: a pointer to eight bytes of a leaked slice, for tests with millions of entries.
#[derive(Clone, Copy, Debug)]
struct Word(NonNull<u64>);

impl Word {
    fn get(self) -> u64 {
        // SAFETY: the slice is never freed.
        unsafe { *self.0.as_ref() }
    }
}

// SAFETY: a pointer to memory that lives forever and never changes.
unsafe impl Item for Word {
    fn into_raw(self) -> NonNull<u8> {
        self.0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: eight bytes of a slice that lives forever.
        unsafe { std::slice::from_raw_parts(raw.as_ptr(), 8) }
    }
}

/// `count` items whose keys are the numbers from 0 on, spread by `number`.
fn words(count: u64, number: impl Fn(u64) -> u64) -> Vec<Word> {
    /// Lets the leak sanitizer find the slices.
    static SLICES: std::sync::Mutex<Vec<&'static [u64]>> = std::sync::Mutex::new(Vec::new());
    let numbers: &'static [u64] = Vec::leak((0..count).map(number).collect());
    SLICES.lock().expect("no test panics while it pushes").push(numbers);
    numbers.iter().map(|number| Word(NonNull::from(number))).collect()
}

/// A small generator (SplitMix64) for tests whose random choices must be reproducible.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// How the keys of a test collide. Under [`Seed::plain`] a key's first eight bytes are its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// By the real hash function.
    Spread,
    /// Four home buckets in a table of any size.
    FewHomes,
    /// One tag.
    OneTag,
    /// One hash: only the keys differ.
    OneHash,
    /// Home buckets at the end of the order: their chains run around the end of the table.
    LastHomes,
}

const SHAPES: [Shape; 5] = [Shape::Spread, Shape::FewHomes, Shape::OneTag, Shape::OneHash, Shape::LastHomes];

impl Shape {
    fn seed(self) -> Seed {
        if self == Self::Spread { Seed::new([11, 12]) } else { Seed::plain() }
    }

    /// The number of keys that a test may use: a lookup among `n` colliding keys takes time proportional to `n`.
    fn scale(self, n: u64) -> u64 {
        if matches!(self, Self::Spread | Self::OneTag) { n } else { n / 8 }
    }

    fn key(self, n: u64) -> Vec<u8> {
        let mixed = Random(n).next();
        let hash = match self {
            Self::Spread => return format!("key:{n:012}").into_bytes(),
            Self::FewHomes => mixed & 0xff00_0000_0000_0003,
            Self::OneTag => mixed >> 8,
            Self::OneHash => 0x8765_4321_0fed_cba9,
            Self::LastHomes => mixed | 0x00ff_ffff_ffff_fffc,
        };
        [hash.to_le_bytes(), n.to_le_bytes()].concat()
    }
}

fn insert(dict: &mut Dict<Block>, key: &[u8], value: u64) {
    let position = dict.insert(dict.hash(key), Block::new(key, value));
    assert_eq!(dict.get(position).key_bytes(), key, "an insert returns the position of its item");
}

fn value_of(dict: &Dict<Block>, key: &[u8]) -> Option<u64> {
    dict.find(dict.hash(key), key).map(|position| dict.get(position).value())
}

fn remove(dict: &mut Dict<Block>, key: &[u8]) -> Option<u64> {
    let position = dict.find(dict.hash(key), key)?;
    let item = dict.remove(position);
    assert_eq!(item.key_bytes(), key);
    Some(item.value())
}

/// Checks all invariants between two operations.
fn assert_sound<T: Item>(dict: &Dict<T>) {
    for (number, table) in dict.tables().enumerate() {
        let (mut used, mut ever_full) = (0, 0);
        for at in 0..table.buckets() {
            let bucket = table.bucket(at);
            ever_full += usize::from(bucket.group().ever_full());
            used += bucket.group().match_full().count();
            if number == 0 && at < dict.rehash_at() {
                assert_eq!(bucket.group().match_full().count(), 0, "bucket {at} was moved");
            }
            for slot in bucket.group().match_full() {
                // SAFETY: the slot is present.
                let key = unsafe { T::key(bucket.slot(slot).entry()) };
                let hash = dict.hash(key);
                assert_eq!(bucket.group().tag(slot), tag_of(hash));
                let mut way = hash as usize & table.mask();
                let mut steps = 0;
                while way != at {
                    assert!(table.bucket(way).group().ever_full(), "the way from home to {at} is marked");
                    way = order::next(way, table.mask());
                    steps += 1;
                }
                assert_eq!(bucket.slot(slot).displacement(), steps.min(15));
                if let Some(rehomed) = bucket.slot(slot).rehome(at, table.bits(), table.bits()) {
                    let (home, known) = rehomed;
                    assert_eq!(home, hash as usize & table.mask());
                    assert!(
                        known.agrees_with(Known::of_hash(hash, table.bits())),
                        "the known bits are the hash's"
                    );
                }
                let found = dict.find(hash, key).expect("what is in the dict is found");
                assert_eq!((found.table(), found.place().bucket, found.place().slot), (number, at, slot));
            }
        }
        assert_eq!((table.used(), table.ever_full()), (used, ever_full));
        assert!(used < table.slots() || used == 0);
    }
    assert_eq!(
        dict.second.is_some(),
        dict.rehashing || dict.second.as_ref().is_some_and(|second| second.retired.is_some())
    );
    assert_eq!(dict.iter().count(), dict.len());
}
