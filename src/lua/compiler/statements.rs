//! The grammar of statements.

use super::jumps::Jumps;
use super::values::{Expression, Kind};
use super::{Compiler, MOST_LEVELS, Result};
use crate::lua::code::{Instruction, Operand};
use crate::lua::lexer::Token;

impl<'s> Compiler<'s, '_> {
    /// Statements up to the end of the block. `return` and `break` can only be the last one.
    pub(super) fn statements(&mut self) -> Result<()> {
        self.enter()?;
        let mut is_last = false;
        while !is_last && !self.is_at_end_of_block() {
            is_last = self.statement()?;
            self.accept_symbol(b';')?;
            self.function.free = self.function.active;
        }
        self.leave();
        Ok(())
    }

    fn is_at_end_of_block(&self) -> bool {
        matches!(
            self.lexer.token,
            Token::Else | Token::Elseif | Token::End | Token::Until | Token::EndOfSource
        )
    }

    /// Returns whether the statement must be the last one of its block.
    fn statement(&mut self) -> Result<bool> {
        let line = self.lexer.line;
        match self.lexer.token {
            Token::If => self.if_statement(line)?,
            Token::While => self.while_statement(line)?,
            Token::Do => {
                self.lexer.advance()?;
                self.block()?;
                self.expect_closing(Token::End, Token::Do, line)?;
            }
            Token::For => self.for_statement(line)?,
            Token::Repeat => self.repeat_statement(line)?,
            Token::Function => self.function_statement(line)?,
            Token::Local => {
                self.lexer.advance()?;
                if self.accept(Token::Function)? {
                    self.local_function()?;
                } else {
                    self.local_statement()?;
                }
            }
            Token::Return => {
                self.return_statement()?;
                return Ok(true);
            }
            Token::Break => {
                self.lexer.advance()?;
                self.break_loop()?;
                return Ok(true);
            }
            _ => self.expression_statement()?,
        }
        Ok(false)
    }

    /// A block of statements with its own variables.
    fn block(&mut self) -> Result<()> {
        self.enter_block(false);
        self.statements()?;
        self.leave_block()
    }

    /// An expression as a condition: returns the jumps that are taken if it is false.
    fn condition(&mut self) -> Result<Jumps> {
        let mut e = self.expression()?;
        if e.kind == Kind::Nil {
            e.kind = Kind::False;
        }
        self.go_if_true(&mut e)?;
        Ok(e.if_false)
    }

    fn if_statement(&mut self, line: u32) -> Result<()> {
        let mut to_end = Jumps::NONE;
        let mut if_false = self.conditional_block()?;
        loop {
            match self.lexer.token {
                Token::Elseif => {
                    self.end_branch(&mut to_end, if_false)?;
                    if_false = self.conditional_block()?;
                }
                Token::Else => {
                    self.end_branch(&mut to_end, if_false)?;
                    self.lexer.advance()?;
                    self.block()?;
                    break;
                }
                _ => {
                    self.join(&mut to_end, if_false);
                    break;
                }
            }
        }
        self.patch_to_here(to_end);
        self.expect_closing(Token::End, Token::If, line)
    }

    /// Ends a branch. The next branch begins here.
    fn end_branch(&mut self, to_end: &mut Jumps, if_false: Jumps) -> Result<()> {
        let jump = self.jump()?;
        self.join(to_end, jump);
        self.patch_to_here(if_false);
        Ok(())
    }

    /// `if condition then block` or `elseif condition then block`: returns the jumps past the block.
    fn conditional_block(&mut self) -> Result<Jumps> {
        self.lexer.advance()?;
        let if_false = self.condition()?;
        self.expect(Token::Then)?;
        self.block()?;
        Ok(if_false)
    }

    fn while_statement(&mut self, line: u32) -> Result<()> {
        self.lexer.advance()?;
        let begin = self.function.target();
        let exit = self.condition()?;
        self.enter_block(true);
        self.expect(Token::Do)?;
        self.block()?;
        let again = self.jump()?;
        self.patch(again, begin)?;
        self.expect_closing(Token::End, Token::While, line)?;
        self.leave_block()?;
        self.patch_to_here(exit);
        Ok(())
    }

    /// The condition is in the scope of the body's variables.
    fn repeat_statement(&mut self, line: u32) -> Result<()> {
        let begin = self.function.target();
        self.enter_block(true);
        self.enter_block(false);
        self.lexer.advance()?;
        self.statements()?;
        self.expect_closing(Token::Until, Token::Repeat, line)?;
        let again = self.condition()?;
        if self.is_captured() {
            // Captured variables have to be closed on both paths.
            self.break_loop()?;
            self.patch_to_here(again);
            self.leave_block()?;
            let again = self.jump()?;
            self.patch(again, begin)?;
        } else {
            self.leave_block()?;
            self.patch(again, begin)?;
        }
        self.leave_block()
    }

    fn for_statement(&mut self, line: u32) -> Result<()> {
        self.enter_block(true);
        self.lexer.advance()?;
        let name = self.name()?;
        match self.lexer.token {
            Token::Symbol(b'=') => self.numeric_for(name, line)?,
            Token::Symbol(b',') | Token::In => self.generic_for(name)?,
            _ => return Err(self.syntax_error("'=' or 'in' expected")),
        }
        self.expect_closing(Token::End, Token::For, line)?;
        self.leave_block()
    }

    /// `for name = first, limit [, step]`
    fn numeric_for(&mut self, name: &'s [u8], line: u32) -> Result<()> {
        let base = self.function.free;
        self.declare(b"(for index)")?;
        self.declare(b"(for limit)")?;
        self.declare(b"(for step)")?;
        self.declare(name)?;
        self.lexer.advance()?;
        self.loop_value()?;
        self.expect_symbol(b',')?;
        self.loop_value()?;
        if self.accept_symbol(b',')? {
            self.loop_value()?;
        } else {
            let constant = self.number_constant(1.0)?;
            let to = self.function.free;
            self.emit(Instruction::LoadConstant { to, constant })?;
            self.take_registers(1)?;
        }
        self.begin_variables(3);
        self.expect(Token::Do)?;
        let prepare = self.emit(Instruction::ForPrepare { base, by: 0 })?;
        self.loop_body(1)?;
        let here = self.function.target();
        self.set_target(prepare, here)?;
        let next = self.emit(Instruction::ForLoop { base, by: 0 })?;
        self.function.set_line(line);
        self.set_target(next, prepare + 1)
    }

    fn loop_value(&mut self) -> Result<()> {
        let mut e = self.expression()?;
        self.put_in_next(&mut e)?;
        Ok(())
    }

    /// `for name {',' name} in iterator, state, control`
    fn generic_for(&mut self, name: &'s [u8]) -> Result<()> {
        let base = self.function.free;
        self.declare(b"(for generator)")?;
        self.declare(b"(for state)")?;
        self.declare(b"(for control)")?;
        self.declare(name)?;
        let mut names = 1;
        while self.accept_symbol(b',')? {
            let name = self.name()?;
            self.declare(name)?;
            names += 1;
        }
        self.expect(Token::In)?;
        let line = self.lexer.line;
        let (count, mut last) = self.expression_list()?;
        self.adjust(3, count, &mut last)?;
        // Room to call the iterator.
        self.need_registers(3)?;
        self.begin_variables(3);
        self.expect(Token::Do)?;
        let to_call = self.jump()?;
        let body = self.function.here();
        self.loop_body(names)?;
        self.patch_to_here(to_call);
        self.emit(Instruction::IterateCall { base, results: names as u16 })?;
        self.function.set_line(line);
        let next = self.emit(Instruction::IterateNext { base, by: 0 })?;
        self.function.set_line(line);
        self.set_target(next, body)
    }

    /// The body of a `for` loop, whose `count` variables begin here.
    fn loop_body(&mut self, count: usize) -> Result<()> {
        self.enter_block(false);
        self.begin_variables(count);
        self.take_registers(count)?;
        self.block()?;
        self.leave_block()
    }

    /// `function name {'.' name} [':' name] body`
    fn function_statement(&mut self, line: u32) -> Result<()> {
        self.lexer.advance()?;
        let name = self.name()?;
        let mut variable = self.variable(name)?;
        while self.is_at(b'.') {
            self.field(&mut variable)?;
        }
        let is_method = self.is_at(b':');
        if is_method {
            self.field(&mut variable)?;
        }
        let mut function = self.function_body(is_method, line)?;
        self.store(&variable, &mut function)?;
        self.function.set_line(line);
        Ok(())
    }

    /// The function sees its own name.
    fn local_function(&mut self) -> Result<()> {
        let name = self.name()?;
        self.declare(name)?;
        let variable = Expression::new(Kind::Local(self.take_registers(1)?));
        self.begin_variables(1);
        let mut function = self.function_body(false, self.lexer.line)?;
        self.store(&variable, &mut function)?;
        self.begin_last_variable_here();
        Ok(())
    }

    /// `local name {',' name} ['=' expressions]`
    fn local_statement(&mut self) -> Result<()> {
        let mut names = 0;
        loop {
            let name = self.name()?;
            self.declare(name)?;
            names += 1;
            if !self.accept_symbol(b',')? {
                break;
            }
        }
        let (count, mut last) =
            if self.accept_symbol(b'=')? { self.expression_list()? } else { (0, Expression::nothing()) };
        self.adjust(names, count, &mut last)?;
        self.begin_variables(names);
        Ok(())
    }

    /// Adjusts `count` expressions, of which `last` is not in a register yet, to `wanted` values in registers.
    fn adjust(&mut self, wanted: usize, count: usize, last: &mut Expression) -> Result<()> {
        if last.has_many_values() {
            // The last expression supplies the values that the others do not.
            let values = (wanted + 1).saturating_sub(count);
            self.set_values(last, Some(values))?;
            if values > 1 {
                self.take_registers(values - 1)?;
            }
            return Ok(());
        }
        if last.kind != Kind::Nothing {
            self.put_in_next(last)?;
        }
        if wanted > count {
            let first = self.take_registers(wanted - count)?;
            self.emit_nil(first, self.function.free - 1)?;
        }
        Ok(())
    }

    /// A call, or an assignment.
    fn expression_statement(&mut self) -> Result<()> {
        let e = self.suffixed()?;
        match e.kind {
            Kind::Call(_) => self.set_values(&e, Some(0)),
            _ => self.assignment(e),
        }
    }

    /// `variable {',' variable} '=' expressions`, after the first variable.
    fn assignment(&mut self, first: Expression) -> Result<()> {
        let mut others = Vec::new();
        let mut target = first;
        loop {
            if !matches!(
                target.kind,
                Kind::Local(_) | Kind::Upvalue(_) | Kind::Global(_) | Kind::Indexed { .. }
            ) {
                return Err(self.syntax_error("syntax error"));
            }
            if !self.accept_symbol(b',')? {
                break;
            }
            others.push(target);
            target = self.suffixed()?;
            if let Kind::Local(register) = target.kind {
                self.keep_value(&mut others, register)?;
            }
            self.check_limit(
                &self.function,
                others.len(),
                MOST_LEVELS - self.level,
                "variables in assignment",
            )?;
        }
        self.expect_symbol(b'=')?;
        let (count, mut last) = self.expression_list()?;
        if count == others.len() + 1 {
            self.set_one_value(&mut last);
            self.store(&target, &mut last)?;
        } else {
            self.adjust(others.len() + 1, count, &mut last)?;
            self.function.free -= count.saturating_sub(others.len() + 1) as u8;
            self.store_last_value(&target)?;
        }
        for target in others.iter().rev() {
            self.store_last_value(target)?;
        }
        Ok(())
    }

    fn store_last_value(&mut self, target: &Expression) -> Result<()> {
        let mut e = Expression::placed(self.function.free - 1);
        self.store(target, &mut e)
    }

    /// The local variable in `register` is assigned before `targets`: those that use it as the table or the key use a
    /// copy instead.
    fn keep_value(&mut self, targets: &mut [Expression], register: u8) -> Result<()> {
        let copy = self.function.free;
        let mut is_used = false;
        for target in targets {
            if let Kind::Indexed { table, key } = &mut target.kind {
                if *table == register {
                    *table = copy;
                    is_used = true;
                }
                if *key == Operand::register(register) {
                    *key = Operand::register(copy);
                    is_used = true;
                }
            }
        }
        if is_used {
            self.emit(Instruction::Move { to: copy, from: register })?;
            self.take_registers(1)?;
        }
        Ok(())
    }

    fn return_statement(&mut self) -> Result<()> {
        self.lexer.advance()?;
        let (mut first, mut values) = (0, 1);
        if !self.is_at_end_of_block() && !self.is_at(b';') {
            let (count, mut last) = self.expression_list()?;
            if last.has_many_values() {
                self.set_values(&last, None)?;
                if let (Kind::Call(place), 1) = (last.kind, count)
                    && let Instruction::Call { function, arguments, .. } = *self.function.at(place)
                {
                    *self.function.at(place) = Instruction::TailCall { function, arguments };
                }
                (first, values) = (self.function.active, 0);
            } else if count == 1 {
                (first, values) = (self.put_anywhere(&mut last)?, 2);
            } else {
                self.put_in_next(&mut last)?;
                (first, values) = (self.function.active, count as u16 + 1);
            }
        }
        self.emit(Instruction::Return { first, values })?;
        Ok(())
    }
}
