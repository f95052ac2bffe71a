//! Several clients of both servers act in a fixed order. After each act the test compares all bytes that each client
//! has received, replies, push and pub/sub messages, and closed connections.
//!
//! * `*.txt` beside this file are scripts; [`script`] describes their language.
//! * [`random`] generates acts from a seed.
//! * [`stage`] runs the acts, and finds out when a server will send no more.

pub mod random;
pub mod script;
pub mod stage;

use crate::pair::Verdict;
use crate::reload;
use script::{Act, Script};
use stage::{Mismatch, Outcome, Setting, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};

macro_rules! scripts {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            run($file);
        })*

        /// Every script.
        pub const SCRIPTS: &[&str] = &[$($file,)*];
    };
}

scripts! {
    transactions_are_to_all_clients_what_they_are_in_redis: "transactions.txt",
    messages_reach_subscribers_as_in_redis: "pubsub.txt",
    notifications_reach_subscribers_as_in_redis: "notifications.txt",
    invalidations_reach_clients_that_cache_as_in_redis: "tracking.txt",
    connections_are_seen_and_ended_by_others_as_in_redis: "connections.txt",
    scripts_are_to_all_clients_what_they_are_in_redis: "scripting.txt",
}

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/clients");

/// Reads and parses a script.
pub fn load(name: &str) -> Script {
    let path = format!("{DIRECTORY}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    script::parse(name, &text)
}

/// The servers for a script, if the server under test has the commands that it needs.
pub fn stage(name: &str, script: &Script) -> Option<Stage> {
    let stage = Stage::start(&script.flags);
    if let Some(command) = stage.pair().missing(&script.requires) {
        println!("{name}: skipped, the server has no {command}");
        return None;
    }
    Some(stage)
}

/// Runs `acts`; `seen` gets the outcome of each. Returns a description of the first difference, or of a server that
/// exited or does not reply; the servers cannot be used any more after that.
pub fn differs(
    stage: &Stage,
    setting: &Setting<'_>,
    acts: &[Act],
    mut seen: impl FnMut(&Outcome),
) -> Option<String> {
    let run = || {
        let mut found = None;
        stage.each(setting, acts, |outcome| {
            seen(&outcome);
            let Outcome { at, verdict, here, redis } = outcome;
            found = (verdict == Verdict::Different).then_some(Mismatch { at, here, redis });
            found.is_none()
        });
        Some(stage.explain(setting, acts, found?))
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(explained) => explained,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map_or("a panic", |text| text);
            let act = acts.get(stage.current()).map_or_else(String::new, Act::line);
            Some(format!("{text}\n  after:   {act}\n{}", stage.panics()))
        }
    }
}

/// Runs every section of a script in both protocols.
fn run(name: &str) {
    let script = load(name);
    let Some(mut stage) = stage(name, &script) else { return };
    let (mut compared, mut wrong) = (0, Vec::new());
    for section in &script.sections {
        if !section.peers.contains(&stage.peer()) {
            println!("{name}: '{}' is not for Redis {}", section.title, stage.peer());
            continue;
        }
        for &protocol in &section.protocols {
            let setting = Setting::of(section, protocol);
            let found = differs(&stage, &setting, &section.acts, |_| compared += 1);
            if let Some(explained) = found.or_else(|| reload::difference(stage.pair())) {
                wrong.push(format!("{name}, '{}', RESP{protocol}: {explained}", section.title));
                // A server that has exited, or whose state differs from the other's, would affect later sections.
                stage = Stage::start(&script.flags);
            }
        }
    }
    println!("{name}: {compared} acts compared");
    assert!(compared > 0, "{name} compares nothing");
    assert!(wrong.is_empty(), "{} sections differ\n{}", wrong.len(), wrong.join("\n"));
}

/// A script that is not listed above would never run.
#[test]
fn every_script_of_several_clients_is_run() {
    for file in std::fs::read_dir(DIRECTORY).expect("the directory of the scripts") {
        let name = file.expect("an entry").file_name().into_string().expect("a name of UTF-8");
        let listed = SCRIPTS.contains(&&*name);
        assert!(listed || !name.contains(".txt"), "{name} is in the directory but not in the list");
    }
}
