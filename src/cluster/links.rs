//! The connections of the bus: one that this node establishes to each node, and one that each node establishes to it.

use std::sync::Arc;

use super::message::Kind;
use super::node::{Flags, Node, NodeIndex};
use super::{Action, Cluster, Level, LinkId};

#[derive(Debug)]
pub(super) struct Link {
    /// The node at the other end; unknown at first if that one connected.
    pub(super) node: Option<NodeIndex>,
    pub(super) is_inbound: bool,
    pub(super) is_connected: bool,
    pub(super) created_ms: u64,
    /// The addresses of both ends, if known.
    pub(super) peer_ip: String,
    pub(super) local_ip: String,
    /// The bytes that the socket has not taken yet.
    pending: u64,
}

/// The most accepted connections beyond one from each known node. The server reserves descriptors for them.
pub const MAX_STRANGERS: usize = 32;

/// The shortest time in which an accepted connection has to send a packet of a known node, in milliseconds.
const INTRODUCTION_MS: u64 = 5000;

/// A row of `CLUSTER LINKS`, without the sizes that only the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The connection.
    pub link: LinkId,
    /// Whether the other node connected to this one.
    pub is_inbound: bool,
    /// The other node's ID.
    pub node: super::NodeId,
    /// When the link was created.
    pub created_ms: u64,
}

impl Cluster {
    /// Takes a connection on the bus port. Returns the name of the link. If there are too many connections that no known
    /// node has used, the oldest of them is closed: a node sends its first packet at once, so it is not among the oldest.
    pub fn link_accepted(&mut self, peer_ip: &str, local_ip: &str, now_ms: u64) -> LinkId {
        self.advance(now_ms);
        let most = self.nodes().count() - 1 + MAX_STRANGERS;
        let is_full = self.links.values().filter(|link| link.is_inbound).count() >= most;
        let oldest = self.strangers().next();
        if let Some(oldest) = oldest.filter(|_| is_full) {
            self.log(Level::Verbose, "Closing the oldest of too many bus connections without a known node");
            self.close(oldest);
        }
        let link = self.new_link(None, true);
        let made = self.links.get_mut(&link).expect("it is new");
        made.is_connected = true;
        (made.peer_ip, made.local_ip) = (peer_ip.into(), local_ip.into());
        link
    }

    /// The connection of an [`Action::Connect`] is established.
    pub fn link_connected(&mut self, link: LinkId, peer_ip: &str, local_ip: &str, now_ms: u64) {
        self.advance(now_ms);
        let Some(made) = self.links.get_mut(&link) else { return };
        if made.is_connected {
            return;
        }
        made.is_connected = true;
        (made.peer_ip, made.local_ip) = (peer_ip.into(), local_ip.into());
        let Some(index) = made.node else { return };
        // The PING is sent at once, so that the failure detection starts with the link. A PING that the old link lost
        // still counts from its own time.
        let node = self.table.node(index);
        let (since, is_meet) = (node.ping_sent, node.flags.has(Flags::MEET));
        self.send_ping(link, if is_meet { Kind::Meet } else { Kind::Ping });
        let node = self.table.node_mut(index);
        if since != 0 {
            node.ping_sent = since;
        }
        node.flags.clear(Flags::MEET);
    }

    /// A connection was closed by the other end, failed, or could not be established.
    pub fn link_closed(&mut self, link: LinkId, now_ms: u64) {
        self.advance(now_ms);
        let Some(link) = self.links.remove(&link) else { return };
        let Some(index) = link.node else { return };
        let node = self.table.node_mut(index);
        if link.is_inbound {
            node.inbound = None;
        } else {
            node.link = None;
        }
    }

    /// Notes how many bytes of a link its socket has not taken yet. The next tick closes a link beyond the limit.
    pub fn link_pending(&mut self, link: LinkId, bytes: u64) {
        if let Some(link) = self.links.get_mut(&link) {
            link.pending = bytes;
        }
    }

    /// The established links to and from known nodes.
    pub fn links(&self) -> impl Iterator<Item = LinkView> + '_ {
        self.links.iter().filter_map(|(id, link)| {
            let node = self.table.node(link.node?).id;
            Some(LinkView { link: *id, is_inbound: link.is_inbound, node, created_ms: link.created_ms })
        })
    }

    /// The node to which this node has established the link; `None` if the other node has.
    pub fn node_connected_by(&self, link: LinkId) -> Option<&Node> {
        let link = self.links.get(&link).filter(|link| !link.is_inbound)?;
        Some(self.table.node(link.node?))
    }

    /// The number of links that were closed because of their size.
    pub fn links_over_limit(&self) -> u64 {
        self.links_over_limit
    }

    fn new_link(&mut self, node: Option<NodeIndex>, is_inbound: bool) -> LinkId {
        self.next_link += 1;
        let link = Link {
            node,
            is_inbound,
            is_connected: false,
            created_ms: self.now_ms,
            peer_ip: String::new(),
            local_ip: String::new(),
            pending: 0,
        };
        self.links.insert(LinkId(self.next_link), link);
        LinkId(self.next_link)
    }

    /// Starts to connect to a node.
    pub(super) fn connect(&mut self, index: NodeIndex) {
        let (link, now_ms) = (self.new_link(Some(index), false), self.now_ms);
        let node = self.table.node_mut(index);
        node.link = Some(link);
        // A node that cannot be connected to must time out, too.
        if node.ping_sent == 0 {
            node.ping_sent = now_ms;
        }
        let (ip, bus_port) = (node.address.ip.clone(), node.address.bus_port);
        self.act(Action::Connect { link, ip, bus_port });
    }

    /// Associates a link with the node that established it. An older one is closed: the node has connected again.
    pub(super) fn associate(&mut self, link: LinkId, index: NodeIndex) {
        if let Some(old) = self.table.node(index).inbound.filter(|old| *old != link) {
            self.log(Level::Debug, format!("Replacing inbound link from node {}", self.table.node(index).id));
            self.close(old);
        }
        self.table.node_mut(index).inbound = Some(link);
        if let Some(link) = self.links.get_mut(&link) {
            link.node = Some(index);
        }
    }

    /// Closes a link.
    pub(super) fn close(&mut self, link: LinkId) {
        let Some(closed) = self.links.remove(&link) else { return };
        if let Some(index) = closed.node {
            let node = self.table.node_mut(index);
            let place = if closed.is_inbound { &mut node.inbound } else { &mut node.link };
            if *place == Some(link) {
                *place = None;
            }
        }
        self.act(Action::Close { link });
    }

    /// The accepted connections that no known node has used yet, the oldest first.
    fn strangers(&self) -> impl Iterator<Item = LinkId> + '_ {
        let is_stranger = |link: &Link| link.is_inbound && link.node.is_none();
        self.links.iter().filter(move |(_, link)| is_stranger(link)).map(|(id, _)| *id)
    }

    /// Closes the connections that no known node has used in time.
    pub(super) fn close_strangers(&mut self) {
        let most_ms = self.settings.node_timeout_ms.max(INTRODUCTION_MS);
        let late: Vec<LinkId> =
            self.strangers().filter(|link| self.since(self.links[link].created_ms) > most_ms).collect();
        for link in late {
            self.log(Level::Verbose, "Closing a bus connection without a packet of a known node");
            self.close(link);
        }
    }

    /// Closes the links of a node whose queue is too long.
    pub(super) fn limit_links(&mut self, index: NodeIndex) {
        let limit = self.settings.link_limit;
        if limit == 0 {
            return;
        }
        let node = self.table.node(index);
        let id = node.id;
        for link in [node.link, node.inbound].into_iter().flatten() {
            let Some(Link { pending, is_inbound, .. }) = self.links.get(&link) else { continue };
            if *pending <= limit {
                continue;
            }
            let (kind, way) = if *is_inbound { ("inbound", "from") } else { ("outbound", "to") };
            let text = format!(
                "Freeing {kind} cluster link({way} node {id}, used memory: {pending}) due to exceeding send buffer \
                 memory limit."
            );
            self.log(Level::Warning, text);
            self.links_over_limit += 1;
            self.close(link);
        }
    }

    /// The established link to a node.
    pub(super) fn link_to(&self, index: NodeIndex) -> Option<LinkId> {
        let link = self.table.node(index).link?;
        self.links.get(&link)?.is_connected.then_some(link)
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, link: LinkId, kind: Kind, bytes: Arc<[u8]>) {
        self.sent[kind as usize] += 1;
        self.act(Action::Send { link, bytes });
    }

    /// Sends a packet to all nodes that are connected.
    pub(super) fn broadcast(&mut self, kind: Kind, bytes: &Arc<[u8]>) {
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            let Some(node) = self.table.get(index) else { continue };
            if !node.flags.has(Flags::MYSELF | Flags::HANDSHAKE)
                && let Some(link) = self.link_to(index)
            {
                self.send(link, kind, bytes.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
