//! `INFO`: the counters of the server (`stats`) and of each command (`commandstats`, `latencystats`, `errorstats`).

use std::fmt::Write;

use crate::command::acl::Reason;
use crate::command::table;
use crate::config::Percentiles;
use crate::server::Server;
use crate::sys::clock;

/// Totals and rates.
pub(super) fn stats(server: &Server, out: &mut String) {
    let stats = &server.core.stats;
    let threads = &server.net.threads;
    let tracked = server.audience.trackers.totals();
    let keys = &server.core.keyspace.counters;
    let (cycles, rate) = (&stats.cycles, stats.tick_rate());
    let subscribed = server.audience.subscribers.totals();
    let (exceeded_us, exceeded_before_us) = server.core.limit.exceeded_us(clock::monotonic_us());
    let (defrag_us, defrag_total_us) = server.defrag.times_us(clock::monotonic_us());
    let kbps = |rate: u64| format!("{:.2}", rate as f64 / 1024.0);
    fields!(out,
        "total_connections_received": stats.connections,
        "total_commands_processed": stats.commands,
        "instantaneous_ops_per_sec": stats.command_rate.mean(),
        "total_net_input_bytes": stats.net_input_bytes,
        "total_net_output_bytes": stats.net_output_bytes,
        "total_net_repl_input_bytes": stats.repl_input_bytes,
        "total_net_repl_output_bytes": stats.repl_output_bytes,
        "instantaneous_input_kbps": kbps(stats.input_rate.mean()),
        "instantaneous_output_kbps": kbps(stats.output_rate.mean()),
        "instantaneous_input_repl_kbps": kbps(stats.repl_input_rate.mean()),
        "instantaneous_output_repl_kbps": kbps(stats.repl_output_rate.mean()),
        "rejected_connections": stats.rejected_connections,
        "sync_full": server.replication.full_syncs,
        "sync_partial_ok": server.replication.partial_syncs,
        "sync_partial_err": server.replication.refused_partial_syncs,
        "expired_keys": keys.expired,
        "expired_subkeys": keys.expired_fields,
        "expired_stale_perc": format_args!("{:.2}", keys.expired_stale_percent),
        "expired_time_cap_reached_count": keys.expire_cycles_cut_short,
        "expire_cycle_cpu_milliseconds": keys.expire_cycle_us / 1000,
        "evicted_keys": keys.evicted,
        "evicted_clients": stats.evicted_clients,
        "evicted_scripts": server.scripts.cache.evicted,
        "total_eviction_exceeded_time": (exceeded_us + exceeded_before_us) / 1000,
        "current_eviction_exceeded_time": exceeded_us / 1000,
        "keyspace_hits": keys.hits,
        "keyspace_misses": keys.misses,
        "pubsub_channels": subscribed.channels,
        "pubsub_patterns": subscribed.patterns,
        "pubsubshard_channels": subscribed.shards,
        "latest_fork_usec": server.persistence.last_fork_us,
        "total_forks": server.persistence.forks,
        "migrate_cached_sockets": server.replication.migrations.connections(),
        "slave_expires_tracked_keys": server.core.keyspace.own_expiries.len(),
        "active_defrag_hits": keys.moved_blocks,
        "active_defrag_misses": keys.blocks_left_in_place,
        "active_defrag_key_hits": keys.defragmented_keys,
        "active_defrag_key_misses": keys.keys_left_in_place,
        "total_active_defrag_time": defrag_total_us / 1000,
        "current_active_defrag_time": defrag_us / 1000,
        "tracking_total_keys": tracked.keys,
        "tracking_total_items": tracked.items,
        "tracking_total_prefixes": tracked.prefixes,
        "unexpected_error_replies": stats.unexpected_error_replies,
        "total_error_replies": stats.error_replies,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.reads + threads.reads(),
        "total_writes_processed": stats.writes + threads.writes(),
        "io_threaded_reads_processed": threads.reads(),
        "io_threaded_writes_processed": threads.writes(),
        "client_query_buffer_limit_disconnections": stats.query_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.output_limit_disconnections,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
        "eventloop_cycles": cycles.count,
        "eventloop_duration_sum": cycles.total_us(rate),
        "eventloop_duration_cmd_sum": stats.command_us(),
        "instantaneous_eventloop_cycles_per_sec": stats.cycle_rate.mean(),
        "instantaneous_eventloop_duration_usec": stats.cycle_us.mean(),
        "acl_access_denied_auth": server.core.acl_log.count(Reason::Auth),
        "acl_access_denied_cmd": server.core.acl_log.count(Reason::Command),
        "acl_access_denied_key": server.core.acl_log.count(Reason::Key),
        "acl_access_denied_channel": server.core.acl_log.count(Reason::Channel),
    );
}

/// Calls, time and rejections of each command that was called.
pub(super) fn commands(server: &Server, out: &mut String) {
    for (command, row) in table::all().iter().zip(server.core.stats.per_command()) {
        if row.calls == 0 && row.rejected == 0 && row.failed == 0 {
            continue;
        }
        let us = row.microseconds(server.core.stats.tick_rate());
        let per_call = if row.calls == 0 { 0.0 } else { us as f64 / row.calls as f64 };
        let _ = write!(
            out,
            "cmdstat_{}:calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            command.full_name, row.calls, row.rejected, row.failed
        );
    }
}

/// Error replies by their code.
pub(super) fn errors(server: &Server, out: &mut String) {
    for (code, count) in server.core.stats.errors() {
        let _ = write!(out, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(code));
    }
}

/// Percentiles of each command's latency.
pub(super) fn latencies(server: &Server, out: &mut String) {
    for (command, row) in table::all().iter().zip(server.core.stats.per_command()) {
        let Some(latency) = &row.latency else { continue };
        let _ = write!(out, "latency_percentiles_usec_{}:", command.full_name);
        for (i, percent) in server.core.config.latency_tracking_info_percentiles.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let name = Percentiles::name(*percent);
            let _ = write!(out, "{comma}p{name}={:.3}", latency.percentile(*percent) as f64 / 1000.0);
        }
        out.push_str("\r\n");
    }
}

/// The longest durations of the loop: shown only if the section is named.
pub(super) fn debug(server: &Server, out: &mut String) {
    let (cycles, rate) = (&server.core.stats.cycles, server.core.stats.tick_rate());
    fields!(out,
        "eventloop_duration_aof_sum": 0,
        "eventloop_duration_cron_sum": cycles.cron_us,
        "eventloop_duration_max": cycles.longest_us(rate),
        "eventloop_cmd_per_cycle_max": cycles.most_commands,
    );
}
