//! Persistence: the log, snapshots, and the children that write them. This folder knows files and processes;
//! [`crate::persist`] knows their content. The files beside this folder decide when something is written
//! ([`super::durability`], [`super::saving`], [`super::loading`]).

pub mod annotations;
pub mod job;
pub mod log;
pub mod rewrites;
pub mod snapshots;

use job::{Ended, Job, Work};
use log::Log;
use rewrites::Rewrites;
use snapshots::Snapshots;

use crate::persist::aof::Directory;
use crate::persist::syncer::Syncer;

/// The reason for refusing commands that change the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The last snapshot failed (`stop-writes-on-bgsave-error`).
    Snapshot,
    /// Writing the log failed.
    Log,
}

/// See the module's head.
pub struct Persistence {
    pub(super) log: Log,
    pub(super) rewrites: Rewrites,
    pub(super) snapshots: Snapshots,
    /// The running child. There is at most one, since two would copy twice as many pages.
    pub(super) job: Option<Job>,
    /// The duration of the last fork in microseconds, and the number of forks.
    pub(super) last_fork_us: u64,
    pub(super) forks: u64,
    /// Microseconds to wait before each append to the log (`DEBUG AOF-FLUSH-SLEEP`).
    pub(super) append_delay_us: i32,
}

impl Persistence {
    /// Creates the state with nothing saved and nothing loaded, at `now` (Unix seconds).
    pub fn new(directory: Directory, syncer: Syncer, now: i64) -> Persistence {
        Persistence {
            log: Log::new(directory, syncer),
            rewrites: Rewrites::default(),
            snapshots: Snapshots::new(now),
            job: None,
            last_fork_us: 0,
            forks: 0,
            append_delay_us: 0,
        }
    }

    /// Whether a child is doing this work.
    pub fn is_at(&self, work: Work) -> bool {
        self.job.as_ref().is_some_and(|job| job.work == work)
    }

    /// Returns why writes must be refused, if so. `guards_snapshots`: whether a failed snapshot is a reason.
    pub fn denial(&self, guards_snapshots: bool) -> Option<Denial> {
        if guards_snapshots && !self.snapshots.succeeded {
            Some(Denial::Snapshot)
        } else if self.log.error().is_some() {
            Some(Denial::Log)
        } else {
            None
        }
    }

    /// Takes the child if it has exited.
    pub fn take_ended(&mut self) -> Option<Ended> {
        let exit = self.job.as_mut()?.poll()?;
        self.job.take().map(|job| Ended { job, exit })
    }
}
