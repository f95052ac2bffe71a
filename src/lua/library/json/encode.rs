//! Values as JSON.
//!
//! The tables that are being written are a stack of their own, so that depth costs no stack of the processor's, and the
//! work can stop after any value and go on later. A table becomes an array if all its keys are positive integers, and
//! not too far apart; see [`Encoder::array_length`]. Tables within tables can name a document that is larger than any
//! memory, hence the question to the heap before each further [`SLICE`] of output.

use super::config::{Config, Invalid};
use super::{Failure, MOST_SLOTS, SLICE};
use crate::lua::heap::Heap;
use crate::lua::number;
use crate::lua::value::{TableId, Value};
use crate::text::printf;

/// Digits of a number by default, for which `number` has a faster way.
const USUAL_PRECISION: usize = 14;

/// For each byte: 0, the letter that follows the backslash in its escape, or `u` for one in hexadecimal.
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

/// A table of which a part is written.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// The elements up to `done` are.
    Array { table: TableId, done: usize, length: usize },
    /// The pairs before `position` are.
    Object { table: TableId, position: usize },
}

/// What is written so far, and where to go on.
///
/// The tables in it stay valid while the value that was given to `start` is alive and not changed.
#[derive(Debug)]
pub struct Encoder {
    config: Config,
    out: Vec<u8>,
    stack: Vec<Frame>,
    /// How far the reference implementation would have filled Lua's stack.
    slots: usize,
}

impl Encoder {
    pub fn new(config: Config) -> Encoder {
        Encoder { config, out: Vec::with_capacity(128), stack: Vec::new(), slots: 1 }
    }

    /// Begins a document; `run` completes it.
    pub fn start(&mut self, value: Value, heap: &Heap) -> Result<(), Failure> {
        self.push_value(value, heap)
    }

    /// Writes a [`SLICE`] more, or a long string at once. Returns whether the document is complete.
    pub fn run(&mut self, heap: &Heap) -> Result<bool, Failure> {
        heap.afford(self.out.capacity() + SLICE)?;
        let stop = self.out.len() + SLICE;
        while let Some(frame) = self.stack.last_mut() {
            if self.out.len() >= stop {
                return Ok(false);
            }
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
                Frame::Object { table, position } => {
                    let Some((next, key, value)) = heap.table(*table).pair_from(*position) else {
                        self.out.push(b'}');
                        self.stack.pop();
                        self.slots -= 2;
                        continue;
                    };
                    *position = next;
                    self.push_key(key, heap)?;
                    self.push_value(value, heap)?;
                }
            }
        }
        Ok(true)
    }

    /// How many bytes are written.
    pub fn length(&self) -> usize {
        self.out.len()
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.stack.is_empty());
        self.out
    }

    /// Writes a value; of a table, the opening bracket.
    fn push_value(&mut self, value: Value, heap: &Heap) -> Result<(), Failure> {
        match value {
            Value::Nil | Value::Null => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.push_number(number)?,
            Value::String(string) => self.push_string(heap.bytes(string), heap)?,
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
        if let Some(length) = self.array_length(table, heap)? {
            self.out.push(b'[');
            self.stack.push(Frame::Array { table, done: 0, length });
            self.slots += 1;
        } else {
            self.out.push(b'{');
            self.stack.push(Frame::Object { table, position: 0 });
            self.slots += 2;
        }
        Ok(())
    }

    /// The length of a table that is written as an array: its largest key, if it has keys, and all of them are positive
    /// integers. If more of them are missing than the configuration allows, it is an error, or an object.
    ///
    /// The reference implementation counts in C's `int`. So does this, and larger keys make an object.
    fn array_length(&self, table: TableId, heap: &Heap) -> Result<Option<usize>, Failure> {
        let table = heap.table(table);
        let (mut largest, mut items) = (0i32, 0i32);
        for (index, value) in table.array().iter().enumerate() {
            if !value.is_nil() {
                largest = index as i32 + 1;
                items += 1;
            }
        }
        let mut position = table.array().len();
        while let Some((next, key, _)) = table.pair_from(position) {
            position = next;
            let Value::Number(number) = key else { return Ok(None) };
            if number < 1.0 || number.floor() != number {
                return Ok(None);
            }
            if number > f64::from(largest) {
                largest = if number <= f64::from(i32::MAX) { number as i32 } else { i32::MIN };
            }
            items = items.wrapping_add(1);
        }
        let ratio = self.config.encode_sparse_ratio;
        if ratio > 0 && largest > items.wrapping_mul(ratio) && largest > self.config.encode_sparse_safe {
            if self.config.encode_sparse_convert {
                return Ok(None);
            }
            return Err(Failure::Message("Cannot serialise table: excessively sparse array".to_string()));
        }
        Ok((largest > 0).then_some(largest as usize))
    }

    /// Writes what separates it from the pair before, the key, and a colon.
    fn push_key(&mut self, key: Value, heap: &Heap) -> Result<(), Failure> {
        // No complete value ends with it.
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        match key {
            Value::String(string) => {
                self.push_string(heap.bytes(string), heap)?;
                self.out.push(b':');
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

    fn push_string(&mut self, bytes: &[u8], heap: &Heap) -> Result<(), Failure> {
        if bytes.len() > SLICE {
            // Six times as long, if all of it has to be escaped.
            heap.afford(self.out.capacity() + bytes.len().saturating_mul(6))?;
        }
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        let mut rest = bytes;
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
        self.out.push(b'"');
        Ok(())
    }
}

fn cannot(value: Value, reason: &str) -> Failure {
    Failure::Message(format!("Cannot serialise {}: {reason}", value.type_name()))
}
