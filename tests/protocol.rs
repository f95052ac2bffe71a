//! The protocol over time: which errors close a connection, and RESP2 beside RESP3.
//!
//! The replies to single requests and broken streams are compared with Redis in `differential/streams.rs`.

mod support;

use support::client::encode;
use support::{Server, Value};

const BROKEN: &[&[u8]] = &[
    b"*1\r\nPING\r\n",
    b"*abc\r\n",
    b"*1\r\n$-5\r\n",
    b"*1\r\n$99999999999\r\n",
    b"ECHO \"unbalanced\r\n",
    b"*3000000000\r\n",
];

#[test]
fn a_protocol_error_closes_the_offender_and_nobody_else() {
    let server = Server::start("");
    let mut steady = server.client();
    let mut half = server.client();
    half.send_raw(b"*2\r\n$4\r\nECHO\r\n$5\r\nhal").expect("send");
    for stream in BROKEN {
        let mut offender = server.client();
        offender.send_raw(stream).expect("send");
        let said = offender.wait_closed();
        assert!(
            said.starts_with(b"-ERR Protocol error: "),
            "{}: {}",
            stream.escape_ascii(),
            said.escape_ascii()
        );
        assert_eq!(steady.run("PING"), Value::Simple(b"PONG".to_vec()));
    }
    half.send_raw(b"fs\r\n").expect("send");
    assert_eq!(half.read_reply().expect("the reply").raw, b"$5\r\nhalfs\r\n");
    steady.wait_for_info("connected_clients", |n| n == 2);
}

#[test]
fn requests_before_a_protocol_error_are_answered_and_those_after_it_are_not() {
    let server = Server::start("");
    let mut client = server.client();
    client.send_raw(b"SET k 1\r\nINCR k\r\n*1\r\nINCR\r\nINCR k\r\nINCR k\r\n").expect("send");
    assert_eq!(client.wait_closed(), b"+OK\r\n:2\r\n-ERR Protocol error: expected '$', got 'I'\r\n");
    assert_eq!(server.client().run("GET k").text(), "2");
}

#[test]
fn large_arguments_of_pipelined_requests_are_each_stored_as_sent() {
    let server = Server::start("");
    let mut client = server.client();
    // Large enough to be received into separate blocks, in requests that arrive without a pause between them.
    let values: Vec<Vec<u8>> =
        (b'a'..=b'h').map(|letter| vec![letter; 100_000 + usize::from(letter)]).collect();
    let mut stream = Vec::new();
    for (i, pair) in values.chunks(2).enumerate() {
        let (k, l, m) = (format!("k{i}"), format!("l{i}"), format!("m{i}"));
        stream.extend(encode(&[b"MSET", k.as_bytes(), &pair[0], m.as_bytes(), b"small"]));
        stream.extend(encode(&[b"SET", l.as_bytes(), &pair[1]]));
        stream.extend(encode(&[b"PING"]));
    }
    let mut sender = client.twin();
    let sending = std::thread::spawn(move || sender.send_raw(&stream).expect("send"));
    for _ in 0..values.len() / 2 {
        for expected in [&b"+OK\r\n"[..], b"+OK\r\n", b"+PONG\r\n"] {
            assert_eq!(client.read_reply().expect("the reply").raw, expected);
        }
    }
    sending.join().expect("the sender");
    for (i, pair) in values.chunks(2).enumerate() {
        for (name, value) in [("k", &pair[0]), ("l", &pair[1]), ("m", &b"small".to_vec())] {
            let Value::Bulk(stored) = client.run(&format!("GET {name}{i}")) else { panic!("no value") };
            assert!(stored == *value, "{name}{i}: {} bytes of {}", stored.len(), stored[0] as char);
        }
    }
}

#[test]
fn a_web_request_is_cut_off_before_the_commands_in_its_body() {
    let server = Server::start("");
    for head in ["POST / HTTP/1.1\r\n", "Host: localhost:6379\r\n"] {
        let mut client = server.client();
        client.send_raw(format!("{head}\r\nSET k 1\r\n").as_bytes()).expect("send");
        assert_eq!(client.wait_closed(), b"");
    }
    assert_eq!(server.client().run("GET k"), Value::NullBulk);
    assert_eq!(server.log().matches("SECURITY ATTACK").count(), 1, "a line a minute");
}

#[test]
fn requests_after_quit_are_not_executed() {
    let server = Server::start("");
    let mut client = server.client();
    client.send_raw(b"SET k 1\r\nQUIT\r\nSET k 2\r\n").expect("send");
    assert_eq!(client.wait_closed(), b"+OK\r\n+OK\r\n");
    assert_eq!(server.client().run("GET k").text(), "1");
}

#[test]
fn clients_of_both_protocols_live_side_by_side() {
    let server = Server::start("");
    let (mut old, mut new) = (server.client(), server.client());
    assert!(matches!(new.run("HELLO 3"), Value::Map(_)));
    for _ in 0..3 {
        assert_eq!(old.run("GET none"), Value::NullBulk);
        assert_eq!(new.run("GET none"), Value::Null);
        assert!(matches!(old.run("CONFIG GET hz"), Value::Array(_)));
        assert!(matches!(new.run("CONFIG GET hz"), Value::Map(_)));
    }
    new.run("RESET");
    assert_eq!(new.run("GET none"), Value::NullBulk, "RESET goes back to RESP2");
    assert!(matches!(old.run("HELLO 2"), Value::Array(_)));
}

#[test]
fn the_protocol_changes_within_a_pipeline() {
    let server = Server::start("");
    let mut client = server.client();
    client.send_raw(b"GET none\r\nHELLO 3\r\nGET none\r\nHELLO 2\r\nGET none\r\n").expect("send");
    let replies: Vec<Value> = (0..5).map(|_| client.read_reply().expect("a reply").value).collect();
    assert_eq!(replies[0], Value::NullBulk);
    assert_eq!(replies[1].field("proto"), Value::Integer(3));
    assert_eq!(replies[2], Value::Null);
    assert_eq!(replies[3].field("proto"), Value::Integer(2));
    assert_eq!(replies[4], Value::NullBulk);
}

#[test]
fn a_database_is_chosen_within_a_pipeline_and_for_that_client_alone() {
    let server = Server::start("");
    let (mut one, mut two) = (server.client(), server.client());
    one.send_raw(b"SET k zero\r\nSELECT 5\r\nGET k\r\nSET k five\r\nSELECT 0\r\nGET k\r\n").expect("send");
    let replies: Vec<Value> = (0..6).map(|_| one.read_reply().expect("a reply").value).collect();
    assert_eq!(replies[2], Value::NullBulk);
    assert_eq!(replies[5].text(), "zero");
    one.ok("SELECT 5");
    assert_eq!(two.run("GET k").text(), "zero");
    assert_eq!(one.run("GET k").text(), "five");
}

#[test]
fn client_reply_off_and_skip_silence_a_pipeline() {
    let server = Server::start("");
    let mut client = server.client();
    client
        .send_raw(b"CLIENT REPLY SKIP\r\nINCR k\r\nINCR k\r\nCLIENT REPLY OFF\r\nINCR k\r\nNOSUCH\r\nCLIENT REPLY ON\r\nGET k\r\n")
        .expect("send");
    client.finish_sending();
    let got = client.read_to_end().expect("the replies");
    assert_eq!(got.escape_ascii().to_string(), r":2\r\n+OK\r\n$1\r\n3\r\n");
}

#[test]
fn unauthenticated_clients_get_little_memory_and_no_commands() {
    let server = Server::start("--requirepass secret");
    let mut client = server.client();
    for line in ["GET k", "SET k v", "CONFIG GET *", "CLIENT LIST", "COMMAND", "SHUTDOWN"] {
        assert_eq!(client.run(line).text(), "NOAUTH Authentication required.", "{line}");
    }
    client.send_raw(b"*2\r\n$4\r\nECHO\r\n$20000\r\n").expect("send");
    assert_eq!(client.wait_closed(), b"-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = server.client();
    client.send_raw(b"*11\r\n").expect("send");
    assert_eq!(client.wait_closed(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut client = server.client();
    client.ok("AUTH secret");
    client.call(&[&b"SET"[..], b"k", &vec![b'x'; 20_000]]);
    assert_eq!(client.run("STRLEN k").integer(), 20_000);
}

#[test]
fn debug_is_refused_unless_the_configuration_allows_it() {
    let server = Server::start("");
    let refused = server.client().run("DEBUG SLEEP 0").text();
    assert!(refused.starts_with("ERR DEBUG command not allowed."), "{refused}");
    let server = Server::start("--enable-debug-command local");
    server.client().ok("DEBUG SLEEP 0");
    let server = Server::start("--enable-debug-command yes");
    server.client().ok("DEBUG SLEEP 0");
}
