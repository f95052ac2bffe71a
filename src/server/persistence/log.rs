//! The log (AOF): every change in the order in which it was made, written before its reply is sent.
//!
//! ```text
//!   units ─▶ stream ─▶ append (one write an iteration) ─▶ file of the newest part ─▶ sync, by `appendfsync`
//!              ▲          └─ failed: the log's cursor stays, and the next append begins there
//!              └─ cursor: the end of the part of the stream that has been written
//! ```
//!
//! | `appendfsync` | synced | what a power failure loses |
//! |---|---|---|
//! | `always` | after each append, before the replies; a failure ends the process | nothing acknowledged |
//! | `everysec` | a second after the last sync, by the [`Syncer`]'s thread | at most two seconds |
//! | `no` | when the kernel decides | whatever the kernel has not written |
//!
//! A process that is killed loses nothing acknowledged under any of them, since the kernel has the bytes. That is why
//! an append, unlike in Redis, does not wait for a sync in progress: a sync that takes longer than two seconds is
//! counted (`aof_delayed_fsync`), and no other sync begins meanwhile.
//!
//! While the server has replicas or a primary, the log has the replication ID and offset, too, as annotations. A lone
//! server pays a comparison per append for this.
//!
//! Each write of an append ends at the end of a call. If the disk accepts only a part, that part is truncated again, so
//! the file always ends with a whole call.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::annotations::Annotations;
use crate::db::{Cursor, ForLog, Stream};
use crate::persist::aof::{Directory, DirectoryError, Manifest, Note};
use crate::persist::syncer::Syncer;
use crate::replication::history::History;
use crate::sys::{disk, file};

/// Time between two syncs by `everysec`.
const SYNC_EVERY_US: u64 = 1_000_000;

/// When this many bytes are unwritten, they should be appended before the iteration ends.
const LARGE: u64 = 1 << 20;

/// A sync that takes longer is counted as delayed.
const SYNC_PATIENCE_US: u64 = 2_000_000;

/// The shortest time between two lines with an offset that no call follows: each is a write, and a stream of `PUBLISH`
/// would fill the log with them.
const NOTE_EVERY_US: u64 = 100_000;

/// The state of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no log.
    Off,
    /// Every change is appended.
    On,
    /// It was switched on at run time: changes are appended to a part that becomes valid when the first base has been
    /// written.
    Beginning,
}

/// When a log is synced: `appendfsync`.
pub use crate::config::AppendFsync as Policy;

/// The result of [`Log::sync_if_due`].
#[derive(Debug)]
pub enum Synced {
    /// Nothing was to be done, or a sync was requested.
    Fine,
    /// A sync is done; only with [`Policy::Always`].
    Done,
    /// The last sync has been taking longer than two seconds.
    Late,
    /// The sync failed; only with [`Policy::Always`].
    Failed(io::Error),
}

/// The file operation of the log that failed, and why.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DirectoryError> for Failed {
    fn from(error: DirectoryError) -> Failed {
        Failed(error.to_string())
    }
}

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |error| Failed(format!("can't {what} {}: {}", path.display(), file::reason(&error)))
}

/// Waits for syncs begun under another policy: bytes after theirs are not durable before these syncs are done.
#[inline]
fn finish_syncs(syncer: &mut Syncer) -> io::Result<()> {
    if syncer.is_syncing() {
        syncer.drain();
        return syncer.last_error().map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)));
    }
    Ok(())
}

/// The newest part.
struct Part {
    file: Arc<File>,
    /// The position in the stream up to which it has been appended.
    reader: Cursor,
}

/// See the module's head.
pub struct Log {
    state: State,
    directory: Directory,
    manifest: Manifest,
    part: Option<Part>,
    /// The length of the newest part, which ends with a whole call.
    part_bytes: u64,
    /// Bytes of all parts.
    bytes: u64,
    annotations: Annotations,
    /// The state of the stream's history that the log has, or that `annotations` has for it: see [`History::changes`].
    noted: Option<u64>,
    /// When a line with an offset was last written without a call.
    noted_us: u64,
    /// The end of the stream at the latest append, whether that succeeded or not.
    offered: u64,
    /// The `errno` of the latest append, if it failed.
    refusal: Option<i32>,
    syncer: Syncer,
    /// The offset up to which the stream has been appended.
    appended: u64,
    /// The offset up to which a sync by the event loop, or a rewrite, has made the stream durable.
    synced: u64,
    /// The last known [`Log::synced_offset`]; kept while a failed sync of the thread is unrepaired.
    certain: u64,
    /// The values of `appended` and of the thread's failed syncs when the latest rewrite began.
    rewrite: (u64, u64),
    /// The number of the thread's failed syncs that a later rewrite has repaired.
    mended: u64,
    /// Whether the newest part is from a failed rewrite: the next rewrite may reuse it if it has no calls.
    spare: bool,
    /// Whether calls were appended to the newest part, or are to be appended.
    has_calls: bool,
    /// Whether calls were added since the last complete append.
    adds_calls: bool,
    /// Whether the newest part has bytes for which no sync has been requested.
    unsynced: bool,
    /// When the last sync was requested.
    synced_us: u64,
    /// The number of the thread's failed syncs that have been handled.
    forgiven: u64,
    /// Whether the sync in progress has been counted as late.
    counted_late: bool,
    /// Syncs that took too long since the start.
    pub delayed_syncs: u64,
}

impl Log {
    /// Creates a log that is off, for the files of `directory`, synced by `syncer`.
    pub fn new(directory: Directory, syncer: Syncer) -> Log {
        Log {
            state: State::Off,
            directory,
            manifest: Manifest::default(),
            part: None,
            part_bytes: 0,
            bytes: 0,
            annotations: Annotations::default(),
            noted: None,
            noted_us: 0,
            offered: 0,
            refusal: None,
            syncer,
            appended: 0,
            synced: 0,
            certain: 0,
            rewrite: (0, 0),
            mended: 0,
            spare: false,
            has_calls: false,
            adds_calls: false,
            unsynced: false,
            synced_us: 0,
            forgiven: 0,
            counted_late: false,
            delayed_syncs: 0,
        }
    }

    /// Whether there is a log.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether propagated calls are appended to it.
    pub fn is_open(&self) -> bool {
        self.part.is_some()
    }

    /// Returns its files.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether the thread is running a sync.
    pub fn is_syncing(&self) -> bool {
        self.syncer.is_syncing()
    }

    /// The number of syncs requested of the thread that are not done.
    pub fn pending_syncs(&self) -> u64 {
        self.syncer.pending_syncs()
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of bytes that wait to be appended.
    pub fn unwritten(&self, stream: &Stream) -> u64 {
        match &self.part {
            // Other insertions precede calls, so they are not written before there are calls.
            Some(part) => match (stream.unread(&part.reader), stream.only_for_log() as u64) {
                (0, 0) if !self.annotations.owes() => 0,
                (unread, apart) => unread + apart + self.annotations.len() as u64,
            },
            None => 0,
        }
    }

    /// Whether propagated calls should be appended before the iteration ends.
    #[inline]
    pub fn has_much_to_append(&self, stream: &Stream) -> bool {
        self.part.is_some() && stream.settled() - self.offered >= LARGE
    }

    /// Returns the error of the last append or sync; `None` if it succeeded, or if the log is off.
    pub fn error(&self) -> Option<io::Error> {
        if self.state == State::Off {
            return None;
        }
        self.refusal.or(self.syncer.last_error()).map(io::Error::from_raw_os_error)
    }

    /// The offset of the stream up to which the AOF is certainly on disk; `None` while the AOF is off or its
    /// first base is being written.
    ///
    /// After a failed sync of the thread the offset stays until a rewrite has written all data again: the kernel may
    /// have dropped the pages that it could not write, and later syncs would succeed without them.
    pub fn synced_offset(&mut self) -> Option<u64> {
        if self.state != State::On {
            return None;
        }
        if self.syncer.failures() == self.mended {
            self.certain = self.synced.max(self.syncer.synced_up_to());
        }
        Some(self.certain)
    }

    /// Sets whether each sync of the thread wakes the event loop.
    pub fn wake_when_synced(&self, wanted: bool) {
        self.syncer.wake_when_synced(wanted);
    }

    /// Whether an append has something to write. `history` is that of the stream, if it has one.
    #[inline]
    pub fn is_append_due(&self, stream: &Stream, history: Option<&History>, now_us: u64) -> bool {
        self.unwritten(stream) > 0
            || self.part.is_some() && self.noted != history.map(History::changes)
            || self.annotations.ends_with_offset() && now_us.saturating_sub(self.noted_us) >= NOTE_EVERY_US
    }

    /// Whether calls have not been written, rather than annotations alone.
    pub fn owes_calls(&self, stream: &Stream) -> bool {
        self.part.as_ref().is_some_and(|part| stream.unread(&part.reader) > 0)
            || stream.only_for_log() > 0
            || self.annotations.has_calls()
    }

    /// Appends the unread part of the stream, whose history is `history`. `annotate` is the time (Unix seconds) of the
    /// calls since the last append, if the log contains times. Does nothing without a log.
    ///
    /// # Errors
    /// The write failed. The stream keeps the bytes that were not written, and the next append retries them.
    pub fn append(
        &mut self,
        stream: &mut Stream,
        annotate: Option<i64>,
        history: Option<&History>,
        now_us: u64,
    ) -> io::Result<()> {
        if self.part.is_none() {
            return Ok(());
        }
        self.offer(stream, annotate, history);
        if self.annotations.ends_with_offset() && now_us.saturating_sub(self.noted_us) >= NOTE_EVERY_US {
            self.annotations.owe();
            self.noted_us = now_us;
        }
        self.write(stream)
    }

    /// Adds the differences of the stream to the annotations, up to its end.
    fn offer(&mut self, stream: &mut Stream, annotate: Option<i64>, history: Option<&History>) {
        if self.noted != history.map(History::changes) {
            self.note(history);
        }
        if let Some(second) = annotate
            && (stream.settled() > self.offered || stream.only_for_log() > 0)
        {
            self.annotations.annotate(self.offered, second);
        }
        let mut of_calls = stream.settled() - self.offered;
        for difference in stream.take_for_log() {
            match &difference {
                ForLog::LeftOut(range) => of_calls -= range.end - range.start,
                ForLog::Inserted(_, calls) => of_calls += calls.len() as u64,
            }
            self.annotations.differ(difference, history);
        }
        self.adds_calls |= of_calls > 0;
        self.has_calls |= of_calls > 0;
        self.offered = stream.settled();
    }

    /// Notes the ID and the offset where the last append has ended. A later change of the ID may have been made after
    /// further calls, but they belong to the new ID as well.
    fn note(&mut self, history: Option<&History>) {
        match history {
            Some(history) => {
                let (id, offset) = (history.id(), history.offset(self.offered));
                self.annotations.note(self.offered, &Note::Place(id.as_str(), offset));
            }
            None => self.annotations.note(self.offered, &Note::End),
        }
        self.noted = history.map(History::changes);
    }

    /// Writes what was offered.
    fn write(&mut self, stream: &mut Stream) -> io::Result<()> {
        let Some(part) = &mut self.part else { return Ok(()) };
        let from = part.reader.offset();
        let mut slices = self.annotations.merge(from, stream.pieces(&part.reader));
        if slices.is_empty() {
            let unwritten = stream.unread(&part.reader);
            stream.advance(&mut part.reader, self.annotations.take(from, 0, from + unwritten));
            self.appended = part.reader.offset();
            return Ok(());
        }
        let length: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let appended = disk::append(&part.file, &mut slices);
        let mut taken = appended.bytes;
        self.refusal = appended.error.as_ref().map(disk::error_number);
        if appended.error.is_some() && taken > 0 && part.file.set_len(self.part_bytes).is_ok() {
            taken = 0;
        }
        assert!(taken <= length, "the disk takes {taken} bytes of {length}");
        assert!(taken == length || appended.error.is_some(), "an append without an error is a whole one");
        stream.advance(&mut part.reader, self.annotations.take(from, taken, self.offered));
        self.appended = part.reader.offset();
        self.part_bytes += taken;
        self.bytes += taken;
        let Some(error) = appended.error else {
            assert!(self.appended == self.offered, "an append without an error takes all that was offered");
            // Annotations alone are synced with the next calls.
            self.unsynced |= std::mem::take(&mut self.adds_calls);
            return Ok(());
        };
        self.unsynced |= taken > 0;
        Err(error)
    }

    /// Ends the noted history, since another program may append calls next: those are not in the stream. The next append
    /// notes it again. Everything in the stream must have been appended.
    ///
    /// # Errors
    /// The write failed.
    pub fn end_history(&mut self, stream: &mut Stream) -> io::Result<()> {
        if self.part.is_none() || self.noted.is_none() {
            return Ok(());
        }
        assert!(self.offered == stream.settled(), "everything was appended, if the disk took it");
        self.annotations.owe();
        self.note(None);
        self.write(stream)
    }

    /// Syncs the appended bytes, or requests a sync, if `policy` makes one due.
    pub fn sync_if_due(&mut self, policy: Policy, now_us: u64) -> Synced {
        let Some(Part { file, .. }) = self.part.as_ref().filter(|_| self.unsynced) else {
            return Synced::Fine;
        };
        match policy {
            Policy::Always => {
                let outcome = finish_syncs(&mut self.syncer).and_then(|()| disk::sync_data(file));
                self.unsynced = outcome.is_err();
                self.synced_us = now_us;
                if outcome.is_ok() {
                    self.synced = self.appended;
                }
                outcome.map_or_else(Synced::Failed, |()| Synced::Done)
            }
            Policy::Everysec if now_us.saturating_sub(self.synced_us) < SYNC_EVERY_US => Synced::Fine,
            Policy::Everysec if !self.syncer.is_syncing() => {
                self.syncer.request_sync(Arc::clone(file), self.appended);
                (self.unsynced, self.synced_us, self.counted_late) = (false, now_us, false);
                Synced::Fine
            }
            Policy::Everysec
                if !self.counted_late && now_us.saturating_sub(self.synced_us) > SYNC_PATIENCE_US =>
            {
                self.counted_late = true;
                self.delayed_syncs += 1;
                Synced::Late
            }
            Policy::Everysec | Policy::No => Synced::Fine,
        }
    }

    /// Retries once a second after a sync by the thread has failed. Until a sync succeeds, writes are refused, so there
    /// may be nothing new to sync. Returns true when one has succeeded. The kernel may have dropped the pages that it
    /// could not write, and stopped reporting the error, so then all data has to be written to new files, by a rewrite.
    pub fn recovers_from_failed_sync(&mut self, now_us: u64) -> bool {
        let has_failed = self.syncer.failures() != self.forgiven;
        if !has_failed || self.syncer.is_syncing() {
            return false;
        }
        if self.syncer.last_error().is_none() {
            self.forgiven = self.syncer.failures();
            return true;
        }
        if let Some(part) =
            self.part.as_ref().filter(|_| now_us.saturating_sub(self.synced_us) >= SYNC_EVERY_US)
        {
            self.syncer.request_sync(Arc::clone(&part.file), self.appended);
            self.synced_us = now_us;
        }
        false
    }

    /// Syncs everything appended, whatever the policy is.
    pub fn sync_now(&mut self) -> io::Result<()> {
        if let Some(part) = &self.part {
            finish_syncs(&mut self.syncer)?;
            disk::sync_data(&part.file)?;
            (self.unsynced, self.synced) = (false, self.appended);
        }
        Ok(())
    }

    /// Opens the files of a log that has just been loaded, which `manifest` names. `stream` is appended to its newest
    /// part.
    pub fn open(&mut self, mut manifest: Manifest, stream: &mut Stream) -> Result<(), Failed> {
        if manifest.last_incremental().is_none() {
            manifest = self.directory.with_new_incremental(&manifest);
        }
        let newest = manifest.last_incremental().expect("there is one by now");
        let path = self.directory.part(newest);
        let (file, bytes) = disk::open_append(&path).map_err(failed("open", &path))?;
        if self.directory.load()?.as_ref() == Some(&manifest) {
            // Writes nothing, so that a server starts on a full disk.
            self.directory.sync()?;
        } else {
            self.directory.persist(&manifest)?;
        }
        self.read_into(file, stream);
        self.part_bytes = bytes;
        self.take_manifest(manifest)?;
        self.state = State::On;
        Ok(())
    }

    /// Keeps the manifest of a log that is switched off: files written later follow its files.
    pub fn remember(&mut self, manifest: Manifest) {
        self.manifest = manifest;
    }

    /// Writes the base of a log that has none, using `write`; returns `manifest` with the base.
    pub fn make_base(
        &self,
        manifest: &Manifest,
        is_rdb: bool,
        write: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Manifest, Failed> {
        self.directory.create()?;
        let manifest = self.directory.with_new_base(manifest, is_rdb, false);
        let base = manifest.base.as_ref().expect("just added");
        write(&self.directory.part(base)).map_err(Failed)?;
        Ok(manifest)
    }

    /// Begins a part for the calls after the snapshot that a rewrite makes: `stream` is appended to it from now on.
    /// While the log is beginning, no manifest names the part until [`Log::finish_rewrite`].
    ///
    /// The previous part must be complete and on disk before a manifest names another part after it: a loader accepts a
    /// torn end only in the last part. So this waits for the disk, which the new manifest requires anyway. If `policy`
    /// does not promise durability, the thread makes the new name durable before it syncs anything of the new part.
    ///
    /// Does nothing without a log: then a rewrite only writes a base. If a failed rewrite has left a part without calls,
    /// that part is reused, so that failing rewrites do not fill the disk with empty files.
    ///
    /// # Errors
    /// A file cannot be created or synced, or calls could not be appended yet: the snapshot would contain them, and so
    /// would the part after it.
    pub fn begin_part(&mut self, stream: &mut Stream, policy: Policy) -> Result<(), Failed> {
        let manifest = match self.state {
            State::Off => return Ok(self.directory.create()?),
            State::On if self.spare && !self.has_calls && self.unwritten(stream) == 0 => {
                self.rewrite = (self.appended, self.syncer.failures());
                return Ok(());
            }
            State::On if self.unwritten(stream) > 0 => {
                return Err(Failed("earlier commands could not be written to the AOF yet".into()));
            }
            State::On => Some(self.manifest.with_new_incremental(self.directory.file())),
            State::Beginning => None,
        };
        let newest = manifest.as_ref().and_then(Manifest::last_incremental).cloned();
        let path = match &newest {
            Some(part) => self.directory.part(part),
            None => self.directory.temporary_incremental(),
        };
        self.directory.create()?;
        let (file, _) = disk::open_append(&path).map_err(failed("open", &path))?;
        // Content of an earlier attempt must not precede the calls appended now.
        file.set_len(0).map_err(failed("empty", &path))?;
        if let Some(manifest) = manifest {
            self.name_part(manifest, policy).inspect_err(|_| {
                // The new manifest may be in place although syncing it failed.
                let found = self.directory.load().map(Option::unwrap_or_default);
                if found.is_ok_and(|found| newest.is_some_and(|part| !found.names(&part))) {
                    let _ = fs::remove_file(&path);
                }
            })?;
        } else {
            self.bytes = 0;
        }
        if let Some(old) = self.read_into(file, stream) {
            self.let_go(old);
        }
        (self.part_bytes, self.unsynced, self.spare) = (0, false, false);
        self.rewrite = (self.appended, self.syncer.failures());
        Ok(())
    }

    /// Begins a new part with a `SELECT` of this database, for a stream that does not contain one: that of a primary,
    /// which has this history. Does nothing if the part has its beginning.
    pub fn select(&mut self, db: usize, history: &History) {
        if self.part.is_some() && self.noted.is_none() {
            self.note(Some(history));
            let db = db.to_string();
            let call = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len());
            self.annotations.differ(ForLog::Inserted(self.offered, call.into_bytes()), Some(history));
        }
    }

    /// Appends the stream to `file` from now on. Returns the previous file.
    fn read_into(&mut self, file: File, stream: &mut Stream) -> Option<Arc<File>> {
        let reader = stream.begin_reader();
        (self.appended, self.offered) = (reader.offset(), reader.offset());
        self.annotations.clear();
        (self.noted, self.has_calls, self.adds_calls) = (None, false, false);
        stream.note_for_log(false);
        stream.note_for_log(true);
        let old = self.part.replace(Part { file: Arc::new(file), reader })?;
        stream.end_reader(old.reader);
        Some(old.file)
    }

    /// Completes the last part, and replaces the manifest with one that names a new part.
    fn name_part(&mut self, manifest: Manifest, policy: Policy) -> Result<(), Failed> {
        self.complete_part()?;
        if policy == Policy::Always {
            self.directory.persist(&manifest)?;
        } else {
            let directory = self.directory.persist_unsynced(&manifest)?;
            self.syncer.request_directory_sync(directory);
        }
        self.manifest = manifest;
        Ok(())
    }

    /// Records that a rewrite has failed after [`Log::begin_part`].
    pub fn rewrite_failed(&mut self) {
        self.spare = self.state == State::On;
    }

    /// Syncs the newest part, so that another part can follow it: see [`Log::begin_part`].
    fn complete_part(&mut self) -> Result<(), Failed> {
        if let Some(part) = &self.part {
            disk::sync_data(&part.file).map_err(|error| {
                Failed(format!("can't sync the previous AOF part: {}", file::reason(&error)))
            })?;
            (self.unsynced, self.synced) = (false, self.appended);
        }
        Ok(())
    }

    /// Closes a completed part, after a sync if it has unsynced bytes.
    fn let_go(&mut self, file: Arc<File>) {
        if self.unsynced {
            self.syncer.request_sync(file, self.appended);
        } else if let Ok(file) = Arc::try_unwrap(file) {
            self.syncer.close_later(file);
        }
    }

    /// Switches the log on, as soon as a child can write its first base.
    pub fn begin(&mut self) {
        self.state = State::Beginning;
    }

    /// Replaces all parts except the newest with `base`, a temporary file that a rewrite has written and synced. The
    /// old files become history ([`Log::remove_history`]).
    pub fn finish_rewrite(&mut self, base: &Path, is_rdb: bool) -> Result<(), Failed> {
        self.spare = false;
        let begins = self.state == State::Beginning;
        let keeps_last = self.state == State::On;
        let mut manifest = self.directory.with_new_base(&self.manifest, is_rdb, keeps_last);
        let path = self.directory.part(manifest.base.as_ref().expect("just added"));
        // `persist` makes the names durable before the manifest with them.
        fs::rename(base, &path).map_err(failed("rename the new base to", &path))?;
        if begins {
            manifest = self.directory.with_new_incremental(&manifest);
            let path = self.directory.part(manifest.last_incremental().expect("just added"));
            fs::rename(self.directory.temporary_incremental(), &path)
                .map_err(failed("rename the first part to", &path))?;
        }
        self.directory.persist(&manifest)?;
        if begins {
            self.state = State::On;
        }
        let (appended, failures) = self.rewrite;
        (self.synced, self.mended) = (self.synced.max(appended), failures);
        self.take_manifest(manifest)
    }

    fn take_manifest(&mut self, manifest: Manifest) -> Result<(), Failed> {
        let bytes = self.directory.total_size(&manifest);
        self.manifest = manifest;
        self.bytes = bytes?;
        Ok(())
    }

    /// Removes the files that a rewrite has superseded. Their blocks are freed in the background, and only after the
    /// manifest was synced: while a file system frees gigabytes (`discard`), a sync has to wait.
    pub fn remove_history(&mut self) -> Result<(), Failed> {
        if self.manifest.history.is_empty() {
            return Ok(());
        }
        let mut deleted = Vec::new();
        let removed = self.manifest.history.iter().try_for_each(|part| {
            deleted.extend(self.directory.delete(part)?);
            Ok(())
        });
        let persisted = removed.and_then(|()| {
            self.manifest = self.manifest.without_history();
            self.directory.persist_shorter(&self.manifest)
        });
        for file in deleted {
            self.syncer.close_later(file);
        }
        Ok(persisted?)
    }

    /// Switches the log off: nothing more is appended. Its files stay.
    pub fn close(&mut self, stream: &mut Stream) {
        if let Some(part) = self.part.take() {
            stream.end_reader(part.reader);
            stream.note_for_log(false);
            self.let_go(part.file);
        }
        if self.state == State::Beginning {
            let _ = fs::remove_file(self.directory.temporary_incremental());
        }
        self.state = State::Off;
        self.annotations.clear();
        self.noted = None;
        self.refusal = None;
        self.unsynced = false;
    }
}
