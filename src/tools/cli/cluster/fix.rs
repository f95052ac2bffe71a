//! `fix`: closes open slots, covers uncovered ones, and gives a slot with several owners to one of them.
//!
//! `repair` decides what to do; this file collects what it needs and sends the commands.

use super::check::{check, require, show_keys};
use super::moving::{Move, Shows, set_slot};
use super::options::Settings;
use super::picture::{Cluster, Refusal};
use super::repair::{self, Action, Claim, Repair};
use super::slots::{SLOTS, Shown, SlotSet};
use super::{Failure, Request, screen};
use crate::resp::Value;

/// `fix`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let settings = Settings { fixes: true, ..request.settings.clone() };
    let mut cluster = request.load(request.words.len())?;
    show_keys(&mut cluster)?;
    require(check(&mut cluster, &settings, false)?)
}

/// Fails if masters are unreachable, unless the user accepts that: their slots may only look uncovered.
pub(super) fn must_be_complete(
    cluster: &Cluster<'_>,
    settings: &Settings,
    what: &str,
) -> Result<(), Failure> {
    if cluster.unreachable_masters == 0 || settings.fix_with_unreachable_masters {
        return Ok(());
    }
    screen::warning(format_args!(
        "*** Fixing {what} with {} unreachable masters is dangerous: redis-cli will assume that slots about masters \
         that are not reachable are not covered, and will try to reassign them to the reachable nodes. This can cause \
         data loss and is rarely what you want to do. If you really want to proceed use the \
         --cluster-fix-with-unreachable-masters option.",
        cluster.unreachable_masters
    ))?;
    Err(Failure::Told)
}

/// Fixes an open slot. Returns whether it is closed now.
pub(super) fn open_slot(cluster: &mut Cluster<'_>, settings: &Settings, slot: u16) -> Result<bool, Failure> {
    screen::step(format_args!(">>> Fixing open slot {slot}"))?;
    let claims = claims(cluster, slot)?;
    let Some(repair) = repair::open_slot(&claims) else {
        screen::error("[ERR] Can't select a slot owner. Impossible to fix.")?;
        return Ok(false);
    };
    let addresses =
        |nodes: &[usize]| nodes.iter().map(|at| cluster.nodes[*at].address()).collect::<Vec<_>>().join(",");
    let (migrating, importing) = (addresses(&repair.migrating), addresses(&repair.importing));
    if !migrating.is_empty() {
        screen::line(format_args!("Set as migrating in: {migrating}"))?;
    }
    if !importing.is_empty() {
        screen::line(format_args!("Set as importing in: {importing}"))?;
    }
    if repair.has_to_configure {
        configure_owner(cluster, slot, &repair)?;
    }
    let owner = repair.owner;
    let moving = |from, to, is_cold| Move { slot, from, to, is_cold };
    match repair.action {
        Action::Complete { from, to } => {
            let (source, target) = (cluster.nodes[from].address(), cluster.nodes[to].address());
            screen::step(format_args!(">>> Case 1: Moving slot {slot} from {source} to {target}"))?;
            move_slot(cluster, settings, moving(from, to, false))?;
        }
        Action::Collect { from } => {
            let target = cluster.nodes[owner].address();
            screen::step(format_args!(">>> Case 2: Moving all the {slot} slot keys to its owner {target}"))?;
            for at in from {
                move_slot(cluster, settings, moving(at, owner, true))?;
                let source = cluster.nodes[at].address();
                screen::step(format_args!(">>> Setting {slot} as STABLE in {source}"))?;
                close(cluster, at, slot)?;
            }
            for at in cluster.masters().into_iter().filter(|at| *at != owner) {
                set_slot(cluster, at, slot, "NODE", owner).map_err(|unset| unset.report(cluster))?;
            }
        }
        Action::CompleteAndClose { from, to, close: others } => {
            screen::step(format_args!(
                ">>> Case 3: Moving slot {slot} from {} to {} and closing it on all the other importing nodes.",
                cluster.nodes[from].address(),
                cluster.nodes[to].address()
            ))?;
            move_slot(cluster, settings, moving(from, to, false))?;
            for at in others {
                close(cluster, at, slot)?;
            }
        }
        Action::Close { nodes } => {
            let text = format!(">>> Case 3: Closing slot {slot} on both migrating and importing nodes.");
            screen::step(text)?;
            for at in nodes {
                close(cluster, at, slot)?;
            }
        }
        Action::Stop { node } => {
            let address = cluster.nodes[node].address();
            screen::step(format_args!(">>> Case 4: Closing slot {slot} on {address}"))?;
            close(cluster, node, slot)?;
        }
        Action::Unknown => {
            screen::error(format_args!(
                "[ERR] Sorry, redis-cli can't fix this slot yet (work in progress). Slot is set as migrating in \
                 {migrating}, as importing in {importing}, owner is {}",
                cluster.nodes[owner].address()
            ))?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Collects what the masters say of a slot, and reports keys outside of its owner.
fn claims(cluster: &mut Cluster<'_>, slot: u16) -> Result<Vec<Claim>, Failure> {
    let mut claims = Vec::new();
    for at in cluster.masters() {
        let keys = cluster.count_keys(at, slot)?;
        let node = &cluster.nodes[at];
        let migrating_to = node.migrating.iter().find(|(open, _)| *open == slot).map(|(_, to)| to.clone());
        let imports = node.importing.iter().any(|(open, _)| *open == slot);
        let owns = node.slots.contains(slot);
        if !owns && keys > 0 {
            screen::warning(format_args!(
                "*** Found keys about slot {slot} in non-owner node {}!",
                node.address()
            ))?;
        }
        claims.push(Claim { node: at, name: node.name.clone(), owns, keys, migrating_to, imports });
    }
    Ok(claims)
}

/// Makes one node the owner of a slot that has none or several, and the others importing nodes.
fn configure_owner(cluster: &mut Cluster<'_>, slot: u16, repair: &Repair) -> Result<(), Failure> {
    let owner = repair.owner;
    screen::step(">>> No single clear owner for the slot, selecting an owner by # of keys...")?;
    screen::warning(format_args!("*** Configuring {} as the slot owner", cluster.nodes[owner].address()))?;
    close(cluster, owner, slot)?;
    take(cluster, owner, slot, false)?;
    for at in &repair.losers {
        drop_slot(cluster, *at, slot)?;
        for state in ["NODE", "IMPORTING"] {
            set_slot(cluster, *at, slot, state, owner).map_err(|unset| unset.report(cluster))?;
        }
    }
    Ok(())
}

/// Covers the slots that `covered` lacks. Returns whether any was covered.
pub(super) fn coverage(
    cluster: &mut Cluster<'_>,
    settings: &Settings,
    covered: &SlotSet,
) -> Result<bool, Failure> {
    screen::step(">>> Fixing slots coverage...")?;
    let mut holders = Vec::new();
    for slot in (0..SLOTS).filter(|slot| !covered.contains(*slot)) {
        let mut nodes = Vec::new();
        for at in cluster.masters() {
            let keys = cluster.count_keys(at, slot)?;
            if keys > 0 {
                nodes.push((at, keys));
            }
        }
        holders.push((slot, nodes));
    }
    let masters: Vec<_> = cluster.masters().iter().map(|at| (*at, cluster.nodes[*at].slots.len())).collect();
    let plan = repair::coverage(&holders, &masters);
    let mut is_fixed = false;
    // These questions are asked even with --cluster-yes, as in redis-cli.
    for (slots, which, question) in [
        (&plan.empty, "no keys across the cluster", "Fix these slots by covering with a random node?"),
        (&plan.single, "keys in just one node", "Fix these slots by covering with those nodes?"),
    ] {
        if is_wanted(&slots.iter().map(|(slot, _)| *slot).collect(), which, question)? {
            for (slot, at) in slots {
                let address = cluster.nodes[*at].address();
                screen::step(format_args!(">>> Covering slot {slot} with {address}"))?;
                take(cluster, *at, *slot, false)?;
                is_fixed = true;
            }
        }
    }
    let slots = plan.several.iter().map(|(slot, ..)| *slot).collect();
    let question = "Fix these slots by moving keys into a single node?";
    if is_wanted(&slots, "keys in multiple nodes", question)? {
        for (slot, target, sources) in &plan.several {
            let address = cluster.nodes[*target].address();
            screen::step(format_args!(">>> Covering slot {slot} moving keys to {address}"))?;
            take(cluster, *target, *slot, true)?;
            for from in sources {
                // The source imports the slot, although its keys leave, so that it is not redirected in MIGRATE.
                for state in ["NODE", "IMPORTING"] {
                    set_slot(cluster, *from, *slot, state, *target).map_err(|unset| unset.report(cluster))?;
                }
                move_slot(cluster, settings, Move { slot: *slot, from: *from, to: *target, is_cold: true })?;
                close(cluster, *from, *slot)?;
            }
            is_fixed = true;
        }
    }
    Ok(is_fixed)
}

/// Lists slots, if there are any, and asks whether to fix them.
fn is_wanted(slots: &SlotSet, which: &str, question: &str) -> Result<bool, Failure> {
    if slots.is_empty() {
        return Ok(false);
    }
    screen::line(format_args!("The following uncovered slots have {which}:\n{}", Shown(slots)))?;
    screen::confirm(question)
}

/// Gives a slot with several owners to the one with the most keys. Returns whether that worked.
pub(super) fn several_owners(
    cluster: &mut Cluster<'_>,
    settings: &Settings,
    slot: u16,
    owners: &[usize],
) -> Result<bool, Failure> {
    screen::step(format_args!(">>> Fixing multiple owners for slot {slot}..."))?;
    let mut best = (owners[0], 0);
    for at in owners {
        let keys = cluster.count_keys(*at, slot)?;
        if keys > best.1 {
            best = (*at, keys);
        }
    }
    let owner = best.0;
    screen::step(format_args!(">>> Setting slot {slot} owner: {}", cluster.nodes[owner].address()))?;
    take(cluster, owner, slot, false)?;
    for at in cluster.masters().into_iter().filter(|at| *at != owner) {
        let keys = cluster.count_keys(at, slot)?;
        drop_slot(cluster, at, slot)?;
        set_slot(cluster, at, slot, "NODE", owner).map_err(|unset| unset.report(cluster))?;
        if keys > 0 {
            move_slot(cluster, settings, Move { slot, from: at, to: owner, is_cold: true })?;
        }
    }
    Ok(true)
}

fn move_slot(cluster: &mut Cluster<'_>, settings: &Settings, moving: Move) -> Result<(), Failure> {
    moving.run(cluster, settings, Shows::Dots).map_err(|unmoved| unmoved.report(cluster))
}

/// Ends the migrating or importing state of a slot.
fn close(cluster: &mut Cluster<'_>, at: usize, slot: u16) -> Result<(), Failure> {
    cluster.demand(at, &["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]).map(drop)
}

/// Removes a slot from a node's configuration, if it is there.
fn drop_slot(cluster: &mut Cluster<'_>, at: usize, slot: u16) -> Result<(), Failure> {
    cluster.nodes[at].slots.remove(slot);
    match cluster.call(at, &["CLUSTER", "DELSLOTS", &slot.to_string()]) {
        Err(refusal) if !refusal.0.contains("already unassigned") => cluster.report(at, &refusal),
        _ => Ok(()),
    }
}

/// Makes a node the owner of a slot, in a new epoch, so that the others accept it.
fn take(cluster: &mut Cluster<'_>, at: usize, slot: u16, closes: bool) -> Result<(), Failure> {
    let slot_text = slot.to_string();
    let stable = ["CLUSTER", "SETSLOT", &slot_text, "STABLE"];
    // The slot may be unassigned, and the epoch may be the latest one: these two errors do not matter.
    let (delete, add) = (["CLUSTER", "DELSLOTS", &slot_text], ["CLUSTER", "ADDSLOTS", &slot_text]);
    let bump = ["CLUSTER", "BUMPEPOCH"];
    let mut commands: Vec<&[&str]> = vec![&delete, &add, &bump];
    if closes {
        commands.push(&stable);
    }
    let replies = cluster.transaction(at, &commands).or_else(|refusal| cluster.report(at, &refusal))?;
    for (reply, command) in replies.iter().zip(&commands) {
        if let Value::Error(text) = reply
            && !matches!(command[1], "DELSLOTS" | "BUMPEPOCH")
        {
            let refusal = Refusal(String::from_utf8_lossy(text).into_owned());
            return cluster.report(at, &refusal);
        }
    }
    cluster.nodes[at].slots.insert(slot);
    Ok(())
}
