//! Blocks, their local variables, and name resolution.

use super::jumps::Jumps;
use super::values::{Expression, Kind};
use super::{Compiler, Result};
use crate::lua::code::{Capture, Instruction, Local, MOST_LOCALS, MOST_UPVALUES};

/// The maximum number of local variables in all blocks of a function together. The limit is the reference
/// implementation's.
const MOST_DECLARED: usize = i16::MAX as usize;

/// A local variable that is in scope or about to be.
pub(super) struct Variable<'s> {
    name: &'s [u8],
    /// Its index in the function's `locals`.
    local: usize,
}

pub(super) struct Block {
    /// The number of variables outside.
    active: u8,
    is_loop: bool,
    /// Whether a nested function has captured one of the block's variables.
    is_captured: bool,
    breaks: Jumps,
}

impl<'s> Compiler<'s, '_> {
    pub(super) fn enter_block(&mut self, is_loop: bool) {
        let active = self.function.active;
        self.function.blocks.push(Block { active, is_loop, is_captured: false, breaks: Jumps::NONE });
    }

    /// Ends the innermost block and frees its variables' registers. `break` jumps here.
    pub(super) fn leave_block(&mut self) -> Result<()> {
        let Some(block) = self.function.blocks.pop() else { return Ok(()) };
        self.end_variables(block.active);
        if block.is_captured {
            self.emit(Instruction::Close { from: block.active })?;
        }
        self.function.free = self.function.active;
        self.patch_to_here(block.breaks);
        Ok(())
    }

    /// Whether a variable of the innermost block has been captured.
    pub(super) fn is_captured(&self) -> bool {
        self.function.blocks.last().is_some_and(|block| block.is_captured)
    }

    /// Emits a jump out of the innermost loop.
    pub(super) fn break_loop(&mut self) -> Result<()> {
        let Some(index) = self.function.blocks.iter().rposition(|block| block.is_loop) else {
            return Err(self.syntax_error("no loop to break"));
        };
        let from = self.function.blocks[index].active;
        if self.function.blocks[index..].iter().any(|block| block.is_captured) {
            self.emit(Instruction::Close { from })?;
        }
        let jump = self.jump()?;
        let mut breaks = self.function.blocks[index].breaks;
        self.join(&mut breaks, jump);
        self.function.blocks[index].breaks = breaks;
        Ok(())
    }

    /// Declares a local variable, which is not visible until `begin_variables`.
    pub(super) fn declare(&mut self, name: &'s [u8]) -> Result<()> {
        self.check_limit(&self.function, self.function.variables.len() + 1, MOST_LOCALS, "local variables")?;
        let local = self.function.locals.len();
        if local >= MOST_DECLARED {
            return Err(b"too many local variables"[..].into());
        }
        self.function.locals.push(Local { name: name.into(), begin: 0, end: 0 });
        self.function.variables.push(Variable { name, local });
        Ok(())
    }

    /// Makes the next `count` declared variables visible from here on. They are in the first registers above the
    /// visible ones.
    pub(super) fn begin_variables(&mut self, count: usize) {
        let here = self.function.here();
        let function = &mut self.function;
        for variable in function.variables.iter().skip(usize::from(function.active)).take(count) {
            function.locals[variable.local].begin = here;
        }
        function.active += count as u8;
    }

    /// Makes the last declared variable visible to messages only from here on.
    pub(super) fn begin_last_variable_here(&mut self) {
        let here = self.function.here();
        if let Some(local) = self.function.locals.last_mut() {
            local.begin = here;
        }
    }

    /// Ends the variables in registers from `from` on.
    pub(super) fn end_variables(&mut self, from: u8) {
        let here = self.function.here();
        let function = &mut self.function;
        for variable in function.variables.drain(usize::from(from)..) {
            function.locals[variable.local].end = here;
        }
        function.active = from;
    }

    /// Resolves `name` at this point.
    pub(super) fn variable(&mut self, name: &'s [u8]) -> Result<Expression> {
        if let Some(register) =
            find_local(&self.function.variables[..usize::from(self.function.active)], name)
        {
            return Ok(Expression::new(Kind::Local(register)));
        }
        if let Some(upvalue) = self.upvalue(name)? {
            return Ok(Expression::new(Kind::Upvalue(upvalue)));
        }
        Ok(Expression::new(Kind::Global(self.string_constant(name)?)))
    }

    /// Returns the index of the current function's upvalue for `name`, if a function around it has a local variable of
    /// that name. The functions in between capture it too.
    fn upvalue(&mut self, name: &'s [u8]) -> Result<Option<u8>> {
        let owner = self.enclosing.iter_mut().enumerate().rev().find_map(|(depth, function)| {
            let register = find_local(&function.variables[..usize::from(function.active)], name)?;
            let owner = function.blocks.iter_mut().rev().find(|block| block.active <= register);
            if let Some(block) = owner {
                block.is_captured = true;
            }
            Some((depth, register))
        });
        let Some((depth, register)) = owner else { return Ok(None) };
        let mut capture = Capture::Register(register);
        for inner in depth + 1..=self.enclosing.len() {
            capture = Capture::Upvalue(self.capture(inner, name, capture)?);
        }
        match capture {
            Capture::Upvalue(upvalue) => Ok(Some(upvalue)),
            Capture::Register(_) => Ok(None),
        }
    }

    /// Returns the index of an upvalue of the function at `depth`; adds the upvalue if it is new.
    fn capture(&mut self, depth: usize, name: &'s [u8], capture: Capture) -> Result<u8> {
        let function = self.enclosing.get(depth).unwrap_or(&self.function);
        if let Some(index) = function.captures.iter().position(|&known| known == capture) {
            return Ok(index as u8);
        }
        let index = function.captures.len();
        self.check_limit(function, index + 1, MOST_UPVALUES, "upvalues")?;
        let function = self.enclosing.get_mut(depth).unwrap_or(&mut self.function);
        function.captures.push(capture);
        function.upvalue_names.push(name);
        Ok(index as u8)
    }
}

/// Returns the register of the last variable of that name.
fn find_local(variables: &[Variable], name: &[u8]) -> Option<u8> {
    variables.iter().rposition(|variable| variable.name == name).map(|register| register as u8)
}
