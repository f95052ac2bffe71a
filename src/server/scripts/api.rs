//! The environment of scripts and functions besides the language: the table `redis`, the protection of shared tables,
//! and errors as tables.

use super::redis;
use crate::command::REDIS_VERSION;
use crate::config::LogLevel;
use crate::lua::{Call, Libraries, Machine, Options, Outcome, Raised, TableId, Value};
use crate::sys::process;

/// The memory limit of a machine.
const MEMORY_LIMIT_BYTES: usize = 1 << 30;

/// The host function `redis.log`.
pub const LOG: u32 = 0;

const LEVELS: [(&str, LogLevel); 4] = [
    ("LOG_DEBUG", LogLevel::Debug),
    ("LOG_VERBOSE", LogLevel::Verbose),
    ("LOG_NOTICE", LogLevel::Notice),
    ("LOG_WARNING", LogLevel::Warning),
];

/// The users of the functions in `redis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// `EVAL`.
    Scripts,
    /// `FCALL`.
    Functions,
}

/// Creates a machine with the libraries that scripts have.
pub fn new_machine() -> Machine {
    let mut seed = [0; 8];
    process::random_bytes(&mut seed);
    let mut machine = Machine::new(Options {
        seed: u64::from_le_bytes(seed),
        memory_limit_bytes: MEMORY_LIMIT_BYTES,
        libraries: Libraries::Redis,
    });
    machine.clock = || {
        let time = process::cpu_time();
        (time.user_us + time.system_us) as f64 / 1e6
    };
    machine
}

/// Completes the globals of a machine, and protects them. Returns their table.
pub fn open(machine: &mut Machine, whom: For) -> TableId {
    let globals = machine.globals();
    let redis = machine.library("redis");
    add_log(machine, redis);
    add_version(machine, redis);
    redis::open(machine, redis);
    let field = machine.heap.string(b"err");
    machine.set_error_field(field);
    if whom == For::Scripts {
        redis::open_for_scripts(machine, redis);
    }
    protect(machine, globals);
    let text = Value::String(machine.heap.string(b""));
    if let Some(metatable) = machine.metatable_of(text) {
        protect_below(machine, metatable);
    }
    globals
}

/// Adds `log` and the log levels.
pub fn add_log(machine: &mut Machine, redis: TableId) {
    let log = machine.new_host_function("log", LOG);
    machine.heap.set_field(redis, "log", log);
    for (number, (name, _)) in LEVELS.iter().enumerate() {
        machine.heap.set_field(redis, name, Value::Number(number as f64));
    }
}

/// Adds the version that scripts see.
pub fn add_version(machine: &mut Machine, redis: TableId) {
    let number = REDIS_VERSION.split('.').fold(0, |sum, part| sum << 8 | part.parse().unwrap_or(0));
    let text = machine.heap.string(REDIS_VERSION.as_bytes());
    machine.heap.set_field(redis, "REDIS_VERSION", Value::String(text));
    machine.heap.set_field(redis, "REDIS_VERSION_NUM", Value::Number(f64::from(number)));
}

/// The most bytes of a line that a script logs; the rest is left out.
const LONGEST_LINE: usize = 1 << 20;

/// Returns the level and text of a call of `redis.log`.
///
/// # Errors
/// The arguments are not a level and texts.
pub fn log_line(machine: &Machine, call: Call) -> Result<(LogLevel, Vec<u8>), &'static str> {
    if call.count() < 2 {
        return Err("ERR redis.log() requires two arguments or more.");
    }
    let level = machine.heap.to_number(machine.argument(call, 1));
    let level = level.ok_or("ERR First argument must be a number (log level).")?;
    if !(0.0..4.0).contains(&level.trunc()) {
        return Err("ERR Invalid debug level.");
    }
    let mut line = Vec::new();
    for n in 2..=call.count() {
        let before = line.len();
        if n > 2 {
            line.push(b' ');
        }
        let room = LONGEST_LINE.saturating_sub(line.len());
        match machine.argument(call, n) {
            Value::String(string) => {
                let text = machine.heap.bytes(string);
                line.extend_from_slice(&text[..text.len().min(room)]);
            }
            value if !machine.heap.to_bytes(value, &mut line) => line.truncate(before),
            _ => (),
        }
    }
    Ok((LEVELS[level as usize].1, line))
}

/// Makes a table, and all tables in it, readonly; reading a missing field is an error.
pub fn protect(machine: &mut Machine, table: TableId) {
    let metatable = machine.heap.new_table(0, 1);
    machine.register(metatable, "__index", missing);
    machine.heap.set_metatable(table, Some(metatable));
    protect_below(machine, table);
}

fn protect_below(machine: &mut Machine, table: TableId) {
    machine.heap.set_readonly(table, true);
    let mut key = Value::Nil;
    while let Ok(Some((next, value))) = machine.heap.next(table, key) {
        key = next;
        if let Value::Table(inner) = value
            && !machine.heap.is_readonly(inner)
        {
            protect_below(machine, inner);
        }
    }
    if let Some(metatable) = machine.heap.metatable(table)
        && !machine.heap.is_readonly(metatable)
    {
        protect_below(machine, metatable);
    }
}

/// `__index` of a protected table.
fn missing(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let mut text = b"Script attempted to access nonexistent global variable '".to_vec();
    if !machine.heap.to_bytes(machine.argument(call, 2), &mut text) {
        return Err(machine.error("Second argument to luaProtectedTableError must be a string or number"));
    }
    text.push(b'\'');
    Err(machine.error(text))
}

/// Returns an error with this text as scripts see it.
pub fn error_value(machine: &mut Machine, text: &[u8]) -> Value {
    let table = machine.heap.new_table(0, 1);
    let text = machine.heap.string(text);
    machine.heap.set_field(table, "err", Value::String(text));
    Value::Table(table)
}

/// Returns the text of an uncaught error.
pub fn message(machine: &mut Machine, error: Value) -> Vec<u8> {
    let mut text = b"ERR ".to_vec();
    match error {
        Value::Table(table) => match machine.heap.field(table, "err") {
            Value::String(err) => return machine.heap.bytes(err).to_vec(),
            _ => text.extend_from_slice(b"unknown error"),
        },
        other => {
            machine.heap.to_bytes(other, &mut text);
        }
    }
    text
}
