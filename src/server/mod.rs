//! The loop that ties all together.
//!
//! ```text
//! loop:  wait ─▶ accept new clients ─▶ for each ready client: send what waited, receive, parse, execute
//!             ─▶ go on with clients whose turn had ended ─▶ cron when due ─▶ flush the replies, close the doomed
//! ```
//!
//! One thread does all of it, so a command sees no other's half-done work. [`Server`] is the whole state; the buffers
//! that requests are slices of are beside it, in `Io`, so that a request can be read while the state changes.

mod accept;
pub mod admin;
mod batch;
mod client;
mod cron;
mod execute;
mod flush;
mod input;
mod latency;
mod log;
mod monitor;
mod output;
mod pause;
mod redact;
mod slowlog;
mod startup;
mod stats;
mod supervisor;
mod timing;

pub use admin::REDIS_VERSION;
pub use startup::{StartError, start};

use std::path::PathBuf;

use batch::Batch;
use client::{Clients, Query};
use cron::Cron;
use latency::LatencyMonitor;
use log::Log;
use monitor::Monitors;
use output::Output;
use pause::Pause;
use slowlog::SlowLog;
use stats::Stats;
use supervisor::Supervisor;
use timing::{LoopClock, Timed};

use crate::command::CommandNames;
use crate::config::Config;
use crate::db::{Keyspace, Moment};
use crate::sys::net::Listener;
use crate::sys::poller::{NativePoller, Poller, Token};
use crate::sys::ring::Ring;
use crate::sys::{clock, signal};

/// Bytes of the loop's ring: a receive always finds room.
const LOOP_RING: usize = 2 * input::READ;

/// The generation that no client's slot reaches: the token of a listener.
const LISTENER: u32 = u32::MAX;

/// The buffers of the loop.
struct Io {
    /// What clients without half a request read into.
    ring: Ring,
    batch: Batch,
    /// Queries that clients gave back.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept: a client holds one or a null")]
    spare: Vec<Box<Query>>,
}

/// The state of the server.
pub struct Server {
    config: Config,
    keyspace: Keyspace,
    clients: Clients,
    output: Output,
    stats: Stats,
    log: Log,
    poller: NativePoller,
    listeners: Vec<Listener>,
    cron: Cron,
    /// Clients with whole requests left from the last iteration.
    resumable: Vec<Token>,
    /// Clients to be closed at the end of the iteration.
    doomed: Vec<Token>,
    clock: LoopClock,
    timed: Timed,
    slowlog: SlowLog,
    latency: LatencyMonitor,
    monitors: Monitors,
    pause: Pause,
    /// Clients whose latest request waits.
    waiting_clients: u64,
    /// Clients are paused or monitors watch: requests are executed with more care.
    attention: bool,
    next_client_id: u64,
    /// When a web request was last written to the log, Unix milliseconds.
    web_request_logged_ms: i64,
    started_ms: i64,
    /// Bytes allocated before the first key.
    startup_memory: u64,
    /// Who waits to be told of the start and the end.
    supervisor: Option<Supervisor>,
    /// The kernel's score for the process before `oom-score-adj` changed it.
    oom_score_before: Option<i32>,
    /// What commands are called.
    names: CommandNames,
    run_id: String,
    /// What a replica would ask to go on from (`master_replid`).
    replication_id: String,
    /// Logins with a wrong user or password, since the start.
    denied_logins: u64,
    /// The pid file that this process wrote, to be removed at the end.
    pidfile: Option<PathBuf>,
    /// `SHUTDOWN` was asked for.
    exit: bool,
}

impl Server {
    /// Serves until shutdown.
    pub fn run(&mut self) {
        let mut io = Io { ring: Ring::new(LOOP_RING), batch: Batch::default(), spare: Vec::new() };
        loop {
            let ready = self.wait(self.timeout_ms());
            self.clock.update();
            self.stats.cycles.begin(clock::ticks(), self.stats.commands);
            self.keyspace.moment = Moment::at(self.clock.unix_ms());
            if self.pause.is_over(self.clock.monotonic_us()) {
                self.end_pause();
            }
            for index in 0..ready {
                if self.exit {
                    break;
                }
                let event = self.poller.event(index);
                if event.token.generation == LISTENER {
                    self.accept(event.token.slot as usize);
                    continue;
                }
                if event.writable {
                    self.on_writable(event.token);
                }
                if event.readable || event.closed {
                    self.on_readable(&mut io, event.token, event.closed);
                }
                if self.output.is_large() {
                    self.flush();
                }
            }
            for token in std::mem::take(&mut self.resumable) {
                self.resume(&mut io, token);
            }
            if self.cron.is_due(self.clock.monotonic_us()) {
                self.run_cron();
            }
            if self.cron.is_expiring() {
                self.expire_slice();
            }
            if self.cron.is_reclaiming() {
                self.reclaim_slice();
            }
            self.flush();
            if signal::shutdown_signals() > 0 {
                self.shut_down_by_signal();
            }
            if self.exit {
                return;
            }
            self.stats.cycles.end(clock::ticks(), self.stats.commands);
        }
    }

    /// Whether the next iteration has something to do without an event.
    fn has_work(&self) -> bool {
        !self.resumable.is_empty() || self.cron.is_expiring() || self.cron.is_reclaiming()
    }

    /// How long to wait for events: until cron is due or a pause ends.
    fn timeout_ms(&self) -> u32 {
        if self.has_work() {
            return 0;
        }
        let now_us = self.clock.monotonic_us();
        self.pause.milliseconds_left(now_us, self.cron.milliseconds_left(now_us))
    }

    fn wait(&mut self, timeout_ms: u32) -> usize {
        match self.poller.wait(Some(timeout_ms)) {
            Ok(ready) => ready,
            Err(error) => {
                // Nothing that a client does makes the wait fail; going round without events keeps cron alive.
                self.log.warning(format_args!("Waiting for events: {error}"));
                0
            }
        }
    }

    fn shut_down_by_signal(&mut self) {
        let name = signal::last_shutdown_signal().unwrap_or("signal");
        self.log.warning(format_args!("Received {name} scheduling shutdown..."));
        self.prepare_shutdown();
        self.exit = true;
    }

    /// What is done before the process ends: the last words to the log, the Unix socket and the pid file removed.
    fn prepare_shutdown(&mut self) {
        self.log.warning(format_args!("User requested shutdown..."));
        if let Some(supervisor) = self.supervisor {
            supervisor.tell_stopping(&self.log);
        }
        if let Some(path) = self.pidfile.take() {
            self.log.notice(format_args!("Removing the pid file."));
            let _ = std::fs::remove_file(path);
        }
        for path in self.listeners.iter().filter_map(Listener::path) {
            self.log.notice(format_args!("Removing the unix socket file."));
            let _ = std::fs::remove_file(path);
        }
        self.listeners.clear();
        self.log.warning(format_args!("Redstart is now ready to exit, bye bye..."));
    }
}
