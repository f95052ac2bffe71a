//! The commands: the table that describes them, and one file a family that executes them.
//!
//! A command of the keyspace is a function of a [`Context`] and its [`Args`]; those that need the server itself
//! (`CLIENT`, `CONFIG`, `INFO`, …) are only named here ([`ServerCommand`]) and executed a floor above.

mod args;
pub mod bitfield;
pub mod bitmaps;
pub mod connection;
pub mod context;
pub mod dump;
pub mod geo;
pub mod geo_search;
pub mod hash_expiry;
pub mod hashes;
pub mod hyperloglog;
pub mod introspect;
pub mod keys;
pub mod keyspecs;
pub mod lcs;
pub mod lists;
mod names;
pub mod perfect_hash;
pub mod scan;
mod session;
pub mod set_algebra;
pub mod sets;
pub mod sort;
pub mod sorted_set_algebra;
pub mod sorted_set_ranges;
pub mod sorted_sets;
pub mod stream_claims;
pub mod stream_groups;
pub mod stream_info;
pub mod stream_reads;
pub mod streams;
pub mod strings;
pub mod table;
pub mod transfer;
pub mod vocabulary;
pub mod wait;

pub use args::Args;
pub use context::{Context, Splice};
pub use names::CommandNames;
pub use session::{Names, Session, SessionFlags};
pub use table::{COMMAND_IDS, Command, Handler, Refusal, ServerCommand, find, flags};
