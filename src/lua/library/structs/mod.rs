//! `struct`: packs numbers and strings into the bytes of a C structure and back, like the module of that name in Redis,
//! version 0.2.
//!
//! A format is a string of options (`format.rs`). Packing, unpacking and computing the size all walk it, in time
//! proportional to the length of the format and the bytes.

mod format;
#[cfg(test)]
mod tests;

use memchr::memchr;

use self::format::{Format, Item, Wrong};
use crate::lua::machine::{BYTES_PER_STEP, Call, Continue, Machine, Native, Outcome, PIECE_BYTES, Raised};
use crate::lua::number;
use crate::lua::value::{StringId, Value};

/// The number of Lua stack slots that a C function may use: the reference implementation unpacks no more values.
const MOST_SLOTS: usize = 8000;

/// Makes the module a global.
pub fn open(machine: &mut Machine) {
    let module = machine.heap.new_table(0, 3);
    let functions: [(&'static str, Native); 3] = [("pack", pack), ("unpack", unpack), ("size", size)];
    for (name, native) in functions {
        machine.register(module, name, native);
    }
    super::publish(machine, "struct", module);
}

fn raise(machine: &mut Machine, wrong: Wrong) -> Raised {
    match wrong {
        Wrong::Size(text) => machine.error(text),
        Wrong::Option(letter) => {
            machine.bad_argument_bytes(1, &[b"invalid format option '", &[letter][..], b"'"].concat())
        }
    }
}

/// The number of options executed between two checks of the budget.
const OPTIONS_AT_ONCE: usize = 1000;

/// `struct.pack(format, value, …)`
fn pack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    machine.check_string(call, 1)?;
    Packing { format: Format::new(), out: Vec::new(), n: 1, copying: None }.go_on(machine, call)
}

/// The state of `pack`.
#[derive(Debug)]
struct Packing {
    format: Format,
    out: Vec<u8>,
    /// The number of the last packed argument.
    n: usize,
    /// The bytes of that argument left to copy, if it is a string.
    copying: Option<Copying>,
}

#[derive(Clone, Copy, Debug)]
struct Copying {
    at: usize,
    end: usize,
    /// The bytes to append after the string.
    ending: &'static [u8],
}

impl Packing {
    fn go_on(mut self, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let text = machine.check_string(call, 1)?;
        loop {
            let (place, length) = (self.format.place(), self.out.len());
            let is_done = self.step(machine, call, text)?;
            let options = self.format.place() - place;
            let has_time = machine.charge(options / 2 + (self.out.len() - length) / BYTES_PER_STEP);
            if is_done {
                machine.afford(self.out.len())?;
                let string = machine.heap.string_from(self.out);
                return machine.one(Value::String(string));
            }
            if !has_time {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
    }

    /// Executes more options, or copies more bytes. Returns whether packing is done.
    fn step(&mut self, machine: &mut Machine, call: Call, text: StringId) -> Result<bool, Raised> {
        for _ in 0..OPTIONS_AT_ONCE {
            if let Some(Copying { at, end, ending }) = self.copying.take() {
                let string = machine.check_string(call, self.n)?;
                let to = end.min(at + PIECE_BYTES);
                self.out.extend_from_slice(&machine.heap.bytes(string)[at..to]);
                if to < end {
                    self.copying = Some(Copying { at: to, end, ending });
                } else {
                    self.out.extend_from_slice(ending);
                }
                return Ok(false);
            }
            let item = self.format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))?;
            let Some(item) = item else { return Ok(true) };
            self.pack(machine, call, text, item)?;
        }
        Ok(false)
    }

    /// Executes an option.
    fn pack(&mut self, machine: &mut Machine, call: Call, text: StringId, item: Item) -> Result<(), Raised> {
        let Packing { format, out, n, .. } = self;
        out.resize(out.len() + format.padding(out.len(), item), 0);
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                *n += 1;
                let value = number::to_unsigned(check_number(machine, call, *n)?);
                push_integer(out, value, item.size, format.is_little_endian);
            }
            b'f' => {
                *n += 1;
                let value = check_number(machine, call, *n)? as f32;
                push_integer(out, u64::from(value.to_bits()), 4, format.is_little_endian);
            }
            b'd' => {
                *n += 1;
                let value = check_number(machine, call, *n)?;
                push_integer(out, value.to_bits(), 8, format.is_little_endian);
            }
            b'x' => out.push(0),
            b'c' | b's' => {
                *n += 1;
                self.copying = push_string(machine, call, *n, item, out)?;
            }
            letter => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))?;
            }
        }
        Ok(())
    }
}

impl Continue for Packing {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(machine, call)
    }

    fn heap_bytes(&self) -> usize {
        self.out.capacity()
    }
}

/// Returns the `n`th argument as a number. The reference implementation pushes a nil after the last argument.
fn check_number(machine: &mut Machine, call: Call, n: usize) -> Result<f64, Raised> {
    if n > call.count() {
        return Err(machine.bad_argument(n, "number expected, got nil"));
    }
    machine.check_number(call, n)
}

/// Appends the `n`th argument, which is a string. Returns the part of a long one that has to be copied later.
fn push_string(
    machine: &mut Machine,
    call: Call,
    n: usize,
    item: Item,
    out: &mut Vec<u8>,
) -> Result<Option<Copying>, Raised> {
    if n > call.count() {
        return Err(machine.bad_argument(n, "string expected, got nil"));
    }
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    let size = if item.size == 0 { length } else { item.size };
    if length < size {
        // Redis blames the next argument.
        return Err(machine.bad_argument(n + 1, "string too short"));
    }
    machine.afford(out.len() + size)?;
    let ending: &[u8] = if item.letter == b's' { &[0] } else { &[] };
    if size > PIECE_BYTES {
        return Ok(Some(Copying { at: 0, end: size, ending }));
    }
    out.extend_from_slice(&machine.heap.bytes(string)[..size]);
    out.extend_from_slice(ending);
    Ok(None)
}

/// Appends the lowest `size` bytes of a value, as zeros from the ninth on.
fn push_integer(out: &mut Vec<u8>, value: u64, size: usize, is_little_endian: bool) {
    let start = out.len();
    out.extend((0..size).map(|index| value.checked_shr(8 * index as u32).unwrap_or(0) as u8));
    if !is_little_endian {
        out[start..].reverse();
    }
}

/// `struct.unpack(format, text [, position])`: the values, and the position after them.
fn unpack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    machine.check_string(call, 1)?;
    machine.check_string(call, 2)?;
    let position = number::to_integer(machine.optional_number(call, 3, 1.0)?);
    if position == 0 {
        return Err(machine.bad_argument(3, "offset must be 1 or greater"));
    }
    // A negative position becomes a very large one.
    let position = (position as usize).wrapping_sub(1);
    Unpacking { format: Format::new(), position, count: 0, copying: None }.go_on(machine, call)
}

/// The state of `unpack`.
#[derive(Debug)]
struct Unpacking {
    format: Format,
    position: usize,
    /// The number of values on the stack.
    count: usize,
    /// A long string being copied, with its position and its end.
    copying: Option<(Vec<u8>, usize, usize)>,
}

impl Unpacking {
    fn go_on(mut self, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let (text, data) = (machine.check_string(call, 1)?, machine.check_string(call, 2)?);
        loop {
            let place = self.format.place();
            let is_done = self.step(machine, call, text, data)?;
            let has_time = machine.charge((self.format.place() - place) / 2);
            if is_done {
                machine.push(Value::Number(self.position.wrapping_add(1) as i64 as f64));
                return Ok(Outcome::Values(self.count + 1));
            }
            if !has_time {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
    }

    /// Executes more options, or copies more bytes. Returns whether unpacking is done.
    fn step(
        &mut self,
        machine: &mut Machine,
        call: Call,
        text: StringId,
        data: StringId,
    ) -> Result<bool, Raised> {
        for _ in 0..OPTIONS_AT_ONCE {
            if let Some((mut copied, from, to)) = self.copying.take() {
                if !machine.copy_in_pieces(data, from, to, &mut copied) {
                    self.copying = Some((copied, from, to));
                    return Ok(false);
                }
                let string = machine.heap.string_from(copied);
                machine.push(Value::String(string));
                self.count += 1;
            }
            let item = self.format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))?;
            let Some(item) = item else { return Ok(true) };
            self.unpack(machine, call, (text, data), item)?;
        }
        Ok(false)
    }

    /// Executes an option.
    fn unpack(
        &mut self,
        machine: &mut Machine,
        call: Call,
        (text, data): (StringId, StringId),
        mut item: Item,
    ) -> Result<(), Raised> {
        let Unpacking { format, position, count, .. } = self;
        let length = machine.heap.bytes(data).len();
        *position = position.wrapping_add(format.padding(*position, item));
        check_data(machine, length, *position, item.size)?;
        if call.count() + *count + 2 > MOST_SLOTS {
            return Err(machine.error("stack overflow (too many results)"));
        }
        if item.letter == b'c' && item.size == 0 {
            item.size = pop_size(machine, *count)?;
            *count -= 1;
            check_data(machine, length, *position, item.size)?;
        }
        let bytes = &machine.heap.bytes(data)[*position..];
        let value = match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let is_signed = item.letter.is_ascii_lowercase();
                Value::Number(integer(&bytes[..item.size], format.is_little_endian, is_signed))
            }
            b'f' => {
                let bits = unsigned(&bytes[..4], format.is_little_endian) as u32;
                Value::Number(f64::from(f32::from_bits(bits)))
            }
            b'd' => Value::Number(f64::from_bits(unsigned(&bytes[..8], format.is_little_endian))),
            b's' | b'c' => {
                let size = if item.letter == b'c' {
                    item.size
                } else {
                    let Some(end) = memchr(0, bytes) else {
                        return Err(machine.error("unfinished string in data"));
                    };
                    item.size = end + 1;
                    end
                };
                machine.afford(size)?;
                let from = *position;
                *position += item.size;
                self.copying = Some((Vec::new(), from, from + size));
                return Ok(());
            }
            b'x' => {
                *position += 1;
                return Ok(());
            }
            letter => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))?;
                return Ok(());
            }
        };
        machine.push(value);
        *count += 1;
        *position += item.size;
        Ok(())
    }
}

impl Continue for Unpacking {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(machine, call)
    }

    fn heap_bytes(&self) -> usize {
        self.copying.as_ref().map_or(0, |(copied, ..)| copied.capacity())
    }
}

fn check_data(machine: &mut Machine, length: usize, position: usize, size: usize) -> Result<(), Raised> {
    if position.checked_add(size).is_some_and(|end| end <= length) {
        return Ok(());
    }
    Err(machine.bad_argument(2, "data string too short"))
}

/// Pops the value before a `c0`: its size.
fn pop_size(machine: &mut Machine, count: usize) -> Result<usize, Raised> {
    let size = if count == 0 { None } else { machine.heap.to_number(machine.from_top(1)) };
    let Some(size) = size else { return Err(machine.error("format 'c0' needs a previous size")) };
    machine.pop();
    Ok(number::to_unsigned(size) as usize)
}

/// Returns the number in the bytes. Of more than eight bytes, only the lowest eight count.
fn unsigned(bytes: &[u8], is_little_endian: bool) -> u64 {
    let add = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    if is_little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}

/// Like `unsigned`, or with the highest bit of the bytes as the sign.
///
/// With more than eight bytes, the sign bit is where x86-64 shifts it: at its position modulo 64.
fn integer(bytes: &[u8], is_little_endian: bool, is_signed: bool) -> f64 {
    let value = unsigned(bytes, is_little_endian);
    if !is_signed {
        return value as f64;
    }
    let mask = u64::MAX << ((8 * bytes.len()).wrapping_sub(1) & 63);
    (if value & mask == 0 { value } else { value | mask }) as i64 as f64
}

/// `struct.size(format)`
fn size(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    machine.check_string(call, 1)?;
    Measuring { format: Format::new(), position: 0 }.go_on(machine, call)
}

/// The state of `size`.
#[derive(Debug)]
struct Measuring {
    format: Format,
    position: usize,
}

impl Measuring {
    fn go_on(mut self, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let text = machine.check_string(call, 1)?;
        loop {
            let place = self.format.place();
            for _ in 0..OPTIONS_AT_ONCE {
                let item =
                    self.format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))?;
                let Some(item) = item else {
                    machine.charge((self.format.place() - place) / 2);
                    return machine.one(Value::Number(self.position as i64 as f64));
                };
                self.measure(machine, text, item)?;
            }
            if !machine.charge((self.format.place() - place) / 2) {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
    }

    fn measure(&mut self, machine: &mut Machine, text: StringId, item: Item) -> Result<(), Raised> {
        let Measuring { format, position } = self;
        *position = position.wrapping_add(format.padding(*position, item)).wrapping_add(item.size);
        match (item.letter, item.size) {
            (b's', _) => Err(machine.bad_argument(1, "option 's' has no fixed size")),
            (b'c', 0) => Err(machine.bad_argument(1, "option 'c0' has no fixed size")),
            // Letters that are not options count as nothing.
            (letter, _) if letter.is_ascii_alphanumeric() => Ok(()),
            (letter, _) => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))
            }
        }
    }
}

impl Continue for Measuring {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(machine, call)
    }
}
