//! Compares a keyspace that is defragmented between its changes with an equal one that is not. Every block moves,
//! wherever it lies, so the sanitizer detects any pointer that was not updated.

use super::super::{Access, ExpiryPolicy, Moment, Removal, digest};
use super::*;
use crate::alloc::tests::ALL_LEAVE;
use crate::dict::Seed;
use crate::types::hash::{self, Condition, FieldExpiry, HashRef};
use crate::types::list::{self, End};
use crate::types::random::Random;
use crate::types::set::{self, SetRef};
use crate::types::sorted_set::{self, How, SortedSetRef};
use crate::types::stream::{Id, Stream, WantedId};
use crate::types::{Block, Entry, Kind, Shapes, Text};

const NOW_MS: i64 = 1_700_000_000_000;

/// Forces every block to move, until it is dropped.
struct AllLeave;

impl AllLeave {
    fn new() -> AllLeave {
        ALL_LEAVE.set(true);
        AllLeave
    }
}

impl Drop for AllLeave {
    fn drop(&mut self) {
        ALL_LEAVE.set(false);
    }
}

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(2, Seed::new([3, 4]));
    keyspace.moment = Moment::at(NOW_MS);
    keyspace.expiry = ExpiryPolicy::Ignore;
    // Small limits, so that few items make a collection large.
    keyspace.shapes = Shapes {
        hash_max_listpack_entries: 8,
        set_max_listpack_entries: 8,
        set_max_intset_entries: 16,
        zset_max_listpack_entries: 8,
        list_max_listpack_size: -1,
        ..keyspace.shapes
    };
    keyspace
}

/// Applies `change` to the value of this kind under `name`. Creates the value if there is none, or one of another kind;
/// `change` returns whether any elements are left.
fn with(
    keyspace: &mut Keyspace,
    db: usize,
    name: &[u8],
    kind: Kind,
    change: impl FnOnce(&mut Entry, &Shapes) -> bool,
) {
    let key = keyspace.key(db, name);
    let found = keyspace.find(key, Access::Inspect);
    let at = if let Some(at) = found.filter(|at| keyspace.db(db).get(*at).kind() == kind) {
        at
    } else {
        if let Some(at) = found {
            keyspace.remove(key, at, Removal::Del);
        }
        let entry = match kind {
            Kind::String => Entry::string(name, b"", None),
            Kind::List => list::create(name),
            Kind::Set => set::create(name, b"x", 1, &keyspace.shapes),
            Kind::Hash => hash::create(name, &keyspace.shapes, 0, std::iter::empty()),
            Kind::SortedSet => sorted_set::create(name, 1, 1, &keyspace.shapes),
            Kind::Stream => Entry::with_container(name, Stream::default(), None),
        };
        keyspace.insert(key, entry)
    };
    if kind == Kind::Hash {
        // The keyspace maintains the deadlines of fields; see `change_hash`.
        return;
    }
    let left = keyspace.reshape(db, at, |entry, shapes, _| change(entry, shapes));
    keyspace.unchanged();
    if !left {
        keyspace.remove(key, at, Removal::Emptied);
    }
}

fn change_string(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    let most = [10, 250, 900, 6000, 80_000][random.below(5)];
    let len = random.below(most);
    let append = random.below(3) == 0;
    with(keyspace, db, name, Kind::String, |entry, _| {
        if append {
            entry.append(&vec![b'a'; len.min(500)]);
        } else {
            entry.set_string(&vec![len as u8; len]);
        }
        true
    });
}

fn change_list(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    let (pushes, end) = (random.below(60), if random.below(2) == 0 { End::Front } else { End::Back });
    let (len, pops) = (random.below(300), random.below(40));
    with(keyspace, db, name, Kind::List, |entry, shapes| {
        (0..pushes).for_each(|i| list::push(entry, end, &vec![i as u8; len + i], shapes));
        let count = pops.min(list::len(entry));
        list::pop_each(entry, end, count, shapes, &mut |_| ());
        list::len(entry) > 0
    });
}

fn change_set(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    let (from, adds, removes) = (random.below(200), random.below(60), random.below(50));
    let prefix: &str =
        ["", "member:", "a member with quite a long name, so that it is in another class:"][from % 3];
    with(keyspace, db, name, Kind::Set, |entry, shapes| {
        for i in from..from + adds {
            set::add(entry, format!("{prefix}{i}").as_bytes(), shapes);
        }
        for i in from..from + removes {
            set::remove(entry, format!("{prefix}{i}").as_bytes());
        }
        !SetRef::of(entry).is_empty()
    });
}

fn change_sorted_set(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    let (from, adds, removes) = (random.below(200), random.below(90), random.below(70));
    // Few distinct scores, so that the order depends on members.
    let scores = 1 + random.below(6);
    with(keyspace, db, name, Kind::SortedSet, |entry, shapes| {
        for i in from..from + adds {
            let member = format!("member:{i:0>0$}", i % 40);
            let score = (i * 7 % scores) as f64 - 1.5;
            sorted_set::apply(entry, member.as_bytes(), score, How::default(), shapes).expect("a number");
        }
        for i in (from..from + removes).step_by(2) {
            sorted_set::remove(entry, format!("member:{i:0>0$}", i % 40).as_bytes());
        }
        !SortedSetRef::of(entry).is_empty()
    });
}

fn change_hash(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    with(keyspace, db, name, Kind::Hash, |_, _| true);
    let (from, sets, removes, len) =
        (random.below(200), 1 + random.below(60), random.below(50), random.below(500));
    let key = keyspace.key(db, name);
    let at = keyspace.find(key, Access::Inspect).expect("just created");
    let empty = keyspace.modify_hash(key, at, |fields| {
        for i in from..from + sets {
            let field = format!("field:{i}");
            let value = vec![i as u8; (len + i) % 500];
            fields.set(field.as_bytes(), Text::Bytes(&value), None, FieldExpiry::Remove);
            if i % 5 == 0 {
                fields.set_expiry(field.as_bytes(), NOW_MS + i as i64, Condition::Always);
            }
        }
        for i in (from..from + removes).step_by(2) {
            fields.remove(format!("field:{i}").as_bytes());
        }
        fields.is_empty()
    });
    keyspace.unchanged();
    if empty {
        keyspace.remove(key, at, Removal::Emptied);
    }
}

fn change_stream(keyspace: &mut Keyspace, db: usize, name: &[u8], random: &mut Random) {
    let (adds, len, deletes) = (random.below(150), random.below(60), random.below(40));
    with(keyspace, db, name, Kind::Stream, |entry, shapes| {
        let stream = entry.container_mut::<Stream>().expect("a stream");
        for _ in 0..adds {
            let id = stream.next_id(WantedId::Any, 5).expect("an ID");
            stream.append(id, 1, [&b"field"[..], &vec![b'v'; len]].into_iter(), shapes);
        }
        let first = stream.figures().first_id;
        let ids: Vec<Id> = stream.range(first, Id::MAX).take(deletes).map(|record| record.id).collect();
        stream.delete(&ids);
        true
    });
}

/// One random change.
fn change(keyspace: &mut Keyspace, random: &mut Random) {
    let (db, name) = (random.below(4) / 3, format!("key:{}", random.below(60)));
    let name = name.as_bytes();
    match random.below(20) {
        0..4 => change_string(keyspace, db, name, random),
        4..6 => change_list(keyspace, db, name, random),
        6..8 => change_set(keyspace, db, name, random),
        8..11 => change_sorted_set(keyspace, db, name, random),
        11..14 => change_hash(keyspace, db, name, random),
        14..16 => change_stream(keyspace, db, name, random),
        16 => {
            let (key, time) = (keyspace.key(db, name), random.below(1000) as i64);
            if let Some(at) = keyspace.find(key, Access::Read) {
                keyspace.set_expiry(key, at, (time > 300).then_some(NOW_MS + time));
            }
        }
        17 => {
            // A copy that shares its blocks.
            let copy = format!("key:{}", random.below(60));
            let found = keyspace.find(keyspace.key(db, name), Access::Inspect);
            if let Some(at) = found {
                let entry = keyspace.db(db).get(at).duplicate(copy.as_bytes());
                keyspace.put(keyspace.key(0, copy.as_bytes()), entry);
            }
        }
        18 => {
            let key = keyspace.key(db, name);
            if let Some(at) = keyspace.find(key, Access::Inspect) {
                keyspace.remove(key, at, Removal::Del);
            }
        }
        _ if random.below(40) == 0 => drop(keyspace.flush(db, false)),
        _ if random.below(10) == 0 => keyspace.swap(0, 1),
        _ => {}
    }
}

/// Checks that a lookup finds each item: the digest, which comes from walks, would not show that.
fn check_lookups(entry: &Entry) {
    match entry.kind() {
        Kind::Set => {
            let set = SetRef::of(entry);
            assert!(set.members().all(|member| set.contains(&member.to_vec())));
        }
        Kind::Hash => {
            let hash = HashRef::new(entry, i64::MIN);
            assert!(hash.iter().all(|item| hash.get(&item.field.to_vec()) == Some(item.value)));
        }
        Kind::SortedSet => {
            let set = SortedSetRef::of(entry);
            for (rank, (member, score)) in set.iter().enumerate() {
                assert_eq!(set.rank(&member.to_vec()), Some((rank, score)));
            }
        }
        _ => {}
    }
}

fn check_equal(moved: &Keyspace, still: &Keyspace) {
    assert_eq!(digest::of_keyspace(moved), digest::of_keyspace(still));
    for db in 0..2 {
        assert_eq!(moved.db(db).len(), still.db(db).len());
        for entry in moved.db(db).entries() {
            let hash = moved.hash(entry.key());
            let memory = |keyspace: &Keyspace| keyspace.db(db).memory_of(hash, entry.key());
            assert!(memory(moved).is_some() && memory(moved) == memory(still));
            check_lookups(&entry);
        }
    }
}

#[test]
fn a_keyspace_that_is_defragmented_between_changes_equals_one_that_is_not() {
    let cases = std::env::var("DEFRAG_CASES").map_or(4, |cases| cases.parse().expect("a number"));
    for seed in 0..cases {
        let _all = AllLeave::new();
        let (mut moved, mut still) = (keyspace(), keyspace());
        let mut steps = Random::new(seed);
        let mut cycle = Cycle::new();
        let mut finished = 0;
        // Blocks that replies would hold while they wait for a socket.
        let mut held: Vec<(Block, Vec<u8>)> = Vec::new();
        for round in 0..1500 {
            change(&mut moved, &mut Random::new(seed * 10_000 + round));
            change(&mut still, &mut Random::new(seed * 10_000 + round));
            for _ in 0..steps.below(12) {
                if cycle.walk(&mut moved, 20) != DefragEnd::Working {
                    finished += 1;
                    cycle = Cycle::new();
                }
            }
            for keyspace in [&mut moved, &mut still] {
                if let Some(at) = keyspace.find(keyspace.key(0, b"key:7"), Access::Inspect)
                    && let Some(block) = keyspace.db(0).get(at).block()
                    && held.len() < 20
                {
                    held.push((block.share(), block.to_vec()));
                }
            }
            if round % 100 == 99 {
                check_equal(&moved, &still);
            }
        }
        assert!(finished > 10, "{finished} cycles");
        let counters = moved.counters;
        assert!(counters.moved_blocks > 1000 && counters.defragmented_keys > 1000, "{counters:?}");
        assert!(held.iter().all(|(block, bytes)| **block == **bytes), "what is shared does not change");
    }
}

/// A keyspace that had `keys` keys with values of `len` bytes, of which nine in ten were deleted at random.
#[cfg(feature = "slab")]
fn sparse(keys: usize, len: usize) -> Keyspace {
    let mut keyspace = keyspace();
    let name = |i: usize| format!("key:{i}");
    for i in 0..keys {
        let name = name(i);
        keyspace
            .insert(keyspace.key(0, name.as_bytes()), Entry::string(name.as_bytes(), &vec![b'v'; len], None));
    }
    let mut random = Random::new(1);
    for i in (0..keys).filter(|_| random.below(10) > 0) {
        let key = name(i);
        let key = keyspace.key(0, key.as_bytes());
        let at = keyspace.find(key, Access::Inspect).expect("not deleted yet");
        keyspace.remove(key, at, Removal::Del);
    }
    keyspace
}

/// The number of this thread's slabs for the blocks of values of 1000 bytes, and the number of these blocks.
#[cfg(feature = "slab")]
fn slabs() -> (usize, usize) {
    let size = Block::from(&[0; 1000][..]).memory_bytes();
    let class = alloc::classes().into_iter().find(|class| class.size == size);
    class.map_or((0, 0), |class| (class.slabs, class.live))
}

#[cfg(feature = "slab")]
#[test]
fn a_cycle_leaves_few_slabs_of_many_sparse_ones_and_every_value_as_it_was() {
    let mut keyspace = sparse(40_000, 1000);
    let (digest, before) = (digest::of_keyspace(&keyspace), slabs());
    // Other tests have slabs of their own, so skip the check whether the plan is worthwhile for the process.
    let mut cycle = Cycle::new();
    while cycle.compaction.plan(3).is_none() {}
    let mut steps = 0;
    let moved = loop {
        steps += 1;
        if let DefragEnd::Finished(moved) = cycle.walk(&mut keyspace, 1000) {
            break moved;
        }
    };
    let after = slabs();
    assert!(steps > 100, "{steps} steps");
    // The heap may come from another test, and other threads may still free its blocks.
    assert!((keyspace.db(0).len()..=before.1).contains(&after.1), "{after:?} after {before:?}");
    assert!(after.0 * 5 < before.0, "{after:?} after {before:?}");
    // Each block of the about 4000 keys has moved at most once.
    assert!((2000..=9000).contains(&moved), "{moved} blocks have moved");
    assert_eq!(digest::of_keyspace(&keyspace), digest);
    assert_eq!(keyspace.counters.moved_blocks, moved);
}

#[test]
fn a_large_collection_is_walked_in_parts_even_if_it_is_replaced_meanwhile() {
    let _all = AllLeave::new();
    let mut keyspace = keyspace();
    with(&mut keyspace, 0, b"large", Kind::SortedSet, |entry, shapes| {
        for i in 0..5000 {
            let member = format!("member:{i}");
            sorted_set::apply(entry, member.as_bytes(), i as f64, How::default(), shapes).expect("a number");
        }
        true
    });
    let mut cycle = Cycle::new();
    let mut steps = 0;
    while cycle.walk(&mut keyspace, 1000) == DefragEnd::Working {
        steps += 1;
        if steps == 50 {
            assert!(!cycle.large.is_empty(), "it is not done yet");
            with(&mut keyspace, 0, b"large", Kind::Set, |entry, shapes| {
                (0..3000).all(|i| set::add(entry, format!("m{i}").as_bytes(), shapes))
            });
        }
        if steps == 55 {
            assert!(!cycle.large.is_empty(), "it is not done yet");
            let key = keyspace.key(0, b"large");
            let at = keyspace.find(key, Access::Inspect).expect("it is there");
            keyspace.remove(key, at, Removal::Del);
        }
    }
    assert!(steps > 55 && cycle.large.is_empty());
}
