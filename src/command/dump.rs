//! DUMP and RESTORE: serialize a value, and recreate it from the bytes, on this server or another one.
//!
//! The format is that of `persist::rdb`. A payload is untrusted input: anyone can compute a correct checksum.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{BAD_DATA, Result, SYNTAX};
use crate::db::{Access, Event, Removal, Word};
use crate::persist::rdb::Target;
use crate::persist::rdb::payload::{self, PayloadError};
use crate::text::number::Decimal;

/// `DUMP key`: the payload, or null if the key is missing. O(N) in the value's size.
pub fn dump(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let compress = ctx.config.rdbcompression;
    let found = ctx.find(ctx.first_key(args.get(1)), Access::Read);
    match found.map(|at| payload::dump(&ctx.db().get(at), compress)) {
        Some(payload) => ctx.reply.bulk(&payload),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// The options of `RESTORE`.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: Args<'_>) -> Result<Self> {
        let mut options = RestoreOptions::default();
        let mut i = 4;
        while i < args.len() {
            let valued = i + 1 < args.len();
            if args.is(i, "replace") {
                options.replace = true;
            } else if args.is(i, "absttl") {
                options.absolute = true;
            } else if args.is(i, "idletime") && valued && options.frequency.is_none() {
                i += 1;
                let seconds = u64::try_from(integer(args.get(i))?);
                options.idle_seconds = Some(seconds.map_err(|_| "ERR Invalid IDLETIME value, must be >= 0")?);
            } else if args.is(i, "freq") && valued && options.idle_seconds.is_none() {
                i += 1;
                let counter = u8::try_from(integer(args.get(i))?);
                options.frequency =
                    Some(counter.map_err(|_| "ERR Invalid FREQ value, must be >= 0 and <= 255")?);
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        Ok(options)
    }
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`: `OK`. The time to live is
/// in milliseconds, 0 for none; if it has passed, no key is created. O(N) in the value's size.
pub fn restore(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let options = RestoreOptions::parse(args)?;
    let key = ctx.first_key(args.get(1));
    if !options.replace && ctx.find(key, Access::Write).is_some() {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl_ms = integer(args.get(2))?;
    if ttl_ms < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    // A time out of range wraps and so is in the past, as in Redis.
    let origin_ms = if options.absolute { 0 } else { ctx.now() };
    let expire_at = (ttl_ms != 0).then(|| ttl_ms.wrapping_add(origin_ms));
    let target = Target { key: key.name, expire_at, shapes: &ctx.keyspace.shapes };
    let entry =
        payload::restore(args.get(3), ctx.keyspace.verifies_checksums, target).map_err(
            |error| match error {
                PayloadError::VersionOrChecksum => "ERR DUMP payload version or checksum are wrong".into(),
                PayloadError::Value(_) => BAD_DATA,
            },
        )?;
    if expire_at.is_some_and(|time| ctx.keyspace.is_due(time)) {
        if let Some(at) = ctx.find(key, Access::Inspect) {
            ctx.remove(key, at, Removal::Overwritten);
            ctx.propagate(&[ctx.keyspace.removal_verb(Removal::Overwritten), key.name]);
        }
    } else {
        entry.set_access(ctx.keyspace.access_of(options.idle_seconds, options.frequency));
        ctx.keyspace.put(key, entry);
        ctx.changed(key, Event::Restore, 1);
        if let Some(time) = expire_at.filter(|_| !options.absolute) {
            propagate_absolute(ctx, args, time);
        }
    }
    ctx.reply.ok();
    Ok(())
}

/// Propagates a `RESTORE` with the time at which the key expires instead of its time to live.
fn propagate_absolute(ctx: &mut Context<'_>, args: Args<'_>, time: i64) {
    if !ctx.propagates() {
        return;
    }
    let digits = Decimal::new(time);
    let words = (0..args.len()).map(|index| match index {
        2 => Word::Bytes(digits.as_bytes()),
        _ => args.word(index),
    });
    ctx.keyspace.journal.propagate_words(ctx.session.db, words.chain([Word::Bytes(b"ABSTTL")]));
}

/// `RESTORE-ASKING key ttl serialized-value …`: as `RESTORE`, for keys that move between nodes of a cluster.
pub fn restore_asking(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    restore(ctx, args)
}
