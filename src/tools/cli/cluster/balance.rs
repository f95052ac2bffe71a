//! Which slots to move: for `reshard` a number of slots from some nodes, for `rebalance` as the weights demand.

use super::slots::{SLOTS, SlotSet};

/// A node that gives or receives slots: its index in the cluster, and its slots.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The node.
    pub node: usize,
    /// The slots that it owns.
    pub slots: SlotSet,
}

/// Chooses `count` slots of the owners, from each in proportion to the slots it has. Returns (node, slot), the largest
/// owner first. The largest one rounds up and the others down, as in redis-cli; slots that are then missing are taken
/// from any owner.
pub fn choose(owners: &[Owner], count: usize) -> Vec<(usize, u16)> {
    let mut sorted: Vec<(&Owner, usize)> = owners.iter().map(|owner| (owner, owner.slots.len())).collect();
    sorted.sort_by_key(|(_, len)| std::cmp::Reverse(*len));
    let total: usize = sorted.iter().map(|(_, len)| len).sum();
    let count = count.min(total);
    let mut shares: Vec<usize> = sorted
        .iter()
        .enumerate()
        .map(
            |(at, (_, len))| {
                if at == 0 { (count * len).div_ceil(total.max(1)) } else { count * len / total.max(1) }
            },
        )
        .collect();
    let mut missing = count.saturating_sub(shares.iter().sum());
    for (share, (_, len)) in shares.iter_mut().zip(&sorted) {
        let more = missing.min(len - *share);
        *share += more;
        missing -= more;
    }
    let chosen = sorted.iter().zip(shares).flat_map(|((owner, _), share)| {
        owner.slots.iter().take(share).map(|slot| (owner.node, slot)).collect::<Vec<_>>()
    });
    chosen.take(count).collect()
}

/// A master that takes part in rebalancing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The node.
    pub node: usize,
    /// The number of its slots.
    pub slots: usize,
    /// Its weight.
    pub weight: f32,
}

/// What rebalancing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// How many slots each node has too many, in ascending order.
    pub surpluses: Vec<(usize, i64)>,
    /// Moves as (from, to, number of slots).
    pub moves: Vec<(usize, usize, usize)>,
}

/// Computes the moves after which each node has slots in proportion to its weight. Returns `None` if no node differs
/// from that by more than `threshold` percent.
pub fn rebalance(shares: &[Share], threshold: f64) -> Option<Balance> {
    let total: f32 = shares.iter().map(|share| share.weight).sum();
    let mut exceeds = false;
    let mut surpluses = Vec::new();
    for share in shares {
        let expected = if total > 0.0 { (f32::from(SLOTS) / total * share.weight) as i64 } else { 0 };
        let slots = share.slots as i64;
        surpluses.push((share.node, slots - expected));
        if threshold > 0.0 {
            exceeds |= if slots > 0 {
                (100.0 - 100.0 * expected as f64 / slots as f64).abs() > threshold
            } else {
                expected > 1
            };
        }
    }
    if !exceeds {
        return None;
    }
    // The expected numbers are rounded down: nodes that do not give slots receive the rest.
    let mut rest: i64 = surpluses.iter().map(|(_, surplus)| surplus).sum();
    while rest > 0 && surpluses.iter().any(|(_, surplus)| *surplus <= 0) {
        for (_, surplus) in &mut surpluses {
            if *surplus <= 0 && rest > 0 {
                *surplus -= 1;
                rest -= 1;
            }
        }
    }
    surpluses.sort_by_key(|(_, surplus)| *surplus);
    Some(Balance { moves: moves(&surpluses), surpluses })
}

/// Pairs the nodes that lack most slots with those that have most too many.
fn moves(surpluses: &[(usize, i64)]) -> Vec<(usize, usize, usize)> {
    let mut left = surpluses.to_vec();
    let (mut to, mut from) = (0, left.len().saturating_sub(1));
    let mut moves = Vec::new();
    while to < from {
        let count = left[to].1.abs().min(left[from].1.abs());
        if count > 0 {
            moves.push((left[from].0, left[to].0, count as usize));
        }
        left[to].1 += count;
        left[from].1 -= count;
        let (is_filled, is_empty) = (left[to].1 == 0, left[from].1 == 0);
        to += usize::from(is_filled);
        from -= usize::from(is_empty);
        if !is_filled && !is_empty {
            break;
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(node: usize, first: u16, last: u16) -> Owner {
        Owner { node, slots: SlotSet::from_range(first..=last) }
    }

    #[test]
    fn slots_are_chosen_in_proportion_largest_owner_first() {
        let owners = [owner(4, 0, 99), owner(5, 100, 399)];
        let chosen = choose(&owners, 10);
        let of = |node: usize| chosen.iter().filter(|(from, _)| *from == node).count();
        assert_eq!((chosen.len(), of(4), of(5)), (10, 2, 8));
        assert_eq!((chosen[0], chosen[8]), ((5, 100), (4, 0)));
        assert_eq!(choose(&owners, 1), [(5, 100)]);
        assert_eq!(choose(&owners, 1000).len(), 400);
        assert_eq!(choose(&[], 5), []);
        assert_eq!(choose(&[Owner { node: 1, slots: SlotSet::default() }], 5), []);
    }

    #[test]
    fn exactly_as_many_slots_are_chosen_as_wanted() {
        let owners = [owner(0, 0, 5460), owner(1, 5461, 10922), owner(2, 10923, 16383)];
        for count in [1, 2, 3, 5, 7, 100, 1000, 4097, 16383] {
            let chosen = choose(&owners, count);
            assert_eq!(chosen.len(), count);
            let slots: SlotSet = chosen.iter().map(|(_, slot)| *slot).collect();
            assert_eq!(slots.len(), count);
        }
    }

    fn share(node: usize, slots: usize, weight: f32) -> Share {
        Share { node, slots, weight }
    }

    #[test]
    fn an_empty_master_gets_its_share_from_the_others() {
        let shares = [share(0, 5461, 1.0), share(1, 5462, 1.0), share(2, 5461, 1.0), share(3, 0, 1.0)];
        let balance = rebalance(&shares, 2.0).unwrap();
        assert_eq!(balance.moves, [(1, 3, 1366), (2, 3, 1365), (0, 3, 1365)]);
        assert_eq!(rebalance(&shares[..3], 2.0), None);
    }

    #[test]
    fn weights_shift_slots_and_zero_empties_a_node() {
        let thirds = |weights: [f32; 3]| {
            let slots = [5461, 5462, 5461];
            [0, 1, 2].map(|at| share(at, slots[at], weights[at]))
        };
        let after = |shares: &[Share], balance: &Balance| {
            let mut slots: Vec<usize> = shares.iter().map(|share| share.slots).collect();
            for (from, to, count) in &balance.moves {
                slots[*from] -= count;
                slots[*to] += count;
            }
            slots
        };
        let shares = thirds([2.0, 1.0, 1.0]);
        assert_eq!(after(&shares, &rebalance(&shares, 2.0).unwrap()), [8192, 4096, 4096]);
        let shares = thirds([1.0, 1.0, 0.0]);
        assert_eq!(after(&shares, &rebalance(&shares, 2.0).unwrap()), [8192, 8192, 0]);
        let shares = thirds([1.0, 1.0, 1.5]);
        let slots = after(&shares, &rebalance(&shares, 2.0).unwrap());
        assert_eq!(slots.iter().sum::<usize>(), 16384);
        assert_eq!(rebalance(&thirds([1.0; 3]), 0.0), None);
    }
}
