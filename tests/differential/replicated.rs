//! The bytes that replicas get: the stream of the server under test beside that of Redis.
//!
//! ```text
//!   commands ─┬─▶ Redstart ── stream ─▶ a replica ─┐
//!             └─▶ Redis ───── stream ─▶ a replica ─┴▶ the same bytes after each command
//! ```
//!
//! A connection becomes a replica of each server and throws the snapshot away. After each command, `master_repl_offset`
//! says how many bytes have to have come, so the offset is checked as well, and nothing that the test does is in the stream.
//! Every request must be encoded as Redis encodes it, so equal words are equal bytes. `SELECT`, `MULTI` and `EXEC` are
//! compared like all others, which [`crate::effects`] does not do; `PING` and `REPLCONF GETACK` depend on the time and are
//! left out. Times may be as far apart as the clocks of the servers, and what is meant to differ is listed in
//! [`crate::effects::reviewed`].

use crate::SCRIPTS;
use crate::effects::compare;
use crate::effects::witness::replicate;
use crate::effects::{Call, Effects, Finding};
use crate::pair::{Answer, Outcome, Pace, Pair, Rule, Step, Verdict};
use crate::random::{FAMILIES, Mix};
use crate::script;
use crate::support::client::encode;
use crate::support::random::seeds;
use crate::support::server::Server;
use crate::support::{Client, Value};
use std::fmt::Write;

/// The scripts, or their sections, that cannot be compared here, and why.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("password.txt", ALL, "the replica would need the password"),
    ("renamed.txt", ALL, "the handshake uses the commands that are renamed"),
    ("introspection.txt", ALL, "counts the clients, and changes no data"),
    ("monitoring.txt", ALL, "counts the clients and commands, and changes no data"),
    ("wait.txt", ALL, "the replica that never acknowledges would be one to wait for"),
    ("config.txt", ALL, "changes the limits and timeouts of the replica's connection"),
    ("connection.txt", ALL, "as introspection.txt"),
    ("server.txt", ALL, "as introspection.txt; REPLICAOF would end the stream"),
    (
        "eviction.txt",
        "all keys are evicted",
        "the order of eviction is chance; replicated.txt evicts one key",
    ),
];

/// All sections of a script.
const ALL: &str = "";

fn is_exempt(name: &str, title: &str) -> bool {
    EXEMPT.iter().any(|(file, section, _)| *file == name && [ALL, title].contains(section))
}

/// A replica of one server.
struct Feed {
    control: Client,
    replica: Client,
    /// The offset up to which the stream was read.
    offset: i64,
}

impl Feed {
    fn new(server: &Server) -> Feed {
        let mut control = server.client();
        // A replica that never acknowledges is not dropped.
        control.ok("CONFIG SET repl-timeout 100000");
        let (replica, offset) = replicate(server);
        Feed { control, replica, offset }
    }

    /// The requests since the last call.
    fn take(&mut self) -> Vec<Call> {
        let end = self.control.info_number("master_repl_offset");
        let mut calls = Vec::new();
        while self.offset < end {
            let reply = self.replica.read_reply().expect("bytes up to the offset");
            let args: Vec<Vec<u8>> = reply.value.elements().iter().map(bulk).collect();
            let bytes = encode(&args);
            assert_eq!(
                bytes.escape_ascii().to_string(),
                reply.raw.escape_ascii().to_string(),
                "another encoding"
            );
            self.offset += bytes.len() as i64;
            if ![&b"PING"[..], b"REPLCONF"].contains(&&args[0].to_ascii_uppercase()[..]) {
                calls.push(Call { db: 0, args });
            }
        }
        assert_eq!(self.offset, end, "the offset is the number of bytes");
        calls
    }
}

fn bulk(value: &Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("no word of a request: {other:?}"),
    }
}

/// Both servers with their replicas.
struct Streams<'a> {
    pair: &'a Pair,
    feeds: [Feed; 2],
}

impl Streams<'_> {
    fn of(pair: &Pair) -> Streams<'_> {
        Streams { pair, feeds: [&pair.subject, &pair.redis].map(Feed::new) }
    }

    fn take(&mut self) -> [Effects; 2] {
        self.feeds.each_mut().map(|feed| Effects { events: Vec::new(), calls: feed.take() })
    }

    /// Runs `steps`; appends a paragraph to `findings` for each after which the streams differ. Returns how many requests
    /// were compared.
    fn compare(&mut self, origin: &str, steps: &[Step], findings: &mut String) -> usize {
        self.pair.clear();
        let mut compared = 0;
        let [here, redis] = self.take();
        if here != redis {
            let _ =
                writeln!(findings, "{origin}, the FLUSHALL before: {:?} and {:?}", here.calls, redis.calls);
        }
        let pair = self.pair;
        pair.each_of_present(2, steps, Pace::OneByOne, |outcome| {
            let Outcome { at, verdict, subject, redis } = outcome;
            let step = &steps[at];
            // Without a reply nothing says that the command has been executed: the next one will have been after it.
            if step.rule == Rule::Silent
                || verdict == Verdict::Intended && is_refused(&subject) != is_refused(&redis)
            {
                return true;
            }
            let [here, theirs] = self.take();
            compared += theirs.calls.len();
            if !compare::alike(step, (&subject, &redis), &here, &theirs, pair.peer) {
                let finding = Finding { at, here, redis: theirs };
                let _ = writeln!(findings, "{origin}\n{}", finding.lines(steps));
            }
            true
        });
        compared
    }
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(reply) if reply.value.is_error())
}

#[test]
fn the_stream_of_the_scripts_is_that_of_redis_byte_for_byte() {
    let (mut compared, mut findings) = (0, String::new());
    for (name, text) in SCRIPTS.iter().filter(|(name, _)| !is_exempt(name, ALL)) {
        let script = script::parse(name, text);
        let pair = Pair::start(&script.flags);
        let mut streams = Streams::of(&pair);
        for section in script.sections.iter().filter(|section| section.protocols.contains(&2)) {
            if section.obstacle(&pair).is_none() && !is_exempt(name, &section.title) {
                let origin = format!("{name}, '{}'", section.title);
                compared += streams.compare(&origin, &section.steps, &mut findings);
            }
        }
    }
    println!("{compared} requests compared");
    assert!(findings.is_empty(), "the streams differ after\n{findings}");
    assert!(compared > 5000, "only {compared} requests");
}

#[test]
fn the_stream_of_random_commands_is_that_of_redis_byte_for_byte() {
    let (mut compared, mut findings) = (0, String::new());
    let pair = Pair::start("");
    let mut streams = Streams::of(&pair);
    // A family by itself reaches states that the commands of the others would undo.
    let mixes = FAMILIES.chunks(1).map(|family| (family, 400)).chain([(FAMILIES, 2000)]);
    for (families, count) in mixes {
        // Beside an older Redis, a family may have no command that both know.
        let Some(mix) = Mix::of(&pair, families) else { continue };
        for seed in seeds(&[101, 102]) {
            let names: Vec<&str> = families.iter().map(|family| family.name).collect();
            let origin = format!("{} with REDSTART_SEED={seed}", names.join(", "));
            compared += streams.compare(&origin, &mix.sequence(seed, count), &mut findings);
        }
    }
    println!("{compared} requests compared");
    assert!(findings.is_empty(), "the streams differ after\n{findings}");
    assert!(compared > 1000, "only {compared} requests");
}

/// The harness can fail: a difference in one word is found.
#[test]
fn a_difference_between_streams_is_found() {
    use crate::support::server::Launch;
    let plain = Launch::redis().start();
    let lazy = Launch::redis().flags("--lazyfree-lazy-expire yes --lazyfree-lazy-user-del yes").start();
    let pair = Pair::of(lazy, plain);
    let mut streams = Streams::of(&pair);
    let words = |line: &str| Step::new(script::split(line).expect("words"), Rule::Exact);
    let steps = ["SET k v", "SELECT 1", "SET k w", "EXPIRE k -1"].map(words);
    let mut findings = String::new();
    let compared = streams.compare("here", &steps, &mut findings);
    assert_eq!(compared, 4, "SET, SELECT, SET, and the end of the key");
    assert!(findings.contains("UNLINK k") && findings.contains("DEL k"), "{findings}");
    assert!(!findings.contains("SET"), "{findings}");
}

#[test]
fn every_exempt_script_is_there_and_has_a_reason() {
    for (name, title, reason) in EXEMPT {
        let (_, text) = SCRIPTS.iter().find(|(other, _)| other == name).expect("a script of that name");
        let sections = script::parse(name, text).sections;
        assert!(*title == ALL || sections.iter().any(|section| section.title == *title), "{name}: {title}");
        assert!(reason.len() > 4, "{name}: {reason}");
    }
}
