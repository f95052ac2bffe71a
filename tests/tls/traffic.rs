//! The traffic of encrypted clients: pipelines, large values, subscriptions, transactions, slow readers.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::Encrypted;
use crate::support::client::encode;
use crate::support::{Client, Value, eventually};

#[test]
fn the_replies_to_a_large_pipeline_arrive_in_order() {
    let encrypted = Encrypted::start("");
    let mut client = encrypted.client();
    let mut requests = Vec::new();
    for index in 0..20_000 {
        requests.extend(encode(&["SET", &format!("key:{index}"), &format!("value:{index}")]));
        requests.extend(encode(&["GET", &format!("key:{index}")]));
    }
    client.send_raw(&requests).unwrap();
    for index in 0..20_000 {
        assert_eq!(client.read_reply().unwrap().value.text(), "OK");
        assert_eq!(client.read_reply().unwrap().value.text(), format!("value:{index}"));
    }
}

#[test]
fn large_values_arrive_intact_in_both_directions() {
    let encrypted = Encrypted::start("");
    let mut client = encrypted.client();
    for len in [16_383, 16_384, 32 * 1024, 65_535, 1 << 20, 20_000_003] {
        let value: Vec<u8> = (0..len).map(|at: usize| ((at * 31) >> 3) as u8).collect();
        // The next request is in the same records as the end of the value.
        client.send(&[b"SET", &b"key"[..], &value]).unwrap();
        client.send(&["STRLEN", "key"]).unwrap();
        client.send(&["GET", "key"]).unwrap();
        assert_eq!(client.read_reply().unwrap().value.text(), "OK");
        assert_eq!(client.read_reply().unwrap().value.integer(), len as i64);
        assert!(client.read_reply().unwrap().value == Value::Bulk(value), "the value of {len} bytes differs");
    }
}

#[test]
fn transactions_subscriptions_and_blocking_work() {
    let encrypted = Encrypted::start("");
    let (mut one, mut other) = (encrypted.client(), encrypted.client());
    one.send_raw(b"MULTI\r\nINCR n\r\nINCR n\r\nEXEC\r\n").unwrap();
    for expected in ["OK", "QUEUED", "QUEUED"] {
        assert_eq!(one.read_reply().unwrap().value.text(), expected);
    }
    assert_eq!(one.read_reply().unwrap().value.elements(), [Value::Integer(1), Value::Integer(2)]);
    one.run("SUBSCRIBE news");
    let message = "m".repeat(100_000);
    assert_eq!(other.call(&["PUBLISH", "news", &message]).integer(), 1);
    assert_eq!(one.read_reply().unwrap().value.elements()[2].text(), message);
    // Requests behind a blocking one are executed after it ends.
    let mut blocked = encrypted.client();
    blocked.send_raw(b"BLPOP list 0\r\nINCR n\r\n").unwrap();
    other.wait_for_info("blocked_clients", |count| count == 1);
    // Meanwhile more requests arrive than fit into one buffer.
    let filler = encode(&["SET", "filler", &"f".repeat(3000)]).repeat(60);
    blocked.send_raw(&filler).unwrap();
    assert_eq!(other.run("RPUSH list x").integer(), 1);
    assert_eq!(blocked.read_reply().unwrap().value.elements()[1].text(), "x");
    assert_eq!(blocked.read_reply().unwrap().value.integer(), 3);
    for _ in 0..60 {
        assert_eq!(blocked.read_reply().unwrap().value.text(), "OK");
    }
}

#[test]
fn requests_received_during_a_pause_are_executed_afterwards() {
    let encrypted = Encrypted::start("");
    let (mut paused, mut plain) = (encrypted.client(), encrypted.server.client());
    plain.ok("CLIENT PAUSE 100000 WRITE");
    paused.send_raw(&encode(&["SET", "key", &"v".repeat(1000)]).repeat(200)).unwrap();
    plain.wait_for_info("blocked_clients", |count| count == 1);
    plain.ok("CLIENT UNPAUSE");
    for _ in 0..200 {
        assert_eq!(paused.read_reply().unwrap().value.text(), "OK");
    }
}

#[test]
fn a_slow_reader_receives_all_replies_while_other_clients_are_served() {
    let encrypted = Encrypted::start("");
    let (mut slow, mut other) = (encrypted.client(), encrypted.client());
    let value = "v".repeat(1_000_000);
    assert_eq!(other.call(&["SET", "key", &value]).text(), "OK");
    let requests = 60;
    for _ in 0..requests {
        slow.send(&["GET", "key"]).unwrap();
        slow.send(&["GETRANGE", "key", "0", "9"]).unwrap();
    }
    eventually("pending output that the socket does not accept", || {
        let list = other.run("CLIENT LIST").text();
        list.split(' ')
            .any(|field| {
                field.strip_prefix("omem=").is_some_and(|bytes| bytes.parse::<u64>().unwrap() > 1_000_000)
            })
            .then_some(())
    });
    for _ in 0..requests {
        assert!(slow.read_reply().unwrap().value.text() == value, "a reply differs");
        assert_eq!(slow.read_reply().unwrap().value.text(), "vvvvvvvvvv");
    }
}

#[test]
fn records_that_arrive_byte_by_byte_are_reassembled() {
    let encrypted = Encrypted::start("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = listener.local_addr().unwrap();
    let target = encrypted.port;
    let relay = std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        for byte in BufReader::new(&client).bytes() {
            let Ok(byte) = byte else { break };
            (&server).write_all(&[byte]).unwrap();
        }
        server.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = back.join();
    });
    let mut client =
        Client::encrypted_over(TcpStream::connect(near).unwrap(), &encrypted.connector(Some("client")))
            .unwrap();
    for index in 0..20 {
        assert_eq!(client.call(&["SET", "key", &"x".repeat(index * 50)]).text(), "OK");
        assert_eq!(client.run("STRLEN key").integer(), index as i64 * 50);
    }
    client.finish_sending();
    assert!(client.wait_closed().is_empty());
    relay.join().unwrap();
}
