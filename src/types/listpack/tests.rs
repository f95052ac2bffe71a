//! Listpacks against a vector of strings, against the bytes of Redis, and against hostile bytes.

use proptest::prelude::*;

use super::*;
use crate::types::block::Block;
use crate::types::packed::Buffer;

fn text(elements: &[Vec<u8>]) -> Vec<Element<'_>> {
    elements.iter().map(|e| Element::from(&e[..])).collect()
}

fn build(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = Builder::with_capacity(0);
    for element in elements {
        builder.push(&element[..]);
    }
    assert_eq!(builder.len(), elements.len());
    builder.finish()
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    let numbers: Vec<i64> =
        [0, 127, 128, 4095, 4096, 0x7fff, 0x8000, 0x7f_ffff, 0x80_0000, 0x7fff_ffff, 0x8000_0000]
            .into_iter()
            .flat_map(|n| [n, -n, -n - 1])
            .collect();
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12),
        2 => (0_i64..40).prop_map(|n| format!("field:{n}").into_bytes()),
        2 => (0_i64..20).prop_map(|n| n.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => prop::sample::select(numbers).prop_map(|n| n.to_string().into_bytes()),
        1 => prop::sample::select(vec!["-0", "01", "+1", " 1", "9223372036854775808"]).prop_map(Vec::from),
        1 => prop::collection::vec(any::<u8>(), 60..70),
        1 => prop::collection::vec(any::<u8>(), 120..132),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    Append(Vec<Vec<u8>>),
    InsertBefore(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveIndices(i64, usize),
    Merge(Vec<Vec<u8>>),
    Prepend(Vec<Vec<u8>>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let several = || prop::collection::vec(string(), 0..5);
    prop_oneof![
        string().prop_map(Step::PushBack),
        string().prop_map(Step::PushFront),
        several().prop_map(Step::Append),
        (any::<usize>(), string()).prop_map(|(at, s)| Step::InsertBefore(at, s)),
        (any::<usize>(), string()).prop_map(|(at, s)| Step::InsertAfter(at, s)),
        (any::<usize>(), string()).prop_map(|(at, s)| Step::Replace(at, s)),
        (any::<usize>(), 0_usize..4).prop_map(|(at, n)| Step::Remove(at, n)),
        (-6_i64..6, 0_usize..4).prop_map(|(at, n)| Step::RemoveIndices(at, n)),
        several().prop_map(Step::Merge),
        (several(), 0_usize..5).prop_map(|(all, from)| Step::Prepend(all, from)),
    ]
}

fn offset(buffer: &impl Buffer, index: usize) -> usize {
    let listpack = Listpack::new(buffer.bytes());
    listpack.seek(index as i64).unwrap_or(listpack.end())
}

fn apply(buffer: &mut impl Buffer, model: &mut Vec<Vec<u8>>, step: &Step) {
    let len = model.len();
    match step {
        Step::PushBack(s) => {
            push_back(buffer, &s[..]);
            model.push(s.clone());
        }
        Step::PushFront(s) => {
            push_front(buffer, &s[..]);
            model.insert(0, s.clone());
        }
        Step::Append(all) => {
            append(buffer, &text(all));
            model.extend(all.iter().cloned());
        }
        Step::InsertBefore(at, s) => {
            let index = at % (len + 1);
            let at = offset(buffer, index);
            insert(buffer, at, &[Element::from(&s[..])]);
            model.insert(index, s.clone());
        }
        Step::InsertAfter(at, s) if len > 0 => {
            let index = at % len;
            let listpack = Listpack::new(buffer.bytes());
            let at = listpack.next(listpack.seek(index as i64).unwrap()).unwrap_or(listpack.end());
            insert(buffer, at, &[Element::from(&s[..])]);
            model.insert(index + 1, s.clone());
        }
        Step::Replace(at, s) if len > 0 => {
            let at = offset(buffer, at % len);
            replace(buffer, at, &s[..]);
            let index = Listpack::new(buffer.bytes()).range(HEADER, at).count();
            model[index].clone_from(s);
        }
        Step::Remove(at, number) if len > 0 => {
            let index = at % len;
            let number = (*number).min(len - index);
            let at = offset(buffer, index);
            remove(buffer, at, number);
            model.drain(index..index + number);
        }
        Step::RemoveIndices(first, number) => {
            let removed = remove_indices(buffer, *first, *number);
            let index = if *first < 0 { len as i64 + first } else { *first };
            let expected =
                if (0..len as i64).contains(&index) { (*number).min(len - index as usize) } else { 0 };
            assert_eq!(removed, expected);
            if expected > 0 {
                model.drain(index as usize..index as usize + expected);
            }
        }
        Step::Merge(all) => {
            merge(buffer, Listpack::new(&build(all)));
            model.extend(all.iter().cloned());
        }
        Step::Prepend(all, from) => {
            let from = (*from).min(all.len());
            let other = build(all);
            let other = Listpack::new(&other);
            let at = other.seek(from as i64).unwrap_or(other.end());
            prepend(buffer, other, at, other.end());
            model.splice(0..0, all[from..].iter().cloned());
        }
        Step::InsertAfter(..) | Step::Replace(..) | Step::Remove(..) => {}
    }
}

/// Checks that every way of reading agrees with the model.
fn check(bytes: &[u8], model: &[Vec<u8>]) {
    assert!(is_valid(bytes));
    assert_eq!(bytes, build(model), "these elements have one listpack");
    let listpack = Listpack::new(bytes);
    assert_eq!(listpack.len(), model.len());
    assert_eq!(listpack.is_empty(), model.is_empty());
    let read: Vec<Vec<u8>> = listpack.iter().map(|t| t.to_vec()).collect();
    assert_eq!(read, model);
    let mut backwards: Vec<Vec<u8>> = listpack.iter().rev().map(|t| t.to_vec()).collect();
    backwards.reverse();
    assert_eq!(backwards, model);
    let len = model.len() as i64;
    assert_eq!((listpack.seek(len), listpack.seek(-len - 1)), (None, None));
    let mut at = listpack.first();
    for (i, element) in model.iter().enumerate() {
        let here = at.unwrap();
        assert_eq!(listpack.seek(i as i64), at);
        assert_eq!(listpack.seek(i as i64 - len), at);
        assert_eq!(listpack.get(here).to_vec(), *element);
        let needle = Element::from(&element[..]);
        assert_eq!(needle.text().to_vec(), *element);
        let first = listpack.find(HEADER, &needle, 0).unwrap();
        assert_eq!(listpack.get(first).to_vec(), *element);
        assert_eq!(listpack.range(HEADER, first).count(), model.iter().position(|e| e == element).unwrap());
        let step = i % 3;
        if i % (step + 1) == 0 {
            let found = listpack.find(HEADER, &needle, step).map(|at| listpack.range(HEADER, at).count());
            assert_eq!(
                found,
                model.iter().step_by(step + 1).position(|e| e == element).map(|n| n * (step + 1))
            );
        }
        at = listpack.next(here);
        assert_eq!(listpack.previous(at.unwrap_or(listpack.end())), Some(here));
    }
    assert_eq!(at, None);
    assert_eq!(listpack.last(), listpack.seek(-1));
}

proptest! {
    #[test]
    fn a_listpack_behaves_like_a_vector(
        first in prop::collection::vec(string(), 0..6),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let mut bytes = build(&first);
        let mut block = Block::from(&bytes[..]);
        let mut model = first;
        for step in steps {
            let before = model.clone();
            apply(&mut block, &mut model, &step);
            model = before;
            apply(&mut bytes, &mut model, &step);
            check(&bytes, &model);
            prop_assert_eq!(&*block, &bytes[..]);
        }
        prop_assert_eq!(Listpack::new(&bytes).find(HEADER, &Element::from(&b"absent: nobody"[..]), 0), None);
    }

    #[test]
    fn a_changed_byte_makes_another_listpack_or_is_refused(
        elements in prop::collection::vec(string(), 1..6),
        at in any::<usize>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = build(&elements);
        let len = bytes.len();
        bytes[at % len] = byte;
        if let Ok(normal) = normalize(&bytes) {
            prop_assert!(is_valid(&bytes));
            let same: Vec<Vec<u8>> = Listpack::new(&bytes).iter().map(|t| t.to_vec()).collect();
            check(&normal, &same);
        } else {
            prop_assert!(!is_valid(&bytes));
        }
    }

    #[test]
    fn any_bytes_in_the_frame_are_checked_without_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..40),
        count in 0_u16..6,
    ) {
        let mut bytes = EMPTY.to_vec();
        bytes.splice(HEADER..HEADER, body);
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..6].copy_from_slice(&count.to_le_bytes());
        if let Ok(normal) = normalize(&bytes) {
            prop_assert!(is_valid(&normal));
        }
    }
}

#[test]
fn elements_of_every_size_at_the_edges_of_the_format_come_back() {
    for len in [0, 63, 64, 125, 126, 127, 4095, 4096, 16_376, 16_377, 16_378, 16_379, 2_097_144, 2_097_147] {
        let model: Vec<Vec<u8>> = [vec![b'x'; len], b"between".to_vec(), vec![b'y'; len]].into();
        check(&build(&model), &model);
    }
}

#[test]
fn an_element_in_another_encoding_is_made_canonical() {
    // "12" as a string, 5 as an integer of 16 bits, "abc" with the length of 12 bits.
    let mut bytes = vec![0, 0, 0, 0, 3, 0];
    bytes.extend_from_slice(b"\x8212\x03");
    bytes.extend_from_slice(b"\xf1\x05\x00\x03");
    bytes.extend_from_slice(b"\xe0\x03abc\x05\xff");
    bytes[0] = bytes.len() as u8;
    assert!(is_valid(&bytes));
    let model = [&b"12"[..], b"5", b"abc"].map(Vec::from);
    check(&normalize(&bytes).unwrap(), &model);
    assert!(matches!(normalize(&build(&model)), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn bytes_that_are_almost_a_listpack_are_refused() {
    let good = build(&[b"a".to_vec(), b"1000".to_vec(), vec![b'x'; 200]]);
    assert!(is_valid(&good) && is_valid(&EMPTY));
    let bad = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        !is_valid(&bytes) && normalize(&bytes).is_err()
    };
    assert!(bad(|b| b[0] += 1));
    assert!(bad(|b| b[3] = 0xff));
    assert!(bad(|b| b[4] = 2));
    assert!(bad(|b| b.push(END)));
    assert!(bad(|b| b.truncate(b.len() - 1)));
    assert!(bad(|b| b[6] = 0x82), "a longer string");
    assert!(bad(|b| b[6] = 0xf0), "a length of four bytes");
    assert!(bad(|b| b[6] = 0xf5), "no encoding");
    assert!(bad(|b| b[6] = END), "the end before the end");
    assert!(bad(|b| b[8] = 1), "a wrong backward length");
    assert!(bad(Vec::clear));
    // An unknown count is allowed.
    let mut unknown = good.clone();
    unknown[4..6].copy_from_slice(&[0xff, 0xff]);
    assert!(is_valid(&unknown));
    assert_eq!(Listpack::new(&unknown).len(), 3);
    assert!(Listpack::new(&unknown).seek(2).is_some() && Listpack::new(&unknown).seek(3).is_none());
    assert!(Listpack::new(&unknown).seek(-3).is_some() && Listpack::new(&unknown).seek(-4).is_none());
}

#[test]
fn more_elements_than_the_header_can_count_are_counted_by_walking() {
    let mut builder = Builder::with_capacity(0);
    for _ in 0..65_534 {
        builder.push(&b"an element of more bytes"[..]);
    }
    let mut bytes = builder.finish();
    assert_eq!(count(&bytes), 65_534);
    push_back(&mut bytes, 2_i64);
    assert_eq!(count(&bytes), UNKNOWN);
    push_back(&mut bytes, 3_i64);
    assert!(is_valid(&bytes));
    assert_eq!(Listpack::new(&bytes).len(), 65_536);
    assert_eq!(Listpack::new(&bytes).seek(-1).map(|at| Listpack::new(&bytes).get(at)), Some(Text::Int(3)));
    assert_eq!(remove_indices(&mut bytes, 0, 2), 2);
    assert_eq!(count(&bytes), 65_534, "few enough to be told again");
    assert!(is_valid(&bytes));
}

#[test]
fn duplicates_are_found_among_the_elements_that_must_differ() {
    let pairs = build(&["a", "1", "b", "1", "2", "a"].map(|s| s.as_bytes().to_vec()));
    assert!(has_duplicates(Listpack::new(&pairs), 1));
    assert!(!has_duplicates(Listpack::new(&pairs), 2));
    let pairs = build(&["2", "x", "b", "1", "2", "y"].map(|s| s.as_bytes().to_vec()));
    assert!(has_duplicates(Listpack::new(&pairs), 2));
}

#[test]
fn pairs_come_from_either_end() {
    let bytes = build(&["a", "1", "b", "2"].map(|s| s.as_bytes().to_vec()));
    let pairs = Listpack::new(&bytes).pairs();
    assert!(pairs.clone().eq([(Text::Bytes(b"a"), Text::Int(1)), (Text::Bytes(b"b"), Text::Int(2))]));
    assert!(pairs.rev().eq([(Text::Bytes(b"b"), Text::Int(2)), (Text::Bytes(b"a"), Text::Int(1))]));
}

/// The bytes are those in `DUMP` of a hash, made by `redis-server`.
#[test]
fn the_bytes_are_those_of_redis() {
    let elements = [
        "",
        "a",
        "0",
        "127",
        "128",
        "-1",
        "4095",
        "-4096",
        "4096",
        "-4097",
        "32767",
        "-32769",
        "8388607",
        "-8388609",
        "2147483647",
        "-2147483649",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-0",
        "01",
        "field:1",
    ];
    let bytes =
        b"\x82\x00\x00\x00\x16\x00\x80\x01\x81\x61\x02\x00\x01\x7f\x01\xc0\x80\x02\xdf\xff\x02\xcf\xff\x02\
        \xd0\x00\x02\xf1\x00\x10\x03\xf1\xff\xef\x03\xf1\xff\x7f\x03\xf2\xff\x7f\xff\x04\xf2\xff\xff\x7f\x04\
        \xf3\xff\xff\x7f\xff\x05\xf3\xff\xff\xff\x7f\x05\xf4\xff\xff\xff\x7f\xff\xff\xff\xff\x09\
        \xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09\
        \x939223372036854775808\x14\x82-0\x03\x8201\x03\x87field:1\x08\xff";
    assert_eq!(build(&elements.map(|e| e.as_bytes().to_vec())), bytes);
}

/// The backward lengths that `redis-server` writes around the sizes that need another byte; at two of them it adds that
/// byte one too early.
#[test]
fn backward_lengths_are_those_of_redis() {
    let lengths: [(usize, &[u8]); 8] = [
        (125, b"\x7f"),
        (126, b"\x01\x80"),
        (4095, b"\x20\x81"),
        (16_377, b"\x7f\xfe"),
        (16_378, b"\x00\xff\xff"),
        (16_379, b"\x01\x80\x80"),
        (2_097_145, b"\x7f\xff\xfe"),
        (2_097_146, b"\x00\xff\xff\xff"),
    ];
    for (len, backward) in lengths {
        let bytes = build(&[b"f".to_vec(), vec![b'x'; len]]);
        assert_eq!(bytes[bytes.len() - 1 - backward.len()..], [backward, b"\xff"].concat(), "{len}");
        assert_eq!(bytes[bytes.len() - 2 - backward.len()], b'x');
    }
}
