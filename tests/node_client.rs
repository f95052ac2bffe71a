//! node-redis and ioredis work against the server: runs the scripts of `node_client/` with `node`.

mod support;

use std::process::Command;
use support::Server;
use support::programs::node_packages;

/// Runs a script of the directory, which has to report that all checks passed, for these protocols.
fn run(package: &str, script: &str, protocols: &str) {
    let Some(packages) = node_packages(package) else { return };
    let server = Server::start("--requirepass secret");
    let script = format!("{}/tests/node_client/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node");
    node.args([&script, &server.port().to_string(), "secret"]).current_dir(packages);
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
