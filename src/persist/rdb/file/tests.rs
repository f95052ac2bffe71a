//! A data set that was written and read is the same; a file that is cut off or changed is refused; and no claim in a file
//! is believed.

use std::io::{self, Cursor, Read, Write};

use super::super::tests::{contents, hash_of, list_of, set_of, small_shapes, sorted_set_of, stream_of, text};
use super::*;
use crate::codec::crc64;
use crate::db::digest;
use crate::db::{AccessPolicy, Keyspace, Moment};
use crate::dict::Seed;
use crate::persist::rdb::types;
use crate::types::access::Lfu;
use crate::types::hash::HashRef;
use crate::types::{Encoding, Entry, Kind, Shapes};
use proptest::prelude::*;

const NOW_MS: i64 = 1_700_000_000_000;

const ABOUT: About<'_> = About {
    redis_version: "7.2.4",
    unix_seconds: NOW_MS / 1000,
    used_memory: 1_000_000,
    aof_base: false,
    replication: None,
    functions: &[],
};

const LOAD: LoadOptions = LoadOptions { checksum: true, drop_expired_before: Some(NOW_MS), merge: false };

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(16, Seed::plain());
    keyspace.moment = Moment::at(NOW_MS);
    keyspace
}

fn add(keyspace: &mut Keyspace, db: usize, key: &[u8], entry: Entry, expire_at: Option<i64>) {
    let mut entry = entry.with_key(key);
    entry.set_expire(expire_at);
    let key = keyspace.key(db, key);
    keyspace.insert(key, entry);
}

fn string(keyspace: &mut Keyspace, db: usize, key: &str, value: &[u8]) {
    add(keyspace, db, key.as_bytes(), Entry::string(b"", value, None), None);
}

fn saved_with(keyspace: &Keyspace, about: &About<'_>, options: &SaveOptions) -> Vec<u8> {
    let mut file = Vec::new();
    let len = save(keyspace, about, options, &mut file, &mut |_| {}).expect("a vector takes everything");
    assert_eq!(len, file.len() as u64);
    file
}

fn saved(keyspace: &Keyspace) -> Vec<u8> {
    saved_with(keyspace, &ABOUT, &SaveOptions::default())
}

fn loaded(file: &[u8]) -> (Keyspace, Report) {
    let mut to = keyspace();
    let report = load(&mut to, file, file.len() as u64, LOAD).unwrap_or_else(|error| panic!("{error}"));
    (to, report)
}

fn refused(file: &[u8]) -> RdbError {
    load(&mut keyspace(), file, file.len() as u64, LOAD).expect_err("a bad file")
}

/// A file of version `version` with `body` between the version and the end.
fn file(version: u16, body: &[u8]) -> Vec<u8> {
    let mut file = [b"REDIS", format!("{version:04}").as_bytes(), body, &[opcode::EOF]].concat();
    if version >= 5 {
        let crc = crc64::checksum(&file);
        file.extend_from_slice(&crc.to_le_bytes());
    }
    file
}

/// A data set with every type in small and large, with expiries, in several databases.
fn everything(texts: &[Vec<u8>], shapes: Shapes) -> Keyspace {
    let mut keyspace = keyspace();
    keyspace.shapes = shapes;
    for (n, text) in texts.iter().enumerate() {
        let expire_at = (n % 3 == 1).then_some(NOW_MS + n as i64);
        add(&mut keyspace, n % 2 * 9, format!("s{n}").as_bytes(), Entry::string(b"", text, None), expire_at);
    }
    let collections = [
        ("list", list_of(texts, &shapes)),
        ("set", set_of(texts, &shapes)),
        ("zset", sorted_set_of(texts, &shapes)),
        ("hash", hash_of(texts, false, &shapes)),
        ("stream", stream_of(texts, &shapes)),
    ];
    for (name, entry) in collections {
        add(&mut keyspace, 3, name.as_bytes(), entry.duplicate(b""), None);
        add(&mut keyspace, 3, format!("{name}:expires").as_bytes(), entry, Some(NOW_MS + 5));
    }
    keyspace
}

/// The access fields, expiries, encodings and contents of everything that `digest` does not cover.
fn assert_same(one: &Keyspace, other: &Keyspace) {
    assert_eq!(digest::of_keyspace(one), digest::of_keyspace(other));
    for db in 0..one.count() {
        assert_eq!(one.db(db).len(), other.db(db).len());
        assert_eq!(one.db(db).expires().len(), other.db(db).expires().len());
        assert_eq!(one.db(db).expiring_hashes(), other.db(db).expiring_hashes());
        for entry in one.db(db).dict() {
            let dict = other.db(db).dict();
            let again = dict.get(dict.find(one.hash(entry.key()), entry.key()).expect("the same key"));
            assert_eq!((again.expire_at(), again.access()), (entry.expire_at(), entry.access()));
            if entry.kind() == Kind::String {
                assert_eq!((again.value(), again.encoding()), (entry.value(), entry.encoding()));
            } else {
                assert_eq!(contents(&again), contents(&entry));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_data_set_comes_back_as_it_was(
        texts in prop::collection::vec(text(), 1..20), low: bool, compress: bool, checksum: bool
    ) {
        let shapes = if low { small_shapes() } else { Shapes::new(Seed::plain()) };
        let mut from = everything(&texts, shapes);
        add(&mut from, 4, b"timed", hash_of(&texts, true, &shapes), None);
        let options = SaveOptions { compress, checksum, ..SaveOptions::default() };
        let file = saved_with(&from, &ABOUT, &options);
        let mut to = keyspace();
        to.shapes = shapes;
        let report = load(&mut to, &file[..], file.len() as u64, LOAD).expect("a good file");
        assert_same(&from, &to);
        prop_assert_eq!(report.checksum, Some(if checksum { Checksum::Right } else { Checksum::Off }));
    }

    #[test]
    fn slices_and_reads_of_any_size_load_the_same(
        texts in prop::collection::vec(text(), 1..10), budget in 1u64..5000, buffer in 16usize..300,
        piece in 1usize..200
    ) {
        let from = everything(&texts, small_shapes());
        let file = saved(&from);
        let mut rest = &file[..];
        let pieces = Pieces(|to: &mut [u8]| {
            let len = to.len().min(piece);
            rest.read(&mut to[..len])
        });
        let source = Source::with_buffer(pieces, file.len() as u64, buffer);
        let mut to = keyspace();
        to.shapes = small_shapes();
        let mut loader = Loader::of_records(Records::open(source, true).expect("a good file"), LOAD);
        let mut before = 0;
        while loader.load_some(&mut to, budget).expect("a good file") == Step::More {
            prop_assert!(loader.offset() >= before + budget);
            before = loader.offset();
        }
        prop_assert_eq!(loader.offset(), file.len() as u64);
        assert_same(&from, &to);
    }
}

struct Pieces<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Pieces<F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (self.0)(to)
    }
}
