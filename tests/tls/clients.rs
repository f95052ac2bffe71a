//! Third-party clients, and the certificates that they have to present.

use std::net::TcpStream;
use std::process::Command;

use crate::Encrypted;
use crate::support::programs::{node_packages, python_with_redis};
use crate::support::socket_options::reset_on_close;
use crate::support::{Value, run_bounded};

#[test]
fn redis_cli_with_tls_works() {
    let encrypted = Encrypted::start("");
    let mut command = encrypted.redis_cli();
    command.args(encrypted.certificate("client")).args(["SET", "key", "value"]);
    assert_eq!(run_bounded(command), (true, "OK\n".into()));
    assert_eq!(encrypted.client().run("GET key").text(), "value");
    assert_eq!(
        encrypted.server.client().run("GET key").text(),
        "value",
        "the port without TLS is open as well"
    );
    for (version, name) in
        [("--tls-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("--tls-ciphersuites", "TLS_AES_128_GCM_SHA256")]
    {
        let mut command = encrypted.redis_cli();
        command.args(encrypted.certificate("client")).args([version, name, "PING"]);
        assert_eq!(run_bounded(command), (true, "PONG\n".into()), "{name}");
    }
}

#[test]
fn redis_py_works() {
    let Some(python) = python_with_redis() else { return };
    let encrypted = Encrypted::start("");
    let mut client = Command::new(python);
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python_client.py"));
    client.arg(encrypted.port.to_string()).arg(encrypted.files.path());
    let (succeeded, text) = run_bounded(client);
    assert!(succeeded && text.contains("all passed: RESP2 RESP3"), "{text}");
}

#[test]
fn node_redis_works() {
    let Some(packages) = node_packages("redis") else { return };
    let encrypted = Encrypted::start("--requirepass secret");
    let mut node = Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_client/node_redis.mjs")).current_dir(packages);
    node.args([&encrypted.port.to_string(), "secret"]).arg(encrypted.files.path());
    let (succeeded, text) = run_bounded(node);
    assert!(succeeded && text.contains("all passed: RESP2 RESP3"), "{text}");
}

/// Asserts that `redis-cli` and the test client are refused with the certificate `name`. Returns the reason from the
/// log.
fn refusal(encrypted: &Encrypted, name: Option<&str>) -> String {
    let mut command = encrypted.redis_cli();
    if let Some(name) = name {
        command.args(encrypted.certificate(name));
    }
    command.arg("PING");
    let (_, output) = run_bounded(command);
    assert!(!output.contains("PONG"), "{output}");
    let own = crate::connector(encrypted.files.path(), name);
    let reply =
        crate::Client::encrypted(encrypted.port, &own).and_then(|mut client| client.try_call(&["PING"]));
    assert!(reply.is_err(), "{name:?} was served");
    let lines = |log: &str| -> Vec<String> {
        log.lines()
            .filter(|line| line.contains("Error accepting a client connection: "))
            .map(str::to_owned)
            .collect()
    };
    crate::support::eventually("both refusals in the log", || {
        let refused = lines(&encrypted.server.log());
        (refused.len() == 2
            && refused
                .iter()
                .all(|line| line.contains("(addr=127.0.0.1:") && line.contains("laddr=127.0.0.1:")))
        .then(|| refused[0].clone())
    })
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let why = refusal(&Encrypted::start(""), None);
    assert!(why.contains("the peer has sent no certificate (addr="), "{why}");
}

#[test]
fn a_client_with_an_expired_certificate_is_refused() {
    let why = refusal(&Encrypted::start(""), Some("expired"));
    assert!(why.contains("invalid peer certificate: it has expired (addr="), "{why}");
}

#[test]
fn a_client_with_a_certificate_of_another_ca_is_refused() {
    let why = refusal(&Encrypted::start("--tls-auth-clients optional"), Some("stranger"));
    assert!(why.contains("invalid peer certificate: it was not issued by a trusted CA (addr="), "{why}");
}

#[test]
fn a_client_with_the_certificate_of_a_ca_is_refused() {
    let encrypted = Encrypted::start("");
    let path = |name: &str| encrypted.files.join(name).display().to_string();
    encrypted.server.client().ok(&format!("CONFIG SET tls-ca-cert-file {}", path("other-ca.crt")));
    let why = refusal(&encrypted, Some("other-ca"));
    assert!(why.contains("invalid peer certificate: it is the certificate of a CA (addr="), "{why}");
}

#[test]
fn the_log_has_the_address_of_a_client_that_has_reset_its_connection() {
    let encrypted = Encrypted::start("");
    let socket = TcpStream::connect(("127.0.0.1", encrypted.port)).unwrap();
    let address = socket.local_addr().unwrap();
    reset_on_close(&socket);
    drop(socket);
    encrypted.server.wait_for_log(&format!("(addr={address} laddr=127.0.0.1:{})", encrypted.port));
}

#[test]
fn tls_auth_clients_decides_who_needs_a_certificate() {
    let encrypted = Encrypted::start("--tls-auth-clients optional");
    let mut plain = encrypted.server.client();
    let pong = Value::Simple(b"PONG".to_vec());
    let ping = |name| {
        let mut client = crate::Client::encrypted(encrypted.port, &encrypted.connector(name))?;
        client.try_call(&["PING"]).map(|reply| reply.value)
    };
    assert_eq!(ping(None).unwrap(), pong);
    assert_eq!(ping(Some("client")).unwrap(), pong);
    plain.ok("CONFIG SET tls-auth-clients yes");
    assert!(ping(None).is_err());
    plain.ok("CONFIG SET tls-auth-clients no");
    assert_eq!(ping(Some("stranger")).unwrap(), pong, "the server does not request one");
}

#[test]
fn plain_clients_are_refused_on_the_tls_port_and_tls_clients_on_the_plain_port() {
    let encrypted = Encrypted::start("");
    let mut plain = crate::Client::tcp(encrypted.port).unwrap();
    plain.send(&["PING"]).unwrap();
    plain.wait_closed();
    encrypted.server.wait_for_log("the peer does not use TLS");
    // For the plain port, the first message of a handshake looks like the beginning of an inline request.
    let mut hello = crate::Client::tcp(encrypted.server.port()).unwrap();
    hello.send_raw(&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).unwrap();
    hello.finish_sending();
    assert!(hello.wait_closed().is_empty());
    assert_eq!(encrypted.client().run("PING").text(), "PONG");
}

#[test]
fn info_and_config_show_the_tls_port() {
    let encrypted = Encrypted::start("");
    encrypted.server.client().ok("CONFIG SET port 0");
    let mut client = encrypted.client();
    let port = encrypted.port.to_string();
    assert_eq!(client.info("tcp_port"), port);
    assert!(client.info("listener2").ends_with(&format!(",port={port}")));
    assert!(client.info("listener2").starts_with("name=tls,bind="));
    assert_eq!(client.run("CONFIG GET tls-port").elements()[1].text(), port);
    assert!(client.run("CLIENT LIST").text().contains(&format!("laddr=127.0.0.1:{port}")));
}
