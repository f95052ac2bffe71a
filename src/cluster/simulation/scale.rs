//! Measures large clusters: the time until all nodes agree on a failure, the traffic of the bus, and CPU time per node.
//!
//! Half of the nodes are primaries, each with a replica. After a warm-up the traffic is counted; then a primary loses
//! its power. `make scale` runs it with the sizes of docs/cluster.md, a test run with small ones. The results are
//! compared with the specification of Redis Cluster ("Heartbeat and gossip messages", "Failure detection"): each node
//! pings every other one once in an interval, a gossip section has entries about a tenth of the nodes, and the nodes
//! agree on a failure within a node timeout and a few messages.

use super::*;
use crate::cluster::message::{ENTRY, HEADER};

/// The CPU time of this thread in milliseconds, including the simulator; 0 where the system does not report it.
fn thread_cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

/// The number of nodes and the directives of a measurement.
#[derive(Clone, Copy)]
struct Shape {
    nodes: usize,
    ping_interval_ms: u64,
    /// For how long the traffic is measured.
    measured_ms: u64,
}

/// Per-second figures of a node, and the milliseconds from the power loss to each stage.
struct Figures {
    packets: f64,
    bytes: f64,
    cpu_ms: f64,
    first_fail_ms: u64,
    all_fail_ms: u64,
    new_owner_ms: u64,
}

impl Shape {
    /// The bytes that a node sends in a second by the specification: a `PING` to each other node in an interval, one to
    /// a random node each second, and as many `PONG`s; each with the header, a tenth of the nodes, and the shard ID.
    fn formula(self) -> f64 {
        let others = self.nodes as f64 - 1.0;
        let pings = others * 1000.0 / self.ping_interval_ms as f64 + 1.0;
        let entries = (self.nodes / 10).max(3).min(self.nodes - 2);
        pings * 2.0 * (HEADER + entries * ENTRY + 48) as f64
    }

    fn measure(self) -> Figures {
        let settings = Settings { ping_interval_ms: self.ping_interval_ms, ..Settings::default() };
        let primaries = if self.nodes < 6 { self.nodes } else { self.nodes / 2 };
        let mut world = World::new(1, primaries, self.nodes, &settings);
        world.is_large = true;
        world.run_until(START_MS + self.ping_interval_ms + 3000);
        assert!(world.hosts.iter().all(|host| host.cluster.as_ref().is_some_and(Cluster::is_ok)));
        let (packets, bytes) = (world.packets, world.bytes);
        let begin_ms = thread_cpu_ms();
        world.run_until(world.now_ms + self.measured_ms);
        let node_seconds = self.nodes as f64 * self.measured_ms as f64 / 1000.0;
        let (packets, bytes) = ((world.packets - packets) as f64, (world.bytes - bytes) as f64);
        let cpu_ms = (thread_cpu_ms() - begin_ms) / node_seconds;
        let [first_fail_ms, all_fail_ms, new_owner_ms] = world.fail(0);
        Figures {
            packets: packets / node_seconds,
            bytes: bytes / node_seconds,
            cpu_ms,
            first_fail_ms,
            all_fail_ms,
            new_owner_ms,
        }
    }
}

impl World {
    /// Cuts the power of a primary. Returns after how many milliseconds the first node and all nodes flag it as failed,
    /// and all know the new owner of its slots (0 if it has no replica).
    fn fail(&mut self, host: usize) -> [u64; 3] {
        let me = self.hosts[host].cluster.as_ref().expect("it runs").myself();
        let (id, slot) = (me.id, me.slots.iter().next().expect("a slot"));
        let has_replica = self.primaries < self.hosts.len();
        self.stop(host, false);
        let from_ms = self.now_ms;
        let mut times_ms = [0; 3];
        while times_ms[1] == 0 || (has_replica && times_ms[2] == 0) {
            self.run_until(self.now_ms + 50);
            let took_ms = self.now_ms - from_ms;
            assert!(took_ms < 4 * Settings::default().node_timeout_ms, "the nodes do not agree");
            let views: Vec<&Cluster> = self.hosts.iter().filter_map(|host| host.cluster.as_ref()).collect();
            let knows = |view: &&&Cluster| view.nodes().any(|(_, node)| node.id == id && node.is_failed());
            let failed = views.iter().filter(knows).count();
            let moved = views.iter().all(|view| view.owner(slot).is_some_and(|owner| owner.id != id));
            for (time_ms, is_reached) in times_ms.iter_mut().zip([failed > 0, failed == views.len(), moved]) {
                if *time_ms == 0 && is_reached {
                    *time_ms = took_ms;
                }
            }
        }
        times_ms
    }
}

#[test]
fn all_nodes_agree_on_a_failure_soon_after_the_node_timeout_and_the_traffic_is_that_of_the_specification() {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("'{text}' is not a number"));
    // Words like 300 or 1000/7500: the nodes, and the interval of the PINGs in milliseconds.
    let shapes = std::env::var("REDSTART_NODES").unwrap_or_else(|_| "3 12".into());
    println!("nodes interval  packets/s  bytes/s  formula  CPU ms/s  first FAIL  all  new owner (ms)");
    for word in shapes.split_whitespace() {
        let (nodes, interval) = word.split_once('/').unwrap_or((word, "1000"));
        let nodes = number(nodes);
        // Whole intervals, because nodes that started together send their PINGs at the same time.
        let ping_interval_ms = number(interval) as u64;
        let measured_ms = 10_000_u64.next_multiple_of(ping_interval_ms);
        let shape = Shape { nodes, ping_interval_ms, measured_ms };
        let (figures, formula) = (shape.measure(), shape.formula());
        let Figures { packets, bytes, cpu_ms, first_fail_ms, all_fail_ms, new_owner_ms } = figures;
        println!(
            "{nodes:5} {interval:>8}  {packets:9.1} {bytes:8.0} {formula:8.0} {cpu_ms:9.3} {first_fail_ms:11} \
             {all_fail_ms:4} {new_owner_ms:10}"
        );
        let timeout_ms = Settings::default().node_timeout_ms;
        assert!(bytes <= formula * 1.1, "more traffic than the specification has");
        // A node learns the time of the last PONG from others, so it may send the next PING a whole interval later.
        assert!(all_fail_ms <= ping_interval_ms + timeout_ms * 5 / 4, "the nodes agree late");
    }
}
