//! `MEMORY`, and the figures for `INFO memory`: how memory is used.
//!
//! ```text
//!  resident, what the kernel lends the process
//!  ├─ of files: the program's code
//!  └─ of the allocators: slabs, the process's heap, mapped tables     (allocator resident)
//!     ├─ pages that hold no block: free slabs, what was never touched
//!     └─ slabs and heap in use                                        (allocator active)
//!        ├─ rounding and holes in slabs
//!        └─ used memory                                               (allocator allocated)
//!           ├─ overhead: what was there before the first key, tables, connections, scripts, what waits for the log
//!           └─ data set
//! ```
//!
//! Sizes are those actually allocated: a block counts with the size of its class. Nothing is sampled, because a value
//! knows its size; `SAMPLES` is accepted without effect.

use std::fmt::Write;

use crate::alloc;
use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result, SYNTAX};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::core::used_memory;
use crate::server::invoke::Caller;
use crate::sys::{memory, process};

/// Below this size the ratios are those of an empty server and mean nothing.
const TOO_SMALL: u64 = 5 << 20;

/// A ratio is reported only if it costs at least this many bytes.
const WORTH_SAYING: i64 = 10 << 20;

/// The average size of a connection, in bytes, above which it is reported.
const LARGE_CLIENT: u64 = 200 << 10;

/// Bytes of unused slabs returned at a time: other threads that need a slab wait meanwhile.
const PURGE_STEP: usize = 64 << 20;

/// A database that has keys.
pub(super) struct Tables {
    index: usize,
    keys: u64,
    main: u64,
    expires: u64,
}

/// All figures at one moment.
pub(in crate::server) struct Overview {
    /// Bytes in use, and their peak.
    pub used: u64,
    pub peak: u64,
    /// Bytes in use before the first key.
    pub startup: u64,
    /// The resident bytes of the process, and the allocators' part of them.
    pub resident: u64,
    pub allocator_resident: u64,
    /// Slabs and heap in use, with their holes.
    pub active: u64,
    /// Bytes of connections.
    pub clients: u64,
    /// Bytes of calls that wait to be written to the AOF.
    pub log_buffer: u64,
    /// Bytes of the backlog, and of what waits for replicas beyond its size.
    pub backlog: u64,
    pub replicas: u64,
    /// Bytes of scripts, and of libraries, without the machines that execute them.
    pub scripts: u64,
    pub functions: u64,
    /// Bytes of overhead, and of data.
    pub overhead: u64,
    pub dataset: u64,
    keys: u64,
    tables: Vec<Tables>,
}

/// `part` divided by `whole`; 0 if `whole` is 0. Single precision, with which Redis computes and prints it.
pub(super) fn ratio(part: u64, whole: u64) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

fn difference(larger: u64, smaller: u64) -> i64 {
    larger as i64 - smaller as i64
}

impl Overview {
    /// The current figures without the `text` bytes of the reply being written, which are freed when the client has
    /// read it. O(clients + databases), and reads a file of `/proc`.
    pub(in crate::server) fn of(server: &Server, text: usize) -> Overview {
        let used = used_memory().saturating_sub(text as u64);
        let slab = alloc::stats();
        let (resident, allocator_resident) = process::memory();
        let startup = server.core.startup_memory;
        let clients = server.memory_of_clients() as u64;
        let dbs = (0..server.core.keyspace.count()).map(|index| (index, server.core.keyspace.db(index)));
        let tables: Vec<Tables> = dbs
            .filter(|(_, db)| !db.is_empty())
            .map(|(index, db)| Tables {
                index,
                keys: db.len() as u64,
                main: db.table_bytes() as u64,
                expires: db.expires().memory_bytes() as u64,
            })
            .collect();
        let functions = server.libraries.overhead_bytes() as u64;
        let scripts = server.scripts.cache.overhead_bytes() as u64;
        let log_buffer = server.log_buffer_bytes();
        let tables_bytes: u64 = tables.iter().map(|t| t.main + t.expires).sum();
        let (backlog, replicas) = server.replication_buffers();
        let buffers = clients + log_buffer + backlog + replicas;
        let overhead = startup + buffers + scripts + functions + tables_bytes;
        Overview {
            used,
            peak: server.core.stats.peak_memory.max(used),
            startup,
            resident,
            allocator_resident,
            active: used + slab.slab_bytes.saturating_sub(slab.slab_live_bytes) as u64,
            clients,
            log_buffer,
            backlog,
            replicas,
            scripts,
            functions,
            overhead,
            dataset: used.saturating_sub(overhead),
            keys: tables.iter().map(|t| t.keys).sum(),
            tables,
        }
    }

    /// The data set's share of the memory added since the start, in percent.
    pub(super) fn dataset_percent(&self) -> f32 {
        ratio(self.dataset, self.used.saturating_sub(self.startup)) * 100.0
    }

    /// The share of the peak that is in use, in percent.
    pub(super) fn peak_percent(&self) -> f32 {
        ratio(self.used, self.peak) * 100.0
    }

    /// Holes in slabs: a ratio and bytes.
    pub(super) fn allocator_fragmentation(&self) -> (f32, i64) {
        (ratio(self.active, self.used), difference(self.active, self.used))
    }

    /// Pages of the allocators that hold no block.
    pub(super) fn allocator_overhead(&self) -> (f32, i64) {
        (ratio(self.allocator_resident, self.active), difference(self.allocator_resident, self.active))
    }

    /// Resident bytes that are not the allocators'.
    pub(super) fn process_overhead(&self) -> (f32, i64) {
        (ratio(self.resident, self.allocator_resident), difference(self.resident, self.allocator_resident))
    }

    /// All of the above together.
    pub(in crate::server) fn fragmentation(&self) -> (f32, i64) {
        (ratio(self.resident, self.used), difference(self.resident, self.used))
    }

    /// The findings of `MEMORY DOCTOR`: a paragraph for each problem.
    fn complaints(&self, clients: usize) -> Vec<String> {
        let mut found = Vec::new();
        let costs = |(ratio, bytes): (f32, i64), limit: f32| ratio > limit && bytes > WORTH_SAYING;
        if ratio(self.peak, self.used) > 1.5 {
            found.push(format!(
                "Peak memory: {} bytes were in use at some time, more than one and a half times of the {} of now. \
                 Slabs that became empty go back to the system by themselves, those that still hold a few blocks \
                 cannot: the ratio of fragmentation may stay high until new keys fill them, or until activedefrag \
                 has emptied them. MEMORY PURGE gives back at once what can be given.",
                self.peak, self.used
            ));
        }
        if costs(self.fragmentation(), 1.4) {
            found.push(format!(
                "Fragmentation: the process holds {:.2} bytes of memory for each byte in use. Where that is not \
                 explained by a peak, the next paragraphs, if any, say which part of it is large.",
                self.fragmentation().0
            ));
        }
        if costs(self.allocator_fragmentation(), 1.1) {
            found.push(format!(
                "Holes in slabs: they are {:.2} times as large as what lies in them. It happens when keys of one \
                 size were deleted here and there; new keys of that size will fill the holes. 'CONFIG SET \
                 activedefrag yes' moves what is left together, so that the system gets the rest. MEMORY MALLOC-STATS \
                 shows which sizes they are.",
                self.allocator_fragmentation().0
            ));
        }
        if costs(self.allocator_overhead(), 1.1) {
            found.push(
                "Unused pages: the allocators keep memory that holds nothing, for what comes next. MEMORY PURGE \
                 gives it back."
                    .to_owned(),
            );
        }
        if costs(self.process_overhead(), 1.1) {
            found.push(
                "Other memory: a large part of the process's memory belongs to no allocator. Look for mapped files \
                 in the system's report on the process."
                    .to_owned(),
            );
        }
        if clients > 0 && self.clients / clients as u64 > LARGE_CLIENT {
            found.push(format!(
                "Connections: they hold {} bytes each on the average. CLIENT LIST shows (omem, qbuf) whose replies \
                 are not read fast enough, or who sends large requests slowly.",
                self.clients / clients as u64
            ));
        }
        found
    }
}

impl Server {
    /// `MEMORY USAGE key [SAMPLES count]`: the bytes of the key with its value, its slot in the table and its place in
    /// the list of expiring keys; null if it does not exist. O(1), for a collection O(N) in its blocks.
    pub(super) fn memory_usage(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        parse_samples(args)?;
        let key = args.get(2);
        let db = caller.session(&mut self.net).db;
        let hash = self.core.keyspace.hash(key);
        // Neither a hit nor an access: measuring a key must not affect its eviction.
        let bytes = self.core.keyspace.db(db).memory_of(hash, key);
        let mut reply = caller.reply(&mut self.net);
        match bytes {
            Some(bytes) => reply.integer(bytes as i64),
            None => reply.null(),
        }
        Ok(())
    }

    /// `MEMORY STATS`: a map of figures, with a nested map for each database that has keys.
    pub(super) fn memory_stats(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let it = Overview::of(self, 0);
        let since_start = it.used.saturating_sub(it.startup);
        let mut reply = caller.reply(&mut self.net);
        reply.map(27 + it.tables.len());
        figure(&mut reply, "peak.allocated", it.peak);
        figure(&mut reply, "total.allocated", it.used);
        figure(&mut reply, "startup.allocated", it.startup);
        figure(&mut reply, "replication.backlog", it.backlog);
        figure(&mut reply, "clients.slaves", it.replicas);
        figure(&mut reply, "clients.normal", it.clients);
        figure(&mut reply, "cluster.links", 0);
        figure(&mut reply, "aof.buffer", it.log_buffer);
        figure(&mut reply, "lua.caches", it.scripts);
        figure(&mut reply, "functions.caches", it.functions);
        for db in &it.tables {
            reply.bulk(format!("db.{}", db.index).as_bytes());
            reply.map(3);
            figure(&mut reply, "overhead.hashtable.main", db.main);
            figure(&mut reply, "overhead.hashtable.expires", db.expires);
            figure(&mut reply, "overhead.hashtable.slot-to-keys", 0);
        }
        figure(&mut reply, "overhead.total", it.overhead);
        figure(&mut reply, "keys.count", it.keys);
        figure(&mut reply, "keys.bytes-per-key", since_start.checked_div(it.keys).unwrap_or(0));
        figure(&mut reply, "dataset.bytes", it.dataset);
        share(&mut reply, "dataset.percentage", it.dataset_percent());
        share(&mut reply, "peak.percentage", it.peak_percent());
        figure(&mut reply, "allocator.allocated", it.used);
        figure(&mut reply, "allocator.active", it.active);
        figure(&mut reply, "allocator.resident", it.allocator_resident);
        for (names, (ratio, bytes)) in [
            (
                ["allocator-fragmentation.ratio", "allocator-fragmentation.bytes"],
                it.allocator_fragmentation(),
            ),
            (["allocator-rss.ratio", "allocator-rss.bytes"], it.allocator_overhead()),
            (["rss-overhead.ratio", "rss-overhead.bytes"], it.process_overhead()),
            (["fragmentation", "fragmentation.bytes"], it.fragmentation()),
        ] {
            share(&mut reply, names[0], ratio);
            reply.bulk(names[1].as_bytes());
            reply.integer(bytes);
        }
        Ok(())
    }

    /// `MEMORY DOCTOR`: describes problems in words.
    pub(super) fn memory_doctor(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let it = Overview::of(self, 0);
        let text = if it.used < TOO_SMALL {
            "There is too little data here for a diagnosis: less than 5 MiB are in use, and ratios of so little say \
             nothing. Ask again when there is more.\n"
                .to_owned()
        } else {
            let found = it.complaints(self.net.clients.len());
            if found.is_empty() {
                "Nothing looks wrong with the memory of this server.\n".to_owned()
            } else {
                let mut text = String::from("This is what looks wrong with the memory of this server:\n\n");
                for complaint in found {
                    let _ = write!(text, " * {complaint}\n\n");
                }
                text
            }
        };
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `MEMORY PURGE`: returns unused memory to the system. O(unused pages).
    pub(super) fn memory_purge(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.purge_buffers();
        while alloc::collect(PURGE_STEP) {}
        while alloc::purge(PURGE_STEP) > 0 {}
        memory::trim_heap();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `MEMORY MALLOC-STATS`: a readable report of the allocator's memory. O(slabs).
    pub(super) fn memory_malloc_stats(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let text = malloc_stats();
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }
}

fn figure(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(value as i64);
}

fn share(reply: &mut Reply<'_>, name: &str, value: f32) {
    reply.bulk(name.as_bytes());
    reply.double(f64::from(value));
}

/// Checks the options of `MEMORY USAGE`.
fn parse_samples(args: Args<'_>) -> Result<(), Error> {
    let mut i = 3;
    while i < args.len() {
        if !args.is(i, "samples") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        if integer(args.get(i + 1))? < 0 {
            return Err(SYNTAX);
        }
        i += 2;
    }
    Ok(())
}

fn malloc_stats() -> String {
    let stats = alloc::stats();
    let mut out = String::from("___ Begin allocator statistics ___\n");
    let mut line = |name: &str, bytes: usize| {
        let _ = writeln!(out, "{name:<28}{bytes:>16}");
    };
    line("Process heap, live:", alloc::Counting::live_bytes());
    line("  of it blocks of values:", stats.system_live_bytes);
    line("Large blocks, live:", stats.large_live_bytes);
    line("Mapped tables:", memory::mapped_bytes());
    line("Rings of connections:", memory::ring_bytes());
    line("Slabs, live blocks:", stats.slab_live_bytes);
    line("Slabs, in use:", stats.slab_bytes);
    line("Slabs, free and lent:", stats.free_bytes);
    line("Slabs, count:", stats.slabs);
    let _ = writeln!(
        out,
        "\nBlocks of this thread, by size\n{:>8}{:>10}{:>14}{:>14}{:>16}{:>8}",
        "size", "slabs", "live", "free", "live bytes", "used"
    );
    for class in alloc::classes() {
        let capacity = class.live + class.free;
        let _ = writeln!(
            out,
            "{:>8}{:>10}{:>14}{:>14}{:>16}{:>7.1}%",
            class.size,
            class.slabs,
            class.live,
            class.free,
            class.live * class.size,
            class.live as f64 / capacity.max(1) as f64 * 100.0
        );
    }
    out.push_str("--- End allocator statistics ---\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(used: u64) -> Overview {
        Overview {
            used,
            peak: used,
            startup: 1 << 20,
            resident: used + (2 << 20),
            allocator_resident: used,
            active: used,
            clients: 1000,
            log_buffer: 0,
            backlog: 0,
            replicas: 0,
            scripts: 0,
            functions: 0,
            overhead: 2 << 20,
            dataset: used - (2 << 20),
            keys: 10,
            tables: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_server_has_no_complaints() {
        assert_eq!(overview(100 << 20).complaints(1), [] as [String; 0]);
    }

    #[test]
    fn each_figure_that_is_out_of_its_bounds_is_complained_about_by_name() {
        let healthy = || overview(100 << 20);
        for (it, clients, named) in [
            (Overview { peak: 200 << 20, ..healthy() }, 1, "Peak memory"),
            (Overview { resident: 150 << 20, ..healthy() }, 1, "Fragmentation"),
            (Overview { active: 120 << 20, ..healthy() }, 1, "Holes in slabs"),
            (Overview { allocator_resident: 120 << 20, ..healthy() }, 1, "Unused pages"),
            (Overview { resident: 130 << 20, ..healthy() }, 1, "Other memory"),
            (Overview { clients: 1 << 20, ..healthy() }, 2, "Connections"),
        ] {
            let found = it.complaints(clients);
            assert!(found.iter().any(|complaint| complaint.starts_with(named)), "{named}: {found:?}");
        }
    }

    #[test]
    fn a_bad_ratio_of_few_bytes_is_no_complaint() {
        let it = Overview { resident: 15 << 20, allocator_resident: 8 << 20, ..overview(6 << 20) };
        assert_eq!(it.complaints(1), [] as [String; 0]);
    }
}
