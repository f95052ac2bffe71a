//! Keeps the documents true: every link has a target, every link to a definition has the right line, every quotation is
//! in the source, and the commands of getting-started.md print what the document shows.
//!
//! * `[text](file.md#heading)`: the file and the heading exist.
//! * ``[`name`](../src/file.rs#L12)``: line 12 of that file defines `name`. Where a file defines a name more than once,
//!   the text names the owner too: ``[`Table::find`]``. In a `.def` file the definition is that of a command.
//!   `REDSTART_WRITE_DOCS=1 cargo test --test docs` corrects the numbers.
//! * A fenced block `rust src/file.rs` quotes that file: its lines are in the file in that order; a line of `…` alone
//!   stands for any lines in between.
//! * In a table whose last column is `test`, a code span that ends with `.rs` names a file of `tests/`, and each other one
//!   a test in the file before it.
//! * In getting-started.md a shell runs each block `sh` after `<!-- run -->`, which must print the following block
//!   `text`, or nothing. There `…` stands for anything within a line.

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use support::server::{Directory, free_port, subject_binary};
use support::{Client, run_bounded};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HOW: &str = "REDSTART_WRITE_DOCS=1 cargo test --test docs corrects line numbers";

/// A document: its path from the root, and its text.
struct Document {
    path: PathBuf,
    text: String,
}

/// All documents: those of the top directory, of `docs/` and of `deploy/`.
fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for directory in ["", "docs", "deploy"] {
        let Ok(entries) = fs::read_dir(Path::new(ROOT).join(directory)) else { continue };
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        paths.extend(names.map(|name| Path::new(directory).join(name)));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    assert!(paths.len() > 10, "found only {paths:?}");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("a document");
        Document { path, text }
    };
    paths.into_iter().map(read).collect()
}

/// A link in a document.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    line: usize,
    text: &'a str,
    target: &'a str,
}

/// The links of a text outside of code, in order.
fn links(text: &str) -> Vec<Link<'_>> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            links_of_line(number, line, &mut found);
        }
    }
    found
}

fn links_of_line<'a>(number: usize, line: &'a str, found: &mut Vec<Link<'a>>) {
    let mut from = 0;
    while let Some(middle) = line[from..].find("](").map(|at| from + at) {
        let after = middle + 2;
        from = after;
        let Some(length) = line[after..].find(')') else { return };
        // A link inside of code, after an odd number of backquotes, does not count.
        let Some(start) = line[..middle].rfind('[') else { continue };
        if line[..start].matches('`').count().is_multiple_of(2) {
            found.push(Link {
                line: number,
                text: &line[start + 1..middle],
                target: &line[after..after + length],
            });
        }
    }
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let mut fenced = false;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = HashSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let times = seen.entry(slug.clone()).or_default();
        anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
        *times += 1;
    }
    anchors
}

/// The path from the root of a target that is relative to a document.
fn resolve(document: &Path, target: &str) -> PathBuf {
    let mut path = document.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{target} leads out of the project"),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The error in a link to a file or a heading; `None` if there is none, or if the link leads out of the project.
fn complaint(document: &Document, link: &Link<'_>) -> Option<String> {
    if link.target.contains("://") || link.target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.target.split_once('#').unwrap_or((link.target, ""));
    let path = if file.is_empty() { document.path.clone() } else { resolve(&document.path, file) };
    let full = Path::new(ROOT).join(&path);
    if !full.exists() {
        return Some(format!("there is no {}", path.display()));
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = fs::read_to_string(full).expect("a document");
    (!anchors(&text).contains(anchor)).then(|| format!("{} has no heading #{anchor}", path.display()))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut complaints = Vec::new();
    let mut followed = 0;
    for document in documents() {
        for link in links(&document.text) {
            followed += 1;
            if let Some(what) = complaint(&document, &link) {
                complaints.push(format!("{}:{}: {what}", document.path.display(), link.line));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(followed > 50, "{followed}");
}

/// A definition in a source file.
#[derive(Debug, PartialEq, Eq)]
struct Definition {
    line: usize,
    name: String,
    /// The type of the enclosing `impl`.
    owner: Option<String>,
}

/// The definitions of a source file, without those of its tests.
fn definitions(path: &Path, text: &str) -> Vec<Definition> {
    if path.extension().is_some_and(|extension| extension == "def") {
        let commands =
            (1..).zip(text.lines()).filter_map(|(line, text)| Some((line, text.strip_prefix("command ")?)));
        return commands
            .map(|(line, name)| Definition { line, name: name.trim().into(), owner: None })
            .collect();
    }
    let mut found = Vec::new();
    let mut owner = None;
    for (line, text) in (1..).zip(text.lines()) {
        if text.starts_with("mod tests {") {
            break;
        }
        if text.starts_with("impl") || text.starts_with("unsafe impl") || text.starts_with("pub trait") {
            owner = owner_of(text);
        } else if text.starts_with('}') {
            owner = None;
        }
        if let Some(name) = defined(text) {
            let is_own = text.starts_with(' ');
            found.push(Definition { line, name, owner: owner.clone().filter(|_| is_own) });
        }
    }
    found
}

/// The type of an `impl` line, or the trait.
fn owner_of(line: &str) -> Option<String> {
    let rest = line.trim_start_matches("unsafe ").trim_start_matches("impl").trim_start_matches("pub trait ");
    // Generics come first: `<T: Item>`.
    let mut depth = 0;
    let after = rest.find(|c| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c != '>'
    })?;
    let owner = rest[after..].split(" for ").last()?.trim();
    let owner = owner.split(['<', ' ', '{', ':']).next()?;
    (!owner.is_empty()).then(|| owner.to_owned())
}

/// The name that a line defines.
fn defined(line: &str) -> Option<String> {
    const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "pub" | "unsafe" | "extern") || word.starts_with("pub(") || *word == "super)"
    });
    let mut kind = words.next()?;
    let mut name = words.next()?;
    if kind == "const" && matches!(name, "fn" | "unsafe") {
        kind = "fn";
        name = words.find(|word| *word != "fn")?;
    }
    if !KINDS.contains(&kind) {
        return None;
    }
    let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty() && name != "_").then_some(name)
}

/// The line of the only definition with the name in a link's text.
fn line_of(definitions: &[Definition], name: &str) -> Result<usize, String> {
    let (owner, name) = match name.rsplit_once("::") {
        Some((owner, name)) => (Some(owner), name),
        None => (None, name),
    };
    let named = definitions.iter().filter(|definition| definition.name == name);
    let lines: Vec<usize> = named
        .filter(|definition| owner.is_none_or(|owner| definition.owner.as_deref() == Some(owner)))
        .map(|definition| definition.line)
        .collect();
    match lines[..] {
        [line] => Ok(line),
        [] => Err(format!("it does not define {name}")),
        _ => Err(format!("it defines {name} in the lines {lines:?}: say whose it is, as in `Type::{name}`")),
    }
}

/// The target of a link and the line that it names, if it names one.
fn with_line<'a>(link: &Link<'a>) -> Option<(&'a str, usize)> {
    let (file, line) = link.target.rsplit_once("#L")?;
    Some((file, line.parse().ok()?))
}

#[test]
fn a_link_to_a_line_leads_to_the_definition_that_it_names() {
    let writes = std::env::var_os("REDSTART_WRITE_DOCS").is_some();
    let mut complaints = Vec::new();
    let mut followed = 0;
    for Document { path, text } in documents() {
        let mut corrected = text.clone();
        for link in links(&text) {
            let Some((target, line)) = with_line(&link) else { continue };
            followed += 1;
            let place = format!("{}:{}", path.display(), link.line);
            let source = resolve(&path, target);
            let Ok(code) = fs::read_to_string(Path::new(ROOT).join(&source)) else { continue };
            let name = link.text.trim_matches('`');
            match line_of(&definitions(&source, &code), name) {
                Err(what) => complaints.push(format!("{place}: {}: {what}", source.display())),
                Ok(right) if right == line => {}
                Ok(right) if writes => {
                    let (old, new) = (link.target, format!("{target}#L{right}"));
                    let (old, new) = (format!("[{}]({old})", link.text), format!("[{}]({new})", link.text));
                    corrected = corrected.replace(&old, &new);
                }
                Ok(right) => {
                    complaints.push(format!("{place}: `{name}` is in line {right} of {}", source.display()));
                }
            }
        }
        if corrected != text {
            fs::write(Path::new(ROOT).join(&path), corrected).expect("write a document");
        }
    }
    assert!(complaints.is_empty(), "{}\n{HOW}", complaints.join("\n"));
    assert!(followed > 30, "{followed}");
}

/// A fenced block: its line, the text after the backquotes, whether it is run, and its lines.
struct Block<'a> {
    line: usize,
    info: &'a str,
    runs: bool,
    /// Whether only blank lines separate it from the block before.
    follows: bool,
    lines: Vec<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open = false;
    let (mut runs, mut follows) = (false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            if !open {
                blocks.push(Block { line: number, info: info.trim(), runs, follows, lines: Vec::new() });
            }
            open = !open;
            (runs, follows) = (false, true);
        } else if open {
            blocks.last_mut().expect("an open block").lines.push(line);
        } else if !line.trim().is_empty() {
            runs = line.trim() == "<!-- run -->";
            follows = false;
        }
    }
    assert!(!open, "a block is not closed");
    blocks
}

/// The first line of a quotation that is missing in the source, or out of order.
fn misquoted<'a>(quotation: &[&'a str], source: &str) -> Option<&'a str> {
    let source: Vec<&str> = source.lines().map(str::trim).collect();
    let mut from = 0;
    for passage in quotation.split(|line| line.trim() == "…") {
        let passage: Vec<&'a str> = passage.iter().map(|line| line.trim()).collect();
        let [first, ..] = passage[..] else { continue };
        let starts = (from..source.len()).filter(|at| source[*at..].starts_with(&passage));
        let Some(at) = starts.min() else {
            let begins = source[from..].iter().position(|line| *line == first).map(|at| from + at);
            let differs = |at: usize| {
                passage
                    .iter()
                    .zip(&source[at..])
                    .find(|(quoted, there)| quoted != there)
                    .map(|(quoted, _)| *quoted)
            };
            return begins.and_then(differs).or(Some(first));
        };
        from = at + passage.len();
    }
    None
}

#[test]
fn quotations_are_what_the_source_says() {
    let mut quoted = 0;
    for Document { path, text } in documents() {
        for block in blocks(&text) {
            let Some((_, file)) = block.info.split_once(' ') else { continue };
            quoted += 1;
            let source = fs::read_to_string(Path::new(ROOT).join(file));
            let source = source.unwrap_or_else(|e| panic!("{}:{}: {file}: {e}", path.display(), block.line));
            let wrong = misquoted(&block.lines, &source);
            assert_eq!(wrong, None, "{}:{}: not in {file}", path.display(), block.line);
        }
    }
    assert!(quoted > 5, "{quoted}");
}

/// Whether a printed line matches the line in a document, in which `…` stands for anything.
fn is_as_shown(printed: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A place to follow getting-started.md: a directory in which `redstart` serves on a free port, and `redstart cli`
/// connects to it.
struct Walk {
    port: u16,
    directory: Directory,
}

impl Walk {
    fn begin() -> Walk {
        let walk = Walk { port: free_port(), directory: Directory::new() };
        let (binary, port) = (subject_binary(), walk.port);
        let binary = binary.display();
        // A killed server may take a moment to exit, a new one a moment to load.
        let ask = format!("{binary} cli -p {port} ping 2>/dev/null");
        let script = format!(
            "case \"$1\" in\n--version|--help|--check-system|check-*) exec {binary} \"$@\" ;;\n\
             cli) shift; exec {binary} cli -p {port} \"$@\" ;;\nesac\n\
             while {ask} >/dev/null; do sleep 0.05; done\n\
             {binary} \"$@\" --port {port} || exit\n\
             until case \"$({ask})\" in PONG|NOAUTH*) ;; *) false ;; esac; do sleep 0.05; done"
        );
        walk.program("redstart", &script);
        walk
    }

    fn program(&self, name: &str, script: &str) {
        let bin = self.directory.join("bin");
        fs::create_dir_all(&bin).expect("a directory for programs");
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).expect("write a program");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("make it executable");
    }

    /// Runs a script in the directory. Returns its output.
    fn run(&self, script: &str) -> String {
        let path = std::env::var("PATH").expect("a search path");
        let mut shell = Command::new("sh");
        shell.arg("-ec").arg(script).current_dir(self.directory.path());
        shell.env("PATH", format!("{}:{path}", self.directory.join("bin").display()));
        let (succeeded, output) = run_bounded(shell);
        assert!(succeeded, "{script}\n{output}");
        output
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // If a step fails, the server that the last step ends is still running.
        if let Ok(mut client) = Client::tcp(self.port) {
            let _ = client.try_call(&["SHUTDOWN", "NOSAVE"]);
        }
    }
}

/// The files and tests that tables name: the line, the file, and a test in it or nothing.
fn named_tests(text: &str) -> Vec<(usize, &str, Option<&str>)> {
    let mut found = Vec::new();
    let mut names_tests = false;
    for (number, line) in (1..).zip(text.lines()) {
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            names_tests = false;
            continue;
        };
        let cell = row.rsplit('|').next().unwrap_or_default();
        names_tests |= cell.trim() == "test";
        let mut file = None;
        for span in cell.split('`').skip(1).step_by(2).filter(|_| names_tests) {
            if Path::new(span).extension().is_some_and(|extension| extension == "rs") {
                file = Some(span);
                found.push((number, span, None));
            } else {
                let file = file.unwrap_or_else(|| panic!("line {number}: {span} has no file before it"));
                found.push((number, file, Some(span)));
            }
        }
    }
    found
}

/// Whether a Rust file has a test with this name.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let attributes = |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    (0..lines.len()).any(|at| {
        // A long name has its parentheses, or its opening brace, on the next line.
        let is_it = lines[at].starts_with(&head) || lines[at] == head.trim_end_matches('(');
        is_it && attributes(at).any(|line| *line == "#[test]")
    })
}

#[test]
fn tests_that_tables_name_are_there() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for document in documents() {
        for (line, file, test) in named_tests(&document.text) {
            let source = fs::read_to_string(Path::new(ROOT).join("tests").join(file)).ok();
            let is_there = source.is_some_and(|source| test.is_none_or(|name| has_test(&source, name)));
            if !is_there {
                missing.push(format!(
                    "{}:{line}: {file} {}",
                    document.path.display(),
                    test.unwrap_or_default()
                ));
            }
            checked += 1;
        }
    }
    assert!(missing.is_empty(), "not in tests/:\n{}", missing.join("\n"));
    assert!(checked > 20, "found only {checked}");
}

#[test]
fn what_getting_started_shows_is_what_happens() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/getting-started.md")).expect("the document");
    let blocks = blocks(&text);
    let walk = Walk::begin();
    let mut steps = 0;
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.runs) {
        assert_eq!(block.info, "sh", "line {}", block.line);
        steps += 1;
        let shown = blocks.get(index + 1).filter(|next| next.follows && next.info == "text");
        let shown = shown.map_or(&[][..], |next| &next.lines);
        let output = walk.run(&block.lines.join("\n"));
        let output = output.replace(&walk.port.to_string(), "6379");
        let printed: Vec<&str> = output.lines().collect();
        let agrees = printed.len() == shown.len()
            && printed.iter().zip(shown).all(|(printed, shown)| is_as_shown(printed.trim_end(), shown));
        assert!(
            agrees,
            "docs/getting-started.md:{}: it shows\n{}\nand this happens:\n{}",
            block.line,
            shown.join("\n"),
            printed.join("\n")
        );
    }
    assert!(steps >= 10, "{steps}");
}

#[test]
fn links_are_found_outside_of_code() {
    let text = "a [b](c.md) and [`d`](e.rs#L1)\n```\n[no](link)\n```\n`[no](link)` [f](#g)";
    let found: Vec<(usize, &str, &str)> =
        links(text).into_iter().map(|link| (link.line, link.text, link.target)).collect();
    assert_eq!(found, [(1, "b", "c.md"), (1, "`d`", "e.rs#L1"), (5, "f", "#g")]);
}

#[test]
fn a_heading_has_the_anchor_that_git_hosts_give_it() {
    let found = anchors("# The `SET k v`, twice\n```\n# no\n```\n## What's new?\n## What's new?\n#no");
    let expected = ["the-set-k-v-twice", "whats-new", "whats-new-1"].map(String::from);
    assert_eq!(found, HashSet::from(expected));
}

#[test]
fn a_definition_is_found_by_its_name_and_its_owner() {
    let text = "pub const READ: usize = 1;\nimpl<T: Item> Table<T> {\n    pub(super) fn find(&self) {}\n}\n\
                impl Poller for Epoll {\n    fn find() {}\n}\npub struct Rest {\n}\nfn find_all() {}\nmod tests {\nfn find() {}\n";
    let found = definitions(Path::new("a.rs"), text);
    assert_eq!(line_of(&found, "READ"), Ok(1));
    assert_eq!(line_of(&found, "Table::find"), Ok(3));
    assert_eq!(line_of(&found, "Epoll::find"), Ok(6));
    assert_eq!(line_of(&found, "Rest"), Ok(8));
    assert_eq!(line_of(&found, "find_all"), Ok(10));
    assert!(line_of(&found, "find").is_err(), "there are two");
    assert!(line_of(&found, "lost").is_err());
    let commands = definitions(Path::new("a.def"), "group string\n\ncommand get\n  summary x\n");
    assert_eq!(line_of(&commands, "get"), Ok(3));
}

#[test]
fn a_test_in_a_table_is_found() {
    let text = "| a `x` | test |\n|---|---|\n| b | `one.rs`: `first`, `second`; `two.rs`; all |\n\n| a | `first` |\n";
    let found = [
        (3, "one.rs", None),
        (3, "one.rs", Some("first")),
        (3, "one.rs", Some("second")),
        (3, "two.rs", None),
    ];
    assert_eq!(named_tests(text), found);
    let source = "#[test]\n#[cfg(unix)]\nfn first() {\n}\nfn second() {\n}\n";
    assert!(has_test(source, "first") && !has_test(source, "second") && !has_test(source, "fir"));
}

#[test]
fn a_quotation_that_is_not_in_the_source_is_found() {
    let source = "fn a() {\n    b();\n    c();\n}\nfn d() {\n    e();\n}\n";
    assert_eq!(misquoted(&["fn a() {", "b();", "…", "fn d() {"], source), None);
    assert_eq!(misquoted(&["fn a() {", "c();"], source), Some("c();"));
    assert_eq!(misquoted(&["fn d() {", "…", "fn a() {"], source), Some("fn a() {"));
}

#[test]
fn a_shown_line_may_leave_out_what_changes() {
    assert!(is_as_shown("pid 12, ready", "pid …, ready"));
    assert!(is_as_shown("OK", "OK"));
    assert!(!is_as_shown("OK then", "OK"));
    assert!(!is_as_shown("pid 12, gone", "pid …, ready"));
    assert!(is_as_shown("a 1 b 2 c", "a … b … c"));
}
