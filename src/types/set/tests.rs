//! Sets against a model, through all three encodings.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::dict::Seed;
use crate::types::random::Tally;

fn small_shapes() -> Shapes {
    Shapes {
        set_max_intset_entries: 8,
        set_max_listpack_entries: 12,
        set_max_listpack_value: 10,
        ..Shapes::new(Seed::new([1, 2]))
    }
}

fn members(entry: &Entry) -> BTreeSet<Vec<u8>> {
    SetRef::of(entry).members().map(|member| member.to_vec()).collect()
}

#[test]
fn a_set_changes_its_encoding_where_redis_does() {
    let shapes = small_shapes();
    let mut set = create(b"k", b"1", 1, &shapes);
    for value in 0..8 {
        assert!(add(&mut set, value.to_string().as_bytes(), &shapes));
    }
    assert_eq!(set.encoding(), Encoding::Intset);
    let mut mixed = set.duplicate(b"k");
    assert!(add(&mut set, b"8", &shapes));
    assert_eq!(set.encoding(), Encoding::Hashtable, "too many integers");
    assert!(add(&mut mixed, b"word", &shapes));
    assert_eq!(mixed.encoding(), Encoding::Listpack);
    let mut long = mixed.duplicate(b"k");
    for value in 9..12 {
        assert!(add(&mut mixed, value.to_string().as_bytes(), &shapes));
    }
    assert_eq!((mixed.encoding(), SetRef::of(&mixed).len()), (Encoding::Listpack, 12));
    assert!(!add(&mut mixed, b"word", &shapes) && mixed.encoding() == Encoding::Listpack);
    assert!(add(&mut mixed, b"13", &shapes) && mixed.encoding() == Encoding::Hashtable, "too many");
    assert!(add(&mut long, b"12345678901", &shapes) && long.encoding() == Encoding::Hashtable, "too long");
    assert_eq!(create(b"k", b"1", 9, &shapes).encoding(), Encoding::Listpack);
    assert_eq!(create(b"k", b"x", 13, &shapes).encoding(), Encoding::Hashtable);
}

/// A set of `count` members, integers or words.
fn filled(count: usize, words: bool) -> Entry {
    let shapes = small_shapes();
    let word = if words { "w" } else { "" };
    let mut set = create(b"k", format!("{word}0").as_bytes(), 1, &shapes);
    for i in 0..count {
        add(&mut set, format!("{word}{i}").as_bytes(), &shapes);
    }
    set
}

/// A set of each encoding; the last one is a table that was much larger.
fn of_each_encoding() -> [(Entry, &'static str); 5] {
    [
        (filled(8, false), "intset"),
        (filled(10, true), "listpack"),
        (filled(10, false), "table of few"),
        (filled(60, true), "table"),
        (shrunk_table(5_000, 60), "table that has shrunk"),
    ]
}

#[test]
fn every_member_is_drawn_equally_often() {
    for (set, what) in of_each_encoding() {
        let (set, mut random, mut tally) = (SetRef::of(&set), Random::new(7), Tally::default());
        for _ in 0..100 * set.len() {
            tally.add(set.random(&mut random).expect("a member").to_vec());
        }
        tally.assert_even(set.len(), what);
    }
}

#[test]
fn distinct_members_are_drawn_equally_often() {
    for (set, what) in of_each_encoding() {
        let (set, mut random) = (SetRef::of(&set), Random::new(11));
        let len = set.len();
        for count in [1, len / 4, len / 2, len - 1, len, len + 5] {
            let mut tally = Tally::default();
            for _ in 0..(60 * len).div_ceil(count) {
                let mut seen = BTreeSet::new();
                set.sample_distinct(count, &mut random, &mut |member| {
                    assert!(seen.insert(member.to_vec()), "distinct");
                });
                assert_eq!(seen.len(), count.min(len));
                for member in seen {
                    tally.add(member);
                }
            }
            tally.assert_even(len, &format!("{what}, {count} distinct"));
        }
    }
}

#[test]
fn every_member_is_popped_first_and_last_equally_often() {
    for (set, what) in of_each_encoding() {
        let len = SetRef::of(&set).len();
        let (mut random, mut first, mut last) = (Random::new(13), Tally::default(), Tally::default());
        for _ in 0..40 * len {
            let mut set = set.duplicate(b"k");
            pop(&mut set, &mut random, |member| first.add(member.to_vec()));
        }
        first.assert_even(len, &format!("{what}, the first"));
        // The member that remains after all others: each pop is even regardless of the pops before it.
        if len <= 10 {
            for _ in 0..40 * len {
                let mut set = set.duplicate(b"k");
                (1..len).for_each(|_| pop(&mut set, &mut random, |_| {}));
                last.add(SetRef::of(&set).members().next().expect("one is left").to_vec());
            }
            last.assert_even(len, &format!("{what}, the last"));
        }
    }
}

#[test]
fn a_scan_of_a_table_that_shrinks_returns_all_that_was_there() {
    let shapes = small_shapes();
    for seed in 0..20 {
        let mut set = filled(0, true);
        for i in 0..3_000 {
            add(&mut set, format!("w{i}").as_bytes(), &shapes);
        }
        let (mut random, mut seen, mut cursor, mut left) = (Random::new(seed), BTreeSet::new(), 0, 3_000);
        loop {
            cursor = SetRef::of(&set).scan(cursor, &mut |member| _ = seen.insert(member.to_vec()));
            if cursor == 0 {
                break;
            }
            for _ in 0..random.below(40) {
                if left > 50 {
                    left -= 1;
                    assert!(remove(&mut set, format!("w{left}").as_bytes()));
                }
            }
        }
        assert!(left < 1_000, "{left} left: it has shrunk");
        assert!((0..50).all(|i| seen.contains(format!("w{i}").as_bytes())), "seed {seed}");
    }
}

#[test]
fn a_scan_of_a_table_that_grows_returns_all_that_was_there() {
    let shapes = small_shapes();
    let mut set = create(b"k", b"x", 100, &shapes);
    for i in 0..1000 {
        add(&mut set, format!("old{i}").as_bytes(), &shapes);
    }
    let (mut seen, mut cursor, mut more) = (BTreeSet::new(), 0, 0);
    loop {
        cursor = SetRef::of(&set).scan(cursor, &mut |member| {
            seen.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
        for _ in 0..20 {
            more += 1;
            add(&mut set, format!("new{more}").as_bytes(), &shapes);
        }
    }
    assert!(more > 100);
    assert!((0..1000).all(|i| seen.contains(format!("old{i}").as_bytes())));
}

proptest! {
    #[test]
    fn a_set_behaves_like_a_btree_set(
        steps in prop::collection::vec((0..4_u8, prop_oneof!["[0-9]{1,3}", "-?[1-9][0-9]{3,18}", "[a-c]{1,12}"]), 1..150),
    ) {
        let shapes = small_shapes();
        let mut model = BTreeSet::new();
        let mut set = create(b"k", b"1", 1, &shapes);
        let mut random = Random::new(steps.len() as u64);
        for (what, member) in steps {
            let member = member.into_bytes();
            match what {
                0 | 1 => prop_assert_eq!(add(&mut set, &member, &shapes), model.insert(member.clone())),
                2 => prop_assert_eq!(remove(&mut set, &member), model.remove(&member)),
                _ if model.is_empty() => {}
                _ => {
                    let mut popped = Vec::new();
                    pop(&mut set, &mut random, |member| popped = member.to_vec());
                    prop_assert!(model.remove(&popped));
                }
            }
            prop_assert_eq!(SetRef::of(&set).len(), model.len());
            prop_assert_eq!(SetRef::of(&set).contains(&member), model.contains(&member));
        }
        prop_assert_eq!(members(&set), model.clone());
        prop_assert_eq!(members(&set.duplicate(b"other")), model);
    }
}

/// A table that had `of` members, of which `left` remain.
fn shrunk_table(of: usize, left: usize) -> Entry {
    let shapes = Shapes { seed: Seed::new([1, 2]), ..small_shapes() };
    let mut set = create(b"k", b"x", 100, &shapes);
    for i in 0..of {
        add(&mut set, format!("m{i}").as_bytes(), &shapes);
    }
    for i in left..of {
        assert!(remove(&mut set, format!("m{i}").as_bytes()));
    }
    set
}

#[test]
fn a_table_that_has_shrunk_gives_its_memory_back_and_draws_its_members_equally_often() {
    for left in [1, 2, 10, 700, 5_000] {
        let set = shrunk_table(50_000, left);
        let bytes = set.memory_bytes();
        assert!(bytes <= 400 + left * 250, "{bytes} bytes for {left} members");
        let (mut random, mut tally) = (Random::new(3), Tally::default());
        for _ in 0..50 * left {
            tally.add(SetRef::of(&set).random(&mut random).expect("a member").to_vec());
        }
        tally.assert_even(left, "a set that has shrunk");
    }
}

#[test]
fn a_table_that_was_popped_nearly_empty_gives_its_memory_back() {
    let mut set = shrunk_table(100_000, 100_000);
    let mut random = Random::new(3);
    for _ in 0..99_000 {
        pop(&mut set, &mut random, |_| {});
    }
    assert!(set.memory_bytes() <= 250_000, "{} bytes for 1,000 members", set.memory_bytes());
}

#[test]
fn unused_reserved_room_is_given_up() {
    let shapes = small_shapes();
    let mut set = create(b"k", b"x", 100_000, &shapes);
    for i in 0..100_000 {
        add(&mut set, format!("m{}", i % 10).as_bytes(), &shapes);
    }
    settle(&mut set);
    assert!(set.memory_bytes() < 4_000, "{} bytes for 10 members", set.memory_bytes());
}
