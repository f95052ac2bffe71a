//! The command table beside Redis: the replies of `COMMAND` and HELP, and the errors for refused calls, byte for byte.
//! Also the table's compiler: its messages about mistakes in a definition.

#[path = "../build.rs"]
#[allow(dead_code)]
mod build;
mod support;

use redstart::command::table::{self, Command, Handler};
use redstart::command::{CommandNames, introspect};
use redstart::resp::{Protocol, Reply};
use std::collections::BTreeSet;
use support::{Client, Launch, Server, Value, Version, reply};

/// Commands that our table has and Redis 7.0 does not.
const NEWER: [&str; 14] = [
    "quit",
    "client|setinfo",
    "client|no-touch",
    "cluster|myshardid",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "httl",
    "waitaof",
];

/// The first Redis with our table: it names arguments separately, and changed some flags and arities.
const SAME_TABLE: Version = Version::new(7, 2);

/// A command with an argument that Redis 7.2 does not have either.
const NEWER_ARGUMENTS: [&str; 1] = ["hscan"];

/// Commands whose number of arguments differs from 7.0.
const NEWER_ARITY: [&str; 4] = ["zrank", "zrevrank", "command|getkeys", "command|getkeysandflags"];

/// Commands that may be called while data is loaded since 7.2.
const NEWER_FLAGS: [&str; 2] = ["cluster|shards", "cluster|slots"];

/// A command that scripts may call since 7.2, like every other blocking command.
const SCRIPTED: &str = "wait";

/// Sends the same request to the table and to Redis.
struct Pair {
    redis: Client,
    peer: Version,
    protocol: Protocol,
    _server: Server,
}

impl Pair {
    fn start(protocol: Protocol) -> Pair {
        let server = Launch::redis().start();
        let mut redis = server.client();
        let peer = Version::of(&mut redis);
        if protocol == Protocol::Resp3 {
            redis.call(&["HELLO", "3"]);
        }
        Pair { redis, peer, protocol, _server: server }
    }

    /// Whether Redis has our table, which is then compared in full.
    fn is_same_table(&self) -> bool {
        self.peer >= SAME_TABLE
    }

    fn ours(&self, args: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let reply = &mut Reply::new(&mut bytes, self.protocol);
        match table::resolve(args) {
            Err(refusal) => reply.error(refusal.message(args)),
            Ok(command) => match command.handler {
                Handler::Server(which) => {
                    assert!(
                        introspect::execute(which, args, CommandNames::default(), reply, usize::MAX),
                        "{args:?}"
                    );
                }
                Handler::Help => {
                    introspect::help(introspect::container_of(command), args[0].as_bytes(), reply);
                }
                _ => panic!("{args:?} does not query the table"),
            },
        }
        bytes
    }

    fn our_value(&self, args: &[&str]) -> Value {
        let bytes = self.ours(args);
        match reply::decode(&bytes) {
            Ok(reply::Decoded::Whole(value, length)) if length == bytes.len() => value,
            _ => panic!("not one whole reply: {}", bytes.escape_ascii()),
        }
    }

    fn assert_same(&mut self, args: &[&str]) {
        let theirs = self.redis.try_call(args).expect("a reply of Redis").raw;
        let ours = self.ours(args);
        let (ours, theirs) = (ours.escape_ascii().to_string(), theirs.escape_ascii().to_string());
        assert_eq!(ours, theirs, "{args:?}");
    }
}

fn both_protocols(check: impl Fn(&mut Pair)) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        check(&mut Pair::start(protocol));
    }
}

fn known_to_redis() -> impl Iterator<Item = &'static Command> {
    table::all().iter().filter(|command| !NEWER.contains(&command.full_name))
}

#[test]
fn each_command_is_described_as_redis_describes_it() {
    both_protocols(|pair| {
        for command in known_to_redis().filter(|command| command.subcommands().is_empty()) {
            let name = command.full_name;
            if pair.is_same_table() {
                pair.assert_same(&["COMMAND", "INFO", name]);
                if !NEWER_ARGUMENTS.contains(&name) {
                    pair.assert_same(&["COMMAND", "DOCS", name]);
                }
            } else if ![&NEWER_ARITY[..], &NEWER_FLAGS, &[SCRIPTED]].concat().contains(&name) {
                let request = ["COMMAND", "INFO", name];
                let (ours, theirs) = (pair.our_value(&request), pair.redis.call(&request));
                let [ours, theirs] = [ours, theirs].map(|reply| as_before_7_2(&reply.elements()[0]));
                assert_eq!(ours, theirs, "{name}");
            }
        }
        pair.assert_same(&["command", "info", "foo", "GET", "client|foo", "Client|ID", "get", "client|id|x"]);
        if pair.is_same_table() {
            pair.assert_same(&["command", "docs", "foo", "get", "client|foo", "OBJECT|freq", "get"]);
        }
    });
}

/// The fields of an entry of COMMAND INFO that 7.2 did not revise: without the tips, and without the flag that keeps
/// blocking commands out of scripts.
fn as_before_7_2(entry: &Value) -> Vec<Value> {
    let mut fields = entry.elements();
    fields.remove(7);
    if let Value::Array(flags) | Value::Set(flags) = &mut fields[2] {
        let waits = flags.iter().any(|flag| flag.text() == "blocking");
        flags.retain(|flag| !waits || flag.text() != "noscript");
    }
    fields
}

#[test]
fn each_container_is_described_as_redis_describes_it_but_for_what_is_missing() {
    both_protocols(|pair| {
        for command in known_to_redis().filter(|command| !command.subcommands().is_empty()) {
            let request = ["COMMAND", "INFO", command.name];
            let ours = pair.our_value(&request).elements()[0].elements();
            let theirs = pair.redis.call(&request).elements()[0].elements();
            assert_eq!(ours[..9], theirs[..9], "{}", command.name);
            let names = |all: &Value| -> BTreeSet<String> {
                all.elements().iter().map(|subcommand| subcommand.elements()[0].text()).collect()
            };
            let (ours, theirs) = (names(&ours[9]), names(&theirs[9]));
            assert!(
                ours.iter().all(|name| theirs.contains(name) || NEWER.contains(&name.as_str())),
                "{ours:?}"
            );

            if !pair.is_same_table() {
                continue;
            }
            let request = ["COMMAND", "DOCS", command.name];
            let ours = pair.our_value(&request).field(command.name);
            let theirs = pair.redis.call(&request).field(command.name);
            for field in ["summary", "since", "group", "complexity"] {
                assert_eq!(ours.field(field), theirs.field(field), "{} {field}", command.name);
            }
            for subcommand in command.subcommands().iter().filter(|sub| !NEWER.contains(&sub.full_name)) {
                let name = subcommand.full_name;
                let (ours, theirs) = (ours.field("subcommands"), theirs.field("subcommands"));
                assert_eq!(ours.field(name), theirs.field(name), "{name}");
            }
        }
    });
}

#[test]
fn the_whole_table_is_what_its_parts_are() {
    let pair = Pair::start(Protocol::Resp3);
    let names: Vec<&str> = table::commands().iter().map(|command| command.name).collect();
    assert_eq!(pair.our_value(&["command", "count"]), Value::Integer(names.len() as i64));
    let by_name = [&["command", "info"], names.as_slice()].concat();
    assert_eq!(pair.our_value(&["command"]), pair.our_value(&by_name));
    assert_eq!(pair.our_value(&["command", "info"]), pair.our_value(&by_name));
    let by_name = [&["command", "docs"], names.as_slice()].concat();
    assert_eq!(pair.our_value(&["command", "docs"]), pair.our_value(&by_name));
}

#[test]
fn lists_of_commands_hold_what_redis_lists_of_them() {
    let mut pair = Pair::start(Protocol::Resp2);
    let filters = [
        "",
        "filterby aclcat READ",
        "FILTERBY ACLCAT dangerous",
        "filterby aclcat fast",
        "filterby aclcat connection",
        "filterby aclcat @read",
        "filterby aclcat nothing",
        "filterby Pattern *EX*",
        "filterby pattern client|*",
        "filterby pattern [a-g]e?",
        "filterby module json",
    ];
    for filter in filters {
        let request: Vec<&str> = ["command", "list"].into_iter().chain(filter.split_whitespace()).collect();
        let texts = |list: Value| -> BTreeSet<String> { list.elements().iter().map(Value::text).collect() };
        let theirs = texts(pair.redis.call(&request));
        let ours = texts(pair.our_value(&request));
        for command in known_to_redis() {
            let name = command.full_name;
            assert_eq!(ours.contains(name), theirs.contains(name), "{name} in the list {filter}");
        }
    }
    for filter in ["filterby", "filterby module", "filterby foo a", "pattern a", "filterby pattern a b"] {
        let request: Vec<&str> = ["command", "list"].into_iter().chain(filter.split(' ')).collect();
        pair.assert_same(&request);
    }
}

#[test]
fn keys_of_calls_are_found_where_redis_finds_them() {
    both_protocols(|pair| {
        for call in [
            "get a",
            "set a b",
            "SET a b GeT",
            "set get GET",
            "set get GET ex 10 get",
            "set a b ge t gett",
            "mset a b c d",
            "mset a b c",
            "mset a",
            "mget a b c",
            "blpop a b 0",
            "brpop a 0",
            "blmove a b left right 0",
            "blmpop 0 2 a b left",
            "xread block 0 streams a b 1 2",
            "bzpopmin a b 0",
            "bzpopmax a 0",
            "bzmpop 0 2 a b min",
            "del a a",
            "unlink a b",
            "getex a persist",
            "expire a 10 nx",
            "object freq a",
            "OBJECT Encoding a",
            "object encoding",
            "object encoding a b",
            "object foo a",
            "object help",
            "object",
            "client",
            "client kill a",
            "client foo a",
            "ping",
            "ping a b c",
            "scan 0",
            "keys a",
            "nonsense a",
            "get",
            "get a b",
            "get|a b",
        ] {
            // Before 7.2 COMMAND GETKEYS refuses a call without arguments as too short.
            if !pair.is_same_table() && !call.contains(' ') {
                continue;
            }
            for subcommand in ["getkeys", "GETKEYSANDFLAGS"] {
                let request: Vec<&str> =
                    ["command", subcommand].into_iter().chain(call.split_whitespace()).collect();
                pair.assert_same(&request);
            }
        }
    });
}

#[test]
fn each_command_refuses_too_few_and_too_many_arguments_with_redis_words() {
    let mut pair = Pair::start(Protocol::Resp2);
    let same = pair.is_same_table();
    // The reply of a refused `EXEC` comes from the server, not from the table.
    let of_table = |command: &&'static Command| command.full_name != "exec";
    let compared = |command: &&'static Command| same || !NEWER_ARITY.contains(&command.full_name);
    for command in known_to_redis().filter(of_table).filter(compared) {
        let name: Vec<&str> = command.full_name.split('|').collect();
        let least = command.arity.unsigned_abs() as usize;
        let counts = [least - 1, if command.arity > 0 { least + 1 } else { 0 }];
        for count in counts.into_iter().filter(|count| *count >= name.len()) {
            let request = [name.as_slice(), &vec!["x"; count - name.len()]].concat();
            // With one more word than its name, a container looks for a subcommand.
            if table::find(request.as_slice()).is_ok_and(|found| found.id == command.id) {
                pair.assert_same(&request);
            }
        }
    }
}

#[test]
fn unknown_commands_and_subcommands_are_refused_with_redis_words() {
    let mut pair = Pair::start(Protocol::Resp2);
    let (long, longer) = ("a".repeat(100), "b".repeat(300));
    let edges: Vec<String> = (122..=129).map(|length| "c".repeat(length)).collect();
    let mut requests = vec![
        vec!["foo"],
        vec!["foo", "a", "b"],
        vec!["foo", "", ""],
        vec!["", "a"],
        vec!["fo'o", "a'b"],
        vec!["fo\0o", "a\0b", "c"],
        vec!["foo\r\nx", "a\nb"],
        vec!["foo", "a\r\n"],
        vec![&longer, &long, &long, &long],
        vec!["object|freq", "a"],
        vec!["get|x"],
        vec!["client", "x"],
        vec!["cLiEnt", "x", "y"],
        vec!["config", "x\0y"],
        vec!["object", &longer],
        vec!["command", ""],
    ];
    requests.extend(edges.iter().map(|edge| vec!["foo", edge, "b", "c"]));
    for request in requests {
        pair.assert_same(&request);
    }
}

#[test]
fn help_has_redis_lines() {
    both_protocols(|pair| {
        for container in ["object", "config", "command"] {
            let request = [container, "help"];
            let (ours, theirs) = (pair.our_value(&request).elements(), pair.redis.call(&request).elements());
            // 7.2 reworded the last line.
            let compared = ours.len() - usize::from(!pair.is_same_table());
            assert_eq!(ours[..compared], theirs[..compared], "{container}");
        }
        let theirs = pair.redis.call(&["client", "help"]).elements();
        let newer =
            ["SETINFO", "* LIB-", "Set client meta", "NO-TOUCH", "Will not touch", "Print this help."];
        let newer = if pair.is_same_table() { &[][..] } else { &newer };
        for line in pair.our_value(&["CLIENT", "HELP"]).elements() {
            let text = line.text();
            let is_newer = newer.iter().any(|start| text.trim_start().starts_with(start));
            assert!(theirs.contains(&line) != is_newer, "{text}");
        }
    });
}

fn mistake(text: &str) -> String {
    let source = build::Source { file: "some.def".to_owned(), text: text.to_owned() };
    build::generate(&[source]).err().expect(text)
}

const GET: &str = "group string\ncommand get\n  summary Get\n  since 1\n  arity 2\n  flags readonly\n  key RO at 1\n  handler strings::get\n";

#[test]
fn a_definition_without_mistakes_becomes_code() {
    let source = build::Source { file: "some.def".to_owned(), text: GET.to_owned() };
    assert!(build::generate(&[source]).unwrap().table.contains("crate::command::strings::get"));
}

#[test]
fn a_mistake_in_a_definition_is_named_with_its_file_and_line() {
    let with = |line: &str| mistake(&format!("{GET}{line}\n"));
    let instead = |old: &str, new: &str| mistake(&GET.replace(old, new));
    for (message, expected) in [
        (with("  flag fast"), "some.def:9: unknown keyword 'flag'"),
        (with("  flags fast"), "some.def:9: a second 'flags' line"),
        (with("   tips x"), "some.def:9: indent by two spaces a level"),
        (with("        tips x"), "some.def:9: indented deeper than the line that it belongs to allows"),
        (with("  argument a strin"), "some.def:9: unknown kind of argument 'strin'"),
        (
            with("  argument a oneof"),
            "some.def:9: a oneof or a block, and nothing else, has arguments of its own",
        ),
        (with("  argument a pure-token"), "some.def:9: a pure-token wants 'token='"),
        (with("  argument a key spec=1"), "some.def:2: argument 'a': no such key specification"),
        (with("  acl read"), "some.def:2: an 'acl' line names only what the flags do not imply"),
        (with("  acl strin"), "some.def:9: unknown ACL category 'strin'"),
        (with("  key RO at"), "some.def:9: '' is not a number"),
        (with("  key RO at x"), "some.def:9: 'x' is not a number"),
        (with("  key RO at 1 step 0"), "some.def:9: the step from a key to the next is at least 1"),
        (with("  key RO at 1 upto 2"), "some.def:9: 'upto' does not belong here"),
        (
            with("  key access at 1"),
            "some.def:2: each key specification has one of RO, RW, OW, RM, or not_key",
        ),
        (with("  key RW at 1"), "some.def:2: a command that changes a key has the flag 'write'"),
        (with("  key RO at 2"), "some.def:2: a key at 2 does not fit the arity 2"),
        (
            with("command get\n  summary x\n  since 1\n  arity 1\n  handler server"),
            "some.def:9: a second 'get'",
        ),
        (with("tips x"), "some.def:9: expected 'command' or 'group', got 'tips'"),
        (instead("arity 2", "arity two"), "some.def:5: 'two' is not a number"),
        (instead("arity 2", "arity 0"), "some.def:2: arity 0 does not count the name"),
        (instead("  arity 2\n", ""), "some.def:2: 'get' has no 'arity' line"),
        (instead("readonly", "readonyl"), "some.def:6: unknown flag 'readonyl'"),
        (instead("readonly", "fast fast"), "some.def:6: flag 'fast' stands here twice"),
        (
            instead("  handler strings::get\n", ""),
            "some.def:2: 'get' has no 'handler' line and no subcommands",
        ),
        (instead("strings::get", "get"), "some.def:2: handler 'get' is not of the form family::function"),
        (instead("group string", "group strings"), "some.def:1: unknown group 'strings'"),
        (instead("group string\n", ""), "some.def:1: no 'group' line above the first command"),
    ] {
        assert_eq!(message, expected);
    }
    let long = mistake(&GET.replace("command get", "command a-name-of-more-than-24-bytes"));
    assert!(long.starts_with("some.def:2: a name is 1 to 24 lower-case letters"), "{long}");
}
