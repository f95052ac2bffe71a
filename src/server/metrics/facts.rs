//! The table of figures: for each figure of `INFO` the metric that tells it.
//!
//! A value is not computed here but taken from the text that `INFO` writes, so the two cannot differ. The names are those
//! under which redis_exporter tells these figures, since dashboards and alerts know them; one that it leaves out is called
//! as its field is, by the same rule. Where another unit makes sense, and where the figure is Redstart's own, the name
//! begins with `redstart_`. A test holds that no figure of `INFO` is missing.

use super::exposition::{Exposition, Kind};
use crate::text::number;

/// What is done to the text of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Nothing.
    AsIs,
    /// Millionths of a second become seconds.
    Micros,
    /// Kibibytes become bytes.
    Kibi,
    /// The sign is left out.
    Percent,
    /// `ok` becomes 1, anything else 0.
    Status,
}

/// A figure.
pub struct Fact {
    /// The field of `INFO`.
    field: &'static str,
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
}

impl Fact {
    const fn of(self, unit: Unit) -> Fact {
        Fact { unit, ..self }
    }
}

const fn gauge(field: &'static str, name: &'static str, help: &'static str) -> Fact {
    Fact { field, name, kind: Kind::Gauge, unit: Unit::AsIs, help }
}

const fn counter(field: &'static str, name: &'static str, help: &'static str) -> Fact {
    Fact { field, name, kind: Kind::Counter, unit: Unit::AsIs, help }
}

use Unit::{Kibi, Micros, Percent, Status};

/// All figures, in the order in which `INFO` has them.
pub const FACTS: &[Fact] = &[
    gauge("server_time_usec", "redstart_server_time_seconds", "The clock of the server, as Unix time.")
        .of(Micros),
    gauge("uptime_in_seconds", "redis_uptime_in_seconds", "Seconds since the server started."),
    gauge("hz", "redstart_hz", "How often a second background work is done."),
    gauge("configured_hz", "redstart_configured_hz", "The directive hz."),
    gauge("lru_clock", "redstart_lru_clock", "The clock of access times, in its 24 bits."),
    gauge("io_threads_active", "redis_io_threads_active", "Whether threads for input and output are active."),
    gauge("connected_clients", "redis_connected_clients", "Clients that are connected."),
    gauge("cluster_connections", "redis_cluster_connections", "Connections of the cluster's bus."),
    gauge("maxclients", "redis_max_clients", "The directive maxclients."),
    gauge(
        "client_recent_max_input_buffer",
        "redis_client_recent_max_input_buffer_bytes",
        "The largest query of a client in the last seconds.",
    ),
    gauge(
        "client_recent_max_output_buffer",
        "redis_client_recent_max_output_buffer_bytes",
        "The largest queue of replies of a client in the last seconds.",
    ),
    gauge("blocked_clients", "redis_blocked_clients", "Clients whose command waits."),
    gauge("tracking_clients", "redis_tracking_clients", "Clients that keep copies of values."),
    gauge(
        "clients_in_timeout_table",
        "redis_clients_in_timeout_table",
        "Clients that wait until a deadline.",
    ),
    gauge("total_blocking_keys", "redis_total_blocking_keys", "Keys that clients wait for."),
    gauge(
        "total_blocking_keys_on_nokey",
        "redis_total_blocking_keys_on_nokey",
        "Keys of which clients wait for the deletion.",
    ),
    gauge("used_memory", "redis_memory_used_bytes", "Memory in use."),
    gauge("used_memory_rss", "redis_memory_used_rss_bytes", "Memory that the kernel lends the process."),
    gauge("used_memory_peak", "redis_memory_used_peak_bytes", "The most memory that was in use."),
    gauge("used_memory_peak_perc", "redstart_memory_used_peak_percentage", "Memory in use, of its peak.")
        .of(Percent),
    gauge("used_memory_overhead", "redis_memory_used_overhead_bytes", "Memory in use that is not data."),
    gauge("used_memory_startup", "redis_memory_used_startup_bytes", "Memory in use before the first key."),
    gauge("used_memory_dataset", "redis_memory_used_dataset_bytes", "Memory in use for data."),
    gauge(
        "used_memory_dataset_perc",
        "redstart_memory_used_dataset_percentage",
        "Memory in use for data, of what is in use beyond the start.",
    )
    .of(Percent),
    gauge(
        "allocator_allocated",
        "redis_allocator_allocated_bytes",
        "Memory in use, as the allocators see it.",
    ),
    gauge(
        "allocator_active",
        "redis_allocator_active_bytes",
        "Memory of the allocators that has blocks in it.",
    ),
    gauge("allocator_resident", "redis_allocator_resident_bytes", "Resident memory of the allocators."),
    gauge("total_system_memory", "redis_total_system_memory_bytes", "Memory of the machine."),
    gauge("used_memory_lua", "redis_memory_used_lua_bytes", "Memory of the machine that executes scripts."),
    gauge(
        "used_memory_vm_eval",
        "redis_memory_used_vm_eval_bytes",
        "Memory of the machine that executes scripts.",
    ),
    gauge(
        "used_memory_scripts_eval",
        "redis_memory_used_scripts_eval_bytes",
        "Memory of the scripts that are kept.",
    ),
    gauge("number_of_cached_scripts", "redis_number_of_cached_scripts", "Scripts that are kept."),
    gauge("number_of_functions", "redis_number_of_functions", "Functions."),
    gauge("number_of_libraries", "redis_number_of_libraries", "Libraries of functions."),
    gauge(
        "used_memory_vm_functions",
        "redis_memory_used_vm_functions_bytes",
        "Memory of the machines that execute functions.",
    ),
    gauge(
        "used_memory_vm_total",
        "redis_memory_used_vm_total_bytes",
        "Memory of all machines for scripts and functions.",
    ),
    gauge(
        "used_memory_functions",
        "redis_memory_used_functions_bytes",
        "Memory of the libraries of functions.",
    ),
    gauge(
        "used_memory_scripts",
        "redis_memory_used_scripts_bytes",
        "Memory of scripts and libraries that are kept.",
    ),
    gauge("maxmemory", "redis_memory_max_bytes", "The directive maxmemory; 0 is no limit."),
    gauge(
        "allocator_frag_ratio",
        "redis_allocator_frag_ratio",
        "Active memory of the allocators to allocated memory.",
    ),
    gauge(
        "allocator_frag_bytes",
        "redis_allocator_frag_bytes",
        "Active memory of the allocators that is not allocated.",
    ),
    gauge(
        "allocator_rss_ratio",
        "redis_allocator_rss_ratio",
        "Resident memory of the allocators to active memory.",
    ),
    gauge(
        "allocator_rss_bytes",
        "redis_allocator_rss_bytes",
        "Resident memory of the allocators that is not active.",
    ),
    gauge("rss_overhead_ratio", "redis_rss_overhead_ratio", "Resident memory to that of the allocators."),
    gauge("rss_overhead_bytes", "redis_rss_overhead_bytes", "Resident memory that is not the allocators'."),
    gauge("mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", "Resident memory to memory in use."),
    gauge("mem_fragmentation_bytes", "redis_mem_fragmentation_bytes", "Resident memory that is not in use."),
    gauge(
        "mem_not_counted_for_evict",
        "redis_mem_not_counted_for_eviction_bytes",
        "Memory in use that does not count for maxmemory.",
    ),
    gauge(
        "mem_replication_backlog",
        "redis_mem_replication_backlog_bytes",
        "Memory of the replication backlog.",
    ),
    gauge(
        "mem_total_replication_buffers",
        "redis_mem_total_replication_buffers_bytes",
        "Memory of what waits for replicas.",
    ),
    gauge("mem_clients_slaves", "redis_mem_clients_slaves", "Memory of replicas' connections, in bytes."),
    gauge("mem_clients_normal", "redis_mem_clients_normal", "Memory of clients' connections, in bytes."),
    gauge("mem_cluster_links", "redis_mem_cluster_links_bytes", "Memory of the cluster's connections."),
    gauge("mem_aof_buffer", "redis_mem_aof_buffer_bytes", "Memory of what waits to be written to the log."),
    gauge(
        "active_defrag_running",
        "redis_active_defrag_running",
        "The share of the processor that defragmentation may take, in percent; 0 when it rests.",
    ),
    gauge(
        "lazyfree_pending_objects",
        "redis_lazyfree_pending_objects",
        "Values that wait to be freed in the background.",
    ),
    counter("lazyfreed_objects", "redis_lazyfreed_objects", "Values freed in the background."),
    gauge("loading", "redis_loading_dump_file", "Whether the data is being loaded."),
    gauge("async_loading", "redis_async_loading", "Whether data is being loaded while the old is served."),
    gauge(
        "current_cow_peak",
        "redis_current_cow_peak_bytes",
        "The most memory copied for the child that works.",
    ),
    gauge("current_cow_size", "redis_current_cow_size_bytes", "Memory copied for the child that works."),
    gauge("current_cow_size_age", "redis_current_cow_size_age", "Seconds since that was measured."),
    gauge(
        "current_fork_perc",
        "redis_current_fork_perc",
        "How much of its work the child has done, in percent.",
    ),
    gauge(
        "current_save_keys_processed",
        "redis_current_save_keys_processed",
        "Keys that the child has written.",
    ),
    gauge("current_save_keys_total", "redis_current_save_keys_total", "Keys that the child has to write."),
    gauge(
        "rdb_changes_since_last_save",
        "redis_rdb_changes_since_last_save",
        "Changes since the last snapshot.",
    ),
    gauge("rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", "Whether a snapshot is being written."),
    gauge(
        "rdb_last_save_time",
        "redis_rdb_last_save_timestamp_seconds",
        "When the last snapshot was written, as Unix time.",
    ),
    gauge("rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", "Whether the last snapshot succeeded.")
        .of(Status),
    gauge(
        "rdb_last_bgsave_time_sec",
        "redis_rdb_last_bgsave_duration_sec",
        "How long the last snapshot took; -1 before the first.",
    ),
    gauge(
        "rdb_current_bgsave_time_sec",
        "redis_rdb_current_bgsave_duration_sec",
        "How long the snapshot takes so far; -1 when none is written.",
    ),
    counter("rdb_saves", "redis_rdb_saves_total", "Snapshots written."),
    gauge("rdb_last_cow_size", "redis_rdb_last_cow_size_bytes", "Memory copied for the last snapshot."),
    gauge(
        "rdb_last_load_keys_expired",
        "redis_rdb_last_load_expired_keys",
        "Keys that had expired when the data was loaded.",
    ),
    gauge("rdb_last_load_keys_loaded", "redis_rdb_last_load_loaded_keys", "Keys loaded with the data."),
    gauge("aof_enabled", "redis_aof_enabled", "Whether the append-only log is written."),
    gauge("aof_rewrite_in_progress", "redis_aof_rewrite_in_progress", "Whether the log is being rewritten."),
    gauge(
        "aof_rewrite_scheduled",
        "redis_aof_rewrite_scheduled",
        "Whether a rewrite follows when the child has ended.",
    ),
    gauge(
        "aof_last_rewrite_time_sec",
        "redis_aof_last_rewrite_duration_sec",
        "How long the last rewrite took; -1 before the first.",
    ),
    gauge(
        "aof_current_rewrite_time_sec",
        "redis_aof_current_rewrite_duration_sec",
        "How long the rewrite takes so far; -1 when there is none.",
    ),
    gauge(
        "aof_last_bgrewrite_status",
        "redis_aof_last_bgrewrite_status",
        "Whether the last rewrite succeeded.",
    )
    .of(Status),
    counter("aof_rewrites", "redis_aof_rewrites_total", "Rewrites of the log."),
    gauge(
        "aof_rewrites_consecutive_failures",
        "redis_aof_rewrites_consecutive_failures",
        "Rewrites that have failed since the last that succeeded.",
    ),
    gauge(
        "aof_last_write_status",
        "redis_aof_last_write_status",
        "Whether the last write to the log succeeded.",
    )
    .of(Status),
    gauge("aof_last_cow_size", "redis_aof_last_cow_size_bytes", "Memory copied for the last rewrite."),
    gauge(
        "module_fork_in_progress",
        "redis_module_fork_in_progress",
        "Whether a module has a child at work.",
    ),
    gauge(
        "module_fork_last_cow_size",
        "redis_module_fork_last_cow_size",
        "Memory copied for a module's last child.",
    ),
    gauge("aof_current_size", "redis_aof_current_size_bytes", "Bytes of the log."),
    gauge("aof_base_size", "redis_aof_base_size_bytes", "Bytes of the log after the last rewrite."),
    gauge(
        "aof_pending_rewrite",
        "redis_aof_pending_rewrite",
        "Whether a rewrite follows when the child has ended.",
    ),
    gauge("aof_buffer_length", "redis_aof_buffer_length", "Bytes that wait to be written to the log."),
    gauge(
        "aof_pending_bio_fsync",
        "redis_aof_pending_bio_fsync",
        "Syncs of the log that wait in the background.",
    ),
    counter("aof_delayed_fsync", "redis_aof_delayed_fsync", "Writes to the log that had to wait for a sync."),
    gauge("loading_start_time", "redis_loading_start_time", "When the loading began, as Unix time."),
    gauge("loading_total_bytes", "redis_loading_total_bytes", "Bytes of the data that is being loaded."),
    gauge(
        "loading_rdb_used_mem",
        "redis_loading_rdb_used_mem",
        "Memory in use when the snapshot was written.",
    ),
    gauge("loading_loaded_bytes", "redis_loading_loaded_bytes", "Bytes of it that were loaded."),
    gauge("loading_loaded_perc", "redis_loading_loaded_perc", "How much of it was loaded, in percent."),
    gauge("loading_eta_seconds", "redis_loading_eta_seconds", "Seconds until it is loaded, by its pace."),
    counter("total_connections_received", "redis_connections_received_total", "Connections accepted."),
    counter("total_commands_processed", "redis_commands_processed_total", "Commands executed."),
    gauge(
        "instantaneous_ops_per_sec",
        "redis_instantaneous_ops_per_sec",
        "Commands a second, over the last 16 samples of a tenth of a second.",
    ),
    counter("total_net_input_bytes", "redis_net_input_bytes_total", "Bytes received."),
    counter("total_net_output_bytes", "redis_net_output_bytes_total", "Bytes sent."),
    counter(
        "total_net_repl_input_bytes",
        "redis_net_repl_input_bytes_total",
        "Bytes received from a master.",
    ),
    counter("total_net_repl_output_bytes", "redis_net_repl_output_bytes_total", "Bytes sent to replicas."),
    gauge(
        "instantaneous_input_kbps",
        "redstart_instantaneous_input_bytes_per_second",
        "Bytes received a second.",
    )
    .of(Kibi),
    gauge(
        "instantaneous_output_kbps",
        "redstart_instantaneous_output_bytes_per_second",
        "Bytes sent a second.",
    )
    .of(Kibi),
    gauge(
        "instantaneous_input_repl_kbps",
        "redstart_instantaneous_input_repl_bytes_per_second",
        "Bytes received from a master a second.",
    )
    .of(Kibi),
    gauge(
        "instantaneous_output_repl_kbps",
        "redstart_instantaneous_output_repl_bytes_per_second",
        "Bytes sent to replicas a second.",
    )
    .of(Kibi),
    counter("rejected_connections", "redis_rejected_connections_total", "Connections refused."),
    counter("sync_full", "redis_replica_resyncs_full", "Full synchronisations of replicas."),
    counter(
        "sync_partial_ok",
        "redis_replica_partial_resync_accepted",
        "Partial synchronisations of replicas.",
    ),
    counter(
        "sync_partial_err",
        "redis_replica_partial_resync_denied",
        "Partial synchronisations that were refused.",
    ),
    counter("expired_keys", "redis_expired_keys_total", "Keys deleted because their time was over."),
    counter(
        "expired_subkeys",
        "redis_expired_subkeys_total",
        "Fields of hashes deleted because their time was over.",
    ),
    gauge(
        "expired_stale_perc",
        "redis_expired_stale_percentage",
        "Keys with an expiry that are probably due and not deleted yet, in percent.",
    ),
    counter(
        "expired_time_cap_reached_count",
        "redis_expired_time_cap_reached_total",
        "Cycles of expiry that ended because their time was used up.",
    ),
    counter(
        "expire_cycle_cpu_milliseconds",
        "redis_expire_cycle_cpu_time_ms_total",
        "Time spent in cycles of expiry, in milliseconds.",
    ),
    counter("evicted_keys", "redis_evicted_keys_total", "Keys evicted to keep to maxmemory."),
    counter("evicted_clients", "redis_evicted_clients_total", "Clients closed to keep to maxmemory-clients."),
    counter(
        "evicted_scripts",
        "redis_evicted_scripts_total",
        "Scripts of EVAL that were forgotten for newer ones.",
    ),
    counter(
        "total_eviction_exceeded_time",
        "redis_eviction_exceeded_time_ms_total",
        "Time for which memory was beyond maxmemory, in milliseconds.",
    ),
    gauge(
        "current_eviction_exceeded_time",
        "redis_current_eviction_exceeded_time_ms",
        "Time for which memory has been beyond maxmemory by now, in milliseconds.",
    ),
    counter("keyspace_hits", "redis_keyspace_hits_total", "Lookups that found a key."),
    counter("keyspace_misses", "redis_keyspace_misses_total", "Lookups that found none."),
    gauge("pubsub_channels", "redis_pubsub_channels", "Channels with subscribers."),
    gauge("pubsub_patterns", "redis_pubsub_patterns", "Patterns with subscribers."),
    gauge("pubsubshard_channels", "redis_pubsubshard_channels", "Shard channels with subscribers."),
    gauge("latest_fork_usec", "redis_latest_fork_seconds", "How long the last fork took.").of(Micros),
    counter("total_forks", "redis_forks_total", "Forks."),
    gauge("migrate_cached_sockets", "redis_migrate_cached_sockets_total", "Connections kept for MIGRATE."),
    gauge(
        "slave_expires_tracked_keys",
        "redis_slave_expires_tracked_keys",
        "Keys with an expiry that a writable replica has to watch.",
    ),
    counter("active_defrag_hits", "redis_defrag_hits", "Blocks that defragmentation moved."),
    counter("active_defrag_misses", "redis_defrag_misses", "Blocks that defragmentation left in place."),
    counter("active_defrag_key_hits", "redis_defrag_key_hits", "Keys of which defragmentation moved blocks."),
    counter(
        "active_defrag_key_misses",
        "redis_defrag_key_misses",
        "Keys that defragmentation left in place.",
    ),
    counter(
        "total_active_defrag_time",
        "redis_active_defrag_time_ms_total",
        "Time for which memory was fragmented beyond the threshold, in milliseconds.",
    ),
    gauge(
        "current_active_defrag_time",
        "redis_current_active_defrag_time_ms",
        "Time for which it has been by now, in milliseconds.",
    ),
    gauge(
        "tracking_total_keys",
        "redis_tracking_total_keys",
        "Keys remembered for clients that keep copies.",
    ),
    gauge(
        "tracking_total_items",
        "redis_tracking_total_items",
        "Clients remembered for these keys, all together.",
    ),
    gauge(
        "tracking_total_prefixes",
        "redis_tracking_total_prefixes",
        "Prefixes of clients that track by broadcast.",
    ),
    counter(
        "unexpected_error_replies",
        "redis_unexpected_error_replies",
        "Errors in replies to replicas, masters and the append only file being loaded.",
    ),
    counter("total_error_replies", "redis_total_error_replies", "Replies that were errors."),
    counter(
        "dump_payload_sanitizations",
        "redis_dump_payload_sanitizations",
        "Payloads of RESTORE examined deeply.",
    ),
    counter("total_reads_processed", "redis_total_reads_processed", "Receives from clients."),
    counter("total_writes_processed", "redis_total_writes_processed", "Sends to clients."),
    counter("io_threaded_reads_processed", "redis_io_threaded_reads_processed", "Receives by threads."),
    counter("io_threaded_writes_processed", "redis_io_threaded_writes_processed", "Sends by threads."),
    counter(
        "client_query_buffer_limit_disconnections",
        "redis_client_query_buffer_limit_disconnections_total",
        "Clients closed because their query was too large.",
    ),
    counter(
        "client_output_buffer_limit_disconnections",
        "redis_client_output_buffer_limit_disconnections_total",
        "Clients closed because they did not take their replies.",
    ),
    counter("reply_buffer_shrinks", "redis_reply_buffer_shrinks_total", "Reply buffers made smaller."),
    counter("reply_buffer_expands", "redis_reply_buffer_expands_total", "Reply buffers made larger."),
    counter("eventloop_cycles", "redis_eventloop_cycles_total", "Turns of the event loop."),
    counter(
        "eventloop_duration_sum",
        "redis_eventloop_duration_sum_usec_total",
        "Time spent in them, without waiting, in microseconds.",
    ),
    counter(
        "eventloop_duration_cmd_sum",
        "redis_eventloop_duration_cmd_sum_usec_total",
        "Time spent in commands, in microseconds.",
    ),
    gauge(
        "instantaneous_eventloop_cycles_per_sec",
        "redis_instantaneous_eventloop_cycles_per_sec",
        "Turns of the event loop a second.",
    ),
    gauge(
        "instantaneous_eventloop_duration_usec",
        "redis_instantaneous_eventloop_duration_usec",
        "The mean time of a turn, in microseconds.",
    ),
    counter("acl_access_denied_auth", "redis_acl_access_denied_auth_total", "Logins refused."),
    counter("acl_access_denied_cmd", "redis_acl_access_denied_cmd_total", "Calls refused for their command."),
    counter("acl_access_denied_key", "redis_acl_access_denied_key_total", "Calls refused for a key."),
    counter(
        "acl_access_denied_channel",
        "redis_acl_access_denied_channel_total",
        "Calls refused for a channel.",
    ),
    gauge("connected_slaves", "redis_connected_slaves", "Replicas that are connected."),
    gauge(
        "min_slaves_good_slaves",
        "redis_min_slaves_good_slaves",
        "Replicas that count for min-replicas-to-write.",
    ),
    gauge("master_repl_offset", "redis_master_repl_offset", "The offset of replication."),
    gauge(
        "second_repl_offset",
        "redis_second_repl_offset",
        "Up to which offset the second replication ID is valid.",
    ),
    gauge("repl_backlog_active", "redis_repl_backlog_is_active", "Whether there is a replication backlog."),
    gauge("repl_backlog_size", "redis_replication_backlog_bytes", "The directive repl-backlog-size."),
    gauge(
        "repl_backlog_first_byte_offset",
        "redis_repl_backlog_first_byte_offset",
        "The offset at which the backlog begins.",
    ),
    gauge("repl_backlog_histlen", "redis_repl_backlog_history_bytes", "Bytes in the replication backlog."),
    counter("used_cpu_sys", "redis_cpu_sys_seconds_total", "Processor time in the kernel."),
    counter("used_cpu_user", "redis_cpu_user_seconds_total", "Processor time in the program."),
    counter(
        "used_cpu_sys_children",
        "redis_cpu_sys_children_seconds_total",
        "Processor time of children in the kernel.",
    ),
    counter(
        "used_cpu_user_children",
        "redis_cpu_user_children_seconds_total",
        "Processor time of children in the program.",
    ),
    counter(
        "used_cpu_sys_main_thread",
        "redis_cpu_sys_main_thread_seconds_total",
        "Processor time of the thread that serves, in the kernel.",
    ),
    counter(
        "used_cpu_user_main_thread",
        "redis_cpu_user_main_thread_seconds_total",
        "Processor time of the thread that serves, in the program.",
    ),
    gauge("cluster_enabled", "redis_cluster_enabled", "Whether the server is part of a cluster."),
    counter(
        "eventloop_duration_aof_sum",
        "redis_eventloop_duration_aof_sum_usec_total",
        "Time spent in writes to the log, in microseconds.",
    ),
    counter(
        "eventloop_duration_cron_sum",
        "redis_eventloop_duration_cron_sum_usec_total",
        "Time spent in background work of the loop, in microseconds.",
    ),
    gauge(
        "eventloop_duration_max",
        "redis_eventloop_duration_max_usec",
        "The longest turn of the loop, in microseconds.",
    ),
    gauge(
        "eventloop_cmd_per_cycle_max",
        "redis_eventloop_cmd_per_cycle_max",
        "The most commands in a turn of the loop.",
    ),
];

/// Writes the metrics of all figures in `info`, the text of `INFO`.
pub fn write(out: &mut Exposition<'_>, info: &str) {
    let mut expected = 0;
    for line in info.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        // The two are in the same order; a field that has no metric leaves the place.
        let (before, after) = FACTS.split_at(expected);
        let Some(step) = after.iter().chain(before).position(|fact| fact.field == field) else { continue };
        expected = (expected + step) % FACTS.len();
        let fact = &FACTS[expected];
        out.family(fact.name, fact.kind, fact.help);
        out.begin_sample(fact.name, "");
        push_value(out, fact.unit, value);
        out.end_sample();
        expected += 1;
    }
}

fn push_value(out: &mut Exposition<'_>, unit: Unit, value: &str) {
    let number = || number::parse_u64(value.as_bytes()).unwrap_or(0);
    match unit {
        Unit::AsIs => out.push_text(value),
        Percent => out.push_text(value.trim_end_matches('%')),
        Status => out.push_text(if value == "ok" { "1" } else { "0" }),
        Micros => out.push_micros(number()),
        Kibi => out.push_f64(number::parse_f64(value.as_bytes()).unwrap_or(0.0) * 1024.0),
    }
}

/// Fields of `INFO` that are no figures of their own, with the reason.
#[cfg(test)]
pub const NO_FIGURES: &[(&str, &[&str])] = &[
    (
        "words, which redis_instance_info has as its labels, or which say how the program was built",
        &[
            "redis_version",
            "server_name",
            "redstart_version",
            "redis_git_sha1",
            "redis_git_dirty",
            "redis_build_id",
            "redis_mode",
            "os",
            "arch_bits",
            "monotonic_clock",
            "multiplexing_api",
            "atomicvar_api",
            "gcc_version",
            "process_id",
            "process_supervised",
            "run_id",
            "tcp_port",
            "executable",
            "config_file",
            "listener0",
            "listener1",
            "maxmemory_policy",
            "mem_allocator",
            "role",
            "master_failover_state",
            "master_replid",
            "master_replid2",
        ],
    ),
    (
        "told in another unit",
        &[
            "uptime_in_days",
            "used_memory_human",
            "used_memory_rss_human",
            "used_memory_peak_human",
            "total_system_memory_human",
            "used_memory_lua_human",
            "used_memory_vm_total_human",
            "used_memory_scripts_human",
            "maxmemory_human",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_has_one_name_and_says_what_it_is() {
        let (mut fields, mut names) = (HashSet::new(), HashSet::new());
        for fact in FACTS {
            assert!(fields.insert(fact.field), "{} is there twice", fact.field);
            assert!(names.insert(fact.name), "{} is there twice", fact.name);
            let well_formed =
                |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(well_formed(fact.name), "{}", fact.name);
            assert!(fact.name.starts_with("redis_") || fact.name.starts_with("redstart_"), "{}", fact.name);
            assert!(fact.help.ends_with('.') && !fact.help.contains(['\n', '\\']), "{}", fact.name);
        }
        for (_, without) in NO_FIGURES {
            without.iter().for_each(|field| assert!(!fields.contains(field), "{field} has a metric"));
        }
    }

    #[test]
    fn no_field_of_info_is_forgotten() {
        let sources = [
            include_str!("../admin/info/mod.rs"),
            include_str!("../admin/info/memory.rs"),
            include_str!("../admin/info/persistence.rs"),
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
        let is_told = |field: &str| FACTS.iter().any(|fact| fact.field == field);
        let has_reason = |field: &&str| NO_FIGURES.iter().any(|(_, fields)| fields.contains(field));
        for field in &fields {
            assert!(is_told(field) || has_reason(field), "{field} has no metric");
        }
        for fact in FACTS {
            assert!(fields.contains(&fact.field), "INFO has no {}", fact.field);
        }
    }

    #[test]
    fn values_are_those_of_the_text_in_the_units_of_metrics() {
        let mut bytes = Vec::new();
        let info = "# Stats\r\nlatest_fork_usec:1500\r\nused_memory_peak_perc:99.50%\r\nunknown:1\r\n\
                    rdb_last_bgsave_status:err\r\ninstantaneous_input_kbps:0.50\r\nhz:10\r\nlru_clock:7\r\n";
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
            ]
        );
        assert!(text.starts_with(
            "# HELP redis_latest_fork_seconds How long the last fork took.\n# TYPE redis_latest_fork_seconds gauge\n"
        ));
    }
}
