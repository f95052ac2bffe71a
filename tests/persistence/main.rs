//! Persistence as a user meets it: commands and their replies, the files that they leave, and what comes back at the next
//! start. Run against `redis-server` (`REDSTART_BIN`), nearly all of it says what Redis does.
//!
//! * [`commands`]: SAVE, BGSAVE, BGREWRITEAOF, SHUTDOWN, DEBUG RELOAD and their like.
//! * [`snapshots`]: save rules, what counts as a change, failures.
//! * [`log`]: the files of the append-only log through starts, rewrites and switches.
//! * [`loading`]: what is served meanwhile, and files that are cut or damaged.
//! * [`replay`]: loading an AOF executes its commands again, even if limits were lowered since.
//! * [`info`]: INFO persistence.
//! * [`time`]: what expires while the server is down.

mod commands;
mod info;
mod loading;
mod log;
mod replay;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod time;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use support::{Client, Launch, Server, eventually};

/// Starts a server and waits until its data is loaded.
fn start(launch: Launch) -> Server {
    let server = launch.start();
    server.client().wait_for_info("loading", |loading| loading == 0);
    server
}

/// The binary under test, ready, with what these tests need.
fn begin(flags: &str) -> Server {
    start(Launch::subject().flags("--enable-debug-command yes").flags(flags))
}

/// Kills the server as a crash would, and starts it again on the same files.
fn restart(server: Server) -> Server {
    start(server.stop())
}

/// Kills the server, changes its files, and starts it again.
fn restart_after(server: Server, change: impl FnOnce(&Path)) -> Server {
    let launch = server.stop();
    change(launch.directory());
    start(launch)
}

/// Kills the server, changes its files, and starts it again. It has to refuse: the status is 1. Returns its log.
fn refused_after(server: Server, change: impl FnOnce(&Path)) -> String {
    let launch = server.stop();
    change(launch.directory());
    let mut server = launch.start_or_exit();
    let status = server.wait_exit();
    let log = server.log();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

/// Waits until nothing is saved or rewritten, nor about to be.
fn wait_for_jobs(client: &mut Client) {
    let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
    eventually("no child is at work", || {
        let text = client.run("INFO persistence").text();
        idle.iter().all(|field| text.contains(field)).then_some(())
    });
}

/// Rewrites the log, to the end.
fn rewrite(client: &mut Client) {
    assert_eq!(client.run("BGREWRITEAOF").text(), "Background append only file rewriting started");
    wait_for_jobs(client);
    assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
}

fn digest(client: &mut Client) -> String {
    client.run("DEBUG DIGEST").text()
}

/// The names in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A file of the append-only log.
fn part(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join("appendonlydir").join(format!("appendonly.aof.{name}"))
}

fn manifest(directory: &Path) -> String {
    fs::read_to_string(part(directory, "manifest")).expect("a manifest")
}

/// Requests as they stand in a log.
fn encoded(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| support::client::encode(&line.split(' ').collect::<Vec<_>>())).collect()
}

/// Makes a directory stand where the snapshot would: saving fails, also for root.
fn obstruct(server: &Server) {
    let place = server.directory().join("dump.rdb");
    let _ = fs::remove_file(&place);
    fs::create_dir(&place).expect("a directory");
    fs::write(place.join("file"), "").expect("a file");
}

/// Undoes [`obstruct`].
fn clear(server: &Server) {
    fs::remove_dir_all(server.directory().join("dump.rdb")).expect("removed");
}
