//! The messages of the cluster bus, as Redis 7.2 sends them: protocol version 1.
//!
//! ```text
//!       0 "RCmb"        4 length u32     8 version u16  10 port u16      12 type u16      14 count u16
//!      16 currentEpoch u64              24 configEpoch u64              32 replication offset u64
//!      40 sender's ID, 40 bytes         80 slots of the sender or its primary, 2048 bytes
//!    2128 ID of the sender's primary, 40 bytes of 0 if it is one      2168 announced IP, 46 bytes, 0-terminated
//!    2214 extensions u16              2216 unused, 30 bytes           2246 the other port (TLS or not) u16
//!    2248 bus port u16                2250 flags u16                  2252 state u8      2253 message flags, 3 bytes
//!    2256 body:
//!         PING PONG MEET   count gossip entries of 104 bytes, then extensions (length u32, type u16, unused u16, data)
//!         FAIL             ID of the failed node
//!         PUBLISH…         length of the channel u32, length of the message u32, channel, message
//!         UPDATE           configEpoch u64, ID, slots
//! ```
//!
//! Integers are big-endian. A packet is decoded in place: [`decode()`] checks all lengths against the packet once, and
//! the iterators over entries and extensions then return slices of it. Nothing is allocated, whatever a length claims.
//! [`encode()`] is the inverse.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;

pub use decode::{decode, packet_len};
pub use encode::{Gossip, encode};

use super::node::{Flags, NodeId};
use super::slots::BITMAP;

/// The length of the header in bytes, and the least length of a packet.
pub const HEADER: usize = 2256;

/// The length of a gossip entry in bytes.
pub const ENTRY: usize = 104;

/// The length of an IP address in a message, with its zero byte.
const IP: usize = 46;

/// The message flags in the first byte of three.
pub mod mflag {
    /// The sender is a primary whose writes are paused for a manual failover.
    pub const PAUSED: u8 = 1;
    /// Vote although the primary is up.
    pub const FORCE_ACK: u8 = 2;
    /// Extensions follow the gossip section, or the sender understands them.
    pub const EXT_DATA: u8 = 4;
}

/// A packet that is not a message of the bus, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPacket(pub String);

impl fmt::Display for BadPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// Requests a `PONG`.
    Ping = 0,
    /// The reply, or an announcement.
    Pong = 1,
    /// A `PING` to a node that does not know the sender yet.
    Meet = 2,
    /// A node failed.
    Fail = 3,
    /// `PUBLISH`.
    Publish = 4,
    /// A replica requests votes.
    AuthRequest = 5,
    /// A vote.
    AuthAck = 6,
    /// The current slots of a node, whose claim by the receiver is outdated.
    Update = 7,
    /// A replica requests a manual failover.
    MfStart = 8,
    /// A message of modules.
    Module = 9,
    /// `SPUBLISH`.
    PublishShard = 10,
}

impl Kind {
    /// All types in the order of their numbers.
    pub const ALL: [Kind; 11] = [
        Kind::Ping,
        Kind::Pong,
        Kind::Meet,
        Kind::Fail,
        Kind::Publish,
        Kind::AuthRequest,
        Kind::AuthAck,
        Kind::Update,
        Kind::MfStart,
        Kind::Module,
        Kind::PublishShard,
    ];

    /// The name in `CLUSTER INFO`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::Meet => "meet",
            Kind::Fail => "fail",
            Kind::Publish => "publish",
            Kind::AuthRequest => "auth-req",
            Kind::AuthAck => "auth-ack",
            Kind::Update => "update",
            Kind::MfStart => "mfstart",
            Kind::Module => "module",
            Kind::PublishShard => "publishshard",
        }
    }
}

/// The header of a message: the sender's view of itself.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The sender's current epoch.
    pub current_epoch: u64,
    /// The configuration epoch of the sender or its primary.
    pub config_epoch: u64,
    /// The sender's replication offset.
    pub offset: i64,
    /// The sender.
    pub sender: NodeId,
    /// The slots of the sender or its primary.
    pub slots: &'a [u8; BITMAP],
    /// The sender's primary, if it is a replica.
    pub primary: Option<NodeId>,
    /// The announced IP address; empty if the connection's counts.
    pub ip: &'a str,
    /// The port for clients of the kind (TLS or not) that the bus uses.
    pub port: u16,
    /// The other port for clients.
    pub other_port: u16,
    /// The bus port.
    pub bus_port: u16,
    /// The flags.
    pub flags: Flags,
    /// Whether the cluster is down for the sender.
    pub is_down: bool,
    /// The message flags, see [`mflag`].
    pub mflags: u8,
}

/// What a message says after its header.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// `PING`, `PONG` or `MEET`.
    Gossip(Kind, Entries<'a>, Extensions<'a>),
    /// `FAIL`: this node failed.
    Fail(NodeId),
    /// `PUBLISH` or `PUBLISHSHARD`.
    Publish {
        /// The channel.
        channel: &'a [u8],
        /// The message.
        message: &'a [u8],
        /// Whether it is `PUBLISHSHARD`.
        sharded: bool,
    },
    /// `FAILOVER_AUTH_REQUEST`.
    AuthRequest,
    /// `FAILOVER_AUTH_ACK`.
    AuthAck,
    /// `UPDATE`.
    Update {
        /// The epoch of the claim.
        config_epoch: u64,
        /// The node that serves the slots.
        node: NodeId,
        /// The slots.
        slots: &'a [u8; BITMAP],
    },
    /// `MFSTART`.
    MfStart,
    /// `MODULE`, whose body is skipped.
    Module,
    /// A type of a later version.
    Unknown(u16),
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header<'a>,
    /// The body.
    pub body: Body<'a>,
}

/// A gossip entry: what the sender knows about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The node.
    pub id: NodeId,
    /// The time of the unanswered `PING`, in seconds.
    pub ping_sent: u32,
    /// The time of the last `PONG`, in seconds.
    pub pong_received: u32,
    /// The IP address.
    pub ip: &'a str,
    /// The port for clients of the kind (TLS or not) that the bus uses.
    pub port: u16,
    /// The bus port.
    pub bus_port: u16,
    /// The flags.
    pub flags: Flags,
    /// The other port for clients.
    pub other_port: u16,
}

/// The gossip entries of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a>(pub(super) &'a [u8]);

/// The extensions of a packet; a copy starts at the same place.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a>(pub(super) &'a [u8]);

/// An extension of `PING`, `PONG` and `MEET`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension<'a> {
    /// The sender's host name.
    Hostname(&'a str),
    /// The sender's human node name.
    Nodename(&'a str),
    /// A node that was forgotten, and for how many seconds it must not be added again.
    Forgotten(NodeId, u64),
    /// The sender's shard.
    Shard(NodeId),
    /// An extension that this version does not know, by its type.
    Unknown(u16),
}
