//! redis-py works against the server: runs `python_client.py` with the interpreter that has it.
//!
//! `make test` puts redis-py into a virtual environment in `target/python`. Without it this test prints how to get
//! it and tests nothing; with `REDSTART_REQUIRE_PYTHON=1`, as in `.ci/run`, that is a failure.

mod support;

use std::path::Path;
use std::process::Command;
use support::Server;

/// An interpreter that can import redis-py.
fn interpreter() -> Option<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let candidates = [own.to_str().expect("a path of UTF-8").to_string(), "python3".to_string()];
    candidates.into_iter().find(|python| {
        Command::new(python).args(["-c", "import redis"]).output().is_ok_and(|output| output.status.success())
    })
}

#[test]
fn redis_py_works_in_both_protocols() {
    let Some(python) = interpreter() else {
        println!("not tested: no Python with redis-py; `make test` installs it into target/python");
        assert!(std::env::var_os("REDSTART_REQUIRE_PYTHON").is_none(), "REDSTART_REQUIRE_PYTHON is set");
        return;
    };
    let server = Server::start("");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_client.py");
    let mut client = Command::new(python);
    client.args([script, &server.port().to_string()]);
    let (succeeded, text) = support::run_bounded(client);
    assert!(succeeded, "{text}");
    assert!(text.contains("all passed: RESP2 RESP3"), "{text}");
}
