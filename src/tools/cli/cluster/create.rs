//! `create`: forms a cluster of empty nodes.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use super::allocation::{self, Affinity, Allocation};
use super::check::check;
use super::node::Node;
use super::options;
use super::picture::{Cluster, agree};
use super::{Failure, Request, screen};
use crate::sys::process;
use crate::tools::client::Target;
use crate::tools::console::tell;

/// The least number of masters.
const MASTERS: usize = 3;
/// The pause between two looks at nodes that join.
const LOOK: Duration = Duration::from_millis(100);
/// The time after which nodes that do not join are named, in seconds.
const PATIENCE: u64 = 20;

/// `create`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let settings = request.settings;
    let mut addresses = Vec::new();
    for word in request.words {
        let Some(address) = options::address(std::slice::from_ref(word)) else {
            tell(format_args!("Invalid address format: {}", word.display()));
            return Err(Failure::Told);
        };
        addresses.push(address);
    }
    let mut cluster = gather(request.target, &addresses)?;
    let plan = plan(&mut cluster, settings.replicas)?;
    for (at, node) in cluster.nodes.iter().enumerate() {
        let is_planned = plan.replicas.iter().any(|(replica, _)| *replica == at);
        screen::line(node.describe(0, is_planned))?;
    }
    if !settings.yes && !screen::confirm("Can I set the above configuration?")? {
        return Ok(());
    }
    form(&mut cluster, &plan, false)?;
    let (host, port) = &addresses[0];
    let mut cluster = Cluster::load(request.target, host, *port)?;
    check(&mut cluster, settings, false).map(drop)
}

/// Connects to empty nodes.
pub fn gather<'a>(target: &'a Target, addresses: &[(String, u16)]) -> Result<Cluster<'a>, Failure> {
    let mut cluster = Cluster::new(target);
    for (at, (host, port)) in addresses.iter().enumerate() {
        cluster.add(host, *port)?;
        cluster.must_be_empty(at)?;
        let name = &cluster.nodes[at].name;
        if cluster.nodes[..at].iter().any(|node| node.name == *name) {
            return screen::fail(format_args!("[ERR] Node {host}:{port} is named twice."));
        }
    }
    Ok(cluster)
}

/// Allocates slots and replicas, prints how, and enters them in the picture.
fn plan(cluster: &mut Cluster<'_>, replicas: usize) -> Result<Allocation, Failure> {
    let count = cluster.nodes.len();
    if allocation::masters(count, replicas) < MASTERS {
        return screen::fail(format_args!(
            "*** ERROR: Invalid configuration for cluster creation.\n*** Redis Cluster requires at least 3 master \
             nodes.\n*** This is not possible with {count} nodes and {replicas} replicas per node.\n*** At least {} \
             nodes are required.",
            MASTERS * (replicas + 1)
        ));
    }
    screen::step(format_args!(">>> Performing hash slots allocation on {count} nodes..."))?;
    let hosts: Vec<String> = cluster.nodes.iter().map(|node| node.host.clone()).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut plan = allocation::allocate(&hosts, replicas);
    for (at, (_, slots)) in plan.masters.iter().enumerate() {
        if let Some((first, last)) = slots.ranges().next().map(RangeInclusive::into_inner) {
            screen::line(format_args!("Master[{at}] -> Slots {first} - {last}"))?;
        }
    }
    for (at, (replica, master)) in plan.replicas.iter().enumerate() {
        if at == plan.regular {
            screen::line("Adding extra replicas...")?;
        }
        let (replica, master) = (cluster.nodes[*replica].address(), cluster.nodes[*master].address());
        screen::line(format_args!("Adding replica {replica} to {master}"))?;
    }
    if plan.score(&hosts).0 > 0 {
        screen::step(">>> Trying to optimize slaves allocation for anti-affinity")?;
        match plan.optimize(&hosts, random).1 {
            Affinity::Perfect => screen::good("[OK] Perfect anti-affinity obtained!")?,
            Affinity::WithMaster => {
                screen::warning("[WARNING] Some slaves are in the same host as their master")?;
            }
            Affinity::ReplicasTogether => {
                screen::warning("[WARNING] Some slaves of the same master are in the same host")?;
            }
        }
    }
    enter(cluster, &plan);
    Ok(plan)
}

/// Allocates slots and replicas without printing anything, and with fewer than three masters if that is wanted.
pub fn plan_quietly(cluster: &mut Cluster<'_>, replicas: usize) -> Allocation {
    let hosts = vec![""; cluster.nodes.len()];
    let plan = allocation::allocate(&hosts, replicas);
    enter(cluster, &plan);
    plan
}

fn enter(cluster: &mut Cluster<'_>, plan: &Allocation) {
    for (at, slots) in &plan.masters {
        cluster.nodes[*at].slots = slots.clone();
    }
    for (replica, master) in &plan.replicas {
        cluster.nodes[*replica].replicates = Some(cluster.nodes[*master].name.clone());
    }
}

/// A random number below `limit`.
fn random(limit: usize) -> usize {
    let mut bytes = [0; 8];
    process::random_bytes(&mut bytes);
    (u64::from_ne_bytes(bytes) % limit as u64) as usize
}

/// Configures the nodes as planned and waits until they have joined.
pub fn form(cluster: &mut Cluster<'_>, plan: &Allocation, is_quiet: bool) -> Result<(), Failure> {
    let step = |text: &str| if is_quiet { Ok(()) } else { screen::step(text) };
    for (at, slots) in &plan.masters {
        let slots: Vec<String> = slots.iter().map(|slot| slot.to_string()).collect();
        let words: Vec<&str> =
            ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
        cluster.demand(*at, &words)?;
    }
    step(">>> Nodes configuration updated")?;
    step(">>> Assign a different config epoch to each node")?;
    for at in 0..cluster.nodes.len() {
        // A node that has an epoch already refuses this one.
        let _ = cluster.call(at, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
    }
    step(">>> Sending CLUSTER MEET messages to join the cluster")?;
    for at in 1..cluster.nodes.len() {
        meet(cluster, at, 0)?;
    }
    wait_for_join(cluster, is_quiet)?;
    for (replica, master) in &plan.replicas {
        let master = cluster.nodes[*master].name.clone();
        cluster.demand(*replica, &["CLUSTER", "REPLICATE", &master])?;
    }
    Ok(())
}

/// Introduces the node `at` to the node `to`.
pub(super) fn meet(cluster: &mut Cluster<'_>, at: usize, to: usize) -> Result<(), Failure> {
    let Some(ip) = cluster.ip(to) else {
        tell(format_args!("Invalid IP address or hostname specified: {}", cluster.nodes[to].host));
        return Err(Failure::Told);
    };
    let Node { port, bus_port, .. } = cluster.nodes[to];
    let (text, bus_text) = (port.to_string(), bus_port.to_string());
    let mut words = vec!["CLUSTER", "MEET", &ip, &text];
    // Servers before 4.0 do not know the bus port.
    if bus_port != 0 && bus_port != port.wrapping_add(10_000) {
        words.push(&bus_text);
    }
    cluster.demand(at, &words).map(drop)
}

/// Waits until every node knows all others and agrees with them about the slots.
pub(super) fn wait_for_join(cluster: &mut Cluster<'_>, is_quiet: bool) -> Result<(), Failure> {
    if !is_quiet {
        screen::line("Waiting for the cluster to join")?;
    }
    let (started, mut dots) = (Instant::now(), 0);
    loop {
        if let Some(views) = cluster.views() {
            let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
            if agree(&views) && views.iter().all(|view| knows_all(view, &names)) {
                return if is_quiet { Ok(()) } else { screen::line("") };
            }
        }
        thread::sleep(LOOK);
        if !is_quiet && started.elapsed().as_secs() > dots {
            dots += 1;
            screen::part(".")?;
            if dots.is_multiple_of(PATIENCE) {
                name_unreachable(cluster)?;
            }
        }
    }
}

/// Whether a node has completed the handshake with all nodes.
fn knows_all((own, others): &(Node, Vec<Node>), names: &[&str]) -> bool {
    let knows = |name: &&str| {
        own.name == *name || others.iter().any(|node| node.name == *name && !node.has_flag("handshake"))
    };
    names.iter().all(knows)
}

/// Lists the nodes that others are not connected to.
fn name_unreachable(cluster: &mut Cluster<'_>) -> Result<(), Failure> {
    let mut missing: Vec<(String, u16, Vec<String>)> = Vec::new();
    for (own, others) in cluster.views().unwrap_or_default() {
        for other in others.iter().filter(|other| !other.is_connected) {
            let from = own.address();
            match missing.iter_mut().find(|(host, port, _)| (host, *port) == (&other.host, other.bus_port)) {
                Some((.., nodes)) => nodes.push(from),
                None => missing.push((other.host.clone(), other.bus_port, vec![from])),
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    screen::error(format_args!("\nWarning: {} node(s) may be unreachable", missing.len()))?;
    for (host, port, from) in missing {
        screen::error(format_args!(" - The port {port} of node {host} may be unreachable from:"))?;
        for node in from {
            screen::error(format_args!("   {node}"))?;
        }
    }
    screen::error(
        "Cluster bus ports must be reachable by every node.\nRemember that cluster bus ports are different from standard \
         instance ports.",
    )
}
