//! The common parts of `SCAN`, `SSCAN`, `HSCAN` and `ZSCAN`: cursor, options, when a call stops, the reply.

use crate::command::args::{Args, integer};
use crate::command::error::{Result, SYNTAX};
use crate::resp::Reply;
use crate::text::{glob, number};

/// Parses a cursor as C's `strtoul` does: a sign is allowed, and a negative number wraps.
pub fn parse_cursor(arg: &[u8]) -> Option<u64> {
    let (negative, digits) = match arg {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, arg),
    };
    if digits.is_empty() {
        return arg.is_empty().then_some(0);
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The bytes of a short element in a reply, and the most elements that room is made for in advance.
const ELEMENT_BYTES: usize = 48;
const MOST_ROOM: u64 = 256;

/// The options of a scan.
pub struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
    /// `TYPE`, for `SCAN` alone.
    pub kind: Option<&'a [u8]>,
    /// `NOVALUES`, for `HSCAN` alone.
    pub no_values: bool,
}

/// Options that only one of the commands takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// None.
    None,
    /// `TYPE type`.
    Type,
    /// `NOVALUES`.
    NoValues,
}

impl<'a> ScanOptions<'a> {
    /// Parses the arguments from `first` on.
    pub fn parse(args: Args<'a>, first: usize, extra: Extra) -> Result<Self> {
        let mut options = ScanOptions { pattern: None, count: 10, kind: None, no_values: false };
        let mut i = first;
        while i < args.len() {
            if extra == Extra::NoValues && args.is(i, "novalues") {
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
            } else if extra == Extra::Type && args.is(i, "type") {
                options.kind = Some(value);
            } else {
                return Err(SYNTAX);
            }
            i += 2;
        }
        Ok(options)
    }

    /// Whether the pattern, if there is one, matches.
    #[inline]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }

    /// Room for the replies of `COUNT` short elements, which otherwise grows several times: that takes longer than the walk.
    pub fn room(&self) -> Vec<u8> {
        Vec::with_capacity(self.count.min(MOST_ROOM) as usize * ELEMENT_BYTES)
    }

    /// Calls `visit` until `COUNT` elements have been visited. `visit` visits one probe chain and adds the number of
    /// its elements. Returns the cursor for the next call. Also stops after ten times `COUNT` chains, even if the reply
    /// is empty, so that a sparse table does not block the loop.
    pub fn walk(&self, mut cursor: u64, mut visit: impl FnMut(u64, &mut u64) -> u64) -> u64 {
        let mut looked = 0;
        let mut chains = self.count.saturating_mul(10);
        loop {
            cursor = visit(cursor, &mut looked);
            chains -= 1;
            if cursor == 0 || chains == 0 || looked >= self.count {
                return cursor;
            }
        }
    }
}

/// Replies with the cursor and `count` elements, whose replies are in `elements`.
pub fn reply_scan(reply: &mut Reply<'_>, cursor: u64, count: usize, elements: &[u8]) {
    let mut digits = Vec::new();
    number::push_u64(&mut digits, cursor);
    reply.array(2);
    reply.bulk(&digits);
    reply.array(count);
    reply.buf.extend_from_slice(elements);
}
