//! Loading code while a program runs, and the tables in which functions look up globals.
//!
//! Only source can be loaded. There is no binary form: the output of `string.dump`, or bytecode built by a hostile
//! program, is text with a syntax error.

use super::{check_int, optional_int};
use crate::lua::heap::Function;
use crate::lua::machine::{Activity, BYTES_PER_STEP, Call, Continue, Level, Machine, Outcome, Raised};
use crate::lua::names;
use crate::lua::value::{TableId, Value};

/// The longest source. Longer ones are rejected, since compiling cannot be suspended.
const LONGEST: usize = 1 << 20;

/// The maximum number of steps to compile a byte, reached by a sum of one-letter names.
const STEPS_PER_BYTE: usize = 8;

/// Defines the functions. Requires `xpcall`.
pub fn open(m: &mut Machine) {
    let globals = m.globals();
    m.register(globals, "loadstring", loadstring);
    m.register(globals, "getfenv", getfenv);
    m.register(globals, "setfenv", setfenv);
    let xpcall = m.heap.field(globals, "xpcall");
    let handler = m.heap.new_native_with("load", same, &[]);
    let function = m.heap.new_native_with("load", load, &[xpcall, handler]);
    m.heap.set_field(globals, "load", function);
}

/// Compiles `source` and returns the function, or nil and a message. The name of the chunk ends at a zero byte.
fn compile(m: &mut Machine, source: &[u8], chunk: &[u8]) -> Result<Outcome, Raised> {
    m.charge(source.len() * STEPS_PER_BYTE);
    match m.load(source, chunk) {
        Ok(function) => m.one(function),
        Err(message) => {
            m.push(Value::Nil);
            m.push_bytes(&message);
            Ok(Outcome::Values(2))
        }
    }
}

/// Returns the error for a source that is too long.
fn refuse(m: &mut Machine, chunk: &[u8]) -> Result<Outcome, Raised> {
    m.push(Value::Nil);
    m.push_bytes(&[&names::chunk_id(chunk)[..], b": the source is too long"].concat());
    Ok(Outcome::Values(2))
}

/// `loadstring(source [, chunk])`
fn loadstring(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let source = m.check_string(call, 1)?;
    let chunk = m.optional_string(call, 2)?.unwrap_or(source);
    let (bytes, chunk) = (m.heap.bytes(source), names::kept(m.heap.bytes(chunk)).into_owned());
    if bytes.len() > LONGEST {
        return refuse(m, &chunk);
    }
    let source = bytes.to_vec();
    compile(m, &source, &chunk)
}

/// `load(reader [, chunk])`: the source is the concatenation of the pieces that `reader` returns, until it returns nil
/// or an empty string. Errors of `reader` are returned like errors in the source, so it is called through `xpcall`
/// (`pcall` may turn them into text).
fn load(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.check_function(call, 1)?;
    m.optional_string(call, 2)?;
    Box::new(Load { source: Vec::new() }).read(m, call)
}

/// Handles an error by returning it.
fn same(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    m.one(m.argument(call, 1))
}

/// The name of the chunk for `load`.
fn load_name(m: &Machine, call: Call) -> Vec<u8> {
    match m.argument(call, 2) {
        Value::String(chunk) => names::kept(m.heap.bytes(chunk)).into_owned(),
        _ => b"=(load)".to_vec(),
    }
}

#[derive(Debug)]
struct Load {
    source: Vec<u8>,
}

impl Load {
    /// Calls the reader.
    fn read(self: Box<Self>, m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        for value in [m.upvalue(call, 0), m.argument(call, 1), m.upvalue(call, 1)] {
            m.push(value);
        }
        Ok(Outcome::Call { arguments: 2, then: self })
    }
}

impl Continue for Load {
    fn heap_bytes(&self) -> usize {
        self.source.capacity()
    }

    fn resume(mut self: Box<Self>, m: &mut Machine, call: Call, results: usize) -> Result<Outcome, Raised> {
        let is_read = !m.from_top(results).is_false();
        let piece = if results > 1 { m.from_top(results - 1) } else { Value::Nil };
        m.drop_values(results);
        let failure = if is_read {
            let before = self.source.len();
            let is_text = match piece {
                // A piece that exceeds the limit by itself is not copied.
                Value::String(string) if m.heap.bytes(string).len() > LONGEST => {
                    return refuse(m, &load_name(m, call));
                }
                piece => m.heap.to_bytes(piece, &mut self.source),
            };
            m.charge((self.source.len() - before) / BYTES_PER_STEP);
            match m.afford(2 * self.source.len()) {
                Ok(()) if self.source.len() > LONGEST => return refuse(m, &load_name(m, call)),
                Ok(()) if self.source.len() > before => return self.read(m, call),
                Ok(()) if is_text || piece.is_nil() => {
                    return compile(m, &self.source, &load_name(m, call));
                }
                Ok(()) => m.error("reader function must return a string").0,
                Err(Raised(error)) => error,
            }
        } else {
            piece
        };
        m.push(Value::Nil);
        m.push(failure);
        Ok(Outcome::Values(2))
    }
}

// Environments

/// A function as argument 1 names it.
enum Named {
    Function(Value),
    /// A frame that has no Lua function.
    Native,
}

/// Returns the function running at `level`, which is argument 1.
fn named_function(m: &mut Machine, level: i32) -> Result<Named, Raised> {
    if level < 0 {
        return Err(m.bad_argument(1, "level must be non-negative"));
    }
    if level == 0 {
        return Ok(Named::Native);
    }
    let is_native = match m.level(level as usize) {
        None => return Err(m.bad_argument(1, "invalid level")),
        Some(Level::TailCall) => {
            let text = format!("no function environment for tail call at level {level}");
            return Err(m.error(text));
        }
        Some(Level::Frame(frame)) => !matches!(frame.activity, Activity::Lua(_)),
    };
    Ok(if is_native { Named::Native } else { Named::Function(m.function_at(level as usize)) })
}

/// Returns the environment of a Lua function.
fn environment_of(m: &Machine, function: Value) -> Option<TableId> {
    match function {
        Value::Function(id) => match m.heap.function(id) {
            Function::Lua(closure) => Some(closure.environment.get()),
            _ => None,
        },
        _ => None,
    }
}

/// `getfenv([function | level])`
fn getfenv(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let first = m.argument(call, 1);
    let named = if let Value::Function(_) = first {
        Named::Function(first)
    } else {
        let level = optional_int(m, call, 1, 1)?;
        named_function(m, level)?
    };
    let own = match named {
        Named::Function(function) => environment_of(m, function),
        Named::Native => None,
    };
    let environment = own.unwrap_or_else(|| m.thread_globals());
    m.one(Value::Table(environment))
}

/// `setfenv(function | level, table)`: level 0 is the running thread.
fn setfenv(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let environment = m.check_table(call, 2)?;
    let first = m.argument(call, 1);
    let named = if let Value::Function(_) = first {
        Named::Function(first)
    } else {
        let level = check_int(m, call, 1)?;
        named_function(m, level)?
    };
    if m.heap.to_number(first) == Some(0.0) {
        m.set_thread_globals(environment);
        return Ok(Outcome::Values(0));
    }
    match named {
        Named::Function(function) if environment_of(m, function).is_some() => {
            m.set_environment(function, environment);
            m.one(function)
        }
        _ => Err(m.error("'setfenv' cannot change environment of given object")),
    }
}
