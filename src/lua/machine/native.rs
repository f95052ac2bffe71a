//! The interface of functions written in Rust: their arguments and outcomes.
//!
//! A native function must not call the machine: each level would need native stack, and could not be suspended. Instead
//! it returns an `Outcome`, which names the next action and how the function continues.

use std::fmt::Debug;

use super::Machine;
use super::price::{BYTES_PER_STEP, SCANNED_PER_STEP};
use crate::lua::heap::{Function, OutOfMemory, TableError};
use crate::lua::number;
use crate::lua::value::{FunctionId, StringId, TableId, Value};

/// A function written in Rust.
pub type Native = fn(&mut Machine, Call) -> Result<Outcome, Raised>;

/// An error that is being thrown.
#[derive(Clone, Copy, Debug)]
pub struct Raised(pub Value);

/// The arguments of a native function, by their position on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub(super) base: usize,
    pub(super) count: usize,
}

impl Call {
    /// The number of arguments.
    pub fn count(self) -> usize {
        self.count
    }
}

/// The action that a native function requests.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant says what its fields mean")]
pub enum Outcome {
    /// Return the values pushed last.
    Values(usize),
    /// Call the function pushed before the last `arguments` values.
    Call { arguments: usize, then: Box<dyn Continue> },
    /// Like `Call`, but return its results.
    TailCall { arguments: usize },
    /// The budget is used up: continue when there is more.
    Pause(Box<dyn Continue>),
    /// Call the first argument with the others, or, for `xpcall`, without any; catch errors.
    Protect { has_handler: bool },
    /// Resume the coroutine with the last `values` values pushed.
    Resume { thread: crate::lua::value::ThreadId, values: usize, is_wrapped: bool },
    /// Suspend the running coroutine, passing on the arguments.
    Yield,
}

/// The rest of a native function. It may hold only plain data; values that it needs later stay on the stack.
pub trait Continue: Debug {
    /// Continues. The last `results` values on the stack are the results of the called function.
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised>;

    /// Bytes of memory held while it waits, if they may be many.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Machine {
    // The stack

    /// Returns the `n`th argument, from 1; `nil` if there are fewer.
    #[inline]
    pub fn argument(&self, call: Call, n: usize) -> Value {
        if n <= call.count { self.thread.stack[call.base + n - 1] } else { Value::Nil }
    }

    /// Replaces an argument, for use by a continuation.
    pub fn set_argument(&mut self, call: Call, n: usize, value: Value) {
        debug_assert!(n <= call.count, "argument {n} of {}", call.count);
        self.thread.stack[call.base + n - 1] = value;
    }

    /// Pushes a value on the stack.
    #[inline]
    pub fn push(&mut self, value: Value) {
        if self.thread.top == self.thread.stack.len() {
            self.grow_stack(self.thread.top + 1);
        }
        self.thread.stack[self.thread.top] = value;
        self.thread.top += 1;
    }

    /// Pushes a string on the stack.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        let string = self.heap.string(bytes);
        self.push(Value::String(string));
    }

    /// Pops the value pushed last.
    #[inline]
    pub fn pop(&mut self) -> Value {
        self.thread.top -= 1;
        self.thread.stack[self.thread.top]
    }

    /// Pops `count` values.
    pub fn drop_values(&mut self, count: usize) {
        self.thread.top -= count;
    }

    /// Returns the `n`th value from the top, from 1.
    pub fn from_top(&self, n: usize) -> Value {
        self.thread.stack[self.thread.top - n]
    }

    /// Returns one value.
    #[inline]
    pub fn one(&mut self, value: Value) -> Result<Outcome, Raised> {
        self.push(value);
        Ok(Outcome::Values(1))
    }

    /// Returns an upvalue of the running native function, the `n`th from 0 (`Heap::new_native_with`).
    pub fn upvalue(&self, call: Call, n: usize) -> Value {
        match self.callee(call).map(|id| self.heap.function(id)) {
            Some(Function::Native { upvalues, .. }) => upvalues.get(n).copied().unwrap_or_default(),
            _ => Value::Nil,
        }
    }

    /// Sets an upvalue of the running native function.
    pub fn set_upvalue(&mut self, call: Call, n: usize, value: Value) {
        self.heap.set_native_upvalue(self.thread.stack[call.base - 1], n, value);
    }

    /// The running native function.
    pub fn callee(&self, call: Call) -> Option<FunctionId> {
        match self.thread.stack[call.base - 1] {
            Value::Function(id) => Some(id),
            _ => None,
        }
    }

    // Arguments

    /// Returns an argument; fails if it is missing.
    pub fn check_any(&mut self, call: Call, n: usize) -> Result<Value, Raised> {
        if n > call.count {
            return Err(self.bad_argument(n, "value expected"));
        }
        Ok(self.argument(call, n))
    }

    /// Returns a table argument; fails for other types.
    pub fn check_table(&mut self, call: Call, n: usize) -> Result<TableId, Raised> {
        match self.argument(call, n) {
            Value::Table(table) => Ok(table),
            _ => Err(self.bad_type(call, n, "table")),
        }
    }

    /// Returns a function argument; fails for other types.
    pub fn check_function(&mut self, call: Call, n: usize) -> Result<Value, Raised> {
        match self.argument(call, n) {
            function @ Value::Function(_) => Ok(function),
            _ => Err(self.bad_type(call, n, "function")),
        }
    }

    /// Returns a number argument, or the number that a string represents.
    #[inline]
    pub fn check_number(&mut self, call: Call, n: usize) -> Result<f64, Raised> {
        let value = self.argument(call, n);
        if let Value::Number(number) = value {
            return Ok(number);
        }
        match self.to_number(value) {
            Some(number) => Ok(number),
            None => Err(self.bad_type(call, n, "number")),
        }
    }

    /// Converts a value to a number, as Lua does, and charges the budget for reading a string.
    pub fn to_number(&mut self, value: Value) -> Option<f64> {
        if let Value::String(string) = value {
            let length = self.heap.bytes(string).len();
            self.charge(length.min(number::LONGEST) / SCANNED_PER_STEP);
        }
        self.heap.to_number(value)
    }

    /// Like `check_number`; returns `default` for `nil`.
    pub fn optional_number(&mut self, call: Call, n: usize, default: f64) -> Result<f64, Raised> {
        if self.argument(call, n).is_nil() { Ok(default) } else { self.check_number(call, n) }
    }

    /// Returns a number argument, truncated to an integer.
    #[inline]
    pub fn check_integer(&mut self, call: Call, n: usize) -> Result<i64, Raised> {
        self.check_number(call, n).map(number::to_integer)
    }

    /// Like `check_integer`; returns `default` for `nil`.
    pub fn optional_integer(&mut self, call: Call, n: usize, default: i64) -> Result<i64, Raised> {
        if self.argument(call, n).is_nil() { Ok(default) } else { self.check_integer(call, n) }
    }

    /// Returns a string argument. Converts a number to a string, on the stack too.
    #[inline]
    pub fn check_string(&mut self, call: Call, n: usize) -> Result<StringId, Raised> {
        match self.argument(call, n) {
            Value::String(string) => Ok(string),
            Value::Number(number) => {
                let mut buffer = Vec::new();
                number::format(number, &mut buffer);
                let string = self.heap.string(&buffer);
                self.set_argument(call, n, Value::String(string));
                Ok(string)
            }
            _ => Err(self.bad_type(call, n, "string")),
        }
    }

    /// Like `check_string`; returns `None` for `nil`.
    pub fn optional_string(&mut self, call: Call, n: usize) -> Result<Option<StringId>, Raised> {
        if self.argument(call, n).is_nil() { Ok(None) } else { self.check_string(call, n).map(Some) }
    }

    // Errors

    /// `bad argument #n to 'name' (text)`
    pub fn bad_argument(&mut self, n: usize, text: &str) -> Raised {
        self.bad_argument_bytes(n, text.as_bytes())
    }

    /// `bad argument #n to 'name' (string expected, got nil)`
    pub fn bad_type(&mut self, call: Call, n: usize, expected: &str) -> Raised {
        let got = if n > call.count { "no value" } else { self.argument(call, n).type_name() };
        self.bad_argument(n, &format!("{expected} expected, got {got}"))
    }

    /// An error with the position of the function's caller.
    pub fn error(&mut self, text: impl AsRef<[u8]>) -> Raised {
        let mut message = self.position(1);
        message.extend_from_slice(text.as_ref());
        self.charge(message.len() / BYTES_PER_STEP);
        Raised(Value::String(self.heap.string_from(message)))
    }

    /// An error without a position.
    pub fn plain_error(&mut self, text: impl AsRef<[u8]>) -> Raised {
        self.charge(text.as_ref().len() / BYTES_PER_STEP);
        Raised(Value::String(self.heap.string(text.as_ref())))
    }

    /// The error of a program that exceeds its memory limit.
    pub fn out_of_memory(&mut self, _: OutOfMemory) -> Raised {
        Raised(Value::String(self.fixed.out_of_memory))
    }

    /// Fails if there is no room for `bytes` more.
    pub fn afford(&mut self, bytes: usize) -> Result<(), Raised> {
        self.heap.afford(bytes).map_err(|error| self.out_of_memory(error))
    }

    /// The error for a key that cannot be stored.
    pub fn table_error(&mut self, error: TableError) -> Raised {
        match error {
            TableError::NilKey => self.error("table index is nil"),
            TableError::NanKey => self.error("table index is NaN"),
            TableError::Readonly => self.error("Attempt to modify a readonly table"),
            TableError::Memory => self.out_of_memory(OutOfMemory),
        }
    }

    /// `table[key] = value`, without metamethods.
    pub fn raw_set(&mut self, table: TableId, key: Value, value: Value) -> Result<(), Raised> {
        self.heap.set(table, key, value).map_err(|error| self.table_error(error))
    }
}
