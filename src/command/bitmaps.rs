//! Bitmaps: strings as arrays of bits, where bit 0 is the highest bit of the first byte.
//!
//! The commands turn their arguments into ranges of bits; the loops over the bytes are in [`bits`] and run at the speed
//! of memory. `BITFIELD` is in [`crate::command::bitfield`].

use std::ops::Range;

use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Result, SYNTAX, WRONG_TYPE};
use crate::command::strings;
use crate::db::{Access, Event, Key, Position};
use crate::text::number;
use crate::types::bits::{self, BitOperation};
use crate::types::{Block, Entry, Kind};

/// Parses a bit offset. If `width` is not 0, `#n` stands for the `n`th field of that many bits. The offset must be
/// within a string of `longest` bytes.
pub(super) fn bit_offset(longest: u64, arg: &[u8], width: u32) -> Result<u64> {
    let (digits, unit) = match arg {
        [b'#', digits @ ..] if width > 0 => (digits, i64::from(width)),
        digits => (digits, 1),
    };
    // A product of more than 64 bits wraps, as in Redis; the result must be in range.
    number::parse_i64(digits)
        .and_then(|offset| u64::try_from(offset.wrapping_mul(unit)).ok())
        .filter(|offset| offset / 8 < longest)
        .ok_or("ERR bit offset is not an integer or out of range".into())
}

/// Extends the string under `key` to at least `len` bytes, and creates it if it is missing. Returns its position, and
/// whether it is new or longer than before. The caller declares the change.
pub(super) fn make_room(ctx: &mut Context<'_>, key: Key<'_>, len: usize) -> Result<(Position, bool)> {
    let found = ctx.find_kind(key, Access::Write, Kind::String)?;
    let old = found.map_or(0, |at| ctx.db().get(at).string_len());
    strings::check_possible(ctx, old, len)?;
    let Some(at) = found else {
        return Ok((ctx.insert(key, Entry::zeroed(key.name, len, None)), true));
    };
    let new = ctx.keyspace.modify(key.db, at, |entry| entry.bytes_mut(len).len());
    Ok((at, new > old))
}

/// `SETBIT key offset value`: the previous bit. O(1), but O(N) when the string grows.
pub fn setbit(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let offset = bit_offset(ctx.longest_string(), args.get(2), 0)?;
    let on = match number::parse_i64(args.get(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let key = ctx.first_key(args.get(1));
    let (at, grown) = make_room(ctx, key, (offset / 8) as usize + 1)?;
    let old = ctx.keyspace.modify(key.db, at, |entry| bits::set(entry.bytes_mut(0), offset, on));
    if grown || old != on {
        ctx.changed(key, Event::SetBit, 1);
    } else {
        ctx.unchanged();
    }
    ctx.reply.integer(i64::from(old));
    Ok(())
}

/// `GETBIT key offset`: 0 or 1; 0 past the end. O(1).
pub fn getbit(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let offset = bit_offset(ctx.longest_string(), args.get(2), 0)?;
    let at = ctx.find_kind(ctx.first_key(args.get(1)), Access::Read, Kind::String)?;
    let bit = at.is_some_and(|at| ctx.db().get(at).value().with_bytes(|bytes| bits::get(bytes, offset)));
    ctx.reply.integer(i64::from(bit));
    Ok(())
}

/// The unit of the numbers of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    /// Parses the unit in argument `index`, which defaults to bytes.
    fn parse(args: Args<'_>, index: usize) -> Result<Self> {
        if index >= args.len() {
            Ok(Unit::Byte)
        } else if args.is(index, "bit") {
            Ok(Unit::Bit)
        } else if args.is(index, "byte") {
            Ok(Unit::Byte)
        } else {
            Err(SYNTAX)
        }
    }

    /// The bits from `start` to `end`, both included, of a string of `len` bytes; negative ones count from the end.
    fn range(self, start: i64, end: i64, len: usize) -> Range<u64> {
        let (total, scale) = if self == Unit::Bit { (len as i64 * 8, 1) } else { (len as i64, 8) };
        let from_front = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
        let (first, last) = (from_front(start), from_front(end).min(total - 1));
        if first > last { 0..0 } else { first as u64 * scale..(last as u64 + 1) * scale }
    }
}

/// `BITCOUNT key [start end [BYTE | BIT]]`: the number of set bits. O(N).
pub fn bitcount(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    // Redis checks the key first, and if it is missing checks nothing else.
    let Some(at) = ctx.find_kind(ctx.first_key(args.get(1)), Access::Read, Kind::String)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let (start, end, unit) = match args.len() {
        2 => (0, -1, Unit::Byte),
        4 | 5 => {
            let (start, end) = (integer(args.get(2))?, integer(args.get(3))?);
            if start < 0 && end < 0 && start > end {
                ctx.reply.integer(0);
                return Ok(());
            }
            (start, end, Unit::parse(args, 4)?)
        }
        _ => return Err(SYNTAX),
    };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let ones = entry.value().with_bytes(|bytes| bits::count_in(bytes, unit.range(start, end, bytes.len())));
    ctx.reply.integer(ones as i64);
    Ok(())
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`: the position of the first bit that is set or clear, or -1. Without an
/// end, the bits after the string count as clear. O(N).
pub fn bitpos(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let bit = match integer(args.get(2))? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let Some(at) = ctx.find_kind(ctx.first_key(args.get(1)), Access::Read, Kind::String)? else {
        ctx.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = if args.len() > 3 { integer(args.get(3))? } else { 0 };
    let unit = Unit::parse(args, 5)?;
    let end = if args.len() > 4 { integer(args.get(4))? } else { -1 };
    let entry = ctx.keyspace.db(ctx.session.db).get(at);
    let found = entry.value().with_bytes(|bytes| {
        let range = unit.range(start, end, bytes.len());
        let found = bits::find_in(bytes, range.clone(), bit);
        let past_the_end = (!bit && args.len() < 5 && !range.is_empty()).then_some(range.end);
        found.or(past_the_end)
    });
    ctx.reply.integer(found.map_or(-1, |at| at as i64));
    Ok(())
}

/// `BITOP AND | OR | XOR destination key [key …]`, `BITOP NOT destination key`: stores the combination of the strings,
/// where shorter ones are padded with zeroes, and replies with its length; an empty result deletes the destination.
/// O(N).
pub fn bitop(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let names = [
        ("and", BitOperation::And),
        ("or", BitOperation::Or),
        ("xor", BitOperation::Xor),
        ("not", BitOperation::Not),
    ];
    let named = names.iter().find(|(name, _)| args.is(1, name));
    let operation = named.map(|(_, operation)| *operation).ok_or(SYNTAX)?;
    if operation == BitOperation::Not && args.len() != 4 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let mut sources = Sources::find(ctx, args)?;
    let (key, len) = (ctx.first_key(args.get(2)), sources.longest);
    if len > 0 {
        let destination = ctx.find(key, Access::Write);
        let (mut target, seeded) = sources.target(ctx, destination, operation);
        bits::combine(operation, target.make_mut(), seeded, &sources.others);
        strings::put_block(ctx, key, destination, target);
    } else {
        ctx.keyspace.put_result(key, None, Event::Set);
    }
    ctx.reply.integer(len as i64);
    Ok(())
}

/// The sources of `BITOP`: shared large values, copies of those inside entries, and how often the destination itself is
/// among them. The destination is not shared, so it can be written in place.
struct Sources {
    others: Vec<Block>,
    destination: usize,
    longest: usize,
}

impl Sources {
    fn find(ctx: &mut Context<'_>, args: Args<'_>) -> Result<Self> {
        let mut sources = Sources { others: Vec::new(), destination: 0, longest: 0 };
        let mut refused = false;
        ctx.for_each_key(args, 3, 1, |ctx, _, key| {
            // After the first value that is not a string, no more keys are looked up.
            if refused {
                return;
            }
            let Some(at) = ctx.find(key, Access::Read) else {
                sources.others.push(Block::with_capacity(0));
                return;
            };
            let entry = ctx.keyspace.db(ctx.session.db).get(at);
            if entry.kind() != Kind::String {
                refused = true;
                return;
            }
            sources.longest = sources.longest.max(entry.string_len());
            if key.name == args.get(2) {
                sources.destination += 1;
            } else {
                sources.others.push(entry.to_block());
            }
        });
        if refused { Err(WRONG_TYPE) } else { Ok(sources) }
    }

    /// Returns a block of the result's length, and whether it already contains one of the sources. The destination's
    /// own block is used if it has a fitting size and no client's output shares it: writing to mapped memory is several
    /// times faster than allocating new pages. Otherwise the destination counts as another source.
    fn target(
        &mut self,
        ctx: &mut Context<'_>,
        at: Option<Position>,
        operation: BitOperation,
    ) -> (Block, bool) {
        let Some(at) = at else { return (Block::zeroed(self.longest), false) };
        let entry = ctx.keyspace.db(ctx.session.db).get(at);
        let fits = |block: &Block| {
            let capacity = block.capacity();
            !block.is_shared() && capacity >= self.longest && capacity / 2 <= self.longest
        };
        if entry.kind() == Kind::String && entry.block().is_some_and(fits) {
            // An even number of equal sources adds nothing to a XOR.
            let seeded =
                self.destination > 0 && (operation != BitOperation::Xor || self.destination % 2 == 1);
            let block = ctx.keyspace.modify(ctx.session.db, at, Entry::take_block);
            let mut block = block.expect("it was seen to be there");
            block.resize_zeroed(self.longest);
            return (block, seeded);
        }
        self.others.extend((0..self.destination).map(|_| entry.to_block()));
        (Block::zeroed(self.longest), false)
    }
}
