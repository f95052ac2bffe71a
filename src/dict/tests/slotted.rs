//! A dict with hash slots: agrees with a `HashMap`, and keeps the promises of a dict over all slots.

use super::*;
use crate::codec::hash_slot::{self, HASH_SLOTS};
use crate::dict::{KeyHasher, SlottedDict};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// A dict with what must be in it.
struct Both {
    hasher: KeyHasher,
    dict: SlottedDict<Block>,
    model: HashMap<Vec<u8>, u64>,
    value: u64,
}

/// A key in one of the slots that `tag` selects.
fn key(tag: u8, n: u64) -> Vec<u8> {
    format!("{{tag{tag}}}{n}").into_bytes()
}

impl Both {
    fn new() -> Both {
        let hasher = KeyHasher::new(Seed::new([5, 6]), true);
        Both { hasher, dict: SlottedDict::new(&hasher), model: HashMap::new(), value: 0 }
    }

    fn find(&self, key: &[u8]) -> Option<super::super::Position> {
        self.dict.find(self.hasher.hash(key), key)
    }

    fn insert(&mut self, key: &[u8]) {
        if self.find(key).is_some() {
            return;
        }
        self.value += 1;
        let at = self.dict.insert(self.hasher.hash(key), Block::new(key, self.value));
        assert_eq!(self.dict.get(at).key_bytes(), key);
        self.model.insert(key.to_vec(), self.value);
    }

    fn remove(&mut self, key: &[u8]) {
        let removed = self.find(key).map(|at| self.dict.remove(at).value());
        assert_eq!(removed, self.model.remove(key));
    }

    /// All keys of a walk by cursor.
    fn scanned(&self) -> Vec<Vec<u8>> {
        let (mut cursor, mut found) = (0, Vec::new());
        loop {
            cursor = self.dict.scan(cursor, &mut |item| found.push(item.key_bytes().to_vec()));
            if cursor == 0 {
                return found;
            }
        }
    }

    fn check(&self) {
        self.dict.checked_dicts().into_iter().for_each(assert_sound);
        assert_eq!((self.dict.len(), self.dict.is_empty()), (self.model.len(), self.model.is_empty()));
        let pairs: HashMap<Vec<u8>, u64> =
            self.dict.iter().map(|item| (item.key_bytes().to_vec(), item.value())).collect();
        assert_eq!(pairs, self.model);
        assert_eq!(self.dict.iter().count(), self.model.len());
        let mut slots: HashMap<u16, usize> = HashMap::new();
        for (key, value) in &self.model {
            let at = self.find(key).expect("it is in the dict");
            assert_eq!(self.dict.get(at).value(), *value);
            *slots.entry(hash_slot::of_key(key)).or_default() += 1;
        }
        let used: Vec<(u16, usize)> = self.dict.used_slots().collect();
        assert!(used.is_sorted());
        assert_eq!(used.into_iter().collect::<HashMap<_, _>>(), slots);
        for (slot, len) in slots {
            assert_eq!(self.dict.len_of_slot(slot), len);
            assert_eq!(self.dict.iter_slot(slot).count(), len);
            assert!(self.dict.iter_slot(slot).all(|item| hash_slot::of_key(item.key_bytes()) == slot));
        }
        let stats = self.dict.stats();
        let used = stats.main.used + stats.target.map_or(0, |(table, _)| table.used);
        assert_eq!(used, self.model.len());
        let scanned = self.scanned();
        assert_eq!(scanned.iter().collect::<HashSet<_>>().len(), self.model.len());
        assert!(scanned.iter().all(|key| self.model.contains_key(key)));
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u8, u16),
    InsertMany(u8, u16),
    Remove(u8, u16),
    RemoveMany(u8, u16),
    Change(u8, u16),
    Take(u8),
    Rehash(u8),
    Share(bool),
    Shrink,
    Random(u64),
    ScanMut,
    Flush,
}

fn op() -> impl Strategy<Value = Op> {
    let tag = 0_u8..6;
    prop_oneof![
        6 => (tag.clone(), 0_u16..60).prop_map(|(tag, n)| Op::Insert(tag, n)),
        6 => (tag.clone(), 0_u16..700).prop_map(|(tag, n)| Op::InsertMany(tag, n)),
        6 => (tag.clone(), 0_u16..60).prop_map(|(tag, n)| Op::Remove(tag, n)),
        6 => (tag.clone(), 0_u16..700).prop_map(|(tag, n)| Op::RemoveMany(tag, n)),
        4 => (tag.clone(), 0_u16..60).prop_map(|(tag, n)| Op::Change(tag, n)),
        1 => tag.prop_map(Op::Take),
        3 => any::<u8>().prop_map(Op::Rehash),
        2 => any::<bool>().prop_map(Op::Share),
        1 => Just(Op::Shrink),
        2 => any::<u64>().prop_map(Op::Random),
        1 => Just(Op::ScanMut),
        1 => Just(Op::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_agree_with_a_map(ops in prop::collection::vec(op(), 1..60)) {
        let mut both = Both::new();
        let mut shared = None;
        for op in ops {
            match op {
                Op::Insert(tag, n) => both.insert(&key(tag, n.into())),
                Op::InsertMany(tag, n) => (0..n).for_each(|n| both.insert(&key(tag, n.into()))),
                Op::Remove(tag, n) => both.remove(&key(tag, n.into())),
                Op::RemoveMany(tag, n) => (n..700).for_each(|n| both.remove(&key(tag, n.into()))),
                Op::Change(tag, n) => {
                    let key = key(tag, n.into());
                    if let Some(at) = both.find(&key) {
                        both.value += 1;
                        both.dict.get_mut(at).set_value(both.value);
                        both.model.insert(key, both.value);
                    }
                }
                Op::Take(tag) => {
                    let slot = hash_slot::of_key(&key(tag, 0));
                    let len = both.dict.len_of_slot(slot);
                    let taken = both.dict.take_slot(slot);
                    prop_assert_eq!(taken.map_or(0, |dict| dict.len()), len);
                    both.model.retain(|key, _| hash_slot::of_key(key) != slot);
                }
                Op::Rehash(buckets) => {
                    both.dict.rehash(buckets.into());
                    while both.dict.take_retired().is_some() {}
                }
                Op::Share(on) => shared = on.then(Shared::new),
                Op::Shrink => both.dict.shrink_if_sparse(),
                Op::Random(seed) => {
                    let mut random = Random(seed);
                    let at = both.dict.random(&mut || random.next());
                    prop_assert_eq!(at.is_none(), both.model.is_empty());
                    if let Some(at) = at {
                        prop_assert!(both.model.contains_key(both.dict.get(at).key_bytes()));
                    }
                }
                Op::ScanMut => {
                    let (mut cursor, value) = (0, both.value);
                    loop {
                        cursor = both.dict.scan_mut(cursor, &mut |item| item.set_value(value));
                        if cursor == 0 {
                            break;
                        }
                    }
                    both.model.values_mut().for_each(|old| *old = value);
                }
                Op::Flush => {
                    both.dict = SlottedDict::new(&both.hasher);
                    both.model.clear();
                }
            }
            both.check();
        }
        drop(shared);
    }
}

#[test]
fn scan_returns_every_key_present_throughout_while_slots_grow_shrink_and_empty() {
    let mut random = Random(7);
    for _ in 0..4 {
        let mut both = Both::new();
        let stable: Vec<Vec<u8>> = (0..400).map(|n| key(random.below(8) as u8, n)).collect();
        for key in &stable {
            both.insert(key);
        }
        let (mut cursor, mut seen, mut calls) = (0, HashSet::new(), 0);
        loop {
            cursor = both.dict.scan(cursor, &mut |item| {
                seen.insert(item.key_bytes().to_vec());
            });
            calls += 1;
            if cursor == 0 {
                break;
            }
            // Other keys come and go, in these slots and others.
            let tag = random.below(12) as u8;
            let from = 1000 + random.below(50) * 40;
            for n in from..from + random.below(400) {
                if random.below(3) > 0 { both.insert(&key(tag, n)) } else { both.remove(&key(tag, n)) }
            }
            if random.below(4) == 0 {
                (1000..4000).for_each(|n| both.remove(&key(tag, n)));
            }
            both.dict.rehash(random.below(10) as usize);
            assert!(calls < 100_000, "the walk ends");
        }
        for key in &stable {
            assert!(seen.contains(key), "{} was missed", key.escape_ascii());
        }
        both.check();
    }
}

#[test]
fn a_scan_without_changes_returns_each_key_once() {
    let mut both = Both::new();
    (0..3000).for_each(|n| both.insert(format!("key:{n}").as_bytes()));
    let mut keys = both.scanned();
    assert_eq!(keys.len(), 3000);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3000);
}

#[test]
fn any_cursor_may_be_scanned_and_leads_to_the_end() {
    let mut both = Both::new();
    let mut random = Random(3);
    assert_eq!(both.dict.scan(12345, &mut |_| panic!("it is empty")), 0);
    (0..500).for_each(|n| both.insert(format!("key:{n}").as_bytes()));
    for _ in 0..200 {
        let mut cursor = random.next();
        let mut calls = 0;
        loop {
            cursor = both.dict.scan(cursor, &mut |_| ());
            calls += 1;
            if cursor == 0 {
                break;
            }
        }
        assert!(calls <= 500 * 2);
    }
    assert_eq!(both.dict.scan(u64::MAX, &mut |_| ()), 0, "the last slot is empty");
}

/// A dict with slots of 1 to 2,000 keys, and the number of its keys.
fn uneven() -> (Both, f64) {
    let mut both = Both::new();
    for (tag, count) in [(0, 1), (1, 10), (2, 49), (3, 48), (4, 385), (5, 2000)] {
        (0..count).for_each(|n| both.insert(&key(tag, n)));
    }
    let len = both.dict.len() as f64;
    (both, len)
}

/// Checks that all keys were drawn equally often: the chi-square statistic has the number of keys less one as its mean
/// and twice that as its variance; five standard deviations.
fn assert_even(drawn: &HashMap<Vec<u8>, u32>, keys: f64) {
    let total: u32 = drawn.values().sum();
    let mean = f64::from(total) / keys;
    let missing = keys - drawn.len() as f64;
    let sum: f64 = drawn.values().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
    let chi = sum + missing * mean;
    assert!((chi - keys + 1.0).abs() < 5.0 * (2.0 * keys).sqrt(), "chi-square of {chi} for {keys} keys");
}

#[test]
fn random_keys_are_even_over_slots_of_any_size() {
    let (both, keys) = uneven();
    let mut random = Random(1);
    let mut drawn = HashMap::new();
    for _ in 0..100_000 {
        let at = both.dict.random(&mut || random.next()).expect("there are keys");
        *drawn.entry(both.dict.get(at).key_bytes().to_vec()).or_default() += 1;
    }
    assert_even(&drawn, keys);
}

#[test]
fn drawn_buckets_are_even_over_slots_of_any_size() {
    let (both, keys) = uneven();
    let mut random = Random(2);
    let mut drawn = HashMap::new();
    for _ in 0..100_000 {
        let draw = both.dict.draw(random.next());
        both.dict.prefetch_draw(draw);
        both.dict.prefetch_drawn(draw);
        both.dict.visit_drawn(draw, &mut |item| *drawn.entry(item.key_bytes().to_vec()).or_default() += 1);
    }
    assert_even(&drawn, keys);
}

#[test]
fn a_drawn_bucket_may_be_visited_after_its_slot_is_gone() {
    let mut both = Both::new();
    (0..100).for_each(|n| both.insert(&key(0, n)));
    let draws: Vec<_> = (0..50_u64).map(|n| both.dict.draw(n << 58)).collect();
    both.dict.take_slot(hash_slot::of_key(&key(0, 0)));
    for draw in &draws {
        both.dict.prefetch_draw(*draw);
        both.dict.prefetch_drawn(*draw);
        both.dict.visit_drawn(*draw, &mut |_| panic!("the slot is empty"));
    }
    both.insert(&key(0, 0));
    for draw in draws {
        both.dict.visit_drawn(draw, &mut |_| ());
    }
}

#[test]
fn small_slots_change_size_at_once_and_large_ones_a_bucket_at_a_time() {
    let mut both = Both::new();
    let mut rehashed = false;
    for n in 0..5000 {
        both.insert(&key(0, n));
        let rehashing = both.dict.checked_dicts()[0].is_rehashing();
        assert!(n > 32 * 6 || !rehashing, "{n} keys");
        rehashed |= rehashing;
    }
    assert!(rehashed);
    (0..5000).for_each(|n| both.remove(&key(0, n)));
    while both.dict.rehash(100) {}
    let mut retired = 0;
    while both.dict.take_retired().is_some() {
        retired += 1;
    }
    assert!(retired > 0 && !both.dict.is_rehashing());
    assert!(both.dict.checked_dicts().is_empty(), "a slot without keys has no dict");
}

#[test]
fn slots_that_became_sparse_beside_a_child_are_shrunk_by_housekeeping() {
    let mut both = Both::new();
    (0..8).for_each(|tag| (0..500).for_each(|n| both.insert(&key(tag, n))));
    let full = both.dict.memory_bytes();
    let shared = Shared::new();
    (0..8).for_each(|tag| (1..500).for_each(|n| both.remove(&key(tag, n))));
    assert_eq!(both.dict.memory_bytes(), full, "nothing moves beside a child");
    drop(shared);
    (0..256).for_each(|_| both.dict.shrink_if_sparse());
    while both.dict.rehash(100) {}
    both.check();
    let buckets: usize = both.dict.checked_dicts().iter().map(|dict| dict.main.buckets()).sum();
    assert_eq!(buckets, 8);
}

#[test]
fn a_dict_without_slots_says_that_all_are_empty() {
    let hasher = KeyHasher::new(Seed::new([5, 6]), false);
    let mut dict: SlottedDict<Block> = SlottedDict::new(&hasher);
    dict.insert(hasher.hash(b"key"), Block::new(b"key", 1));
    assert!((0..HASH_SLOTS as u16).all(|slot| dict.len_of_slot(slot) == 0));
    assert_eq!((dict.used_slots().count(), dict.iter_slot(12539).count()), (0, 0));
    assert!(dict.take_slot(12539).is_none());
    assert_eq!(dict.len(), 1);
}
