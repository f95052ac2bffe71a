//! Checks the commands of each type, word for word. That they recreate the data set is tested against servers in
//! `tests/aof_files.rs`.

use super::*;
use crate::db::Moment;
use crate::dict::Seed;
use crate::persist::aof::Reader;
use crate::types::hash::{self, Condition, FieldExpiry, HashMut};
use crate::types::list::End;
use crate::types::{Shapes, set, sorted_set};

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(16, Seed::plain());
    keyspace.moment = Moment::at(1000);
    keyspace
}

fn add(keyspace: &mut Keyspace, db: usize, entry: Entry) {
    let name = entry.key().to_vec();
    let key = keyspace.key(db, &name);
    keyspace.insert(key, entry);
}

/// The commands as lines of words.
fn lines(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes);
    let mut lines = Vec::new();
    loop {
        let batch = reader.next_batch(64).expect("a good log");
        if batch.is_empty() {
            return lines;
        }
        for index in 0..batch.len() {
            let words: Vec<String> =
                batch.arguments(index).map(|word| word.escape_ascii().to_string()).collect();
            lines.push(words.join(" "));
        }
    }
}

fn dumped(keyspace: &Keyspace) -> Vec<String> {
    let mut bytes = Vec::new();
    let len = dump(keyspace, &[], None, &mut bytes, &mut |_| {}).expect("a vector takes everything");
    assert_eq!(len, bytes.len() as u64);
    lines(&bytes)
}

#[test]
fn what_precedes_the_keys_is_the_time_and_the_functions() {
    let mut bytes = Vec::new();
    dump(&keyspace(), &[b"#!lua"], Some(1_700_000_000), &mut bytes, &mut |_| {}).expect("written");
    assert_eq!(bytes, b"#TS:1700000000\r\n*3\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$5\r\n#!lua\r\n");
    assert_eq!(dumped(&keyspace()), [""; 0]);
}

#[test]
fn each_database_is_selected_and_each_key_made_by_commands_of_its_type() {
    let shapes = Shapes::new(Seed::plain());
    let mut keyspace = keyspace();
    add(&mut keyspace, 0, Entry::string(b"s", b"a b", Some(-5)));
    assert_eq!(dumped(&keyspace), ["SELECT 0", "SET s a b", "PEXPIREAT s -5"]);

    let mut keyspace = self::keyspace();
    let mut list = list::create(b"l");
    (0..130).for_each(|n: i64| list::push(&mut list, End::Back, Decimal::new(n).as_bytes(), &shapes));
    add(&mut keyspace, 9, list);
    let group = |from: usize, to: usize| -> String {
        (from..to).flat_map(|n| [" ".to_string(), n.to_string()]).collect()
    };
    assert_eq!(
        dumped(&keyspace),
        [
            "SELECT 9".to_string(),
            format!("RPUSH l{}", group(0, 64)),
            format!("RPUSH l{}", group(64, 128)),
            "RPUSH l 128 129".to_string(),
        ]
    );

    let mut keyspace = self::keyspace();
    add(&mut keyspace, 1, set::create(b"s", b"7", 1, &shapes));
    keyspace.modify(1, find(&keyspace, 1, b"s"), |entry| {
        set::add(entry, b"7", &shapes);
        set::add(entry, b"8", &shapes);
    });
    let mut zset = sorted_set::create(b"z", 1, 1, &shapes);
    for (member, score) in [(b"a", 0.1), (b"b", -0.0), (b"c", f64::INFINITY), (b"d", 1e100)] {
        assert!(sorted_set::apply(&mut zset, member, score, sorted_set::How::default(), &shapes).is_ok());
    }
    add(&mut keyspace, 2, zset);
    assert_eq!(dumped(&keyspace), ["SELECT 1", "SADD s 7 8", "SELECT 2", "ZADD z 0 b 0.1 a 1e+100 d inf c"]);
}

fn find(keyspace: &Keyspace, db: usize, key: &[u8]) -> crate::db::Position {
    keyspace.db(db).find(keyspace.hash(key), key).expect("there")
}

#[test]
fn fields_that_expire_get_their_times_after_all_fields_were_set() {
    let shapes = Shapes::new(Seed::plain());
    let mut entry = hash::create(b"h", &shapes, 0, std::iter::empty());
    let mut hash = HashMut::new(&mut entry, &shapes, 0);
    for (field, time) in [(b"a", None), (b"b", Some(5)), (b"c", Some(7000))] {
        hash.set(field, Text::Bytes(b"v"), None, FieldExpiry::Remove);
        if let Some(time) = time {
            hash.set_expiry(field, time, Condition::Always);
        }
    }
    let mut keyspace = keyspace();
    add(&mut keyspace, 0, entry);
    let mut lines = dumped(&keyspace);
    let times = lines.split_off(2);
    assert_eq!(lines[1].split(' ').count(), 8);
    assert_eq!(times, ["HPEXPIREAT h 5 FIELDS 1 b", "HPEXPIREAT h 7000 FIELDS 1 c"]);
}

#[test]
fn a_stream_keeps_figures_groups_and_pending_entries() {
    let shapes = Shapes::new(Seed::plain());
    let mut stream = Stream::default();
    for ms in 1..=3 {
        stream.append(Id { ms, seq: 0 }, 1, [&b"f"[..], b"v"].into_iter(), &shapes);
    }
    let mut group = Group::new(b"g", Id { ms: 0, seq: 0 }, Some(0));
    let alice = group.add_consumer(b"alice", 5).expect("a new one");
    group.add_consumer(b"bob", 6).expect("a new one");
    stream.add_group(group);
    stream.deliver(b"g", alice, (1, false, 77), |_| ());
    stream.delete(&[Id { ms: 2, seq: 0 }]);
    stream.add_group(Group::new(b"new", Id { ms: 3, seq: 0 }, None));
    let mut keyspace = keyspace();
    add(&mut keyspace, 0, Entry::with_container(b"x", stream, None));
    assert_eq!(
        dumped(&keyspace),
        [
            "SELECT 0",
            "XADD x 1-0 f v",
            "XADD x 3-0 f v",
            "XSETID x 3-0 ENTRIESADDED 3 MAXDELETEDID 2-0",
            "XGROUP CREATE x g 1-0 ENTRIESREAD 1",
            "XCLAIM x g alice 0 1-0 TIME 77 RETRYCOUNT 1 JUSTID FORCE",
            "XGROUP CREATECONSUMER x g bob",
            "XGROUP CREATE x new 3-0 ENTRIESREAD -1",
        ]
    );
    let mut keyspace = self::keyspace();
    let mut stream = Stream::default();
    for ms in 1..=3 {
        stream.append(Id { ms, seq: 0 }, 1, [&b"f"[..], b"v"].into_iter(), &shapes);
    }
    let mut group = Group::new(b"g", Id { ms: 0, seq: 0 }, Some(0));
    let alice = group.add_consumer(b"alice", 5).expect("a new one");
    stream.add_group(group);
    stream.deliver(b"g", alice, (3, false, 77), |_| ());
    stream.delete(&[1, 3].map(|ms| Id { ms, seq: 0 }));
    add(&mut keyspace, 0, Entry::with_container(b"x", stream, None));
    assert_eq!(
        dumped(&keyspace)[1..],
        [
            "XADD x 1-0 x y",
            "XADD x 2-0 f v",
            "XADD x 3-0 x y",
            "XSETID x 3-0 ENTRIESADDED 3 MAXDELETEDID 3-0",
            "XGROUP CREATE x g 3-0 ENTRIESREAD 3",
            "XCLAIM x g alice 0 1-0 TIME 77 RETRYCOUNT 1 JUSTID FORCE",
            "XCLAIM x g alice 0 2-0 TIME 77 RETRYCOUNT 1 JUSTID FORCE",
            "XCLAIM x g alice 0 3-0 TIME 77 RETRYCOUNT 1 JUSTID FORCE",
            "XDEL x 1-0",
            "XDEL x 3-0",
            "XSETID x 3-0 ENTRIESADDED 3 MAXDELETEDID 3-0",
        ]
    );
    let mut keyspace = self::keyspace();
    add(&mut keyspace, 0, Entry::with_container(b"x", Stream::default(), None));
    assert_eq!(
        dumped(&keyspace)[1..],
        ["XADD x MAXLEN 0 0-1 x y", "XSETID x 0-0 ENTRIESADDED 0 MAXDELETEDID 0-0"]
    );
}

#[test]
fn a_write_that_fails_ends_it_and_large_values_are_written_as_they_are() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(left) = self.0.checked_sub(bytes.len()) else {
                return Err(io::ErrorKind::StorageFull.into());
            };
            self.0 = left;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut keyspace = keyspace();
    for n in 0..100 {
        add(&mut keyspace, 0, Entry::string(format!("key{n}").as_bytes(), &vec![b'x'; LARGE + n], None));
    }
    let mut bytes = Vec::new();
    let len = dump(&keyspace, &[], None, &mut bytes, &mut |_| {}).expect("written");
    assert_eq!(lines(&bytes).len(), 101);
    for room in [0, 100, LARGE, len as usize - 1] {
        let mut keys = 0;
        let failed = dump(&keyspace, &[], None, &mut Full(room), &mut |progress| keys = progress.keys);
        assert_eq!(failed.expect_err("no room").kind(), io::ErrorKind::StorageFull);
        assert!(keys <= room as u64 / LARGE as u64 + 2);
    }
    assert_eq!(dump(&keyspace, &[], None, &mut Full(len as usize), &mut |_| {}).expect("room"), len);
}
