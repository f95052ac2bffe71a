//! `help` at the prompt.

use super::docs::{Argument, Docs, Entry};

/// Colours for help; empty if colours are off.
struct Colours {
    name: &'static str,
    arguments: &'static str,
    field: &'static str,
    end: &'static str,
}

const BRIGHT: Colours = Colours { name: "\x1b[1m", arguments: "\x1b[90m", field: "\x1b[33m", end: "\x1b[0m" };
const PLAIN: Colours = Colours { name: "", arguments: "", field: "", end: "" };

/// Returns the text of `help` with these arguments.
pub fn text(docs: &Docs, words: &[Vec<u8>], has_colours: bool) -> String {
    let words: Vec<String> = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let colours = if has_colours { &BRIGHT } else { &PLAIN };
    let Some(first) = words.first() else { return general() };
    if let Some(group) = first.strip_prefix('@') {
        let of_group = docs.entries.iter().filter(|entry| entry.group.eq_ignore_ascii_case(group));
        return all(of_group, false, colours, || {
            format!("There is no group '{first}'. Groups are: @{}", docs.groups().join(", @"))
        });
    }
    let name = words.join(" ").to_ascii_uppercase();
    let prefix = format!("{name} ");
    let found = docs.entries.iter().filter(|entry| entry.name == name || entry.name.starts_with(&prefix));
    all(found, true, colours, || format!("There is no command '{}'.", name.to_ascii_lowercase()))
}

fn general() -> String {
    [
        concat!("redstart-cli ", env!("CARGO_PKG_VERSION")),
        "To get help about Redis commands type:",
        "      \"help @<group>\" to get a list of commands in <group>",
        "      \"help <command>\" for help on <command>",
        "      \"help <tab>\" to get a list of possible help topics",
        "      \"quit\" to exit",
        "",
        "To set redis-cli preferences:",
        "      \":set hints\" enable online hints",
        "      \":set nohints\" disable online hints",
        "Set your preferences in ~/.redisclirc",
        "",
    ]
    .join("\n")
}

fn all<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    names_group: bool,
    colours: &Colours,
    none: impl Fn() -> String,
) -> String {
    let texts: Vec<String> = entries.map(|entry| one(entry, names_group, colours)).collect();
    if texts.is_empty() { none() + "\n" } else { format!("\n{}\n", texts.join("\n")) }
}

fn one(entry: &Entry, names_group: bool, colours: &Colours) -> String {
    let Colours { name, arguments, field, end } = colours;
    let shown = entry.arguments.iter().map(Argument::show).collect::<Vec<_>>().join(" ");
    let shown = if shown.is_empty() { String::new() } else { format!(" {arguments}{shown}{end}") };
    let mut text = format!("  {name}{}{end}{shown}\n", entry.name);
    let group = if names_group { entry.group.as_str() } else { "" };
    for (label, value) in [("summary", entry.summary.as_str()), ("since", &entry.since), ("group", group)] {
        if !value.is_empty() {
            text.extend(["  ", field, label, ":", end, " ", value, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::split;

    fn help(line: &str) -> String {
        text(&Docs::built_in(), &split(line.as_bytes()).unwrap(), false)
    }

    #[test]
    fn help_is_of_a_command_with_its_subcommands_or_of_a_group() {
        let get =
            "\n  GET key\n  summary: Returns the string value of a key.\n  since: 1.0.0\n  group: string\n\n";
        assert_eq!(help("get"), get);
        assert!(help("Config").contains("  CONFIG GET parameter [parameter ...]\n"));
        assert!(!help("config get").contains("CONFIG SET"));
        assert!(help("@pubsub").contains("  PUBLISH channel message\n"));
        assert_eq!(help("no such"), "There is no command 'no such'.\n");
        assert!(help("@no").contains("@sorted-set"));
        assert!(help("").contains("help @<group>"));
    }

    #[test]
    fn colours_are_for_a_terminal() {
        let coloured = text(&Docs::built_in(), &split(b"get").unwrap(), true);
        assert!(
            coloured.starts_with("\n  \x1b[1mGET\x1b[0m \x1b[90mkey\x1b[0m\n  \x1b[33msummary:\x1b[0m "),
            "{coloured}"
        );
    }
}
