//! The charge for native functions and instructions, and the most work that they do at once.
//!
//! Each native function has a hostile call in [`calls`], and the number of stack values, table slots or string bytes
//! that it touches. The function must be charged for these, and must check the budget often. The test counts the
//! machine's steps and measures no times. A function without an entry fails the test.

use redstart::lua::{Libraries, Machine, Progress};

use crate::calls::{self, LENGTH, MORE, SIZE, Touches};
use crate::engine;
use crate::escapes::outcome;

/// The most steps between two checks of the budget: about a millisecond.
const MOST_AT_ONCE: usize = 100_000;

/// The most values, slots and bytes for one step.
const VALUES: usize = 8;
const SLOTS: usize = 16;
const BYTES: usize = 64;

fn new_machine() -> Machine {
    let mut machine = engine::machine(engine::PLENTY, Libraries::Redis);
    outcome(&mut machine, &calls::setup(LENGTH, SIZE));
    machine
}

/// Runs a program in short slices. Returns the steps that it used in all, and the most that it did at once.
fn measure(machine: &mut Machine, program: &str) -> (usize, usize) {
    const SLICE: usize = 1000;
    machine.collect();
    let program = calls::with_count(program);
    let function = machine.load(program.as_bytes(), b"=call").expect("compiles");
    machine.begin(function, &[]);
    let (mut spent, mut most) = (0, 0);
    loop {
        let progress = machine.run(SLICE);
        spent += machine.spent();
        most = most.max(machine.overdraft());
        match progress {
            Progress::Paused => (),
            Progress::Finished { .. } => break,
            other => panic!("{program}: {other:?}"),
        }
    }
    machine.abandon();
    (spent, most)
}

/// Describes the fault of a call, if it has one.
fn fault(machine: &mut Machine, name: &str, program: &str, touches: Touches) -> Option<String> {
    let least = match touches {
        Touches::Values(count) => count / VALUES,
        Touches::Slots(count) => count / SLOTS,
        Touches::Bytes(count) => count / BYTES,
        Touches::Nothing => 0,
    };
    let (spent, most) = measure(machine, program);
    (spent < least || most > MOST_AT_ONCE)
        .then(|| format!("{name}: `{program}` pays {spent} steps of {least}, and does {most} at once"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_native_function_pays_for_what_it_touches_and_does_little_at_once() {
    let names = outcome(&mut engine::machine(engine::PLENTY, Libraries::Redis), calls::NAMES);
    let mut machine = new_machine();
    let mut faults = Vec::new();
    for name in names.split(' ') {
        let calls = calls::calls_of(name);
        if calls.is_empty() {
            faults.push(format!("{name} has no entry"));
        }
        for (program, touches) in calls {
            faults.extend(fault(&mut machine, name, &program, touches));
        }
    }
    assert_none(&faults);
}

#[test]
fn every_instruction_pays_for_what_it_touches_and_does_little_at_once() {
    let mut machine = new_machine();
    let faults: Vec<String> = MORE
        .iter()
        .filter_map(|(name, program, touches)| fault(&mut machine, name, program, *touches))
        .collect();
    assert_none(&faults);
}
