//! How long does a data set take from memory to an RDB file and back? On one core, without a disk:
//! `cargo bench --bench rdb`.
//!
//! `strings`: 2,000,000 keys of 16 bytes with values of 32; `letters` has four different bytes at random, so
//! compression is tried in vain, `text` compresses. `hashes`: 20,000 hash tables of 100 fields. Each figure is the
//! median of several passes, per key.

use std::hint::black_box;
use std::time::{Duration, Instant};

use redstart::db::{Keyspace, Moment};
use redstart::dict::Seed;
use redstart::persist::rdb::file::{About, LoadOptions, SaveOptions, load, save};
use redstart::types::hash::{self, FieldExpiry, HashMut};
use redstart::types::{Entry, Text};

const PASSES: usize = 7;

const ABOUT: About<'_> = About {
    redis_version: "7.2.4",
    unix_seconds: 0,
    used_memory: 0,
    aof_base: false,
    replication: None,
    functions: &[],
};

const LOAD: LoadOptions = LoadOptions { checksum: true, drop_expired_before: Some(0), merge: false };

fn empty() -> Keyspace {
    let mut keyspace = Keyspace::new(16, Seed::new([1, 2]));
    keyspace.moment = Moment::at(1_700_000_000_000);
    keyspace
}

fn strings(count: u64, value: impl Fn(u64) -> Vec<u8>) -> Keyspace {
    let mut keyspace = empty();
    for n in 0..count {
        let name = format!("key:{n:012}");
        let key = keyspace.key(0, name.as_bytes());
        keyspace.insert(key, Entry::string(name.as_bytes(), &value(n), None));
    }
    keyspace
}

fn hashes(count: u64, fields: u64) -> Keyspace {
    let mut keyspace = empty();
    for n in 0..count {
        let name = format!("hash:{n:011}");
        let mut entry = hash::create(name.as_bytes(), &keyspace.shapes, 0, std::iter::empty());
        for field in 0..fields {
            let value = [b'v'; 70];
            HashMut::new(&mut entry, &keyspace.shapes, 0).set(
                format!("field:{field:08}").as_bytes(),
                Text::Bytes(&value),
                None,
                FieldExpiry::Remove,
            );
        }
        let key = keyspace.key(0, name.as_bytes());
        keyspace.insert(key, entry);
    }
    keyspace
}

fn median(mut pass: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..PASSES).map(|_| pass()).collect();
    times.sort();
    times[PASSES / 2]
}

fn measure(name: &str, keyspace: &Keyspace) {
    let keys = keyspace.db(0).len() as f64;
    let print = |what: &str, time: Duration, bytes: usize| {
        println!(
            "{name:<10} {what:<16} {:>8.1} ms {:>8.1} ns a key {:>8.1} MB",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() * 1e9 / keys,
            bytes as f64 / 1e6
        );
    };
    let mut file = Vec::new();
    for (what, options) in [
        ("save", SaveOptions::default()),
        ("save, plain", SaveOptions { compress: false, ..SaveOptions::default() }),
        ("save, no sum", SaveOptions { checksum: false, ..SaveOptions::default() }),
    ] {
        let time = median(|| {
            file.clear();
            let start = Instant::now();
            save(keyspace, &ABOUT, &options, &mut file, &mut |_| {}).expect("a vector takes everything");
            start.elapsed()
        });
        print(what, time, file.len());
    }
    for (what, options) in [("load", LOAD), ("load, no sum", LoadOptions { checksum: false, ..LOAD })] {
        let time = median(|| {
            let mut to = empty();
            let start = Instant::now();
            load(&mut to, &file[..], file.len() as u64, options).expect("a good file");
            let time = start.elapsed();
            assert_eq!(black_box(&to).db(0).len(), keyspace.db(0).len());
            time
        });
        print(what, time, file.len());
    }
}

fn letters(n: u64) -> Vec<u8> {
    let mut state = n;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 58) as u8
    };
    (0..32).map(|_| b'0' + random()).collect()
}

fn main() {
    measure("letters", &strings(2_000_000, letters));
    measure("text", &strings(2_000_000, |n| format!("value value value value {n:08}").into_bytes()));
    measure("hashes", &hashes(20_000, 100));
}
