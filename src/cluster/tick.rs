//! What happens without a message: every 100 ms, and before the server waits for events.

use super::message::Kind;
use super::node::{Flags, NodeIndex};
use super::{Cluster, Facts};

/// A random node is pinged once in this number of ticks.
const PING_TICKS: u64 = 10;

/// The number of nodes of which the one with the oldest `PONG` is pinged.
const PING_SAMPLE: usize = 5;

/// The replicas of the primaries, as replica migration sees them.
#[derive(Default)]
struct Census {
    /// The number of primaries without a working replica.
    orphans: usize,
    /// The most working replicas of a primary, and those of this node's.
    most: usize,
    own: usize,
}

impl Cluster {
    /// Does the work of 100 ms: connects, pings, detects failures, and continues elections.
    pub fn tick(&mut self, now_ms: u64, facts: &Facts) {
        self.advance(now_ms);
        self.facts = *facts;
        self.ticks += 1;
        self.expire_blacklist();
        self.tend_links();
        self.close_strangers();
        if self.ticks.is_multiple_of(PING_TICKS) {
            self.ping_oldest();
        }
        let (census, is_changed) = self.check_nodes();
        let me = self.myself();
        if let Some(primary) = me.primary.filter(|_| me.is_replica() && !facts.is_following)
            && !self.table.node(primary).flags.has(Flags::NOADDR)
        {
            self.follow(primary);
        }
        self.check_manual_failover();
        if self.myself().is_replica() {
            // Redis notices this only with changed slots, and may keep a chain of replicas.
            self.leave_replica();
            self.handle_manual_failover();
            self.handle_failover();
            let Census { orphans, most, own } = census;
            let is_candidate = orphans > 0 && most >= 2 && own == most;
            if self.myself().is_replica() && is_candidate && self.settings.allow_replica_migration {
                self.migrate_replica(most);
            }
        }
        if is_changed || !self.state.is_ok {
            self.update_state();
        }
    }

    /// Does the work that inputs left for later. The server calls it before it waits for events.
    pub fn settle(&mut self, now_ms: u64, facts: &Facts) {
        self.advance(now_ms);
        self.facts = *facts;
        let todo = std::mem::take(&mut self.todo);
        (self.todo.save, self.todo.sync) = (todo.save, todo.sync);
        if self.myself().is_replica() && (todo.handle_manual_failover || todo.handle_failover) {
            if todo.handle_manual_failover {
                self.handle_manual_failover();
            }
            self.handle_failover();
        }
        if todo.update_state || self.todo.update_state {
            self.update_state();
        }
        if self.todo.save {
            self.save(false);
        }
        if todo.ownership || std::mem::take(&mut self.todo.ownership) {
            self.act(super::Action::OwnershipChanged);
        }
    }

    /// Connects to nodes without a link, and removes those whose handshake failed.
    fn tend_links(&mut self) {
        self.pfail_nodes = 0;
        let handshake_ms = self.settings.node_timeout_ms.max(1000);
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            if self.table.get(index).is_none() {
                continue;
            }
            self.limit_links(index);
            let node = self.table.node(index);
            if node.flags.has(Flags::MYSELF | Flags::NOADDR) {
                continue;
            }
            self.pfail_nodes += usize::from(node.is_timed_out());
            if node.is_in_handshake() && self.since(node.created) > handshake_ms {
                self.remove_node(index);
            } else if node.link.is_none() {
                self.connect(index);
            }
        }
    }

    /// Pings the node with the oldest `PONG` of a few random ones.
    fn ping_oldest(&mut self) {
        let mut oldest: Option<(u64, super::LinkId)> = None;
        for _ in 0..PING_SAMPLE {
            let index = NodeIndex(self.random.below(self.table.places() as usize) as u32);
            if !self.is_plain(index) || self.table.node(index).ping_sent != 0 {
                continue;
            }
            let Some(link) = self.link_to(index) else { continue };
            let pong_ms = self.table.node(index).pong_received;
            if oldest.is_none_or(|(least, _)| pong_ms < least) {
                oldest = Some((pong_ms, link));
            }
        }
        if let Some((_, link)) = oldest {
            self.send_ping(link, Kind::Ping);
        }
    }

    /// Pings, reconnects and suspects nodes. Returns the replicas of the primaries, and whether a node is newly
    /// suspected.
    fn check_nodes(&mut self) -> (Census, bool) {
        let (mut census, mut is_changed) = (Census::default(), false);
        let is_replica = self.myself().is_replica();
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            let Some(node) = self.table.get(index) else { continue };
            if node.flags.has(Flags::MYSELF | Flags::NOADDR | Flags::HANDSHAKE) {
                continue;
            }
            if is_replica && node.is_primary() && !node.is_failed() {
                self.count_replicas(index, &mut census);
            }
            is_changed |= self.check_node(index);
        }
        (census, is_changed)
    }

    fn count_replicas(&self, index: NodeIndex, census: &mut Census) {
        let (node, working) = (self.table.node(index), self.table.working_replicas(index));
        if working == 0 && !node.slots.is_empty() && node.flags.has(Flags::MIGRATE_TO) {
            census.orphans += 1;
        }
        census.most = census.most.max(working);
        if self.myself().primary == Some(index) {
            census.own = working;
        }
    }

    /// Returns whether the node is newly suspected.
    fn check_node(&mut self, index: NodeIndex) -> bool {
        let timeout_ms = self.settings.node_timeout_ms;
        let node = self.table.node(index);
        let (ping_ms, data_ms) = (self.since(node.ping_sent), self.since(node.data_received));
        // The node may be alive and the connection lost: connect again, once for each timeout.
        let is_silent = node.ping_sent != 0 && ping_ms.min(data_ms) > timeout_ms / 2;
        if let Some(link) = node.link
            && is_silent
            && self.links.get(&link).is_some_and(|link| self.since(link.created_ms) > timeout_ms)
        {
            self.close(link);
        }
        let node = self.table.node(index);
        if let Some(link) = self.link_to(index) {
            let is_due =
                node.ping_sent == 0 && self.since(node.pong_received) > self.settings.ping_interval_ms;
            let hands_over = self.myself().is_primary() && self.manual.replica == Some(index);
            if is_due || hands_over {
                self.send_ping(link, Kind::Ping);
                return false;
            }
        }
        let is_late = node.ping_sent != 0 && ping_ms.min(data_ms) > timeout_ms;
        if !is_late || node.flags.has(Flags::PFAIL | Flags::FAIL) {
            return false;
        }
        let text = format!("*** NODE {} possibly failing", node.id);
        self.log(super::Level::Debug, text);
        self.table.node_mut(index).flags.set(Flags::PFAIL);
        if self.state.size == 1 && self.myself().is_primary() {
            self.fail_if_agreed(index);
        }
        true
    }
}
