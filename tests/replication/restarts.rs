//! Restarts with an append-only file, which has the replication ID and offset: replicas continue without a snapshot, and
//! get one where the data is not that of the stream.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::server::subject_binary;
use crate::support::{Client, Launch, Random, Server, eventually, run_bounded};
use crate::{
    Kind, chain, chain_with, field, follow, star_with, start, until, wait_for_equality, wait_for_link,
    wait_for_offset, wait_for_rewrite, write_much,
};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
}

const ENDS: [End; 2] = [End::Killed, End::InOrder];

fn end(mut server: Server, how: End) -> Launch {
    if how == End::InOrder {
        server.signal(Signal::SIGTERM);
        assert!(server.wait_exit().success());
    }
    server.stop()
}

fn begin(launch: Launch) -> (Server, Client) {
    let server = launch.start();
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    (server, client)
}

fn restart(server: Server, how: End) -> (Server, Client) {
    begin(end(server, how))
}

/// Starts it again as a replica.
fn restart_following(server: Server, how: End, primary: &Server) -> (Server, Client) {
    begin(end(server, how).flags(&format!("--replicaof 127.0.0.1 {}", primary.port())))
}

/// The full and the partial synchronizations of a primary.
fn syncs(client: &mut Client) -> (i64, i64) {
    (client.info_number("sync_full"), client.info_number("sync_partial_ok"))
}

/// Makes replicas follow a primary that was started again, and waits until they have done so.
fn resume(replicas: &mut [&mut Client], primary: &Server) {
    let mut client = primary.client();
    let (full, partial) = syncs(&mut client);
    for replica in &mut *replicas {
        // It may have found it by itself.
        let reply = replica.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).text();
        assert!(reply.starts_with("OK"), "{reply}");
    }
    until("the replicas follow", || {
        let now = syncs(&mut client);
        now.0 + now.1 - full - partial >= replicas.len() as i64
    });
    for replica in replicas {
        wait_for_link(replica);
    }
}

fn rewrite(client: &mut Client) {
    wait_for_rewrite(client);
    let reply = client.run("BGREWRITEAOF").text();
    assert!(reply.starts_with("Background"), "{reply}");
    wait_for_rewrite(client);
}

/// The newest part of a log.
fn newest_part(directory: &Path) -> PathBuf {
    let directory = directory.join("appendonlydir");
    let manifest = fs::read_to_string(directory.join("appendonly.aof.manifest")).expect("a manifest");
    let last = manifest.lines().rfind(|line| line.ends_with("type i")).expect("an incremental file");
    directory.join(last.split(' ').nth(1).expect("a name"))
}

/// The annotations in the newest part.
fn annotations(directory: &Path) -> Vec<String> {
    let bytes = fs::read(newest_part(directory)).expect("read");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(b"#REPL"));
    lines.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect()
}

/// Changes the bytes of the newest part.
fn edit(directory: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let path = newest_part(directory);
    let mut bytes = fs::read(&path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("write");
}

fn check_log(program: impl AsRef<std::ffi::OsStr>, words: &[&str], directory: &Path) {
    let mut command = Command::new(program);
    command.args(words).arg(directory.join("appendonlydir/appendonly.aof.manifest"));
    let (success, output) = run_bounded(command);
    assert!(success, "{output}");
}

#[test]
fn a_replica_with_an_aof_continues_after_a_restart() {
    for (kind, how, flags) in [
        (Kind::Subject, End::Killed, ""),
        (Kind::Subject, End::InOrder, "--aof-timestamp-enabled yes"),
        (Kind::Subject, End::Killed, "--aof-use-rdb-preamble no --appendfsync always"),
        (Kind::Redis, End::Killed, ""),
        (Kind::Redis, End::InOrder, ""),
    ] {
        let mut random = Random::new(11);
        let flags = format!("--appendonly yes {flags}");
        let servers = [(kind, "--repl-backlog-size 10mb"), (Kind::Subject, flags.as_str())];
        let [(primary, mut writer), (replica, mut reader)] =
            chain_with(servers, |writer| write_much(writer, &mut random, 100));
        wait_for_rewrite(&mut reader);
        let (full, partial) = syncs(&mut writer);
        write_much(&mut writer, &mut random, 200);
        writer.ok("SELECT 2");
        writer.ok("SET in two");
        wait_for_equality(&mut writer, &mut reader);
        let (replica, mut reader) = restart_following(replica, how, &primary);
        // The stream has selected the database before.
        writer.ok("SET meanwhile written");
        wait_for_link(&mut reader);
        wait_for_equality(&mut writer, &mut reader);
        // The log has a new base, which the part after it does not select a database for.
        rewrite(&mut reader);
        let (_replica, mut reader) = restart(replica, how);
        writer.ok("SET later written");
        wait_for_link(&mut reader);
        wait_for_equality(&mut writer, &mut reader);
        reader.ok("SELECT 2");
        for key in ["meanwhile", "later"] {
            assert_eq!(reader.run(&format!("GET {key}")).text(), "written");
        }
        assert_eq!(syncs(&mut writer), (full, partial + 2), "{kind:?} {how:?} {flags}");
    }
}

#[test]
fn replicas_continue_after_a_restart_of_their_primary_with_an_aof() {
    for how in ENDS {
        let mut random = Random::new(12);
        let servers = [
            (Kind::Subject, "--appendonly yes --rdb-write-version 10"),
            (Kind::Subject, ""),
            (Kind::Redis, ""),
        ];
        let [(primary, mut writer), (_first, mut first), (_second, mut second)] =
            star_with(servers, |writer| write_much(writer, &mut random, 100));
        write_much(&mut writer, &mut random, 200);
        for round in 0..3 {
            assert_eq!(writer.run("PUBLISH news 1").integer(), 0);
            writer.ok(&format!("SET round {round}"));
            assert!(
                !writer
                    .run("EVAL redis.call('INCR',KEYS[1]);redis.call('PUBLISH','c','m');redis.call('INCR',KEYS[1]) 1 n")
                    .is_error()
            );
        }
        if how == End::InOrder {
            rewrite(&mut writer);
        }
        // A PING is the last thing that the replicas have got.
        let offset = field(&mut writer, "master_repl_offset");
        until("a PING", || field(&mut writer, "master_repl_offset") != offset);
        wait_for_offset(&mut writer, &mut first);
        wait_for_offset(&mut writer, &mut second);
        let (primary, mut writer) = restart(primary, how);
        let id = field(&mut writer, "master_replid2");
        resume(&mut [&mut first, &mut second], &primary);
        assert_eq!(syncs(&mut writer), (0, 2), "{how:?}");
        assert_eq!(field(&mut first, "master_replid2"), id);
        writer.ok("SET after restart");
        for replica in [&mut first, &mut second] {
            wait_for_equality(&mut writer, replica);
            assert_eq!(replica.run("GET after").text(), "restart");
        }
        check_log(subject_binary(), &["check-aof"], primary.directory());
        check_log("redis-check-aof", &[], primary.directory());
    }
}

#[test]
fn messages_are_counted_even_if_no_write_follows_them() {
    let [(primary, mut writer), (_replica, mut reader)] =
        chain([(Kind::Subject, "--appendonly yes --repl-ping-replica-period 1000"), (Kind::Subject, "")]);
    for _ in 0..1000 {
        writer.send(&["PUBLISH", "news", "1"]).expect("sent");
    }
    for _ in 0..1000 {
        writer.read_reply().expect("a reply");
    }
    until("the offset in the log", || {
        let last = format!("#REPL-OFFSET:{}", field(&mut writer, "master_repl_offset"));
        annotations(primary.directory()).last() == Some(&last)
    });
    assert!(annotations(primary.directory()).len() < 100, "not a line for each message");
    wait_for_offset(&mut writer, &mut reader);
    let (primary, mut writer) = restart(primary, End::Killed);
    resume(&mut [&mut reader], &primary);
    assert_eq!(syncs(&mut writer), (0, 1));
}

#[test]
fn a_promoted_replica_with_an_aof_is_continued_after_its_restart_also_by_the_old_primary() {
    for how in ENDS {
        let aof = "--appendonly yes";
        let servers = [(Kind::Subject, aof), (Kind::Subject, aof), (Kind::Subject, aof)];
        let [(old, mut old_writer), (promoted, mut writer), (_third, mut third)] = star_with(servers, |_| {});
        old_writer.ok("SELECT 1");
        old_writer.ok("SET before promotion");
        wait_for_equality(&mut old_writer, &mut writer);
        wait_for_equality(&mut old_writer, &mut third);
        wait_for_rewrite(&mut writer);
        let old = end(old, End::InOrder);
        wait_for_offset(&mut third, &mut writer);
        writer.ok("REPLICAOF NO ONE");
        writer.ok("SET after promotion");
        follow(&mut third, &promoted);
        let (old, mut old_reader) = begin(old.flags(&format!("--replicaof 127.0.0.1 {}", promoted.port())));
        wait_for_link(&mut old_reader);
        wait_for_equality(&mut writer, &mut old_reader);
        assert_eq!(syncs(&mut writer), (0, 2), "{how:?}");
        let (promoted, mut writer) = restart(promoted, how);
        resume(&mut [&mut third, &mut old_reader], &promoted);
        writer.ok("SET after restart");
        for replica in [&mut third, &mut old_reader] {
            wait_for_equality(&mut writer, replica);
        }
        assert_eq!(syncs(&mut writer), (0, 2), "{how:?}");
        drop(old);
    }
}

#[test]
fn a_replica_whose_aof_is_cut_off_gets_the_rest_again() {
    // Within the last call, and within the transaction before it.
    for cut in [1, 30, 60] {
        let [(primary, mut writer), (replica, mut reader)] =
            chain([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes --repl-ping-replica-period 1000")]);
        wait_for_rewrite(&mut reader);
        writer.ok("SELECT 3");
        writer.ok("SET counter 5");
        writer.ok("MULTI");
        writer.run("INCR counter");
        writer.run("INCR counter");
        assert_eq!(writer.run("EXEC").elements().len(), 2);
        assert_eq!(writer.run("INCR other").integer(), 1);
        wait_for_equality(&mut writer, &mut reader);
        let replica = end(replica, End::Killed);
        edit(replica.directory(), |bytes| {
            // A PING may have come after the calls.
            let last = bytes.windows(5).rposition(|window| window == b"other").expect("the last call") + 7;
            bytes.truncate(last - cut);
        });
        let (_replica, mut reader) =
            begin(replica.flags(&format!("--replicaof 127.0.0.1 {}", primary.port())));
        wait_for_link(&mut reader);
        writer.ok("SET next call");
        wait_for_equality(&mut writer, &mut reader);
        reader.ok("SELECT 3");
        assert_eq!(reader.run("GET counter").text(), "7", "cut by {cut} bytes");
        assert_eq!(syncs(&mut writer), (1, 1), "cut by {cut} bytes");
    }
}

#[test]
fn a_primary_whose_aof_is_cut_off_sends_its_replicas_a_snapshot() {
    let [(primary, mut writer), (_replica, mut reader)] =
        chain([(Kind::Subject, "--appendonly yes"), (Kind::Subject, "")]);
    writer.ok("SET kept 1");
    writer.ok("SET lost 1");
    wait_for_equality(&mut writer, &mut reader);
    let primary = end(primary, End::Killed);
    edit(primary.directory(), |bytes| {
        let last = bytes.windows(4).rposition(|window| window == b"lost").expect("the last call");
        bytes.truncate(last);
    });
    let (primary, mut writer) = begin(primary);
    resume(&mut [&mut reader], &primary);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(reader.run("DBSIZE").integer(), 1);
    assert_eq!(syncs(&mut writer), (1, 0));
    primary.wait_for_log("Requested offset for second ID was");
}

#[test]
fn a_replica_whose_aof_has_no_place_in_the_stream_gets_a_snapshot() {
    let id = "f".repeat(40);
    let cases = [
        // Written by an earlier version.
        String::new(),
        "#REPL\r\n".to_owned(),
        format!("#REPL:{id}:-1\r\n"),
        format!("#REPL:{id}:9223372036854775807\r\n"),
        format!("#REPL:{id}:99999999999999999999999\r\n"),
        "#REPL:short:1\r\n".to_owned(),
        "#REPL-OFFSET:0\r\n".to_owned(),
        "#REPL-SKIP:-7\r\n".to_owned(),
        format!("#REPL-SKIP:{}\r\n", "9".repeat(1000)),
    ];
    for case in cases {
        let [(primary, mut writer), (replica, mut reader)] =
            chain([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes")]);
        wait_for_rewrite(&mut reader);
        writer.ok("SET key 1");
        wait_for_equality(&mut writer, &mut reader);
        let replica = end(replica, End::InOrder);
        edit(replica.directory(), |bytes| {
            if case.is_empty() {
                let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                *bytes = lines.filter(|line| !line.starts_with(b"#")).flatten().copied().collect();
            } else {
                bytes.extend_from_slice(case.as_bytes());
            }
        });
        check_log(subject_binary(), &["check-aof"], replica.directory());
        let (_replica, mut reader) =
            begin(replica.flags(&format!("--replicaof 127.0.0.1 {}", primary.port())));
        wait_for_link(&mut reader);
        writer.ok("SET next 1");
        wait_for_equality(&mut writer, &mut reader);
        assert_eq!(syncs(&mut writer), (2, 0), "{case:?}");
    }
}

#[test]
fn redis_loads_the_log_of_a_replica_and_what_redis_writes_is_not_taken_for_the_stream() {
    let flags = "--appendonly yes --rdb-write-version 10 --replica-read-only no";
    let [(primary, mut writer), (replica, mut reader)] =
        chain([(Kind::Subject, "--rdb-write-version 10"), (Kind::Subject, flags)]);
    wait_for_rewrite(&mut reader);
    reader.ok("SELECT 1");
    reader.ok("SET own 1");
    writer.ok("SET theirs 1");
    wait_for_offset(&mut writer, &mut reader);
    let digest = reader.run("DEBUG DIGEST");
    let replica = end(replica, End::InOrder);
    assert_eq!(
        fs::read(newest_part(replica.directory()))
            .expect("read")
            .windows(10)
            .filter(|w| w == b"#REPL-SKIP")
            .count(),
        2,
        "for the SELECT at the beginning, and for the write of the replica's own client"
    );
    check_log(subject_binary(), &["check-aof"], replica.directory());
    check_log("redis-check-aof", &[], replica.directory());
    let directory = replica.directory().to_str().expect("UTF-8").to_owned();
    let redis = Launch::redis()
        .flags(&format!("--appendonly yes --enable-debug-command yes --dir {directory}"))
        .start();
    let mut client = redis.client();
    client.wait_for_info("loading", |loading| loading == 0);
    assert_eq!(client.run("DEBUG DIGEST"), digest);
    client.ok("SET foreign 1");
    end(redis, End::InOrder);
    let (_replica, mut reader) = begin(replica.flags(&format!("--replicaof 127.0.0.1 {}", primary.port())));
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (2, 0));
}

#[test]
fn calls_for_the_log_alone_do_not_count() {
    let [(primary, mut writer), (middle, mut reader), (_last, mut last)] = chain([
        (Kind::Subject, "--appendonly yes"),
        (Kind::Subject, "--appendonly yes --replica-read-only no"),
        (Kind::Subject, ""),
    ]);
    wait_for_rewrite(&mut reader);
    let script = "redis.call('INCR', 'all') redis.set_repl(redis.REPL_AOF) redis.call('INCR', 'log') \
                  redis.set_repl(redis.REPL_REPLICA) redis.call('INCR', 'replica') \
                  redis.set_repl(redis.REPL_ALL) redis.call('INCR', 'all')";
    reader.ok("SELECT 7");
    for round in 0..3 {
        assert!(writer.call(&["EVAL", script, "0"]).is_null());
        reader.ok(&format!("SET own {round}"));
    }
    writer.ok("SELECT 4");
    writer.ok("SET four 1");
    for replica in [&mut reader, &mut last] {
        wait_for_offset(&mut writer, replica);
    }
    reader.ok("SET own last");
    let (middle, mut reader) = restart_following(middle, End::Killed, &primary);
    writer.ok("SET meanwhile 1");
    wait_for_link(&mut reader);
    wait_for_offset(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (1, 1));
    let db = |client: &mut Client, db: u8, key: &str| {
        client.ok(&format!("SELECT {db}"));
        client.run(&format!("GET {key}")).text()
    };
    assert_eq!(db(&mut reader, 0, "all"), "6");
    assert_eq!(db(&mut reader, 4, "meanwhile"), "1");
    assert_eq!(db(&mut reader, 7, "own"), "last");
    resume(&mut [&mut last], &middle);
    assert_eq!(syncs(&mut reader), (0, 1), "the replica of the replica");
    let (primary, mut writer) = restart(primary, End::Killed);
    resume(&mut [&mut reader], &primary);
    assert_eq!(syncs(&mut writer), (0, 1));
    assert_eq!(db(&mut writer, 0, "log"), "3");
}

#[test]
fn a_replica_whose_aof_is_cut_off_at_a_time_continues_from_there() {
    let [(primary, mut writer), (replica, mut reader)] =
        chain([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes --aof-timestamp-enabled yes")]);
    wait_for_rewrite(&mut reader);
    let second = |client: &mut Client| client.run("TIME").elements()[0].text();
    let first = eventually("a write at the start of a second", || {
        let before = second(&mut writer);
        writer.run("INCR counter");
        wait_for_offset(&mut writer, &mut reader);
        (second(&mut reader) == before).then_some(before)
    });
    until("a later second", || second(&mut reader) > first);
    writer.run("INCR counter");
    writer.ok("SET later 1");
    wait_for_equality(&mut writer, &mut reader);
    let replica = end(replica, End::InOrder);
    check_log(subject_binary(), &["check-aof", "--truncate-to-timestamp", &first], replica.directory());
    let bytes = fs::read(newest_part(replica.directory())).expect("read");
    assert!(!bytes.windows(5).any(|window| window == b"later"));
    let (_replica, mut reader) = begin(replica.flags(&format!("--replicaof 127.0.0.1 {}", primary.port())));
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (1, 1));
}

#[test]
fn a_log_that_is_switched_off_keeps_the_place_of_its_data() {
    let [(primary, mut writer), (replica, mut reader)] =
        chain([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes")]);
    wait_for_rewrite(&mut reader);
    writer.run("INCR counter");
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("CONFIG SET appendonly no");
    assert_eq!(annotations(replica.directory()).last().map(String::as_str), Some("#REPL-END"));
    writer.run("INCR counter");
    wait_for_equality(&mut writer, &mut reader);
    // The log lacks the last call.
    let (replica, mut reader) = restart_following(replica, End::Killed, &primary);
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (1, 1));
    reader.ok("CONFIG SET appendonly no");
    reader.ok("CONFIG SET appendonly yes");
    wait_for_rewrite(&mut reader);
    writer.run("INCR counter");
    wait_for_equality(&mut writer, &mut reader);
    let (_replica, mut reader) = restart(replica, End::Killed);
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (1, 2));
}

#[test]
fn a_snapshot_that_becomes_the_first_base_of_a_log_keeps_its_place() {
    let [(primary, mut writer), (replica, mut reader)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    writer.ok("SELECT 2");
    writer.ok("SET key 1");
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("SAVE");
    let launch = end(replica, End::Killed);
    let flags = format!("--appendonly yes --replicaof 127.0.0.1 {}", primary.port());
    let (mut replica, mut reader) = begin(launch.flags(&flags));
    for (round, how) in ENDS.into_iter().enumerate() {
        writer.ok(&format!("SET next {round}"));
        wait_for_link(&mut reader);
        wait_for_equality(&mut writer, &mut reader);
        (replica, reader) = restart(replica, how);
    }
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("SELECT 2");
    assert_eq!(reader.run("GET next").text(), "1");
    assert_eq!(syncs(&mut writer), (1, 3));
    drop(replica);
}

#[test]
fn a_log_that_nobody_replicates_has_no_place() {
    let server = start(Kind::Subject, "--appendonly yes");
    let mut client = server.client();
    client.ok("SET key 1");
    client.run("PUBLISH news 1");
    rewrite(&mut client);
    client.ok("SET key 2");
    let (server, mut client) = restart(server, End::InOrder);
    client.ok("SET key 3");
    let bytes = fs::read(newest_part(server.directory())).expect("read");
    assert!(!bytes.contains(&b'#'), "{}", bytes.escape_ascii());
}

#[test]
fn an_old_primary_continues_from_its_snapshot_in_the_database_that_its_stream_had_selected() {
    let [(old, mut old_writer), (promoted, mut writer)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    old_writer.ok("SELECT 5");
    old_writer.ok("SET before snapshot");
    old_writer.ok("SAVE");
    old_writer.ok("SET after snapshot");
    wait_for_equality(&mut old_writer, &mut writer);
    let old = end(old, End::Killed);
    writer.ok("REPLICAOF NO ONE");
    let (_old, mut reader) = begin(old.flags(&format!("--replicaof 127.0.0.1 {}", promoted.port())));
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!(syncs(&mut writer), (0, 1));
    reader.ok("SELECT 5");
    assert_eq!(reader.run("GET after").text(), "snapshot");
}

#[test]
fn replicas_delete_the_keys_that_have_expired_when_their_primary_reloads_its_data() {
    let [(_primary, mut writer), (_replica, mut reader)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.ok("SET kept 1");
    writer.ok("SET expiring 1 PX 1");
    wait_for_offset(&mut writer, &mut reader);
    writer.ok("DEBUG RELOAD");
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    until("both have deleted it", || {
        writer.run("DBSIZE").integer() == 1 && reader.run("DBSIZE").integer() == 1
    });
    wait_for_equality(&mut writer, &mut reader);
}
