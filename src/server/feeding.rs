//! Sends the replicas their snapshots, then the stream of propagated commands, each replica from its own position.
//!
//! ```text
//!   write_log ─▶ feed_replicas ─▶ replies
//!                  ├─ receives a file: the next bytes of it
//!                  ├─ receives from a child: the rest of the chunk
//!                  └─ online: the pieces of the stream behind its cursor, by one writev
//! ```
//!
//! A send costs the primary as much as several small writes, and wakes the replica. So while several clients write, small
//! pieces of the stream are collected over some iterations, as long as nobody waits for them.
//!
//! Nothing is copied per replica. A slow replica costs the part of the stream that is kept for it;
//! `client-output-buffer-limit replica` limits that.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;

use super::Server;
use super::audience::pause::Purpose;
use super::net::client::Client;
use super::replication::Replica;
use crate::db::Stream;
use crate::replication::link::request;
use crate::replication::peer::Stage;
use crate::sys::poller::{Interest, Poller, Source, Token};

/// The most pieces of the stream that one call sends.
const PIECES: usize = 64;

/// The most bytes that one replica is sent in an iteration.
const SHARE: usize = 1 << 20;

/// While several clients send requests, fewer bytes than this wait for more, at most so many microseconds.
const GRAIN: u64 = 32 << 10;
const POSTPONED_US: u64 = 300;

impl Server {
    /// Sends to each replica as much as its socket accepts, unless more is worth waiting for.
    #[inline]
    pub(super) fn feed_replicas(&mut self) {
        if !self.replication.replicas.is_empty() && !self.postpones_feeding() {
            self.feed_each();
        }
    }

    /// Whether the replicas are fed in a later iteration: several clients were ready in this one, so more follows; there
    /// is little for the replicas yet, and nobody waits for them. [`Server::wait`] feeds them before the loop sleeps.
    fn postpones_feeding(&mut self) -> bool {
        let now_us = self.core.clock.monotonic_us();
        let unfed = self.stream_end().saturating_sub(self.replication.fed_to);
        let since_us = self.replication.unfed_since_us.unwrap_or(now_us);
        let postpones = self.is_crowded
            && (1..GRAIN).contains(&unfed)
            && now_us - since_us < POSTPONED_US
            && !self.replication.asks_for_acknowledgements
            && self.audience.acknowledgements.is_empty()
            && !self.gate.confirms()
            && !self.process.exit
            && self.replication.replicas.iter().all(|replica| !replica.peer.stage.is_receiving());
        self.replication.unfed_since_us = postpones.then_some(since_us);
        postpones
    }

    /// Feeds the replicas what was postponed, if anything was.
    pub(super) fn feed_postponed(&mut self) {
        if self.replication.unfed_since_us.is_some() {
            self.feed_each();
        }
    }

    fn feed_each(&mut self) {
        self.replication.unfed_since_us = None;
        let is_wanted = self.replication.asks_for_acknowledgements || self.has_to_request_acknowledgements();
        // A replica that takes over has been told the offset at which it does so: the stream ends there.
        if is_wanted && !self.audience.pause().is_for(Purpose::ManualFailover) {
            self.replication.asks_for_acknowledgements = false;
            self.request_acknowledgements();
        }
        self.replication.fed_to = self.stream_end();
        for index in 0..self.replication.replicas.len() {
            let replica = &self.replication.replicas[index];
            if replica.is_full {
                self.check_replica_limit(index);
            } else if replica.peer.stage != Stage::Greeting {
                self.feed(index);
            }
        }
    }

    /// Sends more to a replica whose socket is writable again.
    pub(super) fn on_replica_writable(&mut self, token: Token) {
        let found = self.replication.replicas.iter().position(|replica| replica.token == token);
        if let Some(index) = found.filter(|index| self.replication.replicas[*index].is_full) {
            self.set_full(index, false);
            self.feed(index);
            self.go_on_with_transfer();
        }
    }

    /// Sends to one replica as much as its socket accepts, up to its share.
    fn feed(&mut self, index: usize) {
        let token = self.replication.replicas[index].token;
        let mut sent = 0;
        while sent < SHARE {
            match self.feed_some(index) {
                Ok(0) => return self.after_feeding(index, sent),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.set_full(index, true);
                    return self.after_feeding(index, sent);
                }
                Err(error) => {
                    self.process.log.verbose(format_args!("Error writing to client: {error}"));
                    return self.net.doom(token);
                }
            }
        }
        // The rest follows after other clients: the poller reports the socket as writable at once.
        self.set_full(index, true);
        self.after_feeding(index, sent);
    }

    fn after_feeding(&mut self, index: usize, sent: usize) {
        if sent > 0 {
            self.core.stats.writes += 1;
            self.core.stats.note_sent_to_replica(sent);
            let (now, token) = (self.core.keyspace.moment.unix_ms, self.replication.replicas[index].token);
            if let Some(client) = self.net.clients.get_mut(token) {
                client.active_ms = now;
            }
        }
        self.advance_stage(index);
        self.check_replica_limit(index);
    }

    /// Sends some bytes; `Ok(0)` if there are none.
    fn feed_some(&mut self, index: usize) -> io::Result<usize> {
        let replica = &mut self.replication.replicas[index];
        let Some(client) = self.net.clients.get_mut(replica.token) else { return Ok(0) };
        // Pending replies come first.
        let is_closing = client.session.is_closing();
        let Some(line) = client.line_mut() else { return Ok(0) };
        if line.pending.is_some() || self.net.output.has_any(replica.token) || is_closing {
            return Ok(0);
        }
        match replica.peer.stage {
            Stage::ReceivingPipe | Stage::ReceivingFile => {
                match (&mut replica.outgoing, &mut self.replication.transfer) {
                    (Some(outgoing), _) if !outgoing.is_done() => {
                        outgoing.send(|bytes| line.transport.send(bytes))
                    }
                    (None, Some(transfer)) => match transfer.rest(replica.token) {
                        [] => Ok(0),
                        rest => {
                            let count = line.transport.send(rest)?;
                            transfer.take(replica.token, count);
                            Ok(count)
                        }
                    },
                    _ => Ok(0),
                }
            }
            Stage::Online => {
                let stream = self.core.keyspace.journal.stream_mut();
                send_stream(stream, replica, |slices| line.transport.send_vectored(slices))
            }
            Stage::Greeting
            | Stage::WaitingForStart
            | Stage::WaitingForEnd
            | Stage::Loading
            | Stage::HasSnapshot => Ok(0),
        }
    }

    /// Puts a replica that has received the whole snapshot online.
    fn advance_stage(&mut self, index: usize) {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let replica = &mut self.replication.replicas[index];
        if replica.peer.stage == Stage::ReceivingFile
            && replica.outgoing.as_ref().is_some_and(super::replication::Outgoing::is_done)
        {
            replica.outgoing = None;
            replica.peer.stage = if replica.peer.rdb_only { Stage::HasSnapshot } else { Stage::Online };
            replica.peer.acknowledged_ms = now_ms;
            let token = replica.token;
            self.note_synchronized(token);
        }
    }

    /// Starts or stops watching whether the socket is writable.
    fn set_full(&mut self, index: usize, is_full: bool) {
        let replica = &mut self.replication.replicas[index];
        if std::mem::replace(&mut replica.is_full, is_full) == is_full {
            return;
        }
        let token = replica.token;
        let Some(line) = self.net.clients.get(token).and_then(Client::line) else { return };
        let interest = if is_full || line.pending.is_some() { Interest::BOTH } else { Interest::READ };
        if self.net.poller.modify(line.transport.as_fd(), Source::Client(token), interest).is_err() {
            self.net.doom(token);
        }
    }

    /// Enforces `client-output-buffer-limit replica` on the part of the stream that waits for this replica. A limit below
    /// the backlog's size is raised to it, since the backlog keeps as much anyway.
    fn check_replica_limit(&mut self, index: usize) {
        let now = self.core.keyspace.moment.unix_ms;
        let (hard, soft) = self.replica_limits();
        let seconds = self.core.config.client_output_buffer_limit.replica.soft_seconds;
        let replica = &mut self.replication.replicas[index];
        let token = replica.token;
        let is_open = self.net.clients.get(token).is_some_and(|client| !client.doomed);
        let Some(cursor) = replica.cursor.as_ref().filter(|_| is_open) else { return };
        let waiting = self.core.keyspace.journal.stream().unread(cursor);
        let since =
            if waiting >= soft { Some(*replica.over_soft_limit_since.get_or_insert(now)) } else { None };
        replica.over_soft_limit_since = since;
        if waiting >= hard || since.is_some_and(|since| now - since > i64::from(seconds) * 1000) {
            self.cut_off(token);
        }
    }

    /// The number of waiting bytes at which a replica is disconnected at once, and after some seconds.
    fn replica_limits(&self) -> (u64, u64) {
        let config = &self.core.config;
        let limit = config.client_output_buffer_limit.replica;
        let raised = |limit: u64| if limit == 0 { u64::MAX } else { limit.max(config.repl_backlog_size) };
        (raised(limit.hard), raised(limit.soft))
    }

    /// Whether a replica for which `waiting` bytes wait would be disconnected before it can read them. It gets a snapshot
    /// instead: otherwise it would request the same bytes again, without end. Such bytes are kept if another replica
    /// needs them.
    pub(super) fn exceeds_replica_limit(&self, waiting: u64) -> bool {
        let (hard, soft) = self.replica_limits();
        let is_immediate = self.core.config.client_output_buffer_limit.replica.soft_seconds == 0;
        waiting >= hard || waiting >= soft && is_immediate
    }

    /// Sends the replicas a request that does not change data; the AOF leaves it out.
    pub(super) fn push_to_replicas(&mut self, words: &[&[u8]]) {
        let stream = self.core.keyspace.journal.stream_mut();
        // A replica's stream consists of its primary's bytes only. A suspended script has not ended its unit.
        let is_primary = self.replication.upstream.is_none();
        if is_primary && self.replication.has_backlog && self.suspended.is_none() && stream.of_unit() == 0 {
            let mut bytes = Vec::with_capacity(64);
            request(&mut bytes, words);
            let start = stream.settled();
            stream.push_aside(&bytes);
            self.replication.confirmation.note_aside(start..stream.settled());
        }
    }
}

/// Sends the next pieces of the stream to `replica`.
fn send_stream(
    stream: &mut Stream,
    replica: &mut Replica,
    send: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let Some(cursor) = &mut replica.cursor else { return Ok(0) };
    let mut slices = [IoSlice::new(&[]); PIECES];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(stream.pieces(cursor)) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let taken = send(&slices[..count])?;
    stream.advance(cursor, taken as u64);
    Ok(taken)
}
