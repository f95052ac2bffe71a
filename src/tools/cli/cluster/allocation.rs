//! The plan of a new cluster: which nodes are masters, which slots each gets, and which master a replica gets.
//!
//! Nodes are taken from the hosts in turn, so that masters are on different hosts where possible; the first ones are
//! the masters. A replica is preferably on another host than its master. As this greedy choice is not always the best
//! one, random swaps of masters improve it while that lowers the score: 10,000 for each replica on its master's host,
//! and the number of replicas that share a host with another replica of the same master.

use std::collections::BTreeMap;

use super::slots::{SLOTS, SlotSet};

/// The score of a replica on the host of its master.
const SAME_HOST: usize = 10_000;
/// The number of random swaps per node.
const SWAPS: usize = 500;

/// A plan. Nodes are numbered as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The masters in the order of their slots.
    pub masters: Vec<(usize, SlotSet)>,
    /// Replicas and their masters, in the order of the assignment.
    pub replicas: Vec<(usize, usize)>,
    /// The number of `replicas` that every master has to have; the others are left over.
    pub regular: usize,
}

/// How well replicas are separated from their masters and from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// No two nodes of a master are on the same host.
    Perfect,
    /// Replicas of the same master share a host.
    ReplicasTogether,
    /// A replica is on the host of its master.
    WithMaster,
}

/// Returns the number of masters among `nodes`.
pub fn masters(nodes: usize, replicas: usize) -> usize {
    nodes / (replicas + 1)
}

/// Allocates slots and replicas. `hosts` has the host of each node. There are at least as many nodes as masters.
pub fn allocate(hosts: &[&str], replicas: usize) -> Allocation {
    let order = interleave(hosts);
    let count = masters(hosts.len(), replicas);
    let ranges = ranges(count);
    let masters: Vec<(usize, SlotSet)> = order[..count]
        .iter()
        .zip(ranges)
        .map(|(node, (first, last))| (*node, SlotSet::from_range(first..=last)))
        .collect();
    let mut rest: Vec<usize> = order[count..].to_vec();
    // A rotation often separates the replicas from their masters already.
    if !rest.is_empty() {
        rest.rotate_left(1);
    }
    let mut plan = Allocation { masters, replicas: Vec::new(), regular: 0 };
    for at in 0..count {
        for _ in 0..replicas {
            plan.assign(hosts, at, &mut rest);
        }
    }
    plan.regular = plan.replicas.len();
    for at in 0..count {
        plan.assign(hosts, at, &mut rest);
    }
    plan
}

/// Orders the nodes so that their hosts alternate.
fn interleave(hosts: &[&str]) -> Vec<usize> {
    let mut by_host: Vec<(&str, Vec<usize>)> = Vec::new();
    for (node, host) in hosts.iter().enumerate() {
        match by_host.iter_mut().find(|(known, _)| known == host) {
            Some((_, nodes)) => nodes.push(node),
            None => by_host.push((host, vec![node])),
        }
    }
    let longest = by_host.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
    (0..longest).flat_map(|at| by_host.iter().filter_map(move |(_, nodes)| nodes.get(at).copied())).collect()
}

/// Divides all slots into `count` ranges of nearly the same size, with the borders that redis-cli chooses.
fn ranges(count: usize) -> Vec<(u16, u16)> {
    let size = f32::from(SLOTS) / count as f32;
    let (mut first, mut cursor) = (0, 0.0_f32);
    let mut ranges = Vec::new();
    for at in 0..count {
        let is_last = at == count - 1;
        let last = if is_last { SLOTS - 1 } else { (cursor + size - 1.0).round() as u16 }.max(first);
        ranges.push((first, last));
        first = last + 1;
        cursor += size;
    }
    ranges
}

impl Allocation {
    /// Gives the master at `at` a replica, if one is left: the first one on another host, or else the first one.
    fn assign(&mut self, hosts: &[&str], at: usize, rest: &mut Vec<usize>) {
        let master = self.masters[at].0;
        if rest.is_empty() {
            return;
        }
        let found = rest.iter().position(|node| hosts[*node] != hosts[master]).unwrap_or(0);
        self.replicas.push((rest.remove(found), master));
    }

    /// Returns the score of this plan, which is 0 if no two nodes of a master share a host, and the positions in
    /// `replicas` of those that cause it.
    pub fn score(&self, hosts: &[&str]) -> (usize, Vec<usize>) {
        // For each master and host: whether the master is there, and which of its replicas.
        let mut groups: BTreeMap<(usize, &str), (usize, Vec<usize>)> = BTreeMap::new();
        for (master, _) in &self.masters {
            groups.entry((*master, hosts[*master])).or_default().0 += 1;
        }
        for (at, (replica, master)) in self.replicas.iter().enumerate() {
            groups.entry((*master, hosts[*replica])).or_default().1.push(at);
        }
        let (mut score, mut offenders) = (0, Vec::new());
        for (masters, replicas) in groups.into_values() {
            if masters + replicas.len() < 2 {
                continue;
            }
            score += if masters > 0 { SAME_HOST * replicas.len() } else { replicas.len() };
            offenders.extend(replicas);
        }
        (score, offenders)
    }

    /// Improves the plan by swapping the masters of replicas. `random` returns a number below its argument. Returns
    /// whether swaps were tried, and the result.
    pub fn optimize(&mut self, hosts: &[&str], mut random: impl FnMut(usize) -> usize) -> (bool, Affinity) {
        let (mut score, mut offenders) = self.score(hosts);
        let tries = score > 0;
        let mut best = (score, self.replicas.clone());
        for _ in 0..SWAPS * hosts.len() {
            if score == 0 || offenders.is_empty() || self.replicas.len() < 2 {
                break;
            }
            let first = offenders[random(offenders.len())];
            let other = random(self.replicas.len() - 1);
            let second = if other >= first { other + 1 } else { other };
            self.swap(first, second);
            let (new, found) = self.score(hosts);
            // An equal score is accepted, because the best plan may need several swaps.
            if new > score {
                self.swap(first, second);
                continue;
            }
            (score, offenders) = (new, found);
            if score < best.0 {
                best = (score, self.replicas.clone());
            }
        }
        self.replicas = best.1;
        let affinity = match best.0 {
            0 => Affinity::Perfect,
            score if score >= SAME_HOST => Affinity::WithMaster,
            _ => Affinity::ReplicasTogether,
        };
        (tries, affinity)
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (first, second) = (self.replicas[a].1, self.replicas[b].1);
        self.replicas[a].1 = second;
        self.replicas[b].1 = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator (xorshift), so that a failure can be repeated.
    fn random(mut state: u64) -> impl FnMut(usize) -> usize {
        move |limit| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit as u64) as usize
        }
    }

    fn shown(plan: &Allocation) -> Vec<String> {
        plan.masters
            .iter()
            .map(|(_, slots)| crate::tools::cli::cluster::slots::Shown(slots).to_string())
            .collect()
    }

    #[test]
    fn slots_are_divided_as_by_redis_cli() {
        let hosts = ["h"; 7];
        assert_eq!(shown(&allocate(&hosts[..3], 0)), ["[0-5460]", "[5461-10922]", "[10923-16383]"]);
        assert_eq!(
            shown(&allocate(&hosts[..5], 0)),
            ["[0-3276]", "[3277-6553]", "[6554-9829]", "[9830-13106]", "[13107-16383]"]
        );
        for nodes in [1, 7, 100, 1000, 16384] {
            let hosts = vec!["h"; nodes];
            let plan = allocate(&hosts, 0);
            let sizes: Vec<usize> = plan.masters.iter().map(|(_, slots)| slots.len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), 16384, "{nodes}");
            let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            assert!(spread <= 2, "{nodes}: {spread}");
        }
    }

    #[test]
    fn replicas_on_one_host_are_assigned_as_by_redis_cli() {
        let plan = allocate(&["h"; 6], 1);
        assert_eq!(plan.masters.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(plan.replicas, [(4, 0), (5, 1), (3, 2)]);
        assert_eq!(plan.regular, 3);
        let extra = allocate(&["h"; 8], 1);
        assert_eq!((extra.masters.len(), extra.replicas.len(), extra.regular), (4, 4, 4));
        let extra = allocate(&["h"; 7], 1);
        assert_eq!((extra.masters.len(), extra.replicas.len(), extra.regular), (3, 4, 3));
    }

    #[test]
    fn no_replica_is_on_the_host_of_its_master_where_that_is_possible() {
        for (hosts, replicas) in [
            (vec!["a", "a", "b", "b", "c", "c"], 1),
            (vec!["a", "b", "c", "a", "b", "c", "a", "b", "c"], 2),
            (vec!["a", "a", "a", "b", "b", "b"], 1),
            (vec!["a", "a", "a", "a", "b", "b", "c", "c"], 1),
            (vec!["a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"], 2),
        ] {
            let mut plan = allocate(&hosts, replicas);
            let (_, affinity) = plan.optimize(&hosts, random(7));
            assert_eq!(affinity, Affinity::Perfect, "{hosts:?}: {plan:?}");
            assert_eq!(plan.score(&hosts).0, 0);
            let mut nodes: Vec<usize> = plan.masters.iter().map(|(node, _)| *node).collect();
            nodes.extend(plan.replicas.iter().map(|(node, _)| *node));
            nodes.sort_unstable();
            assert_eq!(nodes, (0..hosts.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_result_names_the_worst_pair_on_a_host() {
        let hosts = ["h"; 6];
        let mut plan = allocate(&hosts, 1);
        assert_eq!(plan.optimize(&hosts, random(7)), (true, Affinity::WithMaster));
        let hosts = ["a", "b", "b", "c", "d", "d", "e", "f", "f"];
        let mut plan = Allocation {
            masters: [0, 3, 6].map(|node| (node, SlotSet::default())).to_vec(),
            replicas: vec![(1, 0), (2, 0), (4, 3), (5, 3), (7, 6), (8, 6)],
            regular: 6,
        };
        assert_eq!(plan.score(&hosts).0, 6);
        assert_eq!(plan.optimize(&hosts, random(7)), (true, Affinity::Perfect));
        let hosts = ["a", "b", "b"];
        let mut plan =
            Allocation { masters: vec![(0, SlotSet::default())], replicas: vec![(1, 0), (2, 0)], regular: 2 };
        assert_eq!(plan.optimize(&hosts, random(7)), (true, Affinity::ReplicasTogether));
    }
}
