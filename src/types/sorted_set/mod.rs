//! Sorted sets: how `ZADD`, `ZRANGE` and related commands read and change an entry, in either of two encodings.
//!
//! | encoding | for | stored as |
//! |---|---|---|
//! | `listpack` | up to `zset-max-listpack-entries` members of at most `zset-max-listpack-value` bytes | members and scores in turn, in order, packed |
//! | `skiplist` | the rest | a [`SortedSet`]: a dict of members and a B+ tree of their order |
//!
//! The second one has the name that Redis shows for a large sorted set. A sorted set only moves down this list; as in
//! Redis, it does not move back when it shrinks, but a command that stores a sorted set uses the encoding that fits.
//! [`SortedSetRef`] reads both, [`apply`] and [`remove`] change them.
//!
//! Every range is a span of ranks. Two searches convert a range of scores or members to one, and from there on
//! counting, paging, removing and walking are the same for all ranges.
//!
//! | file | contents |
//! |---|---|
//! | `packed` | the small form |
//! | `large` | the large form: [`SortedSet`], and [`Gather`], which builds one from many elements at once |
//! | `arriving` | [`Arriving`], which builds one element by element, fastest from the last to the first |
//! | `element` | a member and its score in one block |
//! | `tree`, `node`, `leaf`, `walk` | their order: a B+ tree with counts |
//! | `range` | ranges of scores and of members |

mod arriving;
mod element;
mod iter;
mod large;
mod leaf;
mod node;
mod packed;
mod range;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use arriving::Arriving;
pub use iter::Elements;
pub use large::{GROUP, Gather, SortedSet};
pub use range::{LexBound, LexRange, ScoreRange};

use std::ops::Range;

use super::container::Debris;
use super::listpack::{self, HEADER, Listpack};
use super::random::{Random, is_few};
use super::string::Text;
use super::{Encoding, Entry, Kind, Shapes};
use crate::text::number;

/// The error for the sum of opposite infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANumber;

/// How a score is applied: the flags of `ZADD`.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Only add new members (`NX`).
    pub only_new: bool,
    /// Only update existing members (`XX`).
    pub only_old: bool,
    /// Only raise the score of an existing member (`GT`).
    pub only_greater: bool,
    /// Only lower the score of an existing member (`LT`).
    pub only_less: bool,
    /// Add the score to the current one (`INCR`).
    pub add: bool,
}

/// The outcome of applying a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Applied {
    /// A flag forbade it.
    Refused,
    /// The member was added with this score.
    Added(f64),
    /// The score was changed to this one.
    Changed(f64),
    /// The score was already equal (as zero and minus zero are); this is the requested one.
    Same(f64),
}

impl How {
    /// The outcome for an existing member with the score `old`.
    #[inline]
    fn to_old(self, old: f64, score: f64) -> Result<Applied, NotANumber> {
        if self.only_new {
            return Ok(Applied::Refused);
        }
        let score = if self.add { old + score } else { score };
        if score.is_nan() {
            return Err(NotANumber);
        }
        if (self.only_less && score >= old) || (self.only_greater && score <= old) {
            return Ok(Applied::Refused);
        }
        Ok(if score == old { Applied::Same(score) } else { Applied::Changed(score) })
    }
}

/// Returns an empty sorted set under `key`, for `expected` elements, the first of which has a member of `member_len`
/// bytes.
pub fn create(key: &[u8], member_len: usize, expected: usize, shapes: &Shapes) -> Entry {
    if expected > shapes.zset_max_listpack_entries || member_len > shapes.zset_max_listpack_value {
        return Entry::with_container(key, SortedSet::new(shapes.seed), None);
    }
    Entry::with_packed(key, Kind::SortedSet, Encoding::Listpack, &listpack::EMPTY, None)
}

/// Prepares a sorted set for `additional` elements, whether or not they are new or accepted: it takes the large form if
/// they alone would outgrow the packed one.
pub fn expect(entry: &mut Entry, additional: usize, shapes: &Shapes) {
    if additional > shapes.zset_max_listpack_entries {
        to_large(entry, shapes);
    }
}

/// Returns an entry with the elements of `set` under `key`, in the encoding that fits; `None` if there are none.
pub fn create_from(key: &[u8], set: SortedSet, shapes: &Shapes) -> Option<Entry> {
    if set.is_empty() {
        return None;
    }
    let fits = set.len() <= shapes.zset_max_listpack_entries
        && set.iter().all(|(member, _)| member.len() <= shapes.zset_max_listpack_value);
    if !fits {
        return Some(Entry::with_container(key, set, None));
    }
    let mut builder = listpack::Builder::with_capacity(set.len() * 16);
    let mut text = Vec::new();
    for (member, score) in set.iter() {
        builder.push(member);
        builder.push(packed::score_element(score, &mut text));
    }
    Some(Entry::with_packed(key, Kind::SortedSet, Encoding::Listpack, &builder.finish(), None))
}

/// Adds `member` or changes its score, as the flags allow. The score must not be NaN.
#[inline]
pub fn apply(
    entry: &mut Entry,
    member: &[u8],
    score: f64,
    how: How,
    shapes: &Shapes,
) -> Result<Applied, NotANumber> {
    if entry.encoding() == Encoding::Listpack {
        let fits = |listpack: Listpack<'_>| {
            listpack.len() / 2 < shapes.zset_max_listpack_entries
                && member.len() <= shapes.zset_max_listpack_value
                && listpack::fits(listpack.bytes(), member.len())
        };
        if let Some(applied) = packed::apply(&mut entry.packed_mut(), member, score, how, fits)? {
            return Ok(applied);
        }
        to_large(entry, shapes);
    }
    large_mut(entry).apply(member, score, how)
}

/// Removes `member` and returns its score, if the set has it. If it was the last one, the caller deletes the entry.
pub fn remove(entry: &mut Entry, member: &[u8]) -> Option<f64> {
    match entry.encoding() {
        Encoding::Listpack => packed::remove(&mut entry.packed_mut(), member),
        _ => large_mut(entry).remove(member),
    }
}

/// Removes the elements of these ranks, all of which must exist.
pub fn remove_span(entry: &mut Entry, span: Range<usize>) -> Debris {
    match entry.encoding() {
        Encoding::Listpack => {
            listpack::remove_indices(&mut entry.packed_mut(), 2 * span.start as i64, 2 * span.len());
            None
        }
        _ => large_mut(entry).remove_range(span.start, span.end),
    }
}

/// Converts a sorted set to the large form, if it is packed.
pub fn to_large(entry: &mut Entry, shapes: &Shapes) {
    if entry.encoding() != Encoding::Listpack {
        return;
    }
    let packed = SortedSetRef::of(entry);
    let mut gather = Gather::with_room(shapes.seed, packed.len() + 1);
    for (member, score) in packed.iter() {
        member.with_bytes(|member| gather.insert(gather.hash(member), member, score));
    }
    entry.set_container(gather.finish());
}

fn large_mut(entry: &mut Entry) -> &mut SortedSet {
    entry.container_mut().expect("a sorted set that is not packed is a tree")
}

/// Whether a checked listpack from outside is a sorted set: pairs, each score a number, in order.
pub fn is_packed_sorted_set(listpack: Listpack<'_>) -> bool {
    let scores = || listpack.iter().skip(1).step_by(2);
    let is_number = |text: Text<'_>| match text {
        Text::Int(_) => true,
        Text::Bytes(bytes) => number::parse_f64(bytes).is_some(),
    };
    listpack.len().is_multiple_of(2)
        && scores().all(is_number)
        && scores().map(packed::score_of).is_sorted()
        && !listpack.is_empty()
}

/// A sorted set, for reading.
#[derive(Clone, Copy)]
pub enum SortedSetRef<'a> {
    /// Few elements.
    Packed(Listpack<'a>),
    /// Many.
    Large(&'a SortedSet),
}

impl<'a> SortedSetRef<'a> {
    /// The sorted set in `entry`.
    #[inline]
    pub fn of(entry: &'a Entry) -> SortedSetRef<'a> {
        debug_assert!(entry.kind() == Kind::SortedSet);
        match entry.encoding() {
            Encoding::Listpack => SortedSetRef::Packed(Listpack::new(entry.packed())),
            _ => SortedSetRef::Large(entry.container().expect("a sorted set that is not packed is a tree")),
        }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            SortedSetRef::Packed(listpack) => listpack.len() / 2,
            SortedSetRef::Large(set) => set.len(),
        }
    }

    /// Whether the sorted set is empty: true only between the removal of the last element and that of the key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of `member`.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSetRef::Packed(listpack) => packed::find(*listpack, &member.into()).map(|(_, score)| score),
            SortedSetRef::Large(set) => set.score(member),
        }
    }

    /// The rank of `member`, that is, the number of elements before it, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            SortedSetRef::Packed(listpack) => {
                let (at, score) = packed::find(*listpack, &member.into())?;
                Some((listpack.range(HEADER, at).count() / 2, score))
            }
            SortedSetRef::Large(set) => set.rank(member),
        }
    }

    /// All elements, in order.
    pub fn iter(&self) -> Elements<'a> {
        self.range(0, self.len(), false)
    }

    /// Returns the `count` elements from rank `from` on, or backwards from it. The set must have that many.
    #[inline]
    pub fn range(&self, from: usize, count: usize, backwards: bool) -> Elements<'a> {
        Elements::new(*self, from, count, backwards)
    }

    /// Returns the elements of these ranks, all of which must exist, in order or backwards.
    #[inline]
    pub fn span(&self, span: Range<usize>, backwards: bool) -> Elements<'a> {
        let from = if backwards { span.end.saturating_sub(1) } else { span.start };
        self.range(from, span.len(), backwards)
    }

    /// The ranks of the elements whose scores lie in `range`.
    pub fn score_span(&self, range: &ScoreRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match self {
            SortedSetRef::Packed(_) => {
                let scores = || self.iter().map(|(_, score)| score);
                let from = scores().take_while(|&score| range.is_above(score)).count();
                from..from + scores().skip(from).take_while(|&score| range.reaches(score)).count()
            }
            SortedSetRef::Large(set) => {
                let from = set.partition_scores(|score| range.is_above(score));
                from..set.partition_scores(|score| range.reaches(score)).max(from)
            }
        }
    }

    /// The ranks of the elements whose members lie in `range`, if all scores are equal. Otherwise members are in no
    /// particular order; a small set is then searched from the end that `backwards` selects, as in Redis.
    pub fn lex_span(&self, range: &LexRange<'_>, backwards: bool) -> Range<usize> {
        let len = self.len();
        if range.is_empty() || len == 0 {
            return 0..0;
        }
        let SortedSetRef::Large(set) = self else { return self.packed_lex_span(range, backwards) };
        let from = set.partition_members(|member| range.is_above(member));
        from..set.partition_members(|member| range.reaches(member)).max(from)
    }

    fn packed_lex_span(&self, range: &LexRange<'_>, backwards: bool) -> Range<usize> {
        let len = self.len();
        let is_above = |(member, _): &(Text<'_>, f64)| member.with_bytes(|member| range.is_above(member));
        let reaches = |(member, _): &(Text<'_>, f64)| member.with_bytes(|member| range.reaches(member));
        let all = |backwards| self.range(if backwards { len - 1 } else { 0 }, len, backwards);
        // The range must not lie entirely before the first member or behind the last.
        if all(true).next().is_none_or(|last| is_above(&last))
            || all(false).next().is_none_or(|first| !reaches(&first))
        {
            return 0..0;
        }
        if backwards {
            let end = len - all(true).take_while(|element| !reaches(element)).count();
            let count = all(true).skip(len - end).take_while(|element| !is_above(element)).count();
            return end - count..end;
        }
        let from = all(false).take_while(is_above).count();
        from..from + all(false).skip(from).take_while(reaches).count()
    }

    /// Returns a random element, each with the same probability; `None` if the set is empty.
    pub fn random(&self, random: &mut Random) -> Option<(Text<'a>, f64)> {
        let len = self.len();
        if len == 0 {
            return None;
        }
        self.range(random.below(len), 1, false).next()
    }

    /// Emits `count` distinct random elements, or all if the set has fewer. O(N) for a packed set, or for more than a
    /// third of all elements; otherwise O(log N) each.
    pub fn sample_distinct(&self, count: usize, random: &mut Random, emit: &mut impl FnMut((Text<'a>, f64))) {
        let len = self.len();
        let count = count.min(len);
        if matches!(self, SortedSetRef::Packed(_)) || !is_few(count, len) {
            return random.select(count, len, self.iter(), emit);
        }
        let draw = |random: &mut Random| Some(random.below(len)).map(|rank| (rank, rank));
        random.draw_distinct(count, draw, |rank| self.range(rank, 1, false).for_each(&mut *emit));
    }

    /// Visits some elements and returns the next cursor, 0 at the end. A packed set is visited in one call.
    pub fn scan(&self, cursor: u64, visit: &mut impl FnMut(Text<'_>, f64)) -> u64 {
        if let SortedSetRef::Large(set) = self {
            return set.scan(cursor, &mut |member, score| visit(Text::Bytes(member), score));
        }
        self.iter().for_each(|(member, score)| visit(member, score));
        0
    }
}
