//! The work of an operation does not grow with the number of entries: counted in bucket moves, not in time.

use super::*;

#[test]
fn growing_to_millions_of_entries_moves_at_most_one_bucket_per_insert() {
    // Ten million in a release build; a debug build would take half a minute for them.
    const COUNT: u64 = if cfg!(debug_assertions) { 1_600_000 } else { 10_000_000 };
    // The plain seed takes the words as hashes, so they must be random.
    let mut dict = Dict::new(Seed::plain());
    let mut most = 0;
    let items = words(COUNT, |n| Random(n).next());
    for &word in &items {
        let before = dict.moves();
        dict.insert(word.get(), word);
        most = most.max(dict.moves() - before);
    }
    assert_eq!((most, dict.len() as u64), (1, COUNT));
    for word in items.iter().step_by(97) {
        let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
        assert_eq!(dict.get(position).get(), word.get());
    }
    while dict.rehash(1 << 12) {}
    drop(dict.take_retired());
    assert!(dict.memory_bytes() as u64 <= 22 * COUNT);
}

#[test]
fn shrinking_from_a_million_entries_moves_at_most_one_bucket_per_removal() {
    let mut dict = Dict::new(Seed::plain());
    let items = words(1_000_000, |n| Random(n ^ 0x5555).next());
    for &word in &items {
        dict.insert(word.get(), word);
    }
    let mut most = 0;
    for word in &items {
        let before = dict.moves();
        let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
        dict.remove(position);
        most = most.max(dict.moves() - before);
    }
    assert_eq!((most, dict.len()), (1, 0));
    drop(dict.take_retired());
    assert_eq!(dict.memory_bytes(), 0);
}

/// An item whose key must never be read.
#[derive(Debug)]
struct Untouchable(NonNull<u8>);

// SAFETY: the pointer is never followed.
unsafe impl Item for Untouchable {
    fn into_raw(self) -> NonNull<u8> {
        self.0
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw)
    }

    unsafe fn key<'a>(_raw: NonNull<u8>) -> &'a [u8] {
        panic!("the key was touched")
    }
}

#[test]
fn rehashing_does_not_touch_the_keys() {
    let mut dict = Dict::new(Seed::plain());
    let mut random = Random(1);
    // 2,000 entries are inserted at 512 buckets and stay through nine doublings and back. They go directly into the
    // table: `insert` looks the key up in debug builds.
    dict.reserve(2_000);
    let mut add = |dict: &mut Dict<Untouchable>, n: usize| {
        let hash = random.next();
        let table = &mut dict.main;
        let home = hash as usize & table.mask();
        let entry = NonNull::new(std::ptr::without_provenance_mut((n + 1) * 16)).unwrap();
        table.insert(home, tag_of(hash), Untouchable(entry), Known::of_hash(hash, table.bits()));
    };
    for n in 0..2_000 {
        add(&mut dict, n);
    }
    for doubling in 1..10 {
        dict.reserve(6 * (512 << doubling));
        while dict.rehash(1 << 20) {}
        assert_eq!((dict.stats().main.buckets, dict.len()), (512 << doubling, 2_000));
    }
    while dict.shrink_if_sparse() {
        while dict.rehash(1 << 20) {}
    }
    assert!(dict.stats().main.buckets <= 1024);
    assert_eq!(dict.iter().count(), 2_000);
}

/// Inserts words under their own hashes.
fn insert_words(dict: &mut Dict<Word>, words: &[Word]) {
    for &word in words {
        dict.insert(word.get(), word);
    }
}

/// Removes `words` from an unattended dict and returns the most buckets that a single removal moved. Checks after each
/// of them that there are at most three buckets per entry.
fn remove_words(dict: &mut Dict<Word>, words: &[Word]) -> u64 {
    let mut most = 0;
    for word in words {
        let before = dict.moves();
        let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
        dict.remove(position);
        most = most.max(dict.moves() - before);
        assert!(dict.live_buckets() <= 3 * dict.len(), "{} buckets for {}", dict.live_buckets(), dict.len());
    }
    most
}

#[test]
fn an_unattended_dict_moves_four_buckets_per_removal_and_is_never_sparse() {
    let items = words(200_000, |n| Random(n ^ 0x7777).next());
    // Full tables, half-full ones, and tables that have just started to grow.
    for count in [1, 2, 7, 100, 6 * 1024, 6 * 1024 + 1, 6 * 2048 + 700, 100_000, 6 * 32_768 + 1] {
        let mut dict = Dict::unattended(Seed::plain());
        insert_words(&mut dict, &items[..count]);
        assert!(remove_words(&mut dict, &items[..count]) <= 4);
        drop(dict.take_retired());
        assert_eq!(dict.memory_bytes(), 0);
    }
}

#[test]
fn an_unattended_dict_is_never_sparse_whatever_else_happens() {
    let items = words(20_000, |n| Random(n ^ 0x3333).next());
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut dict = Dict::unattended(Seed::plain());
        let (mut count, most) = (0, 1 << random.below(15));
        for _ in 0..60 {
            match random.below(10) {
                0 => dict.reserve(random.below(20_000) as usize),
                1 => drop(dict.rehash(random.below(100) as usize)),
                2 => dict.settle(),
                3..6 => {
                    let to = (count + random.below(most) as usize).min(items.len());
                    insert_words(&mut dict, &items[count..to]);
                    count = to;
                }
                _ => {
                    let from = count - random.below(count as u64 + 1) as usize;
                    remove_words(&mut dict, &items[from..count]);
                    count = from;
                }
            }
        }
        assert_sound(&dict);
        assert_eq!(dict.len(), count);
    }
}

#[test]
fn unused_reserved_room_is_given_up_when_the_load_is_over() {
    let items = words(1_000, |n| Random(n ^ 0x1111).next());
    let mut dict = Dict::unattended(Seed::plain());
    dict.reserve(1_000_000);
    insert_words(&mut dict, &items[..10]);
    dict.settle();
    assert!(dict.live_buckets() <= 30, "{} buckets for 10 entries", dict.live_buckets());
    // The table does not return to its former size.
    insert_words(&mut dict, &items[10..]);
    assert!(dict.live_buckets() <= 600, "{} buckets for 1,000 entries", dict.live_buckets());
    assert_sound(&dict);
}

#[test]
fn nothing_moves_in_an_unattended_dict_while_a_child_shares_the_memory() {
    let items = words(20_000, |n| Random(n ^ 0x2222).next());
    // A table at rest, and one in the middle of growing.
    for count in [10_000, 6 * 2048 + 10] {
        let mut dict = Dict::unattended(Seed::plain());
        insert_words(&mut dict, &items[..count]);
        let (moves, shared) = (dict.moves(), Shared::new());
        for word in &items[..count - 100] {
            let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
            dict.remove(position);
            dict.settle();
        }
        assert_eq!((dict.moves(), dict.len()), (moves, 100));
        insert_words(&mut dict, &items[..100]);
        assert_eq!(dict.moves(), moves);
        drop(shared);
        assert_sound(&dict);
    }
}

#[test]
fn no_removal_pays_at_once_for_what_was_not_moved_while_a_child_shared_the_memory() {
    let items = words(200_000, |n| Random(n ^ 0x4444).next());
    let (kept, gone) = items.split_at(5_000);
    let mut dict = Dict::unattended(Seed::plain());
    insert_words(&mut dict, &items);
    let shared = Shared::new();
    for word in gone {
        let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
        dict.remove(position);
    }
    drop(shared);
    assert!(dict.live_buckets() > 30_000);
    let mut most = 0;
    for word in &kept[..1_000] {
        let before = dict.moves();
        let position = dict.find(word.get(), &word.get().to_le_bytes()).expect("it was inserted");
        dict.remove(position);
        most = most.max(dict.moves() - before);
    }
    assert!((4..300).contains(&most), "{most} buckets moved by one removal");
    assert!(dict.live_buckets() <= 3 * dict.len(), "{} buckets for {}", dict.live_buckets(), dict.len());
    // It has caught up and behaves as if there had been no child.
    assert!(remove_words(&mut dict, &kept[1_000..]) <= 4);
    assert_eq!(dict.len(), 0);
}
