//! Commands of the connection itself: `PING`, `ECHO`, `SELECT`. Those that need other clients or change the
//! configuration are executed in `server/admin/`.

use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::error::{DB_OUT_OF_RANGE, Error, NOT_AN_INTEGER, Result};
use crate::text::number;

/// `PING [message]`: `PONG`, or the message. O(1).
pub fn ping(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    if ctx.session.is_limited_to_subscribing() && args.len() <= 2 {
        // In the form of a message, since that is all that this client expects.
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(if args.len() == 2 { args.get(1) } else { b"" });
        return Ok(());
    }
    match args.len() {
        1 => ctx.reply.pong(),
        2 => ctx.reply.bulk(args.get(1)),
        _ => return Err(Error::wrong_arity("ping")),
    }
    Ok(())
}

/// `ECHO message`: the message. O(1).
pub fn echo(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    ctx.reply.bulk(args.get(1));
    Ok(())
}

/// `SELECT index`: `OK`. O(1).
pub fn select(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let index = number::parse_i64(args.get(1)).ok_or(NOT_AN_INTEGER)?;
    if i32::try_from(index).is_err() {
        return Err(Error::new("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    if ctx.config.cluster_enabled && ctx.keyspace.count() == 1 && index != 0 {
        return Err(Error::new("ERR SELECT is not allowed in cluster mode"));
    }
    let db = usize::try_from(index).ok().filter(|index| *index < ctx.keyspace.count());
    ctx.session.db = db.ok_or(DB_OUT_OF_RANGE)?;
    ctx.reply.ok();
    Ok(())
}
