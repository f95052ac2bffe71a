//! The latencies of clients while a child writes: the open-loop load with a writer beside it, first quiet, then during
//! repeated BGSAVEs, then during repeated BGREWRITEAOFs.
//!
//! A save begins every [`EVERY`], however long the last one took, so that a faster server does not get more forks. The
//! child stays on the server's core and shares it: the other core is the load's.

use super::generator::{self, Ask, Beside, Plan};
use super::persistence::{self, Subject, VALUE_BYTES, in_turn, wait_for_child};
use super::report::{Report, Target};
use super::servers::Server;
use super::tails::{Judged, Phase, Sample, Scenario, add};
use super::{Bench, Result, say};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// The time from the beginning of a save to that of the next.
const EVERY: Duration = Duration::from_secs(5);

/// The time between two checks whether a save is complete.
const GLANCE: Duration = Duration::from_millis(50);

/// The divisor of the load: the child takes half of the core.
const LOAD_DIVISOR: u64 = 5;

/// Keys of the writer beside the load, and SETs per second.
const WRITTEN_KEYS: usize = 100_000;
const WRITES_PER_SECOND: u64 = 10_000;

/// Connections of the load.
const CONNECTIONS: usize = 50;

/// The timeout for replies after the end; later ones do not count.
const PATIENCE: Duration = Duration::from_secs(5);

/// The command of each phase; none in the first.
const COMMANDS: [Option<&str>; 3] = [None, Some("BGSAVE"), Some("BGREWRITEAOF")];

fn scenario(bench: &Bench) -> Scenario {
    let phase = |command: Option<&str>| Phase {
        name: command.map_or("quiet".into(), |command| format!("with {command}")),
        beside: Beside::Write { keys: WRITTEN_KEYS, again: true, per_second: WRITES_PER_SECOND },
    };
    Scenario {
        name: "GET beside SETs while a child writes",
        rate: bench.scale.rate / LOAD_DIVISOR,
        phases: COMMANDS.map(phase).into(),
        judged: Judged::Each(Target::OfRedis(1.0)),
    }
}

/// Measures all phases and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let scenario = scenario(bench);
    let subjects = Subject::all(bench)?;
    let mut samples = vec![vec![Vec::new(); COMMANDS.len()]; subjects.len()];
    let mut servers: Vec<Option<Server>> = subjects.iter().map(|_| None).collect();
    in_turn(1, &subjects, |index, subject| {
        say(&format!("persistence: filling {}", subject.spec.name));
        let server = subject.start(bench, true, &[])?;
        persistence::fill(&server, bench.scale.stored_keys)?;
        server.pause();
        servers[index] = Some(server);
        Ok(())
    })?;
    in_turn(bench.scale.tail_rounds, &subjects, |index, subject| {
        let Some(server) = &servers[index] else { return Ok(()) };
        server.resume()?;
        for ((phase, command), samples) in scenario.phases.iter().zip(COMMANDS).zip(&mut samples[index]) {
            say(&format!("persistence: {}, {}, {}", scenario.name, phase.name, subject.spec.name));
            samples.push(measure(bench, &scenario, phase, command, server)?);
        }
        server.pause();
        Ok(())
    })?;
    add(report, persistence::SECTION, &scenario, &samples);
    Ok(())
}

fn measure(
    bench: &Bench,
    scenario: &Scenario,
    phase: &Phase,
    command: Option<&str>,
    server: &Server,
) -> Result<Sample> {
    let plan = Plan {
        connections: CONNECTIONS,
        ask: Ask::Get,
        rate: scenario.rate,
        warm_up: Duration::from_secs(1).min(bench.scale.tail_length),
        length: bench.scale.tail_length,
        keys: bench.scale.stored_keys,
        value_bytes: VALUE_BYTES,
        patience: PATIENCE,
    };
    let (before, begin) = (server.settled_cpu_time()?, Instant::now());
    let over = AtomicBool::new(false);
    let (outcome, saved) = thread::scope(|scope| {
        // An error's text can be sent between threads, the error itself cannot.
        let saver = scope.spawn(|| {
            let Some(command) = command else { return Ok(()) };
            save_repeatedly(server, command, plan.warm_up, &over).map_err(|error| error.to_string())
        });
        let outcome = generator::run(server.port, &plan, &phase.beside);
        let elapsed = begin.elapsed();
        over.store(true, Ordering::Relaxed);
        (outcome.map(|outcome| (outcome, elapsed)), saver.join())
    });
    saved.map_err(|_| "the thread that starts saves has panicked")??;
    let (outcome, elapsed) = outcome?;
    let busy = server.cpu_time()?.since(before).run_ns as f64 / elapsed.as_nanos() as f64;
    Sample::new(&outcome, busy)
}

/// Starts a save every [`EVERY`] until `over`, and waits for the last one.
fn save_repeatedly(server: &Server, command: &str, first: Duration, over: &AtomicBool) -> Result<()> {
    let mut client = server.connect()?;
    let mut due = Instant::now() + first;
    while !over.load(Ordering::Relaxed) {
        if Instant::now() >= due {
            due += EVERY;
            client.must(&[command.as_bytes()])?;
            wait_for_child(&mut client, GLANCE)?;
        }
        sleep(GLANCE);
    }
    Ok(())
}
