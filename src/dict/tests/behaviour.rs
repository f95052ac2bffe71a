//! One behaviour per test.

use super::*;

fn filled(shape: Shape, count: u64) -> Dict<Block> {
    let mut dict = Dict::new(shape.seed());
    for n in 0..count {
        insert(&mut dict, &shape.key(n), n);
    }
    dict
}

fn finish_rehash(dict: &mut Dict<Block>) {
    while dict.rehash(64) {}
    assert!(!dict.is_rehashing());
}

#[test]
fn a_new_dict_owns_no_memory_and_holds_nothing() {
    let mut dict: Dict<Block> = Dict::new(Seed::new([1, 2]));
    assert_eq!((dict.len(), dict.memory_bytes(), dict.is_empty()), (0, 0, true));
    assert!(dict.find(dict.hash(b"a"), b"a").is_none());
    assert!(dict.random(&mut || 1).is_none());
    assert_eq!(dict.scan(0, &mut |_| panic!("there is nothing")), 0);
    assert_eq!(dict.iter().count(), 0);
    assert!(!dict.rehash(10) && !dict.shrink_if_sparse());
    dict.prefetch_bucket(7);
    dict.prefetch_entry(7);
    dict.clear();
    assert_eq!(dict.stats().main.buckets, 0);
}

#[test]
fn what_was_inserted_is_found_whatever_collides() {
    for shape in SHAPES {
        for count in [1, 6, 7, 8, 50, 300] {
            let dict = filled(shape, count);
            assert_sound(&dict);
            for n in 0..count {
                assert_eq!(value_of(&dict, &shape.key(n)), Some(n), "{shape:?}");
            }
            for n in count..count + 100 {
                assert_eq!(value_of(&dict, &shape.key(n)), None, "{shape:?}");
            }
            assert_eq!(dict.len(), count as usize);
        }
    }
}

#[test]
fn what_was_removed_is_gone_and_the_rest_is_found() {
    for shape in SHAPES {
        let mut dict = filled(shape, 400);
        for n in (0..400).step_by(3) {
            assert_eq!(remove(&mut dict, &shape.key(n)), Some(n));
            assert_eq!(remove(&mut dict, &shape.key(n)), None);
        }
        assert_sound(&dict);
        for n in 0..400 {
            assert_eq!(value_of(&dict, &shape.key(n)), (n % 3 != 0).then_some(n), "{shape:?}");
        }
    }
}

#[test]
fn the_last_removal_gives_up_the_memory() {
    for shape in SHAPES {
        for count in [1, 5, 30, 500] {
            for shared in [false, true] {
                let mut dict = filled(shape, count);
                let _shared = shared.then(Shared::new);
                for n in 0..count {
                    remove(&mut dict, &shape.key(n)).unwrap();
                }
                assert_eq!((dict.len(), dict.memory_bytes()), (0, 0), "{shape:?} {count}");
            }
        }
    }
}

#[test]
fn a_large_retired_table_is_kept_for_another_thread() {
    let mut dict = filled(Shape::Spread, 20_000);
    finish_rehash(&mut dict);
    // The table of 2,048 buckets that the last growth replaced: 128 KiB.
    let retired = dict.take_retired().expect("the table was large enough to be mapped");
    assert_eq!(retired.len_bytes(), 2048 * 64);
    std::thread::spawn(move || drop(retired)).join().unwrap();
    assert!(dict.take_retired().is_none());
    dict.clear();
    assert_eq!(dict.take_retired().map(|retired| retired.len_bytes()), Some(4096 * 64));
    assert_eq!(dict.memory_bytes(), 0);
}

#[test]
fn a_million_entries_need_no_more_than_seventeen_bytes_each() {
    let mut dict = Dict::new(Seed::new([5, 6]));
    for word in words(1_000_000, |n| n) {
        dict.insert(dict.hash(&word.get().to_le_bytes()), word);
    }
    while dict.rehash(1024) {}
    drop(dict.take_retired());
    assert_eq!(dict.memory_bytes(), (1 << 18) * 64);
    let stats = dict.stats();
    assert_eq!((stats.main.used, stats.main.buckets), (1_000_000, 1 << 18));
    let at_home = stats.main.displaced[0] + stats.main.displaced[1];
    assert!(
        at_home > 990_000,
        "at this load nearly all lie at home or beside it: {:?}",
        stats.main.displaced
    );
}

#[test]
fn an_item_that_moves_while_it_is_changed_is_followed() {
    let mut dict = filled(Shape::Spread, 100);
    for n in 0..100 {
        let key = Shape::Spread.key(n);
        let position = dict.find(dict.hash(&key), &key).unwrap();
        dict.get_mut(position).set_value(n + 1000);
        assert_eq!(dict.get(position).value(), n + 1000);
        assert_eq!(dict.replace(position, Block::new(&key, 7)).value(), n + 1000);
        assert_eq!(value_of(&dict, &key), Some(7));
    }
    assert_sound(&dict);
}

#[test]
fn a_forgotten_guard_loses_its_item_and_nothing_else() {
    let mut dict = filled(Shape::Spread, 50);
    let key = Shape::Spread.key(20);
    let position = dict.find(dict.hash(&key), &key).unwrap();
    let mut guard = dict.get_mut(position);
    guard.set_value(1);
    // Freed by hand, so that the test itself leaks nothing.
    let lost = unsafe_copy(&guard);
    std::mem::forget(guard);
    drop(lost);
    assert_eq!(value_of(&dict, &key), None);
    for n in (0..50).filter(|&n| n != 20) {
        assert_eq!(value_of(&dict, &Shape::Spread.key(n)), Some(n));
    }
}

fn unsafe_copy(block: &Block) -> Block {
    Block(block.0)
}

/// Runs `used`, which must panic over a position, and returns the message.
#[cfg(debug_assertions)]
fn failure(used: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(used)).expect_err("it panics");
    (*payload.downcast_ref::<&str>().expect("a literal message")).to_owned()
}

#[cfg(debug_assertions)]
#[test]
fn a_position_used_after_any_change_fails_in_a_debug_build_even_if_nothing_moved() {
    type Change = fn(&mut Dict<Block>);
    const MESSAGE: &str = "a position was used after its dict had changed";
    let changes: [(&str, Change); 6] = [
        ("insert", |dict| insert(dict, b"another key", 1)),
        ("remove", |dict| assert!(remove(dict, &Shape::Spread.key(7)).is_some())),
        ("step", |dict| dict.step()),
        ("rehash", |dict| assert!(!dict.rehash(1))),
        ("drain", |dict| assert!(dict.drain(0, 1, &mut drop).is_some())),
        ("clear", |dict| dict.clear()),
    ];
    for (name, change) in changes {
        let mut dict = filled(Shape::Spread, 10);
        let key = Shape::Spread.key(3);
        let position = dict.find(dict.hash(&key), &key).expect("it is there");
        change(&mut dict);
        assert_eq!(failure(|| assert!(dict.get(position).value() > 0)), MESSAGE, "get after {name}");
        assert_eq!(failure(|| dict.get_mut(position).set_value(0)), MESSAGE, "get_mut after {name}");
        assert_eq!(failure(|| drop(dict.remove(position))), MESSAGE, "remove after {name}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_position_of_another_dict_fails_in_a_debug_build() {
    let (one, other) = (filled(Shape::Spread, 10), filled(Shape::Spread, 10));
    let key = Shape::Spread.key(3);
    let position = one.find(one.hash(&key), &key).expect("it is there");
    assert_eq!(
        failure(|| assert!(other.get(position).value() > 0)),
        "a position was used after its dict had changed"
    );
}

#[test]
fn a_position_stays_good_while_entries_are_only_read_changed_or_replaced() {
    let mut dict = filled(Shape::Spread, 10);
    let (key, other) = (Shape::Spread.key(3), Shape::Spread.key(4));
    let position = dict.find(dict.hash(&key), &key).expect("it is there");
    let second = dict.find(dict.hash(&other), &other).expect("it is there, too");
    dict.get_mut(position).set_value(100);
    drop(dict.replace(second, Block::new(&other, 200)));
    dict.scan(0, &mut |_| {});
    assert_eq!((dict.get(position).value(), dict.get(second).value()), (100, 200));
}

#[cfg(not(debug_assertions))]
#[test]
#[should_panic(expected = "a position outlived its entry")]
fn a_stale_position_is_noticed() {
    let mut dict = filled(Shape::Spread, 5);
    let key = Shape::Spread.key(3);
    let position = dict.find(dict.hash(&key), &key).unwrap();
    drop(dict.remove(position));
    dict.get(position);
}

/// Fills 1,024 buckets with `count` entries and then replaces each of them `turns` times with a new one. Returns the
/// dict, and the largest number of marked buckets.
fn replaced_by_turns(count: u64, turns: u64) -> (Dict<Block>, usize) {
    let mut dict = filled(Shape::Spread, count);
    finish_rehash(&mut dict);
    assert_eq!(dict.stats().main.buckets, 1024);
    let (moves, mut most_marked) = (dict.moves(), 0);
    for n in count..turns * count {
        remove(&mut dict, &Shape::Spread.key(n - count)).unwrap();
        insert(&mut dict, &Shape::Spread.key(n), n);
        most_marked = most_marked.max(dict.main.ever_full());
    }
    assert_eq!(dict.moves(), moves, "nothing had to be rehashed");
    assert_sound(&dict);
    (dict, most_marked)
}

#[test]
fn removals_and_insertions_do_not_wear_a_table_out() {
    // Half full, fuller, and as full as it gets, with the share of buckets that such a table has marked.
    for (count, turns, most) in [(7 * 512, 15, 10), (5 * 1024, 10, 30), (1024 * 6, 10, 62)] {
        let (dict, most_marked) = replaced_by_turns(count, turns);
        assert_eq!(dict.stats().main.buckets, 1024);
        assert!(most_marked * 100 <= 1024 * most, "{most_marked} of 1,024 buckets were marked for {count}");
    }
}

#[test]
fn a_removal_takes_back_what_went_past_and_the_last_one_takes_the_mark_away() {
    // All of one home bucket: the chain is as long as it gets.
    let mut dict = filled(Shape::OneHash, 40);
    finish_rehash(&mut dict);
    for n in 0..40 {
        remove(&mut dict, &Shape::OneHash.key(n)).unwrap();
        assert_sound(&dict);
    }
}

#[test]
fn a_sparse_dict_shrinks_and_keeps_its_entries() {
    for shape in SHAPES {
        let mut dict = filled(shape, 2_000);
        finish_rehash(&mut dict);
        let before = dict.stats().main.buckets;
        for n in 20..2_000 {
            remove(&mut dict, &shape.key(n)).unwrap();
        }
        finish_rehash(&mut dict);
        while dict.shrink_if_sparse() {
            finish_rehash(&mut dict);
        }
        let after = dict.stats().main.buckets;
        assert!(after <= 16 && before >= 512, "{before} to {after}");
        assert_sound(&dict);
        for n in 0..20 {
            assert_eq!(value_of(&dict, &shape.key(n)), Some(n), "{shape:?}");
        }
    }
}

#[test]
fn a_shrink_that_inserts_overtake_turns_around() {
    let mut dict = filled(Shape::Spread, 6_000);
    finish_rehash(&mut dict);
    let large = dict.stats().main.buckets;
    let shared = Shared::new();
    for n in 10..6_000 {
        remove(&mut dict, &Shape::Spread.key(n)).unwrap();
    }
    drop(shared);
    assert!(dict.shrink_if_sparse());
    assert!(dict.stats().target.unwrap().0.buckets < 8);
    for n in 10..3_000 {
        insert(&mut dict, &Shape::Spread.key(n), n);
        if n % 64 == 0 {
            assert_sound(&dict);
        }
    }
    finish_rehash(&mut dict);
    assert_eq!(dict.stats().main.buckets, large, "the large table became the target again");
    for n in 0..3_000 {
        assert_eq!(value_of(&dict, &Shape::Spread.key(n)), Some(n));
    }
}

#[test]
fn nothing_moves_while_a_child_shares_the_memory() {
    let mut dict = filled(Shape::Spread, 6 * 256);
    finish_rehash(&mut dict);
    assert_eq!(dict.stats().main.buckets, 256);
    let shared = Shared::new();
    let moves = dict.moves();
    // Up to 93 % there is one table; then a larger one beside it takes the new entries.
    for n in 6 * 256..2_000 {
        insert(&mut dict, &Shape::Spread.key(n), n);
        assert_eq!(dict.is_rehashing(), n >= 256 * 13 / 2);
    }
    assert_sound(&dict);
    for n in (0..2_000).step_by(2) {
        remove(&mut dict, &Shape::Spread.key(n)).unwrap();
        dict.step();
        assert!(!dict.rehash(100));
    }
    assert_eq!(dict.moves(), moves);
    assert_sound(&dict);
    drop(shared);
    assert!(dict.rehash(1));
    assert_eq!(dict.moves(), moves + 1);
}

#[test]
fn a_dict_in_shared_memory_takes_any_number_of_inserts() {
    let _shared = Shared::new();
    for shape in [Shape::Spread, Shape::OneTag, Shape::FewHomes] {
        let mut dict = Dict::new(shape.seed());
        for n in 0..3_000 {
            insert(&mut dict, &shape.key(n), n);
            let stats = dict.stats();
            assert!(stats.main.used * 14 <= stats.main.buckets * 7 * 13 || stats.main.buckets == 1);
        }
        assert_sound(&dict);
        for n in 0..3_000 {
            assert_eq!(value_of(&dict, &shape.key(n)), Some(n), "{shape:?}");
        }
    }
}

#[test]
fn reserved_room_is_not_grown_into() {
    let mut dict = Dict::new(Seed::new([3, 3]));
    dict.reserve(10_000);
    for n in 0..10_000 {
        insert(&mut dict, &Shape::Spread.key(n), n);
    }
    assert_eq!(dict.moves(), 0);
    dict.reserve(500_000);
    assert!(dict.is_rehashing());
    finish_rehash(&mut dict);
    assert_sound(&dict);
}

#[test]
fn draining_takes_out_every_item_once() {
    for rehashed in [0, 100] {
        let mut dict = filled(Shape::Spread, 6 * 512 + 1);
        dict.rehash(rehashed);
        assert!(dict.is_rehashing());
        let mut seen = std::collections::HashSet::new();
        let mut at = Some(0);
        while let Some(from) = at {
            at = dict.drain(from, 10, &mut |item| assert!(seen.insert(item.value())));
            assert_eq!(dict.len() + seen.len(), 6 * 512 + 1);
        }
        assert_eq!(seen.len(), 6 * 512 + 1);
        drop(dict.take_retired());
        assert_eq!(dict.memory_bytes(), 0);
    }
}

#[test]
fn a_dict_can_be_dropped_by_another_thread() {
    let dict = filled(Shape::Spread, 5_000);
    std::thread::spawn(move || assert_eq!(dict.len(), 5_000)).join().unwrap();
}

#[test]
fn iteration_sees_every_item_once_while_two_tables_exist() {
    let mut dict = filled(Shape::LastHomes, 6 * 64 + 1);
    dict.rehash(30);
    assert!(dict.is_rehashing());
    let mut seen: Vec<u64> = dict.iter().map(|item| item.value()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..=6 * 64).collect::<Vec<u64>>());
    let mut count = 0;
    dict.for_each(|_| count += 1);
    assert_eq!(count, 6 * 64 + 1);
}

#[test]
fn an_item_found_by_something_other_than_its_key_has_the_given_hash() {
    let shape = Shape::OneTag;
    for count in [50, 6 * 64 + 1] {
        let dict = filled(shape, count);
        for n in 0..count {
            let hash = dict.hash(&shape.key(n));
            let at = dict.find_by(hash, |_| true).expect("it is there");
            assert_eq!(dict.get(at).value(), n, "and not one of the same tag");
            assert!(dict.find_by(hash, |item| item.value() != n).is_none());
        }
    }
}
