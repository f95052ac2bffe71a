//! Hashes: fields with values, in three forms.
//!
//! | form | `OBJECT ENCODING` | when |
//! |---|---|---|
//! | field, value, field, value … in a listpack | `listpack` | up to `hash-max-listpack-entries` fields, with no field or value longer than `hash-max-listpack-value` |
//! | the same with times (`timed`) | `listpackex` | the same, once a field has been given an expiry |
//! | a dict of [`Field`]s ([`Hash`](struct@Hash)) | `hashtable` | beyond |
//!
//! A hash never returns to an earlier form. [`HashRef`] reads and [`HashMut`] writes every form; neither shows expired
//! fields. The keyspace's cycle or a command removes those that it finds ([`HashMut::expire_due`]).
//!
//! Costs: packed forms O(n), 2 to 3 ns per field; the dict O(1), two cache misses. A field of 16 bytes with a value of
//! 12 takes 32 bytes packed and 49 in a dict of a million.

mod deadlines;
mod field;
mod sample;
mod table;
#[cfg(test)]
mod tests;
mod timed;

pub use field::{Field, FieldRef};
pub use table::Hash;

use super::block::Block;
use super::entry::Entry;
use super::kind::{Encoding, Kind};
use super::listpack::{self, Element, HEADER, Listpack};
use super::packed::Buffer;
use super::shapes::Shapes;
use super::string::Text;
use crate::text::number::Decimal;

/// The latest expiry time of a field, in Unix milliseconds: 46 bits, as in Redis.
pub const LATEST_MS: i64 = (1 << 46) - 1;

/// The most bytes of a packed hash that is built on the stack: with the default limits, any hash of one field.
const SMALL: usize = 160;

/// A hash, for reading.
#[derive(Clone, Copy)]
pub struct HashRef<'a> {
    form: Form<'a>,
    now: i64,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    Pairs(Listpack<'a>),
    Timed(Listpack<'a>),
    Table(&'a Hash),
}

impl<'a> Form<'a> {
    #[inline]
    fn of(entry: &'a Entry) -> Form<'a> {
        debug_assert!(entry.kind() == Kind::Hash);
        match entry.encoding() {
            Encoding::Listpack => Form::Pairs(Listpack::new(entry.packed())),
            Encoding::ListpackEx => Form::Timed(Listpack::new(entry.packed())),
            _ => Form::Table(entry.container::<Hash>().expect("a hash that is not packed is a table")),
        }
    }
}

/// A field with its value and, if it expires, its time in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldItem<'a> {
    /// The name.
    pub field: Text<'a>,
    /// The value.
    pub value: Text<'a>,
    /// The time at which it expires.
    pub expire_at: Option<i64>,
}

impl<'a> From<FieldRef<'a>> for FieldItem<'a> {
    #[inline]
    fn from(field: FieldRef<'a>) -> FieldItem<'a> {
        FieldItem {
            field: Text::Bytes(field.name()),
            value: Text::Bytes(field.value()),
            expire_at: field.expire_at(),
        }
    }
}

impl<'a> HashRef<'a> {
    /// Returns the hash in `entry` as it is at `now`, Unix milliseconds.
    #[inline]
    pub fn new(entry: &'a Entry, now: i64) -> HashRef<'a> {
        HashRef { form: Form::of(entry), now }
    }

    /// The number of fields that have not expired. O(1) amortized: expired fields that still exist are counted once (in
    /// a packed form, each time).
    pub fn len(&self) -> usize {
        match self.form {
            Form::Pairs(pairs) => pairs.len() / 2,
            Form::Timed(triples) => triples.len() / timed::TRIPLE - timed::due(triples, self.now).0,
            Form::Table(hash) => hash.live_len(self.now),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Text<'a>> {
        match self.form {
            Form::Pairs(pairs) => {
                let at = pairs.find(HEADER, &Element::from(field), 1)?;
                Some(pairs.get(pairs.next(at)?))
            }
            Form::Timed(triples) => {
                let triple = self.find_timed(triples, field)?;
                Some(triples.get(triple.value))
            }
            Form::Table(hash) => hash.get(field, self.now).map(|field| Text::Bytes(field.value())),
        }
    }

    /// The block of a field's value, if the value has its own.
    pub fn block(&self, field: &[u8]) -> Option<&'a Block> {
        match self.form {
            Form::Table(hash) => hash.get(field, self.now)?.block(),
            _ => None,
        }
    }

    /// Whether the hash has this field.
    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        match self.form {
            Form::Pairs(pairs) => pairs.find(HEADER, &Element::from(field), 1).is_some(),
            Form::Timed(triples) => self.find_timed(triples, field).is_some(),
            Form::Table(hash) => hash.get(field, self.now).is_some(),
        }
    }

    /// A field's expiry; the outer `None` means that the field does not exist.
    pub fn expire_at(&self, field: &[u8]) -> Option<Option<i64>> {
        match self.form {
            Form::Pairs(_) => self.contains(field).then_some(None),
            Form::Timed(triples) => {
                self.find_timed(triples, field).map(|triple| timed::time_at(triples, triple.time))
            }
            Form::Table(hash) => hash.get(field, self.now).map(FieldRef::expire_at),
        }
    }

    fn find_timed(&self, triples: Listpack<'_>, field: &[u8]) -> Option<timed::Triple> {
        let triple = timed::find(triples, &Element::from(field))?;
        timed::time_at(triples, triple.time).is_none_or(|time| time >= self.now).then_some(triple)
    }

    /// All fields, those of a packed form in its order.
    pub fn iter(self) -> Iter<'a> {
        let rest = match self.form {
            Form::Pairs(pairs) => Rest::Pairs(pairs.pairs()),
            Form::Timed(triples) => {
                let (_, from) = timed::due(triples, self.now);
                Rest::Timed(triples.range(from, triples.end()))
            }
            Form::Table(hash) => Rest::Table(hash.iter()),
        };
        Iter { rest, now: self.now }
    }

    /// Emits the fields at `cursor` (0 to begin) and returns the next cursor, 0 at the end. Adds the number of visited
    /// fields to `looked`. A packed form is emitted in one call, a dict a few fields at a time, with the guarantee of
    /// [`Dict::scan`](crate::dict::Dict::scan).
    pub fn scan(&self, cursor: u64, looked: &mut u64, emit: &mut impl FnMut(FieldItem<'_>)) -> u64 {
        let Form::Table(hash) = self.form else {
            for item in self.iter() {
                *looked += 1;
                emit(item);
            }
            return 0;
        };
        hash.scan(cursor, &mut |field| {
            *looked += 1;
            if field.is_live(self.now) {
                emit(field.into());
            }
        })
    }
}

/// Iterator over the fields of a hash.
pub struct Iter<'a> {
    rest: Rest<'a>,
    now: i64,
}

enum Rest<'a> {
    Pairs(listpack::Pairs<'a>),
    /// The elements from the first field that has not expired.
    Timed(listpack::Iter<'a>),
    Table(table::Fields<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = FieldItem<'a>;

    #[inline]
    fn next(&mut self) -> Option<FieldItem<'a>> {
        match &mut self.rest {
            Rest::Pairs(pairs) => {
                let (field, value) = pairs.next()?;
                Some(FieldItem { field, value, expire_at: None })
            }
            Rest::Timed(elements) => {
                let (field, value) = (elements.next()?, elements.next()?);
                Some(FieldItem { field, value, expire_at: timed::time_of(elements.next()?) })
            }
            Rest::Table(fields) => fields.find(|field| field.is_live(self.now)).map(FieldItem::from),
        }
    }
}

/// The expiry time of the next field to expire; `None` if no field expires or the value is not a hash.
#[inline]
pub fn next_deadline(entry: &Entry) -> Option<i64> {
    if entry.kind() != Kind::Hash {
        return None;
    }
    match entry.encoding() {
        Encoding::Listpack => None,
        Encoding::ListpackEx => timed::next_deadline(Listpack::new(entry.packed())),
        _ => entry.container::<Hash>()?.next_deadline(),
    }
}

/// The effect of setting a field's value on its expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldExpiry {
    /// It is removed (`HSET`).
    Remove,
    /// It stays (`HINCRBY`).
    Keep,
}

/// A condition on a field's current expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// No condition.
    #[default]
    Always,
    /// The field has no expiry.
    Without,
    /// The field has an expiry.
    With,
    /// The field has an expiry, and the new one is later.
    Later,
    /// The field has no expiry, or the new one is earlier.
    Earlier,
}

impl Condition {
    fn allows(self, old: Option<i64>, new: i64) -> bool {
        match self {
            Condition::Always => true,
            Condition::Without => old.is_none(),
            Condition::With => old.is_some(),
            Condition::Later => old.is_some_and(|old| new > old),
            Condition::Earlier => old.is_none_or(|old| new < old),
        }
    }
}

/// The outcome of setting a field's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpirySet {
    /// The field does not exist.
    NoField,
    /// The condition was not met.
    Refused,
    /// The expiry was set.
    Done,
    /// The time has passed: the field was deleted.
    Deleted,
}

/// A hash, for changing. When the last field is removed, the caller removes the key.
pub struct HashMut<'a> {
    entry: &'a mut Entry,
    shapes: &'a Shapes,
    now: i64,
}

impl<'a> HashMut<'a> {
    /// The hash in `entry` at `now`, Unix milliseconds.
    #[inline]
    pub fn new(entry: &'a mut Entry, shapes: &'a Shapes, now: i64) -> HashMut<'a> {
        debug_assert!(entry.kind() == Kind::Hash);
        HashMut { entry, shapes, now }
    }

    /// The hash, for reading.
    #[inline]
    pub fn view(&self) -> HashRef<'_> {
        HashRef::new(self.entry, self.now)
    }

    /// Whether the hash has no field at all, not even an expired one.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match Form::of(self.entry) {
            Form::Pairs(pack) | Form::Timed(pack) => pack.is_empty(),
            Form::Table(hash) => hash.is_empty(),
        }
    }

    /// Call after [`prepare`](Self::prepare) or [`create`] and the fields: releases unused room.
    pub fn settle(&mut self) {
        if let Some(hash) = self.entry.container_mut::<Hash>() {
            hash.settle();
        }
    }

    /// Converts a packed hash to a table before these texts (fields and values) are set, if one of them is too long, if
    /// they alone are too many, or if they would make the listpack too large.
    pub fn prepare<'t>(&mut self, count: usize, texts: impl Iterator<Item = &'t [u8]>) {
        if self.entry.is_packed() && needs_table(self.shapes, self.entry.packed(), count, texts) {
            self.become_table(count / 2);
        }
    }

    /// Sets a field's value and returns whether the field is new. `block` holds the value as well, if it was received into
    /// a block. Beyond the limits, the hash becomes a table.
    #[inline]
    pub fn set(&mut self, field: &[u8], value: Text<'_>, block: Option<Block>, expiry: FieldExpiry) -> bool {
        let encoding = self.entry.encoding();
        if encoding == Encoding::Hashtable {
            return self.set_in_table(field, value, block, expiry);
        }
        let longest = self.shapes.hash_max_listpack_value;
        if field.len() > longest || value.len() > longest {
            self.become_table(0);
            return self.set_in_table(field, value, block, expiry);
        }
        let (field, value) = (Element::from(field), Element::from(value));
        let (new, per_field) = if encoding == Encoding::Listpack {
            (set_pair(&mut self.entry.packed_mut(), &field, &value), 2)
        } else {
            (self.set_timed(&field, &value, expiry), timed::TRIPLE)
        };
        if Listpack::new(self.entry.packed()).len() / per_field > self.shapes.hash_max_listpack_entries {
            self.become_table(0);
        }
        new
    }

    #[inline]
    fn set_in_table(
        &mut self,
        field: &[u8],
        value: Text<'_>,
        block: Option<Block>,
        expiry: FieldExpiry,
    ) -> bool {
        let (keep, now) = (expiry == FieldExpiry::Keep, self.now);
        let hash = self.table();
        match value {
            Text::Bytes(value) => hash.set(field, value, block, keep, now),
            Text::Int(value) => hash.set(field, Decimal::new(value).as_bytes(), None, keep, now),
        }
    }

    fn table(&mut self) -> &mut Hash {
        self.entry.container_mut::<Hash>().expect("a hash that is not packed is a table")
    }

    fn set_timed(&mut self, field: &Element<'_>, value: &Element<'_>, expiry: FieldExpiry) -> bool {
        let mut buffer = self.entry.packed_mut();
        let triples = Listpack::new(buffer.bytes());
        let Some(triple) = timed::find(triples, field) else {
            timed::insert(&mut buffer, field, value, None);
            return true;
        };
        let time = timed::time_at(triples, triple.time);
        let live = time.is_none_or(|time| time >= self.now);
        if time.is_none() || (expiry == FieldExpiry::Keep && live) {
            listpack::replace(&mut buffer, triple.value, *value);
        } else {
            timed::remove(&mut buffer, &triple);
            timed::insert(&mut buffer, field, value, None);
        }
        !live
    }

    /// Removes a field and returns whether it existed.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match Form::of(self.entry) {
            Form::Pairs(pairs) => {
                let at = pairs.find(HEADER, &Element::from(field), 1);
                if let Some(at) = at {
                    listpack::remove(&mut self.entry.packed_mut(), at, 2);
                }
                at.is_some()
            }
            Form::Timed(triples) => {
                let Some(triple) = timed::find(triples, &Element::from(field)) else { return false };
                let live = timed::time_at(triples, triple.time).is_none_or(|time| time >= self.now);
                timed::remove(&mut self.entry.packed_mut(), &triple);
                live
            }
            Form::Table(_) => {
                let now = self.now;
                self.table().remove(field, now)
            }
        }
    }

    /// Converts the hash to a form in which fields can expire.
    pub fn allow_expiries(&mut self) {
        if self.entry.encoding() == Encoding::Listpack {
            let triples = timed::from_pairs(Listpack::new(self.entry.packed()));
            self.entry.set_packed(Encoding::ListpackEx, &triples);
        }
    }

    /// Sets a field's expiry if `condition` is met; a time that has passed deletes the field.
    pub fn set_expiry(&mut self, field: &[u8], at: i64, condition: Condition) -> ExpirySet {
        let Some(old) = self.view().expire_at(field) else { return ExpirySet::NoField };
        if !condition.allows(old, at) {
            return ExpirySet::Refused;
        }
        if at <= self.now {
            self.remove(field);
            return ExpirySet::Deleted;
        }
        self.change_expiry(field, Some(at));
        ExpirySet::Done
    }

    /// Removes a field's expiry. Returns `Some(false)` if it had none, `None` if the field does not exist.
    pub fn persist(&mut self, field: &[u8]) -> Option<bool> {
        let old = self.view().expire_at(field)?;
        if old.is_some() {
            self.change_expiry(field, None);
        }
        Some(old.is_some())
    }

    /// Sets the expiry of an existing field.
    fn change_expiry(&mut self, field: &[u8], at: Option<i64>) {
        self.allow_expiries();
        match Form::of(self.entry) {
            Form::Table(_) => self.table().set_expire(field, at),
            Form::Pairs(triples) | Form::Timed(triples) => {
                let name = Element::from(field);
                if let Some(triple) = timed::find(triples, &name) {
                    timed::set_time(&mut self.entry.packed_mut(), &name, &triple, at);
                }
            }
        }
    }

    /// Removes up to `limit` expired fields, or all of them from a packed form, and calls `gone` with each. Returns
    /// their number.
    pub fn expire_due(&mut self, limit: usize, gone: &mut impl FnMut(Text<'_>)) -> usize {
        let now = self.now;
        match self.entry.encoding() {
            Encoding::Listpack => 0,
            Encoding::ListpackEx => timed::expire_due(&mut self.entry.packed_mut(), now, gone),
            _ => self.table().expire_due(now, limit, &mut |field| gone(Text::Bytes(field))),
        }
    }

    /// The old table after a resize, for a background thread to free.
    #[inline]
    pub fn take_retired(&mut self) -> Option<crate::dict::Retired> {
        self.entry.container_mut::<Hash>()?.take_retired()
    }

    /// Converts a packed form to a table with room for `more` fields.
    #[cold]
    fn become_table(&mut self, more: usize) {
        let form = Form::of(self.entry);
        let fields = match form {
            Form::Pairs(pairs) => pairs.len() / 2,
            Form::Timed(triples) => triples.len() / timed::TRIPLE,
            Form::Table(_) => return,
        };
        let mut table = Hash::new(self.shapes.seed, fields + more);
        // Expired fields are copied too: the keyspace counts them when it deletes them.
        for item in (HashRef { form, now: i64::MIN }).iter() {
            let (field, value) = (Plain::of(item.field), Plain::of(item.value));
            table.insert(field.bytes(), value.bytes(), item.expire_at);
        }
        self.entry.set_container(table);
    }
}

/// A text's bytes, with room for an integer's digits.
enum Plain<'a> {
    Int(Decimal),
    Bytes(&'a [u8]),
}

impl<'a> Plain<'a> {
    fn of(text: Text<'a>) -> Plain<'a> {
        match text {
            Text::Int(value) => Plain::Int(Decimal::new(value)),
            Text::Bytes(bytes) => Plain::Bytes(bytes),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Plain::Int(digits) => digits.as_bytes(),
            Plain::Bytes(bytes) => bytes,
        }
    }
}

/// Whether a packed hash of `bytes` should become a table before `count` texts, fields and values, are set in it.
fn needs_table<'t>(
    shapes: &Shapes,
    bytes: &[u8],
    count: usize,
    mut texts: impl Iterator<Item = &'t [u8]>,
) -> bool {
    let mut sum = 0_usize;
    count / 2 > shapes.hash_max_listpack_entries
        || texts.any(|text| {
            sum = sum.saturating_add(text.len());
            text.len() > shapes.hash_max_listpack_value
        })
        || !listpack::fits(bytes, sum)
}

/// Sets a field in a listpack of pairs and returns whether it is new.
#[inline]
fn set_pair(buffer: &mut impl Buffer, field: &Element<'_>, value: &Element<'_>) -> bool {
    let pairs = Listpack::new(buffer.bytes());
    let Some(at) = pairs.find(HEADER, field, 1) else {
        listpack::append(buffer, &[*field, *value]);
        return true;
    };
    let at = pairs.next(at).expect("a field has a value");
    listpack::replace(buffer, at, *value);
    false
}

/// Returns an entry with an empty hash, for about `count` texts (fields and values).
pub fn create<'t>(key: &[u8], shapes: &Shapes, count: usize, texts: impl Iterator<Item = &'t [u8]>) -> Entry {
    if needs_table(shapes, &[], count, texts) {
        return Entry::with_container(key, Hash::new(shapes.seed, count / 2), None);
    }
    Entry::with_packed(key, Kind::Hash, Encoding::Listpack, &listpack::EMPTY, None)
}

/// Returns an entry with a hash of one field. A small one is written directly into the entry.
pub fn single(key: &[u8], shapes: &Shapes, field: &[u8], value: &[u8], block: Option<Block>) -> Entry {
    let longest = shapes.hash_max_listpack_value;
    if field.len() > longest || value.len() > longest || shapes.hash_max_listpack_entries == 0 {
        let mut entry = Entry::with_container(key, Hash::new(shapes.seed, 1), None);
        let hash = entry.container_mut::<Hash>().expect("just made");
        hash.set(field, value, block, false, i64::MIN);
        return entry;
    }
    let elements = [Element::from(field), Element::from(value)];
    let mut small = [0; SMALL];
    if let Some(bytes) = listpack::write_small(&mut small, &elements) {
        return Entry::with_packed(key, Kind::Hash, Encoding::Listpack, bytes, None);
    }
    let mut bytes = listpack::EMPTY.to_vec();
    listpack::append(&mut bytes, &elements);
    Entry::with_packed(key, Kind::Hash, Encoding::Listpack, &bytes, None)
}
