//! A thread of execution: its stack of values, and the frames of the calls that are under way. The main program is one,
//! and each coroutine.
//!
//! ```text
//!  stack  │ f │ a b │ registers of f …  │ g │ 1 2 │ registers of g …       │ nil …
//!               ▲ base of f                   ▲ base of g                 ▲ top, during a native call
//! ```
//!
//! A frame's registers begin behind its function. 256 values from `base` on can always be accessed, so that a register
//! is found without a check.

use std::rc::Rc;

use super::native::{Call, Continue};
use crate::lua::heap::{Closure, Marker};
use crate::lua::value::{TableId, ThreadId, UpvalueId, Value};

/// Registers that an instruction can name.
pub const WINDOW: usize = 256;

/// What is under way in a frame.
#[derive(Debug)]
pub enum Activity {
    Lua(Rc<Closure>),
    /// A native function that waits for a call, for more budget, or for the host.
    Native {
        call: Call,
        then: Then,
        /// Values on the stack with which it continues.
        ready: usize,
    },
}

/// How a native function goes on.
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
    /// `coroutine.yield`: its results are what the coroutine is resumed with.
    Yielded,
}

/// What becomes of a function's results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deliver {
    /// They go to where the function was, and on: `wanted - 1` of them, or all, if `wanted` is 0.
    Call { wanted: u16 },
    /// The first goes to a register: what a metamethod computes.
    Register(u8),
    /// As `Call`, but an operation of the loop waits for them.
    Iterate { wanted: u16 },
    /// Nothing is expected.
    Discard,
    /// The first, taken for a condition and negated if `negated`, decides whether the next jump is skipped.
    Compare { expected: bool, negated: bool },
    /// The first takes the place of the operands `last` and the one before; then concatenation goes on.
    Concatenate { to: u8, first: u8, last: u8 },
    /// They are left on the stack for the native function below.
    Continue,
    /// The first is what `xpcall` returns for the error.
    Handled,
    /// They are the results of the thread.
    Finish,
    /// They are the result of a debugger's evaluation.
    Evaluated,
}

impl Deliver {
    /// Whether a native function or an operator waits for the results, and so counts as a level of nesting in C.
    pub fn is_nested(self) -> bool {
        !matches!(self, Deliver::Call { .. } | Deliver::Finish)
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct Frame {
    pub activity: Activity,
    /// Where the called value is on the stack.
    pub function: usize,
    /// Where its first register or argument is.
    pub base: usize,
    /// The next instruction.
    pub pc: usize,
    /// Arguments beyond the parameters, which lie just below `base`.
    pub extra: usize,
    pub deliver: Deliver,
    /// Levels of nesting of this thread up to this frame, itself included.
    pub nesting: u32,
    /// Calls that this one has taken the place of.
    pub tail_calls: u32,
}

impl Frame {
    /// Bytes of memory that a native function holds while it waits.
    pub fn held_bytes(&self) -> usize {
        match &self.activity {
            Activity::Native { then: Then::Continue(rest), .. } => rest.heap_bytes(),
            _ => 0,
        }
    }
}

/// What a coroutine does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// Has not begun, or has yielded.
    #[default]
    Suspended,
    /// Is the one that runs.
    Running,
    /// Has resumed another one, which has not come back.
    Normal,
    /// Has returned or failed.
    Dead,
}

#[derive(Debug, Default)]
pub struct Thread {
    pub stack: Vec<Value>,
    /// The end of what is in use, where the registers of a frame do not say it.
    pub top: usize,
    pub frames: Vec<Frame>,
    /// Captured variables whose place is on this stack, by place.
    pub open: Vec<(usize, UpvalueId)>,
    pub status: Status,
    /// The globals of functions that are loaded while it runs.
    pub globals: Option<TableId>,
    pub resumer: Option<ThreadId>,
    /// Levels of nesting when it was resumed.
    pub nesting_below: u32,
    /// The memory of frames and open variables that the heap knows of.
    counted_bytes: usize,
}

impl Thread {
    pub fn new(globals: TableId) -> Thread {
        Thread { stack: vec![Value::Nil; 2 * WINDOW], globals: Some(globals), ..Thread::default() }
    }

    pub fn heap_bytes(&self) -> usize {
        self.stack.capacity() * size_of::<Value>() + self.counted_bytes
    }

    /// Measures the frames and open variables anew. Returns their bytes of memory now, and those at the last time.
    pub fn recount(&mut self) -> (usize, usize) {
        let now = self.frames.capacity() * size_of::<Frame>()
            + self.open.capacity() * size_of::<(usize, UpvalueId)>();
        (now, std::mem::replace(&mut self.counted_bytes, now))
    }

    /// Levels of nesting of this thread.
    pub fn own_nesting(&self) -> u32 {
        self.frames.last().map_or(0, |frame| frame.nesting)
    }

    /// Levels of nesting, with those of the threads below.
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

    /// Marks what is on the stack below `end`, and forgets what is left over above it.
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
