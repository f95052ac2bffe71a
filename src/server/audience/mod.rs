//! Clients that hear of what others do: monitors, and those whose requests wait.

pub mod monitor;
pub mod pause;

use monitor::Monitors;
use pause::Pause;

/// Who hears of what others do: monitors, and clients whose requests wait.
#[derive(Default)]
pub struct Audience {
    pub(in crate::server) monitors: Monitors,
    pub(in crate::server) pause: Pause,
    /// Clients whose latest request waits.
    pub(in crate::server) waiting_clients: u64,
    /// Clients are paused or monitors watch: requests are executed with more care.
    pub(in crate::server) attention: bool,
}
