//! The language of the scripts of several clients: that of `differential/*.txt`, with a client named before each command.
//!
//! ```text
//! # a comment
//! @flags --requirepass secret        first lines: flags for both servers
//! @requires MULTI SUBSCRIBE          first lines: skipped unless the server under test has these commands
//! = title of the section             starts from an empty keyspace and without clients
//! @protocol 3                        only in RESP3 (default: the section runs in both)
//! @redis 7.2                         only beside a Redis of this version or a later one; `<7.2`: only beside an older one
//! @config name value                 CONFIG SET for this section
//! @tcp                               clients connect by TCP and not by a Unix socket
//! SUBSCRIBE ch                       sent by client a
//! b: PUBLISH ch {x|y}                sent by client b; braces as in other scripts, rules (`~unordered` …) too
//! b: CLIENT KILL ID {id:c}           the number that the server has given to client c
//! c: ~raw "MULTI\r\nPING\r\n"        these bytes at once
//! ~shuffled UNSUBSCRIBE              what a client receives may come in any order
//! @close b                           b disconnects; its next command opens a new connection
//! @await b 2                         continues once b has received two more messages, or the server has closed it
//! @hold                              compares nothing until the next @await or @until, and everything there
//! @until 0 DBSIZE                    continues once the reply is 0; another connection repeats the command
//! @pass 20                           continues once the server's clock has advanced by 20 milliseconds
//! ```
//!
//! A client is named by a letter, and connects when it is first named. Clients `x`, `y` and `z` keep the initial state:
//! RESP2, and not authenticated. After each line, the bytes that every client has received are compared; a rule applies
//! to all of them.

use crate::pair::{Rule, Step};
use crate::script::{expand, peers, rule, split};
use crate::support::Version;
use std::ops::Range;

/// A parsed script.
pub struct Script {
    pub flags: String,
    pub requires: Vec<String>,
    pub sections: Vec<Section>,
}

/// Acts that belong together; each section starts from an empty state.
pub struct Section {
    pub title: String,
    pub protocols: Vec<u8>,
    /// The versions of Redis that it can be compared with.
    pub peers: Range<Version>,
    /// Directives and their values.
    pub config: Vec<(String, String)>,
    pub tcp: bool,
    pub acts: Vec<Act>,
    /// Whether the following acts are held.
    holds: bool,
}

/// An act on both servers, after which the bytes received by all clients are compared.
#[derive(Clone, Debug)]
pub struct Act {
    /// Unused for [`Deed::Until`] and [`Deed::Pass`].
    pub client: char,
    pub deed: Deed,
    /// The comparison of the bytes received after the act.
    pub rule: Rule,
    /// The received bytes are compared together with those after the next act that is not held.
    pub held: bool,
}

#[derive(Clone, Debug)]
pub enum Deed {
    /// Sends a request; `{id:b}` in its words is the client ID of b.
    Call(Vec<Vec<u8>>),
    /// Sends bytes.
    Raw(Vec<u8>),
    Close,
    /// Waits until the client has received this many messages more.
    Await(usize),
    /// Repeats a request until its reply is this text.
    Until(String, Vec<Vec<u8>>),
    /// Waits until the server's clock has advanced by this many milliseconds.
    Pass(u64),
}

impl Act {
    /// `client` calls `args`.
    pub fn call(client: char, args: Vec<Vec<u8>>) -> Act {
        Act { client, deed: Deed::Call(args), rule: Rule::Exact, held: false }
    }

    /// The words of a call.
    pub fn into_call(self) -> Option<Vec<Vec<u8>>> {
        match self.deed {
            Deed::Call(args) => Some(args),
            _ => None,
        }
    }

    /// The act as a line of a script.
    pub fn line(&self) -> String {
        let words = |args: &[Vec<u8>]| args.iter().map(|arg| Step::word(arg)).collect::<Vec<_>>().join(" ");
        let client = self.client;
        match &self.deed {
            Deed::Call(args) => format!("{client}: {}", words(args)),
            Deed::Raw(bytes) => format!("{client}: ~raw \"{}\"", bytes.escape_ascii()),
            Deed::Close => format!("@close {client}"),
            Deed::Await(count) => format!("@await {client} {count}"),
            Deed::Until(reply, args) => format!("@until {reply} {}", words(args)),
            Deed::Pass(ms) => format!("@pass {ms}"),
        }
    }
}

/// Parses a script; an invalid line panics with its number.
pub fn parse(name: &str, text: &str) -> Script {
    let mut script = Script { flags: String::new(), requires: Vec::new(), sections: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = match line.strip_prefix("= ") {
            Some(title) => {
                script.sections.push(Section::new(title));
                Some(())
            }
            None => match script.sections.last_mut() {
                Some(section) => section.add(line),
                None => head(&mut script, line),
            },
        };
        assert!(parsed.is_some(), "{name}:{}: {line}", index + 1);
    }
    script
}

/// Handles a line before the first section.
fn head(script: &mut Script, line: &str) -> Option<()> {
    if let Some(flags) = line.strip_prefix("@flags ") {
        script.flags = flags.into();
    } else {
        script.requires = line.strip_prefix("@requires ")?.split(' ').map(String::from).collect();
    }
    Some(())
}

impl Section {
    fn new(title: &str) -> Section {
        Section {
            title: title.into(),
            protocols: vec![2, 3],
            peers: Version::new(0, 0)..Version::LAST,
            config: Vec::new(),
            tcp: false,
            acts: Vec::new(),
            holds: false,
        }
    }

    /// Handles a line of the section; `None` if it is invalid.
    fn add(&mut self, line: &str) -> Option<()> {
        let Some(directive) = line.strip_prefix('@') else {
            let held = self.holds;
            self.acts.extend(acts(line)?.into_iter().map(|act| Act { held, ..act }));
            return Some(());
        };
        let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let nobody = |deed| Act { client: '-', deed, rule: Rule::Exact, held: false };
        match name {
            "protocol" => self.protocols = vec![rest.parse().ok()?],
            "redis" => self.peers = peers(rest)?,
            "config" => {
                let (name, value) = rest.split_once(' ')?;
                self.config.push((name.into(), value.trim_matches('"').into()));
            }
            "tcp" => self.tcp = true,
            "hold" => self.holds = true,
            "close" => self.acts.push(Act { client: letter(rest)?, ..nobody(Deed::Close) }),
            "await" => {
                let (client, count) = rest.split_once(' ').unwrap_or((rest, "1"));
                self.holds = false;
                self.acts.push(Act { client: letter(client)?, ..nobody(Deed::Await(count.parse().ok()?)) });
            }
            "until" => {
                let (reply, call) = rest.split_once(' ')?;
                self.holds = false;
                self.acts.push(nobody(Deed::Until(reply.into(), split(call).ok()?)));
            }
            "pass" => self.acts.push(nobody(Deed::Pass(rest.parse().ok()?))),
            _ => return None,
        }
        Some(())
    }
}

/// The letter that names a client.
fn letter(text: &str) -> Option<char> {
    let mut letters = text.chars();
    letters.next().filter(|c| c.is_ascii_lowercase() && letters.next().is_none())
}

/// The acts of one line; `None` if it is invalid.
fn acts(line: &str) -> Option<Vec<Act>> {
    let named = line.split_once(": ").and_then(|(name, rest)| Some((letter(name)?, rest)));
    let (client, line) = named.unwrap_or(('a', line));
    let (rule, line) = match line.strip_prefix('~') {
        None => (Rule::Exact, line),
        Some(rest) => rule(rest).ok()?,
    };
    let act = |text: String| {
        let words = split(&text).ok()?;
        let deed = if rule == Rule::Raw { Deed::Raw(words.concat()) } else { Deed::Call(words) };
        let rule = if rule == Rule::Raw { Rule::Exact } else { rule };
        Some(Act { client, deed, rule, held: false })
    };
    expand(line).ok()?.into_iter().map(act).collect()
}

#[test]
fn a_line_names_its_client_and_a_directive_what_is_waited_for() {
    let script =
        parse("test", "@flags --x\n= one\n@config n \"\"\nPING\nb: GET {k|l}\n@await c 2\n@close b\n");
    assert_eq!(script.flags, "--x");
    let section = &script.sections[0];
    assert_eq!(section.config, [("n".into(), String::new())]);
    let lines: Vec<String> = section.acts.iter().map(Act::line).collect();
    assert_eq!(lines, ["a: PING", "b: GET k", "b: GET l", "@await c 2", "@close b"]);
}
