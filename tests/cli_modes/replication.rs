//! Modes that connect to a master as a replica: their output, and masters that disconnect early. [`crate::masters`]
//! tests the data that they receive from masters of both kinds.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::server::{Directory, subject_binary};
use crate::support::terminal::Terminal;
use crate::support::{Launch, Server, eventually};
use crate::{Watched, redis_cli, run, tool};

const CONFIGURED: &str = "sending REPLCONF capa eof\nsending REPLCONF rdb-only 1\n";

/// Redis with two keys and a function.
fn redis(flags: &str) -> Server {
    let server = Launch::redis().flags("--repl-diskless-sync-delay 0").flags(flags).start();
    let mut client = server.client();
    client.run("SET key value");
    client.run(&format!("SET long {}", "long".repeat(50_000)));
    client.call(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=mylib\nredis.register_function('f', function() return 1 end)",
    ]);
    server
}

/// A master that accepts every REPLCONF of one replica, and then runs `serve`.
fn master(serve: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a replica");
        let mut room = [0; 1024];
        loop {
            let len = stream.read(&mut room).expect("a command");
            assert!(len > 0, "the replica left");
            if room[..len].ends_with(b"SYNC\r\n") {
                return serve(stream);
            }
            stream.write_all(b"+OK\r\n").expect("sent");
        }
    });
    (port, thread)
}

fn names(directory: &Directory) -> Vec<String> {
    let names = fs::read_dir(directory.path()).expect("a directory");
    names.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

/// The output of `check-rdb` for a valid file.
fn report(path: &str) -> String {
    let mut command = std::process::Command::new(subject_binary());
    command.args(["check-rdb", path]);
    let run = run(command, b"");
    assert_eq!(run.status, Some(0), "{}", run.output);
    run.output
}

#[test]
fn a_snapshot_is_saved_whole_with_and_without_a_known_length() {
    for flags in ["--repl-diskless-sync no", "--repl-diskless-sync yes"] {
        let server = redis(flags);
        let directory = Directory::new();
        let path = directory.join("dump.rdb").display().to_string();
        let run = run(tool(server.port(), &["--rdb", &path]), b"");
        assert_eq!((run.status, run.output.as_str()), (Some(0), ""), "{}", run.errors);
        let len = fs::metadata(&path).expect("a file").len();
        let errors = match flags {
            "--repl-diskless-sync no" => format!(
                "{CONFIGURED}SYNC sent to master, writing {len} bytes to '{path}'\n\
                 Transfer finished with success.\n"
            ),
            _ => format!(
                "{CONFIGURED}SYNC sent to master, writing bytes of bulk transfer until EOF marker to '{path}'\n\
                 Transfer finished with success after {len} bytes\n"
            ),
        };
        assert_eq!(run.errors, errors);
        assert_eq!(names(&directory), ["dump.rdb"]);
        assert!(report(&path).contains("2 keys read"));
        if let Some(other) = redis_cli(server.port(), &["--rdb", &path]) {
            let theirs = self::run(other, b"");
            assert_eq!((theirs.status, theirs.errors), (Some(0), errors));
        }
    }
}

#[test]
fn a_snapshot_goes_to_the_standard_output() {
    let server = redis("");
    let mut command = tool(server.port(), &["--rdb", "-"]);
    let output = command.output().expect("runs");
    assert!(output.status.success());
    assert!(output.stdout.starts_with(b"REDIS0"), "{:?}", &output.stdout[..20.min(output.stdout.len())]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.ends_with(&format!("Transfer finished with success after {} bytes\n", output.stdout.len()))
    );
}

#[test]
fn functions_are_saved_without_keys() {
    let server = redis("");
    let directory = Directory::new();
    let path = directory.join("functions.rdb").display().to_string();
    let run = run(tool(server.port(), &["--functions-rdb", &path]), b"");
    assert_eq!(run.status, Some(0), "{}", run.errors);
    let start =
        format!("{CONFIGURED}sending REPLCONF rdb-filter-only functions\nSYNC sent to master, writing ");
    assert!(run.errors.starts_with(&start), "{}", run.errors);
    let bytes = fs::read(&path).expect("a file");
    assert!(memchr::memmem::find(&bytes, b"name=mylib").is_some());
    assert!(report(&path).contains("0 keys read"));
}

#[test]
fn a_transfer_that_breaks_off_leaves_nothing_and_an_earlier_file_as_it_was() {
    let marker = "0123456789".repeat(4);
    let directory = Directory::new();
    let path = directory.join("dump.rdb").display().to_string();
    for earlier in [None, Some("earlier")] {
        for start in ["$100\r\nREDIS".to_string(), format!("$EOF:{marker}\r\nREDIS{}", &marker[..39])] {
            if let Some(earlier) = earlier {
                fs::write(&path, earlier).expect("written");
            }
            let (port, served) = master(move |mut stream| stream.write_all(start.as_bytes()).expect("sent"));
            let run = run(tool(port, &["--rdb", &path]), b"");
            served.join().expect("served");
            assert_eq!(run.status, Some(1));
            assert!(run.errors.ends_with("'\nI/O Error reading RDB payload from socket\n"), "{}", run.errors);
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), earlier);
            assert_eq!(names(&directory).len(), usize::from(earlier.is_some()));
        }
    }
}

#[test]
fn an_interrupted_transfer_leaves_nothing() {
    let directory = Directory::new();
    let path = directory.join("dump.rdb").display().to_string();
    let (port, served) = master(|mut stream| {
        stream.write_all(b"$1000\r\nREDIS").expect("sent");
        // Waits until the replica has disconnected.
        let _ = stream.read(&mut [0; 16]);
    });
    let transfer = Watched::start(tool(port, &["--rdb", &path]));
    eventually("a part of the file", || names(&directory).pop().filter(|name| name.contains(".part")));
    transfer.interrupt();
    assert_eq!(transfer.finish().status, Some(1));
    served.join().expect("served");
    assert_eq!(names(&directory), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    for (path, error) in [
        ("/nonexistent/dump.rdb", "Error opening '/nonexistent/dump.rdb': No such file or directory\n"),
        ("/dev/full", "Error writing data to file: No space left on device\n"),
    ] {
        let (port, served) = master(|mut stream| {
            let _ = stream.write_all(b"$5\r\nREDIS");
            let _ = stream.read(&mut [0; 16]);
        });
        let run = run(tool(port, &["--rdb", path]), b"");
        served.join().expect("served");
        assert_eq!(run.status, Some(1));
        assert!(run.errors.ends_with(error), "{}", run.errors);
    }
}

#[test]
fn what_is_not_a_snapshot_is_an_error() {
    for (start, error) in [
        ("-NOMASTERLINK Can't SYNC\r\n", "SYNC with master failed: -NOMASTERLINK Can't SYNC\n"),
        ("+OK\r\n", "SYNC with master failed: +OK\n"),
        ("\n\n$EOF:short\r\n", "SYNC with master failed: $EOF:short\n"),
        ("$0\r\n", "SYNC with master failed: $0\n"),
        ("\n\n\n", "Error reading bulk length while SYNCing\n"),
    ] {
        for arguments in [&["--rdb", "never-written"][..], &["--replica"]] {
            let (port, served) = master(move |mut stream| stream.write_all(start.as_bytes()).expect("sent"));
            let run = run(tool(port, arguments), b"");
            served.join().expect("served");
            assert_eq!((run.status, run.output.as_str()), (Some(1), ""));
            assert!(run.errors.ends_with(error), "{}", run.errors);
            assert!(!fs::exists("never-written").expect("looked"));
        }
    }
}

#[test]
fn a_long_transfer_has_a_progress_bar_on_a_terminal() {
    let directory = Directory::new();
    let path = directory.join("dump.rdb").display().to_string();
    let (go, going) = std::sync::mpsc::channel::<()>();
    let (port, served) = master(move |mut stream| {
        stream.write_all(b"$1000000\r\nREDIS").expect("sent");
        let mut left = 1_000_000 - 5;
        while left > 0 {
            // Sends slowly until the test has seen the bar.
            let len = match going.recv_timeout(Duration::from_millis(10)) {
                Ok(()) => left,
                Err(_) => 100.min(left),
            };
            stream.write_all(&vec![b'x'; len]).expect("sent");
            left -= len;
        }
        let _ = stream.read(&mut [0; 16]);
    });
    let mut terminal = Terminal::start(tool(port, &["--rdb", &path]), 120, 10);
    terminal.wait_for(" %");
    go.send(()).expect("it listens");
    terminal.wait_for("Transfer finished with success.");
    assert!(terminal.wait_exit().success());
    assert!(!terminal.screen().text().contains('%'), "the bar is removed");
    served.join().expect("served");
    assert_eq!(fs::metadata(&path).expect("a file").len(), 1_000_000);
}

#[test]
fn a_replica_prints_the_commands_of_its_master() {
    let server = redis("");
    let mut replica = Watched::start(tool(server.port(), &["--replica"]));
    let mut client = server.client();
    eventually("the replica is online", || {
        let info = client.run("INFO replication").text();
        info.contains("state=online").then_some(())
    });
    client.call(&[&b"SET"[..], b"a", b"x\n\"y\"\xff"]);
    client.ok("SELECT 4");
    client.run("INCR n");
    assert_eq!(replica.line_with("SELECT"), r#""SELECT","0""#);
    assert_eq!(replica.call(), r#""SET","a","x\n\"y\"\xff""#);
    assert_eq!(replica.call(), r#""SELECT","4""#);
    assert_eq!(replica.call(), r#""INCR","n""#);
    drop(server);
    let run = replica.finish();
    assert_eq!(run.status, Some(1));
    assert!(
        run.errors.starts_with(
            "sending REPLCONF capa eof\nsending REPLCONF rdb-filter-only \n\
             Full resync with master, discarding bytes of bulk transfer until EOF marker...\n\
             Full resync done after "
        ),
        "{}",
        run.errors
    );
    assert!(run.errors.ends_with("Error: Server closed the connection\n"), "{}", run.errors);
}

#[test]
fn a_replica_finds_the_commands_behind_the_marker() {
    let marker = "0123456789".repeat(4);
    let stream_of =
        format!("$EOF:{marker}\r\nREDIS{marker}*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
    let (port, served) = master(move |mut stream| {
        for piece in stream_of.as_bytes().chunks(7) {
            stream.write_all(piece).expect("sent");
        }
        let mut acknowledged = [0; 34];
        stream.read_exact(&mut acknowledged).expect("an acknowledgement");
        assert!(acknowledged.ends_with(b"ACK\r\n$1\r\n0\r\n"));
    });
    let run = run(tool(port, &["--replica"]), b"");
    served.join().expect("served");
    assert_eq!((run.status, run.output.as_str()), (Some(1), "\"PING\"\n\"DEL\",\"k\"\n"));
    assert!(run.errors.contains("Full resync done after 45 bytes. Logging commands from master.\n"));
}
