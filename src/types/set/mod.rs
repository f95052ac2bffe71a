//! Sets: how `SADD`, `SISMEMBER` and related commands read and change an entry, in any of three encodings.
//!
//! | encoding | for | stored as |
//! |---|---|---|
//! | `intset` | only integers, up to `set-max-intset-entries` | ascending, packed in the entry |
//! | `listpack` | up to `set-max-listpack-entries` members of at most `set-max-listpack-value` bytes | in insertion order, packed |
//! | `hashtable` | the rest | a [`MemberTable`] of [`Member`]s |
//!
//! A set only moves down this list; as in Redis, it does not move back when it shrinks. [`SetRef`] reads all three
//! encodings, [`add`] and [`remove`] change them.
//!
//! Costs: a membership test is O(log n) in an intset, O(n) of a small n in a listpack, and two cache misses in a table.

mod iter;
mod table;
#[cfg(test)]
mod tests;

pub use iter::Iter;
pub use table::{GROUP, MemberTable};

use super::container::{Container, Debris};
use super::intset::{self, Intset};
use super::listpack::{self, Element, Listpack};
use super::member::Member;
use super::random::{Random, is_few};
use super::string::{Text, canonical_i64};
use super::{Encoding, Entry, Kind, Shapes};
use crate::text::number;

/// Drawing a member that stays costs as much as popping this many.
const POPPED_FOR_ONE_LEFT: usize = 5;

/// An empty set under `key`, for about `expected` members including `first`.
pub fn create(key: &[u8], first: &[u8], expected: usize, shapes: &Shapes) -> Entry {
    if expected <= shapes.set_max_intset_entries && canonical_i64(first).is_some() {
        return Entry::with_packed(key, Kind::Set, Encoding::Intset, &intset::from_sorted(&[]), None);
    }
    if expected <= shapes.set_max_listpack_entries {
        return Entry::with_packed(key, Kind::Set, Encoding::Listpack, &listpack::EMPTY, None);
    }
    Entry::with_container(key, MemberTable::with_capacity(expected, shapes.seed), None)
}

/// Prepares a set for `additional` members: a packed set that would outgrow its encoding becomes a table.
pub fn expect(entry: &mut Entry, additional: usize, shapes: &Shapes) {
    let limit = match entry.encoding() {
        Encoding::Intset => shapes.set_max_intset_entries,
        Encoding::Listpack => shapes.set_max_listpack_entries,
        _ => return,
    };
    if additional > limit {
        to_table(entry, additional, shapes);
    }
}

/// Call after [`create`] or [`expect`] and the members: releases unused room.
pub fn settle(entry: &mut Entry) {
    if let Some(table) = entry.container_mut::<MemberTable>() {
        table.settle();
    }
}

/// Adds a member and returns whether it was new.
pub fn add(entry: &mut Entry, member: &[u8], shapes: &Shapes) -> bool {
    match entry.encoding() {
        Encoding::Intset => add_to_intset(entry, member, shapes),
        Encoding::Listpack => add_to_listpack(entry, member, shapes),
        _ => table_mut(entry).add(member),
    }
}

fn add_to_intset(entry: &mut Entry, member: &[u8], shapes: &Shapes) -> bool {
    if let Some(value) = canonical_i64(member) {
        let new = intset::insert(&mut entry.packed_mut(), value);
        if new && Intset::new(entry.packed()).len() > shapes.set_max_intset_entries {
            to_table(entry, 0, shapes);
        }
        return new;
    }
    if fits_listpack_with(Intset::new(entry.packed()), member, shapes) {
        to_listpack(entry);
        listpack::push_back(&mut entry.packed_mut(), member);
        return true;
    }
    to_table(entry, 1, shapes);
    table_mut(entry).add(member)
}

/// Whether a set of these integers and `member` fits in a listpack.
fn fits_listpack_with(set: Intset<'_>, member: &[u8], shapes: &Shapes) -> bool {
    let digits = |value: Option<i64>| value.map_or(0, number::digits_i64);
    let longest = digits(set.first()).max(digits(set.last())).max(member.len());
    set.len() < shapes.set_max_listpack_entries && longest <= shapes.set_max_listpack_value
}

fn add_to_listpack(entry: &mut Entry, member: &[u8], shapes: &Shapes) -> bool {
    let element = Element::from(member);
    let listpack = Listpack::new(entry.packed());
    if listpack.find(listpack::HEADER, &element, 0).is_some() {
        return false;
    }
    let fits = listpack.len() < shapes.set_max_listpack_entries
        && member.len() <= shapes.set_max_listpack_value
        && listpack::fits(listpack.bytes(), member.len());
    if fits {
        listpack::append(&mut entry.packed_mut(), &[element]);
        return true;
    }
    to_table(entry, 1, shapes);
    table_mut(entry).add(member)
}

/// Removes a member and returns whether the set had it. If it was the last one, the caller deletes the entry.
pub fn remove(entry: &mut Entry, member: &[u8]) -> bool {
    match entry.encoding() {
        Encoding::Intset => {
            canonical_i64(member).is_some_and(|value| intset::remove(&mut entry.packed_mut(), value))
        }
        Encoding::Listpack => {
            let listpack = Listpack::new(entry.packed());
            let found = listpack.find(listpack::HEADER, &member.into(), 0);
            if let Some(at) = found {
                listpack::remove(&mut entry.packed_mut(), at, 1);
            }
            found.is_some()
        }
        _ => table_mut(entry).remove(member),
    }
}

/// Removes a random member, each with the same probability, and calls `see` with it. The set must not be empty.
pub fn pop(entry: &mut Entry, random: &mut Random, see: impl FnOnce(Text<'_>)) {
    match entry.encoding() {
        Encoding::Intset => {
            let index = random.below(Intset::new(entry.packed()).len());
            see(Text::Int(intset::remove_index(&mut entry.packed_mut(), index)));
        }
        Encoding::Listpack => {
            let listpack = Listpack::new(entry.packed());
            let at = listpack.seek(random.below(listpack.len()) as i64).expect("an index below the length");
            see(listpack.get(at));
            listpack::remove(&mut entry.packed_mut(), at, 1);
        }
        _ => {
            let member = table_mut(entry).pop(random);
            see(Text::Bytes(member.bytes()));
        }
    }
}

/// Whether popping `count` members of a table leaves so few that [`pop_all_but`] is used, as in Redis.
pub fn leaves_few(entry: &Entry, count: usize) -> bool {
    let set = SetRef::of(entry);
    matches!(set, SetRef::Table(_)) && (set.len() - count).saturating_mul(POPPED_FOR_ONE_LEFT) <= count
}

/// Removes all members of a table except `left` random ones, and calls `see` with each removed one. The remaining ones
/// become a packed set again if they fit.
pub fn pop_all_but(
    entry: &mut Entry,
    left: usize,
    shapes: &Shapes,
    random: &mut Random,
    see: &mut impl FnMut(&[u8]),
) -> Debris {
    let table = table_mut(entry);
    let kept: Vec<Member> = (0..left).map(|_| table.pop(random)).collect();
    table.members().iter().for_each(|member| see(member.bytes()));
    let popped = std::mem::replace(table, MemberTable::with_capacity(0, shapes.seed));
    entry.set_packed(Encoding::Listpack, &listpack::EMPTY);
    for member in &kept {
        add(entry, member.bytes(), shapes);
    }
    if popped.is_large() { Some(Box::new(popped)) } else { None }
}

/// Converts an intset to a listpack.
fn to_listpack(entry: &mut Entry) {
    let set = Intset::new(entry.packed());
    let mut builder = listpack::Builder::with_capacity(set.len() * 12);
    for value in set {
        builder.push(value);
    }
    entry.set_packed(Encoding::Listpack, &builder.finish());
}

/// Converts a packed set to a table with room for `additional` more members.
fn to_table(entry: &mut Entry, additional: usize, shapes: &Shapes) {
    let set = SetRef::of(entry);
    let mut table = MemberTable::with_capacity(set.len() + additional, shapes.seed);
    let mut digits = Vec::new();
    for member in set.members() {
        table.add(bytes_of(member, &mut digits));
    }
    entry.set_container(table);
}

fn table_mut(entry: &mut Entry) -> &mut MemberTable {
    entry.container_mut().expect("a set that is not packed is a table")
}

/// The bytes of a member; those of an integer are written to `digits`.
#[inline]
pub fn bytes_of<'a>(member: Text<'a>, digits: &'a mut Vec<u8>) -> &'a [u8] {
    match member {
        Text::Bytes(bytes) => bytes,
        Text::Int(value) => {
            digits.clear();
            number::push_i64(digits, value);
            digits
        }
    }
}

/// A set, for reading.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Integers, ascending.
    Intset(Intset<'a>),
    /// Few members.
    Listpack(Listpack<'a>),
    /// Many.
    Table(&'a MemberTable),
}

impl<'a> SetRef<'a> {
    /// The set in `entry`.
    #[inline]
    pub fn of(entry: &'a Entry) -> SetRef<'a> {
        debug_assert!(entry.kind() == Kind::Set);
        match entry.encoding() {
            Encoding::Intset => SetRef::Intset(Intset::new(entry.packed())),
            Encoding::Listpack => SetRef::Listpack(Listpack::new(entry.packed())),
            _ => SetRef::Table(entry.container().expect("a set that is not packed is a table")),
        }
    }

    /// The number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            SetRef::Intset(set) => set.len(),
            SetRef::Listpack(listpack) => listpack.len(),
            SetRef::Table(table) => table.len(),
        }
    }

    /// Whether the set is empty: true only between the removal of the last member and that of the key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `member` is in the set.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            SetRef::Intset(set) => canonical_i64(member).is_some_and(|value| set.contains(value)),
            SetRef::Listpack(listpack) => listpack.find(listpack::HEADER, &member.into(), 0).is_some(),
            SetRef::Table(table) => table.contains(member),
        }
    }

    /// Whether this set contains a member of another set.
    pub fn contains_text(&self, member: Text<'_>) -> bool {
        match (self, member) {
            (SetRef::Intset(set), Text::Int(value)) => set.contains(value),
            (SetRef::Listpack(listpack), _) => listpack.find(listpack::HEADER, &member.into(), 0).is_some(),
            (_, Text::Bytes(bytes)) => self.contains(bytes),
            (_, Text::Int(value)) => self.contains(number::Decimal::new(value).as_bytes()),
        }
    }

    /// All members: an intset's ascending, a listpack's in insertion order, a table's in no particular order.
    pub fn members(&self) -> Iter<'a> {
        Iter::new(*self)
    }

    /// Returns a random member, each with the same probability.
    pub fn random(&self, random: &mut Random) -> Option<Text<'a>> {
        if self.is_empty() {
            return None;
        }
        match self {
            SetRef::Intset(set) => Some(Text::Int(set.get(random.below(set.len())))),
            SetRef::Listpack(listpack) => {
                let at = listpack.seek(random.below(listpack.len()) as i64)?;
                Some(listpack.get(at))
            }
            SetRef::Table(table) => table.random(random).map(Text::Bytes),
        }
    }

    /// Emits `count` distinct random members, or all if the set has fewer. O(N) for a packed set, or for more than a
    /// third of all members; otherwise O(count).
    pub fn sample_distinct(&self, count: usize, random: &mut Random, emit: &mut impl FnMut(Text<'a>)) {
        let len = self.len();
        let count = count.min(len);
        match self {
            SetRef::Table(table) if is_few(count, len) => {
                let draw = |random: &mut Random| table.random(random).map(|member| (member, member));
                random.draw_distinct(count, draw, |member| emit(Text::Bytes(member)));
            }
            _ => random.select(count, len, self.members(), emit),
        }
    }

    /// Visits some members and returns the next cursor, 0 at the end. A packed set is visited in one call.
    pub fn scan(&self, cursor: u64, visit: &mut impl FnMut(Text<'_>)) -> u64 {
        if let SetRef::Table(table) = self {
            return table.scan(cursor, &mut |bytes| visit(Text::Bytes(bytes)));
        }
        self.members().for_each(visit);
        0
    }
}
