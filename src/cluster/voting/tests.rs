//! Requests for votes, and to which of them a primary replies.

use super::*;
use crate::cluster::node::Flags;
use crate::cluster::peers::{Peers, Role, id, read};
use crate::cluster::{Action, Settings};
use Role::{Primary, Replica};

/// The node timeout, and for how long a voter does not vote for another replica of the same primary.
const TIMEOUT_MS: u64 = 15_000;
const PAUSE_MS: u64 = 2 * TIMEOUT_MS;

/// The node is a primary. Peer 1 is another one, with the replicas 3 and 4; peer 2 is a third one.
fn voter() -> Peers {
    let roles = [Primary(0..=99, 1), Primary(100..=199, 2), Primary(200..=299, 3), Replica(1), Replica(1)];
    Peers::connected(&roles)
}

fn fail(peers: &mut Peers, peer: usize) {
    peers.say(2, &Body::Fail(id(peer)), |_| ());
    peers.take();
}

/// Requests a vote. Returns whether the node gave it.
fn request(peers: &mut Peers, candidate: usize, epoch: u64) -> bool {
    peers.say(candidate, &Body::AuthRequest, |header| header.current_epoch = epoch);
    peers.kinds(candidate) == [Kind::AuthAck]
}

/// Whether the only line about the last request is this one.
fn denies(peers: &mut Peers, candidate: usize, why: &str) -> bool {
    let lines = peers.logged();
    lines == [format!("Failover auth denied to {} (){why}", id(candidate))]
}

#[test]
fn a_vote_is_on_disk_before_it_is_sent() {
    let mut peers = voter();
    fail(&mut peers, 1);
    peers.say(3, &Body::AuthRequest, |header| header.current_epoch = 10);
    let link = peers.node(3).link;
    let actions = peers.take();
    let place = |wanted: &dyn Fn(&Action) -> bool| actions.iter().position(wanted);
    let saved = place(&|action| *action == Action::SaveConfig { sync: true });
    let sent = place(&|action| matches!(action, Action::Send { link: to, .. } if Some(*to) == link));
    assert!(saved.is_some() && saved < sent, "{actions:?}");
    let Action::Send { bytes, .. } = &actions[sent.unwrap()] else { unreachable!("found above") };
    let vote = read(bytes);
    assert!(matches!(vote.body, Body::AuthAck) && vote.header.current_epoch == 10, "{vote:?}");
    assert!(peers.cluster.config_text().ends_with("vars currentEpoch 10 lastVoteEpoch 10\n"));
}

#[test]
fn a_primary_votes_once_in_an_epoch_even_for_another_primary_or_after_a_restart() {
    let mut peers = voter();
    fail(&mut peers, 1);
    assert!(request(&mut peers, 3, 10));
    peers.take();
    assert!(!request(&mut peers, 4, 10));
    assert!(denies(&mut peers, 4, ": already voted for epoch 10"));
    assert!(!request(&mut peers, 3, 10), "nor the same candidate twice");

    let saved = peers.cluster.config_text();
    peers.cluster = Cluster::load(saved.as_bytes(), Settings::default(), 2, peers.now_ms).unwrap();
    peers.run(100);
    (1..5).for_each(|peer| peers.establish(peer));
    fail(&mut peers, 1);
    assert!(!request(&mut peers, 4, 10));
    assert!(denies(&mut peers, 4, ": already voted for epoch 10"));
    assert!(request(&mut peers, 4, 11), "a later epoch has a vote again");
}

#[test]
fn a_second_replica_of_the_same_primary_waits_for_two_node_timeouts() {
    let mut peers = voter();
    fail(&mut peers, 1);
    assert!(request(&mut peers, 3, 10));
    peers.run_answered(PAUSE_MS - 1000, &[2, 3, 4]);
    peers.take();
    assert!(!request(&mut peers, 4, 11));
    assert!(denies(&mut peers, 4, ": can't vote about this master before 1000 milliseconds"));
    peers.run_answered(1000, &[2, 3, 4]);
    peers.sent(4);
    assert!(request(&mut peers, 4, 11));
}

#[test]
fn votes_about_different_primaries_do_not_wait_for_each_other() {
    let roles = [
        Primary(0..=99, 1),
        Primary(100..=199, 2),
        Primary(200..=299, 3),
        Replica(1),
        Replica(2),
        Primary(300..=399, 4),
    ];
    let mut peers = Peers::connected(&roles);
    for peer in [1, 2] {
        peers.say(5, &Body::Fail(id(peer)), |_| ());
    }
    peers.take();
    assert!(request(&mut peers, 3, 10));
    assert!(request(&mut peers, 4, 11));
}

#[test]
fn the_primary_must_have_failed_unless_it_hands_over() {
    let mut peers = voter();
    assert!(!request(&mut peers, 3, 10));
    assert!(denies(&mut peers, 3, " for epoch 10: its master is up"));
    peers.say(3, &Body::AuthRequest, |header| {
        (header.current_epoch, header.mflags) = (10, mflag::FORCE_ACK);
    });
    assert_eq!(peers.kinds(3), [Kind::AuthAck]);
}

#[test]
fn a_request_of_an_earlier_epoch_or_of_a_primary_gets_no_vote() {
    let mut peers = voter();
    fail(&mut peers, 1);
    assert!(!request(&mut peers, 3, 8));
    assert!(denies(&mut peers, 3, ": reqEpoch (8) < curEpoch(9)"));
    assert!(!request(&mut peers, 2, 10));
    assert!(denies(&mut peers, 2, " for epoch 10: it is a master node"));
}

#[test]
fn a_candidate_that_does_not_know_the_present_owner_of_a_slot_gets_no_vote() {
    let mut peers = voter();
    fail(&mut peers, 1);
    // Slot 150 of the failed primary has moved to peer 2, in a later epoch than the candidate's claim.
    peers.cluster.assign(150, peers.index(2));
    peers.settle();
    peers.take();
    assert!(!request(&mut peers, 3, 10));
    assert!(denies(&mut peers, 3, ": slot 150 epoch (3) > reqEpoch (2)"));
    // With a later claim than the owner's it is the candidate that knows more.
    peers.say(3, &Body::AuthRequest, |header| (header.current_epoch, header.config_epoch) = (10, 4));
    assert_eq!(peers.kinds(3), [Kind::AuthAck]);
}

#[test]
fn only_primaries_with_slots_vote() {
    for role in [Role::Empty, Replica(2)] {
        let roles = [role, Primary(100..=199, 2), Primary(200..=299, 3), Replica(1), Replica(1)];
        let mut peers = Peers::connected(&roles);
        fail(&mut peers, 1);
        assert!(peers.node(1).flags.has(Flags::FAIL));
        assert!(!request(&mut peers, 3, 10));
        assert_eq!(peers.cluster.last_vote_epoch(), 0);
    }
}

#[test]
fn a_node_that_is_not_known_gets_no_vote() {
    let mut peers = voter();
    fail(&mut peers, 1);
    peers.say(4, &Body::AuthRequest, |header| (header.sender, header.current_epoch) = (id(9), 10));
    assert!(peers.kinds(4).is_empty() && peers.cluster.last_vote_epoch() == 0);
}
