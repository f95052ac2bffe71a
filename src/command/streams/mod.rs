//! Streams: entries added, read by range, deleted and trimmed. Other commands of streams are in [`stream_reads`],
//! [`stream_groups`], [`stream_claims`] and [`stream_info`].
//!
//! [`stream_reads`]: crate::command::streams::reads
//! [`stream_groups`]: crate::command::streams::groups
//! [`stream_claims`]: crate::command::streams::claims
//! [`stream_info`]: crate::command::streams::info

pub mod claims;
pub mod groups;
pub mod info;
pub mod reads;

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, SYNTAX, integer};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::Reply;
use crate::text::number::digits_u64;
use crate::types::stream::{Bound, Id, MAX_BYTES, Record, Stream, Trim, Wanted};
use crate::types::{Entry, Kind, Shapes};

/// What is answered to a text that is no ID.
pub(super) const INVALID_ID: ErrorText = "ERR Invalid stream ID specified as stream command argument";
const INVALID_START: ErrorText = "ERR invalid start ID for the interval";
const INVALID_END: ErrorText = "ERR invalid end ID for the interval";

/// The stream in an entry that was found as one.
pub(super) fn stream_of(entry: &Entry) -> &Stream {
    entry.container().expect("a stream has one form")
}

/// The same, to change.
pub(super) fn stream_of_mut(entry: &mut Entry) -> &mut Stream {
    entry.container_mut().expect("a stream has one form")
}

impl Context<'_> {
    /// Changes the stream at `at`.
    #[inline]
    pub(super) fn change_stream<R>(
        &mut self,
        at: Position,
        change: impl FnOnce(&mut Stream, &Shapes, &mut Reply<'_>) -> R,
    ) -> R {
        let reply = &mut self.reply;
        self.keyspace
            .reshape(self.session.db, at, |entry, shapes, _| change(stream_of_mut(entry), shapes, reply))
    }

    /// Reads the stream at `at`, and replies.
    #[inline]
    pub(super) fn read_stream<R>(
        &mut self,
        at: Position,
        read: impl FnOnce(&Stream, &mut Reply<'_>) -> R,
    ) -> R {
        let entry = self.keyspace.db(self.session.db).get(at);
        read(stream_of(&entry), &mut self.reply)
    }

    /// Finds the stream of the request's first key.
    pub(super) fn find_stream(&mut self, key: &[u8], access: Access) -> Result<Option<Position>, ErrorText> {
        self.old_find_kind(key, access, Kind::Stream)
    }

    /// Adds an empty stream under the request's first key, which is not there.
    pub(super) fn insert_stream(&mut self, key: &[u8]) -> Position {
        self.old_insert(Entry::with_container(key, Stream::default(), None))
    }
}

/// Replies with an ID.
#[inline]
pub(super) fn reply_id(reply: &mut Reply<'_>, id: Id) {
    reply.bulk_header(digits_u64(id.ms) + 1 + digits_u64(id.seq));
    id.push_to(reply.buf);
    reply.buf.extend_from_slice(b"\r\n");
}

/// Replies with an entry: its ID, and its fields and values.
pub(super) fn reply_record(reply: &mut Reply<'_>, record: &Record<'_>) {
    reply.array(2);
    reply_id(reply, record.id);
    reply.array(2 * record.len());
    for (field, value) in record.pairs() {
        reply.text(field);
        reply.text(value);
    }
}

/// Replies with entries, and answers how many there were.
pub(super) fn reply_records<'a>(reply: &mut Reply<'_>, records: impl Iterator<Item = Record<'a>>) -> usize {
    let header = reply.deferred_array();
    let mut count = 0;
    for record in records {
        reply_record(reply, &record);
        count += 1;
    }
    reply.finish_array(header, count);
    count
}

/// A complete ID in an argument, or one whose second number is 0.
pub(super) fn strict_id(arg: &[u8]) -> Result<Id, ErrorText> {
    Id::parse(arg, 0).ok_or(INVALID_ID)
}

/// The IDs in the arguments from `first` on.
pub(super) fn strict_ids(args: Args<'_>, first: usize) -> Result<Vec<Id>, ErrorText> {
    args.iter_from(first).map(strict_id).collect()
}

/// A bound of a range, and whether it is without the ID itself.
fn bound(arg: &[u8], missing_seq: u64) -> Result<(Id, bool), ErrorText> {
    let (id, open) = match arg {
        [b'(', id @ ..] if !id.is_empty() => (Id::parse(id, missing_seq), true),
        id => (Id::parse_bound(id, missing_seq), false),
    };
    Ok((id.ok_or(INVALID_ID)?, open))
}

/// The first ID of a range.
pub(super) fn range_start(arg: &[u8]) -> Result<Id, ErrorText> {
    match bound(arg, 0)? {
        (id, true) => id.next().ok_or(INVALID_START),
        (id, false) => Ok(id),
    }
}

/// The last ID of a range.
pub(super) fn range_end(arg: &[u8]) -> Result<Id, ErrorText> {
    match bound(arg, u64::MAX)? {
        (id, true) => id.previous().ok_or(INVALID_END),
        (id, false) => Ok(id),
    }
}

/// How to trim, as the options so far say.
#[derive(Default)]
struct Options {
    bound: Option<Bound>,
    approximately: bool,
    limit: Option<u64>,
    no_create: bool,
}

impl Options {
    /// Reads options from argument 2 on. For `XADD` they end at the ID, whose place is returned, with what it says.
    fn parse(args: Args<'_>, adds: bool) -> Result<(Options, usize, Wanted), ErrorText> {
        let mut options = Options::default();
        let mut wanted = Wanted::Any;
        let mut at = 2;
        while at < args.len() {
            let more = at + 1 < args.len();
            if adds && args.get(at) == b"*" {
                break;
            } else if args.is(at, "maxlen") && more {
                at = options.strategy(args, at + 1, |arg| match integer(arg)? {
                    length @ 0.. => Ok(Bound::Length(length as u64)),
                    _ => Err("ERR The MAXLEN argument must be >= 0."),
                })?;
            } else if args.is(at, "minid") && more {
                at = options.strategy(args, at + 1, |arg| Ok(Bound::Id(strict_id(arg)?)))?;
            } else if args.is(at, "limit") && more {
                at += 1;
                let limit = u64::try_from(integer(args.get(at))?);
                options.limit = Some(limit.map_err(|_| "ERR The LIMIT argument must be >= 0.")?);
            } else if adds && args.is(at, "nomkstream") {
                options.no_create = true;
            } else if adds {
                wanted = Wanted::parse(args.get(at)).ok_or(INVALID_ID)?;
                break;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok((options, at, wanted))
    }

    /// Reads `[= | ~] threshold` from argument `at` on; answers where the threshold is.
    fn strategy(
        &mut self,
        args: Args<'_>,
        mut at: usize,
        read: impl FnOnce(&[u8]) -> Result<Bound, ErrorText>,
    ) -> Result<usize, ErrorText> {
        if self.bound.is_some() {
            return Err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
        }
        self.approximately = false;
        if at + 1 < args.len() && matches!(args.get(at), b"~" | b"=") {
            self.approximately = args.get(at) == b"~";
            at += 1;
        }
        self.bound = Some(read(args.get(at))?);
        Ok(at)
    }

    /// The trimming that they ask for, if any.
    fn trim(&self, adds: bool, shapes: &Shapes) -> Result<Option<Trim>, ErrorText> {
        let Some(bound) = self.bound else {
            return match self.limit {
                Some(1..) => {
                    Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
                }
                _ if !adds => Err("ERR syntax error, XTRIM must be called with a trimming strategy"),
                Some(0) => Err(LIMIT_ALONE),
                None => Ok(None),
            };
        };
        let limit = match (self.limit, self.approximately) {
            (Some(_), false) => return Err(LIMIT_ALONE),
            (Some(limit), true) => limit,
            (None, false) => 0,
            // Bounds the time that one command may take.
            (None, true) => match shapes.stream_node_max_entries.saturating_mul(100) {
                0 => 10_000,
                limit => limit.min(1_000_000),
            },
        };
        Ok(Some(Trim { bound, approximately: self.approximately, limit }))
    }
}

const LIMIT_ALONE: ErrorText = "ERR syntax error, LIMIT cannot be used without the special ~ option";

/// `XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value …]`: the ID of
/// the new entry, or null without a stream to add it to. O(1), and O(N) in what is trimmed.
pub fn xadd(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_xadd(ctx, args);
    ctx.answer(outcome);
}

fn try_xadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let (options, id_at, wanted) = Options::parse(args, true)?;
    let trim = options.trim(true, &ctx.keyspace.shapes)?;
    let first = id_at + 1;
    let fields = args.len().saturating_sub(first) / 2;
    if fields == 0 || first + 2 * fields != args.len() {
        return Err("ERR wrong number of arguments for 'xadd' command");
    }
    if wanted == Wanted::Exactly(Id::MIN) {
        return Err("ERR The ID specified in XADD must be greater than 0-0");
    }
    let key = args.get(1);
    let at = match ctx.find_stream(key, Access::Write)? {
        Some(at) => at,
        None if options.no_create => {
            ctx.reply.null();
            return Ok(());
        }
        None => ctx.insert_stream(key),
    };
    let now = ctx.now() as u64;
    let items = args.iter_from(first);
    ctx.change_stream(at, |stream, shapes, reply| {
        if stream.figures().last_id == Id::MAX {
            return Err("ERR The stream has exhausted the last possible ID, unable to add more items");
        }
        let id = stream
            .next_id(wanted, now)
            .ok_or("ERR The ID specified in XADD is equal or smaller than the target stream top item")?;
        if items.clone().map(<[u8]>::len).sum::<usize>() > MAX_BYTES {
            return Err("ERR Elements are too large to be stored");
        }
        stream.append(id, fields, items, shapes);
        reply_id(reply, id);
        if let Some(trim) = trim {
            stream.trim(&trim);
        }
        Ok(())
    })?;
    ctx.keyspace.modified(1);
    Ok(())
}

/// `XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]`: how many entries were deleted. O(N) in that number.
pub fn xtrim(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_xtrim(ctx, args);
    ctx.answer(outcome);
}

fn try_xtrim(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let (options, ..) = Options::parse(args, false)?;
    let trim = options.trim(false, &ctx.keyspace.shapes)?;
    let deleted = match (ctx.find_stream(args.get(1), Access::Write)?, trim) {
        (Some(at), Some(trim)) => ctx.change_stream(at, |stream, _, _| stream.trim(&trim)),
        _ => 0,
    };
    ctx.keyspace.modified(deleted);
    ctx.reply.integer(deleted as i64);
    Ok(())
}

/// `XLEN key`: the number of entries. O(1).
pub fn xlen(ctx: &mut Context<'_>, args: Args<'_>) {
    match ctx.find_stream(args.get(1), Access::Read) {
        Ok(found) => {
            let len = found.map_or(0, |at| stream_of(&ctx.db().get(at)).len());
            ctx.reply.integer(len as i64);
        }
        Err(text) => ctx.reply.error(text),
    }
}

/// `XRANGE key start end [COUNT count]`: the entries between two IDs. O(log N + M).
pub fn xrange(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_range(ctx, args, false);
    ctx.answer(outcome);
}

/// `XREVRANGE key end start [COUNT count]`: the same from the last on. O(log N + M).
pub fn xrevrange(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_range(ctx, args, true);
    ctx.answer(outcome);
}

fn try_range(ctx: &mut Context<'_>, args: Args<'_>, backwards: bool) -> Result<(), ErrorText> {
    let (start, end) = if backwards { (3, 2) } else { (2, 3) };
    let (start, end) = (range_start(args.get(start))?, range_end(args.get(end))?);
    let mut most = None;
    for at in (4..args.len()).step_by(2) {
        if !args.is(at, "count") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        // -1 is Redis's mark for no count, and anything else below 0 for none of them.
        most = match integer(args.get(at + 1))? {
            count @ 0.. => Some(count as usize),
            _ => Some(0),
        };
    }
    let Some(at) = ctx.find_stream(args.get(1), Access::Read)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    if most == Some(0) {
        ctx.reply.null_array();
        return Ok(());
    }
    let most = most.unwrap_or(usize::MAX);
    ctx.read_stream(at, |stream, reply| {
        if backwards {
            reply_records(reply, stream.range_back(start, end).take(most));
        } else {
            reply_records(reply, stream.range(start, end).take(most));
        }
    });
    Ok(())
}

/// `XDEL key id [id …]`: how many entries were deleted. O(log N) each.
pub fn xdel(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_xdel(ctx, args);
    ctx.answer(outcome);
}

fn try_xdel(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let Some(at) = ctx.find_stream(args.get(1), Access::Write)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let ids = strict_ids(args, 2)?;
    let deleted = ctx.change_stream(at, |stream, _, _| stream.delete(&ids));
    ctx.keyspace.modified(deleted as u64);
    ctx.reply.integer(deleted as i64);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`: `OK`. O(1).
pub fn xsetid(ctx: &mut Context<'_>, args: Args<'_>) {
    match try_xsetid(ctx, args) {
        Ok(()) => ctx.reply.ok(),
        Err(text) => ctx.reply.error(text),
    }
}

fn try_xsetid(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let id = strict_id(args.get(2))?;
    let (mut added, mut deleted) = (None, Id::MIN);
    for at in (3..args.len()).step_by(2) {
        let value = if at + 1 < args.len() { args.get(at + 1) } else { return Err(SYNTAX) };
        if args.is(at, "entriesadded") {
            added = Some(u64::try_from(integer(value)?).map_err(|_| "ERR entries_added must be positive")?);
        } else if args.is(at, "maxdeletedid") {
            deleted = strict_id(value)?;
            if id < deleted {
                return Err(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                );
            }
        } else {
            return Err(SYNTAX);
        }
    }
    let at = ctx.find_stream(args.get(1), Access::Write)?.ok_or("ERR no such key")?;
    ctx.change_stream(at, |stream, _, _| {
        if stream.last_entry().is_some_and(|last| id < last) {
            return Err("ERR The ID specified in XSETID is smaller than the target stream top item");
        }
        if !stream.is_empty() && added.is_some_and(|added| added < stream.len()) {
            return Err("ERR The entries_added specified in XSETID is smaller than the target stream length");
        }
        stream.set_last_id(id);
        if let Some(added) = added {
            stream.set_entries_added(added);
        }
        if !deleted.is_zero() {
            stream.set_max_deleted_id(deleted);
        }
        Ok(())
    })?;
    ctx.keyspace.modified(1);
    Ok(())
}
