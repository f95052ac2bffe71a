//! The engine for scripts beside `lua5.1`. Both must agree byte for byte: in the output of programs, in the errors that
//! end them, and in the programs that the compiler refuses.
//!
//! * `programs/*.lua` are written by hand, each for a part of the language or a library; [`compare`] runs them in both.
//! * [`generator`] generates random programs. A failing one prints its seed; `REDSTART_SEED` repeats it alone, and
//!   `REDSTART_PROGRAMS` sets their number.
//! * [`escapes`] holds attacks: known ways out of the sandbox or into memory, with their outcomes here.
//! * [`steps`] checks that each native function is charged for its work, and splits it; [`busy`] that a server replies
//!   to other clients and can kill the script, whatever function it repeats. Both use the hostile [`calls`].
//! * [`limits`] tests features that only this engine has: budgets, memory limits, suspension at any instruction.
//!
//! The directory `programs` is also the corpus of the fuzz target `lua`.

#[path = "../support/mod.rs"]
mod support;

mod busy;
mod calls;
mod compare;
mod engine;
mod escapes;
mod generator;
mod limits;
mod oracle;
mod steps;
