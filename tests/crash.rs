//! How the process ends after an internal failure, and how it restarts, tested with DEBUG's crash commands.

mod support;

use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use support::{Client, Launch, Server, eventually};

fn launch(flags: &str) -> Server {
    Launch::subject().flags("--enable-debug-command yes").flags(flags).start()
}

/// Sends a command that ends the process. Returns the signal, the status and the log.
fn end_by(server: &mut Server, command: &str) -> (Option<i32>, Option<i32>, String) {
    let mut client = server.client();
    let words: Vec<&str> = command.split(' ').collect();
    client.send(&words).unwrap();
    client.wait_closed();
    let status = server.wait_exit();
    (status.signal(), status.code(), server.log())
}

#[test]
fn each_crash_of_debug_is_reported_in_the_log_and_ends_by_its_signal() {
    for (command, signal, says) in [
        ("DEBUG SEGFAULT", Signal::SIGSEGV, "Accessing address: 0x123"),
        ("DEBUG PANIC", Signal::SIGABRT, "DEBUG PANIC was called"),
        ("DEBUG ASSERT", Signal::SIGABRT, "assertion failed: DEBUG ASSERT was called"),
        ("DEBUG OOM", Signal::SIGABRT, "Out Of Memory allocating"),
    ] {
        let (by, code, log) = end_by(&mut launch(""), command);
        assert_eq!((by, code), (Some(signal as i32), None), "{command}: {log}");
        for part in ["=== REDSTART BUG REPORT START", says, "=== REDSTART BUG REPORT END"] {
            assert!(log.contains(part), "{command}: no '{part}' in {log}");
        }
    }
}

#[test]
fn a_crash_report_names_the_client_and_its_command() {
    let mut server = launch("");
    let mut bystander = server.client();
    bystander.ok("SET k v");
    let mut client = server.client();
    let id = client.run("CLIENT ID").integer();
    let info = client.run("CLIENT INFO").text();
    let address = info.split(' ').find(|field| field.starts_with("addr=")).expect("an address").to_string();
    client.send(&["DEBUG", "SEGFAULT"]).unwrap();
    server.wait_exit();
    let log = server.log();
    let line =
        log.lines().find(|line| line.starts_with("id=")).unwrap_or_else(|| panic!("no client in {log}"));
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields[..2], [&format!("id={id}"), &address], "{line}");
    assert_eq!(fields.last(), Some(&"cmd=debug"), "{line}");

    // A signal from outside arrives while no command is executed.
    let mut server = launch("");
    server.client().ok("SET k v");
    server.signal(Signal::SIGSEGV);
    server.wait_exit();
    let log = server.log();
    assert!(
        log.contains("The main thread was serving no client") && !log.contains("CURRENT CLIENT"),
        "{log}"
    );
}

#[test]
fn a_string_longer_than_any_memory_is_refused_and_nothing_ends() {
    let server = launch("");
    let mut client = server.client();
    client.ok("CONFIG SET proto-max-bulk-len 9223372036854775807");
    client.ok("SET there v");
    for key in ["missing", "there"] {
        for offset in ["9223372036854775800", "9223372036854775806", "4611686018427387904"] {
            let reply = client.call(&["SETRANGE", key, offset, "x"]).text();
            assert_eq!(
                reply, "OOM the system refuses the memory for a string of this length",
                "{key} {offset}"
            );
        }
        assert!(client.call(&["SETBIT", key, "9223372036854775807", "1"]).is_error());
        assert!(client.call(&["BITFIELD", key, "SET", "u8", "9223372036854775800", "1"]).is_error());
    }
    assert_eq!(client.call(&["EXISTS", "missing", "there"]).integer(), 1);
    assert_eq!(client.run("GET there").text(), "v");
}

#[test]
fn a_switch_of_debug_accepts_any_number() {
    let server = launch("");
    let mut client = server.client();
    for number in ["-9223372036854775808", "9223372036854775808", "-99999999999999999999", "x", "-", ""] {
        client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", number]);
        assert_eq!(client.run("PING").text(), "PONG", "{number}");
    }
}

#[test]
fn config_set_turns_the_crash_report_off_and_on_at_once() {
    let mut server = launch("");
    server.client().ok("CONFIG SET crash-log-enabled no");
    let (by, _, log) = end_by(&mut server, "DEBUG SEGFAULT");
    assert_eq!(by, Some(Signal::SIGSEGV as i32));
    assert!(!log.contains("BUG REPORT"), "{log}");

    let mut server = launch("--crash-log-enabled no");
    server.client().ok("CONFIG SET crash-log-enabled yes");
    let (by, _, log) = end_by(&mut server, "DEBUG SEGFAULT");
    assert_eq!(by, Some(Signal::SIGSEGV as i32));
    assert!(log.contains("=== REDSTART BUG REPORT END"), "{log}");
}

#[test]
fn a_panic_may_be_made_to_end_with_a_status() {
    let (by, code, log) = end_by(&mut launch("--use-exit-on-panic yes"), "DEBUG PANIC");
    assert_eq!((by, code), (None, Some(1)), "{log}");
    assert!(log.contains("DEBUG PANIC was called") && !log.contains("BUG REPORT"), "{log}");
}

/// A connection to the restarted process. The old one may still accept a connection, which is then reset.
fn serves_again(server: &Server) -> Client {
    eventually("it serves again", || {
        let mut client = server.try_client()?;
        client.try_call(&["PING"]).ok()?;
        Some(client)
    })
}

#[test]
fn debug_restart_runs_the_same_process_again_with_the_rewritten_configuration() {
    let server = Launch::subject().config("enable-debug-command yes\ntimeout 5\n").start();
    let mut client = server.client();
    let run_id = client.info("run_id");
    client.ok("SET k v");
    client.ok("CONFIG SET timeout 77");
    client.send(&["DEBUG", "RESTART"]).unwrap();
    client.wait_closed();
    let mut client = serves_again(&server);
    assert_ne!(client.info("run_id"), run_id);
    assert_eq!(client.info("process_id"), server.pid().to_string());
    assert_eq!(client.call(&["CONFIG", "GET", "timeout"]).elements()[1].text(), "77");
    client.send(&["DEBUG", "CRASH-AND-RECOVER", "1"]).unwrap();
    client.wait_closed();
    let mut client = serves_again(&server);
    assert_eq!(client.info("process_id"), server.pid().to_string());
    let bad = client.run("DEBUG RESTART soon");
    assert!(bad.is_error(), "{bad:?}");
}

#[test]
fn a_forced_rewrite_writes_a_line_for_every_directive() {
    let server = Launch::subject().config("enable-debug-command yes\n# a remark\ntimeout 5\n").start();
    let mut client = server.client();
    client.ok("DEBUG CONFIG-REWRITE-FORCE-ALL");
    let text = std::fs::read_to_string(server.directory().join("redstart.conf")).unwrap();
    for line in ["# a remark", "timeout 5", "hz 10", "maxmemory 0", "lfu-decay-time 1"] {
        assert!(text.lines().any(|l| l == line), "no '{line}' in {text}");
    }
    assert!(text.lines().count() > 150, "{text}");
}

#[test]
fn a_paused_cron_expires_nothing_until_it_goes_on() {
    let server = launch("--hz 100");
    let mut client = server.client();
    client.ok("DEBUG PAUSE-CRON 1");
    client.ok("DEBUG POPULATE 100");
    for i in 0..100 {
        client.call(&["PEXPIRE", &format!("key:{i}"), "1"]);
    }
    // Cron runs many times in between, by the server's own clock.
    client.ok("DEBUG SLEEP 0.2");
    for _ in 0..10 {
        client.run("PING");
    }
    assert_eq!(client.run("DBSIZE").integer(), 100);
    client.ok("DEBUG PAUSE-CRON 0");
    eventually("cron expires the keys", || (client.run("DBSIZE").integer() == 0).then_some(()));
}

#[test]
fn a_termination_signal_waits_for_a_paused_cron() {
    let mut server = launch("");
    let mut client = server.client();
    client.ok("DEBUG PAUSE-CRON 1");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    // The signal is delivered before the process receives the next request.
    eventually("the signal's arrival", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a status");
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("a field");
        pending.trim().chars().all(|digit| digit == '0').then_some(())
    });
    for _ in 0..10 {
        assert_eq!(client.run("PING").text(), "PONG");
    }
    assert!(server.is_running());
    client.ok("DEBUG PAUSE-CRON 0");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_log_line_can_be_written_by_a_client() {
    let server = launch("");
    server.client().ok("DEBUG LOG hello");
    server.wait_for_log("# DEBUG LOG: hello");
}

#[test]
fn the_replication_id_changes_when_debug_says_so() {
    let server = launch("");
    let mut client = server.client();
    let (before, run_id) = (client.info("master_replid"), client.info("run_id"));
    assert_eq!(before.len(), 40);
    assert_ne!(before, run_id);
    client.ok("DEBUG CHANGE-REPL-ID");
    assert_ne!(client.info("master_replid"), before);
    assert_eq!(client.info("run_id"), run_id);
}
