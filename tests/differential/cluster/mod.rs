//! The replies of cluster nodes beside those of Redis's nodes in a cluster of the same form.
//!
//! ```text
//!   node 0: slots 0 to 8191   ◀── node 2, its replica      of Redstart ─┐  the same commands to one of them,
//!   node 1: the other slots                                of Redis ────┴▶ and the same replies
//! ```
//!
//! In each [`Scene`] the node gets random commands, the script `every_scene.txt`, and in some scenes a script of its
//! own, which ends with the subcommands that change the cluster. Scripts name nodes by `<id0>`, `<port0>` and `<bus0>`;
//! [`topology`](crate::topology) defines which parts of the replies are compared. `b` and `f` are keys of node 0 in the
//! slots 3300 and 3168, `foo` and `a` are keys of node 1 in the slots 12182 and 15495.

pub mod random;

use crate::nodes::{Kind, NEVER, Node, form, until};
use crate::pair::{Pace, Pair, Seen, Step, Verdict, shrink};
use crate::random::state;
use crate::script;
use crate::support::random::seeds;
use crate::support::{Client, Version};
use crate::topology::{Name, Names};
use std::sync::Mutex;
use std::thread;

/// The state of the node that gets the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Knows no other node, and has no slots.
    Fresh,
    /// Has all slots.
    Alone,
    /// Has the slots of node 0. The other slots have no owner.
    Half,
    /// The same with `cluster-allow-reads-when-down yes`.
    HalfReading,
    /// The same with `cluster-require-full-coverage no`.
    HalfServing,
    /// Node 0.
    Primary,
    /// Node 0, while `f`'s slot migrates to node 1, and `foo`'s slot is imported from there.
    Moving,
    /// Node 2.
    Replica,
    /// Node 0, after node 1 has been killed.
    Minority,
}

pub const SCENES: [Scene; 9] = [
    Scene::Fresh,
    Scene::Alone,
    Scene::Half,
    Scene::HalfReading,
    Scene::HalfServing,
    Scene::Primary,
    Scene::Moving,
    Scene::Replica,
    Scene::Minority,
];

/// The scripts: the scenes in which they run, their names and texts.
const SCRIPTS: &[(&[Scene], &str, &str)] = &[
    (&SCENES, "every_scene.txt", include_str!("every_scene.txt")),
    (&[Scene::Fresh], "fresh.txt", include_str!("fresh.txt")),
    (&[Scene::Alone], "alone.txt", include_str!("alone.txt")),
    (&[Scene::Primary], "primary.txt", include_str!("primary.txt")),
    (&[Scene::Moving], "moving.txt", include_str!("moving.txt")),
    (&[Scene::Replica], "replica.txt", include_str!("replica.txt")),
];

/// Intended differences: the scenes, the first words of the command, and the reason.
pub const REVIEWED: &[(&[Scene], &str, &str)] = &[
    (
        &[Scene::Fresh],
        "CONFIG SET cluster-announce-human-nodename xxx",
        "a node name has at most 255 bytes, as a hostname",
    ),
    (HALVES, "ZUNIONSTORE", DESTINATION),
    (HALVES, "ZINTERSTORE", DESTINATION),
    (HALVES, "ZDIFFSTORE", DESTINATION),
    (&[Scene::HalfReading], "XREAD BLOCK", WAITING),
    (&[Scene::HalfReading], "XREAD COUNT", WAITING),
    (&[Scene::Minority], "CLUSTER LINKS", "links to a node that is down are closed and opened repeatedly"),
];

const HALVES: &[Scene] = &[Scene::Half, Scene::HalfReading, Scene::HalfServing];

const DESTINATION: &str = "if several slots have no owner, the first key in such a slot decides the error; Redis \
                           checks the destination key last, Redstart first";

const WAITING: &str = "a client that may read while the cluster is down may also block; Redis unblocks it with an \
                       error at the next run of its timer";

/// The data of the nodes that have `b`'s and `f`'s slots.
const DATA: &[&str] = &[
    "SET b 1",
    "SET f 2",
    "RPUSH {b}list a b c",
    "SADD {b}set a b c",
    "HSET {b}hash f v g w",
    "ZADD {b}zset 1 a 2 b",
    "XADD {b}stream 1-1 f v",
    "SET {f}here 1",
];

impl Scene {
    /// Its description in the report.
    pub fn title(self) -> &'static str {
        match self {
            Scene::Fresh => "node without slots that knows no other",
            Scene::Alone => "node with all slots",
            Scene::Half => "node with half of the slots, nobody has the others",
            Scene::HalfReading => "node with half of the slots, `cluster-allow-reads-when-down yes`",
            Scene::HalfServing => "node with half of the slots, `cluster-require-full-coverage no`",
            Scene::Primary => "primary of a cluster, with a replica",
            Scene::Moving => "primary of a cluster while a slot leaves and another arrives",
            Scene::Replica => "replica of a cluster",
            Scene::Minority => "primary of a cluster without its majority",
        }
    }

    /// The number of nodes.
    fn nodes(self) -> usize {
        match self {
            Scene::Primary | Scene::Moving | Scene::Replica | Scene::Minority => 3,
            _ => 1,
        }
    }

    /// The node that gets the commands.
    fn subject(self) -> usize {
        if self == Scene::Replica { 2 } else { 0 }
    }

    /// The commands that bring a single node into the state of the scene.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Scene::Fresh | Scene::Primary | Scene::Moving | Scene::Replica | Scene::Minority => &[],
            Scene::Alone => &["CLUSTER ADDSLOTSRANGE 0 16383"],
            Scene::Half => &["CLUSTER ADDSLOTSRANGE 0 8191"],
            Scene::HalfReading => {
                &["CLUSTER ADDSLOTSRANGE 0 8191", "CONFIG SET cluster-allow-reads-when-down yes"]
            }
            Scene::HalfServing => {
                &["CLUSTER ADDSLOTSRANGE 0 8191", "CONFIG SET cluster-require-full-coverage no"]
            }
        }
    }

    /// Whether the node reports `cluster_state:ok`.
    fn is_ok(self) -> bool {
        !matches!(self, Scene::Fresh | Scene::Half | Scene::HalfReading | Scene::Minority)
    }

    /// Whether the node executes writes to its slots.
    fn may_write(self) -> bool {
        self.is_ok() && self != Scene::Replica
    }
}

/// The nodes of one side.
struct Side {
    nodes: Vec<Node>,
    names: Names,
}

impl Side {
    fn start(scene: Scene, kind: Kind) -> Side {
        let mut nodes: Vec<Node> = (0..scene.nodes()).map(|_| Node::start(kind, NEVER)).collect();
        for node in &nodes {
            node.client().ok("DEBUG SET-ACTIVE-EXPIRE 0");
        }
        if nodes.len() > 1 {
            form(2, &nodes);
        }
        let has_shards = Version::of(&mut nodes[0].client()) >= Version::new(7, 2);
        let name = |node: &Node| Name {
            id: node.id(),
            shard: if has_shards { node.run("CLUSTER MYSHARDID").text() } else { String::new() },
            port: node.port(),
            bus_port: node.bus_port,
        };
        let names = Names(nodes.iter().map(name).collect());
        let mut client = nodes[0].client();
        if nodes.len() == 1 {
            // A Redis primary updates the state of its cluster only after its first two seconds.
            client.ok("CLUSTER ADDSLOTSRANGE 0 16383");
            until("the first seconds", || nodes[0].info("cluster_state") == "ok");
            client.ok("CLUSTER FLUSHSLOTS");
            client.ok("CLUSTER RESET");
        }
        scene.settings().iter().for_each(|line| client.ok(line));
        if scene.is_ok() {
            until("the state of the cluster is ok", || nodes[0].info("cluster_state") == "ok");
            write_data(&mut client, &names, scene);
        }
        if nodes.len() > 1 {
            let wanted = client.info_number("master_repl_offset");
            until("the stream", || nodes[2].client().info_number("slave_repl_offset") >= wanted);
        }
        if scene == Scene::Minority {
            client.ok("CONFIG SET cluster-node-timeout 500");
            nodes[1].kill();
            until("the failure", || nodes[0].info("cluster_state") == "fail");
            // With the original timeout, the node would no longer be suspected.
            until("the suspicion", || nodes[0].info("cluster_slots_pfail") != "0");
        }
        Side { nodes, names }
    }
}

/// Writes the data again. In [`Scene::Moving`], the slots migrate afterwards.
fn write_data(client: &mut Client, names: &Names, scene: Scene) {
    let mut run = |line: &str| {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let reply = client.call(&names.request(&words));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    };
    if scene == Scene::Moving {
        run("CLUSTER SETSLOT 3168 STABLE");
        run("CLUSTER SETSLOT 12182 STABLE");
    }
    ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"].into_iter().chain(DATA.iter().copied()).for_each(&mut run);
    if scene == Scene::Moving {
        run("CLUSTER SETSLOT 3168 MIGRATING <id1>");
        run("CLUSTER SETSLOT 12182 IMPORTING <id1>");
    }
}

/// Both sides. The two nodes that get the commands form a pair.
pub struct Cast {
    scene: Scene,
    pub pair: Pair,
    /// The other nodes.
    _others: Vec<Node>,
}

impl Cast {
    pub fn start(scene: Scene) -> Cast {
        let mut others = Vec::new();
        let sides = thread::scope(|scope| {
            let sides =
                [Kind::Subject, Kind::Redis].map(|kind| scope.spawn(move || Side::start(scene, kind)));
            sides.map(|side| side.join().expect("a cluster"))
        });
        let [(subject, ours), (redis, theirs)] = sides.map(|mut side| {
            let node = side.nodes.remove(scene.subject());
            others.extend(side.nodes);
            (node.into_server(), side.names)
        });
        let mut pair = Pair::of(subject, redis);
        pair.names = [ours, theirs];
        Cast { scene, pair, _others: others }
    }

    /// Removes the data of earlier commands, and writes the scene's data again.
    fn reset(&self) {
        if self.scene.may_write() {
            let [ours, theirs] = &self.pair.names;
            write_data(&mut self.pair.subject.client(), ours, self.scene);
            write_data(&mut self.pair.redis.client(), theirs, self.scene);
        }
    }

    /// Runs `steps` on the data of the scene.
    fn compare(&self, protocol: u8, steps: &[Step], pace: Pace, origin: &str, seen: &mut Seen<'_>) {
        self.reset();
        let is_meant = |step: &Step| self.is_reviewed(step);
        self.pair.judge_in(self.scene.title(), origin, (protocol, steps, pace), is_meant, seen);
    }

    fn is_reviewed(&self, step: &Step) -> bool {
        let line = step.line();
        REVIEWED.iter().any(|(scenes, words, _)| scenes.contains(&self.scene) && line.starts_with(words))
    }

    /// Runs the scripts of the scene.
    fn run_scripts(&self, seen: &mut Seen<'_>) {
        for (_, name, text) in SCRIPTS.iter().filter(|(scenes, ..)| scenes.contains(&self.scene)) {
            for (section, protocol) in script::parse(name, text).runs(&self.pair) {
                let origin = format!("{name}, '{}'", section.title);
                self.compare(protocol, &section.steps, Pace::OneByOne, &origin, seen);
            }
        }
    }

    /// Runs random commands, and compares the data sets afterwards. Reports only the first difference, and shrinks it.
    fn run_random(&self, protocol: u8, seed: u64, count: usize, seen: &mut Seen<'_>) {
        let steps = random::sequence(&self.pair, self.scene, seed, count);
        let mut different = None;
        let origin = format!("random commands, seed {seed}");
        self.compare(protocol, &steps, Pace::Piped, &origin, &mut |place, verdict, paragraph| {
            if different.is_none() {
                different = paragraph;
                if different.is_none() {
                    seen(place, verdict, None);
                }
            }
        });
        if different.is_none() && self.scene.may_write() {
            different = state::difference_of(&self.pair, &["0"]);
        }
        if let Some(paragraph) = different {
            let text = format!("{paragraph}\n{}", self.shortest(protocol, steps));
            seen(self.scene.title(), Verdict::Different, Some(text));
        }
    }

    /// The shortest sequence found that still shows a difference.
    fn shortest(&self, protocol: u8, steps: Vec<Step>) -> String {
        let run = |steps: &[Step]| {
            let mut found = None;
            self.reset();
            self.pair.each_of_present(protocol, steps, Pace::Piped, |outcome| {
                if outcome.verdict == Verdict::Different && !self.is_reviewed(&steps[outcome.at]) {
                    found = Some(outcome.at);
                }
                found.is_none()
            });
            let state = || {
                let found =
                    self.scene.may_write().then(|| state::difference_of(&self.pair, &["0"])).flatten();
                found.map(|_| steps.len() - 1)
            };
            found.or_else(state).map(|at| (at, ()))
        };
        let (steps, ()) = shrink(steps, (), run);
        let lines: Vec<String> = steps.iter().map(|step| format!("    {}", step.line())).collect();
        format!("  this sequence shows it:\n{}", lines.join("\n"))
    }
}

/// Runs the scripts and `count` random commands of each seed in all scenes. The scenes run at the same time, because
/// nodes mostly wait for each other.
pub fn run(seeds: &[u64], count: usize, seen: &mut Seen<'_>) {
    let seen = Mutex::new(seen);
    let run = &|scene| {
        let cast = Cast::start(scene);
        let mut seen = |place: &'static str, verdict, paragraph| {
            (seen.lock().expect("a scene that panics ends all"))(place, verdict, paragraph);
        };
        for &seed in seeds {
            cast.run_random(2 + (seed / 2 % 2) as u8, seed, count, &mut seen);
        }
        cast.run_scripts(&mut seen);
        assert!(cast.pair.is_alive(), "a node is gone");
    };
    thread::scope(|scope| {
        SCENES
            .map(|scene| scope.spawn(move || run(scene)))
            .into_iter()
            .for_each(|thread| thread.join().expect("a scene"));
    });
}

#[test]
fn cluster_nodes_reply_as_those_of_redis() {
    let (mut findings, mut compared) = (Vec::new(), 0);
    run(&seeds(&[1, 2]), 200, &mut |_, _, paragraph| {
        compared += 1;
        findings.extend(paragraph);
    });
    println!("{compared} replies compared");
    assert!(findings.is_empty(), "{} replies differ\n{}", findings.len(), findings.join("\n"));
    assert!(compared > 15_000, "only {compared} replies");
}

#[test]
fn every_intended_difference_of_nodes_has_a_reason() {
    for (_, words, reason) in REVIEWED {
        assert!(!words.is_empty() && reason.len() > 10, "{words}: {reason}");
    }
}
