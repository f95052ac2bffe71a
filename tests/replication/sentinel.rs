//! Three Sentinels of Redis monitor a primary and two replicas: they replace an unreachable primary, which returns as a
//! replica.
//!
//! Sentinel is `redis-server` with another name, or with `--sentinel`. Sentinels and nodes use the addresses of proxies
//! for each other, so that the test can disconnect a node.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::nodes::Node;
use crate::support::programs::{node_packages, python_with_redis};
use crate::support::server::redis_is_valkey;
use crate::support::{Client, Launch, Random, Server, eventually, run_bounded};
use crate::{Kind, chain, field_of, until, wait_for_equality, write_much};

const NAME: &str = "mymaster";

/// A primary, two replicas, and three Sentinels.
struct Guarded {
    nodes: [Node; 3],
    sentinels: Vec<Server>,
}

impl Guarded {
    /// Starts servers of these kinds and priorities. The first one is the primary.
    fn start(servers: [(Kind, u32); 3]) -> Guarded {
        let mut seed = 0;
        let nodes = servers.map(|(kind, priority)| {
            seed += 1;
            let node = Node::start(kind, &format!("--replica-priority {priority} --repl-timeout 10"), seed);
            node.proxy.delay(Duration::from_millis(1));
            node
        });
        write_much(&mut nodes[0].client(), &mut Random::new(9), 100);
        for replica in &nodes[1..] {
            replica.follow(&nodes[0]);
            until("a replica follows", || replica.follows(nodes[0].address()));
        }
        // The first INFO of a Sentinel lists both replicas.
        until("the primary has both", || {
            let states = [nodes[0].field("slave0"), nodes[0].field("slave1")];
            states.iter().flatten().filter(|state| state.contains("state=online")).count() == 2
        });
        let config = format!(
            "sentinel monitor {NAME} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {NAME} 2000\n\
             sentinel failover-timeout {NAME} 10000\n",
            nodes[0].address()
        );
        let sentinel = |_| Launch::redis().config(&config).flags("--sentinel").start();
        let sentinels = (0..3).map(sentinel).collect();
        let guarded = Guarded { nodes, sentinels };
        for sentinel in &guarded.sentinels {
            until("a Sentinel knows all", || {
                let known = sentinel.client().run(&format!("SENTINEL MASTER {NAME}"));
                let count = |field: &str| known.field(field).text();
                count("num-slaves") == "2"
                    && count("num-other-sentinels") == "2"
                    && count("flags") == "master"
            });
        }
        guarded
    }

    /// Waits until all Sentinels have agreed on a primary other than `old`, and it has this role. Returns its index.
    fn wait_for_promotion(&self, old: usize) -> usize {
        eventually("a replica is promoted", || {
            let named = |sentinel: &Server| {
                let address = sentinel.client().run(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}"));
                address.elements()[1].text().parse().expect("a port")
            };
            let addresses: Vec<u16> = self.sentinels.iter().map(named).collect();
            let index = self.nodes.iter().position(|node| node.address() == addresses[0])?;
            let is_agreed = addresses.iter().all(|address| *address == addresses[0]);
            (is_agreed && index != old && self.nodes[index].is_primary()).then_some(index)
        })
    }

    /// Waits until a node follows the one with the index `primary` and has the same data.
    fn wait_for_replica(&self, index: usize, primary: usize) {
        until("a node follows the promoted one", || self.nodes[index].follows(self.nodes[primary].address()));
        until("the same data", || {
            let digest = |index: usize| {
                let mut client = self.nodes[index].server().try_client()?;
                Some(client.try_call(&["DEBUG", "DIGEST"]).ok()?.value.text())
            };
            digest(index).zip(digest(primary)).is_some_and(|(one, other)| one == other)
        });
    }

    /// Writes a key that both replicas acknowledge.
    fn write_safely(&self, key: &str) {
        let mut client = self.nodes[0].client();
        client.ok(&format!("SET {key} safe"));
        assert_eq!(client.run("WAIT 2 0").integer(), 2);
    }

    /// A replica takes over from the first node, which `fail` makes unreachable and `heal` reachable again.
    fn fail_over(mut self, fail: impl FnOnce(&mut Node), heal: impl FnOnce(&mut Node)) -> (Guarded, usize) {
        self.write_safely("before");
        fail(&mut self.nodes[0]);
        let promoted = self.wait_for_promotion(0);
        let other = 3 - promoted;
        self.wait_for_replica(other, promoted);
        let mut client = self.nodes[promoted].client();
        assert_eq!(client.run("GET before").text(), "safe");
        write_much(&mut client, &mut Random::new(10), 50);
        heal(&mut self.nodes[0]);
        self.wait_for_replica(0, promoted);
        self.wait_for_replica(other, promoted);
        assert_eq!(self.nodes[0].client().run("GET before").text(), "safe");
        (self, promoted)
    }
}

const SUBJECTS: [(Kind, u32); 3] = [(Kind::Subject, 100); 3];

#[test]
fn a_killed_primary_is_replaced_and_the_roles_outlive_a_restart() {
    let guarded = Guarded::start(SUBJECTS);
    let (mut guarded, promoted) = guarded.fail_over(Node::kill, Node::restart);
    // Sentinel has written the roles into the config files. Without Sentinel they do not change.
    guarded.sentinels.clear();
    let config = |node: &Node| {
        std::fs::read_to_string(node.server().directory().join("redstart.conf")).expect("a config file")
    };
    let address = guarded.nodes[promoted].address();
    for (index, node) in guarded.nodes.iter().enumerate() {
        let follows = config(node).contains(&format!("\nreplicaof 127.0.0.1 {address}\n"));
        assert_eq!(follows, index != promoted, "{}", config(node));
    }
    for node in &mut guarded.nodes {
        node.client().ok("SAVE");
        node.kill();
    }
    for node in &mut guarded.nodes {
        node.restart();
    }
    assert!(guarded.nodes[promoted].is_primary());
    assert_eq!(guarded.nodes[promoted].client().run("GET before").text(), "safe");
    for index in (0..3).filter(|index| *index != promoted) {
        guarded.wait_for_replica(index, promoted);
    }
}

#[test]
fn a_stopped_primary_is_replaced_and_drops_what_was_written_to_it_alone() {
    Guarded::start(SUBJECTS).fail_over(
        |node| node.server().signal(Signal::SIGSTOP),
        |node| node.server().signal(Signal::SIGCONT),
    );
}

#[test]
fn a_primary_that_is_cut_off_is_replaced_and_drops_what_was_written_to_it_alone() {
    let (guarded, _) = Guarded::start(SUBJECTS).fail_over(
        |node| {
            node.proxy.cut();
            node.client().ok("SET alone lost");
        },
        |node| node.proxy.heal(),
    );
    for node in &guarded.nodes {
        assert!(node.client().run("GET alone").is_null());
    }
}

#[test]
fn a_primary_that_waits_for_acknowledgements_replies_to_no_write_that_is_dropped() {
    let guarded = Guarded::start(SUBJECTS);
    for node in &guarded.nodes {
        node.client().ok("CONFIG SET min-replicas-ack-timeout 500");
        node.client().ok("CONFIG SET min-replicas-to-ack 1");
    }
    let (guarded, _) = guarded.fail_over(
        |node| {
            node.proxy.cut();
            let mut client = node.client();
            client.send(&["SET", "alone", "lost"]).expect("sent");
            assert_eq!(client.wait_closed(), b"");
        },
        |node| node.proxy.heal(),
    );
    for node in &guarded.nodes {
        assert!(node.client().run("GET alone").is_null());
    }
}

#[test]
fn a_primary_that_waits_for_acknowledgements_is_not_down_while_there_are_none() {
    let mut guarded = Guarded::start(SUBJECTS);
    guarded.nodes[0].client().ok("CONFIG SET min-replicas-to-ack 1");
    for replica in &mut guarded.nodes[1..] {
        replica.kill();
    }
    let mut client = guarded.nodes[0].client();
    client.wait_for_info("connected_slaves", |count| count == 0);
    assert!(client.run("SET k v").text().starts_with("NOREPLICAS"));
    // No write is acknowledged by enough replicas any more.
    client.ok("CONFIG SET min-replicas-to-ack 2");
    for sentinel in &guarded.sentinels {
        let mut sentinel = sentinel.client();
        until("a Sentinel finds the replicas down", || {
            let replicas = sentinel.run(&format!("SENTINEL REPLICAS {NAME}"));
            replicas.elements().iter().all(|replica| replica.field("flags").text().contains("s_down"))
        });
        let primary = sentinel.run(&format!("SENTINEL MASTER {NAME}"));
        assert_eq!(primary.field("flags").text(), "master");
    }
}

#[test]
fn a_replica_of_redis_replaces_a_killed_primary_and_is_followed() {
    let guarded = Guarded::start([(Kind::Subject, 100), (Kind::Redis, 10), (Kind::Subject, 100)]);
    let (guarded, promoted) = guarded.fail_over(Node::kill, Node::restart);
    assert_eq!(promoted, 1, "the lowest priority is preferred");
    let mut client = guarded.nodes[1].client();
    client.ok("SET written to-redis");
    wait_for_equality(&mut client, &mut guarded.nodes[0].client());
    wait_for_equality(&mut client, &mut guarded.nodes[2].client());
}

#[test]
fn clients_of_sentinel_go_on_with_the_promoted_replica() {
    let mut commands = Vec::new();
    if let Some(python) = python_with_redis() {
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replication/sentinel.py"));
        commands.push(("redis-py", command));
    }
    if let Some(packages) = node_packages("ioredis") {
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replication/sentinel.mjs"));
        command.current_dir(packages);
        commands.push(("ioredis", command));
    }
    let guarded = Guarded::start(SUBJECTS);
    let names: Vec<&str> = commands.iter().map(|(name, _)| *name).collect();
    let scripts: Vec<_> = commands
        .into_iter()
        .map(|(name, mut command)| {
            command.arg(name).args(guarded.sentinels.iter().map(|sentinel| sentinel.port().to_string()));
            std::thread::spawn(move || (name, run_bounded(command)))
        })
        .collect();
    for name in &names {
        until("a client has written", || {
            !guarded.nodes[0].client().run(&format!("GET began:{name}")).is_null()
        });
    }
    let (guarded, promoted) = guarded.fail_over(Node::kill, Node::restart);
    for script in scripts {
        let (name, (succeeded, text)) = script.join().expect("no panic");
        assert!(succeeded && text.contains("all passed"), "{name}: {text}");
    }
    for name in &names {
        let mut client = guarded.nodes[promoted].client();
        assert_eq!(client.run(&format!("GET went-on:{name}")).text(), "yes");
    }
}

/// The names of the fields of `INFO replication`.
fn field_names(client: &mut Client) -> Vec<String> {
    let text = client.run("INFO replication").text();
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn info_has_every_field_of_redis_that_sentinel_reads() {
    let servers = |kind| {
        let flags = "--replica-priority 7 --replica-announced no --replica-announce-ip 127.0.0.1 \
                     --replica-announce-port 4321";
        chain([(kind, ""), (kind, flags)])
    };
    let [(theirs, mut their_primary), (_their_replica, mut their_reader)] = servers(Kind::Redis);
    let [(ours, mut our_primary), (_our_replica, mut our_reader)] = servers(Kind::Subject);
    let compare = |theirs: &mut Client, ours: &mut Client| {
        let own = field_names(ours);
        // Fields that only Valkey has, about how it sends a snapshot.
        let is_of_redis = |name: &String| !name.starts_with("replicas_") || !redis_is_valkey();
        let names = field_names(theirs).into_iter().filter(is_of_redis);
        let lacking: Vec<_> = names.filter(|name| !own.contains(name)).collect();
        assert!(lacking.is_empty(), "{lacking:?}");
    };
    compare(&mut their_primary, &mut our_primary);
    compare(&mut their_reader, &mut our_reader);
    let text = our_primary.run("INFO replication").text();
    let replica = field_of(&text, "slave0");
    assert!(replica.starts_with("ip=127.0.0.1,port=4321,state=online,offset="), "{replica}");
    assert!(replica.contains(",lag="), "{replica}");
    let text = our_reader.run("INFO replication").text();
    for (name, value) in [
        ("role", "slave"),
        ("master_host", "127.0.0.1"),
        ("master_port", &ours.port().to_string()),
        ("slave_priority", "7"),
        ("replica_announced", "0"),
    ] {
        assert_eq!(field_of(&text, name), value, "{name}");
    }
    assert_eq!(our_reader.info("run_id").len(), 40);
    // The field with the time since the link went down exists only while the link is down.
    assert_eq!(field_of(&text, "master_link_down_since_seconds"), "");
    drop((ours, theirs, our_primary, their_primary));
    for reader in [&mut our_reader, &mut their_reader] {
        until("the link is lost", || !crate::field(reader, "master_link_down_since_seconds").is_empty());
        assert!(crate::field(reader, "master_link_down_since_seconds").parse::<i64>().is_ok_and(|s| s >= 0));
    }
    compare(&mut their_reader, &mut our_reader);
}
