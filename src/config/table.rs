//! The table of directives: all directives of Redis 7.2, one line each, and the [`Config`] generated from it.
//!
//! A line consists of the name (and Redis's older name for it), the field of [`Config`] with its type and default, the
//! shape of its value, whether it may change while the server runs, and whether it has an effect. From these lines the
//! macro generates the struct, its defaults, and the static table for loading, CONFIG GET, SET and REWRITE and the
//! documentation: a new directive is one new line.

#![allow(clippy::wildcard_imports, clippy::enum_glob_use, reason = "the table names every type and effect")]

use super::Effect::{self, *};
use super::special::*;
use super::value::*;

/// Flags of a directive: the column before its effect.
pub(super) mod flag {
    /// CONFIG SET can change it.
    pub const RUN: u8 = 0;
    /// It is read only at startup.
    pub const START: u8 = 1;
    /// CONFIG SET can change it only where `enable-protected-configs` permits.
    pub const GUARD: u8 = 1 << 1;
    /// It takes several words.
    pub const WORDS: u8 = 1 << 2;
    /// Its value must not appear in a log or an error.
    pub const SECRET: u8 = 1 << 3;
    /// CONFIG GET shows it only if requested by its full name.
    pub const HIDDEN: u8 = 1 << 4;
    /// Each line sets one part of the value and leaves the others unchanged.
    pub const PARTS: u8 = 1 << 5;
    /// CONFIG SET cannot change it while the server loads its data.
    pub const LOADED: u8 = 1 << 6;
    /// It names a file, or is the password of one: CONFIG SET reads the file again even if the value stays the same.
    pub const FILE: u8 = 1 << 7;
}
use flag::*;

const INT_MAX: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
/// The largest size of directives that Redis stores in a signed number.
const SIZE_MAX: u64 = i64::MAX as u64;
const MB: u64 = 1 << 20;

const PLAIN: Shape = Shape::Plain;
const TEXT: Shape = Shape::any_text();
const PORT: Shape = int(0, 65535);
/// Zero or more.
const COUNT: Shape = int(0, INT_MAX);
const LONG: Shape = int(0, LONG_MAX);
const SIZE: Shape = bytes(0, SIZE_MAX);

/// Only slabs track how full they are.
const DEFRAG: Shape =
    if cfg!(all(feature = "slab", target_pointer_width = "64")) { PLAIN } else { Shape::OnlyNo(NO_DEFRAG) };
const NO_DEFRAG: &str = "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified \
                         Jemalloc like the one shipped by default with the Redis source distribution";

const fn int(min: i64, max: i64) -> Shape {
    Shape::int(min, max)
}

const fn bytes(min: u64, max: u64) -> Shape {
    Shape::bytes(min, max)
}

const fn text(check: fn(&[u8]) -> Result<(), &'static str>) -> Shape {
    Shape::Text(check)
}

/// One line of the table.
pub struct Directive {
    /// The name, in lower case.
    pub name: &'static str,
    /// Redis's older names for it, accepted everywhere.
    pub aliases: &'static [&'static str],
    /// Whether it has an effect.
    pub effect: Effect,
    pub(super) flags: u8,
    pub(super) shape: Shape,
    pub(super) value: fn(&Config) -> &dyn Value,
    pub(super) value_mut: fn(&mut Config) -> &mut dyn Value,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! directives {
    ($($name:literal $(/ $alias:literal)?, $field:ident: $type:ty = $default:expr, $shape:expr, $flags:expr,
        $effect:expr;)*) => {
        /// The value of every directive. `Default` has the values with which Redis starts without a file.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            /// The absolute path of the config file; `None` if the server was started without one.
            pub file: Option<std::path::PathBuf>,
            /// Every `rename-command` line.
            pub renamed_commands: Vec<RenamedCommand>,
            /// Every `user` line.
            pub user_lines: Vec<UserLine>,
            $(#[doc = concat!("`", $name, "`")] pub $field: $type,)*
        }

        impl Default for Config {
            fn default() -> Config {
                Config {
                    file: None,
                    renamed_commands: Vec::new(),
                    user_lines: Vec::new(),
                    $($field: $default,)*
                }
            }
        }

        /// All directives.
        pub static DIRECTIVES: &[Directive] = &[$(Directive {
            name: $name,
            aliases: &[$($alias)?],
            effect: $effect,
            flags: $flags,
            shape: $shape,
            value: |config| &config.$field,
            value_mut: |config| &mut config.$field,
        },)*];
    };
}

directives! {
    "bind", bind: Vec<String> = vec!["*".into(), "-::*".into()], PLAIN, WORDS, Acts;
    "port", port: u16 = 6379, PORT, RUN, Acts;
    "metrics-port", metrics_port: u16 = 0, PORT, RUN, Acts;
    "metrics-tls", metrics_tls: bool = false, PLAIN, RUN, NeedsTls;
    "unixsocket", unixsocket: ByteText = "".into(), TEXT, START, Acts;
    "unixsocketperm", unixsocketperm: u32 = 0, Shape::octal(0o777), START, Acts;
    "tcp-backlog", tcp_backlog: u32 = 511, COUNT, START, Acts;
    "timeout", timeout: u32 = 0, COUNT, RUN, Acts;
    "tcp-keepalive", tcp_keepalive: u32 = 300, COUNT, RUN, Acts;
    "protected-mode", protected_mode: bool = true, PLAIN, RUN, Acts;
    "maxclients", maxclients: u32 = 10_000, int(1, UINT_MAX), RUN, Acts;
    "requirepass", requirepass: ByteText = "".into(), TEXT, SECRET, Acts;
    "bind-source-addr", bind_source_addr: ByteText = "".into(), TEXT, RUN, Acts;
    "socket-mark-id", socket_mark_id: u32 = 0, int(0, UINT_MAX), START, Acts;

    "daemonize", daemonize: bool = false, PLAIN, START, Acts;
    "pidfile", pidfile: ByteText = "".into(), TEXT, START, Acts;
    "dir", dir: Directory = Directory::current(), PLAIN, GUARD | LOADED, Acts;
    "loglevel", loglevel: LogLevel = LogLevel::Notice, PLAIN, RUN, Acts;
    "logfile", logfile: ByteText = "".into(), TEXT, START, Acts;
    "crash-log-enabled", crash_log_enabled: bool = true, PLAIN, RUN, Acts;
    "crash-memcheck-enabled", crash_memcheck_enabled: bool = true, PLAIN, RUN, NoMemoryTest;
    "use-exit-on-panic", use_exit_on_panic: bool = false, PLAIN, HIDDEN, Acts;
    "enable-debug-assert", enable_debug_assert: bool = false, PLAIN, START | HIDDEN, Debugging;
    "watchdog-period", watchdog_period: u32 = 0, COUNT, HIDDEN, Debugging;
    "always-show-logo", always_show_logo: bool = false, PLAIN, START, Acts;
    "syslog-enabled", syslog_enabled: bool = false, PLAIN, START, Acts;
    "syslog-ident", syslog_ident: ByteText = "redis".into(), TEXT, START, Acts;
    "syslog-facility", syslog_facility: SyslogFacility = SyslogFacility::Local0, PLAIN, START, Acts;
    "supervised", supervised: Supervised = Supervised::No, PLAIN, START, Acts;
    "set-proc-title", set_proc_title: bool = true, PLAIN, START, Acts;
    "proc-title-template", proc_title_template: ByteText = "{title} {listen-addr} {server-mode}".into(),
        text(check::title), RUN, Acts;
    "locale-collate", locale_collate: ByteText = "".into(), TEXT, RUN, NoLocale;
    "disable-thp", disable_thp: bool = true, PLAIN, START, Acts;
    "huge-pages", huge_pages: bool = false, PLAIN, RUN, Acts;
    "oom-score-adj", oom_score_adj: OomScoreAdj = OomScoreAdj::No, PLAIN, RUN, Acts;
    "oom-score-adj-values", oom_score_adj_values: OomScores = OomScores([0, 200, 800]), PLAIN, WORDS, Acts;
    "server-cpulist" / "server_cpulist", server_cpulist: ByteText = "".into(), TEXT, START, Acts;
    "bio-cpulist" / "bio_cpulist", bio_cpulist: ByteText = "".into(), TEXT, START, Acts;
    "aof-rewrite-cpulist" / "aof_rewrite_cpulist", aof_rewrite_cpulist: ByteText = "".into(), TEXT, START, Acts;
    "bgsave-cpulist" / "bgsave_cpulist", bgsave_cpulist: ByteText = "".into(), TEXT, START, Acts;
    "ignore-warnings", ignore_warnings: ByteText = "".into(), TEXT, RUN, NoStartWarnings;
    "shutdown-timeout", shutdown_timeout: u32 = 10, COUNT, RUN, Acts;
    "shutdown-on-sigint", shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(), PLAIN, WORDS, Acts;
    "shutdown-on-sigterm", shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(), PLAIN, WORDS, Acts;

    "enable-protected-configs", enable_protected_configs: Allowed = Allowed::No, PLAIN, START, Acts;
    "enable-debug-command", enable_debug_command: Allowed = Allowed::No, PLAIN, START, Acts;
    "enable-module-command", enable_module_command: Allowed = Allowed::No, PLAIN, START, NoModules;
    "aclfile", aclfile: ByteText = "".into(), TEXT, START, Acts;
    "acllog-max-len", acllog_max_len: usize = 128, LONG, RUN, Acts;
    "acl-pubsub-default", acl_pubsub_default: PubsubDefault = PubsubDefault::Resetchannels, PLAIN, RUN, Acts;

    "databases", databases: u32 = 16, int(1, INT_MAX), START, Acts;
    "hz", hz: u32 = 10, COUNT.kept(1, 500), RUN, Acts;
    "dynamic-hz", dynamic_hz: bool = true, PLAIN, RUN, Acts;
    "activerehashing", activerehashing: bool = true, PLAIN, RUN, Acts;
    "active-expire-effort", active_expire_effort: u32 = 1, int(1, 10), RUN, Acts;
    "io-threads", io_threads: u32 = 1, int(1, 128), RUN, Acts;
    "io-threads-do-reads", io_threads_do_reads: bool = false, PLAIN, START, ThreadsRead;
    "io-threads-always-active", io_threads_always_active: bool = false, PLAIN, HIDDEN, Acts;
    "client-output-buffer-limit", client_output_buffer_limit: OutputLimits = OutputLimits::usual(), PLAIN,
        WORDS | PARTS, Acts;
    "client-query-buffer-limit", client_query_buffer_limit: u64 = 1024 * MB, bytes(MB, SIZE_MAX), RUN, Acts;
    "proto-max-bulk-len", proto_max_bulk_len: u64 = 512 * MB, bytes(MB, SIZE_MAX), RUN, Acts;
    "busy-reply-threshold" / "lua-time-limit", busy_reply_threshold: u64 = 5000, LONG, RUN, Acts;
    "tracking-table-max-keys", tracking_table_max_keys: usize = 1_000_000, LONG, RUN, Acts;
    "notify-keyspace-events", notify_keyspace_events: EventClasses = EventClasses::default(), PLAIN, RUN, Acts;
    "latency-tracking", latency_tracking: bool = true, PLAIN, RUN, Acts;
    "latency-tracking-info-percentiles", latency_tracking_info_percentiles: Percentiles =
        Percentiles(vec![50.0, 99.0, 99.9]), PLAIN, WORDS, Acts;
    "latency-monitor-threshold", latency_monitor_threshold: u64 = 0, LONG, RUN, Acts;
    "slowlog-log-slower-than", slowlog_log_slower_than: i64 = 10_000, int(-1, LONG_MAX), RUN, Acts;
    "slowlog-max-len", slowlog_max_len: usize = 128, LONG, RUN, Acts;

    "maxmemory", maxmemory: u64 = 0, bytes(0, u64::MAX), RUN, Acts;
    "maxmemory-policy", maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::Noeviction, PLAIN, RUN, Acts;
    "maxmemory-samples", maxmemory_samples: u32 = 5, int(1, INT_MAX), RUN, Acts;
    "maxmemory-eviction-tenacity", maxmemory_eviction_tenacity: u32 = 10, int(0, 100), RUN, Acts;
    "maxmemory-clients", maxmemory_clients: MemoryShare = MemoryShare::Bytes(0), PLAIN, RUN, Acts;
    "lfu-log-factor", lfu_log_factor: u32 = 10, COUNT, RUN, Acts;
    "lfu-decay-time", lfu_decay_time: u32 = 1, COUNT, RUN, Acts;
    "lazyfree-lazy-eviction", lazyfree_lazy_eviction: bool = false, PLAIN, RUN, Acts;
    "lazyfree-lazy-expire", lazyfree_lazy_expire: bool = false, PLAIN, RUN, Acts;
    "lazyfree-lazy-server-del", lazyfree_lazy_server_del: bool = false, PLAIN, RUN, Acts;
    "lazyfree-lazy-user-del", lazyfree_lazy_user_del: bool = false, PLAIN, RUN, Acts;
    "lazyfree-lazy-user-flush", lazyfree_lazy_user_flush: bool = false, PLAIN, RUN, Acts;
    "jemalloc-bg-thread", jemalloc_bg_thread: bool = true, PLAIN, RUN, OwnAllocator;
    "activedefrag", activedefrag: bool = false, DEFRAG, RUN, Acts;
    "active-defrag-ignore-bytes", active_defrag_ignore_bytes: u64 = 100 * MB, bytes(1, SIZE_MAX), RUN, Acts;
    "active-defrag-threshold-lower", active_defrag_threshold_lower: u32 = 10, int(0, 1000), RUN, Acts;
    "active-defrag-threshold-upper", active_defrag_threshold_upper: u32 = 100, int(0, 1000), RUN, Acts;
    "active-defrag-cycle-min", active_defrag_cycle_min: u32 = 1, int(1, 99), RUN, Acts;
    "active-defrag-cycle-max", active_defrag_cycle_max: u32 = 25, int(1, 99), RUN, Acts;
    "active-defrag-max-scan-fields", active_defrag_max_scan_fields: u64 = 1000, int(1, LONG_MAX), RUN, Acts;

    "list-max-listpack-size" / "list-max-ziplist-size", list_max_listpack_size: i32 = -2, int(INT_MIN, INT_MAX),
        RUN, Acts;
    "list-compress-depth", list_compress_depth: u32 = 0, COUNT, RUN, Acts;
    "hash-max-listpack-entries" / "hash-max-ziplist-entries", hash_max_listpack_entries: usize = 512, LONG, RUN, Acts;
    "hash-max-listpack-value" / "hash-max-ziplist-value", hash_max_listpack_value: usize = 64, SIZE, RUN, Acts;
    "set-max-intset-entries", set_max_intset_entries: usize = 512, LONG, RUN, Acts;
    "set-max-listpack-entries", set_max_listpack_entries: usize = 128, LONG, RUN, Acts;
    "set-max-listpack-value", set_max_listpack_value: usize = 64, LONG, RUN, Acts;
    "zset-max-listpack-entries" / "zset-max-ziplist-entries", zset_max_listpack_entries: usize = 128, LONG, RUN,
        Acts;
    "zset-max-listpack-value" / "zset-max-ziplist-value", zset_max_listpack_value: usize = 64, SIZE, RUN,
        Acts;
    "stream-node-max-bytes", stream_node_max_bytes: usize = 4096, SIZE, RUN, Acts;
    "stream-node-max-entries", stream_node_max_entries: u64 = 100, LONG, RUN, Acts;
    "hll-sparse-max-bytes", hll_sparse_max_bytes: usize = 3000, SIZE, RUN, Acts;
    "sanitize-dump-payload", sanitize_dump_payload: SanitizePayload = SanitizePayload::No, PLAIN, RUN, AlwaysVerified;

    "save", save: SaveRules = SaveRules::usual(), PLAIN, WORDS, Acts;
    "dbfilename", dbfilename: ByteText = "dump.rdb".into(), text(check::snapshot_name), GUARD, Acts;
    "rdbcompression", rdbcompression: bool = true, PLAIN, RUN, Acts;
    "rdb-write-version", rdb_write_version: u32 = 11, int(10, 11), RUN, Acts;
    "rdbchecksum", rdbchecksum: bool = true, PLAIN, START, Acts;
    "rdb-del-sync-files", rdb_del_sync_files: bool = false, PLAIN, RUN, Acts;
    "rdb-save-incremental-fsync", rdb_save_incremental_fsync: bool = true, PLAIN, RUN, Acts;
    "stop-writes-on-bgsave-error", stop_writes_on_bgsave_error: bool = true, PLAIN, RUN, Acts;
    "rdb-key-save-delay", rdb_key_save_delay: i32 = 0, int(INT_MIN, INT_MAX), HIDDEN, Acts;
    "key-load-delay", key_load_delay: i32 = 0, int(INT_MIN, INT_MAX), HIDDEN, Debugging;
    "loading-process-events-interval-bytes", loading_process_events_interval_bytes: u64 = 2 * MB,
        int(1024, INT_MAX), HIDDEN, Debugging;
    "appendonly", appendonly: bool = false, PLAIN, LOADED, Acts;
    "appendfilename", appendfilename: ByteText = "appendonly.aof".into(), text(check::append_name), START, Acts;
    "appenddirname", appenddirname: ByteText = "appendonlydir".into(), text(check::append_directory), START, Acts;
    "appendfsync", appendfsync: AppendFsync = AppendFsync::Everysec, PLAIN, RUN, Acts;
    "no-appendfsync-on-rewrite", no_appendfsync_on_rewrite: bool = false, PLAIN, RUN, Acts;
    "auto-aof-rewrite-percentage", auto_aof_rewrite_percentage: u32 = 100, COUNT, RUN, Acts;
    "auto-aof-rewrite-min-size", auto_aof_rewrite_min_size: u64 = 64 * MB, SIZE, RUN, Acts;
    "aof-load-truncated", aof_load_truncated: bool = true, PLAIN, RUN, Acts;
    "aof-use-rdb-preamble", aof_use_rdb_preamble: bool = true, PLAIN, RUN, Acts;
    "aof-timestamp-enabled", aof_timestamp_enabled: bool = false, PLAIN, RUN, Acts;
    "aof-rewrite-incremental-fsync", aof_rewrite_incremental_fsync: bool = true, PLAIN, RUN, Acts;
    "aof-disable-auto-gc", aof_disable_auto_gc: bool = false, PLAIN, RUN, Acts;

    "replicaof" / "slaveof", replicaof: Primary = Primary::default(), PLAIN, START | WORDS, Acts;
    "masteruser", masteruser: ByteText = "".into(), TEXT, SECRET, Acts;
    "masterauth", masterauth: ByteText = "".into(), TEXT, SECRET, Acts;
    "replica-serve-stale-data" / "slave-serve-stale-data", replica_serve_stale_data: bool = true, PLAIN, RUN,
        Acts;
    "replica-read-only" / "slave-read-only", replica_read_only: bool = true, PLAIN, RUN, Acts;
    "replica-ignore-maxmemory" / "slave-ignore-maxmemory", replica_ignore_maxmemory: bool = true, PLAIN, RUN,
        Acts;
    "replica-lazy-flush" / "slave-lazy-flush", replica_lazy_flush: bool = false, PLAIN, RUN, Acts;
    "replica-priority" / "slave-priority", replica_priority: u32 = 100, COUNT, RUN, Acts;
    "replica-announced", replica_announced: bool = true, PLAIN, RUN, Acts;
    "replica-announce-ip" / "slave-announce-ip", replica_announce_ip: ByteText = "".into(), TEXT, RUN, Acts;
    "replica-announce-port" / "slave-announce-port", replica_announce_port: u16 = 0, PORT, RUN, Acts;
    "replica-ignore-disk-write-errors", replica_ignore_disk_write_errors: bool = false, PLAIN, RUN, Acts;
    "propagation-error-behavior", propagation_error_behavior: PropagationError = PropagationError::Ignore, PLAIN,
        RUN, Acts;
    "min-replicas-to-write" / "min-slaves-to-write", min_replicas_to_write: u32 = 0, COUNT, RUN, Acts;
    "min-replicas-max-lag" / "min-slaves-max-lag", min_replicas_max_lag: u32 = 10, COUNT, RUN, Acts;
    "min-replicas-to-ack", min_replicas_to_ack: u32 = 0, COUNT, RUN, Acts;
    "min-replicas-ack-timeout", min_replicas_ack_timeout: u32 = 5000, int(1, INT_MAX), RUN, Acts;
    "repl-timeout", repl_timeout: u32 = 60, int(1, INT_MAX), RUN, Acts;
    "repl-ping-replica-period" / "repl-ping-slave-period", repl_ping_replica_period: u32 = 10, int(1, INT_MAX), RUN,
        Acts;
    "repl-backlog-size", repl_backlog_size: u64 = MB, bytes(1, SIZE_MAX).kept(16 << 10, LONG_MAX), RUN,
        Acts;
    "repl-backlog-ttl", repl_backlog_ttl: u64 = 3600, LONG, RUN, Acts;
    "repl-disable-tcp-nodelay", repl_disable_tcp_nodelay: bool = false, PLAIN, RUN, Acts;
    "repl-diskless-sync", repl_diskless_sync: bool = true, PLAIN, RUN, Acts;
    "repl-diskless-sync-delay", repl_diskless_sync_delay: u32 = 5, COUNT, RUN, Acts;
    "repl-diskless-sync-max-replicas", repl_diskless_sync_max_replicas: u32 = 0, COUNT, RUN, Acts;
    "repl-diskless-load", repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, PLAIN, LOADED, Acts;

    "cluster-enabled", cluster_enabled: bool = false, PLAIN, START, Acts;
    "cluster-databases", cluster_databases: u32 = 1, int(1, INT_MAX), START, Acts;
    "cluster-config-file", cluster_config_file: ByteText = "nodes.conf".into(), TEXT, START, Acts;
    "cluster-port", cluster_port: u16 = 0, PORT, START, Acts;
    "cluster-node-timeout", cluster_node_timeout: u64 = 15_000, LONG, RUN, Acts;
    "cluster-ping-interval", cluster_ping_interval: u64 = 1000, LONG, HIDDEN, Acts;
    "cluster-replica-validity-factor" / "cluster-slave-validity-factor", cluster_replica_validity_factor: u32 = 10,
        COUNT, RUN, Acts;
    "cluster-replica-no-failover" / "cluster-slave-no-failover", cluster_replica_no_failover: bool = false, PLAIN,
        RUN, Acts;
    "cluster-migration-barrier", cluster_migration_barrier: u32 = 1, COUNT, RUN, Acts;
    "cluster-allow-replica-migration", cluster_allow_replica_migration: bool = true, PLAIN, RUN, Acts;
    "cluster-require-full-coverage", cluster_require_full_coverage: bool = true, PLAIN, RUN, Acts;
    "cluster-allow-reads-when-down", cluster_allow_reads_when_down: bool = false, PLAIN, RUN, Acts;
    "cluster-allow-pubsubshard-when-down", cluster_allow_pubsubshard_when_down: bool = true, PLAIN, RUN, Acts;
    "cluster-link-sendbuf-limit", cluster_link_sendbuf_limit: u64 = 0, bytes(0, u64::MAX), RUN, Acts;
    "cluster-announce-ip", cluster_announce_ip: ByteText = "".into(), TEXT, RUN, Acts;
    "cluster-announce-port", cluster_announce_port: u16 = 0, PORT, RUN, Acts;
    "cluster-announce-tls-port", cluster_announce_tls_port: u16 = 0, PORT, RUN, Acts;
    "cluster-announce-bus-port", cluster_announce_bus_port: u16 = 0, PORT, RUN, Acts;
    "cluster-announce-hostname", cluster_announce_hostname: ByteText = "".into(), text(check::hostname), RUN, Acts;
    "cluster-announce-human-nodename", cluster_announce_human_nodename: ByteText = "".into(), text(check::node_name),
        RUN, Acts;
    "cluster-preferred-endpoint-type", cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip, PLAIN, RUN,
        Acts;

    "tls-port", tls_port: u16 = 0, PORT, RUN, NeedsTls;
    "tls-cert-file", tls_cert_file: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-key-file", tls_key_file: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-key-file-pass", tls_key_file_pass: ByteText = "".into(), TEXT, SECRET | FILE, NeedsTls;
    "tls-client-cert-file", tls_client_cert_file: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-client-key-file", tls_client_key_file: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-client-key-file-pass", tls_client_key_file_pass: ByteText = "".into(), TEXT, SECRET | FILE, NeedsTls;
    "tls-ca-cert-file", tls_ca_cert_file: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-ca-cert-dir", tls_ca_cert_dir: ByteText = "".into(), TEXT, FILE, NeedsTls;
    "tls-dh-params-file", tls_dh_params_file: ByteText = "".into(), TEXT, FILE, NoDhParameters;
    "tls-protocols", tls_protocols: ByteText = "".into(), TEXT, RUN, NeedsTls;
    "tls-ciphers", tls_ciphers: ByteText = "".into(), TEXT, RUN, NeedsTls;
    "tls-ciphersuites", tls_ciphersuites: ByteText = "".into(), TEXT, RUN, NeedsTls;
    "tls-prefer-server-ciphers", tls_prefer_server_ciphers: bool = false, PLAIN, RUN, NeedsTls;
    "tls-session-caching", tls_session_caching: bool = true, PLAIN, RUN, NeedsTls;
    "tls-session-cache-size", tls_session_cache_size: u32 = 20 * 1024, COUNT, RUN, NeedsTls;
    "tls-session-cache-timeout", tls_session_cache_timeout: u32 = 300, COUNT, RUN, NeedsTls;
    "tls-auth-clients", tls_auth_clients: TlsClients = TlsClients::Yes, PLAIN, RUN, NeedsTls;
    "tls-replication", tls_replication: bool = false, PLAIN, RUN, NeedsTls;
    "tls-cluster", tls_cluster: bool = false, PLAIN, RUN, NeedsTls;
}
