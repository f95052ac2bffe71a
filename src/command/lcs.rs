//! `LCS`: the longest common subsequence of two strings.
//!
//! The textbook algorithm fills a table of lengths with a row for each byte of one string and a column for each byte of
//! the other. Neighbours in a row differ by 0 or 1, so here a row has one bit for each column, and 64 columns are
//! computed with a few operations on words: the bits that carry in an addition mark where a longer subsequence begins
//! (Crochemore, Iliopoulos, Pinzon and Reid, "A fast and practical bit-vector algorithm for the longest common
//! subsequence problem", 2001; Hyyrö, "Bit-parallel LCS-length computation revisited", 2004).
//!
//! ```text
//!  lengths   0 1 1 2 2 3      at (i, j), where the bytes differ:
//!  rises      1 0 1 0 1         rise    the length above is greater than the one on the left: go up
//!  bits kept  0 1 0 1 0         no rise go left, also when both are the same
//! ```
//!
//! Walking back needs only these bits, so the matches are the ones that Redis finds, with 1/32 of its memory and about
//! 1/30 of its time. Redis's limit is kept: four bytes for each pair of bytes must fit in `proto-max-bulk-len`.

use crate::alloc::attempt;
use crate::command::args::{Args, integer};
use crate::command::context::Context;
use crate::command::error::{Error, Result, SYNTAX};
use crate::db::{Access, Key};
use crate::resp::Reply;
use crate::types::{Block, Kind};

const NO_MEMORY: Error = Error::new("ERR Insufficient memory, failed allocating transient memory for LCS");
const PAST_LIMIT: Error =
    Error::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const TOO_LONG: Error = Error::new("ERR String too long for LCS");

/// The options of a call.
#[derive(Default)]
struct LcsOptions {
    length: bool,
    ranges: bool,
    with_lengths: bool,
    shortest: u64,
}

impl LcsOptions {
    fn parse(args: Args<'_>) -> Result<Self> {
        let mut options = LcsOptions::default();
        let mut i = 3;
        while i < args.len() {
            if args.is(i, "idx") {
                options.ranges = true;
            } else if args.is(i, "len") {
                options.length = true;
            } else if args.is(i, "withmatchlen") {
                options.with_lengths = true;
            } else if args.is(i, "minmatchlen") && i + 1 < args.len() {
                i += 1;
                options.shortest = integer(args.get(i))?.max(0) as u64;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        if options.ranges && options.length {
            return Err("ERR If you want both the length and indexes, please just use IDX.".into());
        }
        Ok(options)
    }
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`: the subsequence; with `LEN` its length; with `IDX` a map
/// of the matching ranges and the length. O(N × M) / 64.
pub fn lcs(ctx: &mut Context<'_>, args: Args<'_>) -> Result {
    let a = find(ctx, ctx.first_key(args.get(1)));
    let b = find(ctx, ctx.key(args.get(2)));
    let (a, b) = (a?, b?);
    let options = LcsOptions::parse(args)?;
    check_memory(a.len() as u64, b.len() as u64, ctx.config.proto_max_bulk_len)?;
    if options.length {
        let length = length(&a, &b).ok_or(NO_MEMORY)?;
        ctx.reply.integer(length as i64);
        return Ok(());
    }
    let table = Table::new(&a, &b).ok_or(NO_MEMORY)?;
    if options.ranges {
        reply_ranges(&mut ctx.reply, &table, &options);
    } else {
        ctx.reply.bulk(&table.subsequence());
    }
    Ok(())
}

/// The bytes of a string in a block of their own, since the lookup of the other key can move this entry. Empty if the
/// key is missing.
fn find(ctx: &mut Context<'_>, key: Key<'_>) -> Result<Block> {
    let Some(at) = ctx.find(key, Access::Read) else { return Ok(Block::with_capacity(0)) };
    let entry = ctx.db().get(at);
    if entry.kind() != Kind::String {
        return Err("ERR The specified keys must contain string values".into());
    }
    Ok(entry.to_block())
}

/// Refuses the inputs that Redis refuses: it allocates a table with a 32-bit length for each pair of prefixes.
fn check_memory(a: u64, b: u64, limit: u64) -> Result {
    const LONGEST: u64 = u32::MAX as u64 - 2;
    if a > LONGEST || b > LONGEST {
        return Err(TOO_LONG);
    }
    match ((a + 1) * (b + 1)).checked_mul(4) {
        None => Err(NO_MEMORY),
        Some(bytes) if bytes > limit => Err(PAST_LIMIT),
        Some(_) => Ok(()),
    }
}

fn reply_ranges(reply: &mut Reply<'_>, table: &Table<'_>, options: &LcsOptions) {
    reply.map(2);
    reply.bulk(b"matches");
    let matches = reply.deferred_array();
    let mut count = 0;
    for Match { a, b, len } in table.matches().filter(|m| m.len as u64 >= options.shortest) {
        reply.array(if options.with_lengths { 3 } else { 2 });
        for start in [a, b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + len - 1) as i64);
        }
        if options.with_lengths {
            reply.integer(len as i64);
        }
        count += 1;
    }
    reply.finish_array(matches, count);
    reply.bulk(b"len");
    reply.integer(table.length() as i64);
}

/// For each byte that occurs in both strings, a mask with a bit for each column: where the second string has this byte.
struct Columns {
    /// The index of the byte's mask plus one, or 0 if it has none.
    places: [u16; 256],
    masks: Vec<u64>,
    words: usize,
}

impl Columns {
    /// Returns `None` if there is not enough memory.
    fn new(a: &[u8], b: &[u8]) -> Option<Self> {
        let mut in_a = [false; 256];
        for byte in a {
            in_a[usize::from(*byte)] = true;
        }
        let (mut places, mut count) = ([0; 256], 0);
        for byte in b {
            let byte = usize::from(*byte);
            if in_a[byte] && places[byte] == 0 {
                count += 1;
                places[byte] = count;
            }
        }
        let words = b.len().div_ceil(64);
        let mut masks = Vec::new();
        attempt(|| masks.try_reserve_exact(usize::from(count) * words)).ok()?;
        masks.resize(usize::from(count) * words, 0);
        for (column, byte) in b.iter().enumerate() {
            if let Some(place) = usize::from(places[usize::from(*byte)]).checked_sub(1) {
                masks[place * words + column / 64] |= 1 << (column % 64);
            }
        }
        Some(Columns { places, masks, words })
    }

    /// Turns the bits of a row into those of the next one, which is the row of `byte`.
    fn advance(&self, row: &mut [u64], byte: u8) {
        let Some(place) = usize::from(self.places[usize::from(byte)]).checked_sub(1) else { return };
        let mut carry = false;
        for (bits, mask) in row.iter_mut().zip(&self.masks[place * self.words..]) {
            let (sum, over) = bits.overflowing_add(*bits & mask);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            carry = over | over_again;
            *bits = sum | *bits & !mask;
        }
    }
}

/// How much a row rises from its left end to its right end: the length at the right end.
fn rises(row: &[u64]) -> u64 {
    row.iter().map(|bits| u64::from(bits.count_zeros())).sum()
}

/// The length of the longest common subsequence. Allocates a single row; `None` if there is no memory for it.
fn length(a: &[u8], b: &[u8]) -> Option<u64> {
    let columns = Columns::new(a, b)?;
    let mut row = Vec::new();
    attempt(|| row.try_reserve_exact(columns.words)).ok()?;
    row.resize(columns.words, u64::MAX);
    for byte in a {
        columns.advance(&mut row, *byte);
    }
    Some(rises(&row))
}

/// The rows for all bytes of `a`; a bit is clear where the length rises. Bits past the last column stay set.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    rows: Vec<u64>,
    words: usize,
}

impl<'a> Table<'a> {
    /// Returns `None` if there is not enough memory.
    fn new(a: &'a [u8], b: &'a [u8]) -> Option<Self> {
        let columns = Columns::new(a, b)?;
        let words = columns.words;
        let mut rows = Vec::new();
        let size = a.len().checked_mul(words)?;
        attempt(|| rows.try_reserve_exact(size)).ok()?;
        for (i, byte) in a.iter().enumerate() {
            if i == 0 {
                rows.resize(words, u64::MAX);
            } else {
                rows.extend_from_within((i - 1) * words..);
            }
            columns.advance(&mut rows[i * words..], *byte);
        }
        Some(Table { a, b, rows, words })
    }

    fn length(&self) -> u64 {
        rises(&self.rows[self.rows.len().saturating_sub(self.words)..])
    }

    /// Whether the length for the first `i` and `j` bytes is greater than that for the first `i` and `j - 1`.
    fn rises_at(&self, i: usize, j: usize) -> bool {
        self.rows[(i - 1) * self.words + (j - 1) / 64] >> ((j - 1) % 64) & 1 == 0
    }

    /// The runs of bytes in the common subsequence, from the last to the first.
    fn matches(&self) -> impl Iterator<Item = Match> {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        std::iter::from_fn(move || {
            let mut len = 0;
            while i > 0 && j > 0 {
                if self.a[i - 1] == self.b[j - 1] {
                    (i, j, len) = (i - 1, j - 1, len + 1);
                } else if len > 0 {
                    break;
                } else if self.rises_at(i, j) {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
            (len > 0).then_some(Match { a: i, b: j, len })
        })
    }

    fn subsequence(&self) -> Vec<u8> {
        let backwards = self.matches().flat_map(|m| self.a[m.a..m.a + m.len].iter().rev().copied());
        let mut bytes: Vec<u8> = backwards.collect();
        bytes.reverse();
        bytes
    }
}

/// A run of bytes in both strings: where it begins in each, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook's table, walked back so that the second string is preferred if both are equally good.
    fn textbook(a: &[u8], b: &[u8]) -> (u64, Vec<u8>) {
        let mut table = vec![vec![0u64; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut common) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                common.push(a[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (table[a.len()][b.len()], common)
    }

    #[test]
    fn the_documented_example_has_its_two_matches() {
        let table = Table::new(b"ohmytext", b"mynewtext").unwrap();
        assert_eq!(table.length(), 6);
        assert_eq!(table.subsequence(), b"mytext");
        let matches: Vec<Match> = table.matches().collect();
        assert_eq!(matches, [Match { a: 4, b: 5, len: 4 }, Match { a: 2, b: 0, len: 2 }]);
    }

    #[test]
    fn the_table_that_redis_would_need_has_to_fit() {
        assert!(check_memory(16_383, 8_191, 1 << 29).is_ok());
        assert_eq!(check_memory(16_384, 8_191, 1 << 29), Err(PAST_LIMIT));
        assert_eq!(check_memory(u64::from(u32::MAX) - 1, 0, u64::MAX), Err(TOO_LONG));
        let longest = u64::from(u32::MAX) - 2;
        assert_eq!(check_memory(longest, longest, i64::MAX as u64), Err(NO_MEMORY));
    }

    proptest! {
        #[test]
        fn the_bits_find_the_subsequence_that_the_table_finds(
            a in prop::collection::vec(0u8..5, 0..200), b in prop::collection::vec(0u8..5, 0..200)
        ) {
            let (expected, common) = textbook(&a, &b);
            let table = Table::new(&a, &b).unwrap();
            prop_assert_eq!(table.length(), expected);
            prop_assert_eq!(length(&a, &b), Some(expected));
            prop_assert_eq!(table.subsequence(), common);
            let total: usize = table.matches().map(|m| m.len).sum();
            prop_assert_eq!(total as u64, expected);
        }
    }
}
