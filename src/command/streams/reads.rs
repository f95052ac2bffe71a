//! `XREAD` and `XREADGROUP`: read new entries of several streams at once.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::streams::groups::Told;
use crate::command::streams::{reply_id, reply_record, reply_records, strict_id};
use crate::command::waiting::{self, Null, Wait};
use crate::db::{Access, Event, Key, Position};
use crate::resp::{Deferred, Protocol, Reply};
use crate::text::words::shown;
use crate::types::Kind;
use crate::types::stream::{ConsumerSlot, Id, Stream, until_zero};

/// The options of a call.
struct Options<'a> {
    /// The most entries of each stream.
    most: usize,
    noack: bool,
    group: Option<(&'a [u8], &'a [u8])>,
    /// The index of the first key; after the keys come as many IDs.
    first: usize,
    keys: usize,
    /// `BLOCK`: whether to wait if there are no entries, and the timeout in milliseconds.
    waits: bool,
    timeout_ms: Option<u64>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, of_group: bool, now: i64, by_script: bool) -> Result<Options<'a>> {
        let mut options = Options {
            most: usize::MAX,
            noack: false,
            group: None,
            first: 0,
            keys: 0,
            waits: false,
            timeout_ms: None,
        };
        let mut at = 1;
        while at < args.len() {
            let following = args.len() - at - 1;
            if args.is(at, "block") && following >= 1 {
                if by_script {
                    let why = b" command is not allowed with BLOCK option from scripts";
                    return Err(Error::concat(&[b"ERR ", shown(args.get(0)), why]));
                }
                at += 1;
                (options.waits, options.timeout_ms) = (true, waiting::milliseconds(args.get(at), now)?);
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
                    return Err(Error::new(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                options.group = Some((args.get(at + 1), args.get(at + 2)));
                at += 2;
            } else if args.is(at, "noack") {
                if !of_group {
                    return Err(Error::new(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
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
            return Err(Error::new("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(options)
    }

    /// Returns the keys, each with the index of its ID.
    fn streams(&self, args: Args<'a>) -> impl Iterator<Item = (&'a [u8], usize)> + use<'a> {
        let keys = self.keys;
        (self.first..self.first + keys).map(move |at| (args.get(at), at + keys))
    }
}

const UNBALANCED: Error =
    Error::new("ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.");
const UNBALANCED_GROUP: Error = Error::new(
    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
);

/// A reply with several streams, whose number is known only at the end.
struct Streams {
    header: Option<Deferred>,
    count: usize,
}

impl Streams {
    /// Begins the reply for one more stream.
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

    /// Ends the reply. Returns whether it has any stream.
    fn end(self, reply: &mut Reply<'_>) -> bool {
        match self.header {
            None => return false,
            Some(header) if reply.protocol == Protocol::Resp2 => reply.finish_array(header, self.count),
            Some(header) => reply.finish_map(header, self.count),
        }
        true
    }
}

/// For a call that found no entries: with `BLOCK`, blocks the client with the arguments in `rewritten` replaced;
/// otherwise replies null.
fn wait_or_null(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    options: &Options<'_>,
    rewritten: Vec<(usize, Vec<u8>)>,
) {
    if !options.waits {
        return ctx.reply.null_array();
    }
    ctx.wait_for(Wait {
        keys: options.streams(args).map(|(name, _)| name.to_vec()).collect(),
        kind: Kind::Stream,
        // A group is deleted with its stream, and a client blocked on the group gets an error.
        even_if_gone: options.group.is_some(),
        timeout_ms: options.timeout_ms,
        null: Null::Array,
        rewritten,
    });
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key …] id [id …]`: for each stream with entries above its ID,
/// the key and these entries; null if no stream has any (with `BLOCK`, only after waiting). `$` is the ID of the last
/// entry. O(log N + M) a stream.
pub fn xread(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = Options::parse(args, false, ctx.now(), ctx.origin.is_script())?;
    let mut wanted = Vec::with_capacity(options.keys);
    let mut rewritten = Vec::new();
    for (name, id_at) in options.streams(args) {
        let key = ctx.key(name);
        let found = ctx.find_stream(key, Access::Read)?;
        wanted.push(match until_zero(args.get(id_at)) {
            b"$" => {
                let last =
                    found.map_or(Id::MIN, |at| ctx.read_stream(at, |stream, _| stream.figures().last_id));
                if options.waits {
                    // `$` keeps its current value when the command executes again after blocking.
                    rewritten.push((id_at, last.to_text()));
                }
                (key, last)
            }
            b">" => {
                return Err(Error::new(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                     <consumer> option.",
                ));
            }
            _ => (key, strict_id(args.get(id_at))?),
        });
    }
    let mut streams = Streams { header: None, count: 0 };
    // A call may repeat a stream any number of times.
    let bound = ctx.output_bound();
    for (key, after) in wanted {
        if ctx.reply.buf.len() > bound {
            break;
        }
        let (Some(at), Some(from)) = (ctx.find_stream(key, Access::Read)?, after.next()) else { continue };
        ctx.read_stream(at, |stream, reply| {
            let mut records = stream.range(from, Id::MAX).peekable();
            if records.peek().is_some() {
                streams.begin(reply, key.name);
                reply_records(reply, records.take(options.most));
            }
        });
    }
    if !streams.end(&mut ctx.reply) {
        wait_or_null(ctx, args, &options, rewritten);
    }
    ctx.end_beyond(bound);
    Ok(())
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key …] id [id …]`: like
/// `XREAD`; `>` reads entries not yet delivered to the group, which become pending for the consumer, and an ID reads
/// entries that are already pending for it. O(log N + M) a stream.
pub fn xreadgroup(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = Options::parse(args, true, ctx.now(), ctx.origin.is_script())?;
    let Some((group, consumer)) = options.group else { return Err(SYNTAX) };
    let mut wanted = Vec::with_capacity(options.keys);
    for (name, id_at) in options.streams(args) {
        let key = ctx.key(name);
        let found = ctx.find_stream(key, Access::Read)?;
        let known = found.is_some_and(|at| ctx.read_stream(at, |stream, _| stream.group(group).is_some()));
        if !known {
            return Err(no_such_group(name, group));
        }
        wanted.push(match until_zero(args.get(id_at)) {
            b"$" => return Err(LAST_ID),
            b">" => (key, Id::MAX),
            _ => (key, strict_id(args.get(id_at))?),
        });
    }
    ctx.propagate_nothing();
    let mut reading = Reading {
        group,
        consumer,
        most: options.most,
        noack: options.noack,
        now: ctx.now(),
        delivered: None,
    };
    let mut streams = Streams { header: None, count: 0 };
    let bound = ctx.output_bound();
    for (key, after) in wanted {
        if ctx.reply.buf.len() > bound {
            break;
        }
        if let Some(at) = ctx.find_stream(key, Access::Read)? {
            reading.one(ctx, (key, at), after, &mut streams);
        }
    }
    if !streams.end(&mut ctx.reply) {
        wait_or_null(ctx, args, &options, Vec::new());
    }
    ctx.end_beyond(bound);
    Ok(())
}

const LAST_ID: Error = Error::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);

fn no_such_group(key: &[u8], group: &[u8]) -> Error {
    Error::concat(&[
        b"NOGROUP No such key '",
        until_zero(key),
        b"' or consumer group '",
        until_zero(group),
        b"' in XREADGROUP with GROUP option",
    ])
}

/// A consumer that reads.
struct Reading<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    most: usize,
    noack: bool,
    now: i64,
    /// The entries delivered from the current stream with their delivery counts, for propagation; `None` if nothing is
    /// propagated.
    delivered: Option<Vec<(Id, u64)>>,
}

impl Reading<'_> {
    /// Reads from one stream: new entries, or the consumer's pending ones above an ID.
    fn one(
        &mut self,
        ctx: &mut Context<'_>,
        (key, at): (Key<'_>, Position),
        after: Id,
        streams: &mut Streams,
    ) {
        self.delivered = ctx.propagates().then(Vec::new);
        let (added, served) = ctx.change_stream(at, |stream, _, reply| {
            let last = stream.last_entry();
            let Some(found) = stream.group_mut(self.group) else { return (false, false) };
            // The call creates the consumer, even if it returns no entry.
            let before = found.consumers().len();
            let slot = found.find_or_add(self.consumer, self.now);
            let added = found.consumers().len() > before;
            if after == Id::MAX && last.is_none_or(|last| last <= found.last_id) {
                return (added, false);
            }
            streams.begin(reply, key.name);
            self.serve(stream, reply, slot, after);
            (added, true)
        });
        ctx.unchanged();
        if added {
            ctx.changed(key, Event::XGroupCreateConsumer, 1);
        }
        if served {
            ctx.changed(key, Event::Bookkeeping, 1);
        }
        if ctx.propagates() {
            self.propagate(ctx, (key, at), added, after == Id::MAX);
        }
    }

    /// Replies with new entries, or with the consumer's pending ones above an ID.
    fn serve(&mut self, stream: &mut Stream, reply: &mut Reply<'_>, slot: ConsumerSlot, after: Id) {
        let header = reply.deferred_array();
        let count = if after == Id::MAX {
            stream.deliver(self.group, slot, (self.most, self.noack, self.now), |record| {
                reply_record(reply, record);
                if let Some(delivered) = &mut self.delivered {
                    delivered.push((record.id, 1));
                }
            })
        } else {
            self.serve_pending(stream, reply, slot, after)
        };
        reply.finish_array(header, count);
    }

    fn serve_pending(
        &mut self,
        stream: &mut Stream,
        reply: &mut Reply<'_>,
        slot: ConsumerSlot,
        after: Id,
    ) -> usize {
        let (Some(from), Some(known)) = (after.next(), stream.group(self.group)) else { return 0 };
        let ids: Vec<Id> = known.pending_of(Some(slot), from..).map(|(id, _)| id).take(self.most).collect();
        let mut seen = Vec::with_capacity(ids.len());
        for id in &ids {
            if let Some(record) = stream.get(*id) {
                reply_record(reply, &record);
                seen.push(*id);
            } else {
                // The entry is pending but has been deleted.
                reply.array(2);
                reply_id(reply, *id);
                reply.null_array();
            }
        }
        if let Some(known) = stream.group_mut(self.group) {
            for id in seen {
                let count = known.deliver_again(id, self.now);
                if let (Some(delivered), Some(count)) = (&mut self.delivered, count) {
                    delivered.push((id, count));
                }
            }
        }
        ids.len()
    }

    /// Propagates a delivery: each pending entry; the new consumer, if there is no such entry; and the group's position and
    /// read counter, if the entries were new. (Redis 7.2 propagates the latter only with NOACK, and never a consumer
    /// without entries.)
    fn propagate(&self, ctx: &mut Context<'_>, (key, at): (Key<'_>, Position), added: bool, new: bool) {
        let delivered = self.delivered.as_deref().unwrap_or_default();
        let pending = if new && self.noack { &[] } else { delivered };
        if added && pending.is_empty() {
            ctx.propagate_consumer(key, self.group, self.consumer);
        }
        let reached = ctx.read_stream(at, |stream, _| stream.group(self.group).map(|group| group.last_id));
        for &(id, count) in pending {
            let told = Told { consumer: self.consumer.to_vec(), id: id.to_text(), time: self.now, count };
            // `XGROUP SETID` may have moved the group back behind its pending entries.
            let last_id = if new { id } else { reached.unwrap_or(Id::MIN) };
            ctx.propagate_claim(key, self.group, &told, last_id);
        }
        if new && !delivered.is_empty() {
            ctx.propagate_progress(key, at, self.group);
        }
    }
}
