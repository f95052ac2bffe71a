//! `BITFIELD`: integers of any width up to 64 bits, anywhere in a string.
//!
//! The subcommands are parsed twice: first to find errors and the length that the string needs, before anything is
//! changed, then to execute them. So a call allocates nothing for them, however many there are.

use crate::command::args::{Args, integer};
use crate::command::bitmaps::{bit_offset, make_room};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::db::{Access, Event, Position};
use crate::types::{Kind, bits};

/// How a number is treated that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Bits that do not fit are dropped.
    Wrap,
    /// The nearest number that fits is written.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// A field's type: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldType {
    signed: bool,
    width: u32,
}

impl FieldType {
    fn parse(arg: &[u8]) -> Result<Self> {
        let (signed, widest, digits) = match arg {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => (false, 0, arg),
        };
        match integer(digits) {
            Ok(width) if (1..=widest).contains(&width) => Ok(FieldType { signed, width: width as u32 }),
            _ => Err(Error::new(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )),
        }
    }

    /// The number with the bits `raw`.
    fn number(self, raw: u64) -> i64 {
        let spare = 64 - self.width;
        if self.signed { (raw << spare) as i64 >> spare } else { raw as i64 }
    }

    /// The smallest and the largest number that fit.
    fn limits(self) -> (i64, i64) {
        let max = (u64::MAX >> (64 - self.width) >> u32::from(self.signed)) as i64;
        (if self.signed { -max - 1 } else { 0 }, max)
    }

    /// Which limit `old + increment` exceeds; `None` if it fits. `SET` passes the new value as `old` and an increment
    /// of 0.
    fn leaves(self, old: i64, increment: i64) -> Option<Side> {
        let (min, max) = self.limits();
        if !self.signed && old < 0 {
            // The value for an unsigned field is interpreted as an unsigned number.
            return Some(Side::Above);
        }
        // The first difference only wraps for numbers below `max - i64::MAX`: as in Redis, `SET i8` of the smallest
        // 64-bit numbers overflows upwards.
        if old > max || (self.width < 64 || old >= 0) && increment > max.wrapping_sub(old) {
            Some(Side::Above)
        } else if old < min || (self.width < 64 || old < 0) && increment < min.wrapping_sub(old) {
            Some(Side::Below)
        } else {
            None
        }
    }

    /// The number to write for `old + increment`; `None` if nothing is to be written.
    fn add(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.limits();
        match (self.leaves(old, increment), overflow) {
            (None, _) | (Some(_), Overflow::Wrap) => {
                let raw = old.wrapping_add(increment) as u64 & (u64::MAX >> (64 - self.width));
                Some(self.number(raw))
            }
            (Some(Side::Above), Overflow::Saturate) => Some(max),
            (Some(Side::Below), Overflow::Saturate) => Some(min),
            (Some(_), Overflow::Fail) => None,
        }
    }
}

/// The limit that a number exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

/// The operation on a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// A subcommand other than `OVERFLOW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subcommand {
    action: Action,
    field: FieldType,
    offset: u64,
    overflow: Overflow,
}

/// Iterates over the subcommands of a call; ends with the first error.
struct Subcommands<'a> {
    args: Args<'a>,
    /// See [`Context::longest_string`].
    longest: u64,
    next: usize,
    overflow: Overflow,
}

impl<'a> Subcommands<'a> {
    fn new(args: Args<'a>, longest: u64) -> Self {
        Subcommands { args, longest, next: 2, overflow: Overflow::Wrap }
    }

    /// Parses the subcommand at `self.next` and advances; `None` for an `OVERFLOW`, which has no reply.
    fn read(&mut self) -> Result<Option<Subcommand>> {
        let (args, at) = (self.args, self.next);
        let following = args.len() - at - 1;
        if args.is(at, "overflow") && following >= 1 {
            self.next += 2;
            self.overflow = if args.is(at + 1, "wrap") {
                Overflow::Wrap
            } else if args.is(at + 1, "sat") {
                Overflow::Saturate
            } else if args.is(at + 1, "fail") {
                Overflow::Fail
            } else {
                return Err("ERR Invalid OVERFLOW type specified".into());
            };
            return Ok(None);
        }
        let action: fn(i64) -> Action = if args.is(at, "get") && following >= 2 {
            |_| Action::Get
        } else if args.is(at, "set") && following >= 3 {
            Action::Set
        } else if args.is(at, "incrby") && following >= 3 {
            Action::Increment
        } else {
            return Err(SYNTAX);
        };
        let field = FieldType::parse(args.get(at + 1))?;
        let offset = bit_offset(self.longest, args.get(at + 2), field.width)?;
        let writes = action(0) != Action::Get;
        let number = if writes { integer(args.get(at + 3))? } else { 0 };
        self.next += if writes { 4 } else { 3 };
        Ok(Some(Subcommand { action: action(number), field, offset, overflow: self.overflow }))
    }
}

impl Iterator for Subcommands<'_> {
    type Item = Result<Subcommand>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.args.len() {
            match self.read() {
                Ok(None) => {}
                Ok(Some(operation)) => return Some(Ok(operation)),
                Err(mistake) => {
                    self.next = self.args.len();
                    return Some(Err(mistake));
                }
            }
        }
        None
    }
}

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment
/// …]`: an array with the number of each `GET`, the old one of each `SET`, the new one of each `INCRBY`, and null if
/// `OVERFLOW FAIL` prevented the write. O(1) for each.
pub fn bitfield(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    execute(ctx, args, false)
}

/// `BITFIELD_RO key [GET type offset …]`: an array of the numbers. O(1) for each.
pub fn bitfield_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    execute(ctx, args, true)
}

fn execute(ctx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> Result {
    let (mut count, mut room) = (0, None);
    let longest = ctx.longest_string();
    for operation in Subcommands::new(args, longest) {
        let Subcommand { action, field, offset, .. } = operation?;
        count += 1;
        if action != Action::Get {
            room = room.max(Some((offset + u64::from(field.width)).div_ceil(8) as usize));
        }
    }
    let key = ctx.first_key(args.get(1));
    // Subcommands may name the same field any number of times. All are executed, even if the client will not get the
    // reply.
    let bound = ctx.output_bound();
    let Some(len) = room else {
        let at = ctx.find_kind(key, Access::Read, Kind::String)?;
        ctx.reply.array(count);
        get_all(ctx, args, at, bound);
        ctx.end_beyond(bound);
        return Ok(());
    };
    if read_only {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    let (at, grown) = make_room(ctx, key, len)?;
    ctx.reply.array(count);
    match write_all(ctx, args, at, grown, bound) {
        // A string that became longer has changed even if overflows prevented every write. Redis does not count this.
        0 if grown => {
            ctx.changed(key, Event::Unnamed, 0);
            ctx.keyspace.journal.propagate_always();
        }
        0 => ctx.unchanged(),
        changes => ctx.changed(key, Event::SetBit, changes),
    }
    ctx.end_beyond(bound);
    Ok(())
}

/// Executes subcommands that only read, on a key that may be missing, until the output is longer than `bound`.
fn get_all(ctx: &mut Context<'_>, args: Args<'_>, at: Option<Position>, bound: usize) {
    let longest = ctx.longest_string();
    let mut reply_from = |bytes: &[u8]| {
        for Subcommand { field, offset, .. } in Subcommands::new(args, longest).flatten() {
            if ctx.reply.buf.len() > bound {
                break;
            }
            ctx.reply.integer(field.number(bits::read_field(bytes, offset, field.width)));
        }
    };
    match at {
        Some(at) => ctx.keyspace.db(ctx.session.db).get(at).value().with_bytes(reply_from),
        None => reply_from(&[]),
    }
}

/// Executes subcommands on the string at `at`, which is long enough for all of them. Returns how many changed a field,
/// or if the string has `grown` for them, how many wrote one. Stops replying when the output is longer than `bound`.
fn write_all(ctx: &mut Context<'_>, args: Args<'_>, at: Position, grown: bool, bound: usize) -> u64 {
    let longest = ctx.longest_string();
    let mut changes = 0;
    ctx.keyspace.modify(ctx.session.db, at, |entry| {
        let bytes = entry.bytes_mut(0);
        for Subcommand { action, field, offset, overflow } in Subcommands::new(args, longest).flatten() {
            let old = field.number(bits::read_field(bytes, offset, field.width));
            let new = match action {
                Action::Get => Some(old),
                Action::Set(value) => field.add(value, 0, overflow),
                Action::Increment(increment) => field.add(old, increment, overflow),
            };
            if let Some(new) = new
                && action != Action::Get
            {
                bits::write_field(bytes, offset, field.width, new as u64);
                changes += u64::from(grown || new != old);
            }
            if ctx.reply.buf.len() > bound {
                continue;
            }
            match new {
                None => ctx.reply.null(),
                Some(new) => {
                    ctx.reply.integer(if matches!(action, Action::Increment(_)) { new } else { old });
                }
            }
        }
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(text: &str) -> FieldType {
        FieldType::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn types_are_i1_to_i64_and_u1_to_u63() {
        assert_eq!(field("i64"), FieldType { signed: true, width: 64 });
        assert_eq!(field("u63").limits(), (0, i64::MAX));
        assert_eq!(field("i64").limits(), (i64::MIN, i64::MAX));
        assert_eq!(field("i1").limits(), (-1, 0));
        assert_eq!(field("u1").limits(), (0, 1));
        for wrong in ["", "i", "u", "i0", "u0", "i65", "u64", "I8", "8", "i08", "i+8", "i8 ", "i-1", "s8"] {
            assert!(FieldType::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_smallest_numbers_overflow_upwards_as_in_redis() {
        let sat = |value| field("i8").add(value, 0, Overflow::Saturate);
        assert_eq!(sat(i64::MIN), Some(127));
        assert_eq!(sat(i64::MIN + 127), Some(127));
        assert_eq!(sat(i64::MIN + 128), Some(-128));
        assert_eq!(field("u8").add(-1, 0, Overflow::Saturate), Some(255));
    }

    proptest! {
        #[test]
        fn adding_agrees_with_exact_arithmetic(signed: bool, width in 1u32..=64, old: i64, increment: i64) {
            let field = FieldType { signed, width: if signed { width } else { width.min(63) } };
            let (min, max) = field.limits();
            let old = field.number(old as u64 & (u64::MAX >> (64 - field.width)));
            let exact = i128::from(old) + i128::from(increment);
            let clamped = exact.clamp(i128::from(min), i128::from(max)) as i64;
            let fits = i128::from(clamped) == exact;
            prop_assert_eq!(field.add(old, increment, Overflow::Fail), fits.then_some(clamped));
            prop_assert_eq!(field.add(old, increment, Overflow::Saturate), Some(clamped));
            let wrapped = field.add(old, increment, Overflow::Wrap).unwrap();
            prop_assert_eq!((exact - i128::from(wrapped)).rem_euclid(1 << field.width), 0);
            prop_assert!((min..=max).contains(&wrapped));
        }
    }
}
