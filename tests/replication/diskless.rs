//! `repl-diskless-load`: a replica loads the snapshot while it receives it.
//!
//! In most tests the primary is the test itself, which sends a snapshot in halves and looks at the replica in between.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use crate::links::accept_replica;
use crate::support::client::encode;
use crate::support::snapshot::Large;
use crate::support::{Client, Random, Server};
use crate::{
    Kind, PAIRS, field, field_of, follow, in_words_of_redis, start, until, wait_for_equality, wait_for_link,
    write_much,
};

const LIBRARY: &str = "#!lua name=library\nredis.register_function{function_name='answer', \
                       callback=function() return 42 end, flags={'no-writes'}}";
const OTHER_LIBRARY: &str = "#!lua name=other\nredis.register_function{function_name='other', \
                             callback=function() return 43 end, flags={'no-writes'}}";

/// The mark after a snapshot of unknown length.
const MARK: &str = "0123456789abcdef0123456789abcdef01234567";

/// The file of a data set with many keys, a function and a large value. `mark` is in it.
fn snapshot(kind: Kind, mark: &str) -> Vec<u8> {
    let server = start(kind, "");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 20000");
    client.ok(&format!("SET mark {mark}"));
    assert!(!client.run("XADD stream 1-1 field value").is_error());
    assert_eq!(client.run("SETRANGE large 300000 end").integer(), 300_003);
    assert_eq!(client.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "library");
    client.ok("SAVE");
    std::fs::read(server.directory().join("dump.rdb")).expect("a snapshot")
}

/// How the end of a snapshot is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Mark,
}

/// A primary that the test plays.
struct Primary {
    listener: TcpListener,
}

impl Primary {
    fn new() -> Primary {
        Primary { listener: TcpListener::bind("127.0.0.1:0").expect("bound") }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// Accepts the replica, and announces a snapshot.
    fn begin(&self, id: char, offset: u64, snapshot: &[u8], framing: Framing) -> TcpStream {
        let mut stream = accept_replica(&self.listener);
        let length = match framing {
            Framing::Length => snapshot.len().to_string(),
            Framing::Mark => format!("EOF:{MARK}"),
        };
        let head = format!("+FULLRESYNC {} {offset}\r\n${length}\r\n", id.to_string().repeat(40));
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    }

    /// Sends a whole snapshot to the next replica that connects.
    fn send_all(&self, id: char, offset: u64, snapshot: &[u8]) -> TcpStream {
        let mut stream = self.begin(id, offset, snapshot, Framing::Length);
        stream.write_all(snapshot).expect("sent");
        stream
    }
}

fn end(stream: &mut TcpStream, framing: Framing) {
    if framing == Framing::Mark {
        stream.write_all(MARK.as_bytes()).expect("sent");
    }
}

fn replica_of(kind: Kind, primary: &Primary, flags: &str) -> (Server, Client) {
    let replica = start(kind, flags);
    let mut client = replica.client();
    client.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    (replica, client)
}

fn wait_until_loaded_bytes(client: &mut Client, least: i64) {
    until("the first half", || {
        let loaded = field_of(&client.run("INFO persistence").text(), "loading_loaded_bytes");
        loaded.parse().is_ok_and(|bytes: i64| bytes >= least)
    });
}

#[test]
fn every_mode_gives_a_replica_the_data_of_its_primary() {
    for (of, at) in PAIRS.into_iter().filter(|(_, replica)| *replica == Kind::Subject) {
        for sync in ["yes", "no"] {
            for (mode, own) in
                [("disabled", false), ("on-empty-db", false), ("on-empty-db", true), ("swapdb", true)]
            {
                let primary = start(of, &format!("--repl-diskless-sync {sync}"));
                let mut writer = primary.client();
                write_much(&mut writer, &mut Random::new(7), 300);
                writer.ok("SET large x");
                assert_eq!(writer.run("SETRANGE large 3000000 end").integer(), 3_000_003);
                assert_eq!(writer.call(&["FUNCTION", "LOAD", LIBRARY]).text(), "library");
                let replica = start(
                    at,
                    &format!("--appendonly yes --dbfilename other.rdb --repl-diskless-load {mode}"),
                );
                let mut reader = replica.client();
                if own {
                    reader.ok("SET own data");
                    assert_eq!(reader.call(&["FUNCTION", "LOAD", OTHER_LIBRARY]).text(), "other");
                }
                follow(&mut reader, &primary);
                wait_for_equality(&mut writer, &mut reader);
                write_much(&mut writer, &mut Random::new(8), 100);
                wait_for_equality(&mut writer, &mut reader);
                let case = format!("{of:?}, diskless sync {sync}, {mode}, own data: {own}");
                assert_eq!(
                    reader.run("FCALL_RO answer 0").is_error(),
                    writer.run("FCALL_RO answer 0").is_error()
                );
                assert_eq!(reader.run("FUNCTION LIST"), writer.run("FUNCTION LIST"), "{case}");
                let parses = mode == "swapdb" || mode == "on-empty-db" && !own;
                let to = if parses { "to parser" } else { "to disk" };
                replica.wait_for_log(&format!(
                    "from master {}{to}",
                    if sync == "yes" { "with EOF " } else { "" }
                ));
                assert_eq!(replica.directory().join("other.rdb").exists(), !parses, "{case}");
                // Its AOF has the new data.
                reader.wait_for_info("aof_rewrite_in_progress", |value| value == 0);
                until("the rewritten AOF", || reader.info("aof_last_bgrewrite_status") == "ok");
                // A key that expires meanwhile is gone at once on the primary, but only with its DEL on the replica.
                reader.ok("DEBUG LOADAOF");
                wait_for_equality(&mut writer, &mut reader);
            }
        }
    }
}

#[test]
fn a_replica_answers_while_half_of_a_snapshot_has_arrived() {
    let snapshot = snapshot(Kind::Redis, MARK);
    let (first, second) = snapshot.split_at(snapshot.len() / 2);
    for framing in [Framing::Length, Framing::Mark] {
        for mode in ["on-empty-db", "swapdb"] {
            let primary = Primary::new();
            let (replica, mut client) =
                replica_of(Kind::Subject, &primary, &format!("--repl-diskless-load {mode}"));
            let mut stream = primary.begin('a', 0, &snapshot, framing);
            stream.write_all(first).expect("sent");
            wait_until_loaded_bytes(&mut client, first.len() as i64 - 1000);
            let info = client.run("INFO persistence").text();
            assert!(info.contains("\r\nloading:1\r\nasync_loading:0\r\n"), "{info}");
            assert!(client.run("PING").text().starts_with("LOADING"));
            assert!(client.run("GET mark").text().starts_with("LOADING"));
            assert_eq!(field(&mut client, "master_sync_in_progress"), "1");
            for piece in second.chunks(100_001) {
                stream.write_all(piece).expect("sent");
            }
            end(&mut stream, framing);
            wait_for_link(&mut client);
            assert_eq!(client.run("DBSIZE").integer(), 20_003, "{mode}, {framing:?}");
            assert_eq!(client.run("GET mark").text(), MARK);
            assert_eq!(client.run("FUNCTION LIST").elements().len(), 1);
            assert!(client.info_number("rdb_changes_since_last_save") > 0, "no file has this data");
            replica.wait_for_log("Finished with success");
            // The stream follows.
            stream.write_all(&encode(&["SET", "after", "1"])).expect("sent");
            until("the stream", || client.run("EXISTS after").integer() == 1);
        }
    }
}

#[test]
fn a_replica_loads_a_single_value_as_its_elements_arrive() {
    // Loading may stop up to this many bytes before the end of what was sent: within an element.
    const ELEMENT: usize = 100;
    for kind in Large::ALL {
        let file = kind.snapshot(50_000);
        for mode in ["on-empty-db", "swapdb"] {
            let primary = Primary::new();
            let (_replica, mut client) =
                replica_of(Kind::Subject, &primary, &format!("--repl-diskless-load {mode}"));
            // First, the link is cut in the middle of the value.
            let mut stream = primary.begin('a', 0, &file, Framing::Length);
            stream.write_all(&file[..file.len() / 2]).expect("sent");
            wait_until_loaded_bytes(&mut client, (file.len() / 2 - ELEMENT) as i64);
            assert_eq!(client.info_number("lazyfreed_objects"), 0);
            drop(stream);
            until("the end of loading", || client.info_number("loading") == 0);
            assert_eq!(client.run("DBSIZE").integer(), 0, "{kind:?}, {mode}");
            // The half that was loaded is freed in the background.
            until("the half is freed", || client.info_number("lazyfreed_objects") == 1);
            let mut stream = primary.begin('a', 0, &file, Framing::Mark);
            let mut sent = 0;
            for piece in file.chunks(file.len() / 20) {
                stream.write_all(piece).expect("sent");
                sent += piece.len();
                if sent < file.len() {
                    wait_until_loaded_bytes(&mut client, (sent - ELEMENT) as i64);
                    assert!(client.run("PING").text().starts_with("LOADING"), "{kind:?}, {mode}");
                }
            }
            end(&mut stream, Framing::Mark);
            wait_for_link(&mut client);
            assert_eq!(client.run(&kind.count_command()).integer(), 50_000, "{kind:?}, {mode}");
        }
    }
}

/// A replica with `swapdb` that has followed the history `a`, and is disconnected.
fn follower(kind: Kind, primary: &Primary, flags: &str) -> (Server, Client) {
    let (replica, mut client) = replica_of(kind, primary, &format!("--repl-diskless-load swapdb {flags}"));
    let server = start(Kind::Redis, "");
    let mut writer = server.client();
    writer.ok("SET mark old");
    writer.ok("SET only-old 1");
    assert_eq!(writer.call(&["FUNCTION", "LOAD", OTHER_LIBRARY]).text(), "other");
    writer.ok("SAVE");
    let old = std::fs::read(server.directory().join("dump.rdb")).expect("a snapshot");
    let stream = primary.send_all('a', 0, &old);
    wait_for_link(&mut client);
    drop(stream);
    (replica, client)
}

#[test]
fn old_data_of_the_same_history_is_served_until_the_new_data_takes_its_place() {
    let snapshot = snapshot(Kind::Redis, "new");
    let (first, second) = snapshot.split_at(snapshot.len() / 2);
    for framing in [Framing::Length, Framing::Mark] {
        let primary = Primary::new();
        let (replica, mut client) = follower(Kind::Subject, &primary, "");
        let mut blocked = replica.client();
        blocked.send(&["XREAD", "BLOCK", "0", "STREAMS", "stream", "0"]).expect("sent");
        client.wait_for_info("blocked_clients", |count| count == 1);
        let (mut of_present, mut of_absent, mut of_other) =
            (replica.client(), replica.client(), replica.client());
        for (watcher, key) in
            [(&mut of_present, "only-old"), (&mut of_absent, "key:1"), (&mut of_other, "never")]
        {
            watcher.ok(&format!("WATCH {key}"));
            watcher.ok("MULTI");
            assert_eq!(watcher.run("PING").text(), "QUEUED");
        }
        let mut tracking = replica.client();
        assert!(!tracking.run("HELLO 3").is_error());
        tracking.ok("CLIENT TRACKING ON");
        assert_eq!(tracking.run("GET mark").text(), "old");
        let mut stream = primary.begin('a', 500, &snapshot, framing);
        stream.write_all(first).expect("sent");
        wait_until_loaded_bytes(&mut client, first.len() as i64 - 1000);
        let info = client.run("INFO persistence").text();
        assert!(info.contains("\r\nloading:0\r\nasync_loading:1\r\n"), "{info}");
        assert_eq!(client.run("PING").text(), "PONG");
        assert_eq!((client.run("GET mark").text(), client.run("DBSIZE").integer()), ("old".into(), 2));
        assert_eq!(client.run("FCALL other 0").integer(), 43);
        assert!(client.run("SET a b").text().starts_with("READONLY"));
        for refused in
            ["REPLICAOF NO ONE", "BGSAVE", "SAVE", "BGREWRITEAOF", "CONFIG SET repl-diskless-load disabled"]
        {
            assert!(client.run(refused).text().starts_with("LOADING"), "{refused}");
        }
        stream.write_all(second).expect("sent");
        end(&mut stream, framing);
        wait_for_link(&mut client);
        assert_eq!((client.run("GET mark").text(), client.run("DBSIZE").integer()), ("new".into(), 20_003));
        assert_eq!(client.run("FCALL answer 0").integer(), 42);
        assert!(client.run("FCALL other 0").is_error());
        assert!(of_present.run("EXEC").is_null());
        assert!(of_absent.run("EXEC").is_null());
        assert_eq!(of_other.run("EXEC").elements().len(), 1);
        assert!(!blocked.read_reply().expect("a reply").value.is_null());
        let invalidated = tracking.read_reply().expect("a push").value.elements();
        assert!(invalidated[1].is_null(), "all keys: {invalidated:?}");
        replica.wait_for_log("MASTER <-> REPLICA sync: Discarding old DB in background");
    }
}

/// Ways in which a transfer fails after its first half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    Cut,
    Damage,
    Silence,
    Surplus,
}

#[test]
fn a_failed_transfer_leaves_the_old_data_or_nothing() {
    let good = snapshot(Kind::Redis, "new");
    let half = good.len() / 2;
    let mut damaged = good.clone();
    damaged[good.len() - 4] ^= 0x55;
    for failing in [Failing::Cut, Failing::Damage, Failing::Silence, Failing::Surplus] {
        // An empty server, one with other data, one with earlier data.
        for (mode, id) in [("on-empty-db", 'a'), ("swapdb", 'b'), ("swapdb", 'a')] {
            let case = format!("{failing:?}, {mode}, {id}");
            let primary = Primary::new();
            let timeout = if failing == Failing::Silence { "--repl-timeout 1" } else { "" };
            let (replica, mut client) = if mode == "swapdb" {
                follower(Kind::Subject, &primary, timeout)
            } else {
                replica_of(Kind::Subject, &primary, &format!("--repl-diskless-load {mode} {timeout}"))
            };
            let before = client.run("DEBUG DIGEST");
            let offset = field(&mut client, "master_repl_offset");
            let mut stream = primary.begin(id, 500, &good, Framing::Mark);
            stream.write_all(&good[..half]).expect("sent");
            wait_until_loaded_bytes(&mut client, half as i64 - 1000);
            match failing {
                Failing::Cut => drop(stream),
                Failing::Damage => {
                    stream.write_all(&damaged[half..]).expect("sent");
                    // The replica may have left already.
                    let _ = stream.write_all(MARK.as_bytes());
                }
                Failing::Surplus => {
                    stream.write_all(&good[half..]).expect("sent");
                    let _ = stream.write_all(b"surplus");
                    let _ = stream.write_all(MARK.as_bytes());
                }
                Failing::Silence => {}
            }
            replica.wait_for_log("Failed trying to load the MASTER synchronization DB from socket");
            until("the end of loading", || {
                let info = client.run("INFO persistence").text();
                info.contains("\r\nloading:0\r\nasync_loading:0\r\n")
            });
            assert_eq!(client.run("DEBUG DIGEST"), before, "{case}");
            assert_eq!(client.run("DBSIZE").integer(), if mode == "swapdb" { 2 } else { 0 }, "{case}");
            assert_eq!(client.run("FCALL other 0").is_error(), mode != "swapdb", "{case}");
            if mode == "swapdb" {
                assert_eq!(field(&mut client, "master_repl_offset"), offset, "{case}");
            }
            // The next attempt works.
            client.ok("CONFIG SET repl-timeout 60");
            let _stream = primary.send_all(id, 500, &good);
            wait_for_link(&mut client);
            assert_eq!(client.run("DBSIZE").integer(), 20_003, "{case}");
        }
    }
}

#[test]
fn replicas_of_a_replica_get_the_data_that_took_the_place_of_its_own() {
    for mode in ["on-empty-db", "swapdb"] {
        let primary = start(Kind::Redis, "");
        let mut writer = primary.client();
        write_much(&mut writer, &mut Random::new(3), 200);
        let middle = start(Kind::Subject, &format!("--repl-diskless-load {mode}"));
        let last = start(Kind::Subject, &format!("--repl-diskless-load {mode}"));
        let (mut of_middle, mut of_last) = (middle.client(), last.client());
        if mode == "swapdb" {
            of_middle.ok("SET own data");
        }
        follow(&mut of_last, &middle);
        follow(&mut of_middle, &primary);
        wait_for_equality(&mut writer, &mut of_last);
        write_much(&mut writer, &mut Random::new(4), 50);
        wait_for_equality(&mut writer, &mut of_middle);
        wait_for_equality(&mut writer, &mut of_last);
        assert_eq!(of_last.run("EXISTS own").integer(), 0);
    }
}

/// Redis and Redstart load a snapshot beside earlier data; clients get the same replies meanwhile.
#[test]
fn requests_beside_a_load_get_the_replies_of_redis() {
    const REQUESTS: [&str; 22] = [
        "PING",
        "GET mark",
        "DBSIZE",
        "SET a b",
        "EVAL return(1) 0",
        "FCALL other 0",
        "FUNCTION FLUSH",
        "SCRIPT FLUSH",
        "REPLICAOF NO ONE",
        "CONFIG SET maxmemory 0",
        "CONFIG SET repl-diskless-load disabled",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
        "FLUSHALL",
        "SWAPDB 0 1",
        "SHUTDOWN ABORT",
        "MULTI",
        "GET mark",
        "BGSAVE",
        "EXEC",
        "KEYS only*",
    ];
    let snapshot = snapshot(Kind::Redis, "new");
    let half = snapshot.len() / 2;
    let replies = [Kind::Redis, Kind::Subject].map(|kind| {
        let primary = Primary::new();
        // Redis serves clients between keys only, and not while it waits for bytes.
        let flags = match kind {
            Kind::Redis => "--loading-process-events-interval-bytes 1024 --key-load-delay 400",
            Kind::Subject => "",
        };
        let (_replica, mut client) = follower(kind, &primary, flags);
        let mut stream = primary.begin('a', 500, &snapshot, Framing::Length);
        stream.write_all(if kind == Kind::Redis { &snapshot } else { &snapshot[..half] }).expect("sent");
        until("loading", || client.run("INFO persistence").text().contains("\r\nasync_loading:1\r\n"));
        let replies = REQUESTS.map(|line| client.run(line));
        assert_eq!(client.info("async_loading"), "1", "{kind:?}");
        replies
    });
    for (index, line) in REQUESTS.iter().enumerate() {
        let theirs = in_words_of_redis(&format!("{:?}", replies[0][index]));
        assert_eq!(format!("{:?}", replies[1][index]), theirs, "{line}");
    }
}
