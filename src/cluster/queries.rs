//! Questions of the server about nodes and slots.

use std::ops::RangeInclusive;

use super::node::{Node, NodeIndex};
use super::{Cluster, SLOTS};

impl Cluster {
    /// The owner of a slot.
    pub fn owner_index(&self, slot: u16) -> Option<NodeIndex> {
        self.table.owner(slot)
    }

    /// The node to which this one migrates a slot.
    pub fn migrating_index(&self, slot: u16) -> Option<NodeIndex> {
        self.migrating.get(&slot).copied()
    }

    /// The ranges of slots with one owner, in order.
    pub fn slot_ranges(&self) -> Vec<(RangeInclusive<u16>, NodeIndex)> {
        let mut ranges: Vec<(RangeInclusive<u16>, NodeIndex)> = Vec::new();
        for slot in 0..SLOTS {
            let Some(owner) = self.table.owner(slot) else { continue };
            match ranges.last_mut() {
                Some((range, last)) if *last == owner && *range.end() + 1 == slot => {
                    *range = *range.start()..=slot;
                }
                _ => ranges.push((slot..=slot, owner)),
            }
        }
        ranges
    }

    /// The nodes by their shards, each shard's primary first.
    pub fn shards(&self) -> Vec<Vec<&Node>> {
        let mut shards: Vec<Vec<&Node>> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        for (_, node) in self.nodes().filter(|(_, node)| !node.is_in_handshake()) {
            let place = *places.entry(node.shard_id).or_insert_with(|| {
                shards.push(Vec::new());
                shards.len() - 1
            });
            shards[place].push(node);
        }
        for shard in &mut shards {
            shard.sort_by_key(|node| node.is_replica());
        }
        shards
    }
}
