//! Encodes values as JSON.
//!
//! The tables being written are on an explicit stack, so nesting takes no space on the native stack, and the work can
//! be suspended after any value. A table becomes an array if all its keys are positive integers and not too far apart;
//! see [`Opening::look_at`]. Shared tables can produce a document larger than any memory, so the heap is asked for room
//! before each [`SLICE`] of output.

use super::config::{Config, Invalid};
use super::{Failure, MOST_SLOTS, SLICE};
use crate::lua::heap::{Heap, Walk};
use crate::lua::machine::{PIECE_SLOTS, SLOTS_PER_STEP};
use crate::lua::number;
use crate::lua::value::{StringId, TableId, Value};
use crate::text::printf;

/// The default number of significant digits, for which `number` has a faster path.
const USUAL_PRECISION: usize = 14;

/// For each byte: 0, the letter after the backslash in its escape, or `u` for a hexadecimal escape.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[0x7f] = b'u';
    escapes[0x08] = b'b';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[0x0c] = b'f';
    escapes[b'\r' as usize] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'/' as usize] = b'/';
    escapes
};

/// A table of which a part has been written.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// The elements up to `done` are written.
    Array { table: TableId, done: usize, length: usize },
    /// The pairs before `position` are written, except for `value`, which belongs to the last of them.
    Object { table: TableId, position: usize, value: Option<Value> },
}

/// A large table whose keys are being checked; those in the slots before `position` have been.
#[derive(Clone, Copy, Debug)]
struct Opening {
    table: TableId,
    position: usize,
    keys: Keys,
}

/// The keys of a table that have been checked so far.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    largest: i32,
    items: i32,
}

/// A string of which a part has been written.
#[derive(Clone, Copy, Debug)]
struct Writing {
    string: StringId,
    at: usize,
    is_key: bool,
}

/// The output so far, and where to continue.
///
/// Its tables stay valid while the value given to `start` is alive and unchanged.
#[derive(Debug)]
pub struct Encoder {
    config: Config,
    out: Vec<u8>,
    stack: Vec<Frame>,
    opening: Option<Opening>,
    writing: Option<Writing>,
    /// Slots of tables checked since the last [`Encoder::take_steps`].
    looked_at: usize,
    /// The number of Lua stack slots that the reference implementation would use.
    slots: usize,
}

impl Encoder {
    pub fn new(config: Config) -> Encoder {
        Encoder {
            config,
            out: Vec::with_capacity(128),
            stack: Vec::new(),
            opening: None,
            writing: None,
            looked_at: 0,
            slots: 1,
        }
    }

    /// Begins a document; `run` completes it.
    pub fn start(&mut self, value: Value, heap: &Heap) -> Result<(), Failure> {
        self.push_value(value, heap)
    }

    /// Writes another [`SLICE`]. Returns whether the document is complete.
    pub fn run(&mut self, heap: &Heap) -> Result<bool, Failure> {
        heap.afford(self.out.capacity() + SLICE)?;
        let stop = self.out.len() + SLICE;
        loop {
            if self.out.len() >= stop || self.looked_at > SLICE {
                return Ok(false);
            }
            if let Some(writing) = self.writing.take() {
                self.go_on_writing(writing, heap);
                continue;
            }
            if let Some(opening) = self.opening.take() {
                self.go_on_opening(opening, heap)?;
                continue;
            }
            let Some(frame) = self.stack.last_mut() else { return Ok(true) };
            match frame {
                Frame::Array { done, length, .. } if done == length => {
                    self.out.push(b']');
                    self.stack.pop();
                    self.slots -= 1;
                }
                Frame::Array { table, done, .. } => {
                    if *done > 0 {
                        self.out.push(b',');
                    }
                    *done += 1;
                    let value = heap.get_index(*table, *done);
                    self.push_value(value, heap)?;
                }
                Frame::Object { value, .. } if value.is_some() => {
                    let value = value.take().unwrap_or_default();
                    self.push_value(value, heap)?;
                }
                Frame::Object { table, position, value: pending } => {
                    match heap.table(*table).pair_within(*position, PIECE_SLOTS) {
                        Walk::Pair(next, key, value) => {
                            self.looked_at += next - *position;
                            *position = next;
                            *pending = Some(value);
                            self.push_key(key, heap)?;
                        }
                        Walk::Empty(next) => {
                            self.looked_at += next - *position;
                            *position = next;
                        }
                        Walk::End => {
                            self.looked_at += heap.table(*table).slots().saturating_sub(*position);
                            self.out.push(b'}');
                            self.stack.pop();
                            self.slots -= 2;
                        }
                    }
                }
            }
        }
    }

    /// The steps to charge for checked slots.
    pub fn take_steps(&mut self) -> usize {
        std::mem::take(&mut self.looked_at) / SLOTS_PER_STEP
    }

    /// The number of bytes written.
    pub fn length(&self) -> usize {
        self.out.len()
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.stack.is_empty());
        self.out
    }

    /// Writes a value; for a table, the opening bracket.
    fn push_value(&mut self, value: Value, heap: &Heap) -> Result<(), Failure> {
        match value {
            Value::Nil | Value::Null => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.push_number(number)?,
            Value::String(string) => self.push_string(string, false, heap)?,
            Value::Table(table) => self.open(table, heap)?,
            Value::Function(_) | Value::Thread(_) | Value::Proxy(_) => {
                return Err(cannot(value, "type not supported"));
            }
        }
        Ok(())
    }

    fn open(&mut self, table: TableId, heap: &Heap) -> Result<(), Failure> {
        let depth = self.stack.len() + 1;
        if depth > self.config.encode_max_depth as usize || self.slots + 3 > MOST_SLOTS {
            return Err(Failure::Message(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        let mut opening = Opening { table, position: 0, keys: Keys::default() };
        if heap.table(table).slots() > PIECE_SLOTS {
            self.opening = Some(opening);
            return Ok(());
        }
        self.looked_at += heap.table(table).slots();
        let is_array = opening.look_at(PIECE_SLOTS, heap) == Some(true);
        self.open_as(table, is_array.then_some(opening.keys))
    }

    /// Checks more slots of the table that is being opened.
    fn go_on_opening(&mut self, mut opening: Opening, heap: &Heap) -> Result<(), Failure> {
        self.looked_at += PIECE_SLOTS;
        match opening.look_at(PIECE_SLOTS, heap) {
            None => self.opening = Some(opening),
            Some(is_array) => self.open_as(opening.table, is_array.then_some(opening.keys))?,
        }
        Ok(())
    }

    /// Writes the opening bracket of a table; it becomes an array if all its keys are positive integers.
    fn open_as(&mut self, table: TableId, keys: Option<Keys>) -> Result<(), Failure> {
        let length = match keys {
            Some(keys) => self.array_length(keys)?,
            None => None,
        };
        if let Some(length) = length {
            self.out.push(b'[');
            self.stack.push(Frame::Array { table, done: 0, length });
            self.slots += 1;
        } else {
            self.out.push(b'{');
            self.stack.push(Frame::Object { table, position: 0, value: None });
            self.slots += 2;
        }
        Ok(())
    }

    /// Returns the length of a table as an array, which is its largest key. Returns `None` to write an object: for an
    /// empty table, or for a sparse one if the configuration converts it. Otherwise a sparse table is an error.
    ///
    /// The reference implementation counts in C's `int`. So does this, and larger keys make an object.
    fn array_length(&self, Keys { largest, items }: Keys) -> Result<Option<usize>, Failure> {
        let ratio = self.config.encode_sparse_ratio;
        if ratio > 0 && largest > items.wrapping_mul(ratio) && largest > self.config.encode_sparse_safe {
            if self.config.encode_sparse_convert {
                return Ok(None);
            }
            return Err(Failure::Message("Cannot serialise table: excessively sparse array".to_string()));
        }
        Ok((largest > 0).then_some(largest as usize))
    }

    /// Writes the separator from the previous pair, the key, and a colon.
    fn push_key(&mut self, key: Value, heap: &Heap) -> Result<(), Failure> {
        // No complete value ends with this byte.
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        match key {
            Value::String(string) => {
                self.push_string(string, true, heap)?;
            }
            Value::Number(number) => {
                self.out.push(b'"');
                self.push_number(number)?;
                self.out.extend_from_slice(b"\":");
            }
            _ => return Err(cannot(key, "table key must be a number or string")),
        }
        Ok(())
    }

    fn push_number(&mut self, number: f64) -> Result<(), Failure> {
        if !number.is_finite() {
            match self.config.encode_invalid_numbers {
                Invalid::Off => return Err(cannot(Value::Number(number), "must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::On if number.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::On => {}
            }
        }
        let precision = self.config.encode_number_precision as usize;
        if precision == USUAL_PRECISION {
            number::format(number, &mut self.out);
        } else {
            printf::push_general(&mut self.out, number, precision);
        }
        Ok(())
    }

    fn push_string(&mut self, string: StringId, is_key: bool, heap: &Heap) -> Result<(), Failure> {
        let bytes = heap.bytes(string);
        if bytes.len() > SLICE {
            // Escaping every byte makes it six times as long.
            heap.afford(self.out.capacity() + bytes.len().saturating_mul(6))?;
        }
        self.out.reserve(bytes.len().min(SLICE) + 2);
        self.out.push(b'"');
        self.go_on_writing(Writing { string, at: 0, is_key }, heap);
        Ok(())
    }

    /// Writes a part of a string.
    #[inline]
    fn go_on_writing(&mut self, Writing { string, at, is_key }: Writing, heap: &Heap) {
        let bytes = &heap.bytes(string)[at..];
        let mut rest = &bytes[..bytes.len().min(SLICE)];
        let end = at + rest.len();
        while let Some(plain) = rest.iter().position(|&byte| ESCAPES[byte as usize] != 0) {
            self.out.extend_from_slice(&rest[..plain]);
            match ESCAPES[rest[plain] as usize] {
                b'u' => {
                    let byte = rest[plain] as usize;
                    let digits = b"0123456789abcdef";
                    let escape = [b'\\', b'u', b'0', b'0', digits[byte >> 4], digits[byte & 15]];
                    self.out.extend_from_slice(&escape);
                }
                letter => self.out.extend_from_slice(&[b'\\', letter]),
            }
            rest = &rest[plain + 1..];
        }
        self.out.extend_from_slice(rest);
        if bytes.len() > SLICE {
            self.writing = Some(Writing { string, at: end, is_key });
            return;
        }
        self.out.push(b'"');
        if is_key {
            self.out.push(b':');
        }
    }
}

impl Opening {
    /// Checks up to `most` more slots. Returns whether all keys are positive integers, once that is known.
    fn look_at(&mut self, most: usize, heap: &Heap) -> Option<bool> {
        let table = heap.table(self.table);
        let end = self.position + most;
        let Keys { largest, items } = &mut self.keys;
        let array = table.array();
        let in_array = end.min(array.len());
        for (index, value) in array.iter().enumerate().take(in_array).skip(self.position) {
            if !value.is_nil() {
                *largest = index as i32 + 1;
                *items = items.wrapping_add(1);
            }
        }
        self.position = self.position.max(in_array);
        while self.position < end {
            match table.pair_within(self.position, end - self.position) {
                Walk::Pair(next, key, _) => {
                    self.position = next;
                    let Value::Number(number) = key else { return Some(false) };
                    if number < 1.0 || number.floor() != number {
                        return Some(false);
                    }
                    if number > f64::from(*largest) {
                        *largest = if number <= f64::from(i32::MAX) { number as i32 } else { i32::MIN };
                    }
                    *items = items.wrapping_add(1);
                }
                Walk::Empty(next) => self.position = next,
                Walk::End => return Some(true),
            }
        }
        (self.position >= table.slots()).then_some(true)
    }
}

fn cannot(value: Value, reason: &str) -> Failure {
    Failure::Message(format!("Cannot serialise {}: {reason}", value.type_name()))
}
