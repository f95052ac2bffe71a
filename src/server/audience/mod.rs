//! Clients that hear of what others do: monitors, and those whose requests wait.

pub mod monitor;
pub mod pause;
pub mod recorder;
pub mod waiters;

use monitor::Monitors;
use pause::Pause;
use recorder::Recorder;
use waiters::{EndedWait, Waiters};

/// Who hears of what others do: monitors, and clients whose requests wait.
#[derive(Default)]
pub struct Audience {
    pub(in crate::server) monitors: Monitors,
    pub(in crate::server) pause: Pause,
    /// Clients that wait for keys.
    pub(in crate::server) waiters: Waiters,
    /// Those whose wait has ended and who have no reply yet.
    pub(in crate::server) ended_waits: Vec<EndedWait>,
    /// Keeps what units have changed (`DEBUG JOURNAL`).
    pub(in crate::server) recorder: Option<Box<Recorder>>,
    /// The listeners are being told of a unit.
    pub(in crate::server) settling: bool,
    /// Clients whose latest request waits.
    pub(in crate::server) waiting_clients: u64,
    /// Clients are paused or monitors watch: requests are executed with more care.
    pub(in crate::server) attention: bool,
}
