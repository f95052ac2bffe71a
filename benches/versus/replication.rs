//! Replication: the duration of a full synchronization, the cost of the stream for a primary and a replica, SETs that a
//! replica has acknowledged, the latencies of clients during a synchronization, and its memory while keys are written.
//!
//! ```text
//!   core 0: the primary    core 1: the load    core 2: the replica    core 3: the primary's child
//! ```
//!
//! A pair is two servers of the same kind, or one of them is redis-server. If replicas only have to exist, sockets of
//! the benchmark (`links.rs`) receive the snapshot and discard the stream. Snapshots are sent without a file and
//! without a delay. The CPU time of a synchronization includes the child's, which the kernel adds to the primary's when
//! the child has exited.
//!
//! Limits: with fewer than four cores, the replica and the child share those of the load and the primary.

use super::client::{Client, Reply, numbered, push_request};
use super::fork::{field, info};
use super::generator::{self, Outcome};
use super::keyspace::{Fresh, Probe};
use super::links::{Begun, Sink, Source, offset, while_discarding};
use super::load::{Load, Shot};
use super::persistence::{Subject, fill, in_turn, value, wait_for_child};
use super::report::{REDIS, Report, Row, Target};
use super::servers::Server;
use super::stats::{grouped, median};
use super::system::CpuTime;
use super::tails::{Judged, Phase, Sample, Scenario, add};
use super::{Bench, Result, say, system};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// The name of this section on the command line.
pub const SECTION: &str = "replication";

/// The directives of all servers.
const DIRECTIVES: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-timeout", "3600"];

/// The index of redis-server among the servers.
const REDIS_SPEC: usize = REDIS - 1;

/// The timeout for a synchronization, and the time between two checks whether it is complete.
const PATIENCE: Duration = Duration::from_secs(300);
const GLANCE: Duration = Duration::from_millis(5);

/// Connections of the load.
const CLIENTS: usize = 50;

/// The numbers of replicas for the SETs.
const REPLICAS: [usize; 3] = [0, 1, 10];

/// The number of requests of the stream that a replica applies, and how often a visit sends them.
const STREAMED: usize = 400_000;
const STREAMED_TIMES: usize = 5;

/// PINGs per second that synchronizations may delay.
const PROBES: u64 = 1000;

/// The number of SETs sent together while memory is measured.
const TOGETHER: u64 = 100;

/// The target of executed SETs while memory is measured, as a share of the requested rate.
const SETS_EXECUTED: f64 = 0.95;

/// The time between two readings of memory.
const LOOK: Duration = Duration::from_millis(25);

/// Measures the chosen parts and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.chosen(SECTION, "full sync") {
        syncs(bench, report)?;
    }
    if bench.chosen(SECTION, "stream") {
        stream(bench, report)?;
    }
    if bench.chosen(SECTION, "acknowledged") {
        acknowledged(bench, report)?;
    }
    if bench.chosen(SECTION, "applying") {
        applying(bench, report)?;
    }
    if bench.chosen(SECTION, "tails") {
        tails(bench, report)?;
    }
    if bench.chosen(SECTION, "memory") {
        memory(bench, report)?;
    }
    Ok(())
}

/// A filled and paused server of each kind. Its children run on a separate core.
fn primaries(bench: &Bench, subjects: &[Option<Subject>]) -> Result<Vec<Option<Server>>> {
    let mut servers: Vec<Option<Server>> = subjects.iter().map(|_| None).collect();
    in_turn(1, subjects, |index, subject| {
        say(&format!("replication: filling {}", subject.spec.name));
        let server = subject.start(bench, false, &DIRECTIVES)?;
        server.allow(&[bench.cores.server, bench.cores.child])?;
        fill(&server, bench.scale.stored_keys)?;
        server.pause();
        servers[index] = Some(server);
        Ok(())
    })?;
    Ok(servers)
}

/// A row of medians by server; the bare loop has none.
fn row(name: &str, what: &str, unit: &'static str, samples: &[Vec<f64>], target: Option<Target>) -> Row {
    let servers = samples.iter().map(|samples| median(samples.iter().copied()));
    Row::of_servers(format!("{SECTION}: {name}"), what, unit, servers, target)
}

/// The figures of one synchronization, in seconds.
#[derive(Clone, Copy)]
struct Sync {
    until_up: f64,
    /// CPU time of the primary and its child.
    primary: f64,
    /// CPU time of the replica.
    replica: f64,
}

/// Full synchronizations of pairs of servers.
fn syncs(bench: &Bench, report: &mut Report) -> Result<()> {
    let keys = bench.scale.stored_keys;
    let (subjects, followers) = (Subject::all(bench)?, Subject::all(bench)?);
    let servers = primaries(bench, &subjects)?;
    // Of each server: with its own kind, as a replica of redis-server, and as its primary.
    let mut samples: [Vec<Vec<Sync>>; 3] = std::array::from_fn(|_| vec![Vec::new(); subjects.len()]);
    in_turn(bench.scale.rounds, &subjects, |index, _| {
        let pairs = [(index, index), (REDIS_SPEC, index), (index, REDIS_SPEC)];
        for (kind, (primary, replica)) in pairs.into_iter().enumerate() {
            if kind > 0 && index == REDIS_SPEC {
                continue;
            }
            let (Some(primary), Some(replica)) = (&servers[primary], &followers[replica]) else { continue };
            say(&format!("replication: full sync, {}, {kind}", replica.spec.name));
            samples[kind][index].push(sync(bench, primary, replica)?);
        }
        Ok(())
    })?;
    let name = format!("full sync of {} strings", grouped(keys as i64));
    let of = |kind: usize, figure: fn(&Sync) -> f64| -> Vec<Vec<f64>> {
        samples[kind].iter().map(|syncs| syncs.iter().map(figure).collect()).collect()
    };
    let half = Some(Target::OfRedis(0.5));
    report.rows.extend([
        row(&name, "until the link is up", "s", &of(0, |sync| sync.until_up), half),
        row(&name, "CPU time of the primary and its child", "s", &of(0, |sync| sync.primary), None),
        row(&name, "CPU time of the replica", "s", &of(0, |sync| sync.replica), None),
        row(&name, "until the link of a redis-server primary is up", "s", &of(1, |sync| sync.until_up), None),
        row(&name, "until the link of a redis-server replica is up", "s", &of(2, |sync| sync.until_up), None),
    ]);
    Ok(())
}

/// Makes a fresh server a replica of `primary`.
fn sync(bench: &Bench, primary: &Server, follower: &Subject) -> Result<Sync> {
    follower.empty()?;
    let replica = follower.start(bench, false, &DIRECTIVES)?;
    replica.allow(&[bench.cores.replica])?;
    primary.resume()?;
    let (primary_s, replica_s) = (primary.cpu_seconds_with_children()?, seconds(&replica)?);
    let until_up = follow(primary, &replica)?;
    let dbsize = replica.connect()?.must(&[b"DBSIZE"])?;
    if dbsize != Reply::Line(bench.scale.stored_keys.to_string()) {
        return Err(format!("after a full sync, DBSIZE is {dbsize:?}").into());
    }
    primary.settled_cpu_time()?;
    let used = (primary.cpu_seconds_with_children()? - primary_s, seconds(&replica)? - replica_s);
    drop(replica);
    primary.settled_cpu_time()?;
    primary.pause();
    Ok(Sync { until_up, primary: used.0, replica: used.1 })
}

fn seconds(server: &Server) -> Result<f64> {
    Ok(server.settled_cpu_time()?.run_ns as f64 / 1e9)
}

/// Calls REPLICAOF. Returns the seconds until the link is up.
fn follow(primary: &Server, replica: &Server) -> Result<f64> {
    let mut client = replica.connect()?;
    let begin = Instant::now();
    client.must(&[b"REPLICAOF", b"127.0.0.1", primary.port.to_string().as_bytes()])?;
    while !info(&mut client)?.contains("master_link_status:up") {
        if begin.elapsed() > PATIENCE {
            return Err("a full synchronization does not end".into());
        }
        sleep(GLANCE);
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Waits until a replica has applied all that its primary has written.
fn catch_up(primary: &Server, replica: &Server) -> Result<()> {
    let (end, begin) = (offset(primary)?, Instant::now());
    while offset(replica)? < end {
        if begin.elapsed() > PATIENCE {
            return Err("a replica has not applied the end of the stream in time".into());
        }
        sleep(GLANCE);
    }
    Ok(())
}

/// A primary, its replicas, and the figures of its visits.
struct Setup {
    server: Server,
    sinks: Vec<Sink>,
    replica: Option<Server>,
}

impl Setup {
    /// A paused primary, filled after its replicas have connected. A single replica is a server.
    fn start(bench: &Bench, subject: &Subject, follower: &Subject, replicas: usize) -> Result<Self> {
        say(&format!("replication: filling {} with {replicas} replicas", subject.spec.name));
        let server = subject.start(bench, false, &DIRECTIVES)?;
        let mut setup = Self { server, sinks: Vec::new(), replica: None };
        if replicas == 1 {
            let replica = follower.start(bench, false, &DIRECTIVES)?;
            replica.allow(&[bench.cores.replica])?;
            follow(&setup.server, &replica)?;
            setup.replica = Some(replica);
        } else {
            let sinks: Result<_> = (0..replicas).map(|_| Sink::attach(&setup.server)).collect();
            setup.sinks = sinks?;
        }
        let server = &setup.server;
        while_discarding(&mut setup.sinks, bench.cores.replica, server, || {
            fill(server, bench.scale.keys_piped)
        })?;
        setup.pause()?;
        Ok(setup)
    }

    fn pause(&self) -> Result<()> {
        for server in std::iter::once(&self.server).chain(&self.replica) {
            server.settled_cpu_time()?;
        }
        self.server.pause();
        self.replica.iter().for_each(Server::pause);
        Ok(())
    }

    /// Returns microseconds of CPU time per SET, of the primary and of its replica.
    fn visit(&mut self, bench: &Bench, load: &Load, shot: &Shot) -> Result<(f64, Option<f64>)> {
        if let Some(replica) = &self.replica {
            replica.resume()?;
        }
        self.server.resume()?;
        let before = self.replica.as_ref().map(Server::settled_cpu_time).transpose()?;
        let server = &self.server;
        let begun = server.settled_cpu_time()?;
        while_discarding(&mut self.sinks, bench.cores.replica, server, || load.visit(server, shot))?;
        let each = |used: CpuTime| used.run_ns as f64 / 1000.0 / shot.requests as f64;
        let applied = match (&self.replica, before) {
            (Some(replica), Some(before)) => {
                catch_up(server, replica)?;
                Some(each(replica.settled_cpu_time()?.since(before)))
            }
            _ => None,
        };
        let used = each(server.settled_cpu_time()?.since(begun));
        self.pause()?;
        Ok((used, applied))
    }
}

impl Setup {
    /// One thread sends pipelines of SETs on many connections, and reads the replies of one after the other. Returns
    /// SETs per second, and microseconds of the primary's CPU time for each.
    fn visit_acknowledged(&self, bench: &Bench, kind: Acknowledged, pipeline: usize) -> Result<(f64, f64)> {
        let (server, replica) = (&self.server, self.replica.as_ref().ok_or("there is no replica")?);
        replica.resume()?;
        server.resume()?;
        catch_up(server, replica)?;
        let mut admin = server.connect()?;
        if kind == Acknowledged::Always {
            admin.must(&[b"CONFIG", b"SET", b"min-replicas-to-ack", b"1"])?;
            let begin = Instant::now();
            // The replica was paused, so its last acknowledgement may be too old.
            while let Reply::Error(text) = admin.ask(&[b"SET", b"first", b"value"])? {
                if begin.elapsed() > PATIENCE {
                    return Err(text.into());
                }
                sleep(GLANCE);
            }
        }
        let clients: Result<Vec<Client>> = (0..CLIENTS).map(|_| server.connect()).collect();
        let (mut clients, mut random, mut sent) = (clients?, 1_u64, 0_usize);
        let before = server.settled_cpu_time()?;
        let begin = Instant::now();
        while begin.elapsed() < bench.scale.tail_length {
            for client in &mut clients {
                client.flush()?;
                for _ in 0..pipeline {
                    random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                    let key = (random >> 33) as usize % bench.scale.keys_piped;
                    client.queue(&[b"SET", &numbered("key:", key), &value(key)])?;
                    if kind == Acknowledged::Asked {
                        client.queue(&[b"WAIT", b"1", b"0"])?;
                    }
                }
                client.send()?;
                sent += pipeline;
            }
        }
        clients.iter_mut().try_for_each(Client::flush)?;
        let rate = sent as f64 / begin.elapsed().as_secs_f64();
        catch_up(server, replica)?;
        let used = server.settled_cpu_time()?.since(before).run_ns;
        if kind == Acknowledged::Always {
            admin.must(&[b"CONFIG", b"SET", b"min-replicas-to-ack", b"0"])?;
        }
        self.pause()?;
        Ok((rate, used as f64 / 1000.0 / sent as f64))
    }
}

/// SETs at pipeline 16 on primaries with none, one and many replicas.
fn stream(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let text = String::from_utf8(value(0).to_vec())?;
    let command = ["SET", "key:__rand_int__", &text];
    let shot = Shot {
        requests: bench.scale.requests.next_multiple_of(16),
        pipeline: 16,
        clients: CLIENTS,
        keyspace: bench.scale.keys_piped,
        command: &command,
    };
    let name = "stream of SETs at pipeline 16, CPU time each";
    let mut applied: Vec<Vec<f64>> = bench.specs.iter().map(|_| Vec::new()).collect();
    for replicas in REPLICAS {
        let (subjects, followers) = (Subject::all(bench)?, Subject::all(bench)?);
        let mut setups: Vec<Option<Setup>> = subjects.iter().map(|_| None).collect();
        in_turn(1, &subjects, |index, subject| {
            let Some(follower) = &followers[index] else { return Ok(()) };
            setups[index] = Some(Setup::start(bench, subject, follower, replicas)?);
            Ok(())
        })?;
        let mut samples: Vec<Vec<f64>> = subjects.iter().map(|_| Vec::new()).collect();
        in_turn(bench.scale.rounds, &subjects, |index, subject| {
            let Some(setup) = &mut setups[index] else { return Ok(()) };
            say(&format!("replication: SETs with {replicas} replicas, {}", subject.spec.name));
            let (cpu_us, replica_us) = setup.visit(bench, &load, &shot)?;
            samples[index].push(cpu_us);
            applied[index].extend(replica_us);
            Ok(())
        })?;
        let (what, target) = match replicas {
            0 => ("primary without replicas".into(), None),
            1 => ("primary with a replica".into(), Some(Target::OfRedis(0.6))),
            many => (format!("primary with {many} replicas"), Some(Target::OfRedis(0.4))),
        };
        report.rows.push(row(name, &what, "µs", &samples, target));
    }
    report.rows.push(row(name, "replica", "µs", &applied, Some(Target::OfRedis(0.5))));
    Ok(())
}

/// When the reply to a SET says that a replica has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    Never,
    /// `min-replicas-to-ack 1`, which only Redstart has.
    Always,
    /// `WAIT` follows each SET.
    Asked,
}

/// SETs with a replica: throughput, and CPU time of the primary, by the acknowledgement of the replica.
fn acknowledged(bench: &Bench, report: &mut Report) -> Result<()> {
    use Acknowledged::{Always, Asked, Never};
    let (subjects, followers) = (Subject::all(bench)?, Subject::all(bench)?);
    let mut setups: Vec<Option<Setup>> = subjects.iter().map(|_| None).collect();
    in_turn(1, &subjects, |index, subject| {
        let Some(follower) = &followers[index] else { return Ok(()) };
        setups[index] = Some(Setup::start(bench, subject, follower, 1)?);
        Ok(())
    })?;
    for (pipeline, name) in [(1, "acknowledged SETs, pipeline 1"), (16, "acknowledged SETs, pipeline 16")] {
        for (kind, what) in
            [(Never, "asynchronous"), (Always, "`min-replicas-to-ack 1`"), (Asked, "`WAIT 1 0` after each")]
        {
            let mut rates: Vec<Vec<f64>> = subjects.iter().map(|_| Vec::new()).collect();
            let mut costs = rates.clone();
            in_turn(bench.scale.rounds, &subjects, |index, subject| {
                let Some(setup) = &setups[index] else { return Ok(()) };
                if kind == Always && index != 0 {
                    return Ok(());
                }
                say(&format!("replication: {name}, {what}, {}", subject.spec.name));
                let (rate, cost_us) = setup.visit_acknowledged(bench, kind, pipeline)?;
                rates[index].push(rate);
                costs[index].push(cost_us);
                Ok(())
            })?;
            report.rows.extend([
                row(name, what, "1/s", &rates, None),
                row(name, &format!("{what}, CPU time of the primary"), "µs", &costs, None),
            ]);
        }
    }
    Ok(())
}

/// The SETs of a stream, with keys in an order without a pattern.
fn requests(bench: &Bench) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut random = 1_u64;
    for number in 0..STREAMED.min(bench.scale.requests) {
        random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        let key = (random >> 33) as usize % bench.scale.keys_piped;
        push_request(&mut bytes, &[b"SET", &numbered("key:", key), &value(number)]);
    }
    bytes
}

/// Replicas apply a stream as fast as they can.
fn applying(bench: &Bench, report: &mut Report) -> Result<()> {
    let requests = requests(bench);
    let count = STREAMED.min(bench.scale.requests) * STREAMED_TIMES;
    let subjects = Subject::all(bench)?;
    let mut replicas: Vec<Option<(Server, Source)>> = subjects.iter().map(|_| None).collect();
    in_turn(1, &subjects, |index, subject| {
        let server = subject.start(bench, false, &DIRECTIVES)?;
        let mut source = Source::lead(&server)?;
        source.stream(&requests)?;
        source.wait()?;
        server.settled_cpu_time()?;
        server.pause();
        replicas[index] = Some((server, source));
        Ok(())
    })?;
    let mut samples: Vec<Vec<f64>> = subjects.iter().map(|_| Vec::new()).collect();
    in_turn(bench.scale.rounds, &subjects, |index, subject| {
        let Some((server, source)) = &mut replicas[index] else { return Ok(()) };
        say(&format!("replication: applying a stream, {}", subject.spec.name));
        server.resume()?;
        let before = server.settled_cpu_time()?;
        (0..STREAMED_TIMES).try_for_each(|_| source.stream(&requests))?;
        source.wait()?;
        let used = server.settled_cpu_time()?.since(before).run_ns as f64;
        samples[index].push(used / 1000.0 / count as f64);
        server.pause();
        Ok(())
    })?;
    let name = "applying a stream of SETs, CPU time each";
    let target = Some(Target::OfRedis(0.5));
    report.rows.push(row(name, "as fast as the replica takes it", "µs", &samples, target));
    Ok(())
}

/// Latencies without and with one full synchronization after another.
fn tails(bench: &Bench, report: &mut Report) -> Result<()> {
    let phases = [
        ("quiet", Beside::Nothing),
        ("during transfers, the fork excluded", Beside::Transfers),
        ("during full synchronizations", Beside::Syncs),
    ];
    let phase = |name: &str| Phase { name: name.into(), beside: generator::Beside::Nothing };
    let scenario = Scenario {
        name: "PING beside full synchronizations",
        rate: PROBES,
        phases: phases.map(|(name, _)| phase(name)).into(),
        judged: Judged::OverQuiet(Target::AtMost(1.5)),
    };
    let mut samples = vec![vec![Vec::new(); scenario.phases.len()]; bench.specs.len()];
    for round in 0..bench.scale.tail_rounds {
        for turn in 0..bench.specs.len() {
            let index = (round + turn) % bench.specs.len();
            let spec = &bench.specs[index];
            if !spec.is_directed() {
                continue;
            }
            say(&format!("replication: filling {}", spec.name));
            let fresh = Fresh::start(bench, spec, &DIRECTIVES)?;
            fresh.server.allow(&[bench.cores.server, bench.cores.child])?;
            fill(&fresh.server, bench.scale.stored_keys)?;
            for ((name, beside), samples) in phases.into_iter().zip(&mut samples[index]) {
                say(&format!("replication: PINGs, {name}, {}", spec.name));
                samples.push(probe(bench, &fresh, beside)?);
            }
        }
    }
    add(report, SECTION, &scenario, &samples);
    Ok(())
}

/// The load beside the PINGs.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    /// Synchronizations, starting after the fork of the child.
    Transfers,
    /// Whole synchronizations.
    Syncs,
}

fn probe(bench: &Bench, fresh: &Fresh, beside: Beside) -> Result<Sample> {
    let (length, server) = (bench.scale.tail_length, &fresh.server);
    let (before, begin) = (server.settled_cpu_time()?, Instant::now());
    let (mut count, mut latencies) = (0, Vec::new());
    let mut pings = |act: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let probe = Probe::new(fresh)?;
        latencies.extend(probe.all_beside(Duration::from_secs(1) / PROBES as u32, act)?);
        Ok(())
    };
    // The thread that sends PINGs starts on the core of the load, and stays there.
    let receive = |begun: Begun| {
        system::pin(bench.cores.replica)?;
        drop(begun.receive()?);
        Ok(system::pin(bench.cores.load)?)
    };
    if let Beside::Nothing = beside {
        pings(&mut || {
            sleep(length);
            Ok(())
        })?;
    }
    while begin.elapsed() < length {
        count += 1;
        if let Beside::Transfers = beside {
            let mut begun = Some(Begun::ask(server)?);
            pings(&mut || begun.take().map_or(Ok(()), receive))?;
        } else {
            pings(&mut || receive(Begun::ask(server)?))?;
        }
    }
    latencies.sort_unstable();
    let busy = server.cpu_time()?.since(before).run_ns as f64 / begin.elapsed().as_nanos() as f64;
    // A late PING counts from the time of sending: its own wait for a core is not the server's.
    let outcome = Outcome { latencies, late: vec![0], unanswered: 0, beside: count };
    Sample::new(&outcome, busy)
}

/// The memory of one synchronization, in bytes, and the rate of SETs.
struct Taken {
    /// The growth of the primary and its child together: copies, buffers, and what the child itself allocates.
    growth: f64,
    /// The server's report: copies of the child, and the buffers of the stream.
    copied: f64,
    buffers: f64,
    sets_per_second: f64,
}

/// Memory of a primary and its child during a synchronization with SETs.
fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let subjects = Subject::all(bench)?;
    let servers = primaries(bench, &subjects)?;
    let mut samples: Vec<Vec<Taken>> = subjects.iter().map(|_| Vec::new()).collect();
    in_turn(bench.scale.tail_rounds, &subjects, |index, subject| {
        let Some(server) = &servers[index] else { return Ok(()) };
        say(&format!("replication: memory, {}", subject.spec.name));
        server.resume()?;
        samples[index].push(taken(bench, server)?);
        server.settled_cpu_time()?;
        server.pause();
        Ok(())
    })?;
    let of = |figure: fn(&Taken) -> f64| -> Vec<Vec<f64>> {
        samples.iter().map(|all| all.iter().map(figure).collect()).collect()
    };
    let name = format!(
        "memory during a full sync of {} strings and {} SETs a second",
        grouped(bench.scale.stored_keys as i64),
        grouped(bench.scale.rate as i64)
    );
    let no_more = Some(Target::OfRedis(1.0));
    // A server that executes fewer SETs copies less.
    let at_rate = Some(Target::AtLeast(SETS_EXECUTED * bench.scale.rate as f64));
    report.rows.extend([
        row(&name, "peak of the primary and its child over quiet", "MB", &of(|t| t.growth / 1e6), no_more),
        row(&name, "… of it copied, by `rdb_last_cow_size`", "MB", &of(|t| t.copied / 1e6), None),
        row(
            &name,
            "… of it buffers, by `mem_total_replication_buffers`",
            "MB",
            &of(|t| t.buffers / 1e6),
            None,
        ),
        row(&name, "SETs executed meanwhile", "1/s", &of(|t| t.sets_per_second), at_rate),
    ]);
    Ok(())
}

fn taken(bench: &Bench, server: &Server) -> Result<Taken> {
    let over = AtomicBool::new(false);
    let begun = AtomicBool::new(false);
    let mut observer = server.connect()?;
    let mut taken = thread::scope(|scope| {
        let writer =
            scope.spawn(|| write_until(bench, server, &begun, &over).map_err(|error| error.to_string()));
        let replica = scope.spawn(|| {
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            system::pin(bench.cores.replica).map_err(|error| error.to_string())?;
            Sink::attach(server).map_err(|error| error.to_string())
        });
        let peaks = peaks_over_quiet(server, &mut observer, &begun, || replica.is_finished());
        // Keeps the replica connected until the memory is measured.
        let sink = replica.join();
        over.store(true, Ordering::Relaxed);
        let sets_per_second = writer.join().map_err(|_| "the thread of the writer has died")??;
        drop(sink.map_err(|_| "the thread of the replica has died")??);
        let (growth, buffers) = peaks?;
        Ok::<_, Box<dyn std::error::Error>>(Taken { growth, copied: 0.0, buffers, sets_per_second })
    })?;
    // The child reports its copies when it exits.
    wait_for_child(&mut observer, GLANCE)?;
    taken.copied = field(&info(&mut observer)?, "rdb_last_cow_size").ok_or("INFO lacks rdb_last_cow_size")?;
    Ok(taken)
}

/// Starts the synchronization. Returns the most memory until it has ended, minus that at the beginning, and the most
/// memory of the buffers of the stream.
fn peaks_over_quiet(
    server: &Server,
    observer: &mut Client,
    begun: &AtomicBool,
    has_ended: impl Fn() -> bool,
) -> Result<(f64, f64)> {
    let quiet = server.family_bytes();
    begun.store(true, Ordering::Relaxed);
    let quiet = quiet?;
    let (mut peak, mut buffers) = (quiet, 0.0_f64);
    loop {
        let is_last = has_ended();
        peak = peak.max(server.family_bytes()?);
        let now = field(&info(observer)?, "mem_total_replication_buffers");
        buffers = buffers.max(now.ok_or("INFO lacks mem_total_replication_buffers")?);
        if is_last {
            return Ok((peak.saturating_sub(quiet) as f64, buffers));
        }
        sleep(LOOK);
    }
}

/// Overwrites random keys at the rate of the run. Returns the achieved rate.
fn write_until(bench: &Bench, server: &Server, begun: &AtomicBool, over: &AtomicBool) -> Result<f64> {
    let mut client = server.connect()?;
    while !begun.load(Ordering::Relaxed) {
        thread::yield_now();
    }
    let (begin, mut random, mut written) = (Instant::now(), 1_u64, 0_u64);
    while !over.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * bench.scale.rate as f64) as u64;
        if written + TOGETHER > due {
            sleep(Duration::from_micros(200));
            continue;
        }
        for _ in 0..TOGETHER {
            random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            let number = (random >> 33) as usize % bench.scale.stored_keys;
            client.queue(&[b"SET", &numbered("key:", number), &value(number)])?;
        }
        client.flush()?;
        written += TOGETHER;
    }
    Ok(written as f64 / begin.elapsed().as_secs_f64())
}
