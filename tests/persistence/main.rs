//! Persistence as a user sees it: commands and their replies, the files that they write, and the data after a restart.
//! Run against `redis-server` (`REDSTART_BIN`), nearly all tests check Redis's behaviour.
//!
//! * [`commands`]: SAVE, BGSAVE, BGREWRITEAOF, SHUTDOWN, DEBUG RELOAD and their like.
//! * [`snapshots`]: save rules, the writes that count as changes, failures.
//! * [`log`]: the files of the AOF through starts, rewrites and changes of `appendonly`.
//! * [`loading`]: the commands served meanwhile, and truncated or damaged files.
//! * [`replay`]: loading an AOF executes its commands again, even if limits were lowered since.
//! * [`info`]: INFO persistence.
//! * [`time`]: keys that expire while the server is down.

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

/// The binary under test with the flags that these tests need; its data is loaded.
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

/// Kills the server, changes its files, and starts it again. The new server must exit with status 1. Returns its log.
fn refused_after(server: Server, change: impl FnOnce(&Path)) -> String {
    let launch = server.stop();
    change(launch.directory());
    let mut server = launch.start_or_exit();
    let status = server.wait_exit();
    let log = server.log();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

/// Waits until no save or rewrite is running or scheduled.
fn wait_for_jobs(client: &mut Client) {
    let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
    eventually("no child is at work", || {
        let text = client.run("INFO persistence").text();
        idle.iter().all(|field| text.contains(field)).then_some(())
    });
}

/// Rewrites the AOF, and waits for the end.
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

/// The path of a file of the AOF.
fn part(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join("appendonlydir").join(format!("appendonly.aof.{name}"))
}

fn manifest(directory: &Path) -> String {
    fs::read_to_string(part(directory, "manifest")).expect("a manifest")
}

/// Requests as encoded in an AOF.
fn encoded(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| support::client::encode(&line.split(' ').collect::<Vec<_>>())).collect()
}

/// Creates a directory with the name of the snapshot: saving fails, even for root.
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
