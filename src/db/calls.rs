//! The calls to propagate, encoded once in the form that logs and replicas take: a stream of RESP requests.
//!
//! ```text
//!   bytes    *2 $6 SELECT $1 0 │ *3 $3 SET $1 k $2 vv │ *3 $3 SET $1 b $40000 ▲ ⏎ │ …
//!   blocks                                                                    └ (place in bytes, block)
//! ```
//!
//! The stream says by `SELECT` which database a call acts on, where that is not the one of the call before. A unit of
//! more than one call is a transaction: `MULTI` and `EXEC` are put around it when it ends. A large argument that has a
//! [`Block`] to itself is not copied but stands beside the bytes, and leaves by `writev`.
//!
//! A call costs one append to a buffer that is reused. It stays until [`Calls::clear`], which the server calls when the
//! listeners of the stream have taken it, at the end of an iteration.

use std::ops::Range;

use crate::resp::{Protocol, Reply};
use crate::types::block::Block;

/// Up to this length, a word is copied though it has a block of its own.
const SMALL: usize = 4096;

/// Bytes of calls from which on the stream should be taken before the iteration ends.
const LARGE: usize = 1 << 20;

/// The most bytes of the buffer that are kept when it is empty.
const KEEP: usize = 2 * LARGE;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// A word of a call.
pub enum Word<'a> {
    /// Copied.
    Bytes(&'a [u8]),
    /// Shared if it is large.
    Block(Block),
}

/// What the calls of a unit are to a log or a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// One transaction, if there are several.
    Together,
    /// Each its own: keys that expired together have nothing else in common.
    Apart,
}

/// See the module's head.
#[derive(Default)]
pub struct Calls {
    bytes: Vec<u8>,
    /// Each with the place in `bytes` before which it stands, in order.
    blocks: Vec<(usize, Block)>,
    /// The bytes in `blocks`.
    block_bytes: usize,
    /// How many bytes of calls have been cleared.
    cleared: u64,
    /// The database that the stream has selected, if it is known.
    selected: Option<usize>,
    /// Where the calls of the current unit begin in `bytes` and in `blocks`.
    unit: (usize, usize),
    /// How many calls the current unit has made.
    made: u32,
    /// Those of a unit that is not over, while others are taken.
    aside: Option<Box<Aside>>,
}

/// The calls of a unit: their bytes and blocks, with places from the unit's start on, and how many there are.
struct Aside {
    bytes: Vec<u8>,
    blocks: Vec<(usize, Block)>,
    made: u32,
}

impl Calls {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many calls the current unit has made.
    #[inline]
    pub fn of_unit(&self) -> u32 {
        self.made
    }

    /// Bytes of the stream, those of blocks included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.block_bytes
    }

    /// The end of the stream: bytes since the start of the process.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.cleared + self.len() as u64
    }

    /// Bytes of memory that the stream takes, without blocks, which values may share.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Shrinks the buffer to at most `keep` bytes of spare capacity.
    pub fn shrink(&mut self, keep: usize) {
        self.bytes.shrink_to(keep);
    }

    /// Whether the stream should be taken before the iteration ends.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.bytes.len() >= LARGE || self.block_bytes >= LARGE
    }

    /// Appends a call that acts on database `db`.
    #[inline]
    pub fn push<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        if self.selected != Some(db) {
            self.select(db);
        }
        self.made += 1;
        let start = (self.bytes.len(), self.blocks.len());
        let words = words.into_iter();
        let expected = words.size_hint().0;
        Reply::new(&mut self.bytes, Protocol::Resp2).array(expected);
        let header = self.bytes.len() - start.0;
        let mut count = 0;
        for word in words {
            count += 1;
            match word {
                Word::Block(block) if block.len() > SMALL => self.push_block(block),
                Word::Block(block) => self.push_bytes(block.as_slice()),
                Word::Bytes(bytes) => self.push_bytes(bytes),
            }
        }
        if count != expected {
            self.correct_header(start, header, count);
        }
    }

    /// [`Calls::push`] of a call that is encoded already.
    #[inline]
    pub fn push_encoded(&mut self, db: usize, request: &[u8]) {
        if self.selected != Some(db) {
            self.select(db);
        }
        self.made += 1;
        self.bytes.extend_from_slice(request);
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        Reply::new(&mut self.bytes, Protocol::Resp2).bulk(bytes);
    }

    fn push_block(&mut self, block: Block) {
        Reply::new(&mut self.bytes, Protocol::Resp2).bulk_header(block.len());
        self.block_bytes += block.len();
        self.blocks.push((self.bytes.len(), block));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The call that begins at `start` has `count` words, which was not known when its header was written.
    #[cold]
    fn correct_header(&mut self, start: (usize, usize), header: usize, count: usize) {
        let mut correct = Vec::new();
        Reply::new(&mut correct, Protocol::Resp2).array(count);
        self.replace(start, header, &correct);
    }

    /// Replaces `len` bytes at a place in `bytes`, before the block of that place in `blocks`.
    fn replace(&mut self, place: (usize, usize), len: usize, with: &[u8]) {
        self.bytes.splice(place.0..place.0 + len, with.iter().copied());
        for (at, _) in &mut self.blocks[place.1..] {
            *at = *at + with.len() - len;
        }
    }

    #[cold]
    fn select(&mut self, db: usize) {
        self.selected = Some(db);
        let mut stream = Reply::new(&mut self.bytes, Protocol::Resp2);
        stream.array(2);
        stream.bulk(b"SELECT");
        stream.bulk_integer(db as i64);
    }

    /// Whoever reads the stream from here on does not know which database is selected.
    pub fn forget_selection(&mut self) {
        self.selected = None;
    }

    /// Ends the current unit: makes a transaction of it, if it has made several calls and `framing` says so.
    pub fn frame(&mut self, framing: Framing) {
        if self.made > 1 && framing == Framing::Together {
            self.replace(self.unit, 0, MULTI);
            self.bytes.extend_from_slice(EXEC);
        }
        self.made = 0;
    }

    /// Takes the calls of the current unit, which is not over, out of the stream, so that those before it can be taken. No
    /// calls are made until [`Calls::restore_unit`]. O(1) if there is nothing before it.
    pub fn set_unit_aside(&mut self) {
        let (start, first) = self.unit;
        let (bytes, mut blocks) = if start == 0 {
            (std::mem::take(&mut self.bytes), std::mem::take(&mut self.blocks))
        } else {
            (self.bytes.split_off(start), self.blocks.split_off(first))
        };
        for (at, block) in &mut blocks {
            *at -= start;
            self.block_bytes -= block.len();
        }
        self.aside = Some(Box::new(Aside { bytes, blocks, made: self.made }));
        self.made = 0;
    }

    /// The unit that was set aside goes on. O(1) if the stream is empty.
    pub fn restore_unit(&mut self) {
        let Some(aside) = self.aside.take() else { return };
        let Aside { bytes, mut blocks, made } = *aside;
        self.begin_unit();
        let start = self.bytes.len();
        for (at, block) in &mut blocks {
            *at += start;
            self.block_bytes += block.len();
        }
        if start == 0 {
            self.bytes = bytes;
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
        self.blocks.append(&mut blocks);
        self.made = made;
    }

    /// The next call belongs to another unit than those so far.
    #[inline]
    pub fn begin_unit(&mut self) {
        self.unit = (self.bytes.len(), self.blocks.len());
        self.made = 0;
    }

    /// The stream in pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces_of(0..self.bytes.len(), &self.blocks)
    }

    /// What the current unit has added to the stream, in one piece.
    pub fn unit_bytes(&self) -> Vec<u8> {
        let (bytes, blocks) = self.unit;
        self.pieces_of(bytes..self.bytes.len(), &self.blocks[blocks..]).flatten().copied().collect()
    }

    fn pieces_of<'a>(
        &'a self,
        range: Range<usize>,
        blocks: &'a [(usize, Block)],
    ) -> impl Iterator<Item = &'a [u8]> {
        let starts = std::iter::once(range.start).chain(blocks.iter().map(|(at, _)| *at));
        let ends = blocks.iter().map(|(at, _)| *at).chain(std::iter::once(range.end));
        let large = blocks.iter().map(|(_, block)| block.as_slice()).chain(std::iter::once(&[][..]));
        let pieces = starts.zip(ends).zip(large);
        pieces.flat_map(|((start, end), block)| [&self.bytes[start..end], block])
    }

    /// Removes all calls. The stream goes on in the same database.
    #[inline]
    pub fn clear(&mut self) {
        self.cleared += self.len() as u64;
        self.bytes.clear();
        self.blocks.clear();
        self.block_bytes = 0;
        self.unit = (0, 0);
        self.made = 0;
        if self.bytes.capacity() > KEEP {
            self.bytes.shrink_to(KEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words separated by spaces, as a call.
    fn call(line: &str) -> impl Iterator<Item = Word<'_>> {
        line.split(' ').map(|word| Word::Bytes(word.as_bytes()))
    }

    /// The stream with words instead of headers: calls separated by `|`.
    fn told(calls: &Calls) -> String {
        let stream: Vec<u8> = calls.pieces().flatten().copied().collect();
        let stream = String::from_utf8(stream).expect("text");
        let mut lines = stream.split("\r\n");
        let mut told = Vec::new();
        while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
            let mut words = Vec::new();
            for _ in 0..count.parse().expect("a count") {
                let length = lines.next().and_then(|line| line.strip_prefix('$')).expect("a header");
                let word = lines.next().expect("a word");
                assert_eq!(word.len(), length.parse::<usize>().expect("a length"), "{stream:?}");
                words.push(if word.len() > 20 { format!("<{}>", word.len()) } else { word.to_owned() });
            }
            told.push(words.join(" "));
        }
        told.join("|")
    }

    #[test]
    fn a_database_is_selected_when_it_changes() {
        let mut calls = Calls::default();
        calls.push(0, call("SET a 1"));
        calls.push(0, call("SET b 2"));
        calls.push(9, call("SET c 3"));
        assert_eq!(told(&calls), "SELECT 0|SET a 1|SET b 2|SELECT 9|SET c 3");
        calls.clear();
        calls.push(9, call("DEL c"));
        assert_eq!(told(&calls), "DEL c", "the stream goes on where it was");
        calls.forget_selection();
        calls.push(9, call("DEL c"));
        assert_eq!(told(&calls), "DEL c|SELECT 9|DEL c");
    }

    #[test]
    fn several_calls_of_a_unit_are_a_transaction() {
        let mut calls = Calls::default();
        let unit = |calls: &mut Calls, lines: &[&str], framing| {
            calls.begin_unit();
            for line in lines {
                calls.push(1, call(line));
            }
            calls.frame(framing);
        };
        unit(&mut calls, &["SET a 1"], Framing::Together);
        unit(&mut calls, &["DEL a", "DEL b"], Framing::Together);
        assert_eq!(calls.unit_bytes().len(), MULTI.len() + 2 * 20 + EXEC.len());
        unit(&mut calls, &["DEL c", "DEL d"], Framing::Apart);
        unit(&mut calls, &[], Framing::Together);
        assert_eq!(told(&calls), "SELECT 1|SET a 1|MULTI|DEL a|DEL b|EXEC|DEL c|DEL d");
    }

    #[test]
    fn a_unit_that_is_not_over_is_set_aside_and_goes_on_behind_what_was_taken() {
        let mut large = Block::with_capacity(0);
        large.extend_from_slice(&[b'x'; 3 * SMALL]);
        for before in [true, false] {
            let mut calls = Calls::default();
            calls.push(0, call("SET before 1"));
            if !before {
                calls.clear();
            }
            calls.begin_unit();
            calls.push(0, call("SET a 1"));
            calls.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(large.share())]);
            calls.set_unit_aside();
            assert_eq!(told(&calls), if before { "SELECT 0|SET before 1" } else { "" });
            assert_eq!(calls.len(), calls.pieces().map(<[u8]>::len).sum::<usize>());
            calls.clear();
            calls.restore_unit();
            calls.push(1, call("SET c 1"));
            calls.set_unit_aside();
            assert!(calls.is_empty());
            calls.restore_unit();
            calls.push(1, call("SET d 1"));
            calls.frame(Framing::Together);
            let expected = format!("MULTI|SET a 1|SET b <{}>|SELECT 1|SET c 1|SET d 1|EXEC", 3 * SMALL);
            assert_eq!(told(&calls), expected);
            assert_eq!(calls.len(), calls.pieces().map(<[u8]>::len).sum::<usize>());
        }
    }

    #[test]
    fn a_large_word_is_shared_and_stands_in_its_place() {
        let mut large = Block::with_capacity(0);
        large.extend_from_slice(&[b'x'; 3 * SMALL]);
        let mut calls = Calls::default();
        calls.push(0, call("SET a 1"));
        calls.begin_unit();
        calls.push(0, [Word::Bytes(b"SET"), Word::Bytes(b"b"), Word::Block(large.share())]);
        // Nobody knows the number of its words beforehand, and it takes two digits.
        calls.push(0, (0..12).map(|_| Word::Block(large.share())).filter(|_| true));
        calls.push(0, call("SET c 3"));
        calls.frame(Framing::Together);
        let large_words = vec![format!("<{}>", 3 * SMALL); 12].join(" ");
        let expected = format!("SELECT 0|SET a 1|MULTI|SET b <{}>|{large_words}|SET c 3|EXEC", 3 * SMALL);
        assert_eq!(told(&calls), expected);
        assert_eq!(calls.len(), calls.pieces().map(<[u8]>::len).sum::<usize>());
        assert!(large.is_shared());
        let last = calls.pieces().flatten().copied().collect::<Vec<u8>>();
        assert!(last.ends_with(&calls.unit_bytes()));
        calls.clear();
        assert!(!large.is_shared() && calls.is_empty());
    }
}
