//! Cluster tools with nodes of Redstart: unmodified `redis-cli --cluster`, and `redstart cli --cluster`.
//!
//! Each tool manages a cluster of its own with every subcommand, from `create` to `backup`. After each change all keys
//! must be readable by the tool's `-c`, and every slot must be covered. `REDIS_CLI` names another redis-cli than that of
//! the search path. `tests/cli_cluster` compares the two tools with nodes of Redis.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::moves::{read, write};
use crate::nodes::{Kind, NEVER, Node, launch, run_anywhere, until, wait_until_ok};
use crate::support::server::{Directory, subject_binary};
use crate::support::{Launch, Value, run_bounded};

/// The programs that manage a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    RedisCli,
    Own,
}

impl Tool {
    fn command(self) -> Command {
        if self == Tool::Own {
            let mut command = Command::new(subject_binary());
            command.arg("cli");
            return command;
        }
        Command::new(std::env::var_os("REDIS_CLI").unwrap_or_else(|| OsString::from("redis-cli")))
    }

    /// Runs the tool with this input. Returns whether it succeeded, and its output.
    fn run(self, arguments: &[&str], input: &str) -> (bool, String) {
        let (stdin, mut pipe) = std::io::pipe().expect("a pipe");
        // The input is shorter than the pipe's buffer.
        pipe.write_all(input.as_bytes()).expect("written");
        drop(pipe);
        let mut command = self.command();
        // The output has no colours.
        command.env("TERM", "dumb").env_remove("REDISCLI_AUTH").env_remove("FAKETTY");
        command.args(arguments).stdin(stdin);
        run_bounded(command)
    }
}

/// A cluster and the tool that manages it.
struct Managed {
    tool: Tool,
    nodes: Vec<Node>,
}

/// Hash tags whose slots are the lowest ones of each primary: the tools move these first.
const TAGS: [(&str, usize); 6] =
    [("t10790", 0), ("t3034", 1), ("t12636", 5461), ("t69058", 5462), ("t5151", 10923), ("t11011", 10924)];

/// The number of keys without a tag.
const PLAIN: usize = 300;

/// A node that is in no cluster, with a configuration file as `set-timeout` needs it.
fn node() -> Node {
    let (launch, bus_port) = launch(Kind::Subject, NEVER);
    Node::start_as(launch.config(""), bus_port)
}

fn address(node: &Node) -> String {
    format!("127.0.0.1:{}", node.port())
}

/// The number of slots that a node owns, as another one knows it.
fn slot_count(by: &Node, of: &Node) -> usize {
    let number = |text: &str| text.parse::<usize>().expect("a slot");
    let ranges = by.line_of(&of.id());
    let ranges = ranges.iter().skip(8).filter(|range| !range.starts_with('['));
    ranges
        .map(|range| range.split_once('-').map_or(1, |(first, last)| number(last) - number(first) + 1))
        .sum()
}

/// The ID and the primary of each node that a node knows.
fn roles(node: &Node) -> Vec<(String, String)> {
    let text = node.run("CLUSTER NODES").text();
    let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut roles: Vec<_> = words.map(|words| (words[0].to_owned(), words[3].to_owned())).collect();
    roles.sort_unstable();
    roles
}

impl Managed {
    /// Makes a cluster of three primaries with a replica each.
    fn create(tool: Tool) -> Managed {
        let nodes: Vec<Node> = (0..6).map(|_| node()).collect();
        let addresses: Vec<String> = nodes.iter().map(address).collect();
        let mut arguments = vec!["create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let made = Managed { tool, nodes };
        let text = made.good(&arguments);
        for line in [
            "Master[2] -> Slots 10923 - 16383",
            "[OK] All nodes agree about slots configuration.",
            "[OK] All 16384 slots covered.",
        ] {
            assert!(text.contains(line), "{text}");
        }
        made.settle();
        for (index, node) in made.nodes.iter().enumerate() {
            assert_eq!(node.is_primary(), index < 3, "{text}");
        }
        for replica in &made.nodes[3..] {
            until("the replica has its data", || replica.client().info("master_link_status") == "up");
        }
        assert!(!made.run(&arguments, "").0, "nodes of a cluster are not used for another one");
        made
    }

    /// Runs `--cluster` with these arguments, and answers its questions.
    fn run(&self, arguments: &[&str], answers: &str) -> (bool, String) {
        self.tool.run(&[&["--cluster"], arguments].concat(), answers)
    }

    /// The output of a subcommand that has to succeed.
    fn good(&self, arguments: &[&str]) -> String {
        self.answered(arguments, "")
    }

    fn answered(&self, arguments: &[&str], answers: &str) -> String {
        let (succeeded, text) = self.run(arguments, answers);
        assert!(succeeded, "{:?} {arguments:?}\n{text}", self.tool);
        text
    }

    /// Checks that a subcommand fails with this message.
    fn fails(&self, arguments: &[&str], message: &str) {
        let (succeeded, text) = self.run(arguments, "");
        assert!(
            !succeeded && text.contains(message),
            "{:?} {arguments:?}: no {message:?}\n{text}",
            self.tool
        );
    }

    /// The address by which the tool finds the cluster.
    fn any(&self) -> String {
        address(&self.nodes[0])
    }

    /// Waits until all nodes serve, and agree about roles and slots.
    fn settle(&self) {
        wait_until_ok(&self.nodes);
        until("the nodes agree about roles", || {
            let all: Vec<_> = self.nodes.iter().map(roles).collect();
            all.iter().all(|roles| roles.len() == self.nodes.len() && *roles == all[0])
        });
        until("the nodes agree about slots", || self.run(&["check", &self.any()], "").0);
    }

    /// The number of keys of the cluster.
    fn key_count(&self) -> usize {
        let primaries = self.nodes.iter().filter(|node| node.is_primary());
        primaries.map(|node| node.run("DBSIZE").integer() as usize).sum()
    }

    /// Reads all keys: those with tags by commands, the others by the tool, which follows redirections.
    fn content(&self) -> (Vec<Vec<String>>, Vec<String>) {
        let tagged = TAGS.iter().map(|(tag, _)| read(&self.nodes, tag)).collect();
        (tagged, self.plain(|number| format!("get key:{number}")))
    }

    /// Runs a command for each key without a tag. Returns the replies.
    fn plain(&self, line: impl Fn(usize) -> String) -> Vec<String> {
        let lines: Vec<String> = (0..PLAIN).map(line).collect();
        let port = self.nodes[0].port().to_string();
        let (succeeded, text) = self.tool.run(&["-c", "-p", &port], &(lines.join("\n") + "\n"));
        assert!(succeeded, "{text}");
        text.lines().filter(|line| !line.starts_with("-> Redirected")).map(str::to_owned).collect()
    }
}

/// Takes a cluster through its life with a tool.
fn manage(tool: Tool) {
    let mut cluster = Managed::create(tool);
    for (tag, slot) in TAGS {
        assert_eq!(cluster.nodes[0].run(&format!("CLUSTER KEYSLOT {tag}")).integer(), slot as i64);
        write(&cluster.nodes, tag);
    }
    assert_eq!(cluster.plain(|number| format!("set key:{number} {number}")), ["OK"; PLAIN]);
    let (count, content) = (cluster.key_count(), cluster.content());
    assert_eq!(count, PLAIN + 8 * TAGS.len());
    assert_eq!(content.1, (0..PLAIN).map(|number| number.to_string()).collect::<Vec<_>>());
    let unchanged = |cluster: &Managed, after: &str| {
        cluster.settle();
        assert_eq!(cluster.content(), content, "{tool:?} after {after}");
        assert_eq!(cluster.key_count(), count, "{tool:?} after {after}");
    };

    looks(&cluster, count);
    reshards(&cluster);
    unchanged(&cluster, "reshard");
    an_open_slot_is_fixed(&cluster);
    uncovered_slots_are_fixed(&cluster);
    unchanged(&cluster, "fix");
    nodes_join(&mut cluster);
    unchanged(&cluster, "add-node and rebalance");
    nodes_leave(&mut cluster);
    unchanged(&cluster, "rebalance and del-node");
    keys_are_imported(&cluster);
    unchanged(&cluster, "import");
    a_timeout_is_set(&cluster);
    a_backup_has_all_keys(&cluster, count);
}

#[test]
fn redis_cli_manages_a_cluster_of_redstart_nodes() {
    manage(Tool::RedisCli);
}

#[test]
fn redstart_cli_manages_a_cluster_of_redstart_nodes() {
    manage(Tool::Own);
}

fn looks(cluster: &Managed, count: usize) {
    let any = cluster.any();
    for subcommand in ["check", "info"] {
        let text = cluster.good(&[subcommand, &any]);
        assert!(text.contains(&format!("[OK] {count} keys in 3 masters.")), "{text}");
        let first = format!("{any} ({}...) -> ", &cluster.nodes[0].id()[..8]);
        let line = text.lines().find(|line| line.starts_with(&first)).expect("the first node");
        assert!(line.ends_with(" keys | 5461 slots | 1 slaves."), "{line}");
    }
    let replies = |options: &[&str]| {
        let text = cluster.good(&[&["call", &any, "config", "get", "port"], options].concat());
        cluster
            .nodes
            .iter()
            .map(|node| text.contains(&format!("{}: port", address(node))))
            .collect::<Vec<_>>()
    };
    assert_eq!(replies(&[]), [true; 6]);
    assert_eq!(replies(&["--cluster-only-masters"]), [true, true, true, false, false, false]);
    assert_eq!(replies(&["--cluster-only-replicas"]), [false, false, false, true, true, true]);
    cluster.fails(&["check", "127.0.0.1:1"], "Could not connect to Redis at 127.0.0.1:1");
}

fn reshards(cluster: &Managed) {
    let any = cluster.any();
    let [first, second, third] = [0, 1, 2].map(|index| &cluster.nodes[index]);
    let to = third.id();
    let arguments = ["reshard", &any, "--cluster-from", &first.id(), "--cluster-to", &to];
    let text = cluster.good(&[&arguments[..], &["--cluster-slots", "8", "--cluster-yes"]].concat());
    let line = format!("Moving slot 0 from {any} to {}: ........", address(third));
    assert!(text.lines().any(|found| found == line), "{text}");
    assert_eq!(third.line_of(&to)[8..], ["0-7", "10923-16383"]);
    cluster.settle();
    // All others give a share; the greatest is rounded up. The question is answered.
    let arguments = ["reshard", &any, "--cluster-from", "all", "--cluster-to", &first.id()];
    let text = cluster.answered(&[&arguments[..], &["--cluster-slots", "6"]].concat(), "yes\n");
    assert!(text.contains("Do you want to proceed with the proposed reshard plan (yes/no)?"), "{text}");
    let counts = [first, second, third].map(|node| slot_count(node, node));
    assert_eq!(counts, [5459, 5460, 5465], "{text}");
}

fn an_open_slot_is_fixed(cluster: &Managed) {
    let (tag, slot, any) = ("t9919", 500, cluster.any());
    let [source, target] = [0, 1].map(|index| &cluster.nodes[index]);
    for number in 0..3 {
        source.client().ok(&format!("SET {{{tag}}}{number} {number}"));
    }
    target.client().ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", source.id()));
    source.client().ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", target.id()));
    source.client().ok(&format!("MIGRATE 127.0.0.1 {} {{{tag}}}1 0 10000", target.port()));
    cluster.fails(&["check", &any], "[WARNING] The following slots are open: 500.");
    // Both have keys: the node with more of them gets the others.
    let text = cluster.good(&["fix", &any]);
    assert!(text.contains(&format!("Moving slot {slot} from {} to {any}: .\n", address(target))), "{text}");
    cluster.settle();
    for number in 0..3 {
        let key = format!("{{{tag}}}{number}");
        assert_eq!(source.run(&format!("GET {key}")).text(), number.to_string());
        assert_eq!(run_anywhere(&cluster.nodes, &format!("DEL {key}")), Value::Integer(1));
    }
}

fn uncovered_slots_are_fixed(cluster: &Managed) {
    // One has a key, which its owner keeps.
    let (tag, slot, empty, any) = ("t2882", 9000, 9001, cluster.any());
    let owner = &cluster.nodes[1];
    owner.client().ok(&format!("SET {{{tag}}}kept 1"));
    assert_eq!(owner.run(&format!("CLUSTER COUNTKEYSINSLOT {empty}")).integer(), 0);
    until("no node knows an owner", || {
        for node in &cluster.nodes {
            for slot in [slot, empty] {
                // An error if the node knows no owner any more.
                node.run(&format!("CLUSTER DELSLOTS {slot}"));
            }
        }
        cluster.nodes.iter().all(|node| node.info("cluster_slots_assigned") == "16382")
    });
    cluster.fails(&["check", &any], "[ERR] Not all 16384 slots are covered by nodes.");
    let text = cluster.answered(&["fix", &any, "--cluster-yes"], "yes\nyes\n");
    let none = format!("The following uncovered slots have no keys across the cluster:\n[{empty}]\n");
    let one = format!("The following uncovered slots have keys in just one node:\n[{slot}]\n");
    assert!(text.contains(&none) && text.contains(&one), "{text}");
    cluster.settle();
    assert_eq!(owner.run(&format!("GET {{{tag}}}kept")).text(), "1");
    owner.run(&format!("DEL {{{tag}}}kept"));
}

/// A primary and a replica of it join, and the primary gets slots.
fn nodes_join(cluster: &mut Managed) {
    let any = cluster.any();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    cluster.nodes[0].client().call(&["FUNCTION", "LOAD", library]);
    let (primary, replica) = (node(), node());
    let id = primary.id();
    let text = cluster.good(&["add-node", &address(&primary), &any]);
    assert!(text.ends_with("[OK] New node added correctly.\n"), "{text}");
    assert!(format!("{:?}", primary.run("FUNCTION LIST")).contains("lib"), "{text}");
    cluster.nodes.push(primary);
    cluster.settle();
    let arguments = ["add-node", &address(&replica), &any, "--cluster-slave", "--cluster-master-id", &id];
    let text = cluster.good(&arguments);
    let configured = format!(">>> Configure node as replica of {}.\n", address(&cluster.nodes[6]));
    assert!(text.contains(&configured), "{text}");
    assert_eq!(replica.line_of(&replica.id())[3], id);
    cluster.nodes.push(replica);
    cluster.settle();
    cluster.fails(&arguments, "is not empty");

    let text = cluster.good(&["rebalance", &any]);
    assert!(text.contains("*** No rebalancing needed!"), "{text}");
    let primary = &cluster.nodes[6];
    assert_eq!(slot_count(primary, primary), 0, "a node without slots gets some only with the option");
    let weight = format!("{id}=0.01");
    let text = cluster.good(&["rebalance", &any, "--cluster-use-empty-masters", "--cluster-weight", &weight]);
    assert!(text.contains(">>> Rebalancing across 4 nodes. Total weight = 3.01\n"), "{text}");
    // 16384 / 3.01 * 0.01
    let count = slot_count(primary, primary);
    assert!((53..=55).contains(&count), "{count}\n{text}");
}

fn nodes_leave(cluster: &mut Managed) {
    let any = cluster.any();
    let id = cluster.nodes[6].id();
    cluster.fails(&["del-node", &any, &id], "is not empty! Reshard data away and try again.");
    let text = cluster.good(&["rebalance", &any, "--cluster-weight", &format!("{id}=0")]);
    assert!(text.contains("Total weight = 3.00\n"), "{text}");
    cluster.settle();
    for node in &cluster.nodes {
        assert_eq!(slot_count(node, &cluster.nodes[6]), 0, "{text}");
    }
    // The primary, then its replica, which has got another primary.
    while cluster.nodes.len() > 6 {
        let id = cluster.nodes[6].id();
        let text = cluster.good(&["del-node", &any, &id]);
        assert!(text.contains(">>> Sending CLUSTER FORGET messages to the cluster...\n"), "{text}");
        let removed = cluster.nodes.remove(6);
        assert_eq!(removed.info("cluster_known_nodes"), "1", "{text}");
        cluster.settle();
        for node in &cluster.nodes {
            assert!(!node.run("CLUSTER NODES").text().contains(&id), "{text}");
        }
    }
}

fn keys_are_imported(cluster: &Managed) {
    let any = cluster.any();
    for launch in [Launch::redis(), Launch::subject()] {
        let source = launch.start();
        let mut client = source.client();
        for number in 0..40 {
            client.ok(&format!("SET imported:{number} {number}"));
        }
        client.run("RPUSH imported:list a b");
        let from = format!("127.0.0.1:{}", source.port());
        let arguments = ["import", &any, "--cluster-from", &from];
        let with = |option| [&arguments[..], &[option]].concat();
        let text = cluster.good(&with("--cluster-copy"));
        assert!(text.contains("*** Importing 41 keys from DB 0\n"), "{text}");
        assert_eq!(client.run("DBSIZE"), Value::Integer(41), "a copy leaves the source as it is");
        for number in 0..40 {
            let reply = run_anywhere(&cluster.nodes, &format!("GET imported:{number}"));
            assert_eq!(reply.text(), number.to_string());
        }
        cluster.fails(&arguments, "BUSYKEY");
        client.ok("SET imported:7 new");
        cluster.good(&with("--cluster-replace"));
        assert_eq!(client.run("DBSIZE"), Value::Integer(0), "the keys have moved");
        assert_eq!(run_anywhere(&cluster.nodes, "GET imported:7").text(), "new");
        let list = run_anywhere(&cluster.nodes, "LRANGE imported:list 0 -1").elements();
        assert_eq!(list.iter().map(Value::text).collect::<Vec<_>>(), ["a", "b"]);
        run_anywhere(&cluster.nodes, "DEL imported:list");
        for number in 0..40 {
            run_anywhere(&cluster.nodes, &format!("DEL imported:{number}"));
        }
    }
}

fn a_timeout_is_set(cluster: &Managed) {
    let text = cluster.good(&["set-timeout", &cluster.any(), "130000"]);
    assert!(text.contains("New node timeout set. 6 OK, 0 ERR."), "{text}");
    for node in &cluster.nodes {
        assert_eq!(node.run("CONFIG GET cluster-node-timeout").elements()[1].text(), "130000");
    }
}

fn a_backup_has_all_keys(cluster: &Managed, count: usize) {
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    let text = cluster.good(&["backup", &cluster.any(), &path]);
    assert!(text.contains(&format!("[OK] Backup created into: {path}")), "{text}");
    let json = fs::read_to_string(directory.join("nodes.json")).expect("the configuration");
    let saved: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    assert_eq!(saved.as_array().map(Vec::len), Some(6), "{json}");
    let files = fs::read_dir(directory.path()).expect("the directory");
    let files = files.map(|file| file.expect("a file").path());
    let dumps: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "rdb")).collect();
    assert_eq!(dumps.len(), 3, "{dumps:?}");
    let restored = dumps.iter().map(|dump| {
        let launch = Launch::subject();
        fs::copy(dump, launch.directory().join("dump.rdb")).expect("copied");
        launch.start().client().run("DBSIZE").integer() as usize
    });
    assert_eq!(restored.sum::<usize>(), count);
}
