//! The process's supervisor (`supervised`), and its OOM score (`oom-score-adj`).
//!
//! ```text
//!   begin   STATUS=Loading: 41.7% …  EXTEND_TIMEOUT_USEC=…  WATCHDOG=1     once a second while data is loaded
//!           STATUS=Ready to accept connections  READY=1
//!   run     WATCHDOG=1                                                     by cron, if the unit has WatchdogSec=
//!   end     STATUS=Saving …  EXTEND_TIMEOUT_USEC=…  WATCHDOG=1             once a second while the data is written
//!           STOPPING=1
//! ```
//!
//! systemd is notified of the stop only when nothing can prevent it any more: a `SHUTDOWN` may fail, and then the
//! server continues.

use std::cell::Cell;
use std::fmt;

use super::Process;
use super::log::Log;
use crate::config::{Config, OomScoreAdj, Supervised};
use crate::sys::{clock, host};

/// How long systemd should wait, after each notification, for a server that is starting or stopping.
const PATIENCE_US: u64 = 60_000_000;

/// How often systemd is notified of long work.
const TELL_EVERY_US: u64 = 1_000_000;

/// A supervisor that waits for a notification that the server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// It listens on the socket that `NOTIFY_SOCKET` names.
    Systemd,
    /// It waits until the process stops itself.
    Upstart,
}

impl Supervisor {
    /// The supervisor according to the configuration or the environment.
    pub fn of(supervised: Supervised, log: &Log) -> Option<Supervisor> {
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let (upstart, systemd) = (is_set("UPSTART_JOB"), is_set("NOTIFY_SOCKET"));
        match supervised {
            Supervised::Upstart if !upstart => {
                log.warning(format_args!("upstart supervision requested, but UPSTART_JOB not found!"));
                None
            }
            Supervised::Upstart => Some(Supervisor::Upstart),
            // Without a socket there is no notification, but the process still has to stay in the foreground.
            Supervised::Systemd => Some(Supervisor::Systemd),
            Supervised::Auto if upstart => Some(Supervisor::Upstart),
            Supervised::Auto if systemd => Some(Supervisor::Systemd),
            Supervised::Auto | Supervised::No => None,
        }
    }

    /// Notifies it that connections are accepted from now on.
    pub fn tell_ready(self, log: &Log) {
        match self {
            Supervisor::Systemd => tell_systemd("STATUS=Ready to accept connections\nREADY=1\n", log),
            Supervisor::Upstart => {
                log.notice(format_args!("supervised by upstart, will stop to signal readiness"));
                host::notify_upstart();
            }
        }
    }

    /// Notifies it that the server is stopping.
    pub fn tell_stopping(self, log: &Log) {
        if self == Supervisor::Systemd {
            tell_systemd("STOPPING=1\n", log);
        }
    }
}

/// When to notify systemd that the server is alive, in microseconds.
#[derive(Debug)]
pub struct Pulse {
    /// The time between two watchdog notifications; `None` without a watchdog for this process.
    interval: Option<u64>,
    next: Cell<u64>,
    /// When systemd was last notified of long work.
    told: Cell<u64>,
}

impl Pulse {
    /// Reads the environment. The interval is half of the watchdog's limit, as systemd recommends.
    pub fn of_environment() -> Pulse {
        Pulse { interval: host::watchdog_us().map(|limit| limit / 2), next: Cell::new(0), told: Cell::new(0) }
    }
}

impl Process {
    fn is_of_systemd(&self) -> bool {
        self.supervisor == Some(Supervisor::Systemd)
    }

    /// Notifies the watchdog that the loop is running; called by cron.
    pub fn tell_alive(&self) {
        let Some(every_us) = self.pulse.interval.filter(|_| self.is_of_systemd()) else { return };
        let now_us = clock::monotonic_us();
        if now_us >= self.pulse.next.get() {
            self.pulse.next.set(now_us + every_us);
            tell_systemd("WATCHDOG=1\n", &self.log);
        }
    }

    /// Sets the server's status text, for `systemctl status`.
    pub fn tell_status(&self, status: fmt::Arguments<'_>) {
        if self.is_of_systemd() {
            tell_systemd(&format!("STATUS={status}\n"), &self.log);
        }
    }

    /// Notifies systemd that work in progress blocks the loop or the start, so that it waits another minute. To be
    /// called often; it sends at most one notification a second.
    pub fn tell_working(&self) {
        if !self.is_of_systemd() {
            return;
        }
        let now_us = clock::monotonic_us();
        if now_us >= self.pulse.told.get() + TELL_EVERY_US {
            self.pulse.told.set(now_us);
            tell_systemd(&format!("EXTEND_TIMEOUT_USEC={PATIENCE_US}\nWATCHDOG=1\n"), &self.log);
        }
    }
}

fn tell_systemd(state: &str, log: &Log) {
    if let Err(error) = host::notify_systemd(state) {
        log.warning(format_args!("Can't notify systemd: {error}"));
    }
}

impl Process {
    /// Sets the kernel's score according to `config`; `no` restores the original score. The first of the values is that
    /// of a primary.
    pub fn apply_oom_score(&mut self, config: &Config) -> Result<(), String> {
        let failed = |error| format!("Unable to write oom_score_adj: {error}");
        let before = match (self.oom_score_before, config.oom_score_adj) {
            (Some(before), _) => before,
            (None, OomScoreAdj::No) => return Ok(()),
            (None, _) => host::oom_score().map_err(failed)?,
        };
        let [value, ..] = config.oom_score_adj_values.0;
        let score = score(config.oom_score_adj, before, value);
        host::set_oom_score(score).map_err(failed)?;
        self.oom_score_before = (config.oom_score_adj != OomScoreAdj::No).then_some(before);
        Ok(())
    }
    /// Returns the score of a background child, the third of the values; `None` keeps the server's score.
    pub(super) fn child_oom_score(&self, config: &Config) -> Option<i32> {
        let [_, _, value] = config.oom_score_adj_values.0;
        self.oom_score_before.map(|before| score(config.oom_score_adj, before, value))
    }
}

/// Returns a score, based on the one that the process was started with.
fn score(adjust: OomScoreAdj, before: i32, value: i32) -> i32 {
    match adjust {
        OomScoreAdj::No => before,
        OomScoreAdj::Absolute => value,
        OomScoreAdj::Relative => before + value,
    }
}
