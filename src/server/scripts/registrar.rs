//! The machine of the libraries: runs a library when it is loaded, so that it registers its functions.
//!
//! All libraries share one table of globals that nobody can change. While a library is loaded it holds nothing but
//! `redis`, of which there are `register_function`, `log`, the log levels and the version; when a function is called it
//! holds what scripts have. A library keeps to itself what it has in local variables.
//!
//! ```text
//!  globals {} ──__index──▶ { redis = { register_function, log, … } }      while loading
//!                   └────▶ { redis = { call, pcall, … }, string = …, … }  when called
//! ```
//!
//! What is registered is collected in a table of the machine, so that a function which is kept beyond loading, as
//! `redis.register_function` may be, finds that there is none.

use super::api;
use super::libraries::{Function, Terms};
use super::redis::Names;
use super::shebang::{self, Flags};
use crate::alloc::Apart;
use crate::command::Error;
use crate::lua::{Call, Kept, Machine, Outcome, Progress, Raised, TableId, Value};
use crate::sys::clock::Since;
use crate::text::words::shown;

/// Instructions between two checks of the time limit.
const SLICE: usize = 100_000;

/// The name of a library in messages.
const CHUNK: &[u8] = b"@user_function";

/// What is collected of a function is a table with these.
const NAME: usize = 1;
const CALLBACK: usize = 2;
const FLAGS: usize = 3;
const DESCRIPTION: usize = 4;

/// See the module's head.
#[derive(Debug)]
pub struct Registrar {
    /// Where the functions live.
    pub machine: Machine,
    /// The names of fields.
    pub names: Names,
    /// The globals of libraries, and what says where they are really found.
    globals: TableId,
    metatable: TableId,
    /// What is found there while a library is loaded, and when a function is called.
    while_loading: TableId,
    when_called: TableId,
    /// The function that registers.
    register: Kept,
    apart: Apart,
}

impl Default for Registrar {
    fn default() -> Registrar {
        let mut machine = api::new_machine();
        let when_called = api::open(&mut machine, api::For::Functions);
        let register = machine.heap.new_native_with("register_function", register_function, &[Value::Nil]);
        let register_kept = machine.keep(register);
        let while_loading = machine.heap.new_table(0, 1);
        let redis = machine.heap.new_table(0, 8);
        machine.heap.set_field(while_loading, "redis", Value::Table(redis));
        api::add_log(&mut machine, redis);
        api::add_version(&mut machine, redis);
        machine.heap.set_field(redis, "register_function", register);
        for table in [redis, while_loading] {
            api::protect(&mut machine, table);
        }
        let globals = machine.heap.new_table(0, 0);
        let metatable = machine.heap.new_table(0, 1);
        machine.heap.set_field(metatable, "__index", Value::Table(when_called));
        machine.heap.set_metatable(globals, Some(metatable));
        for table in [globals, metatable] {
            machine.heap.set_readonly(table, true);
        }
        for table in [globals, metatable, while_loading, when_called] {
            machine.keep(Value::Table(table));
        }
        machine.set_thread_globals(globals);
        let names = Names::new(&mut machine);
        let (register, apart) = (register_kept, Apart::default());
        let mut registrar =
            Registrar { machine, names, globals, metatable, while_loading, when_called, register, apart };
        registrar.count();
        registrar
    }
}

impl Registrar {
    /// Runs the source of a library, which begins after its first line. Returns what it has registered.
    ///
    /// # Errors
    /// The source does not compile, an error is raised, or the time is over.
    pub fn run(&mut self, source: &[u8], terms: &Terms<'_>) -> Result<Vec<Function>, Error> {
        let chunk = self.machine.load_with(source, CHUNK, self.globals);
        let chunk = chunk.map_err(|message| Error::concat(&[b"ERR Error compiling function: ", &message]))?;
        let collected = self.machine.heap.new_table(0, 0);
        self.find_globals_in(self.while_loading);
        self.collect_in(Value::Table(collected));
        self.machine.begin(chunk, &[]);
        let outcome = self.run_to_end(terms);
        self.machine.abandon();
        self.collect_in(Value::Nil);
        self.find_globals_in(self.when_called);
        if self.machine.wants_collection() {
            let kept = self.machine.keep(Value::Table(collected));
            self.machine.collect();
            self.machine.release(kept);
        }
        self.count();
        match outcome {
            Ok(()) => Ok(self.take(collected)),
            Err(message) => Err(Error::concat(&[b"ERR Error registering functions: ", &message])),
        }
    }

    /// Updates the machine's share of the memory that does not count towards `maxmemory`.
    pub fn count(&mut self) {
        self.apart.set(self.machine.allocated_bytes());
    }

    /// Undoes changes by a function that could affect later ones.
    pub fn prepare(&mut self) {
        self.machine.set_thread_globals(self.globals);
        self.machine.set_collecting(true);
    }

    /// Returns the function to call.
    pub fn function(&self, callback: &Kept) -> Value {
        self.machine.kept(callback)
    }

    /// Releases a function.
    pub fn release(&mut self, callback: Kept) {
        self.machine.release(callback);
    }

    fn find_globals_in(&mut self, table: TableId) {
        let heap = &mut self.machine.heap;
        heap.set_readonly(self.metatable, false);
        heap.set_field(self.metatable, "__index", Value::Table(table));
        heap.set_readonly(self.metatable, true);
    }

    /// `redis.register_function` adds to this table; `nil` if no library is being loaded.
    fn collect_in(&mut self, table: Value) {
        let register = self.machine.kept(&self.register);
        self.machine.heap.set_native_upvalue(register, 0, table);
    }

    fn run_to_end(&mut self, terms: &Terms<'_>) -> Result<(), Vec<u8>> {
        let began = Since::now();
        loop {
            match self.machine.run(SLICE) {
                Progress::Finished { .. } => return Ok(()),
                Progress::Failed(failure) => return Err(api::message(&mut self.machine, failure.value)),
                Progress::Paused | Progress::Stopped(_) => {}
                Progress::Host { function, call } => {
                    debug_assert_eq!(function, api::LOG, "nothing else of the host is there");
                    match api::log_line(&self.machine, call) {
                        Ok((level, line)) => {
                            (terms.log)(level, &line);
                            self.machine.provide(0);
                        }
                        Err(text) => {
                            let error = api::error_value(&mut self.machine, text.as_bytes());
                            self.machine.raise(error);
                        }
                    }
                }
            }
            if terms.limit.is_some_and(|limit| began.elapsed() >= limit) {
                return Err(b"ERR FUNCTION LOAD timeout".to_vec());
            }
        }
    }

    /// Returns the collected functions, which are kept from now on.
    fn take(&mut self, collected: TableId) -> Vec<Function> {
        let machine = &mut self.machine;
        let mut functions = Vec::new();
        for index in 1.. {
            let Value::Table(entry) = machine.heap.get_index(collected, index) else { break };
            let text = |machine: &Machine, field| match machine.heap.get_index(entry, field) {
                Value::String(string) => Some(machine.heap.bytes(string).to_vec()),
                _ => None,
            };
            let flags = match machine.heap.get_index(entry, FLAGS) {
                Value::Number(bits) => Flags::from_bits(bits as u8),
                _ => Flags::default(),
            };
            let name = text(machine, NAME).unwrap_or_default();
            let description = text(machine, DESCRIPTION);
            let callback = machine.heap.get_index(entry, CALLBACK);
            functions.push(Function { name, description, flags, callback: machine.keep(callback) });
        }
        functions
    }
}

/// The arguments of a call of `redis.register_function`.
struct Registration {
    name: Vec<u8>,
    callback: Value,
    description: Value,
    flags: Flags,
}

/// `redis.register_function(name, callback)` or
/// `redis.register_function{function_name=…, callback=…, description=…, flags={…}}`.
fn register_function(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    match register(machine, call) {
        Ok(()) => Ok(Outcome::Values(0)),
        Err(text) => Err(Raised(api::error_value(machine, text.as_bytes()))),
    }
}

fn register(machine: &mut Machine, call: Call) -> Result<(), &'static str> {
    let Value::Table(collected) = machine.upvalue(call, 0) else {
        return Err("ERR redis.register_function can only be called on FUNCTION LOAD command");
    };
    let registration = match call.count() {
        1 => named(machine, machine.argument(call, 1))?,
        2 => positional(machine, machine.argument(call, 1), machine.argument(call, 2))?,
        _ => return Err("ERR wrong number of arguments to redis.register_function"),
    };
    shebang::verify_name(&registration.name)?;
    let heap = &mut machine.heap;
    let mut count = 0;
    while let Value::Table(entry) = heap.get_index(collected, count + 1) {
        count += 1;
        if let Value::String(name) = heap.get_index(entry, NAME)
            && heap.bytes(name) == registration.name
        {
            return Err("ERR Function already exists in the library");
        }
    }
    const FULL: &str = "ERR not enough memory";
    let entry = heap.new_table(DESCRIPTION, 0);
    let name = Value::String(heap.string(&registration.name));
    let flags = Value::Number(registration.flags.bits().into());
    for (field, value) in [
        (NAME, name),
        (CALLBACK, registration.callback),
        (FLAGS, flags),
        (DESCRIPTION, registration.description),
    ] {
        heap.set_index(entry, field, value).map_err(|_| FULL)?;
    }
    heap.set_index(collected, count + 1, Value::Table(entry)).map_err(|_| FULL)
}

fn positional(machine: &Machine, name: Value, callback: Value) -> Result<Registration, &'static str> {
    let name = text(machine, name).ok_or("ERR first argument to redis.register_function must be a string")?;
    if !matches!(callback, Value::Function(_)) {
        return Err("ERR second argument to redis.register_function must be a function");
    }
    Ok(Registration { name, callback, description: Value::Nil, flags: Flags::default() })
}

fn named(machine: &mut Machine, arguments: Value) -> Result<Registration, &'static str> {
    let Value::Table(arguments) = arguments else {
        return Err(
            "ERR calling redis.register_function with a single argument is only applicable to Lua table \
                    (representing named arguments).",
        );
    };
    let (mut name, mut callback) = (None, None);
    let (mut description, mut flags) = (Value::Nil, Flags::default());
    let mut key = Value::Nil;
    while let Ok(Some((next, value))) = machine.heap.next(arguments, key) {
        key = next;
        let argument = text(machine, key)
            .ok_or("ERR named argument key given to redis.register_function is not a string")?;
        match &shown(&argument).to_ascii_lowercase()[..] {
            b"function_name" => {
                name =
                    Some(text(machine, value).ok_or(
                        "ERR function_name argument given to redis.register_function must be a string",
                    )?);
            }
            b"description" => {
                let text = text(machine, value)
                    .ok_or("ERR description argument given to redis.register_function must be a string")?;
                description = Value::String(machine.heap.string_from(text));
            }
            b"callback" if matches!(value, Value::Function(_)) => callback = Some(value),
            b"callback" => {
                return Err("ERR callback argument given to redis.register_function must be a function");
            }
            b"flags" => flags = read_flags(machine, value)?,
            _ => return Err("ERR unknown argument given to redis.register_function"),
        }
    }
    let name = name.ok_or("ERR redis.register_function must get a function name argument")?;
    let callback = callback.ok_or("ERR redis.register_function must get a callback argument")?;
    Ok(Registration { name, callback, description, flags })
}

/// Reads the flags from a sequence of their names, in any case.
fn read_flags(machine: &Machine, value: Value) -> Result<Flags, &'static str> {
    let Value::Table(names) = value else {
        return Err(
            "ERR flags argument to redis.register_function must be a table representing function flags",
        );
    };
    let mut flags = Flags::default();
    for index in 1.. {
        let name = machine.heap.get_index(names, index);
        if name.is_nil() {
            break;
        }
        let name = text(machine, name).unwrap_or_default();
        let flag = Flags::named(&shown(&name).to_ascii_lowercase());
        flags.insert(flag.ok_or("ERR unknown flag given")?);
    }
    Ok(flags)
}

/// Returns a string, or the digits of a number.
fn text(machine: &Machine, value: Value) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    machine.heap.to_bytes(value, &mut text).then_some(text)
}
