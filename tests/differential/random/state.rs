//! The data sets of both servers after a sequence: every key of every database with its type, encoding, time to live
//! and contents.

use crate::pair::{Outcome, Pace, Pair, Rule, Step, Verdict};
use crate::support::{Client, Value, Version};

/// The databases that random commands reach.
const DATABASES: [&str; 2] = ["0", "1"];

/// The first Redis whose DEBUG DIGEST uses scores in their shortest digits, as here; earlier ones use 17 digits.
pub const DIGEST_OF_SHORT_SCORES: Version = Version::new(7, 2);

/// Compares both data sets; a difference fails the test, and prints the key and both replies.
pub fn check(pair: &Pair, origin: &str) {
    if let Some(difference) = difference(pair) {
        panic!("{origin}: the data sets differ after the sequence\n{difference}");
    }
}

/// The same without encodings, which depend on earlier states of a value.
pub fn check_contents(pair: &Pair, origin: &str) {
    let matters = |step: &Step| step.args[0] != b"OBJECT";
    if let Some(difference) = difference_in(pair, &DATABASES, matters) {
        panic!("{origin}: the contents differ\n{difference}");
    }
}

/// The differences, as readable lines; `None` if there are none.
pub fn difference(pair: &Pair) -> Option<String> {
    difference_of(pair, &DATABASES)
}

/// The differences in these databases.
pub fn difference_of(pair: &Pair, databases: &[&str]) -> Option<String> {
    difference_in(pair, databases, |_| true)
}

/// The differences in the replies to the steps selected by `matters`.
fn difference_in(pair: &Pair, databases: &[&str], matters: impl Fn(&Step) -> bool) -> Option<String> {
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let mut steps = Vec::new();
    for &database in databases {
        let (here, theirs) = (keys(&mut subject, database), keys(&mut redis, database));
        if here != theirs {
            let only = |a: &[Vec<u8>], b: &[Vec<u8>]| {
                a.iter().filter(|k| !b.contains(k)).map(|k| k.escape_ascii().to_string()).collect::<Vec<_>>()
            };
            let (here, theirs) = (only(&here, &theirs), only(&theirs, &here));
            return Some(format!("  database {database}: keys only here {here:?}, only in Redis {theirs:?}"));
        }
        steps.push(Step::new(vec![b"SELECT".to_vec(), database.into()], Rule::Exact));
        for key in &theirs {
            let kind = redis.call(&[b"TYPE", &key[..]]).text();
            steps.extend(readings(key, &kind).into_iter().filter(&matters));
            if kind != "zset" {
                let words = [b"DEBUG".to_vec(), b"DIGEST-VALUE".to_vec(), key.clone()];
                steps.push(Step::new(words.to_vec(), Rule::Exact));
            }
        }
    }
    if pair.peer >= DIGEST_OF_SHORT_SCORES {
        // Covers the whole data set at once, in case the other commands miss a difference.
        steps.push(Step::new(vec![b"DEBUG".to_vec(), b"DIGEST".to_vec()], Rule::Exact));
    }
    let mut found = None;
    pair.each_of_present(2, &steps, Pace::Piped, |Outcome { at, verdict, subject, redis }| {
        if verdict == Verdict::Different {
            let line = steps[at].line();
            found = Some(format!("  {line}\n  here:  {subject:?}\n  redis: {redis:?}"));
        }
        found.is_none()
    });
    found
}

/// The keys of a database, sorted.
fn keys(client: &mut Client, database: &str) -> Vec<Vec<u8>> {
    client.ok(&format!("SELECT {database}"));
    let mut keys: Vec<Vec<u8>> = client.run("KEYS *").elements().into_iter().map(bytes).collect();
    keys.sort();
    keys
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("no key: {other:?}"),
    }
}

/// The commands that read the state of a key of type `kind`.
fn readings(key: &[u8], kind: &str) -> Vec<Step> {
    let step = |before: &[&str], after: &[&str], rule| {
        let word = |word: &&str| word.as_bytes().to_vec();
        let args = before.iter().map(word).chain([key.to_vec()]).chain(after.iter().map(word));
        Step::new(args.collect(), rule)
    };
    let content = match kind {
        "string" => step(&["GET"], &[], Rule::Exact),
        "list" => step(&["LRANGE"], &["0", "-1"], Rule::Exact),
        "set" => step(&["SMEMBERS"], &[], Rule::Unordered),
        "hash" => step(&["HGETALL"], &[], Rule::UnorderedPairs),
        "zset" => step(&["ZRANGE"], &["0", "-1", "WITHSCORES"], Rule::Exact),
        "stream" => step(&["XINFO", "STREAM"], &["FULL", "COUNT", "0"], Rule::Times),
        // A key in a slot that is being imported or has been migrated: only its name is compared.
        other if other.starts_with("MOVED ") || other.starts_with("ASK ") => return Vec::new(),
        other => panic!("TYPE says {other}"),
    };
    vec![
        step(&["TYPE"], &[], Rule::Exact),
        step(&["OBJECT", "ENCODING"], &[], Rule::Exact),
        step(&["PTTL"], &[], Rule::About(60_000)),
        content,
    ]
}
