//! Loads the data set from a snapshot or an AOF, in slices between which clients are served.
//!
//! ```text
//!   begin_loading ─▶ files in order ─▶ load_slice, once an iteration ─▶ loaded: the log is opened, writes are served
//!                      snapshot, base     Loader::load_some                └─▶ or the process ends with a clear word
//!                      parts of a log     Reader::next_batch ─▶ prefetch ─▶ dispatch
//! ```
//!
//! Until loading is complete, only commands that the command table allows are executed; the others get `-LOADING`.
//! [`replay`] executes the commands of an AOF. Nothing expires meanwhile, since an AOF contains its own deletions.

mod received;
pub(in crate::server) mod replay;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use received::Place;
use received::Received;
use replay::{ReadOrRun, Skipped};

use super::Server;
use super::net::batch::{Batch, Rest};
use super::persistence::snapshots::Known;
use super::scripts::libraries::{Libraries, Terms};
use crate::command::Session;
use crate::command::acl::Rights;
use crate::db::Ticket;
use crate::persist::aof::{Manifest, ReadError, Reader, Tally};
use crate::persist::rdb::file::{self as rdb, Loader, Step};
use crate::replication::history::{Id, is_offset};
use crate::sys::{clock::Since, file};
use crate::text::words;

/// The length of a slice, during which clients wait.
const SLICE: Duration = Duration::from_millis(2);

/// Bytes of a snapshot that are loaded between two checks of the clock.
const CHUNK: u64 = 64 * 1024;

/// Time between two log lines about progress.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Why the data could not be loaded: the lines for the operator.
pub(super) struct LoadFailed(Vec<String>);

impl fmt::Display for LoadFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl From<String> for LoadFailed {
    fn from(line: String) -> Self {
        LoadFailed(vec![line])
    }
}

/// The source of the data.
enum Source {
    Snapshot,
    /// A snapshot that becomes the base file of a new AOF.
    FirstBase(Manifest),
    Log(Manifest),
    /// The snapshot of this server's primary, in a file.
    Primary,
    /// The same, while it is received.
    Link(Box<Received>),
}

/// The file being read.
enum Reading {
    Snapshot(Box<Loader>),
    Log(Box<Reader>),
}

/// Whether the data set is being loaded.
pub(super) enum LoadState {
    Idle,
    /// Loading is suspended, and clients are served.
    BetweenSlices(Box<Loading>),
    /// A slice of the data is being read.
    InSlice,
}

impl LoadState {
    /// Whether data is being loaded.
    pub fn is_active(&self) -> bool {
        !matches!(self, LoadState::Idle)
    }

    /// The state of loading, if it is suspended and clients are served.
    pub fn between_slices(&self) -> Option<&Loading> {
        match self {
            LoadState::BetweenSlices(loading) => Some(loading),
            LoadState::Idle | LoadState::InSlice => None,
        }
    }
}

/// The state of loading.
pub(super) struct Loading {
    source: Source,
    /// The files not yet opened.
    files: VecDeque<PathBuf>,
    current: Option<(PathBuf, Reading)>,
    /// The length of the current file.
    file_bytes: u64,
    /// Whether loaded keys replace existing ones (`DEBUG RELOAD MERGE`).
    merge: bool,
    /// Bytes of all files, and of the finished ones.
    pub total_bytes: u64,
    done_bytes: u64,
    /// The memory usage that the snapshot records.
    pub used_memory: u64,
    /// The replication ID and offset of a snapshot that has them.
    history: Option<(Id, i64)>,
    /// The database that the stream after the snapshot has selected.
    replication_db: i32,
    /// The replication ID and offset of a log.
    tally: Tally,
    /// When loading began, in Unix seconds.
    pub began_at: i64,
    began: Since,
    file_began: Since,
    told: Since,
    /// Keys and commands loaded so far, and by the last log line about progress.
    done: u64,
    told_done: u64,
    /// Loading begins when the old data has been freed (`replica-lazy-flush no`).
    after: Option<Ticket>,
    session: Session,
    /// The commands of the open transaction with their offsets in the file.
    transaction: Option<Vec<(u64, Rest)>>,
    /// How many commands of the AOF have failed.
    failed: u64,
    skipped: Option<Skipped>,
    batch: Batch,
    replies: Vec<u8>,
    /// The number of changes in the current unit before loading began.
    changes_before: usize,
    /// The changes since the last save before loading: loaded data does not count as changed.
    dirty: u64,
}

impl Loading {
    fn new(source: Source, files: VecDeque<PathBuf>, began_at: i64) -> Result<Loading, LoadFailed> {
        let mut total_bytes = 0;
        for path in &files {
            total_bytes += path.metadata().map_err(|error| cannot_open(path, &error))?.len();
        }
        Ok(Loading { files, ..Loading::of(source, total_bytes, began_at) })
    }

    /// Loads no files.
    fn of(source: Source, total_bytes: u64, began_at: i64) -> Loading {
        let now = Since::now();
        Loading {
            source,
            files: VecDeque::new(),
            current: None,
            file_bytes: 0,
            merge: false,
            total_bytes,
            done_bytes: 0,
            used_memory: 0,
            history: None,
            replication_db: 0,
            tally: Tally::default(),
            began_at,
            began: now,
            file_began: now,
            told: now,
            done: 0,
            told_done: 0,
            after: None,
            session: Session::new(0, Rights::SERVER),
            transaction: None,
            failed: 0,
            skipped: None,
            batch: Batch::default(),
            replies: Vec::new(),
            changes_before: 0,
            dirty: 0,
        }
    }

    /// Bytes that have been loaded.
    pub fn loaded_bytes(&self) -> u64 {
        let current = match &self.current {
            Some((_, Reading::Snapshot(loader))) => loader.offset(),
            Some((_, Reading::Log(reader))) => reader.offset(),
            None => 0,
        };
        self.done_bytes + current
    }

    /// The replication ID and offset of the loaded data, if they are known, and the database that the stream has
    /// selected there. Data that lacks changes of its log is not that of the stream. A replica's log has its stream's
    /// calls, so the session has selected the same database.
    fn place(&self) -> (Option<(Id, i64)>, i32) {
        if !matches!(self.source, Source::Log(_)) {
            return (self.history, self.replication_db);
        }
        let place = self.tally.place().filter(|_| self.failed == 0);
        let history = place.and_then(|place| history(&place.id, place.offset));
        (history, self.session.db as i32)
    }

    /// The estimated seconds left at the pace so far.
    pub fn seconds_left(&self) -> u64 {
        let loaded = self.loaded_bytes().max(1);
        let elapsed = self.began.elapsed().as_secs();
        let left = u128::from(elapsed) * u128::from(self.expected_bytes().saturating_sub(loaded))
            / u128::from(loaded);
        if elapsed == 0 { 1 } else { left as u64 }
    }

    /// The loaded share, in percent.
    pub fn percent(&self) -> f64 {
        let percent = self.loaded_bytes() as f64 / self.expected_bytes().max(1) as f64 * 100.0;
        if self.total_bytes == 0 { percent.min(99.99) } else { percent }
    }

    /// The bytes of all files. As in Redis, the memory usage that the snapshot records is the estimate for a snapshot of
    /// unknown length.
    fn expected_bytes(&self) -> u64 {
        if self.total_bytes == 0 { self.used_memory } else { self.total_bytes }
    }
}

/// The replication ID and offset of a file, if they are valid.
fn history(id: &[u8], offset: i64) -> Option<(Id, i64)> {
    Some((Id::parse(id)?, offset)).filter(|_| is_offset(offset))
}

/// The replication ID and offset of a snapshot that has them, and the database that the stream has selected there.
fn about(about: &rdb::LoadedAbout) -> (Option<(Id, i64)>, i32) {
    let place = about.replication_id.as_deref().zip(about.replication_offset);
    let history = place.and_then(|(id, offset)| history(id, offset));
    (history, about.replication_db.unwrap_or(0))
}

fn cannot_open(path: &Path, error: &io::Error) -> String {
    format!("Fatal error: can't open the file {} for reading: {}", path.display(), file::reason(error))
}

impl Server {
    /// At the start: begins to load the AOF if it is enabled, else the snapshot.
    pub(super) fn begin_loading(&mut self) -> Result<(), LoadFailed> {
        let began_at = self.unix_seconds();
        let loading = if self.core.config.appendonly {
            let manifest = self.find_log()?;
            let snapshot = self.core.config.dbfilename.as_path();
            if manifest.is_empty() && snapshot.exists() {
                let is_lost = !self.persistence.log.directory().files_without_manifest().is_empty();
                let why = if is_lost { "The AOF has no manifest" } else { "There is no AOF yet" };
                self.process.log.notice(format_args!(
                    "{why}: the first base of a new one is made from the snapshot {}",
                    snapshot.display()
                ));
                let files = VecDeque::from([snapshot.to_path_buf()]);
                Loading::new(Source::FirstBase(manifest), files, began_at)?
            } else {
                let directory = self.persistence.log.directory();
                let files = manifest.parts().map(|part| directory.part(part)).collect();
                Loading::new(Source::Log(manifest), files, began_at)?
            }
        } else {
            let found = self.read_manifest()?;
            self.persistence.log.remember(found.unwrap_or_default());
            let path = self.core.config.dbfilename.as_path();
            let files = if path.exists() { VecDeque::from([path.to_path_buf()]) } else { VecDeque::new() };
            Loading::new(Source::Snapshot, files, began_at)?
        };
        self.start_loading(loading);
        if self.loading.between_slices().is_some_and(|loading| loading.files.is_empty()) {
            self.load_slice();
        } else {
            self.process.tell_status(format_args!("Loading"));
        }
        Ok(())
    }

    /// Begins to load the snapshot from the primary, as soon as what has the ticket `after` is freed. The data set is
    /// empty. Clients never see that a small snapshot is being loaded, as in Redis: programs that make clusters ask a new
    /// replica for its nodes at once, and take an error for a node that disagrees.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn load_from_primary(&mut self, after: Option<Ticket>) -> Result<(), LoadFailed> {
        let path = self.core.config.dbfilename.as_path().to_path_buf();
        let mut loading = Loading::new(Source::Primary, VecDeque::from([path]), self.unix_seconds())?;
        loading.after = after;
        self.start_loading(loading);
        if !self.waits_to_load() {
            self.load_slice();
        }
        Ok(())
    }

    /// `DEBUG RELOAD`: loads the snapshot while all clients wait. Returns false after logging the failure.
    pub(super) fn reload_snapshot(&mut self, merge: bool) -> bool {
        let path = self.core.config.dbfilename.as_path().to_path_buf();
        let loading = Loading::new(Source::Snapshot, VecDeque::from([path]), self.unix_seconds());
        let loaded = loading.and_then(|mut loading| {
            loading.merge = merge;
            self.load_at_once(loading)
        });
        self.note_reloaded(&loaded)
    }

    /// `DEBUG LOADAOF`: loads the AOF while all clients wait. Returns false after logging the failure.
    pub(super) fn reload_log(&mut self) -> bool {
        let loaded = self.find_log().and_then(|manifest| {
            if manifest.is_empty() {
                return Err(String::from("There is no AOF to load").into());
            }
            let directory = self.persistence.log.directory();
            let files = manifest.parts().map(|part| directory.part(part)).collect();
            self.load_at_once(Loading::new(Source::Log(manifest), files, self.unix_seconds())?)
        });
        self.note_reloaded(&loaded)
    }

    fn note_reloaded(&self, loaded: &Result<(), LoadFailed>) -> bool {
        if let Err(LoadFailed(lines)) = loaded {
            for line in lines {
                self.process.log.warning(format_args!("{line}"));
            }
        }
        loaded.is_ok()
    }

    fn load_at_once(&mut self, mut loading: Loading) -> Result<(), LoadFailed> {
        self.loading = LoadState::InSlice;
        self.refresh_gate();
        loading.changes_before = self.core.keyspace.journal.changes_len();
        self.scripts.cache.keep_all(true);
        let outcome = self.load_for(&mut loading, Duration::MAX).map(drop);
        self.note_failures(&loading);
        self.end_loading();
        outcome
    }

    fn start_loading(&mut self, mut loading: Loading) {
        loading.dirty = self.core.keyspace.counters.dirty;
        self.scripts.cache.keep_all(true);
        self.loading = LoadState::BetweenSlices(Box::new(loading));
        self.refresh_gate();
    }

    /// Ends loading. Clears the journal of loaded calls, and lets listeners record changes again.
    fn end_loading(&mut self) {
        self.loading = LoadState::Idle;
        self.core.keyspace.journal.take_emptied();
        self.scripts.cache.keep_all(false);
        self.refresh_gate();
    }

    /// Finds the manifest of the AOF, or makes one for an AOF of a single file from before Redis 7.
    fn find_log(&self) -> Result<Manifest, LoadFailed> {
        let directory = self.persistence.log.directory();
        let found = self.read_manifest()?;
        let taken = directory.take_over(found.as_ref()).map_err(|error| error.to_string())?;
        let manifest = taken.or(found);
        if manifest.is_none() {
            let names = directory.files_without_manifest();
            if !names.is_empty() {
                self.process.log.warning(format_args!(
                    "WARNING: {} has AOF files, but not their manifest {}: they are neither loaded nor changed ({}). \
                     If they contain your data, stop the server and restore the manifest.",
                    directory.path().display(),
                    shown(&directory.manifest()),
                    names.join(", ")
                ));
            }
        }
        Ok(manifest.unwrap_or_default())
    }

    fn read_manifest(&self) -> Result<Option<Manifest>, LoadFailed> {
        let directory = self.persistence.log.directory();
        if !directory.path().is_dir() {
            return Ok(None);
        }
        Ok(directory.load().map_err(|error| error.to_string())?)
    }

    /// Whether the old data is being freed that must be gone before loading begins. The end of freeing wakes the loop.
    pub(super) fn waits_to_load(&self) -> bool {
        let after = self.loading.between_slices().and_then(|loading| loading.after);
        after.is_some_and(|ticket| !self.core.keyspace.lazy().wake_when_done(ticket))
    }

    /// Loads for one slice. Exits if that fails.
    pub(super) fn load_slice(&mut self) {
        let LoadState::BetweenSlices(mut loading) = std::mem::replace(&mut self.loading, LoadState::InSlice)
        else {
            unreachable!("a slice begins where the last one has ended")
        };
        let outcome = self.load_for(&mut loading, SLICE);
        match outcome {
            Ok(false) => self.loading = LoadState::BetweenSlices(loading),
            Ok(true) => {
                if let Err(failed) = self.loaded(*loading) {
                    self.die_of(&failed);
                }
            }
            Err(failed) if matches!(loading.source, Source::Primary) => {
                self.drop_data();
                self.end_loading();
                self.primary_load_failed(&failed, "disk");
                self.remove_received_snapshot();
            }
            Err(failed) if matches!(loading.source, Source::Link(_)) => {
                self.discard_received(*loading);
                self.primary_load_failed(&failed, "socket");
            }
            Err(failed) => self.die_of(&failed),
        }
    }

    pub(super) fn die_of(&mut self, failed: &LoadFailed) -> ! {
        let Some((last, before)) = failed.0.split_last() else { std::process::exit(1) };
        for line in before {
            self.process.fatal(format_args!("{line}"));
        }
        self.die(format_args!("{last}"))
    }

    /// Loads at least [`CHUNK`] bytes of the last file, then until `limit` is over. Returns whether loading is complete.
    fn load_for(&mut self, loading: &mut Loading, limit: Duration) -> Result<bool, LoadFailed> {
        if matches!(loading.source, Source::Link(_)) {
            return self.load_received(loading);
        }
        let began = Since::now();
        loop {
            if loading.current.is_none() && !self.open_next(loading)? {
                return Ok(true);
            }
            let is_last = loading.files.is_empty();
            let is_complete = self.load_some(loading)?;
            if is_complete {
                self.end_file(loading);
            }
            self.tell_progress(loading);
            if is_complete && is_last {
                return Ok(true);
            }
            if began.elapsed() >= limit {
                return Ok(false);
            }
        }
    }

    /// Opens the next file. Returns false if there is none.
    fn open_next(&self, loading: &mut Loading) -> Result<bool, LoadFailed> {
        let Some(path) = loading.files.pop_front() else { return Ok(false) };
        let open = || -> io::Result<(File, u64, bool)> {
            let (file, bytes) = file::open_regular(&path)?;
            let mut magic = [0; 8];
            let len = file.read_at(&mut magic, 0)?;
            let is_snapshot = rdb::is_signature(&magic[..len]);
            Ok((file, bytes, is_snapshot))
        };
        let (file, bytes, is_snapshot) = open().map_err(|error| cannot_open(&path, &error))?;
        let from_log = matches!(loading.source, Source::Log(_));
        // An open AOF and replicas (DEBUG RELOAD) have these keys, so their deletion must be propagated, too. The primary
        // deletes them by commands of the stream.
        let from_primary = matches!(loading.source, Source::Primary);
        let is_propagated = self.persistence.log.is_open() || self.replication.has_backlog;
        let drops_expired = !from_log && !from_primary && !is_propagated;
        let reading = if is_snapshot || !from_log {
            let options = rdb::LoadOptions {
                checksum: self.core.config.rdbchecksum && self.core.keyspace.verifies_checksums,
                drop_expired_before: drops_expired.then_some(self.core.keyspace.moment.unix_ms),
                merge: loading.merge,
            };
            let loader =
                Loader::open(file, options).map_err(|error| bad_snapshot(&path, from_log, &error))?;
            Reading::Snapshot(Box::new(loader))
        } else {
            Reading::Log(Box::new(Reader::new(file)))
        };
        loading.file_bytes = bytes;
        loading.file_began = Since::now();
        loading.current = Some((path, reading));
        Ok(true)
    }

    /// Loads a small part. Returns whether the file is complete.
    fn load_some(&mut self, loading: &mut Loading) -> Result<bool, LoadFailed> {
        let Some((path, reading)) = loading.current.take() else { return Ok(true) };
        match reading {
            Reading::Snapshot(mut loader) => {
                let from_log = matches!(loading.source, Source::Log(_));
                let step = loader.load_some(&mut self.core.keyspace, CHUNK);
                let step = step.map_err(|error| bad_snapshot(&path, from_log, &error))?;
                loading.done = loader.report().keys;
                loading.used_memory = loader.report().about.used_memory.unwrap_or(0);
                (loading.history, loading.replication_db) = about(&loader.report().about);
                if step == Step::More {
                    loading.current = Some((path, Reading::Snapshot(loader)));
                    return Ok(false);
                }
                let offset = loader.offset();
                let version = loader.version();
                let (report, rest, file) = loader.into_rest();
                if !from_log
                    && !loading.merge
                    && let Ok(found) = file.metadata()
                {
                    self.persistence.snapshots.known = Some(Known {
                        identity: file::Identity::of(&found),
                        keys: report.keys + report.expired,
                        loaded: report.keys,
                        version,
                    });
                }
                let mut libraries = std::mem::take(&mut self.libraries);
                let taken = self.take_report(report, loading.merge, &mut libraries);
                self.libraries = libraries;
                taken?;
                // In an AOF, commands may follow in the same file.
                loading.current = Some((path, Reading::Log(Box::new(Reader::after(file, rest, offset)))));
                Ok(!from_log)
            }
            Reading::Log(mut reader) => {
                let outcome = self.load_batch(loading, &path, &mut reader);
                let outcome = match outcome {
                    Ok(is_done) => Ok(is_done),
                    Err(ReadOrRun::Read(error)) => {
                        self.handle_bad_log(loading, &path, reader.valid_up_to(), error)
                    }
                    Err(ReadOrRun::Run(failed)) => Err(failed),
                };
                loading.current = Some((path, Reading::Log(reader)));
                outcome
            }
        }
    }

    /// Loads the function libraries of a snapshot into `libraries`. With `replace` they replace existing ones of the same
    /// names.
    fn take_report(
        &mut self,
        report: rdb::Report,
        replace: bool,
        libraries: &mut Libraries,
    ) -> Result<(), LoadFailed> {
        let snapshots = &mut self.persistence.snapshots;
        (snapshots.loaded_keys, snapshots.expired_keys) = (report.keys, report.expired);
        let log = &self.process.log;
        let terms = Terms { limit: None, log: &|level, line| log.script(level, line) };
        for source in report.functions {
            libraries.load(&source, replace, &terms).map_err(|error| {
                let why = error.text().strip_prefix(b"ERR ").unwrap_or(error.text());
                format!("Failed loading library, {}", String::from_utf8_lossy(why))
            })?;
        }
        log.notice(format_args!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
            report.keys, report.expired, report.empty
        ));
        Ok(())
    }

    /// Finishes the current file.
    fn end_file(&mut self, loading: &mut Loading) {
        let Some((path, _)) = loading.current.take() else { return };
        loading.done_bytes += loading.file_bytes;
        if let Source::Log(manifest) = &loading.source {
            let is_base = manifest.base.as_ref().is_some_and(|base| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes() == base.name)
            });
            let kind = if is_base { "base" } else { "incr" };
            self.process.log.notice(format_args!(
                "DB loaded from {kind} file {}: {:.3} seconds",
                path.file_name().unwrap_or_default().display(),
                loading.file_began.elapsed().as_secs_f64()
            ));
        }
    }

    /// The command line that truncates the AOF at its first error.
    fn fix_log(&self) -> String {
        let manifest = self.persistence.log.directory().manifest();
        format!("redstart check-aof --fix {}", words::shell(manifest.as_os_str().as_encoded_bytes()))
    }

    /// Handles an AOF that cannot be read to its end. If its last file merely ends too early, truncates it there if
    /// `aof-load-truncated` allows that. All before `whole` is complete.
    fn handle_bad_log(
        &mut self,
        loading: &mut Loading,
        path: &Path,
        whole: u64,
        error: ReadError,
    ) -> Result<bool, LoadFailed> {
        let shown = shown(path);
        let valid_up_to = match error {
            ReadError::Truncated { valid_up_to } => valid_up_to,
            // The file was not written from here on; the transaction that this belongs to is incomplete.
            ReadError::Malformed { offset, .. } if ends_unwritten(path, offset).unwrap_or(false) => {
                offset.min(whole)
            }
            ReadError::Malformed { offset, what } => {
                let remedy = if loading.files.is_empty() {
                    format!(
                        "make a backup of your AOF file, then use {}, which cuts it there",
                        self.fix_log()
                    )
                } else {
                    RESTORE.to_owned()
                };
                return Err(LoadFailed(vec![
                    format!("The append only file {shown} is valid up to offset {offset}: {what}"),
                    format!("Bad file format reading the append only file {shown}: {remedy}"),
                ]));
            }
            ReadError::Io(error) => {
                let why = file::reason(&error);
                return Err(format!("Unrecoverable error reading the append only file {shown}: {why}").into());
            }
        };
        if !loading.files.is_empty() {
            return Err(LoadFailed(vec![
                format!("The append only file {shown} is valid up to offset {valid_up_to}, where it ends"),
                format!("Fatal error: the truncated file is not the last file; {RESTORE}"),
            ]));
        }
        if !self.core.config.aof_load_truncated {
            return Err(LoadFailed(vec![
                format!("The append only file {shown} is valid up to offset {valid_up_to}, where it ends"),
                format!(
                    "Unexpected end of file reading the append only file {shown}. You can: 1) Make a backup of your AOF \
                     file, then use {}. 2) Alternatively you can set the 'aof-load-truncated' configuration option to yes \
                     and restart the server.",
                    self.fix_log()
                ),
            ]));
        }
        let log = &self.process.log;
        if loading.transaction.take().is_some() {
            log.warning(format_args!("Revert incomplete MULTI/EXEC transaction in AOF file {shown}"));
        }
        log.warning(format_args!("!!! Warning: short read while loading the AOF file {shown}!!!"));
        log.warning(format_args!("!!! Truncating the AOF {shown} at offset {valid_up_to} !!!"));
        let cut = File::options().write(true).open(path).and_then(|file| {
            file.set_len(valid_up_to)?;
            file.sync_all()
        });
        cut.map_err(|error| format!("Error truncating the AOF file {shown}: {}", file::reason(&error)))?;
        log.warning(format_args!("AOF {shown} loaded anyway because aof-load-truncated is enabled"));
        Ok(true)
    }

    fn tell_progress(&self, loading: &mut Loading) {
        self.process.tell_working();
        let passed = loading.told.elapsed();
        if passed < TELL_EVERY {
            return;
        }
        let what = if matches!(loading.current, Some((_, Reading::Log(_)))) { "commands" } else { "keys" };
        let pace = loading.done.saturating_sub(loading.told_done) as f64 / passed.as_secs_f64();
        self.process.log.notice(format_args!(
            "Loading: {:.1}% of {} bytes, {} {what}, {pace:.0} {what}/s",
            loading.percent(),
            loading.total_bytes,
            loading.done
        ));
        self.process.tell_status(format_args!("Loading: {:.1}%", loading.percent()));
        (loading.told, loading.told_done) = (Since::now(), loading.done);
    }

    /// Finishes loading: writes are allowed again.
    fn loaded(&mut self, loading: Loading) -> Result<(), LoadFailed> {
        self.note_failures(&loading);
        if matches!(loading.source, Source::Link(_)) {
            self.received_loaded(loading);
            return Ok(());
        }
        self.core.keyspace.counters.dirty = loading.dirty;
        let seconds = loading.began.elapsed().as_secs_f64();
        let (history, db) = loading.place();
        match loading.source {
            Source::Snapshot if loading.total_bytes == 0 => {}
            Source::Snapshot => {
                self.process.log.notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
                self.resume_history(history, db);
            }
            // Until the manifest is written, a restart again finds a snapshot without an AOF.
            Source::FirstBase(manifest) => {
                self.process.log.notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
                self.resume_history(history, db);
                self.open_log(manifest)?;
            }
            Source::Log(manifest) => {
                if !manifest.is_empty() {
                    self.process
                        .log
                        .notice(format_args!("DB loaded from append only file: {seconds:.3} seconds"));
                }
                self.resume_history(history, db);
                self.open_log(manifest)?;
            }
            Source::Primary => {
                self.end_loading();
                self.remove_received_snapshot();
                let db = usize::try_from(db).unwrap_or(0);
                self.primary_loaded(db.min(self.core.keyspace.count() - 1));
                return Ok(());
            }
            Source::Link(_) => unreachable!("it has been handled"),
        }
        self.end_loading();
        self.adopt_loaded_slots();
        self.follow_configured(history.is_some());
        self.process.announce_ready(&self.core.config);
        Ok(())
    }

    /// Opens the AOF after it was loaded. An AOF without files gets a base, the empty data set.
    fn open_log(&mut self, mut manifest: Manifest) -> Result<(), LoadFailed> {
        let is_new = manifest.is_empty();
        if is_new {
            let is_rdb = self.core.config.aof_use_rdb_preamble;
            let write = |path: &Path| self.write_base(path, is_rdb, &mut |_| self.process.tell_working());
            let made = self.persistence.log.make_base(&manifest, is_rdb, write);
            manifest = made.map_err(|error| error.to_string())?;
            self.process.log.notice(format_args!("Creating AOF base file on server start"));
        }
        let opened = self.persistence.log.open(manifest, self.core.keyspace.journal.stream_mut());
        opened.map_err(|error| LoadFailed::from(error.to_string()))?;
        if is_new && self.replication.has_backlog && self.core.config.replicaof.0.is_some() {
            // The primary's stream need not contain a `SELECT` next.
            self.persistence.log.select(self.replication.resumed_db, &self.replication.history);
        }
        self.remove_history();
        self.persistence.rewrites.base_size = self.persistence.log.bytes();
        Ok(())
    }
}

/// The remedy if a damaged file is not the last one.
const RESTORE: &str = "truncating it would lose the files after it: restore the AOF from a backup";

/// The name of a file, for messages.
fn shown(path: &Path) -> std::path::Display<'_> {
    Path::new(path.file_name().unwrap_or_default()).display()
}

/// Whether an AOF contains, from `offset` on, only the beginning of a command and then zero bytes: a power failure can
/// leave a file longer than its written part. A complete AOF ends with a line feed.
fn ends_unwritten(path: &Path, offset: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let full = end;
    let mut chunk = vec![0; 64 * 1024];
    while end > offset {
        let len = chunk.len().min((end - offset) as usize);
        let chunk = &mut chunk[..len];
        file.read_exact_at(chunk, end - len as u64)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            end = end - len as u64 + last as u64 + 1;
            break;
        }
        end -= len as u64;
    }
    file.seek(SeekFrom::Start(offset))?;
    let begun = Reader::new(file.take(end - offset)).next_batch(1).map(|batch| batch.is_empty());
    Ok(end < full && matches!(begun, Ok(true) | Err(ReadError::Truncated { .. })))
}

fn bad_snapshot(path: &Path, from_log: bool, error: &rdb::RdbError) -> LoadFailed {
    let shown = shown(path);
    let mut lines = vec![format!("{error} (file {shown})")];
    if matches!(error.fault, rdb::Fault::Signature) {
        lines.push(format!("{shown} is not an RDB file: it does not begin with REDIS and a version"));
    } else if !matches!(error.fault, rdb::Fault::Io(_)) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let path = words::shell(path.as_os_str().as_encoded_bytes());
        lines.push(format!(
            "redstart check-rdb {path} reports what can be read of it; restore it from a backup"
        ));
    }
    if from_log {
        lines.push(format!("Error reading the RDB preamble of the AOF file {shown}, AOF loading aborted"));
    } else {
        lines.push("Fatal error loading the DB, check server logs. Exiting.".into());
    }
    LoadFailed(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_ends_with_zero_bytes_was_not_written_to_its_end() {
        let path = std::env::temp_dir().join(format!("redstart-unwritten-{}", std::process::id()));
        let whole = b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n";
        let at = whole.len() as u64;
        let judge = |tail: &[u8]| {
            std::fs::write(&path, [whole, tail].concat()).expect("written");
            ends_unwritten(&path, at).expect("read")
        };
        assert!(judge(&[0; 5000]));
        assert!(judge(&[&b"*2\r\n$3\r\nDEL\r\n$1"[..], &vec![0; 200_000]].concat()));
        assert!(judge(&[&b"*2\r\n$3\r\nDEL\r\n$5\r\nab"[..], &[0; 70]].concat()));
        assert!(!judge(b"*2\r\n$3\r\nDEL\r\n$1"), "it ends early, but has no zero byte");
        assert!(!judge(&[&b"*2\r\n$3\r\nDEL\r\nXX"[..], &[0; 70]].concat()), "damage comes before them");
        assert!(!judge(&[&[0; 70][..], whole].concat()), "something comes after them");
        std::fs::remove_file(&path).expect("removed");
    }
}
