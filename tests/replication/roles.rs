//! The roles as clients see them: refusals, expiry, acknowledgements, promotion.

use crate::support::Random;
use crate::{
    Kind, PAIRS, chain, chain_with, field, follow, star_with, start, until, wait_for_equality, write_much,
};

#[test]
fn a_replica_refuses_writes_and_serves_reads_as_configured() {
    for (primary_kind, replica_kind) in PAIRS {
        let [(primary, mut writer), (replica, mut reader)] =
            chain_with([(primary_kind, ""), (replica_kind, "")], |writer| writer.ok("SET k v"));
        let readonly = "READONLY You can't write against a read only replica.";
        for line in ["SET a b", "DEL k", "EVAL redis.call('SET',KEYS[1],1) 1 x", "BLPOP l 1"] {
            assert!(reader.run(line).text().starts_with("READONLY") || line.starts_with("EVAL"), "{line}");
        }
        assert_eq!(reader.run("SET a b").text(), readonly);
        reader.ok("MULTI");
        assert_eq!(reader.run("SET a b").text(), readonly);
        assert!(reader.run("EXEC").text().starts_with("EXECABORT"));
        assert_eq!(reader.run("GET k").text(), "v");
        assert!(reader.run("WAIT 0 0").text().starts_with("ERR WAIT cannot be used with replica instances"));
        let role = format!("{:?}", reader.run("ROLE"));
        assert!(role.contains("slave") && role.contains("connected"), "{role}");
        until("the primary knows its replica", || {
            let role = format!("{:?}", writer.run("ROLE"));
            role.contains("master") && role.contains(&replica.port().to_string())
        });
        assert!(reader.run("CLIENT LIST TYPE master").text().contains("flags=M"));
        assert!(writer.run("CLIENT LIST TYPE replica").text().contains("flags=S"));
        // Without its primary, it serves what it has, or nothing.
        drop(primary);
        until("the link is lost", || field(&mut reader, "master_link_status") == "down");
        assert_eq!(reader.run("GET k").text(), "v");
        reader.ok("CONFIG SET replica-serve-stale-data no");
        assert!(reader.run("GET k").text().starts_with("MASTERDOWN Link with MASTER is down"));
        assert!(!reader.run("INFO").text().is_empty());
        reader.ok("REPLICAOF NO ONE");
        reader.ok("SET k w");
    }
}

#[test]
fn a_replica_hides_expired_keys_and_deletes_them_when_its_primary_does() {
    let [(_primary, mut writer), (_replica, mut reader)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    // The primary does not look for expired keys by itself.
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.ok("SET k v PX 1");
    wait_for_equality(&mut writer, &mut reader);
    until("it is hidden", || reader.run("GET k").is_null());
    assert_eq!(reader.run("DBSIZE").integer(), 1, "only the primary deletes");
    assert!(writer.run("GET k").is_null());
    until("it is deleted", || reader.run("DBSIZE").integer() == 0);
}

#[test]
fn wait_counts_the_replicas_that_have_the_write() {
    for (primary_kind, replica_kind) in PAIRS {
        let servers = [(primary_kind, ""), (replica_kind, "--appendonly yes"), (replica_kind, "")];
        let [(_primary, mut writer), mut one, mut other] = star_with(servers, |_| {});
        until("both are online", || field(&mut writer, "slave1").contains("state=online"));
        for n in 0..20 {
            writer.ok(&format!("SET k {n}"));
            assert_eq!(writer.run("WAIT 2 0").integer(), 2);
            for (_, reader) in [&mut one, &mut other] {
                assert_eq!(reader.run("GET k").text(), n.to_string());
            }
        }
        assert_eq!(writer.run("WAIT 3 1").integer(), 2, "the timeout");
    }
}

#[test]
fn the_log_names_the_replica_whose_connection_is_lost() {
    let [(primary, _writer), (replica, _reader)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    let port = replica.port();
    drop(replica);
    primary.wait_for_log(&format!("Connection with replica 127.0.0.1:{port} lost."));
}

#[test]
fn writes_are_refused_while_there_are_too_few_replicas() {
    let primary = start(Kind::Subject, "--min-replicas-to-write 1 --min-replicas-max-lag 10");
    let replica = start(Kind::Subject, "");
    let (mut writer, mut reader) = (primary.client(), replica.client());
    assert_eq!(writer.run("SET k v").text(), "NOREPLICAS Not enough good replicas to write.");
    assert!(writer.run("GET k").is_null());
    follow(&mut reader, &primary);
    until("one is good", || field(&mut writer, "min_slaves_good_slaves") == "1");
    until("writes are accepted", || !writer.run("SET k v").is_error());
    reader.ok("REPLICAOF NO ONE");
    until("writes are refused", || writer.run("SET k v").is_error());
}

#[test]
fn a_promoted_replica_is_followed_by_the_others_without_a_snapshot() {
    for (first_kind, second_kind) in PAIRS {
        let mut random = Random::new(7);
        let servers = [(first_kind, ""), (second_kind, ""), (Kind::Subject, "")];
        let [(_first, mut a), (second, mut b), (_third, mut c)] =
            star_with(servers, |writer| write_much(writer, &mut random, 100));
        write_much(&mut a, &mut random, 100);
        // Nothing is propagated between the equality and the promotion: no PING, and no DEL of an expired key.
        a.ok("CONFIG SET repl-ping-replica-period 3600");
        until("nothing expires any more", || {
            let keyspace = a.run("INFO keyspace").text();
            keyspace.matches("expires=").count() == keyspace.matches("expires=0,").count()
        });
        wait_for_equality(&mut a, &mut b);
        wait_for_equality(&mut a, &mut c);
        let old = field(&mut a, "master_replid");
        b.ok("REPLICAOF NO ONE");
        assert_eq!(field(&mut b, "master_replid2"), old);
        b.ok("SET promoted yes");
        follow(&mut a, &second);
        follow(&mut c, &second);
        write_much(&mut b, &mut random, 100);
        wait_for_equality(&mut b, &mut a);
        wait_for_equality(&mut b, &mut c);
        assert_eq!(a.run("GET promoted").text(), "yes");
        assert_eq!(b.info_number("sync_full"), 0);
        assert_eq!(b.info_number("sync_partial_ok"), 2);
    }
}

#[test]
fn clients_that_wait_are_unblocked_when_the_primary_becomes_a_replica() {
    let (primary, other) = (start(Kind::Subject, ""), start(Kind::Subject, ""));
    let (mut waiting, mut admin) = (primary.client(), primary.client());
    waiting.send(&["BLPOP", "l", "0"]).expect("sent");
    admin.wait_for_info("blocked_clients", |blocked| blocked == 1);
    follow(&mut admin, &other);
    let reply = waiting.read_reply().expect("a reply").value;
    assert_eq!(
        reply.text(),
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    );
}
