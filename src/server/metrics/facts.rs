//! The table of figures: for each figure of `INFO` its type, and the rule for the name of its metric.
//!
//! A value is not computed here but read from the text that `INFO` writes, so the two cannot differ. A metric's name is
//! `redis_` and its field's name, with the unit at the end, as is usual for Prometheus. Names for which redis_exporter
//! deviates are listed, since dashboards and alerts use them. If another unit makes sense, or the figure is Redstart's
//! own, the name begins with `redstart_`. A test checks that no figure of `INFO` is missing.

use super::exposition::{Exposition, Kind};
use crate::text::number;

/// What a figure counts: its type, and the end of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// What goes up and down, without a unit in its name.
    Gauge,
    /// A gauge in bytes: `_bytes`.
    Bytes,
    /// A counter: `_total`.
    Total,
    /// A counter that redis_exporter does not call a total.
    Counter,
    /// A counter of seconds: `_seconds_total`.
    Seconds,
    /// A counter of microseconds: `_usec_total`.
    Micros,
}

use Figure::{Bytes, Counter, Gauge, Micros, Seconds, Total};

/// All figures, in the order of `INFO`: the field, and the help of its metric.
const FIGURES: &[(Figure, &str, &str)] = &[
    (Gauge, "server_time_usec", "The clock of the server, as Unix time."),
    (Gauge, "uptime_in_seconds", "Seconds since the server started."),
    (Gauge, "hz", "How often a second background work is done."),
    (Gauge, "configured_hz", "The directive hz."),
    (Gauge, "lru_clock", "The clock of access times, in its 24 bits."),
    (Gauge, "io_threads_active", "Whether threads for input and output are active."),
    (
        Gauge,
        "shutdown_in_milliseconds",
        "How long a shutdown still waits for replicas, in milliseconds; only while it waits.",
    ),
    (Gauge, "connected_clients", "Clients that are connected."),
    (Gauge, "cluster_connections", "Connections of the cluster's bus."),
    (Gauge, "maxclients", "The directive maxclients."),
    (Bytes, "client_recent_max_input_buffer", "The largest query of a client in the last seconds."),
    (
        Bytes,
        "client_recent_max_output_buffer",
        "The largest queue of replies of a client in the last seconds.",
    ),
    (Gauge, "blocked_clients", "Clients whose command waits."),
    (Gauge, "tracking_clients", "Clients that keep copies of values."),
    (Gauge, "clients_in_timeout_table", "Clients that wait until a deadline."),
    (Gauge, "total_blocking_keys", "Keys that clients wait for."),
    (Gauge, "total_blocking_keys_on_nokey", "Keys of which clients wait for the deletion."),
    (Bytes, "used_memory", "Memory in use."),
    (Bytes, "used_memory_rss", "Memory that the kernel lends the process."),
    (Bytes, "used_memory_peak", "The most memory that was in use."),
    (Gauge, "used_memory_peak_perc", "Memory in use, of its peak."),
    (Bytes, "used_memory_overhead", "Memory in use that is not data."),
    (Bytes, "used_memory_startup", "Memory in use before the first key."),
    (Bytes, "used_memory_dataset", "Memory in use for data."),
    (Gauge, "used_memory_dataset_perc", "Memory in use for data, of what is in use beyond the start."),
    (Bytes, "allocator_allocated", "Memory in use, as the allocators see it."),
    (Bytes, "allocator_active", "Memory of the allocators that has blocks in it."),
    (Bytes, "allocator_resident", "Resident memory of the allocators."),
    (Bytes, "total_system_memory", "Memory of the machine."),
    (Bytes, "used_memory_lua", "Memory of the machine that executes scripts."),
    (Bytes, "used_memory_vm_eval", "Memory of the machine that executes scripts."),
    (Bytes, "used_memory_scripts_eval", "Memory of the scripts that are kept."),
    (Gauge, "number_of_cached_scripts", "Scripts that are kept."),
    (Gauge, "number_of_functions", "Functions."),
    (Gauge, "number_of_libraries", "Libraries of functions."),
    (Bytes, "used_memory_vm_functions", "Memory of the machines that execute functions."),
    (Bytes, "used_memory_vm_total", "Memory of all machines for scripts and functions."),
    (Bytes, "used_memory_functions", "Memory of the libraries of functions."),
    (Bytes, "used_memory_scripts", "Memory of scripts and libraries that are kept."),
    (Gauge, "maxmemory", "The directive maxmemory; 0 is no limit."),
    (Gauge, "allocator_frag_ratio", "Active memory of the allocators to allocated memory."),
    (Gauge, "allocator_frag_bytes", "Active memory of the allocators that is not allocated."),
    (Gauge, "allocator_rss_ratio", "Resident memory of the allocators to active memory."),
    (Gauge, "allocator_rss_bytes", "Resident memory of the allocators that is not active."),
    (Gauge, "rss_overhead_ratio", "Resident memory to that of the allocators."),
    (Gauge, "rss_overhead_bytes", "Resident memory that is not the allocators'."),
    (Gauge, "mem_fragmentation_ratio", "Resident memory to memory in use."),
    (Gauge, "mem_fragmentation_bytes", "Resident memory that is not in use."),
    (Gauge, "mem_not_counted_for_evict", "Memory in use that does not count for maxmemory."),
    (Bytes, "mem_replication_backlog", "Memory of the replication backlog."),
    (Bytes, "mem_total_replication_buffers", "Memory of what waits for replicas."),
    (Gauge, "mem_clients_slaves", "Memory of replicas' connections, in bytes."),
    (Gauge, "mem_clients_normal", "Memory of clients' connections, in bytes."),
    (Bytes, "mem_cluster_links", "Memory of the cluster's connections."),
    (Bytes, "mem_aof_buffer", "Memory of what waits to be written to the log."),
    (
        Gauge,
        "active_defrag_running",
        "The share of the processor that defragmentation may take, in percent; 0 when it rests.",
    ),
    (Gauge, "lazyfree_pending_objects", "Values that wait to be freed in the background."),
    (Counter, "lazyfreed_objects", "Values freed in the background."),
    (Gauge, "loading", "Whether the data is being loaded."),
    (Gauge, "async_loading", "Whether data is being loaded while the old is served."),
    (Bytes, "current_cow_peak", "The most memory copied for the child that works."),
    (Bytes, "current_cow_size", "Memory copied for the child that works."),
    (Gauge, "current_cow_size_age", "Seconds since that was measured."),
    (Gauge, "current_fork_perc", "How much of its work the child has done, in percent."),
    (Gauge, "current_save_keys_processed", "Keys that the child has written."),
    (Gauge, "current_save_keys_total", "Keys that the child has to write."),
    (Gauge, "rdb_changes_since_last_save", "Changes since the last snapshot."),
    (Gauge, "rdb_bgsave_in_progress", "Whether a snapshot is being written."),
    (Gauge, "rdb_last_save_time", "When the last snapshot was written, as Unix time."),
    (Gauge, "rdb_last_bgsave_status", "Whether the last snapshot succeeded."),
    (Gauge, "rdb_last_bgsave_time_sec", "How long the last snapshot took; -1 before the first."),
    (Gauge, "rdb_current_bgsave_time_sec", "How long the snapshot takes so far; -1 when none is written."),
    (Total, "rdb_saves", "Snapshots written."),
    (Bytes, "rdb_last_cow_size", "Memory copied for the last snapshot."),
    (Gauge, "rdb_last_load_keys_expired", "Keys that had expired when the data was loaded."),
    (Gauge, "rdb_last_load_keys_loaded", "Keys loaded with the data."),
    (Gauge, "aof_enabled", "Whether the append-only log is written."),
    (Gauge, "aof_rewrite_in_progress", "Whether the log is being rewritten."),
    (Gauge, "aof_rewrite_scheduled", "Whether a rewrite follows when the child has ended."),
    (Gauge, "aof_last_rewrite_time_sec", "How long the last rewrite took; -1 before the first."),
    (Gauge, "aof_current_rewrite_time_sec", "How long the rewrite takes so far; -1 when there is none."),
    (Gauge, "aof_last_bgrewrite_status", "Whether the last rewrite succeeded."),
    (Total, "aof_rewrites", "Rewrites of the log."),
    (Gauge, "aof_rewrites_consecutive_failures", "Rewrites that have failed since the last that succeeded."),
    (Gauge, "aof_last_write_status", "Whether the last write to the log succeeded."),
    (Bytes, "aof_last_cow_size", "Memory copied for the last rewrite."),
    (Gauge, "module_fork_in_progress", "Whether a module has a child at work."),
    (Gauge, "module_fork_last_cow_size", "Memory copied for a module's last child."),
    (Bytes, "aof_current_size", "Bytes of the log."),
    (Bytes, "aof_base_size", "Bytes of the log after the last rewrite."),
    (Gauge, "aof_pending_rewrite", "Whether a rewrite follows when the child has ended."),
    (Gauge, "aof_buffer_length", "Bytes that wait to be written to the log."),
    (Gauge, "aof_pending_bio_fsync", "Syncs of the log that wait in the background."),
    (Counter, "aof_delayed_fsync", "Writes to the log that had to wait for a sync."),
    (Gauge, "loading_start_time", "When the loading began, as Unix time."),
    (Gauge, "loading_total_bytes", "Bytes of the data that is being loaded."),
    (Gauge, "loading_rdb_used_mem", "Memory in use when the snapshot was written."),
    (Gauge, "loading_loaded_bytes", "Bytes of it that were loaded."),
    (Gauge, "loading_loaded_perc", "How much of it was loaded, in percent."),
    (Gauge, "loading_eta_seconds", "Seconds until it is loaded, by its pace."),
    (Total, "total_connections_received", "Connections accepted."),
    (Total, "total_commands_processed", "Commands executed."),
    (
        Gauge,
        "instantaneous_ops_per_sec",
        "Commands a second, over the last 16 samples of a tenth of a second.",
    ),
    (Total, "total_net_input_bytes", "Bytes received."),
    (Total, "total_net_output_bytes", "Bytes sent."),
    (Total, "total_net_repl_input_bytes", "Bytes received from a master."),
    (Total, "total_net_repl_output_bytes", "Bytes sent to replicas."),
    (Gauge, "instantaneous_input_kbps", "Bytes received a second."),
    (Gauge, "instantaneous_output_kbps", "Bytes sent a second."),
    (Gauge, "instantaneous_input_repl_kbps", "Bytes received from a master a second."),
    (Gauge, "instantaneous_output_repl_kbps", "Bytes sent to replicas a second."),
    (Total, "rejected_connections", "Connections refused."),
    (Total, "sync_full", "Full synchronisations of replicas."),
    (Total, "sync_partial_ok", "Partial synchronisations of replicas."),
    (Total, "sync_partial_err", "Partial synchronisations that were refused."),
    (Total, "expired_keys", "Keys deleted because their time was over."),
    (Total, "expired_subkeys", "Fields of hashes deleted because their time was over."),
    (
        Gauge,
        "expired_stale_perc",
        "Keys with an expiry that are probably due and not deleted yet, in percent.",
    ),
    (Total, "expired_time_cap_reached_count", "Cycles of expiry that ended because their time was used up."),
    (Total, "expire_cycle_cpu_milliseconds", "Time spent in cycles of expiry, in milliseconds."),
    (Total, "evicted_keys", "Keys evicted to keep to maxmemory."),
    (Total, "evicted_clients", "Clients closed to keep to maxmemory-clients."),
    (Total, "evicted_scripts", "Scripts of EVAL that were forgotten for newer ones."),
    (Total, "total_eviction_exceeded_time", "Time for which memory was beyond maxmemory, in milliseconds."),
    (
        Gauge,
        "current_eviction_exceeded_time",
        "Time for which memory has been beyond maxmemory by now, in milliseconds.",
    ),
    (Total, "keyspace_hits", "Lookups that found a key."),
    (Total, "keyspace_misses", "Lookups that found none."),
    (Gauge, "pubsub_channels", "Channels with subscribers."),
    (Gauge, "pubsub_patterns", "Patterns with subscribers."),
    (Gauge, "pubsubshard_channels", "Shard channels with subscribers."),
    (Gauge, "latest_fork_usec", "How long the last fork took."),
    (Total, "total_forks", "Forks."),
    (Gauge, "migrate_cached_sockets", "Connections kept for MIGRATE."),
    (Gauge, "slave_expires_tracked_keys", "Keys with an expiry that a writable replica has to watch."),
    (Total, "active_defrag_hits", "Blocks that defragmentation moved."),
    (Total, "active_defrag_misses", "Blocks that defragmentation left in place."),
    (Total, "active_defrag_key_hits", "Keys of which defragmentation moved blocks."),
    (Total, "active_defrag_key_misses", "Keys that defragmentation left in place."),
    (
        Total,
        "total_active_defrag_time",
        "Time for which memory was fragmented beyond the threshold, in milliseconds.",
    ),
    (Gauge, "current_active_defrag_time", "Time for which it has been by now, in milliseconds."),
    (Gauge, "tracking_total_keys", "Keys remembered for clients that keep copies."),
    (Gauge, "tracking_total_items", "Clients remembered for these keys, all together."),
    (Gauge, "tracking_total_prefixes", "Prefixes of clients that track by broadcast."),
    (
        Counter,
        "unexpected_error_replies",
        "Errors in replies to replicas, masters and the append only file being loaded.",
    ),
    (Counter, "total_error_replies", "Replies that were errors."),
    (Counter, "dump_payload_sanitizations", "Payloads of RESTORE examined deeply."),
    (Counter, "total_reads_processed", "Receives from clients."),
    (Counter, "total_writes_processed", "Sends to clients."),
    (Counter, "io_threaded_reads_processed", "Receives by threads."),
    (Counter, "io_threaded_writes_processed", "Sends by threads."),
    (Total, "client_query_buffer_limit_disconnections", "Clients closed because their query was too large."),
    (
        Total,
        "client_output_buffer_limit_disconnections",
        "Clients closed because they did not take their replies.",
    ),
    (Total, "reply_buffer_shrinks", "Reply buffers made smaller."),
    (Total, "reply_buffer_expands", "Reply buffers made larger."),
    (Total, "eventloop_cycles", "Turns of the event loop."),
    (Micros, "eventloop_duration_sum", "Time spent in them, without waiting, in microseconds."),
    (Micros, "eventloop_duration_cmd_sum", "Time spent in commands, in microseconds."),
    (Gauge, "instantaneous_eventloop_cycles_per_sec", "Turns of the event loop a second."),
    (Gauge, "instantaneous_eventloop_duration_usec", "The mean time of a turn, in microseconds."),
    (Total, "acl_access_denied_auth", "Logins refused."),
    (Total, "acl_access_denied_cmd", "Calls refused for their command."),
    (Total, "acl_access_denied_key", "Calls refused for a key."),
    (Total, "acl_access_denied_channel", "Calls refused for a channel."),
    (Gauge, "master_link_status", "Whether a replica is connected to its primary."),
    (Gauge, "master_last_io_seconds_ago", "Seconds since a replica last heard of its primary."),
    (Gauge, "master_sync_in_progress", "Whether a replica receives or loads a snapshot."),
    (Gauge, "slave_read_repl_offset", "The offset up to which a replica has received the stream."),
    (Gauge, "slave_repl_offset", "The offset up to which a replica has applied the stream."),
    (
        Gauge,
        "master_sync_total_bytes",
        "Bytes of the snapshot that a replica receives; 0 if that is not known.",
    ),
    (Gauge, "master_sync_read_bytes", "Bytes of the snapshot that a replica has received."),
    (Gauge, "master_sync_left_bytes", "Bytes of the snapshot that a replica lacks; -1 if that is not known."),
    (Gauge, "master_sync_perc", "How much of the snapshot a replica has received, in percent."),
    (
        Gauge,
        "master_sync_last_io_seconds_ago",
        "Seconds since a replica last received bytes of the snapshot.",
    ),
    (Gauge, "master_link_down_since_seconds", "For how many seconds a replica has had no connection."),
    (Gauge, "slave_priority", "The directive replica-priority."),
    (Gauge, "slave_read_only", "The directive replica-read-only."),
    (Gauge, "replica_announced", "The directive replica-announced."),
    (Gauge, "connected_slaves", "Replicas that are connected."),
    (
        Gauge,
        "min_slaves_good_slaves",
        "Replicas that count for min-replicas-to-write and min-replicas-to-ack.",
    ),
    (
        Gauge,
        "confirmed_repl_offset",
        "The offset that min-replicas-to-ack replicas have acknowledged; -1: none.",
    ),
    (Gauge, "withheld_replies", "Parts of clients' output that wait for acknowledgements of replicas."),
    (Total, "unconfirmed_replies_dropped", "Those of them that were never sent."),
    (Gauge, "master_repl_offset", "The offset of replication."),
    (Gauge, "second_repl_offset", "Up to which offset the second replication ID is valid."),
    (Gauge, "repl_backlog_active", "Whether there is a replication backlog."),
    (Gauge, "repl_backlog_size", "The directive repl-backlog-size."),
    (Gauge, "repl_backlog_first_byte_offset", "The offset at which the backlog begins."),
    (Gauge, "repl_backlog_histlen", "Bytes in the replication backlog."),
    (Seconds, "used_cpu_sys", "Processor time in the kernel."),
    (Seconds, "used_cpu_user", "Processor time in the program."),
    (Seconds, "used_cpu_sys_children", "Processor time of children in the kernel."),
    (Seconds, "used_cpu_user_children", "Processor time of children in the program."),
    (Seconds, "used_cpu_sys_main_thread", "Processor time of the thread that serves, in the kernel."),
    (Seconds, "used_cpu_user_main_thread", "Processor time of the thread that serves, in the program."),
    (Gauge, "cluster_enabled", "Whether the server is part of a cluster."),
    (Micros, "eventloop_duration_aof_sum", "Time spent in writes to the log, in microseconds."),
    (Micros, "eventloop_duration_cron_sum", "Time spent in background work of the loop, in microseconds."),
    (Gauge, "eventloop_duration_max", "The longest turn of the loop, in microseconds."),
    (Gauge, "eventloop_cmd_per_cycle_max", "The most commands in a turn of the loop."),
];

/// The names that do not follow the rule.
const NAMES: &[(&str, &str)] = &[
    ("server_time_usec", "redstart_server_time_seconds"),
    ("hz", "redstart_hz"),
    ("configured_hz", "redstart_configured_hz"),
    ("lru_clock", "redstart_lru_clock"),
    ("maxclients", "redis_max_clients"),
    ("used_memory_peak_perc", "redstart_memory_used_peak_percentage"),
    ("used_memory_dataset_perc", "redstart_memory_used_dataset_percentage"),
    ("total_system_memory", "redis_total_system_memory_bytes"),
    ("maxmemory", "redis_memory_max_bytes"),
    ("mem_not_counted_for_evict", "redis_mem_not_counted_for_eviction_bytes"),
    ("loading", "redis_loading_dump_file"),
    ("rdb_last_save_time", "redis_rdb_last_save_timestamp_seconds"),
    ("rdb_last_bgsave_time_sec", "redis_rdb_last_bgsave_duration_sec"),
    ("rdb_current_bgsave_time_sec", "redis_rdb_current_bgsave_duration_sec"),
    ("rdb_last_load_keys_expired", "redis_rdb_last_load_expired_keys"),
    ("rdb_last_load_keys_loaded", "redis_rdb_last_load_loaded_keys"),
    ("aof_last_rewrite_time_sec", "redis_aof_last_rewrite_duration_sec"),
    ("aof_current_rewrite_time_sec", "redis_aof_current_rewrite_duration_sec"),
    ("instantaneous_input_kbps", "redstart_instantaneous_input_bytes_per_second"),
    ("instantaneous_output_kbps", "redstart_instantaneous_output_bytes_per_second"),
    ("instantaneous_input_repl_kbps", "redstart_instantaneous_input_repl_bytes_per_second"),
    ("instantaneous_output_repl_kbps", "redstart_instantaneous_output_repl_bytes_per_second"),
    ("sync_full", "redis_replica_resyncs_full"),
    ("sync_partial_ok", "redis_replica_partial_resync_accepted"),
    ("sync_partial_err", "redis_replica_partial_resync_denied"),
    ("expired_stale_perc", "redis_expired_stale_percentage"),
    ("expired_time_cap_reached_count", "redis_expired_time_cap_reached_total"),
    ("expire_cycle_cpu_milliseconds", "redis_expire_cycle_cpu_time_ms_total"),
    ("total_eviction_exceeded_time", "redis_eviction_exceeded_time_ms_total"),
    ("current_eviction_exceeded_time", "redis_current_eviction_exceeded_time_ms"),
    ("latest_fork_usec", "redis_latest_fork_seconds"),
    ("migrate_cached_sockets", "redis_migrate_cached_sockets_total"),
    ("active_defrag_hits", "redis_defrag_hits"),
    ("active_defrag_misses", "redis_defrag_misses"),
    ("active_defrag_key_hits", "redis_defrag_key_hits"),
    ("active_defrag_key_misses", "redis_defrag_key_misses"),
    ("total_active_defrag_time", "redis_active_defrag_time_ms_total"),
    ("current_active_defrag_time", "redis_current_active_defrag_time_ms"),
    ("master_link_status", "redis_master_link_up"),
    ("repl_backlog_active", "redis_repl_backlog_is_active"),
    ("repl_backlog_size", "redis_replication_backlog_bytes"),
    ("repl_backlog_histlen", "redis_repl_backlog_history_bytes"),
    ("eventloop_duration_max", "redis_eventloop_duration_max_usec"),
];

/// The fields whose metrics have the address of the primary as labels, as redis_exporter's have.
const OF_PRIMARY: [&str; 4] =
    ["master_link_status", "master_last_io_seconds_ago", "master_sync_in_progress", "slave_repl_offset"];

/// Beginnings of fields that are otherwise in the names of metrics with a unit.
const BEGINNINGS: [(&str, &str); 3] = [("used_memory", "memory_used"), ("used_cpu", "cpu"), ("total_", "")];

impl Figure {
    /// Sets `name` to that of the metric for `field`.
    fn write_name(self, field: &str, name: &mut String) {
        name.clear();
        if let Some((_, listed)) = NAMES.iter().find(|(of, _)| *of == field) {
            return name.push_str(listed);
        }
        let unit = match self {
            Gauge | Counter => return name.extend(["redis_", field]),
            Bytes => "_bytes",
            Total => "_total",
            Seconds => "_seconds_total",
            Micros => "_usec_total",
        };
        let mut other = BEGINNINGS.iter().filter_map(|(from, to)| Some((*to, field.strip_prefix(from)?)));
        let (begin, rest) = other.next().unwrap_or(("", field));
        name.extend(["redis_", begin, rest, unit]);
    }

    fn kind(self) -> Kind {
        if matches!(self, Gauge | Bytes) { Kind::Gauge } else { Kind::Counter }
    }
}

/// Writes the metrics of all figures in `info`, the text of `INFO`.
pub fn write(out: &mut Exposition<'_>, info: &str) {
    let (mut expected, mut name) = (0, String::new());
    // `INFO` has them before the fields that they are labels of.
    let mut primary = [("master_host", ""), ("master_port", "")];
    for line in info.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        if let Some(label) = primary.iter_mut().find(|(label, _)| *label == field) {
            label.1 = value;
        }
        // The two are in the same order; a field that has no metric leaves the place.
        let (before, after) = FIGURES.split_at(expected);
        let Some(step) = after.iter().chain(before).position(|(_, of, _)| *of == field) else { continue };
        expected = (expected + step) % FIGURES.len();
        let (figure, _, help) = FIGURES[expected];
        figure.write_name(field, &mut name);
        out.family(&name, figure.kind(), help);
        if OF_PRIMARY.contains(&field) {
            out.begin_labelled(&name, "", &primary);
        } else {
            out.begin_sample(&name, "");
        }
        push_value(out, field, &name, value);
        out.end_sample();
        expected += 1;
    }
}

/// Appends a value in the unit of its metric.
fn push_value(out: &mut Exposition<'_>, field: &str, name: &str, value: &str) {
    if field.ends_with("_status") {
        out.push_text(if matches!(value, "ok" | "up") { "1" } else { "0" });
    } else if field.ends_with("_kbps") {
        out.push_f64(number::parse_f64(value.as_bytes()).unwrap_or(0.0) * 1024.0);
    } else if field.ends_with("_usec") && name.ends_with("_seconds") {
        out.push_micros(number::parse_u64(value.as_bytes()).unwrap_or(0));
    } else {
        out.push_text(value.trim_end_matches('%'));
    }
}

/// Fields of `INFO` that are no figures of their own, with the reason.
#[cfg(test)]
pub const NO_FIGURES: [(&str, &str); 2] = [
    (
        "words, which redis_instance_info has as its labels, or which say how the program was built",
        "redis_version server_name redstart_version redis_git_sha1 redis_git_dirty redis_build_id redis_mode os \
         arch_bits monotonic_clock multiplexing_api atomicvar_api gcc_version process_id process_supervised run_id \
         tcp_port executable config_file listener0 listener1 listener2 maxmemory_policy mem_allocator role \
         master_failover_state master_replid master_replid2 master_host master_port",
    ),
    (
        "reported in another unit",
        "uptime_in_days used_memory_human used_memory_rss_human used_memory_peak_human total_system_memory_human \
         used_memory_lua_human used_memory_vm_total_human used_memory_scripts_human maxmemory_human",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_one_name_and_says_what_it_is() {
        let (mut fields, mut names, mut name) = (HashSet::new(), HashSet::new(), String::new());
        for (figure, field, help) in FIGURES {
            figure.write_name(field, &mut name);
            assert!(fields.insert(*field), "{field} is there twice");
            assert!(names.insert(name.clone()), "{name} is there twice");
            assert!(name.starts_with("redis_") || name.starts_with("redstart_"), "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}");
        }
        let listed = NAMES.iter().map(|(field, _)| *field);
        let without = NO_FIGURES.iter().flat_map(|(_, without)| without.split(' '));
        listed.clone().for_each(|field| assert!(fields.contains(field), "{field} is not there"));
        without.for_each(|field| assert!(!fields.contains(field), "{field} has a metric"));
        assert_eq!(listed.collect::<HashSet<_>>().len(), NAMES.len());
    }

    #[test]
    fn no_field_of_info_is_forgotten() {
        let sources = [
            include_str!("../admin/info/mod.rs"),
            include_str!("../admin/info/memory.rs"),
            include_str!("../admin/info/persistence.rs"),
            include_str!("../admin/info/replication.rs"),
            include_str!("../admin/info/stats.rs"),
        ];
        // `"name": value`, one or several in a line.
        let fields = |source: &'static str| {
            source.match_indices("\": ").map(|(end, _)| {
                let begin = source[..end].rfind('"').expect("both ends of a literal");
                &source[begin + 1..end]
            })
        };
        let fields: Vec<&str> = sources.into_iter().flat_map(fields).collect();
        assert!(fields.len() > 200, "{fields:?}");
        let is_told = |field: &str| FIGURES.iter().any(|(_, of, _)| *of == field);
        let has_reason =
            |field: &&str| NO_FIGURES.iter().any(|(_, fields)| fields.split(' ').any(|of| of == *field));
        for field in &fields {
            assert!(is_told(field) || has_reason(field), "{field} has no metric");
        }
        for (_, field, _) in FIGURES {
            assert!(fields.contains(field), "INFO has no {field}");
        }
    }

    #[test]
    fn values_are_those_of_the_text_in_the_units_of_metrics() {
        let mut bytes = Vec::new();
        let info = "# Stats\r\nlatest_fork_usec:1500\r\nused_memory_peak_perc:99.50%\r\nunknown:1\r\n\
                    rdb_last_bgsave_status:err\r\ninstantaneous_input_kbps:0.50\r\nhz:10\r\nlru_clock:7\r\n\
                    master_host:::1\r\nmaster_port:6379\r\nmaster_link_status:up\r\nslave_priority:9\r\n";
        write(&mut Exposition::new(&mut bytes), info);
        let text = String::from_utf8(bytes).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "redis_latest_fork_seconds 0.001500",
                "redstart_memory_used_peak_percentage 99.50",
                "redis_rdb_last_bgsave_status 0",
                "redstart_instantaneous_input_bytes_per_second 512",
                "redstart_hz 10",
                "redstart_lru_clock 7",
                "redis_master_link_up{master_host=\"::1\",master_port=\"6379\"} 1",
                "redis_slave_priority 9",
            ]
        );
        assert!(text.starts_with(
            "# HELP redis_latest_fork_seconds How long the last fork took.\n# TYPE redis_latest_fork_seconds gauge\n"
        ));
    }
}
