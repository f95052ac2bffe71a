//! JSON as values.
//!
//! The tables that are being filled are a stack of their own, so that depth costs no stack of the processor's, and the
//! work can stop after any element and go on later. A table is put into the one around it as soon as it is made: while
//! the root is alive, all that is decoded is.

use super::config::Config;
use super::scan::{Found, Scanner};
use super::{Failure, MOST_SLOTS, SLICE};
use crate::lua::heap::{Heap, OutOfMemory, TableError};
use crate::lua::value::{StringId, TableId, Value};

/// A table of which a part is read.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Array {
        table: TableId,
        length: usize,
    },
    /// With the key whose value comes next.
    Object {
        table: TableId,
        key: StringId,
    },
}

/// What is expected next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Value,
    /// A comma, or the end of the innermost table, or of the document.
    Rest,
}

/// A document, and how far it is decoded.
///
/// The objects in it stay valid while what `root` returns is alive and not changed.
#[derive(Debug)]
pub struct Decoder {
    scanner: Scanner,
    expected: Expected,
    stack: Vec<Frame>,
    root: Value,
    most_depth: usize,
    /// How far the reference implementation would have filled Lua's stack.
    slots: usize,
}

impl Decoder {
    pub fn new(text: &[u8], config: &Config, heap: &Heap) -> Result<Decoder, Failure> {
        if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
            return Err(Failure::Message("JSON parser does not support UTF-16 or UTF-32".to_string()));
        }
        heap.afford(text.len())?;
        Ok(Decoder {
            scanner: Scanner::new(text, config.decode_invalid_numbers),
            expected: Expected::Value,
            stack: Vec::new(),
            root: Value::Nil,
            most_depth: config.decode_max_depth as usize,
            slots: 1,
        })
    }

    /// Reads a [`SLICE`] more, or a long string at once. Returns the value of the document once it is read to its end.
    pub fn run(&mut self, heap: &mut Heap) -> Result<Option<Value>, Failure> {
        heap.afford(SLICE)?;
        let stop = self.scanner.place() + SLICE;
        loop {
            if self.expected == Expected::Value {
                self.value(heap)?;
            } else {
                if self.scanner.place() >= stop {
                    return Ok(None);
                }
                if self.rest(heap)? {
                    return Ok(Some(self.root));
                }
            }
        }
    }

    /// The value of the document, as far as it is read.
    pub fn root(&self) -> Value {
        self.root
    }

    /// How many bytes are read.
    pub fn place(&self) -> usize {
        self.scanner.place()
    }

    /// Reads a value; of a table, the beginning.
    #[inline]
    fn value(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        self.expected = Expected::Rest;
        let value = match self.scanner.next() {
            b'"' => match self.scanner.string() {
                Ok(bytes) => Value::String(heap.string(bytes)),
                Err(found) => return Err(mismatch("value", found)),
            },
            b'-' | b'0'..=b'9' => match self.scanner.number() {
                Ok(number) => Value::Number(number),
                Err(found) => return Err(mismatch("value", found)),
            },
            b'{' => return self.open_object(heap),
            b'[' => return self.open_array(heap),
            b't' if self.scanner.skip_name(b"true") => Value::Boolean(true),
            b'f' if self.scanner.skip_name(b"false") => Value::Boolean(false),
            b'n' if self.scanner.skip_name(b"null") => Value::Null,
            b'+' | b'i' | b'I' | b'n' | b'N' if self.scanner.is_invalid_number() => {
                match self.scanner.number() {
                    Ok(number) => Value::Number(number),
                    Err(found) => return Err(mismatch("value", found)),
                }
            }
            _ => return Err(self.unexpected("value")),
        };
        self.store(value, heap)
    }

    /// Puts a value where it belongs.
    #[inline]
    fn store(&mut self, value: Value, heap: &mut Heap) -> Result<(), Failure> {
        match self.stack.last_mut() {
            None => self.root = value,
            Some(Frame::Object { table, key }) => {
                heap.set(*table, Value::String(*key), value).map_err(refused)?;
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
        if self.scanner.next() == b'}' {
            self.scanner.skip();
            return Ok(());
        }
        let key = self.key(heap)?;
        self.stack.push(Frame::Object { table, key });
        self.slots += 2;
        self.expected = Expected::Value;
        Ok(())
    }

    fn open_array(&mut self, heap: &mut Heap) -> Result<(), Failure> {
        self.scanner.skip();
        self.descend(2)?;
        let table = heap.new_table(0, 0);
        self.store(Value::Table(table), heap)?;
        if self.scanner.next() == b']' {
            self.scanner.skip();
            return Ok(());
        }
        self.stack.push(Frame::Array { table, length: 0 });
        self.slots += 1;
        self.expected = Expected::Value;
        Ok(())
    }

    /// One table deeper, which needs `slots` of Lua's stack in the reference implementation.
    fn descend(&self, slots: usize) -> Result<(), Failure> {
        let depth = self.stack.len() + 1;
        if depth <= self.most_depth && self.slots + slots <= MOST_SLOTS {
            return Ok(());
        }
        let place = self.scanner.place();
        Err(Failure::Message(format!("Found too many nested data structures ({depth}) at character {place}")))
    }

    /// Reads a key, and the colon that follows it.
    #[inline]
    fn key(&mut self, heap: &mut Heap) -> Result<StringId, Failure> {
        const EXPECTED: &str = "object key string";
        if self.scanner.next() != b'"' {
            return Err(self.unexpected(EXPECTED));
        }
        let key = match self.scanner.string() {
            Ok(bytes) => heap.string(bytes),
            Err(found) => return Err(mismatch(EXPECTED, found)),
        };
        if self.scanner.next() != b':' {
            return Err(self.unexpected("colon"));
        }
        self.scanner.skip();
        Ok(key)
    }

    /// Reads what follows a value. Returns whether it was the end of the document.
    #[inline]
    fn rest(&mut self, heap: &mut Heap) -> Result<bool, Failure> {
        let byte = self.scanner.next();
        match self.stack.last() {
            None if byte == 0 => return Ok(true),
            None => return Err(self.unexpected("the end")),
            Some(Frame::Array { .. }) => match byte {
                b',' => {
                    self.scanner.skip();
                    self.expected = Expected::Value;
                }
                b']' => {
                    self.scanner.skip();
                    self.stack.pop();
                    self.slots -= 1;
                }
                _ => return Err(self.unexpected("comma or array end")),
            },
            Some(Frame::Object { .. }) => match byte {
                b',' => {
                    self.scanner.skip();
                    let next = self.key(heap)?;
                    if let Some(Frame::Object { key, .. }) = self.stack.last_mut() {
                        *key = next;
                    }
                    self.expected = Expected::Value;
                }
                b'}' => {
                    self.scanner.skip();
                    self.stack.pop();
                    self.slots -= 2;
                }
                _ => return Err(self.unexpected("comma or object end")),
            },
        }
        Ok(false)
    }

    /// The error for a token that is not what was `expected`.
    #[cold]
    fn unexpected(&mut self, expected: &str) -> Failure {
        mismatch(expected, self.scanner.found())
    }
}

#[cold]
fn mismatch(expected: &str, found: Found) -> Failure {
    let Found { name, place } = found;
    Failure::Message(format!("Expected {expected} but found {name} at character {}", place + 1))
}

/// A key that is a string is refused only for want of memory.
fn refused(_: TableError) -> Failure {
    Failure::from(OutOfMemory)
}
