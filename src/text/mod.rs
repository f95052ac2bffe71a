//! Text to numbers and back, globs and quoted words: the small notations that the protocol, the config file and
//! the commands share. Pure functions over byte slices; nothing here knows of a connection or a key.

pub mod extended;
pub mod glob;
pub mod number;
mod scalar;
pub mod words;

pub use scalar::Text;
