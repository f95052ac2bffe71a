//! Checks the AOF after a sequence: the server under test and Redis load it. Both must restore the data set, and no
//! command of the AOF may fail.
//!
//! ```text
//!   image of the data set
//!     the AOF as it is               ──▶ loaded by its writer ──▶ the same image ──▶ loaded by Redis ──▶ the same image
//!     rewritten with a snapshot      ──▶ likewise
//!     rewritten as commands alone    ──▶ likewise
//! ```
//!
//! The Redis that loads the AOF is a third server of a [`Pair`], started when it is first needed. It loads a copy of
//! the files with `DEBUG LOADAOF`. [`EXEMPT`] lists the sections after which the AOF is not loaded, and why.

mod image;

use crate::pair::{Pace, Pair, Step, shrink};
use crate::support::client::Client;
use crate::support::server::{Launch, Server, subject_is_redis};
use crate::support::{Version, eventually};
use image::Image;
use std::fs;
use std::path::Path;

/// The first Redis that reads RDB version 11.
pub const FORMAT_11: Version = Version::new(7, 2);

/// The flags of both servers of a pair: they write an AOF, and rewrite it only on request.
pub const LOGGED: &str = "--appendonly yes --appendfsync no --auto-aof-rewrite-percentage 0";

/// The form of an AOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not rewritten.
    AsWritten,
    /// `aof-use-rdb-preamble yes`.
    Snapshot,
    /// `aof-use-rdb-preamble no`.
    Commands,
}

const FORMS: [Form; 3] = [Form::AsWritten, Form::Snapshot, Form::Commands];

/// Rewrites the AOF of a server into this form.
pub fn rewrite(client: &mut Client, form: Form) {
    let preamble = match form {
        Form::AsWritten => return,
        Form::Snapshot => "yes",
        Form::Commands => "no",
    };
    client.ok(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
    let begun = client.run("BGREWRITEAOF");
    assert!(!begun.is_error(), "BGREWRITEAOF: {begun:?}");
    eventually("the rewrite ends", || {
        let text = client.run("INFO persistence").text();
        let is_done = text.contains("aof_rewrite_in_progress:0") && text.contains("aof_rewrite_scheduled:0");
        is_done.then_some(())
    });
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
    client.ok("CONFIG SET aof-use-rdb-preamble yes");
}

/// The sections after which the AOF is not loaded: the script, the section, and the reason.
pub const EXEMPT: &[(&str, &str, &str)] = &[
    ("debug.txt", "POPULATE", "DEBUG POPULATE is not propagated, as in Redis"),
    ("server.txt", "DEBUG POPULATE makes keys with known names and values", "as POPULATE in debug.txt"),
    (
        "dump.txt",
        "RESTORE and FUNCTION RESTORE without comparing checksums",
        "payloads with a wrong checksum are refused unless DEBUG disables the check",
    ),
    ("dump.txt", "RESTORE of lists with empty nodes", "as without comparing checksums"),
    (
        "dump.txt",
        "A zipmap becomes a table by the length of its fields and values, a ziplist does not",
        "as without comparing checksums",
    ),
    (
        "hyperloglog.txt",
        "every number of elements up to the limit of a sparse sketch and past it",
        "the form of a sketch depends on the limit when it grew, which is not logged",
    ),
    ("hyperloglog.txt", "the limit of a sparse sketch", "as every number of elements"),
    (
        "hyperloglog.txt",
        "sparse sketches that outgrow the limit when they are merged",
        "as every number of elements",
    ),
    (
        "ranges.txt",
        "SETRANGE refuses",
        "half a gigabyte takes longer to digest than a test waits for a reply",
    ),
];

/// Whether a section is exempt. If it is, empties the server and its AOF.
pub fn is_exempt(pair: &Pair, script: &str, section: &str) -> bool {
    let found = EXEMPT.iter().any(|(file, title, _)| *file == script && *title == section);
    if found {
        forget(pair);
    }
    found
}

/// Empties the server under test and its AOF.
fn forget(pair: &Pair) {
    let mut subject = connect(&pair.subject, pair.password());
    for line in ["CLIENT UNPAUSE", "FLUSHALL", "FUNCTION FLUSH"] {
        subject.ok(line);
    }
    rewrite(&mut subject, Form::Snapshot);
}

/// Flags with which the server under test writes an AOF that a Redis of version `peer` can load.
pub fn logged_for(peer: Version) -> String {
    let is_old = peer < FORMAT_11 && !subject_is_redis();
    format!("{LOGGED}{}", if is_old { " --rdb-write-version 10" } else { "" })
}

/// The Redis that loads the AOF of the server under test.
pub struct Reader {
    server: Server,
    client: Client,
}

impl Reader {
    /// Uses the flags of the server under test, without `rename-command`: the AOF has the original names of commands,
    /// which a Redis that renames them does not accept.
    fn start(flags: &str, password: Option<&str>) -> Reader {
        let mut parts = flags.split("--rename-command");
        let first = parts.next().unwrap_or_default().to_owned();
        let kept = parts.fold(first, |kept, renamed| {
            let next = renamed.find("--").unwrap_or(renamed.len());
            kept + &renamed[next..]
        });
        let server = Launch::redis().flags(&kept).flags(LOGGED).start();
        let client = connect(&server, password);
        Reader { server, client }
    }
}

/// A client that has authenticated.
pub fn connect(server: &Server, password: Option<&str>) -> Client {
    let mut client = server.client();
    if let Some(password) = password {
        client.call(&["AUTH", password]);
    }
    client
}

/// The servers that load an AOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Only the server under test: the AOF contains data that Redis cannot read.
    Writer,
    Both,
}

/// Loads the AOF of the server under test in every form, there and in Redis. Returns a description of the first
/// difference from the data set before. If there is one, the server and its AOF are emptied.
pub fn difference(pair: &Pair) -> Option<String> {
    difference_in(pair, Readers::Both)
}

fn difference_in(pair: &Pair, readers: Readers) -> Option<String> {
    let found = difference_of_forms(pair, readers);
    if found.is_some() {
        forget(pair);
    }
    found
}

fn difference_of_forms(pair: &Pair, readers: Readers) -> Option<String> {
    let mut subject = connect(&pair.subject, pair.password());
    // The sequence may have paused clients.
    subject.ok("CLIENT UNPAUSE");
    let before = Image::of(&mut subject);
    let mut slot = pair.reader.borrow_mut();
    for form in FORMS {
        rewrite(&mut subject, form);
        if let Some(found) = load(&pair.subject, &mut subject, &before) {
            return Some(format!("  AOF {form:?}, loaded by its writer\n{found}"));
        }
        if readers == Readers::Writer {
            continue;
        }
        let reader = slot.get_or_insert_with(|| Reader::start(pair.flags(), pair.password()));
        copy_log(&mut subject, reader.server.directory());
        if let Some(found) = load(&reader.server, &mut reader.client, &before) {
            // Redis may have exited.
            *slot = None;
            return Some(format!("  AOF {form:?}, loaded by Redis\n{found}"));
        }
    }
    None
}

/// Loads a server's AOF. Returns a description of the first difference from `before`.
fn load(server: &Server, client: &mut Client, before: &Image) -> Option<String> {
    let failures = failed(client);
    match client.try_call(&["DEBUG", "LOADAOF"]) {
        Ok(reply) if !reply.value.is_error() => {}
        other => return Some(format!("  DEBUG LOADAOF: {other:?}\n{}", end_of_log(server, ""))),
    }
    if failed(client) != failures {
        return Some(format!("  commands of the AOF failed:\n{}", end_of_log(server, "== CRITICAL ==")));
    }
    before.difference(&Image::of(client))
}

/// The number of failed commands in all loads.
fn failed(client: &mut Client) -> i64 {
    let text = client.run("INFO stats").text();
    let number = text.lines().find_map(|line| line.strip_prefix("unexpected_error_replies:"));
    number.and_then(|number| number.parse().ok()).expect("INFO counts unexpected errors")
}

/// The last lines of a server's log that contain `text`.
fn end_of_log(server: &Server, text: &str) -> String {
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    last.iter().flat_map(|line| ["  log: ", line, "\n"]).collect()
}

/// Copies the files of a server's AOF into another server's directory.
fn copy_log(writer: &mut Client, directory: &Path) {
    let mut setting = |name: &str| writer.call(&["CONFIG", "GET", name]).field(name).text();
    let name = setting("appenddirname");
    let (from, to) = (Path::new(&setting("dir")).join(&name), directory.join(&name));
    fs::remove_dir_all(&to).expect("the AOF of an earlier sequence");
    copy(&from, &to);
}

/// Copies a file, or a directory with its contents.
pub fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

/// Loads the AOF at the end of sequences that ran one after the other; a difference fails the test.
pub fn check_end(pair: &Pair, origin: &str) {
    check_end_by(pair, Readers::Both, origin);
}

pub fn check_end_by(pair: &Pair, readers: Readers, origin: &str) {
    if let Some(found) = difference_in(pair, readers) {
        panic!("{origin}: the AOF loads to another data set\n{found}");
    }
}

/// Loads the AOF after `steps`; a difference is shrunk, printed and fails the test.
pub fn check(pair: &Pair, protocol: u8, steps: &[Step], pace: Pace, origin: &str) {
    if let Some(found) = difference(pair) {
        panic!("{origin}, RESP{protocol}: {}", explain(pair, protocol, steps, pace, found));
    }
}

/// Shrinks `steps` to the shortest sequence whose AOF loads to other data, and describes both.
pub fn explain(pair: &Pair, protocol: u8, steps: &[Step], pace: Pace, found: String) -> String {
    let (sequence, found) = shrink(steps.to_vec(), found, |steps| {
        let still = match pair.run(protocol, steps, pace) {
            None => difference(pair)?,
            Some(_) => return None,
        };
        Some((steps.len() - 1, still))
    });
    let lines: Vec<String> = sequence.iter().map(|step| format!("    {}", step.line())).collect();
    format!(
        "the AOF loads to another data set\n{found}\n  after a FLUSHALL and this sequence:\n{}",
        lines.join("\n")
    )
}
