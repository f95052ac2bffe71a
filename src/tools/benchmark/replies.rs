//! Counts replies in a stream of bytes, which it discards.
//!
//! A client that only counts needs no whole reply in one place. The state kept between two chunks of bytes is the
//! number of elements left in the current reply, the number of bytes left in a string, and a truncated header line:
//! usually nothing. So a reply of any size passes through one buffer that all connections share.
//!
//! Push messages are not replies and are not counted. The text of an error is kept for the caller.

use crate::resp::value::DecodeError;
use crate::text::number::parse_i64;

/// A longer header line is malformed.
const LONGEST_LINE: usize = 64 * 1024;
/// The maximum length of an error text that is kept.
const KEPT_OF_ERROR: usize = 512;

/// The counts since [`ReplyCounter::take`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The number of complete replies, errors included.
    pub replies: u64,
    /// The number of error replies.
    pub errors: u64,
}

/// The state of one connection's replies.
#[derive(Debug, Default)]
pub struct ReplyCounter {
    counted: Counted,
    /// The number of elements of the current reply that have not begun; 0 between replies.
    left: u64,
    /// Whether the current reply is a push message.
    is_push: bool,
    /// The number of bytes of a string to skip, including its line end.
    body: u64,
    /// A header line without its end.
    cut: Vec<u8>,
    /// The text of the first error not taken yet.
    error: Option<Vec<u8>>,
}

impl ReplyCounter {
    /// Counts the next bytes.
    #[inline]
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        loop {
            if self.body == 0 && self.cut.is_empty() {
                bytes = self.fast(bytes);
            }
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = self.slow(bytes)?;
        }
    }

    /// Returns the counts since the last call.
    #[inline]
    pub fn take(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    /// Returns the text of the first error since the last call.
    pub fn take_error(&mut self) -> Option<Vec<u8>> {
        self.error.take()
    }

    /// Counts the plain replies and elements at the front, which are the majority: `+OK`, numbers, and complete
    /// strings. Returns the bytes from the first other one on.
    #[inline]
    fn fast<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        loop {
            let rest = match bytes {
                [b'+', b'O', b'K', b'\r', b'\n', rest @ ..] | [b':', _, b'\r', b'\n', rest @ ..] => rest,
                [b':', number @ ..] => match memchr::memchr(b'\n', &number[..number.len().min(24)]) {
                    Some(end) => &number[end + 1..],
                    None => return bytes,
                },
                [b'$', text @ ..] => match string(text) {
                    Some(rest) => rest,
                    None => return bytes,
                },
                _ => return bytes,
            };
            if self.left == 0 {
                self.counted.replies += 1;
            } else {
                self.end_element();
            }
            bytes = rest;
        }
    }

    /// Skips one element, or as much of it as has arrived. Returns the bytes after it.
    fn slow<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        if self.body > 0 {
            let passed = self.body.min(bytes.len() as u64);
            self.body -= passed;
            if self.body == 0 {
                self.end_element();
            }
            return Ok(&bytes[passed as usize..]);
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.cut.extend_from_slice(bytes);
            let is_line = self.cut.len() <= LONGEST_LINE;
            return if is_line { Ok(&[]) } else { Err(DecodeError::Malformed) };
        };
        if self.cut.is_empty() {
            self.header(&bytes[..=end])?;
        } else {
            let mut line = std::mem::take(&mut self.cut);
            line.extend_from_slice(&bytes[..=end]);
            self.header(&line)?;
            line.clear();
            self.cut = line;
        }
        Ok(&bytes[end + 1..])
    }

    /// Processes a header line with its end.
    fn header(&mut self, line: &[u8]) -> Result<(), DecodeError> {
        let [kind, text @ .., b'\r', b'\n'] = line else { return Err(DecodeError::Malformed) };
        let is_first = self.left == 0;
        if is_first {
            self.left = 1;
            self.is_push = *kind == b'>';
        }
        let count = |text: &[u8]| match parse_i64(text) {
            Some(-1) => Ok(None),
            Some(count) => u64::try_from(count).map(Some).map_err(|_| DecodeError::Malformed),
            None => Err(DecodeError::Malformed),
        };
        match kind {
            b'+' | b':' | b'_' | b'#' | b',' | b'(' => self.end_element(),
            b'-' => {
                if is_first {
                    self.note_error(text);
                }
                self.end_element();
            }
            b'$' | b'=' | b'!' => match count(text)? {
                Some(len) => {
                    if *kind == b'!' && is_first {
                        self.note_error(b"(an error as a bulk string)");
                    }
                    self.body = len.saturating_add(2);
                }
                None => self.end_element(),
            },
            b'*' | b'~' | b'>' => self.begin(count(text)?.unwrap_or(0)),
            b'%' => self.begin(count(text)?.unwrap_or(0).saturating_mul(2)),
            // Attributes precede the element they belong to.
            b'|' => self.left = self.left.saturating_add(count(text)?.unwrap_or(0).saturating_mul(2)),
            _ => return Err(DecodeError::Malformed),
        }
        Ok(())
    }

    fn begin(&mut self, elements: u64) {
        self.left = self.left.saturating_add(elements);
        self.end_element();
    }

    fn end_element(&mut self) {
        self.left -= 1;
        if self.left == 0 && !self.is_push {
            self.counted.replies += 1;
        }
    }

    /// Records an error. One within an array, as from EXEC, is not an error of the reply itself.
    #[cold]
    fn note_error(&mut self, text: &[u8]) {
        self.counted.errors += 1;
        self.error.get_or_insert_with(|| text[..text.len().min(KEPT_OF_ERROR)].to_vec());
    }
}

/// Returns the bytes after a string whose header begins after the `$`, if the string is complete. A null is left to the
/// slow path.
#[inline]
fn string(text: &[u8]) -> Option<&[u8]> {
    let mut len = 0usize;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            digit @ b'0'..=b'9' if at < 10 => len = len * 10 + usize::from(digit - b'0'),
            b'\r' if at > 0 => break,
            _ => return None,
        }
        at += 1;
    }
    text.get(at + 2 + len + 2..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::value::skip;
    use proptest::prelude::*;

    const REPLIES: [&[u8]; 20] = [
        b"+OK\r\n",
        b"+PONG\r\n",
        b":1\r\n",
        b":-1234567890123\r\n",
        b"$0\r\n\r\n",
        b"$3\r\n\r\n$\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"_\r\n",
        b"*3\r\n$1\r\na\r\n*1\r\n:5\r\n+x\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n",
        b"~1\r\n,1.5\r\n",
        b"|1\r\n+a\r\n+b\r\n$2\r\nhi\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"#t\r\n",
        b"(12345678901234567890\r\n",
        b"-ERR no\r\n",
        b"*1\r\n-ERR within\r\n",
        b"!5\r\nERR x\r\n",
    ];

    fn counted(chunks: &[&[u8]]) -> Counted {
        let mut counter = ReplyCounter::default();
        for chunk in chunks {
            counter.feed(chunk).unwrap();
        }
        counter.take()
    }

    #[test]
    fn every_kind_of_reply_counts_once_whole_and_byte_by_byte() {
        for reply in REPLIES {
            let name = reply.escape_ascii();
            assert_eq!(skip(reply), Ok(Some(reply.len())), "{name}");
            assert_eq!(counted(&[reply]).replies, 1, "{name}");
            let bytes: Vec<&[u8]> = reply.chunks(1).collect();
            assert_eq!(counted(&bytes).replies, 1, "{name}");
            assert_eq!(counted(&bytes[..bytes.len() - 1]).replies, 0, "{name}");
        }
    }

    #[test]
    fn errors_are_counted_with_the_text_of_the_first() {
        let mut counter = ReplyCounter::default();
        counter.feed(b"+OK\r\n-ERR one\r\n-WRONGTYPE two\r\n*1\r\n-ERR within\r\n").unwrap();
        assert_eq!(counter.take(), Counted { replies: 4, errors: 2 });
        assert_eq!(counter.take_error().as_deref(), Some(&b"ERR one"[..]));
        assert_eq!(counter.take_error(), None);
    }

    #[test]
    fn push_messages_are_not_replies() {
        let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(counted(&[push]).replies, 0);
        assert_eq!(counted(&[b"+OK\r\n", push, b":1\r\n"]).replies, 2);
    }

    #[test]
    fn bytes_that_are_no_reply_are_an_error() {
        for bytes in [&b"HTTP/1.1\r\n"[..], b"\n", b"$-2\r\n", b"$x\r\n", b"*1x\r\n", b"+a\n"] {
            assert!(ReplyCounter::default().feed(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(ReplyCounter::default().feed(&vec![b'+'; LONGEST_LINE + 1]).is_err());
    }

    proptest! {
        #[test]
        fn a_stream_counts_the_same_however_it_is_cut(
            picked in proptest::collection::vec(0..REPLIES.len(), 1..40),
            cuts in proptest::collection::vec(1usize..30, 1..40))
        {
            let stream: Vec<u8> = picked.iter().flat_map(|&index| REPLIES[index].to_vec()).collect();
            let mut counter = ReplyCounter::default();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                counter.feed(chunk).unwrap();
                rest = after;
            }
            let errors = picked.iter().filter(|&&index| matches!(REPLIES[index][0], b'-' | b'!')).count();
            prop_assert_eq!(counter.take(), Counted { replies: picked.len() as u64, errors: errors as u64 });
        }

        #[test]
        fn any_bytes_are_counted_without_panic(bytes in proptest::collection::vec(
            proptest::sample::select(&b"*$+-:_#,(=!%~>|0123456789tf\r\n"[..]), 0..60))
        {
            let _ = ReplyCounter::default().feed(&bytes);
        }
    }
}
