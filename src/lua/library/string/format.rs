//! `string.format`: reads the template of conversions, and prints each argument by C's rules (`text::printf`).

use memchr::memchr;

use crate::lua::machine::{Call, Machine, Outcome, Raised};
use crate::lua::number;
use crate::lua::value::Value;
use crate::text::printf::{Base, Notation, Specification};

/// Flags of a conversion beyond which they are said to be repeated.
const MOST_FLAGS: usize = 5;
/// A string of this length is not cut at a zero byte, unless there is a precision.
const LONG: usize = 100;
/// Bytes that are copied in the time of one step.
const BYTES_PER_STEP: usize = 64;

/// `string.format(format, …)`
pub fn format(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let template = machine.check_string(call, 1)?;
    let mut out = Vec::new();
    let (mut at, mut n) = (0, 1);
    loop {
        let rest = &machine.heap.bytes(template)[at..];
        let Some(distance) = memchr(b'%', rest) else {
            out.extend_from_slice(rest);
            break;
        };
        out.extend_from_slice(&rest[..distance]);
        at += distance + 1;
        let rest = &rest[distance + 1..];
        if rest.first() == Some(&b'%') {
            out.push(b'%');
            at += 1;
            continue;
        }
        let parsed = parse(rest);
        n += 1;
        if n > call.count() {
            return Err(machine.bad_argument(n, "no value"));
        }
        let (specification, letter, length) = parsed.map_err(|message| machine.error(message))?;
        at += length;
        convert(machine, call, n, specification, letter, &mut out)?;
    }
    machine.charge(out.len() / BYTES_PER_STEP);
    machine.afford(out.len())?;
    let string = machine.heap.string_from(out);
    machine.one(Value::String(string))
}

/// What follows a `%`: its specification, its letter, which is 0 at the end, and how many bytes that are.
fn parse(text: &[u8]) -> Result<(Specification, u8, usize), &'static str> {
    let mut specification = Specification::default();
    let mut at = 0;
    loop {
        match text.get(at) {
            Some(b'-') => specification.left = true,
            Some(b'+') => specification.plus = true,
            Some(b' ') => specification.space = true,
            Some(b'#') => specification.alternate = true,
            Some(b'0') => specification.zero = true,
            _ => break,
        }
        at += 1;
    }
    if at > MOST_FLAGS {
        return Err("invalid format (repeated flags)");
    }
    let (width, digits) = two_digits(&text[at..]);
    specification.width = width;
    at += digits;
    if text.get(at) == Some(&b'.') {
        let (precision, digits) = two_digits(&text[at + 1..]);
        specification.precision = Some(precision);
        at += 1 + digits;
    }
    match text.get(at).copied().unwrap_or(0) {
        b'0'..=b'9' => Err("invalid format (width or precision too long)"),
        letter => Ok((specification, letter, at + 1)),
    }
}

/// The number that a text begins with, of at most two digits, and how many they are.
fn two_digits(text: &[u8]) -> (usize, usize) {
    let digits = text.iter().take(2).take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, 0), |(value, count), digit| (value * 10 + usize::from(digit - b'0'), count + 1))
}

/// Appends argument `n`.
fn convert(
    machine: &mut Machine,
    call: Call,
    n: usize,
    specification: Specification,
    letter: u8,
    out: &mut Vec<u8>,
) -> Result<(), Raised> {
    match letter {
        b'd' | b'i' => {
            specification.push_signed(out, number::to_integer(machine.check_number(call, n)?));
        }
        b'o' | b'u' | b'x' | b'X' => {
            let base = match letter {
                b'o' => Base::Octal,
                b'u' => Base::Decimal,
                b'x' => Base::LowerHex,
                _ => Base::UpperHex,
            };
            specification.push_unsigned(out, number::to_unsigned(machine.check_number(call, n)?), base);
        }
        b'e' | b'E' | b'f' | b'g' | b'G' => {
            let notation = match letter {
                b'f' => Notation::Fixed,
                b'g' | b'G' => Notation::General,
                _ => Notation::Scientific,
            };
            let value = machine.check_number(call, n)?;
            specification.push_float(out, value, notation, letter.is_ascii_uppercase());
        }
        b'c' => push_char(specification, machine.check_number(call, n)?, out),
        b's' => push_string(machine, call, n, specification, out)?,
        b'q' => push_quoted(machine, call, n, out)?,
        letter => {
            let mut message = b"invalid option '%".to_vec();
            message.extend((letter != 0).then_some(letter));
            message.extend_from_slice(b"' to 'format'");
            return Err(machine.error(message));
        }
    }
    Ok(())
}

/// `%c`: a byte. The reference implementation prints it as a string of C, which a zero byte ends.
fn push_char(specification: Specification, value: f64, out: &mut Vec<u8>) {
    // An `int` in C, of which what does not fit is a number whose last byte is 0.
    let byte = i32::try_from(number::to_integer(value)).map_or(0, |value| value as u8);
    let start = out.len();
    Specification { precision: None, ..specification }.push_bytes(out, &[byte]);
    if byte == 0
        && let Some(end) = memchr(0, &out[start..])
    {
        out.truncate(start + end);
    }
}

/// `%s`
fn push_string(
    machine: &mut Machine,
    call: Call,
    n: usize,
    specification: Specification,
    out: &mut Vec<u8>,
) -> Result<(), Raised> {
    if let Value::Number(value) = machine.argument(call, n)
        && specification == Specification::default()
    {
        number::format(value, out);
        return Ok(());
    }
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    if length >= LONG {
        machine.afford(out.len() + length)?;
    }
    let bytes = machine.heap.bytes(string);
    if length >= LONG && specification.precision.is_none() {
        out.extend_from_slice(bytes);
    } else {
        // A zero byte ends it, as in C.
        let bytes = &bytes[..length.min(LONG.max(specification.precision.unwrap_or(LONG)))];
        specification.push_bytes(out, memchr(0, bytes).map_or(bytes, |end| &bytes[..end]));
    }
    Ok(())
}

/// `%q`: the string as a literal of Lua.
fn push_quoted(machine: &mut Machine, call: Call, n: usize, out: &mut Vec<u8>) -> Result<(), Raised> {
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    machine.afford(length.saturating_mul(4).saturating_add(out.len()))?;
    out.push(b'"');
    for &byte in machine.heap.bytes(string) {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\000"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    Ok(())
}
