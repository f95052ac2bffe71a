//! Stalls: the longest PING of another client while the server executes one large command.
//!
//! ```text
//!   MSET of 764 MB, FLUSHALL, CONFIG SET maxmemory, … ─▶ ┌────────┐ ◀─ PING every 0.1 ms: the longest one
//!                                                        │ server │
//!                                                        └────────┘
//! ```
//!
//! As in `keyspace.rs`, the time for which the server's main thread waited for a core is subtracted from the PINGs.
//! Each round starts a fresh server, and the report has the median of the rounds. Redis documents SUNIONSTORE and KEYS
//! as O(N), so these are only compared, without a limit.

use super::client::{Client, numbered};
use super::fork::{field, info, used_memory};
use super::keyspace::{Fresh, beside};
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

/// How long the PINGs go on after the command, since work that it deferred may stall other clients too.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// How long a server may take to save or to evict.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a value of the MSETs.
const VALUE_BYTES: usize = 10_000;

/// Bytes of each value that is evicted, and by how many bytes `maxmemory` is lowered.
const EVICTED_BYTES: usize = 100;
const LOWERED_BYTES: f64 = 200e6;

/// A large command.
struct Case {
    name: &'static str,
    /// The number of keys, values or members; a fiftieth of it in a quick run.
    count: usize,
    directives: &'static [&'static str],
    fill: fn(&mut Client, usize) -> Result<()>,
    act: fn(&mut Client, usize) -> Result<()>,
    target: Target,
}

/// Keys of a large keyspace.
const FULL_KEYS: usize = 5_000_000;

static CASES: [Case; 8] = [
    Case {
        name: "MSET of # values of 10 KB",
        count: 6_100,
        directives: &[],
        fill: |_, _| Ok(()),
        act: mset,
        target: Target::AtMost(STALL_MS),
    },
    Case {
        name: "MSET of # values of 10 KB",
        count: 76_400,
        directives: &[],
        fill: |_, _| Ok(()),
        act: mset,
        target: Target::AtMost(STALL_MS),
    },
    Case {
        name: "FLUSHALL ASYNC of # keys",
        count: FULL_KEYS,
        directives: &[],
        fill: |client, count| keys(client, count, 3),
        act: |client, _| one(client, "FLUSHALL ASYNC"),
        target: Target::AtMost(STALL_MS),
    },
    Case {
        name: "maxmemory of # keys lowered by 200 MB, and a SET",
        count: FULL_KEYS,
        directives: &["--maxmemory-policy", "allkeys-lru"],
        fill: |client, count| keys(client, count, EVICTED_BYTES),
        act: lower,
        target: Target::AtMost(STALL_MS),
    },
    Case {
        name: "BGSAVE of # keys",
        count: FULL_KEYS,
        directives: &[],
        fill: |client, count| keys(client, count, 3),
        act: |client, _| save(client),
        target: Target::OfRedis(1.0),
    },
    Case {
        name: "SUNIONSTORE of 2 × # members",
        count: 1_000_000,
        directives: &[],
        fill: two_sets,
        act: |client, _| one(client, "SUNIONSTORE to a b"),
        target: Target::OfRedis(1.0),
    },
    Case {
        name: "SUNIONSTORE of 2 × # members, once more",
        count: 1_000_000,
        directives: &[],
        fill: |client, count| two_sets(client, count).and_then(|()| one(client, "SUNIONSTORE to a b")),
        act: |client, _| one(client, "SUNIONSTORE to a b"),
        target: Target::OfRedis(1.0),
    },
    Case {
        name: "KEYS of # keys",
        count: FULL_KEYS,
        directives: &[],
        fill: |client, count| keys(client, count, 3),
        act: |client, _| one(client, "KEYS *"),
        target: Target::OfRedis(1.0),
    },
];

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

/// The longest PING during the command, and the duration of the command, in milliseconds.
fn measure(bench: &Bench, spec: &Spec, case: &Case, count: usize) -> Result<(f64, f64)> {
    let directives = [&["--enable-debug-command", "yes"], case.directives].concat();
    let fresh = Fresh::start(bench, spec, &directives)?;
    let mut client = fresh.server.connect()?;
    (case.fill)(&mut client, count)?;
    // Wait until work deferred by the filling is done.
    fresh.server.settled_cpu_time()?;
    sleep(AFTERWARDS);
    let mut took = Duration::ZERO;
    let (_, pause_ms) = beside(&fresh, || {
        let begin = Instant::now();
        (case.act)(&mut client, count)?;
        took = begin.elapsed();
        sleep(AFTERWARDS);
        Ok(())
    })?;
    super::fork::remove_dump();
    Ok((pause_ms, took.as_secs_f64() * 1e3))
}

/// Executes one command, given as words separated by spaces.
fn one(client: &mut Client, words: &str) -> Result<()> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    client.must(&words).map(drop)
}

/// Keys `key:0` and so on with values of `bytes`, made by the server itself.
fn keys(client: &mut Client, count: usize, bytes: usize) -> Result<()> {
    one(client, &format!("DEBUG POPULATE {count} key {bytes}"))
}

fn mset(client: &mut Client, count: usize) -> Result<()> {
    let names: Vec<Vec<u8>> = (0..count).map(|number| numbered("key:", number)).collect();
    let value = vec![b'x'; VALUE_BYTES];
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    words.extend(names.iter().flat_map(|name| [name.as_slice(), &value]));
    client.must(&words).map(drop)
}

/// Lowers `maxmemory` and writes a key, and reads both replies.
fn lower(client: &mut Client, _: usize) -> Result<()> {
    let limit = (used_memory(client)? - LOWERED_BYTES).max(1e6) as u64;
    client.must(&[b"CONFIG", b"SET", b"maxmemory", limit.to_string().as_bytes()])?;
    client.must(&[b"SET", b"one", b"more"]).map(drop)
}

/// Saves in the background and waits until the snapshot is complete.
fn save(client: &mut Client) -> Result<()> {
    one(client, "BGSAVE")?;
    let deadline = Instant::now() + PATIENCE;
    while field(&info(client)?, "rdb_bgsave_in_progress") != Some(0.0) {
        if Instant::now() > deadline {
            return Err("the server has not finished its snapshot in time".into());
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Two sets without a member in common.
fn two_sets(client: &mut Client, count: usize) -> Result<()> {
    for (key, prefix) in [(b"a", "a:"), (b"b", "b:")] {
        for number in 0..count {
            client.queue(&[b"SADD", key, &numbered(prefix, number)])?;
        }
    }
    client.flush()
}
