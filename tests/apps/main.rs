//! `make apps`: applications and libraries on top of clients, unmodified from their registries, against the server.
//!
//! Each test starts a server with a password, and runs the script beside this file that uses one application as its
//! documentation says. The scripts check what a user of the application relies on: values, finished jobs, messages at
//! clients of the other server, cached pages. `tests/apps/prepare` installs the applications below `target/apps`, in
//! the versions named here; without them these tests fail. `cargo test` does not run them.
//!
//! [`cluster`] runs cluster clients on a cluster; the one of the `redis` crate is in [`redis_rs`].
//!
//! `REDSTART_BIN=redis-server make apps` checks the scripts themselves.

#[path = "../support/mod.rs"]
mod support;

mod cluster;

#[allow(dead_code, reason = "the tests of the cluster use the rest")]
#[path = "../cluster/nodes.rs"]
mod nodes;

mod redis_rs;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of an installed application; panics if it is missing.
fn installed(name: &str) -> PathBuf {
    let directory = root().join("target/apps").join(name);
    assert!(
        directory.join("installed").exists(),
        "nothing in {}: `make apps` installs it",
        directory.display()
    );
    directory
}

/// Runs a script with the server's URL. The script must succeed, and report that it skipped nothing.
fn run(mut command: Command, script: &str) {
    let mut server = Server::start("--requirepass secret");
    command.arg(root().join("tests/apps").join(script));
    command.arg(format!("redis://default:secret@127.0.0.1:{}/0", server.port()));
    let (succeeded, text) = support::run_bounded(command);
    assert!(server.is_running(), "the server has exited:\n{}\n{text}", server.log());
    assert!(succeeded, "{script} failed:\n{text}");
    assert!(text.contains("all passed"), "{script} ended early:\n{text}");
}

fn python(environment: &str, script: &str) {
    let mut command = Command::new(installed(environment).join("bin/python"));
    // Python must not write bytecode beside the scripts.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run(command, script);
}

fn node(script: &str) {
    let mut command = Command::new("node");
    command.current_dir(installed("node"));
    run(command, script);
}

#[test]
fn redis_py_has_its_transactions_and_subscriptions() {
    python("python", "redis_py.py");
}

#[test]
fn django_keeps_values_pages_and_sessions() {
    python("python", "django_cache.py");
}

#[test]
fn django_channels_reach_groups_over_both_layers() {
    python("python", "channel_layer.py");
}

#[test]
fn flask_keeps_results_and_sessions() {
    python("python", "flask_app.py");
}

#[test]
fn arq_queues_jobs_and_its_worker_does_them() {
    python("older", "arq_queue.py");
}

#[test]
fn node_redis_has_its_transactions_subscriptions_and_cache() {
    node("node_redis.mjs");
}

#[test]
fn ioredis_has_its_transactions_and_subscriptions() {
    node("ioredis.mjs");
}

#[test]
fn keyv_and_cache_manager_share_what_they_keep() {
    node("caches.mjs");
}

#[test]
fn express_sessions_are_known_to_two_servers() {
    node("sessions.mjs");
}

#[test]
fn graphql_subscriptions_reach_another_server() {
    node("graphql_subscriptions.mjs");
}

#[test]
fn socket_io_servers_reach_the_clients_of_one_another() {
    node("socket_io.mjs");
}

#[test]
fn scripts_and_functions_of_clients_for_node_are_commands() {
    node("scripts.mjs");
}

#[test]
fn bullmq_does_jobs_schedules_and_flows() {
    node("bullmq.mjs");
}

#[test]
fn bull_does_jobs_and_repeats_them() {
    node("bull.mjs");
}

#[test]
fn bee_queue_does_jobs_and_tells_of_them() {
    node("bee_queue.mjs");
}

#[test]
fn rates_are_limited_across_servers() {
    node("rate_limits.mjs");
}

#[test]
fn locks_and_semaphores_exclude_each_other() {
    node("locks.mjs");
}

#[test]
fn redis_py_has_its_scripts_functions_and_locks() {
    python("python", "redis_py_scripts.py");
}

#[test]
fn celery_does_tasks_and_chords_and_its_workers_are_replaced() {
    python("python", "celery_queue.py");
}

#[test]
fn rq_queues_jobs_and_its_workers_do_them() {
    python("python", "rq_queue.py");
}

#[test]
fn huey_queues_tasks_and_its_consumer_does_them() {
    python("python", "huey_queue.py");
}

#[test]
fn dramatiq_sends_messages_and_its_workers_are_replaced() {
    python("python", "dramatiq_queue.py");
}

#[test]
fn django_redis_counts_and_locks() {
    python("python", "django_redis_cache.py");
}

#[test]
fn limits_of_rate_hold_across_processes() {
    python("older", "limits_of_rate.py");
}

#[test]
fn django_cacheops_ends_what_a_change_concerns() {
    python("python", "django_cacheops.py");
}
