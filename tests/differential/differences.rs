//! Replies that are meant to differ from those of `redis-server` 7.0, each with its reason.
//!
//! Everything that is not here has to be equal byte for byte. The list is short on purpose: a difference that a
//! client could notice needs a reason that a user would accept.

use crate::support::Value;

/// What may differ in the replies to one command.
struct Difference {
    /// The first words of the command, in upper case.
    command: &'static [&'static str],
    allowed: Allowed,
    #[allow(dead_code, reason = "it is here for the reader")]
    reason: &'static str,
}

enum Allowed {
    /// The values beside these keys of a map, as long as they are of the same kind.
    Fields(&'static [&'static str]),
    /// Redis calls the command unknown, here it works.
    NewHere,
    /// Both answer with some text.
    Texts,
    /// Redis's reply with one text for another.
    Text { redis: &'static str, here: &'static str },
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        command: &["HELLO"],
        allowed: Allowed::Fields(&["version", "id"]),
        reason: "the version is 7.2.4 here; connections are numbered from the start of each server",
    },
    Difference { command: &["CLIENT", "SETINFO"], allowed: Allowed::NewHere, reason: "came with 7.2" },
    Difference {
        command: &["CLIENT", "PAUSE", "9223372036854775807"],
        allowed: Allowed::Text { redis: "+OK\r\n", here: "-ERR timeout is out of range\r\n" },
        reason: "the end of the pause overflows into the past there, so that nothing is paused",
    },
    Difference { command: &["CLIENT", "NO-TOUCH"], allowed: Allowed::NewHere, reason: "came with 7.2" },
    Difference {
        command: &["CONFIG", "SET", "LOGLEVEL"],
        allowed: Allowed::Text {
            redis: "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of \
                    the following: debug, verbose, notice, warning\r\n",
            here: "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the \
                   following: debug, verbose, notice, warning, nothing\r\n",
        },
        reason: "the level that logs nothing came with 7.2",
    },
    Difference {
        command: &["CONFIG", "SET", "MAXMEMORY-CLIENTS", "99999999999999999999"],
        allowed: Allowed::Text {
            redis: "+OK\r\n",
            here: "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - argument must be a \
                   memory or percent value\r\n",
        },
        reason: "Redis's number overflows and becomes a limit of 1%, which nobody asked for",
    },
    Difference { command: &["DEBUG", "DICT-RESIZING"], allowed: Allowed::NewHere, reason: "came with 7.2" },
    Difference {
        command: &["DEBUG", "CLIENT-ENFORCE-REPLY-LIST"],
        allowed: Allowed::NewHere,
        reason: "came with 7.2",
    },
    Difference {
        command: &["DEBUG", "HTSTATS", "0", "FULL"],
        allowed: Allowed::NewHere,
        reason: "came with 7.2",
    },
    Difference {
        command: &["DEBUG", "HTSTATS-KEY", "NONE", "FULL"],
        allowed: Allowed::Text {
            redis: "-ERR unknown subcommand or wrong number of arguments for 'HTSTATS-KEY'. Try DEBUG HELP.\r\n",
            here: "-ERR no such key\r\n",
        },
        reason: "the option came with 7.2",
    },
    Difference {
        command: &["DEBUG", "STRINGMATCH-LEN"],
        allowed: Allowed::NewHere,
        reason: "Redis tries its patterns in one test of its own; here anyone can try one",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nhashtable\r\n", here: "$8\r\nlistpack\r\n" },
        reason: "small sets of words are listpacks since 7.2",
    },
    Difference {
        command: &["OBJECT", "ENCODING"],
        allowed: Allowed::Text { redis: "$9\r\nquicklist\r\n", here: "$8\r\nlistpack\r\n" },
        reason: "small lists are listpacks since 7.2",
    },
    Difference {
        command: &["MEMORY", "DOCTOR"],
        allowed: Allowed::Texts,
        reason: "what it finds and advises is about our allocator, in our words",
    },
];

/// Whether the list allows these two replies to `args`.
pub fn intended(args: &[Vec<u8>], here: &Value, redis: &Value) -> bool {
    let words: Vec<String> = args.iter().map(|a| String::from_utf8_lossy(a).to_uppercase()).collect();
    let applies =
        |d: &&Difference| d.command.len() <= words.len() && words.iter().zip(d.command).all(|(w, c)| w == c);
    DIFFERENCES.iter().filter(applies).any(|difference| match difference.allowed {
        Allowed::Fields(fields) => masked(here, fields) == masked(redis, fields),
        Allowed::NewHere => matches!(redis, Value::Error(e) if e.starts_with(b"ERR unknown subcommand")),
        Allowed::Texts => std::mem::discriminant(here) == std::mem::discriminant(redis) && !here.is_error(),
        Allowed::Text { redis: theirs, here: ours } => encoded(redis) == theirs && encoded(here) == ours,
    })
}

/// A reply of one line as it was sent.
fn encoded(value: &Value) -> String {
    match value {
        Value::Integer(n) => format!(":{n}\r\n"),
        Value::Simple(b) => format!("+{}\r\n", String::from_utf8_lossy(b)),
        Value::Error(b) => format!("-{}\r\n", String::from_utf8_lossy(b)),
        Value::Bulk(b) => format!("${}\r\n{}\r\n", b.len(), String::from_utf8_lossy(b)),
        _ => String::new(),
    }
}

/// `value` with the values beside `fields` made equal; their kind stays.
fn masked(value: &Value, fields: &[&str]) -> Value {
    let named = |key: &Value| matches!(key, Value::Bulk(b) if fields.iter().any(|f| f.as_bytes() == b));
    let blank = |value: &Value| match value {
        Value::Integer(_) => Value::Integer(0),
        Value::Bulk(_) => Value::Bulk(Vec::new()),
        other => other.clone(),
    };
    let pair = |key: &Value, value: &Value| if named(key) { blank(value) } else { value.clone() };
    match value {
        Value::Map(pairs) => Value::Map(pairs.iter().map(|(k, v)| (k.clone(), pair(k, v))).collect()),
        Value::Array(all) => {
            Value::Array(all.chunks(2).flat_map(|c| [c[0].clone(), pair(&c[0], &c[c.len() - 1])]).collect())
        }
        other => other.clone(),
    }
}
