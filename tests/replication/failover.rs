//! `FAILOVER`: the primary and a replica exchange their roles, and no acknowledged write is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::nodes::Node;
use crate::support::Client;
use crate::{Kind, PAIRS, chain, field, follow, star_with, start, until, wait_for_equality};

/// Increments `counter` until `stop`. Returns the number of acknowledged increments. Ends when a replica refuses one.
fn count(mut client: Client, stop: &AtomicBool) -> i64 {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.run("INCR counter");
        if reply.is_error() {
            assert!(reply.text().starts_with("READONLY"), "{reply:?}");
            break;
        }
        acknowledged += 1;
    }
    acknowledged
}

/// Waits until the primary has `count` replicas that receive the stream.
fn wait_for_replicas(primary: &mut Client, count: usize) {
    // INFO reports a replica as online while it is still loading.
    until("the replicas are online", || primary.run("ROLE").elements()[2].elements().len() == count);
}

#[test]
fn the_roles_are_exchanged_under_load_without_a_snapshot_and_without_a_lost_write() {
    for (primary_kind, replica_kind) in PAIRS {
        let [(primary, mut old), (replica, mut new)] = chain([(primary_kind, ""), (replica_kind, "")]);
        wait_for_replicas(&mut old, 1);
        let snapshots = old.info_number("sync_full");
        let stop = Arc::new(AtomicBool::new(false));
        old.ok("SET counter 0");
        let writers = (0..4).map(|_| {
            let (client, stop) = (primary.client(), Arc::clone(&stop));
            thread::spawn(move || count(client, &stop))
        });
        let writers: Vec<_> = writers.collect();
        until("the writers write", || old.run("GET counter").text().parse::<i64>().is_ok_and(|n| n > 50));
        old.ok("FAILOVER");
        until("the primary follows", || field(&mut old, "master_link_status") == "up");
        assert_eq!(field(&mut old, "master_failover_state"), "no-failover");
        assert_eq!(field(&mut new, "role"), "master");
        let acknowledged: i64 = writers.into_iter().map(|writer| writer.join().expect("no panic")).sum();
        assert_eq!(new.run("GET counter").text(), acknowledged.to_string(), "{primary_kind:?}");
        new.ok("SET after failover");
        wait_for_equality(&mut new, &mut old);
        assert_eq!(old.run("GET after").text(), "failover");
        assert_eq!((old.info_number("sync_full"), new.info_number("sync_full")), (snapshots, 0));
        // And back, to the address that is known from the first failover.
        wait_for_replicas(&mut new, 1);
        new.ok(&format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 100000", primary.port()));
        until("the replica follows", || field(&mut new, "master_link_status") == "up");
        old.ok("SET after return");
        wait_for_equality(&mut old, &mut new);
        drop(replica);
    }
}

#[test]
fn writes_wait_for_a_replica_that_is_silent_and_go_on_when_the_failover_is_aborted() {
    let [(primary, mut client), (replica, _)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    wait_for_replicas(&mut client, 1);
    replica.signal(Signal::SIGSTOP);
    client.ok("SET k 1");
    client.ok("FAILOVER");
    assert_eq!(field(&mut client, "master_failover_state"), "waiting-for-sync");
    assert_eq!(client.run("FAILOVER").text(), "ERR FAILOVER already in progress.");
    assert_eq!(client.run("REPLICAOF NO ONE").text(), "ERR REPLICAOF not allowed while failing over.");
    let id = field(&mut client, "master_replid");
    let refused = client.run(&format!("PSYNC {id} 1")).text();
    assert_eq!(refused, "NOMASTERLINK Can't SYNC while failing over");
    let mut writer = primary.client();
    writer.send(&["SET", "k", "2"]).unwrap();
    client.wait_for_info("blocked_clients", |blocked| blocked == 1);
    // The end of CLIENT PAUSE does not end the pause of a failover.
    client.ok("CLIENT PAUSE 100000 WRITE");
    client.ok("CLIENT UNPAUSE");
    client.wait_for_info("blocked_clients", |blocked| blocked == 1);
    assert_eq!(client.run("GET k").text(), "1", "reads go on");
    client.ok("FAILOVER ABORT");
    assert_eq!(writer.read_reply().unwrap().value.text(), "OK");
    assert_eq!(client.run("GET k").text(), "2");
    assert_eq!(field(&mut client, "role"), "master");
    assert_eq!(client.run("FAILOVER ABORT").text(), "ERR No failover in progress.");
    // The timeout has passed.
    client.ok("FAILOVER TIMEOUT 1");
    until("it is aborted", || field(&mut client, "master_failover_state") == "no-failover");
    primary.wait_for_log("FAILOVER to any replica aborted: Replica never caught up before timeout");
    client.ok("SET k 3");
    replica.signal(Signal::SIGCONT);
    client.ok("FAILOVER");
    until("the replica takes over", || field(&mut client, "role") == "slave");
}

#[test]
fn a_forced_failover_does_not_wait_for_what_the_replica_lacks() {
    let [(primary, mut old), (replica, mut lagging), (third, mut rival)] =
        star_with([(Kind::Subject, ""), (Kind::Subject, ""), (Kind::Subject, "")], |_| {});
    wait_for_replicas(&mut old, 2);
    replica.signal(Signal::SIGSTOP);
    old.ok("SET k 1");
    let port = replica.port();
    old.ok(&format!("FAILOVER TO 127.0.0.1 {port} FORCE TIMEOUT 10"));
    until("it proceeds", || field(&mut old, "master_failover_state") == "failover-in-progress");
    primary.wait_for_log("time out exceeded, failing over");
    assert!(old.run("SET k 2").text().starts_with("READONLY"));
    // It can still be aborted; the other replica continues.
    old.ok("FAILOVER ABORT");
    assert_eq!(field(&mut old, "role"), "master");
    old.ok("SET k 3");
    wait_for_equality(&mut old, &mut rival);
    assert_eq!(rival.run("GET k").text(), "3");
    // The replica has not replied to PING, so it has not received `PSYNC FAILOVER`.
    replica.signal(Signal::SIGCONT);
    wait_for_equality(&mut old, &mut lagging);
    assert_eq!(field(&mut lagging, "role"), "slave");
    drop(third);
}

#[test]
fn the_other_replicas_continue_with_the_new_primary_without_a_snapshot() {
    let servers = [(Kind::Subject, ""), (Kind::Subject, ""), (Kind::Subject, "")];
    let [(_primary, mut old), (replica, mut new), (_third, mut third)] = star_with(servers, |_| {});
    old.ok("SET k v");
    wait_for_replicas(&mut old, 2);
    let snapshots = old.info_number("sync_full");
    old.ok(&format!("FAILOVER TO 127.0.0.1 {}", replica.port()));
    until("the primary follows", || field(&mut old, "master_link_status") == "up");
    // It is a replica of the old primary, which is a replica of the new one.
    new.ok("SET k w");
    wait_for_equality(&mut new, &mut third);
    third.ok(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
    until("it follows", || field(&mut third, "master_link_status") == "up");
    new.ok("SET k x");
    wait_for_equality(&mut new, &mut third);
    wait_for_equality(&mut new, &mut old);
    assert_eq!((old.info_number("sync_full"), new.info_number("sync_full")), (snapshots, 0));
}

#[test]
fn a_failover_within_a_transaction_waits_for_the_writes_behind_it() {
    for (primary_kind, replica_kind) in PAIRS {
        let [(_primary, mut old), (_replica, mut new)] = chain([(primary_kind, ""), (replica_kind, "")]);
        wait_for_replicas(&mut old, 1);
        // The replica has received the whole stream when the failover begins.
        old.ok("CONFIG SET repl-ping-replica-period 3600");
        until("it has acknowledged everything", || {
            let offset = field(&mut old, "master_repl_offset");
            field(&mut old, "slave0").contains(&format!("offset={offset},"))
        });
        old.ok("MULTI");
        for line in ["SET a 1", "FAILOVER", "EVAL redis.call('SET',KEYS[1],2) 1 b", "LPUSH c 1"] {
            assert_eq!(old.run(line).text(), "QUEUED");
        }
        let replies = old.run("EXEC");
        assert!(replies.elements().iter().all(|reply| !reply.is_error()), "{primary_kind:?}: {replies:?}");
        until("the primary follows", || field(&mut old, "master_link_status") == "up");
        assert_eq!(field(&mut new, "role"), "master", "{primary_kind:?}");
        for client in [&mut old, &mut new] {
            assert_eq!((client.run("GET a").text(), client.run("GET b").text()), ("1".into(), "2".into()));
            assert_eq!(client.run("LLEN c").integer(), 1);
        }
        wait_for_equality(&mut new, &mut old);
        assert_eq!(new.info_number("sync_full"), 0, "{primary_kind:?}");
        let script = new.run("EVAL return(redis.call('FAILOVER')) 0").text();
        assert!(script.starts_with("ERR This Redis command is not allowed from script"), "{script}");
    }
}

#[test]
fn calls_that_cannot_be_served_get_the_errors_of_redis() {
    let [(_ours, mut ours), (_replica, mut replica)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    let [(_theirs, mut theirs), (_other, mut other)] = chain([(Kind::Redis, ""), (Kind::Redis, "")]);
    wait_for_replicas(&mut ours, 1);
    wait_for_replicas(&mut theirs, 1);
    let calls = [
        "FAILOVER ABORT",
        "FAILOVER ABORT x",
        "FAILOVER TO a",
        "FAILOVER TO a b",
        "FAILOVER TO a 1 ABORT",
        "FAILOVER TO 127.0.0.1 1",
        "FAILOVER TO 127.0.0.1 1 FORCE",
        "FAILOVER FORCE",
        "FAILOVER FORCE TIMEOUT 5",
        "FAILOVER FORCE FORCE",
        "FAILOVER TIMEOUT",
        "FAILOVER TIMEOUT 0",
        "FAILOVER TIMEOUT -1",
        "FAILOVER TIMEOUT x",
        "FAILOVER TIMEOUT 5 TIMEOUT 5",
        "FAILOVER TO a 1 TO b 1",
        "PSYNC 0 0 FAILOVER",
    ];
    for call in calls {
        let expected = theirs.run(call);
        assert!(expected.is_error(), "{call}");
        assert_eq!(ours.run(call), expected, "{call}");
    }
    for call in ["FAILOVER", "FAILOVER ABORT", "PSYNC 0 0 FAILOVER"] {
        assert_eq!(replica.run(call), other.run(call), "{call}");
    }
    let (alone, theirs) = (start(Kind::Subject, ""), start(Kind::Redis, ""));
    for call in ["FAILOVER", "FAILOVER TO 127.0.0.1 1", "FAILOVER FORCE"] {
        assert_eq!(alone.client().run(call), theirs.client().run(call), "{call}");
    }
}

#[test]
fn a_failover_to_a_replica_whose_disk_is_full_is_aborted_and_writes_go_on() {
    let primary = start(Kind::Subject, "");
    let mut client = primary.client();
    let flags = "--appendonly yes --replica-ignore-disk-write-errors yes";
    let replica = Node::start_on_faulty_disk(Kind::Subject, flags, 1);
    follow(&mut replica.client(), &primary);
    wait_for_replicas(&mut client, 1);
    let log_status = |status: &str| replica.info("aof_last_write_status").is_some_and(|is| is == status);
    until("the log is written", || log_status("ok"));
    replica.break_disk("write * 1 quota:0");
    client.ok("SET k 1");
    until("the disk is full", || log_status("err"));
    client.ok("FAILOVER");
    until("the failover is aborted", || field(&mut client, "master_failover_state") == "no-failover");
    assert_eq!(field(&mut client, "role"), "master");
    client.ok("SET k 2");
    replica.repair_disk();
    until("the disk takes the log", || log_status("ok"));
    wait_for_equality(&mut client, &mut replica.client());
    assert!(replica.field("role").is_some_and(|role| role == "slave"));
}
