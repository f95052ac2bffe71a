//! `INFO replication`: the role, the primary or the replicas, and the backlog.

use std::fmt::Write;

use crate::replication::failover::Failover;
use crate::replication::history::{Id, Kept};
use crate::replication::peer::Stage;
use crate::server::Server;
use crate::server::replication::Replica;
use crate::server::replication::upstream::{Progress, Upstream};

pub(super) fn write(server: &Server, out: &mut String) {
    let replication = &server.replication;
    let config = &server.core.config;
    fields!(out, "role": if replication.upstream.is_some() { "slave" } else { "master" });
    if let Some(upstream) = &replication.upstream {
        write_upstream(server, upstream, out);
    }
    let replicas = ReplicaFigures::all(server);
    fields!(out, "connected_slaves": replicas.len());
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0 || config.min_replicas_to_ack > 0 {
        let now_ms = server.core.keyspace.moment.unix_ms;
        fields!(out, "min_slaves_good_slaves": replication.good(now_ms, config.min_replicas_max_lag));
    }
    if config.min_replicas_to_ack > 0 {
        let confirmation = &replication.confirmation;
        let offset = confirmation.confirmed().map_or(-1, |offset| replication.history.offset(offset));
        fields!(out,
            "confirmed_repl_offset": offset,
            "withheld_replies": confirmation.waiting(),
            "unconfirmed_replies_dropped": confirmation.dropped(),
        );
    }
    for (index, ReplicaFigures { address, port, state, offset, lag_s }) in replicas.iter().enumerate() {
        let _ = write!(
            out,
            "slave{index}:ip={address},port={port},state={state},offset={offset},lag={lag_s}\r\n"
        );
    }
    let history = &replication.history;
    let (second, limit) = history.second().unwrap_or((Id::NONE, -1));
    let stream = server.core.keyspace.journal.stream();
    let kept = history.belonging(Kept { oldest: stream.oldest(), end: stream.settled() });
    // A replica has the bytes of its primary's stream, so there are none before its first synchronization.
    let is_unsynced = |upstream: &Upstream| !upstream.is_online() && upstream.down_since.is_none();
    let is_active = replication.has_backlog
        && (server.replication_offset() > 0 || !replication.upstream.as_ref().is_some_and(is_unsynced));
    let (first, length) =
        if is_active { (history.offset(kept.oldest) + 1, kept.end - kept.oldest) } else { (0, 0) };
    fields!(out,
        "master_failover_state": replication.failover.as_ref().map_or("no-failover", Failover::name),
        "master_replid": history.id(),
        "master_replid2": second,
        "master_repl_offset": server.replication_offset(),
        "second_repl_offset": limit,
        "repl_backlog_active": u8::from(is_active),
        "repl_backlog_size": config.repl_backlog_size,
        "repl_backlog_first_byte_offset": first,
        "repl_backlog_histlen": length,
    );
}

/// A replica, as `INFO`, the metrics and the status page report it.
pub(in crate::server) struct ReplicaFigures {
    /// The address at which clients reach it.
    pub address: String,
    /// See [`ReplicaFigures::address`]; 0: unknown.
    pub port: i64,
    /// The name of its state.
    pub state: &'static str,
    /// The offset that it has acknowledged.
    pub offset: i64,
    /// Seconds since it did.
    pub lag_s: i64,
}

impl ReplicaFigures {
    /// The replicas that have requested synchronization.
    pub(in crate::server) fn all(server: &Server) -> Vec<ReplicaFigures> {
        let now_ms = server.core.keyspace.moment.unix_ms;
        let figures = |replica: &Replica| {
            let (address, port) = replica.address();
            let is_online = replica.peer.stage == Stage::Online;
            let lag_s = if is_online { (now_ms - replica.peer.acknowledged_ms) / 1000 } else { 0 };
            let (state, offset) = (replica.peer.stage.name(), replica.peer.acknowledged);
            ReplicaFigures { address, port, state, offset, lag_s }
        };
        server.replication.synchronized().map(figures).collect()
    }
}

/// A snapshot that is being received or loaded.
pub(in crate::server) struct TransferFigures {
    /// The bytes received.
    pub read: u64,
    /// The bytes of the whole snapshot; `None`: unknown.
    pub total: Option<u64>,
    /// Seconds since the last bytes.
    silent_s: u64,
}

impl TransferFigures {
    /// The share that was received, in percent; 0 if it is unknown.
    pub(in crate::server) fn percent(&self) -> f64 {
        let total = self.total.filter(|total| *total > 0);
        total.map_or(0.0, |total| self.read as f64 / total as f64 * 100.0)
    }
}

/// The link to the primary, as `INFO` and the status page report it.
pub(in crate::server) struct LinkFigures {
    /// Whether the stream is being received.
    pub is_online: bool,
    /// Seconds since the last bytes of the stream or the snapshot; `None`: neither is being received.
    pub silent_s: Option<i64>,
    /// See [`TransferFigures`].
    pub transfer: Option<TransferFigures>,
    /// For how many seconds there has been no stream, if it is known.
    pub down_s: Option<i64>,
}

impl LinkFigures {
    /// The figures of the link to `upstream`.
    pub(in crate::server) fn of(server: &Server, upstream: &Upstream) -> LinkFigures {
        let now_s = server.unix_seconds();
        let is_online = upstream.is_online();
        let monotonic_ms = server.core.clock.monotonic_us() / 1000;
        let transfer = upstream.transfer().map(|(read, total)| {
            let heard_ms = match &upstream.progress {
                Progress::Linking(linking) => linking.link.heard_ms(),
                _ => monotonic_ms,
            };
            TransferFigures { read, total, silent_s: monotonic_ms.saturating_sub(heard_ms) / 1000 }
        });
        let of_stream = is_online.then(|| now_s - upstream.heard_ms / 1000);
        LinkFigures {
            is_online,
            silent_s: of_stream.or(transfer.as_ref().map(|transfer| transfer.silent_s as i64)),
            transfer,
            down_s: upstream.down_since.filter(|_| !is_online).map(|since| now_s - since),
        }
    }
}

fn write_upstream(server: &Server, upstream: &Upstream, out: &mut String) {
    let config = &server.core.config;
    let link = LinkFigures::of(server, upstream);
    fields!(out,
        "master_host": upstream.host,
        "master_port": upstream.port,
        "master_link_status": if link.is_online { "up" } else { "down" },
        "master_last_io_seconds_ago": link.silent_s.filter(|_| link.is_online).unwrap_or(-1),
        "master_sync_in_progress": u8::from(link.transfer.is_some()),
    );
    // As in Redis before the first synchronization of a server that was started as a replica.
    let is_new = upstream.needs_snapshot && !link.is_online;
    let offset = if is_new { 1 } else { server.replication_offset() };
    fields!(out,
        "slave_read_repl_offset": offset,
        "slave_repl_offset": offset,
    );
    if let Some(transfer) = &link.transfer {
        fields!(out,
            "master_sync_total_bytes": transfer.total.unwrap_or(0),
            "master_sync_read_bytes": transfer.read,
            "master_sync_left_bytes": transfer.total.map_or(-1, |total| (total - transfer.read) as i64),
            "master_sync_perc": format_args!("{:.2}", transfer.percent()),
            "master_sync_last_io_seconds_ago": transfer.silent_s,
        );
    }
    if !link.is_online {
        fields!(out, "master_link_down_since_seconds": link.down_s.unwrap_or(-1));
    }
    fields!(out,
        "slave_priority": config.replica_priority,
        "slave_read_only": u8::from(config.replica_read_only),
        "replica_announced": u8::from(config.replica_announced),
    );
}
