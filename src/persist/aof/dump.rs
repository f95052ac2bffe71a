//! Writes the data set as the commands that recreate it: the base of a log with `aof-use-rdb-preamble no`.
//!
//! ```text
//!  #TS:1700000000                              with `aof-timestamp-enabled`
//!  FUNCTION LOAD source                        for each library
//!  SELECT 0                                    for each database with keys, then for each key:
//!  SET | RPUSH | SADD | ZADD | HMSET           collections in groups of up to 64 elements
//!  HPEXPIREAT key time FIELDS 1 field          for each field that expires
//!  XADD …, XSETID, XGROUP, XCLAIM              a stream, its figures, groups, and what they have not acknowledged
//!  PEXPIREAT key time
//! ```
//!
//! These are the commands of Redis 7.2, in its order. Expired keys and fields are written like others, since only the
//! reader knows whether it may delete them. A pending entry that is no longer in its stream is lost when the commands
//! are executed, in Redis too: only an RDB file keeps it.
//!
//! The data set must not change meanwhile, so this runs in a forked child. Its only memory is one buffer; a large
//! argument goes straight from the value to the file.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::db::Keyspace;
use crate::persist::rdb::file::Progress;
use crate::resp::{Protocol, Reply};
use crate::text::number::{Decimal, push_f64};
use crate::types::hash::HashRef;
use crate::types::set::SetRef;
use crate::types::sorted_set::SortedSetRef;
use crate::types::stream::{Figures, Group, Id, Stream};
use crate::types::{Entry, Kind, Text, list};

/// The most elements of a collection in one command.
const GROUP: usize = 64;

/// The size at which the buffer is written.
const BUFFER: usize = 64 * 1024;

/// Arguments of at least this size are not copied into the buffer.
const LARGE: usize = 32 * 1024;

/// Writes the data set and `functions`, the sources of libraries, to `out`; `timestamp` is the time in Unix seconds if
/// the log contains times. Calls `progress` after each key. Returns the number of bytes.
///
/// Fails as soon as a write fails. O(N) in the size of the data set.
pub fn dump(
    keyspace: &Keyspace,
    functions: &[&[u8]],
    timestamp: Option<i64>,
    out: &mut impl Write,
    progress: &mut dyn FnMut(Progress<'_>),
) -> io::Result<u64> {
    let mut log = Log { out, buffer: Vec::with_capacity(2 * BUFFER), written: 0, left: 0, error: None };
    if let Some(seconds) = timestamp {
        log.buffer.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
    }
    for source in functions {
        log.command(&[b"FUNCTION", b"LOAD", source]);
    }
    let mut keys = 0;
    'all: for index in 0..keyspace.count() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        log.command(&[b"SELECT", Decimal::new(index as i64).as_bytes()]);
        for entry in db.entries() {
            log.entry(&entry);
            keys += 1;
            progress(Progress { keys, bytes: log.len(), entry: &entry });
            if log.error.is_some() {
                break 'all;
            }
        }
    }
    log.finish()
}

/// The output of commands. It keeps the first error of a write, and writes nothing after it.
struct Log<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    written: u64,
    /// Announced arguments that the current command still needs.
    left: usize,
    error: Option<io::Error>,
}

impl<W: Write> Log<'_, W> {
    /// Bytes written so far.
    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn reply(&mut self) -> Reply<'_> {
        Reply::new(&mut self.buffer, Protocol::Resp2)
    }

    /// Begins a command of `count` arguments.
    fn begin(&mut self, count: usize) {
        self.assert_complete();
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
        self.left = count;
        self.reply().array(count);
    }

    /// Checks that the last command has its announced number of arguments, unless an error ended it.
    fn assert_complete(&self) {
        assert!(self.left == 0 || self.error.is_some(), "{} arguments of a command are missing", self.left);
    }

    /// Counts an announced argument.
    #[inline]
    fn count_argument(&mut self) {
        self.left = self.left.checked_sub(1).expect("as many arguments as were announced");
    }

    #[inline]
    fn argument(&mut self, bytes: &[u8]) {
        self.count_argument();
        if bytes.len() >= LARGE {
            return self.large(bytes);
        }
        self.reply().bulk(bytes);
    }

    fn text(&mut self, text: Text<'_>) {
        match text {
            Text::Int(value) => self.integer(value),
            Text::Bytes(bytes) => self.argument(bytes),
        }
    }

    fn integer(&mut self, value: i64) {
        self.count_argument();
        self.reply().bulk_integer(value);
    }

    fn id(&mut self, id: Id) {
        self.argument(&id.to_text());
    }

    fn command(&mut self, words: &[&[u8]]) {
        self.begin(words.len());
        for word in words {
            self.argument(word);
        }
    }

    #[cold]
    fn large(&mut self, bytes: &[u8]) {
        self.reply().bulk_header(bytes.len());
        self.flush();
        self.write(bytes);
        self.buffer.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            match self.out.write_all(bytes) {
                Ok(()) => self.written += bytes.len() as u64,
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn finish(mut self) -> io::Result<u64> {
        self.assert_complete();
        self.flush();
        match self.error {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| self.written),
        }
    }

    /// Writes the commands that recreate a key.
    fn entry(&mut self, entry: &Entry) {
        let key = entry.key();
        match entry.kind() {
            Kind::String => {
                self.begin(3);
                self.argument(b"SET");
                self.argument(key);
                self.text(entry.value());
            }
            Kind::List => {
                let mut group = Groups::new(b"RPUSH", key, list::len(entry), 1);
                list::forwards(entry, 0, &mut |element| {
                    group.next(self);
                    self.text(element);
                    self.error.is_none()
                });
            }
            Kind::Set => {
                let set = SetRef::of(entry);
                let mut group = Groups::new(b"SADD", key, set.len(), 1);
                for member in set.members() {
                    group.next(self);
                    self.text(member);
                }
            }
            Kind::SortedSet => self.sorted_set(key, SortedSetRef::of(entry)),
            Kind::Hash => self.hash(key, HashRef::new(entry, i64::MIN)),
            Kind::Stream => {
                entry.container::<Stream>().into_iter().for_each(|stream| self.stream(key, stream));
            }
        }
        if let Some(time) = entry.expire_at() {
            self.command(&[b"PEXPIREAT", key, Decimal::new(time).as_bytes()]);
        }
    }

    fn sorted_set(&mut self, key: &[u8], set: SortedSetRef<'_>) {
        let mut group = Groups::new(b"ZADD", key, set.len(), 2);
        let mut digits = Vec::new();
        for (member, score) in set.iter() {
            group.next(self);
            digits.clear();
            push_f64(&mut digits, score);
            self.argument(&digits);
            self.text(member);
        }
    }

    fn hash(&mut self, key: &[u8], hash: HashRef<'_>) {
        let mut group = Groups::new(b"HMSET", key, hash.len(), 2);
        for item in hash.iter() {
            group.next(self);
            self.text(item.field);
            self.text(item.value);
        }
        for item in hash.iter() {
            let Some(time) = item.expire_at else { continue };
            self.begin(6);
            self.argument(b"HPEXPIREAT");
            self.argument(key);
            self.integer(time);
            self.argument(b"FIELDS");
            self.argument(b"1");
            self.text(item.field);
        }
    }

    /// Writes a stream with its groups. Only an existing entry can be made pending. So a deleted entry that is still
    /// pending is added first, and deleted after the groups. (Redis loses it.)
    fn stream(&mut self, key: &[u8], stream: &Stream) {
        let gone = pending_and_deleted(stream);
        if stream.is_empty() && gone.is_empty() {
            // Creates the stream by adding an entry and removing it again.
            self.command(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
        }
        let mut between = gone.iter().peekable();
        for record in stream.range(Id::MIN, Id::MAX) {
            while let Some(id) = between.next_if(|id| **id < record.id) {
                self.command(&[b"XADD", key, &id.to_text(), b"x", b"y"]);
            }
            self.begin(3 + 2 * record.len());
            self.argument(b"XADD");
            self.argument(key);
            self.id(record.id);
            for (field, value) in record.pairs() {
                self.text(field);
                self.text(value);
            }
        }
        for id in between {
            self.command(&[b"XADD", key, &id.to_text(), b"x", b"y"]);
        }
        let figures = stream.figures();
        let Some(last_gone) = gone.last() else {
            self.figures(key, figures);
            stream.groups().for_each(|group| self.group(key, group));
            return;
        };
        // XSETID refuses figures that contradict the temporary entries.
        let mut first = *figures;
        first.last_id = first.last_id.max(*last_gone);
        first.entries_added = first.entries_added.max(stream.len() + gone.len() as u64);
        self.figures(key, &first);
        stream.groups().for_each(|group| self.group(key, group));
        for id in &gone {
            self.command(&[b"XDEL", key, &id.to_text()]);
        }
        self.figures(key, figures);
    }

    fn figures(&mut self, key: &[u8], figures: &Figures) {
        self.begin(7);
        self.argument(b"XSETID");
        self.argument(key);
        self.id(figures.last_id);
        self.argument(b"ENTRIESADDED");
        self.integer(figures.entries_added as i64);
        self.argument(b"MAXDELETEDID");
        self.id(figures.max_deleted_id);
    }

    fn group(&mut self, key: &[u8], group: &Group) {
        self.begin(7);
        self.argument(b"XGROUP");
        self.argument(b"CREATE");
        self.argument(key);
        self.argument(group.name());
        self.id(group.last_id);
        self.argument(b"ENTRIESREAD");
        self.integer(group.entries_read_of_log());
        for consumer in group.consumers() {
            if consumer.pending().is_empty() {
                self.command(&[b"XGROUP", b"CREATECONSUMER", key, group.name(), consumer.name()]);
            }
            for id in consumer.pending() {
                let Some(delivery) = group.pending().get(id) else { continue };
                self.begin(12);
                self.argument(b"XCLAIM");
                self.argument(key);
                self.argument(group.name());
                self.argument(consumer.name());
                self.argument(b"0");
                self.id(*id);
                self.argument(b"TIME");
                self.integer(delivery.time);
                self.argument(b"RETRYCOUNT");
                self.integer(delivery.count as i64);
                self.argument(b"JUSTID");
                self.argument(b"FORCE");
            }
        }
    }
}

/// The deleted entries that are still pending in some group.
fn pending_and_deleted(stream: &Stream) -> BTreeSet<Id> {
    let pending = stream.groups().flat_map(|group| group.pending().keys().copied());
    pending.filter(|id| stream.get(*id).is_none()).collect()
}

/// Splits the elements of a collection into commands.
struct Groups<'a> {
    verb: &'a [u8],
    key: &'a [u8],
    /// Elements not written yet.
    left: usize,
    /// Arguments per element.
    width: usize,
    /// Elements that the current command still needs.
    here: usize,
}

impl<'a> Groups<'a> {
    fn new(verb: &'a [u8], key: &'a [u8], len: usize, width: usize) -> Self {
        Groups { verb, key, left: len, width, here: 0 }
    }

    /// Prepares for the next element, and begins a command if needed.
    #[inline]
    fn next<W: Write>(&mut self, log: &mut Log<'_, W>) {
        if self.here == 0 {
            self.here = self.left.min(GROUP);
            log.begin(2 + self.here * self.width);
            log.argument(self.verb);
            log.argument(self.key);
        }
        self.here -= 1;
        self.left = self.left.checked_sub(1).expect("as many elements as the collection says it has");
    }
}

#[cfg(test)]
mod tests;
