//! The function being compiled: its code, constants and registers.

use std::cell::Cell;
use std::mem::{replace, take};
use std::rc::Rc;

use super::constants::MOST_CONSTANTS;
use super::jumps::Jumps;
use super::scope::{Block, Variable};
use super::{Compiler, Result};
use crate::lua::code::{Capture, Instruction, Local, MOST_REGISTERS, Prototype};
use crate::lua::value::Value;

pub(super) struct Function<'s> {
    /// The function's number in the chunk.
    pub(super) number: u32,
    pub(super) line: u32,
    pub(super) parameters: u8,
    pub(super) is_variadic: bool,
    pub(super) wants_arg: bool,
    pub(super) code: Vec<Instruction>,
    lines: Vec<u32>,
    pub(super) constants: Vec<Value>,
    prototypes: Vec<Rc<Prototype>>,
    pub(super) captures: Vec<Capture>,
    pub(super) upvalue_names: Vec<&'s [u8]>,
    pub(super) locals: Vec<Local>,
    /// The variables in scope. The first `active` of them are visible, and are in the registers below `active`.
    pub(super) variables: Vec<Variable<'s>>,
    pub(super) active: u8,
    /// The first free register. Registers in use above the variables form a stack.
    pub(super) free: u8,
    registers: u8,
    pub(super) blocks: Vec<Block>,
    /// The jumps to the next instruction.
    pub(super) pending: Jumps,
    /// The last place that became a jump target; the instruction before it must stay unchanged.
    last_target: Option<u32>,
}

impl<'s> Function<'s> {
    pub(super) fn new(number: u32, line: u32) -> Function<'s> {
        Function {
            number,
            line,
            parameters: 0,
            is_variadic: false,
            wants_arg: false,
            code: Vec::new(),
            lines: Vec::new(),
            constants: Vec::new(),
            prototypes: Vec::new(),
            captures: Vec::new(),
            upvalue_names: Vec::new(),
            locals: Vec::new(),
            variables: Vec::new(),
            active: 0,
            free: 0,
            registers: 2,
            blocks: Vec::new(),
            pending: Jumps::NONE,
            last_target: None,
        }
    }

    /// The place of the next instruction.
    pub(super) fn here(&self) -> u32 {
        self.code.len() as u32
    }

    /// Like `here`, and marks the place as a jump target.
    pub(super) fn target(&mut self) -> u32 {
        self.last_target = Some(self.here());
        self.here()
    }

    pub(super) fn at(&mut self, place: u32) -> &mut Instruction {
        &mut self.code[place as usize]
    }

    /// Removes the last instruction.
    pub(super) fn take_back(&mut self) {
        self.code.pop();
        self.lines.pop();
    }

    /// Gives the last instruction `line` instead of the line of the token read last.
    pub(super) fn set_line(&mut self, line: u32) {
        if let Some(last) = self.lines.last_mut() {
            *last = line;
        }
    }

    /// Frees `register`, the last one in use, unless it is a variable's.
    pub(super) fn free_register(&mut self, register: u8) {
        if register >= self.active {
            self.free -= 1;
            debug_assert_eq!(register, self.free);
        }
    }

    /// Resets the function for reuse, and keeps its allocated memory.
    fn reset(&mut self, number: u32, line: u32) {
        self.code.clear();
        self.lines.clear();
        self.constants.clear();
        self.prototypes.clear();
        self.captures.clear();
        self.upvalue_names.clear();
        self.locals.clear();
        self.variables.clear();
        self.blocks.clear();
        *self = Function {
            code: take(&mut self.code),
            lines: take(&mut self.lines),
            constants: take(&mut self.constants),
            prototypes: take(&mut self.prototypes),
            captures: take(&mut self.captures),
            upvalue_names: take(&mut self.upvalue_names),
            locals: take(&mut self.locals),
            variables: take(&mut self.variables),
            blocks: take(&mut self.blocks),
            ..Function::new(number, line)
        };
    }

    /// Returns the finished prototype, in exactly the memory that it needs.
    fn finish(&mut self, last_line: u32, chunk: &Rc<[u8]>) -> Prototype {
        Prototype {
            chunk: chunk.clone(),
            line: self.line,
            last_line,
            parameters: self.parameters,
            is_variadic: self.is_variadic,
            wants_arg: self.wants_arg,
            registers: self.registers,
            code: self.code[..].into(),
            constants: self.constants[..].into(),
            prototypes: self.prototypes.drain(..).collect(),
            captures: self.captures[..].into(),
            lines: self.lines[..].into(),
            locals: self.locals.drain(..).collect(),
            upvalue_names: self.upvalue_names.iter().map(|&name| Box::from(name)).collect(),
            marked: Cell::new(0),
        }
    }
}

impl Compiler<'_, '_> {
    /// Begins a function inside the current one; `finish_function` ends it.
    pub(super) fn begin_function(&mut self, line: u32) {
        let mut inner = self.spare.pop().unwrap_or_else(|| Function::new(0, 0));
        inner.reset(self.functions, line);
        self.functions += 1;
        self.enclosing.push(replace(&mut self.function, inner));
    }

    /// Ends the current function. The function around it, if any, becomes current.
    pub(super) fn finish_function(&mut self, last_line: u32) -> Result<Rc<Prototype>> {
        self.end_variables(0);
        self.emit(Instruction::Return { first: 0, values: 1 })?;
        let outer = self.enclosing.pop().unwrap_or_else(|| Function::new(0, 0));
        let mut finished = replace(&mut self.function, outer);
        let prototype = Rc::new(finished.finish(last_line, &self.chunk));
        self.spare.push(finished);
        Ok(prototype)
    }

    /// Adds a nested function to the current one and returns its index.
    pub(super) fn add_prototype(&mut self, prototype: Rc<Prototype>) -> Result<u32> {
        let index = self.function.prototypes.len();
        if index >= MOST_CONSTANTS {
            return Err(b"constant table overflow"[..].into());
        }
        self.function.prototypes.push(prototype);
        Ok(index as u32)
    }

    /// Appends an instruction and returns its place.
    pub(super) fn emit(&mut self, instruction: Instruction) -> Result<u32> {
        let here = self.function.here();
        if !self.function.pending.is_empty() {
            let pending = take(&mut self.function.pending);
            self.patch_values(pending, here, None, here)?;
        }
        self.function.code.push(instruction);
        self.function.lines.push(self.lexer.last_line);
        Ok(here)
    }

    /// Emits `first, …, last = nil`. Extends the previous instruction if it sets the registers below to nil. Emits
    /// nothing at the start of a function, where all registers are nil.
    pub(super) fn emit_nil(&mut self, first: u8, last: u8) -> Result<()> {
        let function = &mut self.function;
        let is_target = function.last_target == Some(function.here());
        if function.here() == 0 && !is_target && first >= function.active {
            return Ok(());
        }
        if !is_target
            && let Some(Instruction::LoadNil { first: begin, last: end }) = function.code.last_mut()
            && *begin <= first
            && first <= *end + 1
        {
            *end = (*end).max(last);
            return Ok(());
        }
        self.emit(Instruction::LoadNil { first, last })?;
        Ok(())
    }

    /// Takes the next `count` registers and returns the first of them.
    pub(super) fn take_registers(&mut self, count: usize) -> Result<u8> {
        let first = self.function.free;
        self.need_registers(count)?;
        self.function.free += count as u8;
        Ok(first)
    }

    /// Ensures that the next `count` registers can be used.
    pub(super) fn need_registers(&mut self, count: usize) -> Result<()> {
        let needed = usize::from(self.function.free) + count;
        if needed > usize::from(self.function.registers) {
            if needed >= MOST_REGISTERS {
                return Err(self.syntax_error("function or expression too complex"));
            }
            self.function.registers = needed as u8;
        }
        Ok(())
    }
}
