//! Formats replies, byte for byte as redis-cli does.
//!
//! [`Format::Standard`] is for people: every reply shows its type, and nested replies are numbered and indented. The
//! others are for programs: the bytes as they are, CSV, or JSON. Attributes are not printed, only the replies after
//! them.

use crate::resp::Value;
use crate::text::number::{digits_u64, push_i64, push_u64};
use crate::text::words::push_quoted;

/// The output format of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Standard,
    /// The bytes of strings as they are, and the elements of an array one per line.
    Raw,
    /// One line of comma-separated values per reply.
    Csv,
    /// One line of JSON per reply. Strings are treated as UTF-8.
    Json,
    /// JSON in ASCII: other bytes are `\xHH`, escaped twice.
    QuotedJson,
}

/// A format and its delimiters.
#[derive(Clone, Debug)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// The delimiter between the elements of a raw reply.
    pub between_elements: Vec<u8>,
    /// The delimiter after a raw reply.
    pub after_reply: Vec<u8>,
}

impl Style {
    /// Creates a style with a line end for both delimiters.
    pub fn new(format: Format) -> Style {
        Style { format, between_elements: b"\n".to_vec(), after_reply: b"\n".to_vec() }
    }

    /// Formats a reply, with the line end after it.
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

    /// Formats a reply that is a text of several lines, in every format.
    pub fn text(&self, reply: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.raw(&mut out, reply);
        out
    }

    /// Formats a push message: like a reply, except for the keys of an invalidation message.
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

/// Returns the keys of an invalidation message; that of a flush has none.
fn invalidated(message: &Value) -> Option<Vec<&[u8]>> {
    let Value::Push(parts) = message else { return None };
    match &parts[..] {
        [kind, Value::Array(keys)] if kind.as_bytes() == Some(b"invalidate") => {
            keys.iter().map(Value::as_bytes).collect()
        }
        _ => None,
    }
}

/// Formats for people. The first line begins at the current output position, further lines after `indent` spaces.
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
        // Removes the line end after the key.
        out.pop();
        out.extend_from_slice(b" => ");
        if has_lines(value) {
            out.push(b'\n');
            out.resize(out.len() + indent, b' ');
        }
        standard(out, value, indent);
    }
}

/// Appends the number of element `at` of `count`, and returns the indentation of the element's further lines.
fn push_number(out: &mut Vec<u8>, at: usize, count: usize, sign: u8, indent: usize) -> usize {
    let (number, width) = (at as u64 + 1, digits_u64(count as u64));
    let spaces = if at > 0 { indent } else { 0 };
    out.resize(out.len() + spaces + width - digits_u64(number), b' ');
    push_u64(out, number);
    out.extend_from_slice(&[sign, b' ']);
    indent + width + 2
}

/// Whether the value of a pair begins on its own line: if it has more than one element, at any depth.
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

/// Formats comma-separated values; nesting is not visible.
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

/// Formats JSON, except for errors, which JSON lacks and which become `error:"text"`.
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

/// A key has to be a string: the JSON of other values is put in quotes unchanged.
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

/// Appends a JSON string, with bytes above 127 unchanged.
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

/// Appends a string as the standard format quotes it, with each of its backslashes escaped again.
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

    /// Decodes `bytes` as a reply and formats it.
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
