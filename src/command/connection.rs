//! The connection itself: `PING`, `ECHO`, `SELECT`. What needs the other clients or the configuration is executed by
//! the server's floor.

use crate::command::args::Args;
use crate::command::context::{Context, NOT_AN_INTEGER};
use crate::text::number;

/// `PING [message]`: `PONG`, or the message. O(1).
pub fn ping(ctx: &mut Context<'_>, args: Args<'_>) {
    match args.len() {
        1 => ctx.reply.pong(),
        2 => ctx.reply.bulk(args.get(1)),
        _ => ctx.reply.error("ERR wrong number of arguments for 'ping' command"),
    }
}

/// `ECHO message`: the message. O(1).
pub fn echo(ctx: &mut Context<'_>, args: Args<'_>) {
    ctx.reply.bulk(args.get(1));
}

/// `SELECT index`: `OK`. O(1).
pub fn select(ctx: &mut Context<'_>, args: Args<'_>) {
    match number::parse_i64(args.get(1)) {
        None => ctx.reply.error(NOT_AN_INTEGER),
        Some(index) if i32::try_from(index).is_err() => {
            ctx.reply.error("ERR value is out of range, value must between -2147483648 and 2147483647");
        }
        Some(index) => match usize::try_from(index).ok().filter(|i| *i < ctx.keyspace.count()) {
            Some(index) => {
                ctx.session.db = index;
                ctx.reply.ok();
            }
            None => ctx.reply.error("ERR DB index is out of range"),
        },
    }
}
