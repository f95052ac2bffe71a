//! Replica migration: a replica of the primary that has the most moves to a primary that has lost all of its own.

use super::node::{Flags, NodeIndex};
use super::{Cluster, Level};

/// For how long a primary must be without a replica. After a failover its own replicas need time to announce
/// themselves.
const DELAY_MS: u64 = 5000;

impl Cluster {
    /// Migrates to a primary without working replicas, if this replica has the smallest ID among those of the primaries
    /// with the most working replicas, `most`.
    pub(super) fn migrate_replica(&mut self, most: usize) {
        let Some(primary) = self.myself().primary.filter(|_| self.state.is_ok) else { return };
        let is_working = |index: &&NodeIndex| !self.table.node(**index).flags.has(Flags::FAIL | Flags::PFAIL);
        let working = self.table.node(primary).replicas.iter().filter(is_working).count();
        if working <= self.settings.migration_barrier as usize {
            return;
        }
        let (mut target, mut candidate) = (None, self.my_index());
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            let Some(node) = self.table.get(index) else { continue };
            let replicas = if node.is_primary() { self.table.working_replicas(index) } else { 0 };
            let is_orphan =
                !node.is_replica() && !node.is_failed() && node.flags.has(Flags::MIGRATE_TO) && replicas == 0;
            if replicas == most {
                let all = node.replicas.iter().chain([&candidate]).copied();
                candidate = all.min_by_key(|index| self.table.node(*index).id).unwrap_or(candidate);
            }
            if is_orphan && !node.slots.is_empty() && target.is_none() {
                target = Some(index);
            }
            let now_ms = self.now_ms;
            let node = self.table.node_mut(index);
            match is_orphan {
                true if node.orphaned_time == 0 => node.orphaned_time = now_ms,
                true => {}
                false => node.orphaned_time = 0,
            }
        }
        if let Some(target) = target
            && candidate == self.my_index()
            && self.since(self.table.node(target).orphaned_time) > DELAY_MS
        {
            self.log(Level::Notice, format!("Migrating to orphaned master {}", self.table.node(target).id));
            self.set_primary(target);
            self.save_later(false);
            self.todo.update_state = true;
        }
    }
}
