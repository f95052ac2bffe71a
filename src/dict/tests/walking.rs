//! SCAN's guarantee and the uniformity of random entries.

use super::*;
use std::collections::HashSet;

/// Walks the dict to the end, calling `between` after every step, and returns the emitted values.
fn walk(dict: &mut Dict<Block>, mut between: impl FnMut(&mut Dict<Block>)) -> HashSet<u64> {
    let mut seen = HashSet::new();
    let mut cursor = 0;
    loop {
        cursor = dict.scan(cursor, &mut |item: &Block| {
            seen.insert(item.value());
        });
        if cursor == 0 {
            return seen;
        }
        between(dict);
    }
}

#[test]
fn scan_of_a_dict_at_rest_returns_every_element_once() {
    for shape in SHAPES {
        for count in [1, 7, 64, 1_000] {
            let mut dict = Dict::new(shape.seed());
            for n in 0..count {
                insert(&mut dict, &shape.key(n), n);
            }
            while dict.rehash(100) {}
            let mut seen = Vec::new();
            let mut cursor = 0;
            loop {
                cursor = dict.scan(cursor, &mut |item: &Block| seen.push(item.value()));
                if cursor == 0 {
                    break;
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<u64>>(), "{shape:?}");
        }
    }
}

#[test]
fn one_call_of_scan_returns_no_element_twice() {
    for shape in SHAPES {
        let mut dict = Dict::new(shape.seed());
        for n in 0..769 {
            insert(&mut dict, &shape.key(n), n);
        }
        for moved in [0, 1, 50, 127] {
            dict.rehash(moved);
            let mut cursor = 0;
            loop {
                let mut seen = HashSet::new();
                cursor =
                    dict.scan(cursor, &mut |item: &Block| assert!(seen.insert(item.value()), "{shape:?}"));
                if cursor == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn scan_returns_every_element_present_throughout_while_the_table_grows() {
    for shape in SHAPES {
        for seed in 0..40 {
            let mut random = Random(seed);
            let (mut dict, count) = (Dict::new(shape.seed()), 10 + random.below(400));
            for n in 0..count {
                insert(&mut dict, &shape.key(n), n);
            }
            let (mut more, burst) = (count, 1 + random.below(30));
            let seen = walk(&mut dict, |dict| {
                for _ in 0..random.below(burst) {
                    if more < count + shape.scale(4_000) {
                        insert(dict, &shape.key(more), more);
                        more += 1;
                    }
                }
            });
            for n in 0..count {
                assert!(seen.contains(&n), "{shape:?}, seed {seed}: {n} of {count} is missing");
            }
        }
    }
}

#[test]
fn scan_returns_every_element_present_throughout_while_the_table_shrinks() {
    for shape in SHAPES {
        for seed in 0..40 {
            let mut random = Random(seed ^ 0xabcd);
            let (count, stay) = (shape.scale(1_500), 10 + random.below(100));
            let attended = seed % 2 == 0;
            let mut dict = if attended { Dict::new(shape.seed()) } else { Dict::unattended(shape.seed()) };
            for n in 0..count {
                insert(&mut dict, &shape.key(n), n);
            }
            let (mut rest, burst) = (count, 1 + random.below(60));
            let seen = walk(&mut dict, |dict| {
                for _ in 0..random.below(burst) {
                    if rest > stay {
                        rest -= 1;
                        remove(dict, &shape.key(rest)).unwrap();
                    }
                }
                if attended {
                    dict.rehash(random.below(20) as usize);
                    dict.shrink_if_sparse();
                }
            });
            for n in 0..stay {
                assert!(seen.contains(&n), "{shape:?}, seed {seed}: {n} of {stay} is missing");
            }
        }
    }
}

#[test]
fn scan_returns_every_element_present_throughout_while_everything_happens() {
    for shape in SHAPES {
        for seed in 0..60 {
            let mut random = Random(seed ^ 0x1234_5678);
            let mut dict =
                if seed % 2 == 0 { Dict::new(shape.seed()) } else { Dict::unattended(shape.seed()) };
            let stay = 5 + random.below(shape.scale(400));
            for n in 0..stay {
                insert(&mut dict, &shape.key(n), n);
            }
            let mut others: Vec<u64> = Vec::new();
            let mut fresh = stay;
            let (mut growing, mut calls) = (true, 0);
            let mut shared = None;
            let seen = walk(&mut dict, |dict| {
                calls += 1;
                // Later calls do less and less, so that the walk ends.
                let most = shape.scale(4_000) / (calls + 10);
                growing = if random.below(8) == 0 { !growing } else { growing };
                for _ in 0..random.below(most + 1) {
                    if growing {
                        insert(dict, &shape.key(fresh), fresh);
                        others.push(fresh);
                        fresh += 1;
                    } else if !others.is_empty() {
                        let n = others.swap_remove(random.below(others.len() as u64) as usize);
                        remove(dict, &shape.key(n)).unwrap();
                    }
                }
                match random.below(10) {
                    0 => {
                        drop(shared.take());
                        shared = (random.below(2) == 0).then(Shared::new);
                    }
                    1 => dict.reserve(random.below(shape.scale(4_000)) as usize),
                    2 => drop(dict.shrink_if_sparse()),
                    _ => drop(dict.rehash(random.below(100) as usize)),
                }
            });
            assert_sound(&dict);
            for n in 0..stay {
                assert!(seen.contains(&n), "{shape:?}, seed {seed}: {n} of {stay} is missing");
            }
        }
    }
}

#[test]
fn scan_takes_any_cursor() {
    let mut dict = Dict::new(Seed::new([1, 1]));
    for n in 0..500 {
        insert(&mut dict, &Shape::Spread.key(n), n);
    }
    for cursor in [1, 77, u64::MAX, 1 << 63, 0xdead_beef] {
        let next = dict.scan(cursor, &mut |_| {});
        assert!(next < 1024);
    }
}

/// Draws 200 times per entry and compares the counts with a uniform distribution.
fn assert_even(dict: &Dict<Block>, seed: u64) {
    let mut random = Random(seed);
    let draws = 200 * dict.len();
    let mut counts = std::collections::HashMap::new();
    for _ in 0..draws {
        let position = dict.random(&mut || random.next()).expect("there are entries");
        *counts.entry(dict.get(position).value()).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), dict.len(), "every entry is drawn");
    let chi: f64 = counts.values().map(|&count| (f64::from(count) - 200.0).powi(2) / 200.0).sum();
    let freedom = dict.len() as f64 - 1.0;
    let deviation = (chi - freedom) / (2.0 * freedom).sqrt();
    assert!(deviation.abs() < 4.0, "chi-square is {deviation} standard deviations off");
}

#[test]
fn random_entries_are_even_over_all_entries() {
    for shape in [Shape::Spread, Shape::FewHomes, Shape::LastHomes] {
        for count in [3, 50, 6 * 64, 6 * 64 + 1, 1_000] {
            let mut dict = Dict::new(shape.seed());
            for n in 0..count {
                insert(&mut dict, &shape.key(n), n);
            }
            assert_even(&dict, count);
            dict.rehash(20);
            assert_even(&dict, count + 1);
            while dict.rehash(100) {}
            assert_even(&dict, count + 2);
        }
    }
}

#[test]
fn random_entries_of_a_nearly_empty_table_are_even() {
    for left in [2, 7] {
        let mut dict = Dict::new(Seed::new([4, 2]));
        for n in 0..50_000 {
            insert(&mut dict, &Shape::Spread.key(n), n);
        }
        let _shared = Shared::new();
        for n in left..50_000 {
            remove(&mut dict, &Shape::Spread.key(n)).unwrap();
        }
        assert_even(&dict, left);
    }
}

#[test]
fn a_random_entry_of_a_nearly_empty_table_comes_after_few_draws() {
    let mut dict = Dict::new(Seed::new([4, 2]));
    for n in 0..5_000 {
        insert(&mut dict, &Shape::Spread.key(n), n);
    }
    let _shared = Shared::new();
    for n in 1..5_000 {
        remove(&mut dict, &Shape::Spread.key(n)).unwrap();
    }
    let mut draws = 0;
    // A source that always yields a free slot: the fallback must find the entry.
    let position = dict.random(&mut || {
        draws += 1;
        0
    });
    assert_eq!(dict.get(position.unwrap()).value(), 0);
    assert!(draws < 1_000);
}
