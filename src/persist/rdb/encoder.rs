//! Writes the building blocks of values: lengths, integers, strings.
//!
//! ```text
//!  length   00nnnnnn                       up to 63
//!           01nnnnnn nnnnnnnn              up to 16383
//!           10000000 n4                    up to 2³² − 1, big-endian
//!           10000001 n8                    the rest
//!  string   length, bytes
//!           11000000 n1                    an integer of 8 bits
//!           11000001 n2                    of 16, little-endian
//!           11000010 n4                    of 32
//!           11000011 length length bytes   LZF: compressed length, length
//! ```
//!
//! A string's form is chosen as in Redis, so that the bytes are the same: the canonical text of a 32-bit integer is
//! written as an integer, whatever its form in memory; strings of more than 20 bytes are compressed if that saves at
//! least four.

use crate::codec::lzf;
use crate::text::number::{self, Decimal};
use crate::types::{Text, listpack};

/// The two highest bits of a length's first byte: a length of 14 bits.
pub(super) const LEN_14: u8 = 0b0100_0000;
/// A length in the next four bytes.
pub(super) const LEN_32: u8 = 0b1000_0000;
/// A length in the next eight.
pub(super) const LEN_64: u8 = 0b1000_0001;
/// Not a length: the other bits select the form that follows.
pub(super) const SPECIAL: u8 = 0b1100_0000;

/// The other bits of a [`SPECIAL`] byte: an integer of 8 bits.
pub(super) const INT_8: u8 = 0;
/// An integer of 16 bits.
pub(super) const INT_16: u8 = 1;
/// An integer of 32 bits.
pub(super) const INT_32: u8 = 2;
/// A compressed string.
pub(super) const LZF: u8 = 3;

/// The longest text of a 32-bit integer.
const INT_DIGITS: usize = 11;
/// Strings of up to this length are not compressed.
const SHORT: usize = 20;
/// The bytes that compression must save.
const WORTHWHILE: usize = 4;

/// The most memory for a compressed string that is kept from one string to the next.
const SCRATCH: usize = 64 << 10;

/// A destination for encoded bytes. It receives them in the order of the format, a string in one piece and everything
/// else in pieces of a few bytes. Writing must not fail: a sink that can fail (a file) keeps its first error for its
/// owner.
pub trait Sink {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts the bytes and drops them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted(pub usize);

impl Sink for Counted {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Writes to a sink in the RDB format. Its only buffer holds one string's compressed form, so a collection of any size
/// passes through it in small pieces.
pub struct Encoder<'a, S> {
    sink: &'a mut S,
    compress: bool,
    scratch: Vec<u8>,
}

impl<'a, S: Sink> Encoder<'a, S> {
    /// Writes to `sink`; compresses long strings if `compress` (`rdbcompression`).
    pub fn new(sink: &'a mut S, compress: bool) -> Self {
        Encoder { sink, compress, scratch: Vec::new() }
    }

    /// The sink.
    #[inline]
    pub fn sink(&self) -> &S {
        self.sink
    }

    /// Writes bytes as they are, without a length.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.sink.write(bytes);
    }

    /// Writes a length.
    pub fn length(&mut self, len: u64) {
        match len {
            0..64 => self.raw(&[len as u8]),
            64..16_384 => self.raw(&[LEN_14 | (len >> 8) as u8, len as u8]),
            16_384..=0xffff_ffff => {
                self.raw(&[LEN_32]);
                self.raw(&(len as u32).to_be_bytes());
            }
            _ => {
                self.raw(&[LEN_64]);
                self.raw(&len.to_be_bytes());
            }
        }
    }

    /// Writes `count`, the number of `items`, and then each item by `write`.
    ///
    /// # Panics
    /// If there are more or fewer: no reader could find the bytes that follow.
    pub fn counted<T>(
        &mut self,
        count: usize,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.length(count as u64);
        let mut written = 0;
        for item in items {
            write(self, item);
            written += 1;
        }
        assert!(written == count, "{count} items are announced, and {written} were written");
    }

    /// Writes the listpack `bytes` as a string.
    pub fn listpack(&mut self, bytes: &[u8]) {
        assert!(listpack::has_frame(bytes), "a listpack says how long it is, and has its end");
        self.string(bytes);
    }

    /// Writes a string that is stored in either form.
    pub fn text(&mut self, text: Text<'_>) {
        match text {
            Text::Bytes(bytes) => self.string(bytes),
            Text::Int(value) => {
                if !self.integer(value) {
                    self.plain(Decimal::new(value).as_bytes());
                }
            }
        }
    }

    /// Writes a string.
    pub fn string(&mut self, bytes: &[u8]) {
        let number = if bytes.len() <= INT_DIGITS { number::parse_i64(bytes) } else { None };
        if number.is_some_and(|value| self.integer(value)) {
            return;
        }
        if !(self.compress && bytes.len() > SHORT && self.compressed(bytes)) {
            self.plain(bytes);
        }
    }

    /// Writes an integer in one, two or four bytes and returns `true`, or returns `false` if it needs more.
    fn integer(&mut self, value: i64) -> bool {
        if let Ok(value) = i8::try_from(value) {
            self.raw(&[SPECIAL | INT_8, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            self.raw(&[SPECIAL | INT_16]);
            self.raw(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.raw(&[SPECIAL | INT_32]);
            self.raw(&value.to_le_bytes());
        } else {
            return false;
        }
        true
    }

    fn compressed(&mut self, bytes: &[u8]) -> bool {
        let mut small = std::mem::take(&mut self.scratch);
        small.clear();
        let fits = lzf::compress(bytes, &mut small, bytes.len() - WORTHWHILE);
        if fits {
            assert!(small.len() <= bytes.len() - WORTHWHILE, "a compressed string is shorter");
            self.raw(&[SPECIAL | LZF]);
            self.length(small.len() as u64);
            self.length(bytes.len() as u64);
            self.raw(&small);
        }
        if small.capacity() <= SCRATCH {
            self.scratch = small;
        }
        fits
    }

    fn plain(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.raw(bytes);
    }
}
