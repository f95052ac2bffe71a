//! The errors and effects of the subcommands.

use super::*;
use crate::cluster::{Settings, node::Node};
use crate::types::random::Random;

const NONE: &Facts =
    &Facts { offset: 0, is_following: false, data_age_ms: 0, has_keys: false, is_busy: false };

/// A node that knows `others` other primaries, and their IDs.
fn cluster(others: u64) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::new(Settings::default(), 1, 1000);
    let ids = (0..others).map(|number| {
        let id = NodeId::random(&mut Random::new(100 + 2 * number));
        let mut node = Node::new(id, id, Flags::MASTER, 1000);
        node.address.ip = format!("10.0.0.{number}");
        cluster.table.add(node);
        id.to_string()
    });
    let ids = ids.collect();
    while cluster.next_action().is_some() {}
    (cluster, ids)
}

fn actions(cluster: &mut Cluster) -> Vec<Action> {
    cluster.settle(1000, NONE);
    std::iter::from_fn(|| cluster.next_action()).filter(|action| !matches!(action, Action::Log(..))).collect()
}

#[test]
fn slots_are_added_and_deleted_once() {
    let (mut cluster, _) = cluster(0);
    assert_eq!(cluster.add_slots(&[1, 2], 1000), Ok(()));
    assert_eq!(cluster.add_slots(&[3, 2], 1000), Err("ERR Slot 2 is already busy".into()));
    assert_eq!(cluster.add_slots(&[3, 3], 1000), Err("ERR Slot 3 specified multiple times".into()));
    assert_eq!(cluster.add_slots(&[16384], 1000), Err("ERR Invalid or out of range slot".into()));
    assert_eq!(cluster.del_slots(&[1, 4], 1000), Err("ERR Slot 4 is already unassigned".into()));
    assert_eq!(cluster.myself().slots.to_string(), "1-2");
    assert_eq!(actions(&mut cluster), [Action::SaveConfig { sync: false }, Action::OwnershipChanged]);
    let keys = Facts { has_keys: true, ..*NONE };
    assert_eq!(
        cluster.flush_slots(1000, &keys),
        Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into())
    );
    assert_eq!((cluster.flush_slots(1000, NONE), cluster.owner(1).is_some()), (Ok(()), false));
}

#[test]
fn a_slot_moves_through_its_states() {
    let (mut cluster, ids) = cluster(1);
    let (other, me) = (ids[0].as_bytes(), cluster.myself().id);
    cluster.add_slots(&[5, 6], 1000).unwrap();
    let set = |cluster: &mut Cluster, slot, change, keys| cluster.set_slot(slot, change, keys, 1000);
    let error = set(&mut cluster, 9, SetSlot::Migrating(other), 0);
    assert_eq!(error, Err("ERR I'm not the owner of hash slot 9".into()));
    let error = set(&mut cluster, 5, SetSlot::Importing(other), 0);
    assert_eq!(error, Err("ERR I'm already the owner of hash slot 5".into()));
    let error = set(&mut cluster, 5, SetSlot::Migrating(b"x"), 0);
    assert_eq!(error, Err("ERR I don't know about node x".into()));
    assert_eq!(set(&mut cluster, 5, SetSlot::Node(b"x"), 0), Err("ERR Unknown node x".into()));
    set(&mut cluster, 5, SetSlot::Migrating(other), 3).unwrap();
    assert!(cluster.migrating(5).is_some());
    let error = set(&mut cluster, 5, SetSlot::Node(other), 3).unwrap_err();
    assert!(error.starts_with("ERR Can't assign hashslot 5 to a different node while I still hold keys"));
    set(&mut cluster, 5, SetSlot::Node(other), 0).unwrap();
    assert!(cluster.migrating(5).is_none() && !cluster.is_mine(5) && cluster.is_mine(6));
    set(&mut cluster, 5, SetSlot::Importing(other), 0).unwrap();
    assert!(cluster.importing(5).is_some());
    set(&mut cluster, 5, SetSlot::Node(me.as_bytes()), 0).unwrap();
    assert!(cluster.importing(5).is_none() && cluster.is_mine(5));
    assert_eq!((cluster.current_epoch(), cluster.myself().config_epoch), (1, 1), "a new epoch for the claim");
    assert!(actions(&mut cluster).contains(&Action::SaveConfig { sync: true }));
}

#[test]
fn a_primary_that_gives_its_last_slot_away_follows_the_new_owner() {
    let (mut cluster, ids) = cluster(1);
    cluster.add_slots(&[5], 1000).unwrap();
    cluster.set_slot(5, SetSlot::Node(ids[0].as_bytes()), 0, 1000).unwrap();
    assert!(cluster.myself().is_replica() && cluster.is_mine(5));
    let follow = Action::Follow { ip: "10.0.0.0".into(), port: 0, tls_port: 0 };
    assert!(actions(&mut cluster).contains(&follow));
    let error = cluster.set_slot(5, SetSlot::Stable, 0, 1000);
    assert_eq!(error, Err("ERR Please use SETSLOT only with masters.".into()));
}

#[test]
fn nodes_are_met_and_forgotten() {
    let (mut cluster, ids) = cluster(2);
    assert_eq!(cluster.meet("::1", 1, 2, 1000), Ok(()));
    assert_eq!(cluster.meet("::1", 1, 2, 1000), Ok(()));
    assert_eq!(cluster.nodes().count(), 4, "one handshake");
    assert_eq!(cluster.meet("host", 1, 2, 1000), Err("ERR Invalid node address specified: host:1".into()));
    let me = cluster.myself().id.to_string();
    assert_eq!(
        cluster.forget(me.as_bytes(), 1000),
        Err("ERR I tried hard but I can't forget myself...".into())
    );
    assert_eq!(cluster.forget(b"zz", 1000), Err("ERR Unknown node zz".into()));
    cluster.replicate(ids[0].as_bytes(), 1000, NONE).unwrap();
    assert_eq!(cluster.forget(ids[0].as_bytes(), 1000), Err("ERR Can't forget my master!".into()));
    assert_eq!(cluster.forget(ids[1].as_bytes(), 1000), Ok(()));
    assert_eq!(cluster.forget(ids[1].as_bytes(), 60_000), Ok(()), "already forgotten");
    assert_eq!(cluster.forget(ids[1].as_bytes(), 61_000), Err(format!("ERR Unknown node {}", ids[1])));
}

#[test]
fn only_an_empty_primary_becomes_a_replica() {
    let (mut cluster, ids) = cluster(2);
    let me = cluster.myself().id.to_string();
    assert_eq!(cluster.replicate(b"x", 1000, NONE), Err("ERR Unknown node x".into()));
    assert_eq!(cluster.replicate(me.as_bytes(), 1000, NONE), Err("ERR Can't replicate myself".into()));
    let keys = Facts { has_keys: true, ..*NONE };
    let error = cluster.replicate(ids[0].as_bytes(), 1000, &keys).unwrap_err();
    assert_eq!(error, "ERR To set a master the node must be empty and without assigned slots.");
    assert_eq!(
        cluster.failover(FailoverMode::Force, 1000, NONE),
        Err("ERR You should send CLUSTER FAILOVER to a replica".into())
    );
    cluster.replicate(ids[0].as_bytes(), 1000, NONE).unwrap();
    assert_eq!(cluster.replicate(ids[1].as_bytes(), 1000, &keys), Ok(()), "a replica may have keys");
    assert_eq!(
        cluster.failover(FailoverMode::Coordinated, 1000, NONE),
        Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into())
    );
    assert_eq!(cluster.replicas_of(ids[1].as_bytes()).unwrap()[0].id.to_string(), me);
}

#[test]
fn a_takeover_gets_the_slots_without_an_election() {
    let (mut cluster, ids) = cluster(1);
    let (index, _) = cluster.find(ids[0].as_bytes()).unwrap();
    cluster.assign(7, index);
    cluster.table.node_mut(index).config_epoch = 4;
    cluster.replicate(ids[0].as_bytes(), 1000, NONE).unwrap();
    cluster.failover(FailoverMode::Takeover, 1000, NONE).unwrap();
    let me = cluster.myself();
    assert!(me.is_primary() && me.config_epoch == 5 && cluster.is_mine(7));
    let all = actions(&mut cluster);
    let place = |wanted: &Action| all.iter().position(|action| action == wanted);
    assert!(place(&Action::Promote) < place(&Action::SaveConfig { sync: true }), "{all:?}");
}

#[test]
fn a_reset_forgets_everything_and_a_hard_one_the_id_too() {
    let (mut cluster, ids) = cluster(2);
    let keys = Facts { has_keys: true, ..*NONE };
    let error = cluster.reset(true, 1000, &keys).unwrap_err();
    assert_eq!(error, "ERR CLUSTER RESET can't be called with master nodes containing keys");
    cluster.replicate(ids[0].as_bytes(), 1000, NONE).unwrap();
    let id = cluster.myself().id;
    cluster.reset(false, 1000, &keys).unwrap();
    assert!(cluster.myself().is_primary() && cluster.nodes().count() == 1 && cluster.myself().id == id);
    let all = actions(&mut cluster);
    assert!(all.contains(&Action::Promote) && all.contains(&Action::Empty), "{all:?}");
    cluster.set_config_epoch(9, 1000).unwrap();
    let error = cluster.set_config_epoch(9, 1000).unwrap_err();
    assert_eq!(error, "ERR Node config epoch is already non-zero");
    assert_eq!(cluster.set_config_epoch(-1, 1000), Err("ERR Invalid config epoch specified: -1".into()));
    cluster.reset(true, 1000, NONE).unwrap();
    assert_ne!(cluster.myself().id, id);
    assert_eq!((cluster.current_epoch(), cluster.myself().config_epoch), (0, 0));
    assert_eq!((cluster.bump_epoch(1000), cluster.bump_epoch(1000)), ((true, 1), (false, 1)));
}

#[test]
fn loaded_keys_claim_free_slots_and_import_those_of_others() {
    let (mut cluster, ids) = cluster(1);
    let (index, _) = cluster.find(ids[0].as_bytes()).unwrap();
    cluster.assign(7, index);
    cluster.adopt_loaded_keys(|slot| (6..9).contains(&slot));
    assert_eq!(cluster.myself().slots.to_string(), "6 8");
    assert!(cluster.importing(7).is_some());
}
