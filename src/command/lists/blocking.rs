//! The blocking list commands. They work like the commands without the `B`, but if no key has a list, the client blocks
//! until one of its keys does. The non-blocking command is propagated.

use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::error::Result;
use crate::command::lists::{self, MultiPop, end_argument};
use crate::command::waiting::{self, Null, Wait};
use crate::db::Access;
use crate::types::Kind;
use crate::types::list::End;

/// Blocks the client until one of `keys` has a list.
fn wait<'a>(
    ctx: &mut Context<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    timeout_ms: Option<u64>,
    null: Null,
) {
    ctx.wait_for(Wait {
        keys: keys.map(<[u8]>::to_vec).collect(),
        kind: Kind::List,
        even_if_gone: false,
        timeout_ms,
        null,
        rewritten: Vec::new(),
    });
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Result {
    let last = args.len() - 1;
    let timeout_ms = waiting::seconds(args.get(last), ctx.now())?;
    for name in args.iter_from(1).take(last - 1) {
        let key = ctx.key(name);
        let Some(at) = ctx.find_kind(key, Access::Write, Kind::List)? else { continue };
        ctx.reply.array(2);
        ctx.reply.bulk(key.name);
        lists::pop_each(ctx, key, at, end, 1);
        ctx.propagate(&[lists::pop_verb(end), key.name]);
        return Ok(());
    }
    wait(ctx, args.iter_from(1).take(last - 1), timeout_ms, Null::Array);
    Ok(())
}

/// `BLPOP key [key …] timeout`: the first key that has a list, and the first element, which is removed; null if no key
/// has a list within the timeout in seconds (0: no limit). O(N).
pub fn blpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop(ctx, args, End::Front)
}

/// `BRPOP key [key …] timeout`: the same for the last element. O(N).
pub fn brpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    pop(ctx, args, End::Back)
}

/// `BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout`: the moved element, or null after the timeout. O(1).
pub fn blmove(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let (from, to) = (end_argument(args, 3)?, end_argument(args, 4)?);
    let timeout_ms = waiting::seconds(args.get(5), ctx.now())?;
    if !lists::move_element(ctx, args, from, to)? {
        wait(ctx, args.iter_from(1).take(1), timeout_ms, Null::Bulk);
        return Ok(());
    }
    ctx.propagate(&[b"LMOVE", args.get(1), args.get(2), args.get(3), args.get(4)]);
    Ok(())
}

/// `BRPOPLPUSH source destination timeout`: the last element of the source, moved to the front of the destination, or
/// null after the timeout. O(1).
pub fn brpoplpush(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let timeout_ms = waiting::seconds(args.get(3), ctx.now())?;
    if !lists::move_element(ctx, args, End::Back, End::Front)? {
        wait(ctx, args.iter_from(1).take(1), timeout_ms, Null::Bulk);
        return Ok(());
    }
    ctx.propagate(&[b"RPOPLPUSH", args.get(1), args.get(2)]);
    Ok(())
}

/// `BLMPOP timeout numkeys key [key …] LEFT | RIGHT [COUNT count]`: like `LMPOP`; null after the timeout. O(N+M).
pub fn blmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let pop = MultiPop::parse(args, 2)?;
    let timeout_ms = waiting::seconds(args.get(1), ctx.now())?;
    if !pop.run(ctx)? {
        wait(ctx, pop.keys.iter().copied(), timeout_ms, Null::Array);
    }
    Ok(())
}
