//! Entries against a plain model: a change to the value or the expiry leaves everything else unchanged.

use proptest::prelude::*;

use super::block::Block;
use super::entry::{Entry, NO_EXPIRE_INDEX};
use super::kind::{Encoding, Kind};
use super::string::Text;

fn text(entry: &Entry) -> Vec<u8> {
    entry.value().to_vec()
}

#[test]
fn the_memory_of_an_entry_is_what_the_layout_says() {
    let key = [b'k'; 16];
    let size = |entry: Entry| entry.size();
    assert_eq!(size(Entry::string(&key, b"xxx", None)), 26);
    assert_eq!(size(Entry::string(&key, b"123", None)), 30);
    assert_eq!(size(Entry::string(&key, &[b'v'; 32], None)), 55);
    assert_eq!(size(Entry::string(&key, b"xxx", Some(1))), 38);
    assert_eq!(size(Entry::string(&key, &[b'v'; 255], None)), 6 + 16 + 256);
    assert_eq!(size(Entry::string(&key, &[b'v'; 256], None)), 6 + 16 + 8);
}

#[test]
fn a_string_set_as_a_whole_gets_the_encoding_that_redis_gives_it() {
    let encoding = |value: &[u8]| {
        let entry = Entry::string(b"k", value, None);
        let mut set = Entry::string(b"k", b"something else", None);
        set.set_string(value);
        assert_eq!(text(&entry), value);
        assert_eq!(text(&set), value);
        assert_eq!(set.encoding(), entry.encoding());
        assert_eq!(entry.string_len(), value.len());
        assert_eq!(entry.kind(), Kind::String);
        entry.encoding()
    };
    let ints = ["0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808", "1000000000000000000"];
    for value in ints {
        assert_eq!(encoding(value.as_bytes()), Encoding::Int, "{value}");
    }
    let strings = [
        "",
        "-",
        "01",
        "-0",
        "-01",
        "00",
        " 1",
        "1 ",
        "+1",
        "1.0",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "10000000000000000000",
        "99999999999999999999",
        "-10000000000000000000",
        "123456789012345678901",
        "0x10",
        "1\0",
        "--1",
    ];
    for value in strings {
        assert_eq!(encoding(value.as_bytes()), Encoding::Embstr, "{value}");
    }
    assert_eq!(encoding(&[b'x'; 44]), Encoding::Embstr);
    for len in [45, 254, 255, 256, 257, 5000, 100_000] {
        assert_eq!(encoding(&vec![b'x'; len]), Encoding::Raw, "{len}");
    }
}

#[test]
fn a_raw_string_is_raw_whatever_its_length_and_whatever_was_there() {
    for len in [0, 1, 18, 44, 255, 256, 3000] {
        let value = vec![b'7'; len];
        let mut entries = [
            Entry::raw_string(b"k", &value, None),
            Entry::integer(b"k", 5, Some(9)),
            Entry::string(b"k", b"abc", None),
            Entry::raw_string(b"k", &[0; 1000], None),
        ];
        for entry in &mut entries[1..] {
            entry.set_raw(&value);
        }
        for entry in &entries {
            assert_eq!(text(entry), value);
            assert_eq!(entry.encoding(), Encoding::Raw);
        }
        assert_eq!(entries[1].expire_at(), Some(9));
    }
}

#[test]
fn integers_are_read_back_as_numbers() {
    for n in [0, 1, -1, i64::MAX, i64::MIN, 42] {
        assert_eq!(Entry::string(b"k", n.to_string().as_bytes(), None).value(), Text::Int(n));
        assert_eq!(Entry::integer(b"k", n, Some(5)).value(), Text::Int(n));
        assert_eq!(Text::Int(n).len(), n.to_string().len());
    }
}

#[test]
fn keys_of_every_length_come_back() {
    for len in [0, 1, 16, 254, 255, 256, 257, 70_000] {
        let key: Vec<u8> = (0..len).map(|i| i as u8).collect();
        for expire in [None, Some(i64::MIN), Some(1_700_000_000_000)] {
            let mut entry = Entry::string(&key, b"value", expire);
            assert_eq!(entry.key(), key);
            assert_eq!(entry.expire_at(), expire);
            assert_eq!(text(&entry), b"value");
            entry.set_string(&[0; 300]);
            entry.append(&key);
            assert_eq!(entry.key(), key);
            assert_eq!(entry.expire_at(), expire);
            assert_eq!(entry.string_len(), 300 + len);
        }
    }
}

#[test]
fn appending_makes_a_string_raw_whatever_it_was() {
    for value in ["12", "abc", ""] {
        let mut entry = Entry::string(b"k", value.as_bytes(), None);
        assert_eq!(entry.append(b""), value.len());
        assert_eq!(entry.encoding(), Encoding::Raw, "{value}");
        assert_eq!(entry.append(b"34"), value.len() + 2);
        assert_eq!(text(&entry), [value.as_bytes(), b"34"].concat());
        assert_eq!(entry.encoding(), Encoding::Raw);
        entry.set_string(b"5");
        assert_eq!(entry.encoding(), Encoding::Int);
    }
}

#[test]
fn appending_past_what_fits_the_entry_moves_the_value_to_a_block_with_room() {
    let mut entry = Entry::string(b"k", &[b'x'; 254], Some(7));
    assert_eq!(entry.append(b"y"), 255);
    assert!(entry.block().is_none());
    assert_eq!(entry.append(b"z"), 256);
    let block = entry.block().expect("256 bytes are in a block");
    assert_eq!(&block[253..], b"xyz");
    assert!(block.capacity() >= 512);
    assert_eq!(entry.expire_at(), Some(7));
}

#[test]
fn a_block_in_an_output_queue_keeps_its_bytes_while_the_key_changes() {
    let mut entry = Entry::string(b"k", &[b'x'; 1000], None);
    let queued = entry.block().unwrap().share();
    entry.append(b"more");
    assert_eq!(&*queued, &[b'x'; 1000]);
    let queued = entry.block().unwrap().share();
    entry.bytes_mut(0)[0] = b'y';
    entry.set_string(&[b'z'; 900]);
    assert_eq!(queued[0], b'x');
    assert_eq!(queued.len(), 1004);
    let queued = entry.block().unwrap().share();
    entry.set_string(b"7");
    drop(entry);
    assert_eq!(&*queued, &[b'z'; 900]);
    assert!(!queued.is_shared());
}

#[test]
fn a_short_block_is_copied_into_the_entry_and_stays_raw() {
    let entry = Entry::with_block(b"k", Block::from(&b"123"[..]), None);
    assert!(entry.block().is_none());
    assert_eq!(entry.encoding(), Encoding::Raw);
    assert_eq!(text(&entry), b"123");
}

#[test]
fn a_string_of_zeroes_is_raw_at_every_length() {
    for len in [0, 1, 44, 255, 256, 5000, 1 << 20] {
        let entry = Entry::zeroed(b"k", len, Some(3));
        assert_eq!(entry.encoding(), Encoding::Raw, "{len}");
        assert_eq!(text(&entry), vec![0; len]);
        assert_eq!(entry.expire_at(), Some(3));
    }
}

#[test]
fn a_write_far_beyond_the_end_keeps_the_text_and_puts_zeroes_between() {
    for value in ["-42", "text", ""] {
        for len in [3, 255, 256, 1 << 20] {
            let mut entry = Entry::string(b"k", value.as_bytes(), None);
            let bytes = entry.bytes_mut(len);
            assert_eq!(bytes.len(), len.max(value.len()));
            assert_eq!(&bytes[..value.len()], value.as_bytes());
            assert!(bytes[value.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(entry.encoding(), Encoding::Raw);
        }
    }
}

#[test]
fn a_text_is_read_the_same_whether_it_is_a_number_or_not() {
    for value in [&b"-9223372036854775808"[..], b"0", b"", b"text", &[7; 1000]] {
        assert_eq!(Entry::string(b"k", value, None).value().with_bytes(<[u8]>::to_vec), value);
    }
}

#[test]
fn a_taken_block_is_the_only_owner_of_its_bytes() {
    let mut entry = Entry::string(b"k", &[b'x'; 1000], None);
    let block = entry.take_block().unwrap();
    assert!(!block.is_shared());
    assert_eq!(text(&entry), b"");
    assert!(entry.take_block().is_none());
}

#[test]
fn access_bits_and_expiry_index_are_written_through_a_shared_reference() {
    let entry = Entry::string(b"k", b"v", Some(9));
    let key = entry.key();
    entry.set_access(0x00ab_cdef);
    entry.set_expire_index(3);
    assert_eq!((key, entry.access(), entry.expire_index()), (&b"k"[..], 0x00ab_cdef, 3));
    assert_eq!((entry.encoding(), entry.expire_at()), (Encoding::Embstr, Some(9)));
    let plain = Entry::string(b"k", b"v", None);
    plain.set_expire_index(3);
    assert_eq!(plain.expire_index(), NO_EXPIRE_INDEX);
    assert_eq!(text(&plain), b"v");
}

#[test]
fn only_values_with_many_pages_are_large() {
    assert!(!Entry::string(b"k", &vec![0; 100_000], None).is_large());
    assert!(Entry::string(b"k", &vec![0; 200_000], None).is_large());
    assert!(!Entry::string(&vec![b'k'; 200_000], b"v", None).is_large());
}

#[test]
fn an_entry_can_be_dropped_on_another_thread() {
    let entries: Vec<Entry> =
        (0..1000u32).map(|i| Entry::string(&i.to_le_bytes(), &vec![1; i as usize], None)).collect();
    std::thread::spawn(move || drop(entries)).join().unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>),
    SetPlain(Vec<u8>),
    SetInteger(i64),
    SetBlock(Vec<u8>),
    Append(Vec<u8>),
    Write { min_len: usize, at: usize, byte: u8 },
    Expire(Option<i64>),
    ExpireIndex(u32),
    Access(u32),
    Take,
    ThroughRaw,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..70),
        2 => prop::collection::vec(any::<u8>(), 240..270),
        1 => prop::collection::vec(any::<u8>(), 0..5000),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => (-20i64..20).prop_map(|n| n.to_string().into_bytes()),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 250..260),
        1 => prop::collection::vec(any::<u8>(), 4000..4200),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        bytes().prop_map(Step::Set),
        bytes().prop_map(Step::SetPlain),
        any::<i64>().prop_map(Step::SetInteger),
        bytes().prop_map(Step::SetBlock),
        bytes().prop_map(Step::Append),
        (0usize..600, 0usize..600, any::<u8>()).prop_map(|(min_len, at, byte)| Step::Write {
            min_len,
            at,
            byte
        }),
        any::<Option<i64>>().prop_map(Step::Expire),
        any::<u32>().prop_map(Step::ExpireIndex),
        (0u32..1 << 24).prop_map(Step::Access),
        Just(Step::Take),
        Just(Step::ThroughRaw),
    ]
}

#[derive(Debug, PartialEq)]
struct Model {
    key: Vec<u8>,
    value: Vec<u8>,
    encoding: Encoding,
    access: u32,
    expire: Option<i64>,
    index: u32,
}

impl Model {
    fn of(entry: &Entry) -> Model {
        Model {
            key: entry.key().to_vec(),
            value: text(entry),
            encoding: entry.encoding(),
            access: entry.access(),
            expire: entry.expire_at(),
            index: entry.expire_index(),
        }
    }

    fn set(&mut self, value: Vec<u8>, may_be_int: bool) {
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok());
        let is_int = may_be_int && number.is_some_and(|n| n.to_string().as_bytes() == value);
        self.encoding = match value.len() {
            _ if is_int => Encoding::Int,
            0..=44 => Encoding::Embstr,
            _ => Encoding::Raw,
        };
        self.value = value;
    }
}

fn apply(mut entry: Entry, model: &mut Model, step: Step) -> Entry {
    match step {
        Step::Set(value) => {
            entry.set_string(&value);
            model.set(value, true);
        }
        Step::SetPlain(value) => {
            entry.set_plain(&value);
            model.set(value, false);
        }
        Step::SetInteger(n) => {
            entry.set_integer(n);
            model.set(n.to_string().into_bytes(), true);
        }
        Step::SetBlock(value) => {
            entry.set_block(Block::from(&value[..]));
            model.set(value, false);
            model.encoding = Encoding::Raw;
        }
        Step::Append(value) => {
            model.value.extend_from_slice(&value);
            model.encoding = Encoding::Raw;
            assert_eq!(entry.append(&value), model.value.len());
        }
        Step::Write { min_len, at, byte } => {
            let len = model.value.len().max(min_len);
            model.value.resize(len, 0);
            model.encoding = Encoding::Raw;
            let value = entry.bytes_mut(min_len);
            assert_eq!(value.len(), len);
            if at < len {
                value[at] = byte;
                model.value[at] = byte;
            }
        }
        Step::Expire(expire) => {
            entry.set_expire(expire);
            if model.expire.is_none() || expire.is_none() {
                model.index = NO_EXPIRE_INDEX;
            }
            model.expire = expire;
        }
        Step::ExpireIndex(index) => {
            entry.set_expire_index(index);
            if model.expire.is_some() {
                model.index = index;
            }
        }
        Step::Access(access) => {
            entry.set_access(access);
            model.access = access;
        }
        Step::Take => {
            let had_block = entry.block().is_some();
            if let Some(block) = entry.take_block() {
                assert_eq!(&*block, &model.value[..]);
                model.set(Vec::new(), false);
            }
            assert_eq!(had_block, model.value.is_empty() && had_block);
        }
        Step::ThroughRaw => {
            let at = entry.into_raw();
            // SAFETY: `at` was just given up by the entry.
            assert_eq!(unsafe { Entry::key_at(at) }, model.key);
            // SAFETY: as above; no other entry has been made of it.
            entry = unsafe { Entry::from_raw(at) };
        }
    }
    entry
}

proptest! {
    #[test]
    fn no_sequence_of_writes_loses_key_value_access_bits_or_expiry(
        key in key(),
        first in bytes(),
        expire in any::<Option<i64>>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut entry = Entry::string(&key, &first, expire);
        let mut model = Model {
            key,
            value: Vec::new(),
            encoding: Encoding::Embstr,
            access: 0,
            expire,
            index: NO_EXPIRE_INDEX,
        };
        model.set(first, true);
        prop_assert_eq!(&Model::of(&entry), &model);
        for step in steps {
            entry = apply(entry, &mut model, step);
            prop_assert_eq!(&Model::of(&entry), &model);
            prop_assert_eq!(entry.string_len(), model.value.len());
            prop_assert!(entry.memory_bytes() >= model.key.len());
        }
    }
}
