//! The large form against a model: a `BTreeSet` of (score, member).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Arriving, Gather, SortedSet};
use crate::alloc::tests::ALL_LEAVE;
use crate::dict::Seed;
use crate::types::{Container, MoveCursor, Moves};

static SEED: LazyLock<Seed> = LazyLock::new(|| Seed::new([1, 2]));

/// A score that can be ordered: no NaN, one zero.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
struct Score(f64);

impl Eq for Score {}

#[expect(clippy::derive_ord_xor_partial_ord, reason = "there is no NaN")]
impl Ord for Score {
    fn cmp(&self, other: &Score) -> std::cmp::Ordering {
        self.0.partial_cmp(&other.0).unwrap()
    }
}

#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
    order: BTreeSet<(Score, Vec<u8>)>,
}

impl Model {
    fn set(&mut self, member: &[u8], score: f64) -> bool {
        let old = self.scores.insert(member.to_vec(), score);
        if let Some(old) = old {
            self.order.remove(&(Score(old), member.to_vec()));
        }
        self.order.insert((Score(score), member.to_vec()));
        old.is_none()
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let old = self.scores.remove(member)?;
        self.order.remove(&(Score(old), member.to_vec()));
        Some(old)
    }

    fn remove_range(&mut self, from: usize, to: usize) {
        let gone: Vec<Vec<u8>> =
            self.elements().skip(from).take(to - from).map(|(m, _)| m.to_vec()).collect();
        for member in gone {
            assert!(self.remove(&member).is_some());
        }
    }

    fn elements(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.order.iter().map(|(score, member)| (&member[..], score.0))
    }

    fn count(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.elements().filter(|(member, score)| before(*score, member)).count()
    }
}

/// Checks that the set is sound and agrees with the model.
fn compare(set: &SortedSet, model: &Model) {
    set.check();
    let all: Vec<_> = model.elements().map(|(m, s)| (m, s.to_bits())).collect();
    assert_eq!(set.iter().map(|(m, s)| (m, s.to_bits())).collect::<Vec<_>>(), all);
    let len = set.len();
    let backwards: Vec<_> =
        set.range(len.saturating_sub(1), len, true).map(|(m, s)| (m, s.to_bits())).collect();
    assert!(backwards.iter().eq(all.iter().rev()));
}

/// A short member, or a longer one.
fn member(n: u32) -> Vec<u8> {
    if n.is_multiple_of(7) { vec![b'x'; n as usize % 300] } else { format!("member:{n}").into_bytes() }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, f64),
    Shift(u32, f64),
    Remove(u32),
    RemoveRange(f64, f64),
    Append(u8),
    Prepend(u8),
    PopFirst(u8),
    PopLast(u8),
    Duplicate,
    /// Moves blocks to other addresses, as a defragmentation does.
    Move(MoveCursor, usize),
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-30i32..30).prop_map(f64::from),
        4 => -1e3..1e3f64,
        1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..900u32, score()).prop_map(|(n, s)| Step::Set(n, s)),
        4 => (0..900u32, -3.0..3.0f64).prop_map(|(n, s)| Step::Shift(n, s)),
        6 => (0..900u32).prop_map(Step::Remove),
        1 => (0.0..1.0f64, 0.0..0.3f64).prop_map(|(a, b)| Step::RemoveRange(a, b)),
        1 => any::<u8>().prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Prepend),
        1 => any::<u8>().prop_map(Step::PopFirst),
        1 => any::<u8>().prop_map(Step::PopLast),
        1 => Just(Step::Duplicate),
        3 => (any::<bool>(), any::<u64>(), 1..300usize).prop_map(|(second, at, most)| Step::Move(MoveCursor { second, at: at % 1000 }, most)),
    ]
}

/// Applies the step to both.
fn apply(set: &mut SortedSet, model: &mut Model, step: &Step) {
    let pop = |set: &mut SortedSet, model: &mut Model, from: usize, to: usize| {
        set.remove_range(from, to);
        model.remove_range(from, to);
    };
    let len = set.len();
    match *step {
        Step::Set(n, score) => assert_eq!(set.set(&member(n), score), model.set(&member(n), score)),
        Step::Shift(n, by) => {
            let member = member(n);
            if let Some(score) = set.score(&member).filter(|score| score.is_finite()) {
                assert!(!set.set(&member, score + by));
                model.set(&member, score + by);
            }
        }
        Step::Remove(n) => {
            let member = member(n);
            assert_eq!(set.remove(&member).map(f64::to_bits), model.remove(&member).map(f64::to_bits));
        }
        Step::RemoveRange(at, share) => {
            let from = (len as f64 * at) as usize;
            let to = (from + (len as f64 * share) as usize).min(len);
            pop(set, model, from, to);
        }
        Step::Append(count) | Step::Prepend(count) => {
            let ahead = matches!(step, Step::Prepend(_));
            let end = if ahead { 0 } else { len.saturating_sub(1) };
            let end = set.range(end, usize::from(len > 0), false).next().map_or(0.0, |(_, score)| score);
            let end = end.clamp(-1e6, 1e6);
            for i in 1..=i32::from(count) {
                let score = if ahead { end - f64::from(i) } else { end + f64::from(i) };
                let member = format!("end:{ahead}:{i}");
                assert_eq!(set.set(member.as_bytes(), score), model.set(member.as_bytes(), score));
            }
        }
        Step::PopFirst(count) => pop(set, model, 0, len.min(count.into())),
        Step::PopLast(count) => pop(set, model, len - len.min(count.into()), len),
        Step::Duplicate => *set = set.duplicate(),
        Step::Move(cursor, most) => {
            ALL_LEAVE.set(true);
            let mut moves = Moves::default();
            set.defragment(cursor, most, &mut moves);
            ALL_LEAVE.set(false);
            assert!(moves.stayed == 0 && (moves.moved > 0 || cursor.at > 0 || set.is_empty()));
        }
    }
}

proptest! {
    #[test]
    fn a_large_sorted_set_behaves_like_an_ordered_set(steps in prop::collection::vec(step(), 1..400)) {
        let (mut set, mut model) = (SortedSet::new(*SEED), Model::default());
        for (i, step) in steps.iter().enumerate() {
            apply(&mut set, &mut model, step);
            prop_assert_eq!(set.len(), model.scores.len());
            if i % 16 == 0 {
                compare(&set, &model);
            }
        }
        compare(&set, &model);
    }

    #[test]
    fn ranks_and_ranges_are_where_they_should_be(
        elements in prop::collection::vec((0..2000u32, score()), 0..700),
        probes in prop::collection::vec((score(), 0..2000u32, 0.0..1.0f64, 0.0..1.0f64), 1..20),
        gathered: bool,
    ) {
        let mut model = Model::default();
        for (n, score) in &elements {
            model.set(&member(*n), *score);
        }
        let mut set = SortedSet::new(*SEED);
        let mut gather = Gather::with_room(*SEED, 3);
        for (member, score) in &model.scores {
            if gathered {
                gather.insert(gather.hash(member), member, *score);
            } else {
                set.set(member, *score);
            }
        }
        if gathered {
            set = gather.finish();
        }
        compare(&set, &model);
        for (rank, (member, score)) in model.elements().enumerate() {
            prop_assert_eq!(set.rank(member), Some((rank, score)));
        }
        for (score, n, from, share) in probes {
            prop_assert_eq!(set.partition_scores(|s| s < score), model.count(|s, _| s < score));
            prop_assert_eq!(set.partition_scores(|s| s <= score), model.count(|s, _| s <= score));
            prop_assert!(set.partition_members(|m| m < &member(n)[..]) <= set.len());
            let from = (set.len() as f64 * from) as usize;
            let count = ((set.len() - from) as f64 * share) as usize;
            let forwards: Vec<_> = set.range(from, count, false).collect();
            prop_assert_eq!(&forwards, &model.elements().skip(from).take(count).collect::<Vec<_>>());
            let backwards: Vec<_> = set.range((from + count).saturating_sub(1), count, true).collect();
            prop_assert!(backwards.iter().eq(forwards.iter().rev()));
        }
    }

    /// The elements arrive from the last to the first, except for a few that are swapped.
    #[test]
    fn a_set_is_the_same_in_whatever_order_its_elements_arrive(
        elements in prop::collection::vec((0..2000u32, score()), 0..500),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        room in 0..700usize,
        removed in prop::collection::vec(0..2000u32, 0..100),
    ) {
        let mut model = Model::default();
        for (n, score) in &elements {
            model.set(&member(*n), *score);
        }
        let mut order: Vec<(Vec<u8>, f64)> =
            model.elements().map(|(member, score)| (member.to_vec(), score)).collect();
        order.reverse();
        for (one, other) in swaps {
            if !order.is_empty() {
                let (one, other) = (one.index(order.len()), other.index(order.len()));
                order.swap(one, other);
            }
        }
        let mut arriving = Arriving::with_room(*SEED, room);
        for (member, score) in &order {
            prop_assert!(arriving.add(member, *score));
            prop_assert!(!arriving.add(member, score + 1.0), "it has been added");
        }
        let mut set = arriving.finish();
        compare(&set, &model);
        for n in removed {
            prop_assert_eq!(set.remove(&member(n)), model.remove(&member(n)));
        }
        compare(&set, &model);
    }

    #[test]
    fn members_of_one_score_are_in_the_order_of_their_bytes(mut numbers in prop::collection::vec(0..5000u32, 0..600)) {
        let mut set = SortedSet::new(*SEED);
        for n in &numbers {
            set.set(&n.to_be_bytes(), 1.0);
        }
        set.check();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert!(set.iter().map(|(m, _)| m.to_vec()).eq(numbers.iter().map(|n| n.to_be_bytes().to_vec())));
        for probe in [0u32, 1, 17, 2500, 4999, 5000] {
            let before = set.partition_members(|m| m < &probe.to_be_bytes()[..]);
            prop_assert_eq!(before, numbers.iter().filter(|n| **n < probe).count());
        }
    }
}

/// Nodes are full behind inserts at an end, and take the memory that the head of the module states.
#[test]
fn ascending_and_descending_inserts_leave_full_leaves_behind() {
    for descending in [false, true] {
        let mut set = SortedSet::new(*SEED);
        let empty = set.memory_bytes();
        for n in 0..4000 {
            let score = if descending { -f64::from(n) } else { f64::from(n) };
            set.set(format!("{n:017}").as_bytes(), score);
        }
        set.check();
        let tree = set.memory_bytes() - empty - 4000 * 28;
        // The small nodes of tests take more memory per element than real ones.
        assert!(tree < 4000 * 45, "{} bytes per element", tree / 4000);
    }
}

#[test]
fn an_emptied_set_owns_no_more_than_a_new_one() {
    let mut set = SortedSet::new(*SEED);
    let empty = set.memory_bytes();
    for round in 0..3 {
        for n in 0..1000 {
            set.set(&member(n), f64::from(n % 50));
        }
        if round == 0 {
            set.remove_range(0, set.len());
        } else {
            (0..1000).for_each(|n| {
                set.remove(&member(n));
            });
        }
        set.check();
        assert_eq!((set.len(), set.memory_bytes()), (0, empty));
    }
}

#[test]
fn a_scan_returns_every_element_that_is_there_throughout_while_others_are_removed() {
    let member = |n: u32| format!("m{n}").into_bytes();
    for by_range in [false, true] {
        let mut set = SortedSet::new(*SEED);
        for n in 0..3_000_u32 {
            set.set(&member(n), f64::from(n));
        }
        let (mut seen, mut cursor, mut left) = (BTreeSet::new(), 0, 3_000);
        loop {
            cursor = set.scan(cursor, &mut |member, _| _ = seen.insert(member.to_vec()));
            if cursor == 0 {
                break;
            }
            let to = (left - 20).max(50);
            if by_range {
                set.remove_range(to as usize, left as usize);
            } else {
                (to..left).for_each(|n| _ = set.remove(&member(n)).expect("it is there"));
            }
            left = to;
        }
        assert!(left < 1_000, "{left} left: it has shrunk");
        assert!((0..50).all(|n| seen.contains(&member(n))));
    }
}

#[test]
fn a_scan_returns_every_element_that_is_there_throughout() {
    let mut set = SortedSet::new(*SEED);
    for n in 0..500 {
        set.set(&member(n), f64::from(n));
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    let mut extra = 10_000;
    loop {
        cursor = set.scan(cursor, &mut |member, _| {
            seen.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
        for _ in 0..20 {
            set.set(&member(extra), 0.5);
            extra += 1;
        }
    }
    assert!((0..500).all(|n| seen.contains(&member(n))));
}

#[test]
fn a_sorted_set_that_has_shrunk_gives_its_memory_back() {
    for by_range in [false, true] {
        let mut set = SortedSet::new(*SEED);
        for n in 0..50_000_u32 {
            set.set(format!("m{n}").as_bytes(), n.into());
        }
        if by_range {
            set.remove_range(10, 50_000);
        } else {
            for n in 10..50_000_u32 {
                set.remove(format!("m{n}").as_bytes()).unwrap();
            }
        }
        set.check();
        assert!(set.memory_bytes() < 4_000, "{} bytes for 10 elements", set.memory_bytes());
    }
}

mod entries {
    use super::super::*;
    use super::{Model, SEED, score};
    use crate::types::random::Tally;
    use proptest::prelude::*;

    fn shapes() -> Shapes {
        Shapes { zset_max_listpack_entries: 12, zset_max_listpack_value: 10, ..Shapes::new(*SEED) }
    }

    /// Numbers in canonical and other spellings, short and long names.
    fn member(n: u32) -> Vec<u8> {
        match n % 5 {
            0 => (i64::from(n) * 1_234_567).to_string().into_bytes(),
            1 => format!("0{n}").into_bytes(),
            2 => vec![b'm'; n as usize % 12],
            _ => format!("m{n}").into_bytes(),
        }
    }

    fn elements(entry: &Entry) -> Vec<(Vec<u8>, f64)> {
        SortedSetRef::of(entry).iter().map(|(member, score)| (member.to_vec(), score)).collect()
    }

    fn compare(entry: &Entry, model: &Model) {
        let expected: Vec<(Vec<u8>, f64)> = model.elements().map(|(m, s)| (m.to_vec(), s)).collect();
        assert_eq!(elements(entry), expected);
        let set = SortedSetRef::of(entry);
        let len = set.len();
        assert_eq!(len, expected.len());
        let backwards: Vec<_> = set.span(0..len, true).map(|(m, s)| (m.to_vec(), s)).collect();
        assert!(backwards.iter().eq(expected.iter().rev()));
        for (rank, (member, score)) in expected.iter().enumerate() {
            assert_eq!(set.rank(member), Some((rank, *score)));
            assert_eq!(set.score(member), Some(*score));
        }
        if let SortedSetRef::Packed(listpack) = set {
            assert!(len == 0 || is_packed_sorted_set(listpack));
        }
    }

    proptest! {
        #[test]
        fn an_entry_behaves_like_an_ordered_set_in_either_encoding(
            steps in prop::collection::vec((0..60u32, score(), 0..10u8, 0..16usize), 1..80),
            most in 0..20usize,
        ) {
            let shapes = Shapes { zset_max_listpack_entries: most, ..shapes() };
            let mut entry = create(b"key", 3, 1, &shapes);
            let mut model = Model::default();
            for (n, score, what, at) in steps {
                let member = member(n);
                let len = model.scores.len();
                match what {
                    0 | 1 => prop_assert_eq!(remove(&mut entry, &member), model.remove(&member)),
                    2 => {
                        let span = at.min(len)..(at + n as usize % 4).min(len);
                        remove_span(&mut entry, span.clone());
                        model.remove_range(span.start, span.end);
                    }
                    3 => {
                        let how = How { add: true, ..How::default() };
                        let old = model.scores.get(&member).copied();
                        let sum = old.map_or(score, |old| old + score);
                        match apply(&mut entry, &member, score, how, &shapes) {
                            Err(NotANumber) => prop_assert!(sum.is_nan()),
                            Ok(applied) => {
                                prop_assert_eq!(applied == Applied::Added(sum), old.is_none());
                                model.set(&member, sum);
                            }
                        }
                    }
                    _ => {
                        let new = !model.scores.contains_key(&member);
                        let applied = apply(&mut entry, &member, score, How::default(), &shapes);
                        prop_assert_eq!(applied == Ok(Applied::Added(score)), new);
                        model.set(&member, score);
                    }
                }
                compare(&entry, &model);
            }
            let copy = entry.duplicate(b"copy");
            compare(&copy, &model);
        }

        #[test]
        fn flags_decide_by_the_current_score(old in score(), new in score(), there: bool, bits in 0..32u8) {
            let how = How {
                only_new: bits & 1 > 0,
                only_old: bits & 2 > 0,
                only_greater: bits & 4 > 0,
                only_less: bits & 8 > 0,
                add: bits & 16 > 0,
            };
            for most in [0, 10] {
                let shapes = Shapes { zset_max_listpack_entries: most, ..shapes() };
                let mut entry = create(b"key", 1, 1, &shapes);
                if there {
                    prop_assert_eq!(apply(&mut entry, b"m", old, How::default(), &shapes), Ok(Applied::Added(old)));
                }
                let sum = if how.add && there { old + new } else { new };
                let forbidden = if there {
                    how.only_new || how.only_greater && sum <= old || how.only_less && sum >= old
                } else {
                    how.only_old
                };
                let applied = apply(&mut entry, b"m", new, how, &shapes);
                let score = SortedSetRef::of(&entry).score(b"m");
                match applied {
                    Err(NotANumber) => prop_assert!(sum.is_nan() && there),
                    Ok(Applied::Refused) => prop_assert!(forbidden && score == there.then_some(old)),
                    Ok(Applied::Added(s)) => prop_assert!(!forbidden && !there && score == Some(s) && s == sum),
                    Ok(Applied::Same(s)) => prop_assert!(!forbidden && there && s == old && score == Some(s)),
                    Ok(Applied::Changed(s)) => prop_assert!(!forbidden && there && s == sum && score == Some(s)),
                }
            }
        }

        #[test]
        fn spans_are_the_same_in_either_encoding(
            scores in prop::collection::vec(-5i8..5, 0..12),
            (min, max) in (-6i8..6, -6i8..6),
            (min_open, max_open) in any::<(bool, bool)>(),
        ) {
            let range = ScoreRange { min: min.into(), min_open, max: max.into(), max_open };
            let inside = |score: f64| !range.is_above(score) && range.reaches(score);
            let name = |n: i8| [b'a' + (n + 6) as u8];
            let (low, high) = (name(min), name(max));
            let bound = |open: bool, name| if open { LexBound::Open(name) } else { LexBound::Closed(name) };
            let lex = LexRange { min: bound(min_open, &low), max: bound(max_open, &high) };
            for most in [0, 100] {
                let shapes = Shapes { zset_max_listpack_entries: most, ..shapes() };
                let (mut scored, mut named) = (create(b"key", 1, 1, &shapes), create(b"key", 1, 1, &shapes));
                for (i, score) in scores.iter().enumerate() {
                    apply(&mut scored, &[i as u8], (*score).into(), How::default(), &shapes).unwrap();
                    apply(&mut named, &name(*score), 1.0, How::default(), &shapes).unwrap();
                }
                let set = SortedSetRef::of(&scored);
                let found: Vec<f64> = set.span(set.score_span(&range), false).map(|(_, score)| score).collect();
                let expected: Vec<f64> = set.iter().map(|(_, score)| score).filter(|score| inside(*score)).collect();
                prop_assert_eq!(found, expected);
                let set = SortedSetRef::of(&named);
                for backwards in [false, true] {
                    let found: Vec<_> = set.span(set.lex_span(&lex, backwards), false).map(|(m, _)| m.to_vec()).collect();
                    let expected: Vec<_> = set.iter().map(|(m, _)| m.to_vec())
                        .filter(|m| !lex.is_above(m) && lex.reaches(m)).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn a_sorted_set_changes_its_encoding_where_redis_does() {
        let shapes = shapes();
        let mut set = create(b"key", 10, 1, &shapes);
        for n in 0..12 {
            apply(&mut set, format!("{n}").as_bytes(), n.into(), How::default(), &shapes).unwrap();
        }
        assert_eq!(set.encoding(), Encoding::Listpack);
        let mut long = set.duplicate(b"key");
        apply(&mut set, b"11", 3.5, How::default(), &shapes).unwrap();
        assert_eq!(set.encoding(), Encoding::Listpack, "no more members than before");
        apply(&mut set, b"12", 3.5, How::default(), &shapes).unwrap();
        assert_eq!(set.encoding(), Encoding::Skiplist, "too many members");
        remove(&mut long, b"3");
        apply(&mut long, b"eleven bytes", 3.5, How { only_old: true, ..How::default() }, &shapes).unwrap();
        assert_eq!(long.encoding(), Encoding::Listpack, "what is not added does not count");
        apply(&mut long, b"eleven bytes", 3.5, How::default(), &shapes).unwrap();
        assert_eq!(long.encoding(), Encoding::Skiplist, "a long member");
        assert_eq!(create(b"key", 11, 1, &shapes).encoding(), Encoding::Skiplist);
        for (count, encoding) in [(12, Encoding::Listpack), (13, Encoding::Skiplist)] {
            let mut gather = Gather::with_room(*SEED, 0);
            for n in 0..count {
                let name = format!("{n}");
                gather.insert(gather.hash(name.as_bytes()), name.as_bytes(), -f64::from(n));
            }
            let entry = create_from(b"key", gather.finish(), &shapes).unwrap();
            assert_eq!((entry.encoding(), elements(&entry).len()), (encoding, count as usize));
        }
        assert!(create_from(b"key", SortedSet::with_room(*SEED, 5), &shapes).is_none());
    }

    #[test]
    fn a_small_sorted_set_has_the_bytes_of_redis() {
        let shapes = Shapes::new(*SEED);
        let mut set = create(b"key", 1, 1, &shapes);
        for (member, score) in
            [(&b"b"[..], 2.5), (b"7", -0.0), (b"c", f64::INFINITY), (b"a", 1e30), (b"d", 300.0)]
        {
            apply(&mut set, member, score, How::default(), &shapes).unwrap();
        }
        let expected =
            b"\x2b\0\0\0\x0a\0\x07\x01\0\x01\x81b\x02\x832.5\x04\x81d\x02\xc1\x2c\x02\x81a\x02\x851e+30\x06\
                         \x81c\x02\x83inf\x04\xff";
        assert_eq!(set.packed().escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    /// Sorted sets in both forms, and one that was much larger.
    fn of_each_form() -> [(Entry, &'static str); 3] {
        let filled = |most, count: u16| {
            let shapes = Shapes { zset_max_listpack_entries: most, ..shapes() };
            let mut set = create(b"key", 1, 1, &shapes);
            for n in 0..count {
                apply(&mut set, &n.to_be_bytes(), (n / 3).into(), How::default(), &shapes).unwrap();
            }
            set
        };
        let mut shrunk = filled(0, 20_000);
        remove_span(&mut shrunk, 64..20_000);
        [(filled(100, 64), "packed"), (filled(0, 64), "large"), (shrunk, "one that has shrunk")]
    }

    #[test]
    fn every_element_is_drawn_equally_often() {
        for (set, what) in of_each_form() {
            let (mut random, mut tally) = (Random::new(7), Tally::default());
            for _ in 0..64_000 {
                let (member, _) = SortedSetRef::of(&set).random(&mut random).unwrap();
                tally.add(member.to_vec());
            }
            tally.assert_even(64, what);
        }
    }

    #[test]
    fn distinct_elements_are_drawn_equally_often() {
        for (set, what) in of_each_form() {
            let (set, mut random) = (SortedSetRef::of(&set), Random::new(11));
            for count in [1, 5, 21, 22, 40, 63, 64, 70] {
                let mut tally = Tally::default();
                for _ in 0..(100 * 64_usize).div_ceil(count) {
                    let mut seen = std::collections::BTreeSet::new();
                    set.sample_distinct(count, &mut random, &mut |(member, score)| {
                        assert_eq!(set.score(&member.to_vec()), Some(score));
                        assert!(seen.insert(member.to_vec()), "distinct");
                    });
                    assert_eq!(seen.len(), count.min(64));
                    for member in seen {
                        tally.add(member);
                    }
                }
                tally.assert_even(64, &format!("{what}, {count} distinct"));
            }
        }
    }
}
