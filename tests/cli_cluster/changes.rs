//! Subcommands that change a cluster: `reshard`, `rebalance`, `add-node`, `del-node`, `import`.

use crate::support::{Launch, Server, Value, eventually};
use crate::{
    Follower, address, answer, cluster, compared, id, manage, node, slot_counts, wait_for_agreement,
    wait_until_good,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The number of slots that move. Every node saves its configuration for each of them.
const COUNT: u16 = 40;

/// A hash tag whose slot is below `limit`.
fn tag_below(node: &Server, limit: u16) -> String {
    let mut client = node.client();
    let is_low = |tag: &String| matches!(client.run(&format!("CLUSTER KEYSLOT {tag}")), Value::Integer(slot) if slot < i64::from(limit));
    (0..1_000_000).map(|number| format!("tag{number}")).find(is_low).expect("a tag for every slot")
}

/// Creates keys of every type with this hash tag.
fn fill(follower: &mut Follower, tag: &str) -> Vec<String> {
    let lines = [
        "SET string value",
        "SETRANGE large 20000 end",
        "RPUSH list a b c",
        "SADD set a b 3",
        "SADD ints 1 2 3",
        "ZADD sorted 1 a 2.5 b",
        "HSET hash f v g w",
        "XADD stream 1-1 f v",
        "SETBIT bits 1000 1",
        "PFADD counter a b",
        "GEOADD places 13.4 52.5 berlin",
    ];
    lines
        .iter()
        .map(|line| {
            let mut words: Vec<String> = line.split(' ').map(String::from).collect();
            words[1] = format!("{{{tag}}}{}", words[1]);
            let reply = follower.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(!reply.is_error(), "{line}: {reply:?}");
            words.swap_remove(1)
        })
        .collect()
}

fn digests(follower: &mut Follower, keys: &[String]) -> Vec<Value> {
    keys.iter().map(|key| follower.digest(key)).collect()
}

#[test]
fn slots_move_with_keys_of_all_types_while_clients_write() {
    let nodes = cluster(3, 0);
    let mut follower = Follower::new(&nodes[0]);
    // A reshard takes the lowest slots of a node, so the keys are in one of them.
    let tag = tag_below(&nodes[0], COUNT);
    let keys = fill(&mut follower, &tag);
    follower.call(&["PEXPIRE", &keys[0], "10000000"]);
    let before = digests(&mut follower, &keys);
    wait_for_agreement(&nodes);
    let (from, to, count) = (id(&nodes[0]), id(&nodes[1]), COUNT.to_string());
    under_load(&nodes, &mut follower, &tag, || {
        let arguments = ["reshard", &address(&nodes[0]), "--cluster-from", &from, "--cluster-to", &to];
        let text = manage(&[&arguments[..], &["--cluster-slots", &count, "--cluster-yes"]].concat()).good();
        let moved = format!("Moving slot 0 from {} to {}: ", address(&nodes[0]), address(&nodes[1]));
        assert!(text.contains(&moved), "{text}");
        assert_eq!(slot_counts(&nodes)[1], 5462 + COUNT as usize);
        wait_for_agreement(&nodes);
        // And back, with the questions answered.
        let any = address(&nodes[2]);
        let answers = format!("{count}\n\n{from}\nnonsense\n");
        answer(&["reshard", &any], &answers).fails_with("The specified node (nonsense) is not known");
        let answers = format!("{count}\n{from}\n{from}\n{to}\ndone\nyes\n");
        let text = answer(&["reshard", &any], &answers).good();
        assert!(text.contains("*** It is not possible to use the target node as source node.\n"), "{text}");
        let ready = format!("Ready to move {count} slots.\n  Source nodes:\n    M: {to} ");
        assert!(text.contains(&ready), "{text}");
    });
    assert_eq!(digests(&mut follower, &keys), before);
    assert_eq!(slot_counts(&nodes)[0], 5461);
    let Value::Integer(left) = follower.call(&["PTTL", &keys[0]]) else { panic!("a time to live") };
    assert!((9_000_000..=10_000_000).contains(&left), "{left}");
    let refused = ["reshard", &address(&nodes[0]), "--cluster-from", "all", "--cluster-to", "nobody"];
    let refused = [&refused[..], &["--cluster-slots", "3", "--cluster-yes"]].concat();
    compared(&refused).fails_with("*** The specified node (nobody) is not known or not a master");
    rebalancing_follows_weights(&nodes);
}

/// Runs `action` while clients increment counters in the slot of `tag`. No acknowledged increment may be lost.
fn under_load(nodes: &[Server], follower: &mut Follower, tag: &str, action: impl FnOnce()) {
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (is_over, count) = (&is_over, &count);
                scope.spawn(move || {
                    let (mut own, mut sent) = (Follower::new(&nodes[writer]), 0);
                    let key = format!("{{{tag}}}writer:{writer}");
                    while !is_over.load(Ordering::Relaxed) {
                        sent += 1;
                        assert_eq!(own.call(&["INCR", &key]), Value::Integer(sent), "{key}");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    (key, sent)
                })
            })
            .collect();
        eventually("some writes", || (count.load(Ordering::Relaxed) > 10).then_some(()));
        action();
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            let (key, sent) = writer.join().expect("every write has a reply");
            assert_eq!(follower.call(&["GET", &key]).text(), sent.to_string());
        }
    });
}

fn rebalancing_follows_weights(nodes: &[Server]) {
    let any = address(&nodes[0]);
    wait_for_agreement(nodes);
    compared(&["rebalance", &any, "--cluster-threshold", "50"]).good();
    compared(&["rebalance", &any, "--cluster-weight", "nobody=2"])
        .fails_with("*** No such master node nobody");
    manage(&["rebalance", &any, "--cluster-weight", "nobody"]).fails_with("*** invalid input nobody");
    let weight = format!("{}=1.01", &id(&nodes[1])[..12]);
    let options = ["rebalance", &any, "--cluster-weight", &weight, "--cluster-threshold", "0.3"];
    compared(&[&options[..], &["--cluster-simulate", "--verbose"]].concat()).good();
    let text = manage(&options).good();
    assert!(text.contains(">>> Rebalancing across 3 nodes. Total weight = 3.01\nMoving "), "{text}");
    let counts = slot_counts(nodes);
    assert!((5497..=5499).contains(&counts[1]), "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), 16384);
    wait_for_agreement(nodes);
}

#[test]
fn nodes_join_as_master_or_replica_and_leave() {
    let mut nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    nodes[0].client().call(&["FUNCTION", "LOAD", library]);
    let any = address(&nodes[0]);

    let master = node();
    let text = manage(&["add-node", &address(&master), &any]).good();
    assert!(
        text.contains(">>> Getting functions from cluster\n>>> Send FUNCTION LIST to 127.0.0.1:"),
        "{text}"
    );
    assert!(text.ends_with("to make it join the cluster.\n[OK] New node added correctly.\n"), "{text}");
    assert!(format!("{:?}", master.client().run("FUNCTION LIST")).contains("lib"));
    nodes.push(master);
    wait_until_good(&nodes);
    wait_for_agreement(&nodes);

    let replica = node();
    let master = id(&nodes[3]);
    let arguments = ["add-node", &address(&replica), &any, "--cluster-slave", "--cluster-master-id"];
    manage(&[&arguments[..], &["nobody"]].concat()).fails_with("[ERR] No such master ID nobody");
    let text = manage(&[&arguments[..], &[&master]].concat()).good();
    let configured = format!(">>> Configure node as replica of {}.\n", address(&nodes[3]));
    assert!(text.contains(&configured), "{text}");
    let own = replica.client().run("CLUSTER NODES").text();
    assert!(own.lines().any(|line| line.contains("myself,slave") && line.contains(&master)), "{own}");
    nodes.push(replica);
    wait_until_good(&nodes);
    wait_for_agreement(&nodes);
    compared(&["add-node", &address(&nodes[4]), &any]).fails_with("is not empty");

    compared(&["del-node", &any, "nobody"]).fails_with("[ERR] No such node ID nobody");
    compared(&["del-node", &any, &id(&nodes[1])])
        .fails_with("is not empty! Reshard data away and try again.");
    // The replica of the removed master gets another one.
    eventually("all nodes know the replica's master", || {
        let knows = |node: &Server| {
            let text = node.client().run("CLUSTER NODES").text();
            text.lines().any(|line| line.contains("slave") && line.contains(&master))
        };
        nodes.iter().all(knows).then_some(())
    });
    let text = manage(&["del-node", &any, &master]).good();
    let moved = format!(">>> {} as replica of 127.0.0.1:", address(&nodes[4]));
    assert!(text.contains(&moved), "{text}");
    assert!(text.ends_with(">>> Sending CLUSTER RESET SOFT to the deleted node.\n"), "{text}");
    let removed = nodes.remove(3);
    assert!(removed.client().run("CLUSTER INFO").text().contains("cluster_known_nodes:1\r"));
    wait_until_good(&nodes);
    manage(&["del-node", &any, &id(&nodes[3])]).good();
    nodes.pop();
    wait_until_good(&nodes);
}

#[test]
fn an_import_copies_or_moves_every_key() {
    let nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let source = Launch::redis().flags("--requirepass secret").start();
    let mut client = source.client();
    client.ok("AUTH secret");
    for number in 0..200 {
        client.ok(&format!("SET key:{number} {number}"));
    }
    client.run("RPUSH list a b");
    let any = address(&nodes[0]);
    let from = address(&source);
    compared(&["import", &any]).fails_with("[ERR] Option '--cluster-from' is required");
    compared(&["import", &any, "--cluster-from", &any])
        .fails_with("[ERR] The source node should not be a cluster node.");
    manage(&["import", &any, "--cluster-from", &from]).fails_with("NOAUTH");
    let arguments = ["import", &any, "--cluster-from", &from, "--cluster-from-pass", "secret"];
    let text = manage(&[&arguments[..], &["--cluster-copy"]].concat()).good();
    assert!(text.contains("*** Importing 201 keys from DB 0\n"), "{text}");
    assert!(text.contains("Migrating list to 127.0.0.1:"), "{text}");
    assert_eq!(client.run("DBSIZE"), Value::Integer(201));
    let mut follower = Follower::new(&nodes[1]);
    for number in 0..200 {
        assert_eq!(follower.call(&["GET", &format!("key:{number}")]).text(), number.to_string());
    }
    manage(&arguments).fails_with("BUSYKEY");
    client.ok("SET key:7 new");
    manage(&[&arguments[..], &["--cluster-replace"]].concat()).good();
    assert_eq!(client.run("DBSIZE"), Value::Integer(0));
    assert_eq!(follower.call(&["GET", "key:7"]).text(), "new");
    assert!(manage(&["info", &any]).good().contains("[OK] 201 keys in 3 masters.\n"));
}
