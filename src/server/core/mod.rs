//! The state that commands run on: the data, the configuration, the clocks and the statistics. Nothing here has a
//! descriptor or knows of a connection.

pub mod dispatch;
pub mod latency;
pub mod memory_limit;
pub mod redact;
pub mod slowlog;
pub mod stats;
pub mod timing;

use latency::LatencyMonitor;
use memory_limit::MemoryLimit;
use slowlog::SlowLog;
use stats::Stats;
use timing::{LoopClock, Stopwatch};

use crate::alloc::{self, Counting};
use crate::codec::hex;
use crate::command::CommandNames;
use crate::command::acl;
use crate::command::table::keys::KeyPosition;
use crate::command::waiting::Parking;
use crate::config::Config;
use crate::db::{AccessPolicy, Keyspace, Moment};
use crate::dict::{KeyHasher, Seed};
use crate::sys::{clock, memory, process};
use crate::types::Shapes;
use crate::types::access::Lfu;

/// Unused memory beyond this is returned to the kernel if it was not needed for a second; of the rest, half is returned
/// each second.
const KEEP_FREE_BYTES: usize = 16 << 20;

/// The data, and the state of the commands themselves.
pub struct Core {
    pub(super) config: Config,
    pub(super) keyspace: Keyspace,
    /// The names of the commands.
    pub(super) names: CommandNames,
    pub(super) stats: Stats,
    pub(super) clock: LoopClock,
    pub(super) stopwatch: Stopwatch,
    pub(super) slowlog: SlowLog,
    pub(super) latency: LatencyMonitor,
    pub(super) limit: MemoryLimit,
    /// Bytes allocated before the first key.
    pub(super) startup_memory: u64,
    pub(super) run_id: String,
    /// Whether this server is a replica, whose primary evicts keys for it (`replica-ignore-maxmemory`).
    pub(super) is_replica: bool,
    /// Who may do what.
    pub(super) users: acl::Users,
    /// Denied calls and logins (`ACL LOG`).
    pub(super) acl_log: acl::log::Log,
    /// Whether scripts may call `noscript` commands (`DEBUG SET-DISABLE-DENY-SCRIPTS`).
    pub(super) scripts_call_all: bool,
    /// What the command that was just called waits for.
    pub(super) wait: Option<Box<Parking>>,
    /// The ticks that command ran before it began to wait.
    pub(super) wait_ticks: u64,
    /// The keys of a call, for callers that need all of them: filled anew for each call.
    pub(super) keys: Vec<KeyPosition>,
}

impl Core {
    /// Creates an empty keyspace, configured by `config`.
    pub fn new(config: Config, names: CommandNames) -> Core {
        let mut random = [[0; 8]; 2];
        process::random_bytes(random.as_flattened_mut());
        let seed = Seed::new(random.map(u64::from_le_bytes));
        let hasher = KeyHasher::new(seed, config.cluster_enabled);
        let mut core = Core {
            keyspace: Keyspace::with_hasher(config.databases as usize, hasher),
            stats: Stats::new(clock::TickRate::calibrate()),
            clock: LoopClock::new(),
            stopwatch: Stopwatch::new(),
            slowlog: SlowLog::default(),
            latency: LatencyMonitor::default(),
            limit: MemoryLimit::default(),
            startup_memory: used_memory(),
            names,
            run_id: random_id(),
            is_replica: false,
            users: acl::Users::default(),
            acl_log: acl::log::Log::default(),
            scripts_call_all: false,
            wait: None,
            wait_ticks: 0,
            keys: Vec::new(),
            config,
        };
        core.keyspace.moment = Moment::at(core.clock.unix_ms());
        core.apply_config();
        core.apply_password();
        core
    }

    /// Gives the default user the password of `requirepass`, or none: called at the start and after `CONFIG SET`.
    pub fn apply_password(&mut self) {
        let mut user = self.users.get(acl::UserId::DEFAULT).clone();
        user.set_only_password(self.config.requirepass.as_bytes());
        self.users.put(user);
    }

    /// Reads the clock, and sets the time by which later commands execute.
    #[inline]
    pub fn read_clock(&mut self) {
        self.clock.update();
        self.keyspace.moment = Moment::at(self.clock.unix_ms());
    }

    /// Copies configuration values to the places that keep their own copy: called at the start and after `CONFIG SET`.
    pub fn apply_config(&mut self) {
        let Core { config, keyspace, .. } = self;
        keyspace.access_policy = if config.maxmemory_policy.is_lfu() {
            AccessPolicy::Lfu(Lfu { log_factor: config.lfu_log_factor, decay_time: config.lfu_decay_time })
        } else {
            AccessPolicy::Lru
        };
        keyspace.lazy_user_del = config.lazyfree_lazy_user_del;
        keyspace.lazy_server_del = config.lazyfree_lazy_server_del;
        keyspace.lazy_expire = config.lazyfree_lazy_expire;
        keyspace.lazy_eviction = config.lazyfree_lazy_eviction;
        keyspace.shapes = Shapes {
            hash_max_listpack_entries: config.hash_max_listpack_entries,
            hash_max_listpack_value: config.hash_max_listpack_value,
            set_max_intset_entries: config.set_max_intset_entries,
            set_max_listpack_entries: config.set_max_listpack_entries,
            set_max_listpack_value: config.set_max_listpack_value,
            zset_max_listpack_entries: config.zset_max_listpack_entries,
            zset_max_listpack_value: config.zset_max_listpack_value,
            list_max_listpack_size: config.list_max_listpack_size,
            list_packed_threshold: keyspace.shapes.list_packed_threshold,
            list_compress_depth: config.list_compress_depth,
            stream_node_max_bytes: config.stream_node_max_bytes,
            stream_node_max_entries: config.stream_node_max_entries,
            seed: keyspace.shapes.seed,
        };
        self.limit.apply(config, self.is_replica);
        self.stats.track_latency = config.latency_tracking;
        self.stopwatch.set_slow(slow_ns(config), self.stats.tick_rate());
    }

    /// Returns memory to the kernel that was not needed since the last call, about a second ago.
    pub fn give_back_memory(&mut self) {
        let idle = alloc::idle_bytes();
        if idle > 0 {
            self.keyspace.lazy_mut().purge(idle - idle.min(KEEP_FREE_BYTES) / 2);
        }
    }

    /// Takes a sample of all rates.
    pub fn sample(&mut self, now_us: u64) {
        self.stats.sample(now_us);
        self.stopwatch.refresh(self.stats.tick_rate());
    }
}

/// Returns from how many nanoseconds on a command concerns the slow log or the latency monitor.
fn slow_ns(config: &Config) -> u64 {
    let slowlog =
        u64::try_from(config.slowlog_log_slower_than).map_or(u64::MAX, |us| us.saturating_mul(1000));
    let latency = match config.latency_monitor_threshold {
        0 => u64::MAX,
        ms => ms.saturating_mul(1_000_000),
    };
    slowlog.min(latency)
}

/// Returns a unique name of 40 hexadecimal digits.
fn random_id() -> String {
    let mut random = [0; 20];
    process::random_bytes(&mut random);
    hex(&random)
}

/// Returns `used_memory`: live blocks of the process's allocator and of the keyspace's, the tables' mappings, and the
/// rings, without the memory of scripts, as in Redis. Costs a few loads.
pub fn used_memory() -> u64 {
    let all = Counting::live_bytes() + alloc::live_bytes() + memory::mapped_bytes() + memory::ring_bytes();
    all.saturating_sub(alloc::apart::bytes()) as u64
}
