//! What the host of a machine does with it.

use std::rc::Rc;

use super::native::Raised;
use super::run::CALL_STEPS;
use super::thread::{Deliver, Status};
use super::{Failure, Kept, Machine, Pending, Progress};
use crate::lua::compiler;
use crate::lua::heap::{Closure, Function};
use crate::lua::library;
use crate::lua::value::{StringId, TableId, Value};

impl Machine {
    /// A function with the code of `source`. The error is the message for the user. `chunk` names it in messages: `=name`
    /// and `@name` as they are, or the source itself.
    pub fn load(&mut self, source: &[u8], chunk: &[u8]) -> Result<Value, Vec<u8>> {
        let environment = self.thread_globals();
        self.load_with(source, chunk, environment)
    }

    /// As `load`, with another table of globals.
    pub fn load_with(&mut self, source: &[u8], chunk: &[u8], environment: TableId) -> Result<Value, Vec<u8>> {
        let prototype = compiler::compile(source, chunk, &mut self.heap)?;
        let closure = Closure { prototype, upvalues: Box::default(), environment: environment.into() };
        Ok(Value::Function(self.heap.new_function(Function::Lua(Rc::new(closure)))))
    }

    /// Undoes what a program has changed in the libraries for those that come after it: the settings of `cjson`.
    pub fn reset_libraries(&mut self) {
        library::reset(self);
    }

    /// Begins a call. The machine is idle.
    pub fn begin(&mut self, function: Value, arguments: &[Value]) {
        debug_assert!(self.is_idle(), "a call is under way");
        self.thread.top = 0;
        self.push(function);
        for argument in arguments {
            self.push(*argument);
        }
        let started = self.start(0, arguments.len(), Deliver::Finish);
        self.set_pending(started);
    }

    fn set_pending(&mut self, result: Result<super::calls::Next, Raised>) {
        match result {
            Ok(super::calls::Next::Leave(progress)) => self.pending = Some(Pending::Leave(progress)),
            Ok(_) => (),
            Err(raised) => self.pending = Some(Pending::Raised(raised)),
        }
    }

    /// Whether no call is under way.
    pub fn is_idle(&self) -> bool {
        self.current == self.main && self.thread.frames.is_empty()
    }

    /// Executes about `budget` instructions. Short of them ends when something is expected of the host.
    pub fn run(&mut self, budget: usize) -> Progress {
        // With less it would not get past a call.
        self.budget = i64::try_from(budget).unwrap_or(i64::MAX).max(CALL_STEPS);
        let mut raised = match self.pending.take() {
            Some(Pending::Leave(progress)) => return progress,
            Some(Pending::Raised(raised)) => Some(raised),
            None => None,
        };
        loop {
            let result = match raised.take() {
                Some(raised) => self.unwind(raised),
                None => self.execute().map(Some),
            };
            match result {
                Ok(Some(progress)) => return progress,
                // An error that was caught may have left a large message behind.
                Ok(None) if self.heap.wants_collection() => raised = self.check_memory().err(),
                Ok(None) => (),
                Err(again) => raised = Some(again),
            }
        }
    }

    /// Result `n` of a call that has finished, from 0; valid until the next one begins.
    pub fn result(&self, n: usize) -> Value {
        self.thread.stack[n]
    }

    /// After `Progress::Host`: the last `results` values that were pushed are the function's results.
    pub fn provide(&mut self, results: usize) {
        let Some((call, deliver)) = self.host.take() else { return };
        let from = self.thread.top - results;
        let delivered = self.deliver(deliver, call.base - 1, from, results);
        self.set_pending(delivered);
    }

    /// After `Progress::Host`: the function has failed.
    pub fn raise(&mut self, error: Value) {
        self.host = None;
        self.pending = Some(Pending::Raised(Raised(error)));
    }

    /// Ends the call under way, wherever it is. Nothing of it is executed any more.
    pub fn abandon(&mut self) {
        while self.current != self.main {
            self.thread.status = Status::Dead;
            self.close_upvalues(0);
            self.drop_frames(0);
            let resumer = self.thread.resumer.take().unwrap_or(self.main);
            self.switch_to(resumer);
        }
        self.reset();
        self.tidy_up();
    }

    /// After a call: what it has left behind does not wait for the next one.
    pub(super) fn tidy_up(&mut self) {
        if self.heap.wants_collection() || self.heap.is_half_full() {
            self.collect();
        }
        self.is_stopped = false;
    }

    /// Forgets the call under way on the main thread.
    pub(super) fn reset(&mut self) {
        self.close_upvalues(0);
        self.drop_frames(0);
        self.thread.top = 0;
        self.host = None;
        self.pending = None;
    }

    pub(super) fn failed(&mut self, value: Value) -> Progress {
        let place = self.place(1).or_else(|| self.place(2));
        self.reset();
        // The value stays alive until the next call.
        self.push(value);
        self.tidy_up();
        Progress::Failed(Failure { value, place })
    }

    /// The table in which a function of Lua looks for globals.
    pub fn set_environment(&mut self, function: Value, environment: TableId) {
        if let Value::Function(id) = function
            && let Function::Lua(closure) = self.heap.function(id)
        {
            closure.environment.set(environment);
        }
    }

    /// A function of the host, which `Progress::Host` names by its number.
    pub fn new_host_function(&mut self, name: &'static str, number: u32) -> Value {
        Value::Function(self.heap.new_function(Function::Host { number, name }))
    }

    /// Keeps a value alive until `release`.
    pub fn keep(&mut self, value: Value) -> Kept {
        if let Some(place) = self.free_kept.pop() {
            self.kept[place as usize] = value;
            return Kept(place);
        }
        self.kept.push(value);
        Kept(self.kept.len() as u32 - 1)
    }

    /// A value that the host keeps.
    pub fn kept(&self, kept: &Kept) -> Value {
        self.kept[kept.0 as usize]
    }

    /// Ends what `keep` has begun.
    #[expect(clippy::needless_pass_by_value, reason = "what is released cannot be used any more")]
    pub fn release(&mut self, kept: Kept) {
        self.kept[kept.0 as usize] = Value::Nil;
        self.free_kept.push(kept.0);
    }

    /// From now on `pcall` returns this field of an error that is a table, if it is a string or a number there, instead of
    /// the table.
    pub fn set_error_field(&mut self, name: StringId) {
        self.error_field = Some(name);
    }

    /// Bytes of memory in use, garbage included.
    pub fn used_bytes(&self) -> usize {
        self.heap.used_bytes()
    }
}
