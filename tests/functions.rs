//! Functions beyond their replies: libraries in files and in payloads moved between servers, and libraries that take
//! too long.

mod support;

use std::fs;

use redstart::db::Keyspace;
use redstart::dict::Seed;
use redstart::persist::rdb::file::{About, SaveOptions, save};
use support::{Client, Launch, Server, Version, eventually};

/// The source of a library with one function, which returns a value.
fn library(name: &str, value: u32) -> String {
    format!("#!lua name={name}\nredis.register_function('{name}', function() return {value} end)")
}

fn load(client: &mut Client, name: &str, value: u32) {
    let reply = client.call(&["FUNCTION", "LOAD", "REPLACE", &library(name, value)]);
    assert_eq!(reply.text(), name);
}

/// The replies of the functions of these libraries; `None` if a function does not exist.
fn values<const N: usize>(client: &mut Client, names: [&str; N]) -> [Option<i64>; N] {
    names.map(|name| {
        let reply = client.run(&format!("FCALL {name} 0"));
        if reply.is_error() {
            assert_eq!(reply.text(), "ERR Function not found");
            return None;
        }
        Some(reply.integer())
    })
}

fn rewrite(client: &mut Client) {
    client.run("BGREWRITEAOF");
    eventually("the rewrite ends", || {
        let text = client.run("INFO persistence").text();
        let is_done = text.contains("aof_rewrite_in_progress:0") && text.contains("aof_rewrite_scheduled:0");
        is_done.then_some(())
    });
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

fn loaded(server: &Server) -> Client {
    let mut client = server.client();
    client.wait_for_info("loading", |loading| loading == 0);
    client
}

#[test]
fn libraries_are_in_a_snapshot() {
    let server = Server::start("--save ''");
    let mut client = server.client();
    load(&mut client, "a", 1);
    load(&mut client, "b", 2);
    client.ok("SAVE");
    client.ok("FUNCTION DELETE a");
    let server = server.stop().start();
    let mut client = loaded(&server);
    assert_eq!(values(&mut client, ["a", "b", "c"]), [Some(1), Some(2), None]);
    assert_eq!(client.info_number("number_of_libraries"), 2);
    assert_eq!(client.info_number("number_of_functions"), 2);
}

#[test]
fn libraries_are_in_the_log_with_either_base() {
    for preamble in ["yes", "no"] {
        let launch = Launch::subject();
        let server = launch.flags(&format!("--appendonly yes --aof-use-rdb-preamble {preamble}")).start();
        let mut client = server.client();
        for (name, value) in [("base", 1), ("changed", 2), ("gone", 3), ("flushed", 4)] {
            load(&mut client, name, value);
        }
        client.ok("FUNCTION DELETE flushed");
        rewrite(&mut client);
        load(&mut client, "later", 5);
        load(&mut client, "changed", 6);
        client.ok("FUNCTION DELETE gone");
        let names = ["base", "changed", "gone", "flushed", "later"];
        let wanted = [Some(1), Some(6), None, None, Some(5)];
        assert_eq!(values(&mut client, names), wanted, "preamble {preamble}");
        let server = server.stop().start();
        let mut client = loaded(&server);
        assert_eq!(values(&mut client, names), wanted, "preamble {preamble}");
        client.ok("FUNCTION FLUSH");
        load(&mut client, "new", 7);
        let payload = client.run("FUNCTION DUMP");
        let support::Value::Bulk(payload) = payload else { panic!("{payload:?}") };
        client.ok("FUNCTION FLUSH ASYNC");
        assert_eq!(client.call(&[&b"FUNCTION"[..], b"RESTORE", &payload]).text(), "OK");
        let server = server.stop().start();
        let mut client = loaded(&server);
        assert_eq!(values(&mut client, ["base", "new"]), [None, Some(7)], "preamble {preamble}");
    }
}

#[test]
fn libraries_stay_when_the_data_is_flushed_or_reloaded() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    load(&mut client, "a", 1);
    client.ok("FLUSHALL");
    assert_eq!(values(&mut client, ["a"]), [Some(1)]);
    client.ok("DEBUG RELOAD");
    assert_eq!(values(&mut client, ["a"]), [Some(1)]);
    client.ok("DEBUG RELOAD NOSAVE");
    assert_eq!(values(&mut client, ["a"]), [Some(1)]);
}

#[test]
fn a_payload_goes_from_redis_to_here_and_back() {
    let (here, there) = (Server::start(""), Launch::redis().start());
    let (mut here, mut there) = (here.client(), there.client());
    let long = format!("{}\n--{}", library("long", 9), "x".repeat(30_000));
    for client in [&mut here, &mut there] {
        client.call(&["FUNCTION", "LOAD", &long]);
    }
    let dump = |client: &mut Client| match client.run("FUNCTION DUMP") {
        support::Value::Bulk(payload) => payload,
        other => panic!("{other:?}"),
    };
    let theirs = dump(&mut there);
    assert_eq!(here.call(&[&b"FUNCTION"[..], b"RESTORE", &theirs, b"FLUSH"]).text(), "OK");
    assert_eq!(values(&mut here, ["long"]), [Some(9)]);
    if Version::of(&mut there) >= Version::new(7, 2) {
        let ours = dump(&mut here);
        assert_eq!(ours, theirs);
        assert_eq!(there.call(&[&b"FUNCTION"[..], b"RESTORE", &ours, b"REPLACE"]).text(), "OK");
        assert_eq!(values(&mut there, ["long"]), [Some(9)]);
    }
}

#[test]
fn a_snapshot_with_libraries_goes_from_redis_to_here_and_back() {
    let there = Launch::redis().flags("--save ''").start();
    let mut client = there.client();
    load(&mut client, "a", 1);
    load(&mut client, "b", 2);
    client.ok("SAVE");
    let there = there.stop();
    let here = Launch::subject().flags("--rdb-write-version 10");
    fs::copy(there.directory().join("dump.rdb"), here.directory().join("dump.rdb")).expect("copied");
    let here = here.start();
    let mut client = loaded(&here);
    assert_eq!(values(&mut client, ["a", "b"]), [Some(1), Some(2)]);
    load(&mut client, "a", 3);
    client.ok("SAVE");
    let here = here.stop();
    fs::copy(here.directory().join("dump.rdb"), there.directory().join("dump.rdb")).expect("copied");
    let there = there.start();
    assert_eq!(values(&mut loaded(&there), ["a", "b"]), [Some(3), Some(2)]);
}

#[test]
fn a_snapshot_with_a_library_that_does_not_load_ends_the_process_with_the_reason() {
    let launch = Launch::subject();
    let mut bytes = Vec::new();
    let about = About {
        redis_version: "7.2.4",
        unix_seconds: 0,
        used_memory: 0,
        aof_base: false,
        replication: None,
        functions: &[b"#!lua name=a\nfoo bar"],
    };
    let keyspace = Keyspace::new(1, Seed::new([1, 2]));
    save(&keyspace, &about, &SaveOptions::default(), &mut bytes, &mut |_| {}).expect("written");
    fs::write(launch.directory().join("dump.rdb"), bytes).expect("written");
    let (status, log) = launch.run_to_exit();
    assert!(!status.success());
    assert!(log.contains(
        "Failed loading library, Error compiling function: user_function:2: '=' expected near 'bar'"
    ));
}

#[test]
fn a_library_that_loads_for_ever_is_refused_and_keeps_nobody_waiting_for_long() {
    let server = Server::start("--busy-reply-threshold 5000");
    let (mut client, mut other) = (server.client(), server.client());
    load(&mut client, "a", 1);
    for repeated in ["", "redis.log(redis.LOG_DEBUG, '')"] {
        let source = format!("#!lua name=b\nwhile true do {repeated} end");
        client.send(&["FUNCTION", "LOAD", &source]).expect("sent");
        // The server replies at the latest when it gives up loading the library.
        other.ok("SET k v");
        let reply = client.read_reply().expect("a reply").value;
        assert_eq!(reply.text(), "ERR Error registering functions: ERR FUNCTION LOAD timeout");
    }
    let endless = "#!lua name=b\nlocal t = {} local n = 0 while true do n = n + 1 t[n] = {n} end";
    assert!(client.call(&["FUNCTION", "LOAD", endless]).is_error());
    let deep = "#!lua name=b\nlocal function f() return 1 + f() end f()";
    assert!(client.call(&["FUNCTION", "LOAD", deep]).text().contains("stack overflow"));
    let doubling = "#!lua name=b\nlocal s = 'x' while true do s = s .. s end";
    assert!(client.call(&["FUNCTION", "LOAD", doubling]).is_error());
    assert_eq!(values(&mut client, ["a", "b"]), [Some(1), None]);
    assert_eq!(client.info_number("number_of_libraries"), 1);
}

#[test]
fn what_libraries_take_is_told_and_given_back() {
    let server = Server::start("");
    let mut client = server.client();
    let figures = |client: &mut Client| {
        ["used_memory_functions", "used_memory_vm_functions", "used_memory_scripts"]
            .map(|field| client.info_number(field))
    };
    assert_eq!(figures(&mut client), [0, 0, 0]);
    let source = format!("{}\n--{}", library("a", 1), "x".repeat(100_000));
    client.call(&["FUNCTION", "LOAD", &source]);
    let [functions, machine, scripts] = figures(&mut client);
    assert!(
        functions >= 100_000 && scripts >= functions && machine > 1000,
        "{functions} {machine} {scripts}"
    );
    assert!(client.run("MEMORY STATS").field("functions.caches").integer() >= 100_000);
    client.ok("FUNCTION FLUSH");
    assert_eq!(figures(&mut client)[..2], [0, 0]);
}

#[test]
fn what_functions_keep_between_calls_is_gone_with_their_library() {
    let server = Server::start("");
    let mut client = server.client();
    let source = "#!lua name=a\nlocal t = {}\nredis.register_function('add', function(keys, args)\n\
                  for i = 1, args[1] do t[#t + 1] = 'a string of its own ' .. #t end return #t end)";
    for _ in 0..3 {
        client.call(&["FUNCTION", "LOAD", "REPLACE", source]);
        assert_eq!(client.run("FCALL add 0 100000").integer(), 100_000);
        assert_eq!(client.run("FCALL add 0 1").integer(), 100_001);
        assert!(client.info_number("used_memory_vm_functions") > 1 << 20);
    }
    client.ok("FUNCTION DELETE a");
    client.call(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=b\nredis.register_function('gc', function() collectgarbage() end)",
    ]);
    client.run("FCALL gc 0");
    let left = client.info_number("used_memory_vm_functions");
    assert!(left < 1 << 20, "{left} bytes are left");
}

#[test]
fn effects_of_a_function_are_logged_and_not_its_call() {
    let server =
        Launch::subject().flags("--appendonly yes --aof-use-rdb-preamble no --appendfilename log").start();
    let mut client = server.client();
    let source = "#!lua name=a\nredis.register_function('f', function(keys) redis.call('SET', keys[1], 'v')\n\
                  return redis.call('INCR', 'n') end)";
    client.call(&["FUNCTION", "LOAD", source]);
    assert_eq!(client.run("FCALL f 1 k").integer(), 1);
    let launch = server.stop();
    let log = fs::read(launch.directory().join("appendonlydir/log.1.incr.aof")).expect("the log");
    let log = String::from_utf8_lossy(&log).into_owned();
    let source = format!("*3\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n${}\r\n{source}\r\n", source.len());
    assert!(log.contains(&source), "{log}");
    let effects = "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n";
    assert!(log.ends_with(effects), "{log}");
    assert!(!log.contains("FCALL"), "{log}");
}

#[test]
fn a_function_that_runs_is_told_of_and_can_be_killed() {
    let server = Server::start("--busy-reply-threshold 1");
    let (mut client, mut other) = (server.client(), server.client());
    let source = "#!lua name=a\nredis.register_function('loop', function() while true do end end)\n\
                  redis.register_function('write', function(keys) redis.call('set', keys[1], 1) while true do end end)";
    client.call(&["FUNCTION", "LOAD", source]);
    client.send(&["FCALL", "loop", "1", "k", "arg"]).expect("sent");
    eventually("it is busy", || {
        other
            .run("PING")
            .text()
            .starts_with("BUSY Redis is busy running a script. You can only call FUNCTION KILL")
            .then_some(())
    });
    let running = other.run("FUNCTION STATS").field("running_script");
    assert_eq!(running.field("name").text(), "loop");
    let words: Vec<String> = running.field("command").elements().iter().map(support::Value::text).collect();
    assert_eq!(words, ["FCALL", "loop", "1", "k", "arg"]);
    assert!(running.field("duration_ms").integer() >= 1);
    assert!(
        other
            .run("SCRIPT KILL")
            .text()
            .starts_with("BUSY Redis is busy running a script. You can only call FUNCTION KILL")
    );
    other.ok("FUNCTION KILL");
    let reply = client.read_reply().expect("a reply").value.text();
    assert_eq!(reply, "ERR Script killed by user with SCRIPT KILL... script: loop, on @user_function:2.");
    eventually("it serves again", || (other.run("PING").text() == "PONG").then_some(()));
    assert!(other.run("FUNCTION STATS").field("running_script").is_null());
    client.send(&["FCALL", "write", "1", "k"]).expect("sent");
    eventually("it is busy", || other.run("PING").text().starts_with("BUSY").then_some(()));
    assert!(other.run("FUNCTION KILL").text().starts_with("UNKILLABLE"));
    let _ = other.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(client.read_reply().is_err());
}
