//! `XREAD` and `XREADGROUP`: what is new in several streams at once.

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, SYNTAX, WRONG_TYPE, integer};
use crate::command::streams::{reply_id, reply_record, reply_records, strict_id};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::{Deferred, Protocol, Reply};
use crate::types::Kind;
use crate::types::stream::{Id, Slot, Stream, until_zero};

/// What a call asks for.
struct Options<'a> {
    /// The most entries of each stream.
    most: usize,
    noack: bool,
    group: Option<(&'a [u8], &'a [u8])>,
    /// The argument of the first key; as many IDs as there are keys follow them.
    first: usize,
    keys: usize,
}

/// Milliseconds to wait, of which only the errors matter here: see [`xread`].
fn check_timeout(arg: &[u8], now: i64) -> Result<(), ErrorText> {
    match integer(arg).map_err(|_| "ERR timeout is not an integer or out of range")? {
        ..0 => Err("ERR timeout is negative"),
        timeout if timeout.checked_add(now).is_none() => Err("ERR timeout is out of range"),
        _ => Ok(()),
    }
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, of_group: bool, now: i64) -> Result<Options<'a>, ErrorText> {
        let mut options = Options { most: usize::MAX, noack: false, group: None, first: 0, keys: 0 };
        let mut at = 1;
        while at < args.len() {
            let following = args.len() - at - 1;
            if args.is(at, "block") && following >= 1 {
                at += 1;
                check_timeout(args.get(at), now)?;
            } else if args.is(at, "count") && following >= 1 {
                at += 1;
                let count = integer(args.get(at))?;
                options.most = if count > 0 { count as usize } else { usize::MAX };
            } else if args.is(at, "streams") && following >= 1 {
                if !following.is_multiple_of(2) {
                    return Err(if of_group { UNBALANCED_GROUP } else { UNBALANCED });
                }
                (options.first, options.keys) = (at + 1, following / 2);
                break;
            } else if args.is(at, "group") && following >= 2 {
                if !of_group {
                    return Err(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    );
                }
                options.group = Some((args.get(at + 1), args.get(at + 2)));
                at += 2;
            } else if args.is(at, "noack") {
                if !of_group {
                    return Err(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    );
                }
                options.noack = true;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        if options.first == 0 {
            return Err(SYNTAX);
        }
        if of_group && options.group.is_none() {
            return Err("ERR Missing GROUP option for XREADGROUP");
        }
        Ok(options)
    }
}

const UNBALANCED: ErrorText =
    "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.";
const UNBALANCED_GROUP: ErrorText =
    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.";

/// Replies of several streams, whose number is known last.
struct Streams {
    header: Option<Deferred>,
    count: usize,
}

impl Streams {
    /// Begins the reply of one more stream.
    fn begin(&mut self, reply: &mut Reply<'_>, key: &[u8]) {
        if self.header.is_none() {
            self.header = Some(reply.deferred());
        }
        if reply.protocol == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        self.count += 1;
    }

    /// Ends the reply. Null says that there was nothing.
    ///
    /// With `BLOCK`, too: a connection that waits is the server's to keep, and the answer to one that must not wait (in
    /// a transaction, say) is that of a wait that was in vain.
    fn end(self, reply: &mut Reply<'_>) {
        match self.header {
            None => reply.null_array(),
            Some(header) if reply.protocol == Protocol::Resp2 => reply.finish_array(header, self.count),
            Some(header) => reply.finish_map(header, self.count),
        }
    }
}

impl Context<'_> {
    /// Finds a stream among several keys.
    fn find_stream_of(&mut self, key: &[u8]) -> Result<Option<Position>, ErrorText> {
        let hash = self.keyspace.hash(key);
        match self.old_find_hashed(hash, key, Access::Read) {
            Some(at) if self.db().get(at).kind() != Kind::Stream => Err(WRONG_TYPE),
            found => Ok(found),
        }
    }
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key …] id [id …]`: for each stream with entries above its ID,
/// the key and these entries; null when there are none. `$` is the ID of the last entry. O(log N + M) a stream.
///
/// A call that may wait and finds nothing answers as after a wait in vain.
pub fn xread(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_xread(ctx, args);
    ctx.answer(outcome);
}

fn try_xread(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let options = Options::parse(args, false, ctx.now())?;
    let mut wanted = Vec::with_capacity(options.keys);
    for i in options.first..options.first + options.keys {
        let found = ctx.find_stream_of(args.get(i))?;
        wanted.push(match until_zero(args.get(i + options.keys)) {
            b"$" => found.map_or(Id::MIN, |at| ctx.read_stream(at, |stream, _| stream.figures().last_id)),
            b">" => {
                return Err(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                     <consumer> option.",
                );
            }
            _ => strict_id(args.get(i + options.keys))?,
        });
    }
    let mut streams = Streams { header: None, count: 0 };
    for (i, after) in (options.first..).zip(wanted) {
        let key = args.get(i);
        let (Some(at), Some(from)) = (ctx.find_stream_of(key)?, after.next()) else { continue };
        ctx.read_stream(at, |stream, reply| {
            let mut records = stream.range(from, Id::MAX).peekable();
            if records.peek().is_some() {
                streams.begin(reply, key);
                reply_records(reply, records.take(options.most));
            }
        });
    }
    streams.end(&mut ctx.reply);
    Ok(())
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key …] id [id …]`: as
/// `XREAD`; `>` asks for entries that the group was not given yet, which become the consumer's pending ones, and an ID
/// for those that it has pending already. O(log N + M) a stream.
///
/// A call that may wait and finds nothing answers as after a wait in vain.
pub fn xreadgroup(ctx: &mut Context<'_>, args: Args<'_>) {
    let now = ctx.now();
    match Options::parse(args, true, now) {
        Ok(options) => read_group(ctx, args, &options),
        Err(text) => ctx.reply.error(text),
    }
}

fn read_group(ctx: &mut Context<'_>, args: Args<'_>, options: &Options<'_>) {
    let Some((group, consumer)) = options.group else { return };
    let mut wanted = Vec::with_capacity(options.keys);
    for i in options.first..options.first + options.keys {
        let found = match ctx.find_stream_of(args.get(i)) {
            Ok(found) => found,
            Err(text) => return ctx.reply.error(text),
        };
        let known = found.is_some_and(|at| ctx.read_stream(at, |stream, _| stream.group(group).is_some()));
        if !known {
            return no_such_group(ctx, args.get(i), group);
        }
        wanted.push(match until_zero(args.get(i + options.keys)) {
            b"$" => return ctx.reply.error(LAST_ID),
            b">" => Id::MAX,
            _ => match strict_id(args.get(i + options.keys)) {
                Ok(id) => id,
                Err(text) => return ctx.reply.error(text),
            },
        });
    }
    let now = ctx.now();
    let mut streams = Streams { header: None, count: 0 };
    let mut changes = 0;
    for (i, after) in (options.first..).zip(wanted) {
        let key = args.get(i);
        let Ok(Some(at)) = ctx.find_stream_of(key) else { continue };
        changes += ctx.change_stream(at, |stream, _, reply| {
            let last = stream.last_entry();
            let Some(found) = stream.group_mut(group) else { return 0 };
            // Who asks is a consumer from then on, served or not.
            let before = found.consumers().len();
            let slot = found.find_or_add(consumer, now);
            let added = (found.consumers().len() - before) as u64;
            if after == Id::MAX && last.is_none_or(|last| last <= found.last_id) {
                return added;
            }
            streams.begin(reply, key);
            serve(stream, reply, (group, slot), after, options, now);
            added + 1
        });
    }
    ctx.keyspace.modified(changes);
    streams.end(&mut ctx.reply);
}

const LAST_ID: ErrorText = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.";

fn no_such_group(ctx: &mut Context<'_>, key: &[u8], group: &[u8]) {
    let text = [
        b"NOGROUP No such key '",
        until_zero(key),
        b"' or consumer group '",
        until_zero(group),
        b"' in XREADGROUP with GROUP option",
    ];
    ctx.reply.error(text.concat());
}

/// Replies with new entries, or with a consumer's pending ones above an ID.
fn serve(
    stream: &mut Stream,
    reply: &mut Reply<'_>,
    (group, slot): (&[u8], Slot),
    after: Id,
    options: &Options<'_>,
    now: i64,
) {
    let header = reply.deferred_array();
    let count = if after == Id::MAX {
        stream.deliver(group, slot, (options.most, options.noack, now), |record| reply_record(reply, record))
    } else {
        serve_history(stream, reply, (group, slot), after, options.most, now)
    };
    reply.finish_array(header, count);
}

fn serve_history(
    stream: &mut Stream,
    reply: &mut Reply<'_>,
    (group, slot): (&[u8], Slot),
    after: Id,
    most: usize,
    now: i64,
) -> usize {
    let (Some(from), Some(known)) = (after.next(), stream.group(group)) else { return 0 };
    let ids: Vec<Id> = known.pending_of(Some(slot), from..).map(|(id, _)| id).take(most).collect();
    let mut seen = Vec::with_capacity(ids.len());
    for id in &ids {
        if let Some(record) = stream.get(*id) {
            reply_record(reply, &record);
            seen.push(*id);
        } else {
            // It waits for its acknowledgement, and is deleted.
            reply.array(2);
            reply_id(reply, *id);
            reply.null_array();
        }
    }
    if let Some(known) = stream.group_mut(group) {
        for id in seen {
            known.deliver_again(id, now);
        }
    }
    ids.len()
}
