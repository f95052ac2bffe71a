//! AOF files are exchangeable: `redis-server` loads an AOF of this server, with a base of commands and increments after
//! it, to the same data set, and this server loads Redis's. `redis-check-aof` finds no error in ours.

mod support;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use support::random::{Random, seeds};
use support::{Client, Launch, Server, eventually};

/// The format that both servers read: files of commands, with timestamps.
const FLAGS: &str = "--appendonly yes --aof-use-rdb-preamble no --aof-timestamp-enabled yes --enable-debug-command yes \
                     --appendfilename log --set-max-intset-entries 20 --stream-node-max-entries 5";

/// Redis acknowledges a write before it is in the file when an fsync is late, and these tests kill it.
const DURABLE: &str = "--appendfsync always";

fn text(random: &mut Random) -> Vec<u8> {
    let len = random.below(60);
    match random.below(4) {
        0 => random.bytes(len),
        1 => vec![b'x'; 40_000 * random.below(2) + len],
        _ => random.below(100_000).to_string().into_bytes(),
    }
}

fn call(client: &mut Client, words: &[&[u8]]) {
    let reply = client.call(words);
    assert!(!reply.is_error(), "{words:?}: {reply:?}");
}

/// Creates keys of every type in several databases; some expire, long after the test has ended.
fn fill(client: &mut Client, random: &mut Random, keys: Range<usize>) {
    for n in keys {
        call(client, &[b"SELECT", random.pick(&["0", "1", "9"]).as_bytes()]);
        let key = [text(random), n.to_string().into_bytes()].concat();
        let most = *random.pick(&[3, 64, 65, 300]);
        let count = 1 + random.below(most);
        let verb = *random.pick(&["SET", "RPUSH", "SADD", "HSET", "ZADD", "XADD"]);
        if verb == "XADD" {
            // `state` reads this key as text.
            stream(client, random, format!("stream {n}").as_bytes(), count);
            continue;
        }
        let mut words = vec![verb.as_bytes().to_vec(), key.clone()];
        for element in 0..if verb == "SET" { 1 } else { count } {
            match verb {
                "HSET" => words.push(element.to_string().into_bytes()),
                "ZADD" => words.push((random.below(999) as f64 / 8.0 - 9.0).to_string().into_bytes()),
                _ => {}
            }
            words.push(text(random));
        }
        call(client, &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if random.chance(4) {
            call(client, &[b"PEXPIREAT", &key, b"99999999999999"]);
        }
    }
}

/// Creates a stream with deleted entries and groups: one group has pending entries, one has an idle consumer.
fn stream(client: &mut Client, random: &mut Random, key: &[u8], count: usize) {
    for n in 0..count {
        let id = format!("{}-{n}", n / 3 + 1);
        call(client, &[b"XADD", key, id.as_bytes(), b"field", &text(random)]);
    }
    call(client, &[b"XGROUP", b"CREATE", key, b"read", b"0"]);
    call(client, &[b"XREADGROUP", b"GROUP", b"read", b"ann", b"COUNT", b"3", b"STREAMS", key, b">"]);
    call(client, &[b"XGROUP", b"CREATE", key, b"new", b"$"]);
    call(client, &[b"XGROUP", b"CREATECONSUMER", key, b"new", b"idle"]);
    let last = format!("{}-{}", (count - 1) / 3 + 1, count - 1);
    if random.chance(2) && count > 3 {
        call(client, &[b"XDEL", key, last.as_bytes()]);
    }
}

/// The digest of the data set, and the fields of streams that the digest does not cover.
fn state(client: &mut Client) -> (String, Vec<String>) {
    let mut streams = Vec::new();
    for db in ["0", "1", "9"] {
        call(client, &[b"SELECT", db.as_bytes()]);
        let mut cursor = "0".to_string();
        loop {
            let page = client.call(&["SCAN", &cursor, "COUNT", "1000", "TYPE", "stream"]).elements();
            for key in page[1].elements() {
                streams.push(of_stream(client, &key.text()));
            }
            cursor = page[0].text();
            if cursor == "0" {
                break;
            }
        }
    }
    streams.sort();
    // SCAN may return a key twice while the table grows.
    streams.dedup();
    (client.run("DEBUG DIGEST").text(), streams)
}

fn of_stream(client: &mut Client, key: &str) -> String {
    let info = client.call(&["XINFO", "STREAM", key]);
    let figures = ["length", "last-generated-id", "max-deleted-entry-id", "entries-added", "groups"];
    let figures: Vec<String> = figures.iter().map(|field| format!("{:?}", info.field(field))).collect();
    // Without `entries-read`: an AOF of XCLAIM calls does not restore it, in Redis neither.
    let groups = client.call(&["XINFO", "GROUPS", key]).elements();
    let known = ["name", "consumers", "pending", "last-delivered-id"];
    let groups: Vec<_> = groups.iter().map(|group| known.map(|field| group.field(field))).collect();
    let pending = client.call(&["XPENDING", key, "read"]);
    format!("{key}: {figures:?} {groups:?} {pending:?}")
}

fn rewrite(client: &mut Client) {
    let rewrites = |client: &mut Client| client.info_number("aof_rewrites");
    let before = rewrites(client);
    assert!(!client.run("BGREWRITEAOF").is_error());
    client.wait_for_info("aof_rewrite_in_progress", |running| running == 0);
    client.wait_for_info("aof_rewrite_scheduled", |waiting| waiting == 0);
    eventually("a rewrite", || (rewrites(client) > before).then_some(()));
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

/// Fills a server, rewrites its AOF, writes more to it, and stops it. Returns the state of the data set and the launch
/// with its files.
fn logged(server: Server, random: &mut Random) -> ((String, Vec<String>), Launch) {
    let mut client = server.client();
    fill(&mut client, random, 0..60);
    rewrite(&mut client);
    fill(&mut client, random, 60..80);
    let state = state(&mut client);
    let mut server = server;
    let _ = client.try_call(&["SHUTDOWN"]);
    assert!(server.wait_exit().success(), "{}", server.log());
    (state, server.stop())
}

fn copy_log(from: &Path, to: &Path) {
    let (from, to) = (from.join("appendonlydir"), to.join("appendonlydir"));
    fs::create_dir_all(&to).expect("a directory");
    for file in fs::read_dir(from).expect("the log") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

fn assert_same_there(from: &Launch, to: Launch, wanted: &(String, Vec<String>)) {
    copy_log(from.directory(), to.directory());
    let server = to.start();
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    let found = state(&mut client);
    for (one, other) in wanted.1.iter().zip(&found.1) {
        assert_eq!(one, other);
    }
    assert_eq!(&found, wanted);
}

#[test]
fn a_log_of_ours_is_the_same_data_set_to_redis_and_to_us() {
    for seed in seeds(&[1, 2]) {
        let (wanted, stopped) = logged(Launch::subject().flags(FLAGS).start(), &mut Random::new(seed));
        let log = stopped.directory().join("appendonlydir");
        let base = fs::read(log.join("log.2.base.aof")).expect("a base of commands");
        assert!(base.starts_with(b"#TS:"));
        let manifest = log.join("log.manifest");
        let output = Command::new("redis-check-aof").arg(manifest).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_same_there(&stopped, Launch::redis().flags(FLAGS), &wanted);
        assert_same_there(&stopped, Launch::subject().flags(FLAGS), &wanted);
    }
}

#[test]
fn functions_in_a_log_of_redis_are_functions_here_and_go_back() {
    let library = |name: &str, value: u8| {
        format!("#!lua name={name}\nredis.register_function('{name}', function() return {value} end)")
            .into_bytes()
    };
    let load = |client: &mut Client, name: &str, value: u8| {
        call(client, &[b"FUNCTION", b"LOAD", b"REPLACE", &library(name, value)]);
    };
    let server = Launch::redis().flags(FLAGS).flags(DURABLE).start();
    let mut client = server.client();
    load(&mut client, "base", 1);
    load(&mut client, "changed", 2);
    rewrite(&mut client);
    load(&mut client, "later", 3);
    load(&mut client, "changed", 4);
    load(&mut client, "gone", 5);
    call(&mut client, &[b"FUNCTION", b"DELETE", b"gone"]);
    let there = server.stop();
    for preamble in ["no", "yes"] {
        let here = Launch::subject()
            .flags(FLAGS)
            .flags(&format!("--aof-use-rdb-preamble {preamble} --rdb-write-version 10"));
        copy_log(there.directory(), here.directory());
        let server = here.start();
        rewrite(&mut server.client());
        // Reads the written file back.
        let here = server.stop();
        let server = here.start();
        let mut client = server.client();
        client.wait_for_info("loading", |loading| loading == 0);
        let values =
            ["base", "changed", "later"].map(|name| client.run(&format!("FCALL {name} 0")).integer());
        assert_eq!(values, [1, 4, 3], "preamble {preamble}");
        rewrite(&mut client);
        let here = server.stop();
        let back = Launch::redis().flags(FLAGS);
        copy_log(here.directory(), back.directory());
        let server = back.start();
        let mut client = server.client();
        client.wait_for_info("loading", |loading| loading == 0);
        let values =
            ["base", "changed", "later"].map(|name| client.run(&format!("FCALL {name} 0")).integer());
        assert_eq!(values, [1, 4, 3], "preamble {preamble}");
        assert_eq!(client.run("FUNCTION LIST").elements().len(), 3);
    }
}

#[test]
fn a_log_of_redis_is_the_same_data_set_here() {
    for seed in seeds(&[3, 4]) {
        let (wanted, stopped) =
            logged(Launch::redis().flags(FLAGS).flags(DURABLE).start(), &mut Random::new(seed));
        assert_same_there(&stopped, Launch::subject().flags(FLAGS), &wanted);
    }
}

#[test]
fn a_transaction_whose_end_was_never_written_leaves_nothing_and_what_comes_later_stays() {
    let server = Launch::subject().flags(FLAGS).start();
    server.client().ok("SET before 1");
    let mut launch = server.stop();
    let log = launch.directory().join("appendonlydir/log.1.incr.aof");
    let mut bytes = fs::read(&log).expect("the log");
    bytes.extend(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\n1\r\n");
    bytes.extend([0; 5000]);
    fs::write(&log, bytes).expect("written");
    for round in 0..2 {
        let server = launch.start();
        let mut client = server.client();
        client.wait_for_info("loading", |loading| loading == 0);
        assert_eq!(client.run("DBSIZE").integer(), 1 + round);
        client.ok("SET later 1");
        launch = server.stop();
    }
}
