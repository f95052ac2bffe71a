//! Blocked clients: how many there are, and the removal of disconnected ones.
//!
//! A client's session has the reason ([`Blocked`]); the data of the wait is kept where the wait ends (keys, a deadline, the
//! end of a pause, …). A new reason is a variant of [`Blocked`]; the compiler then demands its cases here.

use super::Server;
use crate::command::waiting::Blocked;
use crate::sys::poller::Token;

impl Server {
    /// The number of blocked clients.
    pub(super) fn blocked_clients(&self) -> usize {
        Blocked::ALL.iter().map(|reason| self.blocked_for(*reason)).sum()
    }

    fn blocked_for(&self, reason: Blocked) -> usize {
        match reason {
            Blocked::Keys => self.audience.waiters.len(),
            Blocked::Acknowledgements => self.audience.acknowledgements.len(),
            Blocked::Pause => self.audience.pause().waiting_clients(),
            Blocked::Memory => self.waiting_for_memory.len(),
            Blocked::Freeing => self.audience.freeing.len(),
            Blocked::Part => self.parts.len(),
            Blocked::Migration => self.replication.migrations.waiting_clients(),
            Blocked::Shutdown => self.stopping.as_ref().map_or(0, |stopping| stopping.waiting_clients()),
            Blocked::Script => usize::from(self.is_busy()),
            // Not for longer than a few iterations: not a wait of the client's.
            Blocked::Line => 0,
        }
    }

    /// Removes a disconnected client that was blocked for `reason`.
    pub(super) fn forget_blocked(&mut self, token: Token, reason: Blocked) {
        match reason {
            Blocked::Keys => drop(self.unpark(token)),
            Blocked::Acknowledgements => drop(self.audience.acknowledgements.remove(token)),
            Blocked::Pause => self.audience.leave_pause(),
            Blocked::Memory => self.waiting_for_memory.retain(|waiting| *waiting != token),
            Blocked::Freeing => self.audience.forget_freeing(token),
            Blocked::Part => self.parts.forget(token),
            Blocked::Migration => self.forget_migrating(token),
            Blocked::Shutdown => self.forget_shutdown_client(token),
            Blocked::Line => {}
            Blocked::Script => unreachable!("a connection stays until its script has ended"),
        }
    }
}
