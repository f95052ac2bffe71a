//! Eviction: which key is removed when memory is short.
//!
//! An exact order of all keys by age or frequency would add a write to a list or a heap to every access. Instead,
//! eviction samples keys at random and removes the worst; the runners-up stay in a small *pool*, so that each eviction
//! chooses from the samples of many (as Redis has since 3.0).
//!
//! ```text
//!   dict:  … [ ■ ■ □ ■ ■ ■ □ ] …     a bucket drawn at random is one cache line, and has up to seven candidates
//!                 │ access bits, 24 bits in the entry's header
//!                 ▼
//!   pool:  best kept ◀── 16 candidates by score ──▶ worst: evicted, unless it has been used since
//! ```
//!
//! Buckets are sampled evenly, from both tables while a dict rehashes, and each entry is in one bucket, so every entry
//! has the same chance to become a candidate. Samples are drawn two evictions ahead: while eviction examines one
//! bucket, the entries of the next, the bucket after it and the worst candidate are being prefetched. The pool stores a
//! candidate as the hash of its key, not as a position or a copy: whatever happens to the key in between, the lookup
//! finds out.
//!
//! Keys that expire are sampled from their list ([`super::expiry`]), by index.
//!
//! Costs: a bucket, its entries (whose cache misses overlap), and the removal; no allocation.

use super::{AccessPolicy, Db, ExpiryList, Key, Keyspace, Moment, Removal};
use crate::config::MaxmemoryPolicy;
use crate::dict::{KeyHasher, Position, SlottedDraw};
use crate::types::entry::Entry;
use crate::types::random::Random;

/// Candidates kept from one eviction to the next.
const POOL: usize = 16;

/// Empty buckets drawn in a row before a single entry is drawn instead: in a table that is about to shrink three in
/// five are empty.
const MOST_EMPTY: usize = 32;

/// The most candidates examined per eviction, whatever is configured: more are not worth the time, and all clients wait
/// meanwhile.
const MOST_SAMPLES: usize = 1024;

/// Draws made in one database before the next is chosen.
const DRAWS_A_DATABASE: u32 = 8;

/// Keys that expire, drawn together so that their cache misses overlap.
const TOGETHER: usize = 8;

/// Which key is evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least recently used.
    Age,
    /// The least frequently used.
    Frequency,
    /// The next to expire.
    TimeToLive,
    /// Any.
    Random,
}

/// Which keys may be evicted, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPolicy {
    /// Only keys that expire.
    pub volatile: bool,
    /// Which of them are evicted first.
    pub order: Order,
    /// The minimum number of candidates examined for each eviction (`maxmemory-samples`).
    pub samples: usize,
}

impl EvictionPolicy {
    /// Converts `policy`; `None` if nothing may be evicted.
    pub fn new(policy: MaxmemoryPolicy, samples: u32) -> Option<EvictionPolicy> {
        use MaxmemoryPolicy as P;
        let (volatile, order) = match policy {
            P::Noeviction => return None,
            P::AllkeysLru => (false, Order::Age),
            P::AllkeysLfu => (false, Order::Frequency),
            P::AllkeysRandom => (false, Order::Random),
            P::VolatileLru => (true, Order::Age),
            P::VolatileLfu => (true, Order::Frequency),
            P::VolatileRandom => (true, Order::Random),
            P::VolatileTtl => (true, Order::TimeToLive),
        };
        Some(EvictionPolicy { volatile, order, samples: (samples as usize).min(MOST_SAMPLES) })
    }
}

/// A key that may be evicted.
#[derive(Clone, Copy, Default)]
struct Candidate {
    /// The higher, the sooner the key is evicted.
    score: u64,
    hash: u64,
    db: usize,
}

/// The worst candidates so far, by ascending score.
#[derive(Default)]
struct Pool {
    candidates: [Candidate; POOL],
    len: usize,
}

impl Pool {
    /// Adds a candidate if there is room, or replaces the best of the pool if this one is worse.
    fn offer(&mut self, score: u64, db: usize, hash: impl FnOnce() -> u64) {
        if self.len == POOL && score <= self.candidates[0].score {
            return;
        }
        let hash = hash();
        let pool = &self.candidates[..self.len];
        if pool.iter().any(|candidate| candidate.hash == hash && candidate.db == db) {
            return;
        }
        let place = pool.partition_point(|candidate| candidate.score < score);
        let candidate = Candidate { score, hash, db };
        if self.len < POOL {
            self.candidates.copy_within(place..self.len, place + 1);
            self.candidates[place] = candidate;
            self.len += 1;
        } else {
            self.candidates.copy_within(1..place, 0);
            self.candidates[place - 1] = candidate;
        }
    }

    /// The worst candidate.
    fn worst(&self) -> Option<Candidate> {
        self.candidates[..self.len].last().copied()
    }

    /// Removes and returns the worst candidate.
    fn pop(&mut self) -> Option<Candidate> {
        self.len = self.len.checked_sub(1)?;
        Some(self.candidates[self.len])
    }
}

/// State that eviction keeps from one key to the next.
#[derive(Default)]
pub(super) struct Evictor {
    pool: Pool,
    /// The policy under which the pool's scores were computed.
    policy: Option<EvictionPolicy>,
    /// Buckets already drawn: the first one's entries and the second one's line are being prefetched.
    drawn: [Option<(usize, SlottedDraw)>; 2],
    /// The database that is being sampled, and how many draws remain.
    db: usize,
    draws_left: u32,
}

/// The inputs of a score.
#[derive(Clone, Copy)]
struct Scale {
    order: Order,
    moment: Moment,
    access: AccessPolicy,
}

impl Scale {
    /// How soon an entry should be evicted.
    fn score(self, entry: &Entry) -> u64 {
        match (self.order, self.access) {
            (Order::TimeToLive, _) => u64::MAX - entry.expire_at().unwrap_or(i64::MAX).cast_unsigned(),
            (Order::Frequency, AccessPolicy::Lfu(lfu)) => {
                // Among keys of the same count the least recently used first.
                let age = self.moment.clock.minutes().wrapping_sub((entry.access() >> 8) as u16);
                u64::from(u8::MAX - lfu.counter(entry.access(), self.moment.clock)) << 16 | u64::from(age)
            }
            _ => u64::from(self.moment.clock.idle_seconds(entry.access())),
        }
    }
}

impl Evictor {
    /// Clears candidates gathered under another policy, whose scores mean something else.
    fn adopt(&mut self, policy: EvictionPolicy) {
        if self.policy != Some(policy) {
            *self = Evictor { policy: Some(policy), ..Evictor::default() };
        }
    }

    /// Chooses a database, weighted by its number of keys as `size` counts them. `None` if there is no key.
    fn choose_db(&mut self, dbs: &[Db], random: &mut Random, size: impl Fn(&Db) -> usize) -> Option<usize> {
        if self.draws_left == 0 || dbs.get(self.db).is_none_or(|db| size(db) == 0) {
            let total: usize = dbs.iter().map(&size).sum();
            if total == 0 {
                return None;
            }
            let mut rest = random.below(total);
            self.db = dbs.iter().position(|db| {
                let len = size(db);
                let here = rest < len;
                rest = rest.saturating_sub(len);
                here
            })?;
            self.draws_left = DRAWS_A_DATABASE;
        }
        self.draws_left -= 1;
        Some(self.db)
    }

    /// Samples `samples` or a few more entries of any kind. Returns whether there is any.
    fn sample_all(
        &mut self,
        dbs: &[Db],
        random: &mut Random,
        hasher: &KeyHasher,
        scale: Scale,
        samples: usize,
    ) -> bool {
        let mut looked = 0;
        let mut in_vain = 0;
        while looked < samples {
            let Some(index) = self.choose_db(dbs, random, Db::len) else { return looked > 0 };
            let fresh = dbs[index].dict.draw(random.next());
            dbs[index].dict.prefetch_draw(fresh);
            let [now, next] = std::mem::replace(&mut self.drawn, [None, Some((index, fresh))]);
            if let Some((db, draw)) = next {
                self.drawn[0] = next;
                dbs[db].dict.prefetch_drawn(draw);
            }
            let before = looked;
            if let Some((db, draw)) = now {
                dbs[db].dict.visit_drawn(draw, &mut |entry| {
                    looked += 1;
                    self.pool.offer(scale.score(entry), db, || hasher.hash(entry.key()));
                });
            }
            in_vain = if looked == before { in_vain + 1 } else { 0 };
            if in_vain > MOST_EMPTY {
                in_vain = 0;
                if let Some(at) = dbs[index].dict.random(&mut || random.next()) {
                    let entry = dbs[index].dict.get(at);
                    looked += 1;
                    self.pool.offer(scale.score(&entry), index, || hasher.hash(entry.key()));
                }
            }
        }
        true
    }

    /// Samples `samples` or a few more entries that expire. Returns whether there is any.
    fn sample_volatile(&mut self, dbs: &[Db], random: &mut Random, scale: Scale, samples: usize) -> bool {
        let mut looked = 0;
        while looked < samples {
            let Some(index) = self.choose_db(dbs, random, |db| db.expires.len()) else { return looked > 0 };
            let Db { dict, expires, .. } = &dbs[index];
            let drawn: [(u32, u64); TOGETHER] = std::array::from_fn(|_| draw_volatile(expires, random));
            let drawn = &drawn[..TOGETHER.min(samples - looked)];
            for (_, hash) in drawn {
                dict.prefetch_bucket(*hash);
            }
            for (_, hash) in drawn {
                dict.prefetch_entry(*hash);
            }
            for &(place, hash) in drawn {
                looked += 1;
                let is_it = |e: &Entry| e.expire_at().is_some() && e.expire_index() == place;
                if let Some(at) = dict.find_by(hash, is_it) {
                    self.pool.offer(scale.score(&dict.get(at)), index, || hash);
                }
            }
        }
        true
    }
}

/// The place and the hash of a random key that expires.
fn draw_volatile(expires: &ExpiryList, random: &mut Random) -> (u32, u64) {
    let place = random.below(expires.len());
    (place as u32, expires.hash(place))
}

impl Keyspace {
    /// Evicts the key that `policy` puts first. Returns whether there was one.
    pub fn evict_one(&mut self, policy: EvictionPolicy) -> bool {
        self.evictor.adopt(policy);
        let victim = match policy.order {
            Order::Random => self.random_victim(policy.volatile),
            _ => self.worst_victim(policy),
        };
        let Some((db, hash, at)) = victim else { return false };
        self.counters.evicted += 1;
        self.remove(Key { db, hash, name: &[] }, at, Removal::Evicted);
        true
    }

    fn worst_victim(&mut self, policy: EvictionPolicy) -> Option<(usize, u64, Position)> {
        let scale = Scale { order: policy.order, moment: self.moment, access: self.access_policy };
        loop {
            let Keyspace { dbs, evictor, random, hasher, .. } = self;
            if let Some(Candidate { hash, db, .. }) = evictor.pool.worst() {
                dbs[db].dict.prefetch_entry(hash);
            }
            let found = if policy.volatile {
                evictor.sample_volatile(dbs, random, scale, policy.samples)
            } else {
                evictor.sample_all(dbs, random, hasher, scale, policy.samples)
            };
            while let Some(candidate) = self.evictor.pool.pop() {
                let Candidate { score, hash, db } = candidate;
                let dict = &self.dbs[db].dict;
                let Some(at) = dict.find_by(hash, |e| !policy.volatile || e.expire_at().is_some()) else {
                    continue;
                };
                let now = scale.score(&dict.get(at));
                if now >= score {
                    // Prefetch the candidate that is most likely next.
                    if let Some(Candidate { hash, db, .. }) = self.evictor.pool.worst() {
                        self.dbs[db].dict.prefetch_bucket(hash);
                    }
                    return Some((db, hash, at));
                }
                // The key was used after it was sampled, so others may now be worse.
                self.evictor.pool.offer(now, db, || hash);
            }
            if !found {
                return None;
            }
        }
    }

    fn random_victim(&mut self, volatile: bool) -> Option<(usize, u64, Position)> {
        let Keyspace { dbs, evictor, random, hasher, .. } = self;
        if volatile {
            let index = evictor.choose_db(dbs, random, |db| db.expires.len())?;
            let Db { dict, expires, .. } = &dbs[index];
            let (place, hash) = draw_volatile(expires, random);
            let at = dict.find_by(hash, |e| e.expire_at().is_some() && e.expire_index() == place)?;
            return Some((index, hash, at));
        }
        let index = evictor.choose_db(dbs, random, Db::len)?;
        let dict = &dbs[index].dict;
        let at = dict.random(&mut || random.next())?;
        let hash = hasher.hash(dict.get(at).key());
        Some((index, hash, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dict::Seed;
    use crate::types::access::Lfu;

    const ALL: [MaxmemoryPolicy; 7] = [
        MaxmemoryPolicy::AllkeysLru,
        MaxmemoryPolicy::AllkeysLfu,
        MaxmemoryPolicy::AllkeysRandom,
        MaxmemoryPolicy::VolatileLru,
        MaxmemoryPolicy::VolatileLfu,
        MaxmemoryPolicy::VolatileRandom,
        MaxmemoryPolicy::VolatileTtl,
    ];
    const NOW_MS: i64 = 1_700_000_000_000;

    fn policy(policy: MaxmemoryPolicy, samples: u32) -> EvictionPolicy {
        EvictionPolicy::new(policy, samples).expect("it evicts")
    }

    /// Fills three databases, with or without hash slots, with the keys `0` to `count`, every other one of which
    /// expires.
    fn filled(count: usize, how: MaxmemoryPolicy, slots: bool) -> Keyspace {
        let mut keyspace = Keyspace::with_hasher(3, KeyHasher::new(Seed::new([3, 4]), slots));
        keyspace.moment = Moment::at(NOW_MS);
        if how.is_lfu() {
            keyspace.access_policy = AccessPolicy::Lfu(Lfu { log_factor: 10, decay_time: 1 });
        }
        for n in 0..count {
            let (db, name) = (n % 3, n.to_string());
            let expire_at = (n % 2 == 0).then_some(NOW_MS + 1_000_000_000 + n as i64);
            let key = keyspace.key(db, name.as_bytes());
            keyspace.insert(key, Entry::string(name.as_bytes(), b"value", expire_at));
            keyspace.changed(key, crate::db::Event::Set, 1);
        }
        keyspace
    }

    fn len(keyspace: &Keyspace) -> usize {
        (0..keyspace.count()).map(|db| keyspace.db(db).len()).sum()
    }

    #[test]
    fn the_pool_keeps_the_worst_and_gives_them_in_order() {
        let mut pool = Pool::default();
        // 337 and 1,000 have no common divisor, so these are all numbers from 0 to 999, in no order.
        for n in 0..1000u64 {
            let score = n * 337 % 1000;
            pool.offer(score, 0, || score);
            pool.offer(score, 0, || score);
        }
        let given: Vec<u64> = std::iter::from_fn(|| pool.pop()).map(|candidate| candidate.score).collect();
        assert_eq!(given, (1000 - POOL as u64..1000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn every_key_that_may_go_goes_and_no_other() {
        for (how, slots) in ALL.into_iter().flat_map(|how| [(how, false), (how, true)]) {
            for samples in [1, 5, 64] {
                let mut keyspace = filled(1000, how, slots);
                let policy = policy(how, samples);
                let may_go = if policy.volatile { 500 } else { 1000 };
                for n in 1..=may_go {
                    assert!(keyspace.evict_one(policy), "{how:?}: {n} of {may_go}");
                    assert_eq!(len(&keyspace), 1000 - n);
                }
                assert!(!keyspace.evict_one(policy), "{how:?}: nothing is left that may go");
                assert_eq!(keyspace.counters.evicted, may_go as u64);
                assert!((0..3).all(|db| keyspace.db(db).expires().is_empty()));
            }
        }
    }

    #[test]
    fn candidates_that_are_gone_or_were_used_since_are_passed_over() {
        let policies = [MaxmemoryPolicy::AllkeysLru, MaxmemoryPolicy::AllkeysLfu];
        for (how, slots) in policies.into_iter().flat_map(|how| [(how, false), (how, true)]) {
            let mut keyspace = filled(300, how, slots);
            keyspace.moment = Moment::at(NOW_MS + 10_000_000);
            // A bucket of a slot with a single key is one sample, one of a larger dict is several.
            let policy = policy(how, if slots { 20 } else { 5 });
            // The pool is now full of candidates. Some of them go otherwise, and all other keys but a few are used.
            assert!(keyspace.evict_one(policy));
            keyspace.flush(1, false);
            for n in 0..300 {
                let name = n.to_string();
                let key = keyspace.key(n % 3, name.as_bytes());
                if n > 30 && keyspace.find(key, super::super::Access::Read).is_some() && how.is_lfu() {
                    for _ in 0..20 {
                        keyspace.find(key, super::super::Access::Read);
                    }
                }
            }
            let unused = |keyspace: &Keyspace| {
                (0..=30)
                    .filter(|n: &usize| {
                        keyspace.peek(keyspace.key(n % 3, n.to_string().as_bytes())).is_some()
                    })
                    .count()
            };
            let before = unused(&keyspace);
            for _ in 0..before / 2 {
                assert!(keyspace.evict_one(policy));
            }
            let gone = before - unused(&keyspace);
            assert!(gone * 10 >= before / 2 * 8, "{how:?}: {gone} of {before} that were not used");
        }
    }

    #[test]
    fn the_first_to_expire_goes_first() {
        for slots in [false, true] {
            let mut keyspace = filled(2000, MaxmemoryPolicy::VolatileTtl, slots);
            let policy = policy(MaxmemoryPolicy::VolatileTtl, 10);
            for _ in 0..300 {
                assert!(keyspace.evict_one(policy));
            }
            let gone = (0..600)
                .step_by(2)
                .filter(|n: &usize| keyspace.peek(keyspace.key(n % 3, n.to_string().as_bytes())).is_none());
            let gone = gone.count();
            assert!(gone > 230, "{gone} of the 300 that expire first");
        }
    }
}
