//! Pseudo-random numbers for sampling and the Morris counter, not for secrets; and two ways to choose several random
//! elements: a walk over all of them, or repeated draws.

use std::collections::HashSet;
use std::hash::Hash;

/// A 64-bit xorshift generator with a multiplied output (Vigna, *xorshift64\**).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns a generator with this state; any value works.
    pub const fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// Returns the next number.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it is not an iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number below `limit`, each with the same probability to within `limit` · 2⁻⁶⁴.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Calls `take` with `count` of the `len` elements of `all`, in order; every subset of that size is equally likely.
    /// Each element is taken with the remaining probability (selection sampling: Knuth, The Art of Computer Programming
    /// 2, 3.4.2 S): O(len), without extra memory.
    pub fn select<T>(
        &mut self,
        count: usize,
        len: usize,
        all: impl IntoIterator<Item = T>,
        mut take: impl FnMut(T),
    ) {
        debug_assert!(count <= len);
        let mut wanted = count;
        for (met, element) in all.into_iter().enumerate() {
            if wanted == 0 {
                return;
            }
            if self.below(len - met) < wanted {
                take(element);
                wanted -= 1;
            }
        }
    }

    /// Calls `take` with `count` distinct elements; at least that many must exist. `draw` returns a random element and
    /// a key that identifies it. O(count) if that is a small share of all ([`is_few`]).
    pub fn draw_distinct<K: Eq + Hash, T>(
        &mut self,
        count: usize,
        mut draw: impl FnMut(&mut Random) -> Option<(K, T)>,
        mut take: impl FnMut(T),
    ) {
        let mut met = HashSet::with_capacity(count);
        while met.len() < count {
            let Some((key, element)) = draw(self) else { return };
            if met.insert(key) {
                take(element);
            }
        }
    }
}

/// Whether `count` of `len` elements are so few that single draws rarely repeat an element. Otherwise a walk that
/// [selects](Random::select) is better.
pub fn is_few(count: usize, len: usize) -> bool {
    count <= len / 3
}

/// Counts how often each outcome was drawn.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Tally(std::collections::HashMap<Vec<u8>, u32>);

#[cfg(test)]
impl Tally {
    /// Counts one outcome.
    pub(crate) fn add(&mut self, outcome: impl Into<Vec<u8>>) {
        *self.0.entry(outcome.into()).or_default() += 1;
    }

    /// Panics unless the counts of `outcomes` equally likely outcomes are within five standard deviations of the
    /// chi-square expectation. Draws without replacement vary less than independent ones, so the bound holds for them
    /// too.
    pub(crate) fn assert_even(&self, outcomes: usize, what: &str) {
        let draws: u32 = self.0.values().sum();
        let mean = f64::from(draws) / outcomes as f64;
        assert!(mean >= 20.0 && self.0.len() <= outcomes, "{what}: {draws} draws of {}", self.0.len());
        let met: f64 = self.0.values().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
        let chi = met + mean * (outcomes - self.0.len()) as f64;
        let freedom = outcomes as f64 - 1.0;
        let limit = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(
            chi <= limit,
            "{what}: chi-square of {outcomes} outcomes is {chi}, and at most {limit} is likely"
        );
    }
}
