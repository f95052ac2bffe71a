//! Tests that keep `docs/configuration.md` and `redstart.conf` in agreement with the table.
//!
//! The list of directives in the document is generated: `REDSTART_WRITE_DOCS=1 cargo test config::document` writes
//! it between its two marks; without that variable the tests compare.

use super::meanings::MEANINGS;
use super::table::flag;
use super::{Config, DIRECTIVES, Directive, OTHER_LINES, find, load};
use std::ffi::OsString;
use std::fmt::Write;

const BEGIN: &str = "<!-- directives: written from src/config/table.rs -->\n";
const END: &str = "<!-- end of directives -->\n";

/// The sentence that describes a supported directive.
fn meaning(name: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(named, _)| *named == name).map(|(_, meaning)| *meaning)
}

fn row(directive: &Directive) -> String {
    let defaults = Config::default();
    let shown = String::from_utf8(directive.show(&defaults)).unwrap();
    let default = match directive.name {
        "dir" => "where it was started".to_owned(),
        _ if shown.is_empty() => "\"\"".to_owned(),
        _ => format!("`{shown}`"),
    };
    let names: Vec<String> = directive.names().map(|name| format!("`{name}`")).collect();
    let values = (directive.value)(&defaults).describe(&directive.shape);
    let when = match directive.flags {
        flags if flags & flag::START != 0 => "at the start",
        flags if flags & flag::GUARD != 0 => "guarded",
        _ => "any time",
    };
    let what = meaning(directive.name).or(directive.effect.why()).unwrap_or("?");
    format!("| {} | {values} | {default} | {when} | {what} |\n", names.join("<br>"))
}

/// Returns the generated part of the document.
fn directives() -> String {
    let mut text = String::from(BEGIN);
    let (idle, acting): (Vec<_>, Vec<_>) =
        DIRECTIVES.iter().partition(|directive| !directive.effect.acts_in_some_build());
    text.push_str("\n### Those that act\n\n| directive | values | default | can be set | what it does |\n|---|---|---|---|---|\n");
    text.extend(acting.into_iter().map(row));
    text.push_str("\n### Those without effect\n\nThey are kept, shown and rewritten, so that a configuration of Redis loads.\n");
    text.push_str(
        "\n| directive | values | default | can be set | why it has none |\n|---|---|---|---|---|\n",
    );
    text.extend(idle.into_iter().map(row));
    text.push_str("\n### Lines that are not values\n\n| line | what becomes of it |\n|---|---|\n");
    for (name, fate) in OTHER_LINES {
        writeln!(text, "| `{name}` | {fate} |").unwrap();
    }
    text.push('\n');
    text + END
}

#[test]
fn each_directive_that_acts_has_a_sentence_in_the_order_of_the_table() {
    let acting = DIRECTIVES.iter().filter(|directive| directive.effect.acts_in_some_build());
    let named: Vec<&str> = MEANINGS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, acting.map(|directive| directive.name).collect::<Vec<_>>());
}

/// Splits the document into the text before the generated part, that part, and the text after it.
fn split(document: &str) -> (&str, &str, &str) {
    let begin = document.find(BEGIN).expect("the first mark");
    let end = document.find(END).expect("the second mark") + END.len();
    (&document[..begin], &document[begin..end], &document[end..])
}

#[test]
fn the_document_lists_every_directive_with_its_values_default_and_effect() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let document = std::fs::read_to_string(path).expect("docs/configuration.md");
    let (before, written, after) = split(&document);
    let expected = directives();
    if std::env::var_os("REDSTART_WRITE_DOCS").is_some() && written != expected {
        std::fs::write(path, [before, &expected, after].concat()).unwrap();
        return;
    }
    for (written, expected) in written.lines().zip(expected.lines()) {
        assert_eq!(written, expected, "REDSTART_WRITE_DOCS=1 cargo test config::document writes it");
    }
    assert_eq!(written.len(), expected.len());
}

#[test]
fn the_sample_file_loads_and_changes_no_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/redstart.conf");
    let config =
        load([OsString::from(path)], &mut std::io::empty()).unwrap_or_else(|error| panic!("{error}"));
    let defaults = Config {
        file: config.file.clone(),
        dir: config.dir.clone(),
        bind: config.bind.clone(),
        ..Config::default()
    };
    assert_eq!(config, defaults);
    assert_eq!(config.bind, ["127.0.0.1", "-::1"], "a sample must not open a server to the network");
}

#[test]
fn the_sample_file_names_every_directive_that_acts_and_none_that_is_not_known() {
    let sample = include_str!("../../redstart.conf");
    // `# text` is prose, `#directive value` is a directive that is commented out.
    let mut named: Vec<&str> = Vec::new();
    for line in sample.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(word) = line.split(' ').next().filter(|word| !word.is_empty()) {
            let is_other = OTHER_LINES.iter().any(|(other, _)| *other == word);
            assert!(is_other || find(word.as_bytes()).is_some(), "{line}");
            named.push(word);
        }
    }
    for directive in DIRECTIVES.iter().filter(|directive| directive.effect.acts_in_some_build()) {
        assert!(named.contains(&directive.name), "{} is missing", directive.name);
    }
}

#[test]
fn values_that_the_sample_file_shows_in_comments_are_accepted() {
    let sample = include_str!("../../redstart.conf");
    let mut shown = 0;
    for line in sample.lines().filter_map(|line| line.strip_prefix('#')) {
        if line.is_empty() || line.starts_with(' ') || line.starts_with("include") {
            continue;
        }
        shown += 1;
        load([OsString::from("-")], &mut line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert!(shown >= 5, "{shown}");
}
