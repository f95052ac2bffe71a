//! The connections of the bus: from which address they are made, and the descriptors for them.

use crate::nodes::{Kind, NEVER, Node, form, launch, until};

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

#[cfg(target_os = "linux")]
mod descriptors {
    use super::*;

    /// The descriptors besides those of clients and of the bus.
    const RESERVED: u64 = 32;

    #[test]
    fn the_limit_of_open_files_is_raised_by_two_for_each_node_that_joins() {
        let (launch, bus_port) = launch(Kind::Subject, &format!("{NEVER} --maxclients 100"));
        let first = Node::start_as(launch.open_files(64), bus_port);
        assert_eq!(first.server().open_files_limit(), 100 + RESERVED);
        let nodes = [first, Node::start(Kind::Subject, NEVER), Node::start(Kind::Subject, NEVER)];
        form(1, &nodes);
        until("the limit is raised", || nodes[0].server().open_files_limit() >= 100 + RESERVED + 4);
        nodes[0].client().ok("CONFIG SET maxclients 200");
        assert!(nodes[0].server().open_files_limit() >= 200 + RESERVED + 4, "for clients and the bus");
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
