//! Commands for keys with values of any type: existence, deletion, expiry, iteration, introspection.

use std::ops::Range;

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::scan::{Extra, ScanOptions, parse_cursor, reply_scan};
use crate::command::time::TimeForm;
use crate::db::{Access, AccessPolicy, Event, Key, Position, Removal};
use crate::resp::Reply;
use crate::text::glob;
use crate::text::number::Decimal;
use crate::text::words::shown;
use crate::types::{Entry, Kind, Text};

fn delete(ctx: &mut Context<'_>, args: Args<'_>, reason: Removal) {
    let mut deleted = 0;
    ctx.for_each_key(args, 1, 1, |ctx, _, key| {
        if let Some(at) = ctx.keyspace.find_to_delete(key) {
            ctx.remove(key, at, reason);
            deleted += 1;
        }
    });
    ctx.reply.integer(deleted);
}

/// `DEL key [key …]`: how many of them existed. O(N).
pub fn del(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    delete(ctx, args, Removal::Del);
    Ok(())
}

/// `UNLINK key [key …]`: as `DEL`, freeing in the background. O(N).
pub fn unlink(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    delete(ctx, args, Removal::Unlink);
    Ok(())
}

fn count(ctx: &mut Context<'_>, args: Args<'_>, access: Access) {
    let mut found = 0;
    ctx.for_each_key(args, 1, 1, |ctx, _, key| {
        found += i64::from(ctx.find(key, access).is_some());
    });
    ctx.reply.integer(found);
}

/// `EXISTS key [key …]`: how many of the arguments name a key. O(N).
pub fn exists(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    count(ctx, args, Access::Look);
    Ok(())
}

/// `TOUCH key [key …]`: how many of them exist; moves their access clocks. O(N).
pub fn touch(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    count(ctx, args, Access::Touch);
    Ok(())
}

/// `TYPE key`: the type's name, `none` for a missing key. O(1).
pub fn type_(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let name = match ctx.find(key, Access::Look) {
        Some(at) => ctx.db().get(at).kind().name(),
        None => "none",
    };
    ctx.reply.simple(name);
    Ok(())
}

/// Replies with the key's expiry as time left or Unix time; -1 if it has none, -2 if the key is missing.
fn reply_time(ctx: &mut Context<'_>, name: &[u8], relative: bool, seconds: bool) {
    let key = ctx.first_key(name);
    let value = match ctx.find(key, Access::Look) {
        None => -2,
        Some(at) => match ctx.db().get(at).expire_at() {
            None => -1,
            Some(t) => {
                let ms = if relative { (t - ctx.keyspace.moment.unix_ms).max(0) } else { t };
                if seconds { ms.saturating_add(500) / 1000 } else { ms }
            }
        },
    };
    ctx.reply.integer(value);
}

/// `TTL key`: seconds left, rounded; -1 if the key has no expiry, -2 if it is missing. O(1).
pub fn ttl(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_time(ctx, args.get(1), true, true);
    Ok(())
}

/// `PTTL key`: milliseconds left. O(1).
pub fn pttl(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_time(ctx, args.get(1), true, false);
    Ok(())
}

/// `EXPIRETIME key`: Unix time in seconds. O(1).
pub fn expiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_time(ctx, args.get(1), false, true);
    Ok(())
}

/// `PEXPIRETIME key`: Unix time in milliseconds. O(1).
pub fn pexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    reply_time(ctx, args.get(1), false, false);
    Ok(())
}

/// The conditions that `EXPIRE` and similar commands take.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self> {
        let mut conditions = Conditions::default();
        for word in args.iter_from(3) {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.nx = true,
                b"xx" => conditions.xx = true,
                b"gt" => conditions.gt = true,
                b"lt" => conditions.lt = true,
                _ => return Err(Error::concat(&[b"ERR Unsupported option ", shown(word)])),
            }
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if gt && lt {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Whether an expiry at `new` may replace `old`; no expiry counts as later than any.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

/// Makes `key`, whose entry is at `at`, expire at `when`. If that time has passed, deletes the key and propagates the
/// deletion. Returns whether the key still exists: the caller then propagates the new expiry.
pub(super) fn expire_or_remove(ctx: &mut Context<'_>, key: Key<'_>, at: Position, when: i64) -> bool {
    if ctx.keyspace.is_due(when) {
        ctx.remove(key, at, Removal::PastExpiry);
        ctx.propagate(&[ctx.keyspace.removal_verb(Removal::PastExpiry), key.name]);
        return false;
    }
    ctx.set_expiry(key, at, Some(when));
    ctx.changed(key, Event::Expire, 1);
    true
}

fn expire_key(ctx: &mut Context<'_>, args: Args<'_>, name: &str, relative: bool, seconds: bool) -> Result {
    let conditions = Conditions::parse(args)?;
    let when = (TimeForm { seconds, relative })
        .unix_ms(ctx, integer(args.get(2))?)
        .ok_or_else(|| Error::from(format!("ERR invalid expire time in '{name}' command")))?;
    let key = ctx.first_key(args.get(1));
    let at = ctx.find(key, Access::Write).filter(|at| conditions.allow(ctx.db().get(*at).expire_at(), when));
    if let Some(at) = at {
        let names_unix_ms = !relative && !seconds;
        if expire_or_remove(ctx, key, at, when) && !names_unix_ms && ctx.propagates() {
            let digits = Decimal::new(when);
            let words = [b"PEXPIREAT", key.name, digits.as_bytes()].into_iter().chain(args.iter_from(3));
            ctx.propagate(&words.collect::<Vec<_>>());
        }
    }
    ctx.reply.integer(i64::from(at.is_some()));
    Ok(())
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`: 1 if the expiry was set (or the key deleted at once), else 0. O(1).
pub fn expire(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    expire_key(ctx, args, "expire", true, true)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`. O(1).
pub fn pexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    expire_key(ctx, args, "pexpire", true, false)
}

/// `EXPIREAT key unix-seconds [NX | XX | GT | LT]`. O(1).
pub fn expireat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    expire_key(ctx, args, "expireat", false, true)
}

/// `PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]`. O(1).
pub fn pexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    expire_key(ctx, args, "pexpireat", false, false)
}

/// `PERSIST key`: 1 if an expiry was removed, else 0. O(1).
pub fn persist(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = ctx.find(key, Access::Write).filter(|at| ctx.db().get(*at).expire_at().is_some());
    if let Some(at) = at {
        ctx.set_expiry(key, at, None);
        ctx.changed(key, Event::Persist, 1);
    }
    ctx.reply.integer(i64::from(at.is_some()));
    Ok(())
}

/// `DBSIZE`: number of keys. O(1).
pub fn dbsize(ctx: &mut Context<'_>, _: Args<'_>) -> Result {
    let len = ctx.db().len();
    ctx.reply.integer(len as i64);
    Ok(())
}

/// Whether to reply to a flush at once, rather than when everything has been freed.
fn flush_mode(ctx: &Context<'_>, args: Args<'_>) -> Result<bool> {
    match args.len() {
        1 => Ok(ctx.config.lazyfree_lazy_user_flush),
        2 if args.is(1, "async") => Ok(true),
        2 if args.is(1, "sync") => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// Empties databases. The background thread always frees the keys of large ones, so only the caller waits for that, and
/// only if it may block. Propagated even if there is nothing to delete: a replica may still have keys.
fn flush(ctx: &mut Context<'_>, args: Args<'_>, databases: Range<usize>) -> Result {
    let at_once = flush_mode(ctx, args)?;
    let mut waits = false;
    for db in databases {
        let in_background = at_once || ctx.wait.is_some() && !ctx.keyspace.is_soon_freed(db);
        let flushed = ctx.keyspace.flush(db, in_background);
        waits |= flushed > 0 && in_background;
    }
    ctx.keyspace.journal.propagate_always();
    if at_once || !waits || !ctx.reply_when_freed() {
        ctx.reply.ok();
    }
    Ok(())
}

/// `FLUSHDB [ASYNC | SYNC]`: `OK`; with `SYNC`, after the memory has been freed. O(1) for other clients.
pub fn flushdb(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let db = ctx.session.db;
    flush(ctx, args, db..db + 1)
}

/// `FLUSHALL [ASYNC | SYNC]`: as `FLUSHDB`, for all databases.
pub fn flushall(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    flush(ctx, args, 0..ctx.keyspace.count())?;
    ctx.keyspace.journal.note_emptied();
    Ok(())
}

/// `RANDOMKEY`: a uniformly random key, or null if there is none. O(1).
pub fn randomkey(ctx: &mut Context<'_>, _: Args<'_>) -> Result {
    let key = ctx.keyspace.random_key(ctx.session.db);
    ctx.keyspace.journal.propagate_apart();
    match key {
        Some(key) => ctx.reply.bulk(&key),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn is_live(entry: &Entry, now_ms: i64) -> bool {
    entry.expire_at().is_none_or(|t| t >= now_ms)
}

/// `KEYS pattern`: all keys that match. O(N).
pub fn keys(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let pattern = args.get(1);
    let all = pattern == b"*";
    let now = ctx.keyspace.moment.unix_ms;
    let deferred = ctx.reply.deferred_array();
    let mut found = 0;
    for entry in ctx.keyspace.db(ctx.session.db).entries() {
        if (all || glob::matches(pattern, entry.key(), false)) && is_live(&entry, now) {
            ctx.reply.bulk(entry.key());
            found += 1;
        }
    }
    ctx.reply.finish_array(deferred, found);
    Ok(())
}

/// `SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]`: the next cursor and some keys. A key that exists
/// throughout a full iteration is returned at least once; one that has expired and matches is deleted. With `TYPE`,
/// keys count as looked up. O(1) a call.
pub fn scan(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let cursor = parse_cursor(args.get(1)).ok_or("ERR invalid cursor")?;
    let options = ScanOptions::parse(args, 2, Extra::Type)?;
    let now = ctx.keyspace.moment.unix_ms;
    let is_of_kind = |entry: &Entry| {
        options.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(entry.kind().name().as_bytes()))
    };
    let (mut keys, mut expired) = (options.room(), Vec::new());
    let (mut found, mut typed) = (0, 0);
    let mut reply = Reply { buf: &mut keys, protocol: ctx.session.protocol };
    let cursor = options.walk(cursor, |cursor, looked| {
        ctx.db().scan(cursor, &mut |entry| {
            *looked += 1;
            if !options.matches(entry.key()) {
                return;
            }
            if !is_live(entry, now) {
                return expired.push(entry.key().to_vec());
            }
            typed += 1;
            if is_of_kind(entry) {
                reply.bulk(entry.key());
                found += 1;
            }
        })
    });
    let access = if options.kind.is_some() { Access::Observe } else { Access::Inspect };
    if options.kind.is_some() {
        ctx.keyspace.counters.hits += typed;
    }
    for name in expired {
        // The lookup deletes it.
        ctx.find(ctx.key(&name), access);
    }
    ctx.keyspace.journal.propagate_apart();
    reply_scan(&mut ctx.reply, cursor, found, &keys);
    Ok(())
}

/// Finds the key of an `OBJECT` subcommand, and replies with null if it is missing.
fn inspect(ctx: &mut Context<'_>, args: Args<'_>) -> Option<Position> {
    let at = ctx.find(ctx.first_key(args.get(2)), Access::Observe);
    if at.is_none() {
        ctx.reply.null();
    }
    at
}

/// `OBJECT ENCODING key`: the encoding's name, or null if the key is missing. O(1).
pub fn object_encoding(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if let Some(at) = inspect(ctx, args) {
        let name = ctx.db().get(at).encoding().name();
        ctx.reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// The reference count that Redis would report: 1, or 2147483647 for the small integers that it shares.
pub fn reference_count(entry: &Entry) -> i64 {
    let shared = entry.kind() == Kind::String && matches!(entry.value(), Text::Int(0..10_000));
    if shared { i64::from(i32::MAX) } else { 1 }
}

/// `OBJECT REFCOUNT key`: see [`reference_count`]. O(1).
pub fn object_refcount(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if let Some(at) = inspect(ctx, args) {
        let count = reference_count(&ctx.db().get(at));
        ctx.reply.integer(count);
    }
    Ok(())
}

/// `OBJECT IDLETIME key`: seconds since the last access; an error under an LFU policy. O(1).
pub fn object_idletime(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let Some(at) = inspect(ctx, args) else { return Ok(()) };
    if ctx.keyspace.access_policy != AccessPolicy::Lru {
        return Err(Error::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let seconds = ctx.keyspace.moment.clock.idle_seconds(ctx.db().get(at).access());
    ctx.reply.integer(i64::from(seconds));
    Ok(())
}

/// `OBJECT FREQ key`: the LFU counter; an error under another policy. O(1).
pub fn object_freq(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let Some(at) = inspect(ctx, args) else { return Ok(()) };
    let AccessPolicy::Lfu(lfu) = ctx.keyspace.access_policy else {
        return Err(Error::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    };
    let counter = lfu.counter(ctx.db().get(at).access(), ctx.keyspace.moment.clock);
    ctx.reply.integer(i64::from(counter));
    Ok(())
}
