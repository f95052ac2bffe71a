//! Behaviour of Redis since 7.2. The differential tests compare it only if they find a Redis of that version.

mod support;

use support::{Client, Server, Value, eventually};

/// A consumer in `XINFO CONSUMERS`: its number of pending entries, its idle time and its inactive time. `None` if it
/// does not exist.
fn consumer(client: &mut Client, name: &str) -> Option<(i64, i64, i64)> {
    let all = client.run("XINFO CONSUMERS s g").elements();
    all.iter().map(Value::elements).find(|fields| fields[1].text() == name).map(|fields| {
        let names: Vec<String> = fields.iter().step_by(2).map(Value::text).collect();
        assert_eq!(names, ["name", "pending", "idle", "inactive"]);
        (fields[3].integer(), fields[5].integer(), fields[7].integer())
    })
}

/// A stream of one entry, and a group.
fn start(server: &Server, group_from: &str) -> Client {
    let mut client = server.client();
    client.ok("FLUSHALL");
    client.run("XADD s 1-1 f v");
    client.ok(&format!("XGROUP CREATE s g {group_from}"));
    client
}

#[test]
fn the_least_rank_is_out_of_range_since_it_has_no_opposite() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("RPUSH l a b a");
    let refusal = client.run("LPOS l a RANK -9223372036854775808").text();
    assert_eq!(
        refusal,
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
    );
    assert!(client.run("LPOS l a RANK -9223372036854775807").is_null());
    assert_eq!(client.run("LPOS l a RANK -2").integer(), 0);
}

#[test]
fn asking_makes_a_consumer_even_when_there_is_nothing_to_get() {
    let server = Server::start("");
    let mut client = start(&server, "$");
    for (name, call) in [
        ("reader", "XREADGROUP GROUP g reader STREAMS s >"),
        ("silent", "XREADGROUP GROUP g silent NOACK STREAMS s >"),
        ("history", "XREADGROUP GROUP g history STREAMS s 0"),
        ("claimer", "XCLAIM s g claimer 0 1-1"),
        ("heir", "XAUTOCLAIM s g heir 0 0"),
    ] {
        assert_eq!(consumer(&mut client, name), None);
        let before = client.info_number("rdb_changes_since_last_save");
        assert!(!client.run(call).is_error(), "{call}");
        let (pending, _, inactive) =
            consumer(&mut client, name).unwrap_or_else(|| panic!("no consumer {name}"));
        assert_eq!((pending, inactive), (0, -1), "{name}");
        assert!(client.info_number("rdb_changes_since_last_save") > before, "{name} is a change");
        assert_eq!(client.run(&format!("XGROUP CREATECONSUMER s g {name}")).integer(), 0);
    }
}

#[test]
fn a_consumer_that_gets_nothing_is_seen_and_not_active() {
    let server = Server::start("");
    let mut client = start(&server, "0");
    client.run("XREADGROUP GROUP g c STREAMS s >");
    // Time passes between the entry and a read that returns nothing.
    eventually("20 ms without a read", || consumer(&mut client, "c").filter(|(_, idle, _)| *idle >= 20));
    let (pending, _, inactive) = consumer(&mut client, "c").expect("a consumer");
    assert!(pending == 1 && inactive >= 20);
    assert!(client.run("XREADGROUP GROUP g c STREAMS s >").is_null());
    let (_, idle, inactive) = consumer(&mut client, "c").expect("a consumer");
    assert!(inactive >= 20 && idle < inactive, "seen {idle} ms ago, active {inactive} ms ago");
}

#[test]
fn an_id_that_is_missing_is_named_after_the_command() {
    let server = Server::start("");
    let mut client = start(&server, "0");
    assert_eq!(
        client.run("XREAD STREAMS s t 0").text(),
        "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."
    );
    assert_eq!(
        client.run("XREADGROUP GROUP g c STREAMS s t 0").text(),
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
    );
}

#[test]
fn a_list_is_made_ready_for_an_element_that_then_is_not_inserted() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("RPUSH l a");
    assert_eq!(client.run("OBJECT ENCODING l").text(), "listpack");
    assert_eq!(client.run(&format!("LINSERT l BEFORE none {}", "x".repeat(9000))).integer(), -1);
    assert_eq!(client.run("OBJECT ENCODING l").text(), "quicklist");
    assert_eq!(client.run("LRANGE l 0 -1").elements().len(), 1);
}

#[test]
fn the_rank_of_a_member_comes_with_its_score() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("ZADD z 1.5 a 2 b");
    for (call, rank, score) in [("ZRANK z b WITHSCORE", 1, "2"), ("ZREVRANK z a withscore", 1, "1.5")] {
        let reply = client.run(call).elements();
        assert_eq!((reply[0].integer(), reply[1].text()), (rank, score.to_string()));
    }
    assert!(client.run("ZRANK z none WITHSCORE").is_null());
    assert_eq!(client.run("ZRANK z a SCORE").text(), "ERR syntax error");
}

#[test]
fn the_last_id_of_a_stream_is_never_set_below_a_deleted_one() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("XADD s 1-0 f v");
    client.run("XADD s 9-0 f v");
    client.run("XDEL s 9-0");
    assert_eq!(
        client.run("XSETID s 8-0").text(),
        "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
    );
    client.ok("XSETID s 9-0");
}

#[test]
fn a_key_that_is_renamed_or_moved_is_a_new_one_for_the_access_counter() {
    let server = Server::start("--maxmemory-policy allkeys-lfu");
    let mut client = server.client();
    client.ok("SET k v");
    let payload = match client.run("DUMP k") {
        Value::Bulk(payload) => payload,
        other => panic!("no payload: {other:?}"),
    };
    client.call(&[&b"RESTORE"[..], b"used", b"0", &payload[..], b"FREQ", b"200"]);
    client.call(&[&b"RESTORE"[..], b"other", b"0", &payload[..], b"FREQ", b"200"]);
    assert_eq!(client.run("OBJECT FREQ used").integer(), 200);
    client.ok("RENAME used renamed");
    assert_eq!(client.run("OBJECT FREQ renamed").integer(), 5);
    client.run("MOVE other 1");
    client.ok("SELECT 1");
    assert_eq!(client.run("OBJECT FREQ other").integer(), 5);
}

#[test]
fn options_of_hello_are_all_read_before_its_password() {
    let server = Server::start("--requirepass secret");
    let mut client = server.client();
    assert_eq!(
        client.run("HELLO 3 AUTH default wrong what").text(),
        "ERR Syntax error in HELLO option 'what'"
    );
    assert!(client.run("HELLO 3 AUTH default wrong").text().starts_with("WRONGPASS "));
    assert!(client.run("HELLO 3").text().starts_with("NOAUTH HELLO must be called"));
    assert!(!client.run("HELLO 3 AUTH default secret").is_error());
}

#[test]
fn a_wait_has_to_end_at_a_moment_that_can_be_told() {
    let server = Server::start("");
    let mut client = server.client();
    assert_eq!(client.run("WAIT 0 9223372036854775807").text(), "ERR timeout is out of range");
    assert_eq!(client.run("WAIT 0 1").integer(), 0);
    assert_eq!(client.run("WAITAOF 0 x 1").text(), "ERR value is out of range, must be positive");
}

#[test]
fn the_push_of_debug_protocol_follows_the_reply() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.run("HELLO 3");
    assert_eq!(client.run("DEBUG PROTOCOL push").text(), "Some real reply following the push reply");
    let push = client.read_reply().expect("a push").value.elements();
    assert_eq!((push[0].text(), push[1].integer()), ("server-cpu-usage".into(), 42));
}
