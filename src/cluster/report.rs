//! The texts of `CLUSTER NODES` and `CLUSTER INFO`.

use std::fmt::Write;

use super::Cluster;
use super::message::Kind;
use super::node::{Flags, Node, NodeId};

/// The destination of the lines that describe nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `nodes.conf`, which leaves out nodes in handshake and has more fields.
    File,
    /// A reply, which has the plain ports or the TLS ports of nodes.
    Reply {
        /// Whether the client uses TLS.
        with_tls: bool,
    },
}

impl Cluster {
    /// The reply to `CLUSTER NODES`, or the lines of `nodes.conf`.
    pub fn nodes_text(&self, form: Form) -> String {
        let mut text = String::with_capacity(self.table.len() * 192);
        for (_, node) in self.nodes().filter(|(_, node)| form != Form::File || !node.is_in_handshake()) {
            self.push_line(&mut text, node, form);
            text.push('\n');
        }
        text
    }

    /// The line of a node in `CLUSTER NODES`, without its end; also in `CLUSTER REPLICAS`.
    pub fn node_line(&self, node: &Node, with_tls: bool) -> String {
        let mut text = String::new();
        self.push_line(&mut text, node, Form::Reply { with_tls });
        text
    }

    fn push_line(&self, text: &mut String, node: &Node, form: Form) {
        let address = &node.address;
        let port = match form {
            Form::File => self.main_port(address),
            Form::Reply { with_tls } => address.client_port(with_tls),
        };
        let Node { id, hostname, nodename, shard_id, flags, slots, .. } = node;
        _ = write!(text, "{id} {}:{port}@{}", address.ip, address.bus_port);
        if form == Form::File {
            _ = write!(text, ",{hostname}");
            // The port that is not in the address.
            let (name, other) = if self.settings.tls_cluster {
                ("tcp-port", address.port)
            } else {
                ("tls-port", address.tls_port)
            };
            _ = write!(text, ",{name}={other}");
            if !nodename.is_empty() {
                _ = write!(text, ",nodename={nodename}");
            }
            _ = write!(text, ",shard-id={shard_id}");
        } else if !hostname.is_empty() {
            _ = write!(text, ",{hostname}");
        }
        let primary = node.primary.map(|index| self.table.node(index));
        let primary_id = primary.map(|primary| primary.id);
        _ = write!(text, " {flags} {}", primary_id.as_ref().map_or("-", NodeId::as_str));
        let epoch = primary.filter(|_| node.is_replica()).map_or(node.config_epoch, |node| node.config_epoch);
        let state = if node.is_connected() { "connected" } else { "disconnected" };
        _ = write!(text, " {} {} {epoch} {state}", node.ping_sent, node.pong_received);
        if !slots.is_empty() {
            _ = write!(text, " {slots}");
        }
        if node.flags.has(Flags::MYSELF) {
            self.push_open_slots(text);
        }
    }

    fn push_open_slots(&self, text: &mut String) {
        let migrating = self.migrating.iter().map(|(slot, node)| (*slot, "->-", *node));
        let importing = self.importing.iter().map(|(slot, node)| (*slot, "-<-", *node));
        let mut open: Vec<_> = migrating.chain(importing).collect();
        open.sort_unstable();
        for (slot, way, node) in open {
            _ = write!(text, " [{slot}{way}{}]", self.table.node(node).id);
        }
    }

    /// The reply to `CLUSTER INFO`.
    pub fn info_text(&self) -> String {
        let (assigned, mut failed, mut suspected) = (self.table.assigned(), 0, 0);
        for (_, node) in self.nodes() {
            let slots = node.slots.len();
            if node.is_failed() {
                failed += slots;
            } else if node.is_timed_out() {
                suspected += slots;
            }
        }
        let me = self.myself();
        let my_epoch = me.primary.map_or(me.config_epoch, |primary| self.table.node(primary).config_epoch);
        let mut text = String::new();
        let state = if self.is_ok() { "ok" } else { "fail" };
        _ = write!(text, "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\n");
        _ = write!(text, "cluster_slots_ok:{}\r\n", assigned - failed - suspected);
        _ = write!(text, "cluster_slots_pfail:{suspected}\r\ncluster_slots_fail:{failed}\r\n");
        _ = write!(text, "cluster_known_nodes:{}\r\ncluster_size:{}\r\n", self.table.len(), self.size());
        _ = write!(text, "cluster_current_epoch:{}\r\ncluster_my_epoch:{my_epoch}\r\n", self.current_epoch);
        for (way, counts) in [("sent", &self.sent), ("received", &self.received)] {
            for (kind, count) in Kind::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                _ = write!(text, "cluster_stats_messages_{}_{way}:{count}\r\n", kind.name());
            }
            _ = write!(text, "cluster_stats_messages_{way}:{}\r\n", counts.iter().sum::<u64>());
        }
        _ = write!(text, "total_cluster_links_buffer_limit_exceeded:{}\r\n", self.links_over_limit);
        text
    }
}
