//! The binary: turns arguments into a running server.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use redstart::alloc::Counting;
use redstart::{config, server, tools};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USAGE: &str = "redstart [/path/to/redstart.conf | -] [--directive value ...]";

const EXAMPLES: &str = "Examples:
  redstart                                 serve on port 6379 with the default configuration
  redstart /etc/redstart.conf              read a configuration file
  redstart redstart.conf --port 7000 --maxmemory 1gb
                                           a file, and directives that override it
  redstart --save \"\" --bind 127.0.0.1     directives alone
  echo 'port 7000' | redstart -            read the configuration from the standard input
  redstart check-rdb dump.rdb              check an RDB file";

/// The command line for clap. Everything but `--help` and `--version` belongs to the configuration, which has its own
/// table of directives.
fn command() -> Command {
    Command::new("redstart")
        .about("A Redis-compatible server")
        .override_usage(USAGE)
        .after_help(EXAMPLES)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version and exit"),
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

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some((tool, call)) = tools::find(&words) {
        return (tool.main)(&call);
    }
    let matches = command().get_matches();
    if matches.get_flag("version") {
        println!("{}", version());
        return ExitCode::SUCCESS;
    }
    let arguments = matches.get_many::<OsString>("configuration").unwrap_or_default().cloned();
    let config = match config::load(arguments, &mut std::io::stdin()) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    match server::start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// One line that begins like Redis's, since programs that start a server look for `v=` in it. Checksum and build are
/// those of INFO.
fn version() -> String {
    format!(
        "Redis server v={} sha=00000000:0 malloc={} bits={} build=0 redstart={}",
        server::REDIS_VERSION,
        server::mem_allocator(),
        usize::BITS,
        env!("CARGO_PKG_VERSION"),
    )
}

/// Ends with status 1. An empty text means that the reason has been printed already.
fn fail(text: &str) -> ExitCode {
    if !text.is_empty() {
        eprintln!("{text}");
    }
    ExitCode::FAILURE
}
