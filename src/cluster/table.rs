//! The table of nodes, and the owner of each slot.
//!
//! Nodes live in a vector; a [`NodeIndex`] stays valid until its node is removed, and [`Table::remove`] removes it from
//! every other node first. Iteration is in the order of the vector, hence the same in each run.

use std::collections::HashMap;

use super::node::{Flags, Node, NodeId, NodeIndex};
use super::slots::SLOTS;

#[derive(Debug)]
pub(super) struct Table {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    /// Looked up for each gossip entry. Never iterated, so its order does not matter.
    by_id: HashMap<NodeId, NodeIndex>,
    owners: Vec<Option<NodeIndex>>,
    assigned: u16,
    myself: NodeIndex,
}

impl Table {
    pub(super) fn new(myself: Node) -> Table {
        let by_id = HashMap::from([(myself.id, NodeIndex(0))]);
        let owners = vec![None; usize::from(SLOTS)];
        Table {
            nodes: vec![Some(myself)],
            free: Vec::new(),
            by_id,
            owners,
            assigned: 0,
            myself: NodeIndex(0),
        }
    }

    /// The number of nodes, including this one and those in handshake.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn myself(&self) -> NodeIndex {
        self.myself
    }

    pub(super) fn set_myself(&mut self, index: NodeIndex) {
        self.myself = index;
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(index.0 as usize)?.as_ref()
    }

    pub(super) fn node(&self, index: NodeIndex) -> &Node {
        self.get(index).expect("an index is removed with its node")
    }

    pub(super) fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        self.nodes[index.0 as usize].as_mut().expect("an index is removed with its node")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        let all = self.nodes.iter().enumerate();
        all.filter_map(|(index, node)| Some((NodeIndex(index as u32), node.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeIndex, &mut Node)> {
        let all = self.nodes.iter_mut().enumerate();
        all.filter_map(|(index, node)| Some((NodeIndex(index as u32), node.as_mut()?)))
    }

    /// The number of places, for random draws and for loops that change the table.
    pub(super) fn places(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Adds a node whose ID is new.
    pub(super) fn add(&mut self, node: Node) -> NodeIndex {
        debug_assert!(!self.by_id.contains_key(&node.id));
        let id = node.id;
        let index = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = Some(node);
            NodeIndex(index)
        } else {
            self.nodes.push(Some(node));
            NodeIndex(self.nodes.len() as u32 - 1)
        };
        self.by_id.insert(id, index);
        index
    }

    /// Gives a node another ID, which no node has.
    pub(super) fn rename(&mut self, index: NodeIndex, id: NodeId) {
        debug_assert!(!self.by_id.contains_key(&id));
        let old = std::mem::replace(&mut self.node_mut(index).id, id);
        self.by_id.remove(&old);
        self.by_id.insert(id, index);
    }

    /// Removes a node and everything that refers to it in the table. Returns the node.
    pub(super) fn remove(&mut self, index: NodeIndex) -> Node {
        debug_assert_ne!(index, self.myself);
        for slot in self.node(index).slots.clone().iter() {
            self.unassign(slot);
        }
        for replica in self.node(index).replicas.clone() {
            self.node_mut(replica).primary = None;
        }
        if let Some(primary) = self.node(index).primary {
            self.remove_replica(primary, index);
        }
        for (_, node) in self.iter_mut() {
            node.reports.remove(&index);
        }
        let node = self.nodes[index.0 as usize].take().expect("an index is removed with its node");
        self.by_id.remove(&node.id);
        self.free.push(index.0);
        node
    }

    /// The owner of a slot.
    #[inline]
    pub(super) fn owner(&self, slot: u16) -> Option<NodeIndex> {
        *self.owners.get(usize::from(slot))?
    }

    /// The number of slots that have an owner.
    pub(super) fn assigned(&self) -> usize {
        usize::from(self.assigned)
    }

    /// Makes `index` the owner of a slot. A primary that gets its first slot becomes a target of replica migration if
    /// other primaries have replicas.
    pub(super) fn assign(&mut self, slot: u16, index: NodeIndex) {
        self.unassign(slot);
        self.owners[usize::from(slot)] = Some(index);
        self.assigned += 1;
        self.node_mut(index).slots.insert(slot);
        if self.node(index).slots.len() == 1 && self.primaries_have_replicas() {
            self.node_mut(index).flags.set(Flags::MIGRATE_TO);
        }
    }

    /// Removes the owner of a slot. Returns it.
    pub(super) fn unassign(&mut self, slot: u16) -> Option<NodeIndex> {
        let owner = self.owners[usize::from(slot)].take()?;
        self.assigned -= 1;
        self.node_mut(owner).slots.remove(slot);
        Some(owner)
    }

    fn primaries_have_replicas(&self) -> bool {
        self.iter().any(|(_, node)| node.is_primary() && !node.replicas.is_empty())
    }

    /// Makes `replica` a replica of `primary`, without changing its flags.
    pub(super) fn add_replica(&mut self, primary: NodeIndex, replica: NodeIndex) {
        self.node_mut(replica).primary = Some(primary);
        let node = self.node_mut(primary);
        if !node.replicas.contains(&replica) {
            node.replicas.push(replica);
            node.flags.set(Flags::MIGRATE_TO);
        }
    }

    /// Ends what [`Table::add_replica`] began.
    pub(super) fn remove_replica(&mut self, primary: NodeIndex, replica: NodeIndex) {
        self.node_mut(replica).primary = None;
        let node = self.node_mut(primary);
        node.replicas.retain(|index| *index != replica);
        if node.replicas.is_empty() {
            node.flags.clear(Flags::MIGRATE_TO);
        }
    }

    /// The number of replicas of a node that are not failing.
    pub(super) fn working_replicas(&self, index: NodeIndex) -> usize {
        let replicas = self.node(index).replicas.iter();
        replicas.filter(|replica| !self.node(**replica).is_failed()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::Random;

    fn table(count: usize) -> (Table, Vec<NodeIndex>) {
        let mut random = Random::new(1);
        let mut node = || {
            let id = NodeId::random(&mut random);
            Node::new(id, id, Flags::MASTER, 0)
        };
        let mut table = Table::new(node());
        let others: Vec<NodeIndex> = (1..count).map(|_| table.add(node())).collect();
        (table, [vec![NodeIndex(0)], others].concat())
    }

    #[test]
    fn a_removed_node_leaves_no_trace() {
        let (mut table, at) = table(4);
        table.assign(5, at[1]);
        table.add_replica(at[1], at[2]);
        table.add_replica(at[3], at[1]);
        table.node_mut(at[3]).reports.insert(at[1], 9);
        let node = table.remove(at[1]);
        assert_eq!((table.find(&node.id), table.get(at[1]).is_some(), table.len()), (None, false, 3));
        assert_eq!((table.owner(5), table.assigned()), (None, 0));
        assert_eq!(table.node(at[2]).primary, None);
        assert!(table.node(at[3]).replicas.is_empty() && table.node(at[3]).reports.is_empty());
        let id = NodeId::random(&mut Random::new(99));
        assert_eq!(table.add(Node::new(id, id, Flags::MASTER, 0)), at[1], "the place is used again");
    }

    #[test]
    fn slots_have_one_owner() {
        let (mut table, at) = table(3);
        table.assign(7, at[1]);
        table.assign(7, at[2]);
        table.assign(8, at[2]);
        assert_eq!(
            (table.node(at[1]).slots.len(), table.node(at[2]).slots.len(), table.assigned()),
            (0, 2, 2)
        );
        assert_eq!((table.owner(7), table.unassign(8), table.unassign(8)), (Some(at[2]), Some(at[2]), None));
        assert_eq!(table.assigned(), 1);
    }

    #[test]
    fn a_primary_is_a_target_of_migration_with_its_first_slot_if_others_have_replicas() {
        let (mut table, at) = table(4);
        table.assign(1, at[1]);
        assert!(!table.node(at[1]).flags.has(Flags::MIGRATE_TO));
        table.add_replica(at[1], at[3]);
        assert!(table.node(at[1]).flags.has(Flags::MIGRATE_TO));
        table.assign(2, at[2]);
        assert!(table.node(at[2]).flags.has(Flags::MIGRATE_TO));
        table.remove_replica(at[1], at[3]);
        assert!(!table.node(at[1]).flags.has(Flags::MIGRATE_TO));
    }
}
