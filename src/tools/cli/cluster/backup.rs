//! `backup`: saves a snapshot of every master and the configuration of the cluster in a directory.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use super::check::check;
use super::node::Node;
use super::{Failure, Request, options, screen};
use crate::tools::cli::modes::save_snapshot;
use crate::tools::client::{Address, Target};

/// `backup`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let mut cluster = request.load(1)?;
    let directory = options::directory(&request.words[1]);
    let is_good = check(&mut cluster, request.settings, false)?;
    let errors = if is_good { 0 } else { cluster.errors };
    if let Err(failure) = save(&cluster.nodes, request.target, &directory, errors) {
        screen::good("[ERR] Failed to back cluster!")?;
        return Err(failure);
    }
    if !is_good {
        screen::warning(
            "*** Cluster seems to have some problems, please be aware of it if you're going to restore this backup.",
        )?;
    }
    screen::good(format_args!("[OK] Backup created into: {}", directory.display()))
}

fn save(nodes: &[Node], target: &Target, directory: &Path, errors: usize) -> Result<(), Failure> {
    for node in nodes.iter().filter(|node| node.replicates.is_none()) {
        screen::step(format_args!(">>> Node {} -> Saving RDB...", node.address()))?;
        let name = format!("redis-node-{}-{}-{}.rdb", node.host, node.port, node.name);
        let target = Target { address: Address::Tcp(node.host.clone(), node.port), ..target.clone() };
        if !save_snapshot(&target, &directory.join(name)) {
            return Err(Failure::Told);
        }
    }
    let path = directory.join("nodes.json");
    screen::step(format_args!("Saving cluster configuration to: {}", path.display()))?;
    let nodes: Vec<String> = nodes.iter().map(|node| json(node, errors)).collect();
    if fs::write(&path, format!("[\n{}\n]", nodes.join(",\n"))).is_err() {
        return screen::fail(format_args!("Could not save nodes to: {}", path.display()));
    }
    Ok(())
}

/// Describes a node in redis-cli's form.
fn json(node: &Node, errors: usize) -> String {
    let replicate = node.replicates.as_ref().map_or("null".to_string(), |name| format!("\"{name}\""));
    let ranges: Vec<String> = node
        .slots
        .ranges()
        .map(RangeInclusive::into_inner)
        .map(|(first, last)| if first == last { format!("[{first}]") } else { format!("[{first},{last}]") })
        .collect();
    let mut fields = vec![
        format!("\"name\": \"{}\"", node.name),
        format!("\"host\": \"{}\"", node.host),
        format!("\"port\": {}", node.port),
        format!("\"replicate\": {replicate}"),
        format!("\"slots\": [{}]", ranges.join(",")),
        format!("\"slots_count\": {}", node.slots.len()),
        format!("\"flags\": \"{}\"", node.flags.join(",")),
        format!("\"current_epoch\": {}", node.epoch),
    ];
    if errors > 0 {
        fields.push(format!("\"cluster_errors\": {errors}"));
    }
    for (name, slots) in [("migrating", &node.migrating), ("importing", &node.importing)] {
        if !slots.is_empty() {
            let slots: Vec<String> =
                slots.iter().map(|(slot, other)| format!("\"{slot}\": \"{other}\"")).collect();
            fields.push(format!("\"{name}\": {{{}}}", slots.join(",")));
        }
    }
    format!("  {{\n    {}\n  }}", fields.join(",\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_saved_as_by_redis_cli() {
        let line = "aa 127.0.0.1:7000@17000 myself,master - 0 0 7 connected 0-2 5 [9->-bb]";
        let (node, _) = Node::from_line(line).unwrap();
        let wanted = r#"  {
    "name": "aa",
    "host": "127.0.0.1",
    "port": 7000,
    "replicate": null,
    "slots": [[0,2],[5]],
    "slots_count": 4,
    "flags": "master",
    "current_epoch": 7,
    "cluster_errors": 1,
    "migrating": {"9": "bb"}
  }"#;
        assert_eq!(json(&node, 1), wanted);
    }
}
