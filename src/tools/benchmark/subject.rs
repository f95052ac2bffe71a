//! A server under test: how to reach it, and its description of itself.

use std::time::Duration;

use super::options::Options;
use super::plan::{Endpoint, Plan};
use super::suite::Test;
use crate::resp::{Protocol, Value};
use crate::tools::client::info::{self, Fields};
use crate::tools::client::{Address, Connection, Error, Target, write_command};

/// The time limit for replies that are not part of the load.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reachable server.
#[derive(Debug)]
pub struct Subject {
    endpoint: Endpoint,
    target: Target,
    /// For INFO and CONFIG, not for the load. `None` after it failed.
    connection: Option<Connection>,
    /// The reply to INFO; empty if the server rejects it.
    info: String,
    /// The reply to CONFIG GET for `save` and `appendonly`; empty if the server rejects it.
    pub configuration: Vec<(String, String)>,
}

impl Subject {
    /// Connects to a server and reads its description.
    pub fn meet(target: &Target) -> Result<Subject, Error> {
        let mut connection = Connection::open(target)?;
        let endpoint = match (&target.address, connection.peer()) {
            (Address::Unix(path), _) => Endpoint::Unix(path.clone()),
            (Address::Tcp(..), Some(address)) => Endpoint::Tcp(address),
            (Address::Tcp(..), None) => return Err(Error::Closed),
        };
        let info = text(&connection.call(&["INFO"])?);
        let mut configuration = Vec::new();
        for name in ["save", "appendonly"] {
            if let Some(value) = setting(&connection.call(&["CONFIG", "GET", name])?) {
                configuration.push((name.to_string(), value));
            }
        }
        Ok(Subject { endpoint, target: target.clone(), connection: Some(connection), info, configuration })
    }

    /// Returns a field of INFO.
    pub fn fact(&self, name: &str) -> Option<&str> {
        info::field(&self.info, name)
    }

    /// Returns the product and version: `Redstart 0.1.0`, `Redis 7.2.6`.
    pub fn product(&self) -> Option<String> {
        let (name, version) = Fields::of(&self.info).product()?;
        Some(format!("{name} {version}"))
    }

    /// Returns the server's total processor time in seconds. A server that does not reply in time is not asked again.
    pub fn cpu_seconds(&mut self) -> Option<f64> {
        let connection = self.connection.as_mut()?;
        let sent = connection.send(&["INFO", "cpu"]);
        let Ok(reply) = sent.and_then(|()| connection.receive_within(PATIENCE)) else {
            self.connection = None;
            return None;
        };
        let text = text(&reply);
        let fields = Fields::of(&text);
        Some(fields.real("used_cpu_user")? + fields.real("used_cpu_sys")?)
    }

    /// Returns the plan for a run of `test` against this server.
    pub fn plan(&self, options: &Options, test: &Test) -> Plan {
        let (greeting, greeting_commands) = self.greeting(options.tracks);
        Plan {
            endpoint: self.endpoint.clone(),
            tls: self.target.tls.clone(),
            greeting,
            greeting_commands,
            template: test.template.clone(),
            clients: options.clients,
            threads: options.threads.unwrap_or(1),
            batch: options.pipeline,
            requests: options.requests,
            duration_ns: options.duration.map(|seconds| (seconds * 1e9) as u64),
            pace: options.pace,
            keeps_alive: options.keeps_alive,
            stops_at_error: options.stops_at_error,
            range: options.range,
            seed: options.seed,
        }
    }

    /// Returns the bytes that each connection sends first, and the names of their commands.
    fn greeting(&self, tracks: bool) -> (Vec<u8>, Vec<&'static str>) {
        let (mut bytes, mut commands) = (Vec::new(), Vec::new());
        let mut say = |words: &[&str], name: &'static str| {
            write_command(&mut bytes, words);
            commands.push(name);
        };
        match (&self.target.user, &self.target.password) {
            (Some(user), Some(password)) => say(&["AUTH", user, password], "AUTH"),
            (None, Some(password)) => say(&["AUTH", password], "AUTH"),
            (_, None) => {}
        }
        if self.target.protocol == Protocol::Resp3 {
            say(&["HELLO", "3"], "HELLO");
        }
        if self.target.database != 0 {
            say(&["SELECT", &self.target.database.to_string()], "SELECT");
        }
        if tracks {
            say(&["CLIENT", "TRACKING", "on"], "CLIENT TRACKING");
        }
        (bytes, commands)
    }
}

/// Returns the text of a reply to INFO; empty if the user may not run it.
fn text(reply: &Value) -> String {
    if reply.is_error() {
        return String::new();
    }
    String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned()
}

/// Returns the value for one name in a reply to CONFIG GET.
fn setting(reply: &Value) -> Option<String> {
    let value = match reply {
        Value::Array(pair) => pair.get(1)?,
        Value::Map(pairs) => &pairs.first()?.1,
        _ => return None,
    };
    Some(String::from_utf8_lossy(value.as_bytes()?).into_owned())
}
