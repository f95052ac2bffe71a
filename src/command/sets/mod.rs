//! Sets, one at a time: members in, members out, membership, random members, iteration. Several sets at once are in
//! [`crate::command::sets::algebra`].

pub mod algebra;

use crate::command::args::Args;
use crate::command::context::{Context, SYNTAX, WRONG_TYPE, positive_count, random_count};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::Reply;
use crate::types::Kind;
use crate::types::random::Random;
use crate::types::set::{self, SetRef};

/// Finds the set of the request's first key; an error is replied.
fn find_set(ctx: &mut Context<'_>, key: &[u8], access: Access) -> Result<Option<Position>, ()> {
    ctx.old_find_kind(key, access, Kind::Set).map_err(|text| ctx.reply.error(text))
}

/// `SADD key member [member …]`: how many were new. O(1) a member.
pub fn sadd(ctx: &mut Context<'_>, args: Args<'_>) {
    let key = args.get(1);
    let Ok(found) = find_set(ctx, key, Access::Write) else { return };
    let count = args.len() - 2;
    let at = found.unwrap_or_else(|| {
        let entry = set::create(key, args.get(2), count, &ctx.keyspace.shapes);
        ctx.old_insert(entry)
    });
    let added = ctx.keyspace.reshape(ctx.session.db, at, |entry, shapes, _| {
        if found.is_some() && count > 1 {
            set::expect(entry, count, shapes);
        }
        let added = args.iter_from(2).filter(|member| set::add(entry, member, shapes)).count();
        if added < count {
            set::settle(entry);
        }
        added
    });
    ctx.keyspace.modified(added as u64);
    ctx.reply.integer(added as i64);
}

/// `SREM key member [member …]`: how many were there. O(1) a member.
pub fn srem(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_set(ctx, args.get(1), Access::Write) else { return };
    let Some(at) = found else { return ctx.reply.integer(0) };
    let (removed, empty) = ctx.db_mut().modify(at, |entry| {
        let removed = args.iter_from(2).filter(|member| set::remove(entry, member)).count();
        (removed, SetRef::of(entry).is_empty())
    });
    if empty {
        ctx.old_remove(at, false);
    }
    ctx.keyspace.modified(removed as u64);
    ctx.reply.integer(removed as i64);
}

/// `SMOVE source destination member`: 1 if the member was moved, 0 if it was not in the source. O(1).
pub fn smove(ctx: &mut Context<'_>, args: Args<'_>) {
    let (source, destination, member) = (args.get(1), args.get(2), args.get(3));
    let Some(mut from) = ctx.old_find(source, Access::Write) else { return ctx.reply.integer(0) };
    let hash = ctx.keyspace.hash(destination);
    let to = ctx.old_find_hashed(hash, destination, Access::Write);
    if let Some(again) = ctx.old_find(source, Access::Inspect) {
        // The second lookup may have moved entries, by deleting what had expired.
        from = again;
    }
    let is_set = |at: Position| ctx.db().get(at).kind() == Kind::Set;
    if !is_set(from) || to.is_some_and(|at| !is_set(at)) {
        return ctx.reply.error(WRONG_TYPE);
    }
    if source == destination {
        let there = SetRef::of(&ctx.db().get(from)).contains(member);
        return ctx.reply.integer(i64::from(there));
    }
    let (removed, empty) =
        ctx.db_mut().modify(from, |entry| (set::remove(entry, member), SetRef::of(entry).is_empty()));
    if !removed {
        return ctx.reply.integer(0);
    }
    if empty {
        ctx.old_remove(from, false);
    }
    let to = ctx.old_find_hashed(hash, destination, Access::Inspect).unwrap_or_else(|| {
        let entry = set::create(destination, member, 1, &ctx.keyspace.shapes);
        ctx.keyspace.old_insert(ctx.session.db, hash, entry)
    });
    let added = ctx.keyspace.reshape(ctx.session.db, to, |entry, shapes, _| set::add(entry, member, shapes));
    ctx.keyspace.modified(1 + u64::from(added));
    ctx.reply.integer(1);
}

/// `SISMEMBER key member`: 1 or 0. O(1).
pub fn sismember(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    let there = found.is_some_and(|at| SetRef::of(&ctx.db().get(at)).contains(args.get(2)));
    ctx.reply.integer(i64::from(there));
}

/// `SMISMEMBER key member [member …]`: 1 or 0 for each. O(1) a member.
pub fn smismember(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    ctx.reply.array(args.len() - 2);
    let entry = found.map(|at| ctx.keyspace.db(ctx.session.db).get(at));
    let set = entry.as_ref().map(|entry| SetRef::of(entry));
    for member in args.iter_from(2) {
        ctx.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
}

/// `SCARD key`: the number of members. O(1).
pub fn scard(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    let len = found.map_or(0, |at| SetRef::of(&ctx.db().get(at)).len());
    ctx.reply.integer(len as i64);
}

/// `SMEMBERS key`: all members. O(N).
pub fn smembers(ctx: &mut Context<'_>, args: Args<'_>) {
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    let Some(at) = found else { return ctx.reply.set(0) };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SetRef::of(&entry);
    ctx.reply.set(set.len());
    for member in set.members() {
        ctx.reply.text(member);
    }
}

/// Removes up to `count` random members and replies with each.
fn pop_each(ctx: &mut Context<'_>, at: Position, count: usize) {
    let reply = &mut ctx.reply;
    let empty = ctx.keyspace.reshape(ctx.session.db, at, |entry, _, random| {
        for _ in 0..count {
            set::pop(entry, random, |member| reply.text(member));
        }
        SetRef::of(entry).is_empty()
    });
    if empty {
        ctx.old_remove(at, false);
    }
    ctx.keyspace.modified(count as u64);
}

/// `SPOP key [count]`: a random member, taken out, or null; with `count`, a set of so many. O(1) a member.
pub fn spop(ctx: &mut Context<'_>, args: Args<'_>) {
    match args.len() {
        2 => {
            let Ok(found) = find_set(ctx, args.get(1), Access::Write) else { return };
            match found {
                Some(at) => pop_each(ctx, at, 1),
                None => ctx.reply.null(),
            }
        }
        3 => spop_count(ctx, args),
        _ => ctx.reply.error(SYNTAX),
    }
}

fn spop_count(ctx: &mut Context<'_>, args: Args<'_>) {
    let count = match positive_count(args.get(2)) {
        Ok(count) => count,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_set(ctx, args.get(1), Access::Write) else { return };
    let Some(at) = found.filter(|_| count > 0) else { return ctx.reply.set(0) };
    let len = SetRef::of(&ctx.db().get(at)).len();
    ctx.reply.set(len.min(count));
    if count < len {
        return pop_each(ctx, at, count);
    }
    {
        let entry = ctx.keyspace.db(ctx.session.db).get(at);
        for member in SetRef::of(&entry).members() {
            ctx.reply.text(member);
        }
    }
    ctx.old_remove(at, false);
    ctx.keyspace.modified(len as u64);
}

/// `SRANDMEMBER key [count]`: a random member or null; with `count`, so many different ones, with a negative one so many
/// that may repeat. O(1) a member.
pub fn srandmember(ctx: &mut Context<'_>, args: Args<'_>) {
    if args.len() > 3 {
        return ctx.reply.error(SYNTAX);
    }
    if args.len() == 2 {
        let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
        let Some(at) = found else { return ctx.reply.null() };
        return with_set(ctx, at, |reply, set, random| {
            if let Some(member) = set.random(random) {
                reply.text(member);
            }
        });
    }
    let count = match random_count(args.get(2)) {
        Ok(count) => count,
        Err(text) => return ctx.reply.error(text),
    };
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    let Some(at) = found.filter(|_| count != 0) else { return ctx.reply.array(0) };
    with_set(ctx, at, |reply, set, random| {
        if count < 0 {
            reply_repeating(reply, set, count.unsigned_abs() as usize, random);
        } else {
            let count = set.len().min(count as usize);
            reply.array(count);
            set.sample_distinct(count, random, &mut |member| reply.text(member));
        }
    });
}

/// Calls `with` with the reply, the set at `at`, and a source of random numbers.
fn with_set(ctx: &mut Context<'_>, at: Position, with: impl FnOnce(&mut Reply<'_>, SetRef<'_>, &mut Random)) {
    let reply = &mut ctx.reply;
    let (entry, random) = ctx.keyspace.sample(ctx.session.db, at);
    with(reply, SetRef::of(&entry), random);
}

fn reply_repeating(reply: &mut Reply<'_>, set: SetRef<'_>, count: usize, random: &mut Random) {
    reply.array(count);
    for _ in 0..count {
        if let Some(member) = set.random(random) {
            reply.text(member);
        }
    }
}

/// `SSCAN key cursor [MATCH pattern] [COUNT n]`: the next cursor and some members. A member that is there from the
/// first call to the last is returned at least once. O(1) a call.
pub fn sscan(ctx: &mut Context<'_>, args: Args<'_>) {
    let Some(cursor) = parse_cursor(args.get(2)) else { return ctx.reply.error("ERR invalid cursor") };
    let Ok(found) = find_set(ctx, args.get(1), Access::Read) else { return };
    let Some(at) = found else { return reply_scan(&mut ctx.reply, 0, 0, &[]) };
    let options = match ScanOptions::parse(args, 3, Extra::None) {
        Ok(options) => options,
        Err(text) => return ctx.reply.error(text),
    };
    let protocol = ctx.session.protocol;
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let set = SetRef::of(&entry);
    let (mut members, mut found, mut digits) = (Vec::new(), 0, Vec::new());
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
}
