//! What INFO counts as changes since the last save, after each command of a script: a save point fires by it, and it
//! tells how a command understood itself, as two changes or as one.

use crate::SCRIPTS;
use crate::pair::{Pace, Pair};
use crate::script;
use crate::support::Client;

/// The scripts whose commands count as Redis counts.
const COMPARED: &[&str] = &[
    "ranges.txt",
    "bitmaps.txt",
    "hyperloglog.txt",
    "counters.txt",
    "hashes.txt",
    "lists.txt",
    "sorted_sets.txt",
    "sort.txt",
];

fn changes(client: &mut Client) -> i64 {
    let info = client.run("INFO persistence").text();
    let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.expect("a count of changes").parse().expect("a number")
}

/// The steps of a script after which one server has counted more changes than the other.
fn different(name: &str, text: &str) -> Vec<String> {
    let script = script::parse(name, text);
    let pair = Pair::start(&script.flags);
    let mut clients = [pair.subject.client(), pair.redis.client()];
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for section in script.sections {
        // What FLUSHALL counts in Redis depends on whether it saves.
        for client in &mut clients {
            client.ok("FLUSHALL");
        }
        let mut before = clients.each_mut().map(changes);
        pair.each_of_present(2, &section.steps, Pace::OneByOne, |outcome| {
            let after = clients.each_mut().map(changes);
            let counted = [after[0] - before[0], after[1] - before[1]];
            if counted[0] != counted[1] {
                let line = section.steps[outcome.at].line();
                wrong.push(format!("{name}: {line}: {} changes, in Redis {}", counted[0], counted[1]));
            }
            compared += counted[1];
            before = after;
            true
        });
    }
    assert!(compared > 0, "{name} changes nothing");
    wrong
}

#[test]
fn commands_count_as_many_changes_as_in_redis() {
    let compared = |name: &&&(&str, &str)| COMPARED.contains(&name.0);
    let scripts: Vec<_> = SCRIPTS.iter().filter(|script| compared(&script)).collect();
    assert_eq!(scripts.len(), COMPARED.len(), "a script that is not there");
    let wrong: Vec<String> = scripts.into_iter().flat_map(|(name, text)| different(name, text)).collect();
    assert!(wrong.is_empty(), "changes are counted differently:\n{}", wrong.join("\n"));
}
