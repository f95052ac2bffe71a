//! Random operations on a dict and on a `HashMap`, which must agree.

use super::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u16),
    InsertMany(u16, u8),
    Remove(u16),
    RemoveMany(u16, u8),
    Change(u16),
    Replace(u16),
    Find(u16),
    Step,
    Rehash(u8),
    Share(bool),
    Shrink,
    Settle,
    Reserve(u16),
    Drain(u8),
    Random(u64),
    Scan,
    ScanMut,
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0_u16..600;
    prop_oneof![
        8 => key.clone().prop_map(Op::Insert),
        6 => (key.clone(), any::<u8>()).prop_map(|(from, count)| Op::InsertMany(from, count)),
        8 => key.clone().prop_map(Op::Remove),
        6 => (key.clone(), any::<u8>()).prop_map(|(from, count)| Op::RemoveMany(from, count)),
        4 => key.clone().prop_map(Op::Change),
        2 => key.clone().prop_map(Op::Replace),
        4 => key.prop_map(Op::Find),
        2 => Just(Op::Step),
        3 => any::<u8>().prop_map(Op::Rehash),
        2 => any::<bool>().prop_map(Op::Share),
        1 => Just(Op::Shrink),
        1 => Just(Op::Settle),
        1 => (0_u16..3_000).prop_map(Op::Reserve),
        1 => any::<u8>().prop_map(Op::Drain),
        2 => any::<u64>().prop_map(Op::Random),
        2 => Just(Op::Scan),
        2 => Just(Op::ScanMut),
        1 => Just(Op::Clear),
    ]
}

struct Both {
    shape: Shape,
    dict: Dict<Block>,
    model: HashMap<Vec<u8>, u64>,
    value: u64,
    shared: Option<Shared>,
}

impl Both {
    fn key(&self, n: u16) -> Vec<u8> {
        self.shape.key(u64::from(n) % self.shape.scale(600))
    }

    fn insert(&mut self, n: u16) {
        let key = self.key(n);
        self.value += 1;
        if value_of(&self.dict, &key).is_none() {
            insert(&mut self.dict, &key, self.value);
            assert_eq!(self.model.insert(key, self.value), None);
        }
    }

    fn remove(&mut self, n: u16) {
        let key = self.key(n);
        assert_eq!(remove(&mut self.dict, &key), self.model.remove(&key));
    }

    /// Finds for writing, as a command does: a step first.
    fn write(&mut self, n: u16, write: impl FnOnce(&mut Dict<Block>, super::super::Position, u64)) {
        let key = self.key(n);
        self.value += 1;
        self.dict.step();
        if let Some(position) = self.dict.find(self.dict.hash(&key), &key) {
            write(&mut self.dict, position, self.value);
            *self.model.get_mut(&key).expect("the model has it too") = self.value;
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(n) => self.insert(n),
            Op::InsertMany(from, count) => (from..from + u16::from(count)).for_each(|n| self.insert(n)),
            Op::Remove(n) => self.remove(n),
            Op::RemoveMany(from, count) => (from..from + u16::from(count)).for_each(|n| self.remove(n)),
            Op::Change(n) => self.write(n, |dict, position, value| dict.get_mut(position).set_value(value)),
            Op::Replace(n) => {
                let key = self.key(n);
                self.write(n, |dict, position, value| drop(dict.replace(position, Block::new(&key, value))));
            }
            Op::Find(n) => {
                let key = self.key(n);
                let hash = self.dict.hash(&key);
                self.dict.prefetch_bucket(hash);
                self.dict.prefetch_entry(hash);
                assert_eq!(value_of(&self.dict, &key), self.model.get(&key).copied());
            }
            Op::Step => self.dict.step(),
            Op::Rehash(buckets) => drop(self.dict.rehash(usize::from(buckets))),
            Op::Share(shared) => {
                self.shared = None;
                self.shared = shared.then(Shared::new);
            }
            Op::Shrink => drop(self.dict.shrink_if_sparse()),
            Op::Settle => self.dict.settle(),
            Op::Reserve(len) => self.dict.reserve(usize::from(len)),
            Op::Drain(buckets) => {
                let model = &mut self.model;
                self.dict.drain(0, usize::from(buckets) / 8, &mut |item| {
                    assert_eq!(model.remove(item.key_bytes()), Some(item.value()));
                });
            }
            Op::Random(seed) => {
                let mut random = Random(seed);
                let position = self.dict.random(&mut || random.next());
                assert_eq!(position.is_some(), !self.model.is_empty());
                if let Some(position) = position {
                    let item = self.dict.get(position);
                    assert_eq!(self.model.get(item.key_bytes()), Some(&item.value()));
                }
            }
            Op::Scan => self.scan(),
            Op::ScanMut => self.move_all(),
            Op::Clear => {
                self.dict.clear();
                self.model.clear();
            }
        }
        assert_eq!(self.dict.len(), self.model.len());
    }

    /// Moves every item to another block; positions stay what they were.
    fn move_all(&mut self) {
        let position = |dict: &Dict<Block>, key: &[u8]| dict.find(dict.hash(key), key);
        let before: Vec<_> =
            self.model.keys().map(|key| position(&self.dict, key).expect("it is there")).collect();
        let mut seen = HashMap::new();
        let mut cursor = 0;
        loop {
            let mut call = HashSet::new();
            cursor = self.dict.scan_mut(cursor, &mut |item: &mut Block| {
                item.set_value(item.value());
                assert!(call.insert(item.key_bytes().to_vec()), "one call lends no item twice");
                seen.insert(item.key_bytes().to_vec(), item.value());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
        for (key, before) in self.model.keys().zip(before) {
            assert_eq!(self.dict.get(before).key_bytes(), key);
        }
    }

    fn scan(&self) {
        let mut seen = HashMap::new();
        let mut cursor = 0;
        loop {
            cursor = self.dict.scan(cursor, &mut |item: &Block| {
                seen.insert(item.key_bytes().to_vec(), item.value());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dict_behaves_like_a_hash_map(
        shape in prop::sample::select(SHAPES.to_vec()),
        unattended in any::<bool>(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let dict = if unattended { Dict::unattended(shape.seed()) } else { Dict::new(shape.seed()) };
        let mut both = Both { shape, dict, model: HashMap::new(), value: 0, shared: None };
        for op in ops {
            both.apply(op);
            assert_sound(&both.dict);
        }
        both.scan();
    }
}
