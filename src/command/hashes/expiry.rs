//! The expiry of single fields of hashes, as in Redis 7.4.
//!
//! All commands take fields as `FIELDS count field …` and reply with an array of one integer per field, -2 for a
//! missing one. A missing key counts as a hash without fields.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result};
use crate::command::hashes::{find, read};
use crate::command::time::TimeForm;
use crate::db::{Access, Event, Key};
use crate::text::number::{self, Decimal};
use crate::types::hash::{Condition, ExpirySet, LATEST_MS};

const NO_FIELD: i64 = -2;

/// Parses `FIELDS count field …` from argument `first` on, and returns the index of the first field.
fn named_fields(args: Args<'_>, first: usize, not_positive: Error) -> Result<usize> {
    if !args.is(first, "fields") {
        return Err(Error::new("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = if first + 1 < args.len() { number::parse_i64(args.get(first + 1)) } else { None };
    let count = count.filter(|count| *count > 0).ok_or(not_positive)?;
    if usize::try_from(count) != Ok(args.len() - first - 2) {
        return Err(Error::new("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(first + 2)
}

/// The time in an argument, in Unix milliseconds; `invalid` if it is out of range.
fn parse_time(ctx: &Context<'_>, arg: &[u8], form: TimeForm, invalid: Error) -> Result<i64> {
    let value = integer(arg)?;
    if value < 0 {
        return Err(Error::new("ERR invalid expire time, must be >= 0"));
    }
    form.unix_ms(ctx, value).filter(|time| *time <= LATEST_MS).ok_or(invalid)
}

fn expire(ctx: &mut Context<'_>, args: Args<'_>, form: TimeForm, invalid: &'static str) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = find(ctx, key, Access::Write)?;
    let time = parse_time(ctx, args.get(2), form, Error::new(invalid))?;
    let mut fields_at = 4;
    let condition = match args.get(3).to_ascii_lowercase().as_slice() {
        b"nx" => Condition::Without,
        b"xx" => Condition::With,
        b"gt" => Condition::Later,
        b"lt" => Condition::Earlier,
        _ => {
            fields_at = 3;
            Condition::Always
        }
    };
    let not_positive = Error::new("ERR Parameter `numFields` should be greater than 0");
    let first = named_fields(args, fields_at, not_positive)?;
    ctx.reply.array(args.len() - first);
    let Some(at) = at else {
        args.iter_from(first).for_each(|_| ctx.reply.integer(NO_FIELD));
        return Ok(());
    };
    let mut outcomes = Vec::with_capacity(args.len() - first);
    let empty = ctx.keyspace.modify_hash(key, at, |hash| {
        hash.allow_expiries();
        outcomes.extend(args.iter_from(first).map(|field| hash.set_expiry(field, time, condition)));
        hash.is_empty()
    });
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let (set, deleted) = (count(ExpirySet::Done), count(ExpirySet::Deleted));
    let event = if deleted > 0 { Event::HDel } else { Event::HExpire };
    ctx.removed(key, at, event, set + deleted, empty);
    if ctx.propagates() {
        propagate_expiry(ctx, key, args, first, time, &outcomes);
    }
    for outcome in outcomes {
        ctx.reply.integer(match outcome {
            ExpirySet::NoField => NO_FIELD,
            ExpirySet::Refused => 0,
            ExpirySet::Done => 1,
            ExpirySet::Deleted => 2,
        });
    }
    Ok(())
}

/// Propagates the deleted fields as `HDEL`, and those with a new expiry as `HPEXPIREAT`. Unchanged fields are left out.
fn propagate_expiry(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    args: Args<'_>,
    first: usize,
    time: i64,
    outcomes: &[ExpirySet],
) {
    let fields_with = |wanted: ExpirySet| -> Vec<&[u8]> {
        let with_outcomes = args.iter_from(first).zip(outcomes);
        with_outcomes.filter(|(_, outcome)| **outcome == wanted).map(|(field, _)| field).collect()
    };
    let deleted = fields_with(ExpirySet::Deleted);
    if !deleted.is_empty() {
        ctx.propagate(&[&[b"HDEL", key.name], deleted.as_slice()].concat());
    }
    let set = fields_with(ExpirySet::Done);
    if !set.is_empty() {
        let (time, count) = (Decimal::new(time), Decimal::new(set.len() as i64));
        let mut words: Vec<&[u8]> = vec![b"HPEXPIREAT", key.name, time.as_bytes()];
        // The condition, if any, and `FIELDS`.
        words.extend((3..first - 1).map(|i| args.get(i)));
        words.push(count.as_bytes());
        words.extend(set);
        ctx.propagate(&words);
    }
}

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS count field …`: for each field 1 if its expiry was set, 0 if the
/// condition was not met, 2 if it was deleted because the time is in the past, -2 if it is missing. O(N).
pub fn hexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let form = TimeForm { seconds: true, relative: true };
    expire(ctx, args, form, "ERR invalid expire time in 'hexpire' command")
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS count field …`. O(N).
pub fn hpexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let form = TimeForm { seconds: false, relative: true };
    expire(ctx, args, form, "ERR invalid expire time in 'hpexpire' command")
}

/// `HEXPIREAT key unix-seconds [NX | XX | GT | LT] FIELDS count field …`. O(N).
pub fn hexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let form = TimeForm { seconds: true, relative: false };
    expire(ctx, args, form, "ERR invalid expire time in 'hexpireat' command")
}

/// `HPEXPIREAT key unix-milliseconds [NX | XX | GT | LT] FIELDS count field …`. O(N).
pub fn hpexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let form = TimeForm { seconds: false, relative: false };
    expire(ctx, args, form, "ERR invalid expire time in 'hpexpireat' command")
}

const NOT_POSITIVE: Error = Error::new("ERR Number of fields must be a positive integer");

fn time_to_live(ctx: &mut Context<'_>, args: Args<'_>, form: TimeForm) -> Result {
    let origin = form.origin_ms(ctx);
    read(ctx, args, |hash, out| {
        let first = named_fields(args, 2, NOT_POSITIVE)?;
        out.reply.array(args.len() - first);
        for field in args.iter_from(first) {
            out.reply.integer(match hash.and_then(|hash| hash.expire_at(field)) {
                None => NO_FIELD,
                Some(None) => -1,
                Some(Some(time)) if form.seconds => (time - origin + 999) / 1000,
                Some(Some(time)) => time - origin,
            });
        }
        Ok(())
    })?
}

/// `HTTL key FIELDS count field …`: for each field the seconds left, rounded up; -1 if it has no expiry, -2 if it is
/// missing. O(N).
pub fn httl(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    time_to_live(ctx, args, TimeForm { seconds: true, relative: true })
}

/// `HPTTL key FIELDS count field …`: milliseconds left. O(N).
pub fn hpttl(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    time_to_live(ctx, args, TimeForm { seconds: false, relative: true })
}

/// `HEXPIRETIME key FIELDS count field …`: Unix times in seconds. O(N).
pub fn hexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    time_to_live(ctx, args, TimeForm { seconds: true, relative: false })
}

/// `HPEXPIRETIME key FIELDS count field …`: Unix times in milliseconds. O(N).
pub fn hpexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    time_to_live(ctx, args, TimeForm { seconds: false, relative: false })
}

/// `HPERSIST key FIELDS count field …`: for each field 1 if its expiry was removed, -1 if it had none, -2 if it is
/// missing. O(N).
pub fn hpersist(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = find(ctx, key, Access::Write)?;
    let first = named_fields(args, 2, NOT_POSITIVE)?;
    ctx.reply.array(args.len() - first);
    let Some(at) = at else {
        args.iter_from(first).for_each(|_| ctx.reply.integer(NO_FIELD));
        return Ok(());
    };
    let outcomes: Vec<Option<bool>> = ctx
        .keyspace
        .modify_hash(key, at, |hash| args.iter_from(first).map(|field| hash.persist(field)).collect());
    match outcomes.iter().filter(|outcome| **outcome == Some(true)).count() {
        0 => ctx.unchanged(),
        changes => ctx.changed(key, Event::HPersist, changes as u64),
    }
    for outcome in outcomes {
        ctx.reply.integer(match outcome {
            None => NO_FIELD,
            Some(false) => -1,
            Some(true) => 1,
        });
    }
    Ok(())
}
