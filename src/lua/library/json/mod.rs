//! `cjson`: encodes and decodes JSON like the module of that name in Redis, version 2.1.0.
//!
//! A module table has a configuration, which its functions read and change; `cjson.new()` returns a module with its
//! own. The configuration is a table that all functions of the module have as an upvalue. Long documents are encoded
//! and decoded in slices, and the machine can be suspended between them.

mod config;
mod decode;
mod encode;
mod scan;
#[cfg(test)]
mod tests;

use self::config::{Config, Setting};
use self::decode::Decoder;
use self::encode::Encoder;
use super::check_int;
use crate::lua::heap::{Function, OutOfMemory};
use crate::lua::machine::{Call, Continue, Machine, Native, Outcome, Raised};
use crate::lua::value::{TableId, Value};
use crate::text::words;

/// The number of Lua stack slots that a C function may use. The reference implementation keeps the tables it is working
/// on there, and rejects a document nested deeper, whatever the configuration says.
const MOST_SLOTS: usize = 8000;

/// Bytes written or read between checks of the heap's room and the machine's budget.
const SLICE: usize = 64 << 10;

/// Why a document cannot be encoded or decoded.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Message(String),
    Memory,
}

impl From<OutOfMemory> for Failure {
    fn from(_: OutOfMemory) -> Failure {
        Failure::Memory
    }
}

/// Makes the module a global.
pub fn open(machine: &mut Machine) {
    let module = new_module(machine);
    super::publish(machine, "cjson", module);
}

/// Creates a table of the functions, with its own configuration.
fn new_module(machine: &mut Machine) -> TableId {
    let heap = &mut machine.heap;
    let module = heap.new_table(0, 0);
    let config = Config::default().store(heap);
    let functions: [(&'static str, Native); 10] = [
        ("encode", encode),
        ("decode", decode),
        ("encode_sparse_array", encode_sparse_array),
        ("encode_max_depth", encode_max_depth),
        ("decode_max_depth", decode_max_depth),
        ("encode_number_precision", encode_number_precision),
        ("encode_keep_buffer", encode_keep_buffer),
        ("encode_invalid_numbers", encode_invalid_numbers),
        ("decode_invalid_numbers", decode_invalid_numbers),
        ("new", new),
    ];
    for (name, native) in functions {
        let function = heap.new_native_with(name, native, &[Value::Table(config)]);
        heap.set_field(module, name, function);
    }
    heap.set_field(module, "null", Value::Null);
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        let text = heap.string(text.as_bytes());
        heap.set_field(module, name, Value::String(text));
    }
    module
}

/// `cjson.new()`: a module with its own configuration.
fn new(machine: &mut Machine, _: Call) -> Result<Outcome, Raised> {
    let module = new_module(machine);
    machine.one(Value::Table(module))
}

/// Returns the configuration table of the running function.
fn settings(machine: &Machine, call: Call) -> TableId {
    match machine.upvalue(call, 0) {
        Value::Table(table) => table,
        _ => unreachable!("functions of the module are made with it"),
    }
}

fn raise(machine: &mut Machine, failure: Failure) -> Raised {
    match failure {
        Failure::Message(text) => machine.error(text),
        Failure::Memory => machine.out_of_memory(OutOfMemory),
    }
}

fn check_one_argument(machine: &mut Machine, call: Call) -> Result<(), Raised> {
    if call.count() == 1 { Ok(()) } else { Err(machine.bad_argument(1, "expected 1 argument")) }
}

/// `cjson.encode(value)`
fn encode(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_one_argument(machine, call)?;
    let config = Config::load(settings(machine, call), &machine.heap);
    let mut encoder = Encoder::new(config);
    match encoder.start(machine.argument(call, 1), &machine.heap) {
        Ok(()) => go_on_encoding(machine, encoder),
        Err(failure) => Err(raise(machine, failure)),
    }
}

fn go_on_encoding(machine: &mut Machine, mut encoder: Encoder) -> Result<Outcome, Raised> {
    loop {
        let before = encoder.length();
        let is_complete = encoder.run(&machine.heap).map_err(|failure| raise(machine, failure))?;
        let has_time = machine.charge((encoder.length() - before) / 4 + encoder.take_steps());
        if is_complete {
            let string = machine.heap.string_from(encoder.finish());
            return machine.one(Value::String(string));
        }
        if !has_time {
            return Ok(Outcome::Pause(Box::new(encoder)));
        }
    }
}

impl Continue for Encoder {
    fn resume(self: Box<Self>, machine: &mut Machine, _: Call, _: usize) -> Result<Outcome, Raised> {
        go_on_encoding(machine, *self)
    }

    fn heap_bytes(&self) -> usize {
        self.length()
    }
}

/// `cjson.decode(text)`
fn decode(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_one_argument(machine, call)?;
    let text = machine.check_string(call, 1)?;
    let bytes = machine.heap.bytes(text);
    if bytes.len() >= 2 && (bytes[0] == 0 || bytes[1] == 0) {
        return Err(machine.error("JSON parser does not support UTF-16 or UTF-32"));
    }
    // Memory for the copy, and for the values made from it.
    machine.afford(bytes.len())?;
    Box::new(Reading { copied: Vec::new() }).go_on(machine, call)
}

/// A document being copied: creating values could move the original while it is read.
#[derive(Debug)]
struct Reading {
    copied: Vec<u8>,
}

impl Reading {
    fn go_on(mut self: Box<Self>, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let text = machine.check_string(call, 1)?;
        let length = machine.heap.bytes(text).len();
        if self.copied.is_empty() {
            // One more byte for the zero at the end.
            self.copied.reserve_exact(length + 1);
        }
        if !machine.copy_in_pieces(text, 0, length, &mut self.copied) {
            return Ok(Outcome::Pause(self));
        }
        let config = Config::load(settings(machine, call), &machine.heap);
        go_on_decoding(machine, call, Decoder::new(self.copied, &config))
    }
}

impl Continue for Reading {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(machine, call)
    }

    fn heap_bytes(&self) -> usize {
        self.copied.capacity()
    }
}

fn go_on_decoding(machine: &mut Machine, call: Call, mut decoder: Decoder) -> Result<Outcome, Raised> {
    loop {
        let before = decoder.place();
        let (heap, budget) = machine.heap_and_budget();
        let value = decoder.run(heap, budget).map_err(|failure| raise(machine, failure))?;
        let has_time = machine.charge((decoder.place() - before) / 2);
        if let Some(value) = value {
            return machine.one(value);
        }
        if !has_time {
            // Keeps the decoded values alive.
            machine.set_argument(call, 1, decoder.root());
            machine.push(decoder.key_in_hand());
            return Ok(Outcome::Pause(Box::new(decoder)));
        }
    }
}

impl Continue for Decoder {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        machine.drop_values(1);
        go_on_decoding(machine, call, *self)
    }

    fn heap_bytes(&self) -> usize {
        Decoder::heap_bytes(self)
    }
}

// Settings. Each function sets the value to its argument, unless that is nil, and returns the value.

/// `cjson.encode_sparse_array([convert [, ratio [, safe]]])`
fn encode_sparse_array(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 3)?;
    choice(machine, call, Setting::SparseConvert, &SWITCH)?;
    integer(machine, call, 2, Setting::SparseRatio, 0, i32::MAX)?;
    integer(machine, call, 3, Setting::SparseSafe, 0, i32::MAX)?;
    Ok(Outcome::Values(3))
}

/// `cjson.encode_max_depth([depth])`
fn encode_max_depth(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    integer(machine, call, 1, Setting::EncodeDepth, 1, i32::MAX)?;
    Ok(Outcome::Values(1))
}

/// `cjson.decode_max_depth([depth])`
fn decode_max_depth(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    integer(machine, call, 1, Setting::DecodeDepth, 1, i32::MAX)?;
    Ok(Outcome::Values(1))
}

/// `cjson.encode_number_precision([digits])`
fn encode_number_precision(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    integer(machine, call, 1, Setting::Precision, 1, 14)?;
    Ok(Outcome::Values(1))
}

/// `cjson.encode_keep_buffer([keep])`
fn encode_keep_buffer(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    choice(machine, call, Setting::KeepBuffer, &SWITCH)?;
    Ok(Outcome::Values(1))
}

/// `cjson.encode_invalid_numbers([setting])`
fn encode_invalid_numbers(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    choice(machine, call, Setting::EncodeInvalid, &["off", "on", "null"])?;
    Ok(Outcome::Values(1))
}

/// `cjson.decode_invalid_numbers([setting])`
fn decode_invalid_numbers(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    check_argument_count(machine, call, 1)?;
    choice(machine, call, Setting::DecodeInvalid, &SWITCH)?;
    Ok(Outcome::Values(1))
}

/// The words for false and true.
const SWITCH: [&str; 2] = ["off", "on"];

fn check_argument_count(machine: &mut Machine, call: Call, most: usize) -> Result<(), Raised> {
    if call.count() <= most {
        return Ok(());
    }
    Err(machine.bad_argument(most + 1, "found too many arguments"))
}

fn change(machine: &mut Machine, setting: Setting, settings: TableId, value: i32) {
    machine.is_json_changed = true;
    setting.set(settings, value, &mut machine.heap);
}

/// Resets the global module to its initial settings, so that no program sees those of another.
pub fn reset(machine: &mut Machine) {
    if !std::mem::take(&mut machine.is_json_changed) {
        return;
    }
    let globals = machine.globals();
    if let Value::Table(module) = machine.heap.field(globals, "cjson")
        && let Value::Function(encode) = machine.heap.field(module, "encode")
        && let Function::Native { upvalues, .. } = machine.heap.function(encode)
        && let Some(Value::Table(settings)) = upvalues.first().copied()
    {
        Config::default().write(settings, &mut machine.heap);
    }
}

/// Sets a number to the `n`th argument unless that is nil; pushes the number.
fn integer(
    machine: &mut Machine,
    call: Call,
    n: usize,
    setting: Setting,
    least: i32,
    most: i32,
) -> Result<(), Raised> {
    let settings = settings(machine, call);
    if !machine.argument(call, n).is_nil() {
        let value = check_int(machine, call, n)?;
        if !(least..=most).contains(&value) {
            // Redis blames the first argument, whichever it is.
            return Err(machine.bad_argument(1, &format!("expected integer between {least} and {most}")));
        }
        change(machine, setting, settings, value);
    }
    let value = setting.get(settings, &machine.heap);
    machine.push(Value::Number(f64::from(value)));
    Ok(())
}

/// Sets one of `names` to the first argument, which is the word or a boolean, unless it is nil. Pushes a boolean for
/// the first two words, and otherwise the word.
fn choice(machine: &mut Machine, call: Call, setting: Setting, names: &[&str]) -> Result<(), Raised> {
    let settings = settings(machine, call);
    match machine.argument(call, 1) {
        Value::Nil => {}
        Value::Boolean(value) => change(machine, setting, settings, i32::from(value)),
        _ => {
            let string = machine.check_string(call, 1)?;
            let word = words::shown(machine.heap.bytes(string));
            let Some(index) = names.iter().position(|name| name.as_bytes() == word) else {
                let text = [b"invalid option '", word, b"'"].concat();
                return Err(machine.bad_argument_bytes(1, &text));
            };
            change(machine, setting, settings, index as i32);
        }
    }
    match setting.get(settings, &machine.heap) {
        value @ (0 | 1) => machine.push(Value::Boolean(value == 1)),
        value => machine.push_bytes(names[value as usize].as_bytes()),
    }
    Ok(())
}
