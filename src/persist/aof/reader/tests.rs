//! Commands are read in order whatever the pieces in which a file arrives, and every kind of damage is reported with
//! the right error.

use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::resp::{Protocol, Reply};

/// A file that returns at most a given number of bytes per read.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = self.1.min(room.len());
        self.0.read(&mut room[..most])
    }
}

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, Protocol::Resp2);
    out.array(arguments.len());
    for argument in arguments {
        out.bulk(argument);
    }
    bytes
}

/// The result of a reader: the commands with their ends, the annotations that it keeps, and how the file ended.
#[derive(Debug, PartialEq)]
struct Found {
    commands: Vec<(Vec<Vec<u8>>, u64)>,
    /// Each with the number of commands before it.
    notes: Vec<(usize, Vec<u8>)>,
    /// `Err` with the offset and whether the file was only truncated.
    end: Result<u64, (bool, u64)>,
}

fn collect<R: Read>(mut reader: Reader<R>, most: usize) -> Found {
    let (mut commands, mut notes) = (Vec::new(), Vec::new());
    let end = loop {
        match reader.next_batch(most) {
            Ok(batch) if batch.is_empty() => break Ok(reader.offset()),
            Ok(batch) => {
                assert!(batch.len() <= most && batch.notes().len() <= NOTES);
                let before = commands.len();
                notes.extend(batch.notes().iter().map(|(index, line)| (before + index, line.clone())));
                for index in 0..batch.len() {
                    let arguments = batch.arguments(index).map(<[u8]>::to_vec).collect();
                    commands.push((arguments, batch.end(index)));
                }
            }
            Err(ReadError::Truncated { valid_up_to }) => {
                assert_eq!(reader.valid_up_to(), valid_up_to);
                break Err((true, valid_up_to));
            }
            Err(ReadError::Malformed { offset, .. }) => break Err((false, offset)),
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    };
    Found { commands, notes, end }
}

/// Reads `bytes` in several ways, which must all give the same result.
fn read(bytes: &[u8]) -> Found {
    let whole = collect(Reader::new(bytes), 64);
    for (piece, window, most) in [(1, 1, 1), (7, 16, 3), (100_000, 64, 2)] {
        let reader = Reader::new(Pieces(bytes, piece)).with_window(window, 1 << 30);
        assert_eq!(collect(reader, most), whole);
        let reader = Reader::new(Pieces(bytes, piece)).with_window(window, 64);
        assert_eq!(collect(reader, most), whole);
        let (leftover, rest) = bytes.split_at(bytes.len().min(most * 10));
        let later = Reader::after(rest, leftover.to_vec(), 0);
        assert_eq!(collect(later, most), whole);
    }
    whole
}

fn words(found: &Found) -> Vec<Vec<String>> {
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    found.commands.iter().map(|(words, _)| words.iter().map(text).collect()).collect()
}

#[test]
fn commands_come_in_order_without_the_annotations_among_them() {
    let bytes = [
        &b"#TS:1700000000\r\n"[..],
        &command(&[b"SELECT", b"0"]),
        b"# anything\n#\n",
        &command(&[b"SET", b"key", b""]),
        b"#TS:1700000001\r\n",
    ]
    .concat();
    let found = read(&bytes);
    assert_eq!(words(&found), [vec!["SELECT", "0"], vec!["SET", "key", ""]]);
    assert_eq!(found.end, Ok(bytes.len() as u64));
    assert_eq!(found.commands[0].1, 16 + 23);
    assert_eq!(read(b"").end, Ok(0));
}

#[test]
fn annotations_of_the_place_in_the_stream_come_with_the_number_of_commands_before_them() {
    let set = command(&[b"SET", b"key", b"value"]);
    let lines = ["#REPL:id:5\r\n", "#TS:1700000000\r\n", "#REPL-OFFSET:7\r\n"];
    let bytes = [lines[0].as_bytes(), &set, &set, lines[1].as_bytes(), lines[2].as_bytes()].concat();
    let found = read(&bytes);
    let note = |before, line: &str| (before, line.as_bytes().to_vec());
    assert_eq!(found.notes, [note(0, lines[0]), note(2, lines[2])]);
    assert_eq!((found.commands.len(), found.end), (2, Ok(bytes.len() as u64)));
    assert_eq!(found.commands[0].1, (lines[0].len() + set.len()) as u64);
    let many = [lines[2].repeat(5 * NOTES).as_bytes(), b"?"].concat();
    let found = read(&many);
    assert_eq!(found.notes.len(), 5 * NOTES);
    assert_eq!(found.end, Err((false, many.len() as u64 - 1)), "the error comes after them");
    let cut = read(&[lines[0].as_bytes(), &set[..9]].concat());
    assert_eq!((cut.notes.len(), cut.end), (1, Err((true, 0))));
}

#[test]
fn a_command_that_was_cut_off_anywhere_is_truncated() {
    let first = command(&[b"SET", b"key", b"value"]);
    let second = command(&[b"RPUSH", b"list", b"a", &[b'b'; 100]]);
    let bytes = [&first[..], &second].concat();
    for len in first.len() + 1..bytes.len() {
        let found = read(&bytes[..len]);
        assert_eq!(found.commands.len(), 1);
        assert_eq!(found.end, Err((true, first.len() as u64)), "{len}");
    }
    assert_eq!(read(b"#TS:17").end, Err((true, 0)), "what follows would belong to the line");
}

#[test]
fn a_transaction_without_end_is_cut_off_before_its_start() {
    let set = command(&[b"SET", b"key", b"value"]);
    let multi = command(&[b"multi"]);
    let exec = command(&[b"Exec"]);
    let whole = [&set[..], &multi, &set, &exec].concat();
    assert_eq!(read(&whole).end, Ok(whole.len() as u64));
    let open = [&whole[..], &multi, &set, &set].concat();
    assert_eq!(read(&open).end, Err((true, whole.len() as u64)));
    assert_eq!(read(&open[..open.len() - 1]).end, Err((true, whole.len() as u64)));
}

#[test]
fn what_is_not_a_command_is_refused_with_the_place_where_it_begins() {
    let good = command(&[b"SET", b"key", b"value"]);
    for bad in [
        &b"SET key value\r\n"[..],
        b"\0\0\0\0",
        b"*0\r\n",
        b"*-1\r\n",
        b"*x\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\nX",
        b"*2\r\n$4\r\nPING\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\r\n$4xPING\r\n",
        b"*9223372036854775807\r\n",
        &[b'#'; 2000],
    ] {
        let bytes = [&good[..], bad].concat();
        let found = read(&bytes);
        assert_eq!((found.commands.len(), found.end), (1, Err((false, 33))), "{}", bad.escape_ascii());
    }
}

#[test]
fn large_arguments_are_read_into_blocks_of_their_own() {
    let large = vec![b'x'; 3 * WINDOW + 5];
    let bytes = [
        command(&[b"SET", b"key", &large]),
        command(&[b"MSET", b"a", &large[..40_000], b"b", &large[..300_000], b"c", b"small"]),
        command(&[b"PING"]),
    ]
    .concat();
    let found = read(&bytes);
    assert_eq!(found.end, Ok(bytes.len() as u64));
    assert_eq!(found.commands[0].0[2], large);
    assert_eq!(
        found.commands[1].0.iter().map(Vec::len).collect::<Vec<_>>(),
        [4, 1, 40_000, 1, 300_000, 1, 5]
    );
    let mut reader = Reader::new(&bytes[..]);
    let batch = reader.next_batch(64).expect("a command");
    assert_eq!(batch.len(), 1);
    assert!(matches!(batch.spans(0)[2].kind(), SpanKind::Detached(0)));
    assert_eq!(batch.blocks().len(), 1);
    // The line end of a large argument is checked as well.
    let mut bad = bytes.clone();
    bad[command(&[b"SET", b"key", &large]).len() - 1] = b'x';
    assert_eq!(read(&bad).end, Err((false, 0)));
    assert_eq!(read(&bytes[..bytes.len() - 100_000]).commands.len(), 1);
}

#[test]
fn a_claimed_length_costs_nothing() {
    for claim in ["*1\r\n$9000000000000000000\r\nx", "*2147483647\r\n$1\r\nx\r\n", "*1\r\n$999999999\r\nx"] {
        let mut reader = Reader::new(claim.as_bytes());
        assert!(matches!(reader.next_batch(64), Err(ReadError::Truncated { valid_up_to: 0 })), "{claim}");
        assert!(
            reader.window.len() <= WINDOW
                && reader.filling.is_none_or(|(block, _)| block.capacity() <= 2 * WINDOW)
        );
    }
    let beyond = "*1\r\n$9223372036854775807\r\nx";
    assert!(Reader::new(beyond.as_bytes()).next_batch(64).is_err());
}

#[test]
fn a_failure_to_read_is_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let mut reader = Reader::after(Broken, command(&[b"PING"]), 7);
    assert_eq!(reader.next_batch(64).expect("what was there").end(0), 21);
    assert!(matches!(reader.next_batch(64), Err(ReadError::Io(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_and_damage_is_found_the_same_way_in_any_pieces(
        commands in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8), 0..12),
        damage: Option<(prop::sample::Index, u8)>,
        cut: Option<prop::sample::Index>,
    ) {
        let encode = |words: &Vec<Vec<u8>>| command(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut bytes: Vec<u8> = commands.iter().flat_map(encode).collect();
        if damage.is_none() && cut.is_none() {
            let found: Vec<_> = read(&bytes).commands.into_iter().map(|(words, _)| words).collect();
            prop_assert_eq!(&found, &commands);
        }
        if let Some((at, byte)) = damage && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len() + 1));
        }
        let _ = read(&bytes);
    }
}

#[test]
fn a_zero_byte_in_a_length_is_damage_and_not_the_end_of_the_file() {
    let before = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let after = b"vvvvvvvvvv\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    for damaged in
        [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$z\0z10\r\n"[..], b"*\x003\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n"]
    {
        let found = read(&[before, damaged, after].concat());
        assert_eq!(found.end, Err((false, before.len() as u64)));
    }
}
