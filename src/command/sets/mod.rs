//! Commands on single sets: adding, removing and testing members, random members, iteration. Commands on several sets
//! are in [`crate::command::sets::algebra`].

pub mod algebra;

use crate::command::args::{Args, positive_count, random_count};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX, WRONG_TYPE};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::{Access, Event, Key, Position, Removal};
use crate::resp::Reply;
use crate::types::Kind;
use crate::types::random::Random;
use crate::types::set::{self, SetRef};
use crate::types::string::Text;

/// Finds the set of the request's first key.
#[inline]
fn find_set(ctx: &mut Context<'_>, args: Args<'_>, access: Access) -> Result<Option<Position>> {
    let key = ctx.first_key(args.get(1));
    ctx.find_kind(key, access, Kind::Set)
}

/// `SADD key member [member …]`: the number of new members. O(1) a member.
pub fn sadd(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Write, Kind::Set)?;
    let count = args.len() - 2;
    let at = found.unwrap_or_else(|| {
        let entry = set::create(key.name, args.get(2), count, &ctx.keyspace.shapes);
        ctx.insert(key, entry)
    });
    let added = ctx.keyspace.reshape(key.db, at, |entry, shapes, _| {
        if found.is_some() && count > 1 {
            set::expect(entry, count, shapes);
        }
        let added = args.iter_from(2).filter(|member| set::add(entry, member, shapes)).count();
        if added < count {
            set::settle(entry);
        }
        added
    });
    if added > 0 {
        ctx.changed(key, Event::SAdd, added as u64);
    } else {
        ctx.unchanged();
    }
    ctx.reply.integer(added as i64);
    Ok(())
}

/// `SREM key member [member …]`: the number of members removed. O(1) a member.
pub fn srem(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = ctx.find_kind(key, Access::Write, Kind::Set)?;
    ctx.remove_elements(key, found, Event::SRem, |keyspace, at| {
        keyspace.modify(key.db, at, |entry| {
            let removed = args.iter_from(2).filter(|member| set::remove(entry, member)).count();
            (removed, SetRef::of(entry).is_empty())
        })
    })
}

/// `SMOVE source destination member`: 1 if the member was moved, 0 if it was not in the source. O(1).
pub fn smove(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (source, member) = (ctx.first_key(args.get(1)), args.get(3));
    let destination = ctx.key(args.get(2));
    let Some(mut from) = ctx.find(source, Access::Write) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let to = ctx.find(destination, Access::Write);
    if let Some(again) = ctx.find(source, Access::Inspect) {
        // The second lookup may have deleted an expired key, which can move entries.
        from = again;
    }
    let is_set = |at: Position| ctx.db().get(at).kind() == Kind::Set;
    if !is_set(from) || to.is_some_and(|at| !is_set(at)) {
        return Err(WRONG_TYPE);
    }
    let moved = if source.name == destination.name {
        SetRef::of(&ctx.db().get(from)).contains(member)
    } else {
        move_member(ctx, (source, from), destination, member)
    };
    ctx.reply.integer(i64::from(moved));
    Ok(())
}

/// Moves `member` from one set to another. Returns whether the first set had it.
fn move_member(
    ctx: &mut Context<'_>,
    (source, from): (Key<'_>, Position),
    destination: Key<'_>,
    member: &[u8],
) -> bool {
    let (removed, empty) = ctx
        .keyspace
        .modify(source.db, from, |entry| (set::remove(entry, member), SetRef::of(entry).is_empty()));
    ctx.removed(source, from, Event::SRem, usize::from(removed), empty);
    if !removed {
        return false;
    }
    let to = ctx.find(destination, Access::Inspect).unwrap_or_else(|| {
        let entry = set::create(destination.name, member, 1, &ctx.keyspace.shapes);
        ctx.insert(destination, entry)
    });
    let added = ctx.keyspace.reshape(destination.db, to, |entry, shapes, _| set::add(entry, member, shapes));
    if added {
        ctx.changed(destination, Event::SAdd, 1);
    } else {
        ctx.unchanged();
    }
    true
}

/// `SISMEMBER key member`: 1 or 0. O(1).
pub fn sismember(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = find_set(ctx, args, Access::Read)?;
    let there = found.is_some_and(|at| SetRef::of(&ctx.db().get(at)).contains(args.get(2)));
    ctx.reply.integer(i64::from(there));
    Ok(())
}

/// `SMISMEMBER key member [member …]`: 1 or 0 for each. O(1) a member.
pub fn smismember(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = find_set(ctx, args, Access::Read)?;
    // A call may repeat a member any number of times.
    let bound = ctx.output_bound();
    ctx.reply.array(args.len() - 2);
    let entry = found.map(|at| ctx.keyspace.db(ctx.session.db).get(at));
    let set = entry.as_ref().map(|entry| SetRef::of(entry));
    for member in args.iter_from(2) {
        if ctx.reply.buf.len() > bound {
            break;
        }
        ctx.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    ctx.end_beyond(bound);
    Ok(())
}

/// `SCARD key`: the number of members. O(1).
pub fn scard(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let found = find_set(ctx, args, Access::Read)?;
    let len = found.map_or(0, |at| SetRef::of(&ctx.db().get(at)).len());
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `SMEMBERS key`: all members. O(N).
pub fn smembers(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    match find_set(ctx, args, Access::Read)? {
        Some(at) => reply_members(ctx, at),
        None => ctx.reply.set(0),
    }
    Ok(())
}

fn reply_members(ctx: &mut Context<'_>, at: Position) {
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SetRef::of(&entry);
    ctx.reply.set(set.len());
    for member in set.members() {
        ctx.reply.text(member);
    }
}

/// `SPOP key [count]`: a random member, which is removed, or null; with `count`, a set of up to that many. O(1) a
/// member.
pub fn spop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    match args.len() {
        2 => {}
        3 => return spop_count(ctx, args),
        _ => return Err(SYNTAX),
    }
    let key = ctx.first_key(args.get(1));
    match ctx.find_kind(key, Access::Write, Kind::Set)? {
        Some(at) => pop_each(ctx, key, at, 1),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn spop_count(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let count = positive_count(args.get(2))?;
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Write, Kind::Set)?.filter(|_| count > 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let len = SetRef::of(&ctx.db().get(at)).len();
    if count < len {
        ctx.reply.set(count);
        pop_each(ctx, key, at, count);
        return Ok(());
    }
    reply_members(ctx, at);
    // Redis reads the members like `SUNION`, which counts another hit.
    ctx.keyspace.counters.hits += 1;
    ctx.removed(key, at, Event::SPop, len, true);
    let verb = ctx.keyspace.removal_verb(Removal::Emptied);
    ctx.propagate(&[verb, key.name]);
    Ok(())
}

/// Removes `count` random members and replies with each.
fn pop_each(ctx: &mut Context<'_>, key: Key<'_>, at: Position, count: usize) {
    let reply = &mut ctx.reply;
    let mut popped = ctx.keyspace.journal.wants_calls().then(Vec::new);
    let mut see = |member: Text<'_>| {
        reply.text(member);
        if let Some(popped) = &mut popped {
            popped.push(member.to_vec());
        }
    };
    let (empty, debris) = ctx.keyspace.reshape(key.db, at, |entry, shapes, random| {
        let left = SetRef::of(entry).len() - count;
        let mut debris = None;
        if left > 0 && set::leaves_few(entry, count) {
            debris = set::pop_all_but(entry, left, shapes, random, &mut |member| see(Text::Bytes(member)));
        } else {
            (0..count).for_each(|_| set::pop(entry, random, &mut see));
        }
        (left == 0, debris)
    });
    ctx.keyspace.discard(debris);
    ctx.removed(key, at, Event::SPop, count, empty);
    propagate_popped(ctx, key, &popped.unwrap_or_default());
}

/// Propagates the removal of the popped members, since a replica would choose others.
fn propagate_popped(ctx: &mut Context<'_>, key: Key<'_>, popped: &[Vec<u8>]) {
    /// The number of members that Redis puts into one command.
    const AT_ONCE: usize = 1024;
    for members in popped.chunks(AT_ONCE) {
        let mut words: Vec<&[u8]> = vec![b"SREM", key.name];
        words.extend(members.iter().map(Vec::as_slice));
        ctx.propagate(&words);
    }
}

/// `SRANDMEMBER key [count]`: a random member or null; with a positive `count`, up to that many distinct ones; with a
/// negative one, exactly that many, possibly repeated. O(1) a member.
pub fn srandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    if args.len() == 2 {
        match find_set(ctx, args, Access::Read)? {
            None => ctx.reply.null(),
            Some(at) => with_set(ctx, at, |reply, set, random| {
                if let Some(member) = set.random(random) {
                    reply.text(member);
                }
            }),
        }
        return Ok(());
    }
    let count = random_count(args.get(2))?;
    let Some(at) = find_set(ctx, args, Access::Read)?.filter(|_| count != 0) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let bound = ctx.output_bound();
    with_set(ctx, at, |reply, set, random| {
        if count < 0 {
            reply_repeating(reply, set, count.unsigned_abs() as usize, random, bound);
        } else {
            let count = set.len().min(count as usize);
            reply.array(count);
            set.sample_distinct(count, random, &mut |member| reply.text(member));
        }
    });
    ctx.end_beyond(bound);
    Ok(())
}

/// Calls `with` with the reply, the set at `at`, and a source of random numbers.
fn with_set(ctx: &mut Context<'_>, at: Position, with: impl FnOnce(&mut Reply<'_>, SetRef<'_>, &mut Random)) {
    let reply = &mut ctx.reply;
    let (entry, random) = ctx.keyspace.sample(ctx.session.db, at);
    with(reply, SetRef::of(&entry), random);
}

fn reply_repeating(reply: &mut Reply<'_>, set: SetRef<'_>, count: usize, random: &mut Random, bound: usize) {
    reply.array(count);
    for _ in 0..count {
        if let Some(member) = set.random(random) {
            reply.text(member);
        }
        if reply.buf.len() > bound {
            break;
        }
    }
}

/// `SSCAN key cursor [MATCH pattern] [COUNT n]`: the next cursor and some members. A member that exists throughout
/// a full iteration is returned at least once. O(1) a call.
pub fn sscan(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let cursor = parse_cursor(args.get(2)).ok_or(Error::new("ERR invalid cursor"))?;
    let Some(at) = find_set(ctx, args, Access::Read)? else {
        reply_scan(&mut ctx.reply, 0, 0, &[]);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Extra::None)?;
    let protocol = ctx.session.protocol;
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SetRef::of(&entry);
    let (mut members, mut found, mut digits) = (options.room(), 0, Vec::new());
    let mut reply = Reply { buf: &mut members, protocol };
    let cursor = options.walk(cursor, |cursor, looked| {
        set.scan(cursor, &mut |member| {
            *looked += 1;
            let bytes = set::bytes_of(member, &mut digits);
            if options.matches(bytes) {
                reply.bulk(bytes);
                found += 1;
            }
        })
    });
    reply_scan(&mut ctx.reply, cursor, found, &members);
    Ok(())
}
