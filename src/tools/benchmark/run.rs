//! Executes a plan: opens the connections, starts the threads, shows the progress, and adds up the counts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{mem, thread};

use super::plan::{Failure, Plan, Shared, Tally};
use super::worker::Worker;
use crate::sys::{clock, process};

/// The interval of progress updates.
const PROGRESS: Duration = Duration::from_millis(250);
/// The interval of error messages about the server.
const ERRORS_NS: u64 = 1_000_000_000;

/// The results of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The counts.
    pub tally: Tally,
    /// From the start to the last reply, in seconds.
    pub seconds: f64,
    /// The number of requests of an open loop that were due but not sent, for lack of a connection.
    pub unsent: u64,
    /// This process's processor time during the run, in seconds: user and kernel.
    pub client_cpu: (f64, f64),
    /// The server's processor time during the run, if it reports it.
    pub server_cpu: Option<f64>,
    /// Why the run stopped early.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// The replies per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.tally.latencies.count() as f64 / self.seconds } else { 0.0 }
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The replies per second since the last update and since the start.
    pub rates: (f64, f64),
    /// The average latencies in milliseconds over the same periods.
    pub latencies: (f64, f64),
}

/// A receiver of progress updates.
pub trait Watcher {
    /// Called several times per second.
    fn progress(&mut self, progress: Progress);
    /// Called at most once per second: `count` errors of the server since the last call, one of which has the text
    /// `text`.
    fn errors(&mut self, count: u64, text: &[u8]);
    /// Called right before and after the measured time: returns the server's total processor time in seconds.
    fn server_cpu(&mut self) -> Option<f64>;
}

/// Runs `plan`. The error is the failure to start; later failures are in the outcome.
pub fn run(plan: Plan, watcher: &mut dyn Watcher) -> Result<Outcome, Failure> {
    let (plan, shared) = (Arc::new(plan), Arc::new(Shared::default()));
    let mut workers = workers(&plan, &shared)?;
    for worker in &mut workers {
        worker.connect()?;
    }
    let server_before = watcher.server_cpu();
    let before = process::cpu_time();
    let start_ns = clock::monotonic_ns();
    let (tally, failure) = drive(workers, &shared, start_ns, watcher);
    let after = process::cpu_time();
    let server_after = watcher.server_cpu();
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let is_open = plan.pace.is_some() && plan.requests.is_some();
    Ok(Outcome {
        seconds: tally.last_ns.saturating_sub(start_ns) as f64 / 1e9,
        unsent: if is_open { shared.left(&plan) } else { 0 },
        client_cpu: (seconds(before.user_us, after.user_us), seconds(before.system_us, after.system_us)),
        server_cpu: server_after.zip(server_before).map(|(after, before)| after - before),
        tally,
        failure,
    })
}

/// Opens the connections of a plan and keeps them until a signal arrives or the server closes one.
pub fn stay_idle(plan: Plan) -> Failure {
    let (plan, shared) = (Arc::new(Plan { threads: 1, ..plan }), Arc::new(Shared::default()));
    let rest = || {
        for worker in &mut workers(&plan, &shared)? {
            worker.connect()?;
            worker.rest()?;
        }
        Ok(())
    };
    rest().err().unwrap_or(Failure::Interrupted)
}

fn workers(plan: &Arc<Plan>, shared: &Arc<Shared>) -> Result<Vec<Worker>, Failure> {
    // Besides the connections: standard streams, pollers and their wake-ups, and the connection for INFO and CONFIG.
    let descriptors = plan.clients as u64 + 4 * plan.threads as u64 + 16;
    process::raise_open_files(descriptors).map_err(Failure::Io)?;
    (0..plan.threads)
        .map(|thread| {
            let clients = plan.clients / plan.threads + usize::from(thread < plan.clients % plan.threads);
            Worker::new(plan, shared, clients).map_err(Failure::Io)
        })
        .collect()
}

/// Runs each worker in its own thread and adds up their counts.
fn drive(
    workers: Vec<Worker>,
    shared: &Shared,
    start_ns: u64,
    watcher: &mut dyn Watcher,
) -> (Tally, Option<Failure>) {
    let mut total = Tally::new(start_ns);
    let mut failure = None;
    let (sender, results) = channel();
    thread::scope(|scope| {
        let count = workers.len();
        for (index, mut worker) in workers.into_iter().enumerate() {
            let sender = sender.clone();
            scope.spawn(move || {
                let result = worker.run(start_ns, index);
                if result.is_err() {
                    shared.is_over.store(true, Ordering::Relaxed);
                }
                // The connections close before the result arrives, so nothing of one run lasts into the next.
                let tally = mem::replace(&mut worker.tally, Tally::new(0));
                drop(worker);
                // The receiver waits for every thread.
                let _ = sender.send((tally, result));
            });
        }
        for (tally, result) in gather(&results, count, shared, start_ns, watcher) {
            total.merge(tally);
            failure = failure.take().or(result.err());
        }
    });
    (total, failure)
}

type Finished = (Tally, Result<(), Failure>);

/// Shows the progress until `count` threads have ended.
fn gather(
    results: &Receiver<Finished>,
    count: usize,
    shared: &Shared,
    start_ns: u64,
    watcher: &mut dyn Watcher,
) -> Vec<Finished> {
    let mut finished = Vec::new();
    let mut last = (0, 0, start_ns);
    let mut errors_shown_ns = start_ns;
    while finished.len() < count {
        match results.recv_timeout(PROGRESS) {
            Ok(result) => {
                finished.push(result);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now_ns = clock::monotonic_ns();
        let now = (shared.replies.load(Ordering::Relaxed), shared.latency_ns.load(Ordering::Relaxed), now_ns);
        let since = |then: (u64, u64, u64)| {
            let replies = (now.0 - then.0) as f64;
            let latency_ms = (now.1 - then.1) as f64 / 1e6 / replies.max(1.0);
            (replies / ((now.2 - then.2) as f64 / 1e9), latency_ms)
        };
        let (lately, overall) = (since(last), since((0, 0, start_ns)));
        watcher.progress(Progress { rates: (lately.0, overall.0), latencies: (lately.1, overall.1) });
        last = now;
        if now_ns - errors_shown_ns >= ERRORS_NS {
            errors_shown_ns = now_ns;
            tell_errors(shared, watcher);
        }
    }
    tell_errors(shared, watcher);
    finished
}

fn tell_errors(shared: &Shared, watcher: &mut dyn Watcher) {
    let (count, text) = shared.errors.lock().map(|mut errors| mem::take(&mut *errors)).unwrap_or_default();
    if count > 0 {
        watcher.errors(count, &text);
    }
}
