//! `call` and `set-timeout`: send a command to every node.

use std::os::unix::ffi::OsStrExt;

use super::{Failure, Request, screen};
use crate::tools::cli::format::{Format, Style};
use crate::tools::console::{self, tell};

/// `call`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let mut cluster = request.load(1)?;
    let words: Vec<&[u8]> = request.words[1..].iter().map(|word| word.as_bytes()).collect();
    let shown = words.iter().flat_map(|word| [b" ", *word]).collect::<Vec<_>>().concat();
    screen::step(format_args!(">>> Calling{}", String::from_utf8_lossy(&shown)))?;
    let style = Style::new(Format::Raw);
    for at in 0..cluster.nodes.len() {
        let is_replica = cluster.nodes[at].replicates.is_some();
        if (request.settings.only_masters && is_replica) || (request.settings.only_replicas && !is_replica) {
            continue;
        }
        let address = cluster.nodes[at].address();
        let mut line = format!("{address}: ").into_bytes();
        match cluster.exchange(at, &words) {
            Ok(reply) => line.extend(style.text(&reply)),
            Err(_) => line.extend(b"Failed!"),
        }
        line.push(b'\n');
        console::print(&line)?;
    }
    Ok(())
}

/// The least timeout, in milliseconds.
const LEAST: i64 = 100;

/// `set-timeout`.
pub(super) fn set_timeout(request: &Request<'_>) -> Result<(), Failure> {
    let timeout = request.words[1].to_str().and_then(|word| word.parse::<i64>().ok());
    let Some(timeout) = timeout.filter(|timeout| *timeout >= LEAST) else {
        tell("Setting a node timeout of less than 100 milliseconds is a bad idea.");
        return Err(Failure::Told);
    };
    let mut cluster = request.load(1)?;
    screen::step(">>> Reconfiguring node timeout in every cluster node...")?;
    let (mut good, mut bad) = (0, 0);
    for at in 0..cluster.nodes.len() {
        let set = cluster
            .call(at, &["CONFIG", "SET", "cluster-node-timeout", &timeout.to_string()])
            .and_then(|_| cluster.call(at, &["CONFIG", "REWRITE"]));
        let address = cluster.nodes[at].address();
        match set {
            Ok(_) => {
                screen::warning(format_args!("*** New timeout set for {address}"))?;
                good += 1;
            }
            Err(refusal) => {
                screen::error(format_args!("ERR setting node-timeout for {address}: {}", refusal.0))?;
                bad += 1;
            }
        }
    }
    screen::step(format_args!(">>> New node timeout set. {good} OK, {bad} ERR."))
}
