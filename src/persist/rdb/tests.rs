//! Payloads from Redis are read, written payloads are byte for byte those of Redis, and malformed ones are refused.

use super::payload::{PayloadError, dump};
use super::*;
use crate::codec::crc64;
use crate::dict::Seed;
use crate::types::stream::{Group, Id, Stream};
use crate::types::{Encoding, Text, hash, list, set, sorted_set};
use proptest::prelude::*;

fn restore(payload: &[u8]) -> Result<Entry, PayloadError> {
    restore_at(payload, None)
}

fn restore_at(payload: &[u8], expire_at: Option<i64>) -> Result<Entry, PayloadError> {
    let shapes = Shapes::new(Seed::plain());
    payload::restore(payload, true, Target { key: b"key", expire_at, shapes: &shapes })
}

fn sealed(object: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [object, &version.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    payload
}

fn saved(entry: &Entry) -> Vec<u8> {
    let payload = dump(entry, true);
    payload[..payload.len() - 10].to_vec()
}

#[test]
fn strings_are_written_in_the_form_that_redis_chooses() {
    let cases: [(&[u8], &[u8]); 15] = [
        (b"", b"\x00\x00"),
        (b"abc", b"\x00\x03abc"),
        (b"1", b"\x00\xc0\x01"),
        (b"-128", b"\x00\xc0\x80"),
        (b"128", b"\x00\xc1\x80\x00"),
        (b"-129", b"\x00\xc1\x7f\xff"),
        (b"32768", b"\x00\xc2\x00\x80\x00\x00"),
        (b"2147483647", b"\x00\xc2\xff\xff\xff\x7f"),
        (b"2147483648", b"\x00\x0a2147483648"),
        (b"9223372036854775807", b"\x00\x139223372036854775807"),
        (b"01", b"\x00\x0201"),
        (b"-0", b"\x00\x02-0"),
        (b"aaaaaaaaaaaaaaaaaaaa", b"\x00\x14aaaaaaaaaaaaaaaaaaaa"),
        (b"aaaaaaaaaaaaaaaaaaaaa", b"\x00\xc3\x06\x15\x01aa\xe0\x0a\x00"),
        (b"abcdefghijklmnopqrstu", b"\x00\x15abcdefghijklmnopqrstu"),
    ];
    for (value, expected) in cases {
        let whole = Entry::string(b"key", value, None);
        let mut grown = Entry::plain(b"key", b"", None);
        grown.append(value);
        for entry in [whole, grown] {
            assert_eq!(saved(&entry).escape_ascii().to_string(), expected.escape_ascii().to_string());
            let again = restore(&sealed(expected, 11)).expect("a good payload");
            assert_eq!(again.value().to_vec(), value);
        }
    }
}

#[test]
fn lengths_take_one_two_five_or_nine_bytes() {
    let cases: [(u64, &[u8]); 7] = [
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16_383, b"\x7f\xff"),
        (16_384, b"\x80\x00\x00\x40\x00"),
        (0xffff_ffff, b"\x80\xff\xff\xff\xff"),
        (0x1_0000_0000, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
        (u64::MAX, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"),
    ];
    for (len, bytes) in cases {
        let mut out = Vec::new();
        Encoder::new(&mut out, true).length(len);
        assert_eq!(out, bytes);
        assert_eq!(SliceInput::new(bytes).length(), Ok(len));
    }
}

#[test]
fn a_payload_made_by_redis_is_accepted() {
    let payload = b"\x00\x03abc\x0a\x00";
    let payload = [&payload[..], &crc64::checksum(payload).to_le_bytes()].concat();
    let entry = restore_at(&payload, Some(5)).expect("a good payload");
    assert_eq!(
        (entry.key(), entry.value().to_vec(), entry.expire_at()),
        (&b"key"[..], b"abc".to_vec(), Some(5))
    );
    // DUMP of a key set to 10, by Redis 7.0.15.
    let made = b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb";
    assert_eq!(restore(made).expect("a good payload").value().to_vec(), b"10");
}

#[test]
fn a_later_version_and_a_wrong_checksum_are_refused() {
    assert!(restore(&sealed(b"\x00\x03abc", 11)).is_ok());
    let refused = |payload: &[u8]| restore(payload).err();
    assert_eq!(refused(&sealed(b"\x00\x03abc", 13)), Some(PayloadError::VersionOrChecksum));
    for len in 0..10 {
        assert_eq!(refused(&[0; 10][..len]), Some(PayloadError::VersionOrChecksum));
    }
    let good = sealed(b"\x00\x03abc", 11);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(&bad), Some(PayloadError::VersionOrChecksum));
    }
}

#[test]
fn claims_beyond_the_bytes_are_refused() {
    for object in [
        &b""[..],
        b"\x00",
        b"\x00\x04abc",
        b"\x00\x40",
        b"\x00\x80\xff\xff\xff\xff",
        b"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffabc",
        b"\x00\x82\x00",
        b"\x00\xc1\x00",
        b"\x00\xc4\x00",
        b"\x00\xc3\x03\x80\xff\xff\xff\xff\x00a\x20",
        b"\x00\xc3\xc0\x06\x15",
        b"\x06\x03abc",
        b"\xff",
    ] {
        let outcome = restore(&sealed(object, 11));
        assert!(matches!(outcome, Err(PayloadError::Value(_))), "{}", object.escape_ascii());
    }
}

proptest! {
    #[test]
    fn a_string_comes_back_with_its_encoding(
        piece in prop::collection::vec(any::<u8>(), 0..60), count in 1usize..60, compress: bool
    ) {
        let entry = Entry::string(b"key", &piece.repeat(count), Some(7));
        let payload = dump(&entry, compress);
        let again = restore_at(&payload, Some(7)).expect("a good payload");
        prop_assert_eq!(again.value(), entry.value());
        prop_assert_eq!(again.encoding(), entry.encoding());
        prop_assert_eq!(again.expire_at(), Some(7));
    }
}

/// Limits so low that small values exceed them.
pub(super) fn small_shapes() -> Shapes {
    Shapes {
        hash_max_listpack_entries: 4,
        hash_max_listpack_value: 20,
        set_max_intset_entries: 3,
        set_max_listpack_entries: 5,
        set_max_listpack_value: 20,
        zset_max_listpack_entries: 4,
        zset_max_listpack_value: 20,
        list_max_listpack_size: 3,
        stream_node_max_entries: 4,
        ..Shapes::new(Seed::plain())
    }
}

pub(super) fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (-200_i64..200).prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..30),
        (0usize..400).prop_map(|n| vec![b'x'; n]),
    ]
}

pub(super) fn list_of(texts: &[Vec<u8>], shapes: &Shapes) -> Entry {
    let mut entry = list::create(b"key");
    for text in texts {
        list::expect(&mut entry, std::iter::once(&text[..]), shapes);
        list::push(&mut entry, list::End::Back, text, shapes);
    }
    entry
}

pub(super) fn set_of(texts: &[Vec<u8>], shapes: &Shapes) -> Entry {
    // Duplicates must not choose another encoding than the members that will be loaded.
    let distinct = texts.iter().collect::<std::collections::HashSet<_>>().len();
    let mut entry = set::create(b"key", &texts[0], distinct, shapes);
    for text in texts {
        set::add(&mut entry, text, shapes);
    }
    entry
}

pub(super) fn sorted_set_of(texts: &[Vec<u8>], shapes: &Shapes) -> Entry {
    let mut entry = sorted_set::create(b"key", texts[0].len(), 1, shapes);
    for (n, text) in texts.iter().enumerate() {
        let score = [f64::NEG_INFINITY, -1.5, 0.0, 1.0, 3e20, f64::INFINITY][n % 6];
        let _ = sorted_set::apply(&mut entry, text, score, sorted_set::How::default(), shapes);
    }
    entry
}

pub(super) fn hash_of(texts: &[Vec<u8>], times: bool, shapes: &Shapes) -> Entry {
    let mut entry = hash::create(b"key", shapes, 0, std::iter::empty());
    for (n, text) in texts.iter().enumerate() {
        let mut hash = hash::HashMut::new(&mut entry, shapes, 0);
        hash.set(text, Text::Int(n as i64), None, hash::FieldExpiry::Remove);
        if times && n % 3 == 1 {
            hash.set_expiry(text, 1000 - n as i64, hash::Condition::Always);
        }
    }
    entry
}

/// A stream with deleted entries, a group that has read all of it, and one that has read nothing.
pub(super) fn stream_of(texts: &[Vec<u8>], shapes: &Shapes) -> Entry {
    let mut stream = Stream::default();
    for (n, text) in texts.iter().enumerate() {
        let id = Id { ms: (n / 2) as u64, seq: 1 + (n % 2) as u64 };
        stream.append(id, 1, [&b"field"[..], text].into_iter(), shapes);
    }
    stream.delete(&[Id { ms: 0, seq: 1 }, Id { ms: 2, seq: 2 }]);
    stream.add_group(Group::new(b"none", Id::MIN, None));
    let mut group = Group::new(b"all", Id::MIN, Some(0));
    let alice = group.add_consumer(b"alice", 5).expect("a new one");
    let bob = group.add_consumer(b"bob", 6).expect("a new one");
    stream.add_group(group);
    stream.deliver(b"all", alice, (3, false, 7), |_| ());
    stream.deliver(b"all", bob, (usize::MAX, false, 8), |_| ());
    let group = stream.group_mut(b"all").expect("just added");
    group.deliver_again(Id { ms: 1, seq: 1 }, 9);
    Entry::with_container(b"key", stream, None)
}

fn group_contents(group: &Group) -> String {
    let consumers: Vec<_> = group
        .consumers()
        .map(|c| format!("{:?} {} {} {:?}", c.name(), c.seen_time, c.active_time, c.pending()))
        .collect();
    let pending: Vec<_> =
        group.pending().iter().map(|(id, d)| format!("{id:?} {} {}", d.time, d.count)).collect();
    format!("{:?} {:?} {:?} {consumers:?} {pending:?}", group.name(), group.last_id, group.entries_read)
}

/// The contents of a collection, in order if it is ordered, with its encoding.
pub(super) fn contents(entry: &Entry) -> (Encoding, Vec<String>) {
    let mut all = Vec::new();
    match entry.kind() {
        Kind::List => list::forwards(entry, 0, &mut |element| {
            all.push(format!("{:?}", element.to_vec()));
            true
        }),
        Kind::Set => all.extend(set::SetRef::of(entry).members().map(|m| format!("{:?}", m.to_vec()))),
        Kind::SortedSet => {
            let set = sorted_set::SortedSetRef::of(entry);
            all.extend(set.iter().map(|(m, score)| format!("{:?} {score}", m.to_vec())));
        }
        Kind::Hash => {
            for item in hash::HashRef::new(entry, i64::MIN).iter() {
                let (field, value) = (item.field.to_vec(), item.value.to_vec());
                all.push(format!("{field:?} {value:?} {:?}", item.expire_at));
            }
        }
        Kind::Stream => {
            let stream = entry.container::<Stream>().expect("a stream");
            all.push(format!("{:?} {}", stream.figures(), stream.len()));
            let records = stream.range(Id::MIN, Id::MAX);
            all.extend(records.map(|r| format!("{:?} {:?}", r.id, r.pairs().collect::<Vec<_>>())));
            all.extend(stream.groups().map(group_contents));
        }
        Kind::String => unreachable!("no strings are looked at here"),
    }
    if matches!(entry.kind(), Kind::Set | Kind::Hash) {
        all.sort();
    }
    (entry.encoding(), all)
}

proptest! {
    #[test]
    fn a_collection_comes_back_with_its_encoding(
        texts in prop::collection::vec(text(), 1..20), low: bool, compress: bool
    ) {
        let shapes = if low { small_shapes() } else { Shapes::new(Seed::plain()) };
        let entries = [
            list_of(&texts, &shapes),
            set_of(&texts, &shapes),
            sorted_set_of(&texts, &shapes),
            hash_of(&texts, false, &shapes),
            hash_of(&texts, true, &shapes),
            stream_of(&texts, &shapes),
        ];
        for entry in &entries {
            let payload = dump(entry, compress);
            let target = Target { key: b"key", expire_at: Some(7), shapes: &shapes };
            let again = payload::restore(&payload, true, target);
            prop_assert!(again.is_ok(), "{:?}: {:?}", entry.kind(), again);
            let again = again.expect("just looked");
            prop_assert_eq!(again.expire_at(), Some(7));
            prop_assert_eq!(contents(&again), contents(entry));
            // With other limits the same elements are read, in the encoding for those limits.
            let other = if low { Shapes::new(Seed::plain()) } else { small_shapes() };
            let again = payload::restore(&payload, true, Target { shapes: &other, ..target });
            prop_assert_eq!(contents(&again.expect("the same bytes")).1, contents(entry).1);
            // Truncated or changed bytes are refused or give another value, without a panic.
            let object = &payload[..payload.len() - 10];
            for cut in (1..object.len()).step_by(object.len() / 8 + 1) {
                let _ = restore(&sealed(&object[..cut], 11));
            }
        }
    }

    #[test]
    fn changed_bytes_of_a_collection_never_panic(
        texts in prop::collection::vec(text(), 1..8), kind in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let shapes = Shapes::new(Seed::plain());
        let entry = match kind {
            0 => list_of(&texts, &shapes),
            1 => set_of(&texts, &shapes),
            2 => sorted_set_of(&texts, &shapes),
            3 => stream_of(&texts, &shapes),
            _ => hash_of(&texts, true, &shapes),
        };
        let payload = dump(&entry, false);
        let mut object = payload[..payload.len() - 10].to_vec();
        for (at, byte) in changes {
            let at = at.index(object.len());
            object[at] = byte;
        }
        if let Ok(entry) = restore(&sealed(&object, 11)) {
            let again = restore(&dump(&entry, true));
            prop_assert_eq!(again.expect("what was dumped loads").kind(), entry.kind());
        }
    }
}

#[test]
fn collections_in_the_encodings_of_earlier_versions_are_read() {
    // A ziplist of "a", 5, -3, 300, 70000, 2^24 as 32 bits, 2^40, 12, "bcd".
    let entries: [&[u8]; 9] = [
        b"\x01a",
        b"\xf6",
        b"\xfe\xfd",
        b"\xc0\x2c\x01",
        b"\xf0\x70\x11\x01",
        b"\xd0\x00\x00\x00\x01",
        b"\xe0\x00\x00\x00\x00\x00\x01\x00\x00",
        b"\xfd",
        b"\x40\x03bcd",
    ];
    let expected = ["a", "5", "-3", "300", "70000", "16777216", "1099511627776", "12", "bcd"];
    let list = restore(&sealed(&[&[types::LIST_ZIPLIST][..], &string(&ziplist(&entries))].concat(), 9));
    let mut found = Vec::new();
    list::forwards(&list.expect("a good list"), 0, &mut |element| {
        found.push(String::from_utf8(element.to_vec()).expect("text"));
        true
    });
    assert_eq!(found, expected);
    let nodes =
        [&[types::LIST_QUICKLIST, 2][..], &string(&ziplist(&entries[..2])), &string(&ziplist(&entries[2..]))];
    assert_eq!(list::len(&restore(&sealed(&nodes.concat(), 9)).expect("a good list")), 9);
    let pairs: [&[u8]; 4] = [b"\x01a", b"\xf2", b"\x01b", b"\x031.5"];
    let zset =
        restore(&sealed(&[&[types::ZSET_ZIPLIST][..], &string(&ziplist(&pairs))].concat(), 9)).expect("good");
    assert_eq!(sorted_set::SortedSetRef::of(&zset).score(b"b"), Some(1.5));
    let hash =
        restore(&sealed(&[&[types::HASH_ZIPLIST][..], &string(&ziplist(&pairs))].concat(), 9)).expect("good");
    assert_eq!(hash::HashRef::new(&hash, 0).get(b"a"), Some(Text::Int(1)));
    let zipmap = b"\x02\x01a\x02\x01xyz\x03bcd\x00\x00\xff";
    let hash = restore(&sealed(&[&[types::HASH_ZIPMAP][..], &string(zipmap)].concat(), 9)).expect("good");
    assert_eq!(hash::HashRef::new(&hash, 0).get(b"a"), Some(Text::Bytes(b"xy")));
    assert_eq!(hash::HashRef::new(&hash, 0).get(b"bcd"), Some(Text::Bytes(b"")));
    let zset = restore(&sealed(b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff", 9)).expect("good");
    assert_eq!(contents(&zset).1, ["[99] -inf", "[97] 1.5", "[98] inf"]);
    for bad in [
        &b"\x03\x01\x01a\xfd"[..], // a score that is not a number
        b"\x03\x01\x01a\x03abc",
        b"\x03\x02\x01a\x011\x01a\x012", // a member twice
        b"\x02\x02\x01a\x01a",
        b"\x04\x02\x01a\x011\x01a\x012",
        b"\x01\x00", // no members
        b"\x02\x00",
        b"\x03\x00",
        b"\x04\x00",
        b"\x12\x00",
        b"\x12\x01\x02\x07\x07\x00\x00\x00\x00\x00\xff",
        b"\x12\x01\x03\x01a", // an unknown kind of node
        b"\x0b\x08\x02\x00\x00\x00\x00\x00\x00\x00",
        b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x04\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01a",
        b"\x18\x01\x00\x00\x00\x00\x00\x00\x00\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01a",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01a\x01a",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x01\x01a\x01a", // a time that is too late
    ] {
        assert!(restore(&sealed(bad, 9)).is_err(), "{}", bad.escape_ascii());
    }
    let good = ziplist(&entries);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let _ = restore(&sealed(&[&[types::LIST_ZIPLIST][..], &string(&bad)].concat(), 9));
        let _ = restore(&sealed(&[&[types::LIST_ZIPLIST][..], &string(&good[..at])].concat(), 9));
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out, false).string(bytes);
    out
}

/// A ziplist of these entries, each starting at its encoding.
pub(super) fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut last, mut before) = (Vec::new(), 10, 0);
    for entry in entries {
        last = 10 + body.len();
        body.push(before);
        body.extend_from_slice(entry);
        before = entry.len() as u8 + 1;
    }
    let len = 10 + body.len() + 1;
    let header = [
        &(len as u32).to_le_bytes()[..],
        &(last as u32).to_le_bytes(),
        &(entries.len() as u16).to_le_bytes(),
    ];
    [&header.concat()[..], &body, &[0xff]].concat()
}

#[test]
fn packed_hashes_are_accepted_if_they_are_complete() {
    let shapes = Shapes { hash_max_listpack_entries: 3, ..Shapes::new(Seed::plain()) };
    let take = |elements: &[&str], timed| {
        let mut builder = crate::types::listpack::Builder::with_capacity(0);
        for element in elements {
            builder.push(element.as_bytes());
        }
        let (kind, next) = if timed { (types::HASH_LISTPACK_EX, 8) } else { (types::HASH_LISTPACK, 0) };
        let object = [&[kind][..], &[0; 8][..next], &string(&builder.finish())].concat();
        payload::restore(
            &sealed(&object, 12),
            true,
            Target { key: b"key", expire_at: Some(9), shapes: &shapes },
        )
    };
    let encoding = |elements: &[&str], timed| take(elements, timed).expect("a good hash").encoding();
    assert_eq!(encoding(&["a", "1", "b", "2", "3", "x"], false), Encoding::Listpack);
    assert_eq!(encoding(&["a", "1", "b", "2", "c", "3", "d", "4"], false), Encoding::Hashtable, "too many");
    assert_eq!(encoding(&["a", "1", "5", "b", "2", "5", "c", "3", "0"], true), Encoding::ListpackEx);
    for elements in [
        ["a", "1", "5", "b", "2", "6", "c", "3", "0", "d", "4", "0"],
        ["d", "4", "0", "b", "2", "6", "c", "3", "0", "a", "1", "5"],
    ] {
        for elements in [&elements[..], &elements[3..]] {
            let entry = take(elements, true).expect("a good hash");
            let fields = elements.len() / 3;
            assert_eq!(entry.encoding() == Encoding::Hashtable, fields > 3);
            assert_eq!((entry.expire_at(), hash::HashRef::new(&entry, 0).len()), (Some(9), fields));
            let first = elements.chunks(3).filter_map(|field| field[2].parse().ok().filter(|time| *time > 0));
            assert_eq!(hash::next_deadline(&entry), first.min(), "in any order");
        }
    }
    for (elements, timed) in [
        (&[][..], false),
        (&["a"], false),
        (&["a", "1", "b"], false),
        (&["a", "1", "a", "2"], false),
        (&["a", "1", "a", "2", "b", "1", "c", "1"], false),
        (&[], true),
        (&["a", "1", "x"], true),
        (&["a", "1", "-5"], true),
        (&["a", "1", "0", "a", "2", "5"], true),
        (&["a", "1", "0", "b", "2"], true),
    ] {
        assert!(take(elements, timed).is_err(), "{elements:?}");
    }
}
