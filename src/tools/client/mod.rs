//! A blocking client for the tools that connect to a server.
//!
//! [`Target`] names the server and the user, from options or a URL; [`Connection`] sends commands to it and receives
//! replies; [`info`] parses INFO. Nothing here retries: each tool decides how to handle a broken connection.

mod connection;
pub mod info;
mod target;

pub use connection::{Connection, Error, Interrupt, Writer, plain, write_command};
pub use target::{Address, Target, Tls, target_arguments, tls_arguments};

/// The default port of a server.
pub const DEFAULT_PORT: u16 = 6379;
