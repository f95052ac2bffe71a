//! Replicas and primaries that do what Redis' never do, played by the test.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::links::has_snapshot_with_mark;
use crate::support::client::encode;
use crate::support::{Client, DEADLINE, Server};
use crate::{Kind, field, start, until};

/// A replica that announces these properties, and has received its snapshot.
pub fn join(primary: &Server, announced: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", primary.port())).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    let request = [&["REPLCONF", "capa", "eof", "capa", "psync2"], announced].concat();
    stream.write_all(&encode(&request)).expect("sent");
    stream.read_exact(&mut [0; 5]).expect("+OK");
    stream.write_all(&encode(&["PSYNC", "?", "-1"])).expect("sent");
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
    // It has been read when the server sees that the replica is gone.
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
