//! The number of changes that a command counts (`rdb_changes_since_last_save`), which triggers the rules of `save`.
//!
//! The test reads the counter of both servers after every write command of the scripts.

use crate::SCRIPTS;
use crate::pair::{Pair, Rule, Step, Verdict};
use crate::reload;
use crate::script;
use crate::support::{Client, Value, Version};
use std::collections::{BTreeMap, HashSet};

/// The scripts about data.
const COMPARED: [&str; 16] = [
    "bitmaps.txt",
    "counters.txt",
    "expiry.txt",
    "geo.txt",
    "hashes.txt",
    "hyperloglog.txt",
    "keys.txt",
    "lists.txt",
    "ranges.txt",
    "set.txt",
    "sets.txt",
    "sort.txt",
    "sorted_sets.txt",
    "streams_type.txt",
    "strings.txt",
    "transfer.txt",
];

/// Commands that are not compared beside a Redis older than this, with the reason.
const LEFT_OUT: [(&str, Version, &str); 6] = [
    ("FLUSHALL", Version::LAST, "counts expired keys that are not removed yet, which depends on time"),
    ("FLUSHDB", Version::LAST, "as FLUSHALL"),
    (
        "BITFIELD missing OVERFLOW FAIL",
        Version::LAST,
        "a string that only grew counts as changed here, but not in Redis",
    ),
    ("XREADGROUP", V7_2, "since 7.2 a group has a consumer from its first question on, which counts"),
    ("XCLAIM", V7_2, "as XREADGROUP"),
    ("XAUTOCLAIM", V7_2, "as XREADGROUP"),
];

const V7_2: Version = Version::new(7, 2);

/// The counter of changes.
fn changes(client: &mut Client) -> i64 {
    let text = client.run("INFO persistence").text();
    let line = text.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.parse().ok()).expect("INFO has the number of changes")
}

/// The reply to a command, and the number of changes that it made.
fn made(client: &mut Client, step: &Step, before: &mut i64) -> (Value, i64) {
    let reply = client.call(&step.args);
    let after = changes(client);
    (reply, after - std::mem::replace(before, after))
}

/// The write commands, by their names in upper case.
fn writing(client: &mut Client) -> HashSet<String> {
    let all = client.run("COMMAND").elements();
    let writes = |command: &Value| {
        let fields = command.elements();
        let write = fields[2].elements().iter().any(|flag| flag.text() == "write");
        write.then(|| fields[0].text().to_uppercase())
    };
    all.iter().filter_map(writes).collect()
}

#[test]
fn a_command_counts_as_many_changes_as_in_redis() {
    let (mut compared, mut wrong) = (0, BTreeMap::new());
    let scripts: Vec<_> = SCRIPTS.iter().filter(|(name, _)| COMPARED.contains(name)).collect();
    assert_eq!(scripts.len(), COMPARED.len(), "a script is missing");
    for (name, text) in scripts {
        let script = script::parse(name, text);
        let pair = Pair::start(&script.flags);
        let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
        let writing = writing(&mut redis);
        for section in script.sections.iter().filter(|s| s.protocols.contains(&2)) {
            if section.obstacle(&pair).is_some() {
                continue;
            }
            subject.run("FLUSHALL");
            redis.run("FLUSHALL");
            let (mut here, mut theirs) = (changes(&mut subject), changes(&mut redis));
            for step in &section.steps {
                if step.connection != 1 || matches!(step.rule, Rule::Silent | Rule::Next | Rule::Raw) {
                    continue;
                }
                let command = String::from_utf8_lossy(&step.args[0]).to_uppercase();
                if !writing.contains(&command) && command != "XGROUP" {
                    if command != "HELLO" {
                        subject.call(&step.args);
                        redis.call(&step.args);
                    }
                    continue;
                }
                let (ours, a) = made(&mut subject, step, &mut here);
                let (reply, b) = made(&mut redis, step, &mut theirs);
                if step.judge(&ours, &reply, pair.peer) == Verdict::Intended {
                    continue;
                }
                compared += 1;
                let left_out = LEFT_OUT
                    .iter()
                    .any(|(start, before, _)| step.line().starts_with(start) && pair.peer < *before);
                if a != b && !left_out {
                    wrong.entry(command).or_insert_with(|| format!("{}: {a}, in Redis {b}", step.line()));
                }
            }
            reload::is_exempt(&pair, name, &section.title);
        }
        reload::check_end(&pair, name);
    }
    assert!(compared > 3000, "only {compared} commands");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
