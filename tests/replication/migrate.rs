//! MIGRATE between Redstart and Redis, targets that stall, disconnect or are not Redis at all, and what other clients
//! see meanwhile.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::client::encode;
use crate::support::{Client, Random, Server, Value, Version};
use crate::{Kind, PAIRS, start, until, write_much};

const STALLED: &str = "IOERR error or timeout reading to target instance";

const TOO_OLD: &str =
    "ERR Target instance replied with error: ERR DUMP payload version or checksum are wrong";

/// Whether a server accepts payloads of Redis 7.2.
fn reads_version_11(client: &mut Client) -> bool {
    Version::of(client) >= Version::new(7, 2)
}

fn migrate(client: &mut Client, target: &Server, words: &str) -> String {
    client.run(&format!("MIGRATE 127.0.0.1 {} {words}", target.port())).text()
}

/// A target controlled by the test: it accepts connections, and the test sends the replies.
struct Target {
    listener: TcpListener,
}

impl Target {
    fn new() -> Target {
        Target { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next connection, after its requests have arrived, which end with `end`.
    fn accept(&self, end: &[u8]) -> (TcpStream, Vec<u8>) {
        let (mut stream, _) = self.listener.accept().unwrap();
        let came = receive(&mut stream, end);
        (stream, came)
    }
}

fn receive(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(end) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        all.push(byte[0]);
    }
    all
}

/// Sends a MIGRATE to the test's target without waiting for its reply.
fn begin(client: &mut Client, target: &Target, words: &str) {
    let line = format!("MIGRATE 127.0.0.1 {} {words}", target.port());
    client
        .send(&line.split(' ').map(|word| if word == "''" { "" } else { word }).collect::<Vec<_>>())
        .unwrap();
}

/// The end of the payload of a string `v`: the RDB version (11, or an earlier one) and the checksum.
fn end_of_payload(source: &Server) -> Vec<u8> {
    let mut client = source.client();
    let Value::Bulk(payload) = client.run("DUMP k") else { panic!("k is a string") };
    payload[payload.len() - 8..].iter().copied().chain(*b"\r\n").collect()
}

fn source() -> (Server, Client) {
    let source = start(Kind::Subject, "");
    let mut client = source.client();
    client.ok("SET k v");
    (source, client)
}

#[test]
fn keys_of_every_kind_arrive_with_their_values_and_times() {
    for (source_kind, target_kind) in PAIRS {
        let (source, target) = (start(source_kind, ""), start(target_kind, ""));
        let (mut here, mut there) = (source.client(), target.client());
        write_much(&mut here, &mut Random::new(5), 600);
        here.ok("FLUSHDB");
        for line in [
            "SET s v",
            "SET i 17",
            "RPUSH l a b",
            "SADD set 1 2",
            "HSET h f v",
            "ZADD z 1.5 m",
            "XADD x 1-1 f v",
        ] {
            here.run(line);
        }
        here.ok(&format!("SET large {}", "large".repeat(200_000)));
        here.ok("SET timed v PX 1000000");
        let digest = here.run("DEBUG DIGEST-VALUE s i l set h z x large").elements();
        let ttl = here.run("PTTL timed").integer();
        if source_kind == Kind::Subject && !reads_version_11(&mut there) {
            let reply = migrate(&mut here, &target, "s 0 5000");
            assert_eq!(reply, TOO_OLD);
            assert_eq!(here.run("GET s").text(), "v");
            continue;
        }
        assert_eq!(migrate(&mut here, &target, "s 0 5000 COPY"), "OK");
        let error = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
        assert_eq!(migrate(&mut here, &target, "s 0 5000"), error);
        there.ok("SET s other");
        let words = [
            "", "0", "5000", "REPLACE", "KEYS", "s", "missing", "i", "l", "set", "h", "z", "x", "large",
            "timed",
        ];
        let (host, port) = ("127.0.0.1", target.port().to_string());
        let line: Vec<&str> = ["MIGRATE", host, &port].into_iter().chain(words).collect();
        assert_eq!(here.call(&line).text(), "OK", "{source_kind:?} to {target_kind:?}");
        assert_eq!(here.run("DBSIZE").integer(), 0);
        if source_kind == target_kind {
            assert_eq!(there.run("DEBUG DIGEST-VALUE s i l set h z x large").elements(), digest);
        }
        assert_eq!(there.run("LRANGE l 0 -1").elements().len(), 2);
        let left = there.run("PTTL timed").integer();
        assert!(left > 0 && left <= ttl, "{left} of {ttl}");
        assert_eq!(there.run("DBSIZE").integer(), 9);
        assert_eq!(here.call(&line).text(), "NOKEY");
        assert_eq!(migrate(&mut here, &target, "gone 0 5000"), "NOKEY");
        here.ok("SET k v");
        assert_eq!(migrate(&mut here, &target, "k 3 5000"), "OK");
        there.ok("SELECT 3");
        assert_eq!(there.run("GET k").text(), "v");
        assert_eq!(here.info_number("migrate_cached_sockets"), 1);
    }
}

#[test]
fn a_target_with_a_password_gets_it_and_its_refusal_is_reported() {
    for kind in [Kind::Subject, Kind::Redis] {
        let target = start(kind, "--requirepass secret");
        let (_source, mut client) = source();
        let reply = migrate(&mut client, &target, "k 0 5000");
        assert_eq!(reply, "ERR Target instance replied with error: NOAUTH Authentication required.");
        let reply = migrate(&mut client, &target, "k 0 5000 AUTH wrong");
        assert!(reply.starts_with("ERR Target instance replied with error: WRONGPASS "), "{reply}");
        assert_eq!(client.run("GET k").text(), "v");
        let mut there = target.client();
        there.ok("AUTH secret");
        if !reads_version_11(&mut there) {
            assert_eq!(migrate(&mut client, &target, "k 0 5000 AUTH secret"), TOO_OLD);
            continue;
        }
        assert_eq!(migrate(&mut client, &target, "k 0 5000 AUTH secret"), "OK");
        client.ok("SET k v");
        assert_eq!(migrate(&mut client, &target, "k 0 5000 REPLACE AUTH2 default secret"), "OK");
        assert_eq!(client.run("DBSIZE").integer(), 0);
    }
}

#[test]
fn the_requests_are_those_of_redis() {
    let mut seen = Vec::new();
    for kind in [Kind::Subject, Kind::Redis] {
        let source = start(kind, "");
        let mut client = source.client();
        client.ok("MSET k v j w");
        let target = Target::new();
        let end = end_of_payload(&source);
        begin(&mut client, &target, "'' 2 5000 COPY AUTH2 user word KEYS j k");
        let (mut stream, first) = target.accept(&end);
        stream.write_all(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n").unwrap();
        assert_eq!(client.read_reply().unwrap().value.text(), "OK");
        // The cached connection is used again, and the database is selected.
        begin(&mut client, &target, "k 2 5000 REPLACE");
        let second = receive(&mut stream, b"REPLACE\r\n");
        stream.write_all(b"+OK\r\n").unwrap();
        assert_eq!(client.read_reply().unwrap().value.text(), "OK");
        // The version and the checksum of a payload depend on the version of Redis.
        let masked = |bytes: &[u8]| {
            let starts = || 0..bytes.len() - 11;
            let mut kept = bytes.to_vec();
            for at in starts().filter(|at| bytes[*at..].starts_with(b"\r\n$13\r\n")) {
                kept[at + 10..at + 20].fill(b'?');
            }
            kept
        };
        seen.push((masked(&first), masked(&second)));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn what_was_moved_is_deleted_by_one_command_in_the_stream_even_if_only_a_part_was() {
    let source = start(Kind::Subject, "--appendonly yes");
    let mut client = source.client();
    let log = source.directory().join("appendonlydir/appendonly.aof.1.incr.aof");
    let logged = |call: &[&str]| {
        let (all, call) = (std::fs::read(&log).unwrap(), encode(call));
        all.windows(call.len()).filter(|window| *window == call).count()
    };
    client.ok("MSET a v b v k v");
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "'' 0 5000 KEYS a b k");
    let (mut stream, _) = target.accept(&end);
    stream.write_all(b"+OK\r\n+OK\r\n+OK\r\n-ERR no\r\n").unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), "ERR Target instance replied with error: ERR no");
    assert_eq!(client.run("EXISTS a b k").integer(), 1);
    assert_eq!(logged(&["DEL", "a", "b"]), 1);

    // The target disconnects after its first reply.
    client.ok("MSET a v b v");
    begin(&mut client, &target, "'' 0 5000 KEYS a b k");
    drop(stream);
    let (mut stream, _) = target.accept(b"\r\n$1\r\nb\r\n");
    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), STALLED);
    assert_eq!((client.run("EXISTS a").integer(), client.run("EXISTS b").integer()), (0, 1));
    assert_eq!(logged(&["DEL", "a"]), 1);
}

#[test]
fn reads_are_served_and_writes_wait_while_keys_move() {
    let (source, mut client) = source();
    let (mut reader, mut writer) = (source.client(), source.client());
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "k 0 60000");
    let (mut stream, _) = target.accept(&end);
    assert_eq!(reader.run("GET k").text(), "v");
    writer.send(&["APPEND", "k", "acknowledged"]).unwrap();
    until("the writer waits", || reader.info_number("blocked_clients") == 2);
    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), "OK");
    // The write is executed after the key was moved: it is not lost.
    assert_eq!(writer.read_reply().unwrap().value.integer(), 12);
    assert_eq!(reader.run("GET k").text(), "acknowledged");
}

#[test]
fn with_copy_nobody_waits() {
    let (source, mut client) = source();
    let mut writer = source.client();
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "k 0 60000 COPY");
    let (mut stream, _) = target.accept(&end);
    writer.ok("SET k other");
    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), "OK");
    assert_eq!(writer.run("GET k").text(), "other");
}

#[test]
fn a_pause_that_begins_meanwhile_ends_before_anything_is_deleted() {
    let (source, mut client) = source();
    let mut other = source.client();
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "k 0 60000");
    let (mut stream, _) = target.accept(&end);
    other.ok("CLIENT PAUSE 100000 WRITE");
    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
    let mut twin = source.client();
    for _ in 0..50 {
        assert_eq!(twin.run("EXISTS k").integer(), 1);
    }
    other.ok("CLIENT UNPAUSE");
    assert_eq!(client.read_reply().unwrap().value.text(), "OK");
    assert_eq!(twin.run("EXISTS k").integer(), 0);
}

#[test]
fn a_target_that_stalls_ends_the_migration_and_not_the_service() {
    let (source, mut client) = source();
    let mut other = source.client();
    let target = Target::new();
    begin(&mut client, &target, "k 0 50");
    let stream = target.listener.accept().unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), STALLED);
    assert_eq!(client.run("GET k").text(), "v");
    other.ok("SET other written");
    drop(stream);
}

#[test]
fn a_target_that_resets_or_sends_garbage_gets_no_key() {
    let (_source, mut client) = source();
    let target = Target::new();
    begin(&mut client, &target, "k 0 5000");
    // A lost connection is opened again once.
    drop(target.listener.accept().unwrap());
    drop(target.listener.accept().unwrap());
    let reply = client.read_reply().unwrap().value.text();
    assert!(reply.starts_with("IOERR error or timeout "), "{reply}");
    for garbage in ["HTTP/1.1 400 Bad Request\r\n\r\n", ":1\r\n:1\r\n", "\n\n\n", "$2\r\nOK\r\n$2\r\nOK\r\n"]
    {
        begin(&mut client, &target, "k 0 5000");
        let (mut stream, _) = target.listener.accept().unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
        assert_eq!(client.read_reply().unwrap().value.text(), STALLED, "{garbage:?}");
        assert_eq!(client.run("GET k").text(), "v");
    }
    let port = target.port();
    drop(target);
    let reply = client.run(&format!("MIGRATE 127.0.0.1 {port} k 0 5000")).text();
    assert_eq!(reply, "IOERR error or timeout writing to target instance");
}

#[test]
fn a_migration_ends_without_its_client() {
    let (source, mut client) = source();
    let mut other = source.client();
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "k 0 60000");
    let (mut stream, _) = target.accept(&end);
    drop(client);
    until("the client is gone", || other.info_number("connected_clients") == 1);
    assert_eq!(other.run("EXISTS k").integer(), 1);
    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
    until("it is deleted", || other.run("EXISTS k").integer() == 0);
    other.ok("SET k again");
}

#[test]
fn a_server_that_becomes_a_replica_or_shuts_down_deletes_nothing() {
    let (source, mut client) = source();
    let mut other = source.client();
    let target = Target::new();
    let end = end_of_payload(&source);
    begin(&mut client, &target, "k 0 60000");
    let (mut stream, _) = target.accept(&end);
    other.ok("REPLICAOF 127.0.0.1 1");
    assert!(client.read_reply().unwrap().value.text().starts_with("UNBLOCKED "));
    let _ = stream.write_all(b"+OK\r\n+OK\r\n");
    assert_eq!(other.run("GET k").text(), "v");
    other.ok("REPLICAOF NO ONE");
    other.ok("SET k w");

    begin(&mut client, &target, "k 0 60000");
    let _held = target.listener.accept().unwrap();
    let mut source = source;
    other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(source.wait_exit().success());
}

#[test]
fn a_transaction_and_a_script_migrate_as_in_redis() {
    for kind in [Kind::Subject, Kind::Redis] {
        let (source, target) = (start(kind, ""), start(Kind::Subject, ""));
        let (mut here, mut there) = (source.client(), target.client());
        here.ok("MSET a 1 b 2 c 3");
        here.ok("MULTI");
        here.run("INCR a");
        migrate(&mut here, &target, "a 0 5000");
        here.run("EXISTS a");
        let replies = here.run("EXEC").elements();
        assert_eq!(replies.iter().map(Value::text).collect::<Vec<_>>(), ["2", "OK", "0"]);
        let script = "return redis.call('MIGRATE','127.0.0.1',ARGV[1],KEYS[1],0,5000)";
        let port = target.port().to_string();
        assert_eq!(here.call(&["EVAL", script, "1", "b", &port]).text(), "OK");
        assert_eq!(here.run("EXISTS b").integer(), 0);
        assert_eq!(there.run("MGET a b c").elements().iter().filter(|value| !value.is_null()).count(), 2);
    }
}
