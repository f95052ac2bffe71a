//! Lists against a vector, through both encodings, with and without compression.

use proptest::prelude::*;

use super::*;
use crate::dict::Seed;

fn shapes(fill: i32, depth: u32, plain: usize) -> Shapes {
    Shapes {
        list_max_listpack_size: fill,
        list_compress_depth: depth,
        list_packed_threshold: plain,
        ..Shapes::new(Seed::plain())
    }
}

fn elements(entry: &Entry) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    forwards(entry, 0, &mut |text| {
        all.push(text.to_vec());
        true
    });
    all
}

fn push_one(entry: &mut Entry, end: End, value: &[u8], shapes: &Shapes) {
    expect(entry, [value].into_iter(), shapes);
    push(entry, end, value, shapes);
}

#[test]
fn a_list_changes_its_encoding_at_the_size_of_a_node_and_back_at_half_of_it() {
    let shapes = shapes(4, 0, 1 << 30);
    let mut list = create(b"k");
    for i in 0..4 {
        push_one(&mut list, End::Back, i.to_string().as_bytes(), &shapes);
    }
    assert_eq!(list.encoding(), Encoding::Listpack);
    push_one(&mut list, End::Back, b"4", &shapes);
    assert_eq!((list.encoding(), len(&list)), (Encoding::Quicklist, 5));
    for left in [4, 3, 2] {
        pop(&mut list, End::Back, &shapes, |_| ());
        shrink(&mut list, &shapes);
        let encoding = if left > 2 { Encoding::Quicklist } else { Encoding::Listpack };
        assert_eq!((list.encoding(), len(&list)), (encoding, left));
    }
    assert_eq!(elements(&list), [b"0", b"1"]);
}

#[test]
fn a_huge_element_is_a_node_of_its_own() {
    let shapes = shapes(-2, 0, 100);
    let mut list = create(b"k");
    push_one(&mut list, End::Back, b"small", &shapes);
    push_one(&mut list, End::Back, &[b'x'; 100], &shapes);
    push_one(&mut list, End::Back, b"17", &shapes);
    let mut nodes = Vec::new();
    quicklist(&list).for_each_node(|plain, _| nodes.push(plain));
    assert_eq!(nodes, [false, true, false]);
    set(&mut list, 1, b"smaller", &shapes);
    set(&mut list, 0, &[b'y'; 200], &shapes);
    assert_eq!(elements(&list), [&[b'y'; 200][..], b"smaller", b"17"]);
}

#[test]
fn a_number_in_a_node_of_its_own_is_found() {
    let mut list = Quicklist::default();
    for value in [&b"123"[..], b"0123", b"", b"123"] {
        list.push_node(true, value, &shapes(-2, 0, 1 << 30));
    }
    let mut list = Entry::with_container(b"k", list, None);
    push_one(&mut list, End::Back, b"123", &shapes(-2, 0, 1 << 30));
    let mut found = Vec::new();
    forwards(&list, 0, &mut |text| {
        found.push(Needle::new(b"123").is(text));
        true
    });
    assert_eq!(found, [true, false, false, true, true]);
    assert_eq!(remove_matching(&mut list, b"123", 2, End::Back, &shapes(-2, 0, 1 << 30)), 2);
    assert_eq!(elements(&list), [&b"123"[..], b"0123", b""]);
}

#[test]
fn elements_pushed_in_front_lie_in_nodes_of_the_configured_size() {
    let shapes = shapes(-2, 0, 1 << 30);
    let (mut front, mut back) = (create(b"k"), create(b"k"));
    let sizes = |list: &Entry| {
        let mut sizes = Vec::new();
        quicklist(list).for_each_node(|_, bytes| sizes.push(bytes.len()));
        sizes
    };
    for i in 0..3000_usize {
        let value = vec![b'v'; i % 40];
        push_one(&mut front, End::Front, &value, &shapes);
        push_one(&mut back, End::Back, &value, &shapes);
        if front.encoding() == Encoding::Listpack {
            continue;
        }
        let mut mirrored = sizes(&back);
        mirrored.reverse();
        assert_eq!(sizes(&front), mirrored);
        assert_eq!(quicklist(&front).node_count(), mirrored.len());
    }
    assert!(quicklist(&front).node_count() > 5);
    let mut reversed = elements(&back);
    reversed.reverse();
    assert_eq!(elements(&front), reversed);
    while len(&front) > 0 {
        pop(&mut front, End::Back, &shapes, |_| ());
        pop(&mut back, End::Front, &shapes, |_| ());
        shrink(&mut front, &shapes);
        shrink(&mut back, &shapes);
        assert_eq!(front.encoding(), back.encoding());
    }
}

#[test]
fn nodes_between_the_ends_are_compressed() {
    let compressed = shapes(-1, 1, 1 << 30);
    let plain = shapes(-1, 0, 1 << 30);
    let (mut list, mut other) = (create(b"k"), create(b"k"));
    for i in 0..5000 {
        let value = format!("an element that looks like all others {i}");
        push_one(&mut list, End::Front, value.as_bytes(), &compressed);
        push_one(&mut other, End::Front, value.as_bytes(), &plain);
    }
    assert!(list.memory_bytes() * 2 < other.memory_bytes());
    assert_eq!(elements(&list), elements(&other));
}

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<u8>),
    Pop(End),
    PopEach(End, usize),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    RemoveRange(usize, usize),
    RemoveMatching(Vec<u8>, usize, End),
    Read(usize),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ab]".prop_map(String::into_bytes),
        4 => (-300_i64..70_000).prop_map(|n| n.to_string().into_bytes()),
        2 => (0..300_usize).prop_map(|n| vec![b'v'; n]),
        1 => (4000..9000_usize).prop_map(|n| vec![b'l'; n]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (end(), value()).prop_map(|(e, v)| Step::Push(e, v)),
        2 => end().prop_map(Step::Pop),
        1 => (end(), 0..30_usize).prop_map(|(e, n)| Step::PopEach(e, n)),
        2 => (any::<usize>(), value()).prop_map(|(i, v)| Step::Set(i, v)),
        4 => (any::<usize>(), value()).prop_map(|(i, v)| Step::Insert(i, v)),
        1 => (any::<usize>(), 0..12_usize).prop_map(|(i, n)| Step::RemoveRange(i, n)),
        1 => (value(), 1..4_usize, end()).prop_map(|(v, n, e)| Step::RemoveMatching(v, n, e)),
        2 => any::<usize>().prop_map(Step::Read),
    ]
}

/// One of a few values, so that LREM finds many.
fn compressible() -> impl Strategy<Value = Vec<u8>> {
    (0..6_u8, prop_oneof![4 => Just(60_usize), 1 => Just(90), 1 => Just(500)])
        .prop_map(|(n, len)| vec![b'a' + n; len])
}

/// A change anywhere in a list.
fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (end(), compressible()).prop_map(|(e, v)| Step::Push(e, v)),
        2 => end().prop_map(Step::Pop),
        1 => (end(), 0..30_usize).prop_map(|(e, n)| Step::PopEach(e, n)),
        2 => (any::<usize>(), compressible()).prop_map(|(i, v)| Step::Set(i, v)),
        3 => (any::<usize>(), compressible()).prop_map(|(i, v)| Step::Insert(i, v)),
        3 => (any::<usize>(), 0..30_usize).prop_map(|(i, n)| Step::RemoveRange(i, n)),
        2 => (compressible(), 1..40_usize, end()).prop_map(|(v, n, e)| Step::RemoveMatching(v, n, e)),
    ]
}

fn check(list: &Entry, shapes: &Shapes) {
    if list.encoding() == Encoding::Quicklist {
        quicklist(list).check(shapes.list_compress_depth as usize);
    }
}

fn remove_from_model(model: &mut Vec<Vec<u8>>, value: &[u8], most: usize, from: End) -> usize {
    let mut places: Vec<usize> = (0..model.len()).filter(|i| model[*i] == value).collect();
    if from == End::Back {
        places.reverse();
    }
    places.truncate(most);
    places.sort_unstable();
    for place in places.iter().rev() {
        model.remove(*place);
    }
    places.len()
}

fn apply(list: &mut Entry, model: &mut Vec<Vec<u8>>, step: Step, shapes: &Shapes) {
    match step {
        Step::Push(end, value) => {
            push_one(list, end, &value, shapes);
            model.insert(if end == End::Front { 0 } else { model.len() }, value);
        }
        Step::Pop(end) if !model.is_empty() => {
            let expected = model.remove(if end == End::Front { 0 } else { model.len() - 1 });
            pop(list, end, shapes, |text| assert_eq!(text.to_vec(), expected));
        }
        Step::PopEach(end, count) => {
            let count = count.min(model.len());
            let mut expected: Vec<Vec<u8>> = match end {
                End::Front => model.drain(..count).collect(),
                End::Back => model.drain(model.len() - count..).rev().collect(),
            };
            expected.reverse();
            pop_each(list, end, count, shapes, &mut |text| assert_eq!(Some(text.to_vec()), expected.pop()));
            assert!(expected.is_empty());
        }
        Step::Set(index, value) if !model.is_empty() => {
            let index = index % model.len();
            expect(list, [&value[..]].into_iter(), shapes);
            set(list, index, &value, shapes);
            model[index] = value;
        }
        Step::Insert(index, value) => {
            let index = index % (model.len() + 1);
            expect(list, [&value[..]].into_iter(), shapes);
            insert(list, index, &value, shapes);
            model.insert(index, value);
        }
        Step::RemoveRange(index, count) if !model.is_empty() => {
            let index = index % model.len();
            let count = count.min(model.len() - index);
            remove_range(list, index, count, shapes);
            model.drain(index..index + count);
        }
        Step::RemoveMatching(value, most, from) => {
            let removed = remove_matching(list, &value, most, from, shapes);
            assert_eq!(removed, remove_from_model(model, &value, most, from));
        }
        Step::Read(index) if !model.is_empty() => {
            let index = index % model.len();
            assert_eq!(get(list, index, |text| text.to_vec()).as_ref(), Some(&model[index]));
            let mut back = Vec::new();
            backwards(list, index, &mut |text| {
                back.push(text.to_vec());
                true
            });
            back.reverse();
            assert_eq!(back, model[..=index]);
        }
        _ => {}
    }
    shrink(list, shapes);
}

proptest! {
    #[test]
    fn a_list_is_a_sequence(
        fill in prop_oneof![Just(-2), Just(-1), Just(3), Just(1), Just(0), Just(50)],
        depth in 0..4_u32,
        plain in prop_oneof![Just(1_usize << 30), Just(200), Just(2)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let shapes = shapes(fill, depth, plain);
        let (mut list, mut model) = (create(b"k"), Vec::new());
        for step in steps {
            apply(&mut list, &mut model, step, &shapes);
            prop_assert_eq!(len(&list), model.len());
            check(&list, &shapes);
        }
        prop_assert_eq!(elements(&list), model.clone());
        prop_assert_eq!(elements(&list.duplicate(b"copy")), model.clone());
        prop_assert_eq!(get(&list, model.len(), |_| ()), None);
    }
    /// The same with compressible nodes, so many that most of them are between the ends.
    #[test]
    fn nodes_between_the_ends_are_compressed_again_after_every_change(
        fill in prop_oneof![Just(1), Just(3), Just(8), Just(30)],
        depth in 1..5_u32,
        mut model in prop::collection::vec(compressible(), 40..400),
        steps in prop::collection::vec(change(), 1..40),
    ) {
        let shapes = shapes(fill, depth, 400);
        let mut list = create(b"k");
        for value in &model {
            push_one(&mut list, End::Back, value, &shapes);
        }
        check(&list, &shapes);
        for step in steps {
            apply(&mut list, &mut model, step, &shapes);
            check(&list, &shapes);
        }
        prop_assert_eq!(elements(&list), model);
    }
}
