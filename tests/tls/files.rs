//! Certificates and settings: at startup, by CONFIG SET, and when files are replaced.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::certificates::{self, Authority};
use crate::support::server::{Directory, free_port};
use crate::support::{Client, Launch, Value, eventually};
use crate::{Encrypted, connector, directives};

/// Asserts that a server does not start with these flags. Returns its log.
fn failed_start(flags: &str) -> String {
    let (status, log) =
        Launch::subject().flags(&format!("--port 0 --tls-port {} {flags}", free_port())).run_to_exit();
    assert!(!status.success() && log.contains("Failed to configure TLS. Check logs for more info."), "{log}");
    log
}

#[test]
fn the_server_does_not_start_with_faulty_settings_and_logs_why() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let good = directives(files.path());
    let path = |name: &str| files.join(name).display().to_string();
    fs::write(files.join("empty"), "").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", &path("p521.key")]);
    assert!(openssl.status().expect("openssl").success());
    lock(&files, "server.key", "locked.key", &["pkcs8", "-topk8"]);
    lock(&files, "server.key", "old.key", &["ec", "-aes128"]);
    for (flags, why) in [
        (String::new(), "No tls-cert-file configured!".to_owned()),
        (
            format!("--tls-cert-file {} --tls-auth-clients no", path("server.crt")),
            "No tls-key-file configured!".into(),
        ),
        (
            format!("--tls-cert-file {} --tls-key-file {}", path("server.crt"), path("server.key")),
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified".into(),
        ),
        (
            format!("{good} --tls-cert-file {}", path("none")),
            format!("Failed to load certificate: {}: No such file", path("none")),
        ),
        (
            format!("{good} --tls-cert-file {}", path("empty")),
            "it contains no certificate in PEM format".into(),
        ),
        (
            format!("{good} --tls-key-file {}", path("client.key")),
            "it does not belong to the certificate".into(),
        ),
        (
            format!("{good} --tls-key-file {}", path("locked.key")),
            "it is encrypted, but its password is not set".into(),
        ),
        (
            format!("{good} --tls-key-file {} --tls-key-file-pass wrong", path("locked.key")),
            "it cannot be decrypted with the configured password".into(),
        ),
        (
            format!("{good} --tls-key-file {} --tls-key-file-pass secret", path("old.key")),
            "it is encrypted in an old format. Convert it with `openssl pkcs8 -topk8".into(),
        ),
        (
            format!("{good} --tls-key-file {}", path("p521.key")),
            "of a kind that is not supported; supported: ECDSA with P-256 or P-384".into(),
        ),
        (
            format!("{good} --tls-ca-cert-file {}", path("empty")),
            "Failed to configure CA certificate(s) file/directory".into(),
        ),
        (format!("{good} --tls-protocols TLSv1.1"), "Invalid tls-protocols specified: TLSv1.1".into()),
        (format!("{good} --tls-ciphers AES128-SHA"), "Failed to configure ciphers: AES128-SHA".into()),
        (
            format!("{good} --tls-auth-clients no --tls-ciphersuites TLS_NONE"),
            "Failed to configure ciphersuites: TLS_NONE".into(),
        ),
    ] {
        let log = failed_start(&flags);
        assert!(log.contains(&why), "{flags}: {log}");
    }
}

/// Encrypts a key with the password `secret`.
fn lock(files: &Directory, key: &str, locked: &str, how: &[&str]) {
    let path = |name| files.join(name).into_os_string();
    let done = Command::new("openssl")
        .args(how)
        .arg("-in")
        .arg(path(key))
        .arg("-out")
        .arg(path(locked))
        .args(["-passout", "pass:secret"])
        .output()
        .expect("openssl");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn keys_may_be_encrypted() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let locked = |name: &str, kind: &str, how: &[&str]| {
        lock(&files, &format!("{name}.key"), &format!("{name}.locked"), how);
        let path = files.join(&format!("{name}.locked")).display().to_string();
        format!("--tls-{kind}key-file {path} --tls-{kind}key-file-pass secret")
    };
    let flags = [
        locked("server", "", &["pkcs8", "-topk8"]),
        locked("client", "client-", &["pkcs8", "-topk8", "-scrypt"]),
    ]
    .join(" ");
    let primary = Encrypted::start_with(files, &format!("{flags} --repl-diskless-sync-delay 0"));
    assert_eq!(primary.client().run("PING").text(), "PONG");
    // The replica presents the other certificate.
    let client = primary.files.join("client.crt").display().to_string();
    let own = format!("{} {flags} --tls-client-cert-file {client}", directives(primary.files.path()));
    let replica = Launch::subject()
        .flags(&format!("{own} --replicaof 127.0.0.1 {} --tls-replication yes", primary.port))
        .start();
    eventually("a link", || (replica.client().info("master_link_status") == "up").then_some(()));
    // Only CONFIG GET shows the password: the log does not.
    assert_eq!(replica.client().run("CONFIG GET tls-key-file-pass").elements()[1].text(), "secret");
    let refused = replica.client().run("CONFIG SET tls-key-file-pass wrong").text();
    assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
    assert!(!replica.log().contains("secret"), "{}", replica.log());
}

#[test]
fn config_set_loads_files_and_changes_nothing_if_one_is_faulty() {
    let encrypted = Encrypted::start("");
    let mut plain = encrypted.server.client();
    let path = |name: &str| encrypted.files.join(name).display().to_string();
    for (name, value) in [
        ("tls-cert-file", path("none")),
        ("tls-key-file", path("client.key")),
        ("tls-ciphers", "RC4".into()),
        ("tls-protocols", "SSLv3".into()),
        ("tls-ca-cert-file", String::new()),
    ] {
        let before = plain.call(&["CONFIG", "GET", name]);
        let refused = plain.call(&["CONFIG", "SET", name, &value]).text();
        let text = format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. \
             Check server logs."
        );
        assert_eq!(refused, text);
        assert_eq!(plain.call(&["CONFIG", "GET", name]), before);
        assert_eq!(encrypted.client().run("PING").text(), "PONG");
    }
    plain.ok(&format!("CONFIG SET tls-cert-file {} tls-key-file {}", path("client.crt"), path("client.key")));
    plain.ok("CONFIG SET tls-protocols TLSv1.2 tls-ciphers ECDHE-ECDSA-AES256-GCM-SHA384");
    plain.ok("CONFIG SET tls-prefer-server-ciphers yes tls-session-caching no");
    assert_eq!(encrypted.client().run("PING").text(), "PONG");
}

#[test]
fn config_set_refuses_the_files_that_redis_refuses() {
    let files = Directory::new();
    certificates::write_all(files.path());
    fs::write(files.join("empty"), "").unwrap();
    let path = |name: &str| files.join(name).display().to_string();
    let cases = [
        vec![("tls-ca-cert-file", path("none"))],
        vec![("tls-ca-cert-file", path("empty"))],
        // A certificate without a key is not loaded.
        vec![("tls-client-cert-file", path("none"))],
        vec![("tls-client-key-file", path("none"))],
        vec![("tls-client-cert-file", path("client.crt")), ("tls-client-key-file", path("none"))],
        vec![("tls-client-cert-file", path("none")), ("tls-client-key-file", path("client.key"))],
        vec![("tls-client-cert-file", path("client.crt")), ("tls-client-key-file", path("server.key"))],
        vec![("tls-client-cert-file", path("client.crt")), ("tls-client-key-file", path("client.key"))],
        vec![("tls-cert-file", path("none"))],
        vec![("tls-key-file", path("none"))],
        vec![("tls-key-file-pass", "unused".into())],
    ];
    let set = |client: &mut Client| -> Vec<(String, Vec<Value>)> {
        let replies = cases.iter().map(|pairs| {
            let words = pairs.iter().flat_map(|(name, value)| [*name, value]);
            let reply = client.call(&["CONFIG", "SET"].into_iter().chain(words).collect::<Vec<_>>()).text();
            (reply, pairs.iter().map(|(name, _)| client.call(&["CONFIG", "GET", name])).collect())
        });
        replies.collect()
    };
    // Files are loaded only if TLS is used, and the CA and the client certificate even if no connection needs them.
    let (cert, key) = (path("server.crt"), path("server.key"));
    let own = format!("--tls-cert-file {cert} --tls-key-file {key} --tls-auth-clients no");
    for is_used in [true, false] {
        let port = free_port();
        let flags = if is_used { format!("--tls-port {port} {own}") } else { own.clone() };
        let subject = Launch::subject().flags(&flags).start();
        let replies = set(&mut subject.client());
        let flags = flags.replace(&port.to_string(), &free_port().to_string());
        let redis = Launch::redis().flags(&flags).start();
        let expected = set(&mut redis.client());
        for ((case, reply), expected) in cases.iter().zip(&replies).zip(&expected) {
            assert_eq!(reply, expected, "TLS is used: {is_used}, {case:?}");
        }
        let refused = replies.iter().filter(|(reply, _)| reply.contains("Unable to update TLS")).count();
        assert_eq!(refused, if is_used { 8 } else { 0 });
        if is_used {
            let mut client = Client::encrypted(port, &connector(files.path(), None)).unwrap();
            assert_eq!(client.run("PING").text(), "PONG", "the previous certificates stay in use");
            assert!(subject.log().contains("Failed to configure CA certificate(s) file/directory: "));
        }
    }
}

#[test]
fn tls_port_can_be_changed_and_closed_while_clients_stay_connected() {
    let encrypted = Encrypted::start("");
    let (mut plain, mut client) = (encrypted.server.client(), encrypted.client());
    plain.ok("CONFIG SET tls-port 0");
    assert!(encrypted.try_client("client").is_err());
    let value = "x".repeat(300_000);
    assert_eq!(client.call(&["SET", "key", &value]).text(), "OK");
    assert_eq!(client.run("GET key").text(), value);
    let other = free_port();
    plain.ok(&format!("CONFIG SET tls-port {other}"));
    let mut moved =
        crate::Client::encrypted(other, &encrypted.connector(Some("client"))).expect("the new port");
    assert_eq!(moved.run("STRLEN key").integer(), 300_000);
}

#[test]
fn replaced_certificates_are_loaded_without_a_command() {
    let encrypted = Encrypted::start("");
    let mut old = encrypted.client();
    let authority = Authority::new("next CA");
    let next = Directory::new();
    authority.publish(next.path(), "ca");
    for name in ["server", "client"] {
        authority.issue(next.path(), name);
    }
    let install = |from: &Path, name: &str| {
        let target = encrypted.files.join(name);
        fs::copy(from.join(name), target.with_extension("new")).unwrap();
        fs::rename(target.with_extension("new"), target).unwrap();
    };
    // The new key does not belong to the old certificate.
    install(next.path(), "server.key");
    encrypted.server.wait_for_log("the previous TLS certificates stay in use");
    assert_eq!(encrypted.client().run("PING").text(), "PONG");
    for name in ["server.crt", "ca.crt", "client.crt", "client.key"] {
        install(next.path(), name);
    }
    eventually("a connection that trusts the new CA", || {
        encrypted.try_client("client").and_then(|mut client| client.try_call(&["PING"])).ok()
    });
    assert_eq!(old.run("PING").text(), "PONG", "an open connection keeps its keys");
}

#[test]
fn config_rewrite_keeps_the_tls_directives() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let path = |name: &str| files.join(name).display().to_string();
    let port = free_port();
    let text = format!(
        "tls-port {port}\ntls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-ca-cert-file \"{}\"\n",
        path("server.crt"),
        path("server.key"),
        path("ca.crt")
    );
    let server = Launch::subject().config(&text).start();
    let mut plain = server.client();
    plain.ok("CONFIG SET tls-auth-clients optional tls-session-cache-size 7");
    plain.ok("CONFIG REWRITE");
    let written = fs::read_to_string(server.directory().join("redstart.conf")).unwrap();
    assert!(written.starts_with(&text), "{written}");
    for line in ["tls-auth-clients optional\n", "tls-session-cache-size 7\n"] {
        assert!(written.contains(line), "{written}");
    }
}
