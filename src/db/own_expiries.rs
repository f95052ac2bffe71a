//! Keys of a writable replica that its own clients gave a time to live: nobody else deletes them when they expire.
//!
//! Each is noted by its time, its database and its hash, in the order of time, so the cycle finds those that are due in
//! O(log n). A key may be gone by then, or have got another time from the primary; it is noted again then, as in Redis.

use std::collections::BTreeSet;

use super::{Access, CycleBudget, CycleEnd, ExpiryPolicy, Key, Keyspace};

/// See the module's head.
#[derive(Default)]
pub struct OwnExpiries {
    /// Whether the keys that get a time to live now are noted.
    pub are_noted: bool,
    times: BTreeSet<(i64, usize, u64)>,
}

impl OwnExpiries {
    /// Notes a key that gets a time to live.
    #[cold]
    #[inline(never)]
    pub(super) fn note(&mut self, key: Key<'_>, expire_at: Option<i64>) {
        if let Some(time) = expire_at {
            self.times.insert((time, key.db, key.hash));
        }
    }

    /// The number of keys, counted again for each time that they were given.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether no key waits for its time.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Forgets all keys: they are gone, or this server is a primary now.
    pub fn forget(&mut self) {
        self.times.clear();
    }
}

impl Keyspace {
    /// Deletes the keys with own expiries that are due, until the budget is spent.
    pub(super) fn expire_own(&mut self, budget: CycleBudget, now_us: &impl Fn() -> u64) -> CycleEnd {
        let (start, now) = (now_us(), self.moment.unix_ms);
        let policy = std::mem::replace(&mut self.expiry, ExpiryPolicy::Delete);
        let mut cut_short = false;
        while let Some(&first) = self.own_expiries.times.first()
            && first.0 < now
            && !cut_short
        {
            self.own_expiries.times.remove(&first);
            let (_, db, hash) = first;
            let dict = &self.db(db).dict;
            if let Some(at) = dict.find_by(hash, |entry| entry.expire_at().is_some()) {
                match dict.get(at).expire_at() {
                    Some(time) if time >= now => drop(self.own_expiries.times.insert((time, db, hash))),
                    _ => self.expire_on_access(db, hash, at, Access::Inspect),
                }
            }
            cut_short = now_us() - start > budget.time_us;
        }
        self.expiry = policy;
        CycleEnd { cut_short, elapsed_us: now_us() - start }
    }
}
