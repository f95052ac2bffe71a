//! LZF (Marc Lehmann's format): the compression of strings in DUMP payloads and RDB files.
//!
//! ```text
//!  000lllll                     l + 1 literal bytes follow                      (1 to 32)
//!  lllooooo oooooooo            copy l + 2 bytes from o + 1 bytes back          (3 to 8, up to 8192 back)
//!  111ooooo llllllll oooooooo   the same with l + 9 bytes                       (9 to 264)
//! ```
//!
//! The compressor has a table from a hash of three bytes to where they were last seen. When they occur again, the match
//! that starts there is extended and used, without a search for a better one. Which matches it finds depends on the
//! hash and on which positions enter the table. Both, and the checks that give up when the output becomes too long, are
//! those of Redis' library, so the compressed bytes are the same.
//!
//! The table takes 256 KiB, more than most compressed strings. Each thread keeps one and never clears it: positions
//! continue from one string to the next, and those below the start of the current string count as empty. A short string
//! in which no hash occurs twice skips the table: nothing matches, so the string cannot become shorter.
//!
//! Costs: compression 250 to 500 MB/s, decompression 1 GB/s and more. The decompressor allocates the requested length
//! only after checking that the input can be that long: at most 88 bytes per byte of input.

use std::cell::RefCell;

/// The longest run of literal bytes.
const MAX_LITERALS: usize = 32;
/// How far back a match may begin.
const MAX_OFFSET: usize = 1 << 13;
/// The longest match.
const MAX_MATCH: usize = 264;
/// The bytes of the shortest match, and of what the table hashes.
const MIN_MATCH: usize = 3;

const SLOTS: usize = 1 << 16;

/// Where each hash was last seen: `base` plus the position in the string. Values not above `base` are from an earlier
/// string, or the first byte, at which no match may start.
struct Positions {
    slots: Box<[u32; SLOTS]>,
    base: u32,
}

thread_local! {
    static POSITIONS: RefCell<Option<Positions>> = const { RefCell::new(None) };
}

/// Appends the compressed `input` to `out` and returns `true` if that takes no more than about `most` bytes; otherwise
/// leaves `out` unchanged and returns `false`.
pub fn compress(input: &[u8], out: &mut Vec<u8>, most: usize) -> bool {
    let hopeless = most < input.len() && input.len() <= SHORT && !repeats(input);
    !hopeless && attempt(input, out, most)
}

fn attempt(input: &[u8], out: &mut Vec<u8>, most: usize) -> bool {
    let Ok(len) = u32::try_from(input.len()) else { return false };
    let start = out.len();
    let fits = POSITIONS.with_borrow_mut(|positions| {
        let positions = positions.get_or_insert_with(|| Positions {
            slots: vec![0; SLOTS].try_into().expect("as many as a slot has numbers"),
            base: 0,
        });
        if positions.base.checked_add(len).is_none() {
            positions.slots.fill(0);
            positions.base = 0;
        }
        let fits = Compressor { positions, input, out, start, most }.run();
        positions.base += len;
        fits
    });
    if !fits {
        out.truncate(start);
    }
    fits
}

/// The longest input for which [`repeats`] is worth calling: it is rarely wrong up to this length.
const SHORT: usize = 64;

/// Whether three bytes may occur twice in a short input. `false` is certain: no hash occurs twice. `true` is wrong about
/// once in twenty times for 32 different bytes.
fn repeats(input: &[u8]) -> bool {
    let mut seen = [0_u64; 128];
    input.windows(MIN_MATCH).any(|three| {
        let hash = hash(three_bytes(three, 0));
        let word = &mut seen[usize::from(hash >> 6) % 128];
        let bit = 1 << (hash % 64);
        let before = *word;
        *word |= bit;
        before & bit != 0
    })
}

/// The slot of a hash of three bytes.
#[inline]
fn hash(three: u32) -> u16 {
    (three >> 8).wrapping_sub(three.wrapping_mul(5)) as u16
}

struct Compressor<'a> {
    positions: &'a mut Positions,
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    start: usize,
    most: usize,
}

impl Compressor<'_> {
    /// Compresses the input and returns whether it fitted.
    fn run(&mut self) -> bool {
        let input = self.input;
        let (mut at, mut literals) = (0, 0);
        while at + MIN_MATCH <= input.len() {
            let three = three_bytes(input, at);
            // The bytes written so far, and the pending run with its length byte.
            let used = self.out.len() - self.start + 1 + (at - literals);
            if let Some(before) = self.exchange(three, at) {
                if used + 4 - usize::from(at == literals) >= self.most {
                    return false;
                }
                let len = match_len(input, before, at);
                self.push_literals(literals..at);
                self.push_match(at - before - 1, len);
                at += len;
                literals = at;
                if at + MIN_MATCH <= input.len() {
                    self.exchange(three_bytes(input, at - 2), at - 2);
                    self.exchange(three_bytes(input, at - 1), at - 1);
                }
            } else {
                if used >= self.most {
                    return false;
                }
                at += 1;
                if at - literals == MAX_LITERALS {
                    self.push_literals(literals..at);
                    literals = at;
                }
            }
        }
        if self.out.len() - self.start + 1 + (at - literals) + MIN_MATCH > self.most {
            return false;
        }
        for run in input[literals..].chunks(MAX_LITERALS) {
            self.out.push(run.len() as u8 - 1);
            self.out.extend_from_slice(run);
        }
        true
    }

    /// Records that `three` bytes are at `at`, and returns their previous position if a match may start there.
    #[inline]
    fn exchange(&mut self, three: u32, at: usize) -> Option<usize> {
        let Positions { slots, base } = &mut *self.positions;
        // Sixteen bits: an index that needs no bounds check.
        let seen = std::mem::replace(&mut slots[usize::from(hash(three))], *base + at as u32);
        // Check the distance first: a short enough distance is rare and predictable; a non-empty slot is neither.
        let distance = (*base + at as u32).wrapping_sub(seen);
        let near = distance <= MAX_OFFSET as u32 && seen > *base;
        let before = at.wrapping_sub(distance as usize);
        (near && three_bytes(self.input, before) == three).then_some(before)
    }

    #[inline]
    fn push_literals(&mut self, range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.out.push(range.len() as u8 - 1);
            self.out.extend_from_slice(&self.input[range]);
        }
    }

    #[inline]
    fn push_match(&mut self, offset: usize, len: usize) {
        let (high, low) = ((offset >> 8) as u8, offset as u8);
        match len - 2 {
            short @ ..7 => self.out.extend_from_slice(&[(short as u8) << 5 | high, low]),
            long => self.out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8, low]),
        }
    }
}

/// The three bytes from `at` on, the first one highest.
#[inline]
fn three_bytes(input: &[u8], at: usize) -> u32 {
    match input[at..] {
        [a, b, c, ..] => u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c),
        _ => unreachable!("three bytes are left"),
    }
}

/// The length of the match between `at` and `before`, where at least three bytes match.
#[inline]
fn match_len(input: &[u8], before: usize, at: usize) -> usize {
    // As in the library: a match does not reach into the last two bytes, unless it is at most nineteen bytes long.
    let most = (input.len() - at - 2).min(MAX_MATCH);
    let most = if most > 16 { most.max(19) } else { most.max(MIN_MATCH) };
    let (old, new) = (&input[before + MIN_MATCH..before + most], &input[at + MIN_MATCH..at + most]);
    let (old_words, old_rest) = old.as_chunks::<8>();
    let (new_words, new_rest) = new.as_chunks::<8>();
    for (index, (old, new)) in old_words.iter().zip(new_words).enumerate() {
        let difference = u64::from_le_bytes(*old) ^ u64::from_le_bytes(*new);
        if difference != 0 {
            return MIN_MATCH + index * 8 + difference.trailing_zeros() as usize / 8;
        }
    }
    let rest = old_rest.iter().zip(new_rest).take_while(|(old, new)| old == new).count();
    MIN_MATCH + old_words.len() * 8 + rest
}

/// The most output bytes per input byte: the longest match takes three bytes.
const MOST_FOR_A_BYTE: usize = MAX_MATCH / 3;

/// Decompresses `input` to `len` bytes. Returns `None` if it is malformed or has another length.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > input.len().saturating_mul(MOST_FOR_A_BYTE) {
        return None;
    }
    let mut out = vec![0; len];
    let (mut at, mut to) = (0, 0);
    while let Some(&control) = input.get(at) {
        at += 1;
        if control < MAX_LITERALS as u8 {
            let count = usize::from(control) + 1;
            if let (Some(from), Some(into)) = (input[at..].first_chunk(), out[to..].first_chunk_mut()) {
                // Always copies the longest run; the surplus is overwritten by what follows.
                let from: &[u8; MAX_LITERALS] = from;
                *into = *from;
            } else {
                out.get_mut(to..to + count)?.copy_from_slice(input.get(at..at + count)?);
            }
            at += count;
            to += count;
        } else {
            let mut count = usize::from(control >> 5) + 2;
            if count == 9 {
                count += usize::from(*input.get(at)?);
                at += 1;
            }
            let offset = (usize::from(control & 0x1f) << 8 | usize::from(*input.get(at)?)) + 1;
            at += 1;
            copy_match(&mut out, to, to.checked_sub(offset)?, count)?;
            to += count;
        }
    }
    (to == len).then_some(out)
}

/// Copies `count` bytes from `from` to `to`; where the two overlap, bytes that were just written are read again.
#[inline]
fn copy_match(out: &mut [u8], to: usize, from: usize, count: usize) -> Option<()> {
    const WORD: usize = 16;
    if to + count > out.len() {
        return None;
    }
    if to - from >= WORD && to + count.next_multiple_of(WORD) <= out.len() {
        let mut done = 0;
        while done < count {
            out.copy_within(from + done..from + done + WORD, to + done);
            done += WORD;
        }
        return Some(());
    }
    // A short distance means a repeating pattern; each copy doubles it.
    let mut done = 0;
    while done < count {
        let ready = (to + done - from).min(count - done);
        out.copy_within(from..from + ready, to + done);
        done += ready;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compressed(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"kept".to_vec();
        let fits = compress(input, &mut out, input.len().saturating_sub(4));
        assert!(out.starts_with(b"kept") && (fits || out == b"kept"));
        fits.then(|| out.split_off(4))
    }

    #[test]
    fn a_repeated_text_is_compressed_as_by_redis() {
        // From DUMP of Redis 7.0.15, without the header.
        let cases: [(&[u8], &[u8]); 4] = [
            (&[b'a'; 21], b"\x01aa\xe0\x0a\x00"),
            (&[b'a'; 100], b"\x01aa\xe0W\x00\x01aa"),
            (b"abcabcabcabcabcabcabcabc", b"\x03abca\xe0\x0a\x02\x00c"),
            (b"hello hello hello hello!!", b"\x06hello h\xe0\x07\x05\x01!!"),
        ];
        for (input, expected) in cases {
            assert_eq!(compressed(input).as_deref(), Some(expected), "{}", input.escape_ascii());
            assert_eq!(decompress(expected, input.len()).as_deref(), Some(input));
        }
    }

    #[test]
    fn text_that_does_not_become_shorter_is_left_alone() {
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..all.len() {
            assert_eq!(compressed(&all[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn the_same_string_is_compressed_the_same_whatever_came_before() {
        let text = b"one two three one two three four".repeat(50);
        let first = compressed(&text);
        for before in 0..200 {
            compressed(&text[before..]);
            assert_eq!(compressed(&text), first);
        }
    }

    #[test]
    fn malformed_input_is_refused() {
        for (input, len) in [
            (&b"\x05abc"[..], 6),   // a run that is cut off
            (b"\x00a\x20", 4),      // a match without its offset
            (b"\x00a\xe0\x00", 10), // a long one without
            (b"\x00a\xe0", 10),     // or without its length
            (b"\x00a\x20\x01", 4),  // a match that begins before the start
            (b"\x20\x00", 3),       // or at it
            (b"\x00a\x20\x00", 3),  // more bytes than requested
            (b"\x02abc", 2),
            (b"\x00a\x20\x00", 5), // fewer
            (b"", 1),
            (b"\x00a", usize::MAX), // a length that this input cannot have
        ] {
            assert_eq!(decompress(input, len), None, "{}", input.escape_ascii());
        }
        assert_eq!(decompress(b"", 0), Some(vec![]));
        assert_eq!(decompress(b"\x00a\x20\x00", 4), Some(b"aaaa".to_vec()));
    }

    /// Bytes in which matches of all lengths and distances are frequent.
    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        let piece = (prop::collection::vec(0u8..4, 1..40), 1usize..30).prop_map(|(p, n)| p.repeat(n));
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(input in repetitive()) {
            if let Some(small) = compressed(&input) {
                prop_assert!(small.len() + 4 <= input.len());
                prop_assert_eq!(decompress(&small, input.len()), Some(input));
            }
        }

        #[test]
        fn a_short_string_is_compressed_as_if_it_were_not_looked_at_first(
            input in prop::collection::vec(any::<u8>(), 0..70), letters in 1u8..100, spare in 0usize..8
        ) {
            let input: Vec<u8> = input.iter().map(|byte| byte % letters).collect();
            let most = (input.len() + 2).saturating_sub(spare);
            let (mut looked, mut expected) = (Vec::new(), Vec::new());
            let fits = compress(&input, &mut looked, most);
            prop_assert_eq!(fits, attempt(&input, &mut expected, most));
            prop_assert_eq!(looked, expected);
        }

        #[test]
        fn any_bytes_are_decompressed_as_the_format_says(
            input in prop::collection::vec(any::<u8>(), 0..60), len in 0usize..600
        ) {
            let expected = by_definition(&input);
            let wanted = expected.as_ref().map_or(len, Vec::len);
            prop_assert_eq!(decompress(&input, wanted), expected.clone());
            prop_assert_eq!(decompress(&input, wanted + 1), None);
        }
    }

    /// The definition: one byte at a time.
    fn by_definition(mut input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut next = |count: usize| {
            let (head, rest) = input.split_at_checked(count)?;
            input = rest;
            Some(head)
        };
        while let Some(&[control]) = next(1) {
            if control < 32 {
                out.extend_from_slice(next(usize::from(control) + 1)?);
                continue;
            }
            let mut count = usize::from(control >> 5) + 2;
            if control >> 5 == 7 {
                count += usize::from(next(1)?[0]);
            }
            let offset = usize::from(control & 31) * 256 + usize::from(next(1)?[0]) + 1;
            let from = out.len().checked_sub(offset)?;
            (from..from + count).for_each(|at| out.push(out[at]));
        }
        Some(out)
    }
}
