//! A sorted set: packed as it is in memory, or as members with scores, from the last to the first.
//!
//! ```text
//!  17  a listpack of members and scores
//!   5  elements, then for each: member, score 8
//!  12  a ziplist of members and scores         (before 7.0)
//!   3  elements, then for each: member, digits (before 4.0)
//! ```

use super::growing::Decoder;
use super::{Encoder, Input, LoadError, Sink, Target, types, ziplist};
use crate::text::number;
use crate::types::listpack::{self, Listpack};
use crate::types::sorted_set::{self, Arriving, SortedSetRef, is_packed_sorted_set};
use crate::types::{Encoding, Entry, Kind, Text};

/// The minimum size of a member with its score in bytes, approximately.
const ELEMENT: u64 = 10;

pub(super) fn type_of(entry: &Entry) -> u8 {
    if entry.is_packed() { types::ZSET_LISTPACK } else { types::ZSET_2 }
}

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    if entry.is_packed() {
        return out.listpack(entry.packed());
    }
    let set = SortedSetRef::of(entry);
    out.counted(set.len(), set.span(0..set.len(), true), |out, (member, score)| {
        assert!(!score.is_nan(), "a score is a number");
        out.text(member);
        out.raw(&score.to_le_bytes());
    });
}

/// How a score is written.
#[derive(Clone, Copy)]
pub(super) enum ScoreForm {
    /// Type 5: eight bytes.
    Binary,
    /// Type 3: digits.
    Printed,
}

/// A sorted set under construction, element by element (types 5 and 3).
pub(super) struct Elements {
    set: Arriving,
    form: ScoreForm,
    left: u64,
}

impl Elements {
    /// Begins a sorted set.
    pub(super) fn begin(
        form: ScoreForm,
        input: &mut impl Input,
        target: Target<'_>,
    ) -> Result<Elements, LoadError> {
        let left = input.length()?;
        let set = Arriving::with_room(target.shapes.seed, input.reservable(left, ELEMENT));
        Ok(Elements { set, form, left })
    }
}

impl Decoder for Elements {
    fn is_complete(&self) -> bool {
        self.left == 0
    }

    fn step(&mut self, input: &mut impl Input, _: Target<'_>) -> Result<(), LoadError> {
        self.left -= 1;
        let member = input.string()?.into_bytes().into_owned();
        let score = match self.form {
            ScoreForm::Binary => input.array().map(f64::from_le_bytes)?,
            ScoreForm::Printed => printed_score(input)?,
        };
        add(&mut self.set, &member, score)
    }

    fn finish(self, target: Target<'_>) -> Result<Entry, LoadError> {
        finish(self.set, target)
    }
}

/// Reads the digits of a type 3 score: a byte with their number, or a special value in its place.
fn printed_score(input: &mut impl Input) -> Result<f64, LoadError> {
    match input.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Ok(f64::NAN),
        len => number::parse_f64(input.bytes(len.into())?)
            .ok_or(LoadError::Malformed("a score that is not a number")),
    }
}

/// Type 17.
pub(super) fn load_listpack(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let bytes = input.string()?.into_bytes();
    let bytes = listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?;
    packed(&bytes, target)
}

/// Type 12.
pub(super) fn load_ziplist(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    packed(&ziplist::to_listpack(&input.string()?.into_bytes())?, target)
}

fn packed(bytes: &[u8], target: Target<'_>) -> Result<Entry, LoadError> {
    let pack = Listpack::new(bytes);
    if pack.is_empty() {
        return Err(LoadError::EMPTY);
    }
    if !pack.len().is_multiple_of(2) || !pack.pairs().all(|(_, score)| is_number(score)) {
        return Err(LoadError::Malformed("a member without score"));
    }
    if listpack::has_duplicates(pack, 2) {
        return Err(LoadError::DUPLICATE);
    }
    let entry = Entry::with_packed(target.key, Kind::SortedSet, Encoding::Listpack, bytes, target.expire_at);
    let set = SortedSetRef::of(&entry);
    // Out of order it is still a sorted set, but cannot stay packed.
    if set.len() <= target.shapes.zset_max_listpack_entries && is_packed_sorted_set(pack) && in_order(set) {
        return Ok(entry);
    }
    let mut large = Arriving::with_room(target.shapes.seed, set.len());
    for (member, score) in set.span(0..set.len(), true) {
        member.with_bytes(|member| add(&mut large, member, score))?;
    }
    finish(large, target)
}

fn is_number(score: Text<'_>) -> bool {
    match score {
        Text::Int(_) => true,
        Text::Bytes(bytes) => number::parse_f64(bytes).is_some(),
    }
}

/// Whether the members are in order, including those with equal scores.
fn in_order(set: SortedSetRef<'_>) -> bool {
    let mut before: Option<(Vec<u8>, f64)> = None;
    set.iter().all(|(member, score)| {
        let member = member.to_vec();
        let right = before.as_ref().is_none_or(|(last, of)| *of < score || *last < member);
        before = Some((member, score));
        right
    })
}

fn add(set: &mut Arriving, member: &[u8], score: f64) -> Result<(), LoadError> {
    if score.is_nan() {
        return Err(LoadError::Malformed("a score that is not a number"));
    }
    if set.add(member, score) { Ok(()) } else { Err(LoadError::DUPLICATE) }
}

fn finish(set: Arriving, target: Target<'_>) -> Result<Entry, LoadError> {
    let entry = sorted_set::create_from(target.key, set.finish(), target.shapes);
    let mut entry = entry.ok_or(LoadError::EMPTY)?;
    entry.set_expire(target.expire_at);
    Ok(entry)
}
