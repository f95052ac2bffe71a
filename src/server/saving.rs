//! Snapshots and AOF rewrites: when one starts, the work of its child, and the handling of its result.
//!
//! ```text
//!   parent   fork ──────────────────────────────▶ poll ─▶ snapshot_ended, rewrite_ended
//!   child     └─▶ write a temporary file, sync it ─▶ snapshot: rename it ─▶ exit
//! ```
//!
//! The child sees the data as it was at the fork. The child itself renames a finished snapshot to `dbfilename`. The
//! parent adds the base that a rewrite has written to the AOF, for which it began a new incremental file before the
//! fork.

use std::fs;
use std::io::{self, BufWriter, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::core::used_memory;
use super::persistence::job::{Ended, Job, Work};
use super::persistence::log::State;
use super::persistence::snapshots::Kept;
use super::process::child;
use super::{Server, durability, syncing};
use crate::command::REDIS_VERSION;
use crate::config::ShutdownOptions;
use crate::db::Garbage;
use crate::persist::aof;
use crate::persist::rdb::LATEST;
use crate::persist::rdb::file as rdb;
use crate::replication::peer::Filter;
use crate::sys::fork::{self, Exit, Forked, Link, Role};
use crate::sys::{disk, file};

/// The exit status of a child that has saved a snapshot and kept the old one under another name.
const HAS_KEPT: i32 = 2;

/// Bytes per write of a child to a pipe.
const PIPE_BUFFER: usize = 64 << 10;

/// Megabytes, for the log.
const MB: u64 = 1 << 20;

impl Server {
    /// `SAVE`: writes a snapshot while all clients wait. Logs errors.
    pub(super) fn save_snapshot(&mut self) -> Result<(), ()> {
        let path = temporary_snapshot();
        let saved = self.write_snapshot(&path, &mut |_| self.process.tell_working());
        match saved {
            Ok(kept) => {
                self.process.log.notice(format_args!("DB saved on disk"));
                self.core.keyspace.counters.dirty = 0;
                self.persistence.snapshots.for_replicas = None;
                self.persistence.snapshots.saved(self.unix_seconds());
                self.note_snapshot(&self.snapshot_path(), self.count_keys(), kept);
                self.refresh_gate();
                Ok(())
            }
            Err(why) => {
                self.process.log.warning(format_args!("{why}"));
                Err(())
            }
        }
    }

    /// Forks a child that writes a snapshot. Logs errors; a scheduled snapshot then remains scheduled.
    pub(super) fn begin_snapshot(&mut self) -> Result<(), ()> {
        self.persistence.snapshots.last_try = self.unix_seconds();
        match self.fork_for(Work::Snapshot, true, None) {
            Ok(pid) => {
                self.persistence.snapshots.saves += 1;
                self.persistence.snapshots.scheduled = false;
                self.persistence.snapshots.for_replicas = None;
                self.process.log.notice(format_args!("Background saving started by pid {pid}"));
                Ok(())
            }
            Err(error) => {
                let why = file::reason(&error);
                self.process.log.warning(format_args!("Can't save in background: fork: {why}"));
                self.persistence.snapshots.succeeded = false;
                self.refresh_gate();
                Err(())
            }
        }
    }

    /// Begins a new file of the AOF, and forks a child that writes a base from all data before it. Logs errors; a
    /// scheduled rewrite then remains scheduled.
    pub(super) fn begin_rewrite(&mut self) -> Result<(), ()> {
        self.write_whole_log();
        let stream = self.core.keyspace.journal.stream_mut();
        let begun = self.persistence.log.begin_part(stream, self.core.config.appendfsync);
        let forked =
            begun.map_err(|error| format!("Can't begin a new part of the AOF: {error}")).and_then(|()| {
                if self.replication.upstream.is_some() {
                    // A replica's stream is its primary's, so the new file needs its own `SELECT`.
                    self.persistence.log.select(self.replication_db(), &self.replication.history);
                }
                self.refresh_gate();
                let is_rdb = self.core.config.aof_use_rdb_preamble;
                let failed = |error: io::Error| {
                    format!("Can't rewrite append only file in background: fork: {}", file::reason(&error))
                };
                self.fork_for(Work::Rewrite, is_rdb, None).map_err(failed).inspect_err(|_| {
                    self.persistence.log.rewrite_failed();
                })
            });
        match forked {
            Ok(pid) => {
                self.persistence.rewrites.begun += 1;
                self.persistence.rewrites.scheduled = false;
                self.process
                    .log
                    .notice(format_args!("Background append only file rewriting started by pid {pid}"));
                Ok(())
            }
            Err(why) => {
                self.process.log.warning(format_args!("{why}"));
                self.persistence.rewrites.succeeded = false;
                self.persistence.rewrites.failures += 1;
                Err(())
            }
        }
    }

    /// Forks a child that does `work`; a [`Work::Transfer`] writes to `pipe`.
    pub(super) fn fork_for(&mut self, work: Work, is_rdb: bool, pipe: Option<PipeWriter>) -> io::Result<i32> {
        let keys = self.count_keys();
        let mut role = self.process.child_role(
            &self.core.config,
            match work {
                Work::Snapshot => child::Work::Save,
                Work::Rewrite => child::Work::Rewrite,
                Work::Transfer => child::Work::Transfer,
            },
        );
        role.keep.extend(pipe.as_ref().map(AsRawFd::as_raw_fd));
        let (forked, took_us) = fork::fork()?;
        match forked {
            Forked::Child(link) => self.be_child(link, &role, work, is_rdb, pipe),
            Forked::Parent(child) => {
                let pid = child.pid();
                self.core.keyspace.share_memory(true);
                self.core.note_latency("fork", took_us);
                self.persistence.last_fork_us = took_us;
                self.persistence.forks += 1;
                let path = temporary_file(work, pid as u32);
                let dirty = self.core.keyspace.counters.dirty;
                let files = [path, self.snapshot_path()];
                self.persistence.job = Some(Job::new(work, child, files, is_rdb, keys, dirty));
                Ok(pid)
            }
        }
    }

    /// Runs the child.
    fn be_child(
        &mut self,
        mut link: Link,
        role: &Role,
        work: Work,
        is_rdb: bool,
        pipe: Option<PipeWriter>,
    ) -> ! {
        link.begin(role);
        self.process.log.become_child();
        let delay = self.core.config.rdb_key_save_delay;
        let path = temporary_file(work, std::process::id());
        let mut keys = 0;
        let mut progress = |done: rdb::Progress<'_>| {
            keys = done.keys;
            link.progress(keys);
            done.entry.dismiss();
            if delay != 0 {
                durability::pause(delay);
            }
        };
        let written = match work {
            Work::Snapshot => self.write_snapshot(&path, &mut progress),
            Work::Rewrite => self.write_base(&path, is_rdb, &mut progress).map(|()| false),
            Work::Transfer => self.write_marked(pipe, &mut progress).map(|()| false),
        };
        let kept = match written {
            Ok(kept) => kept,
            Err(why) => {
                self.process.log.warning(format_args!("{why}"));
                link.exit(1)
            }
        };
        let copied = link.finish(keys);
        let (what, name) = match work {
            Work::Snapshot => ("DB saved on disk", "RDB"),
            Work::Rewrite => ("AOF rewrite: the new base is on disk", "AOF rewrite"),
            Work::Transfer => ("The snapshot was written to the replicas", "RDB"),
        };
        self.process.log.notice(format_args!("{what}"));
        self.process.log.notice(format_args!(
            "Fork CoW for {name}: current {} MB, peak {} MB, average {} MB",
            copied.current / MB,
            copied.peak / MB,
            copied.average / MB
        ));
        link.exit(if kept { HAS_KEPT } else { 0 })
    }

    fn count_keys(&self) -> u64 {
        (0..self.core.keyspace.count()).map(|db| self.core.keyspace.db(db).len() as u64).sum()
    }

    /// Writes the data to a file at `path`, and renames it to `dbfilename`. Returns whether the old file was kept: see
    /// [`super::persistence::snapshots`].
    fn write_snapshot(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(rdb::Progress<'_>),
    ) -> Result<bool, String> {
        let target = self.core.config.dbfilename.as_path();
        let place = || self.core.config.dir.to_string();
        let incremental = self.core.config.rdb_save_incremental_fsync;
        self.write_rdb(path, false, incremental, progress)?;
        let keys = self.count_keys();
        let kept = self.persistence.snapshots.keep_replaced(target, path, keys);
        let renamed = kept.and_then(|kept| {
            disk::rename_durably(path, target)?;
            Ok(kept)
        });
        let kept = renamed.map_err(|error| {
            let _ = fs::remove_file(path);
            format!(
                "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
                path.display(),
                target.display(),
                place(),
                file::reason(&error)
            )
        })?;
        if let Some(Kept { path, keys: held, bytes }) = &kept {
            let held = held.map(|held| format!(", about {held} keys")).unwrap_or_default();
            self.process.log.warning(format_args!(
                "WARNING: this process has not loaded the snapshot {} that it replaces now ({bytes} bytes{held}) by one of \
                 {keys} keys. It is kept as {}: remove that if it is not needed.",
                target.display(),
                path.display()
            ));
        }
        Ok(kept.is_some())
    }

    /// The path of a new snapshot.
    pub(super) fn snapshot_path(&self) -> PathBuf {
        let name = self.core.config.dbfilename.as_path();
        std::path::absolute(name).unwrap_or_else(|_| name.to_path_buf())
    }

    /// Whether neither snapshots nor an AOF are configured.
    fn keeps_nothing_on_disk(&self) -> bool {
        let config = &self.core.config;
        config.save.is_empty() && !config.appendonly && self.persistence.log.state() == State::Off
    }

    /// Called by cron: removes a snapshot that was written for replicas alone, when none of them needs it any more
    /// (`rdb-del-sync-files`).
    pub(super) fn remove_snapshot_for_replicas(&mut self) {
        if !self.core.config.rdb_del_sync_files {
            self.persistence.snapshots.for_replicas = None;
        }
        if self.persistence.snapshots.for_replicas.is_none()
            || !self.keeps_nothing_on_disk()
            || self.persistence.is_at(Work::Snapshot)
            || self.replication.replicas.iter().any(|replica| replica.peer.stage.needs_file())
        {
            return;
        }
        if let Some(path) = self.persistence.snapshots.for_replicas.take()
            && path.exists()
        {
            self.remove_snapshot(
                &path,
                "Removing the RDB file used to feed replicas in a persistence-less instance",
            );
        }
    }

    /// Removes the snapshot of the primary that was loaded, or could not be (`rdb-del-sync-files`).
    pub(super) fn remove_received_snapshot(&mut self) {
        if self.core.config.rdb_del_sync_files && self.keeps_nothing_on_disk() {
            let path = self.snapshot_path();
            self.remove_snapshot(
                &path,
                "Removing the RDB file obtained from the master. This replica has persistence disabled",
            );
        }
    }

    /// The background thread closes the file, which takes long if it is large.
    fn remove_snapshot(&mut self, path: &Path, line: &str) {
        self.process.log.notice(format_args!("{line}"));
        match disk::unlink_open(path) {
            Ok(file) => {
                self.core.keyspace.send_garbage(Garbage::File(file));
                self.persistence.snapshots.known = None;
            }
            Err(error) => self.process.log.warning(format_args!(
                "Can't remove {}: {}",
                path.display(),
                file::reason(&error)
            )),
        }
    }

    /// Records that a snapshot of `keys` keys was written to `path`.
    fn note_snapshot(&mut self, path: &Path, keys: u64, kept: bool) {
        let version = self.rdb_version();
        let snapshots = &mut self.persistence.snapshots;
        snapshots.wrote(path, keys, version);
        snapshots.has_kept |= kept;
    }

    /// The latest RDB version that `rdb-write-version` permits.
    fn rdb_version(&self) -> u16 {
        if self.core.config.rdb_write_version == 10 { 10 } else { LATEST }
    }

    /// Whether all data is on disk already: the current snapshot was loaded or written and nothing has changed since,
    /// or the AOF contains everything.
    fn is_on_disk(&self) -> bool {
        if self.core.keyspace.counters.dirty > 0 {
            return false;
        }
        if self.persistence.log.state() == State::On && self.persistence.log.error().is_none() {
            return true;
        }
        let target = self.core.config.dbfilename.as_path();
        match self.persistence.snapshots.knows(target) {
            Some(known) => known.version <= self.rdb_version(),
            None => {
                self.persistence.snapshots.known.is_none()
                    && !target.exists()
                    && self.count_keys() == 0
                    && self.libraries.sources().is_empty()
            }
        }
    }

    /// Writes a base of the AOF to `path`.
    pub(super) fn write_base(
        &self,
        path: &Path,
        is_rdb: bool,
        progress: &mut dyn FnMut(rdb::Progress<'_>),
    ) -> Result<(), String> {
        let incremental = self.core.config.aof_rewrite_incremental_fsync;
        if is_rdb {
            return self.write_rdb(path, true, incremental, progress);
        }
        let annotation = self.core.config.aof_timestamp_enabled.then(|| self.unix_seconds());
        write_file(path, incremental, |out| {
            aof::dump(&self.core.keyspace, &self.libraries.sources(), annotation, out, progress)
        })
    }

    fn write_rdb(
        &self,
        path: &Path,
        aof_base: bool,
        incremental: bool,
        progress: &mut dyn FnMut(rdb::Progress<'_>),
    ) -> Result<(), String> {
        write_file(path, incremental, |out| self.write_rdb_to(out, aof_base, Filter::default(), progress))
    }

    fn write_rdb_to(
        &self,
        out: &mut impl Write,
        aof_base: bool,
        filter: Filter,
        progress: &mut dyn FnMut(rdb::Progress<'_>),
    ) -> io::Result<u64> {
        let config = &self.core.config;
        let id = self.replication.history.id();
        let replication = self.replication.has_backlog.then(|| rdb::Replication {
            id: id.as_str(),
            offset: self.replication_offset(),
            db: self.replication_db() as i32,
        });
        let functions = if filter.no_functions { Vec::new() } else { self.libraries.sources() };
        let about = rdb::About {
            redis_version: REDIS_VERSION,
            unix_seconds: self.unix_seconds(),
            used_memory: used_memory(),
            aof_base,
            replication,
            functions: &functions,
        };
        let options = rdb::SaveOptions {
            compress: config.rdbcompression,
            checksum: config.rdbchecksum,
            idle_times: config.maxmemory_policy.is_lru(),
            keys: !filter.no_data,
            version: if config.rdb_write_version == 10 || self.writes_for_old_reader() {
                rdb::Version::Ten
            } else {
                rdb::Version::Eleven
            },
        };
        rdb::save(&self.core.keyspace, &about, &options, out, progress)
    }

    /// Writes the data to `pipe`, with a random mark before it and at its end.
    fn write_marked(
        &self,
        pipe: Option<PipeWriter>,
        progress: &mut dyn FnMut(rdb::Progress<'_>),
    ) -> Result<(), String> {
        let pipe = pipe.ok_or("a transfer has no pipe")?;
        let mark = syncing::random_id();
        let mut out = BufWriter::with_capacity(PIPE_BUFFER, pipe);
        let written = write!(out, "$EOF:{mark}\r\n")
            .and_then(|()| self.write_rdb_to(&mut out, false, self.replication.next_filter(), progress))
            .and_then(|_| write!(out, "{mark}"))
            .and_then(|()| out.flush());
        written.map_err(|error| {
            format!("Write error sending the snapshot to replicas: {}", file::reason(&error))
        })
    }

    /// Checks whether the child has ended; called after a `SIGCHLD` and by cron. If no child runs, starts the work that
    /// is due or scheduled.
    pub(super) fn look_after_children(&mut self) {
        self.debugging.forget_ended();
        if let Some(ended) = self.persistence.take_ended() {
            self.core.keyspace.share_memory(false);
            match ended.job.work {
                Work::Snapshot => self.snapshot_ended(&ended),
                Work::Rewrite => self.rewrite_ended(&ended),
                Work::Transfer => {
                    self.note_figures(&ended.job);
                    self.transfer_ended(ended.exit == Exit::Status(0));
                    self.begin_transfer_if_due();
                }
            }
            self.refresh_gate();
        }
        if self.persistence.job.is_some() || self.loading.is_active() || self.is_busy() {
            return;
        }
        if self.persistence.rewrites.scheduled {
            if !self.rewrites_are_limited() {
                let _ = self.begin_rewrite();
            }
        } else if !self.begin_snapshot_if_due() {
            self.begin_rewrite_if_due();
        }
    }

    fn begin_snapshot_if_due(&mut self) -> bool {
        let now = self.unix_seconds();
        let snapshots = &self.persistence.snapshots;
        if snapshots.scheduled && snapshots.may_retry(now) {
            return self.begin_snapshot().is_ok();
        }
        let changes = self.core.keyspace.counters.dirty;
        let Some(rule) = snapshots.due(&self.core.config.save, changes, now).copied() else { return false };
        self.process
            .log
            .notice(format_args!("{} changes in {} seconds. Saving...", rule.changes, rule.seconds));
        self.begin_snapshot().is_ok()
    }

    fn begin_rewrite_if_due(&mut self) {
        if self.persistence.log.state() != State::On {
            return;
        }
        let (percentage, min) =
            (self.core.config.auto_aof_rewrite_percentage, self.core.config.auto_aof_rewrite_min_size);
        let bytes = self.persistence.log.bytes();
        let Some(growth) = self.persistence.rewrites.due(bytes, percentage, min) else { return };
        if !self.rewrites_are_limited() {
            self.process.log.notice(format_args!("Starting automatic rewriting of AOF on {growth}% growth"));
            let _ = self.begin_rewrite();
        }
    }

    /// Whether an automatic rewrite is postponed because recent ones failed.
    fn rewrites_are_limited(&mut self) -> bool {
        let (limited, pause) = self.persistence.rewrites.is_limited(self.core.clock.monotonic_us());
        if let Some(pause) = pause {
            self.process.log.warning(format_args!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
                pause.as_secs() / 60
            ));
        }
        limited
    }

    /// Records the duration and the copied memory of a snapshot, to a file or to replicas, for `INFO`.
    fn note_figures(&mut self, job: &Job) {
        let snapshots = &mut self.persistence.snapshots;
        snapshots.last_duration = Some(job.duration());
        snapshots.last_cow_bytes = job.copied().0;
    }

    fn snapshot_ended(&mut self, ended: &Ended) {
        let Ended { job, exit } = ended;
        self.note_figures(job);
        let now = self.unix_seconds();
        let snapshots = &mut self.persistence.snapshots;
        match exit {
            Exit::Status(status @ (0 | HAS_KEPT)) => {
                let counters = &mut self.core.keyspace.counters;
                counters.dirty = counters.dirty.saturating_sub(job.dirty);
                snapshots.saved(now);
                self.note_snapshot(&job.target, job.keys, *status == HAS_KEPT);
                self.process.log.notice(format_args!("Background saving terminated with success"));
                self.send_snapshot(true);
                return;
            }
            Exit::Status(_) => {
                snapshots.succeeded = false;
                self.process.log.warning(format_args!("Background saving error"));
            }
            Exit::Signal(signal) => {
                snapshots.succeeded &= exit.was_wanted();
                let _ = fs::remove_file(&job.path);
                self.process.log.warning(format_args!("Background saving terminated by signal {signal}"));
            }
        }
        self.send_snapshot(false);
    }

    fn rewrite_ended(&mut self, ended: &Ended) {
        let Ended { job, exit } = ended;
        self.persistence.rewrites.last_duration = Some(job.duration());
        self.persistence.rewrites.last_cow_bytes = job.copied().0;
        let succeeded = match exit {
            Exit::Status(0) => self.take_over_base(job),
            Exit::Status(_) => {
                self.process.log.warning(format_args!("Background AOF rewrite terminated with error"));
                false
            }
            Exit::Signal(signal) => {
                self.process
                    .log
                    .warning(format_args!("Background AOF rewrite terminated by signal {signal}"));
                exit.was_wanted()
            }
        };
        let rewrites = &mut self.persistence.rewrites;
        if succeeded && *exit == Exit::Status(0) {
            rewrites.failures = 0;
            rewrites.base_size = self.persistence.log.bytes();
        } else {
            let _ = fs::remove_file(&job.path);
            rewrites.failures += u32::from(!succeeded);
            if !matches!(exit, Exit::Signal(_)) {
                self.persistence.log.rewrite_failed();
            }
        }
        rewrites.succeeded = succeeded;
        // An AOF that is being enabled has no base until a rewrite succeeds.
        rewrites.scheduled |= self.persistence.log.state() == State::Beginning;
    }

    fn take_over_base(&mut self, job: &Job) -> bool {
        self.process.log.notice(format_args!("Background AOF rewrite terminated with success"));
        // The calls since the fork must be written before the files that they follow are removed.
        self.write_log();
        match self.persistence.log.finish_rewrite(&job.path, job.is_rdb) {
            Ok(()) => {
                self.remove_history();
                self.process.log.notice(format_args!("Background AOF rewrite finished successfully"));
                true
            }
            Err(error) => {
                self.process.log.warning(format_args!("Can't add the new base to the AOF: {error}"));
                false
            }
        }
    }

    /// Removes the files that a rewrite has replaced, unless `aof-disable-auto-gc`. One that cannot be removed now is
    /// removed after the next rewrite.
    pub(super) fn remove_history(&mut self) {
        if !self.core.config.aof_disable_auto_gc
            && let Err(error) = self.persistence.log.remove_history()
        {
            self.process.log.warning(format_args!("Can't remove old files of the AOF: {error}"));
        }
    }

    /// Kills the child, if there is one, and waits until it has exited: it must not replace a file any more.
    pub(super) fn end_job(&mut self) {
        if let Some(job) = self.persistence.job.take() {
            if job.work == Work::Rewrite {
                // Test suites wait for this text of Redis.
                self.process.log.notice(format_args!("Killing running AOF rewrite child: {}", job.pid()));
            }
            let (path, work) = (job.path.clone(), job.work);
            drop(job);
            let _ = fs::remove_file(path);
            self.core.keyspace.share_memory(false);
            // Replicas that waited for this child resynchronize.
            match work {
                Work::Snapshot => self.send_snapshot(false),
                Work::Transfer => self.transfer_ended(false),
                Work::Rewrite => {}
            }
        }
    }

    /// At shutdown: saves the data for the next start.
    pub(super) fn write_for_good(&mut self, options: ShutdownOptions) -> Result<(), ()> {
        self.end_debugging();
        if self.loading.is_active() && !self.loading.is_aside() {
            // The data in memory is part of the data on disk.
            return Ok(());
        }
        if self.persistence.is_at(Work::Snapshot) {
            self.process.log.warning(format_args!("There is a child saving an .rdb. Killing it!"));
            self.end_job();
        }
        let forced = options.contains(ShutdownOptions::FORCE);
        if self.persistence.log.state() != State::Off {
            if self.persistence.log.state() == State::Beginning && self.persistence.is_at(Work::Rewrite) {
                if !forced {
                    self.process.log.warning(format_args!("Writing initial AOF, can't exit."));
                    return Err(());
                }
                self.process.log.warning(format_args!("Writing initial AOF. Exit anyway."));
            } else if self.persistence.is_at(Work::Rewrite) {
                self.process.log.warning(format_args!("There is a child rewriting the AOF. Killing it!"));
            }
            self.end_job();
            self.process.log.notice(format_args!("Calling fsync() on the AOF file."));
            self.write_log();
            self.end_log_history();
            if let Err(error) = self.persistence.log.sync_now() {
                self.process
                    .log
                    .warning(format_args!("Fail to fsync the AOF file: {}", file::reason(&error)));
            }
        }
        let saves = !self.core.config.save.is_empty() && !options.contains(ShutdownOptions::NOSAVE);
        if saves || options.contains(ShutdownOptions::SAVE) {
            self.process.log.notice(format_args!("Saving the final RDB snapshot before exiting."));
            self.process.tell_status(format_args!("Saving the final RDB snapshot"));
            let wanted = options.contains(ShutdownOptions::SAVE);
            if self.save_snapshot().is_err() {
                self.process.tell_status(format_args!("Error trying to save the DB"));
                if !wanted && self.is_on_disk() {
                    self.process.log.warning(format_args!(
                        "Error trying to save the DB, but nothing has changed since what is on disk. Exit anyway."
                    ));
                } else if forced {
                    self.process.log.warning(format_args!("Error trying to save the DB. Exit anyway."));
                } else {
                    self.process.log.warning(format_args!("Error trying to save the DB, can't exit."));
                    return Err(());
                }
            }
        }
        Ok(())
    }

    /// After `FLUSHALL`: ends a child that writes an outdated snapshot, and replaces the last snapshot by an empty one.
    #[cold]
    pub(super) fn all_flushed(&mut self) {
        if self.persistence.is_at(Work::Snapshot) {
            self.end_job();
        }
        if !self.core.config.save.is_empty() && !self.loading.is_active() {
            let _ = self.save_snapshot();
        }
    }

    /// `CONFIG SET appendonly yes`: starts a rewrite, which creates the AOF.
    pub(super) fn begin_log(&mut self) -> Result<(), String> {
        if self.persistence.is_at(Work::Rewrite) {
            self.process.log.warning(format_args!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and \
                 starting a rewrite now."
            ));
            self.end_job();
        }
        self.persistence.log.begin();
        // Failures of earlier rewrites do not delay this one.
        self.persistence.rewrites.failures = 0;
        if self.persistence.job.is_some() {
            self.persistence.rewrites.scheduled = true;
            self.process.log.warning(format_args!(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled to \
                 start when possible."
            ));
        } else if self.begin_rewrite().is_err() {
            self.process.log.warning(format_args!(
                "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above \
                 logs for more info about the error."
            ));
            self.end_log();
            return Err("Unable to turn on AOF. Check server logs.".into());
        }
        Ok(())
    }

    /// `CONFIG SET appendonly no`: closes the AOF; its files stay.
    pub(super) fn end_log(&mut self) {
        self.write_whole_log();
        self.end_log_history();
        let _ = self.persistence.log.sync_now();
        if self.persistence.is_at(Work::Rewrite) {
            self.end_job();
        }
        self.persistence.rewrites.scheduled = false;
        self.persistence.log.close(self.core.keyspace.journal.stream_mut());
        self.fail_waits_for_log();
        self.refresh_gate();
    }

    /// The time of the current iteration, in Unix seconds.
    pub(super) fn unix_seconds(&self) -> i64 {
        self.core.keyspace.moment.unix_ms / 1000
    }
}

/// Creates `path`, writes it with `write` and syncs it; removes an incomplete file.
fn write_file(
    path: &Path,
    incremental: bool,
    write: impl FnOnce(&mut disk::BulkWriter) -> io::Result<u64>,
) -> Result<(), String> {
    let shown = path.display();
    let file = disk::create(path).map_err(|error| {
        format!("Failed opening the temp file {shown} for saving: {}", file::reason(&error))
    })?;
    let mut writer = disk::BulkWriter::new(file, disk::Syncing::incremental(incremental));
    write(&mut writer).and_then(|_| writer.finish()).map(drop).map_err(|error| {
        let _ = fs::remove_file(path);
        format!("Write error saving DB on disk({shown}): {}", file::reason(&error))
    })
}

fn temporary_snapshot() -> PathBuf {
    temporary_file(Work::Snapshot, std::process::id())
}

/// The temporary file of the process `pid`.
fn temporary_file(work: Work, pid: u32) -> PathBuf {
    match work {
        Work::Snapshot => format!("temp-{pid}.rdb").into(),
        Work::Rewrite => format!("temp-rewriteaof-bg-{pid}.aof").into(),
        Work::Transfer => format!("temp-transfer-{pid}").into(),
    }
}
