//! Three primaries with a replica each execute writes while nodes are killed, stopped and cut off, and replicas take
//! over. Clusters of Redis and of Redstart without `min-replicas-to-ack` run under the same schedule; their lost writes
//! are counted.
//!
//! ```text
//!   writers ──▶ a node's proxy for clients ──▶ node ◀── its proxy for the bus ◀── the other nodes
//!                     ▲ its replica
//! ```
//!
//! A node announces the ports of its proxies, and connects from its own address (127.0.0.2, …), by which the proxies of
//! the others recognize it. So two nodes can be cut from each other while clients reach both.
//!
//! After healing, all nodes must agree about roles, slots and epochs, each replica must have the data of its primary,
//! and no write may have been executed twice. With `min-replicas-to-ack 1` no acknowledged write may be lost.
//! [`crate::writers`] records the writes.
//!
//! `REDSTART_SEED` repeats a schedule, `REDSTART_ROUNDS` makes it longer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::nodes::{Kind, Node, form, launch, until};
use crate::support::proxy::Proxy;
use crate::support::random::seeds;
use crate::support::{Random, Value, eventually};
use crate::writers::{Found, TAGS, Writers};

const NODES: usize = 6;

/// The node timeout.
const TIMEOUT_MS: u64 = 1500;

/// Rounds between two checks of the data.
const PERIOD: usize = 4;

/// The server and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// Redstart with `min-replicas-to-ack`.
    Acknowledging,
    Redstart,
    Redis,
}

impl Setting {
    fn kind(self) -> Kind {
        if self == Setting::Redis { Kind::Redis } else { Kind::Subject }
    }

    fn flags(self) -> &'static str {
        match self {
            Setting::Acknowledging => "--min-replicas-to-ack 1 --min-replicas-ack-timeout 300",
            _ => "",
        }
    }
}

/// What happens to a shard in a round.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The replica is cut off; then the primary is killed and replaced.
    LosePrimary,
    /// The primary is killed and replaced.
    KillPrimary,
    RestartPrimary,
    RestartReplica,
    /// The primary is stopped (SIGSTOP) until it is replaced.
    StopPrimary,
    StopReplica,
    /// The primary is cut off from all nodes, and replaced.
    IsolatePrimary,
    /// The same, but the replication link stays.
    CutBus,
    FailOver,
    ForceFailOver,
    /// A planned failover over links that break.
    BreakFailOver,
    /// Slow and broken links.
    Noise,
}

const EVENTS: [Event; 12] = [
    Event::LosePrimary,
    Event::KillPrimary,
    Event::RestartPrimary,
    Event::RestartReplica,
    Event::StopPrimary,
    Event::StopReplica,
    Event::IsolatePrimary,
    Event::CutBus,
    Event::FailOver,
    Event::ForceFailOver,
    Event::BreakFailOver,
    Event::Noise,
];

/// The proxies by which others reach a node, and the address from which it connects to them.
struct Links {
    client: Proxy,
    bus: Proxy,
    source: IpAddr,
}

struct Chaos {
    setting: Setting,
    random: Random,
    nodes: Vec<Node>,
    links: Vec<Links>,
    writers: Writers,
}

impl Chaos {
    fn start(setting: Setting, seed: u64) -> Chaos {
        let mut random = Random::new(seed);
        let (mut nodes, mut links) = (Vec::new(), Vec::new());
        for index in 0..NODES {
            let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2 + index as u8));
            let flags = format!(
                "--appendonly yes --cluster-node-timeout {TIMEOUT_MS} --cluster-require-full-coverage no \
                 --cluster-replica-validity-factor 100 --repl-ping-replica-period 1 --bind-source-addr {source} {}",
                setting.flags()
            );
            let (launch, bus_port) = launch(setting.kind(), &flags);
            let client = Proxy::new(launch.port(), random.next());
            let bus = Proxy::new(bus_port, random.next());
            let node = Node::start_announced(launch, bus_port, (client.port(), bus.port()));
            client.set_target(node.port());
            nodes.push(node);
            links.push(Links { client, bus, source });
        }
        form(TAGS.len(), &nodes);
        for (tag, slot) in TAGS {
            let there = nodes[0].run(&format!("CLUSTER KEYSLOT {tag}")).integer();
            assert_eq!(there, i64::from(slot));
        }
        let writers = Writers::new(links.iter().map(|links| links.client.port()).collect());
        Chaos { setting, random, nodes, links, writers }
    }

    /// Ends all faults, and waits until the cluster is whole. Returns the primary and the replica of each tag's slot.
    fn heal(&mut self) -> [(usize, usize); TAGS.len()] {
        for links in &self.links {
            links.client.heal();
            links.bus.heal();
        }
        for index in 0..NODES {
            self.restart(index);
            self.signal(index, Signal::SIGCONT);
        }
        eventually("the cluster is whole", || self.shards())
    }

    /// The shards, if all nodes agree about the cluster, and each primary has its replica.
    fn shards(&self) -> Option<[(usize, usize); TAGS.len()]> {
        let views: Vec<Vec<Line>> = self.nodes.iter().map(view).collect::<Option<_>>()?;
        let mut ids = [const { String::new() }; NODES];
        let mut epoch = None;
        for (index, node) in self.nodes.iter().enumerate() {
            ids[index] = node.try_run("CLUSTER MYID")?.text();
            let info = node.try_run("CLUSTER INFO")?.text();
            let has = |line: &str| info.lines().any(|own| own == line);
            let own = info.lines().find(|line| line.starts_with("cluster_current_epoch:"))?;
            let is_whole = has("cluster_state:ok")
                && has("cluster_slots_ok:16384")
                && epoch.get_or_insert(own.to_owned()) == own
                && views[index] == views[0];
            if !is_whole {
                return None;
            }
        }
        let index_of = |id: &str| ids.iter().position(|own| own == id);
        let mut epochs: Vec<&str> = Vec::new();
        let mut shards = [(0, 0); TAGS.len()];
        for (shard, (_, slot)) in shards.iter_mut().zip(TAGS) {
            let primary = views[0].iter().find(|line| line.has(slot))?;
            if epochs.contains(&primary.epoch.as_str()) {
                return None;
            }
            epochs.push(&primary.epoch);
            let replica = views[0].iter().find(|line| line.primary == primary.id)?;
            *shard = (index_of(&primary.id)?, index_of(&replica.id)?);
            // The roles may change between the replies.
            let has = |index: usize, line: &str| {
                let text = self.nodes[index].try_run("INFO replication")?.text();
                text.lines().any(|own| own == line).then_some(())
            };
            has(shard.1, "master_link_status:up")?;
            has(shard.0, "connected_slaves:1")?;
        }
        Some(shards)
    }

    /// Starts a node that was killed.
    fn restart(&mut self, index: usize) {
        if self.nodes[index].running().is_none() {
            self.nodes[index].restart();
            self.links[index].client.set_target(self.nodes[index].port());
        }
    }

    fn signal(&self, index: usize, signal: Signal) {
        self.nodes[index].server().signal(signal);
    }

    /// Cuts the bus between a node and the others; with `and_data` also the replication links.
    fn isolate(&self, index: usize, and_data: bool) {
        for other in (0..NODES).filter(|other| *other != index) {
            for (from, to) in [(index, other), (other, index)] {
                self.links[to].bus.cut_from(self.links[from].source);
                if and_data {
                    self.links[to].client.cut_from(self.links[from].source);
                }
            }
        }
    }

    fn wait_until_primary(&self, index: usize) {
        eventually("the replica is promoted", || {
            let role = self.nodes[index].try_run("ROLE")?;
            role.elements().first().is_some_and(|name| name.text() == "master").then_some(())
        });
    }

    /// One round: see [`Event`]. Random numbers do not depend on results, so all settings have the same schedule.
    fn round(&mut self, event: Event) {
        let shard = self.random.below(TAGS.len());
        let [before, during] = [0; 2].map(|_| 50 + self.random.below(200));
        let is_prompt = self.random.chance(2);
        let (primary, replica) = self.heal()[shard];
        println!("{:?}, {event:?}: node {primary} with replica {replica}", self.setting);
        self.writers.wait_until_acknowledged(before);
        match event {
            Event::LosePrimary | Event::KillPrimary => {
                if matches!(event, Event::LosePrimary) {
                    self.links[primary].client.cut_from(self.links[replica].source);
                    self.writers.wait_until_sent(during);
                }
                self.nodes[primary].kill();
                self.wait_until_primary(replica);
            }
            Event::RestartPrimary | Event::RestartReplica => {
                let index = if matches!(event, Event::RestartPrimary) { primary } else { replica };
                self.nodes[index].kill();
                if !is_prompt {
                    self.writers.wait_until_sent(during);
                }
                self.restart(index);
            }
            Event::StopPrimary => {
                self.signal(primary, Signal::SIGSTOP);
                self.wait_until_primary(replica);
                self.signal(primary, Signal::SIGCONT);
            }
            Event::StopReplica => {
                self.signal(replica, Signal::SIGSTOP);
                self.writers.wait_until_sent(during);
                self.signal(replica, Signal::SIGCONT);
            }
            Event::IsolatePrimary | Event::CutBus => {
                self.isolate(primary, matches!(event, Event::IsolatePrimary));
                self.check_minority(primary, TAGS[shard].0);
                self.wait_until_primary(replica);
            }
            Event::FailOver | Event::ForceFailOver | Event::BreakFailOver => {
                self.fail_over(event, primary, replica);
            }
            Event::Noise => self.make_noise(is_prompt),
        }
        self.writers.wait_until_sent(during);
    }

    /// Checks that a primary without a majority refuses writes once it has noticed that, until it is back.
    fn check_minority(&self, primary: usize, tag: &str) {
        let node = &self.nodes[primary];
        let cut = Instant::now();
        until("the minority notices", || {
            node.try_run("CLUSTER INFO").is_some_and(|info| info.text().contains("cluster_state:fail"))
        });
        // On a busy machine this is later than the timeout.
        println!("{:?}: the minority refuses writes after {:?}", self.setting, cut.elapsed());
        let mut client = node.client();
        for _ in 0..20 {
            let reply = client.run(&format!("SET {{{tag}}}:minority 1")).text();
            assert!(reply.starts_with("CLUSTERDOWN"), "{reply}");
        }
    }

    fn fail_over(&self, event: Event, primary: usize, replica: usize) {
        let word = if matches!(event, Event::ForceFailOver) { " FORCE" } else { "" };
        // The command fails if the replica has been elected meanwhile.
        let reply = self.nodes[replica].try_run(&format!("CLUSTER FAILOVER{word}"));
        println!("{:?}: {reply:?}", self.setting);
        if matches!(event, Event::BreakFailOver) {
            self.links[primary].client.reset_connections();
            self.links[replica].bus.delay(Duration::from_millis(20));
            self.links[primary].bus.reset_connections();
        } else if reply == Some(Value::Simple(b"OK".to_vec())) && matches!(event, Event::ForceFailOver) {
            self.wait_until_primary(replica);
        }
    }

    fn make_noise(&self, is_slow: bool) {
        for links in &self.links {
            if is_slow {
                links.client.delay(Duration::from_millis(10));
                links.bus.delay(Duration::from_millis(30));
            } else {
                links.client.reset_connections();
                links.bus.reset_connections();
            }
        }
    }

    /// Waits until replicas have the data of their primaries, and compares it with the records of the writers.
    fn check(&mut self) -> Found {
        self.writers.stop();
        for (primary, replica) in self.heal() {
            let digest = |index: usize| self.nodes[index].try_run("DEBUG DIGEST").map(|reply| reply.text());
            until("the replica has the data of its primary", || {
                digest(primary).is_some_and(|own| digest(replica) == Some(own))
            });
        }
        self.writers.check(&self.nodes)
    }
}

/// A node's line about another one, without fields that always change.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    id: String,
    address: String,
    flags: String,
    primary: String,
    epoch: String,
    slots: Vec<String>,
}

impl Line {
    fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let [first, last]: [u16; 2] = [first, last].map(|text| text.parse().expect("a slot"));
            (first..=last).contains(&slot)
        })
    }
}

/// The lines of `CLUSTER NODES`, if the node is not loading and all nodes are connected.
fn view(node: &Node) -> Option<Vec<Line>> {
    let text = node.try_run("CLUSTER NODES")?.text();
    let mut lines: Vec<Line> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words.get(7) == Some(&"connected")).then(|| Line {
                id: words[0].to_owned(),
                address: words[1].to_owned(),
                flags: words[2].replace("myself,", ""),
                primary: words[3].to_owned(),
                epoch: words[6].to_owned(),
                slots: words[8..].iter().map(|word| (*word).to_owned()).collect(),
            })
        })
        .collect::<Option<_>>()?;
    lines.sort();
    (lines.len() == NODES).then_some(lines)
}

/// Runs a schedule: all events in an order that the seed decides, again and again.
fn run(setting: Setting, seed: u64, rounds: usize) -> Found {
    let mut chaos = Chaos::start(setting, seed);
    let mut events = EVENTS;
    let mut total = Found::default();
    for round in 0..rounds {
        if round % EVENTS.len() == 0 {
            for place in (1..events.len()).rev() {
                events.swap(place, chaos.random.below(place + 1));
            }
        }
        println!("{setting:?}: round {round}");
        if round % PERIOD == 0 {
            chaos.writers.start();
        }
        chaos.round(events[round % EVENTS.len()]);
        if (round + 1) % PERIOD == 0 || round + 1 == rounds {
            let found = chaos.check();
            assert!(found.acknowledged > 0, "it has tested something");
            total.acknowledged += found.acknowledged;
            total.lost += found.lost;
            println!("{setting:?}: {total:?}");
        }
    }
    total
}

#[test]
fn all_nodes_agree_after_failures_no_write_happens_twice_and_acknowledged_ones_are_there_if_replicas_confirm()
{
    let rounds =
        std::env::var("REDSTART_ROUNDS").map_or(EVENTS.len(), |text| text.parse().expect("a number"));
    for seed in seeds(&[1]) {
        println!("REDSTART_SEED={seed} repeats this run");
        let settings = [Setting::Acknowledging, Setting::Redstart, Setting::Redis];
        // Most of the time a cluster waits for a timeout.
        let [acknowledging, redstart, redis] = std::thread::scope(|scope| {
            let runs = settings.map(|setting| scope.spawn(move || run(setting, seed, rounds)));
            runs.map(|run| run.join().expect("no panic"))
        });
        println!("seed {seed}, {rounds} rounds: with min-replicas-to-ack {acknowledging:?}");
        println!("without it {redstart:?}; Redis {redis:?}");
        assert_eq!(acknowledging.lost, 0, "{acknowledging:?}");
    }
}
