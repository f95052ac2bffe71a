//! The roles as clients see them: refusals, expiry, acknowledgements, promotion.

#[cfg(target_os = "linux")]
use crate::hostile::join;
use crate::support::server::free_port;
#[cfg(target_os = "linux")]
use crate::support::socket_options::reset_on_close;
use crate::support::{Random, Value};
use crate::{
    Kind, PAIRS, chain, chain_with, field, follow, star_with, start, until, wait_for_equality,
    wait_for_offset, write_much,
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
        // Without its primary, the replica serves its old data, or none.
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
    // The primary does not expire keys actively.
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

/// Redis logs `client id #5`, because the system does not know the address of a connection that was reset.
#[cfg(target_os = "linux")]
#[test]
fn the_log_names_the_replica_that_resets_its_connection() {
    for (announced, name) in
        [(&["listening-port", "4321"][..], "127.0.0.1:4321"), (&[], "127.0.0.1:<unknown-replica-port>")]
    {
        let primary = start(Kind::Subject, "");
        let mut client = primary.client();
        let replica = join(&primary, announced);
        until("it is a replica", || field(&mut client, "connected_slaves") == "1");
        reset_on_close(&replica);
        drop(replica);
        primary.wait_for_log(&format!("Connection with replica {name} lost."));
    }
}

#[test]
fn the_duration_and_the_copies_of_a_snapshot_for_replicas_are_in_info() {
    for kind in [Kind::Subject, Kind::Redis] {
        for diskless in ["yes", "no"] {
            let primary = start(kind, &format!("--repl-diskless-sync {diskless}"));
            let mut writer = primary.client();
            // The child allocates memory while it compresses the value.
            writer.ok(&format!("SET key {}", "x".repeat(1 << 20)));
            assert_eq!(writer.info_number("rdb_last_bgsave_time_sec"), -1);
            let replica = start(Kind::Subject, "");
            follow(&mut replica.client(), &primary);
            writer.wait_for_info("rdb_bgsave_in_progress", |running| running == 0);
            assert!(writer.info_number("rdb_last_bgsave_time_sec") >= 0, "{kind:?} {diskless}");
            assert!(writer.info_number("rdb_last_cow_size") > 0, "{kind:?} {diskless}");
        }
    }
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
        // Nothing is propagated between the comparison and the promotion: no PING, and no DEL of an expired key.
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
fn a_primary_that_writes_in_the_transaction_of_its_demotion_has_nothing_of_its_own_afterwards() {
    let [(_first, mut old), (second, mut new)] = chain([(Kind::Subject, ""), (Kind::Subject, "")]);
    old.ok("CONFIG SET repl-ping-replica-period 3600");
    old.ok("SET k v");
    wait_for_equality(&mut old, &mut new);
    new.ok("REPLICAOF NO ONE");
    old.ok("MULTI");
    for line in ["SET own 1", &format!("REPLICAOF 127.0.0.1 {}", second.port())] {
        assert_eq!(old.run(line).text(), "QUEUED");
    }
    assert_eq!(old.run("EXEC").elements().len(), 2);
    until("the link to the primary", || field(&mut old, "master_link_status") == "up");
    wait_for_equality(&mut new, &mut old);
    assert!(old.run("GET own").is_null());
}

#[test]
fn blocked_clients_are_disconnected_when_the_primary_changes() {
    let [primary, first, second] = std::array::from_fn(|_| start(Kind::Subject, ""));
    let mut admin = primary.client();
    for (other, request) in [(&first, "BLPOP l 0"), (&second, "XREAD BLOCK 0 STREAMS s $")] {
        let (mut waiting, mut silent) = (primary.client(), primary.client());
        // The later requests of these clients are not executed.
        waiting.send_raw(format!("{request}\r\nPING\r\n").as_bytes()).expect("sent");
        silent.send_raw(format!("CLIENT REPLY OFF\r\n{request}\r\n").as_bytes()).expect("sent");
        admin.wait_for_info("blocked_clients", |blocked| blocked == 2);
        follow(&mut admin, other);
        assert_eq!(
            String::from_utf8_lossy(&waiting.wait_closed()),
            "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"
        );
        assert_eq!(silent.wait_closed(), b"");
    }
}

#[test]
fn a_writable_replica_logs_the_writes_of_its_own_clients_and_keeps_them_from_its_replicas() {
    let servers = [
        (Kind::Subject, ""),
        (Kind::Subject, "--appendonly yes --replica-read-only no"),
        (Kind::Subject, ""),
    ];
    let [(_primary, mut writer), (_middle, mut middle), (_last, mut last)] = chain(servers);
    middle.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    let large = "x".repeat(50_000);
    for round in 0..4 {
        // The primary's stream selects its databases; clients of the replica have others selected.
        writer.ok(&format!("SELECT {}", round % 2));
        writer.ok(&format!("SET theirs:{round} 1"));
        wait_for_offset(&mut writer, &mut middle);
        middle.ok(&format!("SELECT {}", 3 + round % 2));
        middle.ok(&format!("SET own:{round} {large}"));
        middle.ok("MULTI");
        for line in ["INCR own", "SELECT 5", "INCR own"] {
            assert_eq!(middle.run(line).text(), "QUEUED");
        }
        assert_eq!(middle.run("EXEC").elements().len(), 3);
        assert!(
            !middle
                .run("EVAL redis.call('RPUSH',KEYS[1],'a');redis.call('RPUSH',KEYS[1],'b') 1 l")
                .is_error()
        );
        writer.ok(&format!("SET again:{round} 1"));
    }
    wait_for_offset(&mut writer, &mut last);
    assert!(
        !last.run("INFO keyspace").text().contains("db5"),
        "the last replica has the primary's keys only"
    );
    wait_for_equality(&mut writer, &mut last);
    middle.ok("REPLICAOF NO ONE");
    let before = middle.run("DEBUG DIGEST");
    middle.ok("DEBUG LOADAOF");
    assert_eq!(middle.run("DEBUG DIGEST"), before);
    assert_eq!(middle.run("GET own").text(), "4");
    assert_eq!(middle.run("LLEN l").integer(), 8);
}

#[test]
fn a_writable_replica_deletes_the_keys_that_its_own_clients_gave_a_time_to_live() {
    for kind in [Kind::Redis, Kind::Subject] {
        let [(_primary, mut writer), (_replica, mut reader)] =
            chain([(Kind::Subject, ""), (kind, "--replica-read-only no --appendonly yes")]);
        reader.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
        writer.ok("SET theirs 1");
        wait_for_offset(&mut writer, &mut reader);
        reader.ok("SET own 1 PX 50");
        reader.ok("SET kept 1");
        assert_eq!(reader.run("PEXPIRE kept 50").integer(), 1);
        assert_eq!(reader.run("EXPIRE theirs 10000").integer(), 1);
        until("they are deleted", || reader.run("DBSIZE").integer() == 1);
        assert_eq!(reader.info_number("slave_expires_tracked_keys"), 1);
        assert_eq!(reader.run("GET theirs").text(), "1");
        reader.ok("REPLICAOF NO ONE");
        reader.ok("DEBUG LOADAOF");
        assert_eq!(reader.run("DBSIZE").integer(), 1, "the deletions are in the AOF");
    }
}

#[test]
fn a_script_writes_for_the_log_or_the_replicas_alone() {
    for replica_kind in [Kind::Subject, Kind::Redis] {
        let [(_primary, mut writer), (_replica, mut reader)] =
            chain([(Kind::Subject, "--appendonly yes"), (replica_kind, "")]);
        let script = "redis.set_repl(redis.REPL_AOF) redis.call('SET', 'log', 1) redis.call('SELECT', 3) \
                      redis.call('SET', 'log', 2) redis.call('SELECT', 0) \
                      redis.set_repl(redis.REPL_REPLICA) redis.call('SET', 'replica', ARGV[1]) \
                      redis.set_repl(redis.REPL_ALL) redis.call('SET', 'both', 1) \
                      redis.set_repl(redis.REPL_NONE) redis.call('SET', 'none', 1)";
        let alone = "redis.set_repl(redis.REPL_AOF) redis.call('INCR', 'alone')";
        for _ in 0..2 {
            assert!(writer.call(&["EVAL", script, "0", &"x".repeat(9000)]).is_null());
            assert!(writer.call(&["EVAL", alone, "0"]).is_null());
        }
        wait_for_offset(&mut writer, &mut reader);
        let names = |client: &mut crate::support::Client| {
            let mut names: Vec<String> = client.run("KEYS *").elements().iter().map(Value::text).collect();
            names.sort();
            names
        };
        assert_eq!(names(&mut reader), ["both", "replica"]);
        assert_eq!(names(&mut writer), ["alone", "both", "log", "none", "replica"]);
        writer.ok("DEBUG LOADAOF");
        assert_eq!(names(&mut writer), ["alone", "both", "log"]);
        assert_eq!(writer.run("GET alone").text(), "2");
        writer.ok("SELECT 3");
        assert_eq!(writer.run("GET log").text(), "2");
    }
}

/// What `EXEC` replies if the link has broken since the commands were queued. It is refused unless all of them are
/// permitted without a link, even if the first ones are.
#[test]
fn exec_on_a_replica_that_serves_no_stale_data_counts_what_was_queued_before_the_link_broke() {
    let down = "EXECABORT Transaction discarded because of: MASTERDOWN Link with MASTER is down and \
                replica-serve-stale-data is set to 'no'.";
    let stale = "#!lua flags=allow-stale,no-writes\nreturn 1";
    let queues: [(&[&[&str]], Option<&str>); 7] = [
        (&[&["GET", "k"]], Some(down)),
        (&[&["SET", "k", "w"]], Some(down)),
        (&[&["CONFIG", "GET", "port"], &["PING"]], Some(down)),
        (&[&["EVAL", "#!lua\nreturn 1", "0"]], Some(down)),
        (&[&["CONFIG", "GET", "port"]], None),
        (&[&["PUBLISH", "channel", "message"]], None),
        (&[&["EVAL", stale, "0"]], None),
    ];
    for kind in [Kind::Redis, Kind::Subject] {
        let flags = "--replica-serve-stale-data no --replica-read-only no";
        let [(primary, mut writer), (replica, mut reader)] = chain([(Kind::Subject, ""), (kind, flags)]);
        writer.ok("SET k v");
        wait_for_offset(&mut writer, &mut reader);
        // The server may know the flags of a script only after its first run.
        assert_eq!(reader.call(&["EVAL", stale, "0"]).integer(), 1);
        for (queued, refusal) in queues {
            let mut client = replica.client();
            client.ok("MULTI");
            for command in queued {
                assert_eq!(client.call(command).text(), "QUEUED", "{kind:?}, {command:?}");
            }
            reader.ok("REPLICAOF 127.0.0.1 1");
            let reply = client.run("EXEC");
            match refusal {
                Some(error) => assert_eq!(reply.text(), error, "{kind:?}, {queued:?}"),
                None => assert_eq!(reply.elements().len(), queued.len(), "{kind:?}, {queued:?}: {reply:?}"),
            }
            follow(&mut reader, &primary);
        }
        assert_eq!(reader.run("GET k").text(), "v");
    }
}

#[test]
fn a_replica_reports_its_offsets_and_backlog_before_its_first_synchronization_as_redis_does() {
    let names = [
        "master_link_status",
        "slave_read_repl_offset",
        "slave_repl_offset",
        "master_repl_offset",
        "repl_backlog_active",
        "repl_backlog_first_byte_offset",
        "repl_backlog_histlen",
    ];
    // Nobody listens on that port.
    let nobody = free_port();
    let reported = |kind, is_started_as_one: bool| {
        let flags = if is_started_as_one { format!("--replicaof 127.0.0.1 {nobody}") } else { String::new() };
        let server = start(kind, &flags);
        let mut client = server.client();
        if !is_started_as_one {
            client.ok(&format!("REPLICAOF 127.0.0.1 {nobody}"));
        }
        names.map(|name| field(&mut client, name))
    };
    for (is_started_as_one, offset) in [(true, "1"), (false, "0")] {
        let ours = reported(Kind::Subject, is_started_as_one);
        assert_eq!(ours, ["down", offset, offset, "0", "0", "0", "0"]);
        assert_eq!(reported(Kind::Redis, is_started_as_one), ours);
    }
}
