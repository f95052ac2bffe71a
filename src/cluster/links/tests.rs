//! Connections that break, hang, time out or grow, and how nodes meet.

use super::*;
use crate::cluster::message::{Body, Gossip};
use crate::cluster::peers::{Peers, Role, id, ip, kind, read};
use crate::cluster::{NodeId, Settings};
use Role::Primary;

const TIMEOUT_MS: u64 = 15_000;

fn three() -> Vec<Role> {
    vec![Primary(0..=99, 1), Primary(100..=199, 2), Primary(200..=299, 3)]
}

/// The connections that the node makes to an address, since the last look.
fn connects(peers: &mut Peers, to: &str) -> Vec<LinkId> {
    let link = |action| match action {
        Action::Connect { link, ip, .. } if ip == to => Some(link),
        _ => None,
    };
    peers.take().into_iter().filter_map(link).collect()
}

/// A `PONG` of any node on a link.
fn pong(peers: &mut Peers, link: LinkId, from: usize) {
    let gossip = Gossip { kind: Kind::Pong, entries: &[], extensions: &[] };
    peers.packet(link, from, &Body::AuthAck, Some(gossip), |_| ());
}

#[test]
fn a_lost_connection_is_made_again_at_the_next_tick_and_pings_at_once() {
    let mut peers = Peers::connected(&three());
    peers.cluster.link_closed(peers.node(1).link.unwrap(), peers.now_ms);
    peers.run(100);
    assert_eq!(connects(&mut peers, &ip(1)).len(), 1);
    peers.establish(1);
    assert!(peers.kinds(1).contains(&Kind::Ping));
}

#[test]
fn a_refused_connection_is_tried_at_each_tick_and_the_node_times_out() {
    let mut peers = Peers::new(&three());
    let mut tries = 0;
    let mut suspected_ms = None;
    while peers.now_ms - crate::cluster::peers::START_MS < TIMEOUT_MS + 1000 {
        peers.run(100);
        for link in connects(&mut peers, &ip(1)) {
            tries += 1;
            peers.cluster.link_closed(link, peers.now_ms);
        }
        if peers.node(1).is_timed_out() {
            suspected_ms = suspected_ms.or(Some(peers.now_ms - crate::cluster::peers::START_MS));
        }
    }
    assert_eq!(tries, (TIMEOUT_MS + 1000) / 100);
    assert_eq!(suspected_ms, Some(TIMEOUT_MS + 200), "one tick to connect, one after the timeout");
}

#[test]
fn a_connection_without_a_reply_is_made_again_after_half_a_node_timeout_if_it_is_not_new() {
    let mut peers = Peers::connected(&three());
    // The connection is older than the node timeout.
    peers.run_answered(TIMEOUT_MS + 1000, &[1, 2]);
    peers.take();
    peers.run_answered(TIMEOUT_MS / 2 - 500, &[2]);
    assert!(connects(&mut peers, &ip(1)).is_empty());
    peers.run_answered(2000, &[2]);
    assert_eq!(connects(&mut peers, &ip(1)).len(), 1);
    assert!(!peers.node(1).is_timed_out());
    // The new one gets no reply either: the PING of the old one counts, so the node times out on time, and it is not
    // reconnected before the connection is a node timeout old.
    peers.establish(1);
    peers.run_answered(TIMEOUT_MS / 2, &[2]);
    assert!(peers.node(1).is_timed_out());
    assert!(connects(&mut peers, &ip(1)).is_empty());
    peers.run_answered(TIMEOUT_MS / 2 + 200, &[2]);
    assert_eq!(connects(&mut peers, &ip(1)).len(), 1);
}

#[test]
fn any_message_shows_that_a_node_lives() {
    let mut peers = Peers::connected(&three());
    // A node that sends a lot has no time for PONGs.
    peers.run_with(3 * TIMEOUT_MS, |peers| peers.say(1, &Body::Module, |_| ()));
    assert!(!peers.node(1).is_timed_out() && peers.node(2).is_timed_out());
    let link = peers.node(2).link.or_else(|| {
        peers.run(100);
        peers.node(2).link
    });
    if !peers.cluster.links[&link.unwrap()].is_connected {
        peers.establish(2);
    }
    peers.gossip(2, Kind::Pong, &[]);
    assert!(!peers.node(2).is_timed_out(), "a PONG ends the suspicion");
}

#[test]
fn meet_connects_says_meet_and_adds_the_node_under_its_own_id() {
    let mut peers = Peers::connected(&three());
    peers.cluster.meet("10.0.0.8", 7000, 17000, peers.now_ms).unwrap();
    peers.run(100);
    let connected = peers.take().into_iter().find_map(|action| match action {
        Action::Connect { link, ip, bus_port: 17000 } if ip == "10.0.0.8" => Some(link),
        _ => None,
    });
    let link = connected.expect("a connection to its bus port");
    assert!(!peers.knows(7));
    peers.cluster.link_connected(link, "10.0.0.8", "10.0.0.1", peers.now_ms);
    let sent = peers.take();
    let first = sent.iter().find_map(|action| match action {
        Action::Send { link: on, bytes } if *on == link => Some(kind(&read(bytes))),
        _ => None,
    });
    assert_eq!(first, Some(Kind::Meet), "a PING would be ignored by a node that does not know this one");
    pong(&mut peers, link, 7);
    let node = peers.node(7);
    assert!(node.is_primary() && !node.is_in_handshake() && node.link == Some(link));
    assert_eq!((node.address.ip.as_str(), node.address.port), ("10.0.0.8", 7000));
    assert!(peers.take().contains(&Action::SaveConfig { sync: false }));
}

#[test]
fn a_handshake_without_a_reply_ends_after_the_node_timeout() {
    let mut peers = Peers::connected(&three());
    peers.cluster.meet("10.0.0.8", 7000, 17000, peers.now_ms).unwrap();
    let count = |peers: &Peers| peers.cluster.nodes().count();
    assert_eq!(count(&peers), 4);
    peers.run_answered(TIMEOUT_MS, &[1, 2]);
    assert_eq!(count(&peers), 4);
    let link = connects(&mut peers, "10.0.0.8")[0];
    peers.run_answered(100, &[1, 2]);
    assert_eq!(count(&peers), 3);
    assert!(peers.take().contains(&Action::Close { link }));
    pong(&mut peers, link, 7);
    assert!(!peers.knows(7), "a reply on a closed link is ignored");

    let mut hasty = Peers::with(&three(), Settings { node_timeout_ms: 100, ..Settings::default() });
    hasty.cluster.meet("10.0.0.8", 7000, 17000, hasty.now_ms).unwrap();
    hasty.run(1000);
    assert_eq!(count(&hasty), 4, "at least a second");
    hasty.run(100);
    assert_eq!(count(&hasty), 3);
}

#[test]
fn meeting_itself_or_a_node_that_is_known_adds_none() {
    for whom in [0, 1] {
        let mut peers = Peers::connected(&three());
        peers.cluster.meet("10.0.0.8", 7000, 17000, peers.now_ms).unwrap();
        peers.run(100);
        let link = connects(&mut peers, "10.0.0.8")[0];
        peers.cluster.link_connected(link, "10.0.0.8", "10.0.0.1", peers.now_ms);
        pong(&mut peers, link, whom);
        assert_eq!(peers.cluster.nodes().count(), 3);
        assert!(peers.take().contains(&Action::Close { link }));
        let moved = peers.node(1).address.ip == "10.0.0.8";
        assert_eq!(moved, whom == 1, "the known node is reached there now");
    }
}

/// The first message of a node that is not known. Returns the types of the replies.
fn greet(peers: &mut Peers, with: Kind) -> Vec<Kind> {
    let link = peers.cluster.link_accepted("10.0.0.8", "10.0.0.1", peers.now_ms);
    let gossip = Gossip { kind: with, entries: &[], extensions: &[] };
    peers.packet(link, 7, &Body::AuthAck, Some(gossip), |header| header.bus_port = 17000);
    let replies = peers.take().into_iter().filter_map(|action| match action {
        Action::Send { link: on, bytes } if on == link => Some(kind(&read(&bytes))),
        _ => None,
    });
    replies.collect()
}

#[test]
fn a_node_that_says_meet_is_met_and_one_that_pings_only_gets_a_reply() {
    let mut peers = Peers::connected(&three());
    assert_eq!(greet(&mut peers, Kind::Ping), [Kind::Pong]);
    assert_eq!(peers.cluster.nodes().count(), 3);
    assert_eq!(greet(&mut peers, Kind::Meet), [Kind::Pong]);
    assert_eq!(greet(&mut peers, Kind::Meet), [Kind::Pong]);
    assert_eq!(peers.cluster.nodes().count(), 4, "in one handshake");
    peers.run(100);
    let link = connects(&mut peers, "10.0.0.8")[0];
    peers.cluster.link_connected(link, "10.0.0.8", "10.0.0.1", peers.now_ms);
    pong(&mut peers, link, 7);
    assert!(peers.knows(7));
}

#[test]
fn another_node_at_the_address_of_a_known_one_is_left_and_the_right_one_found_again() {
    let mut peers = Peers::connected(&three());
    let link = peers.node(1).link.unwrap();
    pong(&mut peers, link, 7);
    assert!(peers.node(1).flags.has(Flags::NOADDR) && !peers.knows(7));
    assert!(peers.take().contains(&Action::Close { link }));
    peers.run(1000);
    assert!(connects(&mut peers, &ip(1)).is_empty() && peers.node(1).link.is_none());
    // It comes back from another address.
    let again = peers.cluster.link_accepted("10.0.0.77", "10.0.0.1", peers.now_ms);
    let gossip = Gossip { kind: Kind::Ping, entries: &[], extensions: &[] };
    peers.packet(again, 1, &Body::AuthAck, Some(gossip), |_| ());
    peers.run(100);
    assert_eq!(connects(&mut peers, "10.0.0.77").len(), 1);
    assert!(!peers.node(1).flags.has(Flags::NOADDR));
}

#[test]
fn a_node_that_connects_again_replaces_its_older_connection() {
    let mut peers = Peers::connected(&three());
    let old = peers.node(1).inbound.or_else(|| {
        peers.say(1, &Body::Module, |_| ());
        peers.node(1).inbound
    });
    let new = peers.cluster.link_accepted(&ip(1), &ip(0), peers.now_ms);
    peers.packet(new, 1, &Body::Module, None, |_| ());
    assert_eq!(peers.node(1).inbound, Some(new));
    assert!(peers.take().contains(&Action::Close { link: old.unwrap() }));
    let ways: Vec<(NodeId, bool)> = peers
        .cluster
        .links()
        .filter(|link| link.node == id(1))
        .map(|link| (link.node, link.is_inbound))
        .collect();
    assert_eq!(ways, [(id(1), false), (id(1), true)]);
}

#[test]
fn an_accepted_connection_without_a_packet_of_a_known_node_is_closed_after_the_node_timeout() {
    for (timeout_ms, most_ms) in [(15_000, 15_000), (100, 5000)] {
        let mut peers =
            Peers::with(&three(), Settings { node_timeout_ms: timeout_ms, ..Settings::default() });
        let [silent, unknown, known] =
            [7, 8, 1].map(|peer| peers.cluster.link_accepted(&ip(peer), &ip(0), peers.now_ms));
        for (link, peer) in [(unknown, 8), (known, 1)] {
            peers.packet(link, peer, &Body::Module, None, |_| ());
        }
        peers.run(most_ms);
        let closed = |peers: &mut Peers, link| peers.has(|action| *action == Action::Close { link });
        assert!(![silent, unknown, known].iter().any(|link| closed(&mut peers, *link)));
        peers.run(100);
        assert!(closed(&mut peers, silent) && closed(&mut peers, unknown));
        assert!(!closed(&mut peers, known) && peers.node(1).inbound == Some(known));
    }
}

#[test]
fn the_oldest_connection_without_a_known_node_makes_room_for_a_new_one() {
    let mut peers = Peers::connected(&three());
    (1..3).for_each(|peer| peers.say(peer, &Body::Module, |_| ()));
    let known = peers.node(1).inbound.unwrap();
    let accept = |peers: &mut Peers| peers.cluster.link_accepted("10.0.0.99", &ip(0), peers.now_ms);
    let strangers: Vec<LinkId> = (0..MAX_STRANGERS).map(|_| accept(&mut peers)).collect();
    let closed = |peers: &mut Peers| -> Vec<LinkId> {
        let actions = peers.take();
        actions
            .iter()
            .filter_map(|action| if let Action::Close { link } = action { Some(*link) } else { None })
            .collect()
    };
    assert!(closed(&mut peers).is_empty());
    accept(&mut peers);
    assert_eq!(closed(&mut peers), [strangers[0]]);
    // A node that connects now is among the newest, and known with its first packet.
    let again = accept(&mut peers);
    peers.packet(again, 2, &Body::Module, None, |_| ());
    assert_eq!(peers.node(2).inbound, Some(again));
    (0..2 * MAX_STRANGERS).for_each(|_| _ = accept(&mut peers));
    let ended = closed(&mut peers);
    assert!(!ended.contains(&known) && !ended.contains(&again), "known nodes keep their connections");
}

#[test]
fn a_link_whose_send_buffer_exceeds_the_limit_is_closed_at_the_next_tick() {
    let mut peers = Peers::connected(&three());
    (1..3).for_each(|peer| peers.say(peer, &Body::Module, |_| ()));
    let (to, from) = (peers.node(1).link.unwrap(), peers.node(2).inbound.unwrap());
    let closes = |peers: &mut Peers, link: LinkId| peers.take().contains(&Action::Close { link });
    peers.cluster.link_pending(to, 1 << 30);
    peers.run(100);
    assert!(!closes(&mut peers, to), "there is no limit by default");

    peers.cluster.set_settings(Settings { link_limit: 1000, ..Settings::default() });
    peers.cluster.link_pending(to, 1000);
    peers.cluster.link_pending(from, 1001);
    peers.run(100);
    let lines = peers.logged();
    let line = format!(
        "Freeing inbound cluster link(from node {}, used memory: 1001) due to exceeding send buffer memory limit.",
        id(2)
    );
    assert!(lines.contains(&line), "{lines:?}");
    assert!(closes(&mut peers, from) && peers.node(2).inbound.is_none() && peers.node(1).link == Some(to));
    peers.cluster.link_pending(to, 1001);
    peers.run(100);
    assert!(peers.logged().iter().any(|line| line.starts_with("Freeing outbound cluster link(to node")));
    assert_eq!(peers.cluster.links_over_limit(), 2);
    assert!(connects(&mut peers, &ip(1)).len() == 1, "and the node is connected to again");
}
