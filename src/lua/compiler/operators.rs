//! Operators: their priorities, their instructions, and constant folding.

use super::values::{Expression, Kind};
use super::{Compiler, Result};
use crate::lua::code::{Instruction, Operand};
use crate::lua::lexer::Token;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unary {
    Minus,
    Not,
    Length,
}

impl Unary {
    pub(super) const PRIORITY: u8 = 8;

    pub(super) fn of(token: Token) -> Option<Unary> {
        match token {
            Token::Not => Some(Unary::Not),
            Token::Symbol(b'-') => Some(Unary::Minus),
            Token::Symbol(b'#') => Some(Unary::Length),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Concatenate,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

impl Binary {
    pub(super) fn of(token: Token) -> Option<Binary> {
        Some(match token {
            Token::Symbol(b'+') => Binary::Add,
            Token::Symbol(b'-') => Binary::Subtract,
            Token::Symbol(b'*') => Binary::Multiply,
            Token::Symbol(b'/') => Binary::Divide,
            Token::Symbol(b'%') => Binary::Modulo,
            Token::Symbol(b'^') => Binary::Power,
            Token::Concatenate => Binary::Concatenate,
            Token::Equal => Binary::Equal,
            Token::NotEqual => Binary::NotEqual,
            Token::Symbol(b'<') => Binary::Less,
            Token::LessOrEqual => Binary::LessOrEqual,
            Token::Symbol(b'>') => Binary::Greater,
            Token::GreaterOrEqual => Binary::GreaterOrEqual,
            Token::And => Binary::And,
            Token::Or => Binary::Or,
            _ => return None,
        })
    }

    /// How strongly the operator binds its left and its right operand. It is right-associative if the right number is
    /// less.
    pub(super) fn priority(self) -> (u8, u8) {
        match self {
            Binary::Power => (10, 9),
            Binary::Multiply | Binary::Divide | Binary::Modulo => (7, 7),
            Binary::Add | Binary::Subtract => (6, 6),
            Binary::Concatenate => (5, 4),
            Binary::And => (2, 2),
            Binary::Or => (1, 1),
            _ => (3, 3),
        }
    }

    fn is_arithmetic(self) -> bool {
        self.priority().0 > 5
    }

    /// Returns the result for constants. Division by zero, and results that are NaN, are left to the machine.
    fn fold(self, left: f64, right: f64) -> Option<f64> {
        let result = match self {
            Binary::Add => left + right,
            Binary::Subtract => left - right,
            Binary::Multiply => left * right,
            Binary::Divide if right != 0.0 => left / right,
            Binary::Modulo if right != 0.0 => left - (left / right).floor() * right,
            Binary::Power => left.powf(right),
            _ => return None,
        };
        (!result.is_nan()).then_some(result)
    }

    fn instruction(self, left: Operand, right: Operand) -> Instruction {
        let to = 0;
        match self {
            Binary::Add => Instruction::Add { to, left, right },
            Binary::Subtract => Instruction::Subtract { to, left, right },
            Binary::Multiply => Instruction::Multiply { to, left, right },
            Binary::Divide => Instruction::Divide { to, left, right },
            Binary::Modulo => Instruction::Modulo { to, left, right },
            _ => Instruction::Power { to, left, right },
        }
    }
}

impl Compiler<'_, '_> {
    /// Emits the unary operator on `e`.
    pub(super) fn unary(&mut self, operator: Unary, e: &mut Expression) -> Result<()> {
        match operator {
            Unary::Not => return self.negate(e),
            Unary::Minus => {
                if let Some(number) = e.as_number() {
                    e.kind = Kind::Number(-number);
                    return Ok(());
                }
            }
            Unary::Length => (),
        }
        let from = self.put_anywhere(e)?;
        self.release(e);
        *e = self.emit_unplaced(match operator {
            Unary::Minus => Instruction::Negate { to: 0, from },
            _ => Instruction::Length { to: 0, from },
        })?;
        Ok(())
    }

    /// Inverts the truth of `e`. For a condition, this only swaps its jumps.
    fn negate(&mut self, e: &mut Expression) -> Result<()> {
        self.load_variable(e)?;
        match e.kind {
            Kind::Nil | Kind::False => e.kind = Kind::True,
            Kind::Constant(_) | Kind::Number(_) | Kind::True => e.kind = Kind::False,
            Kind::Comparison(jumps) => self.invert(jumps),
            _ => {
                let from = self.place_anywhere(e)?;
                self.release(e);
                e.kind = self.emit_unplaced(Instruction::Not { to: 0, from })?.kind;
            }
        }
        std::mem::swap(&mut e.if_true, &mut e.if_false);
        self.drop_values(e.if_false);
        self.drop_values(e.if_true);
        Ok(())
    }

    /// Prepares the left operand of `operator`, before the right one is read.
    pub(super) fn prepare_left(&mut self, operator: Binary, left: &mut Expression) -> Result<()> {
        match operator {
            Binary::And => self.go_if_true(left),
            Binary::Or => self.go_if_false(left),
            Binary::Concatenate => self.put_in_next(left).map(drop),
            // It may be folded with the right operand.
            _ if operator.is_arithmetic() && left.as_number().is_some() => Ok(()),
            _ => self.make_operand(left).map(drop),
        }
    }

    /// Emits the binary operator. `left` has been prepared, and becomes the result.
    pub(super) fn binary(
        &mut self,
        operator: Binary,
        left: &mut Expression,
        mut right: Expression,
    ) -> Result<()> {
        match operator {
            Binary::And => {
                self.load_variable(&mut right)?;
                self.join(&mut right.if_false, left.if_false);
                *left = right;
            }
            Binary::Or => {
                self.load_variable(&mut right)?;
                self.join(&mut right.if_true, left.if_true);
                *left = right;
            }
            Binary::Concatenate => self.concatenate(left, right)?,
            _ if operator.is_arithmetic() => self.arithmetic(operator, left, right)?,
            _ => self.comparison(operator, left, right)?,
        }
        Ok(())
    }

    fn arithmetic(&mut self, operator: Binary, left: &mut Expression, mut right: Expression) -> Result<()> {
        if let (Some(a), Some(b)) = (left.as_number(), right.as_number())
            && let Some(result) = operator.fold(a, b)
        {
            left.kind = Kind::Number(result);
            return Ok(());
        }
        let right_operand = self.make_operand(&mut right)?;
        let left_operand = self.make_operand(left)?;
        // Registers form a stack: the higher one is freed first.
        if left_operand.0 > right_operand.0 {
            self.release(left);
            self.release(&right);
        } else {
            self.release(&right);
            self.release(left);
        }
        *left = self.emit_unplaced(operator.instruction(left_operand, right_operand))?;
        Ok(())
    }

    /// The operator is right-associative, so `right` may already be a concatenation, which then starts one register
    /// earlier.
    fn concatenate(&mut self, left: &mut Expression, mut right: Expression) -> Result<()> {
        self.make_value(&mut right)?;
        let Kind::Placed(begin) = left.kind else {
            debug_assert!(false, "the left operand has been prepared");
            return Ok(());
        };
        if let Kind::Unplaced(place) = right.kind
            && let Instruction::Concatenate { first, .. } = self.function.at(place)
        {
            debug_assert_eq!(*first, begin + 1);
            *first = begin;
            self.release(left);
            left.kind = Kind::Unplaced(place);
            return Ok(());
        }
        let last = self.put_in_next(&mut right)?;
        self.release(&right);
        self.release(left);
        *left = self.emit_unplaced(Instruction::Concatenate { to: 0, first: begin, last })?;
        Ok(())
    }

    fn comparison(&mut self, operator: Binary, left: &mut Expression, mut right: Expression) -> Result<()> {
        let a = self.make_operand(left)?;
        let b = self.make_operand(&mut right)?;
        self.release(&right);
        self.release(left);
        let expected = true;
        let jumps = self.jump_on(match operator {
            Binary::Equal => Instruction::Equal { expected, left: a, right: b },
            Binary::NotEqual => Instruction::Equal { expected: false, left: a, right: b },
            Binary::Less => Instruction::Less { expected, left: a, right: b },
            Binary::LessOrEqual => Instruction::LessOrEqual { expected, left: a, right: b },
            Binary::Greater => Instruction::Less { expected, left: b, right: a },
            _ => Instruction::LessOrEqual { expected, left: b, right: a },
        })?;
        *left = Expression::new(Kind::Comparison(jumps));
        Ok(())
    }
}
