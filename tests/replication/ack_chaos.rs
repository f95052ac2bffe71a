//! Acknowledged writes and reads through failovers, with `min-replicas-to-ack 1` and two replicas, and beside it what Redis
//! loses under the same schedule.
//!
//! ```text
//!   writers: INCR of a counter of their own, in pipelines ─┐                 ┌─ the replicas' links are cut, or
//!   readers: GET of these counters ────────────────────────┴─▶ primary ──────┤  the primary is killed
//!                                                                  │ proxies └─ the replica with the highest offset is
//!                                                                  ▼            promoted; clients stay with the old one
//!                                                               replicas
//! ```
//!
//! A counter only grows, so after a promotion it must not be below what a reply has acknowledged or a read has shown.
//! `REDSTART_SEED` repeats a run, `REDSTART_ROUNDS` makes it longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::nodes::Node;
use crate::support::client::encode;
use crate::support::random::seeds;
use crate::support::{Client, Random, Reply};
use crate::trio::{NODES, Trio};
use crate::{Kind, until};

const WRITERS: usize = 3;
const READERS: usize = 2;

/// Requests of a pipeline.
const DEPTH: usize = 16;

/// What clients know.
#[derive(Default)]
struct Known {
    /// For each counter, the most that a reply has acknowledged.
    acknowledged: [AtomicI64; WRITERS],
    /// The most that a read has shown.
    read: [AtomicI64; WRITERS],
    /// The requests of writers that were sent, and the replies of both that came.
    sent: AtomicUsize,
    replies: AtomicUsize,
    /// The replies to writers.
    confirmed: AtomicUsize,
    stop: AtomicBool,
}

/// What was lost: acknowledged increments, and those that a read had shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lost {
    writes: i64,
    reads: i64,
}

fn counter(index: usize) -> String {
    format!("counter:{index}")
}

/// Sends pipelines to the server at `port` until it is told to stop. A broken connection is replaced.
fn drive(port: u16, known: &Known, request: &[u8], note: impl Fn(i64)) {
    let pipeline = request.repeat(DEPTH);
    let mut connection = None;
    while !known.stop.load(Ordering::Relaxed) {
        let Some(client) = connection.as_mut() else {
            connection = Client::tcp(port).ok();
            if connection.is_none() {
                // The server is dead.
                thread::sleep(Duration::from_millis(1));
            }
            continue;
        };
        known.sent.fetch_add(DEPTH, Ordering::Relaxed);
        if exchange(client, &pipeline, &note, &known.replies).is_none() {
            connection = None;
        }
    }
}

/// Sends a pipeline, and notes the numbers in its replies. `None`: the connection is broken.
fn exchange(client: &mut Client, pipeline: &[u8], note: &impl Fn(i64), replies: &AtomicUsize) -> Option<()> {
    client.send_raw(pipeline).ok()?;
    for _ in 0..DEPTH {
        let Reply { value, .. } = client.read_reply().ok()?;
        if !value.is_error() && !value.is_null() {
            note(value.text().parse().expect("a counter"));
            replies.fetch_add(1, Ordering::Relaxed);
        }
    }
    Some(())
}

fn start_clients(port: u16, known: &Arc<Known>) -> Vec<JoinHandle<()>> {
    let client = |index: usize, is_writer: bool| {
        let known = Arc::clone(known);
        thread::spawn(move || {
            let name = counter(index);
            let (word, most) =
                if is_writer { ("INCR", &known.acknowledged[index]) } else { ("GET", &known.read[index]) };
            drive(port, &known, &encode(&[word, &name]), |number| {
                most.fetch_max(number, Ordering::Relaxed);
                known.confirmed.fetch_add(usize::from(is_writer), Ordering::Relaxed);
            });
        })
    };
    let writers = (0..WRITERS).map(|index| client(index, true));
    writers.chain((0..READERS).map(|index| client(index, false))).collect()
}

/// Waits until so many more of the clients' requests were sent, or replies have come.
fn wait_for(count: &AtomicUsize, more: usize) {
    let goal = count.load(Ordering::Relaxed) + more;
    until("clients go on", || count.load(Ordering::Relaxed) >= goal);
}

struct Chaos {
    random: Random,
    trio: Trio,
    known: Arc<Known>,
    lost: Lost,
    /// How often another server has become the primary.
    failovers: usize,
}

impl Chaos {
    fn start(kind: Kind, seed: u64) -> Chaos {
        let mut random = Random::new(seed);
        let flags = match kind {
            Kind::Subject => "--min-replicas-to-ack 1 --min-replicas-ack-timeout 300",
            Kind::Redis => "--min-replicas-to-write 1",
        };
        let nodes: [Node; NODES] = std::array::from_fn(|index| Node::start(kind, flags, seed + index as u64));
        let mut trio = Trio::new(nodes, &mut random);
        for index in trio.replicas() {
            trio.follow(index, trio.primary);
        }
        Chaos { random, trio, known: Arc::default(), lost: Lost::default(), failovers: 0 }
    }

    /// Repairs all links, and waits until the primary has its replicas.
    fn heal(&self) {
        self.trio.heal_links();
        let mut client = self.trio.nodes[self.trio.primary].client();
        until("the primary has its replicas", || {
            client.run("ROLE").elements()[2].elements().len() == NODES - 1
        });
        until("writes are confirmed", || !client.run("INCR probe").is_error());
    }

    /// One round: clients use a primary whose links are delayed, until it is killed or cut off and replaced.
    fn round(&mut self) {
        self.heal();
        let old = self.trio.primary;
        let known = Arc::clone(&self.known);
        known.stop.store(false, Ordering::Relaxed);
        let clients = start_clients(self.trio.nodes[old].server().port(), &known);
        wait_for(&known.replies, 200 + self.random.below(1000));
        let slow = *self.random.pick(&self.trio.replicas());
        self.trio.links[slow][old].delay(Duration::from_millis(1 + self.random.below(20) as u64));
        wait_for(&known.replies, 200 + self.random.below(1000));
        let is_killed = self.random.chance(2);
        // One after the other: the first one lags behind the second one.
        for index in self.trio.replicas() {
            self.trio.links[index][old].cut();
            wait_for(&known.sent, self.random.below(5 * DEPTH));
        }
        if is_killed {
            self.trio.nodes[old].kill();
        }
        self.trio.promote_best();
        if !is_killed {
            // Clients do not know yet that there is another primary.
            wait_for(&known.sent, self.random.below(10 * DEPTH));
        }
        known.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic");
        }
        if is_killed {
            self.trio.restart(old);
        }
        self.trio.follow(old, self.trio.primary);
        // Waits until both others are replicas of the new primary.
        self.count_lost();
        self.failovers += usize::from(self.trio.primary != old);
    }

    /// Compares the counters of the new primary with what clients know, and goes on with what is there.
    fn count_lost(&mut self) {
        self.heal();
        let mut client = self.trio.nodes[self.trio.primary].client();
        for index in 0..WRITERS {
            let value = client.run(&format!("GET {}", counter(index)));
            let there: i64 = if value.is_null() { 0 } else { value.text().parse().expect("a counter") };
            let lost = |most: &AtomicI64| (most.swap(there, Ordering::Relaxed) - there).max(0);
            self.lost.writes += lost(&self.known.acknowledged[index]);
            self.lost.reads += lost(&self.known.read[index]);
        }
    }
}

/// Executes a schedule, and checks that it has done something. Returns what was lost.
fn run(kind: Kind, seed: u64, rounds: usize) -> Lost {
    let mut chaos = Chaos::start(kind, seed);
    for round in 0..rounds {
        let before = chaos.known.confirmed.load(Ordering::Relaxed);
        chaos.round();
        let confirmed = chaos.known.confirmed.load(Ordering::Relaxed) - before;
        println!("{kind:?}, round {round}: {confirmed} writes confirmed, lost so far {:?}", chaos.lost);
        assert!(confirmed > 0, "no write of round {round} was confirmed");
    }
    assert_eq!(chaos.failovers, rounds, "each round ends with another primary");
    chaos.lost
}

#[test]
fn no_acknowledged_write_is_lost_and_no_lost_write_was_read() {
    let rounds = std::env::var("REDSTART_ROUNDS").map_or(8, |text| text.parse().expect("a number"));
    for seed in seeds(&[1]) {
        println!("REDSTART_SEED={seed} repeats this run");
        assert_eq!(run(Kind::Subject, seed, rounds), Lost::default());
        // What Redis loses depends on the moment at which a link is cut.
        let lost = run(Kind::Redis, seed, rounds);
        println!("Redis has lost {lost:?}");
    }
}
