//! Writes the value that a script returns as a reply.
//!
//! Tables are taken for what their fields say: an error (`err`), a status (`ok`), and so on; else for the sequence of
//! their elements up to the first `nil`. A script may return tables that contain themselves, so this is a loop over a
//! stack of open collections, as deep as the reference implementation goes; and what is visited is bounded by
//! what there is, so that tables which share their elements do not become a reply without end.

use super::redis::Names;
use crate::lua::{Heap, StringId, TableId, Value};
use crate::resp::Reply;
use crate::text::words::shown;

/// Values of the reference implementation's stack that a reply may take: one for each sequence around a value, three for
/// each map or set.
const DEEPEST: usize = 7_995;

/// Bytes of the longest reply.
const LONGEST: usize = 1 << 30;

/// Values that are visited in any case; beyond them, as many as have room in the memory of the machine.
const VISITED: usize = 1 << 20;

/// The replacement for a value that is nested too deeply.
const TOO_DEEP: &str = "ERR reached lua stack limit";

/// The reply would be longer than a reply can be.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// The errors in a reply, for the statistics.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// The codes of the errors that count.
    pub codes: Vec<Box<[u8]>>,
    /// The number of errors that were counted before.
    pub counted_before: u64,
}

/// A collection whose elements are being written.
enum Open {
    Sequence {
        table: TableId,
        next: usize,
        count: usize,
        depth: usize,
    },
    /// With the value of the last key written.
    Map {
        table: TableId,
        key: Value,
        value: Option<Value>,
        depth: usize,
    },
    Set {
        table: TableId,
        key: Value,
        depth: usize,
    },
}

/// Writes a value as a reply. `typed`: the script has switched to RESP3, so a boolean is one.
///
/// # Errors
/// The reply is too long. Part of it has been written.
pub fn write(
    value: Value,
    typed: bool,
    heap: &Heap,
    names: &Names,
    reply: &mut Reply<'_>,
) -> Result<Errors, TooLong> {
    let visits = heap.used_bytes() / size_of::<Value>() + VISITED;
    let end = reply.buf.len().saturating_add(LONGEST);
    let mut writer =
        Writer { heap, names, typed, reply, errors: Errors::default(), open: Vec::new(), visits, end };
    writer.write(value)?;
    Ok(writer.errors)
}

struct Writer<'a, 'b> {
    heap: &'a Heap,
    names: &'a Names,
    typed: bool,
    reply: &'a mut Reply<'b>,
    errors: Errors,
    open: Vec<Open>,
    /// The number of values that may still be visited.
    visits: usize,
    /// The maximum length of the output.
    end: usize,
}

impl Writer<'_, '_> {
    fn write(&mut self, value: Value) -> Result<(), TooLong> {
        self.value(value, 0)?;
        while let Some((value, depth)) = self.next() {
            self.value(value, depth)?;
        }
        Ok(())
    }

    /// Returns the next value and its depth; closes completed collections.
    fn next(&mut self) -> Option<(Value, usize)> {
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Sequence { table, next, count, depth } if *next <= *count => {
                    *next += 1;
                    return Some((self.heap.get_index(*table, *next - 1), *depth + 1));
                }
                Open::Sequence { .. } => {}
                Open::Map { value, depth, .. } if value.is_some() => {
                    return value.take().map(|value| (value, *depth + 3));
                }
                Open::Map { table, key, value, depth } => {
                    if let Ok(Some((next, found))) = self.heap.next(*table, *key) {
                        (*key, *value) = (next, Some(found));
                        return Some((next, *depth + 4));
                    }
                }
                Open::Set { table, key, depth } => {
                    if let Ok(Some((next, _))) = self.heap.next(*table, *key) {
                        *key = next;
                        return Some((next, *depth + 3));
                    }
                }
            }
            self.open.pop();
        }
        None
    }

    fn value(&mut self, value: Value, depth: usize) -> Result<(), TooLong> {
        self.visit(1)?;
        if depth >= DEEPEST {
            self.reply.error(TOO_DEEP);
            self.errors.codes.push(Box::from(&b"ERR"[..]));
            return Ok(());
        }
        match value {
            Value::String(string) => {
                let bytes = self.heap.bytes(string);
                if self.end.saturating_sub(self.reply.buf.len()) < bytes.len() {
                    return Err(TooLong);
                }
                self.reply.bulk(bytes);
            }
            Value::Number(number) => self.reply.integer(as_integer(number)),
            Value::Boolean(value) if self.typed => self.reply.boolean(value),
            Value::Boolean(true) => self.reply.integer(1),
            Value::Table(table) => self.table(table, depth)?,
            _ => self.reply.null(),
        }
        Ok(())
    }

    /// Counts `count` values as visited.
    fn visit(&mut self, count: usize) -> Result<(), TooLong> {
        self.visits = self.visits.checked_sub(count).ok_or(TooLong)?;
        if self.reply.buf.len() > self.end { Err(TooLong) } else { Ok(()) }
    }

    fn string_at(&self, table: TableId, name: StringId) -> Option<&'_ [u8]> {
        match self.heap.get_string(table, name) {
            Value::String(string) => Some(self.heap.bytes(string)),
            _ => None,
        }
    }

    fn table(&mut self, table: TableId, depth: usize) -> Result<(), TooLong> {
        let (heap, names) = (self.heap, self.names);
        if let Value::String(text) = heap.get_string(table, names.err) {
            self.error(table, heap.bytes(text));
        } else if let Value::String(text) = heap.get_string(table, names.ok) {
            self.status(heap.bytes(text));
        } else if let Value::Number(number) = heap.get_string(table, names.double) {
            self.reply.double(number);
        } else if let Value::String(digits) = heap.get_string(table, names.big_number) {
            self.reply.big_number(&in_one_line(heap.bytes(digits)));
        } else if let Value::Table(verbatim) = heap.get_string(table, names.verbatim)
            && let Some(format) = self.string_at(verbatim, names.format)
            && let Value::String(text) = heap.get_string(verbatim, names.string)
        {
            let mut padded = [b' '; 3];
            padded.iter_mut().zip(shown(format)).for_each(|(to, from)| *to = *from);
            self.reply.verbatim(padded, heap.bytes(text));
        } else if let Value::Table(map) = heap.get_string(table, names.map) {
            let pairs = self.count_pairs(map)?;
            self.reply.map(pairs);
            self.open.push(Open::Map { table: map, key: Value::Nil, value: None, depth });
        } else if let Value::Table(set) = heap.get_string(table, names.set) {
            let members = self.count_pairs(set)?;
            self.reply.set(members);
            self.open.push(Open::Set { table: set, key: Value::Nil, depth });
        } else {
            let mut count = 0;
            while !heap.get_index(table, count + 1).is_nil() {
                count += 1;
            }
            // They are visited one by one when they are written, but not if there are too many.
            if count > self.visits {
                return Err(TooLong);
            }
            self.reply.array(count);
            self.open.push(Open::Sequence { table, next: 1, count, depth });
        }
        Ok(())
    }

    fn count_pairs(&mut self, table: TableId) -> Result<usize, TooLong> {
        let (mut key, mut count) = (Value::Nil, 0);
        while let Ok(Some((next, _))) = self.heap.next(table, key) {
            (key, count) = (next, count + 1);
            self.visit(1)?;
        }
        Ok(count)
    }

    fn error(&mut self, table: TableId, text: &[u8]) {
        let text = shown(text);
        self.reply.error(text);
        match self.heap.get_string(table, self.names.ignore) {
            Value::Boolean(true) => self.errors.counted_before += 1,
            _ => self.errors.codes.push(Box::from(code(text))),
        }
    }

    fn status(&mut self, text: &[u8]) {
        self.reply.buf.push(b'+');
        self.reply.buf.extend_from_slice(&in_one_line(shown(text)));
        self.reply.buf.extend_from_slice(b"\r\n");
    }
}

/// The most bytes of an error in which its code is searched.
const CODE: usize = 31;

/// The code by which an error is counted: its first word, if that is not too long and another one follows.
pub fn code(text: &[u8]) -> &[u8] {
    let start = &text[..text.len().min(CODE)];
    start.iter().position(|byte| *byte == b' ').map_or(b"ERR", |end| &text[..end])
}

/// Converts a number to a 64-bit integer as C does on most machines.
fn as_integer(number: f64) -> i64 {
    const LIMIT: f64 = (1_u64 << 63) as f64;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

/// Returns `text` with spaces instead of line ends.
fn in_one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_integers_as_in_c() {
        for (number, integer) in [
            (1.9, 1),
            (-1.9, -1),
            (1e18, 1_000_000_000_000_000_000),
            (1e19, i64::MIN),
            (f64::NAN, i64::MIN),
            (f64::NEG_INFINITY, i64::MIN),
        ] {
            assert_eq!(as_integer(number), integer, "{number}");
        }
    }

    #[test]
    fn an_error_is_counted_by_its_first_word_unless_there_is_no_other() {
        assert_eq!(code(b"FOO bar"), b"FOO");
        assert_eq!(code(b"FOO"), b"ERR");
        assert_eq!(code(b""), b"ERR");
        assert_eq!(code(&[&[b'x'; 30][..], b" y"].concat()), &[b'x'; 30]);
        assert_eq!(code(&[&[b'x'; 31][..], b" y"].concat()), b"ERR");
    }
}
