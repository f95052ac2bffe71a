//! Expressions before all of their instructions are emitted, and how their values get into a register, an operand or a
//! variable.

use super::jumps::Jumps;
use super::{Compiler, Result};
use crate::lua::code::{Instruction, Operand};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    /// No expression.
    Nothing,
    Nil,
    True,
    False,
    /// A number, not in the constants as long as it may be folded.
    Number(f64),
    /// The index of a constant.
    Constant(u32),
    /// The register of a local variable.
    Local(u8),
    /// The index of an upvalue.
    Upvalue(u8),
    /// The constant that holds the name.
    Global(u32),
    Indexed {
        table: u8,
        key: Operand,
    },
    /// The jump after a comparison, taken if the comparison is true.
    Comparison(Jumps),
    /// The place of an instruction whose destination is not set yet.
    Unplaced(u32),
    /// A register that holds the value.
    Placed(u8),
    /// The place of an instruction that returns a number of values not fixed yet.
    Call(u32),
    VarArguments(u32),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Expression {
    pub(super) kind: Kind,
    /// Jumps taken when a part of the expression has decided that it is true, or false.
    pub(super) if_true: Jumps,
    pub(super) if_false: Jumps,
}

impl Expression {
    pub(super) fn new(kind: Kind) -> Expression {
        Expression { kind, if_true: Jumps::NONE, if_false: Jumps::NONE }
    }

    pub(super) fn nothing() -> Expression {
        Expression::new(Kind::Nothing)
    }

    pub(super) fn constant(index: u32) -> Expression {
        Expression::new(Kind::Constant(index))
    }

    pub(super) fn placed(register: u8) -> Expression {
        Expression::new(Kind::Placed(register))
    }

    pub(super) fn has_many_values(&self) -> bool {
        matches!(self.kind, Kind::Call(_) | Kind::VarArguments(_))
    }

    /// Returns the number, if the expression is one that operators can fold.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self.kind {
            Kind::Number(number) if !self.has_jumps() => Some(number),
            _ => None,
        }
    }

    fn has_jumps(&self) -> bool {
        self.if_true != self.if_false
    }
}

/// Sets where an instruction stores its result.
fn set_destination(instruction: &mut Instruction, register: u8) {
    match instruction.destination() {
        Some(to) => *to = register,
        None => debug_assert!(false, "{instruction:?} has no destination"),
    }
}

impl Compiler<'_, '_> {
    /// Frees the register of `e`, if it is a temporary one.
    pub(super) fn release(&mut self, e: &Expression) {
        if let Kind::Placed(register) = e.kind {
            self.function.free_register(register);
        }
    }

    pub(super) fn release_operand(&mut self, operand: Operand) {
        if operand.as_constant().is_none() {
            self.function.free_register(operand.0 as u8);
        }
    }

    /// Emits an instruction whose destination is to be set later.
    pub(super) fn emit_unplaced(&mut self, instruction: Instruction) -> Result<Expression> {
        Ok(Expression::new(Kind::Unplaced(self.emit(instruction)?)))
    }

    /// Fixes the number of values of a call or of `...` to `count`, or to all if `None`. Those of `...` go to the first
    /// free registers.
    pub(super) fn set_values(&mut self, e: &Expression, count: Option<usize>) -> Result<()> {
        let wanted = count.map_or(0, |count| count as u16 + 1);
        match e.kind {
            Kind::Call(place) => {
                if let Instruction::Call { results, .. } = self.function.at(place) {
                    *results = wanted;
                }
            }
            Kind::VarArguments(place) => {
                let to = self.take_registers(1)?;
                *self.function.at(place) = Instruction::VarArguments { to, count: wanted };
            }
            _ => (),
        }
        Ok(())
    }

    /// Turns a call or `...` into an expression of one value.
    pub(super) fn set_one_value(&mut self, e: &mut Expression) {
        match e.kind {
            Kind::Call(place) => {
                if let Instruction::Call { function, .. } = *self.function.at(place) {
                    e.kind = Kind::Placed(function);
                }
            }
            Kind::VarArguments(place) => {
                *self.function.at(place) = Instruction::VarArguments { to: 0, count: 2 };
                e.kind = Kind::Unplaced(place);
            }
            _ => (),
        }
    }

    /// Turns a variable, a call or `...` into a value.
    pub(super) fn load_variable(&mut self, e: &mut Expression) -> Result<()> {
        let load = match e.kind {
            Kind::Local(register) => {
                e.kind = Kind::Placed(register);
                return Ok(());
            }
            Kind::Upvalue(upvalue) => Instruction::GetUpvalue { to: 0, upvalue },
            Kind::Global(name) => Instruction::GetGlobal { to: 0, name },
            Kind::Indexed { table, key } => {
                self.release_operand(key);
                self.function.free_register(table);
                Instruction::GetTable { to: 0, table, key }
            }
            _ => {
                self.set_one_value(e);
                return Ok(());
            }
        };
        e.kind = Kind::Unplaced(self.emit(load)?);
        Ok(())
    }

    /// Puts the value of `e` in `to`; does not handle its jumps.
    fn place_value(&mut self, e: &mut Expression, to: u8) -> Result<()> {
        self.load_variable(e)?;
        match e.kind {
            Kind::Nil => self.emit_nil(to, to)?,
            Kind::True | Kind::False => {
                let value = e.kind == Kind::True;
                self.emit(Instruction::LoadBoolean { to, value, skip: false })?;
            }
            Kind::Constant(constant) => {
                self.emit(Instruction::LoadConstant { to, constant })?;
            }
            Kind::Number(number) => {
                let constant = self.number_constant(number)?;
                self.emit(Instruction::LoadConstant { to, constant })?;
            }
            Kind::Unplaced(place) => set_destination(self.function.at(place), to),
            Kind::Placed(from) if from != to => {
                self.emit(Instruction::Move { to, from })?;
            }
            Kind::Placed(_) => (),
            _ => return Ok(()),
        }
        e.kind = Kind::Placed(to);
        Ok(())
    }

    /// Puts the value of `e` in a register; does not handle its jumps.
    pub(super) fn place_anywhere(&mut self, e: &mut Expression) -> Result<u8> {
        if let Kind::Placed(register) = e.kind {
            return Ok(register);
        }
        let to = self.take_registers(1)?;
        self.place_value(e, to)?;
        Ok(to)
    }

    /// Puts the value of `e` in `to`, on every path that leads to it.
    pub(super) fn put_in(&mut self, e: &mut Expression, to: u8) -> Result<()> {
        self.place_value(e, to)?;
        if let Kind::Comparison(jumps) = e.kind {
            self.join(&mut e.if_true, jumps);
        }
        if e.has_jumps() {
            let (mut load_false, mut load_true) = (0, 0);
            if self.needs_value(e.if_true) || self.needs_value(e.if_false) {
                // A value that is already in place must not be overwritten.
                let over = match e.kind {
                    Kind::Comparison(_) => Jumps::NONE,
                    _ => self.jump()?,
                };
                self.function.target();
                load_false = self.emit(Instruction::LoadBoolean { to, value: false, skip: true })?;
                self.function.target();
                load_true = self.emit(Instruction::LoadBoolean { to, value: true, skip: false })?;
                self.patch_to_here(over);
            }
            let end = self.function.target();
            self.patch_values(e.if_false, end, Some(to), load_false)?;
            self.patch_values(e.if_true, end, Some(to), load_true)?;
        }
        *e = Expression::placed(to);
        Ok(())
    }

    /// Puts `e` in the first free register and takes that register.
    pub(super) fn put_in_next(&mut self, e: &mut Expression) -> Result<u8> {
        self.load_variable(e)?;
        self.release(e);
        let to = self.take_registers(1)?;
        self.put_in(e, to)?;
        Ok(to)
    }

    /// Puts `e` in a register, unless it is in one already.
    pub(super) fn put_anywhere(&mut self, e: &mut Expression) -> Result<u8> {
        self.load_variable(e)?;
        if let Kind::Placed(register) = e.kind {
            if !e.has_jumps() {
                return Ok(register);
            }
            if register >= self.function.active {
                self.put_in(e, register)?;
                return Ok(register);
            }
        }
        self.put_in_next(e)
    }

    /// Makes `e` a value without jumps, which may still have no register.
    pub(super) fn make_value(&mut self, e: &mut Expression) -> Result<()> {
        if e.has_jumps() {
            self.put_anywhere(e)?;
            return Ok(());
        }
        self.load_variable(e)
    }

    /// Makes `e` an operand: a constant if its index fits, else a register.
    pub(super) fn make_operand(&mut self, e: &mut Expression) -> Result<Operand> {
        self.make_value(e)?;
        let constant = match e.kind {
            Kind::Nil => Some(self.nil_constant()?),
            Kind::True => Some(self.boolean_constant(true)?),
            Kind::False => Some(self.boolean_constant(false)?),
            Kind::Number(number) => Some(self.number_constant(number)?),
            Kind::Constant(constant) => Some(constant),
            _ => None,
        };
        if let Some(constant) = constant {
            e.kind = Kind::Constant(constant);
            if (constant as usize) < Operand::MOST_CONSTANTS {
                return Ok(Operand::constant(constant as usize));
            }
        }
        Ok(Operand::register(self.put_anywhere(e)?))
    }

    /// Stores `e` in a variable.
    pub(super) fn store(&mut self, variable: &Expression, e: &mut Expression) -> Result<()> {
        match variable.kind {
            Kind::Local(register) => {
                self.release(e);
                return self.put_in(e, register);
            }
            Kind::Upvalue(upvalue) => {
                let from = self.put_anywhere(e)?;
                self.emit(Instruction::SetUpvalue { from, upvalue })?;
            }
            Kind::Global(name) => {
                let from = self.put_anywhere(e)?;
                self.emit(Instruction::SetGlobal { from, name })?;
            }
            Kind::Indexed { table, key } => {
                let value = self.make_operand(e)?;
                self.emit(Instruction::SetTable { table, key, value })?;
            }
            other => debug_assert!(false, "{other:?} is not a variable"),
        }
        self.release(e);
        Ok(())
    }
}
