//! The connections of the bus: from which address they are made, and the descriptors for them.

use std::io::Read;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::nodes::{Kind, NEVER, Node, cluster, form, launch, until};
use crate::support::DEADLINE;

#[test]
fn the_bus_connects_from_the_configured_source_address() {
    for kind in [Kind::Subject, Kind::Redis] {
        let flags = format!("{NEVER} --bind-source-addr 127.0.0.2");
        let nodes = [Node::start(kind, &flags), Node::start(Kind::Subject, NEVER)];
        form(1, &nodes);
        let id = nodes[0].id();
        // A node that announces no address has that of its connections.
        let address = format!("127.0.0.2:{}@{}", nodes[0].port(), nodes[0].bus_port);
        until("the connection's address is taken", || nodes[1].line_of(&id)[1].starts_with(&address));
    }
}

#[test]
fn a_link_to_a_stalled_node_is_closed_when_its_queue_exceeds_the_limit() {
    let flags = format!("{NEVER} --cluster-link-sendbuf-limit 4mb");
    let [speaker, stalled] = cluster(1, [(Kind::Subject, &flags), (Kind::Subject, &flags)]);
    stalled.server().signal(Signal::SIGSTOP);
    let message = "x".repeat(1 << 20);
    let mut client = speaker.client();
    // More than the limit and the buffers of the sockets together.
    for _ in 0..40 {
        client.call(&["PUBLISH", "news", &message]);
    }
    until("the link is closed", || {
        speaker.info("total_cluster_links_buffer_limit_exceeded").parse::<u32>().expect("a number") > 0
    });
    let sizes = |node: &Node| -> Vec<i64> {
        let links = node.run("CLUSTER LINKS");
        links.elements().iter().map(|link| link.elements()[9].integer()).collect()
    };
    until("its memory is free", || sizes(&speaker).iter().all(|bytes| *bytes < 4 << 20));
    speaker.server().wait_for_log("due to exceeding send buffer memory limit");
    stalled.server().signal(Signal::SIGCONT);
    let mut subscriber = stalled.client();
    subscriber.run("SUBSCRIBE news");
    // Earlier messages may arrive first, and in parts.
    let mut received = Vec::new();
    until("the nodes are connected again", || {
        client.run("PUBLISH news again");
        let (arrived, has_ended) = subscriber.receive_arrived().expect("the connection stays");
        assert!(!has_ended, "the connection stays");
        received.extend(subscriber.read_raw(arrived).expect("it has arrived"));
        let word = b"\r\nagain\r\n";
        let is_there = received.windows(word.len()).any(|bytes| bytes == word);
        received.drain(..received.len().saturating_sub(word.len() - 1));
        is_there
    });
}

#[test]
fn connections_of_strangers_to_the_bus_are_few_and_end() {
    let node = Node::start(Kind::Subject, "--cluster-node-timeout 1000");
    let connect = || TcpStream::connect(("127.0.0.1", node.bus_port)).expect("the bus listens");
    let mut first = connect();
    // More than are kept.
    let others: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
    let ends = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(DEADLINE)).expect("set the timeout");
        assert_eq!(stream.read(&mut [0]).expect("the connection is closed"), 0);
    };
    ends(&mut first);
    // Every one of them, after the time in which a node sends its first packet.
    for mut stream in others {
        ends(&mut stream);
    }
    assert_eq!(node.run("PING").text(), "PONG");
}

#[cfg(target_os = "linux")]
mod descriptors {
    use super::*;
    use std::time::Instant;

    use crate::support::server::free_port;

    /// The descriptors besides those of clients and of the bus.
    const RESERVED: u64 = 32;

    #[test]
    fn the_limit_of_open_files_is_raised_by_two_for_each_node_that_joins() {
        let (launch, bus_port) = launch(Kind::Subject, &format!("{NEVER} --maxclients 100"));
        let first = Node::start_as(launch.open_files(64), bus_port);
        // The connections of nodes that are not known yet.
        const STRANGERS: u64 = 32;
        let own = 100 + RESERVED + STRANGERS;
        assert_eq!(first.server().open_files_limit(), own);
        let nodes = [first, Node::start(Kind::Subject, NEVER), Node::start(Kind::Subject, NEVER)];
        form(1, &nodes);
        until("the limit is raised", || nodes[0].server().open_files_limit() >= own + 4);
        nodes[0].client().ok("CONFIG SET maxclients 200");
        assert!(nodes[0].server().open_files_limit() >= own + 104, "for clients and the bus");
    }

    #[test]
    fn listeners_that_lack_descriptors_wait_without_filling_the_log_or_a_core() {
        let metrics = free_port();
        let node = Node::start(Kind::Subject, &format!("{NEVER} --metrics-port {metrics}"));
        let mut served = node.client();
        let kinds = [
            (node.port(), "Accepting client connection: Too many open files"),
            (node.bus_port, "Error accepting cluster node: Too many open files"),
            (metrics, "Can't accept a connection on metrics-port: Too many open files"),
        ];
        let quiet = node.server().open_files();
        node.server().limit_open_files(quiet as u64 + 4);
        for (port, line) in kinds {
            let lines = || node.server().log().matches(line).count();
            let started = Instant::now();
            let cycles = served.info_number("eventloop_cycles");
            let connect = |_| TcpStream::connect(("127.0.0.1", port)).expect("the backlog takes it");
            let waiting: Vec<TcpStream> = (0..12).map(connect).collect();
            until("it is logged, and later again", || lines() >= 2);
            assert_eq!(served.run("PING").text(), "PONG", "clients are served meanwhile");
            let cycles = served.info_number("eventloop_cycles") - cycles;
            // A loop that the listener keeps awake does some 100,000 a second.
            let seconds = started.elapsed().as_secs() + 1;
            assert!(cycles < 1000 * seconds as i64, "{cycles} in {seconds} s");
            assert!(lines() as u64 <= seconds + 1, "{} in {seconds} s", lines());
            drop(waiting);
            assert_eq!(node.run("PING").text(), "PONG", "new ones are served when there are descriptors");
            until("the descriptors are free", || node.server().open_files() <= quiet);
        }
    }

    #[test]
    fn a_limit_of_open_files_that_cannot_be_raised_for_the_bus_is_logged() {
        // More than any system allows: the server takes what there is, and leaves nothing for the bus.
        let node = Node::start(Kind::Subject, &format!("{NEVER} --maxclients 4000000000"));
        let other = Node::start(Kind::Subject, NEVER);
        let maxclients = node.run("CONFIG GET maxclients").elements()[1].text();
        assert_ne!(maxclients, "4000000000");
        let nodes = [other, node];
        form(1, &nodes);
        let log = format!("and maxclients {maxclients} need ");
        nodes[1].server().wait_for_log(&log);
        assert!(nodes[1].server().log().contains("open files, but the limit is "));
    }
}
