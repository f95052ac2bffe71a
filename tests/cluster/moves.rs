//! Slots that move between nodes, with their keys, their blocked clients and their subscriptions.

use crate::nodes::{Kind, NEVER, Node, cluster, run_anywhere, until, wait_until_ok};
use crate::support::version::Version;
use crate::support::{Client, Launch, Value};

/// Writes a key of each type with this tag.
pub fn write(nodes: &[Node], tag: &str) {
    for line in [
        format!("SET {{{tag}}}string value"),
        format!("SET {{{tag}}}integer 42"),
        format!("RPUSH {{{tag}}}list a b c"),
        format!("SADD {{{tag}}}set 1 2 x"),
        format!("HSET {{{tag}}}hash f v g w"),
        format!("ZADD {{{tag}}}zset 1 a 2.5 b"),
        format!("XADD {{{tag}}}stream 1-1 f v"),
        format!("SET {{{tag}}}expiring value EX 10000"),
    ] {
        let reply = run_anywhere(nodes, &line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

/// All that [`write`] has written.
pub fn read(nodes: &[Node], tag: &str) -> Vec<String> {
    let lines = [
        format!("GET {{{tag}}}string"),
        format!("GET {{{tag}}}integer"),
        format!("LRANGE {{{tag}}}list 0 -1"),
        format!("SORT {{{tag}}}set ALPHA"),
        format!("HMGET {{{tag}}}hash f g"),
        format!("ZRANGE {{{tag}}}zset 0 -1 WITHSCORES"),
        format!("XRANGE {{{tag}}}stream - +"),
    ];
    let mut found: Vec<String> =
        lines.iter().map(|line| format!("{:?}", run_anywhere(nodes, line))).collect();
    let ttl = run_anywhere(nodes, &format!("TTL {{{tag}}}expiring")).integer();
    found.push((9000..=10_000).contains(&ttl).to_string());
    found
}

fn slot_of(node: &Node, tag: &str) -> i64 {
    node.run(&format!("CLUSTER KEYSLOT {tag}")).integer()
}

/// Moves a slot as redis-cli does. `halfway` is called when the slot is open and one key has been moved.
fn move_slot(nodes: &[Node], slot: i64, from: &Node, to: &Node, halfway: impl FnOnce(&[u8])) {
    to.client().ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", from.id()));
    from.client().ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", to.id()));
    let mut halfway = Some(halfway);
    loop {
        let keys = from.run(&format!("CLUSTER GETKEYSINSLOT {slot} 1"));
        let Some(key) = keys.elements().first().map(Value::text) else { break };
        let reply = from.run(&format!("MIGRATE 127.0.0.1 {} {key} 0 10000", to.port()));
        assert_eq!(reply.text(), "OK", "{key}");
        if let Some(halfway) = halfway.take() {
            halfway(key.as_bytes());
        }
    }
    for node in [to, from] {
        node.client().ok(&format!("CLUSTER SETSLOT {slot} NODE {}", to.id()));
    }
    until("all nodes know the new owner", || {
        nodes.iter().all(|node| {
            let reply = node.run(&format!("GET {{{}}}nothing", tag_of(slot)));
            reply.is_null() || crate::nodes::target(&reply) == Some(to.port())
        })
    });
}

/// A hash tag of a slot.
fn tag_of(slot: i64) -> &'static str {
    TAGS.iter().find(|(_, of)| *of == slot).expect("a slot of the tests").0
}

/// Hash tags with their slots.
const TAGS: [(&str, i64); 3] = [("a", 15495), ("b", 3300), ("foo", 12182)];

#[test]
fn keys_of_all_types_move_between_nodes_of_both_kinds_and_back() {
    let kinds = [(Kind::Redis, NEVER), (Kind::Subject, NEVER), (Kind::Subject, NEVER)];
    let nodes = cluster(3, kinds);
    // Redis 7.0 does not read payloads of 7.2.
    let and_back =
        Version::new(7, 2).is_reached_by(&mut nodes[0].client(), "keys that move from Redstart to Redis");
    for (tag, slot) in TAGS {
        assert_eq!(slot_of(&nodes[0], tag), slot);
        assert_eq!(slot_of(&nodes[1], tag), slot);
        write(&nodes, tag);
    }
    let before: Vec<_> = TAGS.iter().map(|(tag, _)| read(&nodes, tag)).collect();
    for (from, to) in [(0, 1), (1, 2), (2, 0)].into_iter().take(if and_back { 3 } else { 2 }) {
        move_slot(&nodes, 3300, &nodes[from], &nodes[to], |_| {});
        assert_eq!(nodes[from].run("CLUSTER COUNTKEYSINSLOT 3300").integer(), 0);
        assert_eq!(nodes[to].run("CLUSTER COUNTKEYSINSLOT 3300").integer(), 8);
        let after: Vec<_> = TAGS.iter().map(|(tag, _)| read(&nodes, tag)).collect();
        assert_eq!(before, after, "from {from} to {to}");
    }
}

#[test]
fn a_slot_that_is_half_moved_is_served_by_both_nodes_as_in_redis() {
    for (from_kind, to_kind) in [(Kind::Redis, Kind::Subject), (Kind::Subject, Kind::Subject)] {
        let nodes = cluster(2, [(from_kind, NEVER), (to_kind, NEVER)]);
        let (from, to) = (&nodes[0], &nodes[1]);
        from.client().ok("MSET {b}1 one {b}2 two");
        move_slot(&nodes, 3300, from, to, |moved| {
            let moved = std::str::from_utf8(moved).expect("a name of the test");
            let here = if moved == "{b}1" { "{b}2" } else { "{b}1" };
            let (from_port, to_port) = (from.port(), to.port());
            let case = format!("{from_kind:?} to {to_kind:?}");
            assert!(!from.run(&format!("GET {here}")).is_error(), "{case}");
            let ask = format!("ASK 3300 127.0.0.1:{to_port}");
            assert_eq!(from.run(&format!("GET {moved}")).text(), ask, "{case}");
            assert_eq!(from.run("SET {b}new 1").text(), ask, "{case}");
            let try_again = "TRYAGAIN Multiple keys request during rehashing of slot";
            assert_eq!(from.run("MGET {b}1 {b}2").text(), try_again, "{case}");
            assert_eq!(
                to.run(&format!("GET {moved}")).text(),
                format!("MOVED 3300 127.0.0.1:{from_port}"),
                "{case}"
            );
            let mut asking = to.client();
            asking.ok("ASKING");
            assert!(!asking.run(&format!("GET {moved}")).is_error(), "{case}");
            // It holds for one request, or for one transaction.
            assert!(asking.run(&format!("GET {moved}")).text().starts_with("MOVED"), "{case}");
            asking.ok("ASKING");
            assert_eq!(asking.run("MGET {b}1 {b}2").text(), try_again, "{case}");
            asking.ok("ASKING");
            asking.ok("MULTI");
            assert_eq!(asking.run(&format!("APPEND {moved} !")).text(), "QUEUED", "{case}");
            assert_eq!(asking.run("EXEC").elements().len(), 1, "{case}");
            let script = format!("EVAL return{{redis.call('GET',KEYS[1])}} 1 {moved}");
            assert_eq!(from.run(&script).text(), ask, "{case}");
        });
        let found = to.run("MGET {b}1 {b}2");
        let texts: Vec<String> = found.elements().iter().map(Value::text).collect();
        assert!(texts.contains(&"one!".to_string()) || texts.contains(&"two!".to_string()), "{texts:?}");
    }
}

#[test]
fn blocked_clients_and_sharded_subscriptions_leave_with_their_slot() {
    let nodes = cluster(2, [(Kind::Subject, NEVER), (Kind::Subject, NEVER)]);
    let (from, to) = (&nodes[0], &nodes[1]);
    let mut blocked = from.client();
    blocked.send(&["BLPOP", "b", "0"]).expect("sent");
    let mut reader = from.client();
    reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "{b}stream", "$"]).expect("sent");
    until("the clients are blocked", || from.client().info("blocked_clients") == "2");
    let mut subscriber = from.client();
    subscriber.run("SSUBSCRIBE b");
    let mut other = from.client();
    other.run("SUBSCRIBE b");
    move_slot(&nodes, 3300, from, to, |_| {});
    let moved = format!("MOVED 3300 127.0.0.1:{}", to.port());
    assert_eq!(blocked.read_reply().expect("a reply").value.text(), moved);
    assert_eq!(reader.read_reply().expect("a reply").value.text(), moved);
    let push = subscriber.read_reply().expect("a message").value;
    let words: Vec<String> = push.elements().iter().map(Value::text).collect();
    assert_eq!(words[..2], ["sunsubscribe", "b"]);
    assert_eq!(subscriber.run("SSUBSCRIBE b").text(), moved);
    // A plain subscription belongs to no slot, and messages reach all nodes.
    assert_eq!(to.run("PUBLISH b hello").integer(), 0);
    let message = other.read_reply().expect("a message").value;
    assert_eq!(message.elements()[2].text(), "hello");
}

#[test]
fn sharded_subscriptions_end_when_their_slot_is_given_to_any_node_as_in_redis() {
    for kind in [Kind::Redis, Kind::Subject] {
        let nodes = cluster(1, [(kind, NEVER), (kind, NEVER)]);
        // Redis 7.0 differs.
        let what = "the end of sharded subscriptions when their slot is given away";
        if kind == Kind::Redis && !Version::new(7, 2).is_reached_by(&mut nodes[0].client(), what) {
            continue;
        }
        let ends = |mut subscriber: Client| {
            let push = subscriber.read_reply().expect("a message").value;
            let words: Vec<String> = push.elements().iter().take(2).map(Value::text).collect();
            assert_eq!(words, ["sunsubscribe", "b"], "{kind:?}");
        };
        let subscribed = |node: &Node| {
            let mut client = node.client();
            assert!(!client.run("SSUBSCRIBE b").is_error());
            client
        };
        let subscribers = [subscribed(&nodes[0]), subscribed(&nodes[1])];
        nodes[1].client().ok("CLUSTER FAILOVER");
        // The new primary and the old one are of the slot's shard before and after.
        subscribers.into_iter().for_each(ends);
        assert_eq!(nodes[1].run("SPUBLISH b message").integer(), 0, "{kind:?}");
        // A slot that its owner gives to itself.
        let subscriber = subscribed(&nodes[1]);
        nodes[1].client().ok(&format!("CLUSTER SETSLOT 3300 NODE {}", nodes[1].id()));
        ends(subscriber);
    }
}

#[test]
fn keys_of_a_lost_slot_vanish_without_an_event_but_cached_values_are_invalidated() {
    for kind in [Kind::Redis, Kind::Subject] {
        let nodes = cluster(2, [(kind, NEVER), (kind, NEVER)]);
        // Redis 7.0 differs.
        let what = "the events of a slot that is lost";
        if kind == Kind::Redis && !Version::new(7, 2).is_reached_by(&mut nodes[0].client(), what) {
            continue;
        }
        let (from, to) = (&nodes[0], &nodes[1]);
        let mut client = from.client();
        client.ok("CONFIG SET notify-keyspace-events KEA");
        client.ok("SET b 1");
        let mut listener = from.client();
        listener.run("PSUBSCRIBE __key*__:*");
        let mut caching = from.client();
        caching.run("HELLO 3");
        caching.ok("CLIENT TRACKING ON");
        caching.run("GET b");
        to.client().ok(&format!("CLUSTER SETSLOT 3300 IMPORTING {}", from.id()));
        to.client().ok(&format!("CLUSTER SETSLOT 3300 NODE {}", to.id()));
        let push = caching.read_reply().expect("an invalidation").value;
        assert_eq!(push.elements()[0].text(), "invalidate", "{kind:?}");
        assert_eq!(from.run("DBSIZE").integer(), 0, "{kind:?}");
        // The first message that the listener gets is of a later event.
        client.ok("SET {f}later 1");
        let message = listener.read_reply().expect("a message").value;
        let words: Vec<String> = message.elements().iter().map(Value::text).collect();
        assert!(
            words.contains(&"{f}later".to_owned()) || words[2].ends_with("{f}later"),
            "{kind:?}: {words:?}"
        );
    }
}

#[test]
fn messages_reach_the_subscribers_of_all_nodes_and_sharded_ones_those_of_the_shard() {
    let kinds = [(Kind::Subject, NEVER), (Kind::Redis, NEVER), (Kind::Redis, NEVER), (Kind::Subject, NEVER)];
    // The third follows the first, the fourth the second.
    let nodes = cluster(2, kinds);
    for from in &nodes {
        let mut subscribers: Vec<_> = nodes.iter().map(Node::client).collect();
        for subscriber in &mut subscribers {
            subscriber.run("SUBSCRIBE news");
        }
        from.run("PUBLISH news hello");
        for subscriber in &mut subscribers {
            let message = subscriber.read_reply().expect("a message").value;
            assert_eq!(message.elements()[2].text(), "hello");
        }
    }
    for (primary, replica, channel) in [(0, 2, "b"), (1, 3, "a")] {
        let mut subscriber = nodes[replica].client();
        assert!(!subscriber.run(&format!("SSUBSCRIBE {channel}")).is_error());
        assert_eq!(nodes[primary].run(&format!("SPUBLISH {channel} hello")).integer(), 0);
        let message = subscriber.read_reply().expect("a message").value;
        assert_eq!(message.elements()[2].text(), "hello");
    }
}

#[test]
fn a_node_keeps_its_identity_and_its_slots_over_a_restart_and_a_second_one_with_its_file_is_refused() {
    let mut nodes = cluster(2, [(Kind::Subject, NEVER), (Kind::Redis, NEVER)]);
    let (id, shard) = (nodes[0].id(), nodes[0].run("CLUSTER MYSHARDID").text());
    let directory = nodes[0].server().directory().to_path_buf();
    let (second, _) = crate::nodes::launch(Kind::Subject, &format!("--dir {}", directory.display()));
    let (status, log) = second.run_to_exit();
    assert!(!status.success());
    assert!(log.contains("already used by a different Redis Cluster node"), "{log}");
    nodes[0].kill();
    nodes[0].restart();
    assert_eq!((nodes[0].id(), nodes[0].run("CLUSTER MYSHARDID").text()), (id, shard));
    wait_until_ok(&nodes);
    assert_eq!(run_anywhere(&nodes, "SET b 1").text(), "OK");
    assert_eq!(run_anywhere(&nodes, "SET a 1").text(), "OK");
    nodes[0].shut_down();
    let path = directory.join("nodes.conf");
    let content = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, content.replace("myself,master", "myself,emperor")).expect("written");
    let (status, damaged) = nodes[0].restart_in_vain();
    assert!(!status.success());
    assert!(damaged.contains("Unrecoverable error: corrupted cluster config file"), "{damaged}");
}

#[test]
fn the_reason_why_a_server_does_not_start_is_in_its_log_file() {
    let cluster = ("nodes.conf", "damaged\n", "--cluster-enabled yes", "corrupted cluster config file");
    let users = ("users.acl", "user\n", "--aclfile users.acl", "because of ACL errors");
    for (file, content, flags, reason) in [cluster, users] {
        for daemonize in ["no", "yes"] {
            let flags = format!("{flags} --logfile server.log --daemonize {daemonize}");
            let mut server = Launch::subject().flags(&flags).file(file, content).start_unlistened();
            assert!(!server.wait_exit().success(), "{flags}");
            let log = std::fs::read_to_string(server.directory().join("server.log")).expect("the log");
            assert!(log.contains(reason), "{flags}: {log}");
            assert!(server.log().contains(reason), "{flags}: it is printed as well");
        }
    }
}

/// The shard of a node; `None` if it is Redis 7.0, which has none.
fn shard_of(kind: Kind, client: &mut Client) -> Option<String> {
    if kind == Kind::Redis && !Version::new(7, 2).is_reached_by(client, "the shard in nodes.conf") {
        return None;
    }
    let shard = client.run("CLUSTER MYSHARDID").text();
    assert!(shard.len() == 40 && shard.bytes().all(|byte| byte.is_ascii_hexdigit()), "{kind:?}: {shard}");
    Some(shard)
}

#[test]
fn the_file_of_a_node_of_one_kind_is_read_by_the_other() {
    for (writer, reader) in [(Kind::Subject, Kind::Redis), (Kind::Redis, Kind::Subject)] {
        let mut nodes = cluster(2, [(writer, NEVER), (Kind::Subject, NEVER)]);
        let (id, shard) = (nodes[0].id(), shard_of(writer, &mut nodes[0].client()));
        let directory = nodes[0].server().directory().to_path_buf();
        nodes[0].shut_down();
        let (launch, _) = crate::nodes::launch(reader, NEVER);
        std::fs::copy(directory.join("nodes.conf"), launch.directory().join("nodes.conf")).expect("copied");
        let heir = launch.start();
        let mut client = heir.client();
        assert_eq!(client.run("CLUSTER MYID").text(), id);
        let known = shard_of(reader, &mut client);
        if let (Some(known), Some(shard)) = (known, shard) {
            assert_eq!(known, shard, "{writer:?}'s file, read by {reader:?}");
        }
        let other = nodes[1].id();
        let text = client.run("CLUSTER NODES").text();
        let line = text.lines().find(|line| line.starts_with(&other)).expect("the other node").to_owned();
        assert!(line.ends_with("8192-16383"), "{line}");
    }
}
