//! Subscribers that do not read: they are disconnected by their own limits, share the pending messages, and delay no
//! other client.

mod support;

use std::net::TcpStream;

use support::client::encode;
use support::{Client, Server, Value, eventually};

const MB: u64 = 1 << 20;

/// The number of `field` in a line of CLIENT LIST.
fn number(line: &str, field: &str) -> u64 {
    let text = line.split([' ', '\n']).find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    text.expect("a field").parse().expect("a number")
}

/// A client subscribed to `channel`.
fn subscriber(server: &Server, channel: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.run(&format!("SUBSCRIBE {channel}")).elements()[2], Value::Integer(1));
    client
}

fn limit(control: &mut Client, limit: &str) {
    assert!(!control.call(&["CONFIG", "SET", "client-output-buffer-limit", limit]).is_error(), "{limit}");
}

/// More messages of 60 KB than any socket holds.
const MANY: usize = 2000;

#[test]
fn a_subscriber_that_does_not_read_is_cut_at_the_hard_limit_and_nobody_waits_for_it() {
    let server = Server::start("");
    let mut publisher = server.client();
    limit(&mut publisher, "pubsub 1mb 0 0");
    let (mut slow, mut steady) = (subscriber(&server, "news"), subscriber(&server, "news"));
    // A normal client has no such limit, however large its output buffer.
    let mut ordinary = server.client();
    publisher.call(&[&b"SET"[..], b"big", &vec![b'b'; 16 << 20]]);
    ordinary.send(&["GET", "big"]).expect("send");
    let before = server.resident_bytes();
    let mut receivers = 2;
    for n in 0..MANY {
        let message = format!("{n:-<60000}");
        let told = publisher.call(&["PUBLISH", "news", &message]).integer();
        assert!(told <= receivers, "a disconnected subscriber does not come back");
        receivers = told;
        assert_eq!(steady.read_reply().expect("the message").value.elements()[2].text(), message);
    }
    assert_eq!(receivers, 1);
    assert_eq!(publisher.info_number("client_output_buffer_limit_disconnections"), 1);
    assert_eq!(publisher.info_number("pubsub_channels"), 1);
    server.wait_for_log("overcoming of output buffer limits");
    let after = server.resident_bytes();
    assert!(after < before + 16 * MB, "memory grew from {} to {} MB", before / MB, after / MB);
    // It gets only the bytes that its socket had accepted.
    assert!(slow.wait_closed().len() < MANY * 60_000);
    assert_eq!(ordinary.read_reply().expect("the value").value.text().len(), 16 << 20);
}

#[test]
fn a_subscriber_over_the_soft_limit_is_cut_after_its_seconds_though_nothing_more_is_published() {
    let server = Server::start("");
    let mut publisher = server.client();
    limit(&mut publisher, "pubsub 0 1mb 1000000");
    let (mut slow, mut other) = (subscriber(&server, "news"), subscriber(&server, "other"));
    let message = "m".repeat(60_000);
    for _ in 0..MANY {
        assert_eq!(
            publisher.call(&["PUBLISH", "news", &message]).integer(),
            1,
            "its soft seconds are not over"
        );
    }
    let list = publisher.run("CLIENT LIST TYPE pubsub").text();
    assert!(list.lines().any(|line| number(line, "omem") > 4 * MB), "{list}");
    limit(&mut publisher, "pubsub 0 1mb 1");
    publisher.wait_for_info("client_output_buffer_limit_disconnections", |n| n == 1);
    assert_eq!(publisher.run("PUBLISH news x").integer(), 0);
    assert_eq!(publisher.run("PUBLISH other x").integer(), 1);
    assert_eq!(other.read_reply().expect("the message").value.elements()[2].text(), "x");
    slow.wait_closed();
}

/// The kernel buffers about 400 KB for each of them: more subscribers would test the kernel, not the server.
#[test]
fn a_thousand_subscribers_that_do_not_read_share_one_message() {
    const COUNT: usize = 1000;
    const SIZE: usize = 4 << 20;
    support::raise_open_files(COUNT as u64 + 500);
    let server = Server::start("--tcp-backlog 4096");
    let mut publisher = server.client();
    publisher.ok("CONFIG SET latency-tracking no");
    let mut slow: Vec<Client> = (0..COUNT).map(|_| subscriber(&server, "news")).collect();
    let (resident, used) = (server.resident_bytes(), publisher.info_number("used_memory"));
    let message = vec![b'm'; SIZE];
    assert_eq!(publisher.call(&[&b"PUBLISH"[..], b"news", &message]).integer(), COUNT as i64);
    let waiting = publisher.run("CLIENT LIST TYPE pubsub").text();
    let sum: u64 = waiting.lines().map(|line| number(line, "omem")).sum();
    assert!(sum > (COUNT * SIZE / 2) as u64, "most of it is in output buffers: {} MB", sum / MB);
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 24 * MB, "{} MB for one message of 4", grown / MB);
    let used_since = publisher.info_number("used_memory") - used;
    assert!(used_since < 8 << 20, "{used_since} bytes for one message of 4 MB");
    let memory: u64 = waiting.lines().map(|line| number(line, "tot-mem")).sum();
    assert!(memory < 8 * MB, "each has its share of the message: {memory}");
    // Clients that disconnect in the middle of the message take nothing with them; the others receive all of it.
    slow.drain(1..);
    publisher.wait_for_info("connected_clients", |n| n == 2);
    assert_eq!(publisher.run("PUBSUB NUMSUB news").elements()[1].integer(), 1);
    let received = slow[0].read_reply().expect("the message").value.elements()[2].text();
    assert!(received.len() == SIZE && received.bytes().all(|byte| byte == b'm'));
    publisher.wait_for_info("used_memory", |n| n < used + (1 << 20));
}

#[test]
fn ten_thousand_subscribers_get_a_message_that_is_encoded_once() {
    const COUNT: usize = 9_000;
    const SIZE: usize = 4000;
    use std::io::{Read, Write};
    support::raise_open_files(COUNT as u64 + 500);
    let server = Server::start(&format!("--maxclients {} --tcp-backlog 4096", COUNT + 10));
    let mut publisher = server.client();
    let mut clients: Vec<TcpStream> = Vec::with_capacity(COUNT);
    for n in 0..COUNT {
        let address = ("127.0.0.1", server.port());
        clients.push(TcpStream::connect(address).unwrap_or_else(|e| panic!("connection {n}: {e}")));
        clients[n].write_all(&encode(&["SUBSCRIBE", "news"])).expect("send");
    }
    eventually("all subscriptions", || {
        (publisher.run("PUBSUB NUMSUB news").elements()[1].integer() == COUNT as i64).then_some(())
    });
    let before = server.peak_resident_bytes();
    let messages: Vec<String> = (0..3).map(|n| format!("{n}").repeat(SIZE)).collect();
    for message in &messages {
        assert_eq!(publisher.call(&["PUBLISH", "news", message]).integer(), COUNT as i64);
    }
    let mut expected = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n".to_vec();
    for message in &messages {
        expected.extend(encode(&["message", "news", message]));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(support::DEADLINE)).expect("set a deadline");
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).unwrap_or_else(|e| panic!("client {n}: {e}"));
        assert!(received == expected, "client {n}");
    }
    let most = server.peak_resident_bytes();
    let copies = (COUNT * SIZE) as u64;
    assert!(most < before + copies / 3, "{} KB for messages of 4", (most - before) >> 10);
    drop(clients);
    publisher.wait_for_info("connected_clients", |n| n == 1);
    assert_eq!(publisher.info_number("pubsub_channels"), 0);
}

#[test]
fn subscribers_that_vanish_in_the_middle_of_a_message_leave_nothing_behind() {
    let server = Server::start("");
    let mut publisher = server.client();
    let mut steady = subscriber(&server, "news");
    let message = "m".repeat(300_000);
    let quiet = server.open_files();
    for round in 0..20 {
        let mut gone: Vec<Client> = (0..10).map(|_| subscriber(&server, "news")).collect();
        gone[0].run("PSUBSCRIBE n*");
        // The server may serve the publisher before it notices that others have disconnected.
        publisher.wait_for_info("connected_clients", |n| n == 12);
        assert_eq!(publisher.call(&["PUBLISH", "news", &message]).integer(), 12);
        match round % 3 {
            0 => drop(gone),
            1 => {
                for client in &mut gone {
                    client.read_raw(1000).expect("a part of it");
                }
                drop(gone);
            }
            _ => {
                assert_eq!(publisher.run("CLIENT KILL TYPE pubsub").integer(), 11);
                for client in &mut gone {
                    client.wait_closed();
                }
                steady.wait_closed();
                steady = subscriber(&server, "news");
                continue;
            }
        }
        assert_eq!(steady.read_reply().expect("the message").value.elements()[2].text(), message);
    }
    publisher.wait_for_info("connected_clients", |n| n == 2);
    eventually("closed sockets", || (server.open_files() <= quiet).then_some(()));
    assert_eq!(publisher.info_number("pubsub_patterns"), 0);
    assert_eq!(publisher.run("PUBLISH news x").integer(), 1);
}

/// In RESP3 a subscriber may call any command: its replies are limited like its messages.
#[test]
fn a_single_reply_is_limited_by_the_class_of_its_client() {
    let server = Server::start("");
    let mut control = server.client();
    limit(&mut control, "pubsub 1mb 0 0");
    control.run("SADD s a b c");
    let mut greedy = server.client();
    greedy.run("HELLO 3");
    // 2 MB: normal clients have no limit.
    let draw = ["SRANDMEMBER", "s", "-300000"];
    assert_eq!(greedy.call(&draw).elements().len(), 300_000);
    greedy.send(&["SUBSCRIBE", "news"]).expect("send");
    greedy.read_reply().expect("the subscription");
    let before = server.peak_resident_bytes();
    greedy.send(&["SRANDMEMBER", "s", "-9000000000000000000"]).expect("send");
    greedy.wait_closed();
    control.wait_for_info("client_output_buffer_limit_disconnections", |n| n == 1);
    let most = server.peak_resident_bytes();
    assert!(most < before + 32 * MB, "memory grew from {} to {} MB", before / MB, most / MB);
}
