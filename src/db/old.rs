//! The doors as they were before keys came as one type.

use super::{Access, Key, Keyspace};
use crate::dict::Position;
use crate::types::entry::Entry;

#[allow(missing_docs)]
impl Keyspace {
    pub fn old_find(&mut self, db: usize, hash: u64, name: &[u8], access: Access) -> Option<Position> {
        self.find(Key { db, hash, name }, access)
    }

    pub fn old_insert(&mut self, db: usize, hash: u64, entry: Entry) -> Position {
        let name = entry.key().to_vec();
        self.insert(Key { db, hash, name: &name }, entry)
    }

    pub fn old_put(&mut self, db: usize, hash: u64, entry: Entry) {
        let name = entry.key().to_vec();
        self.put(Key { db, hash, name: &name }, entry);
    }

    pub fn old_take(&mut self, db: usize, at: Position) -> Entry {
        let name = self.db(db).get(at).key().to_vec();
        self.take(self.key(db, &name), at)
    }

    pub fn old_remove(&mut self, db: usize, at: Position, lazily: bool) {
        let entry = self.old_take(db, at);
        self.discard(entry, lazily);
    }

    pub fn old_store(&mut self, db: usize, hash: u64, name: &[u8], result: Option<Entry>) {
        let dirty = self.counters.dirty;
        self.store(Key { db, hash, name }, result, super::Event::Unnamed);
        self.modified(u64::from(self.counters.dirty > dirty));
        self.counters.dirty = dirty + u64::from(self.counters.dirty > dirty);
    }

    pub fn old_replace(&mut self, db: usize, hash: u64, at: Position, entry: Entry) {
        self.replace(Key { db, hash, name: &[] }, at, entry);
    }

    pub fn old_set_expiry(&mut self, db: usize, hash: u64, at: Position, expire_at: Option<i64>) {
        self.set_expiry(Key { db, hash, name: &[] }, at, expire_at);
    }

    pub fn modified(&mut self, changes: u64) {
        self.unchanged();
        self.counters.dirty += changes;
    }
}
