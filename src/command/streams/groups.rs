//! Consumer groups: `XGROUP`, what is acknowledged, and what is pending.

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, SYNTAX, integer};
use crate::command::streams::{range_end, range_start, reply_id, strict_id};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::Reply;
use crate::types::stream::{Group, Id, until_zero};

/// The refusal of a call that names a group which is not there.
pub(super) fn no_such_group(ctx: &mut Context<'_>, key: &[u8], group: &[u8]) {
    let text = [b"NOGROUP No such key '", until_zero(key), b"' or consumer group '", until_zero(group), b"'"];
    ctx.reply.error(text.concat());
}

/// The same as `XGROUP` and `XINFO` say it of a stream that is there.
pub(super) fn no_such_group_of(ctx: &mut Context<'_>, key: &[u8], group: &[u8]) {
    let text =
        [b"NOGROUP No such consumer group '", until_zero(group), b"' for key name '", until_zero(key), b"'"];
    ctx.reply.error(text.concat());
}

/// The refusal of a subcommand's arguments.
pub(super) fn wrong_arguments(ctx: &mut Context<'_>, args: Args<'_>, container: &str) {
    let name = until_zero(args.get(1));
    let text = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        &name[..name.len().min(128)],
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ];
    ctx.reply.error(text.concat());
}

/// Finds the stream at argument 1 and whether it has the group of argument 2.
pub(super) fn find_group(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    access: Access,
) -> Result<Option<Position>, ErrorText> {
    let found = ctx.find_stream(args.get(1), access)?;
    Ok(found.filter(|at| ctx.read_stream(*at, |stream, _| stream.group(args.get(2)).is_some())))
}

/// The options of `XGROUP CREATE` and `XGROUP SETID`.
struct Options {
    create: bool,
    entries_read: Option<i64>,
}

/// Why the options are refused.
enum Refusal {
    Text(ErrorText),
    Arguments,
}

fn options(args: Args<'_>, may_create: bool) -> Result<Options, Refusal> {
    let mut options = Options { create: false, entries_read: None };
    let mut at = 5;
    while at < args.len() {
        if may_create && args.is(at, "mkstream") {
            options.create = true;
        } else if args.is(at, "entriesread") && at + 1 < args.len() {
            at += 1;
            options.entries_read = match integer(args.get(at)).map_err(Refusal::Text)? {
                -1 => None,
                ..-1 => return Err(Refusal::Text("ERR value for ENTRIESREAD must be positive or -1")),
                read => Some(read),
            };
        } else {
            return Err(Refusal::Arguments);
        }
        at += 1;
    }
    Ok(options)
}

fn refuse(ctx: &mut Context<'_>, args: Args<'_>, refusal: &Refusal) {
    match refusal {
        Refusal::Text(text) => ctx.reply.error(text),
        Refusal::Arguments => wrong_arguments(ctx, args, "XGROUP"),
    }
}

const NO_KEY: ErrorText = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.";

/// Finds the stream at argument 2; replies with an error where there is none, or where it lacks the group of argument 3
/// and that `must_be`.
fn find(ctx: &mut Context<'_>, args: Args<'_>, must_be: bool) -> Option<Position> {
    let (key, group) = (args.get(2), args.get(3));
    match ctx.find_stream(key, Access::Write) {
        Err(text) => ctx.reply.error(text),
        Ok(None) => ctx.reply.error(NO_KEY),
        Ok(Some(at)) => {
            if !must_be || ctx.read_stream(at, |stream, _| stream.group(group).is_some()) {
                return Some(at);
            }
            no_such_group_of(ctx, key, group);
        }
    }
    None
}

/// `XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]`: `OK`. O(log N).
pub fn xgroup_create(ctx: &mut Context<'_>, args: Args<'_>) {
    let options = match options(args, true) {
        Ok(options) => options,
        Err(refusal) => return refuse(ctx, args, &refusal),
    };
    let key = args.get(2);
    let found = match ctx.find_stream(key, Access::Write) {
        Ok(found) => found,
        Err(text) => return ctx.reply.error(text),
    };
    if found.is_none() && !options.create {
        return ctx.reply.error(NO_KEY);
    }
    if args.len() > 8 {
        return wrong_arguments(ctx, args, "XGROUP");
    }
    let last = |ctx: &mut Context<'_>| {
        found.map_or(Id::MIN, |at| ctx.read_stream(at, |stream, _| stream.figures().last_id))
    };
    let id = match until_zero(args.get(4)) {
        b"$" => last(ctx),
        _ => match strict_id(args.get(4)) {
            Ok(id) => id,
            Err(text) => return ctx.reply.error(text),
        },
    };
    let at = found.unwrap_or_else(|| ctx.insert_stream(key));
    let group = Group::new(args.get(3), id, options.entries_read);
    if ctx.change_stream(at, |stream, _, _| stream.add_group(group)) {
        ctx.keyspace.modified(1);
        ctx.reply.ok();
    } else {
        ctx.reply.error("BUSYGROUP Consumer Group name already exists");
    }
}

/// `XGROUP SETID key group id | $ [ENTRIESREAD entries-read]`: `OK`. O(log N).
pub fn xgroup_setid(ctx: &mut Context<'_>, args: Args<'_>) {
    let options = match options(args, false) {
        Ok(options) => options,
        Err(refusal) => return refuse(ctx, args, &refusal),
    };
    let Some(at) = find(ctx, args, true) else { return };
    if args.len() > 7 {
        return wrong_arguments(ctx, args, "XGROUP");
    }
    let id = match until_zero(args.get(4)) {
        b"$" => ctx.read_stream(at, |stream, _| stream.figures().last_id),
        _ => match Id::parse_bound(args.get(4), 0) {
            Some(id) => id,
            None => return ctx.reply.error(crate::command::streams::INVALID_ID),
        },
    };
    ctx.change_stream(at, |stream, _, _| {
        if let Some(group) = stream.group_mut(args.get(3)) {
            (group.last_id, group.entries_read) = (id, options.entries_read);
        }
    });
    ctx.keyspace.modified(1);
    ctx.reply.ok();
}

/// `XGROUP DESTROY key group`: 1 if the group was there, else 0. O(N) in what is pending.
pub fn xgroup_destroy(ctx: &mut Context<'_>, args: Args<'_>) {
    let Some(at) = find(ctx, args, false) else { return };
    let removed = ctx.change_stream(at, |stream, _, _| stream.remove_group(args.get(3)).is_some());
    ctx.keyspace.modified(u64::from(removed));
    ctx.reply.integer(i64::from(removed));
}

/// `XGROUP CREATECONSUMER key group consumer`: 1 if it is new, else 0. O(log N).
pub fn xgroup_createconsumer(ctx: &mut Context<'_>, args: Args<'_>) {
    let Some(at) = find(ctx, args, true) else { return };
    let now = ctx.now();
    let added = ctx.change_stream(at, |stream, _, _| {
        stream.group_mut(args.get(3)).is_some_and(|group| group.add_consumer(args.get(4), now).is_some())
    });
    ctx.keyspace.modified(u64::from(added));
    ctx.reply.integer(i64::from(added));
}

/// `XGROUP DELCONSUMER key group consumer`: how much it had pending. O(N) in that number.
pub fn xgroup_delconsumer(ctx: &mut Context<'_>, args: Args<'_>) {
    let Some(at) = find(ctx, args, true) else { return };
    let removed = ctx.change_stream(at, |stream, _, _| {
        stream.group_mut(args.get(3)).and_then(|group| group.remove_consumer(args.get(4)))
    });
    ctx.keyspace.modified(u64::from(removed.is_some()));
    ctx.reply.integer(removed.unwrap_or(0) as i64);
}

/// `XACK key group id [id …]`: how many entries were pending, and are not any more. O(log N) each.
pub fn xack(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_xack(ctx, args);
    ctx.answer(outcome);
}

fn try_xack(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let Some(at) = find_group(ctx, args, Access::Read)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    // All of them are looked at before anything is changed.
    for arg in args.iter_from(3) {
        strict_id(arg)?;
    }
    let acknowledged = ctx.change_stream(at, |stream, _, _| {
        let Some(group) = stream.group_mut(args.get(2)) else { return 0 };
        args.iter_from(3).filter(|arg| strict_id(arg).is_ok_and(|id| group.acknowledge(id))).count()
    });
    ctx.keyspace.modified(acknowledged as u64);
    ctx.reply.integer(acknowledged as i64);
    Ok(())
}

/// The range that `XPENDING` is asked for.
struct Asked<'a> {
    min_idle: i64,
    from: Id,
    to: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Asked<'a>>, ErrorText> {
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

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`: how many entries are pending, the first and
/// the last one's ID, and how many each consumer has; with a range, for each entry its ID, its consumer, how long ago and
/// how often it was delivered. O(N) in what is looked at.
pub fn xpending(ctx: &mut Context<'_>, args: Args<'_>) {
    let asked = match Asked::parse(args) {
        Ok(asked) => asked,
        Err(text) => return ctx.reply.error(text),
    };
    let now = ctx.now();
    match find_group(ctx, args, Access::Read) {
        Err(text) => ctx.reply.error(text),
        Ok(None) => no_such_group(ctx, args.get(1), args.get(2)),
        Ok(Some(at)) => ctx.read_stream(at, |stream, reply| {
            let Some(group) = stream.group(args.get(2)) else { return };
            match &asked {
                None => reply_summary(reply, group),
                Some(asked) => reply_pending(reply, group, asked, now),
            }
        }),
    }
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
    // A range whose end is below its start has nothing in it, which a tree of Rust's would not hear of.
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

/// The IDs of a call, from argument `first` to the first that is none.
pub(super) fn leading_ids(args: Args<'_>, first: usize) -> Vec<Id> {
    args.iter_from(first).map_while(|arg| strict_id(arg).ok()).collect()
}
