//! Replies as values, for the client side (tests, tools).
//!
//! [`Value::decode`] reads one reply of RESP2 or RESP3 from the front of the bytes received so far and returns it with
//! its length, or reports that it is incomplete. The next call then starts over, which suits clients that mostly
//! receive whole replies. [`skip`] only finds the end of a reply. Neither trusts a length before the bytes have
//! arrived, and nesting is limited ([`MAX_DEPTH`]), so hostile bytes cost no more than their own length.
//!
//! Streamed strings and aggregates (`$?`, `*?`), which no Redis server sends, are malformed here.

use crate::text::number::{parse_f64, parse_i64};

/// The maximum nesting depth of replies.
pub const MAX_DEPTH: usize = 64;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-` or `!`: the text with its code, without the sign.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `%`, in the order of the reply.
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `|`: the attributes, and the reply that they precede.
    Attribute(Vec<(Value, Value)>, Box<Value>),
    /// `,`: the number as sent, which is the form that a user sees.
    Double(Vec<u8>),
    /// `#`
    Boolean(bool),
    /// `(`: the digits.
    BigNumber(Vec<u8>),
    /// `=`: the format's three letters, and the text.
    Verbatim([u8; 3], Vec<u8>),
}

/// The bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A kind, a number or a line end is wrong.
    Malformed,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed reply",
            Self::TooDeep => "reply nested too deep",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Why decoding stops early; the public interface returns the first as `None`.
enum Stop {
    Incomplete,
    Error(DecodeError),
}

const MALFORMED: Stop = Stop::Error(DecodeError::Malformed);

fn outcome<T>(result: Result<T, Stop>, end: usize) -> Result<Option<(T, usize)>, DecodeError> {
    match result {
        Ok(value) => Ok(Some((value, end))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Error(error)) => Err(error),
    }
}

impl Value {
    /// Reads the reply at the front of `bytes`. Returns it with its length, or `None` if it is incomplete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(MAX_DEPTH);
        outcome(value, reader.at)
    }

    /// The bytes of a string or error of any kind, or of a number that is kept as text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes)
            | Self::Error(bytes)
            | Self::Bulk(bytes)
            | Self::Double(bytes)
            | Self::BigNumber(bytes)
            | Self::Verbatim(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether the reply is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// The length of the reply at the front of `bytes`, or `None` if it is incomplete. For clients that only count replies:
/// numbers in it are not checked.
pub fn skip(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    ReplyEnd::default().find(bytes)
}

/// Finds the end of a reply that arrives in pieces, examining each element once.
#[derive(Clone, Copy, Debug)]
pub struct ReplyEnd {
    /// The number of bytes examined.
    at: usize,
    /// The number of elements still to come: one for the reply itself, to which an aggregate adds its own.
    left: usize,
}

impl Default for ReplyEnd {
    fn default() -> Self {
        ReplyEnd { at: 0, left: 1 }
    }
}

impl ReplyEnd {
    /// The length of the reply at the front of `bytes`, or `None` if it is incomplete: then pass the same bytes,
    /// followed by more, to the next call.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        let mut reader = Reader { bytes, at: self.at };
        while self.left > 0 {
            match reader.skip_element() {
                Ok(more) => self.left = (self.left - 1).saturating_add(more),
                Err(Stop::Incomplete) => return Ok(None),
                Err(Stop::Error(error)) => return Err(error),
            }
            self.at = reader.at;
        }
        Ok(Some(self.at))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads a line: the kind byte and the rest.
    fn line(&mut self) -> Result<(u8, &'a [u8]), Stop> {
        let rest = &self.bytes[self.at..];
        let kind = *rest.first().ok_or(Stop::Incomplete)?;
        let end = memchr::memchr(b'\r', rest).ok_or(Stop::Incomplete)?;
        match rest.get(end + 1) {
            None => Err(Stop::Incomplete),
            Some(b'\n') if end > 0 => {
                self.at += end + 2;
                Ok((kind, &rest[1..end]))
            }
            Some(_) => Err(MALFORMED),
        }
    }

    /// Parses a count or length; `None` for -1.
    fn count(text: &[u8]) -> Result<Option<usize>, Stop> {
        match parse_i64(text) {
            Some(-1) => Ok(None),
            Some(count) => usize::try_from(count).map(Some).map_err(|_| MALFORMED),
            None => Err(MALFORMED),
        }
    }

    /// Parses the count of a kind that has no null form.
    fn known_count(text: &[u8]) -> Result<usize, Stop> {
        Self::count(text)?.ok_or(MALFORMED)
    }

    /// Reads the bytes of a string after its header.
    fn body(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len.saturating_add(2) {
            return Err(Stop::Incomplete);
        }
        if rest[len..len + 2] != *b"\r\n" {
            return Err(MALFORMED);
        }
        self.at += len + 2;
        Ok(&rest[..len])
    }

    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, Stop> {
        // Grown as elements arrive: the count is only a claim.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, count: usize, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.value(depth)?, self.value(depth)?));
        }
        Ok(pairs)
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let (kind, text) = self.line()?;
        let depth = depth.checked_sub(1).ok_or(Stop::Error(DecodeError::TooDeep))?;
        Ok(match kind {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Integer(parse_i64(text).ok_or(MALFORMED)?),
            b'$' => match Self::count(text)? {
                Some(len) => Value::Bulk(self.body(len)?.to_vec()),
                None => Value::Null,
            },
            b'*' => match Self::count(text)? {
                Some(count) => Value::Array(self.values(count, depth)?),
                None => Value::Null,
            },
            b'_' if text.is_empty() => Value::Null,
            b'#' if text == b"t" => Value::Boolean(true),
            b'#' if text == b"f" => Value::Boolean(false),
            b',' if matches!(text, b"nan" | b"-nan") || parse_f64(text).is_some() => {
                Value::Double(text.to_vec())
            }
            b'(' => Value::BigNumber(text.to_vec()),
            b'!' => Value::Error(self.body(Self::known_count(text)?)?.to_vec()),
            b'=' => match self.body(Self::known_count(text)?)? {
                [a, b, c, b':', text @ ..] => Value::Verbatim([*a, *b, *c], text.to_vec()),
                _ => return Err(MALFORMED),
            },
            b'%' => Value::Map(self.pairs(Self::known_count(text)?, depth)?),
            b'~' => Value::Set(self.values(Self::known_count(text)?, depth)?),
            b'>' => Value::Push(self.values(Self::known_count(text)?, depth)?),
            b'|' => {
                let pairs = self.pairs(Self::known_count(text)?, depth)?;
                Value::Attribute(pairs, Box::new(self.value(depth)?))
            }
            _ => return Err(MALFORMED),
        })
    }

    /// Skips a header and, for a string, its bytes. Returns how many elements the header announces.
    fn skip_element(&mut self) -> Result<usize, Stop> {
        let (kind, text) = self.line()?;
        Ok(match kind {
            b'$' | b'!' | b'=' => {
                if let Some(len) = Self::count(text)? {
                    self.body(len)?;
                }
                0
            }
            b'*' | b'~' | b'>' => Self::count(text)?.unwrap_or(0),
            b'%' => Self::known_count(text)?.saturating_mul(2),
            b'|' => Self::known_count(text)?.saturating_mul(2).saturating_add(1),
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
            _ => return Err(MALFORMED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Reply};
    use crate::text::number::push_f64;
    use proptest::prelude::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let cases: [(&[u8], Value); 19] = [
            (b"+OK\r\n", Value::Simple(b"OK".to_vec())),
            (b"-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
            (b":-7\r\n", Value::Integer(-7)),
            (b"$2\r\n\r\n\r\n", bulk("\r\n")),
            (b"$-1\r\n", Value::Null),
            (b"*-1\r\n", Value::Null),
            (b"_\r\n", Value::Null),
            (b"*2\r\n:1\r\n*0\r\n", Value::Array(vec![Value::Integer(1), Value::Array(vec![])])),
            (b"%1\r\n$1\r\na\r\n:1\r\n", Value::Map(vec![(bulk("a"), Value::Integer(1))])),
            (b"~1\r\n$1\r\na\r\n", Value::Set(vec![bulk("a")])),
            (b">1\r\n$1\r\na\r\n", Value::Push(vec![bulk("a")])),
            (b"|1\r\n+a\r\n_\r\n:5\r\n", {
                let pairs = vec![(Value::Simple(b"a".to_vec()), Value::Null)];
                Value::Attribute(pairs, Box::new(Value::Integer(5)))
            }),
            (b",1.50\r\n", Value::Double(b"1.50".to_vec())),
            (b",-inf\r\n", Value::Double(b"-inf".to_vec())),
            (b"#t\r\n", Value::Boolean(true)),
            (b"#f\r\n", Value::Boolean(false)),
            (b"(-12345678901234567890\r\n", Value::BigNumber(b"-12345678901234567890".to_vec())),
            (b"=7\r\ntxt:abc\r\n", Value::Verbatim(*b"txt", b"abc".to_vec())),
            (b"!3\r\nERR\r\n", Value::Error(b"ERR".to_vec())),
        ];
        for (bytes, value) in cases {
            for end in 0..bytes.len() {
                assert_eq!(Value::decode(&bytes[..end]), Ok(None), "{}", bytes.escape_ascii());
                assert_eq!(skip(&bytes[..end]), Ok(None));
            }
            let mut end = ReplyEnd::default();
            for received in 0..bytes.len() {
                assert_eq!(end.find(&bytes[..received]), Ok(None), "{}", bytes.escape_ascii());
            }
            assert_eq!(end.find(bytes), Ok(Some(bytes.len())));
            let more = [bytes, b"+next"].concat();
            assert_eq!(Value::decode(&more), Ok(Some((value, bytes.len()))));
            assert_eq!(skip(&more), Ok(Some(bytes.len())));
        }
    }

    #[test]
    fn bytes_that_are_not_a_reply_are_refused() {
        for bytes in [
            &b"OK\r\n"[..],
            b"\r\n",
            b"+a\rb",
            b":1x\r\n",
            b"$-2\r\n",
            b"$?\r\n",
            b"$1\r\nabc",
            b"%-1\r\n",
            b"#x\r\n",
            b"_x\r\n",
            b"=2\r\nab\r\n",
            b",\r\n",
        ] {
            assert_eq!(Value::decode(bytes), Err(DecodeError::Malformed), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| [b"*1\r\n".repeat(levels - 1), b":1\r\n".to_vec()].concat();
        assert!(matches!(Value::decode(&deep(MAX_DEPTH)), Ok(Some(_))));
        assert_eq!(Value::decode(&deep(MAX_DEPTH + 1)), Err(DecodeError::TooDeep));
        assert_eq!(Value::decode(&deep(1_000_000)), Err(DecodeError::TooDeep));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        for bytes in
            [&b"*9223372036854775807\r\n"[..], b"$9223372036854775807\r\n", b"%9223372036854775807\r\n"]
        {
            assert_eq!(Value::decode(bytes), Ok(None));
            assert_eq!(skip(bytes), Ok(None));
        }
    }

    fn write(value: &Value, reply: &mut Reply<'_>) {
        let list =
            |reply: &mut Reply<'_>, values: &[Value]| values.iter().for_each(|value| write(value, reply));
        match value {
            Value::Simple(text) => reply.simple(&String::from_utf8_lossy(text)),
            Value::Error(text) => reply.error(text),
            Value::Integer(value) => reply.integer(*value),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::Array(values) => {
                reply.array(values.len());
                list(reply, values);
            }
            Value::Set(values) => {
                reply.set(values.len());
                list(reply, values);
            }
            Value::Push(values) => {
                reply.push(values.len());
                list(reply, values);
            }
            Value::Map(pairs) => {
                let deferred = reply.deferred();
                for (key, value) in pairs {
                    write(key, reply);
                    write(value, reply);
                }
                reply.finish_map(deferred, pairs.len());
            }
            Value::Attribute(pairs, value) => {
                assert!(reply.attribute(pairs.len()));
                for (key, value) in pairs {
                    write(key, reply);
                    write(value, reply);
                }
                write(value, reply);
            }
            Value::Double(text) => reply.double(parse_f64(text).unwrap_or(f64::NAN)),
            Value::Boolean(value) => reply.boolean(*value),
            Value::BigNumber(digits) => reply.big_number(digits),
            Value::Verbatim(format, text) => reply.verbatim(*format, text),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-zA-Z ]{0,9}".prop_map(|text| Value::Simple(text.into_bytes())),
            "[A-Z]{1,5} [a-z ]{0,9}".prop_map(|text| Value::Error(text.into_bytes())),
            any::<i64>().prop_map(Value::Integer),
            any::<Vec<u8>>().prop_map(Value::Bulk),
            Just(Value::Null),
            any::<f64>().prop_map(|value| {
                let mut text = Vec::new();
                push_f64(&mut text, value);
                Value::Double(text)
            }),
            any::<bool>().prop_map(Value::Boolean),
            "-?[1-9][0-9]{0,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
            any::<([u8; 3], Vec<u8>)>().prop_map(|(format, text)| Value::Verbatim(format, text)),
        ];
        leaf.prop_recursive(4, 64, 12, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..12);
            let pairs = proptest::collection::vec((inner.clone(), inner.clone()), 0..12);
            prop_oneof![
                list.clone().prop_map(Value::Array),
                list.clone().prop_map(Value::Set),
                list.prop_map(Value::Push),
                pairs.clone().prop_map(Value::Map),
                (pairs, inner).prop_map(|(pairs, value)| Value::Attribute(pairs, Box::new(value))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_writer_writes_is_read_back(value in values()) {
            let mut bytes = Vec::new();
            write(&value, &mut Reply::new(&mut bytes, Protocol::Resp3));
            prop_assert_eq!(skip(&bytes), Ok(Some(bytes.len())));
            prop_assert_eq!(Value::decode(&bytes), Ok(Some((value, bytes.len()))));
            prop_assert_eq!(Value::decode(&bytes[..bytes.len() - 1]), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(
            proptest::sample::select(&b"*$+-:_#,(=!%~>|0123456789tf\r\n"[..]), 0..60))
        {
            if let Ok(Some((_, len))) = Value::decode(&bytes) {
                prop_assert_eq!(skip(&bytes), Ok(Some(len)));
            }
        }
    }
}
