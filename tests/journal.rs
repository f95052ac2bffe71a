//! Effects that the journal records and that cannot be compared with Redis: Redis propagates nothing there, or the
//! effect shows only in the access times of keys.

mod support;

use support::{Client, Server};

/// A server that keeps the journal, and a client.
fn start() -> (Server, Client) {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG JOURNAL ON");
    (server, client)
}

/// The calls to propagate since the last call of this function, their words joined.
fn calls(client: &mut Client) -> Vec<String> {
    let calls = client.run("DEBUG JOURNAL TAKE").elements()[1].elements();
    let words =
        |call: &support::Value| call.elements()[1..].iter().map(support::Value::text).collect::<Vec<_>>();
    calls.iter().map(|call| words(call).join(" ")).collect()
}

/// A sparse HyperLogLog that ends after half of its registers, all of them zero.
fn half_a_sketch() -> Vec<u8> {
    let mut sketch = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
    sketch.extend([0x40 | (8191 >> 8) as u8, (8191 & 0xff) as u8]);
    sketch
}

#[test]
fn the_journal_is_taken_only_while_it_is_on() {
    let server = Server::start("--enable-debug-command yes --appendonly yes");
    let mut client = server.client();
    let refused = "ERR DEBUG JOURNAL is off";
    assert_eq!(client.run("DEBUG JOURNAL TAKE").text(), refused);
    client.ok("SET a 1");
    client.ok("DEBUG JOURNAL ON");
    client.ok("SET b 2");
    assert_eq!(calls(&mut client), ["SET b 2"]);
    // Records that were not taken are discarded.
    client.ok("SET c 3");
    client.ok("DEBUG JOURNAL ON");
    client.ok("SET d 4");
    assert_eq!(calls(&mut client), ["SET d 4"]);
    client.ok("DEBUG JOURNAL OFF");
    client.ok("SET e 5");
    assert_eq!(client.run("DEBUG JOURNAL TAKE").text(), refused);
    // The AOF reads the same calls.
    client.ok("DEBUG LOADAOF");
    assert_eq!(client.run("DBSIZE").integer(), 5);
}

#[test]
fn what_was_added_to_a_corrupted_sketch_before_the_error_is_propagated() {
    let (_server, mut client) = start();
    let mut is_added = |element: &str| {
        client.call(&[&b"SET"[..], b"sketch", &half_a_sketch()]);
        !client.call(&["PFADD", "sketch", element]).is_error()
    };
    let (there, missing): (Vec<&str>, Vec<&str>) =
        ["a", "b", "c", "d", "e", "f"].into_iter().partition(|element| is_added(element));
    let call = format!("PFADD sketch {} {} {}", there[0], there[1], missing[0]);
    client.call(&[&b"SET"[..], b"sketch", &half_a_sketch()]);
    for (added, propagated) in [(2, 1), (0, 0)] {
        calls(&mut client);
        let before = client.info_number("rdb_changes_since_last_save");
        assert_eq!(client.run(&call).text(), "INVALIDOBJ Corrupted HLL object detected");
        assert_eq!(client.info_number("rdb_changes_since_last_save") - before, added);
        // The call itself would also fail on replay.
        let calls = calls(&mut client);
        assert_eq!(calls.len(), propagated);
        let is_whole = |call: &String| call.starts_with("SET sketch HYLL") && call.ends_with(" KEEPTTL");
        assert!(calls.iter().all(is_whole), "{calls:?}");
    }
}

#[test]
fn a_string_that_only_became_longer_for_a_field_is_propagated() {
    let (_server, mut client) = start();
    let call = "BITFIELD fields OVERFLOW FAIL INCRBY u8 16 300";
    assert!(client.run(call).elements()[0].is_null());
    assert_eq!(client.run("STRLEN fields").integer(), 3);
    assert_eq!(calls(&mut client), [call]);
    client.run(call);
    assert!(calls(&mut client).is_empty());
}

#[test]
fn touch_moves_the_access_clock_also_where_nothing_else_does() {
    let server = Server::start("--maxmemory-policy allkeys-lfu --lfu-log-factor 0 --lfu-decay-time 0");
    let mut client = server.client();
    client.ok("SET key value");
    let fresh = client.run("OBJECT FREQ key").integer();
    client.ok("CLIENT NO-TOUCH ON");
    client.run("GET key");
    client.run("APPEND key s");
    assert_eq!(client.run("OBJECT FREQ key").integer(), fresh);
    assert_eq!(client.run("TOUCH key").integer(), 1);
    assert_eq!(client.run("OBJECT FREQ key").integer(), fresh + 1);
}
