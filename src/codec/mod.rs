//! Codecs used by Redis's formats, independent of Redis itself: bytes in, bytes or a number out.

pub mod crc64;
pub mod geohash;
pub mod hash_slot;
pub mod lzf;
pub mod sha1;
pub mod sha256;
