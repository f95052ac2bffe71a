//! Expiring fields of hashes: the replies of each command, and the deletion of expired fields in the background. (Redis
//! 7.2, with which the differential tests compare, has no such fields.)

mod support;

use support::{Client, Launch, Server, Value, eventually};

/// The integers of an array.
fn integers(value: &Value) -> Vec<i64> {
    value.elements().iter().map(Value::integer).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.elements().iter().map(Value::text).collect()
}

/// A time in the far future, in milliseconds.
const FAR_MS: i64 = 33_177_117_420_000;

/// A packed hash and a hash table, both with the fields a to d.
fn hashes(client: &mut Client) -> [&'static str; 2] {
    client.ok("FLUSHALL");
    let long = "x".repeat(100);
    client.run("HSET packed a 1 b 2 c 3 d 4");
    client.run(&format!("HSET table a 1 b 2 c 3 d {long}"));
    assert_eq!(client.run("OBJECT ENCODING packed").text(), "listpack");
    assert_eq!(client.run("OBJECT ENCODING table").text(), "hashtable");
    ["packed", "table"]
}

#[test]
fn a_field_has_the_expiry_that_it_was_given() {
    let server = Server::start("");
    let mut client = server.client();
    for key in hashes(&mut client) {
        assert_eq!(integers(&client.run(&format!("HPEXPIREAT {key} {FAR_MS} FIELDS 3 a no b"))), [1, -2, 1]);
        assert_eq!(integers(&client.run(&format!("HPEXPIRETIME {key} FIELDS 3 a c no"))), [FAR_MS, -1, -2]);
        assert_eq!(integers(&client.run(&format!("HEXPIRETIME {key} FIELDS 1 a"))), [FAR_MS / 1000]);
        assert_eq!(integers(&client.run(&format!("HEXPIREAT {key} 33177117421 FIELDS 1 c"))), [1]);
        assert_eq!(integers(&client.run(&format!("HPEXPIRETIME {key} FIELDS 1 c"))), [FAR_MS + 1000]);
        assert_eq!(integers(&client.run(&format!("HEXPIRE {key} 100 FIELDS 1 b"))), [1]);
        let left = integers(&client.run(&format!("HTTL {key} FIELDS 3 b d no")));
        assert!((90..=100).contains(&left[0]) && left[1..] == [-1, -2], "{left:?}");
        assert_eq!(integers(&client.run(&format!("HPEXPIREAT {key} {} FIELDS 1 b", FAR_MS + 1))), [1]);
        let seconds = integers(&client.run(&format!("HEXPIRETIME {key} FIELDS 1 b")));
        assert_eq!(seconds, [FAR_MS / 1000 + 1], "rounded up");
        assert_eq!(integers(&client.run(&format!("HPEXPIRE {key} 99001 FIELDS 1 b"))), [1]);
        let left = integers(&client.run(&format!("HPTTL {key} FIELDS 1 b")))[0];
        assert!((90_000..=99_001).contains(&left), "{left}");
        assert_eq!(client.run(&format!("TTL {key}")).integer(), -1, "the key has none");
    }
    assert_eq!(client.run("OBJECT ENCODING packed").text(), "listpackex");
    assert_eq!(client.run("OBJECT ENCODING table").text(), "hashtable");
}

#[test]
fn conditions_compare_with_the_expiry_that_is_there() {
    let server = Server::start("");
    let mut client = server.client();
    for key in hashes(&mut client) {
        let mut expire = |seconds: i64, condition: &str, field: &str| {
            integers(&client.run(&format!("HEXPIRE {key} {seconds} {condition} FIELDS 1 {field}")))[0]
        };
        assert_eq!(expire(100, "XX", "a"), 0);
        assert_eq!(expire(100, "GT", "a"), 0);
        assert_eq!(expire(100, "NX", "a"), 1);
        assert_eq!(expire(100, "nx", "a"), 0);
        assert_eq!(expire(200, "xx", "a"), 1);
        assert_eq!(expire(100, "GT", "a"), 0);
        assert_eq!(expire(300, "gt", "a"), 1);
        assert_eq!(expire(400, "LT", "a"), 0);
        assert_eq!(expire(200, "lt", "a"), 1);
        assert_eq!(expire(100, "LT", "b"), 1, "none is later than any");
        assert_eq!(expire(0, "GT", "a"), 0, "the condition is looked at first");
        assert_eq!(expire(0, "LT", "a"), 2);
        assert_eq!(expire(0, "NX", "no"), -2);
    }
}

#[test]
fn a_time_that_is_over_deletes_the_field_and_with_the_last_one_the_key() {
    let server = Server::start("");
    let mut client = server.client();
    for key in hashes(&mut client) {
        assert_eq!(integers(&client.run(&format!("HEXPIRE {key} 0 FIELDS 2 a a"))), [2, -2]);
        assert_eq!(integers(&client.run(&format!("HPEXPIREAT {key} 1 FIELDS 1 b"))), [2]);
        assert_eq!(client.run(&format!("HLEN {key}")).integer(), 2);
        assert_eq!(integers(&client.run(&format!("HEXPIREAT {key} 1 FIELDS 2 c d"))), [2, 2]);
        assert_eq!(client.run(&format!("EXISTS {key}")).integer(), 0);
    }
}

#[test]
fn writing_a_value_takes_the_expiry_away_and_adding_to_it_does_not() {
    let server = Server::start("");
    let mut client = server.client();
    for key in hashes(&mut client) {
        client.run(&format!("HPEXPIREAT {key} {FAR_MS} FIELDS 4 a b c d"));
        client.run(&format!("HSET {key} a 5"));
        client.run(&format!("HINCRBY {key} b 1"));
        client.run(&format!("HINCRBYFLOAT {key} c 0.5"));
        assert_eq!(
            integers(&client.run(&format!("HPEXPIRETIME {key} FIELDS 4 a b c d"))),
            [-1, FAR_MS, FAR_MS, FAR_MS]
        );
        assert_eq!(texts(&client.run(&format!("HMGET {key} a b c"))), ["5", "3", "3.5"]);
        assert_eq!(integers(&client.run(&format!("HPERSIST {key} FIELDS 3 a b no"))), [-1, 1, -2]);
        assert_eq!(integers(&client.run(&format!("HPEXPIRETIME {key} FIELDS 2 b c"))), [-1, FAR_MS]);
        assert_eq!(client.run(&format!("HSETNX {key} c 9")).integer(), 0);
        assert_eq!(client.run(&format!("HDEL {key} c")).integer(), 1);
        client.run(&format!("HSET {key} c 1"));
        assert_eq!(integers(&client.run(&format!("HTTL {key} FIELDS 1 c"))), [-1]);
    }
}

#[test]
fn errors_are_checked_in_the_order_of_redis() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("SET string v");
    client.run("HSET h a 1");
    let not_positive = "ERR Number of fields must be a positive integer";
    let missing = "ERR Mandatory argument FIELDS is missing or not at the right position";
    let count = "ERR The `numfields` parameter must match the number of arguments";
    let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
    let cases = [
        ("HEXPIRE string abc NX FIELDS 1 a", wrong_type),
        ("HEXPIRE h abc FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
        ("HPEXPIRE h 70368744177663 FIELDS 1 a", "ERR invalid expire time in 'hpexpire' command"),
        ("HEXPIREAT h 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hexpireat' command"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE h 1 FIELD 1 a", missing),
        ("HEXPIRE h 1 NX GT FIELDS 1 a", missing),
        ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
        ("HEXPIRE h 1 NX FIELDS 1", "ERR The `numfields` parameter must match the number of arguments"),
        ("HEXPIRE h 1 FIELDS 2 a", count),
        ("HEXPIRE h 1 FIELDS 1 a b", count),
        ("HEXPIRE h 1 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
        ("HTTL string FIELD 1 a", wrong_type),
        ("HTTL h FIELD 1 a", missing),
        ("HPTTL h FIELDS 0 a", not_positive),
        ("HEXPIRETIME h FIELDS 2 a", count),
        ("HPEXPIRETIME h FIELDS -1 a", not_positive),
        ("HPERSIST string FIELDS 1 a", wrong_type),
        ("HPERSIST h FIELDS x a", not_positive),
        ("HPERSIST h FIELDS 3 a b", count),
    ];
    for (line, text) in cases {
        assert_eq!(client.run(line).text(), text, "{line}");
    }
    assert_eq!(client.run("HPEXPIREAT h 70368744177663 FIELDS 1 a").elements()[0].integer(), 1, "the latest");
    assert_eq!(integers(&client.run("HEXPIRE none 100 FIELDS 2 a b")), [-2, -2]);
    assert_eq!(integers(&client.run("HTTL none FIELDS 1 a")), [-2]);
    assert_eq!(integers(&client.run("HPERSIST none FIELDS 1 a")), [-2]);
}

#[test]
fn what_has_expired_is_not_there_for_any_command() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in hashes(&mut client) {
        client.run(&format!("HPEXPIRE {key} 20 FIELDS 2 a b"));
        client.run(&format!("HEXPIRE {key} 1000 FIELDS 1 c"));
        eventually("the end of a", || client.run(&format!("HGET {key} a")).is_null().then_some(()));
        eventually("the end of b", || client.run(&format!("HGET {key} b")).is_null().then_some(()));
        assert_eq!(client.run(&format!("HLEN {key}")).integer(), 2);
        assert_eq!(client.run(&format!("HGETALL {key}")).elements().len(), 4);
        let mut fields = texts(&client.run(&format!("HKEYS {key}")));
        fields.sort();
        assert_eq!(fields, ["c", "d"]);
        assert_eq!(client.run(&format!("HVALS {key}")).elements().len(), 2);
        assert_eq!(client.run(&format!("HSTRLEN {key} a")).integer(), 0);
        assert_eq!(client.run(&format!("HEXISTS {key} a")).integer(), 0);
        assert_eq!(client.run(&format!("HRANDFIELD {key} 10")).elements().len(), 2);
        assert_eq!(client.run(&format!("HSCAN {key} 0")).elements()[1].elements().len(), 4);
        assert_eq!(client.run(&format!("HSCAN {key} 0 NOVALUES")).elements()[1].elements().len(), 2);
        assert_eq!(client.run(&format!("HDEL {key} a")).integer(), 0);
        assert_eq!(client.run(&format!("HINCRBY {key} a 7")).integer(), 7);
        assert_eq!(client.run(&format!("HSETNX {key} b 7")).integer(), 1);
        assert_eq!(integers(&client.run(&format!("HTTL {key} FIELDS 2 a b"))), [-1, -1]);
        client.run(&format!("HPEXPIRE {key} 1 FIELDS 4 a b c d"));
        eventually("an empty hash", || (client.run(&format!("HLEN {key}")).integer() == 0).then_some(()));
        assert_eq!(client.run(&format!("EXISTS {key}")).integer(), 0, "the lookup has removed the key");
    }
    assert_eq!(client.info_number("expired_subkeys"), 12);
}

#[test]
fn fields_go_by_themselves_and_with_the_last_one_the_key() {
    let server = Server::start("");
    let mut client = server.client();
    for n in 0..500 {
        client.run(&format!("HSET small:{n} a 1 b 2 c 3"));
        client.run(&format!("HPEXPIRE small:{n} {} FIELDS 2 a b", 1 + n % 200));
        client.run(&format!("HSET gone:{n} a 1"));
        client.run(&format!("HPEXPIRE gone:{n} {} FIELDS 1 a", 1 + n % 200));
    }
    let fields: Vec<String> = (0..20_000).map(|n| format!("field:{n}")).collect();
    for chunk in fields.chunks(1000) {
        let pairs: Vec<&str> = chunk.iter().flat_map(|f| [f.as_str(), "v"]).collect();
        client.call(&[&["HSET", "large"][..], &pairs].concat());
    }
    let half: Vec<&str> = fields.iter().take(10_000).map(String::as_str).collect();
    client.call(&[&["HPEXPIRE", "large", "100", "FIELDS", "10000"][..], &half].concat());
    eventually("only living keys", || (client.run("DBSIZE").integer() == 501).then_some(()));
    eventually("no expired fields", || (client.info_number("expired_subkeys") == 11_500).then_some(()));
    assert_eq!(client.run("HLEN large").integer(), 10_000);
    assert_eq!(texts(&client.run("HGETALL small:7")), ["c", "3"]);
    client.run("HPEXPIRE large 1 FIELDS 1 field:15000");
    client.ok("FLUSHALL");
    client.run("HSET large a 1");
    assert_eq!(client.run("HLEN large").integer(), 1, "no expiry of a removed value is left");
}

#[test]
fn a_value_that_takes_the_place_of_a_hash_does_not_inherit_its_times() {
    let server = Server::start("");
    let mut client = server.client();
    for n in 0..100 {
        // Time stands still within a transaction.
        client.ok("MULTI");
        client.run(&format!("HSET k:{n} a 1 b 2"));
        client.run(&format!("HPEXPIRE k:{n} 50 FIELDS 1 a"));
        match n % 3 {
            0 => drop(client.run(&format!("SET k:{n} v"))),
            1 => {
                client.run(&format!("DEL k:{n}"));
                client.run(&format!("HSET k:{n} a 1"));
            }
            _ => drop(client.run(&format!("HPERSIST k:{n} FIELDS 1 a"))),
        }
        assert!(client.run("EXEC").elements().iter().all(|reply| !reply.is_error()));
    }
    client.run("HSET last a 1 b 2");
    client.run("HPEXPIRE last 60 FIELDS 1 a");
    eventually("the last one's time", || (client.run("HLEN last").integer() == 1).then_some(()));
    assert_eq!(client.run("DBSIZE").integer(), 101);
    assert_eq!(client.run("HGET k:1 a").text(), "1");
    assert_eq!(client.run("HGET k:2 a").text(), "1");
    assert_eq!(client.info_number("expired_subkeys"), 1);
}

#[test]
fn a_copy_a_renamed_hash_and_a_restored_one_have_the_times_of_their_fields() {
    let server = Server::start("");
    let mut client = server.client();
    for key in hashes(&mut client) {
        client.run(&format!("HPEXPIREAT {key} {FAR_MS} FIELDS 2 a b"));
        let Value::Bulk(payload) = client.run(&format!("DUMP {key}")) else { panic!("no payload") };
        assert_eq!(payload[payload.len() - 10], 12, "a format of 7.4");
        for make in ["COPY", "RESTORE", "RENAME"] {
            match make {
                "RESTORE" => client.call(&[&b"RESTORE"[..], b"hash", b"0", &payload[..]]),
                _ => client.run(&format!("{make} {key} hash")),
            };
            assert_eq!(
                integers(&client.run("HPEXPIRETIME hash FIELDS 3 a b c")),
                [FAR_MS, FAR_MS, -1],
                "{make}"
            );
            let encoding = if key == "packed" { "listpackex" } else { "hashtable" };
            assert_eq!(client.run("OBJECT ENCODING hash").text(), encoding, "{make}");
            // Active expiry finds the fields under the new key.
            client.run("HPEXPIRE hash 1 FIELDS 1 c");
            eventually("the field to go", || (client.run("HLEN hash").integer() == 3).then_some(()));
            assert_eq!(texts(&client.run("HMGET hash a b")), ["1", "2"], "{make}");
            client.run("DEL hash");
        }
    }
}

/// A call deletes a limited number of expired fields; those left are neither counted nor picked.
#[test]
fn no_expired_field_is_picked_however_many_there_are() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    let fields: Vec<String> = (0..3000).map(|n| format!("f{n}")).collect();
    let pairs: Vec<String> = fields.iter().map(|field| format!("{field} v")).collect();
    client.run(&format!("HSET e {}", pairs.join(" ")));
    client.run(&format!("HPEXPIRE e 1 FIELDS 3000 {}", fields.join(" ")));
    for (call, elements) in [("HRANDFIELD e -3", 3), ("HRANDFIELD e -3 WITHVALUES", 6), ("HRANDFIELD e 3", 3)]
    {
        // At first there are fields without an expiry.
        let mut found = usize::MAX;
        while found != 0 {
            client.send_raw(format!("{call}\r\nPING\r\n").as_bytes()).expect("a request is sent");
            found = client.read_reply().expect("a reply").value.elements().len();
            assert!(found == elements || found == 0, "{found} elements");
            assert_eq!(client.read_reply().expect("a reply").value.text(), "PONG");
        }
        assert_eq!(client.run("HLEN e").integer(), 0);
        assert!(client.run("HRANDFIELD e").is_null());
        assert_eq!(client.run("EXISTS e").integer(), 1, "there are still some to take out");
    }
}

/// The texts of a nested reply in one line.
fn line(value: &Value) -> String {
    match value {
        Value::Array(all) => all.iter().map(line).collect::<Vec<_>>().join(" "),
        other => other.text(),
    }
}

/// The changes since the last call and the propagated calls, as lines.
fn journal(client: &mut Client) -> (String, String) {
    let both = client.run("DEBUG JOURNAL TAKE").elements();
    (line(&both[0]), line(&both[1]))
}

#[test]
fn no_field_expires_while_writes_are_paused() {
    let server = Launch::subject().flags("--enable-debug-command yes").start();
    let mut client = server.client();
    for key in hashes(&mut client) {
        client.ok("DEBUG JOURNAL ON");
        let (dirty, expired) = (client.info_number("rdb_changes_since_last_save"), "expired_subkeys");
        let before = client.info_number(expired);
        // In one packet: the pause begins before the field can expire.
        let requests = format!("HPEXPIRE {key} 20 FIELDS 1 a\r\nCLIENT PAUSE 1000000 WRITE\r\n");
        client.send_raw(requests.as_bytes()).expect("sent");
        assert_eq!(integers(&client.read_reply().expect("a reply").value), [1]);
        assert_eq!(client.read_reply().expect("a reply").value.text(), "OK");
        client.run("DEBUG JOURNAL TAKE");
        eventually("the time of the field", || client.run(&format!("HGET {key} a")).is_null().then_some(()));
        for read in ["HLEN", "HGETALL", "HKEYS", "HVALS", "HRANDFIELD"] {
            assert!(!client.run(&format!("{read} {key}")).is_error());
        }
        assert_eq!(client.run(&format!("HLEN {key}")).integer(), 3, "it is not seen");
        assert_eq!(client.info_number(expired), before, "but not deleted");
        assert_eq!(journal(&mut client), (String::new(), String::new()));
        assert_eq!(client.info_number("rdb_changes_since_last_save"), dirty + 1);
        client.ok("CLIENT UNPAUSE");
        client.wait_for_info(expired, |expired| expired == before + 1);
        assert_eq!(journal(&mut client), (format!("0 hexpired {key}"), format!("0 HDEL {key} a")));
    }
}

#[test]
fn fields_that_expire_are_propagated_as_hdel_and_a_key_goes_with_its_last() {
    let server = Launch::subject().flags("--enable-debug-command yes").start();
    let mut client = server.client();
    for key in hashes(&mut client) {
        client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
        client.ok("DEBUG JOURNAL ON");
        client.run(&format!("HPEXPIRE {key} 1 FIELDS 2 a b"));
        client.run("DEBUG JOURNAL TAKE");
        eventually("a lookup finds it late", || client.run(&format!("HGET {key} a")).is_null().then_some(()));
        // Fields with the same time expire in any order.
        let either = |calls: &str, a: &str, b: &str| {
            calls == format!("0 HDEL {key} {a} {b}") || calls == format!("0 HDEL {key} {b} {a}")
        };
        let (events, calls) = journal(&mut client);
        assert_eq!(events, format!("0 hexpired {key}"));
        assert!(either(&calls, "a", "b"), "{calls}");
        client.run(&format!("HPEXPIRE {key} 1 FIELDS 2 c d"));
        client.run("DEBUG JOURNAL TAKE");
        client.ok("DEBUG SET-ACTIVE-EXPIRE 1");
        eventually("the cycle", || (client.run("DBSIZE").integer() < 2).then_some(()));
        let (events, calls) = journal(&mut client);
        assert_eq!(events, format!("0 hexpired {key} 0 del {key}"));
        assert!(either(&calls, "c", "d"), "{calls}");
        client.run("SET another key");
    }
}

#[test]
fn times_are_propagated_as_moments_and_for_the_fields_that_took_them() {
    let server = Launch::subject().flags("--enable-debug-command yes").start();
    let mut client = server.client();
    for key in hashes(&mut client) {
        client.ok("DEBUG JOURNAL ON");
        let mut told = |request: String| {
            client.run(&request);
            journal(&mut client)
        };
        let (event, call) = told(format!("HPEXPIREAT {key} {FAR_MS} NX FIELDS 3 a no b"));
        assert_eq!(event, format!("0 hexpire {key}"));
        assert_eq!(call, format!("0 HPEXPIREAT {key} {FAR_MS} NX FIELDS 2 a b"));
        let (event, call) = told(format!("HEXPIREAT {key} {} xx FIELDS 2 a c", FAR_MS / 1000));
        assert_eq!(event, format!("0 hexpire {key}"));
        assert_eq!(call, format!("0 HPEXPIREAT {key} {FAR_MS} xx FIELDS 1 a"));
        let (event, call) = told(format!("HEXPIRE {key} 1000 FIELDS 1 b"));
        assert_eq!(event, format!("0 hexpire {key}"));
        let words: Vec<&str> = call.split(' ').collect();
        assert_eq!(
            [words[1], words[2], words[4], words[5], words[6]],
            ["HPEXPIREAT", key, "FIELDS", "1", "b"]
        );
        assert!(words[3].parse::<i64>().expect("a time") > 1_700_000_000_000);
        let nothing = (String::new(), String::new());
        assert_eq!(told(format!("HEXPIRE {key} 1000 XX FIELDS 1 d")), nothing);
        assert_eq!(told(format!("HPERSIST {key} FIELDS 1 d")), nothing);
        let (event, call) = told(format!("HINCRBYFLOAT {key} a 0.5"));
        assert_eq!(event, format!("0 hincrbyfloat {key}"));
        let framed = format!("0 HSET {key} a 1.5 0 HPEXPIREAT {key} {FAR_MS} FIELDS 1 a");
        assert!(call.contains(&framed), "{call}");
        let (event, call) = told(format!("HPERSIST {key} FIELDS 2 a d"));
        assert_eq!((event, call), (format!("0 hpersist {key}"), format!("0 HPERSIST {key} FIELDS 2 a d")));
        let (event, call) = told(format!("HINCRBYFLOAT {key} a 0.5"));
        assert_eq!((event, call), (format!("0 hincrbyfloat {key}"), format!("0 HSET {key} a 2")));
        let (event, call) = told(format!("HEXPIRE {key} 0 FIELDS 2 a no"));
        assert_eq!((event, call), (format!("0 hdel {key}"), format!("0 HDEL {key} a")));
        let (event, call) = told(format!("HEXPIRE {key} 0 FIELDS 3 b c d"));
        assert_eq!(event, format!("0 hdel {key} 0 del {key}"));
        assert_eq!(call, format!("0 HDEL {key} b c d"));
    }
}
