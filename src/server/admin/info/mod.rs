//! `INFO`: information about the server, section by section.
//!
//! Names and order of the fields are those of Redis 7.2, whose monitoring tools expect to find all of them. A field of
//! a feature that does not exist here (modules, a cluster) has the value of a server that does not use it.

/// Appends `name:value` lines.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {
        $( let _ = write!($out, concat!($name, ":{}\r\n"), $value); )*
    };
}

mod memory;
mod persistence;
mod replication;
mod stats;

pub use memory::mem_allocator;
pub(in crate::server) use replication::{LinkFigures, ReplicaFigures};

use std::fmt::Write;

use crate::command::Args;
use crate::command::REDIS_VERSION;
use crate::command::error::Result;
use crate::config::BindAddress;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::sys::{clock, process};

/// A section: its name, whether it is part of plain `INFO`, and its writer.
struct Section {
    name: &'static str,
    shown: Shown,
    write: fn(&Server, &mut String),
}

/// When a section is included without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// By plain `INFO`.
    Default,
    /// By `INFO all`.
    All,
    /// Never.
    Named,
}

const SECTIONS: &[Section] = &[
    Section { name: "Server", shown: Shown::Default, write: server },
    Section { name: "Clients", shown: Shown::Default, write: clients },
    Section { name: "Memory", shown: Shown::Default, write: memory::memory },
    Section { name: "Persistence", shown: Shown::Default, write: persistence::persistence },
    Section { name: "Stats", shown: Shown::Default, write: stats::stats },
    Section { name: "Replication", shown: Shown::Default, write: replication::write },
    Section { name: "CPU", shown: Shown::Default, write: cpu },
    Section { name: "Modules", shown: Shown::Default, write: |_, _| {} },
    Section { name: "Commandstats", shown: Shown::All, write: stats::commands },
    Section { name: "Errorstats", shown: Shown::Default, write: stats::errors },
    Section { name: "Latencystats", shown: Shown::All, write: stats::latencies },
    Section { name: "Cluster", shown: Shown::Default, write: cluster },
    Section { name: "Keyspace", shown: Shown::Default, write: keyspace },
    Section { name: "Debug", shown: Shown::Named, write: stats::debug },
];

impl Server {
    /// `INFO [section …]`: text with one line per field. Section names in any case and order; unknown ones are ignored.
    /// `default`, `all` and `everything` each select several sections.
    pub(super) fn info(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let asked = |word: &str| args.iter_from(1).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let all = asked("all") || asked("everything");
        let default = args.len() == 1 || asked("default");
        let mut text = String::new();
        for section in SECTIONS {
            let unnamed = match section.shown {
                Shown::Default => all || default,
                Shown::All => all,
                Shown::Named => false,
            };
            if unnamed || asked(section.name) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                let _ = write!(text, "# {}\r\n", section.name);
                (section.write)(self, &mut text);
            }
        }
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }
}

/// Appends all sections whose fields are figures of the whole server, without their titles.
pub(in crate::server) fn write_figures(server: &Server, out: &mut String) {
    let several = ["Commandstats", "Errorstats", "Latencystats", "Keyspace"];
    for section in SECTIONS.iter().filter(|section| !several.contains(&section.name)) {
        (section.write)(server, out);
    }
}

fn server(server: &Server, out: &mut String) {
    let now_ms = server.core.keyspace.moment.unix_ms;
    let uptime = (now_ms - server.process.started_ms).max(0) / 1000;
    let executable = std::env::current_exe().unwrap_or_default();
    let config_file = server.core.config.file.clone().unwrap_or_default();
    fields!(out,
        "redis_version": REDIS_VERSION,
        "server_name": "redstart",
        "redstart_version": env!("CARGO_PKG_VERSION"),
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": server.mode_name(),
        "os": process::system_name(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": multiplexing_api(),
        "atomicvar_api": "rust-core",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": if server.process.supervisor.is_some() { "yes" } else { "no" },
        "run_id": server.core.run_id,
        "tcp_port": server.core.config.first_port(),
        "server_time_usec": clock::wall_us(),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": server.cron.hz(),
        "configured_hz": server.core.config.hz,
        "lru_clock": server.core.keyspace.moment.lru,
        "executable": executable.display(),
        "config_file": config_file.display(),
        "io_threads_active": u8::from(server.net.threads.active > 0),
    );
    if let Some(stopping) = &server.stopping {
        let left_ms = stopping.milliseconds_left(server.core.clock.monotonic_us());
        fields!(out, "shutdown_in_milliseconds": left_ms);
    }
    listeners(server, out);
}

/// The listeners: a line for TCP with the configured addresses, one for the Unix socket, and one for TLS.
fn listeners(server: &Server, out: &mut String) {
    let config = &server.core.config;
    let of_tcp = |out: &mut String, kind: &str, is_encrypted: bool, port: u16| {
        let entrances = server.net.entrances().iter();
        let mut found = entrances
            .filter(|one| one.listener.path().is_none() && one.is_encrypted == is_encrypted)
            .map(|one| one.listener.name())
            .peekable();
        if found.peek().is_none() {
            return;
        }
        out.push_str(kind);
        for name in found {
            let written = config.bind.iter().find(|address| BindAddress::parse(address).host == name);
            let _ = write!(out, ",bind={}", written.map_or(name, String::as_str));
        }
        let _ = write!(out, ",port={port}\r\n");
    };
    of_tcp(out, "listener0:name=tcp", false, config.port);
    for entrance in server.net.entrances().iter().filter(|one| one.listener.path().is_some()) {
        let _ = write!(out, "listener1:name=unix,bind={}\r\n", entrance.listener.name());
    }
    of_tcp(out, "listener2:name=tls", true, config.tls_port);
}

fn multiplexing_api() -> &'static str {
    if cfg!(target_os = "linux") { "epoll" } else { "kqueue" }
}

fn clients(server: &Server, out: &mut String) {
    let (input, output) = server.cron.largest_buffers();
    fields!(out,
        "connected_clients": server.net.clients.len(),
        "cluster_connections": server.cluster.as_ref().map_or(0, |node| node.bus.len()),
        "maxclients": server.core.config.maxclients,
        "client_recent_max_input_buffer": input,
        "client_recent_max_output_buffer": output,
        "blocked_clients": server.blocked_clients(),
        "tracking_clients": server.audience.trackers.totals().clients,
        "clients_in_timeout_table": server.audience.waiters.deadlines() + server.audience.acknowledgements.deadlines(),
        "total_blocking_keys": server.audience.waiters.awaited_keys().0,
        "total_blocking_keys_on_nokey": server.audience.waiters.awaited_keys().1,
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

fn cluster(server: &Server, out: &mut String) {
    fields!(out, "cluster_enabled": u8::from(server.cluster.is_some()));
}

fn keyspace(server: &Server, out: &mut String) {
    for index in 0..server.core.keyspace.count() {
        let db = server.core.keyspace.db(index);
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
