//! Codecs used by Redis's formats, independent of Redis itself: bytes in, bytes or a number out.

pub mod crc64;
pub mod geohash;
pub mod hash_slot;
pub mod lzf;
pub mod sha1;
pub mod sha256;

/// Bytes as text: two hexadecimal digits each, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
