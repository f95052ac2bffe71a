//! Lists: elements are added and removed at both ends, by index and by value.

pub mod blocking;

use crate::command::args::{Args, integer, positive_count, whole_number};
use crate::command::context::Context;
use crate::command::error::{Error, NO_SUCH_KEY, Result, SYNTAX};
use crate::db::{Access, Event, Key, Position, Removal};
use crate::text::number::Decimal;
use crate::types::list::{self, End, Needle};
use crate::types::{Entry, Kind, Text};

/// The event of a push to an end.
fn pushed(end: End) -> Event {
    match end {
        End::Front => Event::LPush,
        End::Back => Event::RPush,
    }
}

/// The event of a pop from an end.
fn popped(end: End) -> Event {
    match end {
        End::Front => Event::LPop,
        End::Back => Event::RPop,
    }
}

fn push(ctx: &mut Context<'_>, args: Args<'_>, end: End, create: bool) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = match ctx.find_kind(key, Access::Write, Kind::List)? {
        Some(at) => at,
        None if create => ctx.insert(key, list::create(key.name)),
        None => {
            ctx.reply.integer(0);
            return Ok(());
        }
    };
    let len = ctx
        .keyspace
        .reshape(key.db, at, |entry, shapes, _| list::extend(entry, end, args.iter_from(2), shapes));
    ctx.changed(key, pushed(end), args.len() as u64 - 2);
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `LPUSH key element [element …]`: the new length. O(1) an element.
pub fn lpush(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    push(ctx, args, End::Front, true)
}

/// `RPUSH key element [element …]`: the new length. O(1) an element.
pub fn rpush(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    push(ctx, args, End::Back, true)
}

/// `LPUSHX key element [element …]`: the new length, 0 if there is no list. O(1) an element.
pub fn lpushx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    push(ctx, args, End::Front, false)
}

/// `RPUSHX key element [element …]`: the new length, 0 if there is no list. O(1) an element.
pub fn rpushx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    push(ctx, args, End::Back, false)
}

/// Removes `count` elements from an end and replies with each; the list has at least that many. Deletes an emptied
/// list.
fn pop_each(ctx: &mut Context<'_>, key: Key<'_>, at: Position, end: End, count: usize) {
    let reply = &mut ctx.reply;
    let (left, debris) = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        let debris = list::pop_each(entry, end, count, shapes, &mut |element| reply.text(element));
        list::shrink(entry, shapes);
        (list::len(entry), debris)
    });
    ctx.keyspace.discard(debris);
    ctx.removed(key, at, popped(end), count, left == 0);
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, name: &str, end: End) -> Result {
    let count = match args.len() {
        2 => None,
        3 => Some(positive_count(args.get(2))?),
        _ => return Err(Error::wrong_arity(name)),
    };
    let key = ctx.first_key(args.get(1));
    match (ctx.find_kind(key, Access::Write, Kind::List)?, count) {
        (None, None) => ctx.reply.null(),
        (None, Some(_)) => ctx.reply.null_array(),
        (Some(at), None) => pop_each(ctx, key, at, end, 1),
        (Some(_), Some(0)) => ctx.reply.array(0),
        (Some(at), Some(count)) => {
            let count = count.min(list::len(&ctx.db().get(at)));
            ctx.reply.array(count);
            pop_each(ctx, key, at, end, count);
        }
    }
    Ok(())
}

/// `LPOP key [count]`: the first element, which is removed, or null; with `count`, an array of that many. O(1) an
/// element.
pub fn lpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop(ctx, args, "lpop", End::Front)
}

/// `RPOP key [count]`: the last element, which is removed, or null; with `count`, an array of that many. O(1) an
/// element.
pub fn rpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop(ctx, args, "rpop", End::Back)
}

/// `LLEN key`: the length. O(1).
pub fn llen(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Read, Kind::List)?;
    let len = found.map_or(0, |at| list::len(&ctx.db().get(at)));
    ctx.reply.integer(len as i64);
    Ok(())
}

/// Converts Redis's `start` and `stop` to the first index and the number of elements, in a list of `len`.
fn clamp(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from = if start < 0 { (len + start).max(0) } else { start };
    let to = if stop < 0 { len.saturating_add(stop) } else { stop }.min(len - 1);
    if from > to || from >= len { (0, 0) } else { (from as usize, (to - from + 1) as usize) }
}

/// Parses two integer arguments.
fn bounds(args: Args<'_>) -> Result<(i64, i64)> {
    Ok((integer(args.get(2))?, integer(args.get(3))?))
}

/// `LRANGE key start stop`: the elements between two indices, both included; negative ones count from the end. O(S+N).
pub fn lrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (start, stop) = bounds(args)?;
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Read, Kind::List)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let entry = ctx.keyspace.db(key.db).get(at);
    let (from, count) = clamp(start, stop, list::len(&entry));
    ctx.reply.array(count);
    let mut left = count;
    if left == 0 {
        return Ok(());
    }
    let reply = &mut ctx.reply;
    list::forwards(&entry, from, &mut |element| {
        reply.text(element);
        left -= 1;
        left > 0
    });
    Ok(())
}

/// Returns the position from the front for an index, if it is within a list of `len`.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// `LINDEX key index`: the element, or null. O(N).
pub fn lindex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Read, Kind::List)? else {
        ctx.reply.null();
        return Ok(());
    };
    let index = integer(args.get(2))?;
    let entry = ctx.keyspace.db(key.db).get(at);
    let reply = &mut ctx.reply;
    let place = place(index, list::len(&entry));
    if place.and_then(|place| list::get(&entry, place, |element| reply.text(element))).is_none() {
        ctx.reply.null();
    }
    Ok(())
}

/// `LSET key index element`: `OK`. O(N).
pub fn lset(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = ctx.find_kind(key, Access::Write, Kind::List)?.ok_or(NO_SUCH_KEY)?;
    let index = integer(args.get(2))?;
    let value = args.get(3);
    let found = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        // As in Redis, before the index is checked.
        list::expect(entry, [value].into_iter(), shapes);
        let index = place(index, list::len(entry))?;
        list::set(entry, index, value, shapes);
        list::shrink(entry, shapes);
        Some(())
    });
    if found.is_none() {
        ctx.unchanged();
        return Err("ERR index out of range".into());
    }
    ctx.changed(key, Event::LSet, 1);
    ctx.reply.ok();
    Ok(())
}

/// The position of the first element that equals `value`.
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

/// `LINSERT key BEFORE | AFTER pivot element`: the new length, -1 if the pivot is missing, 0 if there is no list. O(N).
pub fn linsert(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let after = match (args.is(2, "before"), args.is(2, "after")) {
        (true, _) => 0,
        (_, true) => 1,
        _ => return Err(SYNTAX),
    };
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Write, Kind::List)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let value = args.get(4);
    // As in Redis, before the pivot is searched.
    ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        list::expect(entry, [value].into_iter(), shapes);
    });
    let Some(pivot) = find_value(ctx, at, args.get(3)) else {
        ctx.unchanged();
        ctx.reply.integer(-1);
        return Ok(());
    };
    let len = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        list::insert(entry, pivot + after, value, shapes);
        list::len(entry)
    });
    ctx.changed(key, Event::LInsert, 1);
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `LREM key count element`: the number of equal elements removed: up to `count` from the front, from the back if
/// `count` is negative, all if it is 0. O(N).
pub fn lrem(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let count = integer(args.get(2))?;
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Write, Kind::List)?;
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let from = if count < 0 { End::Back } else { End::Front };
    ctx.remove_elements(key, found, Event::LRem, |keyspace, at| {
        keyspace.reshape(key.db, at, |entry, shapes, _| {
            let removed = list::remove_matching(entry, args.get(3), most, from, shapes);
            if removed > 0 {
                list::shrink(entry, shapes);
            }
            (removed, list::len(entry) == 0)
        })
    })
}

/// `LTRIM key start stop`: `OK`; keeps only the elements between two indices. O(N).
pub fn ltrim(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (start, stop) = bounds(args)?;
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Write, Kind::List)? else {
        ctx.reply.ok();
        return Ok(());
    };
    let mut debris = [None, None];
    let (removed, left) = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        let len = list::len(entry);
        let (from, count) = clamp(start, stop, len);
        if count > 0 {
            debris[0] = list::remove_range(entry, from + count, len - from - count, shapes);
            debris[1] = list::remove_range(entry, 0, from, shapes);
            list::shrink(entry, shapes);
        }
        (len - count, count)
    });
    for debris in debris {
        ctx.keyspace.discard(debris);
    }
    ctx.changed(key, Event::LTrim, removed as u64);
    if left == 0 {
        ctx.remove(key, at, Removal::Emptied);
    }
    ctx.reply.ok();
    Ok(())
}

/// The options of `LPOS`.
struct Search {
    rank: i64,
    count: Option<usize>,
    max_len: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Search> {
        let mut search = Search { rank: 1, count: None, max_len: 0 };
        let not_negative = |arg: &[u8], text: &'static str| whole_number(arg).ok_or(Error::new(text));
        let mut i = 3;
        while i < args.len() {
            let value = if i + 1 < args.len() { args.get(i + 1) } else { return Err(SYNTAX) };
            if args.is(i, "rank") {
                search.rank = integer(value)?;
                if search.rank == i64::MIN {
                    return Err(Error::new(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    ));
                }
                if search.rank == 0 {
                    return Err(Error::new(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
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

    /// Calls `found` with the index of each requested match.
    fn run(&self, entry: &Entry, value: &[u8], found: &mut impl FnMut(usize)) {
        let needle = Needle::new(value);
        let len = list::len(entry);
        let most_looked = if self.max_len == 0 { len } else { self.max_len.min(len) };
        let most = self.count.map_or(1, |count| if count == 0 { usize::MAX } else { count });
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
pub fn lpos(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let search = Search::parse(args)?;
    let key = ctx.first_key(args.get(1));
    let mut places = Vec::new();
    if let Some(at) = ctx.find_kind(key, Access::Read, Kind::List)? {
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
    Ok(())
}

/// Moves an element from an end of the list at `at`, which is under `source`, to an end of `destination`, and replies
/// with it.
fn transfer(
    ctx: &mut Context<'_>,
    (source, mut at, from): (Key<'_>, Position, End),
    (destination, to): (Key<'_>, End),
) -> Result {
    let rotates = source.name == destination.name;
    let found = if rotates { Some(at) } else { ctx.find_kind(destination, Access::Write, Kind::List)? };
    let target = found.unwrap_or_else(|| {
        let target = ctx.insert(destination, list::create(destination.name));
        // The insertion, or the deletion of an expired key there, may have moved entries.
        at = ctx.find(source, Access::Inspect).expect("nothing expires within a command");
        target
    });
    let (value, left) = ctx.keyspace.reshape(source.db, at, |entry, shapes, _| {
        let value = list::pop(entry, from, shapes, |element| element.to_vec());
        if !rotates {
            list::shrink(entry, shapes);
        }
        (value, list::len(entry))
    });
    ctx.keyspace.reshape(destination.db, target, |entry, shapes, _| {
        list::expect(entry, [&value[..]].into_iter(), shapes);
        list::push(entry, to, &value, shapes);
        if rotates {
            list::shrink(entry, shapes);
        }
    });
    ctx.changed(destination, pushed(to), 1);
    ctx.changed(source, popped(from), 0);
    if left == 0 && !rotates {
        ctx.remove(source, at, Removal::Emptied);
    }
    ctx.reply.bulk(&value);
    Ok(())
}

fn end_argument(args: Args<'_>, index: usize) -> Result<End> {
    if args.is(index, "left") {
        Ok(End::Front)
    } else if args.is(index, "right") {
        Ok(End::Back)
    } else {
        Err(SYNTAX)
    }
}

/// Moves an element between the lists of arguments 1 and 2. Returns whether the first one exists.
fn move_element(ctx: &mut Context<'_>, args: Args<'_>, from: End, to: End) -> Result<bool> {
    let source = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(source, Access::Write, Kind::List)? else { return Ok(false) };
    let destination = ctx.key(args.get(2));
    transfer(ctx, (source, at, from), (destination, to))?;
    Ok(true)
}

/// `LMOVE source destination LEFT | RIGHT LEFT | RIGHT`: the moved element, or null. O(1).
pub fn lmove(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (from, to) = (end_argument(args, 3)?, end_argument(args, 4)?);
    if !move_element(ctx, args, from, to)? {
        ctx.reply.null();
    }
    Ok(())
}

/// `RPOPLPUSH source destination`: the last element of the source, moved to the front of the destination, or null.
/// O(1).
pub fn rpoplpush(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if !move_element(ctx, args, End::Back, End::Front)? {
        ctx.reply.null();
    }
    Ok(())
}

/// The arguments of `LMPOP`, which are also the last ones of `BLMPOP`.
struct MultiPop<'a> {
    keys: Vec<&'a [u8]>,
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    /// Parses the arguments from `first` on, which is the number of keys.
    fn parse(args: Args<'a>, first: usize) -> Result<MultiPop<'a>> {
        let positive = |arg: &[u8], refusal: &'static str| {
            whole_number(arg).filter(|number| *number > 0).ok_or(Error::new(refusal))
        };
        let keys = positive(args.get(first), "ERR numkeys should be greater than 0")?;
        if keys > args.len() - first - 2 {
            return Err(SYNTAX);
        }
        let end = end_argument(args, first + 1 + keys)?;
        let mut count = None;
        let mut at = first + 2 + keys;
        while at < args.len() {
            if count.is_some() || !args.is(at, "count") || at + 1 == args.len() {
                return Err(SYNTAX);
            }
            count = Some(positive(args.get(at + 1), "ERR count should be greater than 0")?);
            at += 2;
        }
        let keys = args.iter_from(first + 1).take(keys).collect();
        Ok(MultiPop { keys, end, count: count.unwrap_or(1) })
    }

    /// Pops from the first key that has a list, and replies with the key and the elements. Returns whether a key has
    /// one.
    fn run(&self, ctx: &mut Context<'_>) -> Result<bool> {
        for name in &self.keys {
            let key = ctx.key(name);
            let Some(at) = ctx.find_kind(key, Access::Write, Kind::List)? else { continue };
            let count = self.count.min(list::len(&ctx.db().get(at)));
            ctx.reply.array(2);
            ctx.reply.bulk(key.name);
            ctx.reply.array(count);
            pop_each(ctx, key, at, self.end, count);
            if ctx.propagates() {
                ctx.propagate(&[pop_verb(self.end), key.name, Decimal::new(count as i64).as_bytes()]);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// The command that pops from an end.
fn pop_verb(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// `LMPOP numkeys key [key …] LEFT | RIGHT [COUNT count]`: the first key that has a list, and the elements removed from
/// it; null if no key has one. O(N+M).
pub fn lmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if !MultiPop::parse(args, 1)?.run(ctx)? {
        ctx.reply.null_array();
    }
    Ok(())
}
