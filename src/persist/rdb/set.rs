//! A set: packed as it is in memory, or member by member.
//!
//! ```text
//!  20  a listpack
//!  11  an intset
//!   2  members, then each
//! ```

use super::growing::Decoder;
use super::{Encoder, Input, LoadError, Sink, Target, types};
use crate::types::intset::{self, Intset};
use crate::types::listpack::{self, Listpack};
use crate::types::set::{self, SetRef};
use crate::types::{Encoding, Entry, Kind, Shapes, Text};

pub(super) fn type_of(entry: &Entry) -> u8 {
    match entry.encoding() {
        Encoding::Intset => types::SET_INTSET,
        Encoding::Listpack => types::SET_LISTPACK,
        _ => types::SET,
    }
}

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    if entry.is_packed() {
        return match entry.encoding() {
            Encoding::Intset => out.string(Intset::whole(entry.packed())),
            _ => out.listpack(entry.packed()),
        };
    }
    save_members(entry, out);
}

/// Type 2.
pub(super) fn save_members(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    let set = SetRef::of(entry);
    out.counted(set.len(), set.members(), Encoder::text);
}

/// Type 11.
pub(super) fn load_intset(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let bytes = input.string()?.into_bytes();
    if !intset::is_valid(&bytes) {
        return Err(LoadError::Malformed("a bad intset"));
    }
    let set = Intset::new(&bytes);
    if set.is_empty() {
        return Err(LoadError::EMPTY);
    }
    if set.len() > target.shapes.set_max_intset_entries {
        return Members::collect(set.iter().map(Text::Int), set.len(), target);
    }
    Ok(Entry::with_packed(target.key, Kind::Set, Encoding::Intset, &bytes, target.expire_at))
}

/// Type 20.
pub(super) fn load_listpack(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let bytes = input.string()?.into_bytes();
    let bytes = listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?;
    let set = Listpack::new(&bytes);
    if set.is_empty() {
        return Err(LoadError::EMPTY);
    }
    if set.len() > target.shapes.set_max_listpack_entries {
        return Members::collect(set.iter(), set.len(), target);
    }
    if listpack::has_duplicates(set, 1) {
        return Err(LoadError::DUPLICATE);
    }
    Ok(Entry::with_packed(target.key, Kind::Set, Encoding::Listpack, &bytes, target.expire_at))
}

/// A set under construction, member by member (type 2), in the encoding for its number of members.
pub(super) struct Members {
    entry: Option<Entry>,
    expected: usize,
    left: u64,
}

impl Members {
    /// Begins a set of type 2.
    pub(super) fn begin(input: &mut impl Input, target: Target<'_>) -> Result<Members, LoadError> {
        let count = input.length()?;
        Ok(Members::new(count, input.reservable(count, MEMBER), target))
    }

    /// Begins a set of `count` members, as claimed by the input, with room for `room` of them.
    fn new(count: u64, room: usize, target: Target<'_>) -> Members {
        let Shapes { set_max_intset_entries, set_max_listpack_entries, .. } = *target.shapes;
        let more_than_packed = set_max_intset_entries.max(set_max_listpack_entries).saturating_add(1);
        let expected = usize::try_from(count).unwrap_or(usize::MAX).min(more_than_packed.max(room));
        Members { entry: None, expected, left: count }
    }

    /// Makes a set of all `members`, of which there are `count`.
    fn collect<'t>(
        members: impl Iterator<Item = Text<'t>>,
        count: usize,
        target: Target<'_>,
    ) -> Result<Entry, LoadError> {
        let mut all = Members::new(count as u64, count, target);
        for member in members {
            member.with_bytes(|member| all.add(member, target))?;
        }
        all.finish(target)
    }

    fn add(&mut self, member: &[u8], target: Target<'_>) -> Result<(), LoadError> {
        let Target { key, shapes, .. } = target;
        let entry = self.entry.get_or_insert_with(|| set::create(key, member, self.expected, shapes));
        if set::add(entry, member, shapes) { Ok(()) } else { Err(LoadError::DUPLICATE) }
    }
}

impl Decoder for Members {
    fn is_complete(&self) -> bool {
        self.left == 0
    }

    fn step(&mut self, input: &mut impl Input, target: Target<'_>) -> Result<(), LoadError> {
        self.left -= 1;
        self.add(&input.string()?.into_bytes(), target)
    }

    fn finish(self, target: Target<'_>) -> Result<Entry, LoadError> {
        let mut entry = self.entry.ok_or(LoadError::EMPTY)?;
        entry.set_expire(target.expire_at);
        Ok(entry)
    }
}

/// The minimum size of a member of a large set in bytes, approximately.
const MEMBER: u64 = 4;
