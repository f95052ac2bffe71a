//! The writes of the chaos, and the model of what they leave.
//!
//! A unit adds its number to a list, and most of them increment a counter in the same step: a transaction, a script, a
//! function. Each kind has a database of its own. In the kind `blocked`, the number goes to a queue, from which a client that
//! is blocked moves it to the list. Between the units there are others of every type, with times to live of milliseconds,
//! and `FLUSHALL`. The model knows what must be there:
//!
//! * a counter is not below what was acknowledged, and not above the number of units that were sent;
//! * a list, and its queue after it, has no number twice, and all that were acknowledged, in their order;
//! * a transaction, a script and a function have happened as a whole or not at all;
//! * what an acknowledged `FLUSHALL` has deleted does not come back.

use std::io;

use crate::any_write;
use crate::support::{Client, Random, Value};

const UNITS: [&str; 5] = ["single", "multi", "script", "function", "blocked"];

const SINGLE: usize = 0;
const BLOCKED: usize = 4;

/// The databases of other writes.
const OTHERS: [usize; 2] = [5, 6];

const SCRIPT: &str = "redis.call('INCR', KEYS[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])";

const LIBRARY: &str = "#!lua name=chaos\nredis.register_function('push', function(keys, args)\
     redis.call('INCR', keys[1]) return redis.call('RPUSH', keys[2], args[1]) end)";

/// Errors of other writes.
const HARMLESS: [&str; 4] =
    ["BUSYGROUP", "NOGROUP", "ERR no such key", "ERR source and destination objects are the same"];

/// All numbers of a kind: those of its list, then those of its queue.
const NUMBERS: &str = "redis.call('SELECT', ARGV[1]) local all = redis.call('LRANGE', KEYS[1], 0, -1) \
     for _, number in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do all[#all + 1] = number end return all";

/// What was written.
#[derive(Default)]
pub struct Load {
    /// The number of units of each kind that were sent. The numbers of a list's elements are below it.
    pub sent: [usize; UNITS.len()],
    /// Those of them that a promoted replica has, in the order of the list.
    safe: [Vec<usize>; UNITS.len()],
    /// What `FLUSHALL` has deleted for good: the numbers below it.
    flushed: [usize; UNITS.len()],
    /// How many requests were refused since the disk is full.
    refused: usize,
    /// How often `FLUSHALL` was sent.
    flushes: usize,
    /// Whether all nodes know the fields with a time to live of Redis 7.4.
    has_field_expiry: bool,
}

/// Prepares the first primary.
pub fn prepare(client: &mut Client) {
    assert_eq!(client.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "chaos");
}

/// A client that moves elements of the queue as they come.
pub fn start_consumer(client: &mut Client) {
    // The server may be killed any time.
    let _ = client.send(&["SELECT", &BLOCKED.to_string()]);
    for _ in 0..200 {
        let _ = client.send(&["BLMOVE", "blocked:queue", "blocked:list", "LEFT", "RIGHT", "0"]);
    }
}

impl Load {
    /// Nothing was written yet.
    pub fn new(has_field_expiry: bool) -> Load {
        Load { has_field_expiry, ..Load::default() }
    }

    /// Sends requests whose replies are not read. Returns how many replies there are to be. A server that was killed takes
    /// nothing.
    pub fn send(&mut self, client: &mut Client, random: &mut Random, most: usize) -> usize {
        let mut replies = 0;
        for _ in 0..random.below(most) {
            let requests = match random.below(60) {
                0 => self.flush(random),
                1 => vec![[words("FUNCTION LOAD REPLACE"), vec![LIBRARY.to_string()]].concat()],
                2..20 => self.other(random),
                _ => self.unit(random),
            };
            replies += requests.len();
            for request in requests {
                let _ = client.send(&request);
            }
        }
        replies
    }

    fn flush(&mut self, random: &mut Random) -> Vec<Vec<String>> {
        self.safe = Default::default();
        self.flushes += 1;
        let ways = ["FLUSHALL", "FLUSHALL ASYNC", "FLUSHALL SYNC"];
        vec![words(ways[random.below(ways.len())])]
    }

    /// A write that has nothing to do with the units.
    fn other(&self, random: &mut Random) -> Vec<Vec<String>> {
        let (key, soon) = (random.below(50), 1 + random.below(50));
        let kind = *random.pick(&["string", "list", "set", "hash", "zset", "stream", "counter"]);
        let line = match random.below(24) {
            0..4 => format!("PEXPIRE {kind}:{key} {soon}"),
            4 => format!("GETEX string:{key} PX {soon}"),
            5 => format!("RENAME {kind}:{key} {kind}:{}", random.below(50)),
            6 => format!("COPY {kind}:{key} {kind}:{} REPLACE", random.below(50)),
            7 => format!("XGROUP CREATE stream:{key} group $ MKSTREAM"),
            8 => format!("XREADGROUP GROUP group consumer COUNT 3 STREAMS stream:{key} >"),
            9 => format!("XAUTOCLAIM stream:{key} group other 0 0 COUNT 2"),
            10 => format!("XTRIM stream:{key} MAXLEN ~ 10"),
            11 => format!("LMPOP 2 list:{key} list:{} RIGHT COUNT 2", random.below(50)),
            12 => format!("SETEX string:{key} 1 {}", "y".repeat(random.below(100_000))),
            13 => format!("MOVE {kind}:{key} {}", OTHERS[0]),
            14 => "FLUSHDB".to_string(),
            15 => format!("SWAPDB {} {}", OTHERS[0], OTHERS[1]),
            16 if self.has_field_expiry => {
                format!("HPEXPIRE hash:{key} {soon} FIELDS 1 f{}", random.below(1000))
            }
            17 if self.has_field_expiry => format!("HPEXPIRE hash:{key} {} FIELDS 2 f1 f2", 100 * soon),
            _ => any_write(random),
        };
        vec![words(&format!("SELECT {}", random.pick(&OTHERS))), words(&line)]
    }

    fn unit(&mut self, random: &mut Random) -> Vec<Vec<String>> {
        let kind = random.below(UNITS.len());
        let name = UNITS[kind];
        let number = self.sent[kind];
        self.sent[kind] += 1;
        let soon = format!("SET expiring:{} {number} PX {}", random.below(20), 1 + random.below(50));
        let mut requests = vec![words(&format!("SELECT {kind}"))];
        let incr = words(&format!("INCR {name}:counter"));
        let push = words(&format!("RPUSH {name}:list {number}"));
        requests.extend(match name {
            "single" => vec![incr, words(&soon), push],
            "multi" => vec![words("MULTI"), incr, words(&soon), push, words("EXEC")],
            "blocked" => vec![words(&format!("RPUSH blocked:queue {number}"))],
            _ => {
                let begin = if name == "script" { ["EVAL", SCRIPT] } else { ["FCALL", "push"] };
                let rest = words(&format!("2 {name}:counter {name}:list {number}"));
                vec![begin.into_iter().map(String::from).chain(rest).collect()]
            }
        });
        requests
    }

    /// Reads replies until there are so many.
    ///
    /// # Errors
    /// The connection has ended before.
    pub fn read_replies(&mut self, client: &mut Client, count: usize, allowed: &[&str]) -> io::Result<()> {
        for _ in 0..count {
            let reply = client.read_reply()?.value;
            if reply.is_error() {
                let text = reply.text();
                let is_one = |errors: &[&str]| errors.iter().any(|error| text.starts_with(error));
                self.refused += usize::from(is_one(allowed));
                assert!(is_one(allowed) || is_one(&HARMLESS), "{text}");
            }
        }
        Ok(())
    }

    /// Writes, and takes note of what a replica acknowledges.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn write_and_wait(
        &mut self,
        client: &mut Client,
        random: &mut Random,
        allowed: &[&str],
    ) -> io::Result<()> {
        let (before, flushes) = (self.sent, self.flushes);
        let count = self.send(client, random, 60);
        self.read_replies(client, count, allowed)?;
        let acknowledged = client.try_call(&["WAIT", "1", "100"])?.value;
        if acknowledged.integer() >= 1 {
            for (kind, safe) in self.safe.iter_mut().enumerate() {
                *safe = numbers(client, kind)?;
            }
            if self.flushes > flushes && allowed.is_empty() {
                self.flushed = before;
            }
        }
        Ok(())
    }

    /// Compares what a node has with the model.
    pub fn check(&self, client: &mut Client) {
        for (kind, name) in UNITS.iter().enumerate() {
            let (sent, safe) = (self.sent[kind], &self.safe[kind]);
            let list = numbers(client, kind).expect("a list");
            assert_eq!(list[..safe.len().min(list.len())], safe[..], "{name}: what was acknowledged");
            assert!(list.is_sorted_by(|a, b| a < b), "{name}: nothing is there twice: {list:?}");
            assert!(list.last().is_none_or(|last| *last < sent), "{name}: {list:?}");
            assert!(list.first().is_none_or(|first| *first >= self.flushed[kind]), "{name}: {list:?}");
            if kind == BLOCKED {
                continue;
            }
            client.ok(&format!("SELECT {kind}"));
            let counter = client.run(&format!("GET {name}:counter"));
            let count = if counter.is_null() { 0 } else { counter.text().parse().expect("a counter") };
            let fewest = safe.len().saturating_sub(self.refused);
            assert!((fewest..=sent).contains(&count), "{name}: {fewest} safe, {count}, {sent} sent");
            if kind != SINGLE {
                assert_eq!(list.len(), count, "{name}: a part of a unit");
            }
        }
    }
}

/// The numbers of a kind of unit.
fn numbers(client: &mut Client, kind: usize) -> io::Result<Vec<usize>> {
    let (list, queue) = (format!("{}:list", UNITS[kind]), format!("{}:queue", UNITS[kind]));
    let reply = client.try_call(&["EVAL", NUMBERS, "2", &list, &queue, &kind.to_string()])?.value;
    let Value::Array(all) = reply else { panic!("no list: {reply:?}") };
    Ok(all.iter().map(|number| number.text().parse().expect("a number")).collect())
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}
