//! Databases beside those of the keyspace, into which new data is loaded while the old is served.

use super::{Db, Garbage, Keyspace};

/// Databases beside those of the keyspace, see [`Keyspace::exchange`].
pub struct Aside(Vec<Db>);

impl Keyspace {
    /// Makes empty databases beside the keyspace's.
    pub fn make_aside(&self) -> Aside {
        Aside((0..self.count()).map(|_| Db::new(&self.hasher)).collect())
    }

    /// Exchanges the keyspace's databases for those aside, without a change that anybody notices: they must be
    /// exchanged again before a client is served.
    pub fn exchange(&mut self, aside: &mut Aside) {
        std::mem::swap(&mut self.dbs, &mut aside.0);
    }

    /// Makes those aside the keyspace's databases, which are empty. Keys that were awaited or watched may be there now.
    pub fn replace_by(&mut self, aside: Aside) {
        debug_assert!(self.dbs.iter().all(Db::is_empty));
        self.dbs = aside.0;
        for db in 0..self.count() {
            self.journal.note_swap(db, db);
        }
    }

    /// Frees databases that are aside, in the background.
    pub fn discard_aside(&mut self, aside: Aside) {
        for db in aside.0 {
            if !db.is_empty() {
                self.lazy.send(Garbage::Table(Box::new(db)));
            }
        }
    }
}
