//! The test plays replicas and primaries that do what those of Redis never do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::directives::replica_of_test;
use crate::links::{accept_replica, accept_request, begin_full, empty_snapshot, has_snapshot_with_mark};
use crate::support::client::encode;
use crate::support::server::redis_is_valkey;
use crate::support::{Client, DEADLINE, Server, Value};
use crate::{Kind, field, start, until, wait_for_link};

/// A replica that announces these properties and has asked for a snapshot.
fn ask(primary: &Server, announced: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", primary.port())).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    let request = [&["REPLCONF", "capa", "eof", "capa", "psync2"], announced].concat();
    stream.write_all(&encode(&request)).expect("sent");
    stream.read_exact(&mut [0; 5]).expect("+OK");
    stream.write_all(&encode(&["PSYNC", "?", "-1"])).expect("sent");
    stream
}

/// A replica that announces these properties, and has received its snapshot.
pub fn join(primary: &Server, announced: &[&str]) -> TcpStream {
    let mut stream = ask(primary, announced);
    let mut received = Vec::new();
    while !has_snapshot_with_mark(&received) {
        let mut buffer = [0; 1000];
        let count = stream.read(&mut buffer).expect("more of the snapshot");
        assert!(count > 0, "the end of {}", received.escape_ascii());
        received.extend(&buffer[..count]);
    }
    stream
}

/// Acknowledges `offset` until the primary sends the stream, which it does after the first acknowledgement that arrives
/// when the child has exited.
fn go_online(primary: &Server, replica: &mut TcpStream, offset: &str) {
    until("it is online", || {
        acknowledge(replica, offset);
        primary.log().contains("Synchronization with replica")
    });
}

fn acknowledge(replica: &mut TcpStream, offset: &str) {
    replica.write_all(&encode(&["REPLCONF", "ACK", offset])).expect("sent");
}

const OVERCLAIM: &str = "acknowledges offset 9223372036854775807, but has been sent the stream only up to";

#[test]
fn wait_does_not_count_a_replica_that_acknowledges_what_was_never_sent() {
    let primary = start(Kind::Subject, "");
    let mut writer = primary.client();
    let mut replica = join(&primary, &[]);
    go_online(&primary, &mut replica, "0");
    for offset in ["9223372036854775807", "1000000"] {
        acknowledge(&mut replica, offset);
    }
    primary.wait_for_log(OVERCLAIM);
    writer.ok("SET k v");
    assert_eq!(writer.run("WAIT 1 1").integer(), 0);
    // Later acknowledgements count.
    until("it has the write", || {
        acknowledge(&mut replica, &field(&mut writer, "master_repl_offset"));
        writer.run("WAIT 1 1").integer() == 1
    });
    assert_eq!(primary.log().matches("acknowledges offset").count(), 1, "{}", primary.log());
}

#[test]
fn a_reply_waits_for_a_replica_that_acknowledges_what_was_sent() {
    let flags = "--min-replicas-to-ack 1 --min-replicas-ack-timeout 600000";
    let primary = start(Kind::Subject, flags);
    let (mut writer, mut admin) = (primary.client(), primary.client());
    let mut replica = join(&primary, &[]);
    go_online(&primary, &mut replica, "9223372036854775807");
    primary.wait_for_log(OVERCLAIM);
    writer.send(&["SET", "k", "v"]).expect("sent");
    until("the reply waits", || field(&mut admin, "withheld_replies") == "1");
    acknowledge(&mut replica, "9223372036854775806");
    // The server has read the acknowledgements when it notices that the replica is gone.
    drop(replica);
    until("it is gone", || field(&mut admin, "connected_slaves") == "0");
    assert_eq!(field(&mut admin, "withheld_replies"), "1");
    let mut replica = join(&primary, &[]);
    until("the reply leaves", || {
        acknowledge(&mut replica, &field(&mut admin, "master_repl_offset"));
        field(&mut admin, "withheld_replies") == "0"
    });
    assert_eq!(writer.read_reply().expect("a reply").value.text(), "OK");
}

#[test]
fn a_replica_that_sends_a_command_with_a_reply_is_closed_and_gets_no_reply() {
    let lines = [
        ("SET hacked 1", "set", Some("Replica can't interact with the keyspace")),
        ("GET a", "get", Some("Replica can't interact with the keyspace")),
        ("FLUSHALL", "flushall", Some("Replica can't interact with the keyspace")),
        ("BLPOP l 0", "blpop", Some("Replica can't interact with the keyspace")),
        ("EVAL return(1) 1 a", "eval", Some("Replica can't interact with the keyspace")),
        ("PUBLISH c m", "publish", Some("Replica can't interact with the keyspace")),
        ("PING", "ping", None),
        ("ECHO x", "echo", None),
        ("INFO replication", "info", None),
        ("CONFIG GET port", "config|get", None),
        ("MULTI", "multi", None),
        ("SUBSCRIBE c", "subscribe", None),
        ("QUIT", "quit", None),
        ("WAIT 0 1", "wait", None),
        ("WAIT 9 1", "wait", None),
        ("ECHO", "echo", Some("wrong number of arguments for 'echo' command")),
        ("NOSUCH", "<unknown>", Some("unknown command 'NOSUCH', with args beginning with: ")),
        ("REPLCONF listening-port 7", "replconf", None),
        ("REPLCONF nosuch 7", "replconf", Some("Unrecognized REPLCONF option: nosuch")),
    ];
    for kind in [Kind::Subject, Kind::Redis] {
        let primary = start(kind, "");
        let mut client = primary.client();
        client.ok("SET a 1");
        for (line, name, error) in lines {
            let mut replica = join(&primary, &[]);
            go_online(&primary, &mut replica, "0");
            replica.write_all(&encode(&line.split(' ').collect::<Vec<_>>())).expect("sent");
            let mut received = Vec::new();
            // A request for the stream's end may be in it.
            replica.read_to_end(&mut received).expect("the end");
            assert!(
                !received.contains(&b'+') && !received.contains(&b'-'),
                "{line}: {}",
                received.escape_ascii()
            );
            until("it is gone", || field(&mut client, "connected_slaves") == "0");
            let log = primary.log();
            let generated = format!("Replica generated a reply to command '{name}', disconnecting it: id=");
            assert!(log.contains(&generated), "{kind:?} {line}: {log}");
            if let Some(error) = error {
                let critical = format!(
                    "== CRITICAL == This master is sending an error to its replica: '{error}' after processing the \
                     command '{name}'"
                );
                assert!(log.contains(&critical), "{kind:?} {line}: {log}");
            }
        }
        assert_eq!((client.run("GET a").text(), client.run("EXISTS hacked").integer()), ("1".into(), 0));
        let errors = lines.iter().filter(|(.., error)| error.is_some()).count() as i64;
        assert_eq!(client.info_number("unexpected_error_replies"), errors, "{kind:?}");
    }
}

#[test]
fn requests_after_sync_in_the_same_packet_get_no_reply() {
    for kind in [Kind::Subject, Kind::Redis] {
        for sync in [&["SYNC"][..], &["PSYNC", "?", "-1"]] {
            let primary = start(kind, "");
            let mut replica = primary.client();
            replica.send_raw(&[encode(sync), encode(&["PING"])].concat()).expect("sent");
            let received = replica.wait_closed();
            assert!(
                !received.windows(5).any(|word| word == b"+PONG"),
                "{kind:?}: {}",
                received.escape_ascii()
            );
            primary.wait_for_log("Replica generated a reply to command 'ping', disconnecting it: id=");
        }
    }
}

#[test]
fn a_replica_that_may_not_acknowledge_any_more_is_closed_with_a_line_in_the_log() {
    for kind in [Kind::Subject, Kind::Redis] {
        let primary = start(kind, "");
        let mut replica = join(&primary, &[]);
        go_online(&primary, &mut replica, "0");
        primary.client().ok("ACL SETUSER default -replconf");
        acknowledge(&mut replica, "0");
        let mut received = Vec::new();
        replica.read_to_end(&mut received).expect("the end");
        assert!(!received.contains(&b'-'), "{kind:?}: {}", received.escape_ascii());
        // The name of the user is in the texts of Redis from 7.2 on.
        primary.wait_for_log("== CRITICAL == This master is sending an error to its replica: '-NOPERM ");
        primary.wait_for_log("to run the 'replconf' command' after processing the command 'replconf'");
    }
}

/// Encodes requests, one per line.
fn stream_of(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>())).collect()
}

/// Sends requests and a write, and waits until the replica has executed the write. Returns the number of bytes.
fn stream(client: &mut Client, primary: &mut TcpStream, lines: &[&str], number: usize) -> usize {
    let bytes = [stream_of(lines), stream_of(&[&format!("SET after {number}")])].concat();
    primary.write_all(&bytes).expect("sent");
    until("the write after them", || {
        client.run("EXISTS after").integer() == 1 && client.run("GET after").text() == number.to_string()
    });
    bytes.len()
}

/// Redis 7.2 crashes at `REPLICAOF` and `SHUTDOWN`, and executes most of the others.
#[test]
fn a_stream_changes_data_but_neither_the_role_nor_the_settings_nor_the_clients() {
    let (replica, mut client, mut primary) = replica_of_test(Kind::Subject, "--maxmemory 100mb");
    let mut sent = stream(&mut client, &mut primary, &["SELECT 0"], 0);
    let refused = [
        ("REPLICAOF NO ONE", "replicaof"),
        ("SLAVEOF 127.0.0.1 1", "slaveof"),
        ("SHUTDOWN NOSAVE NOW", "shutdown"),
        ("FAILOVER ABORT", "failover"),
        ("PSYNC ? -1", "psync"),
        ("CONFIG SET maxmemory 1mb", "config|set"),
        ("CLIENT PAUSE 100000000", "client|pause"),
        ("CLIENT KILL TYPE normal SKIPME no", "client|kill"),
        ("DEBUG SEGFAULT", "debug"),
        ("SAVE", "save"),
        ("MONITOR", "monitor"),
        ("SUBSCRIBE channel", "subscribe"),
        ("CLUSTER RESET", "cluster|reset"),
        ("WAIT 1 0", "wait"),
        ("WATCH key", "watch"),
        ("QUIT", "quit"),
        ("RESET", "reset"),
    ];
    for (number, (line, name)) in refused.into_iter().enumerate() {
        sent += stream(&mut client, &mut primary, &[line], 2 * number + 1);
        sent += stream(&mut client, &mut primary, &["MULTI", line, "INCR n", "EXEC"], 2 * number + 2);
        let error = "'-ERR This Redis command is not allowed in a replication stream'";
        let line = format!("{error} after processing the command '{name}'");
        assert_eq!(replica.log().matches(&line).count(), 2, "{line}: {}", replica.log());
    }
    assert_eq!(client.run("GET n").text(), refused.len().to_string());
    assert_eq!(client.run("CONFIG GET maxmemory").elements()[1].text(), "104857600");
    assert_eq!(
        (field(&mut client, "role"), field(&mut client, "master_link_status")),
        ("slave".into(), "up".into())
    );
    assert_eq!(field(&mut client, "slave_repl_offset"), sent.to_string());
}

#[test]
fn a_transaction_of_the_stream_may_be_discarded_or_wrong() {
    for kind in [Kind::Subject, Kind::Redis] {
        let (replica, mut client, mut primary) = replica_of_test(kind, "");
        let mut sent = stream(&mut client, &mut primary, &["SELECT 0", "MULTI", "SET a 1", "DISCARD"], 0);
        assert!(client.run("GET a").is_null(), "{kind:?}");
        sent += stream(&mut client, &mut primary, &["MULTI", "SET b 1", "MULTI", "SET c 1", "EXEC"], 1);
        // Valkey drops such a transaction.
        let (executed, nested) = if kind == Kind::Redis && redis_is_valkey() {
            (0, "Command not allowed inside a transaction")
        } else {
            (2, "MULTI calls can not be nested")
        };
        assert_eq!(client.run("EXISTS b c").integer(), executed, "{kind:?}");
        sent += stream(&mut client, &mut primary, &["EXEC", "DISCARD"], 2);
        for (error, name) in
            [(nested, "multi"), ("EXEC without MULTI", "exec"), ("DISCARD without MULTI", "discard")]
        {
            let line = format!("{error}' after processing the command '{name}'");
            assert!(replica.log().contains(&line), "{kind:?}, {line}: {}", replica.log());
        }
        assert_eq!(field(&mut client, "slave_repl_offset"), sent.to_string(), "{kind:?}");
    }
}

#[test]
fn a_replica_passes_on_what_it_has_received_byte_by_byte_whatever_it_executes() {
    for (kind, flags) in
        [(Kind::Subject, ""), (Kind::Subject, "--notify-keyspace-events KEA"), (Kind::Redis, "")]
    {
        let (replica, mut client, mut primary) = replica_of_test(kind, flags);
        let mut last = join(&replica, &[]);
        go_online(&replica, &mut last, "0");
        let values: Vec<String> = (0..200).map(|n| format!("SET key:{n} {}", "v".repeat(n))).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let others = [
            "SET a 1",
            "LPUSH a fails",
            "SET b 2",
            "PING",
            "SET c 3",
            "PUBLISH channel message",
            "INCR c",
            "MULTI",
            "INCR c",
            "LPUSH a fails",
            "EXEC",
            "SET d 4",
            "NOSUCH command",
            "SELECT 3",
            "SET e 5",
            "GET e",
            "DEL e",
        ];
        let sent = [stream_of(&["SELECT 0"]), stream_of(&values), stream_of(&others), stream_of(&values)];
        let sent = sent.concat();
        primary.write_all(&sent).expect("sent");
        let mut received = vec![0; sent.len()];
        last.read_exact(&mut received).expect("the stream");
        assert!(received == sent, "{kind:?}, {flags}: {}", received.escape_ascii());
        until("the offset", || field(&mut client, "slave_repl_offset") == sent.len().to_string());
        assert_eq!(client.run("GET c").text(), "5", "{kind:?}");
        assert_eq!(client.info_number("unexpected_error_replies"), 3, "{kind:?}");
    }
}

/// A replica that has its snapshot from a primary that the test plays, and connects to the listener again.
fn replica_of_listener(kind: Kind) -> (Server, Client, TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let replica = start(kind, "");
    let mut client = replica.client();
    client.ok(&format!("REPLICAOF 127.0.0.1 {}", listener.local_addr().expect("bound").port()));
    let mut primary = accept_replica(&listener);
    begin_full(&mut primary, &empty_snapshot());
    wait_for_link(&mut client);
    (replica, client, listener, primary)
}

/// Redis sends a line end, which it does not count, before it closes a link whose snapshot has failed after its last byte.
#[test]
fn an_empty_line_counts_once_a_request_follows() {
    for kind in [Kind::Subject, Kind::Redis] {
        let (replica, mut client, listener, mut primary) = replica_of_listener(kind);
        let mut last = join(&replica, &[]);
        go_online(&replica, &mut last, "0");
        let sent =
            [b"\n".to_vec(), stream_of(&["SELECT 0"]), b"\r\n\n".to_vec(), stream_of(&["SET a 1"])].concat();
        primary.write_all(&sent).expect("sent");
        until("it is applied", || field(&mut client, "slave_repl_offset") == sent.len().to_string());
        // One byte of the next request does not make it one.
        primary.write_all(b"\n\n*").expect("sent");
        drop(primary);
        let (mut primary, id, offset) = accept_request(&listener);
        assert_eq!((id, offset), ("a".repeat(40), (sent.len() + 1).to_string()), "{kind:?}");
        primary.write_all(b"+CONTINUE\r\n").expect("sent");
        let rest = stream_of(&["SET a 2"]);
        primary.write_all(&rest).expect("sent");
        let mut received = vec![0; sent.len() + rest.len()];
        last.read_exact(&mut received).expect("the stream");
        assert!(received == [sent, rest].concat(), "{kind:?}: {}", received.escape_ascii());
    }
}

#[test]
fn a_primary_that_sends_nothing_but_empty_lines_fills_no_memory() {
    let (_replica, mut client, mut primary) = replica_of_test(Kind::Subject, "--maxmemory-clients 4mb");
    let lines = vec![b'\n'; 32 << 20];
    primary.write_all(&lines).expect("sent");
    primary.write_all(&stream_of(&["SELECT 0", "SET a 1"])).expect("sent");
    until("the write after them", || client.run("EXISTS a").integer() == 1);
    assert!(client.info_number("used_memory_peak") < 16 << 20, "{}", client.info_number("used_memory_peak"));
}

#[test]
fn after_a_protocol_error_a_replica_asks_for_a_snapshot_and_not_for_the_same_again() {
    for kind in [Kind::Subject, Kind::Redis] {
        let (_replica, mut client, listener, primary) = replica_of_listener(kind);
        drop(primary);
        let (mut primary, id, offset) = accept_request(&listener);
        assert_eq!((id, offset), ("a".repeat(40), "1".to_owned()), "{kind:?}");
        primary.write_all(b"+CONTINUE\r\n").expect("sent");
        primary.write_all(&stream_of(&["SET a 1"])[1..]).expect("sent");
        let (mut primary, id, offset) = accept_request(&listener);
        assert_eq!((id.as_str(), offset.as_str()), ("?", "-1"), "{kind:?}");
        // It has not forgotten that when it follows another primary, or the same at another address.
        client.ok(&format!("REPLICAOF localhost {}", listener.local_addr().expect("bound").port()));
        drop(primary);
        let (again, id, offset) = accept_request(&listener);
        assert_eq!((id.as_str(), offset.as_str()), ("?", "-1"), "{kind:?}");
        primary = again;
        begin_full(&mut primary, &empty_snapshot());
        primary.write_all(&stream_of(&["SELECT 0", "SET a 2"])).expect("sent");
        until("the stream is applied", || client.run("GET a") == Value::Bulk(b"2".to_vec()));
    }
}

/// Redis lets the child run if nothing was sent yet.
#[test]
fn a_replica_that_leaves_within_a_snapshot_ends_its_child_and_the_next_one_gets_another() {
    let primary = start(Kind::Subject, "--repl-diskless-sync-delay 0 --rdb-key-save-delay 100000");
    let mut client = primary.client();
    for n in 0..1000 {
        client.ok(&format!("SET key:{n} value"));
    }
    let leaving = ask(&primary, &[]);
    primary.wait_for_log("Background RDB transfer started");
    client.ok("CONFIG SET rdb-key-save-delay 0");
    drop(leaving);
    primary.wait_for_log("last replica dropped, killing fork child");
    until("the child has ended", || client.info_number("rdb_bgsave_in_progress") == 0);
    let mut next = join(&primary, &[]);
    go_online(&primary, &mut next, "0");
    assert_eq!(primary.log().matches("Background RDB transfer started").count(), 2);
    let persistence = client.run("INFO persistence").text();
    assert!(persistence.contains("rdb_last_bgsave_status:ok"), "{persistence}");
}

#[test]
fn a_replica_whose_snapshot_ends_with_a_shutdown_that_fails_is_disconnected() {
    let flags = "--appendonly yes --repl-diskless-sync-delay 0 --rdb-key-save-delay 100000";
    let primary = start(Kind::Subject, flags);
    let mut client = primary.client();
    for n in 0..1000 {
        client.ok(&format!("SET key:{n} value"));
    }
    let mut waiting = ask(&primary, &[]);
    primary.wait_for_log("Background RDB transfer started");
    // A snapshot cannot replace a directory.
    std::fs::create_dir(primary.directory().join("dump.rdb")).expect("created");
    client.ok("CONFIG SET rdb-key-save-delay 0");
    let error = client.run("SHUTDOWN NOW SAVE").text();
    assert!(error.starts_with("ERR Errors trying to SHUTDOWN"), "{error}");
    waiting.read_to_end(&mut Vec::new()).expect("the end");
    let mut next = join(&primary, &[]);
    go_online(&primary, &mut next, "0");
}
