//! A stream: its nodes as in memory, its metadata, and its groups.
//!
//! ```text
//!  21  nodes, then for each: the first ID's 16 bytes as a string, a listpack
//!      entries | last ID | first ID | largest deleted ID | entries ever          (an ID here: two lengths)
//!      groups, then for each:
//!        name | last ID | entries read
//!        pending, then for each:   ID 16 | time 8 | deliveries
//!        consumers, then for each: name | seen 8 | active 8 | pending, then for each: ID 16
//!  19  without the time at which a consumer was active                           (7.0)
//!  15  without first ID, largest deleted ID, entries ever, entries read          (5.0)
//! ```
//!
//! IDs of 16 bytes are big-endian, times little-endian Unix milliseconds. An unknown number of entries read is −1. Data
//! that an older form lacks is derived as in Redis.

use super::growing::Decoder;
use super::{Encoder, Input, LoadError, Sink, Target};
use crate::types::Entry;
use crate::types::stream::{ConsumerSlot, Figures, Group, Id, InvalidStream, Stream};

/// The data that a version of the format adds to the basic form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Type 15.
    Basic,
    /// Type 19: with counts.
    Counted,
    /// Type 21: with the time at which a consumer was active.
    Timed,
}

impl From<InvalidStream> for LoadError {
    fn from(_: InvalidStream) -> LoadError {
        LoadError::Malformed("a bad stream")
    }
}

pub(super) fn save(entry: &Entry, out: &mut Encoder<'_, impl Sink>) {
    save_as(entry, Form::Timed, out);
}

/// Writes a form that has counts.
pub(super) fn save_as(entry: &Entry, form: Form, out: &mut Encoder<'_, impl Sink>) {
    assert!(form >= Form::Counted, "older forms are read, not written");
    let Some(stream) = entry.container::<Stream>() else { return };
    out.counted(stream.node_count(), stream.nodes(), |out, (first, listpack)| {
        out.string(&first.to_bytes());
        out.listpack(listpack);
    });
    let figures = stream.figures();
    out.length(stream.len());
    save_id(figures.last_id, out);
    save_id(figures.first_id, out);
    save_id(figures.max_deleted_id, out);
    out.length(figures.entries_added);
    out.counted(stream.groups().len(), stream.groups(), |out, group| save_group(group, form, out));
}

fn save_id(id: Id, out: &mut Encoder<'_, impl Sink>) {
    out.length(id.ms);
    out.length(id.seq);
}

fn save_group(group: &Group, form: Form, out: &mut Encoder<'_, impl Sink>) {
    out.string(group.name());
    save_id(group.last_id, out);
    out.length(group.entries_read.unwrap_or(-1) as u64);
    out.counted(group.pending().len(), group.pending(), |out, (id, delivery)| {
        out.raw(&id.to_bytes());
        out.raw(&delivery.time.to_le_bytes());
        out.length(delivery.count);
    });
    let mut unowned = group.pending().len();
    out.counted(group.consumers().len(), group.consumers(), |out, consumer| {
        out.string(consumer.name());
        out.raw(&consumer.seen_time.to_le_bytes());
        if form >= Form::Timed {
            out.raw(&consumer.active_time.to_le_bytes());
        }
        out.counted(consumer.pending().len(), consumer.pending(), |out, id| out.raw(&id.to_bytes()));
        unowned =
            unowned.checked_sub(consumer.pending().len()).expect("an entry is pending for one consumer");
    });
    assert!(unowned == 0, "{unowned} pending entries have no consumer");
}

/// The part of a stream to read next. A number counts the parts of this kind that are left; it is never zero.
#[derive(Clone, Copy)]
enum Part {
    Node(u64),
    /// Everything between the nodes and the groups.
    Figures,
    Group,
    Pending(u64),
    /// The number of a group's consumers.
    Consumers,
    Consumer,
    /// An entry that is pending for the consumer in this slot.
    Owned(u64, ConsumerSlot),
    End,
}

/// A stream under construction, part by part (types 15, 19 and 21). It may be empty.
pub(super) struct Parts {
    form: Form,
    stream: Stream,
    next: Part,
    /// Groups left, including the current one.
    groups: u64,
    /// The current group.
    group: Group,
    /// Its consumers left, including the current one.
    consumers: u64,
}

impl Parts {
    /// Begins a stream.
    pub(super) fn begin(form: Form, input: &mut impl Input) -> Result<Parts, LoadError> {
        let group = Group::new(b"", Id::MIN, None);
        let next = nodes(input.length()?);
        Ok(Parts { form, stream: Stream::default(), next, groups: 0, group, consumers: 0 })
    }

    fn load_node(&mut self, input: &mut impl Input) -> Result<(), LoadError> {
        let key = input.string()?.into_bytes();
        let first = Id::from_bytes(key[..].try_into().map_err(|_| InvalidStream)?);
        Ok(self.stream.push_node(first, &input.string()?.into_bytes())?)
    }

    fn load_figures(&mut self, input: &mut impl Input) -> Result<(), LoadError> {
        if input.length()? != self.stream.len() {
            return Err(LoadError::Malformed("a stream whose length differs from its header"));
        }
        let mut figures = Figures { last_id: load_id(input)?, ..Figures::default() };
        figures.entries_added = self.stream.len();
        if self.form >= Form::Counted {
            // The first ID follows from the entries; these bytes are ignored.
            load_id(input)?;
            figures.max_deleted_id = load_id(input)?;
            figures.entries_added = input.length()?;
        }
        Ok(self.stream.set_figures(figures)?)
    }

    fn load_group(&self, input: &mut impl Input) -> Result<Group, LoadError> {
        let name = input.string()?.into_bytes().into_owned();
        let last_id = load_id(input)?;
        let entries_read = if self.form >= Form::Counted {
            Some(input.length()? as i64).filter(|read| *read != -1)
        } else {
            self.stream.entries_up_to(last_id)
        };
        Ok(Group::new(&name, last_id, entries_read))
    }

    fn load_pending(&mut self, input: &mut impl Input) -> Result<(), LoadError> {
        let id = Id::from_bytes(input.array()?);
        let time = i64::from_le_bytes(input.array()?);
        Ok(self.group.restore_pending(id, time, input.length()?)?)
    }

    fn load_consumer(&mut self, input: &mut impl Input) -> Result<ConsumerSlot, LoadError> {
        let name = input.string()?.into_bytes().into_owned();
        let seen_time = i64::from_le_bytes(input.array()?);
        let slot = self.group.add_consumer(&name, seen_time).ok_or(LoadError::DUPLICATE)?;
        self.group.consumer_mut(slot).active_time = match self.form {
            Form::Timed => i64::from_le_bytes(input.array()?),
            Form::Basic | Form::Counted => seen_time,
        };
        Ok(slot)
    }

    /// The next part, if `left` pending entries of the consumer in `slot` are left.
    fn owned(&mut self, left: u64, slot: ConsumerSlot) -> Result<Part, LoadError> {
        if left > 0 {
            return Ok(Part::Owned(left, slot));
        }
        self.consumers -= 1;
        self.next_consumer()
    }

    /// The next consumer of the group, or what follows the group.
    fn next_consumer(&mut self) -> Result<Part, LoadError> {
        if self.consumers > 0 {
            return Ok(Part::Consumer);
        }
        if !self.group.is_whole() {
            return Err(InvalidStream.into());
        }
        let group = std::mem::replace(&mut self.group, Group::new(b"", Id::MIN, None));
        if !self.stream.add_group(group) {
            return Err(LoadError::DUPLICATE);
        }
        self.groups -= 1;
        Ok(groups(self.groups))
    }
}

fn nodes(left: u64) -> Part {
    if left > 0 { Part::Node(left) } else { Part::Figures }
}

fn groups(left: u64) -> Part {
    if left > 0 { Part::Group } else { Part::End }
}

fn pending(left: u64) -> Part {
    if left > 0 { Part::Pending(left) } else { Part::Consumers }
}

impl Decoder for Parts {
    fn is_complete(&self) -> bool {
        matches!(self.next, Part::End)
    }

    fn step(&mut self, input: &mut impl Input, _: Target<'_>) -> Result<(), LoadError> {
        self.next = match self.next {
            Part::Node(left) => {
                self.load_node(input)?;
                nodes(left - 1)
            }
            Part::Figures => {
                self.load_figures(input)?;
                self.groups = input.length()?;
                groups(self.groups)
            }
            Part::Group => {
                self.group = self.load_group(input)?;
                pending(input.length()?)
            }
            Part::Pending(left) => {
                self.load_pending(input)?;
                pending(left - 1)
            }
            Part::Consumers => {
                self.consumers = input.length()?;
                self.next_consumer()?
            }
            Part::Consumer => {
                let slot = self.load_consumer(input)?;
                self.owned(input.length()?, slot)?
            }
            Part::Owned(left, slot) => {
                self.group.restore_owner(Id::from_bytes(input.array()?), slot)?;
                self.owned(left - 1, slot)?
            }
            Part::End => Part::End,
        };
        Ok(())
    }

    fn finish(self, target: Target<'_>) -> Result<Entry, LoadError> {
        Ok(Entry::with_container(target.key, self.stream, target.expire_at))
    }
}

fn load_id(input: &mut impl Input) -> Result<Id, LoadError> {
    Ok(Id { ms: input.length()?, seq: input.length()? })
}
