//! A storm of random acts against one server, and the checks after it.
//!
//! ```text
//!   acts    ─▶ bytes for one of 24 guests: commands of all families, half messages, transactions, subscriptions, waits,
//!              pauses, kills, saves, reloads, configuration changes
//!   guests  ─▶ one thread that drives 24 non-blocking sockets, and a pulse: a PING after every few acts
//!   checks  ─▶ the server runs, no key exists twice, a reload and a restart leave the data equal, memory is freed
//! ```
//!
//! The server should be a debug build, whose assertions detect a fault early: each event loop iteration checks the
//! gate, and the key table checks that an inserted key is new. `make soak` runs longer storms, and repeats them with a
//! server built with the address sanitizer.
//!
//! A seed determines the acts and their order, but not when the server receives them. No act is sent between a pulse
//! and its reply, so a seed nearly always reproduces a failure.
//!
//! `REDSTART_SEED` repeats one storm, `REDSTART_ROUNDS` sets their number, `REDSTART_ACTS` the length of each. The test
//! has no harness, because the modules of the differential tests contain tests themselves.
#![allow(
    dead_code,
    unused_imports,
    reason = "the modules of the differential tests have parts that only the tests use"
)]

mod acts;
mod checks;
#[path = "../differential/differences.rs"]
mod differences;
#[path = "../differential/effects/mod.rs"]
mod effects;
mod guests;
#[path = "../differential/pair.rs"]
mod pair;
#[path = "../differential/random/mod.rs"]
mod random;
#[path = "../differential/reload/mod.rs"]
mod reload;
#[path = "../differential/script.rs"]
mod script;
#[path = "../support/mod.rs"]
mod support;
#[path = "../differential/topology.rs"]
mod topology;

use acts::Acts;
use checks::Before;
use guests::Guests;
use pair::Pair;
use random::{FAMILIES, Mix};
use std::time::Instant;
use support::{Launch, Random, Server};

/// Storms without `REDSTART_ROUNDS`.
const ROUNDS: u64 = 6;

/// Acts of a storm without `REDSTART_ACTS`.
const ACTS: u64 = 4000;

const FLAGS: &str =
    "--appendonly yes --appendfsync always --enable-debug-command yes --busy-reply-threshold 20 --hz 100";

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn main() {
    // Like the harness: an argument filters the names.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        println!("storm: test");
        return;
    }
    let mut filters = words.iter().filter(|word| !word.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|word| "storm".contains(word.as_str())) {
        return;
    }
    let repeated = number("REDSTART_SEED");
    let rounds = number("REDSTART_ROUNDS").unwrap_or(if repeated.is_some() { 1 } else { ROUNDS });
    let first = repeated.unwrap_or(1);
    let mix = mix();
    for seed in first..first + rounds {
        // Printed before anything can fail.
        eprintln!("storm: REDSTART_SEED={seed} repeats this storm");
        let started = Instant::now();
        storm(&mix, seed);
        eprintln!("storm: passed in {:.1} s", started.elapsed().as_secs_f64());
    }
}

/// The commands of all families that the server has. The server is on both sides of the pair, so nothing is compared.
fn mix() -> Mix {
    let pair = Pair::of(Launch::subject().start(), Launch::subject().start());
    Mix::of(&pair, FAMILIES).expect("the server has commands")
}

/// One server: a storm and all checks; another one and `kill -9`; a third one, with `kill -9` in the middle.
fn storm(mix: &Mix, seed: u64) {
    let mut server = Launch::subject().flags(FLAGS).start();
    let count = number("REDSTART_ACTS").unwrap_or(ACTS);
    let before = Before::of(&server);
    let mut random = Random::new(seed);
    rage(mix, &mut server, &mut random, count);
    let mut client = checks::settle(&server, &before);
    checks::the_log_is_clean(&server);
    checks::keys_stand_once(&mut client);
    checks::a_reload_changes_nothing(&mut client);
    checks::memory_comes_back(&mut client, &before);
    drop(client);
    rage(mix, &mut server, &mut random, count / 2);
    drop(checks::settle(&server, &before));
    checks::the_log_is_clean(&server);
    let mut server = checks::a_restart_changes_nothing(server);
    checks::the_log_is_clean(&server);
    rage(mix, &mut server, &mut random, count / 4);
    let server = server.stop().start();
    checks::keys_stand_once(&mut checks::settle(&server, &before));
    checks::the_log_is_clean(&server);
}

/// Performs `count` acts. Fails if the server exits before the last of them.
fn rage(mix: &Mix, server: &mut Server, random: &mut Random, count: u64) {
    let mut acts = Acts::new(mix);
    let mut all = || {
        let mut guests = Guests::connect(server.port())?;
        (0..count).try_for_each(|_| guests.perform(&mut acts, random).inspect_err(|_| guests.show()))
    };
    if let Err(e) = all() {
        let status = server.wait_exit();
        checks::the_log_is_clean(server);
        panic!("{e}: the server has exited, {status}");
    }
}
