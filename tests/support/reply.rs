//! RESP2 and RESP3 replies as values, with their original bytes.
//!
//! Decoding is strict: a byte that the protocol does not allow is an error, so a test that reads a reply also
//! checks that it is well formed. Map, set and push keep the order of arrival.

use std::fmt;

/// One reply, decoded. Doubles and big numbers keep their text, because tests compare the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    NullBulk,
    Array(Vec<Value>),
    NullArray,
    Null,
    Double(Vec<u8>),
    Boolean(bool),
    BigNumber(Vec<u8>),
    Verbatim(Vec<u8>),
    BulkError(Vec<u8>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Attribute(Vec<(Value, Value)>),
}

impl Value {
    /// The text of a string of any kind, of an error or of an integer; panics on any other value.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(b) | Value::Error(b) | Value::Bulk(b) | Value::Double(b) | Value::BulkError(b) => {
                String::from_utf8_lossy(b).into_owned()
            }
            Value::Verbatim(b) => String::from_utf8_lossy(&b[4..]).into_owned(),
            Value::Integer(n) => n.to_string(),
            other => panic!("no text in {other:?}"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(n) => *n,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// The elements of an array, set or push; for a map the keys and values in turn.
    pub fn elements(&self) -> Vec<Value> {
        match self {
            Value::Array(all) | Value::Set(all) | Value::Push(all) => all.clone(),
            Value::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
            other => panic!("no elements in {other:?}"),
        }
    }

    /// The value of `key` in a map or in a flat array of pairs.
    pub fn field(&self, key: &str) -> Value {
        let all = self.elements();
        let found = all.chunks(2).find(|pair| matches!(&pair[0], Value::Bulk(b) if b == key.as_bytes()));
        found.unwrap_or_else(|| panic!("no field {key} in {self:?}"))[1].clone()
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }
}

/// A readable form: texts unchanged, with `+`, `-` or `(kind)` before those that are not bulk strings.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, all) = match self {
            Value::Simple(b) => return write!(f, "+{}", b.escape_ascii()),
            Value::Error(b) => return write!(f, "-{}", b.escape_ascii()),
            Value::Bulk(b) => return write!(f, "\"{}\"", b.escape_ascii()),
            Value::Integer(n) => return write!(f, "{n}"),
            Value::NullBulk => return f.write_str("(null bulk)"),
            Value::NullArray => return f.write_str("(null array)"),
            Value::Null => return f.write_str("(null)"),
            Value::Double(b) => return write!(f, "(double) {}", b.escape_ascii()),
            Value::Boolean(b) => return write!(f, "{b}"),
            Value::BigNumber(b) => return write!(f, "(big) {}", b.escape_ascii()),
            Value::Verbatim(b) => return write!(f, "(verbatim) \"{}\"", b.escape_ascii()),
            Value::BulkError(b) => return write!(f, "(error) \"{}\"", b.escape_ascii()),
            Value::Map(pairs) => return f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish(),
            Value::Attribute(pairs) => {
                f.write_str("(attribute) ")?;
                return f.debug_map().entries(pairs.iter().map(|(k, v)| (k, v))).finish();
            }
            Value::Array(all) => ("", all),
            Value::Set(all) => ("(set) ", all),
            Value::Push(all) => ("(push) ", all),
        };
        f.write_str(kind)?;
        f.debug_list().entries(all).finish()
    }
}

/// A reply: its value and its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    pub value: Value,
    pub raw: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 1500;
        write!(f, "\"{}\"", self.raw[..self.raw.len().min(SHOWN)].escape_ascii())?;
        if self.raw.len() > SHOWN {
            write!(f, "... ({} bytes)", self.raw.len())?;
        }
        Ok(())
    }
}

/// The result of [`decode`].
pub enum Decoded {
    /// A complete reply of this many bytes.
    Whole(Value, usize),
    /// A part of a reply, which has at least this many bytes.
    Part(usize),
}

/// The reason why no complete reply was decoded.
enum Stop {
    Part(usize),
    Malformed(String),
}

/// Decodes the reply at the start of `bytes`; an error names the byte that the protocol does not allow.
pub fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let mut at = 0;
    match value(bytes, &mut at) {
        Ok(value) => Ok(Decoded::Whole(value, at)),
        Err(Stop::Part(needed)) => Ok(Decoded::Part(needed)),
        Err(Stop::Malformed(why)) => Err(why),
    }
}

fn malformed<T>(why: String) -> Result<T, Stop> {
    Err(Stop::Malformed(why))
}

/// One line without its CRLF.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let rest = &bytes[*at..];
    let Some(end) = memchr::memchr(b'\r', rest) else { return Err(Stop::Part(bytes.len() + 1)) };
    match rest.get(end + 1) {
        None => Err(Stop::Part(bytes.len() + 1)),
        Some(b'\n') => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        Some(_) => malformed(format!("a CR without LF after: {}", rest[..end].escape_ascii())),
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, Stop> {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| Stop::Malformed(format!("not a number: {}", text.escape_ascii())))
}

fn value(bytes: &[u8], at: &mut usize) -> Result<Value, Stop> {
    let Some(&kind) = bytes.get(*at) else { return Err(Stop::Part(*at + 1)) };
    *at += 1;
    let head = line(bytes, at)?;
    Ok(match kind {
        b'+' => Value::Simple(head.to_vec()),
        b'-' => Value::Error(head.to_vec()),
        b':' => Value::Integer(number(head)?),
        b',' => Value::Double(head.to_vec()),
        b'(' => Value::BigNumber(head.to_vec()),
        b'#' if head == b"t" => Value::Boolean(true),
        b'#' if head == b"f" => Value::Boolean(false),
        b'_' if head.is_empty() => Value::Null,
        b'$' if head == b"-1" => Value::NullBulk,
        b'*' if head == b"-1" => Value::NullArray,
        b'$' => Value::Bulk(body(bytes, at, number(head)?)?),
        b'!' => Value::BulkError(body(bytes, at, number(head)?)?),
        b'=' => {
            let body = body(bytes, at, number(head)?)?;
            if body.get(3) != Some(&b':') {
                return malformed("a verbatim string without its three-letter kind".into());
            }
            Value::Verbatim(body)
        }
        b'*' => Value::Array(sequence(bytes, at, number(head)?)?),
        b'~' => Value::Set(sequence(bytes, at, number(head)?)?),
        b'>' => Value::Push(sequence(bytes, at, number(head)?)?),
        b'%' => Value::Map(pairs(bytes, at, number(head)?)?),
        b'|' => Value::Attribute(pairs(bytes, at, number(head)?)?),
        other => return malformed(format!("'{}' cannot begin a reply", [other].escape_ascii())),
    })
}

fn body(bytes: &[u8], at: &mut usize, len: usize) -> Result<Vec<u8>, Stop> {
    let end = *at + len + 2;
    let Some(body) = bytes.get(*at..end) else { return Err(Stop::Part(end)) };
    if &body[len..] != b"\r\n" {
        return malformed("a bulk string does not end with CRLF where its length says".into());
    }
    *at = end;
    Ok(body[..len].to_vec())
}

fn sequence(bytes: &[u8], at: &mut usize, count: usize) -> Result<Vec<Value>, Stop> {
    (0..count).map(|_| value(bytes, at)).collect()
}

fn pairs(bytes: &[u8], at: &mut usize, count: usize) -> Result<Vec<(Value, Value)>, Stop> {
    (0..count).map(|_| Ok((value(bytes, at)?, value(bytes, at)?))).collect()
}
