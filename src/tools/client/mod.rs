//! A blocking client of one server, for the tools that talk to one.
//!
//! [`Target`] says which server and as which user, from options or a URL; [`Connection`] sends commands to it and
//! receives replies; [`info`] reads what a server tells of itself. Nothing here retries: a tool decides what a broken connection means.

mod connection;
pub mod info;
mod target;

pub use connection::{Connection, Error, Interrupt, Writer, plain, write_command};
pub use target::{Address, Target, target_arguments};

/// The port of a server that is given without one.
pub const DEFAULT_PORT: u16 = 6379;
