//! Captured variables. While the function that declares a variable runs, the variable is in a register, and closures
//! refer to that register; afterwards it has its own slot.

use super::Machine;
use crate::lua::heap::Upvalue;
use crate::lua::value::{UpvalueId, Value};

impl Machine {
    /// Returns the captured variable for a stack position: the existing one, or a new one.
    pub(super) fn capture(&mut self, place: usize) -> UpvalueId {
        let position = self.thread.open.partition_point(|(open, _)| *open < place);
        if let Some((open, upvalue)) = self.thread.open.get(position)
            && *open == place
        {
            return *upvalue;
        }
        let upvalue = self.heap.new_upvalue(Upvalue::Open { thread: self.current, place: place as u32 });
        self.thread.open.insert(position, (place, upvalue));
        upvalue
    }

    /// Closes the captured variables from a stack position on: copies their values out of the stack.
    pub(super) fn close_upvalues(&mut self, from: usize) {
        while let Some((place, upvalue)) = self.thread.open.last().copied()
            && place >= from
        {
            let value = self.thread.stack[place];
            self.heap.set_upvalue(upvalue, Upvalue::Closed(value));
            self.thread.open.pop();
        }
    }

    /// Reads a captured variable that is not closed.
    pub(super) fn read_open(&self, upvalue: Upvalue) -> Value {
        match upvalue {
            Upvalue::Closed(value) => value,
            Upvalue::Open { thread, place } if thread == self.current => self.thread.stack[place as usize],
            Upvalue::Open { thread, place } => self.heap.thread(thread).stack[place as usize],
        }
    }

    pub(super) fn write_upvalue(&mut self, upvalue: UpvalueId, value: Value) {
        match self.heap.upvalue(upvalue) {
            Upvalue::Closed(_) => self.heap.set_upvalue(upvalue, Upvalue::Closed(value)),
            Upvalue::Open { thread, place } if thread == self.current => {
                self.thread.stack[place as usize] = value;
            }
            Upvalue::Open { thread, place } => self.heap.thread_mut(thread).stack[place as usize] = value,
        }
    }
}
