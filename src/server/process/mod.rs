//! The process around the server: its log, its supervisor, its title, the files it leaves.

pub mod log;
pub mod supervisor;
mod title;

use std::path::PathBuf;

use log::Log;
use supervisor::Supervisor;

/// The state of the process: its log, its start and its end.
pub struct Process {
    pub(in crate::server) log: Log,
    pub(in crate::server) started_ms: i64,
    /// The supervisor to notify of the start and the end.
    pub(in crate::server) supervisor: Option<Supervisor>,
    /// The kernel's score of the process before `oom-score-adj` changed it.
    pub(in crate::server) oom_score_before: Option<i32>,
    /// The pid file that this process wrote, to be removed at the end.
    pub(in crate::server) pidfile: Option<PathBuf>,
    /// When a web request was last logged, in Unix milliseconds.
    pub(in crate::server) web_request_logged_ms: i64,
    /// Whether a shutdown was requested.
    pub(in crate::server) exit: bool,
}
