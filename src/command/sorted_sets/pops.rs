//! Pops elements from either end of a sorted set, at once or as soon as it has any.
//!
//! The key that a command pops from, and the number of elements, depend on when it executes, so it is propagated as
//! `ZPOPMIN` or `ZPOPMAX` of that key.

use std::ops::Range;

use super::Scores;
use crate::command::args::{Args, positive_count, whole_number};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::waiting::{self, Null, Wait};
use crate::db::{Access, Event, Key, Position};
use crate::resp::Reply;
use crate::text::number::Decimal;
use crate::types::Kind;
use crate::types::sorted_set::{self, SortedSetRef};

/// The end to pop from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> Event {
        match self {
            End::Min => Event::ZPopMin,
            End::Max => Event::ZPopMax,
        }
    }

    /// The command that pops elements from one key.
    fn verb(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// The layout of the reply.
#[derive(Clone, Copy)]
enum Layout {
    /// Only the elements.
    Elements(Scores),
    /// One array of the key and the element (`BZPOPMIN`).
    AfterKey,
    /// An array of the key and an array of pairs (`ZMPOP`).
    BesideKey,
}

impl Layout {
    fn begin(self, reply: &mut Reply<'_>, key: &[u8], count: usize) {
        match self {
            Layout::Elements(scores) => scores.begin(reply, count),
            Layout::AfterKey => {
                reply.array(1 + 2 * count);
                reply.bulk(key);
            }
            Layout::BesideKey => {
                reply.array(2);
                reply.bulk(key);
                reply.array(count);
            }
        }
    }

    fn scores(self) -> Scores {
        match self {
            Layout::Elements(scores) => scores,
            Layout::AfterKey => Scores::Flat,
            Layout::BesideKey => Scores::Pairs,
        }
    }
}

/// Removes up to `count` elements from an end of the sorted set of `key`, which is at `at`, and replies with them.
/// Returns the number of elements.
fn pop(
    ctx: &mut Context<'_>,
    (key, at): (Key<'_>, Position),
    end: End,
    count: usize,
    layout: Layout,
) -> usize {
    let (span, empties) = {
        let entry = ctx.keyspace.db(key.db).get(at);
        let set = SortedSetRef::of(&entry);
        let len = set.len();
        let count = count.min(len);
        let span = if end == End::Max { len - count..len } else { 0..count };
        layout.begin(&mut ctx.reply, key.name, count);
        for element in set.span(span.clone(), end == End::Max) {
            layout.scores().reply(&mut ctx.reply, element);
        }
        (span, count == len)
    };
    let count = span.len();
    if !empties {
        let debris = ctx.keyspace.modify(key.db, at, |entry| sorted_set::remove_span(entry, span));
        ctx.keyspace.discard(debris);
    }
    ctx.removed(key, at, end.event(), count, empties);
    count
}

/// `ZPOPMIN key [count]`: the members with the lowest scores, which are removed, and the scores. O(log n) a member.
pub fn zpopmin(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop_one_key(ctx, args, End::Min)
}

/// `ZPOPMAX key [count]`: the members with the highest scores, which are removed, and the scores. O(log n) a member.
pub fn zpopmax(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop_one_key(ctx, args, End::Max)
}

fn pop_one_key(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Result {
    let (count, scores) = match args.len() {
        2 => (1, Scores::Flat),
        3 => (positive_count(args.get(2))?, Scores::when(true, ctx.session.protocol)),
        _ => return Err(SYNTAX),
    };
    let key = ctx.first_key(args.get(1));
    match ctx.find_kind(key, Access::Write, Kind::SortedSet)? {
        Some(at) if count > 0 => {
            pop(ctx, (key, at), end, count, Layout::Elements(scores));
        }
        _ => ctx.reply.array(0),
    }
    Ok(())
}

/// The arguments of a command for several keys.
struct PopQuery {
    /// The indices of the keys.
    keys: Range<usize>,
    end: End,
    /// `None`: the reply is one element without an array of its own.
    count: Option<usize>,
}

impl PopQuery {
    /// Parses `numkeys key [key …] MIN | MAX [COUNT count]` from argument `keys_at` on.
    fn parse(args: Args<'_>, keys_at: usize) -> Result<PopQuery> {
        let above_0 = |arg, text| whole_number(arg).filter(|n| *n > 0).ok_or(Error::new(text));
        let keys = above_0(args.get(keys_at), "ERR numkeys should be greater than 0")?;
        let first = keys_at + 1;
        let mut i = keys.saturating_add(first);
        if i >= args.len() {
            return Err(SYNTAX);
        }
        let keys = first..i;
        let end = match args.get(i) {
            word if word.eq_ignore_ascii_case(b"min") => End::Min,
            word if word.eq_ignore_ascii_case(b"max") => End::Max,
            _ => return Err(SYNTAX),
        };
        let mut count = None;
        i += 1;
        while i < args.len() {
            if count.is_some() || !args.is(i, "count") || i + 1 == args.len() {
                return Err(SYNTAX);
            }
            count = Some(above_0(args.get(i + 1), "ERR count should be greater than 0")?);
            i += 2;
        }
        Ok(PopQuery { keys, end, count: Some(count.unwrap_or(1)) })
    }

    /// Pops elements from the first key that exists. Returns whether a key exists.
    fn pop(&self, ctx: &mut Context<'_>, args: Args<'_>) -> Result<bool> {
        for i in self.keys.clone() {
            let key = ctx.key(args.get(i));
            let Some(at) = ctx.find_kind(key, Access::Write, Kind::SortedSet)? else { continue };
            let verb = self.end.verb();
            match self.count {
                None => {
                    pop(ctx, (key, at), self.end, 1, Layout::AfterKey);
                    ctx.propagate(&[verb, key.name]);
                }
                Some(count) => {
                    let taken = pop(ctx, (key, at), self.end, count, Layout::BesideKey);
                    ctx.propagate(&[verb, key.name, Decimal::new(taken as i64).as_bytes()]);
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Like [`PopQuery::pop`], but blocks the client if no key exists. The timeout is argument `timeout_at`.
    fn pop_or_wait(&self, ctx: &mut Context<'_>, args: Args<'_>, timeout_at: usize) -> Result {
        let timeout_ms = waiting::seconds(args.get(timeout_at), ctx.now())?;
        if !self.pop(ctx, args)? {
            ctx.wait_for(Wait {
                keys: self.keys.clone().map(|i| args.get(i).to_vec()).collect(),
                kind: Kind::SortedSet,
                even_if_gone: false,
                timeout_ms,
                null: Null::Array,
                rewritten: Vec::new(),
            });
        }
        Ok(())
    }
}

/// `ZMPOP numkeys key [key …] MIN | MAX [COUNT count]`: the first key that exists, and its members with the lowest or
/// highest scores, which are removed; null if no key exists. O(log n) a member.
pub fn zmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if !PopQuery::parse(args, 1)?.pop(ctx, args)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// `BZMPOP timeout numkeys key [key …] MIN | MAX [COUNT count]`: like `ZMPOP`, but blocks until a key exists. O(log n)
/// a member.
pub fn bzmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    PopQuery::parse(args, 2)?.pop_or_wait(ctx, args, 1)
}

/// `BZPOPMIN key [key …] timeout`: the first key that exists, its member with the lowest score, which is removed, and
/// the score; blocks until a key exists. O(log n).
pub fn bzpopmin(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop_one_or_wait(ctx, args, End::Min)
}

/// `BZPOPMAX key [key …] timeout`: like `BZPOPMIN`, with the highest score. O(log n).
pub fn bzpopmax(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop_one_or_wait(ctx, args, End::Max)
}

fn pop_one_or_wait(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Result {
    let timeout_at = args.len() - 1;
    PopQuery { keys: 1..timeout_at, end, count: None }.pop_or_wait(ctx, args, timeout_at)
}
