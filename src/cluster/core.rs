//! Construction, the time, the queue of actions, and the queries of the server.

use super::node::{Flags, Node, NodeId, NodeIndex};
use super::slots::SlotSet;
use super::table::Table;
use super::{Action, Cluster, Election, Facts, KINDS, Level, ManualFailover, Settings, Todo, state};
use crate::types::random::Random;
use std::collections::{BTreeMap, VecDeque};

impl Cluster {
    /// Returns a node that knows no other node, with a new ID. `seed` comes from the kernel: IDs must be unique.
    pub fn new(settings: Settings, seed: u64, now_ms: u64) -> Cluster {
        let mut random = Random::new(seed);
        let (id, shard_id) = (NodeId::random(&mut random), NodeId::random(&mut random));
        let myself = Node::new(id, shard_id, Flags::MYSELF | Flags::MASTER, now_ms);
        let mut cluster = Cluster::with(Table::new(myself), settings, random, now_ms);
        cluster.log(Level::Notice, format!("No cluster configuration found, I'm {id}"));
        cluster.save(true);
        cluster
    }

    pub(super) fn with(table: Table, settings: Settings, random: Random, now_ms: u64) -> Cluster {
        let mut cluster = Cluster {
            settings: settings.clone(),
            random,
            now_ms,
            clock_ms: now_ms,
            facts: Facts::default(),
            table,
            reassigned: SlotSet::default(),
            links: BTreeMap::new(),
            next_link: 0,
            blacklist: BTreeMap::new(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            unclaimed: SlotSet::default(),
            current_epoch: 0,
            last_vote_epoch: 0,
            election: Election::default(),
            manual: ManualFailover::default(),
            state: state::State::default(),
            ticks: 0,
            gossips: 0,
            pfail_nodes: 0,
            sent: [0; KINDS],
            received: [0; KINDS],
            links_over_limit: 0,
            todo: Todo::default(),
            actions: VecDeque::new(),
        };
        cluster.set_settings(settings);
        cluster
    }

    /// Follows other directives.
    pub fn set_settings(&mut self, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        let Settings { announce_ip, announce_hostname, announce_nodename, .. } = &self.settings;
        let (ip, hostname, nodename) =
            (announce_ip.clone(), announce_hostname.clone(), announce_nodename.clone());
        let (port, tls_port, bus_port) = (self.settings.port, self.settings.tls_port, self.settings.bus_port);
        let no_failover = self.settings.replica_no_failover;
        let index = self.table.myself();
        let me = self.table.node_mut(index);
        let before = (me.address.clone(), me.hostname.clone(), me.nodename.clone(), me.flags);
        if !ip.is_empty() {
            me.address.ip = ip;
        } else if !old.announce_ip.is_empty() {
            // The next message reveals the address again.
            me.address.ip.clear();
        }
        (me.address.port, me.address.tls_port, me.address.bus_port) = (port, tls_port, bus_port);
        (me.hostname, me.nodename) = (hostname, nodename);
        me.flags.put(Flags::NOFAILOVER, no_failover);
        if before != (me.address.clone(), me.hostname.clone(), me.nodename.clone(), me.flags) {
            self.todo.save = true;
        }
        if old.require_full_coverage != self.settings.require_full_coverage {
            self.todo.update_state = true;
        }
    }

    /// The directives that it follows.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes the time of the caller's clock. A clock that was set back counts as one that stands still.
    pub(super) fn advance(&mut self, clock_ms: u64) {
        self.now_ms += clock_ms.saturating_sub(self.clock_ms);
        self.clock_ms = clock_ms;
    }

    /// Milliseconds since `then_ms`.
    pub(super) fn since(&self, then_ms: u64) -> u64 {
        self.now_ms.saturating_sub(then_ms)
    }

    /// The next action to execute.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Log(level, text.into()));
    }

    /// Has the configuration saved now.
    pub(super) fn save(&mut self, sync: bool) {
        let sync = sync || self.todo.sync;
        (self.todo.save, self.todo.sync) = (false, false);
        self.act(Action::SaveConfig { sync });
    }

    /// Has the configuration saved when the inputs at hand are processed.
    pub(super) fn save_later(&mut self, sync: bool) {
        self.todo.save = true;
        self.todo.sync |= sync;
    }

    /// This node.
    pub fn myself(&self) -> &Node {
        self.table.node(self.table.myself())
    }

    pub(super) fn me(&mut self) -> &mut Node {
        let index = self.table.myself();
        self.table.node_mut(index)
    }

    /// The place of this node.
    pub fn my_index(&self) -> NodeIndex {
        self.table.myself()
    }

    /// All nodes, this one and those in handshake included.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.table.iter()
    }

    /// The node at an index.
    pub fn node(&self, index: NodeIndex) -> Option<&Node> {
        self.table.get(index)
    }

    /// Finds a node by its ID.
    pub fn find(&self, id: &[u8]) -> Option<(NodeIndex, &Node)> {
        let index = self.table.find(&NodeId::parse(id)?)?;
        Some((index, self.table.node(index)))
    }

    /// The node that serves a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<&Node> {
        self.table.owner(slot).map(|index| self.table.node(index))
    }

    /// Whether this node or, of a replica, its primary serves a slot.
    #[inline]
    pub fn is_mine(&self, slot: u16) -> bool {
        let owner = self.table.owner(slot);
        owner.is_some() && (owner == Some(self.table.myself()) || owner == self.myself().primary)
    }

    /// The node to which a slot is migrated.
    #[inline]
    pub fn migrating(&self, slot: u16) -> Option<&Node> {
        if self.migrating.is_empty() {
            return None;
        }
        self.migrating.get(&slot).map(|index| self.table.node(*index))
    }

    /// The node from which a slot is imported.
    #[inline]
    pub fn importing(&self, slot: u16) -> Option<&Node> {
        if self.importing.is_empty() {
            return None;
        }
        self.importing.get(&slot).map(|index| self.table.node(*index))
    }

    /// The nodes of a shard: the primary first, then its replicas.
    pub fn shard_of(&self, shard_id: NodeId) -> impl Iterator<Item = &Node> {
        let members = move |primary: bool| {
            let all = self.table.iter().map(|(_, node)| node);
            all.filter(move |node| node.shard_id == shard_id && node.is_primary() == primary)
        };
        members(true).chain(members(false)).filter(|node| !node.is_in_handshake())
    }

    /// The current epoch of the cluster.
    pub fn current_epoch(&self) -> u64 {
        self.current_epoch
    }

    /// The last epoch in which this node voted.
    pub fn last_vote_epoch(&self) -> u64 {
        self.last_vote_epoch
    }
}
