//! `redstart --check-system`, and the warnings about the system in the log at startup.
#![cfg(target_os = "linux")]

mod support;

use std::process::{Command, Output};
use support::server::{Directory, subject_binary};
use support::{Launch, Server};

fn check(arguments: &[&str]) -> Output {
    Command::new(subject_binary()).arg("--check-system").args(arguments).output().expect("run the check")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The names and findings of the checks, as the report lists them.
fn findings(report: &str) -> Vec<(&str, &str)> {
    let lines = report.lines().filter(|line| line.starts_with('['));
    lines.map(|line| line[1..].split_once("]...").expect("a name and a finding")).collect()
}

#[test]
fn every_check_is_named_with_what_it_found_and_the_exit_status_says_whether_all_is_well() {
    let directory = Directory::new();
    let dir = directory.path().to_str().expect("a path of UTF-8");
    let output = check(&["--dir", dir]);
    let report = text(&output.stdout);
    let found = findings(report);
    for name in
        ["slow-clocksource", "xen-clocksource", "overcommit", "THP", "memory", "open-files", "tcp-backlog"]
    {
        assert!(found.iter().any(|(known, _)| *known == name), "{name} is not in\n{report}");
    }
    assert!(found.iter().all(|(_, found)| ["OK", "skipped", "WARNING:"].contains(found)), "{report}");
    let warnings = found.iter().filter(|(_, found)| *found == "WARNING:").count();
    assert_eq!(output.status.code(), Some(i32::from(warnings > 0)), "{report}");
    assert_eq!(report.matches("\nTo mend it: ").count(), warnings, "{report}");
    assert!(!report.contains('\x1b'), "no colours unless a terminal watches");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn the_configuration_that_follows_is_what_is_checked() {
    let directory = Directory::new();
    std::fs::write(directory.join("redstart.conf"), "maxclients 4000000000\nsave \"\"\n").expect("a file");
    let path = directory.join("redstart.conf").display().to_string();
    let output = check(&[&path]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert!(report.contains("[open-files]...WARNING:\n"), "{report}");
    assert!(report.contains("but maxclients 4000000000 needs 4000000032."), "{report}");
    assert!(report.contains("[disk-space]...skipped\n"), "{report}");
    let output = check(&["--maxclients", "none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("maxclients"), "{}", text(&output.stderr));
}

#[test]
fn it_agrees_with_redis_where_redis_has_the_same_check() {
    let theirs =
        Command::new(support::server::redis_binary()).arg("--check-system").output().expect("run Redis");
    let (theirs, ours) = (text(&theirs.stdout).to_owned(), check(&["--disable-thp", "no"]));
    let ours = text(&ours.stdout);
    let (theirs, ours) = (findings(&theirs), findings(ours));
    let mut compared = 0;
    for (name, found) in &ours {
        // Each program measures the cost of the clock for itself, so the results may differ.
        let is_measured = *name == "slow-clocksource";
        if let Some((_, expected)) = theirs.iter().find(|(known, _)| known == name && !is_measured) {
            assert_eq!(found, expected, "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 3, "{theirs:?}");
}

#[test]
fn the_log_says_at_the_start_what_the_system_lacks() {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("the kernel's limit");
    let most: u64 = somaxconn.trim().parse().expect("a number");
    let server = Server::start(&format!("--tcp-backlog {}", most + 1));
    server.wait_for_log(&format!("WARNING: The TCP backlog setting of {} cannot be enforced", most + 1));
    let server = Launch::subject().flags(&format!("--tcp-backlog {most}")).start();
    assert!(!server.log().contains("TCP backlog"), "{}", server.log());
}
