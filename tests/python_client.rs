//! redis-py works against the server: runs `python_client.py` with the interpreter that has it.

mod support;

use std::process::Command;
use support::Server;
use support::programs::python_with_redis;

#[test]
fn redis_py_works_in_both_protocols() {
    let Some(python) = python_with_redis() else { return };
    let server = Server::start("");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_client.py");
    let mut client = Command::new(python);
    client.args([script, &server.port().to_string()]);
    let (succeeded, text) = support::run_bounded(client);
    assert!(succeeded, "{text}");
    assert!(text.contains("all passed: RESP2 RESP3"), "{text}");
}
