//! `redstart cli`: sends commands to a server, with redis-cli's options, texts and formats.
//!
//! It takes one command from the arguments, many from standard input, or prompts for them on a terminal:
//!
//! ```text
//! arguments ─▶ options ─┬─▶ a command, again and again ─▶ session ─▶ format ─▶ standard output
//!                       ├─▶ lines ─▶ shell (help, connect, quit, …) ─▶ session
//!                       ├─▶ cluster (--cluster: create, check, reshard, …)
//!                       └─▶ modes
//! ```
//!
//! `options` is the command line. A `session` is a connection and its state: its database, and whether it is in a
//! transaction or subscribed; with `-c` it follows a cluster's `redirection`s. [`format`](mod@format) prints replies. `shell` takes lines from a `reader`, or on a
//! terminal from an `editor` with a `history`, which shows `hints` and `help` based on the server's description of its
//! commands (`docs`). `debugger` is the state of a Lua debugging session. `modes` has all functions besides sending
//! commands.

pub mod cluster;
mod debugger;
mod docs;
#[cfg(feature = "cli")]
mod editor;
pub mod format;
mod help;
#[cfg(any(feature = "cli", test))]
mod hints;
#[cfg(any(feature = "cli", test))]
mod history;
pub mod modes;
pub mod options;
mod reader;
mod redirection;
pub mod session;
mod shell;
mod state;

use std::io::{Read, stdin};
use std::process::ExitCode;
use std::thread;

use crate::tools::Call;
use crate::tools::client::Error;
use crate::tools::console::tell;
use options::{FromInput, Options};
use session::{Failure, Session, print};

pub use options::command;

/// Runs the tool and returns its exit status: 1 without a connection, or with `-e` after an error of the server.
pub fn main(call: &Call) -> ExitCode {
    if options::asks_for_help(call) {
        return call.help(command());
    }
    let matches = match call.matches(options::command()) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    if matches.get_flag("version") {
        let version = concat!("redstart-cli ", env!("CARGO_PKG_VERSION"), "\n");
        return print(version.as_bytes()).map_or_else(end, |()| ExitCode::SUCCESS);
    }
    let options = match Options::from_matches(&matches) {
        Ok(options) => options,
        Err(text) => return fail(&text),
    };
    if let Some(status) = cluster::main(&options.target, &matches) {
        return status;
    }
    if let Some(mode) = modes::find(&matches) {
        return mode.main(&options, &matches);
    }
    if let Some(mode) = options.debugs {
        if options.script.is_none() {
            let text = "Options --ldb and --ldb-sync-mode require --eval.\nTry";
            return fail(&format!("{text} {} --help for more information.", call.program));
        }
        return shell::debug(options, mode);
    }
    match words(&options) {
        Ok(words) if words.is_empty() => shell::run(options),
        Ok(words) => one_command(options, &words),
        Err(text) => fail(&text),
    }
}

/// Returns the command's words: those of the arguments, and those added from a file or standard input.
fn words(options: &Options) -> Result<Vec<Vec<u8>>, String> {
    let mut words = options.command.clone();
    if let Some(path) = &options.script {
        let script = std::fs::read(path).map_err(|error| {
            format!("Can't open file '{}': {}", path.display(), crate::sys::file::reason(&error))
        })?;
        let comma = words.iter().position(|word| word == b",");
        let keys = comma.unwrap_or(words.len()).to_string().into_bytes();
        if let Some(comma) = comma {
            words.remove(comma);
        }
        words.splice(..0, [b"EVAL".to_vec(), script, keys]);
    }
    let Some(from_input) = &options.from_input else { return Ok(words) };
    if words.is_empty() {
        return Ok(words);
    }
    let mut input = Vec::new();
    stdin().read_to_end(&mut input).map_err(|error| format!("cannot read the standard input: {error}"))?;
    match from_input {
        FromInput::Last => words.push(input),
        FromInput::Tag(tag) => match words.iter_mut().find(|word| *word == tag) {
            Some(word) => *word = input,
            None => return Err("Using -X option but stdin tag not match.".to_string()),
        },
    }
    Ok(words)
}

/// Sends one command as often as requested.
fn one_command(mut options: Options, words: &[Vec<u8>]) -> ExitCode {
    let (mut left, interval) = (options.repeat, options.interval);
    if words.first().is_some_and(|word| shell::is_help(word)) {
        return shell::print_help(&docs::Docs::default(), &words[1..])
            .map_or_else(end, |()| ExitCode::SUCCESS);
    }
    options.errors_apart = options.fail_on_error;
    let mut session = Session::new(options);
    if let Err(failure) = session.connect() {
        return end(failure);
    }
    while left != 0 {
        match session.execute(words) {
            // The error has been printed.
            Ok(false) if session.options.fail_on_error => return ExitCode::FAILURE,
            Ok(_) => {}
            Err(failure) => return end(failure),
        }
        if session.state.listens()
            && let Err(failure) = session.listen()
        {
            return end(failure);
        }
        left -= i64::from(left > 0);
        if left != 0 && !interval.is_zero() {
            thread::sleep(interval);
        }
    }
    ExitCode::SUCCESS
}

/// Prints why the tool ends, and returns the exit status.
fn end(failure: Failure) -> ExitCode {
    match failure {
        // The reader of the output has gone.
        Failure::Output(_) => ExitCode::SUCCESS,
        Failure::Interrupted => ExitCode::FAILURE,
        Failure::Connection(error @ Error::Connect(..)) => fail(&error.to_string()),
        Failure::Connection(error) => fail(&format!("Error: {error}")),
    }
}

fn fail(text: &str) -> ExitCode {
    tell(text);
    ExitCode::FAILURE
}
