//! The size and the memory of the backlog, and replicas that fall behind it.

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::{Kind, start, wait_for_offset};

const MB: i64 = 1 << 20;

fn set_large(client: &mut Client, key: &str, bytes: usize) {
    assert_eq!(client.call(&["SET", key, &"y".repeat(bytes)]).text(), "OK");
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
