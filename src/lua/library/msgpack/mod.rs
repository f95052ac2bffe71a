//! `cmsgpack`: packs and unpacks MessagePack like the module of that name in Redis, version 0.4.0.
//!
//! The format is that of <https://github.com/msgpack/msgpack/blob/master/spec.md>, without binary and extension types.
//! Long values are packed and unpacked in slices, and the machine can be suspended between them.

mod format;
mod pack;
#[cfg(test)]
mod tests;
mod unpack;

use self::pack::Packer;
use self::unpack::{Failure, Unpacker};
use crate::lua::heap::OutOfMemory;
use crate::lua::machine::{
    Call, Continue, Machine, Native, Outcome, Raised, SCANNED_PER_STEP, VALUES_PER_STEP,
};
use crate::lua::value::Value;

/// Bytes written or read between checks of the heap's room and the machine's budget.
const SLICE: usize = 64 << 10;

/// Makes the module a global.
pub fn open(machine: &mut Machine) {
    let module = machine.heap.new_table(0, 0);
    let functions: [(&'static str, Native); 4] =
        [("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];
    for (name, native) in functions {
        machine.register(module, name, native);
    }
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        let text = machine.heap.string(text.as_bytes());
        machine.heap.set_field(module, name, Value::String(text));
    }
    super::publish(machine, "cmsgpack", module);
}

/// `cmsgpack.pack(value, …)`: the packed values, concatenated in a string.
fn pack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    if call.count() == 0 {
        return Err(machine.bad_argument(0, "MessagePack pack needs input."));
    }
    go_on_packing(machine, call, Packing { packer: Packer::default(), argument: 0 })
}

/// A packer and the number of the current argument.
#[derive(Debug)]
struct Packing {
    packer: Packer,
    argument: usize,
}

fn go_on_packing(machine: &mut Machine, call: Call, mut packing: Packing) -> Result<Outcome, Raised> {
    let Packing { packer, argument } = &mut packing;
    loop {
        let before = packer.length();
        let is_complete = packer.run(&machine.heap).map_err(|error| machine.out_of_memory(error))?;
        let has_time = machine.charge((packer.length() - before) / SCANNED_PER_STEP + packer.take_steps());
        if is_complete {
            if *argument == call.count() {
                let bytes = packing.packer.finish();
                let string = machine.heap.string_from(bytes);
                return machine.one(Value::String(string));
            }
            *argument += 1;
            packer
                .start(machine.argument(call, *argument), &machine.heap)
                .map_err(|error| machine.out_of_memory(error))?;
        }
        if !has_time {
            return Ok(Outcome::Pause(Box::new(packing)));
        }
    }
}

impl Continue for Packing {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        go_on_packing(machine, call, *self)
    }

    fn heap_bytes(&self) -> usize {
        self.packer.length()
    }
}

/// `cmsgpack.unpack(text)`: all values in it.
fn unpack(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    begin_unpacking(machine, call, Limits { most: 0, offset: 0, arguments: call.count() })
}

/// `cmsgpack.unpack_one(text [, offset])`: the position of the next value, or -1, and the value at the offset.
fn unpack_one(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let offset = machine.optional_integer(call, 2, 0)?;
    begin_unpacking(machine, call, Limits { most: 1, offset, arguments: 1 })
}

/// `cmsgpack.unpack_limit(text, limit [, offset])`: the position of the next value, or -1, and up to `limit` values.
fn unpack_limit(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let most = machine.check_integer(call, 2)?;
    let offset = machine.optional_integer(call, 3, 0)?;
    begin_unpacking(machine, call, Limits { most, offset, arguments: 1 })
}

/// The part of the text to unpack.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Without a limit and an offset, everything is unpacked, and the position of the next value is not returned.
    most: i64,
    offset: i64,
    /// The number of arguments that the reference implementation keeps on the stack.
    arguments: usize,
}

fn begin_unpacking(machine: &mut Machine, call: Call, limits: Limits) -> Result<Outcome, Raised> {
    let text = machine.check_string(call, 1)?;
    let length = machine.heap.bytes(text).len();
    let Limits { most, offset, .. } = limits;
    if offset < 0 || most < 0 {
        // As C's `int`, and with the length in place of the limit, as in Redis.
        let (offset, length) = (offset as i32, length as i32);
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(machine.error(text));
    }
    if offset as usize > length {
        let text = format!("Start offset {} greater than input length {}.", offset as i32, length as i32);
        return Err(machine.error(text));
    }
    machine.afford(length)?;
    Box::new(Reading { copied: Vec::new(), limits }).go_on(machine, call)
}

/// A text being copied: creating values could move the original while it is read.
#[derive(Debug)]
struct Reading {
    copied: Vec<u8>,
    limits: Limits,
}

impl Reading {
    fn go_on(mut self: Box<Self>, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let text = machine.check_string(call, 1)?;
        let Limits { most, offset, arguments } = self.limits;
        let (length, offset) = (machine.heap.bytes(text).len(), offset as usize);
        if !machine.copy_in_pieces(text, offset, length, &mut self.copied) {
            return Ok(Outcome::Pause(self));
        }
        let is_all = most == 0 && offset == 0;
        let most = if is_all { i32::MAX as usize } else { most as usize };
        let unpacker = Unpacker::new(self.copied, most, arguments, &mut machine.heap);
        // This table replaces the text, and keeps the unpacked values alive.
        machine.set_argument(call, 1, Value::Table(unpacker.values()));
        go_on_unpacking(machine, Unpacking { unpacker, offset: (!is_all).then_some(offset), arguments })
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

/// An unpacker, and how to return its values.
#[derive(Debug)]
struct Unpacking {
    unpacker: Unpacker,
    /// The start of its text, if the position of the next value is to be returned.
    offset: Option<usize>,
    arguments: usize,
}

fn go_on_unpacking(machine: &mut Machine, mut unpacking: Unpacking) -> Result<Outcome, Raised> {
    let unpacker = &mut unpacking.unpacker;
    loop {
        let before = unpacker.place();
        let (heap, budget) = machine.heap_and_budget();
        let is_complete = unpacker.run(heap, budget).map_err(|failure| raise(machine, failure))?;
        let has_time = machine.charge((unpacker.place() - before) / 2);
        if is_complete {
            return finish_unpacking(machine, &unpacking);
        }
        if !has_time {
            return Ok(Outcome::Pause(Box::new(unpacking)));
        }
    }
}

impl Continue for Unpacking {
    fn resume(self: Box<Self>, machine: &mut Machine, _: Call, _: usize) -> Result<Outcome, Raised> {
        go_on_unpacking(machine, *self)
    }

    fn heap_bytes(&self) -> usize {
        self.unpacker.heap_bytes()
    }
}

fn finish_unpacking(machine: &mut Machine, unpacking: &Unpacking) -> Result<Outcome, Raised> {
    let unpacker = &unpacking.unpacker;
    let count = unpacker.count();
    if let Some(offset) = unpacking.offset {
        if unpacking.arguments + count + 1 > unpack::MOST_SLOTS {
            return Err(machine.error("stack overflow (in function mp_unpack_full)"));
        }
        let next = if unpacker.is_at_end() { -1.0 } else { (offset + unpacker.place()) as f64 };
        machine.push(Value::Number(next));
    }
    machine.charge(count / (VALUES_PER_STEP / 2));
    for index in 1..=count {
        let value = machine.heap.get_index(unpacker.values(), index);
        machine.push(value);
    }
    Ok(Outcome::Values(count + usize::from(unpacking.offset.is_some())))
}

fn raise(machine: &mut Machine, failure: Failure) -> Raised {
    match failure {
        Failure::Text(text) => machine.error(text),
        Failure::Key(text) => machine.plain_error(text),
        Failure::Memory => machine.out_of_memory(OutOfMemory),
    }
}
