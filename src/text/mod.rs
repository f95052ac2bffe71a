//! Numbers as text, globs and quoted words: the small notations that the protocol, the config file, the commands and
//! the tools share. Pure functions over byte slices; nothing here knows about connections or keys.

pub mod controls;
pub mod extended;
pub mod figures;
pub mod glob;
mod grisu;
pub mod histogram;
pub mod html;
pub mod json;
pub mod number;
pub mod printf;
mod scalar;
pub mod svg;
pub mod words;

pub use scalar::Text;
