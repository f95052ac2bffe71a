//! The machine: executes compiled functions; its host suspends and resumes it.
//!
//! The host loads a chunk, begins a call, and lets the machine run for a number of instructions at a time. `run`
//! returns when the call has finished or failed, when the budget is used up, or when the program calls a host function:
//! the host executes it, pushes the results, and calls `run` again. The machine never calls the host, and no call of a
//! Lua function uses the native stack, so between runs a program's whole state is in the machine.

mod calls;
mod catch;
mod coroutines;
mod debug;
mod errors;
mod host;
mod native;
mod operators;
mod price;
mod run;
mod texts;
mod thread;
mod upvalues;

use std::rc::Rc;

pub use self::debug::{Stop, Traced};
pub use self::errors::Level;
pub use self::native::{Call, Continue, Native, Outcome, Raised};
pub use self::price::{
    BYTES_PER_STEP, PIECE_BYTES, PIECE_SLOTS, SCANNED_PER_STEP, SLOTS_PER_STEP, VALUES_PER_STEP, again,
};
use self::thread::Deliver;
pub use self::thread::{Activity, Status, Thread};
use super::heap::{Heap, Marker};
use super::library;
use super::value::{FunctionId, StringId, TableId, ThreadId, Value};

/// The maximum depth of calls: the reference implementation's limit, as far as a program can reach it.
pub(super) const MOST_FRAMES: usize = 16_382;
/// The maximum nesting of calls by native functions and operators.
pub(super) const MOST_NESTING: u32 = 200;
/// The maximum number of values on a stack.
pub(super) const LARGEST_STACK: usize = 1 << 22;

/// The set of functions that programs get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Libraries {
    /// The language's functions that do not reach outside, for tests against the reference implementation.
    Full,
    /// The functions that Redis offers.
    Redis,
}

/// The parameters of a new machine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keys the hashes of strings.
    pub seed: u64,
    /// The maximum memory in use.
    pub memory_limit_bytes: usize,
    /// The functions that programs get.
    pub libraries: Libraries,
}

/// Why `run` returned.
#[derive(Debug)]
pub enum Progress {
    /// The call has returned; `Machine::result` reads its results.
    Finished {
        /// The number of results.
        results: usize,
    },
    /// The call has failed.
    Failed(Failure),
    /// The budget is used up.
    Paused,
    /// The program called a host function. End the call with `provide` or `raise`.
    Host {
        /// The number that it was created with.
        function: u32,
        /// Its arguments.
        call: Call,
    },
    /// A traced machine has stopped; `run` resumes it.
    Stopped(Stop),
}

/// An uncaught error.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error value, which stays alive until the next call begins.
    pub value: Value,
    /// The chunk and the line where the error occurred.
    pub place: Option<(Rc<[u8]>, u32)>,
}

/// A value that the host keeps alive.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept(u32);

/// An operation that a metatable can define.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Index,
    NewIndex,
    Equal,
    Call,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Negate,
    Length,
    Concatenate,
    Mode,
    Metatable,
    ToString,
}

/// In the order of `Event`.
const EVENT_NAMES: [&str; 18] = [
    "__index",
    "__newindex",
    "__eq",
    "__call",
    "__lt",
    "__le",
    "__add",
    "__sub",
    "__mul",
    "__div",
    "__mod",
    "__pow",
    "__unm",
    "__len",
    "__concat",
    "__mode",
    "__metatable",
    "__tostring",
];

/// Strings that are always alive.
#[derive(Debug)]
struct Fixed {
    events: [StringId; EVENT_NAMES.len()],
    out_of_memory: StringId,
    in_handler: StringId,
    n: StringId,
}

/// A machine: a program's functions, data and execution state.
#[derive(Debug)]
pub struct Machine {
    /// All objects.
    pub heap: Heap,
    /// The running thread, taken out of its slot in the heap.
    thread: Thread,
    current: ThreadId,
    main: ThreadId,
    globals: TableId,
    string_metatable: Option<TableId>,
    /// The remaining steps, and their number when the last `run` began.
    budget: i64,
    granted: i64,
    fixed: Fixed,
    kept: Vec<Value>,
    free_kept: Vec<u32>,
    /// A call of a host function that has not ended, and the destination of its results.
    host: Option<(Call, Deliver)>,
    /// How `provide` or `raise` ended a call.
    pending: Option<Pending>,
    /// An unfinished search for a table's length: the elements before this one are not nil.
    searched: Option<(TableId, usize)>,
    iterators: Iterators,
    /// The state of the debugger's tracing.
    tracing: debug::Tracing,
    /// The field that `pcall` returns in place of an error that is a table.
    error_field: Option<StringId>,
    /// Whether a setting of `cjson` was changed since the last reset.
    pub(in crate::lua) is_json_changed: bool,
    /// The state of `math.random`.
    pub random: library::Random,
    /// Returns the processor time in seconds, for `os.clock`.
    pub clock: fn() -> f64,
    /// The output of `print` and, for a traced machine, native functions' messages to the debugger.
    pub output: Vec<u8>,
}

/// Iterators that a loop does not call, since the machine computes their results itself.
#[derive(Clone, Copy, Debug)]
pub struct Iterators {
    /// The function `next`.
    pub next: FunctionId,
    /// The iterator that `ipairs` returns.
    pub ipairs_step: FunctionId,
}

/// The first action of the next `run`.
#[derive(Debug)]
enum Pending {
    Raised(Raised),
    Leave(Progress),
}

impl Machine {
    /// Creates an idle machine with its libraries.
    pub fn new(options: Options) -> Machine {
        let mut heap = Heap::new(options.seed, options.memory_limit_bytes);
        if options.libraries == Libraries::Redis {
            heap.hash_all_of_strings();
        }
        let globals = heap.new_table(0, 0);
        let main = heap.new_thread(Thread::default());
        let fixed = Fixed {
            events: EVENT_NAMES.map(|name| heap.string(name.as_bytes())),
            out_of_memory: heap.string(b"not enough memory"),
            in_handler: heap.string(b"error in error handling"),
            n: heap.string(b"n"),
        };
        let iterators = library::iterators(&mut heap);
        let mut machine = Machine {
            heap,
            thread: Thread::new(globals),
            current: main,
            main,
            globals,
            string_metatable: None,
            budget: 0,
            granted: 0,
            fixed,
            kept: Vec::new(),
            free_kept: Vec::new(),
            host: None,
            pending: None,
            searched: None,
            iterators,
            tracing: debug::Tracing::default(),
            is_json_changed: false,
            error_field: None,
            random: library::Random::default(),
            clock: || 0.0,
            output: Vec::new(),
        };
        machine.heap.count_bytes(machine.thread.heap_bytes(), 0);
        library::open_all(&mut machine, options.libraries);
        machine
    }

    // For the libraries

    /// The iterators that a loop does not call.
    pub fn iterators(&self) -> Iterators {
        self.iterators
    }

    /// The table of globals.
    pub fn globals(&self) -> TableId {
        self.globals
    }

    /// Returns the table of a library: the global of that name, created if necessary.
    pub fn library(&mut self, name: &str) -> TableId {
        if let Value::Table(table) = self.heap.field(self.globals, name) {
            return table;
        }
        let table = self.heap.new_table(0, 16);
        self.heap.set_field(self.globals, name, Value::Table(table));
        table
    }

    /// `table.name = native`
    pub fn register(&mut self, table: TableId, name: &'static str, native: Native) {
        let function = self.heap.new_native(name, native);
        self.heap.set_field(table, name, function);
    }

    /// Sets the metatable of all strings.
    pub fn set_string_metatable(&mut self, metatable: TableId) {
        self.string_metatable = Some(metatable);
    }

    /// Returns the metatable of any value.
    pub fn metatable_of(&self, value: Value) -> Option<TableId> {
        match value {
            Value::Table(table) => self.heap.metatable(table),
            Value::String(_) => self.string_metatable,
            Value::Proxy(proxy) => self.heap.proxy(proxy).metatable,
            _ => None,
        }
    }

    /// Returns the metamethod of a value for an event; `nil` if there is none.
    pub fn metamethod(&self, value: Value, event: Event) -> Value {
        match self.metatable_of(value) {
            Some(metatable) => self.heap.get_string(metatable, self.fixed.events[event as usize]),
            None => Value::Nil,
        }
    }

    /// Returns the globals of the running thread.
    pub fn thread_globals(&self) -> TableId {
        self.thread.globals.unwrap_or(self.globals)
    }

    /// Sets the globals of the running thread.
    pub fn set_thread_globals(&mut self, globals: TableId) {
        self.thread.globals = Some(globals);
    }

    // Memory

    /// Runs a full collection. For the host, between two calls of `run`.
    pub fn collect(&mut self) {
        self.heap.cancel_collection();
        self.begin_collection();
        let mut budget = i64::MAX;
        self.heap.go_on_collecting(&mut budget, self.is_at_rest());
    }

    /// Requests a collection before the program continues. For native functions that return `Outcome::Pause`.
    pub fn request_collection(&mut self) {
        self.heap.request_collection();
    }

    fn begin_collection(&mut self) {
        let end = self.thread.end();
        self.shrink_stack(end);
        let mode = self.fixed.events[Event::Mode as usize];
        let iterators = self.iterators;
        let Machine {
            heap,
            thread,
            current,
            main,
            globals,
            string_metatable,
            fixed,
            kept,
            pending,
            error_field,
            ..
        } = self;
        heap.begin_collection(mode, |marker: &mut Marker<'_>| {
            for name in fixed.events {
                marker.string(name);
            }
            for string in [fixed.out_of_memory, fixed.in_handler, fixed.n] {
                marker.string(string);
            }
            for value in kept.iter() {
                marker.value(*value);
            }
            marker.table(*globals);
            if let Some(name) = error_field {
                marker.string(*name);
            }
            marker.function(iterators.next);
            marker.function(iterators.ipairs_step);
            if let Some(metatable) = string_metatable {
                marker.table(*metatable);
            }
            if let Some(Pending::Raised(Raised(value))) = pending {
                marker.value(*value);
            }
            marker.thread(*current);
            marker.thread(*main);
            thread.mark(marker, end);
        });
    }

    /// Switches the automatic collection on or off.
    pub fn set_collecting(&mut self, is_on: bool) {
        self.heap.set_automatic(is_on);
    }

    /// Collects within the budget. Returns whether the collection is complete. Fails if memory still exceeds the limit
    /// then. Called between instructions, when all live values are reachable from the stack and the frames.
    #[cold]
    pub(super) fn make_room(&mut self) -> Result<bool, Raised> {
        let is_idle = self.is_idle();
        if !self.heap.is_collecting() {
            self.begin_collection();
        }
        let is_at_rest = self.is_at_rest();
        if !self.heap.go_on_collecting(&mut self.budget, is_at_rest) {
            return Ok(false);
        }
        if self.heap.is_exhausted() && !is_idle {
            return Err(Raised(Value::String(self.fixed.out_of_memory)));
        }
        Ok(true)
    }

    /// Makes room for `needed` values on the stack.
    #[cold]
    pub(super) fn grow_stack(&mut self, needed: usize) {
        let length = needed.max(self.thread.stack.len() * 2).next_multiple_of(thread::WINDOW);
        let before = self.thread.stack.capacity();
        self.thread.stack.resize(length, Value::Nil);
        let grown = self.thread.stack.capacity() - before;
        self.heap.count_bytes(grown * size_of::<Value>(), 0);
    }

    /// Frees stack memory after a peak.
    fn shrink_stack(&mut self, end: usize) {
        let needed = (end + 2 * thread::WINDOW).next_multiple_of(thread::WINDOW);
        if needed * 4 < self.thread.stack.len() {
            let before = self.thread.stack.capacity();
            self.thread.stack.truncate(needed);
            self.thread.stack.shrink_to_fit();
            self.heap.count_bytes(0, (before - self.thread.stack.capacity()) * size_of::<Value>());
        }
    }

    /// Makes room for `count` more values; `None` if a stack cannot hold that many.
    pub fn reserve_stack(&mut self, count: usize) -> Option<()> {
        let needed = self.thread.top.checked_add(count)?;
        if needed > LARGEST_STACK {
            return None;
        }
        if needed + thread::WINDOW > self.thread.stack.len() {
            self.grow_stack(needed + thread::WINDOW);
        }
        Some(())
    }
}
