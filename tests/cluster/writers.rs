//! Clients of a cluster that write while nodes fail, and record which writes were sent and acknowledged.
//!
//! The keys of a writer are in one slot. It sends pipelines of three kinds of requests: `INCR` of a counter, `RPUSH` of
//! a number that is sent only once, and a script that does both to two more keys. It follows redirections, and closes a
//! connection that stalls. A write without a reply may have been executed; one with an error was not.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::nodes::{Node, target, until};
use crate::support::client::encode;
use crate::support::{Client, Value, eventually};

/// A hash tag of each of three primaries, with its slot.
pub const TAGS: [(&str, u16); 3] = [("b", 3300), ("c", 7365), ("a", 15495)];

/// Two writers for each tag.
const WRITERS: usize = 2 * TAGS.len();

/// Requests in a pipeline.
const DEPTH: u64 = 6;

/// How long a client waits for a reply.
const PATIENCE: Duration = Duration::from_secs(1);

/// Errors of requests that were not executed.
const REFUSALS: [&str; 7] =
    ["MOVED", "CLUSTERDOWN", "LOADING", "READONLY", "NOREPLICAS", "MASTERDOWN", "UNBLOCKED"];

const PAIR: &str = "redis.call('INCR',KEYS[1]);return redis.call('RPUSH',KEYS[2],ARGV[1])";

/// The sent and acknowledged writes of a writer in this period.
#[derive(Default)]
struct Known {
    /// The first number that it sent in this period, and the next one.
    sent: (u64, u64),
    /// The acknowledged numbers of the list and of the script's list, and how many increments were acknowledged.
    list: Vec<u64>,
    pair: Vec<u64>,
    increments: u64,
}

/// The result of a comparison after healing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub acknowledged: u64,
    /// Acknowledged writes that are missing.
    pub lost: u64,
}

/// The state that the threads share.
struct Shared {
    /// The announced ports of all nodes.
    ports: Vec<u16>,
    known: [Mutex<Known>; WRITERS],
    /// The numbers of sent pipelines and of acknowledged writes.
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

/// See the module's head.
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    period: usize,
}

impl Writers {
    pub fn new(ports: Vec<u16>) -> Writers {
        let shared = Shared {
            ports,
            known: Default::default(),
            sent: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        };
        Writers { shared: Arc::new(shared), threads: Vec::new(), period: 0 }
    }

    /// Starts the threads.
    pub fn start(&mut self) {
        self.shared.stop.store(false, Ordering::SeqCst);
        for index in 0..WRITERS {
            let (shared, keys) = (Arc::clone(&self.shared), keys(index, self.period));
            self.threads.push(thread::spawn(move || shared.write(index, &keys)));
        }
    }

    /// Ends the threads.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
    }

    /// Waits until `more` further pipelines were sent.
    pub fn wait_until_sent(&self, more: usize) {
        wait_for(&self.shared.sent, more);
    }

    /// Waits until `more` further writes were acknowledged.
    pub fn wait_until_acknowledged(&self, more: usize) {
        wait_for(&self.shared.acknowledged, more);
    }

    /// Compares the data with the records of the writers. No write may be there that was not sent, and none twice. The
    /// next period has other keys.
    pub fn check(&mut self, nodes: &[Node]) -> Found {
        let mut found = Found::default();
        for (index, known) in self.shared.known.iter().enumerate() {
            let mut known = known.lock().expect("no panic");
            let [counter, list, pair_counter, pair_list] = keys(index, self.period);
            let increments = number(&read(nodes, &format!("GET {counter}")));
            assert!(increments <= sent_of(known.sent, 0), "{counter} was incremented twice");
            found.acknowledged += known.increments;
            found.lost += known.increments.saturating_sub(increments);
            for (key, kind, acknowledged) in [(&list, 1, &known.list), (&pair_list, 2, &known.pair)] {
                let there = numbers(&read(nodes, &format!("LRANGE {key} 0 -1")));
                let once: HashSet<u64> = there.iter().copied().collect();
                assert_eq!(once.len(), there.len(), "a number is in {key} twice");
                let is_sent =
                    |number: &u64| (known.sent.0..known.sent.1).contains(number) && number % 3 == kind;
                assert!(there.iter().all(is_sent), "{key} has what was not sent: {there:?}");
                found.acknowledged += acknowledged.len() as u64;
                found.lost += acknowledged.iter().filter(|number| !once.contains(number)).count() as u64;
                if kind == 2 {
                    let increments = number(&read(nodes, &format!("GET {pair_counter}")));
                    assert_eq!(increments, there.len() as u64, "a half of a script was executed: {key}");
                }
            }
            for key in keys(index, self.period) {
                read(nodes, &format!("DEL {key}"));
            }
            *known = Known { sent: (known.sent.1, known.sent.1), ..Known::default() };
        }
        self.period += 1;
        found
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // A test that fails must not wait for the threads.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn wait_for(count: &AtomicUsize, more: usize) {
    let goal = count.load(Ordering::SeqCst) + more;
    until("the writers go on", || count.load(Ordering::SeqCst) >= goal);
}

/// The keys of a writer: a counter, a list, and those of its script.
fn keys(index: usize, period: usize) -> [String; 4] {
    let tag = TAGS[index % TAGS.len()].0;
    ["counter", "list", "pair:counter", "pair:list"].map(|name| format!("{{{tag}}}:{index}:{period}:{name}"))
}

/// The reply of the node that serves the key.
fn read(nodes: &[Node], line: &str) -> Value {
    eventually(line, || {
        let mut replies = nodes.iter().filter_map(|node| node.try_run(line));
        replies.find(|reply| !reply.is_error())
    })
}

/// The count of numbers of a kind in this range.
fn sent_of((first, end): (u64, u64), kind: u64) -> u64 {
    (first..end).filter(|number| number % 3 == kind).count() as u64
}

fn number(value: &Value) -> u64 {
    if value.is_null() { 0 } else { value.text().parse().expect("a number") }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.elements().iter().map(number).collect()
}

impl Shared {
    /// Sends pipelines until `stop` is set.
    fn write(&self, index: usize, keys: &[String; 4]) {
        let mut at = self.ports[index % self.ports.len()];
        let mut connection = None;
        while !self.stop.load(Ordering::SeqCst) {
            let client = match connection.take() {
                Some(client) => Some(client),
                None => Client::tcp(at).ok().inspect(|client| client.set_read_timeout(PATIENCE)),
            };
            let outcome = client.and_then(|mut client| {
                let redirection = self.exchange(&mut client, index, keys).ok()?;
                Some((client, redirection))
            });
            match outcome {
                Some((client, None)) => connection = Some(client),
                Some((_, Some(port))) => at = port,
                None => {
                    let place = self.ports.iter().position(|port| *port == at).expect("a node");
                    at = self.ports[(place + 1) % self.ports.len()];
                }
            }
            // Without a pause the writers would use all cores.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a pipeline, and records the replies. Returns the port of a redirection.
    ///
    /// # Errors
    /// The connection is broken, or stalls.
    fn exchange(&self, client: &mut Client, index: usize, keys: &[String; 4]) -> io::Result<Option<u16>> {
        let first = {
            let mut known = self.known[index].lock().expect("no panic");
            known.sent.1 += DEPTH;
            known.sent.1 - DEPTH
        };
        let pipeline: Vec<u8> = (first..first + DEPTH).flat_map(|number| request(keys, number)).collect();
        let sent = client.send_raw(&pipeline);
        self.sent.fetch_add(1, Ordering::SeqCst);
        sent?;
        let mut redirection = None;
        for number in first..first + DEPTH {
            let reply = client.read_reply()?.value;
            if reply.is_error() {
                let text = reply.text();
                assert!(REFUSALS.iter().any(|word| text.starts_with(word)), "{text}");
                redirection = target(&reply).or(redirection);
                continue;
            }
            let mut known = self.known[index].lock().expect("no panic");
            match number % 3 {
                0 => known.increments += 1,
                1 => known.list.push(number),
                _ => known.pair.push(number),
            }
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        Ok(redirection)
    }
}

/// The request with this number.
fn request([counter, list, pair_counter, pair_list]: &[String; 4], number: u64) -> Vec<u8> {
    let text = number.to_string();
    match number % 3 {
        0 => encode(&["INCR", counter]),
        1 => encode(&["RPUSH", list, &text]),
        _ => encode(&["EVAL", PAIR, "2", pair_counter, pair_list, &text]),
    }
}
