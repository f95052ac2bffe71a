//! Persistence: the duration of writing and loading files, the cost of the AOF for each request, and (in `saves.rs`)
//! the latencies of clients while a child writes.
//!
//! Each server has a separate directory, which is removed in the end. The values are 32 incompressible characters,
//! which every server tries to compress nevertheless. The files are read once before loading, so that all servers find
//! them in the page cache. Files are written through to the disk, as servers do it: the figures include the disk's
//! share, and the CPU time is beside them.
//!
//! Limits: less than 3 GB of disk; a server with its own arguments is not measured.

use super::client::{Client, Reply, numbered};
use super::fork::{field, info};
use super::load::{Load, Shot, Visit};
use super::report::{Report, Row, Target};
use super::servers::{Server, Spec};
use super::stats::{grouped, median};
use super::workloads::add_row;
use super::{Bench, Result, saves, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name of this section on the command line.
pub const SECTION: &str = "persistence";

/// The size of values in bytes.
pub const VALUE_BYTES: usize = 32;

/// The timeout for a save or a load.
const PATIENCE: Duration = Duration::from_secs(300);

/// The time between two checks whether a save or a load is complete.
const GLANCE: Duration = Duration::from_millis(5);

/// The most requests of a visit: the AOF of one visit has to fit on the disk.
const LOGGED_REQUESTS: usize = 1_000_000;

/// The divisor of the number of requests with an fsync for each reply.
const SYNCED_DIVISOR: usize = 20;

/// Connections of the load.
const CLIENTS: usize = 50;

/// A server with a directory.
pub struct Subject<'a> {
    /// The server.
    pub spec: &'a Spec,
    directory: Directory,
}

impl<'a> Subject<'a> {
    /// All servers that are measured, by their index in `bench.specs`.
    pub fn all(bench: &'a Bench) -> Result<Vec<Option<Self>>> {
        let with_directory = |spec: &'a Spec| Ok(Subject { spec, directory: Directory::new()? });
        bench.specs.iter().map(|spec| spec.is_directed().then(|| with_directory(spec)).transpose()).collect()
    }

    /// Removes its files.
    pub fn empty(&self) -> Result<()> {
        self.directory.empty()
    }

    /// Starts it in its directory, with or without an AOF, and with `more` directives.
    pub fn start(&self, bench: &Bench, appendonly: bool, more: &[&str]) -> Result<Server> {
        let directory = self.directory.0.display().to_string();
        let log = if appendonly { "yes" } else { "no" };
        let mut extra = vec!["--dir", &directory, "--appendonly", log, "--auto-aof-rewrite-percentage", "0"];
        extra.extend(more);
        self.spec.start(bench.cores.server, &extra)
    }
}

/// A directory for the files of one server, which is removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("redstart-versus-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn empty(&self) -> Result<()> {
        fs::remove_dir_all(&self.0)?;
        Ok(fs::create_dir(&self.0)?)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads all files below `directory`, so that the page cache has them. Returns their size.
fn read_all(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += if path.is_dir() {
            read_all(&path)?
        } else {
            std::io::copy(&mut fs::File::open(&path)?, &mut std::io::sink())?
        };
    }
    Ok(bytes)
}

/// A value that does not compress, a different one for each number.
pub fn value(number: usize) -> [u8; VALUE_BYTES] {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = number as u64;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
        CHARACTERS[(state >> 58) as usize]
    })
}

/// Sets `keys` keys.
pub fn fill(server: &Server, keys: usize) -> Result<()> {
    let mut client = server.connect()?;
    for number in 0..keys {
        client.queue(&[b"SET", &numbered("key:", number), &value(number)])?;
    }
    client.flush()
}

/// Waits until no child writes, checking every `glance`. A failed save is an error.
pub fn wait_for_child(client: &mut Client, glance: Duration) -> Result<()> {
    let begin = Instant::now();
    loop {
        let info = info(client)?;
        let is_zero = |name| field(&info, name) == Some(0.0);
        if ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .into_iter()
            .all(is_zero)
        {
            let succeeded = ["rdb_last_bgsave_status:ok", "aof_last_bgrewrite_status:ok"];
            let failed = || "a child that writes has failed".into();
            return if succeeded.iter().all(|text| info.contains(text)) { Ok(()) } else { Err(failed()) };
        }
        if begin.elapsed() > PATIENCE {
            return Err("a child that writes does not end".into());
        }
        sleep(glance);
    }
}

/// Waits until the server has loaded its files, and checks that it has `keys` keys.
fn wait_until_loaded(server: &Server, keys: usize) -> Result<()> {
    let (begin, mut client) = (Instant::now(), server.connect()?);
    while client.ask(&[b"PING"])? != Reply::Line("PONG".into()) {
        if begin.elapsed() > PATIENCE {
            return Err("loading does not end".into());
        }
        sleep(GLANCE);
    }
    match client.must(&[b"DBSIZE"])? {
        Reply::Line(count) if count == keys.to_string() => Ok(()),
        other => Err(format!("expected {keys} keys after loading, got {other:?}").into()),
    }
}

/// Measures the chosen parts and adds them to the report.
pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.chosen(SECTION, "files") {
        files(bench, report)?;
    }
    if bench.chosen(SECTION, "log") {
        log(bench, report)?;
    }
    if bench.chosen(SECTION, "tails") {
        saves::run(bench, report)?;
    }
    Ok(())
}

/// Calls `visit` for each subject in turn, round after round; the order rotates by one.
pub fn in_turn(
    rounds: usize,
    subjects: &[Option<Subject>],
    mut visit: impl FnMut(usize, &Subject) -> Result<()>,
) -> Result<()> {
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            if let Some(subject) = &subjects[index] {
                visit(index, subject)?;
            }
        }
    }
    Ok(())
}

/// The figures of one server's files, one for each round.
#[derive(Clone, Default)]
struct Files {
    save_s: Vec<f64>,
    save_cpu_s: Vec<f64>,
    rewrite_s: Vec<f64>,
    fork_ms: Vec<f64>,
    load_rdb_s: Vec<f64>,
    load_rdb_cpu_s: Vec<f64>,
    load_log_s: Vec<f64>,
    load_log_cpu_s: Vec<f64>,
}

/// SAVE, BGREWRITEAOF, and loading the files that they and the SETs have written.
fn files(bench: &Bench, report: &mut Report) -> Result<()> {
    let (keys, rounds) = (bench.scale.stored_keys, bench.scale.rounds);
    let subjects = Subject::all(bench)?;
    let mut figures = vec![Files::default(); subjects.len()];
    write_files(bench, &subjects, &mut figures)?;
    in_turn(rounds, &subjects, |index, subject| {
        let (wall_s, cpu_s) = load(bench, subject, false)?;
        figures[index].load_rdb_s.push(wall_s);
        figures[index].load_rdb_cpu_s.push(cpu_s);
        Ok(())
    })?;
    in_turn(1, &subjects, |_, subject| {
        say(&format!("persistence: a log of SETs, {}", subject.spec.name));
        subject.empty()?;
        fill(&subject.start(bench, true, &[])?, keys)
    })?;
    in_turn(rounds, &subjects, |index, subject| {
        let (wall_s, cpu_s) = load(bench, subject, true)?;
        figures[index].load_log_s.push(wall_s);
        figures[index].load_log_cpu_s.push(cpu_s);
        Ok(())
    })?;
    add_files(report, keys, &figures);
    Ok(())
}

/// SAVE and BGREWRITEAOF on servers that are filled once.
fn write_files(bench: &Bench, subjects: &[Option<Subject>], figures: &mut [Files]) -> Result<()> {
    let rounds = bench.scale.rounds;
    let mut servers: Vec<Option<Server>> = subjects.iter().map(|_| None).collect();
    in_turn(1, subjects, |index, subject| {
        say(&format!("persistence: filling {}", subject.spec.name));
        let server = subject.start(bench, false, &[])?;
        fill(&server, bench.scale.stored_keys)?;
        server.pause();
        servers[index] = Some(server);
        Ok(())
    })?;
    let mut visit = |index: usize, work: &mut dyn FnMut(&Server, &mut Files) -> Result<()>| {
        let Some(server) = &servers[index] else { return Ok(()) };
        server.resume()?;
        work(server, &mut figures[index])?;
        server.settled_cpu_time()?;
        server.pause();
        Ok(())
    };
    in_turn(rounds, subjects, |index, subject| {
        say(&format!("persistence: SAVE, {}", subject.spec.name));
        visit(index, &mut |server, figures| {
            let mut client = server.connect()?;
            let (begin, before) = (Instant::now(), server.cpu_time()?);
            client.must(&[b"SAVE"])?;
            figures.save_s.push(begin.elapsed().as_secs_f64());
            figures.save_cpu_s.push(server.cpu_time()?.since(before).run_ns as f64 / 1e9);
            Ok(())
        })
    })?;
    in_turn(1, subjects, |index, _| {
        visit(index, &mut |server, _| {
            let mut client = server.connect()?;
            client.must(&[b"CONFIG", b"SET", b"appendonly", b"yes"])?;
            wait_for_child(&mut client, GLANCE)
        })
    })?;
    in_turn(rounds, subjects, |index, subject| {
        say(&format!("persistence: BGREWRITEAOF, {}", subject.spec.name));
        visit(index, &mut |server, figures| {
            let (mut client, begin) = (server.connect()?, Instant::now());
            client.must(&[b"BGREWRITEAOF"])?;
            wait_for_child(&mut client, GLANCE)?;
            figures.rewrite_s.push(begin.elapsed().as_secs_f64());
            let pause =
                field(&info(&mut client)?, "latest_fork_usec").ok_or("INFO lacks latest_fork_usec")?;
            figures.fork_ms.push(pause / 1e3);
            Ok(())
        })
    })
}

/// Starts a server and waits until it has loaded its files. Returns the elapsed seconds, and the seconds of CPU time.
fn load(bench: &Bench, subject: &Subject, appendonly: bool) -> Result<(f64, f64)> {
    let what = if appendonly { "log" } else { "dump" };
    say(&format!("persistence: loading a {what}, {}", subject.spec.name));
    read_all(&subject.directory.0)?;
    let begin = Instant::now();
    let server = subject.start(bench, appendonly, &[])?;
    wait_until_loaded(&server, bench.scale.stored_keys)?;
    Ok((begin.elapsed().as_secs_f64(), server.cpu_time()?.run_ns as f64 / 1e9))
}

fn add_files(report: &mut Report, keys: usize, figures: &[Files]) {
    type Pick = fn(&Files) -> &Vec<f64>;
    let rows: [(&str, &'static str, Pick, Option<f64>); 8] = [
        ("SAVE", "s", |files| &files.save_s, Some(0.35)),
        ("SAVE, CPU time", "s", |files| &files.save_cpu_s, None),
        ("load of an RDB file", "s", |files| &files.load_rdb_s, Some(0.5)),
        ("load of an RDB file, CPU time", "s", |files| &files.load_rdb_cpu_s, None),
        ("load of a log of SETs", "s", |files| &files.load_log_s, Some(0.35)),
        ("load of a log of SETs, CPU time", "s", |files| &files.load_log_cpu_s, None),
        ("BGREWRITEAOF", "s", |files| &files.rewrite_s, Some(0.4)),
        ("its fork", "ms", |files| &files.fork_ms, None),
    ];
    for (name, unit, pick, target) in rows {
        report.rows.push(Row {
            section: format!("{SECTION}: files of {} strings", grouped(keys as i64)),
            name: name.into(),
            unit,
            // The bare loop has no files.
            values: std::iter::once(None)
                .chain(figures.iter().map(|files| median(pick(files).iter().copied())))
                .collect(),
            target: target.map(Target::OfRedis),
        });
    }
}

/// SETs without an AOF, and with one that is synced each second or for each reply.
fn log(bench: &Bench, report: &mut Report) -> Result<()> {
    let load = Load::new(bench.cores.load)?;
    let keys = bench.scale.keys_piped;
    let text = String::from_utf8(value(0).to_vec())?;
    let command = ["SET", "key:__rand_int__", &text];
    let requests = bench.scale.requests.min(LOGGED_REQUESTS);
    let piped = Shot { requests, pipeline: 16, clients: CLIENTS, keyspace: keys, command: &command };
    let alone = Shot { requests: requests / SYNCED_DIVISOR, pipeline: 1, ..piped.clone() };
    let setups: [(&str, bool, &str, &Shot); 3] = [
        ("SET, pipeline 16, without a log", false, "no", &piped),
        ("SET, pipeline 16, `appendfsync everysec`", true, "everysec", &piped),
        ("SET, `appendfsync always`", true, "always", &alone),
    ];
    let subjects: Vec<_> = setups.iter().map(|_| Subject::all(bench)).collect::<Result<_>>()?;
    let mut servers: Vec<Vec<Option<Server>>> = Vec::new();
    for ((name, appendonly, policy, _), subjects) in setups.iter().zip(&subjects) {
        say(&format!("persistence: filling for {name}"));
        let start = |subject: &Subject| -> Result<Server> {
            let server = subject.start(bench, *appendonly, &["--appendfsync", policy])?;
            fill(&server, keys)?;
            server.pause();
            Ok(server)
        };
        servers.push(
            subjects.iter().map(|subject| subject.as_ref().map(start).transpose()).collect::<Result<_>>()?,
        );
    }
    let columns = bench.specs.len() + 1;
    let mut visits: Vec<Vec<Vec<Visit>>> = vec![vec![Vec::new(); columns]; setups.len()];
    for round in 0..bench.scale.rounds {
        for turn in 0..bench.specs.len() {
            let column = (round + turn) % bench.specs.len();
            for (row, (name, appendonly, _, shot)) in setups.iter().enumerate() {
                let Some(server) = &servers[row][column] else { continue };
                say(&format!("persistence: {name}, {}", bench.specs[column].name));
                visits[row][column + 1].push(visit(&load, server, *appendonly, shot)?);
            }
        }
    }
    add_log(report, &setups.map(|(name, ..)| name), &visits);
    Ok(())
}

/// One visit, after a rewrite of the AOF, so that the AOF does not grow from visit to visit.
fn visit(load: &Load, server: &Server, appendonly: bool, shot: &Shot) -> Result<Visit> {
    server.resume()?;
    if appendonly {
        let mut client = server.connect()?;
        client.must(&[b"BGREWRITEAOF"])?;
        wait_for_child(&mut client, GLANCE)?;
    }
    let visit = load.visit(server, shot)?;
    server.pause();
    Ok(visit)
}

/// Adds the three rows of [`log`]; `visits` is indexed by row and column.
fn add_log(report: &mut Report, names: &[&str; 3], visits: &[Vec<Vec<Visit>>]) {
    let section = format!("{SECTION}: cost of the log");
    let medians = |row: usize, field: fn(&Visit) -> f64| -> Vec<Option<f64>> {
        visits[row].iter().map(|visits| median(visits.iter().map(field))).collect()
    };
    for (name, visits) in names.iter().zip(visits) {
        add_row(report, &section, &format!("{name}, CPU time"), None, visits);
    }
    let (without, with) = (medians(0, |visit| visit.cpu_us), medians(1, |visit| visit.cpu_us));
    let mut add = |name: &str, unit, values, target| {
        report.rows.push(Row {
            section: section.clone(),
            name: name.into(),
            unit,
            values,
            target: Some(target),
        });
    };
    let ratios = with.iter().zip(without).map(|(with, without)| Some((*with)? / without?)).collect();
    add("`everysec` over no log", "×", ratios, Target::AtMost(1.15));
    let elapsed = medians(2, |visit| 1e6 / visit.seen.rps);
    add("SET, `appendfsync always`, 50 clients: elapsed", "µs", elapsed, Target::OfRedis(1.0));
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::load::Seen;
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn values_differ_and_have_no_runs() {
        assert_ne!(value(1), value(2));
        assert!(value(3).windows(4).all(|run| run.iter().any(|byte| *byte != run[0])));
    }

    #[test]
    fn a_directory_is_gone_with_its_files() {
        let directory = Directory::new().unwrap();
        fs::create_dir(directory.0.join("inner")).unwrap();
        fs::write(directory.0.join("inner").join("file"), "12345").unwrap();
        assert_eq!(read_all(&directory.0).unwrap(), 5);
        directory.empty().unwrap();
        assert_eq!(read_all(&directory.0).unwrap(), 0);
        let path = directory.0.clone();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn the_log_is_judged_by_its_ratio_and_by_the_rate() {
        let visit =
            |cpu_us, rps| Visit { cpu_us, disturbed: 0.0, seen: Seen { rps, p50_ms: 1.0, p99_ms: 1.0 } };
        let row = |own, redis| vec![vec![], vec![visit(own, 1000.0)], vec![visit(redis, 500.0)]];
        let mut report = Report { rows: Vec::new(), ..sample() };
        add_log(&mut report, &["a", "b", "c"], &[row(1.0, 2.0), row(1.1, 4.0), row(9.0, 9.0)]);
        let [.., ratio, elapsed] = &report.rows[..] else { panic!("rows are missing") };
        assert_eq!((ratio.values[1], ratio.values[2], ratio.meets()), (Some(1.1), Some(2.0), Some(true)));
        assert_eq!((elapsed.values[1], elapsed.meets()), (Some(1000.0), Some(true)));
    }

    #[test]
    fn files_of_a_server_that_takes_no_part_have_no_figures() {
        let files = Files { save_s: vec![1.0, 3.0, 2.0], ..Files::default() };
        let redis = Files { save_s: vec![8.0], ..Files::default() };
        let mut report = Report { rows: Vec::new(), ..sample() };
        add_files(&mut report, 1000, &[files, redis, Files::default()]);
        assert_eq!(report.rows[0].values, [None, Some(2.0), Some(8.0), None]);
        assert_eq!(report.rows[0].meets(), Some(true));
        assert_eq!(report.rows[1].meets(), None);
    }
}
