//! Hashes: fields with values under one key. What concerns the expiry of fields is in `hash_expiry`.
//!
//! A field whose time has come is no field to any command here: `find` takes it out before the command sees the hash.
//! Removing the last field removes the key.

pub mod expiry;

use crate::command::args::Args;
use crate::command::context::{Context, ErrorText, NOT_A_FLOAT, SYNTAX, Splice, ZERO_COPY_BYTES, integer};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::Access;
use crate::dict::Position;
use crate::resp::{Protocol, Reply};
use crate::text::extended::Extended;
use crate::text::number;
use crate::types::hash::{self, Expiry, HashMut, HashRef, Item};
use crate::types::random::Random;
use crate::types::{Kind, Text};

/// Finds the hash under the request's first key, and takes out of it what has expired.
#[inline]
pub(super) fn find(ctx: &mut Context<'_>, key: &[u8], access: Access) -> Result<Option<Position>, ErrorText> {
    let Some(at) = ctx.old_find_kind(key, access, Kind::Hash)? else { return Ok(None) };
    let db = ctx.session.db;
    if ctx.keyspace.has_expired_fields(db, at)
        && !ctx.keyspace.expire_fields(crate::db::Key { db, hash: ctx.hash, name: key }, at)
    {
        return Ok(None);
    }
    Ok(Some(at))
}

/// Changes the hash at `at`, which is the request's first key.
#[inline]
pub(super) fn modify<R>(
    ctx: &mut Context<'_>,
    at: Position,
    change: impl FnOnce(&mut HashMut<'_>) -> R,
) -> R {
    ctx.keyspace.modify_hash(crate::db::Key { db: ctx.session.db, hash: ctx.hash, name: &[] }, at, change)
}

/// Where a reply goes.
pub(super) struct Output<'r, 'b> {
    pub(super) reply: &'r mut Reply<'b>,
    splices: Option<&'r mut Vec<Splice>>,
}

impl Output<'_, '_> {
    /// A value of `hash`, without a copy when it is large.
    fn value(&mut self, hash: &HashRef<'_>, field: &[u8], value: Text<'_>) {
        if value.len() >= ZERO_COPY_BYTES
            && let Some(splices) = &mut self.splices
            && let Some(block) = hash.block(field)
        {
            self.reply.bulk_header(block.len());
            splices.push(Splice { at: self.reply.buf.len(), block: block.share() });
            self.reply.buf.extend_from_slice(b"\r\n");
        } else {
            self.reply.text(value);
        }
    }

    fn item_value(&mut self, hash: &HashRef<'_>, item: &Item<'_>) {
        match item.field {
            Text::Bytes(field) => self.value(hash, field, item.value),
            // A field that is kept as a number is in a packed hash, where no value has a block of its own.
            Text::Int(_) => self.reply.text(item.value),
        }
    }
}

/// Calls `reply` with the hash under the first key, `None` when there is none.
pub(super) fn read(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl FnOnce(Option<HashRef<'_>>, Output<'_, '_>),
) {
    let at = match find(ctx, args.get(1), Access::Read) {
        Ok(at) => at,
        Err(text) => return ctx.reply.error(text),
    };
    let output = Output { reply: &mut ctx.reply, splices: ctx.splices.as_deref_mut() };
    let Some(at) = at else { return reply(None, output) };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    reply(Some(HashRef::new(&entry, ctx.keyspace.moment.unix_ms)), output);
}

/// Adds a hash under the first key, which is not there, of the fields and values from argument 2 on; how many fields.
fn create(ctx: &mut Context<'_>, args: Args<'_>) -> usize {
    let (key, shapes) = (args.get(1), &ctx.keyspace.shapes);
    let count = args.len() - 2;
    let (entry, created) = if count == 2 {
        (hash::single(key, shapes, args.get(2), args.get(3), args.block(3)), 1)
    } else {
        let mut entry = hash::create(key, shapes, count, args.iter_from(2));
        let mut hash = HashMut::new(&mut entry, shapes, ctx.keyspace.moment.unix_ms);
        let created = set_all(&mut hash, args);
        (entry, created)
    };
    ctx.old_insert(entry);
    created
}

/// Sets the fields and values from argument 2 on; how many fields were new.
fn set_all(hash: &mut HashMut<'_>, args: Args<'_>) -> usize {
    let mut created = 0;
    for i in (2..args.len()).step_by(2) {
        let value = Text::Bytes(args.get(i + 1));
        created += usize::from(hash.set(args.get(i), value, args.block(i + 1), Expiry::Discard));
    }
    if args.len() > 4 {
        hash.settle();
    }
    created
}

fn set_fields(ctx: &mut Context<'_>, args: Args<'_>) -> Result<usize, ErrorText> {
    let created = match find(ctx, args.get(1), Access::Write)? {
        None => create(ctx, args),
        Some(at) => modify(ctx, at, |hash| {
            hash.prepare(args.len() - 2, args.iter_from(2));
            set_all(hash, args)
        }),
    };
    ctx.keyspace.modified((args.len() as u64 - 2) / 2);
    Ok(created)
}

/// `HSET key field value [field value …]`: how many fields were new. O(N).
pub fn hset(ctx: &mut Context<'_>, args: Args<'_>) {
    if !args.len().is_multiple_of(2) {
        return ctx.reply.error("ERR wrong number of arguments for 'hset' command");
    }
    match set_fields(ctx, args) {
        Ok(created) => ctx.reply.integer(created as i64),
        Err(text) => ctx.reply.error(text),
    }
}

/// `HMSET key field value [field value …]`: `OK`. O(N).
pub fn hmset(ctx: &mut Context<'_>, args: Args<'_>) {
    if !args.len().is_multiple_of(2) {
        return ctx.reply.error("ERR wrong number of arguments for 'hmset' command");
    }
    match set_fields(ctx, args) {
        Ok(_) => ctx.reply.ok(),
        Err(text) => ctx.reply.error(text),
    }
}

/// `HSETNX key field value`: 1 if the field was set, 0 if it was there. O(1).
pub fn hsetnx(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = hsetnx_inner(ctx, args);
    ctx.answer(outcome);
}

fn hsetnx_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let set = match find(ctx, args.get(1), Access::Write)? {
        None => create(ctx, args) == 1,
        Some(at) => modify(ctx, at, |hash| {
            let absent = !hash.view().contains(args.get(2));
            if absent {
                hash.prepare(2, args.iter_from(2));
                set_all(hash, args);
            }
            absent
        }),
    };
    ctx.keyspace.modified(u64::from(set));
    ctx.reply.integer(i64::from(set));
    Ok(())
}

/// `HGET key field`: the value or null. O(1).
pub fn hget(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, mut out| reply_field(hash.as_ref(), args.get(2), &mut out));
}

fn reply_field(hash: Option<&HashRef<'_>>, field: &[u8], out: &mut Output<'_, '_>) {
    match hash.and_then(|hash| Some((hash, hash.get(field)?))) {
        Some((hash, value)) => out.value(hash, field, value),
        None => out.reply.null(),
    }
}

/// `HMGET key field [field …]`: an array of values, null for a field that is not there. O(N).
pub fn hmget(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, mut out| {
        out.reply.array(args.len() - 2);
        for field in args.iter_from(2) {
            reply_field(hash.as_ref(), field, &mut out);
        }
    });
}

/// `HGETALL key`: a map of all fields and values. O(N).
pub fn hgetall(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.map(0) };
        out.reply.map(hash.len());
        for item in hash.iter() {
            out.reply.text(item.field);
            out.item_value(&hash, &item);
        }
    });
}

/// `HKEYS key`: all fields. O(N).
pub fn hkeys(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        out.reply.array(hash.len());
        hash.iter().for_each(|item| out.reply.text(item.field));
    });
}

/// `HVALS key`: all values. O(N).
pub fn hvals(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        out.reply.array(hash.len());
        hash.iter().for_each(|item| out.item_value(&hash, &item));
    });
}

/// `HLEN key`: the number of fields. O(1) amortized: each field that expires is counted once.
pub fn hlen(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, out| out.reply.integer(hash.map_or(0, |hash| hash.len() as i64)));
}

/// `HEXISTS key field`: 1 or 0. O(1).
pub fn hexists(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, out| {
        out.reply.integer(i64::from(hash.is_some_and(|hash| hash.contains(args.get(2)))));
    });
}

/// `HSTRLEN key field`: the length of the value, 0 without one. O(1).
pub fn hstrlen(ctx: &mut Context<'_>, args: Args<'_>) {
    read(ctx, args, |hash, out| {
        let value = hash.and_then(|hash| hash.get(args.get(2)));
        out.reply.integer(value.map_or(0, |value| value.len() as i64));
    });
}

/// `HDEL key field [field …]`: how many were there. O(N).
pub fn hdel(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = hdel_inner(ctx, args);
    ctx.answer(outcome);
}

fn hdel_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let Some(at) = find(ctx, args.get(1), Access::Write)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let (removed, empty) = modify(ctx, at, |hash| {
        let removed = args.iter_from(2).filter(|field| hash.remove(field)).count();
        (removed, hash.is_empty())
    });
    if empty {
        ctx.old_remove(at, false);
    }
    ctx.keyspace.modified(removed as u64);
    ctx.reply.integer(removed as i64);
    Ok(())
}

/// Sets one field to a sum, leaving its expiry.
fn store_sum(ctx: &mut Context<'_>, args: Args<'_>, at: Option<Position>, sum: Text<'_>) {
    let field = args.get(2);
    if let Some(at) = at {
        modify(ctx, at, |hash| hash.set(field, sum, None, Expiry::Keep));
    } else {
        let entry = hash::single(args.get(1), &ctx.keyspace.shapes, field, &sum.to_vec(), None);
        ctx.old_insert(entry);
    }
    ctx.keyspace.modified(1);
}

/// `HINCRBY key field n`: the sum. O(1).
pub fn hincrby(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = hincrby_inner(ctx, args);
    ctx.answer(outcome);
}

fn hincrby_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let delta = integer(args.get(3))?;
    let at = find(ctx, args.get(1), Access::Write)?;
    let old = match at {
        None => 0,
        Some(at) => modify(ctx, at, |hash| match hash.view().get(args.get(2)) {
            None => Ok(0),
            Some(Text::Int(value)) => Ok(value),
            Some(Text::Bytes(text)) => number::parse_i64(text).ok_or("ERR hash value is not an integer"),
        })?,
    };
    let sum = old.checked_add(delta).ok_or("ERR increment or decrement would overflow")?;
    store_sum(ctx, args, at, Text::Int(sum));
    ctx.reply.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field x`: the sum as a string. O(1).
pub fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) {
    let outcome = hincrbyfloat_inner(ctx, args);
    ctx.answer(outcome);
}

fn hincrbyfloat_inner(ctx: &mut Context<'_>, args: Args<'_>) -> Result<(), ErrorText> {
    let delta = Extended::parse(args.get(3)).ok_or(NOT_A_FLOAT)?;
    if !delta.is_finite() {
        return Err("ERR value is NaN or Infinity");
    }
    let at = find(ctx, args.get(1), Access::Write)?;
    let old = match at {
        None => Extended::from(0),
        Some(at) => modify(ctx, at, |hash| match hash.view().get(args.get(2)) {
            None => Ok(Extended::from(0)),
            Some(Text::Int(value)) => Ok(Extended::from(value)),
            Some(Text::Bytes(text)) => Extended::parse(text).ok_or("ERR hash value is not a float"),
        })?,
    };
    let sum = old.add(delta);
    if !sum.is_finite() {
        return Err("ERR increment would produce NaN or Infinity");
    }
    let mut text = Vec::new();
    sum.push_to(&mut text);
    store_sum(ctx, args, at, Text::Bytes(&text));
    ctx.reply.bulk(&text);
    Ok(())
}

/// `HRANDFIELD key [count [WITHVALUES]]`: a random field or null; with a count an array of as many distinct fields, or
/// of as many draws when it is negative. O(N) for N fields asked for.
pub fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>) {
    if args.len() == 2 {
        let mut random = Random::new(ctx.keyspace.random.next());
        return read(ctx, args, |hash, out| match hash.and_then(|hash| hash.random(&mut random)) {
            Some(item) => out.reply.text(item.field),
            None => out.reply.null(),
        });
    }
    match parse_random(args) {
        Ok((count, with_values)) => random_fields(ctx, args, count, with_values),
        Err(text) => ctx.reply.error(text),
    }
}

fn parse_random(args: Args<'_>) -> Result<(i64, bool), ErrorText> {
    let count = integer(args.get(2))?;
    if count == i64::MIN {
        return Err(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        );
    }
    let with_values = args.len() == 4 && args.is(3, "withvalues");
    if args.len() > 3 && !with_values {
        return Err(SYNTAX);
    }
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err("ERR value is out of range");
    }
    Ok((count, with_values))
}

fn random_fields(ctx: &mut Context<'_>, args: Args<'_>, count: i64, with_values: bool) {
    let mut random = Random::new(ctx.keyspace.random.next());
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        let wanted = match hash.len() as u64 {
            // There is still a hash, of expired fields, of which a command removes so many at most.
            0 => 0,
            _ if count < 0 => count.unsigned_abs(),
            len => (count as u64).min(len),
        };
        let in_pairs = out.reply.protocol == Protocol::Resp3;
        out.reply.array(if with_values && !in_pairs { wanted as usize * 2 } else { wanted as usize });
        let mut emit = |item: Item<'_>| {
            if with_values && in_pairs {
                out.reply.array(2);
            }
            out.reply.text(item.field);
            if with_values {
                out.item_value(&hash, &item);
            }
        };
        if count < 0 {
            hash.sample_repeated(wanted, &mut random, &mut emit);
        } else {
            hash.sample_distinct(wanted as usize, &mut random, &mut emit);
        }
    });
}

/// `HSCAN key cursor [MATCH pattern] [COUNT n] [NOVALUES]`: the next cursor and some fields with their values. A field
/// that is there from the first call to the last is returned at least once. O(1) a call.
pub fn hscan(ctx: &mut Context<'_>, args: Args<'_>) {
    let Some(cursor) = parse_cursor(args.get(2)) else { return ctx.reply.error("ERR invalid cursor") };
    read(ctx, args, |hash, out| {
        let Some(hash) = hash else { return reply_scan(out.reply, 0, 0, &[]) };
        match ScanOptions::parse(args, 3, Extra::NoValues) {
            Ok(options) => scan_fields(&hash, cursor, &options, out.reply),
            Err(text) => out.reply.error(text),
        }
    });
}

fn scan_fields(hash: &HashRef<'_>, cursor: u64, options: &ScanOptions<'_>, reply: &mut Reply<'_>) {
    let (mut elements, mut found) = (Vec::new(), 0);
    let mut rows = Reply { buf: &mut elements, protocol: reply.protocol };
    let next = options.walk(cursor, |cursor, looked| {
        hash.scan(cursor, looked, &mut |item| {
            if item.field.with_bytes(|field| options.matches(field)) {
                found += 1;
                rows.text(item.field);
                if !options.no_values {
                    found += 1;
                    rows.text(item.value);
                }
            }
        })
    });
    reply_scan(reply, next, found, &elements);
}
