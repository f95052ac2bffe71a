//! Messages that arrive: what a node learns from each type, and from whom it accepts it.

use super::message::{Body, Entries, Extension, Extensions, Header, Kind, Packet, decode, mflag};
use super::node::{Address, Flags, Node, NodeId, NodeIndex};
use super::{Action, Cluster, Facts, Level, LinkId};

impl Cluster {
    /// Takes a packet that arrived on a link. A malformed packet is logged and ignored.
    pub fn received(&mut self, link: LinkId, packet: &[u8], now_ms: u64, facts: &Facts) {
        self.advance(now_ms);
        self.facts = *facts;
        if !self.links.contains_key(&link) {
            return;
        }
        match decode(packet) {
            Ok(packet) => self.process(link, &packet),
            Err(bad) => self.log(Level::Warning, bad.to_string()),
        }
    }

    fn process(&mut self, link: LinkId, packet: &Packet) {
        let Packet { header, body } = packet;
        if let Some(kind) = kind_of(body) {
            self.received[kind as usize] += 1;
        }
        let sender = self.sender(link, header);
        if let Some(sender) = sender {
            self.note_sender(sender, header);
        }
        match (*body, sender) {
            (Body::Gossip(kind, entries, extensions), _) => {
                self.process_gossip_message(link, sender, header, kind, entries, extensions);
            }
            (Body::Fail(id), Some(sender)) => self.take_failure(sender, id),
            (Body::Fail(id), None) => {
                let text = format!("Ignoring FAIL message from unknown node {} about {id}", header.sender);
                self.log(Level::Notice, text);
            }
            (Body::Publish { channel, message, sharded }, Some(_)) => {
                self.act(Action::Publish { channel: channel.to_vec(), message: message.to_vec(), sharded });
            }
            (Body::AuthRequest, Some(sender)) => self.vote(sender, header),
            (Body::AuthAck, Some(sender)) => self.count_vote(sender, header.current_epoch),
            (Body::MfStart, Some(sender)) if self.table.node(sender).primary == Some(self.my_index()) => {
                self.pause_for_failover(sender);
                // The PING tells the replica the offset at once.
                self.send_ping(link, Kind::Ping);
            }
            (Body::Update { config_epoch, node, slots }, Some(_)) => {
                self.take_update(config_epoch, node, slots);
            }
            (Body::Unknown(kind), _) => {
                self.log(Level::Warning, format!("Received unknown packet type: {kind}"));
            }
            _ => {}
        }
    }

    /// The known node that sent a message. A link that the node established is associated with it.
    fn sender(&mut self, link: LinkId, header: &Header) -> Option<NodeIndex> {
        let node = self.links.get(&link)?.node;
        let associated = node.filter(|index| !self.table.node(*index).is_in_handshake());
        if let Some(index) = associated {
            // Another node may have taken over the address.
            return (self.table.node(index).id == header.sender).then_some(index);
        }
        let sender = self.table.find(&header.sender).filter(|index| *index != self.my_index())?;
        if node.is_none() {
            self.associate(link, sender);
        }
        Some(sender)
    }

    /// Takes the epochs and the offset that each message of a known node carries.
    fn note_sender(&mut self, sender: NodeIndex, header: &Header) {
        let now_ms = self.now_ms;
        let node = self.table.node_mut(sender);
        node.data_received = now_ms;
        if node.is_in_handshake() {
            return;
        }
        self.current_epoch = self.current_epoch.max(header.current_epoch);
        let node = self.table.node_mut(sender);
        node.repl_offset = header.offset;
        if header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.save_later(true);
        }
        let is_primary = self.myself().is_replica() && self.myself().primary == Some(sender);
        if is_primary && header.mflags & mflag::PAUSED != 0 {
            self.take_primary_offset(header.offset);
        }
    }

    fn process_gossip_message(
        &mut self,
        link: LinkId,
        sender: Option<NodeIndex>,
        header: &Header,
        kind: Kind,
        entries: Entries,
        extensions: Extensions,
    ) {
        if kind != Kind::Pong {
            let is_unknown = self.myself().address.ip.is_empty();
            if (kind == Kind::Meet || is_unknown) && self.settings.announce_ip.is_empty() {
                self.learn_own_address(link);
            }
            let is_me = header.sender == self.myself().id;
            if sender.is_none() && kind == Kind::Meet && !is_me {
                self.add_sender(link, header);
            }
            self.send_ping(link, Kind::Pong);
        }
        if self.links.get(&link).is_some_and(|link| !link.is_inbound)
            && !self.check_identity(link, sender, header)
        {
            return;
        }
        if kind == Kind::Pong {
            self.take_pong(link);
        }
        let Some(sender) = sender else { return };
        let no_failover = header.flags.has(Flags::NOFAILOVER);
        self.table.node_mut(sender).flags.put(Flags::NOFAILOVER, no_failover);
        if kind == Kind::Ping
            && !self.table.node(sender).is_in_handshake()
            && self.update_address(sender, link, header)
        {
            self.todo.update_state = true;
            self.save_later(false);
        }
        self.take_role(sender, header);
        self.take_claim(sender, header);
        self.process_entries(sender, entries);
        self.process_extensions(sender, extensions);
    }

    /// Completes a handshake, or checks that the node at the other end of an own link is the expected one. Returns
    /// whether the message counts.
    fn check_identity(&mut self, link: LinkId, sender: Option<NodeIndex>, header: &Header) -> bool {
        let Some(index) = self.links.get(&link).and_then(|link| link.node) else { return false };
        let node = self.table.node(index);
        if !node.is_in_handshake() {
            if node.id == header.sender {
                return true;
            }
            // Another node listens at the address. The right one will announce its own.
            let text = format!("PONG contains mismatching sender ID. About node {}", node.id);
            self.log(Level::Debug, text);
            let node = self.table.node_mut(index);
            node.flags.set(Flags::NOADDR);
            node.address = Address::default();
            self.close(link);
            self.save_later(false);
            return false;
        }
        if let Some(sender) = sender {
            let name = self.named(sender);
            let text = format!("Handshake: we already know node {name}, updating the address if needed.");
            self.log(Level::Verbose, text);
            if self.update_address(sender, link, header) {
                self.todo.update_state = true;
                self.save_later(false);
            }
        }
        if sender.is_some() || header.sender == self.myself().id {
            self.remove_node(index);
            return false;
        }
        self.table.rename(index, header.sender);
        self.log(Level::Debug, format!("Handshake with node {} completed.", header.sender));
        let node = self.table.node_mut(index);
        node.flags.clear(Flags::HANDSHAKE);
        node.flags.set(header.flags & (Flags::MASTER | Flags::SLAVE));
        self.save_later(false);
        true
    }

    /// A `PONG` on an own link: the node is alive.
    fn take_pong(&mut self, link: LinkId) {
        let Some(link) = self.links.get(&link).filter(|link| !link.is_inbound) else { return };
        let Some(index) = link.node else { return };
        let now_ms = self.now_ms;
        let node = self.table.node_mut(index);
        (node.pong_received, node.ping_sent) = (now_ms, 0);
        if node.is_timed_out() {
            node.flags.clear(Flags::PFAIL);
            self.todo.update_state = true;
            self.save_later(false);
        } else if node.is_failed() {
            self.clear_failure(index);
        }
    }

    /// Ends the failure of a node that is reachable again: at once if it has no slots, otherwise after a time in which
    /// no replica has replaced it.
    fn clear_failure(&mut self, index: NodeIndex) {
        let name = self.named(index);
        let node = self.table.node(index);
        let text = if node.is_replica() || node.slots.is_empty() {
            let kind = if node.is_replica() { "replica" } else { "master without slots" };
            format!("Clear FAIL state for node {name}:{kind} is reachable again.")
        } else if self.since(node.fail_time) > self.settings.node_timeout_ms * 2 {
            format!(
                "Clear FAIL state for node {name}: is reachable again and nobody is serving its slots after some time."
            )
        } else {
            return;
        };
        self.log(Level::Notice, text);
        self.table.node_mut(index).flags.clear(Flags::FAIL);
        self.todo.update_state = true;
        self.save_later(false);
    }

    /// A node tells that another one failed.
    fn take_failure(&mut self, sender: NodeIndex, id: NodeId) {
        let Some(index) = self.table.find(&id) else { return };
        if self.table.node(index).flags.has(Flags::FAIL | Flags::MYSELF) {
            return;
        }
        let text = format!("FAIL message received from {} about {}", self.named(sender), self.named(index));
        self.log(Level::Notice, text);
        self.set_failed(index);
    }

    fn set_failed(&mut self, index: NodeIndex) {
        let now_ms = self.now_ms;
        let node = self.table.node_mut(index);
        node.flags.clear(Flags::PFAIL);
        node.flags.set(Flags::FAIL);
        node.fail_time = now_ms;
        self.todo.update_state = true;
        self.save_later(false);
    }

    fn process_entries(&mut self, sender: NodeIndex, entries: Entries) {
        for entry in entries {
            let (port, tls_port) = self.ports(entry.port, entry.other_port);
            let address = || Address { ip: entry.ip.into(), port, tls_port, bus_port: entry.bus_port };
            let is_failing = entry.flags.has(Flags::FAIL | Flags::PFAIL);
            let has_address = !entry.flags.has(Flags::NOADDR) && !entry.ip.is_empty();
            match self.table.find(&entry.id) {
                Some(index) => {
                    self.take_report(index, sender, is_failing);
                    self.take_pong_time(index, is_failing, entry.pong_received);
                    let node = self.table.node(index);
                    if node.flags.has(Flags::FAIL | Flags::PFAIL)
                        && has_address
                        && !is_failing
                        && node.address != address()
                        && self.is_plain(index)
                    {
                        self.move_node(index, address());
                    }
                }
                None if has_address && !self.is_blacklisted(&entry.id) => {
                    let flags = entry.flags & Flags::GOSSIPED;
                    let shard_id = NodeId::random(&mut self.random);
                    let mut node = Node::new(entry.id, shard_id, flags, self.now_ms);
                    node.address = address();
                    if node.is_failed() {
                        node.fail_time = self.now_ms;
                    }
                    self.table.add(node);
                    self.save_later(false);
                }
                None => {}
            }
        }
    }

    /// A primary reports that it can or cannot reach a node.
    fn take_report(&mut self, index: NodeIndex, sender: NodeIndex, is_failing: bool) {
        if !self.table.node(sender).is_primary() || index == self.my_index() || index == sender {
            return;
        }
        if is_failing {
            let now_ms = self.now_ms;
            if self.table.node_mut(index).reports.insert(sender, now_ms).is_none() {
                let (from, about) = (self.named(sender), self.named(index));
                self.log(Level::Verbose, format!("Node {from} reported node {about} as not reachable."));
            }
            self.fail_if_agreed(index);
        } else if self.table.node_mut(index).reports.remove(&sender).is_some() {
            let (from, about) = (self.named(sender), self.named(index));
            self.log(Level::Verbose, format!("Node {from} reported node {about} is back online."));
        }
    }

    /// Takes the time of a later `PONG` to another node, if all is well: so most nodes need no `PING` of this one.
    fn take_pong_time(&mut self, index: NodeIndex, is_failing: bool, seconds: u32) {
        let node = self.table.node(index);
        if is_failing || node.ping_sent != 0 || !node.reports.is_empty() {
            return;
        }
        let pong_ms = u64::from(seconds) * 1000;
        if pong_ms <= self.now_ms + 500 && pong_ms > node.pong_received {
            self.table.node_mut(index).pong_received = pong_ms;
        }
    }

    /// The number of valid reports that a node failed.
    pub(super) fn count_reports(&mut self, index: NodeIndex) -> usize {
        let (now_ms, validity_ms) = (self.now_ms, self.settings.node_timeout_ms * 2);
        let reports = &mut self.table.node_mut(index).reports;
        reports.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) <= validity_ms);
        reports.len()
    }

    /// Marks a node as failed if this node cannot reach it and the majority of the primaries agrees.
    pub(super) fn fail_if_agreed(&mut self, index: NodeIndex) {
        let node = self.table.node(index);
        if !node.is_timed_out() || node.is_failed() {
            return;
        }
        let own = usize::from(self.myself().is_primary());
        if self.count_reports(index) + own < self.quorum() {
            return;
        }
        let text = format!("Marking node {} as failing (quorum reached).", self.named(index));
        self.log(Level::Notice, text);
        self.set_failed(index);
        self.broadcast_fail(index);
    }

    fn process_extensions(&mut self, sender: NodeIndex, extensions: Extensions) {
        let (mut hostname, mut nodename) = ("", "");
        for extension in extensions {
            match extension {
                Extension::Hostname(name) => hostname = name,
                Extension::Nodename(name) => nodename = name,
                Extension::Forgotten(id, seconds) => self.forget_gossiped(sender, id, seconds),
                // A replica is in the shard of its primary, whatever it says; Redis refuses a file that differs.
                Extension::Shard(_) if self.table.node(sender).primary.is_some() => {}
                Extension::Shard(id) => self.set_shard(sender, id),
                Extension::Unknown(kind) => {
                    self.log(Level::Warning, format!("Received unknown extension type {kind}"));
                }
            }
        }
        // A node without the extension has no name.
        let node = self.table.node_mut(sender);
        if node.hostname != hostname || node.nodename != nodename {
            (node.hostname, node.nodename) = (hostname.into(), nodename.into());
            self.save_later(false);
        }
    }

    /// Forgets a node that was forgotten elsewhere, unless this node cannot do without it.
    fn forget_gossiped(&mut self, sender: NodeIndex, id: NodeId, seconds: u64) {
        let Some(index) = self.table.find(&id) else { return };
        if index == self.my_index() || index == sender || self.myself().primary == Some(index) {
            return;
        }
        let until_ms = self.now_ms.saturating_add(seconds.saturating_mul(1000));
        self.blacklist.insert(id, until_ms);
        self.remove_node(index);
        self.todo.update_state = true;
        self.save_later(false);
    }
}

fn kind_of(body: &Body) -> Option<Kind> {
    Some(match body {
        Body::Gossip(kind, ..) => *kind,
        Body::Fail(_) => Kind::Fail,
        Body::Publish { sharded: true, .. } => Kind::PublishShard,
        Body::Publish { .. } => Kind::Publish,
        Body::AuthRequest => Kind::AuthRequest,
        Body::AuthAck => Kind::AuthAck,
        Body::Update { .. } => Kind::Update,
        Body::MfStart => Kind::MfStart,
        Body::Module => Kind::Module,
        Body::Unknown(_) => return None,
    })
}
