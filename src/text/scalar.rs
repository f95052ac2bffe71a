//! A string as values store it: its bytes, or an integer if the string is exactly that integer's digits.

use super::number;

/// A string in either form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// The string is the number's digits.
    Int(i64),
    /// The string itself.
    Bytes(&'a [u8]),
}

impl Text<'_> {
    /// The length of the text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Text::Int(n) => number::digits_i64(n),
            Text::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the text is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Text::Bytes([]))
    }

    /// Appends the text to `out`.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        match *self {
            Text::Int(n) => number::push_i64(out, n),
            Text::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// Calls `read` with the text.
    #[inline]
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        match *self {
            Text::Int(n) => read(number::Decimal::new(n).as_bytes()),
            Text::Bytes(bytes) => read(bytes),
        }
    }

    /// Returns the text as a new vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.push_to(&mut out);
        out
    }
}
