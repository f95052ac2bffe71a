//! `INFO`: the server's facts, section by section.
//!
//! Field names and their order are Redis's; a field stands here from the day on which its value is true.

use std::fmt::Write;

use super::session::REDIS_VERSION;
use crate::alloc;
use crate::command::{Args, table};
use crate::config::Percentiles;
use crate::server::Server;
use crate::server::cron::used_memory;
use crate::sys::poller::Token;
use crate::sys::{clock, process};

/// A section: its name, whether it is part of plain `INFO`, and who writes it.
struct Section {
    name: &'static str,
    by_default: bool,
    write: fn(&Server, &mut String),
}

const SECTIONS: &[Section] = &[
    Section { name: "Server", by_default: true, write: server },
    Section { name: "Clients", by_default: true, write: clients },
    Section { name: "Memory", by_default: true, write: memory },
    Section { name: "Persistence", by_default: true, write: persistence },
    Section { name: "Stats", by_default: true, write: stats },
    Section { name: "Replication", by_default: true, write: replication },
    Section { name: "CPU", by_default: true, write: cpu },
    Section { name: "Modules", by_default: true, write: |_, _| {} },
    Section { name: "Commandstats", by_default: false, write: command_stats },
    Section { name: "Errorstats", by_default: true, write: error_stats },
    Section { name: "Latencystats", by_default: false, write: latency_stats },
    Section { name: "Cluster", by_default: true, write: cluster },
    Section { name: "Keyspace", by_default: true, write: keyspace },
];

impl Server {
    /// `INFO [section …]`: text, a line a field.
    pub(super) fn info(&mut self, token: Token, args: Args<'_>) {
        let asked = |word: &str| args.iter_from(1).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let all = asked("all") || asked("everything");
        let default = args.len() == 1 || asked("default");
        let mut text = String::new();
        for section in SECTIONS {
            if all || (default && section.by_default) || asked(section.name) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                let _ = write!(text, "# {}\r\n", section.name);
                (section.write)(self, &mut text);
            }
        }
        self.reply_to(token).verbatim(*b"txt", text.as_bytes());
    }
}

/// Appends `name:value` lines.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {
        $( let _ = write!($out, concat!($name, ":{}\r\n"), $value); )*
    };
}

/// A size as Redis prints it for people: `1.84M`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn server(server: &Server, out: &mut String) {
    let now_ms = server.keyspace.moment.unix_ms;
    let uptime = (now_ms - server.started_ms).max(0) / 1000;
    let executable = std::env::current_exe().unwrap_or_default();
    let config_file = server.config.file.clone().unwrap_or_default();
    fields!(out,
        "redis_version": REDIS_VERSION,
        "server_name": "redstart",
        "redstart_version": env!("CARGO_PKG_VERSION"),
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "standalone",
        "os": process::system_name(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": multiplexing_api(),
        "atomicvar_api": "rust-core",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": server.run_id,
        "tcp_port": server.config.port,
        "server_time_usec": clock::wall_us(),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": server.cron.hz(),
        "configured_hz": server.config.hz,
        "lru_clock": server.keyspace.moment.lru,
        "executable": executable.display(),
        "config_file": config_file.display(),
        "io_threads_active": 0,
    );
}

fn multiplexing_api() -> &'static str {
    if cfg!(target_os = "linux") { "epoll" } else { "kqueue" }
}

fn mem_allocator() -> &'static str {
    if cfg!(feature = "slab") { "redstart-slab" } else { "libc" }
}

fn clients(server: &Server, out: &mut String) {
    let (mut input, mut output, mut waiting) = (0, 0, 0);
    for (_, client) in server.clients.iter() {
        input = input.max(client.unexecuted_len());
        output = output.max(client.pending.as_ref().map_or(0, |p| p.bytes()));
        waiting += u64::from(client.session.flags.waiting);
    }
    fields!(out,
        "connected_clients": server.clients.len(),
        "cluster_connections": 0,
        "maxclients": server.config.maxclients,
        "client_recent_max_input_buffer": input,
        "client_recent_max_output_buffer": output,
        "blocked_clients": waiting,
        "tracking_clients": 0,
        "clients_in_timeout_table": 0,
    );
}

fn memory(server: &Server, out: &mut String) {
    let used = used_memory();
    let resident = process::resident_bytes();
    let peak = server.stats.peak_memory.max(used);
    let tables: usize = (0..server.keyspace.count())
        .map(|i| server.keyspace.db(i))
        .map(|db| db.dict().memory_bytes() + db.expires().memory_bytes())
        .sum();
    let connections: usize = server.clients.iter().map(|(_, client)| client.memory_bytes()).sum();
    let startup = server.startup_memory;
    let overhead = startup + (tables + connections) as u64;
    let dataset = used.saturating_sub(overhead);
    let slab = alloc::stats();
    fields!(out,
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": resident,
        "used_memory_rss_human": human(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": format_args!("{:.2}%", percent(used, peak)),
        "used_memory_overhead": overhead,
        "used_memory_startup": startup,
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": format_args!("{:.2}%", percent(dataset, used.saturating_sub(startup))),
        "allocator_allocated": used,
        "allocator_active": used + (slab.slab_bytes - slab.slab_live_bytes) as u64,
        "allocator_resident": resident,
        "total_system_memory": process::total_memory_bytes(),
        "total_system_memory_human": human(process::total_memory_bytes()),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": human(0),
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": human(0),
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": human(0),
        "maxmemory": server.config.maxmemory,
        "maxmemory_human": human(server.config.maxmemory),
        "maxmemory_policy": server.config.maxmemory_policy.name(),
        "mem_fragmentation_ratio": format_args!("{:.2}", ratio(resident, used)),
        "mem_fragmentation_bytes": resident as i64 - used as i64,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": connections,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": mem_allocator(),
        "active_defrag_running": 0,
    );
    let lazy = server.keyspace.lazy();
    fields!(out, "lazyfree_pending_objects": lazy.pending(), "lazyfreed_objects": lazy.freed());
}

fn persistence(server: &Server, out: &mut String) {
    fields!(out,
        "loading": 0,
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": "0.00",
        "current_save_keys_processed": 0,
        "current_save_keys_total": 0,
        "rdb_changes_since_last_save": server.keyspace.counters.dirty,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": server.started_ms / 1000,
        "rdb_last_bgsave_status": "ok",
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        "rdb_saves": 0,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_last_load_keys_loaded": 0,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    );
}

fn stats(server: &Server, out: &mut String) {
    let stats = &server.stats;
    let keys = &server.keyspace.counters;
    let kbps = |rate: u64| format!("{:.2}", rate as f64 / 1024.0);
    fields!(out,
        "total_connections_received": stats.connections,
        "total_commands_processed": stats.commands,
        "instantaneous_ops_per_sec": stats.command_rate.per_second(),
        "total_net_input_bytes": stats.net_input_bytes,
        "total_net_output_bytes": stats.net_output_bytes,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": kbps(stats.input_rate.per_second()),
        "instantaneous_output_kbps": kbps(stats.output_rate.per_second()),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": stats.rejected_connections,
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": keys.expired,
        "expired_stale_perc": format_args!("{:.2}", keys.expired_stale_percent),
        "expired_time_cap_reached_count": keys.expire_cycles_cut_short,
        "expire_cycle_cpu_milliseconds": keys.expire_cycle_us / 1000,
        "evicted_keys": 0,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": keys.hits,
        "keyspace_misses": keys.misses,
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "pubsubshard_channels": 0,
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": 0,
        "total_error_replies": stats.error_replies,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.reads,
        "total_writes_processed": stats.writes,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "client_query_buffer_limit_disconnections": stats.query_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.output_limit_disconnections,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    );
}

fn replication(server: &Server, out: &mut String) {
    fields!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": server.run_id,
        "master_replid2": "0000000000000000000000000000000000000000",
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": server.config.repl_backlog_size,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    );
}

fn cpu(_: &Server, out: &mut String) {
    let (own, children) = (process::cpu_time(), process::children_cpu_time());
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    fields!(out,
        "used_cpu_sys": seconds(own.system_us),
        "used_cpu_user": seconds(own.user_us),
        "used_cpu_sys_children": seconds(children.system_us),
        "used_cpu_user_children": seconds(children.user_us),
    );
    if let Some(own) = process::thread_cpu_time() {
        fields!(out,
            "used_cpu_sys_main_thread": seconds(own.system_us),
            "used_cpu_user_main_thread": seconds(own.user_us),
        );
    }
}

fn command_stats(server: &Server, out: &mut String) {
    for (command, row) in table::all().iter().zip(server.stats.per_command()) {
        if row.calls == 0 && row.rejected == 0 && row.failed == 0 {
            continue;
        }
        let us = row.microseconds(server.stats.tick_rate());
        let per_call = if row.calls == 0 { 0.0 } else { us as f64 / row.calls as f64 };
        let _ = write!(
            out,
            "cmdstat_{}:calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            command.full_name, row.calls, row.rejected, row.failed
        );
    }
}

fn error_stats(server: &Server, out: &mut String) {
    for (code, count) in server.stats.errors() {
        let _ = write!(out, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(code));
    }
}

fn latency_stats(server: &Server, out: &mut String) {
    for (command, row) in table::all().iter().zip(server.stats.per_command()) {
        let Some(latency) = &row.latency else { continue };
        let _ = write!(out, "latency_percentiles_usec_{}:", command.full_name);
        for (i, percent) in server.config.latency_tracking_info_percentiles.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let name = Percentiles::name(*percent);
            let _ = write!(out, "{comma}p{name}={:.3}", latency.percentile(*percent) as f64 / 1000.0);
        }
        out.push_str("\r\n");
    }
}

fn cluster(_: &Server, out: &mut String) {
    fields!(out, "cluster_enabled": 0);
}

fn keyspace(server: &Server, out: &mut String) {
    for index in 0..server.keyspace.count() {
        let db = server.keyspace.db(index);
        if !db.is_empty() {
            let _ = write!(
                out,
                "db{index}:keys={},expires={},avg_ttl={}\r\n",
                db.len(),
                db.expires().len(),
                db.expires().average_ttl_ms()
            );
        }
    }
}
