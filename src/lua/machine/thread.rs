//! A thread of execution: its value stack and the frames of its current calls. The main program is one, and so is each
//! coroutine.
//!
//! ```text
//!  stack  │ f │ a b │ registers of f …  │ g │ 1 2 │ registers of g …       │ nil …
//!               ▲ base of f                   ▲ base of g                 ▲ top, during a native call
//! ```
//!
//! A frame's registers begin after its function. The 256 values from `base` on are always accessible, so a register
//! access needs no bounds check.

use std::rc::Rc;

use super::native::{Call, Continue};
use crate::lua::heap::{Closure, Marker};
use crate::lua::value::{TableId, ThreadId, UpvalueId, Value};

/// The number of registers that an instruction can name.
pub const WINDOW: usize = 256;

/// The activity of a frame.
#[derive(Debug)]
pub enum Activity {
    Lua(Rc<Closure>),
    /// A native function that waits for a call, for more budget or for the host.
    Native {
        call: Call,
        then: Then,
        /// The number of values on the stack with which it continues.
        ready: usize,
    },
}

/// How a native function continues.
#[derive(Debug)]
pub enum Then {
    Continue(Box<dyn Continue>),
    /// `pcall`, or `xpcall` with its handler as the first argument.
    Protected {
        has_handler: bool,
    },
    /// `coroutine.resume`, or a function made by `coroutine.wrap`.
    Resumed {
        is_wrapped: bool,
    },
    /// `coroutine.yield`: returns the values with which the coroutine is resumed.
    Yielded,
}

/// The destination of a function's results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deliver {
    /// The position of the called function and those after it: `wanted - 1` results, or all if `wanted` is 0.
    Call { wanted: u16 },
    /// The first result goes to a register, as a metamethod's does.
    Register(u8),
    /// Like `Call`, but an operation of the loop waits for the results.
    Iterate { wanted: u16 },
    /// Nowhere.
    Discard,
    /// The first result, as a condition that is negated if `negated`, decides whether the next jump is skipped.
    Compare { expected: bool, negated: bool },
    /// The first result replaces the operand `last` and the one before it; the concatenation then continues.
    Concatenate { to: u8, first: u8, last: u8 },
    /// The results stay on the stack for the native function below.
    Continue,
    /// The first result is `xpcall`'s result for the error.
    Handled,
    /// The results are those of the thread.
    Finish,
    /// The result is that of a debugger's evaluation.
    Evaluated,
}

impl Deliver {
    /// Whether a native function or an operator waits for the results, which counts as a nesting level in C.
    pub fn is_nested(self) -> bool {
        !matches!(self, Deliver::Call { .. } | Deliver::Finish)
    }
}

/// A call in progress.
#[derive(Debug)]
pub struct Frame {
    pub activity: Activity,
    /// The stack position of the called value.
    pub function: usize,
    /// The stack position of its first register or argument.
    pub base: usize,
    /// The next instruction.
    pub pc: usize,
    /// The number of arguments beyond the parameters; they lie just below `base`.
    pub extra: usize,
    pub deliver: Deliver,
    /// The nesting level of this frame in its thread.
    pub nesting: u32,
    /// The number of calls that this one replaced.
    pub tail_calls: u32,
}

impl Frame {
    /// Bytes of memory held by a waiting native function.
    pub fn held_bytes(&self) -> usize {
        match &self.activity {
            Activity::Native { then: Then::Continue(rest), .. } => rest.heap_bytes(),
            _ => 0,
        }
    }
}

/// The state of a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// Has not begun, or has yielded.
    #[default]
    Suspended,
    /// Is the running coroutine.
    Running,
    /// Has resumed another coroutine that is still active.
    Normal,
    /// Has returned or failed.
    Dead,
}

#[derive(Debug, Default)]
pub struct Thread {
    pub stack: Vec<Value>,
    /// The end of the stack in use, where a frame's registers do not determine it.
    pub top: usize,
    pub frames: Vec<Frame>,
    /// Open captured variables on this stack, by position.
    pub open: Vec<(usize, UpvalueId)>,
    pub status: Status,
    /// The globals of functions loaded while the thread runs.
    pub globals: Option<TableId>,
    pub resumer: Option<ThreadId>,
    /// The nesting level at which it was resumed.
    pub nesting_below: u32,
    /// The memory of frames and open variables that the heap has counted.
    counted_bytes: usize,
}

impl Thread {
    pub fn new(globals: TableId) -> Thread {
        Thread { stack: vec![Value::Nil; 2 * WINDOW], globals: Some(globals), ..Thread::default() }
    }

    pub fn heap_bytes(&self) -> usize {
        self.stack.capacity() * size_of::<Value>() + self.counted_bytes
    }

    /// Recalculates the memory of the frames and open variables. Returns its bytes now, and at the last count.
    pub fn recount(&mut self) -> (usize, usize) {
        let now = self.frames.capacity() * size_of::<Frame>()
            + self.open.capacity() * size_of::<(usize, UpvalueId)>();
        (now, std::mem::replace(&mut self.counted_bytes, now))
    }

    /// The nesting level within this thread.
    pub fn own_nesting(&self) -> u32 {
        self.frames.last().map_or(0, |frame| frame.nesting)
    }

    /// The nesting level including the threads below.
    pub fn nesting(&self) -> u32 {
        self.nesting_below + self.own_nesting()
    }

    /// The end of the part of the stack that is in use.
    pub fn end(&self) -> usize {
        let registers = match self.frames.last() {
            Some(Frame { activity: Activity::Lua(closure), base, .. }) => {
                base + usize::from(closure.prototype.registers)
            }
            _ => 0,
        };
        registers.max(self.top)
    }

    /// Marks the values on the stack below `end`, and clears those above it.
    pub fn mark(&mut self, marker: &mut Marker<'_>, end: usize) {
        if let Some(globals) = self.globals {
            marker.table(globals);
        }
        if let Some(resumer) = self.resumer {
            marker.thread(resumer);
        }
        for value in &self.stack[..end] {
            marker.value(*value);
        }
        self.stack[end..].fill(Value::Nil);
        for frame in &self.frames {
            if let Activity::Lua(closure) = &frame.activity {
                marker.table(closure.environment.get());
                marker.prototype(&closure.prototype);
                for upvalue in &closure.upvalues {
                    marker.upvalue(*upvalue);
                }
            }
        }
        for (_, upvalue) in &self.open {
            marker.upvalue(*upvalue);
        }
    }
}
