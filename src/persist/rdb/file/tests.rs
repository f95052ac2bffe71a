//! A data set that is written and read stays the same; a truncated or modified file is refused; and no length in a file
//! is trusted.

use std::io::{self, Read};

use super::super::tests::{contents, hash_of, list_of, set_of, small_shapes, sorted_set_of, stream_of, text};
use super::*;
use crate::codec::crc64;
use crate::db::digest;
use crate::db::{AccessPolicy, Keyspace, Moment};
use crate::dict::Seed;
use crate::persist::rdb::types;
use crate::types::access::Lfu;
use crate::types::hash::{self, HashRef};
use crate::types::stream::{Group, Id, Stream};
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

fn saved_with(keyspace: &Keyspace, about: &About<'_>, options: SaveOptions) -> Vec<u8> {
    let mut file = Vec::new();
    let len = save(keyspace, about, &options, &mut file, &mut |_| {}).expect("a vector takes everything");
    assert_eq!(len, file.len() as u64);
    file
}

fn saved(keyspace: &Keyspace) -> Vec<u8> {
    saved_with(keyspace, &ABOUT, SaveOptions::default())
}

/// Loads a file. It makes no difference if it is loaded while it is received.
fn loaded(file: &[u8]) -> (Keyspace, Report) {
    let mut to = keyspace();
    let report = load(&mut to, file, file.len() as u64, LOAD).unwrap_or_else(|error| panic!("{error}"));
    for (len, piece) in [(None, 1), (Some(file.len() as u64), 3), (None, 4096)] {
        let (incoming, received) = received(file, len, piece).unwrap_or_else(|error| panic!("{error}"));
        assert_same(&to, &incoming);
        assert_eq!(received, report);
    }
    (to, report)
}

/// The error of a bad file. It makes no difference if it is loaded while it is received.
fn refused(file: &[u8]) -> RdbError {
    let error = load(&mut keyspace(), file, file.len() as u64, LOAD).expect_err("a bad file");
    for piece in [7, 4096] {
        let found = received(file, Some(file.len() as u64), piece).err().expect("a bad file");
        assert_same_error(&found, &error);
    }
    error
}

/// A duplicate is noticed when its entry leaves the queue, which depends on the slices.
fn assert_same_error(one: &RdbError, other: &RdbError) {
    let is_duplicate = |error: &RdbError| matches!(error.fault, Fault::Duplicate(_));
    if !is_duplicate(one) && !is_duplicate(other) {
        assert_eq!(one.to_string(), other.to_string());
    }
}

/// Loads a file that is received in pieces: whatever is whole is loaded before the next piece.
fn received(file: &[u8], len: Option<u64>, piece: usize) -> Result<(Keyspace, Report), RdbError> {
    received_in(file.chunks(piece), len)
}

fn received_in<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    len: Option<u64>,
) -> Result<(Keyspace, Report), RdbError> {
    let mut to = keyspace();
    let mut incoming = Incoming::new(len, LOAD);
    let mut pushed = 0;
    for piece in pieces {
        pushed += piece.len() as u64;
        incoming.push(piece);
        while incoming.can_load() {
            incoming.load_some(&mut to, 50)?;
        }
        assert!(incoming.surplus().is_none_or(|surplus| surplus == 0));
    }
    incoming.close();
    while incoming.load_some(&mut to, 50)? == Step::More {}
    assert_eq!((incoming.offset(), incoming.loadable()), (pushed, 0));
    Ok((to, incoming.report().expect("it was loaded").clone()))
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

/// A data set with every type, small and large, with expiries, in several databases.
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

/// The contents in the form that a file has: without any field that expires, a file is written for Redis 7.2, in which
/// no form allows expiries.
fn readable_contents(entry: &Entry) -> (Encoding, Vec<String>) {
    let (encoding, contents) = contents(entry);
    let is_plain = encoding == Encoding::ListpackEx && hash::next_deadline(entry).is_none();
    (if is_plain { Encoding::Listpack } else { encoding }, contents)
}

/// Compares the access fields, expiries, encodings and all contents that `digest` does not cover.
fn assert_same(one: &Keyspace, other: &Keyspace) {
    assert_eq!(digest::of_keyspace(one), digest::of_keyspace(other));
    for db in 0..one.count() {
        assert_eq!(one.db(db).len(), other.db(db).len());
        assert_eq!(one.db(db).expires().len(), other.db(db).expires().len());
        assert_eq!(one.db(db).expiring_hashes(), other.db(db).expiring_hashes());
        for entry in one.db(db).entries() {
            let other = other.db(db);
            let again = other.get(other.find(one.hash(entry.key()), entry.key()).expect("the same key"));
            assert_eq!((again.expire_at(), again.access()), (entry.expire_at(), entry.access()));
            if entry.kind() == Kind::String {
                assert_eq!((again.value(), again.encoding()), (entry.value(), entry.encoding()));
            } else {
                assert_eq!(readable_contents(&again), readable_contents(&entry));
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
        let file = saved_with(&from, &ABOUT, options);
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

proptest! {
    #[test]
    fn a_file_is_loaded_record_by_record_however_it_is_divided_while_it_is_received(
        texts in prop::collection::vec(text(), 1..10),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        compress: bool,
        knows: bool,
    ) {
        let mut from = everything(&texts, Shapes::new(Seed::plain()));
        add(&mut from, 4, b"timed", hash_of(&texts, true, &Shapes::new(Seed::plain())), None);
        let file = saved_with(&from, &ABOUT, SaveOptions { compress, ..SaveOptions::default() });
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(file.len())).collect();
        cuts.extend([0, file.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &file[cut[0]..cut[1]]);
        let (to, report) = received_in(pieces, knows.then_some(file.len() as u64)).expect("a good file");
        assert_same(&from, &to);
        prop_assert_eq!(report.checksum, Some(Checksum::Right));
    }

    #[test]
    fn damage_is_found_while_a_file_is_received_as_in_a_whole_one(
        texts in prop::collection::vec(text(), 1..5), at: prop::sample::Index, to: u8, piece in 1usize..300
    ) {
        let mut file = saved_with(
            &everything(&texts, small_shapes()),
            &ABOUT,
            SaveOptions { checksum: false, ..SaveOptions::default() },
        );
        let at = at.index(file.len());
        file[at] = to;
        let mut whole = keyspace();
        match load(&mut whole, &file[..], file.len() as u64, LOAD) {
            Err(error) => {
                let found = received(&file, Some(file.len() as u64), piece).err().expect("a bad file");
                assert_same_error(&found, &error);
            }
            // The file may end earlier now.
            Ok(report) => {
                let mut incoming = Incoming::new(None, LOAD);
                incoming.push(&file);
                let mut received = keyspace();
                prop_assert_eq!(incoming.load_some(&mut received, u64::MAX).expect("a good file"), Step::Done);
                assert_same(&whole, &received);
                prop_assert_eq!(incoming.report(), Some(&report));
            }
        }
    }
}

#[test]
fn what_has_arrived_is_loaded_before_the_rest_comes() {
    let mut from = keyspace();
    for n in 0..1000 {
        string(&mut from, 0, &format!("key:{n}"), b"value");
    }
    let file = saved(&from);
    let mut to = keyspace();
    let mut incoming = Incoming::new(None, LOAD);
    assert!(!incoming.can_load());
    incoming.push(&file[..file.len() / 2]);
    while incoming.can_load() {
        incoming.load_some(&mut to, 1000).expect("a good file");
    }
    assert!((450..550).contains(&to.db(0).len()), "{}", to.db(0).len());
    assert!(file.len() as u64 / 2 - incoming.offset() < 20, "only the record that is not whole waits");
    // Bytes after the end are counted, whatever they are.
    incoming.push(&file[file.len() / 2..]);
    assert_eq!(incoming.surplus(), Some(0));
    incoming.push(b"REDIS");
    incoming.push(b"!");
    assert_eq!(incoming.surplus(), Some(6));
    assert_eq!(incoming.load_some(&mut to, u64::MAX).expect("a good file"), Step::Done);
    assert_same(&from, &to);
}

/// A stream with many pending entries.
fn long_stream(entries: u64, shapes: &Shapes) -> Entry {
    let mut stream = Stream::default();
    for ms in 1..=entries {
        stream.append(Id { ms, seq: 0 }, 1, [&b"field"[..], b"value"].into_iter(), shapes);
    }
    for name in [&b"one"[..], b"two"] {
        let mut group = Group::new(name, Id::MIN, Some(0));
        let consumer = group.add_consumer(b"consumer", 5).expect("a new one");
        stream.add_group(group);
        stream.deliver(name, consumer, (usize::MAX, false, 7), |_| ());
    }
    Entry::with_container(b"", stream, None)
}

/// A value of each type, whose elements take many times more bytes than the slices below.
fn huge_values(shapes: &Shapes) -> Vec<Entry> {
    let texts: Vec<Vec<u8>> = (0..2_000).map(|n| format!("{n} of many elements").into_bytes()).collect();
    vec![
        list_of(&texts, shapes),
        set_of(&texts, shapes),
        sorted_set_of(&texts, shapes),
        hash_of(&texts, false, shapes),
        // The times of more fields would be before the epoch.
        hash_of(&texts[..900], true, shapes),
        long_stream(2_000, shapes),
    ]
}

/// A keyspace with this value alone, and its file.
fn saved_alone(value: Entry) -> (Keyspace, Vec<u8>) {
    let mut keyspace = keyspace();
    add(&mut keyspace, 0, b"huge", value, None);
    let file = saved(&keyspace);
    (keyspace, file)
}

#[test]
fn the_elements_of_a_value_that_have_arrived_are_loaded_before_the_rest_comes() {
    let shapes = Shapes::new(Seed::plain());
    for value in huge_values(&shapes) {
        let kind = value.kind();
        let (from, file) = saved_alone(value);
        let mut to = keyspace();
        let mut incoming = Incoming::new(Some(file.len() as u64), LOAD);
        let (last, pieces) =
            file.len().checked_sub(100).map(|at| (&file[at..], file[..at].chunks(1000))).expect("long");
        for piece in pieces {
            incoming.push(piece);
            while incoming.can_load() {
                incoming.load_some(&mut to, 300).expect("a good file");
            }
            // A node of a list has up to 8 KiB.
            assert!(incoming.buffered() < 40_000, "{kind:?}: {} bytes wait", incoming.buffered());
            assert_eq!(to.db(0).len(), 0, "{kind:?}: no key has a part of a value");
        }
        assert!(incoming.offset() as usize > file.len() - 10_000, "{kind:?}: {} bytes", incoming.offset());
        incoming.push(last);
        assert_eq!(incoming.load_some(&mut to, u64::MAX).expect("a good file"), Step::Done);
        assert_same(&from, &to);
    }
}

#[test]
fn a_value_is_loaded_in_slices_of_a_file() {
    let shapes = Shapes::new(Seed::plain());
    for value in huge_values(&shapes) {
        let kind = value.kind();
        let (from, file) = saved_alone(value);
        let mut to = keyspace();
        let mut loader = Loader::new(&file[..], file.len() as u64, LOAD).expect("a good file");
        let mut before = 0;
        while loader.load_some(&mut to, 1000).expect("a good file") == Step::More {
            let passed = loader.offset() - before;
            assert!((1..=10_000).contains(&passed), "{kind:?}: {passed} bytes in a slice");
            before = loader.offset();
        }
        assert_same(&from, &to);
    }
}

#[test]
fn a_part_of_a_value_is_freed_in_the_background_when_loading_ends_early() {
    let shapes = Shapes::new(Seed::plain());
    for value in huge_values(&shapes) {
        let (kind, is_large) = (value.kind(), value.is_large());
        let (mut from, file) = saved_alone(value);
        let half = &file[..file.len() / 2];
        let freed = |to: &Keyspace| {
            assert!(to.db(0).is_empty());
            let last = to.lazy().latest();
            while !to.lazy().is_done(last) {
                std::thread::yield_now();
            }
            to.lazy().freed()
        };

        let mut to = keyspace();
        let mut incoming = Incoming::new(None, LOAD);
        incoming.push(half);
        while incoming.can_load() {
            incoming.load_some(&mut to, 1000).expect("a good file");
        }
        incoming.abandon(&mut to);
        assert_eq!(freed(&to), 1, "{kind:?}: the link is cut");

        let mut to = keyspace();
        let mut loader = Loader::new(half, file.len() as u64, LOAD).expect("a good file");
        let error = loop {
            if let Err(error) = loader.load_some(&mut to, 1000) {
                break error;
            }
        };
        assert!(matches!(error.fault, Fault::Ended), "{error}");
        assert_eq!(error.key.as_deref(), Some(&b"huge"[..]));
        assert_eq!(freed(&to), 1, "{kind:?}: the file is truncated");

        // So is a whole value that has expired, if it is large.
        let mut to = keyspace();
        let key = from.key(0, b"huge");
        let at = from.db(0).find(key.hash, b"huge").expect("it is there");
        from.set_expiry(key, at, Some(NOW_MS - 1));
        let file = saved(&from);
        let mut loader = Loader::new(&file[..], file.len() as u64, LOAD).expect("a good file");
        while loader.load_some(&mut to, 1000).expect("a good file") == Step::More {}
        assert_eq!((loader.report().expired, loader.report().keys), (1, 0));
        assert_eq!(freed(&to), u64::from(is_large), "{kind:?}: it has expired");
    }
}

#[test]
fn only_the_first_digits_are_the_version_also_while_a_file_is_received() {
    let body = [types::STRING, 1, b'k', 1, b'v', opcode::EOF];
    for (digits, version) in [(b"001\x1c", 1), (b"3 11", 3), (b"4\xff\xff\xff", 4)] {
        let file = [b"REDIS", &digits[..], &body].concat();
        let whole = Records::open(Source::new(&file[..], file.len() as u64), false).expect("a known version");
        assert_eq!(whole.version(), version);
        for piece in 1..=file.len() {
            let (to, report) = received(&file, None, piece).expect("a good file");
            assert_eq!((report.keys, to.db(0).len()), (1, 1));
        }
    }
    for digits in [b"+001", b"    ", b"\xff001", b"9999"] {
        let file = [b"REDIS", &digits[..], &body].concat();
        let error =
            load(&mut keyspace(), &file[..], file.len() as u64, LOAD).expect_err("an unknown version");
        for piece in 1..=file.len() {
            assert_same_error(&received(&file, None, piece).err().expect("an unknown version"), &error);
        }
    }
}

#[test]
fn a_value_that_was_received_leaves_no_memory_behind() {
    let mut from = keyspace();
    string(&mut from, 0, "large", &noise(8 << 20));
    string(&mut from, 0, "small", b"value");
    let file = saved(&from);
    let mut incoming = Incoming::new(None, LOAD);
    let mut to = keyspace();
    for piece in file.chunks(64 << 10) {
        incoming.push(piece);
        incoming.load_some(&mut to, u64::MAX).expect("a good file");
    }
    assert!(incoming.is_done());
    assert!(incoming.buffered() < 2 << 20, "{}", incoming.buffered());
}

struct Pieces<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Pieces<F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (self.0)(to)
    }
}

#[test]
fn a_file_says_what_redis_says_and_nothing_else() {
    let mut from = keyspace();
    string(&mut from, 0, "a", b"1");
    add(&mut from, 5, b"b", Entry::string(b"", b"2", None), Some(NOW_MS + 0x77));
    let expected = [
        &b"REDIS0011"[..],
        b"\xfa\x09redis-ver\x057.2.4",
        b"\xfa\x0aredis-bits\xc0\x40",
        b"\xfa\x05ctime\xc2\x00\xf1\x53\x65",
        b"\xfa\x08used-mem\xc2\x40\x42\x0f\x00",
        b"\xfa\x08aof-base\xc0\x00",
        b"\xfe\x00\xfb\x01\x00\x00\x01a\xc0\x01",
        b"\xfe\x05\xfb\x01\x01\xfc",
        &(NOW_MS + 0x77).to_le_bytes(),
        b"\x00\x01b\xc0\x02",
        b"\xff",
    ]
    .concat();
    let sealed = [&expected[..], &crc64::checksum(&expected).to_le_bytes()].concat();
    assert_eq!(saved(&from).escape_ascii().to_string(), sealed.escape_ascii().to_string());
    let plain = saved_with(&from, &ABOUT, SaveOptions { checksum: false, ..SaveOptions::default() });
    assert_eq!(plain, [&expected[..], &[0; 8]].concat());
}

#[test]
fn what_a_file_says_about_itself_comes_back() {
    let long = vec![b'x'; 100_000];
    let functions = [&b"#!lua name=a\n"[..], &long];
    let id = "0123456789012345678901234567890123456789";
    let replication = Some(Replication { id, offset: 1 << 40, db: -1 });
    let about = About { aof_base: true, replication, functions: &functions, ..ABOUT };
    let (_, report) = loaded(&saved_with(&keyspace(), &about, SaveOptions::default()));
    assert_eq!(report.functions, functions);
    let mut from = keyspace();
    string(&mut from, 0, "k", b"v");
    for (keys, count) in [(true, 1), (false, 0)] {
        let file = saved_with(&from, &about, SaveOptions { keys, ..SaveOptions::default() });
        let (to, report) = loaded(&file);
        assert_eq!((to.db(0).len(), &report.functions[..]), (count, &functions.map(<[u8]>::to_vec)[..]));
    }
    let expected = LoadedAbout {
        redis_version: Some(b"7.2.4".to_vec()),
        unix_seconds: Some(NOW_MS / 1000),
        used_memory: Some(1_000_000),
        aof_base: true,
        replication_id: Some(id.as_bytes().to_vec()),
        replication_offset: Some(1 << 40),
        replication_db: Some(-1),
    };
    assert_eq!(report.about, expected);
}

#[test]
fn idle_times_and_counters_come_back_under_their_policy() {
    let mut from = keyspace();
    string(&mut from, 0, "k", b"v");
    let at = from.db(0).find(from.hash(b"k"), b"k").expect("it is there");
    from.db(0).get(at).set_access(from.moment.clock.lru_idle_for(1000));
    let options = SaveOptions { idle_times: true, ..SaveOptions::default() };
    let (to, _) = loaded(&saved_with(&from, &ABOUT, options));
    assert_same(&from, &to);
    let (fresh, _) = loaded(&saved(&from));
    assert_eq!(fresh.db(0).entries().next().expect("a key").access(), fresh.moment.lru);

    let lfu = Lfu { log_factor: 10, decay_time: 1 };
    from.access_policy = AccessPolicy::Lfu(lfu);
    from.db(0).get(at).set_access(lfu.with_counter(from.moment.clock, 200));
    let file = saved(&from);
    let mut to = keyspace();
    to.access_policy = AccessPolicy::Lfu(lfu);
    load(&mut to, &file[..], file.len() as u64, LOAD).expect("a good file");
    assert_same(&from, &to);
    // Under another policy the counter is ignored.
    assert_eq!(loaded(&file).0.db(0).entries().next().expect("a key").access(), fresh.moment.lru);
}

#[test]
fn progress_names_each_key_and_the_bytes_so_far() {
    let mut from = keyspace();
    for n in 0..1000 {
        string(&mut from, n % 3, &format!("key:{n}"), &[b'v'; 300]);
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut keys, mut bytes) = (0, 0);
    let mut file = Vec::new();
    let len = save(&from, &ABOUT, &SaveOptions::default(), &mut file, &mut |progress| {
        assert!(progress.keys == keys + 1 && progress.bytes > bytes);
        (keys, bytes) = (progress.keys, progress.bytes);
        seen.insert(progress.entry.key().to_vec());
    })
    .expect("a vector takes everything");
    assert_eq!((keys, seen.len()), (1000, 1000));
    assert_eq!(len, bytes + 9, "the end and the checksum are left");
}

#[test]
fn a_failed_write_ends_the_save_with_its_error() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut from = keyspace();
    for n in 0..100_u8 {
        add(&mut from, 0, &[n], Entry::string(b"", &noise(20_000), None), None);
    }
    for room in [0, 150_000, 1_900_000] {
        let mut keys = 0;
        let error = save(&from, &ABOUT, &SaveOptions::default(), &mut Full(room), &mut |_| keys += 1)
            .expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(keys <= room / 20_000 + 7, "{keys} keys were encoded after the disk was full");
    }
    assert!(save(&from, &ABOUT, &SaveOptions::default(), &mut Full(3_000_000), &mut |_| {}).is_ok());
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| random()).collect()
}

#[test]
fn elements_longer_than_any_buffer_come_back() {
    let mut from = keyspace();
    let texts = [noise(3 << 20), vec![b'x'; 5 << 20], noise(1 << 20), b"short".to_vec()];
    let shapes = from.shapes;
    add(&mut from, 0, &noise(2 << 20), Entry::string(b"", &texts[0], None), None);
    add(&mut from, 0, b"list", list_of(&texts, &shapes), None);
    add(&mut from, 0, b"set", set_of(&texts, &shapes), None);
    add(&mut from, 0, b"zset", sorted_set_of(&texts, &shapes), None);
    add(&mut from, 0, b"hash", hash_of(&texts, true, &shapes), None);
    add(&mut from, 0, b"stream", stream_of(&texts, &shapes), None);
    let (to, _) = loaded(&saved(&from));
    assert_same(&from, &to);
}

#[test]
fn version_10_has_only_the_forms_of_redis_7_0() {
    let shapes = Shapes::new(Seed::plain());
    let texts: Vec<Vec<u8>> = (0..6).map(|n| format!("text {n}").into_bytes()).collect();
    let mut from = everything(&texts, shapes);
    // The times of the fields are 999, 996 and so on; all of them have expired.
    add(&mut from, 4, b"timed", hash_of(&texts, true, &shapes), None);
    add(&mut from, 4, b"over", hash_of(&texts[1..2], false, &shapes), None);
    let over = from.key(4, b"over");
    let at = from.db(4).find(over.hash, b"over").expect("it is there");
    from.modify_hash(over, at, |hash| {
        hash.set_expiry(&texts[1], NOW_MS + 1, crate::types::hash::Condition::Always);
    });
    from.unchanged();
    from.moment = Moment::at(NOW_MS + 2);
    let file = saved_with(&from, &ABOUT, SaveOptions { version: Version::Ten, ..SaveOptions::default() });
    assert_eq!(&file[..9], b"REDIS0010");
    let mut records = Records::open(Source::new(&file[..], file.len() as u64), true).expect("a good file");
    loop {
        match records.next_record().expect("a good file") {
            Record::End(_) => break,
            Record::Key(head) => {
                assert!(head.type_byte <= types::STREAM_2, "type {} of 7.2", head.type_byte);
                assert_ne!(records.key(), b"over", "a hash without fields");
                records.value(&head, &shapes).expect("a good value");
            }
            _ => {}
        }
    }
    let (to, _) = loaded(&file);
    let live = |keyspace: &Keyspace| {
        let db = keyspace.db(4);
        let entry = db.get(db.find(keyspace.hash(b"timed"), b"timed").expect("it is there"));
        let mut fields: Vec<_> = HashRef::new(&entry, NOW_MS)
            .iter()
            .map(|item| (item.field.to_vec(), item.value.to_vec()))
            .collect();
        fields.sort();
        fields
    };
    assert_eq!(live(&to), live(&from));
    assert_eq!(to.db(4).expiring_hashes(), 0);
    for db in [0, 3, 9] {
        assert_eq!(to.db(db).len(), from.db(db).len());
    }
}

#[test]
fn version_12_is_written_only_where_a_field_expires() {
    let shapes = Shapes::new(Seed::plain());
    let mut from = keyspace();
    let mut hash = hash_of(&[b"a".to_vec(), b"b".to_vec()], false, &shapes);
    crate::types::hash::HashMut::new(&mut hash, &shapes, 0).allow_expiries();
    assert_eq!(hash.encoding(), Encoding::ListpackEx);
    add(&mut from, 0, b"untimed", hash, None);
    let file = saved(&from);
    assert_eq!(&file[..9], b"REDIS0011");
    assert_eq!(digest::of_keyspace(&loaded(&file).0), digest::of_keyspace(&from));
    add(&mut from, 0, b"timed", hash_of(&[b"a".to_vec(), b"b".to_vec()], true, &shapes), None);
    assert_eq!(&saved(&from)[..9], b"REDIS0012");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let texts: Vec<Vec<u8>> = (0..5).map(|n| vec![b'a' + n; 5 * usize::from(n)]).collect();
    let file = saved(&everything(&texts, small_shapes()));
    loaded(&file);
    for len in 0..file.len() {
        let error = refused(&file[..len]);
        assert!(matches!(error.fault, Fault::Ended), "cut off at {len}: {error}");
        assert!(error.offset <= len as u64);
    }
}

#[test]
fn a_changed_byte_is_detected() {
    let texts: Vec<Vec<u8>> = (0..5).map(|n| vec![b'a' + n; 5 * usize::from(n)]).collect();
    let file = saved(&everything(&texts, small_shapes()));
    for at in 0..file.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] ^= change;
            // The first versions have no checksum.
            let records = Records::open(Source::new(&changed[..], changed.len() as u64), true);
            if records.is_err() || records.is_ok_and(|records| records.version() >= 5) {
                refused(&changed);
            }
        }
    }
}

#[test]
fn errors_say_what_and_where() {
    let cases: [(&[u8], &str); 12] = [
        (b"REDIX0011", "Wrong signature trying to load DB from file at offset 9 (start)"),
        (b"REDIS0013", "Can't handle RDB format version 13 at offset 9 (start)"),
        (b"REDIS0000", "Can't handle RDB format version 0 at offset 9 (start)"),
        (b"REDIS00", "Unexpected EOF reading RDB file at offset 0 (start)"),
        (b"REDIS0011\x08", "Invalid object type: 8 at offset 10 (read-type)"),
        (
            b"REDIS0011\x00\x01k\xc4",
            "Internal error in RDB reading: an unknown form of string at offset 13 (read-object-value of key 'k', type 0: string)",
        ),
        (
            b"REDIS0011\x02\x01k\x02\x01a\x01a",
            "Internal error in RDB reading: a duplicate element at offset 17 (read-object-value of key 'k', type 2: set-hashtable)",
        ),
        (
            b"REDIS0011\xfe\x10",
            "Data file was created with a Redis server configured to handle more databases: 16 at offset 11 (read-len)",
        ),
        (b"REDIS0011\xf6", "Pre-release function format not supported at offset 10 (read-type)"),
        (
            b"REDIS0011\x07\x01k\x00",
            "The RDB file contains module data I can't load at offset 12 (read-object-value of key 'k', type 7: module-value)",
        ),
        (b"REDIS0011\xf7\x00\x01\x00\x00", "bad when_opcode at offset 13 (read-module-aux)"),
        (
            b"REDIS0011\xff12345678",
            "RDB CRC error: Wrong RDB checksum expected: (3837363534333231) but got (6f15bb11c5ddcb8e) at offset 18 (check-sum)",
        ),
    ];
    for (file, expected) in cases {
        let text = refused(file).to_string();
        let (text, expected) = match expected.split_once("got (") {
            // The value of the checksum does not matter here.
            Some((before, _)) => (text.split_once("got (").expect("a checksum").0.to_string(), before),
            None => (text, expected),
        };
        assert_eq!(text, expected);
    }
    let error = io::Error::other("the disk is on fire");
    let mut error = Some(error);
    let source = Pieces(move |_: &mut [u8]| Err(error.take().expect("once")));
    let error = Loader::new(source, 100, LOAD).err().expect("it fails");
    assert_eq!(error.to_string(), "Error reading the RDB file: the disk is on fire at offset 0 (start)");
}

#[test]
fn a_key_twice_is_an_error_unless_it_may_replace_the_other() {
    let twice = file(11, b"\xfe\x02\x00\x01k\x01a\xfc\x00\x00\x00\x00\x00\x00\x00\x7f\x00\x01k\x01b");
    let error = refused(&twice);
    assert!(matches!(error.fault, Fault::Duplicate(2)), "{error}");
    assert_eq!(error.key.as_deref(), Some(&b"k"[..]));

    let mut to = keyspace();
    string(&mut to, 2, "k", b"old");
    string(&mut to, 2, "other", b"stays");
    let options = LoadOptions { merge: true, ..LOAD };
    load(&mut to, &twice[..], 100, options).expect("a good file");
    let db = to.db(2);
    let entry = db.get(db.find(to.hash(b"k"), b"k").expect("it is there"));
    assert_eq!(entry.value().to_vec(), b"b");
    assert_eq!((db.len(), db.expires().len()), (2, 1));
    assert_eq!(to.counters.dirty, 0, "loading is not a change");
}

#[test]
fn what_has_expired_is_loaded_only_where_nothing_else_would_delete_it() {
    let expired = (NOW_MS - 1).to_le_bytes();
    let body =
        [b"\xfc", &expired[..], b"\x00\x01a\x01a\xfc", &NOW_MS.to_le_bytes(), b"\x00\x01b\x01b"].concat();
    let file = file(11, &body);
    let (to, report) = loaded(&file);
    assert_eq!((to.db(0).len(), report.keys, report.expired), (1, 1, 1));
    let mut to = keyspace();
    let options = LoadOptions { drop_expired_before: None, ..LOAD };
    let report = load(&mut to, &file[..], file.len() as u64, options).expect("a good file");
    assert_eq!((to.db(0).len(), report.keys, report.expired), (2, 2, 0));
    let id = [&b"\xfa\x07repl-id\x28"[..], &[b'a'; 40]].concat();
    let (to, report) = loaded(&super::tests::file(11, &[&id[..], &body].concat()));
    assert_eq!((to.db(0).len(), report.keys, report.expired), (2, 2, 0));
}

#[test]
fn a_collection_without_elements_is_skipped() {
    let body = b"\x02\x01s\x00\x04\x01h\x00\x0e\x01q\x00\x03\x01z\x00\x01\x01l\x00\x0b\x01i\x08\x02\0\0\0\0\0\0\0\x00\x01k\x01v";
    let (to, report) = loaded(&file(11, body));
    assert_eq!((to.db(0).len(), report.keys, report.empty), (1, 1, 6));
}

#[test]
fn files_of_all_versions_are_read() {
    // Seconds, and the values of the first versions: a list and a set element by element, scores as digits.
    let body = b"\xfe\x00\xfd\xff\xff\xff\x7f\x00\x01k\x01v\x01\x01l\x02\x01a\xc0\x07\x02\x01s\x01\x01a\
        \x03\x01z\x02\x01a\x031.5\x01b\xfe\x04\x01h\x01\x01f\x01v";
    for version in 1..=12 {
        let (to, report) = loaded(&file(version, body));
        assert_eq!(report.checksum, Some(if version < 5 { Checksum::None } else { Checksum::Right }));
        assert_eq!((to.db(0).len(), to.db(0).expires().len()), (5, 1));
        let mut from = keyspace();
        let shapes = from.shapes;
        add(&mut from, 0, b"k", Entry::string(b"", b"v", None), Some(i64::from(i32::MAX) * 1000));
        add(&mut from, 0, b"l", list_of(&[b"a".to_vec(), b"7".to_vec()], &shapes), None);
        add(&mut from, 0, b"s", set_of(&[b"a".to_vec()], &shapes), None);
        let mut zset = crate::types::sorted_set::create(b"", 1, 1, &shapes);
        for (member, score) in [(b"a", 1.5), (b"b", f64::INFINITY)] {
            let how = crate::types::sorted_set::How::default();
            let _ = crate::types::sorted_set::apply(&mut zset, member, score, how, &shapes);
        }
        add(&mut from, 0, b"z", zset, None);
        let hash = crate::types::hash::single(b"", &shapes, b"f", b"v", None);
        add(&mut from, 0, b"h", hash, None);
        assert_eq!(digest::of_keyspace(&to), digest::of_keyspace(&from));
    }
}

#[test]
fn what_later_servers_and_modules_write_is_skipped() {
    let module = b"\xf7\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x02\x05\x03abc\x02\x07\x03abcd\x04abcdefgh\x01\x01\x00";
    let slot = b"\xf4\x01\x02\x03";
    let aux = b"\xfa\x07unknown\xc0\x01";
    let (to, report) = loaded(&file(12, &[&module[..], slot, aux, b"\x00\x01k\x01v"].concat()));
    assert_eq!((to.db(0).len(), report.skipped_module_data), (1, 1));
}

#[test]
fn claims_of_a_file_reserve_nothing_that_it_cannot_hold() {
    let huge = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    let with = |before: &[u8], after: &[u8]| file(12, &[before, &huge[..], after].concat());
    // A database, a list, a set, a sorted set, a hash, a string, and a stream of that many.
    refused(&with(b"\xfb", &[&huge[..], b"\x00\x01k\x04v"].concat()));
    for kind in [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21] {
        refused(&with(&[kind, 1, b'k'], b"\x01a\x01b"));
    }
    refused(&with(b"\x18\x01k12345678", b"\x01a\x01b"));
    // A compressed string of that length.
    refused(&with(b"\x00\x01k\xc3\x05", b"abcde"));
    let (to, _) = loaded(&with(b"\xfb", &[&huge[..], b"\x00\x01k\x01v"].concat()));
    assert_eq!(to.db(0).len(), 1);
    assert!(to.db(0).table_bytes() < 10_000);
}

#[test]
fn what_follows_the_end_is_handed_on() {
    let mut from = keyspace();
    string(&mut from, 0, "k", b"v");
    let head = saved(&from);
    let tail = vec![b'*'; 3 << 20];
    let file = [&head[..], &tail[..]].concat();
    let mut to = keyspace();
    let mut loader = Loader::new(&file[..], file.len() as u64, LOAD).expect("a good file");
    while loader.load_some(&mut to, 10).expect("a good file") == Step::More {}
    assert_eq!(loader.offset(), head.len() as u64);
    let (report, read, rest) = loader.into_rest();
    assert_eq!(report.keys, 1);
    assert!([&read, rest].concat() == tail);
}
