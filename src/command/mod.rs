//! The commands: the table that describes them, and the families of functions that execute them.
//!
//! A keyspace command is a function of a [`Context`] and its [`Args`]; commands that need the server itself (`CLIENT`,
//! `CONFIG`, `INFO`, …) are only named here ([`ServerCommand`]) and executed by the layer above.

pub mod acl;
pub mod args;
pub mod bitfield;
pub mod bitmaps;
pub mod connection;
pub mod context;
pub mod dump;
pub mod error;
pub mod geo;
pub mod hashes;
pub mod hyperloglog;
pub mod keys;
pub mod lcs;
pub mod lists;
mod origin;
pub mod scan;
mod session;
pub mod sets;
pub mod sort;
pub mod sorted_sets;
pub mod streams;
pub mod strings;
pub mod table;
mod time;
pub mod transfer;
pub mod waiting;

pub use args::{Args, Places};
pub use context::{Context, Splice};
pub use error::{Error, Result};
pub use origin::Origin;
pub use session::{DebugMode, Names, Session, SessionFlags};
pub use table::names::CommandNames;
pub use table::{COMMAND_IDS, Command, Handler, Refusal, ServerCommand, find, flags, introspect};

/// The version of Redis whose protocol and commands are spoken.
pub const REDIS_VERSION: &str = "7.2.4";
