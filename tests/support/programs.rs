//! Programs that some tests need: `make test` installs them.
//!
//! Without its program a test prints how to get it, and tests nothing; with `REDSTART_REQUIRE_PYTHON=1` and
//! `REDSTART_REQUIRE_NODE=1`, as in `.ci/run`, it fails.

use std::path::Path;
use std::process::Command;

/// A Python that can import redis-py.
pub fn python_with_redis() -> Option<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let candidates = [own.to_str().expect("a path of UTF-8").to_string(), "python3".to_string()];
    let found = candidates.into_iter().find(|python| {
        Command::new(python).args(["-c", "import redis"]).output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        missing("Python with redis-py", "target/python", "REDSTART_REQUIRE_PYTHON");
    }
    found
}

/// The directory where `node` finds a package.
pub fn node_packages(package: &str) -> Option<&'static Path> {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/node"));
    let packages = if own.is_dir() { own } else { Path::new(env!("CARGO_MANIFEST_DIR")) };
    let probe = format!("require.resolve('{package}')");
    let found = Command::new("node").args(["-e", &probe]).current_dir(packages).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(packages);
    }
    missing(&format!("node with {package}"), "target/node", "REDSTART_REQUIRE_NODE");
    None
}

fn missing(what: &str, place: &str, requirement: &str) {
    println!("not tested: no {what}; `make test` installs it into {place}");
    assert!(std::env::var_os(requirement).is_none(), "{requirement} is set");
}
