//! Decides how to fix a slot that is open, or that no node covers. The decisions are redis-cli's.

/// What a master says of an open slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: usize,
    /// Its ID.
    pub name: String,
    /// Whether it owns the slot, by its own configuration.
    pub owns: bool,
    /// The number of the slot's keys that it has.
    pub keys: u64,
    /// The ID of the node that it migrates the slot to.
    pub migrating_to: Option<String>,
    /// Whether it imports the slot.
    pub imports: bool,
}

/// How to fix an open slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The node that owns the slot, or is going to.
    pub owner: usize,
    /// Whether no node is the clear owner, so that this one has to be configured.
    pub has_to_configure: bool,
    /// The nodes that lose their claim and are set as importing.
    pub losers: Vec<usize>,
    /// The nodes that migrate the slot, before the repair.
    pub migrating: Vec<usize>,
    /// The nodes that import the slot, or just have keys of it, before the repair.
    pub importing: Vec<usize>,
    /// What to do once there is one owner.
    pub action: Action,
}

/// The last step of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// One node migrates and one imports: complete the move.
    Complete { from: usize, to: usize },
    /// Nobody migrates: move the keys of these nodes to the owner.
    Collect { from: Vec<usize> },
    /// One node migrates to `to`, others also import, without keys: complete the move, close the slot on those.
    CompleteAndClose { from: usize, to: usize, close: Vec<usize> },
    /// One node migrates to none of those that import, which have no keys: close the slot on all of them.
    Close { nodes: Vec<usize> },
    /// One node migrates and nobody imports: close the slot on it.
    Stop { node: usize },
    /// None of the above.
    Unknown,
}

/// Decides how to fix an open slot. `claims` has all masters. Returns `None` if there is no master at all.
pub fn open_slot(claims: &[Claim]) -> Option<Repair> {
    let owners: Vec<&Claim> = claims.iter().filter(|claim| claim.owns || claim.keys > 0).collect();
    let clear = if let [one] = owners[..] { Some(one.node) } else { None };
    let is_migrating = |claim: &&Claim| claim.migrating_to.is_some();
    let is_importing = |claim: &&Claim| {
        claim.migrating_to.is_none() && (claim.imports || (Some(claim.node) != clear && claim.keys > 0))
    };
    let nodes = |claims: &[&Claim]| claims.iter().map(|claim| claim.node).collect::<Vec<usize>>();
    let mut migrating: Vec<&Claim> = claims.iter().filter(is_migrating).collect();
    let mut importing: Vec<&Claim> = claims.iter().filter(is_importing).collect();
    let (was_migrating, was_importing) = (nodes(&migrating), nodes(&importing));

    let owner = clear.or_else(|| with_most_keys(claims))?;
    let mut losers = Vec::new();
    if clear.is_none() {
        migrating.retain(|claim| claim.node != owner);
        importing.retain(|claim| claim.node != owner);
        for claim in owners.iter().filter(|claim| claim.node != owner) {
            losers.push(claim.node);
            importing.retain(|other| other.node != claim.node);
            importing.push(claim);
            migrating.retain(|other| other.node != claim.node);
        }
    }
    let action = last_step(&migrating, &importing, owner);
    Some(Repair {
        owner,
        has_to_configure: clear.is_none(),
        losers,
        migrating: was_migrating,
        importing: was_importing,
        action,
    })
}

fn last_step(migrating: &[&Claim], importing: &[&Claim], owner: usize) -> Action {
    match (migrating, importing) {
        ([from], [to]) => Action::Complete { from: from.node, to: to.node },
        ([], [_, ..]) => {
            let from = importing.iter().map(|claim| claim.node).filter(|node| *node != owner);
            Action::Collect { from: from.collect() }
        }
        ([from], [_, _, ..]) => {
            if importing.iter().any(|claim| claim.keys > 0) {
                return Action::Unknown;
            }
            let is_target = |claim: &&&Claim| Some(&claim.name) == from.migrating_to.as_ref();
            let others = |except: Option<usize>| {
                importing.iter().map(|claim| claim.node).filter(move |node| Some(*node) != except)
            };
            match importing.iter().find(is_target) {
                Some(to) => Action::CompleteAndClose {
                    from: from.node,
                    to: to.node,
                    close: others(Some(to.node)).collect(),
                },
                None => Action::Close { nodes: std::iter::once(from.node).chain(others(None)).collect() },
            }
        }
        ([from], []) if from.node == owner || from.keys == 0 => Action::Stop { node: from.node },
        _ => Action::Unknown,
    }
}

/// The first node with the most keys of a slot.
fn with_most_keys(claims: &[Claim]) -> Option<usize> {
    let most = claims.iter().map(|claim| claim.keys).max()?;
    claims.iter().find(|claim| claim.keys == most).map(|claim| claim.node)
}

/// How to cover the slots that no node covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Slots without keys, and the node that gets each.
    pub empty: Vec<(u16, usize)>,
    /// Slots with keys on one node, which gets them.
    pub single: Vec<(u16, usize)>,
    /// Slots with keys on several nodes: the one with the most keys gets them, the others give theirs away.
    pub several: Vec<(u16, usize, Vec<usize>)>,
}

/// Decides how to cover slots. `holders` has for each uncovered slot the masters with keys of it and their numbers;
/// `masters` has the number of slots of every master. Slots without keys go to the masters with the fewest slots.
pub fn coverage(holders: &[(u16, Vec<(usize, u64)>)], masters: &[(usize, usize)]) -> Coverage {
    let mut sizes = masters.to_vec();
    let mut coverage = Coverage::default();
    for (slot, nodes) in holders {
        let node = match &nodes[..] {
            [] => {
                let Some((node, _)) = sizes.iter().min_by_key(|(_, slots)| *slots) else { continue };
                coverage.empty.push((*slot, *node));
                *node
            }
            [(node, _)] => {
                coverage.single.push((*slot, *node));
                *node
            }
            several => {
                let most = several.iter().map(|(_, keys)| *keys).max().unwrap_or(0);
                let Some((node, _)) = several.iter().find(|(_, keys)| *keys == most) else { continue };
                let others = several.iter().map(|(other, _)| *other).filter(|other| other != node);
                coverage.several.push((*slot, *node, others.collect()));
                *node
            }
        };
        if let Some((_, slots)) = sizes.iter_mut().find(|(known, _)| *known == node) {
            *slots += 1;
        }
    }
    coverage
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim from words: `owns`, `keys=N`, `to=NAME`, `imports`. Nodes are named `a`, `b`, `c`.
    fn claims(texts: &[&str]) -> Vec<Claim> {
        texts
            .iter()
            .enumerate()
            .map(|(node, text)| {
                let mut claim =
                    Claim { node, name: ["a", "b", "c", "d"][node].to_string(), ..Claim::default() };
                for word in text.split(' ').filter(|word| !word.is_empty()) {
                    match word.split_once('=') {
                        Some(("keys", keys)) => claim.keys = keys.parse().unwrap(),
                        Some(("to", name)) => claim.migrating_to = Some(name.to_string()),
                        _ if word == "owns" => claim.owns = true,
                        _ if word == "imports" => claim.imports = true,
                        _ => panic!("{word}"),
                    }
                }
                claim
            })
            .collect()
    }

    fn action(texts: &[&str]) -> Action {
        open_slot(&claims(texts)).unwrap().action
    }

    #[test]
    fn an_interrupted_move_is_completed() {
        let wanted = Action::Complete { from: 0, to: 1 };
        assert_eq!(action(&["owns to=b keys=3", "imports", ""]), wanted);
        let repair = open_slot(&claims(&["owns to=b", "imports", ""])).unwrap();
        assert_eq!((repair.owner, repair.has_to_configure, &repair.losers[..]), (0, false, &[][..]));
        assert_eq!((&repair.migrating[..], &repair.importing[..]), (&[0][..], &[1][..]));
    }

    #[test]
    fn keys_outside_of_the_owner_are_moved_to_it() {
        assert_eq!(action(&["owns", "imports", "imports"]), Action::Collect { from: vec![1, 2] });
        let repair = open_slot(&claims(&["owns keys=9", "keys=2", "imports keys=1"])).unwrap();
        assert!(repair.has_to_configure);
        assert_eq!((repair.owner, &repair.losers[..]), (0, &[1, 2][..]));
        assert_eq!(repair.action, Action::Collect { from: vec![1, 2] });
    }

    #[test]
    fn the_node_with_the_most_keys_becomes_the_owner_if_there_is_none_or_several() {
        let repair = open_slot(&claims(&["imports", "imports keys=1", "imports keys=5"])).unwrap();
        assert_eq!((repair.owner, repair.has_to_configure, &repair.losers[..]), (2, true, &[1][..]));
        assert_eq!(repair.action, Action::Collect { from: vec![0, 1] });
        let none = open_slot(&claims(&["imports", "", ""])).unwrap();
        assert_eq!((none.owner, none.has_to_configure), (0, true));
        let two = open_slot(&claims(&["owns to=c", "owns to=c", "imports"])).unwrap();
        assert_eq!((two.owner, &two.losers[..]), (0, &[1][..]));
        assert_eq!(two.action, Action::Collect { from: vec![2, 1] });
        assert_eq!(open_slot(&[]), None);
    }

    #[test]
    fn superfluous_importing_nodes_are_closed_unless_they_have_keys() {
        let wanted = Action::CompleteAndClose { from: 0, to: 2, close: vec![1] };
        assert_eq!(action(&["owns to=c", "imports", "imports"]), wanted);
        assert_eq!(action(&["owns to=d", "imports", "imports"]), Action::Close { nodes: vec![0, 1, 2] });
    }

    #[test]
    fn a_migration_that_nobody_imports_is_stopped() {
        assert_eq!(action(&["owns to=b keys=7", "", ""]), Action::Stop { node: 0 });
        assert_eq!(action(&["to=b", "owns", ""]), Action::Stop { node: 0 });
    }

    #[test]
    fn uncovered_slots_go_to_their_keys_or_to_the_smallest_masters() {
        let masters = [(0, 10), (1, 8), (3, 9)];
        let holders =
            [(1, vec![]), (2, vec![]), (3, vec![]), (4, vec![(0, 5)]), (5, vec![(0, 1), (1, 7), (3, 7)])];
        let wanted = Coverage {
            empty: vec![(1, 1), (2, 1), (3, 3)],
            single: vec![(4, 0)],
            several: vec![(5, 1, vec![0, 3])],
        };
        assert_eq!(coverage(&holders, &masters), wanted);
    }
}
