//! Outgoing connections with TLS: replication, the cluster bus, `MIGRATE`.

use crate::support::server::{Directory, free_port};
use crate::support::{Client, Launch, Server, Value, eventually};
use crate::{Encrypted, certificates, connector, directives};

/// Writes 200 keys.
fn fill(client: &mut Client, prefix: &str) {
    for index in 0..200 {
        assert_eq!(client.call(&["SET", &format!("{prefix}:{index}"), &"x".repeat(5000)]).text(), "OK");
    }
}

fn wait_for_size(client: &mut Client, size: i64) {
    // A replica that is loading replies with an error.
    eventually("the keys of the primary", || (client.run("DBSIZE") == Value::Integer(size)).then_some(()));
}

#[test]
fn a_replica_follows_its_primary_with_tls() {
    for flags in ["", "--repl-diskless-load swapdb", "--repl-diskless-sync no"] {
        let primary = Encrypted::start("--repl-diskless-sync-delay 0");
        let mut writer = primary.client();
        fill(&mut writer, "before");
        let port = free_port();
        let own = format!("--tls-port {port} {}", directives(primary.files.path()));
        let replicaof = format!("--replicaof 127.0.0.1 {} --tls-replication yes", primary.port);
        let replica = Launch::subject().flags(&format!("{own} {replicaof} {flags}")).start();
        let mut reader = replica.client();
        wait_for_size(&mut reader, 200);
        fill(&mut writer, "after");
        wait_for_size(&mut reader, 400);
        let found = writer.info("slave0");
        assert!(found.contains(&format!("port={port},state=online")), "{found}");
        // After the link is lost, replication continues without a snapshot.
        writer.run("CLIENT KILL TYPE replica");
        assert_eq!(writer.call(&["SET", "last", "1"]).text(), "OK");
        eventually("the write after the link was lost", || {
            (reader.run("GET last") == Value::Bulk(b"1".to_vec())).then_some(())
        });
        assert_eq!(writer.info_number("sync_full"), 1);
    }
}

#[test]
fn a_replica_does_not_follow_a_primary_that_it_cannot_trust() {
    let primary = Encrypted::start("--repl-diskless-sync-delay 0");
    let files = Directory::new();
    certificates::write_all(files.path());
    let own = directives(files.path());
    let replica = Launch::subject()
        .flags(&format!(
            "{own} --replicaof 127.0.0.1 {} --tls-replication yes --repl-timeout 2",
            primary.port
        ))
        .start();
    replica.wait_for_log("Error condition on socket for SYNC: invalid peer certificate");
    // A port without TLS does not reply either: it takes the handshake for an incomplete request.
    let mut client = replica.client();
    client.ok(&format!("REPLICAOF 127.0.0.1 {}", primary.server.port()));
    assert!(client.info("master_link_status") == "down");
    client.ok("CONFIG SET tls-replication no");
    eventually("a link without TLS", || (client.info("master_link_status") == "up").then_some(()));
}

#[test]
fn an_expired_certificate_is_refused_by_a_replica_and_by_a_primary_whose_logs_say_so() {
    let expired_primary = {
        let files = Directory::new();
        certificates::write_all(files.path());
        let flags = format!("{} --repl-diskless-sync-delay 0", identity(&files, "", "expired"));
        Encrypted::start_with(files, &flags)
    };
    let follow = |primary: &Encrypted, flags: &str| {
        let own = directives(primary.files.path());
        let replicaof = format!("--replicaof 127.0.0.1 {} --tls-replication yes", primary.port);
        Launch::subject().flags(&format!("{own} {replicaof} {flags}")).start()
    };
    let replica = follow(&expired_primary, "");
    replica.wait_for_log("Error condition on socket for SYNC: invalid peer certificate: it has expired");
    let refused =
        "Error accepting a client connection: the peer has sent the alert 'certificate expired' (addr=127";
    expired_primary.server.wait_for_log(refused);
    let primary = Encrypted::start("");
    let replica = follow(&primary, &identity(&primary.files, "client-", "expired"));
    primary.server.wait_for_log(
        "Error accepting a client connection: invalid peer certificate: it has expired (addr=127.0.0.1:",
    );
    replica.wait_for_log("the peer has sent the alert 'certificate expired'");
    assert_eq!(replica.client().info("master_link_status"), "down");
}

/// Directives for another certificate than that of [`directives`].
fn identity(files: &Directory, kind: &str, name: &str) -> String {
    let path = |ending: &str| files.join(&format!("{name}.{ending}")).display().to_string();
    format!("--tls-{kind}cert-file {} --tls-{kind}key-file {}", path("crt"), path("key"))
}

#[test]
fn redis_and_redstart_replicate_to_each_other_with_tls() {
    for (primary, replica) in [(Launch::subject(), Launch::redis()), (Launch::redis(), Launch::subject())] {
        let files = Directory::new();
        certificates::write_all(files.path());
        let flags = |port| format!("--tls-port {port} --tls-replication yes {}", directives(files.path()));
        let (port, own) = (free_port(), free_port());
        let primary = primary.flags(&format!("{} --repl-diskless-sync-delay 0", flags(port))).start();
        let mut writer = primary.client();
        fill(&mut writer, "before");
        let replica = replica.flags(&format!("{} --replicaof 127.0.0.1 {port}", flags(own))).start();
        let mut reader = replica.client();
        wait_for_size(&mut reader, 200);
        fill(&mut writer, "after");
        wait_for_size(&mut reader, 400);
        let found = writer.info("slave0");
        assert!(found.contains(&format!("port={own},state=online")), "{found}");
        assert_eq!(reader.run("GET after:7"), writer.run("GET after:7"));
    }
}

#[test]
fn sentinel_replaces_a_primary_with_tls_by_its_replica() {
    const NAME: &str = "mymaster";
    let files = Directory::new();
    certificates::write_all(files.path());
    let tls = |port| format!("--tls-port {port} --tls-replication yes {}", directives(files.path()));
    let (port, other) = (free_port(), free_port());
    let primary = Launch::subject()
        .config("# The first.\n")
        .flags(&format!("{} --repl-diskless-sync-delay 0", tls(port)))
        .start();
    let replica = Launch::subject()
        .config("# The second.\n")
        .flags(&format!("{} --replicaof 127.0.0.1 {port}", tls(other)))
        .start();
    primary.client().ok("SET before safe");
    eventually("a replica with its tls-port", || {
        let info = primary.client().run("INFO replication").text();
        info.contains(&format!("port={other},state=online")).then_some(())
    });
    let config = format!(
        "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 5000\n"
    );
    let sentinel = Launch::redis().config(&config).flags(&format!("--sentinel {}", tls(free_port()))).start();
    let state = |field: &str| sentinel.client().run(&format!("SENTINEL MASTER {NAME}")).field(field).text();
    eventually("the replica is known", || {
        (state("num-slaves") == "1" && state("flags") == "master").then_some(())
    });
    let launch = primary.stop();
    let encrypted = connector(files.path(), Some("client"));
    // Sentinel closes the connections of a server's clients when it changes the server's role.
    let mut client = eventually("the replica is promoted", || {
        let is_agreed = state("port") == other.to_string() && state("flags") == "master";
        let mut client = Client::encrypted(other, &encrypted).ok().filter(|_| is_agreed)?;
        client.try_call(&["ROLE"]).ok()?.value.elements()[0].text().eq("master").then_some(client)
    });
    assert_eq!(client.run("GET before").text(), "safe");
    client.ok("SET after safe");
    let returned = launch.start();
    eventually("the old primary follows", || {
        let info = returned.try_client()?.try_call(&["INFO", "replication"]).ok()?.value.text();
        let is_linked = info.contains("role:slave\r") && info.contains("master_link_status:up\r");
        (is_linked && info.contains(&format!("master_port:{other}\r"))).then_some(())
    });
    eventually("the write to the promoted replica", || {
        let reply = returned.try_client()?.try_call(&["GET", "after"]).ok()?;
        (reply.value == Value::Bulk(b"safe".to_vec())).then_some(())
    });
    assert!(replica.client().info("slave0").contains(&format!("port={port},state=online")));
}

/// Starts nodes whose cluster bus uses TLS. The first node has all slots.
fn cluster(files: &Directory, launches: Vec<Launch>) -> Vec<(Server, u16)> {
    let nodes: Vec<(Server, u16)> = launches
        .into_iter()
        .map(|launch| {
            let (port, bus) = (free_port(), free_port());
            let flags = format!(
                "--cluster-enabled yes --tls-cluster yes --tls-replication yes --tls-port {port} --cluster-port {bus} {}",
                directives(files.path())
            );
            (launch.flags(&flags).start(), port)
        })
        .collect();
    nodes[0].0.client().ok("CLUSTER ADDSLOTSRANGE 0 16383");
    nodes
}

/// Makes the first node meet the others.
fn meet(nodes: &[(Server, u16)]) {
    let mut first = nodes[0].0.client();
    for (server, port) in &nodes[1..] {
        let bus = server.client().run("CONFIG GET cluster-port").elements()[1].text();
        first.ok(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
    }
    for (server, _) in nodes {
        let mut client = server.client();
        eventually("a cluster of all nodes", || {
            let info = client.run("CLUSTER INFO").text();
            let known = format!("cluster_known_nodes:{}\r", nodes.len());
            (info.contains("cluster_state:ok") && info.contains(&known)).then_some(())
        });
    }
}

#[test]
fn cluster_nodes_communicate_redirect_migrate_and_replicate_with_tls() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let nodes = cluster(&files, vec![Launch::subject(), Launch::subject(), Launch::subject()]);
    meet(&nodes);
    let encrypted = connector(files.path(), Some("client"));
    let mut first = Client::encrypted(nodes[0].1, &encrypted).unwrap();
    let mut second = Client::encrypted(nodes[1].1, &encrypted).unwrap();
    // A client with TLS is redirected to the TLS port, a client without TLS to the plain port.
    let moved = second.run("GET key").text();
    assert_eq!(moved, format!("MOVED 12539 127.0.0.1:{}", nodes[0].1));
    let moved = nodes[1].0.client().run("GET key").text();
    assert_eq!(moved, format!("MOVED 12539 127.0.0.1:{}", nodes[0].0.port()));
    let shards = format!("{:?}", first.run("CLUSTER SHARDS"));
    assert!(shards.contains("tls-port"), "{shards}");
    let shown = second.run("CLUSTER NODES").text();
    assert!(shown.contains(&format!("127.0.0.1:{}@", nodes[0].1)), "{shown}");
    let shown = nodes[1].0.client().run("CLUSTER NODES").text();
    assert!(shown.contains(&format!("127.0.0.1:{}@", nodes[0].0.port())), "{shown}");
    // A slot moves with its keys, by MIGRATE over TLS.
    let value = "v".repeat(3_000_000);
    assert_eq!(first.call(&["SET", "key", &value]).text(), "OK");
    let id = second.run("CLUSTER MYID").text();
    let first_id = first.run("CLUSTER MYID").text();
    second.ok(&format!("CLUSTER SETSLOT 12539 IMPORTING {first_id}"));
    first.ok(&format!("CLUSTER SETSLOT 12539 MIGRATING {id}"));
    for _ in 0..2 {
        // The second call uses the cached connection.
        first.ok(&format!("MIGRATE 127.0.0.1 {} key 0 100000 REPLACE COPY", nodes[1].1));
    }
    first.ok(&format!("MIGRATE 127.0.0.1 {} key 0 100000 REPLACE", nodes[1].1));
    second.ok(&format!("CLUSTER SETSLOT 12539 NODE {id}"));
    first.ok(&format!("CLUSTER SETSLOT 12539 NODE {id}"));
    assert!(second.run("GET key").text() == value);
    // The third becomes a replica of the second.
    let mut third = Client::encrypted(nodes[2].1, &encrypted).unwrap();
    eventually("the replica knows its primary", || {
        (third.run(&format!("CLUSTER REPLICATE {id}")).text() == "OK").then_some(())
    });
    eventually("a link to the primary", || (third.info("master_link_status") == "up").then_some(()));
    assert_eq!(third.info("master_port"), nodes[1].1.to_string());
    third.ok("READONLY");
    assert!(third.run("GET key").text() == value);
}

#[test]
fn redis_and_redstart_form_a_cluster_with_tls() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let nodes = cluster(&files, vec![Launch::subject(), Launch::redis(), Launch::subject()]);
    meet(&nodes);
    let encrypted = connector(files.path(), Some("client"));
    let clients = nodes.iter().map(|node| Client::encrypted(node.1, &encrypted).unwrap());
    let mut clients: Vec<Client> = clients.collect();
    let id = clients[0].run("CLUSTER MYID").text();
    assert_eq!(clients[0].call(&["SET", "key", &"v".repeat(100_000)]).text(), "OK");
    for (index, client) in clients[1..].iter_mut().enumerate() {
        // Redirections and CLUSTER NODES show the TLS port to a client with TLS.
        let moved = client.run("GET key").text();
        assert_eq!(moved, format!("MOVED 12539 127.0.0.1:{}", nodes[0].1), "{index}");
        let shown = client.run("CLUSTER NODES").text();
        assert!(shown.contains(&format!("127.0.0.1:{}@", nodes[0].1)), "{shown}");
        eventually("the replica knows its primary", || {
            (client.run(&format!("CLUSTER REPLICATE {id}")).text() == "OK").then_some(())
        });
        eventually("a link to the primary", || (client.info("master_link_status") == "up").then_some(()));
        client.ok("READONLY");
        assert_eq!(client.run("STRLEN key").integer(), 100_000);
    }
    // The Redis replica takes over.
    eventually("the failover", || {
        let _ = clients[1].run("CLUSTER FAILOVER");
        (clients[1].info("role") == "master").then_some(())
    });
    eventually("the old primary follows", || {
        (clients[0].info("role") == "slave" && clients[0].info("master_link_status") == "up").then_some(())
    });
    assert_eq!(clients[0].info("master_port"), nodes[1].1.to_string());
    assert_eq!(clients[1].call(&["SET", "key", "new"]).text(), "OK");
    clients[2].ok("READONLY");
    eventually("the write on the other replica", || {
        (clients[2].run("GET key") == Value::Bulk(b"new".to_vec())).then_some(())
    });
}

#[test]
fn an_expired_certificate_is_refused_on_the_cluster_bus_and_logged_once_per_interval() {
    let started = std::time::Instant::now();
    let files = Directory::new();
    certificates::write_all(files.path());
    let expired = format!("--loglevel verbose {}", identity(&files, "client-", "expired"));
    let launches = vec![Launch::subject().flags("--loglevel verbose"), Launch::subject().flags(&expired)];
    let nodes = cluster(&files, launches);
    let bus = nodes[1].0.client().run("CONFIG GET cluster-port").elements()[1].text();
    nodes[0].0.client().ok(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", nodes[1].1));
    // The second node knows the first one from its MEET, and cannot connect to it.
    let refused =
        "Error accepting cluster node connection: invalid peer certificate: it has expired (addr=127.0.0.1:";
    nodes[0].0.wait_for_log(refused);
    let alert = " failed: the peer has sent the alert 'certificate expired'";
    nodes[1].0.wait_for_log(alert);
    assert!(nodes[1].0.log().contains("Connection with Node "));
    let count = |log: &str, text: &str| log.matches(text).count();
    eventually("twenty attempts", || {
        (count(&nodes[0].0.log(), "Accepting cluster node connection from") >= 20).then_some(())
    });
    for (node, text) in [(&nodes[0].0, refused), (&nodes[1].0, alert)] {
        let lines = count(&node.log(), text);
        assert!(lines as u64 <= 1 + started.elapsed().as_secs() / 10, "{}", node.log());
    }
    assert_eq!(nodes[0].0.client().run("PING").text(), "PONG");
}

#[test]
fn a_peer_without_a_trusted_certificate_cannot_use_the_cluster_bus() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let nodes = cluster(&files, vec![Launch::subject(), Launch::subject()]);
    meet(&nodes);
    let bus: u16 = nodes[0].0.client().run("CONFIG GET cluster-port").elements()[1].text().parse().unwrap();
    for name in [None, Some("stranger")] {
        let refused = Client::encrypted(bus, &connector(files.path(), name)).and_then(|mut peer| {
            peer.send_raw(b"RCmb")?;
            peer.read_raw(1)
        });
        assert!(refused.is_err());
    }
    let mut plain = Client::tcp(bus).unwrap();
    plain.send_raw(b"RCmb").unwrap();
    plain.wait_closed();
    // A peer that stalls in its handshake after the first byte of a record is disconnected.
    let mut stalled = Client::tcp(bus).unwrap();
    stalled.send_raw(&[22]).unwrap();
    stalled.wait_closed();
    assert!(nodes[0].0.client().run("CLUSTER INFO").text().contains("cluster_state:ok"));
}
