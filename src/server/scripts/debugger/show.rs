//! How the debugger prints values and replies.
//!
//! Tables that refer to each other many times could print gigabytes, so printing stops once the line is long enough to
//! be truncated at `maxlen`.

use crate::lua::{Heap, TableId, Value};
use crate::text::number::parse_i64;
use crate::text::printf::push_general;
use crate::text::words::push_quoted;

/// How many levels of nested tables are printed.
const DEEPEST: usize = 10;

/// The most bytes printed of a value with `maxlen 0`.
pub const LONGEST: usize = 64 << 20;

/// Significant digits of a number.
const DIGITS: usize = 6;

/// Appends a value. Stops soon after `room` bytes.
pub fn push_value(out: &mut Vec<u8>, value: Value, heap: &Heap, room: usize) {
    let end = out.len().saturating_add(room);
    push_nested(out, value, heap, end, 0);
}

fn push_nested(out: &mut Vec<u8>, value: Value, heap: &Heap, end: usize, level: usize) {
    if level == DEEPEST {
        return out.extend_from_slice(b"<max recursion level reached! Nested table?>");
    }
    match value {
        Value::Nil => out.extend_from_slice(b"nil"),
        Value::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Number(number) => push_general(out, number, DIGITS),
        Value::String(string) => {
            let bytes = heap.bytes(string);
            push_quoted(out, &bytes[..bytes.len().min(end.saturating_sub(out.len()) + 1)]);
        }
        Value::Table(table) => push_table(out, table, heap, end, level),
        value => {
            let kind = if matches!(value, Value::Null) { "light-userdata" } else { value.type_name() };
            let place = value.address().map_or("(nil)".to_string(), |address| format!("{address:#014x}"));
            out.extend_from_slice(format!("\"{kind}@{place}\"").as_bytes());
        }
    }
}

fn push_table(out: &mut Vec<u8>, table: TableId, heap: &Heap, end: usize, level: usize) {
    let is_sequence = is_sequence(table, heap);
    out.push(b'{');
    let mut key = Value::Nil;
    let mut is_first = true;
    while let Ok(Some((next, value))) = heap.next(table, key) {
        if out.len() > end {
            break;
        }
        if !std::mem::take(&mut is_first) {
            out.extend_from_slice(b"; ");
        }
        if !is_sequence {
            out.push(b'[');
            push_nested(out, next, heap, end, level + 1);
            out.extend_from_slice(b"]=");
        }
        push_nested(out, value, heap, end, level + 1);
        key = next;
    }
    out.push(b'}');
}

/// Whether iterating over the table yields the keys 1, 2, 3, … in this order.
fn is_sequence(table: TableId, heap: &Heap) -> bool {
    let mut key = Value::Nil;
    let mut expected = 1.0;
    while let Ok(Some((next, _))) = heap.next(table, key) {
        if !matches!(next, Value::Number(number) if number == expected) {
            return false;
        }
        key = next;
        expected += 1.0;
    }
    true
}

/// Appends a command's reply. Types of reply that Redis' debugger does not print are left out.
pub fn push_reply(out: &mut Vec<u8>, reply: &[u8]) {
    push_one(out, reply);
}

/// Appends the reply that `rest` begins with. Returns what follows it.
fn push_one<'a>(out: &mut Vec<u8>, rest: &'a [u8]) -> &'a [u8] {
    let Some(kind) = rest.first() else { return rest };
    let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
    let line = &rest[1..end.max(1)];
    let after = rest.get(end + 2..).unwrap_or_default();
    match kind {
        b':' => out.extend_from_slice(line),
        b'$' => match usize::try_from(parse_i64(line).unwrap_or(-1)) {
            Ok(len) => {
                push_quoted(out, &after[..len.min(after.len())]);
                return after.get(len + 2..).unwrap_or_default();
            }
            Err(_) => out.extend_from_slice(b"NULL"),
        },
        b'+' | b'-' => push_quoted(out, &rest[..end]),
        b'*' => return push_many(out, line, after, [b"[", b",", b"]"], false),
        b'~' => return push_many(out, line, after, [b"~(", b",", b")"], false),
        b'%' => return push_many(out, line, after, [b"{", b",", b"}"], true),
        b'_' => out.extend_from_slice(b"(null)"),
        b'#' => out.extend_from_slice(if line == b"t" { b"#true" } else { b"#false" }),
        b',' => {
            out.extend_from_slice(b"(double) ");
            out.extend_from_slice(line);
        }
        _ => return rest,
    }
    after
}

fn push_many<'a>(
    out: &mut Vec<u8>,
    count: &[u8],
    mut rest: &'a [u8],
    [open, between, close]: [&[u8]; 3],
    are_pairs: bool,
) -> &'a [u8] {
    let Ok(count) = usize::try_from(parse_i64(count).unwrap_or(-1)) else {
        out.extend_from_slice(b"NULL");
        return rest;
    };
    out.extend_from_slice(open);
    for n in 0..count {
        if n > 0 {
            out.extend_from_slice(between);
        }
        rest = push_one(out, rest);
        if are_pairs {
            out.extend_from_slice(b" => ");
            rest = push_one(out, rest);
        }
    }
    out.extend_from_slice(close);
    rest
}
