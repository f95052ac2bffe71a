//! The functions of `redstart cli` besides sending commands: `--scan`, `--bigkeys`, `--latency`, `--pipe` and others.
//!
//! Each mode is a function from a `Session` to an `Outcome`, in a file of its own. The table `MODES` lists them;
//! options and help are generated from it. They print what redis-cli 7.2 prints, with and without a terminal.
//!
//! | file | modes |
//! |---|---|
//! | `scan` | `--scan` |
//! | `big_keys` | `--bigkeys`, `--memkeys` |
//! | `hot_keys` | `--hotkeys` |
//! | `latency` | `--latency`, `--latency-history` |
//! | `spectrum` | `--latency-dist` |
//! | `intrinsic` | `--intrinsic-latency` |
//! | `stat` | `--stat` |
//! | `pipe` | `--pipe` |
//! | `snapshot` | `--rdb`, `--functions-rdb` |
//! | `replica` | `--replica` |
//! | `lru_test` | `--lru-test` |
//!
//! `keyspace` iterates over all keys, `sync` receives a snapshot from a master, and `link` is a connection that is
//! re-established after the server was gone.

mod big_keys;
mod hot_keys;
mod intrinsic;
mod keyspace;
mod latency;
mod link;
mod lru_test;
mod pipe;
mod replica;
mod scan;
mod snapshot;
mod spectrum;
mod stat;
mod sync;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::format::Format;
use super::options::Options;
use crate::tools::client::{Error, Target};
use crate::tools::console::{self, tell};

/// The input of a mode.
struct Session<'a> {
    /// The server.
    target: &'a Target,
    /// The output format of measurements: [`Format::Standard`] also means that lines may be rewritten.
    format: Format,
    /// `-i`, with a meaning that depends on the mode.
    interval: Option<Duration>,
    /// The options of [`arguments`].
    matches: &'a ArgMatches,
}

/// The result of a mode.
type Outcome = Result<(), Failure>;

/// Why a mode stops early.
#[derive(Debug)]
enum Failure {
    /// The server cannot be reached, or the connection broke.
    Client(Error),
    /// Writing to standard output failed.
    Output(io::Error),
    /// An error message for the user.
    Text(String),
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The error has already been reported.
    Told,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    /// Reports the failure on standard error.
    fn report(self) {
        match self {
            Failure::Client(error @ (Error::Connect(..) | Error::Refused(..))) => tell(error),
            Failure::Client(error) => tell(format_args!("Error: {error}")),
            Failure::Output(error) => {
                tell(format_args!("Error writing: {}", crate::sys::file::reason(&error)));
            }
            Failure::Text(text) => tell(text),
            Failure::Interrupted | Failure::Told => {}
        }
    }
}

/// An entry of the mode table.
#[derive(Debug)]
pub struct Mode {
    /// The name of its option.
    name: &'static str,
    /// The name of the option's value, if it takes one.
    value: Option<&'static str>,
    help: &'static str,
    run: fn(&Session<'_>) -> Outcome,
}

/// If several are given, the first in this order is used.
const MODES: &[Mode] = &[
    Mode { name: "latency", value: None, help: "Measure the latency of PING", run: latency::run },
    Mode {
        name: "latency-history",
        value: None,
        help: "Like --latency, with a new line every 15 seconds or -i",
        run: latency::run,
    },
    Mode {
        name: "latency-dist",
        value: None,
        help: "Show latencies as a spectrum of colours, one line per second or per -i",
        run: spectrum::run,
    },
    Mode {
        name: "replica",
        value: None,
        help: "Show the commands that the server sends to its replicas",
        run: replica::run,
    },
    Mode {
        name: "rdb",
        value: Some("FILE"),
        help: "Save a snapshot of the server's data in a file; - is the standard output",
        run: snapshot::data,
    },
    Mode {
        name: "functions-rdb",
        value: Some("FILE"),
        help: "Like --rdb, with functions only",
        run: snapshot::functions,
    },
    Mode {
        name: "pipe",
        value: None,
        help: "Send standard input to the server unchanged, and count replies and errors",
        run: pipe::run,
    },
    Mode { name: "bigkeys", value: None, help: "Look for keys with many elements", run: big_keys::elements },
    Mode { name: "memkeys", value: None, help: "Look for keys that take much memory", run: big_keys::memory },
    Mode {
        name: "memkeys-samples",
        value: Some("N"),
        help: "Like --memkeys, looking at N elements of each key",
        run: big_keys::memory,
    },
    Mode {
        name: "hotkeys",
        value: None,
        help: "Look for keys that are used often; needs an LFU policy",
        run: hot_keys::run,
    },
    Mode {
        name: "stat",
        value: None,
        help: "Print figures of the server every second or -i",
        run: stat::run,
    },
    Mode { name: "scan", value: None, help: "List the keys", run: scan::run },
    Mode {
        name: "lru-test",
        value: Some("KEYS"),
        help: "Simulate a cache in which most requests are for few keys",
        run: lru_test::run,
    },
    Mode {
        name: "intrinsic-latency",
        value: Some("SECONDS"),
        help: "Measure how long this machine keeps a busy process waiting",
        run: intrinsic::run,
    },
];

impl Mode {
    /// Runs the mode and returns the exit status.
    pub fn main(&self, options: &Options, matches: &ArgMatches) -> ExitCode {
        let interval = Some(options.interval).filter(|interval| !interval.is_zero());
        let format = options.style.format;
        match (self.run)(&Session { target: &options.target, format, interval, matches }) {
            Ok(()) => ExitCode::SUCCESS,
            // The reader of the output has gone, as with `| head`.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(failure) => {
                failure.report();
                ExitCode::FAILURE
            }
        }
    }
}

/// The options that select a mode, and the options of modes.
pub fn arguments() -> Vec<Arg> {
    let modes = MODES.iter().map(|mode| {
        let arg = Arg::new(mode.name).long(mode.name).help(mode.help);
        match (mode.name, mode.value) {
            ("memkeys-samples" | "lru-test" | "intrinsic-latency", Some(value)) => {
                arg.value_name(value).value_parser(value_parser!(u64))
            }
            (_, Some(value)) => arg.value_name(value).value_parser(value_parser!(PathBuf)),
            ("replica", None) => arg.alias("slave").action(ArgAction::SetTrue),
            (_, None) => arg.action(ArgAction::SetTrue),
        }
    });
    let more = [
        Arg::new("pattern")
            .long("pattern")
            .value_name("PATTERN")
            .value_parser(value_parser!(OsString))
            .help("Select keys by pattern, for --scan, --bigkeys, --memkeys and --hotkeys"),
        Arg::new("quoted-pattern")
            .long("quoted-pattern")
            .value_name("PATTERN")
            .value_parser(value_parser!(OsString))
            .help("Like --pattern, but quoted, so that it can contain any bytes"),
        Arg::new("count")
            .long("count")
            .value_name("N")
            .value_parser(value_parser!(i64))
            .allow_negative_numbers(true)
            .help("Approximate number of keys that each SCAN examines [default: 10]"),
        Arg::new("type").long("type").value_name("TYPE").help("Only keys of a type, for --scan"),
        Arg::new("pipe-timeout")
            .long("pipe-timeout")
            .value_name("SECONDS")
            .value_parser(value_parser!(u64))
            .help("Seconds that --pipe waits for replies after sending everything [default: 30; 0 means forever]"),
    ];
    modes.chain(more).collect()
}

/// Saves a snapshot of a server's data in a file. Returns whether that worked; a failure has been reported.
pub fn save_snapshot(target: &Target, path: &Path) -> bool {
    match snapshot::save(target, path, false) {
        Ok(()) => true,
        Err(failure) => {
            failure.report();
            false
        }
    }
}

/// Prints a line and flushes it, even to a pipe.
fn write_line(line: &str) -> Outcome {
    let mut out = console::output();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints a mode's own text unescaped: it may contain colours, and the next text may continue or replace its line.
fn draw(text: &str) -> Outcome {
    Ok(console::draw(text.as_bytes())?)
}

/// Returns the mode that the options select.
pub fn find(matches: &ArgMatches) -> Option<&'static Mode> {
    MODES.iter().find(|mode| matches.value_source(mode.name) == Some(ValueSource::CommandLine))
}
