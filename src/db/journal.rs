//! The journal: what a unit of execution changed, and the calls to propagate for it.
//!
//! ```text
//!   handler ─▶ Keyspace::changed, remove, flush …  ─▶  changes   (database, key with its hash, event)
//!           ─▶ Journal::propagate, propagate_nothing ─▶  stream    (calls, encoded)
//!   after the outermost unit the server hands the changes to their listeners; readers read the stream later
//! ```
//!
//! The journal does not know its readers, and records only what somebody listens to: otherwise a change costs a counter
//! and a test, and a call nothing. Readers can listen to every change, to calls ([`Listening`]), and to changes of the
//! keys that clients wait for or watch ([`Journal::await_key`]).
//!
//! Keys are copied into a reused buffer; calls are encoded at once ([`super::stream`]).

use std::collections::HashMap;

use super::event::Event;
use super::stream::{Framing, Stream, Word};
use crate::alloc::hashed_size;

/// A key: its database, its hash and its name.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The database's number.
    pub db: usize,
    /// [`super::Keyspace::hash`] of the name.
    pub hash: u64,
    /// The name.
    pub name: &'a [u8],
}

/// A change, as a listener sees it.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A key changed.
    Key {
        /// The key.
        key: Key<'a>,
        /// What happened.
        event: Event,
    },
    /// All keys of a database are gone.
    Flushed {
        /// The database's number.
        db: usize,
        /// How many keys there were; may be zero.
        removed: usize,
    },
    /// Two databases have swapped their keys.
    Swapped {
        /// The number of one.
        first: usize,
        /// The number of the other.
        second: usize,
    },
}

/// A change as it is stored: the key's name is a range of [`Journal::names`].
#[derive(Clone, Copy, Debug)]
enum Record {
    Key { db: usize, hash: u64, name: (usize, usize), event: Event },
    Flushed { db: usize, removed: usize },
    Swapped { first: usize, second: usize },
}

/// How a command is propagated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// As called, if it changed something.
    #[default]
    AsCalled,
    /// As called, whether it changed something or not.
    Forced,
    /// As the calls that it added to the journal, or not at all if it added none.
    Instead,
}

/// What the journal records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Every change.
    pub changes: bool,
    /// Calls.
    pub calls: bool,
    /// The calls of each unit, right after it.
    pub units: bool,
}

/// Which changes of a key are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// Those that may serve a blocked command.
    Value,
    /// Those for which [`Event::touches`] is true.
    Change,
}

/// The number of readers that await changes of a key, or of keys that share its hash.
#[derive(Clone, Copy, Debug, Default)]
struct Awaited {
    values: u32,
    changes: u32,
}

impl Awaited {
    fn count(&mut self, awaiting: Awaiting) -> &mut u32 {
        match awaiting {
            Awaiting::Value => &mut self.values,
            Awaiting::Change => &mut self.changes,
        }
    }

    fn wants(self, event: Event) -> bool {
        self.values > 0 && event.may_serve() || self.changes > 0 && event.touches()
    }
}

const CHANGES: u8 = 1;
const CALLS: u8 = 2;
const AWAITED: u8 = 4;
const UNITS: u8 = 8;

/// See the module's head.
#[derive(Default)]
pub struct Journal {
    /// See [`Journal::take_emptied`].
    emptied: bool,
    /// What readers listen to, as bits, so that [`Journal::note`] needs one test.
    interest: u8,
    records: Vec<Record>,
    names: Vec<u8>,
    stream: Stream,
    propagation: Propagation,
    /// See [`Journal::propagate_apart`].
    apart: bool,
    /// The hashes of the awaited keys, each with the number of [`Journal::await_key`] calls for it.
    awaited: HashMap<u64, Awaited>,
}

impl Journal {
    /// The memory that an awaited key takes, in bytes.
    pub const AWAITED_BYTES: usize = hashed_size::<(u64, Awaited)>();

    /// Sets what is recorded from now on, in addition to changes of awaited keys.
    pub fn listen(&mut self, listening: Listening) {
        let bit = |wanted: bool, bit: u8| if wanted { bit } else { 0 };
        self.interest = self.interest & AWAITED
            | bit(listening.changes, CHANGES)
            | bit(listening.calls | listening.units, CALLS)
            | bit(listening.units, UNITS);
    }

    /// Records changes of keys with this hash, until [`Journal::forget`] has been called as often as this function.
    pub fn await_key(&mut self, hash: u64, awaiting: Awaiting) {
        *self.awaited.entry(hash).or_default().count(awaiting) += 1;
        self.interest |= AWAITED;
    }

    /// Undoes one [`Journal::await_key`].
    pub fn forget(&mut self, hash: u64, awaiting: Awaiting) {
        if let Some(awaited) = self.awaited.get_mut(&hash) {
            *awaited.count(awaiting) -= 1;
            if awaited.values == 0 && awaited.changes == 0 {
                self.awaited.remove(&hash);
            }
        }
        if self.awaited.is_empty() {
            self.interest &= !AWAITED;
            self.awaited.shrink_to(64);
        }
    }

    /// Whether calls are recorded. If not, callers need not build their words.
    #[inline]
    pub fn wants_calls(&self) -> bool {
        self.interest & CALLS != 0
    }

    /// Whether anything is recorded.
    #[inline]
    pub fn is_listening(&self) -> bool {
        self.interest != 0
    }

    /// Whether the current unit recorded changes for its listeners, or calls that make one transaction.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        !self.records.is_empty()
            || self.stream.of_unit() > 1
            || self.interest & UNITS != 0 && self.stream.of_unit() > 0
    }

    /// Records that something happened to a key.
    #[inline]
    pub(super) fn note(&mut self, key: Key<'_>, event: Event) {
        if self.interest & (CHANGES | AWAITED) != 0 {
            self.record(key, event);
        }
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, key: Key<'_>, event: Event) {
        let wanted = |awaited: &Awaited| awaited.wants(event);
        if self.interest & CHANGES == 0 && !self.awaited.get(&key.hash).is_some_and(wanted) {
            return;
        }
        let start = self.names.len();
        self.names.extend_from_slice(key.name);
        let name = (start, self.names.len());
        self.records.push(Record::Key { db: key.db, hash: key.hash, name, event });
    }

    pub(super) fn note_flush(&mut self, db: usize, removed: usize) {
        if self.interest & (CHANGES | AWAITED) != 0 {
            self.records.push(Record::Flushed { db, removed });
        }
    }

    pub(super) fn note_swap(&mut self, first: usize, second: usize) {
        if self.interest & (CHANGES | AWAITED) != 0 {
            self.records.push(Record::Swapped { first, second });
        }
    }

    /// Records that a command emptied all databases at once.
    pub fn note_emptied(&mut self) {
        self.emptied = true;
    }

    /// Whether all databases were emptied at once since this was last called.
    #[inline]
    pub fn take_emptied(&mut self) -> bool {
        std::mem::take(&mut self.emptied)
    }

    /// The number of changes recorded so far.
    #[inline]
    pub fn changes_len(&self) -> usize {
        self.records.len()
    }

    /// The changes recorded so far, in order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.changes_from(0)
    }

    /// The changes recorded so far without the first `from`, in order.
    pub fn changes_from(&self, from: usize) -> impl Iterator<Item = Change<'_>> {
        self.records[from..].iter().map(|record| match *record {
            Record::Key { db, hash, name: (start, end), event } => {
                Change::Key { key: Key { db, hash, name: &self.names[start..end] }, event }
            }
            Record::Flushed { db, removed } => Change::Flushed { db, removed },
            Record::Swapped { first, second } => Change::Swapped { first, second },
        })
    }

    /// Removes the changes of the current unit from index `from` on.
    pub fn forget_changes_from(&mut self, from: usize) {
        let names = self.records[..from].iter().rev().find_map(|record| match record {
            Record::Key { name: (_, end), .. } => Some(*end),
            Record::Flushed { .. } | Record::Swapped { .. } => None,
        });
        self.names.truncate(names.unwrap_or(0));
        self.records.truncate(from);
    }

    /// The retained calls of all units.
    #[inline]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, for its readers.
    #[inline]
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Ends a unit of the short way and returns false, unless listeners must read its changes first: then returns true
    /// ([`Journal::is_unsettled`]). Sets `last_write` to the end of the unit's call in the stream, if it made one.
    #[inline(always)]
    pub fn holds_unit(&mut self, last_write: &mut u64) -> bool {
        self.is_listening() && self.holds_unit_for_listeners(last_write)
    }

    /// Out of line: inlined, it would slow the path without listeners by more than a call costs.
    #[inline(never)]
    fn holds_unit_for_listeners(&mut self, last_write: &mut u64) -> bool {
        let unsettled = self.is_unsettled();
        if !unsettled {
            if self.stream.of_unit() > 0 {
                *last_write = self.stream.settle();
            }
            self.apart = false;
        }
        unsettled
    }

    /// Ends the calls of the current unit: frames them and makes them visible to the readers.
    pub fn end_calls(&mut self, framing: Framing) {
        let framing = if self.apart { Framing::Apart } else { framing };
        self.stream.end_unit(framing);
    }

    /// Bytes of memory of the current unit's changes.
    pub fn memory_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.names.capacity()
    }

    /// Shrinks the records, the names and the stream to at most `keep` bytes of spare capacity each.
    pub fn shrink(&mut self, keep: usize) {
        self.records.shrink_to(keep / size_of::<Record>());
        self.names.shrink_to(keep);
        self.stream.shrink(keep);
    }

    /// Ends the current unit, once the listeners have read its changes. Its calls stay until all readers have consumed
    /// them.
    #[inline]
    pub fn end_unit(&mut self) {
        self.records.clear();
        self.names.clear();
        self.stream.settle();
        self.apart = false;
    }

    /// Propagates the calls of this unit without a transaction: the keys that it met have nothing in common.
    pub fn propagate_apart(&mut self) {
        self.apart = !self.records.is_empty() || self.stream.of_unit() > 0;
    }

    /// Begins a command, which is propagated as called unless it chooses otherwise. Returns the state of the enclosing
    /// command, if any, for [`Journal::end_call`].
    #[inline]
    pub fn begin_call(&mut self) -> Propagation {
        std::mem::take(&mut self.propagation)
    }

    /// Ends a command and restores the state of the enclosing one. Returns how the ended one is propagated.
    #[inline]
    pub fn end_call(&mut self, outer: Propagation) -> Propagation {
        std::mem::replace(&mut self.propagation, outer)
    }

    /// Propagates a call in addition to the current command.
    pub fn push_call<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        if self.wants_calls() {
            self.stream.push(db, words);
        }
    }

    /// [`Journal::push_call`] for a call that is already encoded.
    #[inline]
    pub fn push_encoded(&mut self, db: usize, request: &[u8]) {
        if self.wants_calls() {
            self.stream.push_encoded(db, request);
        }
    }

    /// Propagates `words` instead of the current command. Called repeatedly, propagates all of them in order.
    #[inline]
    pub fn propagate(&mut self, db: usize, words: &[&[u8]]) {
        self.propagate_words(db, words.iter().map(|word| Word::Bytes(word)));
    }

    /// [`Journal::propagate`] for words that may be shared.
    #[inline]
    pub fn propagate_words<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        if self.wants_calls() {
            self.propagation = Propagation::Instead;
            self.stream.push(db, words);
        }
    }

    /// Propagates the current command to replicas alone: it changes no data.
    pub fn propagate_to_replicas<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        if self.wants_calls() {
            self.propagation = Propagation::Instead;
            self.stream.push_for_replicas(db, words);
        }
    }

    /// Does not propagate the current command, whatever it changes.
    #[inline]
    pub fn propagate_nothing(&mut self) {
        self.propagation = Propagation::Instead;
    }

    /// Propagates the current command even if it changes nothing.
    #[inline]
    pub fn propagate_always(&mut self) {
        self.propagation = Propagation::Forced;
    }
}
