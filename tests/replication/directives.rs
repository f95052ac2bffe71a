//! Directives of a replica: errors in the stream, disks that fail, files of snapshots, and the freeing of old data.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use crate::links::{UNLOADABLE, accept_replica, begin_full, empty_snapshot};
use crate::support::client::encode;
use crate::support::server::redis_is_valkey;
use crate::support::shim::Shim;
use crate::support::{Client, Server};
use crate::{
    Kind, PAIRS, chain, field, follow, in_words_of_redis, launch, start, until, wait_for_equality,
    wait_for_link, wait_for_offset,
};

/// A replica of a primary that the test plays.
pub fn replica_of_test(kind: Kind, flags: &str) -> (Server, Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let replica = start(kind, flags);
    let mut client = replica.client();
    client.ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
    let mut stream = accept_replica(&listener);
    begin_full(&mut stream, &empty_snapshot());
    wait_for_link(&mut client);
    (replica, client, stream)
}

/// A stream with a command that fails.
fn with_an_error() -> Vec<u8> {
    [
        encode(&["SELECT", "0"]),
        encode(&["SET", "k", "v"]),
        encode(&["LPUSH", "k", "element"]),
        encode(&["SET", "after", "v"]),
    ]
    .concat()
}

#[test]
fn an_error_in_the_stream_is_logged_with_the_backlog_before_it() {
    for kind in [Kind::Subject, Kind::Redis] {
        let (replica, mut client, mut stream) = replica_of_test(kind, "");
        stream.write_all(&with_an_error()).expect("sent");
        until("the commands after it", || !client.run("GET after").is_null());
        assert_eq!(client.info_number("unexpected_error_replies"), 1, "{kind:?}");
        let log = in_words_of_redis(&replica.log());
        let critical = "== CRITICAL == This replica is sending an error to its master: '-WRONGTYPE Operation against a key \
                        holding the wrong kind of value' after processing the command 'lpush'";
        let backlog = concat!(
            r#"Latest backlog is: '"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"#,
            r#"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"'"#
        );
        // Valkey hides it: `hide-user-data-from-log`.
        let shows_backlog = kind == Kind::Subject || !redis_is_valkey();
        assert!(log.contains(critical) && log.contains(backlog) == shows_backlog, "{kind:?}:\n{log}");
        let unknown = encode(&["NOSUCH", "argument"]);
        stream.write_all(&unknown).expect("sent");
        replica.wait_for_log("after processing the command '<unknown>'");
        until("it counts", || client.info_number("unexpected_error_replies") == 2);
    }
}

#[test]
fn the_backlog_that_is_logged_has_at_most_256_bytes() {
    let (replica, _client, mut stream) = replica_of_test(Kind::Subject, "");
    stream.write_all(&encode(&["SET", "large", &"x".repeat(100_000)])).expect("sent");
    stream.write_all(&encode(&["LPUSH", "large", "element"])).expect("sent");
    replica.wait_for_log("Latest backlog is: ");
    let log = replica.log();
    let shown = log.split("Latest backlog is: '\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(shown.expect("quoted"), format!("{}\\r\\n", "x".repeat(254)));
}

#[test]
fn a_read_only_replica_exits_at_an_error_in_the_stream_if_it_is_told_to() {
    for behavior in ["panic", "panic-on-replicas"] {
        let flags = format!("--propagation-error-behavior {behavior}");
        let (mut replica, _client, mut stream) = replica_of_test(Kind::Subject, &flags);
        stream.write_all(&with_an_error()).expect("sent");
        assert_eq!(replica.wait_exit().code(), Some(1), "{behavior}");
        let log = replica.log();
        let line =
            "This replica panicked sending an error to its master after processing the command 'lpush'";
        assert!(log.contains(line) && log.contains("== CRITICAL =="), "{behavior}:\n{log}");

        let flags = format!("{flags} --replica-read-only no");
        let (_replica, mut client, mut stream) = replica_of_test(Kind::Subject, &flags);
        stream.write_all(&with_an_error()).expect("sent");
        until("a writable one goes on", || !client.run("GET after").is_null());
    }
}

/// A replica with a disk that can fail, and its primary. The replica has data.
fn with_faulty_disk(flags: &str) -> (Server, Client, Server, Client, Shim) {
    let primary = start(Kind::Subject, "");
    let mut writer = primary.client();
    writer.ok("SET k v");
    let (launch, disk) = Shim::on(launch(Kind::Subject));
    let replica = launch.flags(flags).start();
    let mut reader = replica.client();
    follow(&mut reader, &primary);
    wait_for_offset(&mut writer, &mut reader);
    (primary, writer, replica, reader, disk)
}

/// Makes the next snapshot of the replica fail.
fn fail_snapshot(reader: &mut Client, disk: &Shim) {
    assert_eq!(reader.call(&["CONFIG", "SET", "save", "900 1"]).text(), "OK");
    disk.rules("open temp- 1+ fail:28");
    assert!(!reader.run("BGSAVE").is_error());
    until("it has failed", || reader.info("rdb_last_bgsave_status") == "err");
}

const UNABLE: &str = "Replica was unable to write command to disk.";
const IN_SPITE: &str = "Replica is applying a command even though it is unable to write to disk.";

#[test]
fn a_replica_whose_last_snapshot_has_failed_exits_at_the_next_write_of_its_primary() {
    let (_primary, mut writer, mut replica, mut reader, disk) = with_faulty_disk("");
    fail_snapshot(&mut reader, &disk);
    // The PINGs of the primary are no writes.
    replica.wait_for_log(IN_SPITE);
    assert_eq!(reader.run("GET k").text(), "v");
    assert!(replica.is_running());
    writer.ok("SET k w");
    assert_eq!(replica.wait_exit().code(), Some(1));
    assert!(replica.log().contains(UNABLE), "{}", replica.log());
    assert_eq!(writer.run("GET k").text(), "w");
}

#[test]
fn a_replica_whose_log_cannot_be_written_exits_at_the_next_write_of_its_primary() {
    let (_primary, mut writer, mut replica, mut reader, disk) = with_faulty_disk("--appendonly yes");
    reader.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    disk.rules("write .incr.aof 1+ fail:28");
    writer.ok("SET k first");
    until("it has failed", || reader.try_call(&["PING"]).is_ok_and(|reply| reply.value.is_error()));
    writer.ok("SET k second");
    assert_eq!(replica.wait_exit().code(), Some(1));
    let log = replica.log();
    assert!(log.contains(UNABLE) && log.contains("Error writing to the AOF file"), "{log}");
}

#[test]
fn a_replica_that_ignores_disk_errors_applies_writes_and_logs_that_once_in_a_while() {
    let (_primary, mut writer, replica, mut reader, disk) =
        with_faulty_disk("--replica-ignore-disk-write-errors yes");
    fail_snapshot(&mut reader, &disk);
    for n in 0..50 {
        writer.ok(&format!("SET k {n}"));
    }
    wait_for_equality(&mut writer, &mut reader);
    assert!(reader.run("PING").text().starts_with("MISCONF"));
    let log = replica.log();
    assert_eq!(log.matches(IN_SPITE).count(), 1, "{log}");
    assert!(!log.contains(UNABLE), "{log}");
    // Without the reason, nothing is refused.
    reader.ok("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(reader.run("PING").text(), "PONG");
}

const FED: &str = "Removing the RDB file used to feed replicas in a persistence-less instance";
const OBTAINED: &str =
    "Removing the RDB file obtained from the master. This replica has persistence disabled";

fn has_file(server: &Server) -> bool {
    server.directory().join("dump.rdb").exists()
}

#[test]
fn snapshots_that_only_replication_needs_are_removed_on_both_sides() {
    for (primary_kind, replica_kind) in PAIRS {
        let flags = "--repl-diskless-sync no --rdb-del-sync-files yes";
        let [(primary, mut writer), (replica, mut reader)] =
            chain([(primary_kind, flags), (replica_kind, flags)]);
        primary.wait_for_log(FED);
        until("the files are gone", || !has_file(&primary) && !has_file(&replica));
        assert!(in_words_of_redis(&replica.log()).contains(OBTAINED), "{}", replica.log());
        writer.ok("SET k v");
        wait_for_equality(&mut writer, &mut reader);
    }
}

#[test]
fn a_snapshot_of_a_client_or_of_a_server_with_persistence_stays() {
    // Nobody reads the snapshot, so the replica still receives it when a client saves.
    let primary =
        start(Kind::Subject, "--repl-diskless-sync no --rdb-del-sync-files yes --rdbcompression no");
    let mut writer = primary.client();
    writer.ok("DEBUG POPULATE 64 key 1000000");
    let mut slow = primary.client();
    assert!(slow.run("PSYNC ? -1").text().starts_with("FULLRESYNC"));
    until("it receives", || field(&mut writer, "slave0").contains("state=send_bulk"));
    assert!(has_file(&primary));
    writer.ok("SAVE");
    drop(slow);
    until("it is gone", || field(&mut writer, "connected_slaves") == "0");
    // A later snapshot for a replica is removed: cron has looked at the earlier one by then.
    let flags = "--rdb-del-sync-files yes";
    let replica = start(Kind::Subject, flags);
    assert!(has_file(&primary) && !primary.log().contains(FED));
    follow(&mut replica.client(), &primary);
    primary.wait_for_log(FED);
    assert!(!has_file(&primary) && !has_file(&replica));

    for flags in [format!("{flags} --appendonly yes"), String::new()] {
        let keeps = start(Kind::Subject, &flags);
        follow(&mut keeps.client(), &primary);
        assert!(has_file(&keeps) && !keeps.log().contains(OBTAINED), "{flags}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_loaded_is_removed_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let replica = start(Kind::Subject, "--rdb-del-sync-files yes");
    replica.client().ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
    let mut stream = accept_replica(&listener);
    begin_full(&mut stream, UNLOADABLE);
    replica.wait_for_log(OBTAINED);
    until("it is gone", || !has_file(&replica));
}

#[test]
fn small_old_data_is_freed_in_the_background_only_if_replica_lazy_flush_says_so() {
    for kind in [Kind::Subject, Kind::Redis] {
        for (lazy, freed) in [("no", 0), ("yes", 3)] {
            let primary = start(kind, "");
            primary.client().ok("SET new data");
            let replica = start(kind, &format!("--replica-lazy-flush {lazy}"));
            let mut reader = replica.client();
            reader.ok("MSET a 1 b 2 c 3");
            follow(&mut reader, &primary);
            reader.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
            assert_eq!(reader.info_number("lazyfreed_objects"), freed, "{kind:?}, {lazy}");
            assert_eq!(reader.run("DBSIZE").integer(), 1);
        }
    }
}

#[test]
fn without_replica_lazy_flush_nothing_is_loaded_before_the_old_data_is_freed() {
    let primary = start(Kind::Subject, "");
    let mut writer = primary.client();
    writer.ok("DEBUG POPULATE 100000 new");
    let replica = start(Kind::Subject, "--replica-lazy-flush no");
    let mut reader = replica.client();
    reader.ok("DEBUG POPULATE 200000 old 50");
    reader.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let mut seen = 0;
    until("it has loaded", || {
        let info = reader.run("INFO").text();
        let number = |name: &str| crate::field_of(&info, name).parse::<u64>().unwrap_or(0);
        if number("loading") == 1 {
            seen += 1;
            let (pending, loaded) = (number("lazyfree_pending_objects"), number("loading_loaded_bytes"));
            assert!(pending == 0 || loaded == 0, "{pending} objects to free, {loaded} bytes loaded");
        }
        crate::field_of(&info, "master_link_status") == "up"
    });
    assert!(seen > 0, "it was seen to load");
    assert_eq!(reader.info_number("lazyfreed_objects"), 200_000);
    wait_for_equality(&mut writer, &mut reader);
}
