//! What the keyspace holds: an [`Entry`] is a key with its value, in one allocation where the value is small.
//!
//! | file | what is in it |
//! |---|---|
//! | [`entry`] | the entry's layout, its header fields, key and expiry |
//! | [`string`](mod@string) | string values: reading, overwriting in place, appending |
//! | `rekey` | the same value under another key |
//! | [`block`] | large values: a reference-counted buffer that can wait in an output queue while the key changes |
//! | [`kind`] | the types and encodings that `TYPE` and `OBJECT ENCODING` name |
//! | [`access`] | the arithmetic of the 24 access bits: LRU clock, LFU counter |

pub mod access;
pub mod block;
pub mod entry;
mod item;
pub mod kind;
mod rekey;
pub mod string;

pub use block::Block;
pub use entry::Entry;
pub use kind::{Encoding, Kind};
pub use string::Text;

#[cfg(test)]
mod tests;
