//! Decodes JSON into values.
//!
//! The tables being filled are on an explicit stack, so nesting takes no space on the native stack, and the work can be
//! suspended after any element. A table is stored in the one around it as soon as it is made, so all decoded values are
//! alive while the root is.

use super::config::Config;
use super::scan::{Found, Scanner, Text};
use super::{Failure, MOST_SLOTS, SLICE};
use crate::lua::heap::{Heap, OutOfMemory, TableError};
use crate::lua::value::{StringId, TableId, Value};

/// A table of which a part has been read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Array {
        table: TableId,
        length: usize,
    },
    /// `key` belongs to the value that comes next.
    Object {
        table: TableId,
        key: Option<StringId>,
    },
}

/// The tokens accepted next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Value,
    /// A value, or the end of the array.
    FirstValue,
    Key,
    /// A key, or the end of the object.
    FirstKey,
    Colon,
    /// A comma, or the end of the innermost table, or of the document.
    Rest,
    /// Reports the next string as an error: this was expected instead.
    Not(&'static str),
}

/// A document and the decoding progress.
///
/// Its objects stay valid while the value that `root` returns is alive and unchanged.
#[derive(Debug)]
pub struct Decoder {
    scanner: Scanner,
    expected: Expected,
    stack: Vec<Frame>,
    root: Value,
    /// The place of an unexpected string.
    wrong_at: usize,
    most_depth: usize,
    /// The number of Lua stack slots that the reference implementation would use.
    slots: usize,
}

impl Decoder {
    /// Starts decoding `text`.
    pub fn new(text: Vec<u8>, config: &Config) -> Decoder {
        Decoder {
            scanner: Scanner::new(text, config.decode_invalid_numbers),
            expected: Expected::Value,
            stack: Vec::new(),
            root: Value::Nil,
            wrong_at: 0,
            most_depth: config.decode_max_depth as usize,
            slots: 1,
        }
    }

    /// Reads another [`SLICE`]. Returns the value at the end of the document.
    pub fn run(&mut self, heap: &mut Heap, budget: &mut i64) -> Result<Option<Value>, Failure> {
        heap.afford(SLICE)?;
        let stop = self.scanner.place() + SLICE;
        while self.scanner.place() < stop {
            if !self.scanner.is_in_string() && !self.scanner.skip_blanks() {
                break;
            }
            let goes_on = match self.expected {
                Expected::Value => self.value(heap)?,
                Expected::Rest => {
                    if self.rest()? {
                        return Ok(Some(self.root));
                    }
                    true
                }
                Expected::Key => self.key(heap)?,
                Expected::Colon => self.colon(heap, budget)?,
                Expected::FirstValue => self.first_value(heap)?,
                Expected::FirstKey => self.first_key(heap)?,
                Expected::Not(expected) => self.wrong_string(expected)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(None)
    }

    /// Returns the key whose value has not been read yet.
    pub fn key_in_hand(&self) -> Value {
        match self.stack.last() {
            Some(Frame::Object { key: Some(key), .. }) => Value::String(*key),
            _ => Value::Nil,
        }
    }

    /// The document's value, as far as it has been read.
    pub fn root(&self) -> Value {
        self.root
    }

    /// Bytes of memory in use, excluding the values.
    pub fn heap_bytes(&self) -> usize {
        self.scanner.heap_bytes()
    }

    /// The number of bytes read.
    pub fn place(&self) -> usize {
        self.scanner.place()
    }

    /// Reads a value, or the beginning of a table. Returns false if the value is incomplete.
    #[inline]
    fn value(&mut self, heap: &mut Heap) -> Result<bool, Failure> {
        let byte = if self.scanner.is_in_string() { b'"' } else { self.scanner.next() };
        let value = match byte {
            b'"' => match self.string(heap, "value")? {
                Some(string) => Value::String(string),
                None => return Ok(false),
            },
            b'-' | b'0'..=b'9' => self.number()?,
            b'{' => return self.open_object(heap).map(|()| true),
            b'[' => return self.open_array(heap).map(|()| true),
            b't' if self.scanner.skip_name(b"true") => Value::Boolean(true),
            b'f' if self.scanner.skip_name(b"false") => Value::Boolean(false),
            b'n' if self.scanner.skip_name(b"null") => Value::Null,
            b'+' | b'i' | b'I' | b'n' | b'N' if self.scanner.is_invalid_number() => self.number()?,
            _ => return self.unexpected("value").map(|()| true),
        };
        self.expected = Expected::Rest;
        self.store(value, heap)?;
        Ok(true)
    }

    fn number(&mut self) -> Result<Value, Failure> {
        self.scanner.number().map(Value::Number).map_err(|found| mismatch("value", found))
    }

    /// Reads a string. Returns `None` if it is incomplete.
    #[inline]
    fn string(&mut self, heap: &mut Heap, expected: &str) -> Result<Option<StringId>, Failure> {
        match self.scanner.string() {
            Ok(Some(Text::Here(bytes))) => Ok(Some(heap.string(bytes))),
            Ok(Some(Text::Long(bytes))) => {
                heap.afford(bytes.len())?;
                Ok(Some(heap.string_from(bytes)))
            }
            Ok(None) => Ok(None),
            Err(found) => Err(mismatch(expected, found)),
        }
    }

    /// Stores a value in the table, or as the root, that it belongs to.
    #[inline]
    fn store(&mut self, value: Value, heap: &mut Heap) -> Result<(), Failure> {
        match self.stack.last_mut() {
            None => self.root = value,
            Some(Frame::Object { table, key }) => {
                if let Some(key) = key.take() {
                    heap.set(*table, Value::String(key), value).map_err(refused)?;
                }
            }
            Some(Frame::Array { table, length }) => {
                *length += 1;
                heap.append(*table, *length, value)?;
            }
        }
        Ok(())
    }

    fn open_object(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        self.scanner.skip();
        self.descend(3)?;
        let table = heap.new_table(0, 0);
        self.store(Value::Table(table), heap)?;
        self.stack.push(Frame::Object { table, key: None });
        self.slots += 2;
        self.expected = Expected::FirstKey;
        Ok(())
    }

    fn open_array(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        self.scanner.skip();
        self.descend(2)?;
        let table = heap.new_table(0, 0);
        self.store(Value::Table(table), heap)?;
        self.stack.push(Frame::Array { table, length: 0 });
        self.slots += 1;
        self.expected = Expected::FirstValue;
        Ok(())
    }

    /// Checks that one more nesting level, which needs `slots` of Lua's stack in the reference implementation, is
    /// allowed.
    fn descend(&self, slots: usize) -> Result<(), Failure> {
        let depth = self.stack.len() + 1;
        if depth <= self.most_depth && self.slots + slots <= MOST_SLOTS {
            return Ok(());
        }
        let place = self.scanner.place();
        Err(Failure::Message(format!("Found too many nested data structures ({depth}) at character {place}")))
    }

    /// Ends the innermost table.
    fn close(&mut self) {
        self.scanner.skip();
        self.slots -= match self.stack.pop() {
            Some(Frame::Object { .. }) => 2,
            _ => 1,
        };
        self.expected = Expected::Rest;
    }

    #[inline]
    fn first_value(&mut self, heap: &mut Heap) -> Result<bool, Failure> {
        if self.scanner.next() == b']' {
            self.close();
            return Ok(true);
        }
        self.expected = Expected::Value;
        self.value(heap)
    }

    #[inline]
    fn first_key(&mut self, heap: &mut Heap) -> Result<bool, Failure> {
        if self.scanner.next() == b'}' {
            self.close();
            return Ok(true);
        }
        self.expected = Expected::Key;
        self.key(heap)
    }

    /// Reads a key. Returns false if it is incomplete.
    #[inline]
    fn key(&mut self, heap: &mut Heap) -> Result<bool, Failure> {
        const EXPECTED: &str = "object key string";
        if !self.scanner.is_in_string() && self.scanner.next() != b'"' {
            return self.unexpected(EXPECTED).map(|()| true);
        }
        let Some(string) = self.string(heap, EXPECTED)? else { return Ok(false) };
        if let Some(Frame::Object { key, .. }) = self.stack.last_mut() {
            *key = Some(string);
        }
        self.expected = Expected::Colon;
        Ok(true)
    }

    /// Reads the colon that follows a key. Returns false if the table has to grow for the key first.
    #[inline]
    fn colon(&mut self, heap: &mut Heap, budget: &mut i64) -> Result<bool, Failure> {
        if self.scanner.next() != b':' {
            return self.unexpected("colon").map(|()| true);
        }
        if let Some(Frame::Object { table, key: Some(key) }) = self.stack.last()
            && !heap.is_room_ready(*table, Value::String(*key), budget)
        {
            return Ok(false);
        }
        self.scanner.skip();
        self.expected = Expected::Value;
        Ok(true)
    }

    /// Reads an unexpected string and returns the error for it, or for invalid syntax in it.
    fn wrong_string(&mut self, expected: &str) -> Result<bool, Failure> {
        let place = self.wrong_at;
        match self.scanner.string() {
            Ok(None) => Ok(false),
            Ok(Some(_)) => Err(mismatch(expected, Found { name: "T_STRING", place })),
            Err(found) => Err(mismatch(expected, found)),
        }
    }

    /// Reads the token after a value. Returns whether it was the end of the document.
    #[inline]
    fn rest(&mut self) -> Result<bool, Failure> {
        let byte = self.scanner.next();
        match (self.stack.last(), byte) {
            (None, 0) => return Ok(true),
            (None, _) => self.unexpected("the end")?,
            (Some(Frame::Array { .. }), b',') => {
                self.scanner.skip();
                self.expected = Expected::Value;
            }
            (Some(Frame::Object { .. }), b',') => {
                self.scanner.skip();
                self.expected = Expected::Key;
            }
            (Some(Frame::Array { .. }), b']') | (Some(Frame::Object { .. }), b'}') => self.close(),
            (Some(Frame::Array { .. }), _) => self.unexpected("comma or array end")?,
            (Some(Frame::Object { .. }), _) => self.unexpected("comma or object end")?,
        }
        Ok(false)
    }

    /// Returns the error for a token other than the `expected` one. A string is read first.
    #[cold]
    fn unexpected(&mut self, expected: &'static str) -> Result<(), Failure> {
        if self.scanner.next() == b'"' {
            self.wrong_at = self.scanner.place();
            self.expected = Expected::Not(expected);
            return Ok(());
        }
        Err(mismatch(expected, self.scanner.found()))
    }
}

#[cold]
fn mismatch(expected: &str, found: Found) -> Failure {
    let Found { name, place } = found;
    Failure::Message(format!("Expected {expected} but found {name} at character {}", place + 1))
}

/// Storing under a string key fails only for lack of memory.
fn refused(_: TableError) -> Failure {
    Failure::from(OutOfMemory)
}
