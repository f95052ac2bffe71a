//! An element in its canonical encoding, for writing or searching.

use super::backward_size;
use crate::types::string::{Text, canonical_i64};

/// A string or an integer in its listpack encoding: the encoding bytes, and a reference to the string's own bytes. The
/// same element can be searched for and then written.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    head: [u8; 9],
    head_len: u8,
    data: &'a [u8],
}

impl<'a> Element<'a> {
    fn new(head: &[u8], data: &'a [u8]) -> Element<'a> {
        let mut bytes = [0; 9];
        bytes[..head.len()].copy_from_slice(head);
        Element { head: bytes, head_len: head.len() as u8, data }
    }

    /// A string that is not the canonical text of an integer.
    #[inline]
    fn string(text: &'a [u8]) -> Element<'a> {
        let len = text.len();
        if len < 64 {
            return Element { head: [0x80 | len as u8, 0, 0, 0, 0, 0, 0, 0, 0], head_len: 1, data: text };
        }
        if len < 4096 {
            return Element::new(&[0xe0 | (len >> 8) as u8, len as u8], text);
        }
        let len = u32::try_from(len).expect("an element of at most 4 GiB").to_le_bytes();
        Element::new(&[0xf0, len[0], len[1], len[2], len[3]], text)
    }

    /// An integer.
    #[inline]
    pub fn integer(value: i64) -> Element<'a> {
        if (0..128).contains(&value) {
            return Element { head: [value as u8, 0, 0, 0, 0, 0, 0, 0, 0], head_len: 1, data: &[] };
        }
        if (-4096..4096).contains(&value) {
            return Element::new(&[0xc0 | (value >> 8 & 0x1f) as u8, value as u8], &[]);
        }
        let (encoding, width) = match value {
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        let mut head = [encoding, 0, 0, 0, 0, 0, 0, 0, 0];
        head[1..=width].copy_from_slice(&value.to_le_bytes()[..width]);
        Element { head, head_len: 1 + width as u8, data: &[] }
    }

    /// The element as a reader returns it.
    #[inline]
    pub fn text(&self) -> Text<'a> {
        match self.head[0] {
            0x80..0xc0 | 0xe0..=0xf0 => Text::Bytes(self.data),
            _ => {
                let Text::Int(value) = super::decode(&self.head, 0).0 else { unreachable!("an integer") };
                Text::Int(value)
            }
        }
    }

    /// The bytes that the element takes in a listpack.
    #[inline]
    pub fn size(&self) -> usize {
        let size = self.encoded();
        size + backward_size(size)
    }

    /// The bytes of encoding and data.
    #[inline]
    pub(super) fn encoded(&self) -> usize {
        usize::from(self.head_len) + self.data.len()
    }

    #[inline]
    pub(super) fn first(&self) -> u8 {
        self.head[0]
    }

    /// Whether the element at `at`, whose first byte is the same, equals this one.
    #[inline]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let head_len = usize::from(self.head_len);
        if head_len > 1 && bytes[at + 1..].get(..head_len - 1) != Some(&self.head[1..head_len]) {
            return false;
        }
        // The lengths are equal now, whether they are stored in the first byte or after it.
        let data = at + head_len;
        same(&bytes[data..data + self.data.len()], self.data)
    }

    /// Writes the element to the beginning of `out` and returns the number of bytes written.
    #[inline]
    pub(super) fn write(&self, out: &mut [u8]) -> usize {
        let head_len = usize::from(self.head_len);
        let size = self.encoded();
        if head_len == 1 {
            out[0] = self.head[0];
        } else {
            out[..head_len].copy_from_slice(&self.head[..head_len]);
        }
        out[head_len..size].copy_from_slice(self.data);
        let width = backward_size(size);
        if width == 1 {
            out[size] = size as u8;
        } else {
            write_backward(&mut out[size..size + width], size);
        }
        size + width
    }
}

/// Writes the length of an element for backward reading: seven bits per byte, the lowest last, and the top bit set on
/// all bytes but the first.
#[inline(never)]
pub(super) fn write_backward(out: &mut [u8], size: usize) {
    let width = out.len();
    for (i, byte) in out.iter_mut().rev().enumerate() {
        *byte = (size >> (7 * i)) as u8 & 0x7f | u8::from(i + 1 < width) << 7;
    }
}

/// Whether two slices of equal length are equal. Compares up to 16 bytes without a call, and the ends of longer ones
/// first.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    debug_assert_eq!(a.len(), b.len());
    if let (Some((a0, _)), Some((b0, _))) = (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
        && let (Some((_, a1)), Some((_, b1))) = (a.split_last_chunk::<8>(), b.split_last_chunk::<8>())
    {
        // The ends differ most often, as in `field:1` and `field:2`.
        return (word(a0) ^ word(b0)) | (word(a1) ^ word(b1)) == 0 && (a.len() <= 16 || a == b);
    }
    if let (Some((a0, _)), Some((b0, _))) = (a.split_first_chunk::<4>(), b.split_first_chunk::<4>())
        && let (Some((_, a1)), Some((_, b1))) = (a.split_last_chunk::<4>(), b.split_last_chunk::<4>())
    {
        return a0 == b0 && a1 == b1;
    }
    a.iter().zip(b).all(|(a, b)| a == b)
}

#[inline(always)]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

impl<'a> From<&'a [u8]> for Element<'a> {
    #[inline]
    fn from(text: &'a [u8]) -> Element<'a> {
        match canonical_i64(text) {
            Some(value) => Element::integer(value),
            None => Element::string(text),
        }
    }
}

impl From<i64> for Element<'_> {
    #[inline]
    fn from(value: i64) -> Self {
        Element::integer(value)
    }
}

impl<'a> From<Text<'a>> for Element<'a> {
    #[inline]
    fn from(text: Text<'a>) -> Element<'a> {
        match text {
            Text::Int(value) => Element::integer(value),
            Text::Bytes(bytes) => bytes.into(),
        }
    }
}
