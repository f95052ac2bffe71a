//! Scripts and functions: how they are compiled and stored, the environment they run in, and the conversion of their
//! values to replies. Nothing here knows a connection; the files beside this folder connect it to the server.
//!
//! ```text
//!  EVAL ─▶ cache: digest ─▶ compiled function ─┐                ┌─▶ words: arguments ─▶ command ─▶ values: its reply
//!  FCALL ─▶ libraries ─────────────────────────┴─▶ run: redis.call                                     │
//!                                                   ▲  └─────────────────────────────────────────────┘
//!                                                   └─▶ returned ─▶ reply
//! ```

pub mod api;
pub mod cache;
pub mod debugger;
pub mod libraries;
pub mod redis;
mod registrar;
pub mod reply;
pub mod run;
pub mod shebang;
pub mod values;
pub mod words;

use cache::Cache;

/// The state of scripts and functions.
#[derive(Debug, Default)]
pub struct Scripts {
    /// The scripts that clients have sent.
    pub cache: Cache,
    /// Room for the next call.
    pub spare: Option<Box<run::Room>>,
    /// Where the calls of the running script are not propagated: bits of [`redis::REPL_ALL`].
    pub withheld: u8,
    /// The ticks at which the running script began.
    pub began: u64,
    /// The time that `TIME` returns to it, in Unix microseconds; set by its first `TIME`, and each time it is resumed.
    pub now_us: Option<u64>,
}
