//! Consumer groups: `XGROUP`, acknowledgements, and pending entries.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::streams::{INVALID_ID, range_end, range_start, reply_id, strict_id};
use crate::db::{Access, Event, Key, Position};
use crate::resp::Reply;
use crate::text::number::Decimal;
use crate::types::stream::{Delivery, Group, Id, until_zero};

/// The error for a missing group.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> Error {
    Error::concat(&[
        b"NOGROUP No such key '",
        until_zero(key),
        b"' or consumer group '",
        until_zero(group),
        b"'",
    ])
}

/// The same error, as `XGROUP` and `XINFO` word it for an existing stream.
pub(super) fn no_such_group_of(key: &[u8], group: &[u8]) -> Error {
    Error::concat(&[
        b"NOGROUP No such consumer group '",
        until_zero(group),
        b"' for key name '",
        until_zero(key),
        b"'",
    ])
}

/// The error for invalid arguments of a subcommand.
pub(super) fn wrong_arguments(args: Args<'_>, container: &str) -> Error {
    let name = until_zero(args.get(1));
    Error::concat(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        &name[..name.len().min(128)],
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ])
}

/// Finds the stream at argument 1 if it has the group of argument 2.
pub(super) fn find_group<'a>(
    ctx: &mut Context<'_>,
    args: Args<'a>,
    access: Access,
) -> Result<Option<(Key<'a>, Position)>> {
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_stream(key, access)?;
    let found = found.filter(|at| ctx.read_stream(*at, |stream, _| stream.group(args.get(2)).is_some()));
    Ok(found.map(|at| (key, at)))
}

/// A pending entry, in the form in which it is propagated.
pub(super) struct Told {
    pub consumer: Vec<u8>,
    pub id: Vec<u8>,
    pub time: i64,
    pub count: u64,
}

impl Told {
    /// Copies the state of the entry with the ID text `id` from `group`.
    pub fn new(group: &Group, id: &[u8], delivery: &Delivery) -> Told {
        Told {
            consumer: group.owner(delivery).name().to_vec(),
            id: id.to_vec(),
            time: delivery.time,
            count: delivery.count,
        }
    }
}

impl Context<'_> {
    /// Propagates a pending entry as the `XCLAIM` that creates it; `last_id` is the group's.
    pub(super) fn propagate_claim(&mut self, key: Key<'_>, group: &[u8], told: &Told, last_id: Id) {
        let (time, count) = (Decimal::new(told.time), Decimal::new(told.count as i64));
        self.propagate(&[
            b"XCLAIM",
            key.name,
            group,
            &told.consumer,
            b"0",
            &told.id,
            b"TIME",
            time.as_bytes(),
            b"RETRYCOUNT",
            count.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &last_id.to_text(),
        ]);
    }

    /// Propagates that a group has a new consumer.
    pub(super) fn propagate_consumer(&mut self, key: Key<'_>, group: &[u8], consumer: &[u8]) {
        self.propagate(&[b"XGROUP", b"CREATECONSUMER", key.name, group, consumer]);
    }

    /// Propagates the read position of a group of the stream at `at`.
    pub(super) fn propagate_progress(&mut self, key: Key<'_>, at: Position, group: &[u8]) {
        let progress = self.read_stream(at, |stream, _| {
            stream.group(group).map(|group| (group.last_id, group.entries_read_of_log()))
        });
        let Some((last_id, read)) = progress else { return };
        let (last_id, read) = (last_id.to_text(), Decimal::new(read));
        self.propagate(&[b"XGROUP", b"SETID", key.name, group, &last_id, b"ENTRIESREAD", read.as_bytes()]);
    }
}

/// The options of `XGROUP CREATE` and `XGROUP SETID`.
struct Options {
    create: bool,
    entries_read: Option<i64>,
}

impl Options {
    fn parse(args: Args<'_>, may_create: bool) -> Result<Options> {
        let mut options = Options { create: false, entries_read: None };
        let mut at = 5;
        while at < args.len() {
            if may_create && args.is(at, "mkstream") {
                options.create = true;
            } else if args.is(at, "entriesread") && at + 1 < args.len() {
                at += 1;
                options.entries_read = match integer(args.get(at))? {
                    -1 => None,
                    ..-1 => return Err(Error::new("ERR value for ENTRIESREAD must be positive or -1")),
                    read => Some(read),
                };
            } else {
                return Err(wrong_arguments(args, "XGROUP"));
            }
            at += 1;
        }
        Ok(options)
    }
}

const NO_KEY: Error = Error::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// Finds the stream at argument 2.
fn find<'a>(ctx: &mut Context<'_>, args: Args<'a>) -> Result<(Key<'a>, Position)> {
    let key = ctx.first_key(args.get(2));
    let at = ctx.find_stream(key, Access::Write)?.ok_or(NO_KEY)?;
    Ok((key, at))
}

/// Like [`find`], for a stream that must have the group of argument 3.
fn find_with_group<'a>(ctx: &mut Context<'_>, args: Args<'a>) -> Result<(Key<'a>, Position)> {
    let (key, at) = find(ctx, args)?;
    if ctx.read_stream(at, |stream, _| stream.group(args.get(3)).is_none()) {
        return Err(no_such_group_of(key.name, args.get(3)));
    }
    Ok((key, at))
}

/// `XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]`: `OK`. O(log N).
pub fn xgroup_create(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = Options::parse(args, true)?;
    let key = ctx.first_key(args.get(2));
    let found = ctx.find_stream(key, Access::Write)?;
    if found.is_none() && !options.create {
        return Err(NO_KEY);
    }
    if args.len() > 8 {
        return Err(wrong_arguments(args, "XGROUP"));
    }
    let id = match (until_zero(args.get(4)), found) {
        (b"$", None) => Id::MIN,
        (b"$", Some(at)) => ctx.read_stream(at, |stream, _| stream.figures().last_id),
        _ => strict_id(args.get(4))?,
    };
    let at = found.unwrap_or_else(|| ctx.insert_stream(key));
    let group = Group::new(args.get(3), id, options.entries_read);
    if !ctx.change_stream(at, |stream, _, _| stream.add_group(group)) {
        ctx.unchanged();
        return Err(Error::new("BUSYGROUP Consumer Group name already exists"));
    }
    if found.is_none() {
        // The stream is new as well.
        ctx.changed(key, Event::Unnamed, 0);
    }
    ctx.changed(key, Event::XGroupCreate, 1);
    ctx.reply.ok();
    Ok(())
}

/// `XGROUP SETID key group id | $ [ENTRIESREAD entries-read]`: `OK`. O(log N).
pub fn xgroup_setid(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = Options::parse(args, false)?;
    let (key, at) = find_with_group(ctx, args)?;
    if args.len() > 7 {
        return Err(wrong_arguments(args, "XGROUP"));
    }
    let id = match until_zero(args.get(4)) {
        b"$" => ctx.read_stream(at, |stream, _| stream.figures().last_id),
        _ => Id::parse_bound(args.get(4), 0).ok_or(INVALID_ID)?,
    };
    ctx.change_stream(at, |stream, _, _| {
        if let Some(group) = stream.group_mut(args.get(3)) {
            (group.last_id, group.entries_read) = (id, options.entries_read);
        }
    });
    ctx.changed(key, Event::XGroupSetId, 1);
    ctx.reply.ok();
    Ok(())
}

/// Declares whether `key` was changed.
fn declare(ctx: &mut Context<'_>, key: Key<'_>, event: Event, happened: bool) {
    if happened {
        ctx.changed(key, event, 1);
    } else {
        ctx.unchanged();
    }
}

/// `XGROUP DESTROY key group`: 1 if the group existed, else 0. O(N) in its pending entries.
pub fn xgroup_destroy(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (key, at) = find(ctx, args)?;
    let removed = ctx.change_stream(at, |stream, _, _| stream.remove_group(args.get(3)).is_some());
    declare(ctx, key, Event::XGroupDestroy, removed);
    ctx.reply.integer(i64::from(removed));
    Ok(())
}

/// `XGROUP CREATECONSUMER key group consumer`: 1 if it is new, else 0. O(log N).
pub fn xgroup_createconsumer(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (key, at) = find_with_group(ctx, args)?;
    let now = ctx.now();
    let added = ctx.change_stream(at, |stream, _, _| {
        stream.group_mut(args.get(3)).is_some_and(|group| group.add_consumer(args.get(4), now).is_some())
    });
    declare(ctx, key, Event::XGroupCreateConsumer, added);
    ctx.reply.integer(i64::from(added));
    Ok(())
}

/// `XGROUP DELCONSUMER key group consumer`: the number of its pending entries. O(N) in that number.
pub fn xgroup_delconsumer(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (key, at) = find_with_group(ctx, args)?;
    let removed = ctx.change_stream(at, |stream, _, _| {
        stream.group_mut(args.get(3)).and_then(|group| group.remove_consumer(args.get(4)))
    });
    declare(ctx, key, Event::XGroupDelConsumer, removed.is_some());
    ctx.reply.integer(removed.unwrap_or(0) as i64);
    Ok(())
}

/// `XACK key group id [id …]`: the number of entries that were pending and now are not. O(log N) each.
pub fn xack(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let Some((key, at)) = find_group(ctx, args, Access::Read)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    // All IDs are checked before anything is changed.
    for arg in args.iter_from(3) {
        strict_id(arg)?;
    }
    let acknowledged = ctx.change_stream(at, |stream, _, _| {
        let Some(group) = stream.group_mut(args.get(2)) else { return 0 };
        args.iter_from(3).filter(|arg| strict_id(arg).is_ok_and(|id| group.acknowledge(id))).count()
    });
    match acknowledged {
        0 => ctx.unchanged(),
        _ => ctx.changed(key, Event::Bookkeeping, acknowledged as u64),
    }
    ctx.reply.integer(acknowledged as i64);
    Ok(())
}

/// The range of an `XPENDING` call.
struct Asked<'a> {
    min_idle: i64,
    from: Id,
    to: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Asked<'a>>> {
        match args.len() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(SYNTAX),
        }
        let (mut first, mut min_idle) = (3, 0);
        if args.is(3, "idle") {
            min_idle = integer(args.get(4))?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            first = 5;
        }
        let count = integer(args.get(first + 2))?.max(0) as usize;
        let (from, to) = (range_start(args.get(first))?, range_end(args.get(first + 1))?);
        let consumer = (first + 3 < args.len()).then(|| args.get(first + 3));
        Ok(Some(Asked { min_idle, from, to, count, consumer }))
    }
}

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`: the number of pending entries, the first and
/// last of their IDs, and the number per consumer; with a range, for each entry its ID, its consumer, the time since
/// its last delivery, and its delivery count. O(N) in the entries examined.
pub fn xpending(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let asked = Asked::parse(args)?;
    let now = ctx.now();
    let Some((_, at)) = find_group(ctx, args, Access::Read)? else {
        return Err(no_such_group(args.get(1), args.get(2)));
    };
    ctx.read_stream(at, |stream, reply| {
        let Some(group) = stream.group(args.get(2)) else { return };
        match &asked {
            None => reply_summary(reply, group),
            Some(asked) => reply_pending(reply, group, asked, now),
        }
    });
    Ok(())
}

fn reply_summary(reply: &mut Reply<'_>, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.integer(pending.len() as i64);
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value()) else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply_id(reply, *first);
    reply_id(reply, *last);
    let header = reply.deferred_array();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| !consumer.pending().is_empty()) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending().len() as i64);
        count += 1;
    }
    reply.finish_array(header, count);
}

fn reply_pending(reply: &mut Reply<'_>, group: &Group, asked: &Asked<'_>, now: i64) {
    let slot = match asked.consumer.map(|name| group.find(name)) {
        Some(None) => return reply.array(0),
        found => found.flatten(),
    };
    let header = reply.deferred_array();
    let mut count = 0;
    // A range whose end is below its start is empty; the tree would panic.
    let from = if asked.from <= asked.to { asked.from } else { asked.to };
    let all = group.pending_of(slot, from..=asked.to).filter(|(id, _)| *id >= asked.from);
    let idle = |time: i64| now.wrapping_sub(time);
    let old = all.filter(|(_, delivery)| asked.min_idle == 0 || idle(delivery.time) >= asked.min_idle);
    for (id, delivery) in old.take(asked.count) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(group.owner(delivery).name());
        reply.integer(idle(delivery.time).max(0));
        reply.integer(delivery.count as i64);
        count += 1;
    }
    reply.finish_array(header, count);
}

/// Parses the IDs of a call, from argument `first` up to the first that is not an ID.
pub(super) fn leading_ids(args: Args<'_>, first: usize) -> Vec<Id> {
    args.iter_from(first).map_while(|arg| strict_id(arg).ok()).collect()
}
