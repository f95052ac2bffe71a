//! A hash: packed as it is in memory, or field by field; with the times of expiring fields.
//!
//! ```text
//!  16  a listpack of fields and values
//!   4  fields, then for each: field, value
//!  25  the next time 8, a listpack of fields, values and times                       (7.4)
//!  24  the next time 8, fields, then for each: time, field, value                    (7.4)
//!      0: no time; otherwise the time relative to the next one, which is 1
//!  13  a ziplist of fields and values                                                (before 7.0)
//!   9  a zipmap                                                                      (before 2.6)
//! ```
//!
//! Expired fields are written and read like others; the keyspace that has the key deletes them.

use super::{Encoder, Input, LoadError, Sink, Target, types, ziplist};
use crate::types::hash::{self, Condition, FieldExpiry, Hash, HashMut, HashRef, LATEST_MS};
use crate::types::listpack::{self, Listpack};
use crate::types::{Encoding, Entry, Kind, Text};

/// A time before every field's expiry.
const BEFORE_ALL: i64 = i64::MIN;

/// The minimum size of a field with its value in bytes, approximately.
const FIELD: u64 = 6;

pub(super) fn type_of(entry: &Entry) -> u8 {
    match entry.encoding() {
        Encoding::Listpack => types::HASH_LISTPACK,
        Encoding::ListpackEx => types::HASH_LISTPACK_EX,
        _ if hash::next_deadline(entry).is_some() => types::HASH_METADATA,
        _ => types::HASH,
    }
}

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    let next = hash::next_deadline(entry);
    if entry.encoding() == Encoding::ListpackEx || next.is_some() {
        out.raw(&next.unwrap_or(0).to_le_bytes());
    }
    if entry.is_packed() {
        return out.listpack(entry.packed());
    }
    let fields = HashRef::new(entry, BEFORE_ALL);
    out.counted(fields.len(), fields.iter(), |out, item| {
        if let Some(next) = next {
            assert!(
                item.expire_at.is_none_or(|at| at >= next),
                "no field expires before the first that does"
            );
            out.length(item.expire_at.map_or(0, |at| (at - next) as u64 + 1));
        }
        out.text(item.field);
        out.text(item.value);
    });
}

/// Writes type 4, with only the fields that have not expired at `now`, and without their expiry times.
pub(super) fn save_live(entry: &Entry, now: i64, out: &mut Encoder<'_, impl Sink>) {
    let fields = HashRef::new(entry, now);
    out.counted(fields.len(), fields.iter(), |out, item| {
        out.text(item.field);
        out.text(item.value);
    });
}

/// The number of fields that have not expired at `now`.
pub(super) fn live_fields(entry: &Entry, now: i64) -> usize {
    HashRef::new(entry, now).len()
}

/// Type 4.
pub(super) fn load_fields(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let count = input.length()?;
    let mut fields = Fields::new(count, input.reservable(count, FIELD), target);
    for _ in 0..count {
        let field = input.string()?.into_bytes().into_owned();
        fields.add(&field, &input.string()?.into_bytes(), None)?;
    }
    fields.finish()
}

/// Type 24.
pub(super) fn load_timed_fields(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let next = i64::from_le_bytes(input.array()?);
    let count = input.length()?;
    let mut fields = Fields::new(count, input.reservable(count, FIELD), target);
    for _ in 0..count {
        let time = match input.length()? {
            0 => None,
            after => {
                let after = i64::try_from(after - 1).ok();
                Some(after.and_then(|after| next.checked_add(after)).ok_or(BAD_TIME)?)
            }
        };
        let field = input.string()?.into_bytes().into_owned();
        fields.add(&field, &input.string()?.into_bytes(), time)?;
    }
    fields.finish()
}

/// Type 16.
pub(super) fn load_listpack(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let bytes = input.string()?.into_bytes();
    packed(&listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?, target)
}

/// Type 25.
pub(super) fn load_timed_listpack(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    // The earliest expiry; it also follows from the fields.
    input.array::<8>()?;
    let bytes = input.string()?.into_bytes();
    let bytes = listpack::normalize(&bytes).map_err(|_| LoadError::Malformed("a bad listpack"))?;
    let pack = Listpack::new(&bytes);
    if !pack.len().is_multiple_of(3) {
        return Err(LoadError::Malformed("a field without a value or expiry"));
    }
    let mut fields = Fields::new(pack.len() as u64 / 3, pack.len() / 3, target);
    HashMut::new(&mut fields.entry, target.shapes, BEFORE_ALL).allow_expiries();
    let mut elements = pack.iter();
    while let (Some(field), Some(value), Some(time)) = (elements.next(), elements.next(), elements.next()) {
        let time = match time {
            Text::Int(0) => None,
            Text::Int(time) => Some(time),
            Text::Bytes(_) => return Err(BAD_TIME),
        };
        field.with_bytes(|field| value.with_bytes(|value| fields.add(field, value, time)))?;
    }
    fields.finish()
}

/// Type 13.
pub(super) fn load_ziplist(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    packed(&ziplist::to_listpack(&input.string()?.into_bytes())?, target)
}

/// Type 9.
pub(super) fn load_zipmap(input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let bytes = ziplist::zipmap_to_listpack(&input.string()?.into_bytes())?;
    // Redis applies `hash-max-listpack-value` only when loading this type.
    unpacked(Listpack::new(&bytes), target)
}

const BAD_TIME: LoadError = LoadError::Malformed("an invalid field expiry");

fn packed(bytes: &[u8], target: Target<'_>) -> Result<Entry, LoadError> {
    let pack = Listpack::new(bytes);
    if pack.is_empty() {
        return Err(LoadError::EMPTY);
    }
    if !pack.len().is_multiple_of(2) {
        return Err(LoadError::Malformed("a field without value"));
    }
    if pack.len() / 2 <= target.shapes.hash_max_listpack_entries {
        if listpack::has_duplicates(pack, 2) {
            return Err(LoadError::DUPLICATE);
        }
        return Ok(Entry::with_packed(target.key, Kind::Hash, Encoding::Listpack, bytes, target.expire_at));
    }
    unpacked(pack, target)
}

/// Makes a hash of the fields and values of a listpack, in the encoding for their number and lengths.
fn unpacked(pack: Listpack<'_>, target: Target<'_>) -> Result<Entry, LoadError> {
    let mut fields = Fields::new(pack.len() as u64 / 2, pack.len() / 2, target);
    for (field, value) in pack.pairs() {
        field.with_bytes(|field| value.with_bytes(|value| fields.add(field, value, None)))?;
    }
    fields.finish()
}

/// A hash under construction, in the encoding for its number of fields.
struct Fields<'a> {
    entry: Entry,
    target: Target<'a>,
}

impl<'a> Fields<'a> {
    /// Begins a hash of `count` fields, as claimed by the input, with room for `room` of them.
    fn new(count: u64, room: usize, target: Target<'a>) -> Self {
        let entry = if count > target.shapes.hash_max_listpack_entries as u64 {
            Entry::with_container(target.key, Hash::new(target.shapes.seed, room), None)
        } else {
            hash::create(target.key, target.shapes, 0, std::iter::empty())
        };
        Fields { entry, target }
    }

    fn add(&mut self, field: &[u8], value: &[u8], time: Option<i64>) -> Result<(), LoadError> {
        let mut hash = HashMut::new(&mut self.entry, self.target.shapes, BEFORE_ALL);
        if !hash.set(field, Text::Bytes(value), None, FieldExpiry::Remove) {
            return Err(LoadError::DUPLICATE);
        }
        match time {
            Some(time) if !(1..=LATEST_MS).contains(&time) => Err(BAD_TIME),
            Some(time) => {
                hash.set_expiry(field, time, Condition::Always);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Entry, LoadError> {
        if HashMut::new(&mut self.entry, self.target.shapes, BEFORE_ALL).is_empty() {
            return Err(LoadError::EMPTY);
        }
        self.entry.set_expire(self.target.expire_at);
        Ok(self.entry)
    }
}
