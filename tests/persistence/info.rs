//! INFO persistence: the value of every field after a sequence of operations.

use crate::support::server::subject_is_redis;
use crate::support::{Client, Server};
use crate::{begin, restart, rewrite, wait_for_jobs};
use std::fs;

/// The size in bytes of all files in the manifest.
fn bytes_of_log(server: &Server) -> i64 {
    crate::manifest(server.directory())
        .lines()
        .filter(|line| !line.ends_with("type h"))
        .map(|line| {
            let name = line.split(' ').nth(1).expect("a name");
            fs::metadata(server.directory().join("appendonlydir").join(name)).expect("a part").len() as i64
        })
        .sum()
}

fn assert_fields(client: &mut Client, expected: &[(&str, i64)]) {
    for (field, value) in expected {
        assert_eq!(client.info_number(field), *value, "{field}");
    }
}

#[test]
fn a_server_that_has_done_nothing_says_so() {
    let server = begin("");
    let mut client = server.client();
    assert_fields(
        &mut client,
        &[
            ("loading", 0),
            ("async_loading", 0),
            ("current_cow_peak", 0),
            ("current_cow_size", 0),
            ("current_cow_size_age", 0),
            ("current_save_keys_processed", 0),
            ("current_save_keys_total", 0),
            ("rdb_changes_since_last_save", 0),
            ("rdb_bgsave_in_progress", 0),
            ("rdb_last_bgsave_time_sec", -1),
            ("rdb_current_bgsave_time_sec", -1),
            ("rdb_saves", 0),
            ("rdb_last_cow_size", 0),
            ("rdb_last_load_keys_expired", 0),
            ("rdb_last_load_keys_loaded", 0),
            ("aof_enabled", 0),
            ("aof_rewrite_in_progress", 0),
            ("aof_rewrite_scheduled", 0),
            ("aof_last_rewrite_time_sec", -1),
            ("aof_current_rewrite_time_sec", -1),
            ("aof_rewrites", 0),
            ("aof_rewrites_consecutive_failures", 0),
            ("aof_last_cow_size", 0),
            ("total_forks", 0),
            ("latest_fork_usec", 0),
        ],
    );
    for field in ["rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status"] {
        assert_eq!(client.info(field), "ok", "{field}");
    }
    assert!(!client.run("INFO persistence").text().contains("aof_current_size"));
}

#[test]
fn the_size_of_the_log_is_that_of_its_files() {
    if subject_is_redis() {
        // Redis does not count the base that it creates at the first start.
        return;
    }
    let server = begin("--appendonly yes --auto-aof-rewrite-percentage 0");
    let mut client = server.client();
    assert_eq!(client.info_number("aof_current_size"), bytes_of_log(&server));
    assert_eq!(client.info_number("aof_base_size"), bytes_of_log(&server), "as it was at the start");
    let at_start = bytes_of_log(&server);
    client.ok("SET k v");
    client.call(&["SET", "large", &"x".repeat(100_000)]);
    assert_eq!(client.info_number("aof_current_size"), bytes_of_log(&server));
    assert_eq!(client.info_number("aof_base_size"), at_start);
    rewrite(&mut client);
    let rewritten = bytes_of_log(&server);
    assert_eq!(client.info_number("aof_current_size"), rewritten);
    assert_eq!(client.info_number("aof_base_size"), rewritten);
    client.ok("SET k w");
    assert_eq!(client.info_number("aof_current_size"), bytes_of_log(&server));
    assert_eq!(client.info_number("aof_base_size"), rewritten);
    assert_fields(
        &mut client,
        &[
            ("aof_enabled", 1),
            ("aof_pending_rewrite", 0),
            ("aof_buffer_length", 0),
            ("aof_delayed_fsync", 0),
            ("aof_rewrites", 1),
            ("total_forks", 1),
        ],
    );
    client.wait_for_info("aof_pending_bio_fsync", |count| count == 0);
    assert!(client.info_number("aof_last_rewrite_time_sec") >= 0);
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.info_number("aof_current_size"), bytes_of_log(&server));
    assert_eq!(client.info_number("aof_base_size"), bytes_of_log(&server));
}

#[test]
fn a_log_that_is_switched_on_tells_its_size_once_it_has_a_base() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SET k v");
    client.ok("CONFIG SET appendonly yes");
    wait_for_jobs(&mut client);
    client.ok("SET l v");
    assert_eq!(client.info_number("aof_current_size"), bytes_of_log(&server));
    assert!(client.info_number("aof_base_size") > 0);
}

#[test]
fn a_rewrite_tells_how_far_it_is_and_what_it_cost() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("DEBUG POPULATE 20000 key 200");
    client.ok("CONFIG SET rdb-key-save-delay 100");
    client.run("BGREWRITEAOF");
    assert_eq!(client.info_number("aof_rewrite_in_progress"), 1);
    assert!(client.info_number("aof_current_rewrite_time_sec") >= 0);
    let value = "x".repeat(200);
    for n in 0..20_000 {
        client.send(&["SET", &format!("key:{n}"), &value]).expect("sent");
    }
    client.discard(20_000 * 5).expect("replies");
    client.wait_for_info("current_cow_size", |bytes| bytes > 0);
    let peak = client.info_number("current_cow_peak");
    assert!(peak > 0);
    assert!((0..=20_000).contains(&client.info_number("current_save_keys_processed")));
    assert_eq!(client.info_number("current_save_keys_total"), 20_000);
    let percent: f64 = client.info("current_fork_perc").parse().expect("a number");
    assert!((0.0..=100.0).contains(&percent), "{percent}");
    wait_for_jobs(&mut client);
    assert!(client.info_number("aof_last_cow_size") > 1 << 20);
    assert_fields(
        &mut client,
        &[
            ("current_cow_size", 0),
            ("current_cow_peak", 0),
            ("current_save_keys_total", 0),
            ("aof_rewrites", 1),
        ],
    );
    assert!(client.info_number("latest_fork_usec") > 0);
}

#[test]
fn saves_and_rewrites_are_counted_when_they_begin() {
    let server = begin("");
    let mut client = server.client();
    client.ok("SAVE");
    client.ok("DEBUG POPULATE 100");
    client.ok("CONFIG SET rdb-key-save-delay 1000000");
    client.run("BGSAVE");
    assert_eq!(client.info_number("rdb_saves"), 2);
    client.run("BGREWRITEAOF");
    assert_eq!(client.info_number("aof_rewrites"), 0, "it is only scheduled");
    assert_eq!(client.info_number("aof_rewrite_scheduled"), 1);
    assert!(client.info_number("rdb_current_bgsave_time_sec") >= 0);
    assert_eq!(client.info_number("aof_current_rewrite_time_sec"), -1);
}

#[test]
fn a_failed_rewrite_is_counted() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("SET k v");
    // The new file cannot be created in place of a directory.
    fs::create_dir(crate::part(server.directory(), "2.incr.aof")).expect("a directory");
    for count in 1..3 {
        let reply = client.run("BGREWRITEAOF").text();
        assert_eq!(
            reply,
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
        );
        assert_eq!(client.info("aof_last_bgrewrite_status"), "err");
        if !subject_is_redis() {
            assert_eq!(client.info_number("aof_rewrites_consecutive_failures"), count);
        }
        client.ok("SET k w");
    }
    fs::remove_dir(crate::part(server.directory(), "2.incr.aof")).expect("removed");
    rewrite(&mut client);
    assert_eq!(client.info_number("aof_rewrites_consecutive_failures"), 0);
    assert_eq!(restart(server).client().run("GET k").text(), "w");
}
