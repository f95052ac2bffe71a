//! The reply writer: every kind of reply as RESP2 or RESP3 bytes, straight into the output.
//!
//! There is no intermediate tree of values: a command calls [`Reply::array`] and then writes the elements. If the
//! number of elements is only known afterwards, [`Reply::deferred`] leaves room for a short header that is filled in at
//! the end, which moves the elements only if there are ten or more. Types that RESP2 lacks are written as Redis writes
//! them for RESP2 clients (a double as a bulk, a map as a flat array, a boolean as an integer).

use crate::text::Text;
use crate::text::number::{Decimal, Line, pair, push_f64};

/// The protocol version that a client has chosen with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The initial protocol of every client.
    #[default]
    Resp2,
    /// Typed replies and out-of-band pushes.
    Resp3,
}

/// The position of a header whose count is not known yet; see [`Reply::deferred`].
#[derive(Debug)]
#[must_use = "the header is missing until one of the finish functions is called"]
pub struct Deferred {
    at: usize,
}

/// The room left for a deferred header: enough for a count of one digit.
const DEFERRED: &[u8; 4] = b"*0\r\n";

/// Bulks of up to this length are written without a function call.
const SHORT_BULK: usize = 32;
/// A short bulk with its header and line end, rounded up to whole vectors.
const SHORT_BULK_ROOM: usize = 48;
const _: () = assert!(5 + SHORT_BULK + 2 <= SHORT_BULK_ROOM);

/// Copies up to [`SHORT_BULK`] bytes as two words that may overlap.
#[inline(always)]
fn copy_words(to: &mut [u8], from: &[u8]) {
    #[inline(always)]
    fn both_ends<const WORD: usize>(to: &mut [u8], from: &[u8]) -> bool {
        let (Some(first), Some(last)) = (from.first_chunk::<WORD>(), from.last_chunk::<WORD>()) else {
            return false;
        };
        let at = from.len() - WORD;
        to[..WORD].copy_from_slice(first);
        to[at..at + WORD].copy_from_slice(last);
        true
    }
    if !(both_ends::<16>(to, from) || both_ends::<8>(to, from) || both_ends::<4>(to, from)) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
}

/// Writes replies to the end of a buffer.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The output.
    pub buf: &'a mut Vec<u8>,
    /// The client's protocol.
    pub protocol: Protocol,
}

#[expect(clippy::needless_pass_by_value, reason = "a deferred header is used up by what finishes it")]
impl<'a> Reply<'a> {
    /// A writer that appends to `buf`.
    #[inline]
    pub fn new(buf: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { buf, protocol }
    }

    #[inline]
    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// `+PONG`
    #[inline]
    pub fn pong(&mut self) {
        self.buf.extend_from_slice(b"+PONG\r\n");
    }

    /// `+QUEUED`
    #[inline]
    pub fn queued(&mut self) {
        self.buf.extend_from_slice(b"+QUEUED\r\n");
    }

    /// A simple string; it must hold no line end.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    /// An error. The text begins with its code (`ERR …`, `WRONGTYPE …`), without `-`. Line ends inside become spaces;
    /// those at the end are dropped.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let len = text.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
        self.buf.reserve(len + 3);
        self.buf.push(b'-');
        self.buf.extend(text[..len].iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A signed integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if value >= 0 {
            self.header(b':', value as usize);
        } else {
            self.line(b':', Decimal::new(value).as_bytes());
        }
    }

    /// A string of any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if bytes.len() <= SHORT_BULK {
            return self.short_bulk(bytes);
        }
        self.buf.reserve(bytes.len() + 32);
        self.header(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Writes a bulk of at most [`SHORT_BULK`] bytes, as most are: the buffer grows once by a constant size, header and
    /// bytes are written without a function call, and the surplus is truncated.
    #[inline]
    fn short_bulk(&mut self, bytes: &[u8]) {
        let (old, len) = (self.buf.len(), bytes.len());
        self.buf.extend_from_slice(&[b'$'; SHORT_BULK_ROOM]);
        let line = self.buf.last_chunk_mut::<SHORT_BULK_ROOM>().expect("just appended");
        let header = if len < 10 {
            line[1..4].copy_from_slice(&[b'0' + len as u8, b'\r', b'\n']);
            4
        } else {
            let [tens, ones] = pair(len as u64);
            line[1..5].copy_from_slice(&[tens, ones, b'\r', b'\n']);
            5
        };
        copy_words(&mut line[header..header + len], bytes);
        line[header + len..][..2].copy_from_slice(b"\r\n");
        self.buf.truncate(old + header + len + 2);
    }

    /// An integer as a bulk.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(Decimal::new(value).as_bytes());
    }

    /// A string in either of its stored forms, as a bulk.
    #[inline]
    pub fn text(&mut self, text: Text<'_>) {
        match text {
            Text::Int(value) => self.bulk_integer(value),
            Text::Bytes(bytes) => self.bulk(bytes),
        }
    }

    /// The header of a bulk; the caller sends its `len` bytes and line end.
    #[inline]
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// A null value: `$-1`, in RESP3 `_`.
    #[inline]
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A null array: `*-1`, in RESP3 `_`.
    #[inline]
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of an array of `count` replies.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// The header of a map of `pairs` keys with their values; in RESP2 an array of twice as many.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() { self.header(b'%', pairs) } else { self.header(b'*', pairs * 2) }
    }

    /// The header of a set; in RESP2 an array.
    #[inline]
    pub fn set(&mut self, count: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, count);
    }

    /// The header of an out-of-band message; in RESP2 an array.
    #[inline]
    pub fn push(&mut self, count: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, count);
    }

    /// The header of an attribute of `pairs`, which precedes a reply. RESP2 has no attributes: nothing is written, and
    /// `false` tells the caller not to write the pairs.
    #[must_use = "the pairs must be left out if there are no attributes"]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.is_resp3() {
            self.header(b'|', pairs);
        }
        self.is_resp3()
    }

    /// A double; in RESP2 its digits as a bulk.
    pub fn double(&mut self, value: f64) {
        if self.is_resp3() {
            self.buf.push(b',');
            push_f64(self.buf, value);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            // The length has one or two digits. Assume one, and correct it after writing the number.
            let at = self.buf.len();
            self.buf.extend_from_slice(b"$0\r\n");
            push_f64(self.buf, value);
            let len = self.buf.len() - at - 4;
            self.buf[at + 1] = b'0' + (len % 10) as u8;
            if len >= 10 {
                self.buf.insert(at + 1, b'0' + (len / 10) as u8);
            }
            self.buf.extend_from_slice(b"\r\n");
        }
    }

    /// A double given by its digits; in RESP2 a bulk.
    pub fn double_digits(&mut self, digits: &[u8]) {
        if self.is_resp3() { self.line(b',', digits) } else { self.bulk(digits) }
    }

    /// A boolean; in RESP2 the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.buf.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
        });
    }

    /// An integer of any size, given by its digits; in RESP2 a bulk.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.is_resp3() { self.line(b'(', digits) } else { self.bulk(digits) }
    }

    /// Text for humans, with the three letters of its format (`txt`, `mkd`); in RESP2 a bulk without them.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        if self.is_resp3() {
            self.header(b'=', text.len() + 4);
            self.buf.extend_from_slice(&format);
            self.buf.push(b':');
            self.buf.extend_from_slice(text);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Begins an aggregate whose count is not known yet. Finish it with [`Self::finish_array`], [`Self::finish_map`],
    /// [`Self::finish_set`] or [`Self::finish_push`], on the same buffer and before any deferred aggregate that began
    /// earlier.
    pub fn deferred(&mut self) -> Deferred {
        let at = self.buf.len();
        self.buf.extend_from_slice(DEFERRED);
        Deferred { at }
    }

    /// [`Self::deferred`] for an array.
    pub fn deferred_array(&mut self) -> Deferred {
        self.deferred()
    }

    /// Writes the header of a deferred array.
    pub fn finish_array(&mut self, deferred: Deferred, count: usize) {
        self.finish(deferred, |reply| reply.array(count));
    }

    /// Writes the header of a deferred map.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        self.finish(deferred, |reply| reply.map(pairs));
    }

    /// Writes the header of a deferred set.
    pub fn finish_set(&mut self, deferred: Deferred, count: usize) {
        self.finish(deferred, |reply| reply.set(count));
    }

    /// Writes the header of a deferred push.
    pub fn finish_push(&mut self, deferred: Deferred, count: usize) {
        self.finish(deferred, |reply| reply.push(count));
    }

    fn finish(&mut self, deferred: Deferred, write: impl FnOnce(&mut Reply<'_>)) {
        let mut header = Vec::with_capacity(24);
        write(&mut Reply::new(&mut header, self.protocol));
        let Deferred { at } = deferred;
        let room = at..at + DEFERRED.len();
        assert!(
            self.buf.get(room.clone()) == Some(&DEFERRED[..]),
            "the deferred header belongs to another buffer"
        );
        self.buf.splice(room, header);
    }

    /// A kind byte, text and a line end.
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buf.reserve(text.len() + 3);
        self.buf.push(kind);
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A kind byte, a count and a line end.
    #[inline]
    fn header(&mut self, kind: u8, count: usize) {
        if count < 10 {
            self.buf.extend_from_slice(&[kind, b'0' + count as u8, b'\r', b'\n']);
        } else {
            self.long_header(kind, count as u64);
        }
    }

    fn long_header(&mut self, kind: u8, count: u64) {
        // Each case writes a constant number of bytes.
        if count < 100 {
            let [tens, ones] = pair(count);
            self.buf.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        } else if count < 1000 {
            let ([_, hundreds], [tens, ones]) = (pair(count / 100), pair(count % 100));
            self.buf.extend_from_slice(&[kind, hundreds, tens, ones, b'\r', b'\n']);
        } else if count < 10_000 {
            let ([thousands, hundreds], [tens, ones]) = (pair(count / 100), pair(count % 100));
            self.buf.extend_from_slice(&[kind, thousands, hundreds, tens, ones, b'\r', b'\n']);
        } else {
            self.buf.extend_from_slice(Line::new(kind, count).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> [String; 2] {
        [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
            let mut buf = Vec::new();
            write(&mut Reply::new(&mut buf, protocol));
            buf.escape_ascii().to_string().replace("\\r\\n", "|")
        })
    }

    #[test]
    fn replies_that_both_protocols_know_are_the_same_in_both() {
        type Write = fn(&mut Reply<'_>);
        let cases: [(Write, &str); 13] = [
            (|r| r.ok(), "+OK|"),
            (|r| r.pong(), "+PONG|"),
            (|r| r.queued(), "+QUEUED|"),
            (|r| r.simple("Background saving started"), "+Background saving started|"),
            (|r| r.error("ERR no\r\nline\nends\r\n"), "-ERR no  line ends|"),
            (|r| r.error(b"ERR \xff "), "-ERR \\xff |"),
            (|r| r.integer(0), ":0|"),
            (|r| r.integer(i64::MIN), ":-9223372036854775808|"),
            (|r| r.bulk(b""), "$0||"),
            (|r| r.bulk(b"a\r\nb"), "$4|a|b|"),
            (|r| r.bulk_integer(-12), "$3|-12|"),
            (|r| r.bulk_header(70000), "$70000|"),
            (|r| r.array(0), "*0|"),
        ];
        for (write, text) in cases {
            assert_eq!(both(write), [text, text]);
        }
    }

    #[test]
    fn replies_of_resp3_have_their_stand_ins_in_resp2() {
        type Write = fn(&mut Reply<'_>);
        let cases: [(Write, [&str; 2]); 14] = [
            (|r| r.double_digits(b"0.5"), ["$3|0.5|", ",0.5|"]),
            (|r| r.null(), ["$-1|", "_|"]),
            (|r| r.null_array(), ["*-1|", "_|"]),
            (|r| r.map(12), ["*24|", "%12|"]),
            (|r| r.set(3), ["*3|", "~3|"]),
            (|r| r.push(2), ["*2|", ">2|"]),
            (|r| r.double(1.5), ["$3|1.5|", ",1.5|"]),
            (|r| r.double(-1234.56789), ["$11|-1234.56789|", ",-1234.56789|"]),
            (|r| r.double(f64::NEG_INFINITY), ["$4|-inf|", ",-inf|"]),
            (|r| r.boolean(true), [":1|", "#t|"]),
            (|r| r.boolean(false), [":0|", "#f|"]),
            (
                |r| r.big_number(b"123456789012345678901"),
                ["$21|123456789012345678901|", "(123456789012345678901|"],
            ),
            (|r| r.verbatim(*b"txt", b"hello"), ["$5|hello|", "=9|txt:hello|"]),
            (|r| if r.attribute(1) { r.ok() } else { r.pong() }, ["+PONG|", "|1|+OK|"]),
        ];
        for (write, texts) in cases {
            assert_eq!(both(write), texts);
        }
    }

    #[test]
    fn a_bulk_of_any_length_is_written_whole() {
        for len in 0..200_usize {
            let text: String = (0..len).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
            let expected = format!("+OK|${len}|{text}|:1|");
            let written = both(|r| {
                r.ok();
                r.bulk(text.as_bytes());
                r.integer(1);
            });
            assert_eq!(written, [expected.clone(), expected]);
        }
    }

    #[test]
    fn a_deferred_header_takes_its_place_however_many_elements_follow() {
        for count in [0, 1, 9, 10, 99, 100, 12_345] {
            let deferred = both(|r| {
                r.ok();
                let outer = r.deferred_array();
                let inner = r.deferred();
                for i in 0..count {
                    r.integer(i as i64);
                }
                r.finish_set(inner, count);
                r.finish_array(outer, 1);
                let map = r.deferred();
                r.finish_map(map, count);
            });
            let known = both(|r| {
                r.ok();
                r.array(1);
                r.set(count);
                for i in 0..count {
                    r.integer(i as i64);
                }
                r.map(count);
            });
            assert_eq!(deferred, known);
        }
    }

    proptest! {
        #[test]
        fn integers_and_lengths_are_plain_decimals(value: i64, len in 0usize..200_000) {
            let integer = format!(":{value}|");
            prop_assert_eq!(both(|r| r.integer(value)), [integer.clone(), integer]);
            let header = format!("*{len}|");
            prop_assert_eq!(both(|r| r.array(len)), [header.clone(), header]);
        }
    }
}
