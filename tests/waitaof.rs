//! WAITAOF: which writes a client waits for, and what unblocks it. With `appendfsync no` the server never syncs by
//! itself, so a reply of 1 means that the client has no unsynced writes.

mod support;

use support::shim::{EIO, Shim};
use support::{Client, Launch, Server, Value, eventually};

fn start(policy: &str) -> Server {
    Server::start(&format!("--appendonly yes --save '' --enable-debug-command yes --appendfsync {policy}"))
}

/// Calls WAITAOF, and returns its two numbers: synced local AOFs and replicas.
fn counts(reply: &Value) -> (i64, i64) {
    let counts: Vec<i64> = reply.elements().iter().map(Value::integer).collect();
    (counts[0], counts[1])
}

fn waitaof(client: &mut Client, arguments: &str) -> (i64, i64) {
    counts(&client.run(&format!("WAITAOF {arguments}")))
}

/// Sends a command that blocks, and returns once the client is blocked.
fn begin_waiting(client: &mut Client, observer: &mut Client, line: &str) {
    let before = observer.info_number("blocked_clients");
    client.send(&line.split(' ').collect::<Vec<_>>()).expect("sent");
    observer.wait_for_info("blocked_clients", |blocked| blocked == before + 1);
}

fn reply(client: &mut Client) -> Value {
    client.read_reply().expect("a reply").value
}

#[test]
fn a_client_waits_for_its_own_writes_and_not_for_those_of_others() {
    let server = start("no");
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(waitaof(&mut client, "1 0 0"), (1, 0), "nothing was written");
    client.ok("SET k v");
    assert_eq!(waitaof(&mut client, "1 0 1"), (0, 0));
    assert_eq!(
        waitaof(&mut client, "0 0 0"),
        (0, 0),
        "the reply has the acknowledgements even if none were wanted"
    );
    other.run("GET k");
    other.run("DEL missing");
    assert_eq!(waitaof(&mut other, "1 0 0"), (1, 0), "it has written nothing");
}

#[test]
fn every_propagated_call_counts_as_a_write_of_its_client() {
    let server = start("no");
    let mut other = server.client();
    let library = "#!lua name=lib\nredis.register_function('f', function() redis.call('SET', 'k', 1) end)";
    let eval = ["EVAL", "redis.call('SET', 'k', 1)", "0"];
    let ways: [&[&[&str]]; 6] = [
        &[&["SET", "k", "v"]],
        &[&["FUNCTION", "LOAD", "REPLACE", library]],
        &[&eval],
        &[&["FCALL", "f", "0"]],
        &[&["MULTI"], &["SET", "k", "v"], &["SET", "j", "v"], &["EXEC"]],
        &[&["RPUSH", "l", "a"], &["LPOP", "l"]],
    ];
    for way in ways {
        let mut client = server.client();
        for call in way {
            client.call(call);
        }
        assert_eq!(waitaof(&mut client, "1 0 1"), (0, 0), "{way:?}");
    }
    let mut served = server.client();
    begin_waiting(&mut served, &mut other, "BLPOP queue 0");
    other.run("RPUSH queue x");
    reply(&mut served);
    assert_eq!(waitaof(&mut served, "1 0 1"), (0, 0), "the served client's pop is a write");
}

#[test]
fn waitaof_and_wait_do_not_block_in_a_transaction() {
    let server = start("no");
    let mut client = server.client();
    client.ok("SET k v");
    for line in ["MULTI", "WAITAOF 1 0 0", "WAITAOF 1 3 0", "WAIT 3 0"] {
        client.run(line);
    }
    let replies = client.run("EXEC");
    let replies = replies.elements();
    assert_eq!((counts(&replies[0]), counts(&replies[1]), replies[2].integer()), ((0, 0), (0, 0), 0));
}

#[test]
fn wait_does_not_block_in_a_script_and_later_errors_are_sent() {
    let server = start("no");
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("SET k v");
    let called = |n: &str| format!("return {{redis.call('WAIT', {n}, 0), redis.call('WAIT', {n}, 0) + 1}}");
    for n in ["1", "0", "7"] {
        let reply = client.call(&["EVAL", &called(n), "0"]);
        let counts: Vec<i64> = reply.elements().iter().map(Value::integer).collect();
        assert_eq!(counts, [0, 1], "WAIT {n} 0");
    }
    for client in [&mut client, &mut other] {
        assert!(client.run("LPUSH k 1").text().starts_with("WRONGTYPE"));
        assert_eq!(client.run("EXEC").text(), "ERR EXEC without MULTI");
    }
}

#[test]
fn a_timeout_or_client_unblock_replies_with_the_acknowledgements_so_far() {
    let server = start("no");
    let (mut client, mut other) = (server.client(), server.client());
    let id = client.run("CLIENT ID").integer();
    assert_eq!(waitaof(&mut client, "1 1 5"), (1, 0));
    begin_waiting(&mut client, &mut other, "WAITAOF 1 1 0");
    assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")).integer(), 1);
    assert_eq!(counts(&reply(&mut client)), (1, 0));
    begin_waiting(&mut client, &mut other, "WAITAOF 0 1 100000000");
    assert_eq!(other.info_number("clients_in_timeout_table"), 1);
    assert_eq!(other.run(&format!("CLIENT UNBLOCK {id} ERROR")).integer(), 1);
    assert_eq!(reply(&mut client).text(), "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    assert_eq!((other.info_number("blocked_clients"), other.info_number("clients_in_timeout_table")), (0, 0));
    begin_waiting(&mut client, &mut other, "WAITAOF 0 1 0");
    drop(client);
    other.wait_for_info("blocked_clients", |blocked| blocked == 0);
}

#[test]
fn a_sync_unblocks_the_clients_and_their_pipelines_continue() {
    let server = start("no");
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("SET k v");
    begin_waiting(&mut client, &mut other, "WAITAOF 1 0 0");
    client.send(&["GET", "k"]).expect("sent");
    other.ok("CONFIG SET appendfsync everysec");
    assert_eq!(counts(&reply(&mut client)), (1, 0));
    assert_eq!(reply(&mut client).text(), "v");
    other.ok("CONFIG SET appendfsync always");
    for _ in 0..20 {
        client.send(&["SET", "k", "w"]).expect("sent");
        client.send(&["WAITAOF", "1", "0", "0"]).expect("sent");
    }
    for _ in 0..20 {
        assert_eq!(reply(&mut client).text(), "OK");
        assert_eq!(counts(&reply(&mut client)), (1, 0));
    }
}

#[test]
fn waitaof_without_a_log_is_an_error_and_switching_the_log_off_unblocks_with_it() {
    const NO_LOG: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    let server = Server::start("--save ''");
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(client.run("WAITAOF 1 0 0").text(), NO_LOG);
    assert_eq!(waitaof(&mut client, "0 0 0"), (0, 0));
    client.ok("SET k v");
    other.ok("CONFIG SET appendfsync no appendonly yes");
    assert_eq!(waitaof(&mut client, "1 0 0"), (1, 0), "the first base has it");
    client.ok("SET k w");
    begin_waiting(&mut client, &mut other, "WAITAOF 1 0 0");
    other.ok("CONFIG SET appendonly no");
    assert_eq!(reply(&mut client).text(), NO_LOG);
}

/// The kernel may drop pages that it could not write, so only a rewrite, not a later sync, makes the data durable.
#[test]
fn after_a_failed_sync_a_client_stays_blocked_until_a_rewrite() {
    let flags = "--appendonly yes --appendfsync everysec --save ''";
    let (launch, shim) = Shim::on(Launch::subject().flags(flags));
    let server = launch.start();
    let (mut client, mut other) = (server.client(), server.client());
    shim.rules(&format!("sync incr.aof 1 fail:{EIO}"));
    client.ok("SET k v");
    begin_waiting(&mut client, &mut other, "WAITAOF 1 0 0");
    assert_eq!(counts(&reply(&mut client)), (1, 0));
    let finished = eventually("the rewrite is over", || {
        (other.info("aof_rewrite_in_progress") == "0").then(|| other.info_number("aof_rewrites"))
    });
    assert!(finished > 0, "{:?}", shim.hits());
}
