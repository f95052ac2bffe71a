//! Hashes: fields with values under one key. The expiry of fields is in [`expiry`].
//!
//! No command here sees an expired field: `find` removes some of them, and [`HashRef`] skips the others. Removing the
//! last field removes the key.

pub mod expiry;

use crate::command::args::{Args, integer, random_count};
use crate::command::context::{Context, Splice, ZERO_COPY_BYTES};
use crate::command::error::{Error, NOT_A_FLOAT, Result, SYNTAX};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::db::{Access, Event, Key, Position};
use crate::resp::{Protocol, Reply};
use crate::text::extended::Extended;
use crate::text::number;
use crate::types::hash::{self, FieldExpiry, FieldItem, HashMut, HashRef};
use crate::types::random::Random;
use crate::types::{Kind, Text};

/// Finds the hash under `key`, and removes expired fields from it.
#[inline]
pub(super) fn find(ctx: &mut Context<'_>, key: Key<'_>, access: Access) -> Result<Option<Position>> {
    let Some(at) = ctx.find_kind(key, access, Kind::Hash)? else { return Ok(None) };
    if ctx.keyspace.has_expired_fields(key.db, at) && !ctx.keyspace.expire_fields(key, at) {
        return Ok(None);
    }
    Ok(Some(at))
}

/// The reply and its splices, borrowed separately from the rest of the context.
pub(super) struct HashReply<'r, 'b> {
    pub(super) reply: &'r mut Reply<'b>,
    splices: Option<&'r mut Vec<Splice>>,
}

impl HashReply<'_, '_> {
    /// Writes a value of `hash`; a large one is not copied.
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

    fn item_value(&mut self, hash: &HashRef<'_>, item: &FieldItem<'_>) {
        match item.field {
            Text::Bytes(field) => self.value(hash, field, item.value),
            // Only packed hashes store fields as numbers, and their values have no blocks of their own.
            Text::Int(_) => self.reply.text(item.value),
        }
    }
}

/// Calls `reply` with the hash under the first key, or with `None` if the key is missing.
pub(super) fn read<R>(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl FnOnce(Option<HashRef<'_>>, HashReply<'_, '_>) -> R,
) -> Result<R> {
    let key = ctx.first_key(args.get(1));
    let at = find(ctx, key, Access::Read)?;
    let output = HashReply { reply: &mut ctx.reply, splices: ctx.splices.as_deref_mut() };
    let Some(at) = at else { return Ok(reply(None, output)) };
    let entry = ctx.keyspace.db(key.db).get(at);
    Ok(reply(Some(HashRef::new(&entry, ctx.keyspace.field_time())), output))
}

/// Adds a hash under the missing key `key`, with the fields and values from argument 2 on. Returns the number of
/// fields.
fn create(ctx: &mut Context<'_>, key: Key<'_>, args: Args<'_>) -> usize {
    let shapes = &ctx.keyspace.shapes;
    let count = args.len() - 2;
    let (entry, created) = if count == 2 {
        (hash::single(key.name, shapes, args.get(2), args.get(3), args.block(3)), 1)
    } else {
        let mut entry = hash::create(key.name, shapes, count, args.iter_from(2));
        let mut hash = HashMut::new(&mut entry, shapes, ctx.keyspace.field_time());
        let created = set_all(&mut hash, args);
        (entry, created)
    };
    ctx.insert(key, entry);
    created
}

/// Sets the fields and values from argument 2 on. Returns the number of new fields.
fn set_all(hash: &mut HashMut<'_>, args: Args<'_>) -> usize {
    let mut created = 0;
    for i in (2..args.len()).step_by(2) {
        let value = Text::Bytes(args.get(i + 1));
        created += usize::from(hash.set(args.get(i), value, args.block(i + 1), FieldExpiry::Remove));
    }
    if args.len() > 4 {
        hash.settle();
    }
    created
}

fn set_fields(ctx: &mut Context<'_>, args: Args<'_>) -> Result<usize> {
    let key = ctx.first_key(args.get(1));
    let created = match find(ctx, key, Access::Write)? {
        None => create(ctx, key, args),
        Some(at) => ctx.keyspace.modify_hash(key, at, |hash| {
            hash.prepare(args.len() - 2, args.iter_from(2));
            set_all(hash, args)
        }),
    };
    ctx.changed(key, Event::HSet, (args.len() as u64 - 2) / 2);
    Ok(created)
}

/// `HSET key field value [field value …]`: the number of new fields. O(N).
pub fn hset(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if !args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("hset"));
    }
    let created = set_fields(ctx, args)?;
    ctx.reply.integer(created as i64);
    Ok(())
}

/// `HMSET key field value [field value …]`: `OK`. O(N).
pub fn hmset(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if !args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("hmset"));
    }
    set_fields(ctx, args)?;
    ctx.reply.ok();
    Ok(())
}

/// `HSETNX key field value`: 1 if the field was set, 0 if it existed. O(1).
pub fn hsetnx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let set = match find(ctx, key, Access::Write)? {
        None => create(ctx, key, args) == 1,
        Some(at) => ctx.keyspace.modify_hash(key, at, |hash| {
            let absent = !hash.view().contains(args.get(2));
            if absent {
                hash.prepare(2, args.iter_from(2));
                set_all(hash, args);
            }
            absent
        }),
    };
    if set {
        ctx.changed(key, Event::HSet, 1);
    } else {
        ctx.unchanged();
    }
    ctx.reply.integer(i64::from(set));
    Ok(())
}

/// `HGET key field`: the value or null. O(1).
pub fn hget(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, mut out| reply_field(hash.as_ref(), args.get(2), &mut out))
}

fn reply_field(hash: Option<&HashRef<'_>>, field: &[u8], out: &mut HashReply<'_, '_>) {
    match hash.and_then(|hash| Some((hash, hash.get(field)?))) {
        Some((hash, value)) => out.value(hash, field, value),
        None => out.reply.null(),
    }
}

/// `HMGET key field [field …]`: an array of values, null for missing fields. O(N).
pub fn hmget(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    // A call may repeat a field any number of times.
    let bound = ctx.output_bound();
    read(ctx, args, |hash, mut out| {
        out.reply.array(args.len() - 2);
        for field in args.iter_from(2) {
            if out.reply.buf.len() > bound {
                break;
            }
            reply_field(hash.as_ref(), field, &mut out);
        }
    })?;
    ctx.end_beyond(bound);
    Ok(())
}

/// `HGETALL key`: a map of all fields and values. O(N).
pub fn hgetall(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.map(0) };
        out.reply.map(hash.len());
        for item in hash.iter() {
            out.reply.text(item.field);
            out.item_value(&hash, &item);
        }
    })
}

/// `HKEYS key`: all fields. O(N).
pub fn hkeys(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        out.reply.array(hash.len());
        hash.iter().for_each(|item| out.reply.text(item.field));
    })
}

/// `HVALS key`: all values. O(N).
pub fn hvals(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        out.reply.array(hash.len());
        hash.iter().for_each(|item| out.item_value(&hash, &item));
    })
}

/// `HLEN key`: the number of fields. O(1) amortized: each field that expires is visited once.
pub fn hlen(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, out| out.reply.integer(hash.map_or(0, |hash| hash.len() as i64)))
}

/// `HEXISTS key field`: 1 or 0. O(1).
pub fn hexists(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, out| {
        out.reply.integer(i64::from(hash.is_some_and(|hash| hash.contains(args.get(2)))));
    })
}

/// `HSTRLEN key field`: the length of the value, 0 if there is none. O(1).
pub fn hstrlen(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    read(ctx, args, |hash, out| {
        let value = hash.and_then(|hash| hash.get(args.get(2)));
        out.reply.integer(value.map_or(0, |value| value.len() as i64));
    })
}

/// `HDEL key field [field …]`: the number of deleted fields. O(N).
pub fn hdel(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = find(ctx, key, Access::Write)?;
    ctx.remove_elements(key, found, Event::HDel, |keyspace, at| {
        keyspace.modify_hash(key, at, |hash| {
            (args.iter_from(2).filter(|field| hash.remove(field)).count(), hash.is_empty())
        })
    })
}

/// Sets a field to a sum; its expiry stays.
fn store_sum(
    ctx: &mut Context<'_>,
    (key, at): (Key<'_>, Option<Position>),
    field: &[u8],
    sum: Text<'_>,
    event: Event,
) {
    if let Some(at) = at {
        ctx.keyspace.modify_hash(key, at, |hash| hash.set(field, sum, None, FieldExpiry::Keep));
    } else {
        let entry = hash::single(key.name, &ctx.keyspace.shapes, field, &sum.to_vec(), None);
        ctx.insert(key, entry);
    }
    ctx.changed(key, event, 1);
}

/// Calls `with` with the value of a field of the hash at `at`, or with `None`.
fn with_value<R>(
    ctx: &Context<'_>,
    at: Option<Position>,
    field: &[u8],
    with: impl FnOnce(Option<Text<'_>>) -> R,
) -> R {
    let Some(at) = at else { return with(None) };
    let entry = ctx.db().get(at);
    with(HashRef::new(&entry, ctx.keyspace.field_time()).get(field))
}

/// `HINCRBY key field n`: the sum. O(1).
pub fn hincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let delta = integer(args.get(3))?;
    let (key, field) = (ctx.first_key(args.get(1)), args.get(2));
    let at = find(ctx, key, Access::Write)?;
    let old = with_value(ctx, at, field, |value| match value {
        None => Some(0),
        Some(Text::Int(value)) => Some(value),
        Some(Text::Bytes(text)) => number::parse_i64(text),
    });
    let old = old.ok_or(Error::new("ERR hash value is not an integer"))?;
    let sum = old.checked_add(delta).ok_or(Error::new("ERR increment or decrement would overflow"))?;
    store_sum(ctx, (key, at), field, Text::Int(sum), Event::HIncrBy);
    ctx.reply.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field x`: the sum as a string. O(1).
pub fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let delta = Extended::parse(args.get(3)).ok_or(NOT_A_FLOAT)?;
    if !delta.is_finite() {
        return Err(Error::new("ERR value is NaN or Infinity"));
    }
    let (key, field) = (ctx.first_key(args.get(1)), args.get(2));
    let at = find(ctx, key, Access::Write)?;
    let old = with_value(ctx, at, field, |value| match value {
        None => Some(Extended::from(0)),
        Some(Text::Int(value)) => Some(Extended::from(value)),
        Some(Text::Bytes(text)) => Extended::parse(text),
    });
    let sum = old.ok_or(Error::new("ERR hash value is not a float"))?.add(delta);
    if !sum.is_finite() {
        return Err(Error::new("ERR increment would produce NaN or Infinity"));
    }
    let mut text = Vec::new();
    sum.push_to(&mut text);
    store_sum(ctx, (key, at), field, Text::Bytes(&text), Event::HIncrByFloat);
    if ctx.propagates() {
        propagate_sum(ctx, key, at, field, &text);
    }
    ctx.reply.bulk(&text);
    Ok(())
}

/// Propagates a sum as a value, since other arithmetic might round differently. `HSET` removes the field's expiry, so
/// the expiry is propagated as well.
fn propagate_sum(ctx: &mut Context<'_>, key: Key<'_>, at: Option<Position>, field: &[u8], sum: &[u8]) {
    ctx.propagate(&[b"HSET", key.name, field, sum]);
    let expire_at = at.and_then(|at| {
        let entry = ctx.db().get(at);
        HashRef::new(&entry, ctx.keyspace.field_time()).expire_at(field)?
    });
    if let Some(expire_at) = expire_at {
        let time = number::Decimal::new(expire_at);
        ctx.propagate(&[b"HPEXPIREAT", key.name, time.as_bytes(), b"FIELDS", b"1", field]);
    }
}

/// `HRANDFIELD key [count [WITHVALUES]]`: a random field or null; with a positive count, an array of up to that many
/// distinct fields; with a negative one, exactly that many, possibly repeated. O(N) in the number of fields returned.
pub fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len() == 2 {
        let mut random = Random::new(ctx.keyspace.random.next());
        return read(ctx, args, |hash, out| match hash.and_then(|hash| hash.random(&mut random)) {
            Some(item) => out.reply.text(item.field),
            None => out.reply.null(),
        });
    }
    let (count, with_values) = parse_random(args)?;
    random_fields(ctx, args, count, with_values)
}

fn parse_random(args: Args<'_>) -> Result<(i64, bool)> {
    let count = random_count(args.get(2))?;
    let with_values = args.len() == 4 && args.is(3, "withvalues");
    if args.len() > 3 && !with_values {
        return Err(SYNTAX);
    }
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(Error::new("ERR value is out of range"));
    }
    Ok((count, with_values))
}

fn random_fields(ctx: &mut Context<'_>, args: Args<'_>, count: i64, with_values: bool) -> Result {
    let mut random = Random::new(ctx.keyspace.random.next());
    let bound = ctx.output_bound();
    read(ctx, args, |hash, mut out| {
        let Some(hash) = hash else { return out.reply.array(0) };
        let wanted = match hash.len() as u64 {
            // All remaining fields may have expired: a lookup removes only a limited number of them.
            0 => 0,
            _ if count < 0 => count.unsigned_abs(),
            len => (count as u64).min(len),
        };
        let in_pairs = out.reply.protocol == Protocol::Resp3;
        out.reply.array(if with_values && !in_pairs { wanted as usize * 2 } else { wanted as usize });
        let mut emit = |item: FieldItem<'_>| {
            if with_values && in_pairs {
                out.reply.array(2);
            }
            out.reply.text(item.field);
            if with_values {
                out.item_value(&hash, &item);
            }
            out.reply.buf.len() <= bound
        };
        if count < 0 {
            hash.sample_repeated(wanted, &mut random, &mut emit);
        } else {
            hash.sample_distinct(wanted as usize, &mut random, &mut |item| {
                emit(item);
            });
        }
    })?;
    ctx.end_beyond(bound);
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT n] [NOVALUES]`: the next cursor and some fields with their values. A field
/// that exists throughout a full iteration is returned at least once. O(1) a call.
pub fn hscan(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let cursor = parse_cursor(args.get(2)).ok_or(Error::new("ERR invalid cursor"))?;
    read(ctx, args, |hash, out| {
        match hash {
            None => reply_scan(out.reply, 0, 0, &[]),
            Some(hash) => {
                let options = ScanOptions::parse(args, 3, Extra::NoValues)?;
                scan_fields(&hash, cursor, &options, out.reply);
            }
        }
        Ok(())
    })?
}

fn scan_fields(hash: &HashRef<'_>, cursor: u64, options: &ScanOptions<'_>, reply: &mut Reply<'_>) {
    let (mut elements, mut found) = (options.room(), 0);
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
