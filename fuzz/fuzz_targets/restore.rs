//! RESTORE: no payload makes the loader panic or allocate a length that is only claimed; a loaded value is the same after
//! another DUMP and RESTORE; and a stream can be read in both directions, changed and trimmed.
//!
//! Input: the type byte and the value of a payload, to which the footer is added; also used as a whole payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::codec::crc64;
use redstart::dict::Seed;
use redstart::persist::rdb::payload::{dump, restore};
use redstart::persist::rdb::{LATEST, Target};
use redstart::types::stream::{Bound, Id, Stream, Trim};
use redstart::types::{Container, Encoding, Shapes};

fuzz_target!(|object: &[u8]| {
    let shapes = Shapes::new(Seed::plain());
    let target = Target { key: b"key", expire_at: None, shapes: &shapes };
    let _ = restore(object, true, target);
    let mut payload = [object, &LATEST.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    let Ok(entry) = restore(&payload, true, target) else { return };
    if let Some(stream) = entry.container::<Stream>() {
        work_with(stream, &shapes);
    }
    for compress in [false, true] {
        let first = dump(&entry, compress);
        let again = restore(&first, true, target).expect("what was dumped loads");
        assert_eq!(again.kind(), entry.kind());
        assert_eq!(again.encoding(), entry.encoding());
        // The order of a table depends on its hashes and its history.
        if entry.encoding() != Encoding::Hashtable {
            assert_eq!(dump(&again, compress), first);
        }
    }
});

/// Changes a copy of a stream as commands do.
fn work_with(stream: &Stream, shapes: &Shapes) {
    let mut stream = stream.duplicate();
    let ids: Vec<Id> = stream.range(Id::MIN, Id::MAX).map(|record| record.id).collect();
    assert_eq!(ids.len() as u64, stream.len());
    let mut back: Vec<Id> = stream.range_back(Id::MIN, Id::MAX).map(|record| record.id).collect();
    back.reverse();
    assert_eq!(ids, back);
    for id in &ids {
        let record = stream.get(*id).expect("an ID that a walk has found");
        assert_eq!(record.pairs().count(), record.len());
        assert_eq!(stream.range(*id, *id).count(), 1);
        assert_eq!(stream.range_back(*id, *id).count(), 1);
    }
    for group in stream.groups() {
        let _ = stream.lag(group);
    }
    let _ = (stream.radix_nodes(), stream.memory_bytes());
    let middle = stream.len() / 2;
    let trim = |bound, approximately| Trim { bound, approximately, limit: 0 };
    let trimmed = stream.trim(&trim(Bound::Length(middle), true)).0
        + stream.trim(&trim(Bound::Length(middle), false)).0;
    assert_eq!((trimmed, stream.len()), (ids.len() as u64 - middle, middle));
    if let Some(id) = stream.figures().last_id.next() {
        stream.append(id, 1, [&b"field"[..], b"value"].into_iter(), shapes);
        assert_eq!(stream.last_entry(), Some(id));
        assert_eq!(stream.delete(&[id]), 1);
    }
    assert_eq!(stream.delete(&ids) as u64, middle);
    assert!(stream.is_empty());
}
