//! Functions written in Rust, as programs call them: what they get, and what they return.
//!
//! A native function must not call the machine: it would need the stack of the process for each level, and could not be
//! suspended. It returns an `Outcome` that says what is to be done, and how it continues.

use std::fmt::Debug;

use super::Machine;
use super::price::{BYTES_PER_STEP, SCANNED_PER_STEP};
use crate::lua::heap::{Function, OutOfMemory, TableError};
use crate::lua::number;
use crate::lua::value::{FunctionId, StringId, TableId, Value};

/// A function written in Rust.
pub type Native = fn(&mut Machine, Call) -> Result<Outcome, Raised>;

/// An error on its way to whoever catches it.
#[derive(Clone, Copy, Debug)]
pub struct Raised(pub Value);

/// The arguments of a native function, by their place on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub(super) base: usize,
    pub(super) count: usize,
}

impl Call {
    /// How many arguments there are.
    pub fn count(self) -> usize {
        self.count
    }
}

/// What a native function wants to happen.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant says what its fields mean")]
pub enum Outcome {
    /// It returns the values that it has pushed last.
    Values(usize),
    /// Call the function that was pushed before the last `arguments` values.
    Call { arguments: usize, then: Box<dyn Continue> },
    /// As `Call`; the results are its own.
    TailCall { arguments: usize },
    /// It has used up the budget, and continues when there is more.
    Pause(Box<dyn Continue>),
    /// Call the first argument with the others, or, for `xpcall`, the second without any, and catch errors.
    Protect { has_handler: bool },
    /// Resume the coroutine with the last `values` values that were pushed.
    Resume { thread: crate::lua::value::ThreadId, values: usize, is_wrapped: bool },
    /// Suspend the running coroutine, and hand over the arguments.
    Yield,
}

/// The rest of a native function. It may hold plain data only; values that it needs later stay on the stack.
pub trait Continue: Debug {
    /// Goes on. The last `results` values on the stack are what the called function has returned.
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised>;

    /// Bytes of memory that it holds while it waits, if they may be many.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Machine {
    // The stack

    /// The `n`th argument, from 1; `nil` if there are fewer.
    #[inline]
    pub fn argument(&self, call: Call, n: usize) -> Value {
        if n <= call.count { self.thread.stack[call.base + n - 1] } else { Value::Nil }
    }

    /// Puts another value in the place of an argument, to be found there by a continuation.
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

    /// The value that was pushed last, which is taken from the stack.
    #[inline]
    pub fn pop(&mut self) -> Value {
        self.thread.top -= 1;
        self.thread.stack[self.thread.top]
    }

    /// Takes `count` values from the stack.
    pub fn drop_values(&mut self, count: usize) {
        self.thread.top -= count;
    }

    /// The `n`th value from the top, from 1.
    pub fn from_top(&self, n: usize) -> Value {
        self.thread.stack[self.thread.top - n]
    }

    /// Returns one value.
    #[inline]
    pub fn one(&mut self, value: Value) -> Result<Outcome, Raised> {
        self.push(value);
        Ok(Outcome::Values(1))
    }

    /// A value of the native function that is running, the `n`th from 0 (`Heap::new_native_with`).
    pub fn upvalue(&self, call: Call, n: usize) -> Value {
        match self.callee(call).map(|id| self.heap.function(id)) {
            Some(Function::Native { upvalues, .. }) => upvalues.get(n).copied().unwrap_or_default(),
            _ => Value::Nil,
        }
    }

    /// Changes a value of the native function that is running.
    pub fn set_upvalue(&mut self, call: Call, n: usize, value: Value) {
        self.heap.set_native_upvalue(self.thread.stack[call.base - 1], n, value);
    }

    /// The native function that is running.
    pub fn callee(&self, call: Call) -> Option<FunctionId> {
        match self.thread.stack[call.base - 1] {
            Value::Function(id) => Some(id),
            _ => None,
        }
    }

    // Arguments

    /// An argument that must be there.
    pub fn check_any(&mut self, call: Call, n: usize) -> Result<Value, Raised> {
        if n > call.count {
            return Err(self.bad_argument(n, "value expected"));
        }
        Ok(self.argument(call, n))
    }

    /// An argument that must be a table.
    pub fn check_table(&mut self, call: Call, n: usize) -> Result<TableId, Raised> {
        match self.argument(call, n) {
            Value::Table(table) => Ok(table),
            _ => Err(self.bad_type(call, n, "table")),
        }
    }

    /// An argument that must be a function.
    pub fn check_function(&mut self, call: Call, n: usize) -> Result<Value, Raised> {
        match self.argument(call, n) {
            function @ Value::Function(_) => Ok(function),
            _ => Err(self.bad_type(call, n, "function")),
        }
    }

    /// A number, or a string that is one.
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

    /// As `check_number`; `default` instead of `nil`.
    pub fn optional_number(&mut self, call: Call, n: usize, default: f64) -> Result<f64, Raised> {
        if self.argument(call, n).is_nil() { Ok(default) } else { self.check_number(call, n) }
    }

    /// A number, cut to an integer.
    #[inline]
    pub fn check_integer(&mut self, call: Call, n: usize) -> Result<i64, Raised> {
        self.check_number(call, n).map(number::to_integer)
    }

    /// As `check_integer`; `default` instead of `nil`.
    pub fn optional_integer(&mut self, call: Call, n: usize, default: i64) -> Result<i64, Raised> {
        if self.argument(call, n).is_nil() { Ok(default) } else { self.check_integer(call, n) }
    }

    /// A string, or a number, which becomes one, also where the argument is on the stack.
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

    /// As `check_string`; `None` for `nil`.
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

    /// The error of a program that wants more memory than it may have.
    pub fn out_of_memory(&mut self, _: OutOfMemory) -> Raised {
        Raised(Value::String(self.fixed.out_of_memory))
    }

    /// Fails if `bytes` more cannot be had.
    pub fn afford(&mut self, bytes: usize) -> Result<(), Raised> {
        self.heap.afford(bytes).map_err(|error| self.out_of_memory(error))
    }

    /// The error of a key that cannot be stored.
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
