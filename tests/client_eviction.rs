//! `maxmemory-clients`: when clients take more memory together than the limit, the largest are disconnected, whatever
//! they use the memory for.

mod support;

use support::client::encode;
use support::{Client, Server, Value, eventually};

const MB: usize = 1 << 20;

fn set(control: &mut Client, directive: &str, value: &str) {
    assert_eq!(control.call(&["CONFIG", "SET", directive, value]), Value::Simple(b"OK".to_vec()));
}

/// A client with this name.
fn named(server: &Server, name: &str) -> Client {
    let mut client = server.client();
    client.ok(&format!("CLIENT SETNAME {name}"));
    client
}

/// A field of the client's line in CLIENT LIST; `None` if there is no such client.
fn field(control: &mut Client, name: &str, field: &str) -> Option<usize> {
    let list = control.run("CLIENT LIST").text();
    let line = list.lines().find(|line| line.contains(&format!(" name={name} ")))?;
    let text = line.split(' ').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    Some(text.expect("a field").parse().expect("a number"))
}

fn is_gone(control: &mut Client, name: &str) -> bool {
    field(control, name, "tot-mem").is_none()
}

fn wait_until_gone(control: &mut Client, name: &str) {
    eventually(&format!("the end of {name}"), || is_gone(control, name).then_some(()));
}

/// Sends the beginning of an argument of `len` bytes, and waits until the server has received it.
fn send_unfinished(control: &mut Client, client: &mut Client, name: &str, len: usize) {
    let request = [format!("*2\r\n$4\r\nECHO\r\n${}\r\n", len + 1).into_bytes(), vec![b'v'; len]].concat();
    // A client that is evicted meanwhile cannot send the rest.
    let _ = client.send_raw(&request);
    eventually("the query or the end", || {
        field(control, name, "qbuf").is_none_or(|n| n >= len).then_some(())
    });
}

/// Repeats a request until the connection closes. Returns how many were sent.
fn repeat_until_cut(client: &mut Client, request: impl Fn(usize) -> Vec<String>) -> usize {
    for n in 0..100_000 {
        if client.try_call(&request(n)).is_err() {
            return n;
        }
    }
    panic!("never disconnected")
}

#[test]
fn whatever_a_client_takes_memory_for_it_is_disconnected_when_it_is_too_much() {
    let server = Server::start("--maxmemory-clients 1mb");
    let mut control = server.client();
    let long = |n: usize| format!("{n:-<10000}");
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut evicted = 0;
    let mut expect = |control: &mut Client, name: &str| {
        wait_until_gone(control, name);
        evicted += 1;
        assert_eq!(control.info_number("evicted_clients"), evicted, "{name}");
    };

    let mut query = named(&server, "query");
    send_unfinished(&mut control, &mut query, "query", 2 * MB);
    expect(&mut control, "query");

    let mut transaction = named(&server, "transaction");
    transaction.ok("MULTI");
    let sent = repeat_until_cut(&mut transaction, |n| words(&["GET", &long(n)]));
    assert!((50..120).contains(&sent), "{sent} requests of 10 kB were queued");
    expect(&mut control, "transaction");

    let mut watches = named(&server, "watches");
    let sent = repeat_until_cut(&mut watches, |n| words(&["WATCH", &long(n)]));
    assert!((40..120).contains(&sent), "{sent} keys of 10 kB were watched");
    expect(&mut control, "watches");

    for subscribe in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let mut subscriber = named(&server, "subscriber");
        let sent = repeat_until_cut(&mut subscriber, |n| words(&[subscribe, &long(n)]));
        assert!((50..120).contains(&sent), "{sent} names of 10 kB");
        expect(&mut control, "subscriber");
    }

    let mut tracking = named(&server, "tracking");
    repeat_until_cut(&mut tracking, |n| words(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &long(n)]));
    expect(&mut control, "tracking");

    let mut output = named(&server, "output");
    control.call(&["SETRANGE", "big", "100000", "x"]);
    let requests: Vec<u8> = (0..200).flat_map(|_| encode(&["GETRANGE", "big", "0", "20000"])).collect();
    eventually("more output than the socket takes", || output.send_raw(&requests).is_err().then_some(()));
    expect(&mut control, "output");

    let log = server.log();
    for name in ["query", "transaction", "watches", "subscriber", "tracking", "output"] {
        let line = log.lines().find(|line| line.contains(&format!(" name={name} "))).expect(name);
        assert!(line.contains(" * Evicting client: id="), "{line}");
    }
    set(&mut control, "maxmemory-clients", "0");
    control.ok("CONFIG RESETSTAT");
    assert_eq!(control.info_number("evicted_clients"), 0);
}

#[test]
fn clients_that_must_not_be_evicted_stay_and_count() {
    let server = Server::start("--maxmemory-clients 1mb");
    let mut control = server.client();
    control.ok("CLIENT NO-EVICT ON");
    let mut kept = named(&server, "kept");
    kept.ok("CLIENT NO-EVICT ON");
    send_unfinished(&mut control, &mut kept, "kept", 2 * MB);
    assert!(field(&mut control, "kept", "tot-mem").expect("it stays") > 2 * MB);
    // No client can be evicted for it, so each new client exceeds the limit and is closed after its first reply.
    server.wait_for_log("Over client maxmemory after evicting all evictable clients");
    let mut other = server.client();
    assert_eq!(other.run("PING"), Value::Simple(b"PONG".to_vec()));
    other.wait_closed();
    kept.send_raw(b"v\r\n").expect("send the rest");
    assert_eq!(kept.read_reply().expect("a reply").value.text().len(), 2 * MB + 1);
    assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
    // From here on the client may be evicted.
    kept.ok("CLIENT NO-EVICT OFF");
    send_unfinished(&mut control, &mut kept, "kept", 2 * MB);
    wait_until_gone(&mut control, "kept");
}

#[test]
fn the_largest_go_first_and_only_as_many_as_it_takes() {
    let server = Server::start("");
    let mut control = server.client();
    // The order differs from that of the sizes.
    let sizes = [("c", 30), ("a", 10), ("e", 50), ("b", 20), ("d", 40)];
    let mut clients: Vec<Client> = sizes.iter().map(|(name, _)| named(&server, name)).collect();
    for ((name, size), client) in sizes.iter().zip(&mut clients) {
        send_unfinished(&mut control, client, name, size * MB);
    }
    let left = |control: &mut Client| -> String {
        let mut names: Vec<&str> = sizes.iter().map(|(name, _)| *name).collect();
        names.retain(|name| !is_gone(control, name));
        names.sort_unstable();
        names.concat()
    };
    // 150 MB, and room for the growth of an argument's buffer.
    set(&mut control, "maxmemory-clients", "170mb");
    assert_eq!(left(&mut control), "abcde");
    set(&mut control, "maxmemory-clients", "120mb");
    eventually("the end of the largest", || (left(&mut control) == "abcd").then_some(()));
    set(&mut control, "maxmemory-clients", "40mb");
    eventually("the end of two more", || (left(&mut control) == "ab").then_some(()));
    assert_eq!(control.info_number("evicted_clients"), 3);
    // A limit below the needs of a single client is raised internally.
    set(&mut control, "maxmemory-clients", "1");
    eventually("the end of all large ones", || left(&mut control).is_empty().then_some(()));
    assert_eq!(control.run("PING"), Value::Simple(b"PONG".to_vec()));
    assert_eq!(control.run("CONFIG GET maxmemory-clients").elements()[1], Value::Bulk(b"1".to_vec()));
}

#[test]
fn a_share_of_maxmemory_follows_it() {
    let server = Server::start("--maxmemory-clients 10%");
    let mut control = server.client();
    let mut large = named(&server, "large");
    send_unfinished(&mut control, &mut large, "large", 2 * MB);
    assert!(!is_gone(&mut control, "large"), "memory is not limited, nor is a share of it");
    set(&mut control, "maxmemory", "100mb");
    assert!(!is_gone(&mut control, "large"));
    set(&mut control, "maxmemory", "15mb");
    wait_until_gone(&mut control, "large");
}

#[test]
fn a_message_for_many_counts_once_however_many_are_slow_to_read_it() {
    const SUBSCRIBERS: usize = 20;
    let server = Server::start("");
    let mut publisher = server.client();
    set(&mut publisher, "client-output-buffer-limit", "pubsub 0 0 0");
    let subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut client = server.client();
            client.run("SUBSCRIBE news");
            client
        })
        .collect();
    set(&mut publisher, "maxmemory-clients", "40mb");
    let message = "m".repeat(MB);
    // More than any socket holds: 20 MB are pending for each subscriber, 400 MB for all.
    for _ in 0..30 {
        assert_eq!(publisher.call(&["PUBLISH", "news", &message]), Value::Integer(SUBSCRIBERS as i64));
    }
    let list = publisher.run("CLIENT LIST TYPE pubsub").text();
    let waiting = list.lines().filter(|line| !line.contains(" omem=0 ")).count();
    assert_eq!(waiting, SUBSCRIBERS, "{list}");
    assert_eq!(publisher.info_number("evicted_clients"), 0);
    assert!(publisher.info_number("mem_clients_normal") < 40 * MB as i64);
    // The output of all together exceeds this limit, though each one's share is small.
    set(&mut publisher, "maxmemory-clients", "5mb");
    publisher.wait_for_info("evicted_clients", |n| n > 0);
    drop(subscribers);
}

#[test]
fn debug_client_eviction_tells_sizes_by_their_power_of_two() {
    let server = Server::start("--maxmemory-clients 100mb --enable-debug-command yes");
    let mut control = server.client();
    let mut large = named(&server, "large");
    send_unfinished(&mut control, &mut large, "large", 5 * MB / 2);
    let buckets = control.run("DEBUG CLIENT-EVICTION").text();
    let lines: Vec<&str> = buckets.lines().collect();
    assert_eq!(lines.len(), 19, "{buckets}");
    let count = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a number");
    assert!(lines[0].starts_with("bucket          0 -      32767: tot-mem:"), "{buckets}");
    assert_eq!(count(lines[0]), 1, "{buckets}");
    assert!(lines[7].starts_with("bucket    2097152 -    4194303: tot-mem:"), "{buckets}");
    assert_eq!(count(lines[7]), 1, "{buckets}");
    assert_eq!(lines[18], "bucket 4294967296+            : tot-mem:          0, clients: 0");
    set(&mut control, "maxmemory-clients", "0");
    let refused = control.run("DEBUG CLIENT-EVICTION");
    assert_eq!(refused, Value::Error(b"ERR maxmemory-clients is disabled.".to_vec()));
}

#[test]
fn subscriptions_take_few_bytes_which_all_count_towards_their_client() {
    const COUNT: usize = 20_000;
    let server = Server::start("--save ''");
    let mut control = server.client();
    let mut subscribers = Vec::new();
    for (command, most) in [("SUBSCRIBE", 176), ("SSUBSCRIBE", 176), ("PSUBSCRIBE", 170)] {
        let mut subscriber = named(&server, command);
        let before = control.info_number("used_memory");
        for first in (0..COUNT).step_by(1000) {
            let names = (first..first + 1000).map(|n| format!("channel:{n:06}"));
            let words: Vec<String> = std::iter::once(command.to_string()).chain(names).collect();
            subscriber.send(&words).expect("sent");
            for _ in 0..1000 {
                subscriber.read_reply().expect("a confirmation");
            }
        }
        let taken = control.info_number("used_memory") - before;
        assert!(taken < most * COUNT as i64, "{command}: {} bytes each", taken / COUNT as i64);
        let counted = field(&mut control, command, "tot-mem").expect("connected") as i64;
        assert!(
            (taken * 3 / 4..taken * 5 / 4).contains(&counted),
            "{command}: {taken} taken, {counted} counted"
        );
        subscribers.push(subscriber);
    }
    set(&mut control, "maxmemory-clients", "1mb");
    for command in ["SUBSCRIBE", "SSUBSCRIBE", "PSUBSCRIBE"] {
        wait_until_gone(&mut control, command);
    }
    assert_eq!(control.run("PUBSUB NUMPAT").integer(), 0);
}

#[test]
fn the_memory_of_a_client_has_the_keys_that_it_watches_and_is_blocked_on_and_its_prefixes() {
    const COUNT: usize = 10_000;
    // Blocking needs a single request; the others are sent in pieces, because a long request would enlarge the shared
    // buffers.
    for (command, each) in [("WATCH", 100), ("BLPOP", COUNT), ("CLIENT TRACKING ON BCAST", 100)] {
        let server = Server::start("--save ''");
        let mut control = server.client();
        let mut client = named(&server, "subject");
        let own = field(&mut control, "subject", "tot-mem").expect("connected") as i64;
        let before = control.info_number("used_memory");
        for first in (0..COUNT).step_by(each) {
            let mut words: Vec<String> = command.split(' ').map(str::to_string).collect();
            for n in first..first + each {
                if command.ends_with("BCAST") {
                    words.push("PREFIX".to_string());
                }
                words.push(format!("{n:020}"));
            }
            if command == "BLPOP" {
                words.push("0".to_string());
            }
            client.send(&words).expect("sent");
            if command != "BLPOP" {
                assert_eq!(client.read_reply().expect("a reply").value.text(), "OK");
            }
        }
        eventually("the request is executed", || {
            (field(&mut control, "subject", "tot-mem").expect("connected") > 50 * COUNT).then_some(())
        });
        let taken = control.info_number("used_memory") - before;
        let counted = field(&mut control, "subject", "tot-mem").expect("connected") as i64 - own;
        assert!(
            (taken * 4 / 5..taken * 6 / 5).contains(&counted),
            "{command}: {taken} taken, {counted} counted"
        );
    }
}
