//! Subcommands that look at a cluster or treat all nodes alike: `create`, `check`, `info`, `call`, `set-timeout`,
//! `backup`, `help`, and their errors.

use crate::support::server::{Directory, free_port};
use crate::support::{Launch, Server};
use crate::{
    address, answer, cluster, compared, create, id, manage, node, run, wait_for_agreement, wait_until_good,
};
use std::fs;

/// Lines without IDs of nodes and without ports, for comparisons with a fixed text.
fn anonymous(text: &str, nodes: &[Server]) -> String {
    let mut text = text.to_string();
    for (at, node) in nodes.iter().enumerate() {
        text = text.replace(&id(node), &format!("ID{at}")).replace(&address(node), &format!("node{at}"));
        text = text.replace(&id(node)[..8], &format!("ID{at}"));
    }
    text
}

#[test]
fn a_cluster_of_three_masters_and_three_replicas_is_created_after_a_yes() {
    let nodes: Vec<Server> = (0..6).map(|_| node()).collect();
    let addresses: Vec<String> = nodes.iter().map(address).collect();
    let mut arguments: Vec<&str> = vec!["create"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.extend(["--cluster-replicas", "1"]);
    let question = "Can I set the above configuration? (type 'yes' to accept): ";
    let refused = answer(&arguments, "no\n").good();
    assert!(refused.ends_with(question), "{refused}");
    assert_eq!(nodes[0].client().run("CLUSTER INFO").text().matches("known_nodes:1\r").count(), 1);

    let created = answer(&arguments, "yes\n").good();
    let shown = anonymous(&created, &nodes);
    let start = "\
>>> Performing hash slots allocation on 6 nodes...
Master[0] -> Slots 0 - 5460
Master[1] -> Slots 5461 - 10922
Master[2] -> Slots 10923 - 16383
Adding replica node4 to node0
Adding replica node5 to node1
Adding replica node3 to node2
>>> Trying to optimize slaves allocation for anti-affinity
[WARNING] Some slaves are in the same host as their master
M: ID0 node0
   slots:[0-5460] (5461 slots) master
";
    assert!(shown.starts_with(start), "{shown}");
    for line in [
        ">>> Nodes configuration updated\n>>> Assign a different config epoch to each node\n>>> Sending CLUSTER MEET \
         messages to join the cluster\nWaiting for the cluster to join\n",
        "[OK] All nodes agree about slots configuration.\n>>> Check for open slots...\n>>> Check slots coverage...\n[OK] \
         All 16384 slots covered.\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    wait_until_good(&nodes);
    wait_for_agreement(&nodes);
    let roles: Vec<String> = nodes.iter().map(|node| node.client().info("role")).collect();
    assert_eq!(roles, ["master", "master", "master", "slave", "slave", "slave"]);

    looks_are_those_of_redis_cli(&nodes);
    a_timeout_is_set_on_every_node(&nodes);
    a_backup_has_the_nodes_and_their_data(&nodes);
    create(&nodes, 1).fails_with("is not empty. Either the node already knows other nodes");
}

fn looks_are_those_of_redis_cli(nodes: &[Server]) {
    let any = address(&nodes[4]);
    let check = anonymous(&compared(&["check", &any]).good(), nodes);
    assert!(check.contains("node0 (ID0...) -> 0 keys | 5461 slots | 1 slaves.\n"), "{check}");
    assert!(check.contains("[OK] 0 keys in 3 masters.\n0.00 keys per slot on average.\n"), "{check}");
    assert!(check.contains(">>> Performing Cluster Check (using node node4)\n"), "{check}");
    assert_eq!(check.matches("   1 additional replica(s)\n").count(), 3, "{check}");
    assert_eq!(check.matches("   slots: (0 slots) slave\n   replicates ID").count(), 3, "{check}");
    let port = nodes[0].port().to_string();
    assert_eq!(compared(&["info", "127.0.0.1", &port]).good().lines().count(), 5);

    let call =
        |options: &[&str]| compared(&[&["call", &any, "config", "get", "port"], options].concat()).good();
    let all = call(&[]);
    assert!(all.starts_with(">>> Calling config get port\n"), "{all}");
    for node in nodes {
        let reply = format!("{}: port\n{}\n", address(node), node.port());
        assert!(all.contains(&reply), "{all}");
        let is_master = call(&["--cluster-only-masters"]).contains(&reply);
        assert_eq!(call(&["--cluster-only-replicas"]).contains(&reply), !is_master);
    }
    assert_eq!(all.matches(": port\n").count(), 6);
    assert_eq!(compared(&["call", &any, "get", "x"]).good().matches("MOVED 16287").count(), 5);
    compared(&["check", &any, "--cluster-search-multiple-owners", "--cluster-yes"]).good();
}

fn a_timeout_is_set_on_every_node(nodes: &[Server]) {
    let set = anonymous(&manage(&["set-timeout", &address(&nodes[1]), "1600"]).good(), nodes);
    assert!(set.starts_with(
        ">>> Reconfiguring node timeout in every cluster node...\n*** New timeout set for node1\n"
    ));
    assert!(set.ends_with("\n>>> New node timeout set. 6 OK, 0 ERR.\n"), "{set}");
    for node in nodes {
        let set = node.client().run("CONFIG GET cluster-node-timeout");
        assert!(format!("{set:?}").contains("1600"), "{set:?}");
    }
    compared(&["set-timeout", &address(&nodes[1]), "99"]).fails_with("a bad idea");
}

fn a_backup_has_the_nodes_and_their_data(nodes: &[Server]) {
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    let text = manage(&["backup", &address(&nodes[0]), &path]).good();
    assert!(text.ends_with(&format!("[OK] Backup created into: {path}\n")), "{text}");
    let json = fs::read_to_string(directory.join("nodes.json")).expect("the configuration");
    let saved: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    assert_eq!(saved.as_array().map(Vec::len), Some(6));
    let first = &saved[0];
    assert_eq!(
        (first["name"].as_str(), first["slots_count"].as_u64()),
        (Some(id(&nodes[0]).as_str()), Some(5461))
    );
    assert_eq!(first["slots"].to_string(), "[[0,5460]]");
    for node in &nodes[..3] {
        let name = format!("redis-node-127.0.0.1-{}-{}.rdb", node.port(), id(node));
        let bytes = fs::read(directory.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(bytes.starts_with(b"REDIS"), "{name}");
    }
    manage(&["backup", &address(&nodes[0]), &format!("{path}/missing")])
        .fails_with("Failed to back cluster!");
}

#[test]
fn wrong_arguments_and_unsuitable_nodes_are_refused_as_by_redis_cli() {
    compared(&["frobnicate"]).fails_with("Unknown --cluster subcommand");
    for arguments in [
        &["check"][..],
        &["add-node", "a:1"],
        &["del-node", "a:1"],
        &["import"],
        &["call", "a:1"],
        &["create", "a:1"],
    ] {
        compared(arguments).fails_with("[ERR] Wrong number of arguments for specified --cluster sub command");
    }
    compared(&["check", "nohost"]).fails_with("you need to pass either a valid address");
    compared(&["create", "nohost", "a:1"]).fails_with("Invalid address format: nohost");
    compared(&["check", &format!("127.0.0.1:{}", free_port())]).fails_with("Could not connect to Redis at");
    let help = manage(&["help"]).good();
    assert!(
        help.contains("  reshard        <host:port> or <host> <port> - separated by either colon or space\n")
    );
    if let Some(other) = crate::redis_cli(&["--cluster", "help"]) {
        assert_eq!(run(other, "").output, help);
    }

    let plain = Launch::redis().start();
    compared(&["check", &address(&plain)]).fails_with("is not configured as a cluster node.");
    let locked = Launch::redis().flags("--requirepass secret").start();
    compared(&["info", &address(&locked)]).fails_with("NOAUTH");
    let nodes = [node(), node()];
    let [first, second] = [address(&nodes[0]), address(&nodes[1])];
    compared(&["create", &first, &second]).fails_with("*** At least 3 nodes are required.");
    let many = compared(&["create", &first, &second, "--cluster-replicas", "2"]);
    many.fails_with("*** This is not possible with 2 nodes and 2 replicas per node.");
    manage(&["create", &first, &second, &first]).fails_with("is named twice");
    nodes[1].client().ok("CLUSTER ADDSLOTS 16287");
    nodes[1].client().ok("CONFIG SET cluster-require-full-coverage no");
    let mut client = nodes[1].client();
    crate::eventually("the node serves its slot", || (!client.run("SET x 1").is_error()).then_some(()));
    compared(&["create", &second, &first, &first]).fails_with("is not empty");
}

#[test]
fn passwords_are_sent_to_all_nodes_and_with_their_keys() {
    let start = || {
        let flags = "--requirepass secret --masterauth secret";
        let port = free_port();
        Launch::redis().flags(crate::NODE).flags(flags).flags(&format!("--cluster-port {port}")).start()
    };
    let nodes = [start(), start(), start()];
    let addresses = nodes.each_ref().map(address);
    let with_password = |arguments: &[&str]| {
        let mut command =
            crate::cli(&[&["-a", "secret", "--no-auth-warning", "--cluster"], arguments].concat());
        command.env("REDISCLI_CLUSTER_YES", "1");
        run(command, "")
    };
    let [a, b, c] = addresses.each_ref().map(String::as_str);
    with_password(&["create", a, b, c]).good();
    let mut client = nodes[0].client();
    client.ok("AUTH secret");
    crate::eventually("the cluster is complete", || {
        client.run("CLUSTER INFO").text().contains("cluster_state:ok").then_some(())
    });
    let ids = nodes.each_ref().map(|node| {
        let mut client = node.client();
        client.ok("AUTH secret");
        client.run("CLUSTER MYID").text()
    });
    // The slot of this key is 449, the first node's.
    client.ok("SET k2 v");
    crate::eventually("the nodes agree", || (with_password(&["check", a]).status == Some(0)).then_some(()));
    let arguments =
        ["reshard", a, "--cluster-from", &ids[0], "--cluster-to", &ids[1], "--cluster-slots", "450"];
    with_password(&arguments).good();
    let mut target = nodes[1].client();
    target.ok("AUTH secret");
    assert_eq!(target.run("GET k2").text(), "v");
    manage(&["check", a]).fails_with("NOAUTH");
}

#[test]
fn progress_is_a_line_at_a_terminal() {
    let nodes = cluster(3, 0);
    wait_for_agreement(&nodes);
    let (from, to) = (id(&nodes[0]), id(&nodes[1]));
    let mut command = crate::cli(&["--cluster", "reshard", &address(&nodes[0])]);
    command.args(["--cluster-from", &from, "--cluster-to", &to]);
    let mut terminal = crate::support::Terminal::start(command, 100, 40);
    terminal.wait_for("How many slots do you want to move (from 1 to 16384)? ");
    terminal.send("20\r");
    terminal.wait_for("Do you want to proceed with the proposed reshard plan (yes/no)? ");
    terminal.send("yes\r");
    terminal.wait_for("100 %, 20 of 20 slots moved, 0 keys, 0 keys/s");
    assert!(terminal.wait_exit().success());
    assert!(!terminal.transcript().contains("Moving slot 0 from 127.0.0.1"), "a line per slot");
    assert_eq!(crate::slot_counts(&nodes)[..2], [5441, 5482]);
}
