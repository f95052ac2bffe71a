//! Keys that expire: the list of them, and the cycle that deletes those that no lookup touches.
//!
//! The list is a dense, chunked array with the 64-bit hash of every key that has an expiry; the entry stores its index.
//! So a key with an expiry costs 8 bytes here and 12 in its entry, instead of 17 in a second table. Adding is a push;
//! removing moves the last hash into the gap and updates the index in that hash's entry; the cycle walks the list in
//! order. The list holds hashes rather than pointers because entries move in memory.
//!
//! The cycle is Redis': it samples a few keys, and continues while more than an acceptable share of them had expired,
//! within a time budget that is a share of the processor (`active-expire-effort`). Expired fields of hashes go first.

use super::{Access, Db, Keyspace};
use crate::dict::SlottedDict;
use crate::types::entry::Entry;

/// How keys and fields of hashes are treated once they have expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExpiryPolicy {
    /// Lookups and the expiry cycle delete them.
    #[default]
    Delete,
    /// They are hidden from lookups but not deleted, so that reads do not change the data set (`CLIENT PAUSE`). The
    /// writes of the `EXEC` that paused are called under [`ExpiryPolicy::Delete`].
    Hide,
    /// Reads do not find them, but the lookups of commands that write delete them (a writable replica).
    HideFromReads,
    /// They are still found: something else decides when they are deleted.
    Ignore,
}

impl ExpiryPolicy {
    /// Whether there may be expired keys that lookups do not find.
    #[inline]
    pub(super) fn hides(self) -> bool {
        matches!(self, ExpiryPolicy::Hide | ExpiryPolicy::HideFromReads)
    }

    /// Whether this access deletes expired keys.
    #[inline]
    pub(super) fn deletes(self, access: Access) -> bool {
        self == ExpiryPolicy::Delete || self == ExpiryPolicy::HideFromReads && access.writes()
    }
}

const CHUNK: usize = 4096;

/// A chunked vector of hashes: grows without copying what it holds.
#[derive(Default)]
pub struct ExpiryList {
    chunks: Vec<Box<[u64]>>,
    len: usize,
    /// Where the next cycle starts.
    cursor: usize,
    /// Running mean of the time to live, milliseconds (`avg_ttl`).
    average_ttl_ms: i64,
}

impl ExpiryList {
    /// Number of keys that expire.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key expires.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Mean time to live, in milliseconds, of the keys that the cycle has sampled.
    pub fn average_ttl_ms(&self) -> i64 {
        self.average_ttl_ms
    }

    /// Bytes that the list owns.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<u64>()
    }

    /// Adds a hash and returns its index.
    pub(super) fn push(&mut self, hash: u64) -> u32 {
        let index = self.len;
        if index == self.chunks.len() * CHUNK {
            self.chunks.push(vec![0; CHUNK].into_boxed_slice());
        }
        self.chunks[index / CHUNK][index % CHUNK] = hash;
        self.len += 1;
        u32::try_from(index).expect("at most 2^32 keys expire")
    }

    /// Removes the hash at `index`. If the last hash was moved there, returns it: the caller must update the index in
    /// its entry, which was the new `len()`.
    fn remove(&mut self, index: u32) -> Option<u64> {
        let index = index as usize;
        debug_assert!(index < self.len);
        self.len -= 1;
        let last = self.hash(self.len);
        // One spare chunk stays, so that adding and removing a key at the boundary does not allocate each time.
        if self.len + 2 * CHUNK <= self.chunks.len() * CHUNK {
            self.chunks.pop();
        }
        if index == self.len {
            return None;
        }
        self.chunks[index / CHUNK][index % CHUNK] = last;
        Some(last)
    }

    /// Removes an entry of `dict` from the list, if it expires.
    pub(super) fn forget(&mut self, dict: &SlottedDict<Entry>, entry: &Entry) {
        if entry.expire_at().is_none() {
            return;
        }
        let index = entry.expire_index();
        if let Some(moved) = self.remove(index) {
            let last = self.len() as u32;
            let at = dict.find_by(moved, |e| e.expire_at().is_some() && e.expire_index() == last);
            let at = at.expect("every hash in the expiry list belongs to an entry of the table");
            dict.get(at).set_expire_index(index);
        }
    }

    /// The hash at `index`.
    pub(super) fn hash(&self, index: usize) -> u64 {
        self.chunks[index / CHUNK][index % CHUNK]
    }

    fn record_ttl(&mut self, mean_ms: i64) {
        self.average_ttl_ms =
            if self.average_ttl_ms == 0 { mean_ms } else { self.average_ttl_ms / 50 * 49 + mean_ms / 50 };
    }
}

/// How much one run of the cycle may do.
#[derive(Clone, Copy, Debug)]
pub struct CycleBudget {
    /// Microseconds.
    pub time_us: u64,
    /// Keys that a round samples.
    pub keys_per_round: usize,
    /// The cycle leaves a database when a smaller share of its sampled keys has expired, in percent.
    pub acceptable_stale_percent: u64,
}

impl CycleBudget {
    /// The budget of one run of cron, which runs `hz` times a second, for `active-expire-effort` 1 to 10.
    pub fn new(effort: u32, hz: u32) -> Self {
        let effort = u64::from(effort.clamp(1, 10)) - 1;
        CycleBudget {
            time_us: (25 + 2 * effort) * 1_000_000 / u64::from(hz.max(1)) / 100,
            keys_per_round: (20 + 20 / 4 * effort) as usize,
            acceptable_stale_percent: 10 - effort,
        }
    }
}

/// How a run of the cycle ended.
#[derive(Clone, Copy, Debug)]
pub struct CycleEnd {
    /// Time ran out, and there may be more to delete.
    pub cut_short: bool,
    /// Microseconds that it took.
    pub elapsed_us: u64,
}

/// The result of a round.
#[derive(Default)]
struct Round {
    looked: u64,
    expired: u64,
    ttl_sum_ms: i64,
    ttl_count: i64,
}

impl Keyspace {
    /// Deletes expired keys until few are left or the budget is spent; the next run continues where this one stops.
    /// `now_us` reads a monotonic clock. If keys are hidden, deletes only those of [`super::OwnExpiries`].
    pub fn active_expire_cycle(&mut self, budget: CycleBudget, now_us: impl Fn() -> u64) -> CycleEnd {
        if self.expiry.hides() && !self.own_expiries.is_empty() {
            return self.expire_own(budget, &now_us);
        }
        if self.expiry != ExpiryPolicy::Delete {
            return CycleEnd { cut_short: false, elapsed_us: 0 };
        }
        let start = now_us();
        let mut looked = 0;
        let mut expired = 0;
        let mut cut_short = false;
        for _ in 0..self.count() {
            let db = self.expire_next_db;
            cut_short = self.expire_due_fields(db, &|| now_us() - start > budget.time_us);
            while !self.db(db).expires.is_empty() && !cut_short {
                let round = self.expire_round(db, budget.keys_per_round);
                looked += round.looked;
                expired += round.expired;
                cut_short = now_us() - start > budget.time_us;
                if round.expired * 100 <= round.looked * budget.acceptable_stale_percent {
                    break;
                }
            }
            if cut_short {
                break;
            }
            self.expire_next_db = (db + 1) % self.count();
        }
        let stale = if looked == 0 { 0.0 } else { expired as f64 / looked as f64 * 100.0 };
        let counters = &mut self.counters;
        counters.expired_stale_percent = stale * 0.05 + counters.expired_stale_percent * 0.95;
        let elapsed_us = now_us() - start;
        counters.expire_cycle_us += elapsed_us;
        CycleEnd { cut_short, elapsed_us }
    }

    fn expire_round(&mut self, db: usize, keys: usize) -> Round {
        let mut round = Round::default();
        let now = self.moment.unix_ms;
        for _ in 0..keys.min(self.db(db).expires.len()) {
            let Db { dict, expires, .. } = self.db_mut(db);
            if expires.cursor >= expires.len {
                expires.cursor = 0;
            }
            let index = expires.cursor as u32;
            let hash = expires.hash(expires.cursor);
            let at = dict
                .find_by(hash, |e| e.expire_at().is_some() && e.expire_index() == index)
                .expect("every hash in the expiry list belongs to an entry of the table");
            let expire_at = dict.get(at).expire_at().unwrap_or(i64::MAX);
            round.looked += 1;
            if expire_at < now {
                // The last hash moves into the gap, so the cursor stays and samples it next.
                round.expired += 1;
                self.expire_on_access(db, hash, at, Access::Inspect);
            } else {
                expires.cursor += 1;
                round.ttl_sum_ms = round.ttl_sum_ms.saturating_add(expire_at - now);
                round.ttl_count += 1;
            }
        }
        if round.ttl_count > 0 {
            self.db_mut(db).expires.record_ttl(round.ttl_sum_ms / round.ttl_count);
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Listening, Moment};
    use crate::dict::Seed;
    use crate::types::Entry;

    /// The insert deletes the hidden entry and its expiry.
    #[test]
    fn inserting_a_hidden_key_leaves_one_entry() {
        let mut keyspace = Keyspace::new(1, Seed::plain());
        keyspace.journal.listen(Listening { calls: true, ..Listening::default() });
        keyspace.moment = Moment::at(1000);
        for n in 0..100u32 {
            let name = n.to_string();
            let key = keyspace.key(0, name.as_bytes());
            keyspace.insert(key, Entry::string(key.name, b"old", Some(2000)));
        }
        keyspace.moment = Moment::at(3000);
        keyspace.expiry = ExpiryPolicy::Hide;
        for n in 0..100u32 {
            let name = n.to_string();
            let key = keyspace.key(0, name.as_bytes());
            assert!(keyspace.find(key, Access::Write).is_none());
            keyspace.insert(key, Entry::string(key.name, b"new", (n % 2 == 0).then_some(9000)));
        }
        assert_eq!((keyspace.db(0).len(), keyspace.db(0).expires().len()), (100, 50));
        assert_eq!(keyspace.counters.expired, 100);
        let propagated = keyspace.journal.stream().end();
        assert!(propagated > 0, "the deletions are propagated");
        for n in 0..100u32 {
            let name = n.to_string();
            let key = keyspace.key(0, name.as_bytes());
            let at = keyspace.find(key, Access::Inspect).expect("the new one");
            assert_eq!(keyspace.db(0).get(at).value().to_vec(), b"new");
            keyspace.remove(key, at, crate::db::Removal::Del);
        }
        assert!(keyspace.db(0).is_empty() && keyspace.db(0).expires().is_empty());
    }
}
