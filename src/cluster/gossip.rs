//! Messages that this node makes: the header, `PING` with its gossip section, and the short ones.

use std::sync::Arc;

use super::message::{Body, Entry, Extension, Gossip, Header, Kind, encode, mflag};
use super::node::{Flags, Node, NodeIndex};
use super::slots::BITMAP;
use super::{Cluster, LinkId};

impl Cluster {
    /// Encodes a message of this node.
    fn encode(&self, mflags: u8, body: &Body, gossip: Option<Gossip>) -> Arc<[u8]> {
        let me = self.myself();
        // A replica sends its primary's slots and epoch.
        let owner = me.primary.map_or(me, |primary| self.table.node(primary));
        let (port, other_port) = self.wire_ports(&me.address);
        // A slow script writes on during the pause: the offset is final when it has ended.
        let is_paused = me.is_primary() && self.manual.is_active() && !self.facts.is_busy;
        let header = Header {
            current_epoch: self.current_epoch,
            config_epoch: owner.config_epoch,
            offset: self.facts.offset,
            sender: me.id,
            slots: owner.slots.bits(),
            primary: me.primary.map(|primary| self.table.node(primary).id),
            ip: &self.settings.announce_ip,
            port,
            other_port,
            bus_port: me.address.bus_port,
            flags: me.flags,
            is_down: !self.state.is_ok,
            mflags: mflags | if is_paused { mflag::PAUSED } else { 0 },
        };
        encode(&header, body, gossip).into()
    }

    /// Sends a `PING`, `PONG` or `MEET` with what this node knows about a tenth of the nodes, at least three, and
    /// about all nodes that it cannot reach. A failure is therefore agreed on within few messages.
    pub(super) fn send_ping(&mut self, link: LinkId, kind: Kind) {
        let Some(to) = self.links.get(&link) else { return };
        let (node, is_inbound) = (to.node, to.is_inbound);
        if let Some(node) = node.filter(|_| !is_inbound && kind == Kind::Ping) {
            self.table.node_mut(node).ping_sent = self.now_ms;
        }
        let chosen = self.choose_gossip();
        let entries: Vec<Entry> = chosen.iter().map(|index| self.entry(self.table.node(*index))).collect();
        let extensions = self.extensions();
        let gossip = Gossip { kind, entries: &entries, extensions: &extensions };
        let bytes = self.encode(0, &Body::AuthAck, Some(gossip));
        self.send(link, kind, bytes);
    }

    fn entry<'a>(&self, node: &'a Node) -> Entry<'a> {
        let (port, other_port) = self.wire_ports(&node.address);
        Entry {
            id: node.id,
            ping_sent: (node.ping_sent / 1000) as u32,
            pong_received: (node.pong_received / 1000) as u32,
            ip: &node.address.ip,
            port,
            bus_port: node.address.bus_port,
            flags: node.flags,
            other_port,
        }
    }

    fn extensions(&self) -> Vec<Extension<'_>> {
        let me = self.myself();
        let mut extensions = Vec::new();
        if !me.hostname.is_empty() {
            extensions.push(Extension::Hostname(&me.hostname));
        }
        if !me.nodename.is_empty() {
            extensions.push(Extension::Nodename(&me.nodename));
        }
        for (id, until_ms) in &self.blacklist {
            if *until_ms > self.now_ms {
                extensions.push(Extension::Forgotten(*id, (until_ms - self.now_ms).div_ceil(1000)));
            }
        }
        extensions.push(Extension::Shard(me.shard_id));
        extensions
    }

    /// Chooses the nodes of a gossip section.
    fn choose_gossip(&mut self) -> Vec<NodeIndex> {
        self.gossips += 1;
        let mut fresh = self.table.len().saturating_sub(2);
        let wanted = (self.table.len() / 10).max(3).min(fresh);
        let mut chosen = Vec::with_capacity(wanted + self.pfail_nodes);
        for _ in 0..wanted * 3 {
            if fresh == 0 || chosen.len() == wanted {
                break;
            }
            let index = NodeIndex(self.random.below(self.table.places() as usize) as u32);
            let Some(node) = self.table.get(index) else { continue };
            if node.flags.has(Flags::MYSELF | Flags::PFAIL) || node.gossiped == self.gossips {
                continue;
            }
            // A node that is not connected and has no slots is of no use to others.
            let is_idle = node.link.is_none() && node.slots.is_empty();
            if node.flags.has(Flags::HANDSHAKE | Flags::NOADDR) || is_idle {
                fresh -= 1;
                continue;
            }
            self.table.node_mut(index).gossiped = self.gossips;
            chosen.push(index);
        }
        if self.pfail_nodes > 0 {
            let is_suspect =
                |node: &Node| node.is_timed_out() && !node.flags.has(Flags::HANDSHAKE | Flags::NOADDR);
            let suspects = self.table.iter().filter(|(_, node)| is_suspect(node)).map(|(index, _)| index);
            chosen.extend(suspects.take(self.pfail_nodes));
        }
        chosen
    }

    /// Sends a `PONG` to all nodes, or to the other replicas of this node or of its primary.
    pub(super) fn broadcast_pong(&mut self, only_replicas: bool) {
        let me = self.my_index();
        let family = self.myself().primary.unwrap_or(me);
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            if !self.is_plain(index) || (only_replicas && self.table.node(index).primary != Some(family)) {
                continue;
            }
            if let Some(link) = self.link_to(index) {
                self.send_ping(link, Kind::Pong);
            }
        }
    }

    /// Tells all nodes that a node failed.
    pub(super) fn broadcast_fail(&mut self, index: NodeIndex) {
        let bytes = self.encode(0, &Body::Fail(self.table.node(index).id), None);
        self.broadcast(Kind::Fail, &bytes);
    }

    /// Requests votes from all nodes. `is_forced` if the primary need not have failed.
    pub(super) fn broadcast_auth_request(&mut self, is_forced: bool) {
        let mflags = if is_forced { mflag::FORCE_ACK } else { 0 };
        let bytes = self.encode(mflags, &Body::AuthRequest, None);
        self.broadcast(Kind::AuthRequest, &bytes);
    }

    /// Sends a message without a body to a node that is connected.
    pub(super) fn send_short(&mut self, index: NodeIndex, kind: Kind, body: &Body) {
        if let Some(link) = self.link_to(index) {
            let bytes = self.encode(0, body, None);
            self.send(link, kind, bytes);
        }
    }

    /// Tells a node which slots another one serves, without those that the owner no longer claims.
    pub(super) fn send_update(&mut self, to: NodeIndex, about: NodeIndex) {
        let Some(link) = self.link_to(to) else { return };
        let node = self.table.node(about);
        let mut slots: [u8; BITMAP] = *node.slots.bits();
        for (byte, unclaimed) in slots.iter_mut().zip(self.unclaimed.bits()) {
            *byte &= !unclaimed;
        }
        let body = Body::Update { config_epoch: node.config_epoch, node: node.id, slots: &slots };
        let bytes = self.encode(0, &body, None);
        self.send(link, Kind::Update, bytes);
    }

    pub(super) fn send_publish(&mut self, channel: &[u8], message: &[u8], sharded: bool) {
        if self.table.len() == 1 {
            return;
        }
        let bytes = self.encode(0, &Body::Publish { channel, message, sharded }, None);
        if !sharded {
            return self.broadcast(Kind::Publish, &bytes);
        }
        let shard_id = self.myself().shard_id;
        for place in 0..self.table.places() {
            let index = NodeIndex(place);
            if self.is_plain(index)
                && self.table.node(index).shard_id == shard_id
                && let Some(link) = self.link_to(index)
            {
                self.send(link, Kind::PublishShard, bytes.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
