//! A file as the input of the decoders.
//!
//! ```text
//!  [ read before … | summed … start | not read yet … end |      ]   the buffer
//!                     ▲ the checksum covers what lies before
//! ```
//!
//! Decoders borrow bytes from the buffer. A string longer than the buffer is collected in memory of its own, which
//! grows as bytes arrive: a claimed length allocates nothing. The checksum covers all bytes read since its last update
//! at once, not piece by piece.

use std::io::{self, Read};

use crate::codec::crc64;
use crate::persist::rdb::{Input, LoadError};

/// The size of the buffer.
const BUFFER: u64 = 1 << 20;
/// The size of the buffer for a small file.
const SMALL_BUFFER: u64 = 16 << 10;

/// Reads from `R` and keeps the offset and the checksum.
pub struct Source<R> {
    from: R,
    buffer: Box<[u8]>,
    /// The end of the part of the buffer that the checksum covers.
    summed: usize,
    start: usize,
    end: usize,
    /// The offset of the buffer's first byte in the file.
    base: u64,
    /// The length of the file, as far as known.
    len: u64,
    crc: u64,
    sums: bool,
    /// A string that is longer than the buffer.
    long: Vec<u8>,
    error: Option<io::Error>,
}

impl<R: Read> Source<R> {
    /// Reads `from`, which has about `len` bytes: no memory is reserved for content claimed beyond that.
    pub fn new(from: R, len: u64) -> Self {
        Self::with_buffer(from, len, len.clamp(SMALL_BUFFER, BUFFER) as usize)
    }

    /// [`Source::new`] with a buffer of `buffer` bytes, at least 16.
    pub fn with_buffer(from: R, len: u64, buffer: usize) -> Self {
        Source {
            from,
            buffer: vec![0; buffer.max(16)].into_boxed_slice(),
            summed: 0,
            start: 0,
            end: 0,
            base: 0,
            len,
            crc: 0,
            sums: true,
            long: Vec::new(),
            error: None,
        }
    }

    /// The number of bytes read so far.
    pub fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The file.
    pub fn input(&self) -> &R {
        &self.from
    }

    /// See [`Source::input`].
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// Stops computing the checksum.
    pub fn ignore_checksum(&mut self) {
        self.sums = false;
    }

    /// The checksum of all bytes read so far.
    pub fn checksum(&mut self) -> u64 {
        self.sum();
        self.crc
    }

    /// Takes the error that ended a read early.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Returns the bytes that were read from the file but not consumed, and the file.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        (self.buffer[self.start..self.end].to_vec(), self.from)
    }

    fn sum(&mut self) {
        if self.sums {
            self.crc = crc64::update(self.crc, &self.buffer[self.summed..self.start]);
        }
        self.summed = self.start;
    }

    /// Moves the unread bytes to the front of the buffer, and reads until there are `wanted` bytes, at most as many as
    /// the buffer holds.
    fn refill(&mut self, wanted: usize) -> Result<(), LoadError> {
        self.sum();
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        (self.summed, self.start) = (0, 0);
        while self.end < wanted {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(LoadError::Ended),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return Err(LoadError::Ended);
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn bytes_beyond(&mut self, len: usize) -> Result<&[u8], LoadError> {
        if len <= self.buffer.len() {
            self.refill(len)?;
            self.start = len;
            return Ok(&self.buffer[..len]);
        }
        self.long = Vec::new();
        loop {
            let piece = (len - self.long.len()).min(self.end - self.start);
            self.long.extend_from_slice(&self.buffer[self.start..self.start + piece]);
            self.start += piece;
            if self.long.len() == len {
                return Ok(&self.long);
            }
            self.refill(1)?;
        }
    }
}

impl<R: Read> Input for Source<R> {
    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&[u8], LoadError> {
        let start = self.start;
        if len > self.end - start {
            return self.bytes_beyond(len);
        }
        self.start = start + len;
        Ok(&self.buffer[start..start + len])
    }

    fn room(&self) -> u64 {
        self.len.saturating_sub(self.offset()).max((self.end - self.start) as u64)
    }
}

impl<R: Read> Source<R> {
    /// Frees the memory of a long string.
    pub fn forget_long_string(&mut self) {
        if self.long.capacity() > 0 {
            self.long = Vec::new();
        }
    }
}
