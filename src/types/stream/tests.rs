//! Streams against a vector of entries, and nodes from hostile bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dict::Seed;
use crate::types::listpack;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn shapes(entries: u64, bytes: usize) -> Shapes {
    let mut shapes = Shapes::new(Seed::plain());
    (shapes.stream_node_max_entries, shapes.stream_node_max_bytes) = (entries, bytes);
    shapes
}

fn add(stream: &mut Stream, id: Id, fields: &Fields, shapes: &Shapes) {
    let items = fields.iter().flat_map(|(field, value)| [&field[..], &value[..]]);
    stream.append(id, fields.len(), items, shapes);
}

fn id(ms: u64, seq: u64) -> Id {
    Id { ms, seq }
}

fn read(record: &Record<'_>) -> (Id, Fields) {
    assert_eq!(record.len(), record.pairs().count());
    (record.id, record.pairs().map(|(field, value)| (field.to_vec(), value.to_vec())).collect())
}

/// A stream of `count` entries that are 1 ms apart, and have the same two fields.
fn plain(count: u64) -> Stream {
    let (mut stream, shapes) = (Stream::default(), shapes(100, 4096));
    let fields = vec![(b"a".to_vec(), b"12".to_vec()), (b"b".to_vec(), b"xyz".to_vec())];
    for n in 0..count {
        add(&mut stream, id(1_700_000_000_000 + n, 0), &fields, &shapes);
    }
    stream
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(vec!["f", "g", "value", "12", "-7"]).prop_map(Vec::from),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64, Fields),
    /// Sets the last ID back towards the last entry's by this many eighths.
    SetBack(u64),
    Delete(usize),
    DeleteAny(u64, u64),
    TrimLength(usize, bool, u64),
    TrimId(usize, bool),
    Range(usize, usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let fields = prop_oneof![
        2 => Just(vec![(b"f".to_vec(), b"v".to_vec()), (b"g".to_vec(), b"1".to_vec())]),
        1 => prop::collection::vec((text(), text()), 1..4),
    ];
    prop_oneof![
        8 => (0_u64..3, 0_u64..300, fields).prop_map(|(ms, seq, fields)| Step::Add(ms, seq, fields)),
        1 => (0_u64..9).prop_map(Step::SetBack),
        3 => any::<usize>().prop_map(Step::Delete),
        1 => (0_u64..40, 0_u64..300).prop_map(|(ms, seq)| Step::DeleteAny(ms, seq)),
        1 => (0_usize..40, any::<bool>(), 0_u64..9).prop_map(|(n, a, l)| Step::TrimLength(n, a, l)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(n, a)| Step::TrimId(n, a)),
        3 => (any::<usize>(), any::<usize>(), 0_usize..9).prop_map(|(a, b, n)| Step::Range(a, b, n)),
    ]
}

/// The ID of the entry at an index, or of one near it if it does not exist.
fn pick(model: &BTreeMap<Id, Fields>, index: usize) -> Id {
    let ids: Vec<Id> = model.keys().copied().collect();
    let near = ids.get(index / 3 % ids.len().max(1)).copied().unwrap_or_default();
    match index % 3 {
        0 => near,
        1 => near.next().unwrap(),
        _ => near.previous().unwrap_or_default(),
    }
}

fn apply(stream: &mut Stream, model: &mut BTreeMap<Id, Fields>, step: &Step, shapes: &Shapes) {
    match step {
        Step::Add(ms, seq, fields) => {
            let last = stream.figures().last_id;
            let new = id(last.ms + ms, if *ms == 0 { last.seq + 1 + seq } else { *seq });
            add(stream, new, fields, shapes);
            model.insert(new, fields.clone());
            assert_eq!(stream.figures().last_id, new);
        }
        Step::SetBack(eighths) => {
            let (least, last) = (stream.last_entry().unwrap_or_default(), stream.figures().last_id);
            let ms = least.ms + (last.ms - least.ms) * eighths / 8;
            stream.set_last_id(id(ms, if ms == least.ms { least.seq } else { 0 }));
        }
        Step::Delete(index) => {
            let gone = pick(model, *index);
            assert_eq!(stream.delete(&[gone, gone]), usize::from(model.remove(&gone).is_some()));
        }
        Step::DeleteAny(ms, seq) => {
            let gone = id(*ms, *seq);
            assert_eq!(stream.delete(&[gone]), usize::from(model.remove(&gone).is_some()));
        }
        Step::TrimLength(most, approximately, limit) => {
            let before = model.len();
            let limit = if *approximately { *limit } else { 0 };
            let bound = Bound::Length(*most as u64);
            let gone = stream.trim(&Trim { bound, approximately: *approximately, limit }).0 as usize;
            let exact = before.saturating_sub(*most);
            assert!(if *approximately { gone <= exact } else { gone == exact });
            assert!(limit == 0 || gone as u64 <= limit);
            (0..gone).for_each(|_| drop(model.pop_first()));
        }
        Step::TrimId(index, approximately) => {
            let least = pick(model, *index);
            let trim = Trim { bound: Bound::Id(least), approximately: *approximately, limit: 0 };
            let (gone, _) = stream.trim(&trim);
            let exact = model.range(..least).count() as u64;
            assert!(if *approximately { gone <= exact } else { gone == exact });
            (0..gone).for_each(|_| drop(model.pop_first()));
        }
        Step::Range(from, to, most) => {
            let (from, to) = (pick(model, *from), pick(model, *to));
            let within = |id: &Id| from <= *id && *id <= to;
            let expected: Vec<_> =
                model.iter().filter(|(id, _)| within(id)).map(|(id, f)| (*id, f.clone())).collect();
            let found: Vec<_> = stream.range(from, to).take(*most).map(|record| read(&record)).collect();
            assert_eq!(found, expected[..expected.len().min(*most)]);
            let mut back: Vec<_> = stream.range_back(from, to).map(|record| read(&record)).collect();
            back.reverse();
            assert_eq!(back, expected);
        }
    }
}

fn check(stream: &Stream, model: &BTreeMap<Id, Fields>) {
    let all: Vec<_> = stream.range(Id::MIN, Id::MAX).map(|record| read(&record)).collect();
    assert!(all.iter().map(|(id, fields)| (id, fields)).eq(model));
    assert_eq!(stream.len(), model.len() as u64);
    assert_eq!(stream.is_empty(), model.is_empty());
    let first = model.first_key_value().map_or(Id::MIN, |(id, _)| *id);
    assert_eq!(stream.figures().first_id, first);
    assert_eq!(stream.last_entry(), model.last_key_value().map(|(id, _)| *id));
    for (id, fields) in model {
        assert_eq!(stream.get(*id).map(|record| read(&record)), Some((*id, fields.clone())));
    }
}

/// The stream, loaded again from its own bytes.
fn reloaded(stream: &Stream) -> Result<Stream, InvalidStream> {
    let mut copy = Stream::default();
    for (master, bytes) in stream.nodes() {
        copy.push_node(master, bytes)?;
    }
    copy.set_figures(*stream.figures())?;
    Ok(copy)
}

proptest! {
    #[test]
    fn a_stream_behaves_like_a_map_ordered_by_id(
        steps in prop::collection::vec(step(), 1..120),
        entries in prop::sample::select(vec![0_u64, 1, 3, 100]),
        bytes in prop::sample::select(vec![0_usize, 60, 4096]),
    ) {
        let shapes = shapes(entries, bytes);
        let (mut stream, mut model) = (Stream::default(), BTreeMap::new());
        for step in &steps {
            apply(&mut stream, &mut model, step, &shapes);
            prop_assert_eq!(stream.len(), model.len() as u64);
        }
        check(&stream, &model);
        let copy = stream.duplicate();
        let loaded = reloaded(&stream).unwrap();
        prop_assert_eq!(loaded.figures(), stream.figures());
        // Later changes to the stream do not affect its copies.
        stream.delete(&model.keys().copied().step_by(2).collect::<Vec<_>>());
        stream.trim(&Trim { bound: Bound::Length(1), approximately: false, limit: 0 });
        check(&copy, &model);
        check(&loaded, &model);
    }

    #[test]
    fn a_node_of_broken_bytes_is_refused_or_can_be_read(
        count in 1_u64..12,
        at in any::<prop::sample::Index>(),
        value: u8,
        last: bool,
    ) {
        let mut stream = plain(count);
        stream.delete(&[id(1_700_000_000_001, 0)]);
        let (master, bytes) = stream.nodes().next().map(|(id, bytes)| (id, bytes.to_vec())).unwrap();
        let mut bytes = bytes;
        let len = bytes.len();
        bytes[at.index(len)] = value;
        if last {
            bytes.pop();
        }
        let mut broken = Stream::default();
        if broken.push_node(master, &bytes).is_ok() {
            prop_assert_eq!(broken.range(Id::MIN, Id::MAX).count() as u64, broken.len());
            let found = broken.range_back(Id::MIN, Id::MAX).filter(|r| r.pairs().count() == r.len()).count();
            prop_assert_eq!(found as u64, broken.len());
            broken.trim(&Trim { bound: Bound::Length(1), approximately: false, limit: 0 });
        }
    }

    #[test]
    fn the_pending_entries_of_the_consumers_make_up_those_of_the_group(
        steps in prop::collection::vec((0_u8..5, 0_usize..3, 1_u64..30), 1..80),
    ) {
        let mut stream = plain(0);
        let shapes = shapes(4, 4096);
        for n in 1..30 {
            add(&mut stream, id(n, 0), &vec![(b"f".to_vec(), b"v".to_vec())], &shapes);
        }
        prop_assert!(stream.add_group(Group::new(b"g", Id::MIN, None)));
        let names: [&[u8]; 3] = [b"c", b"a", b"b"];
        let mut model: BTreeMap<Id, usize> = BTreeMap::new();
        for (kind, who, n) in steps {
            let group = stream.group_mut(b"g").unwrap();
            let slot = group.find_or_add(names[who], 5);
            match kind {
                0 => {
                    let from = group.last_id;
                    let given = stream.deliver(b"g", slot, (n as usize % 4, false, 7), |_| ());
                    model.extend((from.ms + 1..=from.ms + given as u64).map(|n| (id(n, 0), who)));
                }
                1 => prop_assert_eq!(group.acknowledge(id(n, 0)), model.remove(&id(n, 0)).is_some()),
                2 => {
                    group.claim(id(n, 0), slot, 3, 2, 9);
                    model.insert(id(n, 0), who);
                }
                3 => {
                    let own = model.values().filter(|owner| **owner == who).count();
                    prop_assert_eq!(group.remove_consumer(names[who]), Some(own));
                    model.retain(|_, owner| *owner != who);
                }
                _ => group.last_id = id(n, 0),
            }
        }
        let group = stream.group(b"g").unwrap();
        let all: Vec<_> = group.pending().iter().map(|(id, d)| (*id, group.owner(d).name())).collect();
        let expected: Vec<_> = model.iter().map(|(id, owner)| (*id, names[*owner])).collect();
        prop_assert_eq!(all, expected);
        prop_assert!(group.is_whole() && group.consumers().map(Consumer::name).is_sorted());
        for (who, name) in names.iter().enumerate() {
            let own: Vec<Id> = model.iter().filter(|(_, owner)| **owner == who).map(|(id, _)| *id).collect();
            let slot = group.find(name);
            let found = slot.map_or(Vec::new(), |s| group.pending_of(Some(s), ..).map(|(id, _)| id).collect());
            prop_assert_eq!(found, own);
        }
    }
}

/// Nodes of one entry each are deleted from the middle in any order; the remaining ones are always found.
#[test]
fn deleting_entries_in_the_middle_leaves_the_others_findable() {
    let (mut stream, shapes) = (Stream::default(), shapes(1, 4096));
    let mut model = BTreeMap::new();
    for n in 1..=500 {
        let fields = vec![(b"n".to_vec(), n.to_string().into_bytes())];
        add(&mut stream, id(n, 0), &fields, &shapes);
        model.insert(id(n, 0), fields);
    }
    // 197 has no factor in common with 500.
    for step in 0..495 {
        let gone = id(1 + step * 197 % 500, 0);
        assert_eq!((stream.delete(&[gone]), stream.delete(&[gone])), (1, 0));
        model.remove(&gone);
        assert_eq!((stream.node_count(), stream.nodes().count()), (model.len(), model.len()));
        if step % 33 == 0 {
            check(&stream, &model);
            check(&reloaded(&stream).unwrap(), &model);
            check(&stream.duplicate(), &model);
        }
    }
    check(&stream, &model);
    assert_eq!(stream.trim(&Trim { bound: Bound::Length(1), approximately: false, limit: 0 }).0, 4);
    assert_eq!(stream.node_count(), 1);
}

#[test]
fn a_small_entry_of_two_fields_takes_at_most_21_bytes() {
    let stream = plain(100_000);
    let each = stream.memory_bytes() as f64 / 100_000.0;
    assert!(each <= 21.0, "{each}");
}

/// The bytes are those of Redis 7.0.15 (`DUMP`).
#[test]
fn a_node_has_the_bytes_of_redis() {
    let (mut stream, shapes) = (Stream::default(), shapes(100, 4096));
    let fields = |names: &[&str]| -> Fields {
        names.iter().map(|name| (name.as_bytes().to_vec(), b"1".to_vec())).collect()
    };
    add(&mut stream, id(1, 1), &fields(&["f"]), &shapes);
    add(&mut stream, id(1, 2), &fields(&["f"]), &shapes);
    add(&mut stream, id(3, 0), &fields(&["g", "f"]), &shapes);
    stream.delete(&[id(1, 2)]);
    let expected: Vec<u8> = [
        &[2, 1, 1, 1, 1, 1][..],
        &[0x81, b'f', 2, 0, 1],
        &[2, 1, 0, 1, 0, 1, 1, 1, 4, 1],
        &[3, 1, 0, 1, 1, 1, 1, 1, 4, 1],
        &[0, 1, 2, 1, 0xdf, 0xff, 2, 2, 1, 0x81, b'g', 2, 1, 1, 0x81, b'f', 2, 1, 1, 8, 1],
    ]
    .concat();
    let (master, bytes) = stream.nodes().next().unwrap();
    assert_eq!(master, id(1, 1));
    assert_eq!(&bytes[listpack::HEADER..bytes.len() - 1], expected);
}

#[test]
fn bytes_that_are_not_a_node_are_refused() {
    let build = |elements: &[&str]| {
        let mut builder = listpack::Builder::with_capacity(64);
        for element in elements {
            builder.push(element.as_bytes());
        }
        builder.finish()
    };
    let accepts = |elements: &[&str]| Stream::default().push_node(id(5, 0), &build(elements)).is_ok();
    let good = ["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"];
    assert!(accepts(&good));
    for (at, wrong) in [
        (0, "2"),
        (0, "x"),
        (0, "-1"),
        (1, "1"),
        (2, "2"),
        (2, "9223372036854775807"),
        (4, "1"),
        (5, "4"),
        (5, "3"),
        (5, "0"),
        (6, "-1"),
        (9, "5"),
        (9, "x"),
    ] {
        let mut bad = good;
        bad[at] = wrong;
        assert!(!accepts(&bad), "{wrong} at {at}");
    }
    for end in 0..good.len() {
        assert!(!accepts(&good[..end]));
    }
    let mut stream = Stream::default();
    assert!(stream.push_node(id(5, 0), b"").is_err());
    stream.push_node(id(5, 0), &build(&good)).unwrap();
    assert!(stream.push_node(id(5, 0), &build(&good)).is_err(), "IDs rise from node to node");
    assert!(stream.set_figures(Figures { last_id: id(4, 9), ..Figures::default() }).is_err());
}

#[test]
fn pending_entries_of_a_file_have_one_owner_each() {
    let mut group = Group::new(b"g", Id::MIN, None);
    group.restore_pending(id(1, 0), 7, 3).unwrap();
    assert_eq!(group.restore_pending(id(1, 0), 7, 3), Err(InvalidStream));
    assert!(!group.is_whole());
    let slot = group.add_consumer(b"c", 9).unwrap();
    assert_eq!(group.restore_owner(id(2, 0), slot), Err(InvalidStream));
    group.restore_owner(id(1, 0), slot).unwrap();
    assert_eq!(group.restore_owner(id(1, 0), slot), Err(InvalidStream));
    assert!(group.is_whole());
    assert_eq!(group.remove_consumer(b"c"), Some(1));
    assert!(group.pending().is_empty());
}
