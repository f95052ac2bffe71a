//! A listpack: a sequence of short strings and integers in one run of bytes, Redis's format byte for byte.
//!
//! ```text
//!  [ total bytes u32 | count u16 | element | element | … | 0xff ]        little endian; count 65535: unknown
//!
//!  element: [ encoding, with the value or its length in it | data | length of the two before, readable backwards ]
//!
//!   0vvvvvvv                           integer of 0 to 127
//!   10llllll  data                     string of up to 63 bytes
//!   110vvvvv  vvvvvvvv                 integer of 13 bits, two's complement, high byte first
//!   1110llll  llllllll  data           string of up to 4,095 bytes, high byte first
//!   0xf0      length u32  data         longer string
//!   0xf1, 0xf2, 0xf3, 0xf4             integer of 2, 3, 4, 8 bytes, little endian
//! ```
//!
//! The backward length is 1 to 5 groups of seven bits, read from its last byte back while the top bit is set.
//!
//! Here every element has exactly one *canonical encoding*: a string that is the canonical text of an `i64` is stored
//! as an integer, and everything in the shortest form. So two elements are equal exactly when their bytes are equal,
//! and a search compares one or two words of the needle's encoding ([`Element`]) with each element and decodes nothing.
//! Bytes from outside may be a valid listpack without being canonical; they enter only through [`normalize`], which
//! checks and canonicalizes them.
//!
//! | file | contents |
//! |---|---|
//! | this file | [`Listpack`]: reading, in both directions, by index, by search |
//! | `element` | [`Element`]: an element for writing or searching |
//! | `write` | changes, over any [`Buffer`](super::packed::Buffer) |
//! | `validate` | bytes from outside |
//!
//! Positions are byte offsets of elements; a change invalidates those after it. All code here is safe Rust: on bytes
//! that are not a listpack it may panic, but reads nothing else.
//!
//! Costs: next and previous O(1); index O(n), from the nearer end; search O(n), 2 to 3 ns per field of a hash. A change
//! moves the bytes after it. Limits: 4 GiB; [`fits`] enforces Redis's limit of 1 GiB.

mod element;
#[cfg(test)]
mod tests;
mod validate;
mod write;

pub use element::Element;
pub use validate::{InvalidListpack, has_duplicates, has_frame, is_valid, normalize};
pub use write::{
    Builder, append, append_each, extend, fits, insert, merge, prepend, push_back, push_front, remove,
    remove_indices, remove_span, replace, write_small,
};

use super::string::Text;

/// The bytes before the first element.
pub const HEADER: usize = 6;
/// The byte that follows the last element.
const END: u8 = 0xff;
/// The count in the header if there are more elements than it can hold.
const UNKNOWN: u16 = u16::MAX;
/// A listpack without elements.
pub const EMPTY: [u8; HEADER + 1] = [HEADER as u8 + 1, 0, 0, 0, 0, 0, END];

/// A listpack, for reading. See the module's head.
#[derive(Clone, Copy)]
pub struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// Returns the listpack in `bytes`, which this module must have written or checked.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Listpack<'a> {
        debug_assert!(validate::has_frame(bytes));
        Listpack { bytes }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of elements. O(1) up to 65,534 elements, otherwise O(n).
    #[inline]
    pub fn len(&self) -> usize {
        match count(self.bytes) {
            UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes[HEADER] == END
    }

    /// The first element.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        self.at_or_end(HEADER)
    }

    /// The last element.
    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.previous(self.end())
    }

    /// The offset behind the last element.
    #[inline]
    pub fn end(&self) -> usize {
        self.bytes.len() - 1
    }

    /// The element after the one at `at`.
    #[inline]
    pub fn next(&self, at: usize) -> Option<usize> {
        self.at_or_end(after(self.bytes, at))
    }

    /// The element before the one at `at`, which may be [`end`](Self::end).
    #[inline]
    pub fn previous(&self, at: usize) -> Option<usize> {
        (at > HEADER).then(|| before(self.bytes, at))
    }

    /// The element `count` positions after the one at `at`, or the end. The listpack must have that many.
    #[inline]
    pub fn skip(&self, at: usize, count: usize) -> usize {
        (0..count).fold(at, |at, _| after(self.bytes, at))
    }

    /// The element `count` positions before the one at `at`, which may be the end. The listpack must have that many.
    #[inline]
    pub fn skip_back(&self, at: usize, count: usize) -> usize {
        (0..count).fold(at, |at, _| before(self.bytes, at))
    }

    #[inline]
    fn at_or_end(&self, at: usize) -> Option<usize> {
        (self.bytes[at] != END).then_some(at)
    }

    /// The element at `at`.
    #[inline]
    pub fn get(&self, at: usize) -> Text<'a> {
        decode(self.bytes, at).0
    }

    /// The offset of the element at this index; negative indices count from the end, -1 being the last. O(n), from the
    /// nearer end.
    pub fn seek(&self, index: i64) -> Option<usize> {
        let len = match count(self.bytes) {
            // Without the count, walk from the end where the index starts.
            UNKNOWN => None,
            count => Some(i64::from(count)),
        };
        let (forward, steps) = match (len, index) {
            (Some(len), _) if index >= len || index < -len => return None,
            (Some(len), 0..) if index > len / 2 => (false, len - 1 - index),
            (Some(len), ..0) if -index > len / 2 => (true, len + index),
            (_, 0..) => (true, index),
            (_, ..0) => (false, -1 - index),
        };
        let mut at = if forward { self.first() } else { self.last() }?;
        for _ in 0..steps {
            at = if forward { self.next(at) } else { self.previous(at) }?;
        }
        Some(at)
    }

    /// The first element from `at` on that equals `needle`, comparing one element and skipping the next `skip`.
    #[inline]
    pub fn find(&self, at: usize, needle: &Element<'_>, skip: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut at = at;
        loop {
            let first = bytes[at];
            if first == needle.first() && needle.is_at(bytes, at) {
                return Some(at);
            }
            if first == END {
                return None;
            }
            at = after(bytes, at);
            for _ in 0..skip {
                at = after(bytes, at);
            }
        }
    }

    /// All elements, from either end.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        self.range(HEADER, self.end())
    }

    /// The elements from offset `from` to before offset `to`.
    #[inline]
    pub fn range(&self, from: usize, to: usize) -> Iter<'a> {
        Iter { bytes: self.bytes, front: from, back: to }
    }

    /// The elements two by two: fields and values, or members and scores.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { iter: self.iter() }
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Text<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for Listpack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over elements, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl Iter<'_> {
    /// The offset of the element that `next` yields, or the end.
    #[inline]
    pub fn front(&self) -> usize {
        self.front
    }

    /// The offset behind the element that `next_back` yields.
    #[inline]
    pub fn back(&self) -> usize {
        self.back
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (text, size) = decode(self.bytes, self.front);
        self.front += size + backward_size(size);
        Some(text)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Text<'a>> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.back);
        Some(decode(self.bytes, self.back).0)
    }
}

impl std::iter::FusedIterator for Iter<'_> {}

/// Iterator over pairs of elements, from either end.
#[derive(Clone)]
pub struct Pairs<'a> {
    iter: Iter<'a>,
}

impl Pairs<'_> {
    /// The offset of the pair that `next` yields, or the end.
    #[inline]
    pub fn front(&self) -> usize {
        self.iter.front
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Text<'a>, Text<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let first = self.iter.next()?;
        Some((first, self.iter.next()?))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let second = self.iter.next_back()?;
        Some((self.iter.next_back()?, second))
    }
}

/// The count in the header.
#[inline]
fn count(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[4], bytes[5]])
}

/// The bytes of encoding and data of the element at `at`.
#[inline]
fn size_at(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        0..0x80 => 1,
        short @ 0x80..0xc0 => 1 + usize::from(short & 0x3f),
        0xc0..0xe0 => 2,
        high @ 0xe0..0xf0 => 2 + (usize::from(high & 15) << 8 | usize::from(bytes[at + 1])),
        0xf0 => 5 + u32_at(bytes, at + 1) as usize,
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        _ => panic!("not an element of a listpack"),
    }
}

/// The offset of the element after the one at `at`.
#[inline(always)]
fn after(bytes: &[u8], at: usize) -> usize {
    let first = bytes[at];
    if first < 0xc0 {
        // The common cases without another branch: a 7-bit integer is one byte, a short string has its length in that
        // byte.
        return at + 2 + usize::from(first & 0x3f & (first >> 7).wrapping_neg());
    }
    let size = size_at(bytes, at);
    at + size + backward_size(size)
}

/// The offset of the element that ends before `at`.
#[inline(always)]
fn before(bytes: &[u8], at: usize) -> usize {
    let last = bytes[at - 1];
    if last < 0x80 {
        return at - 1 - usize::from(last);
    }
    let (size, length) = backward(bytes, at);
    at - length - size
}

/// The backward length that ends before `at`: its value, and the number of bytes it takes.
#[inline(never)]
fn backward(bytes: &[u8], at: usize) -> (usize, usize) {
    let mut size = 0;
    for i in 0..5 {
        let byte = bytes[at - 1 - i];
        size |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (size, i + 1);
        }
    }
    panic!("not a backward length of a listpack");
}

/// The number of bytes of the backward length of an element of `size` bytes. The largest sizes of each width but the
/// first take one byte more than necessary, as in Redis.
#[inline(always)]
fn backward_size(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// The element at `at`, and the bytes of its encoding and data.
#[inline(always)]
fn decode(bytes: &[u8], at: usize) -> (Text<'_>, usize) {
    let first = bytes[at];
    if first < 0x80 {
        return (Text::Int(i64::from(first)), 1);
    }
    if first < 0xc0 {
        let size = 1 + usize::from(first & 0x3f);
        return (Text::Bytes(&bytes[at + 1..at + size]), size);
    }
    decode_longer(bytes, at)
}

fn decode_longer(bytes: &[u8], at: usize) -> (Text<'_>, usize) {
    let size = size_at(bytes, at);
    let data = &bytes[at..at + size];
    let text = match data[0] {
        0xc0..0xe0 => {
            // Shifted up and down again to extend the sign into the high bits.
            let value = i16::from_be_bytes([data[0], data[1]]) << 3 >> 3;
            Text::Int(i64::from(value))
        }
        0xe0..0xf0 => Text::Bytes(&data[2..]),
        0xf0 => Text::Bytes(&data[5..]),
        _ => {
            let mut word = [0; 8];
            let width = size - 1;
            word[8 - width..].copy_from_slice(&data[1..]);
            Text::Int(i64::from_le_bytes(word) >> (64 - 8 * width))
        }
    };
    (text, size)
}

#[inline(always)]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
