//! `struct`: numbers and strings as the bytes of a C structure and back, as the module of that name in Redis, version
//! 0.2.
//!
//! A format is a string of options (`format.rs`); packing, unpacking and the size are three ways of walking it, in time
//! proportional to the length of the format and the bytes.

mod format;
#[cfg(test)]
mod tests;

use memchr::memchr;

use self::format::{Format, Item, Wrong};
use crate::lua::machine::{Call, Machine, Native, Outcome, Raised};
use crate::lua::number;
use crate::lua::value::Value;

/// The slots of Lua's stack that a function in C may use: the reference implementation unpacks no more values.
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

/// `struct.pack(format, value, …)`
fn pack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let text = machine.check_string(call, 1)?;
    let mut format = Format::new();
    let mut out = Vec::new();
    let mut n = 1;
    while let Some(item) = format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))? {
        out.resize(out.len() + format.padding(out.len(), item), 0);
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                n += 1;
                let value = number::to_unsigned(check_number(machine, call, n)?);
                push_integer(&mut out, value, item.size, format.is_little_endian);
            }
            b'f' => {
                n += 1;
                let value = check_number(machine, call, n)? as f32;
                push_integer(&mut out, u64::from(value.to_bits()), 4, format.is_little_endian);
            }
            b'd' => {
                n += 1;
                let value = check_number(machine, call, n)?;
                push_integer(&mut out, value.to_bits(), 8, format.is_little_endian);
            }
            b'x' => out.push(0),
            b'c' | b's' => {
                n += 1;
                push_string(machine, call, n, item, &mut out)?;
            }
            letter => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))?;
            }
        }
    }
    machine.charge((machine.heap.bytes(text).len() + out.len()) / 4);
    machine.afford(out.len())?;
    let string = machine.heap.string_from(out);
    machine.one(Value::String(string))
}

/// The `n`th argument as a number. The reference implementation has put a nil behind the last one.
fn check_number(machine: &mut Machine, call: Call, n: usize) -> Result<f64, Raised> {
    if n > call.count() {
        return Err(machine.bad_argument(n, "number expected, got nil"));
    }
    machine.check_number(call, n)
}

/// Appends the `n`th argument, which is a string.
fn push_string(
    machine: &mut Machine,
    call: Call,
    n: usize,
    item: Item,
    out: &mut Vec<u8>,
) -> Result<(), Raised> {
    if n > call.count() {
        return Err(machine.bad_argument(n, "string expected, got nil"));
    }
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    let size = if item.size == 0 { length } else { item.size };
    if length < size {
        // Redis says that of the argument that follows.
        return Err(machine.bad_argument(n + 1, "string too short"));
    }
    machine.afford(out.len() + size)?;
    out.extend_from_slice(&machine.heap.bytes(string)[..size]);
    if item.letter == b's' {
        out.push(0);
    }
    Ok(())
}

/// Appends the lowest `size` bytes of a value, with zeros from the ninth on.
fn push_integer(out: &mut Vec<u8>, value: u64, size: usize, is_little_endian: bool) {
    let start = out.len();
    out.extend((0..size).map(|index| value.checked_shr(8 * index as u32).unwrap_or(0) as u8));
    if !is_little_endian {
        out[start..].reverse();
    }
}

/// `struct.unpack(format, text [, position])`: the values, and the position behind them.
fn unpack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let text = machine.check_string(call, 1)?;
    let data = machine.check_string(call, 2)?;
    let position = number::to_integer(machine.optional_number(call, 3, 1.0)?);
    if position == 0 {
        return Err(machine.bad_argument(3, "offset must be 1 or greater"));
    }
    let mut format = Format::new();
    let length = machine.heap.bytes(data).len();
    // A negative position is a very large one.
    let mut position = (position as usize).wrapping_sub(1);
    let mut count = 0;
    while let Some(mut item) = format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))? {
        position = position.wrapping_add(format.padding(position, item));
        check_data(machine, length, position, item.size)?;
        if call.count() + count + 2 > MOST_SLOTS {
            return Err(machine.error("stack overflow (too many results)"));
        }
        if item.letter == b'c' && item.size == 0 {
            item.size = pop_size(machine, count)?;
            count -= 1;
            check_data(machine, length, position, item.size)?;
        }
        let bytes = &machine.heap.bytes(data)[position..];
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
            b's' => {
                let Some(end) = memchr(0, bytes) else {
                    return Err(machine.error("unfinished string in data"));
                };
                item.size = end + 1;
                {
                    let bytes = bytes[..end].to_vec();
                    new_string(machine, bytes)?
                }
            }
            b'c' => {
                let bytes = bytes[..item.size].to_vec();
                new_string(machine, bytes)?
            }
            b'x' => {
                position += 1;
                continue;
            }
            letter => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))?;
                continue;
            }
        };
        machine.push(value);
        count += 1;
        position += item.size;
    }
    machine.charge((machine.heap.bytes(text).len() + length.min(position)) / 4);
    machine.push(Value::Number(position.wrapping_add(1) as i64 as f64));
    Ok(Outcome::Values(count + 1))
}

fn check_data(machine: &mut Machine, length: usize, position: usize, size: usize) -> Result<(), Raised> {
    if position.checked_add(size).is_some_and(|end| end <= length) {
        return Ok(());
    }
    Err(machine.bad_argument(2, "data string too short"))
}

/// Takes the value before a `c0` from the stack: its size.
fn pop_size(machine: &mut Machine, count: usize) -> Result<usize, Raised> {
    let size = if count == 0 { None } else { machine.heap.to_number(machine.from_top(1)) };
    let Some(size) = size else { return Err(machine.error("format 'c0' needs a previous size")) };
    machine.pop();
    Ok(number::to_unsigned(size) as usize)
}

fn new_string(machine: &mut Machine, bytes: Vec<u8>) -> Result<Value, Raised> {
    machine.afford(bytes.len())?;
    Ok(Value::String(machine.heap.string_from(bytes)))
}

/// The number in all the bytes; of more than eight, those that are not the lowest have no effect.
fn unsigned(bytes: &[u8], is_little_endian: bool) -> u64 {
    let add = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    if is_little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}

/// As `unsigned`, or with the highest bit of the bytes as a sign.
///
/// Of more than eight bytes, the bit is not where it would be, but where x86-64 shifts it: by a multiple of 64 less.
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
    let text = machine.check_string(call, 1)?;
    let mut format = Format::new();
    let mut position = 0usize;
    while let Some(item) = format.next(machine.heap.bytes(text)).map_err(|wrong| raise(machine, wrong))? {
        position = position.wrapping_add(format.padding(position, item)).wrapping_add(item.size);
        match (item.letter, item.size) {
            (b's', _) => return Err(machine.bad_argument(1, "option 's' has no fixed size")),
            (b'c', 0) => return Err(machine.bad_argument(1, "option 'c0' has no fixed size")),
            // Letters that are no options count nothing.
            (letter, _) if letter.is_ascii_alphanumeric() => {}
            (letter, _) => {
                format.set(machine.heap.bytes(text), letter).map_err(|wrong| raise(machine, wrong))?;
            }
        }
    }
    machine.charge(machine.heap.bytes(text).len() / 4);
    machine.one(Value::Number(position as i64 as f64))
}
