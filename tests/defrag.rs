//! Active defragmentation, as a user sees it: memory left sparse by scattered deletions goes back to the system, values
//! do not change, and other clients are served meanwhile.

#![cfg(all(feature = "slab", target_os = "linux"))]

mod support;

use support::client::encode;
use support::random::Random;
use support::server::Launch;
use support::{Client, Server, Value, eventually};

/// Sends requests in pipelines; each reply is one line.
fn pipeline(client: &mut Client, requests: impl Iterator<Item = Vec<u8>>) {
    let mut requests = requests.peekable();
    while requests.peek().is_some() {
        let some: Vec<Vec<u8>> = requests.by_ref().take(200).collect();
        client.send_raw(&some.concat()).expect("send");
        for _ in 0..some.len() {
            let reply = client.read_reply().expect("a reply");
            assert!(!reply.value.is_error(), "{reply:?}");
        }
    }
}

fn fill(client: &mut Client, prefix: &str, count: usize, len: usize) {
    let value = vec![b'v'; len];
    pipeline(client, (0..count).map(|i| encode(&[&b"SET"[..], format!("{prefix}:{i}").as_bytes(), &value])));
}

/// Deletes nine of ten of the keys that [`fill`] has set, at random.
fn thin(client: &mut Client, prefix: &str, count: usize) {
    let mut random = Random::new(1);
    let gone: Vec<usize> = (0..count).filter(|_| random.below(10) > 0).collect();
    pipeline(client, gone.iter().map(|i| encode(&["DEL", &format!("{prefix}:{i}")])));
}

fn ratio(client: &mut Client, field: &str) -> f64 {
    client.info(field).parse().expect("a ratio")
}

/// Creates collections with small blocks, some of them large, and removes nine of ten fields.
fn collections(client: &mut Client, items: usize) {
    let add = |key: &str, i: usize| match key {
        "hash" => encode(&["HSET", key, &format!("field:{i}"), &"h".repeat(20 + i % 300)]),
        "set" => encode(&["SADD", key, &format!("member:{i}")]),
        "zset" => encode(&["ZADD", key, &(i % 100).to_string(), &format!("member:{i}")]),
        "list" => encode(&["RPUSH", key, &"e".repeat(i % 200)]),
        _ => encode(&["XADD", key, "*", "field", &i.to_string()]),
    };
    let remove = |key: &str, i: usize| match key {
        "hash" => encode(&["HDEL", key, &format!("field:{i}")]),
        "set" => encode(&["SREM", key, &format!("member:{i}")]),
        "zset" => encode(&["ZREM", key, &format!("member:{i}")]),
        _ => encode(&["PING"]),
    };
    for key in ["hash", "set", "zset", "list", "stream"] {
        pipeline(client, (0..items).map(|i| add(key, i)));
        pipeline(client, (0..items).filter(|i| i % 10 > 0).map(|i| remove(key, i)));
    }
}

#[test]
fn what_scattered_deletions_leave_goes_back_to_the_system() {
    const KEYS: usize = 100_000;
    let server = Server::start(
        "--enable-debug-command yes --active-defrag-ignore-bytes 1mb --active-defrag-cycle-min 40 \
         --active-defrag-cycle-max 60",
    );
    let mut client = server.client();
    fill(&mut client, "key", KEYS, 1000);
    collections(&mut client, 20_000);
    thin(&mut client, "key", KEYS);
    // The classic pattern: later values have another size and do not fit into the holes.
    fill(&mut client, "new", KEYS * 3 / 10, 1500);
    let digest = client.run("DEBUG DIGEST");
    assert!(ratio(&mut client, "mem_fragmentation_ratio") > 1.8, "{}", client.info("used_memory_rss"));
    assert_eq!(client.info_number("active_defrag_running"), 0);

    client.ok("CONFIG SET activedefrag yes");
    let mut other = server.client();
    let mut served = 0;
    eventually("the holes are freed", || {
        // Another client is served meanwhile, and reads back its writes.
        let value = format!("value:{served}");
        assert_eq!(other.call(&["SET", "other", &value]), Value::Simple("OK".into()));
        assert_eq!(other.call(&["GET", "other"]), Value::Bulk(value.into_bytes()));
        served += 1;
        (ratio(&mut client, "mem_fragmentation_ratio") < 1.4).then_some(())
    });
    client.ok("CONFIG SET activedefrag no");
    client.wait_for_info("active_defrag_running", |running| running == 0);
    assert_eq!(other.run("DEL other"), Value::Integer(1));
    assert_eq!(client.run("DEBUG DIGEST"), digest);
    for i in (0..KEYS * 3 / 10).step_by(997) {
        assert_eq!(client.call(&["STRLEN", &format!("new:{i}")]), Value::Integer(1500));
    }
    for i in (0..20_000usize).step_by(10) {
        assert_eq!(
            client.call(&["ZSCORE", "zset", &format!("member:{i}")]),
            Value::Bulk((i % 100).to_string().into())
        );
        assert_eq!(client.call(&["SISMEMBER", "set", &format!("member:{i}")]), Value::Integer(1));
        assert_eq!(
            client.call(&["HSTRLEN", "hash", &format!("field:{i}")]),
            Value::Integer(20 + i as i64 % 300)
        );
    }

    assert!(client.info_number("active_defrag_hits") > 10_000);
    assert!(client.info_number("active_defrag_misses") > 0);
    assert!(client.info_number("active_defrag_key_hits") > 5000);
    assert!(client.info_number("active_defrag_key_misses") > 0);
    assert!(client.info_number("total_active_defrag_time") > 0);
    assert_eq!(client.info_number("current_active_defrag_time"), 0);
    client.ok("CONFIG RESETSTAT");
    for field in ["active_defrag_hits", "active_defrag_key_misses", "total_active_defrag_time"] {
        assert_eq!(client.info_number(field), 0, "{field}");
    }
}

#[test]
fn it_begins_at_its_thresholds_and_not_below_them() {
    const KEYS: usize = 20_000;
    let server = Server::start("--activedefrag yes --active-defrag-cycle-min 30 --loglevel verbose");
    let mut client = server.client();
    fill(&mut client, "key", KEYS, 1000);
    thin(&mut client, "key", KEYS);
    // The holes are below `active-defrag-ignore-bytes`, in several checks by cron.
    let begun = client.info_number("uptime_in_seconds");
    client.wait_for_info("uptime_in_seconds", |now| now > begun + 2);
    assert_eq!(client.info_number("active_defrag_key_hits"), 0);
    // A changed directive applies at once, without waiting for the next check.
    client.ok("CONFIG SET active-defrag-ignore-bytes 1mb");
    client.wait_for_info("active_defrag_key_hits", |hits| hits > 500);
    server.wait_for_log("Starting active defrag, frag=");
    server.wait_for_log("Active defrag done in ");
    assert!(ratio(&mut client, "allocator_frag_ratio") < 1.5);
}

#[test]
fn none_is_done_while_a_child_shares_the_memory() {
    const KEYS: usize = 30_000;
    let server = Server::start(
        "--enable-debug-command yes --active-defrag-ignore-bytes 1mb --active-defrag-cycle-min 30 \
         --rdb-key-save-delay 2000",
    );
    let mut client = server.client();
    fill(&mut client, "key", KEYS, 1000);
    thin(&mut client, "key", KEYS);
    assert_eq!(client.run("BGSAVE"), Value::Simple("Background saving started".into()));
    client.ok("CONFIG SET activedefrag yes");
    let begun = client.info_number("uptime_in_seconds");
    let mut last_seen = begun;
    loop {
        let (hits, now) = (client.info_number("active_defrag_hits"), client.info_number("uptime_in_seconds"));
        if client.info_number("rdb_bgsave_in_progress") == 0 {
            break;
        }
        assert_eq!(hits, 0, "a block has moved while the child was there");
        last_seen = now;
    }
    assert!(last_seen > begun + 1, "the child was there for longer than the fragmentation is not looked at");
    client.wait_for_info("active_defrag_hits", |hits| hits > 500);
}

#[test]
fn the_sample_of_the_directives_is_accepted_at_the_start() {
    let server = Launch::subject()
        .config("activedefrag yes\nactive-defrag-ignore-bytes 64mb\nactive-defrag-max-scan-fields 500\n")
        .start();
    let mut client = server.client();
    for (name, value) in [("activedefrag", "yes"), ("active-defrag-ignore-bytes", "67108864")] {
        let shown = client.call(&["CONFIG", "GET", name]);
        assert_eq!(shown.field(name), Value::Bulk(value.into()));
    }
}
