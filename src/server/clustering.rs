//! This server as a node of a cluster: connects [`crate::cluster`], which decides, to sockets, the clock, `nodes.conf`,
//! replication, and clients.
//!
//! ```text
//!   bus sockets ─▶ on_bus_event ─┐                            ┌▶ bus sockets, nodes.conf
//!   cron ─▶ tick_cluster ────────┼─▶ Cluster ─▶ Action ─▶ act ┼▶ follow, stop_following, stop_writes
//!   CLUSTER ─▶ admin/cluster.rs ─┘                            └▶ keys, messages, blocked clients
//! ```
//!
//! Actions are executed in their order, right after the call that caused them: what has to be on disk before a packet
//! leaves is on disk.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use super::Server;
use super::audience::pause::Purpose;
use super::audience::post::Payload;
use super::cluster::Bus;
use super::cluster::config_file::ConfigFile;
use super::cluster::link::Received;
use super::encryption::HANDSHAKE_MS;
use super::redirect::Served;
use super::replication::upstream::Progress;
use super::startup::{RESERVED_FILES, StartError};
use crate::cluster::message::Kind;
use crate::cluster::{Action, Cluster, Facts, Level, LinkId, MAX_STRANGERS, Settings, SlotSet, packet_len};
use crate::command::Error;
use crate::config::Config;
use crate::db::{Keyspace, Removal};
use crate::sys::net::Listener;
use crate::sys::poller::{Event, Source};
use crate::sys::{file, process};
use crate::text::words::shown;

/// The distance of the bus port from the port for clients.
pub(super) const BUS_PORT_OFFSET: u16 = 10_000;

/// The period of the machine's tick, in milliseconds.
const TICK_MS: u64 = 100;

/// Connections accepted from one listener in an iteration.
const ACCEPTS: usize = 64;

/// Keys of a lost slot that are deleted as one unit.
const DROPPED: usize = 128;

/// How long a failing `nodes.conf` is not logged again, in milliseconds.
const COMPLAIN_MS: u64 = 10_000;

/// The state of a node.
pub(super) struct Clustered {
    /// The protocol.
    pub machine: Cluster,
    /// Its connections.
    pub bus: Bus,
    /// The slots whose requests this node executes without further questions.
    pub served: Served,
    config_file: ConfigFile,
    ticked_ms: u64,
    /// The type of packets that are ignored, and whether that closes their link (`DEBUG`).
    dropped: Option<u16>,
    closes_on_drop: bool,
    /// When a failing `nodes.conf` was last logged. While it fails, this node neither votes nor requests votes.
    complained_ms: Option<u64>,
    /// The number of nodes for which descriptors were reserved.
    reserved_nodes: Option<u64>,
}

impl Clustered {
    fn other_nodes(&self) -> u64 {
        self.machine.nodes().count() as u64 - 1
    }
}

/// The client port from which the bus port is derived.
fn main_port(config: &Config) -> u16 {
    if config.tls_cluster { config.tls_port } else { config.port }
}

/// The directives that the machine follows.
fn settings(config: &Config) -> Settings {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let or = |announced: u16, own: u16| if announced > 0 { announced } else { own };
    let bus_port = or(config.cluster_port, main_port(config).saturating_add(BUS_PORT_OFFSET));
    Settings {
        node_timeout_ms: config.cluster_node_timeout,
        ping_interval_ms: config.cluster_ping_interval,
        replica_validity_factor: config.cluster_replica_validity_factor,
        repl_ping_period_ms: u64::from(config.repl_ping_replica_period) * 1000,
        replica_no_failover: config.cluster_replica_no_failover,
        migration_barrier: config.cluster_migration_barrier,
        allow_replica_migration: config.cluster_allow_replica_migration,
        require_full_coverage: config.cluster_require_full_coverage,
        link_limit: config.cluster_link_sendbuf_limit,
        announce_ip: text(&config.cluster_announce_ip),
        announce_hostname: text(&config.cluster_announce_hostname),
        announce_nodename: text(&config.cluster_announce_human_nodename),
        port: or(config.cluster_announce_port, config.port),
        tls_port: or(config.cluster_announce_tls_port, config.tls_port),
        bus_port: or(config.cluster_announce_bus_port, bus_port),
        tls_cluster: config.tls_cluster,
    }
}

/// The number of keys in a slot, in all databases.
pub(super) fn keys_in_slot(keyspace: &Keyspace, slot: u16) -> usize {
    (0..keyspace.count()).map(|db| keyspace.db(db).keys_in_slot(slot)).sum()
}

/// The type of a packet, which its header has as a number.
fn kind_of(packet: &[u8]) -> Option<u16> {
    packet.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The port on which the bus listens.
///
/// # Errors
/// The port for clients is too high.
pub(super) fn bus_port(config: &Config) -> Result<u16, String> {
    if config.cluster_port > 0 {
        return Ok(config.cluster_port);
    }
    main_port(config).checked_add(BUS_PORT_OFFSET).ok_or_else(|| {
        "Redis port number too high for cluster mode. Redis Cluster uses the port number plus 10000 for the cluster bus; \
         set 'cluster-port' to use another one."
            .to_owned()
    })
}

impl Server {
    /// Becomes a node of the cluster that `cluster-config-file` describes, or a node of its own.
    pub(super) fn open_cluster(&mut self, listeners: Vec<Listener>) -> Result<(), StartError> {
        if !self.core.config.cluster_enabled {
            return Ok(());
        }
        let path = self.core.config.cluster_config_file.as_path().to_path_buf();
        let (config_file, content) = ConfigFile::open(&path).map_err(StartError::new)?;
        let mut seed = [0; 8];
        process::random_bytes(&mut seed);
        let (settings, seed) = (settings(&self.core.config), u64::from_le_bytes(seed));
        let now_ms = self.cluster_ms();
        let is_new = content.is_empty();
        let machine = if is_new {
            Cluster::new(settings, seed, now_ms)
        } else {
            Cluster::load(&content, settings, seed, now_ms).map_err(|error| {
                StartError::new(format!(
                    "Unrecoverable error: corrupted cluster config file {}: {error}",
                    path.display()
                ))
            })?
        };
        let id = machine.myself().id;
        if is_new {
            self.process.log.notice(format_args!("No cluster configuration found, I'm {id}"));
        } else {
            self.process.log.notice(format_args!("Node configuration loaded, I'm {id}"));
        }
        let mut bus = Bus::default();
        bus.open(&mut self.net.poller, listeners).map_err(|error| {
            StartError::new(format!("Can't watch the cluster bus: {}", file::reason(&error)))
        })?;
        let mut node = Clustered {
            machine,
            bus,
            served: Served::default(),
            config_file,
            ticked_ms: 0,
            dropped: None,
            closes_on_drop: false,
            complained_ms: None,
            reserved_nodes: None,
        };
        let text = node.machine.config_text();
        node.config_file.save(&text, true).map_err(|error| {
            StartError::new(format!("Can't write {}: {}", path.display(), file::reason(&error)))
        })?;
        self.cluster = Some(Box::new(node));
        self.reserve_bus_files();
        self.refresh_served();
        self.refresh_gate();
        Ok(())
    }

    /// The name of the server's mode in `INFO` and `HELLO`.
    pub(super) fn mode_name(&self) -> &'static str {
        if self.cluster.is_some() { "cluster" } else { "standalone" }
    }

    /// The machine's clock.
    pub(super) fn cluster_ms(&self) -> u64 {
        self.core.clock.unix_ms() as u64
    }

    /// What the machine has to know of this server.
    pub(super) fn cluster_facts(&self) -> Facts {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let data_age_ms = self.replication.upstream.as_ref().map_or(0, |upstream| match &upstream.progress {
            Progress::Online(_) => now_ms.saturating_sub(upstream.heard_ms),
            _ => upstream.down_since.map_or(i64::MAX, |since| now_ms.saturating_sub(since * 1000)),
        });
        Facts {
            offset: self.replication_offset(),
            is_following: self.replication.upstream.is_some(),
            data_age_ms: u64::try_from(data_age_ms).unwrap_or(0),
            has_keys: (0..self.core.keyspace.count()).any(|db| !self.core.keyspace.db(db).is_empty()),
            is_busy: self.is_busy(),
        }
    }

    /// Passes changed directives on.
    pub(super) fn cluster_config_changed(&mut self) {
        let settings = settings(&self.core.config);
        if let Some(node) = &mut self.cluster {
            node.machine.set_settings(settings);
            self.act();
        }
    }

    /// Called by cron.
    pub(super) fn tick_cluster(&mut self) {
        let now_ms = self.cluster_ms();
        let is_due = |node: &Clustered| now_ms.abs_diff(node.ticked_ms) >= TICK_MS;
        if !self.cluster.as_deref().is_some_and(is_due) || self.is_off_the_bus() {
            return;
        }
        let facts = self.cluster_facts();
        let Some(node) = &mut self.cluster else { return };
        node.ticked_ms = now_ms;
        node.machine.tick(now_ms, &facts);
        let is_unsaved = node.complained_ms.is_some();
        self.act();
        if is_unsaved {
            // Retries: otherwise a change would be lost if the node is killed before the next one.
            let _ = self.save_cluster_config(true);
        }
        self.reserve_bus_files();
        self.close_stalled_links(now_ms);
    }

    /// Closes bus connections whose TLS handshake has stalled.
    fn close_stalled_links(&mut self, now_ms: u64) {
        if !self.core.config.tls_cluster {
            return;
        }
        let Some(node) = &self.cluster else { return };
        for number in node.bus.stalled(now_ms, HANDSHAKE_MS as u64) {
            self.log_failed_session(number, "the TLS handshake has timed out");
            self.close_link(number);
        }
    }

    /// The number of descriptors of the bus: a connection to and from each other node, and those that no known node
    /// has used yet.
    pub(super) fn bus_files(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |node| 2 * node.other_nodes() + MAX_STRANGERS as u64)
    }

    /// Raises the limit of open files as nodes join, so that the bus takes no descriptors from clients. If the system
    /// refuses, the bus and the clients compete for them, as they always do in Redis.
    fn reserve_bus_files(&mut self) {
        let files = self.bus_files();
        let Some(node) = &mut self.cluster else { return };
        let others = node.other_nodes();
        if node.reserved_nodes.is_some_and(|reserved| reserved >= others) {
            return;
        }
        node.reserved_nodes = Some(others);
        let maxclients = self.core.config.maxclients;
        let wanted = u64::from(maxclients) + RESERVED_FILES + files;
        if let Ok(reached) = process::raise_open_files(wanted)
            && reached < wanted
            && others > 0
        {
            self.process.log.warning(format_args!(
                "The bus to {others} nodes and maxclients {maxclients} need {wanted} open files, but the limit is {reached}. \
                 Raise it (ulimit -n, LimitNOFILE) or lower maxclients."
            ));
        }
    }

    /// Called at the end of each iteration: does the work that several messages share.
    #[inline]
    pub(super) fn settle_cluster(&mut self) {
        if self.cluster.is_some() && !self.is_off_the_bus() {
            self.settle_node();
        }
    }

    /// Whether this node stays away from the others, as in Redis: while it loads its data at the start, it cannot serve,
    /// and the others would take it for a primary that can.
    fn is_off_the_bus(&self) -> bool {
        self.loading.is_active() && !self.loading.is_async() && self.replication.upstream.is_none()
    }

    fn settle_node(&mut self) {
        let (now_ms, facts) = (self.cluster_ms(), self.cluster_facts());
        let Some(node) = &mut self.cluster else { return };
        node.machine.settle(now_ms, &facts);
        self.act();
    }

    /// Accepts connections of other nodes.
    pub(super) fn accept_bus(&mut self, index: usize) {
        let is_off = self.is_off_the_bus();
        for _ in 0..ACCEPTS {
            let now_ms = self.cluster_ms();
            let Some(node) = &mut self.cluster else { return };
            match node.bus.accept(index) {
                Ok(Some((socket, peer))) => {
                    if is_off {
                        // The others connect again.
                        continue;
                    }
                    let local = socket.local();
                    self.process.log.verbose(format_args!("Accepting cluster node connection from {peer}"));
                    let channel = self.bus_channel(socket, peer.clone());
                    let Some(node) = &mut self.cluster else { return };
                    let link = node.machine.link_accepted(&peer.ip_text(), &local.ip_text(), now_ms);
                    let added = channel.and_then(|channel| {
                        node.bus.add(&mut self.net.poller, link.0 as u32, channel, true, now_ms)
                    });
                    if added.is_err() {
                        node.machine.link_closed(link, now_ms);
                    }
                    self.act();
                }
                Ok(None) => return,
                Err(error) => {
                    return self.cannot_accept(
                        Source::BusListener(index as u32),
                        "Error accepting cluster node",
                        &error,
                    );
                }
            }
        }
    }

    /// Handles an event of a connection of the bus.
    pub(super) fn on_bus_event(&mut self, number: u32, event: Event) {
        let now_ms = self.cluster_ms();
        let id = LinkId(u64::from(number));
        let Some(node) = &mut self.cluster else { return };
        let Some(link) = node.bus.get_mut(number) else { return };
        if !link.is_connected {
            if let Some(error) = link.channel.socket().failure() {
                let why = file::reason(&error);
                self.process.log.debug(format_args!("Unable to connect to a cluster node: {why}"));
                return self.close_link(number);
            }
            link.is_connected = true;
            let (peer, local) = (link.channel.socket().peer(), link.channel.socket().local());
            node.machine.link_connected(id, &peer.ip_text(), &local.ip_text(), now_ms);
            self.act();
        }
        if event.readable || event.closed {
            self.receive_from_link(number);
        }
        self.send_to_link(number);
    }

    fn receive_from_link(&mut self, number: u32) {
        let Some(link) = self.cluster.as_mut().and_then(|node| node.bus.get_mut(number)) else { return };
        let received = link.receive();
        let (is_encrypted, has_no_session) = (link.channel.is_encrypted(), link.channel.is_handshaking());
        let bytes = link.take_received();
        let handled = self.handle_packets(number, &bytes);
        // A packet may have closed the link.
        let Some(link) = self.cluster.as_mut().and_then(|node| node.bus.get_mut(number)) else { return };
        let ends = match handled {
            Ok(consumed) => {
                link.give_back(bytes, consumed);
                None
            }
            Err(why) => Some(why),
        };
        let ends = ends.or(match received {
            Ok((_, Received::Bytes)) => None,
            Ok((_, Received::End)) => Some("connection closed".to_owned()),
            Err(error) => {
                let why = file::reason(&error);
                if has_no_session || is_encrypted && error.kind() == ErrorKind::InvalidData {
                    self.log_failed_session(number, &why);
                    return self.close_link(number);
                }
                Some(why)
            }
        });
        if let Some(why) = ends {
            self.process.log.debug(format_args!("I/O error reading from node link: {why}"));
            self.close_link(number);
        }
    }

    /// Logs why a connection has no TLS session, at Redis's level, but only once per interval and peer. A peer that
    /// rejects the certificate of this node sends an alert, which with TLS 1.3 arrives after the handshake.
    fn log_failed_session(&mut self, number: u32, why: &str) {
        let now_ms = self.cluster_ms();
        let Some(node) = &mut self.cluster else { return };
        let (peer, text) = if let Some(other) = node.machine.node_connected_by(LinkId(u64::from(number))) {
            let peer = format!("{}:{}", other.address.ip, other.address.bus_port);
            let text = format!("Connection with Node {} at {peer} failed: {why}", other.id);
            (peer, text)
        } else {
            let Some(link) = node.bus.get(number) else { return };
            let peer = link.channel.peer();
            let text = format!("Error accepting cluster node connection: {why} (addr={peer})");
            (peer.ip_text(), text)
        };
        if node.bus.may_complain(&peer, now_ms) {
            self.process.log.verbose(format_args!("{text}"));
        }
    }

    /// Passes the whole packets in `bytes` to the machine. Returns their length.
    fn handle_packets(&mut self, number: u32, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let len = match packet_len(&bytes[at..]) {
                Ok(Some(len)) if bytes.len() - at >= len => len,
                Ok(_) => return Ok(at),
                Err(error) => {
                    self.process.log.warning(format_args!("{}", error.0));
                    return Err("not a packet".to_owned());
                }
            };
            let (now_ms, facts) = (self.cluster_ms(), self.cluster_facts());
            let Some(node) = &mut self.cluster else { return Ok(at) };
            if node.bus.get(number).is_none() {
                return Ok(at);
            }
            let packet = &bytes[at..at + len];
            if node.dropped.is_some_and(|kind| kind_of(packet) == Some(kind)) {
                at += len;
                if node.closes_on_drop {
                    return Err("a packet was dropped".to_owned());
                }
                continue;
            }
            node.machine.received(LinkId(u64::from(number)), packet, now_ms, &facts);
            at += len;
            self.act();
        }
    }

    fn send_to_link(&mut self, number: u32) {
        let Some(node) = &mut self.cluster else { return };
        let Some(link) = node.bus.get_mut(number) else { return };
        if !link.is_connected {
            return;
        }
        let sent = link.send();
        let watched = sent.and_then(|_| node.bus.watch(&mut self.net.poller, number));
        self.note_pending(number);
        if let Err(error) = watched {
            let why = file::reason(&error);
            self.process.log.debug(format_args!("I/O error writing to node link: {why}"));
            self.close_link(number);
        }
    }

    /// Passes the length of a link's send queue on: the machine closes a link whose queue is too long.
    fn note_pending(&mut self, number: u32) {
        let Some(node) = &mut self.cluster else { return };
        let Some(link) = node.bus.get(number) else { return };
        node.machine.link_pending(LinkId(u64::from(number)), link.unsent_bytes() as u64);
    }

    fn close_link(&mut self, number: u32) {
        let now_ms = self.cluster_ms();
        let Some(node) = &mut self.cluster else { return };
        node.bus.remove(&mut self.net.poller, number);
        node.machine.link_closed(LinkId(u64::from(number)), now_ms);
        self.act();
    }

    /// Executes the machine's actions.
    pub(super) fn act(&mut self) {
        // The machine reports changed owners once an iteration, but the next request must already be redirected.
        if self.cluster.as_ref().is_some_and(|node| node.machine.owners_are_changing()) {
            self.refresh_served();
        }
        while let Some(action) = self.cluster.as_mut().and_then(|node| node.machine.next_action()) {
            match action {
                Action::Connect { link, ip, bus_port } => self.connect_to_node(link, &ip, bus_port),
                // After a restart the node could vote again in an epoch that is not on disk.
                Action::Send { bytes, .. } if self.is_vote_unsaved(&bytes) => {}
                Action::Send { link, bytes } => {
                    let number = link.0 as u32;
                    if let Some(link) = self.cluster.as_mut().and_then(|node| node.bus.get_mut(number)) {
                        let was_idle = !link.has_unsent();
                        link.push(bytes);
                        if was_idle {
                            self.send_to_link(number);
                        } else {
                            self.note_pending(number);
                        }
                    }
                }
                Action::Close { link } => {
                    if let Some(node) = &mut self.cluster {
                        node.bus.remove(&mut self.net.poller, link.0 as u32);
                    }
                }
                Action::SaveConfig { sync } => {
                    // The next tick retries.
                    let _ = self.save_cluster_config(sync);
                }
                Action::Log(level, text) => self.log_of_cluster(level, &text),
                other => self.act_on_server(other),
            }
        }
    }

    /// Whether a packet is a vote or a request for votes whose epoch is not on disk.
    fn is_vote_unsaved(&self, packet: &[u8]) -> bool {
        self.cluster.as_ref().is_some_and(|node| node.complained_ms.is_some())
            && [Kind::AuthRequest, Kind::AuthAck].map(|kind| Some(kind as u16)).contains(&kind_of(packet))
    }

    /// Executes an action that concerns more than the bus.
    fn act_on_server(&mut self, action: Action) {
        match action {
            Action::Follow { ip, port, tls_port } => {
                let uses_tls = self.core.config.tls_replication && tls_port > 0;
                self.follow(&ip, if uses_tls { tls_port } else { port });
            }
            Action::Promote => {
                if self.replication.upstream.is_some() {
                    self.stop_following();
                }
            }
            Action::Empty => self.empty_for_cluster(),
            Action::DropKeys(slots) => self.drop_slots(&slots),
            Action::Publish { channel, message, sharded } => {
                self.publish_from_bus(&channel, &message, sharded);
            }
            Action::PauseWrites { .. } => self.stop_writes(Purpose::ManualFailover, true),
            Action::ResumeWrites => self.stop_writes(Purpose::ManualFailover, false),
            Action::StateChanged { .. } | Action::OwnershipChanged => self.ownership_changed(),
            Action::Connect { .. }
            | Action::Send { .. }
            | Action::Close { .. }
            | Action::SaveConfig { .. }
            | Action::Log(..) => unreachable!("these concern the bus"),
        }
    }

    fn connect_to_node(&mut self, link: LinkId, ip: &str, bus_port: u16) {
        let now_ms = self.cluster_ms();
        let connected = ip
            .parse::<IpAddr>()
            .map_err(std::io::Error::other)
            .and_then(|ip| self.connect_to(&SocketAddr::new(ip, bus_port)))
            .and_then(|socket| self.outgoing_channel(socket, self.core.config.tls_cluster));
        let Some(node) = &mut self.cluster else { return };
        let added = connected
            .and_then(|channel| node.bus.add(&mut self.net.poller, link.0 as u32, channel, false, now_ms));
        if let Err(error) = added {
            let why = file::reason(&error);
            self.process
                .log
                .debug(format_args!("Unable to connect to Cluster Node [{ip}]:{bus_port} -> {why}"));
            node.machine.link_closed(link, now_ms);
        }
    }

    /// Writes `nodes.conf`.
    ///
    /// # Errors
    /// The disk refuses; that has been logged.
    pub(super) fn save_cluster_config(&mut self, sync: bool) -> Result<(), String> {
        let now_ms = self.cluster_ms();
        let Some(node) = &mut self.cluster else { return Ok(()) };
        let text = node.machine.config_text();
        match node.config_file.save(&text, sync) {
            Ok(()) => {
                node.complained_ms = None;
                Ok(())
            }
            Err(error) => {
                let why = file::reason(&error);
                if node.complained_ms.is_none_or(|last| now_ms.saturating_sub(last) >= COMPLAIN_MS) {
                    node.complained_ms = Some(now_ms);
                    let path = node.config_file.path().display().to_string();
                    self.process
                        .log
                        .warning(format_args!("Could not save the cluster config file {path}: {why}"));
                }
                Err(why)
            }
        }
    }

    fn log_of_cluster(&self, level: Level, text: &str) {
        let log = &self.process.log;
        match level {
            Level::Debug => log.debug(format_args!("{text}")),
            Level::Verbose => log.verbose(format_args!("{text}")),
            Level::Notice => log.notice(format_args!("{text}")),
            Level::Warning => log.warning(format_args!("{text}")),
        }
    }

    /// Deletes all keys of a replica that was reset.
    fn empty_for_cluster(&mut self) {
        for db in 0..self.core.keyspace.count() {
            self.core.keyspace.flush(db, true);
        }
        self.settle_own();
    }

    /// Deletes the keys of slots that another primary has taken over.
    fn drop_slots(&mut self, slots: &SlotSet) {
        for db in 0..self.core.keyspace.count() {
            slots.iter().for_each(|slot| while self.drop_some(db, slot) {});
        }
    }

    /// Deletes some keys of a slot as one unit. Returns whether there were any.
    fn drop_some(&mut self, db: usize, slot: u16) -> bool {
        let keyspace = &mut self.core.keyspace;
        let names: Vec<Vec<u8>> = keyspace.db(db).slot_keys(slot).take(DROPPED).map(<[u8]>::to_vec).collect();
        for name in &names {
            let key = keyspace.key(db, name);
            if let Some(at) = keyspace.db(db).find(key.hash, name) {
                keyspace.propagate_removal(key, Removal::Del);
                keyspace.remove(key, at, Removal::Moved);
            }
        }
        self.settle_own();
        !names.is_empty()
    }

    /// Sends a published message to the other nodes, or to those of this shard. Replicas get it there, not by the stream.
    pub(super) fn publish_to_nodes(&mut self, channel: &[u8], message: &[u8], sharded: bool) {
        let now_ms = self.cluster_ms();
        let Some(node) = &mut self.cluster else { return };
        node.machine.publish(channel, message, sharded, now_ms);
        self.act();
    }

    /// After the data was loaded: claims the slots of its keys, or imports them if another node owns them.
    pub(super) fn adopt_loaded_slots(&mut self) {
        let Some(node) = &mut self.cluster else { return };
        let keyspace = &self.core.keyspace;
        node.machine.adopt_loaded_keys(|slot| keys_in_slot(keyspace, slot) > 0);
        self.act();
        self.refresh_served();
    }

    /// Before the process exits: writes `nodes.conf` for the last time.
    pub(super) fn close_cluster(&mut self) {
        // The exit goes on; the error has been logged.
        let _ = self.save_cluster_config(true);
        if let Some(node) = &mut self.cluster {
            node.bus.close(&mut self.net.poller);
        }
    }

    /// Delivers a message that another node has published.
    fn publish_from_bus(&mut self, channel: &[u8], message: &[u8], sharded: bool) {
        let payload = Payload::new(message, None);
        let audience = &mut self.audience;
        let first = audience.post.letters().len();
        if sharded {
            audience.subscribers.publish_to_shard(&mut audience.post, channel, &payload);
        } else {
            audience.subscribers.publish(&mut audience.post, channel, &payload);
        }
        audience.post.note_independent(first);
        self.deliver_post();
    }
}

impl Server {
    /// `DEBUG DROP-CLUSTER-PACKET-FILTER type`: received packets of this type are ignored; -1 for none.
    pub(super) fn drop_packets_of(&mut self, kind: i64) {
        if let Some(node) = &mut self.cluster {
            node.dropped = u16::try_from(kind).ok();
        }
    }

    /// `DEBUG CLOSE-CLUSTER-LINK-ON-PACKET-DROP`: whether an ignored packet closes its link.
    pub(super) fn close_links_on_drop(&mut self, on: bool) {
        if let Some(node) = &mut self.cluster {
            node.closes_on_drop = on;
        }
    }

    /// `DEBUG CLUSTERLINK KILL TO | FROM | ALL node-id`: closes the links to or from a node.
    pub(super) fn kill_cluster_links(&mut self, way: &[u8], id: &[u8]) -> Result<(), Error> {
        let Some(node) = &self.cluster else {
            return Err(Error::new("ERR Debug option only available for cluster mode enabled setup!"));
        };
        let is = |word: &[u8]| way.eq_ignore_ascii_case(word);
        let (outgoing, inbound) = (is(b"to") || is(b"all"), is(b"from") || is(b"all"));
        if node.machine.find(id).is_none() {
            return Err(Error::concat(&[b"ERR Unknown node ", shown(id)]));
        }
        if !outgoing && !inbound {
            return Err(Error::concat(&[b"ERR Unknown direction ", shown(way)]));
        }
        let links: Vec<u32> = node
            .machine
            .links()
            .filter(|link| link.node.as_bytes() == id && if link.is_inbound { inbound } else { outgoing })
            .map(|link| link.link.0 as u32)
            .collect();
        for number in links {
            self.close_link(number);
        }
        Ok(())
    }
}
