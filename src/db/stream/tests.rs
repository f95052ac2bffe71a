//! Compares the stream with a model of it: each reader gets the bytes of all units, and chunks that no reader needs are
//! recycled.

use super::*;
use proptest::prelude::*;

/// Words separated by spaces, as a call.
fn call(line: &str) -> impl Iterator<Item = Word<'_>> {
    line.split(' ').map(|word| Word::Bytes(word.as_bytes()))
}

/// A unit of calls that act on database 0.
fn unit(stream: &mut Stream, lines: &[&str], framing: Framing) {
    for line in lines {
        stream.push(0, call(line));
    }
    stream.end_unit(framing);
}

fn take(stream: &mut Stream, reader: &mut Cursor) -> Vec<u8> {
    let bytes: Vec<u8> = stream.pieces(reader).flatten().copied().collect();
    assert_eq!(bytes.len() as u64, stream.unread(reader));
    stream.advance(reader, bytes.len() as u64);
    bytes
}

/// The bytes that a reader has not consumed, with words instead of headers: calls separated by `|`.
fn told(stream: &mut Stream, reader: &mut Cursor) -> String {
    let bytes = String::from_utf8(take(stream, reader)).expect("text");
    let mut lines = bytes.split("\r\n");
    let mut told = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let mut words = Vec::new();
        for _ in 0..count.parse().expect("a count") {
            let length = lines.next().and_then(|line| line.strip_prefix('$')).expect("a header");
            let word = lines.next().expect("a word");
            assert_eq!(word.len(), length.parse::<usize>().expect("a length"), "{bytes:?}");
            words.push(if word.len() > 20 { format!("<{}>", word.len()) } else { word.to_owned() });
        }
        told.push(words.join(" "));
    }
    told.join("|")
}

fn large() -> Block {
    Block::from(&[b'x'; 3 * SMALL][..])
}

#[test]
fn a_database_is_selected_when_it_changes_and_when_a_reader_has_begun() {
    let mut stream = Stream::default();
    let mut first = stream.begin_reader();
    for (db, line) in [(0, "SET a 1"), (0, "SET b 2"), (9, "SET c 3")] {
        stream.push(db, call(line));
        stream.settle();
    }
    assert_eq!(told(&mut stream, &mut first), "SELECT 0|SET a 1|SET b 2|SELECT 9|SET c 3");
    stream.push(9, call("DEL c"));
    stream.settle();
    assert_eq!(told(&mut stream, &mut first), "DEL c", "the stream goes on where it was");
    let mut second = stream.begin_reader();
    stream.push(9, call("DEL d"));
    stream.push(9, call("DEL e"));
    stream.settle();
    for reader in [&mut first, &mut second] {
        assert_eq!(told(&mut stream, reader), "SELECT 9|DEL d|DEL e");
    }
}

#[test]
fn several_calls_of_a_unit_are_a_transaction() {
    let mut stream = Stream::default();
    let mut reader = stream.begin_reader();
    unit(&mut stream, &["SET a 1"], Framing::Together);
    unit(&mut stream, &["DEL a", "DEL b"], Framing::Together);
    unit(&mut stream, &["DEL c", "DEL d"], Framing::Apart);
    unit(&mut stream, &[], Framing::Together);
    assert_eq!(told(&mut stream, &mut reader), "SELECT 0|SET a 1|MULTI|DEL a|DEL b|EXEC|DEL c|DEL d");
}

#[test]
fn no_reader_sees_a_unit_that_is_not_over() {
    let large = large();
    let mut stream = Stream::default();
    let mut reader = stream.begin_reader();
    unit(&mut stream, &["SET before 1"], Framing::Together);
    stream.push(0, call("SET a 1"));
    stream.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(large.share())]);
    stream.suspend_unit();
    assert_eq!(told(&mut stream, &mut reader), "SELECT 0|SET before 1");
    assert_eq!(told(&mut stream, &mut reader), "");
    stream.resume_unit();
    stream.push(1, call("SET c 1"));
    assert_eq!(told(&mut stream, &mut reader), "");
    stream.end_unit(Framing::Together);
    let expected = format!("MULTI|SET a 1|SET b <{}>|SELECT 1|SET c 1|EXEC", 3 * SMALL);
    assert_eq!(told(&mut stream, &mut reader), expected);
    assert!(!large.is_shared(), "it was taken");
}

#[test]
fn a_reader_that_begins_within_a_unit_gets_the_rest_of_it() {
    let mut stream = Stream::default();
    let mut first = stream.begin_reader();
    stream.push(0, call("INCR a"));
    stream.push(0, call("INCR b"));
    let mut second = stream.begin_reader();
    unit(&mut stream, &["INCR c", "INCR d"], Framing::Together);
    let rest = "MULTI|SELECT 0|INCR c|INCR d|EXEC";
    assert_eq!(told(&mut stream, &mut first), format!("MULTI|SELECT 0|INCR a|INCR b|EXEC|{rest}"));
    assert_eq!(told(&mut stream, &mut second), rest);
}

#[test]
fn a_large_word_is_shared_and_stands_in_its_place() {
    let large = large();
    let mut stream = Stream::default();
    let mut reader = stream.begin_reader();
    stream.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(large.share())]);
    // The number of its words is not known beforehand, and has two digits.
    stream.push(0, (0..12).map(|_| Word::Block(large.share())).filter(|_| true));
    stream.push(0, call("SET c 3"));
    stream.end_unit(Framing::Together);
    assert!(
        large.is_shared()
            && stream.kept_bytes() > 13 * large.len()
            && stream.excess_bytes() < 3 * large.len()
    );
    let large_words = vec![format!("<{}>", 3 * SMALL); 12].join(" ");
    let expected = format!("MULTI|SELECT 0|SET b <{}>|{large_words}|SET c 3|EXEC", 3 * SMALL);
    assert_eq!(told(&mut stream, &mut reader), expected);
    assert!(!large.is_shared());
}

#[test]
fn a_reader_that_is_alone_uses_one_buffer() {
    let mut stream = Stream::default();
    let mut reader = stream.begin_reader();
    let mut memory = 0;
    for round in 0..1000 {
        unit(&mut stream, &["SET key value"; 100], Framing::Together);
        take(&mut stream, &mut reader);
        if round == 0 {
            memory = stream.excess_bytes();
        }
    }
    assert_eq!((stream.excess_bytes(), stream.number), (memory, 0));
}

#[test]
fn the_slowest_reader_and_the_history_decide_what_is_kept() {
    let mut stream = Stream::default();
    let (mut slow, mut fast) = (stream.begin_reader(), stream.begin_reader());
    let mut fill = |stream: &mut Stream| {
        for _ in 0..400 {
            unit(stream, &["SET key value"; 250], Framing::Together);
            take(stream, &mut fast);
        }
    };
    fill(&mut stream);
    assert_eq!(stream.oldest(), 0);
    assert!(stream.kept_bytes() as u64 >= stream.settled());
    let half = stream.settled() / 2;
    stream.advance(&mut slow, half);
    assert!((half - CHUNK as u64 * 2..=half).contains(&stream.oldest()));

    // Without the slow reader only the history is kept: a reader may begin anywhere in it.
    stream.keep_history(1 << 20);
    stream.end_reader(slow);
    fill(&mut stream);
    let start = stream.settled() - (1 << 20);
    assert!((start - CHUNK as u64 * 2..=start).contains(&stream.oldest()));
    assert!(stream.resume_reader(stream.oldest() - 1).is_none());
    assert!(stream.resume_reader(stream.settled() + 1).is_none());
    let mut back = stream.resume_reader(start).expect("it is kept");
    assert_eq!(take(&mut stream, &mut back).len(), 1 << 20);

    stream.keep_history(0);
    stream.end_reader(back);
    stream.end_reader(fast);
    stream.shrink(0);
    assert_eq!((stream.oldest(), stream.kept_bytes(), stream.excess_bytes()), (stream.settled(), 0, 0));
    assert!(!stream.is_wanted());
}

/// The length of the last block of [`large_units`].
const LARGEST: usize = 3 << 20;

/// Units that are much longer than a chunk: of many small calls, of blocks, and of one large block.
fn large_units(stream: &mut Stream) {
    unit(stream, &vec!["SET key value"; 100_000], Framing::Together);
    for _ in 0..300 {
        stream.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(large())]);
    }
    stream.end_unit(Framing::Together);
    let block = Block::from(&vec![b'y'; LARGEST][..]);
    stream.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(block)]);
    stream.end_unit(Framing::Together);
}

#[test]
fn large_units_are_kept_only_as_far_as_history_or_a_reader_needs_them() {
    for history in [1, 100_000, 1 << 20, 20 << 20] {
        let mut stream = Stream::default();
        stream.keep_history(history);
        let slack = 2 * CHUNK as u64 + history / 16;
        let check = |stream: &Stream, slowest: u64| {
            let wanted = slowest.min(stream.settled().saturating_sub(history));
            // A large block stays as a whole while a reader is in it.
            let last = stream.settled() - LARGEST as u64 - 64;
            let first = if slowest < stream.settled() { wanted.min(last) } else { wanted };
            assert!((first.saturating_sub(slack)..=wanted).contains(&stream.oldest()), "history {history}");
            let kept = (stream.settled() - stream.oldest()) as usize;
            assert!(stream.kept_bytes() < kept * 3 / 2 + 4 * CHUNK, "{} bytes", stream.kept_bytes());
        };
        // Nobody reads them.
        for _ in 0..3 {
            large_units(&mut stream);
            check(&stream, stream.settled());
        }
        // A reader gets all bytes, in steps, and another one from any place where it may continue.
        let mut slow = stream.begin_reader();
        let begins = slow.offset();
        large_units(&mut stream);
        let all: Vec<u8> = stream.pieces(&slow).flatten().copied().collect();
        while stream.unread(&slow) > 0 {
            let step = stream.unread(&slow).min(200_000);
            stream.advance(&mut slow, step);
            check(&stream, slow.offset());
            let from = (begins.max(stream.oldest()) + 7).min(stream.settled());
            let other = stream.resume_reader(from).expect("it is kept");
            let mut at = (from - begins) as usize;
            for piece in stream.pieces(&other) {
                assert!(all[at..].starts_with(piece), "the bytes from {at} on");
                at += piece.len();
            }
            assert_eq!(at, all.len());
            stream.end_reader(other);
        }
        check(&stream, stream.settled());
        stream.end_reader(slow);
    }
}

#[test]
#[should_panic(expected = "a reader takes what is settled")]
fn a_reader_cannot_advance_beyond_what_is_settled() {
    let mut stream = Stream::default();
    let mut reader = stream.begin_reader();
    stream.push(0, call("SET a 1"));
    stream.advance(&mut reader, 1);
}

#[derive(Clone, Debug)]
enum Step {
    /// A call on a database, with words of these lengths, whose number is announced or not.
    Push(usize, Vec<usize>, bool),
    PushEncoded(usize, usize),
    End(bool),
    Settle,
    Suspend,
    Resume,
    BeginReader,
    /// At this fraction of the kept bytes.
    ResumeReader(f64),
    /// One of the readers consumes this fraction of its unread bytes.
    Advance(usize, f64),
    EndReader(usize),
    KeepHistory(u64),
    Shrink(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![6 => 0usize..60, 2 => SMALL - 1..SMALL + 3, 1 => 0usize..CHUNK * 2];
    let part = || prop_oneof![2 => 0.0..1.0, 1 => Just(1.0)];
    prop_oneof![
        8 => (0usize..3, prop::collection::vec(length(), 1..12), any::<bool>())
            .prop_map(|(db, words, announced)| Step::Push(db, words, announced)),
        2 => (0usize..3, length()).prop_map(|(db, length)| Step::PushEncoded(db, length)),
        4 => any::<bool>().prop_map(Step::End),
        2 => Just(Step::Settle),
        1 => Just(Step::Suspend),
        3 => Just(Step::Resume),
        1 => Just(Step::BeginReader),
        1 => part().prop_map(Step::ResumeReader),
        8 => (0usize..8, part()).prop_map(|(reader, part)| Step::Advance(reader, part)),
        1 => (0usize..8).prop_map(Step::EndReader),
        1 => (0u64..300_000).prop_map(Step::KeepHistory),
        1 => (0usize..100_000).prop_map(Step::Shrink),
    ]
}

/// The expected stream: all bytes of settled units, and the calls of the unit.
#[derive(Default)]
struct Model {
    settled: Vec<u8>,
    unit: Vec<u8>,
    made: u32,
    selected: Option<usize>,
    longest_unit: usize,
}

impl Model {
    fn push(&mut self, db: usize, request: &[u8]) {
        if self.selected != Some(db) {
            self.unit.extend(format!("*2\r\n$6\r\nSELECT\r\n$1\r\n{db}\r\n").bytes());
            self.selected = Some(db);
        }
        self.unit.extend_from_slice(request);
        self.made += 1;
    }

    fn end(&mut self, together: bool) {
        let frames: [&[u8]; 2] = if together && self.made > 1 { [MULTI, EXEC] } else { [&[], &[]] };
        let before = self.settled.len();
        self.settled.extend_from_slice(frames[0]);
        self.settled.append(&mut self.unit);
        self.settled.extend_from_slice(frames[1]);
        self.made = 0;
        self.longest_unit = self.longest_unit.max(self.settled.len() - before);
    }
}

/// A word of a length, and a block of the same bytes.
fn word(length: usize) -> (Vec<u8>, Block) {
    let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
    let block = Block::from(&bytes[..]);
    (bytes, block)
}

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// A stream, its model, and its readers.
#[derive(Default)]
struct Run {
    stream: Stream,
    model: Model,
    readers: Vec<Cursor>,
    history: u64,
    is_suspended: bool,
}

impl Run {
    fn step(&mut self, step: Step) {
        let Run { stream, model, readers, .. } = self;
        let kept = stream.oldest();
        match step {
            Step::Push(db, lengths, announced) if !self.is_suspended => {
                let (words, blocks): (Vec<_>, Vec<_>) = lengths.iter().map(|length| word(*length)).unzip();
                model.push(db, &encode(&words));
                // The first word of a call is copied, since it is a command's name.
                let words = words.iter().zip(blocks).enumerate().map(|(index, (bytes, block))| match index {
                    0 => Word::Bytes(bytes),
                    _ => Word::Block(block),
                });
                if announced {
                    stream.push(db, words);
                } else {
                    stream.push(db, words.filter(|_| true));
                }
            }
            Step::PushEncoded(db, length) if !self.is_suspended => {
                let request = encode(&[word(length).0]);
                model.push(db, &request);
                stream.push_encoded(db, &request);
            }
            Step::End(together) if !self.is_suspended => {
                model.end(together);
                stream.end_unit(if together { Framing::Together } else { Framing::Apart });
            }
            Step::Settle if !self.is_suspended => {
                model.end(false);
                assert_eq!(stream.settle(), model.settled.len() as u64);
            }
            Step::Suspend => {
                stream.suspend_unit();
                self.is_suspended = true;
            }
            Step::Resume => {
                stream.resume_unit();
                self.is_suspended = false;
            }
            Step::BeginReader if !self.is_suspended => {
                readers.push(stream.begin_reader());
                model.end(true);
                model.selected = None;
            }
            Step::ResumeReader(part) => {
                let offset = kept + ((stream.settled() - kept) as f64 * part) as u64;
                readers.push(stream.resume_reader(offset).expect("it is kept"));
            }
            Step::Advance(index, part) if !readers.is_empty() => {
                let index = index % readers.len();
                let reader = &mut readers[index];
                let taken = (stream.unread(reader) as f64 * part) as usize;
                let bytes: Vec<u8> = stream.pieces(reader).flatten().take(taken).copied().collect();
                let from = reader.offset() as usize;
                assert!(bytes == model.settled[from..from + taken], "the bytes of a reader");
                stream.advance(reader, taken as u64);
            }
            Step::EndReader(index) if !readers.is_empty() => {
                stream.end_reader(readers.swap_remove(index % readers.len()));
            }
            Step::KeepHistory(bytes) => {
                stream.keep_history(bytes);
                self.history = bytes;
            }
            Step::Shrink(keep) => stream.shrink(keep),
            _ => {}
        }
        self.check(kept);
    }

    /// Checks the stream, which kept the bytes from offset `before` on.
    fn check(&self, before: u64) {
        let Run { stream, model, readers, .. } = self;
        let settled = model.settled.len() as u64;
        assert_eq!((stream.settled(), stream.of_unit()), (settled, model.made));
        assert_eq!(stream.end(), settled + model.unit.len() as u64);
        let kept = || stream.closed.iter().chain([&stream.tail]);
        let own: usize = kept().map(Chunk::memory_bytes).sum();
        let blocks: usize = kept().map(Chunk::block_bytes).sum();
        let spare: usize = stream.spare.iter().map(Chunk::memory_bytes).sum();
        assert_eq!(stream.kept_bytes(), own + blocks);
        let waiting = match self.history {
            0 => own,
            bytes => (own + blocks).saturating_sub(bytes as usize),
        };
        assert_eq!(stream.excess_bytes(), waiting + spare);

        let needed = readers.iter().map(Cursor::offset).min().unwrap_or(settled);
        let history = settled.saturating_sub(self.history).max(before);
        assert!(stream.oldest() >= before && stream.oldest() <= needed.min(history));
        // A chunk is kept as long as its last byte is needed, and checked only when another one is closed.
        let slack = 2 * (CHUNK + model.longest_unit) as u64;
        assert!(stream.oldest() + slack >= needed.min(settled.saturating_sub(self.history)));
        let counts: u32 = stream.closed.iter().chain([&stream.tail]).map(|chunk| chunk.readers).sum();
        assert_eq!(counts as usize, readers.len());
    }
}

proptest! {
    #[test]
    fn each_reader_gets_the_bytes_of_all_units_whatever_the_others_do(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut run = Run::default();
        for step in steps {
            run.step(step);
        }
        run.step(Step::Resume);
        run.step(Step::End(true));
        for index in 0..run.readers.len() {
            run.step(Step::Advance(index, 1.0));
        }
        run.step(Step::KeepHistory(0));
        while !run.readers.is_empty() {
            run.step(Step::EndReader(0));
        }
        run.step(Step::Shrink(0));
        prop_assert_eq!((run.stream.excess_bytes(), run.stream.oldest()), (0, run.stream.settled()));
    }
}

#[test]
fn calls_for_one_kind_of_reader_are_differences_of_the_log() {
    let mut stream = Stream::default();
    stream.note_for_log(true);
    let mut replica = stream.begin_reader();
    unit(&mut stream, &["SET a 1"], Framing::Together);
    assert_eq!(told(&mut stream, &mut replica), "SELECT 0|SET a 1");
    let begins = stream.settled();

    stream.push(0, call("SET b 2"));
    stream.set_target(Target::Log, None);
    stream.push(3, [Word::Bytes(b"SET"), Word::Bytes(b"c"), Word::Block(large())]);
    stream.set_target(Target::Replicas, None);
    stream.push(0, call("SET d 4"));
    stream.set_target(Target::All, None);
    stream.push(0, call("SET e 5"));
    assert_eq!(stream.take_for_log(), [], "the unit has not ended");
    stream.end_unit(Framing::Together);
    assert_eq!(told(&mut stream, &mut replica), "MULTI|SET b 2|SET d 4|SET e 5|EXEC");
    let written = format!(
        "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n${0}\r\n{1}\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n",
        3 * SMALL,
        "x".repeat(3 * SMALL)
    );
    let (multi, one) = (MULTI.len() as u64, "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n".len() as u64);
    let at = begins + multi + one;
    let expected = [ForLog::Inserted(at, written.into_bytes()), ForLog::LeftOut(at..at + one)];
    assert_eq!(stream.take_for_log(), expected);
}

#[test]
fn a_call_for_replicas_alone_leaves_both_with_the_same_selected_database() {
    let mut stream = Stream::default();
    stream.note_for_log(true);
    let mut replica = stream.begin_reader();
    stream.push_for_replicas(3, call("PUBLISH c m"));
    stream.end_unit(Framing::Together);
    stream.push_for_replicas(3, call("PUBLISH c m"));
    stream.push(3, call("SET a 1"));
    stream.end_unit(Framing::Together);
    stream.set_target(Target::Log, None);
    stream.push_for_replicas(3, call("PUBLISH c log"));
    stream.set_target(Target::Replicas, None);
    stream.push_for_replicas(3, call("PUBLISH c replicas"));
    stream.set_target(Target::All, None);
    stream.end_unit(Framing::Together);
    let expected = "SELECT 3|PUBLISH c m|MULTI|PUBLISH c m|SET a 1|EXEC|PUBLISH c replicas";
    assert_eq!(told(&mut stream, &mut replica), expected);
    let select = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n".len() as u64;
    let publish = "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1\r\nm\r\n".len() as u64;
    let second = select + publish + MULTI.len() as u64;
    let left_out = stream.take_for_log();
    assert_eq!(left_out[0], ForLog::LeftOut(select..select + publish));
    assert_eq!(left_out[1], ForLog::LeftOut(second..second + publish));
    assert!(matches!(left_out[2..], [ForLog::LeftOut(_)]), "{left_out:?}");
}

#[test]
fn units_for_the_log_alone_leave_the_stream_as_it_is() {
    let mut stream = Stream::default();
    stream.note_for_log(true);
    let mut replica = stream.begin_reader();
    stream.push_verbatim(b"*1\r\n$4\r\nPING\r\n", false);
    let end = stream.settled();
    for round in 0..3 {
        stream.set_target(Target::Log, Some(7));
        unit(&mut stream, &["SET a 1", "SET b 2"], Framing::Together);
        unit(&mut stream, &["DEL a"], Framing::Together);
        assert_eq!((stream.settled(), stream.end()), (end, end));
        let differences = stream.take_for_log();
        let calls = differences.iter().map(|difference| match difference {
            ForLog::Inserted(at, bytes) if *at == end => String::from_utf8(bytes.clone()).expect("text"),
            other => panic!("{other:?}"),
        });
        let calls: Vec<String> = calls.collect();
        assert!(calls.iter().all(|calls| calls.ends_with("$6\r\nSELECT\r\n$1\r\n7\r\n")), "{calls:?}");
        assert!(calls[0].starts_with(std::str::from_utf8(MULTI).expect("text")), "{calls:?}");
        assert_eq!(calls.len(), 2, "round {round}");
        stream.set_target(Target::All, Some(7));
    }
    assert_eq!(told(&mut stream, &mut replica), "PING");
}
