//! What the server reports about itself: the numbers of INFO are right, MEMORY measures and frees memory, protected
//! commands are refused.

mod support;

use support::{Client, Launch, Server, eventually};

/// A line of a section of INFO.
fn info_line(client: &mut Client, section: &str, field: &str) -> String {
    let text = client.call(&["INFO", section]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {field} in {text}"))
}

fn number(client: &mut Client, section: &str, field: &str) -> u64 {
    info_line(client, section, field).parse().expect("a number")
}

fn usage(client: &mut Client, key: &str) -> i64 {
    client.call(&["MEMORY", "USAGE", key]).integer()
}

#[test]
fn info_names_the_addresses_and_the_path_where_it_listens() {
    let launch = Launch::subject();
    let path = launch.directory().join("socket").display().to_string();
    // The second address does not exist, which its minus sign permits.
    let server = launch.flags(&format!("--unixsocket {path} --bind 127.0.0.1 -192.0.2.1 -::1")).start();
    let mut client = Client::unix(path.as_ref()).expect("connect");
    assert_eq!(info_line(&mut client, "server", "listener1"), format!("name=unix,bind={path}"));
    let tcp = info_line(&mut client, "server", "listener0");
    let port = server.port();
    assert!(tcp.starts_with("name=tcp,bind=127.0.0.1") && tcp.ends_with(&format!(",port={port}")), "{tcp}");
    assert!(!tcp.contains("192.0.2.1"), "{tcp}");
    if tcp.contains("::1") {
        assert!(tcp.contains(",bind=-::1,"), "as the configuration writes it: {tcp}");
    }
    client.ok("CONFIG SET port 0");
    assert!(!client.run("INFO server").text().contains("listener0"));
}

#[test]
fn the_turns_of_the_loop_and_the_time_of_commands_are_counted() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    let before = number(&mut client, "stats", "eventloop_cycles");
    for _ in 0..10 {
        client.run("PING");
    }
    assert!(number(&mut client, "stats", "eventloop_cycles") >= before + 10);
    client.send_raw(&b"PING\r\n".repeat(50)).unwrap();
    for _ in 0..50 {
        client.read_reply().unwrap();
    }
    assert!(number(&mut client, "debug", "eventloop_cmd_per_cycle_max") > 1);
    assert!(number(&mut client, "debug", "eventloop_duration_max") > 0);
    let sum = number(&mut client, "stats", "eventloop_duration_sum");
    assert!(sum >= number(&mut client, "debug", "eventloop_duration_max"));
    client.ok("CONFIG RESETSTAT");
    assert!(number(&mut client, "stats", "eventloop_cycles") < before + 10);
    assert!(!client.run("INFO everything").text().contains("# Debug"), "the section has to be named");
}

#[test]
fn refused_logins_are_counted() {
    let server = Server::start("--requirepass secret");
    let mut client = server.client();
    client.run("AUTH wrong");
    client.run("AUTH nobody secret");
    client.run("HELLO 3 AUTH default wrong");
    client.ok("AUTH secret");
    assert_eq!(number(&mut client, "stats", "acl_access_denied_auth"), 3);
}

#[test]
fn the_largest_query_and_output_of_the_last_seconds_are_remembered() {
    let server = Server::start("--hz 100");
    let (mut client, mut slow) = (server.client(), server.client());
    slow.send_raw(b"*2\r\n$4\r\nECHO\r\n$5000\r\nhalf a request").unwrap();
    eventually("cron meets the client", || {
        (number(&mut client, "clients", "client_recent_max_input_buffer") > 20).then_some(())
    });
}

#[test]
fn memory_usage_is_what_a_key_adds() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.call(&["SET", "small", "v"]);
    client.call(&["SET", "large", &"v".repeat(1 << 20)]);
    let (small, large) = (usage(&mut client, "small"), usage(&mut client, "large"));
    assert!((10..100).contains(&small), "{small}");
    assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&large), "{large}");
    client.ok("SET timed v EX 1000");
    assert!(usage(&mut client, "timed") >= small + 8, "an expiry takes memory");
    // Many keys, so that a thread started meanwhile adds little beside them. The table grows in steps; apart from it,
    // `used_memory` grows by the size of the keys.
    client.ok("FLUSHALL SYNC");
    client.ok("DEBUG POPULATE 1000 key 200");
    let tables = |client: &mut Client| {
        let stats = client.run("MEMORY STATS");
        let (total, db) = (stats.field("total.allocated").integer(), stats.field("db.0"));
        total - db.field("overhead.hashtable.main").integer()
    };
    // The first call of a command allocates its latency histogram.
    tables(&mut client);
    let before = tables(&mut client);
    client.ok("DEBUG POPULATE 11000 key 200");
    let grown = tables(&mut client) - before;
    let told: i64 = (1000..11_000).map(|i| usage(&mut client, &format!("key:{i}")) - 8).sum();
    assert!((grown - told).abs() < told / 20, "grown by {grown}, reported {told}");
}

#[test]
fn memory_stats_and_info_agree() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 10000 key 100");
    let stats = client.run("MEMORY STATS");
    let figure = |name: &str| stats.field(name).integer();
    assert_eq!(figure("keys.count"), 10_000);
    assert!((100..300).contains(&figure("keys.bytes-per-key")), "{}", figure("keys.bytes-per-key"));
    assert!(figure("dataset.bytes") > 1_000_000 && figure("dataset.bytes") < figure("total.allocated"));
    assert_eq!(figure("overhead.total") + figure("dataset.bytes"), figure("total.allocated"));
    assert!(figure("allocator.active") >= figure("allocator.allocated"));
    assert_eq!(
        figure("allocator-fragmentation.bytes"),
        figure("allocator.active") - figure("allocator.allocated")
    );
    for (name, field) in [
        ("total.allocated", "used_memory"),
        ("startup.allocated", "used_memory_startup"),
        ("dataset.bytes", "used_memory_dataset"),
        ("allocator.resident", "allocator_resident"),
    ] {
        let there = i64::try_from(number(&mut client, "memory", field)).unwrap();
        let difference = (figure(name) - there).abs();
        assert!(difference <= figure(name) / 4, "{name} {} but {field} {there}", figure(name));
    }
}

#[test]
fn memory_purge_gives_unused_memory_back() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 150000 key 64");
    client.ok("FLUSHALL SYNC");
    let before = server.resident_bytes();
    client.ok("MEMORY PURGE");
    let after = server.resident_bytes();
    assert!(after + (4 << 20) < before, "resident {before} bytes, after the purge {after}");
    let text = client.run("MEMORY MALLOC-STATS").text();
    let free = text.lines().find_map(|line| line.strip_prefix("Slabs, free and lent:"));
    assert_eq!(free.map(str::trim), Some("0"), "{text}");
}

#[test]
fn the_allocator_s_statistics_count_the_blocks_of_each_size() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 5000 key 200");
    let text = client.run("MEMORY MALLOC-STATS").text();
    let blocks: u64 = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let size: u64 = words.first()?.parse().ok()?;
            if (200..250).contains(&size) { words.get(2)?.parse::<u64>().ok() } else { None }
        })
        .sum();
    assert_eq!(blocks, 5000, "{text}");
}

#[test]
fn the_doctor_speaks_of_a_server_with_data() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    assert!(client.run("MEMORY DOCTOR").text().contains("too little data"));
    client.ok("DEBUG POPULATE 100000 key 100");
    let text = client.run("MEMORY DOCTOR").text();
    assert!(text.starts_with("Nothing looks wrong") || text.contains(" * "), "{text}");
}

#[test]
fn protected_commands_are_refused_as_redis_refuses_them_and_before_a_login_is_asked_for() {
    for flags in ["--requirepass secret", "--enable-debug-command local --enable-module-command local"] {
        let mut all: Vec<Vec<String>> = Vec::new();
        for launch in [Launch::subject(), Launch::redis()] {
            let server = launch.flags(flags).flags("--enable-protected-configs no").start();
            let mut client = server.client();
            let mut answers = Vec::new();
            for _ in 0..2 {
                for line in ["DEBUG SLEEP 0", "DEBUG", "MODULE LOAD /none", "MODULE LIST", "MODULE UNLOAD x"]
                {
                    answers.push(format!("{line}: {:?}", client.run(line)));
                }
                client.run("AUTH secret");
            }
            for command in ["debug", "module|load", "module|list", "module|unload"] {
                let stats = client.run("INFO commandstats").text();
                let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
                let refused = line.and_then(|l| l.split(',').find(|part| part.starts_with("rejected")));
                answers.push(format!("{command} {}", refused.unwrap_or_default()));
            }
            all.push(answers);
        }
        assert_eq!(all[0], all[1], "{flags}");
    }
}
