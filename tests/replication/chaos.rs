//! Three nodes under writes, while links are delayed, cut, ended and reset, disks are full, nodes are killed and started
//! again, and replicas are promoted.
//!
//! A round begins with all links up: both replicas follow the primary, or one follows the other. Then links and disks fail,
//! units are written, some of which `WAIT` acknowledges, and while more of them are under way something happens. The replica
//! with the highest offset is promoted, so what one replica has acknowledged is kept. [`crate::load`] knows what must be
//! there, and after healing all nodes have the same data.
//!
//! `REDSTART_SEED` repeats a run, `REDSTART_ROUNDS` makes it longer.

use std::time::Duration;

use crate::load::{self, Load};
use crate::nodes::Node;
use crate::support::random::seeds;
use crate::support::{Client, Random, Server};
use crate::trio::{NODES, Trio};
use crate::{Kind, until, wait_for_equality};

/// What a run has, besides links that fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Plain,
    /// One of the nodes is Redis.
    WithRedis,
    /// Disks that are full or fail.
    WithDisks,
}

/// How a server may keep its data. Commands of the last one end it if the disk is full.
const PERSISTENCE: [&str; 5] = [
    "",
    "",
    "--appendonly yes",
    "--appendonly yes --aof-use-rdb-preamble no",
    "--appendonly yes --appendfsync always",
];

const SYNCHRONIZATION: [&str; 4] = [
    "",
    "--repl-backlog-size 16kb",
    "--repl-diskless-sync no",
    "--repl-diskless-sync no --repl-backlog-size 16kb",
];

/// What is refused while a disk is full.
const FULL: [&str; 2] = ["MISCONF", "EXECABORT"];

/// Why a server with a full disk may exit: it cannot acknowledge, or is a replica that cannot refuse.
const REASONS: [&str; 3] = [
    "Can't persist AOF for fsync error when the AOF fsync policy is 'always'",
    "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...",
    "Replica was unable to write command to disk. Writing the AOF fails.",
];

struct Chaos {
    random: Random,
    trio: Trio,
    load: Load,
    setting: Setting,
    /// The node that is Redis.
    redis: Option<usize>,
    /// Nodes whose disk has failed in this round.
    broken: [bool; NODES],
}

impl Chaos {
    fn start(setting: Setting, seed: u64) -> Chaos {
        let mut random = Random::new(seed);
        let redis = (setting == Setting::WithRedis).then(|| random.below(NODES));
        let nodes: [Node; NODES] = std::array::from_fn(|index| {
            let flags = format!("{} {}", random.pick(&PERSISTENCE), random.pick(&SYNCHRONIZATION));
            println!("node {index}: {flags}");
            let seed = seed + index as u64;
            match setting {
                Setting::WithRedis if redis == Some(index) => Node::start(Kind::Redis, &flags, seed),
                // A Redis 7.0 that is killed with a snapshot of a later version does not start.
                Setting::WithRedis => {
                    Node::start(Kind::Subject, &format!("{flags} --rdb-write-version 10"), seed)
                }
                Setting::WithDisks => Node::start_on_faulty_disk(Kind::Subject, &flags, seed),
                Setting::Plain => Node::start(Kind::Subject, &flags, seed),
            }
        });
        load::prepare(&mut nodes[0].client());
        let mut trio = Trio::new(nodes, &mut random);
        for index in trio.replicas() {
            trio.follow(index, 0);
        }
        let load = Load::new(setting != Setting::WithRedis);
        Chaos { random, trio, load, setting, redis, broken: [false; NODES] }
    }

    /// Repairs all links and disks, starts nodes that a full disk has ended, and waits until the replicas have everything.
    fn heal(&mut self) {
        for node in &self.trio.nodes {
            node.repair_disk();
        }
        // A node may end some time after its disk has failed.
        until("the disks take the logs", || {
            (0..NODES).for_each(|index| self.revive(index));
            self.trio.nodes.iter().all(|node| node.info("aof_last_write_status").is_some_and(|s| s == "ok"))
        });
        self.trio.heal_links();
        self.trio.wait_until_synchronized();
        self.broken = [false; NODES];
    }

    /// Starts a node that has ended by itself because of its disk. One that was the primary is replaced.
    fn revive(&mut self, index: usize) {
        let Some(log) = self.trio.nodes[index].exited() else { return };
        let has_reason =
            REASONS.iter().any(|reason| log.lines().rev().take(3).any(|line| line.contains(reason)));
        assert!(self.broken[index] && has_reason, "node {index} has ended:\n{log}");
        println!("  node {index} has ended");
        self.trio.nodes[index].kill();
        // A server does not start on a disk that fails.
        self.trio.nodes[index].repair_disk();
        if index == self.trio.primary {
            self.trio.promote_best();
        }
        self.trio.restart(index);
        self.trio.follow(index, self.trio.primary);
    }

    /// Changes who follows whom: both replicas the primary, or one of them the other.
    fn arrange(&mut self) {
        let [one, other] = self.trio.replicas();
        let (middle, last) = if self.random.chance(2) { (one, other) } else { (other, one) };
        self.trio.follow(middle, self.trio.primary);
        let upstream = if self.random.chance(3) { middle } else { self.trio.primary };
        self.trio.follow(last, upstream);
        self.trio.wait_until_synchronized();
    }

    fn damage_links(&mut self) {
        for index in self.trio.replicas() {
            let link = self.trio.link(index);
            let what = self.random.below(9);
            println!("  link of {index}: damage {what}");
            match what {
                0 => link.cut(),
                1 => link.delay(Duration::from_millis(20)),
                2 => link.end_connections(),
                3 => link.reset_connections(),
                4 => link.reset_after(self.random.below(2000)),
                5 => {
                    // In the midst of a snapshot.
                    link.reset_connections();
                    link.reset_after(self.random.below(200_000));
                }
                _ => {}
            }
        }
    }

    fn damage_disks(&mut self) {
        if self.setting != Setting::WithDisks || self.random.chance(2) {
            return;
        }
        let index = self.random.below(NODES);
        let bytes = self.random.below(100_000);
        let rules = match self.random.below(6) {
            0 | 1 => format!("write * 1 quota:{bytes}"),
            2 => format!("write .rdb 1 quota:{bytes}"),
            3 => "open temp- 1+ fail:28".to_string(),
            4 => "rename * 1+ fail:28\nopen * 1+ fail:28".to_string(),
            _ => "sync * 1+ fail:5".to_string(),
        };
        println!("  disk of {index}: {rules:?}");
        self.broken[index] |= self.trio.nodes[index].break_disk(&rules);
    }

    /// The errors that a node may reply with.
    fn allowed(&self) -> &'static [&'static str] {
        if self.broken[self.trio.primary] { &FULL } else { &[] }
    }

    /// One round: see the module's head.
    fn round(&mut self) {
        self.heal();
        if self.random.chance(3) {
            self.arrange();
        }
        self.damage_links();
        self.damage_disks();
        let old = self.trio.primary;
        let server = self.trio.nodes[old].server();
        let clients = server.try_client().zip(server.try_client());
        let allowed = self.allowed();
        let written = clients.and_then(|(mut consumer, mut client)| {
            load::start_consumer(&mut consumer);
            self.load.write_and_wait(&mut client, &mut self.random, allowed).ok()?;
            Some((consumer, client))
        });
        let Some((_consumer, mut client)) = written else {
            until("the primary ends", || self.trio.nodes[old].exited().is_some());
            return self.revive(old);
        };
        let count = self.load.send(&mut client, &mut self.random, 60);
        self.happen();
        // What is still under way must not be executed in the next round.
        self.trio.heal_links();
        let allowed = [&FULL[..], &["READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN"]].concat();
        let _ = self.load.read_replies(&mut client, count, &allowed);
    }

    fn happen(&mut self) {
        let event = self.random.below(12);
        println!("  event {event}");
        if (2..5).contains(&event) && self.broken.contains(&true) {
            // If the primary is lost, too, what only this replica has acknowledged is lost.
            self.heal();
        }
        match event {
            0 | 1 => self.restart_replica(),
            2 => self.promote(),
            3 | 4 => self.replace_killed_primary(),
            5 => self.damage_links(),
            6 | 7 => self.fail_over(),
            8 => self.restart_primary(),
            9 | 10 => self.begin_job(),
            _ => {}
        }
    }

    fn restart_replica(&mut self) {
        let index = *self.random.pick(&self.trio.replicas());
        let upstream = self.trio.upstream(index).expect("a replica");
        self.restart(index);
        self.trio.follow(index, upstream);
    }

    /// The primary is killed, and comes back as a replica.
    fn replace_killed_primary(&mut self) {
        let old = self.trio.primary;
        self.trio.nodes[old].kill();
        self.trio.promote_best();
        self.restart(old);
        self.trio.follow(old, self.trio.primary);
    }

    /// A replica is promoted, and the primary follows it.
    fn promote(&mut self) {
        let old = self.trio.primary;
        self.trio.promote_best();
        self.trio.follow(old, self.trio.primary);
    }

    /// The primary is killed, and comes back as the primary with what its log has: all that it has replied to.
    fn restart_primary(&mut self) {
        let index = self.trio.primary;
        if self.broken[index] {
            return;
        }
        let mut client = self.trio.nodes[index].client();
        let has = |client: &mut Client, name: &str, value: &str| client.info(name) == value;
        let is_logged = has(&mut client, "aof_enabled", "1")
            && has(&mut client, "aof_rewrite_in_progress", "0")
            && has(&mut client, "aof_rewrite_scheduled", "0")
            && has(&mut client, "aof_last_bgrewrite_status", "ok");
        if is_logged {
            println!("  the primary is restarted");
            // The log may have been switched on after the start.
            client.ok("CONFIG REWRITE");
            self.trio.nodes[index].kill();
            self.trio.restart(index);
            // Its configuration file may say that it was a replica.
            self.trio.nodes[index].client().ok("REPLICAOF NO ONE");
        }
    }

    /// A planned failover, which the links may abort.
    fn fail_over(&mut self) {
        let old = self.trio.primary;
        let reply = self.trio.nodes[old].try_run("FAILOVER TIMEOUT 200").map(|reply| reply.text());
        println!("  FAILOVER: {reply:?}");
        if reply.is_none_or(|reply| reply != "OK") {
            return;
        }
        if self.random.chance(2) {
            self.damage_links();
        }
        let has_ended = |node: &Node| node.field("master_failover_state").is_some_and(|s| s == "no-failover");
        self.trio.heal_links();
        until("the failover ends", || {
            self.trio.nodes[old].exited().is_some() || has_ended(&self.trio.nodes[old])
        });
        let replicas = self.trio.replicas();
        if let Some(new) = replicas.into_iter().find(|index| self.trio.nodes[*index].is_primary()) {
            self.trio.has_promoted(new);
            for index in self.trio.replicas() {
                self.trio.follow(index, new);
            }
        }
    }

    /// A child is forked, or the log is begun or ended.
    fn begin_job(&mut self) {
        let index = self.random.below(NODES);
        let job = *self.random.pick(&[
            "BGSAVE",
            "BGREWRITEAOF",
            "CONFIG SET appendonly yes",
            "CONFIG SET appendonly no",
            "DEBUG RELOAD",
        ]);
        // Redis as a primary drops the expired keys of the snapshot, but does not propagate that.
        if job == "DEBUG RELOAD" && index == self.trio.primary && self.redis == Some(index) {
            return;
        }
        // It may be refused, since another one runs, or the disk is full.
        println!("  {job} on {index}: {:?}", self.trio.nodes[index].try_run(job));
    }

    /// Ends a node and starts it again, perhaps with a snapshot and the role that it had.
    fn restart(&mut self, index: usize) {
        let node = &mut self.trio.nodes[index];
        match self.random.below(4) {
            0 => node.shut_down("SAVE"),
            1 => node.shut_down("NOSAVE"),
            2 => {
                if let Some(mut client) = node.running().and_then(Server::try_client) {
                    let _ = client.try_call(&["CONFIG", "REWRITE"]);
                    let _ = client.try_call(&["SAVE"]);
                }
            }
            _ => {}
        }
        node.kill();
        node.repair_disk();
        self.trio.restart(index);
    }

    fn check(&mut self) {
        self.heal();
        let mut client = self.trio.nodes[self.trio.primary].client();
        self.load.check(&mut client);
        for index in self.trio.replicas() {
            wait_for_equality(&mut client, &mut self.trio.nodes[index].client());
            self.load.check(&mut self.trio.nodes[index].client());
        }
    }
}

/// The rounds of a run.
fn rounds() -> usize {
    std::env::var("REDSTART_ROUNDS").map_or(60, |text| text.parse().expect("REDSTART_ROUNDS is a number"))
}

fn run(setting: Setting, fixed: &[u64]) {
    for seed in seeds(fixed) {
        println!("REDSTART_SEED={seed} repeats this run");
        let mut chaos = Chaos::start(setting, seed);
        for round in 0..rounds() {
            println!("round {round}: the primary is {}", chaos.trio.primary);
            chaos.round();
            if round % 4 == 3 {
                chaos.check();
            }
        }
        chaos.check();
        assert!(chaos.load.sent.iter().all(|sent| *sent > 0), "it has tested something");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    run(Setting::Plain, &[1, 2]);
}

#[test]
fn nothing_acknowledged_is_lost_beside_redis() {
    run(Setting::WithRedis, &[1, 2]);
}

#[test]
fn nothing_acknowledged_is_lost_when_disks_are_full() {
    run(Setting::WithDisks, &[1, 2]);
}
