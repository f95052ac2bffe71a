//! `coroutine`. The machine switches threads between two instructions, as the outcomes of these functions request.

use crate::lua::heap::Function;
use crate::lua::machine::{Call, Machine, Native, Outcome, Raised, Status};
use crate::lua::value::{ThreadId, Value};

const FUNCTIONS: [(&str, Native); 6] = [
    ("create", create),
    ("resume", resume),
    ("running", running),
    ("status", status),
    ("wrap", wrap),
    ("yield", |_, _| Ok(Outcome::Yield)),
];

pub fn open(m: &mut Machine) {
    let library = m.library("coroutine");
    for (name, native) in FUNCTIONS {
        m.register(library, name, native);
    }
}

fn check_thread(m: &mut Machine, call: Call) -> Result<ThreadId, Raised> {
    match m.argument(call, 1) {
        Value::Thread(thread) => Ok(thread),
        _ => Err(m.bad_argument(1, "coroutine expected")),
    }
}

fn new_thread(m: &mut Machine, call: Call) -> Result<ThreadId, Raised> {
    let function = m.argument(call, 1);
    match function {
        Value::Function(id) if matches!(m.heap.function(id), Function::Lua(_)) => Ok(m.new_thread(function)),
        _ => Err(m.bad_argument(1, "Lua function expected")),
    }
}

/// `coroutine.create(f)`
fn create(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let thread = new_thread(m, call)?;
    m.one(Value::Thread(thread))
}

/// `coroutine.resume(co, …)`
fn resume(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let thread = check_thread(m, call)?;
    Ok(Outcome::Resume { thread, values: call.count() - 1, is_wrapped: false })
}

/// `coroutine.wrap(f)`: a function that resumes the coroutine.
fn wrap(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let thread = new_thread(m, call)?;
    let function = m.heap.new_native_with("wrap", resume_wrapped, &[Value::Thread(thread)]);
    m.one(function)
}

fn resume_wrapped(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    match m.upvalue(call, 0) {
        Value::Thread(thread) => Ok(Outcome::Resume { thread, values: call.count(), is_wrapped: true }),
        _ => unreachable!("made by `wrap`, with a thread"),
    }
}

/// `coroutine.running()`: the coroutine that runs, or nil in the main program.
fn running(m: &mut Machine, _: Call) -> Result<Outcome, Raised> {
    let running = m.running().map_or(Value::Nil, Value::Thread);
    m.one(running)
}

/// `coroutine.status(co)`
fn status(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let thread = check_thread(m, call)?;
    m.push_bytes(match m.status_of(thread) {
        Status::Suspended => b"suspended",
        Status::Running => b"running",
        Status::Normal => b"normal",
        Status::Dead => b"dead",
    });
    Ok(Outcome::Values(1))
}
