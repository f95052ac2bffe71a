//! The language of the scripts: one command a line, with a notation for combinations of options.
//!
//! ```text
//! # a comment
//! @flags --requirepass secret        first lines: flags for both servers
//! = title of the section             starts from an empty keyspace and fresh connections
//! @protocol 3                        only in RESP3 (default: the section runs in both)
//! @redis 7.2                         only beside a Redis of this version or a later one; `<7.2`: only beside an older one
//! @requires LPUSH                    skipped, with a message, if the server has no such command
//! @before DEL k                      runs before each command of the lines below; without a command it stops that
//! SET k v {NX|XX|} {EX 10|PX 9|}     one command for each combination: 9 here
//! APPEND k {ab*1000}                 a word of "ab" a thousand times
//! GET "a\x00b" 'c d'                 quoting as in redis-cli
//! 2: GET k                           on the second connection
//! ~about 2 TTL k                     integers may differ by 2
//! ~unordered KEYS *                  elements in any order
//! ~pairs HGETALL h                  pairs of field and value in any order
//! ~kind RANDOMKEY                    only the type of the reply has to be the same
//! ~scan SCAN 0 COUNT 5               follows the cursor to its end, compares all elements in any order
//! ~masked SLOWLOG GET                integers, addresses and times of MONITOR may differ
//! ~times XINFO STREAM s FULL         times, which are large integers, may differ
//! ~topology CLUSTER NODES            times and counters of a cluster may differ
//! ~clients CLIENT LIST               times and sizes of buffers may differ
//! ~silent GET k                      has no reply
//! ~next GET k                        sends nothing and reads a reply, compared as by ~masked
//! ~raw "PING\r\n"                    these bytes, then one reply
//! ```

use crate::pair::{Pair, Rule, Step};
use crate::support::Version;
use std::ops::Range;

/// A parsed script.
pub struct Script {
    pub flags: String,
    pub sections: Vec<Section>,
}

/// Commands that belong together; each section starts from an empty state.
pub struct Section {
    pub title: String,
    pub protocols: Vec<u8>,
    /// The versions of Redis that it can be compared with.
    pub peers: Range<Version>,
    pub requires: Vec<String>,
    pub steps: Vec<Step>,
}

impl Script {
    /// The sections that can run with these servers, once for each of their protocols.
    pub fn runs<'a>(&'a self, pair: &'a Pair) -> impl Iterator<Item = (&'a Section, u8)> {
        let sections = self.sections.iter().filter(|section| section.obstacle(pair).is_none());
        sections.flat_map(|section| section.protocols.iter().map(move |protocol| (section, *protocol)))
    }
}

impl Section {
    /// The reason why the section cannot run with these servers; `None` if it can.
    pub fn obstacle(&self, pair: &Pair) -> Option<String> {
        if !self.peers.contains(&pair.peer) {
            return Some(format!("is not for Redis {}", pair.peer));
        }
        pair.missing(&self.requires).map(|command| format!("is skipped, the server has no {command}"))
    }
}

/// Parses a script; an invalid line panics with its number.
pub fn parse(name: &str, text: &str) -> Script {
    let mut script = Script { flags: String::new(), sections: Vec::new() };
    let mut before: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{name}:{}: {line}", index + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("= ") {
            before.clear();
            let (title, requires, steps) = (title.to_string(), Vec::new(), Vec::new());
            let peers = Version::new(0, 0)..Version::LAST;
            script.sections.push(Section { title, protocols: vec![2, 3], peers, requires, steps });
            continue;
        }
        if let Some(flags) = line.strip_prefix("@flags ") {
            assert!(script.sections.is_empty(), "{}: flags come first", place());
            script.flags = flags.to_string();
            continue;
        }
        let section = script.sections.last_mut().unwrap_or_else(|| panic!("{}: before any section", place()));
        if let Some(protocol) = line.strip_prefix("@protocol ") {
            section.protocols = vec![protocol.parse().unwrap_or_else(|_| panic!("{}", place()))];
        } else if let Some(version) = line.strip_prefix("@redis ") {
            section.peers = peers(version).unwrap_or_else(|| panic!("{}", place()));
        } else if let Some(command) = line.strip_prefix("@requires ") {
            section.requires.extend(command.split(' ').map(String::from));
        } else if let Some(command) = line.strip_prefix("@before ") {
            before.extend(steps(command).unwrap_or_else(|e| panic!("{}: {e}", place())));
        } else if line == "@before" {
            before.clear();
        } else {
            assert!(!line.starts_with('@'), "{}: no such directive", place());
            for step in steps(line).unwrap_or_else(|e| panic!("{}: {e}", place())) {
                section.steps.extend(before.iter().cloned());
                section.steps.push(step);
            }
        }
    }
    script
}

/// The versions that `7.2` or `<7.2` means.
pub fn peers(text: &str) -> Option<Range<Version>> {
    let version = Version::parse(text.trim_start_matches('<'))?;
    let (first, end) = (Version::new(0, 0), Version::LAST);
    Some(if text.starts_with('<') { first..version } else { version..end })
}

/// The steps of one line.
fn steps(line: &str) -> Result<Vec<Step>, String> {
    let (connection, line) = match line.split_once(": ") {
        Some((n, rest)) if n.len() == 1 && n.as_bytes()[0].is_ascii_digit() => (n.parse().unwrap_or(1), rest),
        _ => (1, line),
    };
    let (rule, line) = match line.strip_prefix('~') {
        None => (Rule::Exact, line),
        Some(rest) => rule(rest)?,
    };
    let mut steps = Vec::new();
    for text in expand(line)? {
        let words = split(&text)?;
        let args = if rule == Rule::Raw { vec![words.concat()] } else { words };
        if !args.is_empty() {
            steps.push(Step { connection, args, rule });
        }
    }
    Ok(steps)
}

/// The rule after the `~` of a line, and the rest of the line.
pub fn rule(line: &str) -> Result<(Rule, &str), String> {
    let (name, rest) = line.split_once(' ').ok_or("a rule without a command")?;
    Ok(match name {
        "unordered" => (Rule::Unordered, rest),
        "pairs" => (Rule::UnorderedPairs, rest),
        "kind" => (Rule::Kind, rest),
        "scan" => (Rule::Scan, rest),
        "silent" => (Rule::Silent, rest),
        "masked" => (Rule::Masked, rest),
        "clients" => (Rule::Clients, rest),
        "topology" => (Rule::Topology, rest),
        "shuffled" => (Rule::Shuffled, rest),
        "times" => (Rule::Times, rest),
        "next" => (Rule::Next, rest),
        "raw" => (Rule::Raw, rest),
        "about" => {
            let (distance, rest) = rest.split_once(' ').ok_or("~about without a distance")?;
            (Rule::About(distance.parse().map_err(|_| "~about wants a number")?), rest)
        }
        other => return Err(format!("no rule ~{other}")),
    })
}

/// Every line that the braces of `line` produce. Braces inside quotes are literal, except in `{x*9}`.
pub fn expand(line: &str) -> Result<Vec<String>, String> {
    let mut done = vec![String::new()];
    let (mut quote, mut escaped) = (None, false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let inside = quote.is_some();
        if c == '{' && !escaped {
            let end = rest.find('}').ok_or("a brace that is not closed")?;
            let alternatives = alternatives(&rest[1..end], inside);
            done =
                done.iter().flat_map(|head| alternatives.iter().map(move |a| format!("{head}{a}"))).collect();
            rest = &rest[end + 1..];
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' | '\'' if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ => {}
        }
        for text in &mut done {
            text.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(done)
}

fn alternatives(body: &str, quoted: bool) -> Vec<String> {
    if let Some((text, count)) = body.rsplit_once('*')
        && let Ok(count) = count.parse::<usize>()
    {
        return vec![text.repeat(count)];
    }
    if let Some((from, to)) = body.split_once("..")
        && let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>())
    {
        return (from..=to).map(|n| n.to_string()).collect();
    }
    if quoted || !body.contains('|') {
        return vec![format!("{{{body}}}")];
    }
    body.split('|').map(String::from).collect()
}

/// Splits a line into words with redis-cli's quoting.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        let Some(&first) = bytes.peek() else { return Ok(words) };
        let mut word = Vec::new();
        if first == b'"' || first == b'\'' {
            bytes.next();
            loop {
                match bytes.next().ok_or("a quote that is not closed")? {
                    c if c == first => break,
                    b'\\' if first == b'"' => word.push(escape(&mut bytes)?),
                    c => word.push(c),
                }
            }
        } else {
            while let Some(c) = bytes.next_if(|c| !c.is_ascii_whitespace()) {
                word.push(c);
            }
        }
        words.push(word);
    }
}

fn escape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, String> {
    let mut next = || bytes.next().ok_or("a backslash at the end");
    Ok(match next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = [next()?, next()?];
            let text = std::str::from_utf8(&digits).map_err(|_| "\\x wants two hex digits")?;
            u8::from_str_radix(text, 16).map_err(|_| "\\x wants two hex digits")?
        }
        c => c,
    })
}

#[test]
fn a_line_stands_for_every_combination_of_its_braces() {
    assert_eq!(expand("a {b|c} {1..2}").unwrap(), ["a b 1", "a b 2", "a c 1", "a c 2"]);
    assert_eq!(expand("{xy*3} {k} \"{a|b}\"").unwrap(), ["xyxyxy {k} \"{a|b}\""]);
    assert_eq!(split(r#"a "b \x00\"" 'c\' """#).unwrap(), [&b"a"[..], b"b \0\"", b"c\\", b""]);
}
