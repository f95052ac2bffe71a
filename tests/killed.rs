//! `kill -9` under load: after a restart all acknowledged writes are there, under every `appendfsync`, and nothing that
//! was never sent.
//!
//! A killed process leaves its writes to the kernel, synced or not, so all policies make the same promise here.
//! `power_cut/` tests their promises for a power failure.
//!
//! `REDSTART_ROUNDS` sets how often each test kills its server (`make soak`), `REDSTART_SEED` repeats a run.
#![cfg(target_os = "linux")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::random::seeds;
use support::workload::{Countdown, Writer};
use support::{Client, Launch, Random, Server, eventually};

/// How often a test kills its server.
fn rounds(usual: u64) -> u64 {
    std::env::var("REDSTART_ROUNDS").map_or(usual, |text| text.parse().expect("REDSTART_ROUNDS is a number"))
}

/// Starts the server and waits until it has loaded its files.
fn start(launch: Launch) -> Server {
    let server = launch.start();
    server.client().wait_for_info("loading", |loading| loading == 0);
    server
}

fn writers(seed: u64) -> Vec<Writer> {
    let depths = [1, 1, 5, 50].into_iter().enumerate();
    depths.map(|(number, depth)| Writer::new(number, seed + number as u64, depth)).collect()
}

/// Starts rewrites and saves while the writers run, until the server is gone.
fn disturb(port: u16, random: &mut Random, countdown: &Countdown, is_over: &AtomicBool) {
    let Ok(mut client) = Client::tcp(port) else { return };
    while !is_over.load(Ordering::SeqCst) {
        let next = countdown.done() + 1 + random.below(600) as u64;
        eventually("others write", || {
            (countdown.done() >= next || is_over.load(Ordering::SeqCst)).then_some(())
        });
        let command = random.pick(&["BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE", "DBSIZE"]);
        if client.try_call(&[command]).is_err() {
            return;
        }
    }
}

/// Runs all writers until one of them has counted down, and kills the server at that moment.
fn write_and_kill(server: &Server, writers: &mut [Writer], random: &mut Random, disturbed: bool) {
    let countdown = Countdown::new(1 + random.below(2000) as u64);
    let (port, pid) = (server.port(), Pid::from_raw(server.pid() as i32));
    let is_over = AtomicBool::new(false);
    let (countdown, is_over) = (&countdown, &is_over);
    thread::scope(|scope| {
        if disturbed {
            scope.spawn(|| disturb(port, random, countdown, is_over));
        }
        let all: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || {
                    writer.write(port, || {
                        if countdown.count() {
                            kill(pid, Signal::SIGKILL).expect("kill the server");
                        }
                        true
                    });
                })
            })
            .collect();
        for thread in all {
            thread.join().expect("a writer");
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

/// Starts a server and kills it at once, most likely while it loads.
fn kill_while_loading(launch: Launch, random: &mut Random) -> Launch {
    let slow = format!("--port {} --key-load-delay 300", launch.port());
    let server = launch.flags(&slow).start_unlistened();
    for _ in 0..random.below(20) {
        let _ = server.try_client().map(|mut client| client.try_call(&["INFO", "persistence"]));
        thread::yield_now();
    }
    server.stop().without_flags(4)
}

fn killed_again_and_again(flags: &str, seed: u64) {
    let mut random = Random::new(seed);
    let mut writers = writers(seed);
    let mut launch = Launch::subject().flags(&format!("--appendonly yes {flags}"));
    let mut acknowledged = 0;
    for round in 0..rounds(10) {
        let server = start(launch);
        let mut client = server.client();
        acknowledged = writers.iter_mut().map(|writer| writer.verify(&mut client)).sum::<u64>();
        write_and_kill(&server, &mut writers, &mut random, round % 4 != 0);
        launch = server.stop();
        if random.chance(3) {
            launch = kill_while_loading(launch, &mut random);
        }
    }
    assert!(acknowledged > rounds(10), "only {acknowledged} operations");
}

#[test]
fn nothing_acknowledged_is_lost_under_always() {
    for seed in seeds(&[11]) {
        killed_again_and_again("--appendfsync always", seed);
    }
}

#[test]
fn nothing_acknowledged_is_lost_under_everysec() {
    for seed in seeds(&[12]) {
        killed_again_and_again("--appendfsync everysec --aof-timestamp-enabled yes --save 1 100", seed);
    }
}

#[test]
fn nothing_acknowledged_is_lost_under_no() {
    for seed in seeds(&[13]) {
        killed_again_and_again(
            "--appendfsync no --aof-use-rdb-preamble no --auto-aof-rewrite-min-size 100kb",
            seed,
        );
    }
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a list of children");
    text.split_whitespace().map(|child| child.parse().expect("a process")).collect()
}

#[test]
fn a_child_never_outlives_its_server_and_what_it_had_begun_counts_for_nothing() {
    for command in ["BGSAVE", "BGREWRITEAOF"] {
        let server = start(Launch::subject().flags("--appendonly yes --rdb-key-save-delay 100000"));
        let mut client = server.client();
        for number in 0..1000 {
            client.ok(&format!("SET key:{number} {number}"));
        }
        assert!(!client.run(command).is_error());
        let child = eventually("a child", || children(server.pid()).pop());
        let launch = server.stop();
        eventually("the child is gone", || {
            (!Path::new(&format!("/proc/{child}/stat")).exists()).then_some(())
        });
        assert!(!launch.directory().join("dump.rdb").exists());
        let server = start(launch);
        assert_eq!(server.client().run("DBSIZE").integer(), 1000, "{command}");
    }
}

#[test]
fn a_killed_child_leaves_no_file_and_the_next_one_succeeds() {
    for (command, field) in
        [("BGSAVE", "rdb_last_bgsave_status"), ("BGREWRITEAOF", "aof_last_bgrewrite_status")]
    {
        let server = start(Launch::subject().flags("--appendonly yes --rdb-key-save-delay 100000"));
        let mut client = server.client();
        for number in 0..1000 {
            client.ok(&format!("SET key:{number} {number}"));
        }
        assert!(!client.run(command).is_error());
        let child = eventually("a child", || children(server.pid()).pop());
        kill(Pid::from_raw(child as i32), Signal::SIGKILL).expect("kill the child");
        eventually("it is missed", || (client.info(field) == "err").then_some(()));
        let names = fs::read_dir(server.directory()).expect("the directory");
        let mut names =
            names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        assert!(!names.any(|name| name.starts_with("temp-")), "{command}");
        client.ok("CONFIG SET rdb-key-save-delay 0");
        assert!(!client.run(command).is_error());
        eventually("it succeeds", || (client.info(field) == "ok").then_some(()));
    }
}

#[test]
fn a_snapshot_that_a_child_still_writes_does_not_replace_the_one_that_is_reloaded() {
    let server = start(Launch::subject().flags("--rdb-key-save-delay 100000 --enable-debug-command yes"));
    let mut client = server.client();
    for number in 0..100 {
        client.ok(&format!("SET key:{number} {number}"));
    }
    assert!(!client.run("BGSAVE").is_error());
    let child = eventually("a child", || children(server.pid()).pop());
    client.ok("SET later 1");
    client.ok("DEBUG RELOAD");
    assert!(!Path::new(&format!("/proc/{child}/stat")).exists());
    assert_eq!(client.run("DBSIZE").integer(), 101);
    let server = start(server.stop());
    assert_eq!(server.client().run("DBSIZE").integer(), 101);
}
