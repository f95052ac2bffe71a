//! Finds the patterns that match a channel by their literal prefix, here called their start.
//!
//! ```text
//!   by_start   start ─▶ (length, rest of the pattern) …, up to 250 bytes │ 255, the number of a group
//!   groups     number ─▶ the rests of a start, where they take more than 250 bytes
//! ```
//!
//! "news.*" is stored under "news." as "*". A pattern of more than 128 bytes is stored as its key (`names.rs`). To find
//! the patterns of a channel, each prefix of the channel whose length some start has is looked up, and the channel is
//! compared only with the rests found there. A start has up to 256 bytes.

use super::directory::{NEVER, Numbered, field_bytes};
use super::names::{Key, LONGEST_KEY, LongNames, is_key, key_len};
use crate::server::audience::lengths::Lengths;
use crate::text::glob;
use crate::types::Seed;
use crate::types::hash::{FieldRef, Hash};
use crate::types::set::MemberTable;

/// The most bytes of rests stored beside their start.
const INLINE: usize = 250;

/// The first byte of a value that is a group's number. No rest has this length.
const GROUP: u8 = u8::MAX;

/// The most bytes of a start. A pattern that is its own key is shorter, so its rest begins with a special byte and
/// cannot be mistaken for the key of another pattern.
const LONGEST_START: usize = 256;
const _: () = assert!(LONGEST_KEY <= LONGEST_START && LONGEST_KEY < INLINE);

/// The patterns by their starts.
pub struct Starts {
    by_start: Hash,
    groups: Numbered<MemberTable>,
    /// The lengths that the starts have.
    lengths: Lengths,
    seed: Seed,
}

/// Splits a pattern into its literal start and the rest.
fn split(pattern: &[u8]) -> (&[u8], &[u8]) {
    let special = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    pattern.split_at(special.unwrap_or(pattern.len()).min(LONGEST_START))
}

/// Splits a pattern into its start and what is stored there: the rest, or the key if that is a number.
fn parts<'a>(pattern: &'a [u8], key: &'a Key<'_>) -> (&'a [u8], &'a [u8]) {
    let (start, rest) = split(pattern);
    match key {
        Key::Name(_) => (start, rest),
        Key::Number(number) => (start, number),
    }
}

/// Bytes of memory of a pattern that shares its start with no other.
pub fn pattern_bytes(pattern: &[u8]) -> usize {
    let (start, rest) = split(pattern);
    field_bytes(start.len(), 1 + if is_key(pattern) { rest.len() } else { key_len(pattern) })
}

/// The rests stored beside a start.
fn rests(mut inline: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = inline.split_first()?;
        let (rest, others) = rest.split_at(usize::from(*len));
        inline = others;
        Some(rest)
    })
}

/// Returns the number of a group, if `value` is one.
fn group_of(value: &[u8]) -> Option<u32> {
    let number = value.strip_prefix(&[GROUP])?;
    Some(u32::from_le_bytes(number.try_into().expect("the number of a group has 4 bytes")))
}

/// Whether the rest of a pattern matches the bytes of a channel after the start. The empty channel matches only the
/// empty pattern, as in Redis.
fn rest_matches(start: &[u8], rest: &[u8], left: &[u8]) -> bool {
    match (start, left) {
        ([], []) => rest.is_empty(),
        (_, []) => rest.iter().all(|byte| *byte == b'*'),
        _ => glob::matches(rest, left, false),
    }
}

impl Starts {
    /// Creates an empty set of patterns.
    pub fn new(seed: Seed) -> Starts {
        Starts {
            by_start: Hash::new(seed, 0),
            groups: Numbered::default(),
            lengths: Lengths::default(),
            seed,
        }
    }

    /// Whether there are no patterns.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty() && self.lengths.is_empty()
    }

    fn set(&mut self, start: &[u8], value: &[u8]) {
        self.by_start.set(start, value, None, false, NEVER);
        self.by_start.shed();
    }

    /// Adds a new pattern.
    pub fn add(&mut self, pattern: &[u8], key: &Key<'_>) {
        let (start, rest) = parts(pattern, key);
        let value = self.by_start.get(start, NEVER).map(FieldRef::value);
        if value.is_none() {
            self.lengths.add(start.len());
        }
        let known = value.unwrap_or_default();
        if let Some(number) = group_of(known) {
            self.groups.get_mut(number).add(rest);
            return;
        }
        let mut inline = Vec::with_capacity(INLINE);
        inline.extend_from_slice(known);
        if inline.len() + 1 + rest.len() <= INLINE {
            inline.push(rest.len() as u8);
            inline.extend_from_slice(rest);
            return self.set(start, &inline);
        }
        let mut group = MemberTable::with_capacity(0, self.seed);
        for rest in rests(&inline).chain([rest]) {
            group.add(rest);
        }
        let number = self.groups.insert(group);
        inline.clear();
        inline.push(GROUP);
        inline.extend_from_slice(&number.to_le_bytes());
        self.set(start, &inline);
    }

    /// Removes a pattern.
    pub fn remove(&mut self, pattern: &[u8], key: &Key<'_>) {
        let (start, rest) = parts(pattern, key);
        let Some(field) = self.by_start.get(start, NEVER) else { return };
        let mut left = Vec::new();
        if let Some(number) = group_of(field.value()) {
            let group = self.groups.get_mut(number);
            group.remove(rest);
            if !group.is_empty() {
                return;
            }
            self.groups.remove(number);
        } else {
            for other in rests(field.value()).filter(|other| *other != rest) {
                left.push(other.len() as u8);
                left.extend_from_slice(other);
            }
        }
        if left.is_empty() {
            self.by_start.remove(start, NEVER);
            self.by_start.shed();
            self.lengths.remove(start.len());
        } else {
            self.set(start, &left);
        }
    }

    /// Calls `found` with the key and the text of each pattern that matches `channel`.
    pub fn matching(&self, channel: &[u8], long: &LongNames, mut found: impl FnMut(&[u8], &[u8])) {
        let mut joined = Vec::new();
        for start in self.lengths.starts(channel) {
            let Some(field) = self.by_start.get(start, NEVER) else { continue };
            let left = &channel[start.len()..];
            let mut compare = |rest: &[u8]| {
                if let Some(pattern) = long.numbered(rest) {
                    if rest_matches(start, &pattern[start.len()..], left) {
                        found(rest, pattern);
                    }
                } else if rest_matches(start, rest, left) {
                    joined.clear();
                    joined.extend_from_slice(start);
                    joined.extend_from_slice(rest);
                    found(&joined, &joined);
                }
            };
            match group_of(field.value()) {
                Some(number) => {
                    for rest in self.groups.get(number).members() {
                        compare(rest.bytes());
                    }
                }
                None => rests(field.value()).for_each(compare),
            }
        }
    }
}
