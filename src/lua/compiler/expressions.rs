//! The grammar of expressions.

use super::operators::{Binary, Unary};
use super::values::{Expression, Kind};
use super::{Compiler, Result};
use crate::lua::code::{FIELDS_AT_ONCE, Instruction};
use crate::lua::lexer::Token;

impl Compiler<'_, '_> {
    pub(super) fn expression(&mut self) -> Result<Expression> {
        self.operation(0)
    }

    /// `expression {',' expression}`: returns their number and the last one. The others are in registers.
    pub(super) fn expression_list(&mut self) -> Result<(usize, Expression)> {
        let mut count = 1;
        let mut last = self.expression()?;
        while self.accept_symbol(b',')? {
            self.put_in_next(&mut last)?;
            last = self.expression()?;
            count += 1;
        }
        Ok((count, last))
    }

    /// Operands, with the binary operators between them that bind their left operand more strongly than `limit`.
    fn operation(&mut self, limit: u8) -> Result<Expression> {
        self.enter()?;
        let mut left = match Unary::of(self.lexer.token) {
            Some(operator) => {
                self.lexer.advance()?;
                let mut operand = self.operation(Unary::PRIORITY)?;
                self.unary(operator, &mut operand)?;
                operand
            }
            None => self.simple()?,
        };
        while let Some(operator) = Binary::of(self.lexer.token) {
            let (binds_left, binds_right) = operator.priority();
            if binds_left <= limit {
                break;
            }
            self.lexer.advance()?;
            self.prepare_left(operator, &mut left)?;
            let right = self.operation(binds_right)?;
            self.binary(operator, &mut left, right)?;
        }
        self.leave();
        Ok(left)
    }

    /// An expression without operators.
    fn simple(&mut self) -> Result<Expression> {
        let kind = match self.lexer.token {
            Token::Number(number) => Kind::Number(number),
            Token::String => Kind::Constant(self.token_constant()?),
            Token::Nil => Kind::Nil,
            Token::True => Kind::True,
            Token::False => Kind::False,
            Token::Dots => {
                if !self.function.is_variadic {
                    return Err(self.syntax_error("cannot use '...' outside a vararg function"));
                }
                self.function.wants_arg = false;
                Kind::VarArguments(self.emit(Instruction::VarArguments { to: 0, count: 2 })?)
            }
            Token::Symbol(b'{') => return self.constructor(),
            Token::Function => {
                self.lexer.advance()?;
                return self.function_body(false, self.lexer.line);
            }
            _ => return self.suffixed(),
        };
        self.lexer.advance()?;
        Ok(Expression::new(kind))
    }

    /// A name, or an expression in parentheses.
    fn primary(&mut self) -> Result<Expression> {
        match self.lexer.token {
            Token::Name(name) => {
                self.lexer.advance()?;
                self.variable(name)
            }
            Token::Symbol(b'(') => {
                let line = self.lexer.line;
                self.lexer.advance()?;
                let mut e = self.expression()?;
                self.expect_closing(Token::Symbol(b')'), Token::Symbol(b'('), line)?;
                // Exactly one value, even of a call.
                self.load_variable(&mut e)?;
                Ok(e)
            }
            _ => Err(self.syntax_error("unexpected symbol")),
        }
    }

    /// A primary expression, followed by any number of fields, indices and calls.
    pub(super) fn suffixed(&mut self) -> Result<Expression> {
        let mut e = self.primary()?;
        loop {
            match self.lexer.token {
                Token::Symbol(b'.') => self.field(&mut e)?,
                Token::Symbol(b'[') => {
                    self.put_anywhere(&mut e)?;
                    let mut key = self.index()?;
                    self.make_field(&mut e, &mut key)?;
                }
                Token::Symbol(b':') => {
                    self.lexer.advance()?;
                    let mut name = self.name_constant()?;
                    self.method(&mut e, &mut name)?;
                    self.call(&mut e)?;
                }
                Token::Symbol(b'(' | b'{') | Token::String => {
                    self.put_in_next(&mut e)?;
                    self.call(&mut e)?;
                }
                _ => return Ok(e),
            }
        }
    }

    /// `'.' name` or `':' name` after `table`, which becomes the field.
    pub(super) fn field(&mut self, table: &mut Expression) -> Result<()> {
        self.put_anywhere(table)?;
        self.lexer.advance()?;
        let mut key = self.name_constant()?;
        self.make_field(table, &mut key)
    }

    /// Turns `table`, which is in a register, into its field `key`.
    fn make_field(&mut self, table: &mut Expression, key: &mut Expression) -> Result<()> {
        let register = self.put_anywhere(table)?;
        let key = self.make_operand(key)?;
        *table = Expression::new(Kind::Indexed { table: register, key });
        Ok(())
    }

    /// `'[' expression ']'`
    fn index(&mut self) -> Result<Expression> {
        self.lexer.advance()?;
        let mut e = self.expression()?;
        self.make_value(&mut e)?;
        self.expect_symbol(b']')?;
        Ok(e)
    }

    /// Puts the method `name` of `object` in a register, followed by the object as the first argument. `object` becomes
    /// the method.
    fn method(&mut self, object: &mut Expression, name: &mut Expression) -> Result<()> {
        let from = self.put_anywhere(object)?;
        self.release(object);
        let to = self.take_registers(2)?;
        let operand = self.make_operand(name)?;
        self.emit(Instruction::Method { to, object: from, name: operand })?;
        self.release(name);
        *object = Expression::placed(to);
        Ok(())
    }

    /// The arguments of a call of `function`, which is in the last register in use, or the one before it if the first
    /// argument is already there. `function` becomes the call.
    fn call(&mut self, function: &mut Expression) -> Result<()> {
        let line = self.lexer.line;
        let Kind::Placed(register) = function.kind else {
            debug_assert!(false, "a function is called in its register");
            return Ok(());
        };
        let mut last = match self.lexer.token {
            Token::Symbol(b'(') => {
                if line != self.lexer.last_line {
                    return Err(self.syntax_error("ambiguous syntax (function call x new statement)"));
                }
                self.arguments(line)?
            }
            Token::Symbol(b'{') => self.constructor()?,
            Token::String => {
                let constant = self.token_constant()?;
                self.lexer.advance()?;
                Expression::constant(constant)
            }
            _ => return Err(self.syntax_error("function arguments expected")),
        };
        let arguments = if last.has_many_values() {
            0
        } else {
            if last.kind != Kind::Nothing {
                self.put_in_next(&mut last)?;
            }
            u16::from(self.function.free - register)
        };
        let call = self.emit(Instruction::Call { function: register, arguments, results: 2 })?;
        self.function.set_line(line);
        // The call leaves one value where the function was, until `set_values` fixes another number.
        self.function.free = register + 1;
        function.kind = Kind::Call(call);
        Ok(())
    }

    /// `'(' [expressions] ')'`; puts all but the last in registers.
    fn arguments(&mut self, line: u32) -> Result<Expression> {
        self.lexer.advance()?;
        let mut last = Expression::nothing();
        if !self.is_at(b')') {
            (_, last) = self.expression_list()?;
            self.set_values(&last, None)?;
        }
        self.expect_closing(Token::Symbol(b')'), Token::Symbol(b'('), line)?;
        Ok(last)
    }

    /// The parameters and the body of a function, after `function` and its name. It begins in `line`.
    pub(super) fn function_body(&mut self, has_self: bool, line: u32) -> Result<Expression> {
        self.begin_function(line);
        self.expect_symbol(b'(')?;
        if has_self {
            self.declare(b"self")?;
            self.begin_variables(1);
        }
        if !self.is_at(b')') {
            self.parameters()?;
        }
        let variables = self.function.active;
        self.function.parameters = variables - u8::from(self.function.is_variadic);
        self.take_registers(usize::from(variables))?;
        self.expect_symbol(b')')?;
        self.statements()?;
        let last_line = self.lexer.line;
        self.expect_closing(Token::End, Token::Function, line)?;
        let function = self.finish_function(last_line)?;
        let prototype = self.add_prototype(function)?;
        self.emit_unplaced(Instruction::Closure { to: 0, prototype })
    }

    /// `name {',' name} [',' '...']` or `'...'`
    fn parameters(&mut self) -> Result<()> {
        let mut count = 0;
        loop {
            match self.lexer.token {
                Token::Name(name) => {
                    self.lexer.advance()?;
                    self.declare(name)?;
                }
                Token::Dots => {
                    self.lexer.advance()?;
                    self.declare(b"arg")?;
                    self.function.is_variadic = true;
                    self.function.wants_arg = true;
                }
                _ => return Err(self.syntax_error("<name> or '...' expected")),
            }
            count += 1;
            if self.function.is_variadic || !self.accept_symbol(b',')? {
                break;
            }
        }
        self.begin_variables(count);
        Ok(())
    }

    /// `{ … }`
    fn constructor(&mut self) -> Result<Expression> {
        let line = self.lexer.line;
        let new = self.emit(Instruction::NewTable { to: 0, array: 0, hash: 0 })?;
        let mut e = Expression::new(Kind::Unplaced(new));
        let mut fields = Fields { table: self.put_in_next(&mut e)?, ..Fields::default() };
        self.expect_symbol(b'{')?;
        // The last element read, if it is not in a register yet.
        let mut last = Expression::nothing();
        while !self.is_at(b'}') {
            if last.kind != Kind::Nothing {
                self.put_in_next(&mut last)?;
                last = Expression::nothing();
                if fields.waiting == FIELDS_AT_ONCE {
                    self.store_list(&mut fields, false)?;
                }
            }
            let is_record = match self.lexer.token {
                Token::Name(_) => self.lexer.look_ahead()? == Token::Symbol(b'='),
                token => token == Token::Symbol(b'['),
            };
            if is_record {
                fields.hash += 1;
                self.record_field(fields.table)?;
            } else {
                last = self.expression()?;
                fields.array += 1;
                fields.waiting += 1;
            }
            if !self.accept_symbol(b',')? && !self.accept_symbol(b';')? {
                break;
            }
        }
        self.expect_closing(Token::Symbol(b'}'), Token::Symbol(b'{'), line)?;
        self.last_fields(&mut fields, last)?;
        if let Instruction::NewTable { array, hash, .. } = self.function.at(new) {
            *array = rounded(fields.array).try_into().unwrap_or(u16::MAX);
            *hash = fields.hash.try_into().unwrap_or(u16::MAX);
        }
        Ok(e)
    }

    /// `name = expression` or `[expression] = expression`
    fn record_field(&mut self, table: u8) -> Result<()> {
        let free = self.function.free;
        let mut key = match self.lexer.token {
            Token::Name(_) => self.name_constant()?,
            _ => self.index()?,
        };
        self.expect_symbol(b'=')?;
        let key = self.make_operand(&mut key)?;
        let mut e = self.expression()?;
        let value = self.make_operand(&mut e)?;
        self.emit(Instruction::SetTable { table, key, value })?;
        self.function.free = free;
        Ok(())
    }

    /// Stores the remaining elements; `last` is the constructor's last element, unless it ended with a field.
    fn last_fields(&mut self, fields: &mut Fields, mut last: Expression) -> Result<()> {
        if fields.waiting == 0 {
            return Ok(());
        }
        let is_open = last.has_many_values();
        if is_open {
            self.set_values(&last, None)?;
        } else if last.kind != Kind::Nothing {
            self.put_in_next(&mut last)?;
        }
        self.store_list(fields, is_open)?;
        // The number of values that an open element adds is unknown.
        fields.array -= u32::from(is_open);
        Ok(())
    }

    /// Stores the elements in the registers after the table's: the waiting ones, or all up to the top if `is_open`.
    fn store_list(&mut self, fields: &mut Fields, is_open: bool) -> Result<()> {
        let start = fields.array - fields.waiting as u32;
        let count = if is_open { 0 } else { fields.waiting as u16 };
        self.emit(Instruction::SetList { table: fields.table, count, start })?;
        self.function.free = fields.table + 1;
        fields.waiting = 0;
        Ok(())
    }
}

/// Rounds `count` up to a number with four significant bits: the room that the reference implementation reserves. The
/// room is visible to programs in the order of keys added later.
fn rounded(mut count: u32) -> u32 {
    let mut shift = 0;
    while count >= 16 {
        count = count.div_ceil(2);
        shift += 1;
    }
    count << shift
}

/// The state of a constructor.
#[derive(Default)]
struct Fields {
    table: u8,
    /// The number of elements without keys so far, and of fields with keys.
    array: u32,
    hash: u32,
    /// Elements that are in registers, or about to be, and not stored yet.
    waiting: usize,
}
