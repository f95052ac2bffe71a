//! A test that keeps `docs/commands.md` in agreement with the command table.
//!
//! The lists of commands in the document are generated: `REDSTART_WRITE_DOCS=1 cargo test table::document` writes them
//! between their two marks; without that variable the test compares.

use super::names::COMMANDS_OF_REDIS;
use super::vocabulary::{CATEGORIES, FLAGS, GROUPS};
use super::{Argument, Command, Handler, commands, flags, lookup};
use std::fmt::Write;

const BEGIN: &str = "<!-- commands: written from src/command/table/*.def -->\n";
const END: &str = "<!-- end of commands -->\n";

/// The flags that matter to a caller.
const SHOWN: u64 = flags::WRITE
    | flags::READONLY
    | flags::DENYOOM
    | flags::ADMIN
    | flags::PUBSUB
    | flags::NOSCRIPT
    | flags::BLOCKING
    | flags::LOADING
    | flags::NO_AUTH
    | flags::PROTECTED
    | flags::NO_MULTI
    | flags::MOVABLEKEYS
    | flags::ALLOW_BUSY;

/// Notes on commands that do less than in Redis, or more.
const NOTES: &[(&str, &str)] = &[
    ("auth", "in part: the user is `default`: there are no others"),
    ("hello", "in part: the user of `AUTH` is `default`: there are no others"),
    ("debug", "in part: not what belongs to replication or jemalloc"),
    ("hscan", "same; `NOVALUES` is beyond 7.2"),
    ("lolwut", "differs: a bird of our own"),
    ("memory|doctor", "differs: about this server's allocator, in our words"),
    ("memory|malloc-stats", "differs: about this server's allocator, in our words"),
    ("module|list", "same: always empty, as nothing can be loaded"),
    ("module|load", "in part: always refused: there is no interface for modules"),
    ("module|loadex", "in part: always refused: there is no interface for modules"),
    ("module|unload", "in part: always refused: there is no interface for modules"),
];

/// The commands of Redis 7.2 that are missing here, and the feature to which they belong.
const MISSING: &[(&str, &str)] = &[];

/// A group's heading.
fn heading(group: &str) -> &str {
    match group {
        "generic" => "Keys",
        "string" => "Strings",
        "list" => "Lists",
        "set" => "Sets",
        "sorted-set" => "Sorted sets",
        "hash" => "Hashes",
        "pubsub" => "Publish and subscribe",
        "transactions" => "Transactions",
        "connection" => "Connections",
        "server" => "Server",
        "scripting" => "Scripts and functions",
        "hyperloglog" => "HyperLogLog",
        "cluster" => "Cluster",
        "geo" => "Geo",
        "stream" => "Streams",
        "bitmap" => "Bitmaps",
        other => other,
    }
}

/// A command's syntax in the notation of Redis's documentation.
fn syntax(command: &Command) -> String {
    let mut text = command.full_name.to_ascii_uppercase().replace('|', " ");
    for argument in command.docs.arguments {
        text.push(' ');
        text.push_str(&notation(argument));
    }
    text
}

/// Returns `[TOKEN name [name ...]]` and the like.
fn notation(argument: &Argument) -> String {
    let parts: Vec<String> = argument.arguments.iter().map(notation).collect();
    let inner = match argument.kind {
        "pure-token" => String::new(),
        "oneof" => parts.join(" | "),
        "block" => parts.join(" "),
        _ => argument.display.unwrap_or(argument.name).to_owned(),
    };
    // Alternatives need their own brackets unless they are alone in those of the argument.
    let alone = argument.optional && argument.token.is_none() && !argument.multiple;
    let inner = if argument.kind == "oneof" && !alone { format!("<{inner}>") } else { inner };
    let token = argument.token.map(|token| if token.is_empty() { "\"\"" } else { token });
    let once = [token.unwrap_or_default(), inner.as_str()].into_iter().filter(|part| !part.is_empty());
    let once = once.collect::<Vec<_>>().join(" ");
    let text = match (argument.multiple, argument.multiple_token) {
        (false, _) => once,
        (true, true) => format!("{once} [{once} ...]"),
        (true, false) => format!("{once} [{inner} ...]"),
    };
    if argument.optional { format!("[{text}]") } else { text }
}

/// The words in `vocabulary` whose bits are set.
fn words(bits: u64, vocabulary: &[&str], prefix: &str) -> String {
    let set = vocabulary.iter().enumerate().filter(|(place, _)| bits & 1 << place != 0);
    set.map(|(_, word)| format!("{prefix}{word}")).collect::<Vec<_>>().join(" ")
}

/// Whether a version of Redis is later than the one whose commands are supported.
fn is_later(version: &str) -> bool {
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = version.split('.');
    (number(parts.next()), number(parts.next())) > (7, 2)
}

fn mark(command: &Command) -> String {
    if let Some((_, note)) = NOTES.iter().find(|(name, _)| *name == command.full_name) {
        return (*note).to_owned();
    }
    let mark = if is_later(command.docs.since) { "beyond 7.2" } else { "same" };
    mark.to_owned()
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn row(command: &Command) -> String {
    let docs = command.docs;
    let instead = docs.deprecated.map_or_else(String::new, |(version, instead)| {
        format!(" Deprecated since {version}: use {instead}.")
    });
    format!(
        "| `{}`<br>{}{} | {} | {} | {} | {} | {} |\n",
        cell(&syntax(command)),
        cell(docs.summary),
        cell(&instead),
        docs.since,
        cell(docs.complexity.unwrap_or("")),
        words(command.flags & SHOWN, FLAGS, ""),
        words(command.acl, CATEGORIES, "@"),
        cell(&mark(command)),
    )
}

/// The commands and subcommands of a group that clients can call, by name.
fn members(group: &str) -> Vec<&'static Command> {
    let top = commands().iter().filter(|command| command.docs.group == group);
    let all = top.flat_map(|command| std::iter::once(command).chain(command.subcommands()));
    let mut members: Vec<_> =
        all.filter(|command| !matches!(command.handler, Handler::Container | Handler::Help)).collect();
    members.sort_by_key(|command| command.full_name);
    members
}

/// Returns the generated part of the document.
fn lists() -> String {
    let mut text = String::from(BEGIN);
    for group in GROUPS {
        let members = members(group);
        if members.is_empty() {
            continue;
        }
        write!(text, "\n## {}\n\n", heading(group)).unwrap();
        text.push_str("| command | since | complexity | flags | ACL categories | beside Redis 7.2 |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        text.extend(members.into_iter().map(row));
    }
    text.push_str("\n## Not there yet\n\nThe commands of Redis 7.2 that Redstart does not know:\n\n");
    text.push_str("| commands | what they belong to |\n|---|---|\n");
    for (names, what) in MISSING {
        let names: Vec<String> =
            names.split(' ').map(|name| format!("`{}`", name.to_ascii_uppercase())).collect();
        writeln!(text, "| {} | {what} |", names.join(" ")).unwrap();
    }
    text.push('\n');
    text + END
}

/// Splits the document into the text before the generated part, that part, and the text after it.
fn split(document: &str) -> (&str, &str, &str) {
    let begin = document.find(BEGIN).expect("the first mark");
    let end = document.find(END).expect("the second mark") + END.len();
    (&document[..begin], &document[begin..end], &document[end..])
}

#[test]
fn the_document_lists_every_command_with_its_syntax_and_marks() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
    let document = std::fs::read_to_string(path).expect("docs/commands.md");
    let (before, written, after) = split(&document);
    let expected = lists();
    if std::env::var_os("REDSTART_WRITE_DOCS").is_some() && written != expected {
        std::fs::write(path, [before, &expected, after].concat()).unwrap();
        return;
    }
    for (written, expected) in written.lines().zip(expected.lines()) {
        assert_eq!(written, expected, "REDSTART_WRITE_DOCS=1 cargo test table::document writes it");
    }
    assert_eq!(written.len(), expected.len());
}

#[test]
fn the_list_of_what_is_missing_has_each_command_of_redis_that_is_not_in_the_table() {
    let mut missing: Vec<&str> = MISSING.iter().flat_map(|(names, _)| names.split(' ')).collect();
    missing.sort_unstable();
    let not_here = COMMANDS_OF_REDIS.split_whitespace().filter(|name| lookup(name.as_bytes()).is_none());
    assert_eq!(missing, not_here.collect::<Vec<_>>());
}

#[test]
fn a_note_is_about_a_command_that_there_is() {
    for (name, _) in NOTES {
        assert!(super::lookup_full(name.as_bytes()).is_some(), "{name}");
    }
}

#[test]
fn syntax_is_written_as_in_the_documentation_of_redis() {
    let written = |name: &str| syntax(super::lookup_full(name.as_bytes()).unwrap());
    assert_eq!(written("get"), "GET key");
    assert_eq!(written("mset"), "MSET key value [key value ...]");
    assert_eq!(written("lpop"), "LPOP key [count]");
    assert_eq!(written("lmove"), "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>");
    assert_eq!(
        written("set"),
        "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
         unix-time-milliseconds | KEEPTTL]"
    );
    assert_eq!(
        written("sort_ro"),
        "SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]"
    );
    assert_eq!(
        written("zinter"),
        "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]"
    );
    assert_eq!(written("config|set"), "CONFIG SET parameter value [parameter value ...]");
}
