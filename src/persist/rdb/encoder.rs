//! Writes the parts of which values are made: lengths, integers, strings.
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
//! The choice among a string's forms is Redis's, so that the bytes are: what is the canonical text of a 32-bit integer
//! is written as one, whatever it is kept as; more than 20 bytes are compressed if that saves at least four.

use crate::codec::lzf;
use crate::text::number::{self, Decimal};
use crate::types::Text;

/// What the two highest bits of a length's first byte say.
pub(super) const LEN_14: u8 = 0b0100_0000;
/// A length in the next four bytes.
pub(super) const LEN_32: u8 = 0b1000_0000;
/// A length in the next eight.
pub(super) const LEN_64: u8 = 0b1000_0001;
/// No length: the other bits say what follows.
pub(super) const SPECIAL: u8 = 0b1100_0000;

/// What follows a byte that is [`SPECIAL`].
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
/// What compression has to save.
const WORTHWHILE: usize = 4;

/// Appends to a buffer in the RDB format.
pub struct Encoder<'a> {
    /// The buffer.
    pub out: &'a mut Vec<u8>,
    compress: bool,
    scratch: Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`; compresses long strings if `compress` (`rdbcompression`).
    pub fn new(out: &'a mut Vec<u8>, compress: bool) -> Self {
        Encoder { out, compress, scratch: Vec::new() }
    }

    /// A byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A length.
    pub fn length(&mut self, len: u64) {
        match len {
            0..64 => self.byte(len as u8),
            64..16_384 => self.out.extend_from_slice(&[LEN_14 | (len >> 8) as u8, len as u8]),
            16_384..=0xffff_ffff => {
                self.byte(LEN_32);
                self.out.extend_from_slice(&(len as u32).to_be_bytes());
            }
            _ => {
                self.byte(LEN_64);
                self.out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// A string that is kept in either form.
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

    /// A string.
    pub fn string(&mut self, bytes: &[u8]) {
        let number = if bytes.len() <= INT_DIGITS { number::parse_i64(bytes) } else { None };
        if number.is_some_and(|value| self.integer(value)) {
            return;
        }
        if !(self.compress && bytes.len() > SHORT && self.compressed(bytes)) {
            self.plain(bytes);
        }
    }

    /// Writes an integer in as few bytes as hold it, if four do.
    fn integer(&mut self, value: i64) -> bool {
        if let Ok(value) = i8::try_from(value) {
            self.out.extend_from_slice(&[SPECIAL | INT_8, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            self.byte(SPECIAL | INT_16);
            self.out.extend_from_slice(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.byte(SPECIAL | INT_32);
            self.out.extend_from_slice(&value.to_le_bytes());
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
            self.byte(SPECIAL | LZF);
            self.length(small.len() as u64);
            self.length(bytes.len() as u64);
            self.out.extend_from_slice(&small);
        }
        self.scratch = small;
        fits
    }

    fn plain(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}
