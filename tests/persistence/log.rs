//! The append-only file: its contents, the files that it consists of, and how it is enabled and disabled.

use crate::support::client::encode;
use crate::support::server::subject_is_redis;
use crate::support::{Client, Launch, Server, Value, eventually};
use crate::{begin, digest, encoded, manifest, names, part, refused_after, restart, rewrite, set, start};
use crate::{restart_after, wait_for_jobs};
use std::fs;
use std::io::Write;
use std::path::Path;

fn contents(directory: &Path, name: &str) -> Vec<u8> {
    fs::read(part(directory, name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\r\\n", "|")
}

/// Commands that are logged in another form than called, or not at all; `{}` is a time in the future.
const SCRIPT: &str = "SET k v\nGET k\nSELECT 4\nSET k v\nSELECT 0\nDEL missing\nAPPEND k w\n\
    SADD set a\nSPOP set\nSADD set a b c\nSPOP set 3\nSADD set z\nSRANDMEMBER set\n\
    SET t v PXAT {}\nPEXPIREAT k {}\nPERSIST k\nGETEX k PXAT {}\nGETEX k PERSIST\nGETDEL k\nINCRBYFLOAT f 1.5\n\
    HINCRBYFLOAT hash f 2.5\nRPUSH list a b c\nBLPOP list 0\nLMPOP 1 list RIGHT COUNT 1\nBLMOVE list other LEFT RIGHT 0\n\
    ZADD scores 1 a 2 b\nZPOPMIN scores\nBZPOPMAX scores 0\nXADD s 1-1 f v\nXADD s MAXLEN = 1 2-1 f v\n\
    XGROUP CREATE s g 0\nXREADGROUP GROUP g c STREAMS s >\nXACK s g 2-1\nXSETID s 9-9\n\
    SETEX gone 1000 v\nPEXPIREAT gone 1\nSET nx v NX\nSET nx w NX\nMSET a 1 b 2\nRENAME a c\nCOPY b d\nFLUSHDB\n\
    PFADD hll a b\nPFADD hll a\nPFCOUNT hll\nSETRANGE r 2 x\nSETBIT bits 7 1\nBITFIELD bits INCRBY u8 0 1\n\
    GEOADD geo 1 1 m\nSORT list STORE sorted\nSWAPDB 0 1\nMOVE missing 3\nUNLINK missing hll\nFLUSHALL\nFLUSHALL";

/// Everything in the AOF after the first SELECT, byte for byte as Redis writes it for the same commands.
#[test]
fn the_log_of_a_script_is_that_of_redis() {
    let in_future = "99999999999999";
    let logs = [Launch::subject(), Launch::redis()].map(|launch| {
        let server = start(launch.flags("--appendonly yes --appendfsync always"));
        let mut client = server.client();
        for line in SCRIPT.replace("{}", in_future).lines() {
            let reply = client.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        contents(server.directory(), "1.incr.aof")
    });
    // Times of reads and of expiries depend on the time of the call.
    let is_time = |word: &str| word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit());
    let masked = |word: &str| if is_time(word) { "(time)" } else { word }.to_string();
    let [here, there] = logs.map(|log| shown(&log).split('|').map(masked).collect::<Vec<_>>().join("|"));
    // The group's read counter, which Redis propagates since 7.4, and the MULTI and EXEC that the second call requires.
    let progress = "*7|$6|XGROUP|$5|SETID|$1|s|$1|g|$3|2-1|$11|ENTRIESREAD|$1|2|*1|$4|EXEC|";
    let [here, there] =
        [here, there].map(|log| log.replacen(progress, "", 1).replacen("*1|$5|MULTI|", "", 1));
    assert_eq!(here, there);
    assert!(here.len() > 1000, "{here}");
}

#[test]
fn relative_times_are_logged_as_absolute_ones() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    let before: i64 = client.run("TIME").elements()[0].text().parse().expect("seconds");
    for line in ["SET a v EX 100", "SETEX b 100 v", "SET c v", "EXPIRE c 100", "SET d v", "GETEX d EX 100"] {
        client.run(line);
    }
    let log = shown(&contents(server.directory(), "1.incr.aof"));
    let times: Vec<i64> = log
        .split('|')
        .filter(|word| word.len() == 13)
        .map(|word| word.parse().expect("milliseconds"))
        .collect();
    assert_eq!(times.len(), 4, "{log}");
    for time in times {
        assert!((before * 1000 + 100_000..before * 1000 + 160_000).contains(&time), "{time}");
    }
    assert!(!log.to_uppercase().contains("EX|$3|100|"), "{log}");
    let server = restart(server);
    for key in ["a", "b", "c", "d"] {
        let left = server.client().run(&format!("TTL {key}")).integer();
        assert!((30..=100).contains(&left), "{key}: {left}");
    }
}

#[test]
fn commands_are_annotated_with_the_time_if_that_is_wanted() {
    let server = begin("--appendonly yes --aof-timestamp-enabled yes");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SET k w");
    let log = shown(&contents(server.directory(), "1.incr.aof"));
    let first = log.split('|').next().expect("a line");
    let second: i64 = first.strip_prefix("#TS:").expect("an annotation").parse().expect("a number");
    let now: i64 = client.run("TIME").elements()[0].text().parse().expect("seconds");
    assert!((now - 60..=now).contains(&second), "{log}");
    rewrite(&mut client);
    client.ok("SET k x");
    let server = restart(server);
    assert_eq!(server.client().run("GET k").text(), "x");
}

#[test]
fn a_manifest_names_the_parts_through_starts_and_rewrites() {
    let server = begin("--appendonly yes");
    let directory = server.directory().to_path_buf();
    let first = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest(&directory), first);
    let log = directory.join("appendonlydir");
    let files = ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"];
    assert_eq!(names(&log), set(&files));
    let mut client = server.client();
    client.ok("SET k v");
    let server = restart(server);
    assert_eq!(manifest(&directory), first, "a start changes nothing");
    let mut client = server.client();
    client.ok("SET l v");
    for number in 2..5 {
        rewrite(&mut client);
        client.run("INCR count");
        eventually("the replaced files are removed", || (names(&log).len() == 3).then_some(()));
        assert_eq!(
            manifest(&directory),
            format!(
                "file appendonly.aof.{number}.base.rdb seq {number} type b\n\
                 file appendonly.aof.{number}.incr.aof seq {number} type i\n"
            )
        );
    }
    let before = digest(&mut client);
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(digest(&mut client), before);
    assert_eq!(client.run("GET count").text(), "3");
}

#[test]
fn history_is_kept_while_it_is_not_to_be_removed() {
    let server = begin("--appendonly yes --aof-disable-auto-gc yes");
    let directory = server.directory().to_path_buf();
    let log = directory.join("appendonlydir");
    let mut client = server.client();
    client.ok("SET k v");
    rewrite(&mut client);
    rewrite(&mut client);
    assert_eq!(names(&log).len(), 7, "{:?}", names(&log));
    let mut lines: Vec<String> = manifest(&directory).lines().map(String::from).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "file appendonly.aof.1.base.rdb seq 1 type h",
            "file appendonly.aof.1.incr.aof seq 1 type h",
            "file appendonly.aof.2.base.rdb seq 2 type h",
            "file appendonly.aof.2.incr.aof seq 2 type h",
            "file appendonly.aof.3.base.rdb seq 3 type b",
            "file appendonly.aof.3.incr.aof seq 3 type i",
        ]
    );
    // The next start removes it.
    let server = start(server.stop().flags("--aof-disable-auto-gc no"));
    eventually("history is removed", || (names(&log).len() == 3).then_some(()));
    assert!(!manifest(&directory).contains("type h"));
    assert_eq!(server.client().run("GET k").text(), "v");
}

/// Writes numbers to a list while `meanwhile` runs. Returns how many were written.
fn write_while(server: &Server, meanwhile: impl FnOnce(&mut Client)) -> i64 {
    let port = server.port();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::tcp(port).expect("a connection");
            let mut count = client.run("LLEN list").integer();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                count += 1;
                assert_eq!(client.run(&format!("RPUSH list {count}")).integer(), count);
            }
            count
        });
        let mut client = server.client();
        client.wait_for_info("total_commands_processed", |count| count > 20);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&mut client)));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let count = writer.join().expect("the writer");
        outcome.expect("the result of `meanwhile`");
        count
    })
}

fn assert_list(client: &mut Client, count: i64) {
    let found = client.run("LRANGE list 0 -1").elements();
    assert!(
        found.iter().map(Value::text).eq((1..=count).map(|n| n.to_string())),
        "{} of {count}",
        found.len()
    );
}

#[test]
fn nothing_is_lost_when_the_log_is_switched_on_under_writes() {
    let server = begin("");
    let count = write_while(&server, |client| {
        client.ok("CONFIG SET appendonly yes");
        wait_for_jobs(client);
        let size = client.info_number("aof_current_size");
        client.wait_for_info("aof_current_size", |now| now > size + 1000);
    });
    let server = start(server.stop().flags("--appendonly yes"));
    assert_list(&mut server.client(), count);
}

#[test]
fn nothing_is_lost_by_rewrites_under_writes() {
    for preamble in ["yes", "no"] {
        let server = begin(&format!("--appendonly yes --aof-use-rdb-preamble {preamble}"));
        let count = write_while(&server, |client| (0..4).for_each(|_| rewrite(client)));
        let server = restart(server);
        assert_list(&mut server.client(), count);
    }
}

#[test]
fn a_log_that_is_switched_off_stays_as_it_is_and_is_replaced_by_the_next_one() {
    let server = begin("--appendonly yes");
    let directory = server.directory().to_path_buf();
    let mut client = server.client();
    client.ok("SET k 1");
    client.ok("CONFIG SET appendonly no");
    assert_eq!(client.info_number("aof_enabled"), 0);
    let before = contents(&directory, "1.incr.aof");
    client.ok("SET k 2");
    assert_eq!(contents(&directory, "1.incr.aof"), before);
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    assert_eq!(client.info_number("aof_enabled"), 1);
    client.ok("SET l 3");
    assert_eq!(
        manifest(&directory),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    eventually("the old parts are removed", || {
        (names(&directory.join("appendonlydir")).len() == 3).then_some(())
    });
    let server = restart(server);
    assert_eq!(
        server.client().run("MGET k l").elements().iter().map(Value::text).collect::<Vec<_>>(),
        ["2", "3"]
    );
}

/// A restart still loads the files of the earlier AOF until the new one is complete.
#[test]
fn a_log_that_is_switched_on_beside_an_earlier_one_takes_its_place() {
    let server = begin("--appendonly yes");
    server.client().ok("SET old v");
    let server = start(server.stop().flags("--appendonly no"));
    let directory = server.directory().to_path_buf();
    let mut client = server.client();
    assert_eq!(client.run("EXISTS old").integer(), 0);
    client.ok("SET new v");
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    assert_eq!(
        manifest(&directory),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    let server = start(server.stop().flags("--appendonly yes"));
    assert_eq!(server.client().run("KEYS *").elements().iter().map(Value::text).collect::<Vec<_>>(), ["new"]);
}

#[test]
fn a_log_that_is_switched_on_during_a_snapshot_begins_after_it() {
    let server = begin("--rdb-key-save-delay 2000");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.run("BGSAVE");
    client.ok("CONFIG SET appendonly yes");
    assert_eq!(client.info_number("aof_enabled"), 1);
    assert_eq!(client.info_number("aof_rewrite_scheduled"), 1);
    client.ok("SET k v");
    wait_for_jobs(&mut client);
    client.ok("SET l v");
    let server = start(server.stop().flags("--appendonly yes"));
    assert_eq!(server.client().run("DBSIZE").integer(), 102);
}

/// The base contains the changes that the transaction has made so far, and the first incremental file the others.
#[test]
fn a_log_that_is_switched_on_within_a_transaction_has_each_change_once() {
    let server = begin("");
    let mut client = server.client();
    let transaction =
        ["INCR n", "RPUSH list a", "CONFIG SET appendonly yes", "INCR n", "RPUSH list b", "INCR n"];
    client.ok("MULTI");
    for line in transaction {
        assert_eq!(client.run(line).text(), "QUEUED");
    }
    assert_eq!(client.run("EXEC").elements().len(), transaction.len());
    wait_for_jobs(&mut client);
    let before = digest(&mut client);
    let server = start(server.stop().flags("--appendonly yes"));
    let mut client = server.client();
    assert_eq!(client.run("GET n").text(), "3");
    assert_eq!(digest(&mut client), before);
}

#[test]
fn a_log_that_is_switched_off_before_its_first_base_leaves_nothing() {
    let server = begin("");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    client.ok("CONFIG SET appendonly yes");
    assert_eq!(client.info_number("aof_rewrite_in_progress"), 1);
    client.ok("SET k v");
    client.ok("CONFIG SET appendonly no");
    assert_eq!(client.info_number("aof_enabled"), 0);
    wait_for_jobs(&mut client);
    let left = names(&server.directory().join("appendonlydir"));
    assert!(left.is_empty() || subject_is_redis(), "{left:?}");
    assert!(!names(server.directory()).iter().any(|name| name.starts_with("temp-")));
    client.ok("CONFIG SET rdb-key-save-delay 0");
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    let server = start(server.stop().flags("--appendonly yes"));
    assert_eq!(server.client().run("DBSIZE").integer(), 101);
}

#[test]
fn a_log_of_one_file_as_older_versions_write_it_is_taken_over() {
    let old = encoded(&["SELECT 2", "SET k v", "SELECT 0", "RPUSH list a b"]);
    let launch = Launch::subject().flags("--appendonly yes --enable-debug-command yes");
    fs::write(launch.directory().join("appendonly.aof"), &old).expect("written");
    let server = start(launch);
    let directory = server.directory().to_path_buf();
    let mut client = server.client();
    assert_eq!(client.run("LLEN list").integer(), 2);
    client.ok("SELECT 2");
    assert_eq!(client.run("GET k").text(), "v");
    assert!(!names(&directory).contains("appendonly.aof"));
    assert_eq!(
        manifest(&directory),
        "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    client.ok("SET k w");
    let server = restart(server);
    let mut client = server.client();
    client.ok("SELECT 2");
    assert_eq!(client.run("GET k").text(), "w");
    rewrite(&mut client);
    assert_eq!(
        manifest(&directory),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    eventually("the old file is removed", || {
        (!names(&directory.join("appendonlydir")).contains("appendonly.aof")).then_some(())
    });
}

#[test]
fn a_log_is_rewritten_when_it_has_grown_by_its_percentage() {
    let server =
        begin("--appendonly yes --auto-aof-rewrite-percentage 100 --auto-aof-rewrite-min-size 20000");
    let mut client = server.client();
    for _ in 0..100 {
        client.call(&["SET", "k", &"v".repeat(100)]);
    }
    assert_eq!(client.info_number("aof_rewrites"), 0);
    for _ in 0..100 {
        client.call(&["SET", "k", &"v".repeat(100)]);
    }
    client.wait_for_info("aof_rewrites", |count| count == 1);
    wait_for_jobs(&mut client);
    server.wait_for_log("Starting automatic rewriting of AOF on ");
    // At most the writes since the start of the rewrite are in the file.
    assert!(client.info_number("aof_current_size") < 15_000);
    assert!(client.info_number("aof_base_size") <= client.info_number("aof_current_size"));
    client.ok("CONFIG SET auto-aof-rewrite-percentage 0");
    for _ in 0..300 {
        client.call(&["SET", "k", &"v".repeat(100)]);
    }
    let cycles = client.info_number("eventloop_cycles");
    client.wait_for_info("eventloop_cycles", |now| now > cycles + 5);
    assert_eq!(client.info_number("aof_rewrites"), 1);
}

#[test]
fn a_base_of_commands_is_what_was_saved() {
    let server = begin("--appendonly yes --aof-use-rdb-preamble no");
    let directory = server.directory().to_path_buf();
    assert!(manifest(&directory).starts_with("file appendonly.aof.1.base.aof seq 1 type b\n"));
    let mut client = server.client();
    for line in [
        "SET k v",
        "SET n 5",
        "RPUSH list a b",
        "SADD ints 1 2",
        "SADD set a b",
        "HSET hash f v",
        "ZADD scores 1 a 2.5 b",
        "XADD s 1-1 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
    ] {
        assert!(!client.run(line).is_error(), "{line}");
    }
    client.run("SET timed v EX 1000");
    client.ok("SELECT 7");
    client.ok("SET other v");
    let before = digest(&mut client);
    rewrite(&mut client);
    let base = shown(&contents(&directory, "2.base.aof"));
    assert!(base.contains("SELECT") && base.contains("RPUSH") && base.contains("PEXPIREAT"), "{base}");
    let server = restart(server);
    assert_eq!(digest(&mut server.client()), before);
}

#[test]
fn every_policy_writes_before_the_reply() {
    for policy in ["always", "everysec", "no"] {
        let server = begin(&format!("--appendonly yes --appendfsync {policy}"));
        let mut client = server.client();
        client.ok("SET k v");
        assert!(contents(server.directory(), "1.incr.aof").ends_with(b"$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"));
        assert_eq!(restart(server).client().run("GET k").text(), "v", "{policy}");
    }
}

#[test]
fn the_policy_may_change_while_the_server_runs() {
    let server = begin("--appendonly yes --appendfsync no");
    let mut client = server.client();
    for policy in ["always", "everysec", "no", "always"] {
        client.ok(&format!("CONFIG SET appendfsync {policy}"));
        client.run("INCR count");
    }
    assert_eq!(restart(server).client().run("GET count").text(), "4");
}

#[test]
fn a_rewrite_does_not_keep_writes_from_being_logged_when_syncs_rest() {
    let server = begin("--appendonly yes --appendfsync always --no-appendfsync-on-rewrite yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 100");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    client.run("BGREWRITEAOF");
    client.ok("SET k v");
    let log = contents(server.directory(), "2.incr.aof");
    assert!(log.ends_with(b"$1\r\nv\r\n"), "{}", shown(&log));
    let server = restart(server);
    assert_eq!(server.client().run("GET k").text(), "v", "the base and both parts are loaded");
}

#[test]
fn files_of_other_names_and_places_are_used_as_configured() {
    let server = begin("--appendonly yes --appendfilename my.log --appenddirname logs --dbfilename my.rdb");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SAVE");
    assert_eq!(names(server.directory()), set(&["logs", "my.rdb", "output.log"]));
    assert_eq!(
        names(&server.directory().join("logs")),
        set(&["my.log.1.base.rdb", "my.log.1.incr.aof", "my.log.manifest"])
    );
    assert_eq!(restart(server).client().run("GET k").text(), "v");
}

#[test]
fn the_log_counts_and_not_the_snapshot() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("SET k snapshot");
    client.ok("SAVE");
    client.ok("SET k log");
    let server = restart(server);
    assert_eq!(server.client().run("GET k").text(), "log");
    // Without its AOF, this server loads the snapshot. Redis starts empty, and the next save overwrites the snapshot.
    let server = restart_after(server, |directory| {
        fs::remove_dir_all(directory.join("appendonlydir")).expect("removed");
    });
    let kept = i64::from(!subject_is_redis());
    assert_eq!(server.client().run("DBSIZE").integer(), kept);
}

#[test]
fn a_manifest_that_is_damaged_or_names_what_is_not_there_is_refused() {
    let good = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    for (text, says) in [
        ("", "Found an empty AOF manifest"),
        ("nonsense\n", "Invalid AOF manifest file format"),
        ("file appendonly.aof.1.base.rdb seq 1 type x\n", "Unknown AOF file type"),
        ("file ../appendonly.aof.1.base.rdb seq 1 type b\n", "File can't be a path, just a filename"),
        (&format!("{good}{good}"), "Found duplicate base file information"),
        (
            "file appendonly.aof.2.incr.aof seq 2 type i\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
            "Found a non-monotonic sequence number",
        ),
        (
            "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.9.incr.aof seq 9 type i\n",
            "appendonly.aof.9.incr.aof",
        ),
        (
            "file appendonly.aof.9.base.rdb seq 9 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n",
            "appendonly.aof.9.base.rdb",
        ),
    ] {
        let server = begin("--appendonly yes");
        server.client().ok("SET k v");
        let log = refused_after(server, |directory| {
            fs::write(part(directory, "manifest"), text).expect("written");
        });
        assert!(log.contains(says), "{text}: {log}");
    }
}

#[test]
fn parts_that_a_crash_left_outside_of_the_manifest_are_written_anew() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let server = restart_after(server, |directory| {
        let junk = encoded(&["SET junk v"]);
        for name in ["2.incr.aof", "2.base.rdb"] {
            fs::write(part(directory, name), &junk).expect("written");
        }
        let temporary = directory.join("appendonlydir/temp-appendonly.aof.manifest");
        fs::write(temporary, "half a line").expect("written");
    });
    let mut client = server.client();
    client.ok("SET l v");
    rewrite(&mut client);
    client.ok("SET m v");
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.run("EXISTS junk").integer(), 0);
    assert_eq!(client.run("DBSIZE").integer(), 3);
}

#[test]
fn transactions_in_a_log_are_loaded_whole() {
    let server = begin("--appendonly yes");
    server.client().ok("SET k v");
    let server = restart_after(server, |directory| {
        let more = encoded(&["MULTI", "INCR n", "SELECT 3", "SET k w", "EXEC", "SELECT 0", "INCR n"]);
        let mut file =
            fs::OpenOptions::new().append(true).open(part(directory, "1.incr.aof")).expect("opens");
        file.write_all(&more).expect("written");
    });
    let mut client = server.client();
    assert_eq!(client.run("GET n").text(), "2");
    client.ok("SELECT 3");
    assert_eq!(client.run("GET k").text(), "w");
}

#[test]
fn a_value_of_any_size_comes_back() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    let mut values = Vec::new();
    for (number, len) in [0, 1, 44, 45, 255, 256, 32_767, 32_768, 70_000, 5_000_000].into_iter().enumerate() {
        let value: Vec<u8> = (0..len).map(|i| (i * 31 + number) as u8).collect();
        client.send_raw(&encode(&[b"SET", format!("k{len}").as_bytes(), &value])).expect("sent");
        assert_eq!(client.read_reply().expect("a reply").raw, b"+OK\r\n");
        values.push((format!("k{len}"), value));
    }
    let server = restart(server);
    let mut client = server.client();
    for (key, value) in &values {
        assert!(client.run(&format!("GET {key}")) == Value::Bulk(value.clone()), "{key}");
    }
    rewrite(&mut client);
    let server = restart(server);
    for (key, value) in &values {
        assert!(server.client().run(&format!("GET {key}")) == Value::Bulk(value.clone()), "{key}");
    }
}

#[test]
fn a_log_is_switched_on_with_what_is_set_beside_it() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    assert!(client.run("CONFIG SET appendonly yes dir /nonexistent").is_error());
    assert_eq!(client.info_number("aof_enabled"), 0);
    client.ok("CONFIG SET appendonly yes aof-use-rdb-preamble no");
    wait_for_jobs(&mut client);
    assert!(
        manifest(server.directory()).contains("appendonly.aof.1.base.aof"),
        "{}",
        manifest(server.directory())
    );
}

#[test]
fn a_server_that_restarts_itself_has_its_data() {
    for flags in ["--appendonly yes", "--save 3600 1000"] {
        let server = begin(flags);
        let mut client = server.client();
        client.ok("SET k v");
        client.send(&["DEBUG", "RESTART"]).expect("sent");
        client.wait_closed();
        let mut client = eventually("it is there again", || {
            let mut client = server.try_client()?;
            client.try_call(&["PING"]).ok().filter(|reply| reply.value.text() == "PONG").map(|_| client)
        });
        assert_eq!(client.run("GET k").text(), "v", "{flags}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_at_the_start_and_by_config_set() {
    let launch = Launch::subject().flags("--appendonly yes");
    fs::write(launch.directory().join("appendonlydir"), "a file").expect("written");
    let mut server = launch.start_or_exit();
    assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
    let launch = server.stop().without_flags(2);
    if subject_is_redis() {
        // Redis exits within the command.
        return;
    }
    let server = start(launch);
    let mut client = server.client();
    assert!(client.run("CONFIG SET appendonly yes").is_error());
    assert_eq!(client.run("CONFIG GET appendonly").elements()[1].text(), "no");
    assert_eq!(client.info_number("aof_enabled"), 0);
    client.ok("SET k v");
    assert!(client.run("BGREWRITEAOF").is_error());
}

/// Enabling the AOF in the configuration file must not lose the snapshot's data, nor overwrite it at the next save.
#[test]
fn the_first_base_of_a_log_is_made_from_an_existing_snapshot() {
    if subject_is_redis() {
        return;
    }
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SELECT 3");
    client.run("RPUSH list a b");
    client.ok("SAVE");
    let launch = server.stop().flags("--appendonly yes");
    let server = start(launch);
    let mut client = server.client();
    assert_eq!(client.run("GET k").text(), "v");
    assert!(server.log().contains("dump.rdb"), "{}", server.log());
    client.ok("SET j w");
    let launch = server.stop();
    // The next start loads the AOF, not the snapshot.
    fs::remove_file(launch.directory().join("dump.rdb")).expect("removed");
    let server = start(launch);
    let mut client = server.client();
    assert_eq!((client.run("GET k").text(), client.run("GET j").text()), ("v".into(), "w".into()));
    client.ok("SELECT 3");
    assert_eq!(client.run("LLEN list").integer(), 2);
}

/// The manifest is lost, the data is not: the server neither appends to the files nor overwrites them.
#[test]
fn files_of_a_log_whose_manifest_was_lost_are_left_alone() {
    if subject_is_redis() {
        // Redis appends to them, and loads them at the next start.
        return;
    }
    for is_on in [true, false] {
        let server = begin("--appendonly yes");
        let mut client = server.client();
        client.ok("SET old v");
        let directory = server.directory().to_path_buf();
        let read = |name: &str| fs::read(part(&directory, name)).expect("a file of the log");
        let before = ["1.base.rdb", "1.incr.aof"].map(read);
        let launch = server.stop().flags(if is_on { "" } else { "--appendonly no" });
        fs::remove_file(part(&directory, "manifest")).expect("removed");
        let server = start(launch);
        let mut client = server.client();
        if !is_on {
            client.ok("CONFIG SET appendonly yes");
            wait_for_jobs(&mut client);
        }
        assert_eq!(client.run("EXISTS old").integer(), 0);
        client.ok("SET new v");
        assert_eq!(["1.base.rdb", "1.incr.aof"].map(read), before);
        if is_on {
            let says = "has AOF files, but not their manifest appendonly.aof.manifest: they are neither loaded nor \
                        changed (appendonly.aof.1.base.rdb, appendonly.aof.1.incr.aof)";
            assert!(server.log().contains(says), "{}", server.log());
        }
        let server = start(server.stop().flags("--appendonly yes"));
        let mut client = server.client();
        assert_eq!(client.run("EXISTS old new").integer(), 1);
        rewrite(&mut client);
        assert_eq!(["1.base.rdb", "1.incr.aof"].map(read), before);
    }
}

#[test]
fn a_start_from_a_snapshot_says_whether_there_was_a_log_before() {
    if subject_is_redis() {
        // Redis does not load the snapshot.
        return;
    }
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SAVE");
    let server = start(server.stop().flags("--appendonly yes"));
    let says = ["There is no AOF yet", "The AOF has no manifest"]
        .map(|why| format!("{why}: the first base of a new one"));
    assert!(server.log().contains(&says[0]) && !server.log().contains(&says[1]), "{}", server.log());
    let launch = server.stop();
    fs::remove_file(part(launch.directory(), "manifest")).expect("removed");
    let server = start(launch);
    assert!(server.log().contains("has AOF files, but not their manifest"), "{}", server.log());
    assert!(!server.log().contains(&says[0]) && server.log().contains(&says[1]), "{}", server.log());
    assert_eq!(server.client().run("GET k").text(), "v");
}

/// After a rewrite while the AOF is disabled, the numbers of the old incremental files are only in the history.
#[test]
fn a_part_does_not_get_the_name_of_a_history_file() {
    if subject_is_redis() {
        // Redis appends to the file, and removes it at the next start.
        return;
    }
    let server = begin("--appendonly yes --aof-disable-auto-gc yes");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("CONFIG SET appendonly no");
    client.run("BGREWRITEAOF");
    wait_for_jobs(&mut client);
    assert!(manifest(server.directory()).contains("appendonly.aof.1.incr.aof seq 1 type h"));
    let server = restart(server);
    server.client().ok("SET l v");
    // Deleting history deletes no other file.
    let server = start(server.stop().flags("--aof-disable-auto-gc no"));
    let log = server.directory().join("appendonlydir");
    eventually("history is removed", || (names(&log).len() == 3).then_some(()));
    server.client().ok("SET m v");
    let server = restart(server);
    assert_eq!(server.client().run("EXISTS k l m").integer(), 3);
}

#[test]
fn killing_the_rewrite_child_is_logged_with_the_text_of_redis() {
    let server = begin("--appendonly yes --rdb-key-save-delay 1000000");
    let mut client = server.client();
    client.ok("SET k v");
    client.run("BGREWRITEAOF");
    client.ok("CONFIG SET appendonly no");
    server.wait_for_log("Killing running AOF rewrite child: ");
}
