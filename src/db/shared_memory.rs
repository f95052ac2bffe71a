//! Tests of a data set that a forked child shares: reads do not write to it, measured by the page faults that the kernel
//! serves by copying a page; and the child has whole allocators.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Access, AccessPolicy, Keyspace, Moment};
use crate::alloc;
use crate::dict::{Position, Seed};
use crate::sys::clock::Since;
use crate::sys::fork::{Exit, Forked, fork};
use crate::sys::twin::{Twin, copied_pages};
use crate::types::access::Lfu;
use crate::types::hash::{self, Condition, FieldExpiry, HashMut, HashRef};
use crate::types::list::{self, End};
use crate::types::set::{self, SetRef};
use crate::types::sorted_set::{self, How, SortedSetRef};
use crate::types::stream::{Id, Stream};
use crate::types::{Entry, Shapes, Text};

/// Just beyond 6 × 2¹⁴ entries, where the table has begun to grow.
const STRINGS: u64 = 100_000;
const ITEMS: u64 = 30_000;
/// When the data set is created, and when it is read: far enough apart for every access clock to advance.
const MADE_MS: i64 = 1_700_000_000_000;
const READ_MS: i64 = MADE_MS + 600_000;

fn name(n: u64) -> [u8; 8] {
    // Odd multiples of 2⁶⁴ / φ: distinct, in no order.
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn find(keyspace: &mut Keyspace, key: &[u8], access: Access) -> Position {
    keyspace.find(keyspace.key(0, key), access).expect("the key is there")
}

fn insert(keyspace: &mut Keyspace, entry: Entry) {
    let name = entry.key().to_vec();
    keyspace.insert(keyspace.key(0, &name), entry);
}

fn filled(policy: AccessPolicy) -> Keyspace {
    let mut keyspace = Keyspace::new(1, Seed::new([1, 2]));
    keyspace.access_policy = policy;
    keyspace.moment = Moment::at(MADE_MS);
    let shapes = Shapes::new(Seed::new([1, 2]));
    let mut set = set::create(b"set", &name(0), 1, &shapes);
    let mut sorted_set = sorted_set::create(b"zset", 8, 1, &shapes);
    let mut hash = hash::create(b"hash", &shapes, 0, std::iter::empty());
    let mut list = list::create(b"list");
    let mut stream = Stream::default();
    for n in 0..ITEMS {
        let item = name(n);
        set::add(&mut set, &item, &shapes);
        sorted_set::apply(&mut sorted_set, &item, n as f64, How::default(), &shapes).expect("a number");
        let mut fields = HashMut::new(&mut hash, &shapes, MADE_MS);
        fields.set(&item, Text::Bytes(&[b'v'; 40]), None, FieldExpiry::Remove);
        if n % 3 == 0 {
            fields.set_expiry(&item, MADE_MS + 1 + n as i64, Condition::Always);
        }
        list::push(&mut list, End::Back, &[b'e'; 40], &shapes);
        stream.append(Id { ms: n, seq: 1 }, 1, [&b"field"[..], &item].into_iter(), &shapes);
    }
    for entry in [set, sorted_set, hash, list, Entry::with_container(b"stream", stream, None)] {
        insert(&mut keyspace, entry);
    }
    for n in 0..STRINGS {
        insert(&mut keyspace, Entry::string(&name(n), &[b'x'; 60], None));
    }
    keyspace
}

/// Performs the reads of clients while a snapshot is written, and the housekeeping in between. Returns how many bytes
/// and items it read.
fn read_all(keyspace: &mut Keyspace) -> usize {
    keyspace.moment = Moment::at(READ_MS);
    let mut seen = 0;
    for n in 0..STRINGS {
        let at = find(keyspace, &name(n), Access::Read);
        seen += keyspace.db(0).get(at).string_len();
    }
    let at =
        ["set", "zset", "hash", "list", "stream"].map(|key| find(keyspace, key.as_bytes(), Access::Read));
    let (db, random) = (keyspace.db(0), &mut crate::types::random::Random::new(1));
    let [set, sorted_set, hash, list, stream] = at.map(|at| db.get(at));
    let (set, sorted_set, hash) =
        (SetRef::of(&set), SortedSetRef::of(&sorted_set), HashRef::new(&hash, READ_MS));
    for n in 0..ITEMS {
        let item = name(n);
        seen += usize::from(set.contains(&item));
        seen += sorted_set.rank(&item).map_or(0, |(rank, _)| rank);
        seen += hash.get(&item).map_or(0, |value| value.len());
        seen += hash.len();
    }
    for _ in 0..100 {
        seen += set.random(random).map_or(0, |member| member.len());
        seen += hash.random(random).map_or(0, |item| item.value.len());
    }
    seen += sorted_set.iter().count() + hash.iter().count() + set.members().count();
    list::forwards(&list, 0, &mut |element| {
        seen += element.len();
        true
    });
    let stream = stream.container::<Stream>().expect("a stream");
    seen += stream.range(Id::MIN, Id::MAX).map(|record| record.pairs().count()).sum::<usize>();
    let mut cursor = 0;
    loop {
        cursor = db.scan(cursor, &mut |entry| seen += entry.key().len());
        if cursor == 0 {
            break;
        }
    }
    keyspace.housekeep(true, 1_000_000, || 0);
    seen
}

/// Returns how many pages are copied when everything is read while a child exists. The keyspace knows of the child if
/// `shared`.
fn copies_for_reads(keyspace: &mut Keyspace, shared: bool) -> (i64, usize) {
    let child = Twin::fork();
    keyspace.share_memory(shared);
    // The first writes to the stack and to the counters after the fork.
    std::hint::black_box([1_u8; 8 << 10]);
    find(keyspace, &name(0), Access::Look);
    let before = copied_pages();
    let seen = read_all(keyspace);
    let after = copied_pages();
    keyspace.share_memory(false);
    drop(child);
    (after - before, seen)
}

#[test]
fn reads_copy_no_page_of_the_data_set_while_a_child_shares_it() {
    // Runs in a process of its own: forks of other tests would make this thread's pages be copied too.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "db::shared_memory::copies_for_reads_of_all"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn copies_for_reads_of_all() {
    let lfu = AccessPolicy::Lfu(Lfu { log_factor: 0, decay_time: 1 });
    for policy in [AccessPolicy::Lru, lfu] {
        let mut keyspace = filled(policy);
        assert!(keyspace.db(0).dict.is_rehashing(), "there is something to move");
        let moves = keyspace.db(0).dict.moves();
        let (quiet, seen) = copies_for_reads(&mut keyspace, true);
        assert!(quiet < 40, "{quiet} pages were copied for reads under {policy:?}");
        assert_eq!(keyspace.db(0).dict.moves(), moves);
        // The keyspace does not know of this child, to check that copied pages are counted at all.
        let (loud, seen_again) = copies_for_reads(&mut keyspace, false);
        assert!(loud > 2_000, "{loud} pages were copied for reads that write");
        assert_eq!(seen, seen_again);
        assert!(keyspace.db(0).dict.moves() > moves);
    }
}

/// Allocates and frees values of all sizes, and memory of the system's allocator.
fn exercise(rounds: usize) -> bool {
    let (mut entries, mut texts) = (Vec::new(), Vec::new());
    for i in 0..rounds {
        let size = [20, 100, 3000, 9000, 100_000, 2_000_000][i % 6] + i;
        entries.push(Entry::string(b"key", &vec![i as u8; size], None));
        texts.push(vec![i as u8; 10 + size % 5000]);
        if i % 3 == 0 {
            entries.swap_remove(i / 2 % entries.len());
            texts.swap_remove(i / 2 % texts.len());
        }
    }
    drop(entries);
    alloc::collect(10);
    texts.iter().all(|text| text.first() == text.last())
}

#[test]
fn a_child_can_allocate_and_free_whatever_other_threads_did_when_it_was_forked() {
    /// Stops the threads even if the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(exercise(30));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                alloc::purge(1 << 20);
                assert!(alloc::stats().live_bytes() < usize::MAX);
            }
        });
        for _ in 0..1000 {
            let mut child = match fork().expect("a child") {
                (Forked::Parent(child), _) => child,
                (Forked::Child(link), _) => link.exit(i32::from(!exercise(7))),
            };
            let begun = Since::now();
            let end = loop {
                if let Some(end) = child.poll().expect("it can be waited for") {
                    break end;
                }
                assert!(begun.elapsed() < Duration::from_secs(60), "the child hangs");
                std::thread::yield_now();
            };
            assert_eq!(end, Exit::Status(0));
        }
    });
}
