//! Failing disks: every file operation fails in turn, and no acknowledged write is lost.
//!
//! A preloaded library makes the calls fail ([`support::shim`]). `REDSTART_ROUNDS` makes the tests that try every call
//! try more of them (`make soak`: all), and `REDSTART_BIN=redis-server` tests Redis instead.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use support::shim::{EACCES, EAGAIN, EIO, ENOMEM, ENOSPC, EROFS, Shim};
use support::{Client, Launch, Random, Server, Value, eventually};

/// Numbers pushed to a list, one after the other: the last one acknowledged, and the last one sent.
#[derive(Clone, Default)]
struct Log {
    acknowledged: u64,
    sent: u64,
    /// The number of incompressible bytes after each number.
    padding: usize,
}

impl Log {
    /// Pushes the next number. `Ok(Some(text))` is an error reply: the server refused the number.
    fn try_push(&mut self, client: &mut Client) -> io::Result<Option<String>> {
        self.sent = self.acknowledged + 1;
        let mut element = format!("{}:", self.sent).into_bytes();
        element.extend(Random::new(self.sent).bytes(self.padding));
        let reply = client.try_call(&[&b"RPUSH"[..], b"log", &element])?.value;
        if reply.is_error() {
            self.sent = self.acknowledged;
            return Ok(Some(reply.text()));
        }
        self.acknowledged = self.sent;
        Ok(None)
    }

    /// Pushes numbers that the server must accept.
    fn push(&mut self, client: &mut Client, count: u64) {
        for _ in 0..count {
            let refused = self.try_push(client).expect("a reply");
            assert_eq!(refused, None);
        }
    }

    /// Pushes numbers, and retries each until the server accepts it.
    fn push_in_the_end(&mut self, client: &mut Client, count: u64) -> io::Result<()> {
        for _ in 0..count {
            eventually("a write is accepted", || {
                self.try_push(client).map(|r| r.is_none().then_some(())).transpose()
            })?;
        }
        Ok(())
    }

    /// Pushes numbers until one is refused. Returns the error.
    fn push_until_refused(&mut self, client: &mut Client) -> String {
        eventually("a write is refused", || self.try_push(client).expect("a reply"))
    }

    /// Checks that the server has all acknowledged numbers in order, and at most one more.
    fn verify(&self, client: &mut Client) {
        let found = client.run("LRANGE log 0 -1").elements();
        let number =
            |element: &Value| element.text().split(':').next().and_then(|number| number.parse().ok());
        let found: Vec<u64> = found.iter().filter_map(number).collect();
        let is_complete = found.iter().copied().eq(1..=found.len() as u64);
        assert!(is_complete, "not in order: {found:?}");
        let len = found.len() as u64;
        assert!(
            (self.acknowledged..=self.sent).contains(&len),
            "{len} numbers are there; {} were acknowledged and {} sent",
            self.acknowledged,
            self.sent
        );
    }
}

fn launch(flags: &str) -> (Launch, Shim) {
    Shim::on(Launch::subject().flags(flags))
}

fn start(launch: Launch) -> Server {
    let server = launch.start();
    server.client().wait_for_info("loading", |loading| loading == 0);
    server
}

/// Kills the server, restarts it without faults, and checks its data.
fn verify_after_restart(server: Server, shim: &Shim, log: &Log) -> Server {
    let launch = server.stop();
    shim.clear();
    let server = start(launch);
    log.verify(&mut server.client());
    server
}

/// Waits until no save or rewrite is running or scheduled.
fn wait_for_jobs(client: &mut Client) -> io::Result<()> {
    eventually("the jobs end", || {
        let reply = match client.try_call(&["INFO", "persistence"]) {
            Ok(reply) => reply.value.text(),
            Err(error) => return Some(Err(error)),
        };
        let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        idle.iter().all(|field| reply.contains(field)).then_some(Ok(()))
    })
}

/// Runs BGSAVE or BGREWRITEAOF to its end. Returns its status in INFO.
fn job(client: &mut Client, command: &str) -> String {
    let reply = client.run(command);
    let field = if command == "BGSAVE" { "rdb_last_bgsave_status" } else { "aof_last_bgrewrite_status" };
    if reply.is_error() {
        return client.info(field);
    }
    wait_for_jobs(client).expect("replies");
    client.info(field)
}

#[test]
fn under_always_a_failed_write_or_sync_ends_the_server_before_anything_is_acknowledged() {
    for (rule, says) in [
        (format!("sync incr.aof 1 fail:{EIO}"), "Can't persist AOF for fsync error"),
        (format!("write incr.aof 1 fail:{ENOSPC}"), "Can't recover from AOF write error"),
        (format!("write incr.aof 1 fail:{EIO}"), "Can't recover from AOF write error"),
        (
            format!("write incr.aof 1 short:9\nwrite incr.aof 1 fail:{ENOSPC}"),
            "Can't recover from AOF write error",
        ),
    ] {
        let (launch, shim) = launch("--appendonly yes --appendfsync always");
        let mut server = start(launch);
        let mut client = server.client();
        let mut log = Log::default();
        log.push(&mut client, 10);
        shim.rules(&rule);
        let refused = log.try_push(&mut client);
        assert!(refused.is_err(), "{rule}: the reply was {refused:?}");
        let status = server.wait_exit();
        assert_eq!((status.code(), status.signal()), (Some(1), None), "{rule}: {}", server.log());
        assert!(server.log().contains(says), "{rule}: {}", server.log());
        verify_after_restart(server, &shim, &log);
    }
}

#[test]
fn clients_get_misconf_while_the_log_cannot_be_written_and_go_on_when_it_can() {
    for policy in ["everysec", "no"] {
        for (rules, why) in [
            (format!("write incr.aof 1+ fail:{ENOSPC}"), "No space left on device"),
            (format!("write incr.aof 1+ fail:{EIO}"), "Input/output error"),
            // A part of the block is written; if it cannot be truncated again, the next write completes it.
            (format!("write incr.aof 1 short:9\nwrite incr.aof 1+ fail:{ENOSPC}"), "No space left on device"),
            (
                format!(
                    "write incr.aof 1 short:9\nwrite incr.aof 1+ fail:{ENOSPC}\ntruncate incr 1+ fail:{EIO}"
                ),
                "No space left on device",
            ),
        ] {
            let (launch, shim) = launch(&format!("--appendonly yes --appendfsync {policy}"));
            let server = start(launch);
            let mut client = server.client();
            let mut log = Log::default();
            log.push(&mut client, 10);
            shim.rules(&rules);
            let refused = log.push_until_refused(&mut client);
            assert_eq!(refused, format!("MISCONF Errors writing to the AOF file: {why}"), "{rules}");
            assert_eq!(client.info("aof_last_write_status"), "err");
            log.verify(&mut client);
            shim.clear();
            log.push_in_the_end(&mut client, 10).expect("replies");
            assert_eq!(client.info("aof_last_write_status"), "ok");
            log.verify(&mut client);
            let server = verify_after_restart(server, &shim, &log);
            log.push(&mut server.client(), 10);
            verify_after_restart(server, &shim, &log);
        }
    }
}

#[test]
fn clients_get_misconf_while_the_log_cannot_be_synced_and_go_on_when_it_can() {
    let (launch, shim) = launch("--appendonly yes --appendfsync everysec");
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log::default();
    // One failure, and repeated failures.
    for rule in [format!("sync incr.aof 1 fail:{EIO}"), format!("sync incr.aof 1+ fail:{EIO}")] {
        let rewrites = client.info_number("aof_rewrites");
        shim.rules(&rule);
        let refused = log.push_until_refused(&mut client);
        assert_eq!(refused, "MISCONF Errors writing to the AOF file: Input/output error", "{rule}");
        log.verify(&mut client);
        shim.clear();
        log.push_in_the_end(&mut client, 10).expect("replies");
        assert_eq!(client.info("aof_last_write_status"), "ok", "{rule}");
        // A rewrite writes the data of the failed fsync again, to another file.
        client.wait_for_info("aof_rewrites", |number| number > rewrites);
    }
    verify_after_restart(server, &shim, &log);
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_refuses_writes_until_one_succeeds() {
    for rule in [
        format!("fork * 1 fail:{EAGAIN}"),
        format!("open temp 1 fail:{EACCES}"),
        format!("write temp 1 fail:{ENOSPC}"),
        format!("write temp 1 short:5\nwrite temp 1+ fail:{EIO}"),
        "write temp 1 torn:5".to_string(),
        format!("sync temp 1 fail:{EIO}"),
        format!("rename dump.rdb 1 fail:{EROFS}"),
        "rename dump.rdb 1 kill".to_string(),
    ] {
        let (launch, shim) = launch("--appendonly no --save 3600 1000000");
        let server = start(launch);
        let mut client = server.client();
        let mut log = Log::default();
        log.push(&mut client, 10);
        assert_eq!(job(&mut client, "BGSAVE"), "ok");
        let saved = fs::read(shim.data().join("dump.rdb")).expect("the saved file");
        let mut lost = log.clone();
        lost.push(&mut client, 10);

        shim.rules(&rule);
        assert_eq!(job(&mut client, "BGSAVE"), "err", "{rule}");
        assert_ne!(shim.hits(), [""; 0], "{rule}");
        let refused = lost.push_until_refused(&mut client);
        assert!(refused.starts_with("MISCONF Redis is configured to save RDB snapshots, but"), "{refused}");
        assert_eq!(client.run("LLEN log").integer(), 20);
        assert!(fs::read(shim.data().join("dump.rdb")).expect("the old file") == saved, "{rule}");
        let names: Vec<_> = files(shim.data());
        assert_eq!(names, ["dump.rdb"], "{rule}");
        // A crash now would restore the old file.
        let server = verify_after_restart(server, &shim, &log);
        let mut client = server.client();
        shim.rules(&rule);
        assert_eq!(job(&mut client, "BGSAVE"), "err", "{rule}");
        shim.clear();
        assert_eq!(job(&mut client, "BGSAVE"), "ok", "{rule}");
        log.push(&mut client, 10);
        assert_eq!(job(&mut client, "BGSAVE"), "ok", "{rule}");
        verify_after_restart(server, &shim, &log);
    }
}

/// The names in a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_save_in_the_foreground_that_fails_says_so_and_leaves_the_old_file() {
    let (launch, shim) = launch("--appendonly no");
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log::default();
    log.push(&mut client, 10);
    client.ok("SAVE");
    let mut more = log.clone();
    more.push(&mut client, 10);
    for rule in ["open temp", "write temp", "sync temp", "rename dump.rdb"] {
        shim.rules(&format!("{rule} 1 fail:{ENOSPC}"));
        assert!(client.run("SAVE").is_error(), "{rule}");
        assert_eq!(files(shim.data()), ["dump.rdb"], "{rule}");
    }
    let server = verify_after_restart(server, &shim, &log);
    log.push(&mut server.client(), 10);
    server.client().ok("SAVE");
    verify_after_restart(server, &shim, &log);
}

#[test]
fn a_rewrite_that_fails_loses_nothing_and_the_next_one_succeeds() {
    for preamble in ["yes", "no"] {
        for rule in [
            format!("fork * 1 fail:{ENOMEM}"),
            format!("open temp-rewriteaof 1 fail:{EACCES}"),
            format!("write temp-rewriteaof 1 fail:{ENOSPC}"),
            "write temp-rewriteaof 1 torn:5".to_string(),
            format!("sync temp-rewriteaof 1 fail:{EIO}"),
            format!("rename temp-rewriteaof 1 fail:{EIO}"),
            format!("rename 2.base 1 fail:{EIO}"),
            format!("open 2.incr 1 fail:{ENOSPC}"),
            format!("open manifest 1 fail:{ENOSPC}"),
            format!("write manifest 1 fail:{ENOSPC}"),
            format!("sync manifest 1 fail:{EIO}"),
            format!("rename manifest 1 fail:{EIO}"),
            format!("open manifest 2 fail:{ENOSPC}"),
            format!("write manifest 2 fail:{ENOSPC}"),
            format!("sync manifest 2 fail:{EIO}"),
            format!("rename manifest 2 fail:{EIO}"),
        ] {
            let flags = format!("--appendonly yes --appendfsync everysec --aof-use-rdb-preamble {preamble}");
            let (launch, shim) = launch(&flags);
            let server = start(launch);
            let mut client = server.client();
            let mut log = Log::default();
            log.push(&mut client, 10);
            shim.rules(&rule);
            assert_eq!(job(&mut client, "BGREWRITEAOF"), "err", "{rule}: {:?}", shim.hits());
            assert_ne!(shim.hits(), [""; 0], "{rule}");
            log.push(&mut client, 10);
            let server = verify_after_restart(server, &shim, &log);
            let mut client = server.client();
            log.push(&mut client, 10);
            shim.rules(&rule);
            job(&mut client, "BGREWRITEAOF");
            shim.clear();
            assert_eq!(job(&mut client, "BGREWRITEAOF"), "ok", "{rule}");
            log.push(&mut client, 10);
            let server = verify_after_restart(server, &shim, &log);
            assert_eq!(leftovers(&shim), [""; 0], "{rule}");
            drop(server);
        }
    }
}

#[test]
fn a_disk_without_room_is_not_filled_with_the_parts_of_failed_rewrites() {
    for rule in [
        format!("write temp-rewriteaof 1+ fail:{ENOSPC}"),
        format!("open temp-rewriteaof 1+ fail:{ENOSPC}"),
        format!("open manifest 1+ fail:{ENOSPC}"),
        format!("write manifest 1+ fail:{ENOSPC}"),
        format!("rename base 1+ fail:{ENOSPC}"),
        format!("fork * 1+ fail:{ENOMEM}"),
    ] {
        let (launch, shim) = launch("--appendonly yes --appendfsync everysec");
        let server = start(launch);
        let mut client = server.client();
        let mut log = Log::default();
        log.push(&mut client, 10);
        shim.rules(&rule);
        let names = || files(&shim.data().join("appendonlydir"));
        assert_eq!(job(&mut client, "BGREWRITEAOF"), "err", "{rule}");
        let after_the_first = names();
        assert!(after_the_first.len() <= 5, "{rule}: {after_the_first:?}");
        for _ in 0..3 {
            assert_eq!(job(&mut client, "BGREWRITEAOF"), "err", "{rule}");
        }
        assert_eq!(names(), after_the_first, "{rule}");
        log.push(&mut client, 10);
        let server = verify_after_restart(server, &shim, &log);
        let mut client = server.client();
        assert_eq!(job(&mut client, "BGREWRITEAOF"), "ok", "{rule}");
        log.push(&mut client, 10);
        let server = verify_after_restart(server, &shim, &log);
        assert_eq!(leftovers(&shim), [""; 0], "{rule}");
        drop(server);
    }
}

/// A disk may be remounted read-only after the data was loaded.
#[test]
fn a_server_without_unsaved_changes_exits_although_it_cannot_save() {
    let prepare = |flags: &str, fills: bool| {
        let (launch, shim) = launch("--save 3600 1000");
        let mut server = start(launch);
        if fills {
            server.client().ok("SET k v");
            server.client().ok("SAVE");
            server = start(server.stop().flags(flags));
        }
        shim.rules(&format!("open temp- 1+ fail:{EROFS}"));
        server
    };
    let ends = |mut server: Server| {
        server.signal(nix::sys::signal::Signal::SIGTERM);
        eventually("the server exits or refuses to", || {
            if !server.is_running() {
                return Some(true);
            }
            server.log().contains("can't exit").then_some(false)
        })
    };
    assert!(ends(prepare("", true)));
    assert!(ends(prepare("", false)), "there is nothing to save");
    let server = prepare("", true);
    server.client().ok("SET k w");
    assert!(!ends(server), "a change would be lost");
    assert!(!ends(prepare("--rdb-write-version 10", true)), "the configured version is another");
    let server = prepare("", true);
    let refused = server.client().run("SHUTDOWN SAVE");
    assert!(refused.is_error(), "a save was requested: {refused:?}");
}

#[test]
fn what_the_disk_refuses_while_a_rewrite_begins_is_logged_once() {
    let (launch, shim) = launch("--appendonly yes --appendfsync everysec");
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log::default();
    log.push(&mut client, 10);
    shim.rules(&format!("write 1.incr.aof 1+ fail:{ENOSPC}"));
    log.push_until_refused(&mut client);
    job(&mut client, "BGREWRITEAOF");
    shim.clear();
    log.push_in_the_end(&mut client, 10).expect("replies");
    let server = verify_after_restart(server, &shim, &log);
    let mut client = server.client();
    assert_eq!(job(&mut client, "BGREWRITEAOF"), "ok");
    verify_after_restart(server, &shim, &log);
}

#[test]
fn a_log_that_is_switched_on_while_the_disk_fails_is_whole_in_the_end() {
    for rule in [
        format!("fork * 1 fail:{ENOMEM}"),
        format!("mkdir * 1 fail:{ENOSPC}"),
        format!("write temp-rewriteaof 1 fail:{ENOSPC}"),
        "write temp-rewriteaof 1 torn:5".to_string(),
        format!("sync temp-rewriteaof 1 fail:{EIO}"),
        format!("write incr 1+ fail:{ENOSPC}"),
        format!("rename incr 1 fail:{EIO}"),
        format!("rename manifest 1 fail:{EIO}"),
        format!("sync manifest 1 fail:{EIO}"),
    ] {
        let (launch, shim) = launch("--appendonly no");
        let server = start(launch);
        let mut client = server.client();
        let mut log = Log::default();
        log.push(&mut client, 10);
        shim.rules(&rule);
        client.run("CONFIG SET appendonly yes");
        log.try_push(&mut client).expect("a reply");
        wait_for_hit(&shim);
        shim.clear();
        eventually("it is switched on", || {
            (!client.run("CONFIG SET appendonly yes").is_error()).then_some(())
        });
        log.push_in_the_end(&mut client, 10).expect("replies");
        client.wait_for_info("aof_rewrites", |number| number > 0);
        eventually("a rewrite succeeds", || {
            let is_at_rest = client.info("aof_rewrite_in_progress") == "0";
            (is_at_rest && client.info("aof_last_bgrewrite_status") == "ok").then_some(())
        });
        log.push(&mut client, 10);
        let launch = server.stop().flags("--appendonly yes");
        shim.clear();
        log.verify(&mut start(launch).client());
    }
}

#[test]
fn a_job_that_was_scheduled_is_tried_again_until_it_can_begin() {
    let fork = format!("fork * 2 fail:{ENOMEM}");
    let part = format!("open incr 1 fail:{EACCES}");
    for (flags, rule, scheduled) in [
        ("--appendonly yes", &fork, "BGREWRITEAOF"),
        ("--appendonly yes", &part, "BGREWRITEAOF"),
        ("--appendonly no", &fork, "CONFIG SET appendonly yes"),
        ("--appendonly no", &part, "CONFIG SET appendonly yes"),
        ("--appendonly no", &fork, "BGREWRITEAOF"),
    ] {
        let (launch, shim) = launch(flags);
        let server = start(launch);
        let mut client = server.client();
        let mut log = Log::default();
        log.push(&mut client, 10);
        client.run("MSET a 1 b 2 c 3");
        client.run("CONFIG SET rdb-key-save-delay 50000");
        shim.rules(rule);
        assert!(!client.run("BGSAVE").is_error(), "{rule}");
        assert!(!client.run(scheduled).is_error(), "{scheduled}");
        wait_for_hit(&shim);
        client.run("CONFIG SET rdb-key-save-delay 0");
        client.wait_for_info("aof_rewrites", |number| number > 0);
        wait_for_jobs(&mut client).expect("replies");
        assert_eq!(client.info("aof_last_bgrewrite_status"), "ok", "{scheduled}, {rule}");
        if client.info_number("aof_enabled") == 1 {
            log.push(&mut client, 10);
            let launch = server.stop().flags("--appendonly yes");
            shim.clear();
            log.verify(&mut start(launch).client());
        }
    }
}

#[test]
fn the_first_base_of_a_log_is_tried_less_often_after_three_failures() {
    let (launch, shim) = launch("--appendonly no --hz 500");
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log::default();
    log.push(&mut client, 10);
    shim.rules(&format!("write temp-rewriteaof 1+ fail:{ENOSPC}"));
    assert_eq!(client.run("CONFIG SET appendonly yes").text(), "OK");
    server.wait_for_log("will retry in 1 minutes");
    // Cron runs while this key expires, and would retry.
    client.run("SET gone v PX 100");
    client.wait_for_info("expired_keys", |keys| keys == 1);
    assert_eq!(client.info_number("aof_rewrites_consecutive_failures"), 3);
    assert_eq!(client.info_number("aof_rewrites"), 3);
    assert_eq!(server.log().matches("will retry in").count(), 1);
    log.push(&mut client, 10);
    // An explicit request does not wait for the delay.
    shim.clear();
    assert_eq!(job(&mut client, "BGREWRITEAOF"), "ok");
    assert_eq!(client.info_number("aof_rewrites_consecutive_failures"), 0);
    log.push(&mut client, 10);
    let launch = server.stop().flags("--appendonly yes");
    log.verify(&mut start(launch).client());
}

#[test]
fn a_log_that_is_switched_off_refuses_nothing_because_it_could_not_be_synced() {
    let (launch, shim) = launch("--appendonly yes --appendfsync everysec");
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log::default();
    shim.rules(&format!("sync incr.aof 1+ fail:{EIO}"));
    log.push_until_refused(&mut client);
    client.run("CONFIG SET appendonly no");
    log.push(&mut client, 10);
    shim.clear();
    assert_eq!(client.run("CONFIG SET appendonly yes").text(), "OK");
    wait_for_jobs(&mut client).expect("replies");
    log.push_in_the_end(&mut client, 10).expect("replies");
    log.verify(&mut client);
    verify_after_restart(server, &shim, &log);
}

/// Waits until a rule has fired.
fn wait_for_hit(shim: &Shim) {
    eventually("a call fails", || (!shim.hits().is_empty()).then_some(()));
}

/// Files that are not in the manifest: a rewrite should have removed them.
fn leftovers(shim: &Shim) -> Vec<String> {
    let directory = shim.data().join("appendonlydir");
    let manifest = fs::read_to_string(directory.join("appendonly.aof.manifest")).expect("the manifest");
    let mut names = files(&directory);
    names.retain(|name| !name.ends_with(".manifest") && !manifest.contains(name));
    names
}

/// A small tmpfs, if this process may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(at).expect("a directory");
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output().ok()?;
        mount.status.success().then(|| SmallDisk(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount: detaches at once, and frees the disk when its last file is closed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_the_server_starts_on_it_and_goes_on_when_there_is_room() {
    let launch = Launch::subject().flags("--appendonly yes --appendfsync everysec");
    let data = launch.directory().join("data");
    let disk = SmallDisk::mount(&data, 4);
    let (launch, shim) = Shim::on_directory(launch, &data);
    let ballast = data.join("ballast");
    if disk.is_some() {
        fs::write(&ballast, vec![1; 1 << 20]).expect("write the ballast");
    } else {
        eprintln!("no separate disk: the calls fail with ENOSPC");
    }
    let full = || {
        if disk.is_none() {
            shim.rules("write * 1+ quota:3000000");
        }
    };
    full();
    let server = start(launch);
    let mut client = server.client();
    let mut log = Log { padding: 10_000, ..Log::default() };
    log.push(&mut client, 180);
    // Neither a rewrite nor a snapshot fits beside the AOF.
    for command in ["BGREWRITEAOF", "BGSAVE"] {
        assert_eq!(job(&mut client, command), "err", "{command}");
        log.push(&mut client, 1);
    }
    let refused = log.push_until_refused(&mut client);
    assert_eq!(refused, "MISCONF Errors writing to the AOF file: No space left on device");
    log.verify(&mut client);
    // The last number was acknowledged but is not on disk yet: only this one is lost with the process.
    let server = start(server.stop());
    let mut client = server.client();
    log.acknowledged -= 1;
    log.verify(&mut client);
    let found = client.run("LLEN log").integer() as u64;
    (log.acknowledged, log.sent) = (found, found);
    log.push_until_refused(&mut client);
    if disk.is_some() {
        fs::remove_file(&ballast).expect("remove the ballast");
    }
    shim.clear();
    log.push_in_the_end(&mut client, 3).expect("replies");
    verify_after_restart(server, &shim, &log);
}

/// Writes, rewrites and saves while calls fail, and accepts any reply. An error means that the server has exited.
fn exercise(server: &Server, shim: &Shim, log: &mut Log) -> io::Result<()> {
    let mut client = server.try_client().ok_or(io::ErrorKind::ConnectionRefused)?;
    for command in ["PING", "BGREWRITEAOF", "BGSAVE", "BGREWRITEAOF"] {
        client.try_call(&[command])?;
        for _ in 0..5 {
            log.try_push(&mut client)?;
        }
        wait_for_jobs(&mut client)?;
    }
    // Nothing fails from here on, so the server must recover.
    shim.clear();
    log.push_in_the_end(&mut client, 5)?;
    log.verify(&mut client);
    for command in ["BGREWRITEAOF", "BGSAVE"] {
        // The server may already run a rewrite of its own.
        let works = || (job(&mut client, command) == "ok").then_some(());
        eventually(&format!("{command} works again"), works);
    }
    Ok(())
}

/// One run in which `rule` fires. Returns false if no call matched it.
fn survives(policy: &str, rule: &str) -> bool {
    let (launch, shim) = launch(&format!("--appendonly yes --appendfsync {policy}"));
    shim.rules(rule);
    let mut log = Log::default();
    let mut server = launch.start_or_exit();
    if server.is_running() && exercise(&server, &shim, &mut log).is_err() {
        let status = server.wait_exit();
        let is_killed = status.signal() == Some(9) && (rule.contains("kill") || rule.contains("torn"));
        assert!(is_killed || status.code() == Some(1), "{rule}: {status:?}: {}", server.log());
    }
    let has_acted = !shim.hits().is_empty();
    let server = verify_after_restart(server, &shim, &log);
    log.push(&mut server.client(), 1);
    has_acted
}

/// Makes the first call fail, then the second, and so on, in steps of `stride`, on several servers in parallel.
fn every_call_in_turn(policy: &str, what: &str, stride: u64) {
    let stride = if std::env::var_os("REDSTART_ROUNDS").is_some() { 1 } else { stride };
    let next = AtomicU64::new(1);
    let last = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(stride, Ordering::SeqCst);
                    if number >= last.load(Ordering::SeqCst) {
                        return;
                    }
                    let rule = what.replace('N', &number.to_string());
                    if !survives(policy, &rule) {
                        last.fetch_min(number, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let tried = last.load(Ordering::SeqCst);
    assert!(tried > 20, "only {tried} calls were tried");
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    every_call_in_turn("always", &format!("any * N fail:{EIO}"), 3);
    every_call_in_turn("everysec", &format!("any * N fail:{EIO}"), 3);
}

#[test]
fn whichever_call_is_the_first_to_fail_of_all_that_follow_nothing_acknowledged_is_lost() {
    every_call_in_turn("everysec", &format!("any * N+ fail:{ENOSPC}"), 3);
    every_call_in_turn("no", &format!("any * N+ fail:{ENOSPC}"), 5);
}

#[test]
fn whichever_call_is_the_last_of_a_process_nothing_acknowledged_is_lost() {
    every_call_in_turn("always", "any * N kill", 3);
    every_call_in_turn("always", "any * N killafter", 4);
    every_call_in_turn("everysec", "any * N torn:7", 4);
}
