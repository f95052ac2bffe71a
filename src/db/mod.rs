//! The keyspace: numbered databases of entries, each a [`Dict`] from key to [`Entry`] and a list of the keys that
//! expire.
//!
//! Everything that a command does to a key passes through the few doors here, so that a rule stands in one place:
//! a lookup ([`Keyspace::find`]) deletes what has expired, counts hits and misses and moves the access clock; a
//! removal ([`Keyspace::remove`]) takes the key out of the expiry list and sends large values to the background
//! thread; [`Keyspace::modified`] counts what a save would lose.
//!
//! A lookup answers with a [`Position`], valid until the next insertion or removal; [`Db::get`] and [`Db::modify`]
//! turn it into the entry. Costs: one bucket and one entry, that is two cache misses, or none when the batch has
//! prefetched them.

pub mod digest;
mod expiry;
mod fields;
mod lazyfree;

pub use expiry::{CycleBudget, CycleEnd, ExpiryList};
pub use lazyfree::{Garbage, LazyFree};

use crate::dict::{Dict, Position, Ref, Seed};
use crate::types::Shapes;
use crate::types::access::{AccessClock, Lfu};
use crate::types::entry::Entry;
use crate::types::random::Random;

/// How a lookup treats the access clock and the statistics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A read: counts a hit or a miss and moves the access clock.
    Read,
    /// A read that only looks at metadata (`TTL`, `EXISTS`, `OBJECT`): counts, but leaves the access clock.
    Look,
    /// For who neither reads nor writes the value (`DEL`, `DEBUG`): neither counts nor touches.
    Inspect,
    /// A lookup by a command that is going to write: moves the access clock, counts nothing.
    Write,
}

/// What the access field of an entry records, by `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessPolicy {
    /// Seconds of the last access, 24 bits.
    Lru,
    /// A logarithmic counter with its decay time in minutes.
    Lfu(Lfu),
}

/// The moment at which the current commands execute: read once an iteration, so that all commands of a batch agree
/// on what has expired.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix time in milliseconds.
    pub unix_ms: i64,
    /// The same as access fields count it.
    pub clock: AccessClock,
    /// The access field of a key that is used now, under an LRU policy.
    pub lru: u32,
}

impl Moment {
    /// The moment at `unix_ms`.
    pub fn at(unix_ms: i64) -> Self {
        let clock = AccessClock::from_wall_us(unix_ms as u64 * 1000);
        Moment { unix_ms, clock, lru: clock.lru() }
    }
}

/// Counters that `INFO stats` prints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys that were deleted because their time had come.
    pub expired: u64,
    /// Fields of hashes that were deleted because their time had come.
    pub expired_fields: u64,
    /// Active-expiry cycles that ran out of time.
    pub expire_cycles_cut_short: u64,
    /// Microseconds spent in active expiry.
    pub expire_cycle_us: u64,
    /// A running estimate of the share of keys that have expired but still stand, in percent.
    pub expired_stale_percent: f64,
    /// Changes since the last save.
    pub dirty: u64,
}

/// One numbered database.
pub struct Db {
    dict: Dict<Entry>,
    expires: ExpiryList,
    field_deadlines: fields::FieldDeadlines,
}

impl Db {
    fn new(seed: Seed) -> Self {
        Db {
            dict: Dict::new(seed),
            expires: ExpiryList::default(),
            field_deadlines: fields::FieldDeadlines::default(),
        }
    }

    /// Number of keys, those included that have expired but were not met yet.
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// The expiring keys.
    pub fn expires(&self) -> &ExpiryList {
        &self.expires
    }

    /// The table itself, for scanning and for its statistics.
    pub fn dict(&self) -> &Dict<Entry> {
        &self.dict
    }

    /// The entry at `at`.
    #[inline]
    pub fn get(&self, at: Position) -> Ref<'_, Entry> {
        self.dict.get(at)
    }

    /// Changes the entry's value or access field; expiry has its own door, [`Keyspace::set_expiry`], and so have hashes,
    /// [`Keyspace::modify_hash`].
    #[inline]
    pub fn modify<R>(&mut self, at: Position, change: impl FnOnce(&mut Entry) -> R) -> R {
        change(&mut self.dict.get_mut(at))
    }

    /// Asks the processor for the bucket of `hash`: the first of the two misses of a lookup.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.dict.prefetch_bucket(hash);
    }

    /// Asks for the likely entry of `hash`, once its bucket has arrived.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.dict.prefetch_entry(hash);
    }

    /// The bytes that `key` takes: its entry with the value, its slot in the table, its place in the list of those that
    /// expire. A key that has expired counts as long as it stands.
    pub fn memory_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let entry = self.dict.get(self.dict.find(hash, key)?);
        let expiry = if entry.expire_at().is_some() { size_of::<u64>() } else { 0 };
        Some(entry.memory_bytes() + size_of::<u64>() + expiry)
    }

    /// Visits one probe chain of the table, see [`Dict::scan`].
    pub fn scan(&self, cursor: u64, visit: &mut impl FnMut(&Entry)) -> u64 {
        self.dict.scan(cursor, visit)
    }

    fn detach_expiry(&mut self, at: Position) {
        let entry = self.dict.get(at);
        if entry.expire_at().is_none() {
            return;
        }
        let index = entry.expire_index();
        if let Some(moved) = self.expires.remove(index) {
            let last = self.expires.len() as u32;
            let at = self.dict.find_by(moved, |e| e.expire_at().is_some() && e.expire_index() == last);
            let at = at.expect("every hash in the expiry list belongs to an entry of the table");
            self.dict.get(at).set_expire_index(index);
        }
    }
}

/// All databases, and what they share.
pub struct Keyspace {
    dbs: Vec<Db>,
    seed: Seed,
    /// When the current commands execute.
    pub moment: Moment,
    /// What the access field records.
    pub access_policy: AccessPolicy,
    /// What has expired is not found and not deleted: the data set stays as it is (`CLIENT PAUSE`). A lookup for a write
    /// deletes nevertheless.
    pub hold_expired: bool,
    /// Whether lookups and the cycle delete what has expired (`DEBUG SET-ACTIVE-EXPIRE` switches the cycle alone).
    pub active_expire: bool,
    /// Whether tables that have become sparse are shrunk (`DEBUG DICT-RESIZING`). They always grow: a full table of
    /// open addressing has no place for one more key.
    pub shrinks_tables: bool,
    /// `lazyfree-lazy-user-del`: `DEL` sends every value that lies in a block of its own to the background; large
    /// ones go there anyway.
    pub lazy_user_del: bool,
    /// `lazyfree-lazy-server-del`: the same for values that a write replaces.
    pub lazy_server_del: bool,
    /// `lazyfree-lazy-expire`: the same for keys that expire.
    pub lazy_expire: bool,
    /// The limits at which collections change their encodings.
    pub shapes: Shapes,
    /// Statistics.
    pub counters: Counters,
    lazy: LazyFree,
    /// For sampling and the Morris counter, not for secrets.
    pub random: Random,
    /// The database at which the expiry cycle goes on.
    expire_next_db: usize,
}

impl Keyspace {
    /// `count` empty databases, hashed under `seed`.
    pub fn new(count: usize, seed: Seed) -> Self {
        Keyspace {
            dbs: (0..count).map(|_| Db::new(seed)).collect(),
            seed,
            moment: Moment::at(0),
            access_policy: AccessPolicy::Lru,
            hold_expired: false,
            active_expire: true,
            shrinks_tables: true,
            lazy_user_del: false,
            lazy_server_del: false,
            lazy_expire: false,
            shapes: Shapes::new(seed),
            counters: Counters::default(),
            lazy: LazyFree::default(),
            random: Random::new(seed.hash(b"random")),
            expire_next_db: 0,
        }
    }

    /// Number of databases.
    pub fn count(&self) -> usize {
        self.dbs.len()
    }

    /// The database `index`.
    #[inline]
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    /// The database `index`, to change.
    #[inline]
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// The hash of `key`, the same in every database.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    /// The background thread's queue.
    pub fn lazy(&self) -> &LazyFree {
        &self.lazy
    }

    /// The processors that the background thread keeps to from its start on; empty for all.
    pub fn keep_lazy_to(&mut self, processors: Vec<usize>) {
        self.lazy.processors = processors;
    }

    /// Finds `key` in database `db`; what has expired is deleted and not found.
    #[inline]
    pub fn find(&mut self, db: usize, hash: u64, key: &[u8], access: Access) -> Option<Position> {
        let found = self.dbs[db].dict.find(hash, key);
        let Some(at) = found else {
            self.count_lookup(access, false);
            return None;
        };
        if let Some(expire_at) = self.dbs[db].dict.get(at).expire_at()
            && expire_at < self.moment.unix_ms
        {
            if !self.hold_expired || access == Access::Write {
                self.expire(db, at);
            }
            self.count_lookup(access, false);
            return None;
        }
        self.count_lookup(access, true);
        if matches!(access, Access::Read | Access::Write) {
            self.touch(db, at);
        }
        Some(at)
    }

    #[inline]
    fn count_lookup(&mut self, access: Access, hit: bool) {
        if matches!(access, Access::Read | Access::Look) {
            self.counters.hits += u64::from(hit);
            self.counters.misses += u64::from(!hit);
        }
    }

    /// Moves the access clock of the entry at `at`. Under an LRU policy the line is only written when the clock has
    /// moved on since the last access.
    #[inline]
    fn touch(&mut self, db: usize, at: Position) {
        match self.access_policy {
            AccessPolicy::Lru => {
                let lru = self.moment.lru;
                let entry = self.dbs[db].dict.get(at);
                if entry.access() != lru {
                    entry.set_access(lru);
                }
            }
            AccessPolicy::Lfu(lfu) => {
                let random = self.random.next() as u32;
                let entry = self.dbs[db].dict.get(at);
                entry.set_access(lfu.touch(entry.access(), self.moment.clock, random));
            }
        }
    }

    /// The access field of an entry that is created now.
    pub fn fresh_access(&self) -> u32 {
        match self.access_policy {
            AccessPolicy::Lru => self.moment.lru,
            AccessPolicy::Lfu(lfu) => lfu.fresh(self.moment.clock),
        }
    }

    /// Adds an entry whose key is not there.
    #[inline]
    pub fn insert(&mut self, db: usize, hash: u64, entry: Entry) -> Position {
        entry.set_access(self.fresh_access());
        self.add(db, hash, entry)
    }

    #[inline]
    fn add(&mut self, db: usize, hash: u64, entry: Entry) -> Position {
        let db = &mut self.dbs[db];
        if entry.expire_at().is_some() {
            entry.set_expire_index(db.expires.push(hash));
        }
        db.field_deadlines.comes(hash, &entry);
        db.dict.insert_new(hash, entry)
    }

    /// Puts `entry` under its key, whose hash this is, whether one is there or not; its access field stays as it is.
    pub fn put(&mut self, db: usize, hash: u64, entry: Entry) {
        let found = self.dbs[db].dict.find(hash, entry.key());
        match found {
            Some(at) => self.exchange(db, hash, at, entry),
            None => {
                self.add(db, hash, entry);
            }
        }
    }

    /// Takes the entry at `at` out of the database.
    pub fn take(&mut self, db: usize, at: Position) -> Entry {
        let db = &mut self.dbs[db];
        db.detach_expiry(at);
        let entry = db.dict.remove(at);
        db.field_deadlines.leaves(|| self.seed.hash(entry.key()), &entry);
        entry
    }

    /// Deletes the entry at `at`; large values, and all when `lazily`, are freed in the background.
    pub fn remove(&mut self, db: usize, at: Position, lazily: bool) {
        let entry = self.take(db, at);
        self.discard(entry, lazily);
    }

    /// Puts the result of a command, which has this key, in the place of whatever the key holds; without a result the
    /// key is deleted. Counts the change.
    pub fn store(&mut self, db: usize, hash: u64, key: &[u8], result: Option<Entry>) {
        let old = self.find(db, hash, key, Access::Inspect);
        self.modified(u64::from(old.is_some() || result.is_some()));
        match (old, result) {
            (Some(at), Some(entry)) => self.replace(db, hash, at, entry),
            (Some(at), None) => self.remove(db, at, self.lazy_server_del),
            (None, Some(entry)) => {
                self.insert(db, hash, entry);
            }
            (None, None) => {}
        }
    }

    /// The entry at `at` for reading, with a source of random numbers.
    pub fn sample(&mut self, db: usize, at: Position) -> (Ref<'_, Entry>, &mut Random) {
        (self.dbs[db].dict.get(at), &mut self.random)
    }

    /// Changes the entry's value with the limits of encodings and a source of random numbers at hand.
    #[inline]
    pub fn reshape<R>(
        &mut self,
        db: usize,
        at: Position,
        change: impl FnOnce(&mut Entry, &Shapes, &mut Random) -> R,
    ) -> R {
        change(&mut self.dbs[db].dict.get_mut(at), &self.shapes, &mut self.random)
    }

    fn discard(&mut self, entry: Entry, lazily: bool) {
        if entry.is_large() || (lazily && entry.owns_memory()) {
            self.lazy.send(Garbage::Entry(entry));
        }
    }

    fn expire(&mut self, db: usize, at: Position) {
        self.counters.expired += 1;
        self.remove(db, at, self.lazy_expire);
    }

    /// Puts `entry`, which has the same key, where the one at `at` is; the expiry goes with the old one. How often and
    /// when the key was used stays: it is the key's, not the value's.
    pub fn replace(&mut self, db: usize, hash: u64, at: Position, entry: Entry) {
        entry.set_access(self.dbs[db].dict.get(at).access());
        self.exchange(db, hash, at, entry);
    }

    fn exchange(&mut self, db: usize, hash: u64, at: Position, entry: Entry) {
        let target = &mut self.dbs[db];
        target.detach_expiry(at);
        if entry.expire_at().is_some() {
            entry.set_expire_index(target.expires.push(hash));
        }
        target.field_deadlines.leaves(|| hash, &target.dict.get(at));
        target.field_deadlines.comes(hash, &entry);
        let old = target.dict.replace(at, entry);
        self.discard(old, self.lazy_server_del);
    }

    /// Sets, moves or (with `None`) takes away the time, Unix milliseconds, at which the key expires.
    pub fn set_expiry(&mut self, db: usize, hash: u64, at: Position, expire_at: Option<i64>) {
        let db = &mut self.dbs[db];
        let had = db.dict.get(at).expire_at().is_some();
        match (had, expire_at) {
            (false, None) => {}
            (true, Some(_)) => db.dict.get_mut(at).set_expire(expire_at),
            (true, None) => {
                db.detach_expiry(at);
                db.dict.get_mut(at).set_expire(None);
            }
            (false, Some(_)) => {
                let index = db.expires.push(hash);
                let mut entry = db.dict.get_mut(at);
                entry.set_expire(expire_at);
                entry.set_expire_index(index);
            }
        }
    }

    /// A uniformly random live key of database `db`. While expired keys are held, gives up after 100 of them and answers
    /// with the last one, as Redis does; nothing is found only in an empty database.
    pub fn random_key(&mut self, db: usize) -> Option<Vec<u8>> {
        const TRIES: usize = 100;
        let mut held = 0;
        loop {
            let at = self.dbs[db].dict.random(&mut || self.random.next())?;
            let entry = self.dbs[db].dict.get(at);
            let is_live = entry.expire_at().is_none_or(|t| t >= self.moment.unix_ms);
            held += usize::from(self.hold_expired);
            if is_live || held >= TRIES {
                return Some(entry.key().to_vec());
            }
            if !self.hold_expired {
                self.expire(db, at);
            }
        }
    }

    /// Empties database `db` and answers how many keys it had. `lazily`, the background thread frees them.
    pub fn flush(&mut self, db: usize, lazily: bool) -> usize {
        let removed = self.dbs[db].len();
        let old = std::mem::replace(&mut self.dbs[db], Db::new(self.seed));
        if lazily && removed > 0 {
            self.lazy.send(Garbage::Table(Box::new(old)));
        }
        removed
    }

    /// Exchanges the contents of two databases.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.dbs.swap(first, second);
    }

    /// Counts `changes` to the data set.
    #[inline]
    pub fn modified(&mut self, changes: u64) {
        self.counters.dirty += changes;
    }

    /// Housekeeping of one cron tick: moves rehashing on by up to `budget_us` microseconds as told by `now_us`, shrinks
    /// sparse tables, hands retired tables to the background thread.
    pub fn housekeep(&mut self, rehash: bool, budget_us: u64, now_us: impl Fn() -> u64) {
        let start = now_us();
        for db in &mut self.dbs {
            if self.shrinks_tables {
                db.dict.shrink_if_sparse();
            }
            while rehash && db.dict.is_rehashing() && now_us() - start < budget_us {
                db.dict.rehash(100);
            }
            if let Some(retired) = db.dict.take_retired() {
                self.lazy.send(Garbage::Retired(retired));
            }
        }
    }
}
