//! `metrics-port` with TLS: scrapers with and without a certificate, pipelined requests, and switching to HTTP and
//! back.

use std::fs;

use crate::support::http::get;
use crate::support::server::free_port;
use crate::support::{Client, Http, eventually};
use crate::{Encrypted, certificates};

fn start(flags: &str) -> (Encrypted, u16) {
    let port = free_port();
    (Encrypted::start(&format!("--metrics-port {port} --metrics-tls yes {flags}")), port)
}

fn connect(encrypted: &Encrypted, port: u16, name: Option<&str>) -> std::io::Result<Http> {
    Client::encrypted(port, &encrypted.connector(name)).map(Http::over)
}

#[test]
fn metrics_are_served_with_tls_and_requests_may_be_pipelined() {
    let (encrypted, port) = start("");
    let mut scraper = connect(&encrypted, port, Some("client")).unwrap();
    assert_eq!(scraper.ask("/health").body, "ok\n");
    let figures = scraper.ask("/metrics");
    assert!(figures.status == 200 && figures.body.contains("redis_up 1"), "{}", figures.body);
    // A record has several requests, and the server receives only a part of it at once.
    let pad = "x".repeat(3000);
    let request = get("/health").replacen("\r\n", &format!("\r\nX-Pad: {pad}\r\n"), 1);
    scraper.send(&request.repeat(20));
    for _ in 0..20 {
        assert_eq!(scraper.receive().body, "ok\n");
    }
}

#[test]
fn a_scraper_without_a_certificate_or_without_tls_is_refused_and_logged() {
    let (encrypted, port) = start("");
    let is_logged = |times: usize| {
        eventually("refusals in the log", || {
            let log = encrypted.server.log();
            (log.matches("Error accepting a connection of metrics-port: ").count() == times).then_some(())
        });
    };
    for (index, name) in [None, Some("stranger"), Some("expired")].into_iter().enumerate() {
        let refused = Client::encrypted(port, &encrypted.connector(name)).and_then(|mut peer| {
            peer.send_raw(get("/metrics").as_bytes())?;
            peer.read_raw(1)
        });
        assert!(refused.is_err(), "{name:?}");
        is_logged(index + 1);
    }
    let mut plain = Http::connect(port);
    plain.send(&get("/metrics"));
    assert!(!plain.wait_closed().contains("redis_up"));
    is_logged(4);
    assert_eq!(connect(&encrypted, port, Some("client")).unwrap().ask("/health").status, 200);
}

#[test]
fn metrics_tls_can_be_changed_at_runtime_and_follows_tls_auth_clients() {
    let (encrypted, port) = start("--tls-port 0 --tls-auth-clients no");
    let mut client = encrypted.server.client();
    let mut kept = connect(&encrypted, port, None).unwrap();
    assert_eq!(kept.ask("/health").body, "ok\n");
    client.ok("CONFIG SET metrics-tls no");
    assert_eq!(kept.wait_closed(), "");
    assert_eq!(Http::get(port, "/health").body, "ok\n");
    client.ok("CONFIG SET metrics-tls yes");
    assert_eq!(connect(&encrypted, port, None).unwrap().ask("/health").body, "ok\n");
    // A port that is opened later uses TLS as well.
    client.ok("CONFIG SET metrics-port 0");
    client.ok(&format!("CONFIG SET metrics-port {port}"));
    assert_eq!(connect(&encrypted, port, None).unwrap().ask("/health").body, "ok\n");
    // A new certificate is used without a command.
    certificates::write_all(encrypted.files.path());
    eventually("the new certificate", || {
        connect(&encrypted, port, None).ok().map(|mut http| http.ask("/health"))
    });
    // If the key cannot be loaded, the port is not opened: the server does not fall back to plain HTTP.
    fs::remove_file(encrypted.files.join("server.key")).unwrap();
    client.ok("CONFIG SET metrics-port 0");
    let refused = client.run(&format!("CONFIG SET metrics-port {port}")).text();
    assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
}
