//! Tail latencies: the latencies of 256 clients while a large operation runs at the same time.
//!
//! The same open-loop load runs twice, quiet and then beside the operation; the figure is the ratio of the two p99.9.
//! It shows whether a server lets one client or one growing table occupy the event loop. Growth has a third phase in
//! between, the same writes to existing keys, to separate the cost of growing from that of writing.

use super::client::{Client, numbered};
use super::generator::{self, Ask, Beside, Outcome, Plan};
use super::report::{Report, Row, TailRow, Target};
use super::servers::Server;
use super::stats::{grouped, median, percentile};
use super::{Bench, Result, say};
use std::time::{Duration, Instant};

/// The number of keys that the load reads.
const KEYS: usize = 100_000;

/// The size of their values in bytes.
const VALUE_BYTES: usize = 1024;

/// The large value.
const BIG_KEY: &str = "big";
const BIG_BYTES: usize = 10 * 1000 * 1000;
const BIG_PER_SECOND: u64 = 10;

/// SETs per second while a table grows.
const GROW_PER_SECOND: u64 = 150_000;

/// The divisor of the load while a table grows, so that one core suffices for both.
const GROW_LOAD_DIVISOR: u64 = 4;

/// The timeout for replies after the end; later ones do not count.
const PATIENCE: Duration = Duration::from_secs(5);

/// The section of these rows in the report.
const SECTION: &str = "tails";

/// The p99.9 beside a large operation is at most twice that of the quiet phase.
const OVER_QUIET: Judged = Judged::OverQuiet(Target::AtMost(2.0));

/// The number of keys that are written repeatedly, for comparison with a growing table.
const KNOWN_KEYS: usize = 10_000;

/// One phase of a scenario.
pub struct Phase {
    /// The name of the operation.
    pub name: String,
    /// The load of another client.
    pub beside: Beside,
}

/// The comparison of a scenario's p99.9.
#[derive(Clone, Copy)]
pub enum Judged {
    /// Over that of the quiet phase.
    OverQuiet(Target),
    /// Those of all phases except the quiet one, unchanged.
    Each(Target),
}

/// A scenario: the first phase is the quiet one, with which the others are compared.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// GETs per second.
    pub rate: u64,
    /// The phases, in this order.
    pub phases: Vec<Phase>,
    /// The figures that have a target.
    pub judged: Judged,
}

/// The figures of one phase in one round, in milliseconds.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    p50: f64,
    p99: f64,
    p999: f64,
    late: f64,
    busy: f64,
    unanswered: f64,
    beside: f64,
}

impl Sample {
    /// Whether the load was so late that it explains much of the measured latency.
    fn is_the_generators(&self) -> bool {
        self.late > self.p999 / 2.0
    }

    /// The figures of `outcome`, during which the server used the share `busy` of its core.
    pub fn new(outcome: &Outcome, busy: f64) -> Result<Self> {
        let ms = |samples: &[u32], fraction| -> Result<f64> {
            Ok(f64::from(percentile(samples, fraction).ok_or("the load took no samples")?) / 1e6)
        };
        Ok(Self {
            p50: ms(&outcome.latencies, 0.5)?,
            p99: ms(&outcome.latencies, 0.99)?,
            p999: ms(&outcome.latencies, 0.999)?,
            late: ms(&outcome.late, 0.999)?,
            busy,
            unanswered: outcome.unanswered as f64,
            beside: outcome.beside as f64,
        })
    }
}

fn scenarios(bench: &Bench) -> Vec<Scenario> {
    let scale = &bench.scale;
    let phase = |name: &str, beside: Beside| Phase { name: name.into(), beside };
    let mut scenarios = vec![Scenario {
        name: "GET 1 KB beside 10 MB fetches",
        rate: scale.rate,
        phases: vec![
            phase("quiet", Beside::Nothing),
            phase(
                "beside 10 MB ten times a second",
                Beside::Fetch { key: BIG_KEY, value_bytes: BIG_BYTES, per_second: BIG_PER_SECOND },
            ),
        ],
        judged: OVER_QUIET,
    }];
    if scale.grow_millions > 0 {
        let keys = scale.grow_millions * 1_000_000;
        let write = |keys, again| Beside::Write { keys, again, per_second: GROW_PER_SECOND };
        scenarios.push(Scenario {
            name: "GET 1 KB while the table grows",
            rate: scale.rate / GROW_LOAD_DIVISOR,
            phases: vec![
                phase("quiet", Beside::Nothing),
                phase("beside SETs of known keys", write(KNOWN_KEYS, true)),
                phase(&format!("while growing to {} M keys", scale.grow_millions), write(keys, false)),
            ],
            judged: OVER_QUIET,
        });
    }
    scenarios
}

/// Measures the scenarios and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for scenario in scenarios(bench) {
        if !bench.chosen(SECTION, scenario.name) {
            continue;
        }
        let mut samples = vec![vec![Vec::new(); scenario.phases.len()]; bench.specs.len()];
        for round in 0..bench.scale.tail_rounds {
            for turn in 0..bench.specs.len() {
                let index = (round + turn) % bench.specs.len();
                let spec = &bench.specs[index];
                // A fresh server each time: a grown table cannot grow again.
                let server = spec.start(bench.cores.server, &[])?;
                fill(&mut server.connect()?)?;
                for (phase, samples) in scenario.phases.iter().zip(&mut samples[index]) {
                    say(&format!("tails: {}, {}, {}", scenario.name, phase.name, spec.name));
                    samples.push(measure(bench, &scenario, phase, &server)?);
                }
            }
        }
        add(report, SECTION, &scenario, &samples);
    }
    Ok(())
}

fn fill(client: &mut Client) -> Result<()> {
    let value = vec![b'x'; VALUE_BYTES];
    for number in 0..KEYS {
        client.queue(&[b"SET", &numbered("key:", number), &value])?;
    }
    client.flush()?;
    client.must(&[b"SET", BIG_KEY.as_bytes(), &vec![b'y'; BIG_BYTES]]).map(drop)
}

fn measure(bench: &Bench, scenario: &Scenario, phase: &Phase, server: &Server) -> Result<Sample> {
    let plan = Plan {
        connections: bench.scale.tail_clients,
        ask: Ask::Get,
        rate: scenario.rate,
        warm_up: Duration::from_secs(1).min(bench.scale.tail_length),
        length: bench.scale.tail_length,
        keys: KEYS,
        value_bytes: VALUE_BYTES,
        patience: PATIENCE,
    };
    let (before, begin) = (server.settled_cpu_time()?, Instant::now());
    let outcome = generator::run(server.port, &plan, &phase.beside)?;
    let busy = server.cpu_time()?.since(before).run_ns as f64 / begin.elapsed().as_nanos() as f64;
    Sample::new(&outcome, busy)
}

/// Adds one scenario to a group of sections: `samples` by server, phase and round.
pub fn add(report: &mut Report, group: &str, scenario: &Scenario, samples: &[Vec<Vec<Sample>>]) {
    let medians = |phase: usize, field: fn(&Sample) -> f64| -> Vec<Option<f64>> {
        // The bare loop is not measured.
        let servers = samples.iter().map(|phases| median(phases[phase].iter().map(field)));
        std::iter::once(None).chain(servers).collect()
    };
    let section = format!("{group}: {}, {} a second", scenario.name, grouped(scenario.rate as i64));
    let row = |name: String, unit: &'static str, values, target| Row {
        section: section.clone(),
        name,
        unit,
        values,
        target,
    };
    let quiet = medians(0, |sample| sample.p999);
    let own_lateness = samples[0].iter().flatten().any(Sample::is_the_generators);
    if own_lateness {
        report.notes.push(format!(
            "No verdict on {}: the load itself was late, so the latencies are not the server's. The load's core was \
             not free, or it is too slow for {} requests a second.",
            scenario.name,
            grouped(scenario.rate as i64)
        ));
    }
    for (index, phase) in scenario.phases.iter().enumerate() {
        let p999 = medians(index, |sample| sample.p999);
        let fair = |target: Target| Some(target).filter(|_| index > 0 && !own_lateness);
        let (each, over_quiet) = match scenario.judged {
            Judged::Each(target) => (fair(target), None),
            Judged::OverQuiet(target) => (None, fair(target)),
        };
        report.rows.push(row(format!("p99.9 {}", phase.name), "ms", p999.clone(), each));
        if index > 0 {
            let over = |(a, b): (&Option<f64>, &Option<f64>)| Some((*a)? / (*b)?);
            let ratios = p999.iter().zip(&quiet).map(over).collect();
            report.rows.push(row("the same over quiet".into(), "×", ratios, over_quiet));
        }
        let (p50, p99) = (medians(index, |sample| sample.p50), medians(index, |sample| sample.p99));
        let (late, busy) = (medians(index, |sample| sample.late), medians(index, |sample| sample.busy));
        let (lost, beside) =
            (medians(index, |sample| sample.unanswered), medians(index, |sample| sample.beside));
        for subject in 1..=samples.len() {
            report.tails.push(TailRow {
                scenario: scenario.name.into(),
                phase: phase.name.clone(),
                subject,
                p50_ms: p50[subject],
                p99_ms: p99[subject],
                p999_ms: p999[subject],
                late_ms: late[subject],
                busy: busy[subject],
                unanswered: lost[subject],
                beside: beside[subject],
            });
        }
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    fn measured(late: f64) -> Report {
        let phase = |name: &str| Phase { name: name.into(), beside: Beside::Nothing };
        let scenario = Scenario {
            name: "s",
            rate: 1000,
            phases: vec![phase("quiet"), phase("beside")],
            judged: OVER_QUIET,
        };
        let of = |p999| Sample { p999, late, ..Sample::default() };
        let mut report = Report { rows: Vec::new(), ..sample() };
        add(&mut report, SECTION, &scenario, &[vec![vec![of(1.0), of(2.0), of(9.0)], vec![of(3.0)]]]);
        report
    }

    #[test]
    fn a_phase_is_judged_by_the_median_p999_over_that_of_quiet() {
        let report = measured(0.1);
        let ratio = report.rows.last().unwrap();
        assert_eq!(ratio.values, [None, Some(1.5)]);
        assert_eq!(ratio.meets(), Some(true));
    }

    #[test]
    fn a_load_that_was_late_itself_gives_no_verdict() {
        let report = measured(0.6);
        assert!(report.rows.iter().all(|row| row.meets().is_none()));
        assert!(report.notes.iter().any(|note| note.contains("No verdict")));
    }
}
