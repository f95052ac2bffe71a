//! Bad input and full disks: clients on the bus port, unknown nodes, thousands of `MEET`, a `nodes.conf` that fails.

use std::net::Ipv4Addr;

use crate::nodes::{Kind, NEVER, Node, launch, until};
use crate::support::shim::{ENOSPC, Shim};
use crate::support::{Client, Value};

/// A node timeout, so that handshakes end soon.
const SHORT: &str = "--cluster-node-timeout 1000";

/// A `PING` of an unknown node, with a gossip entry about another one.
fn ping_of_a_stranger() -> Vec<u8> {
    let mut packet = vec![0; 2256 + 104];
    let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RCmb");
    put(4, &2360_u32.to_be_bytes());
    put(8, &1_u16.to_be_bytes());
    put(10, &7000_u16.to_be_bytes());
    put(14, &1_u16.to_be_bytes());
    put(40, &[b'a'; 40]);
    put(2248, &17000_u16.to_be_bytes());
    put(2250, &1_u16.to_be_bytes());
    put(2256, &[b'b'; 40]);
    put(2256 + 48, b"127.0.0.1");
    put(2256 + 94, &7001_u16.to_be_bytes());
    put(2256 + 96, &17001_u16.to_be_bytes());
    packet
}

#[test]
fn a_client_at_the_bus_port_is_disconnected() {
    let node = Node::start(Kind::Subject, NEVER);
    let mut client = Client::tcp(node.bus_port).expect("the bus accepts");
    client.send(&["SET", "key", "value"]).expect("send a command");
    assert_eq!(client.wait_closed(), b"");
    node.server().wait_for_log("Bad message length or signature received on the Cluster bus.");
    assert_eq!(node.run("PING").text(), "PONG");
}

#[test]
fn a_packet_of_the_bus_at_the_port_for_clients_disconnects_its_sender() {
    let node = Node::start(Kind::Subject, NEVER);
    let mut sender = node.client();
    // More than the limit of an inline request.
    for _ in 0..100 {
        if sender.send_raw(&ping_of_a_stranger()).is_err() {
            break;
        }
    }
    sender.wait_closed();
    assert_eq!(node.run("PING").text(), "PONG");
}

#[test]
fn a_node_that_is_met_at_its_port_for_clients_is_not_added() {
    let nodes = [(); 2].map(|()| Node::start(Kind::Subject, SHORT));
    let port = nodes[1].port();
    nodes[0].client().ok(&format!("CLUSTER MEET 127.0.0.1 {port} {port}"));
    assert_eq!(nodes[0].info("cluster_known_nodes"), "2");
    until("the handshake has failed", || nodes[0].info("cluster_known_nodes") == "1");
    assert_eq!(nodes[1].info("cluster_known_nodes"), "1");
}

#[test]
fn a_node_of_another_cluster_gets_a_pong_and_teaches_nothing() {
    let node = Node::start(Kind::Subject, NEVER);
    let mut stranger = Client::tcp(node.bus_port).expect("the bus accepts");
    stranger.send_raw(&ping_of_a_stranger()).expect("send a packet");
    let head = stranger.read_raw(14).expect("a reply");
    assert_eq!((&head[..4], &head[12..14]), (&b"RCmb"[..], &[0, 1][..]));
    assert_eq!(node.info("cluster_known_nodes"), "1");
}

#[test]
fn a_storm_of_meets_leaves_neither_nodes_nor_descriptors() {
    let node = Node::start(Kind::Subject, SHORT);
    let mut client = node.client();
    client.run("PING");
    let files = node.server().open_files();
    let mut refused = 0;
    for number in 0..6000_u32 {
        let ip = Ipv4Addr::from(0x7f01_0000 + number);
        let reply = client.run(&format!("CLUSTER MEET {ip} 1 1"));
        if reply.is_error() {
            assert_eq!(reply.text(), "ERR 4096 handshakes are in progress, try again later");
            refused += 1;
        } else {
            assert_eq!(reply, Value::Simple(b"OK".to_vec()));
        }
        if number % 100 == 0 {
            let known: usize = node.info("cluster_known_nodes").parse().expect("a number");
            assert!(known <= 4097, "{known} nodes, {refused} refused");
        }
    }
    until("the handshakes have failed", || node.info("cluster_known_nodes") == "1");
    until("the connections are closed", || node.server().open_files() <= files + 2);
}

#[test]
fn a_full_disk_leaves_the_old_nodes_conf_and_the_new_one_follows_when_there_is_room() {
    let (launch, _) = launch(Kind::Subject, NEVER);
    let (launch, shim) = Shim::on(launch);
    let server = launch.start();
    let file = shim.data().join("nodes.conf");
    let content = || std::fs::read_to_string(&file).expect("nodes.conf");
    let before = content();
    shim.rules(&format!("write nodes.conf 1+ fail:{ENOSPC}"));
    let mut client = server.client();
    client.ok("CLUSTER ADDSLOTS 1 2 3");
    server.wait_for_log("Could not save the cluster config file");
    assert!(server.log().contains("No space left on device"), "{}", server.log());
    assert!(!shim.hits().is_empty());
    assert_eq!(content(), before);
    let files = std::fs::read_dir(shim.data()).expect("the directory");
    let names: Vec<_> = files.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{names:?}");
    assert_eq!(client.run("PING").text(), "PONG");
    shim.clear();
    until("the file is saved", || content().contains(" 1-3\n"));
}
