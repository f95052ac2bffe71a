//! What a node tells about the others, and what it takes from their gossip.

use super::*;
use crate::cluster::message::Packet;
use crate::cluster::peers::{Peers, Role, id, ip, kind, read};
use crate::cluster::{Action, NodeId, Settings};
use Role::{Primary, Replica};

const TIMEOUT_MS: u64 = 15_000;

/// A cluster of primaries, of which the node is the first.
fn primaries(count: u16) -> Vec<Role> {
    (0..count).map(|number| Primary(number * 10..=number * 10 + 9, u64::from(number) + 1)).collect()
}

/// The nodes that a packet mentions, with their flags.
fn mentioned(packet: &Packet) -> Vec<(NodeId, Flags)> {
    let Body::Gossip(_, entries, _) = packet.body else { return Vec::new() };
    entries.into_iter().map(|entry| (entry.id, entry.flags)).collect()
}

/// What the replies to some `PING`s of a peer mention.
fn replies(peers: &mut Peers, peer: usize) -> Vec<Vec<(NodeId, Flags)>> {
    peers.sent(peer);
    (0..200).for_each(|_| peers.gossip(peer, Kind::Ping, &[]));
    let sent = peers.sent(peer);
    let packets = sent.iter().map(|bytes| read(bytes)).filter(|packet| kind(packet) == Kind::Pong);
    packets.map(|packet| mentioned(&packet)).collect()
}

#[test]
fn a_message_mentions_three_nodes_and_all_get_their_turn() {
    let mut peers = Peers::connected(&primaries(8));
    let replies = replies(&mut peers, 1);
    assert_eq!(replies.len(), 200);
    for nodes in &replies {
        let mut ids: Vec<NodeId> = nodes.iter().map(|(id, _)| *id).collect();
        ids.sort();
        ids.dedup();
        assert!(ids.len() == nodes.len() && nodes.len() <= 3 && !ids.contains(&id(0)), "{nodes:?}");
    }
    assert!(replies.iter().filter(|nodes| nodes.len() == 3).count() > 150);
    for peer in 1..8 {
        assert!(replies.iter().flatten().any(|(node, _)| *node == id(peer)), "{peer}");
    }
}

#[test]
fn a_message_mentions_a_tenth_of_many_nodes() {
    let mut peers = Peers::connected(&primaries(60));
    let replies = replies(&mut peers, 1);
    assert!(replies.iter().all(|nodes| nodes.len() <= 6));
    assert!(replies.iter().filter(|nodes| nodes.len() == 6).count() > 150);
}

#[test]
fn every_message_mentions_the_nodes_that_do_not_reply() {
    let mut peers = Peers::connected(&primaries(8));
    peers.run_answered(TIMEOUT_MS * 2, &[1, 2, 3, 4, 5]);
    assert!([6, 7].iter().all(|peer| peers.node(*peer).is_timed_out()));
    for nodes in replies(&mut peers, 1) {
        let suspects: Vec<NodeId> =
            nodes.iter().filter(|(_, flags)| flags.has(Flags::PFAIL)).map(|(id, _)| *id).collect();
        assert_eq!(suspects, [id(6), id(7)], "besides the others: {nodes:?}");
        assert!(nodes.len() > 2);
    }
}

#[test]
fn nodes_in_handshake_or_without_an_address_are_not_mentioned() {
    let mut peers = Peers::connected(&primaries(5));
    peers.cluster.meet("10.9.9.9", 6379, 16379, peers.now_ms).unwrap();
    // Another node replies at the address of peer 4.
    let link = peers.node(4).link.unwrap();
    let gossip = Gossip { kind: Kind::Pong, entries: &[], extensions: &[] };
    peers.packet(link, 8, &Body::AuthAck, Some(gossip), |_| ());
    assert!(peers.node(4).flags.has(Flags::NOADDR) && peers.node(4).address.ip.is_empty());
    let known = [1, 2, 3].map(id);
    let all: Vec<NodeId> = replies(&mut peers, 1).into_iter().flatten().map(|(node, _)| node).collect();
    assert!(all.len() > 100 && all.iter().all(|node| known.contains(node)), "{all:?}");
}

#[test]
fn an_unknown_node_is_added_if_a_known_one_mentions_its_address() {
    let mut peers = Peers::connected(&primaries(3));
    let unknown = |flags, ip| [Peers::entry(5, flags, ip)];
    // By a node that is not known itself: anybody could connect.
    let link = peers.cluster.link_accepted("10.7.7.7", "10.0.0.1", peers.now_ms);
    let entries = unknown(Flags::MASTER, "10.0.0.6");
    let gossip = Gossip { kind: Kind::Ping, entries: &entries, extensions: &[] };
    peers.packet(link, 9, &Body::AuthAck, Some(gossip), |_| ());
    assert!(!peers.knows(5) && !peers.knows(9));
    peers.gossip(1, Kind::Ping, &unknown(Flags::MASTER | Flags::NOADDR, "10.0.0.6"));
    peers.gossip(1, Kind::Ping, &unknown(Flags::MASTER, ""));
    assert!(!peers.knows(5));
    peers.gossip(1, Kind::Ping, &unknown(Flags::SLAVE | Flags::MYSELF | Flags::HANDSHAKE, "10.0.0.6"));
    assert_eq!(peers.node(5).flags, Flags::SLAVE, "flags about the sender's own links do not count");
    peers.run(100);
    let (wanted, port) = (ip(5), 16379);
    assert!(peers.has(
        |action| matches!(action, Action::Connect { ip, bus_port, .. } if *ip == wanted && *bus_port == port)
    ));
}

#[test]
fn a_forgotten_node_is_not_added_again_for_a_minute() {
    let mut peers = Peers::connected(&primaries(4));
    peers.cluster.forget(id(3).as_bytes(), peers.now_ms).unwrap();
    let entry = [Peers::entry(3, Flags::MASTER, "10.0.0.4")];
    peers.gossip(1, Kind::Ping, &entry);
    peers.run_answered(59_900, &[1, 2]);
    peers.gossip(1, Kind::Ping, &entry);
    assert!(!peers.knows(3));
    peers.run_answered(100, &[1, 2]);
    peers.gossip(1, Kind::Ping, &entry);
    assert!(peers.knows(3));
}

#[test]
fn a_node_forgotten_elsewhere_is_forgotten_here_unless_it_is_needed() {
    let mut peers = Peers::connected(&[Replica(1), Primary(0..=99, 1), Primary(100..=199, 2), Role::Empty]);
    let forget = |peers: &mut Peers, node: usize| peers.extend(2, &[Extension::Forgotten(id(node), 60)]);
    (0..3).for_each(|node| forget(&mut peers, node));
    assert!((0..3).all(|node| peers.knows(node)), "itself, its primary, and the sender");
    forget(&mut peers, 3);
    assert!(!peers.knows(3));
    peers.gossip(2, Kind::Ping, &[Peers::entry(3, Flags::MASTER, "10.0.0.4")]);
    assert!(!peers.knows(3), "also while others still mention it");
    // Those who were not reachable then learn it from this node.
    let sent = peers.sent(2);
    let last = read(sent.last().unwrap());
    let Body::Gossip(_, _, mut extensions) = last.body else { panic!("{last:?}") };
    assert!(extensions.any(|extension| extension == Extension::Forgotten(id(3), 60)));
}

/// The node suspects peer 1, which does not reply.
fn suspecting(roles: &[Role]) -> Peers {
    let mut peers = Peers::connected(roles);
    let others: Vec<usize> = (2..roles.len()).collect();
    peers.run_answered(TIMEOUT_MS * 2, &others);
    assert!(peers.node(1).is_timed_out() && !peers.node(1).is_failed());
    peers.take();
    peers
}

fn report(peers: &mut Peers, from: usize, flags: Flags) {
    peers.gossip(from, Kind::Ping, &[Peers::entry(1, Flags::MASTER | flags, "10.0.0.2")]);
}

#[test]
fn a_node_has_failed_when_more_than_half_of_the_primaries_cannot_reach_it() {
    let mut peers = suspecting(&primaries(5));
    report(&mut peers, 2, Flags::PFAIL);
    report(&mut peers, 2, Flags::PFAIL);
    assert!(!peers.node(1).is_failed(), "two of five");
    peers.take();
    report(&mut peers, 3, Flags::PFAIL);
    assert!(peers.node(1).is_failed() && !peers.node(1).is_timed_out());
    for peer in [2, 3, 4] {
        let sent = peers.sent(peer);
        let failed = sent.iter().any(|bytes| matches!(read(bytes).body, Body::Fail(node) if node == id(1)));
        assert!(failed, "{peer} is told at once");
    }
}

#[test]
fn reports_of_replicas_and_of_primaries_that_took_them_back_do_not_count() {
    let roles = [primaries(3), vec![Replica(2), Replica(2)]].concat();
    let mut peers = suspecting(&roles);
    report(&mut peers, 3, Flags::PFAIL);
    report(&mut peers, 4, Flags::FAIL);
    assert!(!peers.node(1).is_failed());

    let mut peers = suspecting(&primaries(5));
    report(&mut peers, 2, Flags::PFAIL);
    report(&mut peers, 2, Flags(0));
    report(&mut peers, 3, Flags::PFAIL);
    assert!(!peers.node(1).is_failed());
    assert_eq!(peers.cluster.count_failure_reports(id(1).as_bytes(), peers.now_ms), Ok(1));
    // And after two node timeouts a report is void.
    peers.run_answered(2 * TIMEOUT_MS + 100, &[2, 3, 4]);
    report(&mut peers, 4, Flags::PFAIL);
    assert!(!peers.node(1).is_failed());
    assert_eq!(peers.cluster.count_failure_reports(id(1).as_bytes(), peers.now_ms), Ok(1));
}

#[test]
fn a_node_that_replies_is_not_failed_whatever_others_report() {
    let mut peers = Peers::connected(&primaries(5));
    for from in [2, 3, 4] {
        report(&mut peers, from, Flags::PFAIL);
    }
    assert!(!peers.node(1).is_failed());
}

#[test]
fn a_failure_is_believed_to_a_known_node_only() {
    let mut peers = Peers::connected(&primaries(5));
    peers.say(4, &Body::Fail(id(1)), |header| header.sender = id(9));
    assert!(!peers.node(1).is_failed());
    assert!(peers.logged().iter().any(|line| line.starts_with("Ignoring FAIL message from unknown node")));
    peers.say(4, &Body::Fail(id(0)), |_| ());
    assert!(!peers.cluster.myself().is_failed(), "this node knows better");
    peers.say(4, &Body::Fail(id(1)), |_| ());
    assert!(peers.node(1).is_failed());
}

#[test]
fn a_failed_node_that_others_reach_at_another_address_is_connected_to_there() {
    let mut peers = suspecting(&primaries(5));
    peers.gossip(2, Kind::Ping, &[Peers::entry(1, Flags::MASTER | Flags::PFAIL, "10.8.8.7")]);
    assert_eq!(peers.node(1).address.ip, "10.0.0.2", "the sender does not reach it there");
    peers.gossip(2, Kind::Ping, &[Peers::entry(1, Flags::MASTER, "10.8.8.8")]);
    peers.run(100);
    assert!(peers.has(|action| matches!(action, Action::Connect { ip, .. } if ip == "10.8.8.8")));
    // A node that replies keeps its address.
    peers.gossip(2, Kind::Ping, &[Peers::entry(3, Flags::MASTER, "10.8.8.9")]);
    assert_eq!(peers.node(3).address.ip, ip(3));
}

#[test]
fn a_later_pong_to_another_node_saves_a_ping() {
    let settings = Settings { ping_interval_ms: 5000, ..Settings::default() };
    let mut peers = Peers::with(&primaries(3), settings);
    peers.run(100);
    (1..3).for_each(|peer| {
        peers.establish(peer);
        peers.gossip(peer, Kind::Pong, &[]);
    });
    let pinged = |peers: &mut Peers| peers.kinds(2).contains(&Kind::Ping);
    peers.run_answered(4000, &[1]);
    let before = peers.node(2).pong_received;
    let seconds = (peers.now_ms / 1000) as u32;
    let mut entry = Peers::entry(2, Flags::MASTER, "10.0.0.3");
    if peers.node(2).ping_sent != 0 {
        peers.gossip(2, Kind::Pong, &[]);
    }
    entry.pong_received = seconds;
    peers.gossip(1, Kind::Ping, &[entry]);
    assert!(peers.node(2).pong_received >= before);
    // A time in the future would keep this node from ever pinging.
    entry.pong_received = seconds + 3600;
    peers.gossip(1, Kind::Ping, &[entry]);
    assert!(peers.node(2).pong_received <= peers.now_ms + 500);
    pinged(&mut peers);
    peers.run_answered(6000, &[1]);
    assert!(pinged(&mut peers));
}

#[test]
fn names_are_announced_and_taken() {
    let settings = Settings {
        announce_hostname: "a.example".into(),
        announce_nodename: "first".into(),
        ..Settings::default()
    };
    let mut peers = Peers::with(&primaries(2), settings);
    peers.run(100);
    peers.establish(1);
    let sent = peers.sent(1);
    let packet = read(&sent[0]);
    let Body::Gossip(Kind::Ping, _, extensions) = packet.body else { panic!("{packet:?}") };
    let found: Vec<_> = extensions.collect();
    assert!(
        found.contains(&Extension::Hostname("a.example")) && found.contains(&Extension::Nodename("first"))
    );
    peers.extend(1, &[Extension::Hostname("b.example"), Extension::Nodename("second")]);
    assert_eq!((peers.node(1).hostname.as_str(), peers.node(1).nodename.as_str()), ("b.example", "second"));
    peers.extend(1, &[]);
    assert!(peers.node(1).hostname.is_empty() && peers.node(1).nodename.is_empty(), "it has none any more");
}
