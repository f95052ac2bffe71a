//! Checks the version, the end and the checksum of a file while it is received, before it replaces anything.
//!
//! ```text
//!   REDIS0011 │ records … │ 0xff │ checksum
//!   ▲ head      ▲ summed    ▲ held: the last nine bytes so far
//! ```
//!
//! It costs constant memory and a pass over the bytes while they are in the cache (about 3 GB/s). It finds damage by
//! the network or a disk, and unknown versions. It does not decode records, so they may be wrong all the same.

use super::records::WITH_CHECKSUM;
use super::{Doing, Fault, RdbError, Records, Source, opcode};
use crate::codec::crc64;

/// The signature and the version.
const HEAD: usize = 9;

/// The last opcode and the checksum.
const TAIL: usize = 9;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Check {
    head: Vec<u8>,
    /// The last bytes, at most `TAIL`.
    held: Vec<u8>,
    /// The checksum of the bytes before `held`.
    crc: u64,
    len: u64,
}

impl Check {
    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        let missing = (HEAD - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.len += bytes.len() as u64;
        // The bytes that leave `held`, then those of `bytes` that never enter it.
        let leaving = (self.held.len() + bytes.len()).saturating_sub(TAIL).min(self.held.len());
        self.crc = crc64::update(self.crc, &self.held[..leaving]);
        self.held.drain(..leaving);
        let passing = bytes.len().saturating_sub(TAIL - self.held.len());
        self.crc = crc64::update(self.crc, &bytes[..passing]);
        self.held.extend_from_slice(&bytes[passing..]);
    }

    /// Called at the end of the file.
    ///
    /// # Errors
    /// The file cannot be loaded.
    pub fn finish(&self) -> Result<(), RdbError> {
        let version = Records::open(Source::new(&self.head[..], HEAD as u64), false)?.version();
        if version < WITH_CHECKSUM {
            return Ok(());
        }
        let fails = |doing, fault| RdbError { offset: self.len, fault, doing, key: None, type_byte: None };
        let Some((end, stored)) = self.held.split_first_chunk::<1>() else {
            return Err(fails(Doing::Type, Fault::Ended));
        };
        let Ok(stored) = stored.try_into().map(u64::from_le_bytes) else {
            return Err(fails(Doing::Type, Fault::Ended));
        };
        let own = crc64::update(self.crc, end);
        // A writer may store 0 instead of a checksum.
        match (*end, stored) {
            ([opcode::EOF], 0) => Ok(()),
            ([opcode::EOF], stored) if stored == own => Ok(()),
            ([opcode::EOF], stored) => Err(fails(Doing::Checksum, Fault::Checksum(stored, own))),
            _ => Err(fails(Doing::Type, Fault::Ended)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[u8]) -> Vec<u8> {
        let mut file = [b"REDIS0011", records, &[opcode::EOF]].concat();
        let crc = crc64::checksum(&file);
        file.extend_from_slice(&crc.to_le_bytes());
        file
    }

    /// The result of the check, which must be the same for chunks of any size.
    fn check(file: &[u8]) -> Result<(), String> {
        let outcomes = [1, 2, 8, 9, 10, 17, 1000].map(|size| {
            let mut check = Check::default();
            file.chunks(size).for_each(|bytes| check.update(bytes));
            check.finish().map_err(|error| error.to_string())
        });
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
        outcomes[0].clone()
    }

    #[test]
    fn a_whole_file_is_accepted_and_every_damaged_byte_is_found() {
        for records in [&b""[..], b"\xfe\0", b"a record that is longer than what is held"] {
            let whole = file(records);
            assert_eq!(check(&whole), Ok(()));
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x10;
                // Damage to the last digit of the version ends the number before it: version 1 has no checksum.
                assert_eq!(check(&damaged).is_ok(), at == HEAD - 1, "byte {at} of {}", whole.escape_ascii());
                assert!(check(&whole[..at]).is_err(), "{at} bytes of {}", whole.escape_ascii());
            }
        }
    }

    #[test]
    fn a_file_without_a_checksum_needs_only_its_end() {
        let without = [&b"REDIS0009\xfe\0\xff"[..], &[0; 8]].concat();
        assert_eq!(check(&without), Ok(()));
        assert!(check(&without[..without.len() - 1]).is_err());
        assert_eq!(check(b"REDIS0004anything"), Ok(()), "versions before 5 have none");
    }

    #[test]
    fn files_of_unknown_versions_are_refused_with_the_error_of_the_loader() {
        for (head, error) in
            [("REDIS0099", "version 99"), ("VALKEY081", "version 81"), ("nothing at all", "signature")]
        {
            let outcome = check(&[head.as_bytes(), &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
            assert!(outcome.as_ref().is_err_and(|text| text.contains(error)), "{head}: {outcome:?}");
        }
    }
}
