//! Seeded faults, and a quiet network afterwards.

use super::*;

/// The seeds of a normal test run; `make simulate` runs 10,000.
const SEEDS: u64 = 25;

/// For how long there are faults.
const FAULTS_MS: u64 = 30_000;

impl World {
    fn any(&mut self) -> usize {
        self.random.below(self.hosts.len())
    }

    fn block(&mut self, from: usize, to: usize, for_ms: usize) {
        if from != to {
            self.blocked.insert((from, to));
            self.after(for_ms, 0, Event::Unblock(from, to));
        }
    }

    /// A fault, or a command of an operator.
    fn disturb(&mut self) {
        let host = self.any();
        let for_ms = 200 + self.random.below(12_000);
        match self.random.below(if self.is_wild { 17 } else { 13 }) {
            0 | 1 => {
                let is_reset = self.random.below(3) > 0;
                self.stop(host, is_reset);
                self.after(300, for_ms, Event::Restart(host));
            }
            // Partitions: two halves, a node that nobody hears, one direction between two nodes.
            2 | 3 => {
                let side: Vec<bool> = self.hosts.iter().map(|_| false).collect();
                let side: Vec<bool> = side.into_iter().map(|_| self.random.below(2) == 0).collect();
                let both = self.random.below(3) > 0;
                for from in 0..side.len() {
                    for to in 0..side.len() {
                        if side[from] != side[to] && (both || side[from]) {
                            self.block(from, to, for_ms);
                        }
                    }
                }
            }
            4 => (0..self.hosts.len()).for_each(|to| self.block(host, to, for_ms)),
            5 => {
                let to = self.any();
                self.block(host, to, for_ms);
            }
            6 => {
                let wires: Vec<u64> = self.hosts[host].wires.values().copied().collect();
                for wire in wires {
                    if self.random.below(2) == 0 {
                        self.reset(wire);
                    }
                }
            }
            7 => self.hosts[host].clock_ms += [-3_600_000, -700, 900, 3_600_000][self.random.below(4)],
            8 => self.network.delay_ms = [5, 20, 200, 1500][self.random.below(4)],
            12 => {
                self.network.lost = [0, 0, 5, 30][self.random.below(4)];
                self.network.repeated = [0, 0, 10, 50][self.random.below(4)];
                self.network.overtaken = [0, 0, 20, 100][self.random.below(4)];
            }
            9 => {
                let mode = [FailoverMode::Coordinated, FailoverMode::Force][self.random.below(2)];
                self.call(host, |cluster, now_ms, facts| _ = cluster.failover(mode, now_ms, facts));
            }
            10 => self.restore_old_file(host),
            11 => self.hosts[host].old = self.hosts[host].synced.clone(),
            13 | 14 => self.move_slot(),
            15 => {
                let mode = FailoverMode::Takeover;
                self.call(host, |cluster, now_ms, facts| _ = cluster.failover(mode, now_ms, facts));
            }
            _ => self.wipe(host),
        }
    }

    fn reset(&mut self, number: u64) {
        let Some(Wire { ends, .. }) = self.wires.remove(&number) else { return };
        for (host, link) in ends {
            if let Some(link) = link {
                self.hosts[host].wires.remove(&link);
                self.call(host, |cluster, now_ms, _| cluster.link_closed(link, now_ms));
            }
        }
    }

    /// Restarts a node with an older `nodes.conf`, in which the epoch of the cluster, the other nodes and their slots
    /// may be outdated. Its vote, role, epoch and slots must be current: no protocol can do without them, and Redis,
    /// too, syncs the file before it votes or announces a claim. With an old vote the node would vote twice in an
    /// epoch. With an old role or epoch it would claim slots in an epoch that is over, while the others know a later
    /// one. A slot that it received since would have no owner.
    fn restore_old_file(&mut self, host: usize) {
        let kept = |text: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.contains("myself")).unwrap_or_default();
            // The flags, the primary, the epoch, and the slots.
            let words =
                line.split(' ').enumerate().filter(|(index, _)| [2, 3, 6].contains(index) || *index > 7);
            let vote = text.rsplit_once("lastVoteEpoch").map_or("", |(_, vote)| vote);
            words.map(|(_, word)| word).chain([vote]).map(str::to_owned).collect()
        };
        let entry = &self.hosts[host];
        if entry.cluster.is_none() || kept(&entry.old) != kept(&entry.synced) {
            return;
        }
        self.stop(host, true);
        let entry = &mut self.hosts[host];
        entry.written = entry.old.clone();
        entry.synced = entry.old.clone();
        self.after(300, 3000, Event::Restart(host));
    }

    /// Restarts a node without its `nodes.conf`: it returns with a new ID.
    fn wipe(&mut self, host: usize) {
        let Some(cluster) = &self.hosts[host].cluster else { return };
        let me = cluster.myself();
        // Only the replicas of a lost primary know its slots.
        if self.is_primary_wiped || (me.is_primary() && !self.has_copy(host)) {
            return;
        }
        self.is_primary_wiped = me.is_primary();
        self.stop(host, true);
        let entry = &mut self.hosts[host];
        (entry.written, entry.synced, entry.old) = Default::default();
        self.after(300, 3000, Event::Restart(host));
    }

    /// Whether the majority can elect a replica that has all slots of this primary.
    fn has_copy(&self, host: usize) -> bool {
        let Some(cluster) = &self.hosts[host].cluster else { return false };
        let me = cluster.myself();
        let has_same = |view: &Cluster| {
            let primary = view.myself().primary.and_then(|index| view.node(index));
            primary.is_some_and(|primary| primary.id == me.id && primary.slots == me.slots)
        };
        let copies = self.hosts.iter().filter_map(|host| host.cluster.as_ref()).filter(|view| has_same(view));
        self.primaries > 2 && !me.slots.is_empty() && copies.count() > 0
    }

    /// Moves a slot as `redis-cli --cluster reshard` does, without keys.
    fn move_slot(&mut self) {
        let (slot, source, target) = (self.random.below(16384) as u16, self.any(), self.any());
        let id = |world: &World, host: usize| Some(world.hosts[host].cluster.as_ref()?.myself().id);
        let (Some(from), Some(to)) = (id(self, source), id(self, target)) else { return };
        let is_owner = |cluster: &Cluster| cluster.owner(slot).is_some_and(|node| node.id == from);
        let (from, to) = (from.as_bytes(), to.as_bytes());
        // Only if both know that the source owns the slot, and the target serves slots, too.
        let agree =
            [source, target].iter().all(|host| self.hosts[*host].cluster.as_ref().is_some_and(is_owner));
        let serves = |cluster: &Cluster| !cluster.myself().slots.is_empty();
        if source == target
            || !agree
            || !self.hosts[target].cluster.as_ref().is_some_and(serves)
            || self.hosts[source].cluster.as_ref().is_some_and(|cluster| cluster.myself().slots.len() < 2)
        {
            return;
        }
        let mut set = |host, change| {
            let done = self.call(host, |cluster, now_ms, _| cluster.set_slot(slot, change, 0, now_ms));
            done.is_some_and(|result| result.is_ok())
        };
        _ = set(target, SetSlot::Importing(from))
            && set(source, SetSlot::Migrating(to))
            && set(target, SetSlot::Node(to))
            && set(source, SetSlot::Node(to));
    }

    /// Ends the faults.
    fn heal(&mut self) {
        self.network = Network::QUIET;
        self.blocked.clear();
        for host in 0..self.hosts.len() {
            if self.hosts[host].cluster.is_none() {
                self.start(host);
            }
        }
        self.replace_lost_primary();
        self.replace_lost_nodes();
    }

    /// The IDs in the table of a node that no running node has.
    fn lost(&self, host: usize) -> Vec<NodeId> {
        let ids: BTreeSet<NodeId> =
            self.hosts.iter().filter_map(|host| Some(host.cluster.as_ref()?.myself().id)).collect();
        let known = self.hosts[host].cluster.as_ref().expect("all run").nodes();
        let known = known.filter(|(_, node)| !node.is_in_handshake()).map(|(_, node)| node.id);
        known.filter(|id| !ids.contains(id)).collect()
    }

    /// An operator lets a replica replace a primary that lost its `nodes.conf`, unless one was elected. As in Redis,
    /// there is no election if the node returns at once with a new ID: then the old ID has no address, and is not
    /// flagged as failed.
    fn replace_lost_primary(&mut self) {
        let from_ms = self.now_ms;
        loop {
            let mut heir = None;
            for host in 0..self.hosts.len() {
                let (lost, view) = (self.lost(host), self.hosts[host].cluster.as_ref().expect("all run"));
                let primary = view.myself().primary.and_then(|index| view.node(index));
                if primary.is_some_and(|primary| lost.contains(&primary.id) && !primary.slots.is_empty()) {
                    heir = Some(host);
                }
            }
            let Some(host) = heir else { return };
            assert!(
                self.now_ms - from_ms < AGREEMENT_MS,
                "no replica replaces a lost primary\n{}",
                self.report()
            );
            self.run_until(self.now_ms + 3 * TIMEOUT_MS);
            let mode = FailoverMode::Force;
            self.call(host, |cluster, now_ms, facts| _ = cluster.failover(mode, now_ms, facts));
            self.run_until(self.now_ms + TIMEOUT_MS);
        }
    }

    /// An operator forgets the old IDs of nodes that lost their `nodes.conf`, and adds the new ones (`MEET`).
    fn replace_lost_nodes(&mut self) {
        let alone = |host: &Host| host.cluster.as_ref().is_some_and(|cluster| cluster.nodes().count() == 1);
        let new: Vec<bool> = self.hosts.iter().map(alone).collect();
        for (host, is_new) in new.into_iter().enumerate() {
            for id in self.lost(host) {
                self.call(host, |cluster, now_ms, _| _ = cluster.forget(id.as_bytes(), now_ms));
            }
            if is_new {
                for other in 0..self.hosts.len() {
                    self.call(other, |cluster, now_ms, _| _ = cluster.meet(&ip(host), 6379, 16379, now_ms));
                }
            }
        }
    }
}

fn run(seed: u64) -> Outcome {
    let is_wild = seed % 4 == 3;
    // Where a primary does not return, a replica must take over however old its data is.
    let replica_validity_factor = if is_wild { 0 } else { 10 };
    let settings = Settings { node_timeout_ms: TIMEOUT_MS, replica_validity_factor, ..Settings::default() };
    let shape = [(3, 6), (3, 6), (3, 7), (5, 5), (3, 9), (2, 4)][(seed / 4 % 6) as usize];
    let mut world = World::new(seed, shape.0, shape.1, &settings);
    world.is_wild = is_wild;
    world.run_until(START_MS + 4000);
    while world.now_ms < START_MS + FAULTS_MS {
        let pause_ms = [50, 700, 2500, 6000][world.random.below(4)];
        world.run_until(world.now_ms + world.random.clone().below(pause_ms) as u64);
        world.random.next();
        world.disturb();
    }
    world.heal();
    // The faults may still have late effects: links that are dead, delayed elections.
    world.run_until(world.now_ms + 6 * TIMEOUT_MS);
    world.await_agreement(AGREEMENT_MS);
    // It stays so.
    world.run_until(world.now_ms + 3000);
    assert_eq!(world.disagreement(), None, "{}", world.report());
    let (epoch_ms, slots_ms) = world.rivals.longest;
    Outcome { elections: world.elections, epoch_ms, slots_ms }
}

#[test]
fn a_minority_never_promotes_and_all_nodes_agree_after_any_schedule_of_faults() {
    let Outcome { elections, epoch_ms, slots_ms } = run_all(SEEDS, run);
    println!(
        "{elections} elections were won; for at most {epoch_ms} ms two primaries that reached each other had the same"
    );
    println!("epoch, and for at most {slots_ms} ms two served the same slot");
}
