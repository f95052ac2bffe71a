//! When save rules start a snapshot, which writes count as changes, and the consequences of a failure.

use crate::support::server::subject_is_redis;
use crate::support::{Launch, eventually};
use crate::{
    begin, clear, digest, names, obstruct, refused_after, restart, restart_after, start, wait_for_jobs,
};
use std::fs;
use std::path::Path;

#[test]
fn a_save_rule_makes_a_snapshot_when_its_changes_and_its_time_are_there() {
    let server = begin("--save 1 3");
    let mut client = server.client();
    client.ok("SET a 1");
    client.ok("SET b 1");
    let cycles = client.info_number("eventloop_cycles");
    client.wait_for_info("eventloop_cycles", |now| now > cycles + 15);
    assert_eq!(client.info_number("rdb_saves"), 0, "two changes are too few");
    client.ok("SET c 1");
    client.wait_for_info("rdb_saves", |saves| saves == 1);
    wait_for_jobs(&mut client);
    server.wait_for_log("3 changes in 1 seconds. Saving...");
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 0);
    assert_eq!(restart(server).client().run("DBSIZE").integer(), 3);
}

#[test]
fn config_set_changes_the_rules_of_a_running_server() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET a 1");
    client.call(&["CONFIG", "SET", "save", "3600 100 1 1"]);
    client.wait_for_info("rdb_saves", |saves| saves == 1);
    wait_for_jobs(&mut client);
    client.call(&["CONFIG", "SET", "save", ""]);
    client.ok("SET a 2");
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 1);
}

#[test]
fn changes_that_are_made_while_a_snapshot_is_written_count_for_the_next_one() {
    let server = begin("");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.ok("SET before v");
    client.ok("CONFIG SET rdb-key-save-delay 5000");
    client.run("BGSAVE");
    assert_eq!(client.info_number("rdb_bgsave_in_progress"), 1);
    client.ok("SET during v");
    client.ok("SET during w");
    wait_for_jobs(&mut client);
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 2);
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("SAVE");
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 0);
}

#[test]
fn what_is_written_during_a_snapshot_is_not_in_it() {
    let server = begin("");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 200");
    client.run("RPUSH list 1 2 3");
    let before = digest(&mut client);
    client.ok("CONFIG SET rdb-key-save-delay 3000");
    client.run("BGSAVE");
    for n in 0..200 {
        client.ok(&format!("SET key:{n} changed"));
    }
    client.run("RPUSH list 4");
    client.ok("SET more v");
    assert_eq!(client.info_number("rdb_bgsave_in_progress"), 1, "the save has ended before the writes");
    wait_for_jobs(&mut client);
    assert_ne!(digest(&mut client), before);
    assert_eq!(digest(&mut restart(server).client()), before);
}

#[test]
fn pages_that_are_written_during_a_snapshot_are_counted() {
    let server = begin("");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 20000 key 200");
    client.ok("CONFIG SET rdb-key-save-delay 100");
    client.run("BGSAVE");
    let value = "x".repeat(200);
    for n in 0..20_000 {
        client.send(&["SET", &format!("key:{n}"), &value]).expect("sent");
    }
    client.discard(20_000 * 5).expect("replies");
    client.wait_for_info("current_cow_size", |bytes| bytes > 0);
    assert!(client.info_number("current_save_keys_processed") > 0);
    assert_eq!(client.info_number("current_save_keys_total"), 20_000);
    client.wait_for_info("rdb_bgsave_in_progress", |busy| busy == 0);
    assert!(client.info_number("rdb_last_cow_size") > 1 << 20);
    for field in ["current_cow_size", "current_save_keys_processed", "current_save_keys_total"] {
        assert_eq!(client.info_number(field), 0, "{field}");
    }
    assert!(client.info_number("rdb_last_bgsave_time_sec") >= 0);
    assert_eq!(client.info_number("rdb_current_bgsave_time_sec"), -1);
    assert!(client.info_number("latest_fork_usec") > 0);
    assert_eq!(client.info_number("total_forks"), 1);
}

const DENIED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
    Commands that may modify the data set are disabled, because this instance is configured to report errors during \
    writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details \
    about the RDB error.";

#[test]
fn writes_are_refused_after_a_snapshot_has_failed_until_one_succeeds() {
    let server = begin("--save 3600 100000");
    let mut client = server.client();
    client.ok("SET k v");
    obstruct(&server);
    assert_eq!(client.run("BGSAVE").text(), "Background saving started");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "err");
    for line in ["SET k w", "DEL k", "PING", "FLUSHALL", "RPUSH list a"] {
        assert_eq!(client.run(line).text(), DENIED, "{line}");
    }
    assert_eq!(client.run("GET k").text(), "v");
    assert!(!client.run("CONFIG GET save").is_error());
    client.ok("CONFIG SET stop-writes-on-bgsave-error no");
    client.ok("SET k w");
    client.ok("CONFIG SET stop-writes-on-bgsave-error yes");
    assert_eq!(client.run("PING").text(), DENIED);
    client.call(&["CONFIG", "SET", "save", ""]);
    assert_eq!(client.run("PING").text(), "PONG", "without save rules writes are accepted");
    client.call(&["CONFIG", "SET", "save", "3600 100000"]);
    clear(&server);
    assert_eq!(client.run("PING").text(), DENIED);
    client.run("BGSAVE");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    client.ok("SET k x");
    assert_eq!(client.run("PING").text(), "PONG");
}

#[test]
fn a_failed_save_in_the_foreground_refuses_nothing_and_a_successful_one_allows_again() {
    let server = begin("--save 3600 100000");
    let mut client = server.client();
    obstruct(&server);
    assert!(client.run("SAVE").is_error());
    client.ok("SET k v");
    client.run("BGSAVE");
    wait_for_jobs(&mut client);
    assert_eq!(client.run("PING").text(), DENIED);
    clear(&server);
    client.ok("SAVE");
    client.ok("SET k w");
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
}

#[test]
fn a_child_that_is_killed_leaves_no_file_and_the_old_snapshot_stays() {
    let server = begin("--save 3600 100000");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.ok("SET k old");
    client.ok("SAVE");
    client.ok("SET k new");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    client.run("BGSAVE");
    let child = eventually("the child", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL)
        .expect("killed");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "err");
    server.wait_for_log("Background saving terminated by signal 9");
    let left = names(server.directory());
    assert!(!left.iter().any(|name| name.starts_with("temp-")), "{left:?}");
    assert_eq!(client.run("PING").text(), DENIED);
    assert_eq!(restart(server).client().run("GET k").text(), "old");
}

/// SIGUSR1 makes a child of Redis exit, which does not count as a failure.
#[test]
fn a_child_that_is_told_to_end_is_no_failure() {
    let server = begin("--save 3600 100000");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    client.run("BGSAVE");
    let child = eventually("the child", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGUSR1)
        .expect("sent");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    client.ok("SET k v");
}

#[test]
fn a_damaged_snapshot_is_refused_with_a_reason() {
    let start = || {
        let server = begin("");
        let mut client = server.client();
        client.ok("SET key value");
        client.run("RPUSH list a b c");
        client.ok("SAVE");
        server
    };
    let log = refused_after(start(), |directory| {
        let path = directory.join("dump.rdb");
        let mut bytes = fs::read(&path).expect("a snapshot");
        *bytes.last_mut().expect("some") ^= 1;
        fs::write(path, bytes).expect("written");
    });
    assert!(log.contains("RDB"), "{log}");
    assert!(log.to_lowercase().contains("checksum") || log.contains("CRC"), "{log}");
    let len = fs::metadata(start().directory().join("dump.rdb")).expect("a snapshot").len();
    for cut in [0, 3, 9, 20, len / 2, len - 9, len - 1] {
        let log = refused_after(start(), |directory| {
            let file = fs::OpenOptions::new().write(true).open(directory.join("dump.rdb")).expect("opens");
            file.set_len(cut).expect("cut");
        });
        assert!(!log.contains("Ready to accept connections"), "{cut}: {log}");
        assert!(log.contains("RDB") || log.contains("rdb"), "{cut}: {log}");
    }
    let log = refused_after(start(), |directory| {
        fs::write(directory.join("dump.rdb"), "this is no snapshot").expect("written");
    });
    assert!(log.contains("Wrong signature trying to load DB from file"), "{log}");
    let log = refused_after(start(), |directory| {
        fs::write(directory.join("dump.rdb"), "REDIS9999 from the future").expect("written");
    });
    assert!(log.contains("Can't handle RDB format version 9999"), "{log}");
}

#[test]
fn without_checksums_nothing_is_verified() {
    let server = begin("--rdbchecksum no");
    let mut client = server.client();
    client.ok("SET key value");
    client.ok("SAVE");
    let bytes = fs::read(server.directory().join("dump.rdb")).expect("a snapshot");
    assert_eq!(bytes[bytes.len() - 8..], [0; 8]);
    let server = restart(server);
    assert_eq!(server.client().run("GET key").text(), "value");
    // A file without a checksum is loaded even if checksums are enabled.
    let server = start(server.stop().without_flags(2).flags("--rdbchecksum yes"));
    assert_eq!(server.client().run("GET key").text(), "value");
}

#[test]
fn a_snapshot_that_cannot_be_opened_is_not_taken_for_none() {
    if nix::unistd::geteuid().is_root() {
        // Root can read every file; a directory cannot be read as a file by any user.
        let launch = Launch::subject();
        fs::create_dir(launch.directory().join("dump.rdb")).expect("a directory");
        let mut server = launch.start_or_exit();
        assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
        return;
    }
    let server = begin("");
    server.client().ok("SAVE");
    let log = refused_after(server, |directory| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory.join("dump.rdb"), fs::Permissions::from_mode(0o000)).expect("changed");
    });
    assert!(log.contains("Permission denied"), "{log}");
}

#[test]
fn a_snapshot_of_more_databases_than_there_are_is_refused() {
    let server = begin("--databases 32");
    let mut client = server.client();
    client.ok("SELECT 20");
    client.ok("SET k v");
    client.ok("SAVE");
    let mut server = server.stop().flags("--databases 16").start_or_exit();
    assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
    assert!(server.log().contains("configured to handle more"), "{}", server.log());
}

#[test]
fn temporary_files_of_an_earlier_life_do_no_harm() {
    let server = begin("");
    server.client().ok("SET k v");
    server.client().ok("SAVE");
    let server = restart_after(server, |directory| {
        fs::write(directory.join("temp-1.rdb"), "REDIS0011 half a snapshot").expect("written");
        fs::write(directory.join("temp-rewriteaof-bg-1.aof"), "*3").expect("written");
    });
    assert_eq!(server.client().run("GET k").text(), "v");
}

/// The snapshot of a server with this number of keys.
fn snapshot_of(keys: usize) -> Vec<u8> {
    let server = begin("");
    let mut client = server.client();
    client.ok(&format!("DEBUG POPULATE {keys}"));
    client.ok("SAVE");
    fs::read(server.directory().join("dump.rdb")).expect("a snapshot")
}

/// The names of earlier snapshots that were kept.
fn kept(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.starts_with("dump.rdb.kept-")).collect()
}

#[test]
fn a_snapshot_that_was_not_loaded_is_kept_when_one_of_under_a_tenth_replaces_it() {
    if subject_is_redis() {
        // Redis does not keep the file.
        return;
    }
    let large = snapshot_of(100);
    for ends in ["SAVE", "BGSAVE", "SHUTDOWN SAVE"] {
        let server = begin("--appendonly yes");
        server.client().ok("SET k v");
        // The server loads the AOF, not this snapshot.
        let mut server = restart_after(server, |directory| {
            fs::write(directory.join("dump.rdb"), &large).expect("written");
        });
        let mut client = server.client();
        assert_eq!(client.run("DBSIZE").integer(), 1);
        let directory = server.directory().to_path_buf();
        if ends == "SHUTDOWN SAVE" {
            client.send(&["SHUTDOWN", "SAVE"]).expect("sent");
            server.wait_exit();
        } else {
            client.run(ends);
            wait_for_jobs(&mut client);
        }
        let found = kept(&directory);
        assert_eq!(found.len(), 1, "{ends}: {}", server.log());
        assert!(fs::read(directory.join(&found[0])).expect("the old one") == large, "{ends}");
        assert!(fs::read(directory.join("dump.rdb")).expect("the new one") != large, "{ends}");
        let says = format!("about 100 keys) by one of 1 keys. It is kept as {}", found[0]);
        assert!(server.log().contains(&says), "{}", server.log());
        if ends != "SHUTDOWN SAVE" {
            // Only the first one is kept: later replacements are deliberate.
            fs::write(directory.join("dump.rdb"), &large).expect("written");
            client.run(ends);
            wait_for_jobs(&mut client);
            assert_eq!(kept(&directory), found);
            let server = start(server.stop().flags("--appendonly no"));
            assert_eq!(server.client().run("DBSIZE").integer(), 1);
        }
    }
}

#[test]
fn a_snapshot_is_not_kept_if_it_was_loaded_or_is_not_much_larger() {
    let large = snapshot_of(100);
    let server = restart_after(begin(""), |directory| {
        fs::write(directory.join("dump.rdb"), &large).expect("written");
    });
    let mut client = server.client();
    assert_eq!(client.run("DBSIZE").integer(), 100);
    client.ok("FLUSHALL");
    client.ok("SAVE");
    assert_eq!(kept(server.directory()), [""; 0], "the loaded data was flushed on purpose");
    client.ok("DEBUG POPULATE 100");
    client.ok("SAVE");
    client.ok("FLUSHALL");
    client.ok("SAVE");
    assert_eq!(kept(server.directory()), [""; 0], "the saved data was flushed on purpose");
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 50");
    fs::write(server.directory().join("dump.rdb"), &large).expect("written");
    client.ok("SAVE");
    assert_eq!(kept(server.directory()), [""; 0], "the new one has half of the keys");
}

#[test]
fn a_snapshot_in_another_directory_is_kept_when_a_smaller_one_replaces_it() {
    if subject_is_redis() {
        return;
    }
    let large = snapshot_of(100);
    let server = begin("--enable-protected-configs yes");
    let other = server.directory().join("other");
    fs::create_dir(&other).expect("a directory");
    fs::write(other.join("dump.rdb"), &large).expect("written");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SAVE");
    client.ok(&format!("CONFIG SET dir {}", other.display()));
    client.ok("SAVE");
    assert_eq!(kept(&other).len(), 1, "{}", server.log());
    assert_eq!(kept(server.directory()), [""; 0]);
}

/// Valkey 9 has its own signature, and its own version numbers from 80 on.
#[test]
fn a_snapshot_of_valkey_9_is_read_and_other_files_are_refused() {
    if subject_is_redis() {
        return;
    }
    let mut snapshot = snapshot_of(10);
    snapshot[..9].copy_from_slice(b"VALKEY080");
    let len = snapshot.len();
    snapshot[len - 8..].fill(0);
    let server = restart_after(begin(""), |directory| {
        fs::write(directory.join("dump.rdb"), &snapshot).expect("written");
    });
    assert_eq!(server.client().run("DBSIZE").integer(), 10);
    // It may also be the base of an AOF.
    let server = start(server.stop().flags("--appendonly yes"));
    let server = restart_after(server, |directory| {
        fs::write(crate::part(directory, "1.base.rdb"), &snapshot).expect("written");
    });
    assert_eq!(server.client().run("DBSIZE").integer(), 10);
    for (bytes, says) in [
        (&b"VALKEY080\xfe\x00\x16\x01h\x01\x01f\x01v"[..], "a hash with expiring fields of Valkey 9"),
        (b"VALKEY081\xff", "Can't handle RDB format version 81 of Valkey"),
        (b"<html>", "dump.rdb is not an RDB file"),
    ] {
        let log = refused_after(begin(""), |directory| {
            fs::write(directory.join("dump.rdb"), bytes).expect("written");
        });
        assert!(log.contains(says), "{}: {log}", bytes.escape_ascii());
        assert!(log.contains("redstart check-rdb /") || bytes.starts_with(b"<"), "{log}");
    }
}
