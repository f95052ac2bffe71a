//! The payload that `DUMP` returns and `RESTORE` takes: a type byte, a value, and a footer of ten bytes that verifies both.
//!
//! ```text
//!  type 1 | value … | version 2, little-endian | CRC-64 of all before, 8, little-endian
//! ```

use super::{Encoder, LATEST, LoadError, SliceInput, Target, load_value, save_value, type_of, version_of};
use crate::codec::crc64;
use crate::types::Entry;

/// The version and the checksum.
const FOOTER: usize = 10;

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It has a later version or a wrong checksum.
    VersionOrChecksum,
    /// The value in it cannot be read.
    Value(LoadError),
}

/// The payload of the entry's value. Long strings are compressed if `compress`.
pub fn dump(entry: &Entry, compress: bool) -> Vec<u8> {
    let type_byte = type_of(entry);
    let mut out = vec![type_byte];
    save_value(entry, &mut Encoder::new(&mut out, compress));
    out.extend_from_slice(&version_of(type_byte).to_le_bytes());
    out.extend_from_slice(&crc64::checksum(&out).to_le_bytes());
    out
}

/// An entry made of a payload. Bytes between the value and the footer are ignored, as Redis ignores them.
pub fn restore(payload: &[u8], target: Target<'_>) -> Result<Entry, PayloadError> {
    let object = verify(payload).ok_or(PayloadError::VersionOrChecksum)?;
    let (type_byte, value) = object.split_first().ok_or(PayloadError::Value(LoadError::Ended))?;
    load_value(*type_byte, &mut SliceInput::new(value), target).map_err(PayloadError::Value)
}

/// The payload without its footer, if the footer is correct.
fn verify(payload: &[u8]) -> Option<&[u8]> {
    let (object, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, sum) = footer.split_first_chunk()?;
    let right = u16::from_le_bytes(*version) <= LATEST
        && crc64::checksum(&payload[..object.len() + 2]).to_le_bytes() == *sum;
    right.then_some(object)
}
