//! Monitoring: the slow log, the latency monitor, MONITOR; and clients that wait for the end of a pause.

mod support;

use support::client::encode;
use support::server::subject_is_redis;
use support::{Client, Launch, Server, Value, eventually};

/// The lines of the slow log, the oldest first: arguments separated by spaces.
fn slow_commands(client: &mut Client) -> Vec<String> {
    let entries = client.run("SLOWLOG GET -1").elements();
    let words =
        |entry: &Value| entry.elements()[3].elements().iter().map(Value::text).collect::<Vec<_>>().join(" ");
    entries.iter().rev().map(words).collect()
}

/// The next line of a MONITOR feed, without its time.
fn line(monitor: &mut Client) -> String {
    let reply = monitor.read_reply().expect("a line").value;
    let Value::Simple(text) = &reply else { panic!("not a line: {reply:?}") };
    let text = String::from_utf8(text.clone()).expect("printable");
    let (time, rest) = text.split_once(' ').expect("a time");
    let (seconds, micros) = time.split_once('.').expect("microseconds");
    assert!(seconds.parse::<u64>().is_ok_and(|s| s > 1_600_000_000) && micros.len() == 6, "{text}");
    rest.to_string()
}

fn monitor(server: &Server) -> Client {
    let mut monitor = server.client();
    monitor.ok("MONITOR");
    monitor
}

fn address(client: &Client) -> String {
    format!("127.0.0.1:{}", client.local_port())
}

#[test]
fn at_threshold_zero_every_command_of_a_pipeline_is_in_the_slow_log_in_order() {
    let server = Server::start("--slowlog-log-slower-than 0 --slowlog-max-len 1000");
    let mut client = server.client();
    client.ok("SLOWLOG RESET");
    let commands: Vec<String> = (0..300).map(|n| format!("SET key{} {n}", n % 7)).collect();
    let requests: Vec<u8> = commands.iter().flat_map(|c| encode(&c.split(' ').collect::<Vec<_>>())).collect();
    client.send_raw(&requests).expect("send");
    for _ in &commands {
        assert_eq!(client.read_reply().expect("a reply").raw, b"+OK\r\n");
    }
    let logged = slow_commands(&mut client);
    assert_eq!(logged[0], "SLOWLOG RESET");
    assert_eq!(logged[1..], commands);
}

#[test]
fn an_entry_of_the_slow_log_says_who_when_and_how_long() {
    let server = Server::start("--slowlog-log-slower-than 20000 --enable-debug-command yes");
    let mut client = server.client();
    let before = client.run("TIME").elements()[0].text().parse::<i64>().expect("seconds");
    client.ok("CLIENT SETNAME sleeper");
    client.ok("DEBUG SLEEP 0.03");
    let entries = client.run("SLOWLOG GET").elements();
    // On a busy machine another command may have been slow.
    let entry = entries.iter().map(Value::elements).find(|e| e[3].elements()[0].text() == "DEBUG");
    let entry = entry.expect("the sleep is slow");
    let after = client.run("TIME").elements()[0].text().parse::<i64>().expect("seconds");
    assert!((before..=after).contains(&entry[1].integer()), "{entry:?}");
    assert!(entry[2].integer() > 25_000, "{entry:?}");
    assert_eq!(entry[4].text(), address(&client));
    assert_eq!(entry[5].text(), "sleeper");
}

#[test]
fn a_slow_command_among_fast_ones_of_a_pipeline_is_the_one_that_is_logged() {
    let server = Server::start("--slowlog-log-slower-than 50000 --enable-debug-command yes");
    let mut client = server.client();
    let mut requests = Vec::new();
    for n in 0..20 {
        requests.extend(encode(&["SET", "k", "v"]));
        if n == 10 {
            requests.extend(encode(&["DEBUG", "SLEEP", "0.06"]));
        }
    }
    client.send_raw(&requests).expect("send");
    for _ in 0..21 {
        assert_eq!(client.read_reply().expect("a reply").raw, b"+OK\r\n");
    }
    assert!(slow_commands(&mut client).contains(&"DEBUG SLEEP 0.06".to_string()));
}

#[test]
fn passwords_stay_secret_even_in_requests_that_fail() {
    let server = Server::start("--slowlog-log-slower-than 0");
    let (mut client, mut monitor) = (server.client(), monitor(&server));
    let mut requests = vec![
        "AUTH topsecret",
        "AUTH default topsecret",
        "HELLO 3 AUTH default topsecret",
        "HELLO 2 SETNAME me AUTH default topsecret",
        "CONFIG SET masterauth topsecret",
        "CONFIG SET hz 10 masteruser topsecret",
    ];
    if !subject_is_redis() {
        requests.extend(["AUTH default topsecret x", "HELLO 9 AUTH default topsecret"]);
    }
    for request in &requests {
        client.run(request);
    }
    client.run("ECHO end");
    let logged = slow_commands(&mut client);
    assert!(logged.len() > requests.len() && logged.iter().all(|l| !l.contains("topsecret")), "{logged:?}");
    loop {
        let line = line(&mut monitor);
        assert!(!line.contains("topsecret"), "{line}");
        if line.contains("ECHO") {
            break;
        }
    }
}

#[test]
fn a_monitor_sees_commands_of_all_clients_in_the_order_of_execution() {
    let server = Server::start("");
    let (mut one, mut two, mut monitor) = (server.client(), server.client(), monitor(&server));
    let mut pipeline = Vec::new();
    for n in 0..500 {
        pipeline.extend(encode(&["SET", &format!("k{n}"), "a b"]));
    }
    one.send_raw(&pipeline).expect("send");
    for _ in 0..500 {
        one.read_reply().expect("a reply");
    }
    two.ok("SELECT 5");
    two.run("GET x");
    for n in 0..500 {
        assert_eq!(line(&mut monitor), format!("[0 {}] \"SET\" \"k{n}\" \"a b\"", address(&one)));
    }
    assert_eq!(line(&mut monitor), format!("[5 {}] \"SELECT\" \"5\"", address(&two)));
    assert_eq!(line(&mut monitor), format!("[5 {}] \"GET\" \"x\"", address(&two)));
}

#[test]
fn a_monitor_sees_a_client_of_the_unix_socket_by_its_path() {
    let launch = Launch::subject();
    let path = launch.directory().join("socket").display().to_string();
    let server = launch.flags(&format!("--unixsocket {path}")).start();
    let mut monitor = monitor(&server);
    let mut client = Client::unix(path.as_ref()).expect("connect");
    client.run("PING");
    assert_eq!(line(&mut monitor), format!("[0 unix:{path}] \"PING\""));
}

#[test]
fn a_monitor_sees_large_arguments_whole() {
    let server = Server::start("");
    let (mut client, mut monitor) = (server.client(), monitor(&server));
    let value = "v".repeat(3 << 20);
    client.call(&["SET", "big", &value]);
    client.run("GET big");
    assert!(line(&mut monitor).ends_with(&format!("\"SET\" \"big\" \"{value}\"")));
    assert!(line(&mut monitor).ends_with("\"GET\" \"big\""));
}

#[test]
fn a_monitor_is_marked_in_the_list_of_clients_and_gone_when_it_leaves() {
    let server = Server::start("");
    let mut client = server.client();
    let mut monitor = monitor(&server);
    let marked = |client: &mut Client| client.run("CLIENT LIST").text().matches(" flags=O ").count();
    assert_eq!(marked(&mut client), 1);
    assert!(monitor.run("CLIENT INFO").text().contains(" flags=O "));
    drop(monitor);
    eventually("no monitor", || (marked(&mut client) == 0).then_some(()));
    assert_eq!(client.run("CLIENT LIST TYPE normal").text().lines().count(), 1);
}

#[test]
fn a_monitor_that_does_not_read_is_closed_at_the_limit_and_hurts_nobody() {
    let server = Server::start("");
    let mut client = server.client();
    client.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 4mb 0 0"]);
    let mut slow = monitor(&server);
    let mut quick = monitor(&server);
    let value = "x".repeat(100_000);
    let mut sent = 0;
    // Far more than the limit and the buffers of both sockets.
    eventually("the end of the monitor that does not read", || {
        client.call(&["SET", "k", &value]);
        sent += 1;
        assert!(line(&mut quick).ends_with(&format!("\"{value}\"")));
        let left = client.run("CLIENT LIST").text().matches(" flags=O ").count();
        (left == 1).then_some(())
    });
    assert!(sent > 40, "closed after only {sent} commands");
    slow.wait_closed();
    client.run("PING");
    assert!(line(&mut quick).ends_with("\"PING\""));
}

#[test]
fn replies_and_lines_of_a_monitor_stand_in_the_order_of_execution() {
    let server = Server::start("");
    let mut monitor = server.client();
    let requests = ["PING", "MONITOR", "ECHO a", "GET k", "ECHO b", "QUIT", "ECHO c"];
    let bytes: Vec<u8> = requests.iter().flat_map(|r| encode(&r.split(' ').collect::<Vec<_>>())).collect();
    monitor.send_raw(&bytes).expect("send");
    let text = String::from_utf8(monitor.wait_closed()).expect("printable");
    let own = format!("[0 {}]", address(&monitor));
    let lines: Vec<&str> = text
        .split("\r\n")
        .map(|l| if l.contains(&own) { l.rsplit("] ").next().unwrap_or(l) } else { l })
        .collect();
    let expected = [
        "+PONG",
        "+OK",
        "$1",
        "a",
        "\"ECHO\" \"a\"",
        "-ERR Replica can't interact with the keyspace",
        "$1",
        "b",
        "\"ECHO\" \"b\"",
        "+OK",
        "",
    ];
    assert_eq!(lines, expected);
}

/// Waits until `count` clients wait for the end of a pause.
fn wait_for_waiting(control: &mut Client, count: i64) {
    control.wait_for_info("blocked_clients", |waiting| waiting == count);
}

#[test]
fn paused_clients_go_on_in_order_with_all_that_they_have_sent() {
    let server = Server::start("");
    let mut control = server.client();
    control.ok("CLIENT PAUSE 1000000 WRITE");
    let big = "b".repeat(200_000);
    let mut paused: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for (n, client) in paused.iter_mut().enumerate() {
        client.send(&["APPEND", "order", &format!("{n},")]).expect("send");
        wait_for_waiting(&mut control, n as i64 + 1);
        // Later requests wait in the server: many small ones, a large one in pieces, an inline one.
        let mut more = Vec::new();
        for _ in 0..200 {
            more.extend(encode(&["INCR", &format!("counter{n}")]));
        }
        more.extend(encode(&["SET", &format!("big{n}"), &big]));
        more.extend(b"GET order\r\n");
        let (first, second) = more.split_at(more.len() / 2);
        client.send_raw(first).expect("send");
        client.send_raw(second).expect("send");
    }
    assert!(control.run("GET order").is_null());
    control.ok("CLIENT UNPAUSE");
    let order: String = (0..20).flat_map(|n| [n.to_string(), ",".to_string()]).collect();
    for (n, client) in paused.iter_mut().enumerate() {
        let own_end: usize = (0..=n).map(|n| format!("{n},").len()).sum();
        assert_eq!(client.read_reply().expect("the length").value.integer(), own_end as i64);
        for i in 1..=200 {
            assert_eq!(client.read_reply().expect("a count").value.integer(), i);
        }
        assert_eq!(client.read_reply().expect("the reply").raw, b"+OK\r\n");
        assert!(order.starts_with(&client.read_reply().expect("the text").value.text()));
    }
    assert_eq!(control.run("GET order").text(), order);
    assert_eq!(control.run("STRLEN big19").integer(), 200_000);
    assert_eq!(control.info_number("blocked_clients"), 0);
}

#[test]
fn a_whole_pipeline_in_one_packet_waits_from_its_first_write_on() {
    let server = Server::start("");
    let (mut control, mut client) = (server.client(), server.client());
    let big = "b".repeat(100_000);
    let mut requests = Vec::new();
    requests.extend(encode(&["ECHO", "before"]));
    requests.extend(encode(&["CLIENT", "PAUSE", "1000000", "WRITE"]));
    requests.extend(encode(&["GET", "k"]));
    requests.extend(encode(&["SET", "k", "first"]));
    requests.extend(encode(&["GET", "k"]));
    requests.extend(b"SET k 'second word'\r\nGET k\r\n");
    requests.extend(encode(&["SET", "k", &big]));
    requests.extend(b"STRLEN k\r\n*1\r\n@PING\r\n");
    client.send_raw(&requests).expect("send");
    for reply in [&b"$6\r\nbefore\r\n"[..], b"+OK\r\n", b"$-1\r\n"] {
        assert_eq!(client.read_reply().expect("a reply").raw, reply);
    }
    wait_for_waiting(&mut control, 1);
    assert!(control.run("CLIENT LIST").text().contains(" flags=b "));
    assert!(control.run("GET k").is_null());
    control.ok("CLIENT UNPAUSE");
    let rest = String::from_utf8(client.wait_closed()).expect("text");
    assert_eq!(
        rest,
        "+OK\r\n$5\r\nfirst\r\n+OK\r\n$11\r\nsecond word\r\n+OK\r\n:100000\r\n\
         -ERR Protocol error: expected '$', got '@'\r\n"
    );
}

#[test]
fn a_large_value_that_waits_is_stored_whole() {
    let server = Server::start("");
    let (mut control, mut client) = (server.client(), server.client());
    control.ok("CLIENT PAUSE 1000000 WRITE");
    let (big, small) = ("b".repeat(300_000), "s".repeat(40_000));
    let requests = [encode(&["MSET", "one", &big, "two", &small, "three", &big]), encode(&["STRLEN", "two"])];
    for piece in requests.concat().chunks(100_000) {
        client.send_raw(piece).expect("send");
    }
    wait_for_waiting(&mut control, 1);
    control.ok("CLIENT UNPAUSE");
    assert_eq!(client.read_reply().expect("the reply").raw, b"+OK\r\n");
    assert_eq!(client.read_reply().expect("the length").value.integer(), 40_000);
    assert!(control.run("GET one").text() == big && control.run("GET three").text() == big);
    assert!(control.run("GET two").text() == small);
}

#[test]
fn a_pause_ends_by_itself() {
    let server = Server::start("--hz 1");
    let (mut control, mut client) = (server.client(), server.client());
    control.ok("CLIENT PAUSE 300 ALL");
    client.ok("SET k v");
    assert_eq!(control.run("GET k").text(), "v");
}

#[test]
fn requests_that_are_refused_anyway_are_refused_during_a_pause() {
    let server = Server::start("--requirepass secret");
    let (mut control, mut stranger) = (server.client(), server.client());
    control.ok("AUTH secret");
    control.ok("MONITOR");
    control.ok("CLIENT PAUSE 1000000 ALL");
    assert_eq!(stranger.run("GET k").text(), "NOAUTH Authentication required.");
    assert!(stranger.run("NOSUCH").text().starts_with("ERR unknown command"));
    stranger.send(&["AUTH", "secret"]).expect("send");
    eventually("a client that waits", || {
        let waits = control.run("CLIENT LIST").text().contains(" flags=b ");
        waits.then_some(())
    });
    control.ok("CLIENT UNPAUSE");
    assert_eq!(stranger.read_reply().expect("the reply").raw, b"+OK\r\n");
    stranger.ok("SET k v");
}

#[test]
fn a_client_that_hangs_up_or_is_killed_while_it_waits_leaves_nothing_behind() {
    let server = Server::start("");
    let mut control = server.client();
    control.ok("CLIENT PAUSE 1000000 WRITE");
    // After a reply, the server has accepted and counted this connection.
    let quiet = server.open_files();
    let mut waiting: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send(&["INCR", "counter"]).expect("send");
        client.send(&["INCR", "counter"]).expect("send");
    }
    wait_for_waiting(&mut control, 10);
    waiting.truncate(4);
    wait_for_waiting(&mut control, 4);
    let mut killed = waiting.pop().expect("a client");
    control.ok(&format!("CLIENT KILL {}", address(&killed)));
    assert!(killed.wait_closed().is_empty());
    drop(killed);
    wait_for_waiting(&mut control, 3);
    control.ok("CLIENT UNPAUSE");
    for client in &mut waiting {
        for _ in 0..2 {
            assert!(client.read_reply().expect("a count").value.integer() <= 6);
        }
    }
    assert_eq!(control.run("GET counter").text(), "6");
    assert_eq!(control.info_number("blocked_clients"), 0);
    drop(waiting);
    eventually("closed sockets", || (server.open_files() <= quiet).then_some(()));
}

#[test]
fn a_thousand_clients_can_wait() {
    let server = Server::start("");
    let mut control = server.client();
    control.ok("CLIENT PAUSE 1000000 WRITE");
    let mut waiting: Vec<Client> = (0..1000).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send(&["INCR", "counter"]).expect("send");
    }
    wait_for_waiting(&mut control, 1000);
    control.ok("CLIENT UNPAUSE");
    let mut counts: Vec<i64> =
        waiting.iter_mut().map(|client| client.read_reply().expect("a count").value.integer()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn expired_keys_stay_in_the_data_set_during_a_pause() {
    let server = Server::start("");
    let mut client = server.client();
    // The key cannot expire before the pause begins.
    client.ok("MULTI");
    client.run("SET dies v PX 100");
    client.run("CLIENT PAUSE 1000000 WRITE");
    assert_eq!(client.run("EXEC").elements().len(), 2);
    eventually("the key's end", || client.run("GET dies").is_null().then_some(()));
    // Cron, which could delete the key, runs several times.
    let start = client.info_number("uptime_in_seconds");
    client.wait_for_info("uptime_in_seconds", |now| now >= start + 2);
    assert_eq!(client.run("DBSIZE").integer(), 1);
    assert_eq!(client.info_number("expired_keys"), 0);
    if !subject_is_redis() {
        // Redis 7.0 searches forever for a key that has not expired.
        assert_eq!(client.run("RANDOMKEY").text(), "dies");
    }
    client.ok("CLIENT UNPAUSE");
    eventually("an empty data set", || (client.run("DBSIZE").integer() == 0).then_some(()));
    assert_eq!(client.info_number("expired_keys"), 1);
}

#[test]
fn the_latency_monitor_keeps_the_worst_time_of_an_event() {
    let server = Server::start("--latency-monitor-threshold 20 --enable-debug-command yes");
    let mut client = server.client();
    for sleep in ["0.03", "0.08", "0.04"] {
        client.ok(&format!("DEBUG SLEEP {sleep}"));
    }
    let all = client.run("LATENCY LATEST").elements();
    let command =
        all.iter().map(Value::elements).find(|event| event[0].text() == "command").expect("the sleeps");
    assert!(command[3].integer() > 70, "{command:?}");
    let history = client.run("LATENCY HISTORY command").elements();
    let times: Vec<i64> = history.iter().map(|sample| sample.elements()[1].integer()).collect();
    assert!(times.contains(&command[3].integer()), "{times:?}");
    let graph = client.run("LATENCY GRAPH command").text();
    assert!(graph.starts_with(&format!("command - high {} ms", command[3].integer())), "{graph}");
    assert!(client.run("LATENCY DOCTOR").text().starts_with("Dave, I have observed latency spikes"));
    assert!(client.run("LATENCY RESET command").integer() == 1);
    assert!(client.run("LATENCY HISTORY command").elements().is_empty());
}

#[test]
fn a_cycle_that_expires_many_keys_is_a_latency_event() {
    // Takes longer than a slice of the expiry cycle. Clients are served between slices.
    let server = Server::start("--latency-monitor-threshold 4");
    let mut client = server.client();
    // All keys expire at once, when the script has ended.
    let script = "for i=1,100000 do redis.call('SET','key:'..i,'v','PX',1) end";
    client.call(&["EVAL", script, "0"]);
    eventually("all keys are expired", || (client.run("DBSIZE").integer() == 0).then_some(()));
    assert_eq!(client.info_number("expired_keys"), 100_000);
    let history = client.run("LATENCY HISTORY expire-cycle").elements();
    assert!(!history.is_empty() && history[0].elements()[1].integer() >= 4, "{history:?}");
}

#[test]
fn the_histogram_counts_every_call_of_a_command_once() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("CONFIG RESETSTAT");
    let requests: Vec<u8> = (0..1000).flat_map(|_| encode(&["SET", "k", "v"])).collect();
    client.send_raw(&requests).expect("send");
    for _ in 0..1000 {
        client.read_reply().expect("a reply");
    }
    client.run("CLIENT ID");
    let all = client.run("LATENCY HISTOGRAM set get client nosuch");
    assert_eq!(all.elements().len(), 4, "set and client|id: {all:?}");
    let set = all.field("set");
    assert_eq!(set.field("calls").integer(), 1000);
    let steps = set.field("histogram_usec").elements();
    let counts: Vec<i64> = steps.chunks(2).map(|step| step[1].integer()).collect();
    assert!(counts.is_sorted() && counts.last() == Some(&1000), "{counts:?}");
    assert_eq!(all.field("client|id").field("calls").integer(), 1);
}

#[test]
fn a_monitor_is_shown_a_blocking_command_once_when_it_is_called() {
    let server = Server::start("");
    let mut monitor = monitor(&server);
    let (mut waiting, mut pushing) = (server.client(), server.client());
    assert!(waiting.run("BLPOP k 0.001").is_null());
    waiting.send(&["BLPOP", "k", "0"]).expect("send");
    wait_for_waiting(&mut pushing, 1);
    pushing.run("RPUSH k v");
    let shown: Vec<String> = std::iter::repeat_with(|| line(&mut monitor))
        .map(|line| line.split_once("] ").expect("a client").1.to_string())
        .filter(|line| !line.contains("INFO"))
        .take(3)
        .collect();
    assert_eq!(shown, [r#""BLPOP" "k" "0.001""#, r#""BLPOP" "k" "0""#, r#""RPUSH" "k" "v""#]);
    waiting.read_reply().expect("the element");
    pushing.run("ECHO end");
    assert!(line(&mut monitor).ends_with(r#""ECHO" "end""#));
}

#[test]
fn a_wait_in_vain_and_a_flush_that_is_waited_for_are_in_the_slow_log() {
    let server = Server::start("--slowlog-log-slower-than 0 --enable-debug-command yes");
    let mut client = server.client();
    client.run("BLPOP k 0.001");
    client.ok("DEBUG POPULATE 20000");
    client.ok("FLUSHALL SYNC");
    let names: Vec<String> = client
        .run("SLOWLOG GET 3")
        .elements()
        .iter()
        .map(|entry| entry.elements()[3].elements()[0].text())
        .collect();
    assert_eq!(names, ["FLUSHALL", "DEBUG", "BLPOP"]);
    assert!(client.info("cmdstat_flushall").starts_with("calls=1,"));
    assert!(client.info("cmdstat_blpop").starts_with("calls=1,"));
}
