//! Calls and returns: how a frame is made, and where a function's results go when its frame is removed.

use std::rc::Rc;

use super::native::{Call, Continue, Outcome, Raised};
use super::thread::{Activity, Deliver, Frame, Then, WINDOW};
use super::{Event, LARGEST_STACK, MOST_FRAMES, MOST_NESTING, Machine, Progress, VALUES_PER_STEP};
use crate::lua::heap::{Closure, Function};
use crate::lua::value::Value;

/// Where execution continues.
#[derive(Debug)]
pub(super) enum Next {
    /// In the last frame.
    Frame,
    /// In the last frame, after a collection.
    Collect,
    Leave(Progress),
}

impl Machine {
    /// Calls the value at `function` on the stack with the `count` values after it.
    pub(super) fn start(
        &mut self,
        function: usize,
        mut count: usize,
        deliver: Deliver,
    ) -> Result<Next, Raised> {
        loop {
            if let Value::Function(id) = self.thread.stack[function] {
                let call = Call { base: function + 1, count };
                return match self.heap.function(id) {
                    Function::Lua(closure) => {
                        let closure = Rc::clone(closure);
                        self.enter(closure, function, count, deliver)?;
                        Ok(Next::Frame)
                    }
                    Function::Native { native, .. } => {
                        let native = *native;
                        self.thread.top = function + 1 + count;
                        if deliver.is_nested() && self.thread.nesting() >= MOST_NESTING {
                            return Err(self.error("C stack overflow"));
                        }
                        let outcome = native(self, call)?;
                        self.conclude(call, deliver, outcome)
                    }
                    Function::Host { number, .. } => {
                        let number = *number;
                        self.thread.top = function + 1 + count;
                        self.host = Some((call, deliver));
                        Ok(Next::Leave(Progress::Host { function: number, call }))
                    }
                };
            }
            self.insert_callable(function, count)?;
            count += 1;
        }
    }

    /// Inserts the `__call` metamethod before a value that is not a function.
    fn insert_callable(&mut self, function: usize, count: usize) -> Result<(), Raised> {
        let value = self.thread.stack[function];
        let callable = self.metamethod(value, Event::Call);
        if !matches!(callable, Value::Function(_)) {
            let register = match self.thread.frames.last() {
                Some(Frame { activity: Activity::Lua(closure), base, .. }) => function
                    .checked_sub(*base)
                    .filter(|register| *register < usize::from(closure.prototype.registers))
                    .map(|register| register as u8),
                _ => None,
            };
            return Err(self.type_error("call", value, register));
        }
        let end = function + 1 + count;
        if end + WINDOW >= self.thread.stack.len() {
            self.grow_stack(end + WINDOW + 1);
        }
        self.thread.stack.copy_within(function..end, function + 1);
        self.thread.stack[function] = callable;
        self.thread.top = end + 1;
        Ok(())
    }

    /// Pushes a frame for a Lua function, whose `count` arguments follow `function` on the stack.
    #[inline]
    pub(super) fn enter(
        &mut self,
        closure: Rc<Closure>,
        function: usize,
        count: usize,
        deliver: Deliver,
    ) -> Result<(), Raised> {
        let nesting = self.nest(deliver)?;
        let prototype = &*closure.prototype;
        let parameters = usize::from(prototype.parameters);
        let registers = usize::from(prototype.registers);
        let mut base = function + 1;
        let mut extra = 0;
        if prototype.is_variadic {
            // Parameters move above all arguments, so the extra arguments lie below the base.
            base += count;
            extra = count.saturating_sub(parameters);
        }
        if base + WINDOW >= self.thread.stack.len() {
            if base + WINDOW >= LARGEST_STACK {
                return Err(self.error("stack overflow"));
            }
            self.grow_stack(base + WINDOW + 1);
        }
        let stack = &mut self.thread.stack[function + 1..base + registers];
        if prototype.is_variadic {
            stack[count..].fill(Value::Nil);
            for n in 0..parameters.min(count) {
                stack[count + n] = std::mem::take(&mut stack[n]);
            }
        } else {
            stack[count.min(parameters)..].fill(Value::Nil);
        }
        let wants_arg = prototype.wants_arg;
        self.thread.frames.push(Frame {
            activity: Activity::Lua(closure),
            function,
            base,
            pc: 0,
            extra,
            deliver,
            nesting,
            tail_calls: 0,
        });
        if wants_arg {
            self.set_arg(base, parameters, extra)?;
        }
        Ok(())
    }

    /// Creates the table `arg` of a function that takes `...` without using it.
    fn set_arg(&mut self, base: usize, parameters: usize, extra: usize) -> Result<(), Raised> {
        self.afford(extra * size_of::<Value>())?;
        self.charge(extra / (VALUES_PER_STEP / 2));
        let table = self.heap.new_table(extra, 1);
        for n in 0..extra {
            let value = self.thread.stack[base - extra + n];
            self.raw_set(table, Value::Number((n + 1) as f64), value)?;
        }
        let name = Value::String(self.fixed.n);
        self.raw_set(table, name, Value::Number(extra as f64))?;
        self.thread.stack[base + parameters] = Value::Table(table);
        Ok(())
    }

    /// Returns the nesting level of one more frame, if it is allowed. An error handler may nest a little deeper than
    /// others.
    #[inline(always)]
    fn nest(&mut self, deliver: Deliver) -> Result<u32, Raised> {
        let nesting = self.thread.own_nesting() + u32::from(deliver.is_nested());
        let depth = self.thread.frames.len();
        if depth >= MOST_FRAMES || nesting + self.thread.nesting_below > MOST_NESTING {
            self.check_depth(depth, nesting)?;
        }
        Ok(nesting)
    }

    #[cold]
    fn check_depth(&mut self, depth: usize, nesting: u32) -> Result<(), Raised> {
        let room = if self.is_handling() { MOST_NESTING / 8 } else { 0 };
        if nesting + self.thread.nesting_below > MOST_NESTING + room {
            return Err(self.error("C stack overflow"));
        }
        if depth >= MOST_FRAMES + room as usize * 64 {
            return Err(self.error("stack overflow"));
        }
        Ok(())
    }

    /// Carries out a native function's outcome. Its frame is not on the stack.
    pub(super) fn conclude(
        &mut self,
        call: Call,
        deliver: Deliver,
        outcome: Outcome,
    ) -> Result<Next, Raised> {
        match outcome {
            Outcome::Values(count) => {
                let from = self.thread.top - count;
                self.deliver(deliver, call.base - 1, from, count)
            }
            Outcome::Call { arguments, then } => {
                self.push_waiting(call, deliver, then)?;
                let function = self.thread.top - arguments - 1;
                self.start(function, arguments, Deliver::Continue)
            }
            Outcome::TailCall { arguments } => {
                let from = self.thread.top - arguments - 1;
                self.thread.stack.copy_within(from..self.thread.top, call.base - 1);
                self.start(call.base - 1, arguments, deliver)
            }
            Outcome::Pause(then) => {
                self.push_waiting(call, deliver, then)?;
                self.set_ready(0);
                Ok(if self.budget > 0 { Next::Frame } else { Next::Leave(Progress::Paused) })
            }
            Outcome::Protect { has_handler } => self.protect(call, deliver, has_handler),
            Outcome::Resume { thread, values, is_wrapped } => {
                self.resume_thread(call, deliver, thread, values, is_wrapped)
            }
            Outcome::Yield => self.yield_thread(call, deliver),
        }
    }

    /// Pushes a frame for a native function that has to wait.
    pub(super) fn push_native(&mut self, call: Call, deliver: Deliver, then: Then) -> Result<(), Raised> {
        let nesting = self.nest(deliver)?;
        self.thread.frames.push(Frame {
            activity: Activity::Native { call, then, ready: 0 },
            function: call.base - 1,
            base: call.base,
            pc: 0,
            extra: 0,
            deliver,
            nesting,
            tail_calls: 0,
        });
        Ok(())
    }

    /// Pushes a frame for a native function that continues later. The memory that it holds counts until then.
    fn push_waiting(&mut self, call: Call, deliver: Deliver, rest: Box<dyn Continue>) -> Result<(), Raised> {
        let held = rest.heap_bytes();
        self.push_native(call, deliver, Then::Continue(rest))?;
        self.heap.count_bytes(held, 0);
        Ok(())
    }

    /// Drops all frames but the first `kept`.
    pub(super) fn drop_frames(&mut self, kept: usize) {
        let held = self.thread.frames.iter().skip(kept).map(Frame::held_bytes).sum();
        self.heap.count_bytes(0, held);
        self.thread.frames.truncate(kept);
    }

    /// Lets the native function of the last frame continue with the last `count` values on the stack.
    pub(super) fn set_ready(&mut self, count: usize) {
        match self.thread.frames.last_mut() {
            Some(Frame { activity: Activity::Native { ready, .. }, .. }) => *ready = count,
            _ => unreachable!("a native function waits for results"),
        }
    }

    /// Continues the native function of the last frame.
    pub(super) fn resume_native(&mut self) -> Result<Next, Raised> {
        let Some(Frame { activity: Activity::Native { call, then, ready }, deliver, .. }) =
            self.thread.frames.pop()
        else {
            unreachable!("the last frame is a native function's");
        };
        let from = self.thread.top - ready;
        match then {
            Then::Continue(rest) => {
                self.heap.count_bytes(0, rest.heap_bytes());
                let outcome = rest.resume(self, call, ready)?;
                self.conclude(call, deliver, outcome)
            }
            Then::Protected { .. } | Then::Resumed { is_wrapped: false } => {
                self.insert_status(from, true);
                self.deliver(deliver, call.base - 1, from, ready + 1)
            }
            Then::Resumed { is_wrapped: true } | Then::Yielded => {
                self.deliver(deliver, call.base - 1, from, ready)
            }
        }
    }

    /// Inserts a boolean before the values from `from` on.
    fn insert_status(&mut self, from: usize, status: bool) {
        self.push(Value::Nil);
        let top = self.thread.top;
        self.thread.stack.copy_within(from..top - 1, from + 1);
        self.thread.stack[from] = Value::Boolean(status);
    }

    /// Moves `count` results, which begin at `from`, to their destination. The frame of the returning function has been
    /// removed; `function` is where it was.
    pub(super) fn deliver(
        &mut self,
        deliver: Deliver,
        function: usize,
        from: usize,
        count: usize,
    ) -> Result<Next, Raised> {
        match deliver {
            Deliver::Call { wanted } | Deliver::Iterate { wanted } => {
                self.deliver_results(wanted, function, from, count);
                Ok(Next::Frame)
            }
            Deliver::Continue => {
                self.thread.stack.copy_within(from..from + count, function);
                self.thread.top = function + count;
                self.set_ready(count);
                Ok(Next::Frame)
            }
            Deliver::Finish => self.finish(from, count),
            Deliver::Evaluated => Ok(Next::Leave(self.evaluated(from, count))),
            _ => {
                let value = if count > 0 { self.thread.stack[from] } else { Value::Nil };
                self.deliver_one(deliver, value)
            }
        }
    }

    #[inline(always)]
    pub(super) fn deliver_results(&mut self, wanted: u16, function: usize, from: usize, count: usize) {
        let stack = &mut self.thread.stack;
        if wanted == 0 {
            stack.copy_within(from..from + count, function);
            self.thread.top = function + count;
            self.charge_values(count);
            return;
        }
        match (usize::from(wanted) - 1, count) {
            (0, _) => (),
            (1, 0) => stack[function] = Value::Nil,
            (1, _) => stack[function] = stack[from],
            (wanted, _) => {
                let passed = wanted.min(count);
                stack.copy_within(from..from + passed, function);
                stack[function + passed..function + wanted].fill(Value::Nil);
            }
        }
        self.thread.top = function;
    }

    fn deliver_one(&mut self, deliver: Deliver, value: Value) -> Result<Next, Raised> {
        let Some(frame) = self.thread.frames.last_mut() else {
            unreachable!("an operator's result has somewhere to go");
        };
        match deliver {
            Deliver::Register(register) => self.thread.stack[frame.base + usize::from(register)] = value,
            Deliver::Compare { expected, negated } => {
                if (value.is_false() == negated) != expected {
                    frame.pc += 1;
                }
            }
            Deliver::Concatenate { to, first, last } => {
                let place = frame.base + usize::from(last) - 1;
                self.thread.stack[place] = value;
                return self.concatenate(to, first, last - 1);
            }
            Deliver::Handled => return self.handled(value),
            Deliver::Call { .. }
            | Deliver::Iterate { .. }
            | Deliver::Continue
            | Deliver::Discard
            | Deliver::Evaluated
            | Deliver::Finish => (),
        }
        Ok(Next::Frame)
    }

    /// Returns `count` values, which begin at `from`, from the function of the last frame.
    #[inline]
    pub(super) fn leave(&mut self, from: usize, count: usize) -> Result<Next, Raised> {
        let Some(frame) = self.thread.frames.pop() else { unreachable!("a function returns from its frame") };
        if !self.thread.open.is_empty() {
            self.close_upvalues(frame.base);
        }
        if let Deliver::Call { wanted } = frame.deliver {
            self.deliver_results(wanted, frame.function, from, count);
            return Ok(Next::Frame);
        }
        self.deliver(frame.deliver, frame.function, from, count)
    }

    /// Ends the thread, whose last frame has returned.
    fn finish(&mut self, from: usize, count: usize) -> Result<Next, Raised> {
        if self.current != self.main {
            return self.finish_thread(from, count);
        }
        self.thread.stack.copy_within(from..from + count, 0);
        self.thread.top = count;
        self.tidy_up();
        Ok(Next::Collect)
    }

    /// Replaces the last frame by a call of the value at `function`.
    pub(super) fn tail_call(&mut self, function: usize, mut count: usize) -> Result<Next, Raised> {
        let id = loop {
            if let Value::Function(id) = self.thread.stack[function] {
                break id;
            }
            self.insert_callable(function, count)?;
            count += 1;
        };
        let Function::Lua(closure) = self.heap.function(id) else {
            // A native function must see its caller; the next instruction returns its results.
            return self.start(function, count, Deliver::Call { wanted: 0 });
        };
        let closure = Rc::clone(closure);
        let Some(frame) = self.thread.frames.pop() else { unreachable!("a frame to replace") };
        if !self.thread.open.is_empty() {
            self.close_upvalues(frame.base);
        }
        self.thread.stack.copy_within(function..function + 1 + count, frame.function);
        self.enter(closure, frame.function, count, frame.deliver)?;
        if let Some(replacement) = self.thread.frames.last_mut() {
            replacement.tail_calls = frame.tail_calls + 1;
        }
        Ok(Next::Frame)
    }
}
