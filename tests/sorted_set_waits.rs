//! BZPOPMIN, BZPOPMAX and BZMPOP: clients blocked on a sorted set are served as soon as it exists, in the order of
//! arrival. (If `REDSTART_BIN` names a `redis-server` of version 7.2, the tests check Redis itself.)

mod support;

use support::{Client, Launch, Server, Value};

/// A client blocked by `request`; `count` clients are blocked then.
fn waiter(server: &Server, request: &str, count: i64) -> Client {
    let mut client = server.client();
    wait(&mut client, request);
    server.client().wait_for_info("blocked_clients", |blocked| blocked == count);
    client
}

/// Sends a request and does not wait for its reply.
fn wait(client: &mut Client, request: &str) {
    let words: Vec<&str> = request.split(' ').collect();
    client.send(&words).expect("sent");
}

fn reply(client: &mut Client) -> Value {
    client.read_reply().expect("a reply").value
}

/// The texts of a nested reply.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        other => vec![other.text()],
    }
}

#[test]
fn the_client_that_has_waited_longest_is_served_first() {
    let server = Server::start("");
    let mut first = waiter(&server, "BZPOPMIN z 0", 1);
    let mut second = waiter(&server, "BZPOPMAX z 0", 2);
    let mut third = waiter(&server, "BZMPOP 0 1 z MAX COUNT 2", 3);
    let mut client = server.client();
    assert_eq!(client.run("ZADD z 1 a 2 b 3 c 4 d 5 e").integer(), 5);
    assert_eq!(texts(&reply(&mut first)), ["z", "a", "1"]);
    assert_eq!(texts(&reply(&mut second)), ["z", "e", "5"]);
    assert_eq!(texts(&reply(&mut third)), ["z", "d", "4", "c", "3"]);
    assert_eq!(texts(&client.run("ZRANGE z 0 -1")), ["b"]);
    assert_eq!(client.info_number("blocked_clients"), 0);
}

#[test]
fn those_for_whom_nothing_is_left_go_on_waiting() {
    let server = Server::start("");
    let mut first = waiter(&server, "BZPOPMIN z 0", 1);
    let mut second = waiter(&server, "BZPOPMIN z 0", 2);
    let mut client = server.client();
    client.run("ZADD z 1 a");
    assert_eq!(texts(&reply(&mut first)), ["z", "a", "1"]);
    assert_eq!(client.run("EXISTS z").integer(), 0);
    assert_eq!(client.info_number("blocked_clients"), 1);
    client.run("ZADD z 2 b");
    assert_eq!(texts(&reply(&mut second)), ["z", "b", "2"]);
}

#[test]
fn a_waiter_is_served_before_the_next_request_of_the_pipeline() {
    let server = Server::start("");
    let mut waiting = waiter(&server, "BZPOPMIN z 0", 1);
    let mut client = server.client();
    client.send_raw(b"ZADD z 1 a\r\nEXISTS z\r\nZADD z 2 b\r\nZCARD z\r\n").expect("sent");
    let replies: Vec<i64> = (0..4).map(|_| reply(&mut client).integer()).collect();
    assert_eq!(replies, [1, 0, 1, 1]);
    assert_eq!(texts(&reply(&mut waiting)), ["z", "a", "1"]);
}

#[test]
fn whatever_makes_a_sorted_set_serves() {
    let server = Server::start("");
    let mut client = server.client();
    client.run("ZADD other 1 a");
    let dump = {
        let bytes = client.run("DUMP other");
        let Value::Bulk(bytes) = bytes else { panic!("{bytes:?}") };
        bytes
    };
    for request in [
        "ZADD z 1 a",
        "ZINCRBY z 1 a",
        "RENAME other z",
        "COPY other z",
        "ZUNIONSTORE z 1 other",
        "ZRANGESTORE z other 0 -1",
        "MOVE z 0",
        "SWAPDB 0 1",
        "RESTORE",
    ] {
        client.ok("FLUSHALL");
        client.run("ZADD other 1 a");
        let mut elsewhere = server.client();
        elsewhere.ok("SELECT 1");
        elsewhere.run("ZADD z 1 a");
        let mut waiting = waiter(&server, "BZPOPMIN missing z 0", 1);
        let done = match request {
            "RESTORE" => client.call(&[b"RESTORE".as_slice(), b"z", b"0", &dump]),
            "MOVE z 0" => elsewhere.run(request),
            _ => client.run(request),
        };
        assert!(!done.is_error(), "{request}: {done:?}");
        assert_eq!(texts(&reply(&mut waiting)), ["z", "a", "1"], "{request}");
    }
    client.ok("FLUSHALL");
    let mut waiting = waiter(&server, "BZPOPMIN z 0", 1);
    client.run("GEOADD z 13.361389 38.115556 Palermo");
    assert_eq!(texts(&reply(&mut waiting)), ["z", "Palermo", "3479099956230698"]);
}

#[test]
fn a_value_of_another_type_serves_nobody() {
    let server = Server::start("");
    let mut waiting = waiter(&server, "BZPOPMIN a b 0", 1);
    let mut client = server.client();
    client.run("SADD b x");
    client.run("DEL b");
    client.run("ZADD elsewhere 1 x");
    assert_eq!(client.info_number("blocked_clients"), 1);
    client.ok("SET a x");
    assert_eq!(client.info_number("blocked_clients"), 1);
    // The command is executed again, and finds the string first.
    client.run("ZADD b 1 x");
    assert_eq!(
        reply(&mut waiting).text(),
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(client.run("ZCARD b").integer(), 1);
}

#[test]
fn a_wait_in_vain_ends_with_a_null_array() {
    let server = Server::start("");
    let mut client = server.client();
    for request in
        ["BZPOPMIN z 0.01", "BZPOPMAX y z 0.001", "BZMPOP 0.01 2 y z MIN", "BZMPOP .01 1 z MAX COUNT 3"]
    {
        client.send(&request.split(' ').collect::<Vec<_>>()).expect("sent");
        assert_eq!(client.read_reply().expect("a reply").raw, b"*-1\r\n", "{request}");
    }
    client.run("HELLO 3");
    client.send(&["BZPOPMIN", "z", "0.01"]).expect("sent");
    assert_eq!(client.read_reply().expect("a reply").raw, b"_\r\n");
    assert_eq!(client.info_number("blocked_clients"), 0);
}

#[test]
fn nobody_waits_beyond_the_end_of_time() {
    let server = Server::start("");
    let mut client = server.client();
    for timeout in ["inf", "1e300", "9223372036854775807", "9223372036854775"] {
        for request in [format!("BZPOPMIN z {timeout}"), format!("BZMPOP {timeout} 1 z MAX")] {
            assert_eq!(client.run(&request).text(), "ERR timeout is out of range", "{request}");
        }
    }
}

#[test]
fn scores_are_doubles_in_resp3_and_stand_where_redis_puts_them() {
    let server = Server::start("");
    let mut waiting = server.client();
    waiting.run("HELLO 3");
    let mut client = server.client();
    let element = "$1\r\na\r\n,1.5\r\n";
    for (request, wanted) in [
        ("BZPOPMIN z 0", format!("*3\r\n$1\r\nz\r\n{element}")),
        ("BZPOPMAX z 0", format!("*3\r\n$1\r\nz\r\n{element}")),
        ("BZMPOP 0 1 z MIN", format!("*2\r\n$1\r\nz\r\n*1\r\n*2\r\n{element}")),
    ] {
        for waits in [false, true] {
            if waits {
                wait(&mut waiting, request);
                client.wait_for_info("blocked_clients", |blocked| blocked == 1);
            }
            client.run("ZADD z 1.5 a");
            if !waits {
                wait(&mut waiting, request);
            }
            let raw = waiting.read_reply().expect("a reply").raw;
            assert_eq!(String::from_utf8_lossy(&raw), wanted, "{request}");
        }
    }
}

#[test]
fn what_a_served_client_took_is_propagated_after_what_served_it() {
    let server = Launch::subject().flags("--enable-debug-command yes").start();
    if support::server::subject_is_redis() {
        return;
    }
    let mut client = server.client();
    client.ok("DEBUG JOURNAL ON");
    for (request, calls, events) in [
        ("BZPOPMIN none z 0", "0 ZADD z 1 a 2 b 0 ZPOPMIN z", "0 new z 0 zadd z 0 zpopmin z"),
        ("BZPOPMAX z 0", "0 ZADD z 1 a 2 b 0 ZPOPMAX z", "0 new z 0 zadd z 0 zpopmax z"),
        (
            "BZMPOP 0 2 none z MAX COUNT 9",
            "0 ZADD z 1 a 2 b 0 ZPOPMAX z 2",
            "0 new z 0 zadd z 0 zpopmax z 0 del z",
        ),
    ] {
        client.run("DEL z");
        let mut waiting = waiter(&server, request, 1);
        client.run("DEBUG JOURNAL TAKE");
        client.run("ZADD z 1 a 2 b");
        assert!(!reply(&mut waiting).is_error());
        let journal = client.run("DEBUG JOURNAL TAKE").elements();
        assert_eq!(texts(&journal[0]).join(" "), events, "{request}");
        let mut propagated = texts(&journal[1]);
        propagated.retain(|word| word != "MULTI" && word != "EXEC");
        assert!(propagated.join(" ").contains(calls), "{request}: {propagated:?}");
    }
}
