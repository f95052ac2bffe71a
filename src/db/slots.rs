//! Hash slots of a database in cluster mode: to count, list, move and drop the keys of one. Outside of cluster mode all
//! slots are empty.

use super::{Db, Garbage, Keyspace};

impl Db {
    /// The number of keys in a hash slot, those included that have expired but are not deleted yet. O(1).
    pub fn keys_in_slot(&self, slot: u16) -> usize {
        self.dict.len_of_slot(slot)
    }

    /// The keys in a hash slot, in no particular order. To delete them, take the first few again and again.
    pub fn slot_keys(&self, slot: u16) -> impl Iterator<Item = &[u8]> {
        self.dict.iter_slot(slot).map(|entry| entry.key())
    }

    /// In cluster mode, prefetches the buckets of these hashes: the cache misses between those of
    /// [`Db::prefetch_bucket`] and [`Db::prefetch_entry`].
    #[inline]
    pub fn prefetch_buckets_in_slots(&self, hashes: impl Iterator<Item = u64>) {
        if self.dict.has_slots() {
            hashes.for_each(|hash| self.dict.prefetch_bucket_in_slot(hash));
        }
    }

    /// Prefetches the buckets and then the entries of these hashes. `share_slot` if all are in one hash slot: then, and outside
    /// of cluster mode, a single dict has them.
    #[inline]
    pub fn prefetch_group(&self, hashes: &[u64], share_slot: bool) {
        self.dict.prefetch_group(hashes, share_slot);
    }

    /// The hash slots with keys in ascending order, with the number of their keys. O(1) for each.
    pub fn used_slots(&self) -> impl Iterator<Item = (u16, usize)> {
        self.dict.used_slots()
    }
}

impl Keyspace {
    /// Removes all keys of a hash slot, and returns their number. The background thread frees them. Unlike
    /// [`Keyspace::remove`], declares no change: for keys that no client may see. O(keys), two operations for each key
    /// that expires.
    pub fn drop_slot(&mut self, db: usize, slot: u16) -> usize {
        let Db { dict, expires, field_deadlines } = &mut self.dbs[db];
        for entry in dict.iter_slot(slot) {
            field_deadlines.leaves(|| self.hasher.hash(entry.key()), &entry);
            expires.forget(dict, &entry);
        }
        let Some(keys) = dict.take_slot(slot) else { return 0 };
        let count = keys.len();
        self.lazy.send(Garbage::Slot(keys));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hash_slot;
    use crate::db::{Access, CycleBudget, Event, KeyHasher, Moment, Removal, digest};
    use crate::dict::Seed;
    use crate::types::hash::{self, Condition, FieldExpiry, HashMut};
    use crate::types::{Entry, Shapes, Text};
    use proptest::prelude::*;
    use std::collections::HashMap;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn keyspace(slots: bool) -> Keyspace {
        let mut keyspace = Keyspace::with_hasher(2, KeyHasher::new(Seed::new([8, 9]), slots));
        keyspace.moment = Moment::at(NOW_MS);
        keyspace
    }

    fn name(tag: u8, n: u16) -> Vec<u8> {
        format!("{{{tag}}}{n}").into_bytes()
    }

    fn set(keyspace: &mut Keyspace, name: &[u8], expire_at: Option<i64>) {
        let key = keyspace.key(0, name);
        keyspace.put_result(key, Some(Entry::string(name, b"value", expire_at)), Event::Set);
    }

    /// A hash under `name` with a field that expires.
    fn set_hash(keyspace: &mut Keyspace, name: &[u8]) {
        let shapes = Shapes::new(Seed::new([8, 9]));
        let mut entry = hash::create(name, &shapes, 0, std::iter::empty());
        let mut fields = HashMut::new(&mut entry, &shapes, NOW_MS);
        fields.set(b"field", Text::Bytes(b"value"), None, FieldExpiry::Remove);
        fields.set_expiry(b"field", NOW_MS + 1000, Condition::Always);
        let key = keyspace.key(0, name);
        keyspace.put_result(key, Some(entry), Event::HSet);
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Set(u8, u16, Option<u16>),
        Del(u8, u16),
        Expire(u8, u16, Option<u16>),
        Drop(u8),
        Wait(u16),
        Cycle,
        RandomKey,
        Swap,
        Flush,
    }

    fn op() -> impl Strategy<Value = Op> {
        let (tag, n) = (0_u8..4, 0_u16..80);
        let ttl = prop::option::of(1_u16..2000);
        prop_oneof![
            20 => (tag.clone(), n.clone(), ttl.clone()).prop_map(|(tag, n, ttl)| Op::Set(tag, n, ttl)),
            8 => (tag.clone(), n.clone()).prop_map(|(tag, n)| Op::Del(tag, n)),
            8 => (tag.clone(), n, ttl).prop_map(|(tag, n, ttl)| Op::Expire(tag, n, ttl)),
            1 => tag.prop_map(Op::Drop),
            2 => (0_u16..300).prop_map(Op::Wait),
            2 => Just(Op::Cycle),
            4 => Just(Op::RandomKey),
            1 => Just(Op::Swap),
            1 => Just(Op::Flush),
        ]
    }

    /// Keys with the times at which they expire.
    type Model = HashMap<Vec<u8>, Option<i64>>;

    fn check(keyspace: &mut Keyspace, model: &Model) {
        let now = keyspace.moment.unix_ms;
        let live: Model =
            model.clone().into_iter().filter(|(_, time)| time.is_none_or(|t| t >= now)).collect();
        let found: Model = keyspace
            .db(0)
            .entries()
            .map(|entry| (entry.key().to_vec(), entry.expire_at()))
            .filter(|(_, time)| time.is_none_or(|t| t >= now))
            .collect();
        assert_eq!(found, live);
        let expiring = keyspace.db(0).entries().filter(|entry| entry.expire_at().is_some()).count();
        assert_eq!(keyspace.db(0).expires().len(), expiring);
        let counts: usize = keyspace.db(0).used_slots().map(|(_, count)| count).sum();
        assert_eq!(counts, if keyspace.hasher().has_slots() { keyspace.db(0).len() } else { 0 });
        for (name, time) in &live {
            let at = keyspace.find(keyspace.key(0, name), Access::Read).expect("it is there");
            assert_eq!(keyspace.db(0).get(at).expire_at(), *time);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

        #[test]
        fn a_keyspace_with_slots_agrees_with_a_map_and_with_one_without(
            ops in prop::collection::vec(op(), 1..300), slots: bool
        ) {
            let mut keyspace = keyspace(slots);
            let mut models = [Model::new(), Model::new()];
            for op in ops {
                let now = keyspace.moment.unix_ms;
                let time = |ttl: Option<u16>| ttl.map(|ttl| now + i64::from(ttl));
                match op {
                    Op::Set(tag, n, ttl) => {
                        set(&mut keyspace, &name(tag, n), time(ttl));
                        models[0].insert(name(tag, n), time(ttl));
                    }
                    Op::Del(tag, n) => {
                        let name = name(tag, n);
                        let key = keyspace.key(0, &name);
                        if let Some(at) = keyspace.find(key, Access::Write) {
                            keyspace.remove(key, at, Removal::Del);
                        }
                        models[0].remove(&name);
                    }
                    Op::Expire(tag, n, ttl) => {
                        let name = name(tag, n);
                        let key = keyspace.key(0, &name);
                        if let Some(at) = keyspace.find(key, Access::Write) {
                            keyspace.set_expiry(key, at, time(ttl));
                            models[0].insert(name, time(ttl));
                        }
                    }
                    Op::Drop(tag) => {
                        let slot = hash_slot::of_key(&name(tag, 0));
                        let count = keyspace.db(0).keys_in_slot(slot);
                        prop_assert_eq!(keyspace.drop_slot(0, slot), count);
                        if slots {
                            models[0].retain(|name, _| hash_slot::of_key(name) != slot);
                        }
                    }
                    Op::Wait(ms) => keyspace.moment = Moment::at(now + i64::from(ms)),
                    Op::Cycle => drop(keyspace.active_expire_cycle(CycleBudget::new(10, 10), || 0)),
                    Op::RandomKey => {
                        if let Some(name) = keyspace.random_key(0) {
                            prop_assert!(models[0].contains_key(&name));
                        }
                    }
                    Op::Swap => {
                        keyspace.swap(0, 1);
                        models.swap(0, 1);
                    }
                    Op::Flush => {
                        keyspace.flush(0, true);
                        models[0].clear();
                    }
                }
                keyspace.unchanged();
            }
            check(&mut keyspace, &models[0]);
        }
    }

    #[test]
    fn the_keys_of_a_slot_are_listed_and_counted() {
        let mut keyspace = keyspace(true);
        for tag in 0..5 {
            (0..u16::from(tag) * 10).for_each(|n| set(&mut keyspace, &name(tag, n), None));
        }
        let db = keyspace.db(0);
        for tag in 0..5 {
            let slot = hash_slot::of_key(&name(tag, 0));
            assert_eq!(db.keys_in_slot(slot), usize::from(tag) * 10);
            let mut keys: Vec<Vec<u8>> = db.slot_keys(slot).map(<[u8]>::to_vec).collect();
            keys.sort();
            let mut expected: Vec<Vec<u8>> = (0..u16::from(tag) * 10).map(|n| name(tag, n)).collect();
            expected.sort();
            assert_eq!(keys, expected);
        }
        assert_eq!(db.used_slots().count(), 4);
        assert_eq!(db.keys_in_slot(hash_slot::of_key(b"another")), 0);
    }

    #[test]
    fn a_dropped_slot_leaves_nothing_in_the_lists_of_what_expires() {
        let mut keyspace = keyspace(true);
        for n in 0..300 {
            set(&mut keyspace, &name((n % 3) as u8, n), (n % 2 == 0).then_some(NOW_MS + i64::from(n)));
        }
        set_hash(&mut keyspace, b"{0}hash");
        set_hash(&mut keyspace, b"{1}hash");
        let slot = hash_slot::of_key(b"{0}");
        let slot = if keyspace.db(0).keys_in_slot(slot) > 0 { slot } else { hash_slot::of_key(b"0") };
        assert_eq!(keyspace.drop_slot(0, slot), 101);
        assert_eq!(keyspace.drop_slot(0, slot), 0);
        let db = keyspace.db(0);
        assert_eq!((db.len(), db.expires().len(), db.expiring_hashes()), (201, 100, 1));
        keyspace.moment = Moment::at(NOW_MS + 10_000);
        for _ in 0..100 {
            keyspace.active_expire_cycle(CycleBudget::new(10, 10), || 0);
        }
        let db = keyspace.db(0);
        assert_eq!((db.len(), db.expires().len(), db.expiring_hashes()), (100, 0, 0));
    }

    #[test]
    fn the_digest_does_not_depend_on_slots() {
        let digests = [false, true].map(|slots| {
            let mut keyspace = keyspace(slots);
            (0..500).for_each(|n| set(&mut keyspace, &name((n % 40) as u8, n), None));
            digest::of_keyspace(&keyspace)
        });
        assert_eq!(digests[0], digests[1]);
    }
}
