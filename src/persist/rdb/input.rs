//! Reads the building blocks of values from untrusted bytes.
//!
//! An [`Input`] returns only bytes that it has, and [`LoadError::Ended`] beyond them, so a claimed length allocates
//! nothing. Only a compressed string becomes longer than its bytes, and `codec::lzf` bounds that.

use std::borrow::Cow;
use std::fmt;

use super::encoder::{INT_8, INT_16, INT_32, LEN_14, LEN_32, LEN_64, LZF, SPECIAL};
use crate::codec::lzf;
use crate::text::number::Decimal;

/// Why bytes cannot be decoded as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes end too early.
    Ended,
    /// The type byte is unknown.
    UnknownType(u8),
    /// The bytes contradict themselves or the format.
    Malformed(&'static str),
}

impl LoadError {
    pub(super) const EMPTY: LoadError = LoadError::Malformed("a collection without elements");
    pub(super) const DUPLICATE: LoadError = LoadError::Malformed("a duplicate element");
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Ended => f.write_str("unexpected end of the value"),
            LoadError::UnknownType(byte) => write!(f, "unknown type {byte}"),
            LoadError::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for LoadError {}

/// A string that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded<'a> {
    /// It was written as an integer.
    Int(i32),
    /// It was written literally, or compressed.
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Loaded<'a> {
    /// The text.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Loaded::Int(value) => Decimal::new(value.into()).as_bytes().to_vec().into(),
            Loaded::Bytes(bytes) => bytes,
        }
    }
}

/// A length, or the special form in its place.
enum Length {
    Plain(u64),
    Special(u8),
}

/// A source of bytes.
pub trait Input {
    /// Reads the next `len` bytes; [`LoadError::Ended`] if there are fewer.
    fn bytes(&mut self, len: usize) -> Result<&[u8], LoadError>;

    /// The maximum number of bytes that may follow, as far as known.
    fn room(&self) -> u64;

    /// The number of items to reserve room for, out of a claimed `count`: as many as the rest of the input can contain
    /// if each takes at least about `least_bytes`.
    fn reservable(&self, count: u64, least_bytes: u64) -> usize {
        usize::try_from(count.min(self.room() / least_bytes + 1)).unwrap_or(usize::MAX)
    }

    /// Reads the next byte.
    fn byte(&mut self) -> Result<u8, LoadError> {
        self.array().map(|[byte]| byte)
    }

    /// Reads the next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let bytes = self.bytes(N)?;
        bytes.first_chunk().copied().ok_or(LoadError::Ended)
    }

    /// Reads a length.
    fn length(&mut self) -> Result<u64, LoadError> {
        match length(self)? {
            Length::Plain(len) => Ok(len),
            Length::Special(_) => Err(LoadError::Malformed("a string encoding in place of a length")),
        }
    }

    /// Reads a string.
    fn string(&mut self) -> Result<Loaded<'_>, LoadError> {
        Ok(match length(self)? {
            Length::Plain(len) => Loaded::Bytes(self.bytes(addressable(len)?)?.into()),
            Length::Special(INT_8) => Loaded::Int(i8::from_le_bytes(self.array()?).into()),
            Length::Special(INT_16) => Loaded::Int(i16::from_le_bytes(self.array()?).into()),
            Length::Special(INT_32) => Loaded::Int(i32::from_le_bytes(self.array()?)),
            Length::Special(LZF) => {
                let small = addressable(self.length()?)?;
                let len = addressable(self.length()?)?;
                let bytes = lzf::decompress(self.bytes(small)?, len);
                Loaded::Bytes(bytes.ok_or(LoadError::Malformed("a string that does not decompress"))?.into())
            }
            Length::Special(_) => return Err(LoadError::Malformed("an unknown form of string")),
        })
    }
}

fn length<I: Input + ?Sized>(input: &mut I) -> Result<Length, LoadError> {
    let first = input.byte()?;
    let low = first & !SPECIAL;
    Ok(match first & SPECIAL {
        0 => Length::Plain(low.into()),
        LEN_14 => Length::Plain(u64::from(low) << 8 | u64::from(input.byte()?)),
        SPECIAL => Length::Special(low),
        _ => Length::Plain(match first {
            LEN_32 => u32::from_be_bytes(input.array()?).into(),
            LEN_64 => u64::from_be_bytes(input.array()?),
            _ => return Err(LoadError::Malformed("an unknown form of length")),
        }),
    })
}

/// Converts a length to one that fits the address space; no input has more bytes than that.
fn addressable(len: u64) -> Result<usize, LoadError> {
    usize::try_from(len).map_err(|_| LoadError::Ended)
}

/// An input over bytes in memory.
pub struct SliceInput<'a> {
    rest: &'a [u8],
}

impl<'a> SliceInput<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        SliceInput { rest: bytes }
    }

    /// The bytes that have not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl Input for SliceInput<'_> {
    fn bytes(&mut self, len: usize) -> Result<&[u8], LoadError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(LoadError::Ended)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn room(&self) -> u64 {
        self.rest.len() as u64
    }
}
