//! The base of every integration test: real server processes, a client that shows raw bytes, deadlines.
//!
//! * [`server`] starts the binary under test (or `redis-server` beside it) on a free port in a separate directory,
//!   captures its log and kills it when the test ends.
//! * [`client`] is a blocking RESP client that keeps the bytes of each reply beside its value.
//! * [`proxy`] stands in front of a server, and cuts, delays, ends and resets connections.
//! * [`http`] is a client for metrics.
//! * [`reset`] makes connections end with a reset.
//! * [`reply`] decodes RESP2 and RESP3.
//! * [`shim`] makes file operations fail, and records them.
//! * [`snapshot`] makes files with a single large value.
//! * [`terminal`] runs a program in a pseudo-terminal and reads its screen.
//! * [`version`] is the version of Redis that a server implements.
//! * [`workload`] writes under load, and checks the data after a crash.
//! * [`programs`] finds the clients of other languages.
//! * [`random`] is a seeded generator, so that a failing run can be repeated.
//!
//! The binary under test is the crate's own unless the environment variable `REDSTART_BIN` names another one:
//! `REDSTART_BIN=redis-server cargo test --test server` checks the tests themselves against Redis.
//!
//! No test sleeps for a guessed time: [`eventually`] polls a condition until a deadline that only a broken server
//! reaches.

#![allow(dead_code, unused_imports, reason = "every test binary uses a part of it")]

pub mod client;
pub mod http;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod reply;
pub mod server;
pub mod shim;
pub mod snapshot;
pub mod socket_options;
pub mod terminal;
pub mod version;
pub mod workload;

pub use client::Client;
pub use http::{Http, Scrape};
pub use random::Random;
pub use reply::{Reply, Value};
pub use server::{Launch, Server};
pub use terminal::Terminal;
pub use version::Version;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The deadline of every wait. It only ends tests that hang, so it allows for a machine that runs many other programs.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// Calls `probe` until it returns a value; panics with `what` if the deadline passes first.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "did not happen within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a program to its end. Returns whether it succeeded, and its output. Kills it when the deadline passes.
pub fn run_bounded(mut command: Command) -> (bool, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    // Both pipes are read while it runs: a full one would block it.
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        text
    });
    let printer = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stdout.read_to_end(&mut text);
        text
    });
    let started = Instant::now();
    let status = loop {
        match child.try_wait().expect("wait") {
            None if started.elapsed() < 2 * DEADLINE => std::thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            status => break status,
        }
    };
    let text = [printer, reader].map(|thread| thread.join().expect("reads a pipe")).concat();
    let late = if status.is_none() { "killed: it did not end before the deadline\n" } else { "" };
    (status.is_some_and(|status| status.success()), format!("{late}{}", String::from_utf8_lossy(&text)))
}

/// Raises this process's limit of open files to at least `wanted`; panics with advice if it cannot.
pub fn raise_open_files(wanted: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    if soft >= wanted {
        return;
    }
    let reached = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
    assert!(
        reached.is_ok(),
        "this test needs {wanted} open files, the limit is {hard}: run `ulimit -Hn {wanted}`"
    );
}

/// Raises this process's limit of open files to `wanted`, or as far as it may. Returns the limit.
pub fn raise_open_files_towards(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    if soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return soft.max(wanted);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("setrlimit");
    hard
}

/// Resident memory of a process in bytes, from `/proc`.
pub fn resident_bytes(pid: u32) -> u64 {
    status_field(pid, "VmRSS").trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// The peak of a process's resident memory, in bytes.
pub fn peak_resident_bytes(pid: u32) -> u64 {
    status_field(pid, "VmHWM").trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// One line of `/proc/PID/status`.
pub fn status_field(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in the status")).trim().to_string()
}
