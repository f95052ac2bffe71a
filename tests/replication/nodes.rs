//! A server behind a proxy, which can be killed and started again. The others know it by the proxy's address.

use crate::support::proxy::Proxy;
use crate::support::shim::Shim;
use crate::support::{Client, Launch, Server, Value};
use crate::{Kind, field_of, launch};

/// See the module's head.
pub struct Node {
    pub proxy: Proxy,
    process: Process,
    disk: Option<Shim>,
}

enum Process {
    Running(Server),
    Dead(Launch),
    /// Between the two.
    Changing,
}

impl Node {
    /// Starts a server with a config file of its own.
    pub fn start(kind: Kind, flags: &str, seed: u64) -> Node {
        Node::start_launched(launch(kind), None, flags, seed)
    }

    /// The same with a disk that can be made to fail.
    pub fn start_on_faulty_disk(kind: Kind, flags: &str, seed: u64) -> Node {
        let (launch, disk) = Shim::on(launch(kind));
        Node::start_launched(launch, Some(disk), flags, seed)
    }

    fn start_launched(launch: Launch, disk: Option<Shim>, flags: &str, seed: u64) -> Node {
        let launch = launch.config("# A node.\n");
        let proxy = Proxy::new(launch.port(), seed);
        let announced =
            format!("--replica-announce-ip 127.0.0.1 --replica-announce-port {} {flags}", proxy.port());
        let mut node = Node { proxy, process: Process::Dead(launch.flags(&announced)), disk };
        node.restart();
        node
    }

    /// Makes calls for files fail, if the disk can do that: see `tests/faults/shim.rs`. Returns whether it can.
    pub fn break_disk(&self, rules: &str) -> bool {
        self.disk.iter().for_each(|disk| disk.rules(rules));
        self.disk.is_some()
    }

    pub fn repair_disk(&self) {
        self.break_disk("");
    }

    /// Kills the process (SIGKILL). Nothing happens to one that is dead.
    pub fn kill(&mut self) {
        self.process = match std::mem::replace(&mut self.process, Process::Changing) {
            Process::Running(server) => Process::Dead(server.stop()),
            other => other,
        };
    }

    /// Ends the process by `SHUTDOWN` with this word, or kills it if it refuses that.
    pub fn shut_down(&mut self, word: &str) {
        if let Process::Running(server) = &mut self.process
            && let Some(mut client) = server.try_client()
            && client.try_call(&["SHUTDOWN", word, "NOW"]).is_err()
        {
            server.wait_exit();
        }
        self.kill();
    }

    /// The log of a process that has ended by itself.
    pub fn exited(&mut self) -> Option<String> {
        let Process::Running(server) = &mut self.process else { return None };
        (!server.is_running()).then(|| server.log())
    }

    /// Starts a killed server again, with its files.
    pub fn restart(&mut self) {
        self.process = match std::mem::replace(&mut self.process, Process::Changing) {
            Process::Dead(launch) => Process::Running(launch.start()),
            other => other,
        };
        // Another process may have taken the port.
        self.proxy.set_target(self.server().port());
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

    /// A connection past the proxy.
    pub fn client(&self) -> Client {
        self.server().client()
    }

    /// The port by which the others know it.
    pub fn address(&self) -> u16 {
        self.proxy.port()
    }

    /// Makes it follow another one.
    pub fn follow(&self, primary: &Node) {
        self.client().ok(&format!("REPLICAOF 127.0.0.1 {}", primary.address()));
    }

    /// Waits until it loads nothing.
    pub fn wait_until_loaded(&self) {
        self.client().wait_for_info("loading", |loading| loading == 0);
    }

    /// The reply to a command. `None`: the connection broke, as those of clients do when Sentinel changes a role, or the
    /// server has ended.
    pub fn try_run(&self, line: &str) -> Option<Value> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(self.server().try_client()?.try_call(&words).ok()?.value)
    }

    /// A field of `INFO`; see [`Node::try_run`].
    pub fn info(&self, name: &str) -> Option<String> {
        Some(field_of(&self.try_run("INFO everything")?.text(), name))
    }

    /// A field of `INFO replication`; see [`Node::try_run`].
    pub fn field(&self, name: &str) -> Option<String> {
        Some(field_of(&self.try_run("INFO replication")?.text(), name))
    }

    /// Whether it is a replica of the node with this address, and its link is up.
    pub fn follows(&self, address: u16) -> bool {
        let has = |name: &str, value: &str| self.field(name).is_some_and(|field| field == value);
        has("role", "slave") && has("master_port", &address.to_string()) && has("master_link_status", "up")
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.field("role").is_some_and(|role| role == "master")
    }
}
