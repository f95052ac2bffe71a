//! The functions without a library's name: types and conversions, raw access, metatables, iteration, errors, and the
//! collector. Loading code and its environments are in `load.rs`.

use super::{optional_int, store};
use crate::lua::heap::{Function, Heap, NoSuchKey, Walk};
use crate::lua::machine::{
    BYTES_PER_STEP, Call, Continue, Event, Iterators, Machine, Native, Outcome, PIECE_BYTES, Raised,
    VALUES_PER_STEP, again,
};
use crate::lua::number;
use crate::lua::value::{TableId, Value};

const FUNCTIONS: [(&str, Native); 17] = [
    ("assert", assert),
    ("error", error),
    ("gcinfo", gcinfo),
    ("getmetatable", getmetatable),
    ("ipairs", ipairs),
    ("pairs", pairs),
    ("pcall", pcall),
    ("rawequal", rawequal),
    ("rawget", rawget),
    ("rawset", rawset),
    ("select", select),
    ("setmetatable", setmetatable),
    ("tonumber", tonumber),
    ("tostring", tostring),
    ("type", type_of),
    ("unpack", unpack),
    ("xpcall", xpcall),
];

/// The number of values that a native function may have on the stack in the reference implementation; limits `unpack`.
const MOST_UNPACKED: i64 = 8000;

/// Makes `next`, and what `ipairs` returns.
pub fn iterators(heap: &mut Heap) -> Iterators {
    let next = heap.new_function(Function::Native { native: next, name: "next", upvalues: Box::default() });
    let step = Function::Native { native: ipairs_step, name: "ipairs", upvalues: Box::default() };
    Iterators { next, ipairs_step: heap.new_function(step) }
}

pub fn open(m: &mut Machine) {
    let globals = m.globals();
    m.heap.set_field(globals, "_G", Value::Table(globals));
    let version = m.heap.string(b"Lua 5.1");
    m.heap.set_field(globals, "_VERSION", Value::String(version));
    for (name, native) in FUNCTIONS {
        m.register(globals, name, native);
    }
    // The collector's `setpause` and `setstepmul`: stored and returned, but without effect.
    let pace = [Value::Number(200.0); 2];
    let function = m.heap.new_native_with("collectgarbage", collectgarbage, &pace);
    m.heap.set_field(globals, "collectgarbage", function);

    let Iterators { next, .. } = m.iterators();
    m.heap.set_field(globals, "next", Value::Function(next));

    // A weak table of the metatables made by `newproxy`. It is its own metatable.
    let known = m.heap.new_table(0, 1);
    let mode = m.heap.string(b"kv");
    m.heap.set_field(known, "__mode", Value::String(mode));
    m.heap.set_metatable(known, Some(known));
    let function = m.heap.new_native_with("newproxy", newproxy, &[Value::Table(known)]);
    m.heap.set_field(globals, "newproxy", function);
}

// Types and conversions

/// `type(v)`
fn type_of(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let value = m.check_any(call, 1)?;
    m.push_bytes(value.type_name().as_bytes());
    Ok(Outcome::Values(1))
}

/// `tostring(v)`
fn tostring(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let value = m.check_any(call, 1)?;
    let method = m.metamethod(value, Event::ToString);
    if !method.is_nil() {
        m.push(method);
        m.push(value);
        return Ok(Outcome::Call { arguments: 1, then: Box::new(FirstResult) });
    }
    let text = match value {
        Value::String(_) => return m.one(value),
        Value::Number(_) => {
            let mut text = Vec::new();
            m.heap.to_bytes(value, &mut text);
            text
        }
        Value::Nil => b"nil".to_vec(),
        Value::Boolean(value) => value.to_string().into_bytes(),
        object => match object.address() {
            Some(address) => format!("{}: {address:#014x}", object.type_name()).into_bytes(),
            None => b"userdata: (nil)".to_vec(),
        },
    };
    m.push_bytes(&text);
    Ok(Outcome::Values(1))
}

/// Continues a native function that returns exactly one result of its call.
#[derive(Debug)]
struct FirstResult;

impl Continue for FirstResult {
    fn resume(self: Box<Self>, m: &mut Machine, _: Call, results: usize) -> Result<Outcome, Raised> {
        let first = if results > 0 { m.from_top(results) } else { Value::Nil };
        m.drop_values(results);
        m.one(first)
    }
}

/// `tonumber(v [, base])`
fn tonumber(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let base = optional_int(m, call, 2, 10)?;
    let number = if base == 10 {
        let value = m.check_any(call, 1)?;
        m.to_number(value)
    } else {
        let string = m.check_string(call, 1)?;
        if !(2..=36).contains(&base) {
            return Err(m.bad_argument(2, "base out of range"));
        }
        m.charge_text(Value::String(string));
        let text = m.heap.bytes(string);
        if text.len() <= number::LONGEST { parse_integer(text, base as u32) } else { None }
    };
    m.one(number.map_or(Value::Nil, Value::Number))
}

/// Returns the integer that `text` consists of, up to its end or a zero byte, as C's `strtoul` reads it: blanks around
/// it, a sign and, in base 16, `0x` are allowed. It saturates at 2⁶⁴ - 1; negative numbers count down from 2⁶⁴.
fn parse_integer(text: &[u8], base: u32) -> Option<f64> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let mut rest = trim_start(&text[..end]);
    let is_negative = rest.first() == Some(&b'-');
    if let Some(b'-' | b'+') = rest.first() {
        rest = &rest[1..];
    }
    if base == 16
        && let [b'0', b'x' | b'X', digit, ..] = rest
        && digit.is_ascii_hexdigit()
    {
        rest = &rest[2..];
    }
    let digits = rest.iter().take_while(|byte| char::from(**byte).is_digit(base)).count();
    let (number, after) = rest.split_at(digits);
    if digits == 0 || !trim_start(after).is_empty() {
        return None;
    }
    let value = number.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    });
    Some(match value {
        None => u64::MAX as f64,
        Some(value) if is_negative => value.wrapping_neg() as f64,
        Some(value) => value as f64,
    })
}

/// Returns `text` without leading white space, as C's `isspace` defines it.
fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    &text[blanks..]
}

// Raw access and metatables

/// `rawequal(a, b)`
fn rawequal(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let a = m.check_any(call, 1)?;
    let b = m.check_any(call, 2)?;
    match m.equal_in_pieces(a, b) {
        Some(is_equal) => m.one(Value::Boolean(is_equal)),
        None => again(rawequal),
    }
}

/// `rawget(table, key)`
fn rawget(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let key = m.check_any(call, 2)?;
    if !m.is_key_ready(table, key) {
        return again(rawget);
    }
    m.one(m.heap.get(table, key))
}

/// `rawset(table, key, value)`
fn rawset(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let key = m.check_any(call, 2)?;
    let value = m.check_any(call, 3)?;
    if !m.is_key_ready(table, key) || !m.is_room_ready(table, key) {
        return again(rawset);
    }
    store(m, table, key, value)?;
    m.one(Value::Table(table))
}

/// `getmetatable(v)`: the metatable, or its field `__metatable` if it has one.
fn getmetatable(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let value = m.check_any(call, 1)?;
    let shown = match m.metamethod(value, Event::Metatable) {
        Value::Nil => m.metatable_of(value).map_or(Value::Nil, Value::Table),
        shown => shown,
    };
    m.one(shown)
}

/// `setmetatable(table, metatable)`
fn setmetatable(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let metatable = match m.argument(call, 2) {
        Value::Table(metatable) => Some(metatable),
        Value::Nil if call.count() >= 2 => None,
        _ => return Err(m.bad_argument(2, "nil or table expected")),
    };
    if !m.metamethod(Value::Table(table), Event::Metatable).is_nil() {
        return Err(m.error("cannot change a protected metatable"));
    }
    if m.heap.table(table).is_readonly {
        return Err(m.plain_error("Attempt to modify a readonly table"));
    }
    m.heap.set_metatable(table, metatable);
    m.one(Value::Table(table))
}

/// `newproxy([true | false | proxy])`: an object without contents, with a new metatable, with none, or with that of
/// another proxy.
fn newproxy(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Value::Table(known) = m.upvalue(call, 0) else { unreachable!("made with the table of metatables") };
    let metatable = match m.argument(call, 1) {
        Value::Nil | Value::Boolean(false) => None,
        Value::Boolean(true) => {
            let metatable = m.heap.new_table(0, 0);
            store(m, known, Value::Table(metatable), Value::Boolean(true))?;
            Some(metatable)
        }
        other => match m.metatable_of(other) {
            Some(metatable) if !m.heap.get(known, Value::Table(metatable)).is_false() => Some(metatable),
            _ => return Err(m.bad_argument(1, "boolean or proxy expected")),
        },
    };
    let proxy = m.heap.new_proxy(metatable);
    m.one(Value::Proxy(proxy))
}

// Iteration and lists

/// `next(table [, key])`
fn next(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let key = m.argument(call, 2);
    if !m.is_key_ready(table, key) {
        return again(next);
    }
    match m.heap.position_after(table, key) {
        Ok(position) => Next { position }.go_on(m, table),
        Err(NoSuchKey) => Err(m.plain_error("invalid key to 'next'")),
    }
}

/// A search for the next pair that has empty slots to skip.
#[derive(Debug)]
struct Next {
    position: usize,
}

impl Next {
    fn go_on(mut self, m: &mut Machine, table: TableId) -> Result<Outcome, Raised> {
        match m.walk(table, &mut self.position) {
            Walk::Pair(_, key, value) => {
                m.push(key);
                m.push(value);
                Ok(Outcome::Values(2))
            }
            Walk::End => m.one(Value::Nil),
            Walk::Empty(_) => Ok(Outcome::Pause(Box::new(self))),
        }
    }
}

impl Continue for Next {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        let table = m.check_table(call, 1)?;
        self.go_on(m, table)
    }
}

/// `pairs(table)`: `next, table, nil`
fn pairs(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let Iterators { next, .. } = m.iterators();
    m.push(Value::Function(next));
    m.push(Value::Table(table));
    m.push(Value::Nil);
    Ok(Outcome::Values(3))
}

/// `ipairs(table)`: an iterator, the table, and 0.
fn ipairs(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let Iterators { ipairs_step, .. } = m.iterators();
    m.push(Value::Function(ipairs_step));
    m.push(Value::Table(table));
    m.push(Value::Number(0.0));
    Ok(Outcome::Values(3))
}

/// The iterator of `ipairs`: the next index and its value, or nothing at the end.
fn ipairs_step(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let index = super::check_int(m, call, 2)?.wrapping_add(1);
    let table = m.check_table(call, 1)?;
    let value = m.heap.get_number(table, f64::from(index));
    if value.is_nil() {
        return Ok(Outcome::Values(0));
    }
    m.push(Value::Number(f64::from(index)));
    m.push(value);
    Ok(Outcome::Values(2))
}

/// `select(n, …)`: the arguments from the `n`th on, or their number, if `n` is `"#"`.
fn select(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let others = call.count().saturating_sub(1);
    if let Value::String(string) = m.argument(call, 1)
        && m.heap.bytes(string).first() == Some(&b'#')
    {
        return m.one(Value::Number(others as f64));
    }
    let n = i64::from(super::check_int(m, call, 1)?);
    let first = if n < 0 { n + others as i64 + 1 } else { n.min(others as i64 + 1) };
    if first < 1 {
        return Err(m.bad_argument(1, "index out of range"));
    }
    // The arguments are on top of the stack.
    Ok(Outcome::Values(others + 1 - first as usize))
}

/// `unpack(table [, first [, last]])`
fn unpack(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let table = m.check_table(call, 1)?;
    let first = i64::from(optional_int(m, call, 2, 1)?);
    let last = match m.argument(call, 3) {
        Value::Nil => match m.length(table) {
            Some(length) => length as i64,
            None => return again(unpack),
        },
        _ => i64::from(super::check_int(m, call, 3)?),
    };
    if first > last {
        return Ok(Outcome::Values(0));
    }
    let count = last - first + 1;
    if count + call.count() as i64 > MOST_UNPACKED || m.reserve_stack(count as usize).is_none() {
        return Err(m.error("too many results to unpack"));
    }
    m.charge(count as usize / (VALUES_PER_STEP / 2));
    for index in first..=last {
        let value = m.heap.get_number(table, index as f64);
        m.push(value);
    }
    Ok(Outcome::Values(count as usize))
}

// Errors

/// `assert(v [, message])`: returns all its arguments unless `v` is false.
fn assert(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    if !m.check_any(call, 1)?.is_false() {
        return Ok(Outcome::Values(call.count()));
    }
    match m.optional_string(call, 2)? {
        Some(message) => {
            // A C string ends at a zero byte.
            let end = memchr::memchr(0, m.heap.bytes(message)).unwrap_or(m.heap.bytes(message).len());
            let text = m.position(1);
            Message { text, n: 2, at: 0, end }.go_on(m, call)
        }
        None => Err(m.error("assertion failed!")),
    }
}

/// `error(message [, level])`: adds the position of the function at that level to a string.
fn error(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let level = optional_int(m, call, 2, 1)?;
    let value = m.argument(call, 1);
    if level > 0 && matches!(value, Value::String(_) | Value::Number(_)) {
        m.charge(m.depth().min(level as usize));
        let text = m.position(level as usize);
        let string = m.check_string(call, 1)?;
        return Message { text, n: 1, at: 0, end: m.heap.bytes(string).len() }.go_on(m, call);
    }
    Err(Raised(value))
}

/// An error message under construction: the bytes from `at` to `end` of the `n`th argument are missing.
#[derive(Debug)]
struct Message {
    text: Vec<u8>,
    n: usize,
    at: usize,
    end: usize,
}

impl Message {
    fn go_on(mut self, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let string = m.check_string(call, self.n)?;
        if self.at == 0 {
            m.afford(self.text.len() + self.end)?;
            self.text.reserve_exact(self.end);
        }
        loop {
            let to = self.end.min(self.at + PIECE_BYTES);
            self.text.extend_from_slice(&m.heap.bytes(string)[self.at..to]);
            let has_time = m.charge((to - self.at) / BYTES_PER_STEP);
            self.at = to;
            if to == self.end {
                return Err(Raised(Value::String(m.heap.string_from(self.text))));
            }
            if !has_time {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        }
    }
}

impl Continue for Message {
    fn resume(self: Box<Self>, m: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(m, call)
    }

    fn heap_bytes(&self) -> usize {
        self.text.capacity()
    }
}

/// `pcall(f, …)`
fn pcall(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_any(call, 1)?;
    Ok(Outcome::Protect { has_handler: false })
}

/// `xpcall(f, handler)`
fn xpcall(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_any(call, 2)?;
    Ok(Outcome::Protect { has_handler: true })
}

// The collector

/// `collectgarbage([option [, n]])`. Collections are never partial, so `step` runs a whole one. The function pauses
/// during the collection, so that the machine can be suspended.
fn collectgarbage(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let option =
        m.optional_string(call, 1)?.map_or(b"collect".to_vec(), |option| m.heap.bytes(option).to_vec());
    m.charge(option.len() / BYTES_PER_STEP);
    // A C string ends at a zero byte.
    let option = option.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_known = [&b"stop"[..], b"restart", b"collect", b"count", b"step", b"setpause", b"setstepmul"]
        .contains(&option);
    if !is_known {
        let text = [b"invalid option '", option, b"'"].concat();
        return Err(m.bad_argument_bytes(1, &text));
    }
    let n = optional_int(m, call, 2, 0)?;
    let result = match option {
        b"count" => Value::Number(m.heap.used_bytes() as f64 / 1024.0),
        b"step" => {
            m.request_collection();
            return Ok(Outcome::Pause(Box::new(Collected(Value::Boolean(true)))));
        }
        b"collect" => {
            m.request_collection();
            return Ok(Outcome::Pause(Box::new(Collected(Value::Number(0.0)))));
        }
        b"setpause" => remember(m, call, 0, n),
        b"setstepmul" => remember(m, call, 1, n),
        option => {
            m.set_collecting(option == b"restart");
            Value::Number(0.0)
        }
    };
    m.one(result)
}

/// The result of `collectgarbage` after a collection. It is not a heap object, so it needs no mark.
#[derive(Debug)]
struct Collected(Value);

impl Continue for Collected {
    fn resume(self: Box<Self>, m: &mut Machine, _: Call, _: usize) -> Result<Outcome, Raised> {
        m.one(self.0)
    }
}

/// Stores a number in an upvalue and returns the previous one.
fn remember(m: &mut Machine, call: Call, n: usize, number: i32) -> Value {
    let before = m.upvalue(call, n);
    m.set_upvalue(call, n, Value::Number(f64::from(number)));
    before
}

/// `gcinfo()`: kilobytes in use.
fn gcinfo(m: &mut Machine, _: Call) -> Result<Outcome, Raised> {
    let kilobytes = m.heap.used_bytes() >> 10;
    m.one(Value::Number(kilobytes as f64))
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_read_in_any_base_as_c_reads_them() {
        for (text, base, number) in [
            ("zz", 36, Some(1295.0)),
            ("ff", 16, Some(255.0)),
            ("-ff", 16, Some(2f64.powi(64))),
            (" \t0x1F\n ", 16, Some(31.0)),
            ("0x", 16, None),
            ("0xg", 16, None),
            ("10\0zz", 16, Some(16.0)),
            ("99999999999999999999", 11, Some(2f64.powi(64))),
            ("-99999999999999999999", 11, Some(2f64.powi(64))),
            ("", 5, None),
            ("  ", 5, None),
            ("-", 5, None),
            ("- 7", 8, None),
            ("+7", 8, Some(7.0)),
            ("8", 8, None),
            ("7 8", 8, None),
            ("1.0", 8, None),
        ] {
            assert_eq!(parse_integer(text.as_bytes(), base), number, "{text:?} in base {base}");
        }
    }
}
