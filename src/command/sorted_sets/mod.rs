//! Commands on single sorted sets: scores, ranks, random members, iteration. Pops are in [`pops`], ranges in
//! [`ranges`], commands on several sorted sets in [`algebra`].

pub mod algebra;
pub mod pops;
pub mod ranges;

use crate::command::args::{Args, random_count};
use crate::command::context::Context;
use crate::command::error::{Error, NOT_A_FLOAT, Result, SYNTAX};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::{Access, Event, Key, Position};
use crate::resp::{Protocol, Reply};
use crate::text::number;
use crate::types::random::Random;
use crate::types::sorted_set::{self, Applied, How, NotANumber, SortedSetRef};
use crate::types::{Kind, Text};

/// Finds the sorted set of the request's first key.
#[inline]
pub(super) fn find(ctx: &mut Context<'_>, args: Args<'_>, access: Access) -> Result<Option<Position>> {
    let key = ctx.first_key(args.get(1));
    ctx.find_kind(key, access, Kind::SortedSet)
}

/// The layout of scores in a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scores {
    /// No scores.
    None,
    /// Member, score, member, score.
    Flat,
    /// An array of two for each element.
    Pairs,
}

impl Scores {
    /// The layout for `WITHSCORES`: pairs in RESP3.
    pub(super) fn when(wanted: bool, protocol: Protocol) -> Scores {
        match (wanted, protocol) {
            (false, _) => Scores::None,
            (true, Protocol::Resp2) => Scores::Flat,
            (true, Protocol::Resp3) => Scores::Pairs,
        }
    }

    /// Writes the header of `count` elements.
    pub(super) fn begin(self, reply: &mut Reply<'_>, count: usize) {
        reply.array(if self == Scores::Flat { 2 * count } else { count });
    }

    /// Writes an element.
    #[inline]
    pub(super) fn reply(self, reply: &mut Reply<'_>, (member, score): (Text<'_>, f64)) {
        if self == Scores::Pairs {
            reply.array(2);
        }
        reply.text(member);
        if self != Scores::None {
            reply.double(score);
        }
    }
}

/// Parses a score.
fn score_argument(arg: &[u8]) -> Result<f64> {
    number::parse_f64(arg).ok_or(NOT_A_FLOAT)
}

/// Parses the flags of `ZADD`. Returns them, whether the reply counts changes, and the index of the first score.
/// `ZINCRBY` has no flags, but Redis parses them there too.
fn zadd_flags(args: Args<'_>, mut how: How) -> Result<(How, bool, usize)> {
    let (mut count_changes, mut first) = (false, 2);
    while first < args.len() {
        match args.get(first) {
            word if word.eq_ignore_ascii_case(b"nx") => how.only_new = true,
            word if word.eq_ignore_ascii_case(b"xx") => how.only_old = true,
            word if word.eq_ignore_ascii_case(b"gt") => how.only_greater = true,
            word if word.eq_ignore_ascii_case(b"lt") => how.only_less = true,
            word if word.eq_ignore_ascii_case(b"ch") => count_changes = true,
            word if word.eq_ignore_ascii_case(b"incr") => how.add = true,
            _ => break,
        }
        first += 1;
    }
    let words = args.len() - first;
    if words == 0 || !words.is_multiple_of(2) {
        return Err(SYNTAX);
    }
    if how.only_new && how.only_old {
        return Err(Error::new("ERR XX and NX options at the same time are not compatible"));
    }
    if [how.only_new, how.only_greater, how.only_less].into_iter().filter(|flag| *flag).count() > 1 {
        return Err(Error::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if how.add && words > 2 {
        return Err(Error::new("ERR INCR option supports a single increment-element pair"));
    }
    Ok((how, count_changes, first))
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]`: the number of members added, or with `CH`
/// added or changed; with `INCR` the new score, or null if a flag prevented the change. O(log n) a member.
pub fn zadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    add(ctx, args, How::default())
}

/// `ZINCRBY key increment member`: the new score. O(log n).
pub fn zincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    add(ctx, args, How { add: true, ..How::default() })
}

fn add(ctx: &mut Context<'_>, args: Args<'_>, how: How) -> Result {
    let (how, count_changes, first) = zadd_flags(args, how)?;
    let score = score_argument(args.get(first))?;
    for i in (first + 2..args.len()).step_by(2) {
        score_argument(args.get(i))?;
    }
    // The scores have been checked; they are parsed again when needed.
    let others = (first + 2..args.len()).step_by(2).map(|i| {
        let score = number::parse_f64(args.get(i)).unwrap_or_default();
        (score, args.get(i + 1))
    });
    let key = ctx.first_key(args.get(1));
    let elements = std::iter::once((score, args.get(first + 1))).chain(others);
    let expected = (args.get(first + 1), (args.len() - first) / 2);
    let Changes { added, changed, last } = apply_all(ctx, key, how, expected, elements)?;
    match (how.add, last) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) => ctx.reply.integer(if count_changes { added + changed } else { added } as i64),
    }
    Ok(())
}

/// The outcome of adding elements.
#[derive(Default)]
pub(super) struct Changes {
    /// The number of new elements.
    pub(super) added: u64,
    /// The number of elements whose score changed.
    pub(super) changed: u64,
    /// The score of the last one, unless a flag prevented it.
    last: Option<f64>,
}

/// Adds `count` elements to the sorted set of `key`, or changes their scores. The member of the first one is `first`.
pub(super) fn apply_all<'a>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    how: How,
    (first, count): (&[u8], usize),
    elements: impl Iterator<Item = (f64, &'a [u8])>,
) -> Result<Changes> {
    let mut changes = Changes::default();
    let at = match ctx.find_kind(key, Access::Write, Kind::SortedSet)? {
        Some(at) => at,
        None if how.only_old => return Ok(changes),
        None => {
            let entry = sorted_set::create(key.name, first.len(), count, &ctx.keyspace.shapes);
            ctx.insert(key, entry)
        }
    };
    let outcome = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        sorted_set::expect(entry, count, shapes);
        for (score, member) in elements {
            let applied = sorted_set::apply(entry, member, score, how, shapes)?;
            changes.added += u64::from(matches!(applied, Applied::Added(_)));
            changes.changed += u64::from(matches!(applied, Applied::Changed(_)));
            changes.last = match applied {
                Applied::Refused => None,
                Applied::Added(score) | Applied::Changed(score) | Applied::Same(score) => Some(score),
            };
        }
        Ok(())
    });
    match changes.added + changes.changed {
        0 => ctx.unchanged(),
        count => ctx.changed(key, if how.add { Event::ZIncr } else { Event::ZAdd }, count),
    }
    outcome.map_err(|NotANumber| Error::new("ERR resulting score is not a number (NaN)"))?;
    Ok(changes)
}

/// `ZREM key member [member …]`: the number of members removed. O(log n) a member.
pub fn zrem(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Write, Kind::SortedSet)?;
    ctx.remove_elements(key, found, Event::ZRem, |keyspace, at| {
        keyspace.modify(key.db, at, |entry| {
            let removed =
                args.iter_from(2).filter(|member| sorted_set::remove(entry, member).is_some()).count();
            (removed, SortedSetRef::of(entry).is_empty())
        })
    })
}

/// `ZCARD key`: the number of members. O(1).
pub fn zcard(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = find(ctx, args, Access::Read)?;
    let len = found.map_or(0, |at| SortedSetRef::of(&ctx.db().get(at)).len());
    ctx.reply.integer(len as i64);
    Ok(())
}

fn reply_score(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// `ZSCORE key member`: its score, or null. O(1).
pub fn zscore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = find(ctx, args, Access::Read)?;
    let score = found.and_then(|at| SortedSetRef::of(&ctx.db().get(at)).score(args.get(2)));
    reply_score(&mut ctx.reply, score);
    Ok(())
}

/// `ZMSCORE key member [member …]`: the score of each, or null. O(1) a member.
pub fn zmscore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    for_each_score(ctx, args, reply_score)
}

/// Calls `reply` with the score of each member from argument 2 on.
pub(super) fn for_each_score(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl Fn(&mut Reply<'_>, Option<f64>),
) -> Result {
    let found = find(ctx, args, Access::Read)?;
    // A call may repeat a member any number of times.
    let bound = ctx.output_bound();
    ctx.reply.array(args.len() - 2);
    let entry = found.map(|at| ctx.keyspace.db(ctx.session.db).get(at));
    let set = entry.as_ref().map(|entry| SortedSetRef::of(entry));
    for member in args.iter_from(2) {
        if ctx.reply.buf.len() > bound {
            break;
        }
        reply(&mut ctx.reply, set.and_then(|set| set.score(member)));
    }
    ctx.end_beyond(bound);
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`: the number of members before it, and its score; null if it is missing. O(log n).
pub fn zrank(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    rank(ctx, args, false)
}

/// `ZREVRANK key member [WITHSCORE]`: the number of members after it, and its score; null if it is missing. O(log n).
pub fn zrevrank(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    rank(ctx, args, true)
}

fn rank(ctx: &mut Context<'_>, args: Args<'_>, backwards: bool) -> Result {
    let with_score = match args.len() {
        3 => false,
        4 if args.is(3, "withscore") => true,
        4 => return Err(SYNTAX),
        _ => return Err(Error::wrong_arity(if backwards { "zrevrank" } else { "zrank" })),
    };
    let found = find(ctx, args, Access::Read)?;
    let ranked = found.and_then(|at| {
        let entry = ctx.db().get(at);
        let set = SortedSetRef::of(&entry);
        let (rank, score) = set.rank(args.get(2))?;
        Some((if backwards { set.len() - 1 - rank } else { rank }, score))
    });
    match (ranked, with_score) {
        (Some((rank, score)), true) => {
            ctx.reply.array(2);
            ctx.reply.integer(rank as i64);
            ctx.reply.double(score);
        }
        (Some((rank, _)), false) => ctx.reply.integer(rank as i64),
        (None, true) => ctx.reply.null_array(),
        (None, false) => ctx.reply.null(),
    }
    Ok(())
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`: a random member or null; with a positive `count`, up to that many distinct
/// ones; with a negative one, exactly that many, possibly repeated. O(log n) a member.
pub fn zrandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len() == 2 {
        match find(ctx, args, Access::Read)? {
            Some(at) => with_set(ctx, at, |reply, set, random| {
                if let Some((member, _)) = set.random(random) {
                    reply.text(member);
                }
            }),
            None => ctx.reply.null(),
        }
        return Ok(());
    }
    let count = random_count(args.get(2))?;
    let with_scores = match args.len() {
        3 => false,
        4 if args.is(3, "withscores") => true,
        _ => return Err(SYNTAX),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::new("ERR value is out of range"));
    }
    let scores = Scores::when(with_scores, ctx.session.protocol);
    let Some(at) = find(ctx, args, Access::Read)?.filter(|_| count != 0) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let bound = ctx.output_bound();
    with_set(ctx, at, |reply, set, random| {
        if count < 0 {
            let count = count.unsigned_abs() as usize;
            scores.begin(reply, count);
            for element in (0..count).filter_map(|_| set.random(random)) {
                scores.reply(reply, element);
                if reply.buf.len() > bound {
                    break;
                }
            }
        } else {
            let count = set.len().min(count as usize);
            scores.begin(reply, count);
            if count == set.len() {
                // All members: Redis returns them from the last to the first.
                return set.span(0..count, true).for_each(|element| scores.reply(reply, element));
            }
            set.sample_distinct(count, random, &mut |element| scores.reply(reply, element));
        }
    });
    ctx.end_beyond(bound);
    Ok(())
}

/// Calls `with` with the reply, the sorted set at `at`, and a source of random numbers.
fn with_set(
    ctx: &mut Context<'_>,
    at: Position,
    with: impl FnOnce(&mut Reply<'_>, SortedSetRef<'_>, &mut Random),
) {
    let reply = &mut ctx.reply;
    let (entry, random) = ctx.keyspace.sample(ctx.session.db, at);
    with(reply, SortedSetRef::of(&entry), random);
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT n]`: the next cursor and some members with their scores. A member that
/// exists throughout a full iteration is returned at least once. O(1) a call.
pub fn zscan(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let cursor = parse_cursor(args.get(2)).ok_or(Error::new("ERR invalid cursor"))?;
    let Some(at) = find(ctx, args, Access::Read)? else {
        reply_scan(&mut ctx.reply, 0, 0, &[]);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::None)?;
    let protocol = ctx.session.protocol;
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SortedSetRef::of(&entry);
    let (mut elements, mut found, mut text) = (options.room(), 0, Vec::new());
    let mut reply = Reply { buf: &mut elements, protocol };
    let cursor = options.walk(cursor, |cursor, looked| {
        set.scan(cursor, &mut |member, score| {
            *looked += 1;
            if !member.with_bytes(|member| options.matches(member)) {
                return;
            }
            reply.text(member);
            text.clear();
            match set {
                SortedSetRef::Packed(_) => number::push_f64(&mut text, score),
                // Redis prints a long double here.
                SortedSetRef::Large(_) => number::push_f64_17(&mut text, score),
            }
            reply.bulk(&text);
            found += 2;
        })
    });
    reply_scan(&mut ctx.reply, cursor, found, &elements);
    Ok(())
}
