//! A memory-safe Lua 5.1.
//!
//! ```text
//!  source ─▶ lexer ─▶ compiler ─▶ code (prototypes) ─▶ machine ─▶ heap (tables, strings, functions, coroutines)
//!                                                        │  ▲
//!                                  functions of the host ▼  │ results        library: string, table, math, cjson, …
//! ```
//!
//! The language is that of the reference implementation, 5.1.5, to the text of its errors and the order of `next`.
//! Everything a program can reach is in the arenas of a `Heap`; nothing in here is `unsafe`, and nothing knows who runs
//! the machine. A program can be suspended at any instruction and go on later, its memory and its calls are limited, and
//! nothing it does makes the machine recurse on the stack of the process.

#![forbid(unsafe_code)]

mod code;
mod compiler;
mod heap;
mod lexer;
mod library;
mod machine;
mod names;
mod number;
mod value;

pub use heap::{Heap, NoSuchKey, OutOfMemory, TableError};
pub use machine::{
    Call, Continue, Failure, Kept, Libraries, Machine, Native, Options, Outcome, Progress, Raised, Status,
    Stop, Traced,
};
pub use value::{FunctionId, StringId, TableId, ThreadId, Value};
