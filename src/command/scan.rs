//! What the `SCAN` family shares: cursors, options, and how many chains a call walks.

use super::args::Args;
use super::context::{ErrorText, SYNTAX, integer};
use crate::resp::Reply;
use crate::text::{glob, number};

/// What one of the commands iterates over, which decides what it may be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// The keys: of one type (`TYPE`).
    Keys,
    /// The fields of a hash: without their values (`NOVALUES`).
    Fields,
    /// The members of a set or of a sorted set.
    Members,
}

/// A cursor as C's `strtoul` reads it: a sign is allowed, and a negative number wraps.
pub fn parse_cursor(arg: &[u8]) -> Result<u64, ErrorText> {
    let (negative, digits) = match arg {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, arg),
    };
    let invalid = "ERR invalid cursor";
    if digits.is_empty() && !arg.is_empty() {
        return Err(invalid);
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(invalid);
        }
        let more = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        value = more.ok_or(invalid)?;
    }
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// What a call was asked for.
pub struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
    /// The type that keys must have.
    pub kind: Option<&'a [u8]>,
    /// Whether values are left out.
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from argument `first` on.
    pub fn parse(args: Args<'a>, first: usize, scanned: Scanned) -> Result<Self, ErrorText> {
        let mut options = ScanOptions { pattern: None, count: 10, kind: None, no_values: false };
        let mut i = first;
        while i < args.len() {
            if scanned == Scanned::Fields && args.is(i, "novalues") {
                options.no_values = true;
                i += 1;
                continue;
            }
            let value = if i + 1 < args.len() { args.get(i + 1) } else { return Err(SYNTAX) };
            if args.is(i, "count") {
                let count = integer(value)?;
                options.count = u64::try_from(count).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
            } else if args.is(i, "match") {
                options.pattern = Some(value).filter(|p| *p != b"*");
            } else if scanned == Scanned::Keys && args.is(i, "type") {
                options.kind = Some(value);
            } else {
                return Err(SYNTAX);
            }
            i += 2;
        }
        Ok(options)
    }

    /// Whether a key, field or member is asked for.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text, false))
    }

    /// Calls `chain` with one cursor after the other until enough was looked at; it answers with the next cursor and
    /// how many elements it has looked at. Returns the cursor for the next call.
    pub fn walk(&self, mut cursor: u64, mut chain: impl FnMut(u64) -> (u64, u64)) -> u64 {
        let mut looked = 0;
        // A sparse table must not hold the loop: as many chains as ten times the count, then a reply, if an empty one.
        let mut chains = self.count.saturating_mul(10);
        loop {
            let (next, more) = chain(cursor);
            cursor = next;
            looked += more;
            chains -= 1;
            if cursor == 0 || chains == 0 || looked >= self.count {
                return cursor;
            }
        }
    }
}

/// Replies with a cursor and `found` elements, which are written already.
pub fn reply_scan(reply: &mut Reply<'_>, cursor: u64, found: usize, elements: &[u8]) {
    let mut digits = Vec::new();
    number::push_u64(&mut digits, cursor);
    reply.array(2);
    reply.bulk(&digits);
    reply.array(found);
    reply.buf.extend_from_slice(elements);
}
