//! The link: synchronization by snapshot and by stream, cut, and made again; and primaries that send nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::encode;
use crate::support::server::redis_is_valkey;
use crate::support::{Client, DEADLINE, Random, Value};
use crate::{
    Kind, PAIRS, chain, chain_with, field, follow, star_with, start, until, wait_for_equality, wait_for_link,
    wait_for_offset, write_much,
};

fn stat(client: &mut Client, name: &str) -> i64 {
    client.info_number(name)
}

#[test]
fn a_replica_has_the_snapshot_and_what_is_written_while_and_after_it_is_made() {
    for (primary_kind, replica_kind) in PAIRS {
        for diskless in ["yes", "no"] {
            let case = format!("{primary_kind:?} to {replica_kind:?}, diskless {diskless}");
            let primary = start(primary_kind, &format!("--repl-diskless-sync {diskless}"));
            let replica = start(replica_kind, "");
            let (mut writer, mut reader) = (primary.client(), replica.client());
            let mut random = Random::new(1);
            write_much(&mut writer, &mut random, 500);
            writer.ok(&format!("SET large {}", "large".repeat(300_000)));
            reader.ok("SET own gone");
            reader.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
            write_much(&mut writer, &mut random, 500);
            wait_for_link(&mut reader);
            write_much(&mut writer, &mut random, 500);
            wait_for_equality(&mut writer, &mut reader);
            assert!(reader.run("GET own").is_null(), "{case}");
            // Redis 7.0 cannot read the first snapshot, and gets one of an earlier version.
            let most = if replica_kind == Kind::Redis { 2 } else { 1 };
            assert!((1..=most).contains(&stat(&mut writer, "sync_full")), "{case}");
            for database in 0..3 {
                writer.ok(&format!("SELECT {database}"));
                reader.ok(&format!("SELECT {database}"));
                // The primary deletes expired keys meanwhile.
                until(&case, || writer.run("DBSIZE") == reader.run("DBSIZE"));
            }
        }
    }
}

#[test]
fn a_replica_whose_link_is_cut_continues_without_a_snapshot() {
    for (primary_kind, replica_kind) in PAIRS {
        let mut random = Random::new(2);
        let servers = [(primary_kind, "--repl-backlog-size 10mb"), (replica_kind, "")];
        let [(_primary, mut writer), (_replica, mut reader)] =
            chain_with(servers, |writer| write_much(writer, &mut random, 100));
        let full = stat(&mut writer, "sync_full");
        for cut in 1..6 {
            write_much(&mut writer, &mut random, 60);
            let side = if cut % 2 == 0 { &mut writer } else { &mut reader };
            let class = if cut % 2 == 0 { "replica" } else { "master" };
            assert_eq!(side.run(&format!("CLIENT KILL TYPE {class}")).integer(), 1);
            write_much(&mut writer, &mut random, 60);
            until("it continues", || stat(&mut writer, "sync_partial_ok") == cut);
            wait_for_equality(&mut writer, &mut reader);
        }
        assert_eq!(stat(&mut writer, "sync_full"), full);
    }
}

#[test]
fn a_replica_beyond_the_backlog_gets_a_snapshot_again() {
    let servers = [(Kind::Subject, "--repl-backlog-size 16kb"), (Kind::Subject, "")];
    let [(primary, mut writer), (_replica, mut reader)] = chain(servers);
    // Nobody listens at this port, so the replica is away for long enough.
    reader.ok("REPLICAOF 127.0.0.1 1");
    for n in 0..100 {
        writer.ok(&format!("SET key:{n} {}", "x".repeat(5000)));
    }
    follow(&mut reader, &primary);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!((stat(&mut writer, "sync_full"), stat(&mut writer, "sync_partial_ok")), (2, 0));
}

#[test]
fn replicas_of_replicas_have_the_same_stream() {
    for (middle_kind, last_kind) in PAIRS {
        let mut random = Random::new(3);
        let servers = [(Kind::Subject, ""), (middle_kind, ""), (last_kind, "")];
        let [(_primary, mut first), (_middle, mut second), (_last, mut third)] =
            chain_with(servers, |writer| write_much(writer, &mut random, 100));
        write_much(&mut first, &mut random, 200);
        wait_for_equality(&mut first, &mut third);
        // The middle one gets a snapshot of other data: so does the last one.
        let other = start(Kind::Subject, "");
        other.client().ok("SET other data");
        second.ok(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
        until("the other data", || !third.run("GET other").is_null());
        wait_for_equality(&mut other.client(), &mut third);
    }
}

#[test]
fn a_log_of_a_replica_loads_to_the_same_data() {
    let mut random = Random::new(4);
    let [(_primary, mut writer), (_replica, mut reader)] =
        chain_with([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes")], |writer| {
            write_much(writer, &mut random, 100);
        });
    write_much(&mut writer, &mut random, 300);
    wait_for_equality(&mut writer, &mut reader);
    reader.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    write_much(&mut writer, &mut random, 100);
    writer.ok("SET last one");
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("REPLICAOF NO ONE");
    until("nothing expires any more", || {
        let keyspace = reader.run("INFO keyspace").text();
        keyspace.matches("expires=").count() == keyspace.matches("expires=0").count()
    });
    let before = reader.run("DEBUG DIGEST");
    reader.ok("DEBUG LOADAOF");
    assert_eq!(reader.run("DEBUG DIGEST"), before);
    assert_eq!(reader.run("GET last").text(), "one");
}

#[test]
fn a_rewritten_log_of_a_replica_knows_the_database_that_the_primary_has_selected() {
    let [(_primary, mut writer), (_replica, mut reader)] =
        chain([(Kind::Subject, ""), (Kind::Subject, "--appendonly yes")]);
    writer.ok("SELECT 2");
    writer.ok("SET before rewrite");
    wait_for_equality(&mut writer, &mut reader);
    for _ in 0..2 {
        reader.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
        reader.run("BGREWRITEAOF");
        reader.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    }
    assert_eq!(reader.info("aof_last_bgrewrite_status"), "ok");
    // The stream has selected the database before.
    writer.ok("SET after rewrite");
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("REPLICAOF NO ONE");
    reader.ok("DEBUG LOADAOF");
    assert_eq!(reader.run("DBSIZE").integer(), 0);
    reader.ok("SELECT 2");
    assert_eq!(reader.run("DBSIZE").integer(), 2);
}

#[test]
fn a_stream_that_another_primary_continues_goes_on_in_the_database_that_it_has_selected() {
    for (first_kind, second_kind) in PAIRS {
        let servers = [(first_kind, ""), (second_kind, ""), (Kind::Subject, "")];
        let [(_first, mut a), (second, mut b), (_third, mut c)] = star_with(servers, |_| {});
        a.ok("SELECT 3");
        a.ok("SET before 1");
        wait_for_offset(&mut a, &mut c);
        // Nobody listens there, so it lacks the next command.
        c.ok("REPLICAOF 127.0.0.1 1");
        a.ok("SET after 2");
        wait_for_offset(&mut a, &mut b);
        b.ok("REPLICAOF NO ONE");
        follow(&mut c, &second);
        wait_for_equality(&mut b, &mut c);
        assert_eq!((stat(&mut b, "sync_full"), stat(&mut b, "sync_partial_ok")), (0, 1));
        c.ok("SELECT 3");
        assert_eq!(c.run("GET after").text(), "2");
    }
}

#[test]
fn a_replica_whose_snapshot_is_overtaken_by_a_flush_gets_another_one() {
    for diskless in ["yes", "no"] {
        let primary =
            start(Kind::Subject, &format!("--repl-diskless-sync {diskless} --rdb-key-save-delay 1000"));
        let replica = start(Kind::Subject, "");
        let (mut writer, mut reader) = (primary.client(), replica.client());
        writer.ok("DEBUG POPULATE 2000");
        reader.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        until("a snapshot is written", || writer.info_number("sync_full") == 1);
        writer.ok("FLUSHALL");
        writer.ok("CONFIG SET rdb-key-save-delay 0");
        writer.ok("SET k v");
        wait_for_link(&mut reader);
        wait_for_equality(&mut writer, &mut reader);
        assert_eq!(reader.run("DBSIZE").integer(), 1);
    }
}

#[test]
fn a_replica_that_receives_a_snapshot_has_the_state_of_where_it_comes_from() {
    for kind in [Kind::Subject, Kind::Redis] {
        for (diskless, state) in [("yes", "state=wait_bgsave,"), ("no", "state=send_bulk,")] {
            let primary = start(kind, &format!("--repl-diskless-sync {diskless} --rdbcompression no"));
            let mut client = primary.client();
            // More than all buffers hold, for a replica that reads only the reply.
            client.ok("DEBUG POPULATE 64 key 1000000");
            let mut replica = primary.client();
            replica.ok("REPLCONF capa eof capa psync2");
            assert!(replica.run("PSYNC ? -1").text().starts_with("FULLRESYNC"));
            until("the snapshot is being sent", || client.info_number("total_net_repl_output_bytes") > 0);
            assert_eq!(
                client.info_number("rdb_bgsave_in_progress"),
                i64::from(diskless == "yes"),
                "{kind:?}"
            );
            let line = field(&mut client, "slave0");
            assert!(line.contains(state), "{kind:?}, diskless {diskless}: {line}");
        }
    }
}

#[test]
fn bytes_between_primary_and_replica_are_counted_apart_from_those_of_clients() {
    for (primary_kind, replica_kind) in PAIRS {
        let [(_primary, mut writer), (_replica, mut reader)] =
            chain_with([(primary_kind, ""), (replica_kind, "")], |writer| {
                writer.ok("CONFIG SET rdbcompression no");
                writer.ok("DEBUG POPULATE 10 key 10000");
            });
        let value = "x".repeat(100_000);
        writer.ok(&format!("SET k {value}"));
        wait_for_offset(&mut writer, &mut reader);
        // A server counts bytes a moment after it has sent them.
        // Valkey counts only the bytes of the snapshot.
        let least = if primary_kind == Kind::Redis && redis_is_valkey() { 100_000 } else { 200_000 };
        let sent = writer.wait_for_info("total_net_repl_output_bytes", |bytes| bytes > least);
        let received = reader.wait_for_info("total_net_repl_input_bytes", |bytes| bytes > 200_000);
        // Redis 7.0 rejects the first snapshot, and gets another one.
        assert!(sent < 400_000 && received < 400_000, "{sent} {received}");
        assert!(writer.info_number("total_net_output_bytes") >= sent);
        assert!(reader.info_number("total_net_input_bytes") >= received);
        assert!(writer.info_number("total_net_repl_input_bytes") < 1_000);
        assert!(reader.info_number("total_net_repl_output_bytes") < 1_000);
    }
}

#[test]
fn a_replica_and_a_promoted_one_continue_after_a_restart_from_their_snapshots() {
    let mut random = Random::new(5);
    let servers = [(Kind::Subject, "--repl-backlog-size 10mb"), (Kind::Subject, "")];
    let [(primary, mut writer), (replica, mut reader)] =
        chain_with(servers, |writer| write_much(writer, &mut random, 200));
    write_much(&mut writer, &mut random, 200);
    writer.ok("SELECT 2");
    writer.ok("SET in two");
    wait_for_equality(&mut writer, &mut reader);
    let _ = reader.try_call(&["SHUTDOWN", "SAVE"]);
    let launch = replica.stop();
    writer.ok("SET meanwhile written");
    let replica = launch.flags(&format!("--replicaof 127.0.0.1 {}", primary.port())).start();
    let mut reader = replica.client();
    wait_for_link(&mut reader);
    wait_for_equality(&mut writer, &mut reader);
    reader.ok("SELECT 2");
    assert_eq!(reader.run("GET meanwhile").text(), "written");
    assert_eq!((stat(&mut writer, "sync_full"), stat(&mut writer, "sync_partial_ok")), (1, 1));
}

/// Waits until this time of the server, in milliseconds, has passed, without looking a key up.
fn wait_until_past(client: &mut Client, time_ms: i64) {
    until("the time", || {
        let reply = client.run("TIME");
        let number = |index: usize| reply.elements()[index].text().parse::<i64>().expect("a number");
        number(0) * 1000 + number(1) / 1000 > time_ms
    });
}

#[test]
fn keys_that_expired_before_a_load_are_deleted_on_replicas_that_continue() {
    let [(primary, mut writer), (_replica, mut reader)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    let write = |writer: &mut Client, reader: &mut Client| {
        writer.ok("DEBUG SET-ACTIVE-EXPIRE 0");
        writer.ok("SET lasting 1");
        writer.ok("SET short 1 PX 50");
        let time_ms = writer.run("PEXPIRETIME short").integer();
        wait_for_offset(writer, reader);
        time_ms
    };
    let time_ms = write(&mut writer, &mut reader);
    wait_until_past(&mut writer, time_ms);
    writer.ok("DEBUG RELOAD");
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    until("the key is deleted", || writer.run("DBSIZE").integer() == 1);
    wait_for_equality(&mut writer, &mut reader);
    // A restarted primary knows the replica's history from the snapshot.
    let time_ms = write(&mut writer, &mut reader);
    let _ = writer.try_call(&["SHUTDOWN", "SAVE"]);
    let launch = primary.stop();
    wait_until_past(&mut reader, time_ms);
    let primary = launch.start();
    let mut writer = primary.client();
    wait_for_link(&mut reader);
    until("the key is deleted", || writer.run("DBSIZE").integer() == 1);
    wait_for_equality(&mut writer, &mut reader);
    assert_eq!((stat(&mut writer, "sync_full"), stat(&mut writer, "sync_partial_ok")), (0, 1));
}

/// A primary that a replica connects to; the handshake is done.
pub fn accept_replica(listener: &TcpListener) -> TcpStream {
    accept_request(listener).0
}

/// Accepts a replica. Returns the connection, and the ID and the offset that it asks for.
pub fn accept_request(listener: &TcpListener) -> (TcpStream, String, String) {
    let (mut stream, _) = listener.accept().expect("a replica connects");
    let mut room = [0; 4096];
    let mut received = Vec::new();
    let mut replied = 0;
    loop {
        let len = stream.read(&mut room).expect("the handshake");
        assert!(len > 0, "the replica left");
        received.extend_from_slice(&room[..len]);
        let requests = received.split(|byte| *byte == b'*').count() - 1;
        let text = String::from_utf8_lossy(&received);
        if let Some((_, psync)) = text.split_once("PSYNC\r\n")
            && let [_, id, _, offset, _, ..] = psync.split("\r\n").collect::<Vec<_>>()[..]
        {
            return (stream, id.to_owned(), offset.to_owned());
        }
        for _ in replied..requests {
            stream.write_all(b"+OK\r\n").expect("sent");
        }
        replied = requests;
    }
}

/// An empty snapshot, as Redis writes it.
pub fn empty_snapshot() -> Vec<u8> {
    let server = start(Kind::Redis, "");
    server.client().ok("SAVE");
    std::fs::read(server.directory().join("dump.rdb")).expect("a snapshot")
}

/// A snapshot whose damage only the loader finds: it has no checksum.
pub const UNLOADABLE: &[u8] = b"REDIS0009\xfe\x00\x1fnothing\xff\0\0\0\0\0\0\0\0";

pub fn begin_full(stream: &mut TcpStream, snapshot: &[u8]) {
    let head = format!("+FULLRESYNC {} 0\r\n${}\r\n", "a".repeat(40), snapshot.len());
    stream.write_all(&[head.as_bytes(), snapshot].concat()).expect("sent");
}

#[test]
fn a_stream_that_comes_byte_by_byte_or_breaks_off_within_a_transaction_is_applied_as_a_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let replica = start(Kind::Subject, "--repl-timeout 60");
    let mut reader = replica.client();
    reader.ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
    let mut stream = accept_replica(&listener);
    begin_full(&mut stream, &empty_snapshot());
    wait_for_link(&mut reader);
    let requests: Vec<u8> = [
        encode(&["SELECT", "0"]),
        encode(&["SET", "a", "1"]),
        encode(&["MULTI"]),
        encode(&["INCR", "a"]),
        encode(&["SET", "b", &"b".repeat(100_000)]),
        encode(&["EXEC"]),
        encode(&["PING"]),
    ]
    .concat();
    for byte in &requests[..500] {
        stream.write_all(&[*byte]).expect("sent");
    }
    stream.write_all(&requests[500..]).expect("sent");
    let applied = requests.len().to_string();
    until("the offset", || field(&mut reader, "master_repl_offset") == applied);
    assert_eq!((reader.run("GET a").text(), reader.run("STRLEN b").integer()), ("2".into(), 100_000));
    // A transaction that breaks off changes nothing, and is asked for again from its beginning.
    stream.write_all(&[encode(&["MULTI"]), encode(&["INCR", "a"])].concat()).expect("sent");
    drop(stream);
    let (mut again, _) = listener.accept().expect("it connects again");
    let mut room = [0; 4096];
    let mut received = Vec::new();
    while !received.windows(5).any(|word| word == b"PSYNC") {
        let len = again.read(&mut room).expect("the handshake");
        received.extend_from_slice(&room[..len]);
        let _ = again.write_all(b"+OK\r\n+OK\r\n+OK\r\n");
    }
    let asked = String::from_utf8_lossy(&received).into_owned();
    assert!(asked.contains(&(requests.len() + 1).to_string()), "{asked}");
    assert_eq!(reader.run("GET a").text(), "2");
}

#[test]
fn a_primary_that_sends_nonsense_costs_nobody_anything() {
    let damaged = {
        let mut snapshot = empty_snapshot();
        let middle = snapshot.len() / 2;
        snapshot[middle] ^= 0x55;
        snapshot
    };
    let snapshots: [Vec<u8>; 3] = [damaged, b"REDIS0099garbage".to_vec(), b"nothing".to_vec()];
    for (number, snapshot) in snapshots.into_iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let replica = start(Kind::Subject, "--appendonly yes");
        let mut reader = replica.client();
        reader.ok("SET own data");
        reader.ok("SAVE");
        let file = || std::fs::read(replica.directory().join("dump.rdb")).expect("a snapshot");
        let before = file();
        reader.ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
        let mut stream = accept_replica(&listener);
        begin_full(&mut stream, &snapshot);
        replica.wait_for_log("Failed trying to load the MASTER synchronization DB from disk");
        assert_eq!(reader.run("PING").text(), "PONG", "case {number}");
        assert_eq!(reader.run("GET own").text(), "data", "case {number}");
        assert_eq!(reader.info_number("aof_enabled"), 1, "case {number}");
        assert!(file() == before, "case {number}");
        let names = std::fs::read_dir(replica.directory()).expect("listed").flatten();
        assert!(names.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("temp-")));
        // The next attempt works.
        let primary = start(Kind::Subject, "");
        primary.client().ok("SET good data");
        follow(&mut reader, &primary);
        wait_for_equality(&mut primary.client(), &mut reader);
        assert_eq!(reader.run("GET good").text(), "data", "case {number}");
    }
}

#[test]
fn a_log_that_was_closed_for_a_useless_snapshot_begins_again_with_another_primary_or_without_one() {
    let good = start(Kind::Subject, "");
    for primary in [Some(&good), None] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let replica = start(Kind::Subject, "--appendonly yes");
        let mut client = replica.client();
        client.ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
        let mut stream = accept_replica(&listener);
        begin_full(&mut stream, UNLOADABLE);
        replica.wait_for_log("Failed trying to load the MASTER synchronization DB from disk");
        client.wait_for_info("aof_enabled", |enabled| enabled == 0);
        match primary {
            Some(primary) => follow(&mut client, primary),
            None => client.ok("REPLICAOF NO ONE"),
        }
        client.wait_for_info("aof_enabled", |enabled| enabled == 1);
    }
}

#[test]
fn a_wrong_password_is_logged_and_the_data_stays() {
    let primary = start(Kind::Subject, "--requirepass secret");
    let replica = start(Kind::Subject, "--masterauth wrong");
    let mut reader = replica.client();
    reader.ok("SET own data");
    reader.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    replica.wait_for_log("Unable to AUTH to MASTER: -WRONGPASS");
    assert_eq!(reader.run("GET own").text(), "data");
    reader.ok("CONFIG SET masterauth secret");
    wait_for_link(&mut reader);
    assert!(reader.run("GET own").is_null());
}

/// The child has written its snapshot to the pipe and has exited, but the server has not read the pipe yet when another
/// replica asks for a snapshot.
#[test]
fn a_second_snapshot_without_a_file_waits_until_the_bytes_of_the_first_are_sent() {
    for kind in [Kind::Redis, Kind::Subject] {
        let primary = start(kind, "--repl-diskless-sync-delay 0 --rdb-key-save-delay 400000");
        primary.client().ok("SET k v");
        let connect = || TcpStream::connect(("127.0.0.1", primary.port())).expect("connected");
        let mut replicas = [connect(), connect()];
        for replica in &mut replicas {
            replica.set_read_timeout(Some(DEADLINE)).expect("set");
            replica.write_all(&encode(&["REPLCONF", "capa", "eof", "capa", "psync2"])).expect("sent");
            replica.read_exact(&mut [0; 5]).expect("+OK");
        }
        let mut received = vec![0];
        replicas[0].write_all(&encode(&["PSYNC", "?", "-1"])).expect("sent");
        replicas[0].read_exact(&mut received).expect("FULLRESYNC");
        // It sleeps until the child has exited, and finds both the request and the bytes in the pipe.
        let mut sleeper = connect();
        sleeper.write_all(&encode(&["DEBUG", "SLEEP", "1"])).expect("sent");
        let mut probe = connect();
        probe.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        until("it sleeps", || {
            probe.write_all(b"PING\r\n").expect("sent");
            probe.read_exact(&mut [0; 7]).is_err()
        });
        replicas[1].write_all(&encode(&["PSYNC", "?", "-1"])).expect("sent");
        for replica in &mut replicas {
            while !has_snapshot_with_mark(&received) {
                let mut buffer = [0; 1000];
                let count = replica.read(&mut buffer).expect("more of the snapshot");
                assert!(count > 0, "{kind:?}: the end of {}", received.escape_ascii());
                received.extend(&buffer[..count]);
            }
            received.clear();
        }
    }
}

/// Whether the mark that was announced before the snapshot has arrived after it, too.
pub fn has_snapshot_with_mark(bytes: &[u8]) -> bool {
    let Some(at) = bytes.windows(5).position(|part| part == b"$EOF:") else { return false };
    let Some((mark, rest)) = bytes[at + 5..].split_at_checked(40) else { return false };
    rest.windows(40).any(|part| part == mark)
}

#[test]
fn a_replica_that_may_not_acknowledge_does_not_connect_as_often_as_it_can() {
    let (primary, replica) =
        (start(Kind::Subject, ""), start(Kind::Subject, "--masteruser copy --masterauth pw"));
    let (mut writer, mut reader) = (primary.client(), replica.client());
    writer.ok("ACL SETUSER copy on >pw +psync +replconf +ping");
    follow(&mut reader, &primary);
    let (before, started) = (writer.info_number("total_connections_received"), Instant::now());
    writer.ok("ACL SETUSER copy -replconf");
    writer.wait_for_info("acl_access_denied_cmd", |count| count >= 20);
    let made = writer.info_number("total_connections_received") - before;
    let most = started.elapsed().as_secs() as i64 + 2;
    assert!(made <= most, "{made} connections, one a second would be {most}");
    writer.ok("ACL SETUSER copy +replconf");
    writer.ok("SET k v");
    until("it follows again", || reader.run("GET k") == Value::Bulk(b"v".to_vec()));
}

/// Sets the flag when it is dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_client_is_refused_while_a_replica_loads_a_small_snapshot_as_in_redis() {
    for (primary_kind, replica_kind) in PAIRS {
        let [primary, replica] = [primary_kind, replica_kind].map(|kind| start(kind, ""));
        primary.client().ok("SET key value");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = Ends(&is_over);
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = replica.client();
                    while !is_over.load(Ordering::Relaxed) {
                        let reply = client.run("DBSIZE");
                        assert!(!reply.is_error(), "{replica_kind:?}: {reply:?}");
                    }
                });
            }
            let mut client = replica.client();
            for round in 0..20 {
                // The data differs, so the primary sends a snapshot.
                client.ok("REPLICAOF NO ONE");
                client.ok("SET own 1");
                follow(&mut client, &primary);
                assert_eq!(client.run("DBSIZE"), Value::Integer(1), "{replica_kind:?} in round {round}");
            }
        });
    }
}
