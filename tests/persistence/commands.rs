//! The commands that save, rewrite, reload and shut down: their replies and their files.

use crate::support::server::subject_is_redis;
use crate::support::{Server, eventually};
use crate::{begin, clear, digest, names, obstruct, restart, rewrite, set, start, wait_for_jobs};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;

/// A server whose children write slowly, until [`quicken`] or their end.
fn slow(flags: &str) -> Server {
    let server = begin(flags);
    let mut client = server.client();
    client.ok("DEBUG POPULATE 1000");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    server
}

#[test]
fn save_writes_a_snapshot_that_the_next_start_loads() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.run("RPUSH list a b c");
    client.ok("SELECT 5");
    client.ok("SET other v");
    let before = digest(&mut client);
    client.ok("SAVE");
    assert!(names(server.directory()).contains("dump.rdb"));
    client.ok("SET lost v");
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(digest(&mut client), before);
    assert_eq!(client.run("DBSIZE").integer(), 2);
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 0);
    assert_eq!(client.info_number("rdb_last_load_keys_loaded"), 3);
}

#[test]
fn bgsave_is_refused_while_one_is_under_way_and_save_too() {
    let server = slow("");
    let mut client = server.client();
    assert_eq!(client.run("BGSAVE").text(), "Background saving started");
    for line in ["BGSAVE", "BGSAVE SCHEDULE", "SAVE"] {
        assert_eq!(client.run(line).text(), "ERR Background save already in progress", "{line}");
    }
    assert_eq!(client.run("BGREWRITEAOF").text(), "Background append only file rewriting scheduled");
    assert_eq!(client.info_number("rdb_bgsave_in_progress"), 1);
    assert_eq!(client.info_number("aof_rewrite_scheduled"), 1);
    assert_eq!(client.run("BGREWRITEAOF").text(), "Background append only file rewriting scheduled");
    assert_eq!(client.run("SHUTDOWN SAVE NOSAVE").text(), "ERR syntax error");
}

#[test]
fn bgsave_behind_a_rewrite_is_refused_or_scheduled_as_it_is_asked_for() {
    let server = slow("");
    let mut client = server.client();
    assert_eq!(client.run("BGREWRITEAOF").text(), "Background append only file rewriting started");
    assert_eq!(
        client.run("BGREWRITEAOF").text(),
        "ERR Background append only file rewriting already in progress"
    );
    assert_eq!(
        client.run("BGSAVE").text(),
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule \
         a BGSAVE whenever possible."
    );
    assert_eq!(client.run("BGSAVE SCHEDULE").text(), "Background saving scheduled");
    // A snapshot in the foreground does not disturb the child.
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("SAVE");
    assert_eq!(client.info_number("aof_rewrite_in_progress"), 1);
    let saves = client.info_number("rdb_saves");
    // `CONFIG SET` has no AOF to disable, so the child continues.
    client.ok("CONFIG SET appendonly no");
    assert_eq!(client.info_number("aof_rewrite_in_progress"), 1);
    // FLUSHALL does not kill a rewrite either.
    client.ok("FLUSHALL");
    assert_eq!(client.info_number("aof_rewrite_in_progress"), 1);
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    // The AOF's first rewrite ran instead, then the snapshot.
    client.wait_for_info("rdb_saves", |now| now == saves + 1);
}

#[test]
fn a_job_that_a_transaction_asks_for_begins_after_it_so_that_no_file_has_half_of_it() {
    let server = begin("--appendonly no");
    let mut client = server.client();
    for ask in ["BGSAVE", "BGSAVE SCHEDULE"] {
        client.ok("FLUSHALL");
        let saves = client.info_number("rdb_saves");
        client.ok("MULTI");
        for line in ["SET before v", ask, "SET after v"] {
            assert_eq!(client.run(line).text(), "QUEUED");
        }
        assert_eq!(client.run("EXEC").elements()[1].text(), "Background saving scheduled", "{ask}");
        client.wait_for_info("rdb_saves", |now| now == saves + 1);
        wait_for_jobs(&mut client);
        client.ok("DEBUG RELOAD NOSAVE");
        assert_eq!(client.run("DBSIZE").integer(), 2, "{ask}");
    }
    client.ok("MULTI");
    for line in ["BGREWRITEAOF", "INFO persistence"] {
        assert_eq!(client.run(line).text(), "QUEUED");
    }
    let replies = client.run("EXEC");
    assert_eq!(replies.elements()[0].text(), "Background append only file rewriting scheduled");
    let info = replies.elements()[1].text();
    assert!(info.contains("aof_rewrite_scheduled:1") && info.contains("aof_rewrite_in_progress:0"), "{info}");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
    assert_eq!(client.info_number("aof_rewrites"), 1);
}

/// Its files are those from before the AOF was disabled.
#[test]
fn a_log_that_is_being_switched_on_is_not_loaded() {
    let server = slow("");
    let mut client = server.client();
    client.ok("SET old v");
    client.ok("CONFIG SET appendonly no");
    client.ok("RENAME old new");
    client.ok("CONFIG SET appendonly yes");
    if !subject_is_redis() {
        let refused = "ERR The AOF is being enabled, try again when its rewrite has finished";
        assert_eq!(client.run("DEBUG LOADAOF").text(), refused);
    }
    client.ok("RENAME new newest");
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("CONFIG SET appendonly no");
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    let before = digest(&mut client);
    client.ok("DEBUG LOADAOF");
    assert_eq!(client.info_number("unexpected_error_replies"), 0);
    assert_eq!(digest(&mut client), before);
    assert_eq!(client.run("GET newest").text(), "v");
}

#[test]
fn a_scheduled_rewrite_begins_when_the_snapshot_has_ended() {
    let server = begin("--rdb-key-save-delay 2000");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    assert_eq!(client.run("BGSAVE").text(), "Background saving started");
    assert_eq!(client.run("BGREWRITEAOF").text(), "Background append only file rewriting scheduled");
    wait_for_jobs(&mut client);
    assert_eq!(client.info_number("aof_rewrites"), 1);
    assert_eq!(client.info_number("rdb_saves"), 1);
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

#[test]
fn bgrewriteaof_without_a_log_writes_a_base_and_does_not_switch_the_log_on() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    rewrite(&mut client);
    assert_eq!(client.info_number("aof_enabled"), 0);
    assert_eq!(client.info_number("aof_rewrites"), 1);
    let log = server.directory().join("appendonlydir");
    assert_eq!(names(&log), set(&["appendonly.aof.1.base.rdb", "appendonly.aof.manifest"]));
    assert_eq!(crate::manifest(server.directory()), "file appendonly.aof.1.base.rdb seq 1 type b\n");
    rewrite(&mut client);
    assert_eq!(names(&log), set(&["appendonly.aof.2.base.rdb", "appendonly.aof.manifest"]));
    // A server with an AOF starts from these files.
    let server = start(server.stop().flags("--appendonly yes"));
    let mut client = server.client();
    assert_eq!(client.run("GET k").text(), "v");
    assert_eq!(
        crate::manifest(server.directory()),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
}

#[test]
fn the_end_of_a_child_is_noticed_before_cron_looks_for_it() {
    let server = begin("--appendonly yes --enable-debug-command yes");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("DEBUG PAUSE-CRON 1");
    assert!(!client.run("BGSAVE").is_error());
    // This rewrite waits for the snapshot, and starts even without cron.
    client.run("BGREWRITEAOF");
    wait_for_jobs(&mut client);
    assert_eq!(client.info_number("rdb_saves"), 1);
    assert_eq!(client.info_number("aof_rewrites"), 1);
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

#[test]
fn lastsave_moves_with_each_snapshot() {
    let server = begin("");
    let mut client = server.client();
    let start = client.run("LASTSAVE").integer();
    assert_eq!(start, client.info_number("rdb_last_save_time"));
    let mut saved_by = |line: &str, before: i64| {
        eventually("LASTSAVE moves", || {
            client.run(line);
            wait_for_jobs(&mut client);
            Some(client.run("LASTSAVE").integer()).filter(|now| *now > before)
        })
    };
    let saved = saved_by("SAVE", start);
    saved_by("BGSAVE", saved);
}

#[test]
fn flushall_empties_the_snapshot_too_where_there_are_save_rules() {
    for (flags, remains) in [("", true), ("--save 3600 1000", false)] {
        let server = begin(flags);
        let mut client = server.client();
        client.ok("SET k v");
        client.ok("SAVE");
        client.ok("FLUSHALL");
        let dirty = client.info_number("rdb_changes_since_last_save");
        assert_eq!(dirty, i64::from(remains), "{flags}");
        let server = restart(server);
        assert_eq!(server.client().run("EXISTS k").integer(), i64::from(remains), "{flags}");
    }
}

#[test]
fn flushall_ends_a_child_that_writes_a_snapshot() {
    let server = slow("--save 3600 100000");
    let mut client = server.client();
    client.run("BGSAVE");
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("FLUSHALL");
    wait_for_jobs(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    let left = names(server.directory());
    assert!(!left.iter().any(|name| name.starts_with("temp-")), "{left:?}");
    client.ok("SET k v");
    assert_eq!(client.run("BGSAVE").text(), "Background saving started");
    wait_for_jobs(&mut client);
    let server = restart(server);
    assert_eq!(server.client().run("DBSIZE").integer(), 1);
}

/// Shuts the server down with `line`. Returns whether it saved.
fn shut_down(flags: &str, line: &str) -> bool {
    let mut server = begin(flags);
    let mut client = server.client();
    client.ok("SET k v");
    client.send(&line.split(' ').collect::<Vec<_>>()).expect("sent");
    assert_eq!(client.wait_closed(), b"", "{line}");
    let status = server.wait_exit();
    assert_eq!((status.code(), status.signal()), (Some(0), None), "{line}: {}", server.log());
    let log = server.log();
    assert!(!log.contains("output buffer limits"), "{log}");
    assert!(log.contains("User requested shutdown") && log.contains("ready to exit, bye bye..."), "{log}");
    let saved = server.directory().join("dump.rdb").exists();
    assert_eq!(log.contains("Saving the final RDB snapshot before exiting."), saved, "{log}");
    let server = restart(server);
    assert_eq!(server.client().run("EXISTS k").integer(), i64::from(saved), "{line}");
    saved
}

#[test]
fn shutdown_saves_if_there_are_save_rules_or_it_is_told_to() {
    for (flags, line, saves) in [
        ("", "SHUTDOWN", false),
        ("", "SHUTDOWN SAVE", true),
        ("", "SHUTDOWN NOW SAVE FORCE", true),
        ("--save 3600 1000", "SHUTDOWN", true),
        ("--save 3600 1000", "SHUTDOWN NOSAVE", false),
        ("--save 3600 1000", "shutdown now", true),
    ] {
        assert_eq!(shut_down(flags, line), saves, "{flags} {line}");
    }
}

#[test]
fn replies_before_a_shutdown_in_the_same_pipeline_arrive_and_nothing_after_it_happens() {
    if subject_is_redis() {
        // Redis exits within the command, and the replies are lost.
        return;
    }
    let mut server = begin("");
    let mut client = server.client();
    client.send_raw(b"SET a 1\r\nSHUTDOWN SAVE\r\nSET b 2\r\nGET a\r\n").expect("sent");
    assert_eq!(client.wait_closed(), b"+OK\r\n");
    server.wait_exit();
    let server = restart(server);
    assert_eq!(server.client().run("KEYS *").elements().len(), 1);
}

#[test]
fn a_shutdown_that_cannot_save_fails_and_the_server_lives_on() {
    let mut server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    obstruct(&server);
    for _ in 0..2 {
        assert_eq!(client.run("SHUTDOWN SAVE").text(), "ERR Errors trying to SHUTDOWN. Check logs.");
    }
    server.wait_for_log("Error trying to save the DB, can't exit.");
    assert_eq!(client.run("SHUTDOWN ABORT").text(), "ERR No shutdown in progress.");
    assert_eq!(client.run("GET k").text(), "v");
    // New connections are accepted: no listener was closed too early.
    assert_eq!(server.client().run("GET k").text(), "v");
    clear(&server);
    client.ok("SAVE");
    obstruct(&server);
    client.send(&["SHUTDOWN", "SAVE", "FORCE"]).expect("sent");
    client.wait_closed();
    assert_eq!(server.wait_exit().code(), Some(0));
    server.wait_for_log("Error trying to save the DB. Exit anyway.");
}

#[test]
fn signals_end_the_server_as_their_directives_say() {
    for (flags, signal, saves) in [
        ("", Signal::SIGTERM, false),
        ("--save 3600 1000", Signal::SIGTERM, true),
        ("--save 3600 1000", Signal::SIGINT, true),
        ("--shutdown-on-sigterm save", Signal::SIGTERM, true),
        ("--shutdown-on-sigint save", Signal::SIGINT, true),
        ("--save 3600 1000 --shutdown-on-sigterm nosave", Signal::SIGTERM, false),
        ("--save 3600 1000 --shutdown-on-sigint nosave", Signal::SIGINT, false),
    ] {
        let mut server = begin(flags);
        server.client().ok("SET k v");
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0), "{flags} {signal}: {}", server.log());
        assert_eq!(server.directory().join("dump.rdb").exists(), saves, "{flags} {signal}");
    }
}

#[test]
fn a_signal_whose_shutdown_cannot_save_is_refused_and_the_next_one_tried_again() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let mut server = begin("--save 3600 1000");
        let mut client = server.client();
        client.ok("SET k v");
        obstruct(&server);
        server.signal(signal);
        server.wait_for_log("Errors trying to shut down the server. Check the logs for more information.");
        assert!(
            server.log().contains(&format!("Received {name} scheduling shutdown...")),
            "{}",
            server.log()
        );
        assert_eq!(client.run("GET k").text(), "v");
        clear(&server);
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
        assert_eq!(restart(server).client().run("GET k").text(), "v");
    }
}

#[test]
fn shutdown_ends_the_children_that_are_at_work() {
    for (command, field) in
        [("BGSAVE", "rdb_bgsave_in_progress:1"), ("BGREWRITEAOF", "aof_rewrite_in_progress:1")]
    {
        let mut server = slow("--appendonly yes");
        let mut client = server.client();
        client.ok("SET k v");
        client.run(command);
        assert!(client.run("INFO persistence").text().contains(field));
        client.send(&["SHUTDOWN"]).expect("sent");
        client.wait_closed();
        assert_eq!(server.wait_exit().code(), Some(0));
        let log = server.log();
        assert!(log.contains("Killing it!"), "{command}: {log}");
        let left = names(server.directory());
        assert!(!left.iter().any(|name| name.starts_with("temp-")), "{command}: {left:?}");
        let server = restart(server);
        assert_eq!(server.client().run("GET k").text(), "v", "{command}");
    }
}

#[test]
fn a_log_that_has_no_base_yet_keeps_the_server_from_ending_unless_it_is_forced() {
    let mut server = slow("");
    let mut client = server.client();
    client.ok("CONFIG SET appendonly yes");
    assert_eq!(client.run("SHUTDOWN").text(), "ERR Errors trying to SHUTDOWN. Check logs.");
    server.wait_for_log("Writing initial AOF, can't exit");
    client.send(&["SHUTDOWN", "FORCE"]).expect("sent");
    client.wait_closed();
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
}

#[test]
fn debug_reload_loads_what_it_has_saved() {
    let server = begin("");
    let mut client = server.client();
    for line in ["SET k v", "RPUSH list a b", "HSET hash f v", "SADD set 1 2 x", "ZADD scores 1.5 m"] {
        client.run(line);
    }
    client.run("SET timed v EX 1000");
    let before = digest(&mut client);
    client.ok("DEBUG RELOAD");
    assert_eq!(digest(&mut client), before);
    assert!(client.run("TTL timed").integer() > 990);
    assert_eq!(client.info_number("rdb_changes_since_last_save"), 0);
}

#[test]
fn debug_reload_without_saving_or_flushing_does_as_its_options_say() {
    let server = begin("");
    let mut client = server.client();
    assert_eq!(
        client.run("DEBUG RELOAD NOSAVE").text(),
        "ERR Error trying to load the RDB dump, check server logs.",
        "there is no snapshot"
    );
    client.ok("SET k saved");
    client.ok("SAVE");
    client.ok("SET k changed");
    client.ok("SET more v");
    client.ok("DEBUG RELOAD NOSAVE");
    assert_eq!(client.run("GET k").text(), "saved");
    assert_eq!(client.run("DBSIZE").integer(), 1);
    client.ok("SET more v");
    client.ok("SET k changed");
    client.ok("DEBUG RELOAD NOSAVE NOFLUSH MERGE");
    assert_eq!(client.run("GET k").text(), "saved");
    assert_eq!(client.run("DBSIZE").integer(), 2);
    assert_eq!(
        client.run("DEBUG RELOAD NOFLUSH MERGE NOSUCH").text(),
        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
    );
}

#[test]
fn a_reloaded_log_holds_what_was_changed_before_and_takes_what_comes_after() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("SELECT 3");
    client.ok("SET k v");
    client.ok("SELECT 0");
    client.run("RPUSH list a b");
    let before = digest(&mut client);
    client.ok("DEBUG LOADAOF");
    assert_eq!(digest(&mut client), before);
    client.run("RPUSH list c");
    client.ok("DEBUG RELOAD");
    client.run("RPUSH list d");
    let after = digest(&mut client);
    client.ok("DEBUG LOADAOF");
    assert_eq!(digest(&mut client), after);
    let server = restart(server);
    assert_eq!(digest(&mut server.client()), after);
}

#[test]
fn a_blocked_client_is_served_when_a_reloaded_log_has_its_key() {
    let server = begin("--appendonly yes --aof-use-rdb-preamble no");
    let (mut client, mut waiting) = (server.client(), server.client());
    client.run("RPUSH list a");
    client.run("CONFIG SET appendonly no");
    client.run("DEL list");
    waiting.send(&["BLPOP", "list", "0"]).expect("sent");
    client.wait_for_info("blocked_clients", |blocked| blocked == 1);
    client.ok("DEBUG LOADAOF");
    assert_eq!(waiting.read_reply().expect("a reply").value.elements()[1].text(), "a");
    assert_eq!(client.run("EXISTS list").integer(), 0);
}

#[test]
fn a_transaction_that_reloads_the_log_keeps_its_earlier_changes() {
    let server = begin("--appendonly yes --notify-keyspace-events KEA");
    let (mut client, mut watcher, mut subscriber) = (server.client(), server.client(), server.client());
    client.ok("SET watched 1");
    watcher.ok("WATCH watched a");
    watcher.ok("MULTI");
    subscriber.run("PSUBSCRIBE __keyevent*");
    for line in ["MULTI", "SET a 1", "SET b 2", "DEBUG LOADAOF", "SET c 3"] {
        client.run(line);
    }
    assert_eq!(client.run("EXEC").elements().len(), 4);
    assert!(watcher.run("EXEC").is_null());
    let named: Vec<String> =
        (0..3).map(|_| subscriber.read_reply().expect("a message").value.elements()[3].text()).collect();
    assert_eq!(named, ["a", "b", "c"]);
    let server = restart(server);
    assert_eq!(server.client().run("EXISTS watched c").integer(), 2);
}

#[test]
fn there_may_be_no_log_to_reload() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    assert_eq!(
        client.run("DEBUG LOADAOF").text(),
        "ERR Error trying to load the AOF files, check server logs."
    );
    assert_eq!(client.run("DBSIZE").integer(), 0, "the data was dropped before");
}

#[test]
fn a_reload_beside_what_is_there_refuses_a_key_that_is_there_already() {
    if subject_is_redis() {
        // It exits.
        return;
    }
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SAVE");
    assert_eq!(
        client.run("DEBUG RELOAD NOSAVE NOFLUSH").text(),
        "ERR Error trying to load the RDB dump, check server logs."
    );
    client.run("DEL k");
    client.ok("DEBUG RELOAD NOSAVE NOFLUSH");
    assert_eq!(client.run("GET k").text(), "v");
}

#[test]
fn appends_may_be_made_slow_for_tests() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("DEBUG AOF-FLUSH-SLEEP 1000");
    client.ok("SET k v");
    client.ok("DEBUG AOF-FLUSH-SLEEP 0");
    assert_eq!(restart(server).client().run("GET k").text(), "v");
}

#[test]
fn a_wrong_checksum_is_refused_unless_it_is_not_looked_at() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SAVE");
    let path = server.directory().join("dump.rdb");
    let mut bytes = fs::read(&path).expect("a snapshot");
    *bytes.last_mut().expect("some") ^= 1;
    fs::write(&path, &bytes).expect("written");
    client.ok("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
    client.ok("DEBUG RELOAD NOSAVE");
    assert_eq!(client.run("GET k").text(), "v");
    if subject_is_redis() {
        // A wrong checksum makes Redis exit here, too.
        return;
    }
    client.ok("DEBUG SET-SKIP-CHECKSUM-VALIDATION 0");
    let reply = client.run("DEBUG RELOAD NOSAVE").text();
    assert_eq!(reply, "ERR Error trying to load the RDB dump, check server logs.");
}
