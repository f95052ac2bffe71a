//! These benchmarks answer the following questions:
//!
//! * `hash/*`: what does hashing a key cost, by function and key length? (Which function the dict should use.)
//! * `find/*`: what does a lookup of a present (`hit`) or absent (`miss`) key of 16 bytes cost, in the cache (10⁴
//!   entries) and out of it (10⁶), compared with the standard library's map and hashbrown with its own, faster hash?
//! * `batch/*`: how much of a lookup's wait is hidden when sixteen lookups prefetch their cache lines first, as the
//!   server does with a pipeline?
//! * `insert/*`: what does an insert cost while the table grows from nothing?
//! * `churn/*`: what does replacing one key by another cost in a table of constant size?
//!
//! `cargo bench --bench dict -- 'find/hit'` runs some of them. Keys come in random order, a different one for each
//! table, so that lookups visit neither the table nor the entries in memory order. `REDSTART_HUGEPAGES=1` lets the
//! dict's table use huge pages.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use redstart::dict::{Dict, Item, Seed};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Duration;

const KEY_BYTES: usize = 16;
const SIZES: [u32; 2] = [10_000, 1_000_000];
const BATCH: usize = 16;

type Key = [u8; KEY_BYTES];

/// Like an entry of the server: a block with a header of eight bytes, the key and a small value.
struct Entry(NonNull<Block>);

#[repr(C)]
struct Block {
    key_len: u32,
    flags: u32,
    key: Key,
    value: u64,
}

impl Entry {
    fn new(key: Key, value: u64) -> Self {
        let block = Block { key_len: KEY_BYTES as u32, flags: 0, key, value };
        Self(NonNull::from(Box::leak(Box::new(block))))
    }

    fn value(&self) -> u64 {
        // SAFETY: the block lives as long as its item.
        unsafe { self.0.as_ref().value }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak`, dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: the pointer round-trips; the key is in the block and never changes.
unsafe impl Item for Entry {
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller promises that the block lives; the length is that of its key. As in the server, the length
        // is read from memory and unknown to the compiler.
        unsafe {
            let block = raw.cast::<Block>();
            let start = (&raw const (*block.as_ptr()).key).cast();
            std::slice::from_raw_parts(start, block.as_ref().key_len as usize)
        }
    }
}

/// `count` distinct keys in random order.
fn keys(count: u32, series: char) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count)
        .map(|n| format!("{series}ey:{n:012}").into_bytes().try_into().expect("sixteen bytes"))
        .collect();
    let mut state = u64::from(count);
    for i in (1..keys.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        keys.swap(i, (state >> 33) as usize % (i + 1));
    }
    keys
}

fn dict_of(keys: &[Key]) -> Dict<Entry> {
    let mut dict = Dict::new(Seed::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]));
    for (n, key) in keys.iter().enumerate() {
        dict.insert(dict.hash(key), Entry::new(*key, n as u64));
    }
    while dict.rehash(1024) {}
    dict
}

fn lookup(dict: &Dict<Entry>, key: &[u8]) -> Option<u64> {
    dict.find(dict.hash(key), key).map(|position| dict.get(position).value())
}

/// Calls `one` with each key in turn, over and over.
fn each_key<R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    keys: &[Key],
    mut one: impl FnMut(&Key) -> R,
) {
    let mut at = 0;
    group.bench_function(BenchmarkId::new(name, keys.len()), |bencher| {
        bencher.iter(|| {
            at = if at + 1 < keys.len() { at + 1 } else { 0 };
            one(black_box(&keys[at]))
        });
    });
}

fn find(c: &mut Criterion) {
    for size in SIZES {
        let (present, absent) = (keys(size, 'k'), keys(size, 'x'));
        // The entries are in memory in another order than that of the lookups.
        let mut order = present.clone();
        order.sort_unstable_by_key(|key| key[KEY_BYTES - 1].wrapping_mul(151) ^ key[KEY_BYTES - 3]);
        let dict = dict_of(&order);
        let std: HashMap<Box<[u8]>, u64> = order.iter().map(|key| ((*key).into(), 1)).collect();
        let hashbrown: hashbrown::HashMap<Box<[u8]>, u64> =
            order.iter().map(|key| ((*key).into(), 1)).collect();
        for (name, keys) in [("find/hit", &present), ("find/miss", &absent)] {
            let mut group = c.benchmark_group(name);
            each_key(&mut group, "dict", keys, |key| lookup(&dict, key));
            each_key(&mut group, "std", keys, |key| std.get(&key[..]).copied());
            each_key(&mut group, "hashbrown", keys, |key| hashbrown.get(&key[..]).copied());
            group.finish();
        }
        batches(c, &dict, &present);
    }
}

fn batches(c: &mut Criterion, dict: &Dict<Entry>, keys: &[Key]) {
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    for prefetch in [false, true] {
        let name = if prefetch { "prefetched" } else { "plain" };
        let mut batches = keys.chunks_exact(BATCH).cycle();
        group.bench_function(BenchmarkId::new(name, keys.len()), |bencher| {
            bencher.iter(|| {
                let batch = batches.next().expect("a cycle has no end");
                let mut hashes = [0; BATCH];
                for (hash, key) in hashes.iter_mut().zip(batch) {
                    *hash = dict.hash(key);
                    if prefetch {
                        dict.prefetch_bucket(*hash);
                    }
                }
                if prefetch {
                    for &hash in &hashes {
                        dict.prefetch_entry(hash);
                    }
                }
                let mut sum = 0;
                for (&hash, key) in hashes.iter().zip(batch) {
                    sum += dict.find(hash, black_box(key)).map_or(0, |position| dict.get(position).value());
                }
                sum
            });
        });
    }
    group.finish();
}

fn insert(c: &mut Criterion) {
    let mut group = c.benchmark_group("insert");
    group.sample_size(10);
    for size in SIZES {
        let keys = keys(size, 'k');
        group.throughput(Throughput::Elements(u64::from(size)));
        group.bench_function(BenchmarkId::new("dict", size), |bencher| {
            bencher.iter_with_large_drop(|| dict_of(&keys));
        });
        group.bench_function(BenchmarkId::new("std", size), |bencher| {
            bencher.iter_with_large_drop(|| {
                let mut map: HashMap<Box<[u8]>, u64> = HashMap::new();
                for key in &keys {
                    assert_eq!(map.insert((*key).into(), 1), None);
                }
                map
            });
        });
        group.bench_function(BenchmarkId::new("hashbrown", size), |bencher| {
            bencher.iter_with_large_drop(|| {
                let mut map: hashbrown::HashMap<Box<[u8]>, u64> = hashbrown::HashMap::new();
                for key in &keys {
                    assert_eq!(map.insert((*key).into(), 1), None);
                }
                map
            });
        });
    }
    group.finish();
}

fn churn(c: &mut Criterion) {
    for size in SIZES {
        // Twice as many keys as entries: each iteration removes the oldest and inserts the next.
        let keys = keys(2 * size, 'k');
        let half = size as usize;
        let mut group = c.benchmark_group("churn");
        let mut old = keys.iter().cycle();
        let mut dict = dict_of(&keys[..half]);
        each_key(&mut group, "dict", &rotated(&keys, half), |new| {
            let key = old.next().expect("a cycle has no end");
            dict.step();
            let position = dict.find(dict.hash(key), key).expect("the oldest key is there");
            drop(dict.remove(position));
            dict.insert(dict.hash(new), Entry::new(*new, 1));
        });
        let mut old = keys.iter().cycle();
        let mut map: HashMap<Box<[u8]>, u64> = keys[..half].iter().map(|key| ((*key).into(), 1)).collect();
        each_key(&mut group, "std", &rotated(&keys, half), |new| {
            let key = old.next().expect("a cycle has no end");
            map.remove(&key[..]).expect("the oldest key is there");
            map.insert((*new).into(), 1);
        });
        let mut old = keys.iter().cycle();
        let mut map: hashbrown::HashMap<Box<[u8]>, u64> =
            keys[..half].iter().map(|key| ((*key).into(), 1)).collect();
        each_key(&mut group, "hashbrown", &rotated(&keys, half), |new| {
            let key = old.next().expect("a cycle has no end");
            map.remove(&key[..]).expect("the oldest key is there");
            map.insert((*new).into(), 1);
        });
        group.finish();
    }
}

/// `each_key` begins with the second key; this rotation makes that the one at `first`.
fn rotated(keys: &[Key], first: usize) -> Vec<Key> {
    let mut keys = keys.to_vec();
    keys.rotate_left(first - 1);
    keys
}

/// SipHash-1-3 (Aumasson and Bernstein 2012, with one round per word and three at the end), for comparison: the common
/// choice against chosen keys.
fn siphash_1_3(seed: [u64; 2], key: &[u8]) -> u64 {
    fn round(v: &mut [u64; 4]) {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }
    let mut v = [
        seed[0] ^ 0x736f_6d65_7073_6575,
        seed[1] ^ 0x646f_7261_6e64_6f6d,
        seed[0] ^ 0x6c79_6765_6e65_7261,
        seed[1] ^ 0x7465_6462_7974_6573,
    ];
    let words = key.chunks_exact(8);
    let mut last = (key.len() as u64) << 56;
    for (at, &byte) in words.remainder().iter().enumerate() {
        last |= u64::from(byte) << (8 * at);
    }
    for word in words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).chain([last]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn hash(c: &mut Criterion) {
    // The function above is SipHash-1-3: the standard library's (keyed with zeros) agrees.
    let mut reference = DefaultHasher::new();
    reference.write(b"key:000000000007x");
    assert_eq!(siphash_1_3([0, 0], b"key:000000000007x"), reference.finish());
    let mut group = c.benchmark_group("hash");
    let seed = Seed::new([1, 2]);
    for len in [8, 16, 24, 40, 100, 1000] {
        latency(&mut group, BenchmarkId::new("folded", len), len, |key| seed.hash(key));
        let words = black_box([1, 2]);
        latency(&mut group, BenchmarkId::new("siphash-1-3", len), len, |key| siphash_1_3(words, key));
    }
    group.finish();
}

/// The latency of a hash: each hash determines the next key.
fn latency(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    len: usize,
    hash: impl Fn(&[u8]) -> u64,
) {
    const KEYS: usize = 16;
    let keys: Vec<u8> = (0..KEYS * 1024).map(|i| (i * 31) as u8).collect();
    let mut at = 0;
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            at = hash(&keys[at << 10..][..len]) as usize % KEYS;
            at
        });
    });
}

fn main() {
    redstart::sys::memory::set_hugepages(std::env::var_os("REDSTART_HUGEPAGES").is_some());
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    hash(&mut c);
    find(&mut c);
    insert(&mut c);
    churn(&mut c);
    c.final_summary();
}
