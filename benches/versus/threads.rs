//! What I/O threads cost and give, beside the same server with one thread.
//!
//! ```text
//!   one thread:    receive, execute, send ──────────────▶ CPU time a request
//!   two threads:   execute ───────────────▶ that of the thread that executes: what limits the throughput
//!                  receive, send ─────────▶ with it: that of both
//! ```
//!
//! A server is started with one thread and with two, and all are visited in turn, as in `workloads.rs`. The servers'
//! threads and the load may use both cores, as on a machine of a user. CPU time is by thread, from the kernel: that of
//! the main thread, which executes, is what a machine with more cores would be limited by.
//!
//! Redstart keeps its second thread in use during these rows (`io-threads-always-active`). The rows about little load do
//! not: there threads are used as the server decides.

use super::client::{Client, numbered};
use super::generator::{self, Ask, Beside, Plan};
use super::listeners::subscribers;
use super::load::{Load, Seen, Shot};
use super::relay::Relay;
use super::report::{Report, Row, Speed, Target};
use super::scripts::evalsha_of_a_get;
use super::servers::{Server, Spec};
use super::stats::{median, percentile};
use super::system::ThreadTime;
use super::{Bench, Result, say};
use std::thread::sleep;
use std::time::Duration;

/// The name of this section on the command line and in the report.
pub const SECTION: &str = "threads";

/// Connections of the load.
const CLIENTS: usize = 50;

/// Subscribers of the row of PUBLISH.
const SUBSCRIBERS: usize = 1000;

/// Requests a second under little load.
const LITTLE: u64 = 10_000;

const KEY: &str = "key:__rand_int__";

/// A value of 1,000 bytes.
const KILOBYTE: &str = match str::from_utf8(&[b'v'; 1000]) {
    Ok(text) => text,
    Err(_) => panic!(),
};

/// The goals, as ratios to the CPU time of one thread.
#[derive(Clone, Copy)]
struct Goals {
    executing: Option<f64>,
    together: Option<f64>,
}

const NO_GOALS: Goals = Goals { executing: None, together: None };

/// What the load does.
enum Work {
    /// `redis-benchmark` sends these words, at this pipeline, to a server whose keys have values of some length.
    Requests { words: fn() -> Vec<String>, pipeline: usize, value: usize },
    /// Messages to [`SUBSCRIBERS`].
    Messages,
}

struct Case {
    name: &'static str,
    work: Work,
    /// The divisor of the run's number of requests.
    weight: usize,
    goals: Goals,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn get() -> Vec<String> {
    words(&["GET", KEY])
}

fn set() -> Vec<String> {
    words(&["SET", KEY, "xxx"])
}

fn zadd() -> Vec<String> {
    words(&["ZADD", "myzset", "__rand_int__", "element:__rand_int__"])
}

fn set_kilobyte() -> Vec<String> {
    words(&["SET", KEY, KILOBYTE])
}

/// `redis-benchmark` at this pipeline; at pipeline 1 it sends a tenth of the requests.
const fn requests(
    name: &'static str,
    pipeline: usize,
    words: fn() -> Vec<String>,
    value: usize,
    goals: Goals,
) -> Case {
    let weight = if pipeline == 1 { 10 } else { 1 };
    Case { name, work: Work::Requests { words, pipeline, value }, weight, goals }
}

static CASES: [Case; 13] = [
    requests("GET at pipeline 1", 1, get, 3, Goals { executing: Some(0.12), together: Some(1.25) }),
    requests("SET at pipeline 1", 1, set, 3, NO_GOALS),
    requests("ZADD at pipeline 1", 1, zadd, 3, NO_GOALS),
    requests("EVALSHA of a GET at pipeline 1", 1, evalsha_of_a_get, 3, NO_GOALS),
    requests("GET of 1 KB at pipeline 1", 1, get, 1000, NO_GOALS),
    requests("SET of 1 KB at pipeline 1", 1, set_kilobyte, 1000, NO_GOALS),
    requests("GET at pipeline 16", 16, get, 3, Goals { executing: Some(0.4), together: Some(1.25) }),
    requests("SET at pipeline 16", 16, set, 3, NO_GOALS),
    requests("ZADD at pipeline 16", 16, zadd, 3, NO_GOALS),
    requests("EVALSHA of a GET at pipeline 16", 16, evalsha_of_a_get, 3, NO_GOALS),
    requests("GET of 1 KB at pipeline 16", 16, get, 1000, NO_GOALS),
    requests("SET of 1 KB at pipeline 16", 16, set_kilobyte, 1000, NO_GOALS),
    Case {
        name: "PUBLISH to 1,000 subscribers, a message",
        work: Work::Messages,
        weight: 500,
        goals: NO_GOALS,
    },
];

/// A server with one thread or with two.
struct Setup {
    /// The server's number in the run, and the number of its threads.
    spec: usize,
    threads: usize,
    server: Server,
    /// The load, unless it is `redis-benchmark`.
    relay: Option<Relay>,
}

/// The figures of one visit.
#[derive(Clone, Copy, Default)]
struct Visit {
    /// Microseconds a request, of the main thread and of all threads.
    executing_us: f64,
    together_us: f64,
    seen: Option<Seen>,
}

/// Measures all chosen rows and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    super::system::raise_open_files(8192);
    for case in CASES.iter().filter(|case| bench.chosen(SECTION, case.name)) {
        say(&format!("{SECTION}: {}", case.name));
        let visits = tour(bench, case)?;
        add(bench, report, case, &visits);
    }
    for (name, rate) in [("without requests", 0), ("at 10,000 GETs a second", LITTLE)] {
        if bench.chosen(SECTION, name) {
            say(&format!("{SECTION}: {name}"));
            little(bench, report, name, rate)?;
        }
    }
    Ok(())
}

/// The directives of a server with this many threads, of which it uses all.
fn directives(spec: &Spec, threads: usize) -> Vec<String> {
    let mut text = words(&["--io-threads", &threads.to_string()]);
    if threads > 1 {
        // The threads of Redis only send by default.
        let all = if spec.is_own() { "--io-threads-always-active" } else { "--io-threads-do-reads" };
        text.extend(words(&[all, "yes"]));
    }
    text
}

/// Starts a server whose threads may use both cores.
fn start(bench: &Bench, spec: &Spec, directives: &[String]) -> Result<Server> {
    let directives: Vec<&str> = directives.iter().map(String::as_str).collect();
    let server = spec.start(bench.cores.server, &directives)?;
    server.allow(&[bench.cores.server, bench.cores.load])?;
    Ok(server)
}

/// All servers that understand Redis's directives, with one thread and with two, filled and stopped.
fn setups(bench: &Bench, case: &Case) -> Result<Vec<Setup>> {
    let mut setups = Vec::new();
    for (index, spec) in bench.specs.iter().enumerate().filter(|(_, spec)| spec.is_directed()) {
        for threads in [1, 2] {
            let server = start(bench, spec, &directives(spec, threads))?;
            let relay = match case.work {
                Work::Messages => Some(subscribers(&server, CLIENTS, SUBSCRIBERS)?),
                Work::Requests { value, pipeline, .. } => {
                    let mut client = server.connect()?;
                    fill(&mut client, keys(bench, pipeline), value)?;
                    None
                }
            };
            server.pause();
            setups.push(Setup { spec: index, threads, server, relay });
        }
    }
    Ok(setups)
}

fn keys(bench: &Bench, pipeline: usize) -> usize {
    if pipeline == 1 { bench.scale.keys_alone } else { bench.scale.keys_piped }
}

/// Sets the keys that GET reads, the members that ZADD changes, and the script.
fn fill(client: &mut Client, keys: usize, value: usize) -> Result<()> {
    super::scripts::load_get(client)?;
    let value = vec![b'x'; value];
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), &value])?;
        let score = number.to_string();
        client.queue(&[b"ZADD", b"myzset", score.as_bytes(), &numbered("element:", number)])?;
    }
    client.flush()
}

/// The visits of each server with one thread and with two.
fn tour(bench: &Bench, case: &Case) -> Result<Vec<[Vec<Visit>; 2]>> {
    let load = Load::over(&[bench.cores.server, bench.cores.load])?;
    let mut setups = setups(bench, case)?;
    let mut visits = vec![[Vec::new(), Vec::new()]; bench.specs.len()];
    for round in 0..=bench.scale.rounds {
        for turn in 0..setups.len() {
            let index = (round + turn) % setups.len();
            let setup = &mut setups[index];
            setup.server.resume()?;
            let requests = (bench.scale.requests / case.weight).max(CLIENTS * 16);
            let requests = if round == 0 { requests.div_ceil(5) } else { requests };
            let visit = visit(bench, case, &load, setup, requests)?;
            setup.server.pause();
            if round > 0 {
                visits[setup.spec][setup.threads - 1].push(visit);
            }
        }
    }
    Ok(visits)
}

fn visit(bench: &Bench, case: &Case, load: &Load, setup: &mut Setup, requests: usize) -> Result<Visit> {
    let server = &setup.server;
    let main = ThreadTime::of(server.pid())?;
    let (all_before, main_before) = (server.settled_cpu_time()?, main.now()?);
    let mut units = requests;
    let mut seen = None;
    match (&case.work, &mut setup.relay) {
        (Work::Requests { words, pipeline, .. }, _) => {
            let words = words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (pipeline, keyspace) = (*pipeline, keys(bench, *pipeline));
            let shot = Shot { requests, pipeline, clients: CLIENTS, keyspace, command: &words };
            seen = Some(load.fire(server.port, &shot)?);
        }
        (Work::Messages, Some(relay)) => {
            relay.check = false;
            units = relay.run(requests)? * SUBSCRIBERS;
        }
        (Work::Messages, None) => return Err("no load".into()),
    }
    let (all, main) = (server.settled_cpu_time()?.since(all_before), main.now()?.since(main_before));
    if let Some(relay) = &mut setup.relay {
        relay.is_quiet()?;
    }
    let each = |ns: u64| ns as f64 / 1e3 / units as f64;
    Ok(Visit { executing_us: each(main.run_ns), together_us: each(all.run_ns), seen })
}

/// Adds the rows of a case: one thread, the thread that executes, both.
fn add(bench: &Bench, report: &mut Report, case: &Case, visits: &[[Vec<Visit>; 2]]) {
    let medians = |threads: usize, field: fn(&Visit) -> f64| -> Vec<Option<f64>> {
        visits.iter().map(|visits| median(visits[threads - 1].iter().map(field))).collect()
    };
    let one = medians(1, |visit| visit.together_us);
    let goal = |ratio: Option<f64>| Some(Target::OfOneThread(ratio?, one.first().copied().flatten()?));
    let figures = [
        (format!("{}, one thread", case.name), one.clone(), None),
        (
            "… two threads: the one that executes".into(),
            medians(2, |visit| visit.executing_us),
            goal(case.goals.executing),
        ),
        ("… two threads: both".into(), medians(2, |visit| visit.together_us), goal(case.goals.together)),
    ];
    for (name, values, target) in figures {
        report.rows.push(Row::of_servers(SECTION.into(), &name, "µs", values, target));
    }
    if matches!(case.work, Work::Messages) {
        return;
    }
    let rps: fn(&Visit) -> f64 = |visit| visit.seen.map_or(0.0, |seen| seen.rps);
    let ratio = medians(2, rps).into_iter().zip(medians(1, rps)).map(|(two, one)| Some(two? / one?));
    let target = bench.specs[0].is_own().then_some(Target::AtLeast(1.0));
    report.rows.push(Row::of_servers(
        SECTION.into(),
        "… two threads: throughput over one thread",
        "×",
        ratio,
        target,
    ));
    for threads in [1, 2] {
        let column = |field| std::iter::once(None).chain(medians(threads, field)).collect();
        report.speeds.push(Speed {
            section: SECTION.into(),
            name: format!("{}, {threads} thread{}", case.name, if threads == 1 { "" } else { "s" }),
            rps: column(rps),
            p50_ms: column(|visit| visit.seen.map_or(0.0, |seen| seen.p50_ms)),
            p99_ms: column(|visit| visit.seen.map_or(0.0, |seen| seen.p99_ms)),
        });
    }
}

/// What a server with two threads uses while it has little to do, beside one with one thread.
fn little(bench: &Bench, report: &mut Report, name: &str, rate: u64) -> Result<()> {
    for threads in [1, 2] {
        let samples = bench.in_turn(SECTION, name, |spec| little_of(bench, spec, threads, rate))?;
        let column = |field: fn(&(f64, f64)) -> f64| -> Vec<Option<f64>> {
            samples.iter().map(|samples| median(samples.iter().map(field))).collect()
        };
        let threads = if threads == 1 { "one thread" } else { "two threads" };
        let title = format!("CPU time {name}, {threads}");
        report.rows.push(Row::of_servers(SECTION.into(), &title, "ms/s", column(|sample| sample.0), None));
        if rate > 0 {
            let title = format!("p99 {name}, {threads}");
            report.rows.push(Row::of_servers(SECTION.into(), &title, "ms", column(|sample| sample.1), None));
        }
    }
    Ok(())
}

/// Milliseconds of CPU time in a second, and the 99th percentile of latency in milliseconds.
fn little_of(bench: &Bench, spec: &Spec, threads: usize, rate: u64) -> Result<(f64, f64)> {
    let mut text = directives(spec, threads);
    if spec.is_own() {
        text.truncate(2);
    }
    let server = start(bench, spec, &text)?;
    let mut client = server.connect()?;
    fill(&mut client, bench.scale.keys_alone, 3)?;
    let (before, length) = (server.settled_cpu_time()?, bench.scale.tail_length);
    if rate == 0 {
        sleep(length);
        let used = server.cpu_time()?.since(before).run_ns as f64 / 1e6;
        return Ok((used / length.as_secs_f64(), 0.0));
    }
    let plan = Plan {
        connections: CLIENTS,
        ask: Ask::Get,
        rate,
        warm_up: Duration::ZERO,
        length,
        keys: bench.scale.keys_alone,
        value_bytes: 3,
        patience: Duration::from_secs(5),
    };
    let outcome = generator::run(server.port, &plan, &Beside::Nothing)?;
    let used = server.cpu_time()?.since(before).run_ns as f64 / 1e6;
    let p99 = percentile(&outcome.latencies, 0.99).ok_or("the load took no samples")?;
    Ok((used / length.as_secs_f64(), f64::from(p99) / 1e6))
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::each_is_named_once;
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        each_is_named_once(CASES.iter().map(|case| case.name));
    }

    #[test]
    fn the_goals_are_ratios_to_one_thread() {
        let target = Target::OfOneThread(0.25, 8.0);
        let row = |value| Row::of_servers(SECTION.into(), "row", "µs", [Some(value)], Some(target));
        assert_eq!(row(0.0).limit(), Some(2.0));
        assert_eq!((row(2.0).meets(), row(2.01).meets()), (Some(true), Some(false)));
    }
}
