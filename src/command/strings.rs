//! Strings and counters.
//!
//! A small value is inside its key's entry, so a `SET` that fits overwrites it in place and a `GET` copies it from
//! there to the output: neither allocates.

use crate::command::args::{Args, integer};
use crate::command::context::{Context, ZERO_COPY_BYTES};
use crate::command::error::{Error, NOT_A_FLOAT, Result, SYNTAX, WRONG_TYPE};
use crate::command::keys;
use crate::command::time::TimeForm;
use crate::db::{Access, Event, Key, Position, Removal, Word};
use crate::text::extended::Extended;
use crate::text::number::Decimal;
use crate::types::block::Block;
use crate::types::{Entry, Kind, Text};
use std::ops::Range;

/// The effect of a write on the key's expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewExpiry {
    Discard,
    Keep,
    At(i64),
}

/// A value to write: the bytes, and their block if they were received into one of their own.
struct Value<'a> {
    bytes: &'a [u8],
    block: Option<Block>,
}

impl<'a> Value<'a> {
    #[inline(always)]
    fn of(args: Args<'a>, index: usize) -> Self {
        Value { bytes: args.get(index), block: args.block(index) }
    }

    fn into_entry(self, key: &[u8], expire_at: Option<i64>) -> Entry {
        match self.block {
            Some(block) => Entry::with_block(key, block, expire_at),
            None => Entry::string(key, self.bytes, expire_at),
        }
    }
}

/// Sets `key`, which was found at `at` or is not there, to `value`. The caller declares the change.
#[inline]
fn write(ctx: &mut Context<'_>, key: Key<'_>, at: Option<Position>, value: Value<'_>, expiry: NewExpiry) {
    let Some(at) = at else {
        let expire_at = if let NewExpiry::At(t) = expiry { Some(t) } else { None };
        ctx.insert(key, value.into_entry(key.name, expire_at));
        return;
    };
    let is_small = |entry: &Entry| entry.kind() == Kind::String && !entry.is_large();
    // Most calls: one lookup of the entry is enough.
    if let (NewExpiry::Discard, None) = (&expiry, &value.block)
        && ctx.keyspace.modify(key.db, at, |entry| {
            let is_plain = is_small(entry) && entry.expire_at().is_none();
            if is_plain {
                entry.set_string(value.bytes);
            }
            is_plain
        })
    {
        return;
    }
    let entry = ctx.keyspace.db(key.db).get(at);
    let (old_expiry, in_place) = (entry.expire_at(), is_small(&entry));
    let expire_at = match expiry {
        NewExpiry::Discard => None,
        NewExpiry::Keep => old_expiry,
        NewExpiry::At(t) => Some(t),
    };
    if !in_place {
        ctx.keyspace.replace(key, at, value.into_entry(key.name, expire_at));
        return;
    }
    if old_expiry != expire_at {
        ctx.set_expiry(key, at, expire_at);
    }
    ctx.keyspace.modify(key.db, at, |entry| match value.block {
        Some(block) => entry.set_block(block),
        None => entry.set_string(value.bytes),
    });
}

/// [`write()`], declared as the change that `SET` makes.
#[inline]
fn put(ctx: &mut Context<'_>, key: Key<'_>, at: Option<Position>, value: Value<'_>, expiry: NewExpiry) {
    write(ctx, key, at, value, expiry);
    ctx.changed(key, Event::Set, 1);
}

/// [`put`] of a raw string, which removes the expiry.
pub(super) fn put_block(ctx: &mut Context<'_>, key: Key<'_>, at: Option<Position>, block: Block) {
    put(ctx, key, at, Value { bytes: &[], block: Some(block) }, NewExpiry::Discard);
}

/// [`put`] with an expiry at `time`.
fn put_until(ctx: &mut Context<'_>, key: Key<'_>, at: Option<Position>, value: Value<'_>, time: i64) {
    put(ctx, key, at, value, NewExpiry::At(time));
    ctx.changed(key, Event::Expire, 0);
}

/// Propagates `SET key value [PXAT time]` instead of the command; the value is argument `index`.
#[inline]
fn propagate_set(ctx: &mut Context<'_>, key: Key<'_>, args: Args<'_>, index: usize, time: Option<i64>) {
    if !ctx.propagates() {
        return;
    }
    let digits = Decimal::new(time.unwrap_or(0));
    let words = [Word::Bytes(b"SET"), Word::Bytes(key.name), args.word(index)];
    let words = words.into_iter().chain([Word::Bytes(b"PXAT"), Word::Bytes(digits.as_bytes())]);
    ctx.keyspace.journal.propagate_words(key.db, words.take(if time.is_some() { 5 } else { 3 }));
}

/// Propagates a `SET` without its option `GET`, which only concerns the reply.
fn propagate_without_get(ctx: &mut Context<'_>, args: Args<'_>) {
    if !ctx.propagates() {
        return;
    }
    let words = (0..args.len()).filter(|&index| index < 3 || !args.is(index, "get"));
    let words = words.map(|index| args.word(index));
    ctx.keyspace.journal.propagate_words(ctx.session.db, words);
}

/// The time in an argument, in Unix milliseconds; `invalid` if it is not positive or out of range.
fn expire_at(ctx: &Context<'_>, arg: &[u8], form: TimeForm, invalid: &'static str) -> Result<i64> {
    let value = Some(integer(arg)?).filter(|value| *value > 0);
    value.and_then(|value| form.unix_ms(ctx, value)).ok_or(invalid.into())
}

/// The options that `SET` and `GETEX` share.
#[derive(Default)]
struct SetOptions {
    if_missing: bool,
    if_present: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    time: Option<(usize, bool, bool)>,
}

impl SetOptions {
    /// Parses the options from argument `first` on: those of `SET` if `set` is true, otherwise those of `GETEX`.
    fn parse(args: Args<'_>, first: usize, set: bool) -> Result<Self> {
        let mut options = SetOptions::default();
        let mut i = first;
        while i < args.len() {
            let word = args.get(i);
            let has_next = i + 1 < args.len();
            let mut lower = [0; 8];
            let Some(lower) = lower.get_mut(..word.len()) else { return Err(SYNTAX) };
            lower.copy_from_slice(word);
            lower.make_ascii_lowercase();
            match &*lower {
                b"nx" if set && !options.if_present => options.if_missing = true,
                b"xx" if set && !options.if_missing => options.if_present = true,
                b"get" if set => options.get = true,
                b"keepttl" if set && !options.persist && options.time.is_none() => options.keep_ttl = true,
                b"persist" if !set && !options.keep_ttl && options.time.is_none() => options.persist = true,
                b"ex" | b"px" | b"exat" | b"pxat" if has_next && options.takes_time(lower) => {
                    options.time = Some((i + 1, lower[0] == b'e', lower.len() == 2));
                    i += 1;
                }
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        Ok(options)
    }

    /// Whether the option `word` with a time is allowed: no other option for the expiry was given, except the same one.
    fn takes_time(&self, word: &[u8]) -> bool {
        let same = |(_, seconds, relative)| (seconds, relative) == (word[0] == b'e', word.len() == 2);
        !self.keep_ttl && !self.persist && self.time.is_none_or(same)
    }

    /// Whether the time is in milliseconds since 1970 (`PXAT`).
    fn names_unix_ms(&self) -> bool {
        matches!(self.time, Some((_, false, false)))
    }

    /// The time, Unix milliseconds.
    fn expire_at(&self, ctx: &Context<'_>, args: Args<'_>, invalid: &'static str) -> Result<Option<i64>> {
        let Some((index, seconds, relative)) = self.time else { return Ok(None) };
        expire_at(ctx, args.get(index), TimeForm { seconds, relative }, invalid).map(Some)
    }
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`: `OK`, or null when `NX` or `XX` forbade
/// it; with `GET` the old value or null. O(1).
pub fn set(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len() > 3 {
        return set_with_options(ctx, args);
    }
    let key = ctx.first_key(args.get(1));
    let at = ctx.find(key, Access::Write);
    put(ctx, key, at, Value::of(args, 2), NewExpiry::Discard);
    ctx.reply.ok();
    Ok(())
}

fn set_with_options(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let options = SetOptions::parse(args, 3, true)?;
    let time = options.expire_at(ctx, args, "ERR invalid expire time in 'set' command")?;
    if options.get {
        reply_string_of(ctx, key)?;
    }
    let at = ctx.find(key, Access::Write);
    if (options.if_missing && at.is_some()) || (options.if_present && at.is_none()) {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(());
    }
    let value = Value::of(args, 2);
    if let Some(time) = time {
        put_until(ctx, key, at, value, time);
        // A call with an absolute time means the same later and elsewhere.
        if !options.names_unix_ms() {
            propagate_set(ctx, key, args, 2, Some(time));
        }
    } else {
        let expiry = if options.keep_ttl { NewExpiry::Keep } else { NewExpiry::Discard };
        put(ctx, key, at, value, expiry);
        if options.get {
            propagate_without_get(ctx, args);
        }
    }
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// Replies with the string under `key`, or null, and returns where it is.
#[inline(always)]
fn reply_string_of(ctx: &mut Context<'_>, key: Key<'_>) -> Result<Option<Position>> {
    let at = ctx.find(key, Access::Read);
    match at {
        Some(at) if !ctx.reply_string(at) => return Err(WRONG_TYPE),
        Some(_) => {}
        None => ctx.reply.null(),
    }
    Ok(at)
}

/// `SETNX key value`: 1 if the key was set, 0 if it existed. O(1).
pub fn setnx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = ctx.find(key, Access::Write);
    if at.is_none() {
        put(ctx, key, None, Value::of(args, 2), NewExpiry::Discard);
    }
    ctx.reply.integer(i64::from(at.is_none()));
    Ok(())
}

fn set_with_time(ctx: &mut Context<'_>, args: Args<'_>, seconds: bool, invalid: &'static str) -> Result {
    let time = expire_at(ctx, args.get(2), TimeForm { seconds, relative: true }, invalid)?;
    let key = ctx.first_key(args.get(1));
    let at = ctx.find(key, Access::Write);
    put_until(ctx, key, at, Value::of(args, 3), time);
    propagate_set(ctx, key, args, 3, Some(time));
    ctx.reply.ok();
    Ok(())
}

/// `SETEX key seconds value`: `OK`. O(1).
pub fn setex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    set_with_time(ctx, args, true, "ERR invalid expire time in 'setex' command")
}

/// `PSETEX key milliseconds value`: `OK`. O(1).
pub fn psetex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    set_with_time(ctx, args, false, "ERR invalid expire time in 'psetex' command")
}

/// `GET key`: the value or null. O(1).
pub fn get(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    reply_string_of(ctx, key)?;
    Ok(())
}

/// `GETSET key value`: the old value or null. O(1).
pub fn getset(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = reply_string_of(ctx, key)?;
    put(ctx, key, at, Value::of(args, 2), NewExpiry::Discard);
    propagate_set(ctx, key, args, 2, None);
    Ok(())
}

/// `GETDEL key`: the value, which is deleted, or null. O(1).
pub fn getdel(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let found = reply_string_of(ctx, key)?;
    if let Some(at) = found.or_else(|| ctx.keyspace.find_to_delete(key)) {
        ctx.remove(key, at, Removal::Del);
        ctx.propagate(&[b"DEL", key.name]);
    }
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`: the value or null. O(1).
pub fn getex(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = SetOptions::parse(args, 2, false)?;
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Read, Kind::String)? else {
        ctx.reply.null();
        return Ok(());
    };
    let time = options.expire_at(ctx, args, "ERR invalid expire time in 'getex' command")?;
    ctx.reply_string(at);
    if let Some(time) = time {
        if keys::expire_or_remove(ctx, key, at, time) {
            ctx.propagate(&[b"PEXPIREAT", key.name, Decimal::new(time).as_bytes()]);
        }
    } else if options.persist && ctx.db().get(at).expire_at().is_some() {
        ctx.set_expiry(key, at, None);
        ctx.changed(key, Event::Persist, 1);
        ctx.propagate(&[b"PERSIST", key.name]);
    }
    Ok(())
}

/// `MGET key [key …]`: an array of values, null for a key that is missing or not a string. O(N).
pub fn mget(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    ctx.reply.array(args.len() - 1);
    // A key may be named any number of times.
    let bound = ctx.output_bound();
    ctx.for_each_key(args, 1, 1, |ctx, _, key| {
        if ctx.reply.buf.len() > bound {
            return;
        }
        if !ctx.find(key, Access::Read).is_some_and(|at| ctx.reply_string(at)) {
            ctx.reply.null();
        }
    });
    ctx.end_beyond(bound);
    Ok(())
}

fn set_all(ctx: &mut Context<'_>, args: Args<'_>) {
    ctx.for_each_key(args, 1, 2, |ctx, i, key| {
        let at = ctx.find(key, Access::Write);
        put(ctx, key, at, Value::of(args, i + 1), NewExpiry::Discard);
    });
}

/// `MSET key value [key value …]`: `OK`. O(N).
pub fn mset(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("mset"));
    }
    set_all(ctx, args);
    ctx.reply.ok();
    Ok(())
}

/// `MSETNX key value [key value …]`: 1 if all were set, 0 if none was because one existed. O(N).
pub fn msetnx(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("msetnx"));
    }
    let mut any = false;
    ctx.for_each_key(args, 1, 2, |ctx, _, key| {
        // After the first existing key no more are looked up, so expired ones among them are not deleted.
        any = any || ctx.find(key, Access::Write).is_some();
    });
    if !any {
        set_all(ctx, args);
    }
    ctx.reply.integer(i64::from(!any));
    Ok(())
}

/// Adds `delta` to the integer under the first key, `name`, and replies with the sum.
fn add(ctx: &mut Context<'_>, name: &[u8], delta: i64) -> Result {
    let key = ctx.first_key(name);
    let at = ctx.find_kind(key, Access::Write, Kind::String)?;
    let old = match at {
        None => 0,
        Some(at) => match ctx.db().get(at).value() {
            Text::Int(value) => value,
            Text::Bytes(bytes) => integer(bytes)?,
        },
    };
    let sum = old.checked_add(delta).ok_or("ERR increment or decrement would overflow")?;
    match at {
        Some(at) => ctx.keyspace.modify(key.db, at, |entry| entry.set_integer(sum)),
        None => drop(ctx.insert(key, Entry::integer(name, sum, None))),
    }
    ctx.changed(key, Event::IncrBy, 1);
    ctx.reply.integer(sum);
    Ok(())
}

/// `INCR key`: the value after adding one. O(1).
pub fn incr(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    add(ctx, args.get(1), 1)
}

/// `DECR key`: the value after subtracting one. O(1).
pub fn decr(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    add(ctx, args.get(1), -1)
}

/// `INCRBY key n`: the sum. O(1).
pub fn incrby(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let delta = integer(args.get(2))?;
    add(ctx, args.get(1), delta)
}

/// `DECRBY key n`: the difference. O(1).
pub fn decrby(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let delta = integer(args.get(2))?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(ctx, args.get(1), delta)
}

/// `INCRBYFLOAT key x`: the sum as a string. O(1).
pub fn incrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = ctx.find_kind(key, Access::Write, Kind::String)?;
    let old = match at {
        None => Extended::from(0),
        Some(at) => match ctx.db().get(at).value() {
            Text::Int(value) => Extended::from(value),
            Text::Bytes(bytes) => Extended::parse(bytes).ok_or(NOT_A_FLOAT)?,
        },
    };
    let delta = Extended::parse(args.get(2)).ok_or(NOT_A_FLOAT)?;
    let sum = old.add(delta);
    if !sum.is_finite() {
        return Err("ERR increment would produce NaN or Infinity".into());
    }
    let mut text = Vec::new();
    sum.push_to(&mut text);
    match at {
        Some(at) => ctx.keyspace.modify(key.db, at, |entry| entry.set_plain(&text)),
        None => drop(ctx.insert(key, Entry::plain(key.name, &text, None))),
    }
    ctx.changed(key, Event::IncrByFloat, 1);
    // Propagates the result, since the arithmetic of another machine might differ.
    ctx.propagate(&[b"SET", key.name, &text, b"KEEPTTL"]);
    ctx.reply.bulk(&text);
    Ok(())
}

const TOO_LONG: Error = Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// Refuses a string that would be longer than [`Context::longest_string`].
fn check_length(ctx: &Context<'_>, before: u64, added: usize) -> Result {
    if before.saturating_add(added as u64) > ctx.longest_string() {
        return Err(TOO_LONG);
    }
    Ok(())
}

/// Refuses a string of `len` bytes, of which `before` exist, if the system has no memory for it although
/// `proto-max-bulk-len` permits it: a client can name a length without sending that many bytes. Small growth is not
/// checked. Calls from the AOF are never refused: if memory runs out, the process exits and the AOF still has the call.
pub(super) fn check_possible(ctx: &Context<'_>, before: usize, len: usize) -> Result {
    const WORTH_A_LOOK: usize = 4 << 20;
    if len.saturating_sub(before) >= WORTH_A_LOOK && !ctx.origin.must_obey() && !Block::is_possible(len) {
        return Err(Error::new("OOM the system refuses the memory for a string of this length"));
    }
    Ok(())
}

/// `APPEND key value`: the new length. O(1) amortized.
pub fn append(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let tail = args.get(2);
    let len = match ctx.find(key, Access::Write) {
        None => {
            write(ctx, key, None, Value::of(args, 2), NewExpiry::Discard);
            tail.len()
        }
        Some(at) => {
            let entry = ctx.db().get(at);
            if entry.kind() != Kind::String {
                return Err(WRONG_TYPE);
            }
            let len = entry.string_len();
            check_length(ctx, len as u64, tail.len())?;
            check_possible(ctx, len, len + tail.len())?;
            ctx.keyspace.modify(key.db, at, |entry| entry.append(tail))
        }
    };
    ctx.changed(key, Event::Append, 1);
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `STRLEN key`: the length in bytes, 0 if the key is missing. O(1).
pub fn strlen(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let key = ctx.first_key(args.get(1));
    let at = ctx.find_kind(key, Access::Read, Kind::String)?;
    let len = at.map_or(0, |at| ctx.db().get(at).string_len());
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `SETRANGE key offset value`: overwrites the string from the offset on, and replies with its new length; a gap before
/// the offset is filled with zero bytes. O(M) for the value's length; the gap is O(N).
pub fn setrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let part = args.get(3);
    let offset = u64::try_from(integer(args.get(2))?).map_err(|_| "ERR offset is out of range")?;
    let key = ctx.first_key(args.get(1));
    let at = ctx.find_kind(key, Access::Write, Kind::String)?;
    if part.is_empty() {
        let len = at.map_or(0, |at| ctx.db().get(at).string_len());
        ctx.reply.integer(len as i64);
        return Ok(());
    }
    check_length(ctx, offset, part.len())?;
    let before = at.map_or(0, |at| ctx.db().get(at).string_len());
    check_possible(ctx, before, offset as usize + part.len())?;
    let span = offset as usize..offset as usize + part.len();
    let write = |entry: &mut Entry| {
        let bytes = entry.bytes_mut(span.end);
        bytes[span.clone()].copy_from_slice(part);
        bytes.len()
    };
    let len = if let Some(at) = at {
        ctx.keyspace.modify(key.db, at, write)
    } else {
        let mut entry = Entry::zeroed(key.name, span.end, None);
        let len = write(&mut entry);
        ctx.insert(key, entry);
        len
    };
    ctx.changed(key, Event::SetRange, 1);
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `GETRANGE key start end`: the bytes between two offsets, both included; negative offsets count from the end. O(N) in
/// the length of the reply; O(1) if that is a whole large value.
pub fn getrange(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (start, end) = (integer(args.get(2))?, integer(args.get(3))?);
    let key = ctx.first_key(args.get(1));
    let Some(at) = ctx.find_kind(key, Access::Read, Kind::String)? else {
        ctx.reply.bulk(b"");
        return Ok(());
    };
    let entry = ctx.keyspace.db(key.db).get(at);
    let range = byte_range(start, end, entry.string_len());
    if range.len() >= ZERO_COPY_BYTES && range.len() == entry.string_len() {
        ctx.reply_string(at);
    } else {
        entry.value().with_bytes(|bytes| ctx.reply.bulk(&bytes[range]));
    }
    Ok(())
}

/// `SUBSTR key start end`: the older name of [`getrange`].
pub fn substr(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    getrange(ctx, args)
}

/// The range of a string of `len` bytes from `start` to `end`, both included; negative offsets count from the end.
fn byte_range(start: i64, end: i64, len: usize) -> Range<usize> {
    let from_front = |at: i64| if at < 0 { at.saturating_add(len as i64).max(0) } else { at };
    let (first, last) = (from_front(start), from_front(end).min(len as i64 - 1));
    // Two negative offsets in the wrong order are an empty range, even if both are before the first byte.
    if first > last || (start < 0 && end < 0 && start > end) {
        return 0..0;
    }
    first as usize..last as usize + 1
}
