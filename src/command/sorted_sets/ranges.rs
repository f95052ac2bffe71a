//! Ranges of a sorted set, by rank, score or member: read, counted, stored or removed.
//!
//! Every range is first converted to a span of ranks; `LIMIT` shortens the span, and a reply or a removal walks it. So
//! an offset into a range costs nothing.

use std::ops::Range;

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::sorted_sets::{Scores, find};
use crate::db::{Access, Event};
use crate::text::number;
use crate::types::Kind;
use crate::types::sorted_set::{self, Gather, LexBound, LexRange, ScoreRange, SortedSetRef};

/// The unit of a range's bounds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

impl By {
    /// The event when a range is removed.
    fn removal_event(self) -> Event {
        match self {
            By::Rank => Event::ZRemRangeByRank,
            By::Score => Event::ZRemRangeByScore,
            By::Member => Event::ZRemRangeByLex,
        }
    }
}

/// The bounds of a range.
#[derive(Clone, Copy)]
enum Bounds<'a> {
    /// Ranks; negative ones count from the end.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// Parses a bound by score, and whether it is exclusive.
fn score_bound(arg: &[u8]) -> Option<(f64, bool)> {
    match arg {
        [b'(', rest @ ..] => Some((number::parse_f64_loosely(rest)?, true)),
        _ => Some((number::parse_f64_loosely(arg)?, false)),
    }
}

impl<'a> Bounds<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>> {
        match by {
            By::Rank => Ok(Bounds::Ranks(integer(min)?, integer(max)?)),
            By::Score => {
                let bounds = score_bound(min).zip(score_bound(max));
                let ((min, min_open), (max, max_open)) =
                    bounds.ok_or(Error::new("ERR min or max is not a float"))?;
                Ok(Bounds::Scores(ScoreRange { min, min_open, max, max_open }))
            }
            By::Member => {
                let bounds = LexBound::parse(min).zip(LexBound::parse(max));
                let (min, max) = bounds.ok_or(Error::new("ERR min or max not valid string range item"))?;
                Ok(Bounds::Members(LexRange { min, max }))
            }
        }
    }

    /// Returns the ranks in `set`. If `backwards`, bounds by rank count from the end.
    fn span(&self, set: SortedSetRef<'_>, backwards: bool) -> Range<usize> {
        match self {
            Bounds::Scores(range) => set.score_span(range),
            Bounds::Members(range) => set.lex_span(range, backwards),
            Bounds::Ranks(start, stop) => {
                let len = set.len();
                let span = rank_span(*start, *stop, len);
                if backwards { len - span.end..len - span.start } else { span }
            }
        }
    }
}

/// Returns the ranks from `start` to `stop`; negative ones count from the end.
fn rank_span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let absolute = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let start = absolute(start).max(0) as usize;
    let stop = absolute(stop).saturating_add(1).clamp(0, len as i64) as usize;
    if start < stop { start..stop } else { 0..0 }
}

/// The options of a command of the `ZRANGE` family.
struct RangeQuery<'a> {
    bounds: Bounds<'a>,
    backwards: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: all.
    limit: i64,
}

/// The properties that the command's name fixes; `ZRANGE` and `ZRANGESTORE` have options for them.
#[derive(Clone, Copy)]
struct RangeForm {
    /// The argument with the key to read.
    key_at: usize,
    by: Option<By>,
    backwards: Option<bool>,
    store: bool,
}

impl RangeForm {
    const fn named(by: By, backwards: bool) -> RangeForm {
        RangeForm { key_at: 1, by: Some(by), backwards: Some(backwards), store: false }
    }
}

impl<'a> RangeQuery<'a> {
    fn parse(args: Args<'a>, form: RangeForm) -> Result<RangeQuery<'a>> {
        let (mut by, mut backwards) = (form.by, form.backwards);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut i = form.key_at + 3;
        while i < args.len() {
            if !form.store && args.is(i, "withscores") {
                with_scores = true;
            } else if args.is(i, "limit") && i + 2 < args.len() {
                (offset, limit) = (integer(args.get(i + 1))?, integer(args.get(i + 2))?);
                i += 2;
            } else if backwards.is_none() && args.is(i, "rev") {
                backwards = Some(true);
            } else if by.is_none() && args.is(i, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && args.is(i, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Error::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(Error::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        // Bounds by score and member are in the order of the walk: if backwards, the upper one comes first.
        let (first, second) = (args.get(form.key_at + 1), args.get(form.key_at + 2));
        let swapped = backwards && by != By::Rank;
        let (min, max) = if swapped { (second, first) } else { (first, second) };
        let bounds = Bounds::parse(by, min, max)?;
        Ok(RangeQuery { bounds, backwards, with_scores, offset, limit })
    }

    /// Returns the ranks in `set`, shortened by offset and limit.
    fn span(&self, set: SortedSetRef<'_>) -> Range<usize> {
        let span = self.bounds.span(set, self.backwards);
        if matches!(self.bounds, Bounds::Ranks(..)) {
            return span;
        }
        // A negative offset skips everything.
        let skip = usize::try_from(self.offset).map_or(span.len(), |offset| offset.min(span.len()));
        let left = span.len() - skip;
        let take = usize::try_from(self.limit).map_or(left, |limit| limit.min(left));
        if self.backwards {
            let end = span.end - skip;
            end - take..end
        } else {
            let start = span.start + skip;
            start..start + take
        }
    }
}

fn reply_range(ctx: &mut Context<'_>, args: Args<'_>, form: RangeForm) -> Result {
    let query = RangeQuery::parse(args, form)?;
    let Some(at) = find(ctx, args, Access::Read)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let scores = Scores::when(query.with_scores, ctx.session.protocol);
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SortedSetRef::of(&entry);
    let span = query.span(set);
    scores.begin(&mut ctx.reply, span.len());
    for element in set.span(span, query.backwards) {
        scores.reply(&mut ctx.reply, element);
    }
    Ok(())
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`: the members of a range, with
/// their scores if requested. O(log n) and O(1) a member.
pub fn zrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm { key_at: 1, by: None, backwards: None, store: false })
}

/// `ZREVRANGE key start stop [WITHSCORES]`: the same by rank, from the highest score down.
pub fn zrevrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm::named(By::Rank, true))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`: the same by score.
pub fn zrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm::named(By::Score, false))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`: the same by score, from the highest down.
pub fn zrevrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm::named(By::Score, true))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`: the same by member, where all scores are equal.
pub fn zrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm::named(By::Member, false))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`: the same by member, from the last down.
pub fn zrevrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_range(ctx, args, RangeForm::named(By::Member, true))
}

/// `ZRANGESTORE destination source start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]`: the number of elements
/// stored. O(log n) and O(1) an element.
pub fn zrangestore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let query = RangeQuery::parse(args, RangeForm { key_at: 2, by: None, backwards: None, store: true })?;
    let (destination, source) = (ctx.first_key(args.get(1)), ctx.key(args.get(2)));
    let found = ctx.find_kind(source, Access::Read, Kind::SortedSet)?;
    let mut gather = Gather::with_room(ctx.keyspace.shapes.seed, 0);
    if let Some(at) = found {
        let entry = ctx.db().get(at);
        let set = SortedSetRef::of(&entry);
        let span = query.span(set);
        gather = Gather::with_room(ctx.keyspace.shapes.seed, span.len());
        for (member, score) in set.span(span, false) {
            member.with_bytes(|member| gather.insert(gather.hash(member), member, score));
        }
    }
    let count = gather.len();
    let result = sorted_set::create_from(destination.name, gather.finish(), &ctx.keyspace.shapes);
    ctx.keyspace.put_result(destination, result, Event::ZRangeStore);
    ctx.reply.integer(count as i64);
    Ok(())
}

fn count(ctx: &mut Context<'_>, args: Args<'_>, by: By) -> Result {
    let bounds = Bounds::parse(by, args.get(2), args.get(3))?;
    let found = find(ctx, args, Access::Read)?;
    let count = found.map_or(0, |at| bounds.span(SortedSetRef::of(&ctx.db().get(at)), false).len());
    ctx.reply.integer(count as i64);
    Ok(())
}

/// `ZCOUNT key min max`: the number of members with scores in the range. O(log n).
pub fn zcount(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    count(ctx, args, By::Score)
}

/// `ZLEXCOUNT key min max`: the number of members in the range, if all scores are equal. O(log n).
pub fn zlexcount(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    count(ctx, args, By::Member)
}

fn remove(ctx: &mut Context<'_>, args: Args<'_>, by: By) -> Result {
    let bounds = Bounds::parse(by, args.get(2), args.get(3))?;
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Write, Kind::SortedSet)?;
    ctx.remove_elements(key, found, by.removal_event(), |keyspace, at| {
        let (span, len) = {
            let entry = keyspace.db(key.db).get(at);
            let set = SortedSetRef::of(&entry);
            (bounds.span(set, false), set.len())
        };
        let removed = span.len();
        if removed > 0 && removed < len {
            let debris = keyspace.modify(key.db, at, |entry| sorted_set::remove_span(entry, span));
            keyspace.discard(debris);
        }
        (removed, removed == len)
    })
}

/// `ZREMRANGEBYRANK key start stop`: the number of elements removed. O(log n) and O(1) an element.
pub fn zremrangebyrank(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    remove(ctx, args, By::Rank)
}

/// `ZREMRANGEBYSCORE key min max`: the same by score.
pub fn zremrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    remove(ctx, args, By::Score)
}

/// `ZREMRANGEBYLEX key min max`: the same by member.
pub fn zremrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    remove(ctx, args, By::Member)
}
