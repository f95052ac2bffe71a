//! `WATCH`: clients whose next `EXEC` fails if one of their keys has changed.
//!
//! ```text
//!   by_key     database ─▶ name ─▶ sessions that watch it
//!   watching   client ─▶ its session and keys, and whether one of them was touched
//!   departed   sessions that have ended ─▶ keys still in `by_key`
//! ```
//!
//! The journal records only changes of watched keys. A client whose key was touched watches nothing any more: its
//! `EXEC` fails whatever else happens. A present key and one that has expired but was not deleted yet are treated
//! differently: deleting the latter changes nothing for its watcher.
//!
//! A *session* is the set of keys that a client watches until its next `EXEC`, `DISCARD` or `UNWATCH`, or until it
//! disconnects. Ending a session takes O(1): its number becomes invalid, so its keys in `by_key` no longer count.
//! [`Watchers::sweep`] removes these keys in slices, since 100,000 of them take 50 ms. Adding a key also removes one of
//! them, so the keys of ended sessions do not accumulate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::alloc::{array_size, hashed_one_size, hashed_size};
use crate::db::{Change, Journal};
use crate::sys::poller::Token;

/// The watched keys of one database, each with its sessions.
type Names = HashMap<Box<[u8]>, HashMap<Session, Present>>;

/// A client, and the number of its session.
type Session = (Token, u32);

/// See [`Watched::present`].
type Present = bool;

/// A watched key.
#[derive(Debug)]
pub struct Watched {
    /// The database's number.
    pub db: usize,
    /// The key's name.
    pub name: Box<[u8]>,
    /// Whether the key was present, and had not expired, when the client began to watch it. While the client is
    /// untouched, this is still so, except that the key may have expired since.
    pub present: bool,
    /// When the key expires. Changing this time touches the watcher.
    pub expire_at: Option<i64>,
}

impl Watched {
    /// Bytes of memory, as if no other client watched the key: its place in the client's list, which grows by doubling; the
    /// name in the table of names with a table of clients; and the hash in the journal.
    fn memory_bytes(&self) -> usize {
        let names = 2 * array_size::<u8>(self.name.len());
        let shared =
            hashed_size::<(Box<[u8]>, HashMap<Session, Present>)>() + hashed_one_size::<(Session, Present)>();
        size_of::<Watched>() * 4 / 3 + names + shared + Journal::AWAITED_BYTES
    }
}

/// The session of one client.
#[derive(Debug, Default)]
struct Watching {
    session: u32,
    keys: Vec<Watched>,
    /// The memory of `keys`.
    bytes: usize,
    touched: bool,
    /// The earliest expiry time of the keys.
    expires_first: Option<i64>,
}

/// All clients that watch keys.
#[derive(Debug, Default)]
pub struct Watchers {
    by_key: BTreeMap<usize, Names>,
    watching: HashMap<Token, Watching>,
    /// Sessions that have ended, with the keys that still have to be removed from `by_key`.
    departed: VecDeque<(Session, Vec<Watched>)>,
    next_session: u32,
}

impl Watchers {
    /// Whether no key is watched.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether `token` watches keys, or did until one of them was touched.
    pub fn is_watching(&self, token: Token) -> bool {
        self.watching.contains_key(&token)
    }

    /// The number of keys that `token` watches.
    pub fn count(&self, token: Token) -> usize {
        self.watching.get(&token).map_or(0, |watching| watching.keys.len())
    }

    /// Bytes of memory of the keys that `token` watches.
    pub fn memory_bytes(&self, token: Token) -> usize {
        self.watching.get(&token).map_or(0, |watching| size_of::<(Token, Watching)>() + watching.bytes)
    }

    /// Whether a key that `token` watched has been touched.
    pub fn is_touched(&self, token: Token) -> bool {
        self.watching.get(&token).is_some_and(|watching| watching.touched)
    }

    /// Returns the keys that `token` watches.
    pub fn keys(&self, token: Token) -> &[Watched] {
        self.watching.get(&token).map_or(&[], |watching| &watching.keys)
    }

    /// Whether a key that `token` watches may have expired at `now_ms`: the earliest expiry time has passed.
    pub fn may_have_expired(&self, token: Token, now_ms: i64) -> bool {
        let first = self.watching.get(&token).and_then(|watching| watching.expires_first);
        first.is_some_and(|time| time < now_ms)
    }

    /// Adds a key to those that `token` watches. Returns false if this changes nothing: it watches the key already, or
    /// its `EXEC` will fail anyway.
    pub fn watch(&mut self, token: Token, watched: Watched) -> bool {
        let next = &mut self.next_session;
        let watching = self.watching.entry(token).or_insert_with(|| {
            *next = next.wrapping_add(1);
            Watching { session: *next, ..Watching::default() }
        });
        if watching.touched {
            return false;
        }
        let session = (token, watching.session);
        let names = self.by_key.entry(watched.db).or_default();
        let sessions = names.entry(watched.name.clone()).or_default();
        if sessions.contains_key(&session) {
            return false;
        }
        sessions.insert(session, watched.present);
        watching.bytes += watched.memory_bytes();
        let times = watching.expires_first.into_iter().chain(watched.expire_at);
        watching.expires_first = times.min();
        watching.keys.push(watched);
        true
    }

    /// Ends the session of `token`. Returns how many keys it watched; [`Self::sweep`] removes them.
    pub fn forget(&mut self, token: Token) -> usize {
        let Some(watching) = self.watching.remove(&token) else { return 0 };
        let count = watching.keys.len();
        self.depart((token, watching.session), watching.keys);
        count
    }

    fn depart(&mut self, session: Session, keys: Vec<Watched>) {
        if !keys.is_empty() {
            self.departed.push_back((session, keys));
        }
    }

    /// Whether there are keys of ended sessions to remove.
    pub fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Removes at most `most` keys of ended sessions. Calls `released` with the name of each, for the journal.
    pub fn sweep(&mut self, most: usize, mut released: impl FnMut(&[u8])) {
        for _ in 0..most {
            let Some((session, keys)) = self.departed.front_mut() else { return };
            let session = *session;
            if let Some(key) = keys.pop() {
                released(&key.name);
                self.release(session, &key);
            } else {
                self.departed.pop_front();
            }
        }
    }

    fn release(&mut self, session: Session, key: &Watched) {
        let Some(names) = self.by_key.get_mut(&key.db) else { return };
        let Some(sessions) = names.get_mut(&key.name) else { return };
        sessions.remove(&session);
        if sessions.is_empty() {
            names.remove(&key.name);
        }
        if names.is_empty() {
            self.by_key.remove(&key.db);
        }
    }

    /// Marks the clients whose keys a unit has changed; `exists` returns whether a key exists now. Returns how many
    /// keys are no longer watched; [`Self::sweep`] removes them.
    pub fn observe(&mut self, journal: &Journal, exists: impl Fn(usize, &[u8]) -> bool) -> usize {
        let mut touched: Vec<Token> = Vec::new();
        for change in journal.changes() {
            match change {
                Change::Key { key, event } if event.touches() => {
                    let removes = event.removes();
                    let watchers = self.by_key.get(&key.db).and_then(|names| names.get(key.name));
                    let concerned =
                        watchers.into_iter().flatten().filter(|(_, present)| !removes || **present);
                    let live = concerned.filter(|(session, _)| self.is_live(session));
                    touched.extend(live.map(|((token, _), _)| *token));
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
        let mut released = 0;
        for token in touched {
            let Some(watching) = self.watching.get_mut(&token) else { continue };
            watching.touched = true;
            watching.bytes = 0;
            let keys = std::mem::take(&mut watching.keys);
            let session = (token, watching.session);
            released += keys.len();
            self.depart(session, keys);
        }
        released
    }

    /// Whether a session has not ended.
    fn is_live(&self, (token, number): &Session) -> bool {
        self.watching.get(token).is_some_and(|watching| watching.session == *number)
    }

    /// Returns the clients that watch a key of database `db` for which `concerns` holds.
    fn of_database(&self, db: usize, concerns: impl Fn(&Watched) -> bool) -> Vec<Token> {
        let watches = |watching: &Watching| watching.keys.iter().any(|key| key.db == db && concerns(key));
        self.watching.iter().filter(|(_, watching)| watches(watching)).map(|(token, _)| *token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Awaiting, Event, Keyspace};
    use crate::dict::Seed;

    const CLIENT: Token = Token { slot: 1, generation: 0 };
    const OTHER: Token = Token { slot: 2, generation: 0 };

    fn watch(watchers: &mut Watchers, token: Token, db: usize, name: &str, present: bool) -> bool {
        watchers.watch(token, Watched { db, name: name.as_bytes().into(), present, expire_at: None })
    }

    /// Notifies watchers of changes of the keys `k` and `gone`, which the journal records as watched keys.
    fn tell(watchers: &mut Watchers, exists: bool, change: impl FnOnce(&mut Keyspace)) -> usize {
        let mut keyspace = Keyspace::new(3, Seed::new([1, 2]));
        for name in ["k", "gone"] {
            let hash = keyspace.hash(name.as_bytes());
            keyspace.journal.await_key(hash, Awaiting::Change);
        }
        change(&mut keyspace);
        watchers.observe(&keyspace.journal, |_, _| exists)
    }

    fn event(db: usize, name: &'static str, event: Event) -> impl FnOnce(&mut Keyspace) {
        move |keyspace| {
            let hash = keyspace.hash(name.as_bytes());
            keyspace.changed(crate::db::Key { db, hash, name: name.as_bytes() }, event, 1);
        }
    }

    #[test]
    fn a_change_touches_all_who_watch_the_key_in_this_database_and_releases_their_keys() {
        let mut watchers = Watchers::default();
        assert!(watch(&mut watchers, CLIENT, 0, "k", true));
        assert!(!watch(&mut watchers, CLIENT, 0, "k", true));
        assert!(watch(&mut watchers, CLIENT, 1, "other", true));
        assert!(watch(&mut watchers, OTHER, 1, "k", true));
        assert_eq!(tell(&mut watchers, true, event(2, "k", Event::Set)), 0);
        assert_eq!(tell(&mut watchers, true, event(0, "k", Event::Bookkeeping)), 0);
        assert_eq!(tell(&mut watchers, true, event(0, "k", Event::Set)), 2);
        assert!(watchers.is_touched(CLIENT) && !watchers.is_touched(OTHER));
        assert_eq!((watchers.count(CLIENT), watchers.count(OTHER)), (0, 1));
        assert!(!watch(&mut watchers, CLIENT, 0, "new", true));
        assert!(watchers.forget(CLIENT) == 0 && !watchers.is_touched(CLIENT));
        assert_eq!(watchers.forget(OTHER), 1);
        watchers.sweep(usize::MAX, |_| {});
        assert!(watchers.is_empty() && !watchers.has_departed());
    }

    #[test]
    fn the_keys_of_an_ended_session_touch_nobody_and_are_removed_in_slices() {
        let mut watchers = Watchers::default();
        for name in ["k", "gone", "third"] {
            assert!(watch(&mut watchers, CLIENT, 0, name, true));
        }
        assert_eq!(watchers.forget(CLIENT), 3);
        // The next session of the client does not inherit the keys, though they are still in the table.
        assert!(watch(&mut watchers, CLIENT, 0, "k", true));
        assert_eq!(tell(&mut watchers, true, event(0, "gone", Event::Set)), 0);
        assert!(!watchers.is_touched(CLIENT));
        let mut released = Vec::new();
        watchers.sweep(2, |name| released.push(name.to_vec()));
        assert_eq!(released, [b"third".to_vec(), b"gone".to_vec()]);
        watchers.sweep(2, |name| released.push(name.to_vec()));
        assert!(released.len() == 3 && !watchers.has_departed() && !watchers.is_empty());
        assert_eq!(tell(&mut watchers, true, event(0, "k", Event::Set)), 1);
        assert!(watchers.is_touched(CLIENT));
    }

    #[test]
    fn the_first_time_of_expiry_is_kept() {
        let mut watchers = Watchers::default();
        for (name, expire_at) in [("a", None), ("b", Some(20)), ("c", Some(10)), ("d", Some(30))] {
            watchers.watch(CLIENT, Watched { db: 0, name: name.as_bytes().into(), present: true, expire_at });
        }
        assert!(watchers.may_have_expired(CLIENT, 11) && !watchers.may_have_expired(CLIENT, 10));
        watchers.forget(CLIENT);
        assert!(!watchers.may_have_expired(CLIENT, 11));
    }

    #[test]
    fn the_deletion_of_a_key_that_had_expired_already_touches_nobody() {
        let mut watchers = Watchers::default();
        watch(&mut watchers, CLIENT, 0, "gone", false);
        assert_eq!(tell(&mut watchers, false, event(0, "gone", Event::Expired)), 0);
        assert_eq!(tell(&mut watchers, false, |keyspace| _ = keyspace.flush(0, false)), 0);
        assert!(!watchers.is_touched(CLIENT));
        watch(&mut watchers, OTHER, 0, "k", true);
        assert_eq!(tell(&mut watchers, true, event(0, "gone", Event::Set)), 1);
        assert_eq!(tell(&mut watchers, false, event(0, "k", Event::Expired)), 1);
        assert!(watchers.is_touched(CLIENT) && watchers.is_touched(OTHER));
    }

    #[test]
    fn a_swap_touches_those_whose_key_is_there_before_or_after_it() {
        for (present, exists, touched) in
            [(true, false, true), (false, true, true), (true, true, true), (false, false, false)]
        {
            let mut watchers = Watchers::default();
            watch(&mut watchers, CLIENT, 1, "k", present);
            watch(&mut watchers, OTHER, 2, "k", true);
            tell(&mut watchers, exists, |keyspace| keyspace.swap(0, 1));
            assert_eq!(watchers.is_touched(CLIENT), touched, "{present} {exists}");
            assert!(!watchers.is_touched(OTHER));
        }
    }
}
