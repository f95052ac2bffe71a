//! What the binary does besides serving: tools that look at files, without a server.
//!
//! | subcommand | or by the name of a link | what it does |
//! |---|---|---|
//! | `check-aof` | `redis-check-aof`, `redstart-check-aof` | [`check_aof`]: checks the files of a log, and cuts off what is broken |
//! | `check-rdb` | `redis-check-rdb`, `redstart-check-rdb` | [`check_rdb`]: reads an RDB file and reports what is in it |
//!
//! To add one, add a file here and a line to `TOOLS`.

pub mod check_aof;
pub mod check_rdb;
mod progress;

pub use progress::Progress;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// How a tool was called.
#[derive(Clone, Debug)]
pub struct Call {
    /// The program's name for its usage line, the subcommand included.
    pub program: String,
    /// What follows.
    pub arguments: Vec<OsString>,
}

/// A tool: prints to the standard output and returns the exit status.
pub type Tool = fn(&Call) -> ExitCode;

/// The tools by the name of their subcommand.
const TOOLS: &[(&str, Tool)] = &[("check-aof", check_aof::main), ("check-rdb", check_rdb::main)];

/// The tool that the command line `words` calls, its first word being the program: by that word (`redis-check-rdb`) or
/// by a subcommand (`redstart check-rdb`).
pub fn find(words: &[OsString]) -> Option<(Tool, Call)> {
    let (program, rest) = words.split_first()?;
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let linked = name.strip_prefix("redis-").or_else(|| name.strip_prefix("redstart-"));
    let program = program.to_string_lossy();
    for (subcommand, tool) in TOOLS {
        if linked == Some(subcommand) {
            return Some((*tool, Call { program: program.into_owned(), arguments: rest.to_vec() }));
        }
        if let Some((first, arguments)) = rest.split_first().filter(|(first, _)| *first == subcommand) {
            let program = format!("{program} {}", first.to_string_lossy());
            return Some((*tool, Call { program, arguments: arguments.to_vec() }));
        }
    }
    None
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
        assert_eq!(call(&["./redstart", "check-rdb", "dump.rdb"]), found("./redstart check-rdb"));
        assert_eq!(call(&["/usr/bin/redis-check-rdb", "dump.rdb"]), found("/usr/bin/redis-check-rdb"));
        assert_eq!(call(&["redstart-check-rdb", "dump.rdb"]), found("redstart-check-rdb"));
        assert_eq!(call(&["redstart", "redstart.conf"]), None);
        assert_eq!(call(&["redstart"]), None);
        assert_eq!(call(&[]), None);
    }
}
