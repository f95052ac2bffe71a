//! Coroutines: a thread from the heap replaces the running one, and later switches back.

use super::calls::Next;
use super::native::{Call, Raised};
use super::thread::{Deliver, Status, Then, Thread};
use super::{MOST_NESTING, Machine, VALUES_PER_STEP};
use crate::lua::value::{ThreadId, Value};

impl Machine {
    /// Creates a coroutine that will call `function`.
    pub fn new_thread(&mut self, function: Value) -> ThreadId {
        let mut thread = Thread::new(self.thread_globals());
        thread.stack[0] = function;
        thread.top = 1;
        self.charge_values(thread.stack.len());
        self.heap.new_thread(thread)
    }

    /// The running coroutine; `None` for the main program.
    pub fn running(&self) -> Option<ThreadId> {
        (self.current != self.main).then_some(self.current)
    }

    /// Whether a coroutine is running, waiting or dead.
    pub fn status_of(&self, thread: ThreadId) -> Status {
        if thread == self.current { Status::Running } else { self.heap.thread(thread).status }
    }

    /// Replaces the running thread with another.
    pub(super) fn switch_to(&mut self, thread: ThreadId) {
        let (now, before) = self.thread.recount();
        self.heap.count_bytes(now, before);
        let next = std::mem::take(self.heap.thread_mut(thread));
        let previous = std::mem::replace(&mut self.thread, next);
        *self.heap.thread_mut(self.current) = previous;
        self.current = thread;
    }

    /// Ends or suspends the running coroutine, and continues its resumer.
    pub(super) fn end_thread(&mut self, status: Status) {
        self.thread.status = status;
        if status == Status::Dead {
            self.close_upvalues(0);
            self.drop_frames(0);
            self.thread.frames = Vec::new();
            self.thread.stack.fill(Value::Nil);
            self.thread.top = 0;
        }
        let resumer = self.thread.resumer.take().unwrap_or(self.main);
        self.switch_to(resumer);
        self.thread.status = Status::Running;
    }

    /// `coroutine.resume`: passes the last `values` values to a coroutine.
    pub(super) fn resume_thread(
        &mut self,
        call: Call,
        deliver: Deliver,
        thread: ThreadId,
        values: usize,
        is_wrapped: bool,
    ) -> Result<Next, Raised> {
        let status = self.status_of(thread);
        let refusal = match status {
            Status::Suspended if self.thread.nesting() >= MOST_NESTING => Some("C stack overflow"),
            Status::Suspended => None,
            Status::Running => Some("cannot resume running coroutine"),
            Status::Normal => Some("cannot resume normal coroutine"),
            Status::Dead => Some("cannot resume dead coroutine"),
        };
        if let Some(text) = refusal {
            if is_wrapped {
                return Err(self.error(text));
            }
            self.push(Value::Boolean(false));
            self.push_bytes(text.as_bytes());
            let from = self.thread.top - 2;
            return self.deliver(deliver, call.base - 1, from, 2);
        }
        self.charge(values / (VALUES_PER_STEP / 2));
        let passed: Vec<Value> = self.thread.stack[self.thread.top - values..self.thread.top].to_vec();
        self.thread.top = call.base;
        self.push_native(call, deliver, Then::Resumed { is_wrapped })?;
        let nesting = self.thread.nesting() + 1;
        self.thread.status = Status::Normal;
        let resumer = self.current;
        self.switch_to(thread);
        self.thread.resumer = Some(resumer);
        self.thread.status = Status::Running;
        self.thread.nesting_below = nesting;
        for value in passed {
            self.push(value);
        }
        if self.thread.frames.is_empty() {
            return self.start(0, values, Deliver::Finish);
        }
        self.set_ready(values);
        Ok(Next::Frame)
    }

    /// `coroutine.yield`: passes its arguments to the resumer of the running coroutine.
    pub(super) fn yield_thread(&mut self, call: Call, deliver: Deliver) -> Result<Next, Raised> {
        if self.current == self.main || self.thread.own_nesting() > 0 || deliver.is_nested() {
            return Err(self.plain_error("attempt to yield across metamethod/C-call boundary"));
        }
        let passed: Vec<Value> = self.thread.stack[call.base..call.base + call.count].to_vec();
        self.thread.top = call.base;
        self.push_native(call, deliver, Then::Yielded)?;
        self.end_thread(Status::Suspended);
        self.hand_over(&passed)
    }

    /// Ends the running coroutine, whose function has returned.
    pub(super) fn finish_thread(&mut self, from: usize, count: usize) -> Result<Next, Raised> {
        let passed: Vec<Value> = self.thread.stack[from..from + count].to_vec();
        self.end_thread(Status::Dead);
        self.hand_over(&passed)
    }

    /// Passes values to the function that resumed a coroutine.
    fn hand_over(&mut self, values: &[Value]) -> Result<Next, Raised> {
        self.charge(values.len() / (VALUES_PER_STEP / 2));
        for value in values {
            self.push(*value);
        }
        self.set_ready(values.len());
        Ok(Next::Frame)
    }
}
