//! `reshard` and `rebalance`: move slots between masters.

use super::balance::{self, Owner, Share};
use super::check::check;
use super::moving::{Move, Shows, Unmoved};
use super::picture::Cluster;
use super::progress::Progress;
use super::slots::SLOTS;
use super::{Failure, Request, screen};
use crate::tools::console::tell;

/// `reshard`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let settings = request.settings;
    let mut cluster = request.load(request.words.len())?;
    check(&mut cluster, settings, false)?;
    if cluster.errors > 0 {
        return refuse("*** Please fix your cluster problems before resharding");
    }
    let question = format!("How many slots do you want to move (from 1 to {SLOTS})? ");
    let count = settings.slots.map_or_else(
        || {
            screen::ask_until(&question, |answer| {
                answer.parse().ok().filter(|count| (1..=SLOTS).contains(count))
            })
        },
        Ok,
    )?;
    let target = match &settings.to {
        Some(name) => name.clone(),
        None => screen::ask_until("What is the receiving node ID? ", |answer| {
            Some(answer.to_string()).filter(|answer| !answer.is_empty())
        })?,
    };
    let Some(target) = master(&cluster, &target)? else { return Err(Failure::Told) };
    let sources = match &settings.from {
        Some(names) => named_sources(&cluster, names, target)?,
        None => asked_sources(&cluster, target)?,
    };
    if sources.is_empty() {
        return refuse("*** No source nodes given, operation aborted.");
    }
    screen::line(format_args!("\nReady to move {count} slots.\n  Source nodes:"))?;
    for at in &sources {
        screen::line(cluster.nodes[*at].describe(4, false))?;
    }
    screen::line("  Destination node:")?;
    screen::line(cluster.nodes[target].describe(4, false))?;
    let moves = balance::choose(&owners(&cluster, &sources), count as usize);
    screen::line("  Resharding plan:")?;
    for (from, slot) in &moves {
        screen::line(format_args!("    Moving slot {slot} from {}", cluster.nodes[*from].name))?;
    }
    if !settings.yes {
        let answer = screen::ask("Do you want to proceed with the proposed reshard plan (yes/no)? ")?;
        if answer.as_deref() != Some("yes") {
            return Err(Failure::Told);
        }
    }
    let mut progress = Progress::new(moves.len());
    for (from, slot) in moves {
        let moving = Move { slot, from, to: target, is_cold: false };
        if let Err(unmoved) = moving.run(&mut cluster, settings, Shows::Progress(&mut progress)) {
            progress.end()?;
            return explain("clusterManagerMoveSlot failed", unmoved);
        }
    }
    progress.end()
}

/// Prints why a slot was not moved.
fn explain<T>(what: &str, unmoved: Unmoved) -> Result<T, Failure> {
    match unmoved {
        Unmoved::Refused(_, refusal) => screen::fail(format_args!("{what}: {}", refusal.0)),
        Unmoved::Failed(failure) => Err(failure),
    }
}

fn refuse<T>(text: &str) -> Result<T, Failure> {
    tell(text);
    Err(Failure::Told)
}

fn owners(cluster: &Cluster<'_>, nodes: &[usize]) -> Vec<Owner> {
    nodes.iter().map(|at| Owner { node: *at, slots: cluster.nodes[*at].slots.clone() }).collect()
}

/// The index of the master with this ID; `None` if there is none, which has been printed.
fn master(cluster: &Cluster<'_>, name: &str) -> Result<Option<usize>, Failure> {
    let found = cluster.by_name(name).filter(|at| !cluster.nodes[*at].is_replica());
    if found.is_none() {
        screen::error(format_args!(
            "*** The specified node ({name}) is not known or not a master, please retry."
        ))?;
    }
    Ok(found)
}

/// Like `master`, but the target is no source.
fn source(cluster: &Cluster<'_>, name: &str, target: usize) -> Result<Option<usize>, Failure> {
    let Some(found) = master(cluster, name)? else { return Err(Failure::Told) };
    if found == target {
        screen::error("*** It is not possible to use the target node as source node.")?;
        return Ok(None);
    }
    Ok(Some(found))
}

fn all_sources(cluster: &Cluster<'_>, target: usize) -> Vec<usize> {
    cluster.masters().into_iter().filter(|at| *at != target).collect()
}

/// The sources of `--cluster-from`: IDs with commas between them, or `all`.
fn named_sources(cluster: &Cluster<'_>, names: &str, target: usize) -> Result<Vec<usize>, Failure> {
    let mut sources = Vec::new();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        if name == "all" {
            return Ok(all_sources(cluster, target));
        }
        sources.extend(source(cluster, name, target)?.filter(|at| !sources.contains(at)));
    }
    Ok(sources)
}

fn asked_sources(cluster: &Cluster<'_>, target: usize) -> Result<Vec<usize>, Failure> {
    screen::line(
        "Please enter all the source node IDs.\n  Type 'all' to use all the nodes as source nodes for the hash \
         slots.\n  Type 'done' once you entered all the source nodes IDs.",
    )?;
    let mut sources = Vec::new();
    loop {
        let question = format!("Source node #{}: ", sources.len() + 1);
        let name = screen::ask_until(&question, |answer| {
            Some(answer.to_string()).filter(|answer| !answer.is_empty())
        })?;
        match name.as_str() {
            "done" => return Ok(sources),
            "all" => return Ok(all_sources(cluster, target)),
            name => sources.extend(source(cluster, name, target)?.filter(|at| !sources.contains(at))),
        }
    }
}

/// `rebalance`.
pub(super) fn rebalance(request: &Request<'_>) -> Result<(), Failure> {
    let settings = request.settings;
    let mut cluster = request.load(request.words.len())?;
    let mut weights = vec![1.0; cluster.nodes.len()];
    for given in &settings.weights {
        let Some((name, weight)) = given.split_once('=') else {
            return screen::fail(format_args!("*** invalid input {given}"));
        };
        let found = cluster.nodes.iter().position(|node| node.name.starts_with(name) && !node.is_replica());
        let Some(at) = found.filter(|_| !name.is_empty()) else {
            return screen::fail(format_args!("*** No such master node {name}"));
        };
        match weight.parse::<f32>() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 => weights[at] = weight,
            _ => return screen::fail(format_args!("*** invalid input {given}")),
        }
    }
    let masters = cluster.masters().into_iter();
    let shares: Vec<Share> = masters
        .filter(|at| settings.use_empty_masters || !cluster.nodes[*at].slots.is_empty())
        .map(|at| Share { node: at, slots: cluster.nodes[at].slots.len(), weight: weights[at] })
        .collect();
    check(&mut cluster, settings, true)?;
    if cluster.errors > 0 {
        return screen::fail("*** Please fix your cluster problems before rebalancing");
    }
    let Some(plan) = balance::rebalance(&shares, settings.threshold) else {
        let threshold = settings.threshold;
        return screen::warning(format_args!(
            "*** No rebalancing needed! All nodes are within the {threshold:.2}% threshold."
        ));
    };
    let total: f32 = shares.iter().map(|share| share.weight).sum();
    screen::step(format_args!(">>> Rebalancing across {} nodes. Total weight = {total:.2}", shares.len()))?;
    if settings.verbose {
        for (at, surplus) in &plan.surpluses {
            screen::line(format_args!("{} balance is {surplus} slots", cluster.nodes[*at].address()))?;
        }
    }
    let mut progress = Progress::new(plan.moves.iter().map(|(.., count)| count).sum());
    for (from, to, count) in plan.moves {
        move_slots(request, &mut cluster, &mut progress, (from, to, count))?;
    }
    Ok(())
}

/// Moves `count` slots, and prints `#` for each unless the progress is drawn.
fn move_slots(
    request: &Request<'_>,
    cluster: &mut Cluster<'_>,
    progress: &mut Progress,
    (from, to, count): (usize, usize, usize),
) -> Result<(), Failure> {
    let (source, target) = (cluster.nodes[from].address(), cluster.nodes[to].address());
    screen::line(format_args!("Moving {count} slots from {source} to {target}"))?;
    if request.settings.simulate {
        return screen::line("#".repeat(count));
    }
    for (from, slot) in balance::choose(&owners(cluster, &[from]), count) {
        let moving = Move { slot, from, to, is_cold: false };
        if let Err(unmoved) = moving.run(cluster, request.settings, Shows::Quiet(progress)) {
            progress.end()?;
            return explain("*** clusterManagerMoveSlot", unmoved);
        }
        if !progress.is_drawn() {
            screen::part("#")?;
        }
    }
    if progress.is_drawn() { progress.end() } else { screen::line("") }
}
