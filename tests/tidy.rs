//! Reads the source and checks its rules.
//!
//! Imports go to lower floors only, a part of the server names only the modules it may know, `unsafe` is confined to
//! the modules that may have it and has a reason, every file has a head, no file has more than 900 lines, the
//! dependencies are the agreed ones, and no file has a path of some machine. Each check is a function from text to
//! complaints, tested at the end with text that breaks its rule.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The floor of each module; a module uses those on lower floors. `main.rs` is above all.
const FLOORS: &[(&str, u32)] = &[
    ("sys", 0),
    ("text", 0),
    ("alloc", 0),
    ("codec", 0),
    ("resp", 1),
    ("dict", 1),
    ("http", 1),
    ("lua", 1),
    ("tls", 1),
    ("types", 2),
    ("config", 2),
    ("db", 3),
    ("persist", 4),
    ("replication", 4),
    ("cluster", 4),
    ("command", 5),
    ("server", 6),
    ("tools", 7),
    ("main", 8),
];

/// A part of the server: a folder of `src/server`, and the modules that no file in it names, with everything below
/// them. Of the server itself a part knows only its own folder.
struct Part {
    name: &'static str,
    never: &'static [&'static str],
    /// The exceptions that it may name.
    except: &'static [&'static str],
}

const PARTS: &[Part] = &[
    // Commands and data, without descriptors.
    Part {
        name: "core",
        never: &["sys::net", "sys::poller", "sys::ring", "std::net", "std::os::fd", "std::fs"],
        except: &[],
    },
    // Connections and bytes, without keys.
    Part {
        name: "net",
        never: &["config", "db", "dict", "persist", "types", "std::fs"],
        except: &["types::Block", "types::block"],
    },
    // Listeners; they know clients by their tokens.
    Part {
        name: "audience",
        never: &[
            "config",
            "dict",
            "persist",
            "sys::net",
            "sys::poller",
            "sys::ring",
            "std::net",
            "std::os::fd",
        ],
        except: &["sys::poller::Token"],
    },
    // Connections that request metrics, and their bytes, without the metrics.
    Part {
        name: "web",
        never: &["command", "config", "db", "dict", "persist", "resp", "types", "std::fs"],
        except: &[],
    },
    // Scripts and the conversion of their values, without executing commands.
    Part {
        name: "scripts",
        never: &["db", "dict", "sys::net", "sys::poller", "sys::ring", "std::net", "std::os::fd", "std::fs"],
        except: &["db::Moment", "sys::poller::Token"],
    },
    // Persistence: files and children, without connections.
    Part {
        name: "persistence",
        never: &["command", "sys::net", "sys::poller", "sys::ring", "std::net"],
        except: &[],
    },
    // Replicas and the primary: their state, without commands or keys. A snapshot is checked while it is received.
    Part {
        name: "replication",
        never: &["command", "config", "dict", "persist", "resp", "types", "std::net"],
        except: &["persist::rdb::file::Check", "persist::rdb::file::RdbError"],
    },
    // The process and its environment, without keys or commands.
    Part {
        name: "process",
        never: &["command", "db", "dict", "persist", "resp", "sys::net", "sys::poller", "sys::ring", "types"],
        except: &[],
    },
];

/// Modules that may contain `unsafe`.
const UNSAFE: &[&str] = &["sys", "dict", "types", "alloc"];

/// The server's own dependencies.
const DEPENDENCIES: &[&str] = &["libc", "memchr", "nix", "clap"];

/// Dependencies of optional features.
const OPTIONAL: &[&str] = &["pkcs8", "rustls", "rustyline"];

const LONGEST_FILE: usize = 900;

/// A source file and its module (none for tests, benches and the like).
struct Source {
    path: PathBuf,
    module: Option<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for directory in ["src", "tests", "benches", "fuzz", "examples"] {
        collect(&Path::new(ROOT).join(directory), &mut found);
    }
    collect_file(&Path::new(ROOT).join("build.rs"), &mut found);
    assert!(found.len() > 10, "found only {} source files", found.len());
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let skipped = ["target", "corpus", "artifacts", "coverage"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !skipped {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            collect_file(&path, found);
        }
    }
}

fn collect_file(path: &Path, found: &mut Vec<Source>) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let path = path.strip_prefix(ROOT).expect("below the root").to_path_buf();
    let module = path.strip_prefix("src").ok().and_then(|below| {
        let first = below.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_string();
        (first != "lib").then_some(first)
    });
    found.push(Source { path, module, text });
}

/// The lines that compile into the program: neither comments nor `#[cfg(test)]` items, as (number, code).
fn code(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") || line.trim_start().starts_with("#[cfg(all(test") {
            skip_item(&mut lines);
        } else {
            kept.push((index + 1, without_comment(line)));
        }
    }
    kept
}

/// Skips the item of an attribute: up to its `;`, or to the line that closes its block at the same indent.
fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut closing = None;
    for (_, line) in lines {
        let indent = &line[..line.len() - line.trim_start().len()];
        match &closing {
            Some(end) if line.trim_end() == *end => return,
            None if line.trim_start().starts_with("#[") => {}
            None if line.trim_end().ends_with(['{', '(', '[']) => closing = Some(format!("{indent}}}")),
            None if line.trim_end().ends_with([';', '}', ',']) => return,
            _ => {}
        }
    }
}

/// The code of a line before `//`, with the contents of strings blanked.
fn without_comment(line: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            if !in_string {
                out.push(c);
            }
        } else if c == '/' && rest.peek() == Some(&'/') {
            break;
        } else if c == '\'' {
            // A character literal may hold a quote; a lifetime may not.
            out.push(c);
            let ahead: Vec<char> = rest.clone().take(3).collect();
            let literal = match ahead[..] {
                ['\\', _, '\''] => 3,
                [_, '\'', ..] => 2,
                _ => 0,
            };
            rest.by_ref().take(literal).for_each(drop);
        } else {
            in_string = c == '"';
            out.push(c);
        }
    }
    out
}

fn floor(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The modules that a line of code names as `crate::x`, and in `main.rs` as `redstart::x`.
fn named_modules(line: &str) -> Vec<String> {
    let mut named = Vec::new();
    for start in ["crate::", "redstart::"] {
        for (at, _) in line.match_indices(start) {
            let rest = &line[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(group) => named.extend(group_heads(group)),
                None => named.push(identifier(rest)),
            }
        }
    }
    named
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names within `crate::{a::b, c}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut at_head) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if at_head && c.is_alphabetic() => {
                heads.push(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Imports that do not go to a lower floor. Code is joined first, because a `use` may span several lines.
fn floor_complaints(module: &str, text: &str) -> Vec<String> {
    let Some(own) = floor(module) else {
        return vec![format!("module {module} has no floor in tests/tidy.rs")];
    };
    let lines = code(text);
    let joined: String = lines.iter().flat_map(|(_, line)| [line.trim(), " "]).collect();
    let mut complaints = Vec::new();
    for named in named_modules(&joined) {
        if let Some(other) = floor(&named)
            && named != module
            && other >= own
        {
            complaints.push(format!("{module} (floor {own}) uses {named} (floor {other})"));
        }
    }
    complaints
}

/// The path of a source file as a module: `["server", "core", "stats"]`.
fn module_path(path: &Path) -> Vec<String> {
    let below = path.strip_prefix("src").unwrap_or(path).with_extension("");
    let mut names: Vec<String> = below.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    names
}

/// All paths in `code` from a root (`crate`, `std`, `self`, `super`), as seen from the crate: groups are expanded and
/// `super::` is resolved for the module `own`.
fn named_paths(code: &str, own: &[String]) -> Vec<String> {
    let starts_word = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
    let mut paths = Vec::new();
    for root in ["crate::", "std::", "self::", "super::"] {
        for (at, _) in code.match_indices(root).filter(|(at, _)| starts_word(*at)) {
            let mut rest = &code[at..];
            let mut base: Vec<String> = if rest.starts_with("crate::") { vec![] } else { own.to_vec() };
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            rest = rest.strip_prefix("crate::").or(rest.strip_prefix("self::")).unwrap_or(rest);
            if rest.starts_with("std::") && root == "std::" {
                base.clear();
            }
            expand(rest, &base.join("::"), &mut paths);
        }
    }
    paths
}

/// Appends the paths of the use tree at the start of `text`, below `base`. Returns the text after the tree.
fn expand<'a>(text: &'a str, base: &str, paths: &mut Vec<String>) -> &'a str {
    let join = |name: &str| if base.is_empty() { name.to_string() } else { format!("{base}::{name}") };
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let after = expand(rest, base, paths).trim_start();
            let after = after.trim_start_matches(|c| !matches!(c, ',' | '}'));
            let after = after.strip_prefix(',').unwrap_or(after);
            if after.len() == rest.len() || after.is_empty() {
                return after;
            }
            rest = after;
        }
    }
    let name = identifier(text);
    let rest = &text[name.len()..];
    match rest.strip_prefix("::") {
        Some(below) if below.starts_with(|c: char| c.is_alphabetic() || "_{".contains(c)) => {
            expand(below, &join(&name), paths)
        }
        _ => {
            paths.push(if name == "self" || name.is_empty() { base.to_string() } else { join(&name) });
            rest
        }
    }
}

/// The modules that a file in a part's folder names and may not know.
fn part_complaints(path: &Path, text: &str) -> Vec<String> {
    let own = module_path(path);
    let Some(part) = PARTS.iter().find(|part| own.len() > 1 && own[0] == "server" && own[1] == part.name)
    else {
        return vec![];
    };
    let home = format!("server::{}", part.name);
    let is_below = |path: &str, ancestor: &str| {
        path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let joined: String = code(text).iter().flat_map(|(_, line)| [line.trim(), " "]).collect();
    // A visibility is not a use.
    let joined = joined.replace("pub(in crate::server)", "pub");
    let mut complaints = Vec::new();
    for named in named_paths(&joined, &own) {
        let foreign = is_below(&named, "server") && !is_below(&named, &home);
        let never = part.never.iter().any(|never| is_below(&named, never));
        let excepted = part.except.iter().any(|except| is_below(&named, except));
        if foreign || (never && !excepted) {
            complaints.push(format!("the part {} of the server names {named}", part.name));
        }
    }
    complaints
}

/// `unsafe` outside its modules, and `unsafe` blocks and impls without a reason above them.
fn unsafe_complaints(module: Option<&str>, text: &str) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (index, line) in all.iter().enumerate() {
        let code = without_comment(line);
        // A hyphenated word belongs to a foreign name in a text.
        let words: Vec<&str> =
            code.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).collect();
        if !words.contains(&"unsafe") {
            continue;
        }
        let number = index + 1;
        if !module.is_some_and(|module| UNSAFE.contains(&module)) {
            complaints.push(format!("line {number}: unsafe is for {UNSAFE:?} only"));
            continue;
        }
        let is_block = code.contains("unsafe {") || code.contains("unsafe impl");
        if is_block && !explained(&all, index) {
            complaints.push(format!("line {number}: unsafe without // SAFETY: in front of it"));
        }
    }
    complaints
}

/// Whether the comment right above line `index`, or above the start of its statement, has a reason.
fn explained(lines: &[&str], index: usize) -> bool {
    if lines[index].contains("// SAFETY:") {
        return true;
    }
    let mut in_comment = false;
    for line in lines[..index].iter().rev() {
        let line = line.trim();
        if line.starts_with("//") {
            in_comment = true;
            if line.contains("SAFETY:") {
                return true;
            }
        } else if in_comment || line.is_empty() || line.ends_with([';', '}']) {
            // `}` may end another statement, but also the `if a { … }` before it; both need a reason of their own.
            return false;
        }
    }
    false
}

fn head_complaints(text: &str) -> Vec<String> {
    let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let words = head.split_whitespace().count();
    if words < 5 {
        vec![format!("the file has no head (//!) that describes it ({words} words)")]
    } else {
        vec![]
    }
}

fn length_complaints(text: &str) -> Vec<String> {
    let lines = code(text).len();
    if lines > LONGEST_FILE { vec![format!("{lines} lines, more than {LONGEST_FILE}")] } else { vec![] }
}

/// Lines of a tool that print without `console`, which escapes control characters.
fn console_complaints(path: &Path, text: &str) -> Vec<String> {
    // These files print only their own text.
    const MAY: [&str; 4] = ["console.rs", "progress.rs", "check_system.rs", "top/screen.rs"];
    const WAYS: [&str; 4] = ["print!(", "println!(", "stdout().lock()", "(io::stderr(),"];
    if !path.starts_with("src/tools") || MAY.iter().any(|name| path.ends_with(name)) {
        return vec![];
    }
    let lines = code(text).into_iter().filter(|(_, line)| WAYS.iter().any(|way| line.contains(way)));
    lines
        .map(|(number, line)| format!("line {number}: prints without the console: {}", line.trim()))
        .collect()
}

/// Lines outside of `sys` and the tools that read a clock directly.
fn clock_complaints(module: Option<&str>, text: &str) -> Vec<String> {
    if module.is_none_or(|module| ["sys", "tools"].contains(&module)) {
        return vec![];
    }
    let lines =
        code(text).into_iter().filter(|(_, line)| line.contains("Instant") || line.contains("SystemTime"));
    lines.map(|(number, _)| format!("line {number}: reads a clock, which `sys::clock` does")).collect()
}

/// Names in the `[dependencies]` of a manifest that are not agreed on.
fn dependency_complaints(manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            let table = section
                .strip_prefix("dependencies.")
                .into_iter()
                .chain(section.split(".dependencies.").nth(1));
            complaints.extend(table.filter(|name| !DEPENDENCIES.contains(name)).map(ToString::to_string));
        } else if (section == "dependencies"
            || section.ends_with(".dependencies")
            || section == "build-dependencies")
            && let Some((name, _)) = line.split_once('=')
            && !line.starts_with('#')
            && !DEPENDENCIES.contains(&name.trim().trim_matches('"'))
            && !(OPTIONAL.contains(&name.trim()) && line.contains("optional = true"))
        {
            complaints.push(name.trim().to_string());
        }
    }
    complaints
}

/// Absolute paths of some machine.
fn path_complaints(text: &str) -> Vec<String> {
    // Assembled here, so that this file passes its own check.
    let places = ["home", "root", "Users", "work", "workspace", "builds"].map(|place| format!("/{place}/"));
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for place in &places {
            // A path begins here only if no other part of a path precedes it: `tests/work/x` is relative.
            let begins =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "./_-}*$)>:~".contains(c));
            if line.match_indices(place.as_str()).any(|(at, _)| begins(at)) {
                complaints.push(format!("line {}: the path of a machine: {}", index + 1, line.trim()));
            }
        }
    }
    complaints
}

fn check(complaints: impl Fn(&Source) -> Vec<String>) {
    let all: Vec<String> = sources()
        .iter()
        .flat_map(|source| complaints(source).into_iter().map(|c| format!("{}: {c}", source.path.display())))
        .collect();
    assert!(all.is_empty(), "{} complaints:\n{}", all.len(), all.join("\n"));
}

#[test]
fn modules_use_only_modules_on_floors_below_their_own() {
    check(|source| source.module.as_deref().map(|m| floor_complaints(m, &source.text)).unwrap_or_default());
}

#[test]
fn parts_of_the_server_name_only_what_they_may_know() {
    for part in PARTS {
        let folder = Path::new("src/server").join(part.name);
        assert!(sources().iter().any(|source| source.path.starts_with(&folder)), "no files in {folder:?}");
    }
    check(|source| part_complaints(&source.path, &source.text));
}

#[test]
fn unsafe_is_where_it_may_be_and_says_why_it_is_sound() {
    check(|source| {
        // Fuzz targets and benchmarks count allocations; they are not part of the server.
        let outside = source.path.starts_with("fuzz") || source.path.starts_with("benches");
        // A preloaded library between a server and the C library consists of system calls, and so do a pseudo-terminal
        // and options of sockets that the standard library does not have.
        let calls_system =
            ["tests/faults/shim.rs", "tests/support/terminal.rs", "tests/support/socket_options.rs"];
        let module = if calls_system.iter().any(|path| source.path.ends_with(path)) {
            Some("sys")
        } else {
            source.module.as_deref()
        };
        if outside { vec![] } else { unsafe_complaints(module, &source.text) }
    });
}

#[test]
fn every_source_file_says_what_it_is() {
    check(|source| head_complaints(&source.text));
}

#[test]
fn no_source_file_is_longer_than_900_lines_without_its_tests() {
    check(|source| length_complaints(&source.text));
}

#[test]
fn the_server_reads_its_clocks_in_one_place() {
    check(|source| clock_complaints(source.module.as_deref(), &source.text));
}

#[test]
fn tools_print_through_the_console() {
    check(|source| console_complaints(&source.path, &source.text));
}

#[test]
fn the_servers_dependencies_are_the_agreed_ones() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).expect("the manifest");
    let complaints = dependency_complaints(&manifest);
    assert!(complaints.is_empty(), "not agreed on: {complaints:?}");
}

/// All files in git's index; without git (a source archive) there are none.
fn repository_files() -> Vec<PathBuf> {
    let output = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(ROOT).output();
    match output {
        Ok(output) if output.status.success() => {
            let list = String::from_utf8_lossy(&output.stdout).into_owned();
            list.split('\0').filter(|name| !name.is_empty()).map(|name| Path::new(ROOT).join(name)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn no_file_names_the_path_of_a_machine() {
    let mut complaints = Vec::new();
    let mut texts: Vec<PathBuf> = repository_files();
    texts.extend(sources().into_iter().map(|source| Path::new(ROOT).join(source.path)));
    texts.sort();
    texts.dedup();
    for path in texts {
        // Skips binary files, such as corpora, and deleted files.
        if let Ok(text) = fs::read_to_string(&path) {
            complaints.extend(path_complaints(&text).into_iter().map(|c| format!("{}: {c}", path.display())));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_module_of_the_library_has_a_floor() {
    let text = fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).expect("the library's root");
    let modules: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(!modules.is_empty());
    for module in modules {
        assert!(floor(module).is_some(), "{module} has no floor");
    }
}

#[test]
fn the_checks_complain_about_what_they_are_for() {
    assert_eq!(floor_complaints("dict", "use crate::server::Loop;").len(), 1);
    assert_eq!(floor_complaints("dict", "use crate::resp::Span;").len(), 1, "the same floor");
    assert_eq!(floor_complaints("db", "use crate::{dict::Table,\n    command::Args, types};").len(), 1);
    assert_eq!(floor_complaints("db", "let x = crate::server::clock();").len(), 1);
    assert_eq!(floor_complaints("nosuch", "").len(), 1);
    assert!(floor_complaints("server", "use crate::command;\n// use crate::tools;").is_empty());
    assert!(floor_complaints("dict", "#[cfg(test)]\nmod tests {\n    use crate::server;\n}").is_empty());
    assert_eq!(floor_complaints("dict", "#[cfg(test)]\nmod tests;\nuse crate::server;").len(), 1);

    let printing = |path: &str| console_complaints(Path::new(path), "eprintln!(\"{text}\");").len();
    assert_eq!((printing("src/tools/cli/mod.rs"), printing("src/tools/console.rs")), (1, 0));
    assert_eq!(printing("src/server/mod.rs"), 0);

    assert_eq!(clock_complaints(Some("server"), "use std::time::Instant;").len(), 1);
    assert!(clock_complaints(Some("tools"), "use std::time::Instant;").is_empty());

    let part = |path: &str, text: &str| part_complaints(Path::new(path), text).len();
    assert_eq!(part("src/server/core/stats.rs", "use crate::sys::net::Socket;"), 1);
    assert_eq!(part("src/server/core/stats.rs", "use crate::sys::{clock, poller::Token};"), 1);
    assert_eq!(
        part("src/server/core/stats.rs", "use crate::sys::{\n    clock::{self, ticks},\n    net,\n};"),
        1
    );
    assert_eq!(
        part("src/server/core/latency/doctor.rs", "use super::super::Server;"),
        0,
        "that is core::Server"
    );
    assert_eq!(part("src/server/core/latency/doctor.rs", "use super::super::super::Server;"), 1);
    assert_eq!(part("src/server/core/mod.rs", "fn f(s: &super::Server) {}"), 1);
    assert_eq!(part("src/server/core/mod.rs", "use super::{net::Net, audience};"), 2);
    assert_eq!(part("src/server/core/mod.rs", "pub(super) a: u8, pub(in crate::server) b: u8,"), 0);
    assert_eq!(part("src/server/net/client.rs", "let a = crate::db::Keyspace::new();"), 1);
    assert_eq!(part("src/server/net/client.rs", "use crate::types::{Block, Entry};"), 1);
    assert_eq!(
        part("src/server/net/client.rs", "use crate::types::block::Block; use super::output::Pending;"),
        0
    );
    assert_eq!(part("src/server/audience/monitor.rs", "use crate::sys::poller::{Poller, Token};"), 1);
    assert_eq!(part("src/server/process/log.rs", "use crate::command::Args; use std::fs::File;"), 1);
    assert_eq!(
        part(
            "src/server/process/log.rs",
            "//! [`crate::db`]\n#[cfg(test)]\nmod tests {\n    use crate::db;\n}"
        ),
        0
    );
    assert_eq!(
        part("src/server/settle.rs", "use crate::db::Change; use super::net::Net;"),
        0,
        "between the parts"
    );

    assert_eq!(unsafe_complaints(Some("server"), "// SAFETY: no\nunsafe { x() }").len(), 1);
    assert_eq!(unsafe_complaints(None, "unsafe { x() }").len(), 1);
    assert_eq!(unsafe_complaints(Some("sys"), "let a = 1;\nunsafe { x() }").len(), 1);
    assert_eq!(unsafe_complaints(Some("sys"), "// SAFETY: one\nunsafe { x() };\nunsafe { y() }").len(), 1);
    assert!(unsafe_complaints(Some("sys"), "// SAFETY: because\nlet y =\n    unsafe { x() };").is_empty());
    assert!(unsafe_complaints(Some("sys"), "unsafe { x() } // SAFETY: because").is_empty());
    assert!(unsafe_complaints(Some("server"), "let s = \"style-src 'unsafe-inline'\";").is_empty());
    assert!(unsafe_complaints(Some("server"), "// unsafe\nlet s = \"unsafe\"; unsafely();").is_empty());

    assert_eq!(head_complaints("use std::fs;").len(), 1);
    assert!(head_complaints("//! The reader of everything that comes.\n").is_empty());

    let long = "let a = 1;\n".repeat(901);
    assert_eq!(length_complaints(&long).len(), 1);
    let tests = format!("//! x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(length_complaints(&tests).is_empty());

    assert_eq!(dependency_complaints("[dependencies]\nlibc = \"1\"\ntokio = \"1\"\n"), ["tokio"]);
    assert_eq!(dependency_complaints("[dependencies.serde]\nversion = \"1\"\n"), ["serde"]);
    assert_eq!(dependency_complaints("[target.'cfg(unix)'.dependencies]\nmio = \"1\"\n"), ["mio"]);
    assert!(
        dependency_complaints("[dependencies]\nrustyline = { version = \"1\", optional = true }\n")
            .is_empty()
    );
    assert_eq!(dependency_complaints("[dependencies]\nrustyline = \"1\"\n"), ["rustyline"]);
    assert!(dependency_complaints("[dev-dependencies]\nredis = \"1\"\n").is_empty());

    let path = format!("see {}{}/x", "/ho", "me/me");
    assert_eq!(path_complaints(&path).len(), 1);
    assert!(path_complaints("see tests/home/x and $HOME/work/ and https://a.b/work/").is_empty());
}
