//! The dict against a `HashMap`, driven by bytes: every operation in any order, with keys that collide as the input
//! chooses.
//!
//! The first byte chooses how keys are hashed and whether the dict is unattended. Then each operation is two bytes: the
//! operation and the key. After each one the two must agree on that key, and at the end on everything, by lookup, by
//! iteration and by a scan.
//!
//! Under `cfg(fuzzing)` there is a seed that takes a key's first eight bytes as its hash, so that the input can choose
//! home buckets and tags.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::dict::{Dict, Item, Position, Seed};
use redstart::sys::memory;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::LazyLock;

/// An item with a block of its own, for the address sanitizer.
struct Block(NonNull<(Vec<u8>, u64)>);

impl Block {
    fn new(key: &[u8], value: u64) -> Self {
        Self(NonNull::from(Box::leak(Box::new((key.to_vec(), value)))))
    }

    fn parts(&self) -> (&[u8], u64) {
        // SAFETY: the block lives until the item is dropped.
        let (key, value) = unsafe { self.0.as_ref() };
        (key, *value)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `new`, dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: the pointer round-trips; the key lies in the block and never changes.
unsafe impl Item for Block {
    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller promises that the block lives and is not changed.
        unsafe { &raw.cast::<(Vec<u8>, u64)>().as_ref().0 }
    }
}

struct Both {
    /// The low two bits: all keys spread; few homes; one tag and few homes; one hash. The highest: unattended.
    shape: u8,
    dict: Dict<Block>,
    model: HashMap<Vec<u8>, u64>,
    clock: u64,
}

/// One for all runs, because a seed's words are never freed.
static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::new([1, 2]));

impl Both {
    fn new(shape: u8) -> Self {
        let seed = if shape & 3 == 0 { *SEED } else { Seed::plain() };
        let dict = if shape & 0x80 == 0 { Dict::new(seed) } else { Dict::unattended(seed) };
        Self { shape, dict, model: HashMap::new(), clock: 0 }
    }

    fn key(&self, n: u64) -> Vec<u8> {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = match self.shape & 3 {
            0 => return n.to_string().into_bytes(),
            1 => mixed & 0xff00_0000_0000_0003,
            2 => mixed >> 8 | u64::from(self.shape >> 2) << 4,
            _ => !u64::from(self.shape),
        };
        [hash.to_le_bytes(), n.to_le_bytes()].concat()
    }

    fn find(&self, key: &[u8]) -> Option<Position> {
        self.dict.find(self.dict.hash(key), key)
    }

    fn set(&mut self, n: u64) {
        let key = self.key(n);
        self.clock += 1;
        self.dict.step();
        match self.find(&key) {
            None => drop(self.dict.insert(self.dict.hash(&key), Block::new(&key, self.clock))),
            Some(position) if self.clock & 1 == 0 => {
                drop(self.dict.replace(position, Block::new(&key, self.clock)))
            }
            Some(position) => *self.dict.get_mut(position) = Block::new(&key, self.clock),
        }
        self.model.insert(key, self.clock);
    }

    fn remove(&mut self, n: u64) {
        let key = self.key(n);
        let removed = self.find(&key).map(|position| self.dict.remove(position).parts().1);
        assert_eq!(removed, self.model.remove(&key));
    }

    fn check(&self, n: u64) {
        let key = self.key(n);
        let value = self.find(&key).map(|position| self.dict.get(position).parts().1);
        assert_eq!(value, self.model.get(&key).copied());
        assert_eq!(self.dict.len(), self.model.len());
    }

    fn scan(&self) {
        let (mut seen, mut cursor) = (HashMap::new(), 0);
        loop {
            cursor = self.dict.scan(cursor, &mut |item: &Block| {
                let (key, value) = item.parts();
                seen.insert(key.to_vec(), value);
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
    }

    fn apply(&mut self, op: u8, with: u8) {
        let n = u64::from(with);
        match op % 16 {
            0..=3 => self.set(n),
            4..=5 => (n..n + 40).for_each(|n| self.set(n)),
            6..=7 => self.remove(n),
            8 => (n..n + 40).for_each(|n| self.remove(n)),
            9 => drop(self.dict.rehash(usize::from(with))),
            10 => memory::set_shared(with & 1 == 0),
            11 if with & 1 == 0 => drop(self.dict.shrink_if_sparse()),
            11 => self.dict.settle(),
            12 => self.dict.reserve(usize::from(with) * 8),
            13 => {
                let model = &mut self.model;
                self.dict.drain(0, usize::from(with) / 16, &mut |item| {
                    let (key, value) = item.parts();
                    assert_eq!(model.remove(key), Some(value));
                });
            }
            14 => {
                let mut word = (n + 1).wrapping_mul(0x2545_f491_4f6c_dd1d);
                let position = self.dict.random(&mut || {
                    word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1).rotate_left(17);
                    word
                });
                assert_eq!(position.is_none(), self.model.is_empty());
                if let Some(position) = position {
                    let item = self.dict.get(position);
                    assert_eq!(self.model.get(item.parts().0), Some(&item.parts().1));
                }
            }
            _ => {
                self.scan();
                drop(self.dict.take_retired());
            }
        }
        self.check(n);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&shape, ops)) = data.split_first() else { return };
    memory::set_shared(false);
    let mut both = Both::new(shape);
    // Longer inputs find nothing new, and colliding keys slow them down.
    for op in ops.chunks_exact(2).take(512) {
        both.apply(op[0], op[1]);
    }
    both.scan();
    assert_eq!(both.dict.iter().count(), both.model.len());
    for item in &both.dict {
        let (key, value) = item.parts();
        assert_eq!(both.model.get(key), Some(&value));
    }
});
