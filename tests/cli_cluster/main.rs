//! `redstart cli -c`, `redstart cli --cluster` and `redstart cluster`, with cluster nodes of `redis-server`.
//!
//! Each test starts the nodes it needs, with a short node timeout. Where redis-cli is installed, its output is compared
//! with the tool's, apart from the order of the nodes. `REDIS_BIN` and `REDIS_CLI` name other binaries than those of
//! the search path.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod local;
mod redirections;
mod repairs;
mod views;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use support::server::{free_port, subject_binary};
use support::{Client, Launch, Server, Value, eventually};

/// The result of a program's run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    status: Option<i32>,
    output: String,
    errors: String,
}

impl Run {
    /// The output of a run that has to succeed.
    fn good(self) -> String {
        assert_eq!(self.status, Some(0), "{}\n{}", self.output, self.errors);
        self.output
    }

    /// Checks that the run failed, and that its output or errors contain this text.
    fn fails_with(self, text: &str) {
        assert_eq!(self.status, Some(1), "{}\n{}", self.output, self.errors);
        assert!(self.output.contains(text) || self.errors.contains(text), "no {text:?} in {self:?}");
    }

    /// The lines in ascending order: the order of the nodes is arbitrary.
    fn sorted(mut self) -> Run {
        let mut lines: Vec<&str> = self.output.lines().collect();
        lines.sort_unstable();
        self.output = lines.join("\n");
        self
    }
}

/// Runs a program to its end with this standard input.
fn run(mut command: Command, input: &str) -> Run {
    command.env_remove("REDISCLI_AUTH").env_remove("FAKETTY").env("TERM", "dumb");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("piped");
    let input = input.as_bytes().to_vec();
    // The program may exit before it has read everything.
    let feeder = thread::spawn(move || drop(pipe.write_all(&input)));
    let done = child.wait_with_output().expect("it ends");
    feeder.join().expect("fed");
    Run {
        status: done.status.code(),
        output: String::from_utf8_lossy(&done.stdout).into_owned(),
        errors: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// The client under test.
fn cli(arguments: &[&str]) -> Command {
    let mut command = Command::new(subject_binary());
    command.arg("cli").args(arguments);
    command
}

/// The client to compare with, if there is one.
fn redis_cli(arguments: &[&str]) -> Option<Command> {
    let name = std::env::var_os("REDIS_CLI").unwrap_or_else(|| OsString::from("redis-cli"));
    if Command::new(&name).arg("--version").output().is_err() {
        eprintln!("no redis-cli to compare with");
        return None;
    }
    let mut command = Command::new(name);
    command.args(arguments);
    Some(command)
}

/// Runs `--cluster` with these arguments.
fn manage(arguments: &[&str]) -> Run {
    answer(arguments, "")
}

/// Runs `--cluster` with these arguments and answers its questions.
fn answer(arguments: &[&str], answers: &str) -> Run {
    run(cli(&[&["--cluster"], arguments].concat()), answers)
}

/// Runs `--cluster`, and checks that redis-cli has the same lines and the same status.
fn compared(arguments: &[&str]) -> Run {
    let own = manage(arguments);
    if let Some(other) = redis_cli(&[&["--cluster"], arguments].concat()) {
        assert_eq!(own.clone().sorted(), run(other, "").sorted(), "{arguments:?}");
    }
    own
}

/// The flags of a node. Its bus has a free port of its own.
const NODE: &str = "--cluster-enabled yes --cluster-node-timeout 1500 --enable-debug-command yes --repl-diskless-sync-delay 0";

/// A node that is in no cluster.
fn node() -> Server {
    Launch::redis().config("").flags(NODE).flags(&format!("--cluster-port {}", free_port())).start()
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

fn id(server: &Server) -> String {
    server.client().run("CLUSTER MYID").text()
}

/// The number of slots that each node owns, by its own view.
fn slot_counts(nodes: &[Server]) -> Vec<usize> {
    let count = |node: &Server| {
        let text = node.client().run("CLUSTER NODES").text();
        let own = text.lines().find(|line| line.contains("myself")).expect("its own line").to_string();
        let ranges = own.split(' ').skip(8).filter(|range| !range.starts_with('['));
        ranges
            .map(|range| match range.split_once('-') {
                Some((first, last)) => {
                    last.parse::<usize>().expect("a slot") - first.parse::<usize>().expect("a slot") + 1
                }
                None => 1,
            })
            .sum()
    };
    nodes.iter().map(count).collect()
}

/// Waits until all nodes serve the cluster and know all of it.
fn wait_until_good(nodes: &[Server]) {
    for node in nodes {
        let mut client = node.client();
        eventually("the cluster is complete", || {
            let info = client.run("CLUSTER INFO").text();
            let known = format!("cluster_known_nodes:{}\r", nodes.len());
            (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
        });
    }
}

/// Waits until the tool finds nothing wrong. The nodes learn changes from each other, one after the other.
fn wait_for_agreement(nodes: &[Server]) {
    eventually("a check without problems", || {
        let run = manage(&["check", &address(&nodes[0])]);
        (run.status == Some(0)).then_some(())
    });
}

/// Starts nodes and makes a cluster of them.
fn cluster(count: usize, replicas: usize) -> Vec<Server> {
    let nodes: Vec<Server> = (0..count).map(|_| node()).collect();
    create(&nodes, replicas).good();
    wait_until_good(&nodes);
    nodes
}

fn create(nodes: &[Server], replicas: usize) -> Run {
    let addresses: Vec<String> = nodes.iter().map(address).collect();
    let mut arguments = vec!["create"];
    arguments.extend(addresses.iter().map(String::as_str));
    let replicas = replicas.to_string();
    arguments.extend(["--cluster-replicas", &replicas, "--cluster-yes"]);
    manage(&arguments)
}

/// A client that follows redirections, and waits while a slot is not served.
struct Follower {
    port: u16,
    /// The port of the node that sent the last reply.
    last: u16,
    clients: HashMap<u16, Client>,
}

impl Follower {
    fn new(node: &Server) -> Follower {
        Follower { port: node.port(), last: node.port(), clients: HashMap::new() }
    }

    fn at(&mut self, port: u16) -> &mut Client {
        self.clients.entry(port).or_insert_with(|| Client::tcp(port).expect("connect"))
    }

    fn call(&mut self, words: &[&str]) -> Value {
        let (mut port, mut asks) = (self.port, false);
        eventually("a reply that is no redirection", || {
            let client = self.at(port);
            if std::mem::take(&mut asks) {
                client.ok("ASKING");
            }
            let reply = client.call(words);
            let text = if reply.is_error() { reply.text() } else { String::new() };
            let target = || text.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            match text.split(' ').next() {
                Some("MOVED") => port = target(),
                Some("ASK") => (port, asks) = (target(), true),
                Some("TRYAGAIN" | "CLUSTERDOWN") => {}
                _ => {
                    self.last = port;
                    return Some(reply);
                }
            }
            None
        })
    }

    /// The digest of a key's value.
    fn digest(&mut self, key: &str) -> Value {
        assert_eq!(self.call(&["EXISTS", key]), Value::Integer(1), "{key}");
        let last = self.last;
        self.at(last).call(&["DEBUG", "DIGEST-VALUE", key])
    }
}
