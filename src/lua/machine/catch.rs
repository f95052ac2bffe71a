//! Catching errors: `pcall` and `xpcall`. The functions leave a waiting frame; an error finds the last such frame and
//! makes it return.

use super::calls::Next;
use super::native::{Call, Raised};
use super::thread::{Activity, Deliver, Frame, Status, Then};
use super::{Machine, Progress};
use crate::lua::value::Value;

impl Machine {
    /// `pcall` calls the first argument with the others. `xpcall` calls the first one; the second is the handler.
    pub(super) fn protect(
        &mut self,
        call: Call,
        deliver: Deliver,
        has_handler: bool,
    ) -> Result<Next, Raised> {
        self.push_native(call, deliver, Then::Protected { has_handler })?;
        if has_handler {
            // The handler stays in the first argument's place.
            self.thread.stack.swap(call.base, call.base + 1);
            return self.start(call.base + 1, 0, Deliver::Continue);
        }
        self.start(call.base, call.count - 1, Deliver::Continue)
    }

    /// Whether the handler of an `xpcall` is running.
    pub(super) fn is_handling(&self) -> bool {
        self.thread.frames.iter().any(|frame| frame.deliver == Deliver::Handled)
    }

    /// The last frame that catches errors, and its handler.
    fn catching_frame(&self) -> Option<(usize, Option<Value>)> {
        self.thread.frames.iter().enumerate().rev().find_map(|(index, frame)| match &frame.activity {
            Activity::Native { call, then: Then::Protected { has_handler }, .. } => {
                Some((index, has_handler.then(|| self.thread.stack[call.base])))
            }
            _ => None,
        })
    }

    /// Unwinds to the frame that catches an error. Returns `None` if execution continues.
    pub(super) fn unwind(&mut self, raised: Raised) -> Result<Option<Progress>, Raised> {
        let next = match self.catching_frame() {
            Some((index, None)) => {
                let (error, field) = self.without_table(raised.0);
                self.catch(index, error, field)?
            }
            Some((index, Some(handler))) => self.handle(index, handler, raised.0)?,
            None if self.current != self.main => return self.die(raised.0),
            None => {
                self.failed(raised.0);
                return Ok(None);
            }
        };
        match next {
            Next::Frame | Next::Collect => Ok(None),
            Next::Leave(progress) => Ok(Some(progress)),
        }
    }

    /// Calls the handler of an `xpcall`, on top of the frames that have failed.
    fn handle(&mut self, index: usize, handler: Value, error: Value) -> Result<Next, Raised> {
        if !matches!(handler, Value::Function(_)) {
            return self.catch(index, Value::String(self.fixed.in_handler), None);
        }
        self.thread.top = self.thread.end();
        self.push(handler);
        self.push(error);
        let place = self.thread.top - 2;
        let depth = self.thread.frames.len();
        match self.start(place, 1, Deliver::Handled) {
            // The handler could not even start.
            Err(_) if self.thread.frames.len() == depth => {
                self.catch(index, Value::String(self.fixed.in_handler), None)
            }
            result => result,
        }
    }

    /// Returns the result of a handler from its `xpcall`.
    pub(super) fn handled(&mut self, value: Value) -> Result<Next, Raised> {
        match self.catching_frame() {
            Some((index, _)) => self.catch(index, value, None),
            None => Err(Raised(value)),
        }
    }

    /// Returns `pcall`'s results for an error. For a table, that is the host's error field if it is a string or number,
    /// and otherwise the table and the field.
    fn without_table(&self, error: Value) -> (Value, Option<Value>) {
        let (Value::Table(table), Some(name)) = (error, self.error_field) else { return (error, None) };
        match self.heap.get_string(table, name) {
            text @ (Value::String(_) | Value::Number(_)) => (text, None),
            field => (error, Some(field)),
        }
    }

    /// Returns false, the error and `field`, if any, from the `pcall` or `xpcall` frame at `index`.
    fn catch(&mut self, index: usize, error: Value, field: Option<Value>) -> Result<Next, Raised> {
        let failed = self.thread.end();
        self.drop_frames(index + 1);
        let Some(Frame { base, deliver, .. }) = self.thread.frames.pop() else {
            unreachable!("the frame that catches")
        };
        self.close_upvalues(base);
        self.thread.top = base;
        // The failed calls keep nothing alive, least of all the memory whose lack made them fail.
        self.thread.stack[base..failed].fill(Value::Nil);
        if matches!(error, Value::String(text) if text == self.fixed.out_of_memory) {
            self.heap.request_collection();
        }
        self.push(Value::Boolean(false));
        self.push(error);
        if let Some(field) = field {
            self.push(field);
        }
        self.deliver(deliver, base - 1, base, self.thread.top - base)
    }

    /// Ends the running coroutine with an error, which goes to its resumer.
    fn die(&mut self, error: Value) -> Result<Option<Progress>, Raised> {
        self.end_thread(Status::Dead);
        let Some(Frame { activity: Activity::Native { then, .. }, base, deliver, .. }) =
            self.thread.frames.pop()
        else {
            unreachable!("a coroutine was resumed by a native function");
        };
        self.thread.top = base;
        if matches!(then, Then::Resumed { is_wrapped: true }) {
            return Err(Raised(self.with_position(error)));
        }
        self.push(Value::Boolean(false));
        self.push(error);
        match self.deliver(deliver, base - 1, base, 2)? {
            Next::Frame | Next::Collect => Ok(None),
            Next::Leave(progress) => Ok(Some(progress)),
        }
    }

    /// Prefixes a message with the position of the running function.
    pub(super) fn with_position(&mut self, error: Value) -> Value {
        let mut message = self.position(1);
        self.charge_text(error);
        if matches!(error, Value::String(_) | Value::Number(_)) && self.heap.to_bytes(error, &mut message) {
            return Value::String(self.heap.string_from(message));
        }
        error
    }
}
