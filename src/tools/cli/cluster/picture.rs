//! The picture of a cluster: its nodes, each with a connection.
//!
//! The first node is the one that the user named. It lists the others, and each of those describes itself, so slots and
//! flags are never second-hand. A node that cannot be reached is left out; masters among those are counted, because
//! their slots then look uncovered.

use std::collections::BTreeMap;

use super::node::{Node, parse};
use super::slots::SlotSet;
use super::{Failure, screen};
use crate::resp::Value;
use crate::tools::client::{Address, Connection, Error, Target, info, write_command};
use crate::tools::console::tell;

/// Why a node did not execute a command: the text of its error reply, or that of the connection's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A cluster and connections to its nodes.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// The user and the password for every node.
    target: &'a Target,
    /// The nodes, the one that the user named first.
    pub nodes: Vec<Node>,
    links: Vec<Connection>,
    /// The number of masters that cannot be reached.
    pub unreachable_masters: usize,
    /// The number of problems that checks have found.
    pub errors: usize,
}

impl<'a> Cluster<'a> {
    /// Creates a picture without nodes.
    pub fn new(target: &'a Target) -> Cluster<'a> {
        Cluster { target, nodes: Vec::new(), links: Vec::new(), unreachable_masters: 0, errors: 0 }
    }

    /// Loads the cluster that a node belongs to.
    pub fn load(target: &'a Target, host: &str, port: u16) -> Result<Cluster<'a>, Failure> {
        let mut cluster = Cluster::new(target);
        for other in cluster.add(host, port)? {
            let is_master = !other.is_replica();
            if !cluster.add_other(other)? && is_master {
                cluster.unreachable_masters += 1;
            }
        }
        cluster.count_replicas()?;
        Ok(cluster)
    }

    /// Connects to a node and adds it. Returns the other nodes that it lists. Reports a node that is not one of a
    /// cluster.
    pub fn add(&mut self, host: &str, port: u16) -> Result<Vec<Node>, Failure> {
        let link = self.connect(host, port)?;
        self.nodes.push(Node { host: host.to_string(), port, ..Node::default() });
        self.links.push(link);
        let at = self.nodes.len() - 1;
        let problem = match self.text(at, &["INFO"]) {
            Ok(text) if info::field(&text, "cluster_enabled") == Some("1") => None,
            Ok(_) => Some("is not configured as a cluster node.".to_string()),
            Err(Refusal(text)) => Some(text),
        };
        if let Some(problem) = problem {
            return screen::fail(format_args!("[ERR] Node {host}:{port} {problem}"));
        }
        let text = self.text(at, &["CLUSTER", "NODES"]).or_else(|refusal| self.report(at, &refusal))?;
        let Some((own, others)) = parse(&text) else {
            return screen::fail("Error: invalid CLUSTER NODES reply");
        };
        self.nodes[at] = Node { host: host.to_string(), port, ..own };
        Ok(others)
    }

    /// Adds a node that the first one lists. Returns whether it can be reached.
    fn add_other(&mut self, other: Node) -> Result<bool, Failure> {
        if other.host.is_empty() || other.port == 0 {
            return Ok(false);
        }
        let Ok(link) = self.connect(&other.host, other.port) else { return Ok(false) };
        let is_gone = other.is_gone();
        let address = other.address();
        let (host, port) = (other.host.clone(), other.port);
        self.nodes.push(other);
        self.links.push(link);
        let at = self.nodes.len() - 1;
        let own = self.text(at, &["CLUSTER", "NODES"]).ok().and_then(|text| parse(&text));
        if let Some((own, _)) = own {
            self.nodes[at] = Node { host, port, ..own };
            if !is_gone {
                return Ok(true);
            }
        } else {
            screen::error(format_args!("[ERR] Unable to load info for node {address}"))?;
        }
        self.nodes.pop();
        self.links.pop();
        Ok(false)
    }

    fn count_replicas(&mut self) -> Result<(), Failure> {
        for at in 0..self.nodes.len() {
            let Some(master) = self.nodes[at].replicates.clone() else { continue };
            match self.by_name(&master) {
                Some(master) => self.nodes[master].replicas += 1,
                None => screen::warning(format_args!(
                    "*** WARNING: {} claims to be slave of unknown node ID {master}.",
                    self.nodes[at].address()
                ))?,
            }
        }
        Ok(())
    }

    /// Connects and authenticates; reports a failure.
    fn connect(&self, host: &str, port: u16) -> Result<Connection, Failure> {
        self.open(host, port).map_err(|error| {
            tell(error);
            Failure::Told
        })
    }

    fn open(&self, host: &str, port: u16) -> Result<Connection, Error> {
        let mut link = Connection::connect(&Address::Tcp(host.to_string(), port), self.target.tls.as_ref())?;
        link.authenticate(self.target)?;
        Ok(link)
    }

    /// The index of the node with this ID.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The indices of the masters.
    pub fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| !self.nodes[*at].is_replica()).collect()
    }

    /// The IP address of a node, which CLUSTER MEET needs: the user may have named a host.
    pub fn ip(&self, at: usize) -> Option<String> {
        self.links[at].peer().map(|peer| peer.ip().to_string())
    }

    /// The user and the password for every node.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// Sends a command to a node and returns any reply. Reconnects once if the node has closed the connection, as it
    /// does to idle clients.
    pub fn exchange<W: AsRef<[u8]>>(&mut self, at: usize, words: &[W]) -> Result<Value, Error> {
        let mut reply = self.links[at].call(words);
        if matches!(reply, Err(Error::Closed)) {
            let opened = self.open(&self.nodes[at].host, self.nodes[at].port);
            reply = opened.and_then(|link| {
                self.links[at] = link;
                self.links[at].call(words)
            });
        }
        reply
    }

    /// Like [`Cluster::exchange`], but an error reply is an error.
    pub fn call<W: AsRef<[u8]>>(&mut self, at: usize, words: &[W]) -> Result<Value, Refusal> {
        match self.exchange(at, words) {
            Ok(Value::Error(text)) => Err(Refusal(String::from_utf8_lossy(&text).into_owned())),
            Ok(value) => Ok(value),
            Err(error) => Err(Refusal(error.to_string())),
        }
    }

    /// Sends a command. Reports an error, which ends the subcommand.
    pub fn demand<W: AsRef<[u8]>>(&mut self, at: usize, words: &[W]) -> Result<Value, Failure> {
        self.call(at, words).or_else(|refusal| self.report(at, &refusal))
    }

    /// Prints an error of a node in redis-cli's form, and returns a failure.
    pub fn report<T>(&self, at: usize, refusal: &Refusal) -> Result<T, Failure> {
        screen::fail(format_args!("Node {} replied with error:\n{}", self.nodes[at].address(), refusal.0))
    }

    /// Sends a command whose reply is a text.
    pub fn text(&mut self, at: usize, words: &[&str]) -> Result<String, Refusal> {
        let reply = self.call(at, words)?;
        let text = reply.as_bytes().map(|text| String::from_utf8_lossy(text).into_owned());
        text.ok_or_else(|| Refusal(format!("unexpected reply to {}", words.join(" "))))
    }

    /// Sends a command whose reply is a number.
    pub fn number(&mut self, at: usize, words: &[&str]) -> Result<u64, Refusal> {
        match self.call(at, words)? {
            Value::Integer(number) => Ok(number.max(0) as u64),
            _ => Err(Refusal(format!("unexpected reply to {}", words.join(" ")))),
        }
    }

    /// Reconnects if the node has closed the connection.
    fn revive(&mut self, at: usize) -> Result<(), Refusal> {
        self.call(at, &["PING"]).map(drop)
    }

    /// Returns the slots of keys, as the first node computes them.
    pub fn key_slots(&mut self, keys: &[&[u8]]) -> Result<Vec<u16>, Failure> {
        let mut bytes = Vec::new();
        for key in keys {
            write_command(&mut bytes, &[b"CLUSTER", b"KEYSLOT", *key]);
        }
        let lost = |error: Error| Refusal(error.to_string());
        self.revive(0).or_else(|refusal| self.report(0, &refusal))?;
        let sent = self.links[0].send_bytes(&bytes).map_err(lost);
        sent.or_else(|refusal| self.report(0, &refusal))?;
        let mut slots = Vec::with_capacity(keys.len());
        for _ in keys {
            match self.links[0].receive() {
                Ok(Value::Integer(slot)) => slots.push(slot as u16),
                Ok(Value::Error(text)) => {
                    return self.report(0, &Refusal(String::from_utf8_lossy(&text).into_owned()));
                }
                Ok(_) => return self.report(0, &Refusal("unexpected reply to CLUSTER KEYSLOT".to_string())),
                Err(error) => return self.report(0, &lost(error)),
            }
        }
        Ok(slots)
    }

    /// Executes commands as one transaction. Returns the reply of each.
    pub fn transaction(&mut self, at: usize, commands: &[&[&str]]) -> Result<Vec<Value>, Refusal> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, &["MULTI"]);
        for command in commands {
            write_command(&mut bytes, command);
        }
        write_command(&mut bytes, &["EXEC"]);
        let lost = |error: Error| Refusal(error.to_string());
        self.revive(at)?;
        self.links[at].send_bytes(&bytes).map_err(lost)?;
        for _ in 0..=commands.len() {
            self.links[at].receive().map_err(lost)?;
        }
        match self.links[at].receive().map_err(lost)? {
            Value::Array(replies) => Ok(replies),
            Value::Error(text) => Err(Refusal(String::from_utf8_lossy(&text).into_owned())),
            _ => Err(Refusal("unexpected reply to EXEC".to_string())),
        }
    }

    /// The number of a slot's keys on a node.
    pub fn count_keys(&mut self, at: usize, slot: u16) -> Result<u64, Failure> {
        let counted = self.number(at, &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
        counted.or_else(|refusal| self.report(at, &refusal))
    }

    /// Whether a node knows no other one and has no keys; otherwise prints what it has.
    pub fn must_be_empty(&mut self, at: usize) -> Result<(), Failure> {
        let text = self.text(at, &["INFO"]).or_else(|refusal| self.report(at, &refusal))?;
        let known = self.text(at, &["CLUSTER", "INFO"]).or_else(|refusal| self.report(at, &refusal))?;
        let has_keys = text.lines().any(|line| line.starts_with("db0:"));
        if has_keys || info::field(&known, "cluster_known_nodes") != Some("1") {
            return screen::fail(format_args!(
                "[ERR] Node {} is not empty. Either the node already knows other nodes (check with CLUSTER NODES) \
                 or contains some key in database 0.",
                self.nodes[at].address()
            ));
        }
        Ok(())
    }

    /// Every node's view of the cluster: itself, and the other nodes. `None` if a node does not reply.
    pub fn views(&mut self) -> Option<Vec<(Node, Vec<Node>)>> {
        (0..self.nodes.len())
            .map(|at| self.text(at, &["CLUSTER", "NODES"]).ok().and_then(|text| parse(&text)))
            .collect()
    }

    /// Whether all nodes agree about who owns which slots.
    pub fn is_consistent(&mut self) -> bool {
        self.nodes.len() <= 1 || self.views().is_some_and(|views| agree(&views))
    }

    /// The index of the master with the fewest replicas, other than `except`.
    pub fn with_fewest_replicas(&self, except: Option<usize>) -> Option<usize> {
        let masters = self.masters().into_iter().filter(|at| Some(*at) != except);
        masters.min_by_key(|at| self.nodes[*at].replicas)
    }
}

/// Whether all views have the same owners of slots.
pub fn agree(views: &[(Node, Vec<Node>)]) -> bool {
    let mut owners = views.iter().map(|(own, others)| -> BTreeMap<&str, &SlotSet> {
        let nodes = std::iter::once(own).chain(others).filter(|node| !node.slots.is_empty());
        nodes.map(|node| (node.name.as_str(), &node.slots)).collect()
    });
    let Some(first) = owners.next() else { return true };
    owners.all(|other| other == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_agree_if_they_have_the_same_owners_of_slots() {
        let view = |own: &str, other: &str| {
            let text = format!(
                "a 127.0.0.1:1@11 {own}master - 0 0 1 connected 0-5\nb 127.0.0.1:2@12 {other}master - 0 0 2 connected 6\n"
            );
            parse(&text).unwrap()
        };
        let (a, b) = (view("myself,", ""), view("", "myself,"));
        assert!(agree(&[a.clone(), b.clone()]));
        let alone = (a.0.clone(), vec![]);
        assert!(!agree(&[a, alone.clone()]));
        assert!(agree(&[alone]));
    }
}
