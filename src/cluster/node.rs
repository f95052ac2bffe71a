//! A node of the cluster as this node knows it: its ID, its address, its flags, its primary, and its slots.

use std::collections::BTreeMap;
use std::fmt;

use super::LinkId;
use super::slots::SlotSet;
use crate::types::random::Random;

/// The length of a node ID in bytes.
pub const ID: usize = 40;

/// The ID of a node or of a shard: 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; ID]);

impl NodeId {
    /// Returns the ID in `text`: 40 lowercase letters or digits, as Redis checks it.
    pub fn parse(text: &[u8]) -> Option<NodeId> {
        let id: [u8; ID] = text.try_into().ok()?;
        id.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()).then_some(NodeId(id))
    }

    /// Returns a new ID.
    pub fn random(random: &mut Random) -> NodeId {
        let mut id = [0; ID];
        for part in id.chunks_mut(8) {
            let bits = random.next() >> 32;
            for (index, byte) in part.iter_mut().enumerate() {
                *byte = b"0123456789abcdef"[(bits >> (index * 4)) as usize & 15];
            }
        }
        NodeId(id)
    }

    /// The ID as bytes.
    pub fn as_bytes(&self) -> &[u8; ID] {
        &self.0
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The flags of a node, with the bits that messages carry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Flags(pub u16);

impl Flags {
    /// A primary.
    pub const MASTER: Flags = Flags(1);
    /// A replica.
    pub const SLAVE: Flags = Flags(1 << 1);
    /// This node cannot reach it (`PFAIL`, `fail?`).
    pub const PFAIL: Flags = Flags(1 << 2);
    /// The majority of the primaries cannot reach it.
    pub const FAIL: Flags = Flags(1 << 3);
    /// This node.
    pub const MYSELF: Flags = Flags(1 << 4);
    /// Its ID is not known yet.
    pub const HANDSHAKE: Flags = Flags(1 << 5);
    /// Its address is not known.
    pub const NOADDR: Flags = Flags(1 << 6);
    /// The first message to it is a `MEET`.
    pub const MEET: Flags = Flags(1 << 7);
    /// Replicas may migrate to it.
    pub const MIGRATE_TO: Flags = Flags(1 << 8);
    /// It does not start elections.
    pub const NOFAILOVER: Flags = Flags(1 << 9);

    /// The flags that another node may claim about a third one.
    pub(super) const GOSSIPED: Flags =
        Flags(Self::MASTER.0 | Self::SLAVE.0 | Self::PFAIL.0 | Self::FAIL.0 | Self::NOFAILOVER.0);

    /// The names in `CLUSTER NODES` and `nodes.conf`.
    pub(super) const NAMES: [(Flags, &'static str); 8] = [
        (Flags::MYSELF, "myself"),
        (Flags::MASTER, "master"),
        (Flags::SLAVE, "slave"),
        (Flags::PFAIL, "fail?"),
        (Flags::FAIL, "fail"),
        (Flags::HANDSHAKE, "handshake"),
        (Flags::NOADDR, "noaddr"),
        (Flags::NOFAILOVER, "nofailover"),
    ];

    /// Whether any of these flags is set.
    #[inline]
    pub fn has(self, any: Flags) -> bool {
        self.0 & any.0 != 0
    }

    /// Sets these flags.
    pub fn set(&mut self, flags: Flags) {
        self.0 |= flags.0;
    }

    /// Clears these flags.
    pub fn clear(&mut self, flags: Flags) {
        self.0 &= !flags.0;
    }

    /// Sets or clears these flags.
    pub fn put(&mut self, flags: Flags, on: bool) {
        if on { self.set(flags) } else { self.clear(flags) }
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Flags {
    type Output = Flags;
    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

/// The flags by name, separated by commas; `noflags` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Flags::NAMES {
            if self.has(flag) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        if separator.is_empty() { f.write_str("noflags") } else { Ok(()) }
    }
}

/// The place of a node in the node table. It is valid until the node is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeIndex(pub(super) u32);

/// Where a node listens.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Address {
    /// The IP address; empty if unknown.
    pub ip: String,
    /// The port for clients without TLS; 0 if there is none.
    pub port: u16,
    /// The port for clients with TLS; 0 if there is none.
    pub tls_port: u16,
    /// The port of the bus.
    pub bus_port: u16,
}

impl Address {
    /// The port for clients: `tls_port` if `with_tls`, otherwise `port`.
    pub fn client_port(&self, with_tls: bool) -> u16 {
        if with_tls { self.tls_port } else { self.port }
    }
}

/// A node. All times are in milliseconds of the caller's clock; 0 means never.
#[derive(Clone, Debug)]
pub struct Node {
    /// The ID; random while the node is in handshake.
    pub id: NodeId,
    /// The ID of its shard: a primary and its replicas.
    pub shard_id: NodeId,
    /// The address.
    pub address: Address,
    /// The announced host name; empty if none.
    pub hostname: String,
    /// The announced human node name; empty if none.
    pub nodename: String,
    /// The flags.
    pub flags: Flags,
    /// The primary of a replica, if known.
    pub primary: Option<NodeIndex>,
    /// The replicas, in the order in which they were learned.
    pub replicas: Vec<NodeIndex>,
    /// The slots that it serves.
    pub slots: SlotSet,
    /// The epoch of its claim to the slots.
    pub config_epoch: u64,
    /// The time of the oldest `PING` without a `PONG`.
    pub ping_sent: u64,
    /// The time of the last `PONG`.
    pub pong_received: u64,
    /// The time of the last message.
    pub data_received: u64,
    /// When it was flagged as failing.
    pub fail_time: u64,
    /// When this node last voted for one of its replicas.
    pub voted_time: u64,
    /// Since when it has no working replica.
    pub orphaned_time: u64,
    /// The last replication offset that it sent.
    pub repl_offset: i64,
    /// When it was added.
    pub created: u64,
    /// The primaries that report it as failing, and when each last did.
    pub(super) reports: BTreeMap<NodeIndex, u64>,
    /// The link that this node established.
    pub(super) link: Option<LinkId>,
    /// The link that the other node established.
    pub(super) inbound: Option<LinkId>,
    /// The last gossip section that mentions it.
    pub(super) gossiped: u64,
    /// The epoch in which it last voted for this node.
    pub(super) vote: u64,
}

impl Node {
    /// Returns a node without an address and slots.
    pub fn new(id: NodeId, shard_id: NodeId, flags: Flags, now_ms: u64) -> Node {
        Node {
            id,
            shard_id,
            address: Address::default(),
            hostname: String::new(),
            nodename: String::new(),
            flags,
            primary: None,
            replicas: Vec::new(),
            slots: SlotSet::default(),
            config_epoch: 0,
            ping_sent: 0,
            pong_received: 0,
            data_received: 0,
            fail_time: 0,
            voted_time: 0,
            orphaned_time: 0,
            repl_offset: 0,
            created: now_ms,
            reports: BTreeMap::new(),
            link: None,
            inbound: None,
            gossiped: 0,
            vote: 0,
        }
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.flags.has(Flags::MASTER)
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.flags.has(Flags::SLAVE)
    }

    /// Whether the majority agrees that it failed.
    pub fn is_failed(&self) -> bool {
        self.flags.has(Flags::FAIL)
    }

    /// Whether this node cannot reach it, without agreement yet.
    pub fn is_timed_out(&self) -> bool {
        self.flags.has(Flags::PFAIL)
    }

    /// Whether its ID is not known yet.
    pub fn is_in_handshake(&self) -> bool {
        self.flags.has(Flags::HANDSHAKE)
    }

    /// Whether this node has a link to it, or is it.
    pub fn is_connected(&self) -> bool {
        self.link.is_some() || self.flags.has(Flags::MYSELF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_forty_lowercase_letters_or_digits() {
        let id = NodeId::random(&mut Random::new(7));
        assert_eq!(NodeId::parse(id.as_str().as_bytes()), Some(id));
        assert_ne!(id, NodeId::random(&mut Random::new(8)));
        assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        for bad in [&b""[..], &[b'a'; 39], &[b'a'; 41], &[b'A'; 40], &[0xff; 40], &[0; 40]] {
            assert_eq!(NodeId::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn flags_are_named_in_the_order_of_redis() {
        let mut flags = Flags::FAIL | Flags::MASTER | Flags::MYSELF | Flags::MIGRATE_TO;
        assert_eq!(flags.to_string(), "myself,master,fail");
        flags.clear(Flags::FAIL | Flags::MASTER | Flags::MYSELF);
        assert_eq!(flags.to_string(), "noflags");
        flags.put(Flags::NOADDR, true);
        assert_eq!(flags.to_string(), "noaddr");
    }
}
