//! Hashes in every form against a map, their order, their sampling, and fields that expire.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dict::Seed;
use crate::types::container::Container;
use crate::types::random::{Random, Tally};

const NOW: i64 = 1_000_000;

fn shapes(entries: usize, longest: usize) -> Shapes {
    let defaults = Shapes::new(Seed::new([3, 4]));
    Shapes { hash_max_listpack_entries: entries, hash_max_listpack_value: longest, ..defaults }
}

fn empty(shapes: &Shapes) -> Entry {
    create(b"key", shapes, 2, [&b"f"[..], b"v"].into_iter())
}

fn filled(fields: usize, shapes: &Shapes) -> Entry {
    let mut entry = empty(shapes);
    let mut hash = HashMut::new(&mut entry, shapes, NOW);
    for i in 0..fields {
        hash.set(format!("f{i}").as_bytes(), Text::Int(i as i64), None, FieldExpiry::Remove);
    }
    entry
}

/// The expected contents of a hash: values and times.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn live(model: &Model, now: i64) -> Model {
    model
        .iter()
        .filter(|(_, (_, at))| at.is_none_or(|at| at >= now))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn check(entry: &Entry, model: &Model, now: i64) {
    let hash = HashRef::new(entry, now);
    let expected = live(model, now);
    assert_eq!(hash.len(), expected.len());
    assert_eq!(hash.is_empty(), expected.is_empty());
    let read: Model = hash.iter().map(|i| (i.field.to_vec(), (i.value.to_vec(), i.expire_at))).collect();
    assert_eq!(read, expected);
    let mut scanned = Model::new();
    let mut cursor = 0;
    loop {
        let mut emit =
            |i: FieldItem<'_>| drop(scanned.insert(i.field.to_vec(), (i.value.to_vec(), i.expire_at)));
        cursor = hash.scan(cursor, &mut 0, &mut emit);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, expected);
    for (field, (value, expire_at)) in model {
        let there = expected.contains_key(field);
        assert_eq!(hash.contains(field), there);
        assert_eq!(hash.get(field).map(|text| text.to_vec()), there.then(|| value.clone()));
        assert_eq!(hash.expire_at(field), there.then_some(*expire_at));
    }
    assert_eq!(hash.get(b"no such field"), None);
    assert_eq!(next_deadline(entry), model.values().filter_map(|(_, at)| *at).min());
    match entry.encoding() {
        Encoding::Listpack | Encoding::ListpackEx => assert!(listpack::is_valid(entry.packed())),
        _ => {
            let table = entry.container::<Hash>().expect("a table");
            let deadlines = model.values().filter(|(_, at)| at.is_some()).count();
            let fields: usize = table.iter().map(FieldRef::memory_bytes).sum();
            assert_eq!(table.memory_bytes(), table.dict().memory_bytes() + fields + deadlines * 28);
            let copy = table.duplicate();
            assert_eq!((copy.len(), copy.next_deadline()), (table.len(), table.next_deadline()));
            assert!(table.iter().all(|f| {
                copy.get(f.name(), i64::MIN)
                    .is_some_and(|c| (c.value(), c.expire_at()) == (f.value(), f.expire_at()))
            }));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, Vec<u8>, FieldExpiry),
    SetInteger(u8, i64),
    Remove(u8),
    Expire(u8, i64, Condition),
    Persist(u8),
    Pass(i64),
    Purge(usize),
    Prepare,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..6),
        2 => (0_i64..1000).prop_map(|n| n.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 250..600),
        1 => prop::collection::vec(any::<u8>(), 8..70),
    ];
    let expiry = prop::sample::select(vec![FieldExpiry::Remove, FieldExpiry::Keep]);
    let condition = prop::sample::select(vec![
        Condition::Always,
        Condition::Always,
        Condition::Without,
        Condition::With,
        Condition::Later,
        Condition::Earlier,
    ]);
    prop_oneof![
        6 => (0_u8..30, value, expiry).prop_map(|(f, v, e)| Step::Set(f, v, e)),
        2 => (0_u8..30, any::<i64>()).prop_map(|(f, v)| Step::SetInteger(f, v)),
        3 => (0_u8..30).prop_map(Step::Remove),
        4 => (0_u8..30, -20_i64..200, condition).prop_map(|(f, t, c)| Step::Expire(f, t, c)),
        1 => (0_u8..30).prop_map(Step::Persist),
        2 => (0_i64..60).prop_map(Step::Pass),
        1 => (0_usize..10).prop_map(Step::Purge),
        1 => Just(Step::Prepare),
    ]
}

/// Names of various lengths, one of them a number.
fn name(n: u8) -> Vec<u8> {
    match n {
        0 => b"12".to_vec(),
        1 => vec![b'n'; 300],
        _ => format!("name{n}").into_bytes(),
    }
}

fn apply(hash: &mut HashMut<'_>, model: &mut Model, now: i64, step: &Step) {
    match step {
        Step::Set(..) | Step::SetInteger(..) => {
            let digits;
            let (field, value, text, expiry) = match step {
                Step::Set(n, value, expiry) => (name(*n), value.clone(), Text::Bytes(value), *expiry),
                Step::SetInteger(n, value) => {
                    digits = *value;
                    (name(*n), value.to_string().into_bytes(), Text::Int(digits), FieldExpiry::Keep)
                }
                _ => unreachable!("a set"),
            };
            let old = live(model, now).remove(&field);
            let block = (value.len() > 300).then(|| Block::from(&value[..]));
            assert_eq!(hash.set(&field, text, block, expiry), old.is_none());
            let keep = if expiry == FieldExpiry::Keep { old.and_then(|(_, at)| at) } else { None };
            model.insert(field, (value, keep));
        }
        Step::Remove(n) => {
            let there = live(model, now).contains_key(&name(*n));
            assert_eq!(hash.remove(&name(*n)), there);
            model.remove(&name(*n));
        }
        Step::Expire(n, after, condition) => {
            let (field, at) = (name(*n), now + after);
            let outcome = hash.set_expiry(&field, at, *condition);
            let expected = match live(model, now).get(&field) {
                None => ExpirySet::NoField,
                Some((_, old)) if !condition.allows(*old, at) => ExpirySet::Refused,
                Some(_) if at <= now => {
                    model.remove(&field);
                    ExpirySet::Deleted
                }
                Some((value, _)) => {
                    model.insert(field, (value.clone(), Some(at)));
                    ExpirySet::Done
                }
            };
            assert_eq!(outcome, expected);
        }
        Step::Persist(n) => {
            let field = name(*n);
            let old = live(model, now).remove(&field);
            assert_eq!(hash.persist(&field), old.as_ref().map(|(_, at)| at.is_some()));
            if let Some((value, _)) = old {
                model.insert(field, (value, None));
            }
        }
        Step::Purge(limit) => {
            let removed = hash.expire_due(*limit, &mut |_| {});
            let mut due: Vec<_> = model
                .iter()
                .filter_map(|(f, (_, at))| Some(((*at)?, f.clone())))
                .filter(|(at, _)| *at < now)
                .collect();
            due.sort();
            assert!(removed == due.len() || removed == *limit);
            // Fields with the same time may be removed in any order, so the test reads the remaining ones from the
            // hash.
            let left: Model = HashRef { form: hash.view().form, now: i64::MIN }
                .iter()
                .map(|i| (i.field.to_vec(), (i.value.to_vec(), i.expire_at)))
                .collect();
            assert_eq!(left.len(), model.len() - removed);
            let gone = due.iter().take(removed).map(|(at, _)| *at).max();
            for (field, (value, at)) in &*model {
                if !left.contains_key(field) {
                    assert!(at.is_some_and(|at| Some(at) <= gone), "{value:?} was not due");
                }
            }
            *model = left;
        }
        Step::Pass(_) => {}
        Step::Prepare => hash.prepare(2, [&b"a"[..], b"b"].into_iter()),
    }
}

proptest! {
    #[test]
    fn a_hash_behaves_like_a_map(
        entries in prop::sample::select(vec![0_usize, 3, 8, 512]),
        longest in prop::sample::select(vec![8_usize, 64, 400]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let shapes = shapes(entries, longest);
        let (mut entry, mut model, mut now) = (empty(&shapes), Model::new(), NOW);
        for step in &steps {
            if let Step::Pass(time) = step {
                now += time;
            }
            apply(&mut HashMut::new(&mut entry, &shapes, now), &mut model, now, step);
            check(&entry, &model, now);
            let fits = model.len() <= entries && model.iter().all(|(f, (v, _))| f.len().max(v.len()) <= longest);
            prop_assert!(fits || entry.encoding() == Encoding::Hashtable);
            prop_assert_eq!((entry.key(), entry.kind()), (&b"key"[..], Kind::Hash));
        }
    }

    #[test]
    fn a_hash_of_one_field_is_made_at_once(
        field in prop::collection::vec(any::<u8>(), 0..80),
        value in prop::collection::vec(any::<u8>(), 0..300),
        longest in prop::sample::select(vec![64_usize, 299]),
    ) {
        let shapes = shapes(512, longest);
        let at_once = single(b"key", &shapes, &field, &value, None);
        let mut step_by_step = empty(&shapes);
        HashMut::new(&mut step_by_step, &shapes, NOW).set(&field, Text::Bytes(&value), None, FieldExpiry::Remove);
        prop_assert_eq!(at_once.encoding(), step_by_step.encoding());
        check(&at_once, &Model::from([(field, (value, None))]), NOW);
        if at_once.is_packed() {
            prop_assert_eq!(at_once.packed(), step_by_step.packed());
        }
    }
}

#[test]
fn a_packed_hash_keeps_the_order_of_insertion() {
    let shapes = shapes(512, 64);
    let mut entry = filled(5, &shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    hash.set(b"f1", Text::Bytes(b"a longer value"), None, FieldExpiry::Remove);
    hash.remove(b"f3");
    hash.set(b"f3", Text::Int(1), None, FieldExpiry::Remove);
    let order: Vec<Vec<u8>> = HashRef::new(&entry, NOW).iter().map(|i| i.field.to_vec()).collect();
    assert_eq!(order, [b"f0", b"f1", b"f2", b"f4", b"f3"]);
}

#[test]
fn fields_that_expire_come_first_in_a_packed_hash_and_in_the_order_of_their_times() {
    let shapes = shapes(512, 64);
    let mut entry = filled(5, &shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    for (field, after) in [("f3", 300), ("f1", 100), ("f4", 200), ("f0", 100)] {
        assert_eq!(hash.set_expiry(field.as_bytes(), NOW + after, Condition::Always), ExpirySet::Done);
    }
    assert_eq!(entry.encoding(), Encoding::ListpackEx);
    let order: Vec<Vec<u8>> = HashRef::new(&entry, NOW).iter().map(|i| i.field.to_vec()).collect();
    assert_eq!(order, [b"f1", b"f0", b"f4", b"f3", b"f2"]);
    let elements: Vec<Text<'_>> = Listpack::new(entry.packed()).iter().collect();
    assert_eq!(elements[2], Text::Int(NOW + 100));
    assert_eq!(elements[14], Text::Int(0));
}

#[test]
fn the_limits_are_those_of_the_directives() {
    let shapes = shapes(4, 10);
    assert_eq!(filled(4, &shapes).encoding(), Encoding::Listpack);
    assert_eq!(filled(5, &shapes).encoding(), Encoding::Hashtable);
    for (field, value, encoding) in
        [(10, 10, Encoding::Listpack), (11, 1, Encoding::Hashtable), (1, 11, Encoding::Hashtable)]
    {
        let mut entry = empty(&shapes);
        let (field, value) = (vec![b'f'; field], vec![b'v'; value]);
        HashMut::new(&mut entry, &shapes, NOW).set(&field, Text::Bytes(&value), None, FieldExpiry::Remove);
        assert_eq!(entry.encoding(), encoding);
    }
    let texts = || (0..10).map(|_| &b"x"[..]);
    assert_eq!(create(b"k", &shapes, 10, texts()).encoding(), Encoding::Hashtable, "they are too many");
    assert_eq!(create(b"k", &shapes, 8, texts().take(8)).encoding(), Encoding::Listpack);
}

#[test]
fn a_field_of_typical_size_takes_52_bytes_at_most_in_a_large_hash() {
    let (shapes, count) = (shapes(512, 64), 250_000);
    let mut entry = empty(&shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    for i in 0..count {
        let (field, value) = (format!("field:{i:010}"), format!("value:{i:06}"));
        hash.set(field.as_bytes(), Text::Bytes(value.as_bytes()), None, FieldExpiry::Remove);
        drop(hash.take_retired());
    }
    assert!(entry.is_large());
    let each = entry.memory_bytes() as f64 / f64::from(count);
    assert!(each <= 52.0, "{each} bytes per field");
}

/// Draws 40 times per live field in each of three ways (one by one, with repetitions, distinct) and counts the outcomes.
fn draw_in_every_way(hash: &HashRef<'_>, fields: usize, random: &mut Random, tallies: [&mut Tally; 3]) {
    let [single, repeated, distinct] = tallies;
    for _ in 0..40 * fields {
        single.add(hash.random(random).expect("there are fields").field.to_vec());
    }
    hash.sample_repeated(40 * fields as u64, random, &mut |item| {
        repeated.add(item.field.to_vec());
        true
    });
    for count in [fields / 10 + 1, fields / 2, fields - fields / 4] {
        for _ in 0..(40 * fields).div_ceil(count.max(1)) {
            let mut seen = std::collections::HashSet::new();
            hash.sample_distinct(count, random, &mut |item| {
                assert!(seen.insert(item.field.to_vec()), "distinct");
                distinct.add(item.field.to_vec());
            });
            assert_eq!(seen.len(), count.min(fields));
        }
    }
}

#[test]
fn every_field_is_drawn_equally_often() {
    for (fields, limit) in [(1, 512), (20, 512), (300, 512), (300, 10), (1000, 10)] {
        let shapes = shapes(limit, 64);
        let entry = filled(fields, &shapes);
        let hash = HashRef::new(&entry, NOW);
        let mut random = Random::new(42);
        let (mut single, mut repeated, mut distinct) = Default::default();
        draw_in_every_way(&hash, fields, &mut random, [&mut single, &mut repeated, &mut distinct]);
        for (tally, what) in [(single, "single"), (repeated, "repeated"), (distinct, "distinct")] {
            tally.assert_even(fields, &format!("{what}, {fields} fields, limit {limit}"));
        }
    }
}

#[test]
fn an_expired_field_is_never_drawn() {
    for limit in [512, 10] {
        let shapes = shapes(limit, 64);
        let mut entry = filled(200, &shapes);
        let mut hash = HashMut::new(&mut entry, &shapes, NOW);
        for i in 0..199 {
            hash.set_expiry(format!("f{i}").as_bytes(), NOW + 1, Condition::Always);
        }
        let later = HashRef::new(&entry, NOW + 2);
        let mut random = Random::new(7);
        for _ in 0..50 {
            assert_eq!(later.random(&mut random).map(|item| item.field.to_vec()), Some(b"f199".to_vec()));
        }
        let mut drawn = 0;
        later.sample_distinct(10, &mut random, &mut |_| drawn += 1);
        assert_eq!(drawn, 1);
        let never = HashRef::new(&entry, i64::MAX);
        assert_eq!(never.len(), 1);
    }
}

#[test]
fn a_scan_returns_every_field_that_stays_while_others_are_removed_or_expire() {
    let shapes = shapes(10, 64);
    for expire in [false, true] {
        let mut entry = filled(3_000, &shapes);
        if expire {
            let mut hash = HashMut::new(&mut entry, &shapes, NOW);
            for i in 50..3_000 {
                hash.set_expiry(format!("f{i}").as_bytes(), NOW + 1, Condition::Always);
            }
        }
        let now = NOW + 5 * i64::from(expire);
        let mut seen = std::collections::HashSet::new();
        let (mut cursor, mut left) = (0, 3_000);
        loop {
            let hash = HashRef::new(&entry, now);
            cursor = hash.scan(cursor, &mut 0, &mut |item| _ = seen.insert(item.field.to_vec()));
            if cursor == 0 {
                break;
            }
            let (mut hash, to) = (HashMut::new(&mut entry, &shapes, now), (left - 20).max(50));
            if expire {
                assert_eq!(hash.expire_due(left - to, &mut |_| {}), left - to);
            } else {
                (to..left).for_each(|i| assert!(hash.remove(format!("f{i}").as_bytes())));
            }
            left = to;
        }
        assert!(left < 1_000, "{left} left: it has shrunk");
        for i in 0..50 {
            assert!(seen.contains(format!("f{i}").as_bytes()), "f{i}");
        }
    }
}

#[test]
fn a_scan_returns_every_field_that_stays_while_others_come_and_go() {
    let shapes = shapes(10, 64);
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let mut entry = filled(300, &shapes);
        let mut seen = std::collections::HashSet::new();
        let (mut cursor, mut next) = (0, 300);
        loop {
            let hash = HashRef::new(&entry, NOW);
            cursor = hash.scan(cursor, &mut 0, &mut |item| _ = seen.insert(item.field.to_vec()));
            if cursor == 0 {
                break;
            }
            let mut hash = HashMut::new(&mut entry, &shapes, NOW);
            for _ in 0..random.below(40) {
                if random.below(3) == 0 {
                    hash.set(format!("f{next}").as_bytes(), Text::Int(1), None, FieldExpiry::Remove);
                    next += 1;
                } else if next > 300 {
                    hash.remove(format!("f{}", 100 + random.below(next - 100)).as_bytes());
                }
            }
        }
        for i in 0..100 {
            assert!(seen.contains(format!("f{i}").as_bytes()), "f{i}, seed {seed}");
        }
    }
}

#[test]
fn a_table_that_has_shrunk_gives_its_memory_back_and_draws_its_fields_equally_often() {
    let shapes = shapes(10, 64);
    for left in [1, 10, 700] {
        let mut entry = filled(30_000, &shapes);
        let mut hash = HashMut::new(&mut entry, &shapes, NOW);
        for i in left..30_000 {
            assert!(hash.remove(format!("f{i}").as_bytes()));
            drop(hash.take_retired());
        }
        assert!(entry.memory_bytes() <= 400 + left * 250, "{} bytes for {left}", entry.memory_bytes());
        let (mut random, mut tally) = (Random::new(3), Tally::default());
        HashRef::new(&entry, NOW).sample_repeated(50 * left as u64, &mut random, &mut |item| {
            tally.add(item.field.to_vec());
            true
        });
        tally.assert_even(left, "a hash that has shrunk");
    }
}

#[test]
fn a_table_whose_fields_have_expired_gives_its_memory_back() {
    let shapes = shapes(10, 64);
    let mut entry = filled(30_000, &shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    for i in 10..30_000 {
        hash.set_expiry(format!("f{i}").as_bytes(), NOW + 1, Condition::Always);
    }
    let mut hash = HashMut::new(&mut entry, &shapes, NOW + 2);
    while hash.expire_due(100, &mut |_| {}) > 0 {}
    drop(hash.take_retired());
    assert!(entry.memory_bytes() < 3_000, "{} bytes for 10 fields", entry.memory_bytes());
}

#[test]
fn unused_reserved_room_is_given_up() {
    let shapes = shapes(10, 64);
    let mut entry = filled(1, &shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    let names: Vec<String> = (0..50_000).map(|i| format!("f{}", i % 10)).collect();
    hash.prepare(100_000, names.iter().flat_map(|name| [name.as_bytes(), b"1"]));
    for name in &names {
        hash.set(name.as_bytes(), Text::Int(1), None, FieldExpiry::Remove);
    }
    hash.settle();
    drop(hash.take_retired());
    assert!(entry.memory_bytes() < 4_000, "{} bytes for 10 fields", entry.memory_bytes());
}

#[test]
fn the_few_fields_that_have_not_expired_are_drawn_equally_often() {
    for limit in [10_000, 10] {
        let shapes = shapes(limit, 64);
        let mut entry = filled(3_000, &shapes);
        let mut hash = HashMut::new(&mut entry, &shapes, NOW);
        for i in 30..3_000 {
            hash.set_expiry(format!("f{i}").as_bytes(), NOW + 1, Condition::Always);
        }
        let hash = HashRef::new(&entry, NOW + 2);
        assert_eq!(hash.len(), 30);
        let mut random = Random::new(5);
        let (mut single, mut repeated, mut distinct) = Default::default();
        draw_in_every_way(&hash, 30, &mut random, [&mut single, &mut repeated, &mut distinct]);
        for (tally, what) in [(single, "single"), (repeated, "repeated"), (distinct, "distinct")] {
            tally.assert_even(30, &format!("{what}, limit {limit}"));
        }
    }
}

#[test]
fn live_fields_are_counted_correctly_whatever_expires_and_in_whatever_order_times_are_asked() {
    let shapes = shapes(5, 64);
    let mut entry = filled(100, &shapes);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    for i in 0..100 {
        hash.set_expiry(format!("f{i}").as_bytes(), NOW + 1 + i, Condition::Always);
    }
    let len = |entry: &Entry, now| HashRef::new(entry, now).len();
    for now in [NOW, NOW + 51, NOW + 20, NOW + 51, i64::MIN, NOW + 60] {
        assert_eq!(len(&entry, now) as i64, 100 - now.saturating_sub(NOW + 1).clamp(0, 100), "{now}");
    }
    // Some fields that have been counted are removed, inserted again, and given other times.
    let mut hash = HashMut::new(&mut entry, &shapes, NOW);
    assert!(hash.remove(b"f3") && hash.remove(b"f4"));
    hash.set_expiry(b"f5", NOW + 300, Condition::Always);
    hash.set_expiry(b"f90", NOW + 10, Condition::Always);
    hash.set(b"f6", Text::Int(1), None, FieldExpiry::Remove);
    assert_eq!(len(&entry, NOW + 60), 98 - 59 + 4 - 1);
    let mut hash = HashMut::new(&mut entry, &shapes, NOW + 60);
    assert_eq!(hash.expire_due(20, &mut |_| {}), 20);
    assert_eq!(len(&entry, NOW + 60), 98 - 59 + 4 - 1);
    assert_eq!(len(&entry, NOW + 1_000), 1);
}
