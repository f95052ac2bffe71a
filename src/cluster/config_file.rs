//! `nodes.conf`: what a node keeps over a restart, in the form that Redis writes and reads.
//!
//! ```text
//!   id ip:port@bus,hostname,tls-port=0,shard-id=… myself,master - ping pong epoch connected 0-99 [100->-id]
//!   vars currentEpoch 6 lastVoteEpoch 5
//! ```
//!
//! A line is a node: as in `CLUSTER NODES`, and with fields after the host name that clients do not see. Older versions
//! write no such fields, no host name, or no bus port; all are read. Fields that this version does not know are
//! skipped, as a later version may have written them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::node::{Flags, Node, NodeId, NodeIndex};
use super::report::Form;
use super::slots::SLOTS;
use super::table::Table;
use super::{Cluster, Level, Settings};
use crate::text::{number, words};
use crate::types::random::Random;

/// A `nodes.conf` that cannot be used: the line, counted from 1, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The line; 0 if the file as a whole is wrong.
    pub line: usize,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

/// The state of a file while it is read.
struct Reader {
    nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    /// Whether the line of the node was read, or only its ID as a primary.
    is_read: Vec<bool>,
    primaries: Vec<Option<usize>>,
    slots: Vec<Option<usize>>,
    /// Slots of this node in motion, with the other node.
    migrating: Vec<(u16, usize)>,
    importing: Vec<(u16, usize)>,
    myself: Option<usize>,
    epochs: (u64, u64),
    random: Random,
    now_ms: u64,
}

impl Cluster {
    /// Returns the node that a `nodes.conf` describes. An empty file describes none: [`Cluster::new`] makes one.
    ///
    /// # Errors
    /// The file is damaged. It must not be replaced: an operator may repair it.
    pub fn load(text: &[u8], settings: Settings, seed: u64, now_ms: u64) -> Result<Cluster, ConfigError> {
        let mut reader = Reader {
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            is_read: Vec::new(),
            primaries: Vec::new(),
            slots: vec![None; usize::from(SLOTS)],
            migrating: Vec::new(),
            importing: Vec::new(),
            myself: None,
            epochs: (0, 0),
            random: Random::new(seed),
            now_ms,
        };
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let result = words::split(line).map_err(|_| "unbalanced quotes".to_owned());
            let result = result.and_then(|words| reader.read(&words));
            result.map_err(|reason| ConfigError { line: index + 1, reason })?;
        }
        reader.finish(settings).map_err(|reason| ConfigError { line: 0, reason })
    }

    /// The content of `nodes.conf`.
    pub fn config_text(&self) -> String {
        let mut text = self.nodes_text(Form::File);
        let (current, vote) = (self.current_epoch, self.last_vote_epoch);
        _ = writeln!(text, "vars currentEpoch {current} lastVoteEpoch {vote}");
        text
    }
}

fn shown(word: &[u8]) -> String {
    word.escape_ascii().to_string()
}

fn parse_id(word: &[u8]) -> Result<NodeId, String> {
    NodeId::parse(word).ok_or_else(|| format!("invalid node ID '{}'", shown(word)))
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("invalid port '{text}'"))
}

fn parse_slot(text: &[u8]) -> Result<u16, String> {
    let slot = number::parse_u64(text).filter(|slot| *slot < u64::from(SLOTS));
    slot.map(|slot| slot as u16).ok_or_else(|| format!("invalid slot '{}'", shown(text)))
}

impl Reader {
    fn read(&mut self, words: &[Vec<u8>]) -> Result<(), String> {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match words[..] {
            [] => Ok(()),
            [b"vars", ref vars @ ..] => self.read_vars(vars),
            [id, address, flags, primary, ping, pong, epoch, _state, ref slots @ ..] => {
                let index = self.node(parse_id(id)?);
                if std::mem::replace(&mut self.is_read[index], true) {
                    return Err(format!("the node {} has two lines", shown(id)));
                }
                self.read_address(index, address)?;
                self.read_flags(index, flags)?;
                if primary != b"-" {
                    self.primaries[index] = Some(self.node(parse_id(primary)?));
                }
                let (now_ms, node) = (self.now_ms, &mut self.nodes[index]);
                let is_set = |word: &[u8]| number::leading_i64(word).0 != 0;
                node.ping_sent = if is_set(ping) { now_ms } else { 0 };
                node.pong_received = if is_set(pong) { now_ms } else { 0 };
                node.config_epoch = number::parse_u64(epoch)
                    .ok_or_else(|| format!("invalid configuration epoch '{}'", shown(epoch)))?;
                slots.iter().try_for_each(|word| self.read_slots(index, word))
            }
            _ => Err(format!("a node needs 8 words, not {}", words.len())),
        }
    }

    fn read_vars(&mut self, vars: &[&[u8]]) -> Result<(), String> {
        for pair in vars.chunks(2) {
            let [name, value] = pair else { return Err("a variable has no value".into()) };
            let value =
                number::parse_u64(value).ok_or_else(|| format!("invalid epoch '{}'", shown(value)))?;
            match *name {
                b"currentEpoch" => self.epochs.0 = value,
                b"lastVoteEpoch" => self.epochs.1 = value,
                // Redis skips variables that it does not know.
                _ => {}
            }
        }
        Ok(())
    }

    /// The place of a node, which is made if this is its first mention.
    fn node(&mut self, id: NodeId) -> usize {
        if let Some(index) = self.by_id.get(&id) {
            return *index;
        }
        let shard_id = NodeId::random(&mut self.random);
        self.nodes.push(Node::new(id, shard_id, Flags::default(), self.now_ms));
        self.is_read.push(false);
        self.primaries.push(None);
        self.by_id.insert(id, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// `ip:port@bus,hostname,name=value…`. Without a bus port it is the port plus 10000.
    fn read_address(&mut self, index: usize, word: &[u8]) -> Result<(), String> {
        let word = std::str::from_utf8(word).map_err(|_| "the address is not text".to_owned())?;
        let mut fields = word.split(',');
        let place = fields.next().unwrap_or_default();
        let (ip, ports) = place.rsplit_once(':').ok_or_else(|| format!("invalid address '{place}'"))?;
        let (port, bus_port) = match ports.split_once('@') {
            Some((port, bus_port)) => (parse_port(port)?, parse_port(bus_port)?),
            None => (parse_port(ports)?, parse_port(ports)?.wrapping_add(10000)),
        };
        let node = &mut self.nodes[index];
        node.address.ip = ip.into();
        (node.address.port, node.address.bus_port) = (port, bus_port);
        node.hostname = fields.next().unwrap_or_default().into();
        for field in fields.filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').ok_or_else(|| format!("invalid field '{field}'"))?;
            match name {
                "shard-id" => node.shard_id = parse_id(value.as_bytes())?,
                "nodename" => node.nodename = value.into(),
                "tcp-port" => node.address.port = parse_port(value)?,
                "tls-port" => node.address.tls_port = parse_port(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_flags(&mut self, index: usize, word: &[u8]) -> Result<(), String> {
        for name in word.split(|byte| *byte == b',').filter(|name| *name != b"noflags") {
            let flag = Flags::NAMES.iter().find(|(_, known)| known.as_bytes() == name);
            let (flag, _) = flag.ok_or_else(|| format!("unknown flag '{}'", shown(name)))?;
            if *flag == Flags::MYSELF && self.myself.replace(index).is_some() {
                return Err("a second node is flagged as myself".into());
            }
            let node = &mut self.nodes[index];
            node.flags.set(*flag);
            if *flag == Flags::FAIL {
                node.fail_time = self.now_ms;
            }
        }
        let node = &mut self.nodes[index];
        if !node.flags.has(Flags::MASTER | Flags::SLAVE) {
            // A node that was added by gossip and never reached.
            node.flags.set(Flags::MASTER);
        }
        Ok(())
    }

    /// `5`, `5-7`, `[5->-id]` or `[5-<-id]`.
    fn read_slots(&mut self, index: usize, word: &[u8]) -> Result<(), String> {
        let invalid = || format!("invalid slots '{}'", shown(word));
        if let Some(open) = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")) {
            let dash = open.iter().position(|byte| *byte == b'-').ok_or_else(invalid)?;
            let slot = parse_slot(&open[..dash])?;
            let (way, id) = open[dash..].split_at_checked(3).ok_or_else(invalid)?;
            let other = self.node(parse_id(id)?);
            match way {
                b"->-" => self.migrating.push((slot, other)),
                b"-<-" => self.importing.push((slot, other)),
                _ => return Err(invalid()),
            }
            return Ok(());
        }
        let (first, last) = match word.iter().position(|byte| *byte == b'-') {
            Some(dash) => (parse_slot(&word[..dash])?, parse_slot(&word[dash + 1..])?),
            None => (parse_slot(word)?, parse_slot(word)?),
        };
        if first > last {
            return Err(invalid());
        }
        for slot in first..=last {
            if self.slots[usize::from(slot)].replace(index).is_some() {
                return Err(format!("slot {slot} has two owners"));
            }
        }
        Ok(())
    }

    fn finish(mut self, settings: Settings) -> Result<Cluster, String> {
        let myself = self.myself.ok_or("no node is flagged as myself")?;
        for (index, primary) in self.primaries.iter().enumerate() {
            let Some(primary) = *primary else { continue };
            let id = self.nodes[index].id;
            if primary == index {
                return Err(format!("the node {id} is its own primary"));
            }
            // Versions before 7.2 have no shards. A replica in another shard than its primary is put right.
            self.nodes[index].shard_id = self.nodes[primary].shard_id;
        }
        for (node, is_read) in self.nodes.iter_mut().zip(&self.is_read).filter(|(_, is_read)| !**is_read) {
            debug_assert!(!is_read);
            // Only mentioned, so its address is unknown.
            node.flags.set(Flags::MASTER | Flags::NOADDR);
        }
        let (first, rest) = self.nodes.split_first().ok_or("there is no node")?;
        let mut table = Table::new(first.clone());
        for node in rest {
            table.add(node.clone());
        }
        table.set_myself(NodeIndex(myself as u32));
        for (index, primary) in self.primaries.iter().enumerate() {
            if let Some(primary) = primary {
                table.add_replica(NodeIndex(*primary as u32), NodeIndex(index as u32));
            }
        }
        for (slot, owner) in self.slots.iter().enumerate() {
            if let Some(owner) = owner {
                table.assign(slot as u16, NodeIndex(*owner as u32));
            }
        }
        let id = table.node(NodeIndex(myself as u32)).id;
        let mut cluster = Cluster::with(table, settings, self.random, self.now_ms);
        let places = |all: Vec<(u16, usize)>| {
            all.into_iter().map(|(slot, other)| (slot, NodeIndex(other as u32))).collect()
        };
        (cluster.migrating, cluster.importing) = (places(self.migrating), places(self.importing));
        (cluster.current_epoch, cluster.last_vote_epoch) = self.epochs;
        // A file that was edited by hand must not make epochs repeat.
        cluster.current_epoch = cluster.greatest_epoch().max(cluster.last_vote_epoch);
        cluster.log(Level::Notice, format!("Node configuration loaded, I'm {id}"));
        cluster.todo.update_state = true;
        Ok(cluster)
    }
}

#[cfg(test)]
mod tests;
