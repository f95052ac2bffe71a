//! The context of a keyspace command: the databases, its session, the reply, the configuration.

use crate::command::acl::Users;
use crate::command::args::Args;
use crate::command::error::{Result, WRONG_TYPE};
use crate::command::origin::Origin;
use crate::command::session::Session;
use crate::command::waiting::{Blocked, Parking, Wait};
use crate::config::Config;
use crate::db::{Access, Db, Event, Key, Keyspace, Position, Removal, Word};
use crate::resp::Reply;
use crate::types::block::Block;
use crate::types::{Entry, Kind, Text};

/// Values of at least this many bytes are not copied into the reply but sent from where they are.
pub const ZERO_COPY_BYTES: usize = 32 * 1024;

/// A value to send before byte `at` of the output buffer.
pub struct Splice {
    /// Position in the output buffer.
    pub at: usize,
    /// The value.
    pub block: Block,
}

/// The command's view of the server.
pub struct Context<'a> {
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The origin of the call.
    pub origin: Origin,
    /// The connection.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// Large values of the reply, which are not copied; `None` if the caller needs all bytes in one buffer.
    pub splices: Option<&'a mut Vec<Splice>>,
    /// The configuration.
    pub config: &'a Config,
    /// The users and their permissions.
    pub users: &'a mut Users,
    /// The hash of the request's first key, 0 if it has none.
    pub hash: u64,
    /// The place to register a wait; `None` if the command must not block (in a transaction or a script).
    pub wait: Option<&'a mut Option<Box<Parking>>>,
}

impl Context<'_> {
    /// The selected database.
    #[inline]
    pub fn db(&self) -> &Db {
        self.keyspace.db(self.session.db)
    }

    /// The moment at which this command executes, Unix milliseconds.
    #[inline]
    pub fn now(&self) -> i64 {
        self.keyspace.moment.unix_ms
    }

    /// The request's first key, whose hash has been computed already.
    #[inline]
    pub fn first_key<'k>(&self, name: &'k [u8]) -> Key<'k> {
        debug_assert_eq!(self.hash, self.keyspace.hash(name), "not the first key of the request");
        Key { db: self.session.db, hash: self.hash, name }
    }

    /// A key of the selected database.
    #[inline]
    pub fn key<'k>(&self, name: &'k [u8]) -> Key<'k> {
        self.keyspace.key(self.session.db, name)
    }

    /// The longest string that a command may make, in bytes: `proto-max-bulk-len`. Calls of the AOF or a primary have
    /// no limit, since the directive may have been larger when they were first executed.
    #[inline]
    pub fn longest_string(&self) -> u64 {
        if self.origin.must_obey() { u64::MAX } else { self.config.proto_max_bulk_len }
    }

    /// Finds a key.
    #[inline(always)]
    pub fn find(&mut self, key: Key<'_>, access: Access) -> Option<Position> {
        let access = if self.session.flags.no_touch { access.without_touch() } else { access };
        self.keyspace.find(key, access)
    }

    /// Finds a key. If it exists but its value is not of `kind`, the result is [`WRONG_TYPE`].
    #[inline(always)]
    pub fn find_kind(&mut self, key: Key<'_>, access: Access, kind: Kind) -> Result<Option<Position>> {
        let Some(at) = self.find(key, access) else { return Ok(None) };
        if self.keyspace.db(key.db).get(at).kind() == kind { Ok(Some(at)) } else { Err(WRONG_TYPE) }
    }

    /// Adds an entry under `key`, which is not there.
    #[inline]
    pub fn insert(&mut self, key: Key<'_>, entry: Entry) -> Position {
        self.keyspace.insert(key, entry)
    }

    /// Deletes `key`, whose entry is at `at`.
    pub fn remove(&mut self, key: Key<'_>, at: Position, reason: Removal) {
        self.keyspace.remove(key, at, reason);
    }

    /// Sets or removes the expiry of `key`, whose entry is at `at`.
    pub fn set_expiry(&mut self, key: Key<'_>, at: Position, expire_at: Option<i64>) {
        self.keyspace.set_expiry(key, at, expire_at);
    }

    /// The length of the output at which this reply alone exceeds its client's hard limit. Most replies are bounded by
    /// the size of the data; a command whose reply is not stops at this length and calls [`Context::end_beyond`].
    pub fn output_bound(&self) -> usize {
        match self.config.client_output_buffer_limit.of(self.session.flags.subscribed).hard {
            hard if hard > 0 && self.splices.is_some() => self.reply.buf.len().saturating_add(hard as usize),
            _ => usize::MAX,
        }
    }

    /// Closes the client if the output has grown beyond `bound`.
    pub fn end_beyond(&mut self, bound: usize) {
        self.session.flags.close_now |= self.reply.buf.len() > bound;
    }

    /// Declares that `count` changes were made to `key`, see [`Keyspace::changed`].
    #[inline]
    pub fn changed(&mut self, key: Key<'_>, event: Event, count: u64) {
        self.keyspace.changed(key, event, count);
    }

    /// Declares that `count` elements were removed from the collection of `key`, which is at `at`, and deletes the key if
    /// none is left (`is_empty`).
    #[inline]
    pub fn removed(&mut self, key: Key<'_>, at: Position, event: Event, count: usize, is_empty: bool) {
        match count {
            0 => self.unchanged(),
            _ => self.changed(key, event, count as u64),
        }
        if is_empty {
            self.remove(key, at, Removal::Emptied);
        }
    }

    /// Removes elements from the collection of `key`, if it was `found`, and replies with their number. `remove` returns
    /// that, and whether no element is left.
    #[inline]
    pub fn remove_elements(
        &mut self,
        key: Key<'_>,
        found: Option<Position>,
        event: Event,
        remove: impl FnOnce(&mut Keyspace, Position) -> (usize, bool),
    ) -> Result {
        let mut count = 0;
        if let Some(at) = found {
            let (removed, is_empty) = remove(self.keyspace, at);
            self.removed(key, at, event, removed, is_empty);
            count = removed;
        }
        self.reply.integer(count as i64);
        Ok(())
    }

    /// Declares that a value was opened for writing but was not changed.
    #[inline]
    pub fn unchanged(&mut self) {
        self.keyspace.unchanged();
    }

    /// Whether calls are recorded for an AOF or replicas, so that [`Context::propagate`] needs the words.
    #[inline]
    pub fn propagates(&self) -> bool {
        self.keyspace.journal.wants_calls()
    }

    /// Propagates `words` instead of the command as it was called. Called repeatedly, propagates all of them in order.
    #[inline]
    pub fn propagate(&mut self, words: &[&[u8]]) {
        self.keyspace.journal.propagate(self.session.db, words);
    }

    /// Propagates the command with some arguments replaced: `others` has their indices and the new words.
    pub fn propagate_with(&mut self, args: Args<'_>, others: &[(usize, Vec<u8>)]) {
        let words = (0..args.len()).map(|index| match others.iter().find(|(other, _)| *other == index) {
            Some((_, value)) => Word::Bytes(value),
            None => args.word(index),
        });
        self.keyspace.journal.propagate_words(self.session.db, words);
    }

    /// Prevents propagation of the command, whatever it changes.
    #[inline]
    pub fn propagate_nothing(&mut self) {
        self.keyspace.journal.propagate_nothing();
    }

    /// Makes the client wait: it is parked, and the command is executed again when one of the keys has changed. Where
    /// waiting is not allowed, replies with null instead.
    pub fn wait_for(&mut self, wait: Wait) {
        match &mut self.wait {
            Some(place) => {
                **place = Some(Box::new(Parking::Keys(wait)));
                self.session.blocked = Some(Blocked::Keys);
            }
            None => wait.null.reply(&mut self.reply),
        }
    }

    /// Replies with `OK` as soon as the background thread has freed everything that was sent to it. Returns false where
    /// nothing may wait; then the reply is still to be written.
    pub fn reply_when_freed(&mut self) -> bool {
        let Some(place) = &mut self.wait else { return false };
        **place = Some(Box::new(Parking::Freed(self.keyspace.lazy().latest())));
        self.session.blocked = Some(Blocked::Freeing);
        true
    }

    /// Replies with the string at `at`, without a copy when it is large. Returns false, without a reply, if the value is
    /// not a string.
    #[inline]
    pub fn reply_string(&mut self, at: Position) -> bool {
        let entry = self.keyspace.db(self.session.db).get(at);
        if entry.kind() != Kind::String {
            return false;
        }
        match entry.value() {
            Text::Bytes(bytes) if bytes.len() >= ZERO_COPY_BYTES => {
                let Some(splices) = &mut self.splices else {
                    self.reply.bulk(bytes);
                    return true;
                };
                let block = entry.block().expect("a large string lies in a block").share();
                self.reply.bulk_header(bytes.len());
                splices.push(Splice { at: self.reply.buf.len(), block });
                self.reply.buf.extend_from_slice(b"\r\n");
            }
            text => self.reply.text(text),
        }
        true
    }
}

/// How many keys are hashed and prefetched together: as many misses as a processor core keeps in flight.
const GROUP: usize = 16;

impl Context<'_> {
    /// Calls `visit` with every `step`th argument from `first` on, which are keys of the selected database: with the
    /// index of the argument and the key. The buckets and entries of a group of keys are prefetched together, so a
    /// command with many keys waits for memory once a group instead of twice a key.
    pub fn for_each_key<'a>(
        &mut self,
        args: Args<'a>,
        first: usize,
        step: usize,
        mut visit: impl FnMut(&mut Self, usize, Key<'a>),
    ) {
        let db = self.session.db;
        let mut hashes = [0; GROUP];
        let mut from = first;
        let tag = if first < args.len() { self.keyspace.hasher().tag(args.get(first)) } else { None };
        while from < args.len() {
            let count = (args.len() - from).div_ceil(step).min(GROUP);
            let group = &mut hashes[..count];
            for (i, hash) in group.iter_mut().enumerate() {
                *hash = self.keyspace.hasher().hash_tagged(args.get(from + i * step), tag);
            }
            self.db().prefetch_group(group, tag.is_some());
            for (i, &hash) in group.iter().enumerate() {
                let index = from + i * step;
                visit(self, index, Key { db, hash, name: args.get(index) });
            }
            from += count * step;
        }
    }
}
