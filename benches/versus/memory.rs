//! Resident bytes: the growth of a server per element, and per idle connection.
//!
//! The kernel's count of resident pages before and after, divided by the number of elements or connections added. That
//! includes everything a user pays for: headers, the table, the allocator's rounding, and the server's buffers. Each
//! row has a fresh server, because memory freed by an earlier row would hide a later one's growth.
//!
//! Limits: growth within pages that were already resident (start-up, the first connection) is not counted, which
//! matters below about ten thousand elements.

use super::client::{Client, numbered};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::{Bench, Result, say, system};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The section of these rows in the report.
const SECTION: &str = "memory";

/// The number of requests that a connection sends before the first reading, so that the server's own buffers exist.
const WARM_REQUESTS: usize = 2_000;

/// A reading counts once memory has changed by less than this for [`STILL_READINGS`] readings.
const STILL_BYTES: u64 = 64 * 1024;
const STILL_READINGS: usize = 10;
const READING_GAP: Duration = Duration::from_millis(100);
const READING_DEADLINE: Duration = Duration::from_secs(8);

/// The number of connections opened before their replies are read: fewer than fit in a server's backlog, and few enough
/// that the first is not idle for long before the last is opened.
const CONNECT_BATCH: usize = 256;

/// The buffer of an idle connection on this side.
const IDLE_BUFFER_BYTES: usize = 64;

/// A kind of element, and the function that adds the one with number `n`.
struct Kind {
    name: &'static str,
    command: &'static str,
    /// The target: the most bytes per element.
    target: f64,
    add: fn(&mut Client, usize) -> Result<()>,
}

static KINDS: [Kind; 12] = [
    Kind {
        name: "string, key 16 B, value 3 B",
        command: "SET",
        target: 50.0,
        add: |client, n| client.queue(&[b"SET", &numbered("key:", n), b"xxx"]),
    },
    Kind {
        name: "string, integer value",
        command: "SET",
        target: 50.0,
        // Above the small numbers for which some servers have shared objects.
        add: |client, n| {
            client.queue(&[b"SET", &numbered("key:", n), (1_000_000 + n).to_string().as_bytes()])
        },
    },
    Kind {
        name: "string, value 32 B",
        command: "SET",
        target: 80.0,
        add: |client, n| client.queue(&[b"SET", &numbered("key:", n), &[b'x'; 32]]),
    },
    Kind {
        name: "string, value 100 B",
        command: "SET",
        target: 148.0,
        add: |client, n| client.queue(&[b"SET", &numbered("key:", n), &[b'x'; 100]]),
    },
    Kind {
        name: "string, value 3 B, with TTL",
        command: "SET",
        target: 70.0,
        add: |client, n| {
            let seconds = (100_000 + n).to_string();
            client.queue(&[b"SET", &numbered("key:", n), b"xxx", b"EX", seconds.as_bytes()])
        },
    },
    Kind {
        name: "hash of 10 fields, a field",
        command: "HSET",
        target: 28.0,
        add: |client, n| {
            let (field, value) = (format!("field:{}", n % 10), format!("value:{:04}", n % 10_000));
            client.queue(&[b"HSET", &numbered("key:", n / 10), field.as_bytes(), value.as_bytes()])
        },
    },
    Kind {
        name: "set of 5 integers, a member",
        command: "SADD",
        target: 16.0,
        add: |client, n| {
            let member = (1_000_000_000 + n).to_string();
            client.queue(&[b"SADD", &numbered("key:", n / 5), member.as_bytes()])
        },
    },
    Kind {
        name: "hash of 1M fields (16 B → 12 B)",
        command: "HSET",
        target: 52.0,
        add: |client, n| client.queue(&[b"HSET", b"hash", &numbered("fld:", n), &numbered("", n)]),
    },
    Kind {
        name: "set of 1M members (17 B)",
        command: "SADD",
        target: 38.0,
        add: |client, n| client.queue(&[b"SADD", b"set", &numbered("memb:", n)]),
    },
    Kind {
        name: "sorted set of 1M members (17 B)",
        command: "ZADD",
        target: 62.0,
        add: |client, n| client.queue(&[b"ZADD", b"zset", n.to_string().as_bytes(), &numbered("memb:", n)]),
    },
    Kind {
        name: "list of 1M elements (18 B)",
        command: "RPUSH",
        target: 21.0,
        add: |client, n| client.queue(&[b"RPUSH", b"list", &numbered("elemt:", n)]),
    },
    Kind {
        name: "stream, 2 small fields",
        command: "XADD",
        target: 21.0,
        add: |client, n| {
            let value = (n % 1000).to_string();
            client.queue(&[b"XADD", b"stream", b"*", b"a", value.as_bytes(), b"b", value.as_bytes()])
        },
    },
];

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for kind in KINDS.iter().filter(|kind| bench.chosen(SECTION, kind.name)) {
        say(&format!("memory: {}", kind.name));
        let values = each(bench, |spec| element_bytes(bench, spec, kind))?;
        add(report, kind.name, values, kind.target);
    }
    let name = "idle connection";
    if bench.chosen(SECTION, name) {
        say(&format!("memory: {name}"));
        // Each connection takes a descriptor here and one in the server; each process has its own limit.
        let wanted = bench.scale.idle_connections;
        let allowed = system::raise_open_files(wanted as u64 + 500) as usize;
        let connections = wanted.min(allowed.saturating_sub(500)).max(1);
        if connections < wanted {
            report
                .notes
                .push(format!("Only {connections} idle connections: the limit of open files is {allowed}."));
        }
        let values = each(bench, |spec| idle_bytes(bench, spec, connections).map(Some))?;
        add(report, name, values, 512.0);
    }
    Ok(())
}

/// A value for every column; the bare loop stores nothing.
fn each(bench: &Bench, measure: impl Fn(&Spec) -> Result<Option<f64>>) -> Result<Vec<Option<f64>>> {
    std::iter::once(Ok(None)).chain(bench.specs.iter().map(measure)).collect()
}

fn add(report: &mut Report, name: &str, values: Vec<Option<f64>>, target: f64) {
    let target = Some(Target::AtMost(target));
    report.rows.push(Row { section: SECTION.into(), name: name.into(), unit: "B", values, target });
}

fn element_bytes(bench: &Bench, spec: &Spec, kind: &Kind) -> Result<Option<f64>> {
    let server = spec.start(bench.cores.server, &[])?;
    let mut client = server.connect()?;
    if !client.knows(kind.command.as_bytes())? {
        return Ok(None);
    }
    warm(&mut client)?;
    let before = still_bytes(&server)?;
    for number in 0..bench.scale.elements {
        (kind.add)(&mut client, number)?;
    }
    client.flush()?;
    let grown = still_bytes(&server)?.saturating_sub(before);
    Ok(Some(grown as f64 / bench.scale.elements as f64))
}

fn idle_bytes(bench: &Bench, spec: &Spec, connections: usize) -> Result<f64> {
    let most = (connections + 100).to_string();
    let server = spec.start(bench.cores.server, &["--maxclients", &most])?;
    let mut client = server.connect()?;
    warm(&mut client)?;
    let before = still_bytes(&server)?;
    let mut idle: Vec<Client> = Vec::with_capacity(connections);
    while idle.len() < connections {
        let batch = CONNECT_BATCH.min(connections - idle.len());
        let begin = idle.len();
        for _ in 0..batch {
            let mut client = server.connect_with(IDLE_BUFFER_BYTES)?;
            client.queue(&[b"PING"])?;
            client.send()?;
            idle.push(client);
        }
        // Idle but used: each has had a reply, and the buffers that the server keeps after that count.
        idle[begin..].iter_mut().try_for_each(Client::flush)?;
    }
    // Read immediately: some servers shrink the buffers of clients that have been idle for seconds, and the number of
    // these clients would depend on the speed of connecting.
    server.settled_cpu_time()?;
    let grown = server.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / connections as f64)
}

/// Makes the server allocate its own buffers.
pub fn warm(client: &mut Client) -> Result<()> {
    for _ in 0..WARM_REQUESTS {
        client.queue(&[b"PING"])?;
    }
    client.flush()
}

/// Resident bytes once they have stopped changing.
pub fn still_bytes(server: &Server) -> Result<u64> {
    let deadline = Instant::now() + READING_DEADLINE;
    let mut last = server.resident_bytes()?;
    let mut still = 0;
    while still < STILL_READINGS && Instant::now() < deadline {
        sleep(READING_GAP);
        let now = server.resident_bytes()?;
        still = if now.abs_diff(last) < STILL_BYTES { still + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
