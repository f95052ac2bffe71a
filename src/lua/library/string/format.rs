//! `string.format`: reads the conversions in the format and prints each argument by C's rules (`text::printf`).

use memchr::memchr;

use super::{Work, begin};
use crate::lua::machine::{BYTES_PER_STEP, Call, Machine, Outcome, PIECE_BYTES, Raised, SCANNED_PER_STEP};
use crate::lua::number;
use crate::lua::value::{StringId, Value};
use crate::text::printf::{Base, Notation, Specification};

/// With more flags, a conversion fails with "repeated flags".
const MOST_FLAGS: usize = 5;
/// A string of at least this length is not cut at a zero byte, unless there is a precision.
const LONG: usize = 100;

/// `string.format(format, …)`
pub fn format(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    machine.check_string(call, 1)?;
    begin(Formatting { out: Vec::new(), at: 0, n: 1, copying: None }, machine, call)
}

/// A call of `format`: the template has been processed up to `at`, and the arguments up to the `n`th.
#[derive(Debug)]
struct Formatting {
    out: Vec<u8>,
    at: usize,
    n: usize,
    /// A long string being appended.
    copying: Option<Copying>,
}

#[derive(Clone, Copy, Debug)]
struct Copying {
    at: usize,
    /// `%q`
    is_quoted: bool,
}

impl Work for Formatting {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let template = machine.check_string(call, 1)?;
        loop {
            let before = self.out.len();
            let is_done = self.step(machine, call, template)?;
            let has_time = machine.charge((self.out.len() - before) / BYTES_PER_STEP);
            if is_done {
                machine.afford(self.out.len())?;
                let string = machine.heap.string_from(std::mem::take(&mut self.out));
                return machine.one(Value::String(string)).map(Some);
            }
            if !has_time {
                return Ok(None);
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.out.capacity()
    }
}

impl Formatting {
    /// Appends the text before a conversion and converts an argument, or does a part of that. Returns whether the whole
    /// format is done.
    #[inline]
    fn step(&mut self, machine: &mut Machine, call: Call, template: StringId) -> Result<bool, Raised> {
        if let Some(copying) = self.copying {
            self.copying = self.copy(machine, call, copying)?;
            return Ok(false);
        }
        let rest = &machine.heap.bytes(template)[self.at..];
        let window = &rest[..rest.len().min(PIECE_BYTES)];
        let Some(distance) = memchr(b'%', window) else {
            self.out.extend_from_slice(window);
            self.at += window.len();
            let is_done = window.len() == rest.len();
            machine.afford(self.out.capacity())?;
            return Ok(is_done);
        };
        self.out.extend_from_slice(&rest[..distance]);
        self.at += distance + 1;
        let rest = &rest[distance + 1..];
        if rest.first() == Some(&b'%') {
            self.out.push(b'%');
            self.at += 1;
            machine.charge(1);
            return Ok(false);
        }
        let parsed = parse(rest);
        self.n += 1;
        if self.n > call.count() {
            return Err(machine.bad_argument(self.n, "no value"));
        }
        let (specification, letter, length) = parsed.map_err(|message| machine.error(message))?;
        self.at += length;
        self.copying = convert(machine, call, self.n, specification, letter, &mut self.out)?;
        Ok(false)
    }

    /// Appends more bytes of a long string. Returns where to continue, or `None` at the end.
    fn copy(
        &mut self,
        machine: &mut Machine,
        call: Call,
        copying: Copying,
    ) -> Result<Option<Copying>, Raised> {
        let string = machine.check_string(call, self.n)?;
        let bytes = machine.heap.bytes(string);
        let Copying { at, is_quoted } = copying;
        let end = bytes.len().min(at + PIECE_BYTES);
        if is_quoted {
            quote(&bytes[at..end], &mut self.out);
            machine.charge((end - at) / SCANNED_PER_STEP);
        } else {
            self.out.extend_from_slice(&bytes[at..end]);
        }
        let is_done = end == machine.heap.bytes(string).len();
        if is_done && is_quoted {
            self.out.push(b'"');
        }
        Ok((!is_done).then_some(Copying { at: end, is_quoted }))
    }
}

/// Parses the text after a `%`: returns its specification, its letter (0 at the end), and the number of bytes parsed.
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

/// Returns the number at the start of a text, of at most two digits, and the number of its digits.
fn two_digits(text: &[u8]) -> (usize, usize) {
    let digits = text.iter().take(2).take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, 0), |(value, count), digit| (value * 10 + usize::from(digit - b'0'), count + 1))
}

/// Appends argument `n`. If it is a long string, returns where to start copying.
fn convert(
    machine: &mut Machine,
    call: Call,
    n: usize,
    specification: Specification,
    letter: u8,
    out: &mut Vec<u8>,
) -> Result<Option<Copying>, Raised> {
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
        b's' => return push_string(machine, call, n, specification, out),
        b'q' => return push_quoted(machine, call, n, out).map(Some),
        letter => {
            let mut message = b"invalid option '%".to_vec();
            message.extend((letter != 0).then_some(letter));
            message.extend_from_slice(b"' to 'format'");
            return Err(machine.error(message));
        }
    }
    Ok(None)
}

/// `%c`: a byte. The reference implementation prints it as a C string, which ends at a zero byte.
fn push_char(specification: Specification, value: f64, out: &mut Vec<u8>) {
    // A C `int`. Out of range, the conversion gives a number whose last byte is 0.
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
) -> Result<Option<Copying>, Raised> {
    if let Value::Number(value) = machine.argument(call, n)
        && specification == Specification::default()
    {
        number::format(value, out);
        return Ok(None);
    }
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    if length >= LONG {
        machine.afford(out.len() + length)?;
    }
    let bytes = machine.heap.bytes(string);
    if length >= LONG && specification.precision.is_none() {
        if length > PIECE_BYTES {
            return Ok(Some(Copying { at: 0, is_quoted: false }));
        }
        out.extend_from_slice(bytes);
    } else {
        // A zero byte ends the string, as in C.
        let bytes = &bytes[..length.min(LONG.max(specification.precision.unwrap_or(LONG)))];
        specification.push_bytes(out, memchr(0, bytes).map_or(bytes, |end| &bytes[..end]));
    }
    Ok(None)
}

/// `%q`: the string as a Lua literal.
fn push_quoted(machine: &mut Machine, call: Call, n: usize, out: &mut Vec<u8>) -> Result<Copying, Raised> {
    let string = machine.check_string(call, n)?;
    let length = machine.heap.bytes(string).len();
    machine.afford(length.saturating_mul(4).saturating_add(out.len()))?;
    out.push(b'"');
    Ok(Copying { at: 0, is_quoted: true })
}

fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\000"),
            _ => out.push(byte),
        }
    }
}
