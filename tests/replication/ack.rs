//! `min-replicas-to-ack`: the server sends a reply only after replicas have acknowledged the data that it may show.

use nix::sys::signal::Signal;

use crate::support::client::encode;
use crate::support::{Client, Server, Value};
use crate::{Kind, field, field_of, follow, star_with, start, until};

/// Replies wait for one replica, with a timeout longer than any test.
const ONE: &str = "--min-replicas-to-ack 1 --min-replicas-ack-timeout 600000";

/// A primary and a replica of this kind, which has acknowledged the whole stream.
fn pair(kind: Kind, flags: &str) -> [(Server, Client); 2] {
    let flags = format!("{ONE} {flags}");
    let mut nodes = star_with([(Kind::Subject, &flags), (kind, "")], |_| {});
    wait_until_writable(&mut nodes[0].1);
    nodes
}

/// Waits until the primary has enough replicas for a write.
fn wait_until_writable(client: &mut Client) {
    until("there are enough replicas", || !client.run("SET first value").is_error());
}

/// Waits until this number of output segments are withheld.
fn wait_for_withheld(admin: &mut Client, count: usize) {
    until("replies are withheld", || field(admin, "withheld_replies") == count.to_string());
}

fn reply(client: &mut Client) -> String {
    client.read_reply().expect("a reply").value.text()
}

#[test]
fn a_reply_leaves_when_a_replica_has_acknowledged_and_others_are_served_meanwhile() {
    for kind in [Kind::Subject, Kind::Redis] {
        let [(primary, mut admin), (replica, mut reader)] = pair(kind, "");
        replica.signal(Signal::SIGSTOP);
        assert_eq!(admin.run("GET first").text(), "value", "that write is acknowledged");
        let (mut writer, mut other) = (primary.client(), primary.client());
        writer.send(&["SET", "k", "v"]).unwrap();
        wait_for_withheld(&mut admin, 1);
        // A read may show the write. Replies that show no data are sent, unless they follow a withheld one.
        other.send(&["GET", "first"]).unwrap();
        wait_for_withheld(&mut admin, 2);
        writer.send(&["PING"]).unwrap();
        assert_eq!(admin.run("PING").text(), "PONG");
        assert_eq!(admin.run("CLIENT NO-EVICT on").text(), "OK");
        assert!(admin.run("NO SUCH").is_error());
        assert!(admin.run("GET").is_error());
        assert_eq!(admin.run("PUBLISH channel message").integer(), 0);
        assert_eq!(writer.receive_arrived().unwrap(), (0, false));
        assert_eq!(other.receive_arrived().unwrap(), (0, false));
        replica.signal(Signal::SIGCONT);
        assert_eq!([reply(&mut writer), reply(&mut writer)], ["OK", "PONG"]);
        assert_eq!(reply(&mut other), "value");
        assert_eq!(reader.run("GET k").text(), "v");
        assert_eq!(field(&mut admin, "withheld_replies"), "0");
    }
}

#[test]
fn a_pipeline_is_executed_while_its_replies_wait_and_they_come_in_order() {
    for kind in [Kind::Subject, Kind::Redis] {
        let [(primary, mut admin), (replica, _)] = pair(kind, "");
        let mut writer = primary.client();
        for is_stopped in [false, true] {
            if is_stopped {
                replica.signal(Signal::SIGSTOP);
            }
            let mut requests = Vec::new();
            for n in 0..1000 {
                requests.extend(encode(&["SET", &format!("{is_stopped}:{n}"), &n.to_string()]));
                requests.extend(encode(&["GET", &format!("{is_stopped}:{n}")]));
            }
            writer.send_raw(&requests).unwrap();
            if is_stopped {
                until("all are executed", || admin.run("INFO keyspace").text().contains("keys=2001,"));
                assert_eq!(writer.receive_arrived().unwrap(), (0, false));
                replica.signal(Signal::SIGCONT);
            }
            for n in 0..1000 {
                assert_eq!([reply(&mut writer), reply(&mut writer)], ["OK".into(), n.to_string()]);
            }
        }
    }
}

#[test]
fn writes_are_refused_before_they_are_executed_while_there_are_too_few_replicas() {
    let primary = start(Kind::Subject, ONE);
    let mut client = primary.client();
    let refused = "NOREPLICAS Not enough good replicas to write.";
    assert_eq!(client.run("SET k v").text(), refused);
    assert_eq!(client.run("INFO keyspace").text().trim(), "# Keyspace");
    // The server does not know whether its data is that of the others, so a read waits, too.
    client.send(&["GET", "k"]).unwrap();
    wait_for_withheld(&mut primary.client(), 1);
    let replica = start(Kind::Subject, "");
    follow(&mut replica.client(), &primary);
    wait_until_writable(&mut primary.client());
    assert!(client.read_reply().unwrap().value.is_null());
    client.ok("SET k v");
    assert_eq!(field(&mut client, "min_slaves_good_slaves"), "1");
    drop(replica);
    // Until the primary knows that, a write waits for the replica.
    until("the replica is gone", || field(&mut client, "min_slaves_good_slaves") == "0");
    assert_eq!(client.run("SET k w").text(), refused);
    assert_eq!(client.run("GET k").text(), "v", "acknowledged data stays so");
    client.ok("MULTI");
    assert_eq!(client.run("SET k w").text(), refused);
    assert!(client.run("EXEC").text().starts_with("EXECABORT"));
    let script = "return redis.call('SET', KEYS[1], 'w')";
    assert!(client.call(&["EVAL", script, "1", "k"]).text().starts_with("NOREPLICAS"));
    assert_eq!(client.run("GET k").text(), "v");
}

#[test]
fn a_write_that_is_not_acknowledged_in_time_closes_the_connection() {
    let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "");
    admin.ok("CONFIG SET min-replicas-ack-timeout 50");
    replica.signal(Signal::SIGSTOP);
    let (mut writer, mut reader) = (primary.client(), primary.client());
    writer.send(&["SET", "k", "v"]).unwrap();
    assert_eq!(writer.wait_closed(), b"");
    reader.send(&["GET", "k"]).unwrap();
    assert_eq!(reader.wait_closed(), b"");
    assert_eq!(field(&mut admin, "unconfirmed_replies_dropped"), "2");
    primary.wait_for_log("Closing 1 clients without a reply");
    assert_eq!(admin.run("PING").text(), "PONG");
    // The write was executed, and a replica gets it later.
    replica.signal(Signal::SIGCONT);
    until("it is confirmed", || {
        let value = primary.client().try_call(&["GET", "k"]);
        value.is_ok_and(|reply| reply.value.text() == "v")
    });
}

#[test]
fn a_demoted_primary_closes_the_connections_whose_replies_wait() {
    let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let hasty: [(&[&str], &str); 2] =
        [(&["SET l v", "REPLICAOF"], ""), (&["MULTI", "SET l v", "REPLICAOF", "EXEC"], queued)];
    for (lines, harmless) in hasty {
        let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "");
        let other = start(Kind::Subject, "");
        replica.signal(Signal::SIGSTOP);
        let (mut writer, mut blocked) = (primary.client(), primary.client());
        blocked.send(&["BLPOP", "list", "0"]).unwrap();
        admin.wait_for_info("blocked_clients", |count| count == 1);
        writer.send(&["SET", "k", "v"]).unwrap();
        wait_for_withheld(&mut admin, 1);
        // Replies from the same event loop iteration as the demotion, or the same unit, are not sent either.
        let mut hasty = primary.client();
        let demotion = format!("REPLICAOF 127.0.0.1 {}", other.port());
        let requests = lines.iter().map(|line| {
            let line = if *line == "REPLICAOF" { &demotion } else { *line };
            encode(&line.split(' ').collect::<Vec<_>>())
        });
        hasty.send_raw(&requests.collect::<Vec<_>>().concat()).unwrap();
        assert_eq!(writer.wait_closed(), b"");
        let sent = String::from_utf8(hasty.wait_closed()).unwrap();
        assert!(harmless.starts_with(&sent), "{sent}");
        assert!(reply(&mut blocked).starts_with("UNBLOCKED"));
        until("it is a replica", || field(&mut admin, "master_link_status") == "up");
        assert!(admin.run("GET k").is_null(), "a replica's replies do not wait");
    }
}

#[test]
fn a_planned_failover_loses_no_reply() {
    let [(primary, mut admin), (replica, mut other)] = pair(Kind::Subject, "");
    replica.signal(Signal::SIGSTOP);
    let mut writer = primary.client();
    writer.send(&["SET", "k", "v"]).unwrap();
    wait_for_withheld(&mut admin, 1);
    admin.ok("FAILOVER");
    replica.signal(Signal::SIGCONT);
    assert_eq!(reply(&mut writer), "OK");
    until("it is a replica", || field(&mut admin, "role") == "slave");
    until("the link is up", || field(&mut admin, "master_link_status") == "up");
    assert_eq!(other.run("GET k").text(), "v");
}

#[test]
fn transactions_scripts_and_unblocked_clients_wait_like_any_others() {
    let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "");
    let mut clients: [Client; 4] = std::array::from_fn(|_| primary.client());
    let [transaction, script, blocked, pusher] = &mut clients;
    blocked.send(&["BLPOP", "list", "0"]).unwrap();
    admin.wait_for_info("blocked_clients", |count| count == 1);
    replica.signal(Signal::SIGSTOP);
    transaction.ok("MULTI");
    assert_eq!(transaction.run("INCR n").text(), "QUEUED");
    transaction.send(&["EXEC"]).unwrap();
    wait_for_withheld(&mut admin, 1);
    script.send(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"]).unwrap();
    wait_for_withheld(&mut admin, 2);
    pusher.send(&["RPUSH", "list", "a"]).unwrap();
    // The replies to the pusher and to the client that it has unblocked.
    wait_for_withheld(&mut admin, 4);
    for client in [transaction, script, blocked, pusher] {
        assert_eq!(client.receive_arrived().unwrap(), (0, false));
    }
    replica.signal(Signal::SIGCONT);
    let [transaction, script, blocked, pusher] = &mut clients;
    assert_eq!(transaction.read_reply().unwrap().value, Value::Array(vec![Value::Integer(1)]));
    assert_eq!(script.read_reply().unwrap().value.integer(), 2);
    assert_eq!(blocked.read_reply().unwrap().value.elements()[1].text(), "a");
    assert_eq!(pusher.read_reply().unwrap().value.integer(), 1);
}

#[test]
fn notifications_and_invalidations_wait_and_published_messages_do_not() {
    let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "--notify-keyspace-events KEA");
    let (mut listener, mut tracker, mut writer) = (primary.client(), primary.client(), primary.client());
    let (mut subscriber, mut both) = (primary.client(), primary.client());
    for (client, channels) in [
        (&mut listener, &["__keyevent@0__:set"][..]),
        (&mut subscriber, &["__sentinel__:hello"]),
        (&mut both, &["__keyevent@0__:set", "__sentinel__:hello"]),
    ] {
        for channel in channels {
            client.send(&["SUBSCRIBE", channel]).unwrap();
            client.read_reply().unwrap();
        }
    }
    subscriber.send(&["SSUBSCRIBE", "shard"]).unwrap();
    subscriber.read_reply().unwrap();
    tracker.run("HELLO 3");
    tracker.ok("CLIENT TRACKING on");
    assert_eq!(tracker.run("GET first").text(), "value");
    replica.signal(Signal::SIGSTOP);
    writer.send(&["SET", "first", "changed"]).unwrap();
    wait_for_withheld(&mut admin, 4);
    // Sentinels discover each other by messages, which are sent whatever the replicas do.
    let word = |client: &mut Client| client.read_reply().unwrap().value.elements()[2].text();
    assert_eq!(admin.run("PUBLISH __sentinel__:hello me").integer(), 2);
    assert_eq!(word(&mut subscriber), "me");
    assert_eq!(admin.run("SPUBLISH shard one").integer(), 1);
    assert_eq!(word(&mut subscriber), "one");
    admin.ok("MULTI");
    admin.run("PUBLISH __sentinel__:hello again");
    assert_eq!(admin.run("EXEC").elements(), [Value::Integer(2)]);
    assert_eq!(word(&mut subscriber), "again");
    assert_eq!(field(&mut admin, "withheld_replies"), "4");
    // A script may have read the message from a key.
    let script = "return redis.call('PUBLISH', '__sentinel__:hello', redis.call('GET', KEYS[1]))";
    writer.send(&["EVAL", script, "1", "first"]).unwrap();
    until("it waits", || field(&mut admin, "withheld_replies") == "7");
    for waiting in [&mut listener, &mut tracker, &mut both, &mut writer, &mut subscriber] {
        assert_eq!(waiting.receive_arrived().unwrap(), (0, false));
    }
    replica.signal(Signal::SIGCONT);
    assert_eq!(reply(&mut writer), "OK");
    assert_eq!(writer.read_reply().unwrap().value.integer(), 2);
    assert_eq!(word(&mut listener), "first");
    assert_eq!(word(&mut subscriber), "changed");
    assert_eq!(std::array::from_fn(|_| word(&mut both)), ["first", "me", "again", "changed"]);
    assert!(format!("{:?}", tracker.read_reply().unwrap()).contains("invalidate"));
}

/// What Sentinel sends to the replica that it promotes, and to the primary that it demotes.
fn reconfiguration(new_primary: [&str; 2]) -> Vec<u8> {
    let [host, port] = new_primary;
    let requests: [&[&str]; 8] = [
        &["MULTI"],
        &["SLAVEOF", host, port],
        &["CONFIG", "REWRITE"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
        &["EXEC"],
        &["PING"],
        &["INFO", "replication"],
    ];
    requests.into_iter().flat_map(encode).collect()
}

#[test]
fn sentinel_gets_its_replies_at_once_though_nothing_is_acknowledged() {
    let [(primary, _), (_replica, _)] = pair(Kind::Subject, "");
    let candidate = start(Kind::Subject, ONE);
    follow(&mut candidate.client(), &primary);
    let other = start(Kind::Subject, "");
    let port = other.port().to_string();
    for (target, role) in [(["NO", "ONE"], "master"), (["127.0.0.1", &port], "slave")] {
        for as_one in [true, false] {
            let mut sentinel = candidate.client();
            let requests = reconfiguration(target);
            if as_one {
                sentinel.send_raw(&requests).unwrap();
            } else {
                // In parts, as they may arrive.
                requests.chunks(20).for_each(|part| sentinel.send_raw(part).unwrap());
            }
            for wanted in ["OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED"] {
                assert_eq!(reply(&mut sentinel), wanted);
            }
            let replies = sentinel.read_reply().expect("the reply to EXEC").value;
            assert_eq!(replies.elements().len(), 4, "{replies:?}");
            assert_eq!(reply(&mut sentinel), "PONG");
            assert_eq!(field_of(&reply(&mut sentinel), "role"), role);
        }
    }
}

#[test]
fn a_transaction_waits_if_one_of_its_commands_does() {
    let primary = start(Kind::Subject, ONE);
    let (mut client, mut admin) = (primary.client(), primary.client());
    let queue = |client: &mut Client, lines: &[&str]| {
        client.ok("MULTI");
        for line in lines {
            assert_eq!(client.run(line).text(), "QUEUED", "{line}");
        }
    };
    let harmless = ["PING", "INFO", "ROLE", "CONFIG GET port", "CLIENT ID", "OBJECT HELP", "MEMORY DOCTOR"];
    queue(&mut client, &[&harmless[..], &["LOLWUT", "FUNCTION STATS", "SCRIPT EXISTS x"]].concat());
    assert_eq!(client.run("EXEC").elements().len(), 10);
    queue(&mut client, &[]);
    assert_eq!(client.run("EXEC"), Value::Array(vec![]));
    // Nothing is executed, so nothing is shown.
    queue(&mut client, &["GET k"]);
    assert!(client.run("SET k v").text().starts_with("NOREPLICAS"));
    assert!(client.run("EXEC").text().starts_with("EXECABORT"));
    assert!(client.run("EXEC").is_error());
    for (count, lines) in [&["PING", "GET k", "PING"][..], &["DBSIZE"], &["FUNCTION LIST"]].iter().enumerate()
    {
        let mut reader = primary.client();
        queue(&mut reader, lines);
        reader.send(&["EXEC"]).unwrap();
        wait_for_withheld(&mut admin, count + 1);
    }
    // Its reply tells whether the key was changed.
    client.ok("WATCH k");
    queue(&mut client, &["PING"]);
    client.send(&["EXEC"]).unwrap();
    wait_for_withheld(&mut admin, 4);
}

#[test]
fn connections_that_end_are_closed_after_their_replies_or_at_once_when_killed() {
    let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "");
    let (mut leaving, mut silent, mut killed) = (primary.client(), primary.client(), primary.client());
    let id = killed.run("CLIENT ID").integer();
    replica.signal(Signal::SIGSTOP);
    leaving.send_raw(&[encode(&["SET", "k", "v"]), encode(&["QUIT"])].concat()).unwrap();
    wait_for_withheld(&mut admin, 1);
    silent.send(&["SET", "l", "v"]).unwrap();
    wait_for_withheld(&mut admin, 2);
    silent.finish_sending();
    killed.send(&["GET", "k"]).unwrap();
    wait_for_withheld(&mut admin, 3);
    let list = admin.run(&format!("CLIENT LIST ID {id}")).text();
    assert!(list.contains(" oll=1 "), "{list}");
    assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert_eq!(killed.wait_closed(), b"");
    // Neither of the two occupies the event loop meanwhile.
    let cycles = admin.info_number("eventloop_cycles");
    for _ in 0..10 {
        assert_eq!(admin.run("PING").text(), "PONG");
    }
    assert!(admin.info_number("eventloop_cycles") - cycles < 1000);
    replica.signal(Signal::SIGCONT);
    assert_eq!(leaving.wait_closed(), b"+OK\r\n+OK\r\n");
    assert_eq!(silent.wait_closed(), b"+OK\r\n");
}

#[test]
fn withheld_replies_count_for_the_limit_of_output() {
    let [(primary, mut admin), (replica, _)] = pair(Kind::Subject, "");
    admin.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]);
    admin.ok(&format!("SET large {}", "x".repeat(30_000)));
    replica.signal(Signal::SIGSTOP);
    let mut greedy = primary.client();
    greedy.send(&["SET", "k", "v"]).unwrap();
    wait_for_withheld(&mut admin, 1);
    for _ in 0..4 {
        greedy.send(&["GET", "large"]).unwrap();
    }
    assert_eq!(greedy.wait_closed(), b"");
    assert_eq!(admin.info_number("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn as_many_replicas_as_configured_have_to_acknowledge_and_none_once_it_is_0() {
    let servers = [(Kind::Subject, ONE), (Kind::Subject, ""), (Kind::Redis, "")];
    let [(primary, mut admin), (_one, _), (stopped, _)] = star_with(servers, |_| {});
    wait_until_writable(&mut admin);
    until("both are online", || field(&mut admin, "min_slaves_good_slaves") == "2");
    stopped.signal(Signal::SIGSTOP);
    admin.ok("SET k 1");
    admin.ok("CONFIG SET min-replicas-to-ack 2");
    let mut writer = primary.client();
    writer.send(&["SET", "k", "2"]).unwrap();
    wait_for_withheld(&mut admin, 1);
    stopped.signal(Signal::SIGCONT);
    assert_eq!(reply(&mut writer), "OK");
    admin.ok("SET k 3");
    stopped.signal(Signal::SIGSTOP);
    writer.send(&["SET", "k", "4"]).unwrap();
    wait_for_withheld(&mut admin, 1);
    admin.ok("CONFIG SET min-replicas-to-ack 0");
    assert_eq!(reply(&mut writer), "OK");
    assert_eq!(admin.run("GET k").text(), "4");
}
