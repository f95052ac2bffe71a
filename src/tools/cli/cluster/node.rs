//! A node of a cluster, as a line of `CLUSTER NODES` describes it.
//!
//! ```text
//! ID host:port@bus-port[,hostname] flags master-ID|- ping-sent pong-received epoch link-state [slot ...]
//! ```
//!
//! A slot is a number or a range. In the line of the replying node itself, `[slot->-ID]` is a slot that migrates to
//! another node, and `[slot-<-ID]` one that is imported.

use std::fmt::Write as _;

use super::slots::{Shown, SlotSet};

/// A node of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its ID.
    pub name: String,
    /// Its IP address or host name.
    pub host: String,
    /// The port for clients.
    pub port: u16,
    /// The port of the cluster bus.
    pub bus_port: u16,
    /// Its flags except `myself`.
    pub flags: Vec<String>,
    /// The ID of its master, if it is a replica.
    pub replicates: Option<String>,
    /// Its configuration epoch.
    pub epoch: u64,
    /// Whether the node that sent the line is connected to it.
    pub is_connected: bool,
    /// The slots it owns.
    pub slots: SlotSet,
    /// The slots that migrate from it, each with the ID of the destination.
    pub migrating: Vec<(u16, String)>,
    /// The slots that it imports, each with the ID of the source.
    pub importing: Vec<(u16, String)>,
    /// The number of its replicas.
    pub replicas: usize,
}

impl Node {
    /// Parses a line. Returns the node, and whether it is the one that sent the line.
    pub fn from_line(line: &str) -> Option<(Node, bool)> {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?.to_string();
        let address = fields.next()?.split(',').next()?;
        let flags = fields.next()?;
        let master = fields.next()?;
        let epoch = fields.nth(2)?.parse().ok()?;
        let is_connected = fields.next()? == "connected";
        let (address, bus_port) = address.split_once('@').unwrap_or((address, "0"));
        let (host, port) = address.rsplit_once(':')?;
        let is_myself = flags.split(',').any(|flag| flag == "myself");
        let mut node = Node {
            name,
            host: host.to_string(),
            port: port.parse().ok()?,
            bus_port: bus_port.parse().ok()?,
            flags: flags.split(',').filter(|flag| *flag != "myself").map(String::from).collect(),
            replicates: Some(master).filter(|master| *master != "-").map(String::from),
            epoch,
            is_connected,
            ..Node::default()
        };
        for field in fields {
            node.push_slots(field)?;
        }
        Some((node, is_myself))
    }

    fn push_slots(&mut self, field: &str) -> Option<()> {
        if let Some(open) = field.strip_prefix('[') {
            let open = open.trim_end_matches(']');
            if let Some((slot, to)) = open.split_once("->-") {
                self.migrating.push((slot.parse().ok()?, to.to_string()));
            } else if let Some((slot, from)) = open.split_once("-<-") {
                self.importing.push((slot.parse().ok()?, from.to_string()));
            }
            return Some(());
        }
        let (first, last) = field.split_once('-').unwrap_or((field, field));
        for slot in first.parse().ok()?..=last.parse().ok()? {
            self.slots.insert(slot);
        }
        Some(())
    }

    /// Whether it has a flag.
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.replicates.is_some() || self.has_flag("slave")
    }

    /// Whether the node that sent the line considers it unreachable.
    pub fn is_gone(&self) -> bool {
        !self.is_connected || self.has_flag("noaddr") || self.has_flag("fail")
    }

    /// `host:port`, as redis-cli prints it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Describes the node in the lines of redis-cli, indented by `indent` spaces. `is_planned` is a replica that does
    /// not replicate yet.
    pub fn describe(&self, indent: usize, is_planned: bool) -> String {
        let spaces = " ".repeat(indent);
        let role = if self.is_replica() { 'S' } else { 'M' };
        let mut text = format!("{spaces}{role}: {} {}", self.name, self.address());
        // Writing to a string does not fail.
        if !is_planned {
            let (slots, flags) = (&self.slots, self.flags.join(","));
            let _ = write!(text, "\n{spaces}   slots:{} ({} slots) {flags}", Shown(slots), slots.len());
        }
        if let Some(master) = &self.replicates {
            let _ = write!(text, "\n{spaces}   replicates {master}");
        } else if self.replicas > 0 {
            let _ = write!(text, "\n{spaces}   {} additional replica(s)", self.replicas);
        }
        text
    }
}

/// Parses the reply to `CLUSTER NODES`. Returns the replying node and the other ones; `None` if it is malformed.
pub fn parse(text: &str) -> Option<(Node, Vec<Node>)> {
    let mut own = None;
    let mut others = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (node, is_myself) = Node::from_line(line)?;
        if is_myself {
            own = Some(node);
        } else {
            others.push(node);
        }
    }
    Some((own?, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aaaa 127.0.0.1:7000@17000,,shard-id=99 myself,master - 0 1795552863000 1 connected 0-2 7 [8->-bbbb] [9-<-cccc]
bbbb 10.0.0.2:7001@17001,host.example master - 0 1795552863000 3 connected 3-6
cccc ::1:7002@27002 slave,fail aaaa 0 1795552863000 1 disconnected
dddd :0@0 master,noaddr - 0 0 0 disconnected
";

    #[test]
    fn a_line_of_cluster_nodes_describes_a_node() {
        let (own, others) = parse(NODES).unwrap();
        assert_eq!((own.address().as_str(), own.bus_port, own.epoch), ("127.0.0.1:7000", 17000, 1));
        assert_eq!(Shown(&own.slots).to_string(), "[0-2],[7]");
        assert_eq!(own.migrating, [(8, "bbbb".to_string())]);
        assert_eq!(own.importing, [(9, "cccc".to_string())]);
        assert_eq!(own.flags, ["master"]);
        assert!(!own.is_replica() && !own.is_gone());
        assert_eq!(others.len(), 3);
        assert_eq!(others[0].host, "10.0.0.2");
        assert_eq!((others[1].host.as_str(), others[1].port, others[1].bus_port), ("::1", 7002, 27002));
        assert!(others[1].is_replica() && others[1].is_gone() && others[2].is_gone());
    }

    #[test]
    fn a_node_is_described_as_by_redis_cli() {
        let (mut own, others) = parse(NODES).unwrap();
        own.replicas = 1;
        let wanted =
            "  M: aaaa 127.0.0.1:7000\n     slots:[0-2],[7] (4 slots) master\n     1 additional replica(s)";
        assert_eq!(own.describe(2, false), wanted);
        assert_eq!(others[1].describe(0, true), "S: cccc ::1:7002\n   replicates aaaa");
    }

    #[test]
    fn other_texts_are_not_lines_of_cluster_nodes() {
        for text in [
            "",
            "aaaa",
            "aaaa 127.0.0.1:7000@17000 master - 0 0 1 connected x",
            &NODES.replace("myself,", ""),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
