//! Manual pages from command lines: `man` reads the output of [`page`].
//!
//! The source is clap's description of a command, so a page has the text of `--help`.

use clap::{Arg, Command};
use std::fmt::Write;

/// The manual page being written.
pub struct Page(String);

impl Page {
    /// The head of a page. Its date is that of the latest release, if there is one, so a page changes only with its
    /// contents.
    pub fn new(name: &str, section: u8, about: &str) -> Page {
        let title = name.to_uppercase();
        let mut text = String::from(".\\\" Written by make generate.\n");
        let date = release_date(&crate::read("CHANGELOG.md"));
        writeln!(text, ".TH \"{}\" {section} \"{date}\" \"Redstart\" \"Redstart\"", quoted(&title))
            .expect("a string");
        let mut page = Page(text);
        page.section("Name");
        page.text(&format!("{name} \\- {}", escaped(about).trim_start_matches("\\&")));
        page
    }

    pub fn section(&mut self, title: &str) {
        writeln!(self.0, ".SH {}", quoted(&title.to_uppercase())).expect("a string");
    }

    /// Adds lines of roff.
    pub fn text(&mut self, roff: &str) {
        self.0.push_str(roff);
        self.0.push('\n');
    }

    /// Adds a paragraph of plain text.
    pub fn paragraph(&mut self, plain: &str) {
        self.begin_paragraph();
        self.text(&escaped(plain));
    }

    /// Starts a paragraph, unless it is the first of its section, which needs no request.
    fn begin_paragraph(&mut self) {
        if !self.0.lines().last().is_some_and(|line| line.starts_with(".SH")) {
            self.text(".PP");
        }
    }

    /// Adds lines that keep their layout.
    pub fn verbatim(&mut self, plain: &str) {
        self.begin_paragraph();
        self.text(".nf");
        plain.lines().for_each(|line| writeln!(self.0, "{}", escaped(line)).expect("a string"));
        self.0.push_str(".fi\n");
    }

    /// Adds a list entry: the term in bold, `rest` on the same line, and the text below.
    pub fn entry(&mut self, term: &str, rest: &str, plain: &str) {
        writeln!(self.0, ".TP\n\\fB{}\\fR{}\n{}", escaped(term), escaped(rest), escaped(plain))
            .expect("a string");
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// The date of the latest version in the changelog, `## [0.1.0] - 2026-11-23`, or an empty text.
fn release_date(changelog: &str) -> String {
    let dates = changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split_once("] - "));
    dates.map(|(_, date)| date.trim().to_owned()).next().unwrap_or_default()
}

/// Plain text escaped for roff, where a line that begins with a full stop or a quote would be a request.
fn escaped(plain: &str) -> String {
    let escaped = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    plain.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// Plain text as an argument of a request.
fn quoted(plain: &str) -> String {
    plain.replace('\\', "\\e").replace('"', "\\(dq").replace('-', "\\-")
}

/// The page of the command `call` (`redstart check-rdb`).
pub fn page(call: &str, mut command: Command) -> Page {
    command = command.bin_name(call).term_width(90);
    command.build();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&call.replace(' ', "-"), 1, &lower_first(&about));
    page.section("Synopsis");
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    page.verbatim(&usage);
    if let Some(long) = command.get_long_about() {
        page.section("Description");
        long.to_string().split("\n\n").for_each(|text| page.paragraph(text));
    }
    arguments(&mut page, &command);
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        sections(&mut page, &after.to_string());
    }
    page
}

/// The arguments of a command: those without a name first, then options under their headings.
fn arguments(page: &mut Page, command: &Command) {
    let shown = |arg: &&Arg| !arg.is_hide_set();
    let mut headings: Vec<Option<&str>> = Vec::new();
    if command.get_positionals().any(|arg| shown(&arg)) {
        page.section("Arguments");
        command.get_positionals().filter(shown).for_each(|arg| entry(page, arg));
    }
    let options: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_positional()).filter(shown).collect();
    for arg in &options {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        page.section(heading.unwrap_or("Options"));
        options.iter().filter(|arg| arg.get_help_heading() == heading).for_each(|arg| entry(page, arg));
    }
}

fn entry(page: &mut Page, arg: &Arg) {
    let names = [arg.get_short().map(|c| format!("-{c}")), arg.get_long().map(|name| format!("--{name}"))];
    let names: Vec<String> = names.into_iter().flatten().collect();
    let values: Vec<String> = match arg.get_value_names() {
        Some(values) if arg.get_action().takes_values() => values.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // clap adds in parentheses how to get the other form of help, which does not apply to the page.
    let help = if help.starts_with("Print help (") { "Print help".to_owned() } else { help };
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
        .map(|value| value.get_name().to_owned())
        .collect();
    let help = if possible.is_empty() || arg.is_hide_possible_values_set() {
        help
    } else {
        format!("{help}: {}", possible.join(", "))
    };
    let (term, rest) = match (names.is_empty(), values.is_empty()) {
        (true, true) => (arg.get_id().to_string(), String::new()),
        (true, false) => (values.join(" "), String::new()),
        (false, true) => (names.join(", "), String::new()),
        (false, false) => (names.join(", "), format!(" {}", values.join(" "))),
    };
    page.entry(&term, &rest, if help.is_empty() { "See above." } else { &help });
}

/// The text after the options: an unindented line that ends with a colon begins a section.
fn sections(page: &mut Page, text: &str) {
    let mut body = String::new();
    let mut titled = false;
    let flush = |page: &mut Page, body: &mut String, titled: bool| {
        if !body.trim().is_empty() {
            if !titled {
                page.section("Notes");
            }
            page.verbatim(body.trim_matches('\n'));
        }
        body.clear();
    };
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some(title) if !line.starts_with(' ') => {
                flush(page, &mut body, titled);
                page.section(title);
                titled = true;
            }
            _ => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    flush(page, &mut body, titled);
}

/// `Check a file` as it is written after a dash.
fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        // An abbreviation keeps its capitals.
        Some(first) if !text[1..].starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[test]
fn a_page_has_the_date_of_the_latest_release() {
    assert_eq!(release_date("# Changelog\n\n## [Unreleased]\n\n* b\n"), "");
    let released = "## [Unreleased]\n\n## [0.2.0] - 2027-01-02\n\n* b\n\n## [0.1.0] - 2026-12-01\n";
    assert_eq!(release_date(released), "2027-01-02");
}

#[test]
fn what_roff_would_take_for_a_request_or_an_escape_is_text() {
    assert_eq!(escaped(".so a\\b\n'x --y"), "\\&.so a\\eb\n\\&'x \\-\\-y");
    let mut page = Page::new("a-b", 1, "does it");
    page.entry("-x", " FILE", ".dot");
    let text = page.finish();
    assert!(text.contains(".TH \"A\\-B\" 1"), "{text}");
    assert!(text.ends_with(".TP\n\\fB\\-x\\fR FILE\n\\&.dot\n"), "{text}");
}
