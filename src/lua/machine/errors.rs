//! Error messages: the position, and the variable at fault.

use super::Machine;
use super::native::Raised;
use super::price::SCANNED_PER_STEP;
use super::thread::{Activity, Deliver};
use crate::lua::names;
use crate::lua::value::Value;

/// A level of the call stack, as `error` and `getfenv` count levels.
pub enum Level<'a> {
    Frame(&'a super::thread::Frame),
    /// A function that made a tail call; its frame is gone.
    TailCall,
}

impl Machine {
    /// The depth of the call stack.
    pub fn depth(&self) -> usize {
        self.thread.frames.len()
    }

    /// Charges the budget for finding a name in the code of the running function.
    fn charge_name(&mut self) {
        self.charge(self.thread.frames.last().map_or(0, |frame| frame.pc / SCANNED_PER_STEP));
    }

    /// Returns the function at a level: 1 is the caller of the running native function.
    pub fn level(&self, level: usize) -> Option<Level<'_>> {
        let mut left = level.checked_sub(1)?;
        // The frame of a debugger's evaluation is not a level.
        for frame in self.thread.frames.iter().rev().filter(|frame| frame.deliver != Deliver::Evaluated) {
            if left == 0 {
                return Some(Level::Frame(frame));
            }
            left -= 1;
            let tail_calls = frame.tail_calls as usize;
            if left < tail_calls {
                return Some(Level::TailCall);
            }
            left -= tail_calls;
        }
        None
    }

    /// Returns the function running at a level, or nil if there is none.
    pub fn function_at(&self, level: usize) -> Value {
        match self.level(level) {
            Some(Level::Frame(frame)) => self.thread.stack[frame.function],
            _ => Value::Nil,
        }
    }

    /// Formats `chunk:line: ` for the function at a level; empty if that is not a Lua function.
    pub fn position(&self, level: usize) -> Vec<u8> {
        let Some(Level::Frame(frame)) = self.level(level) else { return Vec::new() };
        let Activity::Lua(closure) = &frame.activity else { return Vec::new() };
        let mut position = names::chunk_id(&closure.prototype.chunk);
        let line = line_of(&closure.prototype.lines, frame.pc);
        position.extend_from_slice(format!(":{line}: ").as_bytes());
        position
    }

    /// Returns the chunk and the current line of the function at a level, if it is a Lua function.
    pub fn place(&self, level: usize) -> Option<(std::rc::Rc<[u8]>, u32)> {
        let Some(Level::Frame(frame)) = self.level(level) else { return None };
        let Activity::Lua(closure) = &frame.activity else { return None };
        Some((closure.prototype.chunk.clone(), line_of(&closure.prototype.lines, frame.pc)))
    }

    /// Like `bad_argument`, for a text of any bytes.
    pub fn bad_argument_bytes(&mut self, n: usize, text: &[u8]) -> Raised {
        self.charge_name();
        let name = match self.thread.frames.last() {
            Some(frame) => match &frame.activity {
                Activity::Lua(closure) if frame.pc > 0 => {
                    names::of_call(&closure.prototype, frame.pc - 1, &self.heap)
                }
                _ => None,
            },
            None => None,
        };
        let mut n = n;
        let mut message = Vec::new();
        match name {
            Some((kind, name)) => {
                if kind == "method" {
                    n -= 1;
                }
                if kind == "method" && n == 0 {
                    message.extend_from_slice(b"calling '");
                    message.extend_from_slice(&name);
                    message.extend_from_slice(b"' on bad self (");
                } else {
                    message.extend_from_slice(format!("bad argument #{n} to '").as_bytes());
                    message.extend_from_slice(&name);
                    message.extend_from_slice(b"' (");
                }
            }
            None => message.extend_from_slice(format!("bad argument #{n} to '?' (").as_bytes()),
        }
        message.extend_from_slice(text);
        message.push(b')');
        self.error(message)
    }

    /// `attempt to index local 'x' (a nil value)`; `register` is the running function's register that holds the value.
    pub(super) fn type_error(&mut self, operation: &str, value: Value, register: Option<u8>) -> Raised {
        self.charge_name();
        let name = register.and_then(|register| self.name_of_register(register));
        let kind = value.type_name();
        let mut message = format!("attempt to {operation} ").into_bytes();
        match name {
            Some((what, name)) => {
                message.extend_from_slice(format!("{what} '").as_bytes());
                message.extend_from_slice(&name);
                message.extend_from_slice(format!("' (a {kind} value)").as_bytes());
            }
            None => message.extend_from_slice(format!("a {kind} value").as_bytes()),
        }
        self.error(message)
    }

    fn name_of_register(&self, register: u8) -> Option<(&'static str, Vec<u8>)> {
        let frame = self.thread.frames.last()?;
        let Activity::Lua(closure) = &frame.activity else { return None };
        names::of_register(&closure.prototype, frame.pc.checked_sub(1)?, register, &self.heap)
    }

    /// `attempt to compare two nil values`
    pub(super) fn compare_error(&mut self, left: Value, right: Value) -> Raised {
        let (left, right) = (left.type_name(), right.type_name());
        if left == right {
            self.error(format!("attempt to compare two {left} values"))
        } else {
            self.error(format!("attempt to compare {left} with {right}"))
        }
    }
}

/// Returns the line of the instruction before `pc`, which is the one being executed.
pub(super) fn line_of(lines: &[u32], pc: usize) -> u32 {
    lines.get(pc.saturating_sub(1)).copied().unwrap_or(0)
}
