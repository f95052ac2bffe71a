//! The request parser: finds a request's arguments in the receive window without copying them.
//!
//! ```text
//! start = 0
//! ▼
//! *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPI…
//!             ╰┬╯          ╰┬╯          ╰─┬─╯     ▲
//! spans     (8, 3)       (17, 3)       (26, 5)    end = 33
//! ```
//!
//! [`parse`] reads one request. It is fast because it recognises a header as a whole: four bytes are loaded as one word
//! and compared with `$d\r` under a mask, so a typical argument costs one load, one comparison and one addition, and
//! its own bytes are not read. If the window ends or anything unusual follows, [`Partial`] takes over and stores the
//! parser's position. So a request may arrive in any pieces, each byte is read once, and the result does not depend on
//! the pieces. Memory grows with the bytes received, never with a length that the client only claims: eight bytes per
//! argument, each of which took at least six on the wire.
//!
//! An argument of [`BIG_ARGUMENT`] bytes or more that has not arrived completely is handed to the caller
//! ([`Parsed::Big`]), which receives the rest directly into the block where it will stay. If a request has many small
//! arguments, the caller may move those that have arrived out of the window at any time ([`Partial::move_out`]), so that
//! the window need not grow with the request.
//!
//! As in C Redis, a zero byte in a line hides the line's end, and the two bytes after a bulk and the byte after a
//! header's `\r` are skipped unchecked. There is one difference, which no client notices: a line of more than 64 KiB is
//! refused however it is split into packets (in Redis only if its end was not received together with its start).

use std::borrow::Cow;
use std::ops::Range;

use crate::text::number::parse_i64;
use crate::text::words;

/// From this length on, an argument that has not arrived completely is handed over as [`Parsed::Big`].
pub const BIG_ARGUMENT: usize = 32 * 1024;
/// The longest line (an inline request, or a header) without its line feed.
pub const MAX_LINE: usize = 64 * 1024;
/// The most arguments a request may announce.
pub const MAX_ARGUMENTS: usize = i32::MAX as usize;
/// The most arguments a request may announce before the client has authenticated.
pub const UNAUTHENTICATED_ARGUMENTS: usize = 10;
/// The longest argument before the client has authenticated.
pub const UNAUTHENTICATED_BULK: usize = 16 * 1024;
/// No byte after this index of a window is read: spans are 31 bits wide. Callers keep their windows far smaller, see
/// [`Partial::move_out`].
pub const MAX_WINDOW: usize = (1 << 31) - 1;

/// Limits on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Before authentication (where a password is required) the limits are much smaller.
    pub authenticated: bool,
    /// `proto-max-bulk-len`: the longest argument in bytes.
    pub max_bulk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { authenticated: true, max_bulk: 512 * 1024 * 1024 }
    }
}

/// The place of an argument: in the window, or in a block of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

const _: () = assert!(size_of::<Span>() == 8);

/// Marks a span in a block. The rest of `start` is then the block's index, and `len` selects the part of the block: all
/// of it ([`WHOLE`]), or 20 bits for the part's start and 12 for its length.
const DETACHED: u32 = 1 << 31;

/// The `len` of a span that is a whole block.
const WHOLE: u32 = u32::MAX;

/// The bits of a part's length.
const PIECE_BITS: u32 = 12;

/// A part of a block is shorter than this.
pub const MAX_PIECE: usize = 1 << PIECE_BITS;

/// A part of a block begins before this.
pub const MAX_PIECE_START: usize = 1 << 19;

/// A decoded [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// `window[start..start + len]`.
    Window {
        /// Index of the first byte.
        start: usize,
        /// Length in bytes.
        len: usize,
    },
    /// The whole of the request's nth block, counted from 0.
    Detached(usize),
    /// A part of the request's nth block.
    Piece {
        /// Which block, counted from 0.
        block: usize,
        /// Index of the first byte in the block.
        start: usize,
        /// Length in bytes.
        len: usize,
    },
}

impl Span {
    /// A span of the window; both must be at most [`MAX_WINDOW`].
    #[inline]
    pub fn window(start: usize, len: usize) -> Self {
        debug_assert!(start <= MAX_WINDOW && len <= MAX_WINDOW);
        Self { start: start as u32, len: len as u32 }
    }

    /// The span of the request's nth block, all of it.
    #[inline]
    pub fn detached(block: usize) -> Self {
        debug_assert!(block <= MAX_WINDOW);
        Self { start: DETACHED | block as u32, len: WHOLE }
    }

    /// The span of `len` bytes of the request's nth block; `start` and `len` must be below [`MAX_PIECE_START`] and
    /// [`MAX_PIECE`].
    #[inline]
    pub fn piece(block: usize, start: usize, len: usize) -> Self {
        debug_assert!(block <= MAX_WINDOW && start < MAX_PIECE_START && len < MAX_PIECE);
        Self { start: DETACHED | block as u32, len: (start << PIECE_BITS | len) as u32 }
    }

    /// Returns the same span of another window, after the bytes at `from` were copied there to `to`.
    #[inline]
    #[must_use]
    pub fn moved(self, from: usize, to: usize) -> Self {
        debug_assert!(self.start & DETACHED == 0 && self.start as usize >= from, "not in what was copied");
        Self::window(self.start as usize - from + to, self.len as usize)
    }

    /// The span, decoded.
    #[inline]
    pub fn kind(self) -> SpanKind {
        if self.start & DETACHED == 0 {
            SpanKind::Window { start: self.start as usize, len: self.len as usize }
        } else {
            self.block_kind()
        }
    }

    fn block_kind(self) -> SpanKind {
        let block = (self.start & !DETACHED) as usize;
        if self.len == WHOLE {
            return SpanKind::Detached(block);
        }
        let len = self.len as usize;
        SpanKind::Piece { block, start: len >> PIECE_BITS, len: len & (MAX_PIECE - 1) }
    }

    /// Returns the argument's bytes. A span that does not belong to this window and these blocks returns an empty
    /// slice.
    #[inline]
    pub fn resolve<'a, B: AsRef<[u8]>>(self, window: &'a [u8], detached: &'a [B]) -> &'a [u8] {
        match self.kind() {
            SpanKind::Window { start, len } => window.get(start..start + len).unwrap_or(&[]),
            SpanKind::Detached(index) => detached.get(index).map_or(&[], AsRef::as_ref),
            SpanKind::Piece { block, start, len } => {
                detached.get(block).and_then(|block| block.as_ref().get(start..start + len)).unwrap_or(&[])
            }
        }
    }

    /// The same span for a window that begins `offset` bytes earlier.
    fn moved_right(self, offset: usize) -> Self {
        if self.start & DETACHED == 0 { Self { start: self.start + offset as u32, ..self } } else { self }
    }

    /// The same span for a window that begins `offset` bytes later; all of it must lie after that point.
    fn moved_left(self, offset: usize) -> Self {
        debug_assert!(self.start & DETACHED == 0 && self.start as usize >= offset);
        Self { start: self.start - offset as u32, ..self }
    }
}

/// The result of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request; its spans were appended (none for an empty request). The next one begins at `end`.
    Whole {
        /// Index in the window after the request.
        end: usize,
    },
    /// A whole inline request; its words are unquoted, so they are not in the window.
    Inline {
        /// Index in the window after the request.
        end: usize,
        /// The arguments, at least one.
        words: Vec<Vec<u8>>,
    },
    /// More bytes are needed. The window must still hold the request from its start the next time.
    Incomplete,
    /// An argument of `len` bytes (at least [`BIG_ARGUMENT`]) begins at `window[at]` and has not arrived completely.
    /// The caller takes `window[at..]` out of the window, receives until it has `len + 2` bytes, drops the last two,
    /// and calls [`Partial::detached`]; later bytes are appended to the window at `at`.
    Big {
        /// Index of the argument's first byte in the window.
        at: usize,
        /// Its length without the line end.
        len: usize,
    },
}

/// Why a client's bytes are not a request. The client gets the message as an error reply, and its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count after `*` is not a number or too large.
    InvalidMultibulk,
    /// More arguments than a client may send before it has authenticated.
    UnauthenticatedMultibulk,
    /// The line that begins with `*` does not end.
    TooBigMultibulk,
    /// An argument does not begin with `$` but with this byte.
    ExpectedBulk(u8),
    /// The length after `$` is not a number, or negative, or too large.
    InvalidBulk,
    /// A longer argument than a client may send before it has authenticated.
    UnauthenticatedBulk,
    /// The line in an argument's place does not end.
    TooBigBulk,
    /// An inline request does not end.
    TooBigInline,
    /// An inline request with an open quote, or with text right after a closing one.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text of the error reply after `-ERR `, byte for byte as Redis sends it. It may contain one byte from the
    /// client, which need not be UTF-8 (the reply writer turns line ends into spaces).
    pub fn message(self) -> Cow<'static, [u8]> {
        let text: &'static [u8] = match self {
            Self::InvalidMultibulk => b"Protocol error: invalid multibulk length",
            Self::UnauthenticatedMultibulk => b"Protocol error: unauthenticated multibulk length",
            Self::TooBigMultibulk => b"Protocol error: too big mbulk count string",
            Self::ExpectedBulk(byte) => {
                return Cow::Owned([b"Protocol error: expected '$', got '", &[byte][..], b"'"].concat());
            }
            Self::InvalidBulk => b"Protocol error: invalid bulk length",
            Self::UnauthenticatedBulk => b"Protocol error: unauthenticated bulk length",
            Self::TooBigBulk => b"Protocol error: too big bulk count string",
            Self::TooBigInline => b"Protocol error: too big inline request",
            Self::UnbalancedQuotes => b"Protocol error: unbalanced quotes in request",
        };
        Cow::Borrowed(text)
    }
}

/// The next thing that the parser expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The first byte of a request.
    #[default]
    First,
    /// The rest of the line that began with `*`.
    Count,
    /// The rest of an inline request's line.
    Inline,
    /// A bulk's header, or nothing more if no argument remains.
    Header,
    /// A bulk's bytes and line end.
    Body { len: usize },
    /// The caller, which receives a big bulk of this length.
    Big { len: usize },
}

/// The state of a request that has not arrived completely. All positions are relative to the request's start, so the
/// caller may move the request within its buffers. Owns no memory while it is fresh.
#[derive(Debug, Default)]
pub struct Partial {
    stage: Stage,
    /// The start of the unfinished element (line or body).
    position: usize,
    /// The number of bytes from `position` on that are known to contain no line end.
    scanned: usize,
    /// The number of arguments not found yet.
    remaining: usize,
    detached: usize,
    spans: Vec<Span>,
    /// The number of `spans`, from the first on, that lie in blocks: see [`Partial::move_out`].
    moved: usize,
}

impl Partial {
    /// Whether no byte of a request has been consumed.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.stage == Stage::First
    }

    /// The length of the big argument that the caller is receiving.
    #[inline]
    pub fn big(&self) -> Option<usize> {
        if let Stage::Big { len } = self.stage { Some(len) } else { None }
    }

    /// The number of this request's blocks that the caller holds.
    pub fn detached_count(&self) -> usize {
        self.detached
    }

    /// The number of bytes parsed, from the request's start on.
    pub fn parsed_len(&self) -> usize {
        self.position
    }

    /// Whether the line that begins at [`Partial::parsed_len`] has to be an argument's header.
    pub fn expects_header(&self) -> bool {
        self.stage == Stage::Header && self.remaining > 0
    }

    /// Whether a line of a request with a count begins at [`Partial::parsed_len`], rather than bytes of an argument.
    pub fn expects_line(&self) -> bool {
        self.stage == Stage::Count || self.expects_header()
    }

    /// Moves the arguments found so far out of the window, which holds `received` bytes of the request. `put` gets the
    /// range of each argument, relative to the request's start; it stores those bytes in the request's blocks and returns
    /// their span there. Returns by how many bytes the start of the request has moved; the bytes before it are no longer
    /// needed.
    ///
    /// O(arguments found since the last call).
    pub fn move_out(&mut self, received: usize, mut put: impl FnMut(Range<usize>) -> Span) -> usize {
        for span in &mut self.spans[self.moved..] {
            if let SpanKind::Window { start, len } = span.kind() {
                *span = put(start..start + len);
            }
            if let SpanKind::Detached(block) | SpanKind::Piece { block, .. } = span.kind() {
                self.detached = self.detached.max(block + 1);
            }
        }
        self.moved = self.spans.len();
        // A header's line feed may be counted before it has arrived.
        let done = self.position.min(received);
        self.position -= done;
        done
    }

    /// Records that the big argument (see [`Parsed::Big`]) has arrived completely in a block of its own, which is now
    /// the argument. Does nothing if no big argument is pending.
    pub fn detached(&mut self) {
        if let Stage::Big { .. } = self.stage {
            self.spans.push(Span::detached(self.detached));
            self.detached += 1;
            self.remaining -= 1;
            self.stage = Stage::Header;
        }
    }

    /// The spans of the arguments found so far.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Memory held for the request's spans, in bytes.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }
}

/// Parses the one request that begins at `window[start]`.
///
/// On [`Parsed::Whole`] its spans have been appended to `spans` and `partial` is fresh again; otherwise `spans` is
/// unchanged. After [`Parsed::Incomplete`] call again with the same `partial` and a longer window, in which the request
/// begins at `start` (not necessarily the same index). After an error the connection must be closed.
///
/// O(bytes of the request) over all calls.
#[inline(always)]
pub fn parse(
    window: &[u8],
    start: usize,
    partial: &mut Partial,
    limits: &Limits,
    spans: &mut Vec<Span>,
) -> Result<Parsed, ProtocolError> {
    let window = &window[..window.len().min(MAX_WINDOW)];
    if partial.is_fresh()
        && let Some((count, first)) = short_header(window, start, b'*')
        && (1..=limits.arguments()).contains(&count)
    {
        let mark = spans.len();
        let (at, remaining) = take_bulks(window, first, count, limits, spans);
        if remaining == 0 {
            return Ok(Parsed::Whole { end: at });
        }
        partial.suspend(start, at, remaining, spans, mark);
    }
    partial.resume(window, start, limits, spans)
}

/// Reads a common header at `at`: `$` (or `*`) and a number of up to nine digits. Returns the number and the index after
/// the line; `None` for anything else, and for a header at the very end of the window.
#[inline(always)]
fn short_header(window: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let word = u32::from_le_bytes(*window.get(at..)?.first_chunk()?);
    let tens = (word >> 8 & 0xff).wrapping_sub(u32::from(b'0'));
    let ones = (word >> 16 & 0xff).wrapping_sub(u32::from(b'0'));
    // `$d\r`, whatever the fourth byte.
    if word & 0x00ff_00ff == u32::from_le_bytes([kind, 0, b'\r', 0]) {
        return if tens <= 9 { Some((tens as usize, at + 4)) } else { None };
    }
    // `$dd\r`.
    if word & 0xff00_00ff == u32::from_le_bytes([kind, 0, 0, b'\r']) {
        let fits = tens.wrapping_sub(1) <= 8 && ones <= 9;
        return if fits { Some(((tens * 10 + ones) as usize, at + 5)) } else { None };
    }
    if word as u8 == kind { long_header(window, at) } else { None }
}

/// [`short_header`] for three to nine digits; the kind has been checked.
#[inline]
fn long_header(window: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = window.get(at + 1..)?;
    let mut number = 0;
    for (i, &byte) in line.iter().take(10).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return if byte == b'\r' && i >= 3 { Some((number, at + i + 3)) } else { None };
        }
        number = number * 10 + usize::from(digit);
        if number == 0 {
            return None;
        }
    }
    None
}

/// Consumes complete bulks with short headers from `at` on, up to `remaining` of them. Returns where it stopped and how
/// many are still to come.
#[inline(always)]
fn take_bulks(
    window: &[u8],
    mut at: usize,
    mut remaining: usize,
    limits: &Limits,
    spans: &mut Vec<Span>,
) -> (usize, usize) {
    let max = limits.bulk();
    while remaining > 0 {
        let Some((len, body)) = short_header(window, at, b'$') else { break };
        let end = body + len + 2;
        if end > window.len() || len > max {
            break;
        }
        spans.push(Span::window(body, len));
        at = end;
        remaining -= 1;
    }
    (at, remaining)
}

impl Limits {
    #[inline]
    fn arguments(&self) -> usize {
        if self.authenticated { MAX_ARGUMENTS } else { UNAUTHENTICATED_ARGUMENTS }
    }

    #[inline]
    fn bulk(&self) -> usize {
        if self.authenticated { self.max_bulk } else { self.max_bulk.min(UNAUTHENTICATED_BULK) }
    }
}

/// The slow path: one step per element, each of which may reach the end of the window.
impl Partial {
    /// Stores the arguments that the fast path found before bytes that it does not handle.
    #[cold]
    fn suspend(&mut self, start: usize, at: usize, remaining: usize, spans: &mut Vec<Span>, mark: usize) {
        self.stage = Stage::Header;
        self.position = at - start;
        self.remaining = remaining;
        self.spans.extend(spans.drain(mark..).map(|span| span.moved_left(start)));
    }

    #[inline(never)]
    fn resume(
        &mut self,
        window: &[u8],
        start: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        let request = window.get(start..).unwrap_or(&[]);
        loop {
            match self.stage {
                Stage::First => match request.first() {
                    None => return Ok(Parsed::Incomplete),
                    Some(b'*') => self.stage = Stage::Count,
                    Some(_) => self.stage = Stage::Inline,
                },
                Stage::Inline => return self.take_inline(request, start),
                Stage::Count => {
                    let Some(count) = self.take_count(request, limits)? else {
                        return Ok(Parsed::Incomplete);
                    };
                    self.remaining = count;
                    self.stage = Stage::Header;
                }
                Stage::Header if self.remaining == 0 => {
                    let end = start + self.position;
                    if start == 0 && spans.is_empty() && spans.capacity() < self.spans.len() {
                        std::mem::swap(spans, &mut self.spans);
                    } else {
                        spans.extend(self.spans.iter().map(|span| span.moved_right(start)));
                    }
                    *self = Self::default();
                    return Ok(Parsed::Whole { end });
                }
                Stage::Header => {
                    if self.scanned == 0 {
                        let (position, remaining) = (self.position, self.remaining);
                        (self.position, self.remaining) =
                            take_bulks(request, position, remaining, limits, &mut self.spans);
                        if self.remaining == 0 {
                            continue;
                        }
                    }
                    let Some(len) = self.take_header(request, limits)? else { return Ok(Parsed::Incomplete) };
                    self.stage = Stage::Body { len };
                }
                Stage::Body { len } => {
                    let received = request.len().saturating_sub(self.position);
                    if received >= len.saturating_add(2) {
                        self.spans.push(Span::window(self.position, len));
                        self.position += len + 2;
                        self.remaining -= 1;
                        self.stage = Stage::Header;
                    } else if len >= BIG_ARGUMENT {
                        self.stage = Stage::Big { len };
                    } else {
                        return Ok(Parsed::Incomplete);
                    }
                }
                Stage::Big { len } => return Ok(Parsed::Big { at: start + self.position, len }),
            }
        }
    }

    /// Finds the end of the line that begins at `position`: the index of its first `end` byte. A line with a zero
    /// byte has no end, as in Redis, which searches it as a C string: it grows until it is too long.
    fn line_end(
        &mut self,
        request: &[u8],
        end: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let from = self.position + self.scanned;
        let unseen = request.get(from..).unwrap_or(&[]);
        let unseen = &unseen[..unseen.len().min(MAX_LINE + 1 - self.scanned)];
        match memchr::memchr2(end, 0, unseen) {
            Some(found) if unseen[found] == end => {
                self.scanned += found;
                return Ok(Some(from + found));
            }
            Some(found) => self.scanned += found,
            None => self.scanned += unseen.len(),
        }
        let received = request.len().saturating_sub(self.position);
        if received > MAX_LINE { Err(too_long) } else { Ok(None) }
    }

    /// Consumes a header line with its two end bytes, and returns what precedes them.
    fn take_line<'a>(
        &mut self,
        request: &'a [u8],
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.line_end(request, b'\r', too_long)? {
            Some(end) if request.len() >= end + 2 => {
                let line = &request[self.position..end];
                self.position = end + 2;
                self.scanned = 0;
                Ok(Some(line))
            }
            _ => Ok(None),
        }
    }

    fn take_count(&mut self, request: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.take_line(request, ProtocolError::TooBigMultibulk)? else { return Ok(None) };
        // Zero and every negative number announce an empty request.
        match parse_i64(&line[1..]) {
            Some(count) if count > MAX_ARGUMENTS as i64 => Err(ProtocolError::InvalidMultibulk),
            Some(count) if count > limits.arguments() as i64 => Err(ProtocolError::UnauthenticatedMultibulk),
            Some(count) => Ok(Some(count.max(0) as usize)),
            None => Err(ProtocolError::InvalidMultibulk),
        }
    }

    fn take_header(&mut self, request: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.take_line(request, ProtocolError::TooBigBulk)? else { return Ok(None) };
        let [b'$', digits @ ..] = line else {
            // On an empty line, the line end is in the dollar's place.
            return Err(ProtocolError::ExpectedBulk(line.first().copied().unwrap_or(b'\r')));
        };
        match parse_i64(digits).map(usize::try_from) {
            Some(Ok(len)) if len > limits.max_bulk => Err(ProtocolError::InvalidBulk),
            Some(Ok(len)) if len > limits.bulk() => Err(ProtocolError::UnauthenticatedBulk),
            Some(Ok(len)) => Ok(Some(len)),
            _ => Err(ProtocolError::InvalidBulk),
        }
    }

    fn take_inline(&mut self, request: &[u8], start: usize) -> Result<Parsed, ProtocolError> {
        let Some(end) = self.line_end(request, b'\n', ProtocolError::TooBigInline)? else {
            return Ok(Parsed::Incomplete);
        };
        *self = Self::default();
        // The carriage return before the line feed may be missing; it would be white space to `split` anyway.
        let words = words::split(&request[..end]).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        let end = start + end + 1;
        Ok(if words.is_empty() { Parsed::Whole { end } } else { Parsed::Inline { end, words } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A request as its arguments, or the error that ended the connection.
    type Outcome = Result<Vec<Vec<u8>>, String>;

    /// Acts as a client's connection: bytes come in pieces, and big arguments get blocks of their own.
    #[derive(Default)]
    struct Connection {
        limits: Limits,
        window: Vec<u8>,
        /// The start of the unfinished request; moved around, because only distances from it may matter.
        start: usize,
        partial: Partial,
        blocks: Vec<Vec<u8>>,
        /// Whether arrived arguments move out of the window while the others arrive.
        moves_out: bool,
        /// Whether an argument of the current request has moved.
        moved: bool,
        outcomes: Vec<Outcome>,
        closed: bool,
    }

    impl Connection {
        fn feed(&mut self, mut piece: &[u8]) {
            while !piece.is_empty() && !self.closed {
                if let Some(len) = self.partial.big() {
                    let block = self.blocks.last_mut().expect("a block is open");
                    let wanted = (len + 2 - block.len()).min(piece.len());
                    block.extend_from_slice(&piece[..wanted]);
                    piece = &piece[wanted..];
                    if block.len() == len + 2 {
                        block.truncate(len);
                        self.partial.detached();
                        self.advance();
                    }
                } else {
                    self.window.extend_from_slice(piece);
                    piece = &[];
                    self.advance();
                }
            }
        }

        fn advance(&mut self) {
            loop {
                let mut spans = vec![Span::detached(7)];
                let parsed = parse(&self.window, self.start, &mut self.partial, &self.limits, &mut spans);
                assert_eq!(spans.remove(0), Span::detached(7), "what was in the list stays there");
                match parsed {
                    Ok(Parsed::Whole { end }) => {
                        let resolve = |span: &Span| span.resolve(&self.window, &self.blocks).to_vec();
                        self.outcomes.push(Ok(spans.iter().map(resolve).collect()));
                        self.next(end);
                    }
                    Ok(Parsed::Inline { end, words }) => {
                        assert!(!words.is_empty() && spans.is_empty());
                        self.outcomes.push(Ok(words));
                        self.next(end);
                    }
                    Ok(Parsed::Incomplete) => {
                        assert!(spans.is_empty());
                        assert!(self.moved || self.partial.is_fresh() == (self.start == self.window.len()));
                        if self.moves_out && self.window.len().is_multiple_of(2) {
                            self.move_out();
                        }
                        let shift = self.window.len() % 3;
                        self.window.splice(..self.start, vec![b'#'; shift]);
                        self.start = shift;
                        return;
                    }
                    Ok(Parsed::Big { at, len }) => {
                        assert!(spans.is_empty() && len >= BIG_ARGUMENT);
                        assert!(self.window.len() - at < len + 2);
                        self.blocks.push(self.window.split_off(at));
                        return;
                    }
                    Err(error) => {
                        let text = String::from_utf8_lossy(&error.message()).into_owned();
                        self.outcomes.push(Err(text));
                        self.closed = true;
                        return;
                    }
                }
            }
        }

        fn move_out(&mut self) {
            let Self { window, start, blocks, .. } = self;
            let mut shared = None;
            let moved = self.partial.move_out(window.len() - *start, |place| {
                let bytes = &window[*start..][place];
                if bytes.len().is_multiple_of(3) || bytes.len() >= MAX_PIECE {
                    blocks.push(bytes.to_vec());
                    return Span::detached(blocks.len() - 1);
                }
                let block = *shared.get_or_insert_with(|| {
                    blocks.push(Vec::new());
                    blocks.len() - 1
                });
                let at = blocks[block].len();
                blocks[block].extend_from_slice(bytes);
                Span::piece(block, at, bytes.len())
            });
            assert_eq!(self.partial.detached_count(), self.blocks.len());
            self.window.drain(self.start..self.start + moved);
            self.moved |= moved > 0;
        }

        fn next(&mut self, end: usize) {
            assert!(self.partial.is_fresh() && self.partial.memory() == 0);
            self.start = end;
            self.moved = false;
            self.blocks.clear();
        }
    }

    fn outcomes(bytes: &[u8], limits: Limits, piece: usize) -> Vec<Outcome> {
        let [stays, moves] = [false, true].map(|moves_out| {
            let mut connection = Connection { limits, moves_out, ..Connection::default() };
            bytes.chunks(piece.max(1)).for_each(|piece| connection.feed(piece));
            connection.outcomes
        });
        assert_eq!(stays, moves, "where arguments lie changes nothing");
        stays
    }

    fn words(words: &[&str]) -> Outcome {
        words.iter().map(|word| Ok(word.as_bytes().to_vec())).collect()
    }

    fn multibulk(arguments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    const UNAUTHENTICATED: Limits = Limits { authenticated: false, max_bulk: 512 << 20 };

    #[test]
    fn a_pipeline_gives_its_requests_in_order_whatever_the_pieces() {
        let long = "v".repeat(1000);
        let mut bytes = multibulk(&[b"SET", b"key:000000000001", b"xxx"]);
        bytes.extend(multibulk(&[b"GET", b""]));
        bytes.extend_from_slice(b"\r\nPING \"a b\"\n*0\r\n*-1\r\n");
        bytes.extend(multibulk(&[b"SET", b"k", long.as_bytes()]));
        bytes.extend(multibulk(&[&b"a"[..]; 123]));
        bytes.extend_from_slice(b"PING\r\r\n");
        let expected = vec![
            words(&["SET", "key:000000000001", "xxx"]),
            words(&["GET", ""]),
            words(&[]),
            words(&["PING", "a b"]),
            words(&[]),
            words(&[]),
            words(&["SET", "k", &long]),
            words(&["a"; 123]),
            words(&["PING"]),
        ];
        for piece in [1, 2, 3, 5, 7, 64, 1000, bytes.len()] {
            assert_eq!(outcomes(&bytes, Limits::default(), piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn every_breach_of_the_protocol_has_the_text_that_redis_sends() {
        let cases: [(&[u8], &str); 30] = [
            (b"*1x\r\n", "invalid multibulk length"),
            (b"*\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"* 1\r\n", "invalid multibulk length"),
            (b"*-0\r\n", "invalid multibulk length"),
            (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*-9223372036854775809\r\n", "invalid multibulk length"),
            (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
            (b"*1\r\n:4\r\nPING\r\n", "expected '$', got ':'"),
            (b"*1\r\n\r\n", "expected '$', got '\r'"),
            (b"*1\r\n\n\r\n", "expected '$', got '\n'"),
            (b"*1\r\n'\r\n", "expected '$', got '''"),
            (b"*1\r\n\xff\r\n", "expected '$', got '\u{fffd}'"),
            (b"*2\r\n$1\r\na\r\n*1\r\n", "expected '$', got '*'"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$-0\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$4x\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$1234567x\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$9999999999\r\n", "invalid bulk length"),
            (b"PI\"NG\r\n", "unbalanced quotes in request"),
            (b"'PING'x\r\n", "unbalanced quotes in request"),
            (b"\"PING\r\n", "unbalanced quotes in request"),
            (b"ECHO \"a\\\"\r\n", "unbalanced quotes in request"),
        ];
        for (bytes, text) in cases {
            let expected = [Err(format!("Protocol error: {text}"))];
            for piece in [1, 4, bytes.len()] {
                let found = outcomes(bytes, Limits::default(), piece);
                assert_eq!(found, expected, "{} in {piece}s", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn what_redis_tolerates_is_tolerated() {
        let cases: [(&[u8], Vec<Outcome>); 6] = [
            (b"*-5\r\nPING\r\n", vec![words(&[]), words(&["PING"])]),
            (b"*-9223372036854775808\r\nPING\r\n", vec![words(&[]), words(&["PING"])]),
            (b"*1\rX$4\rXPINGXXPING\n", vec![words(&["PING"]), words(&["PING"])]),
            (b"*2147483647\r\n$1\r\na\r\n", vec![]),
            (b"*1\r\n$536870912\r\n", vec![]),
            (b"*1\r", vec![]),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 3, bytes.len()] {
                assert_eq!(outcomes(bytes, Limits::default(), piece), expected, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn a_client_that_has_not_authenticated_may_send_little() {
        let cases: [(&[u8], &str); 5] = [
            (b"*11\r\n", "unauthenticated multibulk length"),
            (b"*2147483647\r\n", "unauthenticated multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*10\r\n$16385\r\n", "unauthenticated bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        ];
        for (bytes, text) in cases {
            for piece in [1, bytes.len()] {
                let expected = [Err(format!("Protocol error: {text}"))];
                assert_eq!(outcomes(bytes, UNAUTHENTICATED, piece), expected, "{}", bytes.escape_ascii());
            }
        }
        let most = multibulk(&[&[b'a'; UNAUTHENTICATED_BULK][..]; UNAUTHENTICATED_ARGUMENTS]);
        assert_eq!(outcomes(&most, UNAUTHENTICATED, 5000), outcomes(&most, Limits::default(), most.len()));
    }

    #[test]
    fn a_line_may_have_64_kib_and_no_byte_more() {
        for (before, line, end, text) in [
            (&b""[..], &b"a"[..], &b"\n"[..], "too big inline request"),
            (b"", b"*1", b"\r\n", "too big mbulk count string"),
            (b"*1\r\n", b"$1", b"\r\n", "too big bulk count string"),
            (b"*1\r\n", b"x1", b"\r\n", "too big bulk count string"),
        ] {
            let mut longest = [before, line].concat();
            longest.resize(before.len() + MAX_LINE, b'1');
            let mut longer = longest.clone();
            longer.push(b'1');
            for piece in [999, longer.len()] {
                let expected = [Err(format!("Protocol error: {text}"))];
                assert_eq!(outcomes(&longest, Limits::default(), piece), []);
                assert_eq!(outcomes(&longer, Limits::default(), piece), expected);
            }
            for piece in [999, longer.len()] {
                let ended = outcomes(&[&longest[..], end].concat(), Limits::default(), piece);
                assert_eq!(ended.len(), 1);
                assert_ne!(ended, [Err(format!("Protocol error: {text}"))]);
            }
        }
    }

    #[test]
    fn a_line_with_a_zero_byte_has_no_end() {
        for (line, text) in [
            (&b"PI\0NG\r\n"[..], "too big inline request"),
            (b"*\x001\r\n", "too big mbulk count string"),
            (b"*1\0\r\n", "too big mbulk count string"),
            (b"*1\r\n$4\0\r\n", "too big bulk count string"),
        ] {
            let mut stream = line.to_vec();
            stream.extend(multibulk(&[b"PING"]));
            for piece in [1, stream.len()] {
                assert_eq!(outcomes(&stream, Limits::default(), piece), [], "{}", line.escape_ascii());
            }
            stream.resize(MAX_LINE + 10, b'\n');
            for piece in [1, 999, stream.len()] {
                let expected = [Err(format!("Protocol error: {text}"))];
                assert_eq!(outcomes(&stream, Limits::default(), piece), expected);
            }
        }
    }

    #[test]
    fn a_big_argument_is_handed_over_only_if_it_is_incomplete() {
        let big = vec![b'b'; BIG_ARGUMENT];
        let bytes = multibulk(&[b"SET", b"k", &big]);
        let (mut partial, mut spans) = (Partial::default(), Vec::new());
        let limits = Limits::default();
        let end = bytes.len();
        assert_eq!(parse(&bytes, 0, &mut partial, &limits, &mut spans), Ok(Parsed::Whole { end }));
        assert_eq!(spans.len(), 3);

        let at = bytes.len() - 2 - BIG_ARGUMENT;
        for received in [at, at + 1, bytes.len() - 2, bytes.len() - 1] {
            let (mut partial, mut spans) = (Partial::default(), Vec::new());
            let parsed = Ok(Parsed::Big { at, len: BIG_ARGUMENT });
            assert_eq!(parse(&bytes[..received], 0, &mut partial, &limits, &mut spans), parsed);
            assert_eq!(parse(&bytes[..at], 0, &mut partial, &limits, &mut spans), parsed, "still waiting");
            assert_eq!(partial.big(), Some(BIG_ARGUMENT));
            partial.detached();
            assert_eq!((partial.big(), partial.detached_count()), (None, 1));
            let whole = Ok(Parsed::Whole { end: at });
            assert_eq!(parse(&bytes[..at], 0, &mut partial, &limits, &mut spans), whole);
            assert_eq!(spans[2].kind(), SpanKind::Detached(0));
            assert_eq!(spans[1].kind(), SpanKind::Window { start: 17, len: 1 });
        }
    }

    #[test]
    fn several_big_arguments_of_one_request_are_counted() {
        let (first, second) = (vec![b'1'; BIG_ARGUMENT + 1], vec![b'2'; 3 * BIG_ARGUMENT]);
        let mut bytes = multibulk(&[b"MSET", b"a", &first, b"b", &second, b"c", b"3"]);
        bytes.extend(multibulk(&[b"PING"]));
        let whole = outcomes(&bytes, Limits::default(), bytes.len());
        assert_eq!(whole[0].as_ref().map(|request| request[4].len()), Ok(3 * BIG_ARGUMENT));
        for piece in [1, 1000, 40_000] {
            assert_eq!(outcomes(&bytes, Limits::default(), piece), whole);
        }
    }

    #[test]
    fn memory_grows_with_what_was_received_and_not_with_what_was_claimed() {
        let mut connection = Connection::default();
        connection.feed(b"*2147483647\r\n");
        assert_eq!(connection.partial.memory(), 0);
        for _ in 0..1000 {
            connection.feed(b"$0\r\n\r\n");
        }
        assert!(connection.partial.memory() <= 2 * 8 * 1000 + 64, "{}", connection.partial.memory());
        connection.feed(b"$536870912\r\n");
        assert!(connection.blocks.last().is_some_and(|block| block.capacity() < 1000));
    }

    #[test]
    fn a_window_shorter_than_before_waits_instead_of_failing() {
        let bytes = multibulk(&[b"SET", b"key", &[b'v'; 100]]);
        let (mut partial, mut spans) = (Partial::default(), Vec::new());
        let limits = Limits::default();
        for len in [bytes.len() - 3, 10, 0] {
            let parsed = parse(&bytes[..len], 0, &mut partial, &limits, &mut spans);
            assert_eq!(parsed, Ok(Parsed::Incomplete));
        }
        assert_eq!(parse(&bytes, 99_999, &mut partial, &limits, &mut spans), Ok(Parsed::Incomplete));
        let end = bytes.len();
        assert_eq!(parse(&bytes, 0, &mut partial, &limits, &mut spans), Ok(Parsed::Whole { end }));
    }

    /// Bytes that look like requests, with a mistake here and there.
    fn almost_requests() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            "[a-z]{0,12}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..120),
            (BIG_ARGUMENT - 2..BIG_ARGUMENT + 3).prop_map(|len| vec![b'b'; len]),
        ];
        let request = prop_oneof![
            8 => proptest::collection::vec(word, 0..6).prop_map(|arguments| {
                multibulk(&arguments.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }),
            2 => "[A-Z]{1,5}( ([a-z0-9]{1,5}|\"[a-z\\\\ ]{0,6}\"|'[a-z ]{0,6}')){0,3}\r?\n".prop_map(String::into_bytes),
            1 => "[*$]?[-0-9]{0,12}\r\n".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(request, 0..8).prop_map(|requests| requests.concat())
    }

    #[test]
    fn a_span_says_which_part_of_which_block_it_is() {
        for block in [0, 1, MAX_WINDOW] {
            assert_eq!(Span::detached(block).kind(), SpanKind::Detached(block));
            for (start, len) in
                [(0, 0), (7, MAX_PIECE - 1), (MAX_PIECE_START - 1, 0), (MAX_PIECE_START - 1, MAX_PIECE - 1)]
            {
                assert_eq!(Span::piece(block, start, len).kind(), SpanKind::Piece { block, start, len });
            }
        }
        let blocks = [b"one".to_vec(), b"another".to_vec()];
        assert_eq!(Span::detached(1).resolve(b"", &blocks), b"another");
        assert_eq!(Span::piece(1, 2, 3).resolve(b"", &blocks), b"oth");
        assert_eq!(Span::piece(1, 2, 6).resolve(b"", &blocks), b"");
        assert_eq!(Span::piece(2, 0, 1).resolve(b"", &blocks), b"");
    }

    #[test]
    fn arguments_that_moved_out_are_found_in_their_order() {
        let long = vec![b'l'; 5000];
        let arguments: Vec<&[u8]> = vec![b"MSET", b"a", b"", b"bcd", &long, b"efghi", b"x"];
        let mut bytes = multibulk(&arguments);
        bytes.extend(multibulk(&[b"PING"]));
        for piece in [1, 2, 3, 7, 100, 4000] {
            let expected =
                [Ok(arguments.iter().map(|argument| argument.to_vec()).collect()), words(&["PING"])];
            assert_eq!(outcomes(&bytes, Limits::default(), piece), expected);
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_requests(
            bytes in almost_requests(), piece in 1usize..5000, small in 1usize..20, authenticated: bool
        ) {
            let limits = Limits { authenticated, max_bulk: 40_000 };
            let whole = outcomes(&bytes, limits, bytes.len());
            prop_assert_eq!(&outcomes(&bytes, limits, piece), &whole);
            prop_assert_eq!(&outcomes(&bytes, limits, small), &whole);
        }

        #[test]
        fn well_formed_requests_come_back_as_they_were(
            requests in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20), 0..5)
        ) {
            let slices = |request: &Vec<Vec<u8>>| {
                multibulk(&request.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            let bytes: Vec<u8> = requests.iter().flat_map(slices).collect();
            let expected: Vec<Outcome> = requests.into_iter().map(Ok).collect();
            prop_assert_eq!(outcomes(&bytes, Limits::default(), bytes.len()), expected);
        }
    }
}
