//! The stream: the calls to propagate, encoded once as RESP requests, for any number of readers.
//!
//! ```text
//!   chunks     ┌ closed, 2 readers ┬ closed, 0 ┬─ tail, 1 reader ───────────┐
//!   bytes      │ … *3 $3 SET …     │     …     │ … *2 $3 DEL … │ (the unit) │ ◀── push
//!   readers        ▲          ▲                        ▲       ▲
//!                  a replica  another                  the log settled
//! ```
//!
//! An *offset* counts the bytes since the start of the process. A reader has a [`Cursor`]: it begins at the end of the
//! stream, reads the pieces that follow, and advances by as many bytes as it could pass on. Bytes are kept until all
//! readers have consumed them, so the slowest reader determines the memory; [`Stream::keep_history`] keeps more. The
//! stream does not know what its readers are.
//!
//! Readers see only *settled* units, which are whole. A unit of more than one call is a transaction: when it ends, it
//! is enclosed in `MULTI` and `EXEC`. So until it ends, a unit is in one chunk; the unit of a suspended script stays
//! open.
//!
//! A `SELECT` precedes a call that acts on another database than the call before. All readers share the bytes, so the
//! first call after a reader has begun is preceded by a `SELECT` for all of them.
//!
//! Calls can be for one kind of reader alone ([`Target`]): what is only for replicas is in the stream, and the log leaves
//! it out; what is only for the log is cut out of the stream, and the log inserts it in its place ([`ForLog`]).
//!
//! A large argument in a [`Block`] of its own is not copied: the chunk refers to it between its bytes, and `writev`
//! sends it. Otherwise a call costs one append to a reused buffer. A chunk is closed when it is long enough, and
//! recycled when no reader is in it or before it. When the only reader has consumed everything, the tail is emptied and
//! reused, so a log alone uses one buffer. All of this is O(1) per chunk.
//!
//! While history is kept, a large unit is divided into chunks when it ends, so that it can be recycled in parts. A large
//! block cannot: when no reader needs it and the history needs only its end, that end is copied, once.

mod chunk;
mod target;
#[cfg(test)]
mod tests;

use crate::resp::{Protocol, Reply};
use crate::types::block::Block;
use chunk::{Chunk, Place};
use std::collections::VecDeque;
use target::Region;
pub use target::{ForLog, Target};

/// A word up to this length is copied even if it has a block of its own.
const SMALL: usize = 4096;

/// A chunk is closed after the unit that makes it at least this long.
const CHUNK: usize = 16 << 10;

/// The most bytes of memory kept for later chunks, and in an empty tail.
const SPARE: usize = 2 << 20;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// A word of a call.
pub enum Word<'a> {
    /// Copied.
    Bytes(&'a [u8]),
    /// Shared if large.
    Block(Block),
}

/// How the calls of a unit are framed for a log or a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// One transaction, if there are several.
    Together,
    /// Each on its own: keys that expired together have nothing else in common.
    Apart,
}

/// The position of a reader, which is registered with its stream until [`Stream::end_reader`].
#[derive(Debug)]
#[must_use = "it holds the stream until it is ended"]
pub struct Cursor {
    /// The number of its chunk; it may be at the chunk's end.
    chunk: i64,
    offset: u64,
}

impl Cursor {
    /// The offset of the next byte that the reader has not consumed.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// See the module's head.
#[derive(Default)]
pub struct Stream {
    /// The retained chunks before the tail, oldest first.
    closed: VecDeque<Chunk>,
    /// The chunk to which calls are appended.
    tail: Chunk,
    /// The number of the tail. It rises by one with each closed chunk; the numbers of the chunks are consecutive, and
    /// negative if the first chunk was divided.
    number: i64,
    /// The offset up to which all units have ended.
    settled: u64,
    /// The start of the current unit in the tail: at `settled`.
    unit: Place,
    /// The number of calls in the current unit.
    made: u32,
    /// Whether the current unit is that of a suspended script.
    is_suspended: bool,
    /// The database that the stream has selected, if all readers know it.
    selected: Option<usize>,
    readers: u32,
    /// See [`Stream::keep_history`].
    history: u64,
    /// Where the log differs from the stream, while there is a log.
    for_log: Option<Vec<ForLog>>,
    /// Those of the current unit.
    for_log_of_unit: Vec<ForLog>,
    /// The calls that are for one kind of reader, since [`Stream::set_target`].
    region: Option<Region>,
    /// Empty chunks, for their capacity.
    spare: Vec<Chunk>,
    /// Bytes of memory of the closed and of the spare chunks, without blocks, and of the blocks.
    closed_memory: usize,
    closed_blocks: usize,
    spare_memory: usize,
}

/// Units and their calls.
impl Stream {
    /// The number of calls in the current unit.
    #[inline]
    pub fn of_unit(&self) -> u32 {
        self.made
    }

    /// The offset of the end, including the current unit.
    #[inline]
    pub fn end(&self) -> u64 {
        self.tail.end()
    }

    /// The offset up to which all units have ended: readers see no further.
    #[inline]
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Appends a call that acts on database `db`.
    #[inline]
    pub fn push<'a>(&mut self, db: usize, words: impl IntoIterator<Item = Word<'a>>) {
        self.begin_call(db);
        let start = self.tail.end_place();
        let words = words.into_iter();
        let expected = words.size_hint().0;
        let before = self.tail.len();
        self.tail.reply().array(expected);
        let header = self.tail.len() - before;
        let mut count = 0;
        for word in words {
            count += 1;
            match word {
                Word::Block(block) if block.len() > SMALL => self.tail.push_block(block),
                Word::Block(block) => self.tail.reply().bulk(block.as_slice()),
                Word::Bytes(bytes) => self.tail.reply().bulk(bytes),
            }
        }
        if count != expected {
            self.correct_header(start, header, count);
        }
    }

    /// [`Stream::push`] for a call that is already encoded.
    #[inline]
    pub fn push_encoded(&mut self, db: usize, request: &[u8]) {
        self.begin_call(db);
        self.tail.extend(request);
    }

    #[inline]
    fn begin_call(&mut self, db: usize) {
        debug_assert!(!self.is_suspended, "nothing executes while a unit is suspended");
        if self.selected != Some(db) {
            self.select(db);
        }
        self.made += 1;
    }

    #[cold]
    fn select(&mut self, db: usize) {
        assert!(!self.is_suspended, "nothing executes while a unit is suspended");
        self.write_select(db);
    }

    fn write_select(&mut self, db: usize) {
        self.selected = Some(db);
        let mut stream = self.tail.reply();
        stream.array(2);
        stream.bulk(b"SELECT");
        stream.bulk_integer(db as i64);
    }

    /// Corrects the header of the call that begins at `start`: it has `count` words, which was unknown when the header
    /// was written.
    #[cold]
    fn correct_header(&mut self, start: Place, header: usize, count: usize) {
        let mut correct = Vec::new();
        Reply::new(&mut correct, Protocol::Resp2).array(count);
        self.tail.replace(start, header, &correct);
    }

    /// Ends the current unit: makes it a transaction if it has several calls and `framing` says so.
    #[inline]
    pub fn end_unit(&mut self, framing: Framing) {
        if self.made > 0 || self.region.is_some() || !self.for_log_of_unit.is_empty() {
            self.end_calls(framing);
        }
    }

    fn end_calls(&mut self, framing: Framing) {
        if self.made > 1 && framing == Framing::Together {
            assert!(
                self.tail.offset(self.unit) == self.settled,
                "a unit begins where the one before it ended"
            );
            self.frame(|stream| {
                let calls = stream.tail.len();
                stream.tail.replace(stream.unit, 0, MULTI);
                stream.tail.extend(EXEC);
                assert!(
                    stream.tail.len() == MULTI.len() + calls + EXEC.len(),
                    "a frame adds nothing but itself"
                );
            });
        }
        self.settle();
    }

    /// Ends the current unit without framing its calls. Returns the end of the stream.
    #[inline]
    pub fn settle(&mut self) -> u64 {
        if self.region.is_some() || !self.for_log_of_unit.is_empty() {
            self.settle_region();
        }
        let length = self.tail.len();
        let end = self.tail.start + length as u64;
        if self.made == 0 {
            debug_assert!(end == self.settled, "a unit without calls has no bytes");
            return end;
        }
        assert!(
            end >= self.settled && !self.is_suspended,
            "calls are appended, and a suspended unit is not over"
        );
        self.settled = end;
        self.unit = self.tail.end_place();
        self.made = 0;
        if length >= CHUNK {
            self.close_tail();
        }
        end
    }

    /// Makes the calls of the current unit so far a unit of their own. For readers that begin or end in the middle of a
    /// unit, because the data set is saved or loaded there.
    pub fn split_unit(&mut self) {
        self.end_unit(Framing::Together);
    }

    /// Appends a request that is only for replicas: the log leaves it out. Not within a unit.
    pub fn push_aside(&mut self, request: &[u8]) {
        let is_apart = self.made == 0 && !self.is_suspended && self.region.is_none();
        assert!(is_apart, "a request of the server itself is no part of a unit");
        let start = self.settled;
        self.tail.extend(request);
        self.made = 1;
        let end = self.settle();
        if let Some(for_log) = &mut self.for_log {
            for_log.push(ForLog::LeftOut(start..end));
        }
    }

    /// Appends bytes from a primary, as they are: whole units. `is_aside`: the log leaves them out.
    pub fn push_verbatim(&mut self, bytes: &[u8], is_aside: bool) {
        if is_aside {
            return self.push_aside(bytes);
        }
        let is_apart = self.made == 0 && !self.is_suspended && self.region.is_none();
        assert!(is_apart, "what a primary sends is no part of another unit");
        self.tail.extend(bytes);
        self.made = 1;
        self.settle();
    }

    /// The database that the stream has selected; `None` if a `SELECT` precedes the next call.
    pub fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// Marks the selected database as unknown: a `SELECT` precedes the next call.
    pub fn select_again(&mut self) {
        self.selected = None;
    }

    /// Suspends the current unit, so that readers and other clients are served. No calls are made until
    /// [`Stream::resume_unit`].
    pub fn suspend_unit(&mut self) {
        self.is_suspended = true;
    }

    /// Resumes the suspended unit.
    pub fn resume_unit(&mut self) {
        self.is_suspended = false;
    }
}

/// Readers.
impl Stream {
    /// Whether calls need recording: for a reader, or for one that may begin in the history.
    pub fn is_wanted(&self) -> bool {
        self.readers > 0 || self.history > 0
    }

    /// Registers a reader that begins at the end. In the middle of a unit this splits it: the reader's copy of the data
    /// includes the unit's changes so far.
    pub fn begin_reader(&mut self) -> Cursor {
        self.split_unit();
        // It does not know which database is selected, so a `SELECT` precedes the next call.
        self.selected = None;
        self.tail.readers += 1;
        self.readers += 1;
        Cursor { chunk: self.number, offset: self.settled }
    }

    /// Registers a reader that has everything up to `offset` and knows the selected database; `None` if `offset` is no
    /// longer kept or not yet settled. O(log n) in the number of chunks.
    pub fn resume_reader(&mut self, offset: u64) -> Option<Cursor> {
        if offset < self.oldest() || offset > self.settled {
            return None;
        }
        let chunk = self.number_at(offset);
        let found = self.chunk_mut(chunk);
        assert!((found.start..=found.end()).contains(&offset), "a reader resumes in the chunk of its offset");
        found.readers += 1;
        self.readers += 1;
        Some(Cursor { chunk, offset })
    }

    /// The bytes that a reader has not consumed yet, in order, in non-empty pieces.
    pub fn pieces(&self, cursor: &Cursor) -> impl Iterator<Item = &[u8]> {
        let first = self.index(cursor.chunk);
        let from = self.place_of(cursor);
        (first..=self.closed.len()).flat_map(move |index| {
            let (chunk, to) = match self.closed.get(index) {
                Some(chunk) => (chunk, chunk.end_place()),
                None => (&self.tail, self.unit),
            };
            chunk.pieces(if index == first { from } else { 0 }, to)
        })
    }

    /// The number of bytes that a reader has not consumed yet.
    #[inline]
    pub fn unread(&self, cursor: &Cursor) -> u64 {
        self.settled - cursor.offset
    }

    /// Advances a reader by `bytes` consumed bytes. Recycles the chunks that no reader needs any more.
    pub fn advance(&mut self, cursor: &mut Cursor, bytes: u64) {
        assert!(bytes <= self.unread(cursor), "a reader takes what is settled");
        self.place_of(cursor);
        cursor.offset += bytes;
        let mut chunk = cursor.chunk;
        while chunk != self.number && self.chunk_mut(chunk).end() <= cursor.offset {
            chunk += 1;
        }
        if chunk != cursor.chunk {
            self.leave(cursor);
            self.chunk_mut(chunk).readers += 1;
            cursor.chunk = chunk;
            self.release();
        }
        if self.readers == 1 && cursor.offset == self.settled {
            self.restart_tail();
        }
    }

    /// Removes a reader.
    #[expect(clippy::needless_pass_by_value, reason = "the cursor is not valid any more")]
    pub fn end_reader(&mut self, cursor: Cursor) {
        self.leave(&cursor);
        self.readers = self.readers.checked_sub(1).expect("a stream counts its readers");
        self.release();
    }

    /// Keeps at least the last `bytes` bytes from now on, even if every reader has consumed them, and at most two chunks
    /// and a sixteenth more.
    pub fn keep_history(&mut self, bytes: u64) {
        self.history = bytes;
        self.release();
    }

    /// The offset of the first byte that is kept.
    pub fn oldest(&self) -> u64 {
        self.closed.front().map_or(self.tail.start, |chunk| chunk.start)
    }

    /// The last settled bytes, at most `bytes` of them, as far as they are kept.
    pub fn latest(&self, bytes: u64) -> Vec<u8> {
        let offset = self.settled.saturating_sub(bytes).max(self.oldest());
        self.pieces(&Cursor { chunk: self.number_at(offset), offset }).flatten().copied().collect()
    }

    /// The number of the chunk that has the byte at `offset`, which is kept.
    fn number_at(&self, offset: u64) -> i64 {
        let index = self.closed.partition_point(|chunk| chunk.end() <= offset);
        self.number - (self.closed.len() - index) as i64
    }

    /// The index of a chunk in `closed`; that of the tail comes after them.
    fn index(&self, chunk: i64) -> usize {
        let behind = usize::try_from(self.number - chunk).expect("a chunk of the stream");
        self.closed.len().checked_sub(behind).expect("a chunk in which a reader stands is kept")
    }

    fn chunk_mut(&mut self, chunk: i64) -> &mut Chunk {
        let index = self.index(chunk);
        self.closed.get_mut(index).unwrap_or(&mut self.tail)
    }

    /// A reader's position in its chunk, in bytes.
    fn place_of(&self, cursor: &Cursor) -> usize {
        let chunk = self.closed.get(self.index(cursor.chunk)).unwrap_or(&self.tail);
        let is_inside = (chunk.start..=chunk.end()).contains(&cursor.offset);
        assert!(is_inside && cursor.offset <= self.settled, "a reader stands in its chunk");
        (cursor.offset - chunk.start) as usize
    }

    fn leave(&mut self, cursor: &Cursor) {
        let chunk = self.chunk_mut(cursor.chunk);
        chunk.readers = chunk.readers.checked_sub(1).expect("a chunk counts its readers");
    }
}

/// Memory.
impl Stream {
    /// Bytes of memory of what is kept, with all blocks, although values may share them. O(1).
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.closed_memory + self.tail.memory_bytes() + self.closed_blocks + self.tail.block_bytes()
    }

    /// Bytes of memory that the stream uses beyond the history: of what waits for readers, and spare. Without history,
    /// blocks are left out: the only reader is the log, which soon has all, and until then values share them. O(1).
    #[inline]
    pub fn excess_bytes(&self) -> usize {
        let waiting = if self.history == 0 {
            self.closed_memory + self.tail.memory_bytes()
        } else {
            self.kept_bytes().saturating_sub(usize::try_from(self.history).unwrap_or(usize::MAX))
        };
        waiting + self.spare_memory
    }

    /// Frees spare memory in excess of `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        self.tail.shrink(keep);
        self.spare = Vec::new();
        self.spare_memory = 0;
    }

    /// Returns an empty chunk that begins at `start`, with the capacity of one that small units fill, so that it neither
    /// grows nor is shrunk when it is closed.
    fn new_chunk(&mut self, start: u64) -> Chunk {
        let mut chunk = self.spare.pop().unwrap_or_default();
        self.spare_memory -= chunk.memory_bytes();
        chunk.clear(start);
        chunk.reserve(CHUNK + CHUNK / 4);
        chunk
    }

    /// Closes the tail. The next unit begins another chunk.
    #[cold]
    fn close_tail(&mut self) {
        let next = self.new_chunk(self.settled);
        let closed = std::mem::replace(&mut self.tail, next);
        assert!(closed.end() == self.tail.start, "a chunk begins where the one before it ends");
        assert!(self.closed.back().is_none_or(|last| last.end() == closed.start), "no chunk is missing");
        if self.history > 0 && closed.len() > 2 * CHUNK {
            // Its readers are before the unit that made it long, and therefore in the first part.
            closed.divide(CHUNK).into_iter().for_each(|part| self.push_closed(part));
        } else {
            self.push_closed(closed);
        }
        self.unit = Place::default();
        if let Some(region) = &mut self.region {
            region.from = Place::default();
        }
        self.release();
    }

    fn push_closed(&mut self, mut chunk: Chunk) {
        // Without history, the log soon reuses the memory.
        if self.history > 0 {
            chunk.fit();
        }
        self.closed_memory += chunk.memory_bytes();
        self.closed_blocks += chunk.block_bytes();
        self.closed.push_back(chunk);
        self.number += 1;
    }

    /// Recycles the chunks that no reader needs.
    fn release(&mut self) {
        while let Some(first) = self.closed.front()
            && first.readers == 0
            && self.settled - first.end() >= self.history
            && let Some(chunk) = self.pop_first()
        {
            self.recycle(chunk);
        }
        self.trim_first();
        if self.readers == 0 {
            self.restart_tail();
        }
    }

    fn pop_first(&mut self) -> Option<Chunk> {
        let chunk = self.closed.pop_front()?;
        self.closed_memory -= chunk.memory_bytes();
        self.closed_blocks -= chunk.block_bytes();
        Some(chunk)
    }

    fn recycle(&mut self, mut chunk: Chunk) {
        chunk.clear(0);
        if self.spare_memory + chunk.memory_bytes() <= SPARE {
            self.spare_memory += chunk.memory_bytes();
            self.spare.push(chunk);
        }
    }

    /// Copies what the history needs of the first chunk, if no reader is in it and the history does not need most of a
    /// large block or of a large unit there.
    fn trim_first(&mut self) {
        let from = self.settled.saturating_sub(self.history);
        let most = (CHUNK as u64).max(self.history / 16);
        if let Some(first) = self.closed.front()
            && first.readers == 0
            && from.saturating_sub(first.start) > most
            && let Some(first) = self.pop_first()
        {
            self.keep_end(&first, from);
            self.recycle(first);
        }
    }

    /// Puts copies of the bytes of `first` from the offset `from` on before the closed chunks.
    fn keep_end(&mut self, first: &Chunk, from: u64) {
        let mut parts = Vec::new();
        let mut part = self.new_chunk(from);
        for piece in first.pieces((from - first.start) as usize, first.end_place()) {
            let mut rest = piece;
            while !rest.is_empty() {
                if part.len() >= CHUNK {
                    let next = self.new_chunk(part.end());
                    parts.push(std::mem::replace(&mut part, next));
                }
                let (fitting, others) = rest.split_at(rest.len().min(CHUNK - part.len()));
                part.extend(fitting);
                rest = others;
            }
        }
        assert!(part.end() == first.end(), "the end is copied");
        parts.push(part);
        for mut part in parts.into_iter().rev() {
            part.fit();
            self.closed_memory += part.memory_bytes();
            self.closed.push_front(part);
        }
    }

    /// Empties the tail, which no reader needs, unless a unit is open or history is kept.
    #[inline]
    fn restart_tail(&mut self) {
        if self.made == 0 && self.history == 0 {
            assert!(self.closed.is_empty() && self.tail.end() == self.settled, "the readers have taken all");
            self.tail.clear(self.settled);
            self.unit = Place::default();
            if let Some(region) = &mut self.region {
                region.from = Place::default();
            }
            if self.tail.memory_bytes() > SPARE {
                self.tail.shrink(SPARE);
            }
        }
    }
}
