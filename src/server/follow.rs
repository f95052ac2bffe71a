//! A replica's connection to its primary, from the first attempt to the online stream.
//!
//! ```text
//!   cron ─▶ connect ─▶ Link ─┬─ snapshot ─▶ file ─▶ loading ─┬▶ a client whose requests are the stream (`apply.rs`)
//!                            └─ +CONTINUE ───────────────────┘
//!   lost ─▶ the data stays, and the next attempt asks to continue
//! ```
//!
//! Until the snapshot is complete, the old data is served. The log texts are those of Redis.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;

use super::Server;
use super::audience::waiters::End;
use super::net::transport::Transport;
use super::replication::upstream::{Linking, Progress, Sink, Upstream};
use super::syncing::random_id;
use crate::command::acl::Rights;
use crate::replication::failover::Failover;
use crate::replication::history::Id;
use crate::replication::link::{Event, Failure, Greeting, Level, Link};
use crate::sys::file;
use crate::sys::net::{Outgoing, Socket};
use crate::sys::poller::{self, Interest, Poller, Source, Token};

/// Bytes of a snapshot per receive, and receives per iteration.
const CHUNK: usize = 64 << 10;
const RECEIVES: usize = 16;

/// Connections to the primary are made at most once per interval.
const RETRY_MS: i64 = 1000;

impl Server {
    /// `REPLICAOF host port`: replicates this primary from now on.
    pub(super) fn follow(&mut self, host: &str, port: u16) {
        let was_primary = self.replication.upstream.is_none();
        let mut upstream = Upstream::new(host.to_owned(), port);
        // The new primary may continue the stream of the former one, in the middle of it.
        upstream.db = self.replication_db();
        upstream.down_since = self.replication.upstream.as_ref().and_then(|former| {
            if former.is_online() { Some(self.unix_seconds()) } else { former.down_since }
        });
        upstream.needs_snapshot =
            self.replication.upstream.as_ref().is_some_and(|former| former.needs_snapshot);
        upstream.restarts_log = self.leave_upstream();
        if was_primary {
            self.abandon_unconfirmed();
            self.begin_backlog();
        }
        self.disconnect_waiting();
        self.replication.upstream = Some(upstream);
        self.role_changed();
        self.process.log.notice(format_args!("Connecting to MASTER {host}:{port}"));
        self.connect_upstream();
    }

    /// Adopts the replication ID and offset of the snapshot that was loaded at the start. A replica resumes there, and
    /// so may the replicas of a primary.
    pub(super) fn resume_history(&mut self, place: Option<(Id, i64)>, db: i32) {
        let Some((id, offset)) = place else { return };
        let end = self.core.keyspace.journal.stream().settled();
        self.begin_backlog();
        self.replication.alone_since_ms = self.core.keyspace.moment.unix_ms;
        self.replication.resumed_db = usize::try_from(db).unwrap_or(0).min(self.core.keyspace.count() - 1);
        self.replication.history.adopt(id, offset, end);
        if self.core.config.replicaof.0.is_none() {
            self.replication.history.promote(random_id(), end);
        }
    }

    /// At the start: follows the configured primary. `resumes`: the loaded snapshot has a place in the primary's
    /// history.
    pub(super) fn follow_configured(&mut self, resumes: bool) {
        let Some((host, port)) = self.core.config.replicaof.0.clone() else { return };
        if !resumes {
            self.begin_backlog();
        }
        let mut upstream = Upstream::new(host, port);
        upstream.db = self.replication.resumed_db;
        upstream.needs_snapshot = !resumes;
        self.replication.upstream = Some(upstream);
        self.role_changed();
    }

    /// `REPLICAOF NO ONE`: makes this server a primary with its current data.
    pub(super) fn stop_following(&mut self) {
        let restarts_log = self.leave_upstream();
        self.replication.upstream = None;
        let stream = self.core.keyspace.journal.stream_mut();
        let end = stream.settled();
        stream.select_again();
        let id = random_id();
        let (old, offset) = (self.replication.history.id(), self.replication.history.offset(end) + 1);
        self.replication.history.promote(id, end);
        self.process.log.notice(format_args!(
            "Setting secondary replication ID to {old}, valid up to offset: {offset}. New replication ID is {id}"
        ));
        // They reconnect and continue with the new ID.
        self.drop_replicas();
        self.replication.alone_since_ms = self.core.keyspace.moment.unix_ms;
        self.role_changed();
        if restarts_log {
            self.restart_log();
        }
    }

    fn role_changed(&mut self) {
        self.core.is_replica = self.replication.upstream.is_some();
        self.core.apply_config();
        self.refresh_gate();
    }

    /// Sends an error to the clients that wait for keys or acknowledgements, and disconnects them as Redis does, so
    /// that they can continue at the new primary.
    fn disconnect_waiting(&mut self) {
        let error = crate::command::Error::new(
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        );
        self.abort_flights(&error);
        let blocked: Vec<Token> = self
            .net
            .clients
            .iter()
            .filter(|(_, client)| client.session.blocked.is_some())
            .map(|(token, _)| token)
            .collect();
        for token in blocked {
            self.end_wait_by(token, Some(End::Demoted(error.clone())));
        }
    }

    /// Disconnects all replicas: they have to resynchronize.
    pub(super) fn drop_replicas(&mut self) {
        let replicas: Vec<Token> = self.replication.synchronized().map(|replica| replica.token).collect();
        for token in replicas {
            self.net.doom(token);
        }
    }

    /// Closes the connection to the primary, if there is one. Returns whether the AOF was closed for a snapshot that has
    /// not been loaded.
    fn leave_upstream(&mut self) -> bool {
        let Some(upstream) = &mut self.replication.upstream else { return false };
        let restarts_log = upstream.restarts_log;
        match std::mem::replace(&mut upstream.progress, Progress::Apart) {
            Progress::Online(token) => self.net.doom(token),
            Progress::Linking(linking) | Progress::Loading(linking) => {
                let _ = self.net.poller.remove(linking.channel.as_fd());
                self.abandon_received();
            }
            Progress::Apart => {}
        }
        restarts_log
    }

    /// Starts connecting to the primary.
    pub(super) fn connect_upstream(&mut self) {
        let Some(upstream) = &self.replication.upstream else { return };
        self.process.log.notice(format_args!("MASTER <-> REPLICA sync started"));
        let connected = resolve(&upstream.host, upstream.port)
            .and_then(|address| self.connect_to(&address))
            .and_then(|socket| {
                let _ = socket.set_nodelay(true);
                let channel = self.outgoing_channel(socket, self.core.config.tls_replication)?;
                self.net.poller.add(channel.as_fd(), Source::Upstream, Interest::WRITE)?;
                Ok(channel)
            });
        let channel = match connected {
            Ok(channel) => channel,
            Err(error) => {
                let why = file::reason(&error);
                self.process.log.warning(format_args!("Unable to connect to MASTER: {why}"));
                return;
            }
        };
        let link = Link::new(self.now_ms(), u64::from(self.core.config.repl_timeout) * 1000);
        let linking =
            Linking { channel, link, unsent: Vec::new(), is_connected: false, history: None, sink: None };
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.progress = Progress::Linking(Box::new(linking));
        }
    }

    /// Begins to connect, from the address `bind-source-addr` if possible.
    pub(super) fn connect_to(&self, address: &SocketAddr) -> std::io::Result<Socket> {
        let outgoing = Outgoing::new(address.is_ipv4())?;
        let source = String::from_utf8_lossy(&self.core.config.bind_source_addr);
        if !source.is_empty()
            && let Err(error) = resolve_like(&source, address).and_then(|ip| outgoing.bind(ip))
        {
            let why = file::reason(&error);
            self.process.log.warning(format_args!(
                "Cannot bind to the source address {source} for a connection to {address}: {why}. Connecting from any \
                 address."
            ));
        }
        outgoing.connect(address)
    }

    fn greeting(&self) -> Greeting {
        let config = &self.core.config;
        let history = &self.replication.history;
        let needs_snapshot =
            self.replication.upstream.as_ref().is_some_and(|upstream| upstream.needs_snapshot);
        Greeting {
            user: config.masteruser.to_vec(),
            password: config.masterauth.to_vec(),
            port: match config.replica_announce_port {
                0 => self.replication_port(),
                announced => announced,
            },
            address: config.replica_announce_ip.to_vec(),
            has: (!needs_snapshot).then(|| (history.id(), self.replication_offset() + 1)),
            takes_over: self.replication.failover.as_ref().is_some_and(Failover::is_in_progress),
        }
    }

    fn now_ms(&self) -> u64 {
        self.core.clock.monotonic_us() / 1000
    }

    /// Handles an event of the connection to the primary: connected, writable, or readable.
    pub(super) fn on_upstream_event(&mut self, event: poller::Event) {
        if self.is_busy() {
            // A suspended script has not ended its unit, whose calls belong to the data.
            return;
        }
        let Some(upstream) = &mut self.replication.upstream else { return };
        let Progress::Linking(mut linking) = std::mem::replace(&mut upstream.progress, Progress::Apart)
        else {
            return;
        };
        let outcome = self.drive(&mut linking, event);
        let Some(upstream) = &mut self.replication.upstream else { return };
        match outcome {
            Ok(false) => upstream.progress = Progress::Linking(linking),
            // The caller of the event has stored it elsewhere.
            Ok(true) => self.link_complete(linking),
            Err(Failure(level, text)) => {
                match level {
                    Level::Notice => self.process.log.notice(format_args!("{text}")),
                    Level::Warning => self.process.log.warning(format_args!("{text}")),
                }
                let _ = self.net.poller.remove(linking.channel.as_fd());
                self.abandon_received();
                self.failover_link_failed(&linking.link);
            }
        }
    }

    /// Drives the link as far as the socket permits. Returns whether it is complete.
    fn drive(&mut self, linking: &mut Linking, event: poller::Event) -> Result<bool, Failure> {
        if !linking.is_connected {
            if let Some(error) = linking.channel.socket().failure() {
                let why = file::reason(&error);
                return Err(Failure(Level::Warning, format!("Error condition on socket for SYNC: {why}")));
            }
            linking.is_connected = true;
            self.process.log.notice(format_args!("Non blocking connect for SYNC fired the event."));
            // Not before: a transaction that made this server a replica may have written more than its replicas have.
            linking.link.connected(self.greeting(), self.now_ms(), &mut linking.unsent);
        }
        let mut complete = linking.link.is_complete();
        if event.readable || event.closed {
            complete = self.receive_link(linking)?;
        }
        self.send_link(linking)?;
        Ok(complete)
    }

    fn send_link(&mut self, linking: &mut Linking) -> Result<(), Failure> {
        let Linking { channel, unsent, .. } = linking;
        let sent = if unsent.is_empty() { channel.flush().map(|()| 0) } else { channel.send(unsent) };
        match sent {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                let why = file::reason(&error);
                return Err(Failure(Level::Warning, format!("Failed to send to the master: {why}")));
            }
        }
        let interest =
            if channel.waits_to_send(!unsent.is_empty()) { Interest::BOTH } else { Interest::READ };
        self.net
            .poller
            .modify(linking.channel.as_fd(), Source::Upstream, interest)
            .map_err(|error| Failure(Level::Warning, format!("Watching the master: {error}")))
    }

    /// Receives pending bytes. Returns whether the link is complete; the bytes after it stay in the socket as far as
    /// possible.
    fn receive_link(&mut self, linking: &mut Linking) -> Result<bool, Failure> {
        let mut chunk = vec![0; CHUNK];
        for _ in 0..RECEIVES {
            // What has not been loaded stays in the socket.
            if matches!(linking.sink, Some(Sink::Loader)) && self.loading.has_work() {
                return Ok(false);
            }
            // The stream must stay in the socket: before the snapshot, lines are received byte by byte, and no more
            // bytes than the snapshot has are received.
            let most = linking.link.wanted().min(CHUNK);
            let is_handshaking = linking.channel.is_handshaking();
            let count = match linking.channel.receive(&mut chunk[..most]) {
                Ok(0) => {
                    return Err(Failure(
                        Level::Warning,
                        "I/O error trying to sync with MASTER: connection lost".into(),
                    ));
                }
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(false);
                }
                Err(error) => {
                    let why = file::reason(&error);
                    let what = if is_handshaking {
                        "Error condition on socket for SYNC"
                    } else {
                        "I/O error trying to sync with MASTER"
                    };
                    return Err(Failure(Level::Warning, format!("{what}: {why}")));
                }
            };
            self.core.stats.note_received_from_primary(count);
            let mut left = &chunk[..count];
            loop {
                let (taken, event) = linking.link.receive(left, self.now_ms(), &mut linking.unsent)?;
                left = &left[taken..];
                match event {
                    None if taken == 0 => break,
                    None => {}
                    Some(event) => self.on_link_event(linking, event)?,
                }
            }
            assert!(left.is_empty(), "no more is received than the link wants");
            if linking.link.is_complete() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn on_link_event(&mut self, linking: &mut Linking, event: Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Note(Level::Notice, text) => self.process.log.notice(format_args!("{text}")),
            Event::Note(Level::Warning, text) => self.process.log.warning(format_args!("{text}")),
            Event::FullSync(history) => {
                self.end_failover();
                linking.history = history;
                match history {
                    Some((id, offset)) => {
                        self.process.log.notice(format_args!("Full resync from master: {id}:{offset}"));
                    }
                    None => self.process.log.notice(format_args!("Retrying with SYNC...")),
                }
            }
            Event::Continue(id) => {
                self.end_failover();
                self.process.log.notice(format_args!("Successful partial resynchronization with master."));
                if let Some(id) = id
                    && id != self.replication.history.id()
                {
                    self.process.log.notice(format_args!("Master replication ID changed to {id}"));
                    let end = self.core.keyspace.journal.stream().settled();
                    self.replication.history.rename(id, end);
                    self.drop_replicas();
                }
            }
            Event::SnapshotBegins(length) => self.begin_receiving(linking, length)?,
            Event::Snapshot(bytes) => self.take_snapshot(linking, bytes)?,
            Event::Held(bytes) => self.take_snapshot(linking, &bytes)?,
            Event::SnapshotEnds => {}
        }
        Ok(())
    }

    /// Goes online after the primary's snapshot was loaded.
    pub(super) fn primary_loaded(&mut self, db: usize) {
        self.process.log.notice(format_args!("MASTER <-> REPLICA sync: Finished with success"));
        let Some(upstream) = &mut self.replication.upstream else { return };
        let Progress::Loading(linking) = std::mem::replace(&mut upstream.progress, Progress::Apart) else {
            return;
        };
        upstream.needs_snapshot = false;
        upstream.db = db;
        let restarts_log = std::mem::take(&mut upstream.restarts_log);
        let (id, offset) = linking.history.unwrap_or((Id::NONE, 0));
        self.begin_backlog();
        let stream = self.core.keyspace.journal.stream_mut();
        stream.select_again();
        let end = stream.settled();
        self.replication.history.adopt(id, offset, end);
        self.go_online(linking);
        if restarts_log {
            self.restart_log();
        }
    }

    /// Starts the AOF again that was closed for a snapshot.
    fn restart_log(&mut self) {
        if self.begin_log().is_err() {
            self.process.log.warning(format_args!("The AOF remains disabled: see the previous log lines"));
        }
    }

    /// Handles a failed load of the primary's snapshot: the next attempt requests another one.
    pub(super) fn primary_load_failed(&mut self, why: &dyn fmt::Display, from: &str) {
        self.process.log.warning(format_args!("{why}"));
        self.process.log.warning(format_args!(
            "Failed trying to load the MASTER synchronization DB from {from}, check server logs."
        ));
        self.leave_upstream();
        self.refresh_gate();
    }

    /// Turns the connection into a client whose requests are the stream.
    pub(super) fn go_online(&mut self, linking: Box<Linking>) {
        let channel = linking.channel;
        let now_ms = self.core.keyspace.moment.unix_ms;
        let _ = self.net.poller.remove(channel.as_fd());
        // An earlier connection may have broken off within a transaction.
        self.applying.forget();
        let transport = Transport::new(channel);
        transport.tune(self.core.config.tcp_keepalive);
        let added = self.net.add_client(transport, Rights::SERVER, now_ms);
        let Some(upstream) = &mut self.replication.upstream else { return };
        match added {
            Ok(token) => {
                upstream.progress = Progress::Online(token);
                (upstream.heard_ms, upstream.down_since) = (now_ms, None);
                let session = self.net.session(token);
                session.flags.primary = true;
                session.db = upstream.db;
                self.acknowledge_to_primary();
                self.after_encrypted(token);
            }
            Err(error) => {
                upstream.progress = Progress::Apart;
                self.process.log.warning(format_args!("Registering the connection to the master: {error}"));
            }
        }
        self.refresh_gate();
    }

    /// Handles a lost connection to the primary.
    pub(super) fn upstream_lost(&mut self, token: Token, db: usize) {
        let now_s = self.unix_seconds();
        let Some(upstream) = &mut self.replication.upstream else { return };
        if !matches!(upstream.progress, Progress::Online(online) if online == token) {
            return;
        }
        upstream.progress = Progress::Apart;
        (upstream.down_since, upstream.db) = (Some(now_s), db);
        self.applying.forget();
        let (host, port) = (upstream.host.clone(), upstream.port);
        self.process.log.notice(format_args!("Connection with master lost."));
        self.refresh_gate();
        // A link that is lost at once each time must not be made as often as the machine can.
        let now_ms = self.core.keyspace.moment.unix_ms;
        if !self.process.exit && now_ms - self.replication.tried_ms >= RETRY_MS {
            self.process.log.notice(format_args!("Reconnecting to MASTER {host}:{port}"));
            self.replication.tried_ms = now_ms;
            self.connect_upstream();
        }
    }

    /// Sends the primary the applied offset, and the synced one if there is an AOF.
    pub(super) fn acknowledge_to_primary(&mut self) {
        let offset = self.replication_offset();
        let synced =
            self.persistence.log.synced_offset().map(|synced| self.replication.history.offset(synced));
        let now_ms = self.core.keyspace.moment.unix_ms;
        let Some(upstream) = &mut self.replication.upstream else { return };
        let Progress::Online(token) = upstream.progress else { return };
        upstream.acknowledged_ms = now_ms;
        let mut request = self.net.reply_to(token);
        request.array(if synced.is_some() { 5 } else { 3 });
        request.bulk(b"REPLCONF");
        request.bulk(b"ACK");
        request.bulk_integer(offset);
        if let Some(synced) = synced {
            request.bulk(b"FACK");
            request.bulk_integer(synced);
        }
    }

    /// The database that the stream has selected: the primary's, on a replica. A primary sends another `SELECT` to each
    /// replica that gets a snapshot, but may itself continue from a snapshot as the replica of another one.
    pub(super) fn replication_db(&self) -> usize {
        match &self.replication.upstream {
            Some(Upstream { progress: Progress::Online(token), .. }) => self.net.selected_db(*token),
            Some(upstream) => upstream.db,
            None => self.core.keyspace.journal.stream().selected().unwrap_or(0),
        }
    }

    /// Called by cron: reconnects, acknowledges, and closes a connection that has timed out.
    pub(super) fn look_after_upstream(&mut self) {
        let (now_ms, link_ms) = (self.core.keyspace.moment.unix_ms, self.now_ms());
        let timeout_ms = i64::from(self.core.config.repl_timeout) * 1000;
        let Some(upstream) = &mut self.replication.upstream else { return };
        match &mut upstream.progress {
            Progress::Apart
                if now_ms - self.replication.tried_ms >= RETRY_MS && !self.loading.is_active() =>
            {
                self.replication.tried_ms = now_ms;
                self.process
                    .log
                    .notice(format_args!("Connecting to MASTER {}:{}", upstream.host, upstream.port));
                self.connect_upstream();
            }
            Progress::Apart => {}
            Progress::Linking(linking) => {
                if let Err(Failure(_, text)) = linking.link.check(link_ms) {
                    self.process.log.warning(format_args!("{text}"));
                    self.leave_upstream();
                }
            }
            Progress::Loading(linking) => {
                if now_ms - upstream.acknowledged_ms >= 1000 {
                    upstream.acknowledged_ms = now_ms;
                    // Keeps the primary from timing out this replica.
                    linking.channel.offer(b"\n");
                }
            }
            Progress::Online(token) => {
                let token = *token;
                if now_ms - upstream.heard_ms > timeout_ms {
                    self.process.log.warning(format_args!("MASTER timeout: no data nor PING received..."));
                    self.net.doom(token);
                } else if now_ms - upstream.acknowledged_ms >= 1000 {
                    self.acknowledge_to_primary();
                }
            }
        }
    }
}

/// Resolves a host to an address of the same kind as `other`.
fn resolve_like(host: &str, other: &SocketAddr) -> std::io::Result<IpAddr> {
    let mut found = (host, 0).to_socket_addrs()?.map(|address| address.ip());
    let kind = if other.is_ipv4() { "IPv4" } else { "IPv6" };
    found
        .find(|ip| ip.is_ipv4() == other.is_ipv4())
        .ok_or_else(|| std::io::Error::new(ErrorKind::AddrNotAvailable, format!("it has no {kind} address")))
}

/// Resolves the address of a host. A name lookup blocks the whole server, as in Redis.
fn resolve(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::new(ErrorKind::NotFound, "the name has no address"))
}
