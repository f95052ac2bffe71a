//! Reads the commands of a log, in batches whose arguments are slices of the reader's buffer.
//!
//! ```text
//!  window   …executed…│*3␍␊$3␍␊SET␍␊$3␍␊key␍␊$1␍␊v␍␊│*2␍␊…│*3␍␊$3␍␊SE          the file, 256 KiB at a time
//!                      at                                  filled
//! ```
//!
//! The parser is that of requests ([`resp::parse`]), so an argument costs no copy. An argument of 32 KiB or more that
//! does not end in the window is read into a block of its own, which the command may keep. Memory grows with the bytes
//! that have been read, never with a claimed length. Unlike a client's, a command of a log has at least one argument
//! and is not inline, every argument must have its line end, and lengths are unlimited.
//!
//! Lines that begin with `#` are annotations (`#TS:1700000000`, the time at which commands were written). They are
//! skipped, except for those of [`super::history`], which a batch contains. Redis accepts one without a line end; here the file counts as truncated, since bytes appended later would
//! belong to that line.
//!
//! A file that ends too early is [`ReadError::Truncated`]: it ends in a part of a command, or in a `MULTI` without its
//! `EXEC`. Everything up to [`Reader::valid_up_to`] is complete, and the file can be cut there. Any other bytes that
//! are not a command are [`ReadError::Malformed`]. The distinction is that of Redis' `aof-load-truncated`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use super::history;
use crate::resp::{self, Limits, Parsed, Partial, Span, SpanKind};
use crate::types::Block;

/// Bytes read at once.
const WINDOW: usize = 256 * 1024;

/// If one command fills a window of this size, its arguments are moved out into blocks.
const LARGEST_WINDOW: usize = 256 * 1024 * 1024;

/// The longest annotation, with its line end.
pub const MAX_ANNOTATION: usize = 1024;

/// The most annotations of a batch.
const NOTES: usize = 64;

const LIMITS: Limits = Limits { authenticated: true, max_bulk: isize::MAX as usize };

/// See the module's head.
pub struct Reader<R = File> {
    file: R,
    window: Vec<u8>,
    /// The start of the next command in the window.
    at: usize,
    /// The end of the contents of the window.
    filled: usize,
    /// The number of bytes of the file read so far.
    read: u64,
    partial: Partial,
    /// Large arguments of the first command of the batch, or of the one being read.
    blocks: Vec<Block>,
    /// The large argument being read, and its length with its line end.
    filling: Option<(Block, usize)>,
    /// Whether one of `blocks` lacks its line end.
    flawed: bool,
    spans: Vec<Span>,
    commands: Vec<Place>,
    /// The annotations of [`history`], each with the number of commands before it.
    notes: Vec<(usize, Vec<u8>)>,
    /// The start of the next command or annotation in the file.
    next: u64,
    /// The end of the last command.
    done: u64,
    /// The start of the open transaction.
    multi: Option<u64>,
    largest_window: usize,
}

/// The range of a command's arguments in `spans`, and the command's offsets in the file.
#[derive(Clone, Copy)]
struct Place {
    first: u32,
    count: u32,
    start: u64,
    end: u64,
}

/// Commands in the order of the file, and annotations; empty at its end.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    window: &'a [u8],
    blocks: &'a [Block],
    spans: &'a [Span],
    commands: &'a [Place],
    notes: &'a [(usize, Vec<u8>)],
}

impl<'a> Batch<'a> {
    /// The number of commands.
    #[inline]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether the end of the file was reached.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.notes.is_empty()
    }

    /// The annotations of [`super::Tally`] in the order of the file, each with the number of commands before it.
    #[inline]
    pub fn notes(&self) -> &'a [(usize, Vec<u8>)] {
        self.notes
    }

    /// The spans of a command's arguments, at least one, in [`Batch::window`] and [`Batch::blocks`].
    #[inline]
    pub fn spans(&self, index: usize) -> &'a [Span] {
        let Place { first, count, .. } = self.commands[index];
        &self.spans[first as usize..][..count as usize]
    }

    /// The bytes that spans refer to.
    #[inline]
    pub fn window(&self) -> &'a [u8] {
        self.window
    }

    /// Large arguments that spans refer to.
    #[inline]
    pub fn blocks(&self) -> &'a [Block] {
        self.blocks
    }

    /// A command's arguments.
    pub fn arguments(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Batch { window, blocks, .. } = *self;
        self.spans(index).iter().map(move |span| resolve(*span, window, blocks))
    }

    /// The offset in the file at which a command begins.
    #[inline]
    pub fn start(&self, index: usize) -> u64 {
        self.commands[index].start
    }

    /// The offset in the file at which a command ends.
    #[inline]
    pub fn end(&self, index: usize) -> u64 {
        self.commands[index].end
    }
}

/// Why there is no further command.
#[derive(Debug)]
pub enum ReadError {
    /// The file ends within a command or a transaction. Everything before this offset is complete.
    Truncated {
        /// The offset at which to cut the file.
        valid_up_to: u64,
    },
    /// The file is not a log.
    Malformed {
        /// The offset of the malformed command.
        offset: u64,
        /// The error.
        what: String,
    },
    /// The file could not be read.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Truncated { valid_up_to } => {
                write!(f, "unexpected end of file; valid up to offset {valid_up_to}")
            }
            ReadError::Malformed { offset, what } => {
                write!(f, "bad file format at offset {offset}: {what}")
            }
            ReadError::Io(error) => write!(f, "{}", crate::sys::file::reason(error)),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why the parser stopped.
enum Stop {
    /// The batch is full.
    Full,
    /// The parser needs more of the file.
    Hungry,
}

impl<R: Read> Reader<R> {
    /// Reads a file from its start.
    pub fn new(file: R) -> Self {
        Self::after(file, Vec::new(), 0)
    }

    /// Continues where another reader stopped: the rest of `file` follows `leftover`, which begins at `offset` in the
    /// file.
    pub fn after(file: R, leftover: Vec<u8>, offset: u64) -> Self {
        let filled = leftover.len();
        let mut window = leftover;
        window.resize(WINDOW.max(filled), 0);
        Reader {
            file,
            window,
            at: 0,
            filled,
            read: offset + filled as u64,
            partial: Partial::default(),
            blocks: Vec::new(),
            filling: None,
            flawed: false,
            spans: Vec::new(),
            commands: Vec::new(),
            notes: Vec::new(),
            next: offset,
            done: offset,
            multi: None,
            largest_window: LARGEST_WINDOW,
        }
    }

    /// Returns the reader with a buffer that starts at `window` bytes and grows to at most `largest`.
    #[must_use]
    pub fn with_window(mut self, window: usize, largest: usize) -> Self {
        self.window.truncate(self.filled.max(window).max(1));
        self.largest_window = largest;
        self
    }

    /// The number of bytes of the file parsed so far.
    pub fn offset(&self) -> u64 {
        self.next
    }

    /// The end of the last complete command returned so far, or the start of an open `MULTI`.
    pub fn valid_up_to(&self) -> u64 {
        self.multi.unwrap_or(self.done)
    }

    /// The file.
    pub fn into_inner(self) -> R {
        self.file
    }

    /// Returns the next commands: up to `most` of them, but only those already read, or an empty batch at the end of
    /// the file. After an error no more can be read.
    pub fn next_batch(&mut self, most: usize) -> Result<Batch<'_>, ReadError> {
        self.spans.clear();
        self.commands.clear();
        self.notes.clear();
        self.blocks.drain(..self.blocks.len() - self.partial.detached_count());
        loop {
            let stop = self.parse(most.max(1))?;
            if self.has_any() || matches!(stop, Stop::Full) {
                break;
            }
            if !self.refill().map_err(ReadError::Io)? {
                self.end()?;
                break;
            }
        }
        Ok(Batch {
            window: &self.window[..self.filled],
            blocks: &self.blocks,
            spans: &self.spans,
            commands: &self.commands,
            notes: &self.notes,
        })
    }

    /// Whether the batch has anything.
    fn has_any(&self) -> bool {
        !self.commands.is_empty() || !self.notes.is_empty()
    }

    /// Parses the contents of the window. An error is returned only when nothing in the batch precedes it.
    fn parse(&mut self, most: usize) -> Result<Stop, ReadError> {
        if !self.fill_argument() {
            return Ok(Stop::Hungry);
        }
        while self.commands.len() < most {
            if self.partial.is_fresh() && !self.skip_annotations()? {
                return Ok(Stop::Hungry);
            }
            let first = self.spans.len();
            let window = &self.window[..self.filled];
            let parsed = resp::parse(window, self.at, &mut self.partial, &LIMITS, &mut self.spans);
            match parsed {
                Ok(Parsed::Whole { end }) => match self.flaw(first) {
                    None => self.take(first, end),
                    Some(what) => {
                        self.malformed(first, what)?;
                        return Ok(Stop::Full);
                    }
                },
                Ok(Parsed::Inline { .. }) => unreachable!("a command begins with an asterisk"),
                Ok(Parsed::Incomplete) => return Ok(Stop::Hungry),
                Ok(Parsed::Big { at, len }) => {
                    let mut block = Block::with_capacity(WINDOW.min(len.saturating_add(2)));
                    block.extend_from_slice(&self.window[at..self.filled]);
                    self.filled = at;
                    self.filling = Some((block, len.saturating_add(2)));
                    return Ok(Stop::Hungry);
                }
                Err(error) => {
                    self.malformed(first, &String::from_utf8_lossy(&error.message()))?;
                    return Ok(Stop::Full);
                }
            }
        }
        Ok(Stop::Full)
    }

    /// The error in the arguments from `first` on. The parser only skips the bytes of an argument and of its line end
    /// by their count.
    #[inline]
    fn flaw(&self, first: usize) -> Option<&'static str> {
        let spans = &self.spans[first..];
        if spans.is_empty() {
            return Some("a command without arguments");
        }
        let ends = |span: &Span| match span.kind() {
            SpanKind::Window { start, len } => is_ended(&self.window, start + len),
            SpanKind::Detached(_) | SpanKind::Piece { .. } => true,
        };
        if spans.iter().all(ends) && !self.flawed {
            return None;
        }
        Some("an argument without its line end")
    }

    /// Adds the command with the parsed arguments to the batch.
    #[inline]
    fn take(&mut self, first: usize, end: usize) {
        let begin = self.next;
        self.at = end;
        self.next = self.read - (self.filled - end) as u64;
        self.done = self.next;
        self.flawed = false;
        self.commands.push(Place {
            first: first as u32,
            count: (self.spans.len() - first) as u32,
            start: begin,
            end: self.next,
        });
        let name = resolve(self.spans[first], &self.window, &self.blocks);
        if name.len() == 5 && name.eq_ignore_ascii_case(b"multi") {
            self.multi.get_or_insert(begin);
        } else if name.len() == 4 && name.eq_ignore_ascii_case(b"exec") {
            self.multi = None;
        }
    }

    /// Moves to the next command in the window. Returns whether the start of one is there.
    #[inline]
    fn skip_annotations(&mut self) -> Result<bool, ReadError> {
        loop {
            match self.window[..self.filled].get(self.at) {
                Some(b'*') => return Ok(true),
                None => return Ok(false),
                Some(_) => {
                    if !self.skip_line()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Passes an annotation and returns `true`. Returns `false` if it is not complete yet, or if it or an error must
    /// wait until the batch has been executed.
    #[cold]
    fn skip_line(&mut self) -> Result<bool, ReadError> {
        let first = self.spans.len();
        let rest = &self.window[self.at..self.filled];
        if rest[0] != b'#' {
            let what = format!("expected '*', got '{}'", rest[0].escape_ascii());
            return self.malformed(first, &what).map(|()| false);
        }
        match memchr::memchr(b'\n', &rest[..rest.len().min(MAX_ANNOTATION)]) {
            Some(end) => {
                let line = &rest[..=end];
                if line.starts_with(history::PREFIX) {
                    if self.notes.len() == NOTES {
                        return Ok(false);
                    }
                    self.notes.push((self.commands.len(), line.to_vec()));
                }
                self.at += end + 1;
                self.next += end as u64 + 1;
                Ok(true)
            }
            None if rest.len() < MAX_ANNOTATION => Ok(false),
            None => self.malformed(first, "an annotation without a line end").map(|()| false),
        }
    }

    /// Fails, unless the batch has something: then the next call parses these bytes again.
    #[cold]
    fn malformed(&mut self, first: usize, what: &str) -> Result<(), ReadError> {
        if !self.has_any() {
            return Err(ReadError::Malformed { offset: self.next, what: what.to_owned() });
        }
        self.spans.truncate(first);
        self.partial = Partial::default();
        Ok(())
    }

    /// Completes the large argument being read, if there is one and all of it has arrived. Returns whether parsing can
    /// continue.
    fn fill_argument(&mut self) -> bool {
        let Some((block, wanted)) = &self.filling else { return true };
        if block.len() < *wanted {
            return false;
        }
        self.flawed |= !block.as_slice().ends_with(b"\r\n");
        if let Some((mut block, wanted)) = self.filling.take() {
            block.truncate(wanted - 2);
            if block.capacity() - block.len() > block.len() / 8 {
                block.shrink_to_fit();
            }
            self.blocks.push(block);
            self.partial.detached();
        }
        true
    }

    /// Reads more of the file. Returns whether there was any.
    fn refill(&mut self) -> io::Result<bool> {
        if self.at > 0 {
            self.window.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        if self.filled == self.window.len() {
            self.make_room();
        }
        let mut room = self.window.len() - self.filled;
        if let Some((block, wanted)) = &self.filling {
            room = room.min(wanted - block.len());
        }
        let here = &mut self.window[self.filled..][..room];
        let count = loop {
            match self.file.read(here) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.read += count as u64;
        match &mut self.filling {
            Some((block, _)) => block.extend_from_slice(&here[..count]),
            None => self.filled += count,
        }
        Ok(count > 0)
    }

    /// Makes room when one command fills the window.
    #[cold]
    fn make_room(&mut self) {
        if self.window.len() >= self.largest_window {
            let (window, blocks) = (&self.window, &mut self.blocks);
            let moved = self.partial.move_out(self.filled, |place| {
                self.flawed |= !is_ended(window, place.end);
                blocks.push(Block::from(&window[place]));
                Span::detached(blocks.len() - 1)
            });
            self.window.copy_within(moved..self.filled, 0);
            self.filled -= moved;
        }
        if self.filled == self.window.len() {
            self.window.resize(2 * self.filled, 0);
        }
    }

    /// Handles the end of the file.
    fn end(&mut self) -> Result<(), ReadError> {
        let cut = ReadError::Truncated { valid_up_to: self.valid_up_to() };
        if self.filling.is_some() || self.at == self.filled && !self.partial.is_fresh() {
            return Err(cut);
        }
        // Part of a command, unless the next bytes cannot begin an argument.
        let rest = &self.window[self.at..self.filled];
        let next = rest.get(self.partial.parsed_len());
        if self.partial.expects_header() && next.is_some_and(|byte| *byte != b'$') {
            return Err(ReadError::Malformed {
                offset: self.next,
                what: "expected '$' at the start of an argument".into(),
            });
        }
        // The parser takes a line with a zero byte for one without an end, however many bytes follow.
        let line = rest.get(self.partial.parsed_len()..).unwrap_or_default();
        if self.partial.expects_line() && line.contains(&0) {
            return Err(ReadError::Malformed { offset: self.next, what: "a zero byte in a length".into() });
        }
        if !rest.is_empty() || self.multi.is_some() { Err(cut) } else { Ok(()) }
    }
}

/// Whether a line end follows the argument that ends here.
#[inline]
fn is_ended(window: &[u8], end: usize) -> bool {
    window[end..].starts_with(b"\r\n")
}

/// The bytes of a span from this reader.
#[inline]
fn resolve<'a>(span: Span, window: &'a [u8], blocks: &'a [Block]) -> &'a [u8] {
    match span.kind() {
        SpanKind::Window { start, len } => &window[start..start + len],
        SpanKind::Detached(block) => blocks[block].as_slice(),
        SpanKind::Piece { block, start, len } => &blocks[block].as_slice()[start..start + len],
    }
}

#[cfg(test)]
mod tests;
