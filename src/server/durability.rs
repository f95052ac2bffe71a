//! Writes to the AOF before replies are sent, and refuses commands while that fails.
//!
//! One write appends all calls that the units of an iteration have propagated, before the iteration's replies are sent;
//! with `appendfsync always` a sync follows it. A client that has a reply can therefore rely on the change.

use std::io;
use std::time::Duration;

use super::Server;
use super::persistence::Denial;
use super::persistence::log::{Policy, State, Synced};
use super::scripts::run::Kind;
use crate::command::{Args, Command, Error, flags};
use crate::sys::poller::Token;
use crate::sys::{clock, file};

/// The reply to writes on a replica.
pub(super) const READONLY: Error = Error::new("READONLY You can't write against a read only replica.");

/// The reply to most commands on a replica without a link, with `replica-serve-stale-data no`.
pub(super) const MASTERDOWN: Error =
    Error::new("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");

/// Log a failing disk at most once per interval.
const COMPLAIN_EVERY_US: u64 = 30_000_000;

impl Server {
    /// Appends to the AOF all calls propagated since the last write, and syncs it if a sync is due.
    #[inline]
    pub(super) fn write_log(&mut self) {
        if !self.is_busy() && self.core.keyspace.journal.take_emptied() {
            self.all_flushed();
        }
        if self.persistence.log.state() != State::Off {
            self.append_and_sync();
        }
    }

    /// Like [`Server::write_log`], but includes the calls of the current unit so far: for a command that begins a new
    /// AOF or reads it.
    pub(super) fn write_whole_log(&mut self) {
        self.core.keyspace.journal.stream_mut().split_unit();
        self.write_log();
    }

    /// Before the AOF is closed: notes that its history ends, after everything has been written. Without success, a
    /// restart still finds the history up to the last call.
    pub(super) fn end_log_history(&mut self) {
        let stream = self.core.keyspace.journal.stream_mut();
        if let Err(error) = self.persistence.log.end_history(stream) {
            self.process.log.warning(format_args!("Error writing to the AOF file: {}", file::reason(&error)));
        }
    }

    /// Bytes of memory of calls that wait to be written to the AOF.
    pub(super) fn log_buffer_bytes(&self) -> u64 {
        match self.persistence.log.state() {
            _ if self.replication.has_backlog => 0,
            State::Off => 0,
            _ => self.core.keyspace.journal.stream().excess_bytes() as u64,
        }
    }

    /// Bytes of memory of the backlog, and of what waits for replicas beyond its size.
    pub(super) fn replication_buffers(&self) -> (u64, u64) {
        if !self.replication.has_backlog {
            return (0, 0);
        }
        let kept = self.core.keyspace.journal.stream().kept_bytes() as u64;
        let has_replicas = self.replication.synchronized().next().is_some();
        let backlog = if has_replicas { kept.min(self.core.config.repl_backlog_size) } else { kept };
        (backlog, kept - backlog)
    }

    fn append_and_sync(&mut self) {
        let config = &self.core.config;
        let (policy, annotates) = (config.appendfsync, config.aof_timestamp_enabled);
        let rests = config.no_appendfsync_on_rewrite && self.persistence.job.is_some();
        let stream = self.core.keyspace.journal.stream_mut();
        let mut now_us = self.core.clock.monotonic_us();
        let history = self.replication.has_backlog.then_some(&self.replication.history);
        if self.persistence.log.is_append_due(stream, history, now_us) {
            pause(self.persistence.append_delay_us);
            let annotation = annotates.then_some(self.core.keyspace.moment.unix_ms / 1000);
            let began_us = clock::monotonic_us();
            let syncing = self.persistence.log.is_syncing();
            let refused = self.persistence.log.error().is_some();
            let appended = self.persistence.log.append(stream, annotation, history, began_us);
            now_us = clock::monotonic_us();
            self.note_append(now_us - began_us, syncing);
            match appended {
                Ok(()) if refused => self.disk_takes_again(),
                Ok(()) => {}
                Err(error) => return self.disk_refuses(&error, policy),
            }
        }
        if !rests {
            self.sync_log(policy, now_us);
        }
        // The replies are sent by the next iteration, which follows at once.
        self.end_waits_for_sync();
    }

    fn sync_log(&mut self, policy: Policy, now_us: u64) {
        match self.persistence.log.sync_if_due(policy, now_us) {
            Synced::Fine => {}
            Synced::Done => self.core.note_latency("aof-fsync-always", clock::monotonic_us() - now_us),
            Synced::Late => self.process.log.notice(format_args!(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Nothing is synced until it is done, and \
                 writing may slow down."
            )),
            Synced::Failed(error) => self.die(format_args!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. Exiting...",
                file::reason(&error)
            )),
        }
    }

    fn note_append(&mut self, took_us: u64, syncing: bool) {
        let circumstance = if syncing {
            "aof-write-pending-fsync"
        } else if self.persistence.job.is_some() {
            "aof-write-active-child"
        } else {
            "aof-write-alone"
        };
        self.core.note_latency(circumstance, took_us);
        self.core.note_latency("aof-write", took_us);
    }

    #[cold]
    fn disk_refuses(&mut self, error: &io::Error, policy: Policy) {
        let now_us = self.core.clock.monotonic_us();
        if self.log_complained_us.is_none_or(|last| now_us - last >= COMPLAIN_EVERY_US) {
            self.log_complained_us = Some(now_us);
            self.process.log.warning(format_args!("Error writing to the AOF file: {}", file::reason(error)));
        }
        // Annotations can wait for the disk.
        if policy == Policy::Always && self.persistence.log.owes_calls(self.core.keyspace.journal.stream()) {
            self.die(format_args!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
            ));
        }
        self.refresh_gate();
    }

    #[cold]
    fn disk_takes_again(&mut self) {
        self.log_complained_us = None;
        self.process.log.warning(format_args!("AOF write error looks solved. The server can write again."));
        self.refresh_gate();
    }

    /// Exits: continuing would acknowledge writes that are not durable.
    #[cold]
    pub(super) fn die(&mut self, why: std::fmt::Arguments<'_>) -> ! {
        self.process.fatal(why);
        self.process.tell_status(why);
        std::process::exit(1)
    }

    /// Called by cron: writes and syncs the AOF if that is due, and checks for syncs that failed in the background.
    pub(super) fn look_after_log(&mut self) {
        if self.persistence.log.state() != State::Off {
            self.write_log();
            if self.persistence.log.recovers_from_failed_sync(clock::monotonic_us()) {
                self.process.log.warning(format_args!(
                    "The AOF can be synced again. It is rewritten, because earlier writes may not be on disk."
                ));
                self.persistence.rewrites.scheduled = true;
            }
            self.refresh_gate();
        }
    }

    /// Returns the error if `command` is refused: because persistence fails, because of this server's role, because
    /// data is being loaded, or because a slow script is suspended.
    #[cold]
    pub(super) fn refuse_for_mode(&self, token: Token, command: &Command, args: Args<'_>) -> Option<Error> {
        if let Some(denial) = self.denial()
            && (self.flags_of_call(token, command, args) & flags::WRITE != 0 || command.full_name == "ping")
        {
            return Some(self.misconfigured(denial));
        }
        if let Some(error) = self.refuse_for_role(token, command, args) {
            return Some(error);
        }
        let refuses = if self.loading.is_async() {
            self.flags_of_call(token, command, args) & flags::NO_ASYNC_LOADING != 0
        } else {
            self.loading.is_active() && self.permits_of_call(token, command, args) & flags::LOADING == 0
        };
        if refuses {
            return Some(Error::new("LOADING Redis is loading the dataset in memory"));
        }
        self.busy_kind().filter(|_| !command.has(flags::ALLOW_BUSY)).map(Kind::busy)
    }

    /// Returns the error if `command` is refused because of this server's role, or because it has too few replicas.
    fn refuse_for_role(&self, token: Token, command: &Command, args: Args<'_>) -> Option<Error> {
        let denial = self.gate.replica_denial();
        let writes = || self.flags_of_call(token, command, args) & flags::WRITE != 0;
        if denial.lacks_replicas && writes() {
            return Some(Error::new("NOREPLICAS Not enough good replicas to write."));
        }
        if denial.read_only && writes() {
            return Some(READONLY);
        }
        let refuses = denial.stale && self.permits_of_call(token, command, args) & flags::STALE == 0;
        refuses.then_some(MASTERDOWN)
    }

    /// The error of a script that may write while persistence fails.
    pub(super) fn unwritable_script(&self, denial: Denial) -> Error {
        match denial {
            Denial::Snapshot => Error::new(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Writable \
                 scripts are blocked. Use 'no-writes' flag for read only scripts.",
            ),
            Denial::Log => {
                let why = self.persistence.log.error().map_or_else(String::new, |error| file::reason(&error));
                format!(
                    "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. \
                     Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: {why}"
                )
                .into()
            }
        }
    }

    pub(super) fn misconfigured(&self, denial: Denial) -> Error {
        match denial {
            Denial::Snapshot => Error::new(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                 Commands that may modify the data set are disabled, because this instance is configured to report \
                 errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check \
                 the Redis logs for details about the RDB error.",
            ),
            Denial::Log => {
                let why = self.persistence.log.error().map_or_else(String::new, |error| file::reason(&error));
                format!("MISCONF Errors writing to the AOF file: {why}").into()
            }
        }
    }
}

/// Sleeps, for tests: `rdb-key-save-delay`, `DEBUG AOF-FLUSH-SLEEP`. Does nothing unless positive.
pub(super) fn pause(microseconds: i32) {
    if microseconds > 0 {
        std::thread::sleep(Duration::from_micros(microseconds as u64));
    }
}
