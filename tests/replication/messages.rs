//! Pub/sub messages: subscribers of a replica receive those of the primary, and no AOF contains them.

use crate::support::{Client, Launch, Server, Value};
use crate::{Kind, PAIRS, chain, wait_for_offset, wait_for_rewrite};

fn subscribed(server: &Server) -> Client {
    let mut client = server.client();
    client.run("SUBSCRIBE channel");
    client.run("SSUBSCRIBE shard");
    client
}

fn received(client: &mut Client) -> Vec<String> {
    client.read_reply().expect("a message").value.elements().iter().map(Value::text).collect()
}

/// Publishes directly, in a transaction that changes data, and from a script.
fn publish_in_every_way(primary: &mut Client) {
    primary.run("PUBLISH channel alone");
    primary.run("SPUBLISH shard alone");
    primary.ok("MULTI");
    primary.run("PUBLISH channel multi");
    primary.run("INCR counter");
    primary.run("EXEC");
    primary.run("EVAL redis.call('PUBLISH','channel','script')redis.call('INCR','counter') 0");
}

#[test]
fn subscribers_of_a_replica_receive_the_messages_of_the_primary_once_and_in_order() {
    for (primary, replica) in PAIRS {
        let [(_primary, mut to_primary), (replica, mut to_replica), (last, mut to_last)] =
            chain([(primary, ""), (replica, ""), (Kind::Subject, "")]);
        let mut subscribers = [subscribed(&replica), subscribed(&last)];
        publish_in_every_way(&mut to_primary);
        // A message published by a client of the replica stays there.
        wait_for_offset(&mut to_primary, &mut to_replica);
        wait_for_offset(&mut to_replica, &mut to_last);
        to_replica.run("PUBLISH channel local");
        to_last.run("PUBLISH channel last");
        for (subscriber, own) in subscribers.iter_mut().zip(["local", "last"]) {
            for (kind, channel, text) in [
                ("message", "channel", "alone"),
                ("smessage", "shard", "alone"),
                ("message", "channel", "multi"),
                ("message", "channel", "script"),
                ("message", "channel", own),
            ] {
                assert_eq!(received(subscriber), [kind, channel, text], "{primary:?}");
            }
        }
        assert_eq!(to_last.run("GET counter").text(), "2");
    }
}

#[test]
fn no_log_has_a_message_except_within_a_transaction_of_the_primary() {
    let flags = "--appendonly yes --appendfsync always --aof-use-rdb-preamble no";
    let [(primary, mut to_primary), (replica, mut to_replica)] =
        chain([(Kind::Subject, flags), (Kind::Subject, flags)]);
    wait_for_rewrite(&mut to_replica);
    to_primary.ok("SELECT 3");
    publish_in_every_way(&mut to_primary);
    to_primary.ok("SET end 1");
    wait_for_offset(&mut to_primary, &mut to_replica);
    let logs = [primary, replica].map(|server| {
        let launch: Launch = server.stop();
        let files = std::fs::read_dir(launch.directory().join("appendonlydir")).expect("the log's directory");
        let log: Vec<u8> =
            files.flatten().flat_map(|file| std::fs::read(file.path()).expect("a file of the AOF")).collect();
        let server = launch.start();
        let mut again = server.client();
        again.ok("SELECT 3");
        assert_eq!((again.run("GET end").text(), again.run("GET counter").text()), ("1".into(), "2".into()));
        String::from_utf8_lossy(&log).into_owned()
    });
    assert!(logs.iter().all(|log| log.contains("counter")));
    assert!(!logs[0].contains("PUBLISH"), "{}", logs[0]);
    assert!(!logs[1].contains("alone"), "{}", logs[1]);
}
