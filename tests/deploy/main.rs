//! The files of `deploy/` are right: generated files match the tables, and the programs that read the others accept
//! them.
//!
//! * [`generated`]: the manual and the shell completions. `make generate` writes them.
//! * [`manifests`]: `Dockerfile`, the files for Compose and Kubernetes, and the unit for systemd, by schemas and
//!   linters.
//! * [`sentinel`]: the files for Compose and Kubernetes with replicas and Sentinel, as real processes.
//! * [`cluster`]: those with a cluster. [`reader`] reads the files of both.
//! * [`install`]: `make install`, `make uninstall` and `make dist`.
//!
//! `tests/prepare` installs the checkers that are not part of Rust. A test without its checker prints that and tests
//! less; with `REDSTART_REQUIRE_DEPLOY=1`, as in `.ci/run`, it fails.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod generated;
mod install;
mod manifests;
mod reader;
mod roff;
mod sentinel;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first of `candidates` that runs; the words after the program must make it succeed.
fn tool(name: &str, candidates: &[&[&str]]) -> Option<PathBuf> {
    let found = candidates.iter().find_map(|words| {
        let own = file("target/python/bin").join(words[0]);
        let program = if own.exists() { own } else { PathBuf::from(words[0]) };
        let output = Command::new(&program).args(&words[1..]).output();
        output.is_ok_and(|output| output.status.success()).then_some(program)
    });
    if found.is_none() {
        println!("not checked: there is no {name}; `make test` installs it where it can");
        assert!(
            std::env::var_os("REDSTART_REQUIRE_DEPLOY").is_none(),
            "{name}: REDSTART_REQUIRE_DEPLOY is set"
        );
    }
    found
}

/// Runs a command, which must succeed. Returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}
