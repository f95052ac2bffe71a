//! WAIT and WAITAOF: how many replicas and logs have this connection's writes.
//!
//! This server has no replicas and no append-only file, so nothing can be waited for: the reply is 0 at once.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::Result;

/// Checks a timeout in milliseconds, 0 for none: its end has to be a moment that can be told.
fn check_timeout(ctx: &Context<'_>, arg: &[u8]) -> Result {
    match integer(arg) {
        Ok(ms @ 1..) if ms.checked_add(ctx.now()).is_none() => Err("ERR timeout is out of range".into()),
        Ok(0..) => Ok(()),
        Ok(_) => Err("ERR timeout is negative".into()),
        Err(_) => Err("ERR timeout is not an integer or out of range".into()),
    }
}

/// `WAIT numreplicas timeout`: the number of replicas that acknowledged the connection's writes. O(1).
pub fn wait(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    integer(args.get(1))?;
    check_timeout(ctx, args.get(2))?;
    ctx.reply.integer(0);
    Ok(())
}

/// `WAITAOF numlocal numreplicas timeout`: whether the connection's writes are in the local append-only file, and in
/// how many replicas' files. O(1).
pub fn waitaof(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let local = integer(args.get(1))?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1".into());
    }
    if !integer(args.get(2)).is_ok_and(|replicas| replicas >= 0) {
        return Err("ERR value is out of range, must be positive".into());
    }
    check_timeout(ctx, args.get(3))?;
    if local == 1 {
        return Err("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.".into());
    }
    ctx.reply.array(2);
    ctx.reply.integer(0);
    ctx.reply.integer(0);
    Ok(())
}
