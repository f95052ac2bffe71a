//! The first bytes of values: the kind of value, and the encoding of its length or of the value. Numbers are
//! big-endian.

/// Smaller bytes are the integer itself.
pub const FIRST_MAP: u8 = 0x80;
/// Maps of up to 15 pairs: `FIRST_MAP` plus their number.
pub const LAST_MAP: u8 = 0x8f;
pub const FIRST_ARRAY: u8 = 0x90;
pub const LAST_ARRAY: u8 = 0x9f;
pub const FIRST_STRING: u8 = 0xa0;
pub const LAST_STRING: u8 = 0xbf;
pub const NIL: u8 = 0xc0;
pub const FALSE: u8 = 0xc2;
pub const TRUE: u8 = 0xc3;
pub const FLOAT_32: u8 = 0xca;
pub const FLOAT_64: u8 = 0xcb;
pub const UNSIGNED_8: u8 = 0xcc;
pub const UNSIGNED_16: u8 = 0xcd;
pub const UNSIGNED_32: u8 = 0xce;
pub const UNSIGNED_64: u8 = 0xcf;
pub const SIGNED_8: u8 = 0xd0;
pub const SIGNED_16: u8 = 0xd1;
pub const SIGNED_32: u8 = 0xd2;
pub const SIGNED_64: u8 = 0xd3;
pub const STRING_8: u8 = 0xd9;
pub const STRING_16: u8 = 0xda;
pub const STRING_32: u8 = 0xdb;
pub const ARRAY_16: u8 = 0xdc;
pub const ARRAY_32: u8 = 0xdd;
pub const MAP_16: u8 = 0xde;
pub const MAP_32: u8 = 0xdf;
/// Bytes from here on are the integers from -32 to -1.
pub const FIRST_NEGATIVE: u8 = 0xe0;
