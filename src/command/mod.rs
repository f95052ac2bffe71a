//! The commands: the table that describes them, and one file a family that executes them.

pub mod connection;
pub mod context;
pub mod introspect;
pub mod keys;
pub mod keyspecs;
pub mod perfect_hash;
pub mod strings;
pub mod table;
pub mod vocabulary;
