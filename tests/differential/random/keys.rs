//! Commands on keys of any type.

use super::words::{any_key, one_of, some, split};
use super::{Family, Generator};
use crate::args;
use crate::pair::Rule;

const PATTERNS: &[&str] = &["*", "k*", "[a-c]", "?", "key:[^1]", "nothing*", "*:1"];

const SCANS: &[&str] = &["0", "0 COUNT 3", "0 MATCH k*", "0 TYPE string", "0 TYPE list COUNT 1"];

pub const FAMILY: Family = Family {
    name: "keys",
    words: &["MATCH", "COUNT", "TYPE", "ASYNC", "SYNC", "string"],
    commands: &[
        Generator::new("del", 1, |r| some(r, 4, any_key)),
        Generator::new("unlink", 1, |r| some(r, 4, any_key)),
        Generator::new("exists", 2, |r| some(r, 4, any_key)),
        Generator::new("touch", 1, |r| some(r, 4, any_key)),
        Generator::new("type", 2, |r| args![any_key(r)]),
        Generator::new("object|encoding", 3, |r| args![any_key(r)]),
        Generator::new("object|refcount", 1, |r| args![any_key(r)]),
        Generator::new("keys", 1, |r| args![one_of(r, PATTERNS)]).compared(Rule::Unordered),
        Generator::new("scan", 1, |r| split(r.pick::<&str>(SCANS))).compared(Rule::Scan).sensible_only(),
        Generator::new("dbsize", 1, |_| args![]),
        Generator::new("flushdb", 1, |_| args![]).sensible_only(),
    ],
};
