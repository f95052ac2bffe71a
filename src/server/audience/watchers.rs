//! `WATCH`: clients whose next `EXEC` fails if a key changes before.
//!
//! ```text
//!   by_key     (database, name) ─▶ clients that watch it
//!   watching   client           ─▶ its keys, and whether one of them was touched
//! ```
//!
//! The journal records changes of watched keys alone. A client whose key was touched watches nothing any more: its
//! `EXEC` fails whatever else happens. A key that is there and one that has expired but was not deleted yet are two
//! things here: the deletion of the latter changes nothing for its watcher.

use std::collections::HashMap;

use crate::db::{Change, Journal};
use crate::sys::poller::Token;

/// A database and the name of a key in it.
type Place = (usize, Box<[u8]>);

/// A watched key.
#[derive(Debug)]
pub struct Watched {
    /// The database's number.
    pub db: usize,
    /// The key's name.
    pub name: Box<[u8]>,
    /// Whether the key was there, and had not expired, when the client began to watch it. As long as the client was not
    /// touched this is so, but that it may have expired since.
    pub present: bool,
}

/// What one client watches.
#[derive(Debug, Default)]
struct Watching {
    keys: Vec<Watched>,
    touched: bool,
}

/// All clients that watch keys.
#[derive(Debug, Default)]
pub struct Watchers {
    by_key: HashMap<Place, Vec<Token>>,
    watching: HashMap<Token, Watching>,
}

impl Watchers {
    /// Whether no key is watched.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many keys `token` watches.
    pub fn count(&self, token: Token) -> usize {
        self.watching.get(&token).map_or(0, |watching| watching.keys.len())
    }

    /// Whether a key that `token` watched has been touched.
    pub fn is_touched(&self, token: Token) -> bool {
        self.watching.get(&token).is_some_and(|watching| watching.touched)
    }

    /// The keys that `token` watches.
    pub fn keys(&self, token: Token) -> &[Watched] {
        self.watching.get(&token).map_or(&[], |watching| &watching.keys)
    }

    /// `token` watches a key. Returns false if nothing has changed by that: it does already, or its `EXEC` will fail
    /// anyway.
    pub fn watch(&mut self, token: Token, watched: Watched) -> bool {
        let watching = self.watching.entry(token).or_default();
        let same = |known: &Watched| known.db == watched.db && known.name == watched.name;
        if watching.touched || watching.keys.iter().any(same) {
            return false;
        }
        self.by_key.entry((watched.db, watched.name.clone())).or_default().push(token);
        watching.keys.push(watched);
        true
    }

    /// `token` watches nothing any more. Returns the keys that it did, for the journal.
    pub fn forget(&mut self, token: Token) -> Vec<Watched> {
        let Some(watching) = self.watching.remove(&token) else { return Vec::new() };
        self.release(token, &watching.keys);
        watching.keys
    }

    fn release(&mut self, token: Token, keys: &[Watched]) {
        for key in keys {
            let place = (key.db, key.name.clone());
            let Some(clients) = self.by_key.get_mut(&place) else { continue };
            if let Some(at) = clients.iter().position(|client| *client == token) {
                clients.swap_remove(at);
            }
            if clients.is_empty() {
                self.by_key.remove(&place);
            }
        }
    }

    /// Finds the clients whose keys a unit has changed; `exists` says whether a key is there now. Returns the keys that
    /// are not watched any more.
    pub fn hear(&mut self, journal: &Journal, exists: impl Fn(usize, &[u8]) -> bool) -> Vec<Watched> {
        let mut touched: Vec<Token> = Vec::new();
        for change in journal.changes() {
            match change {
                Change::Key { key, event } if event.touches() => {
                    let removes = event.removes();
                    for token in self.by_key.get(&(key.db, key.name.into())).into_iter().flatten() {
                        if !removes || self.was_present(*token, key.db, key.name) {
                            touched.push(*token);
                        }
                    }
                }
                Change::Key { .. } => {}
                Change::Flushed { db, .. } => touched.extend(self.of_database(db, |watched| watched.present)),
                Change::Swapped { first, second } => {
                    for db in [first, second] {
                        let changes = |key: &Watched| key.present || exists(key.db, &key.name);
                        touched.extend(self.of_database(db, changes));
                    }
                }
            }
        }
        let mut released = Vec::new();
        for token in touched {
            let Some(watching) = self.watching.get_mut(&token) else { continue };
            watching.touched = true;
            let keys = std::mem::take(&mut watching.keys);
            self.release(token, &keys);
            released.extend(keys);
        }
        released
    }

    fn was_present(&self, token: Token, db: usize, name: &[u8]) -> bool {
        self.keys(token).iter().any(|key| key.db == db && *key.name == *name && key.present)
    }

    /// The clients that watch a key of database `db` for which `concerns` holds.
    fn of_database(&self, db: usize, concerns: impl Fn(&Watched) -> bool) -> Vec<Token> {
        let watches = |watching: &Watching| watching.keys.iter().any(|key| key.db == db && concerns(key));
        self.watching.iter().filter(|(_, watching)| watches(watching)).map(|(token, _)| *token).collect()
    }
}
