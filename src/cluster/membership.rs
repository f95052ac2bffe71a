//! Which nodes there are: handshakes, removed nodes, addresses, names and shards.

use super::message::Header;
use super::node::{Address, Flags, Node, NodeId, NodeIndex};
use super::{Action, Cluster, Level, LinkId};

/// The most handshakes at a time. Each takes a descriptor and about 3 KB, at most for the node timeout. The first node
/// of a new cluster has one with each other node.
pub(super) const HANDSHAKES: usize = 4096;

/// For how long a forgotten node is not added again.
pub(super) const BLACKLIST_MS: u64 = 60_000;

impl Cluster {
    /// The client ports of a message, whose first one is for TLS if the bus uses TLS: plain, then TLS.
    pub(super) fn ports(&self, first: u16, other: u16) -> (u16, u16) {
        if self.settings.tls_cluster { (other, first) } else { (first, other) }
    }

    /// The ports of a node in the order of messages.
    pub(super) fn wire_ports(&self, address: &Address) -> (u16, u16) {
        if self.settings.tls_cluster {
            (address.tls_port, address.port)
        } else {
            (address.port, address.tls_port)
        }
    }

    /// The port for clients of the kind that the bus uses.
    pub(super) fn main_port(&self, address: &Address) -> u16 {
        self.wire_ports(address).0
    }

    /// Adds a node with a random ID, which its `PONG` will replace, unless the same handshake is in progress.
    ///
    /// # Errors
    /// Too many handshakes are in progress.
    pub(super) fn start_handshake(&mut self, ip: &str, port: u16, bus_port: u16) -> Result<(), String> {
        let (port, tls_port) = self.ports(port, 0);
        let address = Address { ip: ip.into(), port, tls_port, bus_port };
        if self.is_in_handshake_with(&address) {
            return Ok(());
        }
        if self.has_most_handshakes() {
            return Err(format!("ERR {HANDSHAKES} handshakes are in progress, try again later"));
        }
        self.add_in_handshake(address, Flags::HANDSHAKE | Flags::MEET);
        Ok(())
    }

    fn is_in_handshake_with(&self, address: &Address) -> bool {
        self.table.iter().any(|(_, node)| node.is_in_handshake() && node.address == *address)
    }

    fn has_most_handshakes(&self) -> bool {
        self.table.iter().filter(|(_, node)| node.is_in_handshake()).count() >= HANDSHAKES
    }

    pub(super) fn add_in_handshake(&mut self, address: Address, flags: Flags) -> NodeIndex {
        let (id, shard_id) = (NodeId::random(&mut self.random), NodeId::random(&mut self.random));
        let mut node = Node::new(id, shard_id, flags, self.now_ms);
        node.address = address;
        self.table.add(node)
    }

    /// Removes a node, with its links and all that refers to it.
    pub(super) fn remove_node(&mut self, index: NodeIndex) {
        let node = self.table.node(index);
        for link in [node.link, node.inbound].into_iter().flatten() {
            self.close(link);
        }
        for slot in self.table.node(index).slots.clone().iter() {
            self.unassign(slot);
        }
        self.migrating.retain(|_, target| *target != index);
        self.importing.retain(|_, source| *source != index);
        if self.manual.replica == Some(index) {
            self.reset_manual_failover();
        }
        self.table.remove(index);
    }

    /// Ends the blacklisting of nodes whose time has passed.
    pub(super) fn expire_blacklist(&mut self) {
        let now_ms = self.now_ms;
        self.blacklist.retain(|_, until_ms| *until_ms > now_ms);
    }

    /// The address that a message announces, or its connection has.
    fn address_of(&self, link: LinkId, header: &Header) -> Option<Address> {
        let ip = match header.ip {
            "" => self.links.get(&link)?.peer_ip.clone(),
            ip => ip.to_owned(),
        };
        let (port, tls_port) = self.ports(header.port, header.other_port);
        (!ip.is_empty()).then_some(Address { ip, port, tls_port, bus_port: header.bus_port })
    }

    /// Adds the sender of a `MEET`.
    pub(super) fn add_sender(&mut self, link: LinkId, header: &Header) {
        let address = self.address_of(link, header);
        if let Some(address) = address.filter(|address| !self.is_in_handshake_with(address)) {
            if self.has_most_handshakes() {
                let text = format!("Ignoring a MEET: {HANDSHAKES} handshakes are in progress");
                return self.log(Level::Verbose, text);
            }
            self.add_in_handshake(address, Flags::HANDSHAKE);
            self.save_later(false);
        }
    }

    /// Takes the address that a node announces on its own link. Returns whether it changed; the link to the old one is
    /// closed then.
    pub(super) fn update_address(&mut self, index: NodeIndex, link: LinkId, header: &Header) -> bool {
        if self.table.node(index).link == Some(link) {
            return false;
        }
        let Some(address) =
            self.address_of(link, header).filter(|new| *new != self.table.node(index).address)
        else {
            return false;
        };
        self.move_node(index, address);
        let node = self.table.node(index);
        let (id, name, ip) = (node.id, node.nodename.clone(), node.address.ip.clone());
        let port = self.main_port(&node.address);
        self.log(Level::Notice, format!("Address updated for node {id} ({name}), now {ip}:{port}"));
        if self.myself().primary == Some(index) {
            self.follow(index);
        }
        true
    }

    /// Gives a node another address, and closes the link to the old one.
    pub(super) fn move_node(&mut self, index: NodeIndex, address: Address) {
        if let Some(link) = self.table.node(index).link {
            self.close(link);
        }
        let node = self.table.node_mut(index);
        node.address = address;
        node.flags.clear(Flags::NOADDR);
    }

    /// Has the server replicate a node.
    pub(super) fn follow(&mut self, index: NodeIndex) {
        let Address { ip, port, tls_port, .. } = self.table.node(index).address.clone();
        self.act(Action::Follow { ip, port, tls_port });
    }

    /// Takes the address of this node from a connection that another node made.
    pub(super) fn learn_own_address(&mut self, link: LinkId) {
        let Some(ip) = self.links.get(&link).map(|link| link.local_ip.clone()) else { return };
        if !ip.is_empty() && ip != self.myself().address.ip {
            self.log(Level::Notice, format!("IP address for this node updated to {ip}"));
            self.me().address.ip = ip;
            self.save_later(false);
        }
    }

    /// Puts a node and its replicas into a shard.
    pub(super) fn set_shard(&mut self, index: NodeIndex, shard_id: NodeId) {
        let members = [&[index], self.table.node(index).replicas.as_slice()].concat();
        for member in members {
            let node = self.table.node_mut(member);
            if node.shard_id != shard_id {
                node.shard_id = shard_id;
                self.save_later(member == self.my_index());
            }
        }
    }

    /// Turns a replica into a primary.
    pub(super) fn set_as_primary(&mut self, index: NodeIndex) {
        if self.table.node(index).is_primary() {
            return;
        }
        if let Some(primary) = self.table.node(index).primary {
            self.table.remove_replica(primary, index);
            if index != self.my_index() {
                self.table.node_mut(index).flags.set(Flags::MIGRATE_TO);
            }
        }
        let node = self.table.node_mut(index);
        node.flags.clear(Flags::SLAVE);
        node.flags.set(Flags::MASTER);
        self.todo.update_state = true;
        self.todo.ownership = true;
        self.save_later(false);
    }

    /// Makes this node, which has no slots, a replica of another one.
    pub(super) fn set_primary(&mut self, index: NodeIndex) {
        let me = self.my_index();
        debug_assert!(index != me && self.myself().slots.is_empty());
        if self.myself().is_primary() {
            self.me().flags.clear(Flags::MASTER | Flags::MIGRATE_TO);
            self.me().flags.set(Flags::SLAVE);
            self.migrating.clear();
            self.importing.clear();
        } else if let Some(old) = self.myself().primary {
            self.table.remove_replica(old, me);
        }
        self.table.add_replica(index, me);
        let shard_id = self.table.node(index).shard_id;
        self.set_shard(me, shard_id);
        self.follow(index);
        self.todo.ownership = true;
        self.reset_manual_failover();
        self.reset_election();
    }

    pub(super) fn log_becoming_replica(&mut self, index: NodeIndex) {
        let name = self.named(index);
        self.log(
            Level::Notice,
            format!("Configuration change detected. Reconfiguring myself as a replica of {name}"),
        );
    }

    /// A node in log lines: its ID and its human name.
    pub(super) fn named(&self, index: NodeIndex) -> String {
        let node = self.table.node(index);
        format!("{} ({})", node.id, node.nodename)
    }

    /// Gives a slot to a node.
    pub(super) fn assign(&mut self, slot: u16, index: NodeIndex) {
        self.unassign(slot);
        self.table.assign(slot, index);
        self.todo.ownership = true;
    }

    /// Leaves a slot without an owner.
    pub(super) fn unassign(&mut self, slot: u16) {
        self.unclaimed.remove(slot);
        if self.table.unassign(slot).is_some() {
            self.reassigned.insert(slot);
            self.todo.ownership = true;
        }
    }

    /// Whether a claim to a slot wins in any epoch.
    pub(super) fn is_unclaimed(&self, slot: u16) -> bool {
        self.table.owner(slot).is_none() || self.unclaimed.contains(slot)
    }

    /// Gives all slots of a node to another one. Returns their number.
    pub(super) fn hand_over_slots(&mut self, from: NodeIndex, to: NodeIndex) -> usize {
        let slots = self.table.node(from).slots.clone();
        slots.iter().for_each(|slot| self.assign(slot, to));
        slots.len()
    }
}
