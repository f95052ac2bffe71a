//! Packs values as MessagePack.
//!
//! The tables being written are on an explicit stack. It is never deep, since a table within 16 others becomes nil. But
//! tables that share tables can stand for more bytes than there is memory, so the heap is asked for room before each
//! further slice of output.

use super::{SLICE, format};
use crate::lua::heap::{Heap, OutOfMemory, Walk};
use crate::lua::machine::{PIECE_SLOTS, SLOTS_PER_STEP};
use crate::lua::value::{StringId, TableId, Value};

/// A table within this many others becomes nil.
const MOST_DEPTH: usize = 16;

/// A table of which a part has been written.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// The elements up to `done` are written.
    Array { table: TableId, done: usize, length: usize },
    /// The pairs before `position` are written, except for the last one's `value` unless that is nil.
    Map { table: TableId, position: usize, value: Value },
}

/// The output so far, and where to continue.
///
/// Its objects stay valid while the value given to `start` is alive and unchanged.
#[derive(Debug, Default)]
pub struct Packer {
    out: Vec<u8>,
    stack: Vec<Frame>,
    /// A table whose pairs are being counted.
    opening: Option<Opening>,
    /// A string being written, and how many of its bytes are.
    writing: Option<(StringId, usize)>,
    /// Slots of tables checked since the last `take_steps`.
    looked_at: usize,
}

/// A table whose slots before `position` have been checked.
#[derive(Clone, Copy, Debug)]
struct Opening {
    table: TableId,
    position: usize,
    /// The number of pairs in these slots, and their largest key.
    count: usize,
    largest: f64,
    /// Whether all keys are positive integers.
    has_indexes: bool,
}

impl Packer {
    /// Begins a value; `run` completes it.
    pub fn start(&mut self, value: Value, heap: &Heap) -> Result<(), OutOfMemory> {
        self.push_value(value, heap)
    }

    /// Writes another slice. Returns whether the value is complete.
    pub fn run(&mut self, heap: &Heap) -> Result<bool, OutOfMemory> {
        heap.afford(self.out.capacity() + SLICE)?;
        let stop = self.out.len() + SLICE;
        loop {
            if self.out.len() >= stop || self.looked_at > SLICE {
                return Ok(false);
            }
            if let Some((string, at)) = self.writing.take() {
                self.go_on_writing(string, at, heap);
                continue;
            }
            if let Some(opening) = self.opening.take() {
                self.go_on_opening(opening, heap);
                continue;
            }
            let Some(frame) = self.stack.last_mut() else { return Ok(true) };
            let next = match frame {
                Frame::Array { table, done, length } => {
                    *done += 1;
                    (*done <= *length).then(|| heap.get_index(*table, *done))
                }
                Frame::Map { value, .. } if !value.is_nil() => Some(std::mem::take(value)),
                Frame::Map { table, position, value } => {
                    match heap.table(*table).pair_within(*position, PIECE_SLOTS) {
                        Walk::Pair(next, next_key, next_value) => {
                            self.looked_at += next - *position;
                            (*position, *value) = (next, next_value);
                            Some(next_key)
                        }
                        Walk::Empty(next) => {
                            self.looked_at += next - *position;
                            *position = next;
                            continue;
                        }
                        Walk::End => {
                            self.looked_at += heap.table(*table).slots().saturating_sub(*position);
                            None
                        }
                    }
                }
            };
            match next {
                Some(value) => self.push_value(value, heap)?,
                None => {
                    self.stack.pop();
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

    /// The packed values.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.stack.is_empty());
        self.out
    }

    /// Writes a value; for a table, the number of its elements.
    fn push_value(&mut self, value: Value, heap: &Heap) -> Result<(), OutOfMemory> {
        match value {
            Value::Boolean(true) => self.out.push(format::TRUE),
            Value::Boolean(false) => self.out.push(format::FALSE),
            Value::Number(number) => self.push_number(number),
            Value::String(string) => {
                let bytes = heap.bytes(string);
                if bytes.len() > SLICE {
                    heap.afford(self.out.capacity() + 2 * bytes.len())?;
                    self.out.reserve(bytes.len());
                }
                self.push_length(
                    bytes.len(),
                    format::FIRST_STRING,
                    31,
                    Some(format::STRING_8),
                    format::STRING_16,
                );
                self.go_on_writing(string, 0, heap);
            }
            Value::Table(table) if self.stack.len() < MOST_DEPTH => self.open(table, heap),
            _ => self.out.push(format::NIL),
        }
        Ok(())
    }

    /// Writes a part of a string.
    #[inline]
    fn go_on_writing(&mut self, string: StringId, at: usize, heap: &Heap) {
        let rest = &heap.bytes(string)[at..];
        let piece = &rest[..rest.len().min(SLICE)];
        self.out.extend_from_slice(piece);
        if piece.len() < rest.len() {
            self.writing = Some((string, at + piece.len()));
        }
    }

    fn open(&mut self, table: TableId, heap: &Heap) {
        let opening = Opening { table, position: 0, count: 0, largest: 0.0, has_indexes: true };
        if heap.table(table).slots() > PIECE_SLOTS {
            self.opening = Some(opening);
        } else {
            self.go_on_opening(opening, heap);
        }
    }

    /// Counts more pairs of a table, and writes their number after the last one. The table is an array if its keys are
    /// the integers from 1 to that number, or if it is empty. Keys are C `int`s, so a larger one makes a map.
    fn go_on_opening(&mut self, mut opening: Opening, heap: &Heap) {
        let (table, from) = (heap.table(opening.table), opening.position);
        let end = from + PIECE_SLOTS;
        while opening.position < end {
            match table.pair_within(opening.position, end - opening.position) {
                Walk::Pair(next, key, _) => {
                    opening.position = next;
                    opening.count += 1;
                    match key {
                        Value::Number(number)
                            if number > 0.0 && number <= f64::from(i32::MAX) && number.floor() == number =>
                        {
                            opening.largest = number.max(opening.largest);
                        }
                        _ => opening.has_indexes = false,
                    }
                }
                Walk::Empty(next) => opening.position = next,
                Walk::End => opening.position = end,
            }
        }
        self.looked_at += table.slots().min(end) - from.min(table.slots());
        if end < table.slots() {
            self.opening = Some(opening);
            return;
        }
        let Opening { table, count, largest, has_indexes, .. } = opening;
        if has_indexes && largest == count as f64 {
            self.push_length(count, format::FIRST_ARRAY, 15, None, format::ARRAY_16);
            self.stack.push(Frame::Array { table, done: 0, length: count });
        } else {
            self.push_length(count, format::FIRST_MAP, 15, None, format::MAP_16);
            self.stack.push(Frame::Map { table, position: 0, value: Value::Nil });
        }
    }

    /// Writes a length in the fewest bytes: in the byte `short` up to `most_short`; as one byte after `byte`, if there
    /// is such a form; as two bytes after `long`; or as four bytes after `long + 1`.
    fn push_length(&mut self, length: usize, short: u8, most_short: usize, byte: Option<u8>, long: u8) {
        match (length, byte) {
            (..=31, _) if length <= most_short => self.out.push(short | length as u8),
            (..=0xff, Some(byte)) => self.out.extend_from_slice(&[byte, length as u8]),
            (..=0xffff, _) => self.push_number_of(long, length as u64, 2),
            _ => self.push_number_of(long + 1, length as u64, 4),
        }
    }

    /// Writes an integral number as an integer, and others as a 32-bit float if that is exact, or else as a 64-bit one.
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

    /// Writes `kind` and the lowest `size` bytes of `bits`.
    fn push_number_of(&mut self, kind: u8, bits: u64, size: usize) {
        self.out.push(kind);
        self.out.extend_from_slice(&bits.to_be_bytes()[8 - size..]);
    }
}
