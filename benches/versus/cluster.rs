//! Cluster mode: what a request and a key cost more with it, and how long slots take to move to another node.
//!
//! ```text
//!   requests   a server ─────────── the same requests ─────────── a node of the same kind with all slots
//!   moving     core 0: the source ──── MIGRATE ────▶ core 2: the target       core 1: this program
//! ```
//!
//! A surcharge is the ratio of the CPU times of a request with and without cluster mode, as the median of all rounds.
//! The two follow each other in a round, so drift of the machine hardly affects the ratio. Both servers have a million
//! keys in all slots, and ten thousand more with one hash tag for commands with several keys. A slot moves as with
//! `redis-cli --cluster reshard`: CLUSTER SETSLOT on both nodes, CLUSTER GETKEYSINSLOT and MIGRATE until it is empty,
//! and CLUSTER SETSLOT again.
//!
//! Limits: with fewer than three cores, the target shares the core of the load. CLUSTER SETSLOT syncs `nodes.conf`, so
//! the time of a whole move depends on the disk; the time within MIGRATE does not.

use super::client::{Client, Reply, numbered};
use super::load::{Load, Shot};
use super::memory::{still_bytes, warm};
use super::persistence::{Subject, in_turn, value};
use super::report::{Report, Row, Target};
use super::servers::Server;
use super::stats::{geometric_mean, grouped, median};
use super::{Bench, Result, say};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name of this section on the command line.
pub const SECTION: &str = "cluster";

/// Connections of the load.
const CLIENTS: usize = 50;

/// The target of the surcharge: at most this.
const SURCHARGE: f64 = 1.05;

/// The target of additional bytes per key: less than the precision of resident pages.
const NO_BYTES: f64 = 0.5;

/// The target of the time for moving keys, over that of redis-server.
const MOVING: f64 = 0.6;

/// The timeout until nodes agree, and the time between two checks.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);

/// The divisor of the key space for keys of one slot and for members of the sorted set.
const SMALL: usize = 100;

/// Keys in a slot that moves, and keys in a call of MIGRATE.
const KEYS_IN_SLOT: usize = 1000;
const BATCH: usize = 100;

/// The list that LPUSH extends.
const LIST: &str = "mylist";

const KEY: &str = "key:__rand_int__";
const IN_SLOT: &str = "{slot}key:__rand_int__";
const NUMBER: &str = "100";

/// One kind of request.
struct Workload {
    name: &'static str,
    command: &'static [&'static str],
    /// The divisor of the number of its keys.
    fewer: usize,
    /// The divisor of the number of requests.
    weight: usize,
}

static WORKLOADS: [Workload; 7] = [
    Workload { name: "GET", command: &["GET", KEY], fewer: 1, weight: 1 },
    Workload { name: "SET", command: &["SET", KEY, NUMBER], fewer: 1, weight: 1 },
    Workload { name: "INCR", command: &["INCR", KEY], fewer: 1, weight: 1 },
    Workload { name: "LPUSH", command: &["LPUSH", LIST, NUMBER], fewer: 1, weight: 1 },
    Workload {
        name: "ZADD",
        command: &["ZADD", "myzset", "__rand_int__", "element:__rand_int__"],
        fewer: SMALL,
        weight: 2,
    },
    Workload {
        name: "MGET (10 keys of a slot)",
        command: &[
            "MGET", IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT, IN_SLOT,
        ],
        fewer: SMALL,
        weight: 5,
    },
    Workload {
        name: "MSET (10 keys of a slot)",
        command: &[
            "MSET", IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER,
            IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER, IN_SLOT, NUMBER,
        ],
        fewer: SMALL,
        weight: 5,
    },
];

/// Measures the chosen parts and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if WORKLOADS.iter().any(|workload| bench.chosen(SECTION, &title(workload))) {
        requests(bench, report)?;
    }
    if bench.chosen(SECTION, "memory") {
        memory(bench, report)?;
    }
    if bench.chosen(SECTION, "moving") {
        moving(bench, report)?;
    }
    Ok(())
}

/// The name of a workload for `--only`.
fn title(workload: &Workload) -> String {
    format!("requests {}", workload.name)
}

/// A row with a figure for each server; the bare loop has none.
fn row(name: &str, what: &str, unit: &'static str, servers: Vec<Option<f64>>, target: Option<Target>) -> Row {
    Row::of_servers(format!("{SECTION}: {name}"), what, unit, servers, target)
}

/// The medians of some samples.
fn medians(samples: &[Vec<f64>]) -> Vec<Option<f64>> {
    samples.iter().map(|samples| median(samples.iter().copied())).collect()
}

/// The mode of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    /// A node with all slots.
    Cluster,
}

const MODES: [Mode; 2] = [Mode::Plain, Mode::Cluster];

/// Starts a server with an empty keyspace in this mode.
fn start(bench: &Bench, subject: &Subject, mode: Mode) -> Result<Server> {
    if mode == Mode::Plain {
        return subject.start(bench, false, &[]);
    }
    let server = start_node(bench, subject)?;
    let mut client = server.connect()?;
    client.must(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"])?;
    wait_for(&mut client, b"INFO", "cluster_state:ok")?;
    Ok(server)
}

/// Starts a node without slots.
fn start_node(bench: &Bench, subject: &Subject) -> Result<Server> {
    subject.empty()?;
    // The default is the port plus 10,000, which may be above 65,535.
    let bus = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    subject.start(bench, false, &["--cluster-enabled", "yes", "--cluster-port", &bus])
}

/// Waits until the reply to a subcommand of CLUSTER contains `text`.
fn wait_for(client: &mut Client, subcommand: &[u8], text: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        if let Reply::Bulk(reply) = client.must(&[b"CLUSTER", subcommand])?
            && String::from_utf8_lossy(&reply).contains(text)
        {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("a node of the cluster does not get to {text:?}").into());
        }
        sleep(GLANCE);
    }
}

/// A paused server of one kind in each mode, filled alike.
type Pair = [Server; 2];

/// Adds the keys and members that requests use.
fn fill(client: &mut Client, keys: usize) -> Result<()> {
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), NUMBER.as_bytes()])?;
    }
    for number in 0..keys / SMALL {
        client.queue(&[b"SET", &numbered("{slot}key:", number), NUMBER.as_bytes()])?;
        let score = number.to_string();
        client.queue(&[b"ZADD", b"myzset", score.as_bytes(), &numbered("element:", number)])?;
    }
    client.flush()
}

/// All pairs, by the index of their server.
fn pairs(bench: &Bench, subjects: &[Vec<Option<Subject>>; 2]) -> Result<Vec<Option<Pair>>> {
    let mut pairs: Vec<Option<Pair>> = bench.specs.iter().map(|_| None).collect();
    for (index, pair) in pairs.iter_mut().enumerate() {
        let [Some(plain), Some(node)] = [&subjects[0][index], &subjects[1][index]] else { continue };
        say(&format!("cluster: filling {} twice", plain.spec.name));
        let servers = [start(bench, plain, Mode::Plain)?, start(bench, node, Mode::Cluster)?];
        for server in &servers {
            fill(&mut server.connect()?, bench.scale.keys_piped)?;
            server.settled_cpu_time()?;
            server.pause();
        }
        *pair = Some(servers);
    }
    Ok(pairs)
}

/// Measures the CPU time of requests in both modes, at both depths of the pipeline.
fn requests(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let subjects = [Subject::all(bench)?, Subject::all(bench)?];
    let pairs = pairs(bench, &subjects)?;
    let keys = bench.scale.keys_piped;
    for (pipeline, requests) in [(1, bench.scale.requests / 10), (16, bench.scale.requests)] {
        let name = format!("CPU time a request at pipeline {pipeline}, {} keys", grouped(keys as i64));
        let mut surcharges = vec![Vec::new(); pairs.len()];
        let first = report.rows.len();
        for workload in WORKLOADS.iter().filter(|workload| bench.chosen(SECTION, &title(workload))) {
            let shot = Shot {
                requests: (requests / workload.weight).max(CLIENTS * pipeline).next_multiple_of(pipeline),
                pipeline,
                clients: CLIENTS,
                keyspace: keys / workload.fewer,
                command: workload.command,
            };
            say(&format!("cluster: {}, pipeline {pipeline}", workload.name));
            let samples = measure(bench, report, &load, &subjects[0], &pairs, &shot)?;
            add(report, &name, workload.name, &samples);
            for (all, samples) in surcharges.iter_mut().zip(&samples) {
                all.extend(surcharge(samples));
            }
        }
        add_means(report, &name, first, &surcharges);
    }
    Ok(())
}

/// Microseconds of CPU time per request, by visit: without and with cluster mode.
type Samples = [Vec<f64>; 2];

/// Visits all pairs in turn. Which mode is first alternates, so that neither has warmer caches.
fn measure(
    bench: &Bench,
    report: &mut Report,
    load: &Load,
    subjects: &[Option<Subject>],
    pairs: &[Option<Pair>],
    shot: &Shot,
) -> Result<Vec<Samples>> {
    let mut samples: Vec<Samples> = pairs.iter().map(|_| Samples::default()).collect();
    // The short first visit warms up.
    let short = Shot { requests: (shot.requests / 5).next_multiple_of(shot.pipeline), ..shot.clone() };
    in_turn(1, subjects, |index, _| {
        let Some(pair) = &pairs[index] else { return Ok(()) };
        pair.iter().try_for_each(|server| visit(load, server, &short).map(drop))
    })?;
    in_turn(bench.scale.rounds, subjects, |index, _| {
        let Some(pair) = &pairs[index] else { return Ok(()) };
        let first = samples[index][0].len() % 2;
        for mode in [first, 1 - first] {
            let (cpu_us, disturbed) = visit(load, &pair[mode], shot)?;
            samples[index][mode].push(cpu_us);
            report.disturbance.add(disturbed);
        }
        Ok(())
    })?;
    Ok(samples)
}

/// Returns microseconds of CPU time per request, and the share of time that the server waited for its core.
fn visit(load: &Load, server: &Server, shot: &Shot) -> Result<(f64, f64)> {
    server.resume()?;
    if shot.command.contains(&LIST) {
        server.connect()?.must(&[b"DEL", LIST.as_bytes()])?;
    }
    let visit = load.visit(server, shot)?;
    server.pause();
    Ok((visit.cpu_us, visit.disturbed))
}

/// The median of the ratios of all rounds.
fn surcharge([plain, node]: &Samples) -> Option<f64> {
    median(plain.iter().zip(node).map(|(plain, node)| node / plain))
}

/// Adds the rows of one kind of request.
fn add(report: &mut Report, name: &str, what: &str, samples: &[Samples]) {
    let of = |mode: usize| samples.iter().map(|samples| median(samples[mode].iter().copied())).collect();
    report.rows.extend([
        row(name, what, "µs", of(0), None),
        row(name, &format!("{what}, {IN_CLUSTER}"), "µs", of(1), None),
        row(
            name,
            &format!("{what}, surcharge"),
            "×",
            samples.iter().map(surcharge).collect(),
            Some(Target::AtMost(SURCHARGE)),
        ),
    ]);
}

/// The name of a node's figure.
const IN_CLUSTER: &str = "in cluster mode";

/// Adds the means over the kinds of requests in the rows from `first` on: of the surcharges, and of a node's efficiency
/// over that of the best other server.
fn add_means(report: &mut Report, name: &str, first: usize, surcharges: &[Vec<f64>]) {
    let means = surcharges.iter().map(|all| geometric_mean(all)).collect();
    let nodes = report.rows[first..].iter().filter(|row| row.name.ends_with(IN_CLUSTER));
    let ratios: Vec<f64> = nodes.filter_map(|row| Some(row.best_peer()? / row.redstart()?)).collect();
    report.rows.push(row(name, "surcharge, geometric mean", "×", means, None));
    let mut best = row(name, "", "×", Vec::new(), None);
    best.name = format!("requests per CPU second over the best peer, {IN_CLUSTER}, geometric mean");
    best.values = report.only_redstart(geometric_mean(&ratios));
    report.rows.push(best);
}

/// Measures the resident bytes per key in both modes.
fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let subjects = Subject::all(bench)?;
    let mut samples: Vec<Samples> = subjects.iter().map(|_| Samples::default()).collect();
    in_turn(bench.scale.tail_rounds, &subjects, |index, subject| {
        for (mode, bytes) in MODES.into_iter().zip(&mut samples[index]) {
            say(&format!("cluster: memory, {}", subject.spec.name));
            bytes.push(key_bytes(&start(bench, subject, mode)?, bench.scale.elements)?);
        }
        Ok(())
    })?;
    let of = |mode: usize| -> Vec<Vec<f64>> { samples.iter().map(|samples| samples[mode].clone()).collect() };
    let (plain, node) = (medians(&of(0)), medians(&of(1)));
    let more = plain.iter().zip(&node).map(|(plain, node)| Some((*node)? - (*plain)?)).collect();
    let name = format!("memory of {} keys of 16 B with 3 B", grouped(bench.scale.elements as i64));
    report.rows.extend([
        row(&name, "a key", "B", plain, None),
        row(&name, &format!("a key, {IN_CLUSTER}"), "B", node, None),
        row(&name, "surcharge", "B", more, Some(Target::AtMost(NO_BYTES))),
    ]);
    Ok(())
}

/// The growth of a fresh server per key.
fn key_bytes(server: &Server, keys: usize) -> Result<f64> {
    let mut client = server.connect()?;
    warm(&mut client)?;
    let before = still_bytes(server)?;
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), b"xxx"])?;
    }
    client.flush()?;
    Ok(still_bytes(server)?.saturating_sub(before) as f64 / keys as f64)
}

/// The figures of one move, in seconds.
#[derive(Clone, Copy, Default)]
struct Move {
    /// From the first request to the last reply.
    elapsed: f64,
    /// Within MIGRATE.
    migrating: f64,
    /// CPU time of the nodes.
    source: f64,
    target: f64,
}

/// Moves slots with their keys from a node to an empty one of its kind.
fn moving(bench: &Bench, report: &mut Report) -> Result<()> {
    let (sources, targets) = (Subject::all(bench)?, Subject::all(bench)?);
    let mut samples: Vec<Vec<Move>> = sources.iter().map(|_| Vec::new()).collect();
    in_turn(bench.scale.tail_rounds, &sources, |index, source| {
        let Some(target) = &targets[index] else { return Ok(()) };
        say(&format!("cluster: moving {} keys, {}", bench.scale.moved_keys, source.spec.name));
        samples[index].push(Nodes::start(bench, source, target)?.move_all(bench.scale.moved_keys)?);
        Ok(())
    })?;
    let of = |figure: fn(&Move) -> f64| -> Vec<Option<f64>> {
        samples.iter().map(|moves| median(moves.iter().map(figure))).collect()
    };
    let keys = bench.scale.moved_keys;
    let name = format!(
        "moving {} keys in {} slots, {BATCH} keys with 32 B in a MIGRATE",
        grouped(keys as i64),
        grouped(keys.div_ceil(KEYS_IN_SLOT) as i64)
    );
    report.rows.extend([
        row(&name, "MIGRATE", "s", of(|m| m.migrating), Some(Target::OfRedis(MOVING))),
        row(&name, "with SETSLOT and GETKEYSINSLOT", "s", of(|m| m.elapsed), None),
        row(&name, "CPU time of the source", "s", of(|m| m.source), None),
        row(&name, "CPU time of the target", "s", of(|m| m.target), None),
    ]);
    Ok(())
}

/// A node with all slots, and one with none.
struct Nodes {
    servers: [Server; 2],
    clients: [Client; 2],
    ids: [Vec<u8>; 2],
}

impl Nodes {
    fn start(bench: &Bench, source: &Subject, target: &Subject) -> Result<Self> {
        let servers = [start(bench, source, Mode::Cluster)?, start_node(bench, target)?];
        servers[1].allow(&[bench.cores.replica])?;
        let mut clients = [servers[0].connect()?, servers[1].connect()?];
        let ids = [id(&mut clients[0])?, id(&mut clients[1])?];
        let bus = bus_port(&mut clients[1])?;
        let port = servers[1].port.to_string();
        clients[0].must(&[b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes(), bus.as_bytes()])?;
        // The source has the target's ID after the handshake; the target is `ok` when it knows the owner of the slots.
        wait_for(&mut clients[0], b"NODES", std::str::from_utf8(&ids[1])?)?;
        wait_for(&mut clients[1], b"INFO", "cluster_state:ok")?;
        Ok(Self { servers, clients, ids })
    }

    /// Fills slots of the source and moves them.
    fn move_all(mut self, keys: usize) -> Result<Move> {
        let slots = self.fill(keys)?;
        let [source, target] = &self.servers;
        let before = [source.settled_cpu_time()?, target.settled_cpu_time()?];
        let begin = Instant::now();
        let mut migrating = Duration::ZERO;
        for slot in slots {
            migrating += self.move_slot(&slot)?;
        }
        let elapsed = begin.elapsed().as_secs_f64();
        let [source, target] = &self.servers;
        let used = [source.settled_cpu_time()?.since(before[0]), target.settled_cpu_time()?.since(before[1])];
        for (client, count) in self.clients.iter_mut().zip([0, keys]) {
            let size = client.must(&[b"DBSIZE"])?;
            if size != Reply::Line(count.to_string()) {
                return Err(format!("a node should have {count} keys after a move, but has {size:?}").into());
            }
        }
        Ok(Move {
            elapsed,
            migrating: migrating.as_secs_f64(),
            source: used[0].run_ns as f64 / 1e9,
            target: used[1].run_ns as f64 / 1e9,
        })
    }

    /// Sets keys of the source, [`KEYS_IN_SLOT`] for each hash tag. Returns their slots.
    fn fill(&mut self, keys: usize) -> Result<BTreeSet<String>> {
        let client = &mut self.clients[0];
        let mut slots = BTreeSet::new();
        for number in 0..keys {
            let key = numbered(&format!("{{{}}}", number / KEYS_IN_SLOT), number);
            if number.is_multiple_of(KEYS_IN_SLOT) {
                let Reply::Line(slot) = client.must(&[b"CLUSTER", b"KEYSLOT", &key])? else {
                    return Err("CLUSTER KEYSLOT without a number".into());
                };
                slots.insert(slot);
            }
            client.queue(&[b"SET", &key, &value(number)])?;
        }
        client.flush()?;
        Ok(slots)
    }

    /// Moves one slot. Returns the time within MIGRATE.
    fn move_slot(&mut self, slot: &str) -> Result<Duration> {
        let [source, target] = &mut self.clients;
        let slot = slot.as_bytes();
        target.must(&[b"CLUSTER", b"SETSLOT", slot, b"IMPORTING", &self.ids[0]])?;
        source.must(&[b"CLUSTER", b"SETSLOT", slot, b"MIGRATING", &self.ids[1]])?;
        let (port, count) = (self.servers[1].port.to_string(), BATCH.to_string());
        let mut migrating = Duration::ZERO;
        loop {
            let keys = source.strings(&[b"CLUSTER", b"GETKEYSINSLOT", slot, count.as_bytes()])?;
            if keys.is_empty() {
                break;
            }
            let mut request: Vec<&[u8]> =
                vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"60000", b"KEYS"];
            request.extend(keys.iter().map(Vec::as_slice));
            let begin = Instant::now();
            source.must(&request)?;
            migrating += begin.elapsed();
        }
        for client in [target, source] {
            client.must(&[b"CLUSTER", b"SETSLOT", slot, b"NODE", &self.ids[1]])?;
        }
        Ok(migrating)
    }
}

fn id(client: &mut Client) -> Result<Vec<u8>> {
    match client.must(&[b"CLUSTER", b"MYID"])? {
        Reply::Bulk(id) => Ok(id),
        other => Err(format!("the reply to CLUSTER MYID was {other:?}").into()),
    }
}

/// The port of a node's bus, from its own line in CLUSTER NODES.
fn bus_port(client: &mut Client) -> Result<String> {
    match client.must(&[b"CLUSTER", b"NODES"])? {
        Reply::Bulk(lines) => bus_port_in(&String::from_utf8_lossy(&lines)),
        _ => None,
    }
    .ok_or_else(|| "CLUSTER NODES without the port of the bus".into())
}

/// The port after the `@` in the line of the node itself: `ID 127.0.0.1:7000@17000,host myself,master ...`.
fn bus_port_in(nodes: &str) -> Option<String> {
    let own = nodes.lines().find(|line| line.contains("myself"))?;
    let address = own.split(' ').nth(1)?.rsplit_once('@')?.1;
    Some(address.split(',').next()?.into())
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn a_surcharge_is_the_median_of_the_rounds_quotients() {
        // The machine slows down from round to round, which would distort a ratio of medians.
        assert_eq!(surcharge(&[vec![1.0, 2.0, 4.0], vec![1.5, 2.5, 4.0]]), Some(1.25));
        assert_eq!(surcharge(&[Vec::new(), Vec::new()]), None);
    }

    #[test]
    fn keys_of_one_request_are_in_one_slot() {
        let tag = |word: &str| word.split_once('{')?.1.split_once('}').map(|(tag, _)| tag.to_string());
        for workload in WORKLOADS.iter().filter(|workload| workload.command[0].starts_with('M')) {
            let step = if workload.command[0] == "MSET" { 2 } else { 1 };
            let keys: Vec<_> = workload.command[1..].iter().step_by(step).map(|key| tag(key)).collect();
            assert_eq!(keys.len(), 10, "{}", workload.name);
            assert!(keys.iter().all(|key| key.is_some() && *key == keys[0]), "{}", workload.name);
        }
    }

    #[test]
    fn a_node_names_the_port_of_its_bus() {
        let other = "aa 127.0.0.1:1@2 master - 0 0 1 connected\n";
        let lines = |own: &str| format!("{other}bb {own} myself,master - 0 0 2 connected 0-16383\n");
        assert_eq!(bus_port_in(&lines("127.0.0.1:7000@17001")).as_deref(), Some("17001"));
        assert_eq!(bus_port_in(&lines(":7000@17002,host,shard-id=5")).as_deref(), Some("17002"));
        assert_eq!(bus_port_in(other), None);
    }

    #[test]
    fn rows_have_a_surcharge_for_each_server_and_means_of_all() {
        let mut report = Report {
            subjects: ["bare loop", "Redstart", "redis-server", "other"].map(String::from).into(),
            ..Report::default()
        };
        let samples: [Samples; 3] = [[vec![1.0], vec![1.2]], [vec![2.0], vec![2.2]], Samples::default()];
        add(&mut report, "requests", "GET", &samples);
        add_means(&mut report, "requests", 0, &[vec![1.2], vec![1.1], Vec::new()]);
        let values: Vec<&[Option<f64>]> = report.rows.iter().map(|row| &row.values[..]).collect();
        assert_eq!(values[1], [None, Some(1.2), Some(2.2), None]);
        assert_eq!(values[3], [None, Some(1.2), Some(1.1), None]);
        assert_eq!(report.rows[2].meets(), Some(false));
        let best = report.rows.last().unwrap().redstart().unwrap();
        assert!((best - 2.2 / 1.2).abs() < 1e-9, "{best}");
    }
}
