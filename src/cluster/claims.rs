//! Roles and slots as other nodes claim them. The claim with the greatest configuration epoch wins.

use super::message::Header;
use super::node::{Flags, NodeId, NodeIndex};
use super::slots::{BITMAP, SLOTS, SlotSet, ones};
use super::{Action, Cluster, Level};

impl Cluster {
    /// Takes the role that a node announces.
    pub(super) fn take_role(&mut self, sender: NodeIndex, header: &Header) {
        let Some(primary_id) = header.primary else { return self.set_as_primary(sender) };
        let primary = self.table.find(&primary_id).filter(|index| *index != sender);
        if self.table.node(sender).is_primary() {
            if !self.take_demotion(sender, primary, header.config_epoch) {
                return;
            }
            let node = self.table.node_mut(sender);
            node.flags.clear(Flags::MASTER | Flags::MIGRATE_TO);
            node.flags.set(Flags::SLAVE);
            self.todo.update_state = true;
            self.todo.ownership = true;
            self.save_later(false);
        }
        let Some(primary) = primary.filter(|new| self.table.node(sender).primary != Some(*new)) else {
            return;
        };
        if let Some(old) = self.table.node(sender).primary {
            self.table.remove_replica(old, sender);
        }
        self.table.add_replica(primary, sender);
        let shard_id = self.table.node(primary).shard_id;
        let (name, of) = (self.named(sender), self.named(primary));
        let text = format!("Node {name} is now a replica of node {of} in shard {shard_id}");
        self.log(Level::Notice, text);
        self.set_shard(sender, shard_id);
        self.save_later(false);
    }

    /// A primary has become a replica. Within its shard a failover gave its slots to the new primary; otherwise it has
    /// left its shard and its slots. Returns false if the message is older than the node's claim to its slots. Then the
    /// node keeps its role: as a replica with slots it would keep them from its primary, which claims them in the same
    /// epoch.
    fn take_demotion(&mut self, sender: NodeIndex, primary: Option<NodeIndex>, epoch: u64) -> bool {
        let name = self.named(sender);
        let (shard_id, known) = (self.table.node(sender).shard_id, self.table.node(sender).config_epoch);
        let in_shard = primary.filter(|primary| self.table.node(*primary).shard_id == shard_id);
        if let Some(primary) = in_shard {
            if self.table.node(sender).slots.is_empty() {
                // Another node has claimed the slots, maybe after this message was sent. So the primary in the message
                // may not be one any more.
                return true;
            }
            if known > epoch {
                self.log(Level::Notice, format!(
                    "Ignore stale message from {name} in shard {shard_id}; gossip config epoch: {epoch}, current \
                     config epoch: {known}"
                ));
                return false;
            }
            let slots = self.hand_over_slots(sender, primary);
            if primary == self.my_index() && self.myself().is_replica() {
                // This node was promoted before it restarted with an older configuration.
                self.act(Action::Promote);
            }
            self.set_as_primary(primary);
            let known = self.table.node(primary).config_epoch;
            self.table.node_mut(primary).config_epoch = known.max(epoch);
            let to = self.named(primary);
            self.log(Level::Notice, format!(
                "A failover occurred in shard {shard_id}; node {name} lost {slots} slot(s) to node {to} with a config \
                 epoch of {epoch}"
            ));
        } else {
            let slots = self.table.node(sender).slots.clone();
            slots.iter().for_each(|slot| self.unassign(slot));
            let slots = slots.len();
            self.log(Level::Notice, format!(
                "Node {name} is no longer master of shard {shard_id}; removed all {slots} slot(s) it used to own"
            ));
            if let Some(primary) = primary {
                let shard_id = self.table.node(primary).shard_id;
                self.log(Level::Notice, format!("Node {name} is now part of shard {shard_id}"));
            }
        }
        true
    }

    /// Accepts the slots that a node or its primary claims, or sends it an `UPDATE` with a newer claim.
    pub(super) fn take_claim(&mut self, sender: NodeIndex, header: &Header) {
        let node = self.table.node(sender);
        let owner = if node.is_primary() { Some(sender) } else { node.primary };
        let is_changed = owner.is_some_and(|owner| self.table.node(owner).slots.bits() != header.slots);
        if is_changed && self.table.node(sender).is_primary() {
            self.update_slots(sender, header.config_epoch, header.slots);
        }
        if is_changed {
            let better = ones(header.slots).find_map(|slot| {
                let known =
                    self.table.owner(slot).filter(|known| *known != sender && !self.is_unclaimed(slot))?;
                (self.table.node(known).config_epoch > header.config_epoch).then_some(known)
            });
            if let Some(better) = better {
                let (name, about) = (self.named(sender), self.named(better));
                let text = format!(
                    "Node {name} has old slots configuration, sending an UPDATE message about {about}"
                );
                self.log(Level::Verbose, text);
                self.send_update(sender, better);
            }
        }
        let epoch = self.myself().config_epoch;
        if self.myself().is_primary() && self.table.node(sender).is_primary() && header.config_epoch == epoch
        {
            self.resolve_collision(sender);
        }
    }

    /// Two primaries have the same configuration epoch: the one with the smaller ID takes a new one.
    fn resolve_collision(&mut self, sender: NodeIndex) {
        let (me, other) = (self.myself(), self.table.node(sender));
        if other.config_epoch != me.config_epoch || other.id <= me.id {
            return;
        }
        self.current_epoch += 1;
        self.me().config_epoch = self.current_epoch;
        self.save(true);
        let (name, epoch) = (self.named(sender), self.current_epoch);
        let text = format!("configEpoch collision with node {name}. configEpoch set to {epoch}");
        self.log(Level::Verbose, text);
    }

    /// Takes an `UPDATE` about a node.
    pub(super) fn take_update(&mut self, config_epoch: u64, id: NodeId, slots: &[u8; BITMAP]) {
        let Some(index) = self.table.find(&id) else { return };
        if self.table.node(index).config_epoch >= config_epoch {
            return;
        }
        if index == self.my_index() && self.myself().is_replica() {
            return;
        }
        self.set_as_primary(index);
        self.table.node_mut(index).config_epoch = config_epoch;
        self.save_later(true);
        self.update_slots(index, config_epoch, slots);
    }

    /// Gives a primary the slots that it claims in this epoch, and follows the consequences for this node.
    fn update_slots(&mut self, sender: NodeIndex, epoch: u64, slots: &[u8; BITMAP]) {
        let me = self.my_index();
        if sender == me {
            return self.log(Level::Notice, "Discarding UPDATE message about myself.");
        }
        // The primary whose slots this node has: itself, or its own.
        let mine = if self.myself().is_primary() { Some(me) } else { self.myself().primary };
        let (mut claimed, mut lost, mut dirty) = (0, 0, SlotSet::default());
        for slot in 0..SLOTS {
            let owner = self.table.owner(slot);
            if slots[usize::from(slot / 8)] & (1 << (slot % 8)) == 0 {
                if owner == Some(sender) {
                    // The slot stays where it is until another node claims it, so that clients see no error.
                    self.unclaimed.insert(slot);
                }
                continue;
            }
            claimed += 1;
            if owner == Some(sender) {
                self.unclaimed.remove(slot);
                continue;
            }
            // The import of a slot ends by SETSLOT alone.
            if self.importing.contains_key(&slot) {
                continue;
            }
            let known = owner.map(|owner| self.table.node(owner).config_epoch);
            if !self.is_unclaimed(slot) && known >= Some(epoch) {
                continue;
            }
            if owner == Some(me) {
                dirty.insert(slot);
            }
            lost += usize::from(owner.is_some() && owner == mine);
            self.assign(slot, sender);
            self.todo.update_state = true;
            self.save_later(true);
        }
        let is_empty = mine.is_some_and(|mine| self.table.node(mine).slots.is_empty());
        let may_follow = self.settings.allow_replica_migration || claimed == lost;
        if lost > 0 && is_empty && may_follow {
            self.log_becoming_replica(sender);
            self.set_primary(sender);
            self.todo.update_state = true;
            self.save_later(true);
        } else if !self.leave_replica() && !dirty.is_empty() {
            self.act(Action::DropKeys(dirty));
        }
    }

    /// Follows the primary of this node's primary, if that one has become a replica. Returns whether it has.
    pub(super) fn leave_replica(&mut self) -> bool {
        let Some(primary) = self.myself().primary else { return false };
        let above = self.table.node(primary).primary.filter(|above| *above != self.my_index());
        let Some(above) = above else { return false };
        let (old, new) = (self.table.node(primary).id, self.table.node(above).id);
        let text = format!("I'm a sub-replica! Reconfiguring myself from {old} to {new}");
        self.log(Level::Notice, text);
        self.set_primary(above);
        self.todo.update_state = true;
        self.save_later(true);
        true
    }
}
