//! Shutdown: waits for replicas that lack data, saves the data, and exits.
//!
//! ```text
//!   SHUTDOWN, SIGTERM ─▶ begin_shutdown ─┬─ NOW, or the replicas have everything ──────▶ finish_shutdown ─▶ exit
//!                                        └─ writes are paused ─▶ ACK, or time is up ───────▲     │ cannot save
//!                                                └─ SHUTDOWN ABORT ─▶ cancel_shutdown ◀──────────┘
//! ```
//!
//! Clients that have called `SHUTDOWN` are blocked meanwhile; reads are served. Without new writes, the replicas arrive
//! at the same offset, so that one of them can be promoted without a loss.

use super::Server;
use super::audience::pause::Purpose;
use super::audience::waiters::{End, EndedWait};
use super::replication::Replica;
use crate::command::Error;
use crate::config::ShutdownOptions;
use crate::sys::poller::Token;
use crate::sys::{clock, signal};

/// The reply to a `SHUTDOWN` that has failed or was aborted.
pub(super) const FAILED: Error = Error::new("ERR Errors trying to SHUTDOWN. Check logs.");

/// A shutdown that waits for replicas.
pub(super) struct Stopping {
    options: ShutdownOptions,
    /// By the monotonic clock.
    deadline_us: u64,
    /// The clients that have called `SHUTDOWN`, and when by the clock of ticks.
    clients: Vec<(Token, u64)>,
    /// The offsets before and after the request for acknowledgements, which a replica need not have.
    request: (i64, i64),
    /// The number of signals that are dealt with.
    signals: u32,
}

impl Stopping {
    /// The number of blocked clients.
    pub fn waiting_clients(&self) -> usize {
        self.clients.len()
    }

    /// Milliseconds until the time is up, rounded up.
    pub fn milliseconds_left(&self, now_us: u64) -> u64 {
        self.deadline_us.saturating_sub(now_us).div_ceil(1000)
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The process exits after this iteration.
    Exits,
    /// Replicas lack data.
    Waits,
    /// The data cannot be saved.
    Failed,
}

impl Server {
    /// Begins a shutdown. One that waits already goes on as it was requested, unless this one does not wait.
    pub(super) fn begin_shutdown(&mut self, options: ShutdownOptions) -> Progress {
        let is_urgent = options.contains(ShutdownOptions::NOW);
        if let Some(stopping) = &mut self.stopping {
            if !is_urgent {
                return Progress::Waits;
            }
            stopping.options = options;
            return self.finish_shutdown(options);
        }
        self.process.log.notice(format_args!("User requested shutdown..."));
        let timeout_s = u64::from(self.core.config.shutdown_timeout);
        if is_urgent || timeout_s == 0 || self.lagging(self.replication_offset()).is_empty() {
            return self.finish_shutdown(options);
        }
        let before = self.replication_offset();
        self.request_acknowledgements();
        self.stopping = Some(Box::new(Stopping {
            options,
            deadline_us: self.core.clock.monotonic_us().saturating_add(timeout_s * 1_000_000),
            clients: Vec::new(),
            request: (before, self.replication_offset()),
            signals: 0,
        }));
        self.stop_writes(Purpose::Shutdown, true);
        self.process.log.notice(format_args!("Waiting for replicas before shutting down."));
        self.process.tell_status(format_args!("Waiting for replicas before shutting down"));
        Progress::Waits
    }

    /// Blocks a client until the shutdown that it has requested is over.
    pub(super) fn wait_for_shutdown(&mut self, token: Token) {
        let began = clock::ticks().wrapping_sub(self.core.wait_ticks);
        if let Some(stopping) = &mut self.stopping {
            stopping.clients.push((token, began));
        }
    }

    /// Removes a disconnected client that waited for a shutdown.
    pub(super) fn forget_shutdown_client(&mut self, token: Token) {
        if let Some(stopping) = &mut self.stopping {
            stopping.clients.retain(|(client, _)| *client != token);
        }
    }

    /// Called at the end of an iteration: ends the wait for replicas.
    #[inline]
    pub(super) fn advance_shutdown(&mut self) {
        if self.stopping.is_some() {
            self.finish_shutdown_if_due();
        }
    }

    fn finish_shutdown_if_due(&mut self) {
        let Some(stopping) = &self.stopping else { return };
        let options = stopping.options;
        let is_late = stopping.milliseconds_left(self.core.clock.monotonic_us()) == 0;
        if is_late || self.lagging(self.last_offset()).is_empty() {
            self.finish_shutdown(options);
        }
    }

    /// The offset that the replicas need: that of the data, if only a request for acknowledgements is behind it.
    fn last_offset(&self) -> i64 {
        let offset = self.replication_offset();
        match &self.stopping {
            Some(stopping) if stopping.request.1 == offset => stopping.request.0,
            _ => offset,
        }
    }

    /// The replicas that have not acknowledged `offset`.
    fn lagging(&self, offset: i64) -> Vec<&Replica> {
        let lags = |replica: &&Replica| replica.peer.acknowledged < offset;
        self.replication.synchronized().filter(|replica| !replica.peer.rdb_only).filter(lags).collect()
    }

    /// Ends the wait for replicas. Saves the data and prepares the exit, or lets the server go on if the data cannot be
    /// saved.
    fn finish_shutdown(&mut self, options: ShutdownOptions) -> Progress {
        self.feed_postponed();
        self.log_replicas();
        if self.prepare_exit(options).is_err() {
            self.cancel_shutdown();
            return Progress::Failed;
        }
        self.process.exit = true;
        Progress::Exits
    }

    fn log_replicas(&self) {
        let offset = self.last_offset();
        let (lagging, now_ms) = (self.lagging(offset), self.core.keyspace.moment.unix_ms);
        for replica in &lagging {
            let peer = &replica.peer;
            let lag_s = if peer.is_online() { (now_ms - peer.acknowledged_ms) / 1000 } else { 0 };
            self.process.log.notice(format_args!(
                "Lagging replica {} reported offset {} behind master, lag={lag_s}, state={}.",
                self.replica_name(replica.token),
                offset - peer.acknowledged,
                peer.stage.name()
            ));
        }
        let all = self.replication.synchronized().filter(|replica| !replica.peer.rdb_only).count();
        if all > 0 {
            let synced = all - lagging.len();
            self.process
                .log
                .notice(format_args!("{synced} of {all} replicas are in sync when shutting down."));
        }
    }

    /// `SHUTDOWN ABORT`: the server goes on. Returns false if no shutdown waits.
    pub(super) fn abort_shutdown(&mut self) -> bool {
        if self.stopping.is_none() {
            return false;
        }
        self.cancel_shutdown();
        self.process.log.notice(format_args!("Shutdown manually aborted."));
        true
    }

    /// Lets the server go on. The clients that requested the shutdown get an error.
    fn cancel_shutdown(&mut self) {
        let Some(stopping) = self.stopping.take() else { return };
        signal::forget_shutdown_signals(stopping.signals);
        for (token, began) in stopping.clients {
            self.net.session(token).blocked = None;
            let ticks = clock::ticks().wrapping_sub(began);
            self.audience.ended_waits.push(EndedWait { token, end: End::Failed(FAILED), ticks });
            self.net.schedule_unblocked(token);
        }
        self.stop_writes(Purpose::Shutdown, false);
    }

    /// Handles the signals that request a shutdown.
    pub(super) fn shut_down_by_signal(&mut self) {
        let signals = signal::shutdown_signals();
        if self.stopping.as_ref().is_some_and(|stopping| stopping.signals == signals) {
            return;
        }
        if let Some(run) = self.busy_run() {
            // The data is saved between two scripts; a script that has written nothing yet need not finish.
            run.is_killed |= !run.has_written;
            return;
        }
        let name = signal::last_shutdown_signal().unwrap_or("signal");
        self.process.log.warning(format_args!("Received {name} scheduling shutdown..."));
        let config = &self.core.config;
        let options = if name == "SIGINT" { config.shutdown_on_sigint } else { config.shutdown_on_sigterm };
        let progress = if self.stopping.is_some() { Progress::Waits } else { self.begin_shutdown(options) };
        match (progress, &mut self.stopping) {
            // A supervisor repeats its signal, and the shutdown goes on.
            (Progress::Waits, Some(stopping)) => stopping.signals = signals,
            (Progress::Failed, _) => signal::forget_shutdown_signals(signals),
            _ => {}
        }
    }

    /// Prepares the exit: ends children, saves the data, writes the last log lines, removes the Unix socket and the pid
    /// file. Unless the shutdown is forced, fails if the data cannot be saved.
    fn prepare_exit(&mut self, options: ShutdownOptions) -> Result<(), ()> {
        self.write_for_good(options).inspect_err(|()| {
            self.process.log.warning(format_args!(
                "Errors trying to shut down the server. Check the logs for more information."
            ));
        })?;
        self.process.begin_shutdown();
        self.close_cluster();
        for path in self.net.close_listeners() {
            self.process.log.notice(format_args!("Removing the unix socket file."));
            let _ = std::fs::remove_file(path);
        }
        self.process.log.warning(format_args!("Redstart is now ready to exit, bye bye..."));
        Ok(())
    }
}
