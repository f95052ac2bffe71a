//! Expiry: the latencies of other clients while a million keys, or five, expire within one second.
//!
//! ```text
//!   fill ────▶ │ quiet │ … wait … │1 s│ due │ until all are deleted and the length has passed │
//!               GETs                GETs: latency from the time that each is due
//! ```
//!
//! The GETs read other keys, which do not expire. The keys are deleted once INFO counts none of them; the section
//! measures the time from the first expiry until then, and its cost beyond that of the GETs.

use super::client::numbered;
use super::fork::{field, info};
use super::generator::{self, Ask, Beside, Outcome, Plan};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::{grouped, median, percentile};
use super::{Bench, Result, watch};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The name of this section on the command line.
pub const SECTION: &str = "expiry";

/// The number of keys that are read.
const KEYS: usize = 100_000;

/// The size of their values in bytes.
const VALUE_BYTES: usize = 1024;

/// The divisor of the rate of tails, so that no server lacks time for the load.
const LOAD_DIVISOR: u64 = 4;

/// The lowest speed of filling in keys per second, which determines when the keys expire.
const FILL_PER_SECOND: u64 = 100_000;

/// The time between the start of the GETs and the first expiry.
const AHEAD: Duration = Duration::from_secs(1);

/// The span in which the keys expire, in milliseconds.
const SPAN_MS: usize = 1000;

/// The timeout for replies after the end; later ones do not count.
const PATIENCE: Duration = Duration::from_secs(5);

/// The timeout for deleting the keys.
const GONE_DEADLINE: Duration = Duration::from_secs(300);

/// The target for the p99.9 of other clients.
const TARGET_MS: f64 = 5.0;

/// The figures of one round.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    quiet_p999_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    worst_ms: f64,
    late_ms: f64,
    gone_s: f64,
    key_us: f64,
    stale_percent: f64,
    time_caps: f64,
}

/// Measures both numbers of keys, or a small one in a quick run, and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for millions in [1, 5] {
        let keys = millions * bench.scale.elements;
        let name = format!("{} keys due in one second", grouped(keys as i64));
        if !bench.chosen(SECTION, &name) {
            continue;
        }
        let samples = bench.in_turn(SECTION, &name, |spec| measure(bench, spec, keys))?;
        add(report, &format!("{name}, {} GETs a second", grouped(rate(bench) as i64)), &samples);
    }
    Ok(())
}

fn rate(bench: &Bench) -> u64 {
    (bench.scale.rate / LOAD_DIVISOR).max(1)
}

fn measure(bench: &Bench, spec: &Spec, keys: usize) -> Result<Sample> {
    let server = spec.start(bench.cores.server, &[])?;
    let quiet_length = bench.scale.tail_length;
    let filling = Duration::from_secs(2 + keys as u64 / FILL_PER_SECOND);
    let due = SystemTime::now().duration_since(UNIX_EPOCH)? + filling + quiet_length + AHEAD;
    fill(&server, keys, due)?;

    let quiet_begin = (server.settled_cpu_time()?, Instant::now());
    let quiet = generator::run(server.port, &plan(bench, quiet_length), &Beside::Nothing)?;
    let quiet_share = share(&server, quiet_begin)?;

    let left = |to: Duration| -> Result<Duration> {
        Ok(to.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH)?))
    };
    if left(due)? < AHEAD {
        return Err("filling took so long that the keys were due before the load began".into());
    }
    sleep(left(due.saturating_sub(AHEAD))?);
    let first_due = Instant::now() + left(due)?;
    let (mut gone, mut stale) = (None, 0.0_f64);
    let mut look = |info: &str| {
        stale = stale.max(field(info, "expired_stale_perc").unwrap_or(0.0));
        if gone.is_none() && field(info, "expired_keys").is_some_and(|count| count >= keys as f64) {
            gone = Some(Instant::now());
        }
    };
    let begin = (server.cpu_time()?, Instant::now());
    let length = AHEAD + bench.scale.tail_length;
    let outcome = watch::while_doing(&server, &mut look, || {
        let outcome = generator::run(server.port, &plan(bench, length), &Beside::Nothing)?;
        wait_until_gone(&server, keys)?;
        Ok(outcome)
    })?;
    let elapsed_us = begin.1.elapsed().as_micros() as f64;
    let busy_us = share(&server, begin)? * elapsed_us;
    let read_us = quiet_share * length.as_micros() as f64;
    let text = info(&mut server.connect()?)?;
    let ms = |outcome: &Outcome, fraction| millis(&outcome.latencies, fraction);
    Ok(Sample {
        quiet_p999_ms: ms(&quiet, 0.999)?,
        p99_ms: ms(&outcome, 0.99)?,
        p999_ms: ms(&outcome, 0.999)?,
        worst_ms: ms(&outcome, 1.0)?,
        late_ms: millis(&outcome.late, 0.999)?,
        gone_s: gone.ok_or("the keys are still there")?.saturating_duration_since(first_due).as_secs_f64(),
        key_us: (busy_us - read_us).max(0.0) / keys as f64,
        stale_percent: stale,
        time_caps: field(&text, "expired_time_cap_reached_count").unwrap_or(0.0),
    })
}

fn millis(samples: &[u32], fraction: f64) -> Result<f64> {
    Ok(f64::from(percentile(samples, fraction).ok_or("the load took no samples")?) / 1e6)
}

/// The share of its core that the server has used since `begin`.
fn share(server: &Server, begin: (super::system::CpuTime, Instant)) -> Result<f64> {
    let elapsed = begin.1.elapsed();
    Ok(server.cpu_time()?.since(begin.0).run_ns as f64 / elapsed.as_nanos() as f64)
}

fn plan(bench: &Bench, length: Duration) -> Plan {
    Plan {
        connections: bench.scale.tail_clients,
        ask: Ask::Get,
        rate: rate(bench),
        warm_up: Duration::ZERO,
        length,
        keys: KEYS,
        value_bytes: VALUE_BYTES,
        patience: PATIENCE,
    }
}

/// Sets the keys that are read, and `keys` others that expire in the second that begins at `due` (Unix time).
fn fill(server: &Server, keys: usize, due: Duration) -> Result<()> {
    let mut client = server.connect()?;
    let value = vec![b'x'; VALUE_BYTES];
    for number in 0..KEYS {
        client.queue(&[b"SET", &numbered("key:", number), &value])?;
    }
    for number in 0..keys {
        // 617 and 1,000 have no common divisor: neighbours expire at different times, and each time has equally many.
        let due_ms = (due.as_millis() as usize + number * 617 % SPAN_MS).to_string();
        client.queue(&[b"SET", &numbered("due:", number), b"xxx", b"PXAT", due_ms.as_bytes()])?;
    }
    client.flush()
}

fn wait_until_gone(server: &Server, keys: usize) -> Result<()> {
    let mut client = server.connect()?;
    let deadline = Instant::now() + GONE_DEADLINE;
    while field(&info(&mut client)?, "expired_keys").is_none_or(|count| count < keys as f64) {
        if Instant::now() > deadline {
            return Err("the keys do not go".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Adds the rows of one number of keys: `samples` by server and round.
fn add(report: &mut Report, name: &str, samples: &[Vec<Sample>]) {
    let section = format!("{SECTION}: {name}");
    let medians = |field: fn(&Sample) -> f64| -> Vec<Option<f64>> {
        // The bare loop is not measured.
        let servers = samples.iter().map(|samples| median(samples.iter().map(field)));
        std::iter::once(None).chain(servers).collect()
    };
    // If the GETs were sent late, their latencies are not the server's.
    let late = samples.iter().flatten().any(|sample| sample.late_ms > sample.p999_ms / 2.0);
    let fair = |target| Some(target).filter(|_| !late);
    if late {
        report.notes.push(format!("No verdict on {name}: the GETs were sent late."));
    }
    let rows = [
        ("GET p99.9 quiet", "ms", medians(|sample| sample.quiet_p999_ms), None),
        ("GET p99", "ms", medians(|sample| sample.p99_ms), None),
        ("GET p99.9", "ms", medians(|sample| sample.p999_ms), fair(Target::AtMost(TARGET_MS))),
        ("GET p99.9, beside Redis", "ms", medians(|sample| sample.p999_ms), fair(Target::OfRedis(1.0))),
        ("GET worst", "ms", medians(|sample| sample.worst_ms), None),
        ("GET sent late, p99.9", "ms", medians(|sample| sample.late_ms), None),
        ("until all are gone", "s", medians(|sample| sample.gone_s), None),
        ("CPU time a key, beyond the GETs", "µs", medians(|sample| sample.key_us), None),
        ("expired_stale_perc, most", "%", medians(|sample| sample.stale_percent), None),
        ("expired_time_cap_reached_count", "", medians(|sample| sample.time_caps), None),
    ];
    for (name, unit, values, target) in rows {
        report.rows.push(Row { section: section.clone(), name: name.into(), unit, values, target });
    }
}
