//! The values of the keyspace: an [`Entry`] is a key with its value, in one allocation if the value is small.
//!
//! | file | contents |
//! |---|---|
//! | [`entry`] | the entry's layout, its header fields, key and expiry |
//! | [`string`](mod@string) | string values: reading, overwriting in place, appending |
//! | [`packed`], `packed_value` | small collections: bytes stored in place of a string's |
//! | [`listpack`], [`intset`] | their formats: packed strings, packed integers |
//! | [`container`] | large collections: the trait that a type implements to be an entry's value |
//! | [`hash`] | fields with values: packed, packed with times, a table |
//! | [`shapes`] | the limits at which a collection changes its encoding |
//! | `rekey` | the same value under another key |
//! | [`moves`] | moving a key's memory out of sparse slabs |
//! | [`block`] | large values: a reference-counted buffer that can wait in an output queue while the key changes |
//! | [`kind`] | the types and encodings that `TYPE` and `OBJECT ENCODING` name |
//! | [`bits`] | the loops of the bitmap commands, over plain byte slices |
//! | [`list`] | lists: a listpack, or a quicklist of them |
//! | [`set`], [`member`] | sets; a member of a large one |
//! | [`random`] | pseudo-random numbers |
//! | [`hyperloglog`] | sketches that count distinct elements: functions over a string value's bytes |
//! | [`sorted_set`] | sorted sets: a dict of elements and a B+ tree of their order |
//! | [`stream`] | streams: listpacks of entries in an ordered index, consumer groups |
//! | [`access`] | the arithmetic of the 24 access bits: LRU clock, LFU counter |

pub mod access;
pub mod bits;
pub mod block;
pub mod container;
pub mod entry;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
mod item;
pub mod kind;
pub mod list;
pub mod listpack;
pub mod member;
pub mod moves;
pub mod packed;
mod packed_value;
pub mod random;
mod record;
mod rekey;
pub mod set;
pub mod shapes;
pub mod sorted_set;
pub mod stream;
pub mod string;

pub use crate::dict::Seed;
pub use block::Block;
pub use container::Container;
pub use entry::Entry;
pub use kind::{Encoding, Kind};
pub use moves::{MoveCursor, Moves};
pub use packed::Buffer;
pub use packed_value::PackedMut;
pub use shapes::Shapes;
pub use string::Text;

#[cfg(all(test, target_os = "linux"))]
mod dismissal;
#[cfg(test)]
mod tests;
