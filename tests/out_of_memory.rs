//! A system that refuses memory: the server exits with one line that names the size of the allocation, and no
//! acknowledged write is lost. A single request for a large string gets an error instead.

#![cfg(target_os = "linux")]

mod support;

use std::os::unix::process::ExitStatusExt;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use support::client::encode;
use support::{Client, Launch, Server, Value};

/// The address space in mebibytes, most of which is available to the data.
const LIMIT: u64 = 128;

/// A server with little memory and an AOF; `None` if the tests themselves run under a lower limit.
fn limited() -> Option<Server> {
    let own = getrlimit(Resource::RLIMIT_AS).expect("getrlimit").0;
    let launch = Launch::subject().flags("--appendonly yes");
    (own >= LIMIT << 20).then(|| launch.address_space(Some(LIMIT)).start())
}

/// Sends pipelines of requests until the server has exited. Returns the number of acknowledged requests.
fn fill(client: &mut Client, pipeline: usize, request: impl Fn(usize) -> Vec<Vec<u8>>) -> usize {
    let mut acknowledged = 0;
    loop {
        let requests: Vec<u8> =
            (acknowledged..acknowledged + pipeline).flat_map(|n| encode(&request(n))).collect();
        // Replies that the server sent before it exited are still read.
        let sent = client.send_raw(&requests);
        for _ in 0..pipeline {
            match client.read_reply() {
                Ok(reply) => assert!(!reply.value.is_error(), "{:?}", reply.value),
                Err(_) => return acknowledged,
            }
            acknowledged += 1;
        }
        if sent.is_err() {
            return acknowledged;
        }
    }
}

/// Checks that the server ran out of memory and exited as it should, and starts another one with enough memory.
fn again(mut server: Server) -> Server {
    let status = server.wait_exit();
    let log = server.log();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("Out Of Memory")).collect();
    let [line] = lines[..] else { panic!("{} lines in {log}", lines.len()) };
    let (_, figures) = line.split_once(" # Out Of Memory allocating ").expect("the line of a warning");
    let words: Vec<&str> = figures.split(' ').collect();
    assert_eq!((words[1], &words[3..]), ("bytes!", &["bytes", "are", "in", "use."][..]), "{line}");
    let number = |i: usize| words[i].parse::<u64>().expect("a number");
    assert!(number(0) > 0 && number(0) < LIMIT << 20, "{line}");
    assert!(number(2) > 10 << 20 && number(2) < LIMIT << 20, "{line}");
    assert!(log.contains("=== REDSTART BUG REPORT END"), "{log}");
    let server = server.stop().address_space(None).start();
    server.client().wait_for_info("loading", |loading| loading == 0);
    server
}

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn a_server_that_many_keys_have_filled_comes_back_with_all_of_them() {
    for (len, pipeline) in [(3_000_000, 1), (2000, 100)] {
        let Some(server) = limited() else { return };
        let mut client = server.client();
        let set = |n: usize| vec![word("SET"), word(&format!("key:{n}")), vec![b'v'; len]];
        let acknowledged = fill(&mut client, pipeline, set);
        assert!(acknowledged * len > 20 << 20, "{acknowledged} values of {len} bytes");
        let server = again(server);
        let mut client = server.client();
        let keys = client.run("DBSIZE").integer() as usize;
        assert!((acknowledged..=acknowledged + pipeline).contains(&keys), "{keys} of {acknowledged}");
        for n in (0..acknowledged).step_by(97).chain([acknowledged - 1]) {
            assert_eq!(client.run(&format!("STRLEN key:{n}")), Value::Integer(len as i64), "{n}");
        }
    }
}

#[test]
fn a_server_that_one_collection_has_filled_comes_back_with_all_of_it() {
    for (command, count, of) in [("HSET", "HLEN", 2), ("ZADD", "ZCARD", 2), ("RPUSH", "LLEN", 1)] {
        let Some(server) = limited() else { return };
        let mut client = server.client();
        // Each request adds many small elements: tables grow by doubling, and a single allocation may be half of the
        // memory.
        let add = |n: usize| {
            let mut words = vec![word(command), word("big")];
            for i in n * 500..(n + 1) * 500 {
                words.extend((0..of - 1).map(|_| word(&i.to_string())));
                words.push(word(&format!("{i:-<100}")));
            }
            words
        };
        let acknowledged = fill(&mut client, 4, add) * 500;
        assert!(acknowledged > 50_000, "{command}: {acknowledged}");
        let server = again(server);
        let len = server.client().run(&format!("{count} big")).integer() as usize;
        assert!((acknowledged..=acknowledged + 2000).contains(&len), "{command}: {len} of {acknowledged}");
    }
}

#[test]
fn a_server_that_one_string_has_filled_comes_back_with_all_of_it() {
    const PART: usize = 1 << 20;
    let Some(server) = limited() else { return };
    let mut client = server.client();
    let acknowledged = fill(&mut client, 1, |_| vec![word("APPEND"), word("big"), vec![b'v'; PART]]);
    assert!(acknowledged > 20, "{acknowledged}");
    let server = again(server);
    let len = server.client().run("STRLEN big").integer() as usize;
    assert!((acknowledged..=acknowledged + 1).any(|parts| parts * PART == len), "{len} of {acknowledged}");
}

#[test]
fn a_script_that_takes_all_memory_changes_nothing_and_what_was_before_it_stays() {
    let Some(server) = limited() else { return };
    let mut client = server.client();
    client.ok("SET before it");
    let script =
        "redis.call('SET', 'in', 'it') local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e5) .. i end";
    client.send(&["EVAL", script, "0"]).expect("send");
    client.wait_closed();
    let server = again(server);
    let mut client = server.client();
    assert_eq!(client.run("GET before").text(), "it");
    assert_eq!(client.run("DBSIZE"), Value::Integer(1));
}

#[test]
fn a_request_for_a_large_string_gets_an_error_where_there_is_no_memory_for_it() {
    let Some(server) = limited() else { return };
    let mut client = server.client();
    client.ok("SET there v");
    let refused = Value::Error(b"OOM the system refuses the memory for a string of this length".to_vec());
    for key in ["there", "missing"] {
        for request in
            ["SETRANGE {} 536870911 x", "SETBIT {} 4294967295 1", "BITFIELD {} SET u8 4294967288 1"]
        {
            assert_eq!(client.run(&request.replace("{}", key)), refused, "{request}");
        }
    }
    let script = "return redis.pcall('SETRANGE', 'there', '536870911', 'x')";
    assert_eq!(client.call(&["EVAL", script, "0"]), refused);
    assert_eq!(client.run("GET there").text(), "v");
    assert_eq!(client.run("DBSIZE"), Value::Integer(1));
    // A table of more than a gigabyte.
    client.ok("CONFIG SET proto-max-bulk-len 1000000000000");
    for key in ["a", "b"] {
        client.call(&[&b"SET"[..], key.as_bytes(), &vec![b'x'; 100_000]]);
    }
    let reply = client.run("LCS a b");
    assert!(reply.is_error() && reply.text().contains("failed allocating"), "{reply:?}");
    // An allocation that fits succeeds.
    assert_eq!(client.run("SETRANGE there 20000000 x"), Value::Integer(20_000_001));
    let server = server.stop().address_space(None).start();
    assert_eq!(server.client().run("STRLEN there"), Value::Integer(20_000_001));
}
