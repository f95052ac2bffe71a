//! Replication beside Redis: primaries and replicas of both kinds, and broken links.

#[path = "../support/mod.rs"]
mod support;

mod ack;
mod ack_chaos;
mod backlog;
mod chaos;
mod directives;
mod diskless;
mod failover;
mod hostile;
mod links;
mod load;
mod messages;
mod migrate;
mod nodes;
mod restarts;
mod roles;
mod sentinel;
mod shutdown;
mod sockets;
mod trio;

use support::{Client, Launch, Random, Server, Value, eventually};

/// The server at one end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The binary under test.
    Subject,
    /// Redis.
    Redis,
}

/// Pairs of a primary and a replica.
pub const PAIRS: [(Kind, Kind); 3] =
    [(Kind::Subject, Kind::Subject), (Kind::Subject, Kind::Redis), (Kind::Redis, Kind::Subject)];

/// A server without persistence that starts a snapshot for replicas at once.
pub fn start(kind: Kind, flags: &str) -> Server {
    launch(kind).flags(flags).start()
}

/// The launch that [`start`] uses.
pub fn launch(kind: Kind) -> Launch {
    let launch = match kind {
        Kind::Subject => Launch::subject(),
        Kind::Redis => Launch::redis(),
    };
    launch
        .flags("--save  --enable-debug-command yes --repl-diskless-sync-delay 0 --repl-ping-replica-period 1")
}

/// Translates a text of Valkey to the words of Redis.
pub fn in_words_of_redis(text: &str) -> String {
    text.replace("Valkey", "Redis").replace("its primary", "its master").replace("the primary", "the master")
}

/// Waits until `probe` holds.
pub fn until(what: &str, mut probe: impl FnMut() -> bool) {
    eventually(what, || probe().then_some(()));
}

/// A field of `INFO replication`; empty if it does not exist.
pub fn field(client: &mut Client, name: &str) -> String {
    field_of(&client.run("INFO replication").text(), name)
}

/// A field in a reply to `INFO`; empty if it does not exist.
pub fn field_of(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().to_owned()
}

/// Servers of these kinds with these flags, each with a client. Each except the first is a replica of the one before
/// it: the link is up, and the offsets are equal.
pub fn chain<const N: usize>(servers: [(Kind, &str); N]) -> [(Server, Client); N] {
    chain_with(servers, |_| {})
}

/// [`chain`], with data that `write` writes to the first server before it has a replica.
pub fn chain_with<const N: usize>(
    servers: [(Kind, &str); N],
    write: impl FnOnce(&mut Client),
) -> [(Server, Client); N] {
    linked(servers, write, |index| index - 1)
}

/// Like [`chain_with`], but all the others are replicas of the first server.
pub fn star_with<const N: usize>(
    servers: [(Kind, &str); N],
    write: impl FnOnce(&mut Client),
) -> [(Server, Client); N] {
    linked(servers, write, |_| 0)
}

fn linked<const N: usize>(
    servers: [(Kind, &str); N],
    write: impl FnOnce(&mut Client),
    primary_of: impl Fn(usize) -> usize,
) -> [(Server, Client); N] {
    let mut nodes = servers.map(|(kind, flags)| {
        let server = start(kind, flags);
        let client = server.client();
        (server, client)
    });
    write(&mut nodes[0].1);
    for index in 1..N {
        let (before, rest) = nodes.split_at_mut(index);
        let (primary, to_primary) = &mut before[primary_of(index)];
        follow(&mut rest[0].1, primary);
        wait_for_offset(to_primary, &mut rest[0].1);
    }
    nodes
}

/// Makes `replica` follow `primary`, and waits until the link is up.
pub fn follow(replica: &mut Client, primary: &Server) {
    replica.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_for_link(replica);
}

/// Waits until the link is up.
pub fn wait_for_link(replica: &mut Client) {
    until("the link to the primary", || field(replica, "master_link_status") == "up");
}

/// Waits until both have the same offset.
pub fn wait_for_offset(primary: &mut Client, replica: &mut Client) {
    until("the same offset", || field(primary, "master_repl_offset") == field(replica, "master_repl_offset"));
}

/// Waits until both have the same offset and the same data.
pub fn wait_for_equality(primary: &mut Client, replica: &mut Client) {
    until("the same data", || {
        let offset = field(primary, "master_repl_offset");
        offset == field(replica, "master_repl_offset")
            && primary.run("DEBUG DIGEST") == replica.run("DEBUG DIGEST")
    });
}

/// Waits until the AOF is rewritten. A replica that has loaded a snapshot rewrites its AOF, which is not up to date before.
pub fn wait_for_rewrite(client: &mut Client) {
    client.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    client.wait_for_info("aof_rewrite_scheduled", |scheduled| scheduled == 0);
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

/// Writes of many kinds: values, collections, expiry, other databases, transactions, scripts, and a large value.
pub fn write_much(client: &mut Client, random: &mut Random, rounds: usize) {
    for _ in 0..rounds {
        if random.chance(14) {
            client.ok(&format!("SELECT {}", random.below(3)));
        }
        let (key, number) = (random.below(50), random.below(1000));
        client.run(&any_write(random));
        if random.chance(10) {
            client.ok("MULTI");
            client.run(&format!("INCR counter:{key}"));
            client.run(&format!("RPUSH list:{key} {number}"));
            assert!(matches!(client.run("EXEC"), Value::Array(_)));
        }
    }
    client.ok("SELECT 0");
}

/// A write to a key whose name tells its kind.
pub fn any_write(random: &mut Random) -> String {
    let (key, number) = (random.below(50), random.below(1000));
    match random.below(13) {
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
        11 => format!(
            "EVAL redis.call('INCR',KEYS[1]);return{{redis.call('SPOP',KEYS[2])}} 2 counter:{key} set:{key}"
        ),
        _ => format!("APPEND string:{key} {}", "x".repeat(number * 10)),
    }
}
