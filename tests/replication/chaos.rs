//! Three nodes under writes, while links are delayed, cut and ended, nodes are killed, and replicas are promoted.
//!
//! A round begins with all links up. Then links fail, writes are sent, some of which `WAIT` acknowledges, and while more writes
//! are under way something happens. The replica with the highest offset is promoted, so what one replica has acknowledged
//! is kept, and the model knows what must be there:
//!
//! * a counter is not below what was acknowledged, and not above the `INCR`s that were sent;
//! * a list has no element twice, and all that were acknowledged, in their order;
//! * a transaction and a script have happened as a whole or not at all;
//! * in the end all nodes have the same data.
//!
//! `REDSTART_SEED` repeats a run, `REDSTART_ROUNDS` makes it longer.

use std::time::Duration;

use crate::nodes::Node;
use crate::proxy::Proxy;
use crate::support::random::seeds;
use crate::support::{Client, Random, Server, Value};
use crate::{Kind, field, until, wait_for_equality};

const NODES: usize = 3;

/// How a unit of a write changes a counter and a list with the same number of changes.
const UNITS: [&str; 3] = ["single", "multi", "script"];

/// What was written.
#[derive(Default)]
struct Model {
    /// The number of units of each kind that were sent. The numbers of a list's elements are below it.
    sent: [usize; UNITS.len()],
    /// Those of them that a promoted replica has, in the order of the list.
    safe: [Vec<usize>; UNITS.len()],
}

struct Chaos {
    random: Random,
    nodes: [Node; NODES],
    /// How a node reaches another one, by their indexes.
    links: [[Proxy; NODES]; NODES],
    primary: usize,
    model: Model,
}

impl Chaos {
    fn start(seed: u64) -> Chaos {
        let mut random = Random::new(seed);
        let persistence: [&str; 3] = ["", "--appendonly yes", "--appendonly yes --aof-use-rdb-preamble no"];
        let nodes: [Node; NODES] = std::array::from_fn(|index| {
            let flags: &&str = random.pick(&persistence);
            Node::start(Kind::Subject, flags, seed + index as u64)
        });
        let links = std::array::from_fn(|_| {
            std::array::from_fn(|to| Proxy::new(nodes[to].server().port(), random.next()))
        });
        Chaos { random, nodes, links, primary: 0, model: Model::default() }
    }

    fn replicas(&self) -> [usize; NODES - 1] {
        std::array::from_fn(|n| (self.primary + 1 + n) % NODES)
    }

    /// Makes a node follow the primary.
    fn follow(&self, index: usize) {
        let port = self.links[index][self.primary].port();
        // Its configuration file may have told it already.
        let reply = self.nodes[index].client().run(&format!("REPLICAOF 127.0.0.1 {port}"));
        assert!(reply.text().starts_with("OK"), "{reply:?}");
    }

    /// Repairs all links, and waits until they are up.
    fn heal(&self) {
        for link in self.links.iter().flatten() {
            link.delay(Duration::ZERO);
            link.heal();
        }
        for index in self.replicas() {
            let port = self.links[index][self.primary].port();
            until("a link is up", || self.nodes[index].follows(port));
        }
    }

    fn damage_links(&mut self) {
        for index in self.replicas() {
            let link = &self.links[index][self.primary];
            match self.random.below(5) {
                0 => link.cut(),
                1 => link.delay(Duration::from_millis(20)),
                2 => link.end_connections(),
                _ => {}
            }
        }
    }

    /// Sends units to the primary, whose replies are not read. Returns how many replies there are to be.
    fn send_units(&mut self, client: &mut Client) -> usize {
        let mut replies = 0;
        for _ in 0..self.random.below(60) {
            let unit = self.random.below(UNITS.len());
            let name = UNITS[unit];
            let number = self.model.sent[unit].to_string();
            let (counter, list) = (format!("{name}:counter"), format!("{name}:list"));
            self.model.sent[unit] += 1;
            let expiring = format!("expiring:{}", self.random.below(20));
            let milliseconds = (1 + self.random.below(50)).to_string();
            let script = "redis.call('INCR', KEYS[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])";
            let requests: Vec<Vec<&str>> = match name {
                "multi" => {
                    vec![vec!["MULTI"], vec!["INCR", &counter], vec!["RPUSH", &list, &number], vec!["EXEC"]]
                }
                "script" => vec![vec!["EVAL", script, "2", &counter, &list, &number]],
                _ => vec![
                    vec!["INCR", &counter],
                    vec!["SET", &expiring, &number, "PX", &milliseconds],
                    vec!["RPUSH", &list, &number],
                ],
            };
            for request in requests {
                // A primary that was killed takes nothing.
                let _ = client.send(&request);
                replies += 1;
            }
        }
        replies
    }

    /// Writes, and takes note of what a replica acknowledges.
    fn write_and_wait(&mut self, client: &mut Client) {
        for _ in 0..self.send_units(client) {
            let reply = client.read_reply().expect("a reply").value;
            assert!(!reply.is_error(), "{reply:?}");
        }
        if client.run("WAIT 1 100").integer() >= 1 {
            for (safe, name) in self.model.safe.iter_mut().zip(UNITS) {
                *safe = numbers(client, name);
            }
        }
    }

    /// One round: see the module's head.
    fn round(&mut self) {
        self.heal();
        self.damage_links();
        let mut client = self.nodes[self.primary].client();
        self.write_and_wait(&mut client);
        self.send_units(&mut client);
        match self.random.below(6) {
            0 => self.restart_replica(),
            1 => self.promote(),
            2 | 3 => self.replace_killed_primary(),
            4 => self.damage_links(),
            _ => {}
        }
    }

    fn restart_replica(&mut self) {
        let index = *self.random.pick(&self.replicas());
        self.restart(index);
        self.follow(index);
    }

    /// The primary is killed, and comes back as a replica.
    fn replace_killed_primary(&mut self) {
        let old = self.primary;
        self.nodes[old].kill();
        self.promote_best();
        self.restart(old);
        self.follow(old);
    }

    /// A replica is promoted, and the primary follows it.
    fn promote(&mut self) {
        let old = self.primary;
        self.promote_best();
        self.follow(old);
    }

    /// Promotes the replica with the highest offset; the other one follows it.
    fn promote_best(&mut self) {
        let replicas = self.replicas();
        let offset = |index: &usize| {
            let text = field(&mut self.nodes[*index].client(), "master_repl_offset");
            text.parse::<i64>().expect("an offset")
        };
        let best = *replicas.iter().max_by_key(|index| offset(index)).expect("there are two");
        self.nodes[best].client().ok("REPLICAOF NO ONE");
        self.primary = best;
        for index in replicas.into_iter().filter(|index| *index != best) {
            self.follow(index);
        }
    }

    /// Kills a node and starts it again, perhaps with a snapshot and the role that it had.
    fn restart(&mut self, index: usize) {
        if self.random.chance(2)
            && let Some(mut client) = self.nodes[index].running().and_then(Server::try_client)
        {
            let _ = client.try_call(&["CONFIG", "REWRITE"]);
            let _ = client.try_call(&["SAVE"]);
        }
        self.nodes[index].kill();
        self.nodes[index].restart();
        self.nodes[index].client().wait_for_info("loading", |loading| loading == 0);
        let port = self.nodes[index].server().port();
        for from in &self.links {
            from[index].set_target(port);
        }
    }

    fn check(&mut self) {
        self.heal();
        let mut client = self.nodes[self.primary].client();
        for ((name, sent), safe) in UNITS.iter().zip(self.model.sent).zip(&self.model.safe) {
            let list = numbers(&mut client, name);
            let counter = client.run(&format!("GET {name}:counter"));
            let count = if counter.is_null() { 0 } else { counter.text().parse().expect("a counter") };
            assert!(
                (safe.len()..=sent).contains(&count),
                "{name}: {} safe, {count}, {sent} sent",
                safe.len()
            );
            assert_eq!(list[..safe.len()], safe[..], "{name}: what was acknowledged");
            assert!(list.is_sorted_by(|a, b| a < b), "{name}: nothing is there twice: {list:?}");
            assert!(list.last().is_none_or(|last| *last < sent), "{name}: {list:?}");
            if *name != "single" {
                assert_eq!(list.len(), count, "{name}: a part of a unit");
            }
        }
        for index in self.replicas() {
            wait_for_equality(&mut client, &mut self.nodes[index].client());
        }
    }
}

/// The list of a kind of unit.
fn numbers(client: &mut Client, name: &str) -> Vec<usize> {
    let Value::Array(all) = client.run(&format!("LRANGE {name}:list 0 -1")) else { panic!("a list") };
    all.iter().map(|number| number.text().parse().expect("a number")).collect()
}

/// The rounds of a run.
fn rounds() -> usize {
    std::env::var("REDSTART_ROUNDS").map_or(100, |text| text.parse().expect("REDSTART_ROUNDS is a number"))
}

fn run(fixed: u64) {
    for seed in seeds(&[fixed]) {
        println!("REDSTART_SEED={seed} repeats this run");
        let mut chaos = Chaos::start(seed);
        for index in chaos.replicas() {
            chaos.follow(index);
        }
        for round in 0..rounds() {
            println!("round {round}");
            chaos.round();
            if round % 4 == 3 {
                chaos.check();
            }
        }
        chaos.check();
        assert!(chaos.model.sent.iter().all(|sent| *sent > 0), "it has tested something");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    run(1);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice_in_another_run() {
    run(2);
}
