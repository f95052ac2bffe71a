//! The keyspace: numbered databases, each a [`SlottedDict`] from key to [`Entry`] and a list of the keys that expire.
//!
//! Commands reach keys only through the few functions here, so that each rule is written once. A lookup
//! ([`Keyspace::find`]) deletes expired keys, counts hits and misses and updates the access clock; a removal
//! ([`Keyspace::remove`]) takes the key out of the expiry list and sends large values to the background thread;
//! [`Keyspace::changed`] counts the changes that are lost without a save and records the change in the [`Journal`].
//!
//! | to … | call |
//! |---|---|
//! | add a key that is not there | [`Keyspace::insert`] |
//! | change the value of one that is | [`Keyspace::modify`], [`Keyspace::reshape`], [`Keyspace::modify_hash`] |
//! | replace its value | [`Keyspace::replace`] |
//! | set what a key holds, there or not | [`Keyspace::put`], or [`Keyspace::put_result`] for the result of a command |
//! | add what a file holds | [`Keyspace::load`] |
//! | move its entry elsewhere | [`Keyspace::take`] |
//! | delete it | [`Keyspace::remove`] |
//!
//! A lookup returns a [`Position`], valid until the next insertion or removal; [`Db::get`] and [`Keyspace::modify`]
//! turn it into the entry. Costs: one bucket and one entry, which is two cache misses, or none if the batch prefetched
//! them.
//!
//! Code that opens a value for writing ([`Keyspace::modify`], [`Keyspace::reshape`], [`Keyspace::modify_hash`]) must
//! then declare the outcome with [`Keyspace::changed`] or [`Keyspace::unchanged`]. Debug builds check that every
//! command does ([`Keyspace::assert_declared`]).

mod aside;
mod defrag;
pub mod digest;
mod event;
mod eviction;
mod expiry;
mod fields;
mod huge_pages;
mod journal;
mod lazyfree;
mod own_expiries;
#[cfg(all(test, target_os = "linux"))]
mod shared_memory;
mod slots;
mod stream;

pub use aside::Aside;
pub use defrag::DefragEnd;
pub use event::{Class, Event, Removal};
pub use eviction::{EvictionPolicy, Order};
pub use expiry::{CycleBudget, CycleEnd, ExpiryList, ExpiryPolicy};
use huge_pages::Joiner;
pub use journal::{Awaiting, Change, Journal, Key, Listening, Propagation};
pub use lazyfree::{Garbage, LazyFree, Ticket};
pub use own_expiries::OwnExpiries;
pub use stream::{Cursor, ForLog, Framing, Stream, Target, Word};

pub use crate::dict::{KeyHasher, Position, Ref};

use crate::dict::{DictStats, Seed, SlottedDict};
use crate::sys::memory;
use crate::sys::poller::Waker;
use crate::types::Shapes;
use crate::types::access::{AccessClock, Lfu};
use crate::types::container::Debris;
use crate::types::entry::Entry;
use crate::types::random::Random;

/// How a lookup treats the access clock and the statistics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A read: counts a hit or a miss and updates the access clock.
    Read,
    /// As [`Access::Read`], but updates the access clock even in a session whose reads do not (`TOUCH` after `CLIENT
    /// NO-TOUCH ON`).
    Touch,
    /// A read of metadata (`TTL`, `EXISTS`): counts, but does not update the access clock.
    Look,
    /// As [`Access::Look`], but a miss is not an event (`OBJECT`).
    Observe,
    /// For callers that use only the key (`DEL`, `DEBUG`): neither counts nor updates the clock.
    Inspect,
    /// A lookup by a command that writes: updates the access clock, counts nothing.
    Write,
    /// As [`Access::Write`], but does not update the access clock.
    QuietWrite,
}

impl Access {
    /// The same access for a session whose commands do not update the access clock.
    #[must_use]
    pub fn without_touch(self) -> Access {
        match self {
            Access::Read => Access::Look,
            Access::Write => Access::QuietWrite,
            other => other,
        }
    }

    fn counts(self) -> bool {
        matches!(self, Access::Read | Access::Touch | Access::Look | Access::Observe)
    }

    fn touches(self) -> bool {
        matches!(self, Access::Read | Access::Touch | Access::Write)
    }

    fn notes_misses(self) -> bool {
        matches!(self, Access::Read | Access::Touch | Access::Look)
    }

    fn writes(self) -> bool {
        matches!(self, Access::Write | Access::QuietWrite)
    }
}

/// The meaning of an entry's access field, by `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessPolicy {
    /// Seconds of the last access, 24 bits.
    Lru,
    /// A logarithmic counter with its decay time in minutes.
    Lfu(Lfu),
}

/// The moment at which the current commands execute: read once per event loop iteration, so that all commands of a
/// batch agree on what has expired.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix time in milliseconds.
    pub unix_ms: i64,
    /// The same moment in the units of access fields.
    pub clock: AccessClock,
    /// The access field of a key that is accessed now, under an LRU policy.
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
    /// Keys that were deleted because they had expired.
    pub expired: u64,
    /// Fields of hashes that were deleted because they had expired.
    pub expired_fields: u64,
    /// Keys that were deleted because memory was short.
    pub evicted: u64,
    /// Active-expiry cycles that ran out of time.
    pub expire_cycles_cut_short: u64,
    /// Microseconds spent in active expiry.
    pub expire_cycle_us: u64,
    /// A running estimate of the share of keys that have expired but are not deleted yet, in percent.
    pub expired_stale_percent: f64,
    /// Blocks that defragmentation has moved, and those that it left in place.
    pub moved_blocks: u64,
    /// See [`Counters::moved_blocks`].
    pub blocks_left_in_place: u64,
    /// Keys of which defragmentation has moved a block, and those of which it has moved none.
    pub defragmented_keys: u64,
    /// See [`Counters::defragmented_keys`].
    pub keys_left_in_place: u64,
    /// Changes since the last save.
    pub dirty: u64,
}

/// One numbered database.
pub struct Db {
    dict: SlottedDict<Entry>,
    expires: ExpiryList,
    field_deadlines: fields::FieldDeadlines,
}

impl Db {
    fn new(hasher: &KeyHasher) -> Self {
        Db {
            dict: SlottedDict::new(hasher),
            expires: ExpiryList::default(),
            field_deadlines: fields::FieldDeadlines::default(),
        }
    }

    /// Number of keys, including those that have expired but are not deleted yet.
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// The keys that expire.
    pub fn expires(&self) -> &ExpiryList {
        &self.expires
    }

    /// All entries in no particular order, also of keys that have expired but are not deleted yet.
    pub fn entries(&self) -> impl Iterator<Item = Ref<'_, Entry>> {
        self.dict.iter()
    }

    /// The position of `key`, whose hash is `hash`, even if the key has expired. Counts nothing and deletes nothing,
    /// unlike [`Keyspace::find`].
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.dict.find(hash, key)
    }

    /// The bytes that the table of keys takes, without the entries.
    pub fn table_bytes(&self) -> usize {
        self.dict.memory_bytes()
    }

    /// The bytes by which the table grows for the next key, if it has to; see [`SlottedDict::growth_bytes`].
    #[inline]
    pub fn growth_bytes(&self) -> usize {
        self.dict.growth_bytes()
    }

    /// Statistics of the table of keys. O(keys).
    pub fn table_stats(&self) -> DictStats {
        self.dict.stats()
    }

    /// The entry at `at`.
    #[inline]
    pub fn get(&self, at: Position) -> Ref<'_, Entry> {
        self.dict.get(at)
    }

    /// Makes room for `keys` keys in all, so that loading them does not grow the table step by step.
    pub fn reserve(&mut self, keys: usize) {
        self.dict.reserve(keys);
    }

    /// Prefetches the bucket of `hash`, the first of the two cache misses of a lookup; in cluster mode the dict of its
    /// slot, see [`Db::prefetch_buckets_in_slots`].
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.dict.prefetch_bucket(hash);
    }

    /// Prefetches the likely entry of `hash`, the second miss. Reads the bucket, which should have arrived.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.dict.prefetch_entry(hash);
    }

    /// The bytes that `key` takes: its entry with the value, its slot in the table, its place in the list of keys that
    /// expire. A key that has expired counts until it is deleted.
    pub fn memory_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let entry = self.get(self.find(hash, key)?);
        let expiry = if entry.expire_at().is_some() { size_of::<u64>() } else { 0 };
        Some(entry.memory_bytes() + size_of::<u64>() + expiry)
    }

    /// Visits one probe chain of the table, see [`SlottedDict::scan`].
    pub fn scan(&self, cursor: u64, visit: &mut impl FnMut(&Entry)) -> u64 {
        self.dict.scan(cursor, visit)
    }

    /// Adds an entry whose key is not in the table. The caller has searched the table itself: a lookup does not find
    /// hidden keys.
    #[inline]
    fn add(&mut self, hash: u64, entry: Entry) -> Position {
        if entry.expire_at().is_some() {
            entry.set_expire_index(self.expires.push(hash));
        }
        self.field_deadlines.comes(hash, &entry);
        self.dict.insert(hash, entry)
    }

    fn detach_expiry(&mut self, at: Position) {
        self.expires.forget(&self.dict, &self.dict.get(at));
    }
}

/// All databases and their shared state.
pub struct Keyspace {
    dbs: Vec<Db>,
    hasher: KeyHasher,
    /// When the current commands execute.
    pub moment: Moment,
    /// The meaning of access fields.
    pub access_policy: AccessPolicy,
    /// Whether a forked child shares the memory; then lookups do not write access fields.
    shared: bool,
    /// How keys and fields that have expired are treated.
    pub expiry: ExpiryPolicy,
    /// Whether tables that have become sparse are shrunk (`DEBUG DICT-RESIZING`). They grow in any case, since a full
    /// open-addressing table cannot take another key.
    pub shrinks_tables: bool,
    /// Whether the checksums of snapshots and payloads are checked (`DEBUG SET-SKIP-CHECKSUM-VALIDATION`).
    pub verifies_checksums: bool,
    /// `lazyfree-lazy-user-del`: `DEL` frees every value that has a block of its own in the background. Large values
    /// are freed there whatever this says.
    pub lazy_user_del: bool,
    /// `lazyfree-lazy-server-del`: the same for values that a write replaces.
    pub lazy_server_del: bool,
    /// `lazyfree-lazy-expire`: the same for keys that expire.
    pub lazy_expire: bool,
    /// `lazyfree-lazy-eviction`: the same for keys that are evicted.
    pub lazy_eviction: bool,
    /// The limits at which collections change their encodings.
    pub shapes: Shapes,
    /// Statistics.
    pub counters: Counters,
    /// The changes of the current unit, for the listeners.
    pub journal: Journal,
    /// Keys that clients of a writable replica gave a time to live.
    pub own_expiries: OwnExpiries,
    /// Where a value was opened for writing, until the outcome is declared.
    #[cfg(debug_assertions)]
    undeclared: Option<&'static std::panic::Location<'static>>,
    defrag: Option<Box<defrag::Cycle>>,
    lazy: LazyFree,
    joiner: Joiner,
    /// For sampling and the Morris counter, not for secrets.
    pub random: Random,
    /// The database at which the next expiry cycle starts.
    expire_next_db: usize,
    evictor: eviction::Evictor,
}

impl Keyspace {
    /// `count` empty databases, hashed under `seed`.
    pub fn new(count: usize, seed: Seed) -> Self {
        Self::with_hasher(count, KeyHasher::new(seed, false))
    }

    /// `count` empty databases whose keys `hasher` hashes, each with one dict, or one for each hash slot.
    pub fn with_hasher(count: usize, hasher: KeyHasher) -> Self {
        let seed = *hasher.seed();
        Keyspace {
            dbs: (0..count).map(|_| Db::new(&hasher)).collect(),
            hasher,
            moment: Moment::at(0),
            access_policy: AccessPolicy::Lru,
            shared: false,
            expiry: ExpiryPolicy::Delete,
            shrinks_tables: true,
            verifies_checksums: true,
            lazy_user_del: false,
            lazy_server_del: false,
            lazy_expire: false,
            lazy_eviction: false,
            shapes: Shapes::new(seed),
            counters: Counters::default(),
            journal: Journal::default(),
            own_expiries: OwnExpiries::default(),
            #[cfg(debug_assertions)]
            undeclared: None,
            defrag: None,
            lazy: LazyFree::default(),
            joiner: Joiner::default(),
            random: Random::new(seed.hash(b"random")),
            expire_next_db: 0,
            evictor: eviction::Evictor::default(),
        }
    }

    /// Number of databases.
    pub fn count(&self) -> usize {
        self.dbs.len()
    }

    /// The database with number `index`.
    #[inline]
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    /// The database with number `index`, for modification.
    #[inline]
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// The function that hashes keys.
    #[inline]
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// The hash of `key`, the same in every database.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// The background thread's queue.
    pub fn lazy(&self) -> &LazyFree {
        &self.lazy
    }

    /// The background thread's queue, for sending.
    pub fn lazy_mut(&mut self) -> &mut LazyFree {
        &mut self.lazy
    }

    /// Called in a forked child, where the background thread does not exist: the next piece of garbage starts a new
    /// one. The parent's queue is left as it is, since the parent's thread may have held its lock.
    pub fn leave_background_thread(&mut self) {
        std::mem::forget(std::mem::take(&mut self.lazy));
    }

    /// Sets the waker that ends the loop's wait for events when an awaited ticket is done.
    pub fn wake_by(&mut self, waker: Waker) {
        self.lazy.waker = Some(waker);
    }

    /// Sets the processors that the background thread is pinned to when it starts; empty for all.
    pub fn keep_lazy_to(&mut self, processors: Vec<usize>) {
        self.lazy.processors = processors;
    }

    /// `name` as a key of database `db`.
    #[inline]
    pub fn key<'a>(&self, db: usize, name: &'a [u8]) -> Key<'a> {
        Key { db, hash: self.hasher.hash(name), name }
    }

    /// Finds a key. An expired key is treated as [`Keyspace::expiry`] says, by default deleted and not found.
    #[inline(always)]
    pub fn find(&mut self, key: Key<'_>, access: Access) -> Option<Position> {
        let found = self.lookup(key.db, key.hash, key.name, access);
        if found.is_none() && access.notes_misses() {
            self.journal.note(key, Event::KeyMiss);
        }
        found
    }

    /// [`Keyspace::find`] without the `keymiss` event. Takes the parts of a key because those are passed in registers.
    #[inline]
    fn lookup(&mut self, db: usize, hash: u64, name: &[u8], access: Access) -> Option<Position> {
        let dict = &self.dbs[db].dict;
        let Some(at) = dict.find(hash, name) else {
            self.counters.misses += u64::from(access.counts());
            return None;
        };
        let entry = dict.get(at);
        if let Some(expire_at) = entry.expire_at()
            && self.is_past(expire_at)
        {
            self.expire_on_access(db, hash, at, access);
            self.counters.misses += u64::from(access.counts());
            return None;
        }
        self.counters.hits += u64::from(access.counts());
        // Nothing is written while a child shares the memory.
        if access.touches() && !self.shared {
            // Under an LRU policy the cache line is only written when the clock has advanced since the last access.
            match self.access_policy {
                AccessPolicy::Lru => {
                    let lru = self.moment.lru;
                    if entry.access() != lru {
                        entry.set_access(lru);
                    }
                }
                AccessPolicy::Lfu(lfu) => {
                    let random = self.random.next() as u32;
                    entry.set_access(lfu.touch(entry.access(), self.moment.clock, random));
                }
            }
        }
        Some(at)
    }

    /// Finds a key for a command that deletes it. One that has expired is deleted and not found, so it is not counted;
    /// but a writable replica counts it, as Redis does.
    pub fn find_to_delete(&mut self, key: Key<'_>) -> Option<Position> {
        if self.expiry == ExpiryPolicy::HideFromReads {
            return self.db(key.db).find(key.hash, key.name);
        }
        self.find(key, Access::Inspect)
    }

    /// Returns the entry of a key that exists and has not expired. Changes nothing.
    pub fn peek(&self, key: Key<'_>) -> Option<Ref<'_, Entry>> {
        let db = self.db(key.db);
        let entry = db.get(db.find(key.hash, key.name)?);
        (!entry.expire_at().is_some_and(|time| self.is_past(time))).then_some(entry)
    }

    /// Whether a key or field that expires at `expire_at` can no longer be found.
    #[inline]
    pub fn is_past(&self, expire_at: i64) -> bool {
        expire_at < self.moment.unix_ms && self.expiry != ExpiryPolicy::Ignore
    }

    /// Whether a key or field that is given the expiry `expire_at` is deleted at once instead, because that time is
    /// past and this server decides about expiry. A replica does not.
    #[inline]
    pub fn is_due(&self, expire_at: i64) -> bool {
        let decides = !matches!(self.expiry, ExpiryPolicy::Ignore | ExpiryPolicy::HideFromReads);
        expire_at <= self.moment.unix_ms && decides
    }

    /// Sets whether a forked child shares the memory of the data set. While one does, the kernel copies every page that
    /// is written, so reads write nothing: no access clock or counter is updated, and no table, of keys or inside a
    /// value, is rehashed unless it is full. When the child is gone, huge pages that were split are joined again.
    pub fn share_memory(&mut self, shared: bool) {
        self.shared = shared;
        memory::set_shared(shared);
        if shared {
            self.joiner.stop();
        } else {
            let tables = self.dbs.iter().flat_map(|db| db.dict.mappings()).collect();
            self.joiner.start(tables, self.lazy.processors.clone());
        }
    }

    /// The access field of an entry that is created at this moment.
    pub fn fresh_access(&self) -> u32 {
        match self.access_policy {
            AccessPolicy::Lru => self.moment.lru,
            AccessPolicy::Lfu(lfu) => lfu.fresh(self.moment.clock),
        }
    }

    /// The access field of an entry that was used `idle_seconds` ago, with the LFU counter `frequency`. Ignores the
    /// value that the current policy does not use.
    pub fn access_of(&self, idle_seconds: Option<u64>, frequency: Option<u8>) -> u32 {
        let clock = self.moment.clock;
        match (self.access_policy, idle_seconds, frequency) {
            (AccessPolicy::Lru, Some(seconds), _) => clock.lru_idle_for(seconds),
            (AccessPolicy::Lfu(lfu), _, Some(counter)) => lfu.with_counter(clock, counter),
            _ => self.fresh_access(),
        }
    }

    /// Adds an entry loaded from a file, with its access field, to database `db`; `hash` is that of its key. Declares
    /// no change: loading is not one. If the key exists, replaces its entry if `replace`, and otherwise returns the new
    /// one.
    pub fn load(&mut self, db: usize, hash: u64, entry: Entry, replace: bool) -> Result<(), Entry> {
        debug_assert_eq!(self.hash(entry.key()), hash);
        if let Some(at) = self.dbs[db].dict.find(hash, entry.key()) {
            if !replace {
                return Err(entry);
            }
            self.replace_with_access(Key { db, hash, name: &[] }, at, entry);
            return Ok(());
        }
        self.dbs[db].add(hash, entry);
        Ok(())
    }

    /// Adds an entry, as accessed now, under `key`, which no lookup finds. A hidden expired key of the same name is
    /// deleted first, so that the table never has two entries for it.
    #[inline]
    pub fn insert(&mut self, key: Key<'_>, entry: Entry) -> Position {
        entry.set_access(self.fresh_access());
        self.insert_with_access(key, entry)
    }

    /// [`Keyspace::insert`] for an entry that keeps its access field.
    #[inline]
    fn insert_with_access(&mut self, key: Key<'_>, entry: Entry) -> Position {
        debug_assert_eq!(entry.key(), key.name);
        debug_assert_eq!(self.hash(key.name), key.hash);
        // If no keys are hidden, the caller's lookup is enough.
        if self.expiry.hides()
            && let Some(at) = self.dbs[key.db].dict.find(key.hash, key.name)
        {
            self.make_way(key, at);
        }
        self.journal.note(key, Event::New);
        if self.own_expiries.are_noted {
            self.own_expiries.note(key, entry.expire_at());
        }
        self.dbs[key.db].add(key.hash, entry)
    }

    /// Deletes the hidden entry of `key`, at `at`, before another is inserted under the same key. The deletion is
    /// propagated before the command that inserts, since the AOF and replicas do not hide keys.
    #[cold]
    #[inline(never)]
    fn make_way(&mut self, key: Key<'_>, at: Position) {
        let expire_at = self.dbs[key.db].dict.get(at).expire_at();
        debug_assert!(expire_at.is_some_and(|time| self.is_past(time)), "inserted a key that a lookup finds");
        self.counters.expired += 1;
        self.remove(key, at, Removal::Expired);
    }

    /// Sets the entry of `key`, as if the key were deleted and then inserted. The entry keeps its access field. The
    /// caller declares the change.
    pub fn put(&mut self, key: Key<'_>, entry: Entry) {
        let found = self.dbs[key.db].dict.find(key.hash, key.name);
        match found {
            Some(at) => {
                self.journal.note(key, Event::New);
                self.replace_with_access(key, at, entry);
            }
            None => {
                self.insert_with_access(key, entry);
            }
        }
    }

    /// Moves the entry of `key`, which is at `at`, out of the database. The caller declares the change.
    pub fn take(&mut self, key: Key<'_>, at: Position) -> Entry {
        let db = &mut self.dbs[key.db];
        db.detach_expiry(at);
        let entry = db.dict.remove(at);
        db.field_deadlines.leaves(|| key.hash, &entry);
        entry
    }

    /// Deletes the entry of `key`, which is at `at`. The reason determines the event, how many changes it counts as,
    /// whether the deletion is propagated, and whether a small value too is freed in the background.
    pub fn remove(&mut self, key: Key<'_>, at: Position, reason: Removal) {
        let entry = self.take(key, at);
        self.removed(Key { name: entry.key(), ..key }, reason);
        if reason == Removal::Evicted
            && (!self.lazy_eviction || entry.block().is_some())
            && entry.is_freed_quickly()
        {
            // Freed here, since its memory is needed now, and sending a single block to a thread takes as long as
            // freeing it.
            return;
        }
        self.free(entry, self.frees_lazily(reason));
    }

    fn removed(&mut self, key: Key<'_>, reason: Removal) {
        if reason.is_own() {
            self.propagate_removal(key, reason);
        }
        self.changed(key, reason.event(), reason.count());
    }

    /// Propagates the deletion of `key` as a command of its own.
    #[inline]
    pub fn propagate_removal(&mut self, key: Key<'_>, reason: Removal) {
        if self.journal.wants_calls() {
            let verb: &[u8] = self.removal_verb(reason);
            self.journal.push_call(key.db, [Word::Bytes(verb), Word::Bytes(key.name)]);
        }
    }

    /// The command that a removal for `reason` is propagated as.
    pub fn removal_verb(&self, reason: Removal) -> &'static [u8] {
        if self.frees_lazily(reason) { b"UNLINK" } else { b"DEL" }
    }

    fn frees_lazily(&self, reason: Removal) -> bool {
        match reason {
            Removal::Del => self.lazy_user_del,
            Removal::Unlink | Removal::Moved => true,
            Removal::Emptied | Removal::Overwritten => self.lazy_server_del,
            Removal::PastExpiry | Removal::Expired => self.lazy_expire,
            Removal::Evicted => self.lazy_eviction,
        }
    }

    /// Sets the entry of `key` to the result of a command such as `SINTERSTORE`, and declares `event`; without a
    /// result, deletes the key. An existing key keeps its access field.
    pub fn put_result(&mut self, key: Key<'_>, result: Option<Entry>, event: Event) {
        let Some(entry) = result else {
            // An expired key is removed for this reason too, not as expired.
            if let Some(at) = self.dbs[key.db].dict.find(key.hash, key.name) {
                self.remove(key, at, Removal::Overwritten);
            }
            return;
        };
        match self.find(key, Access::Inspect) {
            Some(at) => self.replace(key, at, entry),
            None => {
                self.insert(key, entry);
            }
        }
        self.changed(key, event, 1);
    }

    /// Changes the entry's value or access field. Not for expiry ([`Keyspace::set_expiry`]) or hashes
    /// ([`Keyspace::modify_hash`]).
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn modify<R>(&mut self, db: usize, at: Position, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.opened();
        change(&mut self.dbs[db].dict.get_mut(at))
    }

    /// Declares that `count` changes were made to `key`, with the event that subscribers receive. Call it after the
    /// change.
    #[inline]
    pub fn changed(&mut self, key: Key<'_>, event: Event, count: u64) {
        self.counters.dirty += count;
        self.unchanged();
        self.journal.note(key, event);
    }

    /// Declares that a value was opened for writing but was not changed.
    #[inline]
    pub fn unchanged(&mut self) {
        #[cfg(debug_assertions)]
        {
            self.undeclared = None;
        }
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn opened(&mut self) {
        #[cfg(debug_assertions)]
        {
            self.undeclared = Some(std::panic::Location::caller());
        }
    }

    /// In debug builds, panics if a value was opened for writing and the outcome was not declared.
    #[inline]
    pub fn assert_declared(&mut self) {
        #[cfg(debug_assertions)]
        if let Some(place) = self.undeclared.take() {
            panic!("{place}: opened a value for writing and declared neither `changed` nor `unchanged`");
        }
    }

    /// The entry at `at`, and a source of random numbers.
    pub fn sample(&mut self, db: usize, at: Position) -> (Ref<'_, Entry>, &mut Random) {
        (self.dbs[db].dict.get(at), &mut self.random)
    }

    /// [`Keyspace::modify`] for changes that may need the limits of encodings or random numbers.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn reshape<R>(
        &mut self,
        db: usize,
        at: Position,
        change: impl FnOnce(&mut Entry, &Shapes, &mut Random) -> R,
    ) -> R {
        self.opened();
        change(&mut self.dbs[db].dict.get_mut(at), &self.shapes, &mut self.random)
    }

    /// Drops `entry`, in the background if it is large. With `lazily` the background thread also frees smaller ones.
    pub fn free(&mut self, entry: Entry, lazily: bool) {
        let leaves = if lazily { entry.is_freed_lazily() } else { entry.is_large() };
        if leaves {
            self.lazy.send(Garbage::Entry(entry));
        }
    }

    /// Deletes the key at `at`, which has expired, unless this access only hides such keys.
    fn expire_on_access(&mut self, db: usize, hash: u64, at: Position, access: Access) {
        if self.expiry.deletes(access) {
            self.counters.expired += 1;
            self.remove(Key { db, hash, name: &[] }, at, Removal::Expired);
        }
    }

    /// Replaces the entry of `key`, which is at `at`, together with its expiry. The access field is kept: it belongs to
    /// the key, not to the value. The caller declares the change.
    pub fn replace(&mut self, key: Key<'_>, at: Position, entry: Entry) {
        entry.set_access(self.dbs[key.db].dict.get(at).access());
        self.replace_with_access(key, at, entry);
    }

    /// [`Keyspace::replace`] with an entry that keeps its own access field.
    fn replace_with_access(&mut self, key: Key<'_>, at: Position, entry: Entry) {
        if self.own_expiries.are_noted {
            self.own_expiries.note(key, entry.expire_at());
        }
        let target = &mut self.dbs[key.db];
        target.detach_expiry(at);
        if entry.expire_at().is_some() {
            entry.set_expire_index(target.expires.push(key.hash));
        }
        target.field_deadlines.leaves(|| key.hash, &target.dict.get(at));
        target.field_deadlines.comes(key.hash, &entry);
        let old = target.dict.replace(at, entry);
        self.free(old, self.lazy_server_del);
    }

    /// Sets the time at which the key expires, in Unix milliseconds; `None` removes its expiry.
    pub fn set_expiry(&mut self, key: Key<'_>, at: Position, expire_at: Option<i64>) {
        if self.own_expiries.are_noted {
            self.own_expiries.note(key, expire_at);
        }
        let db = &mut self.dbs[key.db];
        let had = db.dict.get(at).expire_at().is_some();
        match (had, expire_at) {
            (false, None) => {}
            (true, Some(_)) => db.dict.get_mut(at).set_expire(expire_at),
            (true, None) => {
                db.detach_expiry(at);
                db.dict.get_mut(at).set_expire(None);
            }
            (false, Some(_)) => {
                let index = db.expires.push(key.hash);
                let mut entry = db.dict.get_mut(at);
                entry.set_expire(expire_at);
                entry.set_expire_index(index);
            }
        }
    }

    /// A uniformly random key of database `db` that has not expired; `None` if the database is empty. While expired
    /// keys are not deleted, gives up after 100 tries and returns the last key, expired or not, as Redis does.
    pub fn random_key(&mut self, db: usize) -> Option<Vec<u8>> {
        const TRIES: usize = 100;
        let mut hidden = 0;
        loop {
            let at = self.dbs[db].dict.random(&mut || self.random.next())?;
            let entry = self.dbs[db].dict.get(at);
            let is_past = entry.expire_at().is_some_and(|time| self.is_past(time));
            hidden += usize::from(self.expiry != ExpiryPolicy::Delete);
            if !is_past || hidden >= TRIES {
                return Some(entry.key().to_vec());
            }
            let hash = self.hash(entry.key());
            self.expire_on_access(db, hash, at, Access::Inspect);
        }
    }

    /// Empties database `db`, counts a change for each of its keys, and returns their number. With `lazily` the
    /// background thread frees them.
    pub fn flush(&mut self, db: usize, lazily: bool) -> usize {
        let removed = self.dbs[db].len();
        let old = std::mem::replace(&mut self.dbs[db], Db::new(&self.hasher));
        if lazily && removed > 0 {
            self.lazy.send(Garbage::Table(Box::new(old)));
        }
        self.counters.dirty += removed as u64;
        self.journal.note_flush(db, removed);
        removed
    }

    /// Whether freeing database `db` takes less time than waking a thread: a small table of few keys, none of them
    /// large.
    pub fn is_soon_freed(&self, db: usize) -> bool {
        const KEYS: usize = 64;
        const TABLE_BYTES: usize = 16 * 1024;
        let dict = &self.dbs[db].dict;
        dict.len() <= KEYS && dict.memory_bytes() <= TABLE_BYTES && !dict.iter().any(|entry| entry.is_large())
    }

    /// Sends the parts that a change removed from a value to the background thread.
    pub fn discard(&mut self, debris: Debris) {
        if let Some(part) = debris {
            self.lazy.send(Garbage::Part(part));
        }
    }

    /// Sends something large that is not part of the keyspace to the background thread.
    pub fn send_garbage(&mut self, garbage: Garbage) {
        self.lazy.send(garbage);
    }

    /// Swaps the contents of two databases.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.dbs.swap(first, second);
        self.counters.dirty += 1;
        if first != second {
            self.journal.note_swap(first, second);
        }
    }

    /// Counts changes in addition to those that [`Keyspace::changed`] counts.
    pub fn count_changes(&mut self, count: u64) {
        self.counters.dirty += count;
    }

    /// Performs the housekeeping of one cron tick: rehashes for up to `budget_us` microseconds by the clock `now_us`,
    /// shrinks sparse tables, and sends retired bucket arrays to the background thread.
    pub fn housekeep(&mut self, rehash: bool, budget_us: u64, now_us: impl Fn() -> u64) {
        let start = now_us();
        for db in &mut self.dbs {
            if self.shrinks_tables {
                db.dict.shrink_if_sparse();
            }
            while rehash && db.dict.is_rehashing() && now_us() - start < budget_us && db.dict.rehash(100) {}
            while let Some(retired) = db.dict.take_retired() {
                self.lazy.send(Garbage::Retired(retired));
            }
        }
    }
}
