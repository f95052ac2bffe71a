//! The subcommands of `CLUSTER` that change the machine. An error is the text of the reply, with its `ERR`.

use std::net::IpAddr;

use super::membership::BLACKLIST_MS;
use super::node::{Flags, Node, NodeId, NodeIndex};
use super::slots::{SLOTS, SlotSet};
use super::{Action, Cluster, Facts, Level};

/// How `CLUSTER FAILOVER` replaces the primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailoverMode {
    /// The primary pauses writes, and hands over when the replica has everything.
    Coordinated,
    /// Without the primary, by election.
    Force,
    /// Without an election.
    Takeover,
}

/// A change of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetSlot<'a> {
    /// Move the keys to the node with this ID.
    Migrating(&'a [u8]),
    /// Take the keys from the node with this ID.
    Importing(&'a [u8]),
    /// End both.
    Stable,
    /// Give the slot to the node with this ID.
    Node(&'a [u8]),
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Cluster {
    /// `CLUSTER MEET`: starts a handshake.
    ///
    /// # Errors
    /// The address is neither IPv4 nor IPv6, a port is 0, or too many handshakes are in progress.
    pub fn meet(&mut self, ip: &str, port: u16, bus_port: u16, now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        let address = ip.parse::<IpAddr>().ok().filter(|_| port != 0 && bus_port != 0);
        let Some(address) = address else {
            return Err(format!("ERR Invalid node address specified: {ip}:{port}"));
        };
        self.start_handshake(&address.to_string(), port, bus_port)
    }

    /// `CLUSTER FORGET`.
    ///
    /// # Errors
    /// The node is unknown, this node, or its primary.
    pub fn forget(&mut self, id: &[u8], now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        let Some(index) = self.find(id).map(|(index, _)| index) else {
            // Another node may have gossiped that it was forgotten.
            let is_forgotten = NodeId::parse(id).is_some_and(|id| self.is_blacklisted(&id));
            return if is_forgotten { Ok(()) } else { Err(format!("ERR Unknown node {}", shown(id))) };
        };
        if index == self.my_index() {
            return Err("ERR I tried hard but I can't forget myself...".into());
        }
        if self.myself().primary == Some(index) {
            return Err("ERR Can't forget my master!".into());
        }
        let id = self.table.node(index).id;
        self.blacklist.insert(id, self.now_ms + BLACKLIST_MS);
        self.remove_node(index);
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// `CLUSTER ADDSLOTS` and `ADDSLOTSRANGE`.
    ///
    /// # Errors
    /// A slot has an owner, or is named twice.
    pub fn add_slots(&mut self, slots: &[u16], now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        self.check_slots(slots, true)?;
        let me = self.my_index();
        for slot in slots {
            self.importing.remove(slot);
            self.assign(*slot, me);
        }
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// `CLUSTER DELSLOTS` and `DELSLOTSRANGE`.
    ///
    /// # Errors
    /// A slot has no owner, or is named twice.
    pub fn del_slots(&mut self, slots: &[u16], now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        self.check_slots(slots, false)?;
        for slot in slots {
            self.unassign(*slot);
        }
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// Checks the slots of a request that adds (`must_be_free`) or removes slots.
    ///
    /// # Errors
    /// Names the first slot that cannot be added or removed, or that is given twice.
    pub fn check_slots(&self, slots: &[u16], must_be_free: bool) -> Result<(), String> {
        let mut named = SlotSet::default();
        for slot in slots.iter().copied() {
            if slot >= SLOTS {
                return Err("ERR Invalid or out of range slot".into());
            }
            if self.table.owner(slot).is_some() == must_be_free {
                let state = if must_be_free { "busy" } else { "unassigned" };
                return Err(format!("ERR Slot {slot} is already {state}"));
            }
            if !named.insert(slot) {
                return Err(format!("ERR Slot {slot} specified multiple times"));
            }
        }
        Ok(())
    }

    /// `CLUSTER FLUSHSLOTS`: gives up all slots of this node.
    ///
    /// # Errors
    /// There are keys.
    pub fn flush_slots(&mut self, now_ms: u64, facts: &Facts) -> Result<(), String> {
        self.advance(now_ms);
        if facts.has_keys {
            return Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into());
        }
        for slot in self.myself().slots.clone().iter() {
            self.unassign(slot);
        }
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// `CLUSTER SETSLOT`. `keys` is the number of keys in the slot.
    ///
    /// # Errors
    /// The node is unknown or not a primary, or the slot is not in the state that the change needs.
    pub fn set_slot(&mut self, slot: u16, change: SetSlot, keys: usize, now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        if slot >= SLOTS {
            return Err("ERR Invalid or out of range slot".into());
        }
        if self.myself().is_replica() {
            return Err("ERR Please use SETSLOT only with masters.".into());
        }
        let is_mine = self.table.owner(slot) == Some(self.my_index());
        match change {
            SetSlot::Migrating(_) if !is_mine => {
                return Err(format!("ERR I'm not the owner of hash slot {slot}"));
            }
            SetSlot::Importing(_) if is_mine => {
                return Err(format!("ERR I'm already the owner of hash slot {slot}"));
            }
            SetSlot::Migrating(id) => {
                let target = self.find_primary(id, "I don't know about node")?;
                self.migrating.insert(slot, target);
            }
            SetSlot::Importing(id) => {
                let source = self.find_primary(id, "I don't know about node")?;
                self.importing.insert(slot, source);
            }
            SetSlot::Stable => {
                self.migrating.remove(&slot);
                self.importing.remove(&slot);
            }
            SetSlot::Node(id) => {
                let owner = self.find_primary(id, "Unknown node")?;
                if is_mine && owner != self.my_index() && keys > 0 {
                    return Err(format!(
                        "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash \
                         slot."
                    ));
                }
                self.give_slot(slot, owner, keys);
            }
        }
        self.todo.ownership = true;
        self.todo.update_state = true;
        // Redis does not sync: after a loss of power both nodes may deny that the slot is theirs.
        self.save_later(true);
        Ok(())
    }

    fn find_primary(&self, id: &[u8], unknown: &str) -> Result<NodeIndex, String> {
        match self.find(id) {
            None => Err(format!("ERR {unknown} {}", shown(id))),
            Some((_, node)) if node.is_replica() => Err("ERR Target node is not a master".into()),
            Some((index, _)) => Ok(index),
        }
    }

    fn give_slot(&mut self, slot: u16, owner: NodeIndex, keys: usize) {
        let me = self.my_index();
        if keys == 0 {
            self.migrating.remove(&slot);
        }
        let was_mine = self.table.owner(slot) == Some(me);
        self.assign(slot, owner);
        if was_mine && owner != me && self.myself().slots.is_empty() && self.settings.allow_replica_migration
        {
            self.log_becoming_replica(owner);
            self.set_primary(owner);
            self.save_later(true);
        }
        if owner == me && self.importing.remove(&slot).is_some() {
            // The new owner needs the greatest epoch. If another node takes the same one, the collision is resolved.
            if self.bump() {
                self.log(Level::Notice, format!("configEpoch updated after importing slot {slot}"));
            }
            self.broadcast_pong(false);
        }
    }

    /// `CLUSTER REPLICATE`.
    ///
    /// # Errors
    /// The node is unknown, this node, or a replica; or this node is a primary with slots or keys.
    pub fn replicate(&mut self, id: &[u8], now_ms: u64, facts: &Facts) -> Result<(), String> {
        self.advance(now_ms);
        let Some((index, node)) = self.find(id) else {
            return Err(format!("ERR Unknown node {}", shown(id)));
        };
        if index == self.my_index() {
            return Err("ERR Can't replicate myself".into());
        }
        if node.is_replica() {
            return Err("ERR I can only replicate a master, not a replica.".into());
        }
        if self.myself().is_primary() && (!self.myself().slots.is_empty() || facts.has_keys) {
            return Err("ERR To set a master the node must be empty and without assigned slots.".into());
        }
        self.set_primary(index);
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// `CLUSTER FAILOVER`.
    ///
    /// # Errors
    /// This node is not a replica, or its primary is unknown or down.
    pub fn failover(&mut self, mode: FailoverMode, now_ms: u64, facts: &Facts) -> Result<(), String> {
        self.advance(now_ms);
        if self.myself().is_primary() {
            return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
        }
        let Some(primary) = self.myself().primary else {
            return Err("ERR I'm a replica but my master is unknown to me".into());
        };
        let is_down = self.table.node(primary).is_failed() || self.table.node(primary).link.is_none();
        if is_down && mode == FailoverMode::Coordinated {
            return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
        }
        self.begin_manual_failover(mode, primary, facts);
        Ok(())
    }

    /// `CLUSTER RESET`. A replica becomes an empty primary.
    ///
    /// # Errors
    /// A primary has keys.
    pub fn reset(&mut self, hard: bool, now_ms: u64, facts: &Facts) -> Result<(), String> {
        self.advance(now_ms);
        if self.myself().is_primary() && facts.has_keys {
            return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        let me = self.my_index();
        if self.myself().is_replica() {
            self.set_as_primary(me);
            self.act(Action::Promote);
            self.act(Action::Empty);
        }
        self.migrating.clear();
        self.importing.clear();
        self.reset_manual_failover();
        for slot in 0..SLOTS {
            self.unassign(slot);
        }
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            if index != me && self.table.get(index).is_some() {
                self.remove_node(index);
            }
        }
        if hard {
            (self.current_epoch, self.last_vote_epoch) = (0, 0);
            let id = NodeId::random(&mut self.random);
            self.table.rename(me, id);
            let shard_id = NodeId::random(&mut self.random);
            let node = self.me();
            (node.config_epoch, node.shard_id) = (0, shard_id);
            self.log(Level::Notice, format!("Node hard reset, now I'm {id}"));
        }
        self.todo.ownership = true;
        self.todo.update_state = true;
        self.save_later(true);
        Ok(())
    }

    /// `CLUSTER SET-CONFIG-EPOCH`.
    ///
    /// # Errors
    /// Other nodes are known, the epoch is set, or the new one is negative.
    pub fn set_config_epoch(&mut self, epoch: i64, now_ms: u64) -> Result<(), String> {
        self.advance(now_ms);
        let Ok(new) = u64::try_from(epoch) else {
            return Err(format!("ERR Invalid config epoch specified: {epoch}"));
        };
        if self.table.len() > 1 {
            return Err(
                "ERR The user can assign a config epoch only when the node does not know any other node."
                    .into(),
            );
        }
        if self.myself().config_epoch != 0 {
            return Err("ERR Node config epoch is already non-zero".into());
        }
        self.me().config_epoch = new;
        self.current_epoch = self.current_epoch.max(new);
        self.log(Level::Notice, format!("configEpoch set to {new} via CLUSTER SET-CONFIG-EPOCH"));
        self.todo.update_state = true;
        self.save_later(false);
        Ok(())
    }

    /// `CLUSTER BUMPEPOCH`. Returns whether the epoch changed, and the epoch.
    pub fn bump_epoch(&mut self, now_ms: u64) -> (bool, u64) {
        self.advance(now_ms);
        (self.bump(), self.myself().config_epoch)
    }

    /// `CLUSTER COUNT-FAILURE-REPORTS`.
    ///
    /// # Errors
    /// The node is unknown.
    pub fn count_failure_reports(&mut self, id: &[u8], now_ms: u64) -> Result<usize, String> {
        self.advance(now_ms);
        let (index, _) = self.find(id).ok_or_else(|| format!("ERR Unknown node {}", shown(id)))?;
        Ok(self.count_reports(index))
    }

    /// `CLUSTER REPLICAS`: the replicas of a node.
    ///
    /// # Errors
    /// The node is unknown or not a primary.
    pub fn replicas_of(&self, id: &[u8]) -> Result<Vec<&Node>, String> {
        let (_, node) = self.find(id).ok_or_else(|| format!("ERR Unknown node {}", shown(id)))?;
        if node.is_replica() {
            return Err("ERR The specified node is not a master".into());
        }
        Ok(node.replicas.iter().map(|index| self.table.node(*index)).collect())
    }

    /// Makes the slots agree with the keys that were loaded at startup: `has_keys` tells for each slot. A slot without
    /// an owner is claimed, a slot of another node is imported.
    pub fn adopt_loaded_keys(&mut self, has_keys: impl Fn(u16) -> bool) {
        if self.myself().is_replica() {
            return;
        }
        let (me, mut changed) = (self.my_index(), false);
        for slot in (0..SLOTS).filter(|slot| has_keys(*slot)) {
            let owner = self.table.owner(slot);
            if owner == Some(me) || self.importing.contains_key(&slot) {
                continue;
            }
            changed = true;
            if let Some(owner) = owner {
                self.log(Level::Notice, format!(
                    "I have keys for slot {slot}, but the slot is assigned to another node. Setting it to importing \
                     state."
                ));
                self.importing.insert(slot, owner);
            } else {
                let text = format!("I have keys for unassigned slot {slot}. Taking responsibility for it.");
                self.log(Level::Notice, text);
                self.assign(slot, me);
            }
        }
        if changed {
            self.save(true);
        }
    }

    /// `PUBLISH` and `SPUBLISH`: sends a message to the other nodes, or to those of this node's shard.
    pub fn publish(&mut self, channel: &[u8], message: &[u8], sharded: bool, now_ms: u64) {
        self.advance(now_ms);
        self.send_publish(channel, message, sharded);
    }

    pub(super) fn is_blacklisted(&self, id: &NodeId) -> bool {
        self.blacklist.get(id).is_some_and(|until_ms| *until_ms > self.now_ms)
    }

    /// Whether a node has flags that exclude it from most work: this one, and those in handshake.
    pub(super) fn is_plain(&self, index: NodeIndex) -> bool {
        self.table.get(index).is_some_and(|node| !node.flags.has(Flags::MYSELF | Flags::HANDSHAKE))
    }
}

#[cfg(test)]
mod tests;
