//! Primaries that fail, and replicas that take over: by election, and by command.

use crate::nodes::{Kind, NEVER, Node, cluster, run_anywhere, until, wait_until_ok};
use crate::support::Value;

/// A timeout after which a node counts as failing.
const SOON: &str = "--cluster-node-timeout 4000";

#[test]
fn a_killed_primary_is_replaced_by_its_replica_of_the_other_kind_and_returns_as_a_replica() {
    let (subject, redis) = ((Kind::Subject, SOON), (Kind::Redis, SOON));
    let mut nodes = cluster(3, [subject, redis, subject, redis, subject, redis]);
    for (tag, value) in [("b", "1"), ("foo", "2"), ("a", "3")] {
        assert_eq!(run_anywhere(&nodes, &format!("SET {tag} {value}")).text(), "OK");
    }
    // A Redstart primary with a Redis replica, then the other way round.
    for (primary, replica) in [(0, 3), (1, 4)] {
        let (id, heir) = (nodes[primary].id(), nodes[replica].id());
        let mut client = nodes[primary].client();
        let replicas = client.run("WAIT 1 100000").integer();
        assert!(replicas >= 1, "{primary} has no replica");
        nodes[primary].kill();
        let others: Vec<&Node> =
            nodes.iter().enumerate().filter(|(n, _)| *n != primary).map(|(_, node)| node).collect();
        until("the replica is promoted", || {
            others.iter().all(|node| {
                node.flags_of(&heir).contains(&"master".to_string()) && node.info("cluster_state") == "ok"
            })
        });
        until("the primary has failed", || {
            others.iter().all(|node| node.flags_of(&id).contains(&"fail".to_string()))
        });
        nodes[primary].restart();
        until("the old primary is a replica", || {
            nodes[primary].line_of(&id).get(3) == Some(&heir)
                && nodes[primary].client().info("master_link_status") == "up"
        });
        until("its failure is forgotten", || {
            nodes.iter().all(|node| !node.flags_of(&id).contains(&"fail".to_string()))
        });
        wait_until_ok(&nodes);
        for (tag, value) in [("b", "1"), ("foo", "2"), ("a", "3")] {
            assert_eq!(run_anywhere(&nodes, &format!("GET {tag}")).text(), value);
        }
    }
}

#[test]
fn a_replica_takes_over_by_command_without_a_lost_write() {
    for (primary_kind, replica_kind) in
        [(Kind::Subject, Kind::Redis), (Kind::Redis, Kind::Subject), (Kind::Subject, Kind::Subject)]
    {
        let nodes = cluster(2, [(primary_kind, NEVER), (Kind::Subject, NEVER), (replica_kind, NEVER)]);
        let (old, new) = (&nodes[0], &nodes[2]);
        let mut writer = old.client();
        let mut acknowledged = writer.run("INCR b").integer();
        new.client().ok("CLUSTER FAILOVER");
        let moved = format!("MOVED 3300 127.0.0.1:{}", new.port());
        // The pause stops a pipeline before its write; what follows the write is the new primary's, too.
        let mut is_moved = false;
        while !is_moved {
            let lines = ["INCR b", "GET b", "INCR b", "GET b"];
            let pipeline = lines.map(|line| format!("{line}\r\n")).concat();
            writer.send_raw(pipeline.as_bytes()).expect("sent");
            for line in lines {
                let reply = writer.read_reply().expect("a reply").value;
                is_moved |= reply.is_error();
                if is_moved {
                    assert_eq!(reply.text(), moved, "{line} of {primary_kind:?}, then {replica_kind:?}");
                    continue;
                }
                acknowledged += i64::from(line == "INCR b");
                assert_eq!(reply.text(), acknowledged.to_string());
            }
        }
        assert_eq!(new.run("GET b").text(), acknowledged.to_string());
        until("the old primary follows", || {
            !old.is_primary() && old.client().info("master_link_status") == "up"
        });
        // A replica serves reads to those who want them.
        let mut reader = old.client();
        assert!(reader.run("GET b").text().starts_with("MOVED"));
        reader.ok("READONLY");
        until("the data is there", || {
            let found = reader.run("GET b");
            !found.is_null() && found.text() == acknowledged.to_string()
        });
        assert!(reader.run("SET b 1").text().starts_with("MOVED"));
        reader.ok("READWRITE");
        assert!(reader.run("GET b").text().starts_with("MOVED"));
    }
}

#[test]
fn a_replica_takes_over_without_the_loss_of_what_a_slow_script_writes() {
    let old_flags = format!("{NEVER} --busy-reply-threshold 10");
    let nodes = cluster(2, [(Kind::Subject, &*old_flags), (Kind::Subject, NEVER), (Kind::Subject, NEVER)]);
    let (old, new) = (&nodes[0], &nodes[2]);
    let script = "redis.call('INCR',KEYS[1]) local from=os.clock() while os.clock()-from<1 do end \
                  return redis.call('INCR',KEYS[1])";
    let mut writer = old.client();
    writer.send(&["EVAL", script, "1", "b"]).expect("sent");
    until("the script is slow", || old.run("GET b").text().starts_with("BUSY"));
    new.client().ok("CLUSTER FAILOVER");
    let reply = writer.read_reply().expect("a reply").value;
    assert_eq!(reply.text(), "2");
    let mut requests = 1;
    until("the replica is promoted", || {
        // A node gives up an attempt after five seconds: on a busy machine it may need another one.
        if new.server().log().matches("Manual failover timed out").count() == requests {
            new.run("CLUSTER FAILOVER");
            requests += 1;
        }
        new.is_primary()
    });
    assert_eq!(new.run("GET b").text(), "2");
}

#[test]
fn the_stream_does_not_grow_while_a_replica_waits_for_its_end() {
    let nodes = cluster(2, [(Kind::Subject, NEVER), (Kind::Subject, NEVER), (Kind::Subject, NEVER)]);
    let (old, voter, new) = (&nodes[0], &nodes[1], &nodes[2]);
    // Without a majority the replica is not elected: the pause lasts.
    voter.server().signal(nix::sys::signal::Signal::SIGSTOP);
    until("nothing was requested in a pause", || {
        new.client().ok("CLUSTER FAILOVER");
        let attempts = |node: &Node, end: &str| node.server().log().matches(end).count();
        let (begin, end) = ("Manual failover requested by replica", "Manual failover timed out");
        until("the primary pauses writes", || attempts(old, begin) > attempts(old, end));
        let offset = || old.client().info("master_repl_offset");
        let before = offset();
        // No two replicas will acknowledge anything.
        old.run("WAIT 2 1");
        let after = offset();
        let is_paused = attempts(old, begin) > attempts(old, end);
        assert!(after == before || !is_paused, "{before} {after}");
        is_paused
    });
    voter.server().signal(nix::sys::signal::Signal::SIGCONT);
}

#[test]
fn a_replica_takes_over_from_a_primary_that_is_gone_if_it_is_forced_to() {
    for word in ["FORCE", "TAKEOVER"] {
        let kinds =
            [(Kind::Subject, NEVER), (Kind::Redis, NEVER), (Kind::Subject, NEVER), (Kind::Subject, NEVER)];
        let mut nodes = cluster(3, kinds);
        assert_eq!(run_anywhere(&nodes, "SET b 1").text(), "OK");
        until("the replica has it", || {
            let mut client = nodes[3].client();
            client.ok("READONLY");
            client.run("GET b") == Value::Bulk(b"1".to_vec())
        });
        nodes[0].kill();
        nodes[3].client().ok(&format!("CLUSTER FAILOVER {word}"));
        until("the replica is promoted", || nodes[3].is_primary());
        let id = nodes[3].id();
        until("the others know it", || {
            nodes[1..3].iter().all(|node| node.line_of(&id).iter().any(|word| word == "0-5461"))
        });
        assert_eq!(nodes[3].run("GET b").text(), "1");
    }
}

#[test]
fn commands_of_the_cluster_do_not_wait_for_replicas_that_a_new_cluster_has_not_got() {
    let flags = format!("{NEVER} --min-replicas-to-ack 1 --min-replicas-ack-timeout 600000");
    let node = (Kind::Subject, flags.as_str());
    let nodes = cluster(3, [node; 6]);
    for line in
        ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER LINKS", "CLUSTER SAVECONFIG", "ASKING", "READONLY"]
    {
        let reply = nodes[0].run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    until("writes are confirmed", || run_anywhere(&nodes, "SET b 1").text() == "OK");
    // The reply to GETKEYSINSLOT has names of keys, which are data: it waits.
    nodes[3].server().signal(nix::sys::signal::Signal::SIGSTOP);
    let mut writer = nodes[0].client();
    writer.send(&["SET", "b", "2"]).expect("sent");
    until("the write waits", || nodes[0].client().info("withheld_replies") == "1");
    let mut reader = nodes[0].client();
    reader.send(&["CLUSTER", "GETKEYSINSLOT", "3300", "10"]).expect("sent");
    until("the names wait", || nodes[0].client().info("withheld_replies") == "2");
    nodes[3].server().signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(reader.read_reply().expect("a reply").value.elements()[0].text(), "b");
}

#[test]
fn a_cluster_without_a_majority_serves_nothing_and_heals() {
    let mut nodes = cluster(3, [(Kind::Subject, SOON), (Kind::Subject, SOON), (Kind::Subject, SOON)]);
    nodes[1].kill();
    nodes[2].kill();
    until("the last node notices", || nodes[0].info("cluster_state") == "fail");
    assert_eq!(nodes[0].run("GET b").text(), "CLUSTERDOWN The cluster is down");
    nodes[0].client().ok("CONFIG SET cluster-allow-reads-when-down yes");
    assert!(nodes[0].run("GET b").is_null());
    let refusal = nodes[0].run("SET b 1").text();
    assert_eq!(refusal, "CLUSTERDOWN The cluster is down and only accepts read commands");
    nodes[1].restart();
    nodes[2].restart();
    wait_until_ok(&nodes);
    assert_eq!(nodes[0].run("SET b 1").text(), "OK");
}
