//! Sorted sets, one at a time: scores in and out, ranks, members from either end, random ones, iteration. Ranges are in
//! [`crate::command::sorted_sets::ranges`], several sorted sets at once in [`crate::command::sorted_sets::algebra`].

pub mod algebra;
pub mod ranges;

use crate::command::args::Args;
use crate::command::context::{
    Context, ErrorText, NOT_A_FLOAT, SYNTAX, WRONG_TYPE, positive_count, random_count, whole_number,
};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::{Protocol, Reply};
use crate::text::number;
use crate::types::random::Random;
use crate::types::sorted_set::{self, Applied, How, NotANumber, SortedSetRef};
use crate::types::{Kind, Text};

/// Finds the sorted set of the request's first key.
pub(super) fn find(ctx: &mut Context<'_>, key: &[u8], access: Access) -> Result<Option<Position>, ErrorText> {
    ctx.old_find_kind(key, access, Kind::SortedSet)
}

/// How scores stand beside members in a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scores {
    /// They do not.
    None,
    /// Member, score, member, score.
    Flat,
    /// An array of two for each.
    Pairs,
}

impl Scores {
    /// As `WITHSCORES` means it: in pairs in RESP3.
    pub(super) fn when(wanted: bool, protocol: Protocol) -> Scores {
        match (wanted, protocol) {
            (false, _) => Scores::None,
            (true, Protocol::Resp2) => Scores::Flat,
            (true, Protocol::Resp3) => Scores::Pairs,
        }
    }

    /// The header of so many elements.
    pub(super) fn begin(self, reply: &mut Reply<'_>, count: usize) {
        reply.array(if self == Scores::Flat { 2 * count } else { count });
    }

    /// One of them.
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

/// The score in an argument.
fn score_argument(arg: &[u8]) -> Result<f64, ErrorText> {
    number::parse_f64(arg).ok_or(NOT_A_FLOAT)
}

/// The flags of `ZADD`, whether it counts changes, and where scores and members begin. `ZINCRBY` takes no flags, but
/// Redis looks for them there, too.
fn zadd_flags(args: Args<'_>, mut how: How) -> Result<(How, bool, usize), ErrorText> {
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
        return Err("ERR XX and NX options at the same time are not compatible");
    }
    if [how.only_new, how.only_greater, how.only_less].into_iter().filter(|flag| *flag).count() > 1 {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible");
    }
    if how.add && words > 2 {
        return Err("ERR INCR option supports a single increment-element pair");
    }
    Ok((how, count_changes, first))
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]`: how many members were added, with `CH` or
/// changed; with `INCR` the new score, null if a flag forbade it. O(log n) a member.
pub fn zadd(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = add(ctx, args, How::default());
    ctx.answer(outcome);
}

/// `ZINCRBY key increment member`: the new score. O(log n).
pub fn zincrby(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = add(ctx, args, How { add: true, ..How::default() });
    ctx.answer(outcome);
}

fn add(ctx: &mut Context<'_>, args: Args<'_>, how: How) -> Result<(), ErrorText> {
    let (how, count_changes, first) = zadd_flags(args, how)?;
    let score = score_argument(args.get(first))?;
    for i in (first + 2..args.len()).step_by(2) {
        score_argument(args.get(i))?;
    }
    // The others are read again, when all have been seen to be numbers.
    let others = (first + 2..args.len()).step_by(2).map(|i| {
        let score = number::parse_f64(args.get(i)).unwrap_or_default();
        (score, args.get(i + 1))
    });
    let elements = std::iter::once((score, args.get(first + 1))).chain(others);
    let Changes { added, changed, last } = apply_all(ctx, args.get(1), how, args.get(first + 1), elements)?;
    match (how.add, last) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) => ctx.reply.integer(if count_changes { added + changed } else { added } as i64),
    }
    Ok(())
}

/// What came of some elements.
#[derive(Default)]
pub(super) struct Changes {
    /// How many are new.
    pub(super) added: u64,
    /// How many have another score.
    pub(super) changed: u64,
    /// The score of the last one, unless a flag forbade it.
    last: Option<f64>,
}

/// Adds elements, of which the first has this member, to the sorted set of the request's first key, or changes their
/// scores. Counts the changes.
pub(super) fn apply_all<'a>(
    ctx: &mut Context<'_>,
    key: &[u8],
    how: How,
    first: &[u8],
    elements: impl Iterator<Item = (f64, &'a [u8])>,
) -> Result<Changes, ErrorText> {
    let mut changes = Changes::default();
    let at = match find(ctx, key, Access::Write)? {
        Some(at) => at,
        None if how.only_old => return Ok(changes),
        None => {
            let entry = sorted_set::create(key, first.len(), &ctx.keyspace.shapes);
            ctx.old_insert(entry)
        }
    };
    let outcome = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
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
    ctx.keyspace.modified(changes.added + changes.changed);
    outcome.map_err(|NotANumber| "ERR resulting score is not a number (NaN)")?;
    Ok(changes)
}

/// `ZREM key member [member …]`: how many were there. O(log n) a member.
pub fn zrem(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = zrem_inner(ctx, args);
    ctx.answer(outcome);
}

fn zrem_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let mut removed = 0;
    if let Some(at) = find(ctx, args.get(1), Access::Write)? {
        let empty = ctx.db_mut().modify(at, |entry| {
            for member in args.iter_from(2) {
                removed += u64::from(sorted_set::remove(entry, member).is_some());
            }
            SortedSetRef::of(entry).is_empty()
        });
        if empty {
            ctx.old_remove(at, false);
        }
    }
    ctx.keyspace.modified(removed);
    ctx.reply.integer(removed as i64);
    Ok(())
}

/// `ZCARD key`: the number of members. O(1).
pub fn zcard(ctx: &mut Context<'_>, args: Args<'_>) {
    match find(ctx, args.get(1), Access::Read) {
        Ok(found) => {
            let len = found.map_or(0, |at| SortedSetRef::of(&ctx.db().get(at)).len());
            ctx.reply.integer(len as i64);
        }
        Err(text) => ctx.reply.error(text),
    }
}

fn reply_score(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// `ZSCORE key member`: its score, or null. O(1).
pub fn zscore(ctx: &mut Context<'_>, args: Args<'_>) {
    match find(ctx, args.get(1), Access::Read) {
        Ok(found) => {
            let score = found.and_then(|at| SortedSetRef::of(&ctx.db().get(at)).score(args.get(2)));
            reply_score(&mut ctx.reply, score);
        }
        Err(text) => ctx.reply.error(text),
    }
}

/// `ZMSCORE key member [member …]`: the score of each, or null. O(1) a member.
pub fn zmscore(ctx: &mut Context<'_>, args: Args<'_>) {
    for_each_score(ctx, args, reply_score);
}

/// Replies for each member from argument 2 on with what `reply` makes of its score.
pub(super) fn for_each_score(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl Fn(&mut Reply<'_>, Option<f64>),
) {
    let found = match find(ctx, args.get(1), Access::Read) {
        Ok(found) => found,
        Err(text) => return ctx.reply.error(text),
    };
    ctx.reply.array(args.len() - 2);
    let entry = found.map(|at| ctx.keyspace.db(ctx.session.db).get(at));
    let set = entry.as_ref().map(|entry| SortedSetRef::of(entry));
    for member in args.iter_from(2) {
        reply(&mut ctx.reply, set.and_then(|set| set.score(member)));
    }
}

/// `ZRANK key member [WITHSCORE]`: how many members come before it, with its score; null if it is not there. O(log n).
pub fn zrank(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = rank(ctx, args, false);
    ctx.answer(outcome);
}

/// `ZREVRANK key member [WITHSCORE]`: how many members come after it. O(log n).
pub fn zrevrank(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = rank(ctx, args, true);
    ctx.answer(outcome);
}

fn rank(ctx: &mut Context<'_>, args: Args<'_>, backwards: bool) -> Result<(), ErrorText> {
    let with_score = match args.len() {
        3 => false,
        4 if args.is(3, "withscore") => true,
        4 => return Err(SYNTAX),
        _ if backwards => return Err("ERR wrong number of arguments for 'zrevrank' command"),
        _ => return Err("ERR wrong number of arguments for 'zrank' command"),
    };
    let found = find(ctx, args.get(1), Access::Read)?;
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

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// Replies with up to `count` elements of one end and removes them.
fn pop(ctx: &mut Context<'_>, at: Position, end: End, count: usize, scores: Scores) {
    let (span, empties) = {
        let entry = ctx.keyspace.db(ctx.session.db).get(at);
        let set = SortedSetRef::of(&entry);
        let len = set.len();
        let count = count.min(len);
        let span = if end == End::Max { len - count..len } else { 0..count };
        scores.begin(&mut ctx.reply, count);
        for element in set.span(span.clone(), end == End::Max) {
            scores.reply(&mut ctx.reply, element);
        }
        (span, count == len)
    };
    ctx.keyspace.modified(span.len() as u64);
    if empties {
        ctx.old_remove(at, false);
    } else {
        ctx.db_mut().modify(at, |entry| sorted_set::remove_span(entry, span));
    }
}

/// `ZPOPMIN key [count]`: the members with the lowest scores, taken out, with these. O(log n) a member.
pub fn zpopmin(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = pop_one_key(ctx, args, End::Min);
    ctx.answer(outcome);
}

/// `ZPOPMAX key [count]`: the members with the highest scores, taken out, with these. O(log n) a member.
pub fn zpopmax(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = pop_one_key(ctx, args, End::Max);
    ctx.answer(outcome);
}

fn pop_one_key(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Result<(), ErrorText> {
    let (count, scores) = match args.len() {
        2 => (1, Scores::Flat),
        3 => (positive_count(args.get(2))?, Scores::when(true, ctx.session.protocol)),
        _ => return Err(SYNTAX),
    };
    match find(ctx, args.get(1), Access::Write)? {
        Some(at) if count > 0 => pop(ctx, at, end, count, scores),
        _ => ctx.reply.array(0),
    }
    Ok(())
}

/// What `ZMPOP` asks for: how many keys follow argument `keys_at`, the end, and how many elements.
fn mpop_arguments(args: Args<'_>, keys_at: usize) -> Result<(usize, End, usize), ErrorText> {
    let above_0 = |arg, text| whole_number(arg).filter(|n| *n > 0).ok_or(text);
    let keys = above_0(args.get(keys_at), "ERR numkeys should be greater than 0")?;
    let mut i = keys_at.saturating_add(keys).saturating_add(1);
    if i >= args.len() {
        return Err(SYNTAX);
    }
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
    Ok((keys, end, count.unwrap_or(1)))
}

/// `ZMPOP numkeys key [key …] MIN | MAX [COUNT count]`: the first key that there is, and its members with the lowest or
/// highest scores, taken out; null if there is no key. O(log n) a member.
pub fn zmpop(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = zmpop_inner(ctx, args);
    ctx.answer(outcome);
}

fn zmpop_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let (keys, end, count) = mpop_arguments(args, 1)?;
    for i in 2..2 + keys {
        let key = args.get(i);
        let hash = ctx.keyspace.hash(key);
        let Some(at) = ctx.old_find_hashed(hash, key, Access::Write) else { continue };
        if ctx.db().get(at).kind() != Kind::SortedSet {
            return Err(WRONG_TYPE);
        }
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        pop(ctx, at, end, count, Scores::Pairs);
        return Ok(());
    }
    ctx.reply.null_array();
    Ok(())
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`: a random member or null; with `count`, so many different ones, with a negative
/// one so many that may repeat. O(log n) a member.
pub fn zrandmember(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = zrandmember_inner(ctx, args);
    ctx.answer(outcome);
}

fn zrandmember_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    if args.len() == 2 {
        match find(ctx, args.get(1), Access::Read)? {
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
        return Err("ERR value is out of range");
    }
    let scores = Scores::when(with_scores, ctx.session.protocol);
    let Some(at) = find(ctx, args.get(1), Access::Read)?.filter(|_| count != 0) else {
        ctx.reply.array(0);
        return Ok(());
    };
    with_set(ctx, at, |reply, set, random| {
        if count < 0 {
            let count = count.unsigned_abs() as usize;
            scores.begin(reply, count);
            (0..count).filter_map(|_| set.random(random)).for_each(|element| scores.reply(reply, element));
        } else {
            let count = set.len().min(count as usize);
            scores.begin(reply, count);
            if count == set.len() {
                // There is nothing to choose: Redis goes from the last to the first.
                return set.span(0..count, true).for_each(|element| scores.reply(reply, element));
            }
            set.sample_distinct(count, random, &mut |element| scores.reply(reply, element));
        }
    });
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

/// `ZSCAN key cursor [MATCH pattern] [COUNT n]`: the next cursor and some members with their scores. A member that is
/// there from the first call to the last is returned at least once. O(1) a call.
pub fn zscan(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = zscan_inner(ctx, args);
    ctx.answer(outcome);
}

fn zscan_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let cursor = parse_cursor(args.get(2)).ok_or("ERR invalid cursor")?;
    let Some(at) = find(ctx, args.get(1), Access::Read)? else {
        reply_scan(&mut ctx.reply, 0, 0, &[]);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::None)?;
    let protocol = ctx.session.protocol;
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SortedSetRef::of(&entry);
    let (mut elements, mut found, mut text) = (Vec::new(), 0, Vec::new());
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
                // Here Redis prints a long double.
                SortedSetRef::Large(_) => number::push_f64_17(&mut text, score),
            }
            reply.bulk(&text);
            found += 2;
        })
    });
    reply_scan(&mut ctx.reply, cursor, found, &elements);
    Ok(())
}
