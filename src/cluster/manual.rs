//! `CLUSTER FAILOVER`: a replica replaces its working primary, without losing writes.
//!
//! ```text
//!   replica                            primary
//!   MFSTART ─────────────────────────▶ pauses writes for 10 s
//!   offset of the primary ◀─────────── PINGs with the flag PAUSED
//!   waits until it has everything, then is elected with the flag FORCEACK
//!   PONG: primary of the slots ──────▶ becomes a replica, ends the pause
//! ```
//!
//! While a slow script runs on the primary, the flag is not set: what the script writes has no offset yet. The pause also
//! stops what the primary itself adds to the stream (`PING`, `REPLCONF GETACK`): the replica waits for that very offset.
//!
//! Both give up after 5 seconds. `FORCE` starts with the election, `TAKEOVER` needs none.

use super::message::{Body, Kind};
use super::node::NodeIndex;
use super::{Action, Cluster, Facts, FailoverMode, Level};

/// How long a manual failover may take.
const TIMEOUT_MS: u64 = 5000;

/// How long the primary pauses writes: longer, for the replica may win in the last moment.
const PAUSE_MS: u64 = 2 * TIMEOUT_MS;

/// The progress of a manual failover, on either side.
#[derive(Debug, Default)]
pub(super) struct ManualFailover {
    end_ms: Option<u64>,
    /// On the primary: the replica that takes over.
    pub(super) replica: Option<NodeIndex>,
    /// On the replica: the offset that the paused primary sent.
    primary_offset: Option<i64>,
    /// On the replica: whether the election may start.
    pub(super) can_start: bool,
}

impl ManualFailover {
    /// Whether a manual failover is in progress.
    pub(super) fn is_active(&self) -> bool {
        self.end_ms.is_some()
    }
}

impl Cluster {
    pub(super) fn begin_manual_failover(&mut self, mode: FailoverMode, primary: NodeIndex, facts: &Facts) {
        self.facts = *facts;
        self.reset_manual_failover();
        self.reset_election();
        self.manual.end_ms = Some(self.now_ms + TIMEOUT_MS);
        match mode {
            FailoverMode::Takeover => {
                self.log(Level::Notice, "Taking over the master (user request).");
                self.bump();
                self.replace_primary();
            }
            FailoverMode::Force => {
                self.log(Level::Notice, "Forced failover user request accepted.");
                self.manual.can_start = true;
            }
            FailoverMode::Coordinated => {
                self.log(Level::Notice, "Manual failover user request accepted.");
                self.send_short(primary, Kind::MfStart, &Body::MfStart);
            }
        }
    }

    /// A replica of this primary requested a manual failover over this link.
    pub(super) fn pause_for_failover(&mut self, replica: NodeIndex) {
        self.reset_manual_failover();
        self.manual.end_ms = Some(self.now_ms + TIMEOUT_MS);
        self.manual.replica = Some(replica);
        // The pause is in the time of the caller's clock.
        self.act(Action::PauseWrites { until_ms: self.clock_ms + PAUSE_MS });
        let text = format!("Manual failover requested by replica {}.", self.named(replica));
        self.log(Level::Notice, text);
    }

    /// Takes the offset that the paused primary sent.
    pub(super) fn take_primary_offset(&mut self, offset: i64) {
        if self.manual.is_active() && self.manual.primary_offset.is_none() {
            self.manual.primary_offset = Some(offset);
            self.todo.handle_manual_failover = true;
            let text = format!("Received replication offset for paused master manual failover: {offset}");
            self.log(Level::Notice, text);
        }
    }

    /// Lets the election start when this replica has all data of its primary.
    pub(super) fn handle_manual_failover(&mut self) {
        if !self.manual.is_active() || self.manual.can_start {
            return;
        }
        let Some(offset) = self.manual.primary_offset else { return };
        if offset == self.facts.offset {
            self.manual.can_start = true;
            self.todo.handle_failover = true;
            let text = "All master replication stream processed, manual failover can start.";
            self.log(Level::Notice, text);
        } else {
            self.todo.handle_manual_failover = true;
        }
    }

    /// Ends a manual failover whose time is up.
    pub(super) fn check_manual_failover(&mut self) {
        if self.manual.end_ms.is_some_and(|end_ms| end_ms < self.now_ms) {
            self.log(Level::Warning, "Manual failover timed out.");
            self.reset_manual_failover();
        }
    }

    /// Ends a manual failover, and the pause if this node is the primary.
    pub(super) fn reset_manual_failover(&mut self) {
        let old = std::mem::take(&mut self.manual);
        if old.replica.is_some() {
            self.act(Action::ResumeWrites);
        }
    }
}

#[cfg(test)]
mod tests;
