//! `redstart benchmark` as a user runs it, against servers that count the requests they receive.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::server::{Directory, free_port, subject_binary};
use support::{Client, DEADLINE, Server, eventually};

/// `redstart benchmark` against a port, with the arguments in `line`.
fn command(port: u16, line: &str) -> Command {
    let mut command = Command::new(subject_binary());
    command.args(["benchmark", "-p", &port.to_string()]).args(line.split_whitespace());
    command.env_remove("REDISCLI_AUTH").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The output and the exit status.
struct Ran {
    succeeded: bool,
    out: String,
    errors: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { succeeded: output.status.success(), out: text(output.stdout), errors: text(output.stderr) }
    }

    /// The output of a run that succeeded without errors.
    fn well(self) -> String {
        assert!(self.succeeded && self.errors.is_empty(), "{}\n{}", self.out, self.errors);
        self.out
    }
}

fn run(port: u16, line: &str) -> Ran {
    finish(command(port, line).spawn().expect("starts"))
}

/// Waits for the process to exit, and kills it at the deadline.
fn finish(mut child: Child) -> Ran {
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    let pid = Pid::from_raw(child.id() as i32);
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(2 * DEADLINE).is_err() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut out = Vec::new();
    stdout.read_to_end(&mut out).unwrap();
    let status = child.wait().unwrap();
    let _ = sender.send(());
    watch.join().unwrap();
    Ran::of(Output { status, stdout: out, stderr: reader.join().unwrap() })
}

/// Starts a run without a limit, and returns once the server has received some of its requests.
fn running(server: &Server, line: &str) -> Child {
    let child = command(server.port(), line).spawn().expect("starts");
    let mut client = server.client();
    eventually("requests arrive", || (calls(&mut client).get("get")? > &100).then_some(()));
    child
}

/// The number of calls of each command since the statistics were reset.
fn calls(client: &mut Client) -> BTreeMap<String, u64> {
    let text = client.run("INFO commandstats").text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines
        .map(|(name, rest)| (name.to_string(), rest.split(',').next().unwrap().parse().unwrap()))
        .filter(|(name, _)| !["info", "config|get", "config|resetstat"].contains(&name.as_str()))
        .collect()
}

fn expected(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| (name.to_string(), *count)).collect()
}

/// The value of a Lua expression over a JSON document `d`.
fn from_json(server: &Server, json: &str, expression: &str) -> String {
    let script = format!("local d = cjson.decode(ARGV[1]) return tostring({expression})");
    server.client().call(&["EVAL", &script, "0", json]).text()
}

#[test]
fn every_test_sends_exactly_its_number_of_requests() {
    let server = Server::start("");
    let mut client = server.client();
    for options in ["-n 1003 -P 7 -c 10", "-n 1003 -r 50 --threads 3", "-n 1003 -P 100 -c 3 -3 -r 50 -d 100"]
    {
        client.ok("FLUSHALL");
        client.ok("CONFIG RESETSTAT");
        let out = run(server.port(), &format!("{options} -q")).well();
        assert_eq!(out.lines().count(), 21, "{out}");
        assert!(out.lines().all(|line| line.contains(" requests per second, p50=")), "{out}");
        let n = 1003;
        let mut counts = vec![("ping", 2 * n), ("lpush", 2 * n), ("lrange", 4 * n)];
        for name in [
            "set", "get", "incr", "rpush", "lpop", "rpop", "sadd", "hset", "spop", "zadd", "zpopmin", "mset",
            "xadd",
        ] {
            counts.push((name, n));
        }
        let mut found = calls(&mut client);
        found.remove("hello");
        assert_eq!(found, expected(&counts), "{options}");
    }
}

#[test]
fn the_same_seed_sends_the_same_keys_whoever_sends_them() {
    let server = Server::start("");
    let mut client = server.client();
    let mut keys = |options: &str| {
        client.ok("FLUSHALL");
        run(server.port(), &format!("-t set -q -n 500 -r 1000000 {options}")).well();
        let mut keys: Vec<String> =
            client.run("KEYS *").elements().iter().map(support::reply::Value::text).collect();
        keys.sort();
        keys
    };
    let one = keys("--seed 7");
    assert!(
        one.len() > 450 && one.iter().all(|key| key.len() == 16 && key.starts_with("key:000000")),
        "{one:?}"
    );
    assert_eq!(keys("--seed 7 -P 9 -c 3"), one);
    assert_eq!(keys("--seed 7 --threads 4"), one);
    assert_ne!(keys("--seed 8"), one);
}

#[test]
fn the_report_has_the_shape_of_redis_benchmarks() {
    let server = Server::start("");
    let out = run(server.port(), "-t set,get -n 2000 -c 20 --threads 2 -d 8").well();
    let (set, get) = out.split_once("====== GET ======").expect("two tests");
    for part in [
        "====== SET ======\n  2000 requests completed in ",
        " seconds\n  20 parallel clients\n  8 bytes payload\n  keep alive: 1\n  host configuration \"save\": ",
        "\n  multi-thread: yes\n  threads: 2\n\nLatency by percentile distribution:\n0.000% <= 0.",
        "\n100.000% <= ",
        " milliseconds (cumulative count 2000)\n\nCumulative distribution of latencies:\n",
        " milliseconds (cumulative count 2000)\n\nSummary:\n  throughput summary: ",
        " requests per second\n  latency summary (msec):\n          avg       min       p50       p95       p99       max\n",
    ] {
        assert!(set.contains(part), "{part:?} is not in {set}");
    }
    assert!(get.contains("2000 requests completed"), "{get}");
}

#[test]
fn csv_has_redis_benchmarks_columns() {
    let server = Server::start("");
    let out = run(server.port(), "-t ping,lrange_100 -n 500 --csv").well();
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split(',').collect()).collect();
    let head = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                \"p99_latency_ms\",\"max_latency_ms\"";
    assert_eq!(out.lines().next().unwrap(), head);
    let titles: Vec<&str> = rows[1..].iter().map(|row| row[0].trim_matches('"')).collect();
    let range = "LRANGE_100 (first 100 elements)";
    assert_eq!(titles, ["PING_INLINE", "PING_MBULK", "LPUSH (needed to benchmark LRANGE)", range]);
    for row in &rows[1..] {
        assert_eq!(row.len(), 8);
        for figure in &row[1..] {
            assert!(figure.trim_matches('"').parse::<f64>().unwrap() > 0.0, "{out}");
        }
    }
}

#[test]
fn json_says_what_was_measured_and_how() {
    let server = Server::start("");
    let json = run(server.port(), "-t set,get -n 700 --rounds 3 --json --seed 5").well();
    let of = |expression: &str| from_json(&server, &json, expression);
    assert_eq!(of("#d.results .. d.results[1].test .. d.results[2].test"), "2SETGET");
    assert_eq!(of("#d.results[1].rounds .. ' ' .. d.results[1].rounds[3].requests"), "3 700");
    assert_eq!(of("d.options.seed .. ' ' .. d.options.requests .. ' ' .. d.options.clients"), "5 700 50");
    assert_eq!(of("d.results[1].rps > 0 and d.results[1].percentiles_ms['99.9'] > 0"), "true");
    assert_eq!(of("d.results[2].client_cpu_us_per_request > 0"), "true");
    assert_eq!(of("d.results[2].errors .. tostring(d.results[2].partial)"), "0false");
    assert_eq!(of("d.servers[1].redstart_version ~= nil"), "true");
    let over_time = "(function() local sum = 0 for _, n in ipairs(d.results[1].replies_over_time) do sum = sum + n end return sum end)()";
    assert_eq!(of(over_time), "700");
}

/// Panics unless the tags of a document of ours nest, apart from the `void` ones.
fn check_nesting(text: &str, void: &[&str]) {
    let mut open = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') && !tag.starts_with('!') && !void.contains(&name) {
            open.push(name);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn the_page_stands_alone_and_its_charts_are_well_formed() {
    let server = Server::start("");
    let directory = Directory::new();
    let path = directory.join("report.html");
    let line = format!("-n 2000 -q -a secret-word --html {} -t set,lrange_100", path.display());
    server.client().ok("CONFIG SET requirepass secret-word");
    run(server.port(), &line).well();
    let page = std::fs::read_to_string(&path).unwrap();
    check_nesting(&page, &["meta", "br"]);
    let charts: Vec<&str> =
        page.split("<svg").skip(1).map(|svg| svg.split("</svg>").next().unwrap()).collect();
    assert_eq!(charts.len(), 6);
    for chart in charts {
        let line = chart.split("class=\"line s0\" d=\"M").nth(1).expect("a line").split('"').next().unwrap();
        let points: Vec<f64> =
            line.split([' ', 'L']).map(|number| number.parse().expect("a number")).collect();
        assert!(points.len() >= 4 && points.iter().all(|at| (0.0..=460.0).contains(at)), "{line}");
    }
    for outside in ["http:", "https:", "src=", "@import", "url(", "secret-word"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for part in
        ["LRANGE_100 (first 100 elements)", "p99.99", "mem_allocator", "-a *** ", "prefers-color-scheme"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn an_open_loop_sends_as_many_requests_as_are_due() {
    let server = Server::start("");
    let mut client = server.client();
    for options in ["", "-c 4 --threads 2 -P 3"] {
        client.ok("CONFIG RESETSTAT");
        let json = run(server.port(), &format!("-t get --rate 2000 --duration 0.5 --json {options}")).well();
        assert_eq!(calls(&mut client), expected(&[("get", 1000)]));
        // The last request is due half a millisecond before the end.
        assert_eq!(from_json(&server, &json, "d.results[1].rounds[1].seconds >= 0.499"), "true", "{json}");
        assert_eq!(from_json(&server, &json, "d.results[1].rounds[1].unsent"), "0");
    }
    client.ok("CONFIG RESETSTAT");
    run(server.port(), "-t get --rate 20000 -n 3000 --poisson -q").well();
    assert_eq!(calls(&mut client), expected(&[("get", 3000)]));
}

#[test]
fn latency_in_an_open_loop_counts_from_when_a_request_was_due() {
    let server = Server::start("--enable-debug-command yes");
    // The server is blocked for 200 of 400 ms: half of the requests wait, the longest for the whole time. A closed loop
    // would see two slow requests only, one on each connection.
    let child = command(server.port(), "-t get -c 2 --rate 1000 --duration 0.4 --json").spawn().unwrap();
    let mut client = server.client();
    eventually("requests arrive", || (calls(&mut client).get("get")? > &10).then_some(()));
    client.ok("DEBUG SLEEP 0.2");
    let json = finish(child).well();
    assert_eq!(from_json(&server, &json, "d.results[1].percentiles_ms['75'] > 10"), "true", "{json}");
    assert_eq!(from_json(&server, &json, "d.results[1].max_latency_ms > 150"), "true", "{json}");
}

#[test]
fn a_time_limit_ends_a_test() {
    let server = Server::start("");
    let out = run(server.port(), "-t get --duration 0.2 -P 4 -q").well();
    assert!(out.starts_with("GET: "), "{out}");
}

#[test]
fn connections_may_be_made_anew_for_each_batch() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("CONFIG RESETSTAT");
    run(server.port(), "-t get -k 0 -n 300 -c 10 -P 3 -q --dbnum 2").well();
    let found = calls(&mut client);
    assert_eq!(found["get"], 300);
    assert!(client.info_number("total_connections_received") >= 100);
}

#[test]
fn large_pipelines_of_large_values_pass_through_full_sockets() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("CONFIG RESETSTAT");
    run(server.port(), "-t set,get -n 300 -c 4 -P 50 -d 100000 -q").well();
    assert_eq!(calls(&mut client), expected(&[("get", 300), ("set", 300)]));
    assert_eq!(client.run("STRLEN key:__rand_int__").integer(), 100_000);
}

#[test]
fn a_command_of_ones_own_has_random_numbers_and_input() {
    let server = Server::start("");
    let mut command = command(server.port(), "-n 50 -r 10 -q -x hset h__rand_int__ field");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"two\nlines").unwrap();
    let out = finish(child).well();
    assert!(out.starts_with("hset h__rand_int__ field: "), "{out}");
    let mut client = server.client();
    let keys = client.run("KEYS *").elements();
    assert!((5..=10).contains(&keys.len()), "{keys:?}");
    assert_eq!(client.call(&["HGET", &keys[0].text(), "field"]).text(), "two\nlines");
}

#[test]
fn servers_are_compared_in_turn() {
    let (one, other) = (Server::start(""), Server::start(""));
    let directory = Directory::new();
    let path = directory.join("report.html");
    let (mut first, mut second) = (one.client(), other.client());
    first.ok("CONFIG RESETSTAT");
    second.ok("CONFIG RESETSTAT");
    let page = format!("--html {}", path.display());
    let line = format!("-t get,set -n 400 --rounds 2 --compare 127.0.0.1:{} {page}", other.port());
    let out = run(one.port(), &line).well();
    assert!(out.contains("====== GET (medians of 2 rounds) ======"), "{out}");
    for port in [one.port(), other.port()] {
        assert_eq!(
            out.lines().filter(|line| line.contains(&format!("127.0.0.1:{port} "))).count(),
            2,
            "{out}"
        );
    }
    assert!(out.contains(" 1.00x "), "{out}");
    let counts = expected(&[("get", 800), ("set", 800)]);
    assert_eq!((calls(&mut first), calls(&mut second)), (counts.clone(), counts));
    let page = std::fs::read_to_string(&path).unwrap();
    check_nesting(&page, &["meta", "br"]);
    assert!(page.contains("class=\"line s1\""));

    let line = format!("-t get,set -n 400 -q --compare 127.0.0.1:{}", other.port());
    let out = run(one.port(), &line).well();
    assert_eq!(out.lines().count(), 2, "{out}");
    for (line, test) in out.lines().zip(["SET", "GET"]) {
        assert!(
            line.starts_with(&format!("{test}: 127.0.0.1:{} ", one.port())) && line.ends_with('x'),
            "{out}"
        );
        assert!(line.contains(&format!(" msec; 127.0.0.1:{} ", other.port())), "{out}");
    }

    let line = format!("-t get -n 400 --json --compare 127.0.0.1:{}", other.port());
    let json = run(one.port(), &line).well();
    assert_eq!(from_json(&one, &json, "#d.servers .. #d.results .. #d.results[2].rounds"), "223");
    assert_eq!(
        from_json(&one, &json, "d.results[1].ratio .. ' ' .. tostring(d.results[2].ratio > 0)"),
        "1 true"
    );
}

#[test]
fn errors_of_the_server_are_counted_or_end_the_run() {
    let server = Server::start("");
    // Half of the keys are strings.
    server.client().ok("MSET key:000000000000 x key:000000000001 x");
    let counted = run(server.port(), "-n 500 -r 4 -q incr key:__rand_int__");
    assert!(!counted.succeeded);
    assert!(counted.out.starts_with("incr key:__rand_int__: "), "{}", counted.out);
    assert!(
        counted.out.contains(" requests per second, ") && counted.out.ends_with(" errors\n"),
        "{}",
        counted.out
    );
    let error = "Error from server: ERR value is not an integer or out of range";
    assert!(counted.errors.starts_with(error), "{}", counted.errors);
    assert!(counted.errors.contains("errors, this is the last)"), "{}", counted.errors);

    let ended = run(server.port(), "-n 100000 -e -q incrby key x");
    assert!(!ended.succeeded);
    assert_eq!(ended.errors.trim_end(), error);
}

#[test]
fn errors_alone_are_not_a_throughput() {
    let server = Server::start("");
    let directory = Directory::new();
    let path = directory.join("report.html");
    let line = "-n 500 incrby key x";
    let expected = "incrby key x: no result, all 500 replies were errors\n";
    for format in ["", "-q"] {
        let ran = run(server.port(), &format!("{format} {line}"));
        assert_eq!((ran.succeeded, ran.out.as_str()), (false, expected));
        assert!(ran.errors.starts_with("Error from server: ERR value is not an integer"), "{}", ran.errors);
    }
    let csv = run(server.port(), &format!("--csv {line}"));
    assert_eq!((csv.succeeded, csv.out.lines().count()), (false, 1), "{}", csv.out);
    let json = run(server.port(), &format!("--json --html {} {line}", path.display()));
    assert!(!json.succeeded);
    let figures = "tostring(d.results[1].rps == cjson.null) .. d.results[1].errors .. #d.results";
    assert_eq!(from_json(&server, &json.out, figures), "true5001");
    let page = std::fs::read_to_string(&path).unwrap();
    check_nesting(&page, &["meta", "br"]);
    assert!(page.contains("no result, all 500 replies were errors") && !page.contains("<svg"), "{page}");

    let open = Server::start("");
    server.client().ok("CONFIG SET requirepass secret");
    let compared = format!("-t get -n 300 --rounds 1 --compare 127.0.0.1:{}", server.port());
    for format in ["", "-q"] {
        let ran = run(open.port(), &format!("{format} {compared}"));
        assert!(!ran.succeeded && ran.errors.contains("Error from server: NOAUTH"), "{}", ran.errors);
        let refused = format!("127.0.0.1:{} no result, all 300 replies were errors", server.port());
        assert!(ran.out.contains(&refused), "{}", ran.out);
    }
}

#[test]
fn a_server_with_too_many_clients_says_so() {
    let server = Server::start("--maxclients 60");
    for options in ["-c 600", "-c 600 --threads 3", "-c 600 -k 0", "-c 600 -3"] {
        let ran = run(server.port(), &format!("{options} -t get -n 2000 -q"));
        assert!(!ran.succeeded && ran.out.is_empty(), "{}", ran.out);
        assert_eq!(ran.errors, "Error from server: ERR max number of clients reached\n", "{options}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_noticed_before_the_first_test() {
    let server = Server::start("");
    let directory = Directory::new();
    let mut client = server.client();
    client.ok("CONFIG RESETSTAT");
    let ran =
        run(server.port(), &format!("-t get -n 100 -q --html {}/nosuch/a.html", directory.path().display()));
    assert!(!ran.succeeded && ran.out.is_empty());
    assert!(
        ran.errors.contains("Cannot write ") && ran.errors.ends_with("a.html: No such file or directory\n"),
        "{}",
        ran.errors
    );
    assert_eq!(calls(&mut client), expected(&[]));

    // A run without a result creates no file and keeps an earlier report.
    let (fresh, old) = (directory.join("fresh.html"), directory.join("old.html"));
    std::fs::write(&old, "an earlier report".repeat(10_000)).unwrap();
    for path in [&fresh, &old] {
        let line = format!("-t get -n 100 -q -a wrong --html {}", path.display());
        client.ok("CONFIG SET requirepass secret");
        assert!(!run(server.port(), &line).succeeded);
        client.call(&["CONFIG", "SET", "requirepass", ""]);
    }
    assert!(!fresh.exists());
    assert_eq!(std::fs::metadata(&old).unwrap().len(), 170_000);
    run(server.port(), &format!("-t get -n 100 -q --html {}", old.display())).well();
    assert!(std::fs::read_to_string(&old).unwrap().ends_with("</html>\n"));
}

#[test]
fn a_missed_rate_is_marked() {
    let server = Server::start("");
    // One connection, opened anew for each request, cannot reach a billion requests a second.
    let out = run(server.port(), "-t get -q -c 1 -n 500 --rate 1000000000").well();
    assert!(out.ends_with(" (below the rate)\n"), "{out}");
    let out = run(server.port(), "-t get -c 1 -n 500 --rate 1000000000").well();
    assert!(out.contains("\n  the rate was missed: "), "{out}");
}

#[test]
fn options_are_taken_as_scripts_give_them() {
    let server = Server::start("");
    let out = run(server.port(), "-t set -n 100 -q -d 0 -P 0 -c 0 --threads 0 -r -5 --precision 9").well();
    assert!(out.starts_with("SET: "), "{out}");
    assert_eq!(server.client().run("STRLEN key:000000000000").integer(), 1);

    let ignored = run(server.port(), "-t get -n 10 -q ping");
    assert!(ignored.succeeded && ignored.out.starts_with("ping: "), "{}", ignored.out);
    assert_eq!(ignored.errors, "WARNING: Option -t is ignored.\n");

    let both = run(server.port(), "--json --csv");
    assert!(!both.succeeded && both.errors.contains("'--csv'"), "{}", both.errors);
    assert!(both.errors.contains(" benchmark [OPTIONS] [COMMAND]...\n"), "{}", both.errors);
}

#[test]
fn who_may_not_connect_is_told_why() {
    let port = free_port();
    let refused = run(port, "-q");
    assert!(!refused.succeeded && refused.out.is_empty());
    let expected = format!("Could not connect to Redis at 127.0.0.1:{port}: Connection refused\n");
    assert_eq!(refused.errors, expected);

    let server = Server::start("--requirepass secret");
    let wrong = run(server.port(), "-q -a wrong -t get");
    assert!(!wrong.succeeded && wrong.errors.contains("AUTH failed: WRONGPASS"), "{}", wrong.errors);
    let right = run(server.port(), "-q -a secret -t get -n 100 -3 --dbnum 3 --enable-tracking").well();
    assert!(right.starts_with("GET: "), "{right}");
    let url = format!("-q -u redis://default:secret@127.0.0.1:{} -t get -n 100", server.port());
    run(server.port(), &url).well();
    for (line, part) in [("-t nosuch", "nosuch"), ("--nosuch", "--nosuch"), ("-n 0", "0"), ("--tls", "TLS")] {
        let refused = run(server.port(), line);
        assert!(!refused.succeeded && refused.errors.contains(part), "{line}: {}", refused.errors);
    }
}

#[test]
fn a_server_that_dies_leaves_a_partial_result() {
    let server = Server::start("");
    let child = running(&server, "-t get -n 1000000000 -q --csv");
    server.signal(Signal::SIGKILL);
    let ran = finish(child);
    assert!(!ran.succeeded);
    assert!(ran.out.lines().nth(1).expect("a row").starts_with("\"GET\",\""), "{}", ran.out);
    assert!(ran.errors.contains("The server closed the connection"), "{}", ran.errors);
}

#[test]
fn an_interrupt_prints_what_is_known_so_far() {
    let server = Server::start("");
    let child = running(&server, "-t get,incr -n 1000000000 --threads 2 -q");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let ran = finish(child);
    assert!(!ran.succeeded);
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    assert!(ran.out.starts_with("GET: ") && ran.out.contains(" (partial)"), "{}", ran.out);
    assert_eq!(ran.errors, "Interrupted\n");

    let looping = running(&server, "-t get -n 500 -l -q");
    let mut client = server.client();
    eventually("it repeats", || (calls(&mut client)["get"] > 5000).then_some(()));
    kill(Pid::from_raw(looping.id() as i32), Signal::SIGINT).unwrap();
    let ran = finish(looping);
    assert!(ran.succeeded, "an interrupt is the end of a loop: {}", ran.errors);
    assert!(ran.out.lines().count() > 3, "{}", ran.out);
}

#[test]
fn idle_connections_stay_until_an_interrupt() {
    let server = Server::start("");
    let child = command(server.port(), "-I -c 300").spawn().unwrap();
    server.client().wait_for_info("connected_clients", |clients| clients >= 301);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let ran = finish(child);
    assert!(ran.out.starts_with("Creating 300 idle connections and waiting forever"), "{}", ran.out);
    assert!(ran.succeeded);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let server = Server::start("");
    let mut child = command(server.port(), "-t ping,set,get -n 100 -q -l").spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().success(), errors.as_str()), (true, ""));
}

#[test]
fn it_is_found_by_the_name_of_a_link() {
    let server = Server::start("");
    let directory = Directory::new();
    let link = directory.join("redis-benchmark");
    std::os::unix::fs::symlink(subject_binary(), &link).unwrap();
    let output = Command::new(&link)
        .args(["-p", &server.port().to_string(), "-t", "get", "-n", "100", "-q"])
        .output()
        .unwrap();
    assert!(Ran::of(output).well().starts_with("GET: "));
}
