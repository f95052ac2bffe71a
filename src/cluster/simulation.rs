//! Clusters over a network that delays, resets and partitions, in virtual time; nodes stop, restart and lose their
//! files, and clocks jump.
//!
//! ```text
//!   World ── events by time ──▶ tick, deliver, connect ──▶ Cluster ──▶ actions ──▶ events, disk, replication
//!             faults for a while, then none ──▶ all nodes agree within a bounded time
//! ```
//!
//! What must hold at any time ([`World::check_packet`], [`World::promoted`]):
//!
//! * a primary votes for one candidate in an epoch, also over a restart, and its vote is on disk before it leaves;
//! * an election is won with the votes of more than half of the primaries, and by one node in an epoch;
//! * without `TAKEOVER` and moved slots, two primaries never have the same configuration epoch.
//!
//! After the faults, every slot has one owner, which all nodes and the owner itself agree on, with the same epochs, no
//! failure flags, and `cluster_state:ok` ([`World::disagreement`]).
//!
//! A failure names its seed; `REDSTART_SEED` runs that one alone, `REDSTART_SEEDS` the number of seeds.

mod faults;
mod rivals;
mod scale;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write;
use std::sync::Arc;
use std::thread;

use super::message::{Kind, decode};
use super::*;
use rivals::Rivals;

/// The node timeout of the simulated nodes.
const TIMEOUT_MS: u64 = 2000;

/// The time after the faults in which all nodes must agree.
const AGREEMENT_MS: u64 = 60_000;

const START_MS: u64 = 1_700_000_000_000;

/// A connection between two nodes: the ends, and when the last bytes of each direction arrive.
struct Wire {
    ends: [(usize, Option<LinkId>); 2],
    last_ms: [u64; 2],
    /// Bytes of this direction do not arrive any more.
    is_dead: [bool; 2],
}

enum Event {
    Tick(usize, u64),
    Established(u64),
    Refused(u64),
    Packet(u64, usize, Arc<[u8]>),
    /// The end `.1` of a wire learns that the other one has closed.
    Ended(u64, usize),
    Restart(usize),
    Unblock(usize, usize),
}

/// An event and its time. Events at the same time are in the order of their creation.
struct Due {
    at_ms: u64,
    number: u64,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

/// What the network does to packets. TCP neither loses, duplicates nor reorders the packets of a connection, but each
/// pair of nodes has two connections and makes new ones, so the protocol must cope with all three.
#[derive(Clone, Copy)]
struct Network {
    delay_ms: usize,
    /// Percentages of the packets that are lost, that arrive twice, and that may overtake others of the connection.
    lost: usize,
    repeated: usize,
    overtaken: usize,
}

impl Network {
    const QUIET: Network = Network { delay_ms: 20, lost: 0, repeated: 0, overtaken: 0 };

    /// The longest time from the first copy of a packet to the second one.
    const REPEAT_MS: usize = 3000;
}

/// A server: the machine, and what the machine has the server do.
struct Host {
    cluster: Option<Cluster>,
    /// Counts the starts; a tick of an earlier one is void.
    starts: u64,
    settings: Settings,
    /// What a crash may leave of `nodes.conf`, and the content at some earlier time.
    written: String,
    synced: String,
    old: String,
    wires: BTreeMap<LinkId, u64>,
    /// How far the clock is ahead.
    clock_ms: i64,
    offset: i64,
    follows: Option<usize>,
    heard_ms: u64,
    paused_until_ms: u64,
    log: Vec<String>,
}

struct World {
    random: Random,
    now_ms: u64,
    events: BinaryHeap<Reverse<Due>>,
    made: u64,
    hosts: Vec<Host>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    blocked: BTreeSet<(usize, usize)>,
    network: Network,
    primaries: usize,
    /// Whether epochs are also taken without votes.
    is_wild: bool,
    /// Whether a primary has lost its `nodes.conf`.
    is_primary_wiped: bool,
    /// Whether this is a measurement: to save time, pairs of nodes are not compared, and no text is kept.
    is_large: bool,
    /// The candidate of each vote, by epoch and voter.
    votes: BTreeMap<(u64, NodeId), usize>,
    winners: BTreeMap<u64, NodeId>,
    rivals: Rivals,
    packets: u64,
    bytes: u64,
    elections: u64,
}

fn ip(host: usize) -> String {
    format!("10.0.{}.{}", host / 250, host % 250 + 1)
}

fn host_of(ip: &str) -> Option<usize> {
    let mut parts = ip.split('.').skip(2).map(|part| part.parse::<usize>().ok());
    Some(parts.next()?? * 250 + parts.next()?? - 1)
}

/// The `nodes.conf` of each node of a new cluster, in which node `p + r` is a replica of primary `r % p`.
fn configs(primaries: usize, count: usize, random: &mut Random) -> Vec<String> {
    let ids: Vec<NodeId> = (0..count).map(|_| NodeId::random(random)).collect();
    let shards: Vec<NodeId> = (0..primaries).map(|_| NodeId::random(random)).collect();
    let line = |node: usize, myself: bool| {
        let shard = node % primaries;
        let flags = if node < primaries { "master" } else { "slave" };
        let primary = if node < primaries { "-".into() } else { ids[shard].to_string() };
        let (first, last) = (shard * 16384 / primaries, (shard + 1) * 16384 / primaries - 1);
        let slots = if node < primaries { format!(" {first}-{last}") } else { String::new() };
        let (myself, id, epoch) = (if myself { "myself," } else { "" }, ids[node], shard + 1);
        let shard = shards[shard];
        format!(
            "{id} {}:6379@16379,,tls-port=0,shard-id={shard} {myself}{flags} {primary} 0 0 {epoch} connected{slots}\n",
            ip(node)
        )
    };
    let file = |me: usize| {
        let lines: String = (0..count).map(|node| line(node, node == me)).collect();
        format!("{lines}vars currentEpoch {primaries} lastVoteEpoch 0\n")
    };
    (0..count).map(file).collect()
}

impl World {
    fn new(seed: u64, primaries: usize, count: usize, settings: &Settings) -> World {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let files = configs(primaries, count, &mut random);
        let hosts = files.into_iter().map(|file| Host {
            cluster: None,
            starts: 0,
            settings: settings.clone(),
            written: file.clone(),
            synced: file.clone(),
            old: file,
            wires: BTreeMap::new(),
            clock_ms: 0,
            offset: 0,
            follows: None,
            heard_ms: START_MS,
            paused_until_ms: 0,
            log: Vec::new(),
        });
        let hosts = hosts.collect();
        let mut world = World {
            random,
            now_ms: START_MS,
            events: BinaryHeap::new(),
            made: 0,
            hosts,
            wires: BTreeMap::new(),
            next_wire: 0,
            blocked: BTreeSet::new(),
            network: Network::QUIET,
            primaries,
            is_wild: false,
            is_primary_wiped: false,
            is_large: false,
            votes: BTreeMap::new(),
            winners: BTreeMap::new(),
            rivals: Rivals::default(),
            packets: 0,
            bytes: 0,
            elections: 0,
        };
        (0..count).for_each(|host| world.start(host));
        world
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.made += 1;
        self.events.push(Reverse(Due { at_ms, number: self.made, event }));
    }

    fn after(&mut self, least_ms: usize, spread_ms: usize, event: Event) {
        let at_ms = self.now_ms + least_ms as u64 + self.random.below(spread_ms + 1) as u64;
        self.at(at_ms, event);
    }

    fn clock(&self, host: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.hosts[host].clock_ms)
    }

    fn start(&mut self, host: usize) {
        let (seed, now_ms) = (self.random.next(), self.clock(host));
        let entry = &mut self.hosts[host];
        let settings = entry.settings.clone();
        let cluster = match entry.written.as_str() {
            "" => Ok(Cluster::new(settings, seed, now_ms)),
            text => Cluster::load(text.as_bytes(), settings, seed, now_ms),
        };
        entry.cluster = Some(cluster.expect("the node wrote the file"));
        entry.starts += 1;
        (entry.follows, entry.heard_ms) = (None, self.now_ms);
        let starts = entry.starts;
        self.execute(host);
        self.after(0, 100, Event::Tick(host, starts));
    }

    /// Stops a node at once. `is_reset` if its connections are reset, as when the process is killed; otherwise nobody
    /// notices, as when the power fails.
    fn stop(&mut self, host: usize, is_reset: bool) {
        let loses_cache = self.random.below(2) == 0;
        let entry = &mut self.hosts[host];
        if entry.cluster.take().is_none() {
            return;
        }
        if loses_cache {
            entry.written = entry.synced.clone();
        }
        entry.synced = entry.written.clone();
        for wire in std::mem::take(&mut entry.wires).into_values() {
            self.end(wire, host, is_reset);
        }
    }

    /// One end of a wire is gone.
    fn end(&mut self, number: u64, host: usize, is_reset: bool) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let side = usize::from(wire.ends[0].0 != host);
        wire.ends[side].1 = None;
        let other = wire.ends[1 - side];
        let arrives_ms = wire.last_ms[side].max(self.now_ms);
        let is_heard = is_reset && !wire.is_dead[side] && !self.blocked.contains(&(host, other.0));
        if other.1.is_none() {
            self.wires.remove(&number);
        } else if is_heard {
            self.at(arrives_ms + 1, Event::Ended(number, 1 - side));
        }
    }

    fn facts(&self, host: usize) -> Facts {
        let entry = &self.hosts[host];
        Facts {
            offset: entry.offset,
            is_following: entry.follows.is_some(),
            data_age_ms: if entry.follows.is_some() { self.now_ms - entry.heard_ms } else { 0 },
            has_keys: true,
            is_busy: false,
        }
    }

    /// Calls the machine of a host, and executes its actions.
    fn call<R>(&mut self, host: usize, call: impl FnOnce(&mut Cluster, u64, &Facts) -> R) -> Option<R> {
        let (now_ms, facts) = (self.clock(host), self.facts(host));
        let cluster = self.hosts[host].cluster.as_mut()?;
        let result = call(cluster, now_ms, &facts);
        cluster.settle(now_ms, &facts);
        self.execute(host);
        Some(result)
    }

    fn execute(&mut self, host: usize) {
        let mut election = false;
        while let Some(action) = self.hosts[host].cluster.as_mut().and_then(Cluster::next_action) {
            let entry = &mut self.hosts[host];
            match action {
                Action::Connect { link, ip, .. } => self.connect(host, link, host_of(&ip)),
                Action::Send { link, bytes } => self.send(host, link, bytes),
                Action::Close { link } => {
                    if let Some(wire) = entry.wires.remove(&link) {
                        self.end(wire, host, true);
                    }
                }
                Action::SaveConfig { .. } if self.is_large => {
                    _ = entry.cluster.as_ref().expect("it runs").config_text();
                }
                Action::SaveConfig { sync } => {
                    entry.written = entry.cluster.as_ref().expect("it runs").config_text();
                    if sync {
                        entry.synced = entry.written.clone();
                    }
                }
                Action::Follow { ip, .. } => {
                    entry.follows = host_of(&ip);
                }
                Action::Promote => {
                    entry.follows = None;
                    self.promoted(host, election);
                }
                Action::PauseWrites { .. } => entry.paused_until_ms = self.now_ms + 10_000,
                Action::ResumeWrites => entry.paused_until_ms = 0,
                Action::Log(level, text) => {
                    election |= text.starts_with("Failover election won");
                    if level >= Level::Notice {
                        entry.log.push(format!("{} {text}", self.now_ms - START_MS));
                    }
                }
                _ => {}
            }
        }
    }

    fn connect(&mut self, host: usize, link: LinkId, to: Option<usize>) {
        self.next_wire += 1;
        let number = self.next_wire;
        let Some(to) = to.filter(|to| *to < self.hosts.len()) else { return };
        let wire = Wire { ends: [(host, Some(link)), (to, None)], last_ms: [0; 2], is_dead: [false; 2] };
        self.wires.insert(number, wire);
        self.hosts[host].wires.insert(link, number);
        if self.blocked.contains(&(host, to)) || self.blocked.contains(&(to, host)) {
            return;
        }
        let is_up = self.hosts[to].cluster.is_some();
        let event = if is_up { Event::Established(number) } else { Event::Refused(number) };
        self.after(1, self.network.delay_ms, event);
    }

    fn send(&mut self, host: usize, link: LinkId, bytes: Arc<[u8]>) {
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        let Some(number) = self.hosts[host].wires.get(&link).copied() else { return };
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let side = usize::from(wire.ends[0] != (host, Some(link)));
        let to = wire.ends[1 - side].0;
        wire.is_dead[side] |= self.blocked.contains(&(host, to));
        let (is_dead, last_ms) = (wire.is_dead[side], wire.last_ms[side]);
        if !self.is_large {
            self.check_packet(host, to, &bytes);
        }
        let Network { delay_ms, lost, repeated, overtaken } = self.network;
        let mut at_ms = self.now_ms + 1 + self.random.below(delay_ms) as u64;
        if is_dead || self.random.below(100) < lost {
            return;
        }
        if self.random.below(100) >= overtaken {
            at_ms = at_ms.max(last_ms);
            self.wires.get_mut(&number).expect("it was found").last_ms[side] = at_ms;
        }
        if self.random.below(100) < repeated {
            let later_ms = self.random.below(Network::REPEAT_MS) as u64;
            self.at(at_ms + later_ms, Event::Packet(number, 1 - side, bytes.clone()));
        }
        self.at(at_ms, Event::Packet(number, 1 - side, bytes));
    }

    /// A vote is the only one of its voter in its epoch, and on disk.
    fn check_packet(&mut self, host: usize, candidate: usize, bytes: &[u8]) {
        // The type of the packet.
        if bytes[12..14] != (Kind::AuthAck as u16).to_be_bytes() {
            return;
        }
        let packet = decode(bytes).expect("a packet of the machine");
        let epoch = packet.header.current_epoch;
        let saved = format!("lastVoteEpoch {epoch}\n");
        assert!(self.hosts[host].synced.ends_with(&saved), "the vote in epoch {epoch} is not on disk");
        let (voter, cluster) = (packet.header.sender, self.hosts[host].cluster.as_ref().expect("it runs"));
        assert!(cluster.myself().is_primary(), "a replica voted");
        let previous = self.votes.insert((epoch, voter), candidate);
        assert_eq!(previous, None, "{voter} voted twice in epoch {epoch}");
    }

    /// Checks that a new primary has the votes of the majority, and is the only winner of its epoch.
    fn promoted(&mut self, host: usize, election: bool) {
        if !election || self.is_large {
            return;
        }
        self.elections += 1;
        let cluster = self.hosts[host].cluster.as_ref().expect("it runs");
        let (id, epoch) = (cluster.myself().id, cluster.election.epoch);
        let votes =
            self.votes.iter().filter(|((of, _), candidate)| *of == epoch && **candidate == host).count();
        assert!(votes > self.primaries / 2, "{id} won epoch {epoch} with {votes} of {}", self.primaries);
        let winner = self.winners.insert(epoch, id);
        assert_eq!(winner, None, "{id} wins epoch {epoch}, too\n{}", self.report());
    }

    fn step(&mut self) {
        let Reverse(due) = self.events.pop().expect("ticks go on");
        self.now_ms = self.now_ms.max(due.at_ms);
        match due.event {
            Event::Tick(host, starts) => self.tick(host, starts),
            Event::Established(wire) => self.established(wire),
            Event::Refused(wire) => {
                if let Some(Wire { ends: [(host, Some(link)), _], .. }) = self.wires.remove(&wire) {
                    self.hosts[host].wires.remove(&link);
                    self.call(host, |cluster, now_ms, _| cluster.link_closed(link, now_ms));
                }
            }
            Event::Packet(wire, side, bytes) => {
                if let Some(Wire { ends, .. }) = self.wires.get(&wire)
                    && let (host, Some(link)) = ends[side]
                {
                    self.call(host, |cluster, now_ms, facts| cluster.received(link, &bytes, now_ms, facts));
                }
            }
            Event::Ended(wire, side) => {
                if let Some(Wire { ends, .. }) = self.wires.remove(&wire)
                    && let (host, Some(link)) = ends[side]
                {
                    self.hosts[host].wires.remove(&link);
                    self.call(host, |cluster, now_ms, _| cluster.link_closed(link, now_ms));
                }
            }
            Event::Restart(host) => {
                if self.hosts[host].cluster.is_none() {
                    self.start(host);
                }
            }
            Event::Unblock(from, to) => {
                self.blocked.remove(&(from, to));
            }
        }
    }

    fn tick(&mut self, host: usize, starts: u64) {
        if self.hosts[host].starts != starts || self.hosts[host].cluster.is_none() {
            return;
        }
        self.replicate(host);
        self.call(host, Cluster::tick);
        if !self.is_large {
            self.check_rivals(host);
        }
        let jitter = if self.random.below(50) == 0 { 300 } else { 5 };
        self.after(100, jitter, Event::Tick(host, starts));
    }

    fn established(&mut self, number: u64) {
        let Some(Wire { ends: [(from, Some(link)), (to, _)], .. }) = self.wires.get(&number) else { return };
        let (from, link, to) = (*from, *link, *to);
        let accepted = self.call(to, |cluster, now_ms, _| cluster.link_accepted(&ip(from), &ip(to), now_ms));
        let Some(accepted) = accepted else {
            self.wires.remove(&number);
            self.hosts[from].wires.remove(&link);
            self.call(from, |cluster, now_ms, _| cluster.link_closed(link, now_ms));
            return;
        };
        self.hosts[to].wires.insert(accepted, number);
        self.wires.get_mut(&number).expect("it was found").ends[1].1 = Some(accepted);
        self.call(from, |cluster, now_ms, _| cluster.link_connected(link, &ip(to), &ip(from), now_ms));
    }

    /// A primary executes writes. A replica gets them, unless it is cut off; after a failover it takes the data of
    /// the new primary.
    fn replicate(&mut self, host: usize) {
        let writes = self.random.below(50) as i64;
        let lag = self.random.below(3) as i64 * 20;
        let entry = &self.hosts[host];
        let Some(primary) = entry.follows else {
            let is_ok = entry.cluster.as_ref().is_some_and(Cluster::is_ok);
            if is_ok && entry.paused_until_ms <= self.now_ms {
                self.hosts[host].offset += writes;
            }
            return;
        };
        let is_cut = self.blocked.contains(&(host, primary)) || self.blocked.contains(&(primary, host));
        let source = &self.hosts[primary];
        if is_cut || source.cluster.is_none() || primary == host {
            return;
        }
        let is_paused = source.paused_until_ms > self.now_ms;
        let offset = source.offset - if is_paused { 0 } else { lag };
        let entry = &mut self.hosts[host];
        (entry.offset, entry.heard_ms) = (offset.max(0), self.now_ms);
    }

    fn run_until(&mut self, end_ms: u64) {
        while self.events.peek().is_some_and(|Reverse(due)| due.at_ms <= end_ms) {
            self.step();
        }
        self.now_ms = self.now_ms.max(end_ms);
    }

    /// What the nodes do not agree on, if anything.
    fn disagreement(&self) -> Option<String> {
        let views: Vec<&Cluster> = self.hosts.iter().filter_map(|host| host.cluster.as_ref()).collect();
        let ids: BTreeSet<NodeId> = views.iter().map(|view| view.myself().id).collect();
        let summary = |view: &Cluster| {
            let mut nodes: Vec<_> = view
                .nodes()
                .map(|(_, node)| {
                    let primary = node.primary.and_then(|index| view.node(index)).map(|node| node.id);
                    let epoch = if node.is_primary() { node.config_epoch } else { 0 };
                    (node.id, node.is_primary(), primary, epoch, node.slots.to_string(), node.shard_id)
                })
                .collect();
            nodes.sort();
            nodes
        };
        let first = summary(views[0]);
        let mut epochs = BTreeSet::new();
        for view in &views {
            let me = view.myself();
            let known: BTreeSet<NodeId> = view.nodes().map(|(_, node)| node.id).collect();
            if known != ids {
                return Some(format!("{} knows {known:?}, not {ids:?}", me.id));
            }
            if let Some((_, node)) = view.nodes().find(|(_, n)| n.flags.has(Flags::FAIL | Flags::PFAIL)) {
                return Some(format!("{} has {} as {}", me.id, node.id, node.flags));
            }
            if !view.is_ok() {
                return Some(format!("{} is down: {:?}", me.id, view.down_reason()));
            }
            let own = summary(view);
            if let Some((here, there)) = own.iter().zip(&first).find(|(here, there)| here != there) {
                return Some(format!("{} and {} differ: {here:?}, {there:?}", me.id, views[0].myself().id));
            }
            if me.is_replica() && me.primary.and_then(|index| view.node(index)).is_none_or(Node::is_replica) {
                return Some(format!("{} is a replica of no primary", me.id));
            }
            if me.is_primary() && !me.slots.is_empty() && !epochs.insert(me.config_epoch) {
                return Some(format!("{} has an epoch that another primary has", me.id));
            }
        }
        let served: usize = views.iter().map(|view| view.myself().slots.len()).sum();
        (served != usize::from(SLOTS)).then(|| format!("{served} slots are served"))
    }

    /// Waits until all nodes agree; they must within `limit_ms`. Returns the time that it took.
    fn await_agreement(&mut self, limit_ms: u64) -> u64 {
        let from_ms = self.now_ms;
        while let Some(reason) = self.disagreement() {
            let took_ms = self.now_ms - from_ms;
            assert!(
                took_ms < limit_ms,
                "no agreement {took_ms} ms after the faults: {reason}\n{}",
                self.report()
            );
            self.run_until(self.now_ms + 500);
        }
        self.now_ms - from_ms
    }

    fn report(&self) -> String {
        let mut text = String::new();
        for (number, host) in self.hosts.iter().enumerate() {
            _ = writeln!(text, "host {number} at {} ms", self.now_ms - START_MS);
            text.push_str(
                &host
                    .cluster
                    .as_ref()
                    .map_or_else(String::new, |cluster| cluster.nodes_text(Form::Reply { with_tls: false })),
            );
            for line in host.log.iter().rev().take(25).rev() {
                _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}

/// The results of one or more simulations.
#[derive(Clone, Copy, Default)]
struct Outcome {
    elections: u64,
    /// The longest times of [`Rivals`], in milliseconds.
    epoch_ms: u64,
    slots_ms: u64,
}

impl Outcome {
    fn and(self, other: Outcome) -> Outcome {
        Outcome {
            elections: self.elections + other.elections,
            epoch_ms: self.epoch_ms.max(other.epoch_ms),
            slots_ms: self.slots_ms.max(other.slots_ms),
        }
    }
}

/// Runs the seeds on all cores: `REDSTART_SEED` alone, or those of `REDSTART_SEEDS`, which is `COUNT` or `FIRST+COUNT`.
/// A failure names its seed.
fn run_all(count: u64, run: impl Fn(u64) -> Outcome + Sync + std::panic::RefUnwindSafe) -> Outcome {
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("'{text}' is not a number of seeds"));
    if let Some(seed) = std::env::var("REDSTART_SEED").ok().filter(|seed| !seed.is_empty()) {
        return run(number(&seed));
    }
    let range = std::env::var("REDSTART_SEEDS").unwrap_or_else(|_| count.to_string());
    let (first, count) = range.split_once('+').unwrap_or(("0", &range));
    let (first, count) = (number(first), number(count));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let run = &run;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let seeds = (first + part..first + count).step_by(threads as usize);
                    seeds
                        .map(|seed| {
                            std::panic::catch_unwind(|| run(seed))
                                .unwrap_or_else(|_| panic!("REDSTART_SEED={seed} repeats this simulation"))
                        })
                        .fold(Outcome::default(), Outcome::and)
                })
            })
            .collect();
        let parts = parts.into_iter().map(|part| part.join().expect("every simulation of this part"));
        parts.fold(Outcome::default(), Outcome::and)
    })
}
