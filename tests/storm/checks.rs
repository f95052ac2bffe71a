//! The checks after a storm.

use crate::support::{Client, Server, Value, eventually};
use std::collections::{BTreeMap, BTreeSet};

/// Texts that must not be in the server's log.
const FAULTS: &[&str] = &["panicked", "AddressSanitizer", "failed while it was loaded", "Crash report"];

/// The configuration as `CONFIG GET *` shows it.
type Configuration = BTreeMap<String, String>;

/// The state of the server before the storm.
pub struct Before {
    configuration: Configuration,
    used_memory: i64,
}

impl Before {
    pub fn of(server: &Server) -> Before {
        let mut client = server.client();
        Before { configuration: configuration(&mut client), used_memory: client.info_number("used_memory") }
    }
}

fn configuration(client: &mut Client) -> Configuration {
    let words: Vec<String> = client.run("CONFIG GET *").elements().iter().map(Value::text).collect();
    words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// The complete data and the functions.
#[derive(PartialEq, Eq)]
pub struct Held {
    digest: String,
    /// The digest of each value, by database and key.
    values: BTreeMap<(usize, Vec<u8>), String>,
    functions: Vec<u8>,
}

impl Held {
    fn of(client: &mut Client) -> Held {
        let mut values = BTreeMap::new();
        for index in databases(client) {
            client.ok(&format!("SELECT {index}"));
            for key in keys(client) {
                let digest = client.call(&[&b"DEBUG"[..], b"DIGEST-VALUE", &key]).elements()[0].text();
                values.insert((index, key), digest);
            }
        }
        let functions = bytes(client.run("FUNCTION DUMP"));
        Held { digest: client.run("DEBUG DIGEST").text(), values, functions }
    }

    /// Fails with the keys that differ.
    fn must_equal(&self, other: &Held, when: &str) {
        let only = |a: &Held, b: &Held| -> Vec<String> {
            let differs = |(key, digest): &(&(usize, Vec<u8>), &String)| b.values.get(*key) != Some(*digest);
            a.values
                .iter()
                .filter(differs)
                .map(|((index, key), _)| format!("{index}/{}", key.escape_ascii()))
                .collect()
        };
        let (before, now) = (only(self, other), only(other, self));
        assert!(
            self == other,
            "{when} the data differs: only before {before:?}, only now {now:?}, digest {} and {}, functions equal: {}",
            self.digest,
            other.digest,
            self.functions == other.functions
        );
    }
}

fn databases(client: &mut Client) -> Vec<usize> {
    let count: usize = client.run("CONFIG GET databases").elements()[1].text().parse().expect("a number");
    (0..count).collect()
}

/// Kills running scripts, waits for children, restores the configuration, and removes all times to live.
pub fn settle(server: &Server, before: &Before) -> Client {
    let mut client = eventually("a server that serves nobody else", || {
        let mut client = server.try_client()?;
        let reply = client.try_call(&["CLIENT", "UNPAUSE"]).ok()?.value;
        if reply.is_error() {
            client.try_call(&["SCRIPT", "KILL"]).ok()?;
            client.try_call(&["FUNCTION", "KILL"]).ok()?;
            return None;
        }
        // Requests of clients that have gone may still run scripts.
        let clients = client.try_call(&["INFO", "clients"]).ok()?.value;
        let is_alone = !clients.is_error() && clients.text().contains("connected_clients:1\r\n");
        // A server that was started again may still load; these two commands do not wait for it.
        let loads = client.try_call(&["INFO", "persistence"]).ok()?.value.text().contains("loading:1\r\n");
        (is_alone && !loads).then_some(client)
    });
    restore_configuration(&mut client, &before.configuration);
    for field in [
        "aof_rewrite_in_progress",
        "aof_rewrite_scheduled",
        "rdb_bgsave_in_progress",
        "lazyfree_pending_objects",
    ] {
        client.wait_for_info(field, |count| count == 0);
    }
    client.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    client.ok("DEBUG DICT-RESIZING 1");
    client.ok("DEBUG AOF-FLUSH-SLEEP 0");
    for index in databases(&mut client) {
        client.ok(&format!("SELECT {index}"));
        eventually("nothing expires any more", || is_settled(&mut client, index).then_some(()));
    }
    client
}

fn restore_configuration(client: &mut Client, wanted: &Configuration) {
    let changed: Vec<(String, String)> =
        configuration(client).into_iter().filter(|(name, value)| wanted[name] != *value).collect();
    for (name, _) in changed {
        let reply = client.call(&["CONFIG", "SET", &name, &wanted[&name]]);
        assert!(!reply.is_error(), "CONFIG SET {name} {:?}: {reply:?}", wanted[&name]);
    }
}

fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    client.run("KEYS *").elements().into_iter().map(bytes).collect()
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("no bulk string: {other:?}"),
    }
}

/// Removes the times to live in the selected database. Returns whether none is left: by then expired keys are deleted.
fn is_settled(client: &mut Client, index: usize) -> bool {
    let listed = keys(client);
    let unique: BTreeSet<&Vec<u8>> = listed.iter().collect();
    let twice = unique.iter().find(|key| listed.iter().filter(|other| other == *key).count() > 1);
    let shown = twice.map(|key| key.escape_ascii().to_string());
    assert!(twice.is_none(), "database {index}: KEYS has {} several times", shown.unwrap_or_default());
    for key in &listed {
        client.call(&[b"PERSIST", &key[..]]);
        if client.call(&[b"TYPE", &key[..]]).text() == "hash" {
            let fields: Vec<Vec<u8>> =
                client.call(&[b"HKEYS", &key[..]]).elements().into_iter().map(bytes).collect();
            let count = fields.len().to_string();
            let words = [&b"HPERSIST"[..], key, b"FIELDS", count.as_bytes()];
            let words: Vec<&[u8]> = words.into_iter().chain(fields.iter().map(Vec::as_slice)).collect();
            client.call(&words);
        }
    }
    client.run("DBSIZE").integer() == listed.len() as i64 && expiring(client, index) == 0
}

/// The number of keys in a database with a time to live.
fn expiring(client: &mut Client, index: usize) -> u64 {
    let text = client.run("INFO keyspace").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("db{index}:")));
    let expires = line.and_then(|line| line.split(',').find_map(|field| field.strip_prefix("expires=")));
    expires.map_or(0, |count| count.parse().expect("a number"))
}

/// No key is in a table twice, and all ways to list the keys agree.
pub fn keys_stand_once(client: &mut Client) {
    for index in databases(client) {
        client.ok(&format!("SELECT {index}"));
        let listed = keys(client);
        let unique: BTreeSet<Vec<u8>> = listed.iter().cloned().collect();
        assert_eq!(scanned(client), unique, "database {index}: SCAN beside KEYS");
        assert_eq!(
            client.run("DBSIZE").integer(),
            listed.len() as i64,
            "database {index}: DBSIZE beside KEYS"
        );
        for key in &listed {
            collections_count_what_they_have(client, key);
        }
    }
}

fn scanned(client: &mut Client) -> BTreeSet<Vec<u8>> {
    let (mut cursor, mut found) = (String::from("0"), BTreeSet::new());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "7"]).elements();
        cursor = reply[0].text();
        found.extend(reply[1].elements().into_iter().map(bytes));
        if cursor == "0" {
            return found;
        }
    }
}

/// The length of a collection is the number of elements that it returns, and no element is in it twice.
fn collections_count_what_they_have(client: &mut Client, key: &[u8]) {
    let kind = client.call(&[b"TYPE", key]).text();
    let (length, all): (&[u8], &[&[u8]]) = match &*kind {
        "string" => return,
        "list" => (b"LLEN", &[b"LRANGE", key, b"0", b"-1"]),
        "set" => (b"SCARD", &[b"SMEMBERS", key]),
        "hash" => (b"HLEN", &[b"HKEYS", key]),
        "zset" => (b"ZCARD", &[b"ZRANGE", key, b"0", b"-1"]),
        "stream" => (b"XLEN", &[b"XRANGE", key, b"-", b"+"]),
        other => panic!("TYPE is {other}"),
    };
    let shown = key.escape_ascii();
    let elements = client.call(all).elements();
    assert_eq!(client.call(&[length, key]).integer(), elements.len() as i64, "the {kind} {shown}");
    if ["set", "hash", "zset"].contains(&&*kind) {
        let unique: BTreeSet<Vec<u8>> = elements.iter().cloned().map(bytes).collect();
        assert_eq!(unique.len(), elements.len(), "the {kind} {shown} has an element twice");
    }
}

/// The snapshot and the AOF both contain the data in memory.
pub fn a_reload_changes_nothing(client: &mut Client) {
    let held = Held::of(client);
    for line in ["DEBUG RELOAD", "DEBUG LOADAOF", "BGREWRITEAOF", "DEBUG LOADAOF"] {
        let reply = client.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        client.wait_for_info("aof_rewrite_in_progress", |count| count == 0);
        held.must_equal(&Held::of(client), &format!("after {line}"));
    }
}

/// `kill -9` loses no acknowledged write.
pub fn a_restart_changes_nothing(server: Server) -> Server {
    let held = Held::of(&mut server.client());
    let server = server.stop().start();
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    held.must_equal(&Held::of(&mut client), "after kill -9");
    server
}

/// The additional memory that a server may use after a storm: buffers kept for later requests. It does not grow with
/// the length of a storm; 340 to 840 KiB were measured.
///
/// * 512 KiB: the spans of a batch (`net/batch.rs`).
/// * 256 KiB: the table of the compressor of snapshots (`codec/lzf.rs`).
/// * 64 KiB each: the replies to a script's calls (`scripts/run.rs`), and the words of a call (`scripts/words.rs`).
/// * 384 KiB: the histograms of the commands in these tests, 13 KiB each; the tables of clients, waits, tracking,
///   subscriptions and the slow log, which keep the size needed for 24 clients; 4 KiB of each buffer.
const KEPT: i64 = 1280 * 1024;

/// Deleting all data frees the memory.
pub fn memory_comes_back(client: &mut Client, before: &Before) {
    for line in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", "SLOWLOG RESET", "CONFIG RESETSTAT"] {
        client.ok(line);
    }
    client.run("LATENCY RESET");
    client.ok("MEMORY PURGE");
    let more = client.info_number("used_memory") - before.used_memory;
    assert!(more < KEPT, "{more} bytes more than before the storm");
    eprintln!("storm: {} KiB more than before it", more / 1024);
}

/// The server has logged no internal fault.
pub fn the_log_is_clean(server: &Server) {
    let log = server.log();
    let fault = log.lines().position(|line| FAULTS.iter().any(|word| line.contains(word)));
    let shown = |at: usize| log.lines().skip(at).take(40).collect::<Vec<_>>().join("\n");
    assert!(fault.is_none(), "the server has logged a fault:\n{}", fault.map(shown).unwrap_or_default());
}
