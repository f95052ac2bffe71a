//! Runs: one trace on one server with one policy, at a number of bytes or at a number of keys.

use super::client::{Client, Reply};
use super::connection::Connection;
use super::replay::{BATCH, Replay};
use super::servers::{Server, Spec};
use super::traces::{Recipe, Trace};
use super::{Bench, Result};
use std::time::{Duration, Instant};

/// The number of requests between two samples of the server's state.
const STRETCH: usize = 512 * BATCH;

/// A policy that orders keys by their use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `allkeys-lru`
    Lru,
    /// `allkeys-lfu`
    Lfu,
}

impl Policy {
    /// Both policies.
    pub const ALL: [Self; 2] = [Self::Lru, Self::Lfu];

    /// Its name in a configuration.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Lru => "allkeys-lru",
            Self::Lfu => "allkeys-lfu",
        }
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "LRU",
            Self::Lfu => "LFU",
        }
    }
}

/// The server's limit.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// This `maxmemory`.
    Bytes(usize),
    /// The `maxmemory` with which it holds this number of keys.
    Keys(usize),
}

/// The results of the part of a run that counts.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Hits over requests.
    pub hit_ratio: f64,
    /// The keys held, on average.
    pub keys: f64,
    /// Requests a second, including the warm-up.
    pub rate: f64,
}

/// A server in the middle of a run.
struct Run<'a> {
    bench: &'a Bench,
    control: Client,
    connection: Connection,
    replay: Replay,
    begin: Instant,
    sent: usize,
}

/// Replays `trace` on a fresh server of `spec` and counts hits after the warm-up.
pub fn run(
    bench: &Bench,
    spec: &Spec,
    recipe: &Recipe,
    trace: &Trace,
    (policy, samples): (Policy, usize),
    limit: Limit,
) -> Result<Outcome> {
    let samples = samples.to_string();
    let server = spec.start(
        bench.cores.server,
        &["--maxmemory-policy", policy.directive(), "--maxmemory-samples", &samples],
    )?;
    let (warm_up, counted) = trace.requests.split_at(trace.warm_up());
    let mut run = Run::new(bench, &server, recipe)?;
    match limit {
        Limit::Bytes(bytes) => {
            run.set_limit(bytes)?;
            run.replay(warm_up, |_| Ok(()))?;
        }
        Limit::Keys(keys) => run.warm_up_to(warm_up, keys)?,
    }
    let mut held = Vec::new();
    let hits = run.replay(counted, |run| {
        held.push(run.keys()? as f64);
        Ok(())
    })?;
    Ok(Outcome {
        hit_ratio: hits as f64 / counted.len() as f64,
        keys: held.iter().sum::<f64>() / held.len() as f64,
        rate: run.sent as f64 / run.begin.elapsed().as_secs_f64(),
    })
}

impl<'a> Run<'a> {
    fn new(bench: &'a Bench, server: &Server, recipe: &Recipe) -> Result<Self> {
        Ok(Self {
            bench,
            control: server.connect()?,
            connection: Connection::open(server.port, recipe.sizes)?,
            replay: Replay::default(),
            begin: Instant::now(),
            sent: 0,
        })
    }

    /// Replays `requests`, and calls `look` after each stretch. Returns the hits.
    fn replay(&mut self, requests: &[u32], mut look: impl FnMut(&mut Self) -> Result<()>) -> Result<usize> {
        let mut hits = 0;
        for stretch in requests.chunks(STRETCH) {
            if self.bench.rate == 0 {
                hits += self.replay.run(&mut self.connection, stretch)?;
                self.sent += stretch.len();
            } else {
                hits += self.replay_paced(stretch)?;
            }
            look(self)?;
        }
        Ok(hits)
    }

    /// Sends requests at the given rate, or as fast as the server accepts them.
    fn replay_paced(&mut self, requests: &[u32]) -> Result<usize> {
        let mut hits = 0;
        for batch in requests.chunks(BATCH) {
            let due = Duration::from_secs_f64(self.sent as f64 / self.bench.rate as f64);
            std::thread::sleep(due.saturating_sub(self.begin.elapsed()));
            hits += self.replay.run(&mut self.connection, batch)?;
            self.sent += batch.len();
        }
        Ok(hits)
    }

    /// Replays the warm-up without a limit until there are `keys` keys, then sets the limit to their memory, and
    /// corrects it after each stretch.
    fn warm_up_to(&mut self, requests: &[u32], keys: usize) -> Result<()> {
        let empty = self.info("used_memory")? as f64;
        let (mut limit, mut corrections) = (None, 0);
        self.replay(requests, |run| {
            let (held, used) = (run.keys()? as f64, run.info("used_memory")? as f64);
            if held >= keys as f64 || limit.is_some() {
                let each = (used - empty) / held;
                let limit = limit.get_or_insert(used);
                *limit += (keys as f64 - held) * each;
                corrections += 1;
                run.set_limit(*limit as usize)?;
            }
            Ok(())
        })?;
        // Later corrections are small; with too few, the limit is still that of a growing table.
        if corrections < 5 {
            return Err(format!("the warm-up is too short to hold {keys} keys: more --requests").into());
        }
        Ok(())
    }

    fn set_limit(&mut self, bytes: usize) -> Result<()> {
        self.control.must(&[b"CONFIG", b"SET", b"maxmemory", bytes.to_string().as_bytes()]).map(drop)
    }

    fn keys(&mut self) -> Result<usize> {
        match self.control.must(&[b"DBSIZE"])? {
            Reply::Line(count) => Ok(count.parse()?),
            reply => Err(format!("the reply to DBSIZE was {reply:?}").into()),
        }
    }

    /// A number in `INFO`.
    fn info(&mut self, field: &str) -> Result<u64> {
        let Reply::Bulk(text) = self.control.must(&[b"INFO", b"memory"])? else {
            return Err("no INFO".into());
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.ok_or_else(|| format!("INFO has no {field}"))?.parse()?)
    }
}
