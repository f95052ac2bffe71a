//! A small sorted set: a listpack of alternating members and scores, in order, Redis's format byte for byte.
//!
//! An integral score is stored as an integer (minus zero as zero), any other as its text in replies.

use super::{Applied, How, NotANumber};
use crate::text::number::{parse_f64, push_f64};
use crate::types::listpack::{self, Element, HEADER, Listpack};
use crate::types::packed::Buffer;
use crate::types::string::Text;

/// The score in an element.
#[inline]
pub(super) fn score_of(text: Text<'_>) -> f64 {
    match text {
        Text::Int(value) => value as f64,
        // This module writes only numbers, and bytes from outside are checked.
        Text::Bytes(bytes) => parse_f64(bytes).unwrap_or(0.0),
    }
}

/// Returns an element for `score`; `text` holds its text if it is not integral.
pub(super) fn score_element(score: f64, text: &mut Vec<u8>) -> Element<'_> {
    const WHOLE: f64 = (1u64 << 62) as f64;
    if score.abs() < WHOLE && score.trunc() == score {
        return Element::integer(score as i64);
    }
    text.clear();
    push_f64(text, score);
    Element::from(&text[..])
}

/// Returns the position of `member`, and its score.
#[inline]
pub(super) fn find(listpack: Listpack<'_>, member: &Element<'_>) -> Option<(usize, f64)> {
    let at = listpack.find(HEADER, member, 1)?;
    let score = listpack.next(at)?;
    Some((at, score_of(listpack.get(score))))
}

/// Returns the position at which an element with this member and score belongs.
fn place(listpack: Listpack<'_>, member: &[u8], score: f64) -> usize {
    let is_before = |(other, at): (Text<'_>, Text<'_>)| {
        let at = score_of(at);
        at < score || (at == score && other.with_bytes(|other| other < member))
    };
    let mut pairs = listpack.pairs();
    // Scores that only grow, such as times, belong at the end.
    if pairs.clone().next_back().is_none_or(is_before) {
        return listpack.end();
    }
    loop {
        let at = pairs.front();
        if !pairs.next().is_some_and(is_before) {
            return at;
        }
    }
}

/// Inserts a new member.
pub(super) fn insert(buffer: &mut impl Buffer, member: &[u8], score: f64) {
    let at = place(Listpack::new(buffer.bytes()), member, score);
    let mut text = Vec::new();
    listpack::insert(buffer, at, &[member.into(), score_element(score, &mut text)]);
}

/// Changes the score of the member at `at`.
fn rescore(buffer: &mut impl Buffer, at: usize, member: &[u8], score: f64) {
    let listpack = Listpack::new(buffer.bytes());
    // In place if both neighbours stay on their sides.
    let is_after = |other: usize| {
        let (text, at) = (listpack.get(other), listpack.next(other).map(|at| score_of(listpack.get(at))));
        at.is_some_and(|at| score < at || (score == at && text.with_bytes(|text| member < text)))
    };
    let score_at = listpack.next(at).expect("a member has a score");
    let before = listpack.previous(at).and_then(|score| listpack.previous(score));
    let after = listpack.next(score_at);
    if before.is_none_or(|before| !is_after(before)) && after.is_none_or(is_after) {
        let mut text = Vec::new();
        return listpack::replace(buffer, score_at, score_element(score, &mut text));
    }
    listpack::remove(buffer, at, 2);
    insert(buffer, member, score);
}

/// Changes or adds a member; `None` if it would have to be added and `fits` is false.
pub(super) fn apply(
    buffer: &mut impl Buffer,
    member: &[u8],
    score: f64,
    how: How,
    fits: impl FnOnce(Listpack<'_>) -> bool,
) -> Result<Option<Applied>, NotANumber> {
    let listpack = Listpack::new(buffer.bytes());
    if let Some((at, old)) = find(listpack, &member.into()) {
        let applied = how.to_old(old, score)?;
        if let Applied::Changed(score) = applied {
            rescore(buffer, at, member, score);
        }
        return Ok(Some(applied));
    }
    if how.only_old {
        return Ok(Some(Applied::Refused));
    }
    if !fits(listpack) {
        return Ok(None);
    }
    insert(buffer, member, score);
    Ok(Some(Applied::Added(score)))
}

/// Removes `member` and returns its score, if the set has it.
pub(super) fn remove(buffer: &mut impl Buffer, member: &[u8]) -> Option<f64> {
    let (at, score) = find(Listpack::new(buffer.bytes()), &member.into())?;
    listpack::remove(buffer, at, 2);
    Some(score)
}

/// Elements in order or backwards.
#[derive(Clone)]
pub(super) struct PackedElements<'a> {
    elements: listpack::Iter<'a>,
    left: usize,
    backwards: bool,
}

impl<'a> PackedElements<'a> {
    /// The `count` elements from rank `from` on, or backwards from it.
    pub(super) fn new(
        listpack: Listpack<'a>,
        from: usize,
        count: usize,
        backwards: bool,
    ) -> PackedElements<'a> {
        let (first, end) = (listpack.first().unwrap_or(HEADER), listpack.end());
        let at = |index: usize| listpack.seek(index as i64).unwrap_or(end);
        let pairs = match (count, backwards) {
            (0, _) => listpack.range(end, end),
            (_, false) => listpack.range(at(2 * from), end),
            (_, true) => listpack.range(first, at(2 * from + 2)),
        };
        PackedElements { elements: pairs, left: count, backwards }
    }
}

impl<'a> Iterator for PackedElements<'a> {
    type Item = (Text<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Text<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        if self.backwards {
            let score = self.elements.next_back()?;
            return Some((self.elements.next_back()?, score_of(score)));
        }
        let member = self.elements.next()?;
        Some((member, score_of(self.elements.next()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
