//! Writes the whole data set to a file.
//!
//! The writer reads a keyspace that does not change: that of a forked child, or that of a server that does nothing else
//! meanwhile. It allocates its buffer, and nothing per key. It prefetches the entries of the next bucket while it
//! writes one. Syncing to the disk is the responsibility of the `io::Write`.

use std::io::{self, Write};

use super::super::{Encoder, older};
use super::output::Output;
use super::{SIGNATURE, opcode};
use crate::db::{AccessPolicy, Keyspace};
use crate::persist::rdb::{LATEST, VERSION};
use crate::types::{Entry, Text};

/// The earliest version that the file's readers know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// That of Redis 7.0. Data that it cannot store is dropped: see the module's head.
    Ten,
    /// That of Redis 7.2, or 12, that of 7.4, if the data set needs it.
    #[default]
    Eleven,
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub struct SaveOptions {
    /// Whether long strings are compressed (`rdbcompression`).
    pub compress: bool,
    /// Whether the file ends with a checksum (`rdbchecksum`).
    pub checksum: bool,
    /// Whether to write the seconds since each key was used: if `maxmemory-policy` evicts keys by them. The counters of
    /// a policy that evicts by frequency are always written.
    pub idle_times: bool,
    /// Whether to write the keys.
    pub keys: bool,
    /// The version.
    pub version: Version,
}

impl Default for SaveOptions {
    fn default() -> Self {
        SaveOptions {
            compress: true,
            checksum: true,
            idle_times: false,
            keys: true,
            version: Version::Eleven,
        }
    }
}

/// The data set's position in a replication stream.
#[derive(Clone, Copy, Debug)]
pub struct Replication<'a> {
    /// The replication ID.
    pub id: &'a str,
    /// The replication offset.
    pub offset: i64,
    /// The database selected at that offset.
    pub db: i32,
}

/// The metadata of a file, and its contents besides the keys.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The Redis version with which the writer is compatible.
    pub redis_version: &'a str,
    /// The time of the data set, in Unix seconds.
    pub unix_seconds: i64,
    /// The memory that the data set took.
    pub used_memory: u64,
    /// Whether the file is the base of an append-only file.
    pub aof_base: bool,
    /// The position in a replication stream, if there is one.
    pub replication: Option<Replication<'a>>,
    /// The sources of the libraries of functions.
    pub functions: &'a [&'a [u8]],
}

/// The progress after a key was written.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    /// The number of keys written.
    pub keys: u64,
    /// The number of bytes written, including the buffer.
    pub bytes: u64,
    /// The key's entry, which the writer does not read again.
    pub entry: &'a Entry,
}

/// Writes `keyspace` to `out` and returns the number of bytes. Calls `progress` after each key. Fails as soon as a
/// write fails. O(N) in the size of the data set.
pub fn save(
    keyspace: &Keyspace,
    about: &About<'_>,
    options: &SaveOptions,
    out: &mut impl Write,
    progress: &mut dyn FnMut(Progress<'_>),
) -> io::Result<u64> {
    let version = match options.version {
        Version::Ten => older::TEN,
        Version::Eleven if options.keys && has_expiring_fields(keyspace) => LATEST,
        Version::Eleven => VERSION,
    };
    let mut output = Output::new(out, options.checksum);
    let mut writer = Writer {
        out: Encoder::new(&mut output, options.compress),
        keyspace,
        options,
        version,
        keys: 0,
        empty: 0,
    };
    writer.head(about);
    let databases = if options.keys { keyspace.count() } else { 0 };
    for db in 0..databases {
        if !writer.database(db, progress) {
            break;
        }
    }
    writer.out.raw(&[opcode::EOF]);
    output.finish()
}

fn has_expiring_fields(keyspace: &Keyspace) -> bool {
    (0..keyspace.count()).any(|db| keyspace.db(db).expiring_hashes() > 0)
}

struct Writer<'a, 'o, W> {
    out: Encoder<'o, Output<'a, W>>,
    keyspace: &'o Keyspace,
    options: &'o SaveOptions,
    version: u16,
    keys: u64,
    /// The number of keys omitted because the version cannot store their contents.
    empty: u64,
}

impl<W: Write> Writer<'_, '_, W> {
    /// Writes everything before the keys.
    fn head(&mut self, about: &About<'_>) {
        self.out.raw(SIGNATURE);
        self.out.raw(format!("{:04}", self.version).as_bytes());
        self.about("redis-ver", Text::Bytes(about.redis_version.as_bytes()));
        self.about("redis-bits", Text::Int(usize::BITS.into()));
        self.about("ctime", Text::Int(about.unix_seconds));
        self.about("used-mem", Text::Int(about.used_memory as i64));
        if let Some(replication) = about.replication {
            self.about("repl-stream-db", Text::Int(replication.db.into()));
            self.about("repl-id", Text::Bytes(replication.id.as_bytes()));
            self.about("repl-offset", Text::Int(replication.offset));
        }
        self.about("aof-base", Text::Int(about.aof_base.into()));
        for source in about.functions {
            self.out.raw(&[opcode::FUNCTION2]);
            self.out.string(source);
        }
    }

    fn about(&mut self, name: &str, value: Text<'_>) {
        self.out.raw(&[opcode::AUX]);
        self.out.string(name.as_bytes());
        self.out.text(value);
    }

    /// Writes database `index`, unless it is empty. Returns whether all writes so far succeeded.
    fn database(&mut self, index: usize, progress: &mut dyn FnMut(Progress<'_>)) -> bool {
        let db = self.keyspace.db(index);
        if db.is_empty() {
            return true;
        }
        self.out.raw(&[opcode::SELECTDB]);
        self.out.length(index as u64);
        self.out.raw(&[opcode::RESIZEDB]);
        self.out.length(db.len() as u64);
        self.out.length(db.expires().len() as u64);
        assert!(db.expires().len() <= db.len(), "a key that expires is a key");
        let before = self.keys + self.empty;
        for entry in db.entries() {
            self.entry(&entry);
            let bytes = self.out.sink().len();
            progress(Progress { keys: self.keys, bytes, entry: &entry });
            if self.out.sink().has_failed() {
                return false;
            }
        }
        let seen = self.keys + self.empty - before;
        assert!(seen == db.len() as u64, "{} keys are announced, and {seen} were there", db.len());
        true
    }

    #[inline]
    fn entry(&mut self, entry: &Entry) {
        let form = older::Form::of(entry, self.version, self.keyspace.moment.unix_ms);
        if form.is_empty() {
            self.empty += 1;
            return;
        }
        if let Some(time) = entry.expire_at() {
            self.out.raw(&[opcode::EXPIRETIME_MS]);
            self.out.raw(&time.to_le_bytes());
        }
        let clock = self.keyspace.moment.clock;
        match self.keyspace.access_policy {
            AccessPolicy::Lfu(lfu) => self.out.raw(&[opcode::FREQ, lfu.counter(entry.access(), clock)]),
            AccessPolicy::Lru if self.options.idle_times => {
                self.out.raw(&[opcode::IDLE]);
                self.out.length(clock.idle_seconds(entry.access()).into());
            }
            AccessPolicy::Lru => {}
        }
        self.out.raw(&[form.type_byte()]);
        self.out.string(entry.key());
        form.save(&mut self.out);
        self.keys += 1;
    }
}
