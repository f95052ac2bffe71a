//! The libraries, each in a file of its own.

mod string;

use super::machine::{Libraries, Machine};

/// The state of `math.random`.
#[derive(Debug, Default)]
pub struct Random;

/// Registers the functions of all libraries.
pub fn open_all(machine: &mut Machine, _libraries: Libraries) {
    string::open(machine);
    let globals = machine.globals();
    machine.register(globals, "print", |machine, call| {
        let mut line = Vec::new();
        for n in 1..=call.count() {
            let value = machine.argument(call, n);
            if n > 1 {
                line.push(b'\t');
            }
            if !machine.heap.to_bytes(value, &mut line) {
                line.extend_from_slice(format!("{value:?}").as_bytes());
            }
        }
        line.push(b'\n');
        machine.output.extend_from_slice(&line);
        Ok(super::Outcome::Values(0))
    });
    machine.register(globals, "pcall", |machine, call| {
        machine.check_any(call, 1)?;
        Ok(super::Outcome::Protect { has_handler: false })
    });
    machine.register(globals, "xpcall", |_, _| Ok(super::Outcome::Protect { has_handler: true }));
}
