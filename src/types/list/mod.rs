//! Lists: how `LPUSH`, `LRANGE` and related commands read and change an entry, in either of two encodings.
//!
//! | encoding | for | stored as |
//! |---|---|---|
//! | `listpack` | lists that fit a single node (`list-max-listpack-size`) | packed in the entry |
//! | `quicklist` | the rest | a [`Quicklist`] of nodes |
//!
//! A list becomes a quicklist when it would outgrow a node, and a listpack again when it has shrunk to half a node
//! ([`shrink`], which commands that remove elements call at their end). Indices count from the front.

mod quicklist;
#[cfg(test)]
mod tests;

pub use quicklist::{End, NodeLimits, Quicklist};

use super::container::Debris;
use super::listpack::{self, Element, Listpack};
use super::packed::Buffer;
use super::string::{Text, canonical_i64};
use super::{Encoding, Entry, Kind, Shapes};

/// The number of elements that are removed from the front together: one by one, each would move all elements after it.
const FRONT_AT_ONCE: usize = 5;

/// A value to compare with elements. An integer is stored as text in its own node, and as a number in a listpack.
pub struct Needle<'a> {
    bytes: &'a [u8],
    integer: Option<i64>,
}

impl<'a> Needle<'a> {
    /// A needle for `bytes`.
    pub fn new(bytes: &'a [u8]) -> Needle<'a> {
        Needle { bytes, integer: canonical_i64(bytes) }
    }

    /// Whether `element` equals the value.
    #[inline]
    pub fn is(&self, element: Text<'_>) -> bool {
        match element {
            Text::Int(value) => self.integer == Some(value),
            Text::Bytes(bytes) => self.bytes == bytes,
        }
    }
}

/// An empty list under `key`.
pub fn create(key: &[u8]) -> Entry {
    Entry::with_packed(key, Kind::List, Encoding::Listpack, &listpack::EMPTY, None)
}

/// Prepares a list for these elements, which the caller is about to add: a listpack that they would make too large
/// becomes a quicklist.
pub fn expect<'a>(entry: &mut Entry, elements: impl Iterator<Item = &'a [u8]>, shapes: &Shapes) {
    if entry.encoding() != Encoding::Listpack {
        return;
    }
    let listpack = Listpack::new(entry.packed());
    let (mut bytes, mut count) = (listpack.bytes().len(), listpack.len());
    let mut longest = 0;
    for element in elements {
        bytes += element.len();
        longest = longest.max(element.len());
        count += 1;
    }
    if !NodeLimits::new(shapes).allow(bytes, count) || longest >= shapes.list_packed_threshold {
        let list = Quicklist::of_listpack(entry.packed());
        entry.set_container(list);
    }
}

/// Converts a quicklist of one small node back to a listpack.
pub fn shrink(entry: &mut Entry, shapes: &Shapes) {
    let Some(list) = entry.container::<Quicklist>() else { return };
    if let Some(bytes) = list.as_listpack(NodeLimits::new(shapes).halved()) {
        let bytes = bytes.into_owned();
        entry.set_packed(Encoding::Listpack, &bytes);
    }
}

fn quicklist(entry: &Entry) -> &Quicklist {
    entry.container().expect("a list that is not packed is a quicklist")
}

fn quicklist_mut(entry: &mut Entry) -> &mut Quicklist {
    entry.container_mut().expect("a list that is not packed is a quicklist")
}

/// The number of elements.
#[inline]
pub fn len(entry: &Entry) -> usize {
    match entry.encoding() {
        Encoding::Listpack => Listpack::new(entry.packed()).len(),
        _ => quicklist(entry).len(),
    }
}

/// Pushes an element to an end. Call [`expect`] before.
#[inline]
pub fn push(entry: &mut Entry, end: End, value: &[u8], shapes: &Shapes) {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).push(end, value, NodeLimits::new(shapes));
    }
    let mut packed = entry.packed_mut();
    match end {
        End::Front => listpack::push_front(&mut packed, value),
        End::Back => listpack::push_back(&mut packed, value),
    }
}

/// Pushes elements to an end, one after the other, and returns the new length.
#[inline]
pub fn extend<'a>(
    entry: &mut Entry,
    end: End,
    elements: impl Iterator<Item = &'a [u8]> + Clone,
    shapes: &Shapes,
) -> usize {
    expect(entry, elements.clone(), shapes);
    if entry.encoding() == Encoding::Listpack {
        elements.for_each(|element| push(entry, end, element, shapes));
        return len(entry);
    }
    let (list, limits) = (quicklist_mut(entry), NodeLimits::new(shapes));
    elements.for_each(|element| list.push(end, element, limits));
    list.len()
}

/// Removes the element at an end and calls `see` with it. The list must not be empty.
pub fn pop<R>(entry: &mut Entry, end: End, shapes: &Shapes, see: impl FnOnce(Text<'_>) -> R) -> R {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).pop(end, NodeLimits::new(shapes), see);
    }
    let mut packed = entry.packed_mut();
    let listpack = Listpack::new(packed.bytes());
    let at = match end {
        End::Front => listpack.first(),
        End::Back => listpack.last(),
    };
    let at = at.expect("a list of a key has an element");
    let result = see(listpack.get(at));
    listpack::remove(&mut packed, at, 1);
    result
}

/// Removes `count` elements at an end, all of which must exist, and calls `see` with each.
pub fn pop_each(
    entry: &mut Entry,
    end: End,
    count: usize,
    shapes: &Shapes,
    see: &mut impl FnMut(Text<'_>),
) -> Debris {
    if end == End::Back || count < FRONT_AT_ONCE {
        (0..count).for_each(|_| pop(entry, end, shapes, &mut *see));
        return None;
    }
    let mut left = count;
    forwards(entry, 0, &mut |element| {
        see(element);
        left -= 1;
        left > 0
    });
    remove_range(entry, 0, count, shapes)
}

/// Calls `see` with the element at `index` and returns its result; `None` if there is no such element.
pub fn get<R>(entry: &Entry, index: usize, see: impl FnOnce(Text<'_>) -> R) -> Option<R> {
    if entry.encoding() == Encoding::Listpack {
        let listpack = Listpack::new(entry.packed());
        let at = listpack.seek(i64::try_from(index).ok()?)?;
        return Some(see(listpack.get(at)));
    }
    let list = quicklist(entry);
    (index < list.len()).then(|| list.see(index, see))
}

/// Calls `see` with the elements from `index` towards the back until it returns `false`.
pub fn forwards(entry: &Entry, index: usize, see: &mut impl FnMut(Text<'_>) -> bool) {
    if entry.encoding() != Encoding::Listpack {
        return quicklist(entry).forwards(index, see);
    }
    let listpack = Listpack::new(entry.packed());
    if let Some(from) = listpack.seek(index as i64) {
        listpack.range(from, listpack.end()).all(see);
    }
}

/// Calls `see` with the elements from `index` towards the front until it returns `false`.
pub fn backwards(entry: &Entry, index: usize, see: &mut impl FnMut(Text<'_>) -> bool) {
    if entry.encoding() != Encoding::Listpack {
        return quicklist(entry).backwards(index, see);
    }
    let listpack = Listpack::new(entry.packed());
    if index < listpack.len() {
        let to = listpack.seek(index as i64 + 1).unwrap_or(listpack.end());
        listpack.range(listpack::HEADER, to).rev().all(see);
    }
}

/// Replaces the element at `index`, which must exist, with `value`. Call [`expect`] before.
pub fn set(entry: &mut Entry, index: usize, value: &[u8], shapes: &Shapes) {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).set(index, value, NodeLimits::new(shapes));
    }
    let at = Listpack::new(entry.packed()).seek(index as i64).expect("an index below the length");
    listpack::replace(&mut entry.packed_mut(), at, value);
}

/// Inserts `value` at `index`, which is at most the length. Call [`expect`] before.
pub fn insert(entry: &mut Entry, index: usize, value: &[u8], shapes: &Shapes) {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).insert(index, value, NodeLimits::new(shapes));
    }
    let listpack = Listpack::new(entry.packed());
    let at = listpack.seek(index as i64).unwrap_or(listpack.end());
    listpack::insert(&mut entry.packed_mut(), at, &[value.into()]);
}

/// Removes `count` elements from `index` on, all of which must exist. If that leaves the list empty, the caller deletes
/// the entry.
pub fn remove_range(entry: &mut Entry, index: usize, count: usize, shapes: &Shapes) -> Debris {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).remove_range(index, count, NodeLimits::new(shapes));
    }
    listpack::remove_indices(&mut entry.packed_mut(), index as i64, count);
    None
}

/// Removes up to `most` elements that equal `value`, starting from an end, and returns their number. May leave the list
/// empty.
pub fn remove_matching(entry: &mut Entry, value: &[u8], most: usize, from: End, shapes: &Shapes) -> usize {
    if entry.encoding() != Encoding::Listpack {
        return quicklist_mut(entry).remove_matching(value, most, from, NodeLimits::new(shapes));
    }
    let mut places = places(Listpack::new(entry.packed()), &Element::from(value));
    match from {
        End::Front => {
            places.truncate(most);
            places.reverse();
        }
        End::Back => {
            places.reverse();
            places.truncate(most);
        }
    }
    for at in &places {
        listpack::remove(&mut entry.packed_mut(), *at, 1);
    }
    places.len()
}

/// The offsets of the elements that equal `needle`, ascending.
fn places(listpack: Listpack<'_>, needle: &Element<'_>) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = listpack.first();
    while let Some(found) = at.and_then(|at| listpack.find(at, needle, 0)) {
        places.push(found);
        at = listpack.next(found);
    }
    places
}
