//! Hashes whose fields expire: the order in which they are due, and the function through which hashes change.
//!
//! A hash knows in O(1) when its next field expires ([`hash::next_deadline`]), and each database keeps these deadlines
//! sorted, each with the hash of its key. So the cycle finds due fields directly, and a database without such fields
//! costs one comparison. [`Keyspace::modify_hash`] keeps the deadlines up to date by comparing the deadlines before and
//! after a change; the functions that insert, replace and remove entries update them themselves.
//!
//! A command that finds a hash first removes expired fields ([`Keyspace::expire_fields`]), up to a bound;
//! [`hash::HashRef`] skips the rest.

use std::collections::BTreeSet;

use super::{Db, Event, ExpiryPolicy, Garbage, Key, Keyspace, Removal, Word};
use crate::dict::Position;
use crate::types::entry::Entry;
use crate::types::hash::{self, HashMut};

/// The number of fields that a lookup removes, and that the cycle removes between two reads of the clock.
const FIELDS_AT_ONCE: usize = 100;

/// The deadline of each hash in a database, with the hash of its key. (Two keys with the same 64-bit hash and the same
/// deadline share an element; then only lookups remove the fields of the second.)
#[derive(Default)]
pub(super) struct FieldDeadlines(BTreeSet<(i64, u64)>);

impl FieldDeadlines {
    /// The number of hashes with fields that expire.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the deadline of a value that is stored under a key.
    #[inline]
    pub(super) fn comes(&mut self, key_hash: u64, entry: &Entry) {
        self.change(key_hash, None, hash::next_deadline(entry));
    }

    /// Removes the deadline of a value that leaves its key.
    #[inline]
    pub(super) fn leaves(&mut self, key_hash: impl FnOnce() -> u64, entry: &Entry) {
        if let Some(time) = hash::next_deadline(entry) {
            self.change(key_hash(), Some(time), None);
        }
    }

    /// Changes the deadline of a value from `old` to `new`.
    #[inline]
    pub(super) fn change(&mut self, key_hash: u64, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.0.remove(&(old, key_hash));
        }
        if let Some(new) = new {
            self.0.insert((new, key_hash));
        }
    }
}

impl Db {
    /// The number of hashes with fields that expire.
    pub fn expiring_hashes(&self) -> usize {
        self.field_deadlines.len()
    }
}

impl Keyspace {
    /// Changes the hash under `key`, whose entry is at `at`.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn modify_hash<R>(
        &mut self,
        key: Key<'_>,
        at: Position,
        change: impl FnOnce(&mut HashMut<'_>) -> R,
    ) -> R {
        self.opened();
        let now = self.field_time();
        let Keyspace { dbs, shapes, lazy, .. } = self;
        let Db { dict, field_deadlines, .. } = &mut dbs[key.db];
        let mut entry = dict.get_mut(at);
        let before = hash::next_deadline(&entry);
        let mut hash = HashMut::new(&mut entry, shapes, now);
        let result = change(&mut hash);
        if let Some(retired) = hash.take_retired() {
            lazy.send(Garbage::Retired(retired));
        }
        field_deadlines.change(key.hash, before, hash::next_deadline(&entry));
        result
    }

    /// Whether a field of the value at `at` has expired.
    #[inline]
    pub fn has_expired_fields(&self, db: usize, at: Position) -> bool {
        hash::next_deadline(&self.db(db).get(at)).is_some_and(|time| self.is_past(time))
    }

    /// The time before which a field counts as expired; earlier than all times if the policy is to ignore expiry.
    #[inline]
    pub fn field_time(&self) -> i64 {
        if self.expiry == ExpiryPolicy::Ignore { i64::MIN } else { self.moment.unix_ms }
    }

    /// Removes expired fields from the hash at `at`, up to a bound, and the key if no field is left. Returns whether
    /// the key still exists. Removes nothing unless the policy is to delete. The fields are propagated as `HDEL`, which
    /// implies the removal of the key with the last one.
    #[cold]
    pub fn expire_fields(&mut self, key: Key<'_>, at: Position) -> bool {
        if self.expiry != ExpiryPolicy::Delete {
            return true;
        }
        let mut gone = self.journal.wants_calls().then(Vec::new);
        let (removed, empty) = self.modify_hash(key, at, |hash| {
            let removed = hash.expire_due(FIELDS_AT_ONCE, &mut |field| {
                if let Some(gone) = &mut gone {
                    gone.push(field.to_vec());
                }
            });
            (removed, hash.is_empty())
        });
        if removed == 0 {
            self.unchanged();
            return true;
        }
        self.counters.expired_fields += removed as u64;
        self.changed(key, Event::HExpired, 0);
        if let Some(fields) = gone {
            let words = [b"HDEL".as_slice(), key.name].into_iter().chain(fields.iter().map(Vec::as_slice));
            self.journal.push_call(key.db, words.map(Word::Bytes));
        }
        if empty {
            self.remove(key, at, Removal::Emptied);
        }
        !empty
    }

    /// Removes expired fields of database `db` until none is left or `out_of_time` returns true. Returns whether time
    /// ran out.
    pub(super) fn expire_due_fields(&mut self, db: usize, out_of_time: &impl Fn() -> bool) -> bool {
        let now = self.moment.unix_ms;
        while let Some(&(time, key_hash)) = self.dbs[db].field_deadlines.0.first()
            && time < now
        {
            match self.dbs[db].dict.find_by(key_hash, |entry| hash::next_deadline(entry) == Some(time)) {
                Some(at) => {
                    let name = self.dbs[db].dict.get(at).key().to_vec();
                    self.expire_fields(Key { db, hash: key_hash, name: &name }, at);
                }
                None => drop(self.dbs[db].field_deadlines.0.pop_first()),
            }
            if out_of_time() {
                return true;
            }
        }
        false
    }
}
