//! The acts of the clients in a storm, generated from a seed.
//!
//! Most acts are commands of the random families of the differential tests, on the same few keys. The others have replies
//! that depend on time or on other clients: keys that expire within milliseconds, waits without a timeout, pauses, kills,
//! and commands that affect the whole server.

use crate::args;
use crate::random::{Mix, words};
use crate::support::Random;
use crate::support::client::encode;
use std::fmt;

/// An act of a client.
pub enum Act {
    Send(Vec<u8>),
    /// Sends the bytes before the position now, and the others before the client's next act.
    Half(Vec<u8>, usize),
    /// Stops reading replies.
    StopReading,
    /// Closes its connection without reading the rest, and opens a new one.
    Leave,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(600)].escape_ascii().to_string();
        match self {
            Act::Send(bytes) => write!(f, "{}", cut(bytes)),
            Act::Half(bytes, at) => write!(f, "{} | {}", cut(&bytes[..*at]), cut(&bytes[*at..])),
            Act::StopReading => write!(f, "(reads no more)"),
            Act::Leave => write!(f, "(leaves)"),
        }
    }
}

type Call = Vec<Vec<u8>>;

const CHANNELS: &[&str] = &["news", "n:1", "n:2", "other", "__keyevent@0__:set", "__redis__:invalidate"];
const PATTERNS: &[&str] = &["*", "n:*", "n?1", "__keyspace@0__:*", "__key*", "__keyevent@*__:*"];

/// One of `lines`, filled.
fn picked(lines: &[&str], random: &mut Random, opened: u64) -> Call {
    filled(random.pick::<&str>(lines), random, opened)
}

/// Replaces the placeholders of a call: `%k` is a key of any type, `%c` a channel, `%p` a pattern, `%i` the ID of a
/// client that may be connected, `%m` a few milliseconds, `%n` a small number.
fn filled(line: &str, random: &mut Random, opened: u64) -> Call {
    let word = |word: &str| match word {
        "%k" => words::any_key(random),
        "%c" => words::one_of(random, CHANNELS),
        "%p" => words::one_of(random, PATTERNS),
        "%i" => random.below(opened as usize + 4).to_string().into_bytes(),
        "%m" => random.pick(&[1, 1, 2, 3, 5, 20]).to_string().into_bytes(),
        "%n" => random.below(20).to_string().into_bytes(),
        "%v" => words::value(random),
        "''" => Vec::new(),
        plain => plain.as_bytes().to_vec(),
    };
    line.split(' ').map(word).collect()
}

/// Calls that create keys and fields with a short time to live.
const SHORT_LIVED: &[&str] = &[
    "PEXPIRE %k %m",
    "PEXPIRE %k %m",
    "PEXPIRE %k %m",
    "PEXPIRE %k %m NX",
    "PEXPIRE %k %m GT",
    "SET %k %v PX %m",
    "SET %k %v PX %m GET",
    "PSETEX %k %m %v",
    "GETEX %k PX %m",
    "PERSIST %k",
    "HPEXPIRE hash:0 %m FIELDS 1 m1",
    "HPEXPIRE hash:1 %m FIELDS 3 m1 m2 m3",
    "HPEXPIRE %k %m FIELDS 2 m1 m4",
    "HSET hash:0 m1 1 m2 2 m3 3",
    "HSET hash:1 m1 1",
    "EVAL redis.call('set',KEYS[1],1,'px',ARGV[1])return(redis.call('rpush',KEYS[2],1)) 2 %k %k %m",
    "EVAL redis.call('pexpire',KEYS[1],ARGV[1])return(redis.call('copy',KEYS[1],KEYS[2],'replace')) 2 %k %k %m",
    "RPUSH %k new newer",
    "SETNX %k v",
    "MSET %k 1 %k 2 %k 3",
    "MSETNX %k 1 %k 2",
    "COPY %k %k REPLACE",
    "COPY %k %k DB 1 REPLACE",
    "RENAME %k %k",
    "RENAMENX %k %k",
    "MOVE %k 1",
    "SUNIONSTORE %k set:0 set:1",
    "ZUNIONSTORE %k 2 zset:0 set:1",
    "BITOP OR %k a b",
    "PFMERGE %k hll:0 hll:1",
    "GEOSEARCHSTORE %k geo:0 FROMLONLAT 15 37 BYRADIUS 9000 km",
    "SORT list:0 BY nosort STORE %k",
    "LMOVE list:0 %k LEFT RIGHT",
    "SMOVE set:0 %k m1",
];

const TRANSACTIONS: &[&str] =
    &["MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "UNWATCH", "WATCH %k", "WATCH %k %k"];

const SUBSCRIPTIONS: &[&str] = &[
    "SUBSCRIBE %c",
    "SUBSCRIBE %c %c",
    "PSUBSCRIBE %p",
    "SSUBSCRIBE %c",
    "UNSUBSCRIBE %c",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE %p",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "RESET",
    "PUBLISH %c %v",
    "PUBLISH %c %v",
    "SPUBLISH %c %v",
    "PUBSUB CHANNELS",
    "MONITOR",
    "HELLO 3",
    "HELLO 3",
    "HELLO 2",
];

const TRACKING: &[&str] = &[
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT TRACKING ON OPTIN",
    "CLIENT TRACKING ON OPTOUT",
    "CLIENT TRACKING ON BCAST",
    "CLIENT TRACKING ON BCAST PREFIX k PREFIX l",
    "CLIENT TRACKING ON REDIRECT %i",
    "CLIENT TRACKING ON BCAST REDIRECT %i",
    "CLIENT TRACKING OFF",
    "CLIENT CACHING YES",
    "CLIENT CACHING NO",
    "CLIENT TRACKINGINFO",
];

const WAITS: &[&str] = &[
    "BLPOP %k %k 0",
    "BLPOP list:0 list:1 0.003",
    "BRPOP list:2 0",
    "BLMOVE list:0 list:1 LEFT RIGHT 0",
    "BLMOVE list:0 %k LEFT RIGHT 0.01",
    "BRPOPLPUSH list:1 list:2 0.02",
    "BLMPOP 0 2 list:0 list:3 LEFT COUNT 2",
    "BZPOPMIN zset:0 zset:1 0",
    "BZPOPMAX %k 0.005",
    "BZMPOP 0 1 zset:2 MAX COUNT 2",
    "XREAD BLOCK 0 STREAMS stream:0 stream:1 $ $",
    "XREADGROUP GROUP g c BLOCK 0 STREAMS stream:0 >",
    "XREADGROUP GROUP g1 c BLOCK 5 STREAMS stream:1 >",
    "WAIT 1 5",
    "WAITAOF 1 0 0",
    "WAITAOF 1 0 20",
    "WAITAOF 1 1 3",
    "CLIENT UNBLOCK %i",
    "CLIENT UNBLOCK %i ERROR",
    "CLIENT UNBLOCK %i TIMEOUT",
];

const CLIENTS: &[&str] = &[
    "CLIENT PAUSE %m WRITE",
    "CLIENT PAUSE %m WRITE",
    "CLIENT PAUSE 30 WRITE",
    "CLIENT PAUSE %m ALL",
    "CLIENT PAUSE 10 ALL",
    "CLIENT UNPAUSE",
    "CLIENT KILL ID %i",
    "CLIENT KILL ID %i SKIPME no",
    "CLIENT KILL TYPE pubsub",
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY ON",
    "CLIENT NO-EVICT on",
    "CLIENT NO-TOUCH on",
    "CLIENT SETNAME somebody",
    "CLIENT LIST",
    "CLIENT INFO",
    "CLIENT GETREDIR",
    "SELECT 0",
    "SELECT 1",
    "QUIT",
];

/// Long commands that affect the whole server.
const SAVES: &[&str] = &[
    "BGREWRITEAOF",
    "BGREWRITEAOF",
    "BGREWRITEAOF",
    "BGSAVE",
    "BGSAVE",
    "BGSAVE SCHEDULE",
    "SAVE",
    "DEBUG RELOAD",
    "DEBUG RELOAD",
    "DEBUG LOADAOF",
    "DEBUG LOADAOF",
];

const SERVER: &[&str] = &[
    "SWAPDB 0 1",
    "SWAPDB 0 1",
    "SWAPDB 1 2",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "FLUSHDB",
    "UNLINK %k %k %k",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 100b",
    "DEBUG QUICKLIST-PACKED-THRESHOLD 4096b",
    "DEBUG DICT-RESIZING 0",
    "DEBUG DICT-RESIZING 1",
    "DEBUG SLEEP 0.002",
    "DEBUG OBJECT %k",
    "DEBUG DIGEST",
    "DEBUG HTSTATS 0",
    "DEBUG CHANGE-REPL-ID",
    "DEBUG AOF-FLUSH-SLEEP 200",
    "DEBUG AOF-FLUSH-SLEEP 0",
    "MEMORY PURGE",
    "MEMORY STATS",
    "MEMORY DOCTOR",
    "MEMORY USAGE %k",
    "INFO everything",
    "LATENCY LATEST",
    "LATENCY RESET",
    "SLOWLOG GET",
    "SLOWLOG RESET",
    "CONFIG RESETSTAT",
    "CONFIG GET *",
    "SCRIPT FLUSH",
    "SCRIPT FLUSH ASYNC",
    "FUNCTION FLUSH",
    "FUNCTION DUMP",
    "COMMAND",
    "ROLE",
];

/// Scripts that run longer than `busy-reply-threshold`. The endless ones write nothing, so they can be killed.
const BUSY: &[&str] = &[
    "while true do redis.call('exists', KEYS[1]) end",
    "while true do pcall(function() while true do end end) end",
    "for i = 1, 5000 do redis.call('incr', 'counter') redis.call('rpush', 'list:0', i) end redis.call('del', 'list:0')",
    "for i = 1, 3000 do redis.call('set', KEYS[1], i, 'px', 2) redis.call('lpush', 'list:1', i) end return 1",
    "local t = {} for i = 1, 30000 do t[i] = {i} end redis.call('set', KEYS[1], #t)",
];

/// Directives that do not affect the bytes of values (as `hll-sparse-max-bytes` does): an AOF is loaded under a single
/// configuration.
const CONFIG: &[&str] = &[
    "maxmemory 0",
    "maxmemory 0",
    "maxmemory 0",
    "maxmemory 2500kb",
    "maxmemory 4mb",
    "maxmemory 100kb",
    "maxmemory-policy allkeys-lru",
    "maxmemory-policy allkeys-lfu",
    "maxmemory-policy allkeys-random",
    "maxmemory-policy volatile-ttl",
    "maxmemory-policy volatile-lru",
    "maxmemory-policy noeviction",
    "maxmemory-clients 0",
    "maxmemory-clients 0",
    "maxmemory-clients 300kb",
    "maxmemory-eviction-tenacity 0",
    "maxmemory-eviction-tenacity 100",
    "notify-keyspace-events ''",
    "notify-keyspace-events KEA",
    "notify-keyspace-events AKEnm",
    "notify-keyspace-events Kx",
    "appendonly no",
    "appendonly yes",
    "appendonly yes",
    "appendfsync always",
    "appendfsync everysec",
    "appendfsync no",
    "aof-use-rdb-preamble yes",
    "aof-use-rdb-preamble no",
    "aof-timestamp-enabled yes",
    "aof-timestamp-enabled no",
    "auto-aof-rewrite-min-size 100kb",
    "activedefrag yes",
    "activedefrag no",
    "active-defrag-ignore-bytes 1",
    "active-defrag-threshold-lower 0",
    "active-expire-effort 10",
    "lazyfree-lazy-expire yes",
    "lazyfree-lazy-expire no",
    "lazyfree-lazy-eviction yes",
    "lazyfree-lazy-server-del yes",
    "lazyfree-lazy-user-del yes",
    "lazyfree-lazy-user-flush yes",
    "lazyfree-lazy-user-flush no",
    "hash-max-listpack-entries 3",
    "hash-max-listpack-entries 128",
    "set-max-intset-entries 2",
    "set-max-listpack-entries 4",
    "set-max-listpack-entries 128",
    "zset-max-listpack-entries 4",
    "zset-max-listpack-entries 128",
    "list-max-listpack-size 3",
    "list-max-listpack-size -2",
    "list-compress-depth 1",
    "list-compress-depth 0",
    "stream-node-max-entries 5",
    "tracking-table-max-keys 5",
    "tracking-table-max-keys 1000000",
    "slowlog-log-slower-than 0",
    "slowlog-log-slower-than 10000",
    "slowlog-max-len 10",
    "latency-monitor-threshold 1",
    "latency-monitor-threshold 0",
    "busy-reply-threshold 5",
    "busy-reply-threshold 50",
    "client-output-buffer-limit normal 100kb 50kb 1",
    "client-output-buffer-limit normal 0 0 0",
    "client-query-buffer-limit 1mb",
    "hz 500",
    "hz 10",
    "dynamic-hz no",
    "save 1 1",
    "save ''",
    "rdbcompression no",
    "rdbcompression yes",
];

/// Generates acts.
pub struct Acts<'a> {
    mix: &'a Mix,
    /// The number of endless scripts that may be running.
    endless: usize,
}

impl Acts<'_> {
    pub fn new(mix: &Mix) -> Acts<'_> {
        Acts { mix, endless: 0 }
    }

    /// The next act of a client. The server has accepted `opened` connections or a few more.
    pub fn next(&mut self, random: &mut Random, opened: u64) -> Act {
        match random.below(200) {
            0 => Act::Leave,
            1 => Act::StopReading,
            2..8 => {
                let bytes = self.some_calls(random, opened);
                let at = random.below(bytes.len());
                Act::Half(bytes, at)
            }
            8..24 => Act::Send(self.some_calls(random, opened)),
            24..34 => Act::Send(self.transaction(random, opened)),
            _ => Act::Send(encode(&self.call(random, opened))),
        }
    }

    /// A pipeline.
    fn some_calls(&mut self, random: &mut Random, opened: u64) -> Vec<u8> {
        let count = 1 + random.below(20);
        (0..count).flat_map(|_| encode(&self.call(random, opened))).collect()
    }

    /// A whole transaction. Half of them contain a pause, during which expired keys are not deleted.
    fn transaction(&mut self, random: &mut Random, opened: u64) -> Vec<u8> {
        let mut bytes = encode(&["MULTI"]);
        if random.chance(2) {
            let pause =
                *random.pick(&["CLIENT PAUSE %m WRITE", "CLIENT PAUSE 20 WRITE", "CLIENT PAUSE %m ALL"]);
            bytes.extend(encode(&filled(pause, random, opened)));
        }
        for _ in 0..=random.below(8) {
            let call = if random.chance(2) {
                picked(SHORT_LIVED, random, opened)
            } else {
                self.call(random, opened)
            };
            bytes.extend(encode(&call));
        }
        bytes.extend(encode(&[if random.chance(12) { "DISCARD" } else { "EXEC" }]));
        bytes
    }

    /// One call.
    fn call(&mut self, random: &mut Random, opened: u64) -> Call {
        if self.endless > 0 && random.chance(20) {
            self.endless -= 1;
            return words::split(random.pick::<&str>(&["SCRIPT KILL", "SCRIPT KILL", "FUNCTION KILL"]));
        }
        match random.below(1000) {
            0..550 => self.mix.command(random).args,
            550..620 => self.mix.nonsense(random).args,
            620..760 => picked(SHORT_LIVED, random, opened),
            760..800 => picked(TRANSACTIONS, random, opened),
            800..850 => picked(SUBSCRIPTIONS, random, opened),
            850..880 => picked(TRACKING, random, opened),
            880..925 => picked(WAITS, random, opened),
            925..955 => picked(CLIENTS, random, opened),
            955..959 => picked(SAVES, random, opened),
            959..975 => picked(SERVER, random, opened),
            975..998 => [args!["CONFIG", "SET"], picked(CONFIG, random, opened)].concat(),
            _ => self.busy(random),
        }
    }

    fn busy(&mut self, random: &mut Random) -> Call {
        let program = *random.pick(BUSY);
        self.endless += usize::from(program.starts_with("while true"));
        args!["EVAL", program, "1", words::any_key(random)]
    }
}
