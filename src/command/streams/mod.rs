//! Streams: entries are added, read by range, deleted and trimmed. Other commands of streams are in [`stream_reads`],
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

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, NO_SUCH_KEY, Result, SYNTAX};
use crate::db::{Access, Event, Key, Position};
use crate::resp::Reply;
use crate::text::number::{Decimal, digits_u64};
use crate::types::stream::{Bound, Id, MAX_BYTES, Record, Stream, Trim, WantedId};
use crate::types::{Entry, Kind, Shapes};

/// The error for an invalid ID.
pub(super) const INVALID_ID: Error = Error::new("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: Error = Error::new("ERR invalid start ID for the interval");
const INVALID_END: Error = Error::new("ERR invalid end ID for the interval");

/// Returns the stream in an entry that is known to hold one.
pub(super) fn stream_of(entry: &Entry) -> &Stream {
    entry.container().expect("a stream has one form")
}

/// The same, mutable.
pub(super) fn stream_of_mut(entry: &mut Entry) -> &mut Stream {
    entry.container_mut().expect("a stream has one form")
}

impl Context<'_> {
    /// Changes the stream at `at`; the caller declares the changes.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
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

    /// Finds a stream of the selected database.
    #[inline]
    pub(super) fn find_stream(&mut self, key: Key<'_>, access: Access) -> Result<Option<Position>> {
        self.find_kind(key, access, Kind::Stream)
    }

    /// Adds an empty stream under the missing key `key`.
    pub(super) fn insert_stream(&mut self, key: Key<'_>) -> Position {
        self.insert(key, Entry::with_container(key.name, Stream::default(), None))
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

/// Replies with entries and returns their number.
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

/// Parses an ID, whose sequence number defaults to 0.
pub(super) fn strict_id(arg: &[u8]) -> Result<Id> {
    Id::parse(arg, 0).ok_or(INVALID_ID)
}

/// Parses the IDs in the arguments from `first` on.
pub(super) fn strict_ids(args: Args<'_>, first: usize) -> Result<Vec<Id>> {
    args.iter_from(first).map(strict_id).collect()
}

/// Parses a bound of a range. Returns the ID, and whether it is exclusive.
fn bound(arg: &[u8], missing_seq: u64) -> Result<(Id, bool)> {
    let (id, open) = match arg {
        [b'(', id @ ..] if !id.is_empty() => (Id::parse(id, missing_seq), true),
        id => (Id::parse_bound(id, missing_seq), false),
    };
    Ok((id.ok_or(INVALID_ID)?, open))
}

/// The first ID of a range.
pub(super) fn range_start(arg: &[u8]) -> Result<Id> {
    match bound(arg, 0)? {
        (id, true) => id.next().ok_or(INVALID_START),
        (id, false) => Ok(id),
    }
}

/// The last ID of a range.
pub(super) fn range_end(arg: &[u8]) -> Result<Id> {
    match bound(arg, u64::MAX)? {
        (id, true) => id.previous().ok_or(INVALID_END),
        (id, false) => Ok(id),
    }
}

/// The trimming options parsed so far.
#[derive(Default)]
struct Options {
    bound: Option<Bound>,
    /// The index of the bound.
    bound_at: usize,
    approximately: bool,
    limit: Option<u64>,
    no_create: bool,
}

impl Options {
    /// Parses options from argument 2 on. For `XADD` they end at the ID, which is returned with its index.
    fn parse(args: Args<'_>, adds: bool) -> Result<(Options, usize, WantedId)> {
        let mut options = Options::default();
        let mut wanted = WantedId::Any;
        let mut at = 2;
        while at < args.len() {
            let more = at + 1 < args.len();
            if adds && args.get(at) == b"*" {
                break;
            } else if args.is(at, "maxlen") && more {
                at = options.strategy(args, at + 1, |arg| match integer(arg)? {
                    length @ 0.. => Ok(Bound::Length(length as u64)),
                    _ => Err(Error::new("ERR The MAXLEN argument must be >= 0.")),
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
                wanted = WantedId::parse(args.get(at)).ok_or(INVALID_ID)?;
                break;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok((options, at, wanted))
    }

    /// Parses `[= | ~] threshold` from argument `at` on and returns the index of the threshold.
    fn strategy(
        &mut self,
        args: Args<'_>,
        mut at: usize,
        read: impl FnOnce(&[u8]) -> Result<Bound>,
    ) -> Result<usize> {
        if self.bound.is_some() {
            return Err(Error::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        self.approximately = false;
        if at + 1 < args.len() && matches!(args.get(at), b"~" | b"=") {
            self.approximately = args.get(at) == b"~";
            at += 1;
        }
        self.bound = Some(read(args.get(at))?);
        self.bound_at = at;
        Ok(at)
    }

    /// Returns the requested trimming, if any. A propagated call has an exact threshold in place of the approximate
    /// one, but still the client's `LIMIT`.
    fn trim(&self, adds: bool, ctx: &Context<'_>) -> Result<Option<Trim>> {
        let Some(bound) = self.bound else {
            return match self.limit {
                Some(1..) => Err(Error::new(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                _ if !adds => {
                    Err(Error::new("ERR syntax error, XTRIM must be called with a trimming strategy"))
                }
                Some(0) => Err(LIMIT_ALONE),
                None => Ok(None),
            };
        };
        let limit = match (self.limit, self.approximately) {
            _ if ctx.origin.is_propagated() => 0,
            (Some(_), false) => return Err(LIMIT_ALONE),
            (Some(limit), true) => limit,
            (None, false) => 0,
            // Limits the time of one command.
            (None, true) => match ctx.keyspace.shapes.stream_node_max_entries.saturating_mul(100) {
                0 => 10_000,
                limit => limit.min(1_000_000),
            },
        };
        Ok(Some(Trim { bound, approximately: self.approximately, limit }))
    }

    /// Returns the words that turn an approximate trim into an exact one: the indices of the arguments to replace, and
    /// their replacements. `stream` has already been trimmed.
    fn exactly(&self, stream: &Stream) -> Option<[(usize, Vec<u8>); 2]> {
        let bound = match self.bound? {
            _ if !self.approximately => return None,
            Bound::Length(_) => Decimal::new(stream.len() as i64).as_bytes().to_vec(),
            Bound::Id(_) => stream.first_remnant().unwrap_or(Id::MAX).to_text(),
        };
        Some([(self.bound_at - 1, b"=".to_vec()), (self.bound_at, bound)])
    }
}

const LIMIT_ALONE: Error = Error::new("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// `XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value …]`: the ID
/// of the new entry, or null if `NOMKSTREAM` finds no stream. O(1), and O(N) in the trimmed entries.
pub fn xadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (options, id_at, wanted) = Options::parse(args, true)?;
    let trim = options.trim(true, ctx)?;
    let first = id_at + 1;
    let fields = args.len().saturating_sub(first) / 2;
    if fields == 0 || first + 2 * fields != args.len() {
        return Err(Error::wrong_arity("xadd"));
    }
    if wanted == WantedId::Exactly(Id::MIN) {
        return Err(Error::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_stream(key, Access::Write)?;
    if found.is_none() && options.no_create {
        ctx.reply.null();
        return Ok(());
    }
    let at = found.unwrap_or_else(|| ctx.insert_stream(key));
    let now = ctx.now() as u64;
    let added = ctx.change_stream(at, |stream, shapes, _| {
        append(stream, (wanted, now), (fields, args.iter_from(first)), shapes)
    });
    let id = match added {
        Ok(id) => id,
        Err(error) => {
            // A stream created for the entry stays, as in Redis.
            match found {
                Some(_) => ctx.unchanged(),
                None => ctx.changed(key, Event::Bookkeeping, 1),
            }
            return Err(error);
        }
    };
    ctx.changed(key, Event::XAdd, 1);
    if let Some(trim) = trim
        && trim_stream(ctx, at, &trim) > 0
    {
        ctx.changed(key, Event::XTrim, 0);
    }
    ctx.unchanged();
    if ctx.propagates() {
        let exactly = ctx.read_stream(at, |stream, _| options.exactly(stream));
        let id = (!matches!(wanted, WantedId::Exactly(_))).then(|| (id_at, id.to_text()));
        ctx.propagate_with(args, &exactly.into_iter().flatten().chain(id).collect::<Vec<_>>());
    }
    reply_id(&mut ctx.reply, id);
    Ok(())
}

/// Deletes the entries that `trim` selects. Returns their number, which the caller declares.
fn trim_stream(ctx: &mut Context<'_>, at: Position, trim: &Trim) -> u64 {
    let (deleted, debris) = ctx.change_stream(at, |stream, _, _| stream.trim(trim));
    ctx.keyspace.discard(debris);
    deleted
}

/// Adds an entry of `fields` pairs; `items` yields fields and values alternately.
fn append<'a>(
    stream: &mut Stream,
    (wanted, now): (WantedId, u64),
    (fields, items): (usize, impl Iterator<Item = &'a [u8]> + Clone),
    shapes: &Shapes,
) -> Result<Id> {
    if stream.figures().last_id == Id::MAX {
        return Err(Error::new(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = stream
        .next_id(wanted, now)
        .ok_or("ERR The ID specified in XADD is equal or smaller than the target stream top item")?;
    if items.clone().map(<[u8]>::len).sum::<usize>() > MAX_BYTES {
        return Err(Error::new("ERR Elements are too large to be stored"));
    }
    stream.append(id, fields, items, shapes);
    Ok(id)
}

/// `XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]`: the number of entries deleted. O(N) in that number.
pub fn xtrim(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (options, ..) = Options::parse(args, false)?;
    let trim = options.trim(false, ctx)?;
    let key = ctx.first_key(args.get(1));
    let mut deleted = 0;
    if let (Some(at), Some(trim)) = (ctx.find_stream(key, Access::Write)?, trim) {
        deleted = trim_stream(ctx, at, &trim);
        if deleted > 0 {
            ctx.changed(key, Event::XTrim, deleted);
            if options.approximately && ctx.propagates() {
                let exactly = ctx.read_stream(at, |stream, _| options.exactly(stream));
                ctx.propagate_with(args, &exactly.into_iter().flatten().collect::<Vec<_>>());
            }
        } else {
            ctx.unchanged();
        }
    }
    ctx.reply.integer(deleted as i64);
    Ok(())
}

/// `XLEN key`: the number of entries. O(1).
pub fn xlen(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = ctx.find_stream(ctx.first_key(args.get(1)), Access::Read)?;
    let len = found.map_or(0, |at| stream_of(&ctx.db().get(at)).len());
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `XRANGE key start end [COUNT count]`: the entries between two IDs. O(log N + M).
pub fn xrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    range(ctx, args, false)
}

/// `XREVRANGE key end start [COUNT count]`: the same, from the last entry on. O(log N + M).
pub fn xrevrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    range(ctx, args, true)
}

fn range(ctx: &mut Context<'_>, args: Args<'_>, backwards: bool) -> Result {
    let (start, end) = if backwards { (3, 2) } else { (2, 3) };
    let (start, end) = (range_start(args.get(start))?, range_end(args.get(end))?);
    let mut most = None;
    for at in (4..args.len()).step_by(2) {
        if !args.is(at, "count") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        // In Redis, -1 means no count, and any other negative count means no entries.
        most = match integer(args.get(at + 1))? {
            count @ 0.. => Some(count as usize),
            _ => Some(0),
        };
    }
    let Some(at) = ctx.find_stream(ctx.first_key(args.get(1)), Access::Read)? else {
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

/// `XDEL key id [id …]`: the number of entries deleted. O(log N) each.
pub fn xdel(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_stream(key, Access::Write)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let ids = strict_ids(args, 2)?;
    let deleted = ctx.change_stream(at, |stream, _, _| stream.delete(&ids));
    ctx.removed(key, at, Event::XDel, deleted, false);
    ctx.reply.integer(deleted as i64);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`: `OK`. O(1).
pub fn xsetid(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let id = strict_id(args.get(2))?;
    let (mut added, mut deleted) = (None, Id::MIN);
    for at in (3..args.len()).step_by(2) {
        let value = if at + 1 < args.len() { args.get(at + 1) } else { return Err(SYNTAX) };
        if args.is(at, "entriesadded") {
            added = Some(u64::try_from(integer(value)?).map_err(|_| "ERR entries_added must be positive")?);
        } else if args.is(at, "maxdeletedid") {
            deleted = strict_id(value)?;
            if id < deleted {
                return Err(Error::new(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(SYNTAX);
        }
    }
    let key = ctx.first_key(args.get(1));
    let at = ctx.find_stream(key, Access::Write)?.ok_or(NO_SUCH_KEY)?;
    let refusal = ctx.read_stream(at, |stream, _| {
        if id < stream.figures().max_deleted_id {
            return Some("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
        }
        if stream.last_entry().is_some_and(|last| id < last) {
            return Some("ERR The ID specified in XSETID is smaller than the target stream top item");
        }
        (!stream.is_empty() && added.is_some_and(|added| added < stream.len()))
            .then_some("ERR The entries_added specified in XSETID is smaller than the target stream length")
    });
    if let Some(text) = refusal {
        return Err(Error::new(text));
    }
    ctx.change_stream(at, |stream, _, _| {
        stream.set_last_id(id);
        if let Some(added) = added {
            stream.set_entries_added(added);
        }
        if !deleted.is_zero() {
            stream.set_max_deleted_id(deleted);
        }
    });
    ctx.changed(key, Event::XSetId, 1);
    ctx.reply.ok();
    Ok(())
}
