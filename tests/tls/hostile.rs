//! Peers that violate the protocol or stall: the server closes their connections, and serves other clients meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Value, eventually, raise_open_files_towards};
use crate::{Client, Encrypted};

/// The beginning of a ClientHello. The rest is never sent.
const HALF_HELLO: &[u8] = &[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 1, 2, 3, 4];

#[test]
fn ten_thousand_stalled_handshakes_or_as_many_as_the_descriptor_limit_permits_end_in_time_while_others_are_served()
 {
    // Both processes need some descriptors besides, and the other tests of this process as well.
    let stalled = (raise_open_files_towards(10_000 + 1000) - 1000).min(10_000) as usize;
    let encrypted = Encrypted::start(&format!("--maxclients {}", stalled + 100));
    let mut plain = encrypted.server.client();
    let before = encrypted.server.resident_bytes();
    let streams: Vec<TcpStream> = (0..stalled)
        .map(|index| {
            let mut stream = TcpStream::connect(("127.0.0.1", encrypted.port)).unwrap();
            // Half of them send nothing at all.
            if index % 2 == 0 {
                stream.write_all(HALF_HELLO).unwrap();
            }
            stream
        })
        .collect();
    plain.wait_for_info("total_connections_received", |count| count > stalled as i64);
    let each = encrypted.server.resident_bytes().saturating_sub(before) / stalled as u64;
    assert!(each < 16 * 1024, "{each} bytes per connection");
    let mut drip = TcpStream::connect(("127.0.0.1", encrypted.port)).unwrap();
    let mut dripped = HALF_HELLO.iter().chain(std::iter::repeat(&0));
    let mut last = Instant::now();
    eventually("the end of all stalled handshakes, including one that sends a byte at a time", || {
        if last.elapsed() >= Duration::from_millis(100) {
            last = Instant::now();
            // The server may have closed the connection.
            let _ = drip.write_all(&[*dripped.next().unwrap()]);
        }
        assert_eq!(encrypted.client().run("PING").text(), "PONG");
        (plain.info_number("connected_clients") == 1).then_some(())
    });
    let refused = encrypted.server.log();
    let count = refused.matches("Error accepting a client connection: timed out (addr=127.0.0.1:").count();
    assert_eq!(count, stalled + 1);
    for mut stream in streams {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(stream.read_to_end(&mut Vec::new()).is_ok(), "the server closes the connection");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn without_free_descriptors_the_server_goes_on_and_accepts_clients_again_later() {
    let encrypted = Encrypted::start("");
    let (mut plain, mut client) = (encrypted.server.client(), encrypted.client());
    plain.wait_for_info("connected_clients", |count| count == 2);
    let pid = encrypted.server.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    crate::support::socket_options::limit_open_files(pid, open + 10);
    // More than ten of these handshakes wait to be accepted.
    let streams: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", encrypted.port)).unwrap();
            stream.write_all(HALF_HELLO).unwrap();
            stream
        })
        .collect();
    encrypted.server.wait_for_log("Accepting client connection: Too many open files");
    for _ in 0..100 {
        assert_eq!(client.run("INCR n"), plain.run("GET n").text().parse().map(Value::Integer).unwrap());
    }
    // Files cannot be loaded now. The previous certificates stay in use.
    let cert = encrypted.files.join("server.crt").display().to_string();
    let refused = plain.call(&["CONFIG", "SET", "tls-cert-file", &cert]).text();
    assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
    drop(streams);
    plain.wait_for_info("connected_clients", |count| count == 2);
    assert_eq!(encrypted.client().run("GET n").text(), "100");
}

#[test]
fn a_connection_that_ends_without_close_notify_is_closed() {
    let encrypted = Encrypted::start("");
    let mut plain = encrypted.server.client();
    let mut client = encrypted.client();
    assert_eq!(client.run("SET key value").text(), "OK");
    client.send(&["GET", "key"]).unwrap();
    // Ends the stream without a close_notify: the last reply still arrives.
    client.socket().shut_down_sending().unwrap();
    assert_eq!(client.read_reply().unwrap().value.text(), "value");
    client.wait_closed();
    plain.wait_for_info("connected_clients", |count| count == 1);
    assert!(!encrypted.server.log().contains("Error accepting"));
}

#[test]
fn bytes_that_are_not_a_record_close_the_connection() {
    let encrypted = Encrypted::start("");
    let mut plain = encrypted.server.client();
    for garbage in
        [&b"*1\r\n$4\r\nPING\r\n"[..], &[23, 3, 3, 0, 20, 1, 2, 3], &[0xff; 100], &[23, 3, 3, 0xff, 0xff]]
    {
        let mut client = encrypted.client();
        assert_eq!(client.run("PING").text(), "PONG");
        let _ = client.socket().send(garbage);
        let _ = client.socket().shut_down_sending();
        let _ = client.read_to_end();
    }
    plain.wait_for_info("connected_clients", |count| count == 1);
}

#[test]
fn random_bytes_on_the_tls_port_do_not_affect_other_clients() {
    let encrypted = Encrypted::start("");
    let mut plain = encrypted.server.client();
    let mut random = crate::support::Random::new(25);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", encrypted.port)).unwrap();
        let mut bytes = random.bytes(300);
        bytes[..5].copy_from_slice(&[22, 3, 1, 1, 34]);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    plain.wait_for_info("connected_clients", |count| count == 1);
    assert_eq!(encrypted.client().run("PING").text(), "PONG");
}

#[test]
fn maxclients_limits_encrypted_clients() {
    let encrypted = Encrypted::start("--maxclients 2");
    let mut plain = encrypted.server.client();
    // The connections that waited for the startup are closed.
    plain.wait_for_info("connected_clients", |count| count == 1);
    let mut client = encrypted.client();
    let before = plain.info_number("rejected_connections");
    assert!(encrypted.try_client("client").is_err());
    assert_eq!(plain.info_number("rejected_connections"), before + 1);
    assert_eq!(client.run("PING").text(), "PONG");
}

#[test]
fn the_memory_of_an_idle_connection_is_bounded() {
    const IDLE: usize = 300;
    let encrypted = Encrypted::start("");
    // The first connections allocate memory that stays.
    let mut clients: Vec<Client> = (0..20).map(|_| encrypted.client()).collect();
    let before = encrypted.server.resident_bytes();
    for _ in 0..IDLE {
        let mut client = encrypted.client();
        assert_eq!(client.call(&["ECHO", &"x".repeat(30_000)]).text().len(), 30_000);
        clients.push(client);
    }
    let each = encrypted.server.resident_bytes().saturating_sub(before) / IDLE as u64;
    assert!(each < 24 * 1024, "{each} bytes per connection");
}
