//! node-redis and ioredis work against the server: runs the scripts of `node_client/` with `node`.
//!
//! `make test` puts both packages into `target/node`. Without them, or without `node`, these tests print how to get them
//! and test nothing; with `REDSTART_REQUIRE_NODE=1`, as in `.ci/run`, that is a failure.

mod support;

use std::path::Path;
use std::process::Command;
use support::Server;

/// Where the packages are, and whether `node` runs and finds the one with this name.
fn has(package: &str) -> bool {
    let probe = format!("require.resolve('{package}')");
    let found = Command::new("node").args(["-e", &probe]).current_dir(packages()).output();
    found.is_ok_and(|output| output.status.success())
}

fn packages() -> &'static Path {
    let own = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/node"));
    if own.is_dir() { own } else { Path::new(env!("CARGO_MANIFEST_DIR")) }
}

/// Runs a script of the directory, which has to report that all checks passed, for these protocols.
fn run(package: &str, script: &str, protocols: &str) {
    if !has(package) {
        println!("not tested: no node with {package}; `make test` installs it into target/node");
        assert!(std::env::var_os("REDSTART_REQUIRE_NODE").is_none(), "REDSTART_REQUIRE_NODE is set");
        return;
    }
    let server = Server::start("--requirepass secret");
    let script = format!("{}/tests/node_client/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node");
    node.args([&script, &server.port().to_string(), "secret"]).current_dir(packages());
    let (succeeded, text) = support::run_bounded(node);
    assert!(succeeded, "{text}");
    assert!(text.contains(&format!("all passed: {protocols}")), "{text}");
}

#[test]
fn node_redis_works_in_both_protocols() {
    run("redis", "node_redis.mjs", "RESP2 RESP3");
}

#[test]
fn ioredis_works() {
    run("ioredis", "ioredis.mjs", "RESP2");
}
