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

use super::{Encoder, Input, LoadError, Sink, Target};
use crate::types::Entry;
use crate::types::stream::{Figures, Group, Id, InvalidStream, Stream};

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

/// Types 15, 19 and 21. A stream may be empty.
pub(super) fn load(form: Form, input: &mut impl Input, target: Target<'_>) -> Result<Entry, LoadError> {
    let mut stream = Stream::default();
    for _ in 0..input.length()? {
        let key = input.string()?.into_bytes();
        let first = Id::from_bytes(key[..].try_into().map_err(|_| InvalidStream)?);
        stream.push_node(first, &input.string()?.into_bytes())?;
    }
    if input.length()? != stream.len() {
        return Err(LoadError::Malformed("a stream whose length differs from its header"));
    }
    let mut figures = Figures { last_id: load_id(input)?, ..Figures::default() };
    figures.entries_added = stream.len();
    if form >= Form::Counted {
        // The first ID follows from the entries; these bytes are ignored.
        load_id(input)?;
        figures.max_deleted_id = load_id(input)?;
        figures.entries_added = input.length()?;
    }
    stream.set_figures(figures)?;
    for _ in 0..input.length()? {
        let group = load_group(form, input, &stream)?;
        if !stream.add_group(group) {
            return Err(LoadError::DUPLICATE);
        }
    }
    Ok(Entry::with_container(target.key, stream, target.expire_at))
}

fn load_id(input: &mut impl Input) -> Result<Id, LoadError> {
    Ok(Id { ms: input.length()?, seq: input.length()? })
}

fn load_group(form: Form, input: &mut impl Input, stream: &Stream) -> Result<Group, LoadError> {
    let name = input.string()?.into_bytes().into_owned();
    let last_id = load_id(input)?;
    let entries_read = if form >= Form::Counted {
        Some(input.length()? as i64).filter(|read| *read != -1)
    } else {
        stream.entries_up_to(last_id)
    };
    let mut group = Group::new(&name, last_id, entries_read);
    for _ in 0..input.length()? {
        let id = Id::from_bytes(input.array()?);
        let time = i64::from_le_bytes(input.array()?);
        group.restore_pending(id, time, input.length()?)?;
    }
    for _ in 0..input.length()? {
        load_consumer(form, input, &mut group)?;
    }
    if group.is_whole() { Ok(group) } else { Err(InvalidStream.into()) }
}

fn load_consumer(form: Form, input: &mut impl Input, group: &mut Group) -> Result<(), LoadError> {
    let name = input.string()?.into_bytes().into_owned();
    let seen_time = i64::from_le_bytes(input.array()?);
    let slot = group.add_consumer(&name, seen_time).ok_or(LoadError::DUPLICATE)?;
    group.consumer_mut(slot).active_time = match form {
        Form::Timed => i64::from_le_bytes(input.array()?),
        Form::Basic | Form::Counted => seen_time,
    };
    for _ in 0..input.length()? {
        group.restore_owner(Id::from_bytes(input.array()?), slot)?;
    }
    Ok(())
}
