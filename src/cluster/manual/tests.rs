//! Manual failovers on both sides, and their ends.

use super::*;
use crate::cluster::message::mflag;
use crate::cluster::peers::{Peers, Role, id, kind, read};
use Role::{Primary, Replica};

/// The node is a replica of peer 1. Peers 2 and 3 are other primaries.
fn replica() -> Peers {
    let mut peers =
        Peers::connected(&[Replica(1), Primary(0..=99, 1), Primary(100..=199, 2), Primary(200..=299, 3)]);
    peers.facts.offset = 70;
    peers
}

fn failover(peers: &mut Peers, mode: FailoverMode) {
    peers.cluster.failover(mode, peers.now_ms, &peers.facts).unwrap();
    peers.settle();
}

/// The paused primary sends its offset.
fn say_paused(peers: &mut Peers, offset: i64) {
    peers.say(1, &Body::Module, |header| (header.offset, header.mflags) = (offset, mflag::PAUSED));
}

/// Whether the node has requested the vote of peer 2 since the last look, although its primary is up.
fn requests(peers: &mut Peers) -> bool {
    let sent = peers.sent(2);
    let requests = sent.iter().filter(|bytes| kind(&read(bytes)) == Kind::AuthRequest);
    let forced = requests.map(|bytes| read(bytes).header.mflags & mflag::FORCE_ACK != 0);
    forced.inspect(|forced| assert!(forced)).count() > 0
}

fn vote(peers: &mut Peers, voter: usize) {
    let epoch = peers.cluster.current_epoch();
    peers.say(voter, &Body::AuthAck, |header| header.current_epoch = epoch);
}

#[test]
fn the_replica_waits_for_all_data_of_the_paused_primary_and_is_elected_at_once() {
    let mut peers = replica();
    failover(&mut peers, FailoverMode::Coordinated);
    assert!(peers.kinds(1).contains(&Kind::MfStart));
    // A message that was sent before the pause has an offset that is not final.
    peers.say(1, &Body::Module, |header| header.offset = 70);
    peers.run_answered(300, &[1, 2, 3]);
    assert!(!requests(&mut peers));
    say_paused(&mut peers, 90);
    peers.run_answered(300, &[1, 2, 3]);
    assert!(!requests(&mut peers), "20 bytes are missing");
    peers.facts.offset = 90;
    peers.run_answered(100, &[1, 2, 3]);
    assert!(requests(&mut peers), "without the delay of an election");
    vote(&mut peers, 2);
    vote(&mut peers, 3);
    assert!(peers.cluster.myself().is_primary() && peers.cluster.myself().slots.to_string() == "0-99");
    assert!(peers.has(|action| *action == Action::Promote));
    peers.run_answered(6000, &[1, 2, 3]);
    assert!(!peers.logged().iter().any(|line| line.contains("timed out")), "it has ended");
}

#[test]
fn a_replica_gives_up_after_five_seconds_and_a_late_offset_changes_nothing() {
    let mut peers = replica();
    failover(&mut peers, FailoverMode::Coordinated);
    say_paused(&mut peers, 90);
    peers.run_answered(TIMEOUT_MS, &[1, 2, 3]);
    assert!(!peers.logged().contains(&"Manual failover timed out.".into()));
    peers.run_answered(100, &[1, 2, 3]);
    assert!(peers.logged().contains(&"Manual failover timed out.".into()));
    peers.facts.offset = 90;
    say_paused(&mut peers, 90);
    peers.run_answered(2000, &[1, 2, 3]);
    assert!(!requests(&mut peers) && peers.cluster.myself().is_replica());
    // It can be repeated.
    failover(&mut peers, FailoverMode::Coordinated);
    say_paused(&mut peers, 90);
    assert!(requests(&mut peers));
}

#[test]
fn votes_that_arrive_after_the_timeout_do_not_promote() {
    let mut peers = replica();
    failover(&mut peers, FailoverMode::Coordinated);
    say_paused(&mut peers, 70);
    assert!(requests(&mut peers));
    vote(&mut peers, 2);
    peers.run_answered(TIMEOUT_MS + 100, &[1, 2, 3]);
    vote(&mut peers, 3);
    peers.run_answered(100, &[1, 2, 3]);
    assert!(peers.cluster.myself().is_replica() && !peers.has(|action| *action == Action::Promote));
}

#[test]
fn another_failover_command_replaces_the_one_that_waits() {
    let mut peers = replica();
    failover(&mut peers, FailoverMode::Coordinated);
    say_paused(&mut peers, 90);
    peers.run_answered(1000, &[1, 2, 3]);
    assert!(!requests(&mut peers));
    peers.sent(1);
    failover(&mut peers, FailoverMode::Force);
    peers.run_answered(100, &[1, 2, 3]);
    assert!(requests(&mut peers), "with FORCE no data is waited for");
    assert!(!peers.kinds(1).contains(&Kind::MfStart));
}

/// The node is a primary with the replicas 1 and 2. Peer 3 is another primary with the replica 4.
fn primary() -> Peers {
    let roles = [Primary(0..=99, 1), Replica(0), Replica(0), Primary(100..=199, 2), Replica(3)];
    let mut peers = Peers::connected(&roles);
    peers.facts.offset = 90;
    peers
}

/// The flags and the offset of the last packet to peer 1.
fn last(peers: &mut Peers) -> (bool, i64) {
    let sent = peers.sent(1);
    let header = read(sent.last().expect("a packet")).header;
    (header.mflags & mflag::PAUSED != 0, header.offset)
}

#[test]
fn a_primary_pauses_writes_and_sends_its_offset_at_each_tick() {
    let mut peers = primary();
    peers.say(1, &Body::MfStart, |_| ());
    let until_ms = peers.now_ms + PAUSE_MS;
    assert!(peers.has(|action| *action == Action::PauseWrites { until_ms }));
    assert_eq!(last(&mut peers), (true, 90));
    peers.facts.offset = 95;
    peers.run(100);
    assert_eq!(last(&mut peers), (true, 95));
}

#[test]
fn an_offset_is_not_final_while_a_script_runs() {
    let mut peers = primary();
    peers.facts.is_busy = true;
    peers.say(1, &Body::MfStart, |_| ());
    assert_eq!(last(&mut peers), (false, 90));
    (peers.facts.is_busy, peers.facts.offset) = (false, 99);
    peers.run(100);
    assert_eq!(last(&mut peers), (true, 99));
}

#[test]
fn a_primary_that_is_not_replaced_in_five_seconds_accepts_writes_again() {
    let mut peers = primary();
    peers.say(1, &Body::MfStart, |_| ());
    peers.run_answered(TIMEOUT_MS, &[1, 2, 3, 4]);
    assert!(!peers.has(|action| *action == Action::ResumeWrites));
    peers.run_answered(100, &[1, 2, 3, 4]);
    assert!(peers.has(|action| *action == Action::ResumeWrites));
    peers.run(2000);
    assert!(!last(&mut peers).0);
}

#[test]
fn only_an_own_replica_has_a_primary_pause() {
    let mut peers = primary();
    for peer in [3, 4] {
        peers.say(peer, &Body::MfStart, |_| ());
    }
    peers.say(1, &Body::MfStart, |header| header.sender = id(9));
    assert!(!peers.has(|action| matches!(action, Action::PauseWrites { .. })));
}

#[test]
fn forgetting_the_replica_that_takes_over_ends_the_pause() {
    let mut peers = primary();
    peers.say(1, &Body::MfStart, |_| ());
    peers.cluster.forget(id(2).as_bytes(), peers.now_ms).unwrap();
    assert!(!peers.has(|action| *action == Action::ResumeWrites));
    peers.cluster.forget(id(1).as_bytes(), peers.now_ms).unwrap();
    assert!(peers.has(|action| *action == Action::ResumeWrites));
}

#[test]
fn a_replaced_primary_follows_its_replica_and_ends_the_pause() {
    let mut peers = primary();
    peers.say(1, &Body::MfStart, |_| ());
    peers.claim(1, 0..=99, 10);
    let me = peers.cluster.myself();
    assert!(me.is_replica() && me.primary == Some(peers.index(1)));
    let actions = peers.take();
    assert!(actions.contains(&Action::ResumeWrites), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Follow { .. })), "{actions:?}");
}
