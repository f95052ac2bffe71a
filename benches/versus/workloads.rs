//! CPU time per request: the workloads, and how servers are measured alternately.
//!
//! For each workload all servers are started and filled alike, then visited one after the other, in several rounds; the
//! order rotates by one each round, so that no server is always first. Drift (of the cores' clock, of other load on the
//! machine) then affects all servers, and the ratio of the medians is unaffected.

use super::client::{Client, numbered};
use super::load::{Load, Shot, Visit};
use super::report::{Report, Row, Speed, Target};
use super::servers::{Server, Spec};
use super::stats::{geometric_mean, median};
use super::{Bench, Result, say};

/// Connections of the load.
const CLIENTS: usize = 50;

/// The number of elements in the list of LRANGE.
const RANGE_LIST: usize = 1000;

/// The contents of the server before a workload starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Nothing,
    /// `key:000000000042` = `xxx`, for the whole key space.
    Strings,
    /// `counter:000000000042` = 0, for the whole key space.
    Counters,
    /// One list of [`RANGE_LIST`] elements.
    List,
    /// One set, hash or sorted set with an element for each number of the key space.
    Set,
    Hash,
    SortedSet,
}

/// One workload: the requests of redis-benchmark's test of that name.
#[derive(Debug)]
struct Workload {
    name: &'static str,
    command: &'static [&'static str],
    /// A server's reply, for the bare loop.
    reply: Answer,
    fill: Fill,
    /// The divisor of the number of requests: some take ten times as long as others.
    weight: usize,
    /// The target at pipeline 1, as a ratio to the bare loop.
    over_bare: Option<f64>,
    /// The target at pipeline 16 in µs, and the time of Redis 7.0 on the machine where the target was set: their ratio
    /// applies to other machines.
    piped_us: [f64; 2],
}

/// The reply of a workload, in short form.
#[derive(Debug)]
enum Answer {
    Text(&'static str),
    /// An array of a hundred three-byte strings.
    Hundred,
}

impl Answer {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => (*text).into(),
            Self::Hundred => format!("*100\r\n{}", "$3\r\nxxx\r\n".repeat(100)),
        }
    }
}

const KEY: &str = "key:__rand_int__";
const COUNTER: &str = "counter:__rand_int__";
const ELEMENT: &str = "element:__rand_int__";
const VALUE: &str = "xxx";

const fn workload(
    name: &'static str,
    command: &'static [&'static str],
    reply: &'static str,
    fill: Fill,
    over_bare: Option<f64>,
    piped_us: [f64; 2],
) -> Workload {
    Workload { name, command, reply: Answer::Text(reply), fill, weight: 1, over_bare, piped_us }
}

static WORKLOADS: [Workload; 10] = [
    workload("PING", &["PING"], "+PONG\r\n", Fill::Nothing, Some(1.05), [0.48, 0.73]),
    workload("SET", &["SET", KEY, VALUE], "+OK\r\n", Fill::Strings, Some(1.10), [0.60, 1.26]),
    workload("GET", &["GET", KEY], "$3\r\nxxx\r\n", Fill::Strings, Some(1.10), [0.55, 1.17]),
    workload("INCR", &["INCR", COUNTER], ":1\r\n", Fill::Counters, None, [0.55, 1.13]),
    workload("LPUSH", &["LPUSH", "mylist", VALUE], ":1000\r\n", Fill::Nothing, None, [0.50, 0.76]),
    workload("SADD", &["SADD", "myset", ELEMENT], ":0\r\n", Fill::Set, None, [0.60, 1.14]),
    workload("HSET", &["HSET", "myhash", ELEMENT, VALUE], ":0\r\n", Fill::Hash, None, [0.65, 1.25]),
    Workload {
        name: "ZADD",
        command: &["ZADD", "myzset", "__rand_int__", ELEMENT],
        reply: Answer::Text(":0\r\n"),
        fill: Fill::SortedSet,
        weight: 2,
        over_bare: None,
        piped_us: [1.5, 4.71],
    },
    Workload {
        name: "MSET (10 keys)",
        command: &[
            "MSET", KEY, VALUE, KEY, VALUE, KEY, VALUE, KEY, VALUE, KEY, VALUE, KEY, VALUE, KEY, VALUE, KEY,
            VALUE, KEY, VALUE, KEY, VALUE,
        ],
        reply: Answer::Text("+OK\r\n"),
        fill: Fill::Strings,
        weight: 5,
        over_bare: None,
        piped_us: [3.5, 8.25],
    },
    Workload {
        name: "LRANGE 0 99",
        command: &["LRANGE", "mylist", "0", "99"],
        reply: Answer::Hundred,
        fill: Fill::List,
        weight: 5,
        over_bare: None,
        piped_us: [2.2, 5.05],
    },
];

impl Workload {
    fn target(&self, pipeline: usize) -> Option<Target> {
        match pipeline {
            1 => self.over_bare.map(Target::OfBare),
            _ => Some(Target::OfRedis(self.piped_us[0] / self.piped_us[1])),
        }
    }

    fn fill(&self, client: &mut Client, keys: usize) -> Result<()> {
        let value = VALUE.as_bytes();
        match self.fill {
            Fill::Nothing => {}
            Fill::List => {
                for _ in 0..RANGE_LIST {
                    client.queue(&[b"LPUSH", b"mylist", value])?;
                }
            }
            Fill::Strings => {
                for number in 0..keys {
                    client.queue(&[b"SET", &numbered("key:", number), value])?;
                }
            }
            Fill::Counters => {
                for number in 0..keys {
                    client.queue(&[b"SET", &numbered("counter:", number), b"0"])?;
                }
            }
            Fill::Set => {
                for number in 0..keys {
                    client.queue(&[b"SADD", b"myset", &numbered("element:", number)])?;
                }
            }
            Fill::Hash => {
                for number in 0..keys {
                    client.queue(&[b"HSET", b"myhash", &numbered("element:", number), value])?;
                }
            }
            Fill::SortedSet => {
                for number in 0..keys {
                    let score = number.to_string();
                    client.queue(&[b"ZADD", b"myzset", score.as_bytes(), &numbered("element:", number)])?;
                }
            }
        }
        client.flush()
    }

    /// Removes the data that the last visit has added, so that every visit finds the same data.
    fn reset(&self, server: &Server) -> Result<()> {
        if self.name == "LPUSH" {
            server.connect()?.must(&[b"DEL", b"mylist"])?;
        }
        Ok(())
    }
}

/// The settings of one pipeline depth.
struct Depth {
    pipeline: usize,
    keys: usize,
    requests: usize,
}

/// Measures all chosen workloads at both depths and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let scale = &bench.scale;
    let depths = [
        Depth { pipeline: 1, keys: scale.keys_alone, requests: scale.requests / 10 },
        Depth { pipeline: 16, keys: scale.keys_piped, requests: scale.requests },
    ];
    for depth in &depths {
        let section = format!("pipeline {}", depth.pipeline);
        let chosen = WORKLOADS.iter().filter(|workload| bench.chosen(&section, workload.name));
        for workload in chosen {
            say(&format!("{section}: {}", workload.name));
            let visits = measure(bench, &load, workload, depth)?;
            add(report, &section, workload, depth, &visits);
        }
    }
    add_efficiency(report);
    Ok(())
}

/// All rounds of one workload: the visits of each subject, none if it does not have the command.
fn measure(bench: &Bench, load: &Load, workload: &Workload, depth: &Depth) -> Result<Vec<Vec<Visit>>> {
    let shot = Shot {
        requests: (depth.requests / workload.weight).max(CLIENTS * depth.pipeline),
        pipeline: depth.pipeline,
        clients: CLIENTS,
        keyspace: depth.keys,
        command: workload.command,
    };
    Tour {
        bare_reply: Some(workload.reply.text()),
        extra: &[],
        fill: &|client| workload.fill(client, depth.keys),
        reset: &|server| workload.reset(server),
        shot,
    }
    .run(bench, load)
}

/// One workload, measured on one server after the other.
pub struct Tour<'a> {
    /// The bare loop's reply; `None` if it is not measured.
    pub bare_reply: Option<String>,
    /// Directives for servers that understand Redis's.
    pub extra: &'a [&'a str],
    /// Fills a fresh server.
    pub fill: &'a dyn Fn(&mut Client) -> Result<()>,
    /// Removes the data that a visit has added, so that every visit finds the same data.
    pub reset: &'a dyn Fn(&Server) -> Result<()>,
    /// A visit.
    pub shot: Shot<'a>,
}

impl Tour<'_> {
    /// Runs all rounds. Returns the visits of each subject, none if it does not have the command.
    pub fn run(mut self, bench: &Bench, load: &Load) -> Result<Vec<Vec<Visit>>> {
        let servers = self.start(bench)?;
        let full = self.shot.requests;
        let mut visits = vec![Vec::new(); servers.len()];
        // Round 0 is short and warms up: connections, code, branch predictors, the rest of a rehash.
        for round in 0..=bench.scale.rounds {
            self.shot.requests = if round == 0 { full.div_ceil(5) } else { full };
            for turn in 0..servers.len() {
                let index = (round + turn) % servers.len();
                let Some(server) = &servers[index] else { continue };
                server.resume()?;
                (self.reset)(server)?;
                let visit = load.visit(server, &self.shot)?;
                server.pause();
                if round > 0 {
                    visits[index].push(visit);
                }
            }
        }
        Ok(visits)
    }

    /// The subjects, filled and stopped.
    fn start(&self, bench: &Bench) -> Result<Vec<Option<Server>>> {
        let core = bench.cores.server;
        let bare = self.bare_reply.as_ref().map(|reply| Spec::bare(reply)?.start(core, &[]));
        let mut servers = vec![bare.transpose()?];
        for spec in &bench.specs {
            let server = spec.start(core, self.extra)?;
            let mut client = server.connect()?;
            let known = client.knows(self.shot.command[0].as_bytes())?;
            if known {
                (self.fill)(&mut client)?;
                client.flush()?;
                server.pause();
            }
            servers.push(known.then_some(server));
        }
        Ok(servers)
    }
}

fn add(report: &mut Report, section: &str, workload: &Workload, depth: &Depth, visits: &[Vec<Visit>]) {
    add_row(report, section, workload.name, workload.target(depth.pipeline), visits);
}

/// Adds the medians of a row's visits.
pub fn add_row(
    report: &mut Report,
    section: &str,
    name: &str,
    target: Option<Target>,
    visits: &[Vec<Visit>],
) {
    let medians = |field: fn(&Visit) -> f64| -> Vec<Option<f64>> {
        visits.iter().map(|visits| median(visits.iter().map(field))).collect()
    };
    report.rows.push(Row {
        section: section.into(),
        name: name.into(),
        unit: "µs",
        values: medians(|visit| visit.cpu_us),
        target,
    });
    report.speeds.push(Speed {
        section: section.into(),
        name: name.into(),
        rps: medians(|visit| visit.seen.rps),
        p50_ms: medians(|visit| visit.seen.p50_ms),
        p99_ms: medians(|visit| visit.seen.p99_ms),
    });
    for visit in visits.iter().flatten() {
        report.disturbance.add(visit.disturbed);
    }
}

/// Adds the efficiency relative to the best of the other servers, over all workloads at pipeline 16.
fn add_efficiency(report: &mut Report) {
    let ratios: Vec<f64> = report
        .rows
        .iter()
        .filter(|row| row.section == "pipeline 16")
        .filter_map(|row| Some(row.best_peer()? / row.redstart()?))
        .collect();
    if ratios.len() < 2 {
        return;
    }
    let lowest = ratios.iter().copied().reduce(f64::min);
    let mean = geometric_mean(&ratios);
    let rows = [
        ("requests per CPU second over the best peer, geometric mean", mean, 2.0),
        ("requests per CPU second over the best peer, lowest", lowest, 1.3),
    ];
    for (name, value, target) in rows {
        report.rows.push(Row {
            section: "pipeline 16".into(),
            name: name.into(),
            unit: "×",
            values: report.only_redstart(value),
            target: Some(Target::AtLeast(target)),
        });
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_no_star_that_the_bare_loop_would_count() {
        for workload in &WORKLOADS {
            assert!(workload.command.iter().all(|word| !word.contains('*')), "{}", workload.name);
        }
    }

    #[test]
    fn replies_are_whole() {
        for workload in &WORKLOADS {
            let text = workload.reply.text();
            let mut input = text.as_bytes();
            super::super::client::read_reply(&mut input).unwrap();
            assert!(input.is_empty(), "{}", workload.name);
        }
    }

    #[test]
    fn targets_at_pipeline_sixteen_are_shares_of_redis() {
        for workload in &WORKLOADS {
            let Some(Target::OfRedis(share)) = workload.target(16) else { panic!("{}", workload.name) };
            assert!((0.3..0.7).contains(&share), "{}: {share}", workload.name);
        }
    }
}
