//! The payload that `DUMP` returns and `RESTORE` takes: a type byte, a value, and a footer of ten bytes that verifies
//! both. The payload of `FUNCTION DUMP` contains any number of function libraries instead of a value.
//!
//! ```text
//!  type 1 | value …                | version 2, little-endian | CRC-64 of all before, 8, little-endian
//!  (FUNCTION2 1 | source …) …      |
//! ```

use super::file::{opcode, type_name};
use super::{
    Encoder, Input, LATEST, LoadError, SliceInput, Target, VERSION, load_value, save_value, type_of, types,
    version_of,
};
use crate::codec::crc64;
use crate::types::{Entry, Shapes};

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

/// Encodes the entry's value as a payload. Compresses long strings if `compress`.
pub fn dump(entry: &Entry, compress: bool) -> Vec<u8> {
    let type_byte = type_of(entry);
    let mut out = vec![type_byte];
    save_value(entry, &mut Encoder::new(&mut out, compress));
    out.extend_from_slice(&version_of(type_byte).to_le_bytes());
    out.extend_from_slice(&crc64::checksum(&out).to_le_bytes());
    out
}

/// Decodes a `DUMP` payload into an entry. Checks its checksum if `verifies`. Ignores bytes between the value and the
/// footer, as Redis does.
pub fn restore(payload: &[u8], verifies: bool, target: Target<'_>) -> Result<Entry, PayloadError> {
    let object = verify(payload, verifies).ok_or(PayloadError::VersionOrChecksum)?;
    let (type_byte, value) = object.split_first().ok_or(PayloadError::Value(LoadError::Ended))?;
    load_value(*type_byte, &mut SliceInput::new(value), target).map_err(PayloadError::Value)
}

/// Returns why `RESTORE` refuses the value of a payload whose footer is correct; `None` if it accepts it.
pub fn why_refused(payload: &[u8], shapes: &Shapes) -> Option<String> {
    let error = match restore(payload, false, Target { key: b"", expire_at: None, shapes }) {
        Err(PayloadError::Value(error)) => error,
        Ok(_) | Err(PayloadError::VersionOrChecksum) => return None,
    };
    let type_byte = *payload.first()?;
    let name = type_name(type_byte);
    let is_checked = types::is_encoded(type_byte);
    Some(if is_checked {
        format!("{name} integrity check failed. ({error})")
    } else {
        format!("{error} ({name})")
    })
}

/// Encodes function libraries as a payload. Compresses long sources if `compress`.
pub fn dump_functions<'a>(sources: impl Iterator<Item = &'a [u8]>, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, compress);
    for source in sources {
        encoder.raw(&[opcode::FUNCTION2]);
        encoder.string(source);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&crc64::checksum(&out).to_le_bytes());
    out
}

/// Why a payload of libraries was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionsError {
    /// It has a later version or a wrong checksum.
    VersionOrChecksum,
    /// It comes from a version of Redis before the format was final.
    OldFormat,
    /// It contains something else.
    Other,
    /// A source cannot be read.
    Source,
}

/// Decodes a `FUNCTION DUMP` payload into the sources of its libraries. Checks its checksum if `verifies`.
pub fn functions(payload: &[u8], verifies: bool) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let libraries = verify(payload, verifies).ok_or(FunctionsError::VersionOrChecksum)?;
    let mut input = SliceInput::new(libraries);
    let mut sources = Vec::new();
    while let Ok(byte) = input.byte() {
        match byte {
            opcode::FUNCTION2 => {
                let source = input.string().map_err(|_| FunctionsError::Source)?;
                sources.push(source.into_bytes().into_owned());
            }
            opcode::FUNCTION_PRE_GA => return Err(FunctionsError::OldFormat),
            _ => return Err(FunctionsError::Other),
        }
    }
    Ok(sources)
}

/// Returns the payload without its footer; `None` if the footer has a later version or, if `verifies`, a wrong
/// checksum.
fn verify(payload: &[u8], verifies: bool) -> Option<&[u8]> {
    let (object, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, sum) = footer.split_first_chunk()?;
    let right = u16::from_le_bytes(*version) <= LATEST
        && (!verifies || crc64::checksum(&payload[..object.len() + 2]).to_le_bytes() == *sum);
    right.then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends a correct footer of this version to `body`.
    fn sealed(body: &[u8], version: u16) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend(version.to_le_bytes());
        payload.extend(crc64::checksum(&payload).to_le_bytes());
        payload
    }

    #[test]
    fn a_payload_of_functions_is_what_redis_makes_of_them() {
        let empty = b"\x0b\x004D\xe13\xf2\xe0KS";
        assert_eq!(dump_functions([].into_iter(), true), empty);
        assert_eq!(functions(empty, true), Ok(vec![]));
        let source = b"#!lua name=c\nredis.register_function('f',function() return 'c.f' end)";
        let mut payload = b"\xf5@E".to_vec();
        payload.extend_from_slice(source);
        payload.extend_from_slice(b"\x0b\x00\xbf\x94/\xce)\xd1\xfe\x08");
        assert_eq!(dump_functions([&source[..]].into_iter(), true), payload);
        assert_eq!(functions(&payload, true), Ok(vec![source.to_vec()]));
    }

    #[test]
    fn a_payload_of_functions_is_verified() {
        for body in [&b"\xf5\x01x\xf5\xc0\x05"[..], b"\xf5\x01x\xf5\x015"] {
            assert_eq!(functions(&sealed(body, 11), true), Ok(vec![b"x".to_vec(), b"5".to_vec()]));
            assert_eq!(functions(&sealed(body, 10), true), Ok(vec![b"x".to_vec(), b"5".to_vec()]));
            assert_eq!(functions(&sealed(body, 99), true), Err(FunctionsError::VersionOrChecksum));
            let mut damaged = sealed(body, 11);
            damaged[2] ^= 1;
            assert_eq!(functions(&damaged, true), Err(FunctionsError::VersionOrChecksum));
        }
        assert_eq!(functions(b"", true), Err(FunctionsError::VersionOrChecksum));
        assert_eq!(functions(&sealed(b"\xf6\x01x", 11), true), Err(FunctionsError::OldFormat));
        assert_eq!(functions(&sealed(b"\x00\x01a\x01b", 11), true), Err(FunctionsError::Other));
        for truncated in [&b"\xf5"[..], b"\xf5@", b"\xf5\x02x", b"\xf5\xc3\x05"] {
            assert_eq!(functions(&sealed(truncated, 11), true), Err(FunctionsError::Source));
        }
    }
}
