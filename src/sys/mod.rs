//! (under construction)

pub mod memory;
