//! Where the server's memory goes: back to the system when keys are deleted, and not to a reservation where the address
//! space is limited.

#![cfg(all(feature = "slab", target_os = "linux"))]

mod support;

use nix::sys::resource::{Resource, getrlimit};
use support::client::encode;
use support::{Client, Launch, Server, Value, eventually};

const MB: u64 = 1 << 20;

/// Sets `count` keys to values of `len` bytes, in pipelines of 100.
fn fill(client: &mut Client, prefix: &str, count: usize, len: usize) {
    let value = vec![b'v'; len];
    for start in (0..count).step_by(100) {
        let end = count.min(start + 100);
        let mut requests = Vec::new();
        for i in start..end {
            requests.extend(encode(&[&b"SET"[..], format!("{prefix}:{i}").as_bytes(), &value]));
        }
        client.send_raw(&requests).expect("send");
        client.discard((end - start) * b"+OK\r\n".len()).expect("replies");
    }
}

/// Deletes 19 of 20 keys that [`fill`] has set, and then all that are left.
fn delete(client: &mut Client, prefix: &str, count: usize) {
    let gone: Vec<usize> = (0..count).filter(|i| i % 20 != 0).collect();
    for group in gone.chunks(100) {
        let requests: Vec<u8> =
            group.iter().flat_map(|i| encode(&["DEL", &format!("{prefix}:{i}")])).collect();
        client.send_raw(&requests).expect("send");
        client.discard(group.len() * b":1\r\n".len()).expect("replies");
    }
    client.ok("FLUSHALL");
}

/// Fills a server with 60 MB of values of this length, deletes them, and waits until the system has the memory back.
fn memory_comes_and_goes(len: usize) {
    let count = (60 << 20) / len;
    let server = Server::start("");
    let mut client = server.client();
    // What the server needs for serving at all is allocated first.
    fill(&mut client, "warm", 10, len);
    client.ok("FLUSHALL");
    let before = server.resident_bytes();
    fill(&mut client, "key", count, len);
    let full = server.resident_bytes();
    assert!(full > before + 50 * MB, "{len}: {} to {} MB", before / MB, full / MB);
    delete(&mut client, "key", count);
    eventually(&format!("the memory of values of {len} bytes back at the system"), || {
        (server.resident_bytes() < before + 8 * MB).then_some(())
    });
}

/// Whatever their size, and without MEMORY PURGE.
#[test]
fn memory_of_deleted_values_goes_back_to_the_system() {
    std::thread::scope(|scope| {
        for len in [100, 5000, 20_000, 100_000, 1_500_000] {
            scope.spawn(move || memory_comes_and_goes(len));
        }
    });
}

/// The memory of a collection that is deleted while other clients work is given back completely.
#[test]
fn memory_of_a_collection_freed_in_the_background_goes_back_to_the_system() {
    const MEMBERS: usize = 400_000;
    let server = Server::start("");
    let mut client = server.client();
    let before = server.resident_bytes();
    let used_before = client.info_number("used_memory");
    for start in (0..MEMBERS).step_by(1000) {
        let mut words = vec!["ZADD".to_string(), "big".to_string()];
        for i in start..start + 1000 {
            words.extend([(i * 7919 % MEMBERS).to_string(), format!("member:{i:010}")]);
        }
        assert_eq!(client.call(&words), Value::Integer(1000));
        if start % 40_000 == 0 {
            // Keys of the same size as a member stay between the members.
            client.ok(&format!("SET key:{start:012} abc"));
        }
    }
    assert!(server.resident_bytes() > before + 15 * MB);
    assert_eq!(client.run("UNLINK big"), Value::Integer(1));
    eventually("the memory of the collection back at the system", || {
        (server.resident_bytes() < before + 8 * MB).then_some(())
    });
    let used = client.info_number("used_memory");
    assert!(used < used_before + MB as i64, "used_memory was {used_before} and is {used}");
    assert_eq!(client.run("GET key:000000040000"), Value::Bulk(b"abc".to_vec()));
}

/// The allocator reserves addresses for whatever the keyspace may become; under a limit it leaves them to the data.
#[test]
fn a_limited_address_space_holds_data_up_to_nearly_the_limit() {
    const LIMIT: u64 = 500;
    if getrlimit(Resource::RLIMIT_AS).expect("getrlimit").0 < LIMIT * MB {
        return;
    }
    let server = Launch::subject().address_space(Some(LIMIT)).start();
    let mut client = server.client();
    // Three quarters of the limit, in values that lie in slabs, in runs of slabs and in mappings of their own.
    fill(&mut client, "small", 1_000_000, 40);
    fill(&mut client, "medium", 20_000, 9000);
    fill(&mut client, "large", 400, 150_000);
    fill(&mut client, "huge", 40, 2_000_000);
    assert_eq!(client.run("DBSIZE"), Value::Integer(1_020_440));
    assert!(client.info_number("used_memory") > (350 * MB) as i64);
    assert_eq!(client.run("STRLEN huge:39"), Value::Integer(2_000_000));
}
