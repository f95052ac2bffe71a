//! Replies of cluster nodes without the parts that differ between two clusters of the same form: IDs, ports, times.

use crate::support::reply::{Decoded, decode};
use crate::support::{Reply, Value};
use memchr::memmem;

/// The names of a node in the replies of its cluster.
pub struct Name {
    pub id: String,
    /// Empty before Redis 7.2.
    pub shard: String,
    pub port: u16,
    /// 0 outside of a cluster.
    pub bus_port: u16,
}

/// The nodes of one cluster. Requests name them by `<id0>`, `<shard0>`, `<port0>` and `<bus0>`. In replies, the nodes
/// of both clusters get the same IDs and ports.
#[derive(Default)]
pub struct Names(pub Vec<Name>);

impl Names {
    /// A request with the IDs and ports of this cluster.
    pub fn request(&self, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let named = |arg: &Vec<u8>| {
            if self.0.is_empty() || !arg.contains(&b'<') {
                return arg.clone();
            }
            let Ok(mut text) = String::from_utf8(arg.clone()) else { return arg.clone() };
            for (at, node) in self.0.iter().enumerate() {
                let (port, bus_port) = (node.port.to_string(), node.bus_port.to_string());
                for (word, own) in
                    [("id", &node.id), ("shard", &node.shard), ("port", &port), ("bus", &bus_port)]
                {
                    text = text.replace(&format!("<{word}{at}>"), own);
                }
            }
            text.into_bytes()
        };
        args.iter().map(named).collect()
    }

    /// A reply without the IDs and ports of this cluster.
    pub fn reply(&self, reply: Reply) -> Reply {
        let mut raw = reply.raw;
        // After a reset, a node has an ID that is not in the list.
        let mut names_nodes =
            [&b"myself"[..], b"replication-offset"].iter().any(|word| memmem::find(&raw, word).is_some());
        for (at, node) in self.0.iter().enumerate() {
            for (own, kind) in [(&node.id, "node"), (&node.shard, "shard")] {
                if !own.is_empty() && memmem::find(&raw, own.as_bytes()).is_some() {
                    names_nodes = true;
                    raw = replaced(&raw, own, &format!("{kind}-{at}{}", "-".repeat(38 - kind.len())));
                }
            }
        }
        names_nodes |= memmem::find(&raw, b"$40\r\n").is_some();
        for (at, node) in self.0.iter().enumerate() {
            // Numbers above 65535 are no valid ports, so they cannot occur otherwise.
            raw = replaced(&raw, &format!("127.0.0.1:{}", node.port), &format!("127.0.0.1:7000{at}"));
            if names_nodes && node.bus_port != 0 {
                // A node that has met no other does not know its own address.
                raw = replaced(&raw, &format!(":{}@", node.port), &format!(":7000{at}@"));
                raw = replaced(&raw, &format!("@{}", node.bus_port), &format!("@8000{at}"));
                raw = replaced(&raw, &format!("\r\n:{}\r\n", node.port), &format!("\r\n:7000{at}\r\n"));
            }
        }
        match decode(&raw) {
            Ok(Decoded::Whole(value, _)) => Reply { value, raw },
            _ => panic!("the lengths of a reply have changed: {}", raw.escape_ascii()),
        }
    }
}

/// `raw` with `own` replaced by a text of the same length.
fn replaced(raw: &[u8], own: &str, other: &str) -> Vec<u8> {
    assert_eq!(own.len(), other.len(), "{own}, {other}");
    let mut raw = raw.to_vec();
    let found: Vec<usize> = memmem::find_iter(&raw, own).collect();
    for at in found {
        raw[at..at + own.len()].copy_from_slice(other.as_bytes());
    }
    raw
}

/// The numeric fields of a node or of a link that differ between two clusters.
const FIELDS: &[&[u8]] =
    &[b"replication-offset", b"create-time", b"events", b"send-buffer-allocated", b"send-buffer-used"];

/// A description of a cluster without its times and counters, in an order that depends only on names.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Bulk(id) if is_unknown(id) => Value::Bulk(b"unknown".to_vec()),
        Value::Bulk(text) => Value::Bulk(plain_text(text)),
        Value::Verbatim(text) => Value::Verbatim(plain_text(text)),
        Value::Map(pairs) => Value::Map(pairs.iter().map(plain_pair).collect()),
        Value::Array(all) => {
            let is_list = |value: &Value| matches!(value, Value::Array(_) | Value::Map(_));
            if !all.is_empty() && all.iter().all(is_list) {
                let mut all: Vec<Value> = all.iter().map(plain).collect();
                all.sort();
                return Value::Array(all);
            }
            let mut hidden = false;
            let element = |value: &Value| {
                let found = if hidden { Value::Integer(0) } else { plain(value) };
                hidden = !hidden && is_field(value);
                found
            };
            Value::Array(all.iter().map(element).collect())
        }
        other => other.clone(),
    }
}

fn plain_pair((key, value): &(Value, Value)) -> (Value, Value) {
    (key.clone(), if is_field(key) { Value::Integer(0) } else { plain(value) })
}

fn is_field(key: &Value) -> bool {
    matches!(key, Value::Bulk(name) if FIELDS.contains(&&name[..]))
}

/// Whether this is the ID of a node that is not in [`Names`].
fn is_unknown(id: &[u8]) -> bool {
    id.len() == 40 && id.iter().all(u8::is_ascii_hexdigit)
}

/// The lines of `CLUSTER NODES` without times and IDs of unknown nodes, or those of `CLUSTER INFO` without the numbers
/// of messages; sorted.
fn plain_text(text: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
    // The format of a verbatim string does not belong to its first line.
    let text = text.strip_prefix("txt:").unwrap_or(text);
    let mut lines: Vec<String> = text.lines().map(plain_line).collect();
    if lines.len() > 1 {
        lines.sort();
    }
    lines.join("\n").into_bytes()
}

fn plain_line(line: &str) -> String {
    if let Some((name, _)) = line.split_once(':')
        && name.starts_with("cluster_stats_messages_")
    {
        return name.to_string();
    }
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() >= 8 && words[0].len() == 40 {
        (words[4], words[5]) = ("sent", "received");
        if words[2].contains("fail") {
            // The link is closed and opened repeatedly.
            words[7] = "link";
        }
        if is_unknown(words[0].as_bytes()) {
            words[0] = "unknown";
        }
    }
    words.join(" ")
}

#[test]
fn replies_of_two_clusters_are_alike_without_their_names() {
    let names = |id: &str, port| {
        let name = Name { id: id.repeat(40), shard: String::new(), port, bus_port: port + 1 };
        Names(vec![name])
    };
    let reply = |names: &Names, text: String| {
        let raw = format!("${}\r\n{text}\r\n", text.len()).into_bytes();
        names.reply(Reply { value: Value::Null, raw }).value
    };
    let line = |names: &Names, time: u32| {
        let node = &names.0[0];
        let text =
            format!("{} 127.0.0.1:{}@{} master - {time} 7 1 connected\n", node.id, node.port, node.bus_port);
        reply(names, text)
    };
    let (here, redis) = (names("a", 20_000), names("b", 30_000));
    assert_ne!(line(&here, 1), line(&redis, 2));
    assert_eq!(plain(&line(&here, 1)), plain(&line(&redis, 2)));
    assert_ne!(
        plain(&line(&here, 1)),
        plain(&reply(&redis, format!("{} 127.0.0.1:1@2 master - 1 7 1 connected\n", "b".repeat(40))))
    );
    assert_eq!(here.request(&[b"<id0>".to_vec(), b"<port0>".to_vec()])[1], b"20000");
}
