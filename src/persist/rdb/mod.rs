//! The RDB format, version 11 (Redis 7.2) and what 12 (7.4) adds for hashes: a value as a type byte and its bytes.
//!
//! ```text
//!  DUMP payload:  type 1 | value … | version 2 | CRC-64 8          (`payload`)
//!  value:         made of lengths and strings, by type              (a file a type: `string`, `list`, …)
//!  length:        1, 2, 5 or 9 bytes                                (`encoder`, `input`)
//!  string:        length | bytes, or an integer, or LZF             (`encoder`, `input`)
//! ```
//!
//! Writing goes through an [`Encoder`] to a [`Sink`] and cannot fail. It passes a value on piece by piece, so that a
//! huge collection is never in memory twice. Reading goes through an [`Input`], may fail at every byte and never trusts
//! a length: it returns only bytes that it has, so a claimed gigabyte allocates nothing. A value's encoding in memory
//! affects its bytes only where it does so in Redis.
//!
//! A value that lists its elements can also be read in steps (`growing`).
//!
//! To add a type, add a file beside `string`, its type bytes in [`types`], and an arm in each of the functions here and
//! in `growing`.

mod encoder;
pub mod file;
mod growing;
mod hash;
mod input;
mod list;
mod older;
pub mod payload;
mod set;
mod sorted_set;
mod stream;
mod string;
mod ziplist;

pub use encoder::{Counted, Encoder, Sink};
pub use growing::{Growing, load_value, load_whole};
pub use input::{Input, LoadError, Loaded, SliceInput};

use crate::types::{Entry, Kind, Shapes};

/// The version that is written unless the value needs a later one.
pub const VERSION: u16 = 11;

/// The version that hashes with expiring fields need, that of Redis 7.4. Payloads of a later version are refused.
pub const LATEST: u16 = 12;

/// The bytes that identify a value's type and encoding.
pub mod types {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set with scores as digits.
    pub const ZSET: u8 = 3;
    /// A hash, field by field.
    pub const HASH: u8 = 4;
    /// A sorted set with scores of eight bytes.
    pub const ZSET_2: u8 = 5;
    /// A value of a module in a format that only release candidates of 4.0 wrote.
    pub const MODULE_PRE_GA: u8 = 6;
    /// A value of a module, which can be skipped but not read.
    pub const MODULE: u8 = 7;
    /// A hash in a zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list in a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers in an intset.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set in a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A hash in a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list in ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream of Redis 5.
    pub const STREAM: u8 = 15;
    /// A hash in a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set in a listpack.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list in listpacks and large elements.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream of Redis 7.0.
    pub const STREAM_2: u8 = 19;
    /// A set in a listpack.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream.
    pub const STREAM_3: u8 = 21;
    /// A hash with fields that expire, field by field.
    pub const HASH_METADATA: u8 = 24;
    /// A hash with fields that expire in a listpack.
    pub const HASH_LISTPACK_EX: u8 = 25;

    /// Whether the value is stored as encoded strings, such as listpacks.
    pub fn is_encoded(byte: u8) -> bool {
        matches!(byte, HASH_ZIPMAP..=STREAM_3 | HASH_LISTPACK_EX)
    }

    /// Whether a byte is a known type.
    pub fn is_known(byte: u8) -> bool {
        matches!(byte, STRING..=MODULE | HASH_ZIPMAP..=STREAM_3 | HASH_METADATA | HASH_LISTPACK_EX)
    }
}

/// The key and the expiry of an entry that is being loaded, and the limits that decide its encoding.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The key's expiry in Unix milliseconds.
    pub expire_at: Option<i64>,
    /// The limits.
    pub shapes: &'a Shapes,
}

/// The type byte under which [`save_value`] writes the entry's value.
pub fn type_of(entry: &Entry) -> u8 {
    match entry.kind() {
        Kind::String => types::STRING,
        Kind::List => types::LIST_QUICKLIST_2,
        Kind::Set => set::type_of(entry),
        Kind::SortedSet => sorted_set::type_of(entry),
        Kind::Hash => hash::type_of(entry),
        Kind::Stream => types::STREAM_3,
    }
}

/// The version of the format that introduced a type.
pub fn version_of(type_byte: u8) -> u16 {
    if type_byte >= types::HASH_METADATA { LATEST } else { VERSION }
}

/// Writes the entry's value, without its type byte. O(N) in the value's bytes.
pub fn save_value(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    match entry.kind() {
        Kind::String => string::save(entry, out),
        Kind::List => list::save(entry, out),
        Kind::Set => set::save(entry, out),
        Kind::SortedSet => sorted_set::save(entry, out),
        Kind::Hash => hash::save(entry, out),
        Kind::Stream => stream::save(entry, out),
    }
}

#[cfg(test)]
mod tests;
