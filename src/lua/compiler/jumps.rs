//! Jumps whose target is not known yet, and the conditions made of them.
//!
//! Jumps to the same unknown place form a list, linked through the instructions: until it is patched, a `Jump { by }`
//! in a list has the place of the next one as `by`, and the last one has -1. A list stores both of its ends, so two
//! lists of any length are joined in constant time.
//!
//! A jump in the list of an expression may follow a `TestSet`, which stores the tested value if the jump is taken. If
//! the value turns out not to be needed, the `TestSet` becomes a `Test`.

use super::values::{Expression, Kind};
use super::{Compiler, Result};
use crate::lua::code::Instruction;

const END: u32 = u32::MAX;
/// The longest jump. The limit is the reference implementation's.
const LONGEST_JUMP: u64 = (1 << 17) - 1;
/// The destination of a `TestSet` until it is known.
const NOWHERE: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Jumps {
    first: u32,
    last: u32,
}

impl Default for Jumps {
    fn default() -> Jumps {
        Jumps::NONE
    }
}

impl Jumps {
    pub(super) const NONE: Jumps = Jumps { first: END, last: END };

    pub(super) fn is_empty(self) -> bool {
        self.first == END
    }
}

impl Compiler<'_, '_> {
    /// Emits a jump to a place not known yet. Jumps pending to this place join its list, after it, instead of jumping
    /// twice.
    pub(super) fn jump(&mut self) -> Result<Jumps> {
        let pending = std::mem::take(&mut self.function.pending);
        let place = self.emit(Instruction::Jump { by: END as i32 })?;
        let mut jumps = Jumps { first: place, last: place };
        self.join(&mut jumps, pending);
        Ok(jumps)
    }

    /// Appends `others` to `jumps`.
    pub(super) fn join(&mut self, jumps: &mut Jumps, others: Jumps) {
        if others.is_empty() {
            return;
        }
        if jumps.is_empty() {
            *jumps = others;
            return;
        }
        *self.function.at(jumps.last) = Instruction::Jump { by: others.first as i32 };
        jumps.last = others.last;
    }

    fn next_jump(&mut self, place: u32) -> u32 {
        match *self.function.at(place) {
            Instruction::Jump { by } => by as u32,
            _ => END,
        }
    }

    /// Sets the target of the jump instruction at `place`.
    pub(super) fn set_target(&mut self, place: u32, target: u32) -> Result<()> {
        let distance = i64::from(target) - (i64::from(place) + 1);
        if distance.unsigned_abs() > LONGEST_JUMP {
            return Err(self.syntax_error("control structure too long"));
        }
        match self.function.at(place) {
            Instruction::Jump { by }
            | Instruction::ForPrepare { by, .. }
            | Instruction::ForLoop { by, .. }
            | Instruction::IterateNext { by, .. } => *by = distance as i32,
            other => debug_assert!(false, "{other:?} does not jump"),
        }
        Ok(())
    }

    /// Sets the target of all `jumps`; `target` has been emitted or is next.
    pub(super) fn patch(&mut self, jumps: Jumps, target: u32) -> Result<()> {
        if target == self.function.here() {
            self.patch_to_here(jumps);
            return Ok(());
        }
        self.patch_values(jumps, target, None, target)
    }

    /// Sets the target of all `jumps` to the next instruction.
    pub(super) fn patch_to_here(&mut self, jumps: Jumps) {
        self.function.target();
        let mut pending = self.function.pending;
        self.join(&mut pending, jumps);
        self.function.pending = pending;
    }

    /// Makes those of `jumps` that follow a `TestSet` store its value in `register` and jump to `with_value`, and the
    /// others jump to `without`.
    pub(super) fn patch_values(
        &mut self,
        jumps: Jumps,
        with_value: u32,
        register: Option<u8>,
        without: u32,
    ) -> Result<()> {
        let mut place = jumps.first;
        while place != END {
            let next = self.next_jump(place);
            let has_value = self.set_destination_of_test(place, register);
            self.set_target(place, if has_value { with_value } else { without })?;
            place = next;
        }
        Ok(())
    }

    /// Returns the instruction that decides whether the jump at `place` is taken, or the jump itself if it is
    /// unconditional.
    fn decider(&mut self, place: u32) -> &mut Instruction {
        let before = place.saturating_sub(1);
        let is_test = matches!(
            self.function.at(before),
            Instruction::Equal { .. }
                | Instruction::Less { .. }
                | Instruction::LessOrEqual { .. }
                | Instruction::Test { .. }
                | Instruction::TestSet { .. }
        );
        self.function.at(if is_test { before } else { place })
    }

    /// If the jump at `place` follows a `TestSet`, sets its destination to `register`, or makes it a `Test` if there is
    /// none or it is the register tested. Returns whether a `TestSet` was there.
    fn set_destination_of_test(&mut self, place: u32, register: Option<u8>) -> bool {
        let decider = self.decider(place);
        let Instruction::TestSet { from, expected, .. } = *decider else { return false };
        *decider = match register {
            Some(to) if to != from => Instruction::TestSet { to, from, expected },
            _ => Instruction::Test { value: from, expected },
        };
        true
    }

    /// Whether one of `jumps` carries no value.
    pub(super) fn needs_value(&mut self, jumps: Jumps) -> bool {
        let mut place = jumps.first;
        while place != END {
            if !matches!(self.decider(place), Instruction::TestSet { .. }) {
                return true;
            }
            place = self.next_jump(place);
        }
        false
    }

    /// Drops the values that `jumps` carry.
    pub(super) fn drop_values(&mut self, jumps: Jumps) {
        let mut place = jumps.first;
        while place != END {
            self.set_destination_of_test(place, None);
            place = self.next_jump(place);
        }
    }

    /// Emits `test`, and the jump that it may skip.
    pub(super) fn jump_on(&mut self, test: Instruction) -> Result<Jumps> {
        self.emit(test)?;
        self.jump()
    }

    /// Inverts the condition under which a comparison jumps.
    pub(super) fn invert(&mut self, comparison: Jumps) {
        match self.decider(comparison.first) {
            Instruction::Equal { expected, .. }
            | Instruction::Less { expected, .. }
            | Instruction::LessOrEqual { expected, .. } => *expected = !*expected,
            other => debug_assert!(false, "{other:?} does not compare"),
        }
    }

    /// Emits a jump that is taken if the truth of `e` is `expected`.
    fn jump_if(&mut self, e: &mut Expression, expected: bool) -> Result<Jumps> {
        if let Kind::Unplaced(place) = e.kind
            && let Instruction::Not { from, .. } = *self.function.at(place)
        {
            self.function.take_back();
            return self.jump_on(Instruction::Test { value: from, expected: !expected });
        }
        let from = self.place_anywhere(e)?;
        self.release(e);
        self.jump_on(Instruction::TestSet { to: NOWHERE, from, expected })
    }

    /// Continues with the next instruction if `e` is true; otherwise jumps by `e.if_false`.
    pub(super) fn go_if_true(&mut self, e: &mut Expression) -> Result<()> {
        self.load_variable(e)?;
        let jumps = match e.kind {
            Kind::Constant(_) | Kind::Number(_) | Kind::True => Jumps::NONE,
            Kind::Comparison(jumps) => {
                self.invert(jumps);
                jumps
            }
            _ => self.jump_if(e, false)?,
        };
        self.join(&mut e.if_false, jumps);
        self.patch_to_here(e.if_true);
        e.if_true = Jumps::NONE;
        Ok(())
    }

    /// Continues with the next instruction if `e` is false; otherwise jumps by `e.if_true`.
    pub(super) fn go_if_false(&mut self, e: &mut Expression) -> Result<()> {
        self.load_variable(e)?;
        let jumps = match e.kind {
            Kind::Nil | Kind::False => Jumps::NONE,
            Kind::Comparison(jumps) => jumps,
            _ => self.jump_if(e, true)?,
        };
        self.join(&mut e.if_true, jumps);
        self.patch_to_here(e.if_false);
        e.if_false = Jumps::NONE;
        Ok(())
    }
}
