//! Listpacks from outside: from a file, a `RESTORE`, a primary. Nothing here panics or reads beyond the bytes, whatever
//! their content.

use std::borrow::Cow;
use std::collections::HashSet;

use super::write::{Builder, backward_bytes};
use super::{EMPTY, END, Element, HEADER, Listpack, UNKNOWN, count, decode, size_at, u32_at};

/// The bytes are not a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidListpack;

/// The shallow check: the length in the header, and the end mark.
pub fn has_frame(bytes: &[u8]) -> bool {
    bytes.len() >= EMPTY.len() && u32_at(bytes, 0) as usize == bytes.len() && bytes[bytes.len() - 1] == END
}

/// Whether `bytes` are a listpack; checks every encoding, every backward length, and the count. O(n).
pub fn is_valid(bytes: &[u8]) -> bool {
    check(bytes).is_some()
}

/// Checks arbitrary `bytes`, and returns them as this module would have written them: with every element in its
/// canonical encoding, on which searches depend. Nearly always these are the same bytes.
pub fn normalize(bytes: &[u8]) -> Result<Cow<'_, [u8]>, InvalidListpack> {
    let canonical = check(bytes).ok_or(InvalidListpack)?;
    if canonical {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut builder = Builder::with_capacity(bytes.len());
    for text in Listpack::new(bytes) {
        builder.push(text);
    }
    Ok(Cow::Owned(builder.finish()))
}

/// `None` if `bytes` are not a listpack, else whether every element is in its canonical encoding.
fn check(bytes: &[u8]) -> Option<bool> {
    if !has_frame(bytes) {
        return None;
    }
    let end = bytes.len() - 1;
    let (mut at, mut found, mut canonical) = (HEADER, 0_usize, true);
    while at < end {
        let size = size_within(&bytes[at..end])?;
        let (backward, width) = backward_bytes(size);
        if bytes[at + size..end].get(..width)? != &backward[..width] {
            return None;
        }
        canonical &= Element::from(decode(bytes, at).0).encoded() == size;
        at += size + width;
        found += 1;
    }
    let said = count(bytes);
    (said == UNKNOWN || usize::from(said) == found).then_some(canonical)
}

/// The bytes of encoding and data of the first element in `bytes`, if it is complete.
fn size_within(bytes: &[u8]) -> Option<usize> {
    let size_of_length = match bytes.first()? {
        0xe0..0xf0 => 2,
        0xf0 => 5,
        0xf5.. => return None,
        _ => 1,
    };
    if bytes.len() < size_of_length {
        return None;
    }
    Some(size_at(bytes, 0)).filter(|size| *size <= bytes.len())
}

/// Whether any two of the elements at index 0, `step`, 2 · `step`, … are equal: the members of a set (1), the fields of
/// a hash or the members of a sorted set (2). For canonical listpacks. O(n).
pub fn has_duplicates(listpack: Listpack<'_>, step: usize) -> bool {
    let mut seen = HashSet::with_capacity(listpack.len() / step);
    let mut iter = listpack.iter();
    loop {
        let from = iter.front();
        if iter.next().is_none() {
            return false;
        }
        if !seen.insert(&listpack.bytes()[from..iter.front()]) {
            return true;
        }
        for _ in 1..step {
            iter.next();
        }
    }
}
