//! Cluster clients under load, while a primary is killed, primaries fail over and slots move.
//!
//! A client is a program that first does its typical requests, then executes the commands of the harness on standard
//! input:
//!
//! * `start MODE`: one worker for each tag repeatedly sends requests for its own keys, whose values it knows:
//!   counters, texts, scripts, pipelines. In the mode `failover` it also sends transactions, which no client
//!   can send to a slot that moves. In the mode `crash` it does not check values: a crash loses acknowledged
//!   writes.
//! * `advance`: replies `> advanced` when each worker has finished a few more rounds.
//! * `stop`: stops the workers, and replies with a line `> error KIND` for each kind of error or wrong value, then
//!   `> stopped ROUNDS`.
//!
//! In a crash, requests may fail as they do on Redis. At other times none may fail, and no write may be lost.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use crate::nodes::{Kind, Node, cluster, until};
use crate::support::{DEADLINE, Value};
use crate::{installed, root};

/// Hash tags, two or more for each of three primaries. The slots of the first are among the lowest ones.
const TAGS: [&str; 7] = ["460", "1407", "b", "c", "g", "a", "e"];

/// How many of the lowest slots `redis-cli` moves.
const LOWEST: u16 = 30;

/// The slots that move step by step, each with its source and its target: those of the tags `c` and `a`.
const MOVES: [(u16, usize, usize); 2] = [(7365, 1, 2), (15495, 2, 0)];

/// The node timeout while a primary is killed, in milliseconds.
const SHORT: &str = "2000";

/// The node timeout at other times: long enough that no primary is replaced on a busy machine. A manual
/// failover that fails can be repeated after twice this time.
const LONG: &str = "15000";

/// A running client.
struct Program {
    name: &'static str,
    input: Box<dyn Write + Send>,
    lines: Receiver<String>,
    log: Vec<String>,
    child: Option<Child>,
    started: Instant,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if the process has exited already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            self.log.extend(self.lines.try_iter());
            let end = self.log[self.log.len().saturating_sub(60)..].join("\n");
            eprintln!("--- {} printed:\n{end}\n---", self.name);
        }
    }
}

impl Program {
    /// Starts a client as a process.
    fn of_command(name: &'static str, mut command: Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("piped"), sender.clone());
        forward(child.stderr.take().expect("piped"), sender);
        let input = Box::new(child.stdin.take().expect("piped"));
        Program { name, input, lines, log: Vec::new(), child: Some(child), started: Instant::now() }
    }

    fn tell(&mut self, command: &str) {
        // If the program has exited, the next reply does not come.
        let _ = writeln!(self.input, "{command}").and_then(|()| self.input.flush());
    }

    /// Waits for a reply with this word, and returns those before it.
    fn wait_for(&mut self, word: &str) -> Vec<String> {
        let mut replies = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("{}: no '{word}'", self.name));
            self.log.push(line);
            let line = self.log.last().expect("a line");
            let Some(reply) = line.strip_prefix("> ") else { continue };
            if reply.split(' ').next() == Some(word) {
                return replies;
            }
            replies.push(reply.to_owned());
        }
    }

    /// Starts the workers of a part of the schedule.
    fn begin(&mut self, mode: &str) {
        println!("{:.1?}: {}: {mode}", self.started.elapsed(), self.name);
        self.tell(&format!("start {mode}"));
        self.advance();
    }

    /// Waits until each worker has finished a few rounds.
    fn advance(&mut self) {
        self.tell("advance");
        self.wait_for("advanced");
    }

    /// Stops the workers, and returns the kinds of errors.
    fn stop(&mut self) -> BTreeSet<String> {
        self.tell("stop");
        let replies = self.wait_for("stopped");
        for line in self.log.drain(..).filter(|line| !line.starts_with("> ")) {
            println!("{}: {line}", self.name);
        }
        replies.iter().map(|line| line.strip_prefix("error ").expect("an error").to_owned()).collect()
    }
}

/// Sends the lines of a pipe to a channel.
fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// A client.
struct Client {
    /// Starts it with the ports of the nodes and the tags.
    start: fn(&str, &str) -> Program,
    /// Whether its requests to a killed node wait until the node is back.
    waits_for_restart: bool,
    /// The kinds of errors that a crash causes on Redis too. Which of them occur depends on the time of each request.
    of_crash: &'static [&'static str],
}

/// Runs the schedule. The first three nodes are primaries; the last is the replica of the first.
fn run(client: &Client) {
    let timeout = format!("--cluster-node-timeout {LONG}");
    let mut nodes = cluster(3, [(Kind::Subject, timeout.as_str()); 4]);
    let ports: Vec<String> = nodes.iter().map(|node| node.port().to_string()).collect();
    let mut program = (client.start)(&ports.join(","), &TAGS.join(","));
    program.wait_for("ready");

    program.begin("crash");
    set_timeout(&nodes, SHORT);
    nodes[0].kill();
    until("the replica is promoted", || nodes[3].is_primary());
    set_timeout(&nodes[1..], LONG);
    if !client.waits_for_restart {
        program.advance();
    }
    nodes[0].restart();
    until("the killed primary is a replica", || follows(&nodes[0]));
    until("all agree", || agree(&nodes));
    program.advance();
    let mut errors = program.stop();
    println!("{}: in a crash: {errors:?}", program.name);
    errors.retain(|kind| !client.of_crash.contains(&kind.as_str()));
    assert!(errors.is_empty(), "in a crash: {errors:?}");

    program.begin("failover");
    fail_over(&nodes, 3, 0);
    program.advance();
    let errors = program.stop();
    assert!(errors.is_empty(), "in a failover: {errors:?}");

    program.begin("resharding");
    reshard(&nodes, 0, 1);
    program.advance();
    for (slot, source, target) in MOVES {
        move_slot(&nodes, &mut program, slot, source, target);
    }
    let errors = program.stop();
    assert!(errors.is_empty(), "in a resharding: {errors:?}");
}

fn set_timeout(nodes: &[Node], timeout_ms: &str) {
    for node in nodes {
        node.client().ok(&format!("CONFIG SET cluster-node-timeout {timeout_ms}"));
    }
}

/// Whether the node is a replica with a link to its primary.
fn follows(node: &Node) -> bool {
    !node.is_primary() && node.client().info("master_link_status") == "up"
}

/// Whether all nodes have the same view of roles, epochs and slots.
fn agree(nodes: &[Node]) -> bool {
    let view = |node: &Node| -> BTreeSet<String> {
        let text = node.run("CLUSTER NODES").text();
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{} {} {:?}", words[0], words[2].replace("myself,", ""), [&words[3..4], &words[6..]])
        };
        text.lines().map(line).collect()
    };
    let first = view(&nodes[0]);
    nodes.iter().all(|node| view(node) == first)
}

/// Promotes a replica by command, and waits until the old primary follows it.
fn fail_over(nodes: &[Node], from: usize, to: usize) {
    let (old, new) = (&nodes[from], &nodes[to]);
    let timeouts = || new.server().log().matches("Manual failover timed out").count();
    let mut expected = timeouts() + 1;
    new.client().ok("CLUSTER FAILOVER");
    until("the replica is promoted", || {
        // A node gives up an attempt after five seconds: on a busy machine it may need another one.
        if timeouts() == expected {
            new.run("CLUSTER FAILOVER");
            expected += 1;
        }
        new.is_primary()
    });
    until("the old primary follows", || follows(old));
    until("all agree", || agree(nodes));
}

/// Moves the lowest slots of a primary by `redis-cli`.
fn reshard(nodes: &[Node], source: usize, target: usize) {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "reshard", &format!("127.0.0.1:{}", nodes[source].port()), "--cluster-yes"]);
    command.args(["--cluster-from", &nodes[source].id(), "--cluster-to", &nodes[target].id()]);
    command.args(["--cluster-slots", &LOWEST.to_string(), "--cluster-pipeline", "100"]);
    let (succeeded, text) = crate::support::run_bounded(command);
    assert!(succeeded, "redis-cli failed:\n{text}");
    until("all agree", || agree(nodes));
    let first = nodes[target].line_of(&nodes[target].id());
    assert!(first.contains(&format!("0-{}", LOWEST - 1)), "{first:?}\n{text}");
}

/// Moves a slot step by step. The load continues in each intermediate state.
fn move_slot(nodes: &[Node], program: &mut Program, slot: u16, source: usize, target: usize) {
    let [mut from, mut to] = [source, target].map(|index| nodes[index].client());
    let [from_id, to_id] = [source, target].map(|index| nodes[index].id());
    to.ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    from.ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    program.advance();
    let port = nodes[target].port();
    // Keys that are used together move together: requests with keys on both sides would get TRYAGAIN.
    for is_wanted in [|key: &str| key.ends_with(":single"), |_: &str| true] {
        let keys = from.run(&format!("CLUSTER GETKEYSINSLOT {slot} 1000"));
        let keys: Vec<String> =
            keys.elements().iter().map(Value::text).filter(|key| is_wanted(key)).collect();
        assert!(!keys.is_empty(), "slot {slot} has no keys");
        let reply = from.run(&format!("MIGRATE 127.0.0.1 {port}  0 60000 KEYS {}", keys.join(" ")));
        assert_eq!(reply.text(), "OK");
        program.advance();
    }
    assert_eq!(from.run(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer(), 0);
    to.ok(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    program.advance();
    from.ok(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    program.advance();
    until("all agree", || agree(nodes));
}

fn redis_py(ports: &str, tags: &str) -> Program {
    let mut command = Command::new(installed("python").join("bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(root().join("tests/apps/redis_py_cluster.py"));
    command.args([ports, tags]);
    Program::of_command("redis-py", command)
}

fn node(script: &'static str, ports: &str, tags: &str) -> Program {
    let mut command = Command::new("node");
    command.current_dir(installed("node")).arg(root().join("tests/apps").join(script)).args([ports, tags]);
    Program::of_command(script, command)
}

/// A thread of this process.
fn redis_rs(ports: &str, tags: &str) -> Program {
    let (theirs, input) = std::io::pipe().expect("a pipe");
    let (output, lines) = channel();
    let (from_program, to_harness) = std::io::pipe().expect("a pipe");
    forward(from_program, output);
    let (ports, tags) = (ports.to_owned(), tags.to_owned());
    thread::spawn(move || crate::redis_rs::run(&ports, &tags, theirs, to_harness));
    Program {
        name: "redis-rs",
        input: Box::new(input),
        lines,
        log: Vec::new(),
        child: None,
        started: Instant::now(),
    }
}

#[test]
fn redis_py_is_served_by_a_cluster_that_fails_over_and_reshards() {
    let of_crash = &["ConnectionError", "TimeoutError", "ClusterDownError"];
    run(&Client { start: redis_py, waits_for_restart: false, of_crash });
}

#[test]
fn ioredis_is_served_by_a_cluster_that_fails_over_and_reshards() {
    let start = |ports: &_, tags: &_| node("ioredis_cluster.mjs", ports, tags);
    let of_crash = &["CLUSTERDOWN", "Connection is closed", "Too many Cluster redirections"];
    run(&Client { start, waits_for_restart: false, of_crash });
}

#[test]
fn node_redis_is_served_by_a_cluster_that_fails_over_and_reshards() {
    let start = |ports: &_, tags: &_| node("node_redis_cluster.mjs", ports, tags);
    let of_crash = &["CLUSTERDOWN", "ECONNREFUSED", "ECONNRESET", "Socket closed unexpectedly"];
    run(&Client { start, waits_for_restart: true, of_crash });
}

#[test]
fn redis_rs_is_served_by_a_cluster_that_fails_over_and_reshards() {
    let of_crash = &["CLUSTERDOWN", "ClusterConnectionNotFound", "Io", "MOVED"];
    run(&Client { start: redis_rs, waits_for_restart: false, of_crash });
}
