//! The command line of the binary itself, as a clap command: for `--help`, and for the manual and the shell completions
//! generated from it.
//!
//! Except for a few options, all arguments are configuration, which has its own table of directives.

use std::ffi::OsString;
use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use super::TOOLS;

const USAGE: &str = "redstart [/path/to/redstart.conf | -] [--directive value ...]
       redstart TOOL [option ...]";

/// The examples at the end of `--help`.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("redstart", "serve on port 6379 with the default configuration"),
    ("redstart /etc/redstart.conf", "read a configuration file"),
    ("redstart redstart.conf --port 7000 --maxmemory 1gb", "a file, and directives that override it"),
    ("redstart --save \"\" --bind 127.0.0.1", "directives alone"),
    ("echo 'port 7000' | redstart -", "read the configuration from the standard input"),
    ("redstart --check-system redstart.conf", "check that the system suits this configuration"),
    ("redstart check-rdb dump.rdb", "check an RDB file"),
];

/// The column of the second part of a line, if the first part leaves room.
const COLUMN: usize = 42;

/// The server's command line. The tools are not subcommands of it: they are found before it is parsed
/// ([`super::find`]).
pub fn command() -> Command {
    Command::new("redstart")
        .about("A Redis-compatible server")
        .override_usage(USAGE)
        .after_help(after_help())
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version and exit"),
        )
        .arg(
            Arg::new("check-system")
                .long("check-system")
                .action(ArgAction::SetTrue)
                .help("Check whether the system suits the configuration, and explain how to fix problems"),
        )
        .arg(
            Arg::new("configuration")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString))
                .help("A configuration file (or - for the standard input) and directives"),
        )
}

/// Lists the tools and the examples.
fn after_help() -> String {
    let mut text = String::from("Tools:\n");
    for tool in TOOLS {
        let about = (tool.command)().get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:<13} {about}", tool.name);
    }
    text.push_str("\nExamples:\n");
    for (line, what) in EXAMPLES {
        let gap = if line.len() + 2 < COLUMN { " " } else { "\n  " };
        let _ = writeln!(text, "  {line}{gap}{what:>width$}", width = padded(line, gap, what));
    }
    text.truncate(text.trim_end().len());
    text
}

/// The width that moves `what` to its column.
fn padded(line: &str, gap: &str, what: &str) -> usize {
    let before = if gap == " " { line.len() + 3 } else { 2 };
    what.len() + (COLUMN + 1).saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_tool_and_aligns_the_examples() {
        let help = command().render_help().to_string();
        for tool in TOOLS {
            let about = (tool.command)().get_about().expect("a line on what it does").to_string();
            assert!(help.contains(&format!("  {:<13} {about}", tool.name)), "{help}");
        }
        for (line, what) in EXAMPLES {
            assert!(help.contains(line), "{line}");
            let at = help.lines().find_map(|shown| shown.find(what)).expect(what);
            assert_eq!(at, COLUMN + 1, "{what}\n{help}");
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
    }
}
