//! The machine: executes compiled functions, and is suspended and resumed by its host.
//!
//! The host loads a chunk, begins a call, and lets the machine run for a number of instructions at a time. `run` returns
//! when the call has finished or failed, when the budget is used up, or when the program calls a function of the host:
//! the host does what was asked, hands over results, and runs on. No function of the host is called from within, and
//! no call of a Lua function uses the stack of the process, so all there is of a program is in the machine, at rest.

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

/// Calls that can be under way at once: the reference implementation's limit, as far as a program can reach it.
pub(super) const MOST_FRAMES: usize = 16_382;
/// Levels of calls by native functions and operators.
pub(super) const MOST_NESTING: u32 = 200;
/// Values that a stack can hold.
pub(super) const LARGEST_STACK: usize = 1 << 22;

/// Which functions there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Libraries {
    /// Those of the language that do not reach outside, for tests beside the reference implementation.
    Full,
    /// Those that Redis offers.
    Redis,
}

/// How a machine is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keys the hashes of strings.
    pub seed: u64,
    /// More than this cannot be in use.
    pub memory_limit_bytes: usize,
    /// Which functions there are.
    pub libraries: Libraries,
}

/// Why `run` has returned.
#[derive(Debug)]
pub enum Progress {
    /// The call has returned; `Machine::result` reads its results.
    Finished {
        /// How many there are.
        results: usize,
    },
    /// The call has failed.
    Failed(Failure),
    /// The budget is used up.
    Paused,
    /// A function of the host was called. `provide` or `raise` says how that ended.
    Host {
        /// The number with which it was made.
        function: u32,
        /// Its arguments.
        call: Call,
    },
    /// A traced machine has stopped; `run` resumes it.
    Stopped(Stop),
}

/// An error that nobody has caught.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error, which stays alive until the next call begins.
    pub value: Value,
    /// The chunk and the line that were being executed.
    pub place: Option<(Rc<[u8]>, u32)>,
}

/// A value that the host keeps alive.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept(u32);

/// What a metatable can define.
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

/// A machine: a program's functions and data, and how far it has come.
#[derive(Debug)]
pub struct Machine {
    /// All objects.
    pub heap: Heap,
    /// The thread that runs, taken from its place in the heap.
    thread: Thread,
    current: ThreadId,
    main: ThreadId,
    globals: TableId,
    string_metatable: Option<TableId>,
    /// Steps that are left, and how many there were when the last `run` began.
    budget: i64,
    granted: i64,
    fixed: Fixed,
    kept: Vec<Value>,
    free_kept: Vec<u32>,
    /// A call of the host that has not ended, and what becomes of its results.
    host: Option<(Call, Deliver)>,
    /// How `provide` or `raise` has ended a call.
    pending: Option<Pending>,
    /// An unfinished search for the length of a table: the elements before this one are not nil.
    searched: Option<(TableId, usize)>,
    iterators: Iterators,
    /// The state of the debugger's tracing.
    tracing: debug::Tracing,
    /// What `pcall` returns of an error that is a table.
    error_field: Option<StringId>,
    /// A setting of `cjson` was changed since they were last reset.
    pub(in crate::lua) is_json_changed: bool,
    /// The state of `math.random`.
    pub random: library::Random,
    /// Seconds of processor time, for `os.clock`.
    pub clock: fn() -> f64,
    /// The output of `print`, and, of a traced machine, messages of native functions for the debugger.
    pub output: Vec<u8>,
}

/// Functions that a loop does not call, since the machine knows what they return.
#[derive(Clone, Copy, Debug)]
pub struct Iterators {
    /// The function `next`.
    pub next: FunctionId,
    /// What `ipairs` returns.
    pub ipairs_step: FunctionId,
}

/// With what the next `run` begins.
#[derive(Debug)]
enum Pending {
    Raised(Raised),
    Leave(Progress),
}

impl Machine {
    /// A machine with its libraries, and nothing to do.
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

    // What libraries need

    /// The functions that a loop does not call.
    pub fn iterators(&self) -> Iterators {
        self.iterators
    }

    /// The table of globals.
    pub fn globals(&self) -> TableId {
        self.globals
    }

    /// The table of a library: the global of that name, made if there is none.
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

    /// The metatable of all strings.
    pub fn set_string_metatable(&mut self, metatable: TableId) {
        self.string_metatable = Some(metatable);
    }

    /// The metatable of any value.
    pub fn metatable_of(&self, value: Value) -> Option<TableId> {
        match value {
            Value::Table(table) => self.heap.metatable(table),
            Value::String(_) => self.string_metatable,
            Value::Proxy(proxy) => self.heap.proxy(proxy).metatable,
            _ => None,
        }
    }

    /// What the metatable of a value says for an event; `nil` if nothing.
    pub fn metamethod(&self, value: Value, event: Event) -> Value {
        match self.metatable_of(value) {
            Some(metatable) => self.heap.get_string(metatable, self.fixed.events[event as usize]),
            None => Value::Nil,
        }
    }

    /// The globals of the thread that runs.
    pub fn thread_globals(&self) -> TableId {
        self.thread.globals.unwrap_or(self.globals)
    }

    /// Gives the thread that runs another table of globals.
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

    /// Collects within the budget. Returns whether the collection is complete. Fails if memory exceeds the limit even
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

    /// Room for `needed` values on the stack.
    #[cold]
    pub(super) fn grow_stack(&mut self, needed: usize) {
        let length = needed.max(self.thread.stack.len() * 2).next_multiple_of(thread::WINDOW);
        let before = self.thread.stack.capacity();
        self.thread.stack.resize(length, Value::Nil);
        let grown = self.thread.stack.capacity() - before;
        self.heap.count_bytes(grown * size_of::<Value>(), 0);
    }

    /// Gives memory of the stack back after a peak.
    fn shrink_stack(&mut self, end: usize) {
        let needed = (end + 2 * thread::WINDOW).next_multiple_of(thread::WINDOW);
        if needed * 4 < self.thread.stack.len() {
            let before = self.thread.stack.capacity();
            self.thread.stack.truncate(needed);
            self.thread.stack.shrink_to_fit();
            self.heap.count_bytes(0, (before - self.thread.stack.capacity()) * size_of::<Value>());
        }
    }

    /// Room for `count` values above what is in use; `None` if that is more than a stack can hold.
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
