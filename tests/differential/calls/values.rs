//! The data set for generated calls, valid values of arguments, and invalid ones.

use super::documented::{Documented, Role, Word};
use crate::script::split;

/// The keys of the data set: one or two of each type, and the commands that create them.
pub const FIXTURE: &[(&str, &[&str])] = &[
    ("string", &["SET string 'hello world'"]),
    ("string2", &["SET string2 foobar"]),
    ("number", &["SET number 10"]),
    ("expiring", &["SET expiring value EX 50000"]),
    ("bits", &["SETBIT bits 7 1", "SETBIT bits 100 1"]),
    ("hll", &["PFADD hll a b c"]),
    ("hll2", &["PFADD hll2 c d"]),
    ("list", &["RPUSH list a b c 1 2 a"]),
    ("list2", &["RPUSH list2 x y"]),
    ("set", &["SADD set a b c"]),
    ("set2", &["SADD set2 1 2 3"]),
    ("hash", &["HSET hash f1 v1 f2 10 f3 1.5"]),
    ("hash2", &["HSET hash2 f1 x"]),
    ("zset", &["ZADD zset 1 a 2 b 3 c"]),
    ("zset2", &["ZADD zset2 0 a 0 b 0 d"]),
    ("geo", &["GEOADD geo 13.361389 38.115556 a 15.087269 37.502669 b"]),
    (
        "stream",
        &["XADD stream 1-1 f v", "XADD stream 2-1 f v", "XADD stream 3-1 f v", "XGROUP CREATE stream g 0"],
    ),
    ("stream2", &["XADD stream2 1-1 f v"]),
];

/// Keys that replace the right one: one of each type, and a missing one.
pub const OTHER_KEYS: &[&str] = &[
    "string", "number", "expiring", "bits", "hll", "list", "set", "set2", "hash", "zset", "geo", "stream",
    "missing", "",
];

/// The commands that create a key again, after its removal.
pub fn remake(key: &str) -> Vec<Vec<Vec<u8>>> {
    let made = FIXTURE.iter().filter(|(name, _)| *name == key).flat_map(|(_, lines)| *lines);
    let words = |line: &&str| split(line).expect("lines of the data set are well formed");
    [vec![b"DEL".to_vec(), key.into()]].into_iter().chain(made.map(words)).collect()
}

/// The key whose type the commands of a group expect.
fn key_of(group: &str) -> &'static str {
    match group {
        "bitmap" => "bits",
        "hyperloglog" => "hll",
        "list" => "list",
        "set" => "set",
        "hash" => "hash",
        "sorted-set" => "zset",
        "geo" => "geo",
        "stream" => "stream",
        _ => "string",
    }
}

/// Valid values of an argument, each as a form of one word; the plainest comes first. None of them is a time to live
/// that ends soon, or an endless timeout.
pub fn samples(command: &Documented, name: &str, kind: &str) -> Vec<Vec<Word>> {
    let key = key_of(&command.group);
    let wait = Role::Value { name: "timeout".into(), kind: kind.into() };
    let role = match (kind, name) {
        ("key", _) => Role::Key,
        (_, "numkeys") => Role::Keys,
        // The milliseconds in XREAD's documentation are a timeout; elsewhere they are times to live.
        (_, "milliseconds") if command.name.starts_with('x') => wait,
        _ => Role::Value { name: name.into(), kind: kind.into() },
    };
    let texts: Vec<String> = match (kind, name) {
        ("key", "destination" | "destkey" | "dst" | "newkey") => vec!["fresh".into(), format!("{key}2")],
        ("key", "key2") => vec![format!("{key}2"), key.into()],
        ("key", _) => vec![key.into(), format!("{key}2"), "missing".into()],
        _ => values(&command.name, name, kind).iter().map(ToString::to_string).collect(),
    };
    let bytes = |text: &String| {
        if text.starts_with('"') { split(text).expect("a quoted word").concat() } else { text.clone().into() }
    };
    texts.iter().map(|text| vec![Word { text: bytes(text), role: role.clone() }]).collect()
}

/// See [`samples`].
#[expect(clippy::match_same_arms, reason = "a table, ordered by topic")]
fn values(command: &str, name: &str, kind: &str) -> &'static [&'static str] {
    match (command, name, kind) {
        ("incrbyfloat" | "hincrbyfloat" | "zincrby", "increment", _) => &["1.5", "-2", "1e2"],
        // Payloads of `value` and of 12 from Redis 7.0, and the first one with a wrong checksum.
        (_, "serialized-value", _) => &[
            "\"\\x00\\x05\\x76\\x61\\x6c\\x75\\x65\\x0a\\x00\\x81\\xf6\\xc1\\x38\\xc1\\xaa\\x9b\\x6e\"",
            "\"\\x00\\xc0\\x0c\\x0a\\x00\\x3c\\x2a\\xf8\\x51\\x5c\\x04\\xbc\\xd5\"",
            "\"\\x00\\x05\\x76\\x61\\x6c\\x75\\x65\\x0a\\x00\\x81\\xf6\\xc1\\x38\\xc1\\xaa\\x9b\\x00\"",
        ],
        ("bitop", "operation", _) => &["AND", "OR", "xor", "NOT"],
        ("pfdebug", "subcommand", _) => &["ENCODING", "DECODE", "TODENSE", "GETREG"],
        ("config|set", "parameter", _) => &["timeout", "maxmemory-policy", "no-such"],
        ("config|set", "value", _) => &["0", "noeviction"],
        ("config|get", _, _) => &["timeout", "time*", "no-such", "*-policy"],
        ("client|setname" | "hello", "connection-name" | "clientname", _) => &["me", "with blank"],
        ("command|info" | "command|docs" | "latency|histogram", _, _) => {
            &["get", "no-such", "object|encoding"]
        }
        ("command|list", _, _) => &["string", "get*", "no-such"],
        ("info", _, _) => &["server", "keyspace", "all", "no-such"],
        ("hello", "protover", _) => &["2", "3", "4"],
        (_, "username", _) => &["default", "nobody"],
        (_, "type", "string") => &["string", "list", "hash", "no-such"],
        (_, "encoding", _) => &["u8", "i5", "u63", "i64", "u64"],
        (_, "seconds" | "ttl", _) if command.starts_with("restore") => &["0", "100000"],
        (_, "seconds", _) => &["100000", "10000"],
        (_, "milliseconds", _) if command.starts_with('x') => &["1"],
        (_, "milliseconds", _) => &["100000000", "10000000"],
        (_, "unix-time-seconds", _) => &["33177117420", "1"],
        (_, "unix-time-milliseconds", _) => &["33177117420000", "1"],
        (_, "timeout", "double") => &["0.001"],
        (_, "timeout", _) => &["1"],
        (_, "numkeys", _) => &["1"],
        (_, "numreplicas" | "cursor", _) => &["0"],
        (_, "db" | "destination-db" | "index1", _) => &["1", "0"],
        ("select", "index", _) => &["0", "1"],
        (_, "index2", _) => &["0", "1"],
        (_, "index", _) => &["0", "-1", "2", "99"],
        (_, "bit", _) => &["1", "0"],
        ("setbit", "value", _) => &["1", "0"],
        (_, "value", "integer") => &["5", "300", "-1"],
        (_, "increment" | "decrement", _) => &["1", "-7", "9223372036854775807"],
        (_, "offset", _) => &["0", "3", "100"],
        ("zrange" | "zrangestore", "start" | "min", _) => &["0", "1", "(1", "-", "[a", "-inf"],
        ("zrange" | "zrangestore", "stop" | "max", _) => &["-1", "2", "(3", "+", "[c", "+inf"],
        ("zlexcount" | "zrangebylex" | "zremrangebylex", "min", _) | ("zrevrangebylex", "max", _) => {
            &["-", "[a", "(a"]
        }
        ("zlexcount" | "zrangebylex" | "zremrangebylex", "max", _) | ("zrevrangebylex", "min", _) => {
            &["+", "[c", "(c"]
        }
        (_, "min", _) => &["-inf", "1", "(1"],
        (_, "max", _) => &["+inf", "3", "(3"],
        ("xrange" | "xpending", "start", _) | ("xrevrange", "end", _) => &["-", "1-1", "(1-1", "2"],
        ("xrange" | "xpending", "end", _) | ("xrevrange", "start", _) => &["+", "2-1", "(3-1", "2"],
        ("xautoclaim", "start", _) => &["0", "2-1"],
        (_, "start", _) => &["0", "1", "-3"],
        (_, "end" | "stop", _) => &["-1", "2", "-2"],
        ("xadd", "id", _) => &["9-1", "9-*", "1-1"],
        ("xread" | "xreadgroup", "id", _) => &["0", ">", "$", "1-1"],
        (_, "id" | "last-id" | "max_deleted_entry_id", _) => &["2-1", "0", "$", "9-9"],
        (_, "threshold", _) => &["2", "2-1"],
        (_, "group" | "groupname", _) => &["g", "no-such"],
        (_, "min-idle-time" | "ms", _) => &["0"],
        (_, "longitude", _) => &["13.5", "-80"],
        (_, "latitude", _) => &["38", "-45.5"],
        (_, "radius" | "width" | "height", _) => &["200", "0.5"],
        (_, "score" | "weight", _) => &["1", "2.5", "-inf"],
        (_, "member" | "member1" | "element" | "pivot", _) => &["a", "b", "new"],
        (_, "member2", _) => &["b", "new"],
        (_, "field", _) => &["f1", "f2", "new"],
        ("sort" | "sort_ro", "pattern", _) => &["no*", "#", "missing", "string*"],
        (_, "pattern", _) => &["*", "s*", "no-such"],
        (_, "rank", _) => &["1", "-1"],
        (_, "section", _) => &["server"],
        (_, "value" | "message", _) => &["value", "12"],
        (_, _, "integer") => &["2", "0", "100"],
        (_, _, "double") => &["1.5", "-2"],
        _ => &["text", "other"],
    }
}

/// Invalid replacements for a value: too large, too small, almost a number, empty, not text.
pub fn odd(role: &Role) -> &'static [&'static [u8]] {
    const INTEGERS: &[&[u8]] = &[
        b"",
        b"abc",
        b"0",
        b"-1",
        b"1.5",
        b"9223372036854775807",
        b"9223372036854775808",
        b"+1",
        b"01",
        b" 1",
        b"1 ",
        b"0x10",
        b"nan",
        b"4294967296",
        b"-0",
        b"-9223372036854775808",
    ];
    // All but the last, which LPOS refuses since 7.2.
    const RANKS: &[&[u8]] = INTEGERS.split_last().unwrap().1;
    const DOUBLES: &[&[u8]] = &[
        b"",
        b"abc",
        b"0",
        b"-0",
        b"-1",
        b"1.5",
        b"nan",
        b"inf",
        b"-inf",
        b"+inf",
        b"1e400",
        b"1e-400",
        b"0x10",
        b"3.0e3",
        b"1.",
        b"(.5",
        b" 1",
        b"1 ",
        b"9223372036854775808",
        b"1.7976931348623157e308",
        b"0.1000000000000000055511151231",
    ];
    const TIMEOUTS: &[&[u8]] = &[b"", b"abc", b"-1", b"nan", b"1x", b" 1"];
    const TEXTS: &[&[u8]] = &[b"", b"abc", b"\x00\xff", &[b'x'; 100], b"-1", b"1.5", b"*", b"$", b"("];
    match role {
        Role::Value { name, .. } if name == "timeout" || name == "numreplicas" => TIMEOUTS,
        Role::Value { name, .. } if name == "rank" => RANKS,
        Role::Value { kind, .. } if kind == "integer" || kind == "unix-time" => INTEGERS,
        Role::Value { kind, .. } if kind == "double" => DOUBLES,
        Role::Value { .. } => TEXTS,
        Role::Keys => INTEGERS,
        Role::Token => &[b"no-such", b""],
        Role::Key => &[],
    }
}
