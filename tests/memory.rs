//! Memory returns to the system when keys are deleted, and the allocator reserves no addresses where the address space
//! is limited.

#![cfg(all(feature = "slab", target_os = "linux"))]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit};
use support::client::encode;
use support::{Client, Launch, Server, Value, eventually, status_field};

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

/// Deletes 19 of 20 keys set by [`fill`], then the rest.
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

/// Fills a server with 60 MB of values of this length, deletes them, and waits until the memory is back at the system.
fn memory_comes_and_goes(len: usize) {
    let count = (60 << 20) / len;
    let server = Server::start("");
    let mut client = server.client();
    // Allocates the memory that the server needs for any request first.
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

/// The length of the values does not matter, and no MEMORY PURGE is needed.
#[test]
fn memory_of_deleted_values_goes_back_to_the_system() {
    std::thread::scope(|scope| {
        for len in [100, 5000, 20_000, 100_000, 1_500_000] {
            scope.spawn(move || memory_comes_and_goes(len));
        }
    });
}

/// All memory of a collection is freed, even if other clients work during the deletion.
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
            // Keys of the same size as a member remain between the members.
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

/// The memory of scripts comes from the system's allocator, which leaves free blocks between blocks in use.
#[test]
fn memory_of_a_script_goes_back_to_the_system() {
    let server = Server::start("");
    let mut client = server.client();
    assert_eq!(client.call(&["EVAL", "return 1", "0"]), Value::Integer(1));
    let before = server.resident_bytes();
    let script = "local t = {} for i = 1, 800000 do t[i] = {i} end error('x')";
    assert!(client.call(&["EVAL", script, "0"]).is_error());
    assert!(server.peak_resident_bytes() > before + 40 * MB);
    eventually("the memory of the script back at the system", || {
        (server.resident_bytes() < before + 8 * MB).then_some(())
    });
}

/// The allocator reserves addresses for a growing keyspace; under a limit it leaves them to the data.
#[test]
fn a_limited_address_space_holds_data_up_to_nearly_the_limit() {
    const LIMIT: u64 = 500;
    if getrlimit(Resource::RLIMIT_AS).expect("getrlimit").0 < LIMIT * MB {
        return;
    }
    let server = Launch::subject().address_space(Some(LIMIT)).start();
    let mut client = server.client();
    // Three quarters of the limit, in values stored in slabs, in runs of slabs and in separate mappings.
    fill(&mut client, "small", 1_000_000, 40);
    fill(&mut client, "medium", 20_000, 9000);
    fill(&mut client, "large", 400, 150_000);
    fill(&mut client, "huge", 35, 2_000_000);
    assert_eq!(client.run("DBSIZE"), Value::Integer(1_020_435));
    assert!(client.info_number("used_memory") > (350 * MB) as i64);
    assert_eq!(client.run("STRLEN huge:34"), Value::Integer(2_000_000));
}

/// Data of one type: the commands that create some megabytes of it, and the number of its keys (`key:0` and so on).
struct Kind {
    name: &'static str,
    keys: usize,
    fill: fn(&mut Client),
}

/// The data that the tests measure. Sorted sets are filled in order: filled at random, their leaves leave some percent
/// of the slabs unused.
const KINDS: &[Kind] = &[
    Kind {
        name: "strings of 3 bytes",
        keys: 300_000,
        fill: |client| client.ok("DEBUG POPULATE 300000 key 3"),
    },
    Kind {
        name: "strings of 32 bytes",
        keys: 200_000,
        fill: |client| client.ok("DEBUG POPULATE 200000 key 32"),
    },
    Kind {
        name: "strings of 100 bytes",
        keys: 100_000,
        fill: |client| client.ok("DEBUG POPULATE 100000 key 100"),
    },
    Kind { name: "strings of 2 kB", keys: 6000, fill: |client| client.ok("DEBUG POPULATE 6000 key 2000") },
    Kind { name: "strings of 100 kB", keys: 120, fill: |client| client.ok("DEBUG POPULATE 120 key 100000") },
    Kind {
        name: "a hash",
        keys: 1,
        fill: |client| collect(client, "HSET key:0", 250, |i| format!("field:{i} value:{i:010}")),
    },
    Kind {
        name: "a set",
        keys: 1,
        fill: |client| collect(client, "SADD key:0", 250, |i| format!("member:{i:012}")),
    },
    Kind {
        name: "a sorted set",
        keys: 1,
        fill: |client| collect(client, "ZADD key:0", 150, |i| format!("{i} member:{i:010}")),
    },
    Kind {
        name: "a list",
        keys: 1,
        fill: |client| collect(client, "RPUSH key:0", 400, |i| format!("element:{i:020}")),
    },
    Kind {
        name: "a stream",
        keys: 1,
        fill: |client| {
            pipeline(client, 250_000, |i| encode(&["XADD", "key:0", "*", "f", &format!("{i:025}")]));
        },
    },
    Kind {
        name: "small hashes",
        keys: 100_000,
        fill: |client| {
            pipeline(client, 100_000, |i| {
                let key = format!("key:{i}");
                encode(&["HSET", &key, "name", "somebody", "age", "42", "mail", "somebody@example.org"])
            });
        },
    },
];

/// Sends requests in groups of a thousand.
fn pipeline(client: &mut Client, count: usize, request: impl Fn(usize) -> Vec<u8>) {
    for start in (0..count).step_by(1000) {
        let requests: Vec<u8> = (start..start + 1000).flat_map(&request).collect();
        client.send_raw(&requests).expect("send");
        for _ in 0..1000 {
            assert!(!client.read_reply().expect("a reply").value.is_error());
        }
    }
}

/// Adds `thousands` of members to a collection.
fn collect(client: &mut Client, command: &str, thousands: usize, member: impl Fn(usize) -> String) {
    for start in (0..thousands * 1000).step_by(1000) {
        let mut line = command.to_string();
        for i in start..start + 1000 {
            line.push(' ');
            line.push_str(&member(i));
        }
        assert!(!client.run(&line).is_error(), "{command}");
    }
}

/// Unlinks all keys, and waits until their memory has been freed.
fn unlink_all(client: &mut Client, keys: &[String]) {
    for group in keys.chunks(1000) {
        let mut words = vec!["UNLINK"];
        words.extend(group.iter().map(String::as_str));
        assert_eq!(client.call(&words), Value::Integer(group.len() as i64));
    }
    client.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
}

/// Waits until the table of keys has its final size, and runs MEMORY PURGE.
fn settle(client: &mut Client) {
    eventually("the end of a rehash", || {
        (!client.run("DEBUG HTSTATS 0").text().contains("rehashing")).then_some(())
    });
    // The background thread frees the old table, which does not count as pending; a collection after it does.
    let members: Vec<String> = (0..1000).map(|i| format!("member:{i}")).collect();
    client.run(&format!("SADD last {}", members.join(" ")));
    assert_eq!(client.run("UNLINK last"), Value::Integer(1));
    client.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
    client.ok("MEMORY PURGE");
}

/// The sum of MEMORY USAGE of these keys, without their slots in the table; with many keys, a sample is extrapolated.
fn sum_of_usage(client: &mut Client, keys: &[String]) -> i64 {
    const SLOT: i64 = 8;
    const ENOUGH: usize = 1000;
    let some: Vec<&String> = keys.iter().step_by(keys.len().div_ceil(ENOUGH)).collect();
    let usage = |key: &&String| client.call(&["MEMORY", "USAGE", key]).integer() - SLOT;
    some.iter().map(usage).sum::<i64>() * keys.len() as i64 / some.len() as i64
}

/// A number of MEMORY STATS; `name` may lead into an inner map.
fn figure(client: &mut Client, name: &[&str]) -> i64 {
    let mut value = client.run("MEMORY STATS");
    for part in name {
        let pairs = value.elements();
        let pair = pairs.chunks(2).find(|pair| pair[0].text() == *part).expect("a field of this name");
        value = pair[1].clone();
    }
    value.integer()
}

/// The memory in use according to MEMORY MALLOC-STATS.
fn sum_of_allocators(client: &mut Client) -> i64 {
    let text = client.run("MEMORY MALLOC-STATS").text();
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        found.trim().parse::<i64>().expect("a number")
    };
    let parts = [
        "Process heap, live:",
        "Large blocks, live:",
        "Mapped tables:",
        "Rings of connections:",
        "Slabs, live blocks:",
    ];
    parts.map(line).iter().sum()
}

/// Anonymous memory of the process, without the pages of its executable.
fn anonymous_bytes(server: &Server) -> i64 {
    let kilobytes = status_field(server.pid(), "RssAnon");
    kilobytes.trim_end_matches(" kB").trim().parse::<i64>().expect("a number") << 10
}

fn assert_within(percent: i64, one: i64, other: i64, what: &str) {
    assert!((one - other).abs() * 100 <= other * percent, "{what}: {one} and {other}");
}

/// For each type of data: `used_memory` grows as the process does, MEMORY USAGE reports the size, MEMORY STATS the part
/// that is data, and after a deletion `used_memory` has its old value.
#[test]
fn figures_of_memory_are_those_of_the_process_whatever_the_data_is() {
    let next = AtomicUsize::new(0);
    let check = || {
        while let Some(kind) = KINDS.get(next.fetch_add(1, Ordering::Relaxed)) {
            check_figures(kind);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(check);
        scope.spawn(check);
    });
}

fn check_figures(kind: &Kind) {
    let Kind { name, fill, .. } = kind;
    let keys: Vec<String> = (0..kind.keys).map(|i| format!("key:{i}")).collect();
    let server = Server::start("--enable-debug-command yes --slowlog-log-slower-than -1");
    let mut client = server.client();
    // The first run creates buffers and threads that remain.
    fill(&mut client);
    unlink_all(&mut client, &keys);
    client.ok("FLUSHALL");
    settle(&mut client);
    let (used, resident) = (client.info_number("used_memory"), anonymous_bytes(&server));
    let dataset = client.info_number("used_memory_dataset");

    fill(&mut client);
    settle(&mut client);
    let growth = client.info_number("used_memory") - used;
    assert!(growth > 6 * MB as i64, "{name}: {growth}");
    assert_within(5, anonymous_bytes(&server) - resident, growth, &format!("{name}: resident and used"));
    assert!(client.info_number("used_memory_peak") >= used + growth, "{name}");
    let diagnosis = client.run("MEMORY DOCTOR").text();
    for complaint in ["Holes in slabs", "Unused pages"] {
        assert!(!diagnosis.contains(complaint), "{name}: {diagnosis}");
    }
    assert_within(
        1,
        sum_of_allocators(&mut client),
        used + growth,
        &format!("{name}: MALLOC-STATS and used"),
    );
    let tables: i64 = ["overhead.hashtable.main", "overhead.hashtable.expires"]
        .iter()
        .map(|table| figure(&mut client, &["db.0", table]))
        .sum();
    let usage = sum_of_usage(&mut client, &keys) + tables;
    assert_within(5, usage, growth, &format!("{name}: MEMORY USAGE and used"));
    let data = client.info_number("used_memory_dataset") - dataset;
    assert_within(5, data, growth - tables, &format!("{name}: data and used"));
    assert_eq!(figure(&mut client, &["keys.count"]), keys.len() as i64, "{name}");

    unlink_all(&mut client, &keys);
    eventually(&format!("{name}: the memory as before"), || {
        (client.info_number("used_memory") < used + (64 << 10)).then_some(())
    });
}

/// Bytes that wait for the disk are reported, and do not count towards `maxmemory`.
#[test]
fn connections_and_what_waits_for_them_are_overhead_and_no_data() {
    let server = Server::start("--appendonly yes");
    let mut client = server.client();
    client.call(&[&b"SET"[..], b"key", &vec![b'v'; 20_000]]);
    let dataset = client.info_number("used_memory_dataset");
    let before = client.info_number("mem_clients_normal");
    let mut others: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for other in &mut others {
        other.ok("MULTI");
        other.call(&[&b"SET"[..], b"key", &vec![b'v'; 100_000]]);
    }
    let clients = client.info_number("mem_clients_normal") - before;
    assert!((50 * 100_000..60 * 100_000).contains(&clients), "{clients}");
    assert_eq!(figure(&mut client, &["clients.normal"]) / 1_000_000, clients / 1_000_000);
    let data = client.info_number("used_memory_dataset") - dataset;
    assert!(data.abs() < 200_000, "{data}");
    let (buffer, uncounted) =
        (client.info_number("mem_aof_buffer"), client.info_number("mem_not_counted_for_evict"));
    assert!(buffer > 0 && buffer == uncounted, "{buffer} {uncounted}");
    assert_eq!(figure(&mut client, &["aof.buffer"]), buffer);
    client.ok("CONFIG SET appendonly no");
    assert_eq!(client.info_number("mem_aof_buffer"), 0);
    drop(others);
    client.wait_for_info("mem_clients_normal", |clients| clients < before + 20_000);
}

#[test]
fn memory_of_replies_is_free_soon_after_a_client_was_closed_for_too_much_output() {
    let server = Server::start("");
    let mut client = server.client();
    let reply = client.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]);
    assert_eq!(reply.text(), "OK");
    client.call(&[&b"SET"[..], b"key", &[b'v'; 1000]]);
    let before = client.info_number("used_memory");
    let mut greedy = server.client();
    let requests: Vec<u8> = (0..150).flat_map(|_| encode(&["GET", "key"])).collect();
    greedy.send_raw(&requests).expect("sent");
    greedy.wait_closed();
    client.wait_for_info("used_memory", |used| used < before + 50_000);
}

const MIB: i64 = 1 << 20;

/// Buffers shared by all clients keep some of their room for the next iteration.
#[test]
fn memory_purge_frees_the_buffers_that_large_replies_and_monitors_have_enlarged() {
    let server = Server::start("");
    let mut client = server.client();
    let before = client.info_number("used_memory");
    let mut monitor = server.client();
    monitor.ok("MONITOR");
    let calls = "for i = 1, 4000 do redis.call('PUBLISH', 'channel', string.rep('x', 1000)) end return string.rep('y', 3000000)";
    let mut subscriber = server.client();
    subscriber.run("SUBSCRIBE channel");
    assert_eq!(client.call(&["EVAL", calls, "0"]).text().len(), 3_000_000);
    drop((monitor, subscriber));
    client.wait_for_info("connected_clients", |count| count == 1);
    let kept = client.info_number("used_memory") - before;
    assert!(kept > MIB, "nothing to free, the test tests nothing: {kept} bytes");
    client.ok("SCRIPT FLUSH");
    client.ok("MEMORY PURGE");
    let left = client.info_number("used_memory") - before;
    assert!(left < MIB / 4, "{left} bytes more than before");
}

/// Messages alternate between two channels with two subscribers each, so none can be joined with the one before.
#[test]
fn memory_purge_frees_the_lists_of_messages_and_of_their_receivers() {
    let server = Server::start("");
    let mut client = server.client();
    let before = client.info_number("used_memory");
    let mut subscribers = Vec::new();
    for channel in ["a", "a", "b", "b"] {
        let mut subscriber = server.client();
        subscriber.run(&format!("SUBSCRIBE {channel}"));
        subscribers.push(subscriber);
    }
    let calls = "for i = 1, 30000 do redis.call('PUBLISH', 'a', 'x') redis.call('PUBLISH', 'b', 'x') end";
    client.call(&["EVAL", calls, "0"]);
    drop(subscribers);
    client.wait_for_info("connected_clients", |count| count == 1);
    let kept = client.info_number("used_memory") - before;
    assert!(kept > MIB, "nothing to free, the test tests nothing: {kept} bytes");
    client.ok("SCRIPT FLUSH");
    client.ok("MEMORY PURGE");
    let left = client.info_number("used_memory") - before;
    assert!(left < MIB / 4, "{left} bytes more than before");
}
