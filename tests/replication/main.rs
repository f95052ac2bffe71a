//! Replication beside Redis: primaries and replicas of both kinds, and what cuts them apart.

#[path = "../support/mod.rs"]
mod support;

mod links;
mod roles;

use support::{Client, Launch, Random, Server, Value, eventually};

/// Who is at an end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The binary under test.
    Subject,
    /// Redis.
    Redis,
}

/// Primary and replica.
pub const PAIRS: [(Kind, Kind); 3] =
    [(Kind::Subject, Kind::Subject), (Kind::Subject, Kind::Redis), (Kind::Redis, Kind::Subject)];

/// A server without persistence that begins a snapshot for replicas at once.
pub fn start(kind: Kind, flags: &str) -> Server {
    let launch = match kind {
        Kind::Subject => Launch::subject(),
        Kind::Redis => Launch::redis(),
    };
    launch
        .flags("--save  --enable-debug-command yes --repl-diskless-sync-delay 0 --repl-ping-replica-period 1")
        .flags(flags)
        .start()
}

/// Waits until `probe` holds.
pub fn until(what: &str, mut probe: impl FnMut() -> bool) {
    eventually(what, || probe().then_some(()));
}

/// A field of `INFO replication`; empty if it is not there.
pub fn field(client: &mut Client, name: &str) -> String {
    let text = client.run("INFO replication").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_default()
}

/// Makes `replica` follow `primary`, and waits until it does.
pub fn follow(replica: &mut Client, primary: &Server) {
    replica.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_for_link(replica);
}

/// Waits until the stream comes.
pub fn wait_for_link(replica: &mut Client) {
    until("the link to the primary", || field(replica, "master_link_status") == "up");
}

/// Waits until both have the same offset and the same data.
pub fn wait_for_equality(primary: &mut Client, replica: &mut Client) {
    until("the same data", || {
        let offset = field(primary, "master_repl_offset");
        offset == field(replica, "master_repl_offset")
            && primary.run("DEBUG DIGEST") == replica.run("DEBUG DIGEST")
    });
}

/// Writes of many kinds: values, collections, expiry, other databases, transactions, scripts, and a large value.
pub fn write_much(client: &mut Client, random: &mut Random, rounds: usize) {
    for _ in 0..rounds {
        let (key, number) = (random.below(50), random.below(1000));
        let line = match random.below(14) {
            0 => format!("SET string:{key} {number}"),
            1 => format!("INCR counter:{key}"),
            2 => format!("RPUSH list:{key} {number}"),
            3 => format!("LPOP list:{key}"),
            4 => format!("SADD set:{key} {number}"),
            5 => format!("SPOP set:{key}"),
            6 => format!("HSET hash:{key} f{number} {number}"),
            7 => format!("ZADD zset:{key} {number} m{number}"),
            8 => format!("XADD stream:{key} * f {number}"),
            9 => format!("SET expiring:{key} {number} PX {}", 1 + random.below(60)),
            10 => format!("DEL string:{key} list:{key}"),
            11 => format!("SELECT {}", random.below(3)),
            12 => format!(
                "EVAL redis.call('INCR',KEYS[1]);return{{redis.call('SPOP',KEYS[2])}} 2 counter:{key} set:{key}"
            ),
            _ => format!("APPEND string:{key} {}", "x".repeat(number * 10)),
        };
        client.run(&line);
        if random.chance(10) {
            client.ok("MULTI");
            client.run(&format!("INCR counter:{key}"));
            client.run(&format!("RPUSH list:{key} {number}"));
            assert!(matches!(client.run("EXEC"), Value::Array(_)));
        }
    }
    client.ok("SELECT 0");
}
