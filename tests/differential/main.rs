//! Differential tests: the same commands to the server under test and to `redis-server`, replies compared byte for
//! byte, in RESP2 and in RESP3.
//!
//! * `*.txt` beside this file are scripts, one command a line; [`script`] describes their language.
//! * [`clients`] has scripts of several clients, and compares what each of them receives.
//! * [`calls`] are built from COMMAND DOCS: every command with every option.
//! * [`random`] generates commands from a seed.
//! * [`changes`] compares the number of changes that the commands of the scripts count.
//! * [`effects`] compares keyspace events and propagated commands.
//! * [`replicated`] compares the bytes sent to replicas.
//! * [`rights`] compares random users: their rules, and which calls they permit.
//! * [`roles`] compares the replies of primaries and replicas.
//! * [`cluster`] compares the replies of nodes of a cluster.
//! * [`files`] exchanges snapshots and AOF files between the servers.
//! * [`streams`] compares the replies to whole byte streams, broken ones included.
//! * [`dumps`] compares the payloads of DUMP, and restores them on the other side.
//! * [`reload`] loads the AOF of each of these sequences, here and in Redis.
//! * [`tables`] compares the servers' descriptions of themselves: COMMAND, CONFIG, INFO.
//! * [`differences`] lists the intended differences in replies, each with its reason.
//!
//! A mismatch prints the command, both replies and the shortest sequence found that still reproduces it.

mod calls;
mod changes;
mod clients;
mod cluster;
mod differences;
mod dumps;
mod effects;
mod files;
#[allow(dead_code, reason = "the tests of clusters need more of it")]
#[path = "../cluster/nodes.rs"]
mod nodes;
mod pair;
mod random;
mod reload;
mod replicated;
mod rights;
mod roles;
mod script;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod topology;

use pair::{Pace, Pair};

/// Runs every section of a script in both protocols.
fn run_script(name: &str, text: &str) {
    let script = script::parse(name, text);
    let pair = Pair::start(&script.flags);
    let mut compared = 0;
    for section in &script.sections {
        if let Some(obstacle) = section.obstacle(&pair) {
            println!("{name}: '{}' {obstacle}", section.title);
            continue;
        }
        for &protocol in &section.protocols {
            let origin = format!("{name}, '{}'", section.title);
            pair.check(protocol, &section.steps, Pace::OneByOne, &origin);
            compared += section.steps.len();
            if !reload::is_exempt(&pair, name, &section.title) {
                reload::check(&pair, protocol, &section.steps, Pace::OneByOne, &origin);
            }
        }
    }
    println!("{name}: {compared} replies compared");
    assert!(compared > 0, "{name} compares nothing");
}

macro_rules! scripts {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            run_script($file, include_str!($file));
        })*

        /// Every script, for the tests that check which commands the scripts cover.
        const SCRIPTS: &[(&str, &str)] = &[$(($file, include_str!($file)),)*];
    };
}

scripts! {
    connection_commands_reply_as_redis_does: "connection.txt",
    set_with_every_combination_of_options_replies_as_redis_does: "set.txt",
    string_commands_reply_as_redis_does: "strings.txt",
    ranges_and_common_subsequences_reply_as_redis_does: "ranges.txt",
    bitmap_commands_reply_as_redis_does: "bitmaps.txt",
    hyperloglog_commands_reply_as_redis_does: "hyperloglog.txt",
    counters_reply_as_redis_does: "counters.txt",
    key_commands_reply_as_redis_does: "keys.txt",
    commands_that_rename_copy_and_move_reply_as_redis_does: "transfer.txt",
    dump_and_restore_reply_as_redis_does: "dump.txt",
    functions_reply_as_redis_does: "functions.txt",
    cjson_in_scripts_does_as_in_redis: "cjson.txt",
    cmsgpack_in_scripts_does_as_in_redis: "cmsgpack.txt",
    struct_in_scripts_does_as_in_redis: "struct.txt",
    scripts_reply_as_redis_does: "scripting.txt",
    wait_replies_as_redis_does: "wait.txt",
    cluster_commands_without_a_cluster_reply_as_redis_does: "cluster.txt",
    a_limit_of_memory_refuses_and_evicts_as_in_redis: "eviction.txt",
    expiry_commands_reply_as_redis_does: "expiry.txt",
    scans_reply_as_redis_does: "scan.txt",
    hash_commands_reply_as_redis_does: "hashes.txt",
    set_commands_reply_as_redis_does: "sets.txt",
    list_commands_reply_as_redis_does: "lists.txt",
    sorted_set_commands_reply_as_redis_does: "sorted_sets.txt",
    geo_commands_reply_as_redis_does: "geo.txt",
    sort_replies_as_redis_does: "sort.txt",
    stream_commands_reply_as_redis_does: "streams_type.txt",
    transactions_reply_as_redis_does: "transactions.txt",
    commands_that_replicas_get_in_other_words_reply_as_redis_does: "replicated.txt",
    config_commands_reply_as_redis_does: "config.txt",
    server_commands_reply_as_redis_does: "server.txt",
    what_an_operator_sees_is_what_redis_shows: "monitoring.txt",
    debug_replies_as_redis_does: "debug.txt",
    renamed_commands_reply_as_redis_does: "renamed.txt",
    introspection_commands_reply_as_redis_does: "introspection.txt",
    wrong_types_are_refused_as_redis_does: "wrong_types.txt",
    requests_before_authentication_reply_as_redis_does: "password.txt",
    users_and_what_they_may_do_are_as_in_redis: "acl.txt",
}

/// A script that is not listed above would never run.
#[test]
fn every_script_in_the_directory_is_run() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential");
    for file in std::fs::read_dir(directory).expect("the directory of the scripts") {
        let name = file.expect("an entry").file_name().into_string().expect("a name of UTF-8");
        let listed = SCRIPTS.iter().any(|(script, _)| *script == name) || name == "streams.txt";
        assert!(listed || !name.contains(".txt"), "{name} is in the directory but not in the list");
    }
}

#[test]
fn every_exempt_section_is_in_its_script() {
    for (file, title, reason) in reload::EXEMPT {
        let (name, text) = SCRIPTS.iter().find(|(name, _)| name == file).expect("a script of that name");
        let script = script::parse(name, text);
        assert!(script.sections.iter().any(|section| section.title == *title), "{file} has no '{title}'");
        assert!(reason.len() > 4, "{file}, '{title}': why?");
    }
}

/// A command that no script calls is not compared at all.
#[test]
fn every_command_of_the_server_is_in_the_scripts() {
    let mut called = std::collections::BTreeSet::new();
    let mut note = |args: &[Vec<u8>]| {
        let word = |n: usize| args.get(n).map(|a| String::from_utf8_lossy(a).to_lowercase());
        called.extend(word(0));
        called.extend(word(0).zip(word(1)).map(|(a, b)| format!("{a}|{b}")));
    };
    for (name, text) in SCRIPTS {
        for section in script::parse(name, text).sections {
            for step in section.steps {
                note(&step.args);
            }
        }
    }
    for name in clients::SCRIPTS {
        let acts = clients::load(name).sections.into_iter().flat_map(|section| section.acts);
        for args in acts.filter_map(clients::script::Act::into_call) {
            note(&args);
        }
    }
    if support::server::subject_is_redis() {
        return;
    }
    let subject = support::Server::start("");
    let missing: Vec<String> =
        tables::callable(&mut subject.client()).into_iter().filter(|c| !called.contains(c)).collect();
    assert!(missing.is_empty(), "no script calls {missing:?}");
}
