//! `import`: moves or copies all keys of a server without cluster mode into a cluster.
//!
//! SCAN lists the keys of the source, which sends each with MIGRATE to the master of its slot. The cluster computes the
//! slots (CLUSTER KEYSLOT), for a page of keys in one round trip.

use std::io::Write;

use super::check::{check, require};
use super::picture::Cluster;
use super::slots::SLOTS;
use super::{Failure, Request, options, screen};
use crate::resp::Value;
use crate::tools::cli::cluster::options::Settings;
use crate::tools::client::{Address, Connection, Error, Target, info};
use crate::tools::console::{self, tell};

/// The number of keys that SCAN examines at once.
const PAGE: &str = "1000";

/// `import`.
pub(super) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let settings = request.settings;
    let (host, port) = request.address(1)?;
    let refuse = |text: &str| {
        tell(text);
        Err(Failure::Told)
    };
    let Some(from) = &settings.from else {
        return refuse("[ERR] Option '--cluster-from' is required for subcommand 'import'.");
    };
    let Some((from_host, from_port)) = options::address(&[from.into()]) else {
        return refuse(
            "[ERR] Invalid --cluster-from host. You need to pass a valid address (ie. 120.0.0.1:7000).",
        );
    };
    screen::step(format_args!(">>> Importing data from {from_host}:{from_port} to cluster {host}:{port}"))?;
    let mut cluster = Cluster::load(request.target, &host, port)?;
    require(check(&mut cluster, settings, false)?)?;
    let mut source = Source::open(&from_host, from_port, settings)?;
    let text = source.call(&["INFO"])?;
    let text = String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned();
    if info::field(&text, "cluster_enabled") == Some("1") {
        return screen::fail("[ERR] The source node should not be a cluster node.");
    }
    let total = match source.call(&["DBSIZE"])? {
        Value::Integer(count) => count,
        _ => 0,
    };
    screen::warning(format_args!("*** Importing {total} keys from DB 0"))?;
    Importer { owners: owners(&cluster), cluster, settings, source, total, done: 0 }.run()
}

/// The master of each slot.
fn owners(cluster: &Cluster<'_>) -> Vec<Option<usize>> {
    let mut owners = vec![None; SLOTS as usize];
    for at in cluster.masters() {
        for slot in cluster.nodes[at].slots.iter() {
            owners[slot as usize] = Some(at);
        }
    }
    owners
}

/// The server to import from.
struct Source {
    address: String,
    connection: Connection,
}

impl Source {
    fn open(host: &str, port: u16, settings: &Settings) -> Result<Source, Failure> {
        let target = Target {
            address: Address::Tcp(host.to_string(), port),
            user: settings.from_user.clone(),
            password: settings.from_password.clone(),
            ..Target::default()
        };
        let opened = Connection::connect(&target.address, None).and_then(|mut connection| {
            connection.authenticate(&target)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => Ok(Source { address: format!("{host}:{port}"), connection }),
            Err(error @ Error::Connect(..)) => {
                tell(format_args!("{error}."));
                Err(Failure::Told)
            }
            Err(error) => {
                tell(error);
                Err(Failure::Told)
            }
        }
    }

    /// Sends a command; prints an error.
    fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, Failure> {
        let text = match self.connection.call(words) {
            Ok(Value::Error(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(value) => return Ok(value),
            Err(error) => error.to_string(),
        };
        screen::fail(format_args!("Source {} replied with error:\n{text}", self.address))
    }
}

struct Importer<'a> {
    cluster: Cluster<'a>,
    settings: &'a Settings,
    source: Source,
    owners: Vec<Option<usize>>,
    total: i64,
    done: i64,
}

impl Importer<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut cursor = b"0".to_vec();
        loop {
            let page = self.source.call(&[&b"SCAN"[..], &cursor, b"COUNT", PAGE.as_bytes()])?;
            let Value::Array(parts) = page else { return screen::fail("Non ARRAY response from SCAN!") };
            let [next, Value::Array(keys)] = &parts[..] else {
                return screen::fail("Invalid element count from SCAN!");
            };
            let keys: Vec<&[u8]> = keys.iter().filter_map(Value::as_bytes).collect();
            for (key, slot) in keys.iter().zip(self.cluster.key_slots(&keys)?) {
                self.import(key, slot)?;
            }
            cursor = next.as_bytes().unwrap_or(b"0").to_vec();
            if cursor == b"0" {
                return if screen::is_terminal() { screen::line("") } else { Ok(()) };
            }
        }
    }

    fn import(&mut self, key: &[u8], slot: u16) -> Result<(), Failure> {
        let Some(at) = self.owners.get(slot as usize).copied().flatten() else {
            return screen::fail(format_args!("[ERR] No node covers slot {slot}"));
        };
        let node = &self.cluster.nodes[at];
        let is_terminal = screen::is_terminal();
        if is_terminal {
            self.done += 1;
            screen::redraw(&format!("{} of {} keys imported", self.done, self.total.max(self.done)))?;
        } else {
            let mut line = b"Migrating ".to_vec();
            line.extend(key);
            line.extend(format!(" to {}: ", node.address()).into_bytes());
            console::output().write_all(&line)?;
        }
        let (host, port) = (node.host.clone(), node.port.to_string());
        let timeout = self.settings.timeout_ms.to_string();
        let mut words: Vec<&[u8]> =
            vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), key, b"0", timeout.as_bytes()];
        let credentials = self.cluster.target();
        if let Some(password) = &credentials.password {
            match &credentials.user {
                Some(user) => words.extend([&b"AUTH2"[..], user.as_bytes()]),
                None => words.push(b"AUTH"),
            }
            words.push(password.as_bytes());
        }
        if self.settings.copy {
            words.push(b"COPY");
        }
        if self.settings.replace {
            words.push(b"REPLACE");
        }
        self.source.call(&words)?;
        if is_terminal { Ok(()) } else { screen::good("OK") }
    }
}
