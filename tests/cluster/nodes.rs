//! Clusters of servers of both kinds, on loopback.

use crate::support::server::free_port;
use crate::support::{Client, Launch, Server, Value, eventually};

/// The server that a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The binary under test.
    Subject,
    /// Redis.
    Redis,
}

/// Waits until `probe` holds.
pub fn until(what: &str, mut probe: impl FnMut() -> bool) {
    eventually(what, || probe().then_some(()));
}

/// A timeout after which no test wants a failover.
pub const NEVER: &str = "--cluster-node-timeout 120000";

/// A node.
pub struct Node {
    pub bus_port: u16,
    /// The ports of the proxies by which the others reach it, for clients and for the bus.
    announced: Option<(u16, u16)>,
    process: Process,
}

enum Process {
    Running(Server),
    Dead(Launch),
    /// Between the two.
    Changing,
}

/// The launch of a node, and the port of its bus.
pub fn launch(kind: Kind, flags: &str) -> (Launch, u16) {
    let launch = match kind {
        Kind::Subject => Launch::subject(),
        Kind::Redis => Launch::redis(),
    };
    let bus_port = free_port();
    let flags = format!(
        "--cluster-enabled yes --cluster-port {bus_port} --save  --enable-debug-command yes \
         --repl-diskless-sync-delay 0 {flags}"
    );
    (launch.flags(&flags), bus_port)
}

impl Node {
    /// Starts a node that knows no other.
    pub fn start(kind: Kind, flags: &str) -> Node {
        let (launch, bus_port) = launch(kind, flags);
        Node::start_as(launch, bus_port)
    }

    /// Starts what [`launch`] has made.
    pub fn start_as(launch: Launch, bus_port: u16) -> Node {
        Node { bus_port, announced: None, process: Process::Running(launch.start()) }
    }

    /// Starts a node that announces these ports: for clients and of the bus.
    pub fn start_announced(launch: Launch, bus_port: u16, announced: (u16, u16)) -> Node {
        let (client, bus) = announced;
        let flags = format!(
            "--cluster-announce-ip 127.0.0.1 --cluster-announce-port {client} --cluster-announce-bus-port {bus}"
        );
        let process = Process::Running(launch.flags(&flags).start());
        Node { bus_port, announced: Some(announced), process }
    }

    /// The ports by which the others reach it.
    fn ports(&self) -> (u16, u16) {
        self.announced.unwrap_or_else(|| (self.port(), self.bus_port))
    }

    pub fn server(&self) -> &Server {
        match &self.process {
            Process::Running(server) => server,
            _ => panic!("the server is dead"),
        }
    }

    /// The server, if it was not killed.
    pub fn running(&self) -> Option<&Server> {
        match &self.process {
            Process::Running(server) => Some(server),
            _ => None,
        }
    }

    /// Returns the server of the node.
    #[allow(dead_code, reason = "the differential tests use it")]
    pub fn into_server(self) -> Server {
        match self.process {
            Process::Running(server) => server,
            _ => panic!("the server is dead"),
        }
    }

    pub fn port(&self) -> u16 {
        self.server().port()
    }

    pub fn client(&self) -> Client {
        self.server().client()
    }

    pub fn run(&self, line: &str) -> Value {
        self.client().run(line)
    }

    /// The reply to a command; `None` if the connection was closed. A node with `min-replicas-to-ack` does that when
    /// its role changes.
    pub fn try_run(&self, line: &str) -> Option<Value> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(self.server().try_client()?.try_call(&words).ok()?.value)
    }

    pub fn id(&self) -> String {
        self.run("CLUSTER MYID").text()
    }

    /// A field of `CLUSTER INFO`.
    pub fn info(&self, name: &str) -> String {
        let text = self.run("CLUSTER INFO").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().to_owned()
    }

    /// The words of a node's line in `CLUSTER NODES`.
    pub fn line_of(&self, id: &str) -> Vec<String> {
        let text = self.run("CLUSTER NODES").text();
        let line = text.lines().find(|line| line.starts_with(id)).unwrap_or_default();
        line.split(' ').map(str::to_owned).collect()
    }

    /// The flags by which this node knows another one.
    pub fn flags_of(&self, id: &str) -> Vec<String> {
        self.line_of(id).get(2).map_or_else(Vec::new, |flags| flags.split(',').map(str::to_owned).collect())
    }

    pub fn is_primary(&self) -> bool {
        self.run("ROLE").elements()[0].text() == "master"
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) {
        self.process = match std::mem::replace(&mut self.process, Process::Changing) {
            Process::Running(server) => Process::Dead(server.stop()),
            other => other,
        };
    }

    /// Ends the process by `SHUTDOWN`.
    pub fn shut_down(&mut self) {
        if let Process::Running(server) = &mut self.process {
            let _ = server.client().try_call(&["SHUTDOWN", "NOSAVE"]);
            server.wait_exit();
        }
        self.kill();
    }

    /// Starts a killed node again, with its files.
    pub fn restart(&mut self) {
        self.process = match std::mem::replace(&mut self.process, Process::Changing) {
            Process::Dead(launch) => Process::Running(launch.start()),
            other => other,
        };
    }
}

impl Node {
    /// Starts a killed node that exits at once. Returns its status and its log.
    pub fn restart_in_vain(&mut self) -> (std::process::ExitStatus, String) {
        match std::mem::replace(&mut self.process, Process::Changing) {
            Process::Dead(launch) => launch.run_to_exit(),
            _ => panic!("the node is not dead"),
        }
    }
}

/// Makes a cluster: the first nodes are primaries with equal shares of the slots, and the others replicas of them in turn.
/// Returns when all know it.
pub fn cluster<const N: usize>(primaries: usize, nodes: [(Kind, &str); N]) -> [Node; N] {
    let nodes = nodes.map(|(kind, flags)| Node::start(kind, flags));
    form(primaries, &nodes);
    nodes
}

/// Makes a cluster of nodes that do not know each other; see [`cluster`].
pub fn form(primaries: usize, nodes: &[Node]) {
    let share = 16384_usize.div_ceil(primaries);
    for (index, node) in nodes.iter().enumerate() {
        let mut client = node.client();
        client.ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
        if index < primaries {
            let (first, last) = (index * share, ((index + 1) * share).min(16384) - 1);
            client.ok(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        for other in &nodes[..index] {
            let (port, bus_port) = other.ports();
            node.client().ok(&format!("CLUSTER MEET 127.0.0.1 {port} {bus_port}"));
        }
    }
    until("all nodes are known", || {
        nodes.iter().all(|node| node.info("cluster_known_nodes") == nodes.len().to_string())
    });
    let is_plain = |node: &Node| !node.run("CLUSTER NODES").text().contains("handshake");
    until("the handshakes are done", || nodes.iter().all(is_plain));
    for (index, node) in nodes.iter().enumerate().skip(primaries) {
        let primary = &nodes[index % primaries];
        until("the primary is known", || node.flags_of(&primary.id()).contains(&"master".to_string()));
        node.client().ok(&format!("CLUSTER REPLICATE {}", primary.id()));
    }
    wait_until_ok(nodes);
    for node in &nodes[primaries..] {
        until("the replica has its data", || node.client().info("master_link_status") == "up");
    }
    for (index, node) in nodes.iter().enumerate().skip(primaries) {
        let known = |other: &Node| other.line_of(&node.id()).get(3) == Some(&nodes[index % primaries].id());
        until("the replicas are known", || nodes.iter().all(known));
    }
}

/// Waits until all nodes serve.
pub fn wait_until_ok(nodes: &[Node]) {
    until("the cluster is up", || nodes.iter().all(|node| node.info("cluster_state") == "ok"));
}

/// The port in a redirection.
pub fn target(reply: &Value) -> Option<u16> {
    if !reply.is_error() {
        return None;
    }
    let text = reply.text();
    let words: Vec<&str> = text.split(' ').collect();
    (words[0] == "MOVED" || words[0] == "ASK")
        .then(|| words[2].rsplit_once(':').expect("an address").1.parse().expect("a port"))
}

/// Runs a command on whichever node serves it.
pub fn run_anywhere(nodes: &[Node], line: &str) -> Value {
    let mut at = 0;
    for _ in 0..16 {
        let mut client = nodes[at].client();
        let mut reply = client.run(line);
        let Some(port) = target(&reply) else { return reply };
        let text = reply.text();
        let next = nodes.iter().position(|node| node.ports().0 == port).expect("a node of the cluster");
        if text.starts_with("ASK ") {
            let mut client = nodes[next].client();
            client.ok("ASKING");
            reply = client.run(line);
            assert!(target(&reply).is_none_or(|_| reply.text().starts_with("MOVED")), "{reply:?}");
            if target(&reply).is_none() {
                return reply;
            }
        }
        at = next;
    }
    panic!("the redirections of '{line}' do not end");
}
