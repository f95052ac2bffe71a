//! Names for messages: of chunks, of the variable in a register, of the function that is called.
//!
//! The name of a value in a temporary register is not kept anywhere. It is found again by going through the code up to
//! the instruction in question, to see which one put the value there: `attempt to call field 'x'` if that read a field.
//! Where the code branches, this follows jumps forward, as the reference implementation does, so that the names are the
//! same even where they are a guess.

use super::code::{Instruction, Operand, Prototype};
use super::heap::Heap;
use super::value::Value;

/// The longest name of a chunk in a message is one less, for the zero that ends a C string.
const CHUNK_ID: usize = 60;
/// As `CHUNK_ID`, in errors of syntax.
const CHUNK_ID_OF_SYNTAX: usize = 80;

/// The bytes up to the first zero: what C takes for a string.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// The part of a chunk's name that messages show, with the bytes by which they see that it was truncated.
pub fn kept(chunk: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let chunk = until_zero(chunk);
    let most = 2 * CHUNK_ID_OF_SYNTAX;
    match chunk {
        [b'@', name @ ..] if name.len() > most => [b"@", &name[name.len() - most..]].concat().into(),
        _ => chunk[..chunk.len().min(most)].into(),
    }
}

/// A chunk's name as messages show it: what follows `=`, the end of what follows `@`, or the beginning of the first line
/// of the source as `[string "…"]`.
pub fn chunk_id(chunk: &[u8]) -> Vec<u8> {
    cut_chunk_id(chunk, CHUNK_ID)
}

/// As `chunk_id`, for errors of syntax, where the name may be longer.
pub(super) fn chunk_id_of_syntax(chunk: &[u8]) -> Vec<u8> {
    cut_chunk_id(chunk, CHUNK_ID_OF_SYNTAX)
}

/// In `size` bytes with the zero at its end.
fn cut_chunk_id(chunk: &[u8], size: usize) -> Vec<u8> {
    let chunk = until_zero(chunk);
    match chunk.split_first() {
        Some((b'=', name)) => name[..name.len().min(size - 1)].to_vec(),
        Some((b'@', name)) => {
            let most = size - " '...' \0".len();
            if name.len() <= most {
                return name.to_vec();
            }
            [b"...", &name[name.len() - most..]].concat()
        }
        _ => {
            let most = size - " [string \"...\"] \0".len();
            let line = chunk.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(chunk.len()).min(most);
            let dots: &[u8] = if line < chunk.len() { b"..." } else { b"" };
            [b"[string \"", &chunk[..line], dots, b"\"]"].concat()
        }
    }
}

/// What kind of variable the value in `register` is when the instruction at `pc` is executed, and the variable's name, if
/// that can be told.
pub fn of_register(
    prototype: &Prototype,
    pc: usize,
    register: u8,
    heap: &Heap,
) -> Option<(&'static str, Vec<u8>)> {
    let mut register = register;
    let mut pc = pc;
    loop {
        if let Some(name) = local(prototype, pc, register) {
            return Some(("local", name.to_vec()));
        }
        pc = last_change(prototype, pc, register)?;
        return match prototype.code[pc] {
            Instruction::GetGlobal { name, .. } => {
                Some(("global", text(prototype.constants[name as usize], heap).to_vec()))
            }
            Instruction::GetTable { key, .. } => Some(("field", key_name(prototype, key, heap).to_vec())),
            Instruction::Method { name, .. } => Some(("method", key_name(prototype, name, heap).to_vec())),
            Instruction::GetUpvalue { upvalue, .. } => {
                Some(("upvalue", prototype.upvalue_names[usize::from(upvalue)].to_vec()))
            }
            Instruction::Move { to, from } if from < to => {
                register = from;
                continue;
            }
            _ => None,
        };
    }
}

/// As `of_register`, of the function that the instruction at `pc` calls.
pub fn of_call(prototype: &Prototype, pc: usize, heap: &Heap) -> Option<(&'static str, Vec<u8>)> {
    let register = match *prototype.code.get(pc)? {
        Instruction::Call { function, .. } | Instruction::TailCall { function, .. } => function,
        Instruction::IterateCall { base, .. } => base,
        _ => return None,
    };
    of_register(prototype, pc, register, heap)
}

/// The names of the local variables visible at `pc`, in the order of their registers.
pub fn locals(prototype: &Prototype, pc: usize) -> impl Iterator<Item = &[u8]> {
    let seen = move |begin: u32, end: u32| begin as usize <= pc && pc < end as usize;
    prototype.locals.iter().filter(move |local| seen(local.begin, local.end)).map(|local| &*local.name)
}

/// The local variable in `register` that the instruction at `pc` sees.
fn local(prototype: &Prototype, pc: usize, register: u8) -> Option<&[u8]> {
    locals(prototype, pc).nth(usize::from(register))
}

fn key_name<'a>(prototype: &'a Prototype, key: Operand, heap: &'a Heap) -> &'a [u8] {
    match key.as_constant() {
        Some(constant) => text(prototype.constants[constant], heap),
        None => b"?",
    }
}

fn text(value: Value, heap: &Heap) -> &[u8] {
    match value {
        Value::String(string) => until_zero(heap.bytes(string)),
        _ => b"?",
    }
}

/// The last instruction before `end` that changes `register`, on the way that takes all jumps forward which do not lead
/// past `end`.
fn last_change(prototype: &Prototype, end: usize, register: u8) -> Option<usize> {
    let mut last = None;
    let mut pc = 0;
    while pc < end {
        let instruction = prototype.code[pc];
        if changes(instruction, register) {
            last = Some(pc);
        }
        pc += 1;
        if let Instruction::Jump { by } | Instruction::ForPrepare { by, .. } = instruction {
            let target = pc.saturating_add_signed(by as isize);
            if pc < target && target <= end {
                pc = target;
            }
        }
    }
    last
}

/// Whether `instruction` changes `register`. That `Test` does is not so, but the names that follow from it are expected.
fn changes(mut instruction: Instruction, register: u8) -> bool {
    if let Some(to) = instruction.destination() {
        return *to == register;
    }
    match instruction {
        Instruction::TestSet { to, .. } => to == register,
        Instruction::Test { value, .. } => value == register,
        Instruction::ForPrepare { base, .. } | Instruction::ForLoop { base, .. } => base == register,
        Instruction::LoadNil { first, last } => (first..=last).contains(&register),
        Instruction::Method { to, .. } => register == to || register == to + 1,
        Instruction::Call { function, .. } | Instruction::TailCall { function, .. } => register >= function,
        Instruction::IterateCall { base, .. } => register >= base + 2,
        _ => false,
    }
}
