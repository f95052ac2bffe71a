//! What is in the table `redis` beside the log and the version. What needs the server is a function of the host; the
//! others are here.
//!
//! An error is a table with the field `err` in this interface: a code, a space, and words for people. One that has been
//! counted already, when a command failed, has the field `ignore_error_stats_update`, too.

use crate::codec::hex;
use crate::codec::sha1::Sha1;
use crate::lua::{Call, Continue, Heap, Machine, Outcome, Raised, StringId, TableId, Value};
use crate::text::words::shown;

/// `redis.call`: the number of a function of the host.
pub const CALL: u32 = 1;
/// `redis.pcall`
pub const PCALL: u32 = 2;
/// `redis.setresp`
pub const SET_RESP: u32 = 3;
/// `redis.set_repl`
pub const SET_REPL: u32 = 4;
/// `redis.acl_check_cmd`
pub const ACL_CHECK: u32 = 5;
/// `redis.breakpoint`
pub const BREAKPOINT: u32 = 6;
/// `redis.debug`
pub const DEBUG: u32 = 7;

/// The script's calls are propagated to the log.
pub const REPL_AOF: u8 = 1;
/// The script's calls are propagated to the log and the replicas.
pub const REPL_ALL: u8 = 3;

const HOST: [(&str, u32); 5] = [
    ("call", CALL),
    ("pcall", PCALL),
    ("setresp", SET_RESP),
    ("set_repl", SET_REPL),
    ("acl_check_cmd", ACL_CHECK),
];

const REPL: [(&str, u8); 5] = [
    ("REPL_NONE", 0),
    ("REPL_AOF", REPL_AOF),
    ("REPL_SLAVE", 2),
    ("REPL_REPLICA", 2),
    ("REPL_ALL", REPL_ALL),
];

/// Fills the table.
pub fn open(machine: &mut Machine, redis: TableId) {
    for (name, number) in HOST {
        let function = machine.new_host_function(name, number);
        machine.heap.set_field(redis, name, function);
    }
    for (name, flags) in REPL {
        machine.heap.set_field(redis, name, Value::Number(flags.into()));
    }
    machine.register(redis, "error_reply", error_reply);
    machine.register(redis, "status_reply", status_reply);
    machine.register(redis, "sha1hex", sha1hex);
}

/// Adds the entries that only scripts have.
pub fn open_for_scripts(machine: &mut Machine, redis: TableId) {
    machine.register(redis, "replicate_commands", replicate_commands);
    for (name, number) in [("breakpoint", BREAKPOINT), ("debug", DEBUG)] {
        let function = machine.new_host_function(name, number);
        machine.heap.set_field(redis, name, function);
    }
}

/// The names of fields and globals that the host reads and writes.
#[derive(Debug)]
pub struct Names {
    pub err: StringId,
    pub ignore: StringId,
    pub ok: StringId,
    pub double: StringId,
    pub big_number: StringId,
    pub verbatim: StringId,
    pub string: StringId,
    pub format: StringId,
    pub map: StringId,
    pub set: StringId,
    pub keys: StringId,
    pub argv: StringId,
}

impl Names {
    /// Those of a machine, which keeps them.
    pub fn new(machine: &mut Machine) -> Names {
        let mut name = |text: &str| {
            let string = machine.heap.string(text.as_bytes());
            machine.keep(Value::String(string));
            string
        };
        Names {
            err: name("err"),
            ignore: name("ignore_error_stats_update"),
            ok: name("ok"),
            double: name("double"),
            big_number: name("big_number"),
            verbatim: name("verbatim_string"),
            string: name("string"),
            format: name("format"),
            map: name("map"),
            set: name("set"),
            keys: name("KEYS"),
            argv: name("ARGV"),
        }
    }
}

/// Creates a table with one field.
pub fn tagged(heap: &mut Heap, name: StringId, value: Value) -> Value {
    let table = heap.new_table(0, 1);
    set(heap, table, name, value);
    Value::Table(table)
}

/// `table.name = value`, for a new table.
pub fn set(heap: &mut Heap, table: TableId, name: StringId, value: Value) {
    let result = heap.set(table, Value::String(name), value);
    debug_assert!(result.is_ok(), "a small table takes a field");
}

/// The table of an error. `text` is that of an error reply without the `-`; where it has no code, it gets one.
/// `counted`: it is in the statistics already.
pub fn error_table(heap: &mut Heap, names: &Names, text: &[u8], counted: bool) -> Value {
    let text = Value::String(heap.string_from(with_code(text)));
    let table = heap.new_table(0, 2);
    set(heap, table, names.err, text);
    if counted {
        set(heap, table, names.ignore, Value::Boolean(true));
    }
    Value::Table(table)
}

/// The text of an error reply, without line ends at its edges.
fn with_code(text: &[u8]) -> Vec<u8> {
    let text = trim_lines(shown(text));
    match memchr::memchr(b' ', text) {
        Some(end) => [&text[..end], b" ", trim_lines(&text[end + 1..])].concat(),
        None => [b"ERR ", text].concat(),
    }
}

fn trim_lines(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// An error of a function of this table, whose text begins with `ERR `.
fn failure(machine: &mut Machine, text: &str) -> Value {
    report(machine, text.trim_start_matches("ERR ").as_bytes());
    let table = machine.heap.new_table(0, 1);
    let text = machine.heap.string(text.as_bytes());
    machine.heap.set_field(table, "err", Value::String(text));
    Value::Table(table)
}

const WRONG_ARGUMENTS: &str = "ERR wrong number or type of arguments";

/// Passes the debugger an error of a function of this table about a script's arguments.
fn report(machine: &mut Machine, text: &[u8]) {
    if machine.is_traced() {
        machine.output.extend_from_slice(text);
        machine.output.push(b'\n');
    }
}

/// The only argument, a string.
fn only_string(machine: &Machine, call: Call) -> Option<StringId> {
    match machine.argument(call, 1) {
        Value::String(string) if call.count() == 1 => Some(string),
        _ => None,
    }
}

/// The most bytes of an error's text; the rest is left out.
const LONGEST_ERROR: usize = 1 << 20;

/// `redis.error_reply(text)`: returns the table that represents an error reply.
fn error_reply(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some(string) = only_string(machine, call) else {
        let error = failure(machine, WRONG_ARGUMENTS);
        return machine.one(error);
    };
    let text = machine.heap.bytes(string);
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let text = &text[..text.len().min(LONGEST_ERROR)];
    let (reported, text) = ([b"-", shown(text)].concat(), with_code(text));
    report(machine, &reported);
    machine.charge(text.len() / 8);
    let text = Value::String(machine.heap.string_from(text));
    let table = machine.heap.new_table(0, 1);
    machine.heap.set_field(table, "err", text);
    machine.one(Value::Table(table))
}

/// `redis.status_reply(text)`: returns the table that represents a status reply.
fn status_reply(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let Some(string) = only_string(machine, call) else {
        let error = failure(machine, WRONG_ARGUMENTS);
        return machine.one(error);
    };
    let table = machine.heap.new_table(0, 1);
    machine.heap.set_field(table, "ok", Value::String(string));
    machine.one(Value::Table(table))
}

/// `redis.sha1hex(text)`: returns the digest of a text as forty digits.
fn sha1hex(machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    if call.count() != 1 {
        return Err(Raised(failure(machine, "ERR wrong number of arguments")));
    }
    Digesting::default().go_on(machine, call)
}

/// Bytes of a text that are digested between two checks of the budget.
const DIGESTED_AT_ONCE: usize = 1024 * Sha1::BLOCK;

/// A digest of the first argument, up to some place in it.
#[derive(Debug, Default)]
struct Digesting {
    digest: Sha1,
    place: usize,
}

impl Digesting {
    fn go_on(mut self, machine: &mut Machine, call: Call) -> Result<Outcome, Raised> {
        let mut number = Vec::new();
        let digest = loop {
            let text = match machine.argument(call, 1) {
                Value::String(string) => machine.heap.bytes(string),
                // A value that is not a number either counts as an empty string.
                value => {
                    machine.heap.to_bytes(value, &mut number);
                    &number[..]
                }
            };
            let rest = &text[self.place..];
            let Some(piece) = rest.get(..DIGESTED_AT_ONCE) else {
                let length = rest.len();
                let digest = self.digest.finish(rest);
                machine.charge(length / 4);
                break digest;
            };
            self.digest.take_blocks(piece);
            self.place += DIGESTED_AT_ONCE;
            if !machine.charge(DIGESTED_AT_ONCE / 4) {
                return Ok(Outcome::Pause(Box::new(self)));
            }
        };
        machine.push_bytes(hex(&digest).as_bytes());
        Ok(Outcome::Values(1))
    }
}

impl Continue for Digesting {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        self.go_on(machine, call)
    }
}

/// `redis.replicate_commands()`: does nothing, since effects are always replicated.
fn replicate_commands(machine: &mut Machine, _: Call) -> Result<Outcome, Raised> {
    machine.one(Value::Boolean(true))
}

#[cfg(test)]
mod tests {
    use super::with_code;

    #[test]
    fn an_error_has_a_code() {
        for (text, expected) in [
            ("MY boom x", "MY boom x"),
            ("boom", "ERR boom"),
            ("", "ERR "),
            ("MY a b\r\n", "MY a b"),
            ("MY \r\na", "MY a"),
            ("\r\nMY a", "MY a"),
            ("E a\0b", "E a"),
        ] {
            assert_eq!(with_code(text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
    }
}
