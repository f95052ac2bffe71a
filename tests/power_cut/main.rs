//! Power cuts: the writes that the policy promises to keep are there in every state that a cut could leave on the disk.
//!
//! A preloaded library ([`support::shim`]) records all file operations of the server, and the bytes that it sends to
//! its clients. So for every moment the test knows which data was safe on the disk, which was only written, and which
//! replies the clients had received. [`disk`] creates the states that a cut at that moment could leave; a server starts
//! on each and is checked.
//!
//! Usually the test samples the cuts; with `REDSTART_ROUNDS` (`make soak`) it tries every one. `REDSTART_SEED` repeats
//! a run.
#![cfg(target_os = "linux")]

mod disk;
#[path = "../support/mod.rs"]
mod support;

use disk::{Disk, Left};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::random::seeds;
use support::reply::{Decoded, decode};
use support::server::Directory;
use support::shim::{Record, Shim};
use support::workload::Writer;
use support::{Client, Launch, Random, Server, eventually};

/// All files below a directory by their paths.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let below = contents(&path);
            found.extend(below.into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).expect("a file"));
        }
    }
    found
}

/// The records of a server's run, and the operations that its clients had sent.
struct Life {
    flags: String,
    records: Vec<Record>,
    writers: Vec<Writer>,
    /// The port of the client that sent the commands of the phases.
    director: u16,
    /// For each phase its command, and the number of operations of each writer acknowledged before it.
    phases: Vec<(&'static str, Vec<u64>)>,
}

/// The phases of a run with an AOF: after each of these commands the clients write.
const WITH_LOG: &[&str] = &["PING", "BGREWRITEAOF", "BGSAVE", "BGREWRITEAOF", "PING"];

/// The phases of a server that these rules kill during rewrites, and that is restarted each time.
const WITH_DEATHS: &[&str] = &[
    "PING",
    "rename manifest 1 kill",
    "rename manifest 1 killafter",
    "rename manifest 2 kill",
    "rename manifest 2 killafter",
    "unlink incr 1 killafter",
    "PING",
];

/// The phases of a run without an AOF.
const WITHOUT_LOG: &[&str] = &["SAVE", "BGSAVE", "SAVE", "BGSAVE", "PING"];

impl Life {
    /// Runs a server, and records its calls.
    fn record(flags: &str, commands: &[&'static str], seed: u64) -> Life {
        let (launch, shim) = Shim::on(Launch::subject().flags(flags));
        let mut server = shim.record(launch).start();
        let (mut director, mut watcher) = (server.client(), server.client());
        let mut writers: Vec<Writer> = [1, 2, 7]
            .into_iter()
            .zip(0..)
            .map(|(depth, number)| Writer::new(number, seed * 10 + number as u64, depth))
            .collect();
        let mut phases = Vec::new();
        for command in commands {
            phases.push((*command, writers.iter().map(Writer::acknowledged).collect()));
            if command.contains("kill") {
                shim.rules(command);
                director.send(&["BGREWRITEAOF"]).expect("a live server");
                assert_eq!(server.wait_exit().signal(), Some(Signal::SIGKILL as i32), "{command}");
                shim.clear();
                shim.drop_cut_record();
                server = server.stop().start();
                (director, watcher) = (server.client(), server.client());
                watcher.wait_for_info("loading", |loading| loading == 0);
            } else {
                assert!(!director.run(command).is_error(), "{command}");
            }
            write(&server, &mut writers, 25);
            if flags.contains("everysec") {
                let before = shim.trace().len();
                eventually("the log is synced", || {
                    shim.trace()[before..]
                        .iter()
                        .any(|record| record.kind == b'E' && is_log(record))
                        .then_some(())
                });
            }
            eventually("no jobs", || {
                let text = watcher.run("INFO persistence").text();
                let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0"];
                idle.iter().all(|field| text.contains(field)).then_some(())
            });
        }
        let director = director.local_port();
        let _kept = server.stop();
        let life = Life { flags: flags.to_string(), records: shim.trace(), writers, director, phases };
        life.explains(shim.data());
        life
    }

    /// Checks that the records are complete: with nothing lost they lead to the existing files.
    fn explains(&self, data: &Path) {
        let directory = Directory::new();
        self.disk_after(self.records.len()).lay_down(directory.path(), Left::All, &mut Random::new(0));
        let (told, found) = (contents(directory.path()), contents(data));
        let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&told), names(&found));
        for (name, bytes) in told {
            assert!(bytes == found[&name], "{name} differs from the records");
        }
    }

    fn disk_after(&self, cut: usize) -> Disk {
        let mut disk = Disk::new();
        self.records[..cut].iter().for_each(|record| disk.apply(record));
        disk
    }

    /// For each writer the number of operations acknowledged within the first `cut` records.
    fn acknowledged(&self, cut: usize) -> Vec<u64> {
        let replies = replies(&self.records[..cut]);
        let of_port = |port: u16| replies.get(&u64::from(port)).copied().unwrap_or(0);
        self.writers.iter().map(|writer| writer.acknowledged_by(of_port)).collect()
    }

    /// For each writer the number of operations that must survive a cut, as the policy promises.
    fn promised(&self, cut: usize) -> Vec<u64> {
        if self.flags.contains("always") {
            return self.acknowledged(cut);
        }
        if self.flags.contains("everysec") {
            return self.acknowledged(self.last_sync_of_the_log(cut));
        }
        let nothing = vec![0; self.writers.len()];
        if self.flags.contains("appendonly yes") {
            return nothing;
        }
        let replies = replies(&self.records[..cut]).get(&u64::from(self.director)).copied().unwrap_or(0);
        let saved = self.phases[..replies].iter().rfind(|(command, _)| *command == "SAVE");
        saved.map_or(nothing, |(_, operations)| operations.clone())
    }

    /// The record at which the last completed sync of the AOF began.
    fn last_sync_of_the_log(&self, cut: usize) -> usize {
        let records = &self.records[..cut];
        let ended = records.iter().rfind(|record| record.kind == b'E' && is_log(record));
        let begins = |end: &Record| records.iter().position(|r| r.kind == b'S' && r.number == end.number);
        ended.and_then(begins).unwrap_or(0)
    }

    /// Starts a server on the state after a cut, and checks that it keeps the promise. `Err` is its log if it did not
    /// start.
    fn survives(&self, cut: usize, left: Left, random: &mut Random) -> Result<(), String> {
        let launch = Launch::subject();
        let data = launch.directory().join("data");
        self.disk_after(cut).lay_down(&data, left, random);
        let launch = launch.flags(&self.flags).flags(&format!("--dir {}", data.display()));
        let mut server = launch.start_or_exit();
        let Some(mut client) = loaded(&mut server) else {
            assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
            return Err(server.log());
        };
        for (writer, promised) in self.writers.iter().zip(self.promised(cut)) {
            let allowed = promised..=*writer.allowed().end();
            // The AOF has no checksum: a missing page within a longer value cannot be detected.
            if let Err(complaint) = writer.check(&mut client, allowed, left != Left::Scattered) {
                let last = self.records[..cut].last();
                let last = last.map_or_else(String::new, |r| format!("{} {}", r.kind as char, r.path));
                panic!("{}: cut {cut} after '{last}', {left:?} left: {complaint}", self.flags);
            }
        }
        // The server accepts writes, and they survive a crash, too.
        client.ok("SET after cut");
        Ok(())
    }
}

/// Waits until the server has loaded its files, and connects to it; `None` if it has exited.
fn loaded(server: &mut Server) -> Option<Client> {
    eventually("it accepts connections or has exited", || {
        let mut client = server.try_client();
        let info = client.as_mut().and_then(|client| client.try_call(&["INFO", "persistence"]).ok());
        if info.is_some_and(|reply| reply.value.text().contains("\nloading:0")) {
            return Some(client);
        }
        (!server.is_running()).then_some(None)
    })
}

/// Whether a call appended to a file of the AOF.
fn is_log(record: &Record) -> bool {
    record.path.contains(".incr.")
}

/// Makes each writer send this number of operations, all concurrently.
fn write(server: &Server, writers: &mut [Writer], operations: u64) {
    let port = server.port();
    thread::scope(|scope| {
        for writer in writers {
            let end = writer.acknowledged() + operations;
            scope.spawn(move || {
                let mut left = end - writer.acknowledged();
                writer.write(port, || {
                    left = left.saturating_sub(1);
                    left > 0
                });
                assert!(writer.acknowledged() >= end, "the server is gone");
            });
        }
    });
}

/// The number of replies sent to each client, by its port.
fn replies(records: &[Record]) -> HashMap<u64, usize> {
    let mut sent: HashMap<u64, Vec<u8>> = HashMap::new();
    for record in records.iter().filter(|record| record.kind == b'N') {
        sent.entry(record.number).or_default().extend_from_slice(&record.data);
    }
    let count = |mut bytes: &[u8]| {
        let mut count = 0;
        while let Ok(Decoded::Whole(_, len)) = decode(bytes) {
            bytes = &bytes[len..];
            count += 1;
        }
        count
    };
    sent.into_iter().map(|(port, bytes)| (port, count(&bytes))).collect()
}

/// A moment at which the power fails: after any record, but most often around rare ones.
fn moment(life: &Life, random: &mut Random) -> usize {
    let any = random.below(life.records.len() + 1);
    if random.chance(3) {
        return any;
    }
    let rare: Vec<usize> = (0..life.records.len())
        .filter(|i| !matches!(life.records[*i].kind, b'N' | b'W'))
        .flat_map(|i| [i, i + 1])
        .collect();
    *random.pick(&rare)
}

/// The cuts that are tried on one run: a sample, or, in a soak test, every one.
fn cuts(life: &Life, seed: u64) -> Vec<(usize, Left)> {
    const LEFT: [Left; 5] = [Left::Beginning, Left::Nothing, Left::Beginning, Left::All, Left::Scattered];
    if rounds().is_some() {
        return (0..=life.records.len()).flat_map(|cut| LEFT.map(|left| (cut, left))).collect();
    }
    let mut random = Random::new(seed);
    LEFT.iter().cycle().take(60).map(|left| (moment(life, &mut random), *left)).collect()
}

/// `REDSTART_ROUNDS`: the number of runs in a soak test.
fn rounds() -> Option<u64> {
    std::env::var("REDSTART_ROUNDS").ok().map(|text| text.parse().expect("REDSTART_ROUNDS is a number"))
}

/// Runs servers and cuts their power, many times.
fn cut_again_and_again(flags: &str, commands: &[&'static str], seed: u64) {
    let lives = rounds().map_or(1, |rounds| rounds.div_ceil(100));
    (0..lives).for_each(|number| cut_one_life(flags, commands, seed + 100 * number));
}

fn cut_one_life(flags: &str, commands: &[&'static str], seed: u64) {
    let life = Life::record(flags, commands, seed);
    let (cuts, next) = (cuts(&life, seed), AtomicUsize::new(0));
    let refusals = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((cut, left)) = cuts.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut random = Random::new(seed ^ (*cut as u64) << 8);
                    let Err(log) = life.survives(*cut, *left, &mut random) else { continue };
                    // Redis also requires a manual repair if pages are missing before existing ones.
                    assert_eq!(*left, Left::Scattered, "cut {cut} of {flags}: it does not start: {log}");
                    let lines = log.lines().filter_map(|line| Some(line.split_once(" # ")?.1));
                    let why = lines.collect::<String>().replace(|c: char| c.is_ascii_digit(), "");
                    *refusals.lock().expect("not poisoned").entry(why).or_insert(0) += 1;
                }
            });
        }
    });
    let refusals = refusals.into_inner().expect("not poisoned");
    assert!(refusals.keys().all(|why| !why.is_empty()), "exited without a reason: {refusals:?}");
    println!("{flags}: {} records, {} cuts; refused: {refusals:#?}", life.records.len(), cuts.len());
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    for seed in seeds(&[1]) {
        cut_again_and_again("--appendonly yes --appendfsync always", WITH_LOG, seed);
        cut_again_and_again(
            "--appendonly yes --appendfsync always --aof-use-rdb-preamble no",
            WITH_LOG,
            seed,
        );
    }
}

#[test]
fn always_loses_nothing_to_a_power_cut_after_a_process_that_was_killed() {
    for seed in seeds(&[5]) {
        cut_again_and_again("--appendonly yes --appendfsync always", WITH_DEATHS, seed);
    }
}

#[test]
fn everysec_loses_nothing_that_was_acknowledged_before_the_last_sync() {
    for seed in seeds(&[2]) {
        cut_again_and_again("--appendonly yes --appendfsync everysec", WITH_LOG, seed);
    }
}

#[test]
fn without_syncs_what_is_there_is_a_state_that_was() {
    for seed in seeds(&[3]) {
        cut_again_and_again("--appendonly yes --appendfsync no", WITH_LOG, seed);
    }
}

#[test]
fn a_save_that_was_acknowledged_is_there() {
    for seed in seeds(&[4]) {
        cut_again_and_again("--appendonly no", WITHOUT_LOG, seed);
    }
}
