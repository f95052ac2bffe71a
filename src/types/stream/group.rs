//! A consumer group: its read position, and the entries delivered to its consumers and not acknowledged.
//!
//! ```text
//!  Group ─▶ pending:   ID ▶ time and number of deliveries, owner     a tree ordered by ID
//!        ─▶ consumers: [ name, times, pending IDs ] …                slots; a consumer keeps its slot
//!        ─▶ names:     name ▶ slot                                   a tree ordered by name
//! ```
//!
//! Each pending entry is in the group's tree once. A consumer's tree has only IDs, so that its entries are found
//! without visiting those of others. Costs: O(log n) to deliver, acknowledge or claim, and to add or find a consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::sync::Arc;

use super::InvalidStream;
use super::id::Id;
use super::{Record, Stream};

/// The slot of no consumer.
const NOBODY: u32 = u32::MAX;

/// The memory of a tree per byte of item, as a fraction: with rising IDs, leaves are little more than half full, and
/// each has a header.
const TREE_SHARE: (usize, usize) = (11, 6);

/// An entry that was delivered to a consumer and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The time of the last delivery, in Unix milliseconds.
    pub time: i64,
    /// The number of deliveries.
    pub count: u64,
    consumer: u32,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// The time when the consumer was last seen, in Unix milliseconds.
    pub seen_time: i64,
    /// The time when the consumer last received an entry, in Unix milliseconds; -1 if it never did.
    pub active_time: i64,
    pending: BTreeSet<Id>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The IDs of the entries that it has not acknowledged.
    pub fn pending(&self) -> &BTreeSet<Id> {
        &self.pending
    }
}

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) name: Arc<[u8]>,
    /// The ID of the last entry delivered to a consumer, or the one that was set.
    pub last_id: Id,
    /// The number of entries ever added to the stream up to that ID, if known.
    pub entries_read: Option<i64>,
    pending: BTreeMap<Id, Delivery>,
    /// The number of pending entries from a file that have no owner yet.
    unowned: usize,
    consumers: Vec<Option<Consumer>>,
    /// Slots that are not in use.
    free: Vec<u32>,
    names: BTreeMap<Arc<[u8]>, u32>,
}

/// A consumer's slot, which stays the same as long as the consumer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSlot(u32);

impl Group {
    /// A group without consumers.
    pub fn new(name: &[u8], last_id: Id, entries_read: Option<i64>) -> Group {
        let (consumers, free, names) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (pending, unowned) = (BTreeMap::new(), 0);
        Group { name: name.into(), last_id, entries_read, pending, unowned, consumers, free, names }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The read counter as `ENTRIESREAD` takes it: -1 if unknown. A counter that was set to the largest number and has
    /// overflowed counts as unknown, since an AOF with its value would not load.
    pub fn entries_read_of_log(&self) -> i64 {
        self.entries_read.unwrap_or(-1).max(-1)
    }

    /// All entries that are not acknowledged.
    pub fn pending(&self) -> &BTreeMap<Id, Delivery> {
        &self.pending
    }

    /// The bytes of memory that it owns.
    pub(super) fn memory_bytes(&self) -> usize {
        let tree = |items: usize, size: usize| items * size * TREE_SHARE.0 / TREE_SHARE.1;
        let own = |consumer: &Consumer| consumer.name.len() + tree(consumer.pending.len(), size_of::<Id>());
        let consumers: usize = self.consumers.iter().flatten().map(own).sum();
        self.name.len()
            + consumers
            + tree(self.pending.len(), size_of::<(Id, Delivery)>())
            + self.consumers.capacity() * size_of::<Option<Consumer>>()
            + self.free.capacity() * size_of::<u32>()
            + tree(self.names.len(), size_of::<(Arc<[u8]>, u32)>())
    }

    /// The consumers, ordered by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.names.values().map(|slot| self.at(*slot))
    }

    fn at(&self, slot: u32) -> &Consumer {
        self.consumers[slot as usize].as_ref().expect("a slot that is in use")
    }

    fn at_mut(&mut self, slot: u32) -> &mut Consumer {
        self.consumers[slot as usize].as_mut().expect("a slot that is in use")
    }

    /// The slot of the consumer with this name.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<ConsumerSlot> {
        self.names.get(name).map(|slot| ConsumerSlot(*slot))
    }

    /// The consumer in a slot.
    pub fn consumer(&self, slot: ConsumerSlot) -> &Consumer {
        self.at(slot.0)
    }

    /// The consumer in a slot, for changing its times.
    pub fn consumer_mut(&mut self, slot: ConsumerSlot) -> &mut Consumer {
        self.at_mut(slot.0)
    }

    /// Adds a consumer, seen now; `None` if the name is taken.
    pub fn add_consumer(&mut self, name: &[u8], now: i64) -> Option<ConsumerSlot> {
        if self.names.contains_key(name) {
            return None;
        }
        let name: Arc<[u8]> = name.into();
        let (seen_time, active_time) = (now, -1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            (self.consumers.len() - 1) as u32
        });
        self.names.insert(Arc::clone(&name), slot);
        self.consumers[slot as usize] =
            Some(Consumer { name, seen_time, active_time, pending: BTreeSet::new() });
        Some(ConsumerSlot(slot))
    }

    /// Returns the consumer with this name, which is added if it is missing, and marks it as seen now.
    pub fn find_or_add(&mut self, name: &[u8], now: i64) -> ConsumerSlot {
        match self.find(name) {
            Some(slot) => {
                self.at_mut(slot.0).seen_time = now;
                slot
            }
            None => self.add_consumer(name, now).expect("a name that was not found"),
        }
    }

    /// Removes a consumer with its pending entries, and returns their number.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let slot = self.names.remove(name)?;
        self.free.push(slot);
        let consumer = self.consumers[slot as usize].take().expect("a slot that is in use");
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// The consumer to which an unacknowledged entry belongs.
    pub fn owner(&self, delivery: &Delivery) -> &Consumer {
        self.at(delivery.consumer)
    }

    /// Delivers an entry to a consumer for the first time. If the group was set back, the entry may be pending for
    /// another consumer.
    fn deliver(&mut self, id: Id, slot: ConsumerSlot, now: i64) {
        let delivery = Delivery { time: now, count: 1, consumer: slot.0 };
        if let Some(before) = self.pending.insert(id, delivery)
            && before.consumer != slot.0
        {
            self.at_mut(before.consumer).pending.remove(&id);
        }
        let consumer = self.at_mut(slot.0);
        consumer.pending.insert(id);
        consumer.active_time = now;
    }

    /// Assigns an entry to a consumer that claims it. The entry may have no owner yet (`XCLAIM … FORCE`).
    pub fn claim(&mut self, id: Id, slot: ConsumerSlot, time: i64, count: u64, now: i64) {
        let before = self.pending.insert(id, Delivery { time, count, consumer: slot.0 });
        let owner = before.map_or(NOBODY, |before| before.consumer);
        if owner != slot.0 {
            if owner != NOBODY {
                self.at_mut(owner).pending.remove(&id);
            }
            self.at_mut(slot.0).pending.insert(id);
        }
        self.at_mut(slot.0).active_time = now;
    }

    /// Records that an entry was delivered to its consumer again, and returns its delivery count.
    pub fn deliver_again(&mut self, id: Id, now: i64) -> Option<u64> {
        let delivery = self.pending.get_mut(&id)?;
        delivery.time = now;
        delivery.count = delivery.count.wrapping_add(1);
        Some(delivery.count)
    }

    /// Removes an entry from the pending ones and returns whether it was pending.
    pub fn acknowledge(&mut self, id: Id) -> bool {
        let Some(delivery) = self.pending.remove(&id) else { return false };
        self.at_mut(delivery.consumer).pending.remove(&id);
        true
    }

    /// The pending entries of one consumer, or of all, ordered by ID.
    pub fn pending_of(
        &self,
        slot: Option<ConsumerSlot>,
        range: impl RangeBounds<Id> + Clone,
    ) -> impl Iterator<Item = (Id, &Delivery)> {
        let (own, all) = match slot {
            Some(slot) => (Some(self.at(slot.0).pending.range(range)), None),
            None => (None, Some(self.pending.range(range))),
        };
        let own = own.into_iter().flatten().filter_map(|id| Some((*id, self.pending.get(id)?)));
        own.chain(all.into_iter().flatten().map(|(id, delivery)| (*id, delivery)))
    }

    /// Adds a pending entry from a file; [`restore_owner`](Self::restore_owner) sets its owner.
    pub fn restore_pending(&mut self, id: Id, time: i64, count: u64) -> Result<(), InvalidStream> {
        let before = self.pending.insert(id, Delivery { time, count, consumer: NOBODY });
        if before.is_some() {
            return Err(InvalidStream);
        }
        self.unowned += 1;
        Ok(())
    }

    /// Sets the owner of an entry that [`restore_pending`](Self::restore_pending) added.
    pub fn restore_owner(&mut self, id: Id, slot: ConsumerSlot) -> Result<(), InvalidStream> {
        let delivery = self.pending.get_mut(&id).filter(|d| d.consumer == NOBODY).ok_or(InvalidStream)?;
        delivery.consumer = slot.0;
        self.unowned -= 1;
        self.at_mut(slot.0).pending.insert(id);
        Ok(())
    }

    /// Whether every pending entry has an owner; a restored group must not be used before. O(1).
    pub fn is_whole(&self) -> bool {
        self.unowned == 0
    }
}

impl Stream {
    /// Delivers up to `most` entries that the group has not read yet to one of its consumers, calls `see` with each,
    /// and returns their number. Unless `acknowledged`, they are pending afterwards.
    pub fn deliver(
        &mut self,
        name: &[u8],
        slot: ConsumerSlot,
        (most, acknowledged, now): (usize, bool, i64),
        mut see: impl FnMut(&Record<'_>),
    ) -> usize {
        // The groups are moved out of the stream while its entries are read.
        let mut groups = std::mem::take(&mut self.groups);
        let mut count = 0;
        if let Some(group) = groups.get_mut(name)
            && let Some(from) = group.last_id.next()
        {
            for record in self.range(from, Id::MAX).take(most) {
                group.entries_read = self.entries_read_at(record.id, group.entries_read);
                group.last_id = record.id;
                see(&record);
                if !acknowledged {
                    group.deliver(record.id, slot, now);
                }
                count += 1;
            }
        }
        self.groups = groups;
        count
    }
}
