//! Replies of commands as values of Lua.
//!
//! The reply's bytes are read where the command has written them; nothing stands in between. In RESP2 null is `false`, a
//! status is a table with the field `ok`; what only RESP3 has are tables with a field of their own (`map`, `set`,
//! `double`, `big_number`, `verbatim_string`), booleans, and `nil`.

use super::redis::{Names, error_table, set, tagged};
use crate::lua::{Heap, OutOfMemory, TableId, Value};
use crate::text::number::{parse_f64_loosely, parse_i64};

/// How deep replies are nested, which are all the server's own. What is deeper is not read.
const DEEPEST: usize = 32;

/// The value that `reply` stands for.
///
/// # Errors
/// There is no memory for it.
pub fn value_of(reply: &[u8], heap: &mut Heap, names: &Names) -> Result<Value, OutOfMemory> {
    let mut reader = Reader { rest: reply, heap, names };
    reader.value(0)
}

struct Reader<'a> {
    rest: &'a [u8],
    heap: &'a mut Heap,
    names: &'a Names,
}

impl<'a> Reader<'a> {
    /// The text of the line that comes next, without its end.
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    /// The `len` bytes that come next, without the line end after them.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let len = len.min(self.rest.len());
        let bytes = &self.rest[..len];
        self.rest = self.rest.get(len + 2..).unwrap_or_default();
        bytes
    }

    fn string(&mut self, bytes: &[u8]) -> Result<Value, OutOfMemory> {
        self.heap.afford(bytes.len())?;
        Ok(Value::String(self.heap.string(bytes)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, OutOfMemory> {
        let Some((kind, rest)) = self.rest.split_first() else { return Ok(Value::Nil) };
        self.rest = rest;
        let line = self.line();
        Ok(match kind {
            b'$' => match length(line) {
                Some(len) => {
                    let bytes = self.bytes(len);
                    self.string(bytes)?
                }
                None => Value::Boolean(false),
            },
            b':' => Value::Number(parse_i64(line).unwrap_or(0) as f64),
            b'+' => {
                let text = self.string(line)?;
                tagged(self.heap, self.names.ok, text)
            }
            b'*' => match length(line) {
                Some(count) => self.sequence(count, depth)?,
                None => Value::Boolean(false),
            },
            b'-' => error_table(self.heap, self.names, line, true),
            b'#' => Value::Boolean(line == b"t"),
            b',' => {
                let number = parse_f64_loosely(line).unwrap_or(f64::NAN);
                tagged(self.heap, self.names.double, Value::Number(number))
            }
            b'(' => {
                let digits = self.string(line)?;
                tagged(self.heap, self.names.big_number, digits)
            }
            b'=' => self.verbatim(length(line).unwrap_or(0))?,
            b'~' => self.set(length(line).unwrap_or(0), depth)?,
            b'%' => self.map(length(line).unwrap_or(0), depth)?,
            b'|' => {
                // An attribute precedes the reply that it belongs to, and is not shown to scripts.
                for _ in 0..2 * length(line).unwrap_or(0) {
                    self.nested(depth)?;
                }
                self.nested(depth)?
            }
            _ => Value::Nil,
        })
    }

    fn nested(&mut self, depth: usize) -> Result<Value, OutOfMemory> {
        if depth < DEEPEST { self.value(depth + 1) } else { Ok(Value::Nil) }
    }

    fn sequence(&mut self, count: usize, depth: usize) -> Result<Value, OutOfMemory> {
        self.heap.afford(count.saturating_mul(size_of::<Value>()))?;
        let table = self.heap.new_table(count, 0);
        for index in 1..=count {
            let value = self.nested(depth)?;
            self.heap.set_index(table, index, value).map_err(|_| OutOfMemory)?;
        }
        Ok(Value::Table(table))
    }

    /// A table for `count` pairs, as the only field of another one.
    fn collection(&mut self, count: usize) -> Result<TableId, OutOfMemory> {
        self.heap.afford(count.saturating_mul(3 * size_of::<Value>()))?;
        Ok(self.heap.new_table(0, count))
    }

    fn set(&mut self, count: usize, depth: usize) -> Result<Value, OutOfMemory> {
        let table = self.collection(count)?;
        for _ in 0..count {
            let member = self.nested(depth)?;
            self.store(table, member, Value::Boolean(true))?;
        }
        Ok(tagged(self.heap, self.names.set, Value::Table(table)))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, OutOfMemory> {
        let table = self.collection(count)?;
        for _ in 0..count {
            let key = self.nested(depth)?;
            let value = self.nested(depth)?;
            self.store(table, key, value)?;
        }
        Ok(tagged(self.heap, self.names.map, Value::Table(table)))
    }

    fn store(&mut self, table: TableId, key: Value, value: Value) -> Result<(), OutOfMemory> {
        // A key that cannot be one is left out.
        if key.is_nil() {
            return Ok(());
        }
        self.heap.set(table, key, value).map_err(|_| OutOfMemory)
    }

    fn verbatim(&mut self, len: usize) -> Result<Value, OutOfMemory> {
        let bytes = self.bytes(len);
        let (format, text) = bytes.split_at(bytes.len().min(3));
        let (format, text) = (self.string(format)?, self.string(text.get(1..).unwrap_or_default())?);
        let table = self.heap.new_table(0, 2);
        set(self.heap, table, self.names.string, text);
        set(self.heap, table, self.names.format, format);
        Ok(tagged(self.heap, self.names.verbatim, Value::Table(table)))
    }
}

/// A length or a count; `None` if it is negative, which stands for null.
fn length(line: &[u8]) -> Option<usize> {
    usize::try_from(parse_i64(line)?).ok()
}
