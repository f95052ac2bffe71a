//! Converts replies of commands to Lua values.
//!
//! The reply's bytes are read where the command has written them; nothing stands in between. In RESP2 null is `false`, a
//! status is a table with the field `ok`; what only RESP3 has are tables with a field of their own (`map`, `set`,
//! `double`, `big_number`, `verbatim_string`), booleans, and `nil`.
//!
//! A large reply is read in pieces, between which a slow script is suspended: [`Reading`] holds the collections that are
//! open. Nothing else keeps their tables alive, so the machine must not run before the last piece. A piece is some values;
//! it takes longer if one of them is a long string, or a set or a map, whose table is made at once.

use super::redis::{Names, error_table, set, tagged};
use crate::lua::{Heap, OutOfMemory, TableId, Value};
use crate::text::number::{parse_f64_loosely, parse_i64};

/// The number of values in a piece.
const VALUES_AT_ONCE: usize = 2000;

/// By how many elements the table of an array grows at once.
const GROWTH: usize = 1 << 16;

/// A reply that is being read.
#[derive(Debug, Default)]
pub struct Reading {
    /// The position at which the next value begins.
    at: usize,
    open: Vec<Open>,
}

/// A collection whose elements are being read.
#[derive(Debug)]
struct Open {
    shape: Shape,
    /// The number of values that follow.
    left: usize,
}

#[derive(Debug)]
enum Shape {
    Sequence {
        table: TableId,
        count: usize,
    },
    Set {
        table: TableId,
    },
    /// With the key of the next value.
    Map {
        table: TableId,
        key: Option<Value>,
    },
    /// Precedes the reply that it belongs to, and is not shown to scripts.
    Attribute,
}

impl Reading {
    /// Reads more of `reply`. Returns the value that it stands for, once it is complete.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn go_on(
        &mut self,
        reply: &[u8],
        heap: &mut Heap,
        names: &Names,
    ) -> Result<Option<Value>, OutOfMemory> {
        let rest = reply.get(self.at..).unwrap_or_default();
        let mut reader = Reader { rest, heap, names, open: &mut self.open };
        for _ in 0..VALUES_AT_ONCE {
            let value = reader.value()?;
            if let Some(value) = reader.hand_over(value)? {
                return Ok(Some(value));
            }
        }
        self.at = reply.len() - reader.rest.len();
        Ok(None)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    heap: &'a mut Heap,
    names: &'a Names,
    open: &'a mut Vec<Open>,
}

impl<'a> Reader<'a> {
    /// Returns the next line, without its end.
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    /// Returns the next `len` bytes, and skips the line end after them.
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

    /// Returns the next value; `None` if it is a collection, whose elements follow.
    fn value(&mut self) -> Result<Option<Value>, OutOfMemory> {
        let Some((kind, rest)) = self.rest.split_first() else { return Ok(Some(Value::Nil)) };
        self.rest = rest;
        let line = self.line();
        Ok(Some(match kind {
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
            b'*' if length(line).is_none() => Value::Boolean(false),
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
            b'*' | b'~' | b'%' | b'|' => {
                self.begin(*kind, length(line).unwrap_or(0))?;
                return Ok(None);
            }
            _ => Value::Nil,
        }))
    }

    /// Opens a collection of `count` elements or pairs.
    fn begin(&mut self, kind: u8, count: usize) -> Result<(), OutOfMemory> {
        let values = if kind == b'*' { 1 } else { 3 };
        self.heap.afford(count.saturating_mul(values * size_of::<Value>()))?;
        let (shape, left) = match kind {
            b'*' => (Shape::Sequence { table: self.heap.new_table(count.min(GROWTH), 0), count }, count),
            b'~' => (Shape::Set { table: self.heap.new_table(0, count) }, count),
            b'%' => (Shape::Map { table: self.heap.new_table(0, count), key: None }, 2 * count),
            _ => (Shape::Attribute, 2 * count),
        };
        self.open.push(Open { shape, left });
        Ok(())
    }

    /// Puts a value into the innermost collection, and that into the next one if it is complete, and so on. Returns the
    /// outermost value if that is complete. `None` for a collection that has just been opened.
    fn hand_over(&mut self, mut value: Option<Value>) -> Result<Option<Value>, OutOfMemory> {
        while let Some(open) = self.open.last_mut() {
            if let Some(value) = value.take() {
                open.take(value, self.heap)?;
            }
            if open.left > 0 {
                return Ok(None);
            }
            value = match open.shape {
                Shape::Sequence { table, .. } => Some(Value::Table(table)),
                Shape::Set { table } => Some(tagged(self.heap, self.names.set, Value::Table(table))),
                Shape::Map { table, .. } => Some(tagged(self.heap, self.names.map, Value::Table(table))),
                Shape::Attribute => None,
            };
            self.open.pop();
            if value.is_none() {
                // The reply that the attribute belongs to follows.
                return Ok(None);
            }
        }
        Ok(value)
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

impl Open {
    /// Stores the next value.
    fn take(&mut self, value: Value, heap: &mut Heap) -> Result<(), OutOfMemory> {
        self.left -= 1;
        match &mut self.shape {
            Shape::Sequence { table, count } => {
                let index = *count - self.left;
                if index > heap.table(*table).array().len() {
                    heap.reserve_array(*table, (*count).min(index + GROWTH))?;
                }
                heap.table_mut(*table).array_mut()[index - 1] = value;
                Ok(())
            }
            Shape::Set { table } => store(heap, *table, value, Value::Boolean(true)),
            Shape::Map { table, key } => {
                if let Some(key) = key.take() {
                    return store(heap, *table, key, value);
                }
                *key = Some(value);
                Ok(())
            }
            Shape::Attribute => Ok(()),
        }
    }
}

fn store(heap: &mut Heap, table: TableId, key: Value, value: Value) -> Result<(), OutOfMemory> {
    // A value that cannot be a key is skipped.
    if key.is_nil() {
        return Ok(());
    }
    heap.set(table, key, value).map_err(|_| OutOfMemory)
}

/// Parses a length or a count; `None` if it is negative, which means null.
fn length(line: &[u8]) -> Option<usize> {
    usize::try_from(parse_i64(line)?).ok()
}
