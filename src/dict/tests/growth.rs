//! No operation's work grows with the number of entries: counted in bucket moves, not in time.

use super::*;

#[test]
fn growing_to_millions_of_entries_moves_at_most_one_bucket_an_insert() {
    // Ten million in a release build; a debug build would take half a minute for them.
    const COUNT: u64 = if cfg!(debug_assertions) { 1_600_000 } else { 10_000_000 };
    // The plain seed takes the words as hashes, so they have to be random ones.
    let mut dict = Dict::new(Seed::plain());
    let mut most = 0;
    let items = words(COUNT, |n| Random(n).next());
    for &word in &items {
        let before = dict.moves();
        dict.insert_new(word.get(), word);
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
fn shrinking_from_a_million_entries_moves_at_most_one_bucket_a_removal() {
    let mut dict = Dict::new(Seed::plain());
    let items = words(1_000_000, |n| Random(n ^ 0x5555).next());
    for &word in &items {
        dict.insert_new(word.get(), word);
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

/// An item whose key must never be asked for.
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
    // 2,000 entries are put in at 512 buckets, and stay there through nine doublings and back. A lookup in the way of
    // a debug build's check would touch keys, so no two hashes are alike.
    dict.reserve(2_000);
    let mut add = |dict: &mut Dict<Untouchable>, n: usize| {
        let hash = random.next();
        let table = &mut dict.tables[0];
        let home = hash as usize & table.mask();
        let entry = NonNull::new(std::ptr::without_provenance_mut((n + 1) * 16)).unwrap();
        table.place(home, tag_of(hash), Untouchable(entry), Known::of_hash(hash, table.bits()));
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
