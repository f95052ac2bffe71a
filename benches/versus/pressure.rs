//! Pressure: the cost of a SET that has to evict, the excess of memory over its limit, and the latencies of others.
//!
//! One client SETs keys, almost all of them new, as fast as the server accepts them, while the server is at its
//! `maxmemory`. Others send PINGs at a fixed rate, measured from the time that each is due; one reads INFO.
//!
//! ```text
//!   SET SET SET … ─▶ ┌────────┐ ◀─ PING 1,000 a second: latency
//!                    │ server │
//!   CPU time a SET ◀ └────────┘ ◀─ INFO 50 a second: used_memory − maxmemory
//! ```
//!
//! A server may exceed the limit by the memory of the command that it executes: it evicts before a command, not within
//! it.

use super::client::numbered;
use super::fork::{field, info};
use super::generator::{self, Ask, Beside, Plan};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::{median, percentile};
use super::{Bench, Result, watch};
use std::time::{Duration, Instant};

/// The name of this section on the command line.
pub const SECTION: &str = "pressure";

/// The number of PINGs per second, and of the connections that take turns with them.
const RATE: u64 = 1_000;
const CONNECTIONS: usize = 8;

/// The timeout for replies after the end; later ones do not count.
const PATIENCE: Duration = Duration::from_secs(5);

/// The timeout until a server evicts.
const FILL_DEADLINE: Duration = Duration::from_secs(120);

/// The number of keys set between two checks whether it evicts.
const FILL_STRETCH: usize = 10_000;

/// A SET with eviction costs at most this times that of Redis: one and a half times its efficiency.
const TARGET: Target = Target::OfRedis(1.0 / 1.5);

/// The allowed excess over the limit beyond one command: buffers of connections.
const SLACK_BYTES: usize = 64 * 1024;

const POLICIES: [&str; 2] = ["allkeys-lru", "allkeys-lfu"];

/// Values, and the limit for them.
struct Values {
    name: &'static str,
    bytes: [usize; 2],
    megabytes: usize,
    /// SETs sent at once.
    batch: usize,
    /// The number of different keys.
    keys: usize,
}

const VALUES: [Values; 2] = [
    Values { name: "values of 100 B", bytes: [100, 100], megabytes: 100, batch: 16, keys: 50_000_000 },
    Values {
        name: "values of 10 B to 1 MB",
        bytes: [10, 1_000_000],
        megabytes: 200,
        batch: 1,
        keys: 1_000_000,
    },
];

/// The figures of one round.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    set_us: f64,
    sets_a_second: f64,
    excess_kb: f64,
    p99_ms: f64,
    p999_ms: f64,
    worst_ms: f64,
    late_ms: f64,
}

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for values in &VALUES {
        for policy in POLICIES {
            let name = format!("{policy}, {}", values.name);
            if !bench.chosen(SECTION, &name) {
                continue;
            }
            let samples = bench.in_turn(SECTION, &name, |spec| measure(bench, spec, policy, values))?;
            add(report, &name, values, &samples);
        }
    }
    Ok(())
}

fn measure(bench: &Bench, spec: &Spec, policy: &str, values: &Values) -> Result<Sample> {
    let limit = (values.megabytes * 1_000_000).to_string();
    let server = spec.start(bench.cores.server, &["--maxmemory", &limit, "--maxmemory-policy", policy])?;
    let flood = Beside::Flood { keys: values.keys, value_bytes: values.bytes, batch: values.batch };
    fill(&server, values)?;
    let plan = plan(Duration::from_secs(1).min(bench.scale.tail_length), bench.scale.tail_length);
    let mut most = 0.0_f64;
    let mut look = |info: &str| {
        let bytes = |name| field(info, name).unwrap_or(f64::INFINITY);
        most = most.max(bytes("used_memory") - bytes("maxmemory"));
    };
    let (before, begin) = (server.settled_cpu_time()?, Instant::now());
    let outcome = watch::while_doing(&server, &mut look, || generator::run(server.port, &plan, &flood))?;
    let elapsed = begin.elapsed().as_secs_f64();
    let used_us = server.cpu_time()?.since(before).run_ns as f64 / 1e3;
    let sets = outcome.beside.max(1) as f64;
    let ms = |samples: &[u32], fraction| -> Result<f64> {
        Ok(f64::from(percentile(samples, fraction).ok_or("the load took no samples")?) / 1e6)
    };
    Ok(Sample {
        set_us: used_us / sets,
        sets_a_second: sets / elapsed,
        excess_kb: most / 1e3,
        p99_ms: ms(&outcome.latencies, 0.99)?,
        p999_ms: ms(&outcome.latencies, 0.999)?,
        worst_ms: ms(&outcome.latencies, 1.0)?,
        late_ms: ms(&outcome.late, 0.999)?,
    })
}

fn plan(warm_up: Duration, length: Duration) -> Plan {
    Plan {
        connections: CONNECTIONS,
        ask: Ask::Ping,
        rate: RATE,
        warm_up,
        length,
        keys: 1,
        value_bytes: 0,
        patience: PATIENCE,
    }
}

/// Sets keys until the server evicts, each with a value of the middle length.
fn fill(server: &Server, values: &Values) -> Result<()> {
    let mut client = server.connect()?;
    let deadline = Instant::now() + FILL_DEADLINE;
    let value = vec![b'f'; (values.bytes[0] as f64 * values.bytes[1] as f64).sqrt() as usize];
    let mut number = 0;
    while field(&info(&mut client)?, "evicted_keys") == Some(0.0) {
        if Instant::now() > deadline {
            return Err("the server evicts nothing".into());
        }
        for _ in 0..FILL_STRETCH {
            client.queue(&[b"SET", &numbered("fill:", number), &value])?;
            number += 1;
        }
        client.flush()?;
    }
    Ok(())
}

/// Adds the rows of one policy and one type of values: `samples` by server and round.
fn add(report: &mut Report, name: &str, values: &Values, samples: &[Vec<Sample>]) {
    let section = format!("{SECTION}: {name}, maxmemory {} MB", values.megabytes);
    // The bare loop is not measured.
    let servers = |of: &dyn Fn(&[Sample]) -> Option<f64>| -> Vec<Option<f64>> {
        std::iter::once(None).chain(samples.iter().map(|samples| of(samples))).collect()
    };
    let medians = |field: fn(&Sample) -> f64| servers(&|samples| median(samples.iter().map(field)));
    let most = |field: fn(&Sample) -> f64| servers(&|samples| samples.iter().map(field).reduce(f64::max));
    let allowed = Target::AtMost((values.bytes[1] + SLACK_BYTES) as f64 / 1e3);
    // If the PINGs were sent late, their latencies are not the server's.
    let late = samples.iter().flatten().any(|sample| sample.late_ms > sample.p999_ms / 2.0);
    let beside_redis = Some(Target::OfRedis(1.0)).filter(|_| !late);
    if late {
        report.notes.push(format!("No verdict on the PINGs of {name}: they were sent late."));
    }
    let rows = [
        ("CPU time a SET", "µs", medians(|sample| sample.set_us), Some(TARGET)),
        ("SETs a second, more is better", "", medians(|sample| sample.sets_a_second), None),
        ("used_memory over maxmemory, most", "KB", most(|sample| sample.excess_kb), Some(allowed)),
        ("PING p99", "ms", medians(|sample| sample.p99_ms), None),
        ("PING p99.9", "ms", medians(|sample| sample.p999_ms), beside_redis),
        ("PING worst", "ms", most(|sample| sample.worst_ms), None),
        ("PING sent late, p99.9", "ms", medians(|sample| sample.late_ms), None),
    ];
    for (name, unit, values, target) in rows {
        report.rows.push(Row { section: section.clone(), name: name.into(), unit, values, target });
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn a_server_is_judged_by_its_cost_and_its_worst_excess() {
        let of = |set_us, excess_kb| Sample { set_us, excess_kb, ..Sample::default() };
        let mut report = Report { rows: Vec::new(), ..sample() };
        let samples = [vec![of(1.0, 20.0), of(1.2, 70.0), of(0.9, 0.0)], vec![of(2.0, 0.0)]];
        add(&mut report, "x", &VALUES[0], &samples);
        let row = |name: &str| report.rows.iter().find(|row| row.name.starts_with(name)).unwrap();
        assert_eq!(row("CPU").values, [None, Some(1.0), Some(2.0)]);
        assert_eq!(row("CPU").meets(), Some(true));
        assert_eq!(row("used_memory").values, [None, Some(70.0), Some(0.0)]);
        assert_eq!(row("used_memory").meets(), Some(false), "64 KB and 100 B are allowed");
        assert_eq!(row("SETs").meets(), None);
    }
}
