//! Lists: elements in and out at both ends, by index and by value.

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, SYNTAX, WRONG_TYPE, integer};
use crate::db::Access;
use crate::dict::Position;
use crate::types::list::{self, End, Needle};
use crate::types::{Kind, Text};

/// Finds the list of the request's first key; an error is replied.
fn find_list(ctx: &mut Context<'_>, key: &[u8], access: Access) -> Result<Option<Position>, ()> {
    ctx.old_find_kind(key, access, Kind::List).map_err(|text| ctx.reply.error(text))
}

/// Puts a list in order after elements were taken out: an empty one is deleted.
fn after_removal(ctx: &mut Context<'_>, at: Position) {
    let left = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::shrink(entry, shapes);
        list::len(entry)
    });
    if left == 0 {
        ctx.old_remove(at, false);
    }
}

fn push(ctx: &mut Context<'_>, args: Args<'_>, end: End, create: bool) {
    let key = args.get(1);
    let Ok(found) = find_list(ctx, key, Access::Write) else { return };
    let at = match found {
        Some(at) => at,
        None if create => ctx.old_insert(list::create(key)),
        None => return ctx.reply.integer(0),
    };
    let len = ctx
        .keyspace
        .reshape(ctx.session.db, at, |entry, shapes, _| list::extend(entry, end, args.iter_from(2), shapes));
    ctx.keyspace.modified(args.len() as u64 - 2);
    ctx.reply.integer(len as i64);
}

/// `LPUSH key element [element …]`: the new length. O(1) an element.
pub fn lpush(ctx: &mut Context<'_>, args: Args<'_>) {
    push(ctx, args, End::Front, true);
}

/// `RPUSH key element [element …]`: the new length. O(1) an element.
pub fn rpush(ctx: &mut Context<'_>, args: Args<'_>) {
    push(ctx, args, End::Back, true);
}

/// `LPUSHX key element [element …]`: the new length, 0 where there is no list. O(1) an element.
pub fn lpushx(ctx: &mut Context<'_>, args: Args<'_>) {
    push(ctx, args, End::Front, false);
}

/// `RPUSHX key element [element …]`: the new length, 0 where there is no list. O(1) an element.
pub fn rpushx(ctx: &mut Context<'_>, args: Args<'_>) {
    push(ctx, args, End::Back, false);
}

/// Takes `count` elements out at an end and replies with each; all of them are there.
fn pop_each(ctx: &mut Context<'_>, at: Position, end: End, count: usize) {
    let reply = &mut ctx.reply;
    ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::pop_each(entry, end, count, shapes, &mut |element| reply.text(element));
    });
    after_removal(ctx, at);
    ctx.keyspace.modified(count as u64);
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, name: &str, end: End) {
    let count = match args.len() {
        2 => None,
        3 => match integer(args.get(2)).ok().and_then(|n| usize::try_from(n).ok()) {
            Some(count) => Some(count),
            None => return ctx.reply.error("ERR value is out of range, must be positive"),
        },
        _ => return ctx.reply.error(format!("ERR wrong number of arguments for '{name}' command")),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Write) else { return };
    match (found, count) {
        (None, None) => ctx.reply.null(),
        (None, Some(_)) => ctx.reply.null_array(),
        (Some(at), None) => pop_each(ctx, at, end, 1),
        (Some(_), Some(0)) => ctx.reply.array(0),
        (Some(at), Some(count)) => {
            let count = count.min(list::len(&ctx.db().get(at)));
            ctx.reply.array(count);
            pop_each(ctx, at, end, count);
        }
    }
}

/// `LPOP key [count]`: the first element, taken out, or null; with `count`, an array of so many. O(1) an element.
pub fn lpop(ctx: &mut Context<'_>, args: Args<'_>) {
    pop(ctx, args, "lpop", End::Front);
}

/// `RPOP key [count]`: the last element, taken out, or null; with `count`, an array of so many. O(1) an element.
pub fn rpop(ctx: &mut Context<'_>, args: Args<'_>) {
    pop(ctx, args, "rpop", End::Back);
}

/// `LLEN key`: the length. O(1).
pub fn llen(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_list(ctx, args.get(1), Access::Read) else { return };
    let len = found.map_or(0, |at| list::len(&ctx.db().get(at)));
    ctx.reply.integer(len as i64);
}

/// The first index and the number of elements that Redis's `start` and `stop` mean in a list of `len`.
fn clamp(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from = if start < 0 { (len + start).max(0) } else { start };
    let to = if stop < 0 { len.saturating_add(stop) } else { stop }.min(len - 1);
    if from > to || from >= len { (0, 0) } else { (from as usize, (to - from + 1) as usize) }
}

/// Two integer arguments.
fn bounds(args: Args<'_>) -> Result<(i64, i64), ErrorText> {
    Ok((integer(args.get(2))?, integer(args.get(3))?))
}

/// `LRANGE key start stop`: the elements between two indices, both included; negative ones count from the end. O(S+N).
pub fn lrange(ctx: &mut Context<'_>, args: Args<'_>) {
    let (start, stop) = match bounds(args) {
        Ok(bounds) => bounds,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Read) else { return };
    let Some(at) = found else { return ctx.reply.array(0) };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let (from, count) = clamp(start, stop, list::len(&entry));
    ctx.reply.array(count);
    let mut left = count;
    if left == 0 {
        return;
    }
    let reply = &mut ctx.reply;
    list::forwards(&entry, from, &mut |element| {
        reply.text(element);
        left -= 1;
        left > 0
    });
}

/// The place from the front that an index means, when it is within a list of `len`.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// `LINDEX key index`: the element, or null. O(N).
pub fn lindex(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_list(ctx, args.get(1), Access::Read) else { return };
    let Some(at) = found else { return ctx.reply.null() };
    let index = match integer(args.get(2)) {
        Ok(index) => index,
        Err(text) => return ctx.reply.error(text),
    };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let reply = &mut ctx.reply;
    let place = place(index, list::len(&entry));
    if place.and_then(|place| list::get(&entry, place, |element| reply.text(element))).is_none() {
        ctx.reply.null();
    }
}

/// `LSET key index element`: `OK`. O(N).
pub fn lset(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = try_lset(ctx, args);
    match outcome {
        Ok(()) => ctx.reply.ok(),
        Err(text) => ctx.reply.error(text),
    }
}

fn try_lset(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let found = ctx.old_find_kind(args.get(1), Access::Write, Kind::List)?;
    let at = found.ok_or("ERR no such key")?;
    let index = integer(args.get(2))?;
    let len = list::len(&ctx.db().get(at));
    let index = place(index, len).ok_or("ERR index out of range")?;
    let value = args.get(3);
    ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::expect(entry, [value].into_iter(), shapes);
        list::set(entry, index, value, shapes);
        list::shrink(entry, shapes);
    });
    ctx.keyspace.modified(1);
    Ok(())
}

/// The place of the first element that equals `value`.
fn find_value(ctx: &Context<'_>, at: Position, value: &[u8]) -> Option<usize> {
    let needle = Needle::new(value);
    let (mut place, mut found) = (0, false);
    list::forwards(&ctx.db().get(at), 0, &mut |element| {
        found = needle.is(element);
        place += usize::from(!found);
        !found
    });
    found.then_some(place)
}

/// `LINSERT key BEFORE | AFTER pivot element`: the new length, -1 where there is no pivot, 0 without a list. O(N).
pub fn linsert(ctx: &mut Context<'_>, args: Args<'_>) {
    let after = match (args.is(2, "before"), args.is(2, "after")) {
        (true, _) => 0,
        (_, true) => 1,
        _ => return ctx.reply.error(SYNTAX),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Write) else { return };
    let Some(at) = found else { return ctx.reply.integer(0) };
    let value = args.get(4);
    // As in Redis, before it is known whether the pivot is there.
    ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::expect(entry, [value].into_iter(), shapes);
    });
    let Some(pivot) = find_value(ctx, at, args.get(3)) else { return ctx.reply.integer(-1) };
    let len = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::insert(entry, pivot + after, value, shapes);
        list::len(entry)
    });
    ctx.keyspace.modified(1);
    ctx.reply.integer(len as i64);
}

/// `LREM key count element`: how many equal elements were removed: `count` from the front, from the back where it is
/// negative, all where it is 0. O(N).
pub fn lrem(ctx: &mut Context<'_>, args: Args<'_>) {
    let count = match integer(args.get(2)) {
        Ok(count) => count,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Write) else { return };
    let Some(at) = found else { return ctx.reply.integer(0) };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let from = if count < 0 { End::Back } else { End::Front };
    let removed = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::remove_matching(entry, args.get(3), most, from, shapes)
    });
    after_removal(ctx, at);
    ctx.keyspace.modified(removed as u64);
    ctx.reply.integer(removed as i64);
}

/// `LTRIM key start stop`: `OK`; only the elements between two indices stay. O(N).
pub fn ltrim(ctx: &mut Context<'_>, args: Args<'_>) {
    let (start, stop) = match bounds(args) {
        Ok(bounds) => bounds,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Write) else { return };
    let Some(at) = found else { return ctx.reply.ok() };
    let removed = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        let len = list::len(entry);
        let (from, count) = clamp(start, stop, len);
        if count > 0 {
            list::remove_range(entry, from + count, len - from - count, shapes);
            list::remove_range(entry, 0, from, shapes);
        }
        (len - count, count == 0)
    });
    match removed {
        (_, true) => ctx.old_remove(at, false),
        _ => after_removal(ctx, at),
    }
    ctx.keyspace.modified(removed.0 as u64);
    ctx.reply.ok();
}

/// What `LPOS` was asked for.
struct Search {
    rank: i64,
    count: Option<usize>,
    max_len: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Search, ErrorText> {
        let mut search = Search { rank: 1, count: None, max_len: 0 };
        let not_negative =
            |arg: &[u8], text: ErrorText| integer(arg).ok().and_then(|n| usize::try_from(n).ok()).ok_or(text);
        let mut i = 3;
        while i < args.len() {
            let value = if i + 1 < args.len() { args.get(i + 1) } else { return Err(SYNTAX) };
            if args.is(i, "rank") {
                search.rank = integer(value)?;
                if search.rank == i64::MIN {
                    return Err(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    );
                }
                if search.rank == 0 {
                    return Err(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    );
                }
            } else if args.is(i, "count") {
                search.count = Some(not_negative(value, "ERR COUNT can't be negative")?);
            } else if args.is(i, "maxlen") {
                search.max_len = not_negative(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(SYNTAX);
            }
            i += 2;
        }
        Ok(search)
    }

    /// Calls `found` with the place of each match, as they were asked for.
    fn run(&self, entry: &crate::types::Entry, value: &[u8], found: &mut impl FnMut(usize)) {
        let needle = Needle::new(value);
        let len = list::len(entry);
        let most_looked = if self.max_len == 0 { len } else { self.max_len.min(len) };
        let most = self.count.map_or(1, |count| if count == 0 { usize::MAX } else { count });
        // The least number has no opposite; Redis takes it for the first match, too.
        let mut skip = self.rank.unsigned_abs() as usize - 1;
        let (mut looked, mut matches) = (0, 0);
        let backwards = self.rank < 0;
        let mut look = |element: Text<'_>| {
            if needle.is(element) {
                if skip == 0 {
                    found(if backwards { len - 1 - looked } else { looked });
                    matches += 1;
                } else {
                    skip -= 1;
                }
            }
            looked += 1;
            looked < most_looked && matches < most
        };
        if backwards {
            list::backwards(entry, len - 1, &mut look);
        } else {
            list::forwards(entry, 0, &mut look);
        }
    }
}

/// `LPOS key element [RANK rank] [COUNT count] [MAXLEN len]`: the index of the match, or null; with `COUNT`, an array
/// of several. O(N).
pub fn lpos(ctx: &mut Context<'_>, args: Args<'_>) {
    let search = match Search::parse(args) {
        Ok(search) => search,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_list(ctx, args.get(1), Access::Read) else { return };
    let mut places = Vec::new();
    if let Some(at) = found {
        search.run(&ctx.db().get(at), args.get(2), &mut |place| places.push(place as i64));
    }
    if search.count.is_some() {
        ctx.reply.array(places.len());
        for place in places {
            ctx.reply.integer(place);
        }
    } else {
        match places.first() {
            Some(place) => ctx.reply.integer(*place),
            None => ctx.reply.null(),
        }
    }
}

/// Moves an element from an end of one list to an end of another, and replies with it.
fn transfer(ctx: &mut Context<'_>, source: &[u8], destination: &[u8], from: End, to: End) {
    let Ok(found) = find_list(ctx, source, Access::Write) else { return };
    let Some(mut at) = found else { return ctx.reply.null() };
    let target = if source == destination {
        at
    } else {
        let hash = ctx.keyspace.hash(destination);
        match ctx.old_find_hashed(hash, destination, Access::Write) {
            Some(target) if ctx.db().get(target).kind() != Kind::List => return ctx.reply.error(WRONG_TYPE),
            Some(target) => target,
            None => {
                let target = ctx.keyspace.old_insert(ctx.session.db, hash, list::create(destination));
                // That, or the deletion of what had expired there, may have moved entries.
                at = ctx.old_find(source, Access::Inspect).expect("nothing expires within a command");
                target
            }
        }
    };
    let value = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        list::pop(entry, from, shapes, |element| element.to_vec())
    });
    ctx.keyspace.reshape(ctx.session.db, target, |entry, shapes, _| {
        list::expect(entry, [&value[..]].into_iter(), shapes);
        list::push(entry, to, &value, shapes);
    });
    if source != destination {
        after_removal(ctx, at);
    }
    ctx.keyspace.modified(1);
    ctx.reply.bulk(&value);
}

fn end_argument(args: Args<'_>, index: usize) -> Result<End, ErrorText> {
    if args.is(index, "left") {
        Ok(End::Front)
    } else if args.is(index, "right") {
        Ok(End::Back)
    } else {
        Err(SYNTAX)
    }
}

/// `LMOVE source destination LEFT | RIGHT LEFT | RIGHT`: the element that was moved, or null. O(1).
pub fn lmove(ctx: &mut Context<'_>, args: Args<'_>) {
    match end_argument(args, 3).and_then(|from| Ok((from, end_argument(args, 4)?))) {
        Ok((from, to)) => transfer(ctx, args.get(1), args.get(2), from, to),
        Err(text) => ctx.reply.error(text),
    }
}

/// `RPOPLPUSH source destination`: the last element of the one, now the first of the other, or null. O(1).
pub fn rpoplpush(ctx: &mut Context<'_>, args: Args<'_>) {
    transfer(ctx, args.get(1), args.get(2), End::Back, End::Front);
}

/// The number of keys, the end and the count of `LMPOP`.
fn lmpop_arguments(args: Args<'_>) -> Result<(usize, End, usize), ErrorText> {
    const NO_KEYS: ErrorText = "ERR numkeys should be greater than 0";
    const NO_COUNT: ErrorText = "ERR count should be greater than 0";
    let positive = |arg: &[u8], text: ErrorText| {
        integer(arg).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).ok_or(text)
    };
    let keys = positive(args.get(1), NO_KEYS)?;
    if keys > args.len() - 3 {
        return Err(SYNTAX);
    }
    let end = end_argument(args, 2 + keys)?;
    let mut count = None;
    let mut i = 3 + keys;
    while i < args.len() {
        if count.is_some() || !args.is(i, "count") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        count = Some(positive(args.get(i + 1), NO_COUNT)?);
        i += 2;
    }
    Ok((keys, end, count.unwrap_or(1)))
}

/// `LMPOP numkeys key [key …] LEFT | RIGHT [COUNT count]`: the first key that has a list, and elements taken out of it;
/// null when there is none. O(N+M).
pub fn lmpop(ctx: &mut Context<'_>, args: Args<'_>) {
    let (keys, end, count) = match lmpop_arguments(args) {
        Ok(arguments) => arguments,
        Err(text) => return ctx.reply.error(text),
    };
    for i in 2..2 + keys {
        let key = args.get(i);
        let hash = ctx.keyspace.hash(key);
        let Some(at) = ctx.old_find_hashed(hash, key, Access::Write) else { continue };
        if ctx.db().get(at).kind() != Kind::List {
            return ctx.reply.error(WRONG_TYPE);
        }
        let count = count.min(list::len(&ctx.db().get(at)));
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        ctx.reply.array(count);
        return pop_each(ctx, at, end, count);
    }
    ctx.reply.null_array();
}
