//! The server as a process: its configuration, its sockets, its log, its exit.

mod support;

use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::server::{Directory, subject_binary, subject_is_redis};
use support::{Client, Launch, Server, Value, eventually, status_field};

fn directive(client: &mut Client, name: &str) -> String {
    client.call(&["CONFIG", "GET", name]).elements()[1].text()
}

#[test]
fn flags_win_over_the_config_file() {
    let server = Launch::subject()
        .config("timeout 17\nhz 20\n# a comment\n\n  maxmemory   64mb  \n")
        .flags("--hz 30")
        .start();
    let mut client = server.client();
    assert_eq!(directive(&mut client, "timeout"), "17");
    assert_eq!(directive(&mut client, "hz"), "30");
    assert_eq!(directive(&mut client, "maxmemory"), "67108864");
    assert_eq!(client.info_number("tcp_port"), i64::from(server.port()));
    assert!(
        client.info("config_file").ends_with("/redstart.conf"),
        "INFO names the config file with its path"
    );
}

#[test]
fn the_config_file_may_quote_and_directives_have_any_case() {
    let server = Launch::subject().config("TimeOut 17\nrequirepass \"a b\\x41\"\n").start();
    let mut client = server.client();
    client.call(&["AUTH", "a bA"]);
    assert_eq!(directive(&mut client, "timeout"), "17");
}

#[test]
fn flags_take_several_values_and_later_ones_win() {
    let server = Server::start("--timeout 5 --save 900 1 --save 300 10 --timeout 6 --databases 3");
    let mut client = server.client();
    assert_eq!(directive(&mut client, "timeout"), "6");
    assert_eq!(directive(&mut client, "databases"), "3");
    client.ok("SELECT 2");
    assert!(client.run("SELECT 3").is_error());
}

#[test]
fn an_included_file_is_read_where_it_stands() {
    let launch = Launch::subject();
    let other = launch.directory().join("other.conf");
    let text = format!("timeout 1\nhz 20\ninclude {}\nhz 40\n", other.display());
    let server = launch.file("other.conf", "timeout 2\nhz 30\n").config(&text).start();
    let mut client = server.client();
    assert_eq!(directive(&mut client, "timeout"), "2");
    assert_eq!(directive(&mut client, "hz"), "40");
}

#[test]
fn the_configuration_may_come_from_standard_input() {
    let server = Launch::subject().stdin("timeout 23\n").start();
    assert_eq!(directive(&mut server.client(), "timeout"), "23");
}

#[test]
fn a_bad_config_file_is_refused_with_its_line_and_status_1() {
    let cases = [
        ("timeout 1\n\nnosuchdirective 1\n", 3, "nosuchdirective"),
        ("timeout abc\n", 1, "timeout"),
        ("timeout\n", 1, "timeout"),
        ("timeout 1 2\n", 1, "timeout"),
        ("# comment\nmaxmemory 12xb\n", 2, "maxmemory"),
        ("maxmemory-policy nosuch\n", 1, "maxmemory-policy"),
        ("hz 10\nappendonly maybe\n", 2, "appendonly"),
        ("hz 10\nhz 10\nrequirepass \"abc\n", 3, "requirepass"),
        ("port 99999\n", 1, "port"),
        ("databases 0\n", 1, "databases"),
        ("client-output-buffer-limit normal 1\n", 1, "client-output-buffer-limit"),
    ];
    for (text, line, directive) in cases {
        let (status, output) = Launch::subject().config(text).run_to_exit();
        assert_eq!(status.code(), Some(1), "config {text:?}: {output}");
        if subject_is_redis() {
            assert!(output.contains(&format!("at line {line}")), "config {text:?}: {output}");
            continue;
        }
        let place = format!("redstart.conf:{line}");
        let says =
            output.lines().find(|l| l.contains(&place)).unwrap_or_else(|| panic!("no {place} in: {output}"));
        assert!(says.contains(directive), "config {text:?}: {output}");
    }
}

/// Opening a named pipe would wait for a writer; one that is open already is read like a file.
#[test]
fn the_config_file_may_be_standard_input_but_not_a_named_pipe_or_a_device() {
    if subject_is_redis() {
        // Redis waits forever.
        return;
    }
    let directory = Directory::new();
    let pipe = directory.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for (path, input, says) in [
        (pipe.display().to_string(), "", format!("{}: Not a regular file", pipe.display())),
        ("/dev/zero".into(), "", "/dev/zero: Not a regular file".into()),
        ("/dev/stdin".into(), "hz 10\nnosuch 1\n", "/dev/stdin:2: 'nosuch'".into()),
        ("/dev/fd/0".into(), "nosuch 1\n", "/dev/fd/0:1: 'nosuch'".into()),
        ("/dev/null".into(), "", "command line: 'nosuch'".into()),
    ] {
        let mut command = Command::new(subject_binary());
        command.args([&path, "--nosuch", "1"]).current_dir(directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // It may exit before it has read all its input.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{path}: {said}");
        assert!(said.contains(&says), "{path}: {said}");
    }
}

#[test]
fn a_rename_that_cannot_be_made_is_refused_with_its_line() {
    for (text, line, says) in [
        ("port 0\nrename-command nosuch x\n", 2, "No such command in rename-command"),
        ("rename-command get set\n", 1, "Target command name already exists"),
        ("rename-command get \"\"\nrename-command get x\n", 2, "No such command in rename-command"),
    ] {
        let (status, output) = Launch::subject().config(text).run_to_exit();
        assert_eq!(status.code(), Some(1), "config {text:?}: {output}");
        assert!(output.contains(says), "config {text:?}: {output}");
        let place = if subject_is_redis() { "at line ".into() } else { "redstart.conf:".to_string() };
        assert!(output.contains(&format!("{place}{line}")), "config {text:?}: {output}");
    }
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    let launch = Launch::subject();
    let other = launch.directory().join("other.conf");
    let text = format!("timeout 1\ninclude {}\n", other.display());
    let (status, output) = launch.file("other.conf", "hz 10\nhz abc\n").config(&text).run_to_exit();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(subject_is_redis() || output.contains("other.conf:2"), "{output}");
}

#[test]
fn bad_flags_and_missing_files_are_refused_with_status_1() {
    for flags in ["--nosuchflag 1", "--timeout abc", "--timeout", "--include /nonexistent/redstart.conf"] {
        let (status, output) = Launch::subject().flags(flags).run_to_exit();
        assert_eq!(status.code(), Some(1), "{flags}: {output}");
        assert!(!output.trim().is_empty(), "{flags}: no message");
    }
}

#[test]
fn a_port_in_use_is_reported_and_ends_the_start() {
    let first = Server::start("");
    let (status, output) = Launch::subject().flags(&format!("--port {}", first.port())).run_to_exit();
    assert_eq!(status.code(), Some(1), "{output}");
    let port = first.port();
    for line in [
        format!(
            "# Warning: Could not create server TCP listening socket *:{port}: bind: Address already in use"
        ),
        format!("# Failed listening on port {port} (tcp), aborting."),
    ] {
        let count = output.lines().filter(|said| said.ends_with(&line)).count();
        assert_eq!(count, 1, "'{line}' once in {output}");
    }
    assert_eq!(first.client().run("PING"), Value::Simple(b"PONG".to_vec()));
}

#[test]
fn with_port_0_it_listens_on_the_unix_socket_alone() {
    let launch = Launch::subject();
    let (path, port) = (launch.directory().join("server.sock"), launch.port());
    let launch = launch.flags(&format!("--port 0 --unixsocket {} --unixsocketperm 700", path.display()));
    let mut server = launch.start_unlistened();
    let mut client = eventually("the socket", || Client::unix(&path).ok());
    client.ok("SET k v");
    assert_eq!(client.run("GET k").text(), "v");
    assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o700);
    assert!(Client::tcp(port).is_err(), "no TCP port is open");
    assert!(client.run("CLIENT INFO").text().contains("server.sock:0"), "the address is that of the socket");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!path.exists(), "the socket is removed at the end");
}

#[test]
fn tcp_and_unix_sockets_serve_the_same_keys() {
    let launch = Launch::subject();
    let path = launch.directory().join("both.sock");
    let server = launch.flags(&format!("--unixsocket {}", path.display())).start();
    server.client().ok("SET k v");
    assert_eq!(Client::unix(&path).expect("connect").run("GET k").text(), "v");
}

#[test]
fn it_listens_where_bind_says_and_nowhere_else() {
    let launch = Launch::subject();
    let port = launch.port();
    // The second address does not exist; its minus sign permits that.
    let server = launch.flags(&format!("--port {port} --bind 127.0.0.2 -192.0.2.55")).start_unlistened();
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
    let mut client = eventually("the bound address", || Client::tcp_at(elsewhere).ok());
    assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
    assert!(Client::tcp(port).is_err(), "127.0.0.1 is not bound");
    drop(server);
}

#[test]
fn it_listens_on_ipv6_loopback() {
    let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    if std::net::TcpListener::bind(address).is_err() {
        println!("not tested: this machine has no IPv6 loopback");
        return;
    }
    let launch = Launch::subject();
    let port = launch.port();
    let server = launch.flags(&format!("--port {port} --bind ::1")).start_unlistened();
    let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    let mut client = eventually("the IPv6 address", || Client::tcp_at(address).ok());
    assert!(client.run("CLIENT INFO").text().contains(" addr=[::1]:"), "addresses are shown in brackets");
    drop(server);
}

/// An address of this machine other than loopback. Connecting a datagram socket sends nothing.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn protected_mode_turns_strangers_away_until_there_is_a_password() {
    let Some(address) = outer_address() else {
        println!("not tested: this machine has only loopback addresses");
        return;
    };
    let server = Server::start("");
    let outer = SocketAddr::from((address, server.port()));
    let mut stranger = Client::tcp_at(outer).expect("the port is open on all addresses");
    let said = String::from_utf8(stranger.wait_closed()).expect("text");
    assert!(said.starts_with("-DENIED ") && said.ends_with("\r\n"), "{said}");
    assert_eq!(said.matches('\n').count(), 1, "one line: {said}");

    let mut inner = server.client();
    inner.ok("CONFIG SET protected-mode no");
    assert_eq!(Client::tcp_at(outer).expect("connect").run("PING"), Value::Simple(b"PONG".to_vec()));
    inner.ok("CONFIG SET protected-mode yes");
    inner.ok("CONFIG SET requirepass secret");
    let mut stranger = Client::tcp_at(outer).expect("connect");
    assert!(stranger.run("PING").text().starts_with("NOAUTH "));
    stranger.ok("AUTH secret");
}

#[test]
fn the_pidfile_holds_the_process_and_goes_with_it() {
    let launch = Launch::subject();
    let path = launch.directory().join("server.pid");
    let mut server = launch.flags(&format!("--pidfile {}", path.display())).start();
    assert_eq!(fs::read_to_string(&path).expect("the pidfile").trim(), server.pid().to_string());
    server.signal(Signal::SIGTERM);
    server.wait_exit();
    assert!(!path.exists());
}

/// `12345:M 21 Nov 2026 11:28:33.691 * text`: process, role, time, level.
fn is_log_line(line: &str) -> bool {
    let words: Vec<&str> = line.splitn(7, ' ').collect();
    let [process, day, month, year, time, level, _text] = words[..] else { return false };
    let number = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let clock: Vec<&str> = time.split([':', '.']).collect();
    process
        .split_once(':')
        .is_some_and(|(pid, role)| pid.parse::<u32>().is_ok() && ["M", "C", "X"].contains(&role))
        && number(day, 2)
        && months.contains(&month)
        && number(year, 4)
        && matches!(clock[..], [h, m, s, ms] if number(h, 2) && number(m, 2) && number(s, 2) && number(ms, 3))
        && ["#", "*", "-", "."].contains(&level)
}

#[test]
fn the_log_has_the_lines_of_redis() {
    let launch = Launch::subject();
    let path = launch.directory().join("server.log");
    let server = launch.flags(&format!("--logfile {} --loglevel debug", path.display())).start();
    let log = eventually("the line of the end of the start", || {
        fs::read_to_string(&path).ok().filter(|log| log.contains("Ready to accept connections"))
    });
    let own = format!("{}:", server.pid());
    for line in log.lines() {
        assert!(is_log_line(line), "not a log line: {line}");
        assert!(line.starts_with(&own), "not this process: {line}");
    }
    assert!(log.lines().any(|l| l.contains(" * ")), "notices are marked with a star");
    assert!(
        !server.log().contains("Ready to accept"),
        "with a log file nothing is written to standard output"
    );
}

/// A server with a log file, and the path of the file.
fn server_with_log_file() -> (PathBuf, Server) {
    let launch = Launch::subject();
    let path = launch.directory().join("server.log");
    let server = launch.flags(&format!("--logfile {} --enable-debug-command yes", path.display())).start();
    (path, server)
}

#[test]
fn a_log_that_was_renamed_or_removed_is_created_again_under_its_name() {
    let (path, server) = server_with_log_file();
    let (mut client, old) = (server.client(), path.with_extension("1"));
    fs::rename(&path, &old).expect("rename the log");
    client.ok("DEBUG LOG second");
    let (first, second) = (fs::read_to_string(&old).expect("the old log"), fs::read_to_string(&path));
    let second = second.expect("a log file under the old name");
    assert!(first.contains("Ready to accept") && !first.contains("second"), "{first}");
    assert!(second.contains("DEBUG LOG: second") && !second.contains("Ready to accept"), "{second}");
    fs::remove_file(&path).expect("remove the log");
    client.ok("DEBUG LOG third");
    let third = fs::read_to_string(&path).expect("a log file under the old name");
    assert!(third.contains("DEBUG LOG: third"), "{third}");
}

#[test]
fn a_crash_is_reported_where_the_log_is_now() {
    for command in ["DEBUG SEGFAULT", "DEBUG PANIC"] {
        let (path, mut server) = server_with_log_file();
        let old = path.with_extension("1");
        let mut client = server.client();
        fs::rename(&path, &old).expect("rename the log");
        client.send(&command.split(' ').collect::<Vec<_>>()).expect("send");
        server.wait_exit();
        let log = fs::read_to_string(&path).expect("a log file under the old name");
        assert!(log.contains("BUG REPORT START") && log.contains("BUG REPORT END"), "{log}");
        assert!(!fs::read_to_string(&old).expect("the old log").contains("REPORT"));
    }
}

#[test]
fn loglevel_leaves_out_what_is_below_it() {
    let server = Server::start("--loglevel warning");
    assert!(!server.log().contains("Ready to accept connections"), "a notice in spite of the level");
    server.client().ok("CONFIG SET loglevel verbose");
    let client = server.client();
    server.wait_for_log("Accepted 127.0.0.1:");
    drop(client);
    server.wait_for_log("Client closed connection");
}

#[test]
fn every_few_seconds_the_log_reports_keys_and_clients() {
    let server = Server::start("--loglevel debug");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("SET gone v EX 1000");
    server.wait_for_log("DB 0: 2 keys (1 volatile)");
    server.wait_for_log("1 clients connected");
}

/// Kills a process that is not a child of the test if the test fails before that process has exited.
struct Daemon(i32);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn daemonize_leaves_the_terminal_and_serves_on() {
    let launch = Launch::subject();
    let (pidfile, port) = (launch.directory().join("daemon.pid"), launch.port());
    let log = launch.directory().join("daemon.log");
    let flags =
        format!("--port {port} --daemonize yes --pidfile {} --logfile {}", pidfile.display(), log.display());
    let mut parent = launch.flags(&flags).start_unlistened();
    assert_eq!(parent.wait_exit().code(), Some(0), "the starting process exits with status 0");
    let pid = eventually("the pidfile", || fs::read_to_string(&pidfile).ok()?.trim().parse::<i32>().ok());
    let _daemon = Daemon(pid);
    assert_ne!(pid as u32, parent.pid());
    let mut client = eventually("a connection to the daemon", || Client::tcp(port).ok());
    assert_eq!(client.info_number("process_id"), i64::from(pid));
    assert_ne!(status_field(pid as u32, "PPid"), std::process::id().to_string());
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("send");
    client.wait_closed();
    eventually("the end of the daemon", || (!pidfile.exists()).then_some(()));
}

#[test]
fn the_value_of_huge_pages_that_config_get_returns_can_be_set_again() {
    let server = Server::start("");
    let mut client = server.client();
    for value in ["no", "yes", "no"] {
        client.ok(&format!("CONFIG SET huge-pages {value}"));
        assert_eq!(directive(&mut client, "huge-pages"), value);
        client.ok(&format!("SET k:{value} v"));
    }
    assert_eq!(client.run("DBSIZE").integer(), 2);
}

#[test]
fn sigterm_and_sigint_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start("");
        let mut client = server.client();
        client.ok("SET k v");
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0), "after {signal}");
        assert!(client.wait_closed().is_empty(), "the client gets no reply before it is closed");
        let log = server.log();
        assert!(log.contains(signal.as_str()), "the log names the signal: {log}");
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_busy_server() {
    let mut server = Server::start("--enable-debug-command yes");
    let before = server.resident_bytes();
    // The command runs far longer than any deadline here: only the second signal can end it.
    server.client().send(&["DEBUG", "POPULATE", "2000000000", "key", "100"]).expect("send");
    eventually("a busy server", || (server.resident_bytes() > before + (16 << 20)).then_some(()));
    server.signal(Signal::SIGINT);
    wait_until_handled(&server);
    server.signal(Signal::SIGINT);
    let status = server.wait_exit();
    assert_eq!(status.code(), Some(1), "an interrupted shutdown is not a success: {status:?}");
    server.wait_for_log("You insist... exiting now.");
}

/// Waits until no signal to the process is pending any more.
fn wait_until_handled(server: &Server) {
    eventually("the signal's arrival", || {
        let pending = status_field(server.pid(), "ShdPnd");
        pending.chars().all(|c| c == '0').then_some(())
    });
}

#[test]
fn a_second_termination_signal_changes_nothing_about_an_end_in_order() {
    let launch = Launch::subject();
    let (pidfile, socket) = (launch.directory().join("server.pid"), launch.directory().join("server.sock"));
    let flags = format!("--pidfile {} --unixsocket {}", pidfile.display(), socket.display());
    let mut server = launch.flags(&flags).flags("--enable-debug-command yes").start();
    // In one packet: once the line is logged, the server cannot shut down before the sleep has ended.
    server.client().send_raw(b"DEBUG LOG sleeps\r\nDEBUG SLEEP 1\r\n").expect("send");
    server.wait_for_log("DEBUG LOG: sleeps");
    for _ in 0..3 {
        server.signal(Signal::SIGTERM);
        wait_until_handled(&server);
    }
    assert_eq!(server.wait_exit().code(), Some(0));
    assert!(!pidfile.exists() && !socket.exists(), "it removes its files");
}

#[test]
fn shutdown_ends_it_without_a_reply() {
    for command in ["SHUTDOWN NOSAVE", "SHUTDOWN", "SHUTDOWN NOW FORCE", "shutdown nosave now"] {
        let mut server = Server::start("");
        let mut client = server.client();
        client.send(&command.split(' ').collect::<Vec<_>>()).expect("send");
        assert!(client.wait_closed().is_empty(), "{command}");
        assert_eq!(server.wait_exit().code(), Some(0), "{command}");
    }
}

#[test]
fn a_hangup_a_broken_pipe_and_an_alarm_do_not_end_it() {
    let mut server = Server::start("");
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGPIPE);
    server.signal(Signal::SIGALRM);
    wait_until_handled(&server);
    assert_eq!(server.client().run("PING"), Value::Simple(b"PONG".to_vec()));
    assert!(server.is_running());
}

#[test]
fn a_crash_leaves_a_report_in_the_log_and_dies_by_its_signal() {
    let mut server = Server::start("--crash-memcheck-enabled no");
    server.client().ok("SET k v");
    server.signal(Signal::SIGSEGV);
    let status = server.wait_exit();
    assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{status:?}");
    let log = server.log();
    for part in ["BUG REPORT START", "BUG REPORT END", "crashed by signal: 11", "STACK TRACE"] {
        assert!(log.contains(part), "no '{part}' in the log");
    }
}

#[test]
fn open_files_are_raised_for_the_clients() {
    let server = Server::start("--maxclients 5000");
    assert!(server.open_files_limit() >= 5032);
    assert_eq!(directive(&mut server.client(), "maxclients"), "5000");
}

#[test]
fn more_clients_than_the_system_allows_are_refused_with_the_number_that_it_allows() {
    let server = Server::start("--maxclients 50");
    let mut client = server.client();
    let refusal = client.run("CONFIG SET maxclients 4000000000").text();
    let (text, possible) = refusal.rsplit_once(' ').expect("words");
    assert!(text.ends_with("handle the specified number of clients, try with"), "{refusal}");
    assert_eq!(directive(&mut client, "maxclients"), "50");
    assert!(possible.parse::<u32>().expect("a number") > 50, "{refusal}");
    client.ok(&format!("CONFIG SET maxclients {possible}"));
    assert_eq!(directive(&mut client, "maxclients"), possible);
}

const CONFIG_FILE: &str = "\
# A comment on top
timeout 5

# About memory
maxmemory 100mb
maxmemory-policy allkeys-lru
# At the end
hz 10
hz 20
";

/// The lines that are not empty, without Redis's user, which is not configurable here.
fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with("user ")).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn config_rewrite_keeps_comments_and_changes_what_changed() {
    let server = Launch::subject().config(CONFIG_FILE).start();
    let mut client = server.client();
    let path = server.directory().join("redstart.conf");
    client.ok("CONFIG SET timeout 99");
    client.ok("CONFIG SET maxmemory 0");
    client.ok("CONFIG SET tcp-keepalive 123");
    client.ok("CONFIG REWRITE");
    let text = fs::read_to_string(&path).expect("the config file");
    for line in
        ["# A comment on top", "# About memory", "# At the end", "timeout 99", "tcp-keepalive 123", "hz 20"]
    {
        assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "'{line}' once in:\n{text}");
    }
    assert!(!text.contains("100mb") && !text.contains("hz 10"), "{text}");
    assert!(text.contains("# Generated by CONFIG REWRITE"), "{text}");
    drop(client);

    // A new server reads the written file.
    let server = server.stop().config(&text).start();
    let mut client = server.client();
    assert_eq!(directive(&mut client, "timeout"), "99");
    assert_eq!(directive(&mut client, "tcp-keepalive"), "123");
    assert_eq!(directive(&mut client, "maxmemory-policy"), "allkeys-lru");
    client.ok("CONFIG REWRITE");
    let again = fs::read_to_string(&path).expect("the config file");
    assert_eq!(sorted_lines(&again), sorted_lines(&text), "a second rewrite changes nothing");
}

#[test]
fn config_rewrite_leaves_a_file_as_it_is_when_nothing_changed() {
    let launch = Launch::subject();
    let text = format!("# a remark\n\nport {}\nsave \"\"\ndir {:?}\n", launch.port(), launch.directory());
    let server = launch.config(&text).start();
    let mut client = server.client();
    for _ in 0..2 {
        client.ok("CONFIG REWRITE");
        assert_eq!(fs::read_to_string(server.directory().join("redstart.conf")).expect("the file"), text);
    }
}

#[test]
fn config_rewrite_writes_what_redis_writes() {
    let written = [Launch::subject(), Launch::redis()].map(|launch| {
        let server = launch.config(CONFIG_FILE).start();
        let mut client = server.client();
        for line in
            ["hz 33", "timeout 0", "maxmemory 3gb", "loglevel warning", "lfu-log-factor 3", "maxclients 777"]
        {
            client.ok(&format!("CONFIG SET {line}"));
        }
        client.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 2mb 3"]);
        client.call(&["CONFIG", "SET", "requirepass", "a b\"c"]);
        client.ok("CONFIG REWRITE");
        let text = fs::read_to_string(server.directory().join("redstart.conf")).expect("the config file");
        // Port and directory differ, and Redis writes some lines even if nothing changed in them.
        let own = ["port ", "dir ", "user ", "save ", "latency-tracking-info-percentiles "];
        let text: Vec<&str> = text.lines().filter(|l| !own.iter().any(|o| l.starts_with(o))).collect();
        let end =
            text.iter().position(|l| l.starts_with("# Generated")).expect("the line before the new ones");
        // New lines may be in any order.
        text[..end]
            .iter()
            .chain(&sorted_lines(&text[end..].join("\n")))
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    });
    assert_eq!(written[0], written[1]);
}

#[test]
fn it_tells_its_identity_and_what_it_is_compatible_with() {
    let server = Server::start("");
    let mut client = server.client();
    assert_eq!(client.info_number("process_id"), i64::from(server.pid()));
    assert_eq!(client.info("run_id").len(), 40);
    if !subject_is_redis() {
        assert_eq!(client.info("redis_version"), "7.2.4");
        assert_eq!(client.info("server_name"), "redstart");
        assert_eq!(client.info("redstart_version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(client.run("HELLO").field("server").text(), "redis");
        assert_eq!(client.run("HELLO").field("version").text(), "7.2.4");
    }
}

#[test]
fn the_version_is_where_programs_that_know_redis_look_for_it() {
    let output = std::process::Command::new(support::server::subject_binary()).arg("--version").output();
    let line = String::from_utf8(output.expect("run").stdout).expect("text");
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    assert_eq!(words[..2], ["Redis", "server"], "{line}");
    let names: Vec<&str> = words[2..].iter().map(|word| word.split_once('=').expect("a value").0).collect();
    assert_eq!(names[..5], ["v", "sha", "malloc", "bits", "build"], "{line}");
    if !subject_is_redis() {
        assert_eq!(words[2], "v=7.2.4", "{line}");
        assert_eq!(words.last(), Some(&&*format!("redstart={}", env!("CARGO_PKG_VERSION"))), "{line}");
    }
}

#[test]
fn version_and_help_are_printed_and_nothing_is_started() {
    for flag in ["--version", "-v", "--help", "-h"] {
        let output =
            std::process::Command::new(support::server::subject_binary()).arg(flag).output().expect("run");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.trim().is_empty(), "{flag} prints nothing");
        assert!(!text.contains("Ready to accept"), "{flag} starts a server");
    }
}

#[test]
fn a_daemon_that_cannot_listen_or_log_exits_with_an_error() {
    let taken = Server::start("");
    let port = taken.port();
    let (status, said) = Launch::subject().flags(&format!("--daemonize yes --port {port}")).run_to_exit();
    assert!(!status.success() && said.contains(&port.to_string()), "{status}: {said}");
    let (status, said) = Launch::subject().flags("--daemonize yes --logfile missing/here.log").run_to_exit();
    assert!(!status.success() && said.contains("missing/here.log"), "{status}: {said}");
}

/// Scripts that start a daemon rely on the exit status: 0 means that it serves clients.
#[test]
fn a_daemon_that_cannot_load_its_data_or_write_its_pidfile_exits_with_the_reason() {
    let launch = Launch::subject();
    fs::write(launch.directory().join("dump.rdb"), "REDIS0011 and no more").expect("written");
    let port = launch.port();
    let flags = format!("--port {port} --daemonize yes --pidfile daemon.pid");
    let (status, said) = launch.flags(&flags).run_to_exit();
    assert!(!status.success() && said.contains("dump.rdb"), "{status}: {said}");
    let launch = Launch::subject();
    let port = launch.port();
    let flags = format!("--port {port} --daemonize yes --pidfile missing/daemon.pid");
    let (status, said) = launch.flags(&flags).run_to_exit();
    assert!(!status.success() && said.contains("missing/daemon.pid"), "{status}: {said}");
    assert!(Client::tcp(port).is_err(), "it has exited");
}

#[test]
fn a_daemon_serves_its_data_by_the_time_its_parent_exits() {
    let server = Server::start("");
    let mut client = server.client();
    for key in 0..2000 {
        client.run(&format!("RPUSH k{key} a b c d e f g h"));
    }
    client.ok("SAVE");
    let launch = server.stop();
    let (pidfile, port) = (launch.directory().join("daemon.pid"), launch.port());
    let flags = format!("--port {port} --daemonize yes --pidfile {}", pidfile.display());
    let mut parent = launch.flags(&flags).start_unlistened();
    assert_eq!(parent.wait_exit().code(), Some(0));
    let pid = fs::read_to_string(&pidfile).expect("the pidfile is there").trim().parse().expect("a number");
    let _daemon = Daemon(pid);
    let mut client = Client::tcp(port).expect("it listens");
    assert_eq!(client.run("DBSIZE").integer(), 2000, "all is loaded");
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("sent");
    client.wait_closed();
}

#[test]
fn a_maxmemory_without_its_unit_is_warned_of() {
    let server = Server::start("--maxmemory 100");
    server.wait_for_log(
        "# WARNING: You specified a maxmemory value that is less than 1MB (current value is 100 bytes). Are you sure this \
         is what you really want?",
    );
    assert!(!Server::start("--maxmemory 1mb").log().contains("less than 1MB"));
}

/// Redis's tests of damaged payloads search for this text.
#[test]
fn the_verbose_log_says_why_a_payload_was_refused() {
    let server = Server::start("--loglevel verbose");
    let mut client = server.client();
    // An invalid listpack of four bytes, with a correct version and checksum.
    let payload = b"\x10\x04abcd\x0b\x00\x6e\xd3\x73\x8e\x77\x14\x55\x47";
    let reply = client.call(&[&b"RESTORE"[..], b"k", b"0", payload]);
    assert_eq!(reply.text(), "ERR Bad data format");
    server.wait_for_log("integrity check failed");
}
