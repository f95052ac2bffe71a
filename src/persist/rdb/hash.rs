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

use super::growing::Decoder;
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
    let mut fields = Fields::new(pack.len() as u64 / 3, pack.len() / 3, None, target);
    HashMut::new(&mut fields.entry, target.shapes, BEFORE_ALL).allow_expiries();
    let mut elements = pack.iter();
    while let (Some(field), Some(value), Some(time)) = (elements.next(), elements.next(), elements.next()) {
        let time = match time {
            Text::Int(0) => None,
            Text::Int(time) => Some(time),
            Text::Bytes(_) => return Err(BAD_TIME),
        };
        field.with_bytes(|field| value.with_bytes(|value| fields.add(field, value, time, target)))?;
    }
    fields.finish(target)
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
    let mut fields = Fields::new(pack.len() as u64 / 2, pack.len() / 2, None, target);
    for (field, value) in pack.pairs() {
        field.with_bytes(|field| value.with_bytes(|value| fields.add(field, value, None, target)))?;
    }
    fields.finish(target)
}

/// A hash under construction, field by field (types 4 and 24), in the encoding for its number of fields.
pub(super) struct Fields {
    entry: Entry,
    left: u64,
    /// The base of the fields' expiry times; `None` if the form has no times.
    next: Option<i64>,
}

impl Fields {
    /// Begins a hash of type 4.
    pub(super) fn begin(input: &mut impl Input, target: Target<'_>) -> Result<Fields, LoadError> {
        Fields::begin_with(None, input, target)
    }

    /// Begins a hash of type 24.
    pub(super) fn begin_timed(input: &mut impl Input, target: Target<'_>) -> Result<Fields, LoadError> {
        let next = i64::from_le_bytes(input.array()?);
        Fields::begin_with(Some(next), input, target)
    }

    fn begin_with(
        next: Option<i64>,
        input: &mut impl Input,
        target: Target<'_>,
    ) -> Result<Fields, LoadError> {
        let count = input.length()?;
        Ok(Fields::new(count, input.reservable(count, FIELD), next, target))
    }

    /// Begins a hash of `count` fields, as claimed by the input, with room for `room` of them.
    fn new(count: u64, room: usize, next: Option<i64>, target: Target<'_>) -> Fields {
        let entry = if count > target.shapes.hash_max_listpack_entries as u64 {
            Entry::with_container(target.key, Hash::new(target.shapes.seed, room), None)
        } else {
            hash::create(target.key, target.shapes, 0, std::iter::empty())
        };
        Fields { entry, left: count, next }
    }

    fn add(
        &mut self,
        field: &[u8],
        value: &[u8],
        time: Option<i64>,
        target: Target<'_>,
    ) -> Result<(), LoadError> {
        let mut hash = HashMut::new(&mut self.entry, target.shapes, BEFORE_ALL);
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
}

/// Reads the time of a field of type 24.
fn read_time(next: i64, input: &mut impl Input) -> Result<Option<i64>, LoadError> {
    let Some(after) = input.length()?.checked_sub(1) else { return Ok(None) };
    let after = i64::try_from(after).ok();
    Ok(Some(after.and_then(|after| next.checked_add(after)).ok_or(BAD_TIME)?))
}

impl Decoder for Fields {
    fn is_complete(&self) -> bool {
        self.left == 0
    }

    fn step(&mut self, input: &mut impl Input, target: Target<'_>) -> Result<(), LoadError> {
        self.left -= 1;
        let time = match self.next {
            Some(next) => read_time(next, input)?,
            None => None,
        };
        let field = input.string()?.into_bytes().into_owned();
        self.add(&field, &input.string()?.into_bytes(), time, target)?;
        // For commands the keyspace does this, but it does not have this hash yet.
        if let Some(table) = self.entry.container_mut::<Hash>() {
            table.shed();
        }
        Ok(())
    }

    fn finish(mut self, target: Target<'_>) -> Result<Entry, LoadError> {
        if HashMut::new(&mut self.entry, target.shapes, BEFORE_ALL).is_empty() {
            return Err(LoadError::EMPTY);
        }
        self.entry.set_expire(target.expire_at);
        Ok(self.entry)
    }
}
