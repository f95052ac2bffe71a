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
    let synchronized: Vec<&Replica> = replication.synchronized().collect();
    fields!(out, "connected_slaves": synchronized.len());
    let now_ms = server.core.keyspace.moment.unix_ms;
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0 {
        fields!(out, "min_slaves_good_slaves": replication.good(now_ms, config.min_replicas_max_lag));
    }
    for (index, replica) in synchronized.into_iter().enumerate() {
        write_replica(index, replica, now_ms, out);
    }
    let history = &replication.history;
    let (second, limit) = history.second().unwrap_or((Id::NONE, -1));
    let stream = server.core.keyspace.journal.stream();
    let kept = history.belonging(Kept { oldest: stream.oldest(), end: stream.settled() });
    let (first, length) = if replication.has_backlog {
        (history.offset(kept.oldest) + 1, kept.end - kept.oldest)
    } else {
        (0, 0)
    };
    fields!(out,
        "master_failover_state": replication.failover.as_ref().map_or("no-failover", Failover::name),
        "master_replid": history.id(),
        "master_replid2": second,
        "master_repl_offset": server.replication_offset(),
        "second_repl_offset": limit,
        "repl_backlog_active": u8::from(replication.has_backlog),
        "repl_backlog_size": config.repl_backlog_size,
        "repl_backlog_first_byte_offset": first,
        "repl_backlog_histlen": length,
    );
}

fn write_upstream(server: &Server, upstream: &Upstream, out: &mut String) {
    let config = &server.core.config;
    let now_s = server.unix_seconds();
    let is_online = upstream.is_online();
    let heard = if is_online { now_s - upstream.heard_ms / 1000 } else { -1 };
    let transfer = upstream.transfer();
    fields!(out,
        "master_host": upstream.host,
        "master_port": upstream.port,
        "master_link_status": if is_online { "up" } else { "down" },
        "master_last_io_seconds_ago": heard,
        "master_sync_in_progress": u8::from(transfer.is_some()),
    );
    let offset = server.replication_offset();
    fields!(out,
        "slave_read_repl_offset": offset,
        "slave_repl_offset": offset,
    );
    if let Some((read, total)) = transfer {
        let total_bytes = total.map_or(0, |total| total as i64);
        let left = total.map_or(-1, |total| (total - read) as i64);
        let percent =
            total.filter(|total| *total > 0).map_or(0.0, |total| read as f64 / total as f64 * 100.0);
        let heard_ms = match &upstream.progress {
            Progress::Linking(linking) => linking.link.heard_ms(),
            _ => server.core.clock.monotonic_us() / 1000,
        };
        let silent = (server.core.clock.monotonic_us() / 1000).saturating_sub(heard_ms) / 1000;
        fields!(out,
            "master_sync_total_bytes": total_bytes,
            "master_sync_read_bytes": read,
            "master_sync_left_bytes": left,
            "master_sync_perc": format_args!("{percent:.2}"),
            "master_sync_last_io_seconds_ago": silent,
        );
    }
    if !is_online {
        let down = upstream.down_since.map_or(-1, |since| now_s - since);
        fields!(out, "master_link_down_since_seconds": down);
    }
    fields!(out,
        "slave_priority": config.replica_priority,
        "slave_read_only": u8::from(config.replica_read_only),
        "replica_announced": u8::from(config.replica_announced),
    );
}

fn write_replica(index: usize, replica: &Replica, now_ms: i64, out: &mut String) {
    let (address, port) = replica.address();
    let lag =
        if replica.peer.stage == Stage::Online { (now_ms - replica.peer.acknowledged_ms) / 1000 } else { 0 };
    let _ = write!(
        out,
        "slave{index}:ip={address},port={port},state={},offset={},lag={lag}\r\n",
        replica.peer.stage.name(),
        replica.peer.acknowledged,
    );
}
