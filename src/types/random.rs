//! Pseudo-random numbers for sampling and the Morris counter; not for secrets.

/// A 64-bit xorshift generator with a multiplied output (Vigna, *xorshift64\**).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this state; any will do.
    pub const fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// The next number.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, each with the same chance but for 2⁻⁶⁴ of `limit`.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

/// How often each outcome of a draw came.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Tally(std::collections::HashMap<Vec<u8>, u32>);

#[cfg(test)]
impl Tally {
    /// Counts one.
    pub(crate) fn add(&mut self, outcome: impl Into<Vec<u8>>) {
        *self.0.entry(outcome.into()).or_default() += 1;
    }

    /// Panics unless the counts of `outcomes` equally likely outcomes are within five standard deviations of what
    /// chi-square expects. Draws without replacement vary less than independent ones: it holds for them all the more.
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
