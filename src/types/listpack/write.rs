//! Changes to a listpack, in any buffer.
//!
//! Every change is a single splice, so the bytes after it move once. Several elements for one position are therefore
//! passed together ([`insert`], [`append`]).

use super::element::{Element, write_backward};
use super::{EMPTY, END, HEADER, Listpack, UNKNOWN, after, backward_size, count, size_at};
use crate::types::packed::Buffer;

/// Redis's limit for the bytes of a listpack.
const MAX_BYTES: usize = 1 << 30;

/// Whether a listpack of `bytes` stays within Redis's safety limit with `additional` more bytes.
pub fn fits(bytes: &[u8], additional: usize) -> bool {
    bytes.len().saturating_add(additional) <= MAX_BYTES
}

/// Writes the header of the listpack that takes all of `bytes`.
#[inline]
fn set_header(bytes: &mut [u8], count: u16) {
    let total = u32::try_from(bytes.len()).expect("a listpack of at most 4 GiB").to_le_bytes();
    let count = count.to_le_bytes();
    bytes[..HEADER].copy_from_slice(&[total[0], total[1], total[2], total[3], count[0], count[1]]);
}

/// The header's count after `added` more elements.
#[inline]
fn count_up(count: u16, added: usize) -> u16 {
    (usize::from(count).saturating_add(added)).min(usize::from(UNKNOWN)) as u16
}

/// Inserts elements before the one at `at`, which may be the end.
#[inline]
pub fn insert(buffer: &mut impl Buffer, at: usize, elements: &[Element<'_>]) {
    let size = elements.iter().map(Element::size).sum();
    let bytes = buffer.splice(at, 0, size);
    let mut to = at;
    for element in elements {
        to += element.write(&mut bytes[to..]);
    }
    let count = count_up(count(bytes), elements.len());
    set_header(bytes, count);
}

/// Appends elements.
#[inline]
pub fn append(buffer: &mut impl Buffer, elements: &[Element<'_>]) {
    let end = buffer.bytes().len() - 1;
    insert(buffer, end, elements);
}

/// Like [`append`], for elements from an iterator that runs twice: once for their sizes, once to write them.
#[inline]
pub fn append_each<'a>(buffer: &mut impl Buffer, elements: impl Iterator<Item = Element<'a>> + Clone) {
    let end = buffer.bytes().len() - 1;
    let (number, size) =
        elements.clone().fold((0, 0), |(number, size), element| (number + 1, size + element.size()));
    let bytes = buffer.splice(end, 0, size);
    let mut to = end;
    for element in elements {
        to += element.write(&mut bytes[to..]);
    }
    let count = count_up(count(bytes), number);
    set_header(bytes, count);
}

/// Appends an element.
#[inline]
pub fn push_back<'a>(buffer: &mut impl Buffer, element: impl Into<Element<'a>>) {
    append(buffer, &[element.into()]);
}

/// Inserts an element before the first one.
#[inline]
pub fn push_front<'a>(buffer: &mut impl Buffer, element: impl Into<Element<'a>>) {
    insert(buffer, HEADER, &[element.into()]);
}

/// Replaces the element at `at` with `element`.
#[inline]
pub fn replace<'a>(buffer: &mut impl Buffer, at: usize, element: impl Into<Element<'a>>) {
    let element = element.into();
    let old = size_at(buffer.bytes(), at);
    if old == element.encoded() {
        element.write(&mut buffer.bytes_mut()[at..]);
        return;
    }
    let bytes = buffer.splice(at, old + backward_size(old), element.size());
    element.write(&mut bytes[at..]);
    let count = count(bytes);
    set_header(bytes, count);
}

/// Removes the `number` elements from `at` on, all of which must exist. The elements after them are then at `at`.
pub fn remove(buffer: &mut impl Buffer, at: usize, number: usize) {
    let bytes = buffer.bytes();
    let to = (0..number).fold(at, |to, _| after(bytes, to));
    remove_span(buffer, at, to, number);
}

/// Removes the elements from offset `from` to before offset `to`, `number` in all.
pub fn remove_span(buffer: &mut impl Buffer, from: usize, to: usize, number: usize) {
    let bytes = buffer.splice(from, to - from, 0);
    let mut left = count(bytes);
    if left == UNKNOWN {
        // Like Redis, which counts again when it needs the length after each removal.
        left = count_up(0, Listpack::new_while_written(bytes).iter().count());
    } else {
        left -= number as u16;
    }
    set_header(bytes, left);
}

/// Removes up to `number` elements from index `first` on (negative: from the end) and returns the number removed.
pub fn remove_indices(buffer: &mut impl Buffer, first: i64, number: usize) -> usize {
    let listpack = Listpack::new(buffer.bytes());
    let Some(from) = listpack.seek(first) else { return 0 };
    let mut iter = listpack.range(from, listpack.end());
    let removed = iter.by_ref().take(number).count();
    let to = iter.front();
    remove_span(buffer, from, to, removed);
    removed
}

/// Appends the elements of another listpack from offset `from` to before `to`.
pub fn extend(buffer: &mut impl Buffer, other: Listpack<'_>, from: usize, to: usize) {
    let end = buffer.bytes().len() - 1;
    insert_span(buffer, end, other, from, to);
}

/// Like [`extend`], but in front of the first element.
pub fn prepend(buffer: &mut impl Buffer, other: Listpack<'_>, from: usize, to: usize) {
    insert_span(buffer, HEADER, other, from, to);
}

/// Appends all elements of another listpack.
pub fn merge(buffer: &mut impl Buffer, other: Listpack<'_>) {
    extend(buffer, other, HEADER, other.end());
}

fn insert_span(buffer: &mut impl Buffer, at: usize, other: Listpack<'_>, from: usize, to: usize) {
    let whole = (from, to) == (HEADER, other.end()) && count(other.bytes()) != UNKNOWN;
    let added = if whole { other.len() } else { other.range(from, to).count() };
    let bytes = buffer.splice(at, 0, to - from);
    bytes[at..at + to - from].copy_from_slice(&other.bytes()[from..to]);
    let count = count_up(count(bytes), added);
    set_header(bytes, count);
}

impl<'a> Listpack<'a> {
    /// The listpack in `bytes`, whose header is out of date.
    fn new_while_written(bytes: &'a [u8]) -> Listpack<'a> {
        Listpack { bytes }
    }
}

/// Writes the listpack of these elements to the beginning of `out`; `None` if there is too little room.
pub fn write_small<'o>(out: &'o mut [u8], elements: &[Element<'_>]) -> Option<&'o [u8]> {
    let size = HEADER + 1 + elements.iter().map(Element::size).sum::<usize>();
    let bytes = out.get_mut(..size)?;
    let mut at = HEADER;
    for element in elements {
        at += element.write(&mut bytes[at..]);
    }
    bytes[at] = END;
    set_header(bytes, count_up(0, elements.len()));
    Some(bytes)
}

/// Writes a listpack from front to end; its header is written once.
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    /// A builder without elements and with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Builder {
        let mut bytes = Vec::with_capacity(capacity.max(EMPTY.len()));
        bytes.extend_from_slice(&EMPTY[..HEADER]);
        Builder { bytes, count: 0 }
    }

    /// The bytes of the listpack so far.
    pub fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    /// The number of elements so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no element yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends an element.
    #[inline]
    pub fn push<'a>(&mut self, element: impl Into<Element<'a>>) {
        let element = element.into();
        let at = self.bytes.len();
        self.bytes.resize(at + element.size(), 0);
        element.write(&mut self.bytes[at..]);
        self.count += 1;
    }

    /// The listpack.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        set_header(&mut self.bytes, count_up(0, self.count));
        self.bytes
    }
}

/// The backward length of an element of `size` bytes, to compare with.
pub(super) fn backward_bytes(size: usize) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let width = backward_size(size);
    write_backward(&mut bytes[..width], size);
    (bytes, width)
}
