//! A memory-safe Lua 5.1.
//!
//! ```text
//!  source ─▶ lexer ─▶ compiler ─▶ code (prototypes) ─▶ machine ─▶ heap (tables, strings, functions, coroutines)
//!                                                        │  ▲
//!                                  functions of the host ▼  │ results        library: string, table, math, cjson, …
//! ```
//!
//! The language is that of the reference implementation, 5.1.5, down to the error messages and the order of `next`. All
//! objects that a program can reach are in the arenas of a `Heap`. Nothing in this module is `unsafe` or depends on the
//! machine's host. A program can be suspended at any instruction and resumed later, its memory and its call depth are
//! limited, and nothing it does makes the machine recurse on the native stack.

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
