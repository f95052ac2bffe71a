//! Loads a file into the keyspace, in slices, so that the event loop runs in between.
//!
//! The table of a database is sized at once for the number of keys that the file announces, as far as the file is long
//! enough for that many. Entries wait in a short queue before they are inserted: meanwhile their buckets arrive in the
//! cache.
//!
//! A slice ends after the element that exceeds its budget. A collection that is only partly read stays in the
//! loader, and is inserted when it is whole.
//!
//! Everything that may be large and is not inserted is freed in the background: values of expired keys, and what is left
//! when loading ends early.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;

use super::{Checksum, Fault, KeyHead, RdbError, Record, Records, Source};
use crate::db::Keyspace;
use crate::persist::rdb::Growing;
use crate::types::Entry;

/// The number of entries that wait for their buckets.
const AHEAD: usize = 16;

/// How a file is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Whether the checksum is verified (`rdbchecksum`).
    pub checksum: bool,
    /// Keys that expire before this time, in Unix milliseconds, are not loaded. `None`, for replicas and for the base
    /// of an append-only file, loads all. So does a file with a replication ID: replicas that continue with that ID have
    /// these keys, too, and delete them only if they get a `DEL`.
    pub drop_expired_before: Option<i64>,
    /// Whether a key replaces an existing one; otherwise that is an error.
    pub merge: bool,
}

/// The metadata of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The Redis version of its writer (`redis-ver`).
    pub redis_version: Option<Vec<u8>>,
    /// The time at which it was written, in Unix seconds (`ctime`).
    pub unix_seconds: Option<i64>,
    /// The memory that the data set took (`used-mem`).
    pub used_memory: Option<u64>,
    /// Whether it is the base of an append-only file (`aof-base`).
    pub aof_base: bool,
    /// The replication ID (`repl-id`).
    pub replication_id: Option<Vec<u8>>,
    /// The replication offset (`repl-offset`).
    pub replication_offset: Option<i64>,
    /// The database selected at that offset (`repl-stream-db`).
    pub replication_db: Option<i32>,
}

impl About {
    fn learn(&mut self, name: &[u8], value: Vec<u8>) {
        fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
            std::str::from_utf8(value).ok()?.parse().ok()
        }
        match name {
            b"redis-ver" => self.redis_version = Some(value),
            b"ctime" => self.unix_seconds = number(&value),
            b"used-mem" => self.used_memory = number(&value),
            b"aof-base" => self.aof_base = value == b"1",
            b"repl-id" => self.replication_id = Some(value),
            b"repl-offset" => self.replication_offset = number(&value),
            b"repl-stream-db" => self.replication_db = number(&value),
            // Other fields are informational.
            _ => {}
        }
    }
}

/// The results so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of keys loaded.
    pub keys: u64,
    /// The number of keys not loaded because they had expired.
    pub expired: u64,
    /// The number of keys not loaded because their values were empty.
    pub empty: u64,
    /// The number of skipped pieces of module data.
    pub skipped_module_data: u64,
    /// The sources of the libraries of functions.
    pub functions: Vec<Vec<u8>>,
    /// The metadata of the file.
    pub about: About,
    /// The result for the checksum; `None` before the end.
    pub checksum: Option<Checksum>,
}

/// Whether there is more to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to load.
    More,
    /// The file has been loaded.
    Done,
}

/// Loads a file.
pub struct Loader<R = File> {
    records: Records<R>,
    options: LoadOptions,
    db: usize,
    /// Entries of that database that have not been inserted yet, with the hashes of their keys.
    waiting: VecDeque<(u64, Entry)>,
    /// The value that the last slice has not finished.
    growing: Option<(KeyHead, Growing)>,
    report: Report,
}

impl Loader<File> {
    /// Opens a file at its current position.
    pub fn open(file: File, options: LoadOptions) -> Result<Self, RdbError> {
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        Loader::new(file, len, options)
    }
}

impl<R: Read> Loader<R> {
    /// Reads `from`, which has about `len` bytes (see [`Source::new`]).
    pub fn new(from: R, len: u64, options: LoadOptions) -> Result<Self, RdbError> {
        Ok(Loader::of_records(Records::open(Source::new(from, len), options.checksum)?, options))
    }

    /// Loads the records that have not been read yet.
    pub fn of_records(records: Records<R>, options: LoadOptions) -> Self {
        let waiting = VecDeque::with_capacity(AHEAD);
        Loader { records, options, db: 0, waiting, growing: None, report: Report::default() }
    }

    /// The number of bytes read so far.
    pub fn offset(&self) -> u64 {
        self.records.offset()
    }

    /// The file.
    pub fn input(&self) -> &R {
        self.records.input()
    }

    /// See [`Loader::input`].
    pub fn input_mut(&mut self) -> &mut R {
        self.records.input_mut()
    }

    /// The version of the format.
    pub fn version(&self) -> u16 {
        self.records.version()
    }

    /// The results so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the report, the bytes read beyond the end, and the file: an append-only file may begin with an RDB file.
    pub fn into_rest(self) -> (Report, Vec<u8>, R) {
        let (rest, from) = self.records.into_rest();
        (self.report, rest, from)
    }

    /// Loads about `budget_bytes` of the file. After an error, the part already loaded stays in the keyspace.
    pub fn load_some(&mut self, keyspace: &mut Keyspace, budget_bytes: u64) -> Result<Step, RdbError> {
        let until = self.offset().saturating_add(budget_bytes);
        let step = self.load_until(until, keyspace);
        if step.is_err() {
            self.abandon(keyspace);
        }
        step
    }

    /// Frees what is not in the keyspace yet, in the background if it is large. Called when loading ends
    /// before the file does.
    pub fn abandon(&mut self, keyspace: &mut Keyspace) {
        if let Some((_, growing)) = self.growing.take() {
            keyspace.discard(Some(Box::new(growing)));
        }
        for (_, entry) in self.waiting.drain(..) {
            keyspace.free(entry, false);
        }
    }

    fn load_until(&mut self, until: u64, keyspace: &mut Keyspace) -> Result<Step, RdbError> {
        if let Some((head, growing)) = self.growing.take() {
            self.grow(head, growing, until, keyspace)?;
        }
        // If that value is still not whole, the offset has reached `until`.
        while self.offset() < until {
            match self.records.next_record()? {
                Record::Key(head) => self.load_key(head, until, keyspace)?,
                other => {
                    self.insert_waiting(keyspace, 0)?;
                    if self.take(other, keyspace)? == Step::Done {
                        return Ok(Step::Done);
                    }
                }
            }
        }
        self.insert_waiting(keyspace, 0)?;
        Ok(Step::More)
    }

    fn take(&mut self, record: Record, keyspace: &mut Keyspace) -> Result<Step, RdbError> {
        match record {
            Record::Aux(name, value) => self.report.about.learn(&name, value),
            Record::Select(db) => match usize::try_from(db) {
                Ok(db) if db < keyspace.count() => self.db = db,
                _ => return Err(self.records.error(Fault::Database(db))),
            },
            Record::Resize(keys, _) => {
                let keys = self.records.reservable_keys(keys);
                keyspace.db_mut(self.db).reserve(keys);
            }
            Record::Function(source) => self.report.functions.push(source),
            Record::ModuleAux(_) => self.report.skipped_module_data += 1,
            Record::SlotInfo | Record::Key(_) => {}
            Record::End(checksum) => {
                self.report.checksum = Some(checksum);
                return Ok(Step::Done);
            }
        }
        Ok(Step::More)
    }

    #[inline]
    fn load_key(&mut self, head: KeyHead, until: u64, keyspace: &mut Keyspace) -> Result<(), RdbError> {
        match self.records.whole_value(&head, &keyspace.shapes) {
            Ok(Some(entry)) => self.take_entry(&head, entry, keyspace),
            Ok(None) => self.begin_to_grow(head, until, keyspace),
            Err(error) => self.take_error(error),
        }
    }

    #[inline(never)]
    fn begin_to_grow(&mut self, head: KeyHead, until: u64, keyspace: &mut Keyspace) -> Result<(), RdbError> {
        match self.records.begin_value(&head, &keyspace.shapes) {
            Ok(growing) => self.grow(head, growing, until, keyspace),
            Err(error) => self.take_error(error),
        }
    }

    /// Reads elements of a value up to the offset `until`.
    fn grow(
        &mut self,
        head: KeyHead,
        mut growing: Growing,
        until: u64,
        keyspace: &mut Keyspace,
    ) -> Result<(), RdbError> {
        let stepped = self.records.step_value(&head, &mut growing, until, &keyspace.shapes);
        if !matches!(stepped, Ok(true)) {
            self.growing = Some((head, growing));
            return stepped.map(|_| ());
        }
        match self.records.finish_value(&head, growing, &keyspace.shapes) {
            Ok(entry) => self.take_entry(&head, entry, keyspace),
            Err(error) => self.take_error(error),
        }
    }

    /// Counts an empty value; any other error ends loading.
    #[cold]
    fn take_error(&mut self, error: RdbError) -> Result<(), RdbError> {
        if !error.is_empty() {
            return Err(error);
        }
        self.report.empty += 1;
        Ok(())
    }

    #[inline(always)]
    fn take_entry(&mut self, head: &KeyHead, entry: Entry, keyspace: &mut Keyspace) -> Result<(), RdbError> {
        if let (Some(time), Some(before)) = (head.expire_at, self.options.drop_expired_before)
            && time < before
            && self.report.about.replication_id.is_none()
        {
            self.report.expired += 1;
            keyspace.free(entry, false);
            return Ok(());
        }
        entry.set_access(keyspace.access_of(head.idle_seconds, head.frequency));
        let hash = keyspace.hash(entry.key());
        keyspace.db(self.db).prefetch_bucket(hash);
        self.waiting.push_back((hash, entry));
        self.insert_waiting(keyspace, AHEAD - 1)
    }

    /// Inserts entries until at most `left` are waiting.
    #[inline]
    fn insert_waiting(&mut self, keyspace: &mut Keyspace, left: usize) -> Result<(), RdbError> {
        while self.waiting.len() > left {
            let Some((hash, entry)) = self.waiting.pop_front() else { break };
            match keyspace.load(self.db, hash, entry, self.options.merge) {
                Ok(()) => self.report.keys += 1,
                Err(entry) => {
                    let error = self.records.error(Fault::Duplicate(self.db));
                    let key = Some(entry.key().to_vec());
                    keyspace.free(entry, false);
                    return Err(RdbError { key, type_byte: None, ..error });
                }
            }
        }
        Ok(())
    }
}

/// Loads a whole file at once.
pub fn load(
    keyspace: &mut Keyspace,
    from: impl Read,
    len: u64,
    options: LoadOptions,
) -> Result<Report, RdbError> {
    let mut loader = Loader::new(from, len, options)?;
    while loader.load_some(keyspace, u64::MAX)? == Step::More {}
    Ok(loader.report)
}
