//! What SORT needs of the types: the elements of a collection, a field of a hash, and a list to store.

use std::ops::Range;

use super::rank::Texts;
use crate::types::listpack;
use crate::types::set::SetRef;
use crate::types::{Encoding, Entry, Kind, Text};

/// How many elements the value has; `None` for a type that SORT refuses.
pub fn len(entry: &Entry) -> Option<usize> {
    match entry.kind() {
        Kind::Set => Some(SetRef::of(entry).len()),
        _ => None,
    }
}

/// Whether the elements have no order of their own.
pub fn is_unordered(entry: &Entry) -> bool {
    entry.kind() == Kind::Set
}

/// Adds the elements in the `window` of their own order to `elements`; `backwards`, the last is the first. A set has no
/// order and so no direction.
pub fn elements(entry: &Entry, window: Range<usize>, backwards: bool, elements: &mut Texts) {
    let _ = backwards;
    match entry.kind() {
        Kind::Set => {
            SetRef::of(entry).members().skip(window.start).take(window.len()).for_each(|member| elements.push(member));
        }
        _ => {}
    }
}

/// The value of a field, if the entry is a hash that has it.
pub fn field<'a>(entry: &'a Entry, field: &[u8]) -> Option<Text<'a>> {
    None
}
