//! Shutdown: a primary waits for its replicas before it exits.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::{Client, Server};
use crate::{Kind, chain, field, until};

const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// A primary, and a stopped replica that lacks a write.
fn lagging(kind: Kind, flags: &str) -> [(Server, Client); 2] {
    let mut nodes = chain([(kind, flags), (Kind::Subject, "")]);
    let [(_, writer), (replica, _)] = &mut nodes;
    until("the replica is online", || !writer.run("ROLE").elements()[2].elements().is_empty());
    replica.signal(Signal::SIGSTOP);
    writer.ok("SET k 1");
    nodes
}

/// A client that has called `SHUTDOWN`, or another command, and is blocked.
fn waiting(server: &Server, admin: &mut Client, words: &[&str]) -> Client {
    let mut client = server.client();
    let before = admin.info_number("blocked_clients");
    client.send(words).expect("sent");
    admin.wait_for_info("blocked_clients", |blocked| blocked == before + 1);
    client
}

fn has(reader: &mut Client, value: &str) -> bool {
    let found = reader.run("GET k");
    !found.is_null() && found.text() == value
}

#[test]
fn a_shutdown_waits_until_the_replicas_have_everything() {
    for (kind, how) in [
        (Kind::Subject, "SHUTDOWN"),
        (Kind::Subject, "SIGTERM"),
        (Kind::Redis, "SHUTDOWN"),
        (Kind::Redis, "SIGTERM"),
    ] {
        let [(mut primary, mut admin), (replica, mut reader)] = lagging(kind, "--shutdown-timeout 1000000");
        let mut asking = (how == "SHUTDOWN").then(|| waiting(&primary, &mut admin, &["SHUTDOWN"]));
        if asking.is_none() {
            primary.signal(Signal::SIGTERM);
        }
        primary.wait_for_log("Waiting for replicas before shutting down.");
        let left_ms = admin.info_number("shutdown_in_milliseconds");
        assert!((1..=1_000_000_000).contains(&left_ms), "{kind:?}: {left_ms}");
        if asking.is_some() {
            assert!(admin.run("CLIENT LIST").text().lines().any(|line| line.contains("flags=b")), "{kind:?}");
        }
        // Writes are blocked, reads are not.
        let mut writer = waiting(&primary, &mut admin, &["SET", "k", "2"]);
        assert_eq!(admin.run("GET k").text(), "1");
        replica.signal(Signal::SIGCONT);
        assert!(primary.wait_exit().success(), "{kind:?} {how}");
        let log = primary.log();
        assert!(log.contains("1 of 1 replicas are in sync when shutting down."), "{log}");
        assert!(!log.contains("Lagging replica"), "{log}");
        assert!(writer.read_reply().is_err(), "no client gets a reply");
        if let Some(asking) = &mut asking {
            assert!(asking.read_reply().is_err());
        }
        assert_eq!(reader.run("GET k").text(), "1");
    }
}

#[test]
fn a_shutdown_that_is_aborted_lets_writes_go_on_and_all_who_asked_get_an_error() {
    for kind in [Kind::Subject, Kind::Redis] {
        let [(primary, mut admin), (replica, mut reader)] = lagging(kind, "--shutdown-timeout 1000000");
        assert_eq!(admin.run("SHUTDOWN ABORT").text(), "ERR No shutdown in progress.");
        for line in ["SHUTDOWN ABORT NOW", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN LATER"] {
            assert_eq!(admin.run(line).text(), "ERR syntax error", "{kind:?} {line}");
        }
        let mut asking = [
            waiting(&primary, &mut admin, &["SHUTDOWN"]),
            waiting(&primary, &mut admin, &["SHUTDOWN", "NOSAVE", "FORCE"]),
        ];
        // A client that disconnects does not affect the others, and one with further requests continues. Redis 7.2.6
        // crashes.
        let is_tried = kind == Kind::Subject;
        if is_tried {
            drop(waiting(&primary, &mut admin, &["SHUTDOWN"]));
            admin.wait_for_info("blocked_clients", |blocked| blocked == 2);
            asking[0].send(&["GET", "k"]).expect("sent");
        }
        primary.signal(Signal::SIGTERM);
        primary.wait_for_log("Received SIGTERM scheduling shutdown...");
        let mut writer = waiting(&primary, &mut admin, &["SET", "k", "2"]);
        admin.ok("SHUTDOWN ABORT");
        primary.wait_for_log("Shutdown manually aborted.");
        for client in &mut asking {
            assert_eq!(client.read_reply().expect("a reply").value.text(), FAILED, "{kind:?}");
        }
        assert_eq!(writer.read_reply().expect("a reply").value.text(), "OK");
        if is_tried {
            let found = asking[0].read_reply().expect("a reply").value.text();
            assert!(["1", "2"].contains(&found.as_str()), "{found}");
        }
        assert_eq!(admin.run("SHUTDOWN ABORT").text(), "ERR No shutdown in progress.");
        assert!(!admin.run("INFO server").text().contains("shutdown_in_milliseconds"), "{kind:?}");
        assert_eq!(admin.info_number("blocked_clients"), 0);
        // Another shutdown is possible, and the earlier signal has no effect any more.
        let again = waiting(&primary, &mut admin, &["SHUTDOWN"]);
        admin.ok("SHUTDOWN ABORT");
        drop(again);
        admin.wait_for_info("blocked_clients", |blocked| blocked == 0);
        replica.signal(Signal::SIGCONT);
        until("the write arrives", || has(&mut reader, "2"));
        assert_eq!(field(&mut admin, "role"), "master");
    }
}

#[test]
fn a_shutdown_that_does_not_wait_or_whose_time_is_up_names_the_replicas_that_lack_data() {
    for (kind, flags, words) in [
        (Kind::Subject, "--shutdown-timeout 1000000", "SHUTDOWN NOW"),
        (Kind::Subject, "--shutdown-timeout 0", "SHUTDOWN"),
        (Kind::Subject, "--shutdown-timeout 1", "SHUTDOWN FORCE"),
        (Kind::Subject, "--shutdown-timeout 1000000 --shutdown-on-sigterm now", "SIGTERM"),
        (Kind::Redis, "--shutdown-timeout 1000000", "SHUTDOWN NOW"),
        (Kind::Redis, "--shutdown-timeout 1", "SHUTDOWN FORCE"),
    ] {
        let [(mut primary, mut admin), (replica, _reader)] = lagging(kind, flags);
        let began = Instant::now();
        if words == "SIGTERM" {
            primary.signal(Signal::SIGTERM);
        } else {
            assert!(admin.try_call(&words.split(' ').collect::<Vec<_>>()).is_err(), "there is no reply");
        }
        assert!(primary.wait_exit().success(), "{kind:?} {flags} {words}");
        let log = primary.log();
        let line = format!("Lagging replica 127.0.0.1:{} reported offset ", replica.port());
        let line = log.lines().find(|logged| logged.contains(&line)).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(" behind master, lag=") && line.ends_with(", state=online."), "{line}");
        assert!(log.contains("0 of 1 replicas are in sync when shutting down."), "{log}");
        let has_waited = log.contains("Waiting for replicas before shutting down.");
        assert_eq!(has_waited, flags.ends_with("timeout 1"), "{kind:?} {flags} {words}");
        assert!(!has_waited || began.elapsed().as_millis() >= 900);
    }
}

#[test]
fn a_shutdown_without_waiting_ends_one_that_waits() {
    // Redis continues to wait.
    let [(mut primary, mut admin), (_replica, _reader)] =
        lagging(Kind::Subject, "--shutdown-timeout 1000000");
    let mut asking = waiting(&primary, &mut admin, &["SHUTDOWN"]);
    assert!(admin.try_call(&["SHUTDOWN", "NOW"]).is_err(), "there is no reply");
    assert!(primary.wait_exit().success() && asking.read_reply().is_err());
    assert!(primary.log().contains("0 of 1 replicas are in sync when shutting down."));
}

#[test]
fn a_shutdown_that_cannot_save_after_its_wait_lets_the_server_go_on() {
    let [(primary, mut admin), (replica, mut reader)] =
        lagging(Kind::Subject, "--shutdown-timeout 1000000 --dbfilename unwritable");
    // A directory cannot be replaced by a file.
    std::fs::create_dir_all(primary.directory().join("unwritable/x")).expect("created");
    let mut asking = waiting(&primary, &mut admin, &["SHUTDOWN", "SAVE"]);
    replica.signal(Signal::SIGCONT);
    assert_eq!(asking.read_reply().expect("a reply").value.text(), FAILED);
    admin.ok("SET k 2");
    until("the write arrives", || has(&mut reader, "2"));
}
