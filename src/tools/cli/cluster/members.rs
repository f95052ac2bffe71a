//! `add-node` and `del-node`: let a node join as a master or a replica, and remove a node without slots.

use super::check::{check, require};
use super::create::{meet, wait_for_join};
use super::picture::Cluster;
use super::{Failure, Request, options, screen};
use crate::resp::Value;
use crate::tools::console::tell;

/// `add-node`.
pub(super) fn add(request: &Request<'_>) -> Result<(), Failure> {
    let settings = request.settings;
    let (host, port) = request.address(1)?;
    let Some((known_host, known_port)) = options::address(&request.words[1..]) else {
        tell(super::INVALID_ADDRESS);
        return Err(Failure::Told);
    };
    screen::step(format_args!(">>> Adding node {host}:{port} to cluster {known_host}:{known_port}"))?;
    let mut cluster = Cluster::load(request.target, &known_host, known_port)?;
    require(check(&mut cluster, settings, false)?)?;
    let master = match &settings.master {
        _ if !settings.as_replica => None,
        Some(name) => match cluster.by_name(name) {
            Some(master) => Some(master),
            None => return screen::fail(format_args!("[ERR] No such master ID {name}")),
        },
        None => {
            let master = cluster.with_fewest_replicas(None);
            if let Some(master) = master {
                let address = cluster.nodes[master].address();
                screen::line(format_args!("Automatically selected master {address}"))?;
            }
            master
        }
    };
    let new = cluster.nodes.len();
    if let Err(failure) = cluster.add(&host, port) {
        if cluster.nodes.len() == new {
            screen::error(format_args!("[ERR] Sorry, can't connect to node {host}:{port}"))?;
        }
        return Err(failure);
    }
    cluster.must_be_empty(new)?;
    if master.is_none() {
        copy_functions(&mut cluster, new)?;
    }
    screen::step(format_args!(">>> Send CLUSTER MEET to node {host}:{port} to make it join the cluster."))?;
    meet(&mut cluster, new, 0)?;
    if let Some(master) = master {
        wait_for_join(&mut cluster, false)?;
        let (name, address) = (cluster.nodes[master].name.clone(), cluster.nodes[master].address());
        screen::step(format_args!(">>> Configure node as replica of {address}."))?;
        cluster.demand(new, &["CLUSTER", "REPLICATE", &name])?;
    }
    screen::good("[OK] New node added correctly.")
}

/// Copies the functions of the cluster to a new master. A replica receives them from its master.
fn copy_functions(cluster: &mut Cluster<'_>, new: usize) -> Result<(), Failure> {
    let address = cluster.nodes[new].address();
    screen::step(">>> Getting functions from cluster")?;
    let functions = match cluster.call(0, &["FUNCTION", "DUMP"]) {
        Ok(functions) => functions,
        Err(refusal) => {
            return screen::step(format_args!(
                ">>> Failed retrieving Functions from the cluster, skip this step as Redis version do not support \
                 function command (error = '{}')",
                refusal.0
            ));
        }
    };
    screen::step(format_args!(">>> Send FUNCTION LIST to {address} to verify there is no functions in it"))?;
    match cluster.call(new, &["FUNCTION", "LIST"]) {
        Ok(Value::Array(libraries)) if libraries.is_empty() => {}
        Ok(_) => {
            return screen::fail(
                ">>> New node already contains functions and can not be added to the cluster. Use FUNCTION FLUSH and \
                 try again.",
            );
        }
        Err(refusal) => {
            return screen::fail(format_args!(">>> Failed on CLUSTER LIST (error = '{}')", refusal.0));
        }
    }
    screen::step(format_args!(">>> Send FUNCTION RESTORE to {address}"))?;
    let functions = functions.as_bytes().unwrap_or_default();
    match cluster.call(new, &[&b"FUNCTION"[..], b"RESTORE", functions]) {
        Ok(_) => Ok(()),
        Err(refusal) => screen::fail(format_args!(
            ">>> Failed loading functions to the new node (error = '{}')",
            refusal.0
        )),
    }
}

/// `del-node`.
pub(super) fn remove(request: &Request<'_>) -> Result<(), Failure> {
    let (host, port) = request.address(1)?;
    let name = request.words[1].to_string_lossy().into_owned();
    screen::step(format_args!(">>> Removing node {name} from cluster {host}:{port}"))?;
    let mut cluster = Cluster::load(request.target, &host, port)?;
    let Some(node) = cluster.by_name(&name) else {
        return screen::fail(format_args!("[ERR] No such node ID {name}"));
    };
    if !cluster.nodes[node].slots.is_empty() {
        let address = cluster.nodes[node].address();
        return screen::fail(format_args!(
            "[ERR] Node {address} is not empty! Reshard data away and try again."
        ));
    }
    screen::step(">>> Sending CLUSTER FORGET messages to the cluster...")?;
    for at in (0..cluster.nodes.len()).filter(|at| *at != node) {
        if cluster.nodes[at].replicates.as_ref() == Some(&name)
            && let Some(master) = cluster.with_fewest_replicas(Some(node))
        {
            let (replica, address) = (cluster.nodes[at].address(), cluster.nodes[master].address());
            screen::step(format_args!(">>> {replica} as replica of {address}"))?;
            let master_name = cluster.nodes[master].name.clone();
            cluster.demand(at, &["CLUSTER", "REPLICATE", &master_name])?;
            cluster.nodes[master].replicas += 1;
        }
        cluster.demand(at, &["CLUSTER", "FORGET", &name])?;
    }
    screen::step(">>> Sending CLUSTER RESET SOFT to the deleted node.")?;
    cluster.demand(node, &["CLUSTER", "RESET", "SOFT"]).map(drop)
}
