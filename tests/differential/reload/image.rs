//! The contents of all databases, in a form that is the same for every server with the same data. Encodings are left
//! out, scores are numbers, and the seen times of stream consumers are left out, because no AOF contains them.

use crate::support::{Client, Value};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of keys requested before replies are read.
const BATCH: usize = 64;

/// Fields of XINFO STREAM about the layout in memory, and times that are not logged.
const NOT_LOGGED: [&[u8]; 4] = [b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time"];

/// A database and the name of a key in it.
type Key = (usize, Vec<u8>);

/// The value of a key, and its expiry.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    /// In milliseconds of Unix time; -1 for never.
    expires: i64,
    content: Vec<Value>,
}

impl Entry {
    fn has_expired(&self, now: i64) -> bool {
        (0..=now).contains(&self.expires)
    }
}

/// The data set of a server.
pub struct Image {
    keys: BTreeMap<Key, Entry>,
    /// The code of each library of functions.
    libraries: BTreeMap<Vec<u8>, Value>,
    /// The time when reading ended, in milliseconds of Unix time.
    taken: i64,
}

impl Image {
    /// Reads everything. The client has the last database selected afterwards.
    pub fn of(client: &mut Client) -> Image {
        let mut keys = BTreeMap::new();
        let keyspace = client.run("INFO keyspace").text();
        let numbers = keyspace.lines().filter_map(|line| line.strip_prefix("db")?.split(':').next());
        for number in numbers {
            client.ok(&format!("SELECT {number}"));
            let number = number.parse().expect("the number of a database");
            let names: Vec<Vec<u8>> = client.run("KEYS *").elements().into_iter().map(bytes).collect();
            for names in names.chunks(BATCH) {
                let entries = entries(client, names);
                keys.extend(names.iter().map(|name| (number, name.clone())).zip(entries));
            }
        }
        let taken = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
        Image { keys, libraries: libraries(client), taken: taken as i64 }
    }

    /// Describes the first difference to a later image of the same data. Keys that have expired by then are ignored.
    pub fn difference(&self, later: &Image) -> Option<String> {
        let now = later.taken.max(self.taken);
        let lives = |entry: &&Entry| !entry.has_expired(now);
        for key in self.keys.keys().chain(later.keys.keys()) {
            let [a, b] = [self, later].map(|image| image.keys.get(key).filter(lives));
            if a != b {
                let (database, name) = (key.0, key.1.escape_ascii());
                let shown = |entry: Option<&Entry>| entry.map_or("no such key".into(), Entry::shown);
                return Some(format!(
                    "  key \"{name}\" of database {database}\n  before: {}\n  loaded: {}",
                    shown(a),
                    shown(b)
                ));
            }
        }
        (self.libraries != later.libraries)
            .then(|| format!("  libraries before: {:?}\n  loaded: {:?}", self.libraries, later.libraries))
    }
}

impl Entry {
    fn shown(&self) -> String {
        let mut content = format!("{:?}", self.content);
        if content.len() > 2000 {
            content = content.chars().take(2000).collect::<String>() + "...";
        }
        format!("{} that expires at {}: {content}", self.kind, self.expires)
    }
}

/// The entries of keys of the selected database. The content of a key that expires meanwhile is not compared.
fn entries(client: &mut Client, names: &[Vec<u8>]) -> Vec<Entry> {
    let about = names.iter().flat_map(|name| [vec![b"TYPE", &name[..]], vec![b"PEXPIRETIME", &name[..]]]);
    let about = piped(client, about);
    let kinds: Vec<String> = about.iter().step_by(2).map(Value::text).collect();
    let contents = piped(client, names.iter().zip(&kinds).map(|(name, kind)| reading(kind, name)));
    let times = about.iter().skip(1).step_by(2).map(Value::integer);
    let all = kinds.into_iter().zip(times).zip(contents);
    all.map(|((kind, expires), content)| {
        // It expired between the two rounds, or between KEYS and the first.
        let expires = if kind == "none" { 0 } else { expires.max(-1) };
        Entry { content: plain(&kind, content), kind, expires }
    })
    .collect()
}

/// The request that reads the whole value of a key of type `kind`.
fn reading<'a>(kind: &str, name: &'a [u8]) -> Vec<&'a [u8]> {
    match kind {
        "zset" => vec![b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"],
        "stream" => vec![b"XINFO", b"STREAM", name, b"FULL", b"COUNT", b"0"],
        _ => vec![b"DEBUG", b"DIGEST-VALUE", name],
    }
}

/// Sends requests at once and reads their replies.
fn piped<'a>(client: &mut Client, requests: impl Iterator<Item = Vec<&'a [u8]>>) -> Vec<Value> {
    let count = requests.map(|args| client.send(&args).expect("a server that accepts a request")).count();
    (0..count).map(|_| client.read_reply().expect("a reply").value).collect()
}

/// Converts the reply for a key of type `kind` to a form that is the same for every server with the same data.
fn plain(kind: &str, reply: Value) -> Vec<Value> {
    match (kind, reply) {
        ("zset", Value::Array(all)) => {
            all.chunks(2).flat_map(|pair| [pair[0].clone(), score(&pair[1])]).collect()
        }
        ("stream", reply) => vec![without_unlogged(reply)],
        (_, reply) => vec![reply],
    }
}

/// The bits of a score, because servers print different numbers of digits.
fn score(text: &Value) -> Value {
    let number: f64 = text.text().parse().expect("a score");
    Value::Integer((number + 0.0).to_bits() as i64)
}

fn without_unlogged(value: Value) -> Value {
    let Value::Array(all) = value else { return value };
    let is_name = |value: &Value| matches!(value, Value::Bulk(name) if NOT_LOGGED.contains(&&name[..]));
    let mut kept = Vec::with_capacity(all.len());
    let mut all = all.into_iter();
    while let Some(element) = all.next() {
        if kept.len() % 2 == 0 && is_name(&element) {
            all.next();
        } else {
            kept.push(without_unlogged(element));
        }
    }
    without_overflow(&mut kept);
    Value::Array(kept)
}

/// Replaces a group's overflowed read counter by an unknown one, as in an AOF. The lag becomes unknown too, because it
/// is computed from the counter.
fn without_overflow(group: &mut [Value]) {
    let value_of =
        |name: &[u8]| group.iter().position(|v| matches!(v, Value::Bulk(b) if b == name)).map(|at| at + 1);
    let (Some(read), Some(lag)) = (value_of(b"entries-read"), value_of(b"lag")) else { return };
    if !matches!(group.get(read), Some(Value::Integer(0..))) {
        (group[read], group[lag]) = (Value::Null, Value::Null);
    }
}

fn libraries(client: &mut Client) -> BTreeMap<Vec<u8>, Value> {
    let all = client.run("FUNCTION LIST WITHCODE").elements();
    all.iter().map(|library| (bytes(library.field("library_name")), library.field("library_code"))).collect()
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("no bulk string: {other:?}"),
    }
}
