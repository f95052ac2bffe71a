//! What a debugger needs: a machine that stops at each new line, what is on its stack then, and code that is executed in
//! between.
//!
//! Tracing has a copy of the loop of its own (`run.rs`), so a machine that is not traced pays nothing for it. In that copy
//! `Frame::pc` is kept behind the instruction that is being executed, which tells where the one before it was: a line is
//! new at the start of a function, after a jump backwards, and where the number of the line changes, as in the reference
//! implementation.

use super::native::{Call, Raised};
use super::thread::{Activity, Deliver, Frame};
use super::{Machine, Pending, Progress};
use crate::lua::code::{Instruction, Prototype};
use crate::lua::names;
use crate::lua::value::Value;

/// Instructions between two [`Stop::Count`].
const COUNT: u32 = 100_000;

/// Why a machine that is traced has stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// It is about to execute the first instruction of a line.
    Line,
    /// It has executed many instructions.
    Count,
    /// The function given to [`Machine::evaluate`] has returned this value, or failed with this error.
    Evaluated(Result<Value, Value>),
}

/// A call of a function of Lua, as a debugger shows it.
#[derive(Debug)]
pub struct Traced {
    /// The chunk in which the function is, as messages name it.
    pub chunk: Vec<u8>,
    /// The line that is being executed.
    pub line: u32,
    /// The variable by which the function was called, if that can be told.
    pub name: Option<Vec<u8>>,
}

/// What is known of the instruction at which the machine has stopped.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum At {
    /// It has not stopped.
    #[default]
    Nothing,
    /// Its count was reported, but not its line. `Frame::pc` was this before.
    Counted(usize),
    /// All was reported.
    Reported,
}

/// The state of tracing.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    is_on: bool,
    /// What is executed was given to [`Machine::evaluate`].
    is_aside: bool,
    at: At,
    /// Instructions until the next [`Stop::Count`].
    left: u32,
    /// The top of the stack before [`Machine::evaluate`].
    top: usize,
}

impl Tracing {
    /// Whether the loop that stops is to be used.
    pub fn is_active(&self) -> bool {
        self.is_on && !self.is_aside
    }

    /// Where execution goes on in the last frame, which says `pc`.
    pub fn resume_at(&self, pc: usize) -> usize {
        if self.at == At::Nothing { pc } else { pc - 1 }
    }

    /// An error takes execution elsewhere.
    pub fn forget_place(&mut self) {
        if !self.is_aside {
            self.at = At::Nothing;
        }
    }

    /// The instruction at `pc` is about to be executed in the last frame. Returns why the machine stops first, if it does.
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

/// Whether the instruction at `pc`, which follows the one before `before`, is part of that one in the reference
/// implementation: the jump of a test, and the end of a step of an iteration.
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
    /// From now on `run` returns [`Progress::Stopped`] before each new line, and once in a while; or it does not any more.
    /// The machine is idle. A budget ends native functions only while this is on.
    pub fn trace(&mut self, is_on: bool) {
        self.tracing = Tracing { is_on, left: COUNT, ..Tracing::default() };
    }

    /// Whether it is being traced.
    pub fn is_traced(&self) -> bool {
        self.tracing.is_on
    }

    /// Calls a function without arguments on top of what is under way, which goes on unchanged afterwards. The machine has
    /// stopped; `run` returns [`Stop::Evaluated`] in the end.
    pub fn evaluate(&mut self, function: Value) {
        self.tracing.is_aside = true;
        self.tracing.top = self.thread.top;
        self.thread.top = self.thread.end();
        let depth = self.thread.frames.len();
        // As if `pcall` had been called.
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

    /// `evaluate` is done: its status and its value begin at `from`.
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

    /// The calls of functions of Lua that are under way in the running thread, the latest first.
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

    /// The chunk, as messages name it, and the line of the function of Lua that was called last.
    pub fn place_of_stop(&self) -> Option<(Vec<u8>, u32)> {
        self.place(1).map(|(chunk, line)| (names::chunk_id(&chunk), line))
    }

    /// The local variables that can be seen in the call at a level (0: the latest of the running thread) with their values,
    /// in the order of their declaration; empty for a native function. `None`: there is no such level.
    pub fn locals(&self, level: usize) -> Option<Vec<(&[u8], Value)>> {
        let frame = self.thread.frames.iter().rev().nth(level)?;
        let Activity::Lua(closure) = &frame.activity else { return Some(Vec::new()) };
        let names = names::locals(&closure.prototype, frame.pc.saturating_sub(1));
        Some(names.enumerate().map(|(n, name)| (name, self.thread.stack[frame.base + n])).collect())
    }
}
