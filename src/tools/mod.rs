//! The tools in the binary besides the server: they read files or connect to a server.
//!
//! | subcommand | or by the name of a link | what it does |
//! |---|---|---|
//! | `cli` | `redis-cli`, `redstart-cli` | [`cli`]: sends commands, from the arguments, a pipe or a prompt |
//! | `benchmark` | `redis-benchmark`, `redstart-benchmark` | [`benchmark`]: measures a server |
//! | `cluster` | `redis-cluster`, `redstart-cluster` | [`cluster`]: runs a cluster on this machine, to try things out |
//! | `top` | `redis-top`, `redstart-top` | [`top`]: shows a server's activity live |
//! | `check-aof` | `redis-check-aof`, `redstart-check-aof` | [`check_aof`]: checks the files of a log, and cuts off an
//! invalid end |
//! | `check-rdb` | `redis-check-rdb`, `redstart-check-rdb` | [`check_rdb`]: reads an RDB file and reports its contents
//! |
//!
//! To add one, add a file here and a line to [`TOOLS`]. Tools connect to servers through [`client`] and print through
//! `console`.

pub mod benchmark;
pub mod check_aof;
pub mod check_rdb;
mod check_system;
pub mod cli;
pub mod client;
pub mod cluster;
mod command_line;
mod console;
mod progress;
pub mod top;

pub use check_system::check_system;
pub use command_line::{EXAMPLES, command};
pub use progress::Progress;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// How a tool was started.
#[derive(Clone, Debug)]
pub struct Call {
    /// The program's name for its usage line: without directories, the subcommand included.
    pub program: String,
    /// The arguments after it.
    pub arguments: Vec<OsString>,
}

impl Call {
    /// Parses the arguments with clap. The error is the exit status: success after requested help, failure after an
    /// error, which has been printed.
    pub fn matches(&self, command: Command) -> Result<ArgMatches, ExitCode> {
        let name = OsString::from(&self.program);
        let words = std::iter::once(&name).chain(&self.arguments);
        command.bin_name(&self.program).try_get_matches_from(words).map_err(|error| {
            // If this fails, there is no reader to report it to.
            let _ = error.print();
            if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        })
    }

    /// Prints the help of a tool that parses its arguments as Redis does.
    pub fn help(&self, command: Command) -> ExitCode {
        match command.bin_name(&self.program).print_help() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}

/// An entry of the tool table.
#[derive(Debug)]
pub struct Tool {
    /// The subcommand.
    pub name: &'static str,
    /// Its command line, for help, completions and the manual.
    pub command: fn() -> Command,
    /// Runs the tool: prints to standard output and returns the exit status.
    pub main: fn(&Call) -> ExitCode,
}

/// The tools in the order of the help.
pub const TOOLS: &[Tool] = &[
    Tool { name: "cli", command: cli::command, main: cli::main },
    Tool { name: "benchmark", command: benchmark::command, main: benchmark::main },
    Tool { name: "cluster", command: cluster::command, main: cluster::main },
    Tool { name: "top", command: top::command, main: top::main },
    Tool { name: "check-aof", command: check_aof::command, main: check_aof::main },
    Tool { name: "check-rdb", command: check_rdb::command, main: check_rdb::main },
];

/// Finds the tool that the command line `words` starts: by its first word, the program (`redis-check-rdb`), or by a
/// subcommand (`redstart check-rdb`).
pub fn find(words: &[OsString]) -> Option<(&'static Tool, Call)> {
    let (program, rest) = words.split_first()?;
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let linked = name.strip_prefix("redis-").or_else(|| name.strip_prefix("redstart-"));
    for tool in TOOLS {
        if linked == Some(tool.name) {
            return Some((tool, Call { program: name.into_owned(), arguments: rest.to_vec() }));
        }
        if let Some((first, arguments)) = rest.split_first().filter(|(first, _)| *first == tool.name) {
            let program = format!("{name} {}", first.to_string_lossy());
            return Some((tool, Call { program, arguments: arguments.to_vec() }));
        }
    }
    None
}

/// Whether the program was started under the name of Redis' Sentinel, which is not supported.
pub fn is_sentinel(words: &[OsString]) -> bool {
    let name = words.first().and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == "redis-sentinel" || name == "redstart-sentinel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_by_subcommand_and_by_the_name_of_a_link() {
        let call = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            find(&words).map(|(_, call)| (call.program, call.arguments))
        };
        let found = |program: &str| Some((program.to_string(), vec![OsString::from("dump.rdb")]));
        assert_eq!(call(&["./redstart", "check-rdb", "dump.rdb"]), found("redstart check-rdb"));
        assert_eq!(call(&["/usr/bin/redis-check-rdb", "dump.rdb"]), found("redis-check-rdb"));
        assert_eq!(call(&["redstart-check-rdb", "dump.rdb"]), found("redstart-check-rdb"));
        assert_eq!(call(&["redstart", "redstart.conf"]), None);
        assert_eq!(call(&["redstart"]), None);
        assert_eq!(call(&[]), None);
    }
}
