//! Streams: entries of fields and values ordered by ID, and consumer groups that read them.
//!
//! ```text
//!  nodes ──▶ [ first ID 16, Block 8 | … ]     a deque ordered by first ID
//!                            │
//!                            ▼
//!                     a listpack of up to 100 entries (see `node`)
//! ```
//!
//! Entries are added at the end and trimmed at the front, so a deque of nodes is a sufficient index: a binary search in
//! consecutive memory finds an ID, and each node costs 24 bytes. `node` describes how entries share their common parts.
//!
//! | file | contents |
//! |---|---|
//! | this file | [`Stream`]: adding, deleting, trimming |
//! | `id` | [`Id`], and the parsing of its text |
//! | `node` | a listpack of entries |
//! | `range` | entries between two IDs, in both directions |
//! | `group` | [`Group`], its consumers, and their pending entries |
//! | `progress` | the read position of a group, and its lag |
//! | `radix` | the size of Redis's own index, for XINFO |
//!
//! Costs: adding is O(1); finding an ID is O(log n) plus a walk through half a node at most. An entry of two small fields
//! takes about 20 bytes. As in Redis, the bytes of deleted entries stay until all entries of their node are deleted. When
//! that happens to a node in the middle, an empty (*buried*) node stays in the index until half of the nodes are buried,
//! so deleting is O(log n) too.
//!
//! `XSETID` can set the last ID below the IDs of deleted entries. So the IDs of live entries strictly rise, but those
//! of deleted ones need not, and a search skips them.

mod group;
mod id;
mod node;
mod progress;
mod radix;
mod range;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use group::{Consumer, ConsumerSlot, Delivery, Group};
pub use id::{Id, WantedId, until_zero};
pub use node::{InvalidStream, MAX_BYTES, Record};
pub use range::{Backwards, Range};

use super::container::{Container, Debris};
use super::moves::{self, MoveCursor, Moves};
use super::{Encoding, Kind, Shapes};
use crate::alloc;
use node::Node;

/// A stream with more nodes than this, or more consumers and pending entries, is freed in the background; so are more
/// than this many trimmed nodes.
const LARGE: usize = 64;

/// The distance, in nodes, by which trimming prefetches ahead.
const AHEAD: usize = 8;

/// See the module's head.
#[derive(Default)]
pub struct Stream {
    /// The first and the last node are never buried.
    nodes: VecDeque<Node>,
    /// The number of buried nodes.
    buried: usize,
    length: u64,
    figures: Figures,
    groups: BTreeMap<Arc<[u8]>, Group>,
}

/// The figures that a stream records in addition to its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The last ID given to an entry, or set.
    pub last_id: Id,
    /// The first entry's ID; `0-0` if there is none.
    pub first_id: Id,
    /// The largest ID deleted with XDEL.
    pub max_deleted_id: Id,
    /// The number of entries ever added.
    pub entries_added: u64,
}

/// The entries that trimming keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Keep the newest N entries.
    Length(u64),
    /// Keep the entries with this ID and above.
    Id(Id),
}

/// The options of a trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// The entries to keep.
    pub bound: Bound,
    /// Whether to remove only whole nodes.
    pub approximately: bool,
    /// With `approximately`, the most entries to remove; 0 for no limit.
    pub limit: u64,
}

// SAFETY: no other container has this pair.
unsafe impl Container for Stream {
    const KIND: Kind = Kind::Stream;
    const ENCODING: Encoding = Encoding::Stream;

    fn memory_bytes(&self) -> usize {
        let blocks: usize = self.nodes.iter().map(Node::memory_bytes).sum();
        let groups: usize = self.groups.values().map(Group::memory_bytes).sum();
        let index = alloc::array_size::<Node>(self.nodes.capacity());
        blocks + groups + index + self.groups.len() * size_of::<(Arc<[u8]>, Group)>()
    }

    fn is_large(&self) -> bool {
        self.nodes.len() > LARGE || self.group_parts() > LARGE
    }

    fn free_effort(&self) -> usize {
        self.nodes.len() + self.group_parts()
    }

    fn walk_len(&self) -> usize {
        moves::nodes_len(self.nodes.len())
    }

    fn defragment(&mut self, cursor: MoveCursor, most: usize, moves: &mut Moves) -> Option<MoveCursor> {
        moves::defragment_nodes(&mut self.nodes, |node| &mut node.bytes, cursor, most, moves)
    }

    fn duplicate(&self) -> Stream {
        Stream {
            nodes: self.nodes.iter().map(Node::share).collect(),
            buried: self.buried,
            length: self.length,
            figures: self.figures,
            groups: self.groups.clone(),
        }
    }
}

impl Stream {
    /// The number of groups, consumers and pending entries.
    fn group_parts(&self) -> usize {
        self.groups.values().map(|group| 1 + group.consumers().len() + group.pending().len()).sum()
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether the stream has no entries; the key of an empty stream stays.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The figures recorded in addition to the entries.
    #[inline]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len() - self.buried
    }

    /// The number of nodes that Redis's index of the same entries would have.
    pub fn radix_nodes(&self) -> usize {
        radix::nodes(&self.nodes().map(|(master, _)| master.to_bytes()).collect::<Vec<_>>())
    }

    /// The nodes: the ID to which their entries' IDs are relative, and the listpack.
    pub fn nodes(&self) -> impl Iterator<Item = (Id, &[u8])> {
        self.nodes.iter().filter(|node| !node.is_buried()).map(|node| (node.master, node.bytes()))
    }

    /// Appends a node from untrusted bytes. The caller sets the figures afterwards.
    pub fn push_node(&mut self, master: Id, bytes: &[u8]) -> Result<(), InvalidStream> {
        let node = Node::checked(master, bytes)?;
        let before = self.nodes.back().map(|node| node.last_live_id().unwrap_or(node.master));
        if before.is_some_and(|before| master <= before) {
            return Err(InvalidStream);
        }
        self.length += node.master().count as u64;
        self.nodes.push_back(node);
        Ok(())
    }

    /// Sets the figures; the first ID follows from the entries. `last_id` must not be below the last entry's.
    pub fn set_figures(&mut self, figures: Figures) -> Result<(), InvalidStream> {
        let last = self.last_entry();
        if last.is_some_and(|last| last > figures.last_id) {
            return Err(InvalidStream);
        }
        self.figures = figures;
        self.find_first();
        Ok(())
    }

    /// The ID of the last entry.
    pub fn last_entry(&self) -> Option<Id> {
        self.range_back(Id::MIN, Id::MAX).next().map(|record| record.id)
    }

    /// The ID of the first entry whose bytes still exist, deleted or not.
    pub fn first_remnant(&self) -> Option<Id> {
        self.nodes.front()?.walk().next().map(|record| record.id)
    }

    /// Sets the last ID, which must not be below the last entry's.
    pub fn set_last_id(&mut self, id: Id) {
        self.figures.last_id = id;
    }

    /// Sets the number of entries ever added.
    pub fn set_entries_added(&mut self, entries: u64) {
        self.figures.entries_added = entries;
    }

    /// Sets the largest ID that was deleted.
    pub fn set_max_deleted_id(&mut self, id: Id) {
        self.figures.max_deleted_id = id;
    }

    /// Returns the ID for an entry that is added now; `None` if it would not be above the last one.
    #[inline]
    pub fn next_id(&self, wanted: WantedId, now_ms: u64) -> Option<Id> {
        let last = self.figures.last_id;
        let id = match wanted {
            WantedId::Any if now_ms > last.ms => Id { ms: now_ms, seq: 0 },
            WantedId::Any => last.next()?,
            WantedId::At(ms) if ms == last.ms => Id { ms, seq: last.seq.checked_add(1)? },
            WantedId::At(ms) => Id { ms, seq: 0 },
            WantedId::Exactly(id) => id,
        };
        (id > last).then_some(id)
    }

    /// Adds an entry under an ID from [`next_id`](Self::next_id): `fields` pairs; `items` yields fields and values
    /// alternately.
    pub fn append<'a>(
        &mut self,
        id: Id,
        fields: usize,
        items: impl Iterator<Item = &'a [u8]> + Clone,
        shapes: &Shapes,
    ) {
        debug_assert!(id > self.figures.last_id);
        // Only possible if all entries of the last node are deleted and the last ID was set back.
        while self.nodes.back().is_some_and(|node| node.master >= id) {
            self.nodes.pop_back();
            self.unbury_ends();
        }
        let bytes = items.clone().map(<[u8]>::len).sum();
        if !self.nodes.back().is_some_and(|node| node.accepts(bytes, shapes)) {
            if let Some(full) = self.nodes.back_mut() {
                full.close();
            }
            self.nodes.push_back(Node::new(id, fields, items.clone()));
        }
        let last = self.nodes.back_mut().expect("a node was there or was added");
        last.push(id, fields, bytes, items);
        self.length += 1;
        self.figures.entries_added = self.figures.entries_added.wrapping_add(1);
        self.figures.last_id = id;
        if self.length == 1 {
            self.figures.first_id = id;
        }
    }

    /// The index of the node that would contain an entry with this ID.
    #[inline]
    fn node_of(&self, id: Id) -> Option<usize> {
        // Nearly all lookups are near the end.
        if self.nodes.back().is_some_and(|node| node.master <= id) {
            return Some(self.nodes.len() - 1);
        }
        self.nodes.partition_point(|node| node.master <= id).checked_sub(1)
    }

    /// The entry with this ID.
    pub fn get(&self, id: Id) -> Option<Record<'_>> {
        self.nodes[self.node_of(id)?].find(id)
    }

    /// Deletes the entry with this ID and returns whether it existed. Call [`find_first`](Self::find_first) afterwards.
    fn delete_one(&mut self, id: Id) -> bool {
        let Some(at) = self.node_of(id) else { return false };
        if !self.nodes[at].delete(id) {
            return false;
        }
        if self.nodes[at].master().count == 0 {
            self.bury(at);
        }
        self.length -= 1;
        true
    }

    /// Frees a node whose entries are all deleted.
    fn bury(&mut self, at: usize) {
        self.nodes[at].bury();
        self.buried += 1;
        self.unbury_ends();
        if self.buried > self.nodes.len() / 2 {
            self.nodes.retain(|node| !node.is_buried());
            self.buried = 0;
        }
    }

    /// Removes buried nodes from both ends.
    fn unbury_ends(&mut self) {
        while self.nodes.front().is_some_and(Node::is_buried) {
            self.nodes.pop_front();
            self.buried -= 1;
        }
        while self.nodes.back().is_some_and(Node::is_buried) {
            self.nodes.pop_back();
            self.buried -= 1;
        }
    }

    /// Deletes the entries with these IDs and returns the number deleted. O(log n) each.
    pub fn delete(&mut self, ids: &[Id]) -> usize {
        let first = self.figures.first_id;
        let (mut deleted, mut was_first) = (0, false);
        for id in ids {
            if self.delete_one(*id) {
                was_first |= *id == first;
                self.figures.max_deleted_id = self.figures.max_deleted_id.max(*id);
                deleted += 1;
            }
        }
        if was_first || self.length == 0 {
            self.find_first();
        }
        deleted
    }

    /// Updates the first ID.
    fn find_first(&mut self) {
        let first = self.range(Id::MIN, Id::MAX).next().map(|record| record.id);
        self.figures.first_id = first.unwrap_or(Id::MIN);
    }

    /// Deletes entries from the front and returns their number.
    pub fn trim(&mut self, trim: &Trim) -> (u64, Debris) {
        let (mut deleted, mut gone) = (0, Vec::new());
        while let Some(node) = self.nodes.front() {
            if let Some(later) = self.nodes.get(AHEAD) {
                later.bytes.prefetch();
            }
            if let Bound::Length(most) = trim.bound
                && self.length <= most
            {
                break;
            }
            let entries = node.master().count as u64;
            if trim.limit != 0 && deleted + entries > trim.limit {
                break;
            }
            let whole = match trim.bound {
                Bound::Length(most) => self.length - entries >= most,
                Bound::Id(least) => node.last_id().unwrap_or_default() < least,
            };
            if whole {
                gone.extend(self.nodes.pop_front());
                self.unbury_ends();
                self.length -= entries;
                deleted += entries;
                continue;
            }
            if trim.approximately {
                break;
            }
            deleted += self.trim_first_node(trim.bound);
            if !self.hides_some(trim.bound) {
                break;
            }
            self.nodes.pop_front();
            self.unbury_ends();
        }
        if deleted > 0 {
            self.find_first();
        }
        let debris: Debris = if gone.len() > LARGE { Some(Box::new(gone)) } else { None };
        (deleted, debris)
    }

    /// Whether the first node has only deleted entries, one of them with an ID that would be kept, while the next node
    /// begins with an ID that is trimmed: the last ID was set back between them.
    fn hides_some(&self, bound: Bound) -> bool {
        let Bound::Id(least) = bound else { return false };
        let mut nodes = self.nodes.iter();
        nodes.next().is_some_and(|first| first.master().count == 0)
            && nodes.find(|node| !node.is_buried()).is_some_and(|next| next.master < least)
    }

    fn trim_first_node(&mut self, bound: Bound) -> u64 {
        let length = self.length;
        let Some(node) = self.nodes.front_mut() else { return 0 };
        let deleted = node.delete_front(|id, deleted| match bound {
            Bound::Length(most) => length - deleted > most,
            Bound::Id(least) => id < least,
        });
        self.length -= deleted;
        deleted
    }

    /// The groups, ordered by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.values()
    }

    /// The group with this name.
    #[inline]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The group with this name, for changing.
    #[inline]
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// Adds a group and returns whether its name was free.
    pub fn add_group(&mut self, group: Group) -> bool {
        match self.groups.entry(Arc::clone(&group.name)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(group);
                true
            }
        }
    }

    /// Removes and returns a group.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove(name)
    }
}
