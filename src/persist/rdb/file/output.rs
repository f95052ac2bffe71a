//! The encoder's sink for a file: a buffer in front of a writer.
//!
//! The checksum is computed over the whole full buffer, while it is in the cache. A sink cannot fail, so the output
//! keeps the first error and drops all bytes after it.

use std::io::{self, Write};

use crate::codec::crc64;
use crate::persist::rdb::Sink;

/// The size of the buffer.
const BUFFER: usize = 128 << 10;

/// A sink that writes to `W`.
pub(super) struct Output<'a, W> {
    to: &'a mut W,
    buffer: Vec<u8>,
    /// The checksum of the bytes written to `W`, if one is wanted.
    crc: Option<u64>,
    /// The number of bytes written to `W`.
    passed: u64,
    error: Option<io::Error>,
}

impl<'a, W: Write> Output<'a, W> {
    pub(super) fn new(to: &'a mut W, checksum: bool) -> Self {
        let crc = checksum.then_some(0);
        Output { to, buffer: Vec::with_capacity(BUFFER), crc, passed: 0, error: None }
    }

    /// Whether a write has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// The number of bytes so far, including the buffer.
    pub(super) fn len(&self) -> u64 {
        self.passed + self.buffer.len() as u64
    }

    /// Writes the checksum, or zeroes if none is wanted, and flushes the buffer. Returns the number of bytes written.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let expected = self.len() + size_of::<u64>() as u64;
        self.pass_on();
        let crc = self.crc.take().unwrap_or(0);
        self.write(&crc.to_le_bytes());
        self.pass_on();
        if let Some(error) = self.error {
            return Err(error);
        }
        assert!(self.passed == expected, "all bytes and the checksum were passed on");
        Ok(self.passed)
    }

    fn pass_on(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.pass(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn pass(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        if let Some(crc) = &mut self.crc {
            *crc = crc64::update(*crc, bytes);
        }
        match self.to.write_all(bytes) {
            Ok(()) => self.passed += bytes.len() as u64,
            Err(error) => self.error = Some(error),
        }
    }

    #[cold]
    fn write_beyond(&mut self, bytes: &[u8]) {
        self.pass_on();
        if bytes.len() < BUFFER {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.pass(bytes);
        }
    }
}

impl<W: Write> Sink for Output<'_, W> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if bytes.len() <= BUFFER - self.buffer.len() {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.write_beyond(bytes);
        }
    }
}
