//! A child that works on a copy of the data, as its parent sees it.

use std::path::PathBuf;
use std::time::Duration;

use crate::sys::clock::Since;
use crate::sys::fork::{Child, Exit, Report};

/// The work of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A snapshot (`BGSAVE`).
    Snapshot,
    /// A new base of the log (`BGREWRITEAOF`).
    Rewrite,
    /// A snapshot into a pipe, for replicas (`repl-diskless-sync`).
    Transfer,
}

/// A child that has not ended yet.
pub struct Job {
    /// Its work.
    pub work: Work,
    child: Child,
    began: Since,
    /// The number of keys when it began.
    pub keys: u64,
    /// `Counters::dirty` at that time.
    pub dirty: u64,
    /// The temporary file that it writes.
    pub path: PathBuf,
    /// The final path of a snapshot. `dir` and `dbfilename` may change while the job runs.
    pub target: PathBuf,
    /// Whether the file is an RDB file.
    pub is_rdb: bool,
    report: Report,
    reported: Since,
    cow_peak: u64,
}

/// A child that has exited.
pub struct Ended {
    /// Its job.
    pub job: Job,
    /// Its exit status.
    pub exit: Exit,
}

impl Job {
    /// Creates the job of `child`, which has just begun to write the temporary file `path`; a snapshot is renamed to
    /// `target`.
    pub fn new(
        work: Work,
        child: Child,
        [path, target]: [PathBuf; 2],
        is_rdb: bool,
        keys: u64,
        dirty: u64,
    ) -> Job {
        let now = Since::now();
        Job {
            work,
            child,
            began: now,
            keys,
            dirty,
            path,
            target,
            is_rdb,
            report: Report::default(),
            reported: now,
            cow_peak: 0,
        }
    }

    /// Returns the child's process ID.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Returns how long the child has been running.
    pub fn duration(&self) -> Duration {
        self.began.elapsed()
    }

    /// The number of keys it has written.
    pub fn keys_done(&self) -> u64 {
        self.report.keys
    }

    /// Returns the bytes copied so far because parent or child wrote to them; the peak of this figure; and the age of
    /// the first figure.
    pub fn copied(&self) -> (u64, u64, Duration) {
        (self.report.cow_bytes, self.cow_peak, self.reported.elapsed())
    }

    /// Ends the child; [`Job::poll`] returns when it has exited.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Reads the child's reports. Returns how it exited, if it has.
    pub fn poll(&mut self) -> Option<Exit> {
        let exit = self.child.poll();
        while let Some(report) = self.child.next_report() {
            self.report = report;
            self.reported = Since::now();
            self.cow_peak = self.cow_peak.max(report.cow_bytes);
        }
        // A child that cannot be waited for is no longer this process's.
        exit.unwrap_or(Some(Exit::Status(255)))
    }
}
