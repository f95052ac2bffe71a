//! A node of a local cluster: a server process in the background.
//!
//! A process is ours only if it listens on the node's port, has the ID that its pid file names, and works in the node's
//! directory. It is stopped with SHUTDOWN over the connection that showed this, never with a signal, so a process ID that
//! another program has meanwhile cannot cause harm.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::LOOK;
use super::layout::Settings;
use crate::resp::Value;
use crate::sys::file;
use crate::tools::cli::cluster::node::parse;
use crate::tools::cli::cluster::slots::Shown;
use crate::tools::client::info::field;
use crate::tools::client::{Address, Connection, Error, Target};

/// The address of all nodes.
pub const HOST: &str = "127.0.0.1";
/// Failovers begin after this time, in milliseconds.
const NODE_TIMEOUT: &str = "2000";
/// The configuration file of a node, in its directory.
const CONFIG: &str = "node.conf";
/// The number of lines of a log that an error shows.
const LINES: usize = 5;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The port for clients.
    pub port: u16,
    /// The directory of its files.
    pub directory: PathBuf,
}

/// Whether a node runs.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// It does not.
    Stopped,
    /// It does, with this process ID.
    Running(u32),
}

/// The server on a port; the password is that of `REDISCLI_AUTH`.
pub fn target(port: u16) -> Target {
    Target {
        address: Address::Tcp(HOST.to_string(), port),
        password: std::env::var("REDISCLI_AUTH").ok(),
        ..Target::default()
    }
}

/// Fails if a port is in use.
pub fn must_be_free(port: u16) -> Result<(), String> {
    match TcpListener::bind((HOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "Port {port} cannot be used: {}. Choose another --port; each node uses its port and the one 10000 above",
            file::reason(&error)
        )),
    }
}

/// Returns a program as an absolute path, unless it is a name for the search path.
pub fn program(path: &Path) -> Result<String, String> {
    let path = if path.components().count() > 1 {
        fs::canonicalize(path)
            .map_err(|error| format!("Cannot run {}: {}", path.display(), file::reason(&error)))?
    } else {
        path.to_path_buf()
    };
    super::word(&path.into_os_string())
}

impl Node {
    /// Starts the server in the background.
    pub fn start(&self, settings: &Settings) -> Result<Child, String> {
        let failed = |error: &std::io::Error, what: &Path| {
            format!(
                "Cannot start the node on port {}: {}: {}",
                self.port,
                what.display(),
                file::reason(error)
            )
        };
        fs::create_dir_all(&self.directory).map_err(|error| failed(&error, &self.directory))?;
        let directory = fs::canonicalize(&self.directory).map_err(|error| failed(&error, &self.directory))?;
        let log = directory.join("node.log");
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.map_err(|error| failed(&error, &log))?;
        let errors = output.try_clone().map_err(|error| failed(&error, &log))?;
        // A file, so that CONFIG REWRITE works. What it then has stays over a restart.
        let config = directory.join(CONFIG);
        if !config.exists() {
            let text = format!("cluster-node-timeout {NODE_TIMEOUT}\n");
            fs::write(&config, text).map_err(|error| failed(&error, &config))?;
        }
        let mut command = Command::new(&settings.server);
        command.arg(&config);
        command.args(["--port", &self.port.to_string(), "--bind", HOST, "--daemonize", "yes"]);
        command.args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
        command.arg("--dir").arg(&directory);
        command.arg("--pidfile").arg(directory.join("node.pid"));
        command.arg("--logfile").arg(&log);
        command.args(&settings.directives);
        command.current_dir(&directory).stdin(Stdio::null()).stdout(output).stderr(errors);
        command.spawn().map_err(|error| failed(&error, Path::new(&settings.server)))
    }

    /// Waits until the server replies.
    pub fn wait_ready(&self, mut child: Child, patience: Duration) -> Result<(), String> {
        let started = Instant::now();
        loop {
            if let State::Running(_) = self.find()? {
                return Ok(());
            }
            // The process that daemonizes exits early, with success unless the server could not start.
            let has_failed = child.try_wait().ok().flatten().is_some_and(|status| !status.success());
            if has_failed || started.elapsed() > patience {
                let text = fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
                let port = self.port;
                return Err(format!(
                    "The server on port {port} did not start. The end of its node.log:\n  {end}"
                ));
            }
            thread::sleep(LOOK);
        }
    }

    /// The process ID in the pid file.
    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.directory.join("node.pid")).ok()?.trim().parse().ok()
    }

    /// Looks for our server on the port. Another program there does not count as the node.
    pub fn find(&self) -> Result<State, String> {
        Ok(self.connect()?.map_or(State::Stopped, |(_, pid)| State::Running(pid)))
    }

    /// Connects to our server. A server that refuses the connection's password is an error.
    fn connect(&self) -> Result<Option<(Connection, u32)>, String> {
        let Some(pid) = self.pid() else { return Ok(None) };
        let mut connection = match Connection::open(&target(self.port)) {
            Ok(connection) => connection,
            Err(error @ Error::Refused(..)) => {
                return Err(format!("The node on port {}: {error}", self.port));
            }
            Err(_) => return Ok(None),
        };
        let mut ask = |words: &[&str]| connection.call(words).ok();
        let info = match ask(&["INFO", "server"]) {
            Some(Value::Bulk(text)) => String::from_utf8_lossy(&text).into_owned(),
            Some(Value::Error(text)) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let advice = "set REDISCLI_AUTH to the password of the nodes";
                return Err(format!("The node on port {}: {text}: {advice}", self.port));
            }
            _ => return Ok(None),
        };
        if field(&info, "process_id") != Some(&pid.to_string()) {
            return Ok(None);
        }
        let directory = match ask(&["CONFIG", "GET", "dir"]) {
            Some(Value::Array(pair)) => pair.get(1).and_then(Value::as_bytes).map(<[u8]>::to_vec),
            _ => None,
        };
        let own = fs::canonicalize(&self.directory).ok();
        let is_ours = own.is_some_and(|own| directory.as_deref() == Some(own.as_os_str().as_encoded_bytes()));
        Ok(is_ours.then_some((connection, pid)))
    }

    /// Tells our server to save its data and exit. Returns the connection, which ends with the server.
    pub fn shut_down(&self) -> Result<Option<Connection>, String> {
        let Some((mut connection, _)) = self.connect()? else { return Ok(None) };
        connection.send(&["SHUTDOWN", "SAVE"]).map_err(|error| format!("Port {}: {error}", self.port))?;
        Ok(Some(connection))
    }

    /// Waits until the server has exited.
    pub fn wait_exit(&self, connection: Option<Connection>, patience: Duration) -> Result<(), String> {
        let Some(mut connection) = connection else { return Ok(()) };
        match connection.receive_within(patience) {
            Ok(Value::Error(text)) => {
                let text = String::from_utf8_lossy(&text);
                return Err(format!("The node on port {} did not stop: {text}", self.port));
            }
            Err(Error::Closed) => {}
            Ok(_) | Err(_) => return Err(format!("The node on port {} does not stop", self.port)),
        }
        let started = Instant::now();
        while must_be_free(self.port).is_err() {
            if started.elapsed() > patience {
                return Err(format!("The node on port {} does not stop", self.port));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Sends a command whose reply is a text; `None` if there is none.
    pub fn text(&self, words: &[&str]) -> Option<String> {
        let mut connection = Connection::open(&target(self.port)).ok()?;
        let reply = connection.call(words).ok()?;
        reply.as_bytes().filter(|_| !reply.is_error()).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// Whether the node serves a complete cluster, and follows its master if it is a replica.
    pub fn is_good(&self) -> bool {
        let cluster = self.text(&["CLUSTER", "INFO"]).unwrap_or_default();
        let replication = self.text(&["INFO", "replication"]).unwrap_or_default();
        field(&cluster, "cluster_state") == Some("ok")
            && match field(&replication, "role") {
                Some("master") => true,
                Some(_) => field(&replication, "master_link_status") == Some("up"),
                None => false,
            }
    }

    /// Describes the node's part in the cluster.
    pub fn describe(&self) -> String {
        let nodes = self.text(&["CLUSTER", "NODES"]);
        let Some((own, others)) = nodes.and_then(|text| parse(&text)) else { return "unknown".to_string() };
        match &own.replicates {
            None if own.slots.is_empty() => "master without slots".to_string(),
            None => format!("master of slots {}", Shown(&own.slots)),
            Some(master) => match others.iter().find(|other| other.name == *master) {
                Some(other) => format!("replica of {}", other.address()),
                None => format!("replica of {master}"),
            },
        }
    }
}
