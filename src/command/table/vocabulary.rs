//! The words that the command table's definition may use, in the order in which replies list them. `build.rs` reads
//! them to check a definition, and the crate to print it. The bit of a flag or category is its word's index in the
//! list.

/// The properties of a command and the places where it may run, as `COMMAND INFO` names them.
pub const FLAGS: &[&str] = &[
    "write",
    "readonly",
    "denyoom",
    "module",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "may_replicate",
    "no_mandatory_keys",
    "protected",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
    "no_data",
];

/// The ACL categories, without their `@`.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The categories that follow from flags, each with its flag. A command that is not `fast` is `slow`.
pub const IMPLIED: &[(&str, &str)] = &[
    ("write", "write"),
    ("readonly", "read"),
    ("admin", "admin"),
    ("admin", "dangerous"),
    ("pubsub", "pubsub"),
    ("fast", "fast"),
    ("blocking", "blocking"),
];

/// The access of a command to a key: one of the first four, then any of the others.
pub const KEY_FLAGS: &[&str] = &[
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
];

/// The kinds of documented arguments.
pub const ARGUMENT_KINDS: &[&str] =
    &["string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"];

/// The groups of the documentation.
pub const GROUPS: &[&str] = &[
    "generic",
    "string",
    "list",
    "set",
    "sorted-set",
    "hash",
    "pubsub",
    "transactions",
    "connection",
    "server",
    "scripting",
    "hyperloglog",
    "cluster",
    "sentinel",
    "geo",
    "stream",
    "bitmap",
    "module",
];

/// The ways to find a call's keys if the key specifications are not enough.
pub const KEY_FINDERS: &[&str] = &["set", "bitfield", "sort", "migrate"];

/// The index of `word` in `list`, or `None`: `const`, so that a misspelt constant does not compile.
pub const fn place(list: &[&str], word: &str) -> Option<u32> {
    let mut at = 0;
    while at < list.len() {
        if same(list[at].as_bytes(), word.as_bytes()) {
            return Some(at as u32);
        }
        at += 1;
    }
    None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The bit of `word` in `list`. As a constant, fails to compile for a word that is not in the list.
pub const fn bit(list: &[&str], word: &str) -> u64 {
    match place(list, word) {
        Some(place) => 1 << place,
        None => panic!("no such word in the vocabulary"),
    }
}
