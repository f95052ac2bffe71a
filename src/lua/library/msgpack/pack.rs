//! Values as MessagePack.
//!
//! The tables that are being written are a stack of their own. It is never deep, since a table within 16 others becomes
//! nil, but tables that share tables can name more bytes than there is memory for, hence the question to the heap before
//! each further slice of output.

use super::{SLICE, format};
use crate::lua::heap::{Heap, OutOfMemory};
use crate::lua::value::{TableId, Value};

/// A table within so many others becomes nil.
const MOST_DEPTH: usize = 16;

/// A table of which a part is written.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// The elements up to `done` are.
    Array { table: TableId, done: usize, length: usize },
    /// The pairs before `position` are, but for the value of the last of them, unless it is nil.
    Map { table: TableId, position: usize, value: Value },
}

/// What is written so far, and where to go on.
///
/// The objects in it stay valid while the value that was given to `start` is alive and not changed.
#[derive(Debug, Default)]
pub struct Packer {
    out: Vec<u8>,
    stack: Vec<Frame>,
}

impl Packer {
    /// Begins a value, which `run` completes.
    pub fn start(&mut self, value: Value, heap: &Heap) -> Result<(), OutOfMemory> {
        self.push_value(value, heap)
    }

    /// Writes a slice more, or a long string at once. Returns whether the value is complete.
    pub fn run(&mut self, heap: &Heap) -> Result<bool, OutOfMemory> {
        heap.afford(self.out.capacity() + SLICE)?;
        let stop = self.out.len() + SLICE;
        while let Some(frame) = self.stack.last_mut() {
            if self.out.len() >= stop {
                return Ok(false);
            }
            let next = match frame {
                Frame::Array { table, done, length } => {
                    *done += 1;
                    (*done <= *length).then(|| heap.get_index(*table, *done))
                }
                Frame::Map { value, .. } if !value.is_nil() => Some(std::mem::take(value)),
                Frame::Map { table, position, value } => {
                    heap.table(*table).pair_from(*position).map(|(next, next_key, next_value)| {
                        (*position, *value) = (next, next_value);
                        next_key
                    })
                }
            };
            match next {
                Some(value) => self.push_value(value, heap)?,
                None => {
                    self.stack.pop();
                }
            }
        }
        Ok(true)
    }

    /// How many bytes are written.
    pub fn length(&self) -> usize {
        self.out.len()
    }

    /// The values that are written.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.stack.is_empty());
        self.out
    }

    /// Writes a value; of a table, the number of its elements.
    fn push_value(&mut self, value: Value, heap: &Heap) -> Result<(), OutOfMemory> {
        match value {
            Value::Boolean(true) => self.out.push(format::TRUE),
            Value::Boolean(false) => self.out.push(format::FALSE),
            Value::Number(number) => self.push_number(number),
            Value::String(string) => {
                let bytes = heap.bytes(string);
                if bytes.len() > SLICE {
                    heap.afford(self.out.capacity() + 2 * bytes.len())?;
                }
                self.push_length(
                    bytes.len(),
                    format::FIRST_STRING,
                    31,
                    Some(format::STRING_8),
                    format::STRING_16,
                );
                self.out.extend_from_slice(bytes);
            }
            Value::Table(table) if self.stack.len() < MOST_DEPTH => self.open(table, heap),
            _ => self.out.push(format::NIL),
        }
        Ok(())
    }

    fn open(&mut self, table: TableId, heap: &Heap) {
        if let Some(length) = array_length(table, heap) {
            self.push_length(length, format::FIRST_ARRAY, 15, None, format::ARRAY_16);
            self.stack.push(Frame::Array { table, done: 0, length });
        } else {
            let (mut position, mut count) = (0, 0);
            while let Some((next, ..)) = heap.table(table).pair_from(position) {
                position = next;
                count += 1;
            }
            self.push_length(count, format::FIRST_MAP, 15, None, format::MAP_16);
            self.stack.push(Frame::Map { table, position: 0, value: Value::Nil });
        }
    }

    /// A length in the fewest bytes: up to `most_short` in the byte `short` itself, then after a byte that says how many
    /// bytes it has, of which the one for four follows that for two, `long`.
    fn push_length(&mut self, length: usize, short: u8, most_short: usize, byte: Option<u8>, long: u8) {
        match (length, byte) {
            (..=31, _) if length <= most_short => self.out.push(short | length as u8),
            (..=0xff, Some(byte)) => self.out.extend_from_slice(&[byte, length as u8]),
            (..=0xffff, _) => self.push_number_of(long, length as u64, 2),
            _ => self.push_number_of(long + 1, length as u64, 4),
        }
    }

    /// An integer if it is one, the shorter kind of double if that is the same number, or else the longer.
    fn push_number(&mut self, number: f64) {
        let integer = number as i64;
        if integer as f64 == number && integer != i64::MAX {
            self.push_integer(integer);
        } else if f64::from(number as f32) == number {
            self.push_number_of(format::FLOAT_32, u64::from((number as f32).to_bits()), 4);
        } else {
            self.push_number_of(format::FLOAT_64, number.to_bits(), 8);
        }
    }

    fn push_integer(&mut self, integer: i64) {
        let bits = integer as u64;
        match integer {
            -32..=127 => self.out.push(integer as u8),
            128..=0xff => self.push_number_of(format::UNSIGNED_8, bits, 1),
            0x100..=0xffff => self.push_number_of(format::UNSIGNED_16, bits, 2),
            0x1_0000..=0xffff_ffff => self.push_number_of(format::UNSIGNED_32, bits, 4),
            0x1_0000_0000.. => self.push_number_of(format::UNSIGNED_64, bits, 8),
            -0x80..-32 => self.push_number_of(format::SIGNED_8, bits, 1),
            -0x8000..-0x80 => self.push_number_of(format::SIGNED_16, bits, 2),
            -0x8000_0000..-0x8000 => self.push_number_of(format::SIGNED_32, bits, 4),
            _ => self.push_number_of(format::SIGNED_64, bits, 8),
        }
    }

    /// `kind`, and the lowest `size` bytes of `bits`.
    fn push_number_of(&mut self, kind: u8, bits: u64, size: usize) {
        self.out.push(kind);
        self.out.extend_from_slice(&bits.to_be_bytes()[8 - size..]);
    }
}

/// The number of elements, if the keys of the table are the integers from 1 to that number, as they are of an empty
/// table. Keys are compared as C's `int`: a larger one makes a map.
fn array_length(table: TableId, heap: &Heap) -> Option<usize> {
    let table = heap.table(table);
    let (mut largest, mut count) = (0.0, 0);
    let mut position = 0;
    while let Some((next, key, _)) = table.pair_from(position) {
        position = next;
        let Value::Number(number) = key else { return None };
        if number <= 0.0 || number > f64::from(i32::MAX) || number.floor() != number {
            return None;
        }
        largest = number.max(largest);
        count += 1;
    }
    (largest == f64::from(count)).then_some(count as usize)
}
