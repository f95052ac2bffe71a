//! The tools with TLS: `redstart cli`, `benchmark` and `top`.

use std::process::Command;

use crate::Encrypted;
use crate::support::run_bounded;
use crate::support::server::subject_binary;

/// The command for a tool that connects to the server with the certificate `client`.
fn tool(encrypted: &Encrypted, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(subject_binary());
    command
        .args([name, "-p", &encrypted.port.to_string(), "--tls", "--cacert"])
        .arg(encrypted.files.join("ca.crt"));
    command.args(encrypted.certificate("client")).args(arguments);
    command
}

#[test]
fn redstart_cli_connects_with_tls_by_options_and_by_url() {
    let encrypted = Encrypted::start("");
    assert_eq!(run_bounded(tool(&encrypted, "cli", &["SET", "key", "value"])), (true, "OK\n".into()));
    let big = "x".repeat(100_000);
    assert_eq!(run_bounded(tool(&encrypted, "cli", &["SET", "big", &big])), (true, "OK\n".into()));
    assert_eq!(run_bounded(tool(&encrypted, "cli", &["GET", "big"])), (true, format!("{big}\n")));
    let mut command = Command::new(subject_binary());
    command.args(["cli", "-u", &format!("rediss://127.0.0.1:{}", encrypted.port), "--insecure"]);
    command.args(encrypted.certificate("client")).args(["--sni", "localhost", "GET", "key"]);
    assert_eq!(run_bounded(command), (true, "value\n".into()));
    // A client that trusts another CA does not trust the server.
    let mut command = Command::new(subject_binary());
    command.args(["cli", "-p", &encrypted.port.to_string(), "--tls", "--cacert"]);
    command.arg(encrypted.files.join("other-ca.crt")).arg("PING");
    let (succeeded, text) = run_bounded(command);
    assert!(!succeeded && text.contains("invalid peer certificate"), "{text}");
}

#[test]
fn mass_insertion_works_over_tls() {
    let encrypted = Encrypted::start("");
    let requests: Vec<String> =
        (0..5000).map(|index| format!("SET key:{index} {}", "v".repeat(100))).collect();
    let path = encrypted.files.join("commands");
    std::fs::write(&path, requests.join("\r\n") + "\r\n").unwrap();
    let mut command = tool(&encrypted, "cli", &["--pipe"]);
    command.stdin(std::fs::File::open(&path).unwrap());
    let (succeeded, text) = run_bounded(command);
    assert!(succeeded && text.contains("errors: 0, replies: 5000"), "{text}");
    assert_eq!(encrypted.client().run("DBSIZE").integer(), 5000);
}

#[test]
fn the_benchmark_and_top_work_over_tls() {
    let encrypted = Encrypted::start("");
    let (succeeded, text) = run_bounded(tool(
        &encrypted,
        "benchmark",
        &["-t", "set,get", "-n", "2000", "-c", "10", "-P", "16", "-d", "2000", "-q"],
    ));
    assert!(succeeded && text.contains("GET: "), "{text}");
    let (succeeded, text) = run_bounded(tool(&encrypted, "top", &["--once"]));
    assert!(succeeded, "{text}");
}
