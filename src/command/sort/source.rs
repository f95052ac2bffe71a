//! The operations on types that SORT needs: the elements of a collection, and a list to store.

use std::ops::Range;

use super::rank::Texts;
use crate::command::context::Context;
use crate::db::Position;
use crate::types::list::{self, End, NodeLimits, Quicklist};
use crate::types::set::SetRef;
use crate::types::sorted_set::{SortedSetRef, to_large};
use crate::types::{Encoding, Entry, Kind, Shapes, Text};

/// The number of elements of the value; `None` for a type that SORT refuses.
pub fn len(entry: &Entry) -> Option<usize> {
    match entry.kind() {
        Kind::List => Some(list::len(entry)),
        Kind::Set => Some(SetRef::of(entry).len()),
        Kind::SortedSet => Some(SortedSetRef::of(entry).len()),
        _ => None,
    }
}

/// Converts a sorted set to its large form, as Redis does before it sorts it: clients can see the encoding.
pub fn prepare(ctx: &mut Context<'_>, at: Position) {
    if ctx.db().get(at).kind() == Kind::SortedSet {
        ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| to_large(entry, shapes));
        ctx.unchanged();
    }
}

/// The elements in `window` of the collection's own order, or of the reverse if `backwards`. A set has an arbitrary
/// order and no direction.
pub fn elements(entry: &Entry, window: Range<usize>, backwards: bool) -> Texts {
    let count = window.len();
    let mut elements = Texts::with_capacity(count);
    if window.is_empty() {
        return elements;
    }
    match entry.kind() {
        Kind::List => {
            let mut see = |element: Text<'_>| {
                elements.push(element);
                elements.len() < count
            };
            if backwards {
                list::backwards(entry, list::len(entry) - 1 - window.start, &mut see);
            } else {
                list::forwards(entry, window.start, &mut see);
            }
        }
        Kind::Set => {
            for member in SetRef::of(entry).members().skip(window.start).take(count) {
                elements.push(member);
            }
        }
        Kind::SortedSet => {
            let set = SortedSetRef::of(entry);
            let from = if backwards { set.len() - 1 - window.start } else { window.start };
            for (member, _) in set.range(from, count, backwards) {
                elements.push(member);
            }
        }
        _ => {}
    }
    elements
}

/// Builds a list of these elements, in the encoding of a quicklist that has shrunk to a single node.
pub fn list<'a>(key: &[u8], elements: impl Iterator<Item = &'a [u8]>, shapes: &Shapes) -> Entry {
    let limits = NodeLimits::new(shapes);
    let mut quicklist = Quicklist::default();
    for element in elements {
        quicklist.push(End::Back, element, limits);
    }
    match quicklist.as_listpack(limits) {
        Some(bytes) => Entry::with_packed(key, Kind::List, Encoding::Listpack, &bytes, None),
        None => Entry::with_container(key, quicklist, None),
    }
}
