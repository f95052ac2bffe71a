//! Names for messages: of chunks, of the variable in a register, of the called function.
//!
//! The name of a value in a temporary register is not stored. It is reconstructed by scanning the code up to the
//! instruction in question for the one that put the value there: `attempt to call field 'x'` if it read a field. At
//! branches, the scan follows forward jumps, as the reference implementation does, so names agree even where they are a
//! guess.

use super::code::{Instruction, Operand, Prototype};
use super::heap::Heap;
use super::value::Value;

/// The size of a chunk's name in a message, including the zero that ends a C string.
const CHUNK_ID: usize = 60;
/// Like `CHUNK_ID`, in syntax errors.
const CHUNK_ID_OF_SYNTAX: usize = 80;

/// Returns the bytes before the first zero byte, as a C string ends there.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Returns the part of a chunk's name that messages show, and enough bytes more to show that it was truncated.
pub fn kept(chunk: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let chunk = until_zero(chunk);
    let most = 2 * CHUNK_ID_OF_SYNTAX;
    match chunk {
        [b'@', name @ ..] if name.len() > most => [b"@", &name[name.len() - most..]].concat().into(),
        _ => chunk[..chunk.len().min(most)].into(),
    }
}

/// Formats a chunk's name for messages: the text after `=`, the end of the text after `@`, or the beginning of the
/// source's first line as `[string "…"]`.
pub fn chunk_id(chunk: &[u8]) -> Vec<u8> {
    cut_chunk_id(chunk, CHUNK_ID)
}

/// Like `chunk_id`, for syntax errors, where the name may be longer.
pub(super) fn chunk_id_of_syntax(chunk: &[u8]) -> Vec<u8> {
    cut_chunk_id(chunk, CHUNK_ID_OF_SYNTAX)
}

/// Fits a chunk's name into `size` bytes, including the zero byte at the end.
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

/// Returns the kind and the name of the variable whose value is in `register` when the instruction at `pc` is executed,
/// if they can be determined.
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

/// Like `of_register`, for the function that the instruction at `pc` calls.
pub fn of_call(prototype: &Prototype, pc: usize, heap: &Heap) -> Option<(&'static str, Vec<u8>)> {
    let register = match *prototype.code.get(pc)? {
        Instruction::Call { function, .. } | Instruction::TailCall { function, .. } => function,
        Instruction::IterateCall { base, .. } => base,
        _ => return None,
    };
    of_register(prototype, pc, register, heap)
}

/// The names of the local variables visible at `pc`, in register order.
pub fn locals(prototype: &Prototype, pc: usize) -> impl Iterator<Item = &[u8]> {
    let seen = move |begin: u32, end: u32| begin as usize <= pc && pc < end as usize;
    prototype.locals.iter().filter(move |local| seen(local.begin, local.end)).map(|local| &*local.name)
}

/// Returns the local variable in `register` that is visible to the instruction at `pc`.
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

/// Returns the last instruction before `end` that changes `register`, on the path that takes all forward jumps that do
/// not go past `end`.
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

/// Whether `instruction` changes `register`. `Test` does not, but counts, since the names that follow from it are
/// expected.
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
