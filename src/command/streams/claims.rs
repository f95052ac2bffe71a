//! `XCLAIM` and `XAUTOCLAIM`: assign pending entries to another consumer.

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::streams::groups::{Told, find_group, leading_ids, no_such_group};
use crate::command::streams::{range_start, reply_id, reply_record, strict_id};
use crate::db::{Access, Event, Key, Position};
use crate::resp::Reply;
use crate::types::stream::{ConsumerSlot, Group, Id, Stream, until_zero};

/// The options of a claim.
struct Claim<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    now: i64,
    /// Claims only entries delivered at least this many milliseconds ago.
    min_idle: i64,
    /// The delivery time to store.
    time: i64,
    /// The delivery count to store; if `None`, the previous one plus 1.
    retries: Option<u64>,
    /// Entries that are not pending become pending.
    force: bool,
    /// Returns only IDs, and does not count as a delivery.
    just_id: bool,
    /// The pending entries to propagate; `None` if nothing is propagated.
    told: Option<Vec<Told>>,
}

/// The outcome for an entry.
enum Outcome {
    Claimed,
    /// It is not in the stream, and is no longer pending. The flag tells whether it was pending.
    Gone(bool),
    Left,
}

impl Claim<'_> {
    /// Tries to claim the entry that `word` names, and replies with it.
    fn one(
        &mut self,
        stream: &mut Stream,
        reply: &mut Reply<'_>,
        slot: ConsumerSlot,
        (id, word): (Id, &[u8]),
    ) -> Outcome {
        let exists = stream.get(id).is_some();
        let Some(group) = stream.group_mut(self.group) else { return Outcome::Left };
        let before = group.pending().get(&id).copied();
        if !exists {
            self.tell(group, id, word);
            return Outcome::Gone(group.acknowledge(id));
        }
        match before {
            None if !self.force => return Outcome::Left,
            Some(delivery) if self.min_idle > 0 && self.now.wrapping_sub(delivery.time) < self.min_idle => {
                return Outcome::Left;
            }
            _ => {}
        }
        // An entry that was not pending starts with a count of one delivery.
        let count = before.map_or(1, |delivery| delivery.count);
        let count = self.retries.unwrap_or(if self.just_id { count } else { count.wrapping_add(1) });
        group.claim(id, slot, self.time, count, self.now);
        self.tell(group, id, word);
        if self.just_id {
            reply_id(reply, id);
        } else if let Some(record) = stream.get(id) {
            reply_record(reply, &record);
        }
        Outcome::Claimed
    }

    /// Records the state of a pending entry for propagation. For an entry that is no longer in the stream, replaying it
    /// removes the entry from the pending ones as well.
    fn tell(&mut self, group: &Group, id: Id, word: &[u8]) {
        if let (Some(told), Some(delivery)) = (&mut self.told, group.pending().get(&id)) {
            told.push(Told::new(group, word, delivery));
        }
    }

    /// Finds or adds the consumer, marks it as seen now, and returns whether it is new.
    fn consumer(&self, stream: &mut Stream) -> Option<(ConsumerSlot, bool)> {
        let group = stream.group_mut(self.group)?;
        let before = group.consumers().len();
        let slot = group.find_or_add(self.consumer, self.now);
        Some((slot, group.consumers().len() > before))
    }

    /// Declares and propagates the changes: whether the consumer is new, and the number of other changes. `moved`: the
    /// group's last ID was set.
    fn declare(
        &self,
        ctx: &mut Context<'_>,
        (key, at): (Key<'_>, Position),
        added: bool,
        changes: u64,
        moved: bool,
    ) {
        ctx.unchanged();
        if added {
            ctx.changed(key, Event::XGroupCreateConsumer, 1);
        }
        // Each propagated XCLAIM also sets the group's last ID.
        let only_moved = moved && changes == 0;
        if changes > 0 || only_moved {
            ctx.changed(key, Event::Bookkeeping, changes.max(1));
        }
        ctx.propagate_nothing();
        // The XCLAIM of an entry creates the consumer, unless the entry was deleted: then it names the previous
        // consumer.
        let is_told = self.told.iter().flatten().any(|told| told.consumer == self.consumer);
        if added && !is_told && ctx.propagates() {
            ctx.propagate_consumer(key, self.group, self.consumer);
        }
        let last_id =
            ctx.read_stream(at, |stream, _| stream.group(self.group).map_or(Id::MIN, |g| g.last_id));
        for told in self.told.iter().flatten() {
            ctx.propagate_claim(key, self.group, told, last_id);
        }
        if only_moved && ctx.propagates() {
            ctx.propagate_progress(key, at, self.group);
        }
    }
}

/// Parses the options of `XCLAIM` from argument `at` on into `claim`. Returns the ID to set the group to.
fn claim_options(claim: &mut Claim<'_>, args: Args<'_>, mut at: usize) -> Result<Id> {
    let mut last_id = Id::MIN;
    let mut time = -1;
    while at < args.len() {
        let more = at + 1 < args.len();
        let number = |text: &str| {
            integer(args.get(at + 1))
                .map_err(|_| Error::from(format!("ERR Invalid {text} option argument for XCLAIM")))
        };
        let takes_value = if args.is(at, "force") {
            claim.force = true;
            false
        } else if args.is(at, "justid") {
            claim.just_id = true;
            false
        } else if args.is(at, "idle") && more {
            time = claim.now.wrapping_sub(number("IDLE")?);
            true
        } else if args.is(at, "time") && more {
            time = number("TIME")?;
            true
        } else if args.is(at, "retrycount") && more {
            claim.retries = u64::try_from(number("RETRYCOUNT")?).ok();
            true
        } else if args.is(at, "lastid") && more {
            last_id = strict_id(args.get(at + 1))?;
            true
        } else {
            return Err(Error::concat(&[
                b"ERR Unrecognized XCLAIM option '",
                until_zero(args.get(at)),
                b"'",
            ]));
        };
        at += 1 + usize::from(takes_value);
    }
    // An impossible time is replaced by now: clients compute it from clocks of their own.
    claim.time = if (0..=claim.now).contains(&time) { time } else { claim.now };
    Ok(last_id)
}

/// `XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME unix-ms] [RETRYCOUNT count] [FORCE] [JUSTID]
/// [LASTID id]`: the claimed entries, or their IDs. O(log N) each.
pub fn xclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let Some((key, at)) = find_group(ctx, args, Access::Read)? else {
        return Err(no_such_group(args.get(1), args.get(2)));
    };
    let min_idle = integer(args.get(4)).map_err(|_| "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids = leading_ids(args, 5);
    let mut claim = new_claim(ctx, args, min_idle);
    let last_id = claim_options(&mut claim, args, 5 + ids.len())?;
    // A call may repeat an entry any number of times.
    let bound = ctx.output_bound();
    let (added, changes, moved) = ctx.change_stream(at, |stream, _, reply| {
        let mut moved = false;
        if let Some(group) = stream.group_mut(claim.group)
            && last_id > group.last_id
        {
            group.last_id = last_id;
            moved = true;
        }
        let Some((slot, added)) = claim.consumer(stream) else { return (false, 0, moved) };
        let (mut count, mut gone) = (0, 0);
        let header = reply.deferred_array();
        for (id, word) in ids.into_iter().zip(args.iter_from(5)) {
            if reply.buf.len() > bound {
                break;
            }
            match claim.one(stream, reply, slot, (id, word)) {
                Outcome::Claimed => count += 1,
                Outcome::Gone(was_pending) => gone += u64::from(was_pending),
                Outcome::Left => {}
            }
        }
        reply.finish_array(header, count);
        (added, count as u64 + gone, moved)
    });
    claim.declare(ctx, (key, at), added, changes, moved);
    ctx.end_beyond(bound);
    Ok(())
}

fn new_claim<'a>(ctx: &Context<'_>, args: Args<'a>, min_idle: i64) -> Claim<'a> {
    Claim {
        group: args.get(2),
        consumer: args.get(3),
        now: ctx.now(),
        min_idle,
        time: ctx.now(),
        retries: None,
        force: false,
        just_id: false,
        told: ctx.propagates().then(Vec::new),
    }
}

/// The number of pending entries examined per requested entry.
const ATTEMPTS: usize = 10;

/// The largest `COUNT`: Redis multiplies it by the size of an ID.
const MAX_COUNT: i64 = i64::MAX / 16;

/// From this count on, Redis cannot allocate memory for the IDs on any machine.
const COUNT_OF_NO_MEMORY: i64 = 1 << 43;

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`: the ID to continue with, the claimed
/// entries, and the IDs of deleted entries, which are no longer pending. O(1) for a small count.
pub fn xautoclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    // A missing key counts as a miss even if an argument is invalid.
    ctx.find(ctx.first_key(args.get(1)), Access::Read);
    let min_idle = integer(args.get(4)).map_err(|_| "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = range_start(args.get(5))?;
    let mut claim = new_claim(ctx, args, min_idle);
    let (mut count, mut at) = (100, 6);
    while at < args.len() {
        if args.is(at, "count") && at + 1 < args.len() {
            at += 1;
            let wanted = integer(args.get(at)).ok().filter(|count| (1..=MAX_COUNT).contains(count));
            count = wanted.ok_or("ERR COUNT must be > 0")?;
        } else if args.is(at, "justid") {
            claim.just_id = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let Some((key, at)) = find_group(ctx, args, Access::Inspect)? else {
        return Err(no_such_group(args.get(1), args.get(2)));
    };
    if count >= COUNT_OF_NO_MEMORY {
        return Err(Error::new(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        ));
    }
    let (added, changes) = ctx.change_stream(at, |stream, _, reply| {
        let Some((slot, added)) = claim.consumer(stream) else { return (false, 0) };
        (added, claim.walk(stream, reply, slot, start, count as usize))
    });
    claim.declare(ctx, (key, at), added, changes, false);
    Ok(())
}

impl Claim<'_> {
    /// Claims pending entries from `start` on. Returns the number of changes.
    fn walk(
        &mut self,
        stream: &mut Stream,
        reply: &mut Reply<'_>,
        slot: ConsumerSlot,
        start: Id,
        most: usize,
    ) -> u64 {
        let group = self.group;
        let next_from = |stream: &Stream, from: Id| {
            stream.group(group).and_then(|group| group.pending().range(from..).next()).map(|(id, _)| *id)
        };
        // The claimed entries follow an ID and a count that are known only at the end.
        let mut claimed = Vec::new();
        let mut entries = Reply::new(&mut claimed, reply.protocol);
        let (mut count, mut gone) = (0, Vec::new());
        let mut next = next_from(stream, start);
        let mut attempts = most.saturating_mul(ATTEMPTS);
        while let Some(id) = next
            && attempts > 0
            && count + gone.len() < most
        {
            attempts -= 1;
            let word = if self.told.is_some() { id.to_text() } else { Vec::new() };
            match self.one(stream, &mut entries, slot, (id, &word)) {
                Outcome::Claimed => count += 1,
                Outcome::Gone(_) => gone.push(id),
                Outcome::Left => {}
            }
            next = id.next().and_then(|from| next_from(stream, from));
        }
        reply.array(3);
        reply_id(reply, next.unwrap_or(Id::MIN));
        reply.array(count);
        reply.buf.extend_from_slice(&claimed);
        reply.array(gone.len());
        for id in &gone {
            reply_id(reply, *id);
        }
        (count + gone.len()) as u64
    }
}
