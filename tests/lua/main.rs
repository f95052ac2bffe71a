//! The engine for scripts beside `lua5.1`, which it has to equal to the byte: what programs print, the errors that end
//! them, and what the compiler refuses.
//!
//! * `programs/*.lua` are written by hand, each for a part of the language or a library; [`compare`] runs them in both.
//! * [`generator`] makes programs at random. A failing one prints its seed; `REDSTART_SEED` repeats it alone, and
//!   `REDSTART_PROGRAMS` says how many are tried.
//! * [`escapes`] holds attacks: known ways out of the sandbox or into memory, with what becomes of them here.
//! * [`steps`] checks that each native function is charged for its work, and does it in pieces; [`busy`] that a server
//!   replies to others and can end the script, whatever function it repeats. Both use the hostile [`calls`].
//! * [`limits`] is what only this engine has: budgets, memory, suspension at any instruction.
//!
//! The directory `programs` is also the seed of the fuzz target `lua`.

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
