//! `--pipe`: mass insertion of valid input, and of truncated input.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use crate::support::Server;
use crate::support::server::Directory;
use crate::support::terminal::Terminal;
use crate::{Run, redis_cli, run, tool};

const DONE: &str = "All data transferred. Waiting for the last reply...\nLast reply received from server.\n";

/// Sends this input with `--pipe`, and checks that redis-cli prints the same.
fn piped(server: &Server, options: &[&str], input: &[u8]) -> Run {
    let arguments = [&["--pipe"], options].concat();
    server.client().ok("FLUSHALL");
    let run = run(tool(server.port(), &arguments), input);
    if let Some(other) = redis_cli(server.port(), &arguments) {
        server.client().ok("FLUSHALL");
        assert_eq!(run, self::run(other, input), "{}", input.escape_ascii());
    }
    run
}

#[test]
fn commands_of_both_kinds_are_executed_and_counted() {
    let server = Server::start("");
    for (input, options, replies) in [
        (&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nPING\r\nGET nothing\r\nHGETALL h\r\n"[..], &[][..], 4),
        (b"", &[], 0),
        (b"PING\r\nSET a 1", &[], 2),
        (b"COMMAND INFO get\r\nEVAL 'return {1,{err=[[nested]]},{}}' 0\r\n", &[], 2),
        (b"HELLO 3\r\nCONFIG GET *\r\nHSET h f v\r\nHGETALL h\r\n", &[], 4),
        (b"HELLO 3\r\nSUBSCRIBE a\r\nPING\r\n", &[], 2),
        (b"SET a 1\r\nGET a\r\n", &["-n", "3"], 2),
    ] {
        let run = piped(&server, options, input);
        let expected = format!("{DONE}errors: 0, replies: {replies}\n");
        assert_eq!(run, Run { status: Some(0), output: expected, errors: String::new() });
    }
    assert_eq!(server.client().run("DBSIZE").integer(), 0);
    let mut client = server.client();
    client.ok("SELECT 3");
    assert_eq!(client.run("GET a").text(), "1");
}

#[test]
fn errors_are_printed_and_counted() {
    let server = Server::start("");
    let run = piped(
        &server,
        &[],
        b"SET a b\r\nINCR a\r\nSET a\r\nNOTHING\r\nLPUSH a 1\r\nMULTI\r\nSET a\r\nEXEC\r\n",
    );
    assert_eq!((run.status, run.output), (Some(1), format!("{DONE}errors: 6, replies: 8\n")));
    assert!(run.errors.starts_with("ERR value is not an integer or out of range\n"), "{}", run.errors);
    assert!(run.errors.contains("\nEXECABORT "), "{}", run.errors);
}

#[test]
fn each_of_a_million_commands_is_counted() {
    let server = Server::start("");
    let mut input = String::new();
    for n in 0..1_000_000 {
        let _ = match n % 1000 {
            999 => input.write_str("INCR text\r\n"),
            0 => write!(input, "SET text {n}x\r\n"),
            _ => write!(input, "INCR n:{}\r\n", n % 100),
        };
    }
    let run = run(tool(server.port(), &["--pipe"]), input.as_bytes());
    assert_eq!((run.status, run.output), (Some(1), format!("{DONE}errors: 1000, replies: 1000000\n")));
    assert_eq!(run.errors.lines().count(), 1000);
    assert_eq!(server.client().run("GET n:7").text(), "10000");
    assert_eq!(server.client().run("DBSIZE").integer(), 101);
}

#[test]
fn replies_larger_than_all_buffers_do_not_block_both_sides() {
    let server = Server::start("");
    server.client().run(&format!("SET large {}", "x".repeat(100_000)));
    // The server stops reading requests while its replies are not read.
    let input = "GET large\r\n".repeat(2000) + &"SET key value\r\n".repeat(20_000);
    let run = run(tool(server.port(), &["--pipe"]), input.as_bytes());
    assert_eq!((run.status, run.output), (Some(0), format!("{DONE}errors: 0, replies: 22000\n")));
}

#[test]
fn input_that_ends_within_a_command_is_an_error() {
    let server = Server::start("");
    let run = piped(&server, &["--pipe-timeout", "1"], b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\nabc");
    let output = "All data transferred. Waiting for the last reply...\nerrors: 1, replies: 0\n".to_string();
    let errors = "No replies for 1 seconds: exiting.\n".to_string();
    assert_eq!(run, Run { status: Some(1), output, errors });
    let run = self::run(tool(server.port(), &["--pipe"]), b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\n");
    assert_eq!(run.status, Some(1));
    assert_eq!(
        run.errors,
        "ERR Protocol error: expected '$', got '2'\n\
         Server closed the connection after 2 replies, 1 of them errors\n"
    );
}

#[test]
fn without_a_limit_of_time_late_replies_count() {
    let server = Server::start("");
    let run = run(tool(server.port(), &["--pipe", "--pipe-timeout", "0"]), b"BLPOP nothing 1.2\r\n");
    assert_eq!((run.status, run.output), (Some(0), format!("{DONE}errors: 0, replies: 1\n")));
    let late = self::run(tool(server.port(), &["--pipe", "--pipe-timeout", "1"]), b"BLPOP nothing 0\r\n");
    assert_eq!((late.status, late.errors.as_str()), (Some(1), "No replies for 1 seconds: exiting.\n"));
}

#[test]
fn a_server_that_dies_half_way_is_an_error() {
    let server = Server::start("");
    let mut command = tool(server.port(), &["--pipe"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"SET a 1\r\nNOTHING\r\n").expect("it reads");
    let mut errors = child.stderr.take().expect("piped");
    let mut first = [0; 4];
    errors.read_exact(&mut first).expect("the error of the second command");
    drop(server);
    // It exits although its input is still open.
    let mut text = String::new();
    errors.read_to_string(&mut text).expect("text");
    assert!(text.ends_with("Server closed the connection after 2 replies, 1 of them errors\n"), "{text}");
    assert_eq!(child.wait().expect("ends").code(), Some(1));
}

#[test]
fn input_that_cannot_be_read_is_an_error() {
    let server = Server::start("");
    let directory = Directory::new();
    let mut command = tool(server.port(), &["--pipe"]);
    command.stdin(File::open(directory.path()).expect("opened"));
    let done = command.output().expect("runs");
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "Error reading from stdin: Is a directory\n");
}

#[test]
fn a_large_file_has_a_progress_bar_on_a_terminal() {
    let directory = Directory::new();
    std::fs::write(directory.join("input"), "PING\r\n".repeat(5_000_000)).expect("written");
    // A server that continues to read only after the test has seen the bar.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let (go, going) = std::sync::mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut room = [0; 8192];
        let mut fast = false;
        while stream.read(&mut room).is_ok_and(|len| len > 0) {
            fast = fast || going.try_recv().is_ok();
            if !fast {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$0\" cli -p \"$1\" --pipe --pipe-timeout 1 < \"$2\""]);
    shell.arg(crate::support::server::subject_binary()).arg(port.to_string()).arg(directory.join("input"));
    let mut terminal = Terminal::start(shell, 80, 10);
    terminal.wait_for(" %");
    go.send(()).expect("it listens");
    terminal.wait_for("All data transferred");
    terminal.wait_for("errors: 1, replies: 0");
    assert!(!terminal.wait_exit().success());
    let screen = terminal.screen().text();
    assert!(!screen.contains('#'), "the bar is removed: {screen}");
    server.join().expect("served");
}
