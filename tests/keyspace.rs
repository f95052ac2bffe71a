//! Keys over time: active expiry, expiry on access, and SCAN while the keyspace changes.

mod support;

use std::collections::HashSet;
use support::{Client, Random, Server, Value, eventually};

fn pipeline(client: &mut Client, requests: impl Iterator<Item = Vec<u8>>) {
    let requests: Vec<Vec<u8>> = requests.collect();
    for batch in requests.chunks(1000) {
        client.send_raw(&batch.concat()).expect("send");
        for _ in batch {
            let reply = client.read_reply().expect("a reply");
            assert!(!reply.value.is_error(), "{reply:?}");
        }
    }
}

fn set(key: &str, rest: &[&str]) -> Vec<u8> {
    let mut words = vec!["SET", key, "value"];
    words.extend(rest);
    support::client::encode(&words)
}

/// Waits until the server's clock has advanced by more than a second: at least ten runs of cron.
fn wait_for_timer(client: &mut Client) {
    let start = client.info_number("uptime_in_seconds");
    client.wait_for_info("uptime_in_seconds", |now| now >= start + 2);
}

#[test]
fn expired_keys_vanish_without_being_touched() {
    let server = Server::start("");
    let mut client = server.client();
    pipeline(
        &mut client,
        (0..20_000).map(|n| set(&format!("dies:{n}"), &["PX", &format!("{}", 1 + n % 300)])),
    );
    pipeline(&mut client, (0..1000).map(|n| set(&format!("lives:{n}"), &["EX", "1000"])));
    client.ok("SELECT 9");
    pipeline(&mut client, (0..100).map(|n| set(&format!("dies:{n}"), &["PX", "100"])));
    eventually("empty databases", || (client.run("DBSIZE").integer() == 0).then_some(()));
    client.ok("SELECT 0");
    eventually("only living keys", || (client.run("DBSIZE").integer() == 1000).then_some(()));
    assert_eq!(client.info_number("expired_keys"), 20_100);
    assert!(client.info("db0").starts_with("keys=1000,expires=1000,"));
}

#[test]
fn without_active_expiry_a_key_vanishes_when_it_is_looked_at() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    client.ok("SET a v PX 1");
    client.ok("SET b v PX 1");
    client.ok("SET c v");
    wait_for_timer(&mut client);
    assert_eq!(client.run("DBSIZE").integer(), 3, "nobody looked");
    assert!(client.run("GET a").is_null());
    assert_eq!(client.run("DBSIZE").integer(), 2, "a was looked at");
    assert_eq!(client.info_number("expired_keys"), 1);
    client.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    eventually("active expiry", || (client.run("DBSIZE").integer() == 1).then_some(()));
    assert_eq!(client.run("GET c").text(), "v");
}

#[test]
fn a_key_lives_until_its_time_and_not_longer() {
    let server = Server::start("");
    let mut client = server.client();
    for _ in 0..20 {
        let time = client.run("TIME").elements();
        let now_ms = time[0].text().parse::<i64>().expect("s") * 1000
            + time[1].text().parse::<i64>().expect("us") / 1000;
        client.ok(&format!("SET k v PXAT {}", now_ms + 30));
        loop {
            let reply = client.run("GET k");
            let time = client.run("TIME").elements();
            let after = time[0].text().parse::<i64>().expect("s") * 1000
                + time[1].text().parse::<i64>().expect("us") / 1000;
            if reply.is_null() {
                assert!(after >= now_ms + 30, "expired too early");
                break;
            }
            assert!(after < now_ms + 5000, "there long after its time");
        }
    }
}

#[test]
fn keys_that_expire_together_do_not_stop_the_server() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    let time = client.run("TIME").elements()[0].text().parse::<i64>().expect("seconds") + 2;
    pipeline(&mut client, (0..50_000).map(|n| set(&format!("k{n}"), &["EXAT", &time.to_string()])));
    let mut answered = 0;
    eventually("the end of all", || {
        answered += 1;
        (client.run("DBSIZE").integer() == 0).then_some(())
    });
    assert!(answered > 1);
}

/// One complete iteration; `between` runs between its calls.
fn scan(client: &mut Client, count: usize, mut between: impl FnMut(&mut Client)) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    for _ in 0..1_000_000 {
        let reply = client.call(&["SCAN", &cursor, "COUNT", &count.to_string()]).elements();
        found.extend(reply[1].elements().iter().map(Value::text));
        cursor = reply[0].text();
        if cursor == "0" {
            return found;
        }
        between(client);
    }
    panic!("the iteration does not end");
}

#[test]
fn scan_returns_every_key_present_throughout_while_the_keyspace_grows_and_shrinks() {
    let server = Server::start("");
    let mut client = server.client();
    let mut random = Random::new(6);
    let stable: HashSet<String> = (0..3000).map(|n| format!("stable:{n}")).collect();
    pipeline(&mut client, stable.iter().map(|key| set(key, &[])));
    let (mut first, mut next) = (0, 0);
    for count in [1000, 100, 10, 37] {
        let found = scan(&mut client, count, |client| {
            // The table mostly grows in the first half of the range, and mostly shrinks in the second.
            let (add, remove) = if random.chance(2) { (400, 100) } else { (50, 500) };
            pipeline(client, (next..next + add).map(|n| set(&format!("passing:{n}"), &[])));
            next += add;
            let end = (first + remove).min(next);
            pipeline(
                client,
                (first..end).map(|n| support::client::encode(&["DEL", &format!("passing:{n}")])),
            );
            first = end;
        });
        let seen: HashSet<&String> = found.iter().collect();
        let missed: Vec<&String> = stable.iter().filter(|key| !seen.contains(key)).collect();
        assert!(missed.is_empty(), "COUNT {count}: {} keys were missed, such as {}", missed.len(), missed[0]);
        let known = |key: &&String| key.starts_with("stable:") || key.starts_with("passing:");
        assert!(seen.iter().all(known), "a key that never was");
    }
}

#[test]
fn scan_of_a_keyspace_at_rest_returns_every_key_once() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 20000");
    // The table still rehashes for a while after the last key is added.
    wait_for_timer(&mut client);
    for count in [1, 10, 500, 100_000] {
        let found = scan(&mut client, count, |_| {});
        assert_eq!(found.len(), 20_000, "COUNT {count}");
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 20_000, "COUNT {count}");
    }
}

#[test]
fn scan_survives_flushes_and_another_clients_work() {
    let server = Server::start("--enable-debug-command yes");
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("DEBUG POPULATE 5000");
    let mut round = 0;
    let found = scan(&mut client, 10, |_| {
        round += 1;
        if round == 20 {
            other.ok("FLUSHALL");
            other.ok("SET only one");
        }
    });
    assert!(found.len() < 5000);
    assert_eq!(scan(&mut client, 10, |_| {}), ["only"]);
}

#[test]
fn randomkey_finds_every_key_sooner_or_later() {
    let server = Server::start("");
    let mut client = server.client();
    let keys: HashSet<String> = (0..30).map(|n| format!("k{n}")).collect();
    pipeline(&mut client, keys.iter().map(|key| set(key, &[])));
    let mut seen = HashSet::new();
    for _ in 0..20_000 {
        seen.insert(client.run("RANDOMKEY").text());
        if seen == keys {
            return;
        }
    }
    panic!("{} of {} keys after 20,000 draws", seen.len(), keys.len());
}

#[test]
fn a_million_keys_come_and_go() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 1000000 key 10");
    assert_eq!(client.run("DBSIZE").integer(), 1_000_000);
    let mut random = Random::new(8);
    for _ in 0..2000 {
        let n = random.below(1_000_000);
        assert_eq!(client.run(&format!("STRLEN key:{n}")).integer(), 10, "key:{n}");
    }
    assert!(client.run("GET key:1000000").is_null());
    client.ok("FLUSHALL ASYNC");
    assert_eq!(client.run("DBSIZE").integer(), 0);
    assert!(client.run("GET key:7").is_null());
    client.ok("SET key:7 again");
    client.wait_for_info("lazyfree_pending_objects", |n| n == 0);
    assert_eq!(client.run("GET key:7").text(), "again");
}

#[test]
fn idle_times_and_frequencies_follow_the_accesses() {
    let server =
        Server::start("--enable-debug-command yes --maxmemory-policy allkeys-lfu --lfu-log-factor 0");
    let mut client = server.client();
    client.ok("SET hot v");
    client.ok("SET cold v");
    let new = client.run("OBJECT FREQ cold").integer();
    assert!((1..=6).contains(&new), "a new key starts low and not at nothing: {new}");
    for _ in 0..300 {
        client.run("GET hot");
    }
    let (hot, cold) = (client.run("OBJECT FREQ hot").integer(), client.run("OBJECT FREQ cold").integer());
    assert!(hot > 200 && cold <= new, "hot {hot}, cold {cold}");
    client.ok("CONFIG SET maxmemory-policy noeviction");
    client.ok("SET idle v");
    client.wait_for_info("uptime_in_seconds", |s| s >= 3);
    eventually("idle time", || (client.run("OBJECT IDLETIME idle").integer() >= 1).then_some(()));
    client.run("GET idle");
    assert!(client.run("OBJECT IDLETIME idle").integer() < 2, "an access ends the idle time");
}

/// Freeing tens of thousands of blocks takes milliseconds, during which no client would be served; handing over a few
/// blocks costs more than freeing them.
#[test]
fn a_large_collection_is_freed_in_the_background_and_a_small_one_at_once() {
    let server = Server::start("");
    let mut client = server.client();
    let fill = |client: &mut support::Client, kind: &str, count: usize| {
        for first in (0..count).step_by(1000) {
            let numbers = first..count.min(first + 1000);
            let mut args = vec![kind.to_string(), "k".to_string()];
            for n in numbers {
                let element = format!("element of some bytes {n:06}");
                match kind {
                    "HSET" => args.extend([element, n.to_string()]),
                    "ZADD" => args.extend([n.to_string(), element]),
                    "XADD" => {
                        client.call(&["XADD", "k", "*", "field", &element]);
                    }
                    _ => args.push(element),
                }
            }
            if kind != "XADD" {
                assert!(!client.call(&args).is_error());
            }
        }
    };
    for kind in ["RPUSH", "SADD", "HSET", "ZADD", "XADD"] {
        // A node of a list or a stream holds hundreds of elements.
        let many = if kind == "XADD" { 7_000 } else { 20_000 };
        for (count, freed) in [(5, 0), (many, 1)] {
            for delete in ["DEL k", "SET k v", "COPY small k REPLACE"] {
                client.run("SET small v");
                fill(&mut client, kind, count);
                let before = client.info_number("lazyfreed_objects");
                client.run(delete);
                client.wait_for_info("lazyfree_pending_objects", |n| n == 0);
                let after = client.info_number("lazyfreed_objects");
                assert_eq!(after - before, freed, "{delete} of {count} by {kind}");
                client.run("DEL k");
            }
        }
    }
}

#[test]
fn a_flush_replies_when_all_is_freed_and_what_comes_after_it_stays() {
    let server = Server::start("--enable-debug-command yes");
    let (mut flushing, mut other) = (server.client(), server.client());
    for flush in ["FLUSHALL", "FLUSHALL SYNC", "FLUSHDB SYNC"] {
        flushing.ok("DEBUG POPULATE 50000");
        let pipeline = format!("{flush}\r\nINFO memory\r\nSET after 1\r\nDBSIZE\r\n");
        flushing.send_raw(pipeline.as_bytes()).expect("the requests are sent");
        // The other client is served while the memory is being freed, or later; its key is set after the flush.
        eventually("the flush", || Some(()).filter(|()| other.run("DBSIZE").integer() < 50_000));
        other.ok("SET others 1");
        assert_eq!(flushing.read_reply().expect("a reply").value.text(), "OK", "{flush}");
        let memory = flushing.read_reply().expect("a reply").value.text();
        assert!(memory.contains("lazyfree_pending_objects:0\r\n"), "{flush}: {memory}");
        flushing.read_reply().expect("the reply to SET");
        flushing.read_reply().expect("the reply to DBSIZE");
        assert_eq!(other.run("EXISTS after others"), Value::Integer(2), "{flush}");
    }
    assert!(other.info("cmdstat_flushall").starts_with("calls=2,"));
}

#[test]
fn a_client_that_hangs_up_while_its_flush_frees_memory_leaves_nothing_behind() {
    let server = Server::start("--enable-debug-command yes");
    let mut other = server.client();
    let hung_up_in_time = [100_000, 500_000, 2_500_000].iter().any(|keys| {
        other.ok(&format!("DEBUG POPULATE {keys}"));
        let mut flushing = server.client();
        flushing.send_raw(b"FLUSHALL SYNC\r\n").expect("the request is sent");
        eventually("the flush", || Some(()).filter(|()| other.run("DBSIZE") == Value::Integer(0)));
        drop(flushing);
        let in_time = other.info_number("lazyfree_pending_objects") > 0;
        eventually("the client to go", || Some(()).filter(|()| other.info_number("connected_clients") == 1));
        assert_eq!(other.info("blocked_clients"), "0");
        in_time
    });
    assert!(hung_up_in_time, "memory was always freed before the client hung up");
}
