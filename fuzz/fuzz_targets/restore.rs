//! RESTORE: no payload makes the loader panic or allocate by a length that is only claimed, and what was loaded is the
//! same after another DUMP and RESTORE.
//!
//! Input: the type byte and the value of a payload, whose footer is added here; also taken as a whole payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::codec::crc64;
use redstart::dict::Seed;
use redstart::persist::rdb::payload::{dump, restore};
use redstart::persist::rdb::{LATEST, Target};
use redstart::types::{Encoding, Shapes};

fuzz_target!(|object: &[u8]| {
    let shapes = Shapes::new(Seed::plain());
    let target = Target { key: b"key", expire_at: None, shapes: &shapes };
    let _ = restore(object, target);
    let mut payload = [object, &LATEST.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    let Ok(entry) = restore(&payload, target) else { return };
    for compress in [false, true] {
        let first = dump(&entry, compress);
        let again = restore(&first, target).expect("what was dumped loads");
        assert_eq!(again.kind(), entry.kind());
        assert_eq!(again.encoding(), entry.encoding());
        // A table's order is that of its hashes and of what came before.
        if entry.encoding() != Encoding::Hashtable {
            assert_eq!(dump(&again, compress), first);
        }
    }
});
