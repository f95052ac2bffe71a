//! What commands run on: the data, the configuration, the clocks and the accounts. Nothing here has a descriptor or
//! knows of a connection.

pub mod dispatch;
pub mod latency;
pub mod redact;
pub mod slowlog;
pub mod stats;
pub mod timing;

use latency::LatencyMonitor;
use slowlog::SlowLog;
use stats::Stats;
use timing::{LoopClock, Stopwatch};

use crate::command::CommandNames;
use crate::command::waiting::Wait;
use crate::config::Config;
use crate::db::Keyspace;

/// What commands run on: the data and what is known about the commands themselves. It holds no descriptor.
pub struct Core {
    pub(in crate::server) config: Config,
    pub(in crate::server) keyspace: Keyspace,
    /// What commands are called.
    pub(in crate::server) names: CommandNames,
    pub(in crate::server) stats: Stats,
    pub(in crate::server) clock: LoopClock,
    pub(in crate::server) stopwatch: Stopwatch,
    pub(in crate::server) slowlog: SlowLog,
    pub(in crate::server) latency: LatencyMonitor,
    /// Bytes allocated before the first key.
    pub(in crate::server) startup_memory: u64,
    pub(in crate::server) run_id: String,
    /// What a replica would ask to go on from (`master_replid`).
    pub(in crate::server) replication_id: String,
    /// Logins with a wrong user or password, since the start.
    pub(in crate::server) denied_logins: u64,
    /// What the command that has just been called waits for.
    pub(in crate::server) wait: Option<Box<Wait>>,
}
