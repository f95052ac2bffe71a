//! `redstart top` as a user has it: lines, JSON, and the live view in a terminal.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use support::server::subject_binary;
use support::terminal::Terminal;
use support::{Client, Launch, Server, eventually, run_bounded};

/// The tool for the server on a port.
fn top(port: u16, options: &str) -> Command {
    let mut command = Command::new(subject_binary());
    command.args(["top", "-p", &port.to_string()]).args(options.split_whitespace());
    command.env("LANG", "C.UTF-8").env_remove("LC_ALL").env_remove("LC_CTYPE").env_remove("REDISCLI_AUTH");
    command
}

/// A running tool that prints lines.
struct Lines {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Lines {
    fn of(mut command: Command) -> Lines {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start the tool");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Lines { child, output }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).expect("read a line") > 0, "the tool ended");
        line.trim_end().to_string()
    }

    /// The first of the next lines for which `probe` finds something. Lines come for ever, so there is a limit.
    fn find<T>(&mut self, what: &str, probe: impl Fn(&str) -> Option<T>) -> T {
        for _ in 0..400 {
            if let Some(found) = probe(&self.next()) {
                return found;
            }
        }
        panic!("no line has {what}");
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of a field in a line of JSON: the first one of that name behind `after`.
fn number(line: &str, after: &str, name: &str) -> Option<f64> {
    let rest = line.split_once(after)?.1;
    let rest = rest.split_once(&format!("\"{name}\":"))?.1;
    rest[..rest.find([',', '}'])?].parse().ok()
}

fn calls(client: &mut Client, count: usize, line: &str) {
    for _ in 0..count {
        client.run(line);
    }
}

#[test]
fn lines_have_a_head_every_twenty_and_columns_that_stay() {
    let server = Server::start("");
    let (good, text) = run_bounded(top(server.port(), "-i 0.05 --count 21"));
    assert!(good, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 23, "{text}");
    assert!(lines[0].starts_with("    time    ops/s"), "{text}");
    assert_eq!((lines[0], lines[21].trim_end()), (lines[21], lines[0]));
    for line in &lines {
        assert_eq!((line.len(), line.split_whitespace().count()), (lines[0].len(), 16), "{text}");
    }
    assert!(text.is_ascii());
}

#[test]
fn one_line_is_all_that_once_prints() {
    let server = Server::start("");
    let (good, text) = run_bounded(top(server.port(), "-i 0.05 --once"));
    assert!(good, "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_known_load_is_what_is_counted() {
    let server = Server::start("");
    let mut client = server.client();
    client.ok("SET k v");
    let mut lines = Lines::of(top(server.port(), "-i 0.1 --json"));
    lines.next();
    calls(&mut client, 30, "GET k");
    calls(&mut client, 10, "GET nothing");
    calls(&mut client, 5, "LPUSH k v");
    // What happened is in one interval, or in two.
    let (mut got, mut failed, mut hits) = (0.0, 0.0, false);
    while got < 38.0 || failed < 4.75 {
        let line = lines.next();
        let seconds = number(&line, "", "interval_s").expect("the interval");
        got += number(&line, "\"get\":", "calls_per_s").unwrap_or(0.0) * seconds;
        failed += number(&line, "\"lpush\":", "errors_per_s").unwrap_or(0.0) * seconds;
        hits |= number(&line, "", "hit_percent").is_some();
    }
    // The interval is printed in milliseconds, so these are not exact; totals are.
    assert!(hits && got < 42.0 && failed < 5.25, "{got} {failed}");
    let line = lines.next();
    assert_eq!(number(&line, "\"get\":", "calls"), Some(40.0), "{line}");
    assert_eq!(number(&line, "\"errors\":", "WRONGTYPE"), Some(5.0), "{line}");
    assert_eq!(number(&line, "\"databases\":{\"0\":", "keys"), Some(1.0), "{line}");
}

#[test]
fn a_reset_of_the_statistics_makes_no_nonsense() {
    let server = Server::start("");
    let mut client = server.client();
    calls(&mut client, 1000, "PING");
    let mut lines = Lines::of(top(server.port(), "-i 0.1 --json"));
    lines.next();
    client.ok("CONFIG RESETSTAT");
    let line = lines.find("a reset", |line| line.contains("\"reset\":true").then(|| line.to_string()));
    let ops = number(&line, "", "commands_per_s").expect("a rate");
    assert!((0.0..1000.0).contains(&ops), "{line}");
    assert!(lines.next().contains("\"reset\":false"));
}

#[test]
fn a_server_that_is_restarted_is_found_again() {
    let server = Server::start("");
    let mut command = top(server.port(), "-i 0.05 --json");
    command.stderr(Stdio::piped());
    let mut lines = Lines::of(command);
    let mut messages = BufReader::new(lines.child.stderr.take().expect("piped"));
    lines.next();
    let launch = server.stop();
    let mut message = String::new();
    messages.read_line(&mut message).expect("a message");
    assert!(message.starts_with(&format!("127.0.0.1:{}: ", launch.port())), "{message}");
    let server = launch.start();
    let line = lines.find("a restart", |line| line.contains("\"restarted\":true").then(|| line.to_string()));
    let ops = number(&line, "", "commands_per_s").expect("a rate");
    assert!((0.0..100_000.0).contains(&ops), "{line}");
    drop(server);
}

#[test]
fn it_ends_quietly_when_nobody_reads_its_lines() {
    let server = Server::start("");
    let mut command = top(server.port(), "-i 0.05");
    command.stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start the tool");
    drop(child.stdout.take());
    let status = eventually("the tool ends", || child.try_wait().expect("wait"));
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("read");
    assert!(status.success() && text.is_empty(), "{status} {text}");
}

#[test]
fn without_a_server_or_its_password_it_says_so_and_fails() {
    let server = Server::start("--requirepass secret");
    let (good, text) = run_bounded(top(server.port(), "--once"));
    assert!(!good && text.starts_with("NOAUTH"), "{text}");
    let (good, text) = run_bounded(top(server.port(), "--once -i 0.05 -a secret"));
    assert!(good, "{text}");
    let port = server.stop().port();
    let (good, text) = run_bounded(top(port, "--once"));
    assert!(!good && text.starts_with("Could not connect to Redis at 127.0.0.1:"), "{text}");
    let (good, text) = run_bounded(top(port, "-i -1"));
    assert!(!good && text.contains("seconds from 0.05 to 86400"), "{text}");
    let (good, text) = run_bounded(top(port, "-i nothing"));
    assert!(!good && text.contains("--interval"), "{text}");
}

#[test]
fn it_asks_little_of_the_server() {
    let server = Server::start("");
    let mut client = server.client();
    let mut calls = |name: &str| {
        let stats = client.run("INFO commandstats").text();
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")))?;
        line.split_once("calls=")?.1.split(',').next()?.parse::<u32>().ok()
    };
    let before = calls("info").unwrap_or(0);
    let (good, text) = run_bounded(top(server.port(), "-i 0.05 --count 10"));
    assert!(good, "{text}");
    // The first look, one an interval, and this test's own.
    assert_eq!(calls("info"), Some(before + 12));
    assert_eq!(
        (calls("config|get"), calls("client|setname"), calls("slowlog|get")),
        (Some(3), Some(1), None)
    );
}

#[test]
fn the_live_view_acts_on_keys_and_gives_the_terminal_back() {
    let server = Server::start("--enable-debug-command yes");
    let mut client = server.client();
    let mut terminal = Terminal::start(top(server.port(), "-i 0.1"), 100, 30);
    terminal.wait_text("Redstart");
    terminal.wait_screen("a table", |screen| screen.text().contains("calls/s▼"));
    calls(&mut client, 200, "SET key value");
    let screen =
        terminal.wait_screen("the command", |screen| screen.lines().iter().any(|l| l.starts_with(" set ")));
    assert!(screen.text().contains("in db0"), "{}", screen.text());
    assert!(screen.text().contains("q quit"));
    client.ok("DEBUG SLEEP 0.05");
    terminal.wait_text("DEBUG SLEEP 0.05");

    terminal.send("s");
    terminal.wait_text("cpu▼");
    terminal.send("<<");
    terminal.wait_text("command▲");
    terminal.send("r");
    terminal.wait_text("command▼");
    terminal.send("h");
    terminal.wait_text("any key closes this");
    terminal.send("x");
    terminal.wait_screen("no help", |screen| !screen.text().contains("any key closes this"));
    terminal.send("d");
    terminal.wait_text("mean ttl");
    terminal.send("+");
    terminal.wait_text("every 0.2 s");
    terminal.send(" ");
    terminal.wait_text("paused");

    terminal.resize(150, 40);
    terminal.wait_screen("two columns", |screen| {
        screen.lines().iter().any(|line| line.contains("mean ttl") && line.contains("command▼"))
    });
    terminal.resize(40, 10);
    terminal.wait_screen("a small picture", |screen| screen.lines()[9].starts_with(" q quit"));
    assert!(!terminal.is_restored());

    // Here no shell stops it, so it is back at once.
    terminal.wait_for("q quit");
    terminal.send("\x1a");
    terminal.wait_for("\x1b[?1049l");
    terminal.wait_for("\x1b[?1049h");
    terminal.wait_for("q quit");
    terminal.send("q");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
    assert!(terminal.finish().ends_with("\x1b[?25h\x1b[?1049l"), "the screen of before is shown");
}

#[test]
fn the_live_view_waits_for_a_server_that_went_away() {
    let server = Server::start("");
    let mut terminal = Terminal::start(top(server.port(), "-i 0.1"), 80, 24);
    terminal.wait_text("master");
    let port = server.port();
    let launch = server.stop();
    terminal.wait_screen("why there is no server", |screen| {
        let first = &screen.lines()[0];
        first.starts_with(&format!(" 127.0.0.1:{port} · Connection refused · last seen "))
            && first.ends_with(" ago · trying again")
    });
    let server = launch.start();
    terminal.wait_screen("the server again", |screen| screen.lines()[0].contains("master"));
    // Ctrl-C ends it as q does.
    terminal.send("\x03");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
    drop(server);
}

/// A primary and its replica, started in the same way, with some data; the replica has acknowledged all of it.
fn start_pair(launch: fn() -> Launch) -> [Server; 2] {
    let start = |flags: &str| launch().flags("--save  --repl-diskless-sync-delay 0").flags(flags).start();
    let primary = start("");
    let replica = start(&format!("--replicaof 127.0.0.1 {}", primary.port()));
    let mut client = primary.client();
    client.ok("SET k v");
    eventually("the replica has acknowledged the write", || {
        (client.run("WAIT 1 100") == support::Value::Integer(1)).then_some(())
    });
    [primary, replica]
}

#[test]
fn primary_and_replica_show_each_other_whether_they_are_redis_or_not() {
    for launch in [Launch::subject, Launch::redis] {
        let [primary, replica] = start_pair(launch);
        let to_replica = format!("127.0.0.1:{}", replica.port());
        let to_primary = format!("127.0.0.1:{}", primary.port());

        let mut lines = Lines::of(top(primary.port(), "-i 0.05 --json"));
        let line = lines.find("an acknowledged offset", |line| {
            let offset = number(line, "\"replicas\":[", "offset")?;
            (number(line, "\"replication\":", "offset") == Some(offset) && offset > 0.0)
                .then(|| line.to_string())
        });
        let told = format!("\"replicas\":[{{\"address\":\"{to_replica}\",\"state\":\"online\",");
        assert!(line.contains(&told) && line.contains("\"behind_bytes\":0,"), "{line}");
        assert!(!line.contains("\"primary\":{") && line.contains("\"role\":\"master\""), "{line}");
        drop(lines);

        let mut terminal = Terminal::start(top(primary.port(), "-i 0.1"), 80, 24);
        let screen = terminal.wait_screen("the replica", |screen| screen.text().contains("1 connected"));
        assert!(screen.text().contains(" behind  "), "{}", screen.text());
        terminal.send("n");
        terminal.wait_screen("the table", |screen| {
            screen.lines().iter().any(|line| line.contains(&to_replica) && line.contains("replica"))
        });
        terminal.resize(40, 8);
        terminal.wait_screen("a narrow table", |screen| {
            screen.lines().iter().any(|line| line.contains(&to_replica) && line.contains("online"))
        });
        terminal.send("q");
        assert!(terminal.wait_exit().success());

        let mut terminal = Terminal::start(top(replica.port(), "-i 0.1"), 80, 24);
        terminal.wait_screen("the link", |screen| {
            screen.lines().iter().any(|line| line.contains(&format!("of {to_primary}  link up")))
        });
        terminal.send("n");
        terminal.wait_screen("the table", |screen| {
            screen
                .lines()
                .iter()
                .any(|line| line.contains(&to_primary) && line.contains("primary           up"))
        });
        drop(primary);
        terminal.wait_screen("a link that is down", |screen| {
            let lines = screen.lines();
            lines.iter().any(|line| line.contains("link down")) && lines[0].contains(" · replica · ")
        });
        terminal.send("q");
        assert!(terminal.wait_exit().success());
    }
}

#[test]
fn a_replica_that_receives_a_snapshot_shows_how_far_it_is() {
    for launch in [Launch::subject, Launch::redis] {
        let flags = "--save  --repl-diskless-sync-delay 0 --rdbcompression no --enable-debug-command yes";
        // A pause between two keys keeps the snapshot from ending.
        let primary = launch().flags(flags).flags("--rdb-key-save-delay 100000").start();
        primary.client().ok("DEBUG POPULATE 500 key 20000");
        let replica =
            launch().flags(flags).flags(&format!("--replicaof 127.0.0.1 {}", primary.port())).start();
        let mut terminal = Terminal::start(top(replica.port(), "-i 0.1"), 80, 24);
        let amount = |screen: &str| {
            let line = screen.lines().find(|line| line.contains("link down"))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "received")?;
            Some(words[at - 2..at].join(" "))
        };
        let some = |screen: &str| amount(screen).filter(|text| text.ends_with("KB") || text.ends_with("MB"));
        terminal.wait_screen("what was received", |screen| some(&screen.text()).is_some());
        let mut lines = Lines::of(top(replica.port(), "-i 0.05 --json"));
        lines.find("what was received", |line| {
            let read = number(line, "\"primary\":", "sync_bytes")?;
            (line.contains("\"synchronizing\":true") && read > 0.0).then_some(())
        });
        let mut lines = Lines::of(top(primary.port(), "-i 0.05 --json"));
        lines.find("the replica", |line| {
            let sends = line.contains("\"state\":\"wait_bgsave\"");
            (sends && line.contains("\"behind_bytes\":null,\"lag_s\":null")).then_some(())
        });
    }
}

#[test]
fn a_primary_with_confirmation_shows_what_waits() {
    let primary = Server::start("--save  --repl-diskless-sync-delay 0 --min-replicas-to-ack 1");
    let mut terminal = Terminal::start(top(primary.port(), "-i 0.1"), 80, 24);
    terminal.wait_screen("no replica", |screen| {
        let text = screen.text();
        text.contains("0 connected  0 good") && text.contains("confirm  nothing")
    });
    let replica = Server::start(&format!("--save  --replicaof 127.0.0.1 {}", primary.port()));
    terminal.wait_screen("a replica", |screen| {
        let text = screen.text();
        text.contains("1 connected  1 good") && text.contains("confirm  0 B unconfirmed")
    });
    // It acknowledges nothing more, so the reply to a read of the new value waits.
    replica.signal(nix::sys::signal::Signal::SIGSTOP);
    let mut client = primary.client();
    client.send(&["SET", "k", "v"]).expect("send");
    terminal.wait_screen("a reply that waits", |screen| screen.text().contains("1 replies wait"));
    replica.signal(nix::sys::signal::Signal::SIGCONT);
    terminal.wait_screen("no reply that waits", |screen| screen.text().contains("0 replies wait"));
}

#[test]
fn keys_act_while_the_server_hangs() {
    let server = Server::start("");
    let mut terminal = Terminal::start(top(server.port(), "-i 0.1"), 80, 24);
    terminal.wait_text("master");
    server.signal(nix::sys::signal::Signal::SIGSTOP);
    terminal.send("s");
    terminal.wait_text("cpu▼");
    terminal.send("q");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
}

#[test]
fn a_signal_to_end_restores_the_terminal() {
    let server = Launch::subject().start();
    let mut terminal = Terminal::start(top(server.port(), "-i 0.1"), 80, 24);
    terminal.wait_text("master");
    let pid = nix::unistd::Pid::from_raw(terminal.pid() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("send a signal");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
}

#[test]
fn without_colours_there_are_none() {
    let server = Server::start("");
    // Tests' terminals have colours, so the variable is set behind that.
    let mut command = Command::new("env");
    let tool = top(server.port(), "-i 0.1 --count 2");
    command.arg("NO_COLOR=1").arg(tool.get_program()).args(tool.get_args());
    let mut terminal = Terminal::start(command, 80, 24);
    assert!(terminal.wait_exit().success());
    let text = terminal.finish();
    let is_colour = |sequence: &str| {
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        sequence[end..].starts_with('m')
            && sequence[..end].split(';').any(|n| n.parse::<u32>().is_ok_and(|n| n >= 30))
    };
    assert!(text.contains("master"));
    assert!(!text.split("\x1b[").skip(1).any(is_colour), "{text:?}");
}
