//! The arguments of one request: slices of the received bytes, or blocks of their own.
//!
//! They are not copied. An argument of 32 KiB or more may be in a [`Block`]; a command that stores it shares that block
//! instead of copying it ([`Args::block`]).

use crate::command::error::{Error, LEAST_INTEGER, NOT_AN_INTEGER, Result};
use crate::command::table::Arguments;
use crate::db::Word;
use crate::resp::{Span, SpanKind};
use crate::text::number::{self, digits_u64};
use crate::types::block::Block;

/// The memory of a request's arguments: `window` at `spans`, or `blocks`.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// The received bytes.
    pub window: &'a [u8],
    /// A span for each argument.
    pub spans: &'a [Span],
    /// The arguments in blocks of their own.
    pub blocks: &'a [Block],
}

impl<'a> Places<'a> {
    /// The arguments.
    #[inline(always)]
    pub fn args(&'a self) -> Args<'a> {
        Args(self)
    }
}

/// The arguments of a request, the command's name first. It is a single pointer, which is passed in a register: copying
/// three slices would cost more than many commands do.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a Places<'a>);

impl<'a> Args<'a> {
    /// The number of arguments, including the command's name.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.spans.len()
    }

    /// Whether the request is empty.
    pub fn is_empty(&self) -> bool {
        self.0.spans.is_empty()
    }

    /// The argument `index`, which must exist.
    #[inline(always)]
    pub fn get(&self, index: usize) -> &'a [u8] {
        match self.0.spans[index].kind() {
            SpanKind::Window { start, len } => &self.0.window[start..start + len],
            SpanKind::Detached(block) => self.0.blocks[block].as_slice(),
            SpanKind::Piece { block, start, len } => &self.0.blocks[block].as_slice()[start..start + len],
        }
    }

    /// A reference to the block of argument `index`, if it has one of its own.
    #[inline]
    pub fn block(&self, index: usize) -> Option<Block> {
        match self.0.spans[index].kind() {
            SpanKind::Window { .. } | SpanKind::Piece { .. } => None,
            SpanKind::Detached(block) => Some(self.0.blocks[block].share()),
        }
    }

    /// The request as it was received, if it was a well-formed array of bulk strings, and all of it is still in the window.
    #[inline]
    pub fn encoded(&self) -> Option<&'a [u8]> {
        self.encoded_at().map(|(_, request)| request)
    }

    /// Like [`Args::encoded`], with the start in the window.
    pub fn encoded_at(&self) -> Option<(usize, &'a [u8])> {
        let bulk = |len: usize| 1 + digits_u64(len as u64) + 2 + len + 2;
        let header = 1 + digits_u64(self.0.spans.len() as u64) + 2;
        // The server accepts any second byte at the end of a line and any two bytes after an argument. An AOF must have
        // CRLF.
        let ends_line = |end: usize| self.0.window.get(end.wrapping_sub(2)..end) == Some(b"\r\n");
        let (mut expected, mut start, mut end, mut is_strict) = (header, usize::MAX, 0, true);
        for span in self.0.spans {
            let SpanKind::Window { start: at, len } = span.kind() else { return None };
            expected += bulk(len);
            start = start.min(at - (bulk(len) - len - 2).min(at));
            end = at + len + 2;
            is_strict &= ends_line(at) && ends_line(end);
        }
        // Inline words, and arguments that were moved together, are too short for a header.
        let start = start.checked_sub(header)?;
        if end - start != expected || !is_strict || !ends_line(start + header) || self.0.window[start] != b'*'
        {
            return None;
        }
        Some((start, self.0.window.get(start..end)?))
    }

    /// The memory of the arguments.
    #[inline]
    pub fn places(&self) -> Places<'a> {
        *self.0
    }

    /// Argument `index` as a word to propagate.
    #[inline]
    pub fn word(&self, index: usize) -> Word<'a> {
        self.block(index).map_or_else(|| Word::Bytes(self.get(index)), Word::Block)
    }

    /// The arguments from `first` on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let args = *self;
        (first..self.len()).map(move |i| args.get(i))
    }

    /// Whether argument `index` is `word` in any case.
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }
}

impl Arguments for Args<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn get(&self, index: usize) -> &[u8] {
        Args::get(self, index)
    }
}

/// Parses an integer.
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64> {
    number::parse_i64(arg).ok_or(NOT_AN_INTEGER)
}

/// Parses an integer of 0 or more; `None` for anything else.
#[inline]
pub fn whole_number(arg: &[u8]) -> Option<usize> {
    usize::try_from(number::parse_i64(arg)?).ok()
}

/// Parses the number of elements to remove.
pub fn positive_count(arg: &[u8]) -> Result<usize> {
    whole_number(arg).ok_or(Error::new("ERR value is out of range, must be positive"))
}

/// Parses the number of random elements to draw, which is negative if they may repeat.
pub fn random_count(arg: &[u8]) -> Result<i64> {
    match integer(arg)? {
        i64::MIN => Err(LEAST_INTEGER),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{self, Limits, Parsed, Partial};

    /// The first request in `bytes`, after `skip` bytes of others.
    fn encoded(bytes: &[u8], skip: usize) -> Option<Vec<u8>> {
        let mut spans = Vec::new();
        let parsed = resp::parse(bytes, skip, &mut Partial::default(), &Limits::default(), &mut spans);
        assert!(matches!(parsed, Ok(Parsed::Whole { .. })), "{parsed:?}");
        Places { window: bytes, spans: &spans, blocks: &[] }.args().encoded().map(<[u8]>::to_vec)
    }

    #[test]
    fn a_request_is_its_own_encoding_where_it_lies_as_it_was_received() {
        let plain = b"*3\r\n$3\r\nSET\r\n$11\r\nhello world\r\n$0\r\n\r\n";
        assert_eq!(encoded(plain, 0).as_deref(), Some(&plain[..]));
        for (from, to) in
            [("*3\r\n", "*3\rX"), ("$3\r\n", "$3\rX"), ("SET\r\n", "SETab"), ("world\r\n", "world\n\r")]
        {
            let loose = String::from_utf8_lossy(plain).replacen(from, to, 1);
            assert_ne!(loose.as_bytes(), plain);
            assert_eq!(encoded(loose.as_bytes(), 0), None, "{loose:?}");
        }
        let second = [&plain[..], &plain[..], b"*1\r\n"].concat();
        assert_eq!(encoded(&second, plain.len()).as_deref(), Some(&plain[..]));
        let moved = [Span::window(0, 3), Span::window(3, 1), Span::window(4, 1)];
        assert_eq!(Places { window: b"SETab", spans: &moved, blocks: &[] }.args().encoded(), None);
        let line = [Span::window(0, 3), Span::window(4, 1), Span::window(6, 1)];
        assert_eq!(Places { window: b"SET a b\r\n", spans: &line, blocks: &[] }.args().encoded(), None);
    }
}
