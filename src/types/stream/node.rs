//! A node: up to about a hundred entries in one listpack, Redis's format byte for byte.
//!
//! ```text
//!  master entry   count | deleted | fields n | field 1 … field n | 0
//!  entry          flags | ms - master's | seq - master's | value 1 … value n | elements before
//!  or             flags | ms - master's | seq - master's | n | field 1 | value 1 … | elements before
//! ```
//!
//! The entries of a stream mostly have the same fields, so the first entry's fields are written once, and entries with
//! the same fields (flag 2) omit them. The last element of an entry is the number of its other elements, for reading
//! from the end. A deleted entry (flag 1) stays until its whole node is freed, so that nothing moves.
//!
//! Costs: about 8 bytes per entry in addition to its values. A walk from the nearer end finds an entry of a node.

use super::id::Id;
use crate::types::Shapes;
use crate::types::block::Block;
use crate::types::listpack::{self, Element, Listpack};
use crate::types::string::Text;

/// The entry is deleted.
const DELETED: i64 = 1;
/// The entry has the fields of the master entry.
const SAME_FIELDS: i64 = 2;

/// Redis's limit for the bytes of a node, and for those of an entry's fields and values.
pub const MAX_BYTES: usize = 1 << 30;

/// A node, and the ID to which its entries' IDs are relative: that of its first entry.
pub(super) struct Node {
    pub(super) master: Id,
    pub(super) bytes: Block,
}

const _: () = assert!(size_of::<Node>() == 24);

/// The bytes are not a node of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStream;

/// The contents of the master entry.
#[derive(Clone, Copy)]
pub(super) struct Master {
    /// The number of entries that are not deleted.
    pub(super) count: usize,
    /// The number of deleted entries.
    pub(super) deleted: usize,
    /// The number of fields of the master entry.
    fields: usize,
    /// The offset of the first field.
    fields_at: usize,
}

impl Master {
    /// The master entry of a buried node.
    const NONE: Master = Master { count: 0, deleted: 0, fields: 0, fields_at: 0 };
}

/// An entry of a stream, deleted or not.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its ID.
    pub id: Id,
    listpack: Listpack<'a>,
    flags: i64,
    /// Its offset.
    at: usize,
    /// The number of its fields.
    count: usize,
    /// The offset of the master entry's fields.
    fields_at: usize,
    /// The offset of its first value, or of its first field if it has its own fields.
    values_at: usize,
}

/// Returns the number at `at`. Listpacks written or checked here have one there.
fn number(listpack: Listpack<'_>, at: usize) -> i64 {
    match listpack.get(at) {
        Text::Int(value) => value,
        Text::Bytes(_) => unreachable!("a stream's node has numbers where they belong"),
    }
}

impl<'a> Record<'a> {
    /// The number of fields.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the entry has no fields; commands never create such an entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// The fields and values.
    #[inline]
    pub fn pairs(&self) -> impl Iterator<Item = (Text<'a>, Text<'a>)> + use<'a> {
        let end = self.listpack.end();
        let own = self.flags & SAME_FIELDS == 0;
        let mut values = self.listpack.range(self.values_at, end);
        let mut fields = self.listpack.range(self.fields_at, end);
        (0..self.count).map_while(move |_| {
            let field = if own { values.next() } else { fields.next() }?;
            Some((field, values.next()?))
        })
    }

    /// The offset of the next entry.
    fn after(&self) -> usize {
        let elements = if self.flags & SAME_FIELDS == 0 { 2 * self.count } else { self.count };
        self.listpack.skip(self.values_at, elements + 1)
    }
}

/// A walk through a node's entries, deleted ones included, from either end.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    listpack: Listpack<'a>,
    master_id: Id,
    master: Master,
    /// The offset of the next entry forwards.
    front: usize,
    /// The end of the next entry backwards.
    back: usize,
}

impl<'a> Walk<'a> {
    /// The entry that begins at `at`.
    #[inline]
    fn record(&self, at: usize) -> Record<'a> {
        let listpack = self.listpack;
        let mut head = listpack.range(at, listpack.end());
        let mut next = || match head.next() {
            Some(Text::Int(value)) => value,
            _ => unreachable!("a stream's node has numbers where they belong"),
        };
        let (flags, ms, seq) = (next(), next(), next());
        let count = if flags & SAME_FIELDS != 0 { self.master.fields } else { next() as usize };
        let id = self.master_id.offset(ms, seq);
        let (fields_at, values_at) = (self.master.fields_at, head.front());
        Record { id, listpack, flags, at, count, fields_at, values_at }
    }

    /// Moves a forward walk to the first entry with an ID of at least `from`, or to deleted ones before it. Searches from
    /// the nearer end.
    pub(super) fn seek(&mut self, from: Id) {
        let Some(last) = self.last_live().filter(|last| last.id >= from) else {
            self.front = self.back;
            return;
        };
        let passed = from.ms.saturating_sub(self.master_id.ms);
        let span = last.id.ms - self.master_id.ms.min(last.id.ms);
        let near_the_end = if span > 0 { passed > span / 2 } else { from.seq > last.id.seq / 2 };
        if near_the_end {
            let mut backwards = self.clone();
            while let Some(record) = backwards.next_back() {
                if !record.is_deleted() && record.id < from {
                    self.front = record.after();
                    return;
                }
            }
        } else {
            let found = self.clone().find(|record| !record.is_deleted() && record.id >= from);
            self.front = found.map_or(self.back, |record| record.at);
        }
    }

    /// The last entry that is not deleted.
    fn last_live(&self) -> Option<Record<'a>> {
        self.clone().rfind(|record| !record.is_deleted())
    }

    /// The entry with this ID.
    fn find_id(mut self, id: Id) -> Option<Record<'a>> {
        self.seek(id);
        self.find(|record| !record.is_deleted()).filter(|record| record.id == id)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.front >= self.back {
            return None;
        }
        let record = self.record(self.front);
        self.front = record.after();
        Some(record)
    }
}

impl DoubleEndedIterator for Walk<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let elements = self.listpack.skip_back(self.back, 1);
        let at = self.listpack.skip_back(elements, number(self.listpack, elements) as usize);
        self.back = at;
        Some(self.record(at))
    }
}

/// The number of elements of a master entry without its fields.
const MASTER: usize = 4;

/// The most bytes that a listpack adds to a string: five before it and five behind it.
const LONGEST_FRAME: usize = 10;

impl Node {
    /// Returns a node for an entry with this ID and these fields. The caller then pushes the entry.
    pub(super) fn new<'a>(id: Id, fields: usize, items: impl Iterator<Item = &'a [u8]> + Clone) -> Node {
        let mut bytes = Block::from(&listpack::EMPTY[..]);
        let head = [0, 0, fields as i64].map(Element::integer).into_iter();
        let names = items.step_by(2).map(Element::from);
        listpack::append_each(&mut bytes, head.chain(names).chain([Element::integer(0)]));
        Node { master: id, bytes }
    }

    /// Checks a node from outside: the bytes must be a listpack of entries with rising IDs, and the master entry must
    /// have the right counts. O(n).
    pub(super) fn checked(master: Id, bytes: &[u8]) -> Result<Node, InvalidStream> {
        let bytes = listpack::normalize(bytes).map_err(|_| InvalidStream)?;
        check(master, Listpack::new(&bytes)).ok_or(InvalidStream)?;
        Ok(Node { master, bytes: Block::from(&*bytes) })
    }

    /// Returns a node that shares this one's contents until either is changed.
    pub(super) fn share(&self) -> Node {
        Node { master: self.master, bytes: self.bytes.share() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }

    /// Frees the entries, which are all deleted. The node stays in the index, without entries.
    pub(super) fn bury(&mut self) {
        self.bytes = Block::from(&listpack::EMPTY[..]);
    }

    pub(super) fn is_buried(&self) -> bool {
        self.bytes.len() == listpack::EMPTY.len()
    }

    /// Releases the room for further entries.
    pub(super) fn close(&mut self) {
        self.bytes.shrink_to_fit();
    }

    #[inline]
    pub(super) fn listpack(&self) -> Listpack<'_> {
        Listpack::new(self.bytes.as_slice())
    }

    #[inline]
    pub(super) fn master(&self) -> Master {
        let listpack = self.listpack();
        let mut head = listpack.iter();
        let mut next = || match head.next() {
            Some(Text::Int(value)) => value as usize,
            _ => unreachable!("a stream's node has numbers where they belong"),
        };
        let (count, deleted, fields) = (next(), next(), next());
        Master { count, deleted, fields, fields_at: head.front() }
    }

    /// All entries, deleted ones included.
    #[inline]
    pub(super) fn walk(&self) -> Walk<'_> {
        let listpack = self.listpack();
        if self.is_buried() {
            let (front, back) = (listpack.end(), listpack.end());
            return Walk { listpack, master_id: self.master, master: Master::NONE, front, back };
        }
        let master = self.master();
        let (front, back) = (listpack.skip(master.fields_at, master.fields + 1), listpack.end());
        Walk { listpack, master_id: self.master, master, front, back }
    }

    /// Whether an entry whose fields and values have `bytes` may be added.
    pub(super) fn accepts(&self, bytes: usize, shapes: &Shapes) -> bool {
        let most = match shapes.stream_node_max_bytes {
            0 => MAX_BYTES,
            most => most.min(MAX_BYTES),
        };
        if self.bytes.len() + bytes >= most {
            return false;
        }
        let master = self.master();
        let entries = shapes.stream_node_max_entries;
        entries == 0 || ((master.count + master.deleted) as u64) < entries
    }

    /// Appends an entry: `fields` pairs of `bytes` in total; `items` yields fields and values alternately.
    pub(super) fn push<'a>(
        &mut self,
        id: Id,
        fields: usize,
        bytes: usize,
        items: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let master = self.master();
        let same = self.has_fields(master, fields, items.clone());
        let flags = if same { SAME_FIELDS } else { 0 };
        let distance =
            [flags, id.ms.wrapping_sub(self.master.ms) as i64, id.seq.wrapping_sub(self.master.seq) as i64];
        let elements = if same { fields + 3 } else { 2 * fields + 4 };
        let (own_count, first) = if same { (None, 1) } else { (Some(Element::integer(fields as i64)), 0) };
        let step = if same { 2 } else { 1 };
        let all = distance
            .map(Element::integer)
            .into_iter()
            .chain(own_count)
            .chain(items.skip(first).step_by(step).map(Element::from))
            .chain([Element::integer(elements as i64)]);
        self.make_room(fields, bytes);
        listpack::append_each(&mut self.bytes, all);
        self.set_counts(master.count + 1, master.deleted);
    }

    /// Doubles the room when it is full, since a node grows entry by entry until it is closed.
    fn make_room(&mut self, fields: usize, bytes: usize) {
        let most = bytes + (2 * fields + 5) * LONGEST_FRAME;
        if self.bytes.capacity() - self.bytes.len() < most {
            self.bytes.reserve(most);
        }
    }

    /// Whether the master entry has the fields of `items`.
    fn has_fields<'a>(&self, master: Master, fields: usize, items: impl Iterator<Item = &'a [u8]>) -> bool {
        let listpack = self.listpack();
        master.fields == fields
            && items
                .step_by(2)
                .zip(listpack.range(master.fields_at, listpack.end()))
                .all(|(item, field)| Element::from(item).text() == field)
    }

    /// Writes the numbers of entries, which invalidates offsets.
    fn set_counts(&mut self, count: usize, deleted: usize) {
        listpack::replace(&mut self.bytes, listpack::HEADER, count as i64);
        let second = self.listpack().skip(listpack::HEADER, 1);
        if number(self.listpack(), second) != deleted as i64 {
            listpack::replace(&mut self.bytes, second, deleted as i64);
        }
    }

    /// Marks the entries at `places` as deleted. They are in rising order and not yet deleted.
    fn mark(&mut self, places: &[usize]) {
        let master = self.master();
        for at in places {
            // The flags take one byte with and without this one, so nothing moves.
            let flags = number(self.listpack(), *at) | DELETED;
            listpack::replace(&mut self.bytes, *at, flags);
        }
        self.set_counts(master.count - places.len(), master.deleted + places.len());
    }

    /// Deletes the entry with this ID and returns whether it existed.
    pub(super) fn delete(&mut self, id: Id) -> bool {
        let Some(place) = self.find(id).map(|record| record.at) else { return false };
        self.mark(&[place]);
        true
    }

    /// Deletes entries from the front while `more` is true for an entry's ID and the number deleted so far.
    pub(super) fn delete_front(&mut self, more: impl Fn(Id, u64) -> bool) -> u64 {
        let mut places = Vec::new();
        for record in self.walk().filter(|record| !record.is_deleted()) {
            if !more(record.id, places.len() as u64) {
                break;
            }
            places.push(record.at);
        }
        self.mark(&places);
        places.len() as u64
    }

    /// The ID of the last entry, deleted or not.
    pub(super) fn last_id(&self) -> Option<Id> {
        self.walk().next_back().map(|record| record.id)
    }

    /// The ID of the last entry that is not deleted.
    pub(super) fn last_live_id(&self) -> Option<Id> {
        self.walk().last_live().map(|record| record.id)
    }

    /// The entry with this ID.
    pub(super) fn find(&self, id: Id) -> Option<Record<'_>> {
        self.walk().find_id(id)
    }
}

/// Walks through an untrusted listpack; `None` if it is not a node. The IDs of live entries rise from the master's on,
/// and the ID of a deleted entry is above those of the live entries before it.
fn check(master: Id, listpack: Listpack<'_>) -> Option<()> {
    let mut elements = listpack.iter();
    let mut left = elements.clone().count();
    let mut take = |wanted: usize| {
        left = left.checked_sub(wanted)?;
        Some(())
    };
    let number = |elements: &mut listpack::Iter<'_>| match elements.next()? {
        Text::Int(value) => Some(value),
        Text::Bytes(_) => None,
    };
    let size = |elements: &mut listpack::Iter<'_>| usize::try_from(number(elements)?).ok();
    let pass = |elements: &mut listpack::Iter<'_>, count: usize| {
        for _ in 0..count {
            elements.next();
        }
    };
    take(MASTER)?;
    let (count, deleted, fields) = (size(&mut elements)?, size(&mut elements)?, size(&mut elements)?);
    take(fields)?;
    pass(&mut elements, fields);
    if number(&mut elements)? != 0 {
        return None;
    }
    let (mut found, mut marked, mut previous) = (0_usize, 0_usize, None);
    while elements.front() < listpack.end() {
        take(4)?;
        let flags = number(&mut elements)?;
        if !(0..=DELETED | SAME_FIELDS).contains(&flags) {
            return None;
        }
        let id = master.offset(number(&mut elements)?, number(&mut elements)?);
        let is_deleted = flags & DELETED != 0;
        if (id < master && !is_deleted) || previous.is_some_and(|previous| id <= previous) {
            return None;
        }
        let (values, own) = if flags & SAME_FIELDS != 0 {
            (fields, 0)
        } else {
            take(1)?;
            let own = size(&mut elements)?;
            (own.checked_mul(2)?, 1)
        };
        take(values)?;
        pass(&mut elements, values);
        if size(&mut elements)? != values + own + 3 {
            return None;
        }
        previous = if is_deleted { previous } else { Some(id) };
        found += 1;
        marked += usize::from(is_deleted);
    }
    (marked == deleted && count.checked_add(deleted)? == found).then_some(())
}
