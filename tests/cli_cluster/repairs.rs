//! `fix`: interrupted moves, keys on the wrong node, uncovered slots.

use crate::support::{Client, Value};
use crate::{Follower, address, answer, cluster, compared, id, manage, wait_for_agreement};

#[test]
fn open_and_uncovered_slots_are_fixed() {
    let nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let any = address(&nodes[0]);
    let [a, b, c] = [0, 1, 2].map(|at| nodes[at].client());
    let [mut a, mut b, mut c] = [a, b, c];
    let ids: Vec<String> = nodes.iter().map(id).collect();
    let mut follower = Follower::new(&nodes[0]);

    // A move that stopped before the first key: slot 449 has k2 and {k2}other.
    a.ok("SET k2 1");
    a.ok("SET {k2}other 2");
    let open = |source: &mut Client, target: &mut Client, slot: u16, from: usize, to: usize| {
        target.ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[from]));
        source.ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[to]));
    };
    open(&mut a, &mut b, 449, 0, 1);
    let check = compared(&["check", &any]);
    assert!(check.output.contains("[WARNING] The following slots are open: 449.\n"), "{check:?}");
    check.fails_with(&format!("[WARNING] Node {any} has slots in migrating state 449.\n"));
    let fixed = manage(&["fix", &any]).good();
    let case = format!(">>> Case 1: Moving slot 449 from {any} to {}\n", address(&nodes[1]));
    assert!(fixed.contains(&case), "{fixed}");
    assert!(
        fixed.contains(&format!("Moving slot 449 from {any} to {}: ..\n", address(&nodes[1]))),
        "{fixed}"
    );
    for (key, value) in [("k2", "1"), ("{k2}other", "2")] {
        assert_eq!(b.run(&format!("GET {key}")).text(), value);
    }
    wait_for_agreement(&nodes);

    // One that stopped between two keys: the node with more keys gets the others.
    b.ok("SET {k2}third 3");
    open(&mut b, &mut c, 449, 1, 2);
    b.ok(&format!("MIGRATE 127.0.0.1 {} k2 0 5000", nodes[2].port()));
    let fixed = manage(&["fix", &any]).good();
    let found = format!("*** Found keys about slot 449 in non-owner node {}!\n", address(&nodes[2]));
    assert!(fixed.contains(&found), "{fixed}");
    assert!(
        fixed.contains(&format!("*** Configuring {} as the slot owner\n", address(&nodes[1]))),
        "{fixed}"
    );
    assert_eq!(b.run("GET k2").text(), "1");
    wait_for_agreement(&nodes);

    // A migration that nobody imports is closed.
    c.ok(&format!("CLUSTER SETSLOT 12706 MIGRATING {}", ids[0]));
    let fixed = manage(&["fix", &any]).good();
    assert!(
        fixed.contains(&format!(">>> Case 4: Closing slot 12706 on {}\n", address(&nodes[2]))),
        "{fixed}"
    );
    wait_for_agreement(&nodes);

    // Several nodes import a slot of another one.
    b.ok(&format!("CLUSTER SETSLOT 5 IMPORTING {}", ids[0]));
    c.ok(&format!("CLUSTER SETSLOT 5 IMPORTING {}", ids[0]));
    let fixed = manage(&["fix", &any]).good();
    assert!(
        fixed.contains(&format!(">>> Case 2: Moving all the 5 slot keys to its owner {any}\n")),
        "{fixed}"
    );
    wait_for_agreement(&nodes);

    // Slots that nobody covers: two without keys, and 12706, whose keys are on the third node.
    c.ok("SET k1 3");
    for client in [&mut a, &mut b, &mut c] {
        client.ok("CLUSTER DELSLOTS 12706 20 21");
    }
    let check = compared(&["check", &any]);
    check.fails_with("[ERR] Not all 16384 slots are covered by nodes.\n\n");
    // Both questions are asked even with --cluster-yes.
    answer(&["fix", &any, "--cluster-yes"], "no\nno\n")
        .fails_with("Fix these slots by covering with a random node?");
    let fixed = answer(&["fix", &any, "--cluster-yes"], "yes\nyes\n").good();
    let none = "The following uncovered slots have no keys across the cluster:\n[20-21]\n";
    assert!(fixed.contains(none), "{fixed}");
    assert!(
        fixed.contains("The following uncovered slots have keys in just one node:\n[12706]\n"),
        "{fixed}"
    );
    let covered = format!(">>> Covering slot 12706 with {}\n", address(&nodes[2]));
    assert!(fixed.contains(&covered), "{fixed}");
    wait_for_agreement(&nodes);
    assert_eq!(follower.call(&["GET", "k1"]).text(), "3");

    // A slot without an owner, with different keys on two nodes.
    c.ok("SET {k1}more 4");
    a.ok(&format!("CLUSTER SETSLOT 12706 IMPORTING {}", ids[2]));
    a.ok("ASKING");
    a.ok("SET {k1}third 5");
    a.ok("CLUSTER SETSLOT 12706 STABLE");
    for client in [&mut a, &mut b, &mut c] {
        client.ok("CLUSTER DELSLOTS 12706");
    }
    let fixed = answer(&["fix", &any], "yes\n").good();
    assert!(
        fixed.contains("The following uncovered slots have keys in multiple nodes:\n[12706]\n"),
        "{fixed}"
    );
    wait_for_agreement(&nodes);
    for (key, value) in [("k1", "3"), ("{k1}more", "4"), ("{k1}third", "5")] {
        assert_eq!(follower.call(&["GET", key]).text(), value, "{key}");
    }
    assert_eq!(c.run("CLUSTER COUNTKEYSINSLOT 12706"), Value::Integer(3));
}

#[test]
fn a_move_never_overwrites_a_different_value_unless_told_to() {
    let nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let any = address(&nodes[0]);
    let (from, to) = (id(&nodes[0]), id(&nodes[1]));
    let (mut source, mut target) = (nodes[0].client(), nodes[1].client());
    source.ok("SET k2 old");
    target.ok(&format!("CLUSTER SETSLOT 449 IMPORTING {from}"));
    target.ok("ASKING");
    target.ok("SET k2 new");
    source.ok(&format!("CLUSTER SETSLOT 449 MIGRATING {to}"));
    let run = manage(&["fix", &any]);
    assert!(
        run.output.contains("*** Target key exists\n*** Checking key values on both nodes...\n"),
        "{run:?}"
    );
    assert!(run.output.contains("    Keys(s):\n    - k2\n"), "{run:?}");
    assert!(run.output.ends_with(">>> Check slots coverage...\n[OK] All 16384 slots covered.\n"), "{run:?}");
    run.fails_with("*** Found 1 key(s) in both source node and target node having different values.\n");
    // Both nodes have one key of the slot, so the first one became the owner.
    assert_eq!(source.run("GET k2").text(), "old");
    manage(&["fix", &any, "--cluster-replace"]).good();
    assert_eq!(source.run("GET k2").text(), "new");
    wait_for_agreement(&nodes);
}

#[test]
fn a_cluster_with_an_unreachable_master_is_not_fixed_by_accident() {
    let mut nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    drop(nodes.pop().expect("a node"));
    let any = address(&nodes[0]);
    manage(&["fix", &any]).fails_with("*** Fixing slots coverage with 1 unreachable masters is dangerous");
    let fixed = answer(&["fix", &any, "--cluster-fix-with-unreachable-masters"], "no\n");
    fixed.fails_with("The following uncovered slots have no keys across the cluster:\n[10923-16383]\n");
}
