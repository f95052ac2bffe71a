//! The hash function of the command table, shared by `build.rs` (which searches for a seed without collisions) and
//! [`crate::command::table`] (which probes once).
//!
//! A name of up to 24 bytes is three words: its first eight bytes, its last eight, and the eight in between, which only
//! names longer than sixteen have. In shorter names they overlap, which does no harm: together with the length they
//! determine the name. The hash folds case by setting bit 5 of every byte, which also merges a few characters that are
//! not letters (`@` and a backquote). The comparison after the probe is exact, so this at most wastes a probe:
//!
//! ```text
//!   asked    G  e  T         differs from the stored name only in bit 5 ...
//!   stored   g  e  t
//!   exact   df df df  (hex)  ... of bytes that are letters  =>  (asked ^ stored) & exact == 0
//! ```
//!
//! Subcommands are in the same table: their container's id is hashed and compared as well.

/// The longest name that a table can hold.
pub const LONGEST_NAME: usize = 24;

/// Bit 5 of every byte: the difference between an upper-case letter and its lower-case one.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

/// A name's bytes as three words; see the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// The first eight bytes, or all of a shorter name.
    pub head: u64,
    /// Bytes 8 to 15 of a name longer than sixteen, else 0.
    pub middle: u64,
    /// The last eight bytes of a name of eight or more, else 0.
    pub tail: u64,
}

impl Words {
    /// Loads the words of `name`; only its first sixteen and its last eight bytes count.
    #[inline(always)]
    pub const fn of(name: &[u8]) -> Words {
        let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) else {
            return Words { head: short(name), middle: 0, tail: 0 };
        };
        let middle = if name.len() > 16 {
            match name.split_at(8).1.first_chunk::<8>() {
                Some(middle) => u64::from_le_bytes(*middle),
                None => 0,
            }
        } else {
            0
        };
        Words { head: u64::from_le_bytes(*head), middle, tail: u64::from_le_bytes(*tail) }
    }

    /// The slot number before its reduction to the size of the index. Multiplies by two halves of one seed, so that the
    /// upper bits depend on every bit of the name and of its [`shape`].
    #[inline(always)]
    pub const fn hash(self, shape: u64, seed: u64) -> u64 {
        let head = (self.head | CASE_BITS).wrapping_mul(seed);
        let tail = ((self.tail | CASE_BITS) ^ shape).wrapping_mul(seed.rotate_left(32));
        head.wrapping_add(tail)
    }
}

/// A name's length and the container it belongs to (`scope`, 0 at the top), in one word.
#[inline(always)]
pub const fn shape(length: usize, scope: u16) -> u64 {
    (scope as u64) << 8 | length as u64
}

/// A name of fewer than eight bytes as one word.
#[inline(always)]
const fn short(name: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return u32::from_le_bytes(*head) as u64 | (u32::from_le_bytes(*tail) as u64) << 32;
    }
    match name {
        [] => 0,
        [a] => *a as u64,
        [a, b] => *a as u64 | (*b as u64) << 8,
        [a, b, c, ..] => *a as u64 | (*b as u64) << 8 | (*c as u64) << 16,
    }
}

/// The stored side of the comparison: a lower-case name, the bits that must match exactly, and the shape. One cache
/// line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Name {
    lower: Words,
    exact: Words,
    shape: u64,
}

const _: () = assert!(size_of::<Name>() == 64);

impl Name {
    /// The key of `name` (lower-case, at most [`LONGEST_NAME`] bytes) in the container `scope`, 0 at the top.
    pub const fn new(name: &str, scope: u16) -> Name {
        assert!(name.len() <= LONGEST_NAME);
        let lower = Words::of(name.as_bytes());
        let exact = Words { head: exact(lower.head), middle: exact(lower.middle), tail: exact(lower.tail) };
        Name { lower, exact, shape: shape(name.len(), scope) }
    }

    /// Whether a name with these words and this shape equals this one, in any case.
    #[inline(always)]
    pub const fn matches(&self, asked: Words, shape: u64) -> bool {
        let differing = (asked.head ^ self.lower.head) & self.exact.head
            | (asked.middle ^ self.lower.middle) & self.exact.middle
            | (asked.tail ^ self.lower.tail) & self.exact.tail
            | (shape ^ self.shape);
        differing == 0
    }
}

/// All bits but bit 5 of each byte that is a lower-case letter.
const fn exact(word: u64) -> u64 {
    let mut mask = word.to_le_bytes();
    let mut at = 0;
    while at < mask.len() {
        mask[at] = if mask[at].is_ascii_lowercase() { !0x20 } else { !0 };
        at += 1;
    }
    u64::from_le_bytes(mask)
}
