//! Keys that get another name or another database: RENAME, RENAMENX, COPY, MOVE, SWAPDB.
//!
//! The value moves or is shared; it is never copied, whatever its size. What the key has beside it (the expiry, and
//! where it moves also the access bits) goes along.

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, SYNTAX, integer};
use crate::db::Access;

const NO_SUCH_KEY: ErrorText = "ERR no such key";
const SAME_OBJECT: ErrorText = "ERR source and destination objects are the same";
const DB_OUT_OF_RANGE: ErrorText = "ERR DB index is out of range";
const NOT_AN_INT: ErrorText = "ERR value is out of range, value must between -2147483648 and 2147483647";

/// Whether the key was there and could be renamed; `None`: it was not there.
fn rename_key(ctx: &mut Context<'_>, args: Args<'_>, only_if_free: bool) -> Option<bool> {
    let (db, from, to) = (ctx.session.db, args.get(1), args.get(2));
    ctx.old_find(from, Access::Write)?;
    if from == to {
        return Some(!only_if_free);
    }
    let hash = ctx.keyspace.hash(to);
    if ctx.old_find_hashed(hash, to, Access::Write).is_some() && only_if_free {
        return Some(false);
    }
    // The second lookup may have deleted an expired key, and entries may have moved.
    let at = ctx.old_find(from, Access::Inspect)?;
    let entry = ctx.keyspace.old_take(db, at).with_key(to);
    ctx.keyspace.old_put(db, hash, entry);
    ctx.keyspace.modified(1);
    Some(true)
}

/// `RENAME key newkey`: `OK`; what was under the new name is deleted. O(1), besides freeing that.
pub fn rename(ctx: &mut Context<'_>, args: Args<'_>) {
    match rename_key(ctx, args, false) {
        Some(_) => ctx.reply.ok(),
        None => ctx.reply.error(NO_SUCH_KEY),
    }
}

/// `RENAMENX key newkey`: 1, or 0 if the new name is taken. O(1).
pub fn renamenx(ctx: &mut Context<'_>, args: Args<'_>) {
    match rename_key(ctx, args, true) {
        Some(renamed) => ctx.reply.integer(i64::from(renamed)),
        None => ctx.reply.error(NO_SUCH_KEY),
    }
}

/// The database that an argument names.
fn database(ctx: &Context<'_>, arg: &[u8]) -> Result<usize, ErrorText> {
    let index = i32::try_from(integer(arg)?).map_err(|_| NOT_AN_INT)?;
    usize::try_from(index).ok().filter(|db| *db < ctx.keyspace.count()).ok_or(DB_OUT_OF_RANGE)
}

/// `COPY source destination [DB destination-db] [REPLACE]`: 1, or 0 if the source is missing or the destination is
/// taken. O(1) for strings, O(N) for collections.
pub fn copy(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = copy_key(ctx, args).map(|copied| ctx.reply.integer(i64::from(copied)));
    ctx.answer(outcome);
}

fn copy_key(ctx: &mut Context<'_>, args: Args<'_>) -> Result<bool, ErrorText> {
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
    let (db, from, to) = (ctx.session.db, args.get(1), args.get(2));
    if db == target && from == to {
        return Err(SAME_OBJECT);
    }
    if ctx.old_find(from, Access::Read).is_none() {
        return Ok(false);
    }
    let hash = ctx.keyspace.hash(to);
    if ctx.keyspace.old_find(target, hash, to, Access::Write).is_some() && !replace {
        return Ok(false);
    }
    let Some(at) = ctx.old_find(from, Access::Inspect) else { return Ok(false) };
    let entry = ctx.db().get(at).duplicate(to);
    entry.set_access(ctx.keyspace.fresh_access());
    ctx.keyspace.old_put(target, hash, entry);
    ctx.keyspace.modified(1);
    Ok(true)
}

/// `MOVE key db`: 1, or 0 if the key is missing here or there is one in the other database. O(1).
pub fn move_(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = move_key(ctx, args).map(|moved| ctx.reply.integer(i64::from(moved)));
    ctx.answer(outcome);
}

fn move_key(ctx: &mut Context<'_>, args: Args<'_>) -> Result<bool, ErrorText> {
    let (db, key, hash) = (ctx.session.db, args.get(1), ctx.hash);
    let target = database(ctx, args.get(2))?;
    if db == target {
        return Err(SAME_OBJECT);
    }
    let Some(at) = ctx.old_find(key, Access::Write) else { return Ok(false) };
    if ctx.keyspace.old_find(target, hash, key, Access::Write).is_some() {
        return Ok(false);
    }
    let entry = ctx.keyspace.old_take(db, at);
    ctx.keyspace.old_put(target, hash, entry);
    ctx.keyspace.modified(1);
    Ok(true)
}

/// `SWAPDB index index`: `OK`; whoever has selected one of the two has the other's keys from now on. O(1).
pub fn swapdb(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = swap_databases(ctx, args).map(|()| ctx.reply.ok());
    ctx.answer(outcome);
}

fn swap_databases(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let index = |arg: &[u8]| integer(arg).ok().and_then(|index| i32::try_from(index).ok());
    let first = index(args.get(1)).ok_or("ERR invalid first DB index")?;
    let second = index(args.get(2)).ok_or("ERR invalid second DB index")?;
    let in_range = |index: i32| usize::try_from(index).ok().filter(|db| *db < ctx.keyspace.count());
    let (Some(first), Some(second)) = (in_range(first), in_range(second)) else {
        return Err(DB_OUT_OF_RANGE);
    };
    ctx.keyspace.swap(first, second);
    Ok(())
}
