//! Modes that iterate over the keys.

use crate::support::{Client, Server, eventually};
use crate::{Run, Watched, compared, run, tool};

/// A few keys of each type.
fn fill(client: &mut Client) {
    for n in 1..=5 {
        client.run(&format!("SET str:{n} {}", "v".repeat(n * 10)));
        for item in 0..n * 3 {
            client.run(&format!("RPUSH list:{n} {item}"));
        }
        client.run(&format!("ZADD z:{n} 1 a 2 b 3 c"));
        client.run(&format!("HSET h:{n} f v g w"));
        client.run(&format!("SADD s:{n} a b c {n}"));
    }
    client.run("XADD stream:1 1-1 a b");
    client.run("XADD stream:1 1-2 a c");
    client.call(&[&b"SET"[..], b"weird \"key\"\nx\xff", b"1"]);
}

/// A server with the keys of [`fill`].
fn filled(flags: &str) -> Server {
    let server = start(flags);
    let mut client = server.client();
    fill(&mut client);
    // Two iterations return the keys in the same order and the same portions only if the table does not change.
    eventually("the end of the rehash", || {
        (!client.run("DEBUG HTSTATS 0").text().contains("rehashing")).then_some(())
    });
    server
}

fn start(flags: &str) -> Server {
    Server::start(&format!("--enable-debug-command yes {flags}"))
}

#[test]
fn scan_lists_the_keys_that_match() {
    let server = filled("");
    let sorted = |run: Run| {
        let mut lines: Vec<_> = run.output.lines().map(String::from).collect();
        lines.sort();
        (run.status, lines)
    };
    let strings = ["str:1", "str:2", "str:3", "str:4", "str:5"].map(String::from).to_vec();
    for arguments in [
        &["--scan", "--pattern", "str:*"][..],
        &["--scan", "--quoted-pattern", "\"\\x73tr:*\"", "--count", "2"],
        &["--scan", "--pattern", "str:*", "--csv", "-i", "0.001"],
    ] {
        assert_eq!(sorted(compared(&server, arguments)), (Some(0), strings.clone()), "{arguments:?}");
    }
    let all = sorted(compared(&server, &["--scan"]));
    assert_eq!(all.1.len(), 28, "a key with a line end takes two lines: {all:?}");
    let quoted = sorted(compared(&server, &["--scan", "--no-raw"]));
    assert_eq!(quoted.1.len(), 27);
    assert!(quoted.1.contains(&r#""weird \"key\"\nx\xff""#.to_string()), "{quoted:?}");

    let hashes = sorted(run(tool(server.port(), &["--scan", "--type", "hash"]), b""));
    assert_eq!(hashes, (Some(0), ["h:1", "h:2", "h:3", "h:4", "h:5"].map(String::from).to_vec()));
    assert_eq!(compared(&server, &["--scan", "--pattern", "nothing"]).output, "");
}

#[test]
fn scan_refuses_what_it_does_not_understand() {
    let server = Server::start("");
    let count = compared(&server, &["--scan", "--count", "0"]);
    assert_eq!((count.status, count.errors.as_str()), (Some(1), "SCAN error: ERR syntax error\n"));
    let quoted = compared(&server, &["--scan", "--quoted-pattern", "\"open"]);
    assert_eq!(quoted.status, Some(1));
    assert_eq!(quoted.errors, "Invalid quoted string specified for --quoted-pattern.\n");
}

#[test]
fn scan_ends_quietly_when_nobody_reads_on() {
    let server = start("");
    server.client().ok("DEBUG POPULATE 20000");
    let mut scan = Watched::start(tool(server.port(), &["--scan"]));
    assert!(scan.line().starts_with("key:"));
    scan.close_output();
    let run = scan.finish();
    assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
}

const BIG_KEYS: &str = r#"
-------- summary -------

Sampled 27 keys in the keyspace!
Total key length in bytes is 122 (avg len 4.52)

Biggest   list found '"list:5"' has 15 items
Biggest   hash found '"h:N"' has 2 fields
Biggest string found '"str:5"' has 50 bytes
Biggest stream found '"stream:1"' has 2 entries
Biggest    set found '"s:N"' has 4 members
Biggest   zset found '"z:N"' has 3 members

5 lists with 45 items (18.52% of keys, avg size 9.00)
5 hashs with 10 fields (18.52% of keys, avg size 2.00)
6 strings with 151 bytes (22.22% of keys, avg size 25.17)
1 streams with 2 entries (03.70% of keys, avg size 2.00)
5 sets with 20 members (18.52% of keys, avg size 4.00)
5 zsets with 15 members (18.52% of keys, avg size 3.00)
"#;

#[test]
fn big_keys_are_the_largest_of_each_type() {
    let server = filled("");
    let run = compared(&server, &["--bigkeys"]);
    assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
    let (found, summary) = run.output.split_at(run.output.find("\n-------- summary").expect("a summary"));
    assert!(
        found.starts_with("\n# Scanning the entire keyspace to find biggest keys as well as\n"),
        "{found}"
    );
    assert!(found.contains("%] Biggest string found so far '\"str:5\"' with 50 bytes\n"), "{found}");
    // Among equal keys the first counts, in the order of the server.
    let summary = ["h", "s", "z"].iter().fold(summary.to_string(), |text, kind| {
        (1..=5).fold(text, |text, n| text.replace(&format!("\"{kind}:{n}\""), &format!("\"{kind}:N\"")))
    });
    assert_eq!(summary, BIG_KEYS);
    compared(&server, &["--bigkeys", "-i", "0.001"]);
    let none = self::run(tool(server.port(), &["--bigkeys", "-n", "1"]), b"");
    assert!(
        none.output
            .contains("Sampled 0 keys in the keyspace!\nTotal key length in bytes is 0 (avg len 0.00)\n")
    );
    assert!(
        none.output.ends_with("\n0 zsets with 0 members (00.00% of keys, avg size 0.00)\n"),
        "{}",
        none.output
    );
}

#[test]
fn memory_keys_are_those_that_take_most() {
    let server = filled("");
    server.client().run(&format!("SET large {}", "x".repeat(100_000)));
    for arguments in
        [&["--memkeys"][..], &["--memkeys-samples", "3"], &["--memkeys", "--memkeys-samples", "0"]]
    {
        let run = compared(&server, arguments);
        let expected = format!(
            "Biggest string found '\"large\"' has {} bytes\n",
            server.client().run("MEMORY USAGE large").integer()
        );
        assert!(run.output.contains(&expected), "{}", run.output);
        assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
    }
}

#[test]
fn keys_of_a_pattern_alone_are_measured() {
    let server = filled("");
    let run = run(tool(server.port(), &["--bigkeys", "--pattern", "str:*"]), b"");
    assert!(run.output.contains("Sampled 5 keys in the keyspace!\n"), "{}", run.output);
    assert!(run.output.contains("5 strings with 150 bytes (100.00% of keys, avg size 30.00)\n"));
    assert!(run.output.contains("0 hashs with 0 fields (00.00% of keys, avg size 0.00)\n"));
}

#[test]
fn hot_keys_are_those_with_the_highest_counters() {
    // Each access adds one to the counter, which does not decay meanwhile.
    let server = filled("--maxmemory-policy allkeys-lfu --lfu-log-factor 0 --lfu-decay-time 0");
    let mut client = server.client();
    for _ in 0..90 {
        client.run("GET str:1");
    }
    for _ in 0..30 {
        client.run("LLEN list:4");
    }
    let counter = |client: &mut Client, key: &str| client.run(&format!("OBJECT FREQ {key}")).integer();
    let (hottest, second) = (counter(&mut client, "str:1"), counter(&mut client, "list:4"));
    assert!(hottest > second && second > 20, "{hottest} {second}");
    let run = compared(&server, &["--hotkeys"]);
    assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
    assert!(run.output.contains("%] Hot key '\"list:4\"' found so far with counter "), "{}", run.output);
    let summary = format!(
        "\n-------- summary -------\n\nSampled 27 keys in the keyspace!\n\
         hot key found with counter: {hottest}\tkeyname: \"str:1\"\n\
         hot key found with counter: {second}\tkeyname: \"list:4\"\n"
    );
    assert!(run.output.contains(&summary), "{}", run.output);
    assert_eq!(run.output.matches("hot key found with counter").count(), 16);
}

#[test]
fn hot_keys_need_a_policy_that_counts() {
    let server = filled("");
    let run = compared(&server, &["--hotkeys"]);
    assert_eq!(run.status, Some(1));
    assert!(run.errors.starts_with("Error: ERR An LFU maxmemory policy is not selected"), "{}", run.errors);
}

#[test]
fn an_interrupted_walk_prints_what_it_has() {
    let server = start("--maxmemory-policy allkeys-lfu");
    server.client().ok("DEBUG POPULATE 5000");
    for (mode, found) in [
        ("--bigkeys", "Biggest string found so far"),
        ("--memkeys", "Biggest string"),
        ("--hotkeys", "Hot key"),
    ] {
        // The mode sleeps after every hundred calls, so that the signal arrives before its end.
        let mut walk = Watched::start(tool(server.port(), &[mode, "-i", "1000"]));
        walk.line_with(found);
        walk.interrupt();
        let run = walk.finish();
        assert_eq!((run.status, run.errors.as_str()), (Some(0), ""), "{mode}");
        let (_, summary) = run.output.split_once("-------- summary -------\n\n[").expect("a summary");
        let keys =
            summary.split_once("%] Sampled ").and_then(|(_, rest)| rest.split_once(" keys in the keyspace!"));
        let keys: u64 = keys.and_then(|(keys, _)| keys.parse().ok()).unwrap_or_else(|| panic!("{summary}"));
        assert!(keys < 5000, "{mode} saw {keys} keys");
    }
}
