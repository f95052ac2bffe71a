//! Files of Redis in all forms, and damaged ones.

use super::*;
use crate::cluster::Action;

const REDIS_7_2: &str = "\
dba0f0503520d175931e90c0a5d0e7b998d5fe14 127.0.0.1:17102@27102,host-17102.example,tls-port=0,shard-id=3e565c1a42332689f89a6f6d14d8e31f39fbff76 myself,master - 0 1795552815000 2 connected 5461-10922 [5461->-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4] [5-<-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4]
54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4 127.0.0.1:17101@27101,,tls-port=0,nodename=name-1,shard-id=91cbab0a6034d96d98165d53258913001cfbac24 master,fail - 1795552811503 1795552815696 5 disconnected 0-5460
0f3f109ca8f72f059399dc1013a35dbcc24107f6 127.0.0.1:17105@27105,,tls-port=0,shard-id=3e565c1a42332689f89a6f6d14d8e31f39fbff76 slave dba0f0503520d175931e90c0a5d0e7b998d5fe14 0 1795552815596 2 connected
vars currentEpoch 5 lastVoteEpoch 4
";

fn load(text: &str) -> Result<Cluster, ConfigError> {
    Cluster::load(text.as_bytes(), Settings { port: 17102, bus_port: 27102, ..Settings::default() }, 1, 9000)
}

#[test]
fn a_file_of_redis_comes_back_in_its_form() {
    let settings = Settings {
        port: 17102,
        bus_port: 27102,
        announce_hostname: "host-17102.example".into(),
        ..Settings::default()
    };
    let cluster = Cluster::load(REDIS_7_2.as_bytes(), settings, 1, 9000).unwrap();
    assert_eq!((cluster.current_epoch(), cluster.last_vote_epoch()), (5, 4));
    assert_eq!(cluster.myself().replicas.len(), 1);
    assert_eq!(cluster.migrating(5461).map(|node| node.config_epoch), Some(5));
    assert_eq!(cluster.importing(5).map(|node| node.nodename.as_str()), Some("name-1"));
    assert_eq!(cluster.owner(0).map(|node| (node.is_failed(), node.fail_time)), Some((true, 9000)));
    // The open slots are sorted; times are those of this start, and no link is connected yet.
    let expected = REDIS_7_2
        .replace("[5461->-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4] [5-<-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4]",
            "[5-<-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4] [5461->-54b86be2f182b1eb7abde63fb07a5ad4ecd1d6f4]")
        .replace("1795552815000", "9000")
        .replace("1795552811503 1795552815696", "9000 9000")
        .replace("1795552815596 2 connected", "9000 2 disconnected");
    assert_eq!(cluster.config_text(), expected);
}

#[test]
fn files_of_older_versions_are_read() {
    let id = |digit: &str| digit.repeat(40);
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let text = format!(
        "{a} 127.0.0.1:7000 myself,slave {b} 0 0 1 connected\n\
         {b} 127.0.0.1:7001@17001 master - 0 0 7 connected 0-16383\n\
         {c} :0@0 slave,noaddr - 0 0 0 disconnected\n\
         vars currentEpoch 3 lastVoteEpoch 0\n"
    );
    let cluster = load(&text).unwrap();
    let (_, primary) = cluster.find(b.as_bytes()).unwrap();
    assert_eq!((primary.address.bus_port, primary.slots.len()), (17001, 16384));
    assert_eq!(cluster.myself().shard_id, primary.shard_id, "a replica is in the shard of its primary");
    assert_eq!(cluster.current_epoch(), 7, "not below the epoch of a node");
    assert_eq!(
        load(&format!("{a} h:1@2,,shard-id={b},new=1 myself,master - 0 0 0 connected\n"))
            .unwrap()
            .myself()
            .id
            .as_str(),
        a
    );
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    let error = |from: &str, to: &str| {
        assert!(REDIS_7_2.contains(from), "{from}");
        load(&REDIS_7_2.replacen(from, to, 1)).expect_err(to).to_string()
    };
    assert_eq!(
        error("dba0f", "DBA0F"),
        "line 1: invalid node ID 'DBA0f0503520d175931e90c0a5d0e7b998d5fe14'".replace("DBA0f", "DBA0F")
    );
    assert_eq!(error("master,fail", "master,odd"), "line 2: unknown flag 'odd'");
    assert_eq!(
        error("5461-10922", "5461-16384"),
        "line 1: invalid slots '5461-16384'".replace("slots '5461-16384'", "slot '16384'")
    );
    assert_eq!(error("0-5460", "0-5461"), "line 2: slot 5461 has two owners");
    assert_eq!(error(" connected\nvars", "\nvars"), "line 3: a node needs 8 words, not 7");
    assert_eq!(error("currentEpoch 5", "currentEpoch x"), "line 4: invalid epoch 'x'");
    assert_eq!(error("myself,", ""), "no node is flagged as myself");
    assert_eq!(error("slave dba0f", "myself,slave dba0f"), "line 3: a second node is flagged as myself");
    assert_eq!(error("@27101", "@271010"), "line 2: invalid port '271010'");
    assert_eq!(load("").err().map(|error| error.line), Some(0));
    for length in 0..REDIS_7_2.len() {
        _ = load(&REDIS_7_2[..length]);
    }
}

#[test]
fn a_new_node_saves_its_file_at_once() {
    let mut cluster = Cluster::new(Settings::default(), 3, 0);
    let actions: Vec<Action> = std::iter::from_fn(|| cluster.next_action()).collect();
    assert!(actions.contains(&Action::SaveConfig { sync: true }));
    let copy = load(&cluster.config_text()).unwrap();
    assert_eq!((copy.myself().id, copy.myself().shard_id), (cluster.myself().id, cluster.myself().shard_id));
}
