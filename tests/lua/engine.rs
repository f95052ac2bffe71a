//! A program in this engine: its output, and the error that ended it.

use redstart::lua::{Failure, Libraries, Machine, Options, Progress, Value};

/// The outcome of a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub output: Vec<u8>,
    /// The message of an uncaught error, as `lua5.1` prints it.
    pub error: Option<Vec<u8>>,
}

/// A memory limit that no program of these tests reaches.
pub const PLENTY: usize = 1 << 30;

/// No program executes more instructions than this.
const MOST_STEPS: usize = 20_000_000_000;

pub fn machine(memory_limit_bytes: usize, libraries: Libraries) -> Machine {
    Machine::new(Options { seed: 1, memory_limit_bytes, libraries })
}

/// Runs a program to its end, with a pause after every `slice` instructions.
pub fn run(source: &[u8], name: &str, slice: usize) -> Ended {
    let mut machine = machine(PLENTY, Libraries::Full);
    let function = match machine.load(source, format!("@{name}").as_bytes()) {
        Ok(function) => function,
        Err(message) => return Ended { output: Vec::new(), error: Some(message) },
    };
    machine.begin(function, &[]);
    let mut steps: usize = 0;
    let error = loop {
        match machine.run(slice) {
            Progress::Paused => {
                steps = steps.saturating_add(slice);
                assert!(steps < MOST_STEPS, "{name} does not end in the engine");
            }
            Progress::Finished { .. } => break None,
            Progress::Failed(failure) => break Some(message(&mut machine, &failure)),
            Progress::Host { function, .. } => panic!("{name} calls the host's function {function}"),
            Progress::Stopped(stop) => panic!("tracing is off: {stop:?}"),
        }
    };
    Ended { output: std::mem::take(&mut machine.output), error }
}

fn message(machine: &mut Machine, failure: &Failure) -> Vec<u8> {
    let mut text = Vec::new();
    match failure.value {
        Value::String(_) | Value::Number(_) => {
            machine.heap.to_bytes(failure.value, &mut text);
        }
        _ => text.extend_from_slice(b"(error object is not a string)"),
    }
    text
}
