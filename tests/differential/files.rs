//! Files move from one server to the other: after random commands of all families, either server loads the files of the
//! other to the same data set: a snapshot, an AOF of commands, an AOF with a base of either kind.

use crate::pair::{Pace, Pair};
use crate::random::{FAMILIES, Mix, state};
use crate::reload::{FORMAT_11, Form, copy, rewrite};
use crate::support::random::seeds;
use crate::support::server::subject_is_redis;
use crate::support::{Client, Launch, Server, Version};

const FLAGS: &str = "--hz 500 --enable-debug-command yes --appendonly yes";

/// The kind of files that the other server loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Snapshot,
    Log,
    RewrittenLog,
    RewrittenCommands,
}

const ALL: [Files; 4] = [Files::Log, Files::Snapshot, Files::RewrittenLog, Files::RewrittenCommands];

/// No key may expire before the comparison. And no AOF contains consumers that have read nothing, so these are removed.
fn settle(client: &mut Client) {
    for db in ["0", "1"] {
        client.ok(&format!("SELECT {db}"));
        for key in client.run("KEYS *").elements() {
            let crate::support::Value::Bulk(key) = key else { panic!("{key:?}") };
            let left = client.call(&[b"PTTL", &key[..]]).integer();
            if (0..3_600_000).contains(&left) {
                client.call(&[b"PERSIST", &key[..]]);
            }
            if client.call(&[b"TYPE", &key[..]]).text() == "stream" {
                remove_idle_consumers(client, &key);
            }
        }
    }
}

fn remove_idle_consumers(client: &mut Client, key: &[u8]) {
    for group in client.call(&[&b"XINFO"[..], b"GROUPS", key]).elements() {
        let group = group.field("name").text();
        for consumer in client.call(&[&b"XINFO"[..], b"CONSUMERS", key, group.as_bytes()]).elements() {
            if consumer.field("pending").integer() == 0 {
                let name = consumer.field("name").text();
                client.call(&[&b"XGROUP"[..], b"DELCONSUMER", key, group.as_bytes(), name.as_bytes()]);
            }
        }
    }
}

/// A server that has loaded the files of `writer`.
fn take(writer: &Server, files: Files, reader: Launch) -> Server {
    let mut client = writer.client();
    let (name, appendonly) = match files {
        Files::Snapshot => ("dump.rdb", "no"),
        _ => ("appendonlydir", "yes"),
    };
    match files {
        Files::Snapshot => client.ok("SAVE"),
        Files::Log => {}
        Files::RewrittenLog => rewrite(&mut client, Form::Snapshot),
        Files::RewrittenCommands => rewrite(&mut client, Form::Commands),
    }
    copy(&writer.directory().join(name), &reader.directory().join(name));
    let server = reader.flags(FLAGS).flags(&format!("--appendonly {appendonly}")).start();
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    server
}

#[test]
fn files_of_random_data_are_the_same_data_set_to_the_other_server() {
    let redis = Launch::redis().flags(FLAGS).start();
    let is_old = Version::of(&mut redis.client()) < FORMAT_11 && !subject_is_redis();
    let form = if is_old { "--rdb-write-version 10" } else { "" };
    let subject = Launch::subject().flags(FLAGS).flags(form).start();
    let mut pair = Pair::of(subject, redis);
    for server in [&pair.subject, &pair.redis] {
        server.client().ok("DEBUG SET-ACTIVE-EXPIRE 0");
    }
    let mix = Mix::of(&pair, FAMILIES).expect("commands");
    for seed in seeds(&[2, 4, 6]) {
        let steps = mix.sequence(seed, 2000);
        // Other tests compare the replies.
        pair.each(2, &steps, Pace::Piped, |_| true);
        for server in [&pair.subject, &pair.redis] {
            settle(&mut server.client());
        }
        for files in ALL {
            for from_redis in [false, true] {
                let whose = if from_redis { "of Redis" } else { "of ours" };
                let origin = format!("REDSTART_SEED={seed}, {files:?} {whose}");
                let writer = if from_redis { &pair.redis } else { &pair.subject };
                let read =
                    Pair::of(take(writer, files, Launch::subject()), take(writer, files, Launch::redis()));
                state::check(&read, &format!("{origin}, in both"));
                pair = compare(pair, read, from_redis, &origin);
            }
        }
    }
}

/// Compares the data of a writer of `written` with the data that the other server has `read`. Returns `written`.
fn compare(written: Pair, read: Pair, from_redis: bool, origin: &str) -> Pair {
    let mixed = |subject, redis| {
        let mixed = Pair::of(subject, redis);
        state::check_contents(&mixed, &format!("{origin}, in the other"));
        (mixed.subject, mixed.redis)
    };
    if from_redis {
        let (_, redis) = mixed(read.subject, written.redis);
        Pair::of(written.subject, redis)
    } else {
        let (subject, _) = mixed(written.subject, read.redis);
        Pair::of(subject, written.redis)
    }
}
