//! How replies are printed, to the byte as redis-cli prints them.
//!
//! A person reads [`Format::Standard`]: every reply says its type, and what is nested is numbered and indented. Programs
//! read the others: the bytes as they are, CSV, or JSON. An attribute is not printed, only the reply behind it.

use crate::resp::Value;
use crate::text::number::{digits_u64, push_i64, push_u64};
use crate::text::words::push_quoted;

/// In what form replies are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Standard,
    /// The bytes of strings as they are, the elements of an array one a line.
    Raw,
    /// A line of comma-separated values a reply.
    Csv,
    /// A line of JSON a reply. Strings are taken as UTF-8.
    Json,
    /// The same in ASCII: other bytes are `\xHH`, twice escaped.
    QuotedJson,
}

/// A format with the texts that it puts between parts.
#[derive(Clone, Debug)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// What stands between the elements of a raw reply.
    pub between_elements: Vec<u8>,
    /// What follows a raw reply.
    pub after_reply: Vec<u8>,
}

impl Style {
    /// The format with a line end as both delimiters.
    pub fn new(format: Format) -> Style {
        Style { format, between_elements: b"\n".to_vec(), after_reply: b"\n".to_vec() }
    }

    /// A reply as it is printed, with the line end behind it.
    pub fn reply(&self, reply: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match self.format {
            Format::Standard => {
                standard(&mut out, reply, 0);
                return out;
            }
            Format::Raw => {
                self.raw(&mut out, reply);
                out.extend_from_slice(&self.after_reply);
                return out;
            }
            Format::Csv => csv(&mut out, reply),
            Format::Json => json(&mut out, reply, push_json_text),
            Format::QuotedJson => json(&mut out, reply, push_twice_quoted),
        }
        out.push(b'\n');
        out
    }

    /// A reply that is a text with lines of its own, in every format.
    pub fn text(&self, reply: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.raw(&mut out, reply);
        out
    }

    /// A push message: the reply's form, but for the keys that a tracked client has to forget.
    pub fn push(&self, message: &Value) -> Vec<u8> {
        match (self.format, invalidated(message)) {
            (Format::Standard, Some(keys)) => {
                let keys: Vec<Vec<u8>> = keys.iter().map(|key| [b"'", *key, b"'"].concat()).collect();
                [b"-> invalidate: ", &keys.join(&b", "[..])[..], b"\n"].concat()
            }
            _ => self.reply(message),
        }
    }

    fn raw(&self, out: &mut Vec<u8>, reply: &Value) {
        match reply {
            Value::Null => {}
            Value::Error(text) => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            Value::Integer(number) => push_i64(out, *number),
            Value::Boolean(true) => out.extend_from_slice(b"(true)"),
            Value::Boolean(false) => out.extend_from_slice(b"(false)"),
            Value::Array(values) | Value::Set(values) | Value::Push(values) => {
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(&self.between_elements);
                    }
                    self.raw(out, value);
                }
            }
            Value::Map(pairs) => {
                for (at, (key, value)) in pairs.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(&self.between_elements);
                    }
                    self.raw(out, key);
                    out.push(b' ');
                    self.raw(out, value);
                }
            }
            Value::Attribute(_, value) => self.raw(out, value),
            _ => out.extend_from_slice(reply.as_bytes().unwrap_or_default()),
        }
    }
}

/// The keys of a message of client-side caching; those of a flush have none.
fn invalidated(message: &Value) -> Option<Vec<&[u8]>> {
    let Value::Push(parts) = message else { return None };
    match &parts[..] {
        [kind, Value::Array(keys)] if kind.as_bytes() == Some(b"invalidate") => {
            keys.iter().map(Value::as_bytes).collect()
        }
        _ => None,
    }
}

/// Lines for people. The first begins where the output stands, those after it behind `indent` spaces.
fn standard(out: &mut Vec<u8>, reply: &Value, indent: usize) {
    let kind: &[u8] = match reply {
        Value::Array(values) => return numbered(out, values, b')', b"(empty array)\n", indent),
        Value::Push(values) => return numbered(out, values, b')', b"(empty push)\n", indent),
        Value::Set(values) => return numbered(out, values, b'~', b"(empty set)\n", indent),
        Value::Map(pairs) => return numbered_pairs(out, pairs, indent),
        Value::Attribute(_, value) => return standard(out, value, indent),
        Value::Error(_) => b"(error) ",
        Value::Integer(_) => b"(integer) ",
        Value::Double(_) => b"(double) ",
        Value::BigNumber(_) => b"(big number) ",
        Value::Null => b"(nil)",
        Value::Boolean(true) => b"(true)",
        Value::Boolean(false) => b"(false)",
        Value::Simple(_) | Value::Bulk(_) | Value::Verbatim(..) => b"",
    };
    out.extend_from_slice(kind);
    match reply {
        Value::Bulk(bytes) => push_quoted(out, bytes),
        Value::Integer(number) => push_i64(out, *number),
        _ => out.extend_from_slice(reply.as_bytes().unwrap_or_default()),
    }
    out.push(b'\n');
}

fn numbered(out: &mut Vec<u8>, values: &[Value], sign: u8, empty: &[u8], indent: usize) {
    if values.is_empty() {
        out.extend_from_slice(empty);
    }
    for (at, value) in values.iter().enumerate() {
        let indent = push_number(out, at, values.len(), sign, indent);
        standard(out, value, indent);
    }
}

fn numbered_pairs(out: &mut Vec<u8>, pairs: &[(Value, Value)], indent: usize) {
    if pairs.is_empty() {
        out.extend_from_slice(b"(empty hash)\n");
    }
    for (at, (key, value)) in pairs.iter().enumerate() {
        let indent = push_number(out, at, pairs.len(), b'#', indent);
        standard(out, key, indent);
        // The line end of the key.
        out.pop();
        out.extend_from_slice(b" => ");
        if has_lines(value) {
            out.push(b'\n');
            out.resize(out.len() + indent, b' ');
        }
        standard(out, value, indent);
    }
}

/// Pushes the number of the element `at` of `count` and returns how far its further lines are indented.
fn push_number(out: &mut Vec<u8>, at: usize, count: usize, sign: u8, indent: usize) -> usize {
    let (number, width) = (at as u64 + 1, digits_u64(count as u64));
    let spaces = if at > 0 { indent } else { 0 };
    out.resize(out.len() + spaces + width - digits_u64(number), b' ');
    push_u64(out, number);
    out.extend_from_slice(&[sign, b' ']);
    indent + width + 2
}

/// Whether the value of a pair begins on a line of its own: when it has more than one element, at whatever depth.
fn has_lines(value: &Value) -> bool {
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => match &values[..] {
            [one] => has_lines(one),
            values => !values.is_empty(),
        },
        Value::Map(pairs) => match &pairs[..] {
            [(_, one)] => has_lines(one),
            pairs => !pairs.is_empty(),
        },
        Value::Attribute(_, value) => has_lines(value),
        _ => false,
    }
}

/// Comma-separated values; what is nested is not told apart.
fn csv(out: &mut Vec<u8>, reply: &Value) {
    match reply {
        Value::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            push_quoted(out, text);
        }
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Integer(number) => push_i64(out, *number),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => push_quoted(out, text),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                csv(out, value);
            }
        }
        Value::Map(pairs) => {
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                csv(out, key);
                out.push(b',');
                csv(out, value);
            }
        }
        Value::Attribute(_, value) => csv(out, value),
    }
}

type PushText = fn(&mut Vec<u8>, &[u8]);

/// JSON, but for an error, which is `error:"text"`, as JSON has none.
fn json(out: &mut Vec<u8>, reply: &Value, push_text: PushText) {
    match reply {
        Value::Error(text) => {
            out.extend_from_slice(b"error:");
            push_text(out, text);
        }
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Integer(number) => push_i64(out, *number),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => push_text(out, text),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json(out, value, push_text);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json_key(out, key, push_text);
                out.push(b':');
                json(out, value, push_text);
            }
            out.push(b'}');
        }
        Value::Attribute(_, value) => json(out, value, push_text),
    }
}

/// A key has to be a string: another value's JSON is put in quotes as it is.
fn json_key(out: &mut Vec<u8>, key: &Value, push_text: PushText) {
    match key {
        Value::Simple(_) | Value::Bulk(_) | Value::Verbatim(..) | Value::Error(_) => {
            json(out, key, push_text);
        }
        _ => {
            out.push(b'"');
            json(out, key, push_text);
            out.push(b'"');
        }
    }
}

/// A string of JSON, its bytes above 127 as they are.
fn push_json_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A string as the standard format quotes it, each of its backslashes escaped once more.
fn push_twice_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    for byte in quoted {
        if byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply that `bytes` are, in a format.
    fn printed(format: Format, bytes: &[u8]) -> String {
        let (value, _) = Value::decode(bytes).unwrap().unwrap();
        String::from_utf8(Style::new(format).reply(&value)).unwrap()
    }

    #[test]
    fn what_is_nested_is_numbered_and_indented() {
        let nested = b"*2\r\n*2\r\n:1\r\n*2\r\n:2\r\n:3\r\n~2\r\n:4\r\n%1\r\n+k\r\n*2\r\n:5\r\n:6\r\n";
        let lines = [
            "1) 1) (integer) 1",
            "   2) 1) (integer) 2",
            "      2) (integer) 3",
            "2) 1~ (integer) 4",
            "   2~ 1# k => ",
            "         1) (integer) 5",
            "         2) (integer) 6\n",
        ];
        assert_eq!(printed(Format::Standard, nested), lines.join("\n"));
        assert_eq!(printed(Format::Raw, nested), "1\n2\n3\n4\nk 5\n6\n");
        assert_eq!(printed(Format::Csv, nested), "1,2,3,4,\"k\",5,6\n");
        assert_eq!(printed(Format::Json, nested), "[[1,[2,3]],[4,{\"k\":[5,6]}]]\n");
        let ten = [b"*10\r\n".to_vec(), b"*-1\r\n".repeat(9), b"*2\r\n:1\r\n:2\r\n".to_vec()].concat();
        let text = printed(Format::Standard, &ten);
        assert!(text.starts_with(" 1) (nil)\n 2) (nil)\n"), "{text}");
        assert!(text.ends_with(" 9) (nil)\n10) 1) (integer) 1\n    2) (integer) 2\n"), "{text}");
    }

    #[test]
    fn what_redis_cli_cannot_print_is_printed() {
        for (bytes, standard, json) in [
            (
                &b"(12345678901234567890\r\n"[..],
                "(big number) 12345678901234567890\n",
                "12345678901234567890\n",
            ),
            (b"!5\r\nERR x\r\n", "(error) ERR x\n", "error:\"ERR x\"\n"),
            (b"|1\r\n+ttl\r\n:1\r\n*1\r\n|1\r\n+a\r\n:1\r\n:2\r\n", "1) (integer) 2\n", "[2]\n"),
        ] {
            assert_eq!(printed(Format::Standard, bytes), standard);
            assert_eq!(printed(Format::Json, bytes), json);
        }
    }

    #[test]
    fn delimiters_stand_between_elements_and_after_a_reply() {
        let style =
            Style { format: Format::Raw, between_elements: b", ".to_vec(), after_reply: b";".to_vec() };
        let (value, _) = Value::decode(b"*2\r\n%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n").unwrap().unwrap();
        assert_eq!(style.reply(&value), b"1 2, 3 4, 5;");
        assert_eq!(style.text(&value), b"1 2, 3 4, 5");
    }
}
