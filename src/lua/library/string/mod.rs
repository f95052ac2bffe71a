//! The library `string`.
//!
//! The functions with patterns are in `search` (`find`, `match`, `gmatch`) and `substitute` (`gsub`), on top of the
//! matcher in `pattern`; `format` is in its own file; the simple functions are here. All can be called as methods.
//!
//! Long work can be suspended: matching at any step, copying and comparing between pieces. Room for a potentially large
//! result is requested first.

mod class;
mod format;
mod pattern;
mod search;
mod substitute;

use std::fmt::Debug;

use crate::lua::machine::{
    BYTES_PER_STEP, Call, Continue, Machine, Native, Outcome, PIECE_BYTES, Raised, VALUES_PER_STEP,
};
use crate::lua::value::{StringId, Value};

/// Results up to this length need no intermediate vector.
const SHORT: usize = 40;
/// The maximum number of values that a function returns, its arguments included, as in the reference implementation.
const MOST_VALUES: usize = 8000;

/// Registers the library, and makes it the methods of strings.
pub fn open(machine: &mut Machine) {
    const FUNCTIONS: [(&str, Native); 14] = [
        ("byte", byte),
        ("char", char),
        ("dump", dump),
        ("find", search::find),
        ("format", format::format),
        ("gmatch", search::gmatch),
        ("gsub", substitute::gsub),
        ("len", len),
        ("lower", lower),
        ("match", search::find_captures),
        ("rep", rep),
        ("reverse", reverse),
        ("sub", sub),
        ("upper", upper),
    ];
    let library = machine.library("string");
    for (name, native) in FUNCTIONS {
        machine.register(library, name, native);
    }
    let gmatch = machine.heap.field(library, "gmatch");
    machine.heap.set_field(library, "gfind", gmatch);
    let metatable = machine.heap.new_table(0, 1);
    machine.heap.set_field(metatable, "__index", Value::Table(library));
    machine.set_string_metatable(metatable);
}

/// Returns a position in a string of `length` bytes, counted from 1, or from the end if negative; 0 if it is before the
/// beginning.
fn place(n: i64, length: usize) -> usize {
    let n = if n < 0 { n.saturating_add(length as i64 + 1) } else { n };
    usize::try_from(n).unwrap_or(0)
}

/// An integer argument, truncated to 32 bits, where the reference implementation takes an `int`.
fn check_int(machine: &mut Machine, call: Call, n: usize) -> Result<i32, Raised> {
    Ok(machine.check_integer(call, n)? as i32)
}

/// Returns the bytes of `string` from one position to another, as a string.
fn slice(machine: &mut Machine, string: StringId, from: usize, to: usize) -> Result<StringId, Raised> {
    let bytes = machine.heap.bytes(string);
    let length = to - from;
    if length == bytes.len() {
        return Ok(string);
    }
    if length <= SHORT {
        let mut buffer = [0; SHORT];
        buffer[..length].copy_from_slice(&bytes[from..to]);
        return Ok(machine.heap.string(&buffer[..length]));
    }
    machine.afford(length)?;
    machine.charge(length / BYTES_PER_STEP);
    let bytes = machine.heap.bytes(string)[from..to].to_vec();
    Ok(machine.heap.string_from(bytes))
}

/// A part of a string being copied.
#[derive(Debug, Default)]
struct Slice {
    copied: Vec<u8>,
}

impl Slice {
    /// Copies bytes of `string` until all are copied into a new string, or until the budget is used up.
    fn go_on(
        &mut self,
        machine: &mut Machine,
        string: StringId,
        from: usize,
        to: usize,
    ) -> Result<Option<StringId>, Raised> {
        let length = to - from;
        if length <= PIECE_BYTES || length == machine.heap.bytes(string).len() {
            return slice(machine, string, from, to).map(Some);
        }
        if self.copied.is_empty() {
            machine.afford(length)?;
        }
        if !machine.copy_in_pieces(string, from, to, &mut self.copied) {
            return Ok(None);
        }
        Ok(Some(machine.heap.string_from(std::mem::take(&mut self.copied))))
    }
}

/// How a function transforms the bytes of its argument.
#[derive(Clone, Copy, Debug)]
struct Transform {
    of_piece: fn(&mut [u8]),
    /// Whether it starts with the last piece.
    is_backward: bool,
}

/// Returns the result of `transform` for the bytes of the first argument.
fn transformed(machine: &mut Machine, call: Call, transform: Transform) -> Result<Outcome, Raised> {
    let string = machine.check_string(call, 1)?;
    let bytes = machine.heap.bytes(string);
    let length = bytes.len();
    if length <= SHORT {
        let mut buffer = [0; SHORT];
        buffer[..length].copy_from_slice(bytes);
        (transform.of_piece)(&mut buffer[..length]);
        machine.push_bytes(&buffer[..length]);
        return Ok(Outcome::Values(1));
    }
    machine.afford(length)?;
    begin(Transforming { transform, result: Vec::with_capacity(length) }, machine, call)
}

/// The state of `transformed` for a long string.
#[derive(Debug)]
struct Transforming {
    transform: Transform,
    result: Vec<u8>,
}

impl Work for Transforming {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let string = machine.check_string(call, 1)?;
        loop {
            let bytes = machine.heap.bytes(string);
            let done = self.result.len();
            let rest = if self.transform.is_backward { &bytes[..bytes.len() - done] } else { &bytes[done..] };
            let count = rest.len().min(PIECE_BYTES);
            let is_last = count == rest.len();
            let piece = if self.transform.is_backward { &rest[rest.len() - count..] } else { &rest[..count] };
            self.result.extend_from_slice(piece);
            (self.transform.of_piece)(&mut self.result[done..]);
            let has_time = machine.charge(2 * count / BYTES_PER_STEP);
            if is_last {
                let string = machine.heap.string_from(std::mem::take(&mut self.result));
                return machine.one(Value::String(string)).map(Some);
            }
            if !has_time {
                return Ok(None);
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.result.capacity()
    }
}

/// Work of a function that can be suspended.
trait Work: Debug + 'static {
    /// Works until there is an outcome, or until the budget is used up.
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised>;

    /// See `Continue::heap_bytes`.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Begins work. It needs no allocation unless it has to be suspended.
#[inline(always)]
fn begin<W: Work>(mut work: W, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    match work.go_on(machine, call)? {
        Some(outcome) => Ok(outcome),
        None => Ok(Outcome::Pause(Box::new(Suspended(work)))),
    }
}

/// Work that waits for more budget.
#[derive(Debug)]
struct Suspended<W>(W);

impl<W: Work> Continue for Suspended<W> {
    fn resume(mut self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        match self.0.go_on(machine, call)? {
            Some(outcome) => Ok(outcome),
            None => Ok(Outcome::Pause(self)),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// `string.len(s)`
fn len(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let string = machine.check_string(call, 1)?;
    let length = machine.heap.bytes(string).len();
    machine.one(Value::Number(length as f64))
}

/// `string.lower(s)`
fn lower(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    transformed(machine, call, Transform { of_piece: <[u8]>::make_ascii_lowercase, is_backward: false })
}

/// `string.upper(s)`
fn upper(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    transformed(machine, call, Transform { of_piece: <[u8]>::make_ascii_uppercase, is_backward: false })
}

/// `string.reverse(s)`
fn reverse(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    transformed(machine, call, Transform { of_piece: <[u8]>::reverse, is_backward: true })
}

/// `string.sub(s, from [, to])`
fn sub(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let string = machine.check_string(call, 1)?;
    let length = machine.heap.bytes(string).len();
    let from = place(machine.check_integer(call, 2)?, length).max(1);
    let to = place(machine.optional_integer(call, 3, -1)?, length).min(length);
    begin(Part { from: (from - 1).min(to), to, slice: Slice::default() }, machine, call)
}

/// The part of the first argument that `sub` returns.
#[derive(Debug)]
struct Part {
    from: usize,
    to: usize,
    slice: Slice,
}

impl Work for Part {
    #[inline(always)]
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let string = machine.check_string(call, 1)?;
        match self.slice.go_on(machine, string, self.from, self.to)? {
            Some(string) => machine.one(Value::String(string)).map(Some),
            None => Ok(None),
        }
    }

    fn heap_bytes(&self) -> usize {
        self.slice.copied.capacity()
    }
}

/// `string.byte(s [, from [, to]])`
fn byte(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let string = machine.check_string(call, 1)?;
    let length = machine.heap.bytes(string).len();
    let from = place(machine.optional_integer(call, 2, 1)?, length);
    let to = place(machine.optional_integer(call, 3, from as i64)?, length).min(length);
    let from = from.max(1);
    if from > to {
        return Ok(Outcome::Values(0));
    }
    let count = to - from + 1;
    if call.count() + count > MOST_VALUES {
        return Err(machine.error("stack overflow (string slice too long)"));
    }
    machine.charge(count / (VALUES_PER_STEP / 2));
    for at in from - 1..to {
        let byte = machine.heap.bytes(string)[at];
        machine.push(Value::Number(f64::from(byte)));
    }
    Ok(Outcome::Values(count))
}

/// `string.char(…)`
fn char(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let (mut short, mut long) = ([0; SHORT], Vec::new());
    let bytes = if call.count() <= SHORT {
        &mut short[..call.count()]
    } else {
        long.resize(call.count(), 0);
        &mut long[..]
    };
    machine.charge(call.count() / VALUES_PER_STEP);
    for (index, byte) in bytes.iter_mut().enumerate() {
        let code = check_int(machine, call, index + 1)?;
        *byte = u8::try_from(code).map_err(|_| machine.bad_argument(index + 1, "invalid value"))?;
    }
    machine.push_bytes(bytes);
    Ok(Outcome::Values(1))
}

/// `string.dump(function)`: always fails, since bytes cannot be loaded as code.
fn dump(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    machine.check_function(call, 1)?;
    Err(machine.error("unable to dump given function"))
}

/// `string.rep(s, n)`
fn rep(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let string = machine.check_string(call, 1)?;
    let count = usize::try_from(check_int(machine, call, 2)?).unwrap_or(0);
    let unit = machine.heap.bytes(string);
    let length = unit.len().saturating_mul(count);
    if length <= SHORT {
        let mut buffer = [0; SHORT];
        for piece in buffer[..length].chunks_exact_mut(unit.len().max(1)) {
            piece.copy_from_slice(unit);
        }
        machine.push_bytes(&buffer[..length]);
        return Ok(Outcome::Values(1));
    }
    machine.afford(length)?;
    begin(Repetition { result: Vec::with_capacity(length), length }, machine, call)
}

/// The string that `rep` builds from the first argument.
#[derive(Debug)]
struct Repetition {
    result: Vec<u8>,
    /// The length of the whole result.
    length: usize,
}

impl Work for Repetition {
    fn go_on(&mut self, machine: &mut Machine, call: Call) -> Result<Option<Outcome>, Raised> {
        let string = machine.check_string(call, 1)?;
        while self.result.len() < self.length {
            let before = self.result.len();
            let unit = machine.heap.bytes(string);
            if before < unit.len() {
                let end = unit.len().min(before + PIECE_BYTES);
                self.result.extend_from_slice(&unit[before..end]);
            } else {
                // Each copy doubles the length, and starts at the beginning of a repetition.
                let from = before % unit.len();
                let most = PIECE_BYTES.min(before - from).min(self.length - before);
                self.result.extend_from_within(from..from + most);
            }
            if !machine.charge((self.result.len() - before) / BYTES_PER_STEP) {
                return Ok(None);
            }
        }
        let string = machine.heap.string_from(std::mem::take(&mut self.result));
        machine.one(Value::String(string)).map(Some)
    }

    fn heap_bytes(&self) -> usize {
        self.result.capacity()
    }
}
