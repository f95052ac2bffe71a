//! The times in arguments: in seconds or milliseconds, relative to now or since 1970.

use crate::command::context::Context;

/// How a command writes its times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TimeForm {
    /// Whether they are in seconds; else in milliseconds.
    pub seconds: bool,
    /// Whether they count from now; else from 1970.
    pub relative: bool,
}

impl TimeForm {
    /// The moment from which times count, in Unix milliseconds.
    pub fn origin_ms(self, ctx: &Context<'_>) -> i64 {
        if self.relative { ctx.keyspace.moment.unix_ms } else { 0 }
    }

    /// The time in Unix milliseconds; `None` if it is out of range. It may be in the past.
    pub fn unix_ms(self, ctx: &Context<'_>, value: i64) -> Option<i64> {
        value.checked_mul(if self.seconds { 1000 } else { 1 })?.checked_add(self.origin_ms(ctx))
    }
}
