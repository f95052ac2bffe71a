//! The state of one connection (a transaction, subscriptions, watched keys, suppressed replies): how it is reported,
//! limited, and freed with the connection.

mod support;

use support::client::encode;
use support::server::subject_is_redis;
use support::{Client, Server, Value, eventually};

const MB: u64 = 1 << 20;

/// A field of a line of CLIENT LIST or CLIENT INFO.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.trim_end().split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in: {line}"))
}

fn number(line: &str, name: &str) -> u64 {
    field(line, name).parse().expect("a number")
}

/// Sends `requests` at once, and expects exactly the bytes `expected` in return. Some of these are arrays with fewer
/// elements than announced.
fn pipeline(client: &mut Client, requests: &[&str], expected: &str) {
    let words = |line: &&str| encode(&line.split(' ').collect::<Vec<_>>());
    client.send_raw(&requests.iter().flat_map(words).collect::<Vec<u8>>()).expect("send");
    client.send(&["ECHO", "end"]).expect("send");
    let expected = format!("{expected}$3\r\nend\r\n");
    let got = client.read_raw(expected.len()).expect("the replies");
    assert_eq!(String::from_utf8_lossy(&got), expected);
}

#[test]
fn a_client_that_asks_for_itself_sees_what_its_own_request_holds() {
    let server = Server::start("");
    let mut client = server.client();
    // The connection that tried whether the server replies is not listed any more.
    client.wait_for_info("connected_clients", |n| n == 1);
    let line = client.run("CLIENT INFO").text();
    assert_eq!((number(&line, "qbuf"), number(&line, "argv-mem")), (26, 10), "{line}");
    assert_eq!((number(&line, "obl"), number(&line, "omem")), (0, 0), "{line}");
    let line = client.run("CLIENT LIST").text();
    assert_eq!((number(&line, "qbuf"), number(&line, "argv-mem")), (26, 10), "{line}");
    // The pipeline arrived in one piece, so all of it is in the query buffer, and the first reply is not sent yet.
    client.send_raw(b"PING\r\nCLIENT INFO\r\n").expect("send");
    client.read_reply().expect("the first reply");
    let line = client.read_reply().expect("the second reply").value.text();
    assert_eq!(
        (number(&line, "qbuf"), number(&line, "argv-mem"), number(&line, "obl")),
        (19, 10, 7),
        "{line}"
    );
    let idle = number(&line, "tot-mem");
    let ids = " 77777".repeat(20_000);
    let mut other = server.client();
    let id = other.run("CLIENT ID").integer();
    let line = other.run(&format!("CLIENT LIST ID{ids} {id}")).text();
    assert!(number(&line, "argv-mem") > 100_000 && number(&line, "tot-mem") > idle + 100_000, "{line}");
    let line = client.run(&format!("CLIENT LIST ID {id}")).text();
    assert_eq!((number(&line, "qbuf"), number(&line, "argv-mem")), (0, 0), "{line}");
}

#[test]
fn a_line_shows_the_room_in_the_shared_buffers_and_the_peak_of_the_replies() {
    let server = Server::start("--enable-debug-command yes");
    let (mut client, mut control) = (server.client(), server.client());
    let id = client.run("CLIENT ID").integer();
    control.ok("DEBUG REPLYBUFFER PEAK-RESET-TIME never");
    let line = control.run("CLIENT INFO").text();
    // The query buffer and the output buffer have free room.
    assert!(number(&line, "qbuf-free") >= 1024 && number(&line, "rbs") > 0, "{line}");
    let ring = number(&line, "qbuf") + number(&line, "qbuf-free");
    control.send_raw(b"PING\r\nCLIENT INFO\r\n").expect("send");
    control.read_reply().expect("the first reply");
    let line = control.read_reply().expect("the second reply").value.text();
    assert_eq!(number(&line, "qbuf") + number(&line, "qbuf-free"), ring, "{line}");
    assert!(number(&line, "rbs") > number(&line, "obl"), "{line}");
    // The line that another client gets for it.
    let of_client = |control: &mut Client| control.run(&format!("CLIENT LIST ID {id}")).text();
    client.run(&format!("ECHO {}", "x".repeat(1000)));
    let line = of_client(&mut control);
    assert!((1007..=16384).contains(&number(&line, "rbp")), "{line}");
    client.run("PING");
    assert_eq!(number(&of_client(&mut control), "rbp"), number(&line, "rbp"));
    control.ok("DEBUG REPLYBUFFER PEAK-RESET-TIME 0");
    let line = eventually("the peak is reset, and an idle client has no buffer", || {
        let line = of_client(&mut control);
        (number(&line, "rbp") == 0 && number(&line, "qbuf-free") == 0).then_some(line)
    });
    assert!(number(&line, "rbs") <= 16384, "{line}");
}

#[test]
fn what_waits_is_counted_by_its_arguments() {
    let server = Server::start("");
    let (mut waiting, mut control) = (server.client(), server.client());
    let id = waiting.run("CLIENT ID").integer();
    waiting.send(&["BLPOP", "list", "0"]).expect("send");
    control.wait_for_info("blocked_clients", |n| n == 1);
    assert_eq!(control.info_number("clients_in_timeout_table"), 0);
    waiting.send_raw(b"*2\r\n$4\r\nECHO\r\n$100\r\nhalf").expect("send");
    let line = eventually("half of the next request", || {
        let line = control.run(&format!("CLIENT LIST ID {id}")).text();
        (number(&line, "qbuf") > 0).then_some(line)
    });
    assert_eq!(
        (field(&line, "flags"), number(&line, "qbuf"), number(&line, "argv-mem")),
        ("b", 24, 10),
        "{line}"
    );
    control.run("RPUSH list x");
    waiting.read_reply().expect("the element");
    waiting.send_raw(&[b'-'; 96]).expect("send");
    waiting.send_raw(b"\r\n").expect("send");
    waiting.read_reply().expect("the text");
    waiting.send(&["BLPOP", "list", "1000"]).expect("send");
    control.wait_for_info("clients_in_timeout_table", |n| n == 1);
}

/// The number of keys of a `WATCH` that takes many iterations.
const MANY: usize = 30_000;

/// Sends a `WATCH` of [`MANY`] keys, starting at number `from`.
fn watch_many(client: &mut Client, from: usize) {
    let names = (from..from + MANY).map(|number| format!("key:{number}"));
    let request = encode(&std::iter::once("WATCH".to_owned()).chain(names).collect::<Vec<_>>());
    client.send_raw(&request).expect("sent");
    assert_eq!(client.read_reply().expect("the reply").value.text(), "OK");
}

#[test]
fn watching_many_keys_takes_many_iterations() {
    let server = Server::start("");
    let (mut client, mut control) = (server.client(), server.client());
    let before = control.info_number("eventloop_cycles");
    watch_many(&mut client, 0);
    let after = control.info_number("eventloop_cycles");
    assert!(after - before >= (MANY / 1000) as i64, "{before} {after}");
}

/// The reply to an `EXEC` of one request; null if a watched key was touched.
fn executed(client: &mut Client) -> Value {
    client.ok("MULTI");
    client.run("PING");
    client.run("EXEC")
}

#[test]
fn the_keys_of_a_large_watch_count_from_the_first_to_the_last_and_until_they_are_forgotten() {
    let server = Server::start("");
    let (mut client, mut control) = (server.client(), server.client());
    for touched in [0, MANY / 2, MANY - 1] {
        watch_many(&mut client, 0);
        control.ok(&format!("SET key:{touched} x"));
        assert!(executed(&mut client).is_null(), "{touched}");
        assert!(!executed(&mut client).is_null(), "nothing is watched any more");
        watch_many(&mut client, 0);
        client.ok("UNWATCH");
        control.ok(&format!("SET key:{touched} y"));
        assert!(!executed(&mut client).is_null(), "{touched} after UNWATCH");
    }
    // The remaining keys of one session do not affect the next, which has half of the same keys.
    watch_many(&mut client, 0);
    client.ok("UNWATCH");
    watch_many(&mut client, MANY / 2);
    control.ok("SET key:0 z");
    assert!(!executed(&mut client).is_null());
    watch_many(&mut client, 0);
    client.ok("UNWATCH");
    watch_many(&mut client, MANY / 2);
    control.ok(&format!("SET key:{MANY} z"));
    assert!(executed(&mut client).is_null());
}

#[test]
fn a_watched_key_that_expires_makes_exec_fail() {
    let server = Server::start("--enable-debug-command yes");
    let (mut client, mut control) = (server.client(), server.client());
    control.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    control.ok("MSET lasts x later x");
    control.ok("SET later x PX 100000");
    control.ok("SET k x PX 40");
    client.ok("WATCH lasts later k");
    // A second key shows that the first has expired: a lookup of the first would delete it.
    control.ok("SET as-long x PX 40");
    eventually("the key expires", || control.run("GET as-long").is_null().then_some(()));
    assert!(executed(&mut client).is_null());
    client.ok("WATCH lasts later");
    assert!(!executed(&mut client).is_null());
}

#[test]
fn what_is_queued_is_counted_until_it_has_been_executed() {
    let server = Server::start("");
    let (mut client, mut control) = (server.client(), server.client());
    let id = client.run("CLIENT ID").integer();
    let mut line = || control.run(&format!("CLIENT LIST ID {id}")).text();
    let idle = number(&line(), "tot-mem");
    client.ok("WATCH a b");
    if !subject_is_redis() {
        assert_eq!(field(&line(), "watch"), "2");
    }
    assert!(number(&line(), "tot-mem") > idle);
    client.ok("MULTI");
    let value = "v".repeat(30_000);
    client.call(&["SET", "a", &value]);
    client.run("CLIENT INFO");
    let queued = line();
    assert_eq!(
        (field(&queued, "flags"), field(&queued, "multi"), field(&queued, "cmd")),
        ("x", "2", "client|info")
    );
    assert!(
        number(&queued, "multi-mem") >= 30_000 && number(&queued, "tot-mem") >= idle + 30_000,
        "{queued}"
    );
    let inside = client.run("EXEC").elements()[1].text();
    assert_eq!((field(&inside, "flags"), field(&inside, "multi"), field(&inside, "cmd")), ("x", "2", "exec"));
    assert!(number(&inside, "multi-mem") >= 30_000, "{inside}");
    assert_eq!((number(&inside, "argv-mem"), number(&inside, "obl")), (4, 9), "{inside}");
    assert_eq!(
        (field(&line(), "multi"), number(&line(), "multi-mem"), number(&line(), "tot-mem")),
        ("-1", 0, idle)
    );
    // A touched key is recorded at once, and the other watched keys are released.
    client.ok("WATCH a");
    assert_eq!(field(&line(), "flags"), "N");
    server.client().ok("SET a other");
    assert_eq!(field(&line(), "flags"), "d");
    client.ok("UNWATCH");
    assert_eq!(field(&line(), "flags"), "N");
}

#[test]
fn clients_are_listed_and_killed_by_what_they_do() {
    let server = Server::start("");
    let mut control = server.client();
    let mut subscribers = ["SUBSCRIBE a", "PSUBSCRIBE a*", "SSUBSCRIBE s"].map(|line| {
        let mut client = server.client();
        client.run(line);
        client
    });
    let mut former = server.client();
    former.run("SUBSCRIBE a");
    former.run("UNSUBSCRIBE a");
    let listed = |control: &mut Client, class: &str| {
        let lines = control.run(&format!("CLIENT LIST TYPE {class}")).text();
        lines
            .lines()
            .map(|line| format!("{} {}", field(line, "flags"), field(line, "cmd")))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut control, "pubsub"), ["P subscribe", "P psubscribe", "P ssubscribe"]);
    let mut normal = listed(&mut control, "NORMAL");
    normal.sort();
    assert_eq!(normal, ["N client|list", "N unsubscribe"]);
    assert_eq!(listed(&mut control, "replica"), [""; 0]);
    let totals =
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].map(|f| control.info_number(f));
    assert_eq!(totals, [1, 1, 1]);
    assert_eq!(control.run("CLIENT KILL TYPE pubsub").integer(), 3);
    for client in &mut subscribers {
        assert_eq!(client.wait_closed(), b"");
    }
    former.ok("SET still here");
    assert_eq!(control.run("PUBLISH a x").integer(), 0);
    let totals =
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].map(|f| control.info_number(f));
    assert_eq!(totals, [0, 0, 0]);
}

#[test]
fn a_client_that_is_killed_takes_its_transaction_with_it() {
    let server = Server::start("");
    let mut control = server.client();
    let mut victim = server.client();
    victim.ok("WATCH k");
    victim.ok("MULTI");
    victim.run("SET k v");
    assert_eq!(control.run("CLIENT KILL TYPE normal").integer(), 1);
    // Later requests, even in the same packet, are not executed.
    let _ = victim.send(&["EXEC"]);
    victim.wait_closed();
    assert_eq!(control.run("EXISTS k").integer(), 0);
    // A client that kills itself gets its reply last, and the rest of its requests is still executed.
    let mut own = server.client();
    own.ok("MULTI");
    for line in ["PING", "CLIENT KILL TYPE normal SKIPME no", "SET k v", "PUBLISH k v"] {
        own.run(line);
    }
    own.send(&["EXEC"]).expect("send");
    assert_eq!(own.wait_closed(), b"*4\r\n+PONG\r\n:2\r\n");
    control.wait_closed();
    assert_eq!(server.client().run("GET k").text(), "v");
}

#[test]
fn a_queue_beyond_the_query_buffer_limit_closes_its_client_and_gives_its_memory_back() {
    let server = Server::start("--client-query-buffer-limit 8mb");
    let mut control = server.client();
    control.ok("SET warm up");
    let (before, used) = (server.resident_bytes(), control.info_number("used_memory"));
    for round in 1..=3 {
        let mut greedy = server.client();
        greedy.ok("MULTI");
        // Large values stay in the block in which they were received, small ones are copied.
        let value = "v".repeat(if round == 2 { 500 } else { 100_000 });
        let refused = (0..100_000).any(|_| greedy.try_call(&["SET", "k", &value]).is_err());
        assert!(refused, "no SET is refused");
        control.wait_for_info("client_query_buffer_limit_disconnections", |n| n == round);
    }
    assert_eq!(control.run("EXISTS k").integer(), 0);
    control.ok("MEMORY PURGE");
    control.wait_for_info("used_memory", |n| n < used + (1 << 20));
    let after = server.resident_bytes();
    assert!(after < before + 24 * MB, "memory grew from {} to {} MB", before / MB, after / MB);
}

#[test]
fn the_replies_of_a_transaction_are_one_reply_for_the_output_limit() {
    let server = Server::start("");
    let mut control = server.client();
    control.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"]);
    control.call(&[&b"SET"[..], b"small", &vec![b's'; 30_000]]);
    control.call(&[&b"SET"[..], b"large", &vec![b'l'; 300_000]]);
    for (ended, key) in ["small", "large"].into_iter().enumerate() {
        let mut greedy = server.client();
        greedy.ok("MULTI");
        for _ in 0..100 {
            greedy.run(&format!("GET {key}"));
            greedy.run("INCR counter");
        }
        greedy.send(&["EXEC"]).expect("send");
        assert_eq!(greedy.wait_closed(), b"", "{key}");
        control.wait_for_info("client_output_buffer_limit_disconnections", |n| n == ended as i64 + 1);
        // All requests were executed.
        assert_eq!(control.run("GET counter").text(), (100 * (ended + 1)).to_string());
    }
    let mut modest = server.client();
    modest.ok("MULTI");
    for _ in 0..3 {
        modest.run("GET large");
    }
    assert_eq!(modest.run("EXEC").elements().len(), 3);
}

#[test]
fn reset_ends_all_that_a_connection_has_begun() {
    let server = Server::start("");
    let (mut client, mut control) = (server.client(), server.client());
    let fresh = client.run("CLIENT INFO").text();
    client.run("HELLO 3 SETNAME mine");
    client.ok("SELECT 5");
    client.ok("CLIENT NO-EVICT on");
    client.ok("CLIENT NO-TOUCH on");
    for line in ["SUBSCRIBE a", "PSUBSCRIBE b*", "SSUBSCRIBE s"] {
        client.send(&line.split(' ').collect::<Vec<_>>()).expect("send");
        client.read_reply().expect("the subscription");
    }
    client.ok("WATCH k");
    client.ok("MULTI");
    client.run("SET k v");
    assert_eq!(client.run("RESET").text(), "RESET");
    let after = client.run("CLIENT INFO").text();
    for name in ["id", "name", "flags", "db", "sub", "psub", "ssub", "multi", "watch", "multi-mem", "resp"] {
        assert_eq!(field(&after, name), field(&fresh, name), "{name}");
    }
    assert!(client.run("EXEC").is_error());
    assert_eq!(control.run("PUBLISH a x").integer() + control.run("SPUBLISH s x").integer(), 0);
    assert_eq!(control.run("EXISTS k").integer(), 0);
    assert_eq!(client.run("PING").text(), "PONG", "and in RESP2 again");
    assert_eq!(client.run("MONITOR").text(), "OK");
    assert_eq!(client.run("RESET").text(), "RESET");
    control.ok("SET k v");
    assert_eq!(client.run("PING").text(), "PONG", "it sees no commands of others any more");
}

#[test]
fn quit_leaves_whatever_was_begun() {
    let server = Server::start("");
    let mut control = server.client();
    for begin in ["MULTI", "SUBSCRIBE a", "MONITOR"] {
        let mut client = server.client();
        client.run(begin);
        client.send(&["QUIT"]).expect("send");
        assert_eq!(client.wait_closed(), b"+OK\r\n", "{begin}");
    }
    control.wait_for_info("connected_clients", |n| n == 1);
    assert_eq!(control.run("PUBSUB CHANNELS").elements(), [] as [Value; 0]);
}

#[test]
fn replies_are_switched_off_and_on_inside_a_transaction_where_the_command_stands() {
    let server = Server::start("");
    let mut client = server.client();
    let queued = "+OK\r\n".to_string() + &"+QUEUED\r\n".repeat(4);
    let off_and_on = ["MULTI", "PING", "CLIENT REPLY OFF", "GET k", "CLIENT REPLY ON", "EXEC"];
    pipeline(&mut client, &off_and_on, &format!("{queued}*4\r\n+PONG\r\n+OK\r\n"));
    // The reply to skip is the one after EXEC's.
    let skip = ["MULTI", "CLIENT REPLY SKIP", "PING", "GET k", "PING", "EXEC", "PING"];
    pipeline(&mut client, &skip, &format!("{queued}*4\r\n+PONG\r\n$-1\r\n+PONG\r\n"));
    let skipped = ["CLIENT REPLY SKIP", "MULTI", "PING", "CLIENT REPLY SKIP", "EXEC", "PING"];
    pipeline(&mut client, &skipped, "+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n");
    pipeline(&mut client, &["CLIENT REPLY SKIP", "RESET", "PING"], "+PONG\r\n");
    // A MONITOR feed would come between the replies.
    let refused = "-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n";
    let expected = format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{refused}+PONG\r\n");
    pipeline(&mut client, &["MULTI", "MONITOR", "PING", "EXEC"], &expected);
}

#[test]
fn a_pause_of_writes_holds_back_messages_and_transactions_that_write() {
    let server = Server::start("");
    let (mut control, mut subscriber) = (server.client(), server.client());
    subscriber.run("SUBSCRIBE news");
    let mut queued = server.client();
    queued.ok("MULTI");
    queued.run("SET k v");
    control.ok("CLIENT PAUSE 1000000 WRITE");
    let (mut publisher, mut queueing, mut reader) = (server.client(), server.client(), server.client());
    queued.send(&["EXEC"]).expect("send");
    publisher.send(&["PUBLISH", "news", "held back"]).expect("send");
    queueing.ok("MULTI");
    queueing.send(&["SPUBLISH", "shard", "x"]).expect("send");
    control.wait_for_info("blocked_clients", |n| n == 3);
    reader.ok("MULTI");
    reader.run("GET k");
    assert!(reader.run("EXEC").elements()[0].is_null());
    control.ok("CLIENT UNPAUSE");
    assert_eq!(queued.read_reply().expect("the reply to EXEC").value.elements().len(), 1);
    assert_eq!(publisher.read_reply().expect("the reply to PUBLISH").value.integer(), 1);
    assert_eq!(subscriber.read_reply().expect("the message").value.elements()[2].text(), "held back");
    assert_eq!(queueing.read_reply().expect("the reply to SPUBLISH").value.text(), "QUEUED");
}
