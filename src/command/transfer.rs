//! Moving keys to another name or database: RENAME, RENAMENX, COPY, MOVE, SWAPDB.
//!
//! Moving a value does not copy it, whatever its size, and keeps its expiry; for the access clock it is a new key. A
//! copy has the same expiry, and shares the block of a large string.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{DB_OUT_OF_RANGE, Error, NO_SUCH_KEY, Result, SYNTAX};
use crate::db::{Access, Event, Key};

const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");
const NOT_AN_INT: Error =
    Error::new("ERR value is out of range, value must between -2147483648 and 2147483647");

/// Renames a key, which must exist. Returns `false` if `only_if_free` and the new name is taken.
fn rename_key(ctx: &mut Context<'_>, args: Args<'_>, only_if_free: bool) -> Result<bool> {
    let from = ctx.first_key(args.get(1));
    ctx.find(from, Access::Write).ok_or(NO_SUCH_KEY)?;
    if args.get(1) == args.get(2) {
        return Ok(!only_if_free);
    }
    let to = ctx.key(args.get(2));
    if ctx.find(to, Access::Write).is_some() && only_if_free {
        return Ok(false);
    }
    // The second lookup may have deleted an expired key, which can move entries.
    let at = ctx.find(from, Access::Inspect).ok_or(NO_SUCH_KEY)?;
    let entry = ctx.keyspace.take(from, at).with_key(to.name);
    entry.set_access(ctx.keyspace.fresh_access());
    ctx.keyspace.put(to, entry);
    ctx.changed(from, Event::RenameFrom, 1);
    ctx.changed(to, Event::RenameTo, 0);
    Ok(true)
}

/// `RENAME key newkey`: `OK`; a key with the new name is deleted. O(1), plus freeing its value.
pub fn rename(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    rename_key(ctx, args, false)?;
    ctx.reply.ok();
    Ok(())
}

/// `RENAMENX key newkey`: 1, or 0 if the new name is taken. O(1).
pub fn renamenx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let renamed = rename_key(ctx, args, true)?;
    ctx.reply.integer(i64::from(renamed));
    Ok(())
}

/// The database that an argument names.
fn database(ctx: &Context<'_>, arg: &[u8]) -> Result<usize> {
    let index = i32::try_from(integer(arg)?).map_err(|_| NOT_AN_INT)?;
    usize::try_from(index).ok().filter(|db| *db < ctx.keyspace.count()).ok_or(DB_OUT_OF_RANGE)
}

/// `COPY source destination [DB destination-db] [REPLACE]`: 1, or 0 if the source is missing or the destination is
/// taken. O(1) for strings, O(N) for collections.
pub fn copy(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let copied = copy_key(ctx, args)?;
    ctx.reply.integer(i64::from(copied));
    Ok(())
}

fn copy_key(ctx: &mut Context<'_>, args: Args<'_>) -> Result<bool> {
    let (mut target, mut replace) = (ctx.session.db, false);
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "replace") {
            replace = true;
        } else if args.is(i, "db") && i + 1 < args.len() {
            i += 1;
            target = database(ctx, args.get(i))?;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    let from = ctx.first_key(args.get(1));
    let to = ctx.keyspace.key(target, args.get(2));
    if from.db == to.db && from.name == to.name {
        return Err(SAME_OBJECT);
    }
    if ctx.find(from, Access::Read).is_none() {
        return Ok(false);
    }
    if ctx.find(to, Access::Write).is_some() && !replace {
        return Ok(false);
    }
    let Some(at) = ctx.find(from, Access::Inspect) else { return Ok(false) };
    let entry = ctx.db().get(at).duplicate(to.name);
    entry.set_access(ctx.keyspace.fresh_access());
    ctx.keyspace.put(to, entry);
    ctx.changed(to, Event::CopyTo, 1);
    Ok(true)
}

/// Whether this is a node of a cluster without `cluster-databases`.
fn has_one_database(ctx: &Context<'_>) -> bool {
    ctx.config.cluster_enabled && ctx.keyspace.count() == 1
}

/// `MOVE key db`: 1, or 0 if the key is missing or the other database has one of that name. O(1).
pub fn move_(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let moved = move_key(ctx, args)?;
    ctx.reply.integer(i64::from(moved));
    Ok(())
}

fn move_key(ctx: &mut Context<'_>, args: Args<'_>) -> Result<bool> {
    if has_one_database(ctx) {
        return Err(Error::new("ERR MOVE is not allowed in cluster mode"));
    }
    let here = ctx.first_key(args.get(1));
    let there = Key { db: database(ctx, args.get(2))?, ..here };
    if here.db == there.db {
        return Err(SAME_OBJECT);
    }
    let Some(at) = ctx.find(here, Access::Write) else { return Ok(false) };
    if ctx.find(there, Access::Write).is_some() {
        return Ok(false);
    }
    let entry = ctx.keyspace.take(here, at);
    entry.set_access(ctx.keyspace.fresh_access());
    ctx.keyspace.put(there, entry);
    ctx.changed(here, Event::MoveFrom, 1);
    ctx.changed(there, Event::MoveTo, 0);
    Ok(true)
}

/// `SWAPDB index index`: `OK`; clients of either database see the keys of the other one from now on. O(1).
pub fn swapdb(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if has_one_database(ctx) {
        return Err(Error::new("ERR SWAPDB is not allowed in cluster mode"));
    }
    let index = |arg: &[u8]| integer(arg).ok().and_then(|index| i32::try_from(index).ok());
    let first = index(args.get(1)).ok_or("ERR invalid first DB index")?;
    let second = index(args.get(2)).ok_or("ERR invalid second DB index")?;
    let in_range = |index: i32| usize::try_from(index).ok().filter(|db| *db < ctx.keyspace.count());
    let (Some(first), Some(second)) = (in_range(first), in_range(second)) else {
        return Err(DB_OUT_OF_RANGE);
    };
    ctx.keyspace.swap(first, second);
    ctx.reply.ok();
    Ok(())
}
