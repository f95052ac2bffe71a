//! The modes of `redstart cli` (`--scan`, `--bigkeys`, `--latency`, `--pipe`, `--rdb`, …): each runs against a server
//! with known data, and its output is compared with the expected text and, if redis-cli is installed, with redis-cli's
//! output.
//!
//! `REDIS_CLI` names another redis-cli than that of the search path. Measured values are not compared.

#[path = "../support/mod.rs"]
mod support;

mod keys;
mod masters;
mod measurements;
mod pipe;
mod replication;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::{mem, thread};

use support::server::subject_binary;
use support::{DEADLINE, Server, Version, eventually};

/// The tool under test, with these arguments.
fn tool(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(subject_binary());
    command.args(["cli", "-p", &port.to_string()]).args(arguments);
    command.env_remove("NO_COLOR").env_remove("REDISCLI_AUTH").env_remove("FAKETTY");
    command
}

/// redis-cli with the same arguments, if an installed one accepts them.
fn redis_cli(port: u16, arguments: &[&str]) -> Option<Command> {
    static FOUND: LazyLock<Option<(OsString, Version)>> = LazyLock::new(|| {
        let name = std::env::var_os("REDIS_CLI").unwrap_or_else(|| "redis-cli".into());
        let output = Command::new(&name).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some((name, Version::parse(text.split_whitespace().nth(1)?)?))
    });
    let (name, version) = FOUND.as_ref()?;
    if arguments.contains(&"--count") && *version < Version::new(7, 2) {
        return None;
    }
    let mut command = Command::new(name);
    command.args(["-p", &port.to_string()]).args(arguments);
    command.env_remove("REDISCLI_AUTH").env_remove("FAKETTY");
    Some(command)
}

/// The result of a program's run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    status: Option<i32>,
    output: String,
    errors: String,
}

/// Runs a program to its end with this standard input.
fn run(mut command: Command, input: &[u8]) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // The program may exit before it has read everything.
    let feeder = thread::spawn(move || drop(pipe.write_all(&input)));
    let done = child.wait_with_output().expect("it ends");
    feeder.join().expect("fed");
    Run {
        status: done.status.code(),
        output: String::from_utf8_lossy(&done.stdout).into_owned(),
        errors: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// Runs the tool, and checks that redis-cli has the same result.
fn compared(server: &Server, arguments: &[&str]) -> Run {
    let run = run(tool(server.port(), arguments), b"");
    if let Some(other) = redis_cli(server.port(), arguments) {
        assert_eq!(run, self::run(other, b""), "{arguments:?}");
    }
    run
}

/// A running program and its output line by line. Dropping the value kills it.
struct Watched {
    child: Child,
    lines: Option<Receiver<String>>,
}

impl Watched {
    fn start(mut command: Command) -> Watched {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        // With room for one line, so that the program cannot run far ahead of the test.
        let (sender, lines) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).expect("text") > 0 {
                if sender.send(mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Watched { child, lines: Some(lines) }
    }

    /// The next line with its line end; `None` at the end of the output.
    fn next(&mut self) -> Option<String> {
        match self.lines.as_ref().expect("open").recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}"),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> String {
        let line = self.next().expect("a further line");
        line.trim_end_matches('\n').to_string()
    }

    /// The next line that contains this text.
    fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next line that is not one of the primary's periodic pings.
    fn call(&mut self) -> String {
        loop {
            let line = self.line();
            if line != r#""PING""# {
                return line;
            }
        }
    }

    /// Closes the reading end of the output.
    fn close_output(&mut self) {
        self.lines = None;
    }

    fn interrupt(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("send a signal");
    }

    /// Waits for the exit, and returns the rest of the output.
    fn finish(mut self) -> Run {
        let mut output = String::new();
        while self.lines.is_some()
            && let Some(line) = self.next()
        {
            output += &line;
        }
        let status = eventually("the end of the program", || self.child.try_wait().expect("wait"));
        let mut errors = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut errors).expect("text");
        Run { status: status.code(), output, errors }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail only if the process has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The modes that talk to a server, with their arguments.
const MODES: &[&[&str]] = &[
    &["--scan"],
    &["--bigkeys"],
    &["--memkeys"],
    &["--hotkeys"],
    &["--latency"],
    &["--latency-history"],
    &["--latency-dist"],
    &["--stat"],
    &["--pipe"],
    &["--rdb", "never-written"],
    &["--functions-rdb", "never-written"],
    &["--replica"],
    &["--lru-test", "10"],
];

#[test]
fn every_mode_says_that_there_is_no_server_and_fails() {
    let port = support::server::free_port();
    for arguments in MODES {
        let run = run(tool(port, arguments), b"");
        let errors = format!("Could not connect to Redis at 127.0.0.1:{port}: Connection refused\n");
        assert_eq!(run, Run { status: Some(1), output: String::new(), errors }, "{arguments:?}");
    }
}

#[test]
fn modes_authenticate_and_otherwise_show_the_servers_refusal() {
    let server = Server::start("--requirepass secret --maxmemory-policy allkeys-lfu");
    for (arguments, refusal) in [
        (&["--scan"][..], "SCAN error: NOAUTH Authentication required.\n"),
        (&["--bigkeys"], "Couldn't determine DBSIZE: NOAUTH Authentication required.\n"),
        (&["--memkeys"], "Couldn't determine DBSIZE: NOAUTH Authentication required.\n"),
        (&["--hotkeys"], "Couldn't determine DBSIZE: NOAUTH Authentication required.\n"),
        (&["--stat"], "ERROR: NOAUTH Authentication required.\n"),
    ] {
        let run = compared(&server, arguments);
        assert_eq!((run.status, run.errors.as_str()), (Some(1), refusal), "{arguments:?}");
        assert_eq!(run.output, "", "{arguments:?}");
        if arguments != ["--stat"] {
            let mut command = tool(server.port(), arguments);
            command.env("REDISCLI_AUTH", "secret");
            assert_eq!(self::run(command, b"").status, Some(0), "{arguments:?} with the password");
        }
    }
}
