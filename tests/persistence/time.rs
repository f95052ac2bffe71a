//! Keys that expire while the server is down, and access times after a restart.

use crate::support::eventually;
use crate::support::server::subject_is_redis;
use crate::{begin, restart, rewrite};

/// Waits until a time (in Unix milliseconds) has passed.
fn wait_until(past: u128) {
    let now = || {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis()
    };
    eventually("time passes", || (now() > past).then_some(()));
}

fn soon() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_millis() + 300
}

#[test]
fn keys_that_expire_while_the_server_is_down_are_not_loaded() {
    for flags in ["", "--appendonly yes", "--appendonly yes --aof-use-rdb-preamble no"] {
        for rewrites in [false, true] {
            let server = begin(flags);
            let mut client = server.client();
            let soon = soon();
            client.ok(&format!("SET short v PXAT {soon}"));
            client.ok("SET long v EX 1000");
            client.ok("SET stays v");
            match (flags, rewrites) {
                ("", _) => client.ok("SAVE"),
                (_, true) => rewrite(&mut client),
                _ => {}
            }
            let launch = server.stop();
            wait_until(soon);
            let server = crate::start(launch);
            let mut client = server.client();
            assert_eq!(client.run("EXISTS short").integer(), 0, "{flags}");
            client.wait_for_info("expired_keys", |_| true);
            eventually("two keys are left", || (client.run("DBSIZE").integer() == 2).then_some(()));
            assert!(client.run("TTL long").integer() > 900);
            assert_eq!(client.run("TTL stays").integer(), -1);
            if flags.is_empty() {
                assert_eq!(client.info_number("rdb_last_load_keys_expired"), 1);
                assert_eq!(client.info_number("rdb_last_load_keys_loaded"), 2);
            }
        }
    }
}

/// After a start with a wrong clock, or a long downtime of a cache, the file with the expired keys still exists.
#[test]
fn a_snapshot_of_which_most_keys_had_expired_is_kept_when_it_is_replaced() {
    if subject_is_redis() {
        return;
    }
    let server = begin("");
    let mut client = server.client();
    let soon = soon();
    for n in 0..30 {
        client.ok(&format!("SET short:{n} v PXAT {soon}"));
    }
    client.ok("SET stays v");
    client.ok("SAVE");
    let launch = server.stop();
    wait_until(soon);
    let server = crate::start(launch);
    server.client().ok("SAVE");
    let is_kept = |name: &String| name.starts_with("dump.rdb.kept-");
    assert_eq!(crate::names(server.directory()).iter().filter(|name| is_kept(name)).count(), 1);
}

/// The AOF contains its own deletions: a write logged after the expiry of a key must find the key as it was then.
#[test]
fn a_key_that_expired_between_two_entries_of_the_log_is_as_it_was() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    let soon = soon();
    client.ok("SET counter 10");
    client.run(&format!("PEXPIREAT counter {soon}"));
    client.run("INCR counter");
    client.ok("RENAME counter renamed");
    client.run("PERSIST renamed");
    client.ok(&format!("SET gone 1 PXAT {soon}"));
    wait_until(soon);
    assert_eq!(client.run("EXISTS gone").integer(), 0);
    client.run("INCR gone");
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.run("GET renamed").text(), "11");
    assert_eq!(client.run("GET gone").text(), "1");
    assert_eq!(client.run("TTL gone").integer(), -1);
}

#[test]
fn a_key_that_expires_is_deleted_in_the_log_once() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok(&format!("SET k v PXAT {}", soon()));
    client.wait_for_info("expired_keys", |count| count == 1);
    client.ok("SET end v");
    let log = std::fs::read(crate::part(server.directory(), "1.incr.aof")).expect("a log");
    let log = String::from_utf8_lossy(&log).to_uppercase();
    assert_eq!(log.matches("DEL").count(), 1, "{log}");
    assert_eq!(restart(server).client().run("DBSIZE").integer(), 1);
}

#[test]
fn fields_of_hashes_keep_their_times_and_those_that_have_expired_are_gone() {
    if subject_is_redis() {
        return;
    }
    for flags in ["", "--appendonly yes", "--appendonly yes --aof-use-rdb-preamble no"] {
        for rewrites in [false, true] {
            let server = begin(flags);
            let mut client = server.client();
            let soon = soon();
            for n in 0..1000 {
                client.run(&format!("HSET large f{n} v"));
            }
            for key in ["small", "large"] {
                client.run(&format!("HSET {key} short v long v stays v"));
                client.run(&format!("HPEXPIREAT {key} {soon} FIELDS 1 short"));
                client.run(&format!("HEXPIRE {key} 1000 FIELDS 1 long"));
            }
            match (flags, rewrites) {
                ("", _) => client.ok("SAVE"),
                (_, true) => rewrite(&mut client),
                _ => {}
            }
            let launch = server.stop();
            wait_until(soon);
            let server = crate::start(launch);
            let mut client = server.client();
            for (key, left) in [("small", 2), ("large", 1002)] {
                assert_eq!(client.run(&format!("HEXISTS {key} short")).integer(), 0, "{flags} {key}");
                eventually("the field is gone", || {
                    (client.run(&format!("HLEN {key}")).integer() == left).then_some(())
                });
                let times: Vec<i64> = client
                    .run(&format!("HTTL {key} FIELDS 3 short long stays"))
                    .elements()
                    .iter()
                    .map(crate::support::Value::integer)
                    .collect();
                assert!(times[0] == -2 && times[1] > 900 && times[2] == -1, "{flags} {key}: {times:?}");
            }
        }
    }
}

#[test]
fn frequencies_of_access_are_kept_in_snapshots_and_logs() {
    for flags in ["", "--appendonly yes"] {
        let server =
            begin(&format!("--maxmemory-policy allkeys-lfu --lfu-decay-time 0 --lfu-log-factor 0 {flags}"));
        let mut client = server.client();
        client.ok("SET hot v");
        client.ok("SET cold v");
        for _ in 0..200 {
            client.run("GET hot");
        }
        let frequency = client.run("OBJECT FREQ hot").integer();
        assert!(frequency > 10, "{frequency}");
        match flags {
            "" => client.ok("SAVE"),
            _ => rewrite(&mut client),
        }
        let server = restart(server);
        let mut client = server.client();
        assert_eq!(client.run("OBJECT FREQ hot").integer(), frequency, "{flags}");
        assert_eq!(client.run("OBJECT FREQ cold").integer(), 5, "{flags}");
    }
}

#[test]
fn idle_times_are_kept_in_snapshots() {
    let server = begin("--maxmemory-policy allkeys-lru");
    let mut client = server.client();
    client.ok("SET k v");
    let dump = client.run("DUMP k");
    let crate::support::Value::Bulk(dump) = dump else { panic!("{dump:?}") };
    client.ok("SET fresh v");
    let reply = client.call(&[&b"RESTORE"[..], b"idle", b"0", &dump, b"IDLETIME", b"1000"]);
    assert_eq!(reply.text(), "OK");
    client.ok("SAVE");
    let server = restart(server);
    let mut client = server.client();
    let idle = client.run("OBJECT IDLETIME idle").integer();
    assert!((990..1100).contains(&idle), "{idle}");
    assert!(client.run("OBJECT IDLETIME fresh").integer() < 100);
}
