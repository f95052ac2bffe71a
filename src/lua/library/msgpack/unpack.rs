//! Unpacks MessagePack into values.
//!
//! The tables being filled are on an explicit stack, so nesting takes no space on the native stack, and the work can be
//! suspended after any element. All unpacked values must therefore be reachable from one table, the results: a table is
//! stored in the one around it as soon as it is made, or, while it is the key of a pair, in the results at an index
//! below 0.

use super::{SLICE, format};
use crate::lua::heap::{Heap, OutOfMemory, TableError};
use crate::lua::value::{TableId, Value};

/// The number of Lua stack slots that a C function may use. The reference implementation unpacks there, and rejects
/// texts that need more: too many values at once, or too deeply nested tables.
pub const MOST_SLOTS: usize = 8000;

const TOO_MANY: Failure =
    Failure::Text("stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)");
const TOO_DEEP: Failure = Failure::Text("stack overflow (in function mp_decode_to_lua_array)");
const MISSING: Failure = Failure::Text("Missing bytes in input.");
const BAD_FORMAT: Failure = Failure::Text("Bad data format in input.");
const NIL_KEY: Failure = Failure::Key("table index is nil");
const NAN_KEY: Failure = Failure::Key("table index is NaN");

/// Why a text cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error with a position.
    Text(&'static str),
    /// A key that no table can have. This error has no position.
    Key(&'static str),
    Memory,
}

impl From<OutOfMemory> for Failure {
    fn from(_: OutOfMemory) -> Failure {
        Failure::Memory
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Failure {
        match error {
            TableError::NilKey => NIL_KEY,
            TableError::NanKey => NAN_KEY,
            TableError::Memory | TableError::Readonly => Failure::Memory,
        }
    }
}

/// A table of which a part has been read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Array {
        table: TableId,
        done: usize,
        length: usize,
        has_nil: bool,
    },
    /// `left` values remain. The next key has been read or comes first.
    Map {
        table: TableId,
        left: usize,
        key: Option<Value>,
    },
}

/// A text and the unpacking progress.
///
/// Its objects stay valid while the table of the results is alive and unchanged.
#[derive(Debug)]
pub struct Unpacker {
    text: Vec<u8>,
    at: usize,
    /// The results, at the indexes from 1 to `count`.
    values: TableId,
    count: usize,
    most: usize,
    stack: Vec<Frame>,
    /// A long string being copied: the part copied so far, and where the string ends.
    copying: Option<(Vec<u8>, usize)>,
    /// The number of Lua stack slots that the reference implementation would use, without the results.
    slots: usize,
}

impl Unpacker {
    /// Unpacks up to `most` values. `slots` are already in use on the reference implementation's stack.
    pub fn new(text: Vec<u8>, most: usize, slots: usize, heap: &mut Heap) -> Unpacker {
        Unpacker {
            text,
            at: 0,
            values: heap.new_table(0, 0),
            count: 0,
            most,
            stack: Vec::new(),
            copying: None,
            slots,
        }
    }

    /// Reads another slice. Returns whether all values have been read.
    pub fn run(&mut self, heap: &mut Heap, budget: &mut i64) -> Result<bool, Failure> {
        heap.afford(SLICE)?;
        let stop = self.at + SLICE;
        loop {
            if let Some((copied, end)) = self.copying.take() {
                if !self.go_on_copying(copied, end, heap)? {
                    return Ok(false);
                }
                continue;
            }
            match self.stack.last() {
                None if self.is_at_end() || self.count == self.most => return Ok(true),
                Some(Frame::Array { table, done, length, .. }) if done == length => self.close(*table)?,
                Some(Frame::Map { table, left: 0, key: None }) => self.close(*table)?,
                Some(Frame::Map { table, key: Some(key), .. }) => {
                    if !heap.is_room_ready(*table, *key, budget) {
                        self.hold_key(heap)?;
                        return Ok(false);
                    }
                    // The key is not in any table yet.
                    self.value(heap)?;
                }
                _ if self.at >= stop => return Ok(false),
                _ => self.value(heap)?,
            }
        }
    }

    /// Copies a part of a long string. Returns whether that was the last part.
    fn go_on_copying(&mut self, mut copied: Vec<u8>, end: usize, heap: &mut Heap) -> Result<bool, Failure> {
        let to = end.min(self.at + SLICE);
        copied.extend_from_slice(&self.text[self.at..to]);
        self.at = to;
        if to < end {
            self.copying = Some((copied, end));
            return Ok(false);
        }
        let value = Value::String(heap.string_from(copied));
        self.attach(value, heap)?;
        self.complete(value)?;
        Ok(true)
    }

    /// Bytes of memory in use, excluding the values.
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.copying.as_ref().map_or(0, |(copied, _)| copied.capacity())
    }

    /// The number of bytes read.
    pub fn place(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// The table of results.
    pub fn values(&self) -> TableId {
        self.values
    }

    /// The number of results, some of which may be nil.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Reads a value; for a table, the number of its elements.
    fn value(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        let [kind] = self.peek(0)?;
        if self.slots + self.count + 1 > MOST_SLOTS {
            return Err(TOO_MANY);
        }
        let value = match kind {
            0..format::FIRST_MAP => self.scalar(1, f64::from(kind)),
            format::FIRST_MAP..=format::LAST_MAP => return self.open_map(1, usize::from(kind & 15), heap),
            format::FIRST_ARRAY..=format::LAST_ARRAY => {
                return self.open_array(1, usize::from(kind & 15), heap);
            }
            format::FIRST_STRING..=format::LAST_STRING => {
                return self.string(1, usize::from(kind & 31), heap);
            }
            format::NIL => self.constant(Value::Nil),
            format::FALSE => self.constant(Value::Boolean(false)),
            format::TRUE => self.constant(Value::Boolean(true)),
            format::FLOAT_32 => self.scalar(5, f64::from(f32::from_be_bytes(self.peek(1)?))),
            format::FLOAT_64 => self.scalar(9, f64::from_be_bytes(self.peek(1)?)),
            format::UNSIGNED_8 => self.scalar(2, f64::from(u8::from_be_bytes(self.peek(1)?))),
            format::UNSIGNED_16 => self.scalar(3, f64::from(u16::from_be_bytes(self.peek(1)?))),
            format::UNSIGNED_32 => self.scalar(5, f64::from(u32::from_be_bytes(self.peek(1)?))),
            // The reference implementation's largest integers are C `long`s.
            format::UNSIGNED_64 | format::SIGNED_64 => {
                self.scalar(9, i64::from_be_bytes(self.peek(1)?) as f64)
            }
            format::SIGNED_8 => self.scalar(2, f64::from(i8::from_be_bytes(self.peek(1)?))),
            format::SIGNED_16 => self.scalar(3, f64::from(i16::from_be_bytes(self.peek(1)?))),
            format::SIGNED_32 => self.scalar(5, f64::from(i32::from_be_bytes(self.peek(1)?))),
            format::STRING_8 => return self.string(2, self.length_8()?, heap),
            format::STRING_16 => return self.string(3, self.length_16()?, heap),
            format::STRING_32 => return self.string(5, self.length_32()?, heap),
            format::ARRAY_16 => return self.open_array(3, self.length_16()?, heap),
            format::ARRAY_32 => return self.open_array(5, self.length_32()?, heap),
            format::MAP_16 => return self.open_map(3, self.length_16()?, heap),
            format::MAP_32 => return self.open_map(5, self.length_32()?, heap),
            format::FIRST_NEGATIVE.. => self.scalar(1, f64::from(kind as i8)),
            _ => return Err(BAD_FORMAT),
        };
        self.attach(value, heap)?;
        self.complete(value)
    }

    /// Returns the bytes at an offset of `from` from the current position.
    fn peek<const N: usize>(&self, from: usize) -> Result<[u8; N], Failure> {
        self.text[self.at..].get(from..from + N).and_then(|bytes| bytes.try_into().ok()).ok_or(MISSING)
    }

    fn length_8(&self) -> Result<usize, Failure> {
        self.peek(1).map(|bytes| usize::from(u8::from_be_bytes(bytes)))
    }

    fn length_16(&self) -> Result<usize, Failure> {
        self.peek(1).map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn length_32(&self) -> Result<usize, Failure> {
        self.peek(1).map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn scalar(&mut self, size: usize, number: f64) -> Value {
        self.at += size;
        Value::Number(number)
    }

    fn constant(&mut self, value: Value) -> Value {
        self.at += 1;
        value
    }

    /// Reads a string of `length` bytes after `header` bytes.
    fn string(&mut self, header: usize, length: usize, heap: &mut Heap) -> Result<(), Failure> {
        let bytes = self.text[self.at..].get(header..header + length).ok_or(MISSING)?;
        if length > SLICE {
            heap.afford(length)?;
            self.at += header;
            self.copying = Some((Vec::with_capacity(length), self.at + length));
            return self.hold_key(heap);
        }
        self.at += header + length;
        let value = Value::String(heap.string(bytes));
        self.attach(value, heap)?;
        self.complete(value)
    }

    /// Keeps a key alive while its value is read. Keys that are tables are already alive among the results.
    fn hold_key(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        let depth = self.stack.len() + 1;
        if let Some(Frame::Map { key: Some(key @ Value::String(_)), .. }) = self.stack.last() {
            heap.set(self.values, Value::Number(-(depth as f64)), *key)?;
        }
        Ok(())
    }

    fn open_array(&mut self, header: usize, length: usize, heap: &mut Heap) -> Result<(), Failure> {
        self.at += header;
        if self.slots + self.count + 2 > MOST_SLOTS {
            return Err(TOO_DEEP);
        }
        let table = heap.new_table(0, 0);
        self.attach(Value::Table(table), heap)?;
        self.stack.push(Frame::Array { table, done: 0, length, has_nil: false });
        self.slots += 2;
        Ok(())
    }

    fn open_map(&mut self, header: usize, length: usize, heap: &mut Heap) -> Result<(), Failure> {
        self.at += header;
        let table = heap.new_table(0, 0);
        self.attach(Value::Table(table), heap)?;
        self.stack.push(Frame::Map { table, left: length, key: None });
        self.slots += 1;
        Ok(())
    }

    /// Stores a value, or a table about to be filled, in the table it belongs to.
    fn attach(&mut self, value: Value, heap: &mut Heap) -> Result<(), Failure> {
        let depth = self.stack.len() + 1;
        match self.stack.last_mut() {
            None if value.is_nil() => {}
            None => heap.set_index(self.values, self.count + 1, value)?,
            Some(Frame::Array { table, done, has_nil, .. }) => {
                *has_nil |= value.is_nil();
                // Elements after a nil are not necessarily in the table's sequence.
                if *has_nil {
                    heap.set_index(*table, *done + 1, value)?;
                } else {
                    heap.append(*table, *done + 1, value)?;
                }
            }
            Some(Frame::Map { table, key: Some(key), .. }) if is_valid(*key) => {
                heap.set(*table, *key, value)?;
            }
            Some(Frame::Map { .. }) if matches!(value, Value::Table(_)) => {
                heap.set(self.values, Value::Number(-(depth as f64)), value)?;
            }
            Some(Frame::Map { .. }) => {}
        }
        Ok(())
    }

    /// Advances past a complete value.
    fn complete(&mut self, value: Value) -> Result<(), Failure> {
        match self.stack.last_mut() {
            None => self.count += 1,
            Some(Frame::Array { done, .. }) => *done += 1,
            Some(Frame::Map { key: next @ None, .. }) => {
                *next = Some(value);
                self.slots += 1;
            }
            Some(Frame::Map { left, key, .. }) => {
                match key.take() {
                    Some(Value::Nil) => return Err(NIL_KEY),
                    Some(Value::Number(number)) if number.is_nan() => return Err(NAN_KEY),
                    _ => {}
                }
                *left -= 1;
                self.slots -= 1;
            }
        }
        Ok(())
    }

    /// Ends the innermost table and advances past it.
    fn close(&mut self, table: TableId) -> Result<(), Failure> {
        self.slots -= match self.stack.pop() {
            Some(Frame::Array { .. }) => 2,
            _ => 1,
        };
        self.complete(Value::Table(table))
    }
}

/// Whether a table can have this key.
fn is_valid(key: Value) -> bool {
    match key {
        Value::Nil => false,
        Value::Number(number) => !number.is_nan(),
        _ => true,
    }
}
