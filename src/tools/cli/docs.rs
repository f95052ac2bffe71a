//! Descriptions of commands: their names, summaries and arguments.
//!
//! They come from the connected server (COMMAND DOCS), and so include its own commands and its modules'. For a server
//! without that command (before version 7), or without a connection, they come from the table of this build.

use crate::command::CommandNames;
use crate::command::table::ServerCommand;
use crate::command::table::introspect;
use crate::resp::{Protocol, Reply, Value};
use crate::text::controls;

/// A command or a subcommand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its full name in capitals: `CONFIG GET`.
    pub name: String,
    /// A one-sentence description.
    pub summary: String,
    /// The version that introduced it.
    pub since: String,
    /// Its group: `string`.
    pub group: String,
    /// The arguments after the name.
    pub arguments: Vec<Argument>,
}

/// The kind of an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Any word.
    #[default]
    Word,
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// Only its token.
    Token,
    /// One of its children.
    OneOf,
    /// All of its children, in order.
    Block,
}

/// An argument of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Its kind.
    pub kind: Kind,
    /// Its displayed name.
    pub name: String,
    /// The word before it: `EX`.
    pub token: Option<String>,
    /// Whether it is optional.
    pub is_optional: bool,
    /// Whether it may be repeated.
    pub is_multiple: bool,
    /// Whether each repetition includes the token.
    pub repeats_token: bool,
    /// The arguments of a block, or the alternatives.
    pub children: Vec<Argument>,
}

/// All known commands, by name.
#[derive(Clone, Debug, Default)]
pub struct Docs {
    /// The commands; subcommands follow their containers.
    pub entries: Vec<Entry>,
}

impl Docs {
    /// Parses the reply to COMMAND DOCS; `None` if it is not one.
    pub fn from_reply(reply: &Value) -> Option<Docs> {
        let mut docs = Docs::default();
        for (name, fields) in pairs(reply) {
            docs.add("", &text(name), fields);
        }
        docs.entries.sort_by(|a, b| a.name.cmp(&b.name));
        (!docs.entries.is_empty()).then_some(docs)
    }

    /// Returns the table of this build.
    pub fn built_in() -> Docs {
        let mut bytes = Vec::new();
        let words: [&[u8]; 2] = [b"COMMAND", b"DOCS"];
        let mut reply = Reply::new(&mut bytes, Protocol::Resp3);
        introspect::execute(
            ServerCommand::CommandDocs,
            &words[..],
            CommandNames::default(),
            &mut reply,
            usize::MAX,
        );
        let decoded = Value::decode(&bytes).ok().flatten();
        decoded.and_then(|(reply, _)| Docs::from_reply(&reply)).unwrap_or_default()
    }

    fn add(&mut self, container: &str, name: &str, fields: &Value) {
        // A subcommand is `container|name`.
        let name = name.rsplit('|').next().unwrap_or(name).to_ascii_uppercase();
        let mut entry = Entry { name: format!("{container}{name}"), ..Entry::default() };
        let prefix = format!("{} ", entry.name);
        for (field, value) in pairs(fields) {
            match field.as_bytes().unwrap_or_default() {
                b"summary" => entry.summary = text(value),
                b"since" => entry.since = text(value),
                b"group" => entry.group = text(value),
                b"arguments" => entry.arguments = arguments(value),
                b"subcommands" => {
                    for (name, fields) in pairs(value) {
                        self.add(&prefix, &text(name), fields);
                    }
                }
                _ => {}
            }
        }
        self.entries.push(entry);
    }

    /// Finds the command that `words` begin with. Also returns how many words are its name.
    #[cfg(any(feature = "cli", test))]
    pub fn find<W: AsRef<[u8]>>(&self, words: &[W]) -> Option<(&Entry, usize)> {
        (1..=words.len().min(2)).rev().find_map(|count| {
            let name = words[..count].iter().map(|word| String::from_utf8_lossy(word.as_ref()));
            let name = name.collect::<Vec<_>>().join(" ").to_ascii_uppercase();
            let at = self.entries.binary_search_by(|entry| entry.name.cmp(&name)).ok()?;
            Some((&self.entries[at], count))
        })
    }

    /// Returns the names of the groups.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self.entries.iter().map(|entry| entry.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

impl Argument {
    /// Formats the argument for help: `[EX seconds|PX milliseconds]`, `key [key ...]`.
    pub fn show(&self) -> String {
        let mut out = String::new();
        if self.is_optional {
            out.push('[');
        }
        match &self.token {
            Some(token) if self.kind == Kind::Token && token.is_empty() => out.push_str("\"\""),
            Some(token) if self.kind == Kind::Token => out.push_str(token),
            Some(token) => out.extend([token.as_str(), " ", &self.show_value()]),
            None => out.push_str(&self.show_value()),
        }
        if self.is_multiple {
            out.push(' ');
            out.push_str(&self.show_repeated());
        }
        if self.is_optional {
            out.push(']');
        }
        out
    }

    /// Formats the part after the token.
    pub fn show_value(&self) -> String {
        let children = |between| self.children.iter().map(Argument::show).collect::<Vec<_>>().join(between);
        match self.kind {
            Kind::OneOf => children("|"),
            Kind::Block => children(" "),
            Kind::Token => String::new(),
            _ => self.name.clone(),
        }
    }

    /// Formats the part that may follow once the argument was given: `[key ...]`.
    pub fn show_repeated(&self) -> String {
        match &self.token {
            Some(token) if self.repeats_token => format!("[{token} {} ...]", self.show_value()),
            _ => format!("[{} ...]", self.show_value()),
        }
    }
}

/// Returns the pairs of a map, or of the array that replaces it in RESP2.
fn pairs(value: &Value) -> Vec<(&Value, &Value)> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Value::Array(values) => values.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> String {
    // Text printed to a terminal must not contain control characters.
    controls::without(&String::from_utf8_lossy(value.as_bytes().unwrap_or_default()))
}

fn arguments(value: &Value) -> Vec<Argument> {
    match value {
        Value::Array(values) | Value::Set(values) => values.iter().map(argument).collect(),
        _ => Vec::new(),
    }
}

fn argument(value: &Value) -> Argument {
    let mut argument = Argument::default();
    for (field, value) in pairs(value) {
        match field.as_bytes().unwrap_or_default() {
            b"name" if argument.name.is_empty() => argument.name = text(value),
            b"display_text" => argument.name = text(value),
            b"token" => argument.token = Some(text(value)),
            b"arguments" => argument.children = arguments(value),
            b"type" => {
                argument.kind = match value.as_bytes().unwrap_or_default() {
                    b"integer" | b"unix-time" => Kind::Integer,
                    b"double" => Kind::Number,
                    b"pure-token" => Kind::Token,
                    b"oneof" => Kind::OneOf,
                    b"block" => Kind::Block,
                    _ => Kind::Word,
                }
            }
            b"flags" => {
                if let Value::Array(flags) | Value::Set(flags) = value {
                    let has = |name: &[u8]| flags.iter().any(|flag| flag.as_bytes() == Some(name));
                    argument.is_optional = has(b"optional");
                    argument.is_multiple = has(b"multiple") || has(b"multiple_token");
                    argument.repeats_token = has(b"multiple_token");
                }
            }
            _ => {}
        }
    }
    argument
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats the arguments of a command of this build for help.
    fn shown(name: &str) -> String {
        let docs = Docs::built_in();
        let words: Vec<&str> = name.split(' ').collect();
        let (entry, _) = docs.find(&words).unwrap();
        entry.arguments.iter().map(Argument::show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_are_shown_with_what_may_be_left_out_or_repeated() {
        let options =
            "[EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]";
        assert_eq!(shown("set"), format!("key value [NX|XX] [GET] {options}"));
        assert_eq!(shown("mset"), "key value [key value ...]");
        let empty = Argument { kind: Kind::Token, token: Some(String::new()), ..Argument::default() };
        assert_eq!(empty.show(), "\"\"");
        assert_eq!(shown("config get"), "parameter [parameter ...]");
        assert_eq!(
            shown("xadd"),
            "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]"
        );
        assert!(shown("sort").contains("[GET pattern [GET pattern ...]]"));
    }

    #[test]
    fn a_command_is_found_by_its_longest_name() {
        let docs = Docs::built_in();
        let name = |words: &[&str]| docs.find(words).map(|(entry, count)| (entry.name.as_str(), count));
        assert_eq!(name(&["config", "get", "x"]), Some(("CONFIG GET", 2)));
        assert_eq!(name(&["Config", "nosuch"]), Some(("CONFIG", 1)));
        assert_eq!(name(&["get", "a"]), Some(("GET", 1)));
        assert_eq!(name(&["nosuch"]), None);
        assert!(docs.groups().contains(&"sorted-set"));
    }
}
