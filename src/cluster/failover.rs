//! A replica replaces its failed primary, if the majority of the primaries votes for it.
//!
//! ```text
//!   primary FAIL ─▶ delay: 0.5 s + random 0.5 s + rank · 1 s ─▶ new epoch, requests ─▶ majority ─▶ promoted
//!                        ▲                                          │ two node timeouts
//!                        └────────── four node timeouts ────────────┘
//! ```
//!
//! The rank is the number of replicas of the same primary with a greater replication offset, so that the one with the
//! most data asks first. A primary votes once in an epoch ([`voting`](super::voting)); there is at most one majority,
//! hence at most one winner of an epoch, whose configuration epoch it becomes.

use super::node::{Flags, NodeIndex};
use super::{Action, Cluster, Level};

/// The fixed delay before an election, in which the `FAIL` message reaches the voters; and the greatest random one.
const FIXED_DELAY_MS: u64 = 500;
const RANDOM_DELAY_MS: usize = 500;

/// The delay for each replica with more data.
const RANK_DELAY_MS: u64 = 1000;

/// The same reason for not failing over is logged once in this time.
const RELOG_MS: u64 = 10_000;

/// Why a replica does not replace its failed primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    DataAge,
    Delay,
    Expired,
    Votes,
}

impl Obstacle {
    fn text(self) -> &'static str {
        match self {
            Obstacle::DataAge => {
                "Disconnected from master for longer than allowed. Please check the 'cluster-replica-validity-factor' \
                 configuration option."
            }
            Obstacle::Delay => "Waiting the delay before I can start a new failover.",
            Obstacle::Expired => "Failover attempt expired.",
            Obstacle::Votes => "Waiting for votes, but majority still not reached.",
        }
    }
}

/// The progress of an election.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When the requests are sent; `None` before the first election.
    at_ms: Option<u64>,
    votes: usize,
    is_sent: bool,
    rank: u64,
    pub(super) epoch: u64,
    obstacle: Option<Obstacle>,
    logged_ms: u64,
}

impl Cluster {
    /// Starts or continues an election.
    pub(super) fn handle_failover(&mut self) {
        self.todo.handle_failover = false;
        let is_manual = self.manual.can_start && self.manual.is_active();
        let Some(primary) = self.failed_primary(is_manual) else {
            self.election.obstacle = None;
            return;
        };
        if !is_manual && !self.has_recent_data() {
            return self.note_obstacle(primary, Obstacle::DataAge);
        }
        let timeout_ms = (self.settings.node_timeout_ms * 2).max(2000);
        // The age counts from the time of the requests, which may be ahead: then it is negative, here 0.
        let Some(at_ms) = self.election.at_ms.filter(|at_ms| self.since(*at_ms) <= timeout_ms * 2) else {
            return self.schedule_election();
        };
        let at_ms =
            if self.election.is_sent || self.manual.is_active() { at_ms } else { self.delay_by_rank(at_ms) };
        if self.now_ms < at_ms {
            return self.note_obstacle(primary, Obstacle::Delay);
        }
        if self.since(at_ms) > timeout_ms {
            return self.note_obstacle(primary, Obstacle::Expired);
        }
        if !self.election.is_sent {
            self.request_votes();
        } else if self.election.votes >= self.quorum() {
            self.win();
        } else {
            self.note_obstacle(primary, Obstacle::Votes);
        }
    }

    /// The primary to replace: it failed or hands over, and it has slots.
    fn failed_primary(&self, is_manual: bool) -> Option<NodeIndex> {
        let me = self.myself();
        let primary = me.primary.filter(|_| me.is_replica())?;
        let node = self.table.node(primary);
        let is_wanted = is_manual || (node.is_failed() && !self.settings.replica_no_failover);
        (is_wanted && !node.slots.is_empty()).then_some(primary)
    }

    /// Whether the data is recent enough: not counting the time in which the primary was found to have failed, the
    /// replica has been disconnected for less than some node timeouts.
    fn has_recent_data(&self) -> bool {
        let timeout_ms = self.settings.node_timeout_ms;
        let factor = u64::from(self.settings.replica_validity_factor);
        let age_ms = self.facts.data_age_ms;
        let age_ms = if age_ms > timeout_ms { age_ms - timeout_ms } else { age_ms };
        factor == 0 || age_ms <= self.settings.repl_ping_period_ms + timeout_ms.saturating_mul(factor)
    }

    fn schedule_election(&mut self) {
        let rank = self.rank();
        let random_ms = self.random.below(RANDOM_DELAY_MS) as u64;
        let is_manual = self.manual.is_active();
        let (rank, delay_ms) =
            if is_manual { (0, 0) } else { (rank, FIXED_DELAY_MS + random_ms + rank * RANK_DELAY_MS) };
        let election = &mut self.election;
        (election.at_ms, election.rank) = (Some(self.now_ms + delay_ms), rank);
        (election.votes, election.is_sent) = (0, false);
        self.todo.handle_failover |= is_manual;
        let offset = self.facts.offset;
        let text =
            format!("Start of election delayed for {delay_ms} milliseconds (rank #{rank}, offset {offset}).");
        self.log(Level::Notice, text);
        // The other replicas learn this offset, and compute their ranks.
        self.broadcast_pong(true);
    }

    /// Adds to the delay if another replica turned out to have more data. Returns the time of the requests.
    fn delay_by_rank(&mut self, at_ms: u64) -> u64 {
        let rank = self.rank();
        if rank <= self.election.rank {
            return at_ms;
        }
        let added_ms = (rank - self.election.rank) * RANK_DELAY_MS;
        self.election.rank = rank;
        self.election.at_ms = Some(at_ms + added_ms);
        let text = format!("Replica rank updated to #{rank}, added {added_ms} milliseconds of delay.");
        self.log(Level::Notice, text);
        at_ms + added_ms
    }

    /// The number of replicas of the same primary that have more data and may be promoted.
    fn rank(&self) -> u64 {
        let Some(primary) = self.myself().primary else { return 0 };
        let replicas = self.table.node(primary).replicas.iter().filter(|index| **index != self.my_index());
        let has_more = |index: &&NodeIndex| {
            let node = self.table.node(**index);
            !node.flags.has(Flags::NOFAILOVER) && node.repl_offset > self.facts.offset
        };
        replicas.filter(has_more).count() as u64
    }

    fn request_votes(&mut self) {
        self.current_epoch += 1;
        self.election.epoch = self.current_epoch;
        self.election.is_sent = true;
        // It uses up its own vote: if it voted for another candidate of this epoch when it is the new primary, that one
        // could win, too.
        self.last_vote_epoch = self.current_epoch;
        let epoch = self.current_epoch;
        self.log(Level::Notice, format!("Starting a failover election for epoch {epoch}."));
        // The epoch is on disk before it is used: it must not be requested twice.
        self.save(true);
        self.broadcast_auth_request(self.manual.is_active());
        self.todo.update_state = true;
    }

    /// Counts a vote: of a primary with slots, for the current election, and once.
    pub(super) fn count_vote(&mut self, voter: NodeIndex, voter_epoch: u64) {
        let epoch = self.election.epoch;
        let node = self.table.node_mut(voter);
        let is_valid = node.is_primary() && !node.slots.is_empty() && voter_epoch >= epoch;
        if is_valid && self.election.is_sent && node.vote != epoch {
            node.vote = epoch;
            self.election.votes += 1;
            self.todo.handle_failover = true;
        }
    }

    fn win(&mut self) {
        self.log(Level::Notice, "Failover election won: I'm the new master.");
        let epoch = self.election.epoch;
        if self.myself().config_epoch < epoch {
            self.me().config_epoch = epoch;
            self.log(Level::Notice, format!("configEpoch set to {epoch} after successful failover"));
        }
        self.replace_primary();
    }

    /// Becomes the primary of the slots of the old one, and tells everybody.
    pub(super) fn replace_primary(&mut self) {
        let me = self.my_index();
        let Some(old) = self.myself().primary.filter(|_| self.myself().is_replica()) else { return };
        self.set_as_primary(me);
        self.act(Action::Promote);
        self.hand_over_slots(old, me);
        self.update_state();
        self.save(true);
        self.broadcast_pong(false);
        self.reset_manual_failover();
        self.reset_election();
    }

    /// Ends an election: its votes were for another primary, or are used.
    pub(super) fn reset_election(&mut self) {
        self.election = Election { epoch: self.election.epoch, ..Election::default() };
    }

    /// Logs why there is no failover, unless the same was logged shortly before or the primary has just failed.
    fn note_obstacle(&mut self, primary: NodeIndex, obstacle: Obstacle) {
        let is_repeated = self.election.obstacle == Some(obstacle);
        if is_repeated && self.since(self.election.logged_ms) < RELOG_MS {
            return;
        }
        self.election.obstacle = Some(obstacle);
        let node = self.table.node(primary);
        if node.is_failed() && self.since(node.fail_time) < self.settings.node_timeout_ms + 5000 {
            return;
        }
        self.election.logged_ms = self.now_ms;
        self.log(Level::Notice, format!("Currently unable to failover: {}", obstacle.text()));
    }

    /// Takes an epoch greater than all others without a vote, unless this node has it. Returns whether it did.
    pub(super) fn bump(&mut self) -> bool {
        let greatest = self.greatest_epoch();
        // A restarted replica has its primary's epoch as its own.
        let mine = if self.myself().is_primary() { self.myself().config_epoch } else { 0 };
        if mine != 0 && mine == greatest {
            return false;
        }
        self.current_epoch = greatest.max(self.current_epoch) + 1;
        self.me().config_epoch = self.current_epoch;
        let epoch = self.current_epoch;
        self.log(Level::Notice, format!("New configEpoch set to {epoch}"));
        self.save_later(true);
        true
    }

    pub(super) fn greatest_epoch(&self) -> u64 {
        let epochs = self.table.iter().map(|(_, node)| node.config_epoch);
        epochs.max().unwrap_or(0).max(self.current_epoch)
    }
}

#[cfg(test)]
mod tests;
