//! Parses the text of INFO into figures.
//!
//! The server may be of any kind and version: a missing field is 0 if that means "none", and `None` otherwise. No value
//! in the text is assumed to be a number, and an invalid one counts as missing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replication::Replication;
use crate::tools::client::info::Fields;

/// The sections that a [`Sample`] is parsed from. Before 7.0, INFO takes one argument, so `everything` is requested
/// there.
pub const SECTIONS: [&str; 10] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "commandstats",
    "errorstats",
    "keyspace",
];

/// A server's INFO at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When it arrived, relative to an arbitrary moment.
    pub at: Duration,
    /// The server that replied.
    pub server: Server,
    /// Connections now.
    pub clients: Clients,
    /// Memory now.
    pub memory: Memory,
    /// Snapshots and logs.
    pub persistence: Persistence,
    /// Other servers.
    pub replication: Replication,
    /// The increasing counters: [`super::rates`] computes figures per second from them.
    pub counters: Counters,
    /// Commands by name, subcommands as `config|get`.
    pub commands: BTreeMap<String, Command>,
    /// The number of replies of each kind of error.
    pub errors: BTreeMap<String, u64>,
    /// Non-empty databases, by number.
    pub databases: Vec<Database>,
    /// The progress of loading the data, during loading.
    pub loading: Option<Loading>,
}

/// Section Server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// `Redis`, `Valkey`, `Redstart`, …
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of Redis that another product is compatible with.
    pub compatible: Option<String>,
    /// `standalone`, `cluster`, `sentinel`.
    pub mode: String,
    pub os: String,
    pub pid: u64,
    /// Changes on each start.
    pub run_id: String,
    pub port: u64,
    pub uptime_s: u64,
    /// The path of the configuration file; empty without one.
    pub config_file: String,
}

/// Section Clients, and the subscriptions of section Stats.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    pub connected: u64,
    pub limit: Option<u64>,
    pub blocked: u64,
    pub tracking: Option<u64>,
    pub channels: u64,
    pub patterns: u64,
}

/// Section Memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub used: u64,
    pub peak: u64,
    pub rss: u64,
    /// 0 if there is no limit.
    pub limit: u64,
    pub policy: String,
    /// The ratio of resident to used memory.
    pub fragmentation: Option<f64>,
    /// The memory of the whole machine.
    pub system: Option<u64>,
    pub defragmenting: bool,
}

/// Section Persistence.
#[derive(Clone, Debug, Default)]
pub struct Persistence {
    pub changes: u64,
    /// How long the current snapshot has been running.
    pub saving_s: Option<u64>,
    /// The percentage that the child process has written, if known.
    pub child_percent: Option<f64>,
    /// How long ago the last snapshot was made or the data loaded.
    pub last_save_age_s: Option<u64>,
    pub last_save_ok: bool,
    pub aof: Option<Aof>,
}

/// The append-only log, if enabled.
#[derive(Clone, Debug, Default)]
pub struct Aof {
    pub size: u64,
    /// How long the current rewrite has been running.
    pub rewriting_s: Option<u64>,
    pub last_rewrite_ok: bool,
    pub last_write_ok: bool,
}

/// The progress of loading the data.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    pub percent: Option<f64>,
    pub eta_s: Option<u64>,
}

/// Figures that only grow while the server runs, except when CONFIG RESETSTAT is called.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub commands: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
    pub errors: u64,
    /// Seconds of processor time, user and system; RESETSTAT does not reset it.
    pub cpu_s: f64,
}

/// A line of Commandstats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub calls: u64,
    pub usec: u64,
    /// Calls that failed, and calls rejected before execution.
    pub errors: u64,
}

/// A line of Keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    pub number: u32,
    pub keys: u64,
    /// Keys with a time to live.
    pub expires: u64,
    pub average_ttl_ms: u64,
}

impl Sample {
    /// Parses INFO's text, which arrived at the moment `at`.
    pub fn parse(text: &str, at: Duration) -> Sample {
        let fields = Fields::of(text);
        let mut sample = Sample {
            at,
            server: server(&fields),
            clients: clients(&fields),
            memory: memory(&fields),
            persistence: persistence(&fields),
            replication: Replication::of(&fields),
            counters: counters(&fields),
            loading: fields.yes("loading").then(|| Loading {
                percent: fields.real("loading_loaded_perc"),
                eta_s: fields.number("loading_eta_seconds"),
            }),
            ..Sample::default()
        };
        for (name, value) in fields.iter() {
            if let Some(command) = name.strip_prefix("cmdstat_") {
                let [calls, usec, rejected, failed] =
                    parts(value, ["calls", "usec", "rejected_calls", "failed_calls"]);
                let errors = rejected.saturating_add(failed);
                sample.commands.insert(command.to_string(), Command { calls, usec, errors });
            } else if let Some(error) = name.strip_prefix("errorstat_") {
                sample.errors.insert(error.to_string(), parts(value, ["count"])[0]);
            } else if let Some(number) = name.strip_prefix("db").and_then(|number| number.parse().ok()) {
                let [keys, expires, average_ttl_ms] = parts(value, ["keys", "expires", "avg_ttl"]);
                sample.databases.push(Database { number, keys, expires, average_ttl_ms });
            }
        }
        sample.databases.sort_by_key(|database| database.number);
        sample
    }

    /// Returns the number of keys in all databases, and how many of them have a time to live.
    pub fn keys(&self) -> (u64, u64) {
        self.databases.iter().fold((0, 0), |(keys, expires), database| {
            (database.keys.saturating_add(keys), database.expires.saturating_add(expires))
        })
    }
}

/// Returns the numbers for `names` in `name=number,…`.
fn parts<const N: usize>(value: &str, names: [&str; N]) -> [u64; N] {
    names.map(|wanted| {
        let found =
            value.split(',').filter_map(|part| part.split_once('=')).find(|(name, _)| *name == wanted);
        found.and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
    })
}

fn server(fields: &Fields) -> Server {
    let (name, version) = fields.product().unwrap_or(("Redis", ""));
    let redis = fields.text("redis_version");
    Server {
        name: name.to_string(),
        version: version.to_string(),
        compatible: (name != "Redis" && !redis.is_empty()).then(|| redis.to_string()),
        mode: fields.text("redis_mode").to_string(),
        os: fields.text("os").to_string(),
        pid: fields.count("process_id"),
        run_id: fields.text("run_id").to_string(),
        port: fields.count("tcp_port"),
        uptime_s: fields.count("uptime_in_seconds"),
        config_file: fields.text("config_file").to_string(),
    }
}

fn clients(fields: &Fields) -> Clients {
    Clients {
        connected: fields.count("connected_clients"),
        limit: fields.number("maxclients"),
        blocked: fields.count("blocked_clients"),
        tracking: fields.number("tracking_clients"),
        channels: fields.count("pubsub_channels").saturating_add(fields.count("pubsubshard_channels")),
        patterns: fields.count("pubsub_patterns"),
    }
}

fn memory(fields: &Fields) -> Memory {
    Memory {
        used: fields.count("used_memory"),
        peak: fields.count("used_memory_peak"),
        rss: fields.count("used_memory_rss"),
        limit: fields.count("maxmemory"),
        policy: fields.text("maxmemory_policy").to_string(),
        fragmentation: fields.real("mem_fragmentation_ratio"),
        system: fields.number("total_system_memory").filter(|&bytes| bytes > 0),
        defragmenting: fields.yes("active_defrag_running"),
    }
}

fn persistence(fields: &Fields) -> Persistence {
    let since = |running: &str, seconds: &str| fields.yes(running).then(|| fields.count(seconds));
    let last_save_s = fields.count("rdb_last_save_time");
    let now_s = fields.number("server_time_usec").map(|us| us / 1_000_000);
    let total = fields.count("current_save_keys_total");
    let processed = fields.count("current_save_keys_processed");
    Persistence {
        changes: fields.count("rdb_changes_since_last_save"),
        saving_s: since("rdb_bgsave_in_progress", "rdb_current_bgsave_time_sec"),
        child_percent: (total > 0).then(|| (processed as f64 / total as f64 * 100.0).min(100.0)),
        last_save_age_s: now_s.filter(|_| last_save_s > 0).map(|now| now.saturating_sub(last_save_s)),
        last_save_ok: fields.ok("rdb_last_bgsave_status"),
        aof: fields.yes("aof_enabled").then(|| Aof {
            size: fields.count("aof_current_size"),
            rewriting_s: since("aof_rewrite_in_progress", "aof_current_rewrite_time_sec"),
            last_rewrite_ok: fields.ok("aof_last_bgrewrite_status"),
            last_write_ok: fields.ok("aof_last_write_status"),
        }),
    }
}

fn counters(fields: &Fields) -> Counters {
    let seconds = |name: &str| fields.real(name).unwrap_or(0.0);
    Counters {
        commands: fields.count("total_commands_processed"),
        connections: fields.count("total_connections_received"),
        rejected_connections: fields.count("rejected_connections"),
        input_bytes: fields.count("total_net_input_bytes"),
        output_bytes: fields.count("total_net_output_bytes"),
        hits: fields.count("keyspace_hits"),
        misses: fields.count("keyspace_misses"),
        expired: fields.count("expired_keys"),
        evicted: fields.count("evicted_keys"),
        errors: fields.count("total_error_replies"),
        cpu_s: seconds("used_cpu_user") + seconds("used_cpu_sys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Server\r\nredis_version:7.2.4\r\nserver_name:redstart\r\nredstart_version:0.1.0\r\n\
        redis_mode:standalone\r\nprocess_id:42\r\nrun_id:abc\r\ntcp_port:6379\r\nuptime_in_seconds:90\r\n\
        server_time_usec:1700000100000000\r\n# Clients\r\nconnected_clients:5\r\nmaxclients:10000\r\n\
        blocked_clients:1\r\ntracking_clients:2\r\n# Memory\r\nused_memory:1000\r\nused_memory_peak:2000\r\n\
        used_memory_rss:3000\r\nmaxmemory:4000\r\nmaxmemory_policy:allkeys-lru\r\n\
        mem_fragmentation_ratio:3.00\r\n# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:7\r\n\
        rdb_last_save_time:1700000000\r\nrdb_last_bgsave_status:err\r\naof_enabled:1\r\naof_current_size:512\r\n\
        aof_last_write_status:ok\r\n# Stats\r\ntotal_commands_processed:100\r\nkeyspace_hits:3\r\n\
        # Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6380\r\nmaster_link_status:up\r\n\
        # CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\n# Commandstats\r\n\
        cmdstat_config|get:calls=2,usec=10,usec_per_call=5.00,rejected_calls=1,failed_calls=2\r\n\
        cmdstat_get:calls=20,usec=30,usec_per_call=1.50,rejected_calls=0,failed_calls=0\r\n# Errorstats\r\n\
        errorstat_ERR:count=3\r\n# Keyspace\r\ndb10:keys=1,expires=0,avg_ttl=0\r\n\
        db2:keys=30,expires=10,avg_ttl=5000,subexpiry=0\r\n";

    #[test]
    fn every_section_is_read() {
        let sample = Sample::parse(TEXT, Duration::from_secs(1));
        assert_eq!((sample.server.name.as_str(), sample.server.version.as_str()), ("Redstart", "0.1.0"));
        assert_eq!(sample.server.compatible.as_deref(), Some("7.2.4"));
        assert_eq!((sample.server.pid, sample.server.port, sample.server.uptime_s), (42, 6379, 90));
        assert_eq!((sample.clients.connected, sample.clients.limit), (5, Some(10000)));
        assert_eq!((sample.clients.blocked, sample.clients.tracking), (1, Some(2)));
        assert_eq!((sample.memory.used, sample.memory.limit), (1000, 4000));
        assert_eq!(sample.memory.fragmentation, Some(3.0));
        assert_eq!((sample.persistence.changes, sample.persistence.last_save_ok), (7, false));
        assert_eq!(sample.persistence.last_save_age_s, Some(100));
        let aof = sample.persistence.aof.as_ref().unwrap();
        assert_eq!((aof.size, aof.last_write_ok, aof.rewriting_s), (512, true, None));
        let upstream = sample.replication.upstream.as_ref().unwrap();
        assert!(upstream.link_up && upstream.address == "10.0.0.1:6380");
        assert_eq!((sample.counters.commands, sample.counters.hits), (100, 3));
        assert_eq!(sample.counters.cpu_s, 3.75);
        assert_eq!(sample.commands["config|get"], Command { calls: 2, usec: 10, errors: 3 });
        assert_eq!(sample.commands["get"].calls, 20);
        assert_eq!(sample.errors["ERR"], 3);
        let numbers: Vec<u32> = sample.databases.iter().map(|database| database.number).collect();
        assert_eq!(numbers, [2, 10]);
        assert_eq!(sample.keys(), (31, 10));
        assert!(sample.loading.is_none());
    }

    #[test]
    fn servers_are_told_apart_by_the_version_that_only_they_send() {
        let name = |text: &str| {
            let server = Sample::parse(text, Duration::ZERO).server;
            (server.name, server.version, server.compatible)
        };
        let compatible = Some("7.2.4".to_string());
        assert_eq!(name("redis_version:7.2.6\r\n"), ("Redis".into(), "7.2.6".into(), None));
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n";
        assert_eq!(name(valkey), ("Valkey".into(), "8.1.0".into(), compatible));
    }

    #[test]
    fn any_text_is_a_sample() {
        for text in [
            "",
            ":",
            "cmdstat_:",
            "cmdstat_get:calls=-1,usec",
            "db99999999999:keys=1",
            "used_memory:x\ndb0:keys=18446744073709551615\ndb1:keys=1",
            "mem_fragmentation_ratio:nan\nused_cpu_sys:inf",
        ] {
            let sample = Sample::parse(text, Duration::ZERO);
            assert_eq!((sample.memory.used, sample.memory.fragmentation), (0, None), "{text}");
            assert_eq!(sample.counters.cpu_s, 0.0);
            sample.keys();
        }
    }

    #[test]
    fn what_a_server_does_not_tell_is_not_made_up() {
        let sample = Sample::parse("redis_version:5.0.14\r\nconnected_clients:1\r\n", Duration::ZERO);
        assert_eq!((sample.clients.limit, sample.clients.tracking), (None, None));
        assert_eq!(sample.persistence.last_save_age_s, None);
        assert!(sample.persistence.last_save_ok && sample.persistence.aof.is_none());
    }
}
