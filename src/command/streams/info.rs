//! `XINFO`: describes a stream, its groups and their consumers.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{NO_SUCH_KEY, Result};
use crate::command::streams::groups::{no_such_group_of, wrong_arguments};
use crate::command::streams::{reply_id, reply_record, reply_records};
use crate::db::{Access, Position};
use crate::resp::Reply;
use crate::types::stream::{Consumer, Group, Id, Record, Stream};

/// The default number of entries, pending entries and so on in a full reply.
const SHOWN: usize = 10;

/// Finds the stream at argument 2.
fn find(ctx: &mut Context<'_>, args: Args<'_>) -> Result<Position> {
    ctx.find_stream(ctx.first_key(args.get(2)), Access::Read)?.ok_or(NO_SUCH_KEY)
}

fn field(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn field_or_null(reply: &mut Reply<'_>, name: &str, value: Option<i64>) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.integer(value),
        None => reply.null(),
    }
}

fn id_field(reply: &mut Reply<'_>, name: &str, id: Id) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}

/// `XINFO STREAM key [FULL [COUNT count]]`: figures of a stream with its first and last entry; in full, with its
/// entries, groups, consumers, and pending entries. O(1), in full O(N), and O(nodes) for the figures of Redis's index.
pub fn xinfo_stream(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let at = find(ctx, args)?;
    let full = match args.len() {
        3 => None,
        4 if args.is(3, "full") => Some(SHOWN),
        6 if args.is(3, "full") && args.is(4, "count") => match integer(args.get(5))? {
            0 => Some(usize::MAX),
            count => Some(usize::try_from(count).unwrap_or(SHOWN)),
        },
        _ => return Err(wrong_arguments(args, "XINFO")),
    };
    ctx.read_stream(at, |stream, reply| {
        reply.map(if full.is_some() { 9 } else { 10 });
        let figures = stream.figures();
        field(reply, "length", stream.len() as i64);
        field(reply, "radix-tree-keys", stream.node_count() as i64);
        field(reply, "radix-tree-nodes", stream.radix_nodes() as i64);
        id_field(reply, "last-generated-id", figures.last_id);
        id_field(reply, "max-deleted-entry-id", figures.max_deleted_id);
        field(reply, "entries-added", figures.entries_added as i64);
        id_field(reply, "recorded-first-entry-id", figures.first_id);
        if let Some(most) = full {
            return reply_full(reply, stream, most);
        }
        field(reply, "groups", stream.groups().len() as i64);
        entry_field(reply, "first-entry", stream.range(Id::MIN, Id::MAX).next());
        entry_field(reply, "last-entry", stream.range_back(Id::MIN, Id::MAX).next());
    });
    Ok(())
}

fn entry_field(reply: &mut Reply<'_>, name: &str, record: Option<Record<'_>>) {
    reply.bulk(name.as_bytes());
    match record {
        Some(record) => reply_record(reply, &record),
        None => reply.null(),
    }
}

fn reply_full(reply: &mut Reply<'_>, stream: &Stream, most: usize) {
    reply.bulk(b"entries");
    reply_records(reply, stream.range(Id::MIN, Id::MAX).take(most));
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(group.name());
        id_field(reply, "last-delivered-id", group.last_id);
        field_or_null(reply, "entries-read", group.entries_read);
        field_or_null(reply, "lag", stream.lag(group));
        field(reply, "pel-count", group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending().len().min(most));
        for (id, delivery) in group.pending().iter().take(most) {
            reply.array(4);
            reply_id(reply, *id);
            reply.bulk(group.owner(delivery).name());
            reply.integer(delivery.time);
            reply.integer(delivery.count as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        for consumer in group.consumers() {
            reply_consumer(reply, group, consumer, most);
        }
    }
}

fn reply_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, most: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    field(reply, "seen-time", consumer.seen_time);
    field(reply, "active-time", consumer.active_time);
    field(reply, "pel-count", consumer.pending().len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending().len().min(most));
    for id in consumer.pending().iter().take(most) {
        let delivery = &group.pending()[id];
        reply.array(3);
        reply_id(reply, *id);
        reply.integer(delivery.time);
        reply.integer(delivery.count as i64);
    }
}

/// `XINFO GROUPS key`: the groups of a stream. O(N).
pub fn xinfo_groups(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let at = find(ctx, args)?;
    ctx.read_stream(at, |stream, reply| {
        reply.array(stream.groups().len());
        for group in stream.groups() {
            reply.map(6);
            reply.bulk(b"name");
            reply.bulk(group.name());
            field(reply, "consumers", group.consumers().len() as i64);
            field(reply, "pending", group.pending().len() as i64);
            id_field(reply, "last-delivered-id", group.last_id);
            field_or_null(reply, "entries-read", group.entries_read);
            field_or_null(reply, "lag", stream.lag(group));
        }
    });
    Ok(())
}

/// `XINFO CONSUMERS key group`: the consumers of a group. O(N).
pub fn xinfo_consumers(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let at = find(ctx, args)?;
    let now = ctx.now();
    ctx.read_stream(at, |stream, reply| {
        let group = stream.group(args.get(3)).ok_or_else(|| no_such_group_of(args.get(2), args.get(3)))?;
        reply.array(group.consumers().len());
        for consumer in group.consumers() {
            reply.map(4);
            reply.bulk(b"name");
            reply.bulk(consumer.name());
            field(reply, "pending", consumer.pending().len() as i64);
            field(reply, "idle", now.wrapping_sub(consumer.seen_time).max(0));
            let active = consumer.active_time;
            field(reply, "inactive", if active < 0 { -1 } else { now.wrapping_sub(active).max(0) });
        }
        Ok(())
    })
}
