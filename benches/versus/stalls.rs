//! Stalls: the longest PING of another client while the server executes one large command.
//!
//! ```text
//!   MSET of 764 MB, FLUSHALL, CONFIG SET maxmemory, … ─▶ ┌────────┐ ◀─ PING every 0.1 ms: the longest one
//!                                                        │ server │
//!                                                        └────────┘
//! ```
//!
//! As in `keyspace.rs`, the time for which the server's main thread waited for a core is subtracted from the PINGs.
//! They go on until the effect of the command is complete (memory is freed, a child has ended), and a little longer.
//! Each round starts a fresh server, and the report has the median of the rounds. Redis documents SUNIONSTORE and KEYS
//! as O(N), so these are only compared, without a limit.

use super::client::{Client, numbered};
use super::fork::{field, info, used_memory};
use super::keyspace::{Fresh, Probe};
use super::report::{Report, Row, Target};
use super::servers::Spec;
use super::stats::{grouped, median};
use super::{Bench, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name of this section on the command line.
pub const SECTION: &str = "stalls";

/// The longest wait that a command may cause, in milliseconds.
const STALL_MS: f64 = 5.0;

/// How long the PINGs go on after the effect of a command is complete.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// The longest time that the effect may take to complete.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the benchmark checks whether the effect is complete.
const GLANCE: Duration = Duration::from_millis(50);

/// Bytes of a value of the MSETs.
const VALUE_BYTES: usize = 10_000;

/// The size of each value in the eviction case, and the number of bytes per key by which `maxmemory` is lowered.
const EVICTED_BYTES: usize = 100;
const LOWERED_BYTES: f64 = 40.0;

/// The server and the clients of a case.
struct Stage {
    fresh: Fresh,
    client: Client,
    /// The client with the subscriptions.
    subscriber: Option<Client>,
    /// The number of keys, values, members or subscriptions.
    count: usize,
    /// The lowered `maxmemory`.
    limit: f64,
}

/// A large command.
struct Case {
    name: &'static str,
    /// [`Stage::count`]; a fiftieth in a quick run.
    count: usize,
    directives: &'static [&'static str],
    fill: fn(&mut Stage) -> Result<()>,
    act: fn(&mut Stage) -> Result<()>,
    /// Whether the effect is complete, as INFO shows it.
    is_over: fn(&Stage, &str) -> bool,
    target: Target,
}

/// Keys of a large keyspace.
const FULL_KEYS: usize = 5_000_000;

/// Subscriptions of one client.
const SUBSCRIPTIONS: usize = 100_000;

/// The defaults of a case: no directives, and the effect is complete once no lazy freeing is pending.
const PLAIN: Case = Case {
    name: "",
    count: FULL_KEYS,
    directives: &[],
    fill: |_| Ok(()),
    act: |_| Ok(()),
    is_over: |_, info| field(info, "lazyfree_pending_objects") == Some(0.0),
    target: Target::OfRedis(1.0),
};

static CASES: [Case; 14] = [
    Case { name: "MSET of # values of 10 KB", count: 6_100, act: mset, target: STALL, ..PLAIN },
    Case { name: "MSET of # values of 10 KB", count: 76_400, act: mset, target: STALL, ..PLAIN },
    Case {
        name: "FLUSHALL ASYNC of # keys",
        fill: |stage| keys(stage, 3),
        act: |stage| one(stage, "FLUSHALL ASYNC"),
        target: STALL,
        ..PLAIN
    },
    Case {
        name: "maxmemory of # keys lowered by 40 bytes a key, and a SET",
        directives: &["--maxmemory-policy", "allkeys-lru"],
        fill: |stage| keys(stage, EVICTED_BYTES),
        act: lower,
        is_over: |stage, info| field(info, "used_memory").is_some_and(|used| used <= 1.01 * stage.limit),
        target: STALL,
        ..PLAIN
    },
    Case {
        name: "BGSAVE of # keys",
        fill: |stage| keys(stage, 3),
        act: |stage| one(stage, "BGSAVE"),
        is_over: |_, info| field(info, "rdb_bgsave_in_progress") == Some(0.0),
        ..PLAIN
    },
    Case {
        name: "SUNIONSTORE of 2 × # members",
        count: 1_000_000,
        fill: two_sets,
        act: |stage| one(stage, "SUNIONSTORE to a b"),
        ..PLAIN
    },
    Case {
        name: "SUNIONSTORE of 2 × # members, once more",
        count: 1_000_000,
        fill: |stage| two_sets(stage).and_then(|()| one(stage, "SUNIONSTORE to a b")),
        act: |stage| one(stage, "SUNIONSTORE to a b"),
        ..PLAIN
    },
    Case { name: "KEYS of # keys", fill: |stage| keys(stage, 3), act: |stage| one(stage, "KEYS *"), ..PLAIN },
    Case { name: "SUBSCRIBE of # channels", act: |stage| subscribe(stage, "SUBSCRIBE"), ..SUBSCRIBED },
    Case { name: "PSUBSCRIBE of # patterns", act: |stage| subscribe(stage, "PSUBSCRIBE"), ..SUBSCRIBED },
    Case {
        name: "UNSUBSCRIBE of # channels",
        fill: |stage| subscribe(stage, "SUBSCRIBE"),
        act: |stage| unsubscribe(stage, "UNSUBSCRIBE"),
        ..SUBSCRIBED
    },
    Case {
        name: "PUNSUBSCRIBE of # patterns",
        fill: |stage| subscribe(stage, "PSUBSCRIBE"),
        act: |stage| unsubscribe(stage, "PUNSUBSCRIBE"),
        ..SUBSCRIBED
    },
    Case {
        name: "the end of a client with # channels",
        fill: |stage| subscribe(stage, "SUBSCRIBE"),
        act: leave,
        is_over: |_, info| field(info, "pubsub_channels") == Some(0.0),
        ..SUBSCRIBED
    },
    Case {
        name: "the end of a client with # patterns",
        fill: |stage| subscribe(stage, "PSUBSCRIBE"),
        act: leave,
        is_over: |_, info| field(info, "pubsub_patterns") == Some(0.0),
        ..SUBSCRIBED
    },
];

/// The target of commands that must not delay other clients.
const STALL: Target = Target::AtMost(STALL_MS);

/// The defaults of the cases with subscriptions.
const SUBSCRIBED: Case = Case { count: SUBSCRIPTIONS, target: STALL, ..PLAIN };

/// Measures the selected rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for case in &CASES {
        let count = case.count / bench.scale.stall_divisor;
        let name = case.name.replace('#', &grouped(count as i64));
        if !bench.chosen(SECTION, &name) {
            continue;
        }
        let samples = bench.in_turn(SECTION, &name, |spec| measure(bench, spec, case, count))?;
        let mut add = |name: String, unit, of: fn(&(f64, f64)) -> f64, target| {
            let servers = samples.iter().map(|samples| median(samples.iter().map(of)));
            // The bare loop has no data.
            let values = std::iter::once(None).chain(servers).collect();
            report.rows.push(Row { section: SECTION.into(), name, unit, values, target });
        };
        add(name, "ms", |sample| sample.0, Some(case.target));
        add("… until its reply".into(), "ms", |sample| sample.1, None);
    }
    Ok(())
}

/// The longest PING during the command and until its effect is complete, and the duration of the command, in milliseconds.
fn measure(bench: &Bench, spec: &Spec, case: &Case, count: usize) -> Result<(f64, f64)> {
    let directives = [&["--enable-debug-command", "yes"], case.directives].concat();
    let fresh = Fresh::start(bench, spec, &directives)?;
    let client = fresh.server.connect()?;
    let mut stage = Stage { fresh, client, subscriber: None, count, limit: 0.0 };
    (case.fill)(&mut stage)?;
    // Work left over from filling is complete.
    stage.fresh.server.settled_cpu_time()?;
    sleep(AFTERWARDS);
    let mut watcher = stage.fresh.server.connect()?;
    let probe = Probe::new(&stage.fresh)?;
    let mut took = Duration::ZERO;
    let (_, pause_ms) = probe.beside(|| {
        let begin = Instant::now();
        (case.act)(&mut stage)?;
        took = begin.elapsed();
        let deadline = begin + PATIENCE;
        while !(case.is_over)(&stage, &info(&mut watcher)?) {
            if Instant::now() > deadline {
                return Err("the effect of the command is not complete".into());
            }
            sleep(GLANCE);
        }
        sleep(AFTERWARDS);
        Ok(())
    })?;
    super::fork::remove_dump();
    Ok((pause_ms, took.as_secs_f64() * 1e3))
}

/// Executes one command, given as words separated by spaces.
fn one(stage: &mut Stage, words: &str) -> Result<()> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    stage.client.must(&words).map(drop)
}

/// Creates keys `key:0` and so on with values of `bytes`, by a command of the server.
fn keys(stage: &mut Stage, bytes: usize) -> Result<()> {
    one(stage, &format!("DEBUG POPULATE {} key {bytes}", stage.count))
}

fn mset(stage: &mut Stage) -> Result<()> {
    let names: Vec<Vec<u8>> = (0..stage.count).map(|number| numbered("key:", number)).collect();
    let value = vec![b'x'; VALUE_BYTES];
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    words.extend(names.iter().flat_map(|name| [name.as_slice(), &value]));
    stage.client.must(&words).map(drop)
}

/// Lowers `maxmemory` and writes a key, and reads both replies.
fn lower(stage: &mut Stage) -> Result<()> {
    stage.limit = (used_memory(&mut stage.client)? - LOWERED_BYTES * stage.count as f64).floor();
    one(stage, &format!("CONFIG SET maxmemory {}", stage.limit))?;
    one(stage, "SET one more")
}

/// Creates two disjoint sets.
fn two_sets(stage: &mut Stage) -> Result<()> {
    for (key, prefix) in [(b"a", "a:"), (b"b", "b:")] {
        for number in 0..stage.count {
            stage.client.queue(&[b"SADD", key, &numbered(prefix, number)])?;
        }
    }
    stage.client.flush()
}

/// Subscribes one client to all names with one command.
fn subscribe(stage: &mut Stage, command: &str) -> Result<()> {
    let names: Vec<Vec<u8>> = (0..stage.count).map(|number| numbered("channel:", number)).collect();
    let words: Vec<&[u8]> =
        std::iter::once(command.as_bytes()).chain(names.iter().map(Vec::as_slice)).collect();
    let mut client = stage.fresh.server.connect()?;
    client.queue_for(&words, stage.count);
    client.flush()?;
    stage.subscriber = Some(client);
    Ok(())
}

fn unsubscribe(stage: &mut Stage, command: &str) -> Result<()> {
    let client = stage.subscriber.as_mut().ok_or("no client is subscribed")?;
    client.queue_for(&[command.as_bytes()], stage.count);
    client.flush()
}

fn leave(stage: &mut Stage) -> Result<()> {
    stage.subscriber = None;
    Ok(())
}
