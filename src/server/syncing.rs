//! Synchronization of replicas: `PSYNC`, the snapshots for replicas, and cron's checks of replicas.
//!
//! ```text
//!   PSYNC ─┬─ continue: the cursor is put where the replica stands ────────────────▶ online
//!          └─ full: waits ─▶ fork ─┬─ disk: the file, when the child has written it ─▶ online
//!                   others join    └─ diskless: through a pipe, from the child ─▶ loads ─▶ first ACK ─▶ online
//! ```
//!
//! From the fork on, a replica's cursor is at the offset of the fork, so the stream keeps everything after the
//! snapshot.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;

use super::Server;
use super::audience::pause::Purpose;
use super::net::client::Client;
use super::persistence::job::Work;
use super::replication::transfer::Transfer;
use super::replication::{Outgoing, Replica};
use crate::config::LogLevel;
use crate::replication::history::{Answer, Id, Kept, Why};
use crate::replication::peer::Stage;
use crate::sys::poller::{Interest, Poller, Source, Token};
use crate::sys::{file, process};

/// The number of replicas to remember as old readers.
const MAX_OLD_READERS: usize = 64;

/// The kind of synchronization that a replica gets.
pub(super) enum Synchronization {
    /// The stream continues from the requested offset. The reply contains the ID, if the replica understands IDs.
    Continue(Option<Id>),
    /// A full resynchronization: the reply follows when the snapshot starts.
    Full,
}

pub(super) fn random_id() -> Id {
    let mut random = [0; 20];
    process::random_bytes(&mut random);
    Id::new(random)
}

impl Server {
    /// The offsets of the stream that are kept for replicas.
    fn kept(&self) -> Kept {
        let stream = self.core.keyspace.journal.stream();
        Kept { oldest: stream.oldest(), end: stream.settled() }
    }

    /// The replication offset.
    pub(super) fn replication_offset(&self) -> i64 {
        self.replication.history.offset(self.core.keyspace.journal.stream().settled())
    }

    /// The name of a replica in the log. It is the client ID if the system does not know the address: after a reset.
    pub(super) fn replica_name(&self, token: Token) -> String {
        let replica = self.replication.replicas.iter().find(|replica| replica.token == token);
        let (address, port) = replica.map_or_else(|| (self.net.ip_of(token), 0), Replica::address);
        match (address.as_str(), port) {
            ("", _) => {
                let client = self.net.clients.get(token);
                client.map_or_else(String::new, |client| format!("client id #{}", client.session.id))
            }
            (address, 0) => format!("{address}:<unknown-replica-port>"),
            (address, port) if address.contains(':') => format!("[{address}]:{port}"),
            (address, port) => format!("{address}:{port}"),
        }
    }

    /// Handles a request for the stream of `id` from the offset `next` on; without `asked`, for a snapshot by `SYNC`.
    pub(super) fn synchronize(&mut self, token: Token, asked: Option<(&[u8], i64)>) -> Synchronization {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let name = self.replica_name(token);
        self.process.log.notice(format_args!("Replica {name} asks for synchronization"));
        self.net.session(token).flags.replica = true;
        self.tune_replica(token);
        let replica = self.replication.find_or_add(token, || self.net.ip_of(token), now_ms);
        (replica.asked_ms, replica.knows_psync) = (now_ms, asked.is_some());
        if let Some((id, next)) = asked {
            match self.replication.history.answer(id, next, self.kept()) {
                Answer::Continue(from) if self.replication.has_backlog => {
                    let waiting = self.core.keyspace.journal.stream().settled() - from;
                    if !self.exceeds_replica_limit(waiting) {
                        return self.continue_replica(token, &name, from, next);
                    }
                    self.replication.refused_partial_syncs += 1;
                    self.process.log.notice(format_args!(
                        "Unable to partial resync with replica {name}: the {waiting} bytes that it lacks exceed the \
                         output buffer limit of replicas."
                    ));
                }
                Answer::Continue(_) => self.note_refusal(&name, id, next, &Why::NotKept),
                Answer::Full(why) => self.note_refusal(&name, id, next, &why),
            }
        }
        self.replication.full_syncs += 1;
        if let Some(replica) = self.replication.find(token) {
            replica.peer.stage = Stage::WaitingForStart;
        }
        self.begin_backlog();
        self.join_or_begin(token);
        Synchronization::Full
    }

    /// Applies `repl-disable-tcp-nodelay` to the connection of a replica.
    fn tune_replica(&self, token: Token) {
        if let Some(line) = self.net.clients.get(token).and_then(Client::line) {
            line.transport.set_nodelay(!self.core.config.repl_disable_tcp_nodelay);
        }
    }

    /// Applies `repl-disable-tcp-nodelay` to the connections of all replicas.
    pub(super) fn tune_replicas(&self) {
        for replica in self.replication.synchronized() {
            self.tune_replica(replica.token);
        }
    }

    fn continue_replica(&mut self, token: Token, name: &str, from: u64, next: i64) -> Synchronization {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let stream = self.core.keyspace.journal.stream_mut();
        let bytes = stream.settled() - from;
        let cursor = stream.resume_reader(from);
        let id = self.replication.history.id();
        self.replication.partial_syncs += 1;
        let Some(replica) = self.replication.find(token) else { return Synchronization::Full };
        replica.cursor = cursor;
        replica.has_acknowledged = true;
        replica.peer.stage = Stage::Online;
        replica.peer.acknowledged_ms = now_ms;
        let knows_ids = replica.peer.capabilities.psync2;
        self.replication.confirmation.forget_request();
        self.process.log.notice(format_args!(
            "Partial resynchronization request from {name} accepted. Sending {bytes} bytes of backlog starting from offset {next}."
        ));
        self.refresh_gate();
        Synchronization::Continue(knows_ids.then_some(id))
    }

    fn note_refusal(&mut self, name: &str, id: &[u8], next: i64, why: &Why) {
        let log = &self.process.log;
        let id = String::from_utf8_lossy(id);
        if *why != Why::Wanted {
            self.replication.refused_partial_syncs += 1;
        }
        match why {
            Why::Wanted => log.notice(format_args!("Full resync requested by replica {name}")),
            Why::OtherId => {
                let history = &self.replication.history;
                let second = history.second().map_or(Id::NONE, |(id, _)| id);
                log.notice(format_args!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{id}', my \
                     replication IDs are '{}' and '{second}')",
                    history.id()
                ));
            }
            Why::Beyond(limit) => log.notice(format_args!(
                "Partial resynchronization not accepted: Requested offset for second ID was {next}, but I can reply up to \
                 {limit}"
            )),
            Why::NotKept => {
                log.notice(format_args!(
                    "Unable to partial resync with replica {name} for lack of backlog (Replica request was: {next})."
                ));
                if next > self.replication_offset() + 1 {
                    log.warning(format_args!(
                        "Warning: replica {name} tried to PSYNC with an offset that is greater than the master \
                         replication offset."
                    ));
                }
            }
        }
    }

    /// Starts the backlog: from now on the stream keeps what replicas may request.
    pub(super) fn begin_backlog(&mut self) {
        if self.replication.has_backlog {
            return;
        }
        self.replication.has_backlog = true;
        self.replication.alone_since_ms = self.core.keyspace.moment.unix_ms;
        let stream = self.core.keyspace.journal.stream_mut();
        let end = stream.settled();
        stream.keep_history(self.core.config.repl_backlog_size);
        // Earlier changes may not be in the stream.
        let id = random_id();
        self.replication.history.restart(id, end);
        self.process.log.notice(format_args!(
            "Replication backlog created, my new replication IDs are '{id}' and '{}'",
            Id::NONE
        ));
        self.refresh_gate();
    }

    fn end_backlog(&mut self) {
        self.replication.has_backlog = false;
        let stream = self.core.keyspace.journal.stream_mut();
        let end = stream.settled();
        stream.keep_history(0);
        // Later changes may not be in the stream, so no replica can continue.
        self.replication.history.restart(random_id(), end);
        self.refresh_gate();
    }

    /// Attaches a replica to a snapshot that is being written to disk for others, or starts one.
    fn join_or_begin(&mut self, token: Token) {
        let is_filtered = self.replication.find(token).is_some_and(|replica| !replica.peer.filter.is_empty());
        if self.persistence.is_at(Work::Snapshot) {
            let other = self.replication.replicas.iter().find_map(|replica| {
                let cursor = replica.cursor.as_ref()?;
                (replica.peer.stage == Stage::WaitingForEnd).then(|| cursor.offset())
            });
            let stream = self.core.keyspace.journal.stream_mut();
            let other = other.filter(|_| !is_filtered);
            if let Some(cursor) = other.and_then(|offset| stream.resume_reader(offset)) {
                self.process.log.notice(format_args!("Waiting for end of BGSAVE for SYNC"));
                self.begin_full(token, Some(cursor));
                return;
            }
            self.process.log.notice(format_args!(
                "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
            ));
        } else if self.replication.transfer.is_some() {
            self.process
                .log
                .notice(format_args!("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC"));
        } else if self.persistence.job.is_some() {
            self.process.log.notice(format_args!(
                "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed"
            ));
        } else if self.is_diskless() && self.core.config.repl_diskless_sync_delay > 0 {
            self.process.log.notice(format_args!("Delay next BGSAVE for diskless SYNC"));
        }
        self.begin_transfer_if_due();
    }

    /// Whether the child sends the snapshot to the waiting replicas without a file. One that lacks parts always is.
    fn is_diskless(&self) -> bool {
        (self.core.config.repl_diskless_sync || !self.replication.next_filter().is_empty())
            && self.replication.waiting().all(|replica| replica.peer.capabilities.eof)
    }

    /// Starts the snapshot that replicas wait for, if that is possible now. After the child of a transfer has exited, its
    /// last bytes may still be in the pipe.
    pub(super) fn begin_transfer_if_due(&mut self) {
        let is_sending = self.persistence.job.is_some() || self.replication.transfer.is_some();
        if is_sending || self.is_busy() || self.loading.is_active() {
            return;
        }
        let now_ms = self.core.keyspace.moment.unix_ms;
        let waiting = self.replication.waiting().count();
        let Some(longest_ms) = self.replication.waiting().map(|replica| now_ms - replica.asked_ms).max()
        else {
            return;
        };
        let config = &self.core.config;
        let (delay_ms, most) = (
            i64::from(config.repl_diskless_sync_delay) * 1000,
            config.repl_diskless_sync_max_replicas as usize,
        );
        if self.is_diskless() {
            if longest_ms >= delay_ms || most > 0 && waiting >= most {
                self.begin_diskless();
            }
        } else {
            self.process.log.notice(format_args!("Starting BGSAVE for SYNC with target: disk"));
            let begun = self.begin_snapshot();
            if begun.is_ok() {
                self.persistence.snapshots.for_replicas = Some(self.snapshot_path());
            }
            self.snapshot_begun(begun.is_ok(), Stage::WaitingForEnd);
        }
    }

    fn begin_diskless(&mut self) {
        self.process.log.notice(format_args!("Starting BGSAVE for SYNC with target: replicas sockets"));
        let begun = self.open_transfer();
        if let Err(error) = &begun {
            let why = file::reason(error);
            self.process.log.warning(format_args!("Can't save in background: fork: {why}"));
        }
        self.snapshot_begun(begun.is_ok(), Stage::ReceivingPipe);
    }

    fn open_transfer(&mut self) -> io::Result<()> {
        let (reader, writer): (PipeReader, PipeWriter) = crate::sys::fork::data_pipe()?;
        let pid = self.fork_for(Work::Transfer, true, Some(writer))?;
        self.process.log.notice(format_args!("Background RDB transfer started by pid {pid}"));
        let waiting: Vec<Token> = self.replication.waiting().map(|replica| replica.token).collect();
        self.replication.transfer = Some(Transfer::new(reader, waiting.into_iter()));
        self.watch_transfer();
        Ok(())
    }

    /// Updates the waiting replicas after a snapshot was started, or disconnects them if that failed.
    fn snapshot_begun(&mut self, has_begun: bool, stage: Stage) {
        let waiting: Vec<Token> = self.replication.waiting().map(|replica| replica.token).collect();
        for token in waiting {
            if has_begun {
                let cursor = self.core.keyspace.journal.stream_mut().begin_reader();
                self.begin_full(token, Some(cursor));
                if let Some(replica) = self.replication.find(token) {
                    replica.peer.stage = stage;
                }
            } else {
                self.process.log.warning(format_args!("BGSAVE for replication failed"));
                self.reply_error(
                    token,
                    &crate::command::Error::new("ERR BGSAVE failed, replication can't continue"),
                );
                self.net.session(token).flags.close_after_reply = true;
                self.forget_replica(token);
            }
        }
    }

    /// Starts a full resynchronization: sends `FULLRESYNC` for a snapshot of the data up to `cursor`.
    fn begin_full(&mut self, token: Token, cursor: Option<crate::db::Cursor>) {
        let offset = cursor.as_ref().map_or(0, |cursor| self.replication.history.offset(cursor.offset()));
        let id = self.replication.history.id();
        let Some(replica) = self.replication.find(token) else { return };
        replica.cursor = cursor;
        replica.peer.stage = Stage::WaitingForEnd;
        if replica.knows_psync {
            self.net.reply_to(token).simple(&format!("FULLRESYNC {id} {offset}"));
        }
    }

    /// After a snapshot on disk has ended: starts sending the file to the replicas that wait for it.
    pub(super) fn send_snapshot(&mut self, has_succeeded: bool) {
        let waiting: Vec<Token> = self
            .replication
            .replicas
            .iter()
            .filter(|replica| replica.peer.stage == Stage::WaitingForEnd)
            .map(|replica| replica.token)
            .collect();
        let path = self.core.config.dbfilename.as_path().to_path_buf();
        for token in waiting {
            let opened = if has_succeeded {
                File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)))
            } else {
                Err(io::Error::other("the child failed"))
            };
            match opened {
                Ok((len, file)) => {
                    if let Some(replica) = self.replication.find(token) {
                        replica.outgoing = Some(Outgoing::new(file, len));
                        replica.peer.stage = Stage::ReceivingFile;
                    }
                }
                Err(error) => {
                    self.process.log.warning(format_args!(
                        "SYNC failed. Can't send the snapshot to the replica: {}",
                        file::reason(&error)
                    ));
                    self.net.doom(token);
                }
            }
        }
    }

    /// Handles bytes in the pipe from the child, or its end.
    pub(super) fn on_transfer(&mut self) {
        let Some(transfer) = &mut self.replication.transfer else { return };
        match transfer.read() {
            Ok(_) => {}
            Err(error) => {
                self.process
                    .log
                    .warning(format_args!("Diskless rdb transfer, read error: {}", file::reason(&error)));
                transfer.pipe = None;
                transfer.has_succeeded = Some(false);
            }
        }
        self.feed_replicas();
        self.go_on_with_transfer();
    }

    /// Continues to read from the pipe when all replicas have received the last chunk; ends the transfer when
    /// everything was sent and the child has exited.
    pub(super) fn go_on_with_transfer(&mut self) {
        let Some(transfer) = &mut self.replication.transfer else { return };
        if transfer.receivers().next().is_none() {
            self.process
                .log
                .warning(format_args!("Diskless rdb transfer, last replica dropped, killing fork child."));
            // Nobody waits for its exit, in which the kernel frees its copy of the page tables.
            if let Some(job) = self.persistence.job.as_mut().filter(|job| job.work == Work::Transfer) {
                job.kill();
            }
            self.replication.transfer = None;
            return;
        }
        if transfer.pipe.is_none()
            && transfer.is_taken()
            && let Some(succeeded) = transfer.has_succeeded
        {
            let receivers: Vec<Token> = transfer.receivers().collect();
            self.replication.transfer = None;
            self.end_transfer(&receivers, succeeded);
            return;
        }
        self.watch_transfer();
    }

    /// Watches the pipe only while no replica has a chunk left to receive.
    fn watch_transfer(&mut self) {
        let Some(transfer) = &mut self.replication.transfer else { return };
        let wanted = transfer.is_taken();
        if let Some(pipe) = transfer.pipe.as_ref().filter(|_| wanted != transfer.is_watched) {
            let watched = if wanted {
                self.net.poller.add(pipe.as_fd(), Source::Transfer, Interest::READ)
            } else {
                self.net.poller.remove(pipe.as_fd())
            };
            if watched.is_ok() {
                transfer.is_watched = wanted;
            }
        }
    }

    /// Handles the exit of the child that wrote to replicas.
    pub(super) fn transfer_ended(&mut self, has_succeeded: bool) {
        let log = &self.process.log;
        if has_succeeded {
            log.notice(format_args!("Background RDB transfer terminated with success"));
        } else {
            log.warning(format_args!("Background transfer error"));
        }
        if let Some(transfer) = &mut self.replication.transfer {
            transfer.has_succeeded = Some(has_succeeded && transfer.has_succeeded.is_none());
        }
        self.go_on_with_transfer();
    }

    fn end_transfer(&mut self, receivers: &[Token], succeeded: bool) {
        let now_ms = self.core.keyspace.moment.unix_ms;
        for token in receivers {
            if succeeded {
                if let Some(replica) = self.replication.find(*token) {
                    replica.peer.stage =
                        if replica.peer.rdb_only { Stage::HasSnapshot } else { Stage::Loading };
                    replica.peer.acknowledged_ms = now_ms;
                }
                let name = self.replica_name(*token);
                self.process.log.notice(format_args!(
                    "Streamed replica with replica {name} (socket): waiting for REPLCONF ACK from replica to enable streaming"
                ));
            } else {
                self.net.doom(*token);
            }
        }
    }

    /// Logs that a replica has its snapshot.
    pub(super) fn note_synchronized(&mut self, token: Token) {
        self.replication.confirmation.forget_request();
        let name = self.replica_name(token);
        self.process.log.notice(format_args!("Synchronization with replica {name} succeeded"));
    }

    /// Handles an acknowledgement: a replica that has loaded its snapshot goes online, and waits of clients may end.
    pub(super) fn on_acknowledgement(&mut self, token: Token) {
        if let Some(replica) = self.replication.find(token) {
            replica.has_acknowledged = true;
        }
        if let Some(replica) = self.replication.find(token)
            && replica.peer.stage == Stage::Loading
        {
            replica.peer.stage = Stage::Online;
            self.note_synchronized(token);
        }
        if self.gate.confirms() {
            self.replication.confirm();
        }
        self.end_waits_for_replicas();
        if self.counts_replicas() {
            self.refresh_gate();
        }
    }

    /// Logs that a replica has acknowledged `offset` although the stream was sent to it only up to `sent`. Redis counts
    /// such an acknowledgement for `WAIT`.
    pub(super) fn note_overclaim(&self, token: Token, offset: i64, sent: i64) {
        let name = self.replica_name(token);
        self.process.log.warning(format_args!(
            "Replica {name} acknowledges offset {offset}, but has been sent the stream only up to {sent}. Such \
             acknowledgements do not count."
        ));
    }

    /// Notes a Redis 7.0 replica, which cannot read the latest RDB version: it reports no error but just disconnects.
    fn note_old_reader(&mut self, index: usize) {
        let replica = &self.replication.replicas[index];
        let stage = replica.peer.stage;
        let has_snapshot = stage.is_receiving() || matches!(stage, Stage::Loading | Stage::Online);
        if !has_snapshot || replica.has_acknowledged || !replica.knows_psync {
            return;
        }
        let address = replica.address();
        let readers = &mut self.replication.old_readers;
        if !readers.contains(&address) {
            readers.truncate(MAX_OLD_READERS - 1);
            readers.insert(0, address);
        }
    }

    /// Whether a waiting replica may be unable to read the latest RDB version.
    pub(super) fn writes_for_old_reader(&self) -> bool {
        let is_old = |replica: &Replica| self.replication.old_readers.contains(&replica.address());
        self.replication.waiting().any(is_old)
    }

    /// Forgets a replica whose connection is closed.
    pub(super) fn forget_replica(&mut self, token: Token) {
        let Some(index) = self.replication.replicas.iter().position(|replica| replica.token == token) else {
            return;
        };
        self.note_old_reader(index);
        let is_synchronized = self.replication.replicas[index].peer.stage != Stage::Greeting;
        if is_synchronized && self.process.log.is_at(LogLevel::Notice) {
            let name = self.replica_name(token);
            self.process.log.notice(format_args!("Connection with replica {name} lost."));
        }
        let Replica { cursor, .. } = self.replication.replicas.remove(index);
        self.replication.confirmation.forget_request();
        if let Some(cursor) = cursor {
            self.core.keyspace.journal.stream_mut().end_reader(cursor);
        }
        if self.replication.synchronized().next().is_none() {
            self.replication.alone_since_ms = self.core.keyspace.moment.unix_ms;
        }
        if let Some(transfer) = &mut self.replication.transfer {
            transfer.remove(token);
            self.go_on_with_transfer();
        }
        self.refresh_gate();
    }

    /// Called by cron: sends `PING`, checks timeouts, starts waiting snapshots, and ends a backlog that no replica
    /// needs.
    pub(super) fn look_after_replicas(&mut self) {
        self.begin_transfer_if_due();
        self.go_on_with_transfer();
        self.remove_snapshot_for_replicas();
        if self.counts_replicas() {
            self.refresh_gate();
        }
        let now_ms = self.core.keyspace.moment.unix_ms;
        let period_ms = i64::from(self.core.config.repl_ping_replica_period) * 1000;
        let has_replicas = self.replication.synchronized().next().is_some();
        // The offset stays where the replicas are to arrive.
        if has_replicas
            && self.replication.failover.is_none()
            && self.stopping.is_none()
            && !self.audience.pause().is_for(Purpose::ManualFailover)
            && now_ms - self.replication.pinged_ms >= period_ms
        {
            self.replication.pinged_ms = now_ms;
            self.push_to_replicas(&[b"PING"]);
            self.ping_waiting();
        }
        self.drop_silent_replicas(now_ms);
        let ttl_ms = self.core.config.repl_backlog_ttl as i64 * 1000;
        if self.replication.has_backlog
            && self.replication.replicas.is_empty()
            && self.replication.upstream.is_none()
            && ttl_ms > 0
            && now_ms - self.replication.alone_since_ms > ttl_ms
        {
            self.process.log.notice(format_args!(
                "Replication backlog freed after {} seconds without connected replicas.",
                ttl_ms / 1000
            ));
            self.end_backlog();
        }
    }

    /// Keeps replicas that wait for a snapshot from timing out.
    fn ping_waiting(&mut self) {
        for replica in &self.replication.replicas {
            let waits = matches!(replica.peer.stage, Stage::WaitingForStart | Stage::WaitingForEnd);
            if waits
                && let Some(client) = self.net.clients.get_mut(replica.token)
                && let Some(line) = client.line_mut()
                && line.pending.is_none()
                && !self.net.output.has_any(replica.token)
            {
                // A full socket already has bytes that do this.
                line.transport.offer(b"\n");
            }
        }
    }

    fn drop_silent_replicas(&mut self, now_ms: i64) {
        let timeout_ms = i64::from(self.core.config.repl_timeout) * 1000;
        let silent: Vec<(Token, Stage)> = self
            .replication
            .replicas
            .iter()
            .filter(|replica| match replica.peer.stage {
                Stage::Online if replica.knows_psync => now_ms - replica.peer.acknowledged_ms > timeout_ms,
                // While it receives a snapshot, a replica accepts bytes as far as they are available.
                stage if stage.is_receiving() => {
                    self.net
                        .clients
                        .get(replica.token)
                        .is_some_and(|client| now_ms - client.active_ms > timeout_ms)
                        && replica.is_full
                }
                _ => false,
            })
            .map(|replica| (replica.token, replica.peer.stage))
            .collect();
        for (token, stage) in silent {
            let name = self.replica_name(token);
            let why = if stage == Stage::Online { "streaming sync" } else { "full sync" };
            self.process.log.warning(format_args!("Disconnecting timedout replica ({why}): {name}"));
            self.net.doom(token);
        }
    }
}
