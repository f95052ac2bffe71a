//! RESTORE: no payload makes the loader panic or allocate by a length that is only claimed, and what was loaded is the
//! same after another DUMP and RESTORE.
//!
//! Input: the type byte and the value of a payload, whose footer is added here; also taken as a whole payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::codec::crc64;
use redstart::persist::rdb::payload::{dump, restore};
use redstart::persist::rdb::{Target, VERSION};

const TARGET: Target<'static> = Target { key: b"key", expire_at: None };

fuzz_target!(|object: &[u8]| {
    let _ = restore(object, TARGET);
    let mut payload = [object, &VERSION.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    let Ok(entry) = restore(&payload, TARGET) else { return };
    for compress in [false, true] {
        let first = dump(&entry, compress).expect("what was loaded has a form");
        let again = restore(&first, TARGET).expect("what was dumped loads");
        assert_eq!(again.kind(), entry.kind());
        assert_eq!(again.encoding(), entry.encoding());
        assert_eq!(dump(&again, compress).as_ref(), Some(&first));
    }
});
