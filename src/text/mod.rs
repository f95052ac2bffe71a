//! Numbers as text, globs and quoted words: the small notations that the protocol, the config file and the commands
//! share. Pure functions over byte slices; nothing here knows about connections or keys.

pub mod extended;
pub mod glob;
mod grisu;
pub mod number;
pub mod printf;
mod scalar;
pub mod words;

pub use scalar::Text;
