//! Elections as a candidate sees them.

use super::*;
use crate::cluster::message::{Body, Kind};
use crate::cluster::peers::{Peers, Role, id};
use Role::{Primary, Replica};

/// The greatest delay of a candidate with the most data, and a tick.
const FIRST_MS: u64 = FIXED_DELAY_MS + RANDOM_DELAY_MS as u64 + 100;

/// The node is a replica of peer 1, as peer 4 is. Peers 2 and 3 are other primaries. Peer 1 fails.
fn candidate(offset: i64, of_other: i64) -> Peers {
    let roles = [Replica(1), Primary(0..=99, 1), Primary(100..=199, 2), Primary(200..=299, 3), Replica(1)];
    let mut peers = Peers::connected(&roles);
    peers.facts.offset = offset;
    say_offset(&mut peers, of_other);
    peers.take();
    peers.say(2, &Body::Fail(id(1)), |_| ());
    peers
}

/// Any message of the other replica carries its offset.
fn say_offset(peers: &mut Peers, offset: i64) {
    peers.say(4, &Body::Module, |header| header.offset = offset);
}

/// Waits until the node has requested votes. Returns how long that took.
fn requested_after(peers: &mut Peers, limit_ms: u64) -> Option<u64> {
    let from_ms = peers.now_ms;
    while peers.now_ms - from_ms < limit_ms {
        peers.run_answered(100, &[2, 3, 4]);
        if peers.kinds(2).contains(&Kind::AuthRequest) {
            return Some(peers.now_ms - from_ms);
        }
    }
    None
}

#[test]
fn the_replica_with_the_most_data_asks_first() {
    let after = requested_after(&mut candidate(50, 40), 10_000).unwrap();
    assert!((FIXED_DELAY_MS..=FIRST_MS + 100).contains(&after), "{after}");
    let after = requested_after(&mut candidate(50, 50), 10_000).unwrap();
    assert!((FIXED_DELAY_MS..=FIRST_MS + 100).contains(&after), "as much data is not more: {after}");
}

#[test]
fn a_replica_with_older_data_waits_a_second_longer() {
    let mut peers = candidate(40, 50);
    let after = requested_after(&mut peers, 10_000).unwrap();
    let least = FIXED_DELAY_MS + RANK_DELAY_MS;
    assert!((least..=FIRST_MS + RANK_DELAY_MS + 100).contains(&after), "{after}");
    assert!(peers.logged().iter().any(|line| line.ends_with("(rank #1, offset 40).")));
}

#[test]
fn a_replica_waits_longer_when_it_learns_that_another_has_more_data() {
    let mut peers = candidate(40, 30);
    peers.run(100);
    say_offset(&mut peers, 45);
    let after = requested_after(&mut peers, 10_000).unwrap();
    assert!(after + 100 >= FIXED_DELAY_MS + RANK_DELAY_MS, "{after}");
    let lines = peers.logged();
    assert!(
        lines.contains(&"Replica rank updated to #1, added 1000 milliseconds of delay.".into()),
        "{lines:?}"
    );
}

#[test]
fn a_replica_that_does_not_start_elections_is_not_waited_for() {
    let mut peers = candidate(40, 50);
    let index = peers.index(4);
    peers.cluster.table.node_mut(index).flags.set(Flags::NOFAILOVER);
    let after = requested_after(&mut peers, 10_000).unwrap();
    assert!(after <= FIRST_MS + 100, "{after}");
}

#[test]
fn data_that_is_too_old_is_not_promoted() {
    let mut peers = candidate(40, 0);
    // The validity: the ping period of replication, ten node timeouts, and the one in which the failure was detected.
    peers.facts.data_age_ms = 10_000 + 11 * 15_000 + 1;
    assert_eq!(requested_after(&mut peers, 60_000), None);
    let lines = peers.logged();
    assert!(
        lines.iter().any(|line| line.contains("Disconnected from master for longer than allowed")),
        "{lines:?}"
    );
    peers.facts.data_age_ms -= 1;
    assert!(requested_after(&mut peers, 10_000).is_some());
}

#[test]
fn a_candidate_needs_the_votes_of_two_of_three_primaries_and_counts_each_once() {
    let mut peers = candidate(40, 0);
    requested_after(&mut peers, 10_000).unwrap();
    let epoch = peers.cluster.current_epoch();
    let vote = |peers: &mut Peers, voter: usize, epoch: u64| {
        peers.say(voter, &Body::AuthAck, |header| header.current_epoch = epoch);
    };
    vote(&mut peers, 2, epoch);
    vote(&mut peers, 2, epoch);
    // A replica has no vote, and one for an earlier election is void.
    vote(&mut peers, 4, epoch);
    vote(&mut peers, 3, epoch - 1);
    peers.run(100);
    assert!(peers.cluster.myself().is_replica() && !peers.has(|action| *action == Action::Promote));
    vote(&mut peers, 3, epoch);
    let me = peers.cluster.myself();
    assert!(me.is_primary() && me.config_epoch == epoch && me.slots.to_string() == "0-99");
    assert!(peers.has(|action| *action == Action::Promote));
    assert!(peers.kinds(3).contains(&Kind::Pong), "all others get the claim at once");
}

#[test]
fn an_election_without_a_majority_is_repeated_in_a_later_epoch() {
    let mut peers = candidate(40, 0);
    requested_after(&mut peers, 10_000).unwrap();
    let first = peers.cluster.current_epoch();
    // Votes count for two node timeouts; the next election starts after four.
    let after = requested_after(&mut peers, 120_000).unwrap();
    assert!((60_000 - FIRST_MS..=60_000 + FIRST_MS + 200).contains(&after), "{after}");
    assert_eq!(peers.cluster.current_epoch(), first + 1);
}
