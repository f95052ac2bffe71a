//! `INFO memory`: the figures of [`Overview`], and the configured limits.

use std::fmt::Write;

use crate::alloc::array_size;
use crate::server::Server;
use crate::server::admin::memory::Overview;
use crate::sys::process;

/// Memory in use and resident, by purpose; fragmentation ratios.
pub(super) fn memory(server: &Server, out: &mut String) {
    let it = Overview::of(server, array_size::<u8>(out.capacity()));
    let machine = process::total_memory_bytes();
    let (allocator_ratio, allocator_bytes) = it.allocator_fragmentation();
    let (rss_ratio, rss_bytes) = it.allocator_overhead();
    let (process_ratio, process_bytes) = it.process_overhead();
    let (ratio, bytes) = it.fragmentation();
    let cache = &server.scripts.cache;
    let (scripts_machine, functions_machine) =
        (cache.machine_bytes() as u64, server.libraries.machine_bytes() as u64);
    let machines = scripts_machine + functions_machine;
    let overhead = it.scripts + it.functions;
    fields!(out,
        "used_memory": it.used,
        "used_memory_human": human(it.used),
        "used_memory_rss": it.resident,
        "used_memory_rss_human": human(it.resident),
        "used_memory_peak": it.peak,
        "used_memory_peak_human": human(it.peak),
        "used_memory_peak_perc": format_args!("{:.2}%", it.peak_percent()),
        "used_memory_overhead": it.overhead,
        "used_memory_startup": it.startup,
        "used_memory_dataset": it.dataset,
        "used_memory_dataset_perc": format_args!("{:.2}%", it.dataset_percent()),
        "allocator_allocated": it.used,
        "allocator_active": it.active,
        "allocator_resident": it.allocator_resident,
        "total_system_memory": machine,
        "total_system_memory_human": human(machine),
        "used_memory_lua": scripts_machine,
        "used_memory_vm_eval": scripts_machine,
        "used_memory_lua_human": human(scripts_machine),
        "used_memory_scripts_eval": it.scripts,
        "number_of_cached_scripts": cache.len(),
        "number_of_functions": server.libraries.functions_len(),
        "number_of_libraries": server.libraries.len(),
        "used_memory_vm_functions": functions_machine,
        "used_memory_vm_total": machines,
        "used_memory_vm_total_human": human(machines),
        "used_memory_functions": it.functions,
        "used_memory_scripts": overhead,
        "used_memory_scripts_human": human(overhead),
        "maxmemory": server.core.config.maxmemory,
        "maxmemory_human": human(server.core.config.maxmemory),
        "maxmemory_policy": server.core.config.maxmemory_policy.name(),
        "allocator_frag_ratio": format_args!("{allocator_ratio:.2}"),
        "allocator_frag_bytes": allocator_bytes,
        "allocator_rss_ratio": format_args!("{rss_ratio:.2}"),
        "allocator_rss_bytes": rss_bytes,
        "rss_overhead_ratio": format_args!("{process_ratio:.2}"),
        "rss_overhead_bytes": process_bytes,
        "mem_fragmentation_ratio": format_args!("{ratio:.2}"),
        "mem_fragmentation_bytes": bytes,
        "mem_not_counted_for_evict": server.not_counted_bytes(),
        "mem_replication_backlog": it.backlog,
        "mem_total_replication_buffers": it.backlog + it.replicas,
        "mem_clients_slaves": it.replicas,
        "mem_clients_normal": it.clients,
        "mem_cluster_links": server.cluster.as_ref().map_or(0, |node| node.bus.memory_bytes()),
        "mem_aof_buffer": it.log_buffer,
        "mem_allocator": mem_allocator(),
        "active_defrag_running": server.defrag.share(),
    );
    let lazy = server.core.keyspace.lazy();
    fields!(out, "lazyfree_pending_objects": lazy.pending(), "lazyfreed_objects": lazy.freed());
}

/// The allocator of the keyspace.
pub fn mem_allocator() -> &'static str {
    if cfg!(feature = "slab") { "redstart-slab" } else { "libc" }
}

/// Formats a size as Redis prints it for people: `1.84M`.
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
