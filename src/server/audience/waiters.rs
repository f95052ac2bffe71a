//! Clients blocked on keys, possibly with a timeout.
//!
//! ```text
//!   by_key       (database, name) ─▶ clients in the order in which they began to wait
//!   by_deadline  (time, ticket)   ─▶ client
//!   parked       client           ─▶ the wait
//! ```
//!
//! A change of an awaited key puts the key on the list of *ready* keys; the server processes this list right after the
//! unit that made the change ([`crate::server::settle`]). The maps are ordered: the client that has waited longest is
//! served first, and the next deadline is the first entry. Nothing here costs anything while no client is blocked, and
//! a hundred thousand blocked clients cost nothing while nothing changes: the journal records only changes of awaited
//! keys. Beginning and ending a wait take O(log n) per key.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use super::acknowledgements::Wanted;
use crate::alloc::{array_size, hashed_size, ordered_one_size};
use crate::command::Error;
use crate::command::waiting::Wait;
use crate::db::{Change, Journal};
use crate::sys::poller::Token;
use crate::types::Kind;

/// A database and the name of a key in it.
type Place = (usize, Box<[u8]>);

/// The capacity that is kept when no key is awaited.
const KEPT: usize = 64;

/// A blocked client.
#[derive(Debug)]
pub struct Parked {
    /// Increases with every wait.
    ticket: u64,
    db: usize,
    keys: Vec<Box<[u8]>>,
    /// The memory of `keys`.
    bytes: usize,
    /// The kind of value that can serve it.
    pub kind: Kind,
    /// Whether a key that is gone or holds another kind of value serves it, too.
    pub even_if_gone: bool,
    /// Microseconds of the monotonic clock.
    deadline_us: Option<u64>,
    /// How long its command has been running, in ticks.
    pub ticks: u64,
}

impl Parked {
    /// Returns the awaited keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &**key)
    }
}

/// How a wait ended, if its command is not executed again.
pub enum End {
    /// The command's work in the background is done.
    Done,
    /// The deadline has passed, or by `CLIENT UNBLOCK`.
    InVain,
    /// The acknowledgements of `WAIT` or `WAITAOF`, to be reported in the reply.
    Acknowledged(Wanted),
    /// By `CLIENT UNBLOCK … ERROR`.
    Failed(Error),
    /// By the change of the primary: the error is sent, then the connection is closed.
    Demoted(Error),
}

/// A wait that has ended in one of these ways.
pub struct EndedWait {
    /// The client.
    pub token: Token,
    /// Determines the reply.
    pub end: End,
    /// The command's ticks, including the time of its wait if that was for its own work.
    pub ticks: u64,
}

/// The clients that wait for one key.
#[derive(Debug, Default)]
struct Queue {
    clients: BTreeMap<u64, Token>,
    /// The number of them that are also served when the key is gone.
    even_if_gone: usize,
}

/// Bytes of memory of an awaited key, as if no other client waited for it: the name in the client's list and in the
/// table of keys, the queue, and the hash in the journal.
fn key_bytes(name: &[u8]) -> usize {
    let names = size_of::<Box<[u8]>>() + 2 * array_size::<u8>(name.len());
    names + hashed_size::<(Place, Queue)>() + ordered_one_size::<(u64, Token)>() + Journal::AWAITED_BYTES
}

/// All clients blocked on keys.
#[derive(Debug, Default)]
pub struct Waiters {
    by_key: HashMap<Place, Queue>,
    by_deadline: BTreeMap<(u64, u64), Token>,
    parked: HashMap<Token, Parked>,
    next_ticket: u64,
    ready: VecDeque<Place>,
    is_ready: BTreeSet<Place>,
}

impl Waiters {
    /// The clients that wait, in no particular order.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.parked.keys().copied()
    }

    /// Whether no client is blocked.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// The number of blocked clients.
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// The number of blocked clients with a timeout.
    pub fn deadlines(&self) -> usize {
        self.by_deadline.len()
    }

    /// The number of awaited keys, and of those among them whose deletion also serves a client.
    pub fn awaited_keys(&self) -> (usize, usize) {
        (self.by_key.len(), self.by_key.values().filter(|queue| queue.even_if_gone > 0).count())
    }

    /// Blocks a client on keys of database `db`, behind all others; or continues `again`, the wait that it was taken
    /// out of, in its former place.
    pub fn park(
        &mut self,
        token: Token,
        db: usize,
        wait: &Wait,
        (now_us, ticks): (u64, u64),
        again: Option<&Parked>,
    ) {
        let ticket = again.map_or(self.next_ticket, |parked| parked.ticket);
        self.next_ticket = self.next_ticket.max(ticket + 1);
        let deadline_us = match again {
            Some(parked) => parked.deadline_us,
            None => wait.timeout_ms.map(|ms| now_us.saturating_add(ms.saturating_mul(1000))),
        };
        let ticks = ticks + again.map_or(0, |parked| parked.ticks);
        let mut keys: Vec<Box<[u8]>> = Vec::with_capacity(wait.keys.len());
        let mut bytes = size_of::<(Token, Parked)>();
        for name in &wait.keys {
            let queue = self.by_key.entry((db, name.as_slice().into())).or_default();
            // A key that was named twice counts once.
            if queue.clients.insert(ticket, token).is_none() {
                queue.even_if_gone += usize::from(wait.even_if_gone);
                keys.push(name.as_slice().into());
                bytes += key_bytes(name);
            }
        }
        if let Some(deadline) = deadline_us {
            self.by_deadline.insert((deadline, ticket), token);
        }
        let parked = Parked {
            ticket,
            db,
            keys,
            bytes,
            kind: wait.kind,
            even_if_gone: wait.even_if_gone,
            deadline_us,
            ticks,
        };
        self.parked.insert(token, parked);
    }

    /// Returns the wait of `token`.
    pub fn get(&self, token: Token) -> Option<&Parked> {
        self.parked.get(&token)
    }

    /// Bytes of memory of the wait of `token`. O(1).
    pub fn memory_bytes(&self, token: Token) -> usize {
        self.parked.get(&token).map_or(0, |parked| parked.bytes)
    }

    /// Ends the wait of a client and returns it.
    pub fn remove(&mut self, token: Token) -> Option<Parked> {
        let parked = self.parked.remove(&token)?;
        for name in &parked.keys {
            let place = (parked.db, name.clone());
            let Some(queue) = self.by_key.get_mut(&place) else { continue };
            queue.clients.remove(&parked.ticket);
            queue.even_if_gone -= usize::from(parked.even_if_gone);
            if queue.clients.is_empty() {
                self.by_key.remove(&place);
            }
        }
        if self.by_key.is_empty() {
            self.by_key.shrink_to(KEPT);
        }
        if let Some(deadline) = parked.deadline_us {
            self.by_deadline.remove(&(deadline, parked.ticket));
        }
        Some(parked)
    }

    /// Marks the awaited keys that a unit has changed as ready.
    pub fn observe(&mut self, journal: &Journal) {
        for change in journal.changes() {
            match change {
                Change::Key { key, event } if event.may_serve() => self.key_changed(key.db, key.name),
                Change::Key { .. } | Change::Flushed { removed: 0, .. } => {}
                Change::Flushed { db, .. } => self.database_changed(db),
                Change::Swapped { first, second } => {
                    self.database_changed(first);
                    self.database_changed(second);
                }
            }
        }
    }

    /// Marks a changed key as ready, if a client waits for it and it is not ready yet.
    fn key_changed(&mut self, db: usize, name: &[u8]) {
        let place = (db, name.into());
        if self.by_key.contains_key(&place) && self.is_ready.insert(place.clone()) {
            self.ready.push_back(place);
        }
    }

    /// Marks the awaited keys of a database, all of which may have changed, as ready.
    fn database_changed(&mut self, db: usize) {
        let mut names: Vec<_> = self.by_key.keys().filter(|(of, _)| *of == db).cloned().collect();
        names.sort();
        for (db, name) in names {
            self.key_changed(db, &name);
        }
    }

    /// Whether any key is ready.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the key that has been ready for longest.
    pub fn next_ready(&mut self) -> Option<Place> {
        let place = self.ready.pop_front()?;
        self.is_ready.remove(&place);
        Some(place)
    }

    /// Returns the next client after `ticket` that waits for a key, and its ticket, among those that a value of `kind`
    /// serves (`None`: that the absence of the key serves).
    pub fn next_of(&self, place: &Place, after: Option<u64>, kind: Option<Kind>) -> Option<(u64, Token)> {
        let queue = self.by_key.get(place)?;
        if kind.is_none() && queue.even_if_gone == 0 {
            return None;
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut clients = queue.clients.range((from, Bound::Unbounded));
        let served = |token: &Token| {
            self.parked.get(token).is_some_and(|parked| parked.even_if_gone || kind == Some(parked.kind))
        };
        clients.find(|(_, token)| served(token)).map(|(ticket, token)| (*ticket, *token))
    }

    /// Returns a client whose deadline has passed.
    pub fn next_overdue(&self, now_us: u64) -> Option<Token> {
        let (&(deadline, _), token) = self.by_deadline.first_key_value()?;
        (deadline <= now_us).then_some(*token)
    }

    /// Milliseconds until the next deadline, rounded up, at most `most`.
    pub fn milliseconds_left(&self, now_us: u64, most: u32) -> u32 {
        let Some((&(deadline, _), _)) = self.by_deadline.first_key_value() else { return most };
        u32::try_from(deadline.saturating_sub(now_us).div_ceil(1000)).map_or(most, |left| left.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::waiting::Null;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 0 }
    }

    fn wait(keys: &[&str], timeout_ms: Option<u64>) -> Wait {
        Wait {
            keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
            kind: Kind::List,
            even_if_gone: false,
            timeout_ms,
            null: Null::Array,
            rewritten: Vec::new(),
        }
    }

    fn place(name: &str) -> Place {
        (0, name.as_bytes().into())
    }

    #[test]
    fn clients_are_served_in_the_order_in_which_they_began_to_wait_and_keep_their_place() {
        let mut waiters = Waiters::default();
        waiters.park(token(3), 0, &wait(&["a", "b", "a"], None), (0, 0), None);
        waiters.park(token(1), 0, &wait(&["b"], None), (0, 0), None);
        let (first, client) = waiters.next_of(&place("b"), None, Some(Kind::List)).unwrap();
        assert_eq!(client, token(3));
        let parked = waiters.remove(token(3)).unwrap();
        assert_eq!(parked.keys().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(waiters.next_of(&place("a"), None, Some(Kind::List)), None);
        waiters.park(token(3), 0, &wait(&["a", "b"], None), (0, 0), Some(&parked));
        assert_eq!(waiters.next_of(&place("b"), None, Some(Kind::List)), Some((first, token(3))));
        let next = waiters.next_of(&place("b"), Some(first), Some(Kind::List));
        assert_eq!(next.map(|(_, client)| client), Some(token(1)));
        assert_eq!(waiters.next_of(&place("b"), None, Some(Kind::Set)), None);
        assert_eq!(waiters.next_of(&place("b"), None, None), None);
    }

    #[test]
    fn the_next_deadline_is_known_and_goes_with_its_client() {
        let mut waiters = Waiters::default();
        assert_eq!(waiters.milliseconds_left(0, 100), 100);
        waiters.park(token(1), 0, &wait(&["a"], Some(7)), (1000, 0), None);
        waiters.park(token(2), 0, &wait(&["a"], Some(3)), (2000, 0), None);
        assert_eq!(waiters.milliseconds_left(2500, 100), 3);
        assert_eq!(waiters.next_overdue(4999), None);
        assert_eq!(waiters.next_overdue(5000), Some(token(2)));
        waiters.remove(token(2));
        assert_eq!(waiters.next_overdue(7999), None);
        assert_eq!(waiters.next_overdue(8000), Some(token(1)));
        waiters.remove(token(1));
        assert!(waiters.is_empty() && waiters.by_key.is_empty() && waiters.by_deadline.is_empty());
    }

    #[test]
    fn a_key_that_changed_is_ready_once_and_only_if_somebody_waits_for_it() {
        let mut waiters = Waiters::default();
        waiters.park(token(1), 0, &wait(&["a", "b"], None), (0, 0), None);
        for name in ["b", "c", "a", "b"] {
            waiters.key_changed(0, name.as_bytes());
        }
        waiters.key_changed(1, b"a");
        assert_eq!(waiters.next_ready(), Some(place("b")));
        waiters.key_changed(0, b"b");
        assert_eq!(waiters.next_ready(), Some(place("a")));
        assert_eq!(waiters.next_ready(), Some(place("b")));
        assert_eq!(waiters.next_ready(), None);
        waiters.database_changed(0);
        assert_eq!(waiters.next_ready(), Some(place("a")));
    }
}
