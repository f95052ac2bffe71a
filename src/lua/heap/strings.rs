//! Strings. A short one, of up to 40 bytes, exists once: equal strings are in the same slot, so comparing them and
//! looking up a key compares two numbers. Long strings are not unique, and are compared by their bytes.
//!
//! Each string has two hashes. The reference implementation's hash decides where a key is in a table, and so the order
//! in which `next` returns keys, on which programs come to rely. Strings that collide in it are easy to make, so
//! structures that must stay fast for hostile strings use a second hash, keyed with a seed.
//!
//! The original reference implementation hashes about 32 bytes of a long string, Redis' copy all of them. A heap can do
//! either.

use std::cell::Cell;
use std::cmp::Ordering;

use super::arena::Arena;
use crate::alloc::array_size;
use crate::lua::value::StringId;

/// The maximum length of a unique string.
pub const LONGEST_SHORT: usize = 40;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The number of chains kept after a peak.
const MOST_UNUSED: usize = 4096;

#[derive(Debug)]
struct Short {
    bytes: [u8; LONGEST_SHORT],
    length: u8,
    hash: u32,
    seeded: u32,
    /// The next string in the same chain of `heads`.
    next: u32,
}

#[derive(Debug)]
struct Long {
    bytes: Box<[u8]>,
    /// The reference implementation's hash of the bytes from `unhashed` on.
    hash: Cell<u32>,
    unhashed: Cell<usize>,
    /// The seeded hash, computed on first use.
    seeded: Cell<Option<u32>>,
}

#[derive(Debug)]
pub struct Strings {
    short: Arena<Short>,
    long: Arena<Long>,
    /// The heads of the chains of short strings, by seeded hash.
    heads: Vec<u32>,
    live: usize,
    seed: u64,
    /// Whether all bytes of a string are hashed.
    hashes_all: bool,
    /// The two long strings compared last, and the number of their first bytes known to be equal. Cleared before the
    /// slot of either is reused.
    compared: Cell<Option<(StringId, StringId, usize)>>,
    /// The number of bytes that lookups compared since the last [`Strings::take_looked_at`].
    looked_at: Cell<usize>,
}

impl Strings {
    pub const SHORT_BYTES: usize = Arena::<Short>::SLOT_BYTES + 4;
    const LONG_BYTES: usize = Arena::<Long>::SLOT_BYTES;

    pub fn new(seed: u64) -> Strings {
        // Makes small seeds, and seeds that differ in few bits, as good as any.
        let seed = fold(seed, 0x9e37_79b9_7f4a_7c15);
        Strings {
            short: Arena::default(),
            long: Arena::default(),
            heads: vec![NONE; 256],
            live: 0,
            seed,
            hashes_all: false,
            compared: Cell::new(None),
            looked_at: Cell::new(0),
        }
    }

    /// Hashes all bytes of strings. Call before the first string is made.
    pub fn hash_all(&mut self) {
        debug_assert_eq!(self.live, 0);
        self.hashes_all = true;
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the string with these bytes, and the number of bytes allocated for it.
    pub fn insert(&mut self, bytes: &[u8]) -> (StringId, usize) {
        if bytes.len() > LONGEST_SHORT {
            return self.insert_long(bytes.into());
        }
        let seeded = seeded_hash(bytes, self.seed);
        let head = self.chain_of(seeded);
        let mut place = self.heads[head];
        while place != NONE {
            let short = self.short.get(place as usize);
            if short.seeded == seeded && short.bytes() == bytes {
                return (StringId::short(place), 0);
            }
            place = short.next;
        }
        (self.insert_short(bytes, seeded, head), Strings::SHORT_BYTES)
    }

    pub fn insert_long(&mut self, bytes: Box<[u8]>) -> (StringId, usize) {
        debug_assert!(bytes.len() > LONGEST_SHORT);
        let allocated = Strings::LONG_BYTES + array_size::<u8>(bytes.len());
        let long = Long {
            hash: Cell::new(bytes.len() as u32),
            unhashed: Cell::new(bytes.len()),
            seeded: Cell::new(None),
            bytes,
        };
        (StringId::long(self.long.insert(long)), allocated)
    }

    fn insert_short(&mut self, bytes: &[u8], seeded: u32, head: usize) -> StringId {
        let mut copy = [0; LONGEST_SHORT];
        copy[..bytes.len()].copy_from_slice(bytes);
        let place = self.short.insert(Short {
            bytes: copy,
            length: bytes.len() as u8,
            hash: hash(bytes, self.hashes_all),
            seeded,
            next: self.heads[head],
        });
        self.heads[head] = place;
        self.live += 1;
        if self.live > self.heads.len() {
            self.split_chain();
        }
        StringId::short(place)
    }

    /// Returns the chain of a short string with this hash. The number of chains need not be a power of two (linear
    /// hashing, W. Litwin, 1980): the strings of a chain that does not exist yet are in the one whose number lacks the
    /// highest bit.
    #[inline]
    fn chain_of(&self, seeded: u32) -> usize {
        let mask = self.heads.len().next_power_of_two() - 1;
        let chain = seeded as usize & mask;
        if chain < self.heads.len() { chain } else { chain & (mask >> 1) }
    }

    /// Adds a chain, and moves the strings that belong in it from another chain.
    fn split_chain(&mut self) {
        let bit = 1 << self.heads.len().ilog2();
        let from = self.heads.len() - bit;
        let mut place = self.heads[from];
        let (mut stay, mut moved) = (NONE, NONE);
        while place != NONE {
            let short = self.short.get_mut(place as usize);
            let to = if short.seeded as usize & bit == 0 { &mut stay } else { &mut moved };
            let next = std::mem::replace(&mut short.next, *to);
            *to = place;
            place = next;
        }
        self.heads[from] = stay;
        self.heads.push(moved);
    }

    /// Removes up to `most` superfluous chains after a peak, last ones first: the inverse of `split_chain`.
    pub fn merge_chains(&mut self, most: usize) {
        let wanted = (self.live * 4).max(MOST_UNUSED);
        for _ in 0..most.min(self.heads.len().saturating_sub(wanted)) {
            let Some(mut place) = self.heads.pop() else { return };
            let to = self.heads.len() - (1 << self.heads.len().ilog2());
            while place != NONE {
                let short = self.short.get_mut(place as usize);
                let next = std::mem::replace(&mut short.next, self.heads[to]);
                self.heads[to] = place;
                place = next;
            }
        }
        if self.heads.capacity() > 4 * self.heads.len() {
            self.heads.shrink_to(2 * self.heads.len());
        }
    }

    #[inline]
    pub fn bytes(&self, string: StringId) -> &[u8] {
        if string.is_long() {
            &self.long.get(string.place()).bytes
        } else {
            self.short.get(string.place()).bytes()
        }
    }

    /// The hash of the reference implementation.
    #[inline]
    pub fn hash(&self, string: StringId) -> u32 {
        if string.is_long() {
            let long = self.long.get(string.place());
            long.hash_piece(self.hashes_all, usize::MAX);
            long.hash.get()
        } else {
            self.short.get(string.place()).hash
        }
    }

    /// Hashes up to `most` more bytes. Returns how many were hashed; `None` if the hash is complete.
    pub fn hash_piece(&self, string: StringId, most: usize) -> Option<usize> {
        self.long.get(string.place()).hash_piece(self.hashes_all, most)
    }

    /// Returns a hash in which outsiders cannot construct collisions.
    pub fn seeded_hash(&self, string: StringId) -> u32 {
        if string.is_long() {
            let long = self.long.get(string.place());
            let seeded = long.seeded.get().unwrap_or_else(|| seeded_hash(&long.bytes, self.seed));
            long.seeded.set(Some(seeded));
            seeded
        } else {
            self.short.get(string.place()).seeded
        }
    }

    #[inline]
    pub fn equal(&self, a: StringId, b: StringId) -> bool {
        a == b || (a.is_long() && b.is_long() && self.are_equal(a, b))
    }

    fn are_equal(&self, a: StringId, b: StringId) -> bool {
        if !self.may_be_equal(a, b) {
            return false;
        }
        let from = self.equal_up_to(a, b);
        let (x, y) = (&self.bytes(a)[from..], &self.bytes(b)[from..]);
        self.looked_at.set(self.looked_at.get() + x.len());
        x == y
    }

    /// Compares up to `most` more bytes of two different long strings. Returns their order once it is known.
    pub fn order_piece(&self, a: StringId, b: StringId, most: usize) -> Option<Ordering> {
        let from = self.equal_up_to(a, b);
        let (x, y) = (self.bytes(a), self.bytes(b));
        let common = x.len().min(y.len());
        let end = common.min(from.saturating_add(most));
        let order = x[from..end].cmp(&y[from..end]);
        if order.is_eq() {
            self.compared.set(Some((a, b, end)));
            return (end == common).then(|| x.len().cmp(&y.len()));
        }
        Some(order)
    }

    /// Returns the number of bytes that lookups compared since the last call.
    pub fn take_looked_at(&self) -> usize {
        self.looked_at.take()
    }

    /// Returns the string that `string` was last compared with.
    pub fn compared_with(&self, string: StringId) -> Option<StringId> {
        match self.compared.get()? {
            (a, b, _) if b == string => Some(a),
            (a, b, _) if a == string => Some(b),
            _ => None,
        }
    }

    /// How many of the first bytes of two long strings are known to be equal.
    fn equal_up_to(&self, a: StringId, b: StringId) -> usize {
        match self.compared.get() {
            Some((x, y, count)) if (x, y) == (a, b) || (x, y) == (b, a) => count,
            _ => 0,
        }
    }

    /// Whether two different long strings may be equal, judging by their lengths and hashes.
    pub fn may_be_equal(&self, a: StringId, b: StringId) -> bool {
        let (x, y) = (self.long.get(a.place()), self.long.get(b.place()));
        let are_hashed = x.unhashed.get() == y.unhashed.get();
        x.bytes.len() == y.bytes.len() && (x.hash.get() == y.hash.get() || !are_hashed)
    }

    /// Compares up to `most` more bytes of two different long strings of the same length. Returns how many were
    /// compared and whether they are equal; `None` if all bytes have been compared and are equal.
    pub fn compare_piece(&self, a: StringId, b: StringId, most: usize) -> Option<(usize, bool)> {
        let from = self.equal_up_to(a, b);
        let (x, y) = (&self.bytes(a)[from..], &self.bytes(b)[from..]);
        let count = x.len().min(most);
        if count == 0 {
            return None;
        }
        let is_equal = x[..count] == y[..count];
        self.compared.set(Some((a, b, from + if is_equal { count } else { 0 })));
        Some((count, is_equal))
    }

    pub fn clear_marks(&mut self) {
        self.compared.set(None);
        self.short.clear_marks();
        self.long.clear_marks();
    }

    #[inline]
    pub fn mark(&mut self, string: StringId) {
        if string.is_long() {
            self.long.mark(string.place())
        } else {
            self.short.mark(string.place())
        };
    }

    /// Bytes of free slots, mark bits and unused chain heads.
    pub fn spare_bytes(&self) -> usize {
        let heads = (self.heads.capacity() - self.live.min(self.heads.capacity())) * size_of::<u32>();
        self.short.spare_bytes() + self.long.spare_bytes() + heads
    }

    /// Begins a sweep of the short or of the long strings. Returns the number of their slots.
    pub fn begin_sweep(&mut self, of_long: bool) -> usize {
        if of_long { self.long.begin_sweep() } else { self.short.begin_sweep() }
    }

    /// Frees the short string at `place` if it has no mark. Returns the bytes freed.
    pub fn sweep_short(&mut self, place: usize) -> usize {
        let Some(Short { seeded, next, .. }) = self.short.sweep(place) else { return 0 };
        // Unlinked immediately: an error can look up a string while a collection is in progress.
        let head = self.chain_of(seeded);
        if self.heads[head] as usize == place {
            self.heads[head] = next;
        } else {
            let mut before = self.heads[head] as usize;
            while self.short.get(before).next as usize != place {
                before = self.short.get(before).next as usize;
            }
            self.short.get_mut(before).next = next;
        }
        self.live -= 1;
        Strings::SHORT_BYTES
    }

    /// Like `sweep_short`, for a long string.
    pub fn sweep_long(&mut self, place: usize) -> usize {
        self.long.sweep(place).map_or(0, |long| Strings::LONG_BYTES + array_size::<u8>(long.bytes.len()))
    }

    /// Like [`Arena::trim`], for the slots of short or of long strings.
    pub fn trim(&mut self, of_long: bool, from: usize, to: usize) {
        if of_long {
            self.long.trim(from, to);
        } else {
            self.short.trim(from, to);
        }
    }
}

impl Long {
    /// Like [`Strings::hash_piece`].
    fn hash_piece(&self, of_all: bool, most: usize) -> Option<usize> {
        let step = if of_all { 1 } else { (self.bytes.len() >> 5) + 1 };
        let end = self.unhashed.get();
        if end < step {
            return None;
        }
        let begin = if of_all { end.saturating_sub(most) } else { 0 };
        self.hash.set(hash_down(self.hash.get(), &self.bytes[begin..end], step));
        self.unhashed.set(begin);
        Some(end - begin)
    }
}

impl Short {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length as usize]
    }
}

/// The reference implementation's hash: of all bytes, or of about 32 if there are more.
fn hash(bytes: &[u8], of_all: bool) -> u32 {
    let step = if of_all { 1 } else { (bytes.len() >> 5) + 1 };
    hash_down(bytes.len() as u32, bytes, step)
}

/// Continues a hash with every `step`th byte, from the end to the beginning.
#[inline]
fn hash_down(mut hash: u32, bytes: &[u8], step: usize) -> u32 {
    let mut end = bytes.len();
    while end >= step {
        hash ^= (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(bytes[end - 1]));
        end -= step;
    }
    hash
}

/// One folded multiplication per eight bytes, keyed with `seed`.
pub(super) fn seeded_hash(bytes: &[u8], seed: u64) -> u32 {
    let mut state = seed ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        state = fold(state ^ word, seed | 1);
    }
    let mut rest = [0; 8];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state = fold(state ^ u64::from_le_bytes(rest), 0x9e37_79b9_7f4a_7c15 ^ seed);
    (state ^ (state >> 32)) as u32
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::{MOST_UNUSED, Strings};

    #[test]
    fn short_strings_are_found_while_chains_are_split_and_merged() {
        const COUNT: u32 = 50_000;
        let mut strings = Strings::new(1);
        let made: Vec<_> = (0..COUNT).map(|n| strings.insert(n.to_string().as_bytes()).0).collect();
        assert!(strings.heads.len() >= COUNT as usize);
        strings.clear_marks();
        let kept = || (0..COUNT).step_by(100);
        kept().for_each(|n| strings.mark(made[n as usize]));
        let end = strings.begin_sweep(false);
        for from in (0..end.next_multiple_of(1000)).step_by(1000).rev() {
            let to = end.min(from + 1000);
            for place in (from..to).rev() {
                strings.sweep_short(place);
            }
            strings.trim(false, from, to);
            strings.merge_chains(4000);
        }
        assert_eq!(strings.live, kept().count());
        assert_eq!(strings.heads.len(), MOST_UNUSED);
        for n in kept() {
            assert_eq!(strings.insert(n.to_string().as_bytes()), (made[n as usize], 0), "{n}");
        }
        // The lowest free places are used first.
        let (place, allocated) = strings.insert(b"1");
        assert_eq!((place, allocated), (made[1], Strings::SHORT_BYTES));
    }
}
