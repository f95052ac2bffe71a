//! `--rdb`, `--functions-rdb` and `--replica` of `redstart cli` and of redis-cli, each with a Redstart and a Redis as
//! the master. Both servers load the received files.

use std::fs;
use std::process::Command;

use crate::support::server::Directory;
use crate::support::{Client, Launch, Server, Value, Version, eventually};
use crate::{Watched, redis_cli, run, tool};

/// A tool that connects to a master as a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Own,
    RedisCli,
}

impl Tool {
    /// The tool with these arguments; `None` if it is not installed.
    fn command(self, port: u16, arguments: &[&str]) -> Option<Command> {
        match self {
            Tool::Own => Some(tool(port, arguments)),
            Tool::RedisCli => redis_cli(port, arguments),
        }
    }
}

const TOOLS: [Tool; 2] = [Tool::Own, Tool::RedisCli];

const FLAGS: &str =
    "--enable-debug-command yes --repl-diskless-sync-delay 0 --repl-ping-replica-period 3600 --save ''";

/// The version of the Redis that loads the files.
fn peer() -> Version {
    Version::of(&mut Launch::redis().start().client())
}

/// Masters of both kinds, whose snapshots this version of Redis loads.
fn masters(peer: Version, flags: &str) -> [Server; 2] {
    let version = if peer < Version::new(7, 2) { "--rdb-write-version 10" } else { "" };
    let own = Launch::subject().flags(FLAGS).flags(flags).flags(version).start();
    [own, Launch::redis().flags(FLAGS).flags(flags).start()]
}

/// Values of all types and sizes in two databases, and a function.
fn fill(client: &mut Client) {
    for line in [
        "SET string value",
        "SET number 12345",
        "SET expiring value EX 100000",
        "RPUSH list a b c 1 2 3",
        "SADD set a b c",
        "SADD integers 1 2 3",
        "HSET hash f v g 2",
        "ZADD sorted 1 a 2.5 b",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group consumer STREAMS stream >",
        "PFADD sketch a b c",
        "SELECT 3",
        "SET string other",
    ] {
        assert!(!client.run(line).is_error(), "{line}");
    }
    let long = "long".repeat(50_000);
    client.call(&["SET", "long", &long]);
    for number in 0..2000 {
        let number = number.to_string();
        client.call(&["SADD", "large-set", &number, &format!("word-{number}")]);
        client.call(&["ZADD", "large-sorted", &number, &number]);
        client.call(&["HSET", "large-hash", &number, &number]);
    }
    client.ok("SELECT 0");
    let library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
    assert_eq!(client.call(&["FUNCTION", "LOAD", library]).text(), "mylib");
}

/// The contents of a server: a digest of all keys, their numbers in the two databases, and the source of its functions.
fn contents(client: &mut Client) -> (String, [i64; 2], Value) {
    let functions = client.run("FUNCTION LIST WITHCODE");
    let sizes = [0, 3].map(|db| {
        client.ok(&format!("SELECT {db}"));
        client.run("DBSIZE").integer()
    });
    (client.run("DEBUG DIGEST").text(), sizes, functions)
}

/// A server of each kind, both with this file loaded.
fn loaded(file: &[u8]) -> [Server; 2] {
    [Launch::subject(), Launch::redis()].map(|launch| {
        fs::write(launch.directory().join("dump.rdb"), file).expect("the file of a server");
        launch.flags(FLAGS).start()
    })
}

#[test]
fn snapshots_of_every_master_load_everywhere_with_the_same_data_and_functions() {
    let peer = peer();
    for flags in ["--repl-diskless-sync no", "--repl-diskless-sync yes"] {
        for (master, is_own) in masters(peer, flags).iter().zip([true, false]) {
            let mut client = master.client();
            fill(&mut client);
            let (digest, sizes, functions) = contents(&mut client);
            let nothing = (Launch::redis().flags(FLAGS).start().client().run("DEBUG DIGEST").text(), [0, 0]);
            for tool in TOOLS {
                for (option, keys) in
                    [("--rdb", (digest.clone(), sizes)), ("--functions-rdb", nothing.clone())]
                {
                    let directory = Directory::new();
                    let path = directory.join("received.rdb").display().to_string();
                    let Some(command) = tool.command(master.port(), &[option, &path]) else { continue };
                    let run = run(command, b"");
                    let case = format!("{tool:?} {option}, {flags}, a Redstart: {is_own}: {}", run.errors);
                    assert_eq!(run.status, Some(0), "{case}");
                    let file = fs::read(&path).expect("the file received");
                    for server in loaded(&file) {
                        let found = contents(&mut server.client());
                        assert_eq!((&found.0, found.1), (&keys.0, keys.1), "{case}");
                        assert_eq!(found.2, functions, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_replica_prints_the_same_commands_of_every_master() {
    for flags in ["--repl-diskless-sync no", "--repl-diskless-sync yes"] {
        for master in masters(Version::LAST, flags) {
            for tool in TOOLS {
                if let Some(command) = tool.command(master.port(), &["--replica"]) {
                    // A filtered snapshot always ends with an EOF mark. redis-cli acknowledges it and waits for a
                    // reply, which does not exist: it takes the first command for it.
                    check_printed(&master, command, tool == Tool::RedisCli);
                }
            }
        }
    }
}

fn check_printed(master: &Server, command: Command, swallows_first: bool) {
    let mut client = master.client();
    fill(&mut client);
    let mut replica = Watched::start(command);
    eventually("the replica is online", || {
        let info = client.run("INFO replication").text();
        info.contains("state=online").then_some(())
    });
    client.call(&[&b"SET"[..], b"a", b"x\n\"y\"\xff"]);
    client.ok("SELECT 4");
    client.ok("MULTI");
    client.run("INCR n");
    client.run("SADD s 1");
    client.run("EXEC");
    client.run("SPOP s");
    client.run("PUBLISH channel message");
    if !swallows_first {
        assert_eq!(replica.line_with("SELECT"), r#""SELECT","0""#);
    }
    assert_eq!(replica.line_with(r#""SET""#), r#""SET","a","x\n\"y\"\xff""#);
    let mut frame = [replica.call(), replica.call()];
    // Before 7.2, Redis selects the database first.
    frame.sort();
    assert_eq!(frame, [r#""MULTI""#, r#""SELECT","4""#]);
    let rest = [
        r#""INCR","n""#,
        r#""SADD","s","1""#,
        r#""EXEC""#,
        r#""SREM","s","1""#,
        r#""PUBLISH","channel","message""#,
    ];
    for line in rest {
        assert_eq!(replica.call(), line);
    }
    drop(replica);
    client.ok("FLUSHALL");
    client.ok("FUNCTION FLUSH");
    eventually("the replica is gone", || {
        let info = client.run("INFO replication").text();
        info.contains("connected_slaves:0").then_some(())
    });
}

/// The master refuses a filter that a file would need, and never mixes snapshots of different filters.
#[test]
fn replicas_with_different_filters_get_snapshots_of_their_own() {
    let peer = peer();
    for master in masters(peer, "--repl-diskless-sync-delay 1") {
        let mut client = master.client();
        fill(&mut client);
        let mut plain = master.client();
        plain.ok("REPLCONF rdb-filter-only functions");
        let refused = "ERR Filtered replica requires EOF capability";
        assert_eq!(plain.run("SYNC").text(), refused);
        assert_eq!(plain.run("PSYNC ? -1").text(), refused);
        let directory = Directory::new();
        let transfers: Vec<_> = ["--rdb", "--functions-rdb", "--rdb"]
            .iter()
            .enumerate()
            .map(|(number, option)| {
                let path = directory.join(&format!("{number}.rdb"));
                let command = tool(master.port(), &[*option, &path.display().to_string()]);
                (path, std::thread::spawn(move || run(command, b"")))
            })
            .collect();
        let sizes: Vec<u64> = transfers
            .into_iter()
            .map(|(path, transfer)| {
                assert_eq!(transfer.join().expect("the tool exits").status, Some(0));
                fs::metadata(path).expect("the file received").len()
            })
            .collect();
        assert!(sizes[1] < 1000 && sizes[0] > 10_000 && sizes[2] > 10_000, "{sizes:?}");
    }
}
