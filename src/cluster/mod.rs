//! A node of Redis Cluster, as a machine without sockets.
//!
//! ```text
//!   tick(now)  ─────────────▶ ┌─────────┐ ─▶ Connect, Send, Close            the bus
//!   link_accepted/connected/  │         │ ─▶ SaveConfig                      nodes.conf
//!     closed, received ─────▶ │ Cluster │ ─▶ Follow, Promote, PauseWrites    replication
//!   meet, forget, set_slot,…  │         │ ─▶ DropKeys, OwnershipChanged      the keyspace and clients
//!   settle(now) ────────────▶ └─────────┘ ─▶ Publish, StateChanged, Log
//! ```
//!
//! The machine takes messages, commands and the time, and queues [`Action`]s, which the server takes with
//! [`Cluster::next_action`] and executes in their order. It has no descriptor, no clock and no global randomness:
//! a test drives a thousand nodes in virtual time and replays a seed.
//!
//! What the server does:
//!
//! * It calls [`Cluster::tick`] every 100 ms, and [`Cluster::settle`] before it waits for events; `settle` does the work
//!   that several inputs share (saving the configuration, computing the state, continuing an election).
//! * For each [`Action::Connect`] it connects, and calls [`Cluster::link_connected`] or [`Cluster::link_closed`]. For a
//!   connection on the bus port it calls [`Cluster::link_accepted`]. It splits the received bytes with
//!   [`packet_len`], and passes each whole packet to [`Cluster::received`].
//! * It executes [`Action::SaveConfig`] before the actions that follow. A vote therefore leaves after the epoch of the
//!   vote is on disk, and a node that restarts does not vote twice in an epoch.
//! * After an action [`Action::Close`] the link no longer exists; inputs for it are ignored.
//! * Before it exits it saves [`Cluster::config_text`].
//!
//! Each call gets [`Facts`] about the server where they matter. Times are in milliseconds of a clock that starts near
//! Unix time; a clock that is set back does not make the machine wait, since it only counts how far the clock advances.
//!
//! The messages are those of Redis 7.2 ([`message`]), the log texts and errors are Redis's, because tools search for
//! them. Costs: a lookup by ID is O(log nodes), by slot O(1); a tick is O(nodes).

mod claims;
mod commands;
pub mod config_file;
mod core;
mod failover;
mod gossip;
mod links;
mod manual;
mod membership;
pub mod message;
mod migration;
pub mod node;
#[cfg(test)]
mod peers;
mod queries;
mod receive;
pub mod redirect;
mod report;
#[cfg(test)]
mod simulation;
pub mod slots;
mod state;
mod table;
mod tick;
mod voting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use commands::{FailoverMode, SetSlot};
pub use config_file::ConfigError;
pub use links::{LinkView, MAX_STRANGERS};
pub use message::{BadPacket, packet_len};
pub use node::{Address, Flags, Node, NodeId, NodeIndex};
pub use report::Form;
pub use slots::{SLOTS, SlotSet};
pub use state::Down;

use crate::types::random::Random;
use failover::Election;
use manual::ManualFailover;
use table::Table;

/// The directives that the machine follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `cluster-node-timeout`, in milliseconds.
    pub node_timeout_ms: u64,
    /// `cluster-ping-interval`, in milliseconds.
    pub ping_interval_ms: u64,
    /// `cluster-replica-validity-factor`.
    pub replica_validity_factor: u32,
    /// `repl-ping-replica-period`, in milliseconds; a part of the validity check.
    pub repl_ping_period_ms: u64,
    /// `cluster-replica-no-failover`.
    pub replica_no_failover: bool,
    /// `cluster-migration-barrier`.
    pub migration_barrier: u32,
    /// `cluster-allow-replica-migration`.
    pub allow_replica_migration: bool,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-link-sendbuf-limit`, in bytes; 0 for none.
    pub link_limit: u64,
    /// `cluster-announce-ip`; empty to detect the address.
    pub announce_ip: String,
    /// `cluster-announce-hostname`.
    pub announce_hostname: String,
    /// `cluster-announce-human-nodename`.
    pub announce_nodename: String,
    /// The port to announce: `cluster-announce-port`, or `port`.
    pub port: u16,
    /// The TLS port to announce: `cluster-announce-tls-port`, or `tls-port`.
    pub tls_port: u16,
    /// The bus port to announce: `cluster-announce-bus-port`, or `cluster-port`, or the client port plus 10000.
    pub bus_port: u16,
    /// `tls-cluster`: the bus uses TLS, so that the TLS port is a node's primary port in messages.
    pub tls_cluster: bool,
}

impl Default for Settings {
    /// Redis's defaults.
    fn default() -> Settings {
        Settings {
            node_timeout_ms: 15_000,
            ping_interval_ms: 1000,
            replica_validity_factor: 10,
            repl_ping_period_ms: 10_000,
            replica_no_failover: false,
            migration_barrier: 1,
            allow_replica_migration: true,
            require_full_coverage: true,
            link_limit: 0,
            announce_ip: String::new(),
            announce_hostname: String::new(),
            announce_nodename: String::new(),
            port: 6379,
            tls_port: 0,
            bus_port: 16379,
            tls_cluster: false,
        }
    }
}

/// What the server knows and the machine does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The replication offset: of a replica the processed one, of a primary that of its stream.
    pub offset: i64,
    /// Whether the server follows a primary, connected or not (`master_host` is set).
    pub is_following: bool,
    /// Since when a replica has not received from its primary, in milliseconds; 0 if the link is up and active.
    pub data_age_ms: u64,
    /// Whether the keyspace has keys.
    pub has_keys: bool,
    /// Whether a slow script is running: what it writes is not part of `offset` yet.
    pub is_busy: bool,
}

/// The severity of a log line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// For developers.
    Debug,
    /// Details.
    Verbose,
    /// Normal operation.
    Notice,
    /// An operator should check it.
    Warning,
}

/// A connection of the bus, named by the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// What the server has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Connect to the bus port of a node; then call [`Cluster::link_connected`] or [`Cluster::link_closed`].
    Connect {
        /// The name of the new connection.
        link: LinkId,
        /// The address.
        ip: String,
        /// The port.
        bus_port: u16,
    },
    /// Send a packet. A packet to several nodes is shared.
    Send {
        /// The connection.
        link: LinkId,
        /// The packet.
        bytes: Arc<[u8]>,
    },
    /// Close the connection, without sending what is pending.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Write [`Cluster::config_text`] to `nodes.conf` before the following actions.
    SaveConfig {
        /// Whether the file must be on disk before the following actions.
        sync: bool,
    },
    /// Become a replica of this server, or follow it at its new address.
    Follow {
        /// The address.
        ip: String,
        /// The port for clients, or with `tls-replication` the other one.
        port: u16,
        /// The port for TLS clients.
        tls_port: u16,
    },
    /// Stop following a primary.
    Promote,
    /// Delete all keys: the node was a replica and was reset.
    Empty,
    /// Delete the keys of these slots, which another primary took over.
    DropKeys(SlotSet),
    /// Deliver a message to the subscribers of this server.
    Publish {
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        message: Vec<u8>,
        /// Whether the subscribers are those of `SSUBSCRIBE`.
        sharded: bool,
    },
    /// Pause writes until this time: a replica takes over.
    PauseWrites {
        /// The end of the pause.
        until_ms: u64,
    },
    /// End the pause.
    ResumeWrites,
    /// `cluster_state` changed.
    StateChanged {
        /// Whether it is `ok`.
        ok: bool,
    },
    /// The owner of a slot or the role of this node changed: blocked clients and sharded subscriptions must be checked
    /// again.
    OwnershipChanged,
    /// Write a log line.
    Log(Level, String),
}

/// Work that [`Cluster::settle`] does.
#[derive(Clone, Copy, Default, Debug)]
struct Todo {
    save: bool,
    sync: bool,
    update_state: bool,
    handle_failover: bool,
    handle_manual_failover: bool,
    ownership: bool,
}

/// The types of messages that are counted: those of [`message::Kind`].
const KINDS: usize = 11;

/// The state of a node of the cluster.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    random: Random,
    /// The time of this call, see [`Cluster::advance`].
    now_ms: u64,
    /// The last time of the caller's clock.
    clock_ms: u64,

    /// The facts of the last call that had them.
    facts: Facts,

    table: Table,
    /// Slots that had an owner and were given to any node, or to none, since [`Cluster::take_reassigned`].
    reassigned: SlotSet,
    links: BTreeMap<LinkId, links::Link>,
    next_link: u64,
    /// Forgotten nodes, and until when they are not added again.
    blacklist: BTreeMap<NodeId, u64>,
    /// Slots that are migrated to another node.
    migrating: BTreeMap<u16, NodeIndex>,
    /// Slots that are imported from another node.
    importing: BTreeMap<u16, NodeIndex>,
    /// Slots that their owner no longer claims.
    unclaimed: SlotSet,

    current_epoch: u64,
    last_vote_epoch: u64,
    election: Election,
    manual: ManualFailover,
    state: state::State,

    ticks: u64,
    gossips: u64,
    /// The number of nodes flagged `fail?`, as of the last tick.
    pfail_nodes: usize,
    sent: [u64; KINDS],
    received: [u64; KINDS],
    links_over_limit: u64,

    todo: Todo,
    actions: VecDeque<Action>,
}
