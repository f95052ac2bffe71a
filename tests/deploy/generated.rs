//! The manual and the shell completions, generated from the command lines and the table of directives.
//!
//! `make generate` (that is `REDSTART_WRITE_DOCS=1 cargo test --test deploy generated`) writes them; without that
//! variable the tests compare.

use crate::roff::{self, Page};
use crate::{file, read, run, tool};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;
use redstart::config::DIRECTIVES;
use redstart::tools::{self, TOOLS};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process;

/// Compares the files in `directory` with the expected ones, or writes them.
fn hold(directory: &str, expected: &BTreeMap<String, String>) {
    let there: Vec<String> = match fs::read_dir(file(directory)) {
        Ok(entries) => {
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
        }
        Err(_) => Vec::new(),
    };
    let outdated: Vec<&String> = there.iter().filter(|name| !expected.contains_key(*name)).collect();
    if std::env::var_os("REDSTART_WRITE_DOCS").is_some() {
        fs::create_dir_all(file(directory)).expect("a directory");
        for name in outdated {
            fs::remove_file(file(directory).join(name)).expect("remove a file");
        }
        for (name, text) in expected {
            fs::write(file(directory).join(name), text).expect("write a file");
        }
        return;
    }
    assert!(
        outdated.is_empty(),
        "{directory} has {outdated:?}, which nothing generates: make generate removes them"
    );
    for (name, text) in expected {
        let written = fs::read_to_string(file(directory).join(name)).unwrap_or_default();
        if let Some((written, expected)) = written.lines().zip(text.lines()).find(|(a, b)| a != b) {
            panic!("{directory}/{name}: run 'make generate'\n has     {written}\n has to  {expected}");
        }
        assert_eq!(written.len(), text.len(), "{directory}/{name}: run 'make generate'");
    }
}

fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::from([
        ("redstart.1".to_owned(), server_page()),
        ("redstart.conf.5".to_owned(), configuration_page()),
    ]);
    for tool in TOOLS {
        let mut page = roff::page(&format!("redstart {}", tool.name), (tool.command)());
        page.section("Exit status");
        page.paragraph("0 if all went well, 1 after an error.");
        page.section("See also");
        page.text("\\fBredstart\\fR(1)");
        pages.insert(format!("redstart-{}.1", tool.name), page.finish());
    }
    pages
}

fn server_page() -> String {
    // Tools and examples have separate sections.
    let about = "Serves clients of Redis: the protocol, the commands, the files and the configuration are those of \
                 Redis 7.2. It stays in the foreground and logs to standard output unless the configuration says \
                 otherwise.";
    let mut page = roff::page("redstart", tools::command().after_help("").long_about(about));
    page.section("Tools");
    page.paragraph(
        "A word in the place of the configuration file that is one of these is a tool. It is found as well by the name \
         of a link to the program: redstart-TOOL or redis-TOOL.",
    );
    for tool in TOOLS {
        let about = (tool.command)().get_about().map(ToString::to_string).unwrap_or_default();
        page.entry(tool.name, "", &about);
    }
    page.section("Signals");
    page.entry(
        "SIGTERM, SIGINT",
        "",
        "Save what is to be saved and end; see shutdown-on-sigterm and shutdown-on-sigint.",
    );
    page.entry(
        "SIGHUP, SIGPIPE",
        "",
        "Ignored. A log file may be renamed at any time, the next line begins a new one.",
    );
    page.section("Environment");
    page.entry("NOTIFY_SOCKET, WATCHDOG_USEC", "", "Of systemd, with 'supervised systemd' or 'auto'.");
    page.entry("REDISCLI_AUTH", "", "The password for tools that talk to a server.");
    page.entry("NO_COLOR", "", "No colours, also on a terminal.");
    page.section("Exit status");
    page.paragraph("0 after a shutdown, 1 after an error, which is logged or printed in a line.");
    page.section("Examples");
    for (line, what) in tools::EXAMPLES {
        page.entry(line, "", &format!("{what}."));
    }
    page.section("See also");
    let names = TOOLS.iter().map(|tool| format!("\\fBredstart\\-{}\\fR(1)", tool.name.replace('-', "\\-")));
    let names: Vec<String> = names.chain(["\\fBredstart.conf\\fR(5)".to_owned()]).collect();
    page.text(&names.join(",\n"));
    page.finish()
}

/// A row of the list in docs/configuration.md: values, default, when it can be set, effect.
fn rows() -> BTreeMap<String, [String; 4]> {
    let document = read("docs/configuration.md");
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<String> =
            line.strip_prefix("| `")?.split(" | ").map(|cell| cell.replace("**", "")).collect();
        let [names, values, default, when, effect] = &cells[..] else { return None };
        let name = names.split('`').next()?.to_owned();
        let effect = effect.trim_end_matches(" |").to_owned();
        Some((name, [values.clone(), default.replace('`', ""), when.clone(), effect]))
    });
    rows.collect()
}

/// redstart.conf lists directives with an explanation of each, under headings; the page has the same structure.
fn configuration_page() -> String {
    let (sample, rows) = (read("redstart.conf"), rows());
    let mut page = Page::new("redstart.conf", 5, "configuration of redstart");
    page.section("Description");
    let mut blocks =
        sample.split("\n\n").map(|block| block.trim_matches('\n')).filter(|block| !block.is_empty());
    blocks.next().expect("the description of the file");
    page.paragraph(
        "Lines of a directive and its value, as in redis.conf. Names and words in any case; words with spaces are \
         quoted. A line that begins with # is a comment. 1k is 1000 bytes, 1kb 1024, and so on for m, mb, g, gb. The \
         later of two lines for a directive counts; on the command line, --name value is such a line.",
    );
    for block in blocks {
        let (text, lines): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with("# ") || *line == "#");
        let text: Vec<&str> = text.iter().map(|line| line.trim_start_matches('#').trim_start()).collect();
        if lines.is_empty() {
            match &text[..] {
                [title] if !title.ends_with('.') => page.section(title),
                _ => page.paragraph(&text.join("\n")),
            }
            continue;
        }
        described(&mut page, &text.join("\n"), &lines, &rows);
    }
    page.section("Directives without effect");
    page.paragraph("They are accepted, shown by CONFIG GET and kept by CONFIG REWRITE, and change nothing:");
    let idle = DIRECTIVES.iter().filter(|directive| !directive.effect.acts_in_some_build());
    page.paragraph(&idle.map(|directive| directive.name).collect::<Vec<_>>().join(", "));
    page.section("See also");
    page.text("\\fBredstart\\fR(1)");
    page.finish()
}

/// The directives of a block of redstart.conf, and its text below the last of them.
fn described(page: &mut Page, text: &str, lines: &[&str], rows: &BTreeMap<String, [String; 4]>) {
    let mut names: Vec<&str> = Vec::new();
    for line in lines {
        let name = line.trim_start_matches('#').split(' ').next().expect("a word");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let Some((last, others)) = names.split_last() else { return };
    let facts = |name: &str| match rows.get(name) {
        Some([values, default, when, _]) => format!("  ({values}; default {default}; set {when})"),
        None => String::new(),
    };
    for name in others {
        page.entry(name, &facts(name), "");
    }
    page.entry(last, &facts(last), text);
}

/// The command line for completion: directives are options, and tools are subcommands.
fn completed() -> Command {
    let rows = rows();
    let mut command = tools::command().after_help("").mut_arg("configuration", |arg| {
        arg.value_hint(ValueHint::FilePath).trailing_var_arg(false).allow_hyphen_values(false)
    });
    for directive in DIRECTIVES.iter().filter(|directive| directive.effect.acts_in_some_build()) {
        // Another test reports a directive that the document lacks.
        let Some([values, ..]) = rows.get(directive.name) else { continue };
        let choices: Vec<String> = values.split(", ").map(str::to_owned).collect();
        let are_choices = choices.len() > 1 && choices.iter().all(|value| is_word(value));
        let mut arg =
            Arg::new(directive.name).long(directive.name).action(ArgAction::Append).help(values.clone());
        if are_choices {
            arg =
                arg.value_parser(PossibleValuesParser::new(choices.into_iter().map(|value| &*value.leak())));
        } else if ["dir", "logfile", "pidfile", "unixsocket"].contains(&directive.name) {
            arg = arg.value_hint(ValueHint::AnyPath);
        }
        command = command.arg(arg);
    }
    command.disable_help_subcommand(true).subcommands(TOOLS.iter().map(|tool| (tool.command)()))
}

/// Whether an item of the list is a value, and not a description of one.
fn is_word(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn completions() -> BTreeMap<String, String> {
    let links = TOOLS.iter().map(|tool| (format!("redstart-{}", tool.name), (tool.command)()));
    let mut written = BTreeMap::new();
    for (program, mut command) in links.chain([("redstart".to_owned(), completed())]) {
        for (shell, prefix, suffix) in
            [(Shell::Bash, "", ""), (Shell::Zsh, "_", ""), (Shell::Fish, "", ".fish")]
        {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &program, &mut text);
            let text = String::from_utf8(text).expect("UTF-8");
            let lines: String = text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
            written.insert(format!("{prefix}{program}{suffix}"), lines);
        }
    }
    written
}

#[test]
fn the_manual_says_what_the_tables_say() {
    hold("deploy/man", &pages());
}

#[test]
fn completions_know_every_tool_option_and_directive() {
    hold("deploy/completions", &completions());
}

#[test]
fn readers_of_the_manual_accept_it() {
    let Some(mandoc) = tool("mandoc", &[&["mandoc", "-T", "lint", "-W", "fatal", "/dev/null"]]) else {
        return;
    };
    for name in pages().keys() {
        let page = file("deploy/man").join(name);
        let output = process::Command::new(&mandoc).args(["-T", "lint", "-W", "warning"]).arg(&page).output();
        let complaints = String::from_utf8(output.expect("run mandoc").stdout).expect("UTF-8");
        // No dates exist before the first release.
        let complaints: Vec<&str> =
            complaints.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        let text = run(process::Command::new(&mandoc).args(["-T", "ascii", "-O", "width=100"]).arg(&page));
        let plain = text.replace('\u{8}', "");
        assert!(plain.contains("redstart") || text.contains("r\u{8}r"), "{name}: {text}");
    }
}

/// The completions that bash offers after `words`, from the function registered for the first of them.
fn offered(words: &[&str]) -> Vec<String> {
    let program = words[0];
    let last = words.len() - 1;
    let line: String = words.iter().flat_map(|word| ["'", word, "' "]).collect();
    let before = words.get(last.wrapping_sub(1)).copied().unwrap_or_default();
    let script = format!(
        "source '{}' && COMP_WORDS=({line}) COMP_CWORD={last} && registered=$(complete -p {program}) && \
         registered=${{registered#*-F }} && ${{registered%% *}} {program} '{}' '{before}' && \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file("deploy/completions").join(program).display(),
        words[last],
    );
    let text = run(process::Command::new("bash").args(["-c", &script]));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_tools_directives_and_their_values() {
    if tool("bash", &[&["bash", "--version"]]).is_none() {
        return;
    }
    let first = offered(&["redstart", ""]);
    for tool in TOOLS {
        assert!(first.iter().any(|word| word == tool.name), "{} is not in {first:?}", tool.name);
    }
    assert_eq!(offered(&["redstart", "--maxmemory-p"]), ["--maxmemory-policy"]);
    assert_eq!(offered(&["redstart", "--check-s"]), ["--check-system"]);
    assert_eq!(offered(&["redstart", "--appendfsync", "a"]), ["always"]);
    for tool in TOOLS {
        let link = format!("redstart-{}", tool.name);
        assert_eq!(offered(&[&link, "--hel"]), ["--help"]);
    }
    for shell in ["zsh", "fish"] {
        let Some(program) = tool(shell, &[&[shell, "--version"]]) else { continue };
        let links = TOOLS.iter().map(|tool| format!("redstart-{}", tool.name));
        for called in links.chain(["redstart".to_owned()]) {
            let (name, head) = match shell {
                "zsh" => (format!("_{called}"), format!("#compdef {called}\n")),
                _ => (format!("{called}.fish"), format!("complete -c {called} ")),
            };
            let path = format!("deploy/completions/{name}");
            assert!(read(&path).contains(&head), "{name} is not for {called}");
            run(process::Command::new(&program).args([Path::new("-n"), &file(&path)]));
        }
    }
}
