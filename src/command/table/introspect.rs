//! Introspection of the command table: `COMMAND` with its subcommands, and the HELP of any container.
//!
//! Nothing is cached or copied: each reply is written from the statics. A full `COMMAND DOCS` reply, which interactive
//! clients request at startup, takes a few hundred kilobytes.

use crate::command::CommandNames;
use crate::command::table::keys::{BeginSearch, FindKeys, KeySpec};
use crate::command::table::vocabulary::{CATEGORIES, FLAGS, KEY_FLAGS, place};
use crate::command::table::{Argument, Arguments, Command, Docs, ServerCommand, all, commands, flags};
use crate::resp::Reply;
use crate::text::glob;

/// Executes `COMMAND` or one of its subcommands. For any other command of the server, writes nothing and returns
/// `false`. Since a call may repeat a command any number of times, stops in the middle of the reply when the output
/// exceeds `bound`.
pub fn execute<A: Arguments + ?Sized>(
    which: ServerCommand,
    args: &A,
    known: CommandNames,
    reply: &mut Reply<'_>,
    bound: usize,
) -> bool {
    match which {
        ServerCommand::Command => all_infos(known, reply),
        ServerCommand::CommandCount => reply.integer(named(known).count() as i64),
        ServerCommand::CommandList => list(args, known, reply),
        ServerCommand::CommandInfo => infos(args, known, reply, bound),
        ServerCommand::CommandDocs => docs(args, known, reply, bound),
        ServerCommand::CommandGetkeys => keys(args, false, known, reply, bound),
        ServerCommand::CommandGetkeysandflags => keys(args, true, known, reply, bound),
        _ => return false,
    }
    true
}

/// `<container> HELP`: an array of simple strings. A command without subcommands that takes HELP as an argument (DEBUG)
/// has the lines in its own definition. The reply uses the container's name as the client `called` it.
///
/// Complexity: O(N) in the number of lines.
pub fn help(container: &Command, called: &[u8], reply: &mut Reply<'_>) {
    let own = [container].into_iter().chain(container.subcommands()).flat_map(|command| command.docs.help);
    reply.array(own.clone().count() + 3);
    let name = String::from_utf8_lossy(called).to_ascii_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in own {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

/// Returns the container of a `HELP` subcommand.
pub fn container_of(help: &Command) -> &'static Command {
    &all()[usize::from(help.container.unwrap_or(help.id))]
}

/// The commands that can be called by some name.
fn named(known: CommandNames) -> impl Iterator<Item = &'static Command> {
    commands().iter().filter(move |command| known.has(command))
}

/// `COMMAND`: an array with the description of each command.
///
/// Complexity: O(N) in the number of commands.
fn all_infos(known: CommandNames, reply: &mut Reply<'_>) {
    reply.array(named(known).count());
    for command in named(known) {
        info(command, reply);
    }
}

/// `COMMAND INFO [name ...]`: an array with the description of each, or null if there is no such command.
///
/// Complexity: O(N) in the number of names.
fn infos<A: Arguments + ?Sized>(args: &A, known: CommandNames, reply: &mut Reply<'_>, bound: usize) {
    if args.count() == 2 {
        return all_infos(known, reply);
    }
    reply.array(args.count() - 2);
    for at in 2..args.count() {
        if reply.buf.len() > bound {
            return;
        }
        match known.lookup_full(args.get(at)) {
            Some(command) => info(command, reply),
            None => reply.null(),
        }
    }
}

/// `COMMAND DOCS [name ...]`: a map from full names to documentation, without unknown names.
///
/// Complexity: O(N) in the number of names.
fn docs<A: Arguments + ?Sized>(args: &A, known: CommandNames, reply: &mut Reply<'_>, bound: usize) {
    if args.count() == 2 {
        reply.map(named(known).count());
        for command in named(known) {
            documented(command, reply);
        }
        return;
    }
    let asked = (2..args.count()).filter_map(|at| known.lookup_full(args.get(at)));
    reply.map(asked.clone().count());
    for command in asked {
        if reply.buf.len() > bound {
            return;
        }
        documented(command, reply);
    }
}

/// `COMMAND LIST [FILTERBY MODULE module | ACLCAT category | PATTERN pattern]`: an array of full names.
///
/// Complexity: O(N) in the number of commands.
fn list<A: Arguments + ?Sized>(args: &A, known: CommandNames, reply: &mut Reply<'_>) {
    let filtered = args.count() == 5 && args.get(2).eq_ignore_ascii_case(b"filterby");
    if args.count() == 2 {
        names(|command| known.has(command), reply);
    } else if filtered && args.get(3).eq_ignore_ascii_case(b"module") {
        // No command comes from a module.
        reply.array(0);
    } else if filtered && args.get(3).eq_ignore_ascii_case(b"aclcat") {
        let category = args.get(4).to_ascii_lowercase();
        let bit = std::str::from_utf8(&category).ok().and_then(|word| place(CATEGORIES, word));
        names(|command| known.has(command) && bit.is_some_and(|bit| command.acl & 1 << bit != 0), reply);
    } else if filtered && args.get(3).eq_ignore_ascii_case(b"pattern") {
        let matches = |command: &Command| glob::matches(args.get(4), command.full_name.as_bytes(), true);
        names(|command| known.has(command) && matches(command), reply);
    } else {
        reply.error("ERR syntax error");
    }
}

fn names(wanted: impl Fn(&Command) -> bool, reply: &mut Reply<'_>) {
    reply.array(all().iter().filter(|command| wanted(command)).count());
    for command in all().iter().filter(|command| wanted(command)) {
        reply.bulk(command.full_name.as_bytes());
    }
}

/// The call in the arguments of `COMMAND GETKEYS`.
struct Inner<'a, A: ?Sized>(&'a A);

impl<A: Arguments + ?Sized> Arguments for Inner<'_, A> {
    fn count(&self) -> usize {
        self.0.count() - 2
    }

    fn get(&self, index: usize) -> &[u8] {
        self.0.get(index + 2)
    }
}

/// `COMMAND GETKEYS name [argument ...]`: an array of the call's keys. `COMMAND GETKEYSANDFLAGS` pairs each with a set
/// of flags that describe the access.
///
/// Complexity: O(N) in the number of arguments.
fn keys<A: Arguments + ?Sized>(
    args: &A,
    with_flags: bool,
    known: CommandNames,
    reply: &mut Reply<'_>,
    bound: usize,
) {
    let args = &Inner(args);
    let Ok(command) = known.find(args) else { return reply.error("ERR Invalid command specified") };
    if command.keys.are_none() {
        return reply.error("ERR The command has no key arguments");
    }
    if !command.accepts(args.count()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let mut found = Vec::new();
    command.keys.find(args, &mut found);
    if found.is_empty() && !command.has(flags::NO_MANDATORY_KEYS) {
        return reply.error("ERR Invalid arguments specified for command");
    }
    reply.array(found.len());
    for key in found {
        if reply.buf.len() > bound {
            return;
        }
        if with_flags {
            reply.array(2);
        }
        reply.bulk(args.get(key.index));
        if with_flags {
            words(key.flags, KEY_FLAGS, "", reply);
        }
    }
}

/// Writes a set of the words whose bits are set, each after `prefix`.
fn words(bits: u64, vocabulary: &[&str], prefix: &str, reply: &mut Reply<'_>) {
    reply.set(bits.count_ones() as usize);
    for (place, word) in vocabulary.iter().enumerate() {
        if bits & 1 << place != 0 {
            reply.simple(&format!("{prefix}{word}"));
        }
    }
}

fn info(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(command.arity.into());
    // Redis shows none of these.
    const HIDDEN: u64 = flags::MAY_REPLICATE | flags::PROTECTED | flags::NO_DATA;
    words(command.flags & !HIDDEN, FLAGS, "", reply);
    let (first, last, step) = command.keys.range();
    for number in [first, last, step] {
        reply.integer(number.into());
    }
    words(command.acl, CATEGORIES, "@", reply);
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.specs.len());
    for spec in command.keys.specs {
        key_spec(spec, reply);
    }
    match command.subcommands() {
        [] => reply.set(0),
        subcommands => {
            reply.array(subcommands.len());
            for subcommand in subcommands {
                info(subcommand, reply);
            }
        }
    }
}

fn key_spec(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = spec.notes {
        text("notes", notes, reply);
    }
    reply.bulk(b"flags");
    words(spec.flags, KEY_FLAGS, "", reply);
    reply.bulk(b"begin_search");
    match spec.begin {
        BeginSearch::Index(index) => {
            rule("index", 1, reply);
            number("index", index, reply);
        }
        BeginSearch::Keyword { keyword, from } => {
            rule("keyword", 2, reply);
            text("keyword", keyword, reply);
            number("startfrom", from, reply);
        }
        BeginSearch::Unknown => rule("unknown", 0, reply),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            rule("range", 3, reply);
            number("lastkey", last, reply);
            number("keystep", step, reply);
            number("limit", limit, reply);
        }
        FindKeys::KeyNum { at, first, step } => {
            rule("keynum", 3, reply);
            number("keynumidx", at, reply);
            number("firstkey", first, reply);
            number("keystep", step, reply);
        }
        FindKeys::Unknown => rule("unknown", 0, reply),
    }
}

/// Writes the head of a rule; `fields` pairs follow it.
fn rule(kind: &str, fields: usize, reply: &mut Reply<'_>) {
    reply.map(2);
    text("type", kind, reply);
    reply.bulk(b"spec");
    reply.map(fields);
}

fn text(name: &str, value: &str, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn number(name: &str, value: i32, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.integer(value.into());
}

/// Writes a map entry: a command's full name and its documentation.
fn documented(command: &Command, reply: &mut Reply<'_>) {
    reply.bulk(command.full_name.as_bytes());
    let Docs { summary, since, group, complexity, deprecated, syscmd, history, arguments, help: _ } =
        command.docs;
    let optional_fields = [
        complexity.is_some(),
        *syscmd || deprecated.is_some(),
        deprecated.is_some(),
        deprecated.is_some(),
        !history.is_empty(),
        !arguments.is_empty(),
        !command.subcommands().is_empty(),
    ];
    reply.map(3 + optional_fields.iter().filter(|present| **present).count());
    text("summary", summary, reply);
    text("since", since, reply);
    text("group", group, reply);
    if let Some(complexity) = complexity {
        text("complexity", complexity, reply);
    }
    let marks = [("deprecated", deprecated.is_some()), ("syscmd", *syscmd)];
    marked("doc_flags", &marks, reply);
    if let Some((version, replacement)) = deprecated {
        text("deprecated_since", version, reply);
        text("replaced_by", replacement, reply);
    }
    if !history.is_empty() {
        reply.bulk(b"history");
        reply.set(history.len());
        for (version, change) in *history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        syntax(arguments, reply);
    }
    if !command.subcommands().is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands().len());
        for subcommand in command.subcommands() {
            documented(subcommand, reply);
        }
    }
}

/// Writes a field with the set of the marks that are true; nothing if none is.
fn marked(field: &str, marks: &[(&str, bool)], reply: &mut Reply<'_>) {
    let count = marks.iter().filter(|(_, holds)| *holds).count();
    if count == 0 {
        return;
    }
    reply.bulk(field.as_bytes());
    reply.set(count);
    for (mark, _) in marks.iter().filter(|(_, holds)| *holds) {
        reply.simple(mark);
    }
}

fn syntax(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let marks = [
            ("optional", argument.optional),
            ("multiple", argument.multiple),
            ("multiple_token", argument.multiple_token),
        ];
        let shown = argument.arguments.is_empty();
        let optional_fields = [
            shown,
            argument.key_spec.is_some(),
            argument.token.is_some(),
            argument.since.is_some(),
            argument.deprecated_since.is_some(),
            marks.iter().any(|(_, holds)| *holds),
            !argument.arguments.is_empty(),
        ];
        reply.map(2 + optional_fields.iter().filter(|present| **present).count());
        text("name", argument.name, reply);
        text("type", argument.kind, reply);
        if shown {
            text("display_text", argument.display.unwrap_or(argument.name), reply);
        }
        if let Some(index) = argument.key_spec {
            number("key_spec_index", index as i32, reply);
        }
        for (field, value) in [
            ("token", argument.token),
            ("since", argument.since),
            ("deprecated_since", argument.deprecated_since),
        ] {
            if let Some(value) = value {
                text(field, value, reply);
            }
        }
        marked("flags", &marks, reply);
        if !argument.arguments.is_empty() {
            reply.bulk(b"arguments");
            syntax(argument.arguments, reply);
        }
    }
}
