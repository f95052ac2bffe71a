//! `redstart cli` at a terminal, as a user sees it: prompt, editing, hints, messages, interrupts, lost servers.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use support::server::subject_binary;
use support::{Server, Terminal};

/// The client at a prompt; its files are in the server's directory.
fn start(server: &Server, arguments: &[&str]) -> Terminal {
    let mut terminal = open(server.directory(), server.port(), arguments);
    terminal.wait_for("> ");
    terminal
}

fn open(home: &Path, port: u16, arguments: &[&str]) -> Terminal {
    let mut command = Command::new(subject_binary());
    command.args(["cli", "-p", &port.to_string()]).args(arguments);
    command
        .env("HOME", home)
        .env_remove("REDISCLI_AUTH")
        .env_remove("REDISCLI_HISTFILE")
        .env_remove("REDISCLI_RCFILE");
    Terminal::start(command, 100, 30)
}

/// Types a command, and waits for its output and then the prompt.
fn ask(terminal: &mut Terminal, line: &str, wanted: &str) {
    terminal.send(&format!("{line}\r"));
    terminal.wait_for(wanted);
    terminal.wait_for("> ");
}

#[test]
fn commands_are_typed_at_a_prompt_that_tells_where_they_go() {
    let server = Server::start("");
    let mut terminal = start(&server, &[]);
    let prompt = format!("127.0.0.1:{}", server.port());
    ask(&mut terminal, "set x 1", "OK\r\n");
    ask(&mut terminal, "3 incr x", "(integer) 2\r\n(integer) 3\r\n(integer) 4\r\n");
    ask(&mut terminal, "get nosuch", "(nil)\r\n");
    ask(&mut terminal, "\"open", "Invalid argument(s)\r\n");
    ask(&mut terminal, "select 2", "OK\r\n");
    assert_eq!(
        terminal.wait_screen("the prompt", |screen| screen.current().ends_with("]>")).current(),
        format!("{prompt}[2]>")
    );
    ask(&mut terminal, "multi", "OK\r\n");
    terminal.wait_screen("a transaction", |screen| screen.current() == format!("{prompt}[2](TX)>"));
    ask(&mut terminal, "incr y", "QUEUED\r\n");
    ask(&mut terminal, "exec", "1) (integer) 1\r\n");
    terminal.wait_screen("no transaction", |screen| screen.current() == format!("{prompt}[2]>"));
    ask(&mut terminal, "reset", "RESET\r\n");
    terminal.wait_screen("the first database", |screen| screen.current() == format!("{prompt}>"));
    ask(&mut terminal, "hello 3", "proto");
    ask(&mut terminal, "hgetall nosuch", "(empty hash)\r\n");
    ask(&mut terminal, "blpop nosuch 0.6", "(nil)\r\n(0.");
    terminal.send("exit\r");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
}

#[test]
fn hints_completion_and_history_help_with_typing() {
    let server = Server::start("");
    let mut terminal = start(&server, &[]);
    terminal.send("set fo");
    terminal.wait_screen("the hint", |screen| screen.current().contains("> set fo key value [NX|XX] [GET]"));
    terminal.send("o ");
    terminal.wait_screen("the rest", |screen| screen.current().contains("> set foo value [NX|XX] [GET]"));
    terminal.send("bar ex ");
    terminal.wait_screen("an option", |screen| {
        screen.current().ends_with("> set foo bar ex seconds [NX|XX] [GET]")
    });
    terminal.send("100\r");
    terminal.wait_for("OK\r\n");
    terminal.wait_for("> ");

    terminal.send("hgetal\t");
    terminal.wait_screen("the completed name", |screen| screen.current().contains("> hgetall key"));
    terminal.send("h\r");
    terminal.wait_for("(empty array)\r\n");
    terminal.wait_for("> ");
    terminal.send("config resetst\t\r");
    terminal.wait_for("OK\r\n");
    terminal.wait_for("> ");

    terminal.send("\x1b[A\x1b[A\x1b[A");
    terminal.wait_screen("the first line", |screen| screen.current().contains("> set foo bar ex 100"));
    terminal.send("\x7f\x7f\x7f200\r");
    terminal.wait_for("OK\r\n");
    terminal.wait_for("> ");
    ask(&mut terminal, "auth secret", "(error)");
    ask(&mut terminal, ":set nohints", "");
    terminal.send("get ");
    terminal.wait_screen("no hint", |screen| screen.current().ends_with("> get"));
    // The typed line is discarded, and the client stays.
    terminal.send("\x03");
    terminal.wait_screen("an empty line", |screen| screen.current().ends_with('>'));
    terminal.send("\x04");
    assert!(terminal.wait_exit().success());

    let history = std::fs::read_to_string(server.directory().join(".rediscli_history")).expect("the history");
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(
        lines,
        ["set foo bar ex 100", "hgetall h", "config resetstat ", "set foo bar ex 200", ":set nohints"]
    );
    // The next session begins with this history, and with the preferences in the user's file.
    std::fs::write(server.directory().join(".redisclirc"), ":set nohints\n").expect("write the preferences");
    let mut terminal = start(&server, &[]);
    terminal.send("\x1b[A\x1b[A");
    terminal.wait_screen("a line of before", |screen| screen.current().contains("> set foo bar ex 200"));
    terminal.send("\x15get ");
    terminal.wait_screen("no hint", |screen| screen.current().ends_with("> get"));
    // With nothing typed, Ctrl-C exits.
    terminal.send("\x03");
    terminal.wait_screen("an empty line", |screen| screen.current().ends_with('>'));
    terminal.send("\x03");
    assert!(terminal.wait_exit().success());
    assert!(terminal.is_restored());
}

#[test]
fn help_tells_of_commands_and_groups() {
    let server = Server::start("");
    let mut terminal = start(&server, &[]);
    ask(&mut terminal, "help", "\"help @<group>\" to get a list of commands in <group>");
    ask(
        &mut terminal,
        "help get",
        "\x1b[1mGET\x1b[0m \x1b[90mkey\x1b[0m\r\n  \x1b[33msummary:\x1b[0m Returns the string value of a key.\r\n",
    );
    ask(&mut terminal, "? @pubsub", "PUBSUB NUMSUB");
    ask(&mut terminal, "help nosuch", "There is no command 'nosuch'.");
    terminal.send("help @sor\t");
    terminal.wait_screen("the group", |screen| screen.current().contains("> help @sorted-set"));
    terminal.send("\r");
    terminal.wait_for("ZADD");
    ask(&mut terminal, "", "> ");
    ask(&mut terminal, "clear", "\x1b[H\x1b[2J");
    let screen = terminal.wait_screen("an empty screen", |screen| screen.text().ends_with('>'));
    assert_eq!(screen.text().lines().count(), 1);
}

#[test]
fn a_subscriber_sees_messages_until_a_key_is_pressed() {
    const WAITS: &str = "Reading messages... (press Ctrl-C to quit or any key to type command)\r";
    let server = Server::start("");
    for protocol in ["-2", "-3"] {
        let mut terminal = start(&server, &[protocol]);
        terminal.send("subscribe a b\r");
        terminal.wait_for("1) \"subscribe\"\r\n2) \"a\"\r\n3) (integer) 1\r\n1) \"subscribe\"\r\n2) \"b\"\r\n3) (integer) 2\r\n");
        terminal.wait_for(WAITS);
        server.client().call(&["PUBLISH", "a", "hello"]);
        terminal.wait_for("1) \"message\"\r\n2) \"a\"\r\n3) \"hello\"\r\n");
        terminal.wait_for(WAITS);
        terminal.send("p");
        terminal.wait_for("(subscribed mode)> ");
        terminal.send("ing\r");
        terminal.wait_for(if protocol == "-2" { "1) \"pong\"\r\n2) \"\"\r\n" } else { "PONG\r\n" });
        terminal.wait_for(WAITS);
        terminal.send("unsubscribe\r");
        terminal.wait_for("\"unsubscribe\"");
        terminal.wait_for("\"unsubscribe\"");
        terminal.wait_for(WAITS);
        terminal.send("\x03");
        terminal
            .wait_screen("the prompt", |screen| screen.current() == format!("127.0.0.1:{}>", server.port()));
        terminal.wait_for("> ");
        ask(&mut terminal, "get nosuch", "(nil)\r\n");
        for key in ["\x03", "\x04"] {
            terminal.send("subscribe a\r");
            terminal.wait_for(WAITS);
            terminal.send("x");
            terminal.wait_for("(subscribed mode)> ");
            terminal.send("\x15");
            terminal.wait_screen("nothing typed", |screen| screen.current().ends_with("(subscribed mode)>"));
            // A key ends the subscription, not the session.
            terminal.send(key);
            terminal.wait_screen("the prompt", |screen| {
                screen.current() == format!("127.0.0.1:{}>", server.port())
            });
            ask(&mut terminal, "get nosuch", "(nil)\r\n");
        }
        terminal.send("monitor\r");
        terminal.wait_for("OK\r\n");
        server.client().call(&["PING", "monitored"]);
        terminal.wait_for("\"PING\" \"monitored\"");
        terminal.send("\x03");
        terminal.wait_for("> ");
        ask(&mut terminal, "get nosuch", "(nil)\r\n");
    }
}

#[test]
fn what_waits_is_interrupted_and_the_session_goes_on() {
    let server = Server::start("");
    let mut terminal = start(&server, &["-n", "3"]);
    terminal.send("blpop nosuch 0\r");
    let blocked = || server.client().info("blocked_clients") == "1";
    support::eventually("the client waits", || blocked().then_some(()));
    let since = std::time::Instant::now();
    support::eventually("it takes long", || (since.elapsed().as_millis() >= 600).then_some(()));
    terminal.send("\x03");
    let printed = terminal.wait_for(&format!("{}[3]> ", server.port()));
    assert!(!printed.contains("s)"), "a time for a cancelled command: {printed}");
    // The blocked client is gone: nothing pops the next element.
    support::eventually("nobody waits", || (!blocked()).then_some(()));
    ask(&mut terminal, "rpush nosuch x", "(integer) 1\r\n");
    ask(&mut terminal, "client reply off", "");
    ask(&mut terminal, "get nosuch", "");
    ask(&mut terminal, "client reply on", "OK\r\n");
    ask(&mut terminal, "lpop nosuch", "\"x\"\r\n");
}

#[test]
fn a_server_that_goes_away_is_connected_to_when_it_is_back() {
    let server = Server::start("");
    let port = server.port();
    let mut terminal = start(&server, &[]);
    let refused = format!("Could not connect to Redis at 127.0.0.1:{port}: Connection refused\r\n");
    ask(&mut terminal, "multi", "OK\r\n");
    let launch = server.stop();
    terminal.send("get x\r");
    terminal.wait_for("Error: Server closed the connection\r\n");
    terminal.wait_for("not connected> ");
    terminal.send("get x\r");
    terminal.wait_for(&refused);
    terminal.wait_for("not connected> ");
    let mut other = open(launch.directory(), port, &[]);
    other.wait_for("not connected> ");
    other.send("\x03");
    assert!(other.wait_exit().success());
    let server = launch.start();
    assert_eq!(server.port(), port, "the port was taken meanwhile");
    ask(&mut terminal, "get x", "(nil)\r\n");
    terminal.wait_screen("no transaction", |screen| screen.current() == format!("127.0.0.1:{port}>"));
    terminal.send("shutdown nosave\r");
    terminal.wait_for("not connected> ");
    let other = Server::start("");
    ask(&mut terminal, &format!("connect localhost {}", other.port()), "\r\n");
    terminal
        .wait_screen("the other server", |screen| screen.current() == format!("localhost:{}>", other.port()));
    ask(&mut terminal, "ping", "PONG\r\n");
    terminal.send("quit\r");
    assert!(terminal.wait_exit().success());
}

#[test]
fn lines_that_are_pasted_are_executed_one_by_one() {
    let server = Server::start("");
    let mut terminal = start(&server, &[]);
    terminal.send("set a 1\rincr a\rincr a\r");
    terminal.wait_for("OK\r\n");
    terminal.wait_for("(integer) 2\r\n");
    terminal.wait_for("(integer) 3\r\n");
    terminal.send("\x1b[200~incr a\rincr a\x1b[201~\r");
    terminal.wait_for("(integer) 4\r\n(integer) 5\r\n");
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let server = Server::start("--requirepass secret");
    let mut terminal = open(server.directory(), server.port(), &["--askpass"]);
    terminal.wait_for("Please input password: ");
    terminal.send("secret\r");
    terminal.wait_for("> ");
    ask(&mut terminal, "ping", "PONG\r\n");
    assert!(!terminal.transcript().contains("secret"));
}

/// A server that replies to whatever arrives.
fn replying(serve: impl Fn(&[u8], &mut TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, serve) = (stream.expect("a connection"), serve.clone());
            std::thread::spawn(move || {
                let mut room = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut room) {
                    serve(&room[..len], &mut stream);
                }
            });
        }
    });
    port
}

#[test]
fn ctrl_c_ends_a_continuous_stream_of_messages() {
    let port = replying(|request, stream| {
        if request.windows(7).any(|word| word == b"monitor") {
            while stream.write_all(&b"+line\r\n".repeat(1000)).is_ok() {}
        } else {
            let _ = stream.write_all(b"*0\r\n");
        }
    });
    let home = Server::start("");
    let mut terminal = open(home.directory(), port, &[]);
    terminal.wait_for("> ");
    terminal.send("monitor\r");
    terminal.wait_for("line\r\nline\r\n");
    terminal.send("\x03");
    terminal.wait_for("> ");
    ask(&mut terminal, "lrange a 0 -1", "(empty array)\r\n");
}

/// A sequence that writes the clipboard, a control sequence that begins with C1, and a bidirectional override.
const OBEYED: &str = "\x1b]52;c;eA==\x07 \u{9b}7m \u{202e}txt";
const SHOWN: [&str; 2] = [r"\x1b]52;c;eA==", r" \xc2\x9b7m \xe2\x80\xaetxt"];

/// Runs a tool at a terminal, and returns its output.
fn at_a_terminal(arguments: &[&str]) -> String {
    let mut command = Command::new(subject_binary());
    command.args(arguments).env_remove("REDISCLI_AUTH");
    Terminal::start(command, 200, 30).finish()
}

#[test]
fn control_characters_of_replies_are_escaped() {
    let server = Server::start("--maxmemory-policy allkeys-lfu");
    let port = server.port().to_string();
    server.client().call(&["SET", OBEYED, OBEYED]);
    let error = "return redis.error_reply(ARGV[1])";
    let status = "return redis.status_reply(ARGV[1])";
    let commands: [&[&str]; 8] = [
        &["--raw", "get", OBEYED],
        &["--csv", "eval", status, "0", OBEYED],
        &["eval", status, "0", OBEYED],
        &["eval", error, "0", OBEYED],
        &["-e", "eval", error, "0", OBEYED],
        &["--raw", "-3", "eval", "return {ARGV[1], {ARGV[1]}}", "0", OBEYED],
        &["--raw", "--scan"],
        &["--bigkeys"],
    ];
    for arguments in commands {
        let printed = at_a_terminal(&[&["cli", "-p", &port], arguments].concat());
        assert_shown(&printed, arguments);
    }
    let printed = at_a_terminal(&["benchmark", "-p", &port, "-n", "1", "eval", error, "0", OBEYED]);
    assert_shown(&printed, &["benchmark"]);
    let piped = Command::new(subject_binary())
        .args(["cli", "-p", &port, "get", OBEYED])
        .output()
        .expect("the tool runs");
    assert_eq!(String::from_utf8(piped.stdout).expect("text"), format!("{OBEYED}\n"), "into a pipe");
}

#[test]
fn control_characters_of_pushes_errors_and_files_are_escaped() {
    let length = OBEYED.len();
    for reply in [
        format!("={}\r\ntxt:{OBEYED}\r\n", length + 4),
        format!(">2\r\n+news\r\n${length}\r\n{OBEYED}\r\n+OK\r\n"),
        format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${length}\r\n{OBEYED}\r\n+OK\r\n"),
        format!("-ERR {OBEYED}\r\n"),
        format!("+{OBEYED}\r\n"),
    ] {
        let shown = reply.clone();
        let port = replying(move |_, stream| drop(stream.write_all(reply.as_bytes()))).to_string();
        assert_shown(&at_a_terminal(&["cli", "-p", &port, "ping"]), &[&shown]);
        if shown.starts_with('-') {
            for arguments in
                [&["--scan"][..], &["--stat"], &["--hotkeys"], &["--bigkeys"], &["-a", "x", "ping"]]
            {
                assert_shown(&at_a_terminal(&[&["cli", "-p", &port], arguments].concat()), arguments);
            }
        }
    }
    let directory = Server::start("");
    let path = directory.directory().join("evil.rdb");
    let file = [b"REDIS0011\xfa\x03abc", &[length as u8][..], OBEYED.as_bytes(), b"\xff", &[0; 8]].concat();
    std::fs::write(&path, file).expect("write a file");
    let printed = at_a_terminal(&["check-rdb", path.to_str().expect("a path")]);
    assert_shown(&printed, &["check-rdb"]);
}

fn assert_shown(printed: &str, case: &[&str]) {
    assert!(!printed.contains(['\x07', '\u{9b}', '\u{202e}']), "{case:?}: {printed:?}");
    assert!(!printed.contains("\x1b]"), "{case:?}: {printed:?}");
    assert!(SHOWN.iter().all(|part| printed.contains(part)), "{case:?}: {printed:?}");
}
