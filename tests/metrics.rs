//! `metrics-port`: the metrics agree with INFO, no request harms the server, and browsers show the status page.
//!
//! The last test opens the page in `chromium-headless-shell`, driven by `node`. If one of them is missing, it prints
//! that and tests nothing; with `REDSTART_REQUIRE_BROWSER=1`, as in `.ci/run`, it fails.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use support::http::get;
use support::server::free_port;
use support::{Client, Http, Scrape, Server, Value, eventually};

/// A server with a metrics port.
fn start(flags: &str) -> (Server, u16) {
    let port = free_port();
    (Server::start(&format!("--metrics-port {port} {flags}")), port)
}

fn scrape(port: u16) -> Scrape {
    let response = Http::get(port, "/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Scrape::read(&response.body)
}

/// The fields of `INFO everything` and their values.
fn info(client: &mut Client) -> BTreeMap<String, String> {
    let text = client.run("INFO everything debug").text();
    let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    fields.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn nothing_listens_until_a_port_is_set_and_it_can_be_set_and_taken_back() {
    let server = Server::start("");
    let mut client = server.client();
    assert_eq!(client.run("CONFIG GET metrics-port").elements()[1].text(), "0");
    let port = free_port();
    client.ok(&format!("CONFIG SET metrics-port {port}"));
    let mut kept = Http::connect(port);
    assert_eq!(kept.ask("/health").body, "ok\n");
    // Another port replaces the first, and closes its connections.
    let other = free_port();
    client.ok(&format!("CONFIG SET metrics-port {other}"));
    assert_eq!(kept.wait_closed(), "");
    assert!(Client::tcp(port).is_err());
    // A port in use is refused, and the old one stays.
    for taken in [server.port(), other] {
        let name = if taken == other { "port" } else { "metrics-port" };
        let refused = client.run(&format!("CONFIG SET {name} {taken}"));
        assert!(refused.text().contains("Unable to listen on this port"), "{refused:?}");
        let logged = format!("Failed listening on port {taken} (tcp): the old listeners are kept");
        eventually("it is logged", || server.log().contains(&logged).then_some(()));
    }
    assert_eq!(Http::get(other, "/health").status, 200);
    assert_eq!(server.client().run("PING").text(), "PONG");
    client.ok("CONFIG SET metrics-port 0");
    assert!(Client::tcp(other).is_err());
    eventually("it is logged", || server.log().contains("Metrics are not served any more").then_some(()));
    for port in [port, other] {
        assert_eq!(server.log().matches(&format!("Ready to serve metrics on port {port}\n")).count(), 1);
    }
    assert!(!server.log().contains("aborting"), "{}", server.log());
    assert_eq!(server.client().run("PING").text(), "PONG");
}

#[test]
fn the_figures_are_those_of_info_at_the_same_moment() {
    let (server, port) = start("--maxmemory 500mb --appendonly yes");
    let mut client = server.client();
    for i in 0..100 {
        client.ok(&format!("SET key:{i} value EX {}", 1000 + i));
    }
    client.ok("SELECT 3");
    client.run("LPUSH list a b c");
    client.run("GET nothing");
    client.run("LPUSH list:1");
    client.run("INCR list");
    let commands = [
        ("redis_memory_max_bytes", "maxmemory"),
        ("redis_memory_used_startup_bytes", "used_memory_startup"),
        ("redis_total_system_memory_bytes", "total_system_memory"),
        ("redis_connected_clients", "connected_clients"),
        ("redis_blocked_clients", "blocked_clients"),
        ("redis_max_clients", "maxclients"),
        ("redis_connections_received_total", "total_connections_received"),
        ("redis_commands_processed_total", "total_commands_processed"),
        ("redis_net_output_bytes_total", "total_net_output_bytes"),
        ("redis_net_input_bytes_total", "total_net_input_bytes"),
        ("redis_keyspace_hits_total", "keyspace_hits"),
        ("redis_keyspace_misses_total", "keyspace_misses"),
        ("redis_expired_keys_total", "expired_keys"),
        ("redis_evicted_keys_total", "evicted_keys"),
        ("redis_rdb_changes_since_last_save", "rdb_changes_since_last_save"),
        ("redis_rdb_last_save_timestamp_seconds", "rdb_last_save_time"),
        ("redis_rdb_last_bgsave_duration_sec", "rdb_last_bgsave_time_sec"),
        ("redis_aof_enabled", "aof_enabled"),
        ("redis_aof_current_size_bytes", "aof_current_size"),
        ("redis_total_error_replies", "total_error_replies"),
        ("redis_replication_backlog_bytes", "repl_backlog_size"),
        ("redis_second_repl_offset", "second_repl_offset"),
        ("redis_acl_access_denied_auth_total", "acl_access_denied_auth"),
        ("redis_eventloop_cmd_per_cycle_max", "eventloop_cmd_per_cycle_max"),
    ];
    // Some fields change with each request, so the metric must be between INFO's values before and after the scrape.
    let mut compared = BTreeSet::new();
    eventually("every field is compared", || {
        let (before, scrape, after) = (info(&mut client), scrape(port), info(&mut client));
        for (metric, field) in commands {
            let (earlier, value, later) = (
                before[field].parse::<f64>().unwrap(),
                scrape.value(metric),
                after[field].parse::<f64>().unwrap(),
            );
            assert!(earlier <= value && value <= later, "{metric}: {earlier} {value} {later}");
            if earlier == later
                || ["commands_processed", "output_bytes", "input_bytes"].iter().any(|it| metric.contains(it))
            {
                compared.insert(metric);
            }
        }
        (compared.len() == commands.len()).then_some(())
    });
    let (scrape, info) = (scrape(port), info(&mut client));
    assert_eq!(scrape.value("redis_rdb_last_bgsave_status"), 1.0);
    assert_eq!(scrape.labelled("redis_db_keys", "db", "db0"), Some(100.0));
    assert_eq!(scrape.labelled("redis_db_keys_expiring", "db", "db0"), Some(100.0));
    assert_eq!(scrape.labelled("redis_db_keys", "db", "db3"), Some(1.0));
    assert_eq!(scrape.labelled("redis_db_keys", "db", "db15"), Some(0.0));
    assert!(scrape.labelled("redis_db_avg_ttl_seconds", "db", "db3") == Some(0.0));
    assert_eq!(scrape.labelled("redis_errors_total", "err", "WRONGTYPE"), Some(1.0));
    assert_eq!(scrape.labelled("redis_errors_total", "err", "ERR"), Some(1.0));
    for (command, calls, rejected, failed) in [("set", 100, 0, 0), ("lpush", 1, 1, 0), ("incr", 1, 0, 1)] {
        let of = |what: &str| scrape.labelled(what, "cmd", command).unwrap() as i64;
        assert_eq!(of("redis_commands_total"), calls, "{command}");
        assert_eq!(of("redis_commands_rejected_calls_total"), rejected, "{command}");
        assert_eq!(of("redis_commands_failed_calls_total"), failed, "{command}");
        let row = &info[&format!("cmdstat_{command}")];
        let usec: f64 = row.split("usec=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        let seconds = scrape.labelled("redis_commands_duration_seconds_total", "cmd", command).unwrap();
        assert_eq!((seconds * 1e6).round(), usec, "{command}");
        let percentiles = &info[&format!("latency_percentiles_usec_{command}")];
        let quantiles = &scrape.samples["redis_latency_percentiles_usec"];
        for told in percentiles.split(',') {
            let (quantile, usec) = told[1..].split_once('=').unwrap();
            let found = quantiles.iter().any(|(labels, value)| {
                labels["cmd"] == command
                    && labels["quantile"] == quantile
                    && *value == usec.parse::<f64>().unwrap()
            });
            assert!(found, "{command} p{quantile}={usec}");
        }
    }
}

#[test]
fn histograms_count_up_to_the_number_of_calls_at_the_same_bounds_for_all_commands() {
    let (server, port) = start("");
    let mut client = server.client();
    (0..50).for_each(|i| client.ok(&format!("SET k{i} v")));
    client.run("GET k1");
    let scrape = scrape(port);
    let mut steps: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for (labels, calls) in &scrape.samples["redis_commands_latencies_usec_bucket"] {
        steps.entry(&labels["cmd"]).or_default().push((&labels["le"], *calls));
    }
    let bounds = |steps: &[(&str, f64)]| steps.iter().map(|step| step.0.to_string()).collect::<Vec<_>>();
    assert_eq!(bounds(&steps["set"]), bounds(&steps["get"]));
    assert!(steps["set"].is_sorted_by(|a, b| a.1 <= b.1));
    assert_eq!(steps["set"].last(), Some(&("+Inf", 50.0)));
    let told = client.run("LATENCY HISTOGRAM set").field("set").field("histogram_usec");
    for step in told.elements().chunks(2) {
        let (bound, calls) = (step[0].integer().to_string(), step[1].integer() as f64);
        let found = steps["set"].iter().find(|(le, _)| *le == bound);
        assert!(found.is_some_and(|(_, count)| *count == calls), "le {bound}: {calls}");
    }
    client.ok("CONFIG SET latency-tracking no");
    client.ok("CONFIG RESETSTAT");
    client.run("GET k1");
    assert!(!scrape_has(port, "redis_commands_latencies_usec_bucket"));
}

fn scrape_has(port: u16, name: &str) -> bool {
    scrape(port).samples.contains_key(name)
}

#[test]
fn the_metrics_of_redis_exporter_are_there_under_their_names() {
    let (server, port) =
        start("--latency-monitor-threshold 1 --slowlog-log-slower-than 0 --enable-debug-command yes");
    let mut client = server.client();
    client.ok("SET a b");
    client.run("NOTHING");
    client.ok("DEBUG SLEEP 0.01");
    let scrape = scrape(port);
    for name in include_str!("metrics/redis_exporter.txt").lines() {
        assert!(scrape.samples.contains_key(name), "{name}");
    }
    assert_eq!(scrape.value("redis_up"), 1.0);
    assert!(scrape.value("redis_slowlog_length") >= 3.0 && scrape.value("redis_slowlog_last_id") >= 2.0);
    assert!(scrape.value("redis_last_slow_execution_duration_seconds") >= 0.01);
    let spike = scrape.labelled("redis_latency_spike_duration_seconds", "event_name", "command");
    assert!(spike.is_some_and(|seconds| seconds >= 0.01), "{spike:?}");
    let (labels, _) = &scrape.samples["redis_instance_info"][0];
    assert_eq!(labels["redis_version"], client.info("redis_version"));
    assert_eq!(labels["run_id"], client.info("run_id"));
}

/// A primary and its replica, which has received all of the stream, with their metrics ports.
fn start_pair() -> [(Server, u16); 2] {
    let primary = start("--save  --repl-diskless-sync-delay 0");
    primary.0.client().ok("SET a b");
    let replica = start(&format!("--save  --replicaof 127.0.0.1 {}", primary.0.port()));
    let (mut to_primary, mut to_replica) = (primary.0.client(), replica.0.client());
    eventually("the replica has acknowledged everything", || {
        let end = to_primary.info("master_repl_offset");
        let row = to_primary.run("INFO replication").text();
        let has_all = row.contains(&format!(",state=online,offset={end},"));
        (has_all && to_replica.info("slave_repl_offset") == end).then_some(())
    });
    [primary, replica]
}

#[test]
fn the_metrics_of_primary_and_replica_name_each_other() {
    let [(primary, primary_web), (replica, replica_web)] = start_pair();
    let (primary_port, replica_port) = (primary.port().to_string(), replica.port().to_string());
    let (mut to_primary, mut to_replica) = (primary.client(), replica.client());
    let own = scrape(primary_web);
    assert_eq!(own.labelled("redis_instance_info", "role", "master"), Some(1.0));
    assert_eq!(own.value("redis_connected_slaves"), 1.0);
    for name in ["redis_connected_slave_offset_bytes", "redis_connected_slave_lag_seconds"] {
        let (labels, _) = &own.samples[name][0];
        let of = |label: &str| labels[label].as_str();
        assert_eq!((labels.len(), of("slave_ip"), of("slave_state")), (3, "127.0.0.1", "online"), "{name}");
        assert_eq!(of("slave_port"), replica_port);
    }
    // PINGs and writes advance the offset.
    eventually("the offset is that of INFO", || {
        let before = to_replica.info_number("slave_repl_offset") as f64;
        let told =
            scrape(primary_web).labelled("redis_connected_slave_offset_bytes", "slave_state", "online");
        let after = to_primary.info_number("master_repl_offset") as f64;
        told.filter(|told| before <= *told && *told <= after)
    });
    assert!(
        !own.samples.contains_key("redis_slave_info") && !own.samples.contains_key("redis_master_link_up")
    );

    let other = scrape(replica_web);
    assert_eq!(other.labelled("redis_instance_info", "role", "slave"), Some(1.0));
    for (name, labels, value) in [
        ("redis_slave_info", 3, Some(1.0)),
        ("redis_master_link_up", 2, Some(1.0)),
        ("redis_master_sync_in_progress", 2, Some(0.0)),
        ("redis_master_last_io_seconds_ago", 2, None),
        ("redis_slave_repl_offset", 2, None),
    ] {
        let (told, of) = &other.samples[name][0];
        assert_eq!((told.len(), &*told["master_host"]), (labels, "127.0.0.1"), "{name}");
        assert_eq!(told["master_port"], primary_port, "{name}");
        assert!(value.is_none_or(|value| *of == value), "{name} is {of}");
    }
    assert_eq!(other.labelled("redis_slave_info", "slave_read_only", "1"), Some(1.0));
    drop(primary);
    eventually("the link is down", || {
        (scrape(replica_web).labelled("redis_master_link_up", "master_port", &primary_port)? == 0.0)
            .then_some(())
    });
    to_replica.ok("REPLICAOF NO ONE");
    let own = scrape(replica_web);
    assert_eq!(own.labelled("redis_instance_info", "role", "master"), Some(1.0));
    assert!(
        !own.samples.contains_key("redis_slave_info") && !own.samples.contains_key("redis_master_link_up")
    );
}

#[test]
fn replicas_that_do_not_tell_their_port_are_one_sample() {
    let (server, port) = start("--save  --repl-diskless-sync-delay 0");
    let mut replicas: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for replica in &mut replicas {
        replica.ok("REPLCONF ip-address a\"b<i>");
        replica.send(&["PSYNC", "?", "-1"]).unwrap();
    }
    let mut client = server.client();
    client.ok("SET k v");
    eventually("there are three", || {
        // Only offsets that were sent count.
        for (index, replica) in replicas.iter_mut().enumerate() {
            replica.send(&["REPLCONF", "ACK", &index.to_string()]).unwrap();
        }
        let text = client.run("INFO replication").text();
        let of = |offset: usize| text.contains(&format!(",port=0,state=online,offset={offset},"));
        (0..3).all(of).then_some(())
    });
    // Parsing the scrape fails on two samples with the same labels.
    let scrape = scrape(port);
    let samples = &scrape.samples["redis_connected_slave_offset_bytes"];
    assert_eq!((samples.len(), &*samples[0].0["slave_ip"], samples[0].1), (1, "a\"b<i>", 0.0));
    let page = Http::get(port, "/").body;
    check_html(&page);
    assert_eq!(page.matches("<td>a&quot;b&lt;i&gt;:0</td><td>online</td>").count(), 3, "{page}");
}

#[test]
fn the_status_page_shows_the_link_at_both_ends() {
    let [(primary, primary_web), (replica, replica_web)] = start_pair();
    let page = Http::get(primary_web, "/").body;
    check_html(&page);
    let row = format!("<tr><td>127.0.0.1:{}</td><td>online</td><td>", replica.port());
    let told = page.split_once(&row).unwrap_or_else(|| panic!("no {row} in {page}")).1;
    assert!(told.split_once("</tr>").unwrap().0.ends_with(" ago</td>"), "{told}");
    assert!(page.contains("<dt>role</dt><dd>primary</dd>") && page.contains("<dt>replicas</dt><dd>1</dd>"));
    let page = Http::get(replica_web, "/").body;
    check_html(&page);
    let address = format!("<dt>primary</dt><dd>127.0.0.1:{}</dd>", primary.port());
    for shown in ["<dt>role</dt><dd>replica</dd>", &address, "<dt>link</dt><dd><span class=\"good\">up"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    drop(primary);
    let page = eventually("the page shows that the link is down", || {
        let page = Http::get(replica_web, "/").body;
        page.contains("<dt>link</dt><dd><span class=\"bad\">down for ").then_some(page)
    });
    check_html(&page);
    assert!(page.contains("<dt>last bytes</dt><dd>–</dd>"), "{page}");
}

#[test]
fn metrics_keep_their_names_and_types() {
    let (_server, port) = start("");
    let types = scrape(port).types;
    let metrics: BTreeSet<String> = types.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let listed: BTreeSet<String> = include_str!("metrics/names.txt").lines().map(String::from).collect();
    let gone: Vec<_> = listed.difference(&metrics).collect();
    let new: Vec<_> = metrics.difference(&listed).collect();
    assert!(gone.is_empty() && new.is_empty(), "missing: {gone:?}, not in names.txt: {new:?}");
}

#[test]
fn a_code_of_an_error_that_a_script_made_up_breaks_nothing() {
    let (server, port) = start("");
    let mut client = server.client();
    let long = "X".repeat(10_000);
    for code in ["<script>alert(1)</script>", "A\"B\\C", "\u{fffd}\u{1}", &long, "other"] {
        client.call(&["EVAL", "return redis.error_reply(ARGV[1] .. ' secret')", "0", code]);
    }
    let scrape = scrape(port);
    let count = |code: &str| scrape.labelled("redis_errors_total", "err", code);
    assert_eq!(count("<script>alert(1)</script>"), Some(1.0));
    assert_eq!(count("A\"B\\C"), Some(1.0));
    assert_eq!(count("other"), Some(2.0), "words that are no error code, and the word `other`");
    let page = Http::get(port, "/").body;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
    assert!(!page.contains("secret") && !page.contains("XXX"));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (_server, port) = start("");
    let mut http = Http::connect(port);
    for (path, status, kind) in [
        ("/health", 200, "text/plain; charset=utf-8"),
        ("/metrics?name=x", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/", 200, "text/html; charset=utf-8"),
        ("/nothing", 404, "text/plain; charset=utf-8"),
        ("/metrics/", 404, "text/plain; charset=utf-8"),
        ("http://other/health", 200, "text/plain; charset=utf-8"),
    ] {
        let response = http.ask(path);
        assert_eq!((response.status, &*response.headers["content-type"]), (status, kind), "{path}");
        assert_eq!(response.headers["connection"], "keep-alive");
        assert_eq!(response.headers["x-content-type-options"], "nosniff");
    }
    http.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = http.receive_head();
    assert_eq!((head.status, &*head.headers["content-length"]), (200, "3"));
    // Sends all requests at once, more than fit into a buffer.
    http.send(&get("/health").repeat(1000));
    for _ in 0..1000 {
        assert_eq!(http.receive().body, "ok\n");
    }
    // Sends a byte at a time.
    for byte in get("/health").chars() {
        http.send(&byte.to_string());
    }
    assert_eq!(http.receive().status, 200);
    http.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    let refused = http.receive();
    assert_eq!((refused.status, &*refused.headers["allow"]), (405, "GET, HEAD"));
    assert_eq!(refused.headers["connection"], "close");
    assert_eq!(http.wait_closed(), "");
}

#[test]
fn the_last_response_arrives_whatever_was_sent_behind_the_request() {
    let (_server, port) = start("");
    let body = "x".repeat(60_000);
    for (request, status) in [
        (format!("GET /metrics HTTP/1.0\r\n\r\n{body}"), 200),
        (format!("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{body}"), 405),
        (format!("GET /{body}"), 414),
        (format!("GET / HTTP/1.1\r\nCookie: {body}"), 431),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/3.0\r\n\r\n".into(), 505),
        ("\u{16}\u{3}\u{1}".into(), 400),
        ("*1\r\n$4\r\nPING\r\n".into(), 400),
    ] {
        let mut http = Http::connect(port);
        http.send(&request);
        let response = http.receive();
        assert_eq!((response.status, &*response.headers["connection"]), (status, "close"));
        http.finish_sending();
        assert_eq!(http.wait_closed(), "");
    }
    // A client that has shut down its writing side still gets its reply.
    let mut http = Http::connect(port);
    http.send(&get("/health"));
    http.finish_sending();
    assert_eq!(http.receive().body, "ok\n");
    assert_eq!(http.wait_closed(), "");
}

#[test]
fn clients_that_vanish_or_do_not_read_delay_nobody() {
    let (server, port) = start("");
    let mut client = server.client();
    let files = eventually("no other connection", || {
        (client.info_number("connected_clients") == 1).then(|| server.open_files())
    });
    for round in 0..100 {
        let mut http = Http::connect(port);
        http.send(&get("/metrics")[..round % 40]);
        drop(http);
        let mut http = Http::connect(port);
        http.send(&get("/metrics").repeat(round % 7));
        drop(http);
    }
    let are_gone = || (server.open_files() <= files).then_some(());
    eventually("all descriptors are closed", are_gone);
    // Each of these has a larger response than its socket holds.
    let mut deaf: Vec<Http> = (0..8).map(|_| Http::connect(port)).collect();
    for http in &mut deaf {
        http.send(&get("/metrics").repeat(180));
    }
    client.ok("SET a b");
    assert_eq!(client.run("GET a").text(), "b");
    assert_eq!(Http::get(port, "/health").status, 200);
    for http in &mut deaf {
        (0..180).for_each(|_| assert_eq!(http.receive().status, 200));
    }
    drop(deaf);
    eventually("all descriptors are closed", are_gone);
}

#[test]
fn connections_for_metrics_are_few_and_do_not_count_as_clients() {
    let (server, port) = start("--maxclients 1");
    // The connection that saw the server ready may not be closed yet.
    let mut client = eventually("a free connection", || {
        let mut client = server.try_client()?;
        client.try_call(&["PING"]).is_ok_and(|reply| reply.value.text() == "PONG").then_some(client)
    });
    // Idle connections are closed for newer ones.
    let mut idle: Vec<Http> = (0..40).map(|_| Http::connect(port)).collect();
    for http in &mut idle[24..] {
        assert_eq!(http.ask("/health").status, 200);
    }
    assert!(idle[..24].iter_mut().all(|http| http.wait_closed().is_empty()));
    assert_eq!(scrape_value_through(&mut idle[39], "redstart_web_connections"), 16.0);
    assert_eq!(client.info_number("connected_clients"), 1);
    let clients = client.run("CLIENT ID").integer();
    assert_eq!(client.info_number("total_connections_received"), clients);
    // Connections in the middle of a request are not.
    idle.drain(..24);
    for http in &mut idle {
        http.send(&(get("/health") + "GET"));
        assert_eq!(http.receive().status, 200);
    }
    let refused = eventually("all connections are in use", || {
        let mut http = Http::connect(port);
        http.send(&get("/health"));
        let response = http.receive();
        (response.status == 503).then_some(response)
    });
    assert_eq!(refused.body, "Too many connections.\n");
    for http in &mut idle {
        http.send(" /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(http.receive().status, 200);
    }
}

fn scrape_value_through(http: &mut Http, name: &str) -> f64 {
    Scrape::read(&http.ask("/metrics").body).value(name)
}

#[test]
fn a_request_that_does_not_arrive_is_ended_and_an_idle_connection_stays() {
    let (server, port) = start("");
    let (mut half, mut silent, mut idle) = loop {
        let began = Instant::now();
        let (mut half, silent, mut idle) = (Http::connect(port), Http::connect(port), Http::connect(port));
        let sent = half.try_send("GET /metrics HT").and(idle.try_send(&get("/health")));
        // If the machine stalled for longer than the timeout of a request, the server was right to close them.
        if sent.is_ok() && began.elapsed() < Duration::from_secs(5) {
            break (half, silent, idle);
        }
    };
    assert_eq!(idle.receive().status, 200);
    // The server closes it after ten seconds.
    let late = half.receive();
    assert_eq!((late.status, &*late.headers["connection"]), (408, "close"));
    assert_eq!(silent.wait_closed(), "");
    assert_eq!(idle.ask("/health").status, 200);
    drop(server);
}

/// An address of this machine other than loopback. Connecting a datagram socket sends nothing.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn protected_mode_holds_for_metrics_as_well() {
    let Some(address) = outer_address() else {
        println!("not tested: this machine has only loopback addresses");
        return;
    };
    let (server, port) = start("");
    let outer =
        || Client::tcp_at(SocketAddr::from((address, port))).expect("the port is open on all addresses");
    let said = String::from_utf8(outer().wait_closed()).expect("text");
    assert!(said.starts_with("HTTP/1.1 403 Forbidden\r\n") && said.contains("protected mode"), "{said}");
    server.client().ok("CONFIG SET protected-mode no");
    let mut stranger = outer();
    stranger.send_raw(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let said = String::from_utf8(stranger.wait_closed()).expect("text");
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nok\n"), "{said}");
}

#[test]
fn a_page_of_another_site_cannot_read_metrics_by_a_name_that_leads_here() {
    let (server, port) = start("");
    let status = |host: &str| {
        let mut http = Http::connect(port);
        http.send(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = http.receive();
        assert_eq!(response.body.contains("redis_up 1"), response.status == 200, "{host}");
        response.status
    };
    for own in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(status(&own), 200, "{own}");
    }
    assert_eq!(status(&format!("rebound.example:{port}")), 403);
    // Any host name is accepted where protected mode is off.
    let mut client = server.client();
    client.ok("CONFIG SET protected-mode no");
    assert_eq!(status("redstart.internal"), 200);
    client.ok("CONFIG SET protected-mode yes");
    assert_eq!(status("redstart.internal"), 403);
    client.ok("CONFIG SET requirepass secret");
    assert_eq!(status("redstart.internal"), 200);
}

#[test]
fn health_is_what_a_ping_would_be_replied_and_metrics_are_told_all_the_same() {
    let (server, port) = start("--busy-reply-threshold 20");
    let mut client = server.client();
    assert_eq!(Http::get(port, "/health").status, 200);
    let mut busy = server.client();
    busy.send(&["EVAL", "while true do end", "0"]).unwrap();
    eventually("the script is busy", || client.run("PING").text().starts_with("BUSY").then_some(()));
    let health = Http::get(port, "/health");
    assert_eq!((health.status, health.body.trim_end()), (503, &*client.run("PING").text()));
    assert_eq!(scrape(port).value("redis_up"), 1.0);
    assert!(Http::get(port, "/").body.contains("not serving"));
    client.ok("SCRIPT KILL");
    assert!(busy.read_reply().unwrap().value.is_error());
    assert_eq!(Http::get(port, "/health").body, "ok\n");
}

/// Panics on HTML that a browser would have to repair, or that loads anything.
fn check_html(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(open.last() == Some(&"style") || !text.contains('>'), "a loose > in {text}");
        let end = at + rest[at..].find('>').expect("the end of a tag");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{open:?}");
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("a name");
        let attributes: Vec<&str> = tag.split('"').collect();
        assert!(attributes.len() % 2 == 1, "an attribute does not end: {tag}");
        for attribute in attributes.iter().step_by(2) {
            assert!(!attribute.contains(['\'', '&']), "{tag}");
        }
        for loads in ["src", "srcset", "xlink", "onclick", "onload", "action", "data"] {
            assert!(!tag.contains(&format!(" {loads}=")), "{tag}");
        }
        let is_void = ["meta", "link", "br"].contains(&name) || tag.ends_with('/');
        assert!(!["script", "iframe", "img", "object", "link", "base"].contains(&name), "{tag}");
        if !is_void {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for outside in ["http:", "https:", "//", "@import", "url("] {
        assert!(!page.contains(outside), "the page names {outside}");
    }
}

#[test]
fn the_status_page_is_whole_and_loads_nothing() {
    let (server, port) = start("--maxmemory 100mb --slowlog-log-slower-than 0 --save 3600 1");
    let mut client = server.client();
    check_html(&Http::get(port, "/").body);
    client.ok("SET a:secret b:secret EX 1000");
    client.ok("SELECT 9");
    client.run("RPUSH list:secret x");
    client.run("GET list:secret");
    client.run("NOSUCHCOMMAND secret");
    let page = eventually("there is a history to draw", || {
        let response = Http::get(port, "/");
        assert_eq!((response.status, &*response.headers["content-type"]), (200, "text/html; charset=utf-8"));
        response.body.contains("class=\"line a\" d=\"M").then_some(response.body)
    });
    check_html(&page);
    for shown in ["rpush", "db0", "db9", "WRONGTYPE", "serving", "of 100 MiB", "noeviction"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("secret"), "{page}");
    let csp = &Http::get(port, "/").headers["content-security-policy"];
    assert!(csp.starts_with("default-src 'none';"), "{csp}");
}

/// The metrics that an expression of PromQL names.
fn metrics_of(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("redis_") || word.starts_with("redstart_")).collect()
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let (server, port) = start("--appendonly yes");
    let mut client = server.client();
    client.ok("SET a b EX 1000");
    client.run("NOTHING");
    let mut scrape = scrape(port);
    // Some metrics exist only with replicas, or on a replica.
    for (_server, port) in &start_pair() {
        let of = Scrape::read(&Http::get(*port, "/metrics").body);
        scrape.samples.extend(of.samples);
        scrape.types.extend(of.types);
    }
    let text = include_str!("../deploy/grafana/redstart.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(dashboard["uid"], "redstart");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut expressions, mut ids, mut places) = (0, BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "a duplicate id");
        let (x, y) = (panel["gridPos"]["x"].as_u64().unwrap(), panel["gridPos"]["y"].as_u64().unwrap());
        let (w, h) = (panel["gridPos"]["w"].as_u64().unwrap(), panel["gridPos"]["h"].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{} overlaps another panel", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions += 1;
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            let expression = target["expr"].as_str().expect("an expression");
            let metrics = metrics_of(expression);
            assert!(!metrics.is_empty(), "{expression}");
            for metric in metrics {
                assert!(scrape.samples.contains_key(metric), "there is no {metric}: {expression}");
            }
            // `rate` is for counters, and plain values are for gauges.
            let rates = expression.contains("rate(") || expression.contains("increase(");
            let family = metrics_of(expression)[0].trim_end_matches("_bucket");
            let kind = scrape.types.get(family).map_or("", String::as_str);
            assert_eq!(rates, matches!(kind, "counter" | "histogram"), "{expression}: {kind}");
        }
    }
    assert!(expressions >= 20, "{expressions}");
}

#[test]
fn a_browser_shows_the_status_page() {
    let (server, port) = start("--maxmemory 100mb --slowlog-log-slower-than 0");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/status_page.mjs");
    let browser = std::env::var("REDSTART_BROWSER").unwrap_or_else(|_| "chromium-headless-shell".into());
    let runs = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
    if !runs("node") || !runs(&browser) {
        println!("not tested: no node or no {browser}; `make test` installs them on Debian");
        assert!(std::env::var_os("REDSTART_REQUIRE_BROWSER").is_none(), "REDSTART_REQUIRE_BROWSER is set");
        return;
    }
    let mut client = server.client();
    for i in 0..50 {
        client.ok(&format!("SET key:{i} value EX 1000"));
        client.run(&format!("GET key:{}", i * 2));
    }
    client.run("INCRBYFLOAT key:1 1");
    eventually("there is a history to draw", || {
        Http::get(port, "/").body.contains("class=\"line a\" d=\"M").then_some(())
    });
    let mut node = std::process::Command::new("node");
    node.args([script, &browser, &format!("http://127.0.0.1:{port}/")]);
    let (succeeded, text) = support::run_bounded(node);
    assert!(succeeded && text.contains("all passed"), "{text}");
    assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
}
