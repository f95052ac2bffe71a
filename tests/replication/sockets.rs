//! The sockets of replication: their source addresses, and when they send small pieces.

#[cfg(target_os = "linux")]
use crate::support::socket_options;
use crate::support::{Client, Server};
use crate::{Kind, PAIRS, chain, field, follow, start, until, wait_for_equality};

#[test]
fn a_replica_and_a_migration_connect_from_the_configured_address() {
    for kind in [Kind::Subject, Kind::Redis] {
        // Redis counts 127.0.0.1 alone as this machine.
        let primary = start(kind, "--protected-mode no");
        let replica = start(Kind::Subject, "--bind-source-addr 127.0.0.2");
        let (mut writer, mut reader) = (primary.client(), replica.client());
        follow(&mut reader, &primary);
        until("the replica is known", || field(&mut writer, "slave0").starts_with("ip=127.0.0.2,"));
        assert!(writer.run("CLIENT LIST TYPE replica").text().contains(" addr=127.0.0.2:"), "{kind:?}");
        // The next connection uses what is configured then.
        reader.ok("CONFIG SET bind-source-addr 127.0.0.3");
        assert_eq!(reader.run("CLIENT KILL TYPE master").integer(), 1);
        until("it connects again", || field(&mut writer, "slave0").starts_with("ip=127.0.0.3,"));
        reader.ok("CONFIG SET bind-source-addr ''");
        assert_eq!(reader.run("CLIENT KILL TYPE master").integer(), 1);
        until("it connects again", || field(&mut writer, "slave0").starts_with("ip=127.0.0.1,"));
        reader.ok("CONFIG SET bind-source-addr 127.0.0.4");
        reader.ok("REPLICAOF NO ONE");
        reader.ok("SET k v");
        let target = start(Kind::Subject, "");
        reader.ok(&format!("MIGRATE 127.0.0.1 {} k 0 60000", target.port()));
        let clients = target.client().run("CLIENT LIST").text();
        assert!(clients.contains(" addr=127.0.0.4:"), "{clients}");
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_logged_and_not_used() {
    for (source, why) in [("192.0.2.1", "Cannot assign requested address"), ("::1", "it has no IPv4 address")]
    {
        let primary = start(Kind::Subject, "");
        let replica = start(Kind::Subject, &format!("--bind-source-addr {source}"));
        let mut reader = replica.client();
        follow(&mut reader, &primary);
        replica.wait_for_log(&format!(
            "Cannot bind to the source address {source} for a connection to 127.0.0.1:{}: {why}",
            primary.port()
        ));
        wait_for_equality(&mut primary.client(), &mut reader);
    }
}

/// Whether the server sends small pieces to its replica at once.
#[cfg(target_os = "linux")]
fn sends_at_once(server: &Server, client: &mut Client) -> bool {
    let list = client.run("CLIENT LIST TYPE replica").text();
    let number = list.split(' ').find_map(|word| word.strip_prefix("fd=")).expect("a replica");
    socket_options::has_no_delay(server.pid(), number.parse().expect("a descriptor"))
}

#[cfg(target_os = "linux")]
#[test]
fn small_pieces_of_the_stream_are_sent_at_once_unless_that_is_disabled() {
    for (primary_kind, replica_kind) in PAIRS {
        for (flags, at_once) in [("", true), ("--repl-disable-tcp-nodelay yes", false)] {
            let [(primary, mut writer), (_replica, mut reader)] =
                chain([(primary_kind, flags), (replica_kind, "")]);
            assert_eq!(sends_at_once(&primary, &mut writer), at_once, "{primary_kind:?}");
            if primary_kind == Kind::Redis {
                // It never changes an existing connection, nor one that continues.
                continue;
            }
            for (value, at_once) in [("yes", false), ("no", true), ("yes", false)] {
                writer.ok(&format!("CONFIG SET repl-disable-tcp-nodelay {value}"));
                assert_eq!(sends_at_once(&primary, &mut writer), at_once);
            }
            assert_eq!(reader.run("CLIENT KILL TYPE master").integer(), 1);
            until("it continues", || writer.info_number("sync_partial_ok") == 1);
            assert!(!sends_at_once(&primary, &mut writer), "a replica that continues");
        }
    }
}
