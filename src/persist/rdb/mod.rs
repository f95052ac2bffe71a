//! The RDB format, version 11 (Redis 7.2): a value as a type byte and its bytes.
//!
//! ```text
//!  DUMP payload:  type 1 | value … | version 2 | CRC-64 8          (`payload`)
//!  value:         made of lengths and strings, by type              (a file a type: `string`)
//!  length:        1, 2, 5 or 9 bytes                                (`encoder`, `input`)
//!  string:        length | bytes, or an integer, or LZF             (`encoder`, `input`)
//! ```
//!
//! The one idea: what writes is an [`Encoder`] that cannot fail, what reads is an [`Input`] that can fail at every
//! byte and never believes a length: it hands out bytes that are there, so a claim of gigabytes costs nothing. What a
//! value was kept as does not show in its bytes where Redis's does not show either.
//!
//! Another type is a file beside `string`, its type bytes in [`types`], and an arm in each of the three functions here.

mod encoder;
mod input;
pub mod payload;
mod string;

pub use encoder::Encoder;
pub use input::{Input, LoadError, Loaded, SliceInput};

use crate::types::{Entry, Kind};

/// The version that is written; what claims a later one is refused.
pub const VERSION: u16 = 11;

/// The bytes that say which type a value has and how it is encoded.
pub mod types {
    /// A string.
    pub const STRING: u8 = 0;
}

/// The key and the expiry of an entry that is being loaded.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When it expires, Unix milliseconds.
    pub expire_at: Option<i64>,
}

/// The type byte under which [`save_value`] writes the entry's value; `None` for a type that has no form here.
pub fn type_of(entry: &Entry) -> Option<u8> {
    match entry.kind() {
        Kind::String => Some(types::STRING),
        _ => None,
    }
}

/// Writes the entry's value, without its type byte. O(N) in the value's bytes.
pub fn save_value(entry: &Entry, out: &mut Encoder<'_>) {
    match entry.kind() {
        Kind::String => string::save(entry, out),
        kind => debug_assert!(false, "{kind:?} has no type byte"),
    }
}

/// Reads a value of type `type_byte` and makes an entry of it. Reads no more than belongs to it.
pub fn load_value(type_byte: u8, input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    match type_byte {
        types::STRING => string::load(input, target),
        other => Err(LoadError::UnknownType(other)),
    }
}

#[cfg(test)]
mod tests;
