//! `maxmemory`: which keys are evicted, which commands are refused, and that memory stays within the limit.

mod support;

use support::client::encode;
use support::{Client, Server, Value, eventually};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const MB: i64 = 1 << 20;

/// A server whose limit is `room` bytes above the memory of the empty server.
fn limited(policy: &str, room: i64) -> (Server, Client, i64) {
    let server = Server::start(&format!("--save '' --maxmemory-policy {policy}"));
    let mut client = server.client();
    let limit = used(&mut client) + room;
    client.ok(&format!("CONFIG SET maxmemory {limit}"));
    (server, client, limit)
}

fn used(client: &mut Client) -> i64 {
    client.info_number("used_memory")
}

/// Sends all requests at once. Returns their replies.
fn pipeline(client: &mut Client, requests: &[Vec<Vec<u8>>]) -> Vec<Value> {
    let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
    client.send_raw(&bytes).expect("sent");
    requests.iter().map(|_| client.read_reply().expect("a reply").value).collect()
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn set(key: &str, len: usize) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), key.as_bytes().to_vec(), vec![b'v'; len]]
}

/// Sets keys until one is refused. Returns how many were set.
fn fill(client: &mut Client, prefix: &str, len: usize) -> usize {
    for n in 0.. {
        let reply = pipeline(client, &[set(&format!("{prefix}:{n}"), len)]).remove(0);
        if reply.is_error() {
            assert_eq!(reply.text(), OOM);
            return n;
        }
    }
    unreachable!()
}

fn count(client: &mut Client, prefix: &str) -> usize {
    client.run(&format!("KEYS {prefix}:*")).elements().len()
}

#[test]
fn without_eviction_what_takes_memory_is_refused_and_nothing_else() {
    let (server, mut client, limit) = limited("noeviction", 2 * MB);
    let set = fill(&mut client, "key", 10_000);
    assert!(set > 100 && used(&mut client) > limit);
    for line in [
        "SET other value",
        "LPUSH list a",
        "HSET hash f v",
        "SETRANGE key:0 5 x",
        "COPY key:0 copy",
        "BITOP NOT to key:0",
        "EVAL redis.call('SET','k','v') 0",
    ] {
        assert!(client.run(line).text().contains(OOM), "{line}");
    }
    assert_eq!(client.run("GET key:0").text().len(), 10_000);
    assert_eq!(client.run("EVAL return(redis.call('STRLEN','key:0')) 0"), Value::Integer(10_000));
    assert_eq!(client.run("EXPIRE key:0 100"), Value::Integer(1));
    // Queueing commands takes memory too, so the transaction is refused.
    client.ok("MULTI");
    assert_eq!(client.run("GET key:0").text(), OOM);
    assert_eq!(client.run("EXEC").text(), "EXECABORT Transaction discarded because of previous errors.");
    let script = "#!lua flags=allow-oom\nreturn redis.call('SET', 'k', 'v')";
    assert_eq!(client.call(&["EVAL", script, "0"]).text(), "OK");
    assert_eq!(client.call(&["EVAL", "#!lua\nreturn 1", "0"]).text(), OOM);
    assert_eq!(client.call(&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"]), Value::Integer(1));
    // A script that has begun to write is not stopped.
    let script = "redis.call('DEL', 'k') return redis.call('SET', 'k', 'w')";
    assert_eq!(client.call(&["EVAL", script, "0"]).text(), "OK");
    assert_eq!(client.info_number("evicted_keys"), 0);
    assert!(client.info_number("current_eviction_exceeded_time") >= 0);
    for n in 1..set / 2 {
        client.run(&format!("DEL key:{n}"));
    }
    client.ok("SET other value");
    client.ok("MULTI");
    assert_eq!(client.run("SET a b").text(), "QUEUED");
    fill(&mut server.client(), "more", 10_000);
    assert!(client.run("EXEC").text().starts_with("EXECABORT Transaction discarded because of: OOM"));
}

#[test]
fn the_limit_holds_for_values_of_all_sizes_in_every_policy() {
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let (_server, mut client, limit) = limited(policy, 3 * MB);
        let mut size = 10;
        for round in 0..12 {
            let mut requests = Vec::new();
            for n in 0..150 {
                let mut request = set(&format!("key:{round}:{n}"), size);
                request.extend(words("EX 1000"));
                requests.push(request);
                size = if size > MB as usize / 2 { 10 + n } else { size * 3 / 2 + 1 };
            }
            requests.push(words("INFO memory"));
            let replies = pipeline(&mut client, &requests);
            assert!(replies.iter().all(|reply| !reply.is_error()), "{policy}: {:?}", replies[0]);
            let now = used(&mut client);
            assert!(now <= limit + MB, "{policy}: {now} of {limit}");
        }
        // No other request is in progress.
        assert!(used(&mut client) <= limit + 64 * 1024, "{policy}");
        assert!(client.info_number("evicted_keys") > 200, "{policy}");
        assert_eq!(client.info_number("evicted_keys") + client.run("DBSIZE").integer(), 12 * 150, "{policy}");
    }
}

#[test]
fn what_a_policy_says_goes_first() {
    // Keys with an idle time, a frequency and a time to live; the first ten of each list should be evicted.
    for (policy, going) in [
        ("allkeys-lru", "IDLETIME 5000"),
        ("volatile-lru", "IDLETIME 5000"),
        ("allkeys-lfu", "FREQ 1"),
        ("volatile-lfu", "FREQ 1"),
        ("volatile-ttl", "short"),
    ] {
        let (server, mut client, _) = limited(policy, 100 * MB);
        client.call(&["SET", "model", &"x".repeat(20_000)]);
        let Value::Bulk(dump) = client.run("DUMP model") else { panic!("no payload") };
        client.run("DEL model");
        let mut restore = |key: &str, ttl: &str, options: &str| {
            let mut request = words(&format!("RESTORE {key} {ttl}"));
            request.push(dump.clone());
            if !options.is_empty() {
                request.extend(words(options));
            }
            assert_eq!(pipeline(&mut client, &[request])[0].text(), "OK");
        };
        let stays = if going.starts_with("FREQ") { "FREQ 200" } else { "IDLETIME 10" };
        for n in 0..200 {
            if going == "short" {
                restore(&format!("going:{n}"), "200000", "");
                restore(&format!("staying:{n}"), "900000", "");
            } else {
                restore(&format!("going:{n}"), "900000", going);
                restore(&format!("staying:{n}"), "900000", stays);
            }
        }
        let mut client = server.client();
        // Room for all keys that should stay, and for some others.
        let limit = used(&mut client) - 120 * 20_000;
        client.ok(&format!("CONFIG SET maxmemory {limit}"));
        client.wait_for_info("used_memory", |now| now <= limit);
        let (going, staying) = (count(&mut client, "going"), count(&mut client, "staying"));
        assert!(staying >= 195, "{policy}: {staying} of 200 stay, {going} of those that should go");
        assert!(going <= 90, "{policy}: {going}");
    }
}

#[test]
fn what_does_not_expire_is_not_evicted_by_a_policy_for_what_expires() {
    let (_server, mut client, limit) = limited("volatile-random", 3 * MB);
    for n in 0..50 {
        let mut request = set(&format!("volatile:{n}"), 10_000);
        request.extend(words("EX 10000"));
        pipeline(&mut client, &[request]);
    }
    let lasting = fill(&mut client, "lasting", 10_000);
    assert!(used(&mut client) > limit);
    assert_eq!((count(&mut client, "volatile"), count(&mut client, "lasting")), (0, lasting));
    assert_eq!(client.info_number("evicted_keys"), 50);
    for n in 0..10 {
        client.run(&format!("EXPIRE lasting:{n} 10000"));
    }
    client.ok("SET other value");
    assert!(count(&mut client, "lasting") < lasting);
}

#[test]
fn a_lower_limit_evicts_in_slices_while_others_are_served() {
    let (server, mut client, _) = limited("allkeys-lru", 1000 * MB);
    client.ok("CONFIG SET maxmemory-eviction-tenacity 0");
    for round in 0..40 {
        let requests: Vec<_> = (0..500).map(|n| set(&format!("key:{round}:{n}"), 100)).collect();
        pipeline(&mut client, &requests);
    }
    let limit = used(&mut client) - 2 * MB;
    client.ok(&format!("CONFIG SET maxmemory {limit}"));
    server.wait_for_log("is smaller than the current memory usage");
    client.wait_for_info("used_memory", |now| now <= limit);
    client.wait_for_info("current_eviction_exceeded_time", |time| time == 0);
    let replies = pipeline(&mut client, &["MULTI", "DBSIZE", "INFO stats", "EXEC"].map(words));
    let replies = replies[3].elements();
    let left = replies[0].integer();
    let stats = replies[1].text();
    let evicted = stats.lines().find_map(|line| line.strip_prefix("evicted_keys:"));
    let evicted: i64 = evicted.expect("a field").trim().parse().expect("a number");
    assert!((1000..20_000).contains(&left), "{left} keys are left");
    assert_eq!(evicted + left, 20_000);
}

#[test]
fn an_eviction_that_has_ended_leaves_no_more_in_use_than_the_limit_as_info_says() {
    let (_server, mut client, _) = limited("allkeys-lru", 1000 * MB);
    client.ok("CONFIG SET maxmemory-eviction-tenacity 0");
    for round in 0..20 {
        let requests: Vec<_> = (0..500).map(|n| set(&format!("key:{round}:{n}"), 100)).collect();
        pipeline(&mut client, &requests);
    }
    // The position of the last slice depends on the sizes, so several limits are tried.
    for round in 0..30 {
        let limit = used(&mut client) - 3000 - 211 * round;
        client.ok(&format!("CONFIG SET maxmemory {limit}"));
        client.wait_for_info("used_memory", |now| now <= limit);
        client.wait_for_info("current_eviction_exceeded_time", |time| time == 0);
        client.ok("CONFIG SET maxmemory 0");
    }
    assert!(client.info_number("evicted_keys") > 100 && client.run("DBSIZE").integer() > 1000);
}

#[test]
fn a_limit_that_is_lifted_is_not_exceeded_any_more() {
    let (_server, mut client, _) = limited("noeviction", MB);
    fill(&mut client, "key", 10_000);
    client.wait_for_info("current_eviction_exceeded_time", |time| time > 0);
    client.ok("CONFIG SET maxmemory 0");
    assert_eq!(client.info_number("current_eviction_exceeded_time"), 0);
    assert!(client.info_number("total_eviction_exceeded_time") > 0);
}

#[test]
fn after_maxmemory_is_lowered_writes_do_not_wait_for_the_whole_eviction_and_memory_still_falls() {
    let (server, mut client, _) = limited("allkeys-lru", 1000 * MB);
    client.ok("CONFIG SET maxmemory-eviction-tenacity 0");
    for round in 0..40 {
        let requests: Vec<_> = (0..500).map(|n| set(&format!("key:{round}:{n}"), 100)).collect();
        pipeline(&mut client, &requests);
    }
    let limit = used(&mut client) - 2 * MB;
    let requests = [
        words(&format!("CONFIG SET maxmemory {limit}")),
        set("one", 100),
        words("INFO memory"),
        words("INFO stats"),
    ];
    let replies = pipeline(&mut client, &requests);
    assert_eq!(replies[1].text(), "OK");
    let field = |reply: &Value, name: &str| -> i64 {
        let text = reply.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.expect("a field").trim().parse().expect("a number")
    };
    let now = field(&replies[2], "used_memory");
    assert!(now > limit + MB, "{now} of {limit}: nearly all was evicted before the SET was executed");
    assert!(field(&replies[3], "evicted_keys") > 0, "the SET was executed before anything was evicted");
    // Further writes are accepted, and memory still falls.
    let mut writer = server.client();
    for round in 0..20 {
        let requests: Vec<_> = (0..100).map(|n| set(&format!("new:{round}:{n}"), 1000)).collect();
        assert!(pipeline(&mut writer, &requests).iter().all(|reply| reply.text() == "OK"));
    }
    client.wait_for_info("used_memory", |now| now <= limit);
    client.wait_for_info("current_eviction_exceeded_time", |time| time == 0);
}

#[test]
fn writers_that_wait_for_room_keep_their_order_and_are_all_served() {
    let (server, mut client, limit) = limited("allkeys-lru", 8 * MB);
    client.ok("CONFIG SET maxmemory-eviction-tenacity 0");
    let mut writers: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for round in 0..4 {
        // Small keys, then values that evict thousands of them.
        let mut requests: Vec<_> = (0..15_000).map(|n| set(&format!("small:{round}:{n}"), 200)).collect();
        pipeline(&mut client, &requests);
        requests =
            (0..8).flat_map(|n| [set("big", 100_000), words(&format!("INCRBY sum:{round} {n}"))]).collect();
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        for writer in &mut writers {
            writer.send_raw(&bytes).expect("sent");
        }
        for writer in &mut writers {
            for n in 0..8 {
                assert_eq!(writer.read_reply().expect("a reply").value.text(), "OK");
                let sum = writer.read_reply().expect("a reply").value;
                assert!(matches!(sum, Value::Integer(_)), "{n}: {sum:?}");
            }
        }
        let now = used(&mut client);
        assert!(now <= limit + 2 * MB, "{now} of {limit}");
    }
    // A client that disconnects while it waits leaves nothing behind.
    for mut writer in writers {
        let requests: Vec<u8> = (0..10).flat_map(|n| encode(&set(&format!("last:{n}"), 100_000))).collect();
        writer.send_raw(&requests).expect("sent");
    }
    client.wait_for_info("connected_clients", |left| left == 1);
    client.ok("SET after all");
}

#[test]
fn an_eviction_is_announced_seen_by_those_who_watch_and_propagated() {
    for (lazy, verb) in [("no", "DEL"), ("yes", "UNLINK")] {
        let server = Server::start(&format!(
            "--save '' --appendonly yes --appendfsync no --maxmemory-policy volatile-ttl --notify-keyspace-events Ee \
             --lazyfree-lazy-eviction {lazy}"
        ));
        let (mut client, mut subscriber) = (server.client(), server.client());
        client.ok("SET lasting value");
        client.run("SET victim value EX 1000");
        subscriber.run("SUBSCRIBE __keyevent@0__:evicted");
        client.ok("WATCH victim");
        server.client().ok("CONFIG SET maxmemory 1");
        let message = subscriber.read_reply().expect("a message").value;
        assert_eq!(message.elements()[2].text(), "victim");
        assert_eq!(client.run("EXISTS lasting victim"), Value::Integer(1));
        client.ok("CONFIG SET maxmemory 0");
        client.ok("MULTI");
        client.run("GET lasting");
        assert!(client.run("EXEC").is_null());
        let path = server.directory().join("appendonlydir/appendonly.aof.1.incr.aof");
        let text = format!("*2\r\n${}\r\n{verb}\r\n$6\r\nvictim\r\n", verb.len());
        eventually("the removal is in the log", || {
            String::from_utf8_lossy(&std::fs::read(&path).ok()?).contains(&text).then_some(())
        });
    }
}

#[test]
fn large_values_that_are_evicted_make_room_before_more_is_evicted() {
    let (_server, mut client, limit) = limited("allkeys-lru", 60 * MB);
    for n in 0..10 {
        let fields: Vec<String> = (0..20_000).map(|f| format!("field:{f} {n:0>40}")).collect();
        for group in fields.chunks(2000) {
            assert!(!client.run(&format!("HSET hash:{n} {}", group.join(" "))).is_error());
        }
    }
    let before = client.run("DBSIZE").integer();
    let each = client.run("MEMORY USAGE hash:9").integer();
    // Reaches the limit in small steps, so that a single hash has to be evicted.
    let mut n = 0;
    while client.info_number("evicted_keys") == 0 {
        pipeline(&mut client, &[set(&format!("value:{n}"), 100_000)]);
        n += 1;
        assert!(n < 2000, "{} of {limit}", used(&mut client));
    }
    client.wait_for_info("lazyfree_pending_objects", |left| left == 0);
    pipeline(&mut client, &[set("one more", 10_000)]);
    let evicted = client.info_number("evicted_keys");
    assert!(evicted <= 2, "{evicted} of {before} hashes of {each} bytes were evicted for a single value");
}

#[test]
fn no_more_is_evicted_while_what_is_missing_is_being_freed() {
    let (_server, mut client, limit) = limited("allkeys-lru", 20 * MB);
    client.ok("CONFIG SET lazyfree-lazy-eviction yes hash-max-listpack-entries 100");
    let fields: Vec<String> = (0..300).map(|f| format!("field:{f} {:0>40}", 0)).collect();
    let fields = fields.join(" ");
    for round in 0..12 {
        for n in 0..150 {
            assert_eq!(client.run(&format!("HSET hash:{round}:{n} {fields}")), Value::Integer(300));
        }
        if client.info_number("evicted_keys") == 0 {
            continue;
        }
        client.wait_for_info("lazyfree_pending_objects", |left| left == 0);
        let now = used(&mut client);
        assert!(now > limit - MB, "{} bytes more than were missing were evicted", limit - now);
    }
    assert!(client.info_number("evicted_keys") > 300);
    assert!(client.info_number("lazyfreed_objects") > 300);
}

#[test]
fn invalidation_messages_that_no_client_reads_do_not_evict_the_whole_database() {
    let server = Server::start("--save '' --maxmemory-policy allkeys-lru");
    let mut client = server.client();
    let names: Vec<String> = (0..300).map(|n| format!("{n:01024}")).collect();
    for name in &names {
        client.call(&["SET", name, "v"]);
    }
    // Each evicted key frees about a kilobyte and sends ten messages of this size.
    let mut readers: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for reader in &mut readers {
        reader.run("HELLO 3");
        reader.ok("CLIENT TRACKING ON");
        for name in &names {
            reader.call(&["GET", name]);
        }
    }
    let limit = used(&mut client) - 40_000;
    client.ok(&format!("CONFIG SET maxmemory {limit}"));
    client.ok("SET new value");
    eventually("memory is within the limit", || (used(&mut client) <= limit).then_some(()));
    let (left, evicted) = (client.run("DBSIZE").integer(), client.info_number("evicted_keys"));
    assert!(left > 150 && evicted >= 30, "{left} keys are left, {evicted} were evicted");
    assert_eq!(left + evicted, 301);
    client.ok("SET another value");
}

#[test]
fn a_hundred_thousand_patterns_leave_room_for_the_keys() {
    let server = Server::start("--save '' --maxmemory 50mb --maxmemory-policy allkeys-lru");
    let mut client = server.client();
    for first in (0..20_000).step_by(1000) {
        let requests: Vec<_> = (first..first + 1000).map(|n| set(&format!("key:{n}"), 1000)).collect();
        pipeline(&mut client, &requests);
    }
    let mut subscriber = server.client();
    let mut words = vec!["PSUBSCRIBE".to_string()];
    words.extend((0..100_000).map(|n| format!("pattern:{n:06}:*")));
    subscriber.send(&words).expect("sent");
    for _ in 1..words.len() {
        subscriber.read_reply().expect("a confirmation");
    }
    client.ok("SET new value");
    assert_eq!(client.run("DBSIZE").integer(), 20_001);
    assert!(used(&mut client) < 50 * MB);
}
