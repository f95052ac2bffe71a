//! The binary: turns arguments into a running server.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use redstart::alloc::Counting;
use redstart::{config, server, tools};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some((tool, call)) = tools::find(&words) {
        return (tool.main)(&call);
    }
    let matches = tools::command().get_matches();
    if matches.get_flag("version") {
        println!("{}", version());
        return ExitCode::SUCCESS;
    }
    let arguments = matches.get_many::<OsString>("configuration").unwrap_or_default().cloned();
    // Redis starts as a Sentinel if its executable has this name.
    let sentinel = tools::is_sentinel(&words).then(|| OsString::from("--sentinel"));
    let arguments = arguments.chain(sentinel);
    let config = match config::load(arguments, &mut std::io::stdin()) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    if matches.get_flag("check-system") {
        return tools::check_system(&config);
    }
    match server::start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// The version line. It begins like Redis's, because programs that start a server look for `v=` in it. Checksum and
/// build are those of INFO.
fn version() -> String {
    format!(
        "Redis server v={} sha=00000000:0 malloc={} bits={} build=0 redstart={}",
        server::REDIS_VERSION,
        server::mem_allocator(),
        usize::BITS,
        env!("CARGO_PKG_VERSION"),
    )
}

/// Prints `text` and returns exit status 1. An empty text means that the reason has already been printed.
fn fail(text: &str) -> ExitCode {
    if !text.is_empty() {
        // The write fails if the parent of a daemon was killed.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    ExitCode::FAILURE
}
