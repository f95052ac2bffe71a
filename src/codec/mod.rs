//! Codecs of Redis's formats that know nothing of Redis: bytes in, bytes or a number out.

pub mod crc64;
pub mod geohash;
pub mod lzf;
pub mod sha1;
