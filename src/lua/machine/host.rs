//! The interface of a machine to its host.

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
    /// Compiles `source` and returns it as a function. The error is the message for the user. `chunk` names the source
    /// in messages: `=name` and `@name` as they are, or the source itself.
    pub fn load(&mut self, source: &[u8], chunk: &[u8]) -> Result<Value, Vec<u8>> {
        let environment = self.thread_globals();
        self.load_with(source, chunk, environment)
    }

    /// Like `load`, with another table of globals.
    pub fn load_with(&mut self, source: &[u8], chunk: &[u8], environment: TableId) -> Result<Value, Vec<u8>> {
        let prototype = compiler::compile(source, chunk, &mut self.heap)?;
        let code_bytes = prototype.tree_bytes();
        let closure =
            Closure { prototype, upvalues: Box::default(), environment: environment.into(), code_bytes };
        Ok(Value::Function(self.heap.new_function(Function::Lua(Rc::new(closure)))))
    }

    /// Undoes the changes that a program has made to the libraries, for the programs after it: the settings of `cjson`.
    pub fn reset_libraries(&mut self) {
        library::reset(self);
    }

    /// Begins a call. The machine must be idle.
    pub fn begin(&mut self, function: Value, arguments: &[Value]) {
        debug_assert!(self.is_idle(), "a call is under way");
        // A collection that began earlier has not marked the objects that the host has created since.
        self.heap.cancel_collection();
        self.thread.top = 0;
        self.push(function);
        for argument in arguments {
            self.push(*argument);
        }
        let started = self.start(0, arguments.len(), Deliver::Finish);
        self.set_pending(started);
    }

    pub(super) fn set_pending(&mut self, result: Result<super::calls::Next, Raised>) {
        match result {
            Ok(super::calls::Next::Leave(progress)) => self.pending = Some(Pending::Leave(progress)),
            Ok(_) => (),
            Err(raised) => self.pending = Some(Pending::Raised(raised)),
        }
    }

    /// Whether no call is in progress.
    pub fn is_idle(&self) -> bool {
        self.current == self.main && self.thread.frames.is_empty()
    }

    /// Whether the machine is idle and the results of the last call are gone too.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle() && self.thread.top == 0
    }

    /// Executes about `budget` instructions. Returns earlier if the host has to act.
    pub fn run(&mut self, budget: usize) -> Progress {
        // A smaller budget would not get past a call.
        self.budget = i64::try_from(budget).unwrap_or(i64::MAX).max(CALL_STEPS);
        self.granted = self.budget;
        let mut raised = None;
        loop {
            let result = match (raised.take(), self.pending.take()) {
                (Some(raised), _) | (None, Some(Pending::Raised(raised))) => self.unwind(raised),
                (None, Some(Pending::Leave(progress))) => match self.leave_for_host(progress) {
                    Ok(progress) => return progress,
                    Err(raised) => Err(raised),
                },
                (None, None) => self.execute().map(Some),
            };
            match result {
                Ok(Some(progress)) => return progress,
                Ok(None) => (),
                Err(again) => raised = Some(again),
            }
        }
    }

    /// Returns `progress` to the host after any collection that is due.
    fn leave_for_host(&mut self, progress: Progress) -> Result<Progress, Raised> {
        if self.heap.wants_collection() && !self.make_room()? {
            self.pending = Some(Pending::Leave(progress));
            return Ok(Progress::Paused);
        }
        Ok(progress)
    }

    /// Returns result `n` of a finished call, from 0; valid until the next call begins.
    pub fn result(&self, n: usize) -> Value {
        self.thread.stack[n]
    }

    /// Ends a `Progress::Host` with success: the last `results` values pushed are the function's results.
    pub fn provide(&mut self, results: usize) {
        let Some((call, deliver)) = self.host.take() else { return };
        let from = self.thread.top - results;
        let delivered = self.deliver(deliver, call.base - 1, from, results);
        self.set_pending(delivered);
    }

    /// Ends a `Progress::Host` with an error.
    pub fn raise(&mut self, error: Value) {
        self.host = None;
        self.tracing.forget_place();
        self.pending = Some(Pending::Raised(Raised(error)));
    }

    /// Aborts the current call at any point. Its garbage is freed by later calls of `run`, within their budgets, or by
    /// `collect`.
    pub fn abandon(&mut self) {
        self.heap.cancel_collection();
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

    /// Cleans up after a call, so that its garbage does not wait for the next one.
    pub(super) fn tidy_up(&mut self) {
        self.heap.set_automatic(true);
        self.heap.request_collection_at_rest();
    }

    /// Whether garbage should be collected before the next call begins.
    pub fn wants_collection(&self) -> bool {
        self.heap.wants_collection()
    }

    /// Discards the main thread's current call.
    pub(super) fn reset(&mut self) {
        self.close_upvalues(0);
        self.drop_frames(0);
        self.thread.top = 0;
        self.host = None;
        self.pending = None;
        self.searched = None;
        self.heap.stop_growing();
    }

    pub(super) fn failed(&mut self, value: Value) {
        let place = self.place(1).or_else(|| self.place(2));
        self.reset();
        // The value stays alive until the next call.
        self.push(value);
        self.tidy_up();
        self.pending = Some(Pending::Leave(Progress::Failed(Failure { value, place })));
    }

    /// Sets the table in which a Lua function looks up globals.
    pub fn set_environment(&mut self, function: Value, environment: TableId) {
        if let Value::Function(id) = function
            && let Function::Lua(closure) = self.heap.function(id)
        {
            closure.environment.set(environment);
        }
    }

    /// Creates a host function; `Progress::Host` reports its number.
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

    /// Returns a value that the host keeps.
    pub fn kept(&self, kept: &Kept) -> Value {
        self.kept[kept.0 as usize]
    }

    /// Lets go of a value kept by `keep`.
    #[expect(clippy::needless_pass_by_value, reason = "what is released cannot be used any more")]
    pub fn release(&mut self, kept: Kept) {
        self.kept[kept.0 as usize] = Value::Nil;
        self.free_kept.push(kept.0);
    }

    /// Makes `pcall` replace an error that is a table by this field of it, if the field is a string or a number.
    pub fn set_error_field(&mut self, name: StringId) {
        self.error_field = Some(name);
    }

    /// Allocated bytes: memory in use, and spare capacity.
    pub fn allocated_bytes(&self) -> usize {
        self.heap.allocated_bytes() + self.thread.heap_bytes()
    }

    /// Bytes of memory in use, garbage included.
    pub fn used_bytes(&self) -> usize {
        self.heap.used_bytes()
    }
}
