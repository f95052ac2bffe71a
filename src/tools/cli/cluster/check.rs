//! `check` and `info`: whether all nodes agree, whether slots are open, and whether all slots are covered.

use std::collections::BTreeSet;

use super::picture::Cluster;
use super::slots::{SLOTS, SlotSet};
use super::{Failure, Request, fix, screen};
use crate::tools::cli::cluster::options::Settings;

/// `check`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let mut cluster = request.load(request.words.len())?;
    show_keys(&mut cluster)?;
    require(check(&mut cluster, request.settings, false)?)
}

/// `info`.
pub(super) fn info(request: &Request<'_>) -> Result<(), Failure> {
    show_keys(&mut request.load(request.words.len())?)
}

/// Turns a check with problems, which it has printed, into a failure.
pub(super) fn require(is_good: bool) -> Result<(), Failure> {
    if is_good { Ok(()) } else { Err(Failure::Told) }
}

/// Prints the number of keys of each master.
pub(super) fn show_keys(cluster: &mut Cluster<'_>) -> Result<(), Failure> {
    let mut keys = 0;
    let masters = cluster.masters();
    for at in &masters {
        let name = cluster.nodes[*at].name.clone();
        let replicas = cluster.nodes.iter().filter(|node| node.replicates.as_ref() == Some(&name)).count();
        let size = match cluster.number(*at, &["DBSIZE"]) {
            Ok(size) => size,
            // The rest of the check follows, as in redis-cli.
            Err(refusal) => return cluster.report(*at, &refusal).or(Ok(())),
        };
        let node = &cluster.nodes[*at];
        screen::line(format_args!(
            "{} ({}...) -> {size} keys | {} slots | {replicas} slaves.",
            node.address(),
            name.get(..8).unwrap_or(&name),
            node.slots.len()
        ))?;
        keys += size;
    }
    screen::good(format_args!("[OK] {keys} keys in {} masters.", masters.len()))?;
    let per_slot = keys as f32 / f32::from(SLOTS);
    screen::line(format_args!("{per_slot:.2} keys per slot on average."))
}

/// Checks the cluster, and fixes what it finds if the settings say so. Returns whether it is good now.
pub(super) fn check(cluster: &mut Cluster<'_>, settings: &Settings, is_quiet: bool) -> Result<bool, Failure> {
    screen::step(format_args!(">>> Performing Cluster Check (using node {})", cluster.nodes[0].address()))?;
    if !is_quiet {
        for node in &cluster.nodes {
            screen::line(node.describe(0, false))?;
        }
    }
    let mut is_good = true;
    if cluster.is_consistent() {
        screen::good("[OK] All nodes agree about slots configuration.")?;
    } else {
        problem(cluster, "[ERR] Nodes don't agree about configuration!")?;
        is_good = false;
    }
    screen::step(">>> Check for open slots...")?;
    let open = open_slots(cluster)?;
    if !open.is_empty() {
        screen::error(format_args!("[WARNING] The following slots are open: {}.", list(open.iter())))?;
        is_good = false;
        if settings.fixes {
            fix::must_be_complete(cluster, settings, "open slots")?;
            is_good = fix_open_slots(cluster, settings, &open)?;
        }
    }
    screen::step(">>> Check slots coverage...")?;
    let mut covered = SlotSet::default();
    for node in &cluster.nodes {
        covered.extend(node.slots.iter());
    }
    if covered.len() == SLOTS as usize {
        screen::good(format_args!("[OK] All {SLOTS} slots covered."))?;
    } else {
        problem(cluster, &format!("[ERR] Not all {SLOTS} slots are covered by nodes.\n"))?;
        is_good = settings.fixes && fix_coverage(cluster, settings, &covered)?;
    }
    if settings.search_multiple_owners {
        is_good &= search_owners(cluster, settings)?;
    }
    Ok(is_good)
}

/// Covers slots. Returns whether any was covered.
fn fix_coverage(cluster: &mut Cluster<'_>, settings: &Settings, covered: &SlotSet) -> Result<bool, Failure> {
    fix::must_be_complete(cluster, settings, "slots coverage")?;
    match fix::coverage(cluster, settings, covered) {
        Err(Failure::Told) => Ok(false),
        result => result,
    }
}

/// Fixes slots until one cannot be fixed. Returns whether all are closed now.
fn fix_open_slots(
    cluster: &mut Cluster<'_>,
    settings: &Settings,
    open: &BTreeSet<u16>,
) -> Result<bool, Failure> {
    for slot in open {
        match fix::open_slot(cluster, settings, *slot) {
            Ok(true) => {}
            // The rest of the check follows.
            Ok(false) | Err(Failure::Told) => return Ok(false),
            Err(failure) => return Err(failure),
        }
    }
    Ok(true)
}

fn problem(cluster: &mut Cluster<'_>, text: &str) -> Result<(), Failure> {
    cluster.errors += 1;
    screen::error(text)
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// Reports the nodes with open slots and returns those slots.
fn open_slots(cluster: &mut Cluster<'_>) -> Result<BTreeSet<u16>, Failure> {
    let mut open = BTreeSet::new();
    let mut lines = Vec::new();
    for node in &cluster.nodes {
        for (state, slots) in [("migrating", &node.migrating), ("importing", &node.importing)] {
            if !slots.is_empty() {
                open.extend(slots.iter().map(|(slot, _)| *slot));
                let slots = list(slots.iter().map(|(slot, _)| slot));
                lines.push(format!("[WARNING] Node {} has slots in {state} state {slots}.", node.address()));
            }
        }
    }
    for line in lines {
        problem(cluster, &line)?;
    }
    Ok(open)
}

/// Looks for slots with several owners: masters that own the slot or have keys of it.
fn search_owners(cluster: &mut Cluster<'_>, settings: &Settings) -> Result<bool, Failure> {
    screen::step(">>> Check for multiple slot owners...")?;
    let (mut is_good, mut left) = (true, 0);
    for slot in 0..SLOTS {
        let mut owners = Vec::new();
        for at in cluster.masters() {
            if cluster.nodes[at].slots.contains(slot) || cluster.count_keys(at, slot)? > 0 {
                owners.push(at);
            }
        }
        if owners.len() < 2 {
            continue;
        }
        screen::error(format_args!("[WARNING] Slot {slot} has {} owners:", owners.len()))?;
        for at in &owners {
            screen::error(format_args!("    {}", cluster.nodes[*at].address()))?;
        }
        is_good = settings.fixes && fix::several_owners(cluster, settings, slot, &owners)?;
        left += usize::from(!is_good);
        if settings.fixes && !is_good {
            screen::error(format_args!("Failed to fix multiple owners for slot {slot}"))?;
            break;
        }
    }
    if left == 0 {
        screen::good("[OK] No multiple owners found.")?;
    }
    Ok(is_good && left == 0)
}
