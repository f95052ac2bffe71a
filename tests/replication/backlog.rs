//! The size and the memory of the backlog, and replicas that fall behind it.

use nix::sys::signal::Signal;

use crate::support::{Client, Server};
use crate::{Kind, chain, field, field_of, start, until, wait_for_equality, wait_for_offset};

const MB: i64 = 1 << 20;

/// Sets `key` to `bytes` bytes `times` times, in one unit.
const SET_OFTEN: &str = "local value = string.rep('x', ARGV[2]) \
                         for n = 1, ARGV[1] do redis.call('SET', KEYS[1], value) end";

fn set_often(client: &mut Client, key: &str, times: u32, bytes: u32) {
    let (times, bytes) = (times.to_string(), bytes.to_string());
    assert!(client.call(&["EVAL", SET_OFTEN, "1", key, &times, &bytes]).is_null());
}

fn set_large(client: &mut Client, key: &str, bytes: usize) {
    assert_eq!(client.call(&["SET", key, &"y".repeat(bytes)]).text(), "OK");
}

fn pair(flags: &str) -> [(Server, Client); 2] {
    chain([(Kind::Subject, flags), (Kind::Subject, "")])
}

#[test]
fn a_replica_that_exceeds_the_output_limit_is_soon_up_again() {
    let [(_primary, mut writer), (replica, mut reader)] = pair("");
    let limits = ["replica 1mb 0 0", "replica 0 1mb 0", "replica 4mb 2mb 1"];
    for (round, limit) in (0..).zip(limits) {
        writer.call(&["CONFIG", "SET", "client-output-buffer-limit", limit]);
        for is_script in [true, false] {
            let before = writer.info_number("client_output_buffer_limit_disconnections");
            // A stopped replica takes nothing, so the limit is exceeded however fast it is.
            replica.signal(Signal::SIGSTOP);
            if is_script {
                set_often(&mut writer, "script", 15, 1_000_000 + round);
            } else {
                set_large(&mut writer, "large", 15_000_000 + round as usize);
            }
            writer.wait_for_info("client_output_buffer_limit_disconnections", |count| count > before);
            replica.signal(Signal::SIGCONT);
            let full = writer.info_number("sync_full");
            wait_for_equality(&mut writer, &mut reader);
            assert!(writer.info_number("sync_full") <= full + 1, "{limit}: one snapshot is enough");
        }
    }
}

#[test]
fn a_stopped_replica_is_disconnected_as_soon_as_its_output_exceeds_the_limit() {
    let [(_primary, mut writer), (replica, mut reader)] = pair("");
    writer.call(&["CONFIG", "SET", "client-output-buffer-limit", "replica 20mb 0 0"]);
    replica.signal(Signal::SIGSTOP);
    // The socket is full after some of them, long before the limit.
    for n in 0..40 {
        set_large(&mut writer, "large", 1_000_000 + n);
    }
    writer.wait_for_info("client_output_buffer_limit_disconnections", |count| count == 1);
    assert!(writer.info_number("mem_total_replication_buffers") < 2 * MB);
    replica.signal(Signal::SIGCONT);
    wait_for_equality(&mut writer, &mut reader);
}

/// Waits until the replica has everything, and checks that the backlog has little more than its size.
fn check_backlog(writer: &mut Client, size: i64) {
    until("only the backlog is kept", || {
        let info = writer.run("INFO everything").text();
        let number = |name| field_of(&info, name).parse::<i64>().expect("a number");
        let (kept, memory) = (number("repl_backlog_histlen"), number("mem_total_replication_buffers"));
        assert_eq!(number("mem_replication_backlog") + number("mem_clients_slaves"), memory);
        (size..=size + 40_000).contains(&kept) && (kept..kept * 3 / 2 + 40_000).contains(&memory)
    });
}

#[test]
fn the_backlog_keeps_little_more_than_its_size_of_a_large_unit() {
    for (size, flag) in [(16 << 10, "16kb"), (MB, "1mb"), (3 * MB, "3mb")] {
        let [(_primary, mut writer), (replica, mut reader)] = pair(&format!("--repl-backlog-size {flag}"));
        let write = |writer: &mut Client| {
            set_often(writer, "small", 3000, 3);
            set_often(writer, "small", 300_000, 3);
            check_backlog(writer, size);
            set_often(writer, "blocks", 200, 20_000);
            check_backlog(writer, size);
            set_often(writer, "large", 3, 5_000_000);
            check_backlog(writer, size);
            set_large(writer, "alone", 20_000_000);
            check_backlog(writer, size);
        };
        write(&mut writer);
        // The backlog has what a replica lacks after a short break.
        wait_for_offset(&mut writer, &mut reader);
        let full = writer.info_number("sync_full");
        assert_eq!(reader.run("CLIENT KILL TYPE master").integer(), 1);
        until("it continues", || writer.info_number("sync_partial_ok") == 1);
        wait_for_equality(&mut writer, &mut reader);
        assert_eq!(writer.info_number("sync_full"), full);

        drop((replica, reader));
        until("there is no replica", || field(&mut writer, "connected_slaves") == "0");
        write(&mut writer);
        // The backlog does not hold the value, so its memory is freed.
        let used = writer.info_number("used_memory");
        assert_eq!(writer.run("DEL alone").integer(), 1);
        writer.wait_for_info("used_memory", |now| now < used - 15 * MB);
    }
}

/// The reply to `PSYNC` of everything from `offset` on, and the bytes that follow up to the end at `end`.
fn request(primary: &Server, id: &str, offset: i64, end: i64) -> (String, Vec<u8>) {
    let mut client = primary.client();
    client.send(&["PSYNC", id, &offset.to_string()]).expect("send");
    let status = client.read_reply().expect("a reply").value.text();
    let rest = if status.starts_with("CONTINUE") { (end + 1 - offset) as usize } else { 0 };
    (status, client.read_raw(rest).expect("the stream"))
}

#[test]
fn a_replica_continues_within_the_kept_part_of_a_large_unit_and_nowhere_before_it() {
    let [(primary, mut writer), (replica, reader)] = pair("--repl-ping-replica-period 3600");
    drop((replica, reader));
    until("there is no replica", || field(&mut writer, "connected_slaves") == "0");
    for is_script in [true, false] {
        if is_script {
            set_often(&mut writer, "key", 50_000, 100);
        } else {
            set_large(&mut writer, "key", 5_000_000);
        }
        let number = |writer: &mut Client, name: &str| field(writer, name).parse::<i64>().expect("a number");
        let id = field(&mut writer, "master_replid");
        let first = number(&mut writer, "repl_backlog_first_byte_offset");
        let end = number(&mut writer, "master_repl_offset");
        let (_, all) = request(&primary, &id, first, end);
        assert!(all.len() as i64 >= MB && all.ends_with(if is_script { b"EXEC\r\n" } else { b"yyyy\r\n" }));
        for offset in [first + 1, first + 33_000, first + 500_001, end - 32_768, end, end + 1] {
            let (status, bytes) = request(&primary, &id, offset, end);
            assert!(status.starts_with("CONTINUE"), "{status} to {offset}");
            assert!(bytes == all[(offset - first) as usize..], "the bytes from {offset} on");
        }
        let (status, _) = request(&primary, &id, first - 1, end);
        assert!(status.starts_with("FULLRESYNC"), "{status}");
    }
}

#[test]
fn a_slow_replica_costs_memory_but_no_keys() {
    for kind in [Kind::Redis, Kind::Subject] {
        let primary = start(kind, "--maxmemory 60mb --maxmemory-policy allkeys-lru");
        let replica = start(Kind::Subject, "");
        let (mut writer, mut reader) = (primary.client(), replica.client());
        crate::follow(&mut reader, &primary);
        writer.run("DEBUG POPULATE 100000 k 100");
        replica.signal(Signal::SIGSTOP);
        for n in 0..60 {
            set_large(&mut writer, "large", 1_000_000 + n);
        }
        assert_eq!(writer.run("DBSIZE").integer(), 100_001, "{kind:?}");
        assert_eq!(writer.info_number("evicted_keys"), 0, "{kind:?}");
        // Some megabytes are in the socket.
        let waiting = writer.info_number("mem_total_replication_buffers");
        let not_counted = writer.info_number("mem_not_counted_for_evict");
        assert!(waiting >= 40 * MB && not_counted >= waiting - 3 * MB, "{kind:?}: {waiting}, {not_counted}");
        assert!(writer.info_number("mem_clients_slaves") >= waiting - 2 * MB, "{kind:?}");
        assert!(writer.info_number("mem_replication_backlog") <= 2 * MB, "{kind:?}");
        replica.signal(Signal::SIGCONT);
        wait_for_offset(&mut writer, &mut reader);
        writer.wait_for_info("mem_not_counted_for_evict", |bytes| bytes < 4 * MB);
    }
}
