//! Debugger support: stops the machine at each new line, shows its stack, and executes other code during a stop.
//!
//! A second copy of the interpreter loop (`run.rs`) executes traced code, so tracing costs nothing when it is off. In
//! that copy `Frame::pc` points after the current instruction, so that the next one can be compared with it. As in the
//! reference implementation, a line is new at the start of a function, after a backward jump, and where the line number
//! changes.

use super::native::{Call, Raised};
use super::thread::{Activity, Deliver, Frame};
use super::{Machine, Pending, Progress};
use crate::lua::code::{Instruction, Prototype};
use crate::lua::names;
use crate::lua::value::Value;

/// The number of instructions between two [`Stop::Count`].
const COUNT: u32 = 100_000;

/// Why a traced machine stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Before the first instruction of a line.
    Line,
    /// After `COUNT` instructions.
    Count,
    /// The function given to [`Machine::evaluate`] has returned this value, or failed with this error.
    Evaluated(Result<Value, Value>),
}

/// A level of the call stack, as a debugger shows it.
#[derive(Debug)]
pub struct Traced {
    /// The name of the function's chunk, as in error messages.
    pub chunk: Vec<u8>,
    /// The current line.
    pub line: u32,
    /// The variable that the function was called by, if it is known.
    pub name: Option<Vec<u8>>,
}

/// Which stops of the current instruction have been reported.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum At {
    /// None.
    #[default]
    Nothing,
    /// [`Stop::Count`]; the line has not been checked yet. Contains the previous `Frame::pc`.
    Counted(usize),
    /// All.
    Reported,
}

/// The state of tracing.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    is_on: bool,
    /// Whether the machine is executing the function given to [`Machine::evaluate`].
    is_aside: bool,
    at: At,
    /// The number of instructions until the next [`Stop::Count`].
    left: u32,
    /// The top of the stack before [`Machine::evaluate`].
    top: usize,
}

impl Tracing {
    /// Whether to use the traced copy of the loop.
    pub fn is_active(&self) -> bool {
        self.is_on && !self.is_aside
    }

    /// Returns the instruction at which the last frame, whose `Frame::pc` is `pc`, resumes.
    pub fn resume_at(&self, pc: usize) -> usize {
        if self.at == At::Nothing { pc } else { pc - 1 }
    }

    /// Called when an error moves execution elsewhere.
    pub fn forget_place(&mut self) {
        if !self.is_aside {
            self.at = At::Nothing;
        }
    }

    /// Returns why the machine stops before the instruction at `pc` of the last frame, if it does. Called before each
    /// instruction.
    pub fn stop_at(&mut self, frames: &mut [Frame], prototype: &Prototype, pc: usize) -> Option<Stop> {
        let frame = frames.last_mut()?;
        let (before, is_counted) = match std::mem::take(&mut self.at) {
            At::Nothing => (frame.pc, false),
            At::Counted(before) => (before, true),
            At::Reported => return None,
        };
        if is_continuation(prototype, before, pc) {
            return None;
        }
        frame.pc = pc + 1;
        if !is_counted {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.left = COUNT;
                self.at = At::Counted(before);
                return Some(Stop::Count);
            }
        }
        let lines = &prototype.lines;
        let is_new = pc == 0 || pc < before || lines[pc] != lines[before - 1];
        is_new.then(|| {
            self.at = At::Reported;
            Stop::Line
        })
    }
}

/// Whether the reference implementation has a single instruction for the one at `pc` and the previously executed one,
/// which ends at `before`: a test with its jump, or the end of a loop's step.
fn is_continuation(prototype: &Prototype, before: usize, pc: usize) -> bool {
    match prototype.code[pc] {
        Instruction::IterateNext { .. } => true,
        Instruction::Jump { .. } if before == pc && pc > 0 => matches!(
            prototype.code[pc - 1],
            Instruction::Equal { .. }
                | Instruction::Less { .. }
                | Instruction::LessOrEqual { .. }
                | Instruction::Test { .. }
                | Instruction::TestSet { .. }
        ),
        _ => false,
    }
}

impl Machine {
    /// Switches tracing on or off, while the machine is idle. A traced machine's `run` returns [`Progress::Stopped`]
    /// before each new line and after every `COUNT` instructions; its budget ends only native functions.
    pub fn trace(&mut self, is_on: bool) {
        self.tracing = Tracing { is_on, left: COUNT, ..Tracing::default() };
    }

    /// Whether tracing is on.
    pub fn is_traced(&self) -> bool {
        self.tracing.is_on
    }

    /// Calls a function without arguments during a stop. `run` returns [`Stop::Evaluated`] when the call ends; the
    /// stopped program then continues unchanged.
    pub fn evaluate(&mut self, function: Value) {
        self.tracing.is_aside = true;
        self.tracing.top = self.thread.top;
        self.thread.top = self.thread.end();
        let depth = self.thread.frames.len();
        // The stack as for a call of `pcall`.
        self.push(Value::Nil);
        self.push(function);
        let call = Call { base: self.thread.top - 1, count: 1 };
        match self.protect(call, Deliver::Evaluated, false) {
            Err(Raised(error)) if self.thread.frames.len() == depth => {
                let stop = self.end_evaluation(Err(error));
                self.pending = Some(Pending::Leave(stop));
            }
            started => self.set_pending(started),
        }
    }

    /// Ends an evaluation, whose status and value are on the stack at `from`.
    pub(super) fn evaluated(&mut self, from: usize, count: usize) -> Progress {
        let value = if count > 1 { self.thread.stack[from + 1] } else { Value::Nil };
        let is_good = !self.thread.stack[from].is_false();
        self.end_evaluation(if is_good { Ok(value) } else { Err(value) })
    }

    fn end_evaluation(&mut self, result: Result<Value, Value>) -> Progress {
        self.tracing.is_aside = false;
        self.thread.top = self.tracing.top;
        Progress::Stopped(Stop::Evaluated(result))
    }

    /// Lists the Lua functions on the running thread's call stack, innermost first.
    pub fn calls_under_way(&self) -> Vec<Traced> {
        let frames = &self.thread.frames;
        let traced = |(index, frame): (usize, &Frame)| {
            let Activity::Lua(closure) = &frame.activity else { return None };
            let prototype = &closure.prototype;
            let name = match index.checked_sub(1).map(|caller| &frames[caller]) {
                Some(Frame { activity: Activity::Lua(caller), pc, .. }) if frame.tail_calls == 0 => {
                    names::of_call(&caller.prototype, pc.saturating_sub(1), &self.heap).map(|(_, name)| name)
                }
                _ => None,
            };
            let line = super::errors::line_of(&prototype.lines, frame.pc);
            Some(Traced { chunk: names::chunk_id(&prototype.chunk), line, name })
        };
        frames.iter().enumerate().rev().filter_map(traced).collect()
    }

    /// The chunk's name and the current line of the innermost Lua function.
    pub fn place_of_stop(&self) -> Option<(Vec<u8>, u32)> {
        self.place(1).map(|(chunk, line)| (names::chunk_id(&chunk), line))
    }

    /// Lists the visible local variables of a level of the call stack (0: the innermost) with their values, in
    /// declaration order; empty for a native function. `None` if there is no such level.
    pub fn locals(&self, level: usize) -> Option<Vec<(&[u8], Value)>> {
        let frame = self.thread.frames.iter().rev().nth(level)?;
        let Activity::Lua(closure) = &frame.activity else { return Some(Vec::new()) };
        let names = names::locals(&closure.prototype, frame.pc.saturating_sub(1));
        Some(names.enumerate().map(|(n, name)| (name, self.thread.stack[frame.base + n])).collect())
    }
}
