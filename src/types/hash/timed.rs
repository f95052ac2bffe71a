//! The packed form of a hash with fields that expire (`listpackex`): a listpack of triples of field, value and time.
//!
//! ```text
//!  [ field | value | time | field | value | time | … | field | value | 0 | field | value | 0 ]
//!    expires first          expires next               never              never
//! ```
//!
//! As in Redis, fields that expire come first, ordered by their times, so that the fields that are due are at the front.
//! Times are Unix milliseconds; 0 means none.

use crate::types::listpack::{self, Element, HEADER, Listpack};
use crate::types::packed::Buffer;
use crate::types::string::Text;

/// The elements per field.
pub(super) const TRIPLE: usize = 3;

/// The offsets of a field's three elements, and of the element after them.
pub(super) struct Triple {
    pub(super) field: usize,
    pub(super) value: usize,
    pub(super) time: usize,
    pub(super) end: usize,
}

/// Returns the listpack of triples, without times, for a listpack of pairs.
pub(super) fn from_pairs(pairs: Listpack<'_>) -> Vec<u8> {
    let mut builder = listpack::Builder::with_capacity(pairs.bytes().len() + pairs.len());
    for (field, value) in pairs.pairs() {
        builder.push(field);
        builder.push(value);
        builder.push(0);
    }
    builder.finish()
}

fn triple_at(triples: Listpack<'_>, field: usize) -> Triple {
    let next = |at| triples.next(at).expect("a field has three elements");
    let value = next(field);
    let time = next(value);
    Triple { field, value, time, end: triples.next(time).unwrap_or(triples.end()) }
}

/// The field with this name, expired or not.
pub(super) fn find(triples: Listpack<'_>, name: &Element<'_>) -> Option<Triple> {
    triples.find(HEADER, name, TRIPLE - 1).map(|at| triple_at(triples, at))
}

/// The time in the element at `at`.
pub(super) fn time_at(triples: Listpack<'_>, at: usize) -> Option<i64> {
    time_of(triples.get(at))
}

pub(super) fn time_of(text: Text<'_>) -> Option<i64> {
    match text {
        Text::Int(time) if time != 0 => Some(time),
        _ => None,
    }
}

/// The expiry time of the next field to expire, which is the first.
pub(super) fn next_deadline(triples: Listpack<'_>) -> Option<i64> {
    let first = triples.first()?;
    time_at(triples, triple_at(triples, first).time)
}

/// The number of fields that have expired by `now`, and the offset of their end.
pub(super) fn due(triples: Listpack<'_>, now: i64) -> (usize, usize) {
    let (mut count, mut at) = (0, triples.first());
    while let Some(field) = at {
        let triple = triple_at(triples, field);
        if time_at(triples, triple.time).is_none_or(|time| time >= now) {
            return (count, field);
        }
        count += 1;
        at = triples.next(triple.time);
    }
    (count, triples.end())
}

/// Inserts a new field after those that expire no later.
pub(super) fn insert(buffer: &mut impl Buffer, name: &Element<'_>, value: &Element<'_>, time: Option<i64>) {
    let triples = Listpack::new(buffer.bytes());
    let place = match time {
        None => triples.end(),
        Some(time) => {
            let mut at = triples.first();
            loop {
                let Some(field) = at else { break triples.end() };
                let here = triple_at(triples, field).time;
                if time_at(triples, here).is_none_or(|other| other > time) {
                    break field;
                }
                at = triples.next(here);
            }
        }
    };
    listpack::insert(buffer, place, &[*name, *value, Element::integer(time.unwrap_or(0))]);
}

/// Removes a field.
pub(super) fn remove(buffer: &mut impl Buffer, triple: &Triple) {
    listpack::remove_span(buffer, triple.field, triple.end, TRIPLE);
}

/// Changes a field's time, and so its position.
pub(super) fn set_time(buffer: &mut impl Buffer, name: &Element<'_>, triple: &Triple, time: Option<i64>) {
    let triples = Listpack::new(buffer.bytes());
    if time_at(triples, triple.time) == time {
        return;
    }
    // A copy of the value, which is about to move.
    let value = triples.get(triple.value).to_vec();
    remove(buffer, triple);
    insert(buffer, name, &Element::from(&value[..]), time);
}

/// Removes the fields that have expired by `now`, calls `gone` with each, and returns their number.
pub(super) fn expire_due(buffer: &mut impl Buffer, now: i64, gone: &mut impl FnMut(Text<'_>)) -> usize {
    let triples = Listpack::new(buffer.bytes());
    let (count, end) = due(triples, now);
    let mut at = triples.first();
    for _ in 0..count {
        let Some(field) = at else { break };
        gone(triples.get(field));
        at = triples.next(triple_at(triples, field).time);
    }
    if count > 0 {
        listpack::remove_span(buffer, HEADER, end, count * TRIPLE);
    }
    count
}
