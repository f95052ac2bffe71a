//! The large form of a hash: a dict of [`Field`]s, and the ordered times of those that expire.

use super::deadlines::Deadlines;
use super::field::{Field, FieldRef};
use crate::dict::{self, Dict, Position, Retired, Seed};
use crate::types::block::Block;
use crate::types::container::{Container, LARGE_ITEMS};
use crate::types::kind::{Encoding, Kind};
use crate::types::moves::{self, MoveCursor, Moves};
use crate::types::random::Random;

/// The most draws for a live field. Each succeeds with a probability of at least 1/[`LIVE_SHARE`]; all fail with 10⁻¹⁴.
const MOST_DRAWS: usize = 512;

/// Fields are drawn at random only if at least one in this many has not expired.
const LIVE_SHARE: usize = 16;

/// The average field size from which fields contain whole pages.
const DISMISSED_FIELD: usize = 2048;

/// A large hash.
///
/// A field that expires is listed in `deadlines` with its time and the hash of its name. So finding the next field to
/// expire is O(log n), and the field itself stores only its time.
pub struct Hash {
    fields: Dict<Field>,
    deadlines: Deadlines,
    /// The bytes of all fields' memory.
    field_bytes: usize,
}

// SAFETY: no other container is a hash.
unsafe impl Container for Hash {
    const KIND: Kind = Kind::Hash;
    const ENCODING: Encoding = Encoding::Hashtable;

    fn memory_bytes(&self) -> usize {
        self.fields.memory_bytes() + self.field_bytes + self.deadlines.memory_bytes()
    }

    fn is_large(&self) -> bool {
        self.fields.len() >= LARGE_ITEMS || self.field_bytes >= crate::types::entry::LARGE_BYTES
    }

    fn free_effort(&self) -> usize {
        self.fields.len()
    }

    fn dismiss(&self) -> usize {
        // If few fields are larger than a page, visiting every field again is not worthwhile.
        if self.field_bytes / self.fields.len().max(1) < DISMISSED_FIELD {
            return 0;
        }
        self.into_iter().map(|field| field.block().map_or(0, Block::dismiss)).sum()
    }

    fn walk_len(&self) -> usize {
        self.fields.len()
    }

    fn defragment(&mut self, cursor: MoveCursor, most: usize, moves: &mut Moves) -> Option<MoveCursor> {
        moves::defragment_items(&mut self.fields, cursor, most, |field| field.relocate(moves))
    }

    fn duplicate(&self) -> Hash {
        let mut copy = Hash::new(self.fields.seed(), self.len());
        for field in self {
            let (name, block) = (field.name(), field.block().map(Block::share));
            copy.insert_hashed(
                copy.fields.hash(name),
                Field::new(name, field.value(), block, field.expire_at()),
            );
        }
        copy
    }

    fn prefetch_bucket(&self, field: &[u8]) -> u64 {
        let hash = self.fields.hash(field);
        self.fields.prefetch_bucket(hash);
        hash
    }

    fn prefetch_item(&self, hash: u64) {
        self.fields.prefetch_entry(hash);
    }
}

impl Hash {
    /// A hash without fields, with room for `capacity` of them.
    pub fn new(seed: Seed, capacity: usize) -> Hash {
        let mut fields = Dict::unattended(seed);
        fields.reserve(capacity);
        Hash { fields, deadlines: Deadlines::default(), field_bytes: 0 }
    }

    /// Releases unused reserved room.
    pub fn settle(&mut self) {
        self.fields.settle();
    }

    /// Moves a part of a table that changes size: for a hash with more reads than writes.
    #[inline]
    pub fn step(&mut self) {
        self.fields.step();
    }

    /// Frees a slice of the previous table after a resize. For owners that never call
    /// [`take_retired`](Self::take_retired).
    #[inline]
    pub fn shed(&mut self) {
        self.fields.shed();
    }

    /// The number of fields, including expired ones that still exist.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The number of fields that have not expired by `now`. O(1) plus the fields that have expired since the last call.
    pub fn live_len(&self, now: i64) -> usize {
        self.len() - self.deadlines.passed(now)
    }

    /// The table, for its statistics.
    pub fn dict(&self) -> &Dict<Field> {
        &self.fields
    }

    /// The expiry time of the next field to expire.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(time, _)| time)
    }

    /// The old table after a resize, for a background thread to free.
    #[inline]
    pub fn take_retired(&mut self) -> Option<Retired> {
        self.fields.take_retired()
    }

    #[inline]
    fn at(&self, position: Position) -> FieldRef<'_> {
        FieldRef::lent(&self.fields.get(position))
    }

    /// Returns the field with this name, unless it has expired by `now`.
    #[inline]
    pub fn get(&self, name: &[u8], now: i64) -> Option<FieldRef<'_>> {
        let position = self.fields.find(self.fields.hash(name), name)?;
        Some(self.at(position)).filter(|field| field.is_live(now))
    }

    /// Sets a value and returns whether the field is new; an expired field counts as new. With `keep_expiry` a live
    /// field keeps its time; otherwise the time is removed.
    #[inline]
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        block: Option<Block>,
        keep_expiry: bool,
        now: i64,
    ) -> bool {
        // Nothing else steps the table, so calls that only overwrite move buckets too.
        self.fields.step();
        let hash = self.fields.hash(name);
        let Some(position) = self.fields.find(hash, name) else {
            self.insert_hashed(hash, Field::new(name, value, block, None));
            return true;
        };
        let mut field = self.fields.get_mut(position);
        let (before, old_time) = (field.view().memory_bytes(), field.view().expire_at());
        field.set_value(value, block);
        let Some(time) = old_time else {
            self.field_bytes = self.field_bytes - before + field.view().memory_bytes();
            return false;
        };
        let live = time >= now;
        if !(keep_expiry && live) {
            field.set_expire(None);
            self.deadlines.remove(time, hash);
        }
        self.field_bytes = self.field_bytes - before + field.view().memory_bytes();
        !live
    }

    /// Inserts a new field.
    pub fn insert(&mut self, name: &[u8], value: &[u8], expire_at: Option<i64>) {
        let hash = self.fields.hash(name);
        self.insert_hashed(hash, Field::new(name, value, None, expire_at));
    }

    #[inline]
    fn insert_hashed(&mut self, hash: u64, field: Field) {
        let view = field.view();
        self.field_bytes += view.memory_bytes();
        if let Some(time) = view.expire_at() {
            self.deadlines.insert(time, hash);
        }
        self.fields.insert(hash, field);
    }

    /// Removes a field and returns whether it existed and had not expired.
    pub fn remove(&mut self, name: &[u8], now: i64) -> bool {
        self.take(name).is_some_and(|field| field.view().is_live(now))
    }

    /// Takes a field out, whether it has expired or not.
    pub fn take(&mut self, name: &[u8]) -> Option<Field> {
        let hash = self.fields.hash(name);
        let position = self.fields.find(hash, name)?;
        Some(self.remove_at(hash, position))
    }

    fn remove_at(&mut self, hash: u64, position: Position) -> Field {
        let field = self.fields.remove(position);
        self.field_bytes -= field.view().memory_bytes();
        if let Some(time) = field.view().expire_at() {
            self.deadlines.remove(time, hash);
        }
        field
    }

    /// Sets, changes or removes the expiry of an existing field.
    pub fn set_expire(&mut self, name: &[u8], expire_at: Option<i64>) {
        let hash = self.fields.hash(name);
        let Some(position) = self.fields.find(hash, name) else { return };
        let mut field = self.fields.get_mut(position);
        let before = field.view().memory_bytes();
        if let Some(old) = field.view().expire_at() {
            self.deadlines.remove(old, hash);
        }
        field.set_expire(expire_at);
        if let Some(time) = expire_at {
            self.deadlines.insert(time, hash);
        }
        self.field_bytes = self.field_bytes - before + field.view().memory_bytes();
    }

    /// Removes up to `limit` fields that have expired by `now`, the oldest first, and calls `gone` with each. Returns
    /// their number.
    pub fn expire_due(&mut self, now: i64, limit: usize, gone: &mut impl FnMut(&[u8])) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some((time, hash)) = self.deadlines.first()
            && time < now
        {
            match self.fields.find_by(hash, |field| field.view().expire_at() == Some(time)) {
                Some(position) => {
                    gone(self.fields.get(position).view().name());
                    self.remove_at(hash, position);
                    removed += 1;
                }
                None => self.deadlines.remove(time, hash),
            }
        }
        removed
    }

    /// All fields, including expired ones, in no particular order.
    pub fn iter(&self) -> Fields<'_> {
        Fields { fields: self.fields.iter() }
    }

    /// Emits the fields at `cursor` and returns the next cursor, see [`Dict::scan`].
    pub fn scan(&self, cursor: u64, emit: &mut impl FnMut(FieldRef<'_>)) -> u64 {
        self.fields.scan(cursor, &mut |field: &Field| emit(field.view()))
    }

    /// Whether so many fields have expired by `now` that most random draws would hit expired ones.
    pub fn is_mostly_expired(&self, now: i64) -> bool {
        self.live_len(now) * LIVE_SHARE < self.len()
    }

    /// Returns a random field that has not expired by `now`, each with the same probability. O(1) unless the hash [is
    /// mostly expired](Self::is_mostly_expired), then O(n).
    pub fn random(&self, now: i64, random: &mut Random) -> Option<FieldRef<'_>> {
        if !self.is_mostly_expired(now) {
            for _ in 0..MOST_DRAWS {
                let field = self.at(self.fields.random(&mut || random.next())?);
                if field.is_live(now) {
                    return Some(field);
                }
            }
        }
        self.iter().filter(|field| field.is_live(now)).nth(random.below(self.live_len(now)))
    }
}

impl<'a> IntoIterator for &'a Hash {
    type Item = FieldRef<'a>;
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

/// The iterator of [`Hash::iter`].
pub struct Fields<'a> {
    fields: dict::Iter<'a, Field>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = FieldRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<FieldRef<'a>> {
        self.fields.next().map(|field| FieldRef::lent(&field))
    }
}
